# SPDX-License-Identifier: Apache-2.0
"""os-quota-class-sets (nova/api/openstack/compute/quota_classes.py): limits of a class. The class "default" is every
project's default; any other name is kept, and used by nothing, as in Nova.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import quotas
from computeapi.db.queries import quotas as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

Json = dict[str, Any]

# --- RULES ---

CLASSES = "os_compute_api:os-quota-class-sets:"

RULES = [
    rule(CLASSES + "show", ADMIN, "See the limits of a quota class.", ("GET", "/os-quota-class-sets/{class_id}")),
    rule(CLASSES + "update", ADMIN, "Change the limits of a quota class.", ("PUT", "/os-quota-class-sets/{class_id}")),
]

# --- SCHEMAS ---

UPDATE = p.wrapped("quota_class_set", p.obj(quotas.LIMITS))

# --- VIEW ---

# Limits of server groups can be set, but are not shown before 2.50.
_SHOWN = tuple(name for name in quotas.RESOURCES if not name.startswith("server_group"))

# --- HANDLERS ---


def show(call: Call) -> Json:
    """GET /os-quota-class-sets/{class}."""
    name = call.params["class_id"]
    with call.services.db.read() as conn:
        limits = queries.class_limits(conn, call.services.settings, name)
    return {"quota_class_set": {"id": name, **queries.only(limits, _SHOWN)}}


def update(call: Call) -> Json:
    """PUT /os-quota-class-sets/{class}. The answer has no id."""
    name = call.params["class_id"]
    if len(name) > 255:
        raise errors.BadRequest("quota_class_name has more than 255 characters.")
    db = call.services.db
    with db.write() as conn:
        db.lock(conn, f"quota class:{name}")
        queries.set_class_limits(conn, name, quotas.read(call.body["quota_class_set"]))
        limits = queries.class_limits(conn, call.services.settings, name)
    return {"quota_class_set": queries.only(limits, _SHOWN)}
