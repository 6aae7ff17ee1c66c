# SPDX-License-Identifier: Apache-2.0
"""Making an image of a server's disk, and keeping only the newest of its backups.

The disk is copied on the host first (the guest goes on running), then the copy goes to the image service. The image was
registered by the API, so that its id could be told; whatever ends the work before the image is whole deletes it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import orjson
from sqlalchemy import select

from computeapi import errors, states
from computeapi.compute import base_image, guest
from computeapi.compute.operation import Cancelled, Operation, Step, Work
from computeapi.db.models import Action
from computeapi.db.models.journal import CANCELLED
from computeapi.virt.base import Quiesce, is_true

LOG = logging.getLogger("computeapi.compute")

_OPERATIONS = ("snapshot", "backup", "shelve")  # that make images
_UNFINISHED = ("queued", "saving")
_MANY = 1000


def take(work: Work) -> None:
    """A copy of the root disk, beside it."""
    with image_goes_with_the_server(work):
        work.save(task_state=states.IMAGE_SNAPSHOT)
        copy(work)


def upload(work: Work) -> None:
    """The copy is the image's bytes."""
    with image_goes_with_the_server(work):
        work.save(task_state=states.IMAGE_UPLOADING)
        give(work)


def copy(work: Work) -> None:
    """As `take`, without a word to the outside."""
    disk = guest.root_disk_name(work.server.uuid)
    work.driver.snapshot(work.server.uuid, disk, copy_name(work), quiesce(work))


def quiesce(work: Work) -> Quiesce:
    """Whether the guest's file systems shall hold still: what its image says (Nova's properties)."""
    properties = orjson.loads(work.server.image_json)
    if is_true(properties.get("os_require_quiesce")):
        return Quiesce.MUST
    return Quiesce.TRY if is_true(properties.get("hw_qemu_guest_agent")) else Quiesce.NO


def give(work: Work) -> None:
    """As `upload`, without a word to the outside."""
    base_image.fill(work, work.entry.payload["image_id"], copy_name(work))


def forget_copy(work: Work) -> None:
    """The copy on the host is gone."""
    work.driver.remove_volume(copy_name(work))


def copy_name(work: Work) -> str:
    """The volume that the disk is copied to."""
    return f"{guest.prefix(work.server.uuid)}snapshot_{work.entry.payload['image_id']}"


def give_up(work: Work) -> None:
    """Neither copy nor image, and a guest that was holding still for it goes on."""
    if quiesce(work) != Quiesce.NO:
        work.driver.thaw(work.server.uuid)
    if "image_id" not in work.entry.payload:  # it can't be read any more
        work.driver.remove_volumes(f"{guest.prefix(work.server.uuid)}snapshot_")
        return
    forget_copy(work)
    _delete_image(work, work.entry.payload["image_id"])


@contextmanager
def image_goes_with_the_server(work: Work) -> Iterator[None]:
    """A delete that cuts a step short takes the image with it."""
    try:
        yield
    except Cancelled:
        _delete_image(work, work.entry.payload["image_id"])
        raise


def _delete_image(work: Work, image_id: str) -> None:
    with suppress(errors.NotFound):
        work.tools.images.delete(work.context, image_id)


def rotate(work: Work) -> None:
    """Of the server's backups of this type, the newest `rotation` stay. One that can't be deleted is left (as Nova)."""
    images, payload = work.tools.images, work.entry.payload
    filters = {
        "image_type": "backup",
        "backup_type": payload["backup_type"],
        "instance_uuid": work.server.uuid,
    }
    for image in images.list(work.context, filters, _MANY, None)[payload["rotation"] :]:
        try:
            images.delete(work.context, image.id)
        except errors.Error as error:
            LOG.info("backup %s of server %s is left: %s", image.id, work.server.uuid, error)


def remove_unfinished_images(work: Work) -> None:
    """The images of which a delete overtook the making before it began. No reason for a delete to fail."""
    cancelled = select(Action.id).where(
        Action.server_id == work.server.id, Action.operation.in_(_OPERATIONS), Action.state == CANCELLED
    )
    with work.tools.db.read() as conn:
        if conn.execute(cancelled.limit(1)).first() is None:
            return
    images = work.tools.images
    try:
        for image in images.list(work.context, {"instance_uuid": work.server.uuid}, _MANY, None):
            if image.status in _UNFINISHED and image.properties.get("image_type") in ("snapshot", "backup"):
                _delete_image(work, image.id)
    except errors.Error as error:
        LOG.warning("server %s is deleted; its unfinished images are left: %s", work.server.uuid, error)


_STEPS = (
    Step("snapshot", take, give_up),
    Step("upload", upload),
    Step("clean", forget_copy),
)

SNAPSHOT = Operation(_STEPS)
BACKUP = Operation((*_STEPS, Step("rotate", rotate)))
