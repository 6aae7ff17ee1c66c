# SPDX-License-Identifier: Apache-2.0
"""A commit of somebody else's wakes; so does wake(); and the time bounds each wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from computeapi.db.engine import Database, wake
from computeapi.wake import Waker
from tests.journal.world import add_host

LONG = 10.0  # seconds: a test that waits so long fails


@pytest.fixture
def waker(db: Database) -> Iterator[Waker]:
    """One that has looked once, so that it knows what there is."""
    waker = Waker(db, "host1")
    waker.wait(0.1)
    waker.wait(0.1)
    yield waker
    waker.close()


def waited(waker: Waker, action: Callable[[], None], seconds: float = LONG) -> float:
    """How long it waits when `action` comes a little later."""

    def later() -> None:
        time.sleep(0.15)
        action()

    thread = threading.Thread(target=later)
    began = time.monotonic()
    thread.start()
    waker.wait(seconds)
    took = time.monotonic() - began
    thread.join()
    return took


def test_a_commit_wakes(db: Database, waker: Waker) -> None:
    def write() -> None:
        with db.write() as conn:
            wake(conn, "host1")
            if db.is_sqlite:
                conn.execute(text("CREATE TABLE something (x INTEGER)"))

    assert 0.1 < waited(waker, write) < LONG / 2


def test_a_commit_before_the_wait_wakes(db: Database, waker: Waker) -> None:
    add_host(db, "host9")
    with db.write() as conn:
        wake(conn, "host1")
    began = time.monotonic()
    waker.wait(LONG)
    assert time.monotonic() - began < LONG / 2


def test_wake_ends_the_wait(waker: Waker) -> None:
    assert 0.1 < waited(waker, waker.wake) < LONG / 2


def test_wake_before_the_wait_ends_it(waker: Waker) -> None:
    for _ in range(100_000):  # and never blocks, however often
        waker.wake()
    began = time.monotonic()
    while time.monotonic() - began < LONG / 2:
        looked = time.monotonic()
        waker.wait(0.3)
        if time.monotonic() - looked > 0.25:
            break
    assert time.monotonic() - began < LONG / 2


def test_nothing_happens(waker: Waker) -> None:
    began = time.monotonic()
    waker.wait(0.3)
    assert 0.25 < time.monotonic() - began < LONG / 2


def test_what_is_rolled_back_does_not_wake(db: Database, waker: Waker) -> None:
    def nearly() -> None:
        with pytest.raises(ZeroDivisionError), db.write() as conn:
            wake(conn, "host1")
            raise ZeroDivisionError

    assert waited(waker, nearly, 0.6) > 0.55


def test_a_hint_for_another_host_does_not_wake(db: Database, waker: Waker) -> None:
    if db.is_sqlite:
        pytest.skip("SQLite tells of every commit")

    def other() -> None:
        with db.write() as conn:
            wake(conn, "host2")

    assert waited(waker, other, 0.6) > 0.55


def test_a_broken_connection_costs_a_hint_and_no_more(db: Database, waker: Waker) -> None:
    def cut() -> None:
        if db.is_postgresql:
            with db.write() as conn:
                conn.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
        else:
            assert waker._sqlite is not None
            waker._sqlite.close()

    if db.is_sqlite:
        cut()
        waker.wait(0.1)
    else:
        waited(waker, cut, 1.0)
    waker.wait(0.1)
    waker.wait(0.1)
    test_a_commit_wakes(db, waker)


def test_closed(db: Database) -> None:
    """A signal that comes after the end is no error, and touches no file that has the number now."""
    waker = Waker(db, "host1")
    waker.close()
    waker.wake()


def test_another_database(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that has no hints: a short wait each time."""
    waker = Waker(db, "host1")
    monkeypatch.setattr(db, "is_sqlite", False)
    monkeypatch.setattr(db, "is_postgresql", False)
    began = time.monotonic()
    waker.wait(LONG)
    assert time.monotonic() - began < LONG / 2
    waker.close()


def test_a_connection_that_the_server_ended_is_not_used_again(db: Database) -> None:
    if not db.is_postgresql:
        pytest.skip("SQLite has no server")
    with db.read() as one, db.read() as other:  # two are in the pool
        pids = {conn.execute(text("SELECT pg_backend_pid()")).scalar_one() for conn in (one, other)}
    with db.write() as conn:
        mine = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        for pid in pids - {mine}:
            conn.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
    with db.read() as one, db.write() as other:
        now = {conn.execute(text("SELECT pg_backend_pid()")).scalar_one() for conn in (one, other)}
    assert len(pids) == len(now) == 2
    assert now & pids == {mine}
