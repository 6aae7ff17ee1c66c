# SPDX-License-Identifier: Apache-2.0
"""/healthcheck and /healthcheck/ready: without a token, and with no word too many."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import falcon.testing
import pytest
from sqlalchemy import text

from computeapi.app import create_app
from computeapi.db.engine import Database, connecting
from computeapi.settings import Settings

PATHS = ("/healthcheck", "/healthcheck/ready")


def ask(settings: Settings, db: Database, path: str, **more: Any) -> Any:
    return falcon.testing.TestClient(create_app(settings, db=db)).simulate_request(path=path, **more)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_well(settings: Settings, db: Database, path: str, method: str) -> None:
    answer = ask(settings, db, path, method=method)
    assert answer.status_code == 200
    if method == "GET":
        assert answer.json == {"status": "ok"}


def test_old_schema(settings: Settings, db: Database) -> None:
    with db.write() as conn:
        conn.execute(text("UPDATE alembic_version SET version_num = '0000'"))
    answer = ask(settings, db, "/healthcheck/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable", "reason": "schema"})
    assert answer.headers["Retry-After"] == "5"
    assert ask(settings, db, "/healthcheck").status_code == 200


@pytest.mark.parametrize(
    "url", ["sqlite:////nowhere/none.db", "postgresql://nobody:secret@127.0.0.1:1/none"], ids=["sqlite", "postgresql"]
)
def test_no_database(settings: Settings, db: Database, url: str, tmp_path: Any) -> None:
    away = Database("postgresql://nobody:secret@127.0.0.1:1/none") if url.startswith("postgresql") else None
    if away is None:  # a file that is no database
        path = tmp_path / "broken.db"
        path.write_bytes(b"no database" * 1000)
        away = Database(f"sqlite:///{path}")
    answer = ask(replace(settings, connection="sqlite://"), away, "/healthcheck/ready")
    assert (answer.status_code, answer.json) == (503, {"status": "unavailable", "reason": "database"})
    assert ask(settings, away, "/healthcheck").status_code == 200


def test_nothing_else_is_there(settings: Settings, db: Database) -> None:
    for path in ("/healthcheck/", "/healthcheck/x", "/metrics"):
        assert ask(settings, db, path).status_code == 300


def test_requests_while_the_database_is_away(settings: Settings, db: Database) -> None:
    """Worth another try, and said as the service says its faults."""
    away = Database("postgresql://nobody:secret@127.0.0.1:1/none")
    password = {"user": {"name": "admin", "domain": {"id": "default"}, "password": "x"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": password}}}
    answer = ask(settings, away, "/identity/v3/auth/tokens", method="POST", json=body)
    assert (answer.status_code, answer.json["error"]["code"]) == (503, 503)
    assert answer.headers["Retry-After"] == "5"
    assert "secret" not in answer.text


def test_a_database_that_vanishes_is_noticed(settings: Settings) -> None:
    """A connection looks whether its server is there, unless the operator said how."""
    given = connecting("postgresql://nobody@127.0.0.1/none?keepalives_idle=99&host=x")
    assert given["tcp_user_timeout"] == 30_000
    assert "keepalives_idle" not in given
