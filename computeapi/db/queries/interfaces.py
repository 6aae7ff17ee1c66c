# SPDX-License-Identifier: Apache-2.0
"""A server's interfaces, as rows: found, added, given up."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, update

from computeapi import clock
from computeapi.db.models import FixedIp, Network, Port, Server, Subnet
from computeapi.db.queries import addresses
from computeapi.db.queries.networks import PORTS
from computeapi.db.queries.servers import ServerRow, get_by_key


def of_server(conn: Connection, server_id: int, port_uuid: str | None = None) -> list[Any]:
    """A server's ports (or that one) in their order, as networks.PORTS has them."""
    statement = PORTS.columns.where(Port.server_id == server_id)
    if port_uuid is not None:
        statement = statement.where(Port.uuid == port_uuid)
    return list(conn.execute(statement.order_by(Port.position, Port.id)))


def port(conn: Connection, port_uuid: str, project_id: str) -> Any | None:
    """id, uuid, server_id and router_id of a project's port."""
    return conn.execute(
        select(Port.id, Port.uuid, Port.server_id, Port.router_id).where(
            Port.uuid == port_uuid, Port.project_id == project_id
        )
    ).first()


def uuid_of(conn: Connection, key: int) -> str:
    """A port's id."""
    return conn.execute(select(Port.uuid).where(Port.id == key)).scalar_one()


def server_at(conn: Connection, network_uuid: str, address: str) -> ServerRow | None:
    """The server that has that address on that network: other networks may have the same addresses."""
    key = conn.execute(
        select(Server.id)
        .join(Port, Port.server_id == Server.id)
        .join(Network, Network.id == Port.network_id)
        .join(FixedIp, FixedIp.port_id == Port.id)
        .where(FixedIp.address == address, Network.uuid == network_uuid, Server.deleted == 0)
    ).scalar()
    return None if key is None else get_by_key(conn, key)


def server_with(conn: Connection, port_uuid: str) -> ServerRow | None:
    """The server that has that port."""
    key = conn.execute(select(Port.server_id).where(Port.uuid == port_uuid)).scalar()
    return None if key is None else get_by_key(conn, key)


def next_position(conn: Connection, server_id: int) -> int:
    """Behind the interfaces that a server has."""
    last = conn.execute(select(func.max(Port.position)).where(Port.server_id == server_id)).scalar()
    return 0 if last is None else last + 1


def on_network(conn: Connection, server_id: int, network_uuid: str) -> tuple[int, list[int]] | None:
    """The key of a server's first port on a network, and the keys of the network's IPv4 subnets (else of all)."""
    row = conn.execute(
        select(Port.id, Port.network_id)
        .join(Network, Network.id == Port.network_id)
        .where(Port.server_id == server_id, Network.uuid == network_uuid)
        .order_by(Port.position, Port.id)
    ).first()
    if row is None:
        return None
    subnets = conn.execute(
        select(Subnet.id, Subnet.ip_version).where(Subnet.network_id == row[1]).order_by(Subnet.ip_version, Subnet.id)
    ).all()
    return row[0], [key for key, version in subnets if version == 4] or [key for key, _ in subnets]


def free_address(conn: Connection, key: int) -> None:
    """An address is nobody's (kept back, if it was reserved)."""
    conn.execute(
        update(FixedIp).where(FixedIp.id == key).values(port_id=None, free=1 - FixedIp.reserved, updated_at=clock.now())
    )


def let_go(conn: Connection, server_id: int, port_uuid: str) -> None:
    """A server has that interface no more: its port is gone, or free where a user made it."""
    row = conn.execute(
        select(Port.id, Port.preserve, Port.remote_status).where(Port.server_id == server_id, Port.uuid == port_uuid)
    ).first()
    if row is None:
        return
    if row[1] and row[2] is None:
        conn.execute(
            update(Port).where(Port.id == row[0]).values(server_id=None, device_owner="", updated_at=clock.now())
        )
    else:
        addresses.delete_port(conn, row[0])
    addresses.refresh(conn, server_id)


def release_with_server(conn: Connection, port_key: int) -> None:
    """A port that a user made goes with the server's interface after all: its user deleted it."""
    conn.execute(update(Port).where(Port.id == port_key).values(preserve=0))
