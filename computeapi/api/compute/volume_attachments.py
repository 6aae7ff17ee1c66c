# SPDX-License-Identifier: Apache-2.0
"""A server's volumes: list, show, attach, swap, detach; the documented action attach; os-assisted-volume-snapshots.

The volume is reserved, the server's device written, and the work for its host, in one transaction. Codes and
sentences: nova/api/openstack/compute/volumes.py (VolumeAttachmentController) and nova/compute/api.py.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.api.compute.volumes import QUERY, attachment, paging
from computeapi.backends.volume.base import VolumeInfo
from computeapi.db.queries import block_devices, hosts
from computeapi.db.queries.block_devices import VolumeDevice
from computeapi.db.queries.servers import ServerRow, lock_row
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule

ATTACHMENTS = "os_compute_api:os-volumes-attachments:"
ASSISTED = "os_compute_api:os-assisted-volume-snapshots:"
_URL = "/servers/{server_id}/os-volume_attachments"
_ONE = _URL + "/{volume_id}"
_ASSISTED = "/os-assisted-volume-snapshots"

RULES = [
    rule(f"{ATTACHMENTS}index", PROJECT_READER, "List a server's volumes.", ("GET", _URL)),
    rule(f"{ATTACHMENTS}show", PROJECT_READER, "Show a server's volume.", ("GET", _ONE)),
    rule(f"{ATTACHMENTS}create", PROJECT_MEMBER, "Attach a volume.", ("POST", _URL)),
    rule(f"{ATTACHMENTS}swap", ADMIN, "Put another volume in the place of one.", ("PUT", _ONE)),
    rule(f"{ATTACHMENTS}delete", PROJECT_MEMBER, "Detach a volume.", ("DELETE", _ONE)),
    rule(f"{ASSISTED}create", ADMIN, "Make a snapshot for the volume service.", ("POST", _ASSISTED)),
    rule(f"{ASSISTED}delete", ADMIN, "Delete one.", ("DELETE", _ASSISTED + "/{snapshot_id}")),
]

# --- schemas ---

_DEVICE: p.Schema = {
    "type": ["string", "null"],
    "maxLength": 64,
    "pattern": "(^/dev/x{0,1}[a-z]{0,1}d{0,1})([a-z]+)[0-9]*$",
}
CREATE: p.Schema = p.wrapped("volumeAttachment", p.obj({"volumeId": p.uuid, "device": _DEVICE}, "volumeId"))
SWAP: p.Schema = p.wrapped("volumeAttachment", p.obj({"volumeId": p.uuid}, "volumeId"))
_SHORT: p.Schema = {"type": ["string", "null"], "maxLength": 255}
ATTACH: p.Schema = p.wrapped(
    "attach",
    p.obj({"volume_id": p.uuid, "device": _DEVICE, "disk_bus": _SHORT, "device_type": _SHORT}, "volume_id"),
)
_CREATE_INFO = p.obj(
    {
        "snapshot_id": {"type": "string", "minLength": 1},
        "type": {"type": "string", "enum": ["qcow2"]},
        "new_file": {"type": "string", "minLength": 1},
        "id": {"type": "string", "minLength": 1},
    },
    "snapshot_id",
    "type",
    "new_file",
)
CREATE_ASSISTED: p.Schema = p.wrapped(
    "snapshot",
    p.obj({"volume_id": {"type": "string", "minLength": 1}, "create_info": _CREATE_INFO}, "volume_id", "create_info"),
)
DELETE_ASSISTED = p.query({"delete_info": p.Q_ANY}, multi=("delete_info",))

# --- list and show ---


def _view(server: ServerRow, device: VolumeDevice) -> dict[str, Any]:
    return attachment(str(device.volume_id), server.uuid, device.device_name)


def index(call: Call) -> dict[str, Any]:
    """GET …/os-volume_attachments."""
    limit, offset = paging(call)
    with call.services.db.read() as conn:
        devices = block_devices.volumes(conn, call.target.id)
    shown = [_view(call.target, each) for each in devices if each.volume_id and each.attachment_id]
    return {"volumeAttachments": shown[offset : offset + limit]}


def show(call: Call) -> dict[str, Any]:
    """GET …/os-volume_attachments/{volume_id}."""
    with call.services.db.read() as conn:
        return {"volumeAttachment": _view(call.target, _attached(conn, call, call.params["volume_id"]))}


def _attached(conn: Connection, call: Call, volume_id: str) -> VolumeDevice:
    """The server's device of that volume. Raises NotFound."""
    found = [each for each in block_devices.volumes(conn, call.target.id, volume_id) if each.attachment_id]
    if not found:
        raise errors.NotFound(f"Instance {call.target.uuid} is not attached to volume {volume_id}")
    return found[0]


