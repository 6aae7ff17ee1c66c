# SPDX-License-Identifier: Apache-2.0
"""Images in our own tables, their bytes in files of the state directory.

An upload: queued → saving (one transaction), the file written and renamed, saving → active (one transaction). Killed
anywhere, the image is not active; `sweep()` makes it queued again and removes the file. A delete: the row first, the
file after; what is left in between is `sweep()`'s too. So there may be a file without a row, but no active row without
its file.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.backends.image import files
from computeapi.backends.image.base import ImageBackend, ImageInfo, check_property_name, is_id
from computeapi.backends.image.files import Draft, ImageFiles
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Image
from computeapi.db.queries import image_filters
from computeapi.db.queries import images as queries
from computeapi.db.queries.images import ImageRow
from computeapi.settings import Settings
from computeapi.virt.base import HypervisorError
from computeapi.virt.images import GIB, HEADER_BYTES, check_image

LOG = logging.getLogger("computeapi.images")

HASH = "sha512"
DISK_FORMATS = ("ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop")
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")

_NOBODY = Context("", "", None, frozenset({"admin"}))  # the service itself


class EmbeddedImages(ImageBackend):
    """The image service of the machine itself."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self.db = db
        self.files = ImageFiles(settings.state_path / "images", settings.max_image_size_gb * GIB)

    # --- the seam ---

    def show(self, context: Context, image_id: str) -> ImageInfo:
        """One image."""
        return info(self.row(context, image_id))

    def list(self, context: Context, filters: Mapping[str, str], limit: int, marker: str | None) -> list[ImageInfo]:
        """Images, newest first."""
        wanted = image_filters.wanted({key: [value] for key, value in filters.items() if key != "changes-since"})
        if since := filters.get("changes-since"):
            wanted.deleted = True
            wanted.where.append(Image.updated_at >= _moment(since))
        wanted.limit, wanted.marker = limit, marker
        with self.db.read() as conn:
            return [info(row) for row in queries.page(conn, context, wanted)]

    def set_properties(self, context: Context, image_id: str, properties: dict[str, str], purge: bool) -> ImageInfo:
        """Merge properties in, or replace them all."""
        for name in properties:
            check_property_name(name)
        with self.db.write() as conn:
            row = self._owned(conn, context, image_id)
            queries.replace_properties(conn, row.key, properties if purge else {**row.properties, **properties})
            queries.change(conn, row.key, {})
            return info(self._find(conn, context, image_id))

    def delete(self, context: Context, image_id: str) -> None:
        """Row first, file after."""
        with self.db.write() as conn:
            row = self._owned(conn, context, image_id)
            if row.protected:
                raise errors.Forbidden(f"Image {image_id} is protected and cannot be deleted.")
            queries.destroy(conn, row.key)
        self.files.remove(image_id)

    def create(
        self, context: Context, name: str | None, disk_format: str | None, properties: dict[str, str], **fields: Any
    ) -> str:
        """A queued image."""
        image_id = str(fields.pop("id", None) or uuid.uuid4())
        if not is_id(image_id):
            raise errors.BadRequest(f"'{image_id}' is no image's id.")
        tags = fields.pop("tags", ())
        values = {"owner": context.project_id, "container_format": "bare", **fields}
        for key in ("protected", "os_hidden"):
            values[key] = int(values.get(key, False))
        values |= {"uuid": image_id, "name": name, "disk_format": disk_format}
        with self.db.write() as conn:
            queries.create(conn, values, properties, tags)
        return image_id

    def upload(self, context: Context, image_id: str, chunks: Iterable[bytes]) -> None:
        """queued → saving → active."""
        self._receive(context, image_id, chunks, during="saving", then="active")

    def chunks(self, context: Context, image_id: str) -> Iterator[bytes]:
        """An active image's bytes."""
        self.readable(context, image_id)
        return files.read(self.files.open(image_id))

    def local_path(self, context: Context, image_id: str) -> Path | None:
        """An active image's file."""
        self.readable(context, image_id)
        path = self.files.path(image_id)
        return path if path.exists() else None

    # --- what our own Glance API asks as well ---

    def row(self, context: Context, image_id: str) -> ImageRow:
        """One image with all that its row has. Raises NotFound."""
        with self.db.read() as conn:
            return self._find(conn, context, image_id)

    def readable(self, context: Context, image_id: str) -> ImageRow:
        """An image whose bytes the caller may read. Raises NotFound where it has none, Forbidden while deactivated."""
        row = self.row(context, image_id)
        if row.status == "deactivated" and not context.is_admin:
            raise errors.Forbidden("The requested image has been deactivated. Image data download is forbidden.")
        if row.status not in ("active", "deactivated"):
            raise errors.NotFound(f"Image {image_id} has no data")
        return row

    def stage(self, context: Context, image_id: str, chunks: Iterable[bytes]) -> None:
        """queued → uploading, with the bytes there: for `import_staged`."""
        self._receive(context, image_id, chunks, during="uploading", then="uploading")

    def import_staged(self, context: Context, image_id: str) -> None:
        """uploading → active. Raises Conflict where nothing is staged."""
        with self.db.write() as conn:
            row = self._owned(conn, context, image_id)
            missing = [name for name in ("container_format", "disk_format") if not getattr(row, name)]
            if row.status == "active":
                raise errors.Conflict("Image with status active cannot be target for import")
            if row.status != "uploading" or row.checksum is None:
                raise errors.Conflict("Image needs to be staged before 'glance-direct' method can be used")
            if missing:
                raise errors.Conflict(f"'{missing[0]}' needs to be set before import")
            virtual_size = self._inspected(row, row.size or 0, self._head(image_id))
            queries.change(conn, row.key, {"status": "active", "virtual_size": virtual_size}, statuses=("uploading",))

    def ensure_image(
        self,
        context: Context | None,
        name: str,
        path: Path,
        disk_format: str,
        properties: dict[str, str] | None = None,
        *,
        visibility: str = "public",
        **fields: Any,
    ) -> str:
        """The id of an image of this name with the bytes of the file `path`, made unless it is there.

        For what the operator provides. Older ones of the same name and owner are hidden, so that a name in a command
        means the new one; servers made of them keep them. `context` None: nobody's image; administrators may change it.
        """
        who = context or _NOBODY
        checksum = _md5(path)
        with self.db.read() as conn:
            found = queries.named(conn, who.project_id, name, checksum)
        if found is not None and self.files.path(found).exists():
            return found
        image_id = self.create(who, name, disk_format, properties or {}, visibility=visibility, **fields)
        try:
            with open(path, "rb", buffering=0) as file:
                self.upload(who, image_id, files.read(file))
        except errors.Error:
            self.delete(who, image_id)
            raise
        with self.db.write() as conn:
            queries.hide_others(conn, who.project_id, name, image_id)
        return image_id

    def sweep(self) -> int:
        """Put right what killed processes left: files that are no image's, images that nobody uploads any more.

        How many there were. May run while others upload.
        """
        found = self.files.names()
        with self.db.read() as conn:
            states = queries.file_states(conn, [image_id for _path, image_id in found])
        mended = 0
        for path, image_id in found:
            state = states.get(image_id)
            if path.name.startswith(".") or state is None or not state.whole:
                mended += self._drop(path, image_id)
        with self.db.read() as conn:
            lost = queries.unfinished(conn)
        there = {image_id for _path, image_id in self.files.names()}
        for state in lost:
            if state.uuid not in there and not self.files.path(state.uuid).exists():
                mended += self._requeue(state.key, state.status)
        if mended:
            LOG.warning("images: %d left-overs of interrupted uploads and deletes cleaned up", mended)
        return mended

    # --- inside ---

    def _find(self, conn: Connection, context: Context, image_id: str, *, lock: bool = False) -> ImageRow:
        row = queries.find(conn, context, image_id, lock=lock) if is_id(image_id) else None
        if row is None:
            raise errors.NotFound(f"No image found with ID {image_id}")
        return row

    def _owned(self, conn: Connection, context: Context, image_id: str) -> ImageRow:
        """The image, locked, if the caller may change it."""
        row = self._find(conn, context, image_id, lock=True)
        if not context.is_admin and (row.owner is None or row.owner != context.project_id):
            raise errors.Forbidden("You do not own this image")
        return row

    def _receive(self, context: Context, image_id: str, chunks: Iterable[bytes], *, during: str, then: str) -> None:
        with self.files.draft(image_id) as draft:
            row = self._begin(context, image_id, during)
            try:
                draft.write(chunks)
                values = self._measured(row, draft, then)
                draft.publish()
                self._finish(row, during, values)
                draft.keep()
            except BaseException:
                draft.discard()
                self._requeue(row.key, during)
                raise

    def _begin(self, context: Context, image_id: str, during: str) -> ImageRow:
        with self.db.write() as conn:
            row = self._owned(conn, context, image_id)
            if row.status != "queued":
                raise errors.Conflict(f"Image status transition from {row.status} to {during} is not allowed")
            missing = [name for name in ("disk_format", "container_format") if not getattr(row, name)]
            if missing and during == "saving":
                plural = "Property" if len(missing) == 1 else "Properties"
                raise errors.BadRequest(f"{plural} {', '.join(missing)} must be set prior to saving data.")
            queries.change(conn, row.key, {"status": during}, statuses=("queued",))
        return row

    def _measured(self, row: ImageRow, draft: Draft, then: str) -> dict[str, Any]:
        return {
            "status": then,
            "size": draft.size,
            "virtual_size": self._inspected(row, draft.size, draft.head) if then == "active" else None,
            "checksum": draft.checksum,
            "os_hash_algo": HASH,
            "os_hash_value": draft.sha512,
        }

    def _inspected(self, row: ImageRow, size: int, head: bytes) -> int | None:
        """The size of the disk in the image. Raises UnsupportedMediaType, as Glance, for no qcow2 or an unsafe one."""
        if row.container_format != "bare" or row.disk_format not in ("qcow2", "raw", "iso"):
            return None
        try:
            return check_image(row.uuid, row.disk_format, size, head).virtual_size
        except HypervisorError as error:
            raise errors.UnsupportedMediaType(f"The data is refused: {error}") from error

    def _finish(self, row: ImageRow, during: str, values: dict[str, Any]) -> None:
        with self.db.write() as conn:
            if not queries.change(conn, row.key, values, statuses=(during,)):
                raise errors.Gone(
                    f"Image {row.uuid} could not be found after upload. The image may have been deleted during the "
                    "upload, cleaning up the chunks uploaded."
                )

    def _requeue(self, key: int, during: str) -> bool:
        with self.db.write() as conn:
            return queries.change(conn, key, queries.NO_BYTES, statuses=(during,))

    def _head(self, image_id: str) -> bytes:
        return next(files.read(self.files.open(image_id), 0, HEADER_BYTES), b"")

    def _drop(self, path: Path, image_id: str) -> bool:
        """Remove a file whose writer died, unless the row has come to say that it is whole."""

        def act() -> None:
            with self.db.read() as conn:
                state = queries.file_states(conn, [image_id]).get(image_id)
            if state is not None and state.whole and not path.name.startswith("."):
                return
            path.unlink(missing_ok=True)
            if state is not None and state.unfinished:
                self._requeue(state.key, state.status)

        return files.abandoned(path, act)


def info(row: ImageRow) -> ImageInfo:
    """A row as the Compute API needs it."""
    return ImageInfo(
        id=row.uuid,
        name=row.name,
        status=row.status,
        owner=row.owner,
        visibility=row.visibility,
        disk_format=row.disk_format,
        container_format=row.container_format,
        size=row.size,
        checksum=row.checksum,
        min_disk=row.min_disk,
        min_ram=row.min_ram,
        created_at=row.created_at,
        updated_at=row.updated_at,
        protected=bool(row.protected),
        properties=row.properties,
        virtual_size=row.virtual_size,
    )


def _moment(text: str) -> str:
    try:
        return clock.parse_filter(text)
    except (ValueError, OverflowError):
        raise errors.BadRequest(f'Bad "changes-since" query filter format: {text}') from None


def _md5(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
