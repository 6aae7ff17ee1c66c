# SPDX-License-Identifier: Apache-2.0
"""What a host filters, translates and answers: read from the rows as a whole, and made so as a whole.

Asked for before a guest starts, by hints when something changed (`db.queries.firewall`), when the service starts, and
by the sweep; each time everything is looked at, and nothing is done where nothing differs.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import orjson

from computeapi import journal
from computeapi.compute import faults, guest
from computeapi.compute.guest import network_name, own_address, uplink
from computeapi.compute.operation import Operation, Step, Tools, Work
from computeapi.db.queries import firewall as queries
from computeapi.db.queries.host_faults import FIREWALL
from computeapi.db.queries.security_groups import PROTOCOLS
from computeapi.settings import Settings
from computeapi.virt.base import HypervisorError, HypervisorGone, NetworkSpec
from computeapi.virt.firewall import Applied, Firewall, Floating, Guard, LocalNetwork, PacketRule

_PING_SECONDS = 1


def apply(tools: Tools) -> Applied | None:
    """The host is as the rows say, but for what it refuses, which is noted. None where a real Neutron's agent does it.

    Raises HypervisorError, Fenced.
    """
    with tools.db.write() as conn:
        queries.forget_hints(conn, tools.host)
        if not journal.owns(conn, tools.host, tools.epoch):
            raise journal.Fenced(f"host {tools.host}")  # its owner has not seen these hints yet
    if tools.neutron is not None:
        return None  # its agent filters and translates
    try:
        applied = tools.driver.apply_firewall(lambda: read(tools))
    except HypervisorGone:
        raise
    except HypervisorError as error:
        faults.note(tools, FIREWALL, {_ALL: str(error)})
        raise
    _note(tools, applied)
    if tools.heard:
        tools.heard(applied.firewall.networks)
    return applied


def on_hint(tools: Tools, _payload: dict[str, Any]) -> None:
    """The same, as a question that nobody waits for."""
    apply(tools)


def guard(work: Work) -> None:
    """The same, before a guest of this host's has an interface there. Raises HypervisorError where the server's own
    rules are refused: it would not be reached, or be reached, as it shall be."""
    applied = apply(work.tools)
    if applied is not None and applied.able:
        _complain(work, applied, ())


def apply_network(work: Work) -> None:
    """The same, for a change of a server's that its owner has asked for. Raises HypervisorError where it is refused."""
    applied = apply(work.tools)
    if applied is not None:
        address = work.entry.payload.get("address")
        _complain(work, applied, [address] if address else [])


def _complain(work: Work, applied: Applied, floating: Iterable[str]) -> None:
    if applied.whole:
        raise HypervisorError(applied.whole)
    for address in floating:
        if address in applied.floating:
            raise HypervisorError(f"{_floating(address)}: {applied.floating[address]}")
    taps = {"tap" + nic.port_id[:11] for nic in guest.nics(work)}
    for tap, rule, why in _refused_rules(applied):
        if tap in taps:
            raise HypervisorError(f"{describe(rule)}: {why}")


APPLY_NETWORK = Operation((Step("network", apply_network),))

# --- what is refused ---

_ALL = "security groups and floating IPs"


def _floating(address: str) -> str:
    return f"floating IP {address}"


def describe(rule: PacketRule) -> str:
    """A rule, in words."""
    ports = "" if rule.least is None else f" {rule.least}" if rule.most == rule.least else f" {rule.least}-{rule.most}"
    side = f" group {rule.members}" if rule.members else f" {rule.cidr}" if rule.cidr else ""
    protocol = "any protocol" if rule.protocol is None else f"protocol {rule.protocol}"
    return f"security group rule (IPv{rule.version}, {protocol}{ports}{side})"


def _refused_rules(applied: Applied) -> Iterable[tuple[str, PacketRule, str]]:
    """(tap, rule, why) of interfaces that are to have rules which are refused."""
    if applied.rules:
        for each in applied.firewall.guards:
            for rule in dict.fromkeys((*each.ingress, *each.egress)):
                if rule in applied.rules:
                    yield each.tap, rule, applied.rules[rule]


def _note(tools: Tools, applied: Applied) -> None:
    """Operators see all of it, a floating IP's owner its status, a server's owner what came after it was made."""
    _note_floating(tools, applied)
    found = {_floating(address): why for address, why in applied.floating.items()}
    found |= {describe(rule): why for rule, why in applied.rules.items()}
    if applied.whole:
        found = {_ALL: applied.whole} if applied.able or applied.floating else {}
    new = faults.note(tools, FIREWALL, found)
    _tell_owners(tools, {tap: (rule, why) for tap, rule, why in _refused_rules(applied) if describe(rule) in new})


def _tell_owners(tools: Tools, taps: dict[str, tuple[PacketRule, str]]) -> None:
    """The action logs of these interfaces' servers say what is refused; one with open work says so where that ends."""
    if not taps:
        return
    with tools.db.write() as conn:
        rows = {row.id: row for row in queries.idle_servers(conn, tools.host, taps)}
        for row in rows.values():
            rule, why = taps["tap" + row.tap]
            journal.record(
                conn,
                server_id=row.id,
                server_uuid=row.uuid,
                request_id=f"req-{uuid.uuid4()}",
                project_id=row.project_id,
                user_id=row.user_id,
                name="refreshSecurityGroups",
                error=f"{describe(rule)}: {why}",
            )


