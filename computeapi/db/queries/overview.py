# SPDX-License-Identifier: Apache-2.0
"""How the cloud is: what waits and for how long, hosts and what is left on them, what is stuck. For operators."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, and_, func, select
from sqlalchemy.orm import aliased

from computeapi.db.models import Action, ActionEvent, Host, Migration, Server
from computeapi.db.models.journal import PENDING, RUNNING
from computeapi.db.queries import host_faults, migrations
from computeapi.db.queries.services import is_up
from computeapi.settings import Settings
from computeapi.states import ERROR


class Depth(NamedTuple):
    """Open work of a host in a state (pending, running): how many, and since when the oldest was asked for."""

    host: str
    state: str
    number: int
    oldest: str


class HostUse(NamedTuple):
    """A host, what it has (memory in MiB, disk in GiB) and what is taken of it."""

    name: str
    up: bool
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    last_seen_at: str
    faults: host_faults.Faults
    servers: int
    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int
    memory_mb_used: int
    disk_gb_used: int


class OpenAction(NamedTuple):
    """Work that is not done. `message` is why it was given back last; `step` what it is at, since `step_since`."""

    id: int
    host: str
    state: str
    name: str
    server: str | None
    request_id: str
    created_at: str
    attempt: int
    message: str | None
    step: str | None
    step_since: str | None


class Faulty(NamedTuple):
    """A server in ERROR."""

    uuid: str
    name: str
    host: str | None
    fault_json: str | None
    updated_at: str


class FailedMove(NamedTuple):
    """A resize or migration that came to nothing, and that none has followed."""

    kind: str
    server: str
    source: str | None
    destination: str | None
    updated_at: str


def depths(conn: Connection) -> list[Depth]:
    """Open work by host and state. Questions of the API, which live for seconds, are not counted."""
    statement = (
        select(Action.queue, Action.state, func.count(), func.min(Action.created_at))
        .where(Action.queue.is_not(None), Action.hidden == 0)
        .group_by(Action.queue, Action.state)
        .order_by(Action.queue, Action.state)
    )
    return [Depth._make(row) for row in conn.execute(statement)]


def hosts(conn: Connection, settings: Settings) -> list[HostUse]:
    """All compute hosts, by name."""
    statement = select(
        Host.name,
        Host.forced_down,
        Host.last_seen_at,
        Host.disabled,
        Host.disabled_reason,
        Host.servers,
        Host.vcpus,
        Host.memory_mb,
        Host.disk_gb,
        Host.vcpus_used,
        Host.memory_mb_used,
        Host.disk_gb_used,
        Host.faults_json,
    ).order_by(Host.name)
    found = []
    for name, forced, seen, disabled, reason, *figures, column in conn.execute(statement):
        up, faults = is_up(settings, forced, seen), host_faults.read(column)
        found.append(HostUse(name, up, bool(disabled), reason, bool(forced), seen, faults, *figures))
    return found


def servers(conn: Connection) -> list[tuple[str, int]]:
    """How many servers there are in each vm_state."""
    statement = select(Server.vm_state, func.count()).where(Server.deleted == 0).group_by(Server.vm_state)
    return [(row[0], row[1]) for row in conn.execute(statement.order_by(Server.vm_state))]


def old_work(conn: Connection, before: str, limit: int) -> list[OpenAction]:
    """Work that was asked for before a moment and is not done, the oldest first."""
    newest = (
        select(ActionEvent.action_id, func.max(ActionEvent.seq).label("seq"))
        .join(Action, Action.id == ActionEvent.action_id)
        .where(Action.queue.is_not(None))
        .group_by(ActionEvent.action_id)
        .subquery()
    )
    event = and_(ActionEvent.action_id == newest.c.action_id, ActionEvent.seq == newest.c.seq)
    statement = (
        select(
            Action.id,
            Action.queue,
            Action.state,
            Action.name,
            Action.server_uuid,
            Action.request_id,
            Action.created_at,
            Action.attempt,
            Action.message,
            ActionEvent.name,
            ActionEvent.started_at,
        )
        .outerjoin(newest, newest.c.action_id == Action.id)
        .outerjoin(ActionEvent, event)
        .where(Action.queue.is_not(None), Action.hidden == 0, Action.created_at < before)
        .where(Action.state.in_((PENDING, RUNNING)))
        .order_by(Action.id)
        .limit(limit)
    )
    return [OpenAction._make(row) for row in conn.execute(statement)]


def faulty(conn: Connection, limit: int) -> list[Faulty]:
    """Servers in ERROR, the newest first."""
    statement = (
        select(Server.uuid, Server.name, Server.host, Server.fault_json, Server.updated_at)
        .where(Server.deleted == 0, Server.vm_state == ERROR)
        .order_by(Server.updated_at.desc())
        .limit(limit)
    )
    return [Faulty._make(row) for row in conn.execute(statement)]


def failed_moves(conn: Connection, since: str, limit: int) -> list[FailedMove]:
    """Servers whose last resize or migration failed after a moment, the newest first."""
    later = aliased(Migration)
    statement = (
        select(
            Migration.migration_type,
            Migration.server_uuid,
            Migration.source_compute,
            Migration.dest_compute,
            Migration.updated_at,
        )
        .join(Server, Server.id == Migration.server_id)
        .where(Migration.status == migrations.ERROR, Migration.updated_at > since, Server.deleted == 0)
        .where(~select(later.id).where(later.server_id == Migration.server_id, later.id > Migration.id).exists())
        .order_by(Migration.updated_at.desc())
        .limit(limit)
    )
    return [FailedMove._make(row) for row in conn.execute(statement)]
