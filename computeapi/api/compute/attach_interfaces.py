# SPDX-License-Identifier: Apache-2.0
"""A server's interfaces: list, show, attach, detach; addFixedIp, removeFixedIp, resetNetwork, injectNetworkInfo.

The rows change in the request's transaction, with the work for the server's host; an interface that its host can't
plug is taken away again. Codes and sentences: nova/api/openstack/compute/attach_interfaces.py and multinic.py.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute import remote_interfaces
from computeapi.api.compute.networks import is_admin
from computeapi.api.compute.remote_calls import is_remote
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.db.queries import addresses, interfaces, network_quotas
from computeapi.db.queries import nova_networks as networks
from computeapi.db.queries.addresses import AddressInUse
from computeapi.db.queries.networks import PORTS, fixed_ips_of, keys
from computeapi.db.queries.servers import lock_row
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule

ATTACH = "os_compute_api:os-attach-interfaces"
MULTINIC = "os_compute_api:os-multinic"
ADMIN_ACTIONS = "os_compute_api:os-admin-actions"
_URL = "/servers/{server_id}/os-interface"
_ACTION = ("POST", "/servers/{server_id}/action")

RULES = [
    rule(f"{ATTACH}:list", PROJECT_READER, "List a server's interfaces.", ("GET", _URL)),
    rule(f"{ATTACH}:show", PROJECT_READER, "Show an interface.", ("GET", _URL + "/{port_id}")),
    rule(f"{ATTACH}:create", PROJECT_MEMBER, "Attach an interface.", ("POST", _URL)),
    rule(f"{ATTACH}:delete", PROJECT_MEMBER, "Detach an interface.", ("DELETE", _URL + "/{port_id}")),
    rule(f"{MULTINIC}:add", PROJECT_MEMBER, "Give a server another address.", _ACTION),
    rule(f"{MULTINIC}:remove", PROJECT_MEMBER, "Take an address from a server.", _ACTION),
    rule(f"{ADMIN_ACTIONS}:reset_network", ADMIN, "Set a server's networking up anew.", _ACTION),
    rule(f"{ADMIN_ACTIONS}:inject_network_info", ADMIN, "Set a server's networking up anew.", _ACTION),
]

_IP: p.Schema = {"type": "string", "format": "ip", "pattern": "^[0-9a-fA-F:.]+$"}
CREATE: p.Schema = p.obj(
    {
        "interfaceAttachment": p.obj(
            {
                "net_id": p.uuid,
                "port_id": p.uuid,
                "fixed_ips": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": 1,
                    "items": p.obj({"ip_address": _IP}, "ip_address"),
                },
            }
        )
    }
)
_ADD: p.Schema = p.wrapped(
    "addFixedIp", p.obj({"networkId": {"type": ["string", "number"], "minLength": 1, "maxLength": 36}}, "networkId")
)
_REMOVE: p.Schema = p.wrapped("removeFixedIp", p.obj({"address": _IP}, "address"))


# --- list and show ---


def _view(port: Any, fixed_ips: dict[int, list[dict[str, str]]]) -> dict[str, Any]:
    return {
        "net_id": port.network_uuid,
        "port_id": port.uuid,
        "mac_addr": port.mac,
        "port_state": port.status,
        "fixed_ips": fixed_ips.get(port.id, []),
    }


def index(call: Call) -> dict[str, Any]:
    """GET …/os-interface."""
    with call.services.db.snapshot() as conn:
        ports = interfaces.of_server(conn, call.target.id)
        shown = fixed_ips_of(conn, keys(PORTS, *(port.id for port in ports)))
    return {"interfaceAttachments": [_view(port, shown) for port in ports]}


def _one(conn: Connection, call: Call, port_id: str) -> dict[str, Any]:
    ports = interfaces.of_server(conn, call.target.id, port_id)
    if not ports:
        raise _not_attached(call, port_id)
    return {"interfaceAttachment": _view(ports[0], fixed_ips_of(conn, keys(PORTS, ports[0].id)))}


def _not_attached(call: Call, port_id: str) -> errors.NotFound:
    return errors.NotFound(f"Instance {call.target.uuid} does not have a port with id {port_id}")


def show(call: Call) -> dict[str, Any]:
    """GET …/os-interface/{port_id}."""
    with call.services.db.snapshot() as conn:
        return _one(conn, call, call.params["port_id"])


# --- attach and detach ---


def create(call: Call) -> dict[str, Any]:
    """POST …/os-interface: by network, by port, or on the one network there is. Raises 4xx errors."""
    wanted = ((call.body or {}).get("interfaceAttachment")) or {}
    network_id, port_id = wanted.get("net_id"), wanted.get("port_id")
    fixed_ip = wanted["fixed_ips"][0]["ip_address"] if wanted.get("fixed_ips") else None
    if network_id and port_id:
        raise errors.BadRequest("Must not input both network_id and port_id")
    if fixed_ip and not network_id:
        raise errors.BadRequest("Must input network_id when request IP address")
    server = call.target
    if is_remote(call):
        port_id = remote_interfaces.attach(call, network_id, port_id, fixed_ip)
        with call.services.db.read() as conn:
            return _one(conn, call, port_id)
    with call.services.db.write() as conn:
        lock_row(conn, server.id)
        position = interfaces.next_position(conn, server.id)
        if port_id:
            port_id = _take_port(conn, call, port_id, position)
        else:
            port_id = _new_port(conn, call, network_id, fixed_ip, position)
        network_quotas.check_fixed_ips(conn, call.services.settings, server.project_id)
        addresses.refresh(conn, server.id)
        lifecycle.begin(conn, call.services, call.context, server, "attach_interface", {"port_id": port_id})
        return _one(conn, call, port_id)


def _take_port(conn: Connection, call: Call, port_id: str, position: int) -> str:
    port = interfaces.port(conn, port_id, call.target.project_id)
    if port is None:
        raise errors.NotFound(f"Port id {port_id} could not be found.")
    if port.server_id is not None or port.router_id is not None:
        raise errors.Conflict(f"Port {port_id} is still in use.")
    addresses.take_port(conn, call.target.id, call.target.project_id, port.uuid, position)
    return str(port.uuid)


def _new_port(conn: Connection, call: Call, network_id: str | None, fixed_ip: str | None, position: int) -> str:
    project_id = call.target.project_id
    if network_id is None:
        visible = addresses.visible_networks(conn, project_id)
        if not visible:
            raise errors.BadRequest(
                f"No specific network was requested and none are available for project '{project_id}'."
            )
        if len(visible) > 1:
            raise errors.BadRequest("Multiple possible networks found, use a Network ID to be more specific.")
        network_id = visible[0][1]
    network = networks.find(conn, network_id, None if is_admin(call) else project_id)
    if network is None:
        raise errors.NotFound(f"Network {network_id} could not be found.")
    try:
        key = addresses.create_port(
            conn,
            network.id,
            project_id=project_id,
            server_id=call.target.id,
            position=position,
            fixed_ip=fixed_ip,
            device_owner="compute:nova",
        )
    except AddressInUse as error:
        raise errors.Conflict(error.message) from None
    return interfaces.uuid_of(conn, key)


def delete(call: Call) -> None:
    """DELETE …/os-interface/{port_id}: the guest loses it, then the port goes (one that a user made stays)."""
    server, port_id = call.target, call.params["port_id"]
    with call.services.db.write() as conn:
        now = lock_row(conn, server.id) or server
        lifecycle.check_lock(call.services, call.context, now)
        ports = interfaces.of_server(conn, server.id, port_id)
        if not ports:
            raise errors.NotFound(f"Port id {port_id} could not be found.")
        lifecycle.begin(conn, call.services, call.context, server, "detach_interface", {"port_id": ports[0].uuid})


# --- actions ---


def add_fixed_ip(call: Call) -> None:
    """Another address for the server's interface on a network. Raises NotFound, BadRequest (exhausted)."""
    network_id, server = str(call.body["addFixedIp"]["networkId"]), call.target
    with call.services.db.write() as conn:
        lock_row(conn, server.id)
        found = interfaces.on_network(conn, server.id, network_id)
        if found is None:
            raise errors.NotFound(f"Network {network_id} could not be found for instance {server.uuid}.")
        port_key, subnet_keys = found
        addresses.take_any_address(conn, subnet_keys, port_key)
        network_quotas.check_fixed_ips(conn, call.services.settings, server.project_id)
        addresses.refresh(conn, server.id)
        lifecycle.begin(conn, call.services, call.context, server, "add_fixed_ip")


