# SPDX-License-Identifier: Apache-2.0
"""GET /servers, GET /servers/detail; show, update and delete of one server (nova/api/openstack/compute/servers.py)."""

from __future__ import annotations

from typing import Any

from computeapi import clock, errors, lifecycle
from computeapi.api.compute import links
from computeapi.api.compute.servers import filters, rules, schemas, view
from computeapi.db.queries import servers
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call


def index(call: Call) -> dict[str, Any]:
    """GET /servers: ids, names and links."""
    return _list(call, view.BRIEF, "servers", rules.INDEX_ALL)


def detail(call: Call) -> dict[str, Any]:
    """GET /servers/detail."""
    return _list(call, view.FULL, "servers/detail", rules.DETAIL_ALL)


def _list(call: Call, kind: str, path: str, all_projects_rule: str) -> dict[str, Any]:
    wanted = filters.read(call, all_projects_rule)
    if wanted is None or wanted.limit == 0:
        return {"servers": []}
    shape = view.shape(call, kind)
    with call.services.db.read() as conn:
        rows = servers.page(conn, shape.columns, wanted)
    answer: dict[str, Any] = {"servers": shape.show(rows, view.look(call))}
    if rows:
        more = links.next_page(call, path, len(rows), answer["servers"][-1]["id"])
        if more:
            answer["servers_links"] = more
    return answer


def show(call: Call) -> dict[str, Any]:
    """GET /servers/{server_id}."""
    return view.one(call, call.target)


def update(call: Call) -> dict[str, Any]:
    """PUT /servers/{server_id}: name, access addresses, disk config."""
    server: ServerRow = call.target
    wanted = call.body["server"]
    values: dict[str, Any] = {**schemas.access_columns(wanted)}
    if "OS-DCF:diskConfig" in wanted:
        values["disk_config"] = wanted["OS-DCF:diskConfig"]
    if "name" in wanted:
        values["name"] = wanted["name"].strip()
    with call.services.db.write() as conn:
        servers.change(conn, server.id, {**values, "updated_at": clock.now()})
        changed = servers.get(conn, server.uuid, server.project_id)
        if changed is None:  # deleted meanwhile
            raise errors.NotFound(f"Instance {server.uuid} could not be found.")
    return view.one(call, changed, view.CHANGED)


def delete(call: Call) -> None:
    """DELETE /servers/{server_id}: at once, or deferred by the setting (lifecycle decides)."""
    with call.services.db.write() as conn:
        lifecycle.begin(conn, call.services, call.context, call.target, "delete")
