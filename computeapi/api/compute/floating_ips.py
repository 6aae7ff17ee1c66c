# SPDX-License-Identifier: Apache-2.0
"""os-floating-ips and the server actions addFloatingIp and removeFloatingIp: the rows of the Networking API.

Keys, checks and codes: nova/api/openstack/compute/floating_ips.py. Up to 2.35; the actions up to 2.43.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute import remote_interfaces
from computeapi.api.compute.remote_calls import is_remote
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.api.network import floating_ips as networking
from computeapi.api.network.common import is_admin
from computeapi.db.models import Port
from computeapi.db.queries import addresses, floating_pools, network_quotas, quotas, servers
from computeapi.db.queries import floating_ips as queries
from computeapi.db.queries import networks as lookups
from computeapi.db.queries.addresses import NoMoreAddresses
from computeapi.db.queries.floating_ips import FLOATING_IPS
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Endpoint, Handler, endpoint
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule

LAST = "2.35"
LAST_ACTION = "2.43"
FLOATING = "os_compute_api:os-floating-ips:"
_URL, _ONE = "/os-floating-ips", "/os-floating-ips/{id}"
_ACTION = ("POST", "/servers/{server_id}/action")

RULES = [
    rule(FLOATING + "list", PROJECT_READER, "List floating IPs.", ("GET", _URL)),
    rule(FLOATING + "show", PROJECT_READER, "Show a floating IP.", ("GET", _ONE)),
    rule(FLOATING + "create", PROJECT_MEMBER, "Take a floating IP.", ("POST", _URL)),
    rule(FLOATING + "delete", PROJECT_MEMBER, "Give a floating IP back.", ("DELETE", _ONE)),
    rule(FLOATING + "add", PROJECT_MEMBER, "Give a server a floating IP.", _ACTION),
    rule(FLOATING + "remove", PROJECT_MEMBER, "Take a floating IP from a server.", _ACTION),
]

# --- schemas ---

CREATE: p.Schema = {"type": ["object", "null"], "properties": {"pool": {"type": ["string", "null"]}}}
_ADDRESS: p.Schema = {"type": "string", "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}]}
_ADD = p.wrapped("addFloatingIp", p.obj({"address": _ADDRESS, "fixed_address": _ADDRESS}, "address"))
_REMOVE = p.wrapped("removeFloatingIp", p.obj({"address": _ADDRESS}, "address"))

# --- view ---


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": row.uuid,
        "ip": row.address,
        "fixed_ip": row.fixed_address,
        "instance_id": row.server_uuid,
        "pool": row.network_name or row.network_uuid,
    }


# --- handlers ---


def _load(call: Call, conn: Connection) -> Any:
    identifier = call.params["floating_ip_id"]
    try:
        uuid.UUID(identifier)
    except ValueError:
        raise errors.BadRequest(f"The id {identifier} is not a UUID.") from None
    found = lookups.get(conn, FLOATING_IPS, identifier, None if is_admin(call) else call.project_id)
    if found is None or found.project_id is None:
        raise errors.NotFound(f"Floating IP not found for ID {identifier}")
    return found


def index(call: Call) -> dict[str, Any]:
    """GET /os-floating-ips."""
    with call.services.db.read() as conn:
        return {"floating_ips": [_view(row) for row in queries.of_project(conn, call.project_id)]}


def show(call: Call) -> dict[str, Any]:
    """GET /os-floating-ips/{id}."""
    with call.services.db.read() as conn:
        return {"floating_ip": _view(_load(call, conn))}


def create(call: Call) -> dict[str, Any]:
    """POST /os-floating-ips: any address of a pool. Raises NotFound (the pool, or an address), QuotaExceeded."""
    name = (call.body or {}).get("pool")
    services = call.services
    with services.db.write() as conn:
        services.db.lock(conn, quotas.lock_name(call.project_id))
        pool = floating_pools.pool(conn, name, services.settings.default_floating_pool)
        if pool is None:
            raise errors.NotFound("Floating IP pool not found.")
        limits = quotas.limits_for(conn, services.settings, call.project_id)
        most = network_quotas.least(limits["floating_ips"], network_quotas.said(conn, call.project_id, "floatingip"))
        if 0 <= most <= queries.count(conn, call.project_id):
            where = f" in pool {name}" if name else ""
            raise errors.QuotaExceeded(f"IP allocation over quota{where}.")
        try:
            floating_uuid = floating_pools.take(conn, call.project_id, pool.id)
        except NoMoreAddresses:
            where = f"in pool {name}" if name else "available"
            raise errors.NotFound(f"No more floating IPs {where}.") from None
        return {"floating_ip": _view(lookups.find(conn, FLOATING_IPS, floating_uuid, None))}


def delete(call: Call) -> None:
    """DELETE /os-floating-ips/{id}: a server that has it has it no more."""
    with call.services.db.write() as conn:
        found = _load(call, conn)
        queries.lock(conn, found.id)
        floating_pools.give_back(conn, lookups.find(conn, FLOATING_IPS, found.uuid, None))


# --- server actions ---


def _floating(call: Call, conn: Connection, address: str) -> Any:
    found = queries.by_address(conn, address, None if is_admin(call) else call.project_id)
    if found is None or not queries.lock(conn, found.id):
        raise errors.NotFound("floating IP not found")
    return lookups.find(conn, FLOATING_IPS, found.uuid, None)


def _server(conn: Connection, target: ServerRow) -> ServerRow:
    server = servers.lock_row(conn, target.id)
    if server is None:
        raise errors.NotFound(f"Instance {target.uuid} could not be found.")
    return server


def add_to_server(call: Call) -> None:
    """addFloatingIp: for the fixed address that is named, else the server's first IPv4 one."""
    given = call.body["addFloatingIp"]
    if is_remote(call):
        with call.services.db.read() as conn:
            nics = addresses.nics(conn, call.target.id)
        rows = [_Fixed(nic.port_id, each.address, each.version) for nic in nics for each in nic.addresses]
        port_id, fixed_address = _choose(call.target, rows, given)
        remote_interfaces.add_floating_ip(call, str(port_id), fixed_address, given["address"])
        return
    with call.services.db.write() as conn:
        server = _server(conn, call.target)
        fixed = queries.fixed_addresses(conn, Port.server_id == server.id)
        port_key, address = _choose(server, fixed, given)
        found = _floating(call, conn, given["address"])
        try:
            networking.associate(conn, found, port_key, address)
        except errors.Conflict as error:
            raise errors.BadRequest(error.message) from None
        lifecycle.follow(conn, call.services, call.context, server, "addFloatingIp", found.address)


