# SPDX-License-Identifier: Apache-2.0
"""Services, endpoints and regions: those that this program serves to read, others' to register, change and delete.

Behaviour: keystone/api/services.py, endpoints.py, regions.py. Ours can't be changed or deleted (403). Of a type that we
serve there is no second service (409), and its endpoints are in other regions: clients take the first that fits, and
some refuse to choose.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api.identity import catalog, common
from computeapi.api.identity.catalog import INTERFACES, REGION
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE, Row
from computeapi.db.models import Endpoint, Region, Service
from computeapi.db.queries.identity import accounts
from computeapi.db.queries.identity import catalog as queries
from computeapi.endpoint import Call

# --- rules ---

RULES = [
    policy.rule(
        f"identity:{verb}_{noun}{'s' if verb == 'list' else ''}",
        (ANYONE if noun == "region" else ADMIN_OR_SYSTEM_READER) if method == "GET" else ADMIN,
        f"{verb.capitalize()} {noun}s of the catalog.",
        (method, f"/v3/{noun}s" + ("" if verb in ("list", "create") else "/{id}")),
    )
    for noun in ("service", "endpoint", "region")
    for verb, method in (
        ("list", "GET"),
        ("get", "GET"),
        ("create", "POST"),
        ("update", "PATCH"),
        ("delete", "DELETE"),
    )
]

# --- schemas ---

_flag = {"type": "boolean"}  # Keystone takes no text here
_service = {"type": common.name_255, "name": {"type": "string"}, "description": common.text_or_null, "enabled": _flag}
_region_id = {"type": ["string", "null"], "maxLength": 255}
_endpoint = {
    "service_id": common.an_id,
    "interface": {"enum": list(INTERFACES)},
    "url": {"type": "string", "minLength": 1, "maxLength": 2048, "pattern": r"^\S+$"},
    "region_id": _region_id,
    "region": _region_id,
    "enabled": _flag,
}
_region = {"id": {"type": "string", "maxLength": 255}, "description": common.text_or_null}
_region["parent_region_id"] = _region_id

CREATE_SERVICE = common.body("service", _service, "type")
UPDATE_SERVICE = common.body("service", _service)
CREATE_ENDPOINT = common.body("endpoint", _endpoint, "service_id", "interface", "url")
UPDATE_ENDPOINT = common.body("endpoint", _endpoint)
REGION_BODY = common.body("region", _region)

_COLUMNS = {
    "services": ("type", "enabled"),
    "endpoints": ("service_id", "interface", "region_id", "url", "enabled"),
    "regions": ("description", "parent_region_id"),
}
_MODELS: dict[str, Any] = {"services": Service, "endpoints": Endpoint, "regions": Region}

# --- views ---


def _our_services(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": service.id,
            "name": service.name,
            "type": service.type,
            "description": service.description,
            "enabled": True,
            "links": common.self_link(call, "services", service.id),
        }
        for service in catalog.ours()
    ]


def _our_endpoints(call: Call) -> list[dict[str, Any]]:
    return [
        {
            "id": service.endpoint_id(interface),
            "interface": interface,
            "region_id": REGION,
            "region": REGION,
            "service_id": service.id,
            "url": catalog.url(call, service).replace("{project_id}", "%(project_id)s"),
            "enabled": True,
            "links": common.self_link(call, "endpoints", service.endpoint_id(interface)),
        }
        for service in catalog.ours()
        for interface in INTERFACES
    ]


def _our_regions(call: Call) -> list[dict[str, Any]]:
    links = common.self_link(call, "regions", REGION)
    return [{"id": REGION, "description": "", "parent_region_id": None, "links": links}]


_OURS: dict[str, Callable[[Call], list[dict[str, Any]]]] = {
    "services": _our_services,
    "endpoints": _our_endpoints,
    "regions": _our_regions,
}


def _view(call: Call, nouns: str, row: Row) -> dict[str, Any]:
    shown = {**row["extra"], **{name: value for name, value in row.items() if name != "extra"}}
    if "enabled" in row:
        shown["enabled"] = bool(row["enabled"])
    if nouns == "endpoints":
        shown["region"] = row["region_id"]
    return {**shown, "links": common.self_link(call, nouns, row["id"])}


# --- what others name ---


def require_services(conn: Connection, keys: set[str]) -> None:
    """Raise BadRequest unless there are all these services."""
    missing = keys - {service.id for service in catalog.ours()}
    if missing:
        missing -= {row["id"] for row in accounts.listed(conn, Service, [Service.id.in_(missing)])}
    if missing:
        raise errors.BadRequest(f"Could not find service: {min(missing)}.")


def require_regions(conn: Connection, keys: set[str]) -> None:
    """Raise BadRequest unless there are all these regions; they stay until this transaction ends."""
    missing = keys - {REGION}
    if missing:
        missing -= queries.keep_regions(conn, missing)
    if missing:
        raise errors.BadRequest(f"Could not find region: {min(missing)}.")


# --- handlers: what the three have in common ---


def _list(call: Call, nouns: str, *names: str) -> dict[str, Any]:
    with call.services.db.read() as conn:
        rows = accounts.listed(conn, _MODELS[nouns], [])
    wanted = common.filters(call, *names)
    shown = _OURS[nouns](call) + [_view(call, nouns, row) for row in rows]
    found = [item for item in shown if all(item.get(name) == value for name, value in wanted.items())]
    return common.collection(call, nouns, found)


def _show(call: Call, nouns: str) -> dict[str, Any]:
    key = call.params["key"]
    for item in _OURS[nouns](call):
        if item["id"] == key:
            return {nouns[:-1]: item}
    with call.services.db.read() as conn:
        return {nouns[:-1]: _view(call, nouns, accounts.get(conn, _MODELS[nouns], key))}


def _foreign(call: Call, nouns: str) -> str:
    """The id that the URL names. Raises Forbidden where that is ours."""
    key = call.params["key"]
    if any(item["id"] == key for item in _OURS[nouns](call)):
        raise errors.Forbidden(f"The {nouns[:-1]} {key} is what this cloud itself serves; it can't be changed.")
    return key


def _change(
    call: Call, nouns: str, given: Mapping[str, Any], check: Callable[[Connection, Row, Row], None]
) -> dict[str, Any]:
    """PATCH: `check` is given the row as it is and the new values, and raises where they are not to be."""
    key, model = _foreign(call, nouns), _MODELS[nouns]
    with call.services.db.write() as conn:
        row = accounts.lock(conn, model, key)
        values = common.merged({"name": key, **row}, given, _COLUMNS[nouns])
        check(conn, row, values)
        return {nouns[:-1]: _view(call, nouns, accounts.change(conn, model, key, values))}


# --- handlers: services ---


def list_services(call: Call) -> dict[str, Any]:
    """GET /v3/services, by name and type."""
    return _list(call, "services", "name", "type")


def show_service(call: Call) -> dict[str, Any]:
    """GET /v3/services/{id}."""
    return _show(call, "services")


def create_service(call: Call) -> dict[str, Any]:
    """POST /v3/services (201)."""
    given = call.body["service"]
    _check_type(given["type"])
    values, extra = common.split(given, _COLUMNS["services"])
    with call.services.db.write() as conn:
        row = accounts.create(conn, Service, {"enabled": 1, **values, "extra": extra})
    return {"service": _view(call, "services", row)}


def update_service(call: Call) -> dict[str, Any]:
    """PATCH /v3/services/{id}."""
    return _change(
        call, "services", call.body["service"], lambda _conn, row, values: _check_type(str({**row, **values}["type"]))
    )


def delete_service(call: Call) -> None:
    """DELETE /v3/services/{id}: with its endpoints."""
    key = _foreign(call, "services")
    with call.services.db.write() as conn:
        queries.delete_service(conn, key)


def _check_type(kind: str) -> None:
    for service in catalog.ours():
        if service.type == kind:
            raise errors.Conflict(
                f"This cloud serves {kind} itself. Endpoints in other regions can be added to its service {service.id}."
            )


# --- handlers: endpoints ---


def list_endpoints(call: Call) -> dict[str, Any]:
    """GET /v3/endpoints, by interface, service_id, region_id."""
    return _list(call, "endpoints", "interface", "service_id", "region_id", "region")


def show_endpoint(call: Call) -> dict[str, Any]:
    """GET /v3/endpoints/{id}."""
    return _show(call, "endpoints")


def create_endpoint(call: Call) -> dict[str, Any]:
    """POST /v3/endpoints (201). A `region` that there is not is made, a `region_id` must exist."""
    given = _placed(call.body["endpoint"])
    values, extra = common.split(given, _COLUMNS["endpoints"])
    with call.services.db.write() as conn:
        _make_region(conn, call.body["endpoint"])
        _check_endpoint(conn, {"region_id": None}, values)
        row = accounts.create(conn, Endpoint, {"enabled": 1, "region_id": None, **values, "extra": extra})
    return {"endpoint": _view(call, "endpoints", row)}


def update_endpoint(call: Call) -> dict[str, Any]:
    """PATCH /v3/endpoints/{id}."""
    given = call.body["endpoint"]

    def check(conn: Connection, row: Row, values: Row) -> None:
        _make_region(conn, given)
        _check_endpoint(conn, row, values)

    return _change(call, "endpoints", _placed(given), check)


def delete_endpoint(call: Call) -> None:
    """DELETE /v3/endpoints/{id}."""
    key = _foreign(call, "endpoints")
    with call.services.db.write() as conn:
        queries.delete_endpoint(conn, key)


def _placed(given: Mapping[str, Any]) -> Row:
    """The endpoint with `region_id` in place of `region`, as clients of v3.0 called it."""
    values = {name: value for name, value in given.items() if name != "region"}
    if given.get("region") is not None and values.get("region_id") is None:
        values["region_id"] = given["region"]
    return values


def _make_region(conn: Connection, given: Mapping[str, Any]) -> None:
    name = given.get("region")
    if name and given.get("region_id") is None and name != REGION and not queries.keep_regions(conn, {name}):
        accounts.insert_once(conn, Region, id=name)


def _check_endpoint(conn: Connection, row: Row, values: Row) -> None:
    """Raise BadRequest for a service, region or URL that can't be; Conflict for a second endpoint of ours here."""
    if "url" in values:
        catalog.check_url(values["url"])
    after = {**row, **values}
    own = any(service.id == after["service_id"] for service in catalog.ours())
    if "service_id" in values and not own:
        require_services(conn, {values["service_id"]})
        accounts.lock(conn, Service, values["service_id"])
    if after["region_id"] is not None:
        require_regions(conn, {after["region_id"]})
    if own and after["region_id"] in (None, REGION):
        raise errors.Conflict(f"This cloud itself serves that in {REGION}; an endpoint in another region can be added.")


