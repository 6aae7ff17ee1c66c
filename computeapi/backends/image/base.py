# SPDX-License-Identifier: Apache-2.0
"""The seam to images: embedded (our own Glance v2 over our tables) or a real Glance.

`load()` in this package picks by the setting [image] image_url. tests/contract/test_image_backend.py runs on each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from computeapi.context import Context


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as the Compute API needs it. Sizes in bytes, min_disk in GiB, min_ram in MiB; times as stored text."""

    id: str
    name: str | None
    status: str  # Glance's: queued | saving | active | …
    owner: str | None
    visibility: str
    disk_format: str | None
    container_format: str | None
    size: int | None
    checksum: str | None
    min_disk: int
    min_ram: int
    created_at: str
    updated_at: str
    protected: bool = False
    properties: dict[str, str] = field(default_factory=dict)


class ImageBackend(ABC):
    """Images as the caller's context may see them. Raises errors.NotFound, Forbidden, Conflict, BadRequest."""

    @abstractmethod
    def show(self, context: Context, image_id: str) -> ImageInfo:
        """One image."""

    @abstractmethod
    def list(self, context: Context, filters: dict[str, Any], limit: int, marker: str | None) -> list[ImageInfo]:
        """Images, newest first. Filters: name, status, changes-since, server, type, minDisk, minRam, property-*."""

    @abstractmethod
    def set_properties(self, context: Context, image_id: str, properties: dict[str, str], purge: bool) -> ImageInfo:
        """Merge `properties` in (purge: they replace all there are)."""

    @abstractmethod
    def delete(self, context: Context, image_id: str) -> None:
        """Delete an image."""

    @abstractmethod
    def create(self, context: Context, name: str, disk_format: str, properties: dict[str, str], **fields: Any) -> str:
        """Register an image with no bytes yet (status queued); its id."""

    @abstractmethod
    def upload(self, context: Context, image_id: str, chunks: Iterable[bytes]) -> None:
        """Give a queued image its bytes: queued → saving → active. Cut short: not active, and nothing kept."""

    @abstractmethod
    def chunks(self, context: Context, image_id: str) -> Iterator[bytes]:
        """The bytes of an active image, streamed."""
