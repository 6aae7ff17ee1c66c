# SPDX-License-Identifier: Apache-2.0
"""Statements about floating IPs: look-ups, and which port each is for. `floating_pools` says where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, and_, bindparam, case, func, select, update

from computeapi import clock
from computeapi.db.models import FixedIp, FloatingIp, Network, Port, Router, Server, Subnet
from computeapi.db.queries import firewall
from computeapi.db.queries.networks import (
    DEVICE_ID,
    PORT_STATUS,
    ROUTER_GATEWAY,
    ROUTER_INTERFACE,
    Kind,
    own,
    tag_filters,
)

STATUS = case((FloatingIp.port_id.is_(None), "DOWN"), (FloatingIp.refused.is_not(None), "ERROR"), else_="ACTIVE")
_PORT_NETWORK = Network.__table__.alias("port_network")

FLOATING_IPS = Kind(
    "FloatingIP",
    FloatingIp,
    select(
        *FloatingIp.__table__.c,
        STATUS.label("status"),
        Network.uuid.label("network_uuid"),
        Network.name.label("network_name"),
        Port.uuid.label("port_uuid"),
        Port.name.label("port_name"),
        Port.mac,
        Port.admin_state_up,
        Port.device_owner,
        PORT_STATUS.label("port_status"),
        DEVICE_ID.label("device"),
        Server.uuid.label("server_uuid"),
        Server.availability_zone.label("zone"),
        _PORT_NETWORK.c.uuid.label("port_network_uuid"),
    )
    .select_from(FloatingIp)
    .join(Network, Network.id == FloatingIp.network_id)
    .outerjoin(Port, Port.id == FloatingIp.port_id)
    .outerjoin(Server, Server.id == Port.server_id)
    .outerjoin(Router, Router.id == Port.router_id)
    .outerjoin(_PORT_NETWORK, _PORT_NETWORK.c.id == Port.network_id),
    {
        "id": FloatingIp.uuid,
        "floating_ip_address": FloatingIp.address,
        "floating_network_id": Network.uuid,
        "fixed_ip_address": FloatingIp.fixed_address,
        "port_id": Port.uuid,
        "status": STATUS,
        "project_id": FloatingIp.project_id,
        "tenant_id": FloatingIp.project_id,
        "description": FloatingIp.description,
        "revision_number": FloatingIp.revision,
        "created_at": FloatingIp.created_at,
        "updated_at": FloatingIp.updated_at,
    },
    own(FloatingIp),
    special=tag_filters(FloatingIp),
    booleans=frozenset(),
    missing="Floating IP {id} could not be found",
)
_TAKEN = FloatingIp.project_id.is_not(None)  # those that wait in a pool are nobody's


def of_project(conn: Connection, project_id: str) -> list[Any]:
    """A project's floating IPs, oldest first."""
    return list(conn.execute(FLOATING_IPS.columns.where(FloatingIp.project_id == project_id).order_by(FloatingIp.id)))


def by_address(conn: Connection, address: str, project_id: str | None) -> Any | None:
    """The one with that address, if that project has it (None: if anybody has)."""
    statement = FLOATING_IPS.columns.where(FloatingIp.address == address, _TAKEN)
    if project_id is not None:
        statement = statement.where(FloatingIp.project_id == project_id)
    return conn.execute(statement).first()


def lock(conn: Connection, key: int) -> bool:
    """Keep a floating IP as it is until this transaction ends; False where it is gone, or nobody's."""
    found = conn.execute(select(FloatingIp.id).where(FloatingIp.id == key, _TAKEN).with_for_update())
    return found.first() is not None


def everyones(conn: Connection, host: str | None) -> list[Any]:
    """All there are (those of servers on that host), also those that wait in a pool, by address."""
    statement = FLOATING_IPS.columns.order_by(FloatingIp.id)
    if host is not None:
        statement = statement.where(Server.host == host)
    return list(conn.execute(statement))


def count(conn: Connection, project_id: str) -> int:
    """How many a project has."""
    statement = select(func.count()).select_from(FloatingIp).where(FloatingIp.project_id == project_id)
    return int(conn.execute(statement).scalar_one())


_OF_SERVER = (
    select(Network.name, Port.mac, FloatingIp.address)
    .select_from(FloatingIp)
    .join(Port, Port.id == FloatingIp.port_id)
    .join(Network, Network.id == Port.network_id)
    .where(Port.server_id == bindparam("server_key"))
    .order_by(Port.position, FloatingIp.id)
)


_REMOTE_OF_SERVER = (
    select(Network.name, Port.mac, Port.remote_floating_json)
    .join(Network, Network.id == Port.network_id)
    .where(Port.server_id == bindparam("server_key"), Port.remote_status.is_not(None))
    .order_by(Port.position, Port.id)
)


def of_server(conn: Connection, server_key: int) -> list[tuple[str, str, str]]:
    """(network's name, MAC address, floating address) of a server's interfaces that have one."""
    found = [(row[0], row[1], row[2]) for row in conn.execute(_OF_SERVER, {"server_key": server_key})]
    for name, mac, floating in conn.execute(_REMOTE_OF_SERVER, {"server_key": server_key}):
        found += [(name, mac, address) for address in orjson.loads(floating)]
    return found


