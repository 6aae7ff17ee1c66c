# SPDX-License-Identifier: Apache-2.0
"""What two who work at the same things at once must not do to each other, and what one must not keep from others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import select, update

from computeapi import journal, lifecycle, moves
from computeapi.compute import runner
from computeapi.db.models import Allocation, Migration, Server
from computeapi.db.models.journal import PENDING, RUNNING
from computeapi.db.queries import migrations, purge
from computeapi.db.queries.servers import ServerRow
from computeapi.states import ACTIVE, ERROR, SOFT_DELETED, STOPPED, PowerState
from computeapi.virt.base import StorageBusy
from tests.journal.test_service import Driver, driver, is_idle, row, serving, wait
from tests.journal.world import World

__all__ = ["driver"]


def test_what_is_still_under_way_here_is_waited_for(world: World, driver: Driver) -> None:
    """The server was taken away from a host that had stopped for a while: what it was at goes on to the step's end, and
    only then does it clean up."""
    server = world.prepare(("create",))
    world.add_second_host()
    reached, go_on = threading.Event(), threading.Event()

    def hang(_count: int) -> None:
        if driver.calls[-1] == "power_off" and not reached.is_set():
            reached.set()
            go_on.wait(20)

    driver._checkpoint.at = hang
    with serving(world, driver):
        world.begin(server, "reboot_hard")
        assert reached.wait(20)
        with world.db.write() as conn:  # as an evacuation does
            conn.execute(select(Server.id).where(Server.id == server.id).with_for_update())
            journal.seize(conn, server.id, "The host is lost.")
            conn.execute(update(Server).where(Server.id == server.id).values(host="host2", task_state=None))
            lifecycle.clean_up(conn, world.services, world.context, world.server(server.id), "host1", {"disks": True})
        time.sleep(0.5)
        assert row(world, server, "clean_up")["state"] == PENDING
        go_on.set()
        wait(lambda: row(world, server, "clean_up")["state"] == "finished")
    assert world.driver.list_guests() == {}
    assert [name for name in world.driver.list_volumes() if server.uuid in name] == []


def test_long_work_leaves_room_for_what_is_short(world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image that comes slowly keeps the servers that wait for it, and nobody else's."""
    server = world.prepare(("create",))
    go_on = threading.Event()
    chunks = world.images.chunks

    def slow(*args: Any) -> Iterator[bytes]:
        go_on.wait(30)
        yield from chunks(*args)

    monkeypatch.setattr(world.images, "chunks", slow)
    monkeypatch.setattr(world.driver, "ensure_base", lambda name, kind, size, chunks: list(chunks()))
    with serving(world, driver, operation_threads=4):
        builds = [world.create() for _ in range(8)]
        wait(lambda: sum(row(world, each, "build")["state"] == RUNNING for each in builds) >= 3)
        world.begin(server, "pause")
        wait(lambda: is_idle(world, server), 5)
        go_on.set()
        wait(lambda: all(is_idle(world, each) for each in builds))


def _left_of_moves(world: World, server: ServerRow) -> tuple[list[Any], list[Any]]:
    """The states of its migrations, and what it takes where."""
    with world.db.read() as conn:
        states = select(Migration.status).where(Migration.server_id == server.id).order_by(Migration.id)
        taken = select(Allocation.host, Allocation.role).where(Allocation.server_id == server.id)
        return list(conn.execute(states).scalars()), [tuple(row) for row in conn.execute(taken)]


def test_a_guest_that_goes_off_while_it_migrates(world: World) -> None:
    """It stayed where it was, and nothing of the move is left."""
    world.add_second_host()
    server = world.prepare(("create",))
    world.begin(server, "live_migrate")
    world.driver.kill_guest(server.uuid)
    assert world.victim.reborn().live() == []
    assert _left_of_moves(world, server) == ([migrations.ERROR], [("host1", "current")])
    world.settle(server.id, STOPPED)


def test_a_confirmation_that_fails(world: World) -> None:
    """The migration is over, with an error, as the server is."""
    server = world.prepare(("create", "resize"))
    world.begin(server, "confirm_resize")
    world.driver.undefine(server.uuid)
    world.victim.reborn().live()
    assert _left_of_moves(world, server)[0] == [migrations.ERROR]
    assert world.server(server.id).vm_state == ERROR
    world.remove(server)


def test_a_server_is_not_purged_while_a_host_has_to_clean_up_after_it(world: World) -> None:
    """Its row would be gone, and with it what that host is to remove."""
    world.add_second_host()
    server = world.prepare(("create",))
    with world.db.write() as conn:
        moves.leave(conn, world.services, world.context, server, "host2", disks=True)
        lifecycle.begin(conn, world.services, world.context, server, "delete")
    tools = world.heir.reborn().take_over()
    with world.db.write() as conn:
        [(key, lane)] = journal.candidates(conn, "host1", 10, 0)
        entry = journal.claim(conn, tools.seal, key, lane, "host1", tools.epoch)
    assert entry is not None
    runner.run(tools, entry)
    old = "2020-01-01T00:00:00.000000"
    with world.db.write() as conn:
        conn.execute(update(Server).where(Server.deleted == 1).values(created_at=old, deleted_at=old))
        assert purge.deleted_servers(conn, "2021-01-01T00:00:00.000000", 100) == 0
    assert world.heir.work() == []
    with world.db.write() as conn:
        assert purge.deleted_servers(conn, "2021-01-01T00:00:00.000000", 100) == 1


@pytest.mark.parametrize("action", ["live_migrate", "migrate", "rebuild"])
def test_a_deferred_delete_leaves_nothing_half_done(world: World, action: str) -> None:
    """Its owner may want the server back: what had begun ends first, wherever that takes it."""
    world.add_second_host()
    services = world.services
    world.services = replace(services, settings=replace(world.settings, reclaim_instance_interval=3600))
    owner = world.victim

    def delete(server: ServerRow, at: int, count: int) -> None:
        if count == at:
            with world.db.write() as conn:
                lifecycle.begin(conn, world.services, world.context, world.server(server.id), "delete")

    at = 8
    while True:
        server = world.prepare(("create",))
        world.begin(server, action)
        owner.reborn().checkpoint.at = partial(delete, server, at)
        assert owner.live() == world.heir.reborn().live() == []
        if owner.checkpoint.count < at:
            break
        server = world.server(server.id)
        assert server.vm_state == SOFT_DELETED
        assert world.guests(server.uuid)[str(server.host)] == PowerState.SHUTDOWN
        world.begin(server, "restore")
        assert world.heir.reborn().live() == []
        server = world.check_server(server.id, ACTIVE)
        states, taken = _left_of_moves(world, server)
        assert set(states) <= {migrations.FINISHED, migrations.COMPLETED, migrations.CANCELLED}
        assert "new" not in [role for _, role in taken]
        world.remove(server)
        at += 17
    assert at > 25


def test_a_copy_that_a_killed_service_left_under_way_is_waited_for(
    world: World, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the hypervisor is at it: that is no attempt, and the disks are not given up."""
    monkeypatch.setattr("computeapi.compute.service._LATER_SECONDS", 0.05)
    server = world.prepare(("create",))
    driver.failing["snapshot"] = [StorageBusy("asynchronous jobs running") for _ in range(12)]
    with serving(world, driver, max_attempts=2):
        world.begin(server, "resize")
        wait(lambda: is_idle(world, server))
    assert row(world, server, "resize")["attempt"] == 0
    world.check_server(server.id, "resized")
