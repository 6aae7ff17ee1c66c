# SPDX-License-Identifier: Apache-2.0
"""The text that nft reads: what it says, and that nft takes it (as root, in a namespace that the test makes)."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from computeapi.virt.base import HypervisorError, HypervisorGone, NetworkSpec
from computeapi.virt.firewall import Firewall, Floating, Guard, LocalNetwork, PacketRule, find_refused
from computeapi.virt.libvirt.filters import distinct, link_local, quoted
from computeapi.virt.libvirt.host_network import HostNetwork, ruleset

TAP = "tap4f3c2a1b-9d"
GUARD = Guard(
    TAP,
    "br1",
    "fa:16:3e:00:00:01",
    ("10.1.0.5", "fd00::5"),
    (("10.9.0.0/24", "fa:16:3e:00:00:01"), ("10.9.0.7/32", "fa:16:3e:00:00:02")),
    ingress=(
        PacketRule(4, 6, 22, 22),
        PacketRule(4, 17, 1, 65535, cidr="10.2.0.0/16"),
        PacketRule(4, 132, 7, 9, cidr="0.0.0.0/0"),
        PacketRule(4, 47),
        PacketRule(4, 1, 8, 0),
        PacketRule(6, 1, 128),
        PacketRule(6, members="a-group"),
    ),
    egress=(PacketRule(4), PacketRule(6, cidr="fd00::/8")),
)
FULL = Firewall(
    guards=(GUARD,),
    sets={"a-group": ("10.1.0.6", "fd00::6")},
    networks=(
        LocalNetwork("net-1", "br1", "10.1.0.0/24"),
        LocalNetwork("net-1", "br1", "10.1.0.0/25"),
        LocalNetwork("net-2", "br2", ""),
        LocalNetwork("net-3", "br3", "10.3.0.0/24", uplink="vlan5", address="10.3.0.1"),
    ),
    links=(("br1", "br2"),),
    floating=(Floating("203.0.113.5", "10.1.0.5"),),
    owners=((TAP, ("10.1.0.5",)), ("tap0", ())),
    metadata_port=8775,
)


def test_what_it_says() -> None:
    lines = [line.strip() for line in ruleset(FULL).splitlines()]
    for wanted in (
        "meta nfproto ipv4 meta l4proto 6 th dport 22 accept",
        "meta nfproto ipv4 ip saddr 10.2.0.0/16 meta l4proto 17 th dport 1-65535 accept",
        "meta nfproto ipv4 meta l4proto 132 th dport 7-9 accept",
        "meta nfproto ipv4 meta l4proto 47 accept",
        "meta nfproto ipv4 meta l4proto 1 icmp type 8 icmp code 0 accept",
        "meta nfproto ipv6 meta l4proto 58 icmpv6 type 128 accept",
        "meta nfproto ipv6 ip6 saddr @members6-a-group accept",
        "meta nfproto ipv6 ip6 daddr fd00::/8 return",
        f'map to4 {{ type ifname . ipv4_addr : verdict; elements = {{ "br1" . 10.1.0.5 : jump in-{TAP} }} }}',
        "map fixed { type ipv4_addr : ipv4_addr; elements = { 203.0.113.5 : 10.1.0.5 } }",
        "map floating { type ipv4_addr : ipv4_addr; elements = { 10.1.0.5 : 203.0.113.5 } }",
        "iifname @bridges ip daddr 169.254.169.254 tcp dport 80 redirect to :8775",
        "iifname @bridges tcp dport 8775 ct original ip daddr != 169.254.169.254 drop",
        f'set guests {{ type ifname; elements = {{ "tap0", "{TAP}" }} }}',
        f'set owners {{ type ifname . ipv4_addr; elements = {{ "{TAP}" . 10.1.0.5 }} }}',
        "ether type ip ip daddr 169.254.169.254 iifname @guests iifname . ip saddr != @owners drop",
        "set inside { type ipv4_addr; flags interval; elements = { 10.1.0.0/24, 10.3.0.0/24 } }",
        'set gateways { type ifname . ipv4_addr; elements = { "vlan5" . 10.3.0.1 } }',
        "ether type arp oifname . arp saddr ip @gateways drop",
    ):
        assert wanted in lines
    tables = [line for line in lines if line.startswith(("table", "delete"))]
    assert tables == [
        "table inet computeapi",
        "delete table inet computeapi",
        "table inet computeapi {",
        "table bridge computeapi",
        "delete table bridge computeapi",
        "table bridge computeapi {",
    ]
    chain = lines[lines.index(f"chain in-{TAP} {{") :]
    assert chain[chain.index("}") - 1] == "drop"
    assert "8775" not in ruleset(replace(FULL, metadata_port=0))


def test_pieces() -> None:
    assert link_local("fa:16:3e:00:00:01") == "fe80::f816:3eff:fe00:1"
    assert distinct(["10.0.0.0/8", "10.1.0.0/16", "10.0.0.1"]) == ["10.0.0.0/8"]
    assert distinct([]) == []
    with pytest.raises(ValueError, match='x" }'):
        quoted('x" }')


def test_the_same_address_on_another_network_is_somebody_else() -> None:
    """Each project may have 10.1.0.5 on a network of its own: its rules are not those of the other's guest."""
    twin = replace(GUARD, tap="tap5", bridge="br2", ingress=())
    text = ruleset(replace(FULL, guards=(GUARD, twin)))
    for way, chain in (("to", "in"), ("from", "out")):
        elements = f'"br1" . 10.1.0.5 : jump {chain}-{TAP}, "br2" . 10.1.0.5 : jump {chain}-tap5'
        assert f"map {way}4 {{ type ifname . ipv4_addr : verdict; elements = {{ {elements} }} }}" in text
    assert "oifname . ip daddr vmap @to4" in text and "iifname . ip saddr vmap @from4" in text


