# SPDX-License-Identifier: Apache-2.0
"""The task log of the usage audit: for each host and period, how many servers were on it.

`audit` is for a host's own compute service, now and then; it does nothing where the newest complete period is done.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.exc import IntegrityError

from computeapi import clock
from computeapi.db.models import Host, Server, TaskLog
from computeapi.db.queries import usage

TASK = "instance_usage_audit"
DONE, RUNNING = "DONE", "RUNNING"


class LogRow(NamedTuple):
    """One host's audit of a period."""

    host: str
    state: str
    task_items: int
    errors: int
    message: str


def period(setting: str, before: datetime | None = None) -> tuple[datetime, datetime]:
    """The newest period that was complete before a moment (default: now), by a setting like "month" or "day@18".

    An offset says where periods begin: minute of the hour, hour of the day, day of the month, month of the year.
    Raises ValueError or OverflowError where the calendar ends.
    """
    moment = before or datetime.now(UTC).replace(tzinfo=None)
    unit, _, text = setting.partition("@")
    offset = int(text) if text.isdigit() else 0
    end = _boundary(unit, offset, moment)
    if end >= moment:
        end = _previous(unit, end)
    return _previous(unit, end), end


def _boundary(unit: str, offset: int, moment: datetime) -> datetime:
    """Where periods change within the hour, day, month or year of a moment."""
    midnight = datetime(moment.year, moment.month, moment.day)
    if unit == "hour":
        return midnight + timedelta(hours=moment.hour, minutes=offset % 60)
    if unit == "day":
        return midnight + timedelta(hours=offset % 24)
    if unit == "year":
        return datetime(moment.year, min(max(offset, 1), 12), 1)
    return midnight.replace(day=min(max(offset, 1), 28))


def _previous(unit: str, boundary: datetime) -> datetime:
    if unit in ("hour", "day"):
        return boundary - timedelta(**{unit + "s": 1})
    if unit == "year" or boundary.month == 1:
        return boundary.replace(year=boundary.year - 1, month=boundary.month if unit == "year" else 12)
    return boundary.replace(month=boundary.month - 1)


def logs(conn: Connection, begin: str, end: str) -> Sequence[LogRow]:
    """The logs of a period, by host."""
    statement = (
        select(TaskLog.host, TaskLog.state, TaskLog.task_items, TaskLog.errors, TaskLog.message)
        .where(TaskLog.task_name == TASK, TaskLog.period_beginning == begin, TaskLog.period_ending == end)
        .order_by(TaskLog.host)
    )
    return [LogRow._make(row) for row in conn.execute(statement)]


def hosts(conn: Connection) -> list[str]:
    """All compute hosts: who is expected to audit."""
    return list(conn.execute(select(Host.name).order_by(Host.name)).scalars())


def is_done(conn: Connection, host: str, setting: str) -> bool:
    """Whether a host has audited the newest complete period."""
    begin, end = (clock.text(moment) for moment in period(setting))
    mine = {"task_name": TASK, "host": host, "period_beginning": begin, "period_ending": end}
    return conn.execute(select(TaskLog.id).filter_by(**mine)).first() is not None


def audit(conn: Connection, host: str, setting: str) -> bool:
    """Count a host's servers of the newest complete period, and log it; False where that was done before."""
    if is_done(conn, host, setting):
        return False
    begin, end = (clock.text(moment) for moment in period(setting))
    mine = {"task_name": TASK, "host": host, "period_beginning": begin, "period_ending": end}
    there = select(func.count()).select_from(Server).where(Server.host == host, usage.there_in(begin, end))
    count = conn.execute(there).scalar() or 0
    message = f"Instance usage audit ran for host {host}, {count} instances."
    try:
        with conn.begin_nested():
            conn.execute(insert(TaskLog).values(**mine, state=DONE, task_items=count, message=message))
    except IntegrityError:
        return False
    return True
