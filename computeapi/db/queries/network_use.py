# SPDX-License-Identifier: Apache-2.0
"""How many addresses of each subnet are in use."""

from __future__ import annotations

import ipaddress
from typing import Any

import orjson
from sqlalchemy import Connection, func, select

from computeapi.db.models import FixedIp, Network, Subnet


def addresses_by_subnet(conn: Connection, network_uuid: str | None) -> list[Any]:
    """Networks (or that one) with their subnets, and how many addresses of each a port has."""
    used = (
        select(func.count())
        .select_from(FixedIp)
        .where(FixedIp.subnet_id == Subnet.id, FixedIp.port_id.is_not(None))
        .scalar_subquery()
    )
    statement = (
        select(
            Network.uuid.label("network_id"),
            Network.name.label("network_name"),
            Network.project_id,
            Subnet.uuid.label("subnet_id"),
            Subnet.name.label("subnet_name"),
            Subnet.cidr,
            Subnet.ip_version,
            Subnet.pools_json,
            Subnet.first_offset,
            Subnet.last_offset,
            used.label("used"),
        )
        .select_from(Network)
        .outerjoin(Subnet, Subnet.network_id == Network.id)
        .order_by(Network.id, Subnet.id)
    )
    if network_uuid is not None:
        statement = statement.where(Network.uuid == network_uuid)
    return list(conn.execute(statement))


def pool_size(pools_json: str, first: int, last: int) -> int:
    """How many addresses a subnet may give out."""
    pools = orjson.loads(pools_json)
    if not pools:
        return max(0, last - first + 1)
    return sum(int(ipaddress.ip_address(pool["end"])) - int(ipaddress.ip_address(pool["start"])) + 1 for pool in pools)
