# SPDX-License-Identifier: Apache-2.0
"""python-novaclient: 7.1.2, whose commands know nova-network and all that Nova has dropped since, and today's."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.clouds import Cloud, Shell

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def server(openstack: Shell) -> Iterator[str]:
    """A running server, `clay`."""
    openstack("server", "create", "--image", "tiny", "--flavor", "m1.tiny", "--network", "private", "clay", "--wait")
    yield "clay"
    openstack("server", "delete", "clay", "--wait")


def project(shell: Shell, name: str = "demo") -> str:
    """A project's id."""
    return str(shell.show("project", "show", name)["id"])


# --- 7.1.2: nova-network ---


def test_networks(openstack: Shell, old_nova: Shell) -> None:
    old_nova(
        "network-create", "oldnet", "--fixed-range-v4", "10.70.0.0/24", "--vlan", "70", "--bridge", "brold",
        "--bridge-interface", "eth9", "--gateway", "10.70.0.1", "--dns1", "10.1.1.1", "--dns2", "10.1.1.2",
        "--mtu", "1400", "--enable-dhcp", "T", "--dhcp-server", "10.70.0.2", "--share-address", "F",
        "--allowed-start", "10.70.0.10", "--allowed-end", "10.70.0.50", "--multi-host", "T", "--priority", "3",
        "--fixed-range-v6", "fd70::/64", "--gateway-v6", "fd70::1",
    )  # fmt: skip
    shown = old_nova.properties("network-show", "oldnet")
    for name, value in {
        "cidr": "10.70.0.0/24", "vlan": "70", "bridge": "brold", "bridge_interface": "eth9", "gateway": "10.70.0.1",
        "dns1": "10.1.1.1", "dns2": "10.1.1.2", "mtu": "1400", "enable_dhcp": "True", "dhcp_server": "10.70.0.2",
        "dhcp_start": "10.70.0.10", "share_address": "False", "multi_host": "True", "priority": "3",
        "cidr_v6": "fd70::/64", "gateway_v6": "fd70::1", "netmask_v6": "64",
    }.items():  # fmt: skip
        assert shown[name] == value, name
    assert openstack.show("network", "show", "oldnet")["provider:segmentation_id"] == 70, "both APIs have one network"
    assert "conflicts with existing cidr" in old_nova.refused("network-create", "x", "--fixed-range-v4", "10.70.0.0/25")
    assert "vlan" in old_nova.refused("network-create", "x", "--fixed-range-v4", "10.75.0.0/25", "--vlan", "70")
    old_nova("network-associate-host", shown["id"], "somehost")
    old_nova("network-associate-project", shown["id"])
    owned = old_nova.properties("network-show", "oldnet")
    assert (owned["host"], owned["project_id"]) == ("somehost", project(openstack, "admin"))
    assert "still in use" in old_nova.refused("network-delete", "oldnet")
    old_nova("network-disassociate", "--host-only", "1", shown["id"])
    old_nova("network-disassociate", "--project-only", "1", shown["id"])
    freed = old_nova.properties("network-show", "oldnet")
    assert (freed["host"], freed["project_id"]) == ("-", "-")
    old_nova("network-delete", "oldnet")
    assert "oldnet" not in {row["Label"] for row in old_nova.table("network-list")}


def test_tenant_networks(old_nova: Shell) -> None:
    old_nova("tenant-network-create", "own", "10.72.0.0/24")
    (made,) = [row for row in old_nova.table("tenant-network-list") if row["Label"] == "own"]
    assert old_nova.properties("tenant-network-show", made["ID"])["cidr"] == "10.72.0.0/24"
    old_nova("tenant-network-delete", made["ID"])
    assert "own" not in {row["Label"] for row in old_nova.table("tenant-network-list")}


