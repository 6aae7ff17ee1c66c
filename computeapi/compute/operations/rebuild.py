# SPDX-License-Identifier: Apache-2.0
"""Making a server anew on its host, from an image: its disks are lost, its addresses stay.

The API has written what the server shall be (image, name, metadata, …) before any of this begins.
"""

from __future__ import annotations

from contextlib import suppress

from computeapi import states
from computeapi.compute import base_image, guest
from computeapi.compute.operation import Cancelled, Operation, Step, Work
from computeapi.compute.operations import build
from computeapi.compute.operations.power import shut_down
from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound
from computeapi.virt.images import disk_bytes


def switch_off(work: Work) -> None:
    """The guest is off, by its own doing where it obeys. A guest that the host does not know is off."""
    with suppress(DomainNotFound):
        if work.driver.state(work.server.uuid) == PowerState.RUNNING:
            shut_down(work, work.tools.settings.shutdown_timeout)
        work.driver.power_off(work.server.uuid)


def stay_off(work: Work) -> None:
    """The undo of what starts a guest, or stopped it: it is off, and shows so."""
    with suppress(DomainNotFound):
        work.driver.power_off(work.server.uuid)
    with suppress(Cancelled):
        work.save(power_state=int(PowerState.SHUTDOWN))


def fetch_image(work: Work) -> None:
    """The new image is on this host."""
    work.save(task_state=states.REBUILD_BLOCK_DEVICE_MAPPING)
    base_image.ensure(work, work.server.image_id)


def renew_disks(work: Work) -> None:
    """Every disk anew; but ephemeral and swap disks are kept where that was asked for."""
    preserve = bool(work.entry.payload.get("preserve_ephemeral"))
    for disk in guest.local_disks(work):
        if disk.base is not None:  # may it be? Not found out when the old one is gone.
            disk_bytes(disk.volume, disk.size_gb, work.driver.virtual_size(disk.base))
        if disk.base is not None or not preserve:
            work.driver.remove_volume(disk.volume)
        work.driver.ensure_disk(disk.volume, disk.size_gb, disk.base)


def make_config_drive(work: Work) -> None:
    """The config drive anew, with the new password and files."""
    work.save(task_state=states.REBUILD_SPAWNING)
    if guest.has_config_drive(work):
        work.driver.ensure_iso(guest.config_drive_name(work.server.uuid), guest.config_drive(work))


def start(work: Work) -> None:
    """It runs, unless it was off before."""
    if work.server.vm_state == states.STOPPED:
        work.landing |= {"vm_state": states.STOPPED, "power_state": int(PowerState.SHUTDOWN)}
    else:
        build.start(work)


REBUILD = Operation(
    (
        Step("power_off", switch_off),
        Step("image", fetch_image),
        Step("disks", renew_disks),
        Step("network", build.plug),
        Step("config_drive", make_config_drive),
        Step("define", build.define),
        Step("start", start),
    )
)
