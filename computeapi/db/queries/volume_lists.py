# SPDX-License-Identifier: Apache-2.0
"""Lists of the Block Storage API: volumes, snapshots, attachments, transfers and types, filtered, sorted and paged.

One table a noun (Kind) says what may be asked for. `project_id` is the asker's project; None only for those who may see
all. Behaviour of pages and filters: cinder/db/sqlalchemy/api.py, cinder/common/sqlalchemyutils.py.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, literal, or_, select

from computeapi import errors
from computeapi.db.models import (
    Volume,
    VolumeAttachment,
    VolumeSnapshot,
    VolumeTransfer,
    VolumeType,
    VolumeTypeAccess,
)
from computeapi.db.queries import common

Found = Any  # a Row with the columns of its Kind
Condition = ColumnElement[bool]
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "eq": operator.eq,
    "neq": operator.ne,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A noun. `fields` are what lists are filtered and sorted by, by the API's name; numbers are in `numbers`."""

    missing: str  # the sentence for an id that is none
    model: Any
    columns: Select[Any]
    fields: Mapping[str, Any]
    visible: Callable[[str], Condition]
    numbers: frozenset[str] = frozenset()
    json: Mapping[str, Any] = field(default_factory=dict)  # filters by pairs: name → column of JSON text

    def not_found(self, uuid: str) -> errors.NotFound:
        """The error for an id that nothing (to be seen) has."""
        return errors.NotFound(self.missing.format(uuid))


@dataclass(slots=True)
class Wish:
    """What a list shall have."""

    where: list[Condition] = field(default_factory=list)
    sorts: Sequence[tuple[str, bool]] = (("created_at", True),)  # name, descending
    limit: int | None = None
    offset: int = 0
    marker: str | None = None


_TYPE_NAME = VolumeType.name.label("type_name")

VOLUMES = Kind(
    missing="Volume {} could not be found.",
    model=Volume,
    columns=select(Volume.__table__, _TYPE_NAME).select_from(
        Volume.__table__.outerjoin(VolumeType.__table__, VolumeType.uuid == Volume.type_id)
    ),
    fields={
        "id": Volume.uuid,
        "name": Volume.name,
        "display_name": Volume.name,
        "description": Volume.description,
        "status": Volume.status,
        "size": Volume.size_gb,
        "bootable": Volume.bootable,
        "availability_zone": Volume.availability_zone,
        "user_id": Volume.user_id,
        "project_id": Volume.project_id,
        "host": Volume.host,
        "volume_type_id": Volume.type_id,
        "snapshot_id": Volume.snapshot_id,
        "source_volid": Volume.source_volume_id,
        "created_at": Volume.created_at,
        "updated_at": Volume.updated_at,
    },
    visible=lambda project_id: Volume.project_id == project_id,
    numbers=frozenset({"size", "bootable"}),
    json={"metadata": Volume.metadata_json, "glance_metadata": Volume.image_json},
)
SNAPSHOTS = Kind(
    missing="Snapshot {} could not be found.",
    model=VolumeSnapshot,
    columns=select(VolumeSnapshot.__table__),
    fields={
        "id": VolumeSnapshot.uuid,
        "name": VolumeSnapshot.name,
        "display_name": VolumeSnapshot.name,
        "description": VolumeSnapshot.description,
        "status": VolumeSnapshot.status,
        "volume_id": VolumeSnapshot.volume_id,
        "volume_size": VolumeSnapshot.size_gb,
        "size": VolumeSnapshot.size_gb,
        "user_id": VolumeSnapshot.user_id,
        "project_id": VolumeSnapshot.project_id,
        "created_at": VolumeSnapshot.created_at,
        "updated_at": VolumeSnapshot.updated_at,
    },
    visible=lambda project_id: VolumeSnapshot.project_id == project_id,
    numbers=frozenset({"volume_size", "size"}),
    json={"metadata": VolumeSnapshot.metadata_json},
)
ATTACHMENTS = Kind(
    missing="Volume attachment could not be found with filter: attachment_id = {}.",
    model=VolumeAttachment,
    columns=select(VolumeAttachment.__table__),
    fields={
        "id": VolumeAttachment.uuid,
        "volume_id": VolumeAttachment.volume_id,
        "instance_id": VolumeAttachment.server_id,
        "instance_uuid": VolumeAttachment.server_id,
        "status": VolumeAttachment.status,
        "attach_status": VolumeAttachment.status,
        "created_at": VolumeAttachment.created_at,
        "updated_at": VolumeAttachment.updated_at,
    },
    visible=lambda project_id: VolumeAttachment.project_id == project_id,
)
TRANSFERS = Kind(
    missing="Transfer {} could not be found.",
    model=VolumeTransfer,
    columns=select(VolumeTransfer.__table__),
    fields={
        "id": VolumeTransfer.uuid,
        "name": VolumeTransfer.name,
        "display_name": VolumeTransfer.name,
        "volume_id": VolumeTransfer.volume_id,
        "source_project_id": VolumeTransfer.project_id,
        "created_at": VolumeTransfer.created_at,
    },
    visible=lambda project_id: VolumeTransfer.project_id == project_id,
)
TYPES = Kind(
    missing="Volume type {} could not be found.",
    model=VolumeType,
    columns=select(VolumeType.__table__),
    fields={
        "id": VolumeType.uuid,
        "name": VolumeType.name,
        "description": VolumeType.description,
        "created_at": VolumeType.created_at,
        "updated_at": VolumeType.updated_at,
    },
    visible=lambda project_id: or_(
        VolumeType.is_public == 1,
        exists().where(VolumeTypeAccess.type_key == VolumeType.id, VolumeTypeAccess.project_id == project_id),
    ),
    json={"extra_specs": VolumeType.extra_specs_json},
)

