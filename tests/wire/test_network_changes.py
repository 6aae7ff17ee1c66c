# SPDX-License-Identifier: Apache-2.0
"""The Networking API: networks, subnets, ports and routers made, changed and deleted; what is refused."""

from __future__ import annotations

import ipaddress
import uuid
from dataclasses import replace
from typing import Any
from unittest.mock import ANY

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_host

V = "/network/v2.0"


def made(answer: Any, word: str) -> dict[str, Any]:
    """What a POST made."""
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json[word]
    return found


def refused(answer: Any, status: int, kind: str) -> str:
    """The sentence of a NeutronError."""
    assert (answer.status_code, answer.json["NeutronError"]["type"]) == (status, kind), answer.text
    return str(answer.json["NeutronError"]["message"])


def network(api: Api, **body: Any) -> dict[str, Any]:
    return made(api.post(f"{V}/networks", {"network": {"name": "net", **body}}), "network")


def subnet(api: Api, network_id: str, cidr: str = "10.5.0.0/24", **body: Any) -> dict[str, Any]:
    version = ipaddress.ip_network(cidr).version
    answer = api.post(
        f"{V}/subnets", {"subnet": {"network_id": network_id, "cidr": cidr, "ip_version": version, **body}}
    )
    return made(answer, "subnet")


def port(api: Api, network_id: str, **body: Any) -> dict[str, Any]:
    return made(api.post(f"{V}/ports", {"port": {"network_id": network_id, **body}}), "port")


# --- networks ---


def test_network_life(api: Api) -> None:
    one = network(api, description="d", mtu=1400)
    assert (one["name"], one["mtu"], one["project_id"], one["subnets"]) == ("net", 1400, api.project_id, [])
    path = f"{V}/networks/{one['id']}"
    changed = api.put(path, {"network": {"name": "other", "admin_state_up": False}}).json["network"]
    assert (changed["name"], changed["admin_state_up"], changed["revision_number"]) == ("other", False, 2)
    assert api.get(path).json["network"] == changed
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("name", 5),
        ("name", "x" * 256),
        ("admin_state_up", "perhaps"),
        ("mtu", -1),
        ("mtu", 2**70),
        ("mtu", "x"),
        ("nonsense", 1),
        ("status", "ACTIVE"),
        ("id", "x"),
        ("availability_zone_hints", ["elsewhere"]),
        ("project_id", "a b"),
        ("tenant_id", {}),
    ],
)
def test_network_bad_values(api: Api, attribute: str, value: object) -> None:
    refused(api.post(f"{V}/networks", {"network": {attribute: value}}), 400, "HTTPBadRequest")


@pytest.mark.parametrize("body", [None, [], {}, {"network": []}, {"network": "x"}, {"subnet": {}}])
def test_bad_bodies(api: Api, body: object) -> None:
    refused(api.post(f"{V}/networks", body), 400, "HTTPBadRequest")


@pytest.mark.parametrize(
    "body",
    [
        {"shared": True},
        {"router:external": True},
        {"provider:network_type": "vlan"},
        {"provider:segmentation_id": 5},
        {"project_id": "f" * 32},
    ],
)
def test_what_only_administrators_say(api: Api, admin: Api, body: dict[str, Any]) -> None:
    refused(api.post(f"{V}/networks", {"network": body}), 403, "PolicyNotAuthorized")
    one = network(admin, **body)
    name, value = next(iter(body.items()))
    assert one[name] == value


def test_a_network_of_somebody_else(api: Api, admin: Api) -> None:
    shared = network(admin, shared=True)
    refused(api.put(f"{V}/networks/{shared['id']}", {"network": {"name": "x"}}), 403, "PolicyNotAuthorized")
    refused(api.delete(f"{V}/networks/{shared['id']}"), 403, "PolicyNotAuthorized")
    hidden = network(admin)
    refused(api.put(f"{V}/networks/{hidden['id']}", {"network": {"name": "x"}}), 404, "NetworkNotFound")
    refused(api.delete(f"{V}/networks/{hidden['id']}"), 404, "NetworkNotFound")
    reader = api.become("reader", project_id=api.project_id)
    refused(reader.post(f"{V}/networks", {"network": {}}), 403, "PolicyNotAuthorized")
    assert reader.get(f"{V}/networks").status_code == 200


def test_network_in_use(api: Api, admin: Api) -> None:
    one = network(api)
    subnet(api, one["id"])
    held = port(api, one["id"])
    refused(api.delete(f"{V}/networks/{one['id']}"), 409, "NetworkInUse")
    assert api.delete(f"{V}/ports/{held['id']}").status_code == 204
    assert api.delete(f"{V}/networks/{one['id']}").status_code == 204
    assert api.get(f"{V}/subnets").json["subnets"] == []


def test_a_shared_network_that_others_use_stays_shared(api: Api, admin: Api) -> None:
    one = network(admin, shared=True)
    port(api, one["id"])
    answer = admin.put(f"{V}/networks/{one['id']}", {"network": {"shared": False}})
    refused(answer, 409, "InvalidSharedSetting")


