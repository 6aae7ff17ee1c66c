# SPDX-License-Identifier: Apache-2.0
"""The attachments API, from 3.27 on (cinder/api/v3/attachments.py): who has a volume, or is about to.

reserved ──connector──> attaching ──os-complete (3.44)──> attached. It says who may have the volume; `server add volume`
is what gives it to a guest, and what a server has only the Compute API lets go.
"""

from __future__ import annotations

import uuid

import orjson
from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.api import parameters as p
from computeapi.api.volume import attach, common, views
from computeapi.api.volume.common import Json
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volumes as queries
from computeapi.db.queries.volume_lists import ATTACHMENTS, VOLUMES, Found
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Versioned

# --- RULES ---

_PATH = "/v3/attachments/{id}"

RULES = [
    rule("volume:attachment_get", PROJECT_READER, "See attachments.", ("GET", "/v3/attachments"), ("GET", _PATH)),
    rule("volume:attachment_create", PROJECT_MEMBER, "Attach a volume.", ("POST", "/v3/attachments")),
    rule("volume:attachment_update", PROJECT_MEMBER, "Say who attaches it.", ("PUT", _PATH)),
    rule("volume:attachment_delete", PROJECT_MEMBER, "End an attachment.", ("DELETE", _PATH)),
    rule("volume:attachment_complete", PROJECT_MEMBER, "Say that it is done.", ("POST", _PATH + "/action")),
]

# --- SCHEMAS ---

_CREATE: Json = {"instance_uuid": p.uuid, "connector": {"type": ["object", "null"]}, "volume_uuid": p.uuid}
CREATE = Versioned(
    p.wrapped("attachment", p.obj(_CREATE, "volume_uuid")),
    {
        "3.54": p.wrapped(
            "attachment", p.obj({**_CREATE, "mode": {"type": "string", "enum": ["rw", "ro"]}}, "volume_uuid")
        )
    },
)
UPDATE = p.wrapped("attachment", p.obj({"connector": {"type": "object", "minProperties": 1}}, "connector"))
COMPLETE = p.wrapped("os-complete", {})

FILTERS = ("volume_id", "status", "instance_id", "attach_status")
_LONGEST_CONNECTOR = 10_000  # characters, as JSON

# --- HANDLERS ---


def _view(call: Call, row: Found) -> Json:
    """With where the volume is, once it was said who wants to have it."""
    info: Json = {}
    if row.connector_json != "{}":
        with call.services.db.read() as conn:
            volume = queries.get(conn, row.volume_id, None)
        if volume is not None:
            info = {"attachment_id": row.uuid, **attach.connection(volume, row.mode)}
    return {"attachment": views.attachment(row, info)}


def _show(call: Call, uuid: str) -> Json:
    with call.services.db.read() as conn:
        row = lists.find(conn, ATTACHMENTS, uuid, common.scope(call))
    return _view(call, row)


def index(call: Call) -> Json:
    """GET /v3/attachments."""
    return common.paged(call, "attachments", "attachments", [views.brief_attachment(row) for row in _listed(call)])


def detail(call: Call) -> Json:
    """GET /v3/attachments/detail."""
    return common.paged(call, "attachments", "attachments/detail", [views.attachment(row) for row in _listed(call)])


def _listed(call: Call) -> list[Found]:
    wish = common.read_wish(call, ATTACHMENTS, FILTERS)
    with call.services.db.read() as conn:
        return lists.page(conn, ATTACHMENTS, common.listed_scope(call), wish)


def show(call: Call) -> Json:
    """GET /v3/attachments/{id}."""
    return _view(call, call.target)


