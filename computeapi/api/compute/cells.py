# SPDX-License-Identifier: Apache-2.0
"""os-cells (cells.py of Nova 13). A cell here is a named set of this cloud's hosts; hosts of none are the local one's.

There is one database and no message queue, so what the API takes of a queue's address is only shown again, its password
not even kept, and there is nothing to synchronize. With the setting `cells` off all is 501, as in Nova.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from computeapi import errors, validation
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import cells as queries
from computeapi.db.queries.cells import CellRow, Free
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule
from computeapi.versions import Versioned

Json = dict[str, Any]

# --- RULES ---

CELLS = "os_compute_api:os-cells"
_ONE = "/os-cells/{cell_id}"

RULES = [
    rule(CELLS, ADMIN, "See the cells.", ("GET", "/os-cells"), ("GET", _ONE)),
    rule(CELLS + ":create", ADMIN, "Create a cell.", ("POST", "/os-cells")),
    rule(CELLS + ":update", ADMIN, "Change a cell.", ("PUT", _ONE)),
    rule(CELLS + ":delete", ADMIN, "Delete a cell.", ("DELETE", _ONE)),
    rule(CELLS + ":sync_instances", ADMIN, "Tell all cells about all servers.", ("POST", "/os-cells/sync_instances")),
]

# --- SCHEMAS ---

_ADDRESS: Json = {"type": "string", "maxLength": 255, "pattern": r"^[a-zA-Z0-9-_.:]*$(?!\n)"}


def _cell(name: Json, *required: str) -> Json:
    fields = {
        "name": {**name, "pattern": "^[^!.@]*$"},
        "type": {"type": "string", "enum": ["parent", "child"]},
        "username": {"type": "string", "maxLength": 255, "pattern": r"^[a-zA-Z0-9-_]*$(?!\n)"},
        "password": {"type": "string", "maxLength": 255},
        "rpc_host": _ADDRESS,
        "rpc_port": {**p.tcp_udp_port, "minLength": 1, "maxLength": 5},
        "rpc_virtual_host": _ADDRESS,
    }
    return p.wrapped("cell", p.obj(fields, *required))


CREATE, CREATE_V2 = _cell(p.name, "name"), Versioned(validation.relaxed(_cell(p.loose_name, "name")))
UPDATE, UPDATE_V2 = _cell(p.name), Versioned(validation.relaxed(_cell(p.loose_name)))
SYNC = p.obj(
    {
        "project_id": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[a-zA-Z0-9-]*$(?!\n)"},
        "deleted": p.boolean,
        "updated_since": {"type": "string", "format": "date-time"},
    }
)
LIST_QUERY = p.query({"limit": p.Q_INTEGER, "offset": p.Q_INTEGER}, multi=("limit", "offset"))

# --- VIEW ---


def _view(cell: CellRow) -> Json:
    return {
        "name": cell.name,
        "type": "parent" if cell.is_parent else "child",
        "username": cell.username,
        "rpc_host": cell.rpc_host,
        "rpc_port": cell.rpc_port,
    }


def _capabilities(kinds: list[str]) -> Json:
    return {"hypervisor": kinds, "os": ["linux", "windows"]}


def _room(hosts: list[int], sizes: set[int]) -> Json:
    """What is left on hosts, and how many of each size fit there. A size of 0 is not counted, as in Nova."""
    units = {str(size): sum(left // size for left in hosts) if size else 0 for size in sorted(sizes)}
    return {"total_mb": sum(hosts), "units_by_mb": units}


# --- HANDLERS ---


def where_on(handler: Callable[[Call], Any]) -> Callable[[Call], Any]:
    """The handler, or NotImplementedHere where cells are turned off."""

    def checked(call: Call) -> Any:
        if not call.services.settings.cells:
            raise errors.NotImplementedHere("Cells is not enabled.")
        return handler(call)

    return checked


def index(call: Call) -> Json:
    """GET /os-cells."""
    return {"cells": [_view(cell) for cell in _page(call)]}


def detail(call: Call) -> Json:
    """GET /os-cells/detail: with the kinds of hypervisors of each cell's hosts."""
    with call.services.db.read() as conn:
        kinds = queries.hypervisor_types(conn)
    return {"cells": [_view(cell) | {"capabilities": _capabilities(kinds.get(cell.name, []))} for cell in _page(call)]}


def _page(call: Call) -> list[CellRow]:
    offset = links.last(call, "offset") or "0"
    if len(offset) > 18:
        raise errors.BadRequest("offset is too large")
    with call.services.db.read() as conn:
        return list(queries.page(conn, links.page_size(call), int(offset)))


def info(call: Call) -> Json:
    """GET /os-cells/info: the local cell."""
    with call.services.db.read() as conn:
        kinds = queries.hypervisor_types(conn).get(None, [])
    return {
        "cell": {
            "name": call.services.settings.cell_name,
            "type": "self",
            "rpc_host": None,
            "rpc_port": 0,
            "username": None,
            "capabilities": {key: ";".join(values) for key, values in _capabilities(kinds).items()},
        }
    }


def show(call: Call) -> Json:
    """GET /os-cells/{name}."""
    with call.services.db.read() as conn:
        return {"cell": _view(queries.find(conn, call.params["cell_id"]))}


def capacities(call: Call) -> Json:
    """GET /os-cells/capacities: of all hosts; GET /os-cells/{name}/capacities: of that cell's."""
    settings, name = call.services.settings, call.params.get("cell_id")
    with call.services.db.snapshot() as conn:
        if name is not None and name != settings.cell_name:
            queries.find(conn, name)
        cell = None if name == settings.cell_name else name
        hosts = queries.free(conn, settings, cell, everywhere=name is None)
        sizes = queries.flavor_sizes(conn)
    return {"cell": {"capacities": _capacities(hosts, sizes)}}


def _capacities(hosts: list[Free], sizes: list[Free]) -> Json:
    return {
        "ram_free": _room([host.memory_mb for host in hosts], {size.memory_mb for size in sizes}),
        "disk_free": _room([host.disk_mb for host in hosts], {size.disk_mb for size in sizes}),
    }


def _columns(body: Json) -> Json:
    """The columns of a body; its password is dropped."""
    names = ("username", "rpc_host", "rpc_virtual_host")
    values: Json = {name: body[name] for name in names if name in body}
    if "name" in body:
        values["name"] = body["name"].strip()
    if "type" in body:
        values["is_parent"] = int(body["type"] == "parent")
    if "rpc_port" in body:
        values["rpc_port"] = int(body["rpc_port"])
    return values


def create(call: Call) -> Json:
    """POST /os-cells."""
    db, values = call.services.db, _columns(call.body["cell"])
    with db.write() as conn:
        db.lock(conn, "cells")
        queries.create(conn, call.services.settings, values)
        return {"cell": _view(queries.find(conn, values["name"]))}


def update(call: Call) -> Json:
    """PUT /os-cells/{name}."""
    db, values, name = call.services.db, _columns(call.body["cell"]), call.params["cell_id"]
    with db.write() as conn:
        db.lock(conn, "cells")
        queries.change(conn, call.services.settings, queries.find(conn, name), values)
        return {"cell": _view(queries.find(conn, values.get("name", name)))}


def remove(call: Call) -> None:
    """DELETE /os-cells/{name}."""
    with call.services.db.write() as conn:
        queries.remove(conn, call.params["cell_id"])


def sync_instances(_call: Call) -> None:
    """POST /os-cells/sync_instances: all cells read the same database, so that all know all servers already."""
