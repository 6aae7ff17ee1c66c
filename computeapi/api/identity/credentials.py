# SPDX-License-Identifier: Apache-2.0
"""Application credentials: secrets for programs. Behaviour: keystone/api/users.py. Access rules there are not."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from computeapi import clock, errors, policy
from computeapi.api import parameters
from computeapi.api.identity import common
from computeapi.api.identity.common import ADMIN_OR_OWNER, READER_OR_OWNER, Row
from computeapi.backends.identity import passwords
from computeapi.backends.identity.tokens import Claims
from computeapi.db.models import Role
from computeapi.db.queries.identity import accounts
from computeapi.db.queries.identity import credentials as queries
from computeapi.db.queries.identity import roles as role_queries
from computeapi.endpoint import Call

# --- rules ---

_LIST = "/v3/users/{user_id}/application_credentials"
_ONE = _LIST + "/{application_credential_id}"

RULES = [
    policy.rule("identity:list_application_credentials", READER_OR_OWNER, "List a user's.", ("GET", _LIST)),
    policy.rule("identity:get_application_credential", READER_OR_OWNER, "Show one.", ("GET", _ONE)),
    policy.rule("identity:create_application_credential", "rule:owner", "Create one of one's own.", ("POST", _LIST)),
    policy.rule("identity:delete_application_credential", ADMIN_OR_OWNER, "Delete one.", ("DELETE", _ONE)),
]

# --- schemas ---

_role = parameters.obj({"id": {"type": "string"}, "name": {"type": "string"}}, extra=True)
CREATE = common.body(
    "application_credential",
    {
        "name": common.name_255,
        "description": common.text_or_null,
        "expires_at": {"type": ["string", "null"]},
        "project_id": common.id_or_null,
        "roles": {"type": "array", "items": _role},
        "secret": {},  # checked by the handler: a schema's error would quote it
        "unrestricted": {"type": ["boolean", "null"]},
        "access_rules": {"type": "array", "maxItems": 0},
    },
    "name",
)

# --- view ---


def view(call: Call, row: Row, known: Mapping[str, Row]) -> dict[str, Any]:
    """A credential as answers show it; without its secret, which the answer to POST alone has."""
    return {
        "id": row["id"],
        "name": row["name"],
        "description": row["description"],
        "user_id": row["user_id"],
        "project_id": row["project_id"],
        "system": None,
        "expires_at": row["expires_at"],
        "unrestricted": bool(row["unrestricted"]),
        "roles": [_show_role(known[key]) for key in row["role_ids"] if key in known],
        "links": common.self_link(call, "users", row["user_id"], "application_credentials", row["id"]),
    }


def _show_role(row: Row) -> dict[str, Any]:
    options = row["extra"].get("options", {})
    return {
        "id": row["id"],
        "name": row["name"],
        "domain_id": None,
        "description": row["description"],
        "options": options,
    }


def _roles(conn: Connection, rows: Iterable[Row]) -> dict[str, Row]:
    wanted = {key for row in rows for key in row["role_ids"]}
    return {row["id"]: row for row in accounts.listed(conn, Role, [Role.id.in_(wanted)])}


# --- handlers ---


def index(call: Call) -> dict[str, Any]:
    """GET /v3/users/{user_id}/application_credentials, by name."""
    with call.services.db.read() as conn:
        rows = queries.listed(conn, call.params["user_id"], call.first("name"))
        known = _roles(conn, rows)
    return common.collection(call, "application_credentials", [view(call, row, known) for row in rows])


def show(call: Call) -> dict[str, Any]:
    """GET …/{application_credential_id}."""
    key = call.params["application_credential_id"]
    with call.services.db.read() as conn:
        row = queries.find(conn, {"id": key, "user_id": call.params["user_id"]})
        if row is None:
            raise errors.NotFound(f"Could not find application credential: {key}.")
        return {"application_credential": view(call, row, _roles(conn, [row]))}


def create(call: Call) -> dict[str, Any]:
    """POST …: for the token's project, with the user's roles there or some of them."""
    claims, given = manager(call), call.body["application_credential"]
    if claims.project_id is None or given.get("project_id", claims.project_id) != claims.project_id:
        raise errors.BadRequest("An application credential is made with a token scoped to its project.")
    secret = common.text(given, "secret") if given.get("secret") is not None else secrets.token_urlsafe(64)
    values = {
        "user_id": claims.user_id,
        "project_id": claims.project_id,
        "name": given["name"],
        "description": given.get("description"),
        "secret_hash": passwords.hashed(passwords.check_length(secret)),
        "unrestricted": int(bool(given.get("unrestricted"))),
        "expires_at": _expiry(given.get("expires_at")),
    }
    with call.services.db.write() as conn:
        held = role_queries.effective(conn, claims.user_id, "project", claims.project_id)
        lent_itself = claims.credential_id is not None  # then no more than that credential has
        lendable = {key: name for key, name in held.items() if not lent_itself or name in claims.roles}
        row = queries.create(conn, values, _lent(given.get("roles"), lendable))
        shown = view(call, row, _roles(conn, [row]))
    return {"application_credential": {**shown, "secret": secret}}


def delete(call: Call) -> None:
    """DELETE …/{application_credential_id}: its tokens are revoked."""
    manager(call)
    user_id, key = call.params["user_id"], call.params["application_credential_id"]
    common.write(call, lambda conn: queries.remove(conn, user_id, key, common.until(call)))


def manager(call: Call) -> Claims:
    """The caller's token. Raises Forbidden for one of a restricted application credential."""
    claims = common.authenticator(call).claims(call.header("X-Auth-Token") or "")
    if claims.credential_id is not None:
        with call.services.db.read() as conn:
            own = queries.find(conn, {"id": claims.credential_id})
        if own is None or not own["unrestricted"]:
            raise errors.Forbidden("A restricted application credential can't manage credentials.")
    return claims


def _lent(wanted: list[dict[str, str]] | None, lendable: Mapping[str, str]) -> list[str]:
    """The ids of the roles asked for, or of all. Raises BadRequest for one that the caller does not have."""
    if not wanted:
        return sorted(lendable)
    by_name = {name: key for key, name in lendable.items()}
    keys = [role["id"] if "id" in role else by_name.get(role.get("name", ""), "") for role in wanted]
    if not set(keys) <= set(lendable):
        raise errors.BadRequest("An application credential can't have a role that its maker has not.")
    return sorted(set(keys))


def _expiry(value: str | None) -> str | None:
    if value is None:
        return None
    try:
        moment = clock.parse_filter(value)
    except (ValueError, OverflowError):
        raise errors.BadRequest("Invalid input for field expires_at: a time in ISO 8601 is asked for.") from None
    if moment <= clock.now():
        raise errors.BadRequest("Invalid input for field expires_at: that moment is past.")
    return moment
