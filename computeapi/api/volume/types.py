# SPDX-License-Identifier: Apache-2.0
"""Volume types, their extra specs, who may use them, and projects' default types.

Behaviour: cinder/api/v3/types.py, contrib/types_manage.py, types_extra_specs.py, volume_type_access.py,
v3/default_types.py. The type __DEFAULT__ is made when it is first needed.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume import common
from computeapi.api.volume.common import Json
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volume_snapshots as rows
from computeapi.db.queries import volume_types as queries
from computeapi.db.queries.volume_lists import TYPES, Found
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, rule
from computeapi.versions import Version

READER = "rule:context_is_admin or role:reader"

# --- RULES ---

_TYPE = "/v3/types/{id}"
GET, GET_ALL = "volume_extension:type_get", "volume_extension:type_get_all"
SEE_SPECS = "volume_extension:access_types_extra_specs"
SEE_QOS = "volume_extension:access_types_qos_specs_id"
SEE_SENSITIVE = "volume_extension:types_extra_specs:read_sensitive"

RULES = [
    rule(GET, READER, "Show a volume type.", ("GET", _TYPE)),
    rule(GET_ALL, READER, "List volume types.", ("GET", "/v3/types")),
    rule(SEE_SPECS, READER, "See volume types' extra specs.", ("GET", "/v3/types")),
    rule(SEE_SENSITIVE, ADMIN, "See all of them, not only those that say what users can do.", ("GET", "/v3/types")),
    rule(SEE_QOS, ADMIN, "See which QoS specs a volume type has.", ("GET", "/v3/types")),
    rule("volume_extension:type_create", ADMIN, "Make a volume type.", ("POST", "/v3/types")),
    rule("volume_extension:type_update", ADMIN, "Change a volume type.", ("PUT", _TYPE)),
    rule("volume_extension:type_delete", ADMIN, "Delete a volume type.", ("DELETE", _TYPE)),
    rule("volume_extension:types_extra_specs:index", READER, "See extra specs.", ("GET", _TYPE + "/extra_specs")),
    rule(
        "volume_extension:types_extra_specs:show", READER, "See one extra spec.", ("GET", _TYPE + "/extra_specs/{key}")
    ),
    rule("volume_extension:types_extra_specs:create", ADMIN, "Add extra specs.", ("POST", _TYPE + "/extra_specs")),
    rule(
        "volume_extension:types_extra_specs:update",
        ADMIN,
        "Change an extra spec.",
        ("PUT", _TYPE + "/extra_specs/{key}"),
    ),
    rule(
        "volume_extension:types_extra_specs:delete",
        ADMIN,
        "Take away an extra spec.",
        ("DELETE", _TYPE + "/extra_specs/{key}"),
    ),
    rule(
        "volume_extension:volume_type_access:get_all_for_type",
        ADMIN,
        "See who may use a private volume type.",
        ("GET", _TYPE + "/os-volume-type-access"),
    ),
    rule(
        "volume_extension:volume_type_access:addProjectAccess",
        ADMIN,
        "Let a project use a private volume type.",
        ("POST", _TYPE + "/action"),
    ),
    rule(
        "volume_extension:volume_type_access:removeProjectAccess",
        ADMIN,
        "No longer let a project use it.",
        ("POST", _TYPE + "/action"),
    ),
    rule(
        "volume_extension:volume_type_encryption:get",
        ADMIN,
        "See how volumes of a type are encrypted.",
        ("GET", _TYPE + "/encryption"),
    ),
    rule("volume_extension:default_get", ADMIN, "See a project's default type.", ("GET", "/v3/default-types/{id}")),
    rule("volume_extension:default_get_all", ADMIN, "List projects' default types.", ("GET", "/v3/default-types")),
    rule(
        "volume_extension:default_set_or_update",
        ADMIN,
        "Give a project a default type.",
        ("PUT", "/v3/default-types/{id}"),
    ),
    rule("volume_extension:default_unset", ADMIN, "Take it away.", ("DELETE", "/v3/default-types/{id}")),
]

# --- SCHEMAS ---

_TEXT: Json = {"type": ["string", "null"], "maxLength": 255}
_SPECS: Json = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:. /]{1,255}$(?!\n)": _TEXT},
    "additionalProperties": False,
}
_SPECS_STRICT: Json = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:.]{1,255}$(?!\n)": _TEXT},
    "additionalProperties": False,
}
CREATE = p.wrapped(
    "volume_type",
    p.obj(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 255},
            "description": _TEXT,
            "extra_specs": _SPECS,
            "os-volume-type-access:is_public": p.loose_boolean,
        },
        "name",
    ),
)
UPDATE = p.wrapped(
    "volume_type",
    p.obj({"name": {**_TEXT, "minLength": 1}, "description": _TEXT, "is_public": p.loose_boolean}),
)
CREATE_SPECS = p.wrapped("extra_specs", _SPECS_STRICT)
UPDATE_SPEC: Json = {**_SPECS_STRICT, "minProperties": 1, "maxProperties": 1}
_PROJECT = p.obj({"project": {"type": "string", "minLength": 1, "maxLength": 255}}, "project")
ADD_ACCESS = p.wrapped("addProjectAccess", _PROJECT)
REMOVE_ACCESS = p.wrapped("removeProjectAccess", _PROJECT)
SET_DEFAULT = p.wrapped(
    "default_type", p.obj({"volume_type": {"type": "string", "minLength": 1, "maxLength": 255}}, "volume_type")
)

_SPECS_FILTER = Version(3, 52)

# --- VIEW ---

VISIBLE_SPECS = ("RESKEY:availability_zones", "multiattach", "replication_enabled")


def _view(call: Call, row: Found) -> Json:
    return {"qos_specs_id": None, **_brief(call, row)} if call.allows(SEE_QOS) else _brief(call, row)


def _brief(call: Call, row: Found) -> Json:
    shown = {
        "id": row.uuid,
        "name": row.name,
        "is_public": bool(row.is_public),
        "description": row.description,
        "os-volume-type-access:is_public": bool(row.is_public),
    }
    if call.allows(SEE_SPECS):
        shown["extra_specs"] = visible_specs(call, row)
    return shown


def visible_specs(call: Call, row: Found) -> dict[str, str | None]:
    """The extra specs that the caller may see."""
    specs: dict[str, str | None] = orjson.loads(row.extra_specs_json)
    if call.allows(SEE_SENSITIVE):
        return specs
    return {key: value for key, value in specs.items() if key in VISIBLE_SPECS}


# --- HANDLERS ---


def load(call: Call) -> Found:
    """The type in the URL, if the caller may use it; "default" is the one that volumes have where none is asked for."""
    if call.params["id"] == "default":
        return ensure_default(call)
    with call.services.db.read() as conn:
        return lists.find(conn, TYPES, call.params["id"], common.scope(call))


def ensure_default(call: Call) -> Found:
    """The default type of the caller's project."""
    with call.services.db.read() as conn:
        found = queries.default(conn, call.project_id)
    if found is None:
        with call.services.db.write() as conn:
            found = queries.make_default(conn)
    return found


