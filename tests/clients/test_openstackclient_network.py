# SPDX-License-Identifier: Apache-2.0
"""`openstack network|subnet|port|router|security group|floating ip …` of the stock client, on the simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.clouds import Shell

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def outside(openstack: Shell) -> Iterator[str]:
    """An external network that everybody may use, with 192.0.2.0/24."""
    made = openstack.show(
        "network", "create", "outside", "--external", "--share", "--provider-network-type", "flat",
        "--provider-physical-network", "public",
    )  # fmt: skip
    assert (made["router:external"], made["shared"], made["provider:network_type"]) == (True, True, "flat")
    openstack("subnet", "create", "outside-v4", "--network", "outside", "--subnet-range", "192.0.2.0/24", "--no-dhcp")
    yield "outside"
    openstack("network", "delete", "outside")


@pytest.fixture(scope="module")
def blue(demo: Shell) -> Iterator[str]:
    """A network of the project `demo`, with 10.77.0.0/24 and addresses from .10 to .20 to give away."""
    made = demo.show("network", "create", "blue", "--tag", "one")
    assert (made["tags"], made["status"], made["mtu"]) == (["one"], "ACTIVE", 1500)
    inside = demo.show(
        "subnet", "create", "inside", "--network", "blue", "--subnet-range", "10.77.0.0/24",
        "--dns-nameserver", "192.0.2.53", "--allocation-pool", "start=10.77.0.10,end=10.77.0.20",
        "--host-route", "destination=10.60.0.0/16,gateway=10.77.0.3",
    )  # fmt: skip
    assert inside["allocation_pools"] == [{"start": "10.77.0.10", "end": "10.77.0.20"}]
    assert inside["host_routes"] == [{"destination": "10.60.0.0/16", "nexthop": "10.77.0.3"}]
    yield "blue"
    demo("subnet", "delete", "inside")
    demo("network", "delete", "blue")


def test_networks(openstack: Shell, demo: Shell) -> None:
    openstack(
        "network", "create", "vlan", "--provider-network-type", "vlan", "--provider-segment", "101",
        "--provider-physical-network", "physnet1", "--mtu", "1400", "--disable", "--disable-port-security",
    )  # fmt: skip
    openstack("network", "set", "vlan", "--name", "v2", "--enable", "--description", "hi", "--tag", "a", "--tag", "b")
    openstack("network", "unset", "v2", "--tag", "a")
    shown = openstack.show("network", "show", "v2")
    assert (shown["description"], shown["admin_state_up"], shown["tags"], shown["mtu"]) == ("hi", True, ["b"], 1400)
    for query in (
        ("--name", "v2"),
        ("--tags", "b"),
        ("--any-tags", "b,zz"),
        ("--provider-network-type", "vlan"),
        ("--provider-segment", "101"),
        ("--internal", "--no-share"),
        ("--project", "admin", "--internal"),
    ):
        assert openstack.column("Name", "network", "list", *query) == ["v2"], query
    assert "v2" not in demo.column("Name", "network", "list")
    assert openstack.show("network", "list", "--long", "--name", "v2")[0]["Network Type"] == "vlan"
    assert "No Network found" in demo.refused("network", "show", "v2")
    openstack("network", "set", "v2", "--share")
    assert "v2" in demo.column("Name", "network", "list", "--share")
    assert "409" in openstack.refused(
        "network", "create", "again", "--provider-network-type", "vlan", "--provider-segment", "101",
        "--provider-physical-network", "physnet1",
    )  # fmt: skip
    openstack("network", "delete", "v2")


def test_subnets(demo: Shell, blue: str) -> None:
    demo("subnet", "create", "six", "--network", blue, "--ip-version", "6", "--subnet-range", "fd00:5::/64",
         "--ipv6-ra-mode", "slaac", "--ipv6-address-mode", "slaac", "--tag", "q")  # fmt: skip
    assert "overlaps with another subnet" in demo.refused(
        "subnet", "create", "x", "--network", blue, "--subnet-range", "10.77.0.0/25"
    )
    demo("subnet", "create", "noway", "--network", blue, "--subnet-range", "10.78.0.0/24", "--gateway", "none",
         "--no-dhcp", "--allocation-pool", "start=10.78.0.1,end=10.78.0.9")  # fmt: skip
    for query, names in (
        (("--ip-version", "6"), ["six"]),
        (("--network", blue), ["inside", "six", "noway"]),
        (("--subnet-range", "10.77.0.0/24"), ["inside"]),
        (("--network", blue, "--no-dhcp"), ["noway"]),
        (("--gateway", "10.77.0.1"), ["inside"]),
        (("--tags", "q"), ["six"]),
    ):
        assert demo.column("Name", "subnet", "list", *query) == names, query
    demo("subnet", "set", "noway", "--name", "way", "--gateway", "10.78.0.254", "--dhcp", "--dns-nameserver", "1.2.3.4")
    shown = demo.show("subnet", "show", "way")
    assert (shown["gateway_ip"], shown["enable_dhcp"], shown["dns_nameservers"]) == ("10.78.0.254", True, ["1.2.3.4"])
    demo("subnet", "unset", "way", "--dns-nameserver", "1.2.3.4", "--allocation-pool",
         "start=10.78.0.1,end=10.78.0.9")  # fmt: skip
    assert demo.show("subnet", "show", "way")["allocation_pools"] == []
    demo("subnet", "set", "way", "--allocation-pool", "start=10.78.0.5,end=10.78.0.6")
    assert demo.show("subnet", "show", "way")["allocation_pools"] == [{"start": "10.78.0.5", "end": "10.78.0.6"}]
    demo("subnet", "delete", "six", "way")


def test_ports(demo: Shell, blue: str) -> None:
    made = demo.show(
        "port", "create", "p", "--network", blue, "--fixed-ip", "subnet=inside,ip-address=10.77.0.15",
        "--allowed-address", "ip-address=10.77.0.200", "--extra-dhcp-option", "name=tftp-server,value=10.1.1.1",
        "--tag", "g", "--disable", "--device-owner", "me", "--device", "some-device",
    )  # fmt: skip
    assert made["fixed_ips"][0]["ip_address"] == "10.77.0.15"
    assert made["allowed_address_pairs"][0]["ip_address"] == "10.77.0.200"
    demo("port", "create", "bare", "--network", blue, "--no-fixed-ip", "--no-security-group",
         "--disable-port-security")  # fmt: skip
    demo("port", "set", "p", "--description", "d", "--enable", "--fixed-ip", "subnet=inside,ip-address=10.77.0.16")
    for query, names in (
        (("--network", blue), ["p", "bare"]),
        (("--fixed-ip", "ip-address=10.77.0.16"), ["p"]),
        (("--fixed-ip", "subnet=inside"), ["p"]),
        (("--fixed-ip", "ip-substring=10.77.0"), ["p"]),
        (("--mac-address", made["mac_address"]), ["p"]),
        (("--device-id", "some-device", "--device-owner", "me"), ["p"]),
        (("--security-group", made["security_group_ids"][0], "--network", blue), ["p"]),
        (("--tags", "g"), ["p"]),
        (("--name", "bare", "--long"), ["bare"]),
    ):
        assert demo.column("Name", "port", "list", *query) == names, query
    demo("port", "unset", "p", "--fixed-ip", "subnet=inside,ip-address=10.77.0.16", "--allowed-address",
         "ip-address=10.77.0.200", "--security-group", "default")  # fmt: skip
    shown = demo.show("port", "show", "p")
    assert (shown["allowed_address_pairs"], shown["security_group_ids"]) == ([], [])
    assert [item["ip_address"] for item in shown["fixed_ips"]] == ["10.77.0.15"]
    assert "in use" in demo.refused("network", "delete", blue)
    demo("port", "delete", "p", "bare")


def test_routers_and_floating_ips(openstack: Shell, demo: Shell, outside: str, blue: str) -> None:
    demo("router", "create", "r", "--description", "d")
    demo("router", "add", "subnet", "r", "inside")
    demo("router", "set", "r", "--external-gateway", outside)
    demo("router", "set", "r", "--route", "destination=10.99.0.0/16,gateway=10.77.0.9")
    demo("router", "add", "route", "r", "--route", "destination=10.98.0.0/16,gateway=10.77.0.9")
    assert len(demo.show("router", "show", "r")["routes"]) == 2
    demo("router", "remove", "route", "r", "--route", "destination=10.99.0.0/16,gateway=10.77.0.9")
    shown = demo.show("router", "show", "r")
    assert shown["routes"] == [{"destination": "10.98.0.0/16", "nexthop": "10.77.0.9"}]
    assert shown["interfaces_info"][0]["ip_address"] == "10.77.0.1"
    assert shown["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "192.0.2.2"
    assert len(demo.show("port", "list", "--router", "r")) == 1, "the way out is the administrator's to see"
    assert "still has ports" in demo.refused("router", "delete", "r")

    inside = demo.show("port", "create", "p", "--network", blue)["fixed_ips"][0]["ip_address"]
    made = demo.show("floating ip", "create", outside, "--tag", "f")
    address = made["floating_ip_address"]
    demo("floating", "ip", "set", "--port", "p", "--description", "new", address)
    bound = demo.show("floating", "ip", "show", address)
    assert (bound["status"], bound["fixed_ip_address"], bound["description"]) == ("ACTIVE", inside, "new")
    for query in (("--port", "p"), ("--fixed-ip-address", inside), ("--router", "r"), ("--network", outside)):
        assert demo.column("Floating IP Address", "floating", "ip", "list", *query) == [address], query
    assert openstack.column("Floating IP Address", "floating", "ip", "list", "--project", "demo", "--long") == [address]
    assert "not a valid external network" in demo.refused("floating", "ip", "create", blue)
    demo("floating", "ip", "unset", "--port", address)
    assert demo.show("floating", "ip", "show", address)["status"] == "DOWN"
    demo("floating", "ip", "delete", address)
    demo("port", "delete", "p")

    demo("router", "unset", "r", "--external-gateway", "--route", "destination=10.98.0.0/16,gateway=10.77.0.9")
    demo("router", "remove", "subnet", "r", "inside")
    demo("router", "delete", "r")


def test_security_groups(demo: Shell) -> None:
    demo("security", "group", "create", "web", "--description", "d", "--tag", "s")
    demo("security", "group", "set", "web", "--name", "www", "--description", "e")
    rule = ("security", "group", "rule", "create", "www")
    ssh = (*rule, "--protocol", "tcp", "--dst-port", "22:23", "--remote-ip", "10.0.0.0/8")
    made = demo.show(*ssh)
    assert (made["port_range_min"], made["port_range_max"], made["direction"]) == (22, 23, "ingress")
    demo(*rule, "--protocol", "icmp", "--icmp-type", "8", "--icmp-code", "0", "--egress")
    demo(*rule, "--remote-group", "default", "--protocol", "udp", "--dst-port", "53")
    demo(*rule, "--ethertype", "IPv6", "--protocol", "ipv6-icmp")
    assert "already exists" in demo.refused(*ssh)
    assert "not supported" in demo.refused(*rule, "--protocol", "nonesuch")
    assert "No SecurityGroup found" in demo.refused(*rule, "--remote-group", "nobody")
    rules = demo.show("security", "group", "rule", "list", "www")
    assert len(rules) == 6, "two of them let out what the group's servers send"
    (listed,) = [row for row in rules if row["IP Protocol"] == "tcp"]
    assert (listed["IP Range"], listed["Port Range"]) == ("10.0.0.0/8", "22:23")
    demo("security", "group", "rule", "delete", listed["ID"])
    assert len(demo.show("security", "group", "show", "www")["rules"]) == 5
    assert demo.column("Name", "security", "group", "list", "--tags", "s") == ["www"]
    assert set(demo.column("Name", "security", "group", "list")) == {"default", "www"}
    demo("security", "group", "delete", "www")


def test_quotas_and_small_lists(openstack: Shell, demo: Shell, outside: str) -> None:
    openstack("quota", "set", "--networks", "7", "--floating-ips", "11", "--secgroups", "12", "demo")
    limits = {row["Resource"]: row["Limit"] for row in demo.show("quota", "show", "--network")}
    assert (limits["networks"], limits["floating_ips"], limits["security_groups"]) == (7, 11, 12)
    openstack("quota", "delete", "--network", "demo")
    assert {row["Resource"] for row in demo.show("quota", "show", "--network", "--usage")} >= {"networks", "ports"}
    (used,) = [row for row in openstack.show("ip", "availability", "list") if row["Network Name"] == outside]
    assert used["Total IPs"] == 253
    assert {"router", "security-group", "extraroute-atomic"} <= set(
        demo.column("Alias", "extension", "list", "--network")
    )
    assert openstack.show("network", "agent", "list") == []
    assert demo.show("availability", "zone", "list", "--network")
