# SPDX-License-Identifier: Apache-2.0
"""What every hypervisor does, the simulator and libvirt alike (the latter with real guests, marked `guest`)."""

from __future__ import annotations

import itertools
import queue
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from computeapi.states import PowerState
from computeapi.virt import load
from computeapi.virt.base import (
    AgentUnavailable,
    ConsoleUnavailable,
    DhcpHost,
    DiskSpec,
    DomainNotFound,
    DomainSpec,
    Event,
    Hypervisor,
    HypervisorError,
    HypervisorGone,
    NetworkSpec,
    NicSpec,
    NotRunning,
    Quiesce,
)
from computeapi.virt.images import HEADER_BYTES, check_image
from tests.guest.hosts import boot_sector, isolated_host, tiny_image, wait_for
from tests.virt.specs import NASTY, qcow2_header

_numbers = itertools.count(1)
MIB = 1 << 20


@dataclass
class Subject:
    """A driver under test; `again` makes another of the same host, as a restarted service would."""

    driver: Hypervisor
    again: Callable[[], Hypervisor]
    real: bool


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Arguments of load() for the kind that the test asks for."""
    folder = tmp_path_factory.mktemp("hv")
    if request.param == "simulator":
        yield {"kind": "simulator", "uri": "", "virt_type": "auto", "state_dir": folder, "host": "sim"}
        return
    for host in isolated_host(folder):
        yield {"kind": "libvirt", "uri": host.uri, "virt_type": "qemu", "state_dir": host.state_dir, "host": "hv"}


@pytest.fixture
def subject(opened: dict[str, Any]) -> Iterator[Subject]:
    drivers: list[Hypervisor] = []

    def again() -> Hypervisor:
        drivers.append(load(**opened))
        return drivers[-1]

    yield Subject(again(), again, opened["kind"] == "libvirt")
    for driver in drivers:
        driver.close()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "opened" in metafunc.fixturenames:
        kinds = ["simulator", pytest.param("libvirt", marks=pytest.mark.guest)]
        metafunc.parametrize("opened", kinds, indirect=True, scope="module")


def give(content: bytes) -> Callable[[], Iterator[bytes]]:
    """`content` in pieces, as a reader of images gives it."""
    return lambda: (content[at : at + 100_000] for at in range(0, len(content), 100_000))


def never() -> Iterator[bytes]:
    raise AssertionError("the image was asked for again")


def network() -> NetworkSpec:
    """A network that no other test has."""
    number = next(_numbers)
    name = f"net-c{number}"
    return NetworkSpec(name, str(uuid.uuid4()), f"brc{number}", f"10.60.{number}.0/24", f"10.60.{number}.1")


@pytest.fixture
def guest(subject: Subject) -> Iterator[DomainSpec]:
    """A guest that is defined and off, with a disk and a network of its own."""
    driver, net = subject.driver, network()
    driver.ensure_base("bootsector", "raw", MIB, give(boot_sector()))
    server = str(uuid.uuid4())
    mac = "fa:16:3e:" + ":".join(server[at : at + 2] for at in (0, 2, 4))
    driver.ensure_disk(f"{server}_disk", 0, "bootsector")
    driver.ensure_network(net)
    driver.ensure_dhcp_host(net.name, DhcpHost(mac, net.gateway + "0", "contract"))
    spec = DomainSpec(
        server,
        f"instance-{server[:8]}",
        1,
        16,
        (DiskSpec(f"{server}_disk", "vda", boot_index=1),),
        (NicSpec(mac, net.name, tap=f"tap{server[:11]}"),),
        title=NASTY,
        metadata={"owner": NASTY},
    )
    driver.define(spec)
    yield spec
    subject.driver.undefine(server)
    subject.driver.remove_volumes(f"{server}_")
    subject.driver.remove_network(net.name)


# --- the host and its storage ---


def test_host_info(subject: Subject) -> None:
    info = subject.driver.host_info()
    assert info.hostname and info.hypervisor_type in {"QEMU", "KVM", "simulator"}
    assert info.hypervisor_version > 999_999
    assert min(info.vcpus, info.memory_mb, info.disk_gb) > 0
    assert {"arch", "model", "vendor", "topology", "features"} <= set(info.cpu_info)
    if info.hypervisor_type != "simulator":
        devices = {path.name: path for path in Path("/sys/bus/pci/devices").glob("*")}
        assert {device["address"] for device in info.pci} == set(devices)
        for device in info.pci:
            path = devices[device["address"]]
            for name in ("vendor", "product"):
                file = path / ("vendor" if name == "vendor" else "device")
                assert file.read_text().strip() == f"0x{device[f'{name}_id']}"


def test_a_base_is_asked_for_once(subject: Subject) -> None:
    content = boot_sector()
    subject.driver.ensure_base("once", "raw", len(content), give(content))
    subject.driver.ensure_base("once", "raw", len(content), never)
    subject.again().ensure_base("once", "raw", len(content), never)
    assert subject.driver.virtual_size("once") == MIB
    assert subject.driver.list_volumes().count("once") == 1
    subject.driver.remove_volumes("once")
    with pytest.raises(HypervisorError, match="once"):
        subject.driver.virtual_size("once")


@pytest.mark.parametrize("sent", [0, 1000, 250_000, MIB - 1, MIB + 1])
def test_a_base_of_another_length_is_none(subject: Subject, sent: int) -> None:
    content = boot_sector()
    with pytest.raises(HypervisorError, match="bytes"):
        subject.driver.ensure_base("short", "raw", MIB, give((content + b"x")[:sent]))
    assert "short" not in subject.driver.list_volumes()
    with pytest.raises(HypervisorError, match="short"):
        subject.driver.ensure_disk("on_short", 1, "short")
    subject.driver.ensure_base("short", "raw", MIB, give(content))
    subject.driver.ensure_disk("on_short", 0, "short")
    subject.driver.remove_volumes("on_short")
    subject.driver.remove_volumes("short")


def test_a_broken_reader_leaves_nothing(subject: Subject) -> None:
    def broken() -> Iterator[bytes]:
        yield bytes(100_000)
        raise OSError("the image store is gone")

    with pytest.raises(OSError, match="the image store is gone"):
        subject.driver.ensure_base("broken", "raw", MIB, broken)
    assert "broken" not in subject.driver.list_volumes()


@pytest.mark.parametrize("header", [qcow2_header(backing=b"/etc/shadow"), qcow2_header(features=4), b"no header"])
def test_an_unsafe_image_is_refused(subject: Subject, header: bytes) -> None:
    content = header.ljust(200_000, b"\0")
    with pytest.raises(HypervisorError, match="unsafe"):
        subject.driver.ensure_base("unsafe", "qcow2", len(content), give(content))
    assert "unsafe" not in subject.driver.list_volumes()


def test_a_raw_image_is_never_probed(subject: Subject) -> None:
    """What looks like a qcow2 with a backing file is just bytes when the image is said to be raw."""
    content = qcow2_header(size=1 << 40, backing=b"/etc/shadow").ljust(65536, b"\0")
    subject.driver.ensure_base("disguised", "raw", len(content), give(content))
    subject.driver.ensure_disk("on_disguised", 0, "disguised")
    assert subject.driver.virtual_size("disguised") == len(content)
    assert subject.driver.virtual_size("on_disguised") == len(content)
    subject.driver.remove_volumes("on_disguised")
    subject.driver.remove_volumes("disguised")


def test_disks(subject: Subject) -> None:
    driver = subject.driver
    driver.ensure_base("base", "raw", MIB, give(boot_sector()))
    for _ in range(2):
        driver.ensure_disk("d1_disk", 2, "base")
        driver.ensure_disk("d1_same", 0, "base")
        driver.ensure_disk("d1_blank", 1, None)
    sizes = {name: driver.virtual_size(name) for name in driver.list_volumes() if name.startswith("d1_")}
    assert sizes == {"d1_disk": 2 << 30, "d1_same": MIB, "d1_blank": 1 << 30}
    driver.remove_volumes("d1_")
    driver.remove_volumes("d1_")
    assert not [name for name in driver.list_volumes() if name.startswith("d1_")]
    assert "base" in driver.list_volumes()


def test_growing_a_disk(subject: Subject) -> None:
    driver = subject.driver
    driver.ensure_disk("d2_disk", 1, None)
    for size_gb in (2, 2, 1):
        driver.resize_disk("d2_disk", size_gb)
        assert driver.virtual_size("d2_disk") == 2 << 30
    driver.ensure_disk("d2_disk.eph0", 1, None)
    for _ in range(2):
        driver.remove_volume("d2_disk")
    assert [name for name in driver.list_volumes() if name.startswith("d2_")] == ["d2_disk.eph0"]
    driver.remove_volumes("d2_")


def check_copy(subject: Subject, guest: DomainSpec, name: str) -> None:
    """A copy of the guest's disk: a qcow2 image on its own, of which the same disk can be made."""
    driver = subject.driver
    content = b"".join(driver.read_volume(name))
    assert check_image(name, "qcow2", len(content), content[:HEADER_BYTES]).virtual_size == MIB
    if subject.real:
        assert b"GUEST-READY bootsector" in content
    driver.ensure_base("of_a_copy", "qcow2", len(content), give(content))
    driver.ensure_disk(f"{guest.uuid}_second", 0, "of_a_copy")
    assert driver.virtual_size(f"{guest.uuid}_second") == MIB
    driver.remove_volume(f"{guest.uuid}_second")
    driver.remove_volumes("of_a_copy")


