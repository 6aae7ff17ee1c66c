# SPDX-License-Identifier: Apache-2.0
"""Kernel modules, in an order in which plain insmod can load them."""

import lzma
import re
from pathlib import Path

from computeapi.guest_image.packages import run

# What the initramfs needs to reach the disk: the usual one first, the others only when that found nothing.
VIRTIO_DISK = ("virtio_pci", "virtio_blk")
OTHER_DISKS = ("virtio_scsi", "ata_piix", "ahci", "sd_mod")
# What the started guest needs, at once and for drives on other buses.
DEVICES = ("virtio_net", "virtio_console", "virtio-rng", "virtio_balloon", "button", "evdev", "isofs")
OTHER_DRIVES = (*OTHER_DISKS, "sr_mod")


class Modules:
    """The modules of one kernel, by name. A name it does not know is built into the kernel, or absent from it."""

    def __init__(self, directory: Path) -> None:
        self._files = {path.name.split(".ko")[0].replace("-", "_"): path for path in directory.rglob("*.ko*")}

    def read(self, name: str) -> bytes:
        path = self._files[name]
        if path.suffix == ".xz":
            return lzma.decompress(path.read_bytes())
        if path.suffix == ".zst":
            plain = path.with_suffix("")
            run("zstd", "--quiet", "--force", "--decompress", path, "-o", plain)
            return plain.read_bytes()
        return path.read_bytes()

    def in_load_order(self, names: tuple[str, ...]) -> list[str]:
        """The named modules that exist, each after those it depends on."""
        order: list[str] = []

        def add(name: str) -> None:
            name = name.replace("-", "_")
            if name in order or name not in self._files:
                return
            match = re.search(rb"\0depends=([^\0]*)\0", self.read(name))
            for dependency in match[1].decode().split(",") if match else ():
                add(dependency)
            order.append(name)

        for name in names:
            add(name)
        return order
