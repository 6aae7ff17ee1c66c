# SPDX-License-Identifier: Apache-2.0
"""Every table, a class each; a module a family."""

from computeapi.db.models.base import Base
from computeapi.db.models.hosts import Host
from computeapi.db.models.identity import (
    ApplicationCredential,
    Assignment,
    Domain,
    Group,
    GroupMember,
    ImpliedRole,
    Limit,
    Project,
    RegisteredLimit,
    Revocation,
    Role,
    User,
)
from computeapi.db.models.images import Image, ImageMember, ImageProperty, ImageTag
from computeapi.db.models.journal import Action, ActionEvent
from computeapi.db.models.networks import FixedIp, Network, NetworkQuota, Port, Router, Subnet
from computeapi.db.models.servers import Allocation, BlockDevice, Flavor, FlavorAccess, Keypair, Server

__all__ = [
    "Action",
    "ActionEvent",
    "Allocation",
    "ApplicationCredential",
    "Assignment",
    "Base",
    "BlockDevice",
    "Domain",
    "FixedIp",
    "Flavor",
    "FlavorAccess",
    "Group",
    "GroupMember",
    "Host",
    "Image",
    "ImageMember",
    "ImageProperty",
    "ImageTag",
    "ImpliedRole",
    "Keypair",
    "Limit",
    "Network",
    "NetworkQuota",
    "Port",
    "Project",
    "RegisteredLimit",
    "Revocation",
    "Role",
    "Router",
    "Server",
    "Subnet",
    "User",
]
