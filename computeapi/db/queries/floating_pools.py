# SPDX-License-Identifier: Apache-2.0
"""Where floating IPs come from and go to: external networks are the pools, by name.

An address that a project takes is one that waits in the pool (made in bulk by the operator), else one of the network's
subnets. Either way it is kept back there, so that nothing else gets it.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, delete, insert, select, update

from computeapi import clock
from computeapi.db.models import DnsEntry, FixedIp, FloatingIp, Network, Port, Subnet
from computeapi.db.queries import addresses, dns, firewall, floating_ips
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries.addresses import AddressInUse, NoMoreAddresses
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.network_changes import Block

_OF_POOL = '{"pool":true}'  # `extra_json` of the networks that are there for their addresses alone
_FEW = 500  # rows a statement


def pools(conn: Connection) -> list[Any]:
    """id, uuid and name of the external networks."""
    return list(
        conn.execute(
            select(Network.id, Network.uuid, Network.name, Network.is_default)
            .where(Network.external == 1)
            .order_by(Network.id)
        )
    )


def pool(conn: Connection, name: str | None, default: str) -> Any | None:
    """The pool of that name or id. None asked for: the one called `default`, else the default network, else the only
    one there is."""
    known = pools(conn)
    if name is not None:
        return next((row for row in known if name in (row.name, row.uuid)), None)
    named = [row for row in known if row.name == default] or [row for row in known if row.is_default]
    return named[0] if named else known[0] if len(known) == 1 else None


def take(conn: Connection, project_id: str, network_key: int, wanted: str | None = None, **more: Any) -> str:
    """A floating IP for a project: that address, or any; its id. Raises AddressInUse, NoMoreAddresses.

    `more` are columns, and `subnet_id` if it shall be of that subnet.
    """
    subnet_key = more.pop("subnet_id", None)
    changes.lock_network(conn, network_key)
    waiting = _waiting(conn, network_key, wanted, subnet_key)
    if waiting is not None:
        key, floating_uuid = waiting
        conn.execute(
            update(FloatingIp)
            .where(FloatingIp.id == key)
            .values(project_id=project_id, created_at=clock.now(), updated_at=None, revision=1, **more)
        )
        return str(floating_uuid)
    key, address = _take_address(conn, network_key, wanted, subnet_key)
    floating_uuid = str(uuid.uuid4())
    columns = {"uuid": floating_uuid, "project_id": project_id, "network_id": network_key, "subnet_id": key, **more}
    conn.execute(insert(FloatingIp).values(address=address, created_at=clock.now(), **columns))
    return floating_uuid


def _waiting(conn: Connection, network_key: int, wanted: str | None, subnet_key: int | None) -> Any | None:
    statement = select(FloatingIp.id, FloatingIp.uuid).where(
        FloatingIp.network_id == network_key, FloatingIp.project_id.is_(None)
    )
    if wanted is not None:
        statement = statement.where(FloatingIp.address == wanted)
    if subnet_key is not None:
        statement = statement.where(FloatingIp.subnet_id == subnet_key)
    return conn.execute(statement.order_by(FloatingIp.id).limit(1)).first()


def _take_address(conn: Connection, network_key: int, wanted: str | None, subnet_key: int | None) -> tuple[int, str]:
    """A subnet's key and an address of it."""
    subnets = [
        row
        for row in changes.subnets_for_ports(conn, network_key)
        if row.ip_version == 4 and subnet_key in (None, row.id)
    ]
    if wanted is not None:
        subnets = [row for row in subnets if addresses.may_have(row.cidr, wanted)]
    for row in subnets:
        try:
            return row.id, addresses.take_address(conn, row.id, None, wanted)
        except NoMoreAddresses:
            continue
    raise NoMoreAddresses


def give_back(conn: Connection, row: Any) -> None:
    """A project does without a floating IP: it waits in its pool again, or its address is free."""
    attach(conn, row, None, None)
    forget_names(conn, row.address)
    if row.pooled:
        conn.execute(
            update(FloatingIp)
            .where(FloatingIp.id == row.id)
            .values(project_id=None, description="", tags_json="[]", updated_at=clock.now())
        )
        return
    conn.execute(delete(FloatingIp).where(FloatingIp.id == row.id))
    changes.unreserve(conn, row.subnet_id, row.address)


def drop_unused(conn: Connection, network_key: int) -> None:
    """An external network's floating IPs that are for no port are gone, and their names with them."""
    unused = and_(FloatingIp.network_id == network_key, FloatingIp.port_id.is_(None))
    names = delete(DnsEntry).where(DnsEntry.address.in_(select(FloatingIp.address).where(unused)))
    if conn.execute(names).rowcount:
        dns.tell_all(conn)
    conn.execute(delete(FloatingIp).where(unused))


def forget_names(conn: Connection, address: str) -> None:
    """No DNS entry has the address any more."""
    if conn.execute(delete(DnsEntry).where(DnsEntry.address == address)).rowcount:
        dns.tell_all(conn)