def test_vlan_twice(admin: Api) -> None:
    network(admin, **{"provider:segmentation_id": 7})
    body = {"provider:segmentation_id": 7, "provider:network_type": "vlan"}
    refused(admin.post(f"{V}/networks", {"network": body}), 409, "VlanIdInUse")
    network(admin, **body, **{"provider:physical_network": "other"})


# --- subnets ---


def test_subnet_life(api: Api) -> None:
    net = network(api)["id"]
    one = subnet(api, net, name="s", dns_nameservers=["8.8.8.8"])
    assert one["gateway_ip"] == "10.5.0.1"
    assert one["allocation_pools"] == [{"start": "10.5.0.2", "end": "10.5.0.254"}]
    assert one["dns_nameservers"] == ["8.8.8.8"]
    path = f"{V}/subnets/{one['id']}"
    changed = api.put(path, {"subnet": {"name": "t", "enable_dhcp": False, "dns_nameservers": []}}).json["subnet"]
    assert (changed["name"], changed["enable_dhcp"], changed["dns_nameservers"]) == ("t", False, [])
    assert api.get(f"{V}/networks/{net}").json["network"]["subnets"] == [one["id"]]
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "SubnetNotFound")


def test_subnet_pools_and_gateways(api: Api) -> None:
    net = network(api)["id"]
    assert subnet(api, net, "10.1.0.0/29", gateway_ip=None)["allocation_pools"] == [
        {"start": "10.1.0.1", "end": "10.1.0.6"}
    ]
    assert subnet(api, net, "10.2.0.0/29", gateway_ip="10.2.0.3")["allocation_pools"] == [
        {"start": "10.2.0.1", "end": "10.2.0.2"},
        {"start": "10.2.0.4", "end": "10.2.0.6"},
    ]
    six = subnet(api, net, "fd00:1::/64", ipv6_ra_mode="slaac", ipv6_address_mode="slaac")
    assert (six["gateway_ip"], six["ipv6_ra_mode"]) == ("fd00:1::1", "slaac")


def test_addresses_come_from_the_pools_alone(api: Api) -> None:
    net = network(api)["id"]
    pools = [{"start": "10.5.0.10", "end": "10.5.0.11"}, {"start": "10.5.0.20", "end": "10.5.0.20"}]
    subnet(api, net, allocation_pools=pools)
    port(api, net, fixed_ips=[{"ip_address": "10.5.0.15"}])
    given = [port(api, net) for _ in range(3)]
    assert [one["fixed_ips"][0]["ip_address"] for one in given] == ["10.5.0.10", "10.5.0.11", "10.5.0.20"]
    refused(api.post(f"{V}/ports", {"port": {"network_id": net}}), 409, "IpAddressGenerationFailure")
    api.delete(f"{V}/ports/{given[1]['id']}")
    assert port(api, net)["fixed_ips"][0]["ip_address"] == "10.5.0.11"


def test_pools_moved(api: Api) -> None:
    net = network(api)["id"]
    one = subnet(api, net, allocation_pools=[{"start": "10.5.0.10", "end": "10.5.0.10"}])
    port(api, net)
    path = f"{V}/subnets/{one['id']}"
    body = {"allocation_pools": [{"start": "10.5.0.5", "end": "10.5.0.10"}]}
    assert api.put(path, {"subnet": body}).json["subnet"]["allocation_pools"] == body["allocation_pools"]
    assert port(api, net)["fixed_ips"][0]["ip_address"] == "10.5.0.5"


def test_no_pools_at_all(api: Api) -> None:
    net = network(api)["id"]
    one = subnet(api, net)
    path = f"{V}/subnets/{one['id']}"
    assert api.put(path, {"subnet": {"allocation_pools": []}}).json["subnet"]["allocation_pools"] == []
    refused(api.post(f"{V}/ports", {"port": {"network_id": net}}), 409, "IpAddressGenerationFailure")
    moved = api.put(path, {"subnet": {"gateway_ip": "10.5.0.9"}}).json["subnet"]
    assert (moved["gateway_ip"], moved["allocation_pools"]) == ("10.5.0.9", [])
    back = [{"start": "10.5.0.20", "end": "10.5.0.30"}]
    assert api.put(path, {"subnet": {"allocation_pools": back}}).json["subnet"]["allocation_pools"] == back
    assert port(api, net)["fixed_ips"][0]["ip_address"] == "10.5.0.20"


