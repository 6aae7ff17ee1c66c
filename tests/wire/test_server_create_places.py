# SPDX-License-Identifier: Apache-2.0
"""POST /servers: networks, zones, hosts and scheduler hints, good and bad."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from sqlalchemy import select

from computeapi.db.engine import Database
from computeapi.db.models import FixedIp
from computeapi.db.queries import addresses
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_host
from tests.wire.creating import create, created, nothing_was_made, refusal, row_of

GIB = 1024**3


# --- networks ---


def test_networks_refused(api: Api, db: Database, body: dict[str, Any], network: str, make_server: MakeServer) -> None:
    port, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    make_server(network=network, fixed_ip="10.1.0.50")
    before = len(api.get("/servers").json["servers"])
    refused: tuple[tuple[Any, str], ...] = (
        ([{"uuid": "x"}], "Bad networks format: network uuid is not in proper format (x)"),
        ([{"uuid": ""}], "Bad networks format: network uuid is not in proper format ()"),
        ([{}], "Bad network format: missing 'uuid'"),
        ([{"fixed_ip": "10.1.0.5"}], "Bad network format: missing 'uuid'"),
        ([{"uuid": unknown}], f"Network {unknown} could not be found."),
        ([{"port": port}], f"Port id {port} could not be found."),
        ([{"port": port}, {"port": port}], f"Port ID '{port}' was specified twice"),
        ([{"port": port, "fixed_ip": "10.1.0.5"}], "the two cannot be specified together."),
        ([{"uuid": network, "fixed_ip": "10.1.0.50"}], "is already in use"),
        ([{"uuid": network, "fixed_ip": "192.168.0.1"}], "192.168.0.1"),
        ([{"uuid": network, "fixed_ip": "fd00::1"}], "fd00::1"),
        ([{"uuid": network, "fixed_ip": "10.1.0"}], "10.1.0"),
        ([{"uuid": network, "tag": "x"}], "tag"),
        ([{"uuid": None}], "None"),
        ("auto", "auto"),
        ({}, "{}"),
    )
    for networks, words in refused:
        assert words in refusal(api, body, networks=networks), networks
    assert len(api.get("/servers").json["servers"]) == before


def test_networks_of_others(api: Api, db: Database, body: dict[str, Any]) -> None:
    with db.write() as conn:
        theirs = addresses.create_network(conn, name="theirs", cidr="10.9.0.0/24", project_id="somebody-else")
    assert refusal(api, body, networks=[{"uuid": theirs}]) == f"Network {theirs} could not be found."
    answer = api.become("admin").post("/servers", {"server": body | {"networks": [{"uuid": theirs}]}})
    assert answer.status_code == 202, answer.text


def test_several_on_one_address(api: Api, body: dict[str, Any], network: str) -> None:
    asked = [{"uuid": network, "fixed_ip": "10.1.0.5"}]
    assert refusal(api, body, networks=asked, min_count=2) == (
        "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified."
    )
    assert refusal(api, body, networks=[{"port": str(uuid.uuid4())}], max_count=2).startswith(
        "Failed to launch instances: Unable to launch multiple instances with a single configured port ID."
    )


@pytest.mark.usefixtures("host")
def test_the_same_network_twice(api: Api, db: Database, body: dict[str, Any], network: str) -> None:
    row = created(api, db, body, networks=[{"uuid": network}, {"uuid": network}])
    assert len(api.get(f"/servers/{row.uuid}/ips").json["addresses"]["private"]) == 2


@pytest.mark.usefixtures("network")
def test_several_networks_to_choose_from(api: Api, db: Database, body: dict[str, Any]) -> None:
    with db.write() as conn:
        addresses.create_network(conn, name="second", cidr="10.2.0.0/24", shared=True)
    nothing: tuple[dict[str, Any], ...] = ({}, {"networks": []})
    for more in nothing:
        assert refusal(api, body, 409, **more) == (
            "Multiple possible networks found, use a Network ID to be more specific."
        )
    assert nothing_was_made(db)


# --- zones and hosts ---


def test_zones(api: Api, db: Database, body: dict[str, Any]) -> None:
    assert refusal(api, body, availability_zone="mars") == "The requested availability zone is not available"
    assert refusal(api, body, availability_zone="a:b:c:d") == (
        "Invalid input received: Unable to parse availability_zone"
    )
    message = "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed."
    for zone in ("nova:host1", "nova::node1", "nova:host1:node1", ":host1"):
        assert refusal(api, body, 403, availability_zone=zone) == message
    assert nothing_was_made(db)


@pytest.mark.parametrize(
    ("zone", "chosen"),
    [
        ("nova:small", "small"),
        ("nova:small:small.example.org", "small"),
        ("nova::small.example.org", "small"),
        ("mars:small", "small"),
        (":small", "small"),
        ("nova:nowhere", None),
        ("nova::nowhere", None),
        ("nova", "large"),
    ],
)
def test_hosts_that_an_administrator_names(
    admin: Api, db: Database, body: dict[str, Any], zone: str, chosen: str | None
) -> None:
    add_host(db, "large")
    add_host(db, "small", memory_mb=1000, servers=5)
    row = created(admin, db, body, availability_zone=zone)
    assert row.host == chosen
    assert row.vm_state == ("building" if chosen else "error")


def test_no_host(api: Api, admin: Api, db: Database, body: dict[str, Any], network: str) -> None:
    add_host(db, "tiny", memory_mb=100)
    server_id = create(api, body).json["server"]["id"]
    shown = api.get(f"/servers/{server_id}").json["server"]
    assert (shown["status"], shown["OS-EXT-STS:vm_state"], shown["hostId"]) == ("ERROR", "error", "")
    assert shown["fault"]["code"] == 500
    assert shown["fault"]["message"].startswith("No valid host was found.")
    assert "tiny" not in str(shown["fault"])
    assert "tiny: not enough memory" in admin.get(f"/servers/{server_id}").json["server"]["fault"]["details"]
    with db.read() as conn:
        assert not conn.execute(select(FixedIp.id).where(FixedIp.port_id.is_not(None))).all()


# --- scheduler hints ---


@pytest.mark.parametrize("key", ["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"])
def test_hints(api: Api, db: Database, body: dict[str, Any], key: str) -> None:
    add_host(db, "one")
    add_host(db, "two")
    first = created(api, db, body)
    for hint, same in (("same_host", True), ("different_host", False)):
        for value in (first.uuid, [first.uuid]):
            answer = api.post("/servers", {"server": body, key: {hint: value, "custom": "x", "_nova_x": 1}})
            row = row_of(db, answer.json["server"]["id"])
            assert (row.host == first.host) == same
            assert json.loads(row.scheduler_hints_json) == {hint: value, "custom": "x"}


@pytest.mark.parametrize("key", ["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"])
def test_hints_on_hosts(api: Api, db: Database, body: dict[str, Any], key: str) -> None:
    add_host(db, "one", host_ip="10.1.0.1", memory_mb=2000, servers=1)
    add_host(db, "two", host_ip="10.1.3.1")
    asked: tuple[tuple[dict[str, Any], str | None], ...] = (
        ({"build_near_host_ip": "10.1.0.7"}, "one"),
        ({"build_near_host_ip": "10.1.3.7", "cidr": "/24"}, "two"),
        ({"build_near_host_ip": "10.1.3.7", "cidr": "/29"}, "two"),
        ({"build_near_host_ip": "10.1.3.9", "cidr": "/29"}, None),
        ({"build_near_host_ip": "10.1.0.7", "cidr": "/16", "query": '["<", "$free_ram_mb", 5000]'}, "one"),
        ({"query": '["and", [">", "$free_ram_mb", 5000], ["=", "$host", "two"]]'}, "two"),
        ({"query": '["=", "$hypervisor_type", "QEMU"]'}, None),
        ({"query": "[]"}, "two"),
    )
    for hints, host in asked:
        row = row_of(db, api.post("/servers", {"server": body, key: hints}).json["server"]["id"])
        assert (row.host, row.vm_state) == (host, "building" if host else "error"), hints


BAD_HINTS: list[Any] = [
    {"group": "x"},
    {"group": str(uuid.UUID(int=5))},
    {"group": [str(uuid.UUID(int=5))]},
    {"different_host": "x"},
    {"same_host": 5},
    {"same_host": ["x"]},
    {"query": 5},
    {"query": "x"},
    {"query": {"and": []}},
    {"query": '["drop table", 1]'},
    {"query": "[" * 3000},
    {"build_near_host_ip": "10.1.0.1", "cidr": "/99"},
    {"build_near_host_ip": "10.1.0.1", "cidr": "/..::"},
    {"build_near_host_ip": "x"},
    {"cidr": "24"},
    [],
    "x",
]


def test_bad_hints(api: Api, db: Database, body: dict[str, Any]) -> None:
    for hints in BAD_HINTS:
        for key in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
            assert api.post("/servers", {"server": body, key: hints}).status_code == 400
        assert nothing_was_made(db)
