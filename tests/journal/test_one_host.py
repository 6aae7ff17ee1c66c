# SPDX-License-Identifier: Apache-2.0
"""Work of two hosts, of which one's compute service dies anywhere while the other's goes on.

It is back before anybody has missed it; or after it counted as down; or never, and then the server is evacuated. In the
end the server is on exactly one host, at rest, and its delete leaves nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import update

from computeapi import clock, journal, moves
from computeapi.compute import reconcile, runner, service, sweeps
from computeapi.compute.operation import Tools
from computeapi.db.models import Host, Server
from computeapi.db.queries import hosts
from computeapi.db.queries.servers import ServerRow
from computeapi.states import ACTIVE, ERROR, RESIZED
from computeapi.virt.simulator import SimulatedHypervisor
from tests.journal.test_crash import CASES, begin
from tests.journal.world import Killed, WatchedDatabase, WatchedDriver, World

HOSTS = ("host1", "host2", "host3")
MOVES = ("move", "live_migrate", "revert_move", "evacuate")
every_move = pytest.mark.parametrize("operation", MOVES)
each_side = pytest.mark.parametrize("mortal", HOSTS[:2])


class Service:
    """One host's compute service, from life to life."""

    def __init__(self, world: World, driver: SimulatedHypervisor, db: WatchedDatabase) -> None:
        self._world, self._driver, self._db = world, driver, db
        self.name, self.checkpoint = driver.host, db.checkpoint
        self.tools: Tools | None = None

    def start(self) -> None:
        """It runs (again). Raises Killed."""
        world = self._world
        driver = WatchedDriver(self._driver, self.checkpoint)
        settings = replace(world.settings, host=self.name)
        seal, info = world.services.seal, self._driver.host_info()
        self.tools = service.take_over(settings, self._db, driver, world.images, seal, info)  # type: ignore[arg-type]
        reconcile.run(self.tools)

    def end(self) -> None:
        """It does not run any more."""
        self.tools = None
        self.checkpoint.reset()

    def sweep(self) -> None:
        """What it does now and then."""
        if self.tools is not None:
            sweeps.take_back(self.tools)
            reconcile.run(self.tools)

    def turn(self) -> bool:
        """Run what can be claimed now; whether there was anything. Raises Killed."""
        if self.tools is None:
            return False
        with self.tools.db.read() as conn:
            rows = journal.candidates(conn, self.name, 100, 100)
        ran = False
        for key, lane in rows:
            with self.tools.db.write() as conn:
                entry = journal.claim(conn, self.tools.seal, key, lane, self.name, self.tools.epoch)
            if entry is None:
                continue
            left = runner.run(self.tools, entry)
            if left is not None:
                with self.tools.db.write() as conn:
                    journal.give_back(conn, entry, left.why, counts=left.counts)
            ran = True
        return ran


class Pair:
    """Two hosts' services, one of which is mortal; a third host, where one is needed, has what the survivor has."""

    def __init__(self, world: World, mortal: str) -> None:
        self._world = world
        drivers = {driver.host: driver for driver in world.drivers}
        self.mortal = Service(world, drivers[mortal], world.victim.db)
        self.others = [Service(world, driver, world.heir.db) for name, driver in drivers.items() if name != mortal]

    def begin(self) -> None:
        """Both run; nothing has killed the mortal one yet."""
        self.end()
        self.mortal.start()
        self.start_others()

    def start_others(self) -> None:
        """The others run."""
        for each in self.others:
            each.start()

    def end(self) -> None:
        """Neither runs."""
        for each in (self.mortal, *self.others):
            each.end()

    def go_on(self) -> None:
        """Until nothing more can be done now; the mortal one may end on the way."""
        for _ in range(100):
            ran = [each.turn() for each in self.others]
            try:
                ran.append(self.mortal.turn())
            except Killed:
                self.mortal.end()
                ran.append(True)
            if not any(ran):
                return
        raise AssertionError("the work never ends")

    def kill_everywhere(self, check: Callable[[int], None]) -> int:
        """End the mortal one at its 1st, 2nd, … checkpoint, each time from where all is now; check what then is."""
        beginning = self._world.snapshot()
        n = 1
        while True:
            self._world.restore(beginning)
            self.begin()
            self.mortal.checkpoint.reset()
            self.mortal.checkpoint.fatal = n
            self.go_on()
            if self.mortal.tools is not None:
                points = self.mortal.checkpoint.count
                self.end()
                return points
            check(n)
            self.end()
            n += self._world.stride


