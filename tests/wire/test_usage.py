# SPDX-License-Identifier: Apache-2.0
"""os-simple-tenant-usage."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import insert

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.models import Migration
from computeapi.db.queries.servers import ServerRow
from tests.conftest import Api
from tests.wire.conftest import FLAVOR, MakeServer
from tests.wire.operating import NOBODY, for_admins_only, refused

PERIOD = "start=2020-01-01T10:00:00&end=2020-01-01T14:00:00"


def at(hour: float) -> str:
    return f"2020-01-01T{int(hour):02}:{int(hour % 1 * 60):02}:00.000000"


def ran(make_server: MakeServer, first: float, last: float | None = None, **columns: Any) -> ServerRow:
    """A server that was launched at an hour of that day, and perhaps deleted at another."""
    if last is not None:
        columns |= {"terminated_at": at(last), "deleted_at": at(last), "deleted": 1, "vm_state": "deleted"}
    return make_server(created_at=at(first), launched_at=at(first), **columns)


def resized(db: Database, server: ServerRow, switched: float, reverted: float | None = None, **new: int) -> None:
    values = {
        "uuid": str(uuid.uuid4()),
        "server_id": server.id,
        "server_uuid": server.uuid,
        "project_id": server.project_id,
        "user_id": server.user_id,
        "migration_type": "resize",
        "status": "finished",
        "old_flavor_json": json.dumps(FLAVOR),
        "new_flavor_json": json.dumps({**FLAVOR, **new}),
        "created_at": at(switched),
        "switched_at": at(switched),
        "reverted_at": reverted and at(reverted),
    }
    with db.write() as conn:
        conn.execute(insert(Migration).values(values))


def one(api: Api, query: str = PERIOD) -> Any:
    answer = api.get(f"/os-simple-tenant-usage/{api.project_id}?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json["tenant_usage"]


def totals(usage: Any) -> tuple[float, ...]:
    names = ("total_hours", "total_vcpus_usage", "total_memory_mb_usage", "total_local_gb_usage")
    return tuple(usage[name] for name in names)


def test_show(api: Api, make_server: MakeServer) -> None:
    server = ran(make_server, 11, 12.5, name="web", vcpus=2)
    usage = one(api)
    (shown,) = usage.pop("server_usages")
    assert shown == {
        "instance_id": server.uuid,
        "name": "web",
        "tenant_id": api.project_id,
        "flavor": "m1.tiny",
        "hours": 1.5,
        "vcpus": 2,
        "memory_mb": 512,
        "local_gb": 1,
        "started_at": at(11),
        "ended_at": at(12.5),
        "state": "terminated",
        "uptime": 5400,
    }
    assert usage == {
        "tenant_id": api.project_id,
        "start": at(10),
        "stop": at(14),
        "total_hours": 1.5,
        "total_vcpus_usage": 3.0,
        "total_memory_mb_usage": 768.0,
        "total_local_gb_usage": 1.5,
    }


@pytest.mark.parametrize(
    ("first", "last", "hours"),
    [
        (11, 12, 1),
        (9, 11, 1),  # began before
        (13, 15, 1),  # ended after
        (13, None, 1),  # runs still
        (8, None, 4),
        (8, 16, 4),
        (8, 9.5, None),  # over before
        (15, None, None),  # came later
        (15, 16, None),
        (8, 10, None),  # touches it
        (14, 15, None),
    ],
)
def test_windows(api: Api, make_server: MakeServer, first: float, last: float | None, hours: float | None) -> None:
    ran(make_server, first, last)
    assert one(api).get("total_hours") == hours


def test_never_launched(api: Api, make_server: MakeServer) -> None:
    make_server(created_at=at(11), launched_at=None, vm_state="error")
    assert one(api) == {}


def test_resized(api: Api, db: Database, make_server: MakeServer) -> None:
    new = {"vcpus": 3, "ram": 1024, "disk": 5}
    columns = {"vcpus": 3, "memory_mb": 1024, "disk_gb": 5}
    server = ran(make_server, 9, None, **columns)
    resized(db, server, 13, **new)
    assert totals(one(api)) == (4, 3 * 1 + 1 * 3, 3 * 512 + 1024, 3 * 1 + 5)
    assert totals(one(api, "start=2020-01-01T13:00:00&end=2020-01-01T14:00:00")) == (1, 3, 1024, 5)
    assert totals(one(api, "start=2020-01-01T10:00:00&end=2020-01-01T12:00:00")) == (2, 2, 1024, 2)


def test_launched_anew_by_a_resize(api: Api, db: Database, make_server: MakeServer) -> None:
    server = make_server(created_at=at(9), launched_at=at(13), vcpus=3)
    resized(db, server, 13, vcpus=3)
    assert totals(one(api))[:2] == (4, 6)
    assert totals(one(api, "start=2020-01-01T10:00:00&end=2020-01-01T12:00:00"))[:2] == (2, 2)


def test_resized_twice_and_back(api: Api, db: Database, make_server: MakeServer) -> None:
    server = ran(make_server, 9, 13.5)
    resized(db, server, 11, 12, vcpus=3)
    assert totals(one(api))[:2] == (3.5, 1 + 3 + 1.5)
    resized(db, server, 12.5, 13, vcpus=5)
    assert totals(one(api))[:2] == (3.5, 1 + 3 + 0.5 + 2.5 + 0.5)


def test_list(api: Api, admin: Api, make_server: MakeServer) -> None:
    other = api.become("member")
    ran(make_server, 11, 12)
    ran(make_server, 11, 13, owner=other)
    ran(make_server, 13)
    path = "/os-simple-tenant-usage?" + PERIOD
    usages = admin.get(path).json["tenant_usages"]
    assert [(usage["tenant_id"], usage["total_hours"]) for usage in usages] == [
        (api.project_id, 2),
        (other.project_id, 2),
    ]
    assert all("server_usages" not in usage for usage in usages)
    for text, count in (("1", 2), ("True", None), ("0", None), ("", None)):
        first = admin.get(f"{path}&detailed={text}&unknown=x").json["tenant_usages"][0]
        assert (len(first["server_usages"]) if count else "server_usages" not in first) == (count or True)


def test_until_now(api: Api, make_server: MakeServer) -> None:
    make_server(created_at=clock.shifted(-3600), launched_at=clock.shifted(-3600))
    usage = one(api, "start=2020-01-01T00:00:00&end=2999-01-01T00:00:00")
    assert usage["stop"] < clock.now()
    assert 1 <= usage["total_hours"] < 1.1
    assert usage["server_usages"][0]["state"] == "active"
    assert 3600 <= usage["server_usages"][0]["uptime"] < 3700
    assert one(api, "")["total_hours"] == 0
    assert one(api, "start=2020-01-01T00:00:00")["total_hours"] >= 1


def test_formats(api: Api) -> None:
    for text in ("2020-01-01T10:00:00", "2020-01-01T10:00:00.5", "2020-01-01 10:00:00.000001"):
        assert one(api, f"start={text}") == {}
    for text in ("x", "2020-01-01", "2020-01-01 10:00:00", "2020-01-01T10:00:00Z", "2020-13-01T10:00:00", "é", "0"):
        for name in ("start", "end"):
            refused(api.get(f"/os-simple-tenant-usage/{api.project_id}?{name}={text}"), 400)
    for period in (
        "start=2020-01-02T00:00:00&end=2020-01-01T00:00:00",
        "start=2020-01-02T00:00:00&end=2020-01-02T00:00:00",
        "end=2020-01-01T00:00:00",
        "start=2999-01-01T00:00:00",
    ):
        assert refused(api.get(f"/os-simple-tenant-usage/{api.project_id}?{period}"), 400) == (
            "Invalid start time. The start time cannot occur after the end time."
        )
    refused(api.get("/os-simple-tenant-usage/x?start=%00"), 400)


def test_who_may(api: Api, admin: Api, make_server: MakeServer) -> None:
    ran(make_server, 11, 12)
    for_admins_only(api, "GET", "/os-simple-tenant-usage")
    for role in NOBODY:
        assert one(api.become(role, project_id=api.project_id))["total_hours"] == 1
        refused(api.become(role).get(f"/os-simple-tenant-usage/{api.project_id}"), 403)
    answer = admin.get(f"/os-simple-tenant-usage/{api.project_id}?{PERIOD}")
    assert answer.json["tenant_usage"]["total_hours"] == 1
    assert admin.get("/os-simple-tenant-usage/nobody").json == {"tenant_usage": {}}
