# SPDX-License-Identifier: Apache-2.0
"""Volumes in our own tables: their snapshots, the ones that the Compute API is asked for among them."""

from __future__ import annotations

import uuid
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors
from computeapi.backends.volume.attachments import Attachments, wrong_status
from computeapi.backends.volume.base import SnapshotInfo
from computeapi.context import Context
from computeapi.db.queries import quotas, volume_quotas, volume_snapshots, volumes
from computeapi.db.queries.volume_snapshots import SnapshotRow
from computeapi.db.queries.volumes import VolumeRow, Wanted


class Snapshots(Attachments):
    """That part of the embedded service."""

    @abstractmethod
    def work(
        self,
        conn: Connection,
        context: Context,
        row: VolumeRow,
        name: str,
        host: str,
        payload: Mapping[str, Any] | None = None,
        **lands: str,
    ) -> None:
        """Write down work on a volume for a host."""

    @abstractmethod
    def host_of(self, conn: Connection, row: VolumeRow) -> str:
        """Who works on it. Raises BadRequest where nobody can."""

    def show_snapshot(self, context: Context, snapshot_id: str) -> SnapshotInfo:
        """One snapshot."""
        with self.db.read() as conn:
            row = self.snapshot_row(conn, context, snapshot_id)
            volume = volumes.get(conn, row.volume_id, None)
        return _snapshot_info(row, None if self.is_shared or volume is None else volume.host)

    def list_snapshots(self, context: Context, limit: int | None = None, offset: int = 0) -> Sequence[SnapshotInfo]:
        """The project's snapshots."""
        with self.db.read() as conn:
            rows = volume_snapshots.page(conn, Wanted(context.project_id, limit=limit, offset=offset))
        return [_snapshot_info(row, None) for row in rows]

    def snapshot_row(self, conn: Connection, context: Context, snapshot_id: str, *, lock: bool = False) -> SnapshotRow:
        """One snapshot with all that its row has. Raises NotFound."""
        row = volume_snapshots.get(conn, snapshot_id, project_of(context), lock=lock)
        if row is None:
            raise errors.NotFound(f"Snapshot {snapshot_id} could not be found.")
        return row

    def create_snapshot(
        self,
        context: Context,
        volume_id: str,
        name: str | None,
        description: str | None,
        *,
        force: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> SnapshotInfo:
        """Begin to make a snapshot."""
        with self.db.write() as conn:
            volume = self.row(conn, context, volume_id, lock=True)
            if volume.status not in (("available", "in-use") if force else ("available",)):
                raise errors.BadRequest(
                    f"Invalid volume: Volume {volume_id} status must be available"
                    f"{' or in-use' if force else ''}, but current status is: {volume.status}."
                )
            return self.snapshot_in(conn, context, volume, str(uuid.uuid4()), name, description, metadata)

    def snapshot_in(
        self,
        conn: Connection,
        context: Context,
        volume: VolumeRow,
        snapshot_id: str,
        name: str | None,
        description: str | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> SnapshotInfo:
        """The same, in the caller's transaction, of a locked volume."""
        self.db.lock(conn, quotas.lock_name(volume.project_id))
        volume_quotas.check(
            conn, self.settings, volume.project_id, volume.type_name, snapshots=1, gigabytes=volume.size_gb
        )
        volume_snapshots.create(
            conn,
            {
                "uuid": snapshot_id,
                "volume_id": volume.uuid,
                "project_id": volume.project_id,
                "user_id": context.user_id,
                "name": name,
                "description": description,
                "size_gb": volume.size_gb,
                "status": "creating",
                "metadata_json": orjson.dumps(dict(metadata or {})).decode(),
            },
        )
        host = self.host_of(conn, volume)
        self.work(conn, context, volume, "snapshot_create", host, ok="available", failed="error", snapshot=snapshot_id)
        row = volume_snapshots.get(conn, snapshot_id, None)
        assert row is not None
        return _snapshot_info(row, None)

    def delete_snapshot(self, context: Context, snapshot_id: str, *, force: bool = False) -> None:
        """Begin to delete a snapshot."""
        with self.db.write() as conn:
            row = self.snapshot_row(conn, context, snapshot_id, lock=True)
            volume = volumes.get(conn, row.volume_id, None, lock=True)
            self.delete_snapshot_in(conn, context, volume, row, force=force)

    def delete_snapshot_in(
        self, conn: Connection, context: Context, volume: VolumeRow | None, row: SnapshotRow, *, force: bool
    ) -> None:
        """The same, of a locked volume. Raises BadRequest for a status that forbids it."""
        if row.status == "deleting" and not force:
            return
        if row.status not in ("available", "error", "error_deleting") and not force:
            raise errors.BadRequest(
                f"Invalid snapshot: Snapshot status must be available or error, but current status is: {row.status}"
            )
        if volume_snapshots.is_source(conn, row.uuid):
            raise errors.BadRequest("Invalid snapshot: A volume is being made from it.")
        if volume is None:
            volume_snapshots.remove(conn, row.uuid)
            return
        volume_snapshots.change(conn, row.uuid, {"status": "deleting"})
        host = self.host_of(conn, volume)
        lands = {"ok": "deleting", "failed": "error_deleting", "snapshot": row.uuid}
        self.work(conn, context, volume, "snapshot_delete", host, None, **lands)

    # --- for os-assisted-volume-snapshots: whose the volume is does not matter there ---

    def assist_create(self, conn: Connection, context: Context, volume_id: str, snapshot_id: str) -> None:
        """The same copy that a forced snapshot is, by the id that was chosen for it."""
        volume = self._assisted(conn, volume_id)
        try:
            chosen = str(uuid.UUID(snapshot_id))  # it names a file
        except ValueError:
            raise errors.BadRequest(f"Invalid snapshot: {snapshot_id} is not a UUID.") from None
        if volume_snapshots.get(conn, chosen, None) is not None:
            raise errors.BadRequest(f"Invalid snapshot: There is a snapshot {chosen} already.")
        self.snapshot_in(conn, context, volume, chosen, None)

    def assist_delete(self, conn: Connection, context: Context, volume_id: str, snapshot_id: str) -> None:
        """Behind its making, where that is not done: a volume's work is done in order."""
        volume = self._assisted(conn, volume_id)
        row = volume_snapshots.get(conn, snapshot_id, None, lock=True)
        if row is None or row.volume_id != volume.uuid:
            raise errors.NotFound(f"Snapshot {snapshot_id} could not be found.")
        if row.status != "deleting":
            self.delete_snapshot_in(conn, context, volume, row, force=row.status == "creating")

    def _assisted(self, conn: Connection, volume_id: str) -> VolumeRow:
        """The volume, locked. Raises BadRequest unless a guest has it."""
        volume = volumes.get(conn, volume_id, None, lock=True)
        if volume is None:
            raise errors.BadRequest(f"Volume {volume_id} could not be found.")
        if volume.status != "in-use":
            raise wrong_status(volume, "in-use")
        return volume


def project_of(context: Context) -> str | None:
    """Whose volumes the caller may see; None: everybody's."""
    return None if context.is_admin else context.project_id


def _snapshot_info(row: SnapshotRow, host: str | None) -> SnapshotInfo:
    return SnapshotInfo(
        row.uuid, row.volume_id, row.name, row.description, row.status, row.size_gb, row.created_at, host
    )
