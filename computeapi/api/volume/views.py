# SPDX-License-Identifier: Apache-2.0
"""How volumes, snapshots and attachments look at each version (cinder/api/v3/views, contrib/volume_*_attribute.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import orjson

from computeapi.api.volume import common
from computeapi.api.volume.common import Json
from computeapi.api.volume.services import host_name
from computeapi.db.queries.volume_lists import Found
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule
from computeapi.versions import Window, window

READER = "rule:context_is_admin or role:reader"
SEE_HOST = "volume_extension:volume_host_attribute"
SEE_MIGRATION = "volume_extension:volume_mig_status_attribute"
SEE_PROJECT = "volume_extension:volume_tenant_attribute"
SEE_SNAPSHOT = "volume_extension:extended_snapshot_attributes"

RULES = [
    rule(SEE_HOST, ADMIN, "See where volumes are.", ("GET", "/v3/volumes/detail")),
    rule(SEE_MIGRATION, ADMIN, "See whether volumes move.", ("GET", "/v3/volumes/detail")),
    rule(SEE_PROJECT, READER, "See whose volumes are.", ("GET", "/v3/volumes/detail")),
    rule(SEE_SNAPSHOT, READER, "See whose snapshots are, and how far.", ("GET", "/v3/snapshots/detail")),
]

_ALWAYS = window("3.0")


class Field(NamedTuple):
    """An attribute: its name, its value, from and to which version, and the rule of who may see it."""

    name: str
    value: Callable[[Found], Any]
    window: Window = _ALWAYS
    rule: str | None = None


# --- volumes ---

VOLUME = (
    Field("id", lambda row: row.uuid),
    Field("status", lambda row: row.status),
    Field("size", lambda row: row.size_gb),
    Field("availability_zone", lambda row: row.availability_zone),
    Field("created_at", lambda row: row.created_at),
    Field("updated_at", lambda row: row.updated_at),
    Field("name", lambda row: row.name),
    Field("description", lambda row: row.description),
    Field("volume_type", lambda row: row.type_name),
    Field("snapshot_id", lambda row: row.snapshot_id),
    Field("source_volid", lambda row: row.source_volume_id),
    Field("metadata", lambda row: shown_metadata(row)),
    Field("user_id", lambda row: row.user_id),
    Field("bootable", lambda row: "true" if row.bootable else "false"),
    Field("encrypted", lambda _row: False),
    Field("replication_status", lambda _row: None),
    Field("consistencygroup_id", lambda _row: None),
    Field("multiattach", lambda _row: False),
    Field("migration_status", lambda _row: None, rule=common.ADMIN_RULE),
    Field("group_id", lambda _row: None, window("3.13")),
    Field("provider_id", lambda _row: None, window("3.21"), common.ADMIN_RULE),
    Field("shared_targets", lambda _row: False, window("3.48")),
    Field("service_uuid", lambda _row: None, window("3.48")),
    Field("cluster_name", lambda _row: None, window("3.61"), common.ADMIN_RULE),
    Field("volume_type_id", lambda row: row.type_id, window("3.63")),
    Field("consumes_quota", lambda _row: True, window("3.65")),
)
# What only lists with details and single volumes show: answers to a create or change don't.
VOLUME_MORE = (
    Field("os-vol-host-attr:host", lambda row: host_name(row.host), rule=SEE_HOST),
    Field("os-vol-mig-status-attr:migstat", lambda _row: None, rule=SEE_MIGRATION),
    Field("os-vol-mig-status-attr:name_id", lambda _row: None, rule=SEE_MIGRATION),
    Field("os-vol-tenant-attr:tenant_id", lambda row: row.project_id, rule=SEE_PROJECT),
)


_MADE = ("attached", "detaching")  # attachments that are more than wanted


def shown_metadata(row: Found) -> Any:
    """The volume's metadata, with `readonly` where somebody said so or not so."""
    if row.read_only is None:
        return orjson.Fragment(row.metadata_json)
    return orjson.loads(row.metadata_json) | {"readonly": "True" if row.read_only else "False"}


def fields(call: Call, table: Sequence[Field]) -> list[Field]:
    """The rows of a table that this caller sees at this version."""
    return [row for row in table if call.version in row.window and (row.rule is None or call.allows(row.rule))]


def volumes(call: Call, rows: Sequence[Found], attachments: dict[str, list[Found]], *, more: bool = True) -> list[Json]:
    """Volumes with all that there is to see."""
    table = fields(call, VOLUME + VOLUME_MORE if more else VOLUME)
    admin = common.is_admin(call)
    shown = []
    for row in rows:
        item = {field.name: field.value(row) for field in table}
        item["links"] = common.links(call, "volumes", row.uuid)
        made = (each for each in attachments.get(row.uuid, []) if each.status in _MADE)
        item["attachments"] = [_attached(each, admin) for each in made]
        if more and row.image_json != "{}":
            item["volume_image_metadata"] = orjson.Fragment(row.image_json)
        shown.append(item)
    return shown


def _attached(row: Found, admin: bool) -> Json:
    return {
        "id": row.volume_id,
        "attachment_id": row.uuid,
        "volume_id": row.volume_id,
        "server_id": row.server_id,
        "host_name": row.host if admin else None,
        "device": row.device,
        "attached_at": row.attached_at,
    }


def brief_volume(call: Call, row: Found) -> Json:
    """A volume in a list without details."""
    return {"id": row.uuid, "name": row.name, "links": common.links(call, "volumes", row.uuid)}


# --- snapshots ---

SNAPSHOT = (
    Field("id", lambda row: row.uuid),
    Field("created_at", lambda row: row.created_at),
    Field("updated_at", lambda row: row.updated_at),
    Field("name", lambda row: row.name),
    Field("description", lambda row: row.description),
    Field("volume_id", lambda row: row.volume_id),
    Field("status", lambda row: row.status),
    Field("size", lambda row: row.size_gb),
    Field("metadata", lambda row: orjson.Fragment(row.metadata_json)),
)
SNAPSHOT_DETAIL = (
    Field("group_snapshot_id", lambda _row: None, window("3.14")),
    Field("user_id", lambda row: row.user_id, window("3.41")),
    Field("consumes_quota", lambda _row: True, window("3.65")),
)
SNAPSHOT_MORE = (
    Field("os-extended-snapshot-attributes:project_id", lambda row: row.project_id, rule=SEE_SNAPSHOT),
    Field(
        "os-extended-snapshot-attributes:progress",
        lambda row: row.progress or ("100%" if row.status == "available" else "0%"),
        rule=SEE_SNAPSHOT,
    ),
)


def snapshots(call: Call, rows: Sequence[Found], table: Sequence[Field]) -> list[Json]:
    """Snapshots with the fields of `table`."""
    seen = fields(call, table)
    return [{field.name: field.value(row) for field in seen} for row in rows]


# --- attachments ---


def attachment(row: Found, connection: Json | None = None) -> Json:
    """An attachment with all that there is to see."""
    return {
        **brief_attachment(row),
        "attached_at": row.attached_at or "",
        "detached_at": "",
        "attach_mode": row.mode,
        "connection_info": connection or {},
    }


def brief_attachment(row: Found) -> Json:
    """An attachment in a list without details."""
    return {"id": row.uuid, "status": row.status, "instance": row.server_id, "volume_id": row.volume_id}
