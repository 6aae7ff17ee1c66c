# SPDX-License-Identifier: Apache-2.0
"""What the API says about groups and floating IPs reaches the hosts concerned: their whole firewall, as rows say."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import func, select

from computeapi.compute.operations import firewall, networks
from computeapi.db.models import Action
from computeapi.db.queries import host_faults
from computeapi.virt.base import HypervisorError, NetworkSpec
from computeapi.virt.firewall import Floating, PacketRule
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot

V = "/network/v2.0"


def rules_of(compute: Compute, api: Api, server: str) -> list[PacketRule]:
    """What may come in to a server."""
    driver: Any = compute.driver
    mac = api.get(f"{V}/ports?device_id={server}").json["ports"][0]["mac_address"]
    (guard,) = [guard for guard in driver.firewall.guards if guard.mac == mac]
    return list(guard.ingress)


def test_a_guest_is_guarded_before_it_starts(api: Api, compute: Compute, boot: Boot) -> None:
    driver: Any = compute.driver
    server = boot()
    port = api.get(f"{V}/ports?device_id={server}").json["ports"][0]
    (guard,) = driver.firewall.guards
    assert (guard.tap, guard.mac) == ("tap" + port["id"][:11], port["mac_address"])
    address = port["fixed_ips"][0]["ip_address"]
    assert guard.addresses == (address,)
    group = port["security_groups"][0]
    assert guard.ingress == (PacketRule(4, members=group), PacketRule(6, members=group))
    assert guard.egress == (PacketRule(4), PacketRule(6))
    assert driver.firewall.sets == {group: (address,)}
    (network,) = driver.firewall.networks
    assert network.cidr == "10.1.0.0/24"
    second = boot()
    other = api.get(f"{V}/ports?device_id={second}").json["ports"][0]["fixed_ips"][0]["ip_address"]
    assert driver.firewall.sets == {group: tuple(sorted((address, other)))}
    api.delete(f"/servers/{second}")
    compute.work()
    assert driver.firewall.sets == {group: (address,)}
    assert len(driver.firewall.guards) == 1


def test_rules_reach_running_guests(api: Api, compute: Compute, boot: Boot) -> None:
    server = boot()
    group = api.get("/os-security-groups").json["security_groups"][0]["id"]
    before = rules_of(compute, api, server)
    rule = {"parent_group_id": group, "ip_protocol": "tcp", "from_port": 22, "to_port": 23, "cidr": "10.9.8.7/16"}
    made = api.post("/os-security-group-rules", {"security_group_rule": rule}).json["security_group_rule"]
    assert rules_of(compute, api, server) == before
    compute.work()
    assert rules_of(compute, api, server) == [*before, PacketRule(4, 6, 22, 23, "10.9.0.0/16")]
    api.delete(f"/os-security-group-rules/{made['id']}")
    compute.work()
    assert rules_of(compute, api, server) == before
    with compute.db.read() as conn:
        waiting = select(func.count()).select_from(Action).where(Action.hidden == 1, Action.state == "pending")
        assert conn.execute(waiting).scalar() == 0


def test_groups_added_and_removed(api: Api, compute: Compute, boot: Boot) -> None:
    server = boot()
    group = api.post("/os-security-groups", {"security_group": {"name": "web", "description": ""}}).json
    key = group["security_group"]["id"]
    rule = {"parent_group_id": key, "ip_protocol": "icmp", "from_port": -1, "to_port": -1}
    api.post("/os-security-group-rules", {"security_group_rule": rule})
    for name in ("default", "web"):
        which = "removeSecurityGroup" if name == "default" else "addSecurityGroup"
        api.post(f"/servers/{server}/action", {which: {"name": name}})
    compute.work()
    assert rules_of(compute, api, server) == [PacketRule(4, 1, cidr="0.0.0.0/0")]


def test_a_port_without_security_is_not_guarded(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    driver: Any = compute.driver
    server = boot()
    port = api.get(f"{V}/ports?device_id={server}").json["ports"][0]["id"]
    off = {"port_security_enabled": False, "security_groups": []}
    assert api.put(f"{V}/ports/{port}", {"port": off}).status_code == 403  # the network is not theirs
    assert admin.put(f"{V}/ports/{port}", {"port": off}).status_code == 200
    compute.work()
    assert driver.firewall.guards == ()


def test_floating_ips_come_move_and_go(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    driver: Any = compute.driver
    admin.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.0/29"}})
    address = api.post("/os-floating-ips", {"pool": "nova"}).json["floating_ip"]["ip"]
    servers = [boot(), boot()]
    fixed = [api.get(f"/servers/{each}").json["server"]["addresses"]["private"][0]["addr"] for each in servers]
    for server, inside in zip(servers, fixed, strict=True):
        api.post(f"/servers/{server}/action", {"addFloatingIp": {"address": address}})
        compute.work()
        assert driver.firewall.floating == (Floating(address, inside),)
    api.delete(f"/servers/{servers[1]}")
    compute.work()
    assert driver.firewall.floating == ()


def test_routers_link_networks(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    driver: Any = compute.driver
    subnets = []
    networks = []
    for number in (1, 2):
        networks.append(api.post(f"{V}/networks", {"network": {"name": f"n{number}"}}).json["network"]["id"])
        body = {"network_id": networks[-1], "ip_version": 4, "cidr": f"10.7.{number}.0/24"}
        subnets.append(api.post(f"{V}/subnets", {"subnet": body}).json["subnet"]["id"])
    boot(networks=[{"uuid": networks[0]}, {"uuid": networks[1]}])
    assert driver.firewall.links == ()
    router = api.post(f"{V}/routers", {"router": {"name": "r"}}).json["router"]["id"]
    for subnet in subnets:
        api.put(f"{V}/routers/{router}/add_router_interface", {"subnet_id": subnet})
    boot(networks=[{"uuid": networks[0]}])
    bridges = sorted({network.bridge for network in driver.firewall.networks})
    assert driver.firewall.links == (tuple(bridges),)


def test_a_deleted_network_leaves_the_host(api: Api, compute: Compute, boot: Boot) -> None:
    """Before the next guest needs a network there, which may have the same addresses."""
    kept = boot()
    network = {"network": {"name": "short"}}
    made = api.post(f"{V}/networks", network).json["network"]["id"]
    subnet = {"network_id": made, "ip_version": 4, "cidr": "10.7.1.0/24"}
    api.post(f"{V}/subnets", {"subnet": subnet})
    server = boot(networks=[{"uuid": made}])
    assert made in compute.driver.list_networks().values()
    api.delete(f"/servers/{server}")
    compute.work()
    assert api.delete(f"{V}/networks/{made}").status_code == 204
    again = api.post(f"{V}/networks", network).json["network"]["id"]
    api.post(f"{V}/subnets", {"subnet": {**subnet, "network_id": again}})
    boot(networks=[{"uuid": again}])
    there = compute.driver.list_networks().values()
    assert made not in there and again in there
    used = api.get(f"{V}/ports?device_id={kept}").json["ports"][0]["network_id"]
    assert used in there


def test_what_a_host_lost_is_put_back(
    admin: Api, api: Api, compute: Compute, boot: Boot, network: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All networks of its servers with what they promise; one that is refused keeps no other."""
    driver: Any = compute.driver
    body = {"label": "red", "cidr": "10.81.0.0/24", "project_id": api.project_id, "vlan": 5, "mtu": 1400}
    own = {"gateway": "10.81.0.1", "dhcp_server": "10.81.0.2", "bridge": "brred", "bridge_interface": "eth7"}
    made = admin.post("/os-networks", {"network": {**body, **own}}).json["network"]["id"]
    taken = admin.post("/os-networks", {"network": {"label": "r", "cidr": "10.82.0.0/24", "bridge": "brred"}})
    assert taken.status_code == 409
    boot(networks=[{"uuid": network}])
    boot(networks=[{"uuid": made}])
    names = {uuid: name for name, uuid in driver.list_networks().items()}
    promised = {name: driver.dhcp_hosts(name) for name in names.values()}
    assert [len(hosts) for hosts in promised.values()] == [1, 1]
    asked: dict[str, NetworkSpec] = {}
    ensure = driver.ensure_network

    def note(spec: NetworkSpec) -> None:
        asked[spec.uuid] = spec
        if refused == spec.uuid:
            raise HypervisorError("not now")
        ensure(spec)

    monkeypatch.setattr(driver, "ensure_network", note)
    for refused in (made, ""):
        for name in names.values():
            driver.remove_network(name)
        assert networks.put_back(compute.tools) == (1 if refused else 0)
        assert set(driver.list_networks().values()) == names.keys() - {refused}
    assert {name: driver.dhcp_hosts(name) for name in names.values()} == promised
    spec = asked[made]
    assert (spec.gateway, spec.router, spec.uplink_device, spec.uplink) == ("10.81.0.2", "10.81.0.1", "vlan5", "eth7")
    port = api.get(f"{V}/ports?network_id={made}&device_owner=compute:nova").json["ports"][0]["id"]
    assert (spec.bridge, spec.mtu, spec.taps) == ("brred", 1400, ("tap" + port[:11],))
    (joined,) = [each for each in driver.firewall.networks if each.uplink]
    assert (joined.uplink, joined.address, joined.cidr) == ("vlan5", "10.81.0.2", "10.81.0.0/24")


