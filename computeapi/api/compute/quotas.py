# SPDX-License-Identifier: Apache-2.0
"""os-quota-sets (nova/api/openstack/compute/quota_sets.py): the limits of a project, or of one user in it.

The documented path without an id means the token's own project. Limits below what is used need `force`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import flavors
from computeapi.db.queries import quotas as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, ANYONE, PROJECT_READER, rule

Json = dict[str, Any]

# --- RULES ---

QUOTAS = "os_compute_api:os-quota-sets:"
_ONE = "/os-quota-sets/{project_id}"

RULES = [
    rule(QUOTAS + "show", PROJECT_READER, "See a project's limits.", ("GET", _ONE)),
    rule(QUOTAS + "detail", PROJECT_READER, "See a project's limits and what is used.", ("GET", _ONE + "/detail")),
    rule(QUOTAS + "defaults", ANYONE, "See the default limits.", ("GET", _ONE + "/defaults")),
    rule(QUOTAS + "update", ADMIN, "Change a project's limits.", ("PUT", _ONE)),
    rule(QUOTAS + "delete", ADMIN, "Give a project the default limits.", ("DELETE", _ONE)),
]

# --- SCHEMAS ---

MAX_INT = 0x7FFFFFFF
RESOURCES = tuple(name for name in queries.DEFAULTS if name != "networks")
_LIMIT: Json = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "minimum": -1, "maximum": MAX_INT}
LIMITS = dict.fromkeys(RESOURCES, _LIMIT)

UPDATE = p.wrapped("quota_set", p.obj({**LIMITS, "force": p.boolean}))
QUERY = p.query({"user_id": p.Q_ANY}, multi=("user_id",))

# --- VIEW ---


def _view(limits: queries.Limits, project_id: str | None = None) -> Json:
    shown: Json = {"id": project_id} if project_id is not None else {}
    return {"quota_set": shown | queries.only(limits, RESOURCES)}


# --- HANDLERS ---


class Project(NamedTuple):
    """The project that the URL names; the rule is asked for it."""

    project_id: str


def load(call: Call) -> Project:
    """The project in the URL, or the token's own."""
    return Project(call.params.get("project_id", call.project_id))


def _check(call: Call, conn: Connection) -> str:
    """The project's id. Raises BadRequest where the embedded identity service has no such project."""
    project_id: str = call.target.project_id
    if project_id == call.project_id:
        return project_id
    embedded = not call.services.settings.identity_url
    if len(project_id) > 64 or (embedded and not flavors.project_exists(conn, project_id)):
        raise errors.BadRequest(f"Project ID {project_id} is not a valid project.")
    return project_id


def _user(call: Call) -> str | None:
    """The user that the query names. Raises BadRequest for what is no id."""
    user_id = call.first("user_id") or None
    if user_id is not None and len(user_id) > 64:
        raise errors.BadRequest(f"User ID {user_id} is not a valid user.")
    return user_id


def show(call: Call) -> Json:
    """GET /os-quota-sets/{project_id}[?user_id=]."""
    with call.services.db.read() as conn:
        project_id = _check(call, conn)
        return _view(queries.limits_for(conn, call.services.settings, project_id, _user(call)), project_id)


def detail(call: Call) -> Json:
    """GET /os-quota-sets/{project_id}/detail: with what is in use. Nothing is ever reserved."""
    user_id = links.last(call, "user_id") or None
    with call.services.db.read() as conn:
        project_id = _check(call, conn)
        limits = queries.limits_for(conn, call.services.settings, project_id, user_id)
        used = queries.used(conn, project_id, user_id)
    shown = {name: {"limit": limits[name], "in_use": used.get(name, 0), "reserved": 0} for name in RESOURCES}
    return {"quota_set": {"id": project_id, **shown}}


def defaults(call: Call) -> Json:
    """GET /os-quota-sets/{project_id}/defaults."""
    with call.services.db.read() as conn:
        project_id = _check(call, conn)
        return _view(queries.class_limits(conn, call.services.settings), project_id)


def update(call: Call) -> Json:
    """PUT /os-quota-sets/{project_id}[?user_id=]. All limits change, or none. The answer has no id."""
    body = dict(call.body["quota_set"])
    force = p.truth(body.pop("force", False))
    wanted = read(body)
    db, settings, user_id = call.services.db, call.services.settings, _user(call)
    with db.write() as conn:
        project_id = _check(call, conn)
        db.lock(conn, queries.lock_name(project_id))
        if not force:
            most = queries.limits_for(conn, settings, project_id) if user_id else {}
            _check_range(wanted, queries.used(conn, project_id, user_id), most)
        queries.set_limits(conn, project_id, user_id, wanted)
        return _view(queries.limits_for(conn, settings, project_id, user_id))


def read(body: Json) -> queries.Limits:
    """The limits of a body that passed its schema, which lets very long texts of digits through."""
    limits = {}
    for name, value in body.items():
        number = int(value) if len(str(value)) <= 20 else MAX_INT + 1
        if not -1 <= number <= MAX_INT:
            raise errors.BadRequest(
                f"Invalid input for field/attribute {name}. Value: {str(value)[:40]}. It must be -1 to {MAX_INT}"
            )
        limits[name] = number
    return limits


def _check_range(wanted: queries.Limits, used: dict[str, int], most: queries.Limits) -> None:
    """Raise BadRequest for a limit below what is used, or (of a user) beyond the project's."""
    for name, limit in wanted.items():
        if -1 < limit < used.get(name, 0):
            raise errors.BadRequest(
                f"Quota limit {limit} for {name} must be greater than or equal to already used and reserved "
                f"{used[name]}."
            )
        bound = most.get(name, -1)
        if bound != -1 and (limit == -1 or limit > bound):
            raise errors.BadRequest(f"Quota limit {limit} for {name} must be less than or equal to {bound}.")


def remove(call: Call) -> None:
    """DELETE /os-quota-sets/{project_id}[?user_id=]: the defaults count again."""
    db, project_id = call.services.db, call.target.project_id
    with db.write() as conn:
        db.lock(conn, queries.lock_name(project_id))
        queries.remove_limits(conn, project_id, _user(call))
