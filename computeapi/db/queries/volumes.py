# SPDX-License-Identifier: Apache-2.0
"""Statements about volumes and who has them. A `project_id` of None is for those who may see all projects'.

Whoever changes a status says from which: `change(…, statuses=…)` writes nothing where it is another by now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from computeapi import clock, errors
from computeapi.db.models import BlockDevice, Host, Server, Volume, VolumeAttachment, VolumeType
from computeapi.db.queries.common import insert_key
from computeapi.settings import Settings


class VolumeRow(NamedTuple):
    """A volume's whole row, and its type's name; the names and meanings are those of db.models.Volume."""

    id: int
    uuid: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    size_gb: int
    status: str
    message: str | None
    bootable: int
    read_only: int | None
    type_id: str | None
    availability_zone: str | None
    host: str | None
    source_volume_id: str | None
    snapshot_id: str | None
    image_id: str | None
    image_json: str
    metadata_json: str
    created_at: str
    updated_at: str | None
    type_name: str | None

    @property
    def file_name(self) -> str:
        """The file of its bytes in the pool."""
        return f"volume-{self.uuid}"


class AttachmentRow(NamedTuple):
    """An attachment's whole row (db.models.VolumeAttachment), and the server's host."""

    id: int
    uuid: str
    volume_id: str
    project_id: str
    server_id: str | None
    status: str
    device: str | None
    mode: str
    connector_json: str
    attached_at: str | None
    created_at: str
    updated_at: str | None
    host: str | None


_ALL = select(
    *(getattr(Volume, name) for name in VolumeRow._fields[:-1]), VolumeType.name.label("type_name")
).outerjoin(VolumeType, VolumeType.uuid == Volume.type_id)
_ATTACHMENTS = select(*(getattr(VolumeAttachment, name) for name in AttachmentRow._fields[:-1]), Server.host).outerjoin(
    Server, Server.uuid == VolumeAttachment.server_id
)


def get(conn: Connection, uuid: str, project_id: str | None, *, lock: bool = False) -> VolumeRow | None:
    """One volume, of that project (None: of any); locked until the transaction ends."""
    statement = _ALL.where(Volume.uuid == uuid)
    if project_id is not None:
        statement = statement.where(Volume.project_id == project_id)
    row = conn.execute(statement.with_for_update(of=Volume) if lock else statement).first()
    return VolumeRow._make(row) if row else None


def get_by_key(conn: Connection, key: int) -> VolumeRow | None:
    """One volume by its row key (for the compute service)."""
    row = conn.execute(_ALL.where(Volume.id == key)).first()
    return VolumeRow._make(row) if row else None


def create(conn: Connection, values: Mapping[str, Any]) -> int:
    """Write a new volume; its row key."""
    return insert_key(conn, insert(Volume).values(created_at=clock.now(), **values))


def change(conn: Connection, key: int, values: Mapping[str, Any], *, statuses: Collection[str] | None = None) -> bool:
    """Set columns of a volume that is in one of these statuses (None: in any); whether it was."""
    statement = update(Volume).where(Volume.id == key)
    if statuses is not None:
        statement = statement.where(Volume.status.in_(list(statuses)))
    return conn.execute(statement.values(updated_at=clock.now(), **values)).rowcount == 1


def remove(conn: Connection, key: int) -> None:
    """The volume is gone."""
    conn.execute(delete(Volume).where(Volume.id == key))


# --- lists ---


@dataclass(slots=True)
class Wanted:
    """What a list asks for. `where` are further conditions on Volume (or VolumeSnapshot)."""

    project_id: str | None  # None: of all projects
    where: list[ColumnElement[bool]] = field(default_factory=list)
    order: list[tuple[str, bool]] = field(default_factory=lambda: [("created_at", True)])  # (column, falling)
    limit: int | None = None
    offset: int = 0
    marker: str | None = None  # the uuid of the last of the page before


def page(conn: Connection, wanted: Wanted) -> list[VolumeRow]:
    """The volumes that a list asks for. Raises BadRequest for an unknown marker."""
    return [VolumeRow._make(row) for row in conn.execute(paged(conn, _ALL, Volume, wanted))]


def paged(conn: Connection, statement: Any, model: Any, wanted: Wanted) -> Any:
    """`statement` over `model`, narrowed to what is wanted, in a total order."""
    if wanted.project_id is not None:
        statement = statement.where(model.project_id == wanted.project_id)
    statement = statement.where(*wanted.where)
    order = [(getattr(model, name), falling) for name, falling in wanted.order]
    falling_last = order[-1][1] if order else True
    order.append((model.id, falling_last))
    if wanted.marker is not None:
        columns = [column for column, _ in order]
        marker = conn.execute(select(*columns).where(model.uuid == wanted.marker)).first()
        if marker is None:
            raise errors.BadRequest(f"marker [{wanted.marker}] not found")
        statement = statement.where(_behind(order, marker))
    statement = statement.order_by(*(column.desc() if falling else column.asc() for column, falling in order))
    if wanted.limit is not None:
        statement = statement.limit(wanted.limit)
    return statement.offset(wanted.offset) if wanted.offset else statement


def _behind(order: list[tuple[Any, bool]], marker: Any) -> ColumnElement[bool]:
    """Rows after the marker's. A column that may be NULL sorts by the database's own rule: such pages may repeat."""
    choices: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for (column, falling), value in zip(order, marker, strict=True):
        choices.append(and_(*equal, column < value if falling else column > value))
        equal.append(column == value)
    return or_(*choices)


# --- attachments ---


def attachments_of(conn: Connection, volume_ids: Iterable[str]) -> dict[str, list[AttachmentRow]]:
    """Volume id → its attachments, oldest first."""
    found: dict[str, list[AttachmentRow]] = {}
    ids = list(volume_ids)
    if ids:
        statement = _ATTACHMENTS.where(VolumeAttachment.volume_id.in_(ids)).order_by(VolumeAttachment.id)
        for row in map(AttachmentRow._make, conn.execute(statement)):
            found.setdefault(row.volume_id, []).append(row)
    return found


def attachment(conn: Connection, uuid: str, project_id: str | None = None) -> AttachmentRow | None:
    """One attachment."""
    statement = _ATTACHMENTS.where(VolumeAttachment.uuid == uuid)
    if project_id is not None:
        statement = statement.where(VolumeAttachment.project_id == project_id)
    row = conn.execute(statement).first()
    return AttachmentRow._make(row) if row else None


def attachments(conn: Connection, wanted: Wanted) -> list[AttachmentRow]:
    """The attachments that a list asks for."""
    rows = conn.execute(paged(conn, _ATTACHMENTS, VolumeAttachment, wanted))
    return [AttachmentRow._make(row) for row in rows]


def add_attachment(conn: Connection, values: Mapping[str, Any]) -> None:
    """Write a new attachment."""
    conn.execute(insert(VolumeAttachment).values(created_at=clock.now(), **values))


def change_attachment(conn: Connection, uuid: str, values: Mapping[str, Any]) -> bool:
    """Set columns of an attachment; whether there is one."""
    statement = update(VolumeAttachment).where(VolumeAttachment.uuid == uuid)
    return conn.execute(statement.values(updated_at=clock.now(), **values)).rowcount == 1


def remove_attachment(conn: Connection, uuid: str) -> bool:
    """The attachment is no more; whether it was."""
    return conn.execute(delete(VolumeAttachment).where(VolumeAttachment.uuid == uuid)).rowcount == 1


def is_mapped(conn: Connection, attachment_id: str) -> bool:
    """Whether a server's block device stands behind an attachment: then only the server's own actions end it."""
    statement = select(BlockDevice.id).join(Server, Server.id == BlockDevice.server_id)
    statement = statement.where(BlockDevice.attachment_id == attachment_id, Server.deleted == 0)
    return conn.execute(statement.limit(1)).first() is not None


def user_of(conn: Connection, volume_id: str) -> AttachmentRow | None:
    """Who has the volume, where anybody has."""
    statement = _ATTACHMENTS.where(VolumeAttachment.volume_id == volume_id).order_by(VolumeAttachment.id).limit(1)
    row = conn.execute(statement).first()
    return AttachmentRow._make(row) if row else None


# --- hosts ---


def hosts_for(conn: Connection, settings: Settings, zone: str | None) -> list[tuple[str, str]]:
    """(host, its zone) of the hosts that are up, of that zone (None: of any); that with the fewest GiB first."""
    alive = (Host.disabled == 0) & (Host.forced_down == 0)
    alive &= Host.last_seen_at >= clock.shifted(-settings.service_down_time)
    taken = select(func.coalesce(func.sum(Volume.size_gb), 0)).where(Volume.host == Host.name).scalar_subquery()
    rows = conn.execute(select(Host.name, Host.availability_zone).where(alive).order_by(taken, Host.name))
    found = [(row[0], row[1] or settings.default_availability_zone) for row in rows]
    return [each for each in found if zone is None or each[1] == zone]