def test_boot_from_a_volume(openstack: Shell, old_nova: Shell) -> None:
    """At os-volumes_boot, where 7.1.2 asks for servers with volumes."""
    image, network = (
        openstack.show(*what)["id"] for what in (("image", "show", "tiny"), ("network", "show", "private"))
    )
    device = f"source=image,id={image},dest=volume,size=1,bootindex=0,shutdown=remove"
    old_nova("boot", "--flavor", "m1.tiny", "--block-device", device, "--nic", f"net-id={network}", "--poll", "vessel")
    shown = openstack.show("server", "show", "vessel")
    assert (shown["status"], shown["image"]) == ("ACTIVE", "N/A (booted from volume)")
    assert len(shown["volumes_attached"]) == 1
    openstack("server", "delete", "vessel", "--wait")


def test_fixed_ips(old_nova: Shell, server: str) -> None:
    (address,) = [
        row["IP addresses"] for row in old_nova.table("interface-list", server) if row["Port State"] == "ACTIVE"
    ]
    assert old_nova.table("fixed-ip-get", address)[0]["hostname"] == server
    old_nova("fixed-ip-reserve", "10.11.0.99")
    assert old_nova.table("fixed-ip-get", "10.11.0.99")[0]["cidr"] == "10.11.0.0/24"
    old_nova("fixed-ip-unreserve", "10.11.0.99")
    assert "not found" in old_nova.refused("fixed-ip-get", "10.99.0.1")
    assert len(old_nova.table("virtual-interface-list", server)) == 1


def test_floating_ips_in_bulk(old_nova: Shell, server: str) -> None:
    old_nova("floating-ip-bulk-create", "198.51.100.0/29", "--pool", "bulk", "--interface", "eth7")
    assert "already exists" in old_nova.refused("floating-ip-bulk-create", "198.51.100.0/29")
    rows = [row for row in old_nova.table("floating-ip-bulk-list") if row["pool"] == "bulk"]
    assert [row["address"] for row in rows] == [f"198.51.100.{n}" for n in range(1, 7)]
    assert {row["interface"] for row in rows} == {"eth7"}
    assert "bulk" in {row["name"] for row in old_nova.table("floating-ip-pool-list")}
    (made,) = old_nova.table("floating-ip-create", "bulk")
    old_nova("floating-ip-associate", server, made["IP"])
    (bound,) = [row for row in old_nova.table("floating-ip-list") if row["IP"] == made["IP"]]
    assert re.fullmatch(r"10\.11\.0\.\d+", bound["Fixed IP"])
    old_nova("floating-ip-associate", "--fixed-address", bound["Fixed IP"], server, made["IP"])
    host = old_nova.properties("show", server)["OS-EXT-SRV-ATTR:host"]
    assert [row["address"] for row in old_nova.table("floating-ip-bulk-list", "--host", host)] == [made["IP"]]
    assert made["IP"] in old_nova.properties("show", server)["private network"]
    old_nova("floating-ip-disassociate", server, made["IP"])
    old_nova("floating-ip-delete", made["IP"])
    assert "not found" in old_nova.refused("floating-ip-create", "nopool").lower()
    old_nova("floating-ip-bulk-delete", "198.51.100.0/29")
    assert "bulk" not in {row["pool"] for row in old_nova.table("floating-ip-bulk-list")}


def test_names(old_nova: Shell) -> None:
    old_nova("dns-create-public-domain", "example.org", "--project", "p")
    old_nova("dns-create-private-domain", "inside.example", "--availability-zone", "nova")
    assert {row["domain"]: row["scope"] for row in old_nova.table("dns-domains")} == {
        "example.org": "public",
        "inside.example": "private",
    }
    old_nova("dns-create", "10.11.0.66", "www", "example.org", "--type", "A")
    old_nova("dns-create", "10.11.0.66", "mail", "example.org")
    assert old_nova.table("dns-list", "example.org", "--name", "www")[0]["ip"] == "10.11.0.66"
    assert [row["name"] for row in old_nova.table("dns-list", "example.org", "--ip", "10.11.0.66")] == ["mail", "www"]
    old_nova("dns-delete", "example.org", "www")
    assert "not found" in old_nova.refused("dns-delete", "example.org", "www")
    old_nova("dns-delete-domain", "example.org")
    old_nova("dns-delete-domain", "inside.example")
    assert old_nova.table("dns-domains") == []


