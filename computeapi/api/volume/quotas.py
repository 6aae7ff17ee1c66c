# SPDX-License-Identifier: Apache-2.0
"""Quota sets, quota classes and limits (cinder/api/contrib/quotas.py, quota_classes.py, v3/limits.py).

There are neither backups nor groups here; clients want to see limits of them all the same.
"""

from __future__ import annotations

import re

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume import common
from computeapi.api.volume.common import MAX_INTEGER, Json
from computeapi.db.queries import quotas as locks
from computeapi.db.queries import volume_quotas as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule
from computeapi.versions import Version

READER = "rule:context_is_admin or role:reader"

# --- RULES ---

SHOW = "volume_extension:quotas:show"
USED = "limits_extension:used_limits"

RULES = [
    rule(SHOW, READER, "See a project's quotas.", ("GET", "/v3/os-quota-sets/{project_id}")),
    rule("volume_extension:quotas:update", ADMIN, "Change them.", ("PUT", "/v3/os-quota-sets/{project_id}")),
    rule("volume_extension:quotas:delete", ADMIN, "Reset them.", ("DELETE", "/v3/os-quota-sets/{project_id}")),
    rule(
        "volume_extension:quota_classes:get",
        ADMIN,
        "See a quota class.",
        ("GET", "/v3/os-quota-class-sets/{class_name}"),
    ),
    rule("volume_extension:quota_classes:update", ADMIN, "Change it.", ("PUT", "/v3/os-quota-class-sets/{class_name}")),
    rule(USED, READER, "See limits with what is used of them.", ("GET", "/v3/limits")),
]

# --- SCHEMAS ---

_NO_LIMITS = ("tenant_id", "project_id", "skip_validation", "force")  # are let pass, and count for nothing
_OTHERS = "|".join(_NO_LIMITS)
_LIMIT: Json = {"type": ["integer", "string"], "pattern": "^-?[0-9]+$", "minimum": -1, "maximum": MAX_INTEGER}
_LIMITS: Json = {
    "type": "object",
    "patternProperties": {
        rf"^(?!({_OTHERS})$)[a-zA-Z0-9-_:. ]{{1,300}}$(?!\n)": _LIMIT,
        rf"^({_OTHERS})$(?!\n)": {},
    },
    "additionalProperties": False,
}
UPDATE = p.wrapped("quota_set", _LIMITS)
UPDATE_CLASS = p.wrapped("quota_class_set", _LIMITS)

# --- HANDLERS ---


def _project(call: Call) -> str:
    """The project in the URL; others' are an administrator's business. Raises Forbidden."""
    project_id = call.params["project_id"]
    if project_id != call.project_id and not common.is_admin(call):
        raise errors.Forbidden(f"Policy doesn't allow {SHOW} to be performed.")
    if len(project_id) > 64:
        raise errors.BadRequest("quota_set_name has more than 64 characters.")
    return project_id


def show(call: Call) -> Json:
    """GET /v3/os-quota-sets/{project_id}; with `usage`, what is used of each."""
    project_id = _project(call)
    usage = common.boolean(call, "usage")
    with call.services.db.snapshot() as conn:
        most = _known(queries.limits(conn, call.services.settings, project_id), queries.resources(conn))
        used = queries.used(conn, project_id) if usage else {}
    if usage:
        return _set(
            project_id,
            {name: {"limit": most[name], "in_use": used.get(name, 0), "reserved": 0} for name in most},
        )
    return _set(project_id, dict(most))


def _set(project_id: str, values: Json) -> Json:
    return {"quota_set": {**values, "id": project_id}}


def _known(limits: queries.Limits, names: list[str]) -> queries.Limits:
    """The limits of all resources there are; a volume type has none of its own unless it is set."""
    return {name: limits.get(name, -1) for name in names}


def defaults(call: Call) -> Json:
    """GET /v3/os-quota-sets/{project_id}/defaults."""
    project_id = _project(call)
    with call.services.db.snapshot() as conn:
        most = _known(queries.defaults(conn, call.services.settings), queries.resources(conn))
    return _set(project_id, dict(most))


