# SPDX-License-Identifier: Apache-2.0
"""os-services (nova/api/openstack/compute/services.py): list, enable, disable, force down, delete.

Listed at `os-services` and, as documented, at `os-services/detail`. Deleted by id, or as documented by a body that
names host and binary. Only compute services can be changed.
"""

from __future__ import annotations

import re
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import services as queries
from computeapi.db.queries.services import ServiceRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule
from computeapi.versions import Versioned

Json = dict[str, Any]

# --- RULES ---

SERVICES = "os_compute_api:os-services:"

RULES = [
    rule(SERVICES + "list", ADMIN, "List the services.", ("GET", "/os-services")),
    rule(SERVICES + "update", ADMIN, "Enable, disable or force down a service.", ("PUT", "/os-services/{action}")),
    rule(SERVICES + "delete", ADMIN, "Delete a compute service.", ("DELETE", "/os-services/{service_id}")),
]

# --- SCHEMAS ---

LIST_QUERY = p.query({"host": p.Q_ANY, "binary": p.Q_ANY}, multi=("host", "binary"))

_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": 255}
_NAMED = {"host": p.hostname, "binary": _TEXT}
_CHANGED = {**_NAMED, "disabled_reason": _TEXT}
CHANGE = Versioned(
    p.obj(_CHANGED, "host", "binary"),
    {"2.11": p.obj({**_CHANGED, "forced_down": p.boolean}, "host", "binary")},
)
DELETE = p.obj(_NAMED, "host", "binary")

# --- VIEW ---


def _view(service: ServiceRow) -> Json:
    return {
        "id": service.id,
        "binary": service.binary,
        "host": service.host,
        "zone": service.zone,
        "status": "disabled" if service.disabled else "enabled",
        "state": "up" if service.up else "down",
        "updated_at": service.updated_at,
        "disabled_reason": service.disabled_reason,
    }


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-services, with filters `host` and `binary`."""
    return {"services": [_view(service) for service in _found(call)]}


def _found(call: Call) -> list[ServiceRow]:
    with call.services.db.read() as conn:
        return queries.every(
            conn,
            call.services.settings,
            host=links.last(call, "host") or None,
            binary=links.last(call, "binary") or None,
        )


def enable(call: Call) -> Json:
    """PUT /os-services/enable: the scheduler may use the host."""
    _change(call, disabled=0, disabled_reason=None)
    return {"service": _named(call) | {"status": "enabled"}}


def disable(call: Call) -> Json:
    """PUT /os-services/disable: the scheduler leaves the host alone; servers on it stay."""
    _change(call, disabled=1, disabled_reason=None)
    return {"service": _named(call) | {"status": "disabled"}}


def disable_log_reason(call: Call) -> Json:
    """PUT /os-services/disable-log-reason: the same, saying why."""
    reason = call.body.get("disabled_reason")
    if reason is None:
        raise errors.BadRequest("Missing disabled reason field")
    _change(call, disabled=1, disabled_reason=reason)
    return {"service": _named(call) | {"status": "disabled", "disabled_reason": reason}}


def unknown_action(_call: Call) -> None:
    """PUT /os-services/{anything else}."""
    raise errors.NotFound("Unknown action")


def force_down(call: Call) -> Json:
    """PUT /os-services/force-down (from 2.11 on): the service counts as down whatever its heartbeats say."""
    if "forced_down" not in call.body:
        raise errors.BadRequest("Missing forced_down field")
    forced = p.truth(call.body["forced_down"])
    _change(call, forced_down=int(forced))
    return {"service": _named(call) | {"forced_down": forced}}


def _named(call: Call) -> Json:
    return {"host": call.body["host"], "binary": call.body["binary"]}


def _change(call: Call, **columns: Any) -> None:
    binary = call.body["binary"]
    if binary != queries.COMPUTE:
        raise errors.BadRequest(
            f"Updating a {binary} service is not supported. Only nova-compute services can be updated."
        )
    with call.services.db.write() as conn:
        queries.change(conn, call.body["host"], **columns)


def remove(call: Call) -> None:
    """DELETE /os-services/{service_id}."""
    text = call.params["service_id"]
    if not re.fullmatch(r"-?[0-9]{1,30}", text):
        raise errors.BadRequest("Invalid input received: id must be an integer")
    with call.services.db.write() as conn:
        queries.forget(conn, queries.host_of_service(conn, int(text)))


def remove_named(call: Call) -> None:
    """DELETE /os-services with a body, as the reference documents it."""
    host, binary = call.body["host"], call.body["binary"]
    with call.services.db.write() as conn:
        if binary != queries.COMPUTE:
            raise errors.NotFound(f"Could not find binary {binary} on host {host}.")
        queries.forget(conn, host)
