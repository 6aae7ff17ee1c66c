# SPDX-License-Identifier: Apache-2.0
"""Runs one claimed action to its end: steps, or undo, and the landing, each noted in the journal as it goes.

Killed anywhere, the same action is claimed again and goes on: steps that ended well are not run again, the one that
was under way is; an unwinding goes on unwinding. What can't go on now is left to be given back, and tried again
`max_attempts` times forward, then as often backward, and then lands in ERROR as it is: nothing is tried for ever.
"""

from __future__ import annotations

import logging
import time
from typing import Any, NamedTuple

from sqlalchemy import Connection

from computeapi import errors, journal, logs, scheduler
from computeapi.compute import subjects
from computeapi.compute.operation import Cancelled, Job, Operation, Step, Stopping, Tools, Work
from computeapi.compute.operations import HOST_QUESTIONS, OPERATIONS, QUESTIONS, VOLUME_OPERATIONS
from computeapi.db.engine import AWAY, why_away
from computeapi.db.queries import servers
from computeapi.virt.base import HypervisorBusy, HypervisorError, HypervisorGone, StorageBusy

LOG = logging.getLogger("computeapi.compute")

_UNDO_TRIES = 3
_UNDO_PAUSE = 1.0  # seconds
_DELETED = "Deleted meanwhile."
# What another try may find mended: the database, the image service or libvirt was away for a moment.
_PASSING = (*AWAY, errors.Unavailable, HypervisorGone, HypervisorBusy)


# How a run ended, beside the states in which the journal has what is done.
LEFT = "left"  # to be tried again
DROPPED = "dropped"  # it is another owner's now
HANDED_OVER = "handed_over"  # the next step is another host's


class Failed(Exception):
    """A step failed; the message is for the server's owner."""


class Left(NamedTuple):
    """Why a row was left open: its runner is done with it, and gives it back."""

    why: str | None = None
    counts: bool = True  # as an attempt


class _NotNow(Exception):
    """Nothing can be tried until the hypervisor is back."""


def run(tools: Tools, entry: journal.Entry) -> Left | None:
    """Run `entry` to its end; or say why it was left. Never raises."""
    with logs.subject(
        request_id=entry.request_id, user_id=entry.user_id, project_id=entry.project_id, server=entry.server_uuid
    ):
        begun = time.monotonic()
        left = _run_or_leave(tools, entry)
        seconds = time.monotonic() - begun
        result = LEFT if left is not None else entry.closed or DROPPED
        if not entry.hidden:
            LOG.info("%s %s in %.2f s", entry.operation, result, seconds)
        tools.ended(entry.operation, result, seconds)
        return left


def _run_or_leave(tools: Tools, entry: journal.Entry) -> Left | None:
    try:
        if entry.hidden:
            _answer(tools, entry)
        else:
            _run(tools, entry)
    except journal.Fenced:
        LOG.warning("action %s of %s is another owner's now", entry.id, entry.subject)
    except Stopping:
        return Left(counts=False)
    except _NotNow as error:
        return Left(str(error), counts=False)
    except Exception as error:
        known = isinstance(error, _PASSING)
        LOG.warning(
            "action %s of %s is left, to be tried again: %s",
            entry.id,
            entry.subject,
            error,
            exc_info=None if known else error,
        )
        return Left(_sentence(error), counts=not isinstance(error, StorageBusy))
    return None


def _run(tools: Tools, entry: journal.Entry) -> None:
    limit = tools.settings.max_attempts
    operation: Operation[Any] | None = OPERATIONS.get(entry.operation)
    if entry.volume_key is not None:
        operation = VOLUME_OPERATIONS.get(entry.operation)
    if operation is None:
        _give_up(tools, entry, f"There is no operation {entry.operation} any more.")
        return
    if entry.attempt >= 2 * limit:
        _give_up(tools, entry, entry.message or "The compute service ended each time it tried to undo this.")
        return
    work = subjects.of(entry).load(tools, entry, operation)
    if work is None:  # its delete stands behind this
        with tools.db.write() as conn:
            journal.close(conn, entry, error=_DELETED, cancelled=True)
        return
    if isinstance(work, Work) and _is_elsewhere(work):
        _hand_over(work, str(work.server.host))
        return
    if not entry.unwinding:
        if not entry.readable:
            _start_unwinding(work, "What came with the request can't be read: the key of the journal has changed.")
        elif entry.attempt >= limit:
            why = entry.message or "the compute service ended each time"
            _start_unwinding(work, f"Gave up after {entry.attempt} attempts: {why}")
    try:
        if not entry.unwinding:
            _forward(work, operation)
            return
    except Failed:
        pass
    _unwind(work, operation)


