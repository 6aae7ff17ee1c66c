# SPDX-License-Identifier: Apache-2.0
"""Addresses: given out and taken back in the transaction of what they are for, in constant time.

A subnet's row is locked while one of its addresses changes hands. A free address is one that was given back (the lowest
first), else the one at the high-water mark `next_offset`.
"""

from __future__ import annotations

import ipaddress
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    Connection,
    Select,
    bindparam,
    delete,
    exists,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)

from computeapi import clock, errors
from computeapi.db.models import FixedIp, FloatingIp, Network, Port, Server, Subnet
from computeapi.db.queries import firewall, floating_ips, security_groups
from computeapi.db.queries.common import insert_key, insert_row, update_row
from computeapi.macs import mac_for

MAX_OFFSET = 2**62  # of an address in its subnet: the column is a BIGINT, IPv6 is larger


class NoMoreAddresses(errors.BadRequest):
    """No fixed IP addresses available for network."""


class AddressInUse(errors.BadRequest):
    """Fixed IP address is already in use."""


@dataclass(frozen=True, slots=True)
class Requested:
    """One interface that a client asks for."""

    network_id: str | None = None
    fixed_ip: str | None = None
    port_id: str | None = None


@dataclass(frozen=True, slots=True)
class NicAddress:
    """A fixed address of an interface, with what its subnet says."""

    address: str
    version: int
    cidr: str
    gateway: str | None
    dhcp: bool
    dns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Nic:
    """One interface of a server, with all that its host needs."""

    port_id: str
    mac: str
    network_uuid: str
    network_name: str
    bridge: str
    mtu: int | None
    addresses: tuple[NicAddress, ...]
    binding: str = "{}"  # how a real Neutron wants it plugged: binding_json

    @property
    def v4(self) -> NicAddress | None:
        """Its first IPv4 address."""
        return next((item for item in self.addresses if item.version == 4), None)


def visible_networks(conn: Connection, project_id: str) -> list[tuple[int, str]]:
    """(key, uuid) of the networks that a project's servers may use, oldest first."""
    rows = conn.execute(
        select(Network.id, Network.uuid)
        .where(or_(Network.project_id == project_id, Network.shared == 1), Network.external == 0)
        .order_by(Network.id)
    )
    return [(row[0], row[1]) for row in rows]


def allocate(
    conn: Connection, *, server_id: int, project_id: str, requested: list[Requested] | None, anywhere: bool = False
) -> str:
    """Give a server its interfaces and addresses; its addresses_json. Nothing requested: the one network there is.

    With `anywhere` it may be on other projects' networks, where those are requested.
    Raises BadRequest (network or address unknown, in use, exhausted) and Conflict (several networks to choose from).
    """
    if requested is None:
        networks = visible_networks(conn, project_id)
        if len(networks) > 1:
            raise errors.Conflict("Multiple possible networks found, use a Network ID to be more specific.")
        requested = [Requested(network_id=uuid_) for _, uuid_ in networks]
    _lock_subnets(conn, [item.network_id for item in requested if item.network_id])
    for position, item in enumerate(requested):  # as many as the server has interfaces
        if item.port_id:
            take_port(conn, server_id, project_id, item.port_id, position)
        else:
            _new_port(conn, server_id, project_id, item, position, anywhere=anywhere)
    return addresses_json(conn, server_id)


def _lock_subnets(conn: Connection, network_uuids: list[str]) -> None:
    """In one order, whatever the order of the interfaces: or two servers on two networks wait for each other."""
    if len(network_uuids) > 1:
        networks = select(Network.id).where(Network.uuid.in_(network_uuids))
        conn.execute(
            select(Subnet.id).where(Subnet.network_id.in_(networks)).order_by(Subnet.id).with_for_update()
        ).all()


def take_port(conn: Connection, server_id: int, project_id: str, port_id: str, position: int) -> None:
    """A port that a user made becomes a server's interface. Raises BadRequest where it is unknown or in use."""
    row = conn.execute(
        select(Port.id, Port.server_id, Port.router_id).where(Port.uuid == port_id, Port.project_id == project_id)
    ).first()
    if row is None:
        raise errors.BadRequest(f"Port id {port_id} could not be found.")
    if row[1] is not None or row[2] is not None:
        raise errors.BadRequest(f"Port {port_id} is still in use.")
    values = {"server_id": server_id, "position": position, "preserve": 1, "device_owner": "compute:nova"}
    taken = conn.execute(
        update(Port).where(Port.id == row[0], Port.server_id.is_(None)).values(updated_at=clock.now(), **values)
    )
    if taken.rowcount != 1:  # another server was quicker
        raise errors.BadRequest(f"Port {port_id} is still in use.")


