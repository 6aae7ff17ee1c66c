# SPDX-License-Identifier: Apache-2.0
"""os-migrations (nova/api/openstack/compute/migrations.py): servers' moves and resizes, of all projects."""

from __future__ import annotations

from typing import Any

from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import migration_lists as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_MANAGER, rule

Json = dict[str, Any]

# --- RULES ---

MIGRATIONS = "os_compute_api:os-migrations:"

RULES = [
    rule(MIGRATIONS + "index", PROJECT_MANAGER, "List migrations.", ("GET", "/os-migrations")),
    rule(MIGRATIONS + "index:all_projects", ADMIN, "List those of all projects.", ("GET", "/os-migrations")),
    rule(MIGRATIONS + "index:host", ADMIN, "See the hosts in the list.", ("GET", "/os-migrations")),
]

# --- SCHEMAS ---

_FILTERS = ("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
QUERY = p.query(dict.fromkeys(_FILTERS, p.Q_ANY), multi=_FILTERS)

# --- HANDLERS ---

_HOSTS = ("source_node", "source_compute", "dest_node", "dest_compute", "dest_host")


def index(call: Call) -> Json:
    """GET /os-migrations with filters; newest first. Hidden ones are never shown, whatever `hidden` says."""
    call.check(MIGRATIONS + "index:all_projects")
    given = {name: links.last(call, name) for name in _FILTERS}
    filters = {name: value for name, value in given.items() if value is not None}
    with call.services.db.read() as conn:
        found = [row._asdict() for row in queries.page(conn, filters, call.services.settings.max_limit)]
    if not call.allows(MIGRATIONS + "index:host"):
        found = [row | dict.fromkeys(_HOSTS) for row in found]
    return {"migrations": found}
