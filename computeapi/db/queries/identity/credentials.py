# SPDX-License-Identifier: Apache-2.0
"""Application credentials: a user's, each for one project and some of the user's roles there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from computeapi import errors
from computeapi.db.models import ApplicationCredential as Credential
from computeapi.db.queries.identity import revocations
from computeapi.db.queries.identity.accounts import Row, new_id

_COLUMNS = (
    Credential.id,
    Credential.user_id,
    Credential.project_id,
    Credential.name,
    Credential.description,
    Credential.unrestricted,
    Credential.expires_at,
    Credential.role_ids_json,
)


def find(conn: Connection, wanted: Mapping[str, Any], *, secret: bool = False) -> Row | None:
    """The credential of that id, or user_id and name; with `secret_hash` where `secret`. `role_ids` is a list."""
    columns = (*_COLUMNS, Credential.secret_hash) if secret else _COLUMNS
    statement = select(*columns).where(*(getattr(Credential, name) == value for name, value in wanted.items()))
    row = conn.execute(statement).mappings().one_or_none()
    return _row(row) if row else None


def listed(conn: Connection, user_id: str, name: str | None = None) -> Sequence[Row]:
    """A user's credentials, all or the one of that name."""
    statement = select(*_COLUMNS).where(Credential.user_id == user_id).order_by(Credential.id)
    if name is not None:
        statement = statement.where(Credential.name == name)
    return [_row(row) for row in conn.execute(statement).mappings()]


def create(conn: Connection, values: Mapping[str, Any], role_ids: Sequence[str]) -> Row:
    """A new credential. Raises Conflict where the user has one of that name."""
    key = new_id()
    try:
        conn.execute(
            insert(Credential).values(id=key, role_ids_json=orjson.dumps(list(role_ids)).decode("ascii"), **values)
        )
    except IntegrityError:
        raise errors.Conflict(f"There is an application credential named {values['name']} already.") from None
    row = find(conn, {"id": key})
    assert row is not None
    return row


def remove(conn: Connection, user_id: str, key: str, until: str) -> None:
    """Delete a user's credential and revoke its tokens. Raises NotFound."""
    if not conn.execute(delete(Credential).where(Credential.id == key, Credential.user_id == user_id)).rowcount:
        raise errors.NotFound(f"Could not find application credential: {key}.")
    revocations.revoke(conn, f"credential:{key}", until)


def _row(row: Any) -> Row:
    found = dict(row)
    found["role_ids"] = orjson.loads(found.pop("role_ids_json"))
    return found