def _is_elsewhere(work: Work) -> bool:
    """Whether the server went to another host after this was asked of it: the work before this moved it."""
    home = None if work.server.deleted or work.entry.hosts or work.entry.aside else work.server.host
    return home not in (None, work.tools.host)


# --- forward ---


def _forward(work: Job, operation: Operation[Any]) -> None:
    entry, tools = work.entry, work.tools
    last: int | None = None
    for step in operation.steps:
        if step.name in entry.done:
            continue
        work.pause(0)
        if (place := _place(work, step)) != tools.host:
            _go_on_at(work, place)
            return
        with tools.db.write() as conn:
            cancelled = journal.hold(conn, entry)
            if cancelled:
                journal.close(conn, entry, error=_DELETED, cancelled=True)
            else:
                seq = journal.begin_step(conn, entry, step.name, tools.host)
        if cancelled:
            return
        entry.begun.append(step.name)
        if not _do(work, step, seq):
            return
        if step is not operation.steps[-1]:
            with tools.db.write() as conn:
                journal.hold(conn, entry)
                journal.end_step(conn, entry, seq)
            entry.done.add(step.name)
        else:
            last = seq
    _land(work, operation, last)


def _place(work: Job, step: Step[Any]) -> str:
    return work.entry.hosts.get(step.at, work.tools.host)


def _go_on_at(work: Job, host: str) -> None:
    """The next step is another host's. Raises Failed where that is down."""
    if _is_down(work.tools, host):
        _start_unwinding(work, f"Compute host {host} is down.")
        raise Failed
    _hand_over(work, host)


def _hand_over(work: Job, host: str) -> None:
    entry, tools = work.entry, work.tools
    with tools.db.write() as conn:
        if journal.hold(conn, entry):
            journal.close(conn, entry, error=_DELETED, cancelled=True)
        else:
            journal.hand_over(conn, entry, host)
            entry.closed = HANDED_OVER


def _is_down(tools: Tools, host: str) -> bool:
    with tools.db.read() as conn:
        return not scheduler.is_alive(conn, tools.settings, host)


def _do(work: Job, step: Step[Any], seq: int) -> bool:
    """Run a step; False where delete cut it short. Raises Failed when it failed."""
    try:
        step.do(work)
    except Cancelled:
        with work.tools.db.write() as conn:
            journal.end_step(conn, work.entry, seq, error=_DELETED)
            journal.close(conn, work.entry, error=_DELETED, cancelled=True)
        return False
    except (journal.Fenced, Stopping):
        raise
    except HypervisorGone as error:
        if (
            isinstance(work, Work) and work.server.deleted
        ):  # no user waits; what is left here goes when the hypervisor is back
            raise _NotNow(str(error)) from error
        raise
    except _PASSING:
        raise
    except Exception as error:
        _log_failure(work, step, error)
        _start_unwinding(work, _sentence(error), seq)
        raise Failed from error
    return True


def _land(work: Job, operation: Operation[Any], seq: int | None) -> None:
    """The last step's end (the event `seq`), the landing state and the row's end are one transaction."""
    with work.tools.db.write() as conn:
        if work.entry.hosts and _is_overtaken(conn, work):
            if seq is not None:
                journal.end_step(conn, work.entry, seq)
            journal.close(conn, work.entry, error=_DELETED, cancelled=True)
            return
        _settle(conn, work.entry, subjects.of(work.entry).landed(work))
        if operation.finished:
            operation.finished(conn, work)
        if seq is not None:
            journal.end_step(conn, work.entry, seq)


def _is_overtaken(conn: Connection, work: Job) -> bool:
    """Whether a delete waits that was sent to where the server lived when it was asked for: it shall live there still.

    It cleans up on both hosts.
    """
    subjects.of(work.entry).lock(conn, work.entry)
    return journal.hold(conn, work.entry) and not work.entry.aside


