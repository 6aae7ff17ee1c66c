# SPDX-License-Identifier: Apache-2.0
"""Who may claim what, in which order, and what becomes of what was claimed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import func, select, update

from computeapi import clock, journal
from computeapi.db.engine import Database
from computeapi.db.models import Action, ActionEvent, Host, Server
from computeapi.db.models.journal import CANCELLED, FAILED, FINISHED, PENDING, RUNNING
from computeapi.db.queries import servers
from computeapi.journal import Entry, Fenced
from computeapi.sealing import Seal
from tests.journal.world import add_host
from tests.wire.conftest import server_values

SEAL = Seal(b"k" * 32)


class Journal:
    """The journal of a cloud with the hosts host1 and host2, owned in epoch 1."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.uuids: dict[int, str] = {}
        for name in ("host1", "host2"):
            add_host(db, name, epoch=1)

    def server(self) -> int:
        """A server's key."""
        values = server_values("p" * 32, "u" * 32)
        with self.db.write() as conn:
            key = servers.insert(conn, values).id
        self.uuids[key] = values["uuid"]
        return key

    def add(self, server: int, operation: str = "stop", host: str = "host1", **more: Any) -> int:
        """Write work down; its key."""
        with self.db.write() as conn:
            return self.add_in(conn, server, operation, host, **more)

    def add_in(self, conn: Any, server: int, operation: str = "stop", host: str = "host1", **more: Any) -> int:
        """The same in the caller's transaction."""
        return journal.enqueue(
            conn,
            SEAL,
            server_id=server,
            server_uuid=self.uuids[server],
            request_id="req-1",
            project_id="p",
            user_id="u",
            name=operation,
            operation=operation,
            host=host,
            lands={"ok": "stopped", "failed": "error"},
            **more,
        )

    def open(self, host: str = "host1", operations: int = 10, questions: int = 10) -> list[int]:
        """Keys that may be claimed."""
        with self.db.read() as conn:
            return [row[0] for row in journal.candidates(conn, host, operations, questions)]

    def claim(self, key: int, epoch: int = 1, host: str = "host1", seal: Seal = SEAL) -> Entry | None:
        """Claim it, in a transaction of its own."""
        with self.db.write() as conn:
            lane = conn.execute(select(Action.lane).where(Action.id == key)).scalar_one()
            return journal.claim(conn, seal, key, lane, host, epoch)

    def claimed(self, key: int) -> Entry:
        """Claim what may be claimed."""
        entry = self.claim(key)
        assert entry is not None
        return entry

    def do(self, verb: Callable[..., Any], *args: Any, **more: Any) -> Any:
        """A verb of the journal, in a transaction of its own."""
        with self.db.write() as conn:
            return verb(conn, *args, **more)

    def row(self, key: int) -> Any:
        """A row as it is now."""
        with self.db.read() as conn:
            return conn.execute(select(Action.__table__).where(Action.id == key)).mappings().one()

    def events(self, key: int) -> list[tuple[Any, ...]]:
        """(name, undo, result, details) of its events."""
        with self.db.read() as conn:
            columns = select(ActionEvent.name, ActionEvent.undo, ActionEvent.result, ActionEvent.details)
            return [
                tuple(row) for row in conn.execute(columns.where(ActionEvent.action_id == key).order_by(ActionEvent.id))
            ]


@pytest.fixture
def journal_of(db: Database) -> Journal:
    """A journal."""
    return Journal(db)


# --- what may be claimed ---


def test_the_first_of_each_lane_may_be_claimed(journal_of: Journal) -> None:
    one, two = journal_of.server(), journal_of.server()
    first, behind, other = journal_of.add(one), journal_of.add(one), journal_of.add(two)
    elsewhere = journal_of.add(journal_of.server(), host="host2")
    assert journal_of.open() == [first, other]
    assert journal_of.open("host2") == [elsewhere]
    entry = journal_of.claimed(first)
    assert journal_of.open() == [other]
    journal_of.do(journal.close, entry)
    assert journal_of.open() == [behind, other]


