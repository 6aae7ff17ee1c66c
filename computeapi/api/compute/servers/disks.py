# SPDX-License-Identifier: Apache-2.0
"""The disks that POST /servers asks for: block_device_mapping(_v2), the image's and the flavor's own.

Checks and sentences: nova/block_device.py and nova/compute/api.py (_validate_bdm). Whether volumes and what they are
made from is there is volume_disks' to find out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import orjson

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.db.queries.flavors import FlavorRow

MAX_LOCAL = 3  # Nova's max_local_block_devices
_BUSES = ("fdc", "ide", "sata", "scsi", "usb", "virtio", "xen", "lxc", "uml")
_TYPES = ("disk", "cdrom", "floppy", "lun")
_MAX_INT = 2**31 - 1

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Disk:
    """A row of block_devices to be. `size` in GiB, of a swap disk in MiB; None: as the flavor says."""

    source: str  # image | blank | volume | snapshot
    boot_index: int
    image_id: str | None = None
    volume_id: str | None = None
    snapshot_id: str | None = None
    destination: str = "local"  # local | volume
    size: int | None = None
    device_name: str | None = None
    device_type: str = "disk"
    bus: str | None = None
    guest_format: str | None = None
    delete_on_termination: bool = True

    @property
    def is_volume(self) -> bool:
        """One that may outlive the server."""
        return self.destination == "volume"

    @property
    def is_swap(self) -> bool:
        """The guest's swap space."""
        return self.source == "blank" and self.guest_format == "swap" and not self.is_volume

    @property
    def is_ephemeral(self) -> bool:
        """An empty disk that goes with the server."""
        return self.source == "blank" and self.guest_format != "swap" and not self.is_volume


def invalid(details: str) -> errors.BadRequest:
    """Nova's InvalidBDMFormat and its like."""
    return errors.BadRequest(f"Block Device Mapping is Invalid: {details}")


def read(server: Item, image_id: str | None) -> list[Disk]:
    """What the body's mappings ask for, without what the flavor adds. `image_id` is that of imageRef."""
    old, new = server.get("block_device_mapping") or [], server.get("block_device_mapping_v2") or []
    if old and new:
        raise errors.BadRequest("Using different block_device_mapping syntaxes is not allowed in the same request.")
    if new:
        return [_read_new(item, image_id) for item in new if not item.get("no_device")]
    disks = [_read_old(item) for item in old if not item.get("no_device") or item.get("virtual_name")]
    if image_id:
        return [Disk("image", 0, image_id), *disks]
    first = next((number for number, disk in enumerate(disks) if disk.is_volume), None)
    if first is not None:  # what it boots from
        disks[first] = replace(disks[first], boot_index=0)
    return disks


def _read_new(item: Item, image_id: str | None) -> Disk:
    source, uuid = item.get("source_type"), item.get("uuid")
    if source == "blank" and uuid:
        raise invalid("Invalid device UUID.")
    if source != "blank" and not uuid:
        raise invalid("Missing device UUID.")
    if source is None:
        raise invalid("Some required fields are missing")
    boot_index = _boot_index(item.get("boot_index"))
    if (item.get("destination_type") or ("volume" if source in _KEPT else "local")) == "volume":
        return _read_volume(item, source, boot_index)
    if source in _KEPT:
        raise invalid(f"Mapping {source} to local is not supported.")
    if source == "image":
        if image_id is None or boot_index != 0:
            raise invalid("Mapping image to local is not supported.")
        if uuid != image_id:
            raise invalid(f"failed to get image {uuid}.")
    return _checked(
        Disk(
            source,
            boot_index,
            image_id=image_id if source == "image" else None,
            size=_size(item),
            device_name=item.get("device_name"),
            device_type=item.get("device_type") or "disk",
            bus=item.get("disk_bus"),
            guest_format=item.get("guest_format"),
            delete_on_termination=p.truth(item.get("delete_on_termination", source == "image")),
        )
    )


_KEPT = ("volume", "snapshot")  # sources that only a volume can be made of


