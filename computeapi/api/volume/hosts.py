# SPDX-License-Identifier: Apache-2.0
"""os-hosts of the Block Storage API: the hosts of its services, and what each keeps (cinder/api/contrib/hosts.py).

No host is changed here: what is kept where is the compute hosts' business.
"""

from __future__ import annotations

from computeapi import errors
from computeapi.api.volume import services
from computeapi.api.volume.common import Json
from computeapi.db.queries import volume_lists as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

# --- RULES ---

MANAGE = "volume_extension:hosts"

RULES = [rule(MANAGE, ADMIN, "See the hosts.", ("GET", "/v3/os-hosts"), ("GET", "/v3/os-hosts/{host}"))]

# --- VIEW ---

_TOTAL = "(total)"


def _view(service: Json) -> Json:
    return {
        "host_name": service["host"],
        "service": service["binary"],
        "zone": service["zone"],
        "service-status": "available" if service["state"] == "up" else "unavailable",
        "service-state": service["status"],
        "last-update": service["updated_at"],
    }


def _resource(host: str, project: str, counts: queries.Kept) -> Json:
    return {"resource": {"host": host, "project": project, **{name: str(n) for name, n in counts._asdict().items()}}}


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /v3/os-hosts: of the services that are not disabled."""
    return {"hosts": [_view(each) for each in services.every(call) if each["status"] == "enabled"]}


def show(call: Call) -> Json:
    """GET /v3/os-hosts/{host}: how much it keeps, in all and of each project."""
    host = call.params["host"]
    keepers = (each for each in services.every(call) if each["binary"] == services.KEEPER)
    if host not in (each["host"] for each in keepers if each["status"] == "enabled"):
        raise errors.NotFound(f"Host {host} could not be found.")
    with call.services.db.snapshot() as conn:
        kept = queries.kept_on(conn, host.partition("@")[0])
    total = queries.Kept(*(sum(column) for column in zip(*kept.values(), strict=True))) if kept else queries.Kept()
    return {"host": [_resource(host, _TOTAL, total), *(_resource(host, *each) for each in kept.items())]}
