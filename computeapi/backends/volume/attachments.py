# SPDX-License-Identifier: Apache-2.0
"""Volumes in our own tables: who has them. See the life of an attachment in base.py."""

from __future__ import annotations

import uuid
from abc import abstractmethod

from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.backends.volume.base import Connected, NewVolume, VolumeBackend, VolumeInfo
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.queries import hosts, volume_snapshots, volumes
from computeapi.db.queries.volumes import VolumeRow
from computeapi.settings import Settings

# Status of what a server has → without the server. What its build has not finished is no volume.
_HELD = {
    **dict.fromkeys(("reserved", "attaching", "in-use", "detaching"), "available"),
    **dict.fromkeys(("creating", "downloading"), "error"),
}


class Attachments(VolumeBackend):
    """That half of the embedded service."""

    db: Database
    settings: Settings

    @abstractmethod
    def create_in(
        self, conn: Connection, context: Context, new: NewVolume, volume_id: str, for_host: str | None = None
    ) -> VolumeInfo:
        """A new volume."""

    @abstractmethod
    def row(self, conn: Connection, context: Context, volume_id: str, *, lock: bool = False) -> VolumeRow:
        """One volume. Raises NotFound."""

    @abstractmethod
    def delete_in(self, conn: Connection, context: Context, row: VolumeRow, *, force: bool = False) -> None:
        """Begin to delete a locked volume."""

    def prepare(self, context: Context, volume_id: str, server_id: str) -> str:
        """An id; the rest is `reserve`'s."""
        return str(uuid.uuid4())

    def abandon(self, context: Context, attachment_id: str) -> None:
        """Nothing was made."""

    def reserve(
        self, conn: Connection, context: Context, volume_id: str, attachment_id: str, server_id: str, device: str | None
    ) -> None:
        """available → reserved, with the attachment's row."""
        row = self.row(conn, context, volume_id, lock=True)
        if row.status != "available":
            raise wrong_status(row, "available")
        volumes.change(conn, row.id, {"status": "reserved"})
        volumes.add_attachment(
            conn,
            {
                "uuid": attachment_id,
                "volume_id": row.uuid,
                "project_id": row.project_id,
                "server_id": server_id,
                "status": "reserved",
                "device": device,
            },
        )

    def connect(self, context: Context, volume_id: str, attachment_id: str, host: str) -> Connected:
        """A file in the host's pool, or in the directory that all share."""
        with self.db.read() as conn:
            row = volumes.get(conn, volume_id, None)
            if row is None:
                raise errors.NotFound(f"Volume {volume_id} could not be found.")
            there = self.is_shared or row.host == host or hosts.share_storage(conn, str(row.host), host)
        if not there:
            raise errors.BadRequest(f"Volume {volume_id} is not on host {host}.")
        directory = self.settings.volume_directory
        path = f"{directory}/{row.file_name}" if directory else ""
        return Connected(row.file_name, path, read_only=bool(row.read_only))

    def attaching(self, conn: Connection, volume_id: str, attachment_id: str) -> None:
        """reserved → attaching."""
        row = volumes.get(conn, volume_id, None, lock=True)
        if row is not None and volumes.change(conn, row.id, {"status": "attaching"}, statuses=("reserved",)):
            volumes.change_attachment(conn, attachment_id, {"status": "attaching"})

    def attached(self, conn: Connection, volume_id: str, attachment_id: str) -> None:
        """→ in-use."""
        row = volumes.get(conn, volume_id, None, lock=True)
        if row is not None:
            volumes.change(conn, row.id, {"status": "in-use"})
            volumes.change_attachment(conn, attachment_id, {"status": "attached", "attached_at": clock.now()})

    def detaching(self, conn: Connection, context: Context, volume_id: str, attachment_id: str) -> None:
        """in-use → detaching."""
        row = self.row(conn, context, volume_id, lock=True)
        if row.status != "in-use":
            raise wrong_status(row, "in-use")
        volumes.change(conn, row.id, {"status": "detaching"})
        volumes.change_attachment(conn, attachment_id, {"status": "detaching"})

    def disconnect(self, context: Context, volume_id: str, attachment_id: str) -> None:
        """Nothing: `let_go` does it."""

    def let_go(self, conn: Connection, volume_id: str, attachment_id: str, *, deletes: str | None = None) -> None:
        """→ available, or its delete begins. One that is in error for another reason stays so."""
        row = volumes.get(conn, volume_id, None, lock=True)
        volumes.remove_attachment(conn, attachment_id)
        if row is None or volumes.user_of(conn, volume_id) is not None:
            return
        if row.status in _HELD:
            volumes.change(conn, row.id, {"status": _HELD[row.status]})
            row = row._replace(status=_HELD[row.status])
        if deletes and not volume_snapshots.of_volume(conn, volume_id) and row.status != "deleting":
            context = Context(deletes, row.user_id, row.project_id, frozenset({"admin"}))
            self.delete_in(conn, context, row, force=True)

    # --- volumes that are made together with a server ---

    @property
    def made_by_host(self) -> bool:
        """Yes: the steps of the server's build."""
        return True

    def create_for_server(self, conn: Connection, context: Context, new: NewVolume, volume_id: str, host: str) -> str:
        """The row; no work of its own."""
        if volumes.get(conn, volume_id, None) is None:
            self.create_in(conn, context, new, volume_id, for_host=host)
        return volume_id

    def made(self, conn: Connection, volume_id: str) -> None:
        """→ available."""
        row = volumes.get(conn, volume_id, None, lock=True)
        if row is not None:
            volumes.change(conn, row.id, {"status": "available"}, statuses=("creating", "downloading"))

    def forget(self, conn: Connection, volume_id: str) -> None:
        """No row."""
        row = volumes.get(conn, volume_id, None, lock=True)
        if row is not None and volumes.user_of(conn, volume_id) is None:
            volumes.remove(conn, row.id)


def wrong_status(row: VolumeRow, wanted: str) -> errors.BadRequest:
    """Cinder's sentence for what a volume's status forbids."""
    return errors.BadRequest(
        f"Invalid volume: volume '{row.uuid}' status must be '{wanted}'. Currently in '{row.status}'"
    )
