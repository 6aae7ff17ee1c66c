# SPDX-License-Identifier: Apache-2.0
"""Servers of our cloud (on the simulator) whose networks are a real Neutron's: what its API says of their ports."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from keystoneauth1.adapter import Adapter

from tests.neighbours.clouds import NeighbourCloud, ask_neutron, service
from tests.neighbours.services import Neighbours
from tests.ports import free_port

pytestmark = pytest.mark.clients

_SECONDS = 60


@dataclass
class User:
    """Who asks our Compute API and the Neutron; the image that servers are made of."""

    compute: Adapter
    neutron: Adapter  # as an administrator
    mine: Adapter  # as the same user
    image: str

    def create(self, *networks: dict[str, str], **more: Any) -> str:
        """A server that is ACTIVE; its id."""
        body = {"name": "dee", "imageRef": self.image, "flavorRef": self.flavor, "networks": list(networks), **more}
        answer = self.compute.post("/servers", json={"server": body}, raise_exc=False)
        assert answer.status_code == 202, answer.text
        server_id = str(answer.json()["server"]["id"])
        self.wait(server_id, "ACTIVE")
        return server_id

    @property
    def flavor(self) -> str:
        """The smallest."""
        return str(self.compute.get("/flavors").json()["flavors"][0]["id"])

    def wait(self, server_id: str, status: str | None) -> dict[str, Any]:
        """Until the server has that status (None: is gone)."""
        until = time.monotonic() + _SECONDS
        while True:
            answer = self.compute.get(f"/servers/{server_id}", raise_exc=False)
            found = answer.json()["server"] if answer.status_code == 200 else None
            if found is None or found["status"] == "ERROR" or found["status"] == status:
                assert (found and found["status"]) == status, found
                return found or {}
            assert time.monotonic() < until, found
            time.sleep(0.3)

    def ports(self, server_id: str) -> list[dict[str, Any]]:
        """The server's, as Neutron has them."""
        return list(self.neutron.get(f"/v2.0/ports?device_id={server_id}").json()["ports"])


@pytest.fixture(scope="module")
def alice(tmp_path_factory: pytest.TempPathFactory, neighbours: Neighbours) -> Iterator[User]:
    """A member of wonderland, and a cloud of ours that has no networks of its own."""
    cloud = NeighbourCloud(
        tmp_path_factory.mktemp("neutron-cloud"),
        ["--hypervisor", "simulator"],
        port=free_port(),
        neighbours=neighbours,
        uses={"OS_NETWORK__NETWORK_URL": neighbours.neutron, "OS_DEFAULT__HOST": "host1"},
    )
    glance = service(neighbours, "image", "alice", "wonderland")
    body = {"name": "dormouse", "disk_format": "raw", "container_format": "bare"}
    image = glance.post("/v2/images", json=body).json()["id"]
    data = {"Content-Type": "application/octet-stream"}
    glance.put(f"/v2/images/{image}/file", data=b"tea" * 1000, headers=data)
    compute = service(neighbours, "compute", "alice", "wonderland")
    compute.endpoint_override = f"{cloud.url}/v2.1"
    mine = ask_neutron(neighbours, "alice", "wonderland")
    try:
        cloud.start()
        yield User(compute, ask_neutron(neighbours), mine, image)
    finally:
        cloud.stop()


def network(alice: User, name: str = "private") -> str:
    """A network's id."""
    return str(alice.neutron.get(f"/v2.0/networks?name={name}").json()["networks"][0]["id"])


def test_ports_come_and_go_with_the_server(alice: User) -> None:
    brought = alice.mine.post("/v2.0/ports", json={"port": {"network_id": network(alice)}}).json()["port"]
    server_id = alice.create({"uuid": network(alice)}, {"port": brought["id"]})
    ports = alice.ports(server_id)
    assert {(port["status"], port["binding:host_id"], port["device_owner"]) for port in ports} == {
        ("ACTIVE", "host1", "compute:nova")
    }
    shown = alice.compute.get(f"/servers/{server_id}").json()["server"]
    assert {each["addr"] for each in shown["addresses"]["private"]} == {
        port["fixed_ips"][0]["ip_address"] for port in ports
    }
    assert shown["security_groups"] == [{"name": "default"}]
    listed = alice.compute.get(f"/servers/{server_id}/os-interface").json()["interfaceAttachments"]
    assert {(each["port_id"], each["port_state"]) for each in listed} == {(port["id"], "ACTIVE") for port in ports}
    alice.compute.delete(f"/servers/{server_id}")
    alice.wait(server_id, None)
    left = alice.neutron.get(f"/v2.0/ports/{brought['id']}").json()["port"]
    assert (left["device_id"], left["device_owner"], left["binding:host_id"]) == ("", "", "")
    assert alice.ports(server_id) == []
    alice.mine.delete(f"/v2.0/ports/{brought['id']}")


def test_what_can_not_be(alice: User) -> None:
    body = {"name": "dum", "imageRef": alice.image, "flavorRef": alice.flavor}
    for networks, status in (([{"uuid": str(uuid.uuid4())}], 400), ([{"port": str(uuid.uuid4())}], 400)):
        answer = alice.compute.post("/servers", json={"server": {**body, "networks": networks}}, raise_exc=False)
        assert answer.status_code == status, answer.text
    public = [{"uuid": network(alice, "public")}]
    answer = alice.compute.post("/servers", json={"server": {**body, "networks": public}}, raise_exc=False)
    assert answer.status_code == 403, answer.text


def test_interfaces_groups_and_floating_addresses(alice: User) -> None:
    server_id, url = alice.create({"uuid": network(alice)}), ""
    url = f"/servers/{server_id}"
    wanted = {"interfaceAttachment": {"net_id": network(alice)}}
    added = alice.compute.post(f"{url}/os-interface", json=wanted).json()["interfaceAttachment"]
    assert len(alice.ports(server_id)) == 2
    group = alice.mine.post("/v2.0/security-groups", json={"security_group": {"name": "tea"}}).json()["security_group"]
    alice.compute.post(f"{url}/action", json={"addSecurityGroup": {"name": "tea"}})
    assert all(group["id"] in port["security_groups"] for port in alice.ports(server_id))
    groups = alice.compute.get(f"{url}/os-security-groups").json()["security_groups"]
    assert [each["name"] for each in groups] == ["default", "tea"]
    body = {"floatingip": {"floating_network_id": network(alice, "public")}}
    floating = alice.mine.post("/v2.0/floatingips", json=body).json()["floatingip"]
    address = floating["floating_ip_address"]
    alice.compute.post(f"{url}/action", json={"addFloatingIp": {"address": address}})
    shown = alice.compute.get(url).json()["server"]
    assert address in {each["addr"] for each in shown["addresses"]["private"]}
    assert [each["name"] for each in shown["security_groups"]] == ["default", "tea"]
    alice.compute.post(f"{url}/action", json={"removeFloatingIp": {"address": address}})
    alice.compute.delete(f"{url}/os-interface/{added['port_id']}")
    until = time.monotonic() + _SECONDS
    while len(alice.ports(server_id)) > 1:
        assert time.monotonic() < until
        time.sleep(0.3)
    alice.compute.delete(url)
    alice.wait(server_id, None)
    assert alice.ports(server_id) == []
    alice.mine.delete(f"/v2.0/floatingips/{floating['id']}")
    alice.mine.delete(f"/v2.0/security-groups/{group['id']}")