def create(call: Call) -> Json:
    """POST /v3/attachments: the volume is reserved; with a connector it is attaching. Raises BadRequest."""
    body = call.body["attachment"]
    connector, mode = body.get("connector"), body.get("mode") or (body.get("connector") or {}).get("mode")
    _check_connector(connector)
    attachment_id = str(uuid.uuid4())
    with call.services.db.write() as conn:
        volume = queries.get(conn, body["volume_uuid"], common.scope(call), lock=True)
        if volume is None:
            raise VOLUMES.not_found(body["volume_uuid"])
        call.check("volume:attachment_create", volume.project_id)
        _reserve(conn, volume)
        queries.add_attachment(
            conn,
            {
                "uuid": attachment_id,
                "volume_id": volume.uuid,
                "project_id": volume.project_id,
                "server_id": body.get("instance_uuid"),
                "status": "reserved",
                "device": None,
                "mode": "ro" if volume.read_only or mode == "ro" else "rw",
            },
        )
        if connector:
            _connect(conn, volume.id, attachment_id, connector)
    return _show(call, attachment_id)


def _reserve(conn: Connection, volume: Found) -> None:
    if "error" in volume.status:
        raise common.invalid_volume(
            "Volume attachments can not be created if the volume is in an error state. The Volume "
            f"{volume.uuid} currently has a status of: {volume.status} "
        )
    if not queries.change(conn, volume.id, {"status": "reserved"}, statuses=("available", "downloading")):
        raise common.invalid_volume(
            f"Volume {volume.uuid} status must be available or downloading to reserve, but the current status is "
            f"{volume.status}."
        )


def _check_connector(connector: Json | None) -> None:
    if connector and len(orjson.dumps(connector)) > _LONGEST_CONNECTOR:
        raise errors.BadRequest(f"A connector has {_LONGEST_CONNECTOR} characters at most.")


def _connect(conn: Connection, volume_key: int, attachment_id: str, connector: Json) -> None:
    """Who wants to have it is known: attaching."""
    mountpoint = connector.get("mountpoint")
    values = {"connector_json": orjson.dumps(connector).decode(), "status": "attaching"}
    if isinstance(mountpoint, str):
        values["device"] = mountpoint[:255]
    queries.change_attachment(conn, attachment_id, values)
    queries.change(conn, volume_key, {"status": "attaching"}, statuses=("reserved", "attaching"))


def _locked(conn: Connection, row: Found) -> tuple[Found, Found]:
    """The volume, locked, and the attachment as it is now. Raises NotFound."""
    volume = queries.get(conn, row.volume_id, None, lock=True)
    now = queries.attachment(conn, row.uuid)
    if volume is None or now is None:
        raise ATTACHMENTS.not_found(row.uuid)
    return volume, now


def update(call: Call) -> Json:
    """PUT /v3/attachments/{id}: who wants to have it. Raises Conflict where the volume is in error."""
    connector = call.body["attachment"]["connector"]
    _check_connector(connector)
    with call.services.db.write() as conn:
        volume, now = _locked(conn, call.target)
        if "error" in volume.status:
            raise errors.Conflict(
                "Resource conflict: Volume attachments can not be updated if the volume is in an error state. The "
                f"Volume {volume.uuid} currently has a status of: {volume.status} "
            )
        attach.refuse_mapped(conn, now)
        _connect(conn, volume.id, now.uuid, connector)
    return _show(call, call.target.uuid)


def delete(call: Call) -> Json:
    """DELETE /v3/attachments/{id}; the volume's other attachments. Raises Conflict for what a server has."""
    with call.services.db.write() as conn:
        volume, now = _locked(conn, call.target)
        attach.refuse_mapped(conn, now)
        common.store(call).let_go(conn, volume.uuid, now.uuid)
        left = queries.attachments_of(conn, [volume.uuid]).get(volume.uuid, [])
    return {"attachments": [views.brief_attachment(row) for row in left]}


def complete(call: Call) -> None:
    """POST /v3/attachments/{id}/action os-complete (204, from 3.44 on): in-use."""
    with call.services.db.write() as conn:
        volume, now = _locked(conn, call.target)
        attach.refuse_mapped(conn, now)
        queries.change_attachment(conn, now.uuid, {"status": "attached", "attached_at": now.attached_at or clock.now()})
        queries.change(conn, volume.id, {"status": "in-use"})


# --- the table of POST /v3/attachments/{id}/action ---

ACTIONS: dict[str, Endpoint] = {
    "os-complete": endpoint(
        complete,
        "volume:attachment_complete",
        body=COMPLETE,
        loads=common.load(ATTACHMENTS),
        since="3.44",
        status=204,
    )
}
