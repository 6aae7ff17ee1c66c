# SPDX-License-Identifier: Apache-2.0
"""How much a project or user may have, and how much it has: counted from the rows themselves, so it can't drift.

Resource names are Nova's (os-quota-sets). A limit of -1 means no limit.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, func, select

from computeapi import states
from computeapi.db.models import Server
from computeapi.settings import Settings

# resource → the setting with its default
DEFAULTS: dict[str, str] = {
    "instances": "quota_instances",
    "cores": "quota_cores",
    "ram": "quota_ram",
    "key_pairs": "quota_key_pairs",
    "metadata_items": "quota_metadata_items",
    "injected_files": "quota_injected_files",
    "injected_file_content_bytes": "quota_injected_file_content_bytes",
    "injected_file_path_bytes": "quota_injected_file_path_length",
    "server_groups": "quota_server_groups",
    "server_group_members": "quota_server_group_members",
    "fixed_ips": "quota_fixed_ips",
    "floating_ips": "quota_floating_ips",
    "networks": "quota_networks",
    "security_groups": "quota_security_groups",
    "security_group_rules": "quota_security_group_rules",
}

# Servers that wait for their deferred delete no longer count, as in Nova.
_SERVERS = select(
    func.count(), func.coalesce(func.sum(Server.vcpus), 0), func.coalesce(func.sum(Server.memory_mb), 0)
).where(Server.project_id == bindparam("project_id"), Server.deleted == 0, Server.vm_state != states.SOFT_DELETED)


def limits_for(conn: Connection, settings: Settings, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """The limits in force for a project (for that user in it, where given): resource → most, -1 for no limit."""
    return {resource: getattr(settings, name) for resource, name in DEFAULTS.items()}


def used(conn: Connection, project_id: str) -> dict[str, int]:
    """What a project has of the resources that are counted by project. `ram` in MiB.

    Ask in the transaction that adds more, after `Database.lock`, or two requests may both find room for one.
    """
    servers, cores, ram = conn.execute(_SERVERS, {"project_id": project_id}).one()
    return {
        "instances": servers,
        "cores": int(cores),
        "ram": int(ram),
        "floating_ips": 0,
        "security_groups": 0,
        "server_groups": 0,
    }