def test_the_gateway_moves(api: Api) -> None:
    net = network(api)["id"]
    one = subnet(api, net, allocation_pools=[{"start": "10.5.0.10", "end": "10.5.0.20"}])
    path = f"{V}/subnets/{one['id']}"
    assert api.put(path, {"subnet": {"gateway_ip": "10.5.0.9"}}).json["subnet"]["gateway_ip"] == "10.5.0.9"
    port(api, net, fixed_ips=[{"ip_address": "10.5.0.1"}])
    answer = api.post(f"{V}/ports", {"port": {"network_id": net, "fixed_ips": [{"ip_address": "10.5.0.9"}]}})
    refused(answer, 409, "IpAddressAlreadyAllocated")
    refused(api.put(path, {"subnet": {"gateway_ip": "10.5.0.1"}}), 409, "IpAddressInUse")
    refused(api.put(path, {"subnet": {"gateway_ip": "10.5.0.15"}}), 409, "GatewayConflictWithAllocationPools")
    assert api.put(path, {"subnet": {"gateway_ip": None}}).json["subnet"]["gateway_ip"] is None


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"cidr": "10.0.0.0/33"}, 400, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0"}, 400, "HTTPBadRequest"),
        ({"cidr": "x"}, 400, "HTTPBadRequest"),
        ({"cidr": 5}, 400, "HTTPBadRequest"),
        ({"cidr": "fe80::%eth0/64", "ip_version": 6}, 400, "HTTPBadRequest"),
        ({"cidr": "10.0.0.0/255.255.255.0"}, 400, "HTTPBadRequest"),
        ({"cidr": "0.0.0.0/0"}, 400, "InvalidInput"),
        ({"cidr": "10.0.0.0/31"}, 400, "InvalidInput"),
        ({"cidr": "224.0.0.0/24"}, 400, "InvalidInput"),
        ({"cidr": "10.0.0.0/24", "ip_version": 6}, 400, "InvalidInput"),
        ({"ip_version": 5}, 400, "HTTPBadRequest"),
        ({"ip_version": "x"}, 400, "HTTPBadRequest"),
        ({"cidr": None}, 400, "BadRequest"),
        ({"prefixlen": 24}, 400, "BadRequest"),
        ({"prefixlen": 129}, 400, "HTTPBadRequest"),
        ({"cidr": None, "prefixlen": 24}, 400, "BadRequest"),
        ({"use_default_subnetpool": True}, 400, "BadRequest"),
        ({"subnetpool_id": "x"}, 400, "HTTPBadRequest"),
        ({"subnetpool_id": str(uuid.uuid4())}, 404, "SubnetPoolNotFound"),
        ({"subnetpool_id": str(uuid.uuid4()), "use_default_subnetpool": True}, 400, "BadRequest"),
        ({"gateway_ip": "10.6.0.1"}, 400, "InvalidInput"),
        ({"gateway_ip": "10.5.0.255"}, 400, "InvalidInput"),
        ({"gateway_ip": "x"}, 400, "HTTPBadRequest"),
        ({"dns_nameservers": ["1.1.1.1"] * 2}, 400, "HTTPBadRequest"),
        ({"dns_nameservers": [f"1.1.1.{n}" for n in range(6)]}, 400, "DNSNameServersExhausted"),
        ({"host_routes": [{"destination": "10.0.0.0/8"}]}, 400, "HTTPBadRequest"),
        ({"allocation_pools": [{"start": "10.5.0.9", "end": "10.5.0.8"}]}, 400, "InvalidAllocationPool"),
        ({"allocation_pools": [{"start": "10.5.0.9", "end": "10.5.1.8"}]}, 400, "OutOfBoundsAllocationPool"),
        ({"allocation_pools": [{"start": "10.5.0.9"}]}, 400, "HTTPBadRequest"),
        ({"allocation_pools": [{"start": "fd00::1", "end": "10.5.0.9"}]}, 400, "InvalidAllocationPool"),
        (
            {
                "allocation_pools": [
                    {"start": "10.5.0.9", "end": "10.5.0.20"},
                    {"start": "10.5.0.20", "end": "10.5.0.30"},
                ]
            },
            409,
            "OverlappingAllocationPools",
        ),
        ({"allocation_pools": [{"start": "10.5.0.1", "end": "10.5.0.20"}]}, 409, "GatewayConflictWithAllocationPools"),
        ({"ipv6_ra_mode": "slaac"}, 400, "InvalidInput"),
        ({"network_id": str(uuid.uuid4())}, 404, "NetworkNotFound"),
        ({"network_id": "x"}, 400, "HTTPBadRequest"),
    ],
)
def test_subnet_refused(api: Api, body: dict[str, Any], status: int, kind: str) -> None:
    net = network(api)["id"]
    given = {"network_id": net, "cidr": "10.5.0.0/24", "ip_version": 4, **body}
    refused(api.post(f"{V}/subnets", {"subnet": given}), status, kind)
    assert api.get(f"{V}/subnets").json["subnets"] == []


def test_overlapping_subnets(api: Api) -> None:
    net = network(api)["id"]
    subnet(api, net, "10.5.0.0/24")
    body = {"network_id": net, "cidr": "10.5.0.128/25", "ip_version": 4}
    assert "overlaps with another subnet" in refused(api.post(f"{V}/subnets", {"subnet": body}), 400, "InvalidInput")
    subnet(api, network(api)["id"], "10.5.0.0/24")


