# SPDX-License-Identifier: Apache-2.0
"""Quotas of the Networking API. Behaviour: neutron/extensions/quotasv2.py."""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api.network.attributes import Attribute, integer, read
from computeapi.api.network.common import MAX_INTEGER, is_admin
from computeapi.db.queries import network_quotas as queries
from computeapi.endpoint import Call

_TABLE = {resource: Attribute(integer(-1, MAX_INTEGER)) for resource in queries.DEFAULTS} | {
    "force": Attribute(bool),
    "check_limit": Attribute(bool),
}


def _project(call: Call) -> str:
    """The project in the URL; others' are an administrator's business."""
    project_id = call.params["project_id"]
    if project_id != call.context.project_id and not is_admin(call):
        raise errors.Forbidden("Only admin is authorized to access quotas for another tenant")
    if len(project_id) > 64:
        raise errors.NotFound("The project could not be found.", kind="TenantQuotaNotFound")
    return project_id


def index(call: Call) -> dict[str, Any]:
    """GET /v2.0/quotas: projects with limits of their own."""
    with call.services.db.read() as conn:
        own = queries.all_own(conn)
    default = queries.defaults(call.services.settings)
    return {
        "quotas": [
            default | values | {"project_id": project_id, "tenant_id": project_id} for project_id, values in own.items()
        ]
    }


def show(call: Call) -> dict[str, Any]:
    """GET /v2.0/quotas/{project_id}."""
    project_id = _project(call)
    with call.services.db.read() as conn:
        return {"quota": queries.limits(conn, call.services.settings, project_id)}


def default(call: Call) -> dict[str, Any]:
    """GET /v2.0/quotas/{project_id}/default."""
    _project(call)
    return {"quota": queries.defaults(call.services.settings)}


def details(call: Call) -> dict[str, Any]:
    """GET /v2.0/quotas/{project_id}/details: limits with what is used."""
    project_id = _project(call)
    with call.services.db.snapshot() as conn:
        limits = queries.limits(conn, call.services.settings, project_id)
        used = queries.used(conn, project_id)
    return {"quota": {name: {"limit": limits[name], "used": used[name], "reserved": 0} for name in limits}}


def update(call: Call) -> dict[str, Any]:
    """PUT /v2.0/quotas/{project_id}."""
    project_id = _project(call)
    values = read(call, "quota", _TABLE)
    with call.services.db.write() as conn:
        queries.put(conn, project_id, {name: most for name, most in values.items() if name in queries.DEFAULTS})
        return {"quota": queries.limits(conn, call.services.settings, project_id)}


def delete(call: Call) -> None:
    """DELETE /v2.0/quotas/{project_id}: the defaults again."""
    project_id = _project(call)
    with call.services.db.write() as conn:
        queries.reset(conn, project_id)


def whose(call: Call) -> dict[str, Any]:
    """GET /v2.0/quotas/tenant: the project that a token's quotas are of."""
    project_id = call.context.project_id
    return {"tenant": {"tenant_id": project_id, "project_id": project_id}}