def test_snapshots(subject: Subject, guest: DomainSpec) -> None:
    """Of a guest in any state: off, running, paused, saved, and of one that nobody knows."""
    driver, disk, copy = subject.driver, guest.disks[0].volume, f"{guest.uuid}_snapshot"
    for prepare, state in (
        (None, PowerState.SHUTDOWN),
        (driver.start, PowerState.RUNNING),
        (driver.pause, PowerState.PAUSED),
        (driver.suspend, PowerState.SUSPENDED),
    ):
        if prepare is not None:
            prepare(guest.uuid)
        for _ in range(2):
            driver.snapshot(guest.uuid, disk, copy)
        assert driver.state(guest.uuid) == state
        check_copy(subject, guest, copy)
    driver.undefine(guest.uuid)
    driver.snapshot(guest.uuid, disk, copy)
    check_copy(subject, guest, copy)


def test_a_snapshot_of_a_guest_that_cannot_hold_still(subject: Subject, guest: DomainSpec) -> None:
    """It has no agent: that matters where it must, while it runs."""
    driver, disk, copy = subject.driver, guest.disks[0].volume, f"{guest.uuid}_snapshot"
    driver.snapshot(guest.uuid, disk, copy, Quiesce.MUST)
    driver.start(guest.uuid)
    with pytest.raises(AgentUnavailable):
        driver.snapshot(guest.uuid, disk, copy, Quiesce.MUST)
    driver.thaw(guest.uuid)
    driver.snapshot(guest.uuid, disk, copy, Quiesce.TRY)
    check_copy(subject, guest, copy)
    driver.undefine(guest.uuid)
    driver.thaw(guest.uuid)


