# SPDX-License-Identifier: Apache-2.0
"""Servers written straight into the database, for tests of what shows or changes them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.queries import addresses, servers
from computeapi.db.queries.servers import ServerRow
from tests.conftest import Api

FLAVOR = {
    "name": "m1.tiny",
    "vcpus": 1,
    "ram": 512,
    "disk": 1,
    "ephemeral": 0,
    "swap": 0,
    "rxtx_factor": 1.0,
    "extra_specs": {},
}
IMAGE_ID = "70a599e0-31e7-49b7-b260-868f441e862b"

MakeServer = Callable[..., ServerRow]


def server_values(project_id: str, user_id: str, **columns: Any) -> dict[str, Any]:
    """All columns that a running server's row must have."""
    moment = columns.get("created_at", clock.now())
    return {
        "uuid": str(uuid.uuid4()),
        "project_id": project_id,
        "user_id": user_id,
        "name": "server",
        "hostname": columns.get("name", "server").lower(),
        "vm_state": "active",
        "power_state": 1,
        "host": "host1",
        "node": "host1",
        "availability_zone": None,
        "reservation_id": "r-00000000",
        "image_id": IMAGE_ID,
        "flavor_id": "1",
        "flavor_json": orjson.dumps(FLAVOR).decode(),
        "vcpus": 1,
        "memory_mb": 512,
        "disk_gb": 1,
        "created_at": moment,
        "updated_at": moment,
        "launched_at": moment,
        **columns,
    }


@pytest.fixture
def make_server(api: Api, db: Database) -> MakeServer:
    """`make_server(name=…, owner=other_api, network=uuid, fixed_ip=…, <column>=…)`: an ACTIVE server of `owner`.

    Each is created a second after the one before.
    """
    seconds = itertools.count(-100_000)

    def make(
        *, owner: Api | None = None, network: str | None = None, fixed_ip: str | None = None, **columns: Any
    ) -> ServerRow:
        owner = owner or api
        columns.setdefault("created_at", clock.shifted(next(seconds)))
        values = server_values(owner.project_id, owner.user_id, **columns)
        with db.write() as conn:
            key = servers.insert(conn, values)
            if network:
                wanted = [addresses.Requested(network_id=network, fixed_ip=fixed_ip)]
                addresses.allocate(conn, server_id=key, project_id=owner.project_id, requested=wanted)
                addresses.refresh(conn, key)
            row = servers.get_by_key(conn, key)
        assert row is not None
        return row

    return make


@pytest.fixture
def network(db: Database) -> str:
    """The uuid of a network "private" that all projects may use, 10.1.0.0/24."""
    with db.write() as conn:
        return addresses.create_network(conn, name="private", cidr="10.1.0.0/24", shared=True)
