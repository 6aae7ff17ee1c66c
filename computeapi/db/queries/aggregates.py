# SPDX-License-Identifier: Apache-2.0
"""Statements on host aggregates, and what follows from them: each host's availability zone (Host.availability_zone).

All that change something are asked after `Database.lock(conn, LOCK)`. A host is in one zone at most, and its zone does
not change while servers are on it. Sentences: nova/compute/api.py (AggregateAPI).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, delete, func, insert, select, update

from computeapi import clock, errors
from computeapi.db.models import Aggregate, AggregateHost, Host, Server
from computeapi.db.queries.common import insert_key

LOCK = "aggregates"


class AggregateRow(NamedTuple):
    """An aggregate with its hosts, in the order they came in."""

    id: int
    uuid: str
    name: str
    availability_zone: str | None
    metadata_json: str
    created_at: str
    updated_at: str | None
    hosts: list[str]


_ALL = select(
    Aggregate.id,
    Aggregate.uuid,
    Aggregate.name,
    Aggregate.availability_zone,
    Aggregate.metadata_json,
    Aggregate.created_at,
    Aggregate.updated_at,
).order_by(Aggregate.id)
_HOSTS = select(AggregateHost.aggregate_id, AggregateHost.host).order_by(AggregateHost.id)


def every(conn: Connection) -> list[AggregateRow]:
    """All aggregates, by id. Asks twice: use `Database.snapshot`."""
    hosts: dict[int, list[str]] = {}
    rows = conn.execute(_ALL).all()
    for key, host in conn.execute(_HOSTS):
        hosts.setdefault(key, []).append(host)
    return [AggregateRow(*row, hosts=hosts.get(row[0], [])) for row in rows]


def find(conn: Connection, identifier: int) -> AggregateRow:
    """The aggregate with that id. Raises NotFound (AggregateNotFound)."""
    row = conn.execute(_ALL.where(Aggregate.id == identifier)).first() if 0 < identifier < 2**63 else None
    if row is None:
        raise errors.NotFound(f"Aggregate {identifier} could not be found.")
    hosts = conn.execute(_HOSTS.where(AggregateHost.aggregate_id == identifier))
    return AggregateRow(*row, hosts=[host for _, host in hosts])


def create(conn: Connection, uuid: str, name: str, zone: str | None) -> AggregateRow:
    """A new aggregate without hosts. Raises Conflict (AggregateNameExists)."""
    _check_name(conn, name)
    metadata = {"availability_zone": zone} if zone else {}
    values = {"uuid": uuid, "name": name, **_zone_columns(metadata), "created_at": clock.now()}
    return find(conn, insert_key(conn, insert(Aggregate).values(**values)))


def _check_name(conn: Connection, name: str, but: int = 0) -> None:
    taken = select(Aggregate.id).where(Aggregate.name == name, Aggregate.id != but)
    if conn.execute(taken).first() is not None:
        raise errors.Conflict(f"Aggregate {name} already exists.")


def _zone_columns(metadata: dict[str, str]) -> dict[str, Any]:
    return {"availability_zone": metadata.get("availability_zone"), "metadata_json": orjson.dumps(metadata).decode()}


def rename(conn: Connection, aggregate: AggregateRow, name: str) -> None:
    """Give an aggregate another name. Raises Conflict (AggregateNameExists)."""
    _check_name(conn, name, aggregate.id)
    conn.execute(update(Aggregate).where(Aggregate.id == aggregate.id).values(name=name, updated_at=clock.now()))


def set_metadata(conn: Connection, aggregate: AggregateRow, changes: dict[str, str | None], refused: str) -> None:
    """Set keys of an aggregate's metadata, or (None) remove them.

    Raises BadRequest, which begins with `refused`, for a zone that its hosts can't get.
    """
    if "availability_zone" in changes:
        _check_zone(conn, aggregate, changes["availability_zone"], refused)
    merged = orjson.loads(aggregate.metadata_json) | changes
    kept = {key: value for key, value in merged.items() if value is not None}
    values = {**_zone_columns(kept), "updated_at": clock.now()}
    conn.execute(update(Aggregate).where(Aggregate.id == aggregate.id).values(**values))
    _set_zones(conn, aggregate.hosts)


def _check_zone(conn: Connection, aggregate: AggregateRow, zone: str | None, refused: str) -> None:
    if not zone:
        reason = f"Aggregate {aggregate.name} does not support empty named availability zone"
    elif others := _other_zones(conn, aggregate, aggregate.hosts) - {zone}:
        reason = f"One or more hosts already in availability zone(s) {sorted(others)}"
    elif zone != aggregate.availability_zone and _count_servers(conn, aggregate.hosts):
        reason = "One or more hosts contain instances in this zone"
    else:
        return
    raise errors.BadRequest(f"{refused} Reason: {reason}.")


def _other_zones(conn: Connection, aggregate: AggregateRow, hosts: Collection[str]) -> set[str]:
    """The zones that other aggregates put these hosts into."""
    statement = (
        select(Aggregate.availability_zone)
        .join(AggregateHost, AggregateHost.aggregate_id == Aggregate.id)
        .where(AggregateHost.host.in_(list(hosts)), Aggregate.id != aggregate.id)
        .where(Aggregate.availability_zone.is_not(None))
    )
    return {str(zone) for zone in conn.execute(statement.distinct()).scalars()}


def _count_servers(conn: Connection, hosts: Collection[str]) -> int:
    """How many servers are on these hosts; the hosts' rows stay locked, so that none comes in meanwhile."""
    names = list(hosts)
    conn.execute(select(Host.id).where(Host.name.in_(names)).order_by(Host.id).with_for_update())
    return conn.execute(select(func.count()).where(Server.host.in_(names), Server.deleted == 0)).scalar() or 0


