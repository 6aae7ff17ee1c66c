# SPDX-License-Identifier: Apache-2.0
"""Security groups as nftables: who may send what to a guest, and from which addresses a guest may send.

Two tables of our own, `inet computeapi` (with `nat`'s half) and `bridge computeapi`; nothing else is ever looked at.
Bridged packets pass the first because br_netfilter hands them to it; so each is judged by the same rules whether it
came over the guest's own bridge, through a router or by a floating IP. Measured: bridge tables cannot ask conntrack.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from computeapi.virt.firewall import Firewall, PacketRule

METADATA = "169.254.169.254"  # where guests ask for what they are told of themselves
_ICMP = {4: ("icmp", 1), 6: ("icmpv6", 58)}
_FAMILY = {4: "ip", 6: "ip6"}
_TYPE = {4: "ipv4_addr", 6: "ipv6_addr"}
_ELEMENT = re.compile(r'("[^"\n]+"|[A-Za-z0-9 .:/_-])+')
_FINDING = "{ nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld2-listener-report, mld-listener-report }"


def elements(items: Iterable[str]) -> str:
    """The elements of a set or map; nothing where it is empty. ValueError for one that could be read as more."""
    known = sorted(set(items))
    if any(_ELEMENT.fullmatch(item) is None for item in known):
        raise ValueError(known)
    found = ", ".join(known)
    return f" elements = {{ {found} }}" if found else ""


def version(address: str) -> int:
    """4 or 6."""
    return ipaddress.ip_network(address, strict=False).version


def of_version(addresses: Iterable[str], wanted: int) -> list[str]:
    """Those of that family."""
    return [address for address in addresses if version(address) == wanted]


# --- what gets through ---


def definitions(firewall: Firewall) -> Iterator[str]:
    """Sets and maps of the table inet."""
    for name, addresses in sorted(firewall.sets.items()):
        for family in (4, 6):
            found = elements(of_version(addresses, family))
            yield f"set {_set_name(name, family)} {{ type {_TYPE[family]};{found} }}"
    for way, chain in (("to", "in"), ("from", "out")):
        for family in (4, 6):
            verdicts = {
                (guard.bridge, address): f"{quoted(guard.bridge)} . {address} : jump {chain}-{guard.tap}"
                for guard in firewall.guards
                for address in of_version(guard.addresses, family)
            }
            yield f"map {way}{family} {{ type ifname . {_TYPE[family]} : verdict;{elements(verdicts.values())} }}"
    bridges = [network.bridge for network in firewall.networks]
    yield f"set bridges {{ type ifname;{elements(quoted(bridge) for bridge in bridges)} }}"
    pairs = {(bridge, bridge) for bridge in bridges} | {
        pair for one, two in firewall.links for pair in ((one, two), (two, one))
    }
    yield f"set links {{ type ifname . ifname;{elements(f'{quoted(one)} . {quoted(two)}' for one, two in pairs)} }}"


def quoted(name: str) -> str:
    """A device's name as nft reads it. Ours have no quotes in them; one that had would end the text."""
    if '"' in name or "\n" in name:
        raise ValueError(name)
    return f'"{name}"'


def _set_name(name: str, family: int) -> str:
    return f"members{family}-{name}"


def chains(firewall: Firewall) -> Iterator[str]:
    """The chains of the table inet that filter."""
    for guard in firewall.guards:
        yield _chain(f"in-{guard.tap}", [f"{_match(rule, 'saddr')} accept" for rule in guard.ingress])
        yield _chain(f"out-{guard.tap}", [f"{_match(rule, 'daddr')} return" for rule in guard.egress])
    yield _chain(
        "forward",
        [
            "type filter hook forward priority filter; policy accept;",
            "ct state established,related accept",
            "oifname @bridges meta pkttype { broadcast, multicast } meta l4proto != ipv6-icmp drop",
            f"meta l4proto ipv6-icmp icmpv6 type {_FINDING} accept",
            "iifname . ip saddr vmap @from4",
            "iifname . ip6 saddr vmap @from6",
            "iifname . oifname @links jump arrive",
            "oifname @bridges ct status dnat jump arrive",
            "oifname @bridges drop",
        ],
        end="",
    )
    if firewall.metadata_port:
        # The port behind METADATA is not asked itself: only what goes there is known to be from whom it says.
        yield _chain(
            "host",
            [
                "type filter hook input priority filter; policy accept;",
                f"iifname @bridges tcp dport {firewall.metadata_port} ct original ip daddr != {METADATA} drop",
            ],
            end="",
        )
    yield _chain("arrive", ["oifname . ip daddr vmap @to4", "oifname . ip6 daddr vmap @to6", "accept"], end="")


def _chain(name: str, lines: list[str], end: str = "drop") -> str:
    body = [*lines, end] if end else lines
    return f"chain {name} {{\n" + "".join(f"  {line}\n" for line in body) + "}"