# --- what a host refuses ---


def last_event(api: Api, server: str) -> tuple[str, str | None, str, str]:
    """The newest action in a server's log, its message, and how its last event ended and why."""
    newest = api.get(f"/servers/{server}/os-instance-actions").json["instanceActions"][0]
    found = api.become("admin").get(f"/servers/{server}/os-instance-actions/{newest['request_id']}")
    shown = found.json["instanceAction"]
    event = shown["events"][0]
    return shown["action"], shown["message"], event["result"], event["traceback"]


def faults(compute: Compute) -> dict[str, str]:
    """What the host says that it can't make, and why."""
    with compute.db.read() as conn:
        found = host_faults.of_host(conn, compute.tools.host)
    return {each["what"]: each["why"] for kind in found.values() for each in kind}


@pytest.mark.parametrize("everything", [False, True], ids=["that one", "everything"])
def test_a_floating_ip_that_is_refused(
    api: Api, admin: Api, compute: Compute, boot: Boot, everything: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """Its status and the action's events say so; what was there is as it was, and it comes when it can."""
    driver: Any = compute.driver
    admin.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.0/29"}})
    taken, refused = (api.post("/os-floating-ips", {"pool": "nova"}).json["floating_ip"] for _ in range(2))
    first, second = boot(), boot()
    api.post(f"/servers/{first}/action", {"addFloatingIp": {"address": taken["ip"]}})
    compute.work()
    in_force = driver.firewall
    assert [pair.address for pair in in_force.floating] == [taken["ip"]]

    def status(each: dict[str, Any]) -> str:
        return str(api.get(f"{V}/floatingips/{each['id']}").json["floatingip"]["status"])

    driver.refused = {"" if everything else refused["ip"]}
    api.post(f"/servers/{second}/action", {"addFloatingIp": {"address": refused["ip"]}})
    compute.work()
    assert driver.firewall == in_force
    assert (status(taken), status(refused)) == ("ACTIVE", "ERROR")
    assert [each["id"] for each in api.get(f"{V}/floatingips?status=ERROR").json["floatingips"]] == [refused["id"]]
    action, message, result, why = last_event(api, second)
    assert (action, message, result) == ("addFloatingIp", "Error", "Error")
    assert "nft -f -: no" in why
    shown = api.get(f"/servers/{second}").json["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    what = "security groups and floating IPs" if everything else f"floating IP {refused['ip']}"
    assert faults(compute) == {what: "nft -f -: no"}
    assert f"{what} is not as it shall be on this host" in caplog.text
    driver.refused = set()
    firewall.apply(compute.tools)
    assert (status(taken), status(refused), faults(compute)) == ("ACTIVE", "ACTIVE", {})
    assert [pair.address for pair in driver.firewall.floating] == [taken["ip"], refused["ip"]]


def test_a_refused_floating_ip_that_is_taken_back(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    """By the Networking API, which has no server's log to write to."""
    driver: Any = compute.driver
    admin.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.0/29"}})
    floating = api.post("/os-floating-ips", {"pool": "nova"}).json["floating_ip"]
    url = f"{V}/floatingips/{floating['id']}"
    driver.refused = {floating["ip"]}
    port = api.get(f"{V}/ports?device_id={boot()}").json["ports"][0]["id"]
    for port_id, status in ((port, "ERROR"), (None, "DOWN")):
        answer = api.put(url, {"floatingip": {"port_id": port_id}})
        assert answer.status_code == 200
        compute.work()
        assert api.get(url).json["floatingip"]["status"] == status
    assert faults(compute) == {}


def test_a_rule_that_is_refused(api: Api, compute: Compute, boot: Boot) -> None:
    """The host does without it, and with all others; the logs of the servers that it is for say so, once."""
    driver: Any = compute.driver
    server, other = boot(), boot()
    group = api.get("/os-security-groups").json["security_groups"][0]["id"]
    before = rules_of(compute, api, server)
    refused = PacketRule(4, 132, 1, 9, "10.9.0.0/16")
    driver.refused = {refused}
    rule = {"security_group_id": group, "direction": "ingress", "protocol": "sctp"}
    ports = {"port_range_min": 1, "port_range_max": 9, "remote_ip_prefix": "10.9.0.0/16"}
    assert api.post(f"{V}/security-group-rules", {"security_group_rule": {**rule, **ports}}).status_code == 201
    taken = {**rule, "protocol": "tcp", "port_range_min": 22, "port_range_max": 22}
    assert api.post(f"{V}/security-group-rules", {"security_group_rule": taken}).status_code == 201
    for _ in range(2):
        compute.work()
        firewall.apply(compute.tools)
    assert rules_of(compute, api, server) == [*before, PacketRule(4, 6, 22, 22)]
    for each in (server, other):
        log = api.get(f"/servers/{each}/os-instance-actions").json["instanceActions"]
        assert [item["action"] for item in log] == ["refreshSecurityGroups", "create"]
        assert log[0]["message"] == "Error"
        assert "protocol 132 1-9 10.9.0.0/16): nft -f -: no" in last_event(api, each)[3]
    what = "security group rule (IPv4, protocol 132 1-9 10.9.0.0/16)"
    assert faults(compute) == {what: "nft -f -: no"}
    api.post("/os-security-groups", {"security_group": {"name": "web", "description": ""}})
    api.post(f"/servers/{server}/action", {"addSecurityGroup": {"name": "web"}})
    compute.work()
    action, _, result, why = last_event(api, server)
    assert (action, result, why) == ("addSecurityGroup", "Error", f"{what}: nft -f -: no")
    with pytest.raises(AssertionError, match="protocol 132 1-9"):
        boot()
    (failed,) = api.get("/servers/detail?status=ERROR").json["servers"]
    assert failed["fault"]["message"] == f"{what}: nft -f -: no"


def test_what_waits_behind_other_work(api: Api, compute: Compute, boot: Boot) -> None:
    """Neither shows in the server's state, nor keeps anything from being asked of it."""
    server = boot()
    api.post("/os-security-groups", {"security_group": {"name": "web", "description": ""}})
    for action in ({"os-stop": None}, {"addSecurityGroup": {"name": "web"}}):
        assert api.post(f"/servers/{server}/action", action).status_code == 202
    compute.work()
    shown = api.get(f"/servers/{server}").json["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("SHUTOFF", None)
    for action in ({"removeSecurityGroup": {"name": "web"}}, {"os-start": None}):
        assert api.post(f"/servers/{server}/action", action).status_code == 202
    compute.work()
    assert api.get(f"/servers/{server}").json["server"]["status"] == "ACTIVE"
    log = api.get(f"/servers/{server}/os-instance-actions").json["instanceActions"]
    assert [(item["action"], item["message"]) for item in log[:2]] == [("start", None), ("removeSecurityGroup", None)]
