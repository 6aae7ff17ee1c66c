# SPDX-License-Identifier: Apache-2.0
"""Roles, of all domains or of one, and what they imply. Behaviour: keystone/api/roles.py."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api.identity import common
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, Row
from computeapi.db.models import Domain, Role
from computeapi.db.queries.identity import accounts
from computeapi.db.queries.identity import roles as queries
from computeapi.endpoint import Call

# --- rules ---

_PATH = "/v3/roles/{role_id}"
_IMPLIED = "/v3/roles/{role_id}/implies/{implied_role_id}"

RULES = [
    policy.rule("identity:list_roles", ADMIN_OR_SYSTEM_READER, "List roles.", ("GET", "/v3/roles")),
    policy.rule("identity:get_role", ADMIN_OR_SYSTEM_READER, "Show a role.", ("GET", _PATH)),
    policy.rule("identity:create_role", ADMIN, "Create a role.", ("POST", "/v3/roles")),
    policy.rule("identity:update_role", ADMIN, "Change a role.", ("PATCH", _PATH)),
    policy.rule("identity:delete_role", ADMIN, "Delete a role.", ("DELETE", _PATH)),
    policy.rule(
        "identity:list_role_inference_rules",
        ADMIN_OR_SYSTEM_READER,
        "List what all roles imply.",
        ("GET", "/v3/role_inferences"),
    ),
    policy.rule(
        "identity:list_implied_roles", ADMIN_OR_SYSTEM_READER, "List implied roles.", ("GET", _PATH + "/implies")
    ),
    policy.rule("identity:get_implied_role", ADMIN_OR_SYSTEM_READER, "Show an implied role.", ("GET", _IMPLIED)),
    policy.rule("identity:check_implied_role", ADMIN_OR_SYSTEM_READER, "Check an implied role.", ("HEAD", _IMPLIED)),
    policy.rule("identity:create_implied_role", ADMIN, "Make a role imply another.", ("PUT", _IMPLIED)),
    policy.rule("identity:delete_implied_role", ADMIN, "End that.", ("DELETE", _IMPLIED)),
]

# --- schemas ---

_ATTRIBUTES = {
    "name": common.name_255,
    "description": common.text_or_null,
    "domain_id": common.id_or_null,
    "options": common.immutable,
}
CREATE = common.body("role", _ATTRIBUTES, "name")
UPDATE = common.body("role", _ATTRIBUTES)

COLUMNS = ("name", "description")

# --- views ---


def view(call: Call, row: Row) -> dict[str, Any]:
    """A role as answers show it."""
    return {
        "options": {},
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"] or None,
        "description": row["description"],
        "links": common.self_link(call, "roles", row["id"]),
    }


def _short(call: Call, key: str, name: str) -> dict[str, Any]:
    return {"id": key, "links": common.self_link(call, "roles", key), "name": name}


# --- handlers ---


def index(call: Call) -> Any:
    """GET /v3/roles, by name: those of all domains, or of the one that is asked for."""
    wanted = {"domain_id": call.first("domain_id") or accounts.EVERYWHERE}
    which = accounts.equal(Role, common.filters(call, "name") | wanted)
    return common.page(call, "roles", view, lambda conn, *page: accounts.listed(conn, Role, which, *page))


def show(call: Call) -> dict[str, Any]:
    """GET /v3/roles/{role_id}."""
    with call.services.db.read() as conn:
        return {"role": view(call, accounts.get(conn, Role, call.params["role_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/roles."""
    values, extra = common.split(call.body["role"], COLUMNS)
    domain_id = extra.pop("domain_id", None) or accounts.EVERYWHERE
    with call.services.db.write() as conn:
        if domain_id:
            accounts.require(conn, Domain, domain_id)
        return {"role": view(call, accounts.create(conn, Role, {**values, "domain_id": domain_id, "extra": extra}))}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/roles/{role_id}. Another name revokes the tokens of those who have the role."""
    key, given = call.params["role_id"], call.body["role"]

    def act(conn: Connection) -> Row:
        row = accounts.lock(conn, Role, key)
        if (given.get("domain_id") or accounts.EVERYWHERE) != row["domain_id"] and "domain_id" in given:
            raise errors.BadRequest("Update of `domain_id` is not allowed.")
        values = common.merged(row, {name: value for name, value in given.items() if name != "domain_id"}, COLUMNS)
        if values.get("name", row["name"]) != row["name"]:
            queries.revoke_holders(conn, key, common.until(call))
        return accounts.change(conn, Role, key, values)

    return {"role": view(call, common.write(call, act))}


def delete(call: Call) -> None:
    """DELETE /v3/roles/{role_id}."""
    key = call.params["role_id"]

    def act(conn: Connection) -> None:
        common.check_mutable(accounts.get(conn, Role, key))
        queries.delete_role(conn, key, common.until(call))

    common.write(call, act)


# --- handlers: implied roles ---


def list_inferences(call: Call) -> dict[str, Any]:
    """GET /v3/role_inferences."""
    with call.services.db.read() as conn:
        pairs = queries.implications(conn)
        names = queries.names(conn, {key for pair in pairs for key in pair})
    found: dict[str, list[Any]] = {}
    for prior, implied in pairs:
        found.setdefault(prior, []).append(_short(call, implied, names[implied]))
    shown = [{"prior_role": _short(call, key, names[key]), "implies": implied} for key, implied in found.items()]
    return {"role_inferences": shown, "links": {"self": common.here(call)}}


def list_implied(call: Call) -> dict[str, Any]:
    """GET /v3/roles/{role_id}/implies: without what those imply."""
    key = call.params["role_id"]
    with call.services.db.read() as conn:
        prior = accounts.get(conn, Role, key)
        names = queries.names(conn, [implied for role, implied in queries.implications(conn) if role == key])
    return {
        "role_inference": {
            "prior_role": _short(call, key, prior["name"]),
            "implies": [_short(call, implied, name) for implied, name in names.items()],
        },
        "links": {"self": common.here(call)},
    }


def show_implied(call: Call) -> dict[str, Any]:
    """GET /v3/roles/{role_id}/implies/{implied_role_id}."""
    with call.services.db.read() as conn:
        return _inference(conn, call)


def imply(call: Call) -> dict[str, Any]:
    """PUT /v3/roles/{role_id}/implies/{implied_role_id}."""
    with call.services.db.write() as conn:
        queries.imply(conn, call.params["role_id"], call.params["implied_role_id"])
        return _inference(conn, call)


def imply_no_more(call: Call) -> None:
    """DELETE /v3/roles/{role_id}/implies/{implied_role_id}."""
    prior, implied = call.params["role_id"], call.params["implied_role_id"]
    common.write(call, lambda conn: queries.imply_no_more(conn, prior, implied, common.until(call)))


def _inference(conn: Connection, call: Call) -> dict[str, Any]:
    prior, implied = call.params["role_id"], call.params["implied_role_id"]
    if (prior, implied) not in queries.implications(conn):
        raise errors.NotFound(f"Role {prior} does not imply {implied}.")
    names = queries.names(conn, [prior, implied])
    return {
        "role_inference": {
            "prior_role": _short(call, prior, names[prior]),
            "implies": _short(call, implied, names[implied]),
        },
        "links": {"self": common.here(call)},
    }
