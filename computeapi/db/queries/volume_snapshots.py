# SPDX-License-Identifier: Apache-2.0
"""Statements about volumes' snapshots, and about the types that volumes may have."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from computeapi import clock
from computeapi.db.models import Volume, VolumeSnapshot, VolumeType
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.volumes import Wanted, paged


class SnapshotRow(NamedTuple):
    """A snapshot's whole row (db.models.VolumeSnapshot)."""

    id: int
    uuid: str
    volume_id: str
    project_id: str
    user_id: str
    name: str | None
    description: str | None
    size_gb: int
    status: str
    progress: str | None
    message: str | None
    metadata_json: str
    created_at: str
    updated_at: str | None

    @property
    def file_name(self) -> str:
        """The file of its bytes, in the pool of its volume."""
        return snapshot_file(self.uuid)


def snapshot_file(uuid: str) -> str:
    """The file of a snapshot's bytes."""
    return f"snapshot-{uuid}"


class TypeRow(NamedTuple):
    """A volume type's whole row (db.models.VolumeType)."""

    id: int
    uuid: str
    name: str
    description: str | None
    is_public: int
    extra_specs_json: str
    created_at: str
    updated_at: str | None


_SNAPSHOTS = select(*(getattr(VolumeSnapshot, name) for name in SnapshotRow._fields))
_TYPES = select(*(getattr(VolumeType, name) for name in TypeRow._fields))


def get(conn: Connection, uuid: str, project_id: str | None, *, lock: bool = False) -> SnapshotRow | None:
    """One snapshot, of that project (None: of any); locked until the transaction ends."""
    statement = _SNAPSHOTS.where(VolumeSnapshot.uuid == uuid)
    if project_id is not None:
        statement = statement.where(VolumeSnapshot.project_id == project_id)
    row = conn.execute(statement.with_for_update() if lock else statement).first()
    return SnapshotRow._make(row) if row else None


def page(conn: Connection, wanted: Wanted) -> list[SnapshotRow]:
    """The snapshots that a list asks for. Raises BadRequest for an unknown marker."""
    return [SnapshotRow._make(row) for row in conn.execute(paged(conn, _SNAPSHOTS, VolumeSnapshot, wanted))]


def create(conn: Connection, values: Mapping[str, Any]) -> int:
    """Write a new snapshot; its row key."""
    return insert_key(conn, insert(VolumeSnapshot).values(created_at=clock.now(), **values))


def change(conn: Connection, uuid: str, values: Mapping[str, Any], *, statuses: Collection[str] | None = None) -> bool:
    """Set columns of a snapshot that is in one of these statuses (None: in any); whether it was."""
    statement = update(VolumeSnapshot).where(VolumeSnapshot.uuid == uuid)
    if statuses is not None:
        statement = statement.where(VolumeSnapshot.status.in_(list(statuses)))
    return conn.execute(statement.values(updated_at=clock.now(), **values)).rowcount == 1


def remove(conn: Connection, uuid: str) -> None:
    """The snapshot is gone."""
    conn.execute(delete(VolumeSnapshot).where(VolumeSnapshot.uuid == uuid))


def of_volume(conn: Connection, volume_id: str) -> list[SnapshotRow]:
    """A volume's snapshots, oldest first."""
    rows = conn.execute(_SNAPSHOTS.where(VolumeSnapshot.volume_id == volume_id).order_by(VolumeSnapshot.id))
    return [SnapshotRow._make(row) for row in rows]


def is_source(conn: Connection, uuid: str) -> bool:
    """Whether a volume is being made from the snapshot now."""
    busy = select(Volume.id).where(Volume.snapshot_id == uuid, Volume.status.in_(["creating", "downloading"]))
    return conn.execute(busy.limit(1)).first() is not None


# --- types ---


def types(conn: Connection) -> list[TypeRow]:
    """All types, by name."""
    return [TypeRow._make(row) for row in conn.execute(_TYPES.order_by(VolumeType.name))]


def find_type(conn: Connection, name_or_id: str) -> TypeRow | None:
    """A type by its id, else by its name."""
    rows = conn.execute(_TYPES.where((VolumeType.uuid == name_or_id) | (VolumeType.name == name_or_id)))
    found = sorted((TypeRow._make(row) for row in rows), key=lambda row: row.uuid != name_or_id)
    return found[0] if found else None


def add_type(conn: Connection, values: Mapping[str, Any]) -> int:
    """Write a new type; its row key."""
    return insert_key(conn, insert(VolumeType).values(created_at=clock.now(), **values))


def change_type(conn: Connection, uuid: str, values: Mapping[str, Any]) -> bool:
    """Set columns of a type; whether there is one."""
    statement = update(VolumeType).where(VolumeType.uuid == uuid)
    return conn.execute(statement.values(updated_at=clock.now(), **values)).rowcount == 1


def remove_type(conn: Connection, uuid: str) -> None:
    """The type is gone."""
    conn.execute(delete(VolumeType).where(VolumeType.uuid == uuid))


def type_in_use(conn: Connection, uuid: str) -> bool:
    """Whether a volume is of that type."""
    return conn.execute(select(Volume.id).where(Volume.type_id == uuid).limit(1)).first() is not None