def _read_volume(item: Item, source: str, boot_index: int) -> Disk:
    size = _size(item)
    if not size and source == "image":
        raise errors.BadRequest("Images with destination_type 'volume' need to have a non-zero size specified")
    if not size and source == "blank":
        raise errors.BadRequest("Blank volumes (source: 'blank', dest: 'volume') need to have non-zero size")
    uuid = str(item.get("uuid"))
    disk = Disk(
        source,
        boot_index,
        image_id=uuid if source == "image" else None,
        volume_id=uuid if source == "volume" else None,
        snapshot_id=uuid if source == "snapshot" else None,
        size=size or None,
        destination="volume",
        device_name=item.get("device_name"),
        device_type=item.get("device_type") or "disk",
        bus=item.get("disk_bus"),
        guest_format=item.get("guest_format"),
        delete_on_termination=p.truth(item.get("delete_on_termination", False)),
    )
    return _checked(disk)


def _read_old(item: Item) -> Disk:
    """A mapping of before Havana: by its virtual name."""
    name = item.get("virtual_name") or ""
    if name == "swap" or (name.startswith("ephemeral") and name[9:].isdecimal()):
        guest_format = "swap" if name == "swap" else None
        return _checked(
            Disk("blank", -1, size=_size(item), device_name=item.get("device_name"), guest_format=guest_format)
        )
    for source in _KEPT:
        if item.get(f"{source}_id"):
            return _read_volume({**item, "uuid": item[f"{source}_id"]}, source, -1)
    raise invalid("Unrecognized legacy format.")


def of_image(properties: dict[str, str]) -> list[Disk]:
    """The volumes that an image of a volume-backed server stands for (createImage): what it says of itself."""
    try:
        items = orjson.loads(properties.get("block_device_mapping") or "[]")
        kept = [{**item, "uuid": item.get(f"{item['source_type']}_id")} for item in items]
        return [
            _read_volume(item, item["source_type"], _boot_index(item.get("boot_index")))
            for item in kept
            if item["source_type"] in _KEPT and item["uuid"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise invalid("the image's block_device_mapping can't be read.") from None


def _boot_index(value: Any) -> int:
    """Less than 0, or None: not to boot from."""
    number = -1 if value is None else int(str(value)[:20])
    return max(-1, min(number, _MAX_INT))


def _size(item: Item) -> int | None:
    value = item.get("volume_size")
    return None if value is None else min(int(str(value)[:20]), _MAX_INT)


def _checked(disk: Disk) -> Disk:
    if disk.bus is not None and disk.bus not in _BUSES:
        raise errors.BadRequest("Block Device Mapping is Invalid.")
    if disk.device_type not in _TYPES:
        raise invalid(f"the device type {disk.device_type} is not supported.")
    if len(disk.guest_format or "") > 16:
        raise invalid(f"the guest format {disk.guest_format} is not supported.")
    if len(disk.device_name or "") > 64:
        raise invalid("Device name empty or too long.")
    return disk


def complete(disks: list[Disk], flavor: FlavorRow) -> list[Disk]:
    """With the flavor's own ephemeral disk and swap where the body asks for none; checked as a whole."""
    ephemeral, swap = [disk for disk in disks if disk.is_ephemeral], [disk for disk in disks if disk.is_swap]
    if flavor.ephemeral_gb and not ephemeral:
        disks = [*disks, Disk("blank", -1, size=flavor.ephemeral_gb)]
    if flavor.swap_mb and not swap:
        disks = [*disks, Disk("blank", -1, size=flavor.swap_mb, guest_format="swap")]
    bootable = sorted(disk.boot_index for disk in disks if disk.boot_index >= 0)
    if not bootable or bootable != list(range(len(bootable))):
        raise invalid("Boot sequence for the instance and image/block device mapping combination is not valid.")
    if sum(disk.size or flavor.ephemeral_gb for disk in ephemeral) > flavor.ephemeral_gb:
        raise errors.BadRequest(
            "Ephemeral disks requested are larger than the instance type allows. If no size is given in one block "
            "device mapping, flavor ephemeral size will be used."
        )
    if len(swap) > 1:
        raise invalid("More than one swap drive requested.")
    if swap and (swap[0].size or 0) > flavor.swap_mb:
        raise errors.BadRequest("Swap drive requested is larger than instance type allows.")
    if sum(not disk.is_volume for disk in disks) > MAX_LOCAL:
        raise invalid("You specified more local devices than the limit allows")
    return disks
