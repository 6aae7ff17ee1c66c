# SPDX-License-Identifier: Apache-2.0
"""What a project may have and has (nova/api/openstack/compute/limits.py). There are no rate limits: `rate` is empty."""

from __future__ import annotations

from typing import Any

from computeapi.api import parameters
from computeapi.api.compute import links
from computeapi.db.queries import quotas
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, ANYONE, rule

# --- RULES ---

LIMITS = "os_compute_api:limits"
OTHER_PROJECT = "os_compute_api:limits:other_project"

RULES = [
    rule(LIMITS, ANYONE, "See the limits of one's own project.", ("GET", "/limits")),
    rule(OTHER_PROJECT, ADMIN, "See the limits of a project named by tenant_id.", ("GET", "/limits")),
]

# --- SCHEMAS ---

# `reserved` is what openstackclient sends. Nothing is ever reserved here: what is used is counted from the rows.
QUERY = parameters.query({"tenant_id": parameters.Q_ANY, "reserved": parameters.Q_ANY}, multi=("tenant_id", "reserved"))

# --- VIEW ---

# shown name → resource
MOST: dict[str, str] = {
    "maxTotalInstances": "instances",
    "maxTotalCores": "cores",
    "maxTotalRAMSize": "ram",
    "maxTotalKeypairs": "key_pairs",
    "maxServerMeta": "metadata_items",
    "maxImageMeta": "metadata_items",
    "maxPersonality": "injected_files",
    "maxPersonalitySize": "injected_file_content_bytes",
    "maxTotalFloatingIps": "floating_ips",
    "maxSecurityGroups": "security_groups",
    "maxSecurityGroupRules": "security_group_rules",
    "maxServerGroups": "server_groups",
    "maxServerGroupMembers": "server_group_members",
}
USED: dict[str, str] = {
    "totalInstancesUsed": "instances",
    "totalCoresUsed": "cores",
    "totalRAMUsed": "ram",
    "totalFloatingIpsUsed": "floating_ips",
    "totalSecurityGroupsUsed": "security_groups",
    "totalServerGroupsUsed": "server_groups",
}

# --- HANDLERS ---


def show(call: Call) -> dict[str, Any]:
    """GET /limits: of the caller's project, or of the one that an administrator names by `tenant_id`."""
    project_id = links.last(call, "tenant_id")
    if project_id is None:
        project_id = call.project_id
    else:
        call.check(OTHER_PROJECT)
    with call.services.db.read() as conn:
        limits = quotas.limits_for(conn, call.services.settings, project_id)
        used = quotas.used(conn, project_id)
    absolute = {shown: limits[resource] for shown, resource in MOST.items()}
    absolute |= {shown: used[resource] for shown, resource in USED.items()}
    return {"limits": {"rate": [], "absolute": absolute}}
