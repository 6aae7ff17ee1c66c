# SPDX-License-Identifier: Apache-2.0
"""The journal's verbs: write work down, claim it, note each step, close it; and take up what a dead owner left.

A row is at once the API's action record and the work, so that neither exists without the other. Each server's rows
(its lane) are worked off one at a time, in the order of their keys; so are each volume's, in a lane of its own. A row
belongs to the compute service that claimed it, by the `epoch` the service got when it started: a service that was
replaced finds none of its writes accepted (Fenced).

Everything here takes a Connection: the caller decides what else belongs to the same transaction. Whoever writes several
of these in one transaction does so in this order, or PostgreSQL finds deadlocks: the server's row, its volumes, its
rows here, its addresses, its host's row. The server's row is locked before its rows here are written, so that their
keys are in the order of their commits.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import orjson
from cryptography.fernet import InvalidToken
from sqlalchemy import Connection, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError

from computeapi import clock
from computeapi.db.engine import wake
from computeapi.db.models import Action, ActionEvent, Host
from computeapi.db.models.journal import CANCELLED, FAILED, FINISHED, PENDING, RUNNING
from computeapi.db.queries.common import insert_row, table_of
from computeapi.sealing import Seal

_ACTIONS, _EVENTS = table_of(Action), table_of(ActionEvent)

INTERRUPTED = "Interrupted: the compute service ended."
APPLY_NETWORK = "apply_network"  # the operation that makes no difference to its server's row


class Fenced(Exception):
    """Another owner has taken this host over: drop the work, it is theirs."""


@dataclass(slots=True)
class Entry:
    """A claimed row."""

    id: int
    server_id: int | None
    server_uuid: str | None
    volume_key: int | None
    request_id: str
    project_id: str | None
    user_id: str | None
    name: str
    operation: str
    hidden: bool
    epoch: int
    attempt: int
    unwinding: bool
    message: str | None
    lands: dict[str, Any]
    payload: dict[str, Any]
    begun: list[str] = field(default_factory=list)  # steps that were begun, in order
    done: set[str] = field(default_factory=set)  # steps that ended well
    undone: set[str] = field(default_factory=set)  # steps whose undo ended well
    events: int = 0
    readable: bool = True  # False: the payload was sealed with another key
    closed: str | None = None  # the state in which it was closed
    stuck: set[str] = field(default_factory=set)  # steps whose undo failed for good
    host: str = ""  # whose work it is now
    lane: int | None = None  # whose work it is about

    @property
    def hosts(self) -> dict[str, str]:
        """Work that needs two hosts: which is the "source" and which the "destination"."""
        found: dict[str, str] = self.lands.get("hosts", {})
        return found

    @property
    def aside(self) -> bool:
        """Work on a host where the server does not live: it neither waits for the server's own nor shows in it."""
        return self.lane is not None and self.lane < -_ASIDE

    @property
    def subject(self) -> str:
        """The server's id, or the volume's key: for the log."""
        return self.server_uuid or f"volume {self.volume_key}"


_ASIDE = 1 << 40


def aside_lane(server_id: int) -> int:
    """The lane beside a server's own, behind those of all volumes."""
    return -_ASIDE - server_id


def volume_lane(key: int) -> int:
    """The lane of a volume's work: servers' are positive."""
    return -key


def own_lane(lane: int) -> int:
    """The lane that the work is beside, or its own: the same for all that may be at the same things."""
    return -_ASIDE - lane if lane < -_ASIDE else lane


def enqueue(
    conn: Connection,
    seal: Seal,
    *,
    server_id: int | None = None,
    server_uuid: str | None = None,
    volume_key: int | None = None,
    request_id: str,
    project_id: str | None,
    user_id: str | None,
    name: str,
    operation: str,
    host: str,
    payload: dict[str, Any] | None = None,
    lands: dict[str, Any] | None = None,
    hidden: bool = False,
    aside: bool = False,
) -> int:
    """Write down work for `host`, on a server or on a volume, and wake it; the row's key.

    A hidden row is a question: no lane, not in the action log. `aside`: beside the server's own (Entry.aside).
    """
    wake(conn, host)
    moment = clock.now()
    lane = server_id if volume_key is None else volume_lane(volume_key)
    if aside and server_id is not None:
        lane = aside_lane(server_id)
    return insert_row(
        conn,
        Action,
        {
            "server_id": server_id,
            "server_uuid": server_uuid,
            "volume_key": volume_key,
            "request_id": request_id,
            "project_id": project_id,
            "user_id": user_id,
            "name": name,
            "operation": operation,
            "hidden": int(hidden),
            "state": PENDING,
            "queue": host,
            "lane": None if hidden else lane,
            "payload": seal.close(payload) if payload else None,
            "lands_json": orjson.dumps(lands or {}).decode(),
            "created_at": moment,
            "updated_at": moment,
        },
    )


