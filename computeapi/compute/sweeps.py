# SPDX-License-Identifier: Apache-2.0
"""What a compute service does now and then: reclaim what was deleted long ago, see that all is as it should be."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable

from sqlalchemy import Connection, delete, func, select, update

from computeapi import clock, journal, lifecycle, moves, states
from computeapi.compute import reconcile, timeouts
from computeapi.compute.operation import Tools
from computeapi.compute.operations import firewall, networks, remote
from computeapi.db.models import Action, Allocation, Host, Server
from computeapi.db.queries import console_tokens, hosts, purge, usage_audit

LOG = logging.getLogger("computeapi.compute")

INTERVAL = 30.0  # seconds
_BATCH = 50
_UNHEARD = 300  # seconds after which nobody can wait for an answer any more


def forget_questions(tools: Tools) -> None:
    """Questions whose asker went away."""
    with tools.db.write() as conn:
        conn.execute(delete(Action).where(Action.hidden == 1, Action.created_at < clock.shifted(-_UNHEARD)))


def reclaim(tools: Tools) -> int:
    """Servers of this host that were soft-deleted longer ago than the setting; how many now go."""
    interval = tools.settings.reclaim_instance_interval
    if interval <= 0:
        return 0
    action = lifecycle.ACTIONS["delete"]
    with tools.db.write() as conn:
        rows = conn.execute(
            select(Server.id, Server.uuid, Server.project_id, Server.user_id)
            .where(
                Server.host == tools.host,
                Server.vm_state == states.SOFT_DELETED,
                Server.task_state.is_(None),
                Server.deleted == 0,
                Server.updated_at < clock.shifted(-interval),
            )
            .order_by(Server.id)
            .limit(_BATCH)
            .with_for_update()  # a restore that comes meanwhile waits, and then finds it going
        ).all()
        for key, server_uuid, project_id, user_id in rows:  # a batch, each its own row of the journal
            conn.execute(update(Server).where(Server.id == key).values(task_state=states.DELETING))
            journal.enqueue(
                conn,
                tools.seal,
                server_id=key,
                server_uuid=server_uuid,
                request_id=f"req-{uuid.uuid4()}",
                project_id=project_id,
                user_id=user_id,
                name=action.log,
                operation=action.operation,
                host=tools.host,
                lands={"ok": states.DELETED, "failed": states.ERROR},
            )
        if not journal.owns(conn, tools.host, tools.epoch):
            raise journal.Fenced(f"host {tools.host}")
    return len(rows)


Counters = tuple[int, int, int, int]  # CPUs, MiB of memory, GiB of disk, servers


def counters(conn: Connection, tools: Tools) -> tuple[Counters, Counters]:
    """What this host's counters say is taken, and the sum of its allocations. Raises Fenced."""
    total = select(
        func.coalesce(func.sum(Allocation.vcpus), 0),
        func.coalesce(func.sum(Allocation.memory_mb), 0),
        func.coalesce(func.sum(Allocation.disk_gb), 0),
        func.count(Allocation.id),
    ).where(Allocation.host == tools.host)
    now = select(Host.vcpus_used, Host.memory_mb_used, Host.disk_gb_used, Host.servers)
    have = conn.execute(now.where(Host.name == tools.host, Host.epoch == tools.epoch).with_for_update()).first()
    if have is None:
        raise journal.Fenced(f"host {tools.host}")
    vcpus, memory_mb, disk_gb, servers = conn.execute(total).one()
    return (have[0], have[1], have[2], have[3]), (int(vcpus), int(memory_mb), int(disk_gb), int(servers))


def mend_counters(tools: Tools) -> bool:
    """This host's counters are the sum of its allocations; True if they were not."""
    with tools.db.write() as conn:
        have, sums = counters(conn, tools)
        if have == sums:
            return False
        vcpus, memory_mb, disk_gb, servers = sums
        conn.execute(
            update(Host)
            .where(Host.name == tools.host)
            .values(vcpus_used=vcpus, memory_mb_used=memory_mb, disk_gb_used=disk_gb, servers=servers)
        )
    return True


def audit_usage(tools: Tools) -> bool:
    """Once a period (instance_usage_audit_period), count this host's servers in the task log; True when it did."""
    setting = tools.settings.instance_usage_audit_period
    with tools.db.read() as conn:
        if usage_audit.is_done(conn, tools.host, setting):
            return False
    with tools.db.write() as conn:
        return usage_audit.audit(conn, tools.host, setting)


def forget_the_past(tools: Tools) -> int:
    """A batch of each kind of what was over retention_days ago; how many rows went. Any host does it for all."""
    days = tools.settings.retention_days
    if days <= 0:
        return 0
    before, gone = clock.shifted(-days * 86_400), 0
    for kind in purge.KINDS.values():
        with tools.db.write() as conn:
            tools.db.lock(conn, "purge")
            gone += kind(conn, before, purge.BATCH)
    return gone


def take_back(tools: Tools) -> int:
    """Work on servers of this host that another host has and can't go on with; how much."""
    since = clock.shifted(-tools.settings.service_down_time)
    with tools.db.write() as conn:
        count = hosts.take_back(conn, tools.host, since, moves.TRAVELLING)
        if not journal.owns(conn, tools.host, tools.epoch):
            raise journal.Fenced(f"host {tools.host}")
    return count


def keep_empty(tools: Tools) -> int:
    """A host in maintenance sends its servers away as they come to rest; how many are going now."""
    with tools.db.read() as conn:
        reason = conn.execute(select(Host.disabled_reason).where(Host.name == tools.host, Host.disabled == 1)).scalar()
    if reason != moves.IN_MAINTENANCE:
        return 0
    going, staying = moves.drain(tools, tools.host)
    for server_uuid, why in staying.items():
        LOG.warning("server %s stays on this host, which is in maintenance: %s", server_uuid, why)
    return going


def forget_uploads(tools: Tools) -> int:
    """What killed processes left of image uploads."""
    return tools.images.sweep()


def forget_console_tokens(tools: Tools) -> int:
    """Tokens of this host's consoles that have expired."""
    with tools.db.write() as conn:
        return console_tokens.forget_expired(conn, tools.host)


ALL: tuple[Callable[[Tools], object], ...] = (
    timeouts.confirm_resizes,
    timeouts.offload_shelved,
    timeouts.forget_shelved_images,
    forget_questions,
    forget_console_tokens,
    forget_uploads,
    reclaim,
    take_back,
    keep_empty,
    mend_counters,
    audit_usage,
    forget_the_past,
    reconcile.run,
    networks.forget_deleted,
    networks.put_back,
    firewall.apply,
    remote.look_again,
)
