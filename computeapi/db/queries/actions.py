# SPDX-License-Identifier: Apache-2.0
"""Statements about the action log."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from computeapi.db.models import Action, ActionEvent
from computeapi.db.queries.hosts import CLEAN_UP


class ActionRow(NamedTuple):
    """What the log shows of an action."""

    id: int
    name: str
    server_uuid: str
    request_id: str
    user_id: str | None
    project_id: str | None
    created_at: str
    finished_at: str | None
    state: str
    message: str | None


class EventRow(NamedTuple):
    """One step of an action."""

    name: str
    undo: int
    started_at: str
    finished_at: str | None
    result: str | None
    details: str | None


_ACTIONS = select(*(getattr(Action, name) for name in ActionRow._fields)).where(
    Action.hidden == 0, Action.operation != CLEAN_UP
)
_EVENTS = select(*(getattr(ActionEvent, name) for name in EventRow._fields))


def of_server(conn: Connection, server_id: int) -> list[ActionRow]:
    """A server's actions, newest first."""
    rows = conn.execute(_ACTIONS.where(Action.server_id == server_id).order_by(Action.id.desc()))
    return [ActionRow._make(row) for row in rows]


def by_request(conn: Connection, server_id: int, request_id: str) -> ActionRow | None:
    """The action that a request started."""
    row = conn.execute(
        _ACTIONS.where(Action.server_id == server_id, Action.request_id == request_id).order_by(Action.id).limit(1)
    ).first()
    return ActionRow._make(row) if row else None


def events(conn: Connection, action_id: int) -> list[EventRow]:
    """An action's steps, the last first (as Nova lists them)."""
    rows = conn.execute(_EVENTS.where(ActionEvent.action_id == action_id).order_by(ActionEvent.seq.desc()))
    return [EventRow._make(row) for row in rows]