def attach(conn: Connection, row: Any, port_key: int | None, fixed_address: str | None) -> None:
    """A floating IP is for that address of that port (None: for none). Servers show it, and hosts are told."""
    before = row.port_id
    if (before, row.fixed_address) == (port_key, fixed_address):
        return
    floating_ips.change(conn, row.id, port_id=port_key, fixed_address=fixed_address, refused=None)
    for server_key in floating_ips.servers_of(conn, before, port_key):  # two at most
        addresses.refresh(conn, server_key)
    ports = [key for key in (before, port_key) if key is not None]
    firewall.ports_changed(conn, Port.id.in_(ports))


# --- in bulk ---


def ensure_pool(conn: Connection, name: str, block: Block) -> tuple[int, int]:
    """The keys of an external network of that name and of its subnet that has these addresses; made if need be."""
    found = pool(conn, name, "")
    if found is None:
        network_uuid = str(uuid.uuid4())
        network_key = insert_key(
            conn,
            insert(Network).values(
                uuid=network_uuid,
                name=name,
                external=1,
                extra_json=_OF_POOL,
                bridge=changes.bridge_name(network_uuid),
                created_at=clock.now(),
            ),
        )
    else:
        network_key = found.id
        changes.lock_network(conn, network_key)
    for row in changes.subnets_for_ports(conn, network_key):
        subnet = ipaddress.ip_network(row.cidr)
        if subnet.version == block.version and block.subnet_of(subnet):  # type: ignore[arg-type]
            return network_key, row.id
    subnet_key, _uuid = changes.insert_subnet(conn, network_key, block, None, [], dhcp=0)
    return network_key, subnet_key


def known(conn: Connection, block: Block) -> list[Any]:
    """The floating IPs of which the address lies in a block."""
    rows = conn.execute(select(*FloatingIp.__table__.c).order_by(FloatingIp.id))
    return [row for row in rows if ipaddress.ip_address(row.address) in block]


def add(conn: Connection, network_key: int, subnet_key: int, wanted: Sequence[str], interface: str | None) -> None:
    """Addresses more in a pool. Raises AddressInUse where something has one already."""
    cidr = conn.execute(select(Subnet.cidr).where(Subnet.id == subnet_key)).scalar_one()
    base = int(ipaddress.ip_network(cidr).network_address)
    moment = clock.now()
    offsets = {int(ipaddress.ip_address(address)) - base: address for address in wanted}
    _reserve(conn, subnet_key, offsets, moment)
    rows = [
        {
            "uuid": str(uuid.uuid4()),
            "network_id": network_key,
            "subnet_id": subnet_key,
            "address": address,
            "interface": interface,
            "pooled": 1,
            "created_at": moment,
        }
        for address in wanted
    ]
    conn.execute(insert(FloatingIp), rows)


def _reserve(conn: Connection, subnet_key: int, offsets: dict[int, str], moment: str) -> None:
    least, most = min(offsets), max(offsets)
    here = (FixedIp.subnet_id == subnet_key, FixedIp.offset.between(least, most))
    used = conn.execute(select(FixedIp.offset, FixedIp.free).where(*here)).all()
    taken = [offset for offset, free in used if not free and offset in offsets]
    if taken:
        raise AddressInUse(f"Address {offsets[taken[0]]} is already in use.")
    conn.execute(
        update(FixedIp).where(*here, FixedIp.free == 1).values(free=0, reserved=1, port_id=None, updated_at=moment)
    )
    fresh = sorted(set(offsets) - {offset for offset, _ in used})
    rows = [
        {"subnet_id": subnet_key, "offset": offset, "address": offsets[offset], "reserved": 1, "updated_at": moment}
        for offset in fresh
    ]
    if rows:
        conn.execute(insert(FixedIp), rows)


def drop(conn: Connection, rows: Sequence[Any]) -> None:
    """These floating IPs are gone for good, also for those who have them; a pool made for them goes with its last."""
    for row in rows:
        if row.port_id is not None:
            attach(conn, row, None, None)
    for start in range(0, len(rows), _FEW):
        part = rows[start : start + _FEW]
        named = [row.address for row in part]
        conn.execute(delete(DnsEntry).where(DnsEntry.address.in_(named)))
        conn.execute(delete(FloatingIp).where(FloatingIp.id.in_([row.id for row in part])))
        conn.execute(
            update(FixedIp)
            .where(
                FixedIp.subnet_id.in_({row.subnet_id for row in part}),
                FixedIp.address.in_(named),
                FixedIp.port_id.is_(None),
            )
            .values(reserved=0, free=1, updated_at=clock.now())
        )
    _drop_pools(conn, {row.network_id for row in rows})


def _drop_pools(conn: Connection, keys: set[int]) -> None:
    left = select(FloatingIp.network_id).where(FloatingIp.network_id.in_(keys))
    empty = select(Network.id).where(Network.id.in_(keys), Network.extra_json == _OF_POOL, Network.id.not_in(left))
    for key in conn.execute(empty).scalars().all():  # as many as the operator's range has pools
        changes.delete_network(conn, key)
