# SPDX-License-Identifier: Apache-2.0
"""Statements about console tokens: given out, looked up by who shows one, and dropped.

As in Nova a token may be used again until it expires: browsers reconnect. It ends earlier where its server stops, moves
or is deleted.
"""

from __future__ import annotations

import hashlib
import uuid
from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select

from computeapi import clock
from computeapi.db.models import ConsoleAuthToken, Server


class Grant(NamedTuple):
    """What a token opens."""

    server_uuid: str
    console_type: str
    host: str


def add(conn: Connection, server_id: int, console_type: str, host: str, seconds: int) -> str:
    """A new token; only its hash is kept."""
    token = str(uuid.uuid4())
    conn.execute(
        insert(ConsoleAuthToken).values(
            token_hash=_hash(token),
            server_id=server_id,
            console_type=console_type,
            host=host,
            created_at=clock.now(),
            expires_at=clock.shifted(seconds),
        )
    )
    return token


def find(conn: Connection, token: str) -> Grant | None:
    """What the token opens: nothing once it has expired, or its server is gone or elsewhere."""
    row = conn.execute(
        select(Server.uuid, ConsoleAuthToken.console_type, ConsoleAuthToken.host)
        .join(Server, Server.id == ConsoleAuthToken.server_id)
        .where(
            ConsoleAuthToken.token_hash == _hash(token),
            ConsoleAuthToken.expires_at > clock.now(),
            ConsoleAuthToken.host == Server.host,
            Server.deleted == 0,
        )
    ).first()
    return Grant._make(row) if row else None


def drop(conn: Connection, server_id: int) -> None:
    """No token opens a console of that server any more."""
    conn.execute(delete(ConsoleAuthToken).where(ConsoleAuthToken.server_id == server_id))


def forget_expired(conn: Connection, host: str) -> int:
    """Rows that open nothing any more; how many there were."""
    old = (ConsoleAuthToken.host == host) & (ConsoleAuthToken.expires_at <= clock.now())
    return conn.execute(delete(ConsoleAuthToken).where(old)).rowcount


def _hash(token: str) -> str:
    """Of a text that nobody can guess, so that plain SHA-256 will do."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
