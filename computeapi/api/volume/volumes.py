# SPDX-License-Identifier: Apache-2.0
"""Volumes: create, list, show, change, delete, and what there is in all (cinder/api/v3/volumes.py)."""

from __future__ import annotations

from typing import Any

import orjson

from computeapi.api import parameters as p
from computeapi.api.volume import common, sources, views
from computeapi.api.volume.common import METADATA, NAME, SIZE, UUID_OR_NONE, Json, or_none
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volumes as queries
from computeapi.db.queries.volume_lists import VOLUMES
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Version, Versioned

# --- RULES ---

_VOLUME = "/v3/volumes/{id}"
FORCE_DELETE = "volume:force_delete"
SEE_ENCRYPTION = "volume_extension:volume_encryption_metadata"

RULES = [
    rule("volume:create", PROJECT_MEMBER, "Make a volume.", ("POST", "/v3/volumes")),
    rule("volume:get", PROJECT_READER, "Show a volume.", ("GET", _VOLUME)),
    rule("volume:get_all", PROJECT_READER, "List volumes.", ("GET", "/v3/volumes")),
    rule("volume:update", PROJECT_MEMBER, "Change a volume.", ("PUT", _VOLUME), ("POST", _VOLUME + "/action")),
    rule("volume:delete", PROJECT_MEMBER, "Delete a volume.", ("DELETE", _VOLUME)),
    rule(SEE_ENCRYPTION, PROJECT_READER, "See how a volume is encrypted.", ("GET", _VOLUME + "/encryption")),
    rule(FORCE_DELETE, ADMIN, "Delete a volume in whatever status.", ("DELETE", _VOLUME)),
]

# --- SCHEMAS ---

_CREATE: Json = {
    "name": NAME,
    "description": NAME,
    "display_name": NAME,
    "display_description": NAME,
    "volume_type": NAME,
    "metadata": or_none(METADATA),
    "snapshot_id": UUID_OR_NONE,
    "source_volid": UUID_OR_NONE,
    "consistencygroup_id": UUID_OR_NONE,
    "size": or_none(SIZE),
    "availability_zone": {"type": ["string", "null"], "minLength": 1, "maxLength": 255},
    "multiattach": {"oneOf": [{"type": "null"}, p.loose_boolean]},
    "image_id": NAME,
    "imageRef": NAME,
}
_HINTS: Json = {"type": ["object", "null"]}


def _create(properties: Json, *, strict: bool = False) -> Json:
    volume = p.obj(properties, extra=not strict)
    return p.obj({"volume": volume, "OS-SCH-HNT:scheduler_hints": _HINTS}, "volume")


_CREATE_313 = {**_CREATE, "group_id": NAME}
_CREATE_347 = {**_CREATE_313, "backup_id": UUID_OR_NONE}
CREATE = Versioned(
    _create(_CREATE),
    {"3.13": _create(_CREATE_313), "3.47": _create(_CREATE_347), "3.53": _create(_CREATE_347, strict=True)},
)
_UPDATE = p.obj(
    {"name": NAME, "description": NAME, "display_name": NAME, "display_description": NAME, "metadata": METADATA}
)
UPDATE = Versioned(p.wrapped("volume", _UPDATE), {"3.53": p.wrapped("volume", {**_UPDATE, "minProperties": 1})})

FILTERS = (
    "name",
    "status",
    "metadata",
    "bootable",
    "migration_status",
    "availability_zone",
    "group_id",
    "size",
    "created_at",
    "updated_at",
    "consumes_quota",
)
_FORCE, _ALL_METADATA = Version(3, 23), Version(3, 36)

# --- HANDLERS ---


def create(call: Call) -> Json:
    """POST /v3/volumes (202). Raises BadRequest, NotFound (a source) and QuotaExceeded."""
    new = sources.read(call, call.body["volume"])
    made = common.store(call).create(call.context, new)
    return {"volume": _show(call, made.id, more=False)}


def _show(call: Call, uuid: str, *, more: bool = True) -> Json:
    with call.services.db.read() as conn:
        row = lists.find(conn, VOLUMES, uuid, common.scope(call))
        attachments = queries.attachments_of(conn, [uuid])
    return views.volumes(call, [row], attachments, more=more)[0]


def show(call: Call) -> Json:
    """GET /v3/volumes/{id}."""
    return {"volume": _show(call, call.target.uuid)}


def index(call: Call) -> Json:
    """GET /v3/volumes."""
    rows, total = _listed(call)
    return common.paged(call, "volumes", "volumes", [views.brief_volume(call, row) for row in rows], total)


def detail(call: Call) -> Json:
    """GET /v3/volumes/detail."""
    rows, total = _listed(call)
    with call.services.db.read() as conn:
        attachments = queries.attachments_of(conn, [row.uuid for row in rows])
    return common.paged(call, "volumes", "volumes/detail", views.volumes(call, rows, attachments), total)


def _listed(call: Call) -> tuple[list[Any], int | None]:
    wish, project_id = common.read_wish(call, VOLUMES, FILTERS), common.listed_scope(call)
    with call.services.db.read() as conn:
        rows = lists.page(conn, VOLUMES, project_id, wish)
        total = lists.count(conn, VOLUMES, project_id, wish) if common.wants_count(call) else None
    return rows, total


def summary(call: Call) -> Json:
    """GET /v3/volumes/summary (from 3.12 on): how many volumes, and how large together; from 3.36 on their metadata."""
    wish, project_id = common.read_wish(call, VOLUMES, FILTERS), common.listed_scope(call)
    with call.services.db.read() as conn:
        number, size = lists.summary(conn, project_id, wish)
        found = lists.metadata(conn, project_id, wish) if call.version >= _ALL_METADATA else []
    shown: Json = {"total_count": number, "total_size": size}
    if call.version >= _ALL_METADATA:
        values: dict[str, list[str]] = {}
        for text in found:
            for key, value in orjson.loads(text).items():
                if value not in values.setdefault(key, []):
                    values[key].append(value)
        shown["metadata"] = values
    return {"volume-summary": shown}


def update(call: Call) -> Json:
    """PUT /v3/volumes/{id}."""
    values = common.texts(call.body["volume"])
    if "metadata" in call.body["volume"]:
        values["metadata_json"] = orjson.dumps(call.body["volume"]["metadata"]).decode()
    if values:
        with call.services.db.write() as conn:
            queries.change(conn, call.target.id, values)
    return {"volume": _show(call, call.target.uuid, more=False)}


def delete(call: Call) -> None:
    """DELETE /v3/volumes/{id} (202); with `cascade` its snapshots too, with `force` (from 3.23 on) whatever it does."""
    cascade = common.boolean(call, "cascade")
    force = call.version >= _FORCE and common.boolean(call, "force")
    if force:
        call.check(FORCE_DELETE, call.target.project_id)
    common.store(call).delete(call.context, call.target.uuid, force=force, cascade=cascade)


def encryption(_call: Call) -> Json:
    """GET /v3/volumes/{id}/encryption: volumes are not encrypted."""
    return {"encryption_key_id": None}