def update(call: Call) -> Json:
    """PUT /v3/os-quota-sets/{project_id}. Raises BadRequest for less than there is."""
    project_id = _project(call)
    db, settings = call.services.db, call.services.settings
    with db.write() as conn:
        db.lock(conn, locks.lock_name(project_id))
        names = queries.resources(conn)
        wanted = _wanted(call.body["quota_set"], names, "quota set")
        used = queries.used(conn, project_id)
        for name, most in wanted.items():
            if name != "per_volume_gigabytes" and 0 <= most < used.get(name, 0):
                raise errors.BadRequest(
                    f"Quota {name} limit must be equal or greater than existing resources. Current usage is "
                    f"{used.get(name, 0)} and the requested limit is {most}."
                )
        queries.put(conn, wanted, project_id=project_id)
        return {"quota_set": _known(queries.limits(conn, settings, project_id), names)}


def _wanted(body: Json, names: list[str], what: str) -> queries.Limits:
    given = {name: value for name, value in body.items() if name not in _NO_LIMITS}
    unknown = [name for name in given if name not in names]
    if unknown:
        raise common.invalid(f"Bad key(s) in {what}: {', '.join(unknown)}")
    return {name: int(value) for name, value in given.items()}


def delete(call: Call) -> None:
    """DELETE /v3/os-quota-sets/{project_id}: the defaults again."""
    project_id = _project(call)
    with call.services.db.write() as conn:
        queries.reset(conn, project_id)


def show_class(call: Call) -> Json:
    """GET /v3/os-quota-class-sets/{class_name}."""
    name = _class(call)
    with call.services.db.snapshot() as conn:
        most = _known(queries.defaults(conn, call.services.settings, name), queries.resources(conn))
    return {"quota_class_set": {**most, "id": name}}


def _class(call: Call) -> str:
    name = call.params["class_name"]
    if not re.fullmatch(r"[^\x00]{1,64}", name):
        raise errors.BadRequest("quota_class_name has more than 64 characters.")
    return name


def update_class(call: Call) -> Json:
    """PUT /v3/os-quota-class-sets/{class_name}."""
    name, db = _class(call), call.services.db
    with db.write() as conn:
        db.lock(conn, f"volume quota class {name}")
        names = queries.resources(conn)
        queries.put(conn, _wanted(call.body["quota_class_set"], names, "quota class set"), class_name=name)
        return {"quota_class_set": _known(queries.defaults(conn, call.services.settings, name), names)}


# --- limits ---

_MOST = {
    "maxTotalVolumes": "volumes",
    "maxTotalVolumeGigabytes": "gigabytes",
    "maxTotalSnapshots": "snapshots",
    "maxTotalBackups": "backups",
    "maxTotalBackupGigabytes": "backup_gigabytes",
}
_USED = {
    "totalVolumesUsed": "volumes",
    "totalGigabytesUsed": "gigabytes",
    "totalSnapshotsUsed": "snapshots",
    "totalBackupsUsed": "backups",
    "totalBackupGigabytesUsed": "backup_gigabytes",
}
_OTHERS_LIMITS = Version(3, 39)


def limits(call: Call) -> Json:
    """GET /v3/limits; from 3.39 on administrators see other projects' by `project_id`."""
    project_id = call.project_id
    if call.version >= _OTHERS_LIMITS and common.is_admin(call):
        project_id = call.first("project_id") or call.first("tenant_id") or project_id
    with call.services.db.snapshot() as conn:
        most = queries.limits(conn, call.services.settings, project_id)
        used = queries.used(conn, project_id)
    absolute = {shown: most[name] for shown, name in _MOST.items()}
    if call.allows(USED):
        absolute |= {shown: used[name] for shown, name in _USED.items()}
    return {"limits": {"rate": [], "absolute": absolute}}
