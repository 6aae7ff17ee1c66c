# SPDX-License-Identifier: Apache-2.0
"""os-simple-tenant-usage (nova/api/openstack/compute/simple_tenant_usage.py): what projects' servers came to in a
period, in hours times vCPUs, MiB and GiB. Exact for servers made, resized or deleted within it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from computeapi import clock, errors
from computeapi.api import parameters as p
from computeapi.db.queries import usage as queries
from computeapi.db.queries.usage import Usage
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_READER, rule

Json = dict[str, Any]

# --- RULES ---

USAGE = "os_compute_api:os-simple-tenant-usage:"

RULES = [
    rule(USAGE + "list", ADMIN, "See the usage of all projects.", ("GET", "/os-simple-tenant-usage")),
    rule(USAGE + "show", PROJECT_READER, "See a project's usage.", ("GET", "/os-simple-tenant-usage/{project_id}")),
]

# --- SCHEMAS ---

_QUERY = {"start": p.Q_ANY, "end": p.Q_ANY, "detailed": p.Q_ANY}
QUERY = p.query(_QUERY, multi=tuple(_QUERY))
_FORMATS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")

# --- VIEW ---


def _view(usage: Usage) -> Json:
    return {
        "instance_id": usage.uuid,
        "name": usage.name,
        "tenant_id": usage.project_id,
        "flavor": usage.flavor,
        "hours": usage.hours,
        "vcpus": usage.size.vcpus,
        "memory_mb": usage.size.memory_mb,
        "local_gb": usage.size.disk_gb,
        "started_at": usage.launched_at,
        "ended_at": usage.terminated_at,
        "state": "terminated" if usage.terminated_at else usage.vm_state,
        "uptime": queries.seconds_up(usage),
    }


def _summaries(found: Iterable[Usage], begin: str, end: str, detailed: bool) -> list[Json]:
    """One for each project, in the order of their first servers."""
    summaries: dict[str, Json] = {}
    for usage in found:
        summary = summaries.setdefault(usage.project_id, _summary(usage.project_id, begin, end, detailed))
        summary["total_hours"] += usage.hours
        for hours, size in usage.parts:
            summary["total_vcpus_usage"] += hours * size.vcpus
            summary["total_memory_mb_usage"] += hours * size.memory_mb
            summary["total_local_gb_usage"] += hours * size.disk_gb
        if detailed:
            summary["server_usages"].append(_view(usage))
    return list(summaries.values())


def _summary(project_id: str, begin: str, end: str, detailed: bool) -> Json:
    totals = ("total_hours", "total_vcpus_usage", "total_memory_mb_usage", "total_local_gb_usage")
    summary: Json = {"tenant_id": project_id, "start": begin, "stop": end, **dict.fromkeys(totals, 0.0)}
    return summary | {"server_usages": []} if detailed else summary


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-simple-tenant-usage[?start=&end=&detailed=1]: of every project that had a server."""
    begin, end = _period(call)
    detailed = call.first("detailed") == "1"
    with call.services.db.snapshot() as conn:
        return {"tenant_usages": _summaries(queries.in_period(conn, begin, end), begin, end, detailed)}


def show(call: Call) -> Json:
    """GET /os-simple-tenant-usage/{project_id}[?start=&end=]: with its servers; {} where it had none."""
    begin, end = _period(call)
    with call.services.db.snapshot() as conn:
        found = queries.in_period(conn, begin, end, call.target.project_id)
        return {"tenant_usage": next(iter(_summaries(found, begin, end, True)), {})}


def _period(call: Call) -> tuple[str, str]:
    """Start and end as stored times, neither after now. Raises BadRequest."""
    now = datetime.now(UTC).replace(tzinfo=None)
    start, end = (_moment(call.first(name)) for name in ("start", "end"))
    if (start or now) >= (end or now) and (start or end):
        raise errors.BadRequest("Invalid start time. The start time cannot occur after the end time.")
    return clock.text(start or now), clock.text(min(end or now, now))


def _moment(text: str | None) -> datetime | None:
    """A time without a zone, in one of Nova's three forms."""
    if not text:
        return None
    for form in _FORMATS:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    raise errors.BadRequest("Invalid datetime string: Datetime is in invalid format")
