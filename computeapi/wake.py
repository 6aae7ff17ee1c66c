# SPDX-License-Identifier: Apache-2.0
"""Waiting for a commit of somebody else's: a hint that saves a poll, never the truth.

SQLite: `PRAGMA data_version` tells of other connections' commits for 8 µs a look. PostgreSQL: LISTEN. Anything else:
the sweep that the caller makes anyway.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from computeapi.db.engine import Database

_LOOK_SECONDS = 0.02


class Waker:
    """Used by one thread. `wait()` returns early when something may have been written."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._sqlite: sqlite3.Connection | None = None
        self._seen = -1
        self._listener: Any = None

    def wait(self, seconds: float) -> None:
        """Wait for a hint, `seconds` at most."""
        if self._db.is_sqlite:
            self._wait_sqlite(seconds)
        elif self._db.is_postgresql:
            self._wait_postgresql(seconds)
        else:
            time.sleep(min(seconds, 0.25))

    def _wait_sqlite(self, seconds: float) -> None:
        if self._sqlite is None:
            self._sqlite = sqlite3.connect(self._db.url.removeprefix("sqlite:///"), isolation_level=None)
        until = time.monotonic() + seconds
        while True:
            version = self._sqlite.execute("PRAGMA data_version").fetchone()[0]
            if version != self._seen:
                self._seen = version
                return
            if time.monotonic() >= until:
                return
            time.sleep(_LOOK_SECONDS)

    def _wait_postgresql(self, seconds: float) -> None:
        import psycopg

        try:
            if self._listener is None:
                url = self._db.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
                self._listener = psycopg.connect(url, autocommit=True)
                self._listener.execute("LISTEN computeapi")
                return
            for _ in self._listener.notifies(timeout=seconds, stop_after=1):
                return
        except psycopg.Error:  # the database is away; the next look connects again
            self.close()
            time.sleep(min(seconds, 1.0))

    def close(self) -> None:
        """Let go of the connection."""
        for connection in (self._sqlite, self._listener):
            if connection is not None:
                connection.close()
        self._sqlite = self._listener = None
