# SPDX-License-Identifier: Apache-2.0
"""Statements about servers. Every one that serves a user takes a `project_id`: None only for those who may see all."""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from computeapi.db.models import Server
from computeapi.db.models.servers import instance_name


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
    deleted_at: str | None
    deleted: int

    @property
    def instance_name(self) -> str:
        """The guest's name on its host."""
        return instance_name(self.id)


COLUMNS = tuple(getattr(Server, name) for name in ServerRow._fields)
_BY_UUID = select(*COLUMNS)


def get(conn: Connection, uuid: str, project_id: str | None, *, deleted: bool = False) -> ServerRow | None:
    """One server, of that project (None: of any). Deleted ones only where asked for."""
    statement = _BY_UUID.where(Server.uuid == uuid)
    if project_id is not None:
        statement = statement.where(Server.project_id == project_id)
    if not deleted:
        statement = statement.where(Server.deleted == 0)
    row = conn.execute(statement).first()
    return ServerRow._make(row) if row else None


def get_by_key(conn: Connection, key: int) -> ServerRow | None:
    """One server by its row key, deleted or not (for the compute service)."""
    row = conn.execute(_BY_UUID.where(Server.id == key)).first()
    return ServerRow._make(row) if row else None


def insert(conn: Connection, values: dict[str, Any]) -> int:
    """Write a new server; its row key."""
    key = conn.execute(Server.__table__.insert().values(**values)).inserted_primary_key  # type: ignore[attr-defined]
    return int(key[0])
