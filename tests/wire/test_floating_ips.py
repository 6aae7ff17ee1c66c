# SPDX-License-Identifier: Apache-2.0
"""os-floating-ips, -pools and -bulk, the server actions, and the same rows in the Networking API."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.conftest import Api
from tests.hostile import VALUES
from tests.wire.conftest import Boot, MakeServer

FLOATING, POOLS, BULK = "/os-floating-ips", "/os-floating-ip-pools", "/os-floating-ips-bulk"
V = "/network/v2.0"


def message(answer: Any) -> str:
    """A fault's sentence."""
    (fault,) = answer.json.values()
    return str(fault["message"])


def fill(admin: Api, ip_range: str = "192.168.1.0/29", pool: str = "nova", **more: str) -> Any:
    """The answer to addresses put into a pool."""
    return admin.post(BULK, {"floating_ips_bulk_create": {"ip_range": ip_range, "pool": pool, **more}})


def take(api: Api, pool: str | None = "nova") -> dict[str, Any]:
    """A floating IP."""
    answer = api.post(FLOATING, {"pool": pool})
    assert answer.status_code == 200, answer.text
    return dict(answer.json["floating_ip"])


def act(api: Api, server: str, name: str, address: str, **more: Any) -> Any:
    """The answer to a server action about an address."""
    return api.post(f"/servers/{server}/action", {name: {"address": address, **more}})


def external(admin: Api, name: str = "public", cidr: str = "203.0.113.0/28") -> str:
    """An external network with a subnet; its id."""
    made = admin.post(f"{V}/networks", {"network": {"name": name, "router:external": True}})
    network = str(made.json["network"]["id"])
    subnet = {"network_id": network, "ip_version": 4, "cidr": cidr, "enable_dhcp": False}
    assert admin.post(f"{V}/subnets", {"subnet": subnet}).status_code == 201
    return network


# --- pools, in bulk ---


def test_bulk_create_list_delete(admin: Api, api: Api) -> None:
    made = fill(admin, interface="eth0")
    assert made.status_code == 200
    assert made.json == {
        "floating_ips_bulk_create": {"ip_range": "192.168.1.0/29", "pool": "nova", "interface": "eth0"}
    }
    listed = admin.get(BULK).json["floating_ip_info"]
    assert [item["address"] for item in listed] == [f"192.168.1.{number}" for number in range(1, 7)]
    assert listed[0] == {
        "address": "192.168.1.1",
        "pool": "nova",
        "interface": "eth0",
        "project_id": None,
        "instance_uuid": None,
        "fixed_ip": None,
    }
    assert api.get(POOLS).json == {"floating_ip_pools": [{"name": "nova"}]}
    again = fill(admin, "192.168.1.4/30")
    assert again.status_code == 409
    gone = admin.put(f"{BULK}/delete", {"ip_range": "192.168.1.0/30"})
    assert (gone.status_code, gone.json) == (200, {"floating_ips_bulk_delete": "192.168.1.0/30"})
    gone = admin.post(f"{BULK}/delete", {"ip_range": "192.168.1.4"})
    assert (gone.status_code, gone.json) == (200, {"floating_ips_bulk_delete": "192.168.1.4"})
    assert [item["address"] for item in admin.get(BULK).json["floating_ip_info"]] == ["192.168.1.5", "192.168.1.6"]
    assert fill(admin, "192.168.1.4").status_code == 200
    assert fill(admin, "192.168.7.9", pool="other").status_code == 200
    assert {item["name"] for item in api.get(POOLS).json["floating_ip_pools"]} == {"nova", "other"}


@pytest.mark.parametrize(
    "ip_range",
    ["", "x", "192.168.1.0/31", "192.168.1.0/33", "192.168.1", "10.0.0.0/8", "fe80::1", "2001:db8::/64", "1/2/3", 7],
)
def test_bad_ranges(admin: Api, ip_range: Any) -> None:
    assert fill(admin, ip_range).status_code == 400
    if ip_range not in ("10.0.0.0/8", "fe80::1"):
        assert admin.put(f"{BULK}/delete", {"ip_range": ip_range}).status_code == 400


