# SPDX-License-Identifier: Apache-2.0
"""Every statement on flavors, who may use them, and their extra specs.

A flavor that is not public exists only for the projects on its access list, and for administrators: wherever
`project_id` is asked for, None stands for an administrator's view. `flavor_id` is the API's id, `key` the row's.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import orjson
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.functions import coalesce

from computeapi import clock, errors
from computeapi.db.models import Flavor, FlavorAccess, Project

Statement = Select[*tuple[Any, ...]]

MAX_INT = 2**31 - 1  # what the columns hold


class FlavorRow(NamedTuple):
    """A flavor. Memory and swap in MiB, disks in GiB; `extra_specs_json` is JSON text."""

    key: int
    flavor_id: str
    name: str
    memory_mb: int
    disk_gb: int
    swap_mb: int
    ephemeral_gb: int
    vcpus: int
    disabled: int
    is_public: int
    rxtx_factor: float
    extra_specs_json: str


_COLUMNS = (
    Flavor.id,
    Flavor.flavor_id,
    Flavor.name,
    Flavor.memory_mb,
    Flavor.disk_gb,
    Flavor.swap_mb,
    Flavor.ephemeral_gb,
    Flavor.vcpus,
    Flavor.disabled,
    Flavor.is_public,
    Flavor.rxtx_factor,
    Flavor.extra_specs_json,
)

# What lists sort by: the API's sort_key → an expression that is never NULL. `vcpu_weight` is Nova's, and always empty.
SORT_KEYS: dict[str, Any] = {
    "created_at": Flavor.created_at,
    "description": coalesce(Flavor.description, ""),
    "disabled": Flavor.disabled,
    "ephemeral_gb": Flavor.ephemeral_gb,
    "flavorid": Flavor.flavor_id,
    "id": Flavor.id,
    "is_public": Flavor.is_public,
    "memory_mb": Flavor.memory_mb,
    "name": Flavor.name,
    "root_gb": Flavor.disk_gb,
    "rxtx_factor": Flavor.rxtx_factor,
    "swap": Flavor.swap_mb,
    "updated_at": coalesce(Flavor.updated_at, ""),
    "vcpu_weight": Flavor.id,
    "vcpus": Flavor.vcpus,
}

# Which flavors a list is about.
EVERY = "every"  # whatever is there
PRIVATE = "private"  # those that are not public
USABLE = "usable"  # public ones, and those the project is on the list of
ENABLED = "enabled"  # of these, those that are not disabled

_USABLE: ColumnElement[bool] = or_(
    Flavor.is_public == 1,
    exists().where(FlavorAccess.flavor_key == Flavor.id, FlavorAccess.project_id == bindparam("project_id")),
)
_SCOPES: dict[str, list[ColumnElement[bool]]] = {
    EVERY: [],
    PRIVATE: [Flavor.is_public == 0],
    USABLE: [_USABLE],
    ENABLED: [_USABLE, Flavor.disabled == 0],
}

_FIND = select(*_COLUMNS).where(Flavor.flavor_id == bindparam("flavor_id"))
_FIND_USABLE = _FIND.where(_USABLE)


@cache
def _page(scope: str, sort_key: str, descending: bool, after_marker: bool) -> Statement:
    column = SORT_KEYS[sort_key]
    statement = select(*_COLUMNS).where(
        *_SCOPES[scope], Flavor.memory_mb > bindparam("below_ram"), Flavor.disk_gb > bindparam("below_disk")
    )
    if after_marker:
        value: BindParameter[Any] = bindparam("value")
        key: BindParameter[int] = bindparam("key")
        beyond = (column < value, Flavor.id < key) if descending else (column > value, Flavor.id > key)
        statement = statement.where(or_(beyond[0], and_(column == value, beyond[1])))
    order = [column.desc(), Flavor.id.desc()] if descending else [column, Flavor.id]
    return statement.order_by(*order).limit(bindparam("limit"))


@cache
def _marker(sort_key: str, admin: bool) -> Statement:
    statement = select(Flavor.id, SORT_KEYS[sort_key]).where(Flavor.flavor_id == bindparam("flavor_id"))
    return statement if admin else statement.where(_USABLE)


def page(
    conn: Connection,
    *,
    project_id: str,
    admin: bool,
    scope: str,
    limit: int,
    marker: str | None = None,
    sort_key: str = "flavorid",
    descending: bool = False,
    min_ram: int = 0,
    min_disk: int = 0,
) -> list[FlavorRow]:
    """A page of the flavors in `scope`, after the one with the id `marker`.

    Raises BadRequest where `marker` is no flavor that the caller may see.
    """
    values: dict[str, Any] = {
        "project_id": project_id,
        "below_ram": _below(min_ram),
        "below_disk": _below(min_disk),
        "limit": limit,
    }
    if marker is not None:
        found = conn.execute(_marker(sort_key, admin), {"flavor_id": marker, "project_id": project_id}).first()
        if found is None:
            raise errors.BadRequest(f"marker [{marker}] not found")
        values["key"], values["value"] = found
    statement = _page(scope, sort_key, descending, marker is not None)
    return [FlavorRow._make(row) for row in conn.execute(statement, values)]


def _below(least: int) -> int:
    """What columns must be greater than, to be at least `least`; a number that every engine can compare them with."""
    return max(-1, min(least - 1, MAX_INT))


def find(conn: Connection, flavor_id: str, project_id: str | None, *, lock: bool = False) -> FlavorRow:
    """The flavor with that id, disabled or not; `lock` holds its row until the transaction ends.

    Raises NotFound (Nova: FlavorNotFound), also where the project may not use it.
    """
    if project_id is None:
        statement, values = _FIND, {"flavor_id": flavor_id}
    else:
        statement, values = _FIND_USABLE, {"flavor_id": flavor_id, "project_id": project_id}
    found = conn.execute(statement.with_for_update() if lock else statement, values).first()
    if found is None:
        raise errors.NotFound(f"Flavor {flavor_id} could not be found.")
    return FlavorRow._make(found)


def create(conn: Connection, flavor: FlavorRow) -> None:
    """Add a flavor; its `key` is not looked at. Call it after `Database.lock(conn, "flavors")`.

    Raises Conflict where its id or its name is taken (FlavorIdExists, FlavorExists).
    """
    taken = select(Flavor.name).where(or_(Flavor.flavor_id == flavor.flavor_id, Flavor.name == flavor.name))
    found = list(conn.execute(taken).scalars())
    if flavor.name in found:
        raise errors.Conflict(f"Flavor with name {flavor.name} already exists.")
    if found:
        raise errors.Conflict(f"Flavor with ID {flavor.flavor_id} already exists.")
    values = flavor._asdict()
    del values["key"]
    conn.execute(insert(Flavor), {**values, "created_at": clock.now()})


def remove(conn: Connection, flavor_id: str) -> None:
    """Delete a flavor and its access list. Servers keep their own copy of it. Raises NotFound."""
    if not conn.execute(delete(Flavor).where(Flavor.flavor_id == flavor_id)).rowcount:
        raise errors.NotFound(f"Flavor {flavor_id} could not be found.")


# --- access ---

_ACCESS = select(FlavorAccess.project_id).where(FlavorAccess.flavor_key == bindparam("key")).order_by(FlavorAccess.id)
_EVERY_ACCESS = (
    select(Flavor.flavor_id, FlavorAccess.project_id)
    .join(FlavorAccess, FlavorAccess.flavor_key == Flavor.id)
    .order_by(Flavor.flavor_id, FlavorAccess.id)
)


def access_of(conn: Connection, key: int) -> list[str]:
    """The projects on a flavor's access list, in the order they came on it."""
    return list(conn.execute(_ACCESS, {"key": key}).scalars())


