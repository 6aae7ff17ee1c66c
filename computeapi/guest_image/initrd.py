# SPDX-License-Identifier: Apache-2.0
"""Packs a tree as an initramfs: a gzipped cpio archive of the kind "newc", the same bytes for the same tree."""

import gzip
import io

from computeapi.guest_image.tree import Tree

DIRECTORY, REGULAR, LINK = 0o40000, 0o100000, 0o120000


def pack(tree: Tree) -> bytes:
    entries: dict[str, tuple[int, bytes]] = dict.fromkeys(tree.directories, (DIRECTORY | 0o755, b""))
    entries |= {path: (REGULAR | mode, content) for path, (mode, content) in tree.files.items()}
    entries |= {path: (LINK | 0o777, target.encode()) for path, target in tree.links.items()}
    archive = io.BytesIO()
    # In sorted order a directory comes before what is in it.
    for number, path in enumerate(sorted(entries), start=1):
        _add(archive, number, path, *entries[path])
    _add(archive, 0, "TRAILER!!!", 0, b"")
    return gzip.compress(archive.getvalue(), 9, mtime=0)


def _add(archive: io.BytesIO, number: int, path: str, mode: int, content: bytes) -> None:
    name = path.encode() + b"\0"
    # inode, mode, user, group, links, time, size, device of the file (2), device it is (2), length of the name, sum
    fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
    archive.write(b"070701" + b"".join(b"%08X" % value for value in fields) + name)
    archive.write(b"\0" * (-archive.tell() % 4))
    archive.write(content)
    archive.write(b"\0" * (-archive.tell() % 4))