def remove_fixed_ip(call: Call) -> None:
    """One address less. Raises BadRequest for one that the server does not have."""
    address, server = call.body["removeFixedIp"]["address"], call.target
    with call.services.db.write() as conn:
        lock_row(conn, server.id)
        row = networks.address_of_server(conn, server.id, address)
        if row is None:
            raise errors.BadRequest(f"Fixed IP address {address} not found for instance {server.uuid}.")
        interfaces.free_address(conn, row.id)
        addresses.refresh(conn, server.id)
        lifecycle.begin(conn, call.services, call.context, server, "remove_fixed_ip")


def _begin(name: str) -> Any:
    def handler(call: Call) -> None:
        with call.services.db.write() as conn:
            lifecycle.begin(conn, call.services, call.context, call.target, name)

    return handler


def _row(handler: Any, rule_name: str, body: p.Schema, until: str | None = None) -> Endpoint:
    return endpoint(handler, rule_name, body=body, loads=load_server, status=202, until=until)


# Lines of SERVER_ACTIONS.
ACTIONS: dict[str, Endpoint] = {
    "addFixedIp": _row(add_fixed_ip, f"{MULTINIC}:add", _ADD, "2.43"),
    "removeFixedIp": _row(remove_fixed_ip, f"{MULTINIC}:remove", _REMOVE, "2.43"),
    "resetNetwork": _row(_begin("reset_network"), f"{ADMIN_ACTIONS}:reset_network", {}),
    "injectNetworkInfo": _row(_begin("inject_network_info"), f"{ADMIN_ACTIONS}:inject_network_info", {}),
}