def _set_zones(conn: Connection, hosts: Collection[str]) -> None:
    """Write these hosts' zones anew."""
    zone = (
        select(func.min(Aggregate.availability_zone))
        .join(AggregateHost, AggregateHost.aggregate_id == Aggregate.id)
        .where(AggregateHost.host == Host.name)
        .correlate(Host)
        .scalar_subquery()
    )
    if hosts:
        conn.execute(update(Host).where(Host.name.in_(list(hosts))).values(availability_zone=zone))


def add_host(conn: Connection, aggregate: AggregateRow, host: str) -> None:
    """Put a host into an aggregate. Raises NotFound for an unknown one; Conflict if it is in, or would change zone."""
    if conn.execute(select(Host.id).where(Host.name == host)).first() is None:
        raise errors.NotFound(f"Compute host {host} could not be found.")
    zone = aggregate.availability_zone
    before = _other_zones(conn, aggregate, [host])
    if zone and before - {zone}:
        reason = f"One or more hosts already in availability zone(s) {sorted(before)}"
        raise errors.Conflict(f"Cannot add host to aggregate {aggregate.id}. Reason: {reason}.")
    if host in aggregate.hosts:
        raise errors.Conflict(f"Aggregate {aggregate.id} already has host {host}.")
    if zone and not before:
        _check_empty(conn, aggregate, host, None, zone, "Cannot add host to")
    conn.execute(insert(AggregateHost).values(aggregate_id=aggregate.id, host=host))
    _set_zones(conn, [host])


def remove_host(conn: Connection, aggregate: AggregateRow, host: str) -> None:
    """Take a host out of an aggregate. Raises NotFound where it is not in it; Conflict where it would change zone."""
    if host not in aggregate.hosts:
        raise errors.NotFound(f"Cannot remove host {host} in aggregate {aggregate.id}")
    zone = aggregate.availability_zone
    if zone and not _other_zones(conn, aggregate, [host]):
        _check_empty(conn, aggregate, host, zone, None, "Cannot remove host from")
    mine = (AggregateHost.aggregate_id == aggregate.id) & (AggregateHost.host == host)
    conn.execute(delete(AggregateHost).where(mine))
    _set_zones(conn, [host])


def _check_empty(
    conn: Connection, aggregate: AggregateRow, host: str, before: str | None, after: str | None, refused: str
) -> None:
    """Raise Conflict where servers are on a host that would change its zone."""
    if count := _count_servers(conn, [host]):
        raise errors.Conflict(
            f"{refused} aggregate {aggregate.id}. Reason: the availability zone of host {host} would change from "
            f"'{before}' to '{after}', and there are {count} servers on it. Move them away first, or shelve them with "
            "offload and unshelve them later."
        )


def remove(conn: Connection, aggregate: AggregateRow) -> None:
    """Delete an aggregate. Raises BadRequest where hosts are in it."""
    if aggregate.hosts:
        raise errors.BadRequest(
            f"Cannot remove host from aggregate {aggregate.id}. Reason: Host aggregate is not empty."
        )
    conn.execute(delete(Aggregate).where(Aggregate.id == aggregate.id))


# --- for the scheduler ---


_METADATA = select(AggregateHost.host, Aggregate.metadata_json).join(
    Aggregate, Aggregate.id == AggregateHost.aggregate_id
)


def metadata_by_host(conn: Connection) -> dict[str, dict[str, set[str]]]:
    """Of each host in an aggregate: every value of every metadata key of its aggregates."""
    found: dict[str, dict[str, set[str]]] = {}
    for host, stored in conn.execute(_METADATA):
        mine = found.setdefault(host, {})
        for key, value in orjson.loads(stored).items():
            mine.setdefault(key, set()).add(value)
    return found
