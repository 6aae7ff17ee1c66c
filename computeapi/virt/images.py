# SPDX-License-Identifier: Apache-2.0
"""What may be kept as a disk image, judged by its first bytes; and what a volume may be called.

An image is the word of whoever uploaded it. A qcow2 file may name another file as its backing or data file, and QEMU
would then read that file of the host into the guest, so such an image is refused before any tool opens it. Field
offsets are those of QEMU's docs/interop/qcow2.txt.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from computeapi.virt.base import HypervisorError

GIB = 1024**3
QCOW2_MAGIC = b"QFI\xfb"
#: How much of an image's beginning `check_image` wants to see: the header, its extensions, a backing file's name.
HEADER_BYTES = 64 * 1024
RAW_FORMATS = frozenset({"raw", "iso"})

#: How the names of what hosts may share begin: volumes and their snapshots.
SHARED_NAMES = ("volume-", "snapshot-")

_HEADER = struct.Struct(">4sIQIIQI")  # magic, version, backing offset, backing length, cluster bits, size, encryption
_INCOMPATIBLE = struct.Struct(">Q")
_INCOMPATIBLE_AT = 72
_MOST = 2**63 - 512  # bytes of a disk: QEMU's limit, and what databases' integers hold
_KNOWN_FEATURES = 0b11011  # dirty, corrupt, compression type, extended L2 entries
_DATA_FILE = 0b00100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What an image's first bytes say of it. `virtual_size` is in bytes."""

    format: str  # "qcow2" | "raw"
    virtual_size: int


def check_name(name: str) -> str:
    """`name`, if it may be a volume's. Raises HypervisorError for anything that could leave the pool's directory."""
    if not _NAME.fullmatch(name):
        raise HypervisorError(f"volume name {name!r} is not letters, digits, '.', '_' and '-'")
    return name


def check_image(name: str, image_format: str, size: int, head: bytes) -> ImageInfo:
    """What the image `name` of `size` bytes is, from its first HEADER_BYTES (or all of it, if it is shorter).

    Raises HypervisorError for a format other than qcow2 and raw, for a qcow2 that is not one, and for one that
    refers to another file.
    """
    if image_format in RAW_FORMATS:
        return ImageInfo("raw", size)
    if image_format != "qcow2":
        raise HypervisorError(f"image {name}: disk format {image_format!r} is not supported, only qcow2 and raw")
    if len(head) < _HEADER.size or not head.startswith(QCOW2_MAGIC):
        raise HypervisorError(f"image {name}: is not in the qcow2 format")
    _, version, backing_at, backing_length, _, virtual_size, encryption = _HEADER.unpack_from(head)
    if version not in (2, 3):
        raise HypervisorError(f"image {name}: qcow2 version {version} is not supported")
    if backing_at:
        backing = head[backing_at : backing_at + min(backing_length, 1023)].decode("utf-8", "replace")
        raise HypervisorError(f"image {name}: refers to a backing file {backing!r}, which is not allowed")
    if virtual_size > _MOST:
        raise HypervisorError(f"image {name}: says {virtual_size} bytes of itself, and no disk is that large")
    if encryption:
        raise HypervisorError(f"image {name}: is encrypted, which is not supported")
    _check_features(name, version, head)
    return ImageInfo("qcow2", virtual_size)


def _check_features(name: str, version: int, head: bytes) -> None:
    if version < 3:
        return
    if len(head) < _INCOMPATIBLE_AT + _INCOMPATIBLE.size:
        raise HypervisorError(f"image {name}: its qcow2 header is cut short")
    (features,) = _INCOMPATIBLE.unpack_from(head, _INCOMPATIBLE_AT)
    if features & _DATA_FILE:
        raise HypervisorError(f"image {name}: refers to an external data file, which is not allowed")
    if features & ~_KNOWN_FEATURES:
        raise HypervisorError(f"image {name}: has unknown qcow2 features {features & ~_KNOWN_FEATURES:#x}")


def empty_qcow2(virtual_size: int) -> bytes:
    """A qcow2 (version 2) image of an empty disk of that many bytes: header, refcounts and an L1 table of holes."""
    cluster = 1 << 16
    tables = max(1, -(-virtual_size // (cluster // 8 * cluster)))  # of level 2
    l1_clusters = -(-tables * 8 // cluster)
    used = 3 + l1_clusters
    header = _HEADER.pack(QCOW2_MAGIC, 2, 0, 0, 16, virtual_size, 0)
    header += struct.pack(">IQQIIQ", tables, 3 * cluster, cluster, 1, 0, 0)
    refcounts = struct.pack(">Q", 2 * cluster)
    blocks = struct.pack(">H", 1) * used
    parts = (header, refcounts, blocks, b"".ljust(l1_clusters * cluster, b"\0"))
    return b"".join(part.ljust(cluster, b"\0") for part in parts)


def split_head(chunks: Iterator[bytes]) -> tuple[bytes, Iterator[bytes]]:
    """The first HEADER_BYTES of a stream (all of a shorter one), and the whole stream again."""
    kept: list[bytes] = []
    seen = 0
    for chunk in chunks:
        kept.append(chunk)
        seen += len(chunk)
        if seen >= HEADER_BYTES:
            break

    def again() -> Iterator[bytes]:
        yield from kept
        kept.clear()
        yield from chunks

    return b"".join(kept)[:HEADER_BYTES], again()


def disk_bytes(name: str, size_gb: int, base_virtual_size: int | None) -> int:
    """How large a disk of `size_gb` GiB (0: as its base) is. Raises HypervisorError when its base is larger."""
    if size_gb == 0:
        if not base_virtual_size:
            raise HypervisorError(f"disk {name}: has neither a size nor a base to take its size from")
        return base_virtual_size
    if base_virtual_size is not None and base_virtual_size > size_gb * GIB:
        raise HypervisorError(f"disk {name}: its base needs {base_virtual_size} bytes, more than {size_gb} GiB")
    return size_gb * GIB
