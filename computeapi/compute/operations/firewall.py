# SPDX-License-Identifier: Apache-2.0
"""What a host filters, translates and answers: read from the rows as a whole, and made so as a whole.

Asked for before a guest starts, by hints when something changed (`db.queries.firewall`), when the service starts, and
by the sweep; each time everything is looked at, and nothing is done where nothing differs.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from itertools import combinations
from typing import Any

import orjson

from computeapi import journal
from computeapi.compute.guest import network_name, own_address, uplink
from computeapi.compute.operation import Tools
from computeapi.db.queries import firewall as queries
from computeapi.db.queries.security_groups import PROTOCOLS
from computeapi.settings import Settings
from computeapi.virt.base import NetworkSpec
from computeapi.virt.firewall import Firewall, Floating, Guard, LocalNetwork, PacketRule

_PING_SECONDS = 1


def apply(tools: Tools) -> None:
    """The host is as the rows say. Raises HypervisorError, Fenced."""
    with tools.db.write() as conn:
        queries.forget_hints(conn, tools.host)
        if not journal.owns(conn, tools.host, tools.epoch):
            raise journal.Fenced(f"host {tools.host}")  # its owner has not seen these hints yet
    if tools.neutron is not None:
        return  # its agent filters and translates
    read_last: list[Firewall] = []

    def read_it() -> Firewall:
        read_last.append(read(tools))
        return read_last[-1]

    tools.driver.apply_firewall(read_it)
    if read_last and tools.heard:
        tools.heard(read_last[-1].networks)


def on_hint(tools: Tools, _payload: dict[str, Any]) -> None:
    """The same, as a question that nobody waits for."""
    apply(tools)


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
        floating=tuple(Floating(address, fixed) for address, fixed in floating),
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
    for uuid, addresses in own.items():
        yield "tap" + uuid[:11], tuple(addresses)


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