# --- handlers: regions ---


def list_regions(call: Call) -> dict[str, Any]:
    """GET /v3/regions, by parent_region_id."""
    return _list(call, "regions", "parent_region_id")


def show_region(call: Call) -> dict[str, Any]:
    """GET /v3/regions/{id}."""
    return _show(call, "regions")


def create_region(call: Call) -> dict[str, Any]:
    """POST /v3/regions (201); `id` may be chosen."""
    return _create_region(call, call.body["region"].get("id") or accounts.new_id())


def create_region_with_id(call: Call) -> dict[str, Any]:
    """PUT /v3/regions/{id} (201)."""
    key, given = call.params["key"], call.body["region"]
    if len(key) > 255:
        raise errors.BadRequest("A region's id has 255 characters at most.")
    if given.get("id") not in (None, key):
        raise errors.BadRequest("The region's id in the body and in the URL differ.")
    return _create_region(call, key)


def update_region(call: Call) -> dict[str, Any]:
    """PATCH /v3/regions/{id}."""
    given = dict(call.body["region"])
    if "description" in given:
        given["description"] = given["description"] or ""

    def check(conn: Connection, row: Row, values: Row) -> None:
        _check_parent(conn, row["id"], values.get("parent_region_id"))

    return _change(call, "regions", given, check)


