# SPDX-License-Identifier: Apache-2.0
"""os-server-password (nova/api/openstack/compute/server_password.py): the password that the guest made and sent through
the metadata service, encrypted with its owner's key.
"""

from __future__ import annotations

from typing import Any

from computeapi.db.queries import server_password as queries
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule

# --- RULES ---

PASSWORD = "os_compute_api:os-server-password:"  # noqa: S105  (the name of rules)
_PATH = "/servers/{server_id}/os-server-password"

RULES = [
    rule(PASSWORD + "show", PROJECT_READER, "See a server's encrypted password.", ("GET", _PATH)),
    rule(PASSWORD + "clear", PROJECT_MEMBER, "Forget a server's encrypted password.", ("DELETE", _PATH)),
]

# --- HANDLERS ---


def show(call: Call) -> dict[str, Any]:
    """GET /servers/{id}/os-server-password: "" where there is none."""
    with call.services.db.read() as conn:
        return {"password": queries.get(conn, call.target.id)}


def clear(call: Call) -> None:
    """DELETE /servers/{id}/os-server-password: it is forgotten here, and stays as it is in the guest."""
    with call.services.db.write() as conn:
        queries.put(conn, call.target.id, None)