def test_a_host_can_serve_one_of_two(settings: Settings, db: Database) -> None:
    """Two networks with the same addresses, also two projects', are refused while they are made, where a host would
    have to be the gateway of both."""
    real = replace(settings, hypervisor="libvirt")
    strict, loose = (create_app(each, db=db) for each in (real, replace(real, allow_overlapping_ips=True)))
    codec = TokenCodec(settings.secret("tokens"))
    admin = Api(strict, codec, ("admin",), uuid.uuid4().hex, uuid.uuid4().hex)
    api, stranger = admin.become("member"), admin.become("member")
    mine, theirs = network(api)["id"], network(stranger)["id"]
    subnet(api, mine, "10.5.0.0/24")
    body = {"network_id": theirs, "cidr": "10.5.0.128/25", "ip_version": 4}
    said = refused(stranger.post(f"{V}/subnets", {"subnet": body}), 400, "InvalidInput")
    assert f"Requested subnet with cidr: 10.5.0.128/25 for network: {theirs} overlaps with another subnet" in said
    assert stranger.get(f"{V}/subnets").json["subnets"] == []
    pools = [{"start": "10.5.0.140", "end": "10.5.0.150"}]
    without = {**body, "gateway_ip": None, "allocation_pools": pools}
    alone = made(stranger.post(f"{V}/subnets", {"subnet": without}), "subnet")
    path = f"{V}/subnets/{alone['id']}"
    refused(stranger.put(path, {"subnet": {"gateway_ip": "10.5.0.129"}}), 400, "InvalidInput")
    assert api.delete(f"{V}/networks/{mine}").status_code == 204
    assert stranger.put(path, {"subnet": {"gateway_ip": "10.5.0.129"}}).status_code == 200
    external = made(admin.post(f"{V}/networks", {"network": {"router:external": True}}), "network")["id"]
    assert admin.post(f"{V}/subnets", {"subnet": {**body, "network_id": external}}).status_code == 201
    easy = Api(loose, codec, ("member",), api.project_id, api.user_id)
    subnet(easy, network(easy)["id"], "10.5.0.0/24")


def test_projects_do_not_take_the_hosts_routes(settings: Settings, db: Database) -> None:
    """A host is the gateway of its guests' networks, and so sends there what is for their addresses."""
    real = replace(settings, hypervisor="libvirt", project_networks="10.0.0.0/8, 198.51.100.0/24,fd00::/8")
    codec = TokenCodec(settings.secret("tokens"))
    admin = Api(create_app(real, db=db), codec, ("admin",), uuid.uuid4().hex, uuid.uuid4().hex)
    api = admin.become("member")
    add_host(db, "host1", host_ip="10.20.0.5")
    net, tenant = network(api)["id"], "/v2.1/os-tenant-networks"
    for cidr in ("8.8.8.0/24", "128.0.0.0/1", "169.254.0.0/16", "192.168.0.0/24", "10.20.0.0/24", "2000::/3"):
        body = {"network_id": net, "cidr": cidr, "ip_version": 6 if ":" in cidr else 4}
        said = refused(api.post(f"{V}/subnets", {"subnet": body}), 400, "InvalidInput")
        assert (
            said == f"Invalid input for operation: projects' networks with a gateway can't have the addresses {cidr} "
            "in this cloud."
        )
        name = "cidr_v6" if ":" in cidr else "cidr"
        assert api.post(tenant, {"network": {"label": "x", name: cidr}}).status_code == 400
    alone = subnet(api, net, "8.8.8.0/24", gateway_ip=None)
    refused(api.put(f"{V}/subnets/{alone['id']}", {"subnet": {"gateway_ip": "8.8.8.1"}}), 400, "InvalidInput")
    for cidr in ("10.21.0.0/24", "198.51.100.0/24", "fd00:7::/64"):
        subnet(api, net, cidr)
    for asker, cidr, vlan in ((api, "10.22.0.0/24", None), (admin, "10.23.0.0/24", 7)):
        made_now = asker.post(tenant, {"network": {"label": "x", "cidr": cidr, "vlan_start": 7}})
        assert made_now.status_code == 202, made_now.text
        assert admin.get(f"/os-networks/{made_now.json['network']['id']}").json["network"]["vlan"] == vlan
    subnet(admin, network(admin)["id"], "8.8.4.0/24")


def test_subnet_in_use(api: Api) -> None:
    net = network(api)["id"]
    one = subnet(api, net)
    port(api, net)
    refused(api.delete(f"{V}/subnets/{one['id']}"), 409, "SubnetInUse")


def test_a_subnet_on_somebody_elses_network(api: Api, admin: Api) -> None:
    shared = network(admin, shared=True)["id"]
    body = {"network_id": shared, "cidr": "10.5.0.0/24", "ip_version": 4}
    refused(api.post(f"{V}/subnets", {"subnet": body}), 403, "PolicyNotAuthorized")


# --- ports ---


