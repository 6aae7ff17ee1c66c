# SPDX-License-Identifier: Apache-2.0
"""The journal's verbs: write work down, claim it, note each step, close it; and take up what a dead owner left.

A row is at once the API's action record and the work, so that neither exists without the other. Each server's rows (its
lane) are worked off one at a time, in the order of their keys. A row belongs to the compute service that claimed it, by
the `epoch` the service got when it started: a service that was replaced finds none of its writes accepted (Fenced).

Everything here takes a Connection: the caller decides what else belongs to the same transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from computeapi import clock
from computeapi.db.models import Action, ActionEvent
from computeapi.db.models.journal import CANCELLED, FAILED, FINISHED, PENDING, RUNNING
from computeapi.db.queries.common import insert_key
from computeapi.sealing import Seal


class Fenced(Exception):
    """Another owner has taken this host over: drop the work, it is theirs."""


@dataclass(slots=True)
class Entry:
    """A claimed row."""

    id: int
    server_id: int | None
    server_uuid: str | None
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


def enqueue(
    conn: Connection,
    seal: Seal,
    *,
    server_id: int,
    server_uuid: str,
    request_id: str,
    project_id: str | None,
    user_id: str | None,
    name: str,
    operation: str,
    host: str,
    payload: dict[str, Any] | None = None,
    lands: dict[str, Any] | None = None,
    hidden: bool = False,
    parent_id: int | None = None,
) -> int:
    """Write down work for `host`; the row's key. A hidden row is a question: no lane, not in the action log."""
    moment = clock.now()
    return insert_key(
        conn,
        insert(Action).values(
            server_id=server_id,
            server_uuid=server_uuid,
            request_id=request_id,
            project_id=project_id,
            user_id=user_id,
            name=name,
            operation=operation,
            hidden=int(hidden),
            state=PENDING,
            queue=host,
            lane=None if hidden else server_id,
            parent_id=parent_id,
            payload=seal.close(payload) if payload else None,
            lands_json=orjson.dumps(lands or {}).decode(),
            created_at=moment,
            updated_at=moment,
        ),
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
    """An action that needed no host: it is in the log, done (or failed, with `error`)."""
    moment = clock.now()
    return insert_key(
        conn,
        insert(Action).values(
            server_id=server_id,
            server_uuid=server_uuid,
            request_id=request_id,
            project_id=project_id,
            user_id=user_id,
            name=name,
            operation="",
            state=FAILED if error else FINISHED,
            message=error,
            created_at=moment,
            started_at=moment,
            updated_at=moment,
            finished_at=moment,
        ),
    )


_CLOSED: dict[str, Any] = {"queue": None, "lane": None, "running": None, "payload": None}


def overtake(conn: Connection, server_id: int) -> None:
    """Delete wins: pending work of this server is cancelled, running work asked to stop at its next step."""
    moment = clock.now()
    conn.execute(
        update(Action)
        .where(Action.lane == server_id, Action.state == PENDING)
        .values(state=CANCELLED, message="Deleted meanwhile.", finished_at=moment, updated_at=moment, **_CLOSED)
    )
    conn.execute(update(Action).where(Action.lane == server_id, Action.state == RUNNING).values(cancel=1))


_OPEN_BEFORE = Action.__table__.alias("before")
_CANDIDATES = (
    select(Action.id, Action.lane)
    .where(
        Action.state == PENDING,
        Action.lane.is_(None)
        | ~select(_OPEN_BEFORE.c.id).where(_OPEN_BEFORE.c.lane == Action.lane, _OPEN_BEFORE.c.id < Action.id).exists(),
    )
    .order_by(Action.id)
)
_ENTRY = select(
    Action.id,
    Action.server_id,
    Action.server_uuid,
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
)


def candidates(conn: Connection, host: str, limit: int) -> list[tuple[int, int | None]]:
    """(key, lane) of rows of `host` that may be claimed now: the first open one of each lane."""
    rows = conn.execute(_CANDIDATES.where(Action.queue == host).limit(limit))
    return [(row[0], row[1]) for row in rows]


def claim(conn: Connection, seal: Seal, key: int, lane: int | None, epoch: int) -> Entry | None:
    """Make a candidate ours; None if somebody else was quicker. One transaction a claim."""
    moment = clock.now()
    try:
        claimed = conn.execute(
            update(Action)
            .where(Action.id == key, Action.state == PENDING)
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
    row = conn.execute(_ENTRY.where(Action.id == key)).one()
    entry = Entry(
        *row[:8],
        hidden=bool(row[8]),
        epoch=row[9],
        attempt=row[10],
        unwinding=bool(row[11]),
        message=row[12],
        lands=orjson.loads(row[13]),
        payload=seal.open(row[14]),
    )
    _read_steps(conn, entry)
    return entry


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
        else:
            if name not in entry.begun:
                entry.begun.append(name)
            if result == "Success":
                entry.done.add(name)


def hold(conn: Connection, entry: Entry, **columns: Any) -> bool:
    """Say that the work is still ours; the row's `cancel`. Raises Fenced where it is not ours any more."""
    mine = conn.execute(
        update(Action)
        .where(Action.id == entry.id, Action.epoch == entry.epoch, Action.state == RUNNING)
        .values(updated_at=clock.now(), **columns)
    )
    if mine.rowcount != 1:
        raise Fenced(f"action {entry.id}")
    return bool(conn.execute(select(Action.cancel).where(Action.id == entry.id)).scalar_one())


def begin_step(conn: Connection, entry: Entry, name: str, host: str, *, undo: bool = False) -> int:
    """Note that a step begins; the event's number."""
    entry.events += 1
    conn.execute(
        insert(ActionEvent).values(
            action_id=entry.id, seq=entry.events, name=name, undo=int(undo), host=host, started_at=clock.now()
        )
    )
    return entry.events


def end_step(conn: Connection, entry: Entry, seq: int, error: str | None = None) -> None:
    """Note how a step ended."""
    conn.execute(
        update(ActionEvent)
        .where(ActionEvent.action_id == entry.id, ActionEvent.seq == seq)
        .values(finished_at=clock.now(), result="Error" if error else "Success", details=error)
    )


def close(conn: Connection, entry: Entry, error: str | None = None, result: Any = None) -> None:
    """The work is done, or failed with `error`: the lane is free, the secrets are gone. Raises Fenced."""
    moment = clock.now()
    closed = conn.execute(
        update(Action)
        .where(Action.id == entry.id, Action.epoch == entry.epoch, Action.state == RUNNING)
        .values(
            state=FAILED if error else FINISHED,
            message=error,
            result_json=None if result is None else orjson.dumps(result).decode(),
            finished_at=moment,
            updated_at=moment,
            **_CLOSED,
        )
    )
    if closed.rowcount != 1:
        raise Fenced(f"action {entry.id}")


def recover(conn: Connection, host: str) -> int:
    """A new owner of `host` puts back what older ones were at: it will be claimed again, in order. How many."""
    moment = clock.now()
    put_back = conn.execute(
        update(Action)
        .where(Action.queue == host, Action.state == RUNNING)
        .values(state=PENDING, running=None, attempt=Action.attempt + 1, updated_at=moment)
    )
    conn.execute(  # nobody waits for these answers any more
        delete(Action).where(Action.queue == host, Action.hidden == 1)
    )
    return int(put_back.rowcount)


def requeue(conn: Connection, entry: Entry) -> None:
    """Give claimed work back, to be taken up again (attempt + 1). Raises Fenced."""
    hold(conn, entry, state=PENDING, running=None, attempt=Action.attempt + 1)


# --- questions that only the host can answer ---


def answer(conn: Connection, key: int) -> tuple[str, Any, str | None] | None:
    """(state, result, error) of a question that has been answered; None while it is open."""
    row = conn.execute(select(Action.state, Action.result_json, Action.message).where(Action.id == key)).first()
    if row is None:
        return FAILED, None, "The compute service restarted."
    if row[0] in (PENDING, RUNNING):
        return None
    return row[0], orjson.loads(row[1]) if row[1] else None, row[2]


def forget(conn: Connection, key: int) -> None:
    """Remove a question's row, answered or given up."""
    conn.execute(delete(Action).where(Action.id == key, Action.hidden == 1))


def is_busy(conn: Connection, server_id: int) -> bool:
    """Whether the server has open work."""
    return conn.execute(select(Action.id).where(Action.lane == server_id).limit(1)).first() is not None
