# SPDX-License-Identifier: Apache-2.0
"""The schema's version: bringing a database up to it, and making the next one (Alembic, migrations/)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from computeapi import errors
from computeapi.db.engine import Database
from computeapi.db.models import Base

_ROOT = Path(__file__).resolve().parents[2]


def _config(conn: Connection | None = None) -> Config:
    config = Config(_ROOT / "alembic.ini")
    if conn is not None:
        config.attributes["connection"] = conn
    return config


def current(db: Database) -> str | None:
    """The revision that the database has; None for an empty one."""
    with db.read() as conn:
        return revision_of(conn)


def revision_of(conn: Connection) -> str | None:
    """The same, of an open connection."""
    return MigrationContext.configure(conn).get_current_revision()


def newest() -> str | None:
    """The revision that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head()


def advice(have: str | None) -> str:
    """What to do about a database at this revision, which is not the newest."""
    if have is None or have < str(newest()):  # they are numbered
        return "Back it up, then: computeapi db upgrade"
    return "A newer release made it: run that, or restore a backup of before."


def upgrade(db: Database) -> bool:
    """Bring the database up to this code's revision; True if there was something to do. Several may try at once.

    Raises Conflict where a newer release made it.
    """
    have = current(db)
    if have == newest():
        return False
    try:
        with db.write() as conn:
            db.lock(conn, "schema")
            command.upgrade(_config(conn), "head")
    except CommandError as error:  # it does not know the revision
        raise errors.Conflict(
            f"The database is at revision {have}, this code needs {newest()}. {advice(have)}"
        ) from error
    return True


def revision(db: Database, message: str) -> None:
    """Write a new migration for what the models have and the database has not."""
    number = len(list(ScriptDirectory.from_config(_config()).walk_revisions())) + 1
    with db.write() as conn:
        command.revision(_config(conn), message, autogenerate=True, rev_id=f"{number:04d}")


def create(db: Database) -> None:
    """All tables of an empty database at once, as the newest revision has them (tests, benchmarks)."""
    with db.write() as conn:
        Base.metadata.create_all(conn)
        command.stamp(_config(conn), "head")