def test_port_life(api: Api) -> None:
    net = network(api)["id"]
    sub = subnet(api, net)["id"]
    one = port(api, net, name="p", mac_address="FA:16:3E:00:00:01", security_groups=[], device_id="x", device_owner="y")
    assert one["fixed_ips"] == [{"subnet_id": sub, "ip_address": "10.5.0.2"}]
    assert (one["mac_address"], one["status"], one["device_id"]) == ("fa:16:3e:00:00:01", "DOWN", "x")
    path = f"{V}/ports/{one['id']}"
    body = {
        "name": "q",
        "fixed_ips": [{"subnet_id": sub}, {"ip_address": "10.5.0.9"}],
        "allowed_address_pairs": [{"ip_address": "10.9.0.0/16"}],
    }
    changed = api.put(path, {"port": body}).json["port"]
    assert [item["ip_address"] for item in changed["fixed_ips"]] == ["10.5.0.2", "10.5.0.9"]
    assert changed["allowed_address_pairs"] == [{"ip_address": "10.9.0.0/16"}]
    changed = api.put(path, {"port": {"fixed_ips": []}}).json["port"]
    assert changed["fixed_ips"] == []
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "PortNotFound")
    assert port(api, net)["fixed_ips"][0]["ip_address"] == "10.5.0.2"


def test_port_of_two_families(api: Api) -> None:
    net = network(api)["id"]
    subnet(api, net)
    subnet(api, net, "10.6.0.0/24")
    subnet(api, net, "fd00::/64")
    assert [item["ip_address"] for item in port(api, net)["fixed_ips"]] == ["10.5.0.2", "fd00::2"]
    assert port(api, net, fixed_ips=[])["fixed_ips"] == []


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        ({"fixed_ips": [{"ip_address": "10.5.0.1"}]}, 409, "IpAddressAlreadyAllocated"),
        ({"fixed_ips": [{"ip_address": "10.6.0.1"}]}, 400, "InvalidIpForNetwork"),
        ({"fixed_ips": [{"ip_address": "10.5.0.255"}]}, 400, "InvalidIpForNetwork"),
        ({"fixed_ips": [{"subnet_id": str(uuid.uuid4())}]}, 400, "InvalidInput"),
        ({"fixed_ips": [{}]}, 400, "InvalidInput"),
        ({"fixed_ips": [{"ip_address": f"10.5.0.{n}"} for n in range(2, 9)]}, 400, "InvalidInput"),
        ({"fixed_ips": [{"ip_address": "x"}]}, 400, "HTTPBadRequest"),
        ({"fixed_ips": "x"}, 400, "HTTPBadRequest"),
        ({"mac_address": "x"}, 400, "HTTPBadRequest"),
        ({"mac_address": "01:00:00:00:00:01"}, 400, "HTTPBadRequest"),
        ({"network_id": str(uuid.uuid4())}, 404, "NetworkNotFound"),
        ({"binding:host_id": "h"}, 403, "PolicyNotAuthorized"),
        ({"device_owner": "network:dhcp"}, 403, "PolicyNotAuthorized"),
        ({"security_groups": ["x"]}, 400, "HTTPBadRequest"),
        ({"allowed_address_pairs": [{"ip_address": "x"}]}, 400, "HTTPBadRequest"),
        ({"allowed_address_pairs": [{"ip_address": "::% } }\n}\nflush ruleset\n#/1"}]}, 400, "HTTPBadRequest"),
        ({"allowed_address_pairs": [{"ip_address": "fe80::1%eth0"}]}, 400, "HTTPBadRequest"),
        ({"binding:vnic_type": "direct"}, 400, "HTTPBadRequest"),
        ({"binding:profile": "x"}, 400, "HTTPBadRequest"),
        ({"status": "ACTIVE"}, 400, "HTTPBadRequest"),
    ],
)
def test_port_refused(api: Api, body: dict[str, Any], status: int, kind: str) -> None:
    net = network(api)["id"]
    subnet(api, net)
    refused(api.post(f"{V}/ports", {"port": {"network_id": net, **body}}), status, kind)
    assert api.get(f"{V}/ports").json["ports"] == []


@pytest.mark.parametrize(
    "body",
    [
        {"fixed_ips": [{"ip_address": "10.5.0.9"}]},
        {"mac_address": "fa:16:3e:00:00:01"},
        {"port_security_enabled": False},
        {"port_security_enabled": True},
        {"allowed_address_pairs": [{"ip_address": "0.0.0.0/0"}]},
    ],
)
def test_guests_on_anothers_network_are_who_they_are_told_to_be(api: Api, admin: Api, body: dict[str, Any]) -> None:
    shared = network(admin, shared=True)["id"]
    sub = subnet(admin, shared)["id"]
    refused(api.post(f"{V}/ports", {"port": {"network_id": shared, **body}}), 403, "PolicyNotAuthorized")
    mine = port(api, shared, fixed_ips=[{"subnet_id": sub}], allowed_address_pairs=[])
    path = f"{V}/ports/{mine['id']}"
    refused(api.put(path, {"port": body}), 403, "PolicyNotAuthorized")
    same = {"fixed_ips": mine["fixed_ips"], "name": "n", "allowed_address_pairs": []}
    assert api.put(path, {"port": same}).status_code == 200
    assert api.get(path).json["port"] == mine | {"name": "n", "revision_number": 2, "updated_at": ANY}
    assert admin.post(f"{V}/ports", {"port": {"network_id": shared, **body}}).status_code == 201
    assert api.post(f"{V}/ports", {"ports": [{"network_id": shared, **body}]}).status_code == 403


