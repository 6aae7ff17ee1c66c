# SPDX-License-Identifier: Apache-2.0
"""The JSON schemas of images and members: served at /v2/schemas, and what request bodies are checked against.

Names, types and enumerations are Glance's (glance/api/v2/images.py, image_members.py); the descriptions are ours.
"""

from __future__ import annotations

from typing import Any

from computeapi.api.image import common
from computeapi.backends.image.embedded import CONTAINER_FORMATS, DISK_FORMATS
from computeapi.db.queries.image_filters import MEMBER_STATUSES, VISIBILITIES
from computeapi.endpoint import Call

Schema = dict[str, Any]

MAX_INT = 2**31 - 1


def _text(description: str, *, null: bool = False, read_only: bool = False, **more: Any) -> Schema:
    kind: Any = ["null", "string"] if null else "string"
    return {"type": kind, "description": description, **({"readOnly": True} if read_only else {}), **more}


def _number(description: str) -> Schema:
    return {"type": "integer", "description": description, "minimum": 0, "maximum": MAX_INT}


def _size(description: str) -> Schema:
    return {"type": ["null", "integer"], "readOnly": True, "description": description}


_STATUSES = ["queued", "saving", "active", "killed", "deleted", "uploading", "importing", "pending_delete"]

IMAGE_PROPERTIES: Schema = {
    "id": _text("The image's id", pattern=common.ID_PATTERN),
    "name": _text("What people call it", null=True, maxLength=255),
    "status": _text("Where it is in its life", read_only=True, enum=[*_STATUSES, "deactivated"]),
    "visibility": _text("Who may see and use it", enum=list(VISIBILITIES)),
    "protected": {"type": "boolean", "description": "It can't be deleted"},
    "os_hidden": {"type": "boolean", "description": "Lists leave it out unless they ask for hidden ones"},
    "checksum": _text("MD5 of the data", null=True, read_only=True, maxLength=32),
    "os_hash_algo": _text("How os_hash_value is computed", null=True, read_only=True, maxLength=64),
    "os_hash_value": _text("Hash of the data, in hexadecimal", null=True, read_only=True, maxLength=128),
    "owner": _text("The project that owns it", null=True, maxLength=255),
    "size": _size("Bytes of data"),
    "virtual_size": _size("Bytes of the disk that the data holds"),
    "container_format": _text("What the data is wrapped in", null=True, enum=[None, *CONTAINER_FORMATS]),
    "disk_format": _text("The disk's format", null=True, enum=[None, *DISK_FORMATS]),
    "created_at": _text("When it was registered", read_only=True),
    "updated_at": _text("When it last changed", read_only=True),
    "tags": {"type": "array", "description": "Words on it", "items": {"type": "string", "maxLength": 255}},
    "direct_url": _text("Where a store outside has the data", read_only=True),
    "min_ram": _number("MiB of memory that a server needs to boot it"),
    "min_disk": _number("GiB of disk that a server needs to boot it"),
    "self": _text("Its URL", read_only=True),
    "file": _text("Its data's URL", read_only=True),
    "stores": _text("The stores that have the data", read_only=True),
    "schema": _text("This schema's URL", read_only=True),
    "locations": {
        "type": "array",
        "description": "Where stores outside have the data",
        "items": {
            "type": "object",
            "properties": {"url": {"type": "string", "maxLength": 255}, "metadata": {"type": "object"}},
            "required": ["url", "metadata"],
        },
    },
}

IMAGE: Schema = {
    "name": "image",
    "properties": IMAGE_PROPERTIES,
    "additionalProperties": {"type": "string"},
    "links": [
        {"rel": "self", "href": "{self}"},
        {"rel": "enclosure", "href": "{file}"},
        {"rel": "describedby", "href": "{schema}"},
    ],
}

MEMBER: Schema = {
    "name": "member",
    "properties": {
        "member_id": _text("The project that the image is shared with"),
        "image_id": _text("The image's id", pattern=common.ID_PATTERN),
        "created_at": _text("When it was shared"),
        "updated_at": _text("When the membership last changed"),
        "status": _text("What the project said to that", enum=list(MEMBER_STATUSES)),
        "schema": _text("This schema's URL", read_only=True),
    },
    "additionalProperties": False,
}


def _collection(name: str, item: Schema) -> Schema:
    return {
        "name": name,
        "properties": {
            name: {"type": "array", "items": item},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


SERVED: dict[str, Schema] = {
    "image": IMAGE,
    "images": _collection("images", IMAGE),
    "member": MEMBER,
    "members": _collection("members", MEMBER),
}


def show(name: str) -> Any:
    """The handler of GET /v2/schemas/{name}."""

    def handler(call: Call) -> Schema:
        common.store(call)
        return SERVED[name]

    return handler
