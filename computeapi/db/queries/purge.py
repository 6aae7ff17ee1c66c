# SPDX-License-Identifier: Apache-2.0
"""What is over and done is deleted after a time: small batches, each a short transaction, so that nobody waits.

A batch finds its rows by an index or by their keys' order, so that it costs the same in a large database.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, exists, select, update

from computeapi.db.models import (
    Action,
    Allocation,
    BaremetalNode,
    BlockDevice,
    ConsoleAuthToken,
    Image,
    Migration,
    PciClaim,
    Port,
    Server,
    ServerGroupMember,
    TaskLog,
)
from computeapi.db.queries.identity import revocations
from computeapi.db.queries.services import FINAL

BATCH = 200

# What goes with a deleted server, and what only lets go of it. tests/ops/test_purge.py sees to it that none is missing.
GOES: tuple[Any, ...] = (Action, Allocation, BlockDevice, ConsoleAuthToken, Migration, PciClaim, ServerGroupMember)
LETS_GO: tuple[Any, ...] = (BaremetalNode, Port)


def deleted_servers(conn: Connection, before: str, limit: int) -> int:
    """Servers deleted before a moment, with all that hangs on them; how many. Not where work is open, also of hosts
    that have yet to clean up after them."""
    open_work = exists().where(Action.server_id == Server.id, Action.queue.is_not(None), Action.hidden == 0)
    keys = list(
        conn.execute(
            select(Server.id)
            .where(
                Server.deleted == 1,
                Server.created_at < before,  # as the index is ordered: what was made later was deleted later
                Server.deleted_at < before,
                Server.shelved_image_id.is_(None),
                ~open_work,
            )
            .order_by(Server.created_at, Server.id)
            .limit(limit)
        ).scalars()
    )
    if keys:
        for model in LETS_GO:
            conn.execute(update(model).where(model.server_id.in_(keys)).values(server_id=None))
        for model in GOES:
            conn.execute(delete(model).where(model.server_id.in_(keys)))
        conn.execute(delete(Server).where(Server.id.in_(keys)))
    return len(keys)


def finished_actions(conn: Connection, before: str, limit: int) -> int:
    """Actions of servers that live on, finished before a moment, with their events; how many."""
    found: list[int] = []
    last, page = 0, max(limit, 100)
    columns = select(Action.id, Action.created_at, Action.finished_at, Action.queue).order_by(Action.id).limit(page)
    while len(found) < limit:
        rows = conn.execute(columns.where(Action.id > last)).all()
        found += [row[0] for row in rows if row[2] and row[2] < before and row[3] is None]
        if len(rows) < page or rows[-1][1] >= before:  # keys are in the order of time
            break
        last = rows[-1][0]
    found = found[:limit]
    if found:
        conn.execute(delete(Action).where(Action.id.in_(found)))
    return len(found)


def old_migrations(conn: Connection, before: str, limit: int) -> int:
    """Moves and resizes that ended before a moment; how many. Usage reports of the time before know no resize then."""
    keys = list(
        conn.execute(
            select(Migration.id)
            .where(Migration.created_at < before, Migration.updated_at < before, Migration.status.in_(FINAL))
            .order_by(Migration.created_at)
            .limit(limit)
        ).scalars()
    )
    if keys:
        conn.execute(delete(Migration).where(Migration.id.in_(keys)))
    return len(keys)


def deleted_images(conn: Connection, before: str, limit: int) -> int:
    """The rows of images deleted before a moment; how many."""
    keys = list(
        conn.execute(
            select(Image.id)
            .where(Image.deleted == 1, Image.created_at < before, Image.deleted_at < before)
            .order_by(Image.created_at, Image.id)
            .limit(limit)
        ).scalars()
    )
    if keys:
        conn.execute(delete(Image).where(Image.id.in_(keys)))
    return len(keys)


def old_audits(conn: Connection, before: str, limit: int) -> int:
    """The task log of periods that ended before a moment; how many."""
    keys = list(conn.execute(select(TaskLog.id).where(TaskLog.period_ending < before).limit(limit)).scalars())
    if keys:
        conn.execute(delete(TaskLog).where(TaskLog.id.in_(keys)))
    return len(keys)


def expired_revocations(conn: Connection, _before: str, _limit: int) -> int:
    """What was revoked and would have expired by now, whatever the moment; how many."""
    return revocations.purge(conn)


# What each is called, in the order in which they go.
KINDS: dict[str, Callable[[Connection, str, int], int]] = {
    "deleted servers": deleted_servers,
    "finished actions": finished_actions,
    "old migrations": old_migrations,
    "deleted images": deleted_images,
    "usage audits": old_audits,
    "expired revocations": expired_revocations,
}
