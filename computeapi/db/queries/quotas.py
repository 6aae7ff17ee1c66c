# SPDX-License-Identifier: Apache-2.0
"""How much a project or user may have, and how much it has: counted from the rows themselves, so it can't drift.

Resource names are Nova's (os-quota-sets). A limit of -1 means no limit. A limit is the user's own in that project, else
the project's, else the quota class "default"'s, else the setting's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from sqlalchemy import Connection, Delete, bindparam, delete, func, insert, literal, select, union_all

from computeapi import states
from computeapi.db.models import FloatingIp, Quota, QuotaClass, SecurityGroup, Server, ServerGroup
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
DEFAULT_CLASS = "default"
PER_PROJECT = frozenset({"fixed_ips", "floating_ips", "networks"})  # a user's limit of these is the project's

Limits = dict[str, int]

# --- limits ---

_OWN = 2  # the rank of a user's own
_RANKED = union_all(
    select(literal(0).label("rank"), QuotaClass.resource, QuotaClass.most).where(
        QuotaClass.class_name == bindparam("class_name")
    ),
    select(literal(1), Quota.resource, Quota.most).where(
        Quota.project_id == bindparam("project_id"), Quota.user_id == ""
    ),
    select(literal(_OWN), Quota.resource, Quota.most).where(
        Quota.project_id == bindparam("project_id"), Quota.user_id == bindparam("user_id"), Quota.user_id != ""
    ),
).order_by("rank")


def limits_for(conn: Connection, settings: Settings, project_id: str, user_id: str | None = None) -> Limits:
    """The limits in force for a project (for that user in it, where given): resource → most, -1 for no limit."""
    return _limits(conn, settings, DEFAULT_CLASS, project_id, user_id or "")


def said(conn: Connection, project_id: str, resource: str) -> int | None:
    """What a project's limit, or else the default class's, was set to; None where neither was."""
    found = None
    given = {"class_name": DEFAULT_CLASS, "project_id": project_id, "user_id": ""}
    for _rank, name, most in conn.execute(_RANKED, given):
        found = most if name == resource else found
    return found


def class_limits(conn: Connection, settings: Settings, class_name: str = DEFAULT_CLASS) -> Limits:
    """The limits of a quota class; what it does not limit is as the settings say."""
    return _limits(conn, settings, class_name, "", "")


def _limits(conn: Connection, settings: Settings, class_name: str, project_id: str, user_id: str) -> Limits:
    limits, own = _limits_and_own(conn, settings, class_name, project_id, user_id)
    return limits | own


def _limits_and_own(
    conn: Connection, settings: Settings, class_name: str, project_id: str, user_id: str
) -> tuple[Limits, Limits]:
    """A project's limits, and those that its user has of its own."""
    limits: Limits = {resource: getattr(settings, name) for resource, name in DEFAULTS.items()}
    own: Limits = {}
    given = {"class_name": class_name, "project_id": project_id, "user_id": user_id}
    for rank, resource, most in conn.execute(_RANKED, given):
        (own if rank == _OWN else limits)[resource] = most
    return limits, own


def set_limits(conn: Connection, project_id: str, user_id: str | None, limits: Limits) -> None:
    """Give a project, or a user in it, limits of its own. Ask after `Database.lock`."""
    own = {resource: most for resource, most in limits.items() if user_id and resource not in PER_PROJECT}
    for owner, wanted in ((user_id or "", own), ("", {key: limits[key] for key in limits if key not in own})):
        if wanted:
            conn.execute(_of(project_id, owner).where(Quota.resource.in_(list(wanted))))
            rows = [{"resource": resource, "most": most} for resource, most in wanted.items()]
            conn.execute(insert(Quota), [{"project_id": project_id, "user_id": owner, **row} for row in rows])


def remove_limits(conn: Connection, project_id: str, user_id: str | None) -> None:
    """The default limits count again: for that user, or for the project and all its users."""
    conn.execute(_of(project_id, user_id))


