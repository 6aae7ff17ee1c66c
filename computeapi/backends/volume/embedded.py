# SPDX-License-Identifier: Apache-2.0
"""Volumes in our own tables, their bytes in files that libvirt keeps, the work on them in the journal.

What a user asks for is decided here, for the Compute API's proxies and for our own Block Storage API alike: one
transaction checks the quota and the status, writes the new status, and the work for the volume's host. Statuses and
sentences are Cinder's (cinder/volume/api.py, cinder/exception.py).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, journal
from computeapi.backends.volume.attachments import wrong_status
from computeapi.backends.volume.base import Attachment, NewVolume, VolumeInfo
from computeapi.backends.volume.snapshots import Snapshots, project_of
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.queries import quotas, volume_quotas, volume_snapshots, volume_types, volumes
from computeapi.db.queries.volumes import AttachmentRow, VolumeRow, Wanted
from computeapi.sealing import Seal
from computeapi.settings import Settings

DELETABLE = ("available", "error", "error_restoring", "error_extending", "error_managing", "error_deleting")
MAX_GB = 2**31 - 1
_NO_HOST = "No valid backend was found. No compute service that could keep it is up."


class EmbeddedVolumes(Snapshots):
    """The volume service of the cloud itself."""

    def __init__(self, settings: Settings, db: Database, seal: Seal) -> None:
        self.settings, self.db, self._seal = settings, db, seal

    @property
    def is_shared(self) -> bool:
        """Whether the hosts share a directory."""
        return bool(self.settings.volume_directory)

    # --- volumes ---

    def show(self, context: Context, volume_id: str) -> VolumeInfo:
        """One volume."""
        with self.db.read() as conn:
            row = self.row(conn, context, volume_id)
            return self._info(row, volumes.attachments_of(conn, [row.uuid]).get(row.uuid, []))

    def list(self, context: Context, limit: int | None = None, offset: int = 0) -> Sequence[VolumeInfo]:
        """The project's volumes."""
        with self.db.read() as conn:
            rows = volumes.page(conn, Wanted(context.project_id, limit=limit, offset=offset))
            attachments = volumes.attachments_of(conn, [row.uuid for row in rows])
        return [self._info(row, attachments.get(row.uuid, [])) for row in rows]

    def row(self, conn: Connection, context: Context, volume_id: str, *, lock: bool = False) -> VolumeRow:
        """One volume with all that its row has. Raises NotFound."""
        row = volumes.get(conn, volume_id, project_of(context), lock=lock)
        if row is None:
            raise errors.NotFound(f"Volume {volume_id} could not be found.")
        return row

    def create(self, context: Context, new: NewVolume) -> VolumeInfo:
        """A new volume: "creating", or in error where no host could keep it."""
        with self.db.write() as conn:
            return self.create_in(conn, context, new, str(uuid.uuid4()))

    def create_in(
        self, conn: Connection, context: Context, new: NewVolume, volume_id: str, for_host: str | None = None
    ) -> VolumeInfo:
        """The same, in the caller's transaction. `for_host`: that host's work makes the file already."""
        origin = self._origin(conn, context, new)
        size = new.size_gb if new.size_gb is not None else origin.get("least", 0)
        if not 0 < size <= MAX_GB:
            raise errors.BadRequest("Invalid input received: Volume size must be an integer greater than 0.")
        if size < origin.get("least", 0):
            raise errors.BadRequest(
                f"Invalid input received: Volume size '{size}'GB cannot be smaller than {origin['from']} size "
                f"{origin['least']}GB. They must be >= {origin['from']} size."
            )
        project_id = context.project_id or ""
        self.db.lock(conn, quotas.lock_name(project_id))
        kind = volume_types.chosen(conn, new.volume_type, project_id)
        volume_quotas.check_size(conn, self.settings, project_id, size)
        volume_quotas.check(conn, self.settings, project_id, kind.name, volumes=1, gigabytes=size)
        host, zone = self._place(conn, new, for_host or origin.get("host"))
        key = volumes.create(
            conn,
            {
                "uuid": volume_id,
                "project_id": project_id,
                "user_id": context.user_id,
                "name": new.name,
                "description": new.description,
                "size_gb": size,
                "status": "creating" if host else "error",
                "message": None if host else _NO_HOST,
                "bootable": origin.get("bootable", 0),
                "type_id": kind.uuid,
                "availability_zone": zone,
                "host": host,
                "source_volume_id": new.source_volume_id,
                "snapshot_id": new.snapshot_id,
                "image_id": new.image_id,
                "image_json": origin.get("image_json", "{}"),
                "metadata_json": orjson.dumps(dict(new.metadata)).decode(),
            },
        )
        row = volumes.get_by_key(conn, key)
        assert row is not None
        if host and not for_host:
            self.work(conn, context, row, "create", host, ok="available", failed="error")
        return self._info(row, [])

    def _origin(self, conn: Connection, context: Context, new: NewVolume) -> dict[str, Any]:
        """What a volume gets from what it is made from: least size (GiB), host, bootable, image_json."""
        if new.snapshot_id:
            snapshot = self.snapshot_row(conn, context, new.snapshot_id, lock=True)
            if snapshot.status != "available":
                raise errors.BadRequest(
                    "Invalid snapshot: Originating snapshot status must be one of 'available' values"
                )
            source = volumes.get(conn, snapshot.volume_id, None)  # which may be another project's by now
            if source is None:
                raise errors.NotFound(f"Volume {snapshot.volume_id} could not be found.")
            return {"from": "the snapshot", "least": snapshot.size_gb, **_inherited(source)}
        if new.source_volume_id:
            source = self.row(conn, context, new.source_volume_id, lock=True)
            if source.status not in ("available", "in-use"):
                raise errors.BadRequest("Invalid volume: Source volume status must be available or in-use.")
            return {"from": "original volume", "least": source.size_gb, **_inherited(source)}
        properties = orjson.dumps(dict(new.image_properties)).decode()
        return {"bootable": 1, "image_json": properties} if new.image_id else {}

    def _place(self, conn: Connection, new: NewVolume, host: str | None) -> tuple[str | None, str]:
        """The host that shall keep it, and its zone: that of its source, else the one with the fewest volumes."""
        zone = new.availability_zone
        found = volumes.hosts_for(conn, self.settings, None)
        if (
            zone is not None
            and all(each != zone for _, each in found)
            and zone != self.settings.default_availability_zone
        ):
            raise errors.BadRequest(f"Invalid input received: Availability zone '{zone}' is invalid.")
        if host is not None and (not self.is_shared or host == new.host):
            own = next((each for name, each in found if name == host), None)
            return host, own or self.settings.default_availability_zone
        fit = [each for each in found if zone is None or each[1] == zone]
        wanted = next((each for each in fit if each[0] == new.host), None) or (fit[0] if fit else None)
        if wanted is None:
            return None, zone or self.settings.default_availability_zone
        return wanted

    def delete(self, context: Context, volume_id: str, *, force: bool = False, cascade: bool = False) -> None:
        """Begin to delete it. `force`: in whatever status, if no server has it; `cascade`: after its snapshots."""
        with self.db.write() as conn:
            row = self.row(conn, context, volume_id, lock=True)
            self.delete_in(conn, context, row, force=force, cascade=cascade)

    def delete_in(
        self, conn: Connection, context: Context, row: VolumeRow, *, force: bool = False, cascade: bool = False
    ) -> None:
        """The same, in the caller's transaction, of a locked row."""
        if row.status == "deleting" and not force:
            return
        snapshots = volume_snapshots.of_volume(conn, row.uuid)
        has = volumes.attachments_of(conn, [row.uuid]) or (snapshots and not cascade)
        if has or (row.status not in DELETABLE and not force):
            raise errors.BadRequest(
                "Invalid volume: Volume status must be available or error or error_restoring or error_extending or "
                "error_managing and must not be migrating, attached, belong to a group, have snapshots, awaiting a "
                "transfer, or be disassociated from snapshots after volume transfer."
            )
        if row.host is None:
            volumes.remove(conn, row.id)
            return
        for snapshot in snapshots:
            self.delete_snapshot_in(conn, context, row, snapshot, force=force)
        volumes.change(conn, row.id, {"status": "deleting"})
        self.work(conn, context, row, "delete", row.host, ok="deleting", failed="error_deleting")

    def extend(self, context: Context, volume_id: str, size_gb: int, *, in_use: bool = False) -> None:
        """Begin to make it larger. `in_use`: also while a guest has it, which then sees that."""
        with self.db.write() as conn:
            row = self.row(conn, context, volume_id, lock=True)
            if row.status != "available" and not (in_use and row.status == "in-use"):
                raise wrong_status(row, "available' or 'in-use" if in_use else "available")
            if size_gb <= row.size_gb:
                raise errors.BadRequest(
                    f"Invalid input received: New size for extend must be greater than current size. (current: "
                    f"{row.size_gb}, extended: {size_gb})."
                )
            self.db.lock(conn, quotas.lock_name(row.project_id))
            volume_quotas.check_size(conn, self.settings, row.project_id, size_gb)
            volume_quotas.check(conn, self.settings, row.project_id, row.type_name, gigabytes=size_gb - row.size_gb)
            volumes.change(conn, row.id, {"status": "extending"})
            host = self.host_of(conn, row)
            # One that a guest has stays usable where that fails: nothing of it is lost.
            failed = "error_extending" if row.status == "available" else "in-use"
            self.work(conn, context, row, "extend", host, {"size_gb": size_gb}, ok=row.status, failed=failed)

    def revert(self, context: Context, volume_id: str, snapshot_id: str | None) -> None:
        """Begin to make it what it was at its latest snapshot. Sentences: cinder/api/contrib, cinder/volume/api.py."""
        with self.db.write() as conn:
            row = self.row(conn, context, volume_id, lock=True)
            snapshots = volume_snapshots.of_volume(conn, row.uuid)
            if not snapshots:
                raise errors.BadRequest(f"Volume {row.uuid} does not have any snapshots.")
            latest = snapshots[-1]
            if snapshot_id != latest.uuid:
                raise errors.BadRequest(
                    f"Specified snapshot {snapshot_id} is None or not the latest one of volume {row.uuid}."
                )
            if row.size_gb != latest.size_gb:
                raise errors.BadRequest(
                    f"Can't revert volume {row.uuid} to its latest snapshot {latest.uuid}. The volume size must be "
                    "equal to the snapshot size."
                )
            if not volumes.change(conn, row.id, {"status": "reverting"}, statuses=("available",)):
                raise errors.Conflict(
                    f"Invalid volume: Can't revert volume {row.uuid} to its latest snapshot {latest.uuid}. "
                    "Volume's status must be available."
                )
            if not volume_snapshots.change(conn, latest.uuid, {"status": "restoring"}, statuses=("available",)):
                raise errors.Conflict(
                    f"Invalid snapshot: Can't revert volume {row.uuid} to its latest snapshot {latest.uuid}. "
                    "Snapshot's status must be available."
                )
            host = self.host_of(conn, row)
            self.work(conn, context, row, "revert", host, ok="available", failed="error", restored=latest.uuid)

    def upload_to_image(self, context: Context, volume_id: str, image_id: str, *, force: bool = False) -> None:
        """Begin to fill a registered image (qcow2) with its bytes. `force`: also while a guest has it."""
        with self.db.write() as conn:
            row = self.row(conn, context, volume_id, lock=True)
            if row.status not in (("available", "in-use") if force else ("available",)):
                raise wrong_status(row, "available" + (" or in-use" if force else ""))
            volumes.change(conn, row.id, {"status": "uploading"})
            host = self.host_of(conn, row)
            self.work(conn, context, row, "upload", host, {"image_id": image_id}, ok=row.status, failed=row.status)

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
        """Write down work on a volume for a host; `lands` are ok= and failed=, and snapshot= where that lands."""
        journal.enqueue(
            conn,
            self._seal,
            volume_key=row.id,
            request_id=context.request_id,
            project_id=row.project_id,
            user_id=context.user_id,
            name=f"volume_{name}",
            operation=f"volume_{name}",
            host=host,
            payload=dict(payload) if payload else None,
            lands=lands,
        )

    def host_of(self, conn: Connection, row: VolumeRow) -> str:
        """Who works on it: the host whose guest has it, else its own; where hosts share, any that is up."""
        user = volumes.user_of(conn, row.uuid)
        if user is not None and user.host is not None:
            return user.host
        if self.is_shared:
            up = [name for name, _ in volumes.hosts_for(conn, self.settings, None)]
            if up and row.host not in up:
                return up[0]
        if row.host is None:
            raise errors.BadRequest(f"Invalid volume: Volume {row.uuid} is not on a host.")
        return row.host

    def _info(self, row: VolumeRow, attachments: Sequence[AttachmentRow]) -> VolumeInfo:
        return VolumeInfo(
            id=row.uuid,
            project_id=row.project_id,
            user_id=row.user_id,
            name=row.name,
            description=row.description,
            status=row.status,
            size_gb=row.size_gb,
            availability_zone=row.availability_zone,
            bootable=bool(row.bootable),
            volume_type=row.type_name,
            snapshot_id=row.snapshot_id,
            source_volume_id=row.source_volume_id,
            created_at=row.created_at,
            metadata=orjson.loads(row.metadata_json),
            image_properties=orjson.loads(row.image_json),
            image_id=row.image_id,
            attachments=tuple(
                Attachment(each.uuid, each.server_id, each.device) for each in attachments if each.server_id
            ),
            host=None if self.is_shared else row.host,
            message=row.message,
        )


def _inherited(source: VolumeRow) -> dict[str, Any]:
    return {"host": source.host, "bootable": source.bootable, "image_json": source.image_json}
