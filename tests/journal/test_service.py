# SPDX-License-Identifier: Apache-2.0
"""The compute service with its threads: starting, ending, being replaced, and what must not disturb it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import OperationalError

from computeapi import journal
from computeapi.ask import ask
from computeapi.compute import service as service_module
from computeapi.compute import sweeps
from computeapi.compute.service import AlreadyRunning, ComputeService, Renamed
from computeapi.db.models import Action, ActionEvent, Host
from computeapi.db.models.journal import PENDING, RUNNING
from computeapi.db.queries.servers import ServerRow
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.states import ACTIVE, STOPPED
from computeapi.virt.base import HypervisorGone
from tests.journal.world import Checkpoints, WatchedDriver, World


class Driver(WatchedDriver):
    """The world's hypervisor, which outlives the services; a test may make it fail or hang."""

    def __init__(self, world: World) -> None:
        super().__init__(world.driver, Checkpoints())
        self.hangs = threading.Event()  # set: list_guests does not return

    def list_guests(self) -> Any:
        """As the real one, or never."""
        while self.hangs.is_set():
            time.sleep(0.01)
        return super().__getattr__("list_guests")()

    def close(self) -> None:
        """It is used again."""


class Running(ComputeService):
    """A service whose `run` is in a thread."""

    def __init__(self, world: World, driver: Driver, settings: Settings | None = None) -> None:
        super().__init__(settings or world.settings, world.db, driver, world.images, world.services.seal)  # type: ignore[arg-type]
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run_in_thread)

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except BaseException as error:
            self.error = error

    def end(self) -> float:
        """Stop; how long that took."""
        began = time.monotonic()
        self.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return time.monotonic() - began


@pytest.fixture
def driver(world: World) -> Driver:
    """The host's hypervisor."""
    return Driver(world)


@contextmanager
def serving(world: World, driver: Driver, **settings: Any) -> Iterator[Running]:
    """A compute service for as long as the block lasts."""
    service = Running(world, driver, replace(world.settings, **settings))
    service.thread.start()
    try:
        yield service
    finally:
        driver.hangs.clear()
        service.end()
    assert service.error is None


