# SPDX-License-Identifier: Apache-2.0
"""Statements on bare metal nodes and their interfaces."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from computeapi import clock, errors
from computeapi.db.models import BaremetalInterface, BaremetalNode, Server
from computeapi.db.queries.common import insert_key


class NodeRow(NamedTuple):
    """A node. Memory in MiB, disk in GiB; `server_uuid` is the server that it is tied to."""

    id: int
    uuid: str
    service_host: str
    cpus: int
    memory_mb: int
    local_gb: int
    pm_address: str | None
    pm_user: str | None
    terminal_port: int | None
    task_state: str | None
    updated_at: str | None
    server_uuid: str | None


class InterfaceRow(NamedTuple):
    """A node's interface."""

    id: int
    address: str
    datapath_id: str | None
    port_no: int | None


_ALL = (
    select(
        BaremetalNode.id,
        BaremetalNode.uuid,
        BaremetalNode.service_host,
        BaremetalNode.cpus,
        BaremetalNode.memory_mb,
        BaremetalNode.local_gb,
        BaremetalNode.pm_address,
        BaremetalNode.pm_user,
        BaremetalNode.terminal_port,
        BaremetalNode.task_state,
        BaremetalNode.updated_at,
        Server.uuid,
    )
    .outerjoin(Server, Server.id == BaremetalNode.server_id)
    .order_by(BaremetalNode.id)
)
_INTERFACES = select(
    BaremetalInterface.node_id,
    BaremetalInterface.id,
    BaremetalInterface.address,
    BaremetalInterface.datapath_id,
    BaremetalInterface.port_no,
).order_by(BaremetalInterface.id)


def every(conn: Connection, server_key: int | None) -> Sequence[NodeRow]:
    """The nodes tied to a server (None: all), by id."""
    statement = _ALL if server_key is None else _ALL.where(BaremetalNode.server_id == server_key)
    return [NodeRow._make(row) for row in conn.execute(statement)]


def find(conn: Connection, identifier: str, server_key: int | None) -> NodeRow:
    """The node with that id or uuid, if it is tied to that server (None: to any or none). Raises NotFound."""
    chosen = BaremetalNode.uuid == identifier
    if identifier.isascii() and identifier.isdigit() and len(identifier) <= 18:
        chosen = BaremetalNode.id == int(identifier)
    statement = _ALL.where(chosen)
    if server_key is not None:
        statement = statement.where(BaremetalNode.server_id == server_key)
    row = conn.execute(statement).first()
    if row is None:
        raise errors.NotFound(f"Node {identifier} could not be found.")
    return NodeRow._make(row)


def interfaces(conn: Connection, keys: Sequence[int]) -> dict[int, list[InterfaceRow]]:
    """By node's id: its interfaces."""
    found: dict[int, list[InterfaceRow]] = {key: [] for key in keys}
    if keys:
        for node, *row in conn.execute(_INTERFACES.where(BaremetalInterface.node_id.in_(list(keys)))):
            found[node].append(InterfaceRow._make(row))
    return found


def create(conn: Connection, server_key: int | None, values: Mapping[str, Any]) -> NodeRow:
    """A new node, tied to that server (None: to none)."""
    node_uuid = str(uuid.uuid4())
    conn.execute(insert(BaremetalNode).values(uuid=node_uuid, server_id=server_key, **values))
    return find(conn, node_uuid, None)


def remove(conn: Connection, node: NodeRow) -> None:
    """Delete a node and its interfaces."""
    conn.execute(delete(BaremetalInterface).where(BaremetalInterface.node_id == node.id))
    conn.execute(delete(BaremetalNode).where(BaremetalNode.id == node.id))


def add_interface(conn: Connection, node: NodeRow, address: str) -> InterfaceRow:
    """Give a node an interface. Raises Conflict where an interface has that address already."""
    try:
        with conn.begin_nested():
            key = insert_key(conn, insert(BaremetalInterface).values(node_id=node.id, address=address))
    except IntegrityError:
        raise errors.Conflict(f"An interface with the address {address} exists already.") from None
    _touch(conn, node)
    return InterfaceRow(key, address, None, None)


def remove_interface(conn: Connection, nodes: Sequence[NodeRow], address: str) -> None:
    """Take the interface with that address from the one of these nodes that has it. Raises NotFound."""
    owner = select(BaremetalInterface.node_id).where(
        BaremetalInterface.address == address, BaremetalInterface.node_id.in_([node.id for node in nodes])
    )
    key = conn.execute(owner).scalar()
    node = next((node for node in nodes if node.id == key), None)
    if node is None:
        raise errors.NotFound(f"No interface with the address {address} could be found.")
    conn.execute(delete(BaremetalInterface).where(BaremetalInterface.address == address))
    _touch(conn, node)


def _touch(conn: Connection, node: NodeRow) -> None:
    table = BaremetalNode.__table__
    conn.execute(table.update().where(table.c.id == node.id).values(updated_at=clock.now()))  # type: ignore[attr-defined]