def down(world: World, *names: str) -> None:
    """Those hosts were not heard of for long."""
    with world.db.write() as conn:
        conn.execute(update(Host).where(Host.name.in_(names)).values(last_seen_at=clock.shifted(-3600)))


def prepared(world: World, operation: str) -> tuple[ServerRow, str]:
    """A server with the work accepted and not begun; where it lands."""
    case = CASES[operation]
    if operation == "evacuate":  # it may be asked for once more
        world.add_second_host()
        driver = SimulatedHypervisor("host3", vcpus=1, memory_mb=65536, disk_gb=1000, fabric=world._fabric)
        world.drivers.append(driver)
        world.heir.take_over()
        case = replace(case, hosts=1)
    return begin(world, case), case.lands


def check_at_rest(world: World, server: ServerRow, *lands: str) -> ServerRow:
    """Nothing is open, the server is on one host, and in a state that its owner or an admin can leave."""
    world.check_quiet()
    now = world.server(server.id)
    assert now.vm_state in (*lands, ERROR), now.fault_json
    if now.vm_state != ERROR:
        world.check_server(server.id, now.vm_state)
    with world.db.read() as conn:
        known = hosts.traces(conn, server.id) | {now.host}  # where a way back is kept, for its confirm or its delete
    assert set(world.guests(server.uuid)) <= known
    having = {driver.host for driver in world.drivers if any(server.uuid in name for name in driver.list_volumes())}
    assert having <= known
    return now


@every_move
@each_side
def test_one_is_back_before_it_is_missed(world: World, operation: str, mortal: str) -> None:
    """All is as if nothing had been."""
    server, lands = prepared(world, operation)
    beginning = world.snapshot()
    pair = Pair(world, mortal)
    pair.begin()
    pair.go_on()
    expected = world.outcome()
    world.restore(beginning)

    def check(_n: int) -> None:
        pair.mortal.start()
        pair.go_on()
        world.check_quiet()
        world.check_server(server.id, lands)
        world.check_log(server.id)
        assert world.outcome() == expected

    assert pair.kill_everywhere(check) > 3


@every_move
@each_side
def test_one_is_back_after_it_counted_as_down(world: World, operation: str, mortal: str) -> None:
    """The other host undoes what it can, and the one that was down does its part when it is back."""
    server, lands = prepared(world, operation)
    was = ACTIVE if operation == "live_migrate" else lands
    pair = Pair(world, mortal)

    def check(n: int) -> None:
        if n % 2:  # the others are the next test's
            return
        down(world, mortal)
        pair.others[0].sweep()
        pair.go_on()
        pair.mortal.start()
        pair.go_on()
        pair.mortal.sweep()
        pair.go_on()
        check_at_rest(world, server, lands, was)
        pair.end()
        world.remove(world.server(server.id))

    pair.kill_everywhere(check)


@every_move
@each_side
def test_one_never_comes_back(world: World, operation: str, mortal: str) -> None:
    """Where the server lives on the lost host evacuate brings it to one that is left; else it rests where it is."""
    server, lands = prepared(world, operation)
    pair = Pair(world, mortal)

    def check(n: int) -> None:
        if n % 2 == 0:
            return
        lost = [mortal, "host1"] if operation == "evacuate" else [mortal]
        down(world, *lost)
        for each in pair.others:
            each.sweep()
        pair.go_on()
        now = world.server(server.id)
        if now.host in lost:
            evacuate(world, now)
            pair.go_on()
            now = world.server(server.id)
            assert (now.vm_state, now.fault_json) == (ACTIVE, None)
        assert now.task_state is None
        assert now.vm_state in (lands, ACTIVE, ERROR)
        assert now.host not in lost
        # The lost one is back after all: nothing of the server is there, or comes back with it.
        pair.mortal.start()
        pair.go_on()
        check_at_rest(world, server, lands, ACTIVE)
        pair.end()
        world.remove(world.server(server.id))

    pair.kill_everywhere(check)


def evacuate(world: World, server: ServerRow) -> None:
    """As an admin does; where the server waits for an answer its state is reset before."""
    if server.vm_state == RESIZED:
        with world.db.write() as conn:
            conn.execute(update(Server).where(Server.id == server.id).values(vm_state=ERROR))
    with world.db.write() as conn:
        now = world.server(server.id)
        moves.start_evacuation(conn, world.services, world.context, now, None, shared=False, password="x")