# --- attach ---


def create(call: Call) -> dict[str, Any]:
    """POST …/os-volume_attachments: 200, and where the guest will find it."""
    wanted = call.body["volumeAttachment"]
    device = _attach(call, wanted["volumeId"], wanted.get("device"))
    return {"volumeAttachment": attachment(wanted["volumeId"], call.target.uuid, device)}


def attach(call: Call) -> None:
    """The action attach, as documented: 202 without a body. Bus and type are the hypervisor's choice, as in Nova."""
    wanted = call.body["attach"]
    _attach(call, wanted["volume_id"], wanted.get("device"))


def _attach(call: Call, volume_id: str, wished: str | None) -> str:
    """Reserve the volume, and begin to plug it in; the guest's device."""
    server: ServerRow = call.target
    lifecycle.check(call.services, call.context, server, "attach_volume")
    volume = call.services.volumes.show(call.context, volume_id)
    volume.check_available()  # Cinder would give a server the same volume twice
    _check_host(call, volume)
    attachment_id = call.services.volumes.prepare(call.context, volume_id, server.uuid)
    try:
        with call.services.db.write() as conn:
            lock_row(conn, server.id)
            target = block_devices.free_target(block_devices.device_names(conn, server.id), wished)
            if target is None:
                raise errors.Forbidden(
                    f"The maximum allowed number of disk devices ({block_devices.MOST}) to attach to a single instance "
                    "has been exceeded."
                )
            device = f"/dev/{target}"
            added = _add(conn, call, volume_id, attachment_id, device)
            lifecycle.begin(conn, call.services, call.context, server, "attach_volume", {"device": added})
    except BaseException:
        with suppress(errors.Error):
            call.services.volumes.abandon(call.context, attachment_id)
        raise
    return device


def _add(conn: Connection, call: Call, volume_id: str, attachment_id: str, device: str) -> str:
    """The reserved volume as a device of the server; the device's id."""
    server: ServerRow = call.target
    call.services.volumes.reserve(conn, call.context, volume_id, attachment_id, server.uuid, device)
    added = str(uuid.uuid4())
    block_devices.add(
        conn,
        {
            "uuid": added,
            "server_id": server.id,
            "source_type": "volume",
            "destination_type": "volume",
            "device_name": device,
            "volume_id": volume_id,
            "attachment_id": attachment_id,
        },
    )
    block_devices.refresh(conn, server.id)
    return added


def _check_host(call: Call, volume: VolumeInfo) -> None:
    """Raise BadRequest where the server's host can't reach the volume."""
    server: ServerRow = call.target
    if volume.host is None or server.host is None or volume.host == server.host:
        return
    with call.services.db.read() as conn:
        shared = hosts.share_storage(conn, volume.host, server.host)
    if not shared:
        raise errors.BadRequest(
            f"Invalid volume: Volume {volume.id} is on another host than instance {server.uuid}, and the hosts do not "
            "share their volumes."
        )


# --- detach ---


def delete(call: Call) -> None:
    """DELETE …/os-volume_attachments/{volume_id}: 202; the guest lets go of it."""
    server, volume_id = call.target, call.params["volume_id"]
    call.services.volumes.show(call.context, volume_id)
    with call.services.db.write() as conn:
        lock_row(conn, server.id)
        device = _attached(conn, call, volume_id)
        if device.boot_index == 0:
            raise errors.BadRequest("Cannot detach a root device volume")
        lifecycle.begin(conn, call.services, call.context, server, "detach_volume", {"device": device.uuid})
        call.services.volumes.detaching(conn, call.context, volume_id, str(device.attachment_id))


# --- swap ---


