# SPDX-License-Identifier: Apache-2.0
"""os-networks, os-tenant-networks, os-fixed-ips, os-virtual-interfaces: the HTTP conversation."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.db.queries import addresses
from tests.conftest import Api
from tests.wire.conftest import MakeServer

KEYS = {
    "bridge",
    "bridge_interface",
    "broadcast",
    "cidr",
    "cidr_v6",
    "created_at",
    "deleted",
    "deleted_at",
    "dhcp_server",
    "dhcp_start",
    "dns1",
    "dns2",
    "enable_dhcp",
    "gateway",
    "gateway_v6",
    "host",
    "id",
    "injected",
    "label",
    "mtu",
    "multi_host",
    "netmask",
    "netmask_v6",
    "priority",
    "project_id",
    "rxtx_base",
    "share_address",
    "updated_at",
    "vlan",
    "vpn_private_address",
    "vpn_public_address",
    "vpn_public_port",
}
REFERENCE = {
    "label": "new net 111",
    "cidr": "10.20.105.0/24",
    "mtu": 9000,
    "dhcp_server": "10.20.105.2",
    "enable_dhcp": False,
    "share_address": True,
    "allowed_start": "10.20.105.10",
    "allowed_end": "10.20.105.200",
}


def make(admin: Api, **body: Any) -> dict[str, Any]:
    answer = admin.post("/os-networks", {"network": {"label": "n", "cidr": "10.5.0.0/24", **body}})
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json["network"]
    return made


def test_create_as_the_reference_shows(admin: Api, api: Api) -> None:
    answer = admin.post("/os-networks", {"network": REFERENCE})
    assert answer.status_code == 202
    made = answer.json["network"]
    assert set(made) == KEYS
    for name, value in REFERENCE.items():
        if not name.startswith("allowed"):
            assert made[name] == value, name
    assert made["gateway"] == "10.20.105.1"
    assert made["broadcast"] == "10.20.105.255"
    assert made["netmask"] == "255.255.255.0"
    assert made["dhcp_start"] == "10.20.105.10"
    assert admin.get(f"/os-networks/{made['id']}").json["network"] == made
    assert admin.get("/os-networks").json["networks"] == [made]
    seen = api.get(f"/os-networks/{made['id']}").json["network"]
    assert set(seen) == {
        "id", "label", "cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6"
    }  # fmt: skip
    shown = api.get(f"/network/v2.0/networks/{made['id']}").json["network"]
    assert (shown["name"], shown["shared"], shown["mtu"]) == ("new net 111", True, 9000)
    (subnet,) = api.get("/network/v2.0/subnets").json["subnets"]
    assert subnet["allocation_pools"] == [{"start": "10.20.105.10", "end": "10.20.105.200"}]
    assert subnet["enable_dhcp"] is False


def test_numbers_and_flags_as_novaclient_writes_them(admin: Api) -> None:
    body = {"vlan": "5", "mtu": "1400", "priority": "3", "multi_host": "True", "enable_dhcp": "False"}
    made = make(admin, **body, bridge="brx", bridge_interface="eth9", share_address="False", project_id=None)
    assert {name: made[name] for name in ("vlan", "mtu", "priority", "multi_host", "enable_dhcp", "share_address")} == {
        "vlan": 5, "mtu": 1400, "priority": 3, "multi_host": True, "enable_dhcp": False, "share_address": False
    }  # fmt: skip
    assert (made["bridge"], made["bridge_interface"]) == ("brx", "eth9")
    bad = {"label": "m", "cidr": "10.6.0.0/24", "priority": "high"}
    assert admin.post("/os-networks", {"network": bad}).status_code == 400


def test_two_families(admin: Api) -> None:
    made = make(admin, cidr_v6="fd00::/64", dns1="8.8.4.4", dns2="8.8.8.8", gateway="10.5.0.254", vlan=5)
    assert (made["cidr_v6"], made["gateway_v6"], made["netmask_v6"]) == ("fd00::/64", "fd00::1", "64")
    assert (made["dns1"], made["dns2"], made["gateway"], made["vlan"]) == ("8.8.4.4", "8.8.8.8", "10.5.0.254", 5)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"cidr": "10.20.0.0/33"}, 400),
        ({"cidr": "10.20.0.0"}, 400),
        ({"cidr": "fe80::%eth0/64"}, 400),
        ({"cidr": 5}, 400),
        ({"cidr": None}, 400),
        ({"cidr": "0.0.0.0/0"}, 400),
        ({"cidr": "10.20.0.0/32"}, 400),
        ({"cidr": "224.0.0.0/8"}, 400),
        ({"label": ""}, 400),
        ({"label": "x" * 256}, 400),
        ({"label": None}, 400),
        ({"gateway": "10.6.0.1"}, 400),
        ({"gateway": "x"}, 400),
        ({"dhcp_server": "10.6.0.1"}, 400),
        ({"allowed_start": "10.6.0.1"}, 400),
        ({"allowed_start": "10.5.0.20", "allowed_end": "10.5.0.10"}, 400),
        ({"mtu": 10**30}, 400),
        ({"mtu": "x"}, 400),
        ({"vlan": 5000}, 400),
        ({"vlan": -1}, 400),
        ({"bridge": "a b;rm -rf"}, 400),
        ({"project_id": "a/b"}, 400),
        ({"nonsense": 1}, 400),
        ({"enable_dhcp": "perhaps"}, 400),
        ({"cidr": "10.1.0.0/25"}, 409),
        ({"cidr": "10.0.0.0/8"}, 409),
    ],
)
def test_create_refused(admin: Api, network: str, body: dict[str, Any], status: int) -> None:
    answer = admin.post("/os-networks", {"network": {"label": "n", "cidr": "10.5.0.0/24", **body}})
    assert answer.status_code == status, answer.text
    assert len(admin.get("/os-networks").json["networks"]) == 1


def test_vlan_twice(admin: Api) -> None:
    make(admin, vlan=7)
    answer = admin.post("/os-networks", {"network": {"label": "n", "cidr": "10.6.0.0/24", "vlan": "7"}})
    assert answer.status_code == 409


def test_who_sees_and_does_what(api: Api, admin: Api) -> None:
    own = make(admin, project_id=api.project_id)
    other = make(admin, cidr="10.6.0.0/24", project_id=admin.project_id)
    assert [item["id"] for item in api.get("/os-networks").json["networks"]] == [own["id"]]
    missing = api.get(f"/os-networks/{other['id']}")
    assert (missing.status_code, missing.json["itemNotFound"]["message"]) == (404, "Network not found")
    for answer in (
        api.post("/os-networks", {"network": {"label": "n", "cidr": "10.7.0.0/24"}}),
        api.delete(f"/os-networks/{own['id']}"),
        api.post("/os-networks/add", {"id": own["id"]}),
        api.post(f"/os-networks/{own['id']}/action", {"disassociate": None}),
        api.post(f"/os-networks/{own['id']}/action", {"associate_host": "h"}),
    ):
        assert answer.status_code == 403
    assert admin.get(f"/os-networks/{uuid.uuid4()}").status_code == 404
    assert len(admin.get("/os-networks?limit=1").json["networks"]) == 1
    assert admin.get(f"/os-networks?marker={own['id']}").json["networks"][0]["id"] == other["id"]
    assert admin.get("/os-networks?marker=x").status_code == 400


def test_whose_a_network_is(api: Api, admin: Api) -> None:
    made = make(admin, project_id=api.project_id)
    path = f"/os-networks/{made['id']}"
    assert admin.delete(path).status_code == 409
    assert admin.post(f"{path}/action", {"associate_host": "host7"}).status_code == 202
    assert admin.get(path).json["network"]["host"] == "host7"
    assert admin.post(f"{path}/action", {"disassociate_host": None}).status_code == 202
    assert admin.get(path).json["network"]["host"] is None
    assert admin.post(f"{path}/action", {"disassociate_project": None}).status_code == 202
    assert admin.get(path).json["network"]["project_id"] is None
    assert api.get("/os-networks").json["networks"] == []
    assert admin.post("/os-networks/add", {"id": None}).status_code == 202
    assert admin.get(path).json["network"]["project_id"] == admin.project_id
    assert admin.post("/os-networks/add", {"id": None}).status_code == 400
    assert admin.post("/os-networks/add", {"id": str(uuid.uuid4())}).status_code == 400
    assert admin.post("/os-networks/add", {}).status_code == 400
    admin.post(f"{path}/action", {"associate_host": "host7"})
    assert admin.post(f"{path}/action", {"disassociate": None}).status_code == 202
    shown = admin.get(path).json["network"]
    assert (shown["host"], shown["project_id"]) == (None, None)
    assert admin.delete(path).status_code == 202
    assert admin.get(path).status_code == 404
    assert admin.delete(path).status_code == 404
    assert admin.post(f"{path}/action", {"disassociate_host": None}).status_code == 404
    for body in ({"associate_host": "a b"}, {"associate_host": None}, {"nonsense": 1}, {}):
        assert admin.post(f"{path}/action", body).status_code == 400


def test_a_network_in_use(admin: Api, network: str, make_server: MakeServer) -> None:
    make_server(network=network)
    answer = admin.delete(f"/os-networks/{network}")
    assert answer.status_code == 409
    assert "in use" in answer.json["conflictingRequest"]["message"]


def test_proxies_end(admin: Api) -> None:
    assert admin.get("/os-networks", version="2.3").status_code == 200
    assert admin.get("/v2/os-networks").status_code == 200


# --- os-tenant-networks ---


def test_tenant_networks(api: Api, admin: Api, network: str) -> None:
    body = {"label": "public", "cidr": "172.0.0.0/24", "vlan_start": 1, "num_networks": 1, "network_size": 255}
    answer = api.post("/os-tenant-networks", {"network": body})
    assert answer.status_code == 202, answer.text
    made = answer.json["network"]
    assert made == {"id": made["id"], "cidr": "172.0.0.0/24", "label": "public"}
    assert api.get(f"/os-tenant-networks/{made['id']}").json["network"] == made
    assert made in api.get("/os-tenant-networks").json["networks"]
    other = api.become("member")
    assert other.get(f"/os-tenant-networks/{made['id']}").status_code == 404
    assert other.delete(f"/os-tenant-networks/{made['id']}").status_code == 404
    assert api.delete(f"/os-tenant-networks/{network}").status_code == 403
    assert api.post("/os-tenant-networks", {"network": body}).status_code == 409
    assert api.delete(f"/os-tenant-networks/{made['id']}").status_code == 202
    assert api.get(f"/os-tenant-networks/{made['id']}").status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"label": "x"},
        {"label": "x", "cidr": "x"},
        {"label": "x", "cidr": "10.9.0.0/31"},
        {"label": "x", "cidr": "10.9.0.0/24", "num_networks": 2},
        {"label": "x", "cidr": "10.9.0.0/24", "num_networks": 10**20},
        {"label": "x", "cidr": "10.9.0.0/24", "nonsense": 1},
    ],
)
def test_tenant_networks_refused(api: Api, body: dict[str, Any]) -> None:
    assert api.post("/os-tenant-networks", {"network": body}).status_code == 400


def test_tenant_networks_quota(api: Api, admin: Api) -> None:
    admin.put(f"/network/v2.0/quotas/{api.project_id}", {"quota": {"network": 0}})
    answer = api.post("/os-tenant-networks", {"network": {"label": "x", "cidr": "10.9.0.0/24"}})
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (400, "Quota exceeded, too many networks.")


# --- os-fixed-ips ---


def test_fixed_ips(api: Api, admin: Api, network: str, make_server: MakeServer) -> None:
    server = make_server(network=network, fixed_ip="10.1.0.7", hostname="openstack")
    assert admin.get("/os-fixed-ips/10.1.0.7").json["fixed_ip"] == {
        "address": "10.1.0.7",
        "cidr": "10.1.0.0/24",
        "host": server.host,
        "hostname": "openstack",
    }
    free = admin.get("/os-fixed-ips/10.1.0.99").json["fixed_ip"]
    assert (free["host"], free["hostname"]) == (None, None)
    assert api.get("/os-fixed-ips/10.1.0.7").status_code == 403
    assert admin.get("/os-fixed-ips/192.0.2.1").status_code == 404
    for bad in ("x", "10.1.0.0.7", "fe80::1%25eth0", "5"):
        assert admin.get(f"/os-fixed-ips/{bad}").status_code == 400, bad


def test_reserve(admin: Api, db: Database, network: str, make_server: MakeServer) -> None:
    for address in ("10.1.0.2", "10.1.0.2", "10.1.0.3"):
        assert admin.post(f"/os-fixed-ips/{address}/action", {"reserve": None}).status_code == 202
    server = make_server(network=network)
    assert "10.1.0.4" in server.addresses_json
    assert admin.post("/os-fixed-ips/10.1.0.3/action", {"unreserve": None}).status_code == 202
    assert "10.1.0.3" in make_server(network=network).addresses_json
    assert admin.post("/os-fixed-ips/10.1.0.4/action", {"reserve": None}).status_code == 202
    with db.write() as conn:
        addresses.release(conn, server.id)
    assert "10.1.0.5" in make_server(network=network).addresses_json
    assert admin.post("/os-fixed-ips/10.1.0.1/action", {"unreserve": None}).status_code == 400
    assert admin.post("/os-fixed-ips/192.0.2.1/action", {"reserve": None}).status_code == 404
    for odd in ("x", 1, ["x"], {"a": "b"}):
        for name in ("reserve", "unreserve"):
            assert admin.post("/os-fixed-ips/10.1.0.4/action", {name: odd}).status_code == 400
    assert admin.post("/os-fixed-ips/192.0.2.1/action", {"unreserve": None}).status_code == 404
    assert admin.post("/os-fixed-ips/x/action", {"reserve": None}).status_code == 400
    assert admin.post("/os-fixed-ips/10.1.0.4/action", {"nonsense": None}).status_code == 400


def test_virtual_interfaces(api: Api, network: str, make_server: MakeServer) -> None:
    server = make_server(network=network)
    (port,) = api.get("/network/v2.0/ports").json["ports"]
    expected = {"id": port["id"], "mac_address": port["mac_address"], "net_id": network}
    path = f"/servers/{server.uuid}/os-virtual-interfaces"
    assert api.get(path).json == {"virtual_interfaces": [expected]}
    assert "OS-EXT-VIF-NET:net_id" in api.get("/v2" + path).json["virtual_interfaces"][0]
    assert api.become("member").get(path).status_code == 404
