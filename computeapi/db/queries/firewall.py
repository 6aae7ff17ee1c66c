# SPDX-License-Identifier: Apache-2.0
"""Telling hosts that what they filter and translate has changed, and what that is now.

A hint is a hidden row of the journal. It is only a hint: each host also looks for itself, at its start and every now
and then, so that nothing hangs on one.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, func, insert, or_, select

from computeapi import clock
from computeapi.db.models import Action, Allocation, Port, PortSecurityGroup, SecurityGroupRule, Server
from computeapi.db.models.journal import PENDING

APPLY = "apply_firewall"


def groups_changed(conn: Connection, keys: Iterable[int]) -> None:
    """The rules or the members of these groups are others: tell every host with a port that this is about."""
    wanted = sorted(keys)
    if not wanted:
        return
    naming = select(SecurityGroupRule.group_id).where(SecurityGroupRule.remote_group_id.in_(wanted))
    concerned = select(PortSecurityGroup.port_id).where(
        or_(PortSecurityGroup.group_id.in_(wanted), PortSecurityGroup.group_id.in_(naming))
    )
    ports_changed(conn, Port.id.in_(concerned))


def ports_changed(conn: Connection, *chosen: ColumnElement[bool]) -> None:
    """Tell every host that has a server with one of these ports, or will have it."""
    servers = select(Port.server_id).where(*chosen, Port.server_id.is_not(None))
    tell(conn, select(Allocation.host).where(Allocation.server_id.in_(servers)).distinct())


def server_changed(conn: Connection, server_key: int) -> None:
    """Tell the host of a server."""
    tell(conn, select(Server.host).where(Server.id == server_key, Server.host.is_not(None)))


def tell(conn: Connection, hosts: Select[Any]) -> None:
    """Tell the hosts whose names the statement selects."""
    names = [name for name in conn.execute(hosts).scalars() if name]
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
    conn.execute(insert(Action), rows)
    if conn.dialect.name == "postgresql":  # as Database.notify, which not every caller has
        for name in names:  # as many as there are hosts
            conn.execute(select(func.pg_notify("computeapi", name)))


def forget_hints(conn: Connection, host: str) -> None:
    """Whoever looks at everything after this needs no hint that was given before."""
    conn.execute(delete(Action).where(Action.queue == host, Action.operation == APPLY, Action.state == PENDING))
