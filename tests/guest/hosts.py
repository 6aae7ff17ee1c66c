# SPDX-License-Identifier: Apache-2.0
"""A libvirt host in namespaces of its own, and guests that are quick to start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "lib" / "hypervisor-host"
TINY = REPOSITORY / ".cache" / "tiny.qcow2"
#: Seconds that anything a guest does may take on a machine that others use too.
PATIENCE = 180.0


@dataclass(frozen=True, slots=True)
class IsolatedHost:
    """A running host. `state_dir` is for the driver; `directory` is the host's own.

    Hosts with the same `fabric` reach each other; there their addresses are 10.77.0.<number>.
    """

    directory: Path
    state_dir: Path
    name: str = "host"
    fabric: str = ""
    number: int = 1

    def _told(self, name: str) -> str:
        return (self.directory / name).read_text().strip()

    @property
    def uri(self) -> str:
        """libvirt's, from outside."""
        return self._told("uri")

    @property
    def netns(self) -> str:
        """The network namespace's name."""
        return self._told("netns")

    def inside(self, *command: str, check: bool = True) -> str:
        """What a command says that runs in the host's namespaces."""
        enter = ["nsenter", "--target", self._told("pid"), "--mount", "--uts", "--net", "--pid", "--"]
        return subprocess.run([*enter, *command], check=check, capture_output=True, text=True, timeout=60).stdout

    def start(self) -> None:
        """libvirtd runs (again)."""
        fabric = ["--fabric", self.fabric] if self.fabric else []
        command = [str(TOOL), "start", *fabric, self.name, str(self.directory), str(self.number)]
        done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            pytest.fail(f"the hypervisor host does not start: {done.stderr.strip()}")

    def stop(self) -> None:
        """The host and all its guests are gone."""
        subprocess.run([str(TOOL), "stop", str(self.directory)], check=True, capture_output=True, timeout=60)

    def kill_libvirtd(self) -> None:
        """kill -9; guests go on."""
        self._kill("libvirtd.pid")

    def kill_qemu(self, name: str) -> None:
        """kill -9 of the guest's process."""
        self._kill(f"libvirt/qemu/{name}.pid")

    def _kill(self, pid_file: str) -> None:
        self.inside("kill", "-9", (self.directory / "run" / pid_file).read_text().strip())

    def ping(self, address: str) -> bool:
        """Whether the address answers the host."""
        command = ["ip", "netns", "exec", self.netns, "busybox", "ping", "-c", "1", "-w", "10", address]
        return subprocess.run(command, check=False, capture_output=True, timeout=60).returncode == 0


def check_hosts_can_be() -> None:
    """Skips the test where there can be no host."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a hypervisor host")
    if not shutil.which("libvirtd") or not shutil.which("qemu-system-x86_64"):
        pytest.skip("libvirtd and QEMU are not installed")
    pytest.importorskip("libvirt")


def isolated_host(directory: Path) -> Iterator[IsolatedHost]:
    """A host for as long as the generator is open; skips the test where there can be none."""
    check_hosts_can_be()
    host = IsolatedHost(directory / "host", directory / "state")
    host.start()
    try:
        yield host
    finally:
        host.stop()


def tiny_image() -> Path:
    """The small Linux guest, built if need be."""
    command = [sys.executable, "-m", "computeapi.guest_image", "--output", str(TINY)]
    done = subprocess.run(command, cwd=REPOSITORY, check=False, capture_output=True, text=True, timeout=600)
    if done.returncode != 0:
        pytest.skip(f"the image tiny cannot be built here: {done.stderr.strip()[-300:]}")
    return TINY


def boot_sector(marker: str = "GUEST-READY bootsector") -> bytes:
    """A raw disk of 1 MiB whose boot sector is the guest: it writes a line on the serial port and halts.

    It starts at once in 2 MiB of memory, and does not hear the power button.
    """
    code = bytes.fromhex("fa 31c0 8ed8 be167c ac 84c0 7406 baf803 ee ebf5 f4 ebfd")
    text = marker.encode() + b"\r\n\0"
    assert len(code) == 0x16 and len(code) + len(text) <= 510
    return (code + text).ljust(510, b"\0") + b"\x55\xaa" + bytes(2**20 - 512)


def wait_for(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Until it is so; fails with `what` it was after `patience` seconds."""
    deadline = time.monotonic() + patience
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"still not so after {patience:g} s: {what}")
        time.sleep(0.05)
