# SPDX-License-Identifier: Apache-2.0
"""nova-network's API where the networks are a real Neutron's: our own Networking API in a second cloud."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from computeapi.api.compute import remote
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.other_network import OtherNetwork, other_network

GROUPS, RULES, FLOATING = "/os-security-groups", "/os-security-group-rules", "/os-floating-ips"
V = "/network/v2.0"
NOTHING = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def other(settings: Settings, tmp_path: Path) -> Iterator[OtherNetwork]:
    """The Neutron."""
    with other_network(settings, tmp_path / "other") as cloud:
        yield cloud


@pytest.fixture
def api(settings: Settings, db: Database, other: OtherNetwork) -> Api:
    """Our API, which asks it, as a member of a project of its own."""
    return other.member(settings, db)


@pytest.fixture
def public(other: OtherNetwork) -> str:
    """The external network `outside`, with three addresses; its id."""
    body = {"network": {"name": "outside", "router:external": True}}
    network_id = str(other.admin.post(f"{V}/networks", body).json["network"]["id"])
    pool = {"start": "203.0.113.10", "end": "203.0.113.12"}
    subnet = {"network_id": network_id, "ip_version": 4, "cidr": "203.0.113.0/24", "allocation_pools": [pool]}
    answer = other.admin.post(f"{V}/subnets", {"subnet": {**subnet, "enable_dhcp": False}})
    assert answer.status_code == 201, answer.text
    return network_id


def message(answer: Any) -> str:
    """A fault's sentence."""
    (fault,) = answer.json.values()
    return str(fault["message"])


# --- networks ---


@pytest.mark.parametrize("url", ["/os-networks", "/os-tenant-networks"])
def test_networks(api: Api, admin: Api, other: OtherNetwork, url: str) -> None:
    mine, shared = other.network(api.project_id, name="mine"), other.network(cidr="10.8.0.0/24", name="everybody's")
    theirs = other.network(uuid.uuid4().hex, cidr="10.7.0.0/24")
    shown = {each["id"]: each for each in api.get(url).json["networks"]}
    assert {key: each["label"] for key, each in shown.items()} == {mine: "mine", shared: "everybody's"}
    assert api.get(f"{url}/{mine}").json == {"network": shown[mine]}
    assert {mine, shared, theirs} <= {each["id"] for each in admin.get(url).json["networks"]}
    for unknown in (theirs, NOTHING, "no-id"):
        answer = api.get(f"{url}/{unknown}")
        assert (answer.status_code, message(answer)) == (404, "Network not found")


def test_what_is_known_of_a_network(api: Api, admin: Api, other: OtherNetwork) -> None:
    mine = other.network(api.project_id, name="mine")
    shown = api.get(f"/os-networks/{mine}").json["network"]
    assert {name for name, value in shown.items() if value is not None} == {"id", "label"}
    assert len(shown) == 11
    more = admin.get(f"/os-networks/{mine}").json["network"]
    assert (len(more), more["project_id"]) == (32, api.project_id)
    assert api.get(f"/os-tenant-networks/{mine}").json["network"] == {"id": mine, "cidr": "None", "label": "mine"}


def test_networks_are_not_made_here(api: Api, admin: Api, other: OtherNetwork) -> None:
    mine = other.network(api.project_id)
    body = {"network": {"label": "new", "cidr": "10.3.0.0/24"}}
    asked = [
        admin.post("/os-networks", body),
        admin.post("/os-networks/add", {"id": mine}),
        admin.delete(f"/os-networks/{mine}"),
        admin.post(f"/os-networks/{mine}/action", {"disassociate": None}),
        admin.post(f"/os-networks/{mine}/action", {"associate_host": "host1"}),
        api.delete(f"/os-tenant-networks/{mine}"),
    ]
    for answer in asked:
        assert (answer.status_code, message(answer)) == (501, "The requested functionality is not supported.")
    answer = api.post("/os-tenant-networks", body)
    assert (answer.status_code, message(answer)) == (503, "Create networks failed")
    assert api.post("/os-networks", body).status_code == 403
    assert [each["id"] for each in api.get("/os-networks").json["networks"]] == [mine]


# --- security groups ---


