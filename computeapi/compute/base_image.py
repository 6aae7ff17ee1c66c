# SPDX-License-Identifier: Apache-2.0
"""Images on a host: as the bases of disks, and filled from a volume of the host's."""

from __future__ import annotations

import logging

from computeapi import errors
from computeapi.compute import guest
from computeapi.compute.operation import VolumeWork, Work

LOG = logging.getLogger("computeapi.compute")


def ensure(work: Work | VolumeWork, image_id: str) -> None:
    """An image's bytes are on this host, as `guest.base_name` calls them. Raises Conflict for one that has none."""
    image = work.tools.images.show(work.context, image_id)
    if image.status != "active":
        raise errors.Conflict(f"Image {image.id} is not active.")
    work.driver.ensure_base(
        guest.base_name(image.id),
        image.disk_format or "raw",
        image.size or 0,
        lambda: work.interruptible(work.tools.images.chunks(work.context, image.id)),
    )


def restore(work: Work) -> bool:
    """Whether the image below the server's disk was lost on this host, and is there again (as Nova's hard reboot)."""
    image_id = work.server.image_id
    if not image_id or guest.base_name(image_id) in work.driver.list_volumes():
        return False
    try:
        ensure(work, image_id)
    except (errors.NotFound, errors.Forbidden, errors.Conflict) as error:
        LOG.warning("image %s is lost on this host, and can't be had again: %s", image_id, error)
        return False
    return True


def fill(work: Work | VolumeWork, image_id: str, volume: str) -> None:
    """The image's bytes are those of a volume of the host's. An upload that was cut short begins anew."""
    images = work.tools.images
    status = images.show(work.context, image_id).status
    if status == "active":
        return
    if status == "saving":
        images.sweep()
    chunks = work.interruptible(work.driver.read_volume(volume))
    try:
        images.upload(work.context, image_id, chunks)
    except errors.Conflict as error:  # whoever was at it has not found out yet that it is not its work any more
        raise errors.Unavailable(f"Image {image_id} is being written by another.") from error
