# SPDX-License-Identifier: Apache-2.0
"""Statements on cells: named sets of hosts. The local cell has no row; its hosts are those of no other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from computeapi import clock, errors
from computeapi.db.models import Cell, Flavor, Host
from computeapi.settings import Settings


class CellRow(NamedTuple):
    """A cell that is not the local one."""

    id: int
    name: str
    is_parent: int
    username: str | None
    rpc_host: str | None
    rpc_port: int | None


_ALL = select(Cell.id, Cell.name, Cell.is_parent, Cell.username, Cell.rpc_host, Cell.rpc_port).order_by(Cell.id)


def page(conn: Connection, limit: int, offset: int) -> Sequence[CellRow]:
    """The cells, oldest first."""
    return [CellRow._make(row) for row in conn.execute(_ALL.limit(limit).offset(offset))]


def find(conn: Connection, name: str) -> CellRow:
    """The cell with that name. Raises NotFound (CellNotFound)."""
    row = conn.execute(_ALL.where(Cell.name == name)).first()
    if row is None:
        raise errors.NotFound(f"Cell {name} doesn't exist.")
    return CellRow._make(row)


def create(conn: Connection, settings: Settings, values: Mapping[str, Any]) -> None:
    """A new cell. Ask after `Database.lock(conn, "cells")`. Raises Conflict (CellExists)."""
    _check_name(conn, settings, values["name"])
    conn.execute(insert(Cell).values(**values))


def _check_name(conn: Connection, settings: Settings, name: str, but: int = 0) -> None:
    taken = conn.execute(select(Cell.id).where(Cell.name == name, Cell.id != but)).first()
    if taken is not None or name == settings.cell_name:
        raise errors.Conflict(f"Cell with name {name} already exists.")


def change(conn: Connection, settings: Settings, cell: CellRow, values: Mapping[str, Any]) -> None:
    """Change a cell; its hosts go with its name. Ask after `Database.lock(conn, "cells")`. Raises Conflict."""
    if "name" in values:
        _check_name(conn, settings, values["name"], cell.id)
        conn.execute(update(Host).where(Host.cell == cell.name).values(cell=values["name"]))
    if values:
        conn.execute(update(Cell).where(Cell.id == cell.id).values(**values))


def remove(conn: Connection, name: str) -> None:
    """Delete a cell; its hosts are the local one's then. Raises NotFound."""
    if not conn.execute(delete(Cell).where(Cell.name == name)).rowcount:
        raise errors.NotFound(f"Cell {name} doesn't exist.")
    conn.execute(update(Host).where(Host.cell == name).values(cell=None))


def hypervisor_types(conn: Connection) -> dict[str | None, list[str]]:
    """By cell (None: the local one): the kinds of hypervisors of its hosts."""
    found: dict[str | None, list[str]] = {}
    for cell, kind in conn.execute(select(Host.cell, Host.hypervisor_type).distinct().order_by(Host.hypervisor_type)):
        found.setdefault(cell, []).append(kind)
    return found


# --- capacities ---


class Free(NamedTuple):
    """What a host has left. In MiB."""

    memory_mb: int
    disk_mb: int


def free(conn: Connection, settings: Settings, cell: str | None, *, everywhere: bool = False) -> list[Free]:
    """What is left on each host of a cell (None: the local one) that is up and enabled; or of all."""
    statement = select(
        Host.memory_mb - Host.memory_mb_used,
        Host.disk_gb - Host.disk_gb_used,
    ).where(
        Host.disabled == 0,
        Host.forced_down == 0,
        Host.last_seen_at >= clock.shifted(-settings.service_down_time),
    )
    if not everywhere:
        statement = statement.where(Host.cell.is_(None) if cell is None else Host.cell == cell)
    return [Free(max(0, memory), max(0, disk) * 1024) for memory, disk in conn.execute(statement)]


def flavor_sizes(conn: Connection) -> list[Free]:
    """The sizes that flavors have, each once."""
    sizes = select(Flavor.memory_mb, Flavor.disk_gb + Flavor.ephemeral_gb).distinct()
    return [Free(memory, disk * 1024) for memory, disk in conn.execute(sizes)]