def delete_region(call: Call) -> None:
    """DELETE /v3/regions/{id}: with the regions in it. Forbidden while there are endpoints."""
    key = _foreign(call, "regions")
    with call.services.db.write() as conn:
        queries.delete_region(conn, key)


def _create_region(call: Call, key: str) -> dict[str, Any]:
    values, extra = common.split(call.body["region"], _COLUMNS["regions"])
    values["description"] = values.get("description") or ""
    with call.services.db.write() as conn:
        if key == REGION or queries.keep_regions(conn, {key}):
            raise errors.Conflict(f"There is a region {key} already.")
        _check_parent(conn, key, values.get("parent_region_id"))
        row = accounts.create(conn, Region, {"parent_region_id": None, **values, "id": key, "extra": extra})
    return {"region": _view(call, "regions", row)}


def _check_parent(conn: Connection, key: str, parent: str | None) -> None:
    """Raise NotFound for a parent that there is not, BadRequest for one that is part of the region itself."""
    if parent is None or parent == REGION:
        return
    if not queries.keep_regions(conn, {parent}) and parent != key:
        raise accounts.missing(Region, parent)
    if parent == key or key in accounts.ancestors(queries.parents(conn), parent):
        raise errors.BadRequest(f"Region {key} can't be part of {parent}, which is part of it.")