def test_no_address_ends_the_text() -> None:
    hostile = replace(GUARD, pairs=(("::% } }\nflush ruleset\n#/1", GUARD.mac),))
    with pytest.raises(ValueError, match="flush"):
        ruleset(replace(FULL, guards=(hostile,)))


def test_nowhere_to_filter() -> None:
    assert not HostNetwork("qemu+tls://elsewhere/system").usable()
    absent = HostNetwork("qemu+unix:///system?socket=/nonexistent/socket")
    assert not absent.usable()
    with pytest.raises(HypervisorGone):
        absent.run("true")


needs_nft = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nftables")


@pytest.fixture
def namespace() -> Iterator[HostNetwork]:
    """A network namespace for the test alone."""
    name = f"capi-test-{uuid.uuid4().hex[:8]}"
    subprocess.run(["ip", "netns", "add", name], check=True)
    yield HostNetwork("qemu:///system", name)
    subprocess.run(["ip", "netns", "del", name], check=True)


@needs_nft
def test_nft_takes_it_and_nothing_else_is_touched(namespace: HostNetwork) -> None:
    network = namespace
    network.run("ip", "link", "set", "lo", "up")
    network.run("ip", "addr", "add", "198.51.100.1/32", "dev", "lo")
    network.run("nft", "add", "table", "inet", "operators")
    for firewall in (Firewall(), FULL, FULL, Firewall(floating=(Floating("203.0.113.6", "10.1.0.9"),))):
        network.apply(lambda wanted=firewall: wanted)  # type: ignore[misc]
        shown = network.run("ip", "-o", "addr", "show", "dev", "lo")
        assert "198.51.100.1" in shown
        assert {item.address in shown for item in firewall.floating} <= {True}
    assert "203.0.113.5" not in shown
    network.apply(lambda: FULL)
    whole = network.run("nft", "--stateless", "list", "table", "inet", "computeapi")
    network.run("nft", "delete", "table", "bridge", "computeapi")
    network.apply(lambda: FULL)
    for harm in (("flush", "table"), ("flush", "chain", "forward"), ("add", "rule", "forward", "accept")):
        verb, what, *more = harm
        network.run("nft", verb, what, "inet", "computeapi", *more)
        network.apply(lambda: FULL)
        assert network.run("nft", "--stateless", "list", "table", "inet", "computeapi") == whole, harm
    tables = network.run("nft", "list", "tables").split("\n")
    assert {"table inet computeapi", "table bridge computeapi", "table inet operators"} <= set(tables)
    refused = network.apply(lambda: Firewall(sets={"not a name": ()}, floating=(Floating("203.0.113.9", "10.1.0.9"),)))
    assert "nft -f -" in refused.whole
    assert set(refused.floating) == {"203.0.113.9"}
    assert network.run("nft", "--stateless", "list", "table", "inet", "computeapi") == whole, "what was in force stays"
    assert "203.0.113.5" in network.run("ip", "-o", "addr", "show", "dev", "lo")


