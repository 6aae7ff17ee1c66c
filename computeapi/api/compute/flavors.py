# SPDX-License-Identifier: Apache-2.0
"""Flavors, their access lists and their extra specs (nova/api/openstack/compute/flavors.py, flavor_access.py,
flavors_extraspecs.py).

Reading asks for no rule, as in Nova: everybody sees the public flavors and those given to their project.
"""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from computeapi import errors, validation
from computeapi.api import parameters
from computeapi.api.compute import links
from computeapi.api.compute.links import Prefixes
from computeapi.db.queries import flavors as queries
from computeapi.db.queries.flavors import MAX_INT, FlavorRow
from computeapi.endpoint import Call, endpoint
from computeapi.policy import ADMIN, PROJECT_READER, rule
from computeapi.versions import Versioned

Json = dict[str, Any]

# --- RULES ---

MANAGE = "os_compute_api:os-flavor-manage:"
ACCESS = "os_compute_api:os-flavor-access"
SPECS = "os_compute_api:os-flavor-extra-specs:"
_KEY_PATH = "/flavors/{flavor_id}/os-extra_specs/{key}"

RULES = [
    rule(MANAGE + "create", ADMIN, "Create a flavor.", ("POST", "/flavors")),
    rule(MANAGE + "delete", ADMIN, "Delete a flavor.", ("DELETE", "/flavors/{flavor_id}")),
    rule(
        ACCESS, ADMIN, "See which projects may use a private flavor.", ("GET", "/flavors/{flavor_id}/os-flavor-access")
    ),
    rule(
        ACCESS + ":add_tenant_access",
        ADMIN,
        "Let a project use a private flavor.",
        ("POST", "/flavors/{flavor_id}/action"),
    ),
    rule(
        ACCESS + ":remove_tenant_access",
        ADMIN,
        "No longer let a project use a private flavor.",
        ("POST", "/flavors/{flavor_id}/action"),
    ),
    rule(
        SPECS + "index", PROJECT_READER, "See a flavor's extra specs.", ("GET", "/flavors/{flavor_id}/os-extra_specs")
    ),
    rule(SPECS + "show", PROJECT_READER, "See one extra spec of a flavor.", ("GET", _KEY_PATH)),
    rule(SPECS + "create", ADMIN, "Add extra specs to a flavor.", ("POST", "/flavors/{flavor_id}/os-extra_specs")),
    rule(SPECS + "update", ADMIN, "Change an extra spec of a flavor.", ("PUT", _KEY_PATH)),
    rule(SPECS + "delete", ADMIN, "Take an extra spec from a flavor.", ("DELETE", _KEY_PATH)),
]

# --- SCHEMAS ---

MAX_RXTX = 3.40282e38  # the largest single-precision float, as Nova writes it
MAX_PROJECT_ID = 64


def _number(least: int) -> Json:
    return {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": least, "maximum": MAX_INT}


def _create(name: Json) -> Json:
    fields = {
        "name": name,
        "id": {
            "type": ["string", "number", "null"],
            "minLength": 1,
            "maxLength": 255,
            "pattern": r"^(?! )[a-zA-Z0-9. _-]+(?<! )$(?!\n)",
        },
        "ram": _number(1),
        "vcpus": _number(1),
        "disk": _number(0),
        "OS-FLV-EXT-DATA:ephemeral": _number(0),
        "swap": _number(0),
        "rxtx_factor": {
            "type": ["number", "string"],
            "pattern": r"^[0-9]+(\.[0-9]+)?$",
            "minimum": 0,
            "exclusiveMinimum": True,
            "maximum": MAX_RXTX,
        },
        "os-flavor-access:is_public": parameters.boolean,
    }
    return parameters.wrapped("flavor", parameters.obj(fields, "name", "ram", "vcpus", "disk"))


CREATE = _create(parameters.name)
CREATE_V2 = Versioned(validation.relaxed(_create(parameters.loose_name)))

_LIST = {
    "limit": parameters.Q_INTEGER,
    "marker": parameters.Q_ANY,
    "is_public": parameters.Q_ANY,
    "minRam": parameters.Q_ANY,
    "minDisk": parameters.Q_ANY,
    "sort_key": {"type": "string", "enum": sorted(queries.SORT_KEYS)},
    "sort_dir": {"type": "string", "enum": ["asc", "desc"]},
}
LIST_QUERY = parameters.query(_LIST, multi=tuple(_LIST))

_TENANT = parameters.obj({"tenant": {"type": "string", "minLength": 1, "maxLength": 255}}, "tenant")

_SPECS = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:. ]{1,255}$(?!\n)": {"type": ["string", "number"], "maxLength": 255}},
    "additionalProperties": False,
}
CREATE_SPECS = parameters.wrapped("extra_specs", _SPECS)
UPDATE_SPEC = {**_SPECS, "minProperties": 1, "maxProperties": 1}