_ANY_NETWORK = select(Network.id).where(Network.uuid == bindparam("uuid")).with_for_update(read=True)
_VISIBLE_NETWORK = _ANY_NETWORK.where(or_(Network.project_id == bindparam("project_id"), Network.shared == 1))
_RANGE = select(
    Subnet.id, Subnet.cidr, Subnet.first_offset, Subnet.next_offset, Subnet.last_offset, Subnet.pools_json
).with_for_update(of=Subnet)
_SUBNET = _RANGE.where(Subnet.id == bindparam("key"))
_ANY_SUBNET = _RANGE.where(Subnet.id.in_(bindparam("keys", expanding=True))).order_by(Subnet.id)
_SUBNETS = (
    _RANGE.add_columns(Subnet.ip_version, Network.uuid)
    .join(Network, Network.id == Subnet.network_id)
    .where(Subnet.network_id == bindparam("network_id"))
    .order_by(Subnet.id)
)
_OF_MAC = select(Port.id).where(Port.mac == bindparam("mac"))
_OTHER = Port.__table__.alias("other")
_SET_FREE_MAC = (
    update(Port)
    .where(Port.id == bindparam("key"), ~exists().where(_OTHER.c.mac == bindparam("new_mac")))
    .values(mac=bindparam("new_mac"))
)
_NETWORK_UUID = select(Network.uuid).where(Network.id == bindparam("key"))
_FIRST_FREE = (
    select(FixedIp.id, FixedIp.free, FixedIp.address, FixedIp.offset)
    .where(FixedIp.subnet_id == bindparam("subnet_id"), FixedIp.free == 1)
    .order_by(FixedIp.offset)
    .limit(1)
)
_FIRST_FREE_BETWEEN = _FIRST_FREE.where(FixedIp.offset.between(bindparam("first"), bindparam("last")))
_NEXT_TAKEN = (
    select(FixedIp.offset)
    .where(FixedIp.subnet_id == bindparam("subnet_id"), FixedIp.offset >= bindparam("least"))
    .order_by(FixedIp.offset)
    .limit(64)
)


def _new_port(
    conn: Connection, server_id: int, project_id: str, item: Requested, position: int, *, anywhere: bool
) -> None:
    if anywhere:
        network = conn.execute(_ANY_NETWORK, {"uuid": item.network_id}).first()
    else:
        network = conn.execute(_VISIBLE_NETWORK, {"uuid": item.network_id, "project_id": project_id}).first()
    if network is None:
        raise errors.BadRequest(f"Network {item.network_id} could not be found.")
    create_port(
        conn,
        network[0],
        project_id=project_id,
        server_id=server_id,
        position=position,
        fixed_ip=item.fixed_ip,
        device_owner="compute:nova",
    )


def create_port(
    conn: Connection,
    network_key: int,
    *,
    project_id: str | None,
    server_id: int | None = None,
    position: int = 0,
    fixed_ip: str | None = None,
    name: str = "",
    device_owner: str = "",
    preserve: bool = False,
    mac: str | None = None,
) -> int:
    """A port with an address of each family that its network has (or the one asked for); its key."""
    subnets = conn.execute(_SUBNETS, {"network_id": network_key}).all()
    if server_id is not None and not subnets:
        network_uuid = conn.execute(_NETWORK_UUID, {"key": network_key}).scalar_one()
        raise errors.BadRequest(f"Network {network_uuid} requires a subnet in order to boot instances on.")
    if fixed_ip:
        subnets = [row for row in subnets if may_have(row.cidr, fixed_ip)][:1]
        if not subnets:
            raise errors.BadRequest(f"Fixed IP address {fixed_ip} does not belong to the network.")
        places = [_choose(conn, subnets[0], fixed_ip)]
    else:
        families = ([row for row in subnets if row.ip_version == version] for version in (4, 6))
        places = [_choose_any(conn, family) for family in families if family]  # one, or two
    if mac is None and places:
        mac = _free_mac(conn, subnets[0].uuid, places[0].address)
    port_key, _uuid = insert_port(
        conn,
        network_key,
        server_id=server_id,
        project_id=project_id,
        name=name,
        mac=mac,
        position=position,
        device_owner=device_owner,
        preserve=int(preserve),
    )
    for place in places:
        _give(conn, place, port_key)
    return port_key


