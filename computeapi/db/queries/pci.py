# SPDX-License-Identifier: Apache-2.0
"""PCI devices that guests may have: each host's list, in its row (Host.pci_json).

An entry: address "0000:04:10.0", vendor_id, product_id (four hexadecimal digits), dev_type ("type-PCI", "type-PF",
"type-VF"), label, numa_node, extra_info, status ("available", "allocated" …) and server_uuid. All but the first three
may be missing. A device's id is made of the host's key and the place in its list.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
from sqlalchemy import Connection, select

from computeapi import errors
from computeapi.db.models import Host

Json = dict[str, Any]

_PER_HOST = 100_000  # ids a host


def every(conn: Connection) -> list[Json]:
    """All devices of all hosts, by id."""
    rows = conn.execute(select(Host.id, Host.pci_json).where(Host.pci_json != "[]").order_by(Host.id))
    return [device for key, stored in rows for device in _devices(key, stored)]


def find(conn: Connection, identifier: str) -> Json:
    """The device with that id. Raises NotFound (PciDeviceNotFoundById), also for what is no number."""
    if identifier.isascii() and identifier.isdigit() and len(identifier) <= 18:
        key, place = divmod(int(identifier), _PER_HOST)
        stored = conn.execute(select(Host.pci_json).where(Host.id == key)).scalar()
        devices = _devices(key, stored or "[]")
        if 1 <= place <= len(devices):
            return devices[place - 1]
    raise errors.NotFound(f"PCI device {identifier} not found")


def _devices(key: int, stored: str) -> list[Json]:
    return [_device(key, place, entry) for place, entry in enumerate(orjson.loads(stored), 1)]


def _device(key: int, place: int, entry: Json) -> Json:
    address, vendor, product = entry["address"], entry["vendor_id"], entry["product_id"]
    return {
        "id": key * _PER_HOST + place,
        "compute_node_id": key,
        "address": address,
        "vendor_id": vendor,
        "product_id": product,
        "status": entry.get("status", "available"),
        "dev_type": entry.get("dev_type", "type-PCI"),
        "dev_id": entry.get("dev_id", "pci_" + address.replace(":", "_").replace(".", "_")),
        "label": entry.get("label", f"label_{vendor}_{product}"),
        "extra_info": entry.get("extra_info", {}),
        "server_uuid": entry.get("server_uuid"),
    }


def pools(stored: str) -> list[Json]:
    """How many of a host's devices are free, by vendor, product and NUMA node."""
    free = Counter(
        (entry["vendor_id"], entry["product_id"], entry.get("numa_node"))
        for entry in orjson.loads(stored)
        if entry.get("status", "available") == "available"
    )
    return [
        {"vendor_id": vendor, "product_id": product, "numa_node": node, "count": count}
        for (vendor, product, node), count in free.items()
    ]
