# SPDX-License-Identifier: Apache-2.0
"""os-server-groups, and where the scheduler puts their servers."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.db.models import ServerGroup, ServerGroupMember
from computeapi.db.queries.servers import ServerRow
from tests.conftest import Api
from tests.wire.conftest import add_host
from tests.wire.creating import create, nothing_was_made, row_of
from tests.wire.operating import refused

KEYS = {"id", "name", "policies", "members", "metadata"}


def make(api: Api, policy: str = "affinity", name: str = "group", *, version: str | None = None) -> Any:
    answer = api.post("/os-server-groups", {"server_group": {"name": name, "policies": [policy]}}, version=version)
    assert answer.status_code == 200, answer.text
    return answer.json["server_group"]


def show(api: Api, group: Any) -> Any:
    answer = api.get(f"/os-server-groups/{group['id']}")
    assert answer.status_code == 200
    return answer.json["server_group"]


def names(api: Api, query: str = "") -> list[str]:
    answer = api.get("/os-server-groups" + query)
    assert answer.status_code == 200
    return [group["name"] for group in answer.json["server_groups"]]


def boot(api: Api, db: Database, body: dict[str, Any], group: Any, **more: Any) -> ServerRow:
    answer = api.post("/servers", {"server": {**body, **more}, "os:scheduler_hints": {"group": group["id"]}})
    assert answer.status_code == 202, answer.text
    return row_of(db, answer.json["server"]["id"])


def test_create(api: Api) -> None:
    made = make(api, "anti-affinity", "test")
    assert made | {"id": ""} == {"id": "", "name": "test", "policies": ["anti-affinity"], "members": [], "metadata": {}}
    assert str(uuid.UUID(made["id"])) == made["id"]
    assert show(api, made) == made
    twin = make(api, "affinity", "test")  # names need not differ
    assert api.get("/os-server-groups").json == {"server_groups": [made, twin]}


@pytest.mark.parametrize(
    "group",
    [
        {},
        {"name": "x"},
        {"policies": ["affinity"]},
        {"name": "x", "policies": []},
        {"name": "x", "policies": ["affinity", "anti-affinity"]},
        {"name": "x", "policies": ["affinity", "affinity"]},
        {"name": "x", "policies": ["legacy"]},
        {"name": "x", "policies": ["soft-affinity"]},
        {"name": "x", "policies": "affinity"},
        {"name": "x", "policies": [{}]},
        {"name": "x", "policies": None},
        {"name": "", "policies": ["affinity"]},
        {"name": " x", "policies": ["affinity"]},
        {"name": "x" * 256, "policies": ["affinity"]},
        {"name": 5, "policies": ["affinity"]},
        {"name": "x", "policies": ["affinity"], "policy": "affinity"},
        {"name": "x", "policies": ["affinity"], "metadata": {}},
    ],
)
def test_bad_bodies(api: Api, group: Any) -> None:
    refused(api.post("/os-server-groups", {"server_group": group}), 400)
    assert names(api) == []


def test_delete(api: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    group = make(api)
    server = boot(api, db, body, group)
    answer = api.delete(f"/os-server-groups/{group['id']}")
    assert (answer.status_code, answer.text) == (204, "")
    for answer in (api.get(f"/os-server-groups/{group['id']}"), api.delete(f"/os-server-groups/{group['id']}")):
        assert refused(answer, 404) == f"Instance group {group['id']} could not be found."
    assert api.get(f"/servers/{server.uuid}").status_code == 200


def test_list(api: Api, admin: Api) -> None:
    other = api.become("member")
    for number in range(3):
        make(api, name=f"mine{number}")
    make(other, name="theirs")
    assert names(api) == ["mine0", "mine1", "mine2"]
    assert names(api, "?limit=1&offset=1") == ["mine1"]
    assert names(api, "?limit=2") == ["mine0", "mine1"]
    assert names(api, "?offset=3") == []
    assert names(admin) == []
    assert names(admin, "?all_projects=True") == names(admin, "?all_projects") == ["mine0", "mine1", "mine2", "theirs"]
    assert names(other, "?all_projects=True&unknown=x") == ["theirs"]
    for wrong in ("limit=x", "limit=-1", "offset=-1", "offset=x", "offset=" + "9" * 30, "limit="):
        refused(api.get("/os-server-groups?" + wrong), 400)


def test_another_projects(api: Api, admin: Api) -> None:
    group = make(api)
    for role in ("reader", "member", "manager"):
        path = f"/os-server-groups/{group['id']}"
        refused(api.become(role).get(path), 404)
        refused(api.become(role).delete(path), 404)
        assert api.become(role, project_id=api.project_id).get(path).status_code == 200
    assert show(admin, group) == group
    assert admin.delete(f"/os-server-groups/{group['id']}").status_code == 204


def test_roles(api: Api) -> None:
    group, reader = make(api), api.become("reader", project_id=api.project_id)
    assert names(reader) == ["group"]
    refused(reader.delete(f"/os-server-groups/{group['id']}"), 403)
    refused(reader.post("/os-server-groups", {"server_group": {"name": "x", "policies": ["affinity"]}}), 403)
    stranger = api.become("stranger", project_id=api.project_id)
    refused(stranger.get("/os-server-groups"), 403)
    colleague = api.become("member", project_id=api.project_id)
    assert colleague.delete(f"/os-server-groups/{group['id']}").status_code == 204
    assert api.get("/os-server-groups", headers={"X-Auth-Token": ""}).status_code == 401


@pytest.mark.parametrize("identifier", ["x", "%25", "é", "9" * 30, "..", "'"])
def test_rubbish(api: Api, identifier: str) -> None:
    for method in ("GET", "DELETE"):
        refused(api.request(method, f"/os-server-groups/{identifier}"), 404)


# --- quota ---


def test_quota(api: Api, admin: Api) -> None:
    path = f"/os-quota-sets/{api.project_id}"
    admin_there = api.become("admin", project_id=api.project_id)
    assert admin_there.put(path, {"quota_set": {"server_groups": 1}}).status_code == 200
    make(api)
    body = {"server_group": {"name": "x", "policies": ["affinity"]}}
    for who in (api, api.become("member", project_id=api.project_id)):
        assert refused(who.post("/os-server-groups", body), 403) == "Quota exceeded, too many server groups."
    absolute = api.get("/limits").json["limits"]["absolute"]
    assert (absolute["maxServerGroups"], absolute["totalServerGroupsUsed"]) == (1, 1)
    detail = api.get(path + "/detail").json["quota_set"]["server_groups"]
    assert detail == {"limit": 1, "in_use": 1, "reserved": 0}
    make(admin)


def test_quota_of_members(api: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    admin = api.become("admin", project_id=api.project_id)
    assert admin.put("/os-quota-sets", {"quota_set": {"server_group_members": 2}}).status_code == 200
    group = make(api)
    boot(api, db, body, group)
    hints = {"group": group["id"]}
    answer = api.post("/servers", {"server": {**body, "min_count": 2}, "os:scheduler_hints": hints})
    assert refused(answer, 403) == "Quota exceeded, too many servers in group"
    boot(api, db, body, group)
    refused(api.post("/servers", {"server": body, "os:scheduler_hints": hints}), 403)
    assert len(show(api, group)["members"]) == 2
    boot(api.become("member", project_id=api.project_id), db, body, group)  # each user's own are counted


# --- members and where they go ---


def test_members(api: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    group = make(api)
    first, second = boot(api, db, body, group), boot(api, db, body, group)
    assert show(api, group)["members"] == [first.uuid, second.uuid]
    assert api.get("/os-server-groups").json["server_groups"][0]["members"] == [first.uuid, second.uuid]
    with db.write() as conn:
        conn.exec_driver_sql(f"UPDATE servers SET deleted = 1 WHERE id = {first.id}")
    assert show(api, group)["members"] == [second.uuid]


def test_unknown_groups(api: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    theirs = make(api.become("member"))
    for group in (theirs["id"], str(uuid.uuid4())):
        for key in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
            answer = api.post("/servers", {"server": body, key: {"group": group}})
            assert refused(answer, 400) == f"Instance group {group} could not be found."
    assert nothing_was_made(db)


@pytest.fixture
def hosts(db: Database) -> list[str]:
    return [add_host(db, name) for name in ("host1", "host2", "host3")]


def test_affinity(api: Api, db: Database, hosts: list[str], body: dict[str, Any]) -> None:
    group = make(api, "affinity")
    assert {boot(api, db, body, group).host for _ in range(3)} == {"host1"}
    db_host = "UPDATE hosts SET disabled = 1 WHERE name = 'host1'"
    with db.write() as conn:
        conn.exec_driver_sql(db_host)
    row = boot(api, db, body, group)
    assert (row.vm_state, row.host) == ("error", None)
    assert "host2: not the host of the server's group" in json.loads(row.fault_json or "")["details"]


def test_anti_affinity(api: Api, db: Database, hosts: list[str], body: dict[str, Any]) -> None:
    group = make(api, "anti-affinity")
    assert sorted(str(boot(api, db, body, group).host) for _ in range(3)) == hosts
    row = boot(api, db, body, group)
    assert row.vm_state == "error"
    assert "host2: the host of another server of the group" in json.loads(row.fault_json or "")["details"]


def test_several_at_once(api: Api, db: Database, hosts: list[str], body: dict[str, Any]) -> None:
    hints = {"group": make(api, "anti-affinity")["id"]}
    answer = api.post("/servers", {"server": {**body, "min_count": 3}, "os:scheduler_hints": hints})
    assert answer.status_code == 202
    found = api.become("admin").get("/servers/detail?all_tenants=1").json["servers"]
    assert sorted(server["OS-EXT-SRV-ATTR:host"] for server in found) == hosts


@pytest.mark.parametrize(("policy", "places"), [("soft-affinity", 1), ("soft-anti-affinity", 3)])
def test_soft_policies(
    api: Api, db: Database, hosts: list[str], body: dict[str, Any], policy: str, places: int
) -> None:
    group = soft_group(api, db, policy)
    for name in ("host1", "host1", "host2"):  # so that the emptiest host is another
        with db.write() as conn:
            conn.exec_driver_sql(f"UPDATE hosts SET servers = servers + 1 WHERE name = '{name}'")
    found = [boot(api, db, body, group).host for _ in range(4)]
    assert len(set(found)) == places
    assert None not in found


def soft_group(api: Api, db: Database, policy: str) -> Any:
    """A group with a policy that the API takes from 2.15 on."""
    group = make(api)
    with db.write() as conn:
        conn.exec_driver_sql(f"UPDATE server_groups SET policy = '{policy}'")
    assert show(api, group)["policies"] == [policy]
    return group


def test_a_server_is_in_a_group_once(db: Database, api: Api, host: str, body: dict[str, Any]) -> None:
    group = make(api)
    boot(api, db, body, group)
    create(api, body)
    with db.read() as conn:
        assert len(conn.execute(ServerGroupMember.__table__.select()).all()) == 1
        assert len(conn.execute(ServerGroup.__table__.select()).all()) == 1


def test_a_limit_of_0_is_none(api: Api) -> None:
    for name in ("a", "b"):
        make(api, "affinity", name)
    assert names(api, "?limit=0") == ["a", "b"]
    assert names(api, "?limit=1") == ["a"]
