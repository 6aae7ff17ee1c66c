# SPDX-License-Identifier: Apache-2.0
"""os-hypervisors (nova/api/openstack/compute/hypervisors.py; the PCI figures: pci.py of Nova 13).

The reference documents show and uptime below the id twice (`os-hypervisors/{id}/{id}`): both ids must be the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from computeapi import clock, errors
from computeapi.db.queries import hypervisors as queries
from computeapi.db.queries import pci, services
from computeapi.db.queries.hypervisors import HypervisorRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

Json = dict[str, Any]

# --- RULES ---

HYPERVISORS = "os_compute_api:os-hypervisors:"
_ONE = "/os-hypervisors/{hypervisor_id}"

RULES = [
    rule(HYPERVISORS + "list", ADMIN, "List the hypervisors.", ("GET", "/os-hypervisors")),
    rule(HYPERVISORS + "list-detail", ADMIN, "List them with details.", ("GET", "/os-hypervisors/detail")),
    rule(HYPERVISORS + "statistics", ADMIN, "See the sums of all.", ("GET", "/os-hypervisors/statistics")),
    rule(HYPERVISORS + "show", ADMIN, "See a hypervisor.", ("GET", _ONE)),
    rule(HYPERVISORS + "uptime", ADMIN, "See how long a hypervisor is up.", ("GET", _ONE + "/uptime")),
    rule(HYPERVISORS + "search", ADMIN, "Find hypervisors by name.", ("GET", _ONE + "/search")),
    rule(HYPERVISORS + "servers", ADMIN, "See the servers on hypervisors.", ("GET", _ONE + "/servers")),
]

# --- VIEW ---


def _brief(call: Call, row: HypervisorRow) -> Json:
    up = services.is_up(call.services.settings, row.forced_down, row.last_seen_at)
    return {
        "id": row.id,
        "hypervisor_hostname": row.hypervisor_hostname,
        "state": "up" if up else "down",
        "status": "disabled" if row.disabled else "enabled",
    }


def _view(call: Call, row: HypervisorRow) -> Json:
    return _brief(call, row) | {
        "hypervisor_type": row.hypervisor_type,
        "hypervisor_version": row.hypervisor_version,
        "host_ip": row.host_ip,
        "service": {
            "id": services.service_id(row.id),
            "host": row.host,
            "disabled_reason": row.disabled_reason,
        },
        "cpu_info": row.cpu_info_json,
        "vcpus": row.vcpus,
        "memory_mb": row.memory_mb,
        "local_gb": row.disk_gb,
        "vcpus_used": row.vcpus_used,
        "memory_mb_used": row.memory_mb_used,
        "local_gb_used": row.disk_gb_used,
        "free_ram_mb": row.memory_mb - row.memory_mb_used,
        "free_disk_gb": row.disk_gb - row.disk_gb_used,
        "disk_available_least": row.disk_gb - row.disk_gb_used,
        "current_workload": row.busy,
        "running_vms": row.servers,
    }


def _pci_view(call: Call, row: HypervisorRow, taken: pci.Users) -> Json:
    return _view(call, row) | {"os-pci:pci_stats": pci.pools(row.host, row.pci_json, taken)}


def _pci_users(call: Call) -> pci.Users:
    with call.services.db.read() as conn:
        return pci.users(conn)


def _uptime(row: HypervisorRow) -> str:
    """What `uptime` says on the host; where the host has not said, for how long its compute service runs."""
    if row.uptime:
        return row.uptime
    moment = datetime.now(UTC)
    minutes = max(0, int((moment - clock.parse(row.started_at)).total_seconds()) // 60)
    return f" {moment:%H:%M:%S} up {minutes // 1440} days, {minutes // 60 % 24:2}:{minutes % 60:02}"


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-hypervisors."""
    return {"hypervisors": [_brief(call, row) for row in _every(call)]}


def detail(call: Call) -> Json:
    """GET /os-hypervisors/detail."""
    return {"hypervisors": [_view(call, row) for row in _every(call)]}


def pci_index(call: Call) -> Json:
    """GET /os-hypervisors/os-pci: with the PCI devices that are free, by kind."""
    taken = _pci_users(call)
    return {"hypervisors": [_pci_view(call, row, taken) for row in _every(call)]}


def _every(call: Call) -> list[HypervisorRow]:
    with call.services.db.read() as conn:
        return queries.every(conn)


def show(call: Call) -> Json:
    """GET /os-hypervisors/{id} and /os-hypervisors/{id}/{id}."""
    return {"hypervisor": _view(call, _one(call))}


def pci_show(call: Call) -> Json:
    """GET /os-hypervisors/{id}/os-pci."""
    return {"hypervisor": _pci_view(call, _one(call), _pci_users(call))}


def uptime(call: Call) -> Json:
    """GET /os-hypervisors/{id}[/{id}]/uptime. Raises BadRequest for a host that is down."""
    row = _one(call)
    if not services.is_up(call.services.settings, row.forced_down, row.last_seen_at):
        raise errors.BadRequest(f"Compute service of {row.host} is unavailable at this time.")
    return {"hypervisor": _brief(call, row) | {"uptime": _uptime(row)}}


def _one(call: Call) -> HypervisorRow:
    identifier = call.params["hypervisor_id"]
    if call.params.get("again", identifier) != identifier:
        raise errors.NotFound(f"Hypervisor with ID '{call.params['again']}' could not be found.")
    with call.services.db.read() as conn:
        return queries.find(conn, identifier)


def search(call: Call) -> Json:
    """GET /os-hypervisors/{part of a name}/search."""
    with call.services.db.read() as conn:
        found = queries.matching(conn, call.params["hypervisor_id"])
    return {"hypervisors": [_brief(call, row) for row in found]}


def servers(call: Call) -> Json:
    """GET /os-hypervisors/{part of a name}/servers. As in Nova a hypervisor without servers has no list of them."""
    with call.services.db.read() as conn:
        found = queries.matching(conn, call.params["hypervisor_id"])
        there = queries.servers_on(conn, [row.host for row in found])
    return {
        "hypervisors": [
            _brief(call, row) | ({"servers": there[row.host]} if row.host in there else {}) for row in found
        ]
    }


def statistics(call: Call) -> Json:
    """GET /os-hypervisors/statistics: over all that are not disabled."""
    with call.services.db.read() as conn:
        sums = queries.statistics(conn)
    free_disk = sums.disk_gb - sums.disk_gb_used
    return {
        "hypervisor_statistics": {
            "count": sums.hypervisors,
            "vcpus": sums.vcpus,
            "memory_mb": sums.memory_mb,
            "local_gb": sums.disk_gb,
            "vcpus_used": sums.vcpus_used,
            "memory_mb_used": sums.memory_mb_used,
            "local_gb_used": sums.disk_gb_used,
            "free_ram_mb": sums.memory_mb - sums.memory_mb_used,
            "free_disk_gb": free_disk,
            "disk_available_least": free_disk,
            "current_workload": sums.busy,
            "running_vms": sums.servers,
        }
    }