def record(
    conn: Connection,
    *,
    server_id: int,
    server_uuid: str,
    request_id: str,
    project_id: str | None,
    user_id: str | None,
    name: str,
    error: str | None = None,
) -> int:
    """An action that needed no host: it is in the log, done (or failed, with `error`, which its event tells)."""
    moment = clock.now()
    key = insert_row(
        conn,
        Action,
        {
            "server_id": server_id,
            "server_uuid": server_uuid,
            "request_id": request_id,
            "project_id": project_id,
            "user_id": user_id,
            "name": name,
            "operation": "",
            "state": FAILED if error else FINISHED,
            "message": error,
            "created_at": moment,
            "started_at": moment,
            "updated_at": moment,
            "finished_at": moment,
        },
    )
    if error:
        ended = {"started_at": moment, "finished_at": moment, "result": "Error", "details": error}
        insert_row(conn, ActionEvent, {"action_id": key, "seq": 1, "name": name, **ended})
    return key


def is_leaving(conn: Connection, server_id: int, *, under_way: bool = False) -> set[str]:
    """The hosts that have yet to clean up after a server which left them (or `under_way`: are at it). What takes it
    back there waits for that, where it is asked for later."""
    mine = select(Action.queue).where(Action.lane == aside_lane(server_id))
    if under_way:
        mine = mine.where(Action.state == RUNNING)
    return {host for host in conn.execute(mine).scalars() if host}


def absorb(conn: Connection, server_id: int, host: str) -> None:
    """What `host` has yet to clean up after a server is a part of what is asked of it now."""
    mine = (Action.lane == aside_lane(server_id)) & (Action.queue == host) & (Action.state == PENDING)
    moment = clock.now()
    ended = {"state": CANCELLED, "message": "The server comes back.", "finished_at": moment, "updated_at": moment}
    conn.execute(update(Action).where(mine).values(**ended, **_CLOSED))


def seize(conn: Connection, server_id: int, why: str) -> None:
    """End all open work of a server whose host is lost: whoever was at it finds its writes refused."""
    keys = list(conn.execute(select(Action.id).where(Action.lane == server_id).order_by(Action.id)).scalars())
    if keys:
        moment = clock.now()
        ended = {"state": CANCELLED, "message": why, "finished_at": moment, "updated_at": moment}
        conn.execute(update(Action).where(Action.id.in_(keys)).values(**ended, **_CLOSED))
        _end_open_steps(conn, keys, why)


_CLOSED: dict[str, Any] = {"queue": None, "lane": None, "running": None, "payload": None}


def overtake(conn: Connection, server_id: int, *, for_good: bool = True) -> None:
    """Delete wins: pending work of this server is cancelled, running work asked to stop at its next step.

    Not `for_good`, what has begun goes on to its end first: the server may be wanted back, whole.
    """
    moment = clock.now()
    waiting = (Action.lane == server_id) & (Action.state == PENDING)
    if not for_good:
        waiting &= Action.started_at.is_(None)
    conn.execute(
        update(Action)
        .where(waiting)
        .values(state=CANCELLED, message="Deleted meanwhile.", finished_at=moment, updated_at=moment, **_CLOSED)
    )
    if for_good:
        conn.execute(update(Action).where(Action.lane == server_id, Action.state == RUNNING).values(cancel=1))


_OPEN_BEFORE = Action.__table__.alias("before")
_OPERATIONS = (
    select(Action.id, Action.lane)
    .where(
        Action.state == PENDING,
        Action.lane.is_not(None),
        ~select(_OPEN_BEFORE.c.id).where(_OPEN_BEFORE.c.lane == Action.lane, _OPEN_BEFORE.c.id < Action.id).exists(),
        # What is aside waits for what was asked of the server before it, and what comes back to a host for what that
        # has yet to clean up, or both would be at the same things.
        ~select(_OPEN_BEFORE.c.id)
        .where(
            _OPEN_BEFORE.c.lane == -_ASIDE - Action.lane,
            _OPEN_BEFORE.c.id < Action.id,
            or_(Action.lane < -_ASIDE, _OPEN_BEFORE.c.queue == Action.queue),
        )
        .exists(),
    )
    .order_by(Action.id)
)
_QUESTIONS = select(Action.id, Action.lane).where(Action.state == PENDING, Action.lane.is_(None)).order_by(Action.id)
_ENTRY = select(
    Action.id,
    Action.server_id,
    Action.server_uuid,
    Action.volume_key,
    Action.request_id,
    Action.project_id,
    Action.user_id,
    Action.name,
    Action.operation,
    Action.hidden,
    Action.epoch,
    Action.attempt,
    Action.unwinding,
    Action.message,
    Action.lands_json,
    Action.payload,
    Action.lane,
)


