# SPDX-License-Identifier: Apache-2.0
"""Volumes: embedded, in the pools of the hosts; or a real Cinder (setting [volume] volume_url)."""

from __future__ import annotations

from computeapi.backends.volume.base import VolumeBackend
from computeapi.backends.volume.embedded import EmbeddedVolumes
from computeapi.db.engine import Database
from computeapi.sealing import Seal
from computeapi.settings import Settings


def load(settings: Settings, db: Database, seal: Seal) -> VolumeBackend:
    """The volume backend that the settings ask for."""
    if not settings.volume_url:
        return EmbeddedVolumes(settings, db, seal)
    from computeapi.backends.service_user import service_token  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.volume.cinder import CinderVolumes

    return CinderVolumes(settings.volume_url, service_token(settings), mounts=settings.volume_directory)
