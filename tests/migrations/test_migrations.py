# SPDX-License-Identifier: Apache-2.0
"""The migrations make exactly what the models say, on each engine, forth and back, whoever runs them at once."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text

from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.db.models import Base
from tools.bench import postgresql


@pytest.fixture(scope="session")
def cluster() -> Iterator[str]:
    """The URL of a PostgreSQL of our own."""
    if postgresql.programs() is None:
        pytest.skip("PostgreSQL is not installed")
    # Not below pytest's directory: that is closed to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="computeapi-") as name:
        Path(name).chmod(0o755)
        with postgresql.cluster(Path(name, "pg")) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database with nothing in it."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        url = request.getfixturevalue("cluster")
        maker = create_engine(url.replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT")
        with maker.connect() as conn:
            conn.execute(text("DROP DATABASE IF EXISTS empty WITH (FORCE)"))
            conn.execute(text("CREATE DATABASE empty"))
        maker.dispose()
        url = url.replace("/postgres?", "/empty?")
    database = Database(url)
    yield database
    database.close()


def differences(database: Database) -> list[Any]:
    """What the database has otherwise than the models."""
    with database.read() as conn:
        context = MigrationContext.configure(conn, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


def indexes(database: Database) -> dict[str, set[Any]]:
    """Every index, unique constraint and foreign key, by table."""
    found: dict[str, set[Any]] = {}
    with database.read() as conn:
        inspector = inspect(conn)
        for table in inspector.get_table_names():
            if table == "alembic_version":
                continue
            names: set[Any] = {
                (index["name"], tuple(index["column_names"]), bool(index["unique"]))
                for index in inspector.get_indexes(table)
                if not index.get("duplicates_constraint")
            }
            names |= {
                (unique["name"], tuple(unique["column_names"])) for unique in inspector.get_unique_constraints(table)
            }
            names |= {
                (tuple(key["constrained_columns"]), key["referred_table"], tuple(sorted(key["options"].items())))
                for key in inspector.get_foreign_keys(table)
            }
            found[table] = names
    return found


def migrate(database: Database, revision: str) -> None:
    """To that revision, up or down."""
    with database.write() as conn:
        config = schema._config(conn)
        have = schema.current(database)
        step = command.downgrade if revision == "base" or (have and have > revision) else command.upgrade
        step(config, revision)


def revisions() -> list[str]:
    """All of them, the oldest first."""
    walk = ScriptDirectory.from_config(schema._config()).walk_revisions()
    return [script.revision for script in reversed(list(walk))]


def test_upgrade_makes_what_the_models_say(empty: Database) -> None:
    assert schema.upgrade(empty)
    assert differences(empty) == []
    assert schema.current(empty) == schema.newest()
    assert not schema.upgrade(empty)


def test_indexes_are_those_of_the_models(empty: Database, tmp_path: Path) -> None:
    """Alembic's own comparison leaves out much of constraints on SQLite."""
    schema.upgrade(empty)
    made = Database(f"sqlite:///{tmp_path / 'models.db'}") if empty.is_sqlite else None
    if made is None:
        with empty.write() as conn:
            conn.execute(text("CREATE SCHEMA models"))
            conn.execute(text("SET search_path TO models"))
            Base.metadata.create_all(conn)
        made = Database(empty.url + "&options=-csearch_path%3Dmodels")
    else:
        Base.metadata.create_all(made.engine)
    wanted = indexes(made)
    made.close()
    assert indexes(empty) == wanted


def test_down_and_up_again(empty: Database) -> None:
    """Step by step down to nothing, and up to the same."""
    schema.upgrade(empty)
    before = indexes(empty)
    for revision in [*reversed(revisions()[:-1]), "base"]:
        migrate(empty, revision)
    with empty.read() as conn:
        assert set(inspect(conn).get_table_names()) <= {"alembic_version"}
    for revision in revisions():
        migrate(empty, revision)
    assert indexes(empty) == before
    assert differences(empty) == []


def test_many_at_once(empty: Database) -> None:
    """Every process upgrades when it starts: one does it, the others find it done."""
    ends: list[BaseException | bool] = []
    start = threading.Barrier(4)

    def upgrade() -> None:
        database = Database(empty.url)
        try:
            start.wait()
            ends.append(schema.upgrade(database))
        except BaseException as error:
            ends.append(error)
        finally:
            database.close()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [end for end in ends if not isinstance(end, bool)] == []
    assert differences(empty) == []


def test_one_line_of_revisions() -> None:
    """Numbered without a gap, one head, and each says how to go back."""
    numbers = revisions()
    assert numbers == [f"{number:04d}" for number in range(1, len(numbers) + 1)]
    assert ScriptDirectory.from_config(schema._config()).get_heads() == numbers[-1:]
