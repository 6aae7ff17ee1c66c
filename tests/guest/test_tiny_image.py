# SPDX-License-Identifier: Apache-2.0
"""The image `tiny`, booted by QEMU alone: what it says on its console is what all other guest tests read."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pycdlib
import pytest

from computeapi.guest_image import disk, initrd, tree
from computeapi.guest_image.packages import fetch

pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="QEMU is not installed"),
    pytest.mark.skipif(shutil.which("apt-get") is None, reason="the image is built from Debian's packages"),
]

CACHE = Path(__file__).parents[2] / ".cache"
MEMORY = 96  # MiB, that of the flavor m1.nano
PATIENCE = 120  # seconds; a boot takes 7 on a quiet machine without KVM
META_DATA = {
    "uuid": "0b1f6a56-0d4c-4b2f-9f43-7c6f6d2f3c11",
    "hostname": "hello.novalocal",
    "name": 'the "first" server',
    "public_keys": {"mine": "ssh-rsa AAAAB3 me@example\n"},
    "files": [
        {"content_path": "/content/0000", "path": "/etc/motd"},
        {"path": "/srv/two words", "content_path": "/content/0001"},
    ],
    "admin_pass": "s3cret",
    "random_seed": "abc+/=",
    "meta": {"empty": "", "list": [1, {"a": None}, []]},
}


class Guest:
    """A QEMU of its own with the disk, and its console as text."""

    def __init__(self, directory: Path, disk_file: Path, *more: str) -> None:
        self.console_file = directory / "console.log"
        self.console_file.unlink(missing_ok=True)
        monitor = directory / "qmp"
        command = ["qemu-system-x86_64", "-M", "pc", "-accel", "tcg,tb-size=32", "-m", str(MEMORY)]
        command += ["-nodefaults", "-vga", "std", "-display", "none", "-serial", f"file:{self.console_file}"]
        command += ["-qmp", f"unix:{monitor},server=on,wait=off", "-device", "virtio-balloon"]
        command += ["-drive", f"file={disk_file},if=virtio,format=qcow2", *more]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not monitor.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(monitor))
        self._monitor = connection.makefile("rw")
        self._monitor.readline()
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """A command to QEMU's monitor, and its answer."""
        self._monitor.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
        self._monitor.flush()
        while True:
            answer = json.loads(self._monitor.readline())
            if "event" not in answer:
                assert "return" in answer, answer
                return answer["return"]

    @property
    def console(self) -> str:
        return self.console_file.read_bytes().decode(errors="replace").replace("\r", "")

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line of the console that matches from its beginning."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and self.process.poll() is None:
            match = re.search("^" + pattern, self.console, re.MULTILINE)
            if match:
                return match
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} on the console:\n{self.console}")

    def press_power_button(self) -> None:
        self.ask("system_powerdown")
        self.wait_for("GUEST-ACPI-POWER$")
        self.process.wait(PATIENCE)

    def end(self) -> None:
        self._monitor.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module")
def image() -> Path:
    path = CACHE / "tiny.qcow2"
    subprocess.run([sys.executable, "-m", "computeapi.guest_image", "--output", str(path)], check=True)
    return path


@pytest.fixture
def server_disk(image: Path, tmp_path: Path) -> Path:
    path = tmp_path / "disk.qcow2"
    options = ("-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2")
    subprocess.run(["qemu-img", "create", *options, str(path), "1G"], check=True)
    return path


@pytest.fixture
def config_drive(tmp_path: Path) -> Path:
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="config-2")
    for name in ("openstack", "openstack/latest", "openstack/content"):
        iso.add_directory("/" + name.upper(), rr_name=name.rpartition("/")[2], joliet_path="/" + name)
    contents = {
        "openstack/latest/meta_data.json": json.dumps(META_DATA).encode(),
        "openstack/latest/user_data": b"#!/bin/bash\necho run on $(hostname)\ncat /etc/motd\nexit 3\n",
        "openstack/content/0000": b"personality of one\n",
        "openstack/content/0001": b"two\n",
    }
    for number, (name, content) in enumerate(contents.items()):
        directory, _, last = name.rpartition("/")
        iso_name = f"/{directory.upper()}/FILE{number}.;1"
        iso.add_fp(io.BytesIO(content), len(content), iso_name, rr_name=last, joliet_path="/" + name)
    path = tmp_path / "config.iso"
    iso.write(str(path))
    iso.close()
    return path


