# SPDX-License-Identifier: Apache-2.0
"""What users keep here for other programs: pairs of keys (EC2) and other secrets. `blob` is sealed by the caller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from computeapi import errors
from computeapi.db.models import Credential
from computeapi.db.queries.identity.accounts import Row

_COLUMNS = (Credential.id, Credential.user_id, Credential.project_id, Credential.type, Credential.sealed_blob)


def listed(conn: Connection, wanted: Mapping[str, str]) -> list[Row]:
    """Those that have these values (id, user_id, type), in the order of their ids."""
    which = [getattr(Credential, name) == value for name, value in wanted.items()]
    return [dict(row) for row in conn.execute(select(*_COLUMNS).where(*which).order_by(Credential.id)).mappings()]


def get(conn: Connection, key: str, **wanted: str) -> Row:
    """The one of that id (and these values). Raises NotFound."""
    rows = listed(conn, {"id": key, **wanted})
    if not rows:
        raise _missing(key)
    return rows[0]


def create(conn: Connection, row: Row) -> None:
    """A new one. Raises Conflict where the id is taken: an access key is there once."""
    try:
        conn.execute(insert(Credential).values(**row))
    except IntegrityError:
        raise errors.Conflict(f"There is a credential {row['id']} already.") from None


def change(conn: Connection, key: str, sealed_blob: str) -> None:
    """Put another blob in it. Raises NotFound."""
    if not conn.execute(update(Credential).where(Credential.id == key).values(sealed_blob=sealed_blob)).rowcount:
        raise _missing(key)


def remove(conn: Connection, key: str, **wanted: str) -> None:
    """Delete it, where it has these values. Raises NotFound."""
    which: list[Any] = [getattr(Credential, name) == value for name, value in wanted.items()]
    if not conn.execute(delete(Credential).where(Credential.id == key, *which)).rowcount:
        raise _missing(key)


def _missing(key: str) -> errors.NotFound:
    return errors.NotFound(f"Could not find credential: {key}.")
