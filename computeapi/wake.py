# SPDX-License-Identifier: Apache-2.0
"""Waiting for a commit of somebody else's: a hint that saves a poll, never the truth.

SQLite: `PRAGMA data_version` tells of other connections' commits for 8 µs a look. PostgreSQL: LISTEN. Anything else:
the sweep that the caller makes anyway.
"""

from __future__ import annotations

import os
import select
import sqlite3
import time
from contextlib import suppress
from typing import Any

from computeapi.db.engine import Database, connecting

_LOOK_SECONDS = 0.02
_SWEEP_SECONDS = 0.25


class Waker:
    """`wait()`, by one thread, returns early when something may have been written for `name`, or at `wake()`."""

    def __init__(self, db: Database, name: str) -> None:
        self._db, self._name = db, name
        self._sqlite: sqlite3.Connection | None = None
        self._seen = -1
        self._listener: Any = None
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)

    def wake(self) -> None:
        """End the wait, or the next one. From any thread, and from a signal handler."""
        with suppress(OSError):  # full: it is awake already; closed: nobody waits
            os.write(self._write_end, b"!")

    def wait(self, seconds: float) -> None:
        """Wait for a hint, `seconds` at most. Never raises: what goes wrong costs a hint."""
        try:
            if self._db.is_sqlite:
                self._wait_sqlite(seconds)
            elif self._db.is_postgresql:
                self._wait_postgresql(seconds)
            else:
                self._pause(min(seconds, _SWEEP_SECONDS))
        except (sqlite3.Error, OSError):
            self._forget_connection()
            self._pause(min(seconds, 1.0))

    def _pause(self, seconds: float, *files: int) -> bool:
        """Sleep; True if `wake()` ended it. Ends early, too, when one of `files` has something to read."""
        poller = select.poll()
        for file in (self._read_end, *files):
            poller.register(file, select.POLLIN)
        if self._read_end not in {file for file, _ in poller.poll(max(0.0, seconds) * 1000)}:
            return False
        with suppress(BlockingIOError):
            os.read(self._read_end, 4096)
        return True

    def _wait_sqlite(self, seconds: float) -> None:
        if self._sqlite is None:
            self._sqlite = sqlite3.connect(self._db.url.removeprefix("sqlite:///"), isolation_level=None)
        until = time.monotonic() + seconds
        while True:
            version = self._sqlite.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                self._seen = version
                return
            left = until - time.monotonic()
            if left <= 0 or self._pause(min(left, _LOOK_SECONDS)):
                return

    def _wait_postgresql(self, seconds: float) -> None:
        import psycopg

        until = time.monotonic() + seconds
        try:
            if self._listener is None:
                url = self._db.engine.url.set(drivername="postgresql")
                told = {name: str(value) for name, value in connecting(self._db.url).items()}
                text = url.update_query_dict(told).render_as_string(hide_password=False)
                self._listener = psycopg.connect(text, autocommit=True)
                self._listener.execute("LISTEN computeapi")
                return  # something may have been written before this
            while True:
                heard = [hint.payload for hint in self._listener.notifies(timeout=0)]
                left = until - time.monotonic()
                if self._name in heard or left <= 0 or self._pause(left, self._listener.fileno()):
                    return
        except psycopg.Error:  # the database is away; the next look connects again
            self._forget_connection()
            self._pause(min(max(0.0, until - time.monotonic()), 1.0))

    def _forget_connection(self) -> None:
        for connection in (self._sqlite, self._listener):
            if connection is not None:
                connection.close()
        self._sqlite = self._listener = None

    def close(self) -> None:
        """Let go of the connection. Not used any more after this."""
        self._forget_connection()
        for end in (self._read_end, self._write_end):
            self._read_end = self._write_end = -1  # before another file gets the number
            os.close(end)
