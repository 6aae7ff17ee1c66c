# SPDX-License-Identifier: Apache-2.0
"""What was done to a server: os-instance-actions, and the same under the reference's path os-server-actions.

A deleted server's log can be read from 2.21 on only; before, the server is simply not found.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.db.models.journal import FAILED
from computeapi.db.queries import actions
from computeapi.db.queries.actions import ActionRow, EventRow
from computeapi.endpoint import Call, Handler


def _summary(row: ActionRow, uuid_key: str) -> dict[str, Any]:
    return {
        "action": row.name,
        uuid_key: row.server_uuid,
        "request_id": row.request_id,
        "user_id": row.user_id,
        "project_id": row.project_id,
        "start_time": row.created_at,
        "message": "Error" if row.state == FAILED else None,
    }


def _event(row: EventRow) -> dict[str, Any]:
    return {
        "event": f"compute_{'undo_' if row.undo else ''}{row.name}",
        "start_time": row.started_at,
        "finish_time": row.finished_at,
        "result": row.result,
        "traceback": row.details,
    }


def index(key: str, uuid_key: str) -> Handler:
    """The handler of a list: `key` and `uuid_key` are the path's own."""

    def handler(call: Call) -> dict[str, Any]:
        with call.services.db.read() as conn:
            rows = actions.of_server(conn, call.target.id)
        return {key: [_summary(row, uuid_key) for row in rows]}

    handler.__doc__ = f"The server's actions, newest first, as {key}."
    return handler


def show(key: str, uuid_key: str) -> Handler:
    """The handler of one action; its events are for those whom the rule `…:events` allows."""

    def handler(call: Call) -> dict[str, Any]:
        request_id = call.params["request_id"]
        with call.services.db.read() as conn:
            row = actions.by_request(conn, call.target.id, request_id)
            if row is None:
                raise errors.NotFound(f"Action {request_id} not found")
            shown = _summary(row, uuid_key)
            if call.allows("os_compute_api:os-instance-actions:events"):
                shown["events"] = [_event(event) for event in actions.events(conn, row.id)]
        return {key: shown}

    handler.__doc__ = f"One of the server's actions, as {key}."
    return handler