def test_an_empty_pool_is_gone(admin: Api, api: Api) -> None:
    fill(admin, "192.168.1.4/30", pool="own")
    public = {"name": "public", "router:external": True}
    net = admin.post(f"{V}/networks", {"network": public}).json["network"]["id"]
    fill(admin, "192.168.2.9", pool="public")
    taken = take(api, "own")
    admin.put(f"{BULK}/delete", {"ip_range": "192.168.1.5"})
    assert {item["name"] for item in api.get(POOLS).json["floating_ip_pools"]} == {"own", "public"}
    admin.put(f"{BULK}/delete", {"ip_range": "192.168.0.0/16"})
    assert api.get(f"{FLOATING}/{taken['id']}").status_code == 404
    assert [item["name"] for item in api.get(POOLS).json["floating_ip_pools"]] == ["public"]
    assert api.get(f"{V}/networks/{net}").status_code == 200, "what a person made stays"
    assert fill(admin, "192.168.1.4/30", pool="own").status_code == 200


def test_bulk_is_the_operators(admin: Api, api: Api) -> None:
    assert fill(api).status_code == 403
    assert api.get(BULK).status_code == 403
    assert api.get(f"{BULK}/host1").status_code == 403
    assert api.put(f"{BULK}/delete", {"ip_range": "192.168.1.1"}).status_code == 403
    assert admin.get(f"{BULK}/host1").status_code == 404


