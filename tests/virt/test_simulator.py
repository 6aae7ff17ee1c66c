# SPDX-License-Identifier: Apache-2.0
"""What only the simulator does; the rest is in tests/contract/test_hypervisor.py."""

from __future__ import annotations

import json
import queue
import threading
import time
from pathlib import Path

import pytest

from computeapi.states import PowerState
from computeapi.virt import load
from computeapi.virt.base import DhcpHost, DiskSpec, DomainSpec, Event, HypervisorError, NetworkSpec, NicSpec, NoSpace
from computeapi.virt.simulator import SimulatedHypervisor
from tests.guest.hosts import wait_for

RUNNING, SHUTDOWN = PowerState.RUNNING, PowerState.SHUTDOWN


def guest(name: str = "g1", **properties: str) -> DomainSpec:
    return DomainSpec(f"uuid-{name}", name, 1, 64, (), (), title=f"server {name}", image_properties=properties)


def running(simulator: SimulatedHypervisor, name: str = "g1") -> str:
    spec = guest(name)
    simulator.define(spec)
    simulator.start(spec.uuid)
    return spec.uuid


def test_failures() -> None:
    simulator = SimulatedHypervisor()
    server = running(simulator)
    simulator.power_off(server)
    simulator.fail("start", NoSpace("full"), times=2)
    for _ in range(2):
        with pytest.raises(NoSpace, match="full"):
            simulator.start(server)
        assert simulator.state(server) == SHUTDOWN
    simulator.start(server)
    simulator.fail("power_off", HypervisorError("the answer was lost"), after=True)
    with pytest.raises(HypervisorError, match="lost"):
        simulator.power_off(server)
    assert simulator.state(server) == SHUTDOWN
    assert simulator.calls["start"] == 4


def test_shutdown_takes_its_time() -> None:
    simulator = SimulatedHypervisor(delays={"shutdown": 0.3})
    told: queue.Queue[Event] = queue.Queue()
    simulator.watch(told.put)
    server = running(simulator)
    assert told.get(timeout=10) == Event(server, RUNNING)
    simulator.shutdown(server)
    assert simulator.state(server) == RUNNING
    assert told.get(timeout=10) == Event(server, SHUTDOWN)
    assert simulator.list_guests() == {server: SHUTDOWN}


def test_a_guest_that_does_not_hear() -> None:
    simulator = SimulatedHypervisor()
    server = running(simulator)
    simulator.ignore_acpi(server)
    simulator.shutdown(server)
    simulator.reboot(server)
    assert simulator.state(server) == RUNNING
    assert simulator.console_output(server, None).count("GUEST-READY") == 1
    simulator.ignore_acpi(server, False)
    simulator.shutdown(server)
    assert simulator.state(server) == SHUTDOWN


def test_a_guest_dies() -> None:
    simulator = SimulatedHypervisor()
    told: queue.Queue[Event] = queue.Queue()
    server = running(simulator)
    simulator.watch(told.put)
    simulator.kill_guest(server)
    assert told.get(timeout=10) == Event(server, SHUTDOWN)


def test_events_come_from_another_thread_in_order() -> None:
    simulator = SimulatedHypervisor()
    told: list[tuple[Event, threading.Thread]] = []
    simulator.watch(lambda event: told.append((event, threading.current_thread())))
    server = running(simulator)
    states = [PowerState.PAUSED, RUNNING, PowerState.SUSPENDED, RUNNING, SHUTDOWN]
    for step in ("pause", "unpause", "suspend", "start", "power_off"):
        getattr(simulator, step)(server)
    wait_for(lambda: len(told) == 6, "all events are told", 30)
    assert [event.state for event, _ in told] == [RUNNING, *states]
    assert threading.current_thread() not in {thread for _, thread in told}


