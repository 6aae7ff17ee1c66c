# SPDX-License-Identifier: Apache-2.0
"""How networks, subnets, ports and routers look in the Networking API. Each function takes a whole page of rows."""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
from sqlalchemy import Connection, Select

from computeapi import clock
from computeapi.api.network.common import is_admin
from computeapi.db.queries import networks as queries
from computeapi.db.queries import subnet_pools
from computeapi.db.queries.networks import ZONE, Found
from computeapi.endpoint import Call

DEFAULT_MTU = 1500


def common(row: Found, name: str | None = None) -> dict[str, Any]:
    """What all nouns show."""
    return {
        "id": row.uuid,
        "name": row.name if name is None else name,
        "tenant_id": row.project_id or "",
        "project_id": row.project_id or "",
        "description": row.description,
        "tags": orjson.loads(row.tags_json),
        "created_at": clock.api(row.created_at),
        "updated_at": clock.api(row.updated_at or row.created_at),
        "revision_number": row.revision,
    }


def networks(call: Call, conn: Connection, rows: list[Found], keys: Select[Any]) -> list[dict[str, Any]]:
    """Networks with their subnets' ids; administrators see the provider's half too."""
    subnets, scopes = queries.subnets_of(conn, keys), subnet_pools.scopes_of(conn, keys)
    admin = is_admin(call)
    shown = []
    for row in rows:
        item = common(row) | {
            "admin_state_up": bool(row.admin_state_up),
            "status": "ACTIVE",
            "shared": bool(row.shared),
            "router:external": bool(row.external),
            "mtu": row.mtu or DEFAULT_MTU,
            "subnets": subnets.get(row.id, []),
            "port_security_enabled": bool(row.port_security),
            "availability_zones": [ZONE],
            "availability_zone_hints": [],
            "ipv4_address_scope": scopes.get((row.id, 4)),
            "ipv6_address_scope": scopes.get((row.id, 6)),
        }
        if row.external:
            item["is_default"] = bool(row.is_default)
        if admin:
            item |= {
                "provider:network_type": network_type(row),
                "provider:physical_network": row.physical_network,
                "provider:segmentation_id": row.vlan,
            }
        shown.append(item)
    return shown


def network_type(row: Found) -> str:
    """`provider:network_type`: what was asked for, else what it is on its hosts."""
    return str(row.network_type or ("vlan" if row.vlan is not None else "local"))


def subnets(_call: Call, _conn: Connection, rows: list[Found], _keys: Select[Any]) -> list[dict[str, Any]]:
    """Subnets."""
    return [
        common(row)
        | {
            "network_id": row.network_uuid,
            "ip_version": row.ip_version,
            "cidr": row.cidr,
            "gateway_ip": row.gateway,
            "enable_dhcp": bool(row.dhcp),
            "allocation_pools": pools(row),
            "dns_nameservers": orjson.loads(row.dns_json),
            "host_routes": orjson.loads(row.routes_json),
            "ipv6_ra_mode": row.ipv6_ra_mode,
            "ipv6_address_mode": row.ipv6_address_mode,
            "subnetpool_id": row.pool_uuid,
            "service_types": [],
        }
        for row in rows
    ]


def pools(row: Found) -> list[dict[str, str]]:
    """A subnet's allocation pools; of one that was made without its allocatable range, less a gateway at an end."""
    known: list[dict[str, str]] = orjson.loads(row.pools_json)
    first, last = row.first_offset, row.last_offset
    if known or first > last:
        return known
    base = ipaddress.ip_network(row.cidr).network_address
    if row.gateway == str(base + first):
        first += 1
    elif row.gateway == str(base + last):
        last -= 1
    return [{"start": str(base + first), "end": str(base + last)}]


def ports(call: Call, conn: Connection, rows: list[Found], keys: Select[Any]) -> list[dict[str, Any]]:
    """Ports with their addresses; administrators see the binding too."""
    fixed_ips = queries.fixed_ips_of(conn, keys)
    admin = is_admin(call)
    shown = []
    for row in rows:
        binding = orjson.loads(row.binding_json)
        item = common(row) | {
            "network_id": row.network_uuid,
            "mac_address": row.mac,
            "fixed_ips": fixed_ips.get(row.id, []),
            "device_id": row.device,
            "device_owner": device_owner(row),
            "status": row.status,
            "admin_state_up": bool(row.admin_state_up),
            "port_security_enabled": bool(row.port_security),
            "security_groups": orjson.loads(row.security_groups_json or b"[]"),
            "allowed_address_pairs": orjson.loads(row.address_pairs_json),
            "extra_dhcp_opts": orjson.loads(row.dhcp_options_json),
            "binding:vnic_type": binding.get("vnic_type", "normal"),
        }
        if admin:
            host = row.host or binding.get("host_id", "")
            item |= {
                "binding:host_id": host,
                "binding:profile": binding.get("profile", {}),
                "binding:vif_type": "bridge" if host else "unbound",
                "binding:vif_details": {"port_filter": True} if host else {},
            }
        shown.append(item)
    return shown


def device_owner(row: Found) -> str:
    """`device_owner`: that of a server names its zone."""
    if row.device_owner == "compute:nova" and row.zone:
        return f"compute:{row.zone}"
    return str(row.device_owner)


def routers(_call: Call, conn: Connection, rows: list[Found], keys: Select[Any]) -> list[dict[str, Any]]:
    """Routers with their gateways."""
    gateways = queries.gateways_of(conn, keys)
    return [
        common(row)
        | {
            "admin_state_up": bool(row.admin_state_up),
            "status": "ACTIVE",
            "external_gateway_info": _gateway_info(row, gateways.get(row.id)),
            "routes": orjson.loads(row.routes_json),
            "availability_zones": [ZONE],
            "availability_zone_hints": [],
            "flavor_id": None,
            "ha": False,
            "distributed": False,
        }
        for row in rows
    ]


def _gateway_info(row: Found, gateway: dict[str, Any] | None) -> dict[str, Any] | None:
    return gateway and {**gateway, "enable_snat": bool(row.enable_snat)}