def routers_of(conn: Connection, keys: Any) -> dict[int, str]:
    """The ids of the routers that connect the fixed addresses of these floating IPs (a statement that selects keys)."""
    inside = Port.__table__.alias("inside")
    address = FixedIp.__table__.alias("gateway_address")
    rows = conn.execute(
        select(FloatingIp.id, Router.uuid)
        .select_from(FloatingIp)
        .join(FixedIp, and_(FixedIp.port_id == FloatingIp.port_id, FixedIp.address == FloatingIp.fixed_address))
        .join(address, address.c.subnet_id == FixedIp.subnet_id)
        .join(inside, inside.c.id == address.c.port_id)
        .join(Router, Router.id == inside.c.router_id)
        .where(FloatingIp.id.in_(keys), inside.c.device_owner == ROUTER_INTERFACE)
        .order_by(Router.id.desc())
    )
    return {row[0]: row[1] for row in rows}


def ways_out(conn: Connection, port_key: int, fixed_address: str) -> set[int | None]:
    """The keys of the external networks that the routers of a fixed address lead to (None: to none); empty without
    routers."""
    beside, inside, gateway = FixedIp.__table__.alias(), Port.__table__.alias(), Port.__table__.alias()
    leads = and_(gateway.c.router_id == inside.c.router_id, gateway.c.device_owner == ROUTER_GATEWAY)
    found = conn.execute(
        select(gateway.c.network_id)
        .select_from(FixedIp)
        .join(beside, beside.c.subnet_id == FixedIp.subnet_id)
        .join(inside, inside.c.id == beside.c.port_id)
        .outerjoin(gateway, leads)
        .where(
            FixedIp.port_id == port_key,
            FixedIp.address == fixed_address,
            inside.c.device_owner == ROUTER_INTERFACE,
        )
    )
    return set(found.scalars())


def fixed_addresses(conn: Connection, *chosen: ColumnElement[bool]) -> list[Any]:
    """port_id, port_uuid, address and ip_version of the addresses of these ports, in the order of the interfaces."""
    return list(
        conn.execute(
            select(Port.id.label("port_id"), Port.uuid.label("port_uuid"), FixedIp.address, Subnet.ip_version)
            .select_from(FixedIp)
            .join(Port, Port.id == FixedIp.port_id)
            .join(Subnet, Subnet.id == FixedIp.subnet_id)
            .where(*chosen)
            .order_by(Port.position, Port.id, Subnet.ip_version, FixedIp.id)
        )
    )


def has_one(conn: Connection, port_key: int, fixed_address: str, network_key: int, but: int) -> bool:
    """Whether another floating IP of that external network is for that fixed address."""
    same = select(FloatingIp.id).where(
        FloatingIp.port_id == port_key,
        FloatingIp.fixed_address == fixed_address,
        FloatingIp.network_id == network_key,
        FloatingIp.id != but,
    )
    return conn.execute(same.limit(1)).first() is not None


def servers_of(conn: Connection, *port_keys: int | None) -> list[int]:
    """The keys of the servers that have these ports."""
    keys = [key for key in port_keys if key is not None]
    found = conn.execute(select(Port.server_id).distinct().where(Port.id.in_(keys), Port.server_id.is_not(None)))
    return [int(key) for key in found.scalars() if key is not None]


def change(conn: Connection, key: int, **columns: Any) -> None:
    """Write columns, and note that."""
    conn.execute(
        update(FloatingIp)
        .where(FloatingIp.id == key)
        .values(revision=FloatingIp.revision + 1, updated_at=clock.now(), **columns)
    )


def forget_ports(conn: Connection, keys: Sequence[int]) -> None:
    """These ports are about to go: what was for them is for none. Hosts are told."""
    _detach(conn, FloatingIp.port_id.in_(keys))


def forget_addresses(conn: Connection, port_key: int, kept: Sequence[str]) -> None:
    """A port has no other addresses any more than those in `kept`."""
    lost = FloatingIp.port_id == port_key
    _detach(conn, and_(lost, FloatingIp.fixed_address.not_in(kept)) if kept else lost)


def _detach(conn: Connection, chosen: ColumnElement[bool]) -> None:
    ports = list(conn.execute(select(FloatingIp.port_id).where(chosen)).scalars())
    if not ports:
        return
    firewall.ports_changed(conn, Port.id.in_(ports))
    conn.execute(
        update(FloatingIp)
        .where(chosen)
        .values(
            port_id=None, fixed_address=None, refused=None, revision=FloatingIp.revision + 1, updated_at=clock.now()
        )
    )


def of_network(conn: Connection, network_key: int) -> bool:
    """Whether an external network has floating IPs."""
    found = select(FloatingIp.id).where(FloatingIp.network_id == network_key).limit(1)
    return conn.execute(found).first() is not None


def in_subnet(conn: Connection, subnet_key: int) -> bool:
    """Whether floating IPs are of a subnet."""
    found = select(FloatingIp.id).where(FloatingIp.subnet_id == subnet_key).limit(1)
    return conn.execute(found).first() is not None
