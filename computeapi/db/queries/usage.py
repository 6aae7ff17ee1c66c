# SPDX-License-Identifier: Apache-2.0
"""What servers were there in a period, and how large: for usage reports and audits.

A server counts from its launch to its end, with the size that it had at each moment: a resize is known by its row in
`migrations` (switched_at, reverted_at), the newest size by the server's own row.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, and_, or_, select

from computeapi import clock
from computeapi.db.models import Migration, Server


class Size(NamedTuple):
    """What a flavor gives: memory in MiB, disk (root and ephemeral) in GiB."""

    vcpus: int
    memory_mb: int
    disk_gb: int


class Usage(NamedTuple):
    """A server in a period. `parts` are (hours, size), in order; `hours` their sum."""

    project_id: str
    uuid: str
    name: str
    flavor: str
    vm_state: str
    size: Size  # the newest
    launched_at: str
    terminated_at: str | None
    hours: float
    parts: list[tuple[float, Size]]


Change = tuple[str, Size]  # when, and what the size was until then

_SERVERS = select(
    Server.id,
    Server.project_id,
    Server.uuid,
    Server.name,
    Server.flavor_json,
    Server.vm_state,
    Server.vcpus,
    Server.memory_mb,
    Server.disk_gb,
    Server.created_at,
    Server.launched_at,
    Server.terminated_at,
).order_by(Server.id)
_RESIZES = (
    select(
        Migration.server_id,
        Migration.switched_at,
        Migration.reverted_at,
        Migration.old_flavor_json,
        Migration.new_flavor_json,
    )
    .join(Server, Server.id == Migration.server_id)
    .where(
        Migration.switched_at.is_not(None),
        Migration.old_flavor_json.is_not(None),
        Migration.new_flavor_json.is_not(None),
    )
    .order_by(Migration.id)
)


def there_in(begin: str, end: str) -> ColumnElement[bool]:
    """A condition: the server ran at some moment of the period (stored times)."""
    resized = select(Migration.server_id).where(Migration.switched_at.is_not(None))
    launched = or_(Server.launched_at < end, and_(Server.created_at < end, Server.id.in_(resized)))
    return and_(launched, or_(Server.terminated_at.is_(None), Server.terminated_at > begin))


def in_period(conn: Connection, begin: str, end: str, project_id: str | None = None) -> Iterator[Usage]:
    """The servers of a period (of that project; None: of all), oldest first. Asks twice: use `Database.snapshot`."""
    there = there_in(begin, end)
    if project_id is not None:
        there = and_(there, Server.project_id == project_id)
    changes: dict[int, list[Change]] = {}
    # What changed after the period matters too: it says what the size was in it.
    late = or_(Migration.switched_at > begin, Migration.reverted_at > begin)
    row: Any
    for row in conn.execute(_RESIZES.where(there, late)):
        key, switched, reverted, old, new = row
        mine = changes.setdefault(key, [])
        mine.append((switched, _size(old)))
        if reverted is not None:
            mine.append((reverted, _size(new)))
    for row in conn.execute(_SERVERS.where(there)):
        key, project, uuid, name, flavor, vm_state, vcpus, memory, disk, created, launched, ended = row
        if key in changes:  # a resize launches a server anew
            launched = created
        size = Size(vcpus, memory, disk)
        first, last = max(launched, begin), min(ended or end, end)
        parts = list(_parts(first, last, sorted(changes.get(key, [])), size))
        flavor_name = orjson.loads(flavor)["name"]
        hours = _hours(first, last)
        yield Usage(project, uuid, name, flavor_name, vm_state, size, launched, ended, hours, parts)


def _size(flavor_json: str) -> Size:
    flavor = orjson.loads(flavor_json)
    return Size(flavor["vcpus"], flavor["ram"], flavor["disk"] + flavor.get("ephemeral", 0))


def _parts(first: str, last: str, changes: list[Change], newest: Size) -> Iterator[tuple[float, Size]]:
    for moment, before in changes:
        if moment <= first:
            continue
        yield _hours(first, min(moment, last)), before
        first = moment
        if first >= last:
            return
    yield _hours(first, last), newest


def _hours(first: str, last: str) -> float:
    return max(0.0, (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds() / 3600)


def seconds_up(usage: Usage) -> int:
    """For how long the server ran until now, or until its end."""
    end = usage.terminated_at or clock.now()
    return int((datetime.fromisoformat(end) - datetime.fromisoformat(usage.launched_at)).total_seconds())
