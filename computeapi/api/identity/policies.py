# SPDX-License-Identifier: Apache-2.0
"""Policies: texts that other programs keep here and read themselves. Behaviour: keystone/api/policy.py.

What this cloud allows is in its policy file; nothing here is asked about it.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import policy
from computeapi.api.identity import common
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, Row
from computeapi.db.models import PolicyText
from computeapi.db.queries.identity import accounts
from computeapi.endpoint import Call

# --- rules ---

_PATH = "/v3/policies/{policy_id}"

RULES = [
    policy.rule("identity:list_policies", ADMIN_OR_SYSTEM_READER, "List policies.", ("GET", "/v3/policies")),
    policy.rule("identity:get_policy", ADMIN_OR_SYSTEM_READER, "Show a policy.", ("GET", _PATH)),
    policy.rule("identity:create_policy", ADMIN, "Keep a policy.", ("POST", "/v3/policies")),
    policy.rule("identity:update_policy", ADMIN, "Change a policy.", ("PATCH", _PATH)),
    policy.rule("identity:delete_policy", ADMIN, "Delete a policy.", ("DELETE", _PATH)),
]

# --- schemas ---

_ATTRIBUTES = {"blob": {"type": "string", "maxLength": 65_535}, "type": {"type": "string", "maxLength": 255}}
CREATE = common.body("policy", _ATTRIBUTES, "blob", "type")
UPDATE = common.body("policy", _ATTRIBUTES)

COLUMNS = ("blob", "type")

# --- view ---


def view(call: Call, row: Row) -> dict[str, Any]:
    """A policy as answers show it."""
    shown = {name: row[name] for name in ("id", "type", "blob")}
    return {**row["extra"], **shown, "links": common.self_link(call, "policies", row["id"])}


# --- handlers ---


def index(call: Call) -> Any:
    """GET /v3/policies, by type."""
    which = accounts.equal(PolicyText, common.filters(call, "type"))
    return common.page(call, "policies", view, lambda conn, *page: accounts.listed(conn, PolicyText, which, *page))


def show(call: Call) -> dict[str, Any]:
    """GET /v3/policies/{policy_id}."""
    with call.services.db.read() as conn:
        return {"policy": view(call, accounts.get(conn, PolicyText, call.params["policy_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/policies."""
    values, extra = common.split(call.body["policy"], COLUMNS)
    with call.services.db.write() as conn:
        return {"policy": view(call, accounts.create(conn, PolicyText, {**values, "extra": extra}))}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/policies/{policy_id}."""
    key = call.params["policy_id"]

    def act(conn: Connection) -> Row:
        row = accounts.lock(conn, PolicyText, key)
        values = common.merged({"name": key, **row}, call.body["policy"], COLUMNS)
        return accounts.change(conn, PolicyText, key, values)

    return {"policy": view(call, common.write(call, act))}


def delete(call: Call) -> None:
    """DELETE /v3/policies/{policy_id}."""
    with call.services.db.write() as conn:
        accounts.delete_policy(conn, call.params["policy_id"])
