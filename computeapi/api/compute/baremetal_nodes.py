# SPDX-License-Identifier: Apache-2.0
"""os-baremetal-nodes: physical machines that the operator writes down.

As documented, below a server: the nodes tied to it, with all their fields. At `os-baremetal-nodes`, where clients ask:
all nodes; list and show as Nova 2.1 gives them there, where it says on what Ironic told it (baremetal_nodes.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from computeapi import errors, lifecycle, states
from computeapi.api import parameters as p
from computeapi.db.queries import baremetal_nodes as queries
from computeapi.db.queries.baremetal_nodes import InterfaceRow, NodeRow
from computeapi.endpoint import Call, Reply, endpoint
from computeapi.policy import ADMIN, rule

Json = dict[str, Any]

# --- RULES ---

NODES = "os_compute_api:os-baremetal-nodes:"
_ONE = "/os-baremetal-nodes/{node_id}"

RULES = [
    rule(NODES + "list", ADMIN, "List bare metal nodes.", ("GET", "/os-baremetal-nodes")),
    rule(NODES + "show", ADMIN, "See a bare metal node.", ("GET", _ONE)),
    rule(NODES + "create", ADMIN, "Write a bare metal node down.", ("POST", "/os-baremetal-nodes")),
    rule(NODES + "delete", ADMIN, "Delete a bare metal node.", ("DELETE", _ONE)),
    rule(NODES + "add_interface", ADMIN, "Give a node an interface.", ("POST", _ONE + "/action")),
    rule(NODES + "remove_interface", ADMIN, "Take an interface from a node.", ("POST", _ONE + "/action")),
]

# --- SCHEMAS ---

_NUMBER: Json = {"type": "integer", "minimum": 0, "maximum": 0x7FFFFFFF}
_OR_NULL: Json = {"type": ["string", "null"], "maxLength": 255}
_FIELDS: Json = {
    "service_host": p.hostname,
    "cpus": _NUMBER,
    "memory_mb": _NUMBER,
    "local_gb": _NUMBER,
    "pm_address": _OR_NULL,
    "pm_user": _OR_NULL,
    "pm_password": _OR_NULL,
    "terminal_port": {"type": ["integer", "null"], "minimum": 0, "maximum": 65535},
    "prov_mac_address": p.mac,
}
CREATE = p.wrapped("node", p.obj(_FIELDS, "service_host", "cpus", "memory_mb", "local_gb"))
_INTERFACE = p.obj({"address": p.mac}, "address")

# The states in which the reference lets a server get a node.
_STATES = (states.ACTIVE, states.PAUSED, states.STOPPED, states.RESIZED, states.SOFT_DELETED)

# --- VIEW ---


def _full(node: NodeRow, interfaces: Sequence[InterfaceRow]) -> Json:
    """As the reference shows it."""
    return {
        "id": node.id,
        "uuid": node.uuid,
        "service_host": node.service_host,
        "cpus": node.cpus,
        "memory_mb": node.memory_mb,
        "local_gb": node.local_gb,
        "pm_address": node.pm_address,
        "pm_user": node.pm_user,
        "terminal_port": node.terminal_port,
        "pxe_config_path": None,
        "task_state": node.task_state,
        "updated_at": node.updated_at,
        "instance_uuid": node.server_uuid,
        "interfaces": [interface._asdict() for interface in interfaces],
    }


def _short(node: NodeRow, interfaces: Sequence[InterfaceRow]) -> Json:
    """As Nova 2.1 shows it: numbers as text, no host's name, and as its state the word that Ironic has for it."""
    return {
        "id": node.uuid,
        "host": "IRONIC MANAGED",
        "task_state": node.task_state or ("available" if node.server_uuid is None else "active"),
        "cpus": str(node.cpus),
        "memory_mb": str(node.memory_mb),
        "disk_gb": str(node.local_gb),
        "interfaces": [{"address": interface.address} for interface in interfaces],
    }


# --- HANDLERS ---


def _server_key(call: Call) -> int | None:
    """The server in the URL; None at the clients' path, which has none."""
    return call.target.id if call.target is not None else None


def index(call: Call) -> Json:
    """GET …/os-baremetal-nodes."""
    view = _short if call.target is None else _full
    with call.services.db.snapshot() as conn:
        nodes = queries.every(conn, _server_key(call))
        interfaces = queries.interfaces(conn, [node.id for node in nodes])
    return {"nodes": [view(node, interfaces[node.id]) for node in nodes]}


def show(call: Call) -> Json:
    """GET …/os-baremetal-nodes/{node}."""
    with call.services.db.snapshot() as conn:
        node = queries.find(conn, call.params["node_id"], _server_key(call))
        interfaces = queries.interfaces(conn, [node.id])[node.id]
    if call.target is None:
        return {"node": {**_short(node, interfaces), "instance_uuid": node.server_uuid}}
    return {"node": _full(node, interfaces)}


def create(call: Call) -> Json:
    """POST …/os-baremetal-nodes; below a server it is tied to that, which must be in a state and not locked."""
    values = dict(call.body["node"])
    address, password = values.pop("prov_mac_address", None), values.pop("pm_password", None)
    if password is not None:
        values["pm_password_sealed"] = call.services.seal.close({"pm_password": password})
    if call.target is not None:
        lifecycle.check_lock(call.services, call.context, call.target)
        lifecycle.check_state(call.target, "add_baremetal_node", _STATES, ())
    with call.services.db.write() as conn:
        node = queries.create(conn, _server_key(call), values)
        interfaces = [queries.add_interface(conn, node, address.lower())] if address else []
    return {"node": _full(node, interfaces)}


def remove(call: Call) -> None:
    """DELETE …/os-baremetal-nodes/{node}."""
    with call.services.db.write() as conn:
        queries.remove(conn, queries.find(conn, call.params["node_id"], _server_key(call)))


def add_interface(call: Call) -> Json:
    """Action add_interface. Below a server, where the URL names no node, the server must have exactly one."""
    with call.services.db.write() as conn:
        nodes = _named(call, conn)
        if len(nodes) != 1:
            raise errors.Conflict("The server has several bare metal nodes; say which at os-baremetal-nodes/{node}.")
        address = call.body["add_interface"]["address"].lower()
        return {"interface": queries.add_interface(conn, nodes[0], address)._asdict()}


def remove_interface(call: Call) -> Reply:
    """Action remove_interface."""
    with call.services.db.write() as conn:
        queries.remove_interface(conn, _named(call, conn), call.body["remove_interface"]["address"].lower())
    return Reply(status=202)


def _named(call: Call, conn: Connection) -> Sequence[NodeRow]:
    """The node in the URL, or those of the server in it. Raises NotFound."""
    if "node_id" in call.params:
        return [queries.find(conn, call.params["node_id"], _server_key(call))]
    nodes = queries.every(conn, _server_key(call))
    if not nodes:
        raise errors.NotFound("The server has no bare metal node.")
    return nodes


def actions_table(loads: Any, status: int) -> Json:
    """The actions at one of the two paths."""
    return {
        name: endpoint(handler, NODES + name, loads=loads, body=p.wrapped(name, _INTERFACE), status=status)
        for name, handler in (("add_interface", add_interface), ("remove_interface", remove_interface))
    }
