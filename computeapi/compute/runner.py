# SPDX-License-Identifier: Apache-2.0
"""Runs one claimed action to its end: steps, or undo, and the landing, each noted in the journal as it goes.

Killed anywhere, the same action is claimed again and goes on: steps that ended well are not run again, the one that
was under way is; an unwinding goes on unwinding.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from sqlalchemy import update

from computeapi import clock, errors, journal, lifecycle
from computeapi.compute.operation import Cancelled, Operation, Step, Tools, Work
from computeapi.compute.operations import OPERATIONS, QUESTIONS
from computeapi.db.models import Server
from computeapi.db.queries import servers
from computeapi.virt.base import HypervisorError

LOG = logging.getLogger("computeapi.compute")

_UNDO_TRIES = 3
_UNDO_PAUSE = 1.0  # seconds


class Failed(Exception):
    """A step failed; the message is for the server's owner."""


def run(tools: Tools, entry: journal.Entry) -> None:
    """Run `entry` to its end. Never raises, but for Fenced-like loss of the row, which is only logged."""
    try:
        if entry.hidden:
            _answer(tools, entry)
        else:
            _run(tools, entry)
    except journal.Fenced:
        LOG.warning("action %s of %s is another owner's now", entry.id, entry.server_uuid)
    except Exception:  # the database is away, or we have a bug: the row stays ours and is taken up at the next start
        LOG.exception("action %s of %s was left", entry.id, entry.server_uuid)
        _give_back(tools, entry)


def _give_back(tools: Tools, entry: journal.Entry) -> None:
    time.sleep(_UNDO_PAUSE)
    try:
        with tools.db.write() as conn:
            journal.requeue(conn, entry)
    except Exception:
        LOG.exception("action %s could not be given back; it will be taken up at the next start", entry.id)


def _run(tools: Tools, entry: journal.Entry) -> None:
    with tools.db.read() as conn:
        server = servers.get_by_key(conn, entry.server_id or 0)
    operation = OPERATIONS.get(entry.operation)
    if server is None or operation is None:
        with tools.db.write() as conn:
            journal.close(conn, entry, error=f"There is no server or no operation {entry.operation} any more.")
        return
    work = Work(tools, entry, server)
    if server.deleted and not operation.runs_on_deleted:
        _clear_deleted(work)
        return
    if entry.attempt >= tools.settings.max_attempts and not entry.unwinding:
        _start_unwinding(work, "The compute service died each time it tried this; giving up.", None)
    try:
        if not entry.unwinding:
            _forward(work, operation)
            return
    except Cancelled:
        with tools.db.write() as conn:
            journal.close(conn, entry, error="Deleted meanwhile.")
        return
    except Failed:
        pass
    _unwind(work, operation)


def _clear_deleted(work: Work) -> None:
    """The server was deleted while its host was down: leave nothing of it here."""
    for step in OPERATIONS["delete"].steps:
        step.do(work)
    with work.tools.db.write() as conn:
        journal.close(conn, work.entry, error="Deleted meanwhile.")


def _forward(work: Work, operation: Operation) -> None:
    entry, tools = work.entry, work.tools
    for step in operation.steps:
        if step.name in entry.done:
            continue
        with tools.db.write() as conn:
            if journal.hold(conn, entry):
                raise Cancelled
            seq = journal.begin_step(conn, entry, step.name, tools.host)
        entry.begun.append(step.name)
        try:
            step.do(work)
        except (Cancelled, journal.Fenced):
            raise
        except Exception as error:
            _log_failure(work, step, error)
            _start_unwinding(work, _sentence(error), seq)
            raise Failed from error
        _end_step(work, step, seq, last=step is operation.steps[-1], operation=operation)


def _end_step(work: Work, step: Step, seq: int, *, last: bool, operation: Operation) -> None:
    with work.tools.db.write() as conn:
        if last:
            journal.end_step(conn, work.entry, seq)
            _land(conn, work, operation)
        else:
            journal.hold(conn, work.entry)
            journal.end_step(conn, work.entry, seq)
    work.entry.done.add(step.name)