def insert_port(conn: Connection, network_key: int, *, mac: str | None = None, **columns: Any) -> tuple[int, str]:
    """A port without addresses; its key and id."""
    port_uuid = str(uuid.uuid4())
    groups = security_groups.groups_at_first(conn, columns)
    if groups:
        columns["security_groups_json"] = security_groups.groups_json(groups)
    values = {"mac": mac or _new_mac(conn), "created_at": clock.now(), **columns}
    key = insert_row(conn, Port, {"uuid": port_uuid, "network_id": network_key, **values})
    security_groups.begin_port(conn, key, groups, columns.get("device_owner"))
    return key, port_uuid


def may_have(cidr: str, address: str) -> bool:
    """Whether a host on that subnet may have that address: the network's own and IPv4's broadcast it may not."""
    network = ipaddress.ip_network(cidr)
    try:
        wanted = ipaddress.ip_address(address)
    except ValueError:
        return False
    offset = int(wanted) - int(network.network_address)
    last = network.num_addresses - (2 if network.version == 4 else 1)
    return wanted in network and 0 < offset <= min(last, MAX_OFFSET)


def settle_mac(conn: Connection, port_key: int, network_uuid: str, address: str) -> None:
    """The MAC address that goes with the IP address, if no port has it: a freed one can be used again at once
    (computeapi.macs)."""
    conn.execute(_SET_FREE_MAC, {"key": port_key, "new_mac": mac_for(network_uuid, address)})


def _free_mac(conn: Connection, network_uuid: str, address: str) -> str | None:
    """The same, for a port that is yet to be."""
    mac = mac_for(network_uuid, address)
    return mac if conn.execute(_OF_MAC, {"mac": mac}).first() is None else None


def _new_mac(conn: Connection) -> str:
    while True:
        mac = "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
        if conn.execute(_OF_MAC, {"mac": mac}).first() is None:
            return mac


def take_address(conn: Connection, subnet_key: int, port_key: int | None, wanted: str | None = None) -> str:
    """Give an address of the subnet to a port (None: reserve it); the address. Raises NoMoreAddresses, AddressInUse."""
    place = _choose(conn, conn.execute(_SUBNET, {"key": subnet_key}).one(), wanted)
    _give(conn, place, port_key)
    return place.address


class _Place(NamedTuple):
    """An address that can be given. `key`: of its row, where it was given before."""

    subnet_key: int
    offset: int
    address: str
    key: int | None
    is_next: bool  # the one at the high-water mark


def _choose(conn: Connection, subnet: Any, wanted: str | None = None) -> _Place:
    """An address of the subnet (a row of _RANGE). Raises NoMoreAddresses, AddressInUse."""
    network = ipaddress.ip_network(subnet.cidr)
    ranges = _ranges(network, subnet.pools_json) or [(subnet.first_offset, subnet.last_offset)]
    if wanted:
        offset = int(ipaddress.ip_address(wanted)) - int(network.network_address)
        row = _row_at(conn, subnet.id, offset)
    else:
        row = _first_free(conn, subnet.id, ranges)
    if row is not None:
        if not row.free:
            raise AddressInUse(f"Fixed IP address {wanted} is already in use.")
        return _Place(subnet.id, row.offset, row.address, row.id, is_next=False)
    if not wanted:
        offset = _next_unused(conn, subnet.id, subnet.next_offset, ranges)
    return _Place(subnet.id, offset, str(network.network_address + offset), None, is_next=not wanted)


def _give(conn: Connection, place: _Place, port_key: int | None) -> None:
    given = {"port_id": port_key, "reserved": int(port_key is None), "free": 0, "updated_at": clock.now()}
    if place.key is not None:
        update_row(conn, FixedIp, place.key, given)
        return
    if place.is_next:
        update_row(conn, Subnet, place.subnet_key, {"next_offset": place.offset + 1})
    row = {"subnet_id": place.subnet_key, "offset": place.offset, "address": place.address}
    insert_row(conn, FixedIp, row | given)


def _first_free(conn: Connection, subnet_key: int, ranges: list[tuple[int, int]]) -> Any:
    """The first address that was given back; those outside the ranges were asked for by name."""
    if len(ranges) == 1:
        first, last = ranges[0]
        return conn.execute(_FIRST_FREE_BETWEEN, {"subnet_id": subnet_key, "first": first, "last": last}).first()
    inside = or_(*(FixedIp.offset.between(*each) for each in ranges))
    return conn.execute(_FIRST_FREE.where(inside), {"subnet_id": subnet_key}).first()


