# SPDX-License-Identifier: Apache-2.0
"""Every statement on key pairs. They belong to users, whatever the project."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select
from sqlalchemy.exc import IntegrityError

from computeapi import clock, errors
from computeapi.db.models import Keypair
from computeapi.db.queries.common import insert_row


class KeypairRow(NamedTuple):
    """A key pair's public half. `type` is "ssh" or "x509"."""

    id: int
    user_id: str
    name: str
    type: str
    fingerprint: str
    public_key: str
    created_at: str


_COLUMNS = (
    Keypair.id,
    Keypair.user_id,
    Keypair.name,
    Keypair.type,
    Keypair.fingerprint,
    Keypair.public_key,
    Keypair.created_at,
)
_MINE = select(*_COLUMNS).where(Keypair.user_id == bindparam("user_id"))
_LIST = _MINE.order_by(Keypair.name)
_FIND = _MINE.where(Keypair.name == bindparam("name"))
_DELETE = delete(Keypair).where(Keypair.user_id == bindparam("user_id"), Keypair.name == bindparam("name"))
_COUNT = select(func.count()).select_from(Keypair).where(Keypair.user_id == bindparam("user_id"))


def list_of(conn: Connection, user_id: str) -> list[KeypairRow]:
    """A user's key pairs, by name."""
    return [KeypairRow._make(row) for row in conn.execute(_LIST, {"user_id": user_id})]


def find(conn: Connection, user_id: str, name: str) -> KeypairRow:
    """A user's key pair of that name. Raises NotFound (Nova: KeypairNotFound)."""
    row = conn.execute(_FIND, {"user_id": user_id, "name": name}).first()
    if row is None:
        raise _not_found(user_id, name)
    return KeypairRow._make(row)


def check_quota(conn: Connection, user_id: str, limit: int) -> None:
    """Raise QuotaExceeded (Nova: KeypairLimitExceeded) where one more would be more than `limit` (-1: no limit)."""
    if limit >= 0 and conn.execute(_COUNT, {"user_id": user_id}).scalar_one() >= limit:
        raise errors.QuotaExceeded("Quota exceeded, too many key pairs.")


def create(conn: Connection, user_id: str, name: str, kind: str, fingerprint: str, public_key: str) -> KeypairRow:
    """Add a key pair.

    Raises Conflict where the user has one of that name (Nova: KeyPairExists): this transaction can't go on then.
    """
    row = KeypairRow(0, user_id, name, kind, fingerprint, public_key, clock.now())
    values = row._asdict()
    del values["id"]
    try:
        insert_row(conn, Keypair, values)
    except IntegrityError:
        raise errors.Conflict(f"Key pair '{name}' already exists.") from None
    return row


def remove(conn: Connection, user_id: str, name: str) -> None:
    """Delete a user's key pair. Servers keep the public key they were made with. Raises NotFound."""
    if not conn.execute(_DELETE, {"user_id": user_id, "name": name}).rowcount:
        raise _not_found(user_id, name)


def _not_found(user_id: str, name: str) -> errors.NotFound:
    return errors.NotFound(f"Keypair {name} not found for user {user_id}")
