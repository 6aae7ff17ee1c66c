# SPDX-License-Identifier: Apache-2.0
"""The seam to images: embedded (our own Glance v2 over our tables) or a real Glance.

`load()` in this package picks by the setting [image] image_url. tests/contract/test_image_backend.py runs on each.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from computeapi import errors
from computeapi.context import Context

ID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

# What an image says of itself by a column or in its answer: no property may have such a name.
ATTRIBUTES = frozenset(
    (
        *("id", "name", "status", "visibility", "owner", "disk_format", "container_format", "size", "virtual_size"),
        *("checksum", "os_hash_algo", "os_hash_value", "min_disk", "min_ram", "protected", "os_hidden"),
        *("created_at", "updated_at", "tags", "self", "file", "schema", "stores", "direct_url", "locations"),
        *("location", "deleted", "deleted_at"),
    )
)
RESERVED_PREFIX = "os_glance_"


def is_id(text: str) -> bool:
    """Whether `text` can be an image's id; else it is in no path, of a file or of a URL."""
    return re.fullmatch(ID, text) is not None


def check_property_name(name: str) -> None:
    """Raise BadRequest or Forbidden for what can't be an additional property's name."""
    if not name or len(name) > 255:
        raise errors.BadRequest("Custom property should not be greater than 255 characters.")
    if name in ATTRIBUTES:
        raise errors.Forbidden(f"Attribute '{name}' is read-only.")
    if name.startswith(RESERVED_PREFIX):
        raise errors.Forbidden(f"Attribute '{name}' is reserved.")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """An image as the Compute API needs it. Sizes in bytes, min_disk in GiB, min_ram in MiB; times as stored text.

    `properties` are all that Glance has no column for. `virtual_size` is the disk that a guest sees, where known.
    """

    id: str
    name: str | None
    status: str  # Glance's: queued | saving | uploading | importing | active | deactivated | killed | deleted | …
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
    virtual_size: int | None = None


class ImageBackend(ABC):
    """Images as the caller's context may see them.

    Raises errors.NotFound, Forbidden, Conflict, BadRequest, TooLarge, and Unavailable where the service is away.
    """

    @abstractmethod
    def show(self, context: Context, image_id: str) -> ImageInfo:
        """One image."""

    @abstractmethod
    def list(self, context: Context, filters: Mapping[str, str], limit: int, marker: str | None) -> list[ImageInfo]:
        """Up to `limit` images, newest first, after `marker`.

        `filters` are those of Glance's `GET /v2/images` (name, status, min_disk, min_ram, any property, …), and
        "changes-since", an ISO 8601 time: with it deleted images are among them, where the service can tell.
        """

    @abstractmethod
    def set_properties(self, context: Context, image_id: str, properties: dict[str, str], purge: bool) -> ImageInfo:
        """Merge `properties` in (purge: they replace all there are). The image as it is then."""

    @abstractmethod
    def delete(self, context: Context, image_id: str) -> None:
        """Delete an image. Raises Forbidden for a protected one."""

    @abstractmethod
    def create(
        self, context: Context, name: str | None, disk_format: str | None, properties: dict[str, str], **fields: Any
    ) -> str:
        """Register an image with no bytes yet (status queued); its id.

        `fields` are Glance's: container_format (bare unless given), min_disk, min_ram, visibility,
        owner, protected, tags, id.
        """

    @abstractmethod
    def upload(self, context: Context, image_id: str, chunks: Iterable[bytes]) -> None:
        """Give a queued image its bytes: queued → saving → active. Cut short: not active, and nothing kept."""

    @abstractmethod
    def chunks(self, context: Context, image_id: str) -> Iterator[bytes]:
        """The bytes of an active image, streamed. NotFound, where it has none, is raised before the first."""

    def local_path(self, context: Context, image_id: str) -> Path | None:
        """The file on this machine that has an active image's bytes, to be read only; None where there is none."""
        return None

    def sweep(self) -> int:
        """Put right what killed processes left of uploads and deletes; how many there were. May run at any time."""
        return 0

    def endpoint(self, host_url: str) -> str:
        """The image service's URL as clients reach it; `host_url` is what they call us by."""
        return f"{host_url}/image"
