# SPDX-License-Identifier: Apache-2.0
"""Ports in the Networking API: create, update, delete. Checks and sentences: neutron/db/db_base_plugin_v2.py."""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.api.network import attributes as a
from computeapi.api.network import views
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import invalid, is_admin, scope, view_one
from computeapi.api.network.creating import creator
from computeapi.api.network.networks import columns, require
from computeapi.db.models import Port
from computeapi.db.queries import addresses, firewall, interfaces, network_quotas, security_groups, servers
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import networks as queries
from computeapi.db.queries.addresses import AddressInUse, NoMoreAddresses
from computeapi.db.queries.networks import NETWORKS, PORTS
from computeapi.endpoint import Call

MAX_FIXED_IPS = 5
_FIXED_IPS = a.or_none(a.items(a.record({}, {"subnet_id": a.identifier, "ip_address": a.address}), 50))
_PAIRS = a.items(a.record({"ip_address": a.text(64)}, {"mac_address": a.mac}), 10)
_OPTIONS = a.items(
    a.record({"opt_name": a.text(64), "opt_value": a.or_none(a.text())}, {"ip_version": a.integer(4, 6)}), 20
)


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(orjson.dumps(value)) > 4095:
        raise ValueError("the value is not a dictionary of at most 4095 bytes")
    return value


def _pair(value: Any) -> list[dict[str, Any]]:
    pairs: list[dict[str, Any]] = _PAIRS(value)
    for pair in pairs:
        try:
            if "%" in pair["ip_address"]:  # a zone may be any text, and this goes to nft
                raise ValueError
            ipaddress.ip_network(pair["ip_address"], strict=False)
        except ValueError:
            raise ValueError(f"'{pair['ip_address']}' is not a valid IP address or subnet") from None
    return pairs


def _table(verb: str) -> dict[str, Attribute]:
    return {
        **a.COMMON,
        "network_id": Attribute(a.identifier, put=False, required=True),
        "admin_state_up": Attribute(a.boolean, default=True),
        "mac_address": Attribute(a.mac, rule=f"{verb}:mac_address" if verb == "update_port" else ""),
        "fixed_ips": Attribute(_FIXED_IPS),
        "device_id": Attribute(a.text(), default=""),
        "device_owner": Attribute(a.text(), default=""),
        "security_groups": Attribute(a.or_none(a.items(a.identifier))),
        "port_security_enabled": Attribute(a.boolean),
        "allowed_address_pairs": Attribute(_pair, default=[]),
        "extra_dhcp_opts": Attribute(_OPTIONS, default=[]),
        "binding:vnic_type": Attribute(a.only("normal"), default="normal"),
        "binding:host_id": Attribute(a.or_none(a.text()), default=None, rule=f"{verb}:binding:host_id"),
        "binding:profile": Attribute(_object, default={}, rule=f"{verb}:binding:profile"),
        "dns_name": Attribute(a.nothing),
        "qos_policy_id": Attribute(a.nothing),
        "propagate_uplink_status": Attribute(a.boolean),
        "numa_affinity_policy": Attribute(a.nothing),
        "hints": Attribute(a.nothing),
    }


CREATE, UPDATE = _table("create_port"), _table("update_port")

_COLUMNS = {name: name for name in ("name", "description", "admin_state_up", "device_id", "device_owner")} | {
    "mac_address": "mac",
    "port_security_enabled": "port_security",
}
_TEXTS = {
    "allowed_address_pairs": "address_pairs_json",
    "extra_dhcp_opts": "dhcp_options_json",
}


def _row(values: dict[str, Any], binding: dict[str, Any]) -> dict[str, Any]:
    row = columns(values, _COLUMNS)
    row |= {
        column: orjson.dumps(values[name]).decode() for name, column in _TEXTS.items() if values.get(name) is not None
    }
    named = {name.removeprefix("binding:"): value for name, value in values.items() if name.startswith("binding:")}
    if named:
        kept = binding | named
        row["binding_json"] = orjson.dumps({name: value for name, value in kept.items() if value}).decode()
    return row


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """Raises BadRequest, NotFound (network), Conflict (addresses, MAC address, OverQuota)."""
    project_id = a.owner(call, values)
    _check_owner(call, values)
    services = call.services
    network = queries.find(conn, NETWORKS, values["network_id"], scope(call))
    if network.project_id != call.context.project_id and not network.shared and not is_admin(call):
        raise errors.Forbidden("Ports on an external network are made by its owner.")
    _check_network(call, "create_port", network, values)
    require(conn, network)
    network_quotas.check(services.db, conn, services.settings, project_id, "port")
    values.setdefault("port_security_enabled", bool(network.port_security))
    port_uuid = make(conn, network, project_id, values.get("fixed_ips"), _row(values, {}))
    found = queries.find(conn, PORTS, port_uuid, None)
    if values.get("security_groups") is not None:
        set_groups(call, conn, found, values["security_groups"])
        found = queries.find(conn, PORTS, port_uuid, None)
    return view_one(call, PORTS, found, views.ports, conn)