def _land(conn: Any, work: Work, operation: Operation) -> None:
    """The last step's end, the landing state and the row's end are one transaction."""
    journal.close(conn, work.entry)
    values = {
        "vm_state": work.entry.lands["ok"],
        "task_state": None,
        "fault_json": None,
        "updated_at": clock.now(),
        **work.landing,
    }
    conn.execute(update(Server).where(Server.id == work.server.id, Server.deleted == 0).values(**values))
    if operation.finished:
        operation.finished(conn, work)


def _start_unwinding(work: Work, message: str, seq: int | None) -> None:
    with work.tools.db.write() as conn:
        journal.hold(conn, work.entry, unwinding=1, message=message)
        if seq is not None:
            journal.end_step(conn, work.entry, seq, error=message)
    work.entry.unwinding, work.entry.message = True, message


def _unwind(work: Work, operation: Operation) -> None:
    """Undo what was begun, last first; then land where the row says that failures land."""
    entry, tools = work.entry, work.tools
    clean = True
    for step in reversed(operation.steps):
        if step.undo is None or step.name not in entry.begun or step.name in entry.undone:
            continue
        with tools.db.write() as conn:
            journal.hold(conn, entry)
            seq = journal.begin_step(conn, entry, step.name, tools.host, undo=True)
        error = _undo(work, step)
        clean = clean and error is None
        with tools.db.write() as conn:
            journal.hold(conn, entry)
            journal.end_step(conn, entry, seq, error=error)
    with tools.db.write() as conn:
        _land_failed(conn, work, operation, clean)


def _undo(work: Work, step: Step) -> str | None:
    """None when undone. What can't be undone now (libvirt is down) stays with the server, and its delete removes it."""
    assert step.undo is not None
    for left in reversed(range(_UNDO_TRIES)):
        try:
            step.undo(work)
        except Exception as error:
            if not left:
                LOG.exception("undo of %s for %s failed", step.name, work.server.uuid)
                return _sentence(error)
            time.sleep(_UNDO_PAUSE)
        else:
            return None
    return None


def _land_failed(conn: Any, work: Work, operation: Operation, clean: bool) -> None:
    message = work.entry.message or "Failed."
    journal.close(conn, work.entry, error=message)
    vm_state = work.entry.lands["failed"]
    values: dict[str, Any] = {"vm_state": vm_state, "task_state": None, "updated_at": clock.now(), **work.landing}
    if vm_state == "error":
        values["fault_json"] = lifecycle.make_fault(
            500, message, f"{work.entry.operation} on {work.tools.host}: {message}"
        )
    conn.execute(update(Server).where(Server.id == work.server.id, Server.deleted == 0).values(**values))
    if operation.failed and clean:
        operation.failed(conn, work)


def _answer(tools: Tools, entry: journal.Entry) -> None:
    """Answer a question of the API's; a refusal is the answer's error."""
    error: str | None = None
    result: Any = None
    try:
        with tools.db.read() as conn:
            server = servers.get_by_key(conn, entry.server_id or 0)
        if server is None or server.deleted:
            raise HypervisorError("The server is gone.")
        result = QUESTIONS[entry.operation](Work(tools, entry, server))
    except Exception as caught:
        LOG.info("question %s about %s: %s", entry.operation, entry.server_uuid, caught)
        error = f"{type(caught).__name__}: {caught}"
    with tools.db.write() as conn:
        journal.close(conn, entry, error=error, result=result)


def _sentence(error: Exception) -> str:
    if isinstance(error, errors.Error | HypervisorError):
        return str(error)
    return f"Unexpected error: {type(error).__name__}"


def _log_failure(work: Work, step: Step, error: Exception) -> None:
    known = isinstance(error, errors.Error | HypervisorError)
    LOG.warning(
        "%s of %s failed at %s: %s",
        work.entry.operation,
        work.server.uuid,
        step.name,
        error,
        exc_info=None if known else error,
        extra={"request_id": work.entry.request_id, "server": work.server.uuid},
    )