def index(call: Call) -> Json:
    """GET /v3/types: the public ones and those given to the project; administrators choose by `is_public`."""
    ensure_default(call)
    wish = common.read_wish(
        call, TYPES, ("extra_specs",) if call.version >= _SPECS_FILTER else (), strict=_SPECS_FILTER
    )
    if _asks_for_hidden_specs(call):
        return {"volume_types": []}
    project_id: str | None = call.project_id
    if common.is_admin(call) and (public := call.query.get("is_public", ["true"])[-1]):
        if public.strip().lower() == "none":
            project_id = None
        elif not common.boolean(call, "is_public", True):
            project_id = None
            wish.where.append(lists.PRIVATE)
    with call.services.db.read() as conn:
        found = lists.page(conn, TYPES, project_id, wish)
    answer = common.paged(call, "volume_types", "types", [_view(call, row) for row in found])
    if "volume_types_links" in answer:
        answer["volume_type_links"] = answer.pop("volume_types_links")
    return answer


def _asks_for_hidden_specs(call: Call) -> bool:
    """Whether a filter would tell of extra specs that the caller may not see."""
    text = call.query.get("extra_specs", [""])[-1]
    if not text or call.version < _SPECS_FILTER or call.allows(SEE_SENSITIVE):
        return False
    return not set(common.pairs("extra_specs", text)) <= set(VISIBLE_SPECS)


