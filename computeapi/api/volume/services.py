# SPDX-License-Identifier: Apache-2.0
"""Services, availability zones and pools of the Block Storage API, seen from the compute hosts, which keep the volumes.

Behaviour: cinder/api/v3/services.py, contrib/availability_zones.py, scheduler_stats.py, capabilities.py,
v3/resource_filters.py.
"""

from __future__ import annotations

from collections.abc import Iterator

from computeapi import clock, errors
from computeapi.api.volume.common import Json
from computeapi.db.queries import services as queries
from computeapi.db.queries.services import ServiceRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule
from computeapi.versions import Version

# --- RULES ---

RULES = [
    rule("volume_extension:services:index", ADMIN, "List the services.", ("GET", "/v3/os-services")),
    rule(
        "scheduler_extension:scheduler_stats:get_pools", ADMIN, "List pools.", ("GET", "/v3/scheduler-stats/get_pools")
    ),
    rule("volume_extension:capabilities", ADMIN, "See what a pool can do.", ("GET", "/v3/capabilities/{host}")),
]

# --- VIEW ---

BACKEND, POOL = "local", "default"
SCHEDULER, KEEPER = "cinder-scheduler", "cinder-volume"
_CLUSTERS, _BACKEND_STATE = Version(3, 7), Version(3, 49)


def host_name(host: str | None) -> str | None:
    """A host as Cinder names it: host@backend#pool."""
    return f"{host}@{BACKEND}#{POOL}" if host else None


def _view(call: Call, binary: str, host: str, row: ServiceRow) -> Json:
    shown: Json = {
        "binary": binary,
        "host": host,
        "zone": row.zone,
        "status": "disabled" if row.disabled else "enabled",
        "state": "up" if row.up else "down",
        "updated_at": row.updated_at,
        "disabled_reason": row.disabled_reason,
    }
    if call.version >= _CLUSTERS:
        shown["cluster"] = None
    if binary == KEEPER:
        shown |= {"replication_status": "disabled", "active_backend_id": None, "frozen": False}
        if call.version >= _BACKEND_STATE:
            shown["backend_state"] = shown["state"]
    return shown


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /v3/os-services: the scheduler, which is the API itself, and each compute host as one that keeps volumes."""
    host, binary = call.first("host"), call.first("binary")
    shown = [
        each
        for each in every(call)
        if (host is None or each["host"] in (host, f"{host}@{BACKEND}")) and binary in (None, each["binary"])
    ]
    return {"services": shown}


def every(call: Call) -> Iterator[Json]:
    """The services, as they are shown."""
    for row in _rows(call):
        if row.binary == "nova-scheduler":
            yield _view(call, SCHEDULER, row.host, row._replace(zone=call.services.settings.default_availability_zone))
        elif row.binary == queries.COMPUTE:
            yield _view(call, KEEPER, f"{row.host}@{BACKEND}", row)


def _rows(call: Call) -> list[ServiceRow]:
    with call.services.db.read() as conn:
        return queries.every(conn, call.services.settings)


def zones(call: Call) -> Json:
    """GET /v3/os-availability-zone."""
    found = {call.services.settings.default_availability_zone: False}
    for row in _rows(call):
        if row.binary == queries.COMPUTE:
            found[row.zone] = found.get(row.zone, False) or (row.up and not row.disabled)
    return {
        "availabilityZoneInfo": [
            {"zoneName": name, "zoneState": {"available": available}} for name, available in sorted(found.items())
        ]
    }


def pools(call: Call) -> Json:
    """GET /v3/scheduler-stats/get_pools; with `detail`, how much room there is."""
    detail = (call.first("detail") or "").lower() in ("1", "true")
    wanted = call.first("name")
    shown = []
    for row in _keepers(call):
        name = f"{row.host}@{BACKEND}#{POOL}"
        if wanted in (None, name):
            shown.append({"name": name, "capabilities": _capabilities()} if detail else {"name": name})
    return {"pools": shown}


def _keepers(call: Call) -> list[ServiceRow]:
    return [row for row in _rows(call) if row.binary == queries.COMPUTE and row.up]


def _capabilities() -> Json:
    return {
        "volume_backend_name": BACKEND,
        "storage_protocol": "file",
        "vendor_name": "computeapi",
        "driver_version": "1",
        "total_capacity_gb": "unknown",
        "free_capacity_gb": "unknown",
        "reserved_percentage": 0,
        "QoS_support": False,
        "multiattach": False,
        "timestamp": clock.now(),
        "updated": None,
    }


def capabilities(call: Call) -> Json:
    """GET /v3/capabilities/{host}."""
    host = call.params["host"]
    if not any(host in (row.host, f"{row.host}@{BACKEND}", f"{row.host}@{BACKEND}#{POOL}") for row in _keepers(call)):
        raise errors.NotFound(f"Capabilities for host {host} could not be found.")
    return {
        "namespace": f"OS::Storage::Capabilities::{host}",
        "vendor_name": "computeapi",
        "volume_backend_name": BACKEND,
        "pool_name": POOL,
        "driver_version": "1",
        "storage_protocol": "file",
        "display_name": None,
        "description": "Files in libvirt's storage pools.",
        "visibility": None,
        "replication_targets": [],
        "properties": {},
    }


FILTERS = {
    "volume": ("name", "status", "metadata", "bootable", "migration_status", "availability_zone", "group_id", "size",
               "created_at", "updated_at", "consumes_quota"),
    "snapshot": ("name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"),
    "attachment": ("volume_id", "status", "instance_id", "attach_status"),
    "volume_type": ("is_public", "extra_specs"),
    "pool": ("name", "volume_type"),
}  # fmt: skip


def resource_filters(call: Call) -> Json:
    """GET /v3/resource_filters (from 3.33 on): what lists are filtered by."""
    wanted = call.first("resource")
    return {
        "resource_filters": [
            {"resource": resource, "filters": list(filters)}
            for resource, filters in FILTERS.items()
            if wanted in (None, resource)
        ]
    }
