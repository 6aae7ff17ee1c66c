# SPDX-License-Identifier: Apache-2.0
"""Limits of the Networking API: a project's own, else the default. Counted from the rows themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from computeapi import errors
from computeapi.db.engine import Database
from computeapi.db.models import (
    FixedIp,
    FloatingIp,
    Network,
    NetworkQuota,
    Port,
    Router,
    SecurityGroup,
    SecurityGroupRule,
    Subnet,
    SubnetPool,
)
from computeapi.db.queries import quotas
from computeapi.settings import Settings

# resource → the setting with its default, or Neutron's default where there is no setting
DEFAULTS: dict[str, str | int] = {
    "network": "quota_networks",
    "subnet": 100,
    "subnetpool": -1,
    "port": 500,
    "router": 10,
    "floatingip": "quota_floating_ips",
    "security_group": "quota_security_groups",
    "security_group_rule": 100,
}
# resource → whose rows are counted; add a model here when its noun is there
COUNTED: dict[str, Any] = {
    "network": Network,
    "subnet": Subnet,
    "subnetpool": SubnetPool,
    "port": Port,
    "router": Router,
    "floatingip": FloatingIp,
    "security_group": SecurityGroup,
    "security_group_rule": SecurityGroupRule,
}


# resource → what os-quota-sets calls it: a limit that was said through either API holds in both
NOVAS = {"network": "networks", "floatingip": "floating_ips", "security_group": "security_groups"}


def defaults(settings: Settings) -> dict[str, int]:
    """The limits of a project that has none of its own."""
    return {
        resource: getattr(settings, value) if isinstance(value, str) else value for resource, value in DEFAULTS.items()
    }


def limits(conn: Connection, settings: Settings, project_id: str) -> dict[str, int]:
    """The limits in force: resource → most, -1 for no limit."""
    own = conn.execute(
        select(NetworkQuota.resource, NetworkQuota.most).where(NetworkQuota.project_id == project_id)
    ).all()
    return defaults(settings) | {row[0]: row[1] for row in own}


def used(conn: Connection, project_id: str) -> dict[str, int]:
    """What a project has of each."""
    counts = [
        select(func.count()).select_from(model).where(model.project_id == project_id).scalar_subquery()
        for model in COUNTED.values()
    ]
    row = conn.execute(select(*counts)).one()
    return dict.fromkeys(DEFAULTS, 0) | dict(zip(COUNTED, row, strict=True))


def check(db: Database, conn: Connection, settings: Settings, project_id: str | None, resource: str) -> None:
    """Raise Conflict (OverQuota) unless the project may have one more. In the transaction that adds it."""
    if project_id is None:
        return
    db.lock(conn, f"network quota {project_id}")
    own = said(conn, project_id, resource)
    most = least(
        defaults(settings)[resource] if own is None else own,
        quotas.said(conn, project_id, NOVAS[resource]) if resource in NOVAS else None,
    )
    if most < 0:
        return
    model = COUNTED[resource]
    count = conn.execute(select(func.count()).select_from(model).where(model.project_id == project_id)).scalar_one()
    if count >= most:
        raise errors.Conflict(f"Quota exceeded for resources: ['{resource}'].", kind="OverQuota")


def said(conn: Connection, project_id: str, resource: str) -> int | None:
    """What a project's own limit was set to; None where it was not."""
    own = select(NetworkQuota.most).where(NetworkQuota.project_id == project_id, NetworkQuota.resource == resource)
    return conn.execute(own).scalar()


def least(*limits: int | None) -> int:
    """The limit that holds where several do: -1 is no limit, None was not said."""
    return min((limit for limit in limits if limit is not None and limit >= 0), default=-1)


def check_fixed_ips(conn: Connection, settings: Settings, project_id: str, most: int | None = None) -> None:
    """Raise QuotaExceeded where a project's ports have more addresses than it may (`most`, if the caller knows).

    After they were given.
    """
    if most is None:
        most = quotas.limits_for(conn, settings, project_id)["fixed_ips"]
    if most < 0:
        return
    count = (
        select(func.count())
        .select_from(FixedIp)
        .join(Port, Port.id == FixedIp.port_id)
        .where(Port.project_id == project_id)
    )
    if conn.execute(count).scalar_one() > most:
        raise errors.QuotaExceeded("Maximum number of fixed IPs exceeded", kind="OverQuota")


def put(conn: Connection, project_id: str, values: Mapping[str, int]) -> None:
    """Set a project's own limits."""
    known = set(
        conn.execute(select(NetworkQuota.resource).where(NetworkQuota.project_id == project_id)).scalars().all()
    )
    for resource, most in values.items():  # as many as there are resources
        if resource in known:
            conn.execute(
                update(NetworkQuota)
                .where(NetworkQuota.project_id == project_id, NetworkQuota.resource == resource)
                .values(most=most)
            )
        else:
            conn.execute(insert(NetworkQuota).values(project_id=project_id, resource=resource, most=most))


def reset(conn: Connection, project_id: str) -> None:
    """The defaults count for the project again."""
    conn.execute(delete(NetworkQuota).where(NetworkQuota.project_id == project_id))


def all_own(conn: Connection) -> dict[str, dict[str, int]]:
    """Every project's own limits."""
    found: dict[str, dict[str, int]] = {}
    rows = conn.execute(
        select(NetworkQuota.project_id, NetworkQuota.resource, NetworkQuota.most).order_by(NetworkQuota.id)
    )
    for project_id, resource, most in rows:
        found.setdefault(project_id, {})[resource] = most
    return found
