# SPDX-License-Identifier: Apache-2.0
"""What a real Neutron said of servers' ports, in the rows that the embedded network has its own in.

So lists, config drives and the metadata service read the same with either. What came late overwrites nothing newer:
each port's row has Neutron's revision number. Rows come and go with the work on servers alone, never by looking.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, delete, func, select, update

from computeapi import clock
from computeapi.db.models import FixedIp, Network, Port, Server, Subnet
from computeapi.db.queries import addresses
from computeapi.db.queries.addresses import MAX_OFFSET
from computeapi.db.queries.common import insert_row, update_row


@dataclass(frozen=True, slots=True)
class RemoteSubnet:
    """A subnet that an address is of."""

    id: str
    cidr: str
    gateway: str | None
    dhcp: bool
    dns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoteNetwork:
    """A port's network."""

    id: str
    name: str
    mtu: int | None
    project_id: str | None
    shared: bool


@dataclass(frozen=True, slots=True)
class RemotePort:
    """A port, as Neutron's service user sees it. `groups` are ids and names of its security groups."""

    id: str
    network: RemoteNetwork
    project_id: str
    name: str
    mac: str
    status: str
    revision: int
    device_owner: str
    admin_state_up: bool
    port_security: bool
    addresses: tuple[tuple[str, RemoteSubnet | None], ...] = ()
    groups: tuple[tuple[str, str], ...] = ()
    floating: tuple[str, ...] = ()
    binding: Mapping[str, Any] = field(default_factory=dict)  # host_id, vif_type, vif_details, vnic_type


class Place(NamedTuple):
    """Where a port stands among its server's, and whether it outlives the server: its user made it."""

    position: int
    preserve: bool


_PORT = select(Port.id, Port.revision, Port.server_id).where(Port.uuid == bindparam("uuid"))
_NETWORK = select(Network.id).where(Network.uuid == bindparam("uuid"))
_SUBNET = select(Subnet.id).where(Subnet.uuid == bindparam("uuid"))
_ADDRESS = select(FixedIp.id).where(FixedIp.subnet_id == bindparam("subnet_id"), FixedIp.offset == bindparam("offset"))


class Known(NamedTuple):
    """A port of a server's, by its row."""

    id: str
    preserve: bool
    host: str | None  # that it was bound to last


def known(conn: Connection, server_id: int) -> list[Known]:
    """A server's ports in order."""
    rows = conn.execute(
        select(Port.uuid, Port.preserve, Port.binding_json)
        .where(Port.server_id == server_id)
        .order_by(Port.position, Port.id)
    )
    return [Known(row[0], bool(row[1]), orjson.loads(row[2]).get("host_id")) for row in rows]


def longest_ago(conn: Connection, host: str, most: int) -> dict[str, int]:
    """Id and key of the servers of a host whose ports were looked at the longest ago; from now on they are the last."""
    oldest = func.min(Port.updated_at)
    rows = conn.execute(
        select(Server.uuid, Server.id)
        .join(Port, Port.server_id == Server.id)
        .where(Server.host == host, Server.deleted == 0, Port.remote_status.is_not(None))
        .group_by(Server.uuid, Server.id)
        .order_by(oldest)
        .limit(most)
    ).all()
    conn.execute(update(Port).where(Port.server_id.in_([key for _, key in rows])).values(updated_at=clock.now()))
    return {row[0]: row[1] for row in rows}


def store(
    conn: Connection, server_id: int, ports: Iterable[RemotePort], places: Mapping[str, Place] | None = None
) -> None:
    """Write what Neutron said of a server's ports. Those in `places` are new to it; others, unknown, are left out."""
    said = list(ports)
    for port in said:  # a server's
        row = conn.execute(_PORT, {"uuid": port.id}).first()
        place = (places or {}).get(port.id)
        if row is not None and row[2] == server_id and row[1] > port.revision and place is None:
            continue  # somebody asked later, and wrote before
        if place is None and (row is None or row[2] != server_id):
            continue
        _put(conn, server_id, row[0] if row is not None else None, port, place)
    _show(conn, server_id, said)


