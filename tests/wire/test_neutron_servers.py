# SPDX-License-Identifier: Apache-2.0
"""Servers on the networks of a real Neutron: here the embedded Networking API of another cloud, asked over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.image import load as load_images
from computeapi.backends.network.neutron import Neutron
from computeapi.compute import sweeps
from computeapi.compute.operations import remote
from computeapi.db.engine import Database
from computeapi.settings import Settings
from computeapi.virt.base import HypervisorError
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.conftest import Api
from tests.other_network import OtherNetwork, other_network
from tests.wire.conftest import Boot

NOTHING = str(uuid.uuid4())


@pytest.fixture
def other(settings: Settings, tmp_path: Path) -> Iterator[OtherNetwork]:
    """The Neutron."""
    with other_network(settings, tmp_path / "other") as cloud:
        yield cloud


@pytest.fixture
def api(settings: Settings, db: Database, other: OtherNetwork) -> Api:
    """The API as a member of a project."""
    return other.member(settings, db)


@pytest.fixture
def compute(settings: Settings, db: Database, other: OtherNetwork) -> Iterator[Compute]:
    """The compute service of a simulated host."""
    driver = SimulatedHypervisor("host1")
    yield Compute(settings, db, driver, load_images(settings, db), other.neutron)
    driver.close()


@pytest.fixture
def network(other: OtherNetwork) -> str:
    """A network of everybody's."""
    return other.network(mtu=1400)


@pytest.fixture
def body(base_image: str, flavor: str) -> dict[str, Any]:
    """The least that a server needs."""
    return {"name": "web", "imageRef": base_image, "flavorRef": flavor}


def create(api: Api, body: dict[str, Any], **more: Any) -> Any:
    """POST /servers."""
    return api.post("/servers", {"server": body | more})


def shown(api: Api, server_id: str) -> dict[str, Any]:
    """The server."""
    return dict(api.get(f"/servers/{server_id}").json["server"])


# --- create ---