def test_what_comes_back_to_a_host_waits_until_that_has_cleaned_up(journal_of: Journal) -> None:
    """There alone; and what it has to clean up later waits in turn."""
    server = journal_of.server()
    cleaning = journal_of.add(server, "clean_up", aside=True)
    back = journal_of.add(server, "live_migrate", host="host2")
    later = journal_of.add(server, "clean_up", aside=True)
    assert (journal_of.open("host1"), journal_of.open("host2")) == ([cleaning], [back])
    entry = journal_of.claim(back, host="host2")
    assert entry is not None
    journal_of.do(journal.hand_over, entry, "host1")
    assert (journal_of.open("host1"), journal_of.open("host2")) == ([cleaning], [])
    cleaned = journal_of.claimed(cleaning)
    assert journal_of.open("host1") == []
    journal_of.do(journal.close, cleaned, "no")
    assert journal_of.open("host1") == [back]
    journal_of.do(journal.close, journal_of.claimed(back))
    assert journal_of.open("host1") == [later]


def test_what_waits_on_another_host_is_waited_for(journal_of: Journal) -> None:
    server = journal_of.server()
    journal_of.add(server, host="host2")
    journal_of.add(server, host="host1")
    assert journal_of.open("host1") == []


def test_a_long_queue_does_not_hide_questions(journal_of: Journal) -> None:
    for _ in range(5):
        journal_of.add(journal_of.server())
    question = journal_of.add(journal_of.server(), "console_output", hidden=True)
    assert question in journal_of.open(operations=2, questions=2)
    assert len(journal_of.open(operations=2, questions=2)) == 3
    assert journal_of.open(operations=0, questions=2) == [question]
    assert question not in journal_of.open(operations=2, questions=0)


def test_a_question_waits_for_nothing(journal_of: Journal) -> None:
    server = journal_of.server()
    journal_of.claimed(journal_of.add(server))
    questions = [journal_of.add(server, "console_output", hidden=True) for _ in range(2)]
    assert journal_of.open() == questions
    assert all(journal_of.claim(key) for key in questions)


def test_a_row_is_claimed_once(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server(), payload={"secret": "x"})
    entry = journal_of.claimed(key)
    assert (entry.operation, entry.payload, entry.attempt, entry.epoch) == ("stop", {"secret": "x"}, 0, 1)
    assert journal_of.claim(key) is None
    row = journal_of.row(key)
    assert (row["state"], row["running"]) == (RUNNING, row["lane"])


def test_one_row_of_a_lane_runs(journal_of: Journal) -> None:
    """Whoever claims without looking is refused, and its transaction goes on (PostgreSQL would end it)."""
    server = journal_of.server()
    first, second = journal_of.add(server), journal_of.add(server)
    journal_of.claimed(second)
    with journal_of.db.write() as conn:
        assert journal.claim(conn, SEAL, first, server, "host1", 1) is None
        conn.execute(update(Server).where(Server.id == server).values(name="still here"))
    with journal_of.db.read() as conn:
        assert conn.execute(select(Server.name).where(Server.id == server)).scalar() == "still here"
    assert journal_of.row(first)["state"] == PENDING


def test_an_old_owner_claims_nothing(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server())
    with journal_of.db.write() as conn:
        conn.execute(update(Host).where(Host.name == "host1").values(epoch=2))
    with pytest.raises(Fenced):
        journal_of.claim(key, epoch=1)
    assert journal_of.row(key)["state"] == PENDING
    assert journal_of.claim(key, epoch=2)


def test_a_payload_of_another_key(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server(), payload={"secret": "x"})
    entry = journal_of.claim(key, seal=Seal(b"o" * 32))
    assert entry is not None
    assert (entry.readable, entry.payload) == (False, {})


def test_a_payload_can_not_be_read_in_the_database(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server(), payload={"admin_password": "tell-nobody"})
    assert "tell-nobody" not in str(dict(journal_of.row(key)))


# --- what becomes of it ---


def test_close(journal_of: Journal) -> None:
    for error, cancelled, state in ((None, False, FINISHED), ("no", False, FAILED), ("gone", True, CANCELLED)):
        key = journal_of.add(journal_of.server(), payload={"secret": "x"})
        entry = journal_of.claimed(key)
        journal_of.do(journal.close, entry, error=error, cancelled=cancelled)
        row = journal_of.row(key)
        assert (row["state"], row["message"]) == (state, error)
        assert [row[name] for name in ("queue", "lane", "running", "payload")] == [None] * 4
        assert row["finished_at"]
        with pytest.raises(Fenced):
            journal_of.do(journal.close, entry)


