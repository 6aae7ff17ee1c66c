# SPDX-License-Identifier: Apache-2.0
"""Limits of the Block Storage API: a project's own, else the quota class "default"'s, else the settings'.

Counted from the rows themselves. A resource may be of one volume type: volumes_<type>, gigabytes_<type>,
snapshots_<type>; those have no limit unless one is set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, delete, func, insert, select

from computeapi import errors
from computeapi.db.models import Volume, VolumeQuota, VolumeSnapshot, VolumeType
from computeapi.settings import Settings

# resource → the setting with its default, or Cinder's default where there is no setting
DEFAULTS: dict[str, str | int] = {
    "volumes": "quota_volumes",
    "snapshots": "quota_snapshots",
    "gigabytes": "quota_gigabytes",
    "per_volume_gigabytes": -1,
    "backups": 10,
    "backup_gigabytes": 1000,
    "groups": 10,
}
BY_TYPE = ("volumes", "gigabytes", "snapshots")
DEFAULT_CLASS = "default"

Limits = dict[str, int]


def names(types: Iterable[str]) -> list[str]:
    """Every resource there is where there are volume types of these names."""
    return [*DEFAULTS, *(f"{resource}_{name}" for name in types for resource in BY_TYPE)]


def resources(conn: Connection) -> list[str]:
    """Every resource there is now."""
    return names(conn.execute(select(VolumeType.name).order_by(VolumeType.id)).scalars())


def defaults(conn: Connection, settings: Settings, class_name: str = DEFAULT_CLASS) -> Limits:
    """The limits of a quota class: of projects that have none of their own."""
    return _limits(conn, settings, "", class_name)


def limits(conn: Connection, settings: Settings, project_id: str) -> Limits:
    """The limits in force for a project: resource → most, -1 for no limit."""
    return _limits(conn, settings, project_id, DEFAULT_CLASS)


def _limits(conn: Connection, settings: Settings, project_id: str, class_name: str) -> Limits:
    found = {
        resource: getattr(settings, value) if isinstance(value, str) else value for resource, value in DEFAULTS.items()
    }
    mine = select(VolumeQuota.resource, VolumeQuota.most).order_by(VolumeQuota.project_id)  # "" of a class is first
    mine = mine.where(
        (VolumeQuota.project_id == project_id) & (VolumeQuota.class_name == "")
        | (VolumeQuota.project_id == "") & (VolumeQuota.class_name == class_name)
    )
    found |= {row[0]: row[1] for row in conn.execute(mine)}
    return found


def put(conn: Connection, wanted: Mapping[str, int], *, project_id: str = "", class_name: str = "") -> None:
    """Set limits of a project, or of a quota class. Ask after `Database.lock`."""
    mine = (VolumeQuota.project_id == project_id) & (VolumeQuota.class_name == class_name)
    if wanted:
        conn.execute(delete(VolumeQuota).where(mine, VolumeQuota.resource.in_(list(wanted))))
        conn.execute(
            insert(VolumeQuota),
            [
                {"project_id": project_id, "class_name": class_name, "resource": resource, "most": most}
                for resource, most in wanted.items()
            ],
        )


def reset(conn: Connection, project_id: str) -> None:
    """The defaults count for the project again."""
    conn.execute(delete(VolumeQuota).where(VolumeQuota.project_id == project_id, VolumeQuota.class_name == ""))


# --- what is used ---

_VOLUMES = (
    select(VolumeType.name, func.count(), func.coalesce(func.sum(Volume.size_gb), 0))
    .select_from(Volume.__table__.outerjoin(VolumeType.__table__, VolumeType.uuid == Volume.type_id))
    .group_by(VolumeType.name)
)
_SNAPSHOTS = (
    select(VolumeType.name, func.count(), func.coalesce(func.sum(VolumeSnapshot.size_gb), 0))
    .select_from(
        VolumeSnapshot.__table__.outerjoin(Volume.__table__, Volume.uuid == VolumeSnapshot.volume_id).outerjoin(
            VolumeType.__table__, VolumeType.uuid == Volume.type_id
        )
    )
    .group_by(VolumeType.name)
)


def used(conn: Connection, project_id: str) -> dict[str, int]:
    """What a project has of each resource (0 where the name is missing). Snapshots' GiB count too, as in Cinder."""
    found = dict.fromkeys(DEFAULTS, 0)
    for resource, statement in (
        ("volumes", _VOLUMES.where(Volume.project_id == project_id)),
        ("snapshots", _SNAPSHOTS.where(VolumeSnapshot.project_id == project_id)),
    ):
        for name, number, size in conn.execute(statement):
            for suffix in ("", f"_{name}") if name else ("",):
                found[resource + suffix] = found.get(resource + suffix, 0) + number
                found["gigabytes" + suffix] = found.get("gigabytes" + suffix, 0) + int(size)
    return found


def check(
    conn: Connection,
    settings: Settings,
    project_id: str,
    type_name: str | None = None,
    *,
    volumes: int = 0,
    snapshots: int = 0,
    gigabytes: int = 0,
) -> None:
    """Raise QuotaExceeded, in Cinder's words, unless a project may have that much more.

    Ask after `Database.lock(conn, quotas.lock_name(project_id))`.
    """
    most, have = limits(conn, settings, project_id), used(conn, project_id)
    wanted = {"volumes": volumes, "snapshots": snapshots, "gigabytes": gigabytes}
    if type_name is not None:
        wanted |= {f"{resource}_{type_name}": wanted[resource] for resource in BY_TYPE}
    over = [name for name, more in wanted.items() if more and 0 <= most.get(name, -1) < have.get(name, 0) + more]
    for name in sorted(over, key=lambda each: not each.startswith("gigabytes")):
        if name.startswith("gigabytes"):
            raise errors.QuotaExceeded(
                f"Requested volume or snapshot exceeds allowed {name} quota. Requested {gigabytes}G, quota is "
                f"{most[name]}G and {have.get(name, 0)}G has been consumed."
            )
        if name.startswith("snapshots"):
            raise errors.QuotaExceeded(f"Maximum number of snapshots allowed ({most[name]}) exceeded")
        raise errors.QuotaExceeded(f"Maximum number of volumes allowed ({most[name]}) exceeded for quota '{name}'.")


def check_size(conn: Connection, settings: Settings, project_id: str, size_gb: int) -> None:
    """Raise QuotaExceeded for a volume that is larger than any may be."""
    most = limits(conn, settings, project_id)["per_volume_gigabytes"]
    if 0 <= most < size_gb:
        raise errors.QuotaExceeded(f"Requested volume size {size_gb}G is larger than maximum allowed limit {most}G.")
