# SPDX-License-Identifier: Apache-2.0
"""os-aggregates (nova/api/openstack/compute/aggregates.py): sets of hosts with metadata and a zone.

The reference documents the update as GET, which is a slip: GET shows, PUT and POST update.
"""

from __future__ import annotations

import re
import uuid
from typing import Any

import orjson

from computeapi import errors, validation
from computeapi.api import parameters as p
from computeapi.db.queries import aggregates as queries
from computeapi.db.queries.aggregates import AggregateRow
from computeapi.endpoint import Call, endpoint
from computeapi.policy import ADMIN, rule
from computeapi.versions import Versioned

Json = dict[str, Any]

# --- RULES ---

AGGREGATES = "os_compute_api:os-aggregates:"
_ONE = "/os-aggregates/{aggregate_id}"

RULES = [
    rule(AGGREGATES + "index", ADMIN, "List the aggregates.", ("GET", "/os-aggregates")),
    rule(AGGREGATES + "show", ADMIN, "See an aggregate.", ("GET", _ONE)),
    rule(AGGREGATES + "create", ADMIN, "Create an aggregate.", ("POST", "/os-aggregates")),
    rule(AGGREGATES + "update", ADMIN, "Change an aggregate's name or zone.", ("PUT", _ONE)),
    rule(AGGREGATES + "delete", ADMIN, "Delete an aggregate.", ("DELETE", _ONE)),
    rule(AGGREGATES + "add_host", ADMIN, "Put a host into an aggregate.", ("POST", _ONE + "/action")),
    rule(AGGREGATES + "remove_host", ADMIN, "Take a host out of an aggregate.", ("POST", _ONE + "/action")),
    rule(AGGREGATES + "set_metadata", ADMIN, "Set an aggregate's metadata.", ("POST", _ONE + "/action")),
]

# --- SCHEMAS ---


def _zone(name: Json) -> Json:
    """A zone's name: any but with ":", which stands before a host's."""
    return {"oneOf": [{**name, "pattern": "^[^:]*$"}, {"type": "null"}]}


def _create(name: Json) -> Json:
    return p.wrapped("aggregate", p.obj({"name": name, "availability_zone": _zone(name)}, "name"))


def _update(zone: Json) -> Json:
    either = [{"required": ["name"]}, {"required": ["availability_zone"]}]
    return p.wrapped("aggregate", p.obj({"name": p.loose_name, "availability_zone": _zone(zone)}, anyOf=either))


CREATE, CREATE_V2 = _create(p.name), Versioned(validation.relaxed(_create(p.loose_name)))
UPDATE, UPDATE_V2 = _update(p.name), Versioned(validation.relaxed(_update(p.loose_name)))

_HOST = p.obj({"host": p.hostname}, "host")
_METADATA: Json = {
    "type": "object",
    "patternProperties": {"^[a-zA-Z0-9-_:. ]{1,255}$(?!\n)": {"type": ["string", "null"], "maxLength": 255}},
    "additionalProperties": False,
}

# --- VIEW ---


def _view(aggregate: AggregateRow) -> Json:
    return _brief(aggregate) | {"hosts": aggregate.hosts, "metadata": orjson.Fragment(aggregate.metadata_json)}


def _brief(aggregate: AggregateRow) -> Json:
    return {
        "id": aggregate.id,
        "name": aggregate.name,
        "availability_zone": aggregate.availability_zone,
        "created_at": aggregate.created_at,
        "updated_at": aggregate.updated_at,
        "deleted_at": None,
        "deleted": False,
    }


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-aggregates."""
    with call.services.db.snapshot() as conn:
        return {"aggregates": [_view(aggregate) for aggregate in queries.every(conn)]}


def show(call: Call) -> Json:
    """GET /os-aggregates/{id}."""
    with call.services.db.snapshot() as conn:
        return {"aggregate": _view(queries.find(conn, _id(call)))}


def _id(call: Call) -> int:
    """The id in the URL. Raises BadRequest for what is no number."""
    text = call.params["aggregate_id"]
    if not re.fullmatch(r"-?[0-9]{1,30}", text):
        raise errors.BadRequest("Invalid input received: id must be an integer")
    return int(text)


def create(call: Call) -> Json:
    """POST /os-aggregates. The answer has neither hosts nor metadata."""
    body, db = call.body["aggregate"], call.services.db
    zone = body.get("availability_zone")
    with db.write() as conn:
        db.lock(conn, queries.LOCK)
        made = queries.create(conn, str(uuid.uuid4()), body["name"].strip(), zone and zone.strip())
    return {"aggregate": _brief(made)}


def update(call: Call) -> Json:
    """PUT (and POST) /os-aggregates/{id}: name and zone, either or both."""
    body, db, key = call.body["aggregate"], call.services.db, _id(call)
    with db.write() as conn:
        db.lock(conn, queries.LOCK)
        aggregate = queries.find(conn, key)
        if "name" in body:
            queries.rename(conn, aggregate, body["name"].strip())
        if "availability_zone" in body:
            zone = body["availability_zone"]
            changes = {"availability_zone": zone and zone.strip()}
            queries.set_metadata(conn, aggregate, changes, f"Cannot update aggregate {key}.")
        return {"aggregate": _view(queries.find(conn, key))}


def remove(call: Call) -> None:
    """DELETE /os-aggregates/{id}."""
    db, key = call.services.db, _id(call)
    with db.write() as conn:
        db.lock(conn, queries.LOCK)
        queries.remove(conn, queries.find(conn, key))


def add_host(call: Call) -> Json:
    """Action add_host."""
    return _change_host(call, queries.add_host, call.body["add_host"]["host"])


def remove_host(call: Call) -> Json:
    """Action remove_host."""
    return _change_host(call, queries.remove_host, call.body["remove_host"]["host"])


def _change_host(call: Call, change: Any, host: str) -> Json:
    db, key = call.services.db, _id(call)
    with db.write() as conn:
        db.lock(conn, queries.LOCK)
        change(conn, queries.find(conn, key), host)
        return {"aggregate": _view(queries.find(conn, key))}


def set_metadata(call: Call) -> Json:
    """Action set_metadata: keys are set, those with null removed, others stay."""
    db, key = call.services.db, _id(call)
    with db.write() as conn:
        db.lock(conn, queries.LOCK)
        changes = call.body["set_metadata"]["metadata"]
        queries.set_metadata(conn, queries.find(conn, key), changes, f"Cannot update metadata of aggregate {key}.")
        return {"aggregate": _view(queries.find(conn, key))}


ACTIONS = {
    "add_host": endpoint(add_host, AGGREGATES + "add_host", body=p.wrapped("add_host", _HOST)),
    "remove_host": endpoint(remove_host, AGGREGATES + "remove_host", body=p.wrapped("remove_host", _HOST)),
    "set_metadata": endpoint(
        set_metadata,
        AGGREGATES + "set_metadata",
        body=p.wrapped("set_metadata", p.obj({"metadata": _METADATA}, "metadata")),
    ),
}
