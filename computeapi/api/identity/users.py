# SPDX-License-Identifier: Apache-2.0
"""Users and their passwords. Behaviour: keystone/api/users.py and keystone/identity."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api import parameters
from computeapi.api.identity import common
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, READER_OR_OWNER, Row
from computeapi.backends.identity import passwords
from computeapi.db.models import Domain, User
from computeapi.db.queries.identity import accounts, revocations
from computeapi.endpoint import Call

# --- rules ---

RULES = [
    policy.rule("identity:list_users", ADMIN_OR_SYSTEM_READER, "List users.", ("GET", "/v3/users")),
    policy.rule("identity:get_user", READER_OR_OWNER, "Show a user.", ("GET", "/v3/users/{user_id}")),
    policy.rule("identity:create_user", ADMIN, "Create a user.", ("POST", "/v3/users")),
    policy.rule("identity:update_user", ADMIN, "Change a user.", ("PATCH", "/v3/users/{user_id}")),
    policy.rule("identity:delete_user", ADMIN, "Delete a user.", ("DELETE", "/v3/users/{user_id}")),
]

# --- schemas ---

# The first four have no effect here, where accounts are not locked and passwords do not expire. Others are refused.
_options = parameters.obj(
    {
        name: {"type": ["boolean", "null"]}
        for name in (
            "ignore_lockout_failure_attempts",
            "ignore_password_expiry",
            "ignore_change_password_upon_first_use",
            "ignore_user_inactivity",
            "lock_password",
        )
    }
)
# A password's type is checked by the handler: a schema's error would quote it.
_ATTRIBUTES: parameters.Schema = {
    "default_project_id": common.id_or_null,
    "description": common.text_or_null,
    "email": common.text_or_null,
    "domain_id": common.an_id,
    "enabled": parameters.boolean,
    "options": _options,
    "password": {},
}
CREATE = common.body("user", {**_ATTRIBUTES, "name": common.name_255}, "name")
UPDATE = common.body("user", {**_ATTRIBUTES, "name": common.name_255})
PASSWORD = common.body("user", {"original_password": {}, "password": {}}, "original_password", "password")

COLUMNS = ("name", "enabled", "default_project_id")

# --- view ---


def view(call: Call, row: Row) -> dict[str, Any]:
    """A user as answers show it."""
    project_id = row["default_project_id"]
    return {
        "options": {},
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "enabled": bool(row["enabled"]),
        **({"default_project_id": project_id} if project_id else {}),
        "password_expires_at": None,
        "links": common.self_link(call, "users", row["id"]),
    }


# --- handlers ---


def index(call: Call) -> Any:
    """GET /v3/users, by name, domain_id and enabled."""
    which = accounts.equal(User, common.filters(call, "name", "domain_id", "enabled"))
    return common.page(call, "users", view, lambda conn, *page: accounts.listed(conn, User, which, *page))


def show(call: Call) -> dict[str, Any]:
    """GET /v3/users/{user_id}."""
    with call.services.db.read() as conn:
        return {"user": view(call, accounts.get(conn, User, call.params["user_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/users."""
    given = call.body["user"]
    stored = _password(given)  # takes 50 ms: not in the transaction
    values, extra = common.split(given, COLUMNS)
    extra.pop("domain_id", None)
    with call.services.db.write() as conn:
        domain_id = common.place(conn, call, given)
        _check_default_project(conn, values)
        row = accounts.create(conn, User, {**values, "domain_id": domain_id, "password_hash": stored, "extra": extra})
    return {"user": view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/users/{user_id}. Another password, or disabling, revokes the user's tokens."""
    key, given = call.params["user_id"], call.body["user"]
    stored = _password(given)

    def act(conn: Connection) -> Row:
        row = accounts.lock(conn, User, key)
        values = common.merged(row, given, COLUMNS)
        _check_default_project(conn, values)
        if "password" in given:
            accounts.set_password(conn, key, stored, common.until(call))
        elif row["enabled"] and values.get("enabled") == 0:
            revocations.revoke_users(conn, User.id == key, common.until(call))
        return accounts.change(conn, User, key, values)

    return {"user": view(call, common.write(call, act))}


def delete(call: Call) -> None:
    """DELETE /v3/users/{user_id}."""
    key = call.params["user_id"]
    common.write(call, lambda conn: accounts.delete_user(conn, key, common.until(call)))


def change_password(call: Call) -> None:
    """POST /v3/users/{user_id}/password: by whoever knows the old one; no token is asked for.

    Raises Unauthorized for a wrong one or an unknown user, TooManyRequests as a log-in does.
    """
    key, given = call.params["user_id"], call.body["user"]
    old, new = common.text(given, "original_password"), passwords.check_length(common.text(given, "password"))
    common.desk(call).check_password({"id": key}, old, common.address(call))
    with call.services.db.read() as conn:
        if accounts.get(conn, User, key)["extra"].get("options", {}).get("lock_password"):
            raise errors.BadRequest("This user's password can be changed by an administrator only.")
    stored = passwords.hashed(new)
    common.write(call, lambda conn: accounts.set_password(conn, key, stored, common.until(call)))


def _password(given: Row) -> str | None:
    if given.get("password") is None:
        return None
    return passwords.hashed(passwords.check_length(common.text(given, "password")))


def _check_default_project(conn: Connection, values: Row) -> None:
    project_id = values.get("default_project_id")
    if project_id and accounts.find(conn, Domain, project_id):
        raise errors.BadRequest("A user's default project can't be a domain.")
