# SPDX-License-Identifier: Apache-2.0
"""Groups and who is in them. Behaviour: keystone/api/groups.py."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api.identity import common, users
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, READER_OR_OWNER, Row
from computeapi.db.models import Group, User
from computeapi.db.queries.identity import accounts
from computeapi.endpoint import Call

# --- rules ---

_PATH = "/v3/groups/{group_id}"
_MEMBER = _PATH + "/users/{user_id}"

RULES = [
    policy.rule("identity:list_groups", ADMIN_OR_SYSTEM_READER, "List groups.", ("GET", "/v3/groups")),
    policy.rule("identity:get_group", ADMIN_OR_SYSTEM_READER, "Show a group.", ("GET", _PATH)),
    policy.rule("identity:create_group", ADMIN, "Create a group.", ("POST", "/v3/groups")),
    policy.rule("identity:update_group", ADMIN, "Change a group.", ("PATCH", _PATH)),
    policy.rule("identity:delete_group", ADMIN, "Delete a group.", ("DELETE", _PATH)),
    policy.rule(
        "identity:list_groups_for_user",
        READER_OR_OWNER,
        "List the groups a user is in.",
        ("GET", "/v3/users/{user_id}/groups"),
    ),
    policy.rule("identity:list_users_in_group", ADMIN_OR_SYSTEM_READER, "List members.", ("GET", f"{_PATH}/users")),
    policy.rule("identity:check_user_in_group", ADMIN_OR_SYSTEM_READER, "Check a member.", ("GET", _MEMBER)),
    policy.rule("identity:add_user_to_group", ADMIN, "Add a member.", ("PUT", _MEMBER)),
    policy.rule("identity:remove_user_from_group", ADMIN, "Remove a member.", ("DELETE", _MEMBER)),
]

# --- schemas ---

_ATTRIBUTES = {"description": common.text_or_null, "domain_id": common.an_id, "name": common.name_64}
CREATE = common.body("group", _ATTRIBUTES, "name")
UPDATE = common.body("group", _ATTRIBUTES)

COLUMNS = ("name", "description")

# --- view ---


def view(call: Call, row: Row) -> dict[str, Any]:
    """A group as answers show it."""
    return {
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "description": row["description"],
        "links": common.self_link(call, "groups", row["id"]),
    }


# --- handlers ---


def index(call: Call) -> Any:
    """GET /v3/groups, by name and domain_id."""
    which = accounts.equal(Group, common.filters(call, "name", "domain_id"))
    return common.page(call, "groups", view, lambda conn, *page: accounts.listed(conn, Group, which, *page))


def list_of_user(call: Call) -> Any:
    """GET /v3/users/{user_id}/groups."""
    key = call.params["user_id"]
    which = [accounts.groups_of(key), *accounts.equal(Group, common.filters(call, "name"))]

    def read(conn: Connection, *page: Any) -> list[Row]:
        accounts.require(conn, User, key)
        return accounts.listed(conn, Group, which, *page)

    return common.page(call, "groups", view, read)


def show(call: Call) -> dict[str, Any]:
    """GET /v3/groups/{group_id}."""
    with call.services.db.read() as conn:
        return {"group": view(call, accounts.get(conn, Group, call.params["group_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/groups."""
    values, extra = common.split(call.body["group"], COLUMNS)
    extra.pop("domain_id", None)
    values["description"] = values.get("description") or ""
    with call.services.db.write() as conn:
        domain_id = common.place(conn, call, call.body["group"])
        row = accounts.create(conn, Group, {**values, "domain_id": domain_id, "extra": extra})
    return {"group": view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/groups/{group_id}."""
    key = call.params["group_id"]
    with call.services.db.write() as conn:
        values = common.merged(accounts.lock(conn, Group, key), call.body["group"], COLUMNS)
        if "description" in values:
            values["description"] = values["description"] or ""
        return {"group": view(call, accounts.change(conn, Group, key, values))}


def delete(call: Call) -> None:
    """DELETE /v3/groups/{group_id}."""
    key = call.params["group_id"]
    common.write(call, lambda conn: accounts.delete_group(conn, key, common.until(call)))


# --- handlers: members ---


def list_members(call: Call) -> Any:
    """GET /v3/groups/{group_id}/users, by name, domain_id and enabled."""
    key = call.params["group_id"]
    which = [accounts.members_of(key), *accounts.equal(User, common.filters(call, "name", "domain_id", "enabled"))]

    def read(conn: Connection, *page: Any) -> list[Row]:
        accounts.require(conn, Group, key)
        return accounts.listed(conn, User, which, *page)

    return common.page(call, "users", users.view, read)


def check_member(call: Call) -> None:
    """GET /v3/groups/{group_id}/users/{user_id}: 204 where the user is in it."""
    with call.services.db.read() as conn:
        if not accounts.is_member(conn, call.params["group_id"], call.params["user_id"]):
            raise errors.NotFound(f"User {call.params['user_id']} is not in group {call.params['group_id']}.")


def add_member(call: Call) -> None:
    """PUT /v3/groups/{group_id}/users/{user_id}."""
    with call.services.db.write() as conn:
        accounts.add_member(conn, call.params["group_id"], call.params["user_id"])


def remove_member(call: Call) -> None:
    """DELETE /v3/groups/{group_id}/users/{user_id}: the user's tokens are revoked."""
    group_id, user_id = call.params["group_id"], call.params["user_id"]
    common.write(call, lambda conn: accounts.remove_member(conn, group_id, user_id, common.until(call)))
