# SPDX-License-Identifier: Apache-2.0
"""Statements about servers. Every one that serves a user takes a `project_id`: None only for those who may see all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple
from typing import cast as cast_type

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    Table,
    and_,
    bindparam,
    cast,
    func,
    or_,
    select,
)
from sqlalchemy.exc import DataError
from sqlalchemy.sql.schema import ScalarElementColumnDefault

from computeapi import errors, states
from computeapi.db.models import BlockDevice, FixedIp, Host, Port, Server
from computeapi.db.models.servers import instance_name
from computeapi.db.queries import patterns
from computeapi.db.queries.common import insert_row, insert_rows, update_row


class ServerRow(NamedTuple):
    """A server's whole row; the names and meanings are those of db.models.Server."""

    id: int
    uuid: str
    project_id: str
    user_id: str
    name: str
    hostname: str
    vm_state: str
    task_state: str | None
    power_state: int
    progress: int
    host: str | None
    node: str | None
    availability_zone: str | None
    launch_index: int
    reservation_id: str
    image_id: str
    image_json: str
    kernel_id: str
    ramdisk_id: str
    flavor_id: str
    flavor_json: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    key_name: str | None
    key_data: str | None
    user_data: str | None
    config_drive: str
    disk_config: str
    access_ip_v4: str
    access_ip_v6: str
    root_device_name: str | None
    locked: int
    locked_by: str | None
    metadata_json: str
    addresses_json: str
    security_groups_json: str
    volumes_json: str
    scheduler_hints_json: str
    fault_json: str | None
    created_at: str
    updated_at: str
    launched_at: str | None
    terminated_at: str | None
    shelved_at: str | None
    shelved_image_id: str | None
    deleted_at: str | None
    deleted: int

    @property
    def instance_name(self) -> str:
        """The guest's name on its host."""
        return instance_name(self.id)


# Columns of the table, not of the class, and statements that stay the same object: SQLAlchemy is twice as quick then.
_TABLE = cast_type(Table, Server.__table__)
COLUMNS = tuple(_TABLE.c[name] for name in ServerRow._fields)
_ALL = select(*COLUMNS)
_BY_UUID = {
    (of_project, deleted): _ALL.where(
        _TABLE.c.uuid == bindparam("uuid"),
        *([_TABLE.c.project_id == bindparam("project_id")] if of_project else []),
        *([] if deleted else [_TABLE.c.deleted == 0]),
    )
    for of_project in (False, True)
    for deleted in (False, True)
}
_BY_KEY = _ALL.where(_TABLE.c.id == bindparam("key"))
_LOCK = _BY_KEY.where(_TABLE.c.deleted == 0).with_for_update()


def get(conn: Connection, uuid: str, project_id: str | None, *, deleted: bool = False) -> ServerRow | None:
    """One server, of that project (None: of any). Deleted ones only where asked for."""
    statement = _BY_UUID[project_id is not None, deleted]
    given = {"uuid": uuid} if project_id is None else {"uuid": uuid, "project_id": project_id}
    row = conn.execute(statement, given).first()
    return ServerRow._make(row) if row else None


def get_by_key(conn: Connection, key: int) -> ServerRow | None:
    """One server by its row key, deleted or not (for the compute service)."""
    row = conn.execute(_BY_KEY, {"key": key}).first()
    return ServerRow._make(row) if row else None


_AT_FIRST: dict[str, Any] = {
    column.name: column.default.arg if isinstance(column.default, ScalarElementColumnDefault) else None
    for column in COLUMNS
    if column.name != "id"
}


def insert(conn: Connection, values: Mapping[str, Any]) -> ServerRow:
    """Write a new server; its row."""
    row = _AT_FIRST | dict(values)
    row["id"] = insert_row(conn, Server, row)
    return ServerRow._make(row[name] for name in ServerRow._fields)


