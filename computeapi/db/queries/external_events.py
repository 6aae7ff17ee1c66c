# SPDX-License-Identifier: Apache-2.0
"""Statements for os-server-external-events."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sqlalchemy import Connection, select

from computeapi.db.models import Server
from computeapi.db.queries import addresses
from computeapi.db.queries.servers import ServerRow, get_by_key


def places(conn: Connection, uuids: Collection[str]) -> dict[str, tuple[int, str | None]]:
    """By server's id: its row key and its host, of the servers that are not deleted."""
    statement = select(Server.uuid, Server.id, Server.host).where(Server.uuid.in_(list(uuids)), Server.deleted == 0)
    return {uuid: (key, host) for uuid, key, host in conn.execute(statement)}


def refresh_addresses(conn: Connection, keys: Iterable[int]) -> None:
    """Write anew what these servers show of their addresses. A request names a few."""
    for key in sorted(keys):
        addresses.refresh(conn, key)


def rows(conn: Connection, keys: Iterable[int]) -> dict[int, ServerRow]:
    """These servers, by row key. A request names a few."""
    return {key: row for key in keys if (row := get_by_key(conn, key)) is not None}