def test_a_snapshot_of_nothing(subject: Subject, guest: DomainSpec) -> None:
    driver = subject.driver
    with pytest.raises(HypervisorError, match="no volume"):
        driver.snapshot(guest.uuid, f"{guest.uuid}_other", f"{guest.uuid}_snapshot")
    with pytest.raises(HypervisorError, match="no volume"):
        driver.resize_disk(f"{guest.uuid}_other", 1)
    with pytest.raises(HypervisorError, match="no volume"):
        list(driver.read_volume(f"{guest.uuid}_other"))


def test_a_base_larger_than_the_disk(subject: Subject) -> None:
    content = qcow2_header(size=3 << 30).ljust(300_000, b"\0")
    subject.driver.ensure_base("large", "qcow2", len(content), give(content))
    assert subject.driver.virtual_size("large") == 3 << 30
    with pytest.raises(HypervisorError, match="more than 2 GiB"):
        subject.driver.ensure_disk("too_small", 2, "large")
    assert "too_small" not in subject.driver.list_volumes()
    subject.driver.remove_volumes("large")


def test_isos(subject: Subject) -> None:
    for content in (b"a" * 5000, b"a" * 5000, b"b" * 5000, b"c" * 300_000, b"d" * 10):
        subject.driver.ensure_iso("iso_config", content)
        assert subject.driver.virtual_size("iso_config") == len(content)
    subject.driver.remove_volumes("iso_")


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/b", "", "..", NASTY])
def test_names_that_could_leave_the_pool(subject: Subject, name: str) -> None:
    driver = subject.driver
    calls: list[Callable[[], None]] = [
        lambda: driver.ensure_base(name, "raw", 0, never),
        lambda: driver.ensure_disk(name, 1, None),
        lambda: driver.ensure_iso(name, b"x"),
        lambda: driver.remove_volumes(name),
    ]
    for call in calls:
        with pytest.raises(HypervisorError, match="volume name"):
            call()


