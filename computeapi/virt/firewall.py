# SPDX-License-Identifier: Apache-2.0
"""What a host lets through and translates: the whole of it, in the hypervisor seam's words."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class PacketRule:
    """What may pass. `protocol` is IANA's number; `least` and `most` are ports, or ICMP's type and code. None: any."""

    version: int  # 4 | 6
    protocol: int | None = None
    least: int | None = None
    most: int | None = None
    cidr: str | None = None  # of the other side
    members: str | None = None  # the other side is one of that set of addresses (Firewall.sets)


@dataclass(frozen=True, slots=True)
class Guard:
    """An interface that sends only from its own addresses, and gets and sends only what its rules say."""

    tap: str
    bridge: str  # on which others of its addresses are not it: networks may have the same ones
    mac: str
    addresses: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()  # (address or network, MAC address) it may send from as well
    ingress: tuple[PacketRule, ...] = ()
    egress: tuple[PacketRule, ...] = ()


@dataclass(frozen=True, slots=True)
class LocalNetwork:
    """A network whose bridge is on the host: what goes out of an IPv4 `cidr` takes the host's address.

    One for each subnet; "" where the bridge leads nowhere.
    """

    name: str  # as ensure_network named it
    bridge: str
    cidr: str
    network_id: str = ""  # the API's
    uplink: str = ""  # the device in the bridge that leads to other machines
    address: str = ""  # the host's own there, which other hosts have as well: it does not pass the uplink


@dataclass(frozen=True, slots=True)
class Floating:
    """1:1: who asks for `address` gets `fixed`; what `fixed` sends out comes from `address`."""

    address: str
    fixed: str


@dataclass(frozen=True, slots=True)
class Firewall:
    """Everything; what is not in it is not let through, translated or answered."""

    guards: tuple[Guard, ...] = ()
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # addresses of both families
    networks: tuple[LocalNetwork, ...] = ()
    links: tuple[tuple[str, str], ...] = ()  # bridges between which a router leads
    floating: tuple[Floating, ...] = ()
    owners: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (tap, its IPv4 addresses) of all interfaces, guarded or not
    metadata_port: int = 0  # of the host: who asks 169.254.169.254 for a web page is led there, unless it is 0
    names: tuple[tuple[str, str], ...] = ()  # (name, address): what the networks' DNS answers beside guests' names


# --- what a host refuses ---


@dataclass(frozen=True, slots=True)
class Applied:
    """What a host has made of a firewall. `floating` (by address) and `rules` are what it does without, and why.

    `whole` is why it has taken nothing of what is new: all is as it was before. Not `able`: it never filters.
    """

    firewall: Firewall
    floating: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[PacketRule, str] = field(default_factory=dict)
    whole: str = ""
    able: bool = True


_MOST_REFUSED = 16  # more than that have one cause, which is not theirs


def without(firewall: Firewall, refused: Container[Floating | PacketRule]) -> Firewall:
    """The same but for those. A rule that is not there lets nothing through."""
    return replace(
        firewall,
        floating=tuple(each for each in firewall.floating if each not in refused),
        guards=tuple(
            replace(
                guard,
                ingress=tuple(rule for rule in guard.ingress if rule not in refused),
                egress=tuple(rule for rule in guard.egress if rule not in refused),
            )
            for guard in firewall.guards
        ),
    )


def find_refused(firewall: Firewall, check: Callable[[Firewall], str]) -> dict[Floating | PacketRule, str]:
    """The fewest floating IPs and rules without which it is taken, each with the reason; none where it is not for them.

    `check` says why a firewall is not taken, or "". It is asked a few times for each that is refused.
    """
    rules = dict.fromkeys(rule for guard in firewall.guards for rule in (*guard.ingress, *guard.egress))
    parts: tuple[Floating | PacketRule, ...] = (*firewall.floating, *rules)
    refused: dict[Floating | PacketRule, str] = {}
    if check(without(firewall, parts)):
        return refused
    waiting, good = [parts] if parts else [], set[Floating | PacketRule]()
    while waiting and len(refused) <= _MOST_REFUSED:
        some = waiting.pop()
        why = check(without(firewall, set(parts) - good - set(some)))
        if not why:
            good.update(some)
        elif len(some) == 1:
            refused[some[0]] = why
        else:
            half = len(some) // 2
            waiting += [some[half:], some[:half]]
    return refused if len(refused) <= _MOST_REFUSED else {}
