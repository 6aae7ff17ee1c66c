# SPDX-License-Identifier: Apache-2.0
"""Two projects' networks with a VLAN, a bridge and a DHCP server of their own, on a real host: what passes between
them, what comes back when the host lost it, and what is left when nftables or libvirt refuse.

The other end of each VLAN is a machine of its own (a network namespace): the red network's gateway is there. Where the
kernel can't tag, a wire of the VLAN's name stands for it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from computeapi.compute.operations import firewall, networks
from tests.conftest import Api
from tests.databases import Engine
from tests.guest.cloud import Cloud, Inside
from tests.guest.hosts import IsolatedHost, wait_for

pytestmark = pytest.mark.guest

V = "/network/v2.0"
RED, BLUE = 5, 6  # VLANs
FAR = "10.81.0.1"  # the red network's gateway, on the far machine
FLOATING, ANOTHER = "10.77.0.205", "10.77.0.206"
OUTSIDE = "10.77.0.254"
PING = ("busybox", "ping", "-c", "1", "-W", "3")


class Segments:
    """What is beyond the host's interface `wire0`: a machine in each VLAN."""

    def __init__(self, host: IsolatedHost) -> None:
        self._host = host
        self.netns = f"{host.netns}-far"
        subprocess.run(["ip", "netns", "add", self.netns], check=True)
        self._ip(host.netns, "link", "add", "wire0", "type", "veth", "peer", "name", "wire1", "netns", self.netns)
        tags = subprocess.run(
            ["ip", "-n", self.netns, "link", "add", "link", "wire1", "name", "probe", "type", "vlan", "id", "9"],
            check=False,
            capture_output=True,
        )
        self.tagged = tags.returncode == 0
        for vlan in (RED, BLUE):
            here, there = f"vlan{vlan}", f"far{vlan}"
            if self.tagged:
                self._ip(self.netns, "link", "add", "link", "wire1", "name", there, "type", "vlan", "id", str(vlan))
            else:
                self._ip(host.netns, "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.netns)
        for name in ("wire1", f"far{RED}", f"far{BLUE}"):
            self._ip(self.netns, "link", "set", name, "up")
        self._ip(host.netns, "link", "set", "wire0", "up")
        self._ip(self.netns, "addr", "add", f"{FAR}/24", "dev", f"far{RED}")

    @staticmethod
    def _ip(netns: str, *command: str) -> None:
        subprocess.run(["ip", "-n", netns, *command], check=True, capture_output=True)

    def run(self, *command: str) -> int:
        """The status of a command on the far machine."""
        enter = ["ip", "netns", "exec", self.netns]
        return subprocess.run([*enter, *command], check=False, capture_output=True, timeout=60).returncode

    def close(self) -> None:
        """All is gone."""
        subprocess.run(["ip", "netns", "del", self.netns], check=True)


@pytest.fixture(scope="module")
def segments(host: IsolatedHost) -> Iterator[Segments]:
    segments = Segments(host)
    yield segments
    segments.close()


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost,
    segments: Segments,
    tiny: Path,
    database_engine: Engine,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(host, directory, database_engine.new(directory), tiny, vlan_interface="wire0")
    yield cloud
    cloud.close()


def make_network(cloud: Cloud, **body: Any) -> dict[str, Any]:
    """A network of os-networks."""
    answer = cloud.api.post("/os-networks", {"network": body})
    assert answer.status_code == 202, answer.text
    return dict(answer.json["network"])


@pytest.fixture(scope="module")
def red(cloud: Cloud) -> tuple[dict[str, Any], Inside, Inside]:
    """A network with all that can be said of one, and two guests."""
    network = make_network(
        cloud,
        label="red",
        cidr="10.81.0.0/24",
        project_id=cloud.api.project_id,
        vlan=RED,
        bridge="brred",
        bridge_interface="wire0",
        gateway=FAR,
        dhcp_server="10.81.0.2",
        allowed_start="10.81.0.20",
        allowed_end="10.81.0.29",
        mtu=1400,
        share_address=True,
    )
    flavor = cloud.flavor()
    guests = [cloud.boot(flavor, name=name, networks=[{"uuid": network["id"]}]) for name in ("red1", "red2")]
    one, two = (Inside(guest, cloud.uri) for guest in guests)
    one.ready()
    two.ready()
    return network, one, two


@pytest.fixture(scope="module")
def other(cloud: Cloud) -> Api:
    """Somebody of another project."""
    return cloud.api.become("member")


@pytest.fixture(scope="module")
def blue(cloud: Cloud, other: Api) -> tuple[dict[str, Any], Inside, Inside]:
    """The other project's network without DHCP, and two guests, which took their addresses themselves."""
    network = make_network(
        cloud, label="blue", cidr="10.82.0.0/24", project_id=other.project_id, vlan=BLUE, enable_dhcp=False
    )
    flavor = cloud.flavor()
    guests = [cloud.boot(flavor, other, name=name, networks=[{"uuid": network["id"]}]) for name in ("blue1", "blue2")]
    one, two = (Inside(guest, cloud.uri) for guest in guests)
    for guest in (one, two):
        guest.answers()
        assert guest.run("udhcpc -n -q -t 2 -T 1 -i eth0")[0] != 0, "nobody gives addresses here"
        assert guest.address not in guest.run("ip addr show dev eth0")[1]
        guest.run(f"ip addr add {guest.address}/24 dev eth0; ip link set eth0 up; ip route add default via 10.82.0.1")
    return network, one, two


def default_group(cloud: Cloud, project_id: str) -> str:
    """The id of a project's group "default"."""
    groups = cloud.api.get(f"{V}/security-groups?name=default&project_id={project_id}").json["security_groups"]
    return str(groups[0]["id"])


def allow(cloud: Cloud, group: str, **rule: Any) -> str:
    """A rule that lets something in; asked for, not yet in force. Its id."""
    body = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4", **rule}
    answer = cloud.api.post(f"{V}/security-group-rules", {"security_group_rule": body})
    assert answer.status_code == 201, answer.text
    return str(answer.json["security_group_rule"]["id"])


def put_back(cloud: Cloud) -> None:
    """What the compute service does at its start and in each sweep."""
    for step in (networks.forget_deleted, networks.put_back, firewall.apply):
        step(cloud.compute.tools)


# --- what was said of the network ---


def test_a_guest_has_what_the_network_says(host: IsolatedHost, segments: Segments, red: Any) -> None:
    network, one, two = red
    assert {one.address, two.address} == {"10.81.0.20", "10.81.0.21"}, "from allowed_start on"
    assert one.run("cat /sys/class/net/eth0/mtu")[1].strip() == "1400"
    assert f"default via {FAR}" in one.run("ip route")[1], "the gateway, which is not the DHCP server"
    assert "10.81.0.2" in one.run("cat /etc/resolv.conf /run/resolv.conf 2>/dev/null")[1]
    assert "10.81.0.2/24" in host.inside("ip", "addr", "show", "dev", "brred")
    assert FAR not in host.inside("ip", "addr", "show", "dev", "brred")
    assert "master brred" in host.inside("ip", "-d", "link", "show", f"vlan{RED}")
    assert "mtu 1400" in host.inside("ip", "link", "show", "brred")
    if segments.tagged:
        assert f"802.1Q id {RED}" in host.inside("ip", "-d", "link", "show", f"vlan{RED}")
    assert (network["vlan"], network["bridge"], network["share_address"]) == (RED, "brred", True)


def test_a_vlan_leads_to_other_machines(cloud: Cloud, segments: Segments, red: Any) -> None:
    _, one, _ = red
    assert one.pings(FAR)
    assert segments.run(*PING, one.address) != 0, "its group lets nothing in"
    rule = allow(cloud, default_group(cloud, cloud.api.project_id), protocol="icmp", remote_ip_prefix=f"{FAR}/32")
    cloud.compute.work()
    assert segments.run(*PING, one.address) == 0
    cloud.api.delete(f"{V}/security-group-rules/{rule}")
    cloud.compute.work()
    assert segments.run(*PING, "10.81.0.2") != 0, "each host has that address for its own guests"
    assert one.pings("10.81.0.2")


def test_projects_networks_are_separated(red: Any, blue: Any, cloud: Cloud, other: Api) -> None:
    """Whatever their rules and routes say."""
    rules = [
        allow(cloud, default_group(cloud, project), protocol="icmp")
        for project in (cloud.api.project_id, other.project_id)
    ]
    cloud.compute.work()
    _, red1, red2 = red
    _, blue1, blue2 = blue
    assert red1.pings(red2.address)
    assert blue1.pings(blue2.address)
    assert blue1.pings("10.82.0.1")
    red1.run("ip route add 10.82.0.0/24 via 10.81.0.2")
    assert not red1.pings(blue1.address)
    assert not blue1.pings(red1.address)
    red1.run("ip route del 10.82.0.0/24")
    blue1.run("ip addr add 10.81.0.77/24 dev eth0")  # as if it were on the other's network
    assert not blue1.pings(red1.address, "-I 10.81.0.77")
    assert blue1.run("arping -c 2 -w 3 -I eth0 10.81.0.20")[0] != 0
    blue1.run("ip addr del 10.81.0.77/24 dev eth0")
    for rule in rules:
        cloud.api.delete(f"{V}/security-group-rules/{rule}")
    cloud.compute.work()


# --- put back ---

FOREIGN_TABLE = (
    "table inet operators {\n\tchain c {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n"
)
FOREIGN_NETWORK = """<network><name>operators</name><bridge name='brops'/>
<ip address='10.99.0.1' prefix='24'/></network>"""


@pytest.fixture
def foreign(host: IsolatedHost, cloud: Cloud) -> Iterator[Any]:
    """Things on the host that are not ours; what is called says whether all are as they were."""
    libvirt = pytest.importorskip("libvirt")
    connection = libvirt.open(cloud.uri)
    network = connection.networkCreateXML(FOREIGN_NETWORK)
    host.inside("ip", "link", "add", "brforeign", "type", "bridge")
    host.inside("ip", "addr", "add", "198.51.100.9/32", "dev", "lo")
    enter = ["ip", "netns", "exec", host.netns]
    subprocess.run([*enter, "nft", "-f", "-"], input=FOREIGN_TABLE, text=True, check=True)
    before = network.XMLDesc(0)
    connection.close()

    def check() -> None:
        again = libvirt.open(cloud.uri)
        assert again.networkLookupByName("operators").XMLDesc(0) == before
        again.close()
        assert host.inside("nft", "list", "table", "inet", "operators") == FOREIGN_TABLE
        assert "brforeign" in host.inside("ip", "link", "show", "type", "bridge")
        assert "198.51.100.9" in host.inside("ip", "addr", "show", "dev", "lo")

    yield check
    again = libvirt.open(cloud.uri)
    again.networkLookupByName("operators").destroy()
    again.close()
    host.inside("nft", "delete", "table", "inet", "operators")
    host.inside("ip", "link", "del", "brforeign")
    host.inside("ip", "addr", "del", "198.51.100.9/32", "dev", "lo")


def test_what_a_host_lost_is_put_back(
    host: IsolatedHost, cloud: Cloud, other: Api, red: Any, blue: Any, foreign: Any
) -> None:
    """libvirtd killed and started anew, its bridges gone, our tables too: the service puts all of it back, and the
    guests, which ran on, have what they had and no more."""
    _, red1, red2 = red
    _, blue1, blue2 = blue
    cloud.api.put("/os-floating-ip-dns/example.org", {"domain_entry": {"scope": "public"}})
    entry = {"dns_entry": {"ip": "203.0.113.8", "dns_type": "A"}}
    assert cloud.api.put("/os-floating-ip-dns/example.org/entries/www", entry).status_code == 200
    take_floating(cloud, other, FLOATING)
    rule = allow(cloud, default_group(cloud, other.project_id), protocol="icmp", remote_ip_prefix=f"{OUTSIDE}/32")
    assert other.post(f"/servers/{blue2.id}/action", {"addFloatingIp": {"address": FLOATING}}).status_code == 202
    cloud.compute.work()
    assert outside(host, *PING, FLOATING)
    tables = {family: host.inside("nft", "list", "table", family, "computeapi") for family in ("inet", "bridge")}
    for restarted in (True, False):
        if restarted:
            host.kill_libvirtd()
        for bridge in ("brred", bridge_of(blue)):
            host.inside("ip", "link", "del", bridge)
        host.inside("nft", "flush", "table", "inet", "computeapi")
        host.inside("nft", "delete", "table", "bridge", "computeapi")
        host.inside("ip", "addr", "del", f"{FLOATING}/32", "dev", "lo")
        if restarted:
            host.start()
            for guest in (red1, red2, blue1, blue2):
                guest.connect()
        put_back(cloud)
        for family, text in tables.items():
            assert host.inside("nft", "list", "table", family, "computeapi") == text
        assert red1.reads(red2.address), "by the group's rule for its members"
        assert red1.pings(FAR), "the uplink is back"
        assert outside(host, *PING, FLOATING)
        assert not outside(host, "busybox", "nc", "-w", "3", FLOATING, "80"), "nothing more is let in"
        assert blue1.pings(blue2.address, "-c 1")
        assert not blue1.pings(red1.address, "-c 1")
        assert red1.run("udhcpc -n -q -t 5 -i eth0")[0] == 0, "the address is promised to it"
        assert red1.address in red1.run("ip addr show dev eth0")[1]
        assert "203.0.113.8" in red1.run("nslookup www.example.org 10.81.0.2")[1]
        foreign()
    assert other.post(f"/servers/{blue2.id}/action", {"removeFloatingIp": {"address": FLOATING}}).status_code == 202
    cloud.api.delete(f"{V}/security-group-rules/{rule}")
    cloud.compute.work()
    assert not outside(host, *PING, FLOATING)


def take_floating(cloud: Cloud, asker: Api, address: str) -> None:
    """The address is the asker's project's, to give to a server."""
    pool = {"floating_ips_bulk_create": {"ip_range": address, "pool": address}}
    assert cloud.api.post("/os-floating-ips-bulk", pool).status_code == 200
    assert asker.post("/os-floating-ips", {"pool": address}).status_code == 200


def outside(host: IsolatedHost, *command: str) -> bool:
    """Whether a command succeeds outside the cloud."""
    enter = ["ip", "netns", "exec", (host.directory / "fabric").read_text().strip()]
    return subprocess.run([*enter, *command], check=False, capture_output=True, timeout=60, input=b"").returncode == 0


def bridge_of(made: Any) -> str:
    """The bridge of a network as os-networks shows it."""
    return str(made[0]["bridge"])


# --- nftables or libvirt refuse ---


@contextmanager
def nft_refuses(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """nft lists, and writes nothing."""
    real = subprocess.run(["which", "nft"], check=True, capture_output=True, text=True).stdout.strip()
    shim = directory / "nft"
    shim.write_text(
        f'#!/bin/sh\n[ "$1" != -f ] || {{ echo "Error: refused by the test" >&2; exit 1; }}\nexec {real} "$@"\n'
    )
    shim.chmod(0o755)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
        yield


def rules_of(host: IsolatedHost) -> str:
    """All that is in force."""
    return host.inside("nft", "--stateless", "list", "ruleset") + host.inside("ip", "-o", "addr", "show", "dev", "lo")


def status_of(cloud: Cloud, address: str) -> str:
    """A floating IP's, in the Networking API."""
    (shown,) = cloud.api.get(f"{V}/floatingips?floating_ip_address={address}").json["floatingips"]
    return str(shown["status"])


def test_nftables_refuse(
    host: IsolatedHost, cloud: Cloud, red: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was in force stays in force, whole, and what was asked for comes when it can."""
    _, red1, red2 = red
    group = default_group(cloud, cloud.api.project_id)
    take_floating(cloud, cloud.api, ANOTHER)
    before, known = rules_of(host), cloud.driver.list_networks()
    with nft_refuses(tmp_path, monkeypatch):
        rule = allow(cloud, group, protocol="icmp", remote_ip_prefix=f"{FAR}/32")
        red1.guest.act(addFloatingIp={"address": ANOTHER})
        assert rules_of(host) == before
        assert status_of(cloud, ANOTHER) == "ERROR"
        log = cloud.api.get(f"/servers/{red1.id}/os-instance-actions").json["instanceActions"]
        assert (log[0]["action"], log[0]["message"]) == ("addFloatingIp", "Error")
        failed = refused_boot(cloud, name="no-rules", networks=[{"uuid": red[0]["id"]}])
        assert "refused by the test" in failed["fault"]["message"]
        assert rules_of(host) == before
        assert promised(host, "brred") == {red1.address, red2.address}
    assert cloud.driver.list_networks() == known
    assert failed["id"] not in cloud.driver.list_guests()
    put_back(cloud)
    after = rules_of(host)
    assert status_of(cloud, ANOTHER) == "ACTIVE"
    assert ANOTHER in after and f"ip saddr {FAR}" in after
    assert red1.reads(red2.address)
    red1.guest.act(removeFloatingIp={"address": ANOTHER})
    cloud.api.delete(f"{V}/security-group-rules/{rule}")
    cloud.api.delete(f"/servers/{failed['id']}")
    cloud.compute.work()
    assert rules_of(host) == before


def test_libvirt_refuses_a_network(host: IsolatedHost, cloud: Cloud, red: Any) -> None:
    """A running guest gets an interface on a network whose addresses the operator uses: there is nothing of either
    afterwards; and it gets it when they are free."""
    _, red1, _ = red
    network = make_network(cloud, label="taken", cidr="10.83.0.0/24", project_id=cloud.api.project_id)
    known = cloud.driver.list_networks()
    host.inside("ip", "addr", "add", "10.83.0.77/24", "dev", "eth0")
    asked = {"interfaceAttachment": {"net_id": network["id"]}}
    path = f"/servers/{red1.id}/os-interface"
    assert cloud.api.post(path, asked).status_code == 200
    cloud.compute.work()
    assert len(cloud.api.get(path).json["interfaceAttachments"]) == 1, "the interface is gone again"
    action = cloud.api.get(f"/servers/{red1.id}/os-instance-actions").json["instanceActions"][0]
    assert (action["action"], action["message"]) == ("attach_interface", "Error")
    assert cloud.driver.list_networks() == known
    assert red1.run("ls /sys/class/net")[1].split() == ["eth0", "lo"]
    host.inside("ip", "addr", "del", "10.83.0.77/24", "dev", "eth0")
    made = cloud.api.post(path, asked).json["interfaceAttachment"]
    cloud.compute.work()
    assert made["net_id"] in cloud.driver.list_networks().values()
    wait_for(lambda: "eth1" in red1.run("ls /sys/class/net")[1], "the guest has its interface")
    cloud.api.delete(f"{path}/{made['port_id']}")
    cloud.compute.work()
    assert cloud.api.post(f"/os-networks/{network['id']}/action", {"disassociate_project": None}).status_code == 202
    assert cloud.api.delete(f"/os-networks/{network['id']}").status_code == 202
    put_back(cloud)
    assert cloud.driver.list_networks() == known


def promised(host: IsolatedHost, bridge: str) -> set[str]:
    """The addresses that a network's DHCP server gives."""
    path = host.directory / "lib" / "dnsmasq"
    (name,) = [each.stem for each in path.glob("*.conf") if f"interface={bridge}\n" in each.read_text()]
    lines = (path / f"{name}.hostsfile").read_text().split()
    return {part for line in lines for part in line.split(",") if part.startswith("10.")}


def refused_boot(cloud: Cloud, **more: Any) -> dict[str, Any]:
    """A server that can't be built: as the API shows it."""
    body = {"imageRef": cloud.tiny, "flavorRef": cloud.flavor(), **more}
    answer = cloud.api.post("/servers", {"server": body})
    assert answer.status_code == 202, answer.text
    cloud.compute.work()
    shown = cloud.api.get(f"/servers/{answer.json['server']['id']}").json["server"]
    assert (shown["status"], shown["addresses"]) == ("ERROR", {}), shown
    return dict(shown)


# --- removal ---


def test_ours_goes_and_the_rest_stays(
    host: IsolatedHost, cloud: Cloud, red: Any, blue: Any, segments: Segments, foreign: Any
) -> None:
    """The last of the module: its guests and networks go."""
    for network, *guests in (red, blue):
        for guest in guests:
            assert cloud.api.delete(f"/servers/{guest.id}").status_code == 204
        cloud.compute.work()
        assert cloud.api.post(f"/os-networks/{network['id']}/action", {"disassociate_project": None}).status_code == 202
        assert cloud.api.delete(f"/os-networks/{network['id']}").status_code == 202
    put_back(cloud)
    bridges = host.inside("ip", "link", "show", "type", "bridge")
    assert "brred" not in bridges and bridge_of(blue) not in bridges
    devices = host.inside("ip", "link", "show")
    assert (f"vlan{RED}" in devices) != segments.tagged, "ours is removed, the wire that was there before is not"
    assert "wire0" in devices
    assert "10.81.0" not in rules_of(host) and "10.82.0" not in rules_of(host)
    foreign()
