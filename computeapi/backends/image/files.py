# SPDX-License-Identifier: Apache-2.0
"""The bytes of the embedded images: a file each, `<directory>/<image id>`.

An upload writes `.<image id>.<random>.part`, hashing as it goes, and renames it when all of it is on the disk. Whoever
writes holds a lock (flock) on the file, under either name, until the image's row says what became of it; so a file
that is no image's and not locked is one whose writer died. Several processes may share the directory, over NFS too.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from computeapi import errors
from computeapi.backends.image.base import ID
from computeapi.settings import private
from computeapi.virt.images import HEADER_BYTES

CHUNK = 1024 * 1024  # bytes

_NAME = re.compile(rf"({ID})|\.({ID})\.[0-9a-f]+\.part")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Draft:
    """A file being written. Left as a context without `keep()`, it is gone."""

    def __init__(self, directory: Path, image_id: str, max_bytes: int) -> None:
        self.size = 0
        self.head = b""
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()
        self._max_bytes = max_bytes
        self._directory = directory
        self._target = directory / image_id
        self._settled = False
        with _storage_errors():
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._path, self._file = _create_locked(directory, image_id)

    @property
    def checksum(self) -> str:
        """MD5 of what was written, as Glance's `checksum`."""
        return self._md5.hexdigest()

    @property
    def sha512(self) -> str:
        """SHA-512 of what was written, as Glance's `os_hash_value`."""
        return self._sha512.hexdigest()

    def write(self, chunks: Iterable[bytes]) -> None:
        """Append `chunks`. Raises TooLarge over the limit or where the disk is full."""
        for chunk in chunks:
            self.size += len(chunk)
            if self.size > self._max_bytes:
                raise errors.TooLarge(f"The incoming image is too large: more than {self._max_bytes} bytes.")
            if len(self.head) < HEADER_BYTES:
                self.head = (self.head + chunk)[:HEADER_BYTES]
            self._md5.update(chunk)
            self._sha512.update(chunk)
            rest = memoryview(chunk)
            with _storage_errors():
                while rest:
                    rest = rest[self._file.write(rest) :]

    def publish(self) -> None:
        """Give the file the image's name, once its bytes are on the disk. The row must say the same, or it goes."""
        with _storage_errors():
            os.fsync(self._file.fileno())
            self._path.replace(self._target)
            self._path = self._target
            directory = os.open(self._directory, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def keep(self) -> None:
        """The row says that the image has these bytes: let the file be."""
        self._settled = True

    def discard(self) -> None:
        """Remove the file, under whichever name. Before the row is queued again: then another may write it."""
        if not self._settled:
            self._settled = True
            self._path.unlink(missing_ok=True)

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_error: object) -> None:
        self.discard()
        self._file.close()


def _create_locked(directory: Path, image_id: str) -> tuple[Path, FileIO]:
    """A new file with its lock held. `abandoned` may come between the two and take it away, so look again."""
    while True:
        path = directory / f".{image_id}.{secrets.token_hex(4)}.part"
        file = open(path, "xb", buffering=0, opener=private)  # noqa: SIM115  (closed by Draft)
        fcntl.flock(file, fcntl.LOCK_EX)
        if path.exists():
            return path, file
        file.close()


class ImageFiles:
    """The directory of image files. Uploads may have `max_bytes` each."""

    def __init__(self, directory: Path, max_bytes: int) -> None:
        self.directory = directory
        self._max_bytes = max_bytes

    def draft(self, image_id: str) -> Draft:
        """A file to write an image's bytes to."""
        return Draft(self.directory, image_id, self._max_bytes)

    def path(self, image_id: str) -> Path:
        """Where an image's bytes are, if it has any."""
        return self.directory / image_id

    def open(self, image_id: str) -> FileIO:
        """An image's bytes. Raises NotFound."""
        try:
            return open(self.path(image_id), "rb", buffering=0)
        except FileNotFoundError:
            raise errors.NotFound(f"Image {image_id} has no data") from None

    def remove(self, image_id: str) -> None:
        """Forget an image's bytes. Who reads them can read on."""
        self.path(image_id).unlink(missing_ok=True)

    def names(self) -> list[tuple[Path, str]]:
        """Every file of an image, whole or in part, and that image's id."""
        if not self.directory.is_dir():
            return []
        found = ((path, _NAME.fullmatch(path.name)) for path in self.directory.iterdir())
        return [(path, name[1] or name[2]) for path, name in found if name]


def read(file: FileIO, start: int = 0, length: int | None = None) -> Iterator[bytes]:
    """An open file's bytes from `start` on, `length` of them; closed at the end."""
    with file:
        file.seek(start)
        while length is None or length > 0:
            chunk = file.read(CHUNK if length is None else min(CHUNK, length))
            if not chunk:
                break
            if length is not None:
                length -= len(chunk)
            yield chunk


def abandoned(path: Path, act: Callable[[], None]) -> bool:
    """Do `act` with the lock of `path` held, so with nobody writing it. False where somebody is, or it is gone."""
    try:
        file = open(path, "rb+")  # noqa: SIM115  (closed below)
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                act()
                return True
    return False


@contextmanager
def _storage_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise errors.TooLarge("Image storage media is full.") from error
        if error.errno in _DENIED:
            raise errors.Unavailable("Insufficient permissions on image storage media.") from error
        raise
