# SPDX-License-Identifier: Apache-2.0
"""What is done to volumes: POST /v3/volumes/{id}/action (cinder/api/contrib/volume_actions.py, admin_actions.py,
volume_image_metadata.py).

What it means to be attached is in attach.py: old clients say so by actions.
"""

from __future__ import annotations

from typing import Any

import orjson

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume import attach, common
from computeapi.api.volume.common import SIZE, Json
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volume_snapshots as snapshots
from computeapi.db.queries import volumes as queries
from computeapi.db.queries.volume_lists import TYPES, VOLUMES
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Versioned

# --- RULES ---

_ACTION = ("POST", "/v3/volumes/{id}/action")
_ADMIN = "volume_extension:volume_admin_actions:"
_IMAGE_METADATA = "volume_extension:volume_image_metadata:"
EXTEND, RETYPE, READ_ONLY, REVERT = (
    "volume:extend",
    "volume:retype",
    "volume:update_readonly_flag",
    "volume:revert_to_snapshot",
)
UPLOAD, UPLOAD_PUBLIC = "volume_extension:volume_actions:upload_image", "volume_extension:volume_actions:upload_public"

RULES = [
    rule(EXTEND, PROJECT_MEMBER, "Make a volume larger.", _ACTION),
    rule(RETYPE, PROJECT_MEMBER, "Give a volume another type.", _ACTION),
    rule(READ_ONLY, PROJECT_MEMBER, "Say that a volume is only to be read.", _ACTION),
    rule(REVERT, PROJECT_MEMBER, "Make a volume what it was at its latest snapshot.", _ACTION),
    rule(UPLOAD, PROJECT_MEMBER, "Make an image of a volume.", _ACTION),
    rule(UPLOAD_PUBLIC, ADMIN, "Make a public image of a volume.", _ACTION),
    rule(_ADMIN + "reset_status", ADMIN, "Say what a volume's status is.", _ACTION),
    rule(_ADMIN + "force_delete", ADMIN, "Delete a volume in whatever status.", _ACTION),
    rule(_IMAGE_METADATA + "show", PROJECT_READER, "See the properties of a volume's image.", _ACTION),
    rule(_IMAGE_METADATA + "set", PROJECT_MEMBER, "Change them.", _ACTION),
    rule(_IMAGE_METADATA + "remove", PROJECT_MEMBER, "Take one away.", _ACTION),
]

# --- SCHEMAS ---

STATUSES = [
    *("creating", "available", "deleting", "error", "in-use", "attaching", "detaching", "error_deleting"),
    *("maintenance", "error_extending", "extending", "downloading", "uploading", "reserved", "retyping", "backing-up"),
    *("restoring-backup", "awaiting-transfer", "error_backing-up", "error_restoring", "managing", "error_managing"),
]
ATTACH_STATUSES = ["attached", "detached", "reserved", "attaching", "detaching", "error_attaching", "error_detaching"]
DISK_FORMATS = ["raw", "vmdk", "vdi", "qcow2", "vhd", "vhdx", "ploop"]

_ANYTHING: Json = {}
_METADATA: Json = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:. /]{1,255}$(?!\n)": {"type": "string", "maxLength": 65535}},
    "additionalProperties": False,
}
_UPLOAD: Json = {
    "image_name": {"type": "string", "minLength": 1, "maxLength": 255},
    "force": p.loose_boolean,
    "disk_format": {"type": "string", "enum": DISK_FORMATS},
    "container_format": {"type": ["string", "null"], "maxLength": 255},
}
_UPLOAD_31 = {
    **_UPLOAD,
    "visibility": {"type": "string", "enum": ["community", "public", "private", "shared"]},
    "protected": p.loose_boolean,
}


def _body(name: str, schema: Json) -> Json:
    return p.wrapped(name, schema)


# --- HANDLERS ---


def extend(call: Call) -> None:
    """os-extend (202); of a volume that a server has from 3.42 on."""
    size_gb = int(call.body["os-extend"]["new_size"])
    common.store(call).extend(call.context, call.target.uuid, size_gb, in_use=call.version.minor >= 42)


def revert(call: Call) -> None:
    """revert (202), to the latest snapshot (cinder/api/v3/volumes.py)."""
    common.store(call).revert(call.context, call.target.uuid, call.body["revert"]["snapshot_id"])


