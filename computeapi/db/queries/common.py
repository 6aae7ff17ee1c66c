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

from sqlalchemy import Column, ColumnElement, Connection, Insert, Table, Update, bindparam, func

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


def never_null(model: type[Base], field: Any, least: int | str) -> Any:
    """A key to sort by: engines differ in where NULL stands. A column that can't be NULL stays one, for its index."""
    column = getattr(field, "expression", field)
    if isinstance(column, Column) and column.table is table_of(model) and not column.nullable:
        return field
    return func.coalesce(field, least)


def bound(order: Sequence[tuple[Any, bool]], values: Sequence[Any]) -> ColumnElement[bool]:
    """A condition that all rows behind the marker meet (its keys are `values`): where the index is read from."""
    first, descending = order[0]
    behind: ColumnElement[bool] = first <= values[0] if descending else first >= values[0]
    return behind


@cache
def _insert(model: type[Base]) -> Insert:
    return table_of(model).insert()


@cache
def _update(model: type[Base]) -> Update:
    table = table_of(model)
    return table.update().where(table.c.id == bindparam("row_key"))


def table_of(model: type[Base]) -> Table:
    """Its table: statements on columns of a table cost half of those on a class's."""
    table = model.__table__
    assert isinstance(table, Table)
    return table
