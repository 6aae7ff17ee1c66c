# SPDX-License-Identifier: Apache-2.0
"""os-aggregates, and where the scheduler puts servers by them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.scheduler import _matches
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_flavor, add_host
from tests.wire.creating import created, refusal
from tests.wire.operating import for_admins_only, hostile_ids, refused

BRIEF = {"availability_zone", "created_at", "deleted", "deleted_at", "id", "name", "updated_at"}
IN_ZONE = "One or more hosts contain instances in this zone"


def make(admin: Api, name: str = "one", *hosts: str, zone: str | None = None, **metadata: str) -> int:
    """A new aggregate with these hosts; its id."""
    answer = admin.post("/os-aggregates", {"aggregate": {"name": name, "availability_zone": zone}})
    assert answer.status_code == 200, answer.text
    key = int(answer.json["aggregate"]["id"])
    for host in hosts:
        act(admin, key, "add_host", host=host)
    if metadata:
        act(admin, key, "set_metadata", metadata=metadata)
    return key


def post(admin: Api, key: int, action: str, **body: Any) -> Any:
    return admin.post(f"/os-aggregates/{key}/action", {action: body})


def act(admin: Api, key: int, action: str, **body: Any) -> Any:
    answer = post(admin, key, action, **body)
    assert answer.status_code == 200, answer.text
    return answer.json["aggregate"]


def update(admin: Api, key: int, **body: Any) -> Any:
    return admin.put(f"/os-aggregates/{key}", {"aggregate": body})


def show(admin: Api, key: int) -> Any:
    answer = admin.get(f"/os-aggregates/{key}")
    assert answer.status_code == 200
    return answer.json["aggregate"]


def zone_of(admin: Api, host: str) -> str:
    return str(admin.get(f"/os-services?host={host}").json["services"][0]["zone"])


def test_create(admin: Api) -> None:
    answer = admin.post("/os-aggregates", {"aggregate": {"name": "one", "availability_zone": "mars"}})
    assert answer.status_code == 200
    made = answer.json["aggregate"]
    assert set(made) == BRIEF
    assert (made["name"], made["availability_zone"], made["deleted"]) == ("one", "mars", False)
    assert made["updated_at"] is made["deleted_at"] is None
    shown = {**made, "hosts": [], "metadata": {"availability_zone": "mars"}}
    assert show(admin, made["id"]) == shown
    second = make(admin, "two")
    assert show(admin, second)["metadata"] == {}
    assert admin.get("/os-aggregates").json == {"aggregates": [shown, show(admin, second)]}
    message = "Aggregate one already exists."
    assert refused(admin.post("/os-aggregates", {"aggregate": {"name": "one"}}), 409) == message
    answer = admin.post("/v2/os-aggregates", {"aggregate": {"name": " three ", "unknown": 1}})
    assert answer.json["aggregate"]["name"] == "three"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": ""},
        {"name": " "},
        {"name": " x"},
        {"name": "x" * 256},
        {"name": 5},
        {"name": None},
        {"name": "x", "availability_zone": ""},
        {"name": "x", "availability_zone": "a:b"},
        {"name": "x", "availability_zone": "x" * 256},
        {"name": "x", "availability_zone": 5},
        {"name": "x", "hosts": []},
    ],
)
def test_bad_bodies(admin: Api, body: dict[str, Any]) -> None:
    refused(admin.post("/os-aggregates", {"aggregate": body}), 400)
    assert admin.get("/os-aggregates").json == {"aggregates": []}


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_update(admin: Api, host: str, method: str) -> None:
    key = make(admin, "one", host)
    path = f"/os-aggregates/{key}"
    answer = admin.request(method, path, {"aggregate": {"name": " newname ", "availability_zone": "nova2"}})
    assert answer.status_code == 200
    changed = answer.json["aggregate"]
    assert (changed["name"], changed["availability_zone"]) == ("newname", "nova2")
    assert changed["metadata"] == {"availability_zone": "nova2"}
    assert changed["updated_at"] > changed["created_at"]
    assert show(admin, key) == changed
    assert zone_of(admin, host) == "nova2"
    make(admin, "two")
    assert refused(update(admin, key, name="two"), 409) == "Aggregate two already exists."
    assert update(admin, key, name="newname").status_code == 200
    for wrong in ({}, {"name": ""}, {"id": 1}, {"name": "x", "hosts": []}):
        refused(update(admin, key, **wrong), 400)
    assert refused(update(admin, key, availability_zone=None), 400) == (
        f"Cannot update aggregate {key}. Reason: Aggregate newname does not support empty named availability zone."
    )


def test_delete(admin: Api, host: str) -> None:
    key = make(admin, "one", host)
    assert "Host aggregate is not empty" in refused(admin.delete(f"/os-aggregates/{key}"), 400)
    act(admin, key, "remove_host", host=host)
    answer = admin.delete(f"/os-aggregates/{key}")
    assert (answer.status_code, answer.text) == (200, "")
    assert refused(admin.delete(f"/os-aggregates/{key}"), 404) == f"Aggregate {key} could not be found."
    make(admin, "one")


def test_hosts(admin: Api, db: Database, host: str) -> None:
    add_host(db, "host2")
    key = make(admin, "one", zone="mars")
    assert act(admin, key, "add_host", host="host2")["hosts"] == ["host2"]
    added = act(admin, key, "add_host", host="host1")
    assert set(added) == {*BRIEF, "hosts", "metadata"}
    assert (added["hosts"], added["updated_at"]) == (["host2", "host1"], None)
    assert zone_of(admin, "host1") == "mars"
    assert refused(post(admin, key, "add_host", host="host1"), 409) == f"Aggregate {key} already has host host1."
    assert refused(post(admin, key, "add_host", host="nowhere"), 404) == "Compute host nowhere could not be found."
    assert act(admin, key, "remove_host", host="host2")["hosts"] == ["host1"]
    assert (zone_of(admin, "host1"), zone_of(admin, "host2")) == ("mars", "nova")
    for nobody in ("host2", "nowhere"):
        message = f"Cannot remove host {nobody} in aggregate {key}"
        assert refused(post(admin, key, "remove_host", host=nobody), 404) == message
    for action in ("add_host", "remove_host"):
        for wrong in ({}, {"host": ""}, {"host": "a b"}, {"host": 5}, {"host": "host1", "x": 1}):
            refused(post(admin, key, action, **wrong), 400)
    refused(post(admin, key, "explode"), 400)


def test_metadata(admin: Api, host: str) -> None:
    key = make(admin, "one", host, zone="mars", ssd="true")
    set_to = act(admin, key, "set_metadata", metadata={"ssd": None, "key": "valu\u00e9", "none": None})
    assert set_to["metadata"] == {"availability_zone": "mars", "key": "valu\u00e9"}
    assert set_to["updated_at"]
    moved = act(admin, key, "set_metadata", metadata={"availability_zone": "moon"})
    assert (moved["availability_zone"], zone_of(admin, host)) == ("moon", "moon")
    wrong: Any
    for wrong in ({"": "x"}, {"k" * 256: "x"}, {"k": "x" * 256}, {"k": 5}, {"k/": "x"}, None, []):
        refused(post(admin, key, "set_metadata", metadata=wrong), 400)
    for nothing in ("", None):
        answer = post(admin, key, "set_metadata", metadata={"availability_zone": nothing})
        assert refused(answer, 400).startswith(f"Cannot update metadata of aggregate {key}. Reason: Aggregate one does")


def test_one_zone_a_host(admin: Api, host: str) -> None:
    mars = make(admin, "mars", host, zone="mars")
    moon = make(admin, "moon", zone="moon")
    assert "already in availability zone(s) ['mars']" in refused(post(admin, moon, "add_host", host=host), 409)
    plain = make(admin, "plain", host)
    assert "already in availability zone(s) ['mars']" in refused(update(admin, plain, availability_zone="moon"), 400)
    assert update(admin, plain, availability_zone="mars").status_code == 200
    act(admin, mars, "remove_host", host=host)
    assert zone_of(admin, host) == "mars"


def test_servers_keep_a_host_in_its_zone(admin: Api, db: Database, host: str, make_server: MakeServer) -> None:
    mars, other, plain = make(admin, "mars", host, zone="mars"), make(admin, "other", zone="mars"), make(admin, "plain")
    server = make_server(host=host)
    assert IN_ZONE in refused(update(admin, mars, availability_zone="moon"), 400)
    assert IN_ZONE in refused(post(admin, mars, "set_metadata", metadata={"availability_zone": "moon"}), 400)
    assert "there are 1 servers on it" in refused(post(admin, mars, "remove_host", host=host), 409)
    assert update(admin, mars, availability_zone="mars", name="red").status_code == 200
    act(admin, plain, "add_host", host=host)
    act(admin, other, "add_host", host=host)
    act(admin, mars, "remove_host", host=host)  # the other aggregate has the same zone
    act(admin, plain, "remove_host", host=host)
    add_host(db, "host2")
    make_server(host="host2")
    message = refused(post(admin, other, "add_host", host="host2"), 409)
    assert "would change from 'None' to 'mars'" in message
    assert admin.get(f"/servers/{server.uuid}").json["server"]["id"] == server.uuid


@hostile_ids
def test_rubbish(admin: Api, host: str, identifier: str) -> None:
    make(admin)
    path = f"/os-aggregates/{identifier}"
    for answer in (
        admin.get(path),
        admin.put(path, {"aggregate": {"name": "x"}}),
        admin.delete(path),
        admin.post(path + "/action", {"add_host": {"host": "host1"}}),
        admin.post(path + "/action", {"set_metadata": {"metadata": {}}}),
    ):
        assert answer.status_code in (400, 404)
    assert refused(admin.get("/os-aggregates/-1"), 404) == "Aggregate -1 could not be found."


def test_who_may(api: Api, admin: Api, host: str) -> None:
    path = f"/os-aggregates/{make(admin)}"
    for_admins_only(api, "GET", "/os-aggregates")
    for_admins_only(api, "POST", "/os-aggregates", {"aggregate": {"name": "x"}})
    for_admins_only(api, "GET", path)
    for_admins_only(api, "PUT", path, {"aggregate": {"name": "x"}})
    for_admins_only(api, "POST", path, {"aggregate": {"name": "x"}})
    for_admins_only(api, "DELETE", path)
    for_admins_only(api, "POST", path + "/action", {"add_host": {"host": host}})
    for_admins_only(api, "POST", path + "/action", {"remove_host": {"host": host}})
    for_admins_only(api, "POST", path + "/action", {"set_metadata": {"metadata": {}}})


# --- the scheduler ---


def test_zones(api: Api, admin: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    add_host(db, "host2")
    make(admin, "mars", "host2", zone="mars")
    assert refusal(api, body, availability_zone="moon") == "The requested availability zone is not available"
    for zone, name in (("mars", "host2"), ("nova", "host1"), ("mars", "host2")):
        row = created(api, db, body, availability_zone=zone)
        assert (row.host, row.availability_zone) == (name, zone)
        server = api.get(f"/servers/{row.uuid}").json["server"]
        assert server["OS-EXT-AZ:availability_zone"] == zone
    found = api.get("/servers/detail").json["servers"]
    assert [server["OS-EXT-AZ:availability_zone"] for server in found] == ["mars", "nova", "mars"]
    row = created(api, db, body)  # anywhere: the emptier one
    assert (row.host, row.availability_zone) == ("host1", "nova")
    admin.put("/os-services/disable", {"host": "host2", "binary": "nova-compute"})
    assert refusal(api, body, availability_zone="mars") == "The requested availability zone is not available"


def test_no_host_in_the_zone(api: Api, admin: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    make(admin, "mars", host, zone="mars")
    row = created(api, db, body, availability_zone="nova")
    assert (row.vm_state, row.host, row.availability_zone) == ("error", None, "nova")
    assert json.loads(row.fault_json or "")["details"] == "host1: not in the availability zone"


def test_extra_specs(api: Api, admin: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    add_host(db, "host2")
    make(admin, "fast", "host2", ssd="true", level="5")
    make(admin, "faster", "host2", ssd="really")
    scope = "aggregate_instance_extra_specs:"
    for specs, found in (
        ({scope + "ssd": "true"}, "host2"),
        ({scope + "ssd": "really", scope + "level": ">= 4"}, "host2"),
        ({scope + "ssd": "false"}, None),
        ({scope + "nothing": "true"}, None),
        ({"ssd": "false", "hw:cpu_policy": "shared"}, "host1"),
    ):
        flavor = add_flavor(db, extra_specs_json=json.dumps(specs))
        assert created(api, db, {**body, "flavorRef": flavor}).host == found, specs


def test_a_projects_own_hosts(api: Api, admin: Api, db: Database, host: str, body: dict[str, Any]) -> None:
    make(admin, "theirs", host, filter_tenant_id="somebody", filter_tenant_id2=f"x, {api.project_id}")
    assert created(api, db, body).host == host
    row = created(api.become("member"), db, body)
    assert json.loads(row.fault_json or "")["details"] == "host1: kept for other projects"


@pytest.mark.parametrize(
    ("value", "wish", "found"),
    [
        ("a", "a", True),
        ("a", "b", False),
        ("a b", "a b", True),
        ("5", "= 4", True),
        ("5", "= 6", False),
        ("5", "== 5.0", True),
        ("5", "!= 5", False),
        ("5", "<= 5", True),
        ("x", ">= 5", False),
        ("5", ">= x", False),
        ("a", "s== a", True),
        ("a", "s!= a", False),
        ("a", "s< b", True),
        ("b", "s>= b", True),
        ("abc", "<in> b", True),
        ("abc", "<in> x", False),
        ("abc", "<all-in> a <all-in> c", True),
        ("abc", "<all-in> a <all-in> x", False),
        ("b", "<or> a <or> b", True),
        ("c", "<or> a <or> b", False),
    ],
)
def test_operators(value: str, wish: str, found: bool) -> None:
    assert _matches(value, wish) is found