def test_steps_are_known_to_who_claims_next(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server())
    entry = journal_of.claimed(key)
    for name, error in (("one", None), ("two", "no")):
        seq = journal_of.do(journal.begin_step, entry, name, "host1")
        journal_of.do(journal.end_step, entry, seq, error)
    journal_of.do(journal.hold, entry, unwinding=1, message="no")
    seq = journal_of.do(journal.begin_step, entry, "two", "host1", undo=True)
    journal_of.do(journal.end_step, entry, seq)
    journal_of.do(journal.begin_step, entry, "one", "host1", undo=True)
    journal_of.do(journal.recover, "host1", 2)
    with journal_of.db.write() as conn:
        conn.execute(update(Host).values(epoch=2))
    again = journal_of.claim(key, epoch=2)
    assert again is not None
    assert (again.begun, again.done, again.undone, again.events) == (["one", "two"], {"one"}, {"two"}, 4)
    assert (again.unwinding, again.message, again.attempt) == (True, "no", 1)
    assert journal_of.events(key)[-1] == ("one", 1, "Error", journal.INTERRUPTED)


def test_recover_puts_back_what_older_owners_had(journal_of: Journal) -> None:
    """Not what is the new one's, nor another host's."""
    old, mine, elsewhere, waiting = (journal_of.add(journal_of.server()) for _ in range(4))
    with journal_of.db.write() as conn:
        conn.execute(update(Action).where(Action.id == elsewhere).values(queue="host2"))
    journal_of.claimed(old)
    journal_of.claim(elsewhere, host="host2")
    with journal_of.db.write() as conn:
        conn.execute(update(Host).where(Host.name == "host1").values(epoch=2))
    journal_of.claim(mine, epoch=2)
    assert journal_of.do(journal.recover, "host1", 2) == 1
    states = {key: (journal_of.row(key)["state"], journal_of.row(key)["attempt"]) for key in (old, mine, elsewhere)}
    assert states == {old: (PENDING, 1), mine: (RUNNING, 0), elsewhere: (RUNNING, 0)}
    assert (journal_of.row(waiting)["attempt"], journal_of.row(old)["running"]) == (0, None)
    assert journal_of.do(journal.recover, "host1", 2) == 0


def test_recover_and_questions(journal_of: Journal) -> None:
    """One that was being answered is not asked again: it may be what killed the owner. One that waits is answered."""
    server = journal_of.server()
    running, waiting = (journal_of.add(server, "console_output", hidden=True) for _ in range(2))
    journal_of.claimed(running)
    assert journal_of.do(journal.recover, "host1", 2) == 0
    with journal_of.db.read() as conn:
        assert journal.answer(conn, waiting) is None
        with pytest.raises(LookupError):
            journal.answer(conn, running)


def test_give_back(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server(), payload={"secret": "x"})
    entry = journal_of.claimed(key)
    journal_of.do(journal.begin_step, entry, "one", "host1")
    journal_of.do(journal.give_back, entry, "the database is away")
    row = journal_of.row(key)
    assert (row["state"], row["attempt"], row["message"]) == (PENDING, 1, "the database is away")
    assert journal_of.events(key) == [("one", 0, "Error", "the database is away")]
    entry = journal_of.claimed(key)
    assert entry.payload == {"secret": "x"}
    journal_of.do(journal.give_back, entry, counts=False)
    assert journal_of.row(key)["attempt"] == 1
    entry = journal_of.claimed(key)
    journal_of.do(journal.hold, entry, unwinding=1, message="the disk is full")
    entry.unwinding = True
    journal_of.do(journal.give_back, entry, "libvirt is away")
    assert journal_of.row(key)["message"] == "the disk is full"
    with pytest.raises(Fenced):
        journal_of.do(journal.give_back, entry)


def test_what_was_taken_over_accepts_no_write(journal_of: Journal) -> None:
    key = journal_of.add(journal_of.server())
    entry = journal_of.claimed(key)
    journal_of.do(journal.recover, "host1", 2)
    for verb in (journal.hold, journal.close, journal.give_back):
        with pytest.raises(Fenced):
            journal_of.do(verb, entry)
    with journal_of.db.write() as conn:
        conn.execute(update(Host).values(epoch=2))
    assert journal_of.claim(key, epoch=2)
    for verb in (journal.hold, journal.close, journal.give_back):
        with pytest.raises(Fenced):
            journal_of.do(verb, entry)