def test_security_groups(old_nova: Shell, server: str) -> None:
    old_nova("secgroup-create", "old", "desc")
    old_nova("secgroup-update", "old", "older", "desc2")
    old_nova("secgroup-add-rule", "older", "tcp", "22", "22", "0.0.0.0/0")
    old_nova("secgroup-add-rule", "older", "icmp", "-1", "-1", "10.0.0.0/8")
    old_nova("secgroup-add-group-rule", "older", "default", "udp", "1", "100")
    assert "already exists" in old_nova.refused("secgroup-add-rule", "older", "tcp", "22", "22", "0.0.0.0/0")
    assert "Invalid port range 30:22" in old_nova.refused("secgroup-add-rule", "older", "tcp", "30", "22", "0.0.0.0/0")
    rules = old_nova.table("secgroup-list-rules", "older")
    assert [(row["IP Protocol"], row["From Port"], row["IP Range"], row["Source Group"]) for row in rules] == [
        ("tcp", "22", "0.0.0.0/0", ""),
        ("icmp", "-1", "10.0.0.0/8", ""),
        ("udp", "1", "", "default"),
    ]
    old_nova("secgroup-delete-rule", "older", "tcp", "22", "22", "0.0.0.0/0")
    old_nova("secgroup-delete-group-rule", "older", "default", "udp", "1", "100")
    old_nova("add-secgroup", server, "older")
    assert {row["Name"] for row in old_nova.table("list-secgroup", server)} == {"default", "older"}
    assert "in use" in old_nova.refused("secgroup-delete", "older")
    old_nova("remove-secgroup", server, "older")
    old_nova("secgroup-delete", "older")
    assert "Tenant_ID" in old_nova.table("secgroup-list", "--all-tenants")[0]


def test_default_rules_of_new_groups(openstack: Shell, old_nova: Shell) -> None:
    old_nova("secgroup-add-default-rule", "tcp", "2222", "2222", "0.0.0.0/0")
    assert [row["From Port"] for row in old_nova.table("secgroup-list-default-rules")] == ["2222"]
    openstack("project", "create", "fresh")
    openstack("port", "create", "--network", "private", "--project", "fresh", "probe")  # its group comes with it
    (group,) = openstack.show("security", "group", "list", "--project", "fresh")
    rules = openstack.show("security", "group", "rule", "list", group["ID"], "--ingress")
    assert "2222:2222" in {row["Port Range"] for row in rules}
    openstack("port", "delete", "probe")
    old_nova("secgroup-delete-default-rule", "tcp", "2222", "2222", "0.0.0.0/0")
    assert old_nova.table("secgroup-list-default-rules") == []
    openstack("project", "delete", "fresh")


def test_certificates(old_nova: Shell, tmp_path: Path) -> None:
    root, key, certificate = (tmp_path / name for name in ("ca.pem", "pk.pem", "cert.pem"))
    old_nova("x509-get-root-cert", str(root))
    old_nova("x509-create-cert", str(key), str(certificate))
    assert "BEGIN CERTIFICATE" in root.read_text()
    assert "PRIVATE KEY" in key.read_text()
    assert "BEGIN CERTIFICATE" in certificate.read_text()


def test_cloudpipe(openstack: Shell, old_nova: Shell) -> None:
    assert old_nova.table("cloudpipe-list") == []
    assert "No image is configured" in old_nova.refused("cloudpipe-create", project(openstack))
    old_nova("cloudpipe-configure", "192.0.2.1", "1000")


# --- 7.1.2: what administrators have ---


def test_cells_and_agents(old_nova: Shell) -> None:
    assert "Ram Available" in old_nova("cell-capacities")
    assert "doesn't exist" in old_nova.refused("cell-show", "nocell")
    made = old_nova.properties(
        "agent-create", "linux", "x86_64", "1.0", "http://example.org/a", "0123456789abcdef" * 2, "kvm"
    )
    old_nova("agent-modify", made["agent_id"], "1.1", "http://example.org/b", "fedcba9876543210" * 2)
    assert [row["Version"] for row in old_nova.table("agent-list", "--hypervisor", "kvm")] == ["1.1"]
    old_nova("agent-delete", made["agent_id"])
    assert old_nova.table("agent-list") == []


