# SPDX-License-Identifier: Apache-2.0
"""POST /servers as tests ask it."""

from __future__ import annotations

import dataclasses
from typing import Any

from sqlalchemy import insert, select

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.db.models import Action, BlockDevice, Keypair, Server
from computeapi.db.queries import servers
from computeapi.db.queries.servers import ServerRow
from computeapi.settings import Settings
from tests.conftest import Api


def create(api: Api, body: dict[str, Any], status: int = 202, /, **more: Any) -> Any:
    """POST /servers with this body and `more`: the answer, which has that status."""
    answer = api.post("/servers", {"server": {**body, **more}})
    assert answer.status_code == status, answer.text
    return answer


def row_of(db: Database, server_id: str) -> ServerRow:
    """A server's row."""
    with db.read() as conn:
        row = servers.get(conn, server_id, None)
    assert row is not None
    return row


def created(api: Api, db: Database, body: dict[str, Any], **more: Any) -> ServerRow:
    """The row of a server that POST /servers made."""
    return row_of(db, create(api, body, **more).json["server"]["id"])


def refusal(api: Api, body: dict[str, Any], status: int = 400, /, **more: Any) -> str:
    """The sentence by which POST /servers refuses this."""
    (fault,) = create(api, body, status, **more).json.values()
    assert fault["code"] == status
    return str(fault["message"])


def nothing_was_made(db: Database) -> bool:
    """No server, disk or work."""
    with db.read() as conn:
        return not any(conn.execute(select(table.id)).first() for table in (Server, BlockDevice, Action))


def on_cloud_with(settings: Settings, db: Database, api: Api, **changed: Any) -> Api:
    """The same caller on a cloud with other settings."""
    app = create_app(dataclasses.replace(settings, **changed), db=db)
    return Api(app, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)


def add_key(db: Database, user_id: str, name: str) -> None:
    """A user has an SSH key."""
    values = {"user_id": user_id, "name": name, "fingerprint": "f", "public_key": "ssh-rsa AAAA"}
    with db.write() as conn:
        conn.execute(insert(Keypair).values(**values, created_at=clock.now()))