def _show(conn: Connection, server_id: int, ports: Sequence[RemotePort]) -> None:
    """What lists show of the server."""
    mine = {row.id for row in known(conn, server_id)}
    names = sorted({name for port in ports if port.id in mine for _, name in port.groups})
    values: dict[str, Any] = {"addresses_json": addresses.addresses_json(conn, server_id)}
    if mine:
        values["security_groups_json"] = orjson.dumps([{"name": name} for name in names]).decode()
    conn.execute(update(Server).where(Server.id == server_id).values(**values))


def _put(conn: Connection, server_id: int, key: int | None, port: RemotePort, place: Place | None) -> None:
    network_key = _put_network(conn, port.network)
    values: dict[str, Any] = {
        "network_id": network_key,
        "server_id": server_id,
        "project_id": port.project_id,
        "name": port.name,
        "mac": port.mac,
        "device_owner": port.device_owner,
        "admin_state_up": int(port.admin_state_up),
        "port_security": int(port.port_security),
        "security_groups_json": orjson.dumps([group for group, _ in port.groups]).decode(),
        "binding_json": orjson.dumps(dict(port.binding)).decode(),
        "remote_status": port.status,
        "remote_floating_json": orjson.dumps(list(port.floating)).decode(),
        "revision": port.revision,
        "updated_at": clock.now(),
    }
    if place is not None:
        values |= {"position": place.position, "preserve": int(place.preserve)}
    if key is None:
        key = insert_row(conn, Port, {"uuid": port.id, "created_at": clock.now(), **values})
    else:
        update_row(conn, Port, key, values)
    _put_addresses(conn, network_key, key, port)


def _put_network(conn: Connection, network: RemoteNetwork) -> int:
    key = conn.execute(_NETWORK, {"uuid": network.id}).scalar()
    values = {"name": network.name, "mtu": network.mtu, "project_id": network.project_id, "shared": int(network.shared)}
    if key is None:
        return insert_row(
            conn, Network, {"uuid": network.id, "bridge": "", "created_at": clock.now(), "updated_at": None, **values}
        )
    update_row(conn, Network, key, values)
    return int(key)


def _put_subnet(conn: Connection, network_key: int, subnet: RemoteSubnet) -> int:
    key = conn.execute(_SUBNET, {"uuid": subnet.id}).scalar()
    values = {
        "network_id": network_key,
        "ip_version": ipaddress.ip_network(subnet.cidr).version,
        "cidr": subnet.cidr,
        "gateway": subnet.gateway,
        "dhcp": int(subnet.dhcp),
        "dns_json": orjson.dumps(list(subnet.dns)).decode(),
    }
    if key is None:
        offsets = {"first_offset": 0, "last_offset": 0, "next_offset": 0}  # nothing is given out here
        return insert_row(conn, Subnet, {"uuid": subnet.id, "created_at": clock.now(), **offsets, **values})
    update_row(conn, Subnet, key, values)
    return int(key)


def _put_addresses(conn: Connection, network_key: int, key: int, port: RemotePort) -> None:
    """The port's addresses, and no others. One that another port's row has still is this one's now."""
    keys: list[int] = []
    for address, subnet in port.addresses:
        if subnet is None:  # deleted meanwhile
            continue
        subnet_key = _put_subnet(conn, network_key, subnet)
        base = int(ipaddress.ip_network(subnet.cidr).network_address)
        offset = min(int(ipaddress.ip_address(address)) - base, MAX_OFFSET)
        row = {"port_id": key, "free": 0, "address": address, "updated_at": clock.now()}
        found = conn.execute(_ADDRESS, {"subnet_id": subnet_key, "offset": offset}).scalar()
        if found is None:
            found = insert_row(conn, FixedIp, {"subnet_id": subnet_key, "offset": offset, **row})
        else:
            update_row(conn, FixedIp, found, row)
        keys.append(found)
    conn.execute(delete(FixedIp).where(FixedIp.port_id == key, FixedIp.id.not_in(keys)))