def test_a_group_s_life(api: Api, other: OtherNetwork) -> None:
    answer = api.post(GROUPS, {"security_group": {"name": "web", "description": "what it is for"}})
    assert answer.status_code == 200, answer.text
    group = answer.json["security_group"]
    assert group == {
        "id": group["id"],
        "name": "web",
        "description": "what it is for",
        "tenant_id": api.project_id,
        "rules": [],
    }
    theirs = other.admin.get(f"{V}/security-groups/{group['id']}").json["security_group"]
    assert (theirs["name"], theirs["project_id"]) == ("web", api.project_id)
    assert api.get(f"{GROUPS}/{group['id']}").json["security_group"] == group
    assert [each["name"] for each in api.get(GROUPS).json["security_groups"]] == ["default", "web"]
    answer = api.put(f"{GROUPS}/{group['id']}", {"security_group": {"name": "www", "description": ""}})
    assert answer.json["security_group"] == {**group, "name": "www", "description": ""}
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 202
    assert api.get(f"{GROUPS}/{group['id']}").status_code == 404
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 404


def test_lists_of_groups(api: Api, admin: Api) -> None:
    for number in range(3):
        api.post(GROUPS, {"security_group": {"name": f"g{number}", "description": ""}})
    found = [each["name"] for each in api.get(f"{GROUPS}?limit=2&offset=1").json["security_groups"]]
    assert found == ["g0", "g1"]
    assert [each["name"] for each in admin.get(GROUPS).json["security_groups"]] == ["default"]
    everybodys = admin.get(f"{GROUPS}?all_tenants=1").json["security_groups"]
    assert {each["tenant_id"] for each in everybodys} >= {api.project_id, admin.project_id}
    assert {each["tenant_id"] for each in api.get(f"{GROUPS}?all_tenants=1").json["security_groups"]} == {
        api.project_id
    }


def test_groups_refused(api: Api, other: OtherNetwork) -> None:
    (default,) = api.get(GROUPS).json["security_groups"]
    assert api.delete(f"{GROUPS}/{default['id']}").status_code == 400
    renamed = api.put(f"{GROUPS}/{default['id']}", {"security_group": {"name": "other", "description": ""}})
    assert renamed.status_code == 400, renamed.text
    answer = api.get(f"{GROUPS}/none")
    assert (answer.status_code, message(answer)) == (400, "Security group id should be uuid")
    assert api.get(f"{GROUPS}/{NOTHING}").status_code == 404
    stranger = api.become("member")
    assert stranger.get(f"{GROUPS}/{default['id']}").status_code == 404
    assert stranger.delete(f"{GROUPS}/{default['id']}").status_code == 404
    assert api.become("reader", project_id=api.project_id).delete(f"{GROUPS}/{default['id']}").status_code == 403
    group = api.post(GROUPS, {"security_group": {"name": "used", "description": ""}}).json["security_group"]
    network = other.network(api.project_id)
    other.port(network, api.project_id, security_groups=[group["id"]])
    assert api.delete(f"{GROUPS}/{group['id']}").status_code == 400, "in use"


def test_too_many_groups(api: Api, other: OtherNetwork) -> None:
    api.get(GROUPS)
    quota = {"quota": {"security_group": 1}}
    assert other.admin.put(f"{V}/quotas/{api.project_id}", quota).status_code == 200
    assert api.post(GROUPS, {"security_group": {"name": "more", "description": ""}}).status_code == 403


def test_a_rule_s_life(api: Api, other: OtherNetwork) -> None:
    group = api.post(GROUPS, {"security_group": {"name": "web", "description": ""}}).json["security_group"]["id"]
    body = {"parent_group_id": group, "ip_protocol": "tcp", "from_port": 22, "to_port": 23, "cidr": "10.0.0.0/8"}
    answer = api.post(RULES, {"security_group_rule": body})
    assert answer.status_code == 200, answer.text
    rule = answer.json["security_group_rule"]
    assert rule == {
        "id": rule["id"],
        "parent_group_id": group,
        "ip_protocol": "tcp",
        "from_port": 22,
        "to_port": 23,
        "group": {},
        "ip_range": {"cidr": "10.0.0.0/8"},
    }
    theirs = other.admin.get(f"{V}/security-group-rules/{rule['id']}").json["security_group_rule"]
    assert (theirs["direction"], theirs["port_range_min"], theirs["ethertype"]) == ("ingress", 22, "IPv4")
    assert api.get(f"{GROUPS}/{group}").json["security_group"]["rules"] == [rule]
    again = api.post(RULES, {"security_group_rule": body})
    assert (again.status_code, message(again)) == (400, f"This rule already exists in group {group}")
    assert api.become("member").delete(f"{RULES}/{rule['id']}").status_code == 404
    assert api.delete(f"{RULES}/{rule['id']}").status_code == 202
    assert api.delete(f"{RULES}/{rule['id']}").status_code == 404
    assert api.delete(f"{RULES}/none").status_code == 400


