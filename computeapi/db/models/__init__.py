# SPDX-License-Identifier: Apache-2.0
"""Every table, a class each; a module a family."""

from computeapi.db.models.base import Base
from computeapi.db.models.certificates import Certificate, CertificateAuthority, VpnAddress
from computeapi.db.models.consoles import ConsoleAuthToken
from computeapi.db.models.floating_ips import DnsDomain, DnsEntry, FloatingIp
from computeapi.db.models.hosts import Host
from computeapi.db.models.identity import (
    ApplicationCredential,
    Assignment,
    Domain,
    Endpoint,
    Group,
    GroupMember,
    ImpliedRole,
    Limit,
    Project,
    Region,
    RegisteredLimit,
    Revocation,
    Role,
    Service,
    User,
)
from computeapi.db.models.images import Image, ImageMember, ImageProperty, ImageTag
from computeapi.db.models.journal import Action, ActionEvent
from computeapi.db.models.networks import FixedIp, Network, NetworkQuota, Port, Router, Subnet
from computeapi.db.models.operator import (
    Agent,
    Aggregate,
    AggregateHost,
    BaremetalInterface,
    BaremetalNode,
    Cell,
    Migration,
    Quota,
    QuotaClass,
    ServerGroup,
    ServerGroupMember,
    TaskLog,
)
from computeapi.db.models.security_groups import DefaultRule, PortSecurityGroup, SecurityGroup, SecurityGroupRule
from computeapi.db.models.servers import Allocation, BlockDevice, Flavor, FlavorAccess, Keypair, Server
from computeapi.db.models.volume_types import VolumeDefaultType, VolumeQuota, VolumeTypeAccess
from computeapi.db.models.volumes import Volume, VolumeAttachment, VolumeSnapshot, VolumeType

__all__ = [
    "Action",
    "ActionEvent",
    "Agent",
    "Aggregate",
    "AggregateHost",
    "Allocation",
    "ApplicationCredential",
    "Assignment",
    "BaremetalInterface",
    "BaremetalNode",
    "Base",
    "BlockDevice",
    "Cell",
    "Certificate",
    "CertificateAuthority",
    "ConsoleAuthToken",
    "DefaultRule",
    "DnsDomain",
    "DnsEntry",
    "Domain",
    "Endpoint",
    "FixedIp",
    "Flavor",
    "FlavorAccess",
    "FloatingIp",
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
    "Migration",
    "Network",
    "NetworkQuota",
    "Port",
    "PortSecurityGroup",
    "Project",
    "Quota",
    "QuotaClass",
    "Region",
    "RegisteredLimit",
    "Revocation",
    "Role",
    "Router",
    "SecurityGroup",
    "SecurityGroupRule",
    "Server",
    "ServerGroup",
    "ServerGroupMember",
    "Service",
    "Subnet",
    "TaskLog",
    "User",
    "Volume",
    "VolumeAttachment",
    "VolumeDefaultType",
    "VolumeQuota",
    "VolumeSnapshot",
    "VolumeType",
    "VolumeTypeAccess",
    "VpnAddress",
]
