# SPDX-License-Identifier: Apache-2.0
"""Routers in the Networking API: their interfaces and their way out. Sentences: neutron/db/l3_db.py."""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.api.network import attributes as a
from computeapi.api.network import ports, views
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import is_admin, scope, view_one
from computeapi.api.network.creating import creator
from computeapi.api.network.networks import columns
from computeapi.db.models import Router
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import network_quotas
from computeapi.db.queries import networks as queries
from computeapi.db.queries import routers as statements
from computeapi.db.queries.networks import NETWORKS, PORTS, ROUTER_GATEWAY, ROUTER_INTERFACE, ROUTERS, SUBNETS
from computeapi.endpoint import Call

Routes = list[dict[str, str]]

_FIXED_IPS = a.items(a.record({}, {"subnet_id": a.identifier, "ip_address": a.address}), 5)
_GATEWAY = a.record({"network_id": a.identifier}, {"enable_snat": a.boolean, "external_fixed_ips": _FIXED_IPS})


def _gateway(value: Any) -> dict[str, Any] | None:
    """Null and an empty object mean none."""
    return _GATEWAY(value) if value else None


TABLE: dict[str, Attribute] = {
    **a.COMMON,
    "admin_state_up": Attribute(a.boolean, default=True),
    "external_gateway_info": Attribute(_gateway),
    "routes": Attribute(a.routes, post=False),
    "distributed": Attribute(a.nothing),
    "ha": Attribute(a.nothing),
    "flavor_id": Attribute(a.nothing),
    "availability_zone_hints": Attribute(a.zone_hints, put=False),
}
ROUTES: dict[str, Attribute] = {"routes": Attribute(a.routes)}  # of add_ and remove_extraroutes
_COLUMNS = {name: name for name in ("name", "description", "admin_state_up")}


def _bad(message: str) -> errors.BadRequest:
    return errors.BadRequest(f"Bad router request: {message}.", kind="BadRequest")


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    project_id = a.owner(call, values)
    services = call.services
    network_quotas.check(services.db, conn, services.settings, project_id, "router")
    key = statements.insert_router(
        conn,
        uuid=(router_uuid := str(uuid.uuid4())),
        project_id=project_id,
        created_at=clock.now(),
        **columns(values, _COLUMNS),
    )
    if values.get("external_gateway_info"):
        _set_gateway(call, conn, key, values["external_gateway_info"])
    found = queries.find(conn, ROUTERS, router_uuid, None)
    return view_one(call, ROUTERS, found, views.routers, conn)


create = creator("router", TABLE, _create)


