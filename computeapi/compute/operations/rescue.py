# SPDX-License-Identifier: Apache-2.0
"""Booting a server from another image, with its own root disk as the second one; and back."""

from __future__ import annotations

from dataclasses import replace

from computeapi import clock
from computeapi.compute import base_image, guest
from computeapi.compute.operation import Operation, Step, Work
from computeapi.compute.operations import build, power
from computeapi.compute.operations.rebuild import stay_off, switch_off
from computeapi.states import PowerState
from computeapi.virt.base import DiskSpec


def _disk(work: Work) -> str:
    return f"{guest.prefix(work.server.uuid)}rescue"


def _config_drive(work: Work) -> str:
    return f"{guest.prefix(work.server.uuid)}rescue_config"


def fetch_image(work: Work) -> None:
    """The rescue image is on this host."""
    base_image.ensure(work, work.entry.payload["image_id"])


def make_disks(work: Work) -> None:
    """The disk to boot from, as large as its image, and a config drive with the rescue password."""
    work.driver.ensure_disk(_disk(work), 0, guest.base_name(work.entry.payload["image_id"]))
    if guest.has_config_drive(work):
        work.driver.ensure_iso(_config_drive(work), guest.config_drive(work))


def remove_disks(work: Work) -> None:
    """Nothing is left of the rescue."""
    work.driver.remove_volume(_disk(work))
    work.driver.remove_volume(_config_drive(work))


def define(work: Work) -> None:
    """The guest boots the rescue disk; its root disk is the second one."""
    spec = guest.domain_spec(work)
    root = guest.root_disk_name(work.server.uuid)
    disks = [DiskSpec(_disk(work), "vda", boot_index=1, serial="rescue")]
    for disk in spec.disks:
        if disk.volume == root:
            disks.append(replace(disk, target="vdb", boot_index=None))
        elif disk.device == "cdrom":
            disks.append(replace(disk, volume=_config_drive(work)))
    properties = {**spec.image_properties, **work.entry.payload.get("properties", {})}
    work.driver.define(replace(spec, disks=tuple(disks), image_properties=properties))


def start(work: Work) -> None:
    """The rescue system runs."""
    work.driver.start(work.server.uuid)
    work.landing |= {"power_state": int(PowerState.RUNNING), "launched_at": clock.now()}


RESCUE = Operation(
    (
        Step("image", fetch_image),
        Step("power_off", switch_off, stay_off),
        Step("disks", make_disks, remove_disks),
        Step("network", build.plug),
        Step("define", define, build.define),
        Step("start", start, stay_off),
    )
)
UNRESCUE = Operation(
    (
        Step("power_off", power.power_off),
        Step("define", build.define),
        Step("disks", remove_disks),
        Step("network", build.plug),
        Step("start", power.start),
    )
)
