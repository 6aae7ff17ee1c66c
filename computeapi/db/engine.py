# SPDX-License-Identifier: Apache-2.0
"""The database: connections with the right kind of transaction, and the wake-up that goes with a commit.

SQLite: WAL; a write takes its lock at BEGIN (IMMEDIATE), since a deferred one that upgrades fails at once under
other writers, and the driver's default loses updates. A read alone needs no BEGIN.
"""

from __future__ import annotations

import select
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DisconnectionError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection

from computeapi import errors

# What is raised while the database is away, or can't write: it may be mended when tried again.
AWAY = (OperationalError, InterfaceError, NoConnection)
# A database that is away is said so in time, not after the system's two minutes; and one that vanished (power, network)
# in the midst of a query is noticed in half a minute, not in hours.
_CONNECTING = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_DISK_FULL = "53100"  # PostgreSQL
_COLLISIONS = ("40P01", "40001")  # PostgreSQL: deadlock detected, could not serialize
_BUSY = "The database is busy; try again."
_HERE = threading.local()
_WOKEN = "woken"
_NOTIFY = text("SELECT pg_notify('computeapi', host) FROM unnest(CAST(:hosts AS text[])) AS host")


def why_away(error: Exception) -> str:
    """One of AWAY, in words for clients."""
    told = getattr(error, "orig", None)
    if getattr(told, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL or getattr(told, "sqlstate", None) == _DISK_FULL:
        return "The database can't write, since its disk is full"
    return "The database does not answer"


class Database:
    """One a process, made after fork. Use `read()`, `snapshot()` or `write()` as a context."""

    def __init__(self, url: str, synchronous: str = "NORMAL", pool_size: int = 8) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self.is_postgresql = url.startswith("postgresql")
        self.engine = _sqlite(url, synchronous, pool_size) if self.is_sqlite else _server(url, pool_size)
        self._reader = self._snapshot = self.engine
        if not self.is_sqlite:
            self._reader = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self._snapshot = self.engine.execution_options(isolation_level="REPEATABLE READ")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """For one SELECT (or several that need no common view)."""
        with self._reader.connect() as conn:
            yield conn

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For several SELECTs that must see the same moment."""
        with self._snapshot.connect() as conn:
            self._begin(conn, "DEFERRED")
            yield conn

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction: committed at the end, rolled back on any exception.

        Raises Collision where it stood in another's way, Unavailable where SQLite's others never ended.
        """
        try:
            with self.engine.begin() as conn:
                self._begin(conn, "IMMEDIATE")
                try:
                    yield conn
                finally:
                    hosts = conn.info.pop(_WOKEN, None)
                if hosts and self.is_postgresql:
                    conn.execute(_NOTIFY, {"hosts": sorted(hosts)})
        except OperationalError as error:
            if self.is_sqlite and "locked" in str(error.orig):
                raise errors.Unavailable(_BUSY, headers={"Retry-After": "1"}) from error
            if getattr(error.orig, "sqlstate", None) in _COLLISIONS:
                raise errors.Collision(_BUSY, headers={"Retry-After": "1"}) from error
            raise
        _HERE.commits = self.commits + 1

    @property
    def commits(self) -> int:
        """How many transactions this thread has committed in its life: the same where nothing was written meanwhile."""
        return int(getattr(_HERE, "commits", 0))

    def _begin(self, conn: Connection, mode: str) -> None:
        """SQLite's driver is told not to. (A listener to SQLAlchemy's "begin" would make every statement dearer.)"""
        if self.is_sqlite:
            conn.exec_driver_sql("BEGIN " + mode)

    def lock(self, conn: Connection, name: str) -> None:
        """Serialize with all who lock `name` until this transaction ends. On SQLite a writer is alone anyway."""
        if self.is_postgresql:
            conn.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})

    def close(self) -> None:
        """Let go of all connections."""
        self.engine.dispose()


def wake(conn: Connection, *hosts: str) -> None:
    """Wake the compute services of these hosts when the `Database.write()` commits. SQLite's see the commit itself."""
    conn.info.setdefault(_WOKEN, set()).update(hosts)


def _sqlite(url: str, synchronous: str, pool_size: int) -> Engine:
    path = url.removeprefix("sqlite:///")
    if path and ":memory:" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).touch(mode=0o600)  # it holds password hashes and user data; SQLite gives its side files the same
    engine = create_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": 30, "isolation_level": None, "check_same_thread": False},
        pool_size=pool_size,
        max_overflow=pool_size,
    )

    @event.listens_for(engine, "connect")
    def _pragmas(dbapi: Any, _record: Any) -> None:
        for pragma in (
            "journal_mode=WAL",
            f"synchronous={synchronous}",
            "busy_timeout=30000",
            "foreign_keys=ON",
            "cache_size=-32768",
        ):
            dbapi.execute("PRAGMA " + pragma)

    return engine


def _server(url: str, pool_size: int) -> Engine:
    if url.startswith("postgresql://"):
        url = "postgresql+psycopg://" + url.removeprefix("postgresql://")
    told = connecting(url)
    engine = create_engine(url, hide_parameters=True, pool_size=pool_size, max_overflow=pool_size, connect_args=told)

    @event.listens_for(engine, "checkout")
    def _still_connected(dbapi: Any, _record: Any, _proxy: Any) -> None:
        if _was_told_something(dbapi.fileno()):
            raise DisconnectionError  # the pool connects again

    return engine


def _was_told_something(socket: int) -> bool:
    """Whether a connection that nobody used has something to read: the server said goodbye.

    A ping (`pool_pre_ping`) tells no more, and is a question to the server before each that is meant.
    """
    poller = select.poll()
    poller.register(socket, select.POLLIN)
    return bool(poller.poll(0))


def connecting(url: str) -> dict[str, int]:
    """What a connection to PostgreSQL is told, unless the URL does."""
    return {name: value for name, value in _CONNECTING.items() if f"{name}=" not in url}
