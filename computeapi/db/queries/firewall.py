# SPDX-License-Identifier: Apache-2.0
"""Telling hosts that what they filter and translate has changed, and what that is now.

A hint is a hidden row of the journal. It is only a hint: each host also looks for itself, at its start and every now
and then, so that nothing hangs on one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    func,
    or_,
    select,
    union_all,
    update,
)

from computeapi import clock
from computeapi.db.engine import wake
from computeapi.db.models import (
    Action,
    Allocation,
    DnsDomain,
    DnsEntry,
    FixedIp,
    FloatingIp,
    Host,
    Network,
    Port,
    PortSecurityGroup,
    SecurityGroup,
    SecurityGroupRule,
    Server,
    Subnet,
)
from computeapi.db.models.journal import PENDING
from computeapi.db.queries.common import insert_rows
from computeapi.db.queries.host_networks import VLAN

APPLY = "apply_firewall"


def groups_changed(conn: Connection, keys: Iterable[int]) -> None:
    """The rules or the members of these groups are others: tell every host with a port that this is about."""
    wanted = sorted(keys)
    if not wanted:
        return
    tell(conn, _HOSTS_OF_GROUPS, {"keys": wanted})


def ports_changed(conn: Connection, *chosen: ColumnElement[bool]) -> None:
    """Tell every host that has a server with one of these ports, or will have it."""
    tell(conn, _hosts_of(*chosen))


def _hosts_of(*chosen: ColumnElement[bool]) -> Select[Any]:
    servers = select(Port.server_id).where(*chosen, Port.server_id.is_not(None))
    return select(Allocation.host).where(Allocation.server_id.in_(servers)).distinct()


_CHANGED: BindParameter[Any] = bindparam("keys", expanding=True)
_HOSTS_OF_GROUPS = _hosts_of(
    Port.id.in_(
        select(PortSecurityGroup.port_id).where(
            PortSecurityGroup.group_id.in_(
                union_all(  # not two conditions with OR: no index would be looked into
                    select(SecurityGroup.id).where(SecurityGroup.id.in_(_CHANGED)),
                    select(SecurityGroupRule.group_id).where(SecurityGroupRule.remote_group_id.in_(_CHANGED)),
                )
            )
        )
    )
)


def networks_changed(conn: Connection, keys: Iterable[int]) -> None:
    """Of these ports those that are routers' link networks: tell every host with a server on one of them."""
    linking = Port.__table__.alias("linking")
    networks = select(linking.c.network_id).where(linking.c.id.in_(list(keys)), linking.c.router_id.is_not(None))
    ports_changed(conn, Port.network_id.in_(networks))


def server_changed(conn: Connection, server_key: int) -> None:
    """Tell the host of a server."""
    tell(conn, select(Server.host).where(Server.id == server_key, Server.host.is_not(None)))


def tell(conn: Connection, hosts: Select[Any], given: Mapping[str, Any] | None = None) -> None:
    """Tell the hosts whose names the statement selects."""
    tell_hosts(conn, [name for name in conn.execute(hosts, given or {}).scalars() if name])


def tell_hosts(conn: Connection, names: list[str]) -> None:
    """Tell these hosts."""
    if not names:
        return
    moment = clock.now()
    rows = [
        {
            "request_id": f"req-{uuid.uuid4()}",
            "name": APPLY,
            "operation": APPLY,
            "hidden": 1,
            "state": PENDING,
            "queue": name,
            "created_at": moment,
            "updated_at": moment,
        }
        for name in names
    ]
    insert_rows(conn, Action, rows)
    wake(conn, *names)


def forget_hints(conn: Connection, host: str) -> None:
    """Whoever looks at everything after this needs no hint that was given before."""
    conn.execute(delete(Action).where(Action.queue == host, Action.operation == APPLY, Action.state == PENDING))


# --- what a host needs to know ---


def _here(host: str) -> Select[Any]:
    """The keys of the servers that are on a host, or are to come, or have not left it for good."""
    return select(Allocation.server_id).where(Allocation.host == host)


def ports(conn: Connection, host: str) -> list[Any]:
    """The interfaces of its servers, one row an address: id, uuid, mac, port_security, address_pairs_json, address,
    network_uuid, bridge, vlan, extra_json, and the subnet's cidr, ip_version and gateway."""
    return list(
        conn.execute(
            select(
                Port.id,
                Port.uuid,
                Port.mac,
                Port.port_security,
                Port.address_pairs_json,
                Port.network_id,
                Network.uuid.label("network_uuid"),
                Network.bridge,
                VLAN.label("vlan"),
                Network.extra_json,
                FixedIp.address,
                Subnet.cidr,
                Subnet.ip_version,
                Subnet.gateway,
            )
            .join(Network, Network.id == Port.network_id)
            .outerjoin(FixedIp, FixedIp.port_id == Port.id)
            .outerjoin(Subnet, Subnet.id == FixedIp.subnet_id)
            .where(Port.server_id.in_(_here(host)))
            .order_by(Port.id, FixedIp.id)
        )
    )


