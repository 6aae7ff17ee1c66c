# SPDX-License-Identifier: Apache-2.0
"""createImage and createBackup: the image is registered here, so that its id can be told; the host fills it.

nova/api/openstack/compute/servers.py (_create_image), create_backup.py; nova/compute/api.py (snapshot, backup) and
utils.py (create_image). A lock does not matter to either.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson

from computeapi import errors, journal, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.backends.image.base import check_property_name
from computeapi.backends.volume.base import SnapshotInfo
from computeapi.db.queries import block_devices, quotas
from computeapi.db.queries.block_devices import VolumeDevice
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Reply
from computeapi.policy import PROJECT_MEMBER, rule

_URL = ("POST", "/servers/{server_id}/action")

RULES = [
    rule("os_compute_api:servers:create_image", PROJECT_MEMBER, "Make an image of a server.", _URL),
    rule("os_compute_api:os-create-backup", PROJECT_MEMBER, "Make a backup of a server.", _URL),
]

# --- schemas ---

CREATE_IMAGE = p.wrapped("createImage", p.obj({"name": p.name, "metadata": p.metadata}, "name"))


def _backup(name: p.Schema) -> p.Schema:
    body = {
        "name": name,
        "backup_type": {"type": "string"},
        "rotation": p.non_negative_integer,
        "metadata": p.metadata,
    }
    return p.wrapped("createBackup", p.obj(body, "name", "backup_type", "rotation"))


CREATE_BACKUP = _backup(p.name)
CREATE_BACKUP_V2 = _backup(p.loose_name)

# What an image says of its own bytes is not true of a copy's.
_NOT_INHERITED = frozenset(
    (
        *("cache_in_nova", "bittorrent", "cinder_encryption_key_id", "cinder_encryption_key_deletion_policy"),
        *("img_signature", "img_signature_hash_method", "img_signature_key_type", "img_signature_certificate_uuid"),
    )
)
_NOT_INHERITED_PREFIX = "os_glance_"
_MOST = 10**9  # backups; the number may come with any number of digits

# --- handlers ---


def create_image(call: Call) -> Reply:
    """Make an image of the root disk: 202 and where the image is. Where that is a volume: of all its volumes."""
    wanted = call.body["createImage"]
    name, metadata = wanted["name"].strip(), wanted.get("metadata") or {}
    if call.target.image_id:
        image_id = start(call, "snapshot", name, metadata, {})
    else:
        image_id = _of_volumes(call, name, metadata)
    service = call.services.images.endpoint(call.host_url)
    return Reply(headers={"Location": f"{service}/images/{image_id}"})


def create_backup(call: Call) -> Reply:
    """The same; of all backups of that type the newest `rotation` stay. None: then this one is deleted as well."""
    wanted = call.body["createBackup"]
    server: ServerRow = call.target
    if not server.image_id:
        raise errors.BadRequest("Backup is not supported for volume-backed instances.")
    rotation = min(int(str(wanted["rotation"])[:12]), _MOST)
    payload = {"backup_type": wanted["backup_type"], "rotation": rotation}
    metadata = {**(wanted.get("metadata") or {}), "backup_type": wanted["backup_type"]}
    image_id = start(call, "backup", wanted["name"].strip(), metadata, payload)
    if rotation == 0:
        return Reply()
    return Reply(headers={"Location": links.prefixes(call, "images").of(image_id)[0]["href"]})


def start(call: Call, action: str, name: str, metadata: dict[str, str], payload: dict[str, Any]) -> str:
    """Register an image of the server and start `action`, which fills it; the image's id."""
    server: ServerRow = call.target
    lifecycle.check(call.services, call.context, server, action)
    _check_metadata(call, metadata)
    image_id = register(call, name, "backup" if action == "backup" else "snapshot", metadata)
    try:
        with call.services.db.write() as conn:
            lifecycle.begin(conn, call.services, call.context, server, action, {**payload, "image_id": image_id})
    except BaseException:
        with suppress(errors.Error):
            call.services.images.delete(call.context, image_id)
        raise
    return image_id


def _of_volumes(call: Call, name: str, metadata: dict[str, str]) -> str:
    """Snapshots of the server's volumes, and an image without bytes that says which, to boot from; its id."""
    server, backend = call.target, call.services.volumes
    lifecycle.check(call.services, call.context, server, "snapshot")
    _check_metadata(call, metadata)
    with call.services.db.read() as conn:
        devices = [each for each in block_devices.volumes(conn, server.id) if each.volume_id]
    mappings: list[dict[str, Any]] = []
    try:
        for device in devices:
            made = backend.create_snapshot(
                call.context, str(device.volume_id), f"snapshot for {name}"[:255], None, force=True
            )
            mappings.append(_mapping(device, made))
        about = {
            "block_device_mapping": orjson.dumps(mappings).decode(),
            "bdm_v2": "True",
            "root_device_name": server.root_device_name or "/dev/vda",
        }
        image_id = register(call, name, "snapshot", {**metadata, **about}, disk_format="raw")
        call.services.images.upload(call.context, image_id, [])
    except BaseException:
        for mapping in mappings:
            with suppress(errors.Error):
                backend.delete_snapshot(call.context, mapping["snapshot_id"])
        raise
    with call.services.db.write() as conn:
        journal.record(
            conn,
            server_id=server.id,
            server_uuid=server.uuid,
            request_id=call.context.request_id,
            project_id=call.context.project_id,
            user_id=call.context.user_id,
            name="createImage",
        )
    return image_id


def _mapping(device: VolumeDevice, snapshot: SnapshotInfo) -> dict[str, Any]:
    """As Nova writes it (nova/compute/api.py, snapshot_volume_backed)."""
    return {
        "source_type": "snapshot",
        "destination_type": "volume",
        "snapshot_id": snapshot.id,
        "volume_size": snapshot.size_gb,
        "boot_index": device.boot_index,
        "device_name": device.device_name,
        "delete_on_termination": bool(device.delete_on_termination),
        "volume_id": None,
        "image_id": None,
    }


def _check_metadata(call: Call, metadata: dict[str, str]) -> None:
    with call.services.db.read() as conn:
        most = quotas.limits_for(conn, call.services.settings, call.project_id)["metadata_items"]
    if 0 <= most < len(metadata):
        raise errors.QuotaExceeded("Image metadata limit exceeded")
    for key in metadata:
        check_property_name(key)


def register(call: Call, name: str, kind: str, metadata: dict[str, str], disk_format: str = "qcow2") -> str:
    """An image without bytes, of the server's project: with the base image's properties, what it is of, `metadata`."""
    server: ServerRow = call.target
    properties = {
        key: value
        for key, value in orjson.loads(server.image_json).items()
        if key not in _NOT_INHERITED and not key.startswith(_NOT_INHERITED_PREFIX)
    }
    properties |= {
        "base_image_ref": server.image_id,
        "instance_uuid": server.uuid,
        "user_id": call.context.user_id,
        "image_type": kind,
        "owner_id": server.project_id,
        "image_location": "snapshot",
        "image_state": "available",
        **metadata,
    }
    if call.project_id != server.project_id:
        properties["instance_owner"] = server.project_id
    min_disk, min_ram = int(orjson.loads(server.flavor_json).get("disk") or 0), 0
    with suppress(errors.NotFound, errors.Forbidden):
        base = call.services.images.show(call.context, server.image_id)
        min_disk, min_ram = max(min_disk, base.min_disk), base.min_ram
    return call.services.images.create(
        call.context,
        name,
        disk_format,
        properties,
        owner=server.project_id,
        visibility="private",
        min_disk=min_disk,
        min_ram=min_ram,
    )
