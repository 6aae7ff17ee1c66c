# SPDX-License-Identifier: Apache-2.0
"""Real guests through the libvirt driver, and what a host may do to them: each effect is read from the guest itself."""

from __future__ import annotations

import queue
import re
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from computeapi.compute.config_drive import Address, ConfigDriveData, Interface, build
from computeapi.macs import mac_for
from computeapi.states import PowerState
from computeapi.virt import load
from computeapi.virt.base import (
    DhcpHost,
    DiskSpec,
    DomainSpec,
    Event,
    Hypervisor,
    HypervisorError,
    HypervisorGone,
    NetworkSpec,
    NicSpec,
    NoSpace,
)
from tests.guest.hosts import REPOSITORY, IsolatedHost, boot_sector, wait_for

pytestmark = pytest.mark.guest

NETWORK = NetworkSpec("net-driver", str(uuid.uuid4()), "br-driver", "10.61.0.0/24", "10.61.0.1", domain="novalocal")
TICKS = b"#!/bin/sh\nn=0\nwhile sleep 1; do n=$((n+1)); echo tick $n; done\n"


def pieces(path: Path) -> Callable[[], Iterator[bytes]]:
    """An image as a reader gives it."""

    def read() -> Iterator[bytes]:
        with path.open("rb") as file:
            while piece := file.read(1 << 18):
                yield piece

    return read


def simple_guest(driver: Hypervisor, **properties: str) -> DomainSpec:
    """A guest that only writes its marker, defined and off."""
    content = boot_sector()
    driver.ensure_base("bootsector", "raw", len(content), lambda: iter([content]))
    server = str(uuid.uuid4())
    driver.ensure_disk(f"{server}_disk", 0, "bootsector")
    disk = DiskSpec(f"{server}_disk", "vda", boot_index=1)
    spec = DomainSpec(server, f"instance-{server[:8]}", 1, 16, (disk,), (), image_properties=properties)
    driver.define(spec)
    return spec


def forget(driver: Hypervisor, spec: DomainSpec) -> None:
    driver.undefine(spec.uuid)
    driver.remove_volumes(f"{spec.uuid}_")


@dataclass
class Tiny:
    """A running tiny guest."""

    driver: Hypervisor
    spec: DomainSpec
    address: str

    @property
    def uuid(self) -> str:
        return self.spec.uuid

    def console(self) -> str:
        return self.driver.console_output(self.uuid, None)

    def says(self, text: str, times: int = 1) -> None:
        wait_for(lambda: self.console().count(text) >= times, f"{text!r} on the console {times} times")

    def ticks(self) -> list[int]:
        return [int(number) for number in re.findall(r"tick (\d+)", self.console())]


def boot_tiny(driver: Hypervisor, image: Path, address: str) -> Tiny:
    """A guest with a config drive and a promised address, started."""
    server = str(uuid.uuid4())
    mac = mac_for(NETWORK.uuid, address)
    driver.ensure_base("tiny", "qcow2", image.stat().st_size, pieces(image))
    driver.ensure_disk(f"{server}_disk", 1, "tiny")
    driver.ensure_network(NETWORK)
    driver.ensure_dhcp_host(NETWORK.name, DhcpHost(mac, address, "by-dhcp"))
    fixed = Address(address, NETWORK.cidr, NETWORK.gateway)
    meta = ConfigDriveData(
        uuid=server,
        name='a "quoted" name',
        hostname="hello.novalocal",
        project_id="p1",
        user_data=TICKS,
        files=(("/root/greeting", b"hi\n"),),
        interfaces=(Interface("port-1", mac, NETWORK.uuid, (fixed,)),),
    )
    driver.ensure_iso(f"{server}_config", build(meta))
    spec = DomainSpec(
        server,
        f"instance-{server[:8]}",
        1,
        96,
        (
            DiskSpec(f"{server}_disk", "vda", boot_index=1, serial=server),
            DiskSpec(f"{server}_config", "vdb", format="raw", read_only=True),
        ),
        (NicSpec(mac, NETWORK.name, tap=f"tap{server[:11]}"),),
        title="hello",
    )
    driver.define(spec)
    driver.start(server)
    return Tiny(driver, spec, address)


