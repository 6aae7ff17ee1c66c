# SPDX-License-Identifier: Apache-2.0
"""os-migrations."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert

from computeapi.db.engine import Database
from computeapi.db.models import Migration
from tests.conftest import Api
from tests.wire.conftest import MakeServer
from tests.wire.operating import for_admins_only, refused

KEYS = {
    "created_at",
    "dest_compute",
    "dest_host",
    "dest_node",
    "id",
    "instance_uuid",
    "new_instance_type_id",
    "old_instance_type_id",
    "source_compute",
    "source_node",
    "status",
    "updated_at",
}


@pytest.fixture
def migrate(db: Database, make_server: MakeServer) -> Callable[..., str]:
    """Writes a migration of a new server; the server's id. Each is a second younger than the one before."""
    seconds = itertools.count()

    def made(**columns: Any) -> str:
        server = make_server()
        values = {
            "uuid": str(uuid.uuid4()),
            "server_id": server.id,
            "server_uuid": server.uuid,
            "project_id": server.project_id,
            "user_id": server.user_id,
            "migration_type": "resize",
            "status": "finished",
            "source_compute": "compute1",
            "source_node": "node1",
            "dest_compute": "compute2",
            "dest_node": "node2",
            "dest_host": "1.2.3.4",
            "old_flavor_key": 1,
            "new_flavor_key": 2,
            "created_at": f"2020-01-01T00:00:{next(seconds):02}.000000",
            **columns,
        }
        with db.write() as conn:
            conn.execute(insert(Migration).values(values))
        return server.uuid

    return made


def listed(admin: Api, query: str = "") -> list[str]:
    answer = admin.get("/os-migrations" + query)
    assert answer.status_code == 200
    return [migration["instance_uuid"] for migration in answer.json["migrations"]]


def test_list(admin: Api, migrate: Callable[..., str]) -> None:
    server = migrate()
    (shown,) = admin.get("/os-migrations").json["migrations"]
    assert set(shown) == KEYS
    assert shown == {
        "created_at": "2020-01-01T00:00:00.000000",
        "dest_compute": "compute2",
        "dest_host": "1.2.3.4",
        "dest_node": "node2",
        "id": 1,
        "instance_uuid": server,
        "new_instance_type_id": 2,
        "old_instance_type_id": 1,
        "source_compute": "compute1",
        "source_node": "node1",
        "status": "finished",
        "updated_at": None,
    }
    second = migrate(source_compute=None, dest_compute=None)
    assert listed(admin) == [second, server]


def test_filters(admin: Api, migrate: Callable[..., str]) -> None:
    first = migrate()
    second = migrate(source_compute="compute3", status="error", migration_type="migration")
    migrate(hidden=1)
    assert listed(admin, "?host=compute1") == [first]
    assert listed(admin, "?host=compute2") == [second, first]
    assert listed(admin, "?source_compute=compute3") == [second]
    assert listed(admin, "?source_compute=compute2") == []
    assert listed(admin, "?status=error") == [second]
    assert listed(admin, "?migration_type=resize") == [first]
    assert listed(admin, f"?instance_uuid={first}") == [first]
    assert listed(admin, "?instance_uuid=x") == listed(admin, "?status=%25") == []
    for query in ("?hidden=1", "?hidden=0", "?unknown=x", "?project_id=x"):
        assert listed(admin, query) == [second, first]
    refused(admin.get("/os-migrations?host=%00"), 400)


def test_who_may(api: Api) -> None:
    for_admins_only(api, "GET", "/os-migrations")