def test_hosts_and_hypervisors(old_nova: Shell, server: str) -> None:
    (host,) = [row["host_name"] for row in old_nova.table("host-list") if row["service"] == "compute"]
    projects = {row["PROJECT"]: row["memory_mb"] for row in old_nova.table("host-describe", host)}
    assert projects["(used_now)"] == "512"
    assert old_nova.table("host-update", host, "--status", "disable")[0]["status"] == "disabled"
    assert old_nova.table("host-update", host, "--status", "enable")[0]["status"] == "enabled"
    assert "host_power_command" in old_nova.refused("host-action", host, "--action", "reboot")
    (row,) = old_nova.table("hypervisor-list", "--matching", host)
    assert old_nova.properties("hypervisor-show", row["ID"])["running_vms"] == "1"
    assert "up" in old_nova.properties("hypervisor-uptime", row["ID"])["uptime"]
    assert len(old_nova.table("hypervisor-servers", host)) == 1
    assert old_nova.properties("hypervisor-stats")["memory_mb_used"] == "512"
    old_nova("service-disable", host, "nova-compute", "--reason", "why")
    (service,) = [row for row in old_nova.table("service-list") if row["Binary"] == "nova-compute"]
    assert (service["Status"], service["Disabled Reason"]) == ("disabled", "why")
    old_nova("service-enable", host, "nova-compute")
    assert f"- {host}" in old_nova("availability-zone-list")


def test_aggregates(old_nova: Shell) -> None:
    old_nova("aggregate-create", "old")
    (host,) = [row["host_name"] for row in old_nova.table("host-list") if row["service"] == "compute"]
    old_nova("aggregate-add-host", "old", host)
    assert "already" in old_nova.refused("aggregate-add-host", "old", host)
    old_nova("aggregate-set-metadata", "old", "x=y")
    old_nova("aggregate-update", "old", "--name", "older")
    (shown,) = old_nova.table("aggregate-show", "older")
    assert (shown["Hosts"], shown["Metadata"]) == (f"'{host}'", "'x=y'")
    assert "not empty" in old_nova.refused("aggregate-delete", "older")
    old_nova("aggregate-remove-host", "older", host)
    old_nova("aggregate-delete", "older")


def test_quotas_and_usage(openstack: Shell, old_nova: Shell, server: str) -> None:
    tenant, user = project(openstack), openstack.show("user", "show", "demo")["id"]
    old_nova("quota-update", tenant, "--instances", "7", "--floating-ips", "3", "--fixed-ips", "9",
             "--security-groups", "4", "--security-group-rules", "5")  # fmt: skip
    old_nova("quota-update", tenant, "--user", user, "--instances", "6")

    def limits(*more: str) -> dict[str, str]:
        return {row["Quota"]: row["Limit"] for row in old_nova.table("quota-show", "--tenant", tenant, *more)}

    assert [limits()[name] for name in ("instances", "floating_ips", "fixed_ips", "security_groups")] == list("7394")
    assert limits("--user", user)["instances"] == "6"
    assert "'limit': 7" in limits("--detail")["instances"]
    old_nova("quota-delete", "--tenant", tenant)
    assert limits() == {row["Quota"]: row["Limit"] for row in old_nova.table("quota-defaults")}
    old_nova("quota-class-update", "default", "--cores", "31")
    assert {row["Quota"]: row["Limit"] for row in old_nova.table("quota-class-show", "default")}["cores"] == "31"
    old_nova("quota-class-update", "default", "--cores", "20")
    assert old_nova.table("usage")[0]["Servers"] >= "1"
    assert project(openstack, "admin") in {row["Tenant ID"] for row in old_nova.table("usage-list")}
    assert re.search(r"\| Instances +\| [1-9]", old_nova("limits"))


