# SPDX-License-Identifier: Apache-2.0
"""Unified limits: a registered default for a service's resource, and projects' and domains' own in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from computeapi import errors
from computeapi.db.models import Limit, RegisteredLimit
from computeapi.db.queries.identity.accounts import Row, new_id

Statement = Select[*tuple[Any, ...]]

# What an API filter asks for → the column.
FILTERS: dict[str, Any] = {
    "service_id": RegisteredLimit.service_id,
    "region_id": RegisteredLimit.region_id,
    "resource_name": RegisteredLimit.resource_name,
    "project_id": Limit.project_id,
    "domain_id": Limit.domain_id,
}

_REGISTERED = (
    RegisteredLimit.id,
    RegisteredLimit.service_id,
    RegisteredLimit.region_id,
    RegisteredLimit.resource_name,
    RegisteredLimit.default_limit,
    RegisteredLimit.description,
)
_LIMITS = (
    Limit.id,
    Limit.project_id,
    Limit.domain_id,
    RegisteredLimit.service_id,
    RegisteredLimit.region_id,
    RegisteredLimit.resource_name,
    Limit.resource_limit,
    Limit.description,
)


def registered(conn: Connection, wanted: Mapping[str, Any]) -> list[Row]:
    """Registered limits, by some of FILTERS, or `id`."""
    statement: Statement = select(*_REGISTERED).order_by(RegisteredLimit.id)
    return _rows(conn, statement, wanted, RegisteredLimit.id)


def listed(conn: Connection, wanted: Mapping[str, Any]) -> list[Row]:
    """Limits of projects and domains, by some of FILTERS, or `id`."""
    statement: Statement = (
        select(*_LIMITS).join(RegisteredLimit, RegisteredLimit.id == Limit.registered_limit_id).order_by(Limit.id)
    )
    return _rows(conn, statement, wanted, Limit.id)


def _rows(conn: Connection, statement: Statement, wanted: Mapping[str, Any], key: Any) -> list[Row]:
    for name, value in wanted.items():
        statement = statement.where((key if name == "id" else FILTERS[name]) == value)
    return [dict(row) for row in conn.execute(statement).mappings()]


def register(conn: Connection, rows: list[Row]) -> list[Row]:
    """New registered limits. Raises Conflict where there is one for that resource of that service and region."""
    taken = {_place(row) for row in registered(conn, {})}
    made = []
    for row in rows:
        if _place(row) in taken:
            raise errors.Conflict(f"There is a registered limit for {row['resource_name']} already.")
        taken.add(_place(row))
        made.append({"id": new_id(), **row})
    conn.execute(insert(RegisteredLimit), made)
    return made


def change_registered(conn: Connection, key: str, values: Mapping[str, Any]) -> Row:
    """A registered limit changed. Raises NotFound, Conflict; Forbidden for more than the number while limits use it."""
    before = one(registered(conn, {"id": key}), "registered limit", key)
    after = {**before, **values}
    if _place(after) != _place(before):
        _check_unused(conn, key)
        if any(_place(row) == _place(after) for row in registered(conn, {})):
            raise errors.Conflict(f"There is a registered limit for {after['resource_name']} already.")
    if values:
        conn.execute(update(RegisteredLimit).where(RegisteredLimit.id == key).values(**values))
    return after


def delete_registered(conn: Connection, key: str) -> None:
    """Delete a registered limit. Raises NotFound; Forbidden while limits use it."""
    one(registered(conn, {"id": key}), "registered limit", key)
    _check_unused(conn, key)
    conn.execute(delete(RegisteredLimit).where(RegisteredLimit.id == key))


def create(conn: Connection, rows: list[Row]) -> list[Row]:
    """New limits, each in place of a registered one. Raises Forbidden without one, Conflict for a second one."""
    known = {_place(row): row["id"] for row in registered(conn, {})}
    made = []
    for row in rows:
        base = known.get(_place(row))
        if base is None:
            raise errors.Forbidden(
                f"There is no registered limit for {row['resource_name']} in that service and region."
            )
        columns = ("project_id", "domain_id", "resource_limit", "description")
        made.append({"id": new_id(), "registered_limit_id": base, **{name: row[name] for name in columns}})
    try:
        conn.execute(insert(Limit), made)
    except IntegrityError:
        raise errors.Conflict("There is a limit for one of these resources already.") from None
    return [{**row, "id": new["id"]} for row, new in zip(rows, made, strict=True)]


def change(conn: Connection, key: str, values: Mapping[str, Any]) -> Row:
    """A limit changed. Raises NotFound."""
    if values:
        conn.execute(update(Limit).where(Limit.id == key).values(**values))
    return one(listed(conn, {"id": key}), "limit", key)


def remove(conn: Connection, key: str) -> None:
    """Delete a limit. Raises NotFound."""
    if not conn.execute(delete(Limit).where(Limit.id == key)).rowcount:
        raise errors.NotFound(f"Could not find limit: {key}.")


def one(rows: list[Row], word: str, key: str) -> Row:
    """The only row. Raises NotFound."""
    if not rows:
        raise errors.NotFound(f"Could not find {word}: {key}.")
    return rows[0]


def _place(row: Mapping[str, Any]) -> tuple[str, str | None, str]:
    return row["service_id"], row["region_id"], row["resource_name"]


def _check_unused(conn: Connection, key: str) -> None:
    if conn.execute(select(Limit.id).where(Limit.registered_limit_id == key).limit(1)).first():
        raise errors.Forbidden(f"Projects or domains have limits in place of registered limit {key}.")