def swap(call: Call) -> None:
    """PUT …/os-volume_attachments/{volume_id}: 202; the guest goes on with the new volume, which gets all data."""
    server, old_id, new_id = call.target, call.params["volume_id"], call.body["volumeAttachment"]["volumeId"]
    lifecycle.check(call.services, call.context, server, "swap_volume")
    old = call.services.volumes.show(call.context, old_id)
    try:
        new = call.services.volumes.show(call.context, new_id)
    except errors.NotFound as error:
        raise errors.BadRequest(error.message) from None
    if new.size_gb < old.size_gb:
        raise errors.BadRequest("Invalid volume: New volume must be the same size or larger")
    _check_host(call, new)
    attachment_id = call.services.volumes.prepare(call.context, new_id, server.uuid)
    try:
        with call.services.db.write() as conn:
            lock_row(conn, server.id)
            device = _attached(conn, call, old_id)
            added = _add(conn, call, new_id, attachment_id, str(device.device_name))
            as_old = {"boot_index": device.boot_index, "delete_on_termination": device.delete_on_termination}
            block_devices.change(conn, added, as_old)
            block_devices.refresh(conn, server.id)
            payload = {"device": device.uuid, "new": added}
            lifecycle.begin(conn, call.services, call.context, server, "swap_volume", payload)
            call.services.volumes.detaching(conn, call.context, old_id, str(device.attachment_id))
    except BaseException:
        with suppress(errors.Error):
            call.services.volumes.abandon(call.context, attachment_id)
        raise


# --- os-assisted-volume-snapshots ---


def create_assisted(call: Call) -> dict[str, Any]:
    """POST /os-assisted-volume-snapshots: a snapshot of what a guest has; the volume service names its file itself.

    `id` comes back as it was sent; without one it is the snapshot's.
    """
    volume_id, info = call.body["snapshot"]["volume_id"], call.body["snapshot"]["create_info"]
    with call.services.db.write() as conn:
        _lock_user(conn, volume_id, "create")
        call.services.volumes.assist_create(conn, call.context, volume_id, info["snapshot_id"])
    return {"snapshot": {"id": info.get("id", info["snapshot_id"]), "volumeId": volume_id}}


def delete_assisted(call: Call) -> None:
    """DELETE /os-assisted-volume-snapshots/{snapshot_id}?delete_info={"volume_id": …}: 204."""
    try:
        volume_id = str(orjson.loads(call.query["delete_info"][-1])["volume_id"])
    except (KeyError, TypeError, ValueError) as error:
        raise errors.BadRequest(f"Invalid delete_info: {error}") from None
    with call.services.db.write() as conn:
        _lock_user(conn, volume_id, "delete")
        call.services.volumes.assist_delete(conn, call.context, volume_id, call.params["snapshot_id"])


def _lock_user(conn: Connection, volume_id: str, what: str) -> None:
    """Lock the server that has the volume. Raises BadRequest where there is none, or something is under way there."""
    key = block_devices.server_with(conn, volume_id)
    server = lock_row(conn, key) if key is not None else None
    if server is None:
        raise errors.BadRequest(f"No volume Block Device Mapping with id {volume_id}.")
    if server.host is None:
        raise errors.BadRequest(f"Instance {server.uuid} is not ready")
    if server.task_state is not None:
        raise errors.BadRequest(
            f"Instance {server.uuid} in task_state {server.task_state}. Cannot volume_snapshot_{what} while the "
            "instance is in this state."
        )


ACTIONS: dict[str, Endpoint] = {
    "attach": endpoint(attach, f"{ATTACHMENTS}create", body=ATTACH, loads=load_server, status=202)
}

ROUTES: dict[str, dict[str, Endpoint]] = {
    _URL: {
        "GET": endpoint(index, f"{ATTACHMENTS}index", query=QUERY, loads=load_server),
        "POST": endpoint(create, f"{ATTACHMENTS}create", body=CREATE, loads=load_server),
    },
    _ONE: {
        "GET": endpoint(show, f"{ATTACHMENTS}show", loads=load_server),
        "PUT": endpoint(swap, f"{ATTACHMENTS}swap", body=SWAP, loads=load_server, status=202),
        "DELETE": endpoint(delete, f"{ATTACHMENTS}delete", loads=load_server, status=202),
    },
    _ASSISTED: {"POST": endpoint(create_assisted, f"{ASSISTED}create", body=CREATE_ASSISTED)},
    _ASSISTED + "/{snapshot_id}": {
        "DELETE": endpoint(delete_assisted, f"{ASSISTED}delete", query=DELETE_ASSISTED, status=204)
    },
}
