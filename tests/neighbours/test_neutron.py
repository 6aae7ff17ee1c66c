# SPDX-License-Identifier: Apache-2.0
"""A real Neutron from PyPI beside our cloud: servers on its networks, and nova-network's API, which asks it."""

from __future__ import annotations

from typing import Any

import pytest
from keystoneauth1.adapter import Adapter

from tests.clients.clouds import Cloud
from tests.neighbours.clouds import ALICE, boot, service, wait
from tests.neighbours.services import Neighbours

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def neutron(neighbours: Neighbours, cloud: Cloud) -> Adapter:
    """Asked by alice."""
    return service(neighbours, "network", *ALICE)


def addresses(nova: Adapter, server: str) -> list[str]:
    """A server's, fixed and floating."""
    shown = nova.get(f"/servers/{server}").json()["server"]["addresses"]
    return [each["addr"] for network in shown.values() for each in network]


def test_a_server_has_a_bound_port(neighbours: Neighbours, neutron: Adapter, nova: Adapter, server: str) -> None:
    (port,) = service(neighbours, "network").get(f"/v2.0/ports?device_id={server}").json()["ports"]
    assert (port["status"], port["binding:vif_type"]) == ("ACTIVE", "bridge")
    assert port["binding:host_id"] and port["device_owner"].startswith("compute:")
    assert addresses(nova, server) == [port["fixed_ips"][0]["ip_address"]]


def test_networks(neutron: Adapter, nova: Adapter) -> None:
    theirs = {each["id"]: each["name"] for each in neutron.get("/v2.0/networks").json()["networks"]}
    for url in ("/os-networks", "/os-tenant-networks"):
        ours = {each["id"]: each["label"] for each in nova.get(url).json()["networks"]}
        assert ours == theirs and set(ours.values()) == {"private", "public"}
    assert nova.delete(f"/os-tenant-networks/{next(iter(theirs))}", raise_exc=False).status_code == 501


def test_security_groups(neutron: Adapter, nova: Adapter, server: str) -> None:
    body = {"security_group": {"name": "tea", "description": "party"}}
    group = nova.post("/os-security-groups", json=body).json()["security_group"]
    rule: dict[str, Any] = {"parent_group_id": group["id"], "ip_protocol": "tcp", "from_port": 80, "to_port": 81}
    made = nova.post("/os-security-group-rules", json={"security_group_rule": rule}).json()["security_group_rule"]
    again = nova.post("/os-security-group-rules", json={"security_group_rule": rule}, raise_exc=False)
    assert again.status_code == 400, again.text
    theirs = neutron.get(f"/v2.0/security-group-rules/{made['id']}").json()["security_group_rule"]
    assert (theirs["direction"], theirs["port_range_max"]) == ("ingress", 81)
    assert nova.get(f"/os-security-groups/{group['id']}").json()["security_group"]["rules"] == [made]
    names = [each["name"] for each in nova.get("/os-security-groups").json()["security_groups"]]
    assert names == ["default", "tea"]
    nova.post(f"/servers/{server}/action", json={"addSecurityGroup": {"name": "tea"}})
    (port,) = neutron.get(f"/v2.0/ports?device_id={server}").json()["ports"]
    assert group["id"] in port["security_groups"]
    refused = nova.delete(f"/os-security-groups/{group['id']}", raise_exc=False)
    assert refused.status_code == 400, "in use"
    nova.post(f"/servers/{server}/action", json={"removeSecurityGroup": {"name": "tea"}})
    nova.delete(f"/os-security-group-rules/{made['id']}")
    nova.delete(f"/os-security-groups/{group['id']}")
    assert neutron.get(f"/v2.0/security-groups/{group['id']}", raise_exc=False).status_code == 404


def test_floating_ips(neutron: Adapter, nova: Adapter, server: str) -> None:
    assert nova.get("/os-floating-ip-pools").json()["floating_ip_pools"] == [{"name": "public"}]
    made = nova.post("/os-floating-ips", json={"pool": "public"}).json()["floating_ip"]
    assert made["pool"] == "public" and made["ip"].startswith("203.0.113.")
    (fixed,) = addresses(nova, server)
    nova.post(f"/servers/{server}/action", json={"addFloatingIp": {"address": made["ip"]}})
    (shown,) = nova.get("/os-floating-ips").json()["floating_ips"]
    assert (shown["instance_id"], shown["fixed_ip"]) == (server, fixed)
    assert sorted(addresses(nova, server)) == sorted([fixed, made["ip"]])
    nova.delete(f"/os-floating-ips/{made['id']}")
    assert addresses(nova, server) == [fixed]
    assert neutron.get(f"/v2.0/floatingips/{made['id']}", raise_exc=False).status_code == 404
    unknown = nova.post("/os-floating-ips", json={"pool": "none"}, raise_exc=False)
    assert unknown.status_code == 404, unknown.text


def test_a_server_s_port_goes_with_it(neighbours: Neighbours, neutron: Adapter, nova: Adapter, image: str) -> None:
    server_id = boot(neighbours, nova, imageRef=image)
    nova.delete(f"/servers/{server_id}")
    ports = f"/v2.0/ports?device_id={server_id}"
    wait(lambda: str(len(neutron.get(ports).json()["ports"])), "0", "1")
