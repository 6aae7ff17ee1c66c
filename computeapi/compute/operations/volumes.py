# SPDX-License-Identifier: Apache-2.0
"""What is done with a volume on the host that has its file: making it, growing it, copying it, taking it away.

Each file is a qcow2 on top of no other, so that it can be moved alone. A volume that a guest has is copied while the
guest goes on (Hypervisor.snapshot): at one moment, as after a power cut.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from computeapi import errors
from computeapi.compute import base_image, guest
from computeapi.compute.operation import Operation, Step, VolumeWork
from computeapi.db.queries import volume_snapshots, volumes


def _copy(work: VolumeWork, volume_id: str, source: str, name: str) -> None:
    """A flat copy of the file of a volume, which a guest of this host may have."""
    with work.tools.db.read() as conn:
        user = volumes.user_of(conn, volume_id)
    work.driver.snapshot((user.server_id if user else None) or volume_id, source, name)


# --- create ---


def fetch_image(work: VolumeWork) -> None:
    """The image's bytes are on this host."""
    if work.volume.image_id:
        work.save(status="downloading")
        base_image.ensure(work, work.volume.image_id)


def make_file(work: VolumeWork) -> None:
    """The volume's file: empty, or a copy of what it is made from, grown to its own size."""
    volume, name = work.volume, work.volume.file_name
    if volume.image_id:
        overlay = _overlay_name(work)  # says what format the image has: its own bytes are never asked
        work.driver.ensure_disk(overlay, volume.size_gb, guest.base_name(volume.image_id))
        work.driver.snapshot(volume.uuid, overlay, name)
        work.driver.remove_volume(overlay)
    elif volume.snapshot_id:
        work.driver.snapshot(volume.uuid, volume_snapshots.snapshot_file(volume.snapshot_id), name)
    elif volume.source_volume_id:
        _copy(work, volume.source_volume_id, f"volume-{volume.source_volume_id}", name)
    else:
        work.driver.ensure_disk(name, volume.size_gb, None)
    work.driver.resize_disk(name, volume.size_gb)


def _overlay_name(work: VolumeWork) -> str:
    """Among the host's own disks, as the image is."""
    return f"{work.volume.uuid}_image"


def remove_files(work: VolumeWork) -> None:
    """Nothing is left of the volume."""
    work.driver.remove_volume(_overlay_name(work))
    work.driver.remove_volumes(work.volume.file_name)


CREATE = Operation((Step("image", fetch_image), Step("file", make_file, remove_files)))

# --- delete ---


def deleted(conn: Connection, work: VolumeWork) -> None:
    """Its row goes with it."""
    volumes.remove(conn, work.volume.id)


DELETE = Operation((Step("file", remove_files),), finished=deleted)

# --- extend ---


def grow(work: VolumeWork) -> None:
    """The file is as large as was asked for, and the disk of the guest that runs with it."""
    size_gb = work.entry.payload["size_gb"]
    with work.tools.db.read() as conn:
        user = volumes.user_of(conn, work.volume.uuid)
    work.driver.resize_disk(work.volume.file_name, size_gb, str(user.server_id) if user and user.server_id else "")
    work.landing["size_gb"] = size_gb


def let_go_meanwhile(conn: Connection, work: VolumeWork) -> None:
    """It is nobody's where the server was deleted while it grew."""
    if volumes.user_of(conn, work.volume.uuid) is None:
        volumes.change(conn, work.volume.id, {"status": "available"}, statuses=("in-use",))


EXTEND = Operation((Step("grow", grow),), finished=let_go_meanwhile, failed=let_go_meanwhile)

# --- revert ---


def go_back(work: VolumeWork) -> None:
    """The file is a copy of the snapshot's."""
    snapshot = str(work.entry.lands["restored"])
    work.driver.snapshot(work.volume.uuid, volume_snapshots.snapshot_file(snapshot), work.volume.file_name)


REVERT = Operation((Step("copy", go_back),))

# --- snapshots ---


def _snapshot(work: VolumeWork) -> str:
    return str(work.entry.lands["snapshot"])


def take(work: VolumeWork) -> None:
    """The snapshot's file."""
    _copy(work, work.volume.uuid, work.volume.file_name, volume_snapshots.snapshot_file(_snapshot(work)))


def forget(work: VolumeWork) -> None:
    """No such file."""
    work.driver.remove_volume(volume_snapshots.snapshot_file(_snapshot(work)))


def forgotten(conn: Connection, work: VolumeWork) -> None:
    """Its row goes with it."""
    volume_snapshots.remove(conn, _snapshot(work))


SNAPSHOT_CREATE = Operation((Step("copy", take, forget),))
SNAPSHOT_DELETE = Operation((Step("file", forget),), finished=forgotten)

# --- upload: the image was registered by the API, so that its id could be told ---


def _copy_name(work: VolumeWork) -> str:
    return f"{work.volume.file_name}_upload"


def copy(work: VolumeWork) -> None:
    """A copy that nobody writes to, beside the volume."""
    _copy(work, work.volume.uuid, work.volume.file_name, _copy_name(work))


def give_up(work: VolumeWork) -> None:
    """Neither copy nor image."""
    work.driver.remove_volume(_copy_name(work))
    if "image_id" in work.entry.payload:
        with suppress(errors.NotFound):
            work.tools.images.delete(work.context, work.entry.payload["image_id"])


def upload(work: VolumeWork) -> None:
    """The copy is the image's bytes."""
    base_image.fill(work, work.entry.payload["image_id"], _copy_name(work))


def clean(work: VolumeWork) -> None:
    """No copy any more."""
    work.driver.remove_volume(_copy_name(work))


UPLOAD = Operation((Step("copy", copy, give_up), Step("upload", upload), Step("clean", clean)))
