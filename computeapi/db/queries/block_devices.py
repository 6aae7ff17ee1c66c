# SPDX-License-Identifier: Apache-2.0
"""Statements about the disks that servers have: local ones, and volumes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, insert, select, update

from computeapi.db.models import BlockDevice, Server, Volume, VolumeSnapshot


class LocalDevice(NamedTuple):
    """A disk in the host's own storage. `size_gb` of a swap disk is in MiB."""

    source_type: str
    guest_format: str | None
    size_gb: int | None
    boot_index: int | None


class VolumeDevice(NamedTuple):
    """A volume that a server has or shall have (db.models.BlockDevice)."""

    uuid: str
    source_type: str
    volume_id: str | None  # None: has yet to be made
    snapshot_id: str | None
    image_id: str | None
    attachment_id: str | None  # None: nothing is reserved
    device_name: str | None
    boot_index: int | None
    size_gb: int | None
    delete_on_termination: int
    connection_json: str | None  # where its host finds it (backends.volume.base.Connected); None: not connected

    @property
    def target(self) -> str:
        """The guest's device: vdb."""
        return (self.device_name or "").removeprefix("/dev/")


_LOCAL = (
    select(BlockDevice.source_type, BlockDevice.guest_format, BlockDevice.size_gb, BlockDevice.boot_index)
    .where(BlockDevice.destination_type == "local")
    .order_by(BlockDevice.id)
)
_VOLUMES = (
    select(*(getattr(BlockDevice, name) for name in VolumeDevice._fields))
    .where(BlockDevice.destination_type == "volume")
    .order_by(BlockDevice.id)
)


def local(conn: Connection, server_id: int) -> list[LocalDevice]:
    """A server's local disks, in the order in which they were asked for."""
    return [LocalDevice._make(row) for row in conn.execute(_LOCAL.where(BlockDevice.server_id == server_id))]


def volumes(conn: Connection, server_id: int, volume_id: str | None = None) -> list[VolumeDevice]:
    """A server's volumes (or that one), in the order in which they came."""
    statement = _VOLUMES.where(BlockDevice.server_id == server_id)
    if volume_id is not None:
        statement = statement.where(BlockDevice.volume_id == volume_id)
    return [VolumeDevice._make(row) for row in conn.execute(statement)]


def find(conn: Connection, uuid: str) -> VolumeDevice | None:
    """A volume of a server, by the device's own id."""
    row = conn.execute(_VOLUMES.where(BlockDevice.uuid == uuid)).first()
    return VolumeDevice._make(row) if row else None


def server_with(conn: Connection, volume_id: str) -> int | None:
    """The row key of the server that has the volume, or is about to; None where nobody has."""
    statement = select(BlockDevice.server_id).join(Server, Server.id == BlockDevice.server_id)
    statement = statement.where(
        BlockDevice.volume_id == volume_id, BlockDevice.attachment_id.is_not(None), Server.deleted == 0
    )
    key: int | None = conn.execute(statement.limit(1)).scalar()
    return key


def device_names(conn: Connection, server_id: int) -> set[str]:
    """The targets (vdb) that a server's disks have; local ones have theirs by their order."""
    rows = conn.execute(select(Server.image_id).where(Server.id == server_id)).scalar()
    taken = {row.target for row in volumes(conn, server_id)}
    return taken | set(local_targets(len(local(conn, server_id)), boots_from_image=bool(rows)))


def local_targets(count: int, *, boots_from_image: bool) -> list[str]:
    """The targets of a server's local disks: from vda on, which is a volume where the server boots from one."""
    first = 0 if boots_from_image else 1
    return ["vd" + _LETTERS[number] for number in range(first, first + count)]


_LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST = len(_LETTERS)


def free_target(taken: set[str], wanted: str | None = None) -> str | None:
    """The target that a new volume gets: what was wanted if it can be, else the next; None where all are taken."""
    target = (wanted or "").removeprefix("/dev/")
    if len(target) == 3 and target.startswith("vd") and target[2] in _LETTERS[1:] and target not in taken:
        return target
    return next((f"vd{letter}" for letter in _LETTERS[1:] if f"vd{letter}" not in taken), None)


def add(conn: Connection, values: Mapping[str, Any]) -> None:
    """Write a disk that a server shall have."""
    conn.execute(insert(BlockDevice).values(**values))


def change(conn: Connection, uuid: str, values: Mapping[str, Any]) -> None:
    """Set columns of a device."""
    conn.execute(update(BlockDevice).where(BlockDevice.uuid == uuid).values(**values))


def remove(conn: Connection, uuid: str) -> None:
    """The server has it no more."""
    conn.execute(delete(BlockDevice).where(BlockDevice.uuid == uuid))


def refresh(conn: Connection, server_id: int) -> None:
    """Write what a server shows of its volumes (os-extended-volumes) anew."""
    shown = [
        {"id": row.volume_id, "delete_on_termination": bool(row.delete_on_termination)}
        for row in volumes(conn, server_id)
        if row.volume_id and row.attachment_id
    ]
    conn.execute(update(Server).where(Server.id == server_id).values(volumes_json=orjson.dumps(shown).decode()))


def hosts(conn: Connection, server_id: int) -> set[str]:
    """The hosts that a server's volumes, and the snapshots that volumes of it shall be made from, are on."""
    of_volumes = (
        select(Volume.host)
        .join(BlockDevice, BlockDevice.volume_id == Volume.uuid)
        .where(BlockDevice.server_id == server_id, Volume.host.is_not(None))
    )
    of_snapshots = (
        select(Volume.host)
        .join(VolumeSnapshot, VolumeSnapshot.volume_id == Volume.uuid)
        .join(BlockDevice, BlockDevice.snapshot_id == VolumeSnapshot.uuid)
        .where(BlockDevice.server_id == server_id, BlockDevice.volume_id.is_(None), Volume.host.is_not(None))
    )
    return {str(host) for statement in (of_volumes, of_snapshots) for host in conn.execute(statement).scalars()}
