# SPDX-License-Identifier: Apache-2.0
"""Projects and their tags. Behaviour: keystone/api/projects.py and keystone/resource.

A domain is shown as a project too (`is_domain`), as Keystone does; it is made, changed and deleted by both nouns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api import parameters
from computeapi.api.identity import common, domains
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE, READER_OR_OWNER, Row
from computeapi.db.models import Domain, Project
from computeapi.db.queries.identity import accounts, revocations
from computeapi.endpoint import Call, Reply

# --- rules ---

READER_OR_MEMBER = "rule:admin_or_system_reader or project_id:%(project_id)s"
_PATH = "/v3/projects/{project_id}"

RULES = [
    policy.rule("identity:list_projects", ADMIN_OR_SYSTEM_READER, "List projects.", ("GET", "/v3/projects")),
    policy.rule("identity:get_project", READER_OR_MEMBER, "Show a project.", ("GET", _PATH)),
    policy.rule("identity:create_project", ADMIN, "Create a project.", ("POST", "/v3/projects")),
    policy.rule("identity:update_project", ADMIN, "Change a project.", ("PATCH", _PATH)),
    policy.rule("identity:delete_project", ADMIN, "Delete a project.", ("DELETE", _PATH)),
    policy.rule(
        "identity:list_user_projects",
        READER_OR_OWNER,
        "List the projects that a user has a role on.",
        ("GET", "/v3/users/{user_id}/projects"),
    ),
    policy.rule(
        "identity:get_auth_projects",
        ANYONE,
        "List the projects that the token's user has a role on.",
        ("GET", "/v3/auth/projects"),
    ),
    policy.rule("identity:list_project_tags", READER_OR_MEMBER, "List a project's tags.", ("GET", f"{_PATH}/tags")),
    policy.rule("identity:get_project_tag", READER_OR_MEMBER, "Check a tag.", ("GET", f"{_PATH}/tags/{{value}}")),
    policy.rule("identity:update_project_tags", ADMIN, "Replace the tags.", ("PUT", f"{_PATH}/tags")),
    policy.rule("identity:create_project_tag", ADMIN, "Add a tag.", ("PUT", f"{_PATH}/tags/{{value}}")),
    policy.rule("identity:delete_project_tags", ADMIN, "Remove all tags.", ("DELETE", f"{_PATH}/tags")),
    policy.rule("identity:delete_project_tag", ADMIN, "Remove a tag.", ("DELETE", f"{_PATH}/tags/{{value}}")),
]

# --- schemas ---

MAX_TAGS = 80

_tags: parameters.Schema = {
    "type": "array",
    "items": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^,/]*$"},
    "maxItems": MAX_TAGS,
    "uniqueItems": True,
}
_ATTRIBUTES: parameters.Schema = {
    "description": common.text_or_null,
    "enabled": parameters.boolean,
    "is_domain": {"type": ["boolean", "null"]},
    "domain_id": common.id_or_null,
    "parent_id": common.id_or_null,
    "tags": _tags,
    "options": common.immutable,
}
CREATE = common.body("project", {**_ATTRIBUTES, "name": common.name_64}, "name")
UPDATE = common.body("project", {**_ATTRIBUTES, "name": common.name_64})
TAGS = parameters.obj({"tags": _tags}, "tags")

COLUMNS = ("name", "description", "enabled")
_PLACE = ("is_domain", "domain_id", "parent_id", "tags")

# --- view ---


def view(call: Call, row: Row) -> dict[str, Any]:
    """A project as answers show it."""
    return {
        "options": {},
        **row["extra"],
        "id": row["id"],
        "name": row["name"],
        "domain_id": row["domain_id"],
        "description": row["description"],
        "enabled": bool(row["enabled"]),
        "parent_id": row["parent_id"],
        "is_domain": False,
        "tags": orjson.loads(row["tags_json"]),
        "links": common.self_link(call, "projects", row["id"]),
    }


def _view_domain(call: Call, row: Row) -> dict[str, Any]:
    place = {"domain_id": None, "parent_id": None, "is_domain": True}
    return domains.view(call, row) | place | {"links": common.self_link(call, "projects", row["id"])}


# --- handlers: lists ---


def index(call: Call) -> Any:
    """GET /v3/projects, by name, domain_id, parent_id, enabled, is_domain and tags."""
    wanted = common.filters(call, "name", "domain_id", "parent_id", "enabled")
    if common.flag(call, "is_domain"):
        if {"domain_id", "parent_id"} & set(wanted):
            return common.collection(call, "projects", [])
        which = accounts.equal(Domain, wanted)
        return common.page(
            call, "projects", _view_domain, lambda conn, *page: accounts.listed(conn, Domain, which, *page)
        )
    return _listed(call, accounts.equal(Project, wanted))


def list_of_user(call: Call) -> Any:
    """GET /v3/users/{user_id}/projects."""
    user_id = call.params["user_id"]
    wanted = common.filters(call, "name", "domain_id", "enabled")
    return _listed(call, [accounts.projects_of(user_id), *accounts.equal(Project, wanted)])


def list_mine(call: Call) -> Any:
    """GET /v3/auth/projects: enabled ones that the token's user has a role on."""
    return _listed(call, [accounts.projects_of(call.context.user_id), Project.enabled == 1])