def test_mac_twice(api: Api) -> None:
    net = network(api)["id"]
    port(api, net, mac_address="fa:16:3e:00:00:01")
    body = {"network_id": net, "mac_address": "fa:16:3e:00:00:01"}
    refused(api.post(f"{V}/ports", {"port": body}), 409, "MacAddressInUse")


def test_ports_of_servers_stay_theirs(api: Api, make_server: MakeServer) -> None:
    net = network(api)["id"]
    subnet(api, net)
    make_server(network=net)
    (one,) = api.get(f"{V}/ports").json["ports"]
    path = f"{V}/ports/{one['id']}"
    refused(api.put(path, {"port": {"device_id": "another"}}), 409, "PortInUse")
    assert api.put(path, {"port": {"name": "n", "device_id": one["device_id"]}}).json["port"]["name"] == "n"


def test_ports_on_networks_of_others(api: Api, admin: Api) -> None:
    shared, external = network(admin, shared=True)["id"], network(admin, **{"router:external": True})["id"]
    sub = subnet(admin, shared)["id"]
    port(api, shared)
    refused(api.post(f"{V}/ports", {"port": {"network_id": external}}), 403, "PolicyNotAuthorized")
    other = api.become("member")
    refused(other.get(f"{V}/ports/{api.get(f'{V}/ports').json['ports'][0]['id']}"), 404, "PortNotFound")
    assert other.get(f"{V}/subnets/{sub}").status_code == 200


# --- routers ---


def router(api: Api, **body: Any) -> dict[str, Any]:
    return made(api.post(f"{V}/routers", {"router": {"name": "r", **body}}), "router")