def _choose_any(conn: Connection, subnets: Sequence[Any]) -> _Place:
    for number, subnet in enumerate(subnets, start=1):
        try:
            return _choose(conn, subnet)
        except NoMoreAddresses:
            if number == len(subnets):
                raise
    raise NoMoreAddresses


def take_any_address(conn: Connection, subnet_keys: list[int], port_key: int) -> str:
    """An address of the first of these subnets that has one. Raises NoMoreAddresses."""
    rows = {row.id: row for row in conn.execute(_ANY_SUBNET, {"keys": subnet_keys})}
    place = _choose_any(conn, [rows[key] for key in subnet_keys if key in rows])
    _give(conn, place, port_key)
    return place.address


def _ranges(network: Any, pools_json: str) -> list[tuple[int, int]]:
    """A subnet's allocation pools, as offsets."""
    base = int(network.network_address)
    return sorted(
        (
            int(ipaddress.ip_address(pool["start"])) - base,
            min(int(ipaddress.ip_address(pool["end"])) - base, MAX_OFFSET),
        )
        for pool in orjson.loads(pools_json)
    )


def _row_at(conn: Connection, subnet_key: int, offset: int) -> Any:
    return conn.execute(
        select(FixedIp.id, FixedIp.free, FixedIp.address, FixedIp.offset).where(
            FixedIp.subnet_id == subnet_key, FixedIp.offset == offset
        )
    ).first()


def _next_unused(conn: Connection, subnet_key: int, mark: int, ranges: list[tuple[int, int]]) -> int:
    """The first offset from the high-water mark on that nobody asked for by name before."""
    for first, last in ranges:
        offset = max(mark, first)
        while offset <= last:
            taken = conn.execute(_NEXT_TAKEN, {"subnet_id": subnet_key, "least": offset}).scalars()
            before = offset
            for known in taken:
                if known != offset:
                    return offset
                offset += 1
                if offset > last:
                    break
            else:
                if offset - before < 64:
                    return offset
    raise NoMoreAddresses("No fixed IP addresses available for network.")


def release(conn: Connection, server_id: int) -> None:
    """A server's interfaces are gone and its addresses free; ports that a user made outlive it.

    (A real Neutron's do so there.)
    """
    firewall.server_changed(conn, server_id)
    conn.execute(
        update(Port)
        .where(Port.server_id == server_id, Port.preserve == 1, Port.remote_status.is_(None))
        .values(server_id=None, device_owner="", updated_at=clock.now())
    )
    _delete_ports(conn, select(Port.id).where(Port.server_id == server_id))


def delete_port(conn: Connection, port_key: int) -> None:
    """A port is gone and its addresses free."""
    _delete_ports(conn, select(Port.id).where(Port.id == port_key))


def _delete_ports(conn: Connection, chosen: Any) -> None:
    keys = [row[0] for row in conn.execute(chosen)]
    if not keys:
        return
    security_groups.forget_ports(conn, keys)
    floating_ips.forget_ports(conn, keys)
    conn.execute(
        update(FixedIp)
        .where(FixedIp.port_id.in_(keys))
        .values(port_id=None, free=1 - FixedIp.reserved, updated_at=clock.now())
    )
    conn.execute(delete(Port).where(Port.id.in_(keys)))


_NICS = (
    select(
        Port.id,
        Port.uuid,
        Port.mac,
        Network.uuid,
        Network.name,
        Network.bridge,
        Network.mtu,
        FixedIp.address,
        Subnet.ip_version,
        Subnet.cidr,
        Subnet.gateway,
        Subnet.dhcp,
        Subnet.dns_json,
        Port.binding_json,
    )
    .join(Network, Network.id == Port.network_id)
    .outerjoin(FixedIp, FixedIp.port_id == Port.id)
    .outerjoin(Subnet, Subnet.id == FixedIp.subnet_id)
    .where(Port.server_id == bindparam("server_id"))
    .order_by(Port.position, Port.id, Subnet.ip_version, FixedIp.id)
)