class _Fixed(NamedTuple):
    """A fixed address of a server's port, by the port's id."""

    port_id: str
    address: str
    ip_version: int


def _choose(server: ServerRow, fixed: Sequence[Any], given: dict[str, str]) -> tuple[Any, str]:
    """Port (as `fixed` has it) and fixed address. Raises BadRequest."""
    if not fixed:
        raise errors.BadRequest("No fixed IPs associated to instance")
    wanted = given.get("fixed_address")
    if wanted is not None:
        chosen = [row for row in fixed if row.address == wanted]
        if not chosen:
            raise errors.BadRequest("Specified fixed address not assigned to instance")
    else:
        chosen = [row for row in fixed if row.ip_version == 4]
    if not chosen or chosen[0].ip_version != 4:
        raise errors.BadRequest(
            f"Unable to associate floating IP {given['address']} to any fixed IPs for instance {server.uuid}. Instance "
            "has no fixed IPv4 addresses to associate."
        )
    return chosen[0].port_id, chosen[0].address


def remove_from_server(call: Call) -> None:
    """removeFloatingIp. Raises Conflict where the server does not have it."""
    address = call.body["removeFloatingIp"]["address"]
    with call.services.db.write() as conn:
        server = _server(conn, call.target)
        found = _floating(call, conn, address)
        if found.server_uuid != server.uuid:
            raise errors.Conflict(f"Floating IP {address} is not associated with instance {server.uuid}.")
        floating_pools.attach(conn, found, None, None)
        lifecycle.follow(conn, call.services, call.context, server, "removeFloatingIp")


def _row(handler: Handler, verb: str, body: p.Schema) -> Endpoint:
    return endpoint(handler, FLOATING + verb, loads=load_server, body=body, status=202, until=LAST_ACTION)


SERVER_ACTIONS: dict[str, Endpoint] = {
    "addFloatingIp": _row(add_to_server, "add", _ADD),
    "removeFloatingIp": _row(remove_from_server, "remove", _REMOVE),
}