def rules(conn: Connection, host: str) -> list[Any]:
    """The rules of those interfaces' groups: group_id and what the rule says, with the remote group's uuid."""
    remote = SecurityGroup.__table__.alias("remote")
    of_ports = select(PortSecurityGroup.group_id).join(Port, Port.id == PortSecurityGroup.port_id)
    return list(
        conn.execute(
            select(
                SecurityGroupRule.group_id,
                SecurityGroupRule.direction,
                SecurityGroupRule.ethertype,
                SecurityGroupRule.protocol,
                SecurityGroupRule.port_min,
                SecurityGroupRule.port_max,
                SecurityGroupRule.remote_cidr,
                SecurityGroupRule.remote_group_id,
                remote.c.uuid.label("remote_uuid"),
            )
            .outerjoin(remote, remote.c.id == SecurityGroupRule.remote_group_id)
            .where(SecurityGroupRule.group_id.in_(of_ports.where(Port.server_id.in_(_here(host)))))
            .order_by(SecurityGroupRule.id)
        )
    )


def groups_of_ports(conn: Connection, host: str) -> list[Any]:
    """(port_id, group_id) of those interfaces."""
    return list(
        conn.execute(
            select(PortSecurityGroup.port_id, PortSecurityGroup.group_id)
            .join(Port, Port.id == PortSecurityGroup.port_id)
            .where(Port.server_id.in_(_here(host)))
            .order_by(PortSecurityGroup.port_id, PortSecurityGroup.group_id)
        )
    )


def members(conn: Connection, keys: Iterable[int]) -> list[Any]:
    """(group's uuid, address) of all members of these groups, wherever they are."""
    return list(
        conn.execute(
            select(SecurityGroup.uuid, FixedIp.address)
            .select_from(PortSecurityGroup)
            .join(SecurityGroup, SecurityGroup.id == PortSecurityGroup.group_id)
            .join(FixedIp, FixedIp.port_id == PortSecurityGroup.port_id)
            .where(PortSecurityGroup.group_id.in_(list(keys)))
        )
    )


def routed(conn: Connection, networks: Iterable[int]) -> list[Any]:
    """(router's key, bridge) of the routers' interfaces on these networks."""
    return list(
        conn.execute(
            select(Port.router_id, Network.bridge)
            .distinct()
            .join(Network, Network.id == Port.network_id)
            .where(Port.router_id.is_not(None), Network.external == 0, Port.network_id.in_(list(networks)))
        )
    )


def floating(conn: Connection, host: str) -> list[Any]:
    """(floating address, fixed address, why it is refused) for the servers that live on a host."""
    return list(
        conn.execute(
            select(FloatingIp.address, FloatingIp.fixed_address, FloatingIp.refused)
            .join(Port, Port.id == FloatingIp.port_id)
            .join(Server, Server.id == Port.server_id)
            .join(FixedIp, and_(FixedIp.port_id == Port.id, FixedIp.address == FloatingIp.fixed_address))
            .where(Server.host == host, Server.deleted == 0)
            .order_by(FloatingIp.id)
        )
    )


def refuse(conn: Connection, address: str, fixed_address: str, why: str | None) -> None:
    """Its host does not translate a floating IP; None: it does."""
    mine = (FloatingIp.address == address, FloatingIp.fixed_address == fixed_address)
    conn.execute(update(FloatingIp).where(*mine).values(refused=why))


def idle_servers(conn: Connection, host: str, taps: Iterable[str]) -> list[Any]:
    """tap, id, uuid, project_id and user_id of a host's servers that have no open work, by the devices of their
    interfaces."""
    tap = func.substr(Port.uuid, 1, 11)
    busy = select(Action.id).where(Action.lane == Server.id).exists()
    wanted = tap.in_([name.removeprefix("tap") for name in taps])
    return list(
        conn.execute(
            select(tap.label("tap"), Server.id, Server.uuid, Server.project_id, Server.user_id)
            .join(Server, Server.id == Port.server_id)
            .where(wanted, Server.host == host, Server.deleted == 0, ~busy)
            .order_by(Server.id)
        )
    )


def names(conn: Connection, host: str, default_zone: str) -> list[Any]:
    """(entry's name, domain, address) that guests on a host may ask for: all public ones, and those of its zone."""
    zone = select(func.coalesce(Host.availability_zone, default_zone)).where(Host.name == host).scalar_subquery()
    return list(
        conn.execute(
            select(DnsEntry.name, DnsDomain.domain, DnsEntry.address)
            .join(DnsDomain, DnsDomain.id == DnsEntry.domain_id)
            .where(
                or_(
                    DnsDomain.scope == "public",
                    DnsDomain.availability_zone.is_(None),
                    DnsDomain.availability_zone == zone,
                )
            )
            .order_by(DnsEntry.id)
        )
    )