def test_a_guest_over_its_life(driver: Hypervisor, host: IsolatedHost, tiny: Path) -> None:
    guest = boot_tiny(driver, tiny, "10.61.0.50")
    guest.says(f"GUEST-CONFIGDRIVE uuid={guest.uuid}")
    guest.says('name=a "quoted" name')
    guest.says("GUEST-FILE /root/greeting")
    guest.says("GUEST-READY hostname=hello")
    guest.says("GUEST-DHCP eth0 10.61.0.50")
    wait_for(lambda: host.ping(guest.address), "the promised address answers")
    guest.says("tick 1")

    driver.pause(guest.uuid)
    before = guest.ticks()
    time.sleep(3)
    assert guest.ticks() == before
    assert not host.ping(guest.address)
    driver.unpause(guest.uuid)
    wait_for(lambda: len(guest.ticks()) > len(before), "the guest goes on counting")

    driver.suspend(guest.uuid)
    assert driver.state(guest.uuid) == PowerState.SUSPENDED
    before = guest.ticks()
    driver.start(guest.uuid)
    wait_for(lambda: len(guest.ticks()) > len(before), "the guest goes on counting after its restore")
    assert guest.ticks() == list(range(1, len(guest.ticks()) + 1))
    assert guest.console().count("GUEST-READY") == 1

    wait_for(lambda: agent_answers(guest), "the guest's agent sets a password")
    figures = driver.diagnostics(guest.uuid)
    assert figures["vda_read"] > 0  # since the restore, which made a new QEMU
    assert figures["memory-available"] < 96 * 1024
    assert figures[f"{guest.spec.nics[0].tap}_rx_packets"] > 0

    driver.reboot(guest.uuid)
    guest.says("GUEST-DATA boots=2")
    guest.says("GUEST-READY hostname=hello", 2)
    driver.shutdown(guest.uuid)
    wait_for(lambda: driver.state(guest.uuid) == PowerState.SHUTDOWN, "the guest is off")
    assert "GUEST-SHUTDOWN" in guest.console().rpartition("GUEST-READY")[2]
    forget(driver, guest.spec)

    # A server deleted and another with its address made: dnsmasq still has the first one's lease.
    driver.remove_dhcp_host(NETWORK.name, guest.spec.nics[0].mac)
    guest = boot_tiny(driver, tiny, "10.61.0.50")
    guest.says("GUEST-DATA boots=1")
    guest.says("GUEST-DHCP eth0 10.61.0.50")
    forget(driver, guest.spec)


def agent_answers(guest: Tiny) -> bool:
    try:
        guest.driver.set_password(guest.uuid, "root", "a-new-one")
    except HypervisorError:
        return False
    return True


def test_libvirtd_killed(driver: Hypervisor, host: IsolatedHost) -> None:
    spec = simple_guest(driver)
    told: queue.Queue[Event] = queue.Queue()
    driver.watch(told.put)
    driver.start(spec.uuid)
    assert told.get(timeout=60) == Event(spec.uuid, PowerState.RUNNING)
    host.kill_libvirtd()
    began = time.monotonic()
    with pytest.raises(HypervisorGone):
        driver.state(spec.uuid)
    with pytest.raises(HypervisorGone):
        driver.list_guests()
    assert time.monotonic() - began < 30
    host.start()
    assert driver.state(spec.uuid) == PowerState.RUNNING
    assert driver.list_guests()[spec.uuid] == PowerState.RUNNING
    assert driver.console_output(spec.uuid, None).count("GUEST-READY") == 1
    assert f"{spec.uuid}_disk" in driver.list_volumes()
    wait_until_heard(driver, spec, told)
    forget(driver, spec)


def wait_until_heard(driver: Hypervisor, spec: DomainSpec, told: queue.Queue[Event]) -> None:
    """Events are heard again: those of what happens before the connection is back are told when it is."""
    driver.power_off(spec.uuid)
    assert told.get(timeout=60) == Event(spec.uuid, PowerState.SHUTDOWN)


def test_a_guest_that_died_while_libvirtd_was_away(driver: Hypervisor, host: IsolatedHost) -> None:
    spec = simple_guest(driver)
    told: queue.Queue[Event] = queue.Queue()
    driver.start(spec.uuid)
    driver.watch(told.put)
    host.kill_libvirtd()
    host.kill_qemu(spec.name)
    host.start()
    assert told.get(timeout=60) == Event(spec.uuid, PowerState.SHUTDOWN)
    assert driver.state(spec.uuid) == PowerState.SHUTDOWN
    driver.start(spec.uuid)
    assert told.get(timeout=60) == Event(spec.uuid, PowerState.RUNNING)
    forget(driver, spec)


def test_qemu_killed(driver: Hypervisor, host: IsolatedHost) -> None:
    spec = simple_guest(driver)
    driver.start(spec.uuid)
    told: queue.Queue[Event] = queue.Queue()
    driver.watch(told.put)
    host.kill_qemu(spec.name)
    assert told.get(timeout=60) == Event(spec.uuid, PowerState.SHUTDOWN)
    assert driver.state(spec.uuid) == PowerState.SHUTDOWN
    driver.start(spec.uuid)
    assert driver.state(spec.uuid) == PowerState.RUNNING
    forget(driver, spec)