def test_images_flavors_and_keys(old_nova: Shell) -> None:
    assert [row["Status"] for row in old_nova.table("image-list") if row["Name"] == "tiny"] == ["ACTIVE"]
    old_nova("image-meta", "tiny", "set", "a=b")
    assert old_nova.properties("image-show", "tiny")["a"] == "b"
    old_nova("image-meta", "tiny", "delete", "a")
    old_nova("flavor-create", "old", "auto", "128", "1", "1", "--is-public", "False")
    old_nova("flavor-key", "old", "set", "a=b")
    assert old_nova.properties("flavor-show", "old")["extra_specs"] == '{"a": "b"}'
    old_nova("flavor-delete", "old")
    assert "PRIVATE KEY" in old_nova("keypair-add", "oldkey")
    assert old_nova.table("keypair-list")[-1]["Name"] == "oldkey"
    old_nova("keypair-delete", "oldkey")
    assert old_nova.table("baremetal-node-list") == []
    assert {"os-networks", "os-cells", "os-certificates"} <= {row["Alias"] for row in old_nova.table("list-extensions")}


# --- actions ---

# command, more arguments, what the server is afterwards
LIFE = (
    ("pause", (), "PAUSED"),
    ("unpause", (), "ACTIVE"),
    ("suspend", (), "SUSPENDED"),
    ("resume", (), "ACTIVE"),
    ("stop", (), "SHUTOFF"),
    ("start", (), "ACTIVE"),
    ("reboot", (), "ACTIVE"),
    ("rescue", (), "RESCUE"),
    ("unrescue", (), "ACTIVE"),
    ("rebuild", ("tiny",), "ACTIVE"),
    ("resize", ("m1.small",), "VERIFY_RESIZE"),
    ("resize-confirm", (), "ACTIVE"),
    ("resize", ("m1.medium",), "VERIFY_RESIZE"),
    ("resize-revert", (), "ACTIVE"),
    ("shelve", (), "SHELVED_OFFLOADED"),
    ("unshelve", (), "ACTIVE"),
    ("lock", (), "ACTIVE"),
    ("unlock", (), "ACTIVE"),
    ("reset-state", ("--active",), "ACTIVE"),
    ("reset-network", (), "ACTIVE"),
)


@pytest.mark.parametrize("program", ["nova", "old_nova"])
def test_the_life_of_a_server(request: pytest.FixtureRequest, simulated: Cloud, program: str) -> None:
    shell: Shell = request.getfixturevalue(program)
    name = f"life-{program.replace('_', '-')}"
    network = next(row["ID"] for row in shell_networks(request, simulated) if row["Name"] == "private")
    shell("boot", "--image", "tiny", "--flavor", "m1.tiny", "--nic", f"net-id={network}", "--meta", "a=b", name)
    settled(shell, name, "ACTIVE")
    for command, more, status in LIFE:
        if command == "reset-network" and program == "nova":
            continue  # gone from today's client
        before, after = (more, ()) if command == "reset-state" else ((), more)
        shell(command, *before, name, *after)
        settled(shell, name, status)
    shell("meta", name, "set", "c=d")
    assert '"c": "d"' in shell.properties("show", name)["metadata"]
    shell("update", "--name", f"{name}-2", name)
    name = f"{name}-2"
    assert "login" in shell("console-log", name)
    assert shell.table("instance-action-list", name)
    assert len(shell.table("interface-list", name)) == 1
    shell("interface-attach", "--net-id", network, name)
    settled(shell, name, "ACTIVE")
    ports = [row["Port ID"] for row in shell.table("interface-list", name)]
    assert len(ports) == 2
    shell("interface-detach", name, ports[1])
    settled(shell, name, "ACTIVE")
    assert "No server with" in shell.refused("show", "nobody")
    shell("delete", name)
    until = time.monotonic() + 60
    while name in {row["Name"] for row in shell.table("list")}:
        assert time.monotonic() < until
        time.sleep(0.3)


def shell_networks(request: pytest.FixtureRequest, _cloud: Cloud) -> list[dict[str, str]]:
    """The networks, by `openstack`: today's novaclient knows none."""
    shell: Shell = request.getfixturevalue("openstack")
    rows: list[dict[str, str]] = shell.show("network", "list")
    return rows


def settled(shell: Shell, name: str, status: str) -> None:
    """Until the server is that and nothing is done to it."""
    until = time.monotonic() + 60
    while (shown := shell.properties("show", name))["status"] != status or shown["OS-EXT-STS:task_state"] != "-":
        assert time.monotonic() < until, shown
        time.sleep(0.2)
