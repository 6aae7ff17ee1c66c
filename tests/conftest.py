# SPDX-License-Identifier: Apache-2.0
"""What all tests share: a database (SQLite; with `--database postgresql` PostgreSQL), and the API in this process."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import falcon.testing
import pytest

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.context import with_implied
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.databases import Engine, Postgresql, Sqlite


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which database the tests run on."""
    parser.addoption("--database", choices=["sqlite", "postgresql"], default="sqlite", help="what the tests run on")


def pytest_report_header(config: pytest.Config) -> str:
    """Said at the top."""
    return f"database: {config.getoption('--database')}"


@pytest.fixture(scope="session")
def database_engine(pytestconfig: pytest.Config) -> Iterator[Engine]:
    """What makes a database for each test."""
    engine = Postgresql() if pytestconfig.getoption("--database") == "postgresql" else Sqlite()
    yield engine
    engine.close()


@pytest.fixture
def database_url(database_engine: Engine, tmp_path: Path) -> str:
    """The URL of an empty database with all tables."""
    return database_engine.new(tmp_path)


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """Settings of a cloud of its own in a new directory."""
    return Settings(
        state_dir=str(tmp_path),
        connection=database_url,
        hypervisor="simulator",
        host="host1",
        policy_file=str(tmp_path / "none"),
    )


@pytest.fixture
def db(settings: Settings) -> Iterator[Database]:
    """An empty database with all tables."""
    database = Database(settings.database_url)
    yield database
    database.close()


class Api:
    """The API in this process, asked as one user. `api.get("/servers")` is /v2.1; a path with a service is as given."""

    def __init__(self, app: Any, codec: TokenCodec, roles: tuple[str, ...], project_id: str, user_id: str) -> None:
        self.project_id, self.user_id = project_id, user_id
        self._client = falcon.testing.TestClient(app)
        self._app, self._codec = app, codec
        claims = Claims(
            user_id,
            project_id,
            None,
            False,
            tuple(with_implied(roles)),
            ("password",),
            clock.now(),
            clock.shifted(3600),
            uuid.uuid4().hex,
        )
        self.token = codec.seal(claims)

    def become(self, *roles: str, project_id: str | None = None, user_id: str | None = None) -> Api:
        """The same API as somebody else (a new project and user unless given)."""
        return Api(self._app, self._codec, roles, project_id or uuid.uuid4().hex, user_id or uuid.uuid4().hex)

    def request(self, method: str, path: str, body: Any = None, *, version: str | None = None, **more: Any) -> Any:
        """The response: .status_code, .json, .text, .headers."""
        headers = {"X-Auth-Token": self.token, **more.pop("headers", {})}
        if version:
            headers["OpenStack-API-Version"] = f"compute {version}"
        if path != "/" and path.split("/")[1] not in (
            "v2",
            "v2.1",
            "identity",
            "image",
            "network",
            "volume",
            "openapi.json",
        ):
            path = "/v2.1" + path
        if body is not None:
            more["json"] = body
        return self._client.simulate_request(method, path, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        """GET."""
        return self.request("GET", path, **more)

    def post(self, path: str, body: Any = None, **more: Any) -> Any:
        """POST a JSON body."""
        return self.request("POST", path, body, **more)

    def put(self, path: str, body: Any = None, **more: Any) -> Any:
        """PUT a JSON body."""
        return self.request("PUT", path, body, **more)

    def delete(self, path: str, **more: Any) -> Any:
        """DELETE."""
        return self.request("DELETE", path, **more)


@pytest.fixture
def api(settings: Settings, db: Database) -> Api:
    """The API as a member of a project of its own."""
    app = create_app(settings, db=db)
    codec = TokenCodec(settings.secret("tokens"))
    return Api(app, codec, ("member",), uuid.uuid4().hex, uuid.uuid4().hex)


@pytest.fixture
def admin(api: Api) -> Api:
    """The same API as an administrator of another project."""
    return api.become("admin")