def add_block_devices(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the disks that servers shall have."""
    if rows:
        insert_rows(conn, BlockDevice, rows)


def host_of_node(conn: Connection, node: str) -> str | None:
    """The compute host of the hypervisor with that name."""
    return conn.execute(select(Host.name).where(Host.hypervisor_hostname == node)).scalar()


def change(conn: Connection, key: int, values: Mapping[str, Any]) -> None:
    """Set columns of a server."""
    update_row(conn, Server, key, values)


def lock_row(conn: Connection, key: int) -> ServerRow | None:
    """A server as it is now, and as it stays until this transaction ends; None once it is deleted."""
    row = conn.execute(_LOCK, {"key": key}).first()
    return ServerRow._make(row) if row else None


# --- lists ---


NEWEST_FIRST = [("created_at", True)]


@dataclass(slots=True)
class Wanted:
    """What a list asks for. Names of columns are those of ServerRow; a text of `found` is a regular expression."""

    project_id: str | None  # None: of all projects
    exact: dict[str, str] = field(default_factory=dict)
    found: dict[str, str] = field(default_factory=dict)
    statuses: list[str] = field(default_factory=list)  # of the API
    deleted: bool | None = False  # None: both
    soft_deleted: bool | None = None  # None: with the deleted ones
    changed_since: str | None = None
    ip: str | None = None  # regular expressions, from the address's beginning
    ip6: str | None = None
    order: list[tuple[str, bool]] = field(default_factory=list)  # (column, falling)
    limit: int = 1000
    marker: str | None = None  # the uuid of the last server of the page before


def page(conn: Connection, columns: tuple[str, ...], wanted: Wanted) -> Sequence[Sequence[Any]]:
    """These columns of the servers that a list asks for: one statement (and one more to find the marker).

    Raises BadRequest for an unknown marker and for a regular expression that can't be used.
    """
    if wanted == Wanted(wanted.project_id, order=NEWEST_FIRST, limit=wanted.limit):
        given: dict[str, Any] = {"limit": wanted.limit}
        if wanted.project_id is not None:
            given["project_id"] = wanted.project_id
        return conn.execute(_plain_page(columns, wanted.project_id is not None), given).all()
    order = [*wanted.order, ("id", wanted.order[0][1])]
    statement = select(*(_TABLE.c[name] for name in columns)).where(*_conditions(conn, wanted))
    if wanted.marker is not None:
        statement = statement.where(_after(conn, wanted, order))
    statement = statement.order_by(*_ordering(order)).limit(wanted.limit)
    try:
        return conn.execute(statement).all()
    except DataError:
        raise errors.BadRequest("Invalid input for query parameters: the database can't search for that.") from None


@cache
def _plain_page(columns: tuple[str, ...], of_project: bool) -> Select[Any]:
    """The first page with no filter: what is asked most."""
    statement = select(*(_TABLE.c[name] for name in columns)).where(*_alive(Wanted(None)))
    if of_project:
        statement = statement.where(_TABLE.c.project_id == bindparam("project_id"))
    return statement.order_by(*_ordering([*NEWEST_FIRST, ("id", True)])).limit(bindparam("limit"))


def _ordering(order: list[tuple[str, bool]]) -> list[ColumnElement[Any]]:
    return [_sortable(name).desc() if falling else _sortable(name).asc() for name, falling in order]


def _conditions(conn: Connection, wanted: Wanted) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if wanted.project_id is not None:
        conditions.append(_TABLE.c.project_id == wanted.project_id)
    conditions += _alive(wanted)
    conditions += [_TABLE.c[name] == value for name, value in wanted.exact.items()]
    if wanted.statuses:
        conditions.append(or_(*(_shows(status) for status in wanted.statuses)))
    if wanted.changed_since is not None:
        conditions.append(_TABLE.c.updated_at >= wanted.changed_since)
    for name, pattern in wanted.found.items():
        column = _TABLE.c[name]
        text = column if isinstance(column.type, String) else cast(column, String)
        conditions.append(patterns.matches(conn, text, pattern))
    if wanted.ip is not None or wanted.ip6 is not None:
        conditions.append(_has_address(conn, wanted))
    return conditions


def _alive(wanted: Wanted) -> list[ColumnElement[bool]]:
    """Nova's two kinds of deleted: gone, and waiting for the deferred delete (soft)."""
    if wanted.deleted is None:
        return []
    if wanted.deleted:
        soft = wanted.soft_deleted is not False
        return [or_(_TABLE.c.deleted == 1, _TABLE.c.vm_state == states.SOFT_DELETED) if soft else _TABLE.c.deleted == 1]
    return [_TABLE.c.deleted == 0] + ([] if wanted.soft_deleted else [_TABLE.c.vm_state != states.SOFT_DELETED])


def _shows(status: str) -> ColumnElement[bool]:
    """A condition: the API shows this status for the server."""
    vm_states, tasks = states.states_of_status(status)
    if tasks is not None:
        return and_(_TABLE.c.vm_state.in_(vm_states), _TABLE.c.task_state.in_(tasks))
    return or_(
        *(
            and_(
                _TABLE.c.vm_state == vm_state,
                or_(_TABLE.c.task_state.is_(None), _TABLE.c.task_state.not_in(states.renamed_tasks(vm_state))),
            )
            for vm_state in vm_states
        )
    )


def _has_address(conn: Connection, wanted: Wanted) -> ColumnElement[bool]:
    of_version = []
    for pattern, version_6 in ((wanted.ip, False), (wanted.ip6, True)):
        if pattern is not None:
            kind = FixedIp.address.contains(":") if version_6 else FixedIp.address.not_like("%:%")
            of_version.append(and_(kind, patterns.matches(conn, FixedIp.address, f"^(?:{pattern})")))
    # Of each server that is asked for otherwise: the pattern is not tried on all addresses of the cloud.
    mine = select(Port.id).join(FixedIp, FixedIp.port_id == Port.id).where(Port.server_id == _TABLE.c.id)
    return mine.where(or_(*of_version)).correlate(_TABLE).exists()


# Sorted with NULL as the least, alike on all engines.
_NULLABLE = {name for name in ServerRow._fields if _TABLE.c[name].nullable}


def _sortable(name: str) -> ColumnElement[Any]:
    column: ColumnElement[Any] = _TABLE.c[name]
    return func.coalesce(column, "") if name in _NULLABLE else column


def _after(conn: Connection, wanted: Wanted, order: list[tuple[str, bool]]) -> ColumnElement[bool]:
    """A condition: behind the marker in this order. The outer bound is there for the index."""
    last = None
    if wanted.marker is not None and len(wanted.marker) <= 64:
        chosen = select(*(_sortable(name) for name, _ in order)).where(_TABLE.c.uuid == wanted.marker)
        if wanted.project_id is not None:
            chosen = chosen.where(_TABLE.c.project_id == wanted.project_id)
        last = conn.execute(chosen).first()
    if last is None:
        raise errors.BadRequest(f"marker [{wanted.marker}] not found")
    behind: ColumnElement[bool] | None = None
    for (name, falling), value in reversed(list(zip(order, last, strict=True))):
        column = _sortable(name)
        beyond = column < value if falling else column > value
        behind = beyond if behind is None else or_(beyond, and_(column == value, behind))
    first = _sortable(order[0][0])
    bound = first <= last[0] if order[0][1] else first >= last[0]
    return and_(bound, behind) if behind is not None else bound