def _settle(conn: Connection, entry: journal.Entry, values: dict[str, Any], error: str | None = None) -> None:
    """Close the row and bring its subject to where it lands."""
    subject = subjects.of(entry)
    subject.lock(conn, entry)
    journal.close(conn, entry, error=error)
    subject.write(conn, entry, values)


# --- backward ---


def _start_unwinding(work: Job, message: str, seq: int | None = None) -> None:
    with work.tools.db.write() as conn:
        journal.hold(conn, work.entry, unwinding=1, message=message)
        if seq is not None:
            journal.end_step(conn, work.entry, seq, error=message)
    work.entry.unwinding, work.entry.message = True, message


def _unwind(work: Job, operation: Operation[Any]) -> None:
    """Undo what was begun, last first; then land where the row says that failures land."""
    entry, tools = work.entry, work.tools
    clean = True
    for step in reversed(operation.steps):
        if step.undo is None or step.name not in entry.begun or step.name in entry.undone:
            continue
        work.pause(0)
        if (place := _place(work, step)) != tools.host:
            if step.name in entry.stuck:  # tried there, in vain
                clean = False
            elif _is_down(tools, place):
                work.lost.add(place)
            else:
                with tools.db.write() as conn:
                    journal.hand_over(conn, entry, place)
                    entry.closed = HANDED_OVER
                return
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
        message = entry.message or "Failed."
        _settle(conn, entry, subjects.of(entry).failed(tools, entry, message), error=message)
        if operation.failed and clean:
            operation.failed(conn, work)


def _undo(work: Job, step: Step[Any]) -> str | None:
    """None when undone. What can't be undone stays with the server, and its delete removes it."""
    assert step.undo is not None
    for left in reversed(range(_UNDO_TRIES)):
        try:
            step.undo(work)
        except (journal.Fenced, Stopping):
            raise
        except HypervisorGone as error:
            subjects.of(work.entry).show(work, work.entry.message or "Failed.")
            raise _NotNow(str(error)) from error
        except _PASSING:
            raise
        except Exception as error:
            if not left:
                LOG.exception("undo of %s for %s failed", step.name, work.entry.subject)
                return _sentence(error)
            work.pause(_UNDO_PAUSE)
        else:
            return None
    return None


def _give_up(tools: Tools, entry: journal.Entry, message: str) -> None:
    """Land without a step; what is on the host stays with its subject, and its delete removes it."""
    LOG.error("action %s of %s is given up: %s", entry.id, entry.subject, message)
    with tools.db.write() as conn:
        _settle(conn, entry, subjects.of(entry).given_up(tools, entry, message), error=message)


# --- questions ---


def _answer(tools: Tools, entry: journal.Entry) -> None:
    """Answer a question of the API's; a refusal is the answer's error."""
    error: str | None = None
    result: Any = None
    try:
        result = _find_answer(tools, entry)
    except Exception as caught:
        LOG.info("question %s about %s: %s", entry.operation, entry.server_uuid, caught)
        error = f"{type(caught).__name__}: {_sentence(caught)}"
    with tools.db.write() as conn:
        journal.close(conn, entry, error=error, result=result)


def _find_answer(tools: Tools, entry: journal.Entry) -> Any:
    if entry.operation in HOST_QUESTIONS:
        return HOST_QUESTIONS[entry.operation](tools, entry.payload)
    with tools.db.read() as conn:
        server = servers.get_by_key(conn, entry.server_id or 0)
    if server is None or server.deleted:
        raise HypervisorError("The server is gone.")
    return QUESTIONS[entry.operation](Work(tools, entry, server))


def _sentence(error: Exception) -> str:
    if isinstance(error, errors.Error | HypervisorError):
        return str(error)
    if isinstance(error, AWAY):
        return f"{why_away(error)}."
    return f"Unexpected error: {type(error).__name__}"


def _log_failure(work: Job, step: Step[Any], error: Exception) -> None:
    known = isinstance(error, errors.Error | HypervisorError)
    LOG.warning(
        "%s of %s failed at %s: %s",
        work.entry.operation,
        work.entry.subject,
        step.name,
        error,
        exc_info=None if known else error,
    )
