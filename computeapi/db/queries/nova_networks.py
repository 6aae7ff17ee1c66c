# SPDX-License-Identifier: Apache-2.0
"""The same rows as nova-network's API sees them: networks with their first IPv4 and IPv6 subnet; addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, insert, or_, select, update

from computeapi import clock
from computeapi.db.models import FixedIp, Network, Port, Server, Subnet
from computeapi.db.queries import addresses
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries.common import insert_key

_COLUMNS = select(*Network.__table__.c)


def _visible(project_id: str | None) -> list[ColumnElement[bool]]:
    return [] if project_id is None else [or_(Network.project_id == project_id, Network.shared == 1)]


def page(conn: Connection, project_id: str | None, limit: int, marker: str | None) -> list[Any] | None:
    """Networks of a project and shared ones (None: all), oldest first; None for a marker that is none of them."""
    statement = _COLUMNS.where(*_visible(project_id)).order_by(Network.id).limit(limit)
    if marker:
        first = find(conn, marker, project_id)
        if first is None:
            return None
        statement = statement.where(Network.id > first.id)
    return list(conn.execute(statement))


def find(conn: Connection, network_uuid: str, project_id: str | None) -> Any | None:
    """One network, if that project may see it (None: any)."""
    return conn.execute(_COLUMNS.where(Network.uuid == network_uuid, *_visible(project_id))).first()


def subnets_of(conn: Connection, keys: Iterable[int]) -> dict[int, dict[int, Any]]:
    """Network key → IP version → its first subnet of that version."""
    found: dict[int, dict[int, Any]] = {}
    rows = conn.execute(
        select(
            Subnet.network_id,
            Subnet.ip_version,
            Subnet.cidr,
            Subnet.gateway,
            Subnet.dhcp,
            Subnet.dns_json,
            Subnet.first_offset,
            Subnet.pools_json,
        )
        .where(Subnet.network_id.in_(list(keys)))
        .order_by(Subnet.id)
    )
    for row in rows:
        found.setdefault(row.network_id, {}).setdefault(row.ip_version, row)
    return found


def insert_network(conn: Connection, **columns: Any) -> int:
    """A network without subnets; its key."""
    return insert_key(conn, insert(Network).values(created_at=clock.now(), **columns))


def set_owner(conn: Connection, key: int, **columns: Any) -> None:
    """Whose a network is (project_id, host)."""
    changes.touch(conn, Network, key, columns)


def free_network(conn: Connection) -> str | None:
    """The oldest network that is nobody's and not everybody's; locked."""
    return conn.execute(
        select(Network.uuid)
        .where(Network.project_id.is_(None), Network.shared == 0, Network.external == 0)
        .order_by(Network.id)
        .limit(1)
        .with_for_update()
    ).scalar()


# --- single addresses ---


def fixed_ip(conn: Connection, address: str) -> Any | None:
    """address, cidr, gateway, host, hostname, port_id, reserved, subnet_id of an address that was ever given out."""
    return conn.execute(
        select(
            FixedIp.address,
            FixedIp.id,
            FixedIp.port_id,
            FixedIp.reserved,
            FixedIp.subnet_id,
            Subnet.cidr,
            Subnet.gateway,
            Server.host,
            Server.hostname,
        )
        .join(Subnet, Subnet.id == FixedIp.subnet_id)
        .outerjoin(Port, Port.id == FixedIp.port_id)
        .outerjoin(Server, Server.id == Port.server_id)
        .where(FixedIp.address == address)
        .order_by(FixedIp.free, FixedIp.id)
        .limit(1)
    ).first()


def subnet_with(conn: Connection, address: str) -> tuple[int, str] | None:
    """(key, CIDR) of the oldest subnet on which a host may have that address."""
    version = ipaddress.ip_address(address).version
    rows = conn.execute(select(Subnet.id, Subnet.cidr).where(Subnet.ip_version == version).order_by(Subnet.id))
    return next(((row[0], row[1]) for row in rows if addresses.may_have(row[1], address)), None)


def set_reserved(conn: Connection, key: int, *, reserved: bool, used: bool) -> None:
    """Keep an address back, also after whoever has it now gave it back; or do so no more."""
    conn.execute(
        update(FixedIp)
        .where(FixedIp.id == key)
        .values(reserved=int(reserved), free=int(not reserved and not used), updated_at=clock.now())
    )


def address_of_server(conn: Connection, server_id: int, address: str) -> Any | None:
    """id and port_id of an address that a server has."""
    return conn.execute(
        select(FixedIp.id, FixedIp.port_id)
        .join(Port, Port.id == FixedIp.port_id)
        .where(Port.server_id == server_id, FixedIp.address == address)
    ).first()