# --- networks ---


def test_networks(subject: Subject) -> None:
    driver, spec = subject.driver, network()
    first, second = DhcpHost("fa:16:3e:aa:00:01", spec.gateway + "1", "web"), DhcpHost("fa:16:3e:aa:00:02", "", "web")
    driver.ensure_network(spec)
    driver.ensure_network(replace(spec, hosts=(first,)))
    second = replace(second, address=spec.gateway + "2")
    for _ in range(2):
        driver.ensure_dhcp_host(spec.name, first)
        driver.ensure_dhcp_host(spec.name, second)  # of the same name
    driver.ensure_dhcp_host(spec.name, replace(first, address=spec.gateway + "3"))  # moved
    driver.ensure_dhcp_host(spec.name, replace(second, address=spec.gateway + "1"))  # takes what is free now
    for _ in range(2):
        driver.remove_dhcp_host(spec.name, first.mac)
        driver.remove_dhcp_host(spec.name, second.mac)
    assert driver.list_networks()[spec.name] == spec.uuid
    for _ in range(2):
        driver.remove_network(spec.name)
    assert spec.name not in driver.list_networks()
    driver.remove_dhcp_host(spec.name, first.mac)
    with pytest.raises(HypervisorError, match=spec.name):
        driver.ensure_dhcp_host(spec.name, first)


# --- guests ---


def test_what_is_not_there(subject: Subject) -> None:
    driver, nobody = subject.driver, str(uuid.uuid4())
    driver.undefine(nobody)
    calls: list[Callable[[str], Any]] = [driver.state, driver.start, driver.shutdown, driver.power_off, driver.reboot]
    calls += [driver.pause, driver.unpause, driver.suspend, driver.diagnostics]
    for call in calls:
        with pytest.raises(DomainNotFound, match=nobody):
            call(nobody)
    with pytest.raises(DomainNotFound):
        driver.console_output(nobody, None)
    with pytest.raises(DomainNotFound):
        driver.check_console(nobody, "serial")
    with pytest.raises(DomainNotFound):
        driver.open_console(nobody, "vnc")
    assert nobody not in driver.list_guests()


def test_define_and_undefine(subject: Subject, guest: DomainSpec) -> None:
    driver = subject.driver
    driver.define(replace(guest, memory_mb=24, vcpus=2))
    assert driver.state(guest.uuid) == PowerState.SHUTDOWN
    assert driver.list_guests()[guest.uuid] == PowerState.SHUTDOWN
    with pytest.raises(HypervisorError):
        driver.define(replace(guest, uuid=str(uuid.uuid4())))  # the name is taken
    driver.start(guest.uuid)
    driver.undefine(guest.uuid)
    driver.undefine(guest.uuid)
    with pytest.raises(DomainNotFound):
        driver.state(guest.uuid)
    assert f"{guest.uuid}_disk" in driver.list_volumes()