def candidates(
    conn: Connection,
    host: str,
    operations: int,
    questions: int,
    *,
    only: Collection[str] = (),
    but: Collection[str] = (),
) -> list[tuple[int, int | None]]:
    """(key, lane) of rows of `host` that may be claimed now: the first open one of each lane, and questions (no lane).

    At most so many of each, so that a long queue of the ones does not hide the others. `only` these operations, or all
    `but` these.
    """
    wanted = _OPERATIONS
    if only:
        wanted = wanted.where(Action.operation.in_(only))
    if but:
        wanted = wanted.where(Action.operation.not_in(but))
    rows: list[tuple[int, int | None]] = []
    for kind, limit in ((_QUESTIONS, questions), (wanted, operations)):
        if limit > 0:
            rows += [(row[0], row[1]) for row in conn.execute(kind.where(Action.queue == host).limit(limit))]
    return rows


def claim(conn: Connection, seal: Seal, key: int, lane: int | None, host: str, epoch: int) -> Entry | None:
    """Make a candidate ours; None if somebody else was quicker. One transaction a claim.

    Raises Fenced where `host` has a younger owner than `epoch`.
    """
    moment = clock.now()
    try:
        with conn.begin_nested():  # PostgreSQL: after a refusal the transaction goes on
            claimed = conn.execute(
                update(Action)
                .where(Action.id == key, Action.state == PENDING, Action.queue == host)
                .values(
                    state=RUNNING,
                    running=lane,
                    epoch=epoch,
                    started_at=func.coalesce(Action.started_at, moment),
                    updated_at=moment,
                )
            )
    except IntegrityError:  # another row of this lane is running
        return None
    if claimed.rowcount != 1:
        return None
    if not owns(conn, host, epoch):
        raise Fenced(f"host {host}")
    row = conn.execute(_ENTRY.where(Action.id == key)).one()
    try:
        payload, readable = seal.open(row[15]), True
    except InvalidToken:
        payload, readable = {}, False
    entry = Entry(
        *row[:9],
        hidden=bool(row[9]),
        epoch=row[10],
        attempt=row[11],
        unwinding=bool(row[12]),
        message=row[13],
        lands=orjson.loads(row[14]),
        payload=payload,
        readable=readable,
        host=host,
        lane=row[16],
    )
    _read_steps(conn, entry)
    return entry


def owns(conn: Connection, host: str, epoch: int) -> bool:
    """Whether the owner of that epoch has the host, now and until this transaction ends."""
    now = conn.execute(select(Host.epoch).where(Host.name == host).with_for_update(read=True)).scalar()
    return now == epoch


def _read_steps(conn: Connection, entry: Entry) -> None:
    rows = conn.execute(
        select(ActionEvent.seq, ActionEvent.name, ActionEvent.undo, ActionEvent.result)
        .where(ActionEvent.action_id == entry.id)
        .order_by(ActionEvent.seq)
    )
    for seq, name, undo, result in rows:
        entry.events = seq
        if undo:
            if result == "Success":
                entry.undone.add(name)
            elif result:
                entry.stuck.add(name)
        else:
            if name not in entry.begun:
                entry.begun.append(name)
            if result == "Success":
                entry.done.add(name)


def hold(conn: Connection, entry: Entry, **columns: Any) -> bool:
    """Say that the work is still ours; the row's `cancel`. Raises Fenced where it is not ours any more."""
    _write(conn, entry, {"updated_at": clock.now(), **columns})
    return bool(conn.execute(_CANCEL, {"key": entry.id}).scalar_one())


_CANCEL = select(_ACTIONS.c.cancel).where(_ACTIONS.c.id == bindparam("key"))
# The epoch alone would not do: hosts count theirs apart, and work goes from host to host.
_CHANGE = _ACTIONS.update().where(
    _ACTIONS.c.id == bindparam("my_key"),
    _ACTIONS.c.epoch == bindparam("my_epoch"),
    _ACTIONS.c.queue == bindparam("my_host"),
    _ACTIONS.c.state == RUNNING,
)


def _write(conn: Connection, entry: Entry, columns: dict[str, Any]) -> None:
    """Set columns of a row that is ours. Raises Fenced where it is not ours any more."""
    mine = {"my_key": entry.id, "my_epoch": entry.epoch, "my_host": entry.host}
    if conn.execute(_CHANGE, {**columns, **mine}).rowcount != 1:
        raise Fenced(f"action {entry.id}")


