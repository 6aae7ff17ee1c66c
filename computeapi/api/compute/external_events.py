# SPDX-License-Identifier: Apache-2.0
"""os-server-external-events (nova/api/openstack/compute/server_external_events.py): the network service says what
happened to servers' interfaces. Each event is answered by a code of its own; one that failed makes the whole a 207.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection

from computeapi import ask, errors, lifecycle
from computeapi.api import parameters as p
from computeapi.context import Context
from computeapi.db.queries import external_events as queries
from computeapi.db.queries import interfaces
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Reply
from computeapi.policy import rule

Json = dict[str, Any]

# --- RULES ---

EVENTS = "os_compute_api:os-server-external-events:"

RULES = [
    rule(
        EVENTS + "create",
        "role:service or rule:context_is_admin",
        "Say what happened to servers elsewhere.",
        ("POST", "/os-server-external-events"),
    )
]

# --- SCHEMAS ---

_CHANGES = ("network-changed", "network-vif-plugged", "network-vif-unplugged")
_DELETED = "network-vif-deleted"
_EVENT = p.obj(
    {
        "name": {"type": "string", "enum": [*_CHANGES, _DELETED]},
        "server_uuid": p.uuid,
        "status": {"type": "string", "enum": ["failed", "completed", "in-progress"]},
        "tag": p.text_255,
    },
    "name",
    "server_uuid",
)
CREATE = p.wrapped("events", {"type": "array", "minItems": 1, "items": _EVENT})

# --- HANDLERS ---


def create(call: Call) -> Reply:
    """POST /os-server-external-events: the servers' addresses are read anew, and their hosts make it so.

    An interface that was deleted is unplugged from the guest. A server's lock and its owner's rights count for nothing
    here: it has happened.
    """
    asked = [(event, str(uuid.UUID(event["server_uuid"]))) for event in call.body["events"]]
    context = replace(call.context, roles=call.context.roles | {"admin"})
    with call.services.db.write() as conn:
        places = queries.places(conn, {server_id for _, server_id in asked})
        here = sorted(key for key, host in places.values() if host)
        if call.services.neutron is None:
            queries.refresh_addresses(conn, here)
        rows = queries.rows(conn, here)
        shown = [_answer(conn, call, context, event, places.get(server_id), rows) for event, server_id in asked]
        told = {places[server_id][0] for event, server_id in asked if server_id in places and event["name"] in _CHANGES}
        for key in sorted(told & rows.keys()):
            if call.services.neutron is None:
                _begin(conn, call, context, rows[key], "reset_network")
            else:
                # The host asks the real Neutron anew, whatever else it does to the server.
                ask.put(conn, call.services, context, rows[key].host or "", "refresh_network", server=rows[key])
    return Reply({"events": shown}, status=207 if any(event["code"] != 200 for event in shown) else 200)


def _answer(
    conn: Connection,
    call: Call,
    context: Context,
    event: Json,
    place: tuple[int, str | None] | None,
    rows: Mapping[int, ServerRow],
) -> Json:
    if place is None:
        return event | {"status": "failed", "code": 404}
    if not place[1]:
        return event | {"status": "failed", "code": 422}  # it is on no host that could be told
    port_id = event.get("tag")
    plugged = event["name"] == _DELETED and port_id and interfaces.of_server(conn, place[0], port_id)
    if plugged and not _begin(conn, call, context, rows[place[0]], "detach_interface", {"port_id": port_id}):
        return event | {"status": "failed", "code": 422}
    return event | {"status": "completed", "code": 200}


def _begin(
    conn: Connection, call: Call, context: Context, server: ServerRow, action: str, payload: Json | None = None
) -> bool:
    """Whether the server's host is to do this. Not where the server is in the middle of something else."""
    try:
        lifecycle.begin(conn, call.services, context, server, action, payload)
    except errors.Conflict:
        return False
    return True