def _of(project_id: str, user_id: str | None) -> Delete:
    statement = delete(Quota).where(Quota.project_id == project_id)
    return statement if user_id is None else statement.where(Quota.user_id == user_id)


def set_class_limits(conn: Connection, class_name: str, limits: Limits) -> None:
    """Change limits of a quota class. Ask after `Database.lock`."""
    if limits:
        mine = delete(QuotaClass).where(QuotaClass.class_name == class_name)
        conn.execute(mine.where(QuotaClass.resource.in_(list(limits))))
        rows = [{"resource": resource, "most": most} for resource, most in limits.items()]
        conn.execute(insert(QuotaClass), [{"class_name": class_name, **row} for row in rows])


# --- what is used ---

# Servers that wait for their deferred delete no longer count, as in Nova.
_SERVERS = select(
    func.count(), func.coalesce(func.sum(Server.vcpus), 0), func.coalesce(func.sum(Server.memory_mb), 0)
).where(Server.project_id == bindparam("project_id"), Server.deleted == 0, Server.vm_state != states.SOFT_DELETED)
_USERS_SERVERS = _SERVERS.where(Server.user_id == bindparam("user_id"))
_GROUPS = select(func.count()).select_from(ServerGroup).where(ServerGroup.project_id == bindparam("project_id"))
_USERS_GROUPS = _GROUPS.where(ServerGroup.user_id == bindparam("user_id"))

_FLOATING_IPS = select(func.count()).select_from(FloatingIp).where(FloatingIp.project_id == bindparam("project_id"))
_SECURITY_GROUPS = (
    select(func.count()).select_from(SecurityGroup).where(SecurityGroup.project_id == bindparam("project_id"))
)


def used_by_servers(conn: Connection, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """As `used`, of what servers are counted by."""
    given = {"project_id": project_id} | ({"user_id": user_id} if user_id else {})
    servers, cores, ram = conn.execute(_USERS_SERVERS if user_id else _SERVERS, given).one()
    return {"instances": servers, "cores": int(cores), "ram": int(ram)}


def used(conn: Connection, project_id: str, user_id: str | None = None) -> dict[str, int]:
    """What a project (or that user in it) has of the resources that are counted by project. `ram` in MiB.

    Ask in the transaction that adds more, after `Database.lock`, or two requests may both find room for one.
    """
    given = {"project_id": project_id} | ({"user_id": user_id} if user_id else {})
    return {
        **used_by_servers(conn, project_id, user_id),
        "floating_ips": conn.execute(_FLOATING_IPS, {"project_id": project_id}).scalar() or 0,
        "security_groups": conn.execute(_SECURITY_GROUPS, {"project_id": project_id}).scalar() or 0,
        "server_groups": conn.execute(_USERS_GROUPS if user_id else _GROUPS, given).scalar() or 0,
    }


class Account(NamedTuple):
    """Limits, and what is used of them: a project's, or one user's in it."""

    limits: Limits
    used: dict[str, int]


Count = Callable[[Connection, str, "str | None"], dict[str, int]]


def accounts(conn: Connection, settings: Settings, project_id: str, user_id: str, count: Count = used) -> list[Account]:
    """The accounts that something of this user's counts on: the project's, and the user's if it has limits of its own.

    `count` says what is used. Ask after `Database.lock(conn, lock_name(project_id))`, in the transaction that adds
    something.
    """
    limits, own = _limits_and_own(conn, settings, DEFAULT_CLASS, project_id, user_id)
    found = [Account(limits, count(conn, project_id, None))]
    if own:
        found.append(Account(limits | own, count(conn, project_id, user_id)))
    return found


def lock_name(project_id: str) -> str:
    """What to lock before a project's quota is checked or changed."""
    return f"quota:{project_id}"


def only(limits: Limits, resources: Collection[str]) -> Limits:
    """The limits of these resources."""
    return {resource: limits[resource] for resource in resources}
