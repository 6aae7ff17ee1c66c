# SPDX-License-Identifier: Apache-2.0
"""Who has a volume, as old clients say it: the actions os-reserve, os-attach, os-detach and their like.

They change what is known of a volume and nothing else, as in Cinder: `server add volume` is what gives it to a guest.
What a server has is let go by the Compute API alone (Cinder's bug 2004555).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.api import parameters as p
from computeapi.api.volume import common
from computeapi.api.volume.common import UUID_OR_NONE, Json
from computeapi.db.queries import volumes as queries
from computeapi.db.queries.volume_lists import VOLUMES, Found
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_MEMBER, rule

# --- RULES ---

_ACTION = ("POST", "/v3/volumes/{id}/action")
_RULE = "volume_extension:volume_actions:"
FORCE_DETACH = "volume_extension:volume_admin_actions:force_detach"

RULES = [
    rule(_RULE + name, PROJECT_MEMBER, text, _ACTION)
    for name, text in (
        ("reserve", "Say that a volume is about to be attached."),
        ("unreserve", "Say that it is not."),
        ("begin_detaching", "Say that it is about to be detached."),
        ("roll_detaching", "Say that it is not."),
        ("attach", "Say that it is attached."),
        ("detach", "Say that it is detached."),
        ("initialize_connection", "Ask where a host finds a volume."),
        ("terminate_connection", "Say that a host no longer needs it."),
    )
] + [rule(FORCE_DETACH, ADMIN, "Say that a volume is detached, whatever its status.", _ACTION)]

# --- SCHEMAS ---

_ANYTHING: Json = {}
_IN_ERROR = ("error", "error_attaching", "error_detaching")
_ATTACH = {
    **p.obj(
        {
            "instance_uuid": p.uuid,
            "mountpoint": {"type": "string", "minLength": 1, "maxLength": 255},
            "host_name": {"type": "string", "maxLength": 255},
            "mode": {"type": "string", "enum": ["rw", "ro"]},
        },
        "mountpoint",
    ),
    "anyOf": [{"required": ["mountpoint", "instance_uuid"]}, {"required": ["mountpoint", "host_name"]}],
}
_DETACH = {**p.obj({"attachment_id": UUID_OR_NONE}), "type": ["object", "null"]}
_CONNECTOR: Json = {"type": ["object", "string", "null"]}

# --- HANDLERS ---


def _locked(conn: Connection, call: Call) -> Found:
    row = queries.get(conn, call.target.uuid, None, lock=True)
    if row is None:
        raise VOLUMES.not_found(call.target.uuid)
    return row


def reserve(call: Call) -> None:
    """os-reserve: available → attaching."""
    with call.services.db.write() as conn:
        if not queries.change(conn, call.target.id, {"status": "attaching"}, statuses=("available",)):
            raise common.invalid_volume(
                f"Volume status must be available to reserve, but the status is {_locked(conn, call).status}."
            )


def unreserve(call: Call) -> None:
    """os-unreserve: attaching → available."""
    with call.services.db.write() as conn:
        row = _locked(conn, call)
        if not queries.attachments_of(conn, [row.uuid]):
            queries.change(conn, row.id, {"status": "available"}, statuses=("attaching",))


def begin_detaching(call: Call) -> None:
    """os-begin_detaching: in-use → detaching."""
    with call.services.db.write() as conn:
        row = _locked(conn, call)
        _refuse_mapped(conn, queries.attachments_of(conn, [row.uuid]).get(row.uuid, []))
        if not queries.change(conn, row.id, {"status": "detaching"}, statuses=("in-use",)):
            raise common.invalid_volume(
                "Unable to detach volume. Volume status must be 'in-use' and attach_status must be 'attached' to "
                "detach."
            )


def roll_detaching(call: Call) -> None:
    """os-roll_detaching: detaching → in-use."""
    with call.services.db.write() as conn:
        row = _locked(conn, call)
        _refuse_mapped(conn, queries.attachments_of(conn, [row.uuid]).get(row.uuid, []))
        queries.change(conn, row.id, {"status": "in-use"}, statuses=("detaching",))


def attach(call: Call) -> None:
    """os-attach: it is in use, by a server or a host."""
    wanted = call.body["os-attach"]
    with call.services.db.write() as conn:
        row = _locked(conn, call)
        if row.status not in ("available", "attaching") or queries.attachments_of(conn, [row.uuid]):
            raise errors.BadRequest(
                "Error attaching volume - InvalidVolume: Invalid volume: volume is already attached or its status is "
                f"not available: {row.status}"
            )
        mode = wanted.get("mode", "rw")
        if mode == "rw" and row.read_only:
            raise errors.BadRequest(f"Invalid attaching mode '{mode}' for volume {row.uuid}.")
        queries.add_attachment(
            conn,
            {
                "uuid": str(uuid.uuid4()),
                "volume_id": row.uuid,
                "project_id": row.project_id,
                "server_id": wanted.get("instance_uuid"),
                "status": "attached",
                "device": wanted["mountpoint"],
                "mode": mode,
                "attached_at": clock.now(),
            },
        )
        queries.change(conn, row.id, {"status": "in-use"})


def detach(call: Call) -> None:
    """os-detach: nobody has it."""
    _detach(call, (call.body["os-detach"] or {}).get("attachment_id"))


def force_detach(call: Call) -> None:
    """os-force_detach: the same, whatever the volume's status."""
    _detach(call, call.body["os-force_detach"].get("attachment_id"), force=True)


