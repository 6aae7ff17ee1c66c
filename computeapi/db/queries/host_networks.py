# SPDX-License-Identifier: Apache-2.0
"""The networks of a host as their rows say: what it needs to make them, and who is on them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, and_, case, func, select

from computeapi.db.models import FixedIp, Network, Port, Server, Subnet


class Facts(NamedTuple):
    """A network with its first IPv4 subnet (`cidr` is None where it has none): the one that its hosts serve.

    `extra` is what nova-network's API alone knows of it.
    """

    uuid: str
    bridge: str
    mtu: int | None
    vlan: int | None
    extra: dict[str, Any]
    cidr: str | None
    gateway: str | None
    dhcp: bool
    dns: tuple[str, ...]


class Interface(NamedTuple):
    """A server's interface with one of its addresses (None: it has none)."""

    port_uuid: str
    mac: str
    network_uuid: str
    address: str | None
    cidr: str | None
    hostname: str


#: A network's VLAN; tunnels have segments that are none.
VLAN = case((func.coalesce(Network.network_type, "vlan") == "vlan", Network.vlan))
_FACTS = (
    select(
        Network.uuid,
        Network.bridge,
        Network.mtu,
        VLAN,
        Network.extra_json,
        Subnet.cidr,
        Subnet.gateway,
        Subnet.dhcp,
        Subnet.dns_json,
    )
    .outerjoin(Subnet, and_(Subnet.network_id == Network.id, Subnet.ip_version == 4))
    .order_by(Network.id, Subnet.id)
)


def facts(conn: Connection, uuids: Iterable[str]) -> dict[str, Facts]:
    """Those of these networks that there are, by id."""
    found: dict[str, Facts] = {}
    for uuid, bridge, mtu, vlan, extra, cidr, gateway, dhcp, dns in conn.execute(
        _FACTS.where(Network.uuid.in_(list(uuids)))
    ):
        servers = tuple(orjson.loads(dns)) if dns else ()
        found.setdefault(uuid, Facts(uuid, bridge, mtu, vlan, orjson.loads(extra), cidr, gateway, bool(dhcp), servers))
    return found


def interfaces(conn: Connection, host: str) -> list[Interface]:
    """The interfaces of the servers that live on a host, one an address."""
    rows = conn.execute(
        select(Port.uuid, Port.mac, Network.uuid, FixedIp.address, Subnet.cidr, Server.hostname)
        .join(Network, Network.id == Port.network_id)
        .join(Server, Server.id == Port.server_id)
        .outerjoin(FixedIp, FixedIp.port_id == Port.id)
        .outerjoin(Subnet, Subnet.id == FixedIp.subnet_id)
        .where(Server.host == host, Server.deleted == 0)
        .order_by(Network.id, Port.id, FixedIp.id)
    )
    return [Interface._make(row) for row in rows]
