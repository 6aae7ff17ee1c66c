# SPDX-License-Identifier: Apache-2.0
"""Statements on server groups. A server is a member from the transaction that makes it, and counts until deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select

from computeapi import clock, errors, states
from computeapi.db.models import Server, ServerGroup, ServerGroupMember


class GroupRow(NamedTuple):
    """A server group. `max_per_host` is anti-affinity's."""

    id: int
    uuid: str
    project_id: str
    user_id: str
    name: str
    policy: str
    max_per_host: int


_ALL: Any = select(
    ServerGroup.id,
    ServerGroup.uuid,
    ServerGroup.project_id,
    ServerGroup.user_id,
    ServerGroup.name,
    ServerGroup.policy,
    ServerGroup.max_per_host,
)
_MEMBERS = (
    select(ServerGroupMember.group_id, Server.uuid)
    .join(Server, Server.id == ServerGroupMember.server_id)
    .where(Server.deleted == 0, Server.vm_state != states.SOFT_DELETED)
    .order_by(ServerGroupMember.id)
)


def page(conn: Connection, project_id: str | None, limit: int, offset: int) -> Sequence[GroupRow]:
    """The groups of a project (None: of all), oldest first."""
    statement = _of(_ALL, project_id).order_by(ServerGroup.id).limit(limit).offset(offset)
    return [GroupRow._make(row) for row in conn.execute(statement)]


def _of(statement: Any, project_id: str | None) -> Any:
    return statement if project_id is None else statement.where(ServerGroup.project_id == project_id)


def find(conn: Connection, uuid: str, project_id: str | None, *, lock: bool = False) -> GroupRow:
    """The group with that id, if it is of that project (None: of any); `lock` holds its row. Raises NotFound."""
    statement = _of(_ALL.where(ServerGroup.uuid == uuid), project_id)
    row = conn.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise errors.NotFound(f"Instance group {uuid} could not be found.")
    return GroupRow._make(row)


def members(conn: Connection, keys: Sequence[int]) -> dict[int, list[str]]:
    """By group's key: the ids of its servers that are not deleted."""
    found: dict[int, list[str]] = {key: [] for key in keys}
    if keys:
        for key, uuid in conn.execute(_MEMBERS.where(ServerGroupMember.group_id.in_(list(keys)))):
            found[key].append(uuid)
    return found


def create(conn: Connection, group: GroupRow) -> None:
    """Add a group; its `id` is not looked at."""
    values = group._asdict()
    del values["id"]
    conn.execute(insert(ServerGroup).values(**values, created_at=clock.now()))


def remove(conn: Connection, group: GroupRow) -> None:
    """Delete a group; its servers stay. Lock it first."""
    conn.execute(delete(ServerGroupMember).where(ServerGroupMember.group_id == group.id))
    conn.execute(delete(ServerGroup).where(ServerGroup.id == group.id))


def count_members(conn: Connection, group: GroupRow, user_id: str) -> int:
    """How many servers of a group are that user's: what its quota counts."""
    mine = (
        select(func.count())
        .select_from(ServerGroupMember)
        .join(Server, Server.id == ServerGroupMember.server_id)
        .where(ServerGroupMember.group_id == group.id, Server.deleted == 0, Server.user_id == user_id)
    )
    return conn.execute(mine).scalar() or 0


def add_member(conn: Connection, group: GroupRow, server_key: int) -> None:
    """A new server is in the group."""
    conn.execute(insert(ServerGroupMember).values(group_id=group.id, server_id=server_key))


# --- for the scheduler ---


class Neighbours(NamedTuple):
    """What a group asks of a server's place: its policy, and how many of its other servers each host has."""

    policy: str
    max_per_host: int
    hosts: Counter[str]


def neighbours(conn: Connection, server_key: int, group_key: int, policy: str, max_per_host: int) -> Neighbours:
    """Those of a server in its group."""
    others = (
        select(Server.host, func.count())
        .join(ServerGroupMember, ServerGroupMember.server_id == Server.id)
        .where(ServerGroupMember.group_id == group_key, Server.id != server_key)
        .where(Server.deleted == 0, Server.host.is_not(None))
        .group_by(Server.host)
    )
    counts: Counter[str] = Counter({str(host): number for host, number in conn.execute(others)})
    return Neighbours(policy, max_per_host, counts)
