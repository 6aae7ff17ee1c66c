# SPDX-License-Identifier: Apache-2.0
"""os-agents: builds of guest agents that an operator writes down for guests to be updated to (agents.py of Nova 13).

Deleted by `os-agents/{id}`, or as documented by `os-agents?agent_id=`.
"""

from __future__ import annotations

import re
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import agents as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

Json = dict[str, Any]

# --- RULES ---

AGENTS = "os_compute_api:os-agents"

RULES = [rule(AGENTS, ADMIN, "Create, list, change and delete agent builds.", ("GET", "/os-agents"))]

# --- SCHEMAS ---

_WORD: Json = {"type": "string", "maxLength": 255, "pattern": r"^[a-zA-Z0-9-._ ]*$(?!\n)"}
_URL: Json = {"type": "string", "maxLength": 255, "pattern": r"^[a-zA-Z][a-zA-Z0-9+.-]*:[^\s<>\"{}|\\^`]*$(?!\n)"}
_HASH: Json = {"type": "string", "maxLength": 255, "pattern": r"^[a-fA-F0-9]*$(?!\n)"}
_BUILD = {"version": _WORD, "url": _URL, "md5hash": _HASH}
_KIND = {"hypervisor": _WORD, "os": _WORD, "architecture": _WORD}

CREATE = p.wrapped("agent", p.obj({**_KIND, **_BUILD}, *_KIND, *_BUILD))
UPDATE = p.wrapped("para", p.obj(_BUILD, *_BUILD))
LIST_QUERY = p.query({"hypervisor": p.Q_ANY}, multi=("hypervisor",))
DELETE_QUERY = p.query({"agent_id": p.Q_ANY})

# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-agents[?hypervisor=]."""
    with call.services.db.read() as conn:
        found = queries.every(conn, links.last(call, "hypervisor") or None)
    shown = [agent._asdict() for agent in found]
    return {"agents": [{"agent_id": agent.pop("id"), **agent} for agent in shown]}


def create(call: Call) -> Json:
    """POST /os-agents. Raises Conflict where there is one for that hypervisor, system and architecture."""
    body, db = call.body["agent"], call.services.db
    with db.write() as conn:
        db.lock(conn, "agents")
        key = queries.create(conn, body)
    return {"agent": {**body, "agent_id": key}}


def update(call: Call) -> Json:
    """PUT /os-agents/{id} with `{"para": …}`; the answer's id is text, as in Nova."""
    identifier, body = call.params["agent_id"], call.body["para"]
    with call.services.db.write() as conn:
        queries.change(conn, _number(identifier), body)
    return {"agent": {**body, "agent_id": identifier}}


def remove(call: Call) -> None:
    """DELETE /os-agents/{id}."""
    _remove(call, call.params["agent_id"])


def remove_named(call: Call) -> None:
    """DELETE /os-agents?agent_id=, as the reference documents it (without saying which)."""
    identifier = call.first("agent_id")
    if identifier is None:
        raise errors.BadRequest("Which agent build to delete is not said: agent_id is missing.")
    _remove(call, identifier)


def _remove(call: Call, identifier: str) -> None:
    with call.services.db.write() as conn:
        queries.remove(conn, _number(identifier))


def _number(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,30}", text):
        raise errors.BadRequest("Invalid input received: id must be an integer")
    return int(text)