# --- VIEW ---


def _view(flavor: FlavorRow, prefixes: Prefixes) -> Json:
    return {
        "id": flavor.flavor_id,
        "name": flavor.name,
        "ram": flavor.memory_mb,
        "disk": flavor.disk_gb,
        "swap": flavor.swap_mb or "",
        "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": bool(flavor.disabled),
        "vcpus": flavor.vcpus,
        "os-flavor-access:is_public": bool(flavor.is_public),
        "rxtx_factor": flavor.rxtx_factor,
        "links": prefixes.of(flavor.flavor_id),
    }


def _brief(flavor: FlavorRow, prefixes: Prefixes) -> Json:
    return {"id": flavor.flavor_id, "name": flavor.name, "links": prefixes.of(flavor.flavor_id)}


def _access_view(flavor: FlavorRow, projects: list[str]) -> Json:
    return {"flavor_access": [{"flavor_id": flavor.flavor_id, "tenant_id": project} for project in projects]}


# --- HANDLERS: flavors ---


def index(call: Call) -> Json:
    """GET /flavors: id, name and links."""
    return _list(call, _brief, "flavors")


def detail(call: Call) -> Json:
    """GET /flavors/detail, and the same below os-flavor-rxtx and os-flavor-access."""
    return _list(call, _view, "flavors/detail")


def _list(call: Call, view: Any, path: str) -> Json:
    admin = call.context.is_admin
    scope = _scope(links.last(call, "is_public")) if admin else queries.ENABLED
    with call.services.db.read() as conn:
        found = queries.page(
            conn,
            project_id=call.project_id,
            admin=admin,
            scope=scope,
            limit=links.page_size(call),
            marker=links.last(call, "marker"),
            sort_key=links.last(call, "sort_key") or "flavorid",
            descending=links.last(call, "sort_dir") == "desc",
            min_ram=_least(call, "minRam"),
            min_disk=_least(call, "minDisk"),
        )
    prefixes = links.prefixes(call, "flavors")
    shown: Json = {"flavors": [view(flavor, prefixes) for flavor in found]}
    if found and (more := links.next_page(call, path, len(found), found[-1].flavor_id)):
        shown["flavors_links"] = more
    return shown


def _scope(text: str | None) -> str:
    """What an administrator lists by the filter `is_public`: a truth value, or "None" for all."""
    word = "true" if text is None else text.strip().lower()
    if word == "none":
        return queries.EVERY
    if word in ("1", "t", "true", "on", "y", "yes"):
        return queries.USABLE
    if word in ("0", "f", "false", "off", "n", "no"):
        return queries.PRIVATE
    raise errors.BadRequest(f"Invalid is_public filter [{text}]")


def _least(call: Call, name: str) -> int:
    text = links.last(call, name)
    try:
        return 0 if text is None else int(text)
    except ValueError:
        raise errors.BadRequest(f"Invalid {name} filter [{text}]") from None


def show(call: Call) -> Json:
    """GET /flavors/{flavor_id}."""
    with call.services.db.read() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call))
    return {"flavor": _view(flavor, links.prefixes(call, "flavors"))}


def _viewer(call: Call) -> str | None:
    """Whose flavors the caller may know of: its project's, or (None) all."""
    return None if call.context.is_admin else call.project_id


def create(call: Call) -> Json:
    """POST /flavors. Raises Conflict for an id or name that is taken."""
    flavor = _given(call.body["flavor"])
    db = call.services.db
    with db.write() as conn:
        db.lock(conn, "flavors")
        queries.create(conn, flavor)
    return {"flavor": _view(flavor, links.prefixes(call, "flavors"))}


def _given(body: Json) -> FlavorRow:
    flavor_id = body.get("id")
    return FlavorRow(
        key=0,
        flavor_id=str(uuid.uuid4()) if flavor_id is None else str(flavor_id),
        name=body["name"].strip(),
        memory_mb=_integer(body, "ram", 1),
        disk_gb=_integer(body, "disk", 0),
        swap_mb=_integer(body, "swap", 0),
        ephemeral_gb=_integer(body, "OS-FLV-EXT-DATA:ephemeral", 0),
        vcpus=_integer(body, "vcpus", 1),
        disabled=0,
        is_public=int(parameters.truth(body.get("os-flavor-access:is_public", True))),
        rxtx_factor=_rxtx_factor(body.get("rxtx_factor", 1.0)),
        extra_specs_json="{}",
    )


def _integer(body: Json, name: str, least: int) -> int:
    """The number in a field, which may come as a text of digits; the schema limits only real numbers."""
    value = body.get(name, 0)
    number = int(value) if len(str(value)) <= 20 else MAX_INT + 1
    if number < least:
        wrong = f"less than the minimum of {least}"
    elif number > MAX_INT:
        wrong = f"greater than the maximum of {MAX_INT}"
    else:
        return number
    shown = str(value)[:40]
    raise errors.BadRequest(f"Invalid input for field/attribute {name}. Value: {shown}. {shown!r} is {wrong}")