def test_a_full_disk(host: IsolatedHost, tiny: Path, tmp_path: Path) -> None:
    host.inside("mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(tmp_path))
    driver = load("libvirt", uri=host.uri, virt_type="qemu", state_dir=tmp_path, host="host", pool="small")
    try:
        with pytest.raises(NoSpace):
            driver.ensure_base("tiny", "qcow2", tiny.stat().st_size, pieces(tiny))
        with pytest.raises(NoSpace):
            driver.ensure_iso("x_config", bytes(9 << 20))
        assert driver.list_volumes() == []
        spec = simple_guest(driver)
        driver.start(spec.uuid)
        wait_for(lambda: "GUEST-READY" in driver.console_output(spec.uuid, None), "a small guest still fits")
        forget(driver, spec)
        driver.remove_volumes("bootsector")
    finally:
        driver.close()


def test_an_image_that_somebody_removed(driver: Hypervisor, host: IsolatedHost) -> None:
    content = boot_sector()

    def ensure() -> None:
        driver.ensure_base("removed", "raw", len(content), lambda: iter([content]))

    ensure()
    (host.state_dir / "disks" / "removed").unlink()
    ensure()
    assert (host.state_dir / "disks" / "removed").read_bytes() == content
    driver.remove_volumes("removed")


def test_libvirtd_killed_in_an_upload(driver: Hypervisor, host: IsolatedHost, tiny: Path) -> None:
    def interrupted() -> Iterator[bytes]:
        for number, piece in enumerate(pieces(tiny)()):
            if number == 10:
                host.kill_libvirtd()
            yield piece

    size = tiny.stat().st_size
    with pytest.raises(HypervisorGone):
        driver.ensure_base("half", "qcow2", size, interrupted)
    host.start()
    with pytest.raises(HypervisorError, match="half"):
        driver.ensure_disk("x_disk", 1, "half")
    driver.ensure_base("half", "qcow2", size, pieces(tiny))
    driver.ensure_disk("x_disk", 1, "half")
    driver.remove_volumes("x_")
    driver.remove_volumes("half")


def test_service_killed_in_an_upload(driver: Hypervisor, host: IsolatedHost, tiny: Path) -> None:
    program = """
import os, sys
from pathlib import Path
from computeapi.virt import load
uri, state, size = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
def chunks():
    yield bytes(1 << 20)
    os._exit(9)
driver = load("libvirt", uri=uri, virt_type="qemu", state_dir=state, host="host")
driver.ensure_base("cut", "raw", size, chunks)
"""
    size = tiny.stat().st_size
    command = [sys.executable, "-c", program, host.uri, str(host.state_dir), str(size)]
    assert subprocess.run(command, cwd=REPOSITORY, check=False, timeout=120).returncode == 9
    driver.ensure_base("cut", "qcow2", size, pieces(tiny))
    assert driver.virtual_size("cut") > size
    driver.remove_volumes("cut")


def test_builds_share_one_upload(driver: Hypervisor, tiny: Path) -> None:
    asked: list[int] = []
    failed: list[BaseException] = []

    def slowly() -> Iterator[bytes]:
        asked.append(1)
        for piece in pieces(tiny)():
            time.sleep(0.01)
            yield piece

    def ensure(number: int) -> None:
        try:
            driver.ensure_base("shared", "qcow2", tiny.stat().st_size, slowly)
            driver.ensure_disk(f"s{number}_disk", 1, "shared")
            driver.ensure_iso(f"s{number}_config", bytes(300_000))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=ensure, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for number in range(20, 40):  # others' disks are made and removed meanwhile
        driver.ensure_disk(f"s{number}_disk", 1, None)
        driver.remove_volumes(f"s{number}_")
    for thread in threads:
        thread.join(timeout=120)
    assert (failed, asked) == ([], [1])
    for number in range(8):
        driver.remove_volumes(f"s{number}_")
    driver.remove_volumes("shared")


@pytest.mark.parametrize(
    "properties", [{"hw_firmware_type": "uefi"}, {"hw_machine_type": "q35"}, {"hw_video_model": "virtio"}], ids=str
)
def test_machines(driver: Hypervisor, properties: dict[str, str]) -> None:
    """Each machine that an image may ask for starts, with a CD-ROM, and leaves nothing behind."""
    spec = simple_guest(driver, **properties)
    driver.ensure_iso(f"{spec.uuid}_config", bytes(4096))
    cdrom = DiskSpec(f"{spec.uuid}_config", "hda", bus="ide", device="cdrom", format="raw", read_only=True)
    driver.define(replace(spec, memory_mb=128, disks=(*spec.disks, cdrom)))
    try:
        driver.start(spec.uuid)
        assert driver.state(spec.uuid) == PowerState.RUNNING
    except HypervisorError as error:
        if "find any firmware" not in str(error):
            raise
        pytest.skip("no UEFI firmware (Debian's package ovmf) is installed")
    finally:
        forget(driver, spec)
    assert spec.uuid not in driver.list_guests()