def every_access(conn: Connection) -> list[tuple[str, str]]:
    """Every (flavor id, project id) on an access list."""
    return [(flavor_id, project_id) for flavor_id, project_id in conn.execute(_EVERY_ACCESS)]


def add_access(conn: Connection, flavor: FlavorRow, project_id: str) -> None:
    """Put a project on a flavor's access list. Raises Conflict where it is there already (FlavorAccessExists)."""
    try:
        conn.execute(insert(FlavorAccess), {"flavor_key": flavor.key, "project_id": project_id})
    except IntegrityError:
        raise errors.Conflict(
            f"Flavor access already exists for flavor {flavor.flavor_id} and project {project_id} combination."
        ) from None


def remove_access(conn: Connection, flavor: FlavorRow, project_id: str) -> None:
    """Take a project off a flavor's access list. Raises NotFound where it is not on it (FlavorAccessNotFound)."""
    statement = delete(FlavorAccess).where(FlavorAccess.flavor_key == flavor.key, FlavorAccess.project_id == project_id)
    if not conn.execute(statement).rowcount:
        raise errors.NotFound(f"Flavor access not found for {flavor.flavor_id} / {project_id} combination.")


def project_exists(conn: Connection, project_id: str) -> bool:
    """Whether the embedded identity service has that project."""
    return conn.execute(select(Project.id).where(Project.id == project_id)).first() is not None


# --- extra specs ---


def save_extra_specs(conn: Connection, flavor: FlavorRow, extra_specs: dict[str, str]) -> None:
    """Replace a flavor's extra specs; the row is locked by `find`."""
    text = orjson.dumps(extra_specs, option=orjson.OPT_SORT_KEYS).decode()
    conn.execute(update(Flavor).where(Flavor.id == flavor.key).values(extra_specs_json=text, updated_at=clock.now()))
