# SPDX-License-Identifier: Apache-2.0
"""Snapshots of volumes (cinder/api/v3/snapshots.py, contrib/snapshot_actions.py, admin_actions.py)."""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume import common, views
from computeapi.api.volume.common import METADATA, NAME, UUID_OR_NONE, Json, or_none
from computeapi.api.volume.views import SNAPSHOT, SNAPSHOT_DETAIL, SNAPSHOT_MORE
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volume_snapshots as queries
from computeapi.db.queries.volume_lists import SNAPSHOTS
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Version

# --- RULES ---

_SNAPSHOT = "/v3/snapshots/{id}"
_ACTION = ("POST", _SNAPSHOT + "/action")
_ADMIN = "volume_extension:snapshot_admin_actions:"
TELL_STATUS = "snapshot_extension:snapshot_actions:update_snapshot_status"

RULES = [
    rule("volume:create_snapshot", PROJECT_MEMBER, "Make a snapshot.", ("POST", "/v3/snapshots")),
    rule("volume:get_snapshot", PROJECT_READER, "Show a snapshot.", ("GET", _SNAPSHOT)),
    rule("volume:get_all_snapshots", PROJECT_READER, "List snapshots.", ("GET", "/v3/snapshots")),
    rule("volume:update_snapshot", PROJECT_MEMBER, "Change a snapshot.", ("PUT", _SNAPSHOT)),
    rule("volume:delete_snapshot", PROJECT_MEMBER, "Delete a snapshot.", ("DELETE", _SNAPSHOT)),
    rule(TELL_STATUS, PROJECT_MEMBER, "Tell how far a snapshot is.", _ACTION),
    rule(_ADMIN + "reset_status", ADMIN, "Say what a snapshot's status is.", _ACTION),
    rule(_ADMIN + "force_delete", ADMIN, "Delete a snapshot in whatever status.", _ACTION),
]

# --- SCHEMAS ---

CREATE = p.wrapped(
    "snapshot",
    p.obj(
        {
            "name": NAME,
            "display_name": NAME,
            "description": NAME,
            "volume_id": UUID_OR_NONE,
            "force": p.loose_boolean,
            "metadata": or_none(METADATA),
        },
        "volume_id",
    ),
)
UPDATE = p.wrapped(
    "snapshot",
    {
        **p.obj({"name": NAME, "description": NAME, "display_name": NAME, "display_description": NAME}),
        "anyOf": [{"required": [name]} for name in ("name", "description", "display_name", "display_description")],
    },
)
STATUSES = ["available", "creating", "deleting", "deleted", "updating", "unmanaging", "error", "error_deleting"]
FILTERS = ("status", "volume_id", "name", "metadata", "availability_zone", "consumes_quota")
_IN_USE_TOO = Version(3, 66)

# --- HANDLERS ---


def _show(call: Call, uuid: str, *, more: bool = True) -> Json:
    with call.services.db.read() as conn:
        row = lists.find(conn, SNAPSHOTS, uuid, common.scope(call))
    table = SNAPSHOT + SNAPSHOT_DETAIL + (SNAPSHOT_MORE if more else ())
    return views.snapshots(call, [row], table)[0]


def create(call: Call) -> Json:
    """POST /v3/snapshots (202). Of a volume that is in use with `force`, or from 3.66 on."""
    body = call.body["snapshot"]
    forced = body.get("force")
    force = forced is not None and p.truth(forced)
    if call.version >= _IN_USE_TOO:
        if forced is not None and not force:
            raise errors.BadRequest(
                "Since microversion 3.66 the 'force' flag is invalid for this request.  For backward compatability, "
                "however, when the 'force' flag is passed with a value evaluating to True, it is silently ignored."
            )
        force = True
    texts = common.texts(body)
    made = common.store(call).create_snapshot(
        call.context,
        body["volume_id"] or "",
        texts.get("name"),
        texts.get("description"),
        force=force,
        metadata=body.get("metadata"),
    )
    return {"snapshot": _show(call, made.id, more=False)}


