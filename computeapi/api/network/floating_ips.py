# SPDX-License-Identifier: Apache-2.0
"""Floating IPs in the Networking API. Checks and sentences: neutron/db/l3_db.py. No router is needed: the hosts
translate where a router would. But where there are routers, they must lead there."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select

from computeapi import errors
from computeapi.api.network import attributes as a
from computeapi.api.network import views
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import scope, view_one
from computeapi.api.network.creating import creator
from computeapi.db.models import Port
from computeapi.db.queries import floating_ips as queries
from computeapi.db.queries import floating_pools, network_quotas
from computeapi.db.queries import networks as lookups
from computeapi.db.queries.addresses import AddressInUse, NoMoreAddresses
from computeapi.db.queries.floating_ips import FLOATING_IPS
from computeapi.db.queries.networks import NETWORKS, PORTS, SUBNETS, Found
from computeapi.endpoint import Call

_PORT = a.or_none(a.identifier)
_ADDRESS = a.or_none(a.address)

UPDATE: dict[str, Attribute] = {
    "port_id": Attribute(_PORT),
    "fixed_ip_address": Attribute(_ADDRESS),
    "description": Attribute(a.text(), default=""),
    "qos_policy_id": Attribute(a.nothing),
}
CREATE: dict[str, Attribute] = {
    **UPDATE,
    "floating_network_id": Attribute(a.identifier, required=True),
    "floating_ip_address": Attribute(_ADDRESS, default=None, rule="create_floatingip:floating_ip_address"),
    "subnet_id": Attribute(_PORT, default=None),
    "project_id": Attribute(a.project),
    "dns_name": Attribute(a.nothing),
    "dns_domain": Attribute(a.nothing),
}


def view(_call: Call, conn: Connection, rows: list[Found], keys: Select[Any]) -> list[dict[str, Any]]:
    """Floating IPs, with what they are for."""
    routers = queries.routers_of(conn, keys)
    shown = []
    for row in rows:
        item = {name: value for name, value in views.common(row, name=row.address).items() if name != "name"}
        shown.append(
            item
            | {
                "floating_ip_address": row.address,
                "floating_network_id": row.network_uuid,
                "fixed_ip_address": row.fixed_address,
                "port_id": row.port_uuid,
                "router_id": routers.get(row.id),
                "status": row.status,
                "port_details": _port_details(row) if row.port_uuid else None,
                "port_forwardings": [],
                "qos_policy_id": None,
            }
        )
    return shown


def _port_details(row: Found) -> dict[str, Any]:
    return {
        "name": row.port_name,
        "network_id": row.port_network_uuid,
        "mac_address": row.mac,
        "admin_state_up": bool(row.admin_state_up),
        "status": row.port_status,
        "device_id": row.device,
        "device_owner": views.device_owner(row),
    }


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """Raises BadRequest, NotFound (network, port, way out), Conflict (no address, OverQuota)."""
    project_id = a.owner(call, values) or ""
    services = call.services
    network = lookups.find(conn, NETWORKS, values["floating_network_id"], scope(call))
    if not network.external:
        raise _bad(f"Network {network.uuid} is not a valid external network")
    target = _target(call, conn, values)
    network_quotas.check(services.db, conn, services.settings, project_id, "floatingip")
    floating_uuid = _take(call, conn, network, project_id, values)
    found = lookups.find(conn, FLOATING_IPS, floating_uuid, None)
    if target:
        associate(conn, found, *target)
    return _answer(call, conn, floating_uuid)["floatingip"]


create = creator("floatingip", CREATE, _create)


def _bad(message: str) -> errors.BadRequest:
    return errors.BadRequest(f"Bad floatingip request: {message}.", kind="BadRequest")


def _take(call: Call, conn: Connection, network: Any, project_id: str, values: dict[str, Any]) -> str:
    more: dict[str, Any] = {"description": values["description"]}
    wanted = values["floating_ip_address"]
    if values["subnet_id"]:
        subnet = lookups.get(conn, SUBNETS, values["subnet_id"], None)
        if subnet is None or subnet.network_id != network.id:
            raise _bad(f"Subnet {values['subnet_id']} is not on network {network.uuid}")
        more["subnet_id"] = subnet.id
    try:
        return floating_pools.take(conn, project_id, network.id, wanted, **more)
    except AddressInUse:
        raise errors.Conflict(
            f"IP address {wanted} already allocated in network {network.uuid}", kind="IpAddressAlreadyAllocated"
        ) from None
    except NoMoreAddresses:
        if wanted:
            raise errors.BadRequest(
                f"IP address {wanted} is not a valid IP for any of the subnets on the specified network.",
                kind="InvalidIpForNetwork",
            ) from None
        raise errors.Conflict(
            f"No more IP addresses available on network {network.uuid}.", kind="IpAddressGenerationFailure"
        ) from None


def _answer(call: Call, conn: Connection, floating_uuid: str) -> dict[str, dict[str, Any]]:
    found = lookups.find(conn, FLOATING_IPS, floating_uuid, None)
    return {"floatingip": view_one(call, FLOATING_IPS, found, view, conn)}


def _target(call: Call, conn: Connection, values: dict[str, Any]) -> tuple[int, str] | None:
    """The port's key and the fixed address that a body asks for; None where it asks for none."""
    wanted = values.get("fixed_ip_address")
    if values.get("port_id") is None:
        if wanted:
            raise _bad("fixed_ip_address cannot be specified without a port_id")
        return None
    port = lookups.find(conn, PORTS, values["port_id"], scope(call))
    if port.network_external:
        raise _bad(f"Port {port.uuid} is on an external network")
    usable = [row.address for row in queries.fixed_addresses(conn, Port.id == port.id) if row.ip_version == 4]
    if wanted:
        if wanted not in usable:
            raise _bad(f"Port {port.uuid} does not have fixed ip {wanted}")
        return port.id, wanted
    if not usable:
        raise _bad(f"Cannot add floating IP to port {port.uuid} that has no fixed IPv4 addresses")
    if len(usable) > 1:
        raise _bad(
            f"Port {port.uuid} has multiple fixed IPv4 addresses. Must provide a specific IPv4 address when assigning "
            "a floating IP"
        )
    return port.id, usable[0]