create = creator("port", CREATE, _create)


def make(
    conn: Connection, network: Any, project_id: str | None, fixed_ips: list[dict[str, str]] | None, row: dict[str, Any]
) -> str:
    """A port of a client's on a network, with the addresses it asks for (None: one of each family); its id."""
    mac = row.get("mac")
    _check_mac(conn, network.uuid, mac)
    key, port_uuid = addresses.insert_port(conn, network.id, project_id=project_id, preserve=1, **row)
    subnets = changes.subnets_for_ports(conn, network.id)
    taken = _take_all(conn, network.uuid, key, _choose(network.uuid, subnets, fixed_ips))
    if mac is None and taken:
        addresses.settle_mac(conn, key, network.uuid, taken[0])
    return port_uuid


def _check_owner(call: Call, values: dict[str, Any]) -> None:
    """What belongs to the cloud itself, only administrators say to be theirs."""
    if values.get("device_owner", "").startswith("network:") and not is_admin(call):
        raise errors.Forbidden(f"Policy doesn't allow device_owner {values['device_owner'][:80]} to be set.")


def _check_network(
    call: Call, verb: str, network: Any, values: dict[str, Any], now: frozenset[str] = frozenset()
) -> None:
    """Who is a guest on another's network is who it is told to be. `now`: the addresses that the port has.

    Raises Forbidden, as Neutron's rules for these attributes.
    """
    chosen = {item["ip_address"] for item in values.get("fixed_ips") or () if "ip_address" in item}
    asked = {
        f"{verb}:mac_address": verb == "create_port" and "mac_address" in values,
        f"{verb}:fixed_ips:ip_address": not chosen <= now,
        f"{verb}:port_security_enabled": "port_security_enabled" in values,
        f"{verb}:allowed_address_pairs": bool(values.get("allowed_address_pairs")),
    }
    for name, is_asked in asked.items():
        if is_asked:
            call.check(name, network.project_id or "-")


def _check_mac(conn: Connection, network_uuid: str, mac: str | None, but: int = 0) -> None:
    if mac is not None and changes.mac_taken(conn, mac, but):
        raise errors.Conflict(
            f"Unable to complete operation for network {network_uuid}. The mac address {mac} is in use.",
            kind="MacAddressInUse",
        )


Choice = tuple[list[Any], str | None]  # subnets of which one shall give an address, and the address if it is named


def _choose(network_uuid: str, subnets: list[Any], fixed_ips: list[dict[str, str]] | None) -> list[Choice]:
    """Which addresses of which subnets. Raises BadRequest."""
    if fixed_ips is None:
        families = ([subnet for subnet in subnets if subnet.ip_version == version] for version in (4, 6))
        return [(family, None) for family in families if family]
    if len(fixed_ips) > MAX_FIXED_IPS:
        raise invalid("Exceeded maximum amount of fixed ips per port")
    return [_choice(network_uuid, subnets, item) for item in fixed_ips]


def _choice(network_uuid: str, subnets: list[Any], item: dict[str, str]) -> Choice:
    wanted, chosen = item.get("ip_address"), item.get("subnet_id")
    if chosen is not None:
        of = [subnet for subnet in subnets if subnet.uuid == chosen]
        if not of:
            raise invalid(
                f"Failed to create port on network {network_uuid}, because fixed_ips included invalid subnet {chosen}"
            )
        if wanted and not addresses.may_have(of[0].cidr, wanted):
            raise errors.BadRequest(
                f"IP address {wanted} is not a valid IP for the specified subnet.", kind="InvalidIpForSubnet"
            )
        return of, wanted
    if wanted is None:
        raise invalid("IP allocation requires subnet_id or ip_address")
    of = [subnet for subnet in subnets if addresses.may_have(subnet.cidr, wanted)]
    if not of:
        raise errors.BadRequest(
            f"IP address {wanted} is not a valid IP for any of the subnets on the specified network.",
            kind="InvalidIpForNetwork",
        )
    return of[:1], wanted


def _take_all(conn: Connection, network_uuid: str, key: int, choices: list[Choice]) -> list[str]:
    return [_take(conn, network_uuid, key, *choice) for choice in choices]  # at most MAX_FIXED_IPS


