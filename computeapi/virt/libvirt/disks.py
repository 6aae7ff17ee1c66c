# SPDX-License-Identifier: Apache-2.0
"""A host's volumes: a directory pool of libvirt's, filled through libvirt's streams, so that the host may be remote.

An uploaded image becomes a base in three writes: the file, then its bytes, then an empty marker beside it whose name
says the image's format and virtual size. Only a file with its marker, and of the size that was promised, is a base;
anything less is deleted and uploaded again. A user's image is thus never probed for what it is: the marker knows.

QEMU may run as a user of its own (libvirt-qemu) on the host. libvirt gives the files it makes to that user while
they are in use; the directories have mode 0711, and so must those above them allow it to pass (`o+x`).
"""

from __future__ import annotations

import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import libvirt

from computeapi.virt import images
from computeapi.virt.base import HypervisorError
from computeapi.virt.libvirt.connection import Connection
from computeapi.virt.libvirt.errors import STORAGE_BUSY, unless
from computeapi.virt.libvirt.xml import Element, element, parse, to_text

PIECE = 256 * 1024  # bytes a message of a stream
BUSY_TIMEOUT = 20.0  # seconds to wait for libvirt's own work on a pool or volume
DIRECTORY_MODE = "0711"
_MARKER = re.compile(r"(?P<name>.+)\.whole-(?P<format>qcow2|raw)-(?P<virtual>\d+)")
_OTHERS_SECONDS = 3.0  # in which another host that is writing an image has written more of it
_IDENTITY = re.compile(r"pool_[0-9a-f-]{36}")


@dataclass(frozen=True, slots=True)
class Base:
    """A complete image in the pool. `virtual_size` is in bytes."""

    name: str
    format: str
    virtual_size: int

    @property
    def marker(self) -> str:
        """The name of the empty volume that says all this."""
        return f"{self.name}.whole-{self.format}-{self.virtual_size}"


