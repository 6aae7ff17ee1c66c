# SPDX-License-Identifier: Apache-2.0
"""Subnets in the Networking API: create, update, delete. Checks and sentences: neutron/db/db_base_plugin_v2.py and
neutron/ipam."""

from __future__ import annotations

import ipaddress
from itertools import pairwise
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors
from computeapi.api.network import allocating, views
from computeapi.api.network import attributes as a
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import check_addresses, invalid, scope, view_one
from computeapi.api.network.creating import creator
from computeapi.api.network.networks import require
from computeapi.db.models import Subnet
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import network_quotas
from computeapi.db.queries import networks as queries
from computeapi.db.queries.addresses import MAX_OFFSET
from computeapi.db.queries.network_changes import Block, Pool
from computeapi.db.queries.networks import NETWORKS, SUBNETS
from computeapi.endpoint import Call

MAX_NAME_SERVERS = 5
_MODES = ("slaac", "dhcpv6-stateful", "dhcpv6-stateless")
_POOLS = a.or_none(a.items(a.record({"start": a.address, "end": a.address}), 20))

TABLE: dict[str, Attribute] = {
    **a.COMMON,
    "network_id": Attribute(a.identifier, put=False, required=True),
    "ip_version": Attribute(a.version, put=False, required=True),
    "cidr": Attribute(a.or_none(a.cidr), put=False),
    "gateway_ip": Attribute(a.or_none(a.address)),
    "enable_dhcp": Attribute(a.boolean, default=True),
    "allocation_pools": Attribute(_POOLS),
    "dns_nameservers": Attribute(a.items(a.address), default=[]),
    "host_routes": Attribute(a.items(a.record({"destination": a.cidr, "nexthop": a.address}), 20), default=[]),
    "ipv6_ra_mode": Attribute(a.or_none(a.only(*_MODES)), put=False, default=None),
    "ipv6_address_mode": Attribute(a.or_none(a.only(*_MODES)), put=False, default=None),
    "subnetpool_id": Attribute(a.or_none(a.identifier), put=False),
    "prefixlen": Attribute(a.or_none(a.integer(0, 128)), put=False),
    "use_default_subnetpool": Attribute(a.boolean, put=False, default=False),
    "segment_id": Attribute(a.nothing),
    "service_types": Attribute(a.nothing),
    "dns_publish_fixed_ip": Attribute(a.nothing),
}


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """Raises BadRequest, NotFound (network), Conflict (pools, gateway, OverQuota)."""
    project_id = a.owner(call, values)
    _check_asked(values)
    _check_servers(values["dns_nameservers"], "the new subnet")
    _check_modes(values)
    services = call.services
    network = queries.find(conn, NETWORKS, values["network_id"], scope(call))
    call.check("create_subnet", network.project_id or "-")
    require(conn, network)
    network_quotas.check(services.db, conn, services.settings, project_id, "subnet")
    pool = allocating.pool_for(call, conn, values)
    allocating.check_affinity(conn, network.id, values["ip_version"], pool)
    if pool is None:
        block = ipaddress.ip_network(values["cidr"])
    else:
        others = _elsewhere(call, conn, values["ip_version"], network, values.get("gateway_ip", ""))
        block = allocating.cut(conn, pool, values, project_id, others)
        _check_block(block)
    if changes.overlapping(conn, block, network_key=network.id):
        raise _overlap(block, network.uuid)
    gateway = values.get("gateway_ip", str(block.network_address + 1))
    _check_others(call, conn, block, network, gateway)
    pools = _pools(values.get("allocation_pools"), block, gateway)
    row = _columns(values) | {"project_id": project_id, "pool_id": pool and pool.id}
    _key, subnet_uuid = changes.insert_subnet(conn, network.id, block, gateway, pools, **row)
    found = queries.find(conn, SUBNETS, subnet_uuid, None)
    return view_one(call, SUBNETS, found, views.subnets, conn)


create = creator("subnet", TABLE, _create)


def _overlap(block: Block, network_uuid: str) -> errors.BadRequest:
    return invalid(f"Requested subnet with cidr: {block} for network: {network_uuid} overlaps with another subnet")