def retype(call: Call) -> None:
    """os-retype (202): the storage is the same for all types."""
    wanted = call.body["os-retype"]["new_type"]
    with call.services.db.write() as conn:
        found = snapshots.find_type(conn, wanted)
        if found is None:
            raise common.invalid(f"Invalid volume_type passed: {wanted}.")
        new = lists.find(conn, TYPES, found.uuid, common.scope(call))
        if new.uuid == call.target.type_id or not queries.change(
            conn, call.target.id, {"type_id": new.uuid}, statuses=("available", "in-use")
        ):
            raise common.invalid_volume(
                "Retype needs volume to be in available or in-use state, not be part of an active migration or a "
                "consistency group, requested type has to be different that the one from the volume, and for in-use "
                "volumes front-end qos specs cannot change."
            )


def set_bootable(call: Call) -> None:
    """os-set_bootable (200)."""
    with call.services.db.write() as conn:
        queries.change(conn, call.target.id, {"bootable": int(p.truth(call.body["os-set_bootable"]["bootable"]))})


def update_read_only(call: Call) -> None:
    """os-update_readonly_flag (202)."""
    flag = p.truth(call.body["os-update_readonly_flag"]["readonly"])
    with call.services.db.write() as conn:
        if not queries.change(conn, call.target.id, {"read_only": int(flag)}, statuses=("available",)):
            raise common.invalid_volume(
                f"Volume {call.target.uuid} status must be available to update readonly flag, but current status is: "
                f"{call.target.status}."
            )


def reset_status(call: Call) -> None:
    """os-reset_status (202): for administrators; nothing is done to the volume itself."""
    wanted = {name: value.lower() for name, value in call.body["os-reset_status"].items() if value}
    if not wanted:
        raise errors.BadRequest("Must specify 'status', 'attach_status' or 'migration_status' for update.")
    status, attached = wanted.get("status"), wanted.get("attach_status")
    if status in ("deleting", "error_deleting", "detaching"):
        raise errors.BadRequest(f"Cannot reset-state to {status}")
    with call.services.db.write() as conn:
        if status == "in-use" and not queries.attachments_of(conn, [call.target.uuid]):
            raise errors.BadRequest("Cannot reset-state to in-use because volume does not have any attachments.")
        if status is not None:
            queries.change(conn, call.target.id, {"status": status})
        if attached == "detached":
            attach.forget_all(conn, call.target.uuid)


def force_delete(call: Call) -> None:
    """os-force_delete (202)."""
    common.store(call).delete(call.context, call.target.uuid, force=True)


# --- images ---


def upload_image(call: Call) -> Json:
    """os-volume_upload_image (202). The image is qcow2, whatever was asked for: it says so itself."""
    wanted, row = call.body["os-volume_upload_image"], call.target
    force = p.truth(wanted.get("force", False))
    visibility, protected = wanted.get("visibility"), p.truth(wanted.get("protected", False))
    if visibility == "public":
        call.check(UPLOAD_PUBLIC)
    if wanted.get("disk_format", "raw") not in ("raw", "qcow2"):
        raise errors.BadRequest(f"Volumes are not uploaded as {wanted['disk_format']}.")
    attach.check_uploadable(row, force=force)
    container = wanted.get("container_format") or "bare"
    more: dict[str, Any] = {"container_format": container, "min_disk": row.size_gb}
    if visibility is not None or protected:
        more |= {"visibility": visibility or "private", "protected": protected}
    properties = image_properties(row)
    images = call.services.images
    image_id = images.create(call.context, wanted["image_name"], "qcow2", properties, **more)
    try:
        common.store(call).upload_to_image(call.context, row.uuid, image_id, force=force)
    except errors.Error:
        images.delete(call.context, image_id)
        raise
    shown = {
        "id": row.uuid,
        "updated_at": row.updated_at,
        "status": "uploading",
        "display_description": row.description,
        "size": row.size_gb,
        "volume_type": {"id": row.type_id, "name": row.type_name} if row.type_id else None,
        "image_id": image_id,
        "container_format": container,
        "disk_format": "qcow2",
        "image_name": wanted["image_name"],
    }
    if call.version.minor >= 1:
        shown |= {"visibility": visibility or "private", "protected": protected}
    return {"os-volume_upload_image": shown}


# What an image says of itself elsewhere than in its properties.
_ATTRIBUTES = ("image_id", "image_name", "checksum", "container_format", "disk_format", "min_disk", "min_ram", "size")