def hand_over(conn: Connection, entry: Entry, host: str) -> None:
    """The next step is another host's: from now on the row waits there. Raises Fenced."""
    hold(conn, entry, state=PENDING, running=None, queue=host)
    wake(conn, host)


def begin_step(conn: Connection, entry: Entry, name: str, host: str, *, undo: bool = False) -> int:
    """Note that a step begins; the event's number."""
    entry.events += 1
    step = {"name": name, "undo": int(undo), "host": host, "started_at": clock.now()}
    insert_row(conn, ActionEvent, {"action_id": entry.id, "seq": entry.events, **step})
    return entry.events


_END_STEP = _EVENTS.update().where(_EVENTS.c.action_id == bindparam("of_action"), _EVENTS.c.seq == bindparam("of_seq"))


def end_step(conn: Connection, entry: Entry, seq: int, error: str | None = None) -> None:
    """Note how a step ended."""
    ended = {"finished_at": clock.now(), "result": "Error" if error else "Success", "details": error}
    conn.execute(_END_STEP, {"of_action": entry.id, "of_seq": seq, **ended})


def close(
    conn: Connection, entry: Entry, error: str | None = None, result: Any = None, *, cancelled: bool = False
) -> None:
    """The work is done, or failed with `error`: the lane is free, the secrets are gone. Raises Fenced."""
    moment = clock.now()
    entry.closed = CANCELLED if cancelled else FAILED if error else FINISHED
    answer = None if result is None else orjson.dumps(result).decode()
    ended = {"state": entry.closed, "message": error, "result_json": answer}
    _write(conn, entry, {**ended, "finished_at": moment, "updated_at": moment, **_CLOSED})


def recover(conn: Connection, host: str, epoch: int) -> int:
    """The new owner of `host` puts back what older ones were at: it will be claimed again, in order. How many.

    In a transaction after the one that made `epoch` the host's: nobody older claims any more.
    """
    older = (Action.queue == host) & (Action.state == RUNNING) & (Action.epoch < epoch)
    # Nobody waits for these answers any more; and a question that killed its owner is not asked again.
    conn.execute(delete(Action).where(older, Action.hidden == 1))
    keys = [row[0] for row in conn.execute(select(Action.id).where(older).order_by(Action.id).with_for_update())]
    if keys:
        conn.execute(
            update(Action)
            .where(Action.id.in_(keys))
            .values(state=PENDING, running=None, attempt=Action.attempt + 1, updated_at=clock.now())
        )
        _end_open_steps(conn, keys, INTERRUPTED)
    return len(keys)


def give_back(conn: Connection, entry: Entry, why: str | None = None, *, counts: bool = True) -> None:
    """Put claimed work back, to be taken up again; as one more attempt unless nothing was tried. Raises Fenced."""
    values: dict[str, Any] = {"state": PENDING, "running": None}
    if counts:
        values["attempt"] = entry.attempt + 1
    if why and not entry.unwinding:  # then the message is what made it fail
        values["message"] = why
    hold(conn, entry, **values)
    _end_open_steps(conn, [entry.id], why or INTERRUPTED)


def _end_open_steps(conn: Connection, keys: list[int], why: str) -> None:
    conn.execute(
        update(ActionEvent)
        .where(ActionEvent.action_id.in_(keys), ActionEvent.finished_at.is_(None))
        .values(finished_at=clock.now(), result="Error", details=why)
    )


# --- questions that only the host can answer ---


def answer(conn: Connection, key: int) -> tuple[str, Any, str | None] | None:
    """(state, result, error) of a question that has been answered; None while it is open.

    Raises LookupError where nobody will: the compute service ended while it was at it.
    """
    row = conn.execute(select(Action.state, Action.result_json, Action.message).where(Action.id == key)).first()
    if row is None:
        raise LookupError(key)
    if row[0] in (PENDING, RUNNING):
        return None
    return row[0], orjson.loads(row[1]) if row[1] else None, row[2]


def forget(conn: Connection, key: int) -> None:
    """Remove a question's row, answered or given up."""
    conn.execute(delete(Action).where(Action.id == key, Action.hidden == 1))


def is_busy(conn: Connection, lane: int, *operations: str) -> bool:
    """Whether the server (by its key) or volume has open work (of these operations, where any are named)."""
    statement = select(Action.id).where(Action.lane == lane).limit(1)
    if operations:
        statement = statement.where(Action.operation.in_(operations))
    return conn.execute(statement).first() is not None


def has_next(conn: Connection, entry: Entry) -> bool:
    """Whether more work of the same server or volume waits behind this, which will end what shows now."""
    behind = (Action.lane == entry.lane, Action.id > entry.id, Action.operation != APPLY_NETWORK)
    statement = select(Action.id).where(*behind).limit(1)
    return conn.execute(statement).first() is not None
