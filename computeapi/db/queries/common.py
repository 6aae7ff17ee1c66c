# SPDX-License-Identifier: Apache-2.0
"""What statements of several nouns share.

Putting a statement together takes SQLAlchemy five times as long as running one that was put together before. So what
every request writes goes through `insert_row` and `update_row`, and what it reads is a constant of its module with
`bindparam`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, Table, Update, bindparam

from computeapi.db.models import Base


def insert_key(conn: Connection, statement: Any) -> int:
    """Run an INSERT of one row; its new integer key."""
    key = conn.execute(statement).inserted_primary_key
    return int(key[0])  # type: ignore[index]


def insert_row(conn: Connection, model: type[Base], row: Mapping[str, Any]) -> int:
    """Write a row; its new integer key."""
    key = conn.execute(_insert(model), dict(row)).inserted_primary_key
    return int(key[0])  # type: ignore[index]


def insert_rows(conn: Connection, model: type[Base], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows that have the same columns."""
    if len(rows) == 1:  # as a list of one it costs twice as much
        conn.execute(_insert(model), dict(rows[0]))
    else:
        conn.execute(_insert(model), [dict(row) for row in rows])


def update_row(conn: Connection, model: type[Base], key: int, columns: Mapping[str, Any]) -> None:
    """Set columns of the row with that integer key."""
    conn.execute(_update(model), {**columns, "row_key": key})


@cache
def _insert(model: type[Base]) -> Insert:
    return _table(model).insert()


@cache
def _update(model: type[Base]) -> Update:
    table = _table(model)
    return table.update().where(table.c.id == bindparam("row_key"))


def _table(model: type[Base]) -> Table:
    table = model.__table__
    assert isinstance(table, Table)
    return table
