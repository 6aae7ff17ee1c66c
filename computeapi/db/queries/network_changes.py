# SPDX-License-Identifier: Apache-2.0
"""What both network APIs change in the same rows: networks, subnets and their reserved gateways, ports.

A network's row is locked while subnets or ports of it come and go, its subnets' rows while addresses do.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, insert, or_, select, update

from computeapi import clock
from computeapi.db.models import FixedIp, Network, Port, Subnet
from computeapi.db.queries import addresses, floating_ips
from computeapi.db.queries.addresses import MAX_OFFSET
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.networks import ROUTER_GATEWAY

Block = ipaddress.IPv4Network | ipaddress.IPv6Network
Pool = dict[str, str]  # start, end


def bridge_name(network_uuid: str) -> str:
    """A network's bridge on its hosts, unless somebody said another."""
    return "br" + network_uuid.replace("-", "")[:11]


def touch(conn: Connection, model: Any, key: int, row: dict[str, Any]) -> None:
    """Change a row, and note that."""
    conn.execute(
        update(model).where(model.id == key).values(revision=model.revision + 1, updated_at=clock.now(), **row)
    )


def lock_network(conn: Connection, key: int) -> bool:
    """Keep a network as it is until this transaction ends; False where it is gone."""
    return conn.execute(select(Network.id).where(Network.id == key).with_for_update()).first() is not None


def vlan_taken(conn: Connection, vlan: int, physical: str | None, but: int = 0) -> bool:
    """Whether another network has that VLAN of that physical network."""
    same = select(Network.id).where(
        Network.vlan == vlan, func.coalesce(Network.physical_network, "") == (physical or ""), Network.id != but
    )
    return conn.execute(same.limit(1)).first() is not None


def bridge_taken(conn: Connection, bridge: str) -> bool:
    """Whether another network has that bridge: on a host it can be one network's."""
    return conn.execute(select(Network.id).where(Network.bridge == bridge).limit(1)).first() is not None


def used_by_others(conn: Connection, key: int, project_id: str | None) -> bool:
    """Whether another project has ports on a network."""
    others = select(Port.id).where(
        Port.network_id == key, Port.project_id != (project_id or ""), Port.project_id.is_not(None)
    )
    return conn.execute(others.limit(1)).first() is not None


def is_gateway(conn: Connection, key: int) -> bool:
    """Whether a router's way out leads through a network."""
    gateways = select(Port.id).where(Port.network_id == key, Port.device_owner == ROUTER_GATEWAY)
    return conn.execute(gateways.limit(1)).first() is not None


def existing(conn: Connection, uuids: Sequence[str]) -> set[str]:
    """Those of these ids that networks have."""
    return {row[0] for row in conn.execute(select(Network.uuid).where(Network.uuid.in_(uuids)))}


def delete_network(conn: Connection, key: int) -> bool:
    """The network, its subnets and their addresses are gone; False, and nothing done, where it has ports."""
    lock_network(conn, key)
    if conn.execute(select(Port.id).where(Port.network_id == key).limit(1)).first() is not None:
        return False
    if floating_ips.of_network(conn, key):
        return False
    subnets = select(Subnet.id).where(Subnet.network_id == key)
    conn.execute(delete(FixedIp).where(FixedIp.subnet_id.in_(subnets)))
    conn.execute(delete(Subnet).where(Subnet.network_id == key))
    conn.execute(delete(Network).where(Network.id == key))
    return True


def overlapping(conn: Connection, block: Block, *, network_key: int | None = None) -> str | None:
    """The CIDR of a subnet (of that network; None: of any) that shares addresses with `block`."""
    statement = select(Subnet.cidr).where(Subnet.ip_version == block.version)
    if network_key is not None:
        statement = statement.where(Subnet.network_id == network_key)
    for cidr in conn.execute(statement).scalars():
        if ipaddress.ip_network(cidr).overlaps(block):
            return cidr
    return None


def served_elsewhere(conn: Connection, ip_version: int, network_key: int) -> list[Block]:
    """What hosts are the gateway of on other networks."""
    served = (
        select(Subnet.cidr)
        .join(Network, Network.id == Subnet.network_id)
        .where(
            Subnet.ip_version == ip_version,
            Subnet.gateway.is_not(None),
            Network.external == 0,
            Network.id != network_key,
        )
    )
    return [ipaddress.ip_network(cidr) for cidr in conn.execute(served).scalars()]


# --- subnets ---


def host_range(block: Block) -> tuple[int, int]:
    """The first and last offset that a host may have."""
    return 1, min(block.num_addresses - (2 if block.version == 4 else 1), MAX_OFFSET)


def offset_of(block: Block, address: str) -> int:
    """An address as its distance from the network's."""
    return int(ipaddress.ip_address(address)) - int(block.network_address)


def default_pools(block: Block, gateway: str | None, first: int | None = None, last: int | None = None) -> list[Pool]:
    """All addresses (from offset `first` to `last`) but the gateway's."""
    least, most = host_range(block)
    first, last = max(least, first or least), min(most, last or most)
    ranges = [(first, last)]
    if gateway is not None and first <= (offset := offset_of(block, gateway)) <= last:
        ranges = [(first, offset - 1), (offset + 1, last)]
    base = block.network_address
    return [{"start": str(base + low), "end": str(base + high)} for low, high in ranges if low <= high]


