# SPDX-License-Identifier: Apache-2.0
"""A server's metadata, six operations on /servers/{id}/metadata[/{key}] (nova/…/compute/server_metadata.py)."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import clock, errors, lifecycle, states
from computeapi.db.queries import quotas, servers
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call

_STATES = (states.ACTIVE, states.PAUSED, states.SUSPENDED, states.STOPPED)

Metadata = dict[str, str]


def index(call: Call) -> dict[str, Any]:
    """GET …/metadata."""
    return {"metadata": orjson.Fragment(call.target.metadata_json)}


def show(call: Call) -> dict[str, Any]:
    """GET …/metadata/{key}."""
    key = call.params["key"]
    return {"meta": {key: _item(call.target, key)}}


def create(call: Call) -> dict[str, Any]:
    """POST …/metadata: set these items and keep the others."""
    return {"metadata": _change(call, call.body["metadata"], replace=False)}


def replace(call: Call) -> dict[str, Any]:
    """PUT …/metadata: these items and no others."""
    return {"metadata": _change(call, call.body["metadata"], replace=True)}


def update(call: Call) -> dict[str, Any]:
    """PUT …/metadata/{key}: set one item."""
    item: Metadata = call.body["meta"]
    if call.params["key"] not in item:
        raise errors.BadRequest("Request body and URI mismatch")
    _change(call, item, replace=False)
    return {"meta": item}


def delete(call: Call) -> None:
    """DELETE …/metadata/{key}."""
    key = call.params["key"]
    _item(call.target, key)
    with call.services.db.write() as conn:
        server = _writable(call, servers.lock_row(conn, call.target.id), "delete metadata")
        metadata: Metadata = orjson.loads(server.metadata_json)
        metadata.pop(key, None)
        _write(conn, server, metadata)


def _item(server: ServerRow, key: str) -> str:
    metadata: Metadata = orjson.loads(server.metadata_json)
    if key not in metadata:
        raise errors.NotFound("Metadata item was not found")
    return metadata[key]


def _change(call: Call, items: Metadata, *, replace: bool) -> Metadata:
    with call.services.db.write() as conn:
        server = _writable(call, servers.lock_row(conn, call.target.id), "update metadata")
        metadata = items if replace else {**orjson.loads(server.metadata_json), **items}
        limits = quotas.limits_for(conn, call.services.settings, server.project_id)
        check_count(metadata, limits)
        _write(conn, server, metadata)
    return metadata


def check_count(metadata: Metadata, limits: dict[str, int]) -> None:
    """Raise QuotaExceeded for more items than a server may have."""
    most = limits["metadata_items"]
    if 0 <= most < len(metadata):
        raise errors.QuotaExceeded(f"Maximum number of metadata items exceeds {most}")


def _writable(call: Call, server: ServerRow | None, says: str) -> ServerRow:
    if server is None:
        raise errors.NotFound(f"Instance {call.target.uuid} could not be found.")
    lifecycle.check_lock(call.services, call.context, server)
    lifecycle.check_state(server, says, _STATES, lifecycle.ANY_TASK)
    return server


def _write(conn: Connection, server: ServerRow, metadata: Metadata) -> None:
    values = {"metadata_json": orjson.dumps(metadata).decode(), "updated_at": clock.now()}
    servers.change(conn, server.id, values)