def test_it_goes_on_without_the_service(tmp_path: Path) -> None:
    """A shutdown that was asked for happens though the service was killed; the next one is told of it."""
    first = SimulatedHypervisor("h/../1", state_dir=tmp_path, delays={"shutdown": 0.5})
    server, other = running(first), running(first, "g2")
    first.shutdown(server)
    first.ensure_disk("d_disk", 1, None)
    first.close()
    told: queue.Queue[Event] = queue.Queue()
    second = SimulatedHypervisor("h/../1", state_dir=tmp_path)
    second.watch(told.put)
    assert second.state(other) == RUNNING
    assert told.get(timeout=10) == Event(server, SHUTDOWN)
    assert second.list_volumes() == ["d_disk"]
    assert second.console_output(other, None).count("GUEST-READY") == 1
    assert SimulatedHypervisor("h2", state_dir=tmp_path).list_guests() == {}
    assert {path.parent for path in tmp_path.rglob("*.db")} == {tmp_path / "simulator"}


def test_options_for_another_process(tmp_path: Path) -> None:
    (tmp_path / "simulator").mkdir()
    (tmp_path / "simulator" / "options.json").write_text(json.dumps({"vcpus": 3, "delays": {"start": 0.2}}))
    simulator = load("simulator", uri="", virt_type="auto", state_dir=tmp_path, host="h")
    assert simulator.host_info().vcpus == 3
    assert isinstance(simulator, SimulatedHypervisor)
    began = time.monotonic()
    running(simulator)
    assert time.monotonic() - began >= 0.2


def test_capacity() -> None:
    simulator = SimulatedHypervisor(vcpus=2, memory_mb=1024, disk_gb=1)
    info = simulator.host_info()
    assert (info.vcpus, info.memory_mb, info.disk_gb) == (2, 1024, 1)
    piece = bytes(1 << 24)
    for _ in range(2):
        with pytest.raises(NoSpace, match="no space"):
            simulator.ensure_base("large", "raw", 65 << 24, lambda: iter([piece] * 65))
    simulator.ensure_base("fits", "raw", 2 << 24, lambda: iter([piece] * 2))
    assert simulator.list_volumes() == ["fits"]


def test_the_console_tells_what_the_guest_has() -> None:
    simulator = SimulatedHypervisor()
    simulator.ensure_network(NetworkSpec("n", "u", "b", "10.0.0.0/24", "10.0.0.1"))
    simulator.ensure_dhcp_host("n", DhcpHost("m", "10.0.0.5", "hello"))
    simulator.ensure_iso("u_config", b"x")
    disk = DiskSpec("u_config", "vdb", format="raw")
    simulator.define(DomainSpec("u", "i", 2, 128, (disk,), (NicSpec("m", "n"),), title="a\nb"))
    simulator.start("u")
    console = simulator.console_output("u", None)
    for line in ("Allowing 2 CPUs", "GUEST-DHCP eth0 10.0.0.5", "GUEST-CONFIGDRIVE", "GUEST-READY hello name=a?b"):
        assert line in console


def test_passwords_need_an_agent() -> None:
    simulator = SimulatedHypervisor()
    spec = guest(hw_qemu_guest_agent="yes")
    simulator.define(spec)
    simulator.start(spec.uuid)
    simulator.set_password(spec.uuid, "root", "secret")
    with pytest.raises(HypervisorError, match="no agent"):
        simulator.set_password(running(simulator, "g2"), "root", "secret")


def test_a_thousand_hosts_and_guests(tmp_path: Path) -> None:
    """Fast enough for load tests, and without a thread for each host."""
    told: queue.Queue[Event] = queue.Queue()
    threads = threading.active_count()
    hosts = [SimulatedHypervisor(f"h{number}") for number in range(1000)]
    for host in hosts:
        host.watch(told.put)
        running(host)
    for _ in hosts:
        told.get(timeout=60)
    assert threading.active_count() <= threads + 1
    large = SimulatedHypervisor("large", state_dir=tmp_path)
    for number in range(1000):
        running(large, f"g{number}")
    assert len(large.list_guests()) == 1000


def test_threads() -> None:
    simulator = SimulatedHypervisor()
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                server = running(simulator, f"g{number}-{turn}")
                simulator.suspend(server)
                simulator.start(server)
                assert simulator.state(server) == RUNNING
                simulator.undefine(server)
        except BaseException as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=60)
    assert (failed, simulator.list_guests()) == ([], {})


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="vmware"):
        load("vmware", uri="", virt_type="auto", state_dir=None, host="h")
