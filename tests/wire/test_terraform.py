# SPDX-License-Identifier: Apache-2.0
"""What terraform's OpenStack provider (gophercloud) asks, resource by resource: apply, refresh, change, destroy.

Paths, bodies and what is waited for: the provider's documentation and source. It reads each thing again after it made
it, and waits for states by reading; so each read must have what it looks at.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.cloud import Compute
from tests.conftest import Api

V = "/network/v2.0"


class Provider:
    """The provider's way of asking: one body with one key, one answer with the same."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def make(self, path: str, body: dict[str, Any], *statuses: int) -> dict[str, Any]:
        answer = self.api.post(path, body)
        assert answer.status_code in (statuses or (201,)), answer.text
        (found,) = answer.json.values()
        return dict(found)

    def read(self, path: str, *looked_at: str) -> dict[str, Any]:
        """A read; with all keys that the provider looks at."""
        answer = self.api.get(path)
        assert answer.status_code == 200, answer.text
        (found,) = answer.json.values()
        assert set(looked_at) <= set(found), set(looked_at) - set(found)
        return dict(found)

    def one(self, path: str) -> dict[str, Any]:
        """The one that a query finds."""
        (found,) = next(iter(self.api.get(path).json.values()))
        return dict(found)

    def change(self, path: str, body: dict[str, Any], *statuses: int) -> Any:
        answer = self.api.put(path, body)
        assert answer.status_code in (statuses or (200,)), answer.text
        return answer.json

    def destroy(self, path: str, status: int = 204) -> None:
        """Deleted, and waited for until a read says 404."""
        assert self.api.delete(path).status_code == status
        assert self.api.get(path).status_code == 404


@pytest.fixture
def terraform(api: Api) -> Provider:
    return Provider(api)


@pytest.fixture
def outside(admin: Api) -> str:
    """An external network's id, with a subnet."""
    network = {"name": "public", "router:external": True}
    made = admin.post(f"{V}/networks", {"network": network}).json["network"]["id"]
    body = {"network_id": made, "cidr": "203.0.113.0/28", "ip_version": 4}
    assert admin.post(f"{V}/subnets", {"subnet": body}).status_code == 201
    return str(made)


def network_and_subnet(terraform: Provider) -> tuple[str, str]:
    """openstack_networking_network_v2 and openstack_networking_subnet_v2."""
    network = terraform.make(f"{V}/networks", {"network": {"name": "tf", "admin_state_up": True, "description": ""}})[
        "id"
    ]
    shown = terraform.read(
        f"{V}/networks/{network}",
        *("name", "description", "admin_state_up", "shared", "tenant_id", "router:external", "mtu", "tags"),
        *("port_security_enabled", "availability_zone_hints"),
    )
    assert shown["status"] == "ACTIVE"
    assert terraform.change(f"{V}/networks/{network}/tags", {"tags": ["a", "b"]}) == {"tags": ["a", "b"]}
    body = {
        "network_id": network,
        "cidr": "192.168.199.0/24",
        "name": "tf-subnet",
        "description": "",
        "ip_version": 4,
        "enable_dhcp": True,
        "dns_nameservers": ["192.0.2.1"],
        "allocation_pools": [{"start": "192.168.199.10", "end": "192.168.199.50"}],
    }
    subnet = terraform.make(f"{V}/subnets", {"subnet": body})["id"]
    terraform.read(
        f"{V}/subnets/{subnet}",
        *("network_id", "cidr", "ip_version", "name", "description", "tenant_id", "dns_nameservers", "enable_dhcp"),
        *(
            "gateway_ip",
            "allocation_pools",
            "host_routes",
            "ipv6_address_mode",
            "ipv6_ra_mode",
            "subnetpool_id",
            "tags",
        ),
    )
    changed = {"name": "renamed", "dns_nameservers": [], "gateway_ip": "192.168.199.1"}
    assert terraform.change(f"{V}/subnets/{subnet}", {"subnet": changed})["subnet"]["name"] == "renamed"
    return network, subnet