def _detach(call: Call, attachment_id: str | None, *, force: bool = False) -> None:
    with call.services.db.write() as conn:
        row = _locked(conn, call)
        found = queries.attachments_of(conn, [row.uuid]).get(row.uuid, [])
        if attachment_id is not None:
            found = [each for each in found if each.uuid == attachment_id]
        if not found:
            if attachment_id is not None:
                raise errors.BadRequest(
                    "Error detaching volume - VolumeAttachmentNotFound: Volume attachment could not be found with "
                    f"filter: attachment_id = {attachment_id}."
                )
            queries.change(conn, row.id, {"status": "available"}, statuses=("in-use", "detaching", "attaching"))
            return
        if len(found) > 1:
            raise common.invalid_volume(
                "Detach volume failed: More than one attachment, but no attachment_id provided."
            )
        _refuse_mapped(conn, found)
        if row.status not in ("in-use", "detaching") and not force:
            raise common.invalid_volume(
                f"Volume {row.uuid} status must be in-use or detaching to detach, but the status is {row.status}."
            )
        common.store(call).let_go(conn, row.uuid, found[0].uuid)
        if force and queries.user_of(conn, row.uuid) is None:
            queries.change(conn, row.id, {"status": "available"}, statuses=_IN_ERROR)


def _refuse_mapped(conn: Connection, attachments: list[Any]) -> None:
    """Raise Conflict where a server's disk stands behind one of them."""
    for each in attachments:  # there is one at most: no volume is attached twice
        refuse_mapped(conn, each)


def refuse_mapped(conn: Connection, attachment: Any) -> None:
    """Raise Conflict where a server's disk stands behind the attachment."""
    if queries.is_mapped(conn, attachment.uuid):
        raise errors.Conflict(f"Detach volume from instance {attachment.server_id} using the Compute API")


def forget_all(conn: Connection, volume_id: str) -> None:
    """Nobody has it, as an administrator says; but servers' disks stay as they are."""
    for each in queries.attachments_of(conn, [volume_id]).get(volume_id, []):
        refuse_mapped(conn, each)
        queries.remove_attachment(conn, each.uuid)


def check_uploadable(row: Found, *, force: bool) -> None:
    """Raise BadRequest where no image can be made of the volume now."""
    if row.status not in (("available", "in-use") if force else ("available",)):
        statuses = "available or in-use" if force else "available"
        raise common.invalid_volume(f"Volume {row.uuid} status must be {statuses}")


def connection(row: Found, mode: str = "rw") -> Json:
    """Where a host finds the volume: a file in its own pool."""
    return {
        "driver_volume_type": "local",
        "volume_id": row.uuid,
        "name": f"volume-{row.uuid}",
        "format": "qcow2",
        "host": row.host,
        "access_mode": "ro" if row.read_only else mode,
        "encrypted": False,
        "qos_specs": None,
    }


def initialize_connection(call: Call) -> Json:
    """os-initialize_connection (200)."""
    connector = call.body["os-initialize_connection"]["connector"]
    multipath = connector.get("enforce_multipath", False) if isinstance(connector, dict) else False
    data = connection(call.target)
    kind = data.pop("driver_volume_type")
    return {"connection_info": {"driver_volume_type": kind, "data": data, "enforce_multipath": bool(multipath)}}


def terminate_connection(_call: Call) -> None:
    """os-terminate_connection (202): there is nothing to take back."""


# --- the table: name → handler, rule, schema, status ---

ACTIONS: dict[str, tuple[Callable[[Call], Any], str, Json, int]] = {
    "os-reserve": (reserve, _RULE + "reserve", _ANYTHING, 202),
    "os-unreserve": (unreserve, _RULE + "unreserve", _ANYTHING, 202),
    "os-begin_detaching": (begin_detaching, _RULE + "begin_detaching", _ANYTHING, 202),
    "os-roll_detaching": (roll_detaching, _RULE + "roll_detaching", _ANYTHING, 202),
    "os-attach": (attach, _RULE + "attach", _ATTACH, 202),
    "os-detach": (detach, _RULE + "detach", _DETACH, 202),
    "os-force_detach": (
        force_detach,
        FORCE_DETACH,
        p.obj({"connector": _CONNECTOR, "attachment_id": {"type": ["string", "null"]}}),
        202,
    ),
    "os-initialize_connection": (
        initialize_connection,
        _RULE + "initialize_connection",
        p.obj({"connector": {"type": ["object", "string"]}}, "connector"),
        200,
    ),
    "os-terminate_connection": (
        terminate_connection,
        _RULE + "terminate_connection",
        p.obj({"connector": _CONNECTOR}, "connector"),
        202,
    ),
}