def test_by_host(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    fill(admin)
    server = make_server(network=network, host="host1").uuid
    address = take(api)["ip"]
    assert admin.get(f"{BULK}/host1").status_code == 404
    act(api, server, "addFloatingIp", address)
    (found,) = admin.get(f"{BULK}/host1").json["floating_ip_info"]
    assert (found["address"], found["instance_uuid"], found["project_id"]) == (address, server, api.project_id)
    assert admin.get(f"{BULK}/host2").status_code == 404


# --- taking and giving back ---


def test_allocate_show_release(admin: Api, api: Api) -> None:
    fill(admin)
    floating = take(api)
    assert floating == {
        "id": floating["id"],
        "ip": "192.168.1.1",
        "fixed_ip": None,
        "instance_id": None,
        "pool": "nova",
    }
    assert api.get(FLOATING).json == {"floating_ips": [floating]}
    assert api.get(f"{FLOATING}/{floating['id']}").json == {"floating_ip": floating}
    assert api.get(f"{V}/floatingips/{floating['id']}").json["floatingip"]["floating_ip_address"] == "192.168.1.1"
    gone = api.delete(f"{FLOATING}/{floating['id']}")
    assert (gone.status_code, gone.text) == (202, "")
    assert api.get(FLOATING).json == {"floating_ips": []}
    assert api.get(f"{FLOATING}/{floating['id']}").status_code == 404
    assert api.delete(f"{FLOATING}/{floating['id']}").status_code == 404
    assert take(api)["ip"] == "192.168.1.1"


def test_the_default_pool(admin: Api, api: Api) -> None:
    assert api.post(FLOATING).status_code == 404
    external(admin)
    assert api.post(FLOATING).json["floating_ip"]["pool"] == "public"
    fill(admin)
    for answer in (api.post(FLOATING), api.post(FLOATING, {}), api.post(FLOATING, {"pool": None})):
        assert answer.json["floating_ip"]["pool"] == "nova"
    unknown = api.post(FLOATING, {"pool": "unknown"})
    assert unknown.status_code == 404
    assert message(unknown) == "Floating IP pool not found."
    assert api.post(FLOATING, {"pool": "x" * 256}).status_code == 404


def test_an_empty_pool(admin: Api, api: Api) -> None:
    fill(admin, "192.168.1.1")
    take(api)
    empty = api.post(FLOATING, {"pool": "nova"})
    assert empty.status_code == 404
    assert message(empty) == "No more floating IPs in pool nova."
    assert message(api.post(FLOATING)) == "No more floating IPs available."


def test_quota(admin: Api, api: Api) -> None:
    fill(admin, "192.168.1.0/28")
    for _ in range(10):
        take(api)
    over = api.post(FLOATING, {"pool": "nova"})
    assert over.status_code == 403
    assert message(over) == "IP allocation over quota in pool nova."
    assert api.get("/limits").json["limits"]["absolute"]["totalFloatingIpsUsed"] == 10
    network = api.get(f"{V}/networks?router:external=true").json["networks"][0]["id"]
    over = api.post(f"{V}/floatingips", {"floatingip": {"floating_network_id": network}})
    assert over.status_code == 409
    assert over.json["NeutronError"]["type"] == "OverQuota"


def test_other_projects(admin: Api, api: Api) -> None:
    fill(admin)
    floating = take(api)
    stranger = api.become("member")
    assert stranger.get(f"{FLOATING}/{floating['id']}").status_code == 404
    assert stranger.delete(f"{FLOATING}/{floating['id']}").status_code == 404
    assert stranger.get(FLOATING).json == {"floating_ips": []}
    assert stranger.get(f"{V}/floatingips").json == {"floatingips": []}
    assert stranger.get(f"{V}/floatingips/{floating['id']}").status_code == 404
    assert admin.get(f"{FLOATING}/{floating['id']}").status_code == 200
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(FLOATING).status_code == 200
    assert reader.post(FLOATING, {"pool": "nova"}).status_code == 403
    assert reader.delete(f"{FLOATING}/{floating['id']}").status_code == 403


def test_bad_ids_and_bodies(admin: Api, api: Api) -> None:
    fill(admin)
    assert api.get(f"{FLOATING}/1").status_code == 400
    assert api.get(f"{FLOATING}/{uuid.uuid4()}").status_code == 404
    waiting = admin.get(f"{V}/floatingips").json["floatingips"][0]["id"]
    assert admin.get(f"{FLOATING}/{waiting}").status_code == 404
    for value in VALUES:
        assert api.post(FLOATING, {"pool": value}).status_code in (200, 400, 403, 404), value


# --- for a server ---


def test_for_a_server_and_back(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    fill(admin)
    server = make_server(network=network, fixed_ip="10.1.0.9").uuid
    floating = take(api)
    answer = act(api, server, "addFloatingIp", floating["ip"])
    assert (answer.status_code, answer.text) == (202, "")
    shown = api.get(f"{FLOATING}/{floating['id']}").json["floating_ip"]
    assert (shown["fixed_ip"], shown["instance_id"]) == ("10.1.0.9", server)
    addresses = api.get(f"/servers/{server}").json["server"]["addresses"]["private"]
    assert [(item["addr"], item["OS-EXT-IPS:type"]) for item in addresses] == [
        ("10.1.0.9", "fixed"),
        (floating["ip"], "floating"),
    ]
    assert addresses[0]["OS-EXT-IPS-MAC:mac_addr"] == addresses[1]["OS-EXT-IPS-MAC:mac_addr"]
    assert act(api, server, "addFloatingIp", floating["ip"]).status_code == 202
    assert act(api, server, "removeFloatingIp", floating["ip"]).status_code == 202
    assert len(api.get(f"/servers/{server}").json["server"]["addresses"]["private"]) == 1
    again = act(api, server, "removeFloatingIp", floating["ip"])
    assert again.status_code == 409
    assert "is not associated with instance" in message(again)


def test_moved_to_another_server(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    fill(admin)
    first, second = make_server(network=network).uuid, make_server(network=network).uuid
    floating = take(api)
    act(api, first, "addFloatingIp", floating["ip"])
    assert act(api, second, "addFloatingIp", floating["ip"]).status_code == 202
    assert api.get(f"{FLOATING}/{floating['id']}").json["floating_ip"]["instance_id"] == second
    assert len(api.get(f"/servers/{first}").json["server"]["addresses"]["private"]) == 1
    assert act(api, first, "removeFloatingIp", floating["ip"]).status_code == 409


def test_bad_associations(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    fill(admin)
    server, bare = make_server(network=network, fixed_ip="10.1.0.9").uuid, make_server().uuid
    address, second = take(api)["ip"], take(api)["ip"]
    none = act(api, bare, "addFloatingIp", address)
    assert none.status_code == 400
    assert message(none) == "No fixed IPs associated to instance"
    assert act(api, server, "addFloatingIp", address, fixed_address="10.1.0.77").status_code == 400
    assert act(api, server, "addFloatingIp", "192.168.9.9").status_code == 404
    assert act(api, server, "removeFloatingIp", "192.168.9.9").status_code == 404
    assert act(api, server, "addFloatingIp", "192.168.1.6").status_code == 404  # waits in the pool
    theirs = take(admin)["ip"]
    assert act(api, server, "addFloatingIp", theirs).status_code == 404
    assert act(api, server, "addFloatingIp", address, fixed_address="10.1.0.9").status_code == 202
    assert act(api, server, "addFloatingIp", second).status_code == 400
    for value in VALUES:
        answer = api.post(f"/servers/{server}/action", {"addFloatingIp": {"address": value}})
        assert answer.status_code == 400, value
    extra = act(api, server, "addFloatingIp", address, unknown=1)
    assert extra.status_code == 400
    assert act(api.become("member"), server, "addFloatingIp", address).status_code == 404
    assert act(api.become("reader", project_id=api.project_id), server, "addFloatingIp", address).status_code == 403


def test_released_while_in_use(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    fill(admin)
    server = make_server(network=network).uuid
    floating = take(api)
    act(api, server, "addFloatingIp", floating["ip"])
    assert api.delete(f"{FLOATING}/{floating['id']}").status_code == 202
    assert len(api.get(f"/servers/{server}").json["server"]["addresses"]["private"]) == 1
    floating = take(api)
    act(api, server, "addFloatingIp", floating["ip"])
    admin.put(f"{BULK}/delete", {"ip_range": floating["ip"]})
    assert api.get(FLOATING).json == {"floating_ips": []}
    assert len(api.get(f"/servers/{server}").json["server"]["addresses"]["private"]) == 1


def test_a_deleted_server_has_none(admin: Api, api: Api, boot: Boot, compute: Any) -> None:
    fill(admin)
    server, floating = boot(), take(api)
    act(api, server, "addFloatingIp", floating["ip"])
    api.delete(f"/servers/{server}")
    compute.work()
    shown = api.get(f"{FLOATING}/{floating['id']}").json["floating_ip"]
    assert (shown["fixed_ip"], shown["instance_id"]) == (None, None)


# --- the Networking API ---


def test_floatingips(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    public = external(admin)
    server = make_server(network=network).uuid
    port = api.get(f"{V}/ports?device_id={server}").json["ports"][0]
    body = {"floating_network_id": public, "port_id": port["id"], "description": "the way in"}
    made = api.post(f"{V}/floatingips", {"floatingip": body})
    assert made.status_code == 201
    floating = made.json["floatingip"]
    assert floating["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    assert floating["floating_ip_address"].startswith("203.0.113.")
    assert (floating["status"], floating["port_id"], floating["router_id"]) == ("ACTIVE", port["id"], None)
    assert floating["port_details"]["device_id"] == server
    assert (floating["project_id"], floating["tenant_id"]) == (api.project_id, api.project_id)
    assert "name" not in floating
    one = f"{V}/floatingips/{floating['id']}"
    assert api.get(one).json["floatingip"] == floating
    found = api.get(f"{V}/floatingips?floating_ip_address={floating['floating_ip_address']}&status=ACTIVE")
    assert [item["id"] for item in found.json["floatingips"]] == [floating["id"]]
    assert api.get(f"{V}/floatingips?port_id={uuid.uuid4()}").json["floatingips"] == []
    described = api.put(one, {"floatingip": {"description": "else"}}).json["floatingip"]
    assert (described["description"], described["port_id"]) == ("else", port["id"])
    freed = api.put(one, {"floatingip": {"port_id": None}}).json["floatingip"]
    assert (freed["port_id"], freed["fixed_ip_address"], freed["status"]) == (None, None, "DOWN")
    assert api.put(one, {"floatingip": {"port_id": port["id"]}}).status_code == 200
    assert len(api.get(f"/servers/{server}").json["server"]["addresses"]["private"]) == 2
    assert api.delete(one).status_code == 204
    assert api.get(one).status_code == 404
    assert len(api.get(f"/servers/{server}").json["server"]["addresses"]["private"]) == 1


def test_external_networks_with_floating_ips(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    public = external(admin)
    floating = api.post(f"{V}/floatingips", {"floatingip": {"floating_network_id": public}}).json["floatingip"]
    subnet = admin.get(f"{V}/subnets?network_id={public}").json["subnets"][0]["id"]
    assert admin.delete(f"{V}/subnets/{subnet}").status_code == 409
    server = make_server(network=network).uuid
    port = api.get(f"{V}/ports?device_id={server}").json["ports"][0]["id"]
    one = f"{V}/floatingips/{floating['id']}"
    assert api.put(one, {"floatingip": {"port_id": port}}).status_code == 200
    assert admin.delete(f"{V}/networks/{public}").status_code == 409
    assert api.put(one, {"floatingip": {"port_id": None}}).status_code == 200
    assert admin.delete(f"{V}/networks/{public}").status_code == 204  # and those in no use go with it
    assert api.get(one).status_code == 404


def test_a_router_that_leads_elsewhere(admin: Api, api: Api) -> None:
    public, elsewhere = external(admin), external(admin, "elsewhere", "198.51.100.0/28")
    inside = api.post(f"{V}/networks", {"network": {}}).json["network"]["id"]
    body = {"network_id": inside, "cidr": "10.5.0.0/24", "ip_version": 4}
    subnet = api.post(f"{V}/subnets", {"subnet": body}).json["subnet"]["id"]
    port = api.post(f"{V}/ports", {"port": {"network_id": inside}}).json["port"]["id"]
    router = f"{V}/routers/{api.post(f'{V}/routers', {'router': {}}).json['router']['id']}"
    assert api.put(f"{router}/add_router_interface", {"subnet_id": subnet}).status_code == 200
    wanted = {"floatingip": {"floating_network_id": public, "port_id": port}}
    for gateway in ({}, {"network_id": elsewhere}):
        assert api.put(router, {"router": {"external_gateway_info": gateway}}).status_code == 200
        refused = api.post(f"{V}/floatingips", wanted)
        name = refused.json["NeutronError"]["type"]
        assert (refused.status_code, name) == (404, "ExternalGatewayForFloatingIPNotFound")
    assert api.put(router, {"router": {"external_gateway_info": {"network_id": public}}}).status_code == 200
    assert api.post(f"{V}/floatingips", wanted).status_code == 201


def test_a_named_address(admin: Api, api: Api) -> None:
    public = external(admin)
    body = {"floatingip": {"floating_network_id": public, "floating_ip_address": "203.0.113.9"}}
    assert api.post(f"{V}/floatingips", body).status_code == 403
    assert admin.post(f"{V}/floatingips", body).json["floatingip"]["floating_ip_address"] == "203.0.113.9"
    assert admin.post(f"{V}/floatingips", body).status_code == 409
    body["floatingip"]["floating_ip_address"] = "203.0.114.9"
    assert admin.post(f"{V}/floatingips", body).status_code == 400


def test_bad_floatingips(admin: Api, api: Api, make_server: MakeServer, network: str) -> None:
    public = external(admin)
    server = make_server(network=network).uuid
    port = api.get(f"{V}/ports?device_id={server}").json["ports"][0]["id"]

    def post(**body: Any) -> Any:
        return api.post(f"{V}/floatingips", {"floatingip": {"floating_network_id": public, **body}})

    assert post(floating_network_id=network).status_code == 400
    assert post(floating_network_id=str(uuid.uuid4())).status_code == 404
    assert post(port_id=str(uuid.uuid4())).status_code == 404
    assert post(fixed_ip_address="10.1.0.9").status_code == 400
    assert post(port_id=port, fixed_ip_address="10.1.0.99").status_code == 400
    assert post(unknown=1).status_code == 400
    assert post(port_id=port).status_code == 201
    twice = post(port_id=port)
    assert twice.status_code == 409
    assert twice.json["NeutronError"]["type"] == "FloatingIPPortAlreadyAssociated"
    bare = api.post(f"{V}/ports", {"port": {"network_id": network, "fixed_ips": []}}).json["port"]["id"]
    assert post(port_id=bare).status_code == 400
    other = api.become("member")
    assert other.get(f"{V}/floatingips").json == {"floatingips": []}
    for value in VALUES:
        for name in ("port_id", "fixed_ip_address", "floating_network_id", "description", "subnet_id"):
            assert post(**{name: value}).status_code < 500, (name, value)


def test_a_port_that_goes_leaves_its_floating_ip(admin: Api, api: Api, network: str) -> None:
    public = external(admin)
    port = api.post(f"{V}/ports", {"port": {"network_id": network}}).json["port"]["id"]
    body = {"floatingip": {"floating_network_id": public, "port_id": port}}
    floating = api.post(f"{V}/floatingips", body).json["floatingip"]["id"]
    assert api.delete(f"{V}/ports/{port}").status_code == 204
    left = api.get(f"{V}/floatingips/{floating}").json["floatingip"]
    assert (left["port_id"], left["status"]) == (None, "DOWN")