def _rxtx_factor(value: Any) -> float:
    factor = float(value)
    if not 0 < factor <= MAX_RXTX:
        raise errors.BadRequest(
            f"Invalid input received: 'rxtx_factor' argument must be a float between 0 and {MAX_RXTX:g}"
        )
    return factor


def remove(call: Call) -> None:
    """DELETE /flavors/{flavor_id}: servers keep the copy they were made with."""
    with call.services.db.write() as conn:
        queries.remove(conn, call.params["flavor_id"])


# --- HANDLERS: access ---


def access(call: Call) -> Json:
    """GET /flavors/{flavor_id}/os-flavor-access. Raises NotFound for a public flavor, which has no list."""
    with call.services.db.read() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call))
        if flavor.is_public:
            raise errors.NotFound("Access list not available for public flavors.")
        return _access_view(flavor, queries.access_of(conn, flavor.key))


def every_access(call: Call) -> Json:
    """GET /flavors/os-flavor-access: every pair of flavor and project, by flavor."""
    with call.services.db.read() as conn:
        pairs = queries.every_access(conn)
    return {"flavor_access": [{"flavor_id": flavor, "tenant_id": project} for flavor, project in pairs]}


def add_access(call: Call) -> Json:
    """Action addTenantAccess. A public flavor takes it too (until 2.7).

    Raises BadRequest for a project that does not exist, Conflict for one that is on the list.
    """
    project_id = call.body["addTenantAccess"]["tenant"]
    embedded = not call.services.settings.identity_url
    with call.services.db.write() as conn:
        if len(project_id) > MAX_PROJECT_ID or (embedded and not queries.project_exists(conn, project_id)):
            raise errors.BadRequest(f"Project ID {project_id} is not a valid project.")
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call), lock=True)
        queries.add_access(conn, flavor, project_id)
        return _access_view(flavor, queries.access_of(conn, flavor.key))


def remove_access(call: Call) -> Json:
    """Action removeTenantAccess. Raises NotFound for a project that is not on the list."""
    with call.services.db.write() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call), lock=True)
        queries.remove_access(conn, flavor, call.body["removeTenantAccess"]["tenant"])
        return _access_view(flavor, queries.access_of(conn, flavor.key))


ACTIONS = {
    "addTenantAccess": endpoint(
        add_access, ACCESS + ":add_tenant_access", body=parameters.wrapped("addTenantAccess", _TENANT)
    ),
    "removeTenantAccess": endpoint(
        remove_access, ACCESS + ":remove_tenant_access", body=parameters.wrapped("removeTenantAccess", _TENANT)
    ),
}

# --- HANDLERS: extra specs ---


def extra_specs(call: Call) -> Json:
    """GET /flavors/{flavor_id}/os-extra_specs."""
    with call.services.db.read() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call))
    return {"extra_specs": orjson.Fragment(flavor.extra_specs_json)}


def extra_spec(call: Call) -> Json:
    """GET /flavors/{flavor_id}/os-extra_specs/{key}: that one alone."""
    with call.services.db.read() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call))
    key = call.params["key"]
    return {key: _spec(flavor, orjson.loads(flavor.extra_specs_json), key)}


def _spec(flavor: FlavorRow, specs: dict[str, str], key: str) -> str:
    if key not in specs:
        raise errors.NotFound(f"Flavor {flavor.flavor_id} has no extra specs with key {key}.")
    return specs[key]


def create_extra_specs(call: Call) -> Json:
    """POST /flavors/{flavor_id}/os-extra_specs: added to those there are. Numbers are kept as text, echoed as sent."""
    _merge(call, call.body["extra_specs"])
    return {"extra_specs": call.body["extra_specs"]}


def update_extra_spec(call: Call) -> Json:
    """PUT /flavors/{flavor_id}/os-extra_specs/{key} with `{key: value}`."""
    if call.params["key"] not in call.body:
        raise errors.BadRequest("Request body and URI mismatch")
    _merge(call, call.body)
    return dict(call.body)


def _merge(call: Call, specs: Json) -> None:
    with call.services.db.write() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call), lock=True)
        merged = orjson.loads(flavor.extra_specs_json) | {key: str(value) for key, value in specs.items()}
        queries.save_extra_specs(conn, flavor, merged)


def delete_extra_spec(call: Call) -> None:
    """DELETE /flavors/{flavor_id}/os-extra_specs/{key}."""
    key = call.params["key"]
    with call.services.db.write() as conn:
        flavor = queries.find(conn, call.params["flavor_id"], _viewer(call), lock=True)
        specs = orjson.loads(flavor.extra_specs_json)
        _spec(flavor, specs, key)
        del specs[key]
        queries.save_extra_specs(conn, flavor, specs)
