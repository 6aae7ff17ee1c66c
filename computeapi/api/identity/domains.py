# SPDX-License-Identifier: Apache-2.0
"""Domains: namespaces of projects, users and groups. Behaviour: keystone/api/domains.py and keystone/resource."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api import parameters
from computeapi.api.identity import common
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, READER_OR_OWNER, Row
from computeapi.db.models import Domain
from computeapi.db.queries.identity import accounts, logins, revocations
from computeapi.endpoint import Call

# --- rules ---

RULES = [
    policy.rule("identity:list_domains", ADMIN_OR_SYSTEM_READER, "List domains.", ("GET", "/v3/domains")),
    policy.rule(
        "identity:get_domain",
        READER_OR_OWNER,
        "Show a domain; owner is here who belongs to it, or whose project does.",
        ("GET", "/v3/domains/{domain_id}"),
    ),
    policy.rule("identity:create_domain", ADMIN, "Create a domain.", ("POST", "/v3/domains")),
    policy.rule("identity:update_domain", ADMIN, "Change a domain.", ("PATCH", "/v3/domains/{domain_id}")),
    policy.rule("identity:delete_domain", ADMIN, "Delete a domain.", ("DELETE", "/v3/domains/{domain_id}")),
]

# --- schemas ---

_ATTRIBUTES = {
    "description": common.text_or_null,
    "enabled": parameters.boolean,
    "options": common.immutable,
}
CREATE = common.body(
    "domain",
    {
        **_ATTRIBUTES,
        "name": common.name_64,
        "explicit_domain_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "name",
)
UPDATE = common.body("domain", {**_ATTRIBUTES, "name": common.name_64})

COLUMNS = ("name", "description", "enabled")

# --- view ---


def view(call: Call, row: Row) -> dict[str, Any]:
    """A domain as answers show it."""
    return {
        "tags": [],
        "options": {},
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "enabled": bool(row["enabled"]),
        "links": common.self_link(call, "domains", row["id"]),
    }


# --- handlers ---


def own_domain(call: Call) -> common.OfUser:
    """Loader: the URL's domain, as the caller's own where the token, its project or the user belongs to it."""
    domain_id, context = call.params["domain_id"], call.context
    own = {context.domain_id}
    with call.services.db.read() as conn:
        user = logins.account(conn, {"id": context.user_id})
        project = logins.project(conn, {"id": context.project_id}) if context.project_id else None
    own.update(found.domain_id for found in (user, project) if found)
    return common.OfUser(context.user_id if domain_id in own else "")


def index(call: Call) -> Any:
    """GET /v3/domains, by name and enabled."""
    which = accounts.equal(Domain, common.filters(call, "name", "enabled"))
    return common.page(call, "domains", view, lambda conn, *page: accounts.listed(conn, Domain, which, *page))


def list_mine(call: Call) -> Any:
    """GET /v3/auth/domains: enabled ones that the token's user has a role on."""
    which = [accounts.domains_of(call.context.user_id), Domain.enabled == 1]
    return common.page(call, "domains", view, lambda conn, *page: accounts.listed(conn, Domain, which, *page))


def show(call: Call) -> dict[str, Any]:
    """GET /v3/domains/{domain_id}."""
    with call.services.db.read() as conn:
        return {"domain": view(call, accounts.get(conn, Domain, call.params["domain_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/domains."""
    with call.services.db.write() as conn:
        return {"domain": view(call, add(conn, call.body["domain"]))}


def add(conn: Connection, given: Row) -> Row:
    """A new domain of what a body says."""
    values, extra = common.split(given, COLUMNS)
    key = extra.pop("explicit_domain_id", None)
    if key is not None and accounts.find(conn, Domain, key):
        raise errors.Conflict(f"There is a domain {key} already.")
    values["description"] = values.get("description") or ""
    return accounts.create(conn, Domain, {**values, **({"id": key} if key else {}), "extra": extra})


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/domains/{domain_id}. Disabling one revokes the tokens of its users, and for its projects."""
    domain_id, given = call.params["domain_id"], call.body["domain"]
    return {"domain": view(call, common.write(call, lambda conn: change(conn, call, domain_id, given)))}


def change(conn: Connection, call: Call, domain_id: str, given: Row) -> Row:
    """The domain changed by what a body says."""
    row = accounts.lock(conn, Domain, domain_id)
    values = common.merged(row, given, COLUMNS)
    if "description" in values:
        values["description"] = values["description"] or ""
    if row["enabled"] and values.get("enabled") == 0:
        if domain_id == accounts.DEFAULT_DOMAIN:
            raise errors.Forbidden("The default domain can't be disabled.")
        revocations.revoke_domain(conn, domain_id, common.until(call))
    return accounts.change(conn, Domain, domain_id, values)


def delete(call: Call) -> None:
    """DELETE /v3/domains/{domain_id}: with all that is in it; only a disabled one."""
    domain_id = call.params["domain_id"]
    common.write(call, lambda conn: remove(conn, call, domain_id))


def remove(conn: Connection, call: Call, domain_id: str) -> None:
    """Delete a disabled domain that is not immutable."""
    common.check_mutable(accounts.get(conn, Domain, domain_id))
    accounts.delete_domain(conn, domain_id, common.until(call))