@needs_nft
def test_what_is_refused_keeps_nothing_else_away(namespace: HostNetwork) -> None:
    """A rule and a floating IP that nft does not take, and an address that is another's: all else is in force."""
    network = namespace
    network.run("ip", "link", "set", "lo", "up")
    network.run("ip", "addr", "add", "203.0.113.7/32", "dev", "lo")
    bad = PacketRule(4, 6, cidr="no.where")
    guard = replace(GUARD, ingress=(*GUARD.ingress, bad))
    others = (Floating("203.0.113.999", "10.1.0.8"), Floating("203.0.113.7", "10.1.0.7"))
    asked = replace(FULL, guards=(guard,), floating=(*FULL.floating, *others))
    for _ in range(2):
        applied = network.apply(lambda: asked)
        assert (applied.whole, set(applied.rules)) == ("", {bad})
        assert set(applied.floating) == {"203.0.113.999", "203.0.113.7"}
        assert "nft --check" in applied.floating["203.0.113.999"]
        assert "ip addr add 203.0.113.7/32" in applied.floating["203.0.113.7"]
        tables = network.run("nft", "list", "table", "inet", "computeapi")
        assert "203.0.113.5" in tables and "203.0.113.7" not in tables, "nothing half there"
        assert "203.0.113.5 : 10.1.0.5" in tables and "ip saddr 10.2.0.0/16" in tables, "all else"
        shown = network.run("ip", "-o", "addr", "show", "dev", "lo")
        assert "203.0.113.5" in shown
    network.run("ip", "addr", "del", "203.0.113.7/32", "dev", "lo")
    assert set(network.apply(lambda: asked).floating) == {"203.0.113.999"}
    assert "203.0.113.7 : 10.1.0.7" in network.run("nft", "list", "table", "inet", "computeapi")


def test_finding_what_is_refused() -> None:
    """A few of many, with few questions; and where it is not for them, or for all of them, none."""
    rules = tuple(PacketRule(4, 6, port, port) for port in range(1, 201))
    floating = tuple(Floating(f"203.0.113.{n}", f"10.1.0.{n}") for n in range(1, 51))
    firewall = Firewall(guards=(Guard(TAP, "br1", "fa:16:3e:00:00:01", (), ingress=rules),), floating=floating)
    asked = 0

    def refusing(*bad: PacketRule | Floating) -> Callable[[Firewall], str]:
        def check(tried: Firewall) -> str:
            nonlocal asked
            asked += 1
            there = {*tried.floating, *(rule for guard in tried.guards for rule in guard.ingress)}
            return "no" if there & set(bad) else ""

        return check

    wanted = (rules[17], rules[160], floating[3])
    assert find_refused(firewall, refusing(*wanted)) == dict.fromkeys(wanted, "no")
    assert asked < 60
    assert find_refused(firewall, refusing(*rules)) == {}
    assert find_refused(firewall, lambda _tried: "no") == {}
    assert find_refused(Firewall(), lambda _tried: "") == {}


@needs_nft
def test_uplinks(namespace: HostNetwork) -> None:
    """An interface, or a VLAN of it, is in the network's bridge; one that is in another's is refused."""
    run = namespace.run
    for name in ("brone", "brtwo"):
        run("ip", "link", "add", name, "type", "bridge")
    run("ip", "link", "add", "wire0", "type", "veth", "peer", "wire1")
    one = NetworkSpec("net-one", "u", "brone", "", "", uplink="wire0", taps=("wire1", "tapnone"))
    for _again in range(2):
        namespace.connect(one)
        assert namespace.masters() == {"lo": "", "brone": "", "brtwo": "", "wire0": "brone", "wire1": "brone"}
    with pytest.raises(HypervisorError, match="wire0 is in the bridge brone"):
        namespace.connect(replace(one, bridge="brtwo"))
    with pytest.raises(HypervisorError, match="no interface nothere"):
        namespace.connect(replace(one, uplink="nothere"))
    tagged = replace(one, bridge="brtwo", vlan=5)
    if has_vlans(namespace):
        namespace.connect(tagged)
        assert namespace.masters()["vlan5"] == "brtwo"
        assert "vlan protocol 802.1Q id 5" in run("ip", "-d", "link", "show", "vlan5")
        namespace.forget_vlans()
        assert "vlan5" in namespace.masters(), "it is in use"
        run("ip", "link", "del", "brtwo")
        namespace.forget_vlans()
    else:
        with pytest.raises(HypervisorError, match="ip link add link wire0 name vlan5 type vlan id 5"):
            namespace.connect(tagged)
    assert "vlan5" not in namespace.masters()


def has_vlans(namespace: HostNetwork) -> bool:
    """Whether this kernel can tag."""
    try:
        namespace.run("ip", "link", "add", "link", "wire1", "name", "probe", "type", "vlan", "id", "9")
    except HypervisorError:
        return False
    namespace.run("ip", "link", "del", "probe")
    return True
