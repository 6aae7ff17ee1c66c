# SPDX-License-Identifier: Apache-2.0
"""Databases for tests: a SQLite file, or a database of a PostgreSQL server that only these tests have."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from abc import ABC, abstractmethod
from pathlib import Path

import psycopg
import pytest

from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.db.models import Base

_FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "wal_level=minimal", "max_wal_senders=0")
_QUIET = ("log_min_messages=fatal", "autovacuum=off", "max_connections=200", "listen_addresses=", "jit=off")
# What the test before left in a transaction; and connections that nobody uses any more, when they are many.
_END_WHAT_IS_IN_THE_WAY = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = 'tests' AND pid <> %s
AND (state <> 'idle' OR (SELECT count(*) FROM pg_stat_activity WHERE datname = 'tests') > 60)
"""


class Engine(ABC):
    """Gives each test an empty database that has all tables, quickly."""

    @abstractmethod
    def new(self, directory: Path) -> str:
        """The SQLAlchemy URL of an empty database with all tables; `directory` is the test's own."""

    @abstractmethod
    def close(self) -> None:
        """Nothing is needed any more."""


def create_tables(url: str) -> None:
    """Make all tables in an empty database."""
    database = Database(url)
    schema.create(database)
    database.close()


class Sqlite(Engine):
    """A file in the test's directory, copied from one made before."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="computeapi-sqlite-"))
        self._template = self._directory / "template.db"
        create_tables(f"sqlite:///{self._template}")  # closing the last connection empties the WAL into the file

    def new(self, directory: Path) -> str:
        shutil.copyfile(self._template, directory / "computeapi.db")
        return f"sqlite:///{directory / 'computeapi.db'}"

    def close(self) -> None:
        shutil.rmtree(self._directory)


class Postgresql(Engine):
    """A server of our own in a temporary directory, reached by a Unix socket; it dies with us.

    Skips the test that asks for it where PostgreSQL's programs are not installed.
    """

    def __init__(self) -> None:
        self._programs = _find_programs()
        self._directory = Path(tempfile.mkdtemp(prefix="computeapi-postgresql-"))
        self._as: list[str] = []
        if os.getuid() == 0:  # the server refuses to run as root
            user = pwd.getpwnam("postgres")
            os.chown(self._directory, user.pw_uid, user.pw_gid)
            self._as = [
                "setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig=QUIT"
            ]  # fmt: skip
        data = str(self._directory / "data")
        initdb = ["-D", data, "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C", "--no-instructions"]
        self._run("initdb", *initdb)
        options = [f"-c{option}" for option in (*_FAST, *_QUIET)]
        self._server = subprocess.Popen(
            [*self._as, str(self._programs / "postgres"), "-D", data, "-k", str(self._directory), *options],
            cwd="/",
        )
        self._wait_until_it_answers()
        create_tables(self._url("tests"))
        tables = [f'"{name}"' for name in Base.metadata.tables]
        self._used = " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (SELECT 1 FROM {name})" for name in tables)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")

    def _wait_until_it_answers(self) -> None:
        until = time.monotonic() + 30
        while True:
            try:
                with psycopg.connect(f"host={self._directory} user=postgres dbname=postgres", autocommit=True) as conn:
                    conn.execute("CREATE DATABASE tests")
                return
            except psycopg.OperationalError:
                if time.monotonic() > until or self._server.poll() is not None:
                    raise
                time.sleep(0.05)

    def _url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self._directory}"

    def new(self, directory: Path) -> str:
        """The same database each time, emptied: a new one, copied from a template, takes several times as long."""
        with psycopg.connect(f"host={self._directory} user=postgres dbname=tests", autocommit=True) as conn:
            conn.execute(_END_WHAT_IS_IN_THE_WAY, [conn.info.backend_pid])
            used = [row[0] for row in conn.execute(self._used)]
            if used:
                conn.execute(f"TRUNCATE {', '.join(used)} RESTART IDENTITY CASCADE")
        return self._url("tests")

    def close(self) -> None:
        self._server.send_signal(signal.SIGINT)  # "fast": it does not wait for clients
        self._server.wait()
        shutil.rmtree(self._directory)


def _find_programs() -> Path:
    for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