def _note_floating(tools: Tools, applied: Applied) -> None:
    if not applied.firewall.floating:
        return
    with tools.db.read() as conn:
        rows = queries.floating(conn, tools.host)
    asked = {(pair.address, pair.fixed) for pair in applied.firewall.floating}
    changed = {
        address: (fixed, applied.floating.get(address))
        for address, fixed, refused in rows
        if (address, fixed) in asked and refused != applied.floating.get(address)
    }
    if changed:
        with tools.db.write() as conn:
            for address, (fixed, why) in sorted(changed.items()):  # seldom any, and each its own reason
                queries.refuse(conn, address, fixed, why)


def ping(tools: Tools, payload: dict[str, Any]) -> list[str]:
    """Which of these addresses answer."""
    return sorted(tools.driver.ping(payload["addresses"], _PING_SECONDS))


def read(tools: Tools) -> Firewall:
    """What the rows say."""
    with tools.db.snapshot() as conn:
        ports = queries.ports(conn, tools.host)
        rules = queries.rules(conn, tools.host)
        groups = queries.groups_of_ports(conn, tools.host)
        remotes = {rule.remote_group_id for rule in rules if rule.remote_group_id is not None}
        members = queries.members(conn, remotes) if remotes else []
        routed = queries.routed(conn, {port.network_id for port in ports}) if ports else []
        floating = queries.floating(conn, tools.host)
        names = queries.names(conn, tools.host, tools.settings.default_availability_zone)
    sets: dict[str, set[str]] = {rule.remote_uuid: set() for rule in rules if rule.remote_uuid}
    for group_uuid, address in members:
        sets[group_uuid].add(address)
    return Firewall(
        guards=tuple(_guards(ports, rules, groups)),
        sets={name: tuple(sorted(addresses)) for name, addresses in sets.items()},
        networks=tuple(_networks(tools.settings, ports)),
        links=tuple(sorted(_links(routed))),
        owners=tuple(_owners(ports)),
        metadata_port=tools.settings.metadata_port,
        floating=tuple(Floating(address, fixed) for address, fixed, _ in floating),
        names=tuple((f"{name}.{domain}", address) for name, domain, address in names),
    )


def _guards(ports: list[Any], rules: list[Any], groups: list[Any]) -> Iterable[Guard]:
    by_group: dict[int, list[Any]] = {}
    for rule in rules:
        by_group.setdefault(rule.group_id, []).append(rule)
    of_port: dict[int, list[Any]] = {}
    for port_id, group_id in groups:
        of_port.setdefault(port_id, []).extend(by_group.get(group_id, []))
    rows: dict[int, list[Any]] = {}
    for port in ports:
        rows.setdefault(port.id, []).append(port)
    for key, same in rows.items():
        port = same[0]
        if not port.port_security:
            continue
        yield Guard(
            tap="tap" + port.uuid[:11],
            bridge=port.bridge,
            mac=port.mac,
            addresses=tuple(row.address for row in same if row.address),
            pairs=tuple(_pairs(port)),
            ingress=_rules(of_port.get(key, []), "ingress"),
            egress=_rules(of_port.get(key, []), "egress"),
        )


def _owners(ports: list[Any]) -> Iterable[tuple[str, tuple[str, ...]]]:
    own: dict[str, list[str]] = {}
    for port in ports:
        own.setdefault(port.uuid, []).extend([port.address] if port.ip_version == 4 else [])
    for port_id, addresses in own.items():
        yield "tap" + port_id[:11], tuple(addresses)


def _pairs(port: Any) -> Iterable[tuple[str, str]]:
    for pair in orjson.loads(port.address_pairs_json):
        yield str(ipaddress.ip_network(pair["ip_address"], strict=False)), pair.get("mac_address") or port.mac


def _rules(rules: list[Any], direction: str) -> tuple[PacketRule, ...]:
    """Each once: several groups may say the same."""
    return tuple(dict.fromkeys(_rule(rule) for rule in rules if rule.direction == direction))


def _rule(rule: Any) -> PacketRule:
    return PacketRule(
        version=6 if rule.ethertype == "IPv6" else 4,
        protocol=protocol_number(rule.protocol),
        least=rule.port_min,
        most=rule.port_max,
        cidr=str(ipaddress.ip_network(rule.remote_cidr, strict=False)) if rule.remote_cidr else None,
        members=rule.remote_uuid,
    )


def protocol_number(name: str | None) -> int | None:
    """A protocol's number; None for any, which is also what 0 stands for."""
    if name is None:
        return None
    number = PROTOCOLS.get(name)
    return (int(name) if number is None else number) or None


def _networks(settings: Settings, ports: list[Any]) -> Iterable[LocalNetwork]:
    """The networks that the host has a bridge of; those of which the host is the gateway lead out."""
    found = {_network(settings, port) for port in ports}
    return sorted(found, key=lambda network: (network.name, network.cidr))


def _network(settings: Settings, port: Any) -> LocalNetwork:
    extra = orjson.loads(port.extra_json)
    served = bool(port.gateway) and port.ip_version == 4
    way_out = NetworkSpec("", "", port.bridge, "", "", uplink=uplink(settings, port.vlan, extra), vlan=port.vlan)
    return LocalNetwork(
        network_name(port.network_uuid),
        port.bridge,
        port.cidr if served else "",
        port.network_uuid,
        way_out.uplink_device,
        own_address(port.gateway, extra) if served else "",
    )


def _links(routed: list[Any]) -> set[tuple[str, str]]:
    bridges: dict[int, set[str]] = {}
    for router, bridge in routed:
        bridges.setdefault(router, set()).add(bridge)
    return {pair for connected in bridges.values() for pair in combinations(sorted(connected), 2)}