def test_rules_from_groups_and_of_pings(api: Api) -> None:
    made = [
        api.post(GROUPS, {"security_group": {"name": name, "description": ""}}).json["security_group"]["id"]
        for name in ("a", "b")
    ]
    body = {"parent_group_id": made[0], "group_id": made[1]}
    rule = api.post(RULES, {"security_group_rule": body}).json["security_group_rule"]
    assert rule["group"] == {"name": "b", "tenant_id": api.project_id}
    ping = {"parent_group_id": made[0], "ip_protocol": "icmp", "from_port": -1, "to_port": -1, "cidr": "::/0"}
    rule = api.post(RULES, {"security_group_rule": ping}).json["security_group_rule"]
    assert (rule["from_port"], rule["to_port"], rule["ip_range"]) == (-1, -1, {"cidr": "::/0"})
    shown = api.get(f"{GROUPS}/{made[0]}").json["security_group"]["rules"]
    assert sorted(str(each["group"].get("name")) for each in shown) == ["None", "b"]


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"parent_group_id": NOTHING}, 404),
        ({"group_id": NOTHING}, 404),
        ({"ip_protocol": "gre"}, 400),
        ({"from_port": 9, "to_port": 1}, 400),
        ({"cidr": "all"}, 400),
        ({"ip_protocol": None}, 400),
    ],
)
def test_rules_refused(api: Api, changes: dict[str, Any], status: int) -> None:
    (default,) = api.get(GROUPS).json["security_groups"]
    body = {"parent_group_id": default["id"], "ip_protocol": "tcp", "from_port": 1, "to_port": 2, **changes}
    answer = api.post(RULES, {"security_group_rule": body})
    assert answer.status_code == status, answer.text


# --- floating IPs ---


def test_a_floating_ip_s_life(api: Api, other: OtherNetwork, public: str) -> None:
    assert api.get("/os-floating-ip-pools").json == {"floating_ip_pools": [{"name": "outside"}]}
    answer = api.post(FLOATING, {"pool": "outside"})
    assert answer.status_code == 200, answer.text
    made = answer.json["floating_ip"]
    assert made == {"id": made["id"], "ip": made["ip"], "fixed_ip": None, "instance_id": None, "pool": "outside"}
    theirs = other.admin.get(f"{V}/floatingips/{made['id']}").json["floatingip"]
    assert (theirs["floating_ip_address"], theirs["project_id"]) == (made["ip"], api.project_id)
    assert api.get(f"{FLOATING}/{made['id']}").json["floating_ip"] == made
    assert api.get(FLOATING).json["floating_ips"] == [made]
    assert api.become("member").get(FLOATING).json["floating_ips"] == []
    assert api.become("member").delete(f"{FLOATING}/{made['id']}").status_code == 404
    assert api.delete(f"{FLOATING}/{made['id']}").status_code == 202
    for unknown in (made["id"], NOTHING):
        answer = api.get(f"{FLOATING}/{unknown}")
        assert (answer.status_code, message(answer)) == (404, f"Floating IP not found for ID {unknown}")
    assert api.post(FLOATING, {"pool": public}).json["floating_ip"]["pool"] == "outside"


