# SPDX-License-Identifier: Apache-2.0
"""Statements on migrations as os-migrations lists them. What moves servers writes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, or_, select

from computeapi.db.models import Migration


class MigrationRow(NamedTuple):
    """A migration, with the names that the API shows."""

    id: int
    status: str
    instance_uuid: str
    source_node: str | None
    source_compute: str | None
    dest_node: str | None
    dest_compute: str | None
    dest_host: str | None
    old_instance_type_id: int | None
    new_instance_type_id: int | None
    created_at: str
    updated_at: str | None


_ALL = (
    select(
        Migration.id,
        Migration.status,
        Migration.server_uuid,
        Migration.source_node,
        Migration.source_compute,
        Migration.dest_node,
        Migration.dest_compute,
        Migration.dest_host,
        Migration.old_flavor_key,
        Migration.new_flavor_key,
        Migration.created_at,
        Migration.updated_at,
    )
    .where(Migration.hidden == 0)
    .order_by(Migration.created_at.desc(), Migration.id.desc())
)
_COLUMNS = {
    "status": Migration.status,
    "instance_uuid": Migration.server_uuid,
    "source_compute": Migration.source_compute,
    "migration_type": Migration.migration_type,
}


def page(conn: Connection, filters: Mapping[str, str], limit: int) -> Sequence[MigrationRow]:
    """The newest migrations that fit `filters`: names of _COLUMNS, and `host`, which is at either end."""
    statement = _ALL
    for name, column in _COLUMNS.items():
        if name in filters:
            statement = statement.where(column == filters[name])
    if "host" in filters:
        host = filters["host"]
        statement = statement.where(or_(Migration.source_compute == host, Migration.dest_compute == host))
    return [MigrationRow._make(row) for row in conn.execute(statement.limit(limit))]