def test_networking(terraform: Provider, outside: str) -> None:
    network, subnet = network_and_subnet(terraform)
    router = terraform.make(
        f"{V}/routers",
        {"router": {"name": "tf", "admin_state_up": True, "external_gateway_info": {"network_id": outside}}},
    )["id"]
    shown = terraform.read(
        f"{V}/routers/{router}",
        *("admin_state_up", "tenant_id", "external_gateway_info", "availability_zone_hints", "routes"),
    )
    assert (shown["status"], shown["external_gateway_info"]["network_id"]) == ("ACTIVE", outside)
    assert {"enable_snat", "external_fixed_ips"} <= set(shown["external_gateway_info"])
    added = terraform.change(f"{V}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    interface = f"{V}/ports/{added['port_id']}"
    shown = terraform.read(interface, "device_id", "fixed_ips", "network_id")
    assert (shown["status"], shown["device_id"], shown["fixed_ips"][0]["subnet_id"]) == ("ACTIVE", router, subnet)
    assert terraform.api.delete(f"{V}/subnets/{subnet}").status_code == 409, "it is tried again while that is so"
    terraform.change(f"{V}/routers/{router}/remove_router_interface", {"subnet_id": subnet})
    assert terraform.api.get(interface).status_code == 404
    terraform.change(f"{V}/routers/{router}", {"router": {"external_gateway_info": {}}})
    for path in (f"routers/{router}", f"subnets/{subnet}", f"networks/{network}"):
        terraform.destroy(f"{V}/{path}")


def test_security_groups(terraform: Provider) -> None:
    group = terraform.make(f"{V}/security-groups", {"security_group": {"name": "tf", "description": "d"}})
    path = f"{V}/security-groups/{group['id']}"
    for rule in group["security_group_rules"]:  # delete_default_rules
        assert terraform.api.delete(f"{V}/security-group-rules/{rule['id']}").status_code == 204
    assert terraform.read(path, "description", "tenant_id", "stateful", "tags")["security_group_rules"] == []
    body = {
        "direction": "ingress",
        "ethertype": "IPv4",
        "security_group_id": group["id"],
        "description": "",
        "port_range_min": 22,
        "port_range_max": 22,
        "protocol": "tcp",
        "remote_ip_prefix": "0.0.0.0/0",
    }
    rule = terraform.make(f"{V}/security-group-rules", {"security_group_rule": body})
    shown = terraform.read(f"{V}/security-group-rules/{rule['id']}", *body, "remote_group_id", "tenant_id")
    assert {key: shown[key] for key in body} == body
    assert terraform.api.post(f"{V}/security-group-rules", {"security_group_rule": body}).status_code == 409
    by_name = terraform.one(f"{V}/security-groups?name=tf&tenant_id={terraform.api.project_id}")  # the data source
    assert by_name["id"] == group["id"]
    terraform.change(path, {"security_group": {"name": "tf2", "description": ""}})
    terraform.destroy(f"{V}/security-group-rules/{rule['id']}")
    terraform.destroy(path)


def test_compute(terraform: Provider, outside: str, compute: Compute, base_image: str, flavor: str) -> None:
    api = terraform.api
    network, subnet = network_and_subnet(terraform)
    group = api.get(f"{V}/security-groups?name=default").json["security_groups"][0]["id"]
    port = terraform.make(
        f"{V}/ports",
        {
            "port": {
                "name": "tf",
                "admin_state_up": True,
                "network_id": network,
                "security_groups": [group],
                "fixed_ips": [{"subnet_id": subnet, "ip_address": "192.168.199.23"}],
                "allowed_address_pairs": [{"ip_address": "192.168.199.40"}],
            }
        },
    )["id"]
    shown = terraform.read(
        f"{V}/ports/{port}",
        *("mac_address", "tenant_id", "device_owner", "device_id", "fixed_ips", "security_groups", "extra_dhcp_opts"),
        *("allowed_address_pairs", "port_security_enabled", "binding:vnic_type", "tags"),
    )
    assert shown["status"] in ("ACTIVE", "DOWN")
    key = terraform.make("/os-keypairs", {"keypair": {"name": "tf"}}, 200)
    assert terraform.read("/os-keypairs/tf", "public_key", "fingerprint", "user_id")["public_key"] == key["public_key"]
    server = boot(terraform, network, port, base_image, flavor)
    compute.work()
    path = f"/servers/{server}"
    shown = terraform.read(
        path,
        *(
            "name",
            "addresses",
            "accessIPv4",
            "accessIPv6",
            "metadata",
            "security_groups",
            "flavor",
            "image",
            "key_name",
        ),
        *("OS-EXT-AZ:availability_zone", "OS-EXT-STS:vm_state", "OS-EXT-STS:power_state", "config_drive"),
    )
    assert shown["status"] == "ACTIVE"
    (nic,) = shown["addresses"]["tf"]
    assert (nic["addr"], nic["OS-EXT-IPS:type"], nic["version"]) == ("192.168.199.23", "fixed", 4)
    assert "OS-EXT-IPS-MAC:mac_addr" in nic
    terraform.read(f"/flavors/{shown['flavor']['id']}", "name", "ram", "vcpus")
    assert api.get(f"/image/v2/images/{shown['image']['id']}").json["name"]
    change_server(terraform, server, compute)
    floating_ip(terraform, outside, subnet, port, server)
    attach_interface(terraform, server, network, compute)
    assert api.delete(path).status_code == 204
    compute.work()
    assert api.get(path).status_code == 404
    assert terraform.read(f"{V}/ports/{port}")["device_id"] == "", "a port of the configuration outlives the server"
    assert api.delete("/os-keypairs/tf").status_code == 202
    for each in (f"ports/{port}", f"subnets/{subnet}", f"networks/{network}"):
        terraform.destroy(f"{V}/{each}")


def boot(terraform: Provider, network: str, port: str, image: str, flavor: str) -> str:
    """openstack_compute_instance_v2: what its names stand for is looked up first; a port comes with its network."""
    name = terraform.api.get(f"/image/v2/images/{image}").json["name"]
    assert terraform.one(f"/image/v2/images?name={name}&limit=1")["id"] == image
    assert flavor in {each["id"] for each in terraform.api.get("/flavors/detail").json["flavors"]}
    assert terraform.one(f"{V}/ports?id={port}")["network_id"] == network
    assert terraform.one(f"{V}/networks?id={network}&status=ACTIVE")["name"] == "tf"
    server = {
        "name": "tf",
        "imageRef": image,
        "flavorRef": flavor,
        "networks": [{"uuid": network, "port": port}],
        "security_groups": [{"name": "default"}],
        "key_name": "tf",
        "metadata": {"a": "b"},
        "config_drive": True,
        "user_data": "IyEvYmluL3No",
    }
    made = terraform.make("/servers", {"server": server}, 202)
    assert made["adminPass"]
    return str(made["id"])


def change_server(terraform: Provider, server: str, compute: Compute) -> None:
    """Name, metadata, groups and power_state are changed in place."""
    path = f"/servers/{server}"
    assert terraform.change(path, {"server": {"name": "renamed"}})["server"]["name"] == "renamed"
    assert terraform.api.delete(f"{path}/metadata/a").status_code == 204
    assert terraform.make(f"{path}/metadata", {"metadata": {"c": "d"}}, 200) == {"c": "d"}
    terraform.make(f"{V}/security-groups", {"security_group": {"name": "more"}})
    for action in ("addSecurityGroup", "removeSecurityGroup"):
        assert terraform.api.post(f"{path}/action", {action: {"name": "more"}}).status_code == 202
    for action, status in (("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")):
        assert terraform.api.post(f"{path}/action", {action: None}).status_code == 202
        compute.work()
        assert terraform.read(path)["status"] == status


def floating_ip(terraform: Provider, outside: str, subnet: str, port: str, server: str) -> None:
    """openstack_networking_floatingip_v2 and both ways to associate one."""
    router = terraform.make(f"{V}/routers", {"router": {"external_gateway_info": {"network_id": outside}}})["id"]
    terraform.change(f"{V}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    assert terraform.one(f"{V}/networks?name=public&router:external=true")["id"] == outside
    made = terraform.make(f"{V}/floatingips", {"floatingip": {"floating_network_id": outside, "description": ""}})
    path = f"{V}/floatingips/{made['id']}"
    shown = terraform.read(path, "floating_ip_address", "port_id", "fixed_ip_address", "tenant_id", "tags")
    assert shown["status"] in ("ACTIVE", "DOWN")
    address = shown["floating_ip_address"]
    assert terraform.one(f"{V}/floatingips?floating_ip_address={address}")["id"] == made["id"]
    fixed = {"port_id": port, "fixed_ip_address": "192.168.199.23"}
    assert terraform.change(path, {"floatingip": fixed})["floatingip"]["port_id"] == port
    assert terraform.change(path, {"floatingip": {"port_id": None}})["floatingip"]["fixed_ip_address"] is None
    action = f"/servers/{server}/action"
    body = {"address": address, "fixed_address": "192.168.199.23"}
    assert terraform.api.post(action, {"addFloatingIp": body}).status_code == 202
    kinds = [each["OS-EXT-IPS:type"] for each in terraform.read(f"/servers/{server}")["addresses"]["tf"]]
    assert sorted(kinds) == ["fixed", "floating"]
    assert terraform.api.post(action, {"removeFloatingIp": {"address": address}}).status_code == 202
    terraform.destroy(path)
    terraform.change(f"{V}/routers/{router}/remove_router_interface", {"subnet_id": subnet})
    terraform.destroy(f"{V}/routers/{router}")


def attach_interface(terraform: Provider, server: str, network: str, compute: Compute) -> None:
    """openstack_compute_interface_attach_v2, and openstack_compute_volume_attach_v2."""
    path = f"/servers/{server}/os-interface"
    made = terraform.make(path, {"interfaceAttachment": {"net_id": network}}, 200)
    one = f"{path}/{made['port_id']}"
    compute.work()
    assert terraform.read(one, "fixed_ips", "mac_addr", "net_id", "port_id", "port_state")["port_state"] == "ACTIVE"
    assert terraform.api.delete(one).status_code == 202
    compute.work()
    assert terraform.api.get(one).status_code == 404
    volumes = f"/volume/v3/{terraform.api.project_id}/volumes"
    volume = terraform.make(volumes, {"volume": {"size": 1, "name": "tf"}}, 202)["id"]
    compute.work()
    terraform.read(f"{volumes}/{volume}", "availability_zone", "attachments", "metadata", "volume_type", "size")
    attachments = f"/servers/{server}/os-volume_attachments"
    made = terraform.make(attachments, {"volumeAttachment": {"volumeId": volume}}, 200)
    compute.work()
    assert terraform.read(f"{volumes}/{volume}")["status"] == "in-use"
    terraform.read(f"{attachments}/{made['id']}", "device", "serverId", "volumeId")
    assert terraform.api.delete(f"{attachments}/{made['id']}").status_code == 202
    compute.work()
    assert terraform.api.get(f"{attachments}/{made['id']}").status_code == 404
    assert terraform.read(f"{volumes}/{volume}")["status"] == "available"
    assert terraform.api.delete(f"{volumes}/{volume}").status_code == 202
    compute.work()
    assert terraform.api.get(f"{volumes}/{volume}").status_code == 404