def test_power(subject: Subject, guest: DomainSpec) -> None:
    driver, server = subject.driver, guest.uuid
    steps: list[tuple[Callable[[str], None], PowerState]] = [
        (driver.power_off, PowerState.SHUTDOWN),
        (driver.shutdown, PowerState.SHUTDOWN),
        (driver.start, PowerState.RUNNING),
        (driver.unpause, PowerState.RUNNING),
        (driver.pause, PowerState.PAUSED),
        (driver.unpause, PowerState.RUNNING),
        (driver.suspend, PowerState.SUSPENDED),
        (driver.start, PowerState.RUNNING),
        (driver.pause, PowerState.PAUSED),
        (driver.start, PowerState.RUNNING),
        (driver.pause, PowerState.PAUSED),
        (driver.suspend, PowerState.SUSPENDED),
        (driver.start, PowerState.RUNNING),
        (driver.power_off, PowerState.SHUTDOWN),
        (driver.start, PowerState.RUNNING),
        (driver.suspend, PowerState.SUSPENDED),
        (driver.power_off, PowerState.SHUTDOWN),
    ]
    for step, state in steps:
        for _ in range(2):  # again, as after a crash
            step(server)
            assert driver.state(server) == driver.list_guests()[server] == state, step.__name__


def test_interfaces_come_and_go(subject: Subject, guest: DomainSpec) -> None:
    driver = subject.driver
    driver.start(guest.uuid)
    other = NicSpec("fa:16:3e:00:c0:de", guest.nics[0].network, tap=f"tap{guest.uuid[24:35]}")
    driver.attach_nic(guest.uuid, other)
    driver.attach_nic(guest.uuid, other)
    assert _interfaces(driver, guest) == 2
    driver.power_off(guest.uuid)
    driver.start(guest.uuid)
    assert _interfaces(driver, guest) == 2
    driver.power_off(guest.uuid)  # this guest has no system that could let go of a device while it runs
    driver.detach_nic(guest.uuid, other.mac.upper())
    driver.detach_nic(guest.uuid, other.mac)
    driver.start(guest.uuid)
    assert _interfaces(driver, guest) == 1
    with pytest.raises(DomainNotFound):
        driver.attach_nic(str(uuid.uuid4()), other)


def test_disks_come_and_go(subject: Subject, guest: DomainSpec) -> None:
    driver = subject.driver
    driver.start(guest.uuid)
    other = DiskSpec(f"{guest.uuid}_more", "vdf", serial="more")
    with pytest.raises(HypervisorError):
        driver.attach_disk(guest.uuid, other)  # there is no such volume
    driver.ensure_disk(other.volume, 1, None)
    driver.attach_disk(guest.uuid, other)
    driver.attach_disk(guest.uuid, other)
    assert _vdf(driver, guest)
    driver.power_off(guest.uuid)
    driver.start(guest.uuid)
    assert _vdf(driver, guest)
    driver.power_off(guest.uuid)  # this guest has no system that could let go of a device while it runs
    driver.detach_disk(guest.uuid, other)
    driver.detach_disk(guest.uuid, other)
    driver.start(guest.uuid)
    assert not _vdf(driver, guest)
    with pytest.raises(DomainNotFound):
        driver.attach_disk(str(uuid.uuid4()), other)


def test_a_disk_is_swapped(subject: Subject, guest: DomainSpec) -> None:
    driver = subject.driver
    old, new, third = (DiskSpec(f"{guest.uuid}_{name}", "vdf") for name in ("old", "new", "third"))
    driver.ensure_disk(old.volume, 1, None)
    driver.ensure_disk(new.volume, 1, None)
    driver.ensure_disk(third.volume, 2, None)
    driver.attach_disk(guest.uuid, old)
    driver.start(guest.uuid)
    driver.swap_disk(guest.uuid, old, new, 1)
    driver.swap_disk(guest.uuid, old, new, 1)
    driver.remove_volume(old.volume)  # nobody has it
    assert _vdf(driver, guest)
    driver.power_off(guest.uuid)
    driver.swap_disk(guest.uuid, new, third, 2)
    driver.remove_volume(new.volume)
    driver.start(guest.uuid)
    assert _vdf(driver, guest)
    assert driver.virtual_size(third.volume) == 2 << 30


