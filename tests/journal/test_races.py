# SPDX-License-Identifier: Apache-2.0
"""What two who work at the same things at once must not do to each other, and what one must not keep from others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from computeapi import journal, lifecycle
from computeapi.db.models import Server
from computeapi.db.models.journal import PENDING, RUNNING
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