def test_overtake(journal_of: Journal) -> None:
    server, other = journal_of.server(), journal_of.server()
    running, waiting, elses = (
        journal_of.add(server),
        journal_of.add(server, payload={"secret": "x"}),
        journal_of.add(other),
    )
    entry = journal_of.claimed(running)
    assert journal_of.do(journal.hold, entry) is False
    journal_of.do(journal.overtake, server)
    row = journal_of.row(waiting)
    assert (row["state"], row["payload"], row["lane"], row["message"]) == (CANCELLED, None, None, "Deleted meanwhile.")
    assert journal_of.do(journal.hold, entry) is True
    assert journal_of.row(elses)["state"] == PENDING


def test_is_busy_and_has_next(journal_of: Journal) -> None:
    server = journal_of.server()
    entry = journal_of.claimed(journal_of.add(server, "stop"))
    with journal_of.db.read() as conn:
        assert journal.is_busy(conn, server)
        assert journal.is_busy(conn, server, "stop", "delete")
        assert not journal.is_busy(conn, server, "delete")
        assert not journal.has_next(conn, entry)
    journal_of.add(server, "console_output", hidden=True)
    with journal_of.db.read() as conn:
        assert not journal.has_next(conn, entry)
    journal_of.add(server, "start")
    with journal_of.db.read() as conn:
        assert journal.has_next(conn, entry)


# --- several at once ---


def at_once(*actions: Callable[[], None]) -> None:
    """Run these in threads; the first error of any is the test's."""
    failed: list[BaseException] = []

    def run(action: Callable[[], None]) -> None:
        try:
            action()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(action,)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def test_several_claim_at_once(journal_of: Journal) -> None:
    keys = [journal_of.add(journal_of.server()) for _ in range(12)]
    got: list[int] = []

    def claim_all() -> None:
        for key in keys:
            if journal_of.claim(key) is not None:
                got.append(key)

    at_once(*[claim_all] * 4)
    assert sorted(got) == keys


def test_keys_of_a_lane_are_in_the_order_of_their_commits(journal_of: Journal) -> None:
    """As lifecycle.begin does: the server's row is locked first. A reader never finds a key below one it has seen."""
    server = journal_of.server()
    done = threading.Event()
    seen: list[int] = []

    def write() -> None:
        for _ in range(8):
            with journal_of.db.write() as conn:
                assert servers.lock_row(conn, server) is not None
                time.sleep(random.uniform(0, 0.003))
                journal_of.add_in(conn, server)
                time.sleep(random.uniform(0, 0.003))

    def look() -> None:
        while not done.is_set():
            with journal_of.db.read() as conn:
                found = conn.execute(select(Action.id).where(Action.lane == server).order_by(Action.id)).scalars().all()
            assert found[: len(seen)] == seen
            seen[:] = found

    watcher = threading.Thread(target=look)
    watcher.start()
    at_once(*[write] * 4)
    done.set()
    watcher.join()
    with journal_of.db.read() as conn:
        found = conn.execute(select(Action.id).where(Action.lane == server).order_by(Action.id)).scalars().all()
    assert found[: len(seen)] == seen
    assert len(found) == 32


def test_a_claim_and_a_new_owner_at_once(journal_of: Journal) -> None:
    """Whichever is first: no row is left running that belongs to the old owner."""
    for epoch in range(2, 8):
        keys = [journal_of.add(journal_of.server()) for _ in range(4)]

        def claim_all(keys: list[int] = keys, epoch: int = epoch) -> None:
            for key in keys:
                try:
                    journal_of.claim(key, epoch=epoch - 1)
                except Fenced:
                    return

        def take_over(epoch: int = epoch) -> None:
            time.sleep(random.uniform(0, 0.01))
            with journal_of.db.write() as conn:
                conn.execute(update(Host).where(Host.name == "host1").values(epoch=epoch, last_seen_at=clock.now()))
            with journal_of.db.write() as conn:
                journal.recover(conn, "host1", epoch)

        at_once(claim_all, take_over)
        with journal_of.db.read() as conn:
            running = select(func.count(Action.id)).where(Action.state == RUNNING)
            assert conn.execute(running).scalar() == 0
