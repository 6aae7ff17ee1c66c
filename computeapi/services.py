# SPDX-License-Identifier: Apache-2.0
"""What handlers are given to work with. Made once a process by `app.create_app`; nothing global."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from computeapi.backends.identity.base import Authenticator
from computeapi.backends.image.base import ImageBackend
from computeapi.backends.volume.base import VolumeBackend
from computeapi.db.engine import Database
from computeapi.policy import Policy
from computeapi.sealing import Seal
from computeapi.settings import Settings

if TYPE_CHECKING:  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.network.neutron import Neutron


@dataclass(frozen=True, slots=True)
class Services:
    """The settings, the database, the policy, and the neighbours (embedded or external)."""

    settings: Settings
    db: Database
    policy: Policy
    authenticator: Authenticator
    images: ImageBackend
    volumes: VolumeBackend
    seal: Seal
    neutron: Neutron | None = None  # None: the network is embedded