def _take(conn: Connection, network_uuid: str, key: int, subnets: list[Any], wanted: str | None) -> str:
    try:
        if wanted:
            return addresses.take_address(conn, subnets[0].id, key, wanted)
        return addresses.take_any_address(conn, [subnet.id for subnet in subnets], key)
    except AddressInUse:
        raise errors.Conflict(
            f"IP address {wanted} already allocated in subnet {subnets[0].uuid}", kind="IpAddressAlreadyAllocated"
        ) from None
    except NoMoreAddresses:
        raise errors.Conflict(
            f"No more IP addresses available on network {network_uuid}.", kind="IpAddressGenerationFailure"
        ) from None


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/ports/{id}."""
    values = a.read(call, "port", UPDATE)
    _check_owner(call, values)
    with call.services.db.write() as conn:
        changes.lock_network(conn, call.target.network_id)
        target = queries.find(conn, PORTS, call.target.uuid, None)
        now = queries.fixed_ips_of(conn, queries.keys(PORTS, target.id)).get(target.id, [])
        network = queries.find(conn, NETWORKS, target.network_uuid, None)
        _check_network(call, "update_port", network, values, frozenset(item["ip_address"] for item in now))
        _check_device(target, values)
        row = _row(values, orjson.loads(target.binding_json))
        _check_mac(conn, target.network_uuid, row.get("mac"), target.id)
        if values.get("fixed_ips") is not None:
            _move(conn, target, values["fixed_ips"])
        changes.touch(conn, Port, target.id, row)
        _change_security(call, conn, target, values)
        if target.server_id is not None:
            addresses.refresh(conn, target.server_id)
        found = queries.find(conn, PORTS, target.uuid, None)
        return {"port": view_one(call, PORTS, found, views.ports, conn)}


def set_groups(call: Call, conn: Connection, port: Any, uuids: list[str]) -> None:
    """These security groups hold for a port. Raises NotFound (one that its project does not have), Conflict."""
    if uuids and not port.port_security:
        raise errors.Conflict(
            "Port Security must be enabled in order to have security groups or allowed address pairs on the port.",
            kind="PortSecurityAndIPRequiredForSecurityGroups",
        )
    owner = None if is_admin(call) else port.project_id
    security_groups.set_port_groups(conn, port.id, security_groups.of_project(conn, owner, uuids))


def _change_security(call: Call, conn: Connection, target: Any, values: dict[str, Any]) -> None:
    """Security groups, and whether the port is filtered at all."""
    now = queries.find(conn, PORTS, target.uuid, None)
    if not now.port_security and "security_groups" not in values and security_groups.groups_of_port(conn, target.id):
        raise errors.Conflict(
            "Port has security group associated. Cannot disable port security or IP address until security group is "
            "removed.",
            kind="PortSecurityPortHasSecurityGroup",
        )
    firewall.ports_changed(conn, Port.id == target.id)
    if "security_groups" in values:
        set_groups(call, conn, now, values["security_groups"] or [])
        if target.server_id is not None:
            security_groups.refresh_server(conn, target.server_id)


def _check_device(target: Any, values: dict[str, Any]) -> None:
    """A port that a server or router has is not given to something else behind their back."""
    if target.server_id is None and target.router_id is None:
        return
    if values.get("device_id", target.device) != target.device or "mac_address" in values:
        raise in_use(target)
    values.pop("device_id", None)
    values.pop("device_owner", None)


def in_use(target: Any) -> errors.Conflict:
    """Neutron's PortInUse."""
    return errors.Conflict(
        f"Unable to complete operation on port {target.uuid} for network {target.network_uuid}. Port already has an "
        f"attached device {target.device}.",
        kind="PortInUse",
    )


def _move(conn: Connection, target: Any, fixed_ips: list[dict[str, str]]) -> None:
    """Other addresses: those that stay keep their rows."""
    subnets = changes.subnets_for_ports(conn, target.network_id)
    now = queries.fixed_ips_of(conn, queries.keys(PORTS, target.id)).get(target.id, [])
    choices = _choose(target.network_uuid, subnets, fixed_ips)
    kept, left = [], []
    unnamed = [item for item in now if item["ip_address"] not in {wanted for _, wanted in choices}]
    for of, wanted in choices:
        stays = wanted if wanted in {item["ip_address"] for item in now} else None
        if wanted is None:  # any of that subnet: the one it has will do
            one = next((item for item in unnamed if item["subnet_id"] == of[0].uuid), None)
            if one is not None:
                unnamed.remove(one)
                stays = one["ip_address"]
        if stays:
            kept.append(stays)
        else:
            left.append((of, wanted))
    changes.give_back(conn, target.id, kept)
    _take_all(conn, target.network_uuid, target.id, left)


def remove(call: Call) -> None:
    """DELETE /v2.0/ports/{id}. Raises Conflict where a router has it, or a server that can't let go of it now."""
    target = call.target
    if target.device_owner.startswith("network:router"):
        raise errors.Conflict(
            f"Port {target.uuid} cannot be deleted directly via the port API: has device owner {target.device_owner}.",
            kind="ServicePortInUse",
        )
    with call.services.db.write() as conn:
        if target.server_id is None:
            addresses.delete_port(conn, target.id)
        else:
            _detach(call, conn, target)


def _detach(call: Call, conn: Connection, target: Any) -> None:
    """The guest loses the interface first; the port goes when it has."""
    server = servers.get_by_key(conn, target.server_id)
    if server is None or server.host is None:
        raise in_use(target)
    interfaces.release_with_server(conn, target.id)
    payload = {"port_id": target.uuid}
    try:
        lifecycle.begin(conn, call.services, call.context, server, "detach_interface", payload)
    except errors.Conflict:
        raise in_use(target) from None
