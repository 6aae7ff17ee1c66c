# SPDX-License-Identifier: Apache-2.0
"""os-cells."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import add_flavor, add_host
from tests.wire.operating import LONG_AGO, for_admins_only, refused, set_host

CELL = {"name": "cell1", "type": "child", "username": "username1", "rpc_host": None, "rpc_port": None}


def make(admin: Api, name: str = "cell1", **fields: Any) -> Any:
    answer = admin.post("/os-cells", {"cell": {"name": name, **fields}})
    assert answer.status_code == 200, answer.text
    return answer.json["cell"]


def get(admin: Api, path: str = "") -> Any:
    answer = admin.get("/os-cells" + path)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_create(admin: Api) -> None:
    assert get(admin) == get(admin, "/detail") == {"cells": []}
    assert make(admin, username="username1") == CELL
    full = make(
        admin,
        "cell 2",
        type="parent",
        username="u",
        password="secret",
        rpc_host="10.0.0.1",
        rpc_port="5672",
        rpc_virtual_host="vhost",
    )
    assert full == {"name": "cell 2", "type": "parent", "username": "u", "rpc_host": "10.0.0.1", "rpc_port": 5672}
    assert get(admin) == {"cells": [CELL, full]}
    assert get(admin, "/cell 2") == get(admin, "/cell%202") == {"cell": full}
    assert get(admin, "?limit=1&offset=1") == {"cells": [full]}
    for taken in ("cell1", "nova"):
        message = f"Cell with name {taken} already exists."
        assert refused(admin.post("/os-cells", {"cell": {"name": taken}}), 409) == message
    for wrong in ("limit=x", "limit=-1", "offset=" + "9" * 30):
        refused(admin.get("/os-cells?" + wrong), 400)
    answer = admin.post("/v2/os-cells", {"cell": {"name": " three ", "unknown": 1}})
    assert answer.json["cell"]["name"] == "three"


def test_a_password_is_not_kept(admin: Api, db: Database) -> None:
    make(admin, password="secret-of-the-queue")
    with db.read() as conn:
        assert "secret-of-the-queue" not in str(conn.exec_driver_sql("SELECT * FROM cells").all())


@pytest.mark.parametrize(
    "fields",
    [
        {"name": ""},
        {"name": "a!b"},
        {"name": "a.b"},
        {"name": "a@b"},
        {"name": " a"},
        {"name": "x" * 256},
        {"name": 5},
        {"type": "self"},
        {"username": "a b"},
        {"username": None},
        {"password": "x" * 256},
        {"rpc_host": "a b"},
        {"rpc_port": -1},
        {"rpc_port": 65536},
        {"rpc_port": "65536"},
        {"rpc_port": "9" * 40},
        {"rpc_port": ""},
        {"rpc_port": "x"},
        {"rpc_virtual_host": "/"},
        {"capabilities": {}},
    ],
)
def test_bad_bodies(admin: Api, fields: dict[str, Any]) -> None:
    make(admin)
    refused(admin.post("/os-cells", {"cell": {"name": "x", **fields}}), 400)
    refused(admin.put("/os-cells/cell1", {"cell": fields}), 400)
    refused(admin.post("/os-cells", {"cell": {"type": "child"}}), 400)


def test_update(admin: Api, db: Database, host: str) -> None:
    make(admin, username="username1", type="parent")
    make(admin, "cell2")
    set_host(db, host, cell="cell1")
    answer = admin.put("/os-cells/cell1", {"cell": {"rpc_port": 1}})
    assert (answer.status_code, answer.json) == (200, {"cell": {**CELL, "type": "parent", "rpc_port": 1}})
    changed = {"name": "new", "type": "child"}
    answer = admin.put("/os-cells/cell1", {"cell": changed})
    assert answer.json == {"cell": {**CELL, **changed, "rpc_port": 1}}
    assert get(admin, "/new/capacities")["cell"]["capacities"]["ram_free"]["total_mb"] == 100_000
    refused(admin.put("/os-cells/new", {"cell": {"name": "cell2"}}), 409)
    assert admin.put("/os-cells/new", {"cell": {}}).status_code == 200
    assert refused(admin.put("/os-cells/cell1", {"cell": {}}), 404) == "Cell cell1 doesn't exist."


def test_delete(admin: Api, db: Database, host: str) -> None:
    make(admin)
    set_host(db, host, cell="cell1")
    answer = admin.delete("/os-cells/cell1")
    assert (answer.status_code, answer.text) == (200, "")
    assert refused(admin.delete("/os-cells/cell1"), 404) == "Cell cell1 doesn't exist."
    assert get(admin, "/nova/capacities")["cell"]["capacities"]["ram_free"]["total_mb"] == 100_000


def test_info_and_detail(admin: Api, db: Database, host: str) -> None:
    make(admin, username="username1")
    add_host(db, "host2", cell="cell1", hypervisor_type="QEMU")
    assert get(admin, "/info") == {
        "cell": {
            "name": "nova",
            "type": "self",
            "rpc_host": None,
            "rpc_port": 0,
            "username": None,
            "capabilities": {"hypervisor": "simulator", "os": "linux;windows"},
        }
    }
    capabilities = {"hypervisor": ["QEMU"], "os": ["linux", "windows"]}
    assert get(admin, "/detail") == {"cells": [{**CELL, "capabilities": capabilities}]}


def test_capacities(admin: Api, db: Database) -> None:
    add_host(db, "host1", memory_mb=8192, memory_mb_used=512, disk_gb=100, disk_gb_used=0)
    add_host(db, "host2", memory_mb=1024, disk_gb=50, cell="cell1")
    add_host(db, "host3", memory_mb=1024, disk_gb=50, cell="cell1")
    add_host(db, "host4", cell="cell1", disabled=1)
    add_host(db, "host5", cell="cell1", last_seen_at=LONG_AGO)
    add_host(db, "host6", cell="cell1", forced_down=1)
    make(admin)
    for memory, disk in ((512, 20), (2048, 0), (2048, 20)):
        add_flavor(db, memory_mb=memory, disk_gb=disk, ephemeral_gb=disk)
    own = get(admin, "/nova/capacities")["cell"]["capacities"]
    assert own == {
        "ram_free": {"total_mb": 7680, "units_by_mb": {"512": 15, "2048": 3}},
        "disk_free": {"total_mb": 102400, "units_by_mb": {"0": 0, "40960": 2}},
    }
    other = get(admin, "/cell1/capacities")["cell"]["capacities"]
    assert other == {
        "ram_free": {"total_mb": 2048, "units_by_mb": {"512": 4, "2048": 0}},
        "disk_free": {"total_mb": 102400, "units_by_mb": {"0": 0, "40960": 2}},
    }
    every = get(admin, "/capacities")["cell"]["capacities"]
    assert every["ram_free"] == {"total_mb": 9728, "units_by_mb": {"512": 19, "2048": 3}}


def test_sync_instances(admin: Api) -> None:
    for body in ({}, {"project_id": "p1", "deleted": "true", "updated_since": "2020-01-01T00:00:00Z"}):
        answer = admin.post("/os-cells/sync_instances", body)
        assert (answer.status_code, answer.text) == (200, "")
    bodies: list[Any] = [
        {"project_id": ""},
        {"project_id": "a b"},
        {"deleted": "x"},
        {"updated_since": "x"},
        {"x": 1},
        [],
    ]
    for wrong in bodies:
        refused(admin.post("/os-cells/sync_instances", wrong), 400)


@pytest.mark.parametrize("name", ["x", "%25", "é", "1", "'", "x" * 300])
def test_unknown_cells(admin: Api, name: str) -> None:
    for path in (f"/os-cells/{name}", f"/os-cells/{name}/capacities"):
        refused(admin.get(path), 404)
    refused(admin.put(f"/os-cells/{name}", {"cell": {}}), 404)
    refused(admin.delete(f"/os-cells/{name}"), 404)


def test_turned_off(settings: Settings, db: Database) -> None:
    app = create_app(dataclasses.replace(settings, cells=False), db=db)
    admin = Api(app, TokenCodec(settings.secret("tokens")), ("admin",), "p", "u")
    for path in ("", "/detail", "/info", "/capacities", "/x", "/x/capacities"):
        assert refused(admin.get("/os-cells" + path), 501) == "Cells is not enabled."
    refused(admin.post("/os-cells", {"cell": {"name": "x"}}), 501)
    refused(admin.put("/os-cells/x", {"cell": {}}), 501)
    refused(admin.delete("/os-cells/x"), 501)
    refused(admin.post("/os-cells/sync_instances", {}), 501)


def test_who_may(api: Api) -> None:
    for_admins_only(api, "GET", "/os-cells")
    for_admins_only(api, "GET", "/os-cells/detail")
    for_admins_only(api, "GET", "/os-cells/info")
    for_admins_only(api, "GET", "/os-cells/capacities")
    for_admins_only(api, "GET", "/os-cells/x")
    for_admins_only(api, "GET", "/os-cells/x/capacities")
    for_admins_only(api, "POST", "/os-cells", {"cell": {"name": "x"}})
    for_admins_only(api, "PUT", "/os-cells/x", {"cell": {}})
    for_admins_only(api, "DELETE", "/os-cells/x")
    for_admins_only(api, "POST", "/os-cells/sync_instances", {})