def test_router_life(api: Api, admin: Api) -> None:
    public = network(admin, **{"router:external": True})["id"]
    subnet(admin, public, "192.0.2.0/24")
    net = network(api)["id"]
    sub = subnet(api, net)["id"]
    one = router(api, external_gateway_info={"network_id": public})
    assert one["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "192.0.2.2"
    assert one["external_gateway_info"]["enable_snat"] is True
    path = f"{V}/routers/{one['id']}"
    added = api.put(f"{path}/add_router_interface", {"subnet_id": sub})
    assert added.status_code == 200
    assert added.json["subnet_ids"] == [sub]
    inside = api.get(f"{V}/ports/{added.json['port_id']}").json["port"]
    assert inside["fixed_ips"] == [{"subnet_id": sub, "ip_address": "10.5.0.1"}]
    assert (inside["device_id"], inside["device_owner"]) == (one["id"], "network:router_interface")
    assert len(api.get(f"{V}/ports?device_id={one['id']}").json["ports"]) == 1
    refused(api.delete(f"{V}/ports/{inside['id']}"), 409, "ServicePortInUse")
    refused(api.put(f"{path}/add_router_interface", {"subnet_id": sub}), 400, "BadRequest")
    refused(
        api.put(f"{V}/subnets/{sub}", {"subnet": {"gateway_ip": "10.5.0.254"}}),
        409,
        "GatewayConflictWithAllocationPools",
    )
    refused(api.delete(path), 409, "RouterInUse")
    refused(api.delete(f"{V}/networks/{net}"), 409, "NetworkInUse")
    assert admin.put(f"{V}/networks/{public}", {"network": {"router:external": False}}).status_code == 409
    removed = api.put(f"{path}/remove_router_interface", {"subnet_id": sub})
    assert removed.json == added.json
    answer = api.post(f"{V}/ports", {"port": {"network_id": net, "fixed_ips": [{"ip_address": "10.5.0.1"}]}})
    refused(answer, 409, "IpAddressAlreadyAllocated")
    assert port(api, net)["fixed_ips"][0]["ip_address"] == "10.5.0.2"
    cleared = api.put(path, {"router": {"external_gateway_info": {}}}).json["router"]
    assert cleared["external_gateway_info"] is None
    assert api.delete(path).status_code == 204
    refused(api.get(path), 404, "RouterNotFound")


def test_routes_are_added_and_removed(api: Api) -> None:
    sub = subnet(api, network(api)["id"])["id"]
    path = f"{V}/routers/{router(api)['id']}"
    api.put(f"{path}/add_router_interface", {"subnet_id": sub})
    first, second = ({"destination": f"10.9{n}.0.0/16", "nexthop": f"10.5.0.{n}"} for n in (2, 3))
    assert api.put(path, {"router": {"routes": [first]}}).json["router"]["routes"] == [first]
    for _ in range(2):  # what is there already is no error
        added = api.put(f"{path}/add_extraroutes", {"router": {"routes": [second]}})
        assert (added.status_code, added.json["router"]["routes"]) == (200, [first, second])
    for _ in range(2):  # neither is what is gone
        removed = api.put(f"{path}/remove_extraroutes", {"router": {"routes": [first]}})
        assert (removed.status_code, removed.json["router"]["routes"]) == (200, [second])
    unreachable = {"routes": [{"destination": "10.94.0.0/16", "nexthop": "10.6.0.1"}]}
    refused(api.put(f"{path}/add_extraroutes", {"router": unreachable}), 400, "InvalidRoutes")
    many = {"routes": [{"destination": f"10.8.{n}.0/24", "nexthop": "10.5.0.9"} for n in range(30)]}
    refused(api.put(f"{path}/add_extraroutes", {"router": many}), 400, "RoutesExhausted")
    refused(api.put(f"{path}/add_extraroutes", {"router": {}}), 400, "BadRequest")
    refused(api.put(f"{path}/remove_extraroutes", {"router": {"routes": "x"}}), 400, "HTTPBadRequest")
    other = api.become("member")
    refused(other.put(f"{path}/add_extraroutes", {"router": {"routes": [first]}}), 404, "RouterNotFound")


def test_ports_by_the_host_they_are_bound_to(api: Api, admin: Api) -> None:
    net = network(admin, shared=True)["id"]
    subnet(admin, net)
    bound = port(admin, net, **{"binding:host_id": "host7"})["id"]
    port(admin, net)
    for query, ids in (("host7", [bound]), ("host", []), ("other", [])):
        assert [item["id"] for item in admin.get(f"{V}/ports?binding:host_id={query}").json["ports"]] == ids


def test_router_by_port(api: Api) -> None:
    net = network(api)["id"]
    subnet(api, net)
    held = port(api, net)
    path = f"{V}/routers/{router(api)['id']}"
    assert api.put(f"{path}/add_router_interface", {"port_id": held["id"]}).status_code == 200
    refused(api.put(f"{path}/add_router_interface", {"port_id": held["id"]}), 409, "PortInUse")
    nearby = {"routes": [{"destination": "10.9.0.0/16", "nexthop": "10.5.0.77"}]}
    assert api.put(path, {"router": nearby}).json["router"]["routes"] == nearby["routes"]
    far = {"routes": [{"destination": "10.9.0.0/16", "nexthop": "10.8.0.77"}]}
    refused(api.put(path, {"router": far}), 400, "InvalidRoutes")
    assert api.put(f"{path}/remove_router_interface", {"port_id": held["id"]}).status_code == 200


@pytest.mark.parametrize("body", [None, [], {}, {"subnet_id": "x"}, {"subnet_id": 5}, {"port_id": {}}])
def test_bad_interfaces(api: Api, body: object) -> None:
    path = f"{V}/routers/{router(api)['id']}"
    for verb in ("add", "remove"):
        answer = api.put(f"{path}/{verb}_router_interface", body)
        assert answer.status_code == 400, answer.text


def test_interfaces_refused(api: Api, admin: Api) -> None:
    path = f"{V}/routers/{router(api)['id']}"
    net = network(api)["id"]
    missing = {"subnet_id": str(uuid.uuid4())}
    refused(api.put(f"{path}/add_router_interface", missing), 404, "SubnetNotFound")
    refused(api.put(f"{path}/remove_router_interface", missing), 404, "RouterInterfaceNotFoundForSubnet")
    refused(
        api.put(f"{path}/remove_router_interface", {"port_id": missing["subnet_id"]}), 404, "RouterInterfaceNotFound"
    )
    closed = subnet(api, net, gateway_ip=None)["id"]
    refused(api.put(f"{path}/add_router_interface", {"subnet_id": closed}), 400, "BadRequest")
    one, two = subnet(api, net, "10.7.0.0/24")["id"], subnet(api, network(api)["id"], "10.7.0.0/25")["id"]
    assert api.put(f"{path}/add_router_interface", {"subnet_id": one}).status_code == 200
    assert "overlaps" in refused(api.put(f"{path}/add_router_interface", {"subnet_id": two}), 400, "BadRequest")
    shared = subnet(admin, network(admin, shared=True)["id"], "10.8.0.0/24")["id"]
    refused(api.put(f"{path}/add_router_interface", {"subnet_id": shared}), 403, "PolicyNotAuthorized")
    refused(api.post(f"{V}/routers", {"router": {"external_gateway_info": {"network_id": net}}}), 400, "BadRequest")
    assert len(api.get(f"{V}/routers").json["routers"]) == 1


# --- quotas, tags, small lists ---


def test_quotas(api: Api, admin: Api) -> None:
    path = f"{V}/quotas/{api.project_id}"
    default = api.get(path).json["quota"]
    assert default["port"] == 500
    refused(api.put(path, {"quota": {"network": 1}}), 403, "PolicyNotAuthorized")
    refused(api.get(f"{V}/quotas/{admin.project_id}"), 403, "PolicyNotAuthorized")
    changed = admin.put(path, {"quota": {"network": 1, "port": -1}}).json["quota"]
    assert (changed["network"], changed["port"]) == (1, -1)
    network(api)
    refused(api.post(f"{V}/networks", {"network": {}}), 409, "OverQuota")
    for tail in ("details", "details.json"):
        assert api.get(f"{path}/{tail}").json["quota"]["network"] == {"limit": 1, "used": 1, "reserved": 0}
    assert admin.get(f"{V}/quotas").json["quotas"][0]["project_id"] == api.project_id
    refused(admin.put(path, {"quota": {"network": -2}}), 400, "HTTPBadRequest")
    refused(admin.put(path, {"quota": {"nonsense": 2}}), 400, "HTTPBadRequest")
    assert admin.delete(path).status_code == 204
    assert api.get(path).json["quota"] == default == api.get(f"{path}/default").json["quota"]
    assert api.get(f"{V}/quotas/tenant").json["tenant"]["tenant_id"] == api.project_id


def test_tags(api: Api) -> None:
    path = f"{V}/networks/{network(api)['id']}"
    assert api.put(f"{path}/tags", {"tags": ["a", "b", "a"]}).json == {"tags": ["a", "b"]}
    assert api.put(f"{path}/tags/c").status_code == 201
    assert api.get(f"{path}/tags").json == {"tags": ["a", "b", "c"]}
    assert api.get(path).json["network"]["tags"] == ["a", "b", "c"]
    assert api.get(f"{path}/tags/c").status_code == 204
    for query, count in (("tags=a,b", 1), ("tags=a,z", 0), ("tags-any=a,z", 1), ("not-tags=a", 0), ("tags=A", 0)):
        assert len(api.get(f"{V}/networks?{query}").json["networks"]) == count, query
    assert api.delete(f"{path}/tags/c").status_code == 204
    refused(api.delete(f"{path}/tags/c"), 404, "TagNotFound")
    refused(api.get(f"{path}/tags/c"), 404, "TagNotFound")
    assert api.post(f"{path}/tags", {"tags": ["z", "b"]}).json == {"tags": ["z", "b"]}
    assert api.post(f"{path}/tags", {"tags": []}).json == {"tags": []}
    assert api.get(f"{path}/tags").json == {"tags": ["a", "b", "z"]}
    refused(api.post(f"{path}/tags", {"tags": [str(n) for n in range(48)]}), 400, "HTTPBadRequest")
    refused(api.post(f"{path}/tags", {"tags": "a"}), 400, "HTTPBadRequest")
    assert api.become("member").post(f"{path}/tags", {"tags": ["a"]}).status_code == 404
    for body in ({"tags": "a"}, {"tags": [5]}, {}, None, {"tags": [str(n) for n in range(51)]}):
        refused(api.put(f"{path}/tags", body), 400, "HTTPBadRequest")
    assert api.delete(f"{path}/tags").status_code == 204
    assert api.get(path).json["network"]["tags"] == []


def test_small_lists(api: Api, admin: Api) -> None:
    assert {item["resource"] for item in api.get(f"{V}/availability_zones").json["availability_zones"]} == {
        "network",
        "router",
    }
    assert admin.get(f"{V}/agents").json == {"agents": []}
    assert api.get(f"{V}/agents").json == {"agents": []}
    assert api.get(f"{V}/agents/x").status_code == 403
    assert api.get(f"{V}/service-providers").json == {"service_providers": []}
    net = network(api)["id"]
    subnet(api, net, "10.5.0.0/29")
    port(api, net)
    assert api.get(f"{V}/network-ip-availabilities").status_code == 403
    one = admin.get(f"{V}/network-ip-availabilities/{net}").json["network_ip_availability"]
    assert (one["total_ips"], one["used_ips"]) == (5, 1)
    listed = admin.get(f"{V}/network-ip-availabilities?ip_version=6").json["network_ip_availabilities"]
    assert listed == []


def test_a_cidr_with_host_bits(api: Api) -> None:
    made_of = subnet(api, network(api)["id"], "10.99.0.0/16")["cidr"]
    body = {"network_id": network(api)["id"], "cidr": "10.99.99.0/16", "ip_version": 4}
    assert made(api.post(f"{V}/subnets", {"subnet": body}), "subnet")["cidr"] == made_of


# --- several at once ---


def test_bulk(api: Api) -> None:
    body = {"networks": [{"name": "a"}, {"network": {"name": "b"}}]}
    first, second = made(api.post(f"{V}/networks", body), "networks")
    assert (first["name"], second["name"]) == ("a", "b")
    blocks = [{"network_id": n["id"], "cidr": "10.7.0.0/24", "ip_version": 4} for n in (first, second)]
    assert [s["cidr"] for s in made(api.post(f"{V}/subnets", {"subnets": blocks}), "subnets")] == ["10.7.0.0/24"] * 2
    ports = made(
        api.post(f"{V}/ports", {"ports": [{"network_id": first["id"]}, {"network_id": second["id"]}]}), "ports"
    )
    assert [p["network_id"] for p in ports] == [first["id"], second["id"]]
    routers = made(api.post(f"{V}/routers", {"routers": [{"name": "r"}]}), "routers")
    assert [r["name"] for r in routers] == ["r"]


def test_bulk_makes_all_or_none(api: Api) -> None:
    one = network(api)
    ports = [{"network_id": one["id"]}, {"network_id": str(uuid.uuid4())}]
    assert api.post(f"{V}/ports", {"ports": ports}).status_code == 404
    assert api.get(f"{V}/ports").json["ports"] == []


@pytest.mark.parametrize("bodies", [[], {}, None, 5, [{"name": "n"}] * 101, [None], ["x"], [{"name": 5}]])
def test_bulk_bad_values(api: Api, bodies: object) -> None:
    refused(api.post(f"{V}/networks", {"networks": bodies}), 400, "HTTPBadRequest")
