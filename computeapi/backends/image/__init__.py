# SPDX-License-Identifier: Apache-2.0
"""Images: embedded, or a real Glance (setting [image] image_url)."""

from __future__ import annotations

from computeapi.backends.image.base import ImageBackend
from computeapi.backends.image.embedded import EmbeddedImages
from computeapi.db.engine import Database
from computeapi.settings import Settings


def load(settings: Settings, db: Database) -> ImageBackend:
    """The image backend that the settings ask for."""
    if not settings.image_url:
        return EmbeddedImages(settings, db)
    from computeapi.backends.image.glance import GlanceImages  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.service_user import callers_or_service

    return GlanceImages(settings.image_url, callers_or_service(settings))