@pytest.fixture
def guests() -> Iterator[list[Guest]]:
    started: list[Guest] = []
    yield started
    for guest in started:
        guest.end()


def test_a_server_reads_its_config_drive_and_obeys_the_power_button(
    tmp_path: Path, server_disk: Path, config_drive: Path, guests: list[Guest]
) -> None:
    drive = f"file={config_drive},if=virtio,format=raw,readonly=on"
    network = ("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-pci,netdev=net")
    guests.append(guest := Guest(tmp_path, server_disk, "-drive", drive, *network))
    ready = guest.wait_for(r"GUEST-READY hostname=(\S+) up=([\d.]+) mem_kb=(\d+) vcpus=(\d+)$")
    assert ready[1] == "hello"
    assert MEMORY * 1024 / 2 < int(ready[3]) < MEMORY * 1024
    assert ready[4] == "1"
    guest.wait_for('GUEST-CONFIGDRIVE uuid=0b1f6a56-0d4c-4b2f-9f43-7c6f6d2f3c11 name=the "first" server$')
    guest.wait_for("GUEST-KEYS 1$")
    guest.wait_for("GUEST-FILE /etc/motd$")
    guest.wait_for("GUEST-FILE /srv/two words$")
    guest.wait_for("GUEST-USERDATA run on hello$")
    guest.wait_for("GUEST-USERDATA personality of one$")
    guest.wait_for("GUEST-USERDATA ended with 3$")
    guest.wait_for(f"GUEST-DISK vda {2**30}$")
    guest.wait_for("GUEST-DATA boots=1$")
    guest.wait_for(r"GUEST-DHCP eth0 10\.0\.2\.15$")
    guest.press_power_button()

    guests.append(again := Guest(tmp_path, server_disk, "-drive", drive))
    again.wait_for("GUEST-READY hostname=hello ")
    again.wait_for("GUEST-DATA boots=2$")
    again.press_power_button()
    assert "GUEST-USERDATA" not in again.console  # once in a server's life


def test_a_config_drive_may_be_a_cdrom(
    tmp_path: Path, server_disk: Path, config_drive: Path, guests: list[Guest]
) -> None:
    guests.append(guest := Guest(tmp_path, server_disk, "-cdrom", str(config_drive)))
    guest.wait_for("GUEST-CONFIGDRIVE uuid=0b1f6a56")
    guest.wait_for("GUEST-READY hostname=hello ")


def test_a_guest_without_config_drive_tells_what_is_plugged_in_and_out(
    tmp_path: Path, server_disk: Path, guests: list[Guest]
) -> None:
    guests.append(guest := Guest(tmp_path, server_disk))
    guest.wait_for("GUEST-READY hostname=tiny ")
    guest.wait_for("Press Enter for a shell")

    guest.ask("blockdev-add", driver="null-co", size=2**30, **{"node-name": "volume", "read-zeroes": True})
    guest.ask("device_add", driver="virtio-blk-pci", id="disk1", drive="volume")
    guest.wait_for(rf"GUEST-BLOCK \+ vdb {2**30}$")
    guest.ask("device_del", id="disk1")
    guest.wait_for("GUEST-BLOCK - vdb$")

    guest.ask("netdev_add", type="user", id="net1", restrict=True)
    guest.ask("device_add", driver="virtio-net-pci", id="nic1", netdev="net1")
    guest.wait_for(r"GUEST-NIC \+ eth0$")
    guest.wait_for(r"GUEST-DHCP eth0 10\.0\.2\.15$")
    guest.ask("device_del", id="nic1")
    guest.wait_for("GUEST-NIC - eth0$")

    guest.ask("balloon", value=80 * 2**20)
    guest.wait_for(r"GUEST-MEM \d+ kB$")


def test_the_same_packages_give_the_same_image(tmp_path: Path) -> None:
    parts = fetch(tmp_path)
    digests = set()
    for name in ("one", "another"):
        work = tmp_path / name
        work.mkdir()
        ramdisk = work / "initrd.gz"
        ramdisk.write_bytes(initrd.pack(tree.initramfs(parts)))
        disk.build(work / "disk", parts.kernel, ramdisk, tree.root(parts), work)
        digests.add(hashlib.sha256((work / "disk").read_bytes()).hexdigest())
    assert len(digests) == 1
