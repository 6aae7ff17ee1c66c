# SPDX-License-Identifier: Apache-2.0
"""Who has which role on what: giving, checking and taking it, and the list of all.

Behaviour: keystone/api/projects.py, domains.py, system.py (grants), os_inherit.py (what the projects below inherit) and
role_assignments.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from computeapi import errors, policy
from computeapi.api.identity import common, projects, roles
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, Row
from computeapi.db.queries.identity import inheritance
from computeapi.db.queries.identity import roles as queries
from computeapi.db.queries.identity.roles import Grant
from computeapi.endpoint import Call, Endpoint, endpoint

# --- rules ---

_GRANT = "/{projects|domains}/{id}/{users|groups}/{id}/roles"
_BELOW = "/inherited_to_projects"


def _rule(verb: str, check: str, what: str, method: str, tail: str = "/{role_id}") -> Any:
    paths = (f"/v3{_GRANT}{tail}", f"/v3/OS-INHERIT{_GRANT}{tail}{_BELOW}")
    return policy.rule(f"identity:{verb}", check, what, *((method, path) for path in paths))


RULES = [
    _rule("list_grants", ADMIN_OR_SYSTEM_READER, "List an actor's roles there.", "GET", ""),
    _rule("check_grant", ADMIN_OR_SYSTEM_READER, "Check a role.", "HEAD"),
    _rule("create_grant", ADMIN, "Give a role.", "PUT"),
    _rule("revoke_grant", ADMIN, "Take a role.", "DELETE"),
    policy.rule(
        "identity:list_role_assignments",
        ADMIN_OR_SYSTEM_READER,
        "List who has which role on what.",
        ("GET", "/v3/role_assignments"),
    ),
]
for _actor in ("user", "group"):
    _path = f"/v3/system/{_actor}s/{{{_actor}_id}}/roles"
    RULES += [
        policy.rule(
            f"identity:list_system_grants_for_{_actor}",
            ADMIN_OR_SYSTEM_READER,
            f"List a {_actor}'s roles on the system.",
            ("GET", _path),
        ),
        policy.rule(
            f"identity:check_system_grant_for_{_actor}",
            ADMIN_OR_SYSTEM_READER,
            f"Check a {_actor}'s role on the system.",
            ("HEAD", _path + "/{role_id}"),
        ),
        policy.rule(
            f"identity:create_system_grant_for_{_actor}",
            ADMIN,
            f"Give a {_actor} a role on the system.",
            ("PUT", _path + "/{role_id}"),
        ),
        policy.rule(
            f"identity:revoke_system_grant_for_{_actor}",
            ADMIN,
            f"Take a {_actor}'s role on the system.",
            ("DELETE", _path + "/{role_id}"),
        ),
    ]

# --- handlers: one ---


def _grant(call: Call) -> Grant:
    given = call.params
    actor = "user" if "user_id" in given else "group"
    scope = next((scope for scope in ("project", "domain") if f"{scope}_id" in given), "system")
    target = given.get(f"{scope}_id", queries.SYSTEM)
    if call.request.path.endswith(_BELOW):
        scope = inheritance.BELOW[scope]
    return Grant(actor, given[f"{actor}_id"], scope, target, given.get("role_id", ""))


def held(call: Call) -> Any:
    """GET …/roles: what the actor has there itself."""
    with call.services.db.read() as conn:
        queries.require(conn, _grant(call))
        rows = queries.held(conn, _grant(call))
    return common.collection(call, "roles", [roles.view(call, row) for row in rows])


def check(call: Call) -> None:
    """GET and HEAD …/roles/{role_id}: 204 where the actor has it there itself."""
    grant = _grant(call)
    with call.services.db.read() as conn:
        queries.require(conn, grant)
        if not queries.is_held(conn, grant):
            raise errors.NotFound(f"The {grant.actor} {grant.actor_id} has no role {grant.role_id} there.")


def assign(call: Call) -> None:
    """PUT …/roles/{role_id}. Tokens issued before are without it."""
    with call.services.db.write() as conn:
        queries.require(conn, _grant(call))
        queries.check_domain(conn, _grant(call))
        queries.assign(conn, _grant(call))


def unassign(call: Call) -> None:
    """DELETE …/roles/{role_id}: the tokens of those who had it are revoked."""
    common.write(call, lambda conn: queries.unassign(conn, _grant(call), common.until(call)))


def rows() -> dict[str, dict[str, Endpoint]]:
    """The lines of ROUTES for each scope and actor."""
    found: dict[str, dict[str, Endpoint]] = {}
    for actor in ("user", "group"):
        tail = f"/{actor}s/{{{actor}_id}}/roles"
        for scope in ("project", "domain"):
            path, verbs = (
                f"/{scope}s/{{{scope}_id}}{tail}",
                ("list_grants", "check_grant", "create_grant", "revoke_grant"),
            )
            found |= _pair(f"/v3{path}", *verbs)
            found |= _pair(f"/v3/OS-INHERIT{path}", *verbs, end=_BELOW)
        system = f"system_grant_for_{actor}"
        found |= _pair(
            f"/v3/system{tail}",
            f"list_system_grants_for_{actor}",
            f"check_{system}",
            f"create_{system}",
            f"revoke_{system}",
        )
    return found


def _pair(
    path: str, listing: str, checking: str, giving: str, taking: str, *, end: str = ""
) -> dict[str, dict[str, Endpoint]]:
    return {
        path + end: {"GET": endpoint(held, f"identity:{listing}")},
        path + "/{role_id}" + end: {
            "GET": endpoint(check, f"identity:{checking}", status=204),
            "PUT": endpoint(assign, f"identity:{giving}", status=204),
            "DELETE": endpoint(unassign, f"identity:{taking}", status=204),
        },
    }


# --- handlers: the list of all ---

_FILTERS = {
    "user.id": "user_id",
    "group.id": "group_id",
    "role.id": "role_id",
    "scope.project.id": "project",
    "scope.domain.id": "domain",
    "scope.system": "system",
}


def list_assignments(call: Call) -> dict[str, Any]:
    """GET /v3/role_assignments, by user, group, role and scope; effective, include_names, include_subtree."""
    wanted, effective = _wanted(call), common.flag(call, "effective")
    heirs = call.first("scope.OS-INHERIT:inherited_to")
    inherited = None if heirs is None else heirs == "projects"
    with call.services.db.read() as conn:
        if common.flag(call, "include_subtree"):
            if wanted.get("scope") != "project":
                raise errors.BadRequest("scope.project.id is needed where include_subtree is asked for.")
            top = str(wanted["target_id"])
            wanted["target_id"] = [top, *projects.descendants(conn, top)]
        found = queries.assignments(conn, wanted, effective=effective, inherited=inherited)
        if effective:
            pairs = queries.implications(conn)
            names = queries.everywhere(conn, queries.closure(pairs, {row["role_id"] for row in found}))
    if effective:
        found = [
            row for row in _with_implied(found, pairs, names) if row["role_id"] == wanted.get("role_id", row["role_id"])
        ]
    named = common.flag(call, "include_names")
    return common.collection(call, "role_assignments", [_show(call, row, named) for row in found])


def _wanted(call: Call) -> dict[str, str | Sequence[str]]:
    given = {name: call.first(query) for query, name in _FILTERS.items() if call.first(query) is not None}
    if given.get("system", "all") != "all":
        del given["system"]
    scopes = [scope for scope in ("project", "domain", "system") if scope in given]
    if len(scopes) > 1:
        raise errors.BadRequest(f"Specify {scopes[0]} or {scopes[1]}, not both.")
    if "user_id" in given and "group_id" in given:
        raise errors.BadRequest("Specify a user or a group, not both.")
    if "group_id" in given and common.flag(call, "effective"):
        raise errors.BadRequest("With effective there are no assignments of groups to ask for.")
    wanted: dict[str, str | Sequence[str]] = {
        name: given[name] or "" for name in ("user_id", "group_id", "role_id") if name in given
    }
    if scopes:
        wanted |= {"scope": scopes[0], "target_id": given[scopes[0]] or ""}
    return wanted


def _with_implied(found: list[Row], pairs: list[tuple[str, str]], names: Mapping[str, str]) -> Iterator[Row]:
    for row in found:
        if row["role_id"] in names:
            yield row
        for key in sorted(names.keys() & (queries.closure(pairs, {row["role_id"]}) - {row["role_id"]})):
            yield {**row, "role_id": key, "role_name": names[key], "prior_role_id": row["role_id"]}


def _show(call: Call, row: Row, named: bool) -> dict[str, Any]:
    def name(kind: str, *, domain: bool = True) -> dict[str, Any]:
        if not named:
            return {}
        place = {"domain": {"id": row[f"{kind}_domain_id"], "name": row[f"{kind}_domain_name"]}} if domain else {}
        return {"name": row[f"{kind}_name"], **place}

    if row["scope"] == "system":
        scope: dict[str, Any] = {"system": {"all": True}}
    else:
        kind = row["scope"]
        scope = {kind: {"id": row["target_id"], **name(kind, domain=kind == "project")}}
    if row["origin_id"]:
        scope["OS-INHERIT:inherited_to"] = "projects"
    actor = "user" if row["user_id"] else "group"
    return {
        "links": _links(call, row),
        "scope": scope,
        actor: {"id": row[f"{actor}_id"], **name(actor)},
        "role": {"id": row["role_id"], **name("role", domain=False)},
    }


def _links(call: Call, row: Row) -> dict[str, str]:
    base = common.base(call)
    place, end = "/system" if row["scope"] == "system" else f"/{row['scope']}s/{row['target_id']}", ""
    if row["origin_id"]:
        place, end = f"/OS-INHERIT/{row['origin_scope']}s/{row['origin_id']}", _BELOW
    group = row["via_group"] or row["group_id"]
    actor = f"/groups/{group}" if group else f"/users/{row['user_id']}"
    prior = row.get("prior_role_id")
    links = {"assignment": f"{base}{place}{actor}/roles/{prior or row['role_id']}{end}"}
    if row["via_group"]:
        links["membership"] = f"{base}/groups/{group}/users/{row['user_id']}"
    if prior:
        links["prior_role"] = f"{base}/prior_role/{row['role_id']}/implies/{prior}"
    return links
