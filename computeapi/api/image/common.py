# SPDX-License-Identifier: Apache-2.0
"""What the modules of the image API share: the store, loading an image, and how one looks.

`RULES` have Glance's names and defaults (glance/policies/image.py). What Glance's rules say of an image's visibility
is in `queries.visible`: what a caller may not know of is not found, so the rules for reading ask for a role alone.
"""

from __future__ import annotations

from typing import Any, cast

from computeapi import clock, errors
from computeapi.backends.image.embedded import EmbeddedImages
from computeapi.db.queries.images import ImageRow
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER

ID_PATTERN = "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
READER = "rule:context_is_admin or role:reader"
MEMBER = "rule:context_is_admin or role:member"
OWNER = PROJECT_MEMBER
LISTER = PROJECT_READER


def store(call: Call) -> EmbeddedImages:
    """The embedded image service. Raises NotFound where a real Glance has the images."""
    images = call.services.images
    if not isinstance(images, EmbeddedImages):
        raise errors.NotFound
    return images


def load(call: Call) -> ImageRow:
    """The image in the URL, if the caller may know of it."""
    return store(call).row(call.context, call.params["image_id"])


def found(call: Call) -> ImageRow:
    """What `load` found."""
    return cast(ImageRow, call.target)


def view(row: ImageRow) -> dict[str, Any]:
    """An image as clients see it: its properties, then its attributes."""
    path = f"/v2/images/{row.uuid}"
    return {
        **row.properties,
        "id": row.uuid,
        "name": row.name,
        "status": row.status,
        "visibility": row.visibility,
        "owner": row.owner,
        "disk_format": row.disk_format,
        "container_format": row.container_format,
        "size": row.size,
        "virtual_size": row.virtual_size,
        "checksum": row.checksum,
        "os_hash_algo": row.os_hash_algo,
        "os_hash_value": row.os_hash_value,
        "min_disk": row.min_disk,
        "min_ram": row.min_ram,
        "protected": bool(row.protected),
        "os_hidden": bool(row.os_hidden),
        "created_at": clock.api(row.created_at),
        "updated_at": clock.api(row.updated_at),
        "tags": row.tags,
        "self": path,
        "file": f"{path}/file",
        "schema": "/v2/schemas/image",
    }