def _listed(call: Call, which: list[Any]) -> Any:
    tags = {name: set(values[0].split(",")) for name, values in call.query.items() if name in _TAG_FILTERS}

    def read(conn: Connection, limit: int | None, marker: str | None) -> list[Row]:
        rows = accounts.listed(conn, Project, which, None if tags else limit, marker)
        found = [row for row in rows if _has(orjson.loads(row["tags_json"]), tags)] if tags else rows
        return found[:limit]

    return common.page(call, "projects", view, read)


_TAG_FILTERS: dict[str, Callable[[set[str], set[str]], bool]] = {
    "tags": lambda has, wanted: wanted <= has,
    "tags-any": lambda has, wanted: bool(wanted & has),
    "not-tags": lambda has, wanted: not wanted <= has,
    "not-tags-any": lambda has, wanted: not wanted & has,
}


def _has(tags: list[str], wanted: Mapping[str, set[str]]) -> bool:
    return all(_TAG_FILTERS[name](set(tags), values) for name, values in wanted.items())


# --- handlers: one ---


def show(call: Call) -> dict[str, Any]:
    """GET /v3/projects/{project_id}, with parents and subtree where asked for."""
    key = call.params["project_id"]
    with call.services.db.read() as conn:
        row = accounts.find(conn, Project, key)
        if row is None:
            domain = accounts.find(conn, Domain, key)
            if domain is None:
                raise accounts.missing(Project, key)
            return {"project": _view_domain(call, domain)}
        return {"project": view(call, row) | _family(conn, call, row)}


def _family(conn: Connection, call: Call, row: Row) -> dict[str, Any]:
    wanted = {
        name
        for name in ("parents_as_list", "parents_as_ids", "subtree_as_list", "subtree_as_ids")
        if common.flag(call, name)
    }
    for kind in ("parents", "subtree"):
        if {f"{kind}_as_list", f"{kind}_as_ids"} <= wanted:
            raise errors.BadRequest(f"{kind}_as_list and {kind}_as_ids can't be asked for together.")
    if not wanted:
        return {}
    parents = accounts.tree(conn, row["domain_id"])
    above, below = accounts.ancestors(parents, row["id"]), _below(parents, row["id"])
    shown: dict[str, Any] = {}
    if "parents_as_ids" in wanted:
        nested: Any = None
        for key in reversed(above):
            nested = {key: nested}
        shown["parents"] = nested
    if "subtree_as_ids" in wanted:
        shown["subtree"] = below
    for kind, keys in (("parents", above), ("subtree", _flat(below))):
        if f"{kind}_as_list" in wanted:
            which = [Project.id.in_(keys), accounts.projects_of(call.context.user_id)]
            shown[kind] = [{"project": view(call, item)} for item in accounts.listed(conn, Project, which)]
    return shown


