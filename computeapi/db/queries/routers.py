# SPDX-License-Identifier: Apache-2.0
"""Statements about routers. An interface and the way out are ports with `router_id`."""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from computeapi import clock
from computeapi.db.models import FixedIp, Port, Router, Subnet
from computeapi.db.queries import addresses
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.networks import ROUTER_GATEWAY


def insert_router(conn: Connection, **columns: Any) -> int:
    """A new router; its key."""
    return insert_key(conn, insert(Router).values(**columns))


def lock_router(conn: Connection, key: int) -> None:
    """Keep a router as it is until this transaction ends."""
    conn.execute(select(Router.id).where(Router.id == key).with_for_update()).all()


def set_snat(conn: Connection, key: int, enabled: bool) -> None:
    """Whether what goes out takes the router's address."""
    conn.execute(update(Router).where(Router.id == key).values(enable_snat=int(enabled)))


def gateway_port(conn: Connection, key: int) -> Any | None:
    """id, uuid and network_id of the port a router's way out is."""
    return conn.execute(
        select(Port.id, Port.uuid, Port.network_id).where(Port.router_id == key, Port.device_owner == ROUTER_GATEWAY)
    ).first()


def has_interfaces(conn: Connection, key: int) -> bool:
    """Whether a router is connected to anything inside."""
    inside = select(Port.id).where(Port.router_id == key, Port.device_owner != ROUTER_GATEWAY)
    return conn.execute(inside.limit(1)).first() is not None


def delete_router(conn: Connection, key: int) -> None:
    """A router that has no ports is gone."""
    conn.execute(delete(Router).where(Router.id == key))


def subnets_of(conn: Connection, key: int) -> list[Any]:
    """(id, CIDR) of the subnets a router is connected to."""
    return list(
        conn.execute(
            select(Subnet.uuid, Subnet.cidr)
            .join(FixedIp, FixedIp.subnet_id == Subnet.id)
            .join(Port, Port.id == FixedIp.port_id)
            .where(Port.router_id == key)
        )
    )


def cidrs_of(conn: Connection, key: int) -> list[str]:
    """The CIDRs of those subnets."""
    return [row[1] for row in subnets_of(conn, key)]


def addresses_of(conn: Connection, port_key: int) -> list[Any]:
    """(subnet's id, its CIDR) of a port's addresses."""
    return list(
        conn.execute(
            select(Subnet.uuid, Subnet.cidr)
            .join(FixedIp, FixedIp.subnet_id == Subnet.id)
            .where(FixedIp.port_id == port_key)
        )
    )


def insert_port(conn: Connection, network_key: int, project_id: str | None, columns: dict[str, Any]) -> tuple[int, str]:
    """A port without addresses; its key and id."""
    return addresses.insert_port(conn, network_key, project_id=project_id, **columns)


def attach_port(conn: Connection, port_key: int, router_key: int, owner: str) -> None:
    """A port is a router's from now on."""
    conn.execute(
        update(Port)
        .where(Port.id == port_key)
        .values(router_id=router_key, device_owner=owner, device_id="", updated_at=clock.now())
    )


def delete_port(conn: Connection, port_key: int) -> None:
    """A port is gone and its addresses free."""
    addresses.delete_port(conn, port_key)


def interface(conn: Connection, key: int, port_uuid: str | None, subnet_uuid: str | None) -> str | None:
    """The id of a router's interface: that port, or the one on that subnet (both, where both are given)."""
    statement = select(Port.uuid).where(Port.router_id == key, Port.device_owner != ROUTER_GATEWAY)
    if port_uuid is not None:
        statement = statement.where(Port.uuid == port_uuid)
    if subnet_uuid is not None:
        on_subnet = (
            select(FixedIp.port_id).join(Subnet, Subnet.id == FixedIp.subnet_id).where(Subnet.uuid == subnet_uuid)
        )
        statement = statement.where(Port.id.in_(on_subnet.where(FixedIp.port_id.is_not(None))))
    return conn.execute(statement).scalar()


def keep_gateways_back(conn: Connection, network_key: int) -> None:
    """The gateway addresses of a network's subnets that nothing has are not given out."""
    for subnet in changes.subnets_for_ports(conn, network_key):
        changes.reserve(conn, subnet.id, ipaddress.ip_network(subnet.cidr), subnet.gateway)
