# SPDX-License-Identifier: Apache-2.0
"""os-floating-ips-bulk: the operator puts addresses into a pool, or takes them out. Up to 2.35; administrators only.

Checks and codes: Nova before it dropped nova-network (nova/api/openstack/compute/floating_ips_bulk.py).
"""

from __future__ import annotations

import ipaddress
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.db.queries import floating_ips as queries
from computeapi.db.queries import floating_pools
from computeapi.db.queries.addresses import AddressInUse
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

LAST = "2.35"
BULK = "os_compute_api:os-floating-ips-bulk"
RULES = [
    rule(
        BULK,
        ADMIN,
        "See, add and remove the floating IPs of pools.",
        ("GET", "/os-floating-ips-bulk"),
        ("POST", "/os-floating-ips-bulk"),
        ("PUT", "/os-floating-ips-bulk/delete"),
    )
]
MAX_ADDRESSES = 65_536  # a request; larger pools are external networks

# --- schemas ---

_RANGE: p.Schema = {"type": "string", "pattern": "^[0-9./a-fA-F:]*$", "minLength": 1, "maxLength": 64}
_WORD: p.Schema = {"type": "string", "minLength": 1, "maxLength": 255}
_INTERFACE: p.Schema = {"type": "string", "minLength": 1, "maxLength": 64}
CREATE = p.wrapped(
    "floating_ips_bulk_create",
    p.obj({"ip_range": _RANGE, "pool": _WORD, "interface": _INTERFACE}, "ip_range"),
)
DELETE = p.obj({"ip_range": _RANGE}, "ip_range")

# --- handlers ---


def _view(row: Any, default_interface: str) -> dict[str, Any]:
    return {
        "address": row.address,
        "pool": row.network_name,
        "interface": row.interface or default_interface,
        "project_id": row.project_id,
        "instance_uuid": row.server_uuid,
        "fixed_ip": row.fixed_address,
    }


def not_found(host: str) -> errors.NotFound:
    """What Nova says of a host without floating IPs."""
    return errors.NotFound(f"Floating IP not found for host {host}.")


def index(call: Call) -> dict[str, Any]:
    """GET /os-floating-ips-bulk."""
    return {"floating_ip_info": _listed(call, None)}


def by_host(call: Call) -> dict[str, Any]:
    """GET /os-floating-ips-bulk/{host}: those of servers on that host."""
    host = call.params["host"]
    found = _listed(call, host)
    if not found:
        raise not_found(host)
    return {"floating_ip_info": found}


def _listed(call: Call, host: str | None) -> list[dict[str, Any]]:
    with call.services.db.read() as conn:
        rows = queries.everyones(conn, host)
    return [_view(row, call.services.settings.public_interface) for row in rows]


def _block(text: str) -> Any:
    """The network that a range stands for; a single address is one of one."""
    try:
        if "/" not in text:
            return ipaddress.ip_network(text)
        block = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise errors.BadRequest(f"Invalid input received: {text} is not a valid IP range") from None
    if block.version != 4:
        raise errors.BadRequest("Invalid input received: floating IPs are IPv4 addresses")
    if block.num_addresses < 4:
        raise errors.BadRequest(
            f"Invalid input received: /{block.prefixlen} should be specified as single address(es) not in cidr format"
        )
    if block.num_addresses > MAX_ADDRESSES:
        raise errors.BadRequest(f"Invalid input received: more than {MAX_ADDRESSES} addresses")
    return block


def create(call: Call) -> dict[str, Any]:
    """POST /os-floating-ips-bulk: the range's host addresses wait in the pool. Raises Conflict where one is known."""
    given, settings = call.body["floating_ips_bulk_create"], call.services.settings
    block = _block(given["ip_range"])
    if block.version != 4:
        raise errors.BadRequest("Invalid input received: floating IPs are IPv4 addresses")
    pool = given.get("pool", settings.default_floating_pool)
    wanted = [str(address) for address in block.hosts()]
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "floating pools")
        known = set(wanted) & {row.address for row in floating_pools.known(conn, block)}
        if known:
            raise errors.Conflict(f"Floating IP {min(known)} already exists.")
        network_key, subnet_key = floating_pools.ensure_pool(conn, pool, block)
        try:
            floating_pools.add(conn, network_key, subnet_key, wanted, given.get("interface"))
        except AddressInUse as error:
            raise errors.Conflict(error.message) from None
    interface = given.get("interface", settings.public_interface)
    return {"floating_ips_bulk_create": {"ip_range": given["ip_range"], "pool": pool, "interface": interface}}


def delete(call: Call) -> dict[str, Any]:
    """POST and PUT /os-floating-ips-bulk/delete: the range's addresses are floating IPs no more."""
    text = call.body["ip_range"]
    block = _block(text)
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "floating pools")
        floating_pools.drop(conn, floating_pools.known(conn, block))
    return {"floating_ips_bulk_delete": text}