def without(block: Block, pools: Sequence[Pool], address: str) -> list[Pool]:
    """The pools less one address."""
    found: list[Pool] = []
    for pool in pools:
        found += default_pools(block, address, offset_of(block, pool["start"]), offset_of(block, pool["end"]))
    return found


def pool_columns(block: Block, pools: Sequence[Pool]) -> dict[str, Any]:
    """A subnet's columns that say what may be given out. Whatever was before, it is looked through anew."""
    first, last = host_range(block)
    if pools:
        first = min(offset_of(block, pool["start"]) for pool in pools)
        last = min(max(offset_of(block, pool["end"]) for pool in pools), MAX_OFFSET)
    else:
        first, last = 1, 0
    return {
        "pools_json": orjson.dumps(list(pools)).decode(),
        "first_offset": first,
        "last_offset": last,
        "next_offset": first,
    }


def insert_subnet(
    conn: Connection, network_key: int, block: Block, gateway: str | None, pools: Sequence[Pool], **columns: Any
) -> tuple[int, str]:
    """A subnet, its gateway's address kept back; its key and id."""
    subnet_uuid = str(uuid.uuid4())
    key = insert_key(
        conn,
        insert(Subnet).values(
            uuid=subnet_uuid,
            network_id=network_key,
            ip_version=block.version,
            cidr=str(block),
            gateway=gateway,
            created_at=clock.now(),
            **pool_columns(block, pools),
            **columns,
        ),
    )
    reserve(conn, key, block, gateway)
    return key, subnet_uuid


def reserve(conn: Connection, subnet_key: int, block: Block, address: str | None) -> bool:
    """Keep an address back (None, or one beyond what hosts may have: nothing to do); False where a port has it."""
    first, last = host_range(block)
    if address is None or not first <= offset_of(block, address) <= last:
        return True
    row = conn.execute(
        select(FixedIp.port_id, FixedIp.free, FixedIp.reserved).where(
            FixedIp.subnet_id == subnet_key, FixedIp.offset == offset_of(block, address)
        )
    ).first()
    if row is not None and not row[1]:
        return row[0] is None
    addresses.take_address(conn, subnet_key, None, address)
    return True


def unreserve(conn: Connection, subnet_key: int, address: str | None) -> None:
    """An address that was kept back is free."""
    conn.execute(
        update(FixedIp)
        .where(
            FixedIp.subnet_id == subnet_key,
            FixedIp.address == address,
            FixedIp.reserved == 1,
            FixedIp.port_id.is_(None),
        )
        .values(reserved=0, free=1, updated_at=clock.now())
    )


def subnet_in_use(conn: Connection, key: int) -> bool:
    """Whether a port has an address of a subnet."""
    taken = select(FixedIp.id).where(FixedIp.subnet_id == key, FixedIp.port_id.is_not(None))
    return conn.execute(taken.limit(1)).first() is not None


def delete_subnet(conn: Connection, key: int) -> bool:
    """The subnet and its addresses are gone; False, and nothing done, where a port has one."""
    conn.execute(select(Subnet.id).where(Subnet.id == key).with_for_update())
    if subnet_in_use(conn, key) or floating_ips.in_subnet(conn, key):
        return False
    conn.execute(delete(FixedIp).where(FixedIp.subnet_id == key))
    conn.execute(delete(Subnet).where(Subnet.id == key))
    return True


# --- ports ---


def mac_taken(conn: Connection, mac: str, but: int = 0) -> bool:
    """Whether another port has that MAC address."""
    return conn.execute(select(Port.id).where(Port.mac == mac, Port.id != but)).first() is not None


def subnets_for_ports(conn: Connection, network_key: int) -> list[Any]:
    """id, uuid, cidr and ip_version of a network's subnets, oldest first; locked in that order."""
    return list(
        conn.execute(
            select(Subnet.id, Subnet.uuid, Subnet.cidr, Subnet.ip_version, Subnet.gateway)
            .where(Subnet.network_id == network_key)
            .order_by(Subnet.id)
            .with_for_update()
        )
    )


def give_back(conn: Connection, port_key: int, kept: Sequence[str] = ()) -> None:
    """A port's addresses but those in `kept` are free."""
    floating_ips.forget_addresses(conn, port_key, kept)
    statement = update(FixedIp).where(FixedIp.port_id == port_key)
    if kept:
        statement = statement.where(FixedIp.address.not_in(kept))
    conn.execute(statement.values(port_id=None, free=1 - FixedIp.reserved, updated_at=clock.now()))


def gateway_to_port(conn: Connection, subnet_key: int, address: str, port_key: int) -> bool:
    """Give a subnet's gateway address, which was kept back, to a router's port; False where another port has it."""
    given = conn.execute(
        update(FixedIp)
        .where(
            FixedIp.subnet_id == subnet_key,
            FixedIp.address == address,
            FixedIp.port_id.is_(None),
            or_(FixedIp.reserved == 1, FixedIp.free == 1),
        )
        .values(port_id=port_key, reserved=0, free=0, updated_at=clock.now())
    )
    return given.rowcount == 1