def _check_others(call: Call, conn: Connection, block: Block, network: Any, gateway: str | None) -> None:
    """Raise BadRequest where a host could not be the gateway of this subnet and of another network's."""
    if gateway is not None and not network.external:
        check_addresses(call, conn, block)
    if any(other.overlaps(block) for other in _elsewhere(call, conn, block.version, network, gateway)):
        raise _overlap(block, network.uuid)


def _elsewhere(call: Call, conn: Connection, version: int, network: Any, gateway: str | None) -> list[Block]:
    """What a subnet can't have because hosts are its gateway on other networks. As Neutron with allow_overlapping_ips
    off."""
    if version == 6 or gateway is None or network.external or call.services.settings.may_overlap:
        return []
    call.services.db.lock(conn, "nova networks")
    return changes.served_elsewhere(conn, version, network.id)


def _columns(values: dict[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        name: values[name] for name in ("name", "description", "ipv6_ra_mode", "ipv6_address_mode") if name in values
    }
    if "enable_dhcp" in values:
        row["dhcp"] = int(values["enable_dhcp"])
    for name, column in (("dns_nameservers", "dns_json"), ("host_routes", "routes_json")):
        if name in values:
            row[column] = orjson.dumps(values[name]).decode()
    return row


def _check_asked(values: dict[str, Any]) -> None:
    """Raise BadRequest unless the body says where the addresses come from: itself, or a subnet pool."""
    pooled = values.get("subnetpool_id") is not None or values["use_default_subnetpool"]
    if values.get("cidr") is None:
        if not pooled:
            raise allocating.bad("a subnetpool must be specified in the absence of a cidr")
        if values.get("allocation_pools"):
            raise allocating.bad("allocation_pools allowed only for specific subnet requests.")
        return
    if values.get("prefixlen") is not None:
        raise allocating.bad("cidr and prefixlen must not be supplied together")
    block = ipaddress.ip_network(values["cidr"])
    if block.version != values["ip_version"]:
        raise invalid(f"cidr '{block}' does not match the ip_version '{values['ip_version']}'")
    _check_block(block)


def _check_block(block: Block) -> None:
    """Raise BadRequest where no network of hosts can be made of it."""
    if block.prefixlen == 0:
        raise invalid("0 is not allowed as CIDR prefix length")
    if block.prefixlen > block.max_prefixlen - 2:
        raise invalid("Subnet has a prefix length that is incompatible with DHCP service enabled")
    if block.is_multicast or block.is_loopback:
        raise invalid(f"subnet {block} is multicast or loopback")


def _check_servers(servers: list[str], subnet: str) -> None:
    if len(servers) > MAX_NAME_SERVERS:
        raise errors.BadRequest(
            f"Unable to complete operation for {subnet}. The number of DNS nameservers exceeds the limit "
            f"{MAX_NAME_SERVERS}.",
            kind="DNSNameServersExhausted",
        )


def _check_modes(values: dict[str, Any]) -> None:
    ra_mode, address_mode = values["ipv6_ra_mode"], values["ipv6_address_mode"]
    if (ra_mode or address_mode) and values["ip_version"] == 4:
        raise invalid("ipv6_ra_mode or ipv6_address_mode cannot be set when ip_version is 4")
    if ra_mode and address_mode and ra_mode != address_mode:
        raise invalid(
            f"ipv6_ra_mode set to '{ra_mode}' with ipv6_address_mode set to '{address_mode}' is not valid. If both "
            "attributes are set, they must be the same value"
        )


def _pools(given: list[Pool] | None, block: Block, gateway: str | None) -> list[Pool]:
    """The allocation pools, checked: those given, or all but the gateway. Raises BadRequest, Conflict."""
    _check_gateway(block, gateway)
    if given is None:
        return changes.default_pools(block, gateway)
    ranges = sorted(((_range(pool, block), pool) for pool in given), key=lambda item: item[0])
    for ((_, end), pool), ((start, _), following) in pairwise(ranges):
        if start <= end:
            raise errors.Conflict(
                f"Found overlapping allocation pools: {_said(pool)} {_said(following)} for subnet {block}.",
                kind="OverlappingAllocationPools",
            )
    _check_pools_gateway(given, gateway)
    return [pool for _, pool in ranges]


def _said(pool: Pool) -> str:
    return f"{pool['start']}-{pool['end']}"


def _range(pool: Pool, block: Block) -> tuple[int, int]:
    start, end = ipaddress.ip_address(pool["start"]), ipaddress.ip_address(pool["end"])
    if start.version != block.version or end.version != block.version or int(start) > int(end):
        raise errors.BadRequest(f"The allocation pool {_said(pool)} is not valid.", kind="InvalidAllocationPool")
    first, last = changes.host_range(block)
    low, high = (changes.offset_of(block, pool[name]) for name in ("start", "end"))
    if low < first or (high > last and last < MAX_OFFSET) or start not in block or end not in block:
        raise errors.BadRequest(
            f"The allocation pool {_said(pool)} spans beyond the subnet cidr {block}.", kind="OutOfBoundsAllocationPool"
        )
    return low, high


def _check_gateway(block: Block, gateway: str | None) -> None:
    if gateway is None:
        return
    first, last = changes.host_range(block)
    if ipaddress.ip_address(gateway) not in block or not first <= changes.offset_of(block, gateway) <= last:
        raise invalid("Gateway is not valid on subnet")


def _check_pools_gateway(pools: list[Pool], gateway: str | None) -> None:
    for pool in pools:
        low, high = (int(ipaddress.ip_address(pool[name])) for name in ("start", "end"))
        if gateway is not None and low <= int(ipaddress.ip_address(gateway)) <= high:
            raise errors.Conflict(
                f"Gateway ip {gateway} conflicts with allocation pool {_said(pool)}.",
                kind="GatewayConflictWithAllocationPools",
            )


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/subnets/{id}."""
    values = a.read(call, "subnet", TABLE)
    target = call.target
    _check_servers(values.get("dns_nameservers", []), target.uuid)
    row = _columns(values)
    with call.services.db.write() as conn:
        changes.lock_network(conn, target.network_id)
        target = queries.find(conn, SUBNETS, target.uuid, None)
        if "gateway_ip" in values or values.get("allocation_pools") is not None:
            if values.get("gateway_ip") and target.gateway is None:
                network = queries.find(conn, NETWORKS, target.network_uuid, None)
                _check_others(call, conn, ipaddress.ip_network(target.cidr), network, values["gateway_ip"])
            row |= _change_range(conn, target, values)
        changes.touch(conn, Subnet, target.id, row)
        found = queries.find(conn, SUBNETS, target.uuid, None)
        return {"subnet": view_one(call, SUBNETS, found, views.subnets, conn)}


def _change_range(conn: Connection, target: Any, values: dict[str, Any]) -> dict[str, Any]:
    """The columns of another gateway or other pools; the gateway's reservation moves."""
    block = ipaddress.ip_network(target.cidr)
    gateway = values.get("gateway_ip", target.gateway)
    now = views.pools(target)
    given = values.get("allocation_pools")
    pools = _pools(now if given is None else given, block, gateway)
    if gateway != target.gateway:
        if target.gateway and not changes.reserve(conn, target.id, block, target.gateway):
            raise errors.Conflict(
                f"Current gateway ip {target.gateway} already in use by a port. Unable to update.",
                kind="GatewayIpInUse",
            )
        if not changes.reserve(conn, target.id, block, gateway):
            raise errors.Conflict(
                f"Unable to complete operation for network {target.network_uuid}. The IP address {gateway} is in use.",
                kind="IpAddressInUse",
            )
        changes.unreserve(conn, target.id, target.gateway)
    return {"gateway": gateway, **changes.pool_columns(block, pools)}


def remove(call: Call) -> None:
    """DELETE /v2.0/subnets/{id}. Raises Conflict (SubnetInUse)."""
    with call.services.db.write() as conn:
        if not changes.delete_subnet(conn, call.target.id):
            raise errors.Conflict(
                f"Unable to complete operation on subnet {call.target.uuid}: One or more ports have an IP allocation "
                "from this subnet.",
                kind="SubnetInUse",
            )