def _vdf(driver: Hypervisor, guest: DomainSpec) -> bool:
    return "vdf_read_req" in driver.diagnostics(guest.uuid)


def _interfaces(driver: Hypervisor, guest: DomainSpec) -> int:
    return sum(name.endswith("_rx_packets") for name in driver.diagnostics(guest.uuid))


def test_wrong_states(subject: Subject, guest: DomainSpec) -> None:
    driver = subject.driver
    for call in (driver.pause, driver.unpause, driver.suspend, driver.reboot, driver.diagnostics):
        with pytest.raises(HypervisorError, match=guest.uuid):
            call(guest.uuid)
    assert driver.state(guest.uuid) == PowerState.SHUTDOWN


def test_a_guest_without_its_disk_does_not_start(subject: Subject, guest: DomainSpec) -> None:
    subject.driver.remove_volumes(f"{guest.uuid}_")
    with pytest.raises(HypervisorError, match=f"{guest.uuid}_disk"):
        subject.driver.start(guest.uuid)
    assert subject.driver.state(guest.uuid) == PowerState.SHUTDOWN


def test_console(subject: Subject, guest: DomainSpec) -> None:
    driver, server = subject.driver, guest.uuid
    assert driver.console_output(server, None) == ""
    driver.start(server)
    wait_for(lambda: "GUEST-READY" in driver.console_output(server, None), "the guest's marker on its console")
    whole = driver.console_output(server, None)
    assert driver.console_output(server, 3) == "\n".join(whole.split("\n")[-3:])
    driver.power_off(server)
    assert driver.console_output(server, 1000) == driver.console_output(server, -1) == whole
    assert driver.console_output(server, 0) == ""
    driver.undefine(server)
    driver.define(guest)
    assert driver.console_output(server, None) == ""


def test_a_serial_console(subject: Subject, guest: DomainSpec) -> None:
    driver, server = subject.driver, guest.uuid
    with pytest.raises(NotRunning, match="not running"):
        driver.check_console(server, "serial")
    with pytest.raises(NotRunning, match="not running"):
        driver.open_console(server, "serial")
    driver.start(server)
    driver.check_console(server, "serial")
    # Opened by another process than the one that started the guest, as the console proxy does.
    with subject.again().open_console(server, "serial") as console:
        console.settimeout(60)
        if not subject.real:
            assert b"there is no guest" in console.recv(1000)
            console.sendall(b"typed\r")
            assert console.recv(100) == b"typed\r\n"
        driver.pause(server)
        driver.check_console(server, "serial")
        driver.power_off(server)
        while console.recv(1000):
            pass  # what it had said; then the end
    with pytest.raises(NotRunning, match="not running"):
        driver.open_console(server, "serial")


def test_screens(subject: Subject, guest: DomainSpec) -> None:
    driver, server = subject.driver, guest.uuid
    driver.start(server)
    for kind, can in {"vnc": driver.capabilities.vnc, "spice": driver.capabilities.spice}.items():
        if not can:
            with pytest.raises(ConsoleUnavailable, match=kind):
                driver.check_console(server, kind)
            with pytest.raises(ConsoleUnavailable, match=kind):
                driver.open_console(server, kind)
            continue
        driver.check_console(server, kind)
        with driver.open_console(server, kind) as first, subject.again().open_console(server, kind) as second:
            for console in (first, second):
                console.settimeout(60)
                if kind == "spice":  # the client speaks first: a link message that is none
                    console.sendall(b"none" + bytes(12))
                assert console.recv(12)[:4] == {"vnc": b"RFB ", "spice": b"REDQ"}[kind]
            if kind == "vnc":
                driver.power_off(server)
                assert first.recv(1) == second.recv(1) == b"", "the screens end with the guest"
                driver.start(server)
    with pytest.raises(ConsoleUnavailable, match="rdp"):
        driver.check_console(server, "rdp")
    assert subject.real == driver.capabilities.vnc


