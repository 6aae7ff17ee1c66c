# SPDX-License-Identifier: Apache-2.0
"""Small lists of the Networking API: availability zones, agents (none: there are no agents), use of addresses."""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api.network.common import only_fields
from computeapi.db.queries import network_use
from computeapi.db.queries.networks import NETWORKS, ZONE
from computeapi.endpoint import Call


def zones(_call: Call) -> dict[str, Any]:
    """GET /v2.0/availability_zones."""
    return {
        "availability_zones": [
            {"name": ZONE, "resource": resource, "state": "available"} for resource in ("network", "router")
        ]
    }


def agents(_call: Call) -> dict[str, Any]:
    """GET /v2.0/agents: the compute services do their work."""
    return {"agents": []}


def agent(call: Call) -> None:
    """GET /v2.0/agents/{id}."""
    raise errors.NotFound(f"Agent {call.params['id']} could not be found.", kind="AgentNotFound")


def providers(_call: Call) -> dict[str, Any]:
    """GET /v2.0/service-providers."""
    return {"service_providers": []}


def availabilities(call: Call) -> dict[str, Any]:
    """GET /v2.0/network-ip-availabilities."""
    names = ("network_id", "network_name", "tenant_id", "project_id")
    wanted = {name: call.query[name] for name in names if name in call.query}
    shown = [item for item in _availabilities(call, None) if all(str(item[name]) in wanted[name] for name in wanted)]
    versions = call.query.get("ip_version")
    if versions:
        for item in shown:
            item["subnet_ip_availability"] = [
                subnet for subnet in item["subnet_ip_availability"] if str(subnet["ip_version"]) in versions
            ]
            _sum(item)
        shown = [item for item in shown if item["subnet_ip_availability"]]
    return {"network_ip_availabilities": only_fields(call, shown)}


def availability(call: Call) -> dict[str, Any]:
    """GET /v2.0/network-ip-availabilities/{id}."""
    found = _availabilities(call, call.params["id"])
    if not found:
        raise NETWORKS.not_found(call.params["id"])
    return {"network_ip_availability": found[0]}


def _availabilities(call: Call, network_uuid: str | None) -> list[dict[str, Any]]:
    shown: dict[str, dict[str, Any]] = {}
    with call.services.db.read() as conn:
        for row in network_use.addresses_by_subnet(conn, network_uuid):
            item = shown.setdefault(
                row.network_id,
                {
                    "network_id": row.network_id,
                    "network_name": row.network_name,
                    "tenant_id": row.project_id or "",
                    "project_id": row.project_id or "",
                    "subnet_ip_availability": [],
                },
            )
            if row.subnet_id is not None:
                item["subnet_ip_availability"].append(
                    {
                        "subnet_id": row.subnet_id,
                        "subnet_name": row.subnet_name,
                        "cidr": row.cidr,
                        "ip_version": row.ip_version,
                        "total_ips": network_use.pool_size(row.pools_json, row.first_offset, row.last_offset),
                        "used_ips": row.used,
                    }
                )
    for item in shown.values():
        _sum(item)
    return list(shown.values())


def _sum(item: dict[str, Any]) -> None:
    for name in ("total_ips", "used_ips"):
        item[name] = sum(subnet[name] for subnet in item["subnet_ip_availability"])
