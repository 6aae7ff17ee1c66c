# SPDX-License-Identifier: Apache-2.0
"""What may be kept as an image: no reference to another file, whatever it is called."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from computeapi.virt import images
from computeapi.virt.base import HypervisorError
from tests.virt.specs import qcow2_header


def test_formats() -> None:
    assert images.check_image("i", "raw", 513, b"anything").virtual_size == 513
    assert images.check_image("i", "iso", 2048, b"").format == "raw"
    assert images.check_image("i", "qcow2", 512, qcow2_header(size=1 << 30)).virtual_size == 1 << 30
    assert images.check_image("i", "qcow2", 512, qcow2_header(version=2)).format == "qcow2"


@pytest.mark.parametrize(
    ("image_format", "head", "words"),
    [
        ("qcow2", qcow2_header(backing=b"/etc/shadow"), "backing file '/etc/shadow'"),
        ("qcow2", qcow2_header(version=2, backing=b'json:{"driver": "nbd"}'), "backing file"),
        ("qcow2", qcow2_header(features=0b100), "data file"),
        ("qcow2", qcow2_header(features=1 << 40), "unknown qcow2 features"),
        ("qcow2", qcow2_header(encryption=2), "encrypted"),
        ("qcow2", qcow2_header(version=4), "version 4"),
        ("qcow2", qcow2_header(size=2**63), "no disk is that large"),
        ("qcow2", qcow2_header()[:60], "cut short"),
        ("qcow2", b"", "not in the qcow2 format"),
        ("qcow2", b"# VMDK", "not in the qcow2 format"),
        ("vmdk", b"KDMV", "'vmdk' is not supported"),
    ],
)
def test_refused(image_format: str, head: bytes, words: str) -> None:
    with pytest.raises(HypervisorError, match="image my-image: ") as caught:
        images.check_image("my-image", image_format, len(head), head)
    assert words in str(caught.value)


@pytest.mark.skipif(not shutil.which("qemu-img"), reason="no qemu-img here")
def test_images_that_qemu_made(tmp_path: Path) -> None:
    def create(name: str, *options: str) -> bytes:
        path = tmp_path / name
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(path), "8M"], check=True)
        return path.read_bytes()[: images.HEADER_BYTES]

    assert images.check_image("plain", "qcow2", 1, create("plain")).virtual_size == 8 << 20
    assert images.check_image("old", "qcow2", 1, create("old", "-o", "compat=0.10")).virtual_size == 8 << 20
    assert images.check_image("zstd", "qcow2", 1, create("zstd", "-o", "compression_type=zstd")).format == "qcow2"
    assert images.check_image("l2", "qcow2", 1, create("l2", "-o", "extended_l2=on")).format == "qcow2"
    backed = create("backed", "-b", str(tmp_path / "plain"), "-F", "qcow2")
    with pytest.raises(HypervisorError, match=r"backing file .*plain"):
        images.check_image("backed", "qcow2", 1, backed)
    outside = create("outside", "-o", f"data_file={tmp_path / 'data'}")
    with pytest.raises(HypervisorError, match="data file"):
        images.check_image("outside", "qcow2", 1, outside)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "-rf", "a b", "a\n", "a\0b", "ü", "x" * 256]
)
def test_names_that_could_leave_the_pool(name: str) -> None:
    with pytest.raises(HypervisorError, match="volume name"):
        images.check_name(name)


def test_split_head() -> None:
    pieces = [b"a" * 40_000, b"b" * 40_000, b"c" * 40_000]
    head, stream = images.split_head(iter(pieces))
    assert head == (pieces[0] + pieces[1])[: images.HEADER_BYTES]
    assert list(stream) == pieces
    head, stream = images.split_head(iter([b"x"]))
    assert (head, list(stream)) == (b"x", [b"x"])


def test_disk_bytes() -> None:
    assert images.disk_bytes("d", 0, 12345) == 12345
    assert images.disk_bytes("d", 2, 1 << 30) == 2 << 30
    with pytest.raises(HypervisorError, match="more than 1 GiB"):
        images.disk_bytes("d", 1, (1 << 30) + 1)
    with pytest.raises(HypervisorError, match="neither a size nor a base"):
        images.disk_bytes("d", 0, None)
