# SPDX-License-Identifier: Apache-2.0
"""The changes of a PATCH, in both of Glance's media types, and what they make of an image.

`application/openstack-images-v2.1-json-patch`: {"op": "replace", "path": "/name", "value": …}
`application/openstack-images-v2.0-json-patch`: {"replace": "/name", "value": …}

Operations are add, replace and remove; a path names one attribute or property. Errors: glance/api/v2/images.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from computeapi import errors, validation
from computeapi.api.image import schemas
from computeapi.backends.image.base import check_property_name
from computeapi.db.queries.images import ImageRow

MEDIA_TYPES = {
    "application/openstack-images-v2.0-json-patch": 4,
    "application/openstack-images-v2.1-json-patch": 10,
}
OPERATIONS = ("add", "remove", "replace")

READ_ONLY = frozenset(
    (
        *("created_at", "updated_at", "status", "checksum", "size", "virtual_size", "direct_url", "self", "file"),
        *("schema", "id", "os_hash_algo", "os_hash_value", "stores", "locations"),
    )
)
COLUMNS = frozenset(
    (
        *("name", "visibility", "owner", "disk_format", "container_format", "min_disk", "min_ram", "protected"),
        "os_hidden",
    )
)
_WHILE_QUEUED = ("disk_format", "container_format")

_CHECK = validation.validator({**schemas.IMAGE, "type": "object"})


@dataclass(frozen=True, slots=True)
class Change:
    """One operation on one attribute or property. `strict`: add refuses what is there already."""

    operation: str
    name: str
    value: Any
    strict: bool


def parse(content_type: str | None, body: Any) -> list[Change]:
    """The changes asked for. Raises UnsupportedMediaType, BadRequest and, for what can't be changed, Forbidden."""
    kind = (content_type or "").split(";")[0].strip().lower()
    draft = MEDIA_TYPES.get(kind)
    if draft is None:
        allowed = ", ".join(sorted(MEDIA_TYPES))
        raise errors.UnsupportedMediaType(
            f"Image PATCH expects Content-Type one of: {allowed}", headers={"Accept-Patch": allowed}
        )
    if not isinstance(body, list):
        raise errors.BadRequest("Request body must be a JSON array of operation objects.")
    return [_change(raw, draft) for raw in body]


def _change(raw: Any, draft: int) -> Change:
    if not isinstance(raw, dict):
        raise errors.BadRequest("Operations must be JSON objects.")
    operation, path = _new(raw) if draft == 10 else _old(raw)
    name = _name(path)
    if operation != "remove" and "value" not in raw:
        raise errors.BadRequest(f'Operation "{operation}" requires a member named "value".')
    value = raw.get("value")
    if name in READ_ONLY:
        raise errors.Forbidden(f"Attribute '{name}' is read-only.")
    if name not in COLUMNS and name != "tags":
        check_property_name(name)
    if operation != "remove":
        validation.check_body(_CHECK, {name: value})
    return Change(operation, name, value, strict=draft == 4)


def _new(raw: dict[str, Any]) -> tuple[str, Any]:
    operation = raw.get("op")
    if operation not in OPERATIONS:
        raise errors.BadRequest(
            f"Invalid operation: `{operation}`. It must be one of the following: {', '.join(OPERATIONS)}."
        )
    if "path" not in raw:
        raise errors.BadRequest("Unable to find 'path' in JSON Schema change")
    return operation, raw["path"]


def _old(raw: dict[str, Any]) -> tuple[str, Any]:
    named = [operation for operation in OPERATIONS if operation in raw]
    if len(named) != 1:
        raise errors.BadRequest(
            'Operation objects must contain exactly one member named "add", "remove", or "replace".'
        )
    return named[0], raw[named[0]]


def _name(path: Any) -> str:
    """The one attribute that a JSON pointer names."""
    if not isinstance(path, str) or not path.startswith("/"):
        raise errors.BadRequest(f'Pointer `{path}` does not start with "/".')
    if re.search("~(?![01])", path):
        raise errors.BadRequest(f'Pointer `{path}` contains "~" not part of a recognized escape sequence.')
    name = path[1:].strip()
    if not name or "/" in name:
        raise errors.BadRequest(f"Invalid JSON pointer for this resource: '{path}'")
    return name.replace("~1", "/").replace("~0", "~")


class Draft:
    """What an image becomes, change by change: `values` for its columns, `properties`, `tags`."""

    def __init__(self, row: ImageRow) -> None:
        self._row = row
        self.values: dict[str, Any] = {}
        self.properties = dict(row.properties)
        self.tags = list(row.tags)

    def apply(self, change: Change) -> None:
        """Do one change. Raises Conflict for what is not there (or there already), Forbidden for what may not be."""
        if change.name in COLUMNS or change.name == "tags":
            self._set(change)
        elif change.operation == "remove":
            self._must_exist(change.name)
            del self.properties[change.name]
        else:
            if change.operation == "replace":
                self._must_exist(change.name)
            elif change.strict and change.name in self.properties:
                raise errors.Conflict(f"Property {change.name} already present.")
            self.properties[change.name] = change.value

    def _must_exist(self, name: str) -> None:
        if name not in self.properties:
            raise errors.Conflict(f"Property {name} does not exist.")

    def _set(self, change: Change) -> None:
        if change.operation == "remove":
            raise errors.Forbidden(f"Property {change.name} may not be removed.")
        if change.operation == "add" and change.strict:
            raise errors.Conflict(f"Property {change.name} already present.")
        if change.name in _WHILE_QUEUED and self._row.status not in ("queued", "importing"):
            raise errors.Forbidden(f"Attribute {change.name} can be only replaced for a queued image.")
        if change.name == "tags":
            self.tags = change.value
        else:
            self.values[change.name] = int(change.value) if isinstance(change.value, bool) else change.value