def _answer(call: Call, conn: Connection, router_uuid: str) -> dict[str, Any]:
    found = queries.find(conn, ROUTERS, router_uuid, None)
    return {"router": view_one(call, ROUTERS, found, views.routers, conn)}


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/routers/{id}."""
    values = a.read(call, "router", TABLE)
    target = call.target
    row = columns(values, _COLUMNS)
    with call.services.db.write() as conn:
        statements.lock_router(conn, target.id)
        if "external_gateway_info" in values:
            _set_gateway(call, conn, target.id, values["external_gateway_info"])
        if "routes" in values:
            _check_routes(conn, target, values["routes"])
            row["routes_json"] = orjson.dumps(values["routes"]).decode()
        changes.touch(conn, Router, target.id, row)
        return _answer(call, conn, target.uuid)


def add_routes(call: Call) -> dict[str, Any]:
    """PUT /v2.0/routers/{id}/add_extraroutes: beside those that are there."""
    return _change_routes(call, lambda routes, given: routes + [route for route in given if route not in routes])


def remove_routes(call: Call) -> dict[str, Any]:
    """PUT /v2.0/routers/{id}/remove_extraroutes: those that are not there are none."""
    return _change_routes(call, lambda routes, given: [route for route in routes if route not in given])


def _change_routes(call: Call, choose: Callable[[Routes, Routes], Routes]) -> dict[str, Any]:
    given, target = a.read(call, "router", ROUTES).get("routes"), call.target
    if given is None:
        raise _bad("routes are missing")
    with call.services.db.write() as conn:
        statements.lock_router(conn, target.id)
        now = orjson.loads(queries.find(conn, ROUTERS, target.uuid, None).routes_json)
        routes = choose(now, given)
        if len(routes) > a.MAX_ROUTES:
            raise errors.BadRequest(
                f"Unable to complete operation for {target.uuid}. "
                f"The number of routes exceeds the maximum {a.MAX_ROUTES}.",
                kind="RoutesExhausted",
            )
        _check_routes(conn, target, routes)
        changes.touch(conn, Router, target.id, {"routes_json": orjson.dumps(routes).decode()})
        return _answer(call, conn, target.uuid)


def _check_routes(conn: Connection, target: Any, routes: list[dict[str, str]]) -> None:
    blocks = [ipaddress.ip_network(cidr) for cidr in statements.cidrs_of(conn, target.id)]
    for route in routes:
        hop = ipaddress.ip_address(route["nexthop"])
        if not any(hop in block for block in blocks):
            raise errors.BadRequest(
                f"Invalid format for routes: {routes}, the nexthop is not connected with router", kind="InvalidRoutes"
            )


def _set_gateway(call: Call, conn: Connection, key: int, info: dict[str, Any] | None) -> None:
    """The router's way out: a port on an external network; the old one's address is free."""
    old = statements.gateway_port(conn, key)
    if info is None:
        if old is not None:
            statements.delete_port(conn, old.id)
        return
    fixed_ips = info.get("external_fixed_ips") or None
    if fixed_ips:
        call.check("update_router:external_gateway_info:external_fixed_ips")
    if "enable_snat" in info:
        statements.set_snat(conn, key, info["enable_snat"])
    network = queries.find(conn, NETWORKS, info["network_id"], scope(call))
    if not network.external:
        raise _bad(f"Network {network.uuid} is not an external network")
    if old is not None:
        if old.network_id == network.id and not fixed_ips:
            return
        statements.delete_port(conn, old.id)
    row = {"router_id": key, "device_owner": ROUTER_GATEWAY}
    ports.make(conn, network, None, fixed_ips, row)


def remove(call: Call) -> None:
    """DELETE /v2.0/routers/{id}. Raises Conflict (RouterInUse)."""
    with call.services.db.write() as conn:
        statements.lock_router(conn, call.target.id)
        if statements.has_interfaces(conn, call.target.id):
            raise errors.Conflict(f"Router {call.target.uuid} still has ports", kind="RouterInUse")
        _set_gateway(call, conn, call.target.id, None)
        statements.delete_router(conn, call.target.id)


# --- interfaces ---


def _wanted(call: Call) -> dict[str, str]:
    """subnet_id or port_id of the body, which for these two has no wrapper."""
    body = call.body
    if not isinstance(body, dict):
        raise _bad("Either subnet_id or port_id must be specified")
    try:
        wanted = {name: a.identifier(body[name]) for name in ("subnet_id", "port_id") if body.get(name) is not None}
    except ValueError as error:
        raise errors.BadRequest(f"Invalid input for operation: {error}.", kind="InvalidInput") from None
    if not wanted:
        raise _bad("Either subnet_id or port_id must be specified")
    return wanted


def add_interface(call: Call) -> dict[str, Any]:
    """PUT /v2.0/routers/{id}/add_router_interface: by subnet (the port gets its gateway's address) or by port."""
    wanted = _wanted(call)
    if len(wanted) > 1:
        raise _bad("Cannot specify both subnet-id and port-id")
    target = call.target
    with call.services.db.write() as conn:
        statements.lock_router(conn, target.id)
        if "port_id" in wanted:
            port_uuid = _add_port(call, conn, target, wanted["port_id"])
        else:
            port_uuid = _add_subnet(call, conn, target, wanted["subnet_id"])
        return _interface(conn, target, queries.find(conn, PORTS, port_uuid, None))


def _interface(conn: Connection, router: Any, port: Any) -> dict[str, Any]:
    fixed_ips = queries.fixed_ips_of(conn, queries.keys(PORTS, port.id)).get(port.id, [])
    subnets = [item["subnet_id"] for item in fixed_ips]
    return {
        "id": router.uuid,
        "tenant_id": port.project_id or "",
        "project_id": port.project_id or "",
        "network_id": port.network_uuid,
        "port_id": port.uuid,
        "subnet_id": subnets[0] if subnets else None,
        "subnet_ids": subnets,
    }


def _check_overlap(conn: Connection, router: Any, subnet_uuid: str, cidr: str) -> None:
    block = ipaddress.ip_network(cidr)
    for other_uuid, other in statements.subnets_of(conn, router.id):
        if other_uuid == subnet_uuid:
            raise _bad(f"Router already has a port on subnet {subnet_uuid}")
        if ipaddress.ip_network(other).overlaps(block):
            raise _bad(f"Cidr {cidr} of subnet {subnet_uuid} overlaps with cidr {other} of subnet {other_uuid}")


def _add_subnet(call: Call, conn: Connection, router: Any, subnet_uuid: str) -> str:
    subnet = queries.find(conn, SUBNETS, subnet_uuid, scope(call))
    if subnet.network_project_id != call.context.project_id and not is_admin(call):
        raise errors.Forbidden("A router is connected to networks of its own project.")
    if subnet.gateway is None:
        raise _bad("Subnet for router interface must have a gateway IP")
    _check_overlap(conn, router, subnet.uuid, subnet.cidr)
    changes.lock_network(conn, subnet.network_id)
    row = {"router_id": router.id, "device_owner": ROUTER_INTERFACE}
    key, port_uuid = statements.insert_port(conn, subnet.network_id, router.project_id, row)
    if not changes.gateway_to_port(conn, subnet.id, subnet.gateway, key):
        raise errors.Conflict(
            f"Unable to complete operation for network {subnet.network_uuid}. "
            f"The IP address {subnet.gateway} is in use.",
            kind="IpAddressInUse",
        )
    return port_uuid


def _add_port(call: Call, conn: Connection, router: Any, port_uuid: str) -> str:
    port = queries.find(conn, PORTS, port_uuid, scope(call))
    if port.project_id != call.context.project_id and not is_admin(call):
        raise errors.Forbidden("A router is connected by ports of its own project.")
    if port.device:
        raise ports.in_use(port)
    found = statements.addresses_of(conn, port.id)
    if not found:
        raise _bad("Port must have a fixed IP")
    for subnet_uuid, cidr in found:
        _check_overlap(conn, router, subnet_uuid, cidr)
    statements.attach_port(conn, port.id, router.id, ROUTER_INTERFACE)
    return str(port.uuid)


def remove_interface(call: Call) -> dict[str, Any]:
    """PUT /v2.0/routers/{id}/remove_router_interface: the port is gone, the gateway's address kept back again."""
    wanted, target = _wanted(call), call.target
    with call.services.db.write() as conn:
        statements.lock_router(conn, target.id)
        port_uuid = statements.interface(conn, target.id, wanted.get("port_id"), wanted.get("subnet_id"))
        if port_uuid is None:
            raise _no_interface(target.uuid, wanted)
        port = queries.find(conn, PORTS, port_uuid, None)
        answer = _interface(conn, target, port)
        statements.delete_port(conn, port.id)
        statements.keep_gateways_back(conn, port.network_id)
        return answer


def _no_interface(router_uuid: str, wanted: dict[str, str]) -> errors.NotFound:
    if "port_id" in wanted:
        return errors.NotFound(
            f"Router {router_uuid} does not have an interface with id {wanted['port_id']}",
            kind="RouterInterfaceNotFound",
        )
    return errors.NotFound(
        f"Router {router_uuid} has no interface on subnet {wanted['subnet_id']}",
        kind="RouterInterfaceNotFoundForSubnet",
    )