def _below(parents: Mapping[str, str | None], key: str) -> dict[str, Any] | None:
    found = {child: _below(parents, child) for child in accounts.children(parents, key)}
    return found or None


def _flat(tree: dict[str, Any] | None) -> list[str]:
    return [key for child, below in (tree or {}).items() for key in (child, *_flat(below))]


def descendants(conn: Connection, project_id: str) -> list[str]:
    """The ids of all projects below. Raises NotFound."""
    row = accounts.get(conn, Project, project_id)
    return _flat(_below(accounts.tree(conn, row["domain_id"]), project_id))


def create(call: Call) -> dict[str, Any]:
    """POST /v3/projects. An unknown domain or parent is 400, as in Keystone."""
    given = call.body["project"]
    with call.services.db.write() as conn:
        if given.get("is_domain"):
            return {"project": _view_domain(call, _new_domain(conn, given))}
        values, extra = common.split(given, COLUMNS)
        for name in _PLACE:
            extra.pop(name, None)
        row = accounts.create(
            conn,
            Project,
            {
                **values,
                "description": values.get("description") or "",
                **_position(conn, call, given),
                "tags_json": orjson.dumps(given.get("tags", [])).decode("utf-8"),
                "extra": extra,
            },
        )
    return {"project": view(call, row)}


def _new_domain(conn: Connection, given: Row) -> Row:
    if given.get("domain_id") or given.get("parent_id"):
        raise errors.BadRequest("A project that acts as a domain has neither domain_id nor parent_id.")
    return domains.add(conn, {name: value for name, value in given.items() if name not in _PLACE[:3]})