def _match(rule: PacketRule, side: str) -> str:
    """The condition that stands for a rule."""
    family = _FAMILY[rule.version]
    parts = [f"meta nfproto ipv{rule.version}"]
    if rule.members is not None:
        parts.append(f"{family} {side} @{_set_name(rule.members, rule.version)}")
    elif rule.cidr is not None and not rule.cidr.endswith("/0"):
        parts.append(f"{family} {side} {rule.cidr}")
    if rule.protocol is None:
        return " ".join(parts)
    word, icmp = _ICMP[rule.version]
    protocol = icmp if rule.protocol in (1, 58) else rule.protocol
    parts.append(f"meta l4proto {protocol}")
    if protocol == icmp:
        if rule.least is not None:
            parts.append(f"{word} type {rule.least}")
            if rule.most is not None:
                parts.append(f"{word} code {rule.most}")
    elif rule.least is not None and rule.most is not None:
        parts.append(f"th dport {rule.least}-{rule.most}" if rule.least != rule.most else f"th dport {rule.least}")
    return " ".join(parts)


# --- what a guest may say of itself ---


def spoofing(firewall: Firewall) -> Iterator[str]:
    """The table bridge: MAC, ARP and IP addresses are a guest's own, and it is neither DHCP server nor router.

    Whatever else an interface may send from, it asks for metadata from its own addresses alone.
    """
    known = firewall.guards
    macs, senders = set(), {4: set[str](), 6: set[str]()}
    for guard in known:
        tap = quoted(guard.tap)
        macs.add(f"{tap} . {guard.mac}")
        own = [*guard.addresses, link_local(guard.mac)]
        for address, mac in guard.pairs:
            macs.add(f"{tap} . {mac}")
            own += [address, link_local(mac)]
        for family in (4, 6):
            senders[family] |= {f"{tap} . {address}" for address in distinct(of_version(own, family))}
    yield f"set taps {{ type ifname;{elements(quoted(guard.tap) for guard in known)} }}"
    yield f"set macs {{ type ifname . ether_addr;{elements(macs)} }}"
    for family in (4, 6):
        yield f"set senders{family} {{ type ifname . {_TYPE[family]}; flags interval;{elements(senders[family])} }}"
    shared = [network for network in firewall.networks if network.uplink and network.address]
    gateways = elements(f"{quoted(network.uplink)} . {network.address}" for network in shared)
    yield f"set uplinks {{ type ifname;{elements(quoted(network.uplink) for network in shared)} }}"
    yield f"set gateways {{ type ifname . ipv4_addr;{gateways} }}"
    yield f"set guests {{ type ifname;{elements(quoted(tap) for tap, _ in firewall.owners)} }}"
    owners = elements(f"{quoted(tap)} . {address}" for tap, addresses in firewall.owners for address in addresses)
    yield f"set owners {{ type ifname . ipv4_addr;{owners} }}"
    yield _chain(
        "source",
        [
            "type filter hook prerouting priority -300; policy accept;",
            f"ether type ip ip daddr {METADATA} iifname @guests iifname . ip saddr != @owners drop",
            "iifname @uplinks jump here-alone",
            "iifname @taps goto check",
        ],
        end="",
    )
    yield _chain(
        "leave",
        ["type filter hook postrouting priority 0; policy accept;", "oifname @uplinks jump here-alone"],
        end="",
    )
    # Each host is the gateway and the DHCP server of its own guests.
    yield _chain(
        "here-alone",
        [
            *(
                f"ether type arp {device} . arp {side} ip @gateways drop"
                for device in ("iifname", "oifname")
                for side in ("saddr", "daddr")
            ),
            "ether type ip udp sport { 67, 68 } udp dport { 67, 68 } drop",
        ],
        end="",
    )
    yield _chain(
        "check",
        [
            "iifname . ether saddr != @macs drop",
            "ether type arp iifname . arp saddr ether != @macs drop",
            "ether type arp arp saddr ip 0.0.0.0 accept",
            "ether type arp iifname . arp saddr ip @senders4 accept",
            "ether type ip ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
            "ether type ip udp sport 67 udp dport 68 drop",
            "ether type ip iifname . ip saddr @senders4 accept",
            "ether type ip6 ip6 saddr :: icmpv6 type { nd-neighbor-solicit, mld2-listener-report } accept",
            "ether type ip6 icmpv6 type { nd-router-advert, nd-redirect } drop",
            "ether type ip6 udp sport 547 udp dport 546 drop",
            "ether type ip6 iifname . ip6 saddr @senders6 accept",
        ],
    )


def distinct(addresses: Iterable[str]) -> list[str]:
    """Addresses and networks, none inside another: nft takes no overlapping intervals."""
    networks = [ipaddress.ip_network(address, strict=False) for address in addresses]
    return [str(network) for network in ipaddress.collapse_addresses(networks)]  # type: ignore[type-var]


def link_local(mac: str) -> str:
    """The IPv6 address that an interface gives itself (RFC 4291, appendix A)."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    words = [*octets[:3], 0xFF, 0xFE, *octets[3:]]
    return str(ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes(words)))
