# SPDX-License-Identifier: Apache-2.0
"""Volumes: embedded, in the pools of the hosts."""

from __future__ import annotations

from computeapi.backends.volume.base import VolumeBackend
from computeapi.backends.volume.embedded import EmbeddedVolumes
from computeapi.db.engine import Database
from computeapi.sealing import Seal
from computeapi.settings import Settings


def load(settings: Settings, db: Database, seal: Seal) -> VolumeBackend:
    """The volume backend that the settings ask for."""
    return EmbeddedVolumes(settings, db, seal)
