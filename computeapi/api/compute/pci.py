# SPDX-License-Identifier: Apache-2.0
"""os-pci: the PCI devices of the hosts (pci.py of Nova 13), those that `[pci] device_spec` offers."""

from __future__ import annotations

from typing import Any

from computeapi.db.queries import pci as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

Json = dict[str, Any]

# --- RULES ---

PCI = "os_compute_api:os-pci:"

RULES = [
    rule(PCI + "index", ADMIN, "List the PCI devices.", ("GET", "/os-pci")),
    rule(PCI + "detail", ADMIN, "List the PCI devices with details.", ("GET", "/os-pci/detail")),
    rule(PCI + "show", ADMIN, "See a PCI device.", ("GET", "/os-pci/{pci_id}")),
]

# --- VIEW ---

_BRIEF = ("id", "address", "vendor_id", "product_id", "status", "compute_node_id")

# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-pci."""
    return {"pci_devices": [{name: device[name] for name in _BRIEF} for device in _every(call)]}


def detail(call: Call) -> Json:
    """GET /os-pci/detail."""
    return {"pci_devices": _every(call)}


def _every(call: Call) -> list[Json]:
    with call.services.db.read() as conn:
        return queries.every(conn)


def show(call: Call) -> Json:
    """GET /os-pci/{pci_id}."""
    with call.services.db.read() as conn:
        return {"pci_device": queries.find(conn, call.params["pci_id"])}