def test_the_one_network_there_is(api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    server_id = boot()
    (port,) = other.ports(device_id=server_id)
    assert (port["network_id"], port["project_id"]) == (network, api.project_id)
    assert (port["device_owner"], port["binding:host_id"]) == ("compute:nova", "host1")
    address = port["fixed_ips"][0]["ip_address"]
    assert shown(api, server_id)["addresses"] == {
        "theirs": [
            {
                "version": 4,
                "addr": address,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": port["mac_address"],
            }
        ]
    }
    assert shown(api, server_id)["security_groups"] == [{"name": "default"}]
    other.seen.clear()
    for path in ("/servers/detail", f"/servers/{server_id}/ips", f"/servers/{server_id}/os-interface"):
        assert api.get(path).status_code == 200
    assert other.seen == []  # what it said is remembered


def test_how_the_guest_is_plugged(boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    server_id = boot()
    (port,) = other.ports(device_id=server_id)
    guest = compute.driver._store  # type: ignore[attr-defined]
    with guest.open() as data:
        (nic,) = data.guest(server_id).spec.nics
    assert (nic.mac, nic.network, nic.bridge, nic.ovs_port) == (port["mac_address"], "", f"brq{network[:11]}", "")
    assert (nic.tap, nic.mtu) == (f"tap{port['id'][:11]}", 1400)
    assert compute.driver.list_networks() == {}


@pytest.mark.parametrize(
    ("kind", "details", "bridge"), [("ovs", {}, "br-int"), ("ovs", {"bridge_name": "br-x"}, "br-x"), ("tap", {}, "")]
)
def test_other_ways_to_be_plugged(
    boot: Boot,
    other: OtherNetwork,
    compute: Compute,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    details: dict[str, str],
    bridge: str,
) -> None:
    made = other.neutron.create
    binding = {"binding:vif_type": kind, "binding:vif_details": details}
    monkeypatch.setattr(other.neutron, "create", lambda *what, **more: made(*what, **more) | binding)
    server_id = boot()
    with compute.driver._store.open() as data:  # type: ignore[attr-defined]
        (nic,) = data.guest(server_id).spec.nics
    (port,) = other.ports(device_id=server_id)
    assert (nic.network, nic.bridge, nic.ovs_port) == ("", bridge, port["id"] if kind == "ovs" else "")


def test_interfaces_that_are_asked_for(api: Api, boot: Boot, network: str, other: OtherNetwork) -> None:
    second = other.network(api.project_id, "10.8.0.0/24", name="mine")
    port = other.port(second, api.project_id, name="brought")
    server_id = boot(networks=[{"port": port["id"]}, {"uuid": network, "fixed_ip": "10.9.0.77"}, {"uuid": network}])
    listed = api.get(f"/servers/{server_id}/os-interface").json["interfaceAttachments"]
    assert sorted(each["net_id"] for each in listed) == sorted([second, network, network])
    addresses = shown(api, server_id)["addresses"]
    assert [each["addr"] for each in addresses["mine"]] == [port["fixed_ips"][0]["ip_address"]]
    assert addresses["theirs"][0]["addr"] == "10.9.0.77" and len(addresses["theirs"]) == 2
    assert len(other.ports(device_id=server_id)) == 3
    assert [each["addr"] for each in api.get(f"/servers/{server_id}/ips/mine").json["mine"]]


def test_no_network_at_all(api: Api, body: dict[str, Any], compute: Compute) -> None:
    server_id = create(api, body).json["server"]["id"]
    compute.work()
    assert shown(api, server_id)["status"] == "ACTIVE" and shown(api, server_id)["addresses"] == {}


def test_several_networks_to_choose_from(api: Api, body: dict[str, Any], network: str, other: OtherNetwork) -> None:
    other.network(api.project_id, "10.8.0.0/24")
    answer = create(api, body)
    assert answer.status_code == 409
    assert answer.json["conflictingRequest"]["message"].startswith("Multiple possible networks found")


def test_what_can_not_be(api: Api, body: dict[str, Any], network: str, other: OtherNetwork) -> None:
    strangers = other.network(uuid.uuid4().hex, "10.7.0.0/24")
    used = other.port(network, api.project_id, device_id=NOTHING)
    bare = other.admin.post("/network/v2.0/networks", {"network": {"name": "bare", "shared": True}}).json["network"]
    for networks, status, sentence in (
        ([{"uuid": NOTHING}], 400, f"Network {NOTHING} could not be found."),
        ([{"uuid": strangers}], 400, f"Network {strangers} could not be found."),
        ([{"port": NOTHING}], 400, f"Port id {NOTHING} could not be found."),
        ([{"port": used["id"]}], 409, f"Port {used['id']} is still in use."),
        ([{"uuid": bare["id"]}], 400, f"Network {bare['id']} requires a subnet in order to boot instances on."),
        (
            [{"uuid": network, "fixed_ip": used["fixed_ips"][0]["ip_address"]}],
            400,
            f"Fixed IP address {used['fixed_ips'][0]['ip_address']} is already in use on instance {NOTHING}.",
        ),
    ):
        answer = create(api, body, networks=networks)
        assert answer.status_code == status, answer.text
        assert next(iter(answer.json.values()))["message"] == sentence
    assert api.get("/servers").json["servers"] == []


def test_port_quota(api: Api, body: dict[str, Any], network: str, other: OtherNetwork) -> None:
    other.admin.put(f"/network/v2.0/quotas/{api.project_id}", {"quota": {"port": 1}})
    answer = create(api, body, networks=[{"uuid": network}, {"uuid": network}])
    assert answer.status_code == 403
    assert answer.json["forbidden"]["message"] == "Maximum number of ports exceeded"
    assert create(api, body, networks=[{"uuid": network}]).status_code == 202


def test_security_groups(api: Api, body: dict[str, Any], boot: Boot, network: str, other: OtherNetwork) -> None:
    theirs = "/network/v2.0/security-groups"
    made = [
        other.admin.post(theirs, {"security_group": {"name": name, "project_id": api.project_id}}).json[
            "security_group"
        ]
        for name in ("web", "db", "twice", "twice")
    ]
    server_id = boot(security_groups=[{"name": "web"}, {"name": made[1]["id"]}])
    (port,) = other.ports(device_id=server_id)
    assert sorted(port["security_groups"]) == sorted([made[0]["id"], made[1]["id"]])
    assert shown(api, server_id)["security_groups"] == [{"name": "db"}, {"name": "web"}]
    assert create(api, body, security_groups=[{"name": "none"}]).status_code == 400
    assert create(api, body, security_groups=[{"name": "twice"}]).status_code == 409


def test_several_servers_at_once(
    api: Api, body: dict[str, Any], network: str, other: OtherNetwork, compute: Compute
) -> None:
    create(api, body, min_count=3, max_count=3)
    compute.work()
    servers = api.get("/servers/detail").json["servers"]
    assert [each["status"] for each in servers] == ["ACTIVE"] * 3
    assert len({each["addresses"]["theirs"][0]["addr"] for each in servers}) == 3


def test_a_port_of_another_project(
    api: Api, body: dict[str, Any], network: str, boot: Boot, other: OtherNetwork
) -> None:
    """Who sees it there (an administrator, the owner of its network) has no right to it by that."""
    strangers = other.port(network, uuid.uuid4().hex)
    boss = api.become("admin", project_id=api.project_id)
    answers = [
        create(boss, body, networks=[{"port": strangers["id"]}]),
        boss.post(f"/servers/{boot()}/os-interface", {"interfaceAttachment": {"port_id": strangers["id"]}}),
    ]
    sentence = f"Port {strangers['id']} not usable for a server of project {api.project_id}."
    assert [(each.status_code, each.json["badRequest"]["message"]) for each in answers] == [(400, sentence)] * 2
    assert other.ports(id=strangers["id"])[0]["device_id"] == ""


def test_a_port_that_another_server_took_first(
    api: Api, body: dict[str, Any], network: str, other: OtherNetwork, compute: Compute
) -> None:
    port = other.port(network, api.project_id)
    first, second = (create(api, body, networks=[{"port": port["id"]}]).json["server"]["id"] for _ in range(2))
    compute.work()
    assert shown(api, first)["status"] == "ACTIVE" and shown(api, second)["status"] == "ERROR"
    assert shown(api, second)["fault"]["message"] == f"Port {port['id']} is still in use."
    assert other.ports(device_id=first)[0]["id"] == port["id"]


def test_no_address_left(api: Api, body: dict[str, Any], other: OtherNetwork, compute: Compute) -> None:
    tiny = other.network(api.project_id, "10.6.0.0/30")
    wanted = [{"uuid": tiny}, {"uuid": tiny}, {"uuid": tiny}, {"uuid": tiny}]
    server_id = create(api, body, networks=wanted).json["server"]["id"]
    compute.work()
    assert shown(api, server_id)["status"] == "ERROR"
    assert "No more IP addresses available" in shown(api, server_id)["fault"]["message"]
    assert other.ports(device_id=server_id) == []  # what was made was taken back


@pytest.mark.parametrize("kind", ["binding_failed", "vhostuser", "hybrid"])
def test_ports_that_can_not_be_bound(
    api: Api,
    body: dict[str, Any],
    network: str,
    other: OtherNetwork,
    compute: Compute,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    made = other.neutron.create

    def create_port(*what: Any, **more: Any) -> dict[str, Any]:
        if kind == "hybrid":
            return made(*what, **more) | {"binding:vif_type": "ovs", "binding:vif_details": {"ovs_hybrid_plug": True}}
        return made(*what, **more) | {"binding:vif_type": kind}

    monkeypatch.setattr(other.neutron, "create", create_port)
    server_id = create(api, body).json["server"]["id"]
    compute.work()
    fault = shown(api, server_id)["fault"]["message"]
    said = {"binding_failed": "Binding failed for port", "vhostuser": "VIF type vhostuser", "hybrid": "ovs_hybrid_plug"}
    assert shown(api, server_id)["status"] == "ERROR" and said[kind] in fault
    assert other.ports(device_id=server_id) == []


def test_neutron_is_away(api: Api, body: dict[str, Any], settings: Settings, db: Database) -> None:
    nobody = Neutron("http://127.0.0.1:1", lambda: "service", lambda _context: "user")
    app = create_app(replace(settings, network_url="http://127.0.0.1:1"), db=db, neutron=nobody)
    lost = Api(app, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)
    answer = create(lost, body)
    assert answer.status_code == 503
    assert answer.json["serviceUnavailable"]["message"].startswith("The network service can't be reached")


@pytest.mark.parametrize("fatal", [True, False])
def test_waiting_until_interfaces_are_plugged(
    api: Api,
    body: dict[str, Any],
    network: str,
    other: OtherNetwork,
    compute: Compute,
    monkeypatch: pytest.MonkeyPatch,
    fatal: bool,
) -> None:
    """The other cloud does not know our servers, so its ports never become ACTIVE."""
    settings = replace(compute.tools.settings, vif_plugging_timeout=1, vif_plugging_is_fatal=fatal)
    compute.tools = replace(compute.tools, settings=settings)
    server_id = create(api, body).json["server"]["id"]
    compute.work()
    assert shown(api, server_id)["status"] == ("ERROR" if fatal else "ACTIVE")
    assert len(other.ports(device_id=server_id)) == (0 if fatal else 1)
    if fatal:
        assert shown(api, server_id)["fault"]["message"] == "Virtual Interface creation failed"
    find = other.neutron.find

    def plugged(context: Any, noun: str, *what: Any, **more: Any) -> list[dict[str, Any]]:
        return [each | ({"status": "ACTIVE"} if noun == "port" else {}) for each in find(context, noun, *what, **more)]

    monkeypatch.setattr(other.neutron, "find", plugged)
    server_id = create(api, body).json["server"]["id"]
    compute.work()
    assert shown(api, server_id)["status"] == "ACTIVE"
    listed = api.get(f"/servers/{server_id}/os-interface").json["interfaceAttachments"]
    assert [each["port_state"] for each in listed] == ["ACTIVE"]


# --- delete ---


def test_delete(api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    port = other.port(network, api.project_id)
    server_id = boot(networks=[{"uuid": network}, {"port": port["id"]}])
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert api.get(f"/servers/{server_id}").status_code == 404
    (left,) = other.ports()
    assert (left["id"], left["device_id"], left["device_owner"], left["binding:host_id"]) == (port["id"], "", "", "")
    again = boot(networks=[{"port": port["id"]}])  # it can be another's
    assert shown(api, again)["addresses"]["theirs"][0]["addr"] == port["fixed_ips"][0]["ip_address"]


def test_delete_of_a_server_that_is_nowhere(
    api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute
) -> None:
    port = other.port(network, api.project_id)
    server_id = boot(networks=[{"uuid": network}, {"port": port["id"]}])
    assert api.post(f"/servers/{server_id}/action", {"shelve": None}).status_code == 202
    compute.work()
    compute.work()
    assert shown(api, server_id)["status"] == "SHELVED_OFFLOADED"
    assert {each["binding:host_id"] for each in other.ports(device_id=server_id)} == {""}
    assert api.delete(f"/servers/{server_id}").status_code == 204
    assert [(each["id"], each["device_id"]) for each in other.ports()] == [(port["id"], "")]


def test_unshelve_binds_again(api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    server_id = boot()
    for action in ("shelve", "unshelve"):
        assert api.post(f"/servers/{server_id}/action", {action: None}).status_code == 202
        compute.work()
    (port,) = other.ports(device_id=server_id)
    assert (port["binding:host_id"], shown(api, server_id)["status"]) == ("host1", "ACTIVE")


# --- events ---


def tell(admin: Api, *events: dict[str, str]) -> Any:
    """POST /os-server-external-events."""
    return admin.post("/os-server-external-events", {"events": list(events)})


def test_events(api: Api, admin: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    server_id = boot()
    (port,) = other.ports(device_id=server_id)
    other.admin.put(f"/network/v2.0/networks/{network}", {"network": {"name": "renamed"}})
    fixed = [{"ip_address": "10.9.0.9"}]
    # The other cloud knows no such server, so the port is nobody's there and may change.
    assert other.admin.put(f"/network/v2.0/ports/{port['id']}", {"port": {"fixed_ips": fixed}}).status_code == 200
    for name in ("network-changed", "network-vif-plugged", "network-vif-unplugged"):
        answer = tell(admin, {"name": name, "server_uuid": server_id, "tag": port["id"], "status": "completed"})
        assert answer.status_code == 200, answer.text
    compute.work()
    assert [each["addr"] for each in shown(api, server_id)["addresses"]["renamed"]] == ["10.9.0.9"]


def test_events_while_the_server_is_busy(
    api: Api, admin: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute
) -> None:
    server_id = boot()
    assert api.post(f"/servers/{server_id}/action", {"os-stop": None}).status_code == 202
    other.admin.put(f"/network/v2.0/networks/{network}", {"network": {"name": "renamed"}})
    assert tell(admin, {"name": "network-changed", "server_uuid": server_id}).status_code == 200
    compute.work()
    assert list(shown(api, server_id)["addresses"]) == ["renamed"]
    assert shown(api, server_id)["status"] == "SHUTOFF"


def test_a_port_that_was_deleted_there(
    api: Api, admin: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute
) -> None:
    server_id = boot(networks=[{"uuid": network}, {"uuid": network}])
    gone = other.ports(device_id=server_id)[0]
    assert other.admin.delete(f"/network/v2.0/ports/{gone['id']}").status_code == 204
    event = {"name": "network-vif-deleted", "server_uuid": server_id, "tag": gone["id"]}
    assert tell(admin, event).status_code == 200
    compute.work()
    assert compute.driver.nics(server_id) == [other.ports(device_id=server_id)[0]["mac_address"]]  # type: ignore[attr-defined]
    assert len(api.get(f"/servers/{server_id}/os-interface").json["interfaceAttachments"]) == 1


def test_what_no_event_told(api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    servers = [boot(), boot()]
    assert remote.look_again in sweeps.ALL
    other.admin.put(f"/network/v2.0/networks/{network}", {"network": {"name": "renamed"}})
    (port,) = other.ports(device_id=servers[1])
    other.admin.put(f"/network/v2.0/ports/{port['id']}", {"port": {"fixed_ips": [{"ip_address": "10.9.0.9"}]}})
    assert remote.look_again(compute.tools) == 2
    assert list(shown(api, servers[0])["addresses"]) == ["renamed"]
    assert shown(api, servers[1])["addresses"]["renamed"][0]["addr"] == "10.9.0.9"


# --- interfaces ---


def attach(api: Api, server_id: str, **wanted: Any) -> Any:
    """POST …/os-interface."""
    return api.post(f"/servers/{server_id}/os-interface", {"interfaceAttachment": wanted})


def test_attach_and_detach(api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute) -> None:
    server_id = boot()
    mine = other.network(api.project_id, "10.8.0.0/24", name="mine")
    brought = other.port(mine, api.project_id)
    answers = [
        attach(api, server_id, net_id=mine, fixed_ips=[{"ip_address": "10.8.0.50"}]),
        attach(api, server_id, port_id=brought["id"]),
    ]
    made = answers[0].json["interfaceAttachment"]
    assert [each.status_code for each in answers] == [200, 200], answers[1].text
    assert (made["net_id"], made["fixed_ips"][0]["ip_address"]) == (mine, "10.8.0.50")
    compute.work()
    assert len(compute.driver.nics(server_id)) == 3  # type: ignore[attr-defined]
    assert {each["device_owner"] for each in other.ports(device_id=server_id)} == {"compute:nova"}
    assert len(shown(api, server_id)["addresses"]["mine"]) == 2
    for port_id in (made["port_id"], brought["id"]):
        assert api.delete(f"/servers/{server_id}/os-interface/{port_id}").status_code == 202
        compute.work()
    assert len(compute.driver.nics(server_id)) == 1  # type: ignore[attr-defined]
    assert list(shown(api, server_id)["addresses"]) == ["theirs"]
    (left,) = other.ports(network_id=mine)
    assert (left["id"], left["device_id"]) == (brought["id"], "")


def test_attach_to_the_one_network_there_is(
    api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute
) -> None:
    server_id = boot()
    assert attach(api, server_id).json["interfaceAttachment"]["net_id"] == network
    compute.work()
    other.network(api.project_id, "10.8.0.0/24")
    assert attach(api, server_id).status_code == 400


def test_what_can_not_be_attached(api: Api, boot: Boot, network: str, other: OtherNetwork) -> None:
    server_id = boot()
    (used,) = other.ports(device_id=server_id)
    address = used["fixed_ips"][0]["ip_address"]
    for wanted, status in (
        ({"net_id": NOTHING}, 404),
        ({"port_id": NOTHING}, 404),
        ({"port_id": used["id"]}, 409),
        ({"net_id": network, "fixed_ips": [{"ip_address": address}]}, 409),
    ):
        assert attach(api, server_id, **wanted).status_code == status, wanted
    other.admin.put(f"/network/v2.0/quotas/{api.project_id}", {"quota": {"port": 1}})
    assert attach(api, server_id, net_id=network).status_code == 403
    assert len(other.ports()) == 1
    stranger = api.become("member")
    assert attach(stranger, server_id, net_id=network).status_code == 404


def test_what_the_host_can_not_plug_is_given_back(
    api: Api, boot: Boot, network: str, other: OtherNetwork, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = boot()

    def refuse(*_what: Any) -> None:
        raise HypervisorError("no room")

    monkeypatch.setattr(compute.driver, "attach_nic", refuse)
    assert attach(api, server_id, net_id=network).status_code == 200
    compute.work()
    assert len(other.ports()) == 1
    assert len(api.get(f"/servers/{server_id}/os-interface").json["interfaceAttachments"]) == 1
    assert len(shown(api, server_id)["addresses"]["theirs"]) == 1


def test_a_port_that_is_not_bound_is_given_back(
    api: Api, boot: Boot, network: str, other: OtherNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = boot()
    port = other.port(network, api.project_id)
    update = other.neutron.update

    def fail(context: Any, noun: str, key: str, values: Any, **more: Any) -> dict[str, Any]:
        return update(context, noun, key, values, **more) | {"binding:vif_type": "binding_failed"}

    monkeypatch.setattr(other.neutron, "update", fail)
    answer = attach(api, server_id, port_id=port["id"])
    assert answer.status_code == 409 and "Binding failed" in answer.text
    assert [each["device_id"] for each in other.ports(id=port["id"])] == [""]


def action(api: Api, server_id: str, name: str, /, **body: Any) -> Any:
    """POST …/action."""
    return api.post(f"/servers/{server_id}/action", {name: body})


def test_fixed_addresses(api: Api, boot: Boot, other: OtherNetwork, compute: Compute) -> None:
    network = other.network(api.project_id, "10.8.0.0/24", name="mine")
    server_id = boot(networks=[{"uuid": network}])
    assert action(api, server_id, "addFixedIp", networkId=network).status_code == 202
    compute.work()
    (port,) = other.ports(device_id=server_id)
    addresses = [each["ip_address"] for each in port["fixed_ips"]]
    assert [each["addr"] for each in shown(api, server_id)["addresses"]["mine"]] == addresses
    assert len(addresses) == 2
    assert action(api, server_id, "addFixedIp", networkId=NOTHING).status_code == 404
    assert action(api, server_id, "removeFixedIp", address=addresses[1]).status_code == 202
    compute.work()
    assert action(api, server_id, "removeFixedIp", address="10.9.0.200").status_code == 400
    assert [each["addr"] for each in shown(api, server_id)["addresses"]["mine"]] == addresses[:1]


def test_security_groups_of_a_server(api: Api, boot: Boot, network: str, other: OtherNetwork) -> None:
    owner, groups = {"project_id": api.project_id}, "/network/v2.0/security-groups"
    web = other.admin.post(groups, {"security_group": {"name": "web", **owner}}).json["security_group"]
    rule = {"security_group_id": web["id"], "direction": "ingress", "protocol": "tcp", **owner}
    rules = "/network/v2.0/security-group-rules"
    ports = {"port_range_min": 80, "port_range_max": 81, "remote_ip_prefix": "10.0.0.0/8", "ethertype": "IPv4"}
    for more in (ports, {"remote_group_id": web["id"]}):
        assert other.admin.post(rules, {"security_group_rule": rule | more}).status_code == 201
    server_id = boot()
    assert action(api, server_id, "addSecurityGroup", name="web").status_code == 202
    assert shown(api, server_id)["security_groups"] == [{"name": "default"}, {"name": "web"}]
    listed = {
        each["name"]: each for each in api.get(f"/servers/{server_id}/os-security-groups").json["security_groups"]
    }
    assert sorted(listed) == ["default", "web"]
    first, second = sorted(listed["web"]["rules"], key=lambda each: str(each["group"]))
    first, second = (first, second) if first["ip_range"] else (second, first)
    assert (first["from_port"], first["to_port"], first["ip_range"]) == (80, 81, {"cidr": "10.0.0.0/8"})
    assert second["group"] == {"name": "web", "tenant_id": api.project_id}
    assert action(api, server_id, "removeSecurityGroup", name="web").status_code == 202
    assert action(api, server_id, "removeSecurityGroup", name="web").status_code == 404
    assert action(api, server_id, "addSecurityGroup", name="none").status_code == 404
    assert shown(api, server_id)["security_groups"] == [{"name": "default"}]


def test_floating_addresses(api: Api, boot: Boot, other: OtherNetwork, compute: Compute) -> None:
    mine = other.network(api.project_id)
    outside: dict[str, Any] = {"router:external": True, "shared": False}
    public = other.network(cidr="203.0.113.0/24", name="public", **outside)
    subnet = other.admin.get("/network/v2.0/subnets", params={"network_id": mine}).json["subnets"][0]
    owner = {"project_id": api.project_id}
    gateway = {"name": "r", "external_gateway_info": {"network_id": public}, **owner}
    router = other.admin.post("/network/v2.0/routers", {"router": gateway}).json["router"]["id"]
    add = other.admin.put(f"/network/v2.0/routers/{router}/add_router_interface", {"subnet_id": subnet["id"]})
    assert add.status_code == 200, add.text
    body = {"floatingip": {"floating_network_id": public, **owner}}
    address = other.admin.post("/network/v2.0/floatingips", body).json["floatingip"]["floating_ip_address"]
    first, second = boot(networks=[{"uuid": mine}]), boot(networks=[{"uuid": mine}])

    def floating(server_id: str) -> list[str]:
        listed = shown(api, server_id)["addresses"]["theirs"]
        return [each["addr"] for each in listed if each["OS-EXT-IPS:type"] == "floating"]

    assert action(api, first, "addFloatingIp", address=address).status_code == 202
    assert floating(first) == [address]
    assert action(api, second, "addFloatingIp", address=address).status_code == 202
    assert (floating(first), floating(second)) == ([], [address])
    assert action(api, first, "removeFloatingIp", address=address).status_code == 409
    assert action(api, first, "addFloatingIp", address="203.0.113.99").status_code == 404
    assert action(api, second, "removeFloatingIp", address=address).status_code == 202
    assert floating(second) == []
    assert action(api, first, "addFloatingIp", address=address).status_code == 202
    (given,) = api.get("/os-floating-ips").json["floating_ips"]
    assert (given["instance_id"], given["ip"]) == (first, address)
    assert api.delete(f"/os-floating-ips/{given['id']}").status_code == 202
    assert floating(first) == []


# --- moves ---


def test_moves_bind_the_port_to_the_other_host(
    api: Api,
    admin: Api,
    boot: Boot,
    network: str,
    other: OtherNetwork,
    settings: Settings,
    db: Database,
    compute: Compute,
) -> None:
    driver = SimulatedHypervisor("host2", fabric=compute.driver._fabric)  # type: ignore[attr-defined]
    second = Compute(replace(settings, host="host2"), db, driver, compute.images, other.neutron)
    server_id = boot(networks=[{"uuid": network}])

    def bound() -> str:
        return str(other.ports(device_id=server_id)[0]["binding:host_id"])

    def work() -> None:
        for _ in range(6):
            compute.work()
            second.work()

    live = {"os-migrateLive": {"host": "host2", "block_migration": True, "disk_over_commit": False}}
    assert admin.post(f"/servers/{server_id}/action", live).status_code == 202
    work()
    assert (bound(), compute.server(server_id).host) == ("host2", "host2")
    assert admin.post(f"/servers/{server_id}/action", {"migrate": None}).status_code == 202
    work()
    assert (bound(), compute.server(server_id).vm_state) == ("host1", "resized")
    assert api.post(f"/servers/{server_id}/action", {"revertResize": None}).status_code == 202
    work()
    assert (bound(), compute.server(server_id).host) == ("host2", "host2")
    driver.close()
