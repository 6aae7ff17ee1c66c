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
from sqlalchemy import Connection, delete, select

from computeapi import errors
from computeapi.db.models import Allocation, Host, PciClaim, Server
from computeapi.db.queries.common import insert_rows

Json = dict[str, Any]

_PER_HOST = 100_000  # ids a host


Users = dict[tuple[str, str], str]  # host and address -> the server that has the device


def users(conn: Connection, host: str | None = None) -> Users:
    """Who has which device, of that host or of all."""
    statement = select(PciClaim.host, PciClaim.address, Server.uuid).join(Server, Server.id == PciClaim.server_id)
    rows = conn.execute(statement if host is None else statement.where(PciClaim.host == host))
    return {(row[0], row[1]): row[2] for row in rows}


def every(conn: Connection) -> list[Json]:
    """All devices of all hosts, by id."""
    rows = conn.execute(select(Host.id, Host.name, Host.pci_json).where(Host.pci_json != "[]").order_by(Host.id)).all()
    taken = users(conn)
    return [device for key, name, stored in rows for device in _devices(key, name, stored, taken)]


def find(conn: Connection, identifier: str) -> Json:
    """The device with that id. Raises NotFound (PciDeviceNotFoundById), also for what is no number."""
    if identifier.isascii() and identifier.isdigit() and len(identifier) <= 18:
        key, place = divmod(int(identifier), _PER_HOST)
        row = conn.execute(select(Host.name, Host.pci_json).where(Host.id == key)).first()
        devices = _devices(key, row[0], row[1], users(conn, row[0])) if row else []
        if 1 <= place <= len(devices):
            return devices[place - 1]
    raise errors.NotFound(f"PCI device {identifier} not found")


def _devices(key: int, host: str, stored: str, taken: Users) -> list[Json]:
    return [_device(key, place, _with_user(entry, host, taken)) for place, entry in enumerate(orjson.loads(stored), 1)]


def _with_user(entry: Json, host: str, taken: Users) -> Json:
    user = taken.get((host, entry["address"]))
    return {**entry, "status": "allocated", "server_uuid": user} if user else entry


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


def pools(host: str, stored: str, taken: Users) -> list[Json]:
    """How many of a host's devices are free, by vendor, product and NUMA node."""
    free = Counter(
        (entry["vendor_id"], entry["product_id"], entry.get("numa_node"))
        for entry in orjson.loads(stored)
        if _is_free(entry) and (host, entry["address"]) not in taken
    )
    return [
        {"vendor_id": vendor, "product_id": product, "numa_node": node, "count": count}
        for (vendor, product, node), count in free.items()
    ]


# --- given to servers ---


def open_to(conn: Connection, server_key: int) -> dict[str, list[Json]]:
    """Each host's devices that a server may have: those it has there, then the free ones."""
    hosts = conn.execute(select(Host.name, Host.pci_json).where(Host.pci_json != "[]")).all()
    owners = {(row[0], row[1]): row[2] for row in conn.execute(_CLAIMS)}
    return {name: _open(name, stored, owners, server_key) for name, stored in hosts}


def open_on(conn: Connection, host: str, server_key: int) -> list[Json]:
    """The same of one host, whose row is locked: nobody takes one meanwhile."""
    stored = conn.execute(select(Host.pci_json).where(Host.name == host).with_for_update()).scalar()
    owners = {(row[0], row[1]): row[2] for row in conn.execute(_CLAIMS.where(PciClaim.host == host))}
    return _open(host, stored or "[]", owners, server_key)


_CLAIMS = select(PciClaim.host, PciClaim.address, PciClaim.server_id)


def _open(host: str, stored: str, owners: dict[tuple[str, str], int], server_key: int) -> list[Json]:
    devices = orjson.loads(stored)
    mine = [device for device in devices if owners.get((host, device["address"])) == server_key]
    return mine + [device for device in devices if _is_free(device) and (host, device["address"]) not in owners]


def _is_free(entry: Json) -> bool:
    return bool(entry.get("status", "available") == "available")


def of_server(conn: Connection, server_key: int, host: str) -> list[Json]:
    """The devices that a server has on a host."""
    stored = conn.execute(select(Host.pci_json).where(Host.name == host)).scalar()
    rows = conn.execute(select(PciClaim.address).where(PciClaim.server_id == server_key, PciClaim.host == host))
    mine = set(rows.scalars())
    return [device for device in orjson.loads(stored or "[]") if device["address"] in mine]


def claim(conn: Connection, server_key: int, host: str, addresses: list[str]) -> None:
    """These devices of a host are the server's; it may have them already."""
    chosen = (PciClaim.server_id == server_key) & (PciClaim.host == host)
    known = set(conn.execute(select(PciClaim.address).where(chosen)).scalars())
    rows = [{"server_id": server_key, "host": host, "address": each} for each in addresses if each not in known]
    if rows:
        insert_rows(conn, PciClaim, rows)


def let_go(conn: Connection, server_key: int) -> None:
    """A server has no devices of hosts of which it takes nothing any more."""
    used = select(Allocation.host).where(Allocation.server_id == server_key)
    conn.execute(delete(PciClaim).where(PciClaim.server_id == server_key, PciClaim.host.not_in(used)))