def associate(conn: Connection, row: Found, port_key: int, fixed_address: str) -> None:
    """A floating IP is for that address. Raises Conflict where another one of its network is, NotFound where the
    address has routers and none of them leads to that network."""
    if queries.has_one(conn, port_key, fixed_address, row.network_id, row.id):
        raise errors.Conflict(
            f"Cannot associate floating IP {row.address} ({row.uuid}) using fixed IP {fixed_address}, as that fixed IP "
            f"already has a floating IP on external network {row.network_uuid}.",
            kind="FloatingIPPortAlreadyAssociated",
        )
    ways = queries.ways_out(conn, port_key, fixed_address)
    if ways and row.network_id not in ways:
        raise errors.NotFound(
            f"External network {row.network_uuid} is not reachable from the subnet of {fixed_address}. Therefore, "
            f"cannot associate Port with a Floating IP.",
            kind="ExternalGatewayForFloatingIPNotFound",
        )
    floating_pools.attach(conn, row, port_key, fixed_address)


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/floatingips/{id}: port_id null takes it from its port."""
    values = a.read(call, "floatingip", UPDATE)
    with call.services.db.write() as conn:
        found = _locked(conn, call.target)
        if "port_id" in values:
            target = _target(call, conn, values)
            if target:
                associate(conn, found, *target)
            else:
                floating_pools.attach(conn, found, None, None)
        elif values.get("fixed_ip_address"):
            target = _target(call, conn, {**values, "port_id": found.port_uuid})
            if target:
                associate(conn, found, *target)
        if "description" in values:
            queries.change(conn, found.id, description=values["description"])
        return _answer(call, conn, found.uuid)


def _locked(conn: Connection, target: Found) -> Found:
    if not queries.lock(conn, target.id):
        raise FLOATING_IPS.not_found(target.uuid)
    return lookups.find(conn, FLOATING_IPS, target.uuid, None)


def remove(call: Call) -> None:
    """DELETE /v2.0/floatingips/{id}."""
    with call.services.db.write() as conn:
        floating_pools.give_back(conn, _locked(conn, call.target))
