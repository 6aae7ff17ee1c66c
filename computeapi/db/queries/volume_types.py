# SPDX-License-Identifier: Apache-2.0
"""Statements about volume types: the one that counts where none is asked for, who may use them, projects' own defaults.

What lists of them ask for is in volume_lists; the rows are read and written by volume_snapshots.
"""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, delete, insert, select
from sqlalchemy.exc import IntegrityError

from computeapi import errors
from computeapi.db.models import VolumeDefaultType, VolumeType, VolumeTypeAccess
from computeapi.db.queries import volume_snapshots as types
from computeapi.db.queries.volume_snapshots import TypeRow

DEFAULT = "__DEFAULT__"  # Cinder's name for it


def default(conn: Connection, project_id: str | None = None) -> TypeRow | None:
    """The type of volumes that were asked for without one: the project's own default, else everybody's."""
    if project_id is not None:
        own = select(VolumeDefaultType.type_id).where(VolumeDefaultType.project_id == project_id)
        chosen = conn.execute(own).scalar()
        if chosen is not None and (row := types.find_type(conn, chosen)) is not None:
            return row
    return types.find_type(conn, DEFAULT)


def make_default(conn: Connection) -> TypeRow:
    """The type __DEFAULT__, made where it is not there yet."""
    found = types.find_type(conn, DEFAULT)
    if found is None:
        try:
            with conn.begin_nested():
                types.add_type(conn, {"uuid": str(uuid.uuid4()), "name": DEFAULT, "description": "Default Volume Type"})
        except IntegrityError:  # somebody else was quicker
            pass
        found = types.find_type(conn, DEFAULT)
    assert found is not None
    return found


def chosen(conn: Connection, name_or_id: str | None, project_id: str) -> TypeRow:
    """The type of a new volume: the one asked for, else the project's default. Raises NotFound."""
    if name_or_id is None:
        return default(conn, project_id) or make_default(conn)
    found = make_default(conn) if name_or_id == DEFAULT else types.find_type(conn, name_or_id)
    if found is None:
        raise errors.NotFound(f"Volume type {name_or_id} could not be found.")
    return found


def is_default(conn: Connection, uuid: str) -> bool:
    """Whether it is a default type: everybody's, or a project's."""
    own = select(VolumeDefaultType.id).where(VolumeDefaultType.type_id == uuid).limit(1)
    if conn.execute(own).first() is not None:
        return True
    return conn.execute(select(VolumeType.name).where(VolumeType.uuid == uuid)).scalar() == DEFAULT


# --- projects' own defaults ---


def own_defaults(conn: Connection) -> list[tuple[str, str]]:
    """(project, type's id) of all projects with a default of their own."""
    rows = conn.execute(select(VolumeDefaultType.project_id, VolumeDefaultType.type_id).order_by(VolumeDefaultType.id))
    return [(row[0], row[1]) for row in rows]


def own_default(conn: Connection, project_id: str) -> str | None:
    """The id of the type that is a project's own default."""
    return conn.execute(select(VolumeDefaultType.type_id).where(VolumeDefaultType.project_id == project_id)).scalar()


def set_own_default(conn: Connection, project_id: str, type_id: str | None) -> None:
    """Give a project a default of its own, or take it away."""
    conn.execute(delete(VolumeDefaultType).where(VolumeDefaultType.project_id == project_id))
    if type_id is not None:
        conn.execute(insert(VolumeDefaultType).values(project_id=project_id, type_id=type_id))


# --- access ---


def projects(conn: Connection, type_key: int) -> list[str]:
    """The projects that may use a private type."""
    statement = select(VolumeTypeAccess.project_id).where(VolumeTypeAccess.type_key == type_key)
    return list(conn.execute(statement.order_by(VolumeTypeAccess.id)).scalars())


def add_access(conn: Connection, volume_type: TypeRow, project_id: str) -> None:
    """Let a project use it. Raises Conflict."""
    if project_id in projects(conn, volume_type.id):
        raise errors.Conflict(f"Volume type access for {volume_type.uuid} / {project_id} combination already exists.")
    conn.execute(insert(VolumeTypeAccess).values(type_key=volume_type.id, project_id=project_id))


def remove_access(conn: Connection, volume_type: TypeRow, project_id: str) -> None:
    """No longer let it. Raises NotFound."""
    mine = (VolumeTypeAccess.type_key == volume_type.id) & (VolumeTypeAccess.project_id == project_id)
    if conn.execute(delete(VolumeTypeAccess).where(mine)).rowcount != 1:
        raise errors.NotFound(f"Volume type access not found for {volume_type.uuid} / {project_id} combination.")
