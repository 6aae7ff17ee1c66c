# SPDX-License-Identifier: Apache-2.0
"""Asking a host something while a client waits: a short row in the journal, and a bound on the waiting."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import Connection

from computeapi import errors, journal, scheduler
from computeapi.context import Context
from computeapi.db.models.journal import FAILED
from computeapi.db.queries.servers import ServerRow
from computeapi.services import Services

_LOOK_SECONDS = 0.01


class Refused(errors.Conflict):
    """The host refused to answer; `kind` names the hypervisor's error class."""

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


def ask(
    services: Services, context: Context, server: ServerRow, question: str, payload: dict[str, Any] | None = None
) -> Any:
    """The host's answer. Raises Conflict (the server is nowhere), Refused, Unavailable (no answer in time)."""
    if server.host is None:
        raise errors.Conflict(f"Instance {server.uuid} is not ready")
    return ask_host(services, context, server.host, question, payload, server)


def ask_host(
    services: Services,
    context: Context,
    host: str,
    question: str,
    payload: dict[str, Any] | None = None,
    server: ServerRow | None = None,
) -> Any:
    """A host's answer to a question about itself (or that server of it). Raises Refused, Unavailable."""
    with services.db.write() as conn:
        if not scheduler.is_alive(conn, services.settings, host):
            raise _unavailable(host)
        key = put(conn, services, context, host, question, payload, server)
    try:
        state, result, error = _wait(services, key, host)
    finally:
        with services.db.write() as conn:
            journal.forget(conn, key)
    if state == FAILED:
        kind, _, message = (error or "").partition(": ")
        if kind == "HypervisorGone":
            raise _unavailable(host)
        raise Refused(kind, message or kind)
    return result


def put(
    conn: Connection,
    services: Services,
    context: Context,
    host: str,
    question: str,
    payload: dict[str, Any] | None = None,
    server: ServerRow | None = None,
) -> int:
    """Put a question to a host, and wait for nothing; the key of its row."""
    return journal.enqueue(
        conn,
        services.seal,
        server_id=server.id if server else None,
        server_uuid=server.uuid if server else None,
        request_id=context.request_id,
        project_id=context.project_id,
        user_id=context.user_id,
        name=question,
        operation=question,
        host=host,
        payload=payload,
        hidden=True,
    )


def _wait(services: Services, key: int, host: str) -> tuple[str, Any, str | None]:
    until = time.monotonic() + services.settings.query_timeout
    while time.monotonic() < until:
        try:
            with services.db.read() as conn:
                answered = journal.answer(conn, key)
        except LookupError:  # the compute service ended while it was at it
            break
        if answered:
            return answered
        time.sleep(_LOOK_SECONDS)
    raise _unavailable(host)


def _unavailable(host: str) -> errors.Unavailable:
    return errors.Unavailable(
        f"The compute service of host {host} does not answer; try again later.", headers={"Retry-After": "5"}
    )
