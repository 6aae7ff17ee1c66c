# SPDX-License-Identifier: Apache-2.0
"""Plugging volumes into guests and out of them; the volumes that a server is made with, and what becomes of them.

A device's row (block_devices) has, once its volume is connected, where the host finds it: guests are defined by that.
What a move to another host must do: `connect` there before the guest is defined, and the scheduler lets a server go
only where its volumes are (computeapi.scheduler, FILTERS).
"""

from __future__ import annotations

import uuid
from dataclasses import asdict

import orjson
from sqlalchemy import Connection

from computeapi import errors, journal
from computeapi.backends.volume.base import NewVolume
from computeapi.compute import guest
from computeapi.compute.operation import Cancelled, Operation, Step, VolumeWork, Work
from computeapi.compute.operations import volumes as files
from computeapi.db.queries import block_devices, volumes
from computeapi.db.queries.block_devices import VolumeDevice

_WAIT_SECONDS = 600.0  # that another's volume service has to make a volume


def _device(work: Work, name: str = "device") -> VolumeDevice | None:
    """The device that the work is about; None where it is gone, or where the payload can't be read."""
    with work.tools.db.read() as conn:
        return block_devices.find(conn, str(work.entry.payload.get(name)))


def _connect(work: Work, device: VolumeDevice) -> VolumeDevice:
    """The device with where this host finds its volume, which is written down."""
    assert device.volume_id and device.attachment_id
    found = work.tools.volumes.connect(work.context, device.volume_id, device.attachment_id, work.tools.host)
    text = orjson.dumps(asdict(found)).decode()
    with work.tools.db.write() as conn:
        work.tools.volumes.attaching(conn, device.volume_id, device.attachment_id)
        block_devices.change(conn, device.uuid, {"connection_json": text})
        if journal.hold(conn, work.entry):
            raise Cancelled
    return device._replace(connection_json=text)


def _disconnect(work: Work, device: VolumeDevice) -> None:
    if device.volume_id and device.attachment_id:
        work.tools.volumes.disconnect(work.context, device.volume_id, device.attachment_id)


# --- attach ---


def connect(work: Work) -> None:
    """The host knows where the volume is."""
    device = _device(work)
    if device is not None:
        _connect(work, device)


def disconnect(work: Work) -> None:
    """The host needs the volume no more."""
    device = _device(work)
    if device is not None:
        _disconnect(work, device)


def attach(work: Work) -> None:
    """The guest has the volume, now and after its next start."""
    device = _device(work)
    if device is not None and device.connection_json:
        work.driver.attach_disk(work.server.uuid, guest.volume_disk(device))


def detach(work: Work) -> None:
    """The guest has the volume no more."""
    device = _device(work)
    if device is not None and device.connection_json:
        work.driver.detach_disk(work.server.uuid, guest.volume_disk(device))


def in_use(conn: Connection, work: Work) -> None:
    """The volume is the guest's."""
    device = block_devices.find(conn, str(work.entry.payload.get("device")))
    if device is not None and device.volume_id and device.attachment_id:
        work.tools.volumes.attached(conn, device.volume_id, device.attachment_id)


def let_go(conn: Connection, work: Work) -> None:
    """The server has the volume no more."""
    device = block_devices.find(conn, str(work.entry.payload.get("device")))
    if device is not None:
        _let_go(conn, work, device)


def _let_go(conn: Connection, work: Work, device: VolumeDevice) -> None:
    if device.volume_id and device.attachment_id:
        work.tools.volumes.let_go(conn, device.volume_id, device.attachment_id)
    block_devices.remove(conn, device.uuid)
    block_devices.refresh(conn, work.server.id)


ATTACH = Operation(
    (Step("connect", connect, disconnect), Step("attach", attach, detach)), finished=in_use, failed=let_go
)
DETACH = Operation((Step("detach", detach, attach), Step("disconnect", disconnect)), finished=let_go, failed=in_use)

# --- swap: the row `device` goes, and `new` comes in its place ---


def connect_new(work: Work) -> None:
    """The host knows where the new volume is."""
    device = _device(work, "new")
    if device is not None:
        _connect(work, device)


def disconnect_new(work: Work) -> None:
    """It is not needed."""
    device = _device(work, "new")
    if device is not None:
        _disconnect(work, device)


def swap(work: Work) -> None:
    """The guest goes on with the new volume, which holds what the old one held."""
    _swap(work, _device(work), _device(work, "new"))


def swap_back(work: Work) -> None:
    """The guest has the old volume, and the new one is as large as it was."""
    new = _device(work, "new")
    _swap(work, new, _device(work))
    if new is not None and new.connection_json and work.tools.volumes.made_by_host:
        name, size_gb = guest.volume_disk(new).volume, _size(work, new)
        work.driver.ensure_disk(name, size_gb, None)
        work.driver.resize_disk(name, size_gb)


def _size(work: Work, device: VolumeDevice) -> int:
    return work.tools.volumes.show(work.context, str(device.volume_id)).size_gb


