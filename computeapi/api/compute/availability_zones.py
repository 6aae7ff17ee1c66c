# SPDX-License-Identifier: Apache-2.0
"""os-availability-zone (nova/api/openstack/compute/availability_zone.py): the zones, and for administrators who is in
them. A zone with no enabled service is not available.
"""

from __future__ import annotations

from typing import Any

from computeapi.db.queries import services
from computeapi.db.queries.services import ServiceRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, ANYONE, rule

Json = dict[str, Any]

# --- RULES ---

ZONES = "os_compute_api:os-availability-zone:"

RULES = [
    rule(ZONES + "list", ANYONE, "List the availability zones.", ("GET", "/os-availability-zone")),
    rule(ZONES + "detail", ADMIN, "List them with their hosts.", ("GET", "/os-availability-zone/detail")),
]

# --- VIEW ---


def _view(zone: str, available: bool, hosts: Json | None = None) -> Json:
    return {"zoneName": zone, "zoneState": {"available": available}, "hosts": hosts}


def _hosts(members: list[ServiceRow]) -> Json:
    hosts: Json = {}
    for service in members:
        hosts.setdefault(service.host, {})[service.binary] = {
            "available": service.up,
            "active": True,
            "updated_at": service.updated_at,
        }
    return hosts


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-availability-zone: without the zone of the API's own services."""
    available, others = _zones(call)
    shown = [_view(zone, True) for zone in available if zone != services.INTERNAL_ZONE]
    return {"availabilityZoneInfo": shown + [_view(zone, False) for zone in others]}


def detail(call: Call) -> Json:
    """GET /os-availability-zone/detail: with the enabled services of each zone, by host."""
    available, others = _zones(call)
    shown = [_view(zone, True, _hosts(members)) for zone, members in available.items()]
    return {"availabilityZoneInfo": shown + [_view(zone, False) for zone in others]}


def _zones(call: Call) -> tuple[dict[str, list[ServiceRow]], list[str]]:
    """The available zones with their enabled services, and the others; both by name."""
    with call.services.db.read() as conn:
        found = services.every(conn, call.services.settings)
    available: dict[str, list[ServiceRow]] = {zone: [] for zone in sorted(s.zone for s in found if not s.disabled)}
    for service in found:
        if not service.disabled:
            available[service.zone].append(service)
    return available, sorted({service.zone for service in found} - set(available))