def show(call: Call) -> Json:
    """GET /v3/types/{id}."""
    return {"volume_type": _view(call, call.target)}


def create(call: Call) -> Json:
    """POST /v3/types. Raises Conflict for a name that is taken."""
    body = call.body["volume_type"]
    name = _name(body["name"])
    values = {
        "uuid": str(uuid.uuid4()),
        "name": name,
        "description": body.get("description"),
        "is_public": int(p.truth(body.get("os-volume-type-access:is_public", True))),
        "extra_specs_json": orjson.dumps(body.get("extra_specs") or {}).decode(),
    }
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "volume types")
        if _taken(conn, name):
            raise errors.Conflict(f"Volume Type {name} already exists.")
        rows.add_type(conn, values)
        row = rows.find_type(conn, values["uuid"])
    return {"volume_type": _brief(call, row)}


def _name(text: str) -> str:
    if not text.strip():
        raise errors.BadRequest("The 'name' can not be empty.")
    return text


def _taken(conn: Any, name: str, but: str = "") -> bool:
    found = rows.find_type(conn, name)
    return found is not None and found.name == name and found.uuid != but


def update(call: Call) -> Json:
    """PUT /v3/types/{id}."""
    body, target = call.body["volume_type"], call.target
    name = body.get("name")
    if name is not None and not name.strip():
        raise errors.BadRequest("Volume type name can not be empty.")
    values = {key: body[key] for key in ("name", "description") if body.get(key) is not None}
    if "is_public" in body:
        values["is_public"] = int(p.truth(body["is_public"]))
    if not values:
        raise errors.BadRequest("Specify volume type name, description, is_public or a combination thereof.")
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "volume types")
        if name is not None and _taken(conn, name, target.uuid):
            raise errors.Conflict(f"Volume Type {name} already exists.")
        if not rows.change_type(conn, target.uuid, values):
            raise TYPES.not_found(target.uuid)
        row = rows.find_type(conn, target.uuid)
    shown = _brief(call, row)
    del shown["os-volume-type-access:is_public"]
    return {"volume_type": shown}


def delete(call: Call) -> None:
    """DELETE /v3/types/{id}. Raises BadRequest while it is used or a default."""
    target = call.target
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "volume types")
        if queries.is_default(conn, target.uuid):
            raise errors.BadRequest(f"The volume type {target.uuid} is a default volume type and cannot be deleted.")
        if rows.type_in_use(conn, target.uuid):
            raise errors.BadRequest("Target volume type is still in use.")
        rows.remove_type(conn, target.uuid)


# --- extra specs ---


def list_specs(call: Call) -> Json:
    """GET /v3/types/{id}/extra_specs."""
    return {"extra_specs": visible_specs(call, call.target)}


def show_spec(call: Call) -> Json:
    """GET /v3/types/{id}/extra_specs/{key}."""
    specs, key = visible_specs(call, call.target), call.params["key"]
    if key not in specs:
        raise _no_spec(call)
    return {key: specs[key]}


def _no_spec(call: Call) -> errors.NotFound:
    return errors.NotFound(f"Volume Type {call.target.uuid} has no extra specs with key {call.params['key']}.")


def create_specs(call: Call) -> Json:
    """POST /v3/types/{id}/extra_specs."""
    _change_specs(call, lambda specs: {**specs, **call.body["extra_specs"]})
    return {"extra_specs": call.body["extra_specs"]}


def update_spec(call: Call) -> Json:
    """PUT /v3/types/{id}/extra_specs/{key}."""
    if call.params["key"] not in call.body:
        raise errors.BadRequest("Request body and URI mismatch")
    _change_specs(call, lambda specs: {**specs, **call.body})
    return dict(call.body)


