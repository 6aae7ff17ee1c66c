# SPDX-License-Identifier: Apache-2.0
"""What a compute service does by itself when its owner has let a time pass: see the settings named in each."""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.sql import ColumnElement

from computeapi import clock, errors, journal, lifecycle, states
from computeapi.compute.operation import Tools
from computeapi.context import Context
from computeapi.db.models import Migration, Server
from computeapi.db.queries import migrations

_BATCH = 50


def confirm_resizes(tools: Tools) -> int:
    """Resizes that have waited for longer than resize_confirm_window; how many are confirmed now."""
    window = tools.settings.resize_confirm_window
    if window <= 0:
        return 0
    old = (Migration.status == migrations.FINISHED) & (Migration.switched_at < clock.shifted(-window))
    rows = select(Server.id, Migration.id).join(Migration, Migration.server_id == Server.id).where(old)
    with tools.db.read() as conn:
        found = conn.execute(rows.where(_resting(tools, states.RESIZED)).order_by(Server.id).limit(_BATCH)).all()
    return sum(_start(tools, "confirm_resize", key, {"migration": migration}) for key, migration in found)


def offload_shelved(tools: Tools) -> int:
    """Servers that have been shelved for longer than shelved_offload_time; how many leave the host now."""
    after = tools.settings.shelved_offload_time
    if after < 0:
        return 0
    old = _resting(tools, states.SHELVED) & (Server.shelved_at < clock.shifted(-after))
    with tools.db.read() as conn:
        keys = conn.execute(select(Server.id).where(old).order_by(Server.id).limit(_BATCH)).scalars().all()
    return sum(_start(tools, "shelve_offload", key, {}) for key in keys)


def forget_shelved_images(tools: Tools) -> int:
    """The images of servers that are back, or deleted; how many are gone now. One that is protected stays."""
    unneeded = Server.shelved_image_id.is_not(None) & (Server.shelved_at.is_(None) | (Server.deleted == 1))
    columns = (Server.id, Server.shelved_image_id, Server.user_id, Server.project_id)
    with tools.db.read() as conn:
        found = conn.execute(select(*columns).where(unneeded).order_by(Server.id).limit(_BATCH)).all()
    for key, image_id, user_id, project_id in found:
        roles = frozenset({"admin", "member", "reader"})
        with suppress(errors.NotFound, errors.Forbidden):
            tools.images.delete(Context(f"req-{uuid.uuid4()}", user_id, project_id, roles), str(image_id))
        with tools.db.write() as conn:
            mine = (Server.id == key) & (Server.shelved_image_id == image_id) & unneeded
            conn.execute(update(Server).where(mine).values(shelved_image_id=None))
    return len(found)


def _resting(tools: Tools, vm_state: str) -> ColumnElement[bool]:
    return (
        (Server.host == tools.host)
        & (Server.vm_state == vm_state)
        & Server.task_state.is_(None)
        & (Server.deleted == 0)
    )


def _start(tools: Tools, name: str, key: int, payload: dict[str, Any]) -> bool:
    """Start an action in the name of the server's owner, if the server still rests. Raises Fenced."""
    action = lifecycle.ACTIONS[name]
    with tools.db.write() as conn:
        still = (Server.id == key) & _resting(tools, action.vm_states[0])
        columns = select(Server.uuid, Server.project_id, Server.user_id, Server.vm_state)
        row = conn.execute(columns.where(still).with_for_update()).first()
        if row is None:
            return False
        conn.execute(update(Server).where(Server.id == key).values(task_state=action.task_state))
        journal.enqueue(
            conn,
            tools.seal,
            server_id=key,
            server_uuid=row[0],
            request_id=f"req-{uuid.uuid4()}",
            project_id=row[1],
            user_id=row[2],
            name=action.log,
            operation=action.operation,
            host=tools.host,
            payload=payload,
            lands={"ok": action.lands, "failed": row[3] if action.fails is lifecycle.AS_WAS else action.fails},
        )
        if not journal.owns(conn, tools.host, tools.epoch):
            raise journal.Fenced(f"host {tools.host}")
    return True