def wait(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    """Until it is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.02)


def row(world: World, server: ServerRow, operation: str) -> Any:
    """The last action of that operation."""
    with world.db.read() as conn:
        rows = select(Action.__table__).where(Action.server_id == server.id, Action.operation == operation)
        return conn.execute(rows.order_by(Action.id.desc())).mappings().first()


def is_idle(world: World, server: ServerRow) -> bool:
    """Whether nothing is open."""
    with world.db.read() as conn:
        return not journal.is_busy(conn, server.id)


# --- starting and ending ---


def test_it_works(world: World, driver: Driver) -> None:
    with serving(world, driver):
        server = world.create()
        wait(lambda: is_idle(world, server))
        world.check_server(server.id, ACTIVE)
        world.begin(server, "stop")
        wait(lambda: is_idle(world, server))
        world.check_server(server.id, STOPPED)
    world.settle(server.id, STOPPED)


def test_it_ends_at_once_when_idle(world: World, driver: Driver) -> None:
    with serving(world, driver) as service:
        wait(lambda: service.tools is not None)
        time.sleep(0.2)
        assert service.end() < 1.0


def test_stop_ends_a_long_wait(world: World, driver: Driver) -> None:
    """The work is given back as it was, and is no attempt."""
    server = world.prepare(("create",))
    world.driver.ignore_acpi(server.uuid)
    world.begin(server, "stop")
    with serving(world, driver, shutdown_timeout=3600) as service:
        wait(lambda: "shutdown" in driver.calls)
        assert service.end() < 5.0
    found = row(world, server, "stop")
    assert (found["state"], found["attempt"], found["running"]) == (PENDING, 0, None)
    with world.db.read() as conn:
        events = select(ActionEvent.result, ActionEvent.details).where(ActionEvent.action_id == found["id"])
        assert conn.execute(events).all() == [("Error", journal.INTERRUPTED)]
    world.driver.ignore_acpi(server.uuid, False)
    with serving(world, driver, shutdown_timeout=3600):
        wait(lambda: is_idle(world, server))
    world.settle(server.id, STOPPED)


def test_stop_does_not_wait_for_what_hangs(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process ends by itself then, with the thread; here that goes on, and finds that it is not the owner."""
    monkeypatch.setattr(service_module, "_END_SECONDS", 0.2)
    server, begun, goes_on = world.create(), threading.Event(), threading.Event()

    def define(spec: Any) -> None:
        begun.set()
        goes_on.wait(30)
        world.driver.define(spec)

    driver.define = define  # type: ignore[attr-defined]
    with serving(world, driver) as first:
        assert begun.wait(20)
        assert first.end() < 5.0 and first.hangs
    assert first._lock_file is not None
    first._lock_file.close()  # as the kernel does
    with serving(world, driver) as second:
        goes_on.set()
        wait(lambda: is_idle(world, server))
    assert not second.hangs
    world.settle(server.id, ACTIVE)


def test_stop_between_two_steps(world: World, driver: Driver) -> None:
    server = world.create()
    with serving(world, driver) as service:
        driver._checkpoint.at = lambda _count: service.stop() if driver.calls[-1] == "ensure_network" else None
        service.thread.join(20)
        assert not service.thread.is_alive()
    assert driver.calls.count("define") == 0
    assert (row(world, server, "build")["state"], row(world, server, "build")["attempt"]) == (PENDING, 0)
    driver._checkpoint.at = None
    with serving(world, driver):
        wait(lambda: is_idle(world, server))
    world.settle(server.id, ACTIVE)


def test_one_a_host(world: World, driver: Driver) -> None:
    with serving(world, driver) as first:
        wait(lambda: first.tools is not None)
        second = Running(world, driver)
        with pytest.raises(AlreadyRunning, match="host1 is running already"):
            second.run()
        lock = world.settings.state_path / "compute-host1.lock"
        assert lock.stat().st_mode & 0o077 == 0, "who may read it may hold it"
        other = Running(world, driver, replace(world.settings, host="host2"))
        other.thread.start()
        wait(lambda: other.tools is not None)
        other.end()
    with serving(world, driver) as third:
        wait(lambda: third.tools is not None)
        assert third.tools.epoch > first.tools.epoch  # type: ignore[union-attr]


def test_a_host_keeps_its_name(world: World, driver: Driver) -> None:
    with serving(world, driver):
        server = world.create()
        wait(lambda: is_idle(world, server))
    renamed = Running(world, driver, replace(world.settings, host="renamed"))
    with pytest.raises(Renamed, match=r"servers of host host1, and .* called renamed: .* Set \[DEFAULT\] host = host1"):
        renamed.run()
    with world.db.read() as conn:
        assert conn.execute(select(Host.name)).scalars().all() == ["host1"]
    with serving(world, driver):
        world.begin(server, "delete")
        wait(lambda: is_idle(world, server))
    with serving(world, driver, host="renamed") as service:  # nothing is here any more
        wait(lambda: service.tools is not None)


def test_it_ends_when_it_is_replaced(world: World, driver: Driver) -> None:
    """By its heartbeat, or by the first claim it is refused."""
    server = world.prepare(("create",))
    for begin in (False, True):
        with serving(world, driver, heartbeat_interval=1) as service:
            wait(lambda: service.tools is not None)
            world.heir.take_over()
            if begin:
                world.begin(server, "stop")
            service.thread.join(20)
            assert not service.thread.is_alive()
    assert row(world, server, "stop")["state"] == PENDING


# --- what must not disturb it ---


def test_a_hypervisor_that_hangs_does_not_make_the_host_look_dead(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "INTERVAL", 0.05)

    def last_seen() -> str:
        with world.db.read() as conn:
            return str(conn.execute(select(Host.last_seen_at)).scalar_one())

    with serving(world, driver, heartbeat_interval=1):
        wait(lambda: "list_guests" in driver.calls)
        driver.hangs.set()
        time.sleep(0.2)
        before = last_seen()
        wait(lambda: last_seen() > before)


def test_a_hypervisor_that_is_away_at_the_start(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host is known: it is served, and its guests are watched as soon as that is possible."""
    monkeypatch.setattr(sweeps, "INTERVAL", 0.1)
    server = world.prepare(("create",))
    driver.always = dict.fromkeys(("host_info", "list_guests", "watch", "state"), HypervisorGone("away"))
    with serving(world, driver):
        wait(lambda: "watch" in driver.calls)
        driver.always = {}
        wait(lambda: driver._driver._watchers)
        monkeypatch.setattr(sweeps, "INTERVAL", 3600)
        world.driver.kill_guest(server.uuid)
        wait(lambda: world.server(server.id).vm_state == STOPPED)
    world.settle(server.id, STOPPED)


def test_a_new_host_waits_for_its_hypervisor(world: World, driver: Driver) -> None:
    """Nobody knows how large it is."""
    driver.always = {"host_info": HypervisorGone("away")}
    with serving(world, driver, host="host2") as service:
        wait(lambda: "host_info" in driver.calls)
        assert service.tools is None
        assert service.end() < 1.0


def test_what_guests_do_by_themselves(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeps, "INTERVAL", 3600)
    server = world.prepare(("create",))
    with serving(world, driver):
        wait(lambda: driver._driver._watchers)
        world.driver.kill_guest(server.uuid)
        wait(lambda: world.server(server.id).vm_state == STOPPED)
        world.driver.start(server.uuid)
        wait(lambda: world.server(server.id).vm_state == ACTIVE)


def test_what_a_guest_does_during_other_work_is_seen_after_it(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its event came while the work was open, and was left to it."""
    monkeypatch.setattr(sweeps, "INTERVAL", 3600)
    server = world.prepare(("create", "pause"))

    def dies(_count: int) -> None:
        if driver.calls[-1] == "unpause":
            world.driver.kill_guest(server.uuid)
            time.sleep(0.2)

    driver._checkpoint.at = dies
    with serving(world, driver):
        world.begin(server, "unpause")
        wait(lambda: is_idle(world, server) and world.server(server.id).vm_state == STOPPED)


def test_work_of_another_key_fails_alone(world: World, driver: Driver) -> None:
    """It stands first, and the others are done."""
    strange, server = world.prepare(("create",)), world.prepare(("create",))
    good = world.services
    world.services = replace(good, seal=Seal(b"o" * 32))
    world.begin(strange, "stop")
    world.services = good
    world.begin(server, "stop")
    with serving(world, driver):
        wait(lambda: is_idle(world, server) and is_idle(world, strange))
    world.check_server(server.id, STOPPED)
    world.check_server(strange.id, STOPPED, cause="the key of the journal has changed")


def test_a_row_that_can_not_be_claimed_does_not_stop_the_others(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    strange, server = world.prepare(("create",)), world.prepare(("create",))
    world.begin(strange, "stop")
    world.begin(server, "stop")
    claim = journal.claim

    def refuse(conn: Any, seal: Any, key: int, lane: int | None, host: str, epoch: int) -> Any:
        if lane == strange.id:
            raise ZeroDivisionError
        return claim(conn, seal, key, lane, host, epoch)

    monkeypatch.setattr(journal, "claim", refuse)
    with serving(world, driver):
        wait(lambda: is_idle(world, server))
    monkeypatch.setattr(journal, "claim", claim)
    with serving(world, driver):
        wait(lambda: is_idle(world, strange))
    for each in (strange, server):
        world.check_server(each.id, STOPPED)


def test_a_database_that_refuses_when_work_is_given_back(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The row is still ours, and nobody else's: it is given back as soon as that is possible."""
    server = world.prepare(("create",))
    world.begin(server, "stop")
    give_back, refused = journal.give_back, []

    def refuse(*args: Any, **more: Any) -> None:
        if len(refused) < 3:
            refused.append(1)
            raise OperationalError("UPDATE", {}, Exception("away"))
        give_back(*args, **more)

    monkeypatch.setattr(journal, "give_back", refuse)
    driver.failing["state"] = [HypervisorGone("away")]
    with serving(world, driver):
        wait(lambda: is_idle(world, server))
    assert (len(refused), row(world, server, "stop")["attempt"]) == (3, 1)
    world.settle(server.id, STOPPED)


def test_what_was_given_back_is_not_tried_again_at_once(world: World, driver: Driver) -> None:
    server = world.prepare(("create",))
    world.begin(server, "pause")
    driver.always["pause"] = HypervisorGone("away")
    with serving(world, driver):
        wait(lambda: row(world, server, "pause")["attempt"] > 0)
        time.sleep(1.0)
        assert row(world, server, "pause")["attempt"] < 4
        driver.always = {}
        wait(lambda: is_idle(world, server))
    world.check_server(server.id, "paused")


def test_a_question_does_not_wait_for_operations(world: World, driver: Driver) -> None:
    """Not even where more of them wait than there are threads."""
    busy = [world.prepare(("create",)) for _ in range(7)]
    for server in busy:
        world.driver.ignore_acpi(server.uuid)
        world.begin(server, "stop")
    with serving(world, driver, operation_threads=1, shutdown_timeout=3600):
        wait(lambda: row(world, busy[0], "stop")["state"] == RUNNING)
        assert "GUEST-READY" in ask(world.services, world.context, busy[-1], "console_output")


def test_the_next_of_a_lane_follows_at_once(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not at the next sweep: an end wakes the claimer."""
    monkeypatch.setattr("computeapi.compute.service._SWEEP_SECONDS", 3600.0)
    server = world.prepare(("create",))
    world.begin(server, "reboot_soft")
    with world.db.write() as conn:
        for _ in range(5):
            journal.enqueue(
                conn,
                world.services.seal,
                server_id=server.id,
                server_uuid=server.uuid,
                request_id="req-x",
                project_id=None,
                user_id=None,
                name="reboot",
                operation="reboot_hard",
                host="host1",
                lands={"ok": "active", "failed": "error"},
            )
    with serving(world, driver):
        wait(lambda: is_idle(world, server))
    world.check_server(server.id, ACTIVE)


def test_the_rows_of_killed_services_are_taken_up(world: World, driver: Driver) -> None:
    """However often it was killed before."""
    server = world.prepare(("create",))
    world.begin(server, "stop")
    for _ in range(3):
        world.victim.take_over()
        world.victim.before_run = lambda _entry: 1 / 0  # type: ignore[assignment]
        with pytest.raises(ZeroDivisionError):
            world.victim.work()
    assert row(world, server, "stop")["state"] == RUNNING
    with serving(world, driver):
        wait(lambda: is_idle(world, server))
    assert row(world, server, "stop")["attempt"] == 3
    world.settle(server.id, STOPPED)


def test_soft_deleted_servers_are_reclaimed(world: World) -> None:
    """When their time has come; not one that is restored meanwhile."""
    old, young, restored = (world.prepare(("create", "soft_delete")) for _ in range(3))
    with world.db.write() as conn:
        from computeapi.db.models import Server

        conn.execute(
            update(Server).where(Server.id.in_([old.id, restored.id])).values(updated_at="2020-01-01T00:00:00.000000")
        )
    world.begin(restored, "restore")
    tools = replace(world.victim.take_over(), settings=replace(world.settings, reclaim_instance_interval=3600))
    assert sweeps.reclaim(tools) == 1
    assert sweeps.reclaim(tools) == 0
    assert world.victim.live() == []
    assert world.server(old.id).deleted
    assert (world.server(young.id).vm_state, world.server(young.id).deleted) == ("soft-delete", 0)
    world.check_server(restored.id, ACTIVE)
    world.check_quiet()
    world.check_gone(old.id)


def test_an_old_owner_reclaims_and_mends_nothing(world: World) -> None:
    server = world.prepare(("create", "soft_delete"))
    tools = replace(world.victim.take_over(), settings=replace(world.settings, reclaim_instance_interval=1))
    world.heir.take_over()
    with world.db.write() as conn:
        conn.execute(update(Host).values(vcpus_used=99))
    time.sleep(1.1)
    for sweep in (sweeps.reclaim, sweeps.mend_counters):
        with pytest.raises(journal.Fenced):
            sweep(tools)
    assert world.server(server.id).task_state is None