# --- conditions ---

NOTHING: Condition = literal(1) == 0
ANYTHING: Condition = literal(1) == 1
PRIVATE: Condition = VolumeType.is_public == 0


def has_pairs(column: Any, pairs: Mapping[str, str]) -> Condition:
    """The JSON object in `column` has all these pairs."""
    inner = (orjson.dumps({key: value}).decode()[1:-1] for key, value in pairs.items())
    return and_(*(func.replace(column, text, "") != column for text in inner)) if pairs else ANYTHING


def contains(column: Any, text: str) -> Condition:
    """`text` is somewhere in `column`, whatever the case of its letters."""
    return func.lower(column).contains(text.lower(), autoescape=True)


def equal(kind: Kind, name: str, value: Any) -> Condition:
    """A field has that value."""
    found: Condition = kind.fields[name] == value
    return found


def between(kind: Kind, name: str, bounds: Iterable[tuple[str, str]]) -> Condition:
    """A field is within all bounds: (one of OPERATORS, stored time)."""
    return and_(*(OPERATORS[sign](kind.fields[name], moment) for sign, moment in bounds))


# --- pages ---


def find(conn: Connection, kind: Kind, uuid: str, project_id: str | None) -> Found:
    """One thing by its id. Raises NotFound."""
    statement = kind.columns.where(kind.model.uuid == uuid)
    if project_id is not None:
        statement = statement.where(kind.visible(project_id))
    row = conn.execute(statement).first()
    if row is None:
        raise kind.not_found(uuid)
    return row


def page(conn: Connection, kind: Kind, project_id: str | None, wish: Wish) -> list[Found]:
    """The rows of a list. Raises NotFound for a marker that is nothing to be seen."""
    statement = _wanted(kind.columns, kind, project_id, wish)
    order = [(_sortable(kind, name), descending) for name, descending in wish.sorts]
    order.append((kind.model.id, order[0][1]))
    if wish.marker is not None:
        statement = statement.where(_after(conn, kind, project_id, wish.marker, order))
    statement = statement.order_by(*(key.desc() if down else key.asc() for key, down in order))
    return list(conn.execute(statement.limit(wish.limit).offset(wish.offset or None)))


def count(conn: Connection, kind: Kind, project_id: str | None, wish: Wish) -> int:
    """How many there are on all pages."""
    statement = _wanted(select(func.count()).select_from(kind.model), kind, project_id, wish)
    return int(conn.execute(statement).scalar_one())


def _wanted(statement: Any, kind: Kind, project_id: str | None, wish: Wish) -> Any:
    if project_id is not None:
        statement = statement.where(kind.visible(project_id))
    return statement.where(*wish.where)


def _sortable(kind: Kind, name: str) -> Any:
    """A key that is never NULL: engines differ in where NULL stands."""
    return common.never_null(kind.model, kind.fields[name], 0 if name in kind.numbers else "")


def _after(
    conn: Connection, kind: Kind, project_id: str | None, marker: str, order: list[tuple[Any, bool]]
) -> Condition:
    """What stands after the marker in that order."""
    key = find(conn, kind, marker, project_id).id
    values = conn.execute(select(*(each for each, _ in order)).where(kind.model.id == key)).one()
    same: list[Condition] = []
    choices: list[Condition] = []
    for (column, down), value in zip(order, values, strict=True):
        choices.append(and_(*same, column < value if down else column > value))
        same.append(column == value)
    return and_(common.bound(order, values), or_(*choices))


# --- what they are together ---


def summary(conn: Connection, project_id: str | None, wish: Wish) -> tuple[int, int]:
    """How many volumes there are, and their size together in GiB."""
    statement = select(func.count(), func.coalesce(func.sum(Volume.size_gb), 0)).select_from(Volume)
    number, size = conn.execute(_wanted(statement, VOLUMES, project_id, wish)).one()
    return number, int(size)


def metadata(conn: Connection, project_id: str | None, wish: Wish) -> list[str]:
    """The metadata (JSON) of the volumes that have any."""
    statement = _wanted(select(Volume.metadata_json).distinct(), VOLUMES, project_id, wish)
    return list(conn.execute(statement.where(Volume.metadata_json != "{}")).scalars())


class Kept(NamedTuple):
    """What a host keeps, of a project or of all."""

    volume_count: int = 0
    total_volume_gb: int = 0
    snapshot_count: int = 0
    total_snapshot_gb: int = 0


def kept_on(conn: Connection, host: str) -> dict[str, Kept]:
    """What a host keeps, by project."""
    number, size = func.count(), func.coalesce(func.sum(Volume.size_gb), 0)
    here = Volume.host == host
    volumes = select(Volume.project_id, number, size).where(here).group_by(Volume.project_id)
    found = {row[0]: Kept(row[1], int(row[2])) for row in conn.execute(volumes.order_by(Volume.project_id))}
    snapshots = (
        select(VolumeSnapshot.project_id, number, func.coalesce(func.sum(VolumeSnapshot.size_gb), 0))
        .join(Volume, Volume.uuid == VolumeSnapshot.volume_id)
        .where(here)
        .group_by(VolumeSnapshot.project_id)
    )
    for project_id, count, total in conn.execute(snapshots):
        kept = found.get(project_id, Kept())
        found[project_id] = kept._replace(snapshot_count=count, total_snapshot_gb=int(total))
    return found
