# SPDX-License-Identifier: Apache-2.0
"""os-console-auth-tokens: where the console is that a token opens, for proxies that are not ours.

Up to 2.30 Nova tells it of RDP consoles alone (nova/api/openstack/compute/console_auth_tokens.py), and there is no
hypervisor here that has those: our own proxy asks the database.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.db.queries import console_tokens
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

# --- RULES ---

TOKENS = "os_compute_api:os-console-auth-tokens"

RULES = [
    rule(TOKENS, ADMIN, "See where the console is that a token opens.", ("GET", "/os-console-auth-tokens/{token}")),
]

# --- HANDLERS ---


def show(call: Call) -> dict[str, Any]:
    """NotFound for a token that opens nothing; Unauthorized for any console but RDP's."""
    with call.services.db.read() as conn:
        grant = console_tokens.find(conn, call.params["token"])
    if grant is None:
        raise errors.NotFound("Token not found")
    if grant.console_type != "rdp-html5":
        raise errors.Unauthorized("The requested console type details are not accessible")
    # No port: consoles are reached through the hypervisor of the host.
    where = {"host": grant.host, "port": None, "internal_access_path": None}
    return {"console": {"instance_uuid": grant.server_uuid, **where}}