def nics(conn: Connection, server_id: int) -> list[Nic]:
    """A server's interfaces in order, each with its addresses, for its host."""
    found: dict[int, Nic] = {}
    for key, port, mac, net, name, bridge, mtu, address, version, cidr, gateway, dhcp, dns, binding in conn.execute(
        _NICS, {"server_id": server_id}
    ):
        nic = found.setdefault(key, Nic(port, mac, net, name, bridge, mtu, (), binding))
        if address:
            item = NicAddress(address, version, cidr, gateway, bool(dhcp), tuple(orjson.loads(dns)))
            found[key] = replace(nic, addresses=(*nic.addresses, item))
    return list(found.values())


def macs_in_use(conn: Connection, macs: list[str]) -> set[str]:
    """Those of these MAC addresses that an interface has."""
    return set(conn.execute(select(Port.mac).where(Port.mac.in_(macs))).scalars())


def _shown(kind: str, key: Any, address: Any, version: Any, address_key: Any) -> Select[Any]:
    order = (literal(kind).label("kind"), Port.position.label("position"), key.label("key"))
    what = (version.label("version"), address_key.label("address_key"), Network.name, Port.mac, address)
    statement = select(*order, *what).select_from(Port).join(Network, Network.id == Port.network_id)
    return statement.where(Port.server_id == bindparam("server_id"))


_FIXED, _FLOATING, _THEIRS = "fixed", "floating", "in Neutron"  # in the order in which they are shown
_SHOWN = union_all(
    _shown(_FIXED, Port.id, FixedIp.address, Subnet.ip_version, FixedIp.id)
    .join(FixedIp, FixedIp.port_id == Port.id)
    .join(Subnet, Subnet.id == FixedIp.subnet_id),
    _shown(_FLOATING, FloatingIp.id, FloatingIp.address, literal(4), literal(0)).join(
        FloatingIp, FloatingIp.port_id == Port.id
    ),
    _shown(_THEIRS, Port.id, Port.remote_floating_json, literal(4), literal(0)).where(Port.remote_status.is_not(None)),
).order_by("kind", "position", "key", "version", "address_key")


def addresses_json(conn: Connection, server_id: int) -> str:
    """A server's `addresses` as the API shows them, by network label."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for kind, _position, _key, version, _address_key, name, mac, found in conn.execute(
        _SHOWN, {"server_id": server_id}
    ):
        for address in orjson.loads(found) if kind == _THEIRS else [found]:
            item = {
                "version": version,
                "addr": address,
                "OS-EXT-IPS:type": _FIXED if kind == _FIXED else _FLOATING,
                "OS-EXT-IPS-MAC:mac_addr": mac,
            }
            shown.setdefault(name, []).append(item)
    return orjson.dumps(shown).decode()


def refresh(conn: Connection, server_id: int) -> None:
    """Write a server's addresses_json anew, after an interface or address changed. Hosts are told."""
    security_groups.members_changed(conn, server_id)
    conn.execute(update(Server).where(Server.id == server_id).values(addresses_json=addresses_json(conn, server_id)))


def create_network(
    conn: Connection,
    *,
    name: str,
    cidr: str,
    project_id: str | None = None,
    shared: bool = False,
    gateway: str | None = None,
    dns: tuple[str, ...] = (),
    mtu: int | None = None,
) -> str:
    """A network with one subnet, its gateway the first address unless told; the network's uuid. Raises ValueError."""
    block = ipaddress.ip_network(cidr)
    network_uuid = str(uuid.uuid4())
    moment = clock.now()
    key = insert_key(
        conn,
        insert(Network).values(
            uuid=network_uuid,
            name=name,
            project_id=project_id,
            shared=int(shared),
            bridge="br" + network_uuid.replace("-", "")[:11],
            mtu=mtu,
            created_at=moment,
        ),
    )
    first, last = 1, block.num_addresses - (2 if block.version == 4 else 1)
    gateway = gateway or str(block.network_address + first)
    gateway_offset = int(ipaddress.ip_address(gateway)) - int(block.network_address)
    subnet_key = insert_key(
        conn,
        insert(Subnet).values(
            uuid=str(uuid.uuid4()),
            network_id=key,
            project_id=project_id,
            ip_version=block.version,
            cidr=str(block),
            gateway=gateway,
            dns_json=orjson.dumps(list(dns)).decode(),
            first_offset=first,
            last_offset=min(last, MAX_OFFSET),
            next_offset=first,
            created_at=moment,
        ),
    )
    if first <= gateway_offset <= min(last, MAX_OFFSET):
        take_address(conn, subnet_key, None, gateway)
    return network_uuid
