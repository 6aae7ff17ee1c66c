# SPDX-License-Identifier: Apache-2.0
"""os-fping: which servers answer an echo request. Their hosts ask them; a host that does not answer has none alive.

Keys and parameters: Nova before it dropped nova-network (nova/api/openstack/compute/fping.py). Up to 2.35.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.ask import ask_host
from computeapi.db.queries import pings
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_READER, rule

LAST = "2.35"
FPING = "os_compute_api:os-fping"
ALL_TENANTS = "os_compute_api:os-fping:all_tenants"
RULES = [
    rule(FPING, PROJECT_READER, "Ping servers.", ("GET", "/os-fping"), ("GET", "/os-fping/{server_id}")),
    rule(ALL_TENANTS, ADMIN, "Ping the servers of all projects.", ("GET", "/os-fping?all_tenants=1")),
]
QUERY = p.query({"all_tenants": p.Q_ANY, "include": p.Q_ANY, "exclude": p.Q_ANY}, multi=("all_tenants",))
_HOSTS = 8  # asked at once
_MOST = 500  # ids in a query


def index(call: Call) -> dict[str, Any]:
    """GET /os-fping: with `include` those alone, else all but `exclude`."""
    project_id: str | None = call.project_id
    if "all_tenants" in call.query:
        call.check(ALL_TENANTS)
        project_id = None
    include, exclude = _ids(call, "include"), _ids(call, "exclude")
    with call.services.db.read() as conn:
        limit = call.services.settings.max_limit
        rows = pings.servers(conn, project_id, limit, include=include, exclude=None if include else exclude)
    return {"servers": _ping(call, rows)}


def _ids(call: Call, name: str) -> set[str] | None:
    text = call.first(name)
    if not text:
        return None
    ids = {each for each in text.split(",") if len(each) <= 36}
    if len(ids) > _MOST:
        raise errors.BadRequest(f"More than {_MOST} ids in {name}")
    return ids


def show(call: Call) -> dict[str, Any]:
    """GET /os-fping/{server_id}."""
    with call.services.db.read() as conn:
        rows = pings.servers(conn, None, 1, include={call.target.uuid})
    shown = _ping(call, rows)
    if not shown:  # deleted meanwhile
        raise errors.NotFound(f"Instance {call.target.uuid} could not be found.")
    return {"server": shown[0]}


def _ping(call: Call, rows: Iterable[Any]) -> list[dict[str, Any]]:
    servers: dict[str, dict[str, Any]] = {}
    by_host: dict[str, dict[str, list[str]]] = {}
    for row in rows:
        servers.setdefault(row.uuid, {"id": row.uuid, "project_id": row.project_id, "alive": False})
        if row.host and row.address:
            by_host.setdefault(row.host, {}).setdefault(row.uuid, []).append(row.address)
    for alive in answers(call, by_host):
        for server_id in alive:
            servers[server_id]["alive"] = True
    return list(servers.values())


def answers(call: Call, by_host: Mapping[str, Mapping[str, list[str]]]) -> list[set[str]]:
    """The servers that answer, a set each host; `by_host` has their addresses."""

    def ask(host: str) -> set[str]:
        addresses = [address for each in by_host[host].values() for address in each]
        try:
            alive = set(ask_host(call.services, call.context, host, "ping", {"addresses": addresses}))
        except (errors.Unavailable, errors.Conflict):
            return set()
        return {server_id for server_id, each in by_host[host].items() if alive & set(each)}

    with ThreadPoolExecutor(_HOSTS, "fping") as pool:
        return list(pool.map(ask, by_host))
