# SPDX-License-Identifier: Apache-2.0
"""A server's interfaces, on both paths, with a simulated host that plugs and unplugs them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends import image as image_backend
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.compute import guest
from computeapi.db.engine import Database
from computeapi.db.queries.servers import ServerRow
from computeapi.settings import Settings
from computeapi.virt.base import DomainSpec, HypervisorError, NicSpec
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import MakeServer

V = "/network/v2.0"
PATHS = ("os-interface", "os-attach-interfaces")


@pytest.fixture
def host1(settings: Settings, db: Database) -> Iterator[Compute]:
    driver = SimulatedHypervisor("host1")
    yield Compute(settings, db, driver, image_backend.load(settings, db))
    driver.close()


@pytest.fixture
def server(host1: Compute, network: str, make_server: MakeServer) -> ServerRow:
    """A running server with one interface on `network`."""
    row = make_server(network=network)
    nic = NicSpec("fa:16:3e:ff:ff:ff", "net-x")
    host1.driver.define(DomainSpec(row.uuid, row.instance_name, 1, 64, (), (nic,)))
    return row


def second_network(api: Api, cidr: str = "10.5.0.0/24") -> str:
    made: str = api.post(f"{V}/networks", {"network": {"name": "second"}}).json["network"]["id"]
    answer = api.post(f"{V}/subnets", {"subnet": {"network_id": made, "cidr": cidr, "ip_version": 4}})
    assert answer.status_code == 201
    return made


def macs(host1: Compute, server: ServerRow) -> list[str]:
    driver: Any = host1.driver
    return list(driver.nics(server.uuid))


@pytest.mark.parametrize("path", PATHS)
def test_attach_and_detach(api: Api, host1: Compute, server: ServerRow, path: str) -> None:
    url, net = f"/servers/{server.uuid}/{path}", second_network(api)
    assert len(api.get(url).json["interfaceAttachments"]) == 1
    answer = api.post(url, {"interfaceAttachment": {"net_id": net, "fixed_ips": [{"ip_address": "10.5.0.9"}]}})
    assert answer.status_code == 200, answer.text
    made = answer.json["interfaceAttachment"]
    assert set(made) == {"net_id", "port_id", "mac_addr", "port_state", "fixed_ips"}
    assert made["fixed_ips"][0]["ip_address"] == "10.5.0.9"
    assert api.get(f"{url}/{made['port_id']}").json["interfaceAttachment"] == made
    host1.work()
    assert made["mac_addr"] in macs(host1, server)
    promised: Any = host1.driver
    assert promised.dhcp_hosts(guest.network_name(net))[made["mac_addr"]].address == "10.5.0.9"
    shown = api.get(f"/servers/{server.uuid}").json["server"]
    assert shown["addresses"]["second"][0]["addr"] == "10.5.0.9"
    assert shown["status"] == "ACTIVE"
    assert api.delete(f"{url}/{made['port_id']}").status_code == 202
    host1.work()
    assert made["mac_addr"] not in macs(host1, server)
    assert promised.dhcp_hosts(guest.network_name(net)) == {}
    assert len(api.get(url).json["interfaceAttachments"]) == 1
    assert "second" not in api.get(f"/servers/{server.uuid}").json["server"]["addresses"]
    assert api.get(f"{url}/{made['port_id']}").status_code == 404
    log = api.get(f"/servers/{server.uuid}/os-instance-actions").json["instanceActions"]
    assert [item["action"] for item in log] == ["detach_interface", "attach_interface"]


def test_a_port_of_ones_own_outlives_it(api: Api, host1: Compute, server: ServerRow) -> None:
    url = f"/servers/{server.uuid}/os-interface"
    port = api.post(f"{V}/ports", {"port": {"network_id": second_network(api)}}).json["port"]
    assert api.post(url, {"interfaceAttachment": {"port_id": port["id"]}}).status_code == 200
    assert api.post(url, {"interfaceAttachment": {"port_id": port["id"]}}).status_code == 409
    host1.work()
    assert api.get(f"{V}/ports/{port['id']}").json["port"]["device_id"] == server.uuid
    assert api.delete(f"{url}/{port['id']}").status_code == 202
    host1.work()
    left = api.get(f"{V}/ports/{port['id']}").json["port"]
    assert (left["device_id"], left["fixed_ips"], left["status"]) == ("", port["fixed_ips"], "DOWN")


def test_a_port_deleted_is_detached(api: Api, host1: Compute, server: ServerRow) -> None:
    url = f"/servers/{server.uuid}/os-interface"
    made = api.post(url, {"interfaceAttachment": {"net_id": second_network(api)}}).json["interfaceAttachment"]
    host1.work()
    assert api.delete(f"{V}/ports/{made['port_id']}").status_code == 204
    host1.work()
    assert made["mac_addr"] not in macs(host1, server)
    assert api.get(f"{V}/ports/{made['port_id']}").status_code == 404


def test_without_a_wish_it_is_the_one_network(api: Api, host1: Compute, server: ServerRow, network: str) -> None:
    url = f"/servers/{server.uuid}/os-interface"
    answer = api.post(url, {"interfaceAttachment": {}})
    assert answer.json["interfaceAttachment"]["net_id"] == network
    second_network(api)
    assert api.post(url, {"interfaceAttachment": {}}).status_code == 400


def test_what_the_host_refuses_is_undone(api: Api, host1: Compute, server: ServerRow) -> None:
    net = second_network(api)
    driver: Any = host1.driver
    driver.fail("attach_nic", HypervisorError("no more slots"))
    url = f"/servers/{server.uuid}/os-interface"
    assert api.post(url, {"interfaceAttachment": {"net_id": net}}).status_code == 200
    host1.work()
    assert len(api.get(url).json["interfaceAttachments"]) == 1
    shown = api.get(f"/servers/{server.uuid}").json["server"]
    assert (shown["status"], list(shown["addresses"])) == ("ACTIVE", ["private"])
    assert driver.dhcp_hosts(guest.network_name(net)) == {}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"net_id": "00000000-0000-0000-0000-000000000001"}, 404),
        ({"port_id": "00000000-0000-0000-0000-000000000001"}, 404),
        ({"net_id": "x"}, 400),
        ({"port_id": 5}, 400),
        ({"fixed_ips": [{"ip_address": "10.1.0.9"}]}, 400),
        ({"fixed_ips": []}, 400),
        ({"nonsense": 1}, 400),
        ("x", 400),
    ],
)
def test_attach_refused(api: Api, server: ServerRow, body: Any, status: int) -> None:
    answer = api.post(f"/servers/{server.uuid}/os-interface", {"interfaceAttachment": body})
    assert answer.status_code == status, answer.text


def test_addresses_refused(api: Api, server: ServerRow, network: str, make_server: MakeServer) -> None:
    make_server(network=network, fixed_ip="10.1.0.77")
    for address, status in (("10.1.0.77", 409), ("10.9.0.1", 400), ("10.1.0.255", 400), ("x", 400)):
        body = {"net_id": network, "fixed_ips": [{"ip_address": address}]}
        answer = api.post(f"/servers/{server.uuid}/os-interface", {"interfaceAttachment": body})
        assert answer.status_code == status, answer.text


def test_another_project_and_another_state(api: Api, server: ServerRow, network: str, make_server: MakeServer) -> None:
    url = f"/servers/{server.uuid}/os-interface"
    other = api.become("member")
    assert other.get(url).status_code == 404
    assert other.post(url, {"interfaceAttachment": {}}).status_code == 404
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(url).status_code == 200
    assert reader.post(url, {"interfaceAttachment": {}}).status_code == 403
    building = make_server(network=network, vm_state="building")
    answer = api.post(f"/servers/{building.uuid}/os-interface", {"interfaceAttachment": {}})
    assert answer.status_code == 409
    port = api.get(f"/servers/{building.uuid}/os-interface").json["interfaceAttachments"][0]["port_id"]
    assert api.get(f"{url}/{port}").status_code == 404
    assert api.delete(f"{url}/{port}").status_code == 404
    assert api.delete(f"/servers/{building.uuid}/os-interface/{port}").status_code == 409
    foreign = other.post(f"{V}/ports", {"port": {"network_id": network}}).json["port"]["id"]
    assert api.post(url, {"interfaceAttachment": {"port_id": foreign}}).status_code == 404
    theirs = {"interfaceAttachment": {"net_id": second_network(other)}}
    assert api.post(url, theirs).status_code == 404
    assert api.become("admin").post(url, theirs).status_code == 200


def test_add_and_remove_a_fixed_ip(api: Api, admin: Api, host1: Compute, server: ServerRow, network: str) -> None:
    url = f"/servers/{server.uuid}/action"
    first = api.get(f"/servers/{server.uuid}").json["server"]["addresses"]["private"][0]["addr"]
    assert api.post(url, {"addFixedIp": {"networkId": network}}).status_code == 202
    host1.work()
    both = [item["addr"] for item in api.get(f"/servers/{server.uuid}").json["server"]["addresses"]["private"]]
    assert len(both) == 2
    assert api.post(url, {"removeFixedIp": {"address": first}}).status_code == 202
    host1.work()
    left = api.get(f"/servers/{server.uuid}").json["server"]["addresses"]["private"]
    assert [item["addr"] for item in left] == [both[1]]
    driver: Any = host1.driver
    (promise,) = driver.dhcp_hosts(guest.network_name(network)).values()
    assert promise.address == both[1]
    assert api.post(url, {"removeFixedIp": {"address": both[1]}}).status_code == 202
    host1.work()
    assert driver.dhcp_hosts(guest.network_name(network)) == {}
    for body, status in (
        ({"removeFixedIp": {"address": first}}, 400),
        ({"removeFixedIp": {"address": "x"}}, 400),
        ({"removeFixedIp": {}}, 400),
        ({"addFixedIp": {"networkId": "x"}}, 404),
        ({"addFixedIp": {"networkId": second_network(api)}}, 404),
        ({"addFixedIp": {}}, 400),
        ({"addFixedIp": {"networkId": "x" * 37}}, 400),
        ({"resetNetwork": None}, 403),
        ({"injectNetworkInfo": None}, 403),
    ):
        assert api.post(url, body).status_code == status, body
    for name in ("resetNetwork", "injectNetworkInfo"):
        assert admin.post(url, {name: None}).status_code == 202
        host1.work()


def test_fixed_ips_quota(
    settings: Settings, db: Database, host1: Compute, network: str, api: Api, server: ServerRow
) -> None:
    app = create_app(replace(settings, quota_fixed_ips=1), db=db)
    limited = Api(app, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)
    answer = limited.post(f"/servers/{server.uuid}/os-interface", {"interfaceAttachment": {"net_id": network}})
    assert (answer.status_code, answer.json["forbidden"]["message"]) == (403, "Maximum number of fixed IPs exceeded")
    answer = limited.post(f"/servers/{server.uuid}/action", {"addFixedIp": {"networkId": network}})
    assert answer.status_code == 403
    assert len(api.get(f"{V}/ports").json["ports"][0]["fixed_ips"]) == 1