def show(call: Call) -> Json:
    """GET /v3/snapshots/{id}."""
    return {"snapshot": _show(call, call.target.uuid)}


def index(call: Call) -> Json:
    """GET /v3/snapshots."""
    return _listed(call, "snapshots", SNAPSHOT)


def detail(call: Call) -> Json:
    """GET /v3/snapshots/detail."""
    return _listed(call, "snapshots/detail", SNAPSHOT + SNAPSHOT_DETAIL + SNAPSHOT_MORE)


def _listed(call: Call, path: str, table: tuple[views.Field, ...]) -> Json:
    wish, project_id = common.read_wish(call, SNAPSHOTS, FILTERS), common.listed_scope(call)
    with call.services.db.read() as conn:
        rows = lists.page(conn, SNAPSHOTS, project_id, wish)
        total = lists.count(conn, SNAPSHOTS, project_id, wish) if common.wants_count(call) else None
    return common.paged(call, "snapshots", path, views.snapshots(call, rows, table), total)


def update(call: Call) -> Json:
    """PUT /v3/snapshots/{id}."""
    with call.services.db.write() as conn:
        queries.change(conn, call.target.uuid, common.texts(call.body["snapshot"]))
    return {"snapshot": _show(call, call.target.uuid, more=False)}


def delete(call: Call) -> None:
    """DELETE /v3/snapshots/{id} (202)."""
    common.store(call).delete_snapshot(call.context, call.target.uuid)


# --- actions ---

_TOLD = {"creating": ("creating", "available", "error"), "deleting": ("deleting", "error_deleting")}


def tell_status(call: Call) -> None:
    """os-update_snapshot_status (202): how far it is, from who makes it."""
    wanted = call.body["os-update_snapshot_status"]
    progress = wanted.get("progress")
    if progress and not _is_percentage(progress):
        raise common.invalid("progress must be an integer percentage between 0 and 100")
    current, status = call.target.status, wanted["status"]
    if current not in _TOLD:
        raise errors.BadRequest(f"Snapshot status {current} not allowed for update_snapshot_status")
    if status not in _TOLD[current]:
        raise errors.BadRequest(
            f"Provided snapshot status {status[:255]} not allowed for snapshot with status {current}."
        )
    with call.services.db.write() as conn:
        told = {"status": status} | ({"progress": progress} if progress else {})
        queries.change(conn, call.target.uuid, told, statuses=(current,))


def _is_percentage(value: Any) -> bool:
    return (
        isinstance(value, str) and value[:-1].isascii() and value[:-1].isdigit() and int(value[:3].rstrip("%")) <= 100
    )


def reset_status(call: Call) -> None:
    """os-reset_status (202)."""
    with call.services.db.write() as conn:
        queries.change(conn, call.target.uuid, {"status": call.body["os-reset_status"]["status"].lower()})


def force_delete(call: Call) -> None:
    """os-force_delete (202)."""
    common.store(call).delete_snapshot(call.context, call.target.uuid, force=True)


def _action(handler: Any, name: str, rule_name: str, schema: Json) -> Endpoint:
    return endpoint(handler, rule_name, body=p.wrapped(name, schema), loads=common.load(SNAPSHOTS), status=202)


ACTIONS: dict[str, Endpoint] = {
    "os-update_snapshot_status": _action(
        tell_status,
        "os-update_snapshot_status",
        TELL_STATUS,
        p.obj({"status": {"type": "string"}, "progress": {"type": ["string", "null"], "maxLength": 4}}, "status"),
    ),
    "os-reset_status": _action(
        reset_status,
        "os-reset_status",
        _ADMIN + "reset_status",
        p.obj({"status": {"type": "string", "enum": STATUSES}}, "status"),
    ),
    "os-force_delete": _action(force_delete, "os-force_delete", _ADMIN + "force_delete", {}),
}