def test_whose_a_floating_ip_is(api: Api, other: OtherNetwork, public: str) -> None:
    network, server = other.network(api.project_id), str(uuid.uuid4())
    (subnet,) = other.admin.get(f"{V}/subnets?network_id={network}").json["subnets"]
    router = {"name": "out", "external_gateway_info": {"network_id": public}, "project_id": api.project_id}
    made = other.admin.post(f"{V}/routers", {"router": router}).json["router"]["id"]
    answer = other.admin.put(f"{V}/routers/{made}/add_router_interface", {"subnet_id": subnet["id"]})
    assert answer.status_code == 200, answer.text
    port = other.port(network, api.project_id, device_id=server, device_owner="compute:nova")
    floating = api.post(FLOATING, {"pool": "outside"}).json["floating_ip"]
    other.admin.put(f"{V}/floatingips/{floating['id']}", {"floatingip": {"port_id": port["id"]}})
    shown = api.get(f"{FLOATING}/{floating['id']}").json["floating_ip"]
    assert (shown["instance_id"], shown["fixed_ip"]) == (server, port["fixed_ips"][0]["ip_address"])


def test_no_floating_ips_left(api: Api, other: OtherNetwork, public: str) -> None:
    answer = api.post(FLOATING, {"pool": "none"})
    assert (answer.status_code, message(answer)) == (404, "Floating IP pool not found.")
    assert api.post(FLOATING).status_code == 404, "there is no pool of the default name"
    other.admin.put(f"{V}/quotas/{api.project_id}", {"quota": {"floatingip": 1}})
    assert api.post(FLOATING, {"pool": "outside"}).status_code == 200
    answer = api.post(FLOATING, {"pool": "outside"})
    assert (answer.status_code, message(answer)) == (403, "IP allocation over quota in pool outside.")
    stranger = api.become("member")
    assert [stranger.post(FLOATING, {"pool": "outside"}).status_code for _ in range(2)] == [200, 200]
    answer = stranger.post(FLOATING, {"pool": "outside"})
    assert (answer.status_code, message(answer)) == (404, "No more floating IPs in pool outside.")


def test_two_pools_of_a_name(api: Api, other: OtherNetwork, public: str) -> None:
    other.admin.post(f"{V}/networks", {"network": {"name": "outside", "router:external": True}})
    assert api.post(FLOATING, {"pool": "outside"}).status_code == 400


# --- what Nova does not do with Neutron ---


@pytest.mark.parametrize(
    ("method", "url", "body", "status"),
    [
        ("GET", "/os-fixed-ips/10.9.0.2", None, 404),
        ("GET", "/os-fixed-ips/nowhere", None, 400),
        ("POST", "/os-fixed-ips/10.9.0.2/action", {"reserve": None}, 404),
        ("GET", "/os-floating-ips-bulk", None, 200),
        ("GET", "/os-floating-ips-bulk/host1", None, 404),
        ("POST", "/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.0.2.0/30"}}, 501),
        ("PUT", "/os-floating-ips-bulk/delete", {"ip_range": "192.0.2.0/30"}, 501),
        ("GET", "/os-floating-ip-dns", None, 501),
        ("GET", "/os-floating-ip-dns/example.org/entries/www", None, 501),
        ("DELETE", "/os-floating-ip-dns/example.org", None, 501),
        ("GET", "/os-security-group-default-rules", None, 501),
        ("GET", f"/os-security-group-default-rules/{NOTHING}", None, 501),
        ("GET", "/os-cloudpipe", None, 200),
        ("POST", "/os-cloudpipe", {"cloudpipe": {}}, 501),
    ],
)
def test_what_stays_nova_network_s(admin: Api, method: str, url: str, body: Any, status: int) -> None:
    answer = admin.request(method, url, body)
    assert answer.status_code == status, answer.text


def test_neutron_is_away(api: Api, other: OtherNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other.neutron, "_url", "http://127.0.0.1:9/v2.0")
    for url in ("/os-networks", "/os-tenant-networks", GROUPS, FLOATING, "/os-floating-ip-pools"):
        assert api.get(url).status_code == 503


def test_each_has_one_instead() -> None:
    """All handlers of INSTEAD are of rows that are there, and rows keep their rule and versions."""
    from computeapi.api.compute.routes import COMPUTE

    def handlers(table: Any) -> set[Any]:
        rows = [row for methods in table.values() for row in methods.values()]
        return {each.handler for row in rows for each in (row, *row.actions.values())}

    assert set(remote.INSTEAD) <= handlers(COMPUTE)
    assert not set(remote.INSTEAD) & handlers(remote.routes(COMPUTE))