class Pool:
    """A directory pool, made where it is missing."""

    def __init__(self, connection: Connection, name: str, path: str) -> None:
        self.connection, self.name, self.path = connection, name, path

    def open(self, conn: Any) -> Any:
        """The running virStoragePool."""
        try:
            pool = conn.storagePoolLookupByName(self.name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_POOL:
                raise
            pool = self._define(conn)
        if not pool.isActive():
            pool.build(0)
            with unless(libvirt.VIR_ERR_OPERATION_INVALID):  # another thread was first
                pool.create(0)
        return pool

    def _define(self, conn: Any) -> Any:
        permissions = element("permissions", element("mode", DIRECTORY_MODE))
        target = element("target", element("path", self.path), permissions)
        pool = conn.storagePoolDefineXML(to_text(element("pool", element("name", self.name), target, type="dir")), 0)
        pool.setAutostart(1)
        return pool

    def check_path(self) -> None:
        """Raises HypervisorError when a pool of our name, made by another, lies elsewhere."""
        with self.connection.use(f"opening the pool {self.name}") as conn:
            found = parse(self.open(conn).XMLDesc(0)).findtext("target/path")
        if found and os.path.normpath(found) != os.path.normpath(self.path):
            raise HypervisorError(f"libvirt's pool {self.name} is at {found}, not at {self.path}")

    def names(self, conn: Any) -> list[str]:
        """The names of all volumes."""
        return [str(volume.name()) for volume in self.open(conn).listAllVolumes(0)]

    def find(self, conn: Any, name: str) -> Any | None:
        """The virStorageVol, where there is one."""
        try:
            return self.open(conn).storageVolLookupByName(name)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_STORAGE_VOL:
                raise
            return None

    def create(self, conn: Any, name: str, capacity: int, kind: str = "raw", base: Base | None = None) -> Any:
        """A new sparse volume of `capacity` bytes, a qcow2 overlay where it has a base."""
        backing = None
        if base is not None:
            path = element("path", f"{self.path}/{base.name}")
            backing = element("backingStore", path, element("format", type=base.format))
        return self.open(conn).createXML(to_text(volume_definition(name, capacity, kind, backing)), 0)

    def delete(self, conn: Any, name: str) -> None:
        """No volume of that name any more."""
        volume = self.find(conn, name)
        if volume is not None:
            with unless(libvirt.VIR_ERR_NO_STORAGE_VOL):
                when_free(lambda: volume.delete(0))

    def refresh(self, conn: Any) -> None:
        """Make libvirt look at the directory again."""
        when_free(lambda: self.open(conn).refresh(0))

    def look(self, conn: Any) -> None:
        """The same; but while libvirt writes there itself, what it knows must do."""
        try:
            self.open(conn).refresh(0)
        except libvirt.libvirtError as error:
            if not STORAGE_BUSY.search(str(error)):
                raise


class SharedPool(Pool):
    """A directory that other hosts write to as well: libvirt looks at it anew each time."""

    def names(self, conn: Any) -> list[str]:
        """The names of all volumes, also other hosts'."""
        self.look(conn)
        return super().names(conn)

    def find(self, conn: Any, name: str) -> Any | None:
        """The virStorageVol, where there is one now."""
        self.look(conn)
        return super().find(conn, name)


def volume_definition(name: str, capacity: int, kind: str, backing: Element | None = None) -> Element:
    """The description of a sparse volume of `capacity` bytes."""
    return element(
        "volume",
        element("name", name),
        element("capacity", capacity, unit="bytes"),
        element("allocation", 0),
        element("target", element("format", type=kind)),
        backing,
    )


def when_free(action: Callable[[], Any]) -> Any:
    """Do what libvirt refuses while it is busy with the same pool or volume; it tells only by the words."""
    deadline = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            return action()
        except libvirt.libvirtError as error:
            if not STORAGE_BUSY.search(str(error)) or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


def upload(conn: Any, volume: Any, size: int, chunks: Iterable[bytes]) -> int:
    """Write the chunks to a volume; how many bytes they were. More than `size` end it at once."""
    stream = conn.newStream(0)
    volume.upload(stream, 0, size, 0)
    sent = 0
    try:
        for chunk in chunks:
            sent += len(chunk)
            if sent > size:
                break
            view = memoryview(chunk)
            while view:
                view = view[stream.send(bytes(view[:PIECE])) :]
    except BaseException:
        _abort(stream)
        raise
    if sent != size:
        _abort(stream)
    else:
        stream.finish()
    return sent


def download(conn: Any, volume: Any, offset: int, length: int) -> bytes:
    """`length` bytes of a volume from `offset`; fewer where it ends before."""
    stream = conn.newStream(0)
    volume.download(stream, offset, length, 0)
    pieces: list[bytes] = []
    try:
        while piece := stream.recv(PIECE):
            pieces.append(piece)
    except BaseException:
        _abort(stream)
        raise
    stream.finish()
    return b"".join(pieces)


def pieces(conn: Any, volume: Any) -> Iterator[bytes]:
    """All of a volume's file, a piece a time."""
    stream = conn.newStream(0)
    volume.download(stream, 0, 0, 0)
    try:
        while piece := stream.recv(PIECE):
            yield piece
    except BaseException:
        _abort(stream)
        raise
    stream.finish()


def _abort(stream: Any) -> None:
    try:
        stream.abort()
    except libvirt.libvirtError:
        return  # with its connection


def volume_size(volume: Any) -> int:
    """Bytes of the volume's file."""
    return int(volume.infoFlags(libvirt.VIR_STORAGE_VOL_GET_PHYSICAL)[2])


class Disks:
    """The pool of guests' disks, their bases and their config drives."""

    def __init__(self, connection: Connection, pool: Pool, shared: SharedPool | None = None) -> None:
        self._connection, self._pool, self._shared = connection, pool, shared
        self._locks_lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    def _at(self, name: str) -> Pool:
        """The pool that a volume of that name is in."""
        return self._shared if self._shared and name.startswith(images.SHARED_NAMES) else self._pool

    def path(self, name: str) -> str:
        """Where a volume's file is."""
        return f"{self._at(name).path}/{name}"

    def _lock(self, name: str) -> threading.Lock:
        """One upload of a base at a time; the others wait and then find it."""
        with self._locks_lock:
            return self._locks.setdefault(name, threading.Lock())

    def ensure_base(self, name: str, image_format: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """See Hypervisor.ensure_base."""
        images.check_name(name)
        with self._lock(name):
            with self._connection.use(f"looking for the image {name}") as conn:
                self._let_others_end(conn, name, size)
                if self._whole(conn, name, size):
                    return
            head, stream = images.split_head(chunks())
            info = images.check_image(name, image_format, size, head)
            with self._connection.use(f"uploading the image {name}") as conn:
                self._forget(conn, name)
                self._upload(conn, name, size, stream)
                self._pool.create(conn, Base(name, info.format, info.virtual_size).marker, 0)

    def _upload(self, conn: Any, name: str, size: int, chunks: Iterable[bytes]) -> None:
        """The volume `name` holds exactly these `size` bytes, or is not there."""
        volume = self._at(name).create(conn, name, size)
        try:
            sent = upload(conn, volume, size, chunks)
        except BaseException:
            if conn.isAlive():
                self._at(name).delete(conn, name)
            raise
        if sent != size:
            self._at(name).delete(conn, name)
            raise HypervisorError(
                f"volume {name}: got {'more than ' if sent > size else ''}{min(sent, size)} bytes of {size}"
            )

    def _let_others_end(self, conn: Any, name: str, size: int) -> None:
        """Another host may be writing the same image to storage that both have: wait for as long as it grows."""
        seen = -1
        while isinstance(self._pool, SharedPool) and not self._whole(conn, name, size):
            volume = self._pool.find(conn, name)
            written = int(volume.info()[2]) if volume is not None else seen
            if written == seen:
                return
            seen = written
            time.sleep(_OTHERS_SECONDS)

    def _whole(self, conn: Any, name: str, size: int) -> bool:
        base = self._base(conn, name)
        volume = self._at(name).find(conn, name)
        if base is None or volume is None:
            return False
        # The size too, since a power cut may take a file's end and leave the marker.
        with unless(libvirt.VIR_ERR_NO_STORAGE_VOL):  # somebody removed the file, and the pool has not looked since
            return volume_size(volume) == size
        return False

    def _base(self, conn: Any, name: str) -> Base | None:
        for each in self._pool.names(conn):
            found = _MARKER.fullmatch(each)
            if found and found["name"] == name:
                return Base(name, found["format"], int(found["virtual"]))
        return None

    def _forget(self, conn: Any, name: str) -> None:
        base = self._base(conn, name)
        if base:
            self._pool.delete(conn, base.marker)
        self._at(name).delete(conn, name)

    def ensure_disk(self, name: str, size_gb: int, base: str | None) -> None:
        """See Hypervisor.ensure_disk."""
        images.check_name(name)
        with self._connection.use(f"making the disk {name}") as conn:
            below = self._base(conn, base) if base else None
            if base and (below is None or self._pool.find(conn, base) is None):
                raise HypervisorError(f"disk {name}: there is no image {base} on the host")
            size = images.disk_bytes(name, size_gb, below.virtual_size if below else None)
            volume = self._at(name).find(conn, name)
            if volume is not None and _is_qcow2(volume):
                return
            if volume is not None:  # cut short while it was being made
                self._at(name).delete(conn, name)
            self._at(name).create(conn, name, -(-size // 512) * 512, "qcow2", below)

    def ensure_iso(self, name: str, content: bytes) -> None:
        """See Hypervisor.ensure_iso."""
        images.check_name(name)
        with self._connection.use(f"writing {name}") as conn:
            volume = self._at(name).find(conn, name)
            if volume is not None:
                size = volume_size(volume)
                if size == len(content) and download(conn, volume, 0, size) == content:
                    return
                self._at(name).delete(conn, name)
            self._upload(conn, name, len(content), [content])

    def remove(self, prefix: str) -> None:
        """See Hypervisor.remove_volumes."""
        images.check_name(prefix)
        with self._connection.use(f"removing the volumes {prefix}*") as conn:
            doomed = [name for name in self._at(prefix).names(conn) if name.startswith(prefix)]
            for name in sorted(doomed, key=lambda each: not _MARKER.fullmatch(each)):  # a base without it is none
                self._at(name).delete(conn, name)

    def remove_one(self, name: str) -> None:
        """See Hypervisor.remove_volume."""
        images.check_name(name)
        with self._connection.use(f"removing the volume {name}") as conn:
            self._at(name).delete(conn, name)

    def grow(self, name: str, size_gb: int) -> None:
        """See Hypervisor.resize_disk."""
        with self._connection.use(f"growing {name}") as conn:
            volume = self._found(conn, name)
            if int(volume.info()[1]) < size_gb * images.GIB:
                when_free(lambda: volume.resize(size_gb * images.GIB, 0))

    def copy(self, name: str, copy: str) -> None:
        """A flat copy of a disk that nobody writes to (see Hypervisor.snapshot)."""
        images.check_name(copy)
        with self._connection.use(f"copying {name}") as conn:
            volume = self._found(conn, name)
            self._at(copy).delete(conn, copy)
            definition = to_text(volume_definition(copy, int(volume.info()[1]), "qcow2"))
            when_free(lambda: self._at(copy).open(conn).createXMLFrom(definition, volume, 0))

    def make_like(self, name: str, copy: str) -> str:
        """An empty disk of the size of the disk `name`; its path."""
        images.check_name(copy)
        with self._connection.use(f"making a disk like {name}") as conn:
            size = int(self._found(conn, name).info()[1])
            self._at(copy).delete(conn, copy)
            self._at(copy).create(conn, copy, size, "qcow2")
        return self.path(copy)

    def read(self, name: str) -> Iterator[bytes]:
        """See Hypervisor.read_volume."""
        with self._connection.use(f"reading {name}") as conn:
            yield from pieces(conn, self._found(conn, name))

    def identity(self) -> str:
        """Whose storage this is: the same on hosts that share it. An empty volume says it, made where there is none.

        Of two that make one at once, both take the first by name.
        """
        with self._connection.use("looking whose storage this is") as conn:
            self._pool.refresh(conn)
            if not any(_IDENTITY.fullmatch(name) for name in self._pool.names(conn)):
                self._pool.create(conn, f"pool_{uuid.uuid4()}", 0)
                self._pool.refresh(conn)
            return min(name for name in self._pool.names(conn) if _IDENTITY.fullmatch(name)).removeprefix("pool_")

    def receive(self, there: Connection, volume: str, name: str) -> None:
        """See Hypervisor.receive_volume; `there` is the other libvirtd."""
        images.check_name(name)
        pool = Pool(there, self._pool.name, "")
        with there.use(f"reading {volume}") as source, self._connection.use(f"writing {name}") as conn:
            pool.refresh(source)
            found = pool.find(source, volume)
            if found is None:
                raise HypervisorError(f"there is no volume {volume}")
            size = volume_size(found)
            self._pool.delete(conn, name)
            self._upload(conn, name, size, pieces(source, found))
            self._pool.refresh(conn)  # it is a qcow2 now

    def receive_blank(self, there: Connection, name: str) -> None:
        """See Hypervisor.receive_blank."""
        images.check_name(name)
        pool = Pool(there, self._pool.name, "")
        with there.use(f"looking at {name}") as source:
            found = pool.find(source, name)
            if found is None:
                raise HypervisorError(f"there is no volume {name}")
            size = int(found.info()[1])
        with self._connection.use(f"making {name}") as conn:
            self._pool.delete(conn, name)
            self._pool.create(conn, name, size, "qcow2")

    def _found(self, conn: Any, name: str) -> Any:
        volume = self._at(name).find(conn, name)
        if volume is None:
            self._at(name).refresh(conn)  # another host's that shares the directory
            volume = self._at(name).find(conn, name)
        if volume is None:
            raise HypervisorError(f"there is no volume {name}")
        return volume

    def names(self) -> list[str]:
        """See Hypervisor.list_volumes."""
        with self._connection.use("listing volumes") as conn:
            self._pool.look(conn)  # what somebody removed by hand is not there
            found = self._pool.names(conn) + (self._shared.names(conn) if self._shared else [])
            return sorted(name for name in found if not _MARKER.fullmatch(name) and not _IDENTITY.fullmatch(name))

    def virtual_size(self, name: str) -> int:
        """See Hypervisor.virtual_size."""
        with self._connection.use(f"looking at {name}") as conn:
            volume = self._found(conn, name)
            base = self._base(conn, name)
            return base.virtual_size if base else int(volume.info()[1])

    def capacity_gb(self) -> int:
        """The size of the file system the pool is on, in GiB."""
        with self._connection.use("looking at the pool") as conn:
            return int(self._pool.open(conn).info()[1]) // images.GIB


def _is_qcow2(volume: Any) -> bool:
    kind = parse(volume.XMLDesc(0)).find("target/format")
    return kind is not None and kind.get("type") == "qcow2" and int(volume.info()[1]) > 0
