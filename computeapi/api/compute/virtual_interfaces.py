# SPDX-License-Identifier: Apache-2.0
"""os-virtual-interfaces: a server's interfaces in nova-network's words. Up to 2.43."""

from __future__ import annotations

from typing import Any

from computeapi.db.queries import addresses
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_READER, rule

LAST = "2.43"
RULE = "os_compute_api:os-virtual-interfaces"
RULES = [
    rule(RULE, PROJECT_READER, "List a server's virtual interfaces.", ("GET", "/servers/{id}/os-virtual-interfaces"))
]


def index(call: Call) -> dict[str, Any]:
    """GET /servers/{server_id}/os-virtual-interfaces."""
    with call.services.db.read() as conn:
        nics = addresses.nics(conn, call.target.id)
    network = "OS-EXT-VIF-NET:net_id" if call.legacy else "net_id"
    return {
        "virtual_interfaces": [{"id": nic.port_id, "mac_address": nic.mac, network: nic.network_uuid} for nic in nics]
    }