def _swap(work: Work, old: VolumeDevice | None, new: VolumeDevice | None) -> None:
    if old is not None and new is not None and old.connection_json and new.connection_json:
        size_gb = _size(work, new)
        work.driver.swap_disk(work.server.uuid, guest.volume_disk(old), guest.volume_disk(new), size_gb)


def swapped(conn: Connection, work: Work) -> None:
    """The old volume is free, the new one in use."""
    new = block_devices.find(conn, str(work.entry.payload.get("new")))
    if new is not None and new.volume_id and new.attachment_id:
        work.tools.volumes.attached(conn, new.volume_id, new.attachment_id)
    let_go(conn, work)


def not_swapped(conn: Connection, work: Work) -> None:
    """The other way round."""
    in_use(conn, work)
    new = block_devices.find(conn, str(work.entry.payload.get("new")))
    if new is not None:
        _let_go(conn, work, new)


SWAP = Operation(
    (Step("connect", connect_new, disconnect_new), Step("swap", swap, swap_back), Step("disconnect", disconnect)),
    finished=swapped,
    failed=not_swapped,
)

# --- the volumes that a server is made with ---


def make_all(work: Work) -> None:
    """Every volume that the server shall have is there, reserved for it, and the host knows where."""
    for device in _devices(work):
        if device.attachment_id is None:
            device = _make(work, device)
        _connect(work, device)


def _devices(work: Work) -> list[VolumeDevice]:
    with work.tools.db.read() as conn:
        return block_devices.volumes(conn, work.server.id)


def _make(work: Work, device: VolumeDevice) -> VolumeDevice:
    """A new volume. One of ours has the device's id, so that it is found again; its file is made here, by this work."""
    backend = work.tools.volumes
    new = NewVolume(
        device.size_gb, image_id=device.image_id, snapshot_id=device.snapshot_id, name="", host=work.tools.host
    )
    with work.tools.db.write() as conn:
        wanted = device.volume_id or device.uuid
        volume_id = backend.create_for_server(conn, work.context, new, wanted, work.tools.host)
        block_devices.change(conn, device.uuid, {"volume_id": volume_id})
        journal.hold(conn, work.entry)
    if backend.made_by_host:
        volume = _volume_work(work, volume_id)
        files.fetch_image(volume)
        files.make_file(volume)
    elif not work.wait(lambda: _is_made(work, volume_id), _WAIT_SECONDS, interval=1.0):
        raise errors.Conflict(f"Volume {volume_id} did not become available in time.")
    if backend.made_by_host:
        attachment_id = str(uuid.uuid5(uuid.UUID(device.uuid), "attachment"))
    else:
        attachment_id = backend.prepare(work.context, volume_id, work.server.uuid)
    with work.tools.db.write() as conn:
        backend.made(conn, volume_id)
        backend.reserve(conn, work.context, volume_id, attachment_id, work.server.uuid, device.device_name)
        block_devices.change(conn, device.uuid, {"attachment_id": attachment_id})
        block_devices.refresh(conn, work.server.id)
        if journal.hold(conn, work.entry):
            raise Cancelled
    return device._replace(volume_id=volume_id, attachment_id=attachment_id)


def _volume_work(work: Work, volume_id: str) -> VolumeWork:
    with work.tools.db.read() as conn:
        row = volumes.get(conn, volume_id, None)
    if row is None:
        raise errors.NotFound(f"Volume {volume_id} could not be found.")
    return VolumeWork(work.tools, work.entry, row)


def _is_made(work: Work, volume_id: str) -> bool:
    volume = work.tools.volumes.show(work.context, volume_id)
    if volume.status.startswith("error"):
        raise errors.Conflict(f"Volume {volume_id} could not be made.")
    return volume.status == "available"


def unmake_all(work: Work) -> None:
    """The volumes that were made for the server are gone, and it has none any more."""
    for device in _devices(work):
        made = device.source_type != "volume"
        if made and device.volume_id and work.tools.volumes.made_by_host:
            with work.tools.db.read() as conn:
                row = volumes.get(conn, device.volume_id, None)
            if row is not None:
                files.remove_files(VolumeWork(work.tools, work.entry, row))
        _disconnect(work, device)
        with work.tools.db.write() as conn:
            if device.volume_id and device.attachment_id:
                work.tools.volumes.let_go(conn, device.volume_id, device.attachment_id)
            if made and device.volume_id:
                work.tools.volumes.forget(conn, device.volume_id)
            gone = {"attachment_id": None, "connection_json": None} | ({"volume_id": None} if made else {})
            block_devices.change(conn, device.uuid, gone)
            block_devices.refresh(conn, work.server.id)
            journal.hold(conn, work.entry)


def all_in_use(conn: Connection, work: Work) -> None:
    """The server runs with them."""
    for device in block_devices.volumes(conn, work.server.id):
        if device.volume_id and device.attachment_id:
            work.tools.volumes.attached(conn, device.volume_id, device.attachment_id)


def disconnect_all(work: Work) -> None:
    """The host needs none of the server's volumes any more."""
    for device in _devices(work):
        _disconnect(work, device)
