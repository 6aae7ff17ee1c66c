# SPDX-License-Identifier: Apache-2.0
"""os-floating-ip-pools: external networks, by name. Up to 2.35."""

from __future__ import annotations

from typing import Any

from computeapi.db.queries import floating_pools
from computeapi.endpoint import Call
from computeapi.policy import ANYONE, rule

LAST = "2.35"
POOLS = "os_compute_api:os-floating-ip-pools"
RULES = [rule(POOLS, ANYONE, "List floating IP pools.", ("GET", "/os-floating-ip-pools"))]


def index(call: Call) -> dict[str, Any]:
    """GET /os-floating-ip-pools."""
    with call.services.db.read() as conn:
        return {"floating_ip_pools": [{"name": row.name or row.uuid} for row in floating_pools.pools(conn)]}
