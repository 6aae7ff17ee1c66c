# SPDX-License-Identifier: Apache-2.0
"""Statements on the password that a guest set for itself (Server.password)."""

from __future__ import annotations

from sqlalchemy import Connection, or_, select, update

from computeapi.db.models import Server


def get(conn: Connection, server_key: int) -> str:
    """The encrypted password; "" where there is none."""
    return conn.execute(select(Server.password).where(Server.id == server_key)).scalar() or ""


def put(conn: Connection, server_key: int, password: str | None) -> None:
    """Keep an encrypted password (None: none any more)."""
    conn.execute(update(Server).where(Server.id == server_key).values(password=password))


def put_first(conn: Connection, server_key: int, password: str) -> bool:
    """Keep an encrypted password where there is none; whether there was none."""
    none = or_(Server.password.is_(None), Server.password == "")
    statement = update(Server).where(Server.id == server_key, Server.deleted == 0, none)
    return conn.execute(statement.values(password=password)).rowcount == 1
