# SPDX-License-Identifier: Apache-2.0
"""os-services."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import insert, select

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.models import AggregateHost, Host, Migration
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_host
from tests.wire.operating import LONG_AGO, for_admins_only, hostile_ids, refused, set_host

NAMED = {"host": "host1", "binary": "nova-compute"}
ACTIONS = ("enable", "disable", "disable-log-reason")


def listed(admin: Api, query: str = "") -> list[Any]:
    answer = admin.get("/os-services" + query)
    assert answer.status_code == 200
    services: list[Any] = answer.json["services"]
    return services


def compute(admin: Api) -> Any:
    (found,) = listed(admin, "?binary=nova-compute")
    return found


def test_list(admin: Api, host: str) -> None:
    conductor, scheduler, found = listed(admin)
    assert (conductor["binary"], scheduler["binary"]) == ("nova-conductor", "nova-scheduler")
    for own in (conductor, scheduler):
        assert own | {"id": 0, "binary": "", "updated_at": ""} == {
            "id": 0,
            "binary": "",
            "host": "controller",
            "zone": "internal",
            "status": "enabled",
            "state": "up",
            "updated_at": "",
            "disabled_reason": None,
        }
    assert found.pop("updated_at").startswith(clock.now()[:13])
    assert found == {
        "id": 3,
        "binary": "nova-compute",
        "host": "host1",
        "zone": "nova",
        "status": "enabled",
        "state": "up",
        "disabled_reason": None,
    }
    assert len({service["id"] for service in listed(admin)}) == 3
    for path in ("/os-services/detail", "/v2/os-services", f"/v2.1/{admin.project_id}/os-services"):
        assert len(admin.get(path).json["services"]) == 3


def test_filters(admin: Api, db: Database, host: str) -> None:
    add_host(db, "host2")

    def hosts(query: str) -> list[str]:
        return [service["host"] for service in listed(admin, query)]

    assert hosts("?host=host2") == ["host2"]
    assert hosts("?host=host1&host=host2") == ["host2"]
    assert hosts("?binary=nova-compute") == ["host1", "host2"]
    assert hosts("?binary=nova-scheduler") == ["controller"]
    assert hosts("?host=controller&binary=nova-conductor") == ["controller"]
    assert hosts("?host=host1&binary=nova-scheduler") == []
    assert hosts("?host=&binary=&unknown=x") == ["controller", "controller", "host1", "host2"]
    for nobody in ("xxx", "%25", "host_", "'", "é"):
        assert hosts("?host=" + nobody) == hosts("?binary=" + nobody) == []
    assert admin.get("/os-services?host=%00").status_code == 400


def test_down(admin: Api, db: Database, host: str) -> None:
    set_host(db, "host1", last_seen_at=LONG_AGO)
    assert (compute(admin)["state"], compute(admin)["updated_at"]) == ("down", LONG_AGO)
    set_host(db, "host1", last_seen_at=clock.now(), forced_down=1)
    assert compute(admin)["state"] == "down"


def test_disable_and_enable(admin: Api, host: str) -> None:
    answer = admin.put("/os-services/disable", NAMED)
    assert (answer.status_code, answer.json) == (200, {"service": {**NAMED, "status": "disabled"}})
    assert (compute(admin)["status"], compute(admin)["state"], compute(admin)["disabled_reason"]) == (
        "disabled",
        "up",
        None,
    )
    answer = admin.put("/os-services/disable-log-reason", {**NAMED, "disabled_reason": "a test: \u00e9"})
    reasoned = {**NAMED, "status": "disabled", "disabled_reason": "a test: \u00e9"}
    assert (answer.status_code, answer.json) == (200, {"service": reasoned})
    assert compute(admin)["disabled_reason"] == "a test: \u00e9"
    answer = admin.put("/os-services/enable", NAMED)
    assert (answer.status_code, answer.json) == (200, {"service": {**NAMED, "status": "enabled"}})
    assert (compute(admin)["status"], compute(admin)["disabled_reason"]) == ("enabled", None)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_cannot_be_changed(admin: Api, host: str, action: str) -> None:
    path, reason = f"/os-services/{action}", {"disabled_reason": "x"}
    assert refused(admin.put(path, {**NAMED, **reason, "host": "nowhere"}), 404) == (
        "Host 'nowhere' is not mapped to any cell"
    )
    assert refused(admin.put(path, {**reason, "host": "controller", "binary": "nova-scheduler"}), 400) == (
        "Updating a nova-scheduler service is not supported. Only nova-compute services can be updated."
    )
    for wrong in (
        {},
        {"host": "host1"},
        {"binary": "nova-compute"},
        {**NAMED, "host": "a b"},
        {**NAMED, "host": 1},
        {**NAMED, "host": "x" * 256},
        {**NAMED, "binary": ""},
        {**NAMED, "disabled_reason": ""},
        {**NAMED, "disabled_reason": "x" * 256},
        {**NAMED, "forced_down": True},
        {**NAMED, "extra": 1},
        [NAMED],
    ):
        refused(admin.put(path, wrong), 400)
    assert compute(admin)["status"] == "enabled"


def test_a_reason_is_missing(admin: Api, host: str) -> None:
    assert refused(admin.put("/os-services/disable-log-reason", NAMED), 400) == "Missing disabled reason field"


def test_force_down_comes_later(admin: Api, host: str) -> None:
    refused(admin.put("/os-services/force-down", {**NAMED, "forced_down": True}), 404)
    refused(admin.put("/os-services/unknown", NAMED), 404)


def test_delete(admin: Api, db: Database, host: str) -> None:
    add_host(db, "host2")
    aggregate = admin.post("/os-aggregates", {"aggregate": {"name": "a"}}).json["aggregate"]["id"]
    assert admin.post(f"/os-aggregates/{aggregate}/action", {"add_host": {"host": "host1"}}).status_code == 200
    answer = admin.delete(f"/os-services/{listed(admin, '?host=host1')[0]['id']}")
    assert (answer.status_code, answer.text) == (204, "")
    assert admin.delete("/os-services", json={"host": "host2", "binary": "nova-compute"}).status_code == 204
    with db.read() as conn:
        assert not conn.execute(select(Host.id)).first() and not conn.execute(select(AggregateHost.id)).first()
    refused(admin.delete("/os-services", json={"host": "host2", "binary": "nova-compute"}), 404)


def test_delete_where_servers_are(admin: Api, db: Database, host: str, make_server: MakeServer) -> None:
    make_server(host="host1", deleted=1)
    server = make_server(host="host1")
    path = f"/os-services/{compute(admin)['id']}"
    for answer in (admin.delete(path), admin.delete("/os-services", json=NAMED)):
        assert refused(answer, 409) == (
            "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
        )
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE servers SET deleted = 1")
        values = {
            "uuid": str(uuid.uuid4()),
            "server_id": server.id,
            "server_uuid": server.uuid,
            "project_id": "p",
            "user_id": "u",
            "migration_type": "resize",
            "status": "finished",
            "dest_compute": "host1",
            "created_at": clock.now(),
        }
        conn.execute(insert(Migration).values(values))
    assert "in-progress migrations" in refused(admin.delete(path), 409)
    with db.write() as conn:
        conn.exec_driver_sql("UPDATE migrations SET status = 'confirmed'")
    assert admin.delete(path).status_code == 204


def test_delete_nobody(admin: Api, host: str) -> None:
    for own in ("1", "2"):
        refused(admin.delete("/os-services/" + own), 409)
    assert refused(admin.delete("/os-services/99"), 404) == "Service 99 not found."
    for wrong in ({}, {"host": "host1"}, {**NAMED, "extra": 1}, None):
        refused(admin.delete("/os-services", json=wrong), 400)
    refused(admin.delete("/os-services", json={**NAMED, "binary": "nova-scheduler"}), 404)
    assert len(listed(admin)) == 3


@hostile_ids
def test_delete_rubbish(admin: Api, host: str, identifier: str) -> None:
    assert admin.delete("/os-services/" + identifier).status_code in (400, 404)


def test_who_may(api: Api, host: str) -> None:
    for_admins_only(api, "GET", "/os-services")
    for_admins_only(api, "GET", "/os-services/detail")
    for_admins_only(api, "PUT", "/os-services/enable", NAMED)
    for_admins_only(api, "PUT", "/os-services/disable", NAMED)
    for_admins_only(api, "PUT", "/os-services/disable-log-reason", NAMED)
    for_admins_only(api, "DELETE", "/os-services", NAMED)
    for_admins_only(api, "DELETE", "/os-services/3")


def test_an_unknown_action(api: Api, admin: Api, host: str) -> None:
    for path in ("/os-services/nothing", "/os-services/1"):
        assert admin.put(path, {"host": "host1"}).status_code == 400
        answer = admin.put(path, NAMED)
        assert (answer.status_code, answer.json["itemNotFound"]["message"]) == (404, "Unknown action")
        assert api.put(path, NAMED).status_code == 403
