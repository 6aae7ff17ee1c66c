# SPDX-License-Identifier: Apache-2.0
"""The volumes among the disks that POST /servers asks for: is what they are made from there, and may it be had?

Checks and sentences: nova/compute/api.py (_validate_bdm, _check_multiple_instances_with_specified_volumes).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy import Connection

from computeapi import errors
from computeapi.api.compute.servers.disks import Disk, invalid
from computeapi.db.queries import block_devices, hosts
from computeapi.endpoint import Call

_GIB = 1024**3


def check(call: Call, disks: list[Disk], servers: int) -> dict[str, str]:
    """Raise BadRequest for a volume that can't be had; the image properties of what the server boots from, if that is
    a volume."""
    properties: dict[str, str] = {}
    where: set[str] = set()
    for disk in disks:
        if not disk.is_volume:
            continue
        if disk.volume_id and servers > 1:
            raise errors.BadRequest("Cannot attach one or more volumes to multiple instances")
        found, host = _SOURCES[disk.source](call, disk)
        where |= {host} if host else set()
        if disk.boot_index == 0:
            properties = found
    if len(where) > 1 and not _shared(call, sorted(where)):
        raise errors.BadRequest("Invalid volume: The volumes are on different hosts, which do not share them.")
    return properties


def _shared(call: Call, names: list[str]) -> bool:
    with call.services.db.read() as conn:
        return all(hosts.share_storage(conn, names[0], other) for other in names[1:])


def _volume(call: Call, disk: Disk) -> tuple[dict[str, str], str | None]:
    try:
        volume = call.services.volumes.show(call.context, str(disk.volume_id))
    except errors.NotFound:
        raise invalid(f"failed to get volume {disk.volume_id}.") from None
    volume.check_available()
    if disk.boot_index == 0 and not volume.bootable:
        raise errors.BadRequest(f"Block Device {volume.id} is not bootable.")
    return volume.image_properties, volume.host


def _snapshot(call: Call, disk: Disk) -> tuple[dict[str, str], str | None]:
    try:
        snapshot = call.services.volumes.show_snapshot(call.context, str(disk.snapshot_id))
    except errors.NotFound:
        raise invalid(f"failed to get snapshot {disk.snapshot_id}.") from None
    if snapshot.status != "available":
        raise errors.BadRequest("Invalid snapshot: Originating snapshot status must be one of 'available' values")
    with suppress(errors.NotFound):
        return call.services.volumes.show(call.context, snapshot.volume_id).image_properties, snapshot.host
    return {}, snapshot.host


def _image(call: Call, disk: Disk) -> tuple[dict[str, str], str | None]:
    try:
        image = call.services.images.show(call.context, str(disk.image_id))
    except (errors.NotFound, errors.Forbidden):
        raise invalid(f"failed to get image {disk.image_id}.") from None
    if image.status != "active":
        raise errors.BadRequest(f"Image {image.id} is not active.")
    least = max(image.min_disk * _GIB, image.virtual_size or 0)
    if (disk.size or 0) * _GIB < least:
        raise errors.BadRequest(
            "Volume is smaller than the minimum size specified in image metadata. Volume size is "
            f"{(disk.size or 0) * _GIB} bytes, minimum size is {least} bytes."
        )
    return image.properties, None


def _blank(_call: Call, _disk: Disk) -> tuple[dict[str, str], str | None]:
    return {}, None


_SOURCES: dict[str, Callable[[Call, Disk], tuple[dict[str, str], str | None]]] = {
    "volume": _volume,
    "snapshot": _snapshot,
    "image": _image,
    "blank": _blank,
}


def prepare(call: Call, disks: list[Disk], server_id: str) -> dict[str, str]:
    """Volume id → attachment id of the volumes that are there, for one new server."""
    prepared: dict[str, str] = {}
    try:
        for disk in disks:
            if disk.volume_id:
                prepared[disk.volume_id] = call.services.volumes.prepare(call.context, disk.volume_id, server_id)
    except BaseException:
        abandon(call, prepared)
        raise
    return prepared


def abandon(call: Call, prepared: dict[str, str]) -> None:
    """The server was not made."""
    for attachment_id in prepared.values():
        with suppress(errors.Error):
            call.services.volumes.abandon(call.context, attachment_id)


def name_devices(disks: list[Disk]) -> list[str | None]:
    """What the guest calls each disk: /dev/vda is what it boots from, local ones follow in their order."""
    root_is_volume = any(disk.is_volume and disk.boot_index == 0 for disk in disks)
    local = sum(not disk.is_volume for disk in disks)
    taken = set(block_devices.local_targets(local, boots_from_image=not root_is_volume))
    names: list[str | None] = []
    for disk in disks:
        if not disk.is_volume:
            names.append(disk.device_name)
            continue
        target = "vda" if disk.boot_index == 0 else block_devices.free_target(taken, disk.device_name)
        if target is None:
            raise errors.Forbidden(
                f"The maximum allowed number of disk devices ({block_devices.MOST}) to attach to a single instance has "
                "been exceeded."
            )
        taken.add(target)
        names.append(f"/dev/{target}")
    return names


def reserve(conn: Connection, call: Call, key: int, server_id: str, rows: list[dict[str, Any]]) -> None:
    """The volumes among a new server's devices are its own."""
    mine = [row for row in rows if row["volume_id"]]
    for row in mine:
        call.services.volumes.reserve(
            conn, call.context, row["volume_id"], row["attachment_id"], server_id, row["device_name"]
        )
    if mine:
        block_devices.refresh(conn, key)