def _position(conn: Connection, call: Call, given: Row) -> Row:
    """Where a new project goes: its domain_id and parent_id."""
    domain_id, parent_id = given.get("domain_id"), given.get("parent_id")
    if parent_id is None or parent_id == domain_id:
        domain_id = domain_id or common.home_domain(conn, call)
        if accounts.find(conn, Domain, domain_id) is None:
            raise errors.BadRequest(f"Could not find domain: {domain_id}.")
        return {"domain_id": domain_id, "parent_id": domain_id}
    parent = accounts.find(conn, Project, parent_id)
    if parent is None:
        if accounts.find(conn, Domain, parent_id) is None or domain_id:
            raise errors.BadRequest(f"Could not find project: {parent_id}.")
        return {"domain_id": parent_id, "parent_id": parent_id}
    if domain_id and domain_id != parent["domain_id"]:
        raise errors.BadRequest("A project is in the same domain as its parent.")
    if not parent["enabled"] and parameters.truth(given.get("enabled", True)):
        raise errors.Forbidden(f"Project {parent_id} is disabled: no enabled one can be made below it.")
    if len(accounts.ancestors(accounts.tree(conn, parent["domain_id"]), parent_id)) >= accounts.MAX_DEPTH:
        raise errors.Forbidden(f"Projects may be {accounts.MAX_DEPTH} deep and no more.")
    return {"domain_id": parent["domain_id"], "parent_id": parent_id}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/projects/{project_id}. Disabling it revokes the tokens for it."""
    key, given = call.params["project_id"], call.body["project"]

    def act(conn: Connection) -> dict[str, Any]:
        if accounts.find(conn, Project, key) is None and accounts.find(conn, Domain, key) is not None:
            rest = {name: value for name, value in given.items() if name not in _PLACE[:3]}
            return _view_domain(call, domains.change(conn, call, key, rest))
        return view(call, _change(conn, call, key, given))

    return {"project": common.write(call, act)}


def _change(conn: Connection, call: Call, key: str, given: Row) -> Row:
    row = accounts.lock(conn, Project, key)
    if given.get("parent_id", row["parent_id"]) != row["parent_id"]:
        raise errors.Forbidden("A project can't be moved below another parent.")
    if given.get("is_domain"):
        raise errors.BadRequest("A project can't be made a domain.")
    values = common.merged(row, {name: value for name, value in given.items() if name not in _PLACE[2:]}, COLUMNS)
    values.get("extra", {}).pop("is_domain", None)
    if "description" in values:
        values["description"] = values["description"] or ""
    if "tags" in given:
        values["tags_json"] = orjson.dumps(given["tags"]).decode("utf-8")
    if row["enabled"] and values.get("enabled") == 0:
        revocations.revoke_projects(conn, Project.id == key, common.until(call))
    return accounts.change(conn, Project, key, values)


def delete(call: Call) -> None:
    """DELETE /v3/projects/{project_id}: whatever it owns elsewhere; projects below it must be gone."""
    key = call.params["project_id"]

    def act(conn: Connection) -> None:
        row = accounts.find(conn, Project, key)
        if row is None and accounts.find(conn, Domain, key) is not None:
            domains.remove(conn, call, key)
            return
        if row is not None:
            common.check_mutable(row)
        accounts.delete_project(conn, key, common.until(call))

    common.write(call, act)


# --- handlers: tags ---


def list_tags(call: Call) -> dict[str, Any]:
    """GET /v3/projects/{project_id}/tags."""
    with call.services.db.read() as conn:
        return _show_tags(call, _tags_of(conn, call, change=False))


def show_tag(call: Call) -> None:
    """GET /v3/projects/{project_id}/tags/{value}: 204 where it has the tag."""
    with call.services.db.read() as conn:
        _known_tag(call, _tags_of(conn, call, change=False))


def replace_tags(call: Call) -> dict[str, Any]:
    """PUT /v3/projects/{project_id}/tags."""
    with call.services.db.write() as conn:
        _tags_of(conn, call)
        return _show_tags(call, _store(conn, call, call.body["tags"]))


def add_tag(call: Call) -> Reply:
    """PUT /v3/projects/{project_id}/tags/{value}: 201 with its address."""
    value = call.params["value"]
    if not 0 < len(value) <= 255 or "," in value:
        raise errors.BadRequest("A tag has 1 to 255 characters, none of them a comma or a slash.")
    with call.services.db.write() as conn:
        tags = _tags_of(conn, call)
        if value not in tags:
            if len(tags) >= MAX_TAGS:
                raise errors.BadRequest(f"A project may have {MAX_TAGS} tags.")
            _store(conn, call, [*tags, value])
    return Reply(status=201, headers={"Location": common.here(call)})


def remove_tag(call: Call) -> None:
    """DELETE /v3/projects/{project_id}/tags/{value}."""
    with call.services.db.write() as conn:
        tags = _tags_of(conn, call)
        value = _known_tag(call, tags)
        _store(conn, call, [tag for tag in tags if tag != value])


def remove_tags(call: Call) -> None:
    """DELETE /v3/projects/{project_id}/tags."""
    with call.services.db.write() as conn:
        _tags_of(conn, call)
        _store(conn, call, [])


def _tags_of(conn: Connection, call: Call, *, change: bool = True) -> list[str]:
    read = accounts.lock if change else accounts.get
    row = read(conn, Project, call.params["project_id"])
    if change:
        common.check_mutable(row)
    tags: list[str] = orjson.loads(row["tags_json"])
    return tags


def _known_tag(call: Call, tags: list[str]) -> str:
    value = call.params["value"]
    if value not in tags:
        raise errors.NotFound(f"Could not find project tag: {value}.")
    return value


def _store(conn: Connection, call: Call, tags: list[str]) -> list[str]:
    accounts.change(conn, Project, call.params["project_id"], {"tags_json": orjson.dumps(tags).decode("utf-8")})
    return tags


def _show_tags(call: Call, tags: list[str]) -> dict[str, Any]:
    return {"links": {"self": common.here(call)}, "tags": tags}