def test_diagnostics(subject: Subject, guest: DomainSpec) -> None:
    subject.driver.start(guest.uuid)
    figures = subject.driver.diagnostics(guest.uuid)
    disk = {f"vda_{key}" for key in ("read", "read_req", "write", "write_req", "errors")}
    counts = ("rx", "rx_packets", "rx_errors", "rx_drop", "tx", "tx_packets", "tx_errors", "tx_drop")
    nic = {f"{guest.nics[0].tap}_{key}" for key in counts}
    assert {"cpu0_time", "memory", "memory-actual", "memory-rss", *disk, *nic} <= set(figures)
    assert figures["memory"] == guest.memory_mb * 1024
    assert all(isinstance(value, int) for value in figures.values())


def test_no_agent(subject: Subject, guest: DomainSpec) -> None:
    subject.driver.start(guest.uuid)
    with pytest.raises(AgentUnavailable, match=guest.uuid):
        subject.driver.set_password(guest.uuid, "root", "x")


def test_a_restarted_service_finds_its_guests(subject: Subject, guest: DomainSpec) -> None:
    subject.driver.start(guest.uuid)
    subject.driver.close()
    with pytest.raises(HypervisorGone):
        subject.driver.state(guest.uuid)
    subject.driver = subject.again()
    assert subject.driver.list_guests()[guest.uuid] == PowerState.RUNNING
    subject.driver.start(guest.uuid)
    subject.driver.suspend(guest.uuid)
    other = subject.again()
    assert other.state(guest.uuid) == other.list_guests()[guest.uuid] == PowerState.SUSPENDED
    other.undefine(guest.uuid)


def test_events(subject: Subject, guest: DomainSpec) -> None:
    driver, server = subject.driver, guest.uuid
    told: queue.Queue[Event] = queue.Queue()
    driver.watch(told.put)
    steps: list[tuple[Callable[[str], None], PowerState]] = [
        (driver.start, PowerState.RUNNING),
        (driver.pause, PowerState.PAUSED),
        (driver.unpause, PowerState.RUNNING),
        (driver.suspend, PowerState.SUSPENDED),
        (driver.start, PowerState.RUNNING),
        (driver.power_off, PowerState.SHUTDOWN),
        (driver.start, PowerState.RUNNING),
        (driver.undefine, PowerState.SHUTDOWN),
    ]
    for step, state in steps:
        step(server)
        assert told.get(timeout=60) == Event(server, state), step.__name__
    assert told.empty()


def test_shutdown_and_reboot(subject: Subject, guest: DomainSpec) -> None:
    """With a guest that hears: the image tiny on libvirt."""
    driver, server = subject.driver, guest.uuid
    if subject.real:
        content = Path(tiny_image()).read_bytes()
        driver.ensure_base("tiny", "qcow2", len(content), give(content))
        driver.remove_volumes(f"{server}_")
        driver.ensure_disk(f"{server}_disk", 1, "tiny")
        driver.define(replace(guest, memory_mb=96))
    told: queue.Queue[Event] = queue.Queue()
    driver.watch(told.put)
    driver.start(server)
    wait_for(lambda: driver.console_output(server, None).count("GUEST-READY") == 1, "the guest has booted")
    driver.reboot(server)
    wait_for(lambda: driver.console_output(server, None).count("GUEST-READY") == 2, "the guest has booted again")
    driver.shutdown(server)
    wait_for(lambda: driver.state(server) == PowerState.SHUTDOWN, "the guest is off")
    events: list[Event] = []
    while not events or events[-1].state != PowerState.SHUTDOWN:
        events.append(told.get(timeout=60))
    assert events[0] == Event(server, PowerState.RUNNING)
    assert {event.rebooted for event in events} == {False, True}
    driver.start(server)
    assert driver.state(server) == PowerState.RUNNING