def image_properties(row: Any) -> dict[str, str]:
    """The properties of the image that a volume was made from, for one made of the volume."""
    found: dict[str, Any] = orjson.loads(row.image_json)
    return {name: str(value) for name, value in found.items() if name not in _ATTRIBUTES and value is not None}


def show_image_metadata(call: Call) -> Json:
    """os-show_image_metadata."""
    return {"metadata": orjson.loads(call.target.image_json)}


def set_image_metadata(call: Call) -> Json:
    """os-set_image_metadata: these are added."""
    wanted = call.body["os-set_image_metadata"]["metadata"]
    return {"metadata": _change_image(call, lambda found: {**found, **wanted})}


def unset_image_metadata(call: Call) -> None:
    """os-unset_image_metadata."""
    key = call.body["os-unset_image_metadata"]["key"]

    def without(found: Json) -> Json:
        if key not in found:
            raise errors.NotFound(f"Glance metadata for volume/snapshot {call.target.uuid} cannot be found.")
        return {name: value for name, value in found.items() if name != key}

    _change_image(call, without)


def _change_image(call: Call, change: Any) -> Json:
    with call.services.db.write() as conn:
        row = queries.get(conn, call.target.uuid, None, lock=True)
        if row is None:
            raise VOLUMES.not_found(call.target.uuid)
        changed: Json = change(orjson.loads(row.image_json))
        queries.change(conn, row.id, {"image_json": orjson.dumps(changed).decode()})
    return changed


# --- the table ---


def _action(
    handler: Any, name: str, rule_name: str, schema: Any, status: int = 202, since: str | None = None
) -> Endpoint:
    body = schema if isinstance(schema, Versioned) else _body(name, schema)
    return endpoint(handler, rule_name, body=body, loads=common.load(VOLUMES), status=status, since=since)


ACTIONS: dict[str, Endpoint] = {
    **{
        name: _action(handler, name, rule_name, schema, status)
        for name, (handler, rule_name, schema, status) in attach.ACTIONS.items()
    },
    "os-extend": _action(extend, "os-extend", EXTEND, p.obj({"new_size": SIZE}, "new_size")),
    "revert": _action(
        revert,
        "revert",
        REVERT,
        p.obj({"snapshot_id": {"type": ["string", "null"], "maxLength": 255}}, "snapshot_id"),
        since="3.40",
    ),
    "os-retype": _action(
        retype,
        "os-retype",
        RETYPE,
        p.obj(
            {
                "new_type": {"type": "string"},
                "migration_policy": {"type": ["string", "null"], "enum": ["on-demand", "never", None]},
            },
            "new_type",
        ),
    ),
    "os-set_bootable": _action(
        set_bootable, "os-set_bootable", "volume:update", p.obj({"bootable": p.loose_boolean}, "bootable"), 200
    ),
    "os-update_readonly_flag": _action(
        update_read_only, "os-update_readonly_flag", READ_ONLY, p.obj({"readonly": p.loose_boolean}, "readonly")
    ),
    "os-volume_upload_image": _action(
        upload_image,
        "os-volume_upload_image",
        UPLOAD,
        Versioned(
            _body("os-volume_upload_image", p.obj(_UPLOAD, "image_name")),
            {"3.1": _body("os-volume_upload_image", p.obj(_UPLOAD_31, "image_name"))},
        ),
    ),
    "os-reset_status": _action(
        reset_status,
        "os-reset_status",
        _ADMIN + "reset_status",
        p.obj(
            {
                "status": {"type": ["string", "null"], "enum": [*STATUSES, None]},
                "attach_status": {"type": ["string", "null"], "enum": [*ATTACH_STATUSES, None]},
                "migration_status": {"type": ["string", "null"], "enum": ["none", "error", "success", None]},
            }
        ),
    ),
    "os-force_delete": _action(force_delete, "os-force_delete", _ADMIN + "force_delete", _ANYTHING),
    "os-show_image_metadata": _action(
        show_image_metadata, "os-show_image_metadata", _IMAGE_METADATA + "show", _ANYTHING, 200
    ),
    "os-set_image_metadata": _action(
        set_image_metadata,
        "os-set_image_metadata",
        _IMAGE_METADATA + "set",
        p.obj({"metadata": _METADATA}, "metadata"),
        200,
    ),
    "os-unset_image_metadata": _action(
        unset_image_metadata,
        "os-unset_image_metadata",
        _IMAGE_METADATA + "remove",
        p.obj({"key": {"type": "string", "minLength": 1, "maxLength": 255}}, "key"),
        200,
    ),
}