def delete_spec(call: Call) -> None:
    """DELETE /v3/types/{id}/extra_specs/{key}."""

    def without(specs: Json) -> Json:
        if call.params["key"] not in specs:
            raise _no_spec(call)
        return {key: value for key, value in specs.items() if key != call.params["key"]}

    _change_specs(call, without)


def _change_specs(call: Call, change: Any) -> None:
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "volume types")
        row = rows.find_type(conn, call.target.uuid)
        if row is None:
            raise TYPES.not_found(call.target.uuid)
        specs = change(orjson.loads(row.extra_specs_json))
        rows.change_type(conn, row.uuid, {"extra_specs_json": orjson.dumps(specs).decode()})


# --- who may use it ---


def list_access(call: Call) -> Json:
    """GET /v3/types/{id}/os-volume-type-access."""
    if call.target.is_public:
        raise errors.NotFound("Access list not available for public volume types.")
    with call.services.db.read() as conn:
        found = queries.projects(conn, call.target.id)
    return {"volume_type_access": [{"volume_type_id": call.target.uuid, "project_id": each} for each in found]}


def add_access(call: Call) -> None:
    """POST /v3/types/{id}/action addProjectAccess."""
    project_id = _access_project(call, "addProjectAccess")
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "volume types")
        queries.add_access(conn, call.target, project_id)


def remove_access(call: Call) -> None:
    """POST /v3/types/{id}/action removeProjectAccess."""
    project_id = _access_project(call, "removeProjectAccess")
    with call.services.db.write() as conn:
        queries.remove_access(conn, call.target, project_id)


def _access_project(call: Call, action: str) -> str:
    project_id = str(call.body[action]["project"])
    if call.target.is_public:
        raise errors.BadRequest(
            "Invalid volume type: Type access modification is not applicable to public volume type."
        )
    if len(project_id) > 64:
        raise errors.BadRequest("A project's id has 64 characters at most.")
    return project_id


def encryption(_call: Call) -> Json:
    """GET /v3/types/{id}/encryption: volumes are not encrypted."""
    return {}


# --- projects' defaults ---


def _default_view(project_id: str, type_id: str | None) -> Json:
    return {"project_id": project_id, "volume_type_id": type_id}


def list_defaults(call: Call) -> Json:
    """GET /v3/default-types."""
    with call.services.db.read() as conn:
        found = queries.own_defaults(conn)
    return {"default_types": [_default_view(*pair) for pair in found]}


def show_default(call: Call) -> Json:
    """GET /v3/default-types/{project_id}."""
    project_id = call.params["id"]
    with call.services.db.read() as conn:
        type_id = queries.own_default(conn, project_id)
    if type_id is None:
        raise errors.NotFound(f"Default type for project {project_id} not found.")
    return {"default_type": _default_view(project_id, type_id)}


def set_default(call: Call) -> Json:
    """PUT /v3/default-types/{project_id}."""
    project_id, wanted = call.params["id"], call.body["default_type"]["volume_type"]
    if len(project_id) > 64:
        raise errors.BadRequest("A project's id has 64 characters at most.")
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "volume types")
        row = rows.find_type(conn, wanted)
        if row is None:
            raise errors.NotFound(f"Volume type {wanted} could not be found.")
        queries.set_own_default(conn, project_id, row.uuid)
    return {"default_type": _default_view(project_id, row.uuid)}


def unset_default(call: Call) -> None:
    """DELETE /v3/default-types/{project_id}."""
    with call.services.db.write() as conn:
        queries.set_own_default(conn, call.params["id"], None)


# --- the table of POST /v3/types/{id}/action ---

ACTIONS: dict[str, Endpoint] = {
    name: endpoint(handler, f"volume_extension:volume_type_access:{name}", body=schema, loads=load, status=202)
    for name, handler, schema in (
        ("addProjectAccess", add_access, ADD_ACCESS),
        ("removeProjectAccess", remove_access, REMOVE_ACCESS),
    )
}
