# SPDX-License-Identifier: Apache-2.0
"""Compute hosts as other hosts see them: what of them moves of servers need to know."""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, select, update

from computeapi import clock
from computeapi.db.models import Action, ActionEvent, Allocation, Host, Server
from computeapi.db.models.journal import FAILED, PENDING

CLEAN_UP = "clean_up"  # the operation


class HostRow(NamedTuple):
    """A host. `facts` are those of virt.base.Peer, as its compute service wrote them."""

    name: str
    node: str
    hypervisor_type: str
    facts: dict[str, Any]

    def shares_storage_with(self, other: HostRow) -> bool:
        """Whether both have the same pool of volumes."""
        return bool(self.facts.get("pool")) and self.facts.get("pool") == other.facts.get("pool")


_ALL = select(Host.name, Host.hypervisor_hostname, Host.hypervisor_type, Host.capabilities_json)


def every(conn: Connection) -> dict[str, HostRow]:
    """All hosts by name."""
    return {row[0]: HostRow(row[0], row[1], row[2], orjson.loads(row[3])) for row in conn.execute(_ALL)}


def addresses(conn: Connection) -> list[str]:
    """All hosts' own addresses."""
    return list(conn.execute(select(Host.host_ip)).scalars())


def find(conn: Connection, name: str) -> HostRow | None:
    """One host."""
    row = conn.execute(_ALL.where(Host.name == name)).first()
    return HostRow(row[0], row[1], row[2], orjson.loads(row[3])) if row else None


def share_storage(conn: Connection, one: str, other: str) -> bool:
    """Whether two hosts have the same pool of volumes."""
    first, second = find(conn, one), find(conn, other)
    return first is not None and second is not None and first.shares_storage_with(second)


def traces(conn: Connection, server_id: int) -> set[str]:
    """The hosts on which something of a server may be: where it takes something, and where cleaning up failed."""
    taken = conn.execute(select(Allocation.host).where(Allocation.server_id == server_id)).scalars()
    failed = select(Action.lands_json).where(
        Action.server_id == server_id, Action.operation == CLEAN_UP, Action.state == FAILED
    )
    left = (orjson.loads(text).get("hosts", {}).get("here") for text in conn.execute(failed).scalars())
    return {host for host in (*taken, *left) if host}


def in_open_work(conn: Connection, server_id: int) -> set[str]:
    """The hosts between which the open work of a server goes."""
    rows = conn.execute(select(Action.lands_json).where(Action.lane == server_id)).scalars()
    return {host for text in rows for host in orjson.loads(text).get("hosts", {}).values()}


def servers_on(conn: Connection, host: str) -> list[int]:
    """The keys of the servers on a host that nothing is being done to."""
    resting = (Server.host == host) & (Server.deleted == 0) & Server.task_state.is_(None)
    return list(conn.execute(select(Server.id).where(resting).order_by(Server.id)).scalars())


def requested_zone(conn: Connection, server_id: int) -> str | None:
    """The availability zone that a server's owner asked for."""
    return conn.execute(select(Server.requested_zone).where(Server.id == server_id)).scalar()


def take_back(conn: Connection, host: str, alive_since: str, operations: tuple[str, ...]) -> int:
    """Work on servers of `host` that went to a host which is down since: it comes back here, to be undone."""
    down = select(Host.name).where((Host.forced_down == 1) | (Host.last_seen_at < alive_since))
    mine = select(Server.id).where(Server.host == host, Server.deleted == 0)
    chosen = Action.lane.in_(mine) & Action.queue.in_(down) & (Action.queue != host) & Action.operation.in_(operations)
    rows = list(conn.execute(select(Action.id, Action.queue).where(chosen).order_by(Action.id).with_for_update()))
    for key, gone in rows:  # as many as there are moves to a host that has just died
        why = f"Compute host {gone} went down."
        values = {"queue": host, "state": PENDING, "running": None, "unwinding": 1, "message": why}
        conn.execute(update(Action).where(Action.id == key).values(**values))
        begun = (ActionEvent.action_id == key) & ActionEvent.finished_at.is_(None)
        conn.execute(update(ActionEvent).where(begun).values(finished_at=clock.now(), result="Error", details=why))
    return len(rows)
