# SPDX-License-Identifier: Apache-2.0
"""Unified limits: kept and shown here for services that ask. Behaviour: keystone/api/registered_limits.py, limits.py.

Our own quotas are not among them: they are the Compute API's (os-quota-sets).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api import parameters
from computeapi.api.identity import common, registry
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE, Row
from computeapi.db.models import Domain, Project
from computeapi.db.queries.identity import accounts
from computeapi.db.queries.identity import limits as queries
from computeapi.endpoint import Call

# --- rules ---

RULES = [
    policy.rule("identity:list_registered_limits", ANYONE, "List the defaults.", ("GET", "/v3/registered_limits")),
    policy.rule("identity:get_registered_limit", ANYONE, "Show a default.", ("GET", "/v3/registered_limits/{id}")),
    policy.rule("identity:create_registered_limits", ADMIN, "Register limits.", ("POST", "/v3/registered_limits")),
    policy.rule("identity:update_registered_limit", ADMIN, "Change one.", ("PATCH", "/v3/registered_limits/{id}")),
    policy.rule("identity:delete_registered_limit", ADMIN, "Delete one.", ("DELETE", "/v3/registered_limits/{id}")),
    policy.rule("identity:get_limit_model", ANYONE, "Ask how limits add up.", ("GET", "/v3/limits/model")),
    policy.rule("identity:list_limits", ANYONE, "List limits: all, or one's project's.", ("GET", "/v3/limits")),
    policy.rule(
        "identity:get_limit",
        f"{ADMIN_OR_SYSTEM_READER} or project_id:%(project_id)s",
        "Show a limit.",
        ("GET", "/v3/limits/{id}"),
    ),
    policy.rule("identity:create_limits", ADMIN, "Create limits.", ("POST", "/v3/limits")),
    policy.rule("identity:update_limit", ADMIN, "Change a limit.", ("PATCH", "/v3/limits/{id}")),
    policy.rule("identity:delete_limit", ADMIN, "Delete a limit.", ("DELETE", "/v3/limits/{id}")),
]

# --- schemas ---

_number = {"type": "integer", "minimum": -1, "maximum": 2**31 - 1}
_registered: parameters.Schema = {
    "service_id": common.an_id,
    "region_id": {"type": ["string", "null"], "maxLength": 255},
    "resource_name": common.name_255,
    "default_limit": _number,
    "description": common.text_or_null,
}
_limit: parameters.Schema = {
    "project_id": common.id_or_null,
    "domain_id": common.id_or_null,
    "service_id": common.an_id,
    "region_id": {"type": ["string", "null"], "maxLength": 255},
    "resource_name": common.name_255,
    "resource_limit": _number,
    "description": common.text_or_null,
}


def _several(key: str, item: parameters.Schema) -> parameters.Schema:
    return parameters.wrapped(key, {"type": "array", "minItems": 1, "items": item})


REGISTER = _several("registered_limits", parameters.obj(_registered, "service_id", "resource_name", "default_limit"))
UPDATE_REGISTERED = parameters.wrapped("registered_limit", parameters.obj(_registered))
CREATE = _several("limits", parameters.obj(_limit, "service_id", "resource_name", "resource_limit"))
UPDATE = parameters.wrapped("limit", parameters.obj({"resource_limit": _number, "description": common.text_or_null}))

# --- views ---


def _view(call: Call, path: str, row: Row) -> dict[str, Any]:
    return {**row, "links": common.self_link(call, path, row["id"])}


# --- handlers: registered limits ---


def list_registered(call: Call) -> dict[str, Any]:
    """GET /v3/registered_limits, by service_id, region_id, resource_name."""
    with call.services.db.read() as conn:
        rows = queries.registered(conn, common.filters(call, "service_id", "region_id", "resource_name"))
    return common.collection(call, "registered_limits", [_view(call, "registered_limits", row) for row in rows])


def show_registered(call: Call) -> dict[str, Any]:
    """GET /v3/registered_limits/{id}."""
    key = call.params["key"]
    with call.services.db.read() as conn:
        row = queries.one(queries.registered(conn, {"id": key}), "registered limit", key)
    return {"registered_limit": _view(call, "registered_limits", row)}


def register(call: Call) -> dict[str, Any]:
    """POST /v3/registered_limits: all or none."""
    given = [{"region_id": None, "description": None, **item} for item in call.body["registered_limits"]]
    with call.services.db.write() as conn:
        _check_service(conn, given)
        rows = queries.register(conn, given)
    return common.collection(call, "registered_limits", [_view(call, "registered_limits", row) for row in rows])


def update_registered(call: Call) -> dict[str, Any]:
    """PATCH /v3/registered_limits/{id}."""
    given = call.body["registered_limit"]
    with call.services.db.write() as conn:
        _check_service(conn, [given])
        row = queries.change_registered(conn, call.params["key"], given)
    return {"registered_limit": _view(call, "registered_limits", row)}


def delete_registered(call: Call) -> None:
    """DELETE /v3/registered_limits/{id}."""
    with call.services.db.write() as conn:
        queries.delete_registered(conn, call.params["key"])


# --- handlers: limits ---


def of_project(call: Call) -> common.OfProject:
    """Loader: the URL's limit, as its project's."""
    with call.services.db.read() as conn:
        rows = queries.listed(conn, {"id": call.params["key"]})
    return common.OfProject((rows[0]["project_id"] or "") if rows else "")


def index(call: Call) -> dict[str, Any]:
    """GET /v3/limits, by service_id, region_id, resource_name, project_id, domain_id."""
    wanted = common.filters(call, *queries.FILTERS)
    if not call.allows("admin_or_system_reader"):
        if wanted.get("project_id", call.context.project_id) != call.context.project_id:
            return common.collection(call, "limits", [])
        wanted["project_id"] = call.context.project_id or ""
    with call.services.db.read() as conn:
        rows = queries.listed(conn, wanted)
    return common.collection(call, "limits", [_view(call, "limits", row) for row in rows])


def show(call: Call) -> dict[str, Any]:
    """GET /v3/limits/{id}."""
    key = call.params["key"]
    with call.services.db.read() as conn:
        return {"limit": _view(call, "limits", queries.one(queries.listed(conn, {"id": key}), "limit", key))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/limits: all or none."""
    nothing = {"project_id": None, "domain_id": None, "region_id": None, "description": None}
    given = [{**nothing, **item} for item in call.body["limits"]]
    for item in given:
        if bool(item["project_id"]) == bool(item["domain_id"]):
            raise errors.BadRequest("A limit is of a project or of a domain: one of both ids is asked for.")
    with call.services.db.write() as conn:
        _check_service(conn, given)
        for model, name in ((Project, "project_id"), (Domain, "domain_id")):
            wanted = {item[name] for item in given if item[name]}
            known = {row["id"] for row in accounts.listed(conn, model, [model.id.in_(wanted)])}
            if wanted - known:
                raise errors.BadRequest(f"Could not find {name}: {min(wanted - known)}.")
        rows = queries.create(conn, given)
    return common.collection(call, "limits", [_view(call, "limits", row) for row in rows])


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/limits/{id}."""
    with call.services.db.write() as conn:
        return {"limit": _view(call, "limits", queries.change(conn, call.params["key"], call.body["limit"]))}


def delete(call: Call) -> None:
    """DELETE /v3/limits/{id}."""
    with call.services.db.write() as conn:
        queries.remove(conn, call.params["key"])


def show_model(_call: Call) -> dict[str, Any]:
    """GET /v3/limits/model."""
    return {"model": {"name": "flat", "description": "A limit holds for one project, whatever is above or below it."}}


def _check_service(conn: Connection, items: Iterable[Row]) -> None:
    """Raise BadRequest where one of them is about a service or a region that is not in the catalog."""
    registry.require_services(conn, {item["service_id"] for item in items if "service_id" in item})
    registry.require_regions(conn, {item["region_id"] for item in items if item.get("region_id") is not None})
