# SPDX-License-Identifier: Apache-2.0
"""os-server-external-events (nova/api/openstack/compute/server_external_events.py): the network service says what
happened to servers' interfaces. Each event is answered by a code of its own; one that failed makes the whole a 207.
"""

from __future__ import annotations

import uuid
from typing import Any

from computeapi.api import parameters as p
from computeapi.db.queries import external_events as queries
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

_EVENT = p.obj(
    {
        "name": {
            "type": "string",
            "enum": ["network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted"],
        },
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
    """POST /os-server-external-events: the servers' addresses are read anew."""
    asked = [(event, str(uuid.UUID(event["server_uuid"]))) for event in call.body["events"]]
    with call.services.db.write() as conn:
        places = queries.places(conn, {server_id for _, server_id in asked})
        shown = [_answer(event, places.get(server_id)) for event, server_id in asked]
        queries.refresh_addresses(conn, {key for key, host in places.values() if host})
    return Reply({"events": shown}, status=207 if any(event["code"] != 200 for event in shown) else 200)


def _answer(event: Json, place: tuple[int, str | None] | None) -> Json:
    if place is None:
        return event | {"status": "failed", "code": 404}
    if not place[1]:
        return event | {"status": "failed", "code": 422}  # it is on no host that could be told
    return event | {"status": "completed", "code": 200}
