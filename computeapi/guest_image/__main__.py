# SPDX-License-Identifier: Apache-2.0
"""python -m computeapi.guest_image --output tiny.qcow2 [--cache DIR]"""

import argparse
import hashlib
import sys
import tempfile
from pathlib import Path

from computeapi.guest_image import disk, initrd, tree
from computeapi.guest_image.packages import BuildError, fetch, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m computeapi.guest_image", description="Build the image `tiny`.")
    parser.add_argument("--output", type=Path, required=True, help="the image to write, a compressed qcow2")
    parser.add_argument(
        "--cache",
        type=Path,
        help="where kernel and initramfs (vmlinuz, initrd.gz) go (default: the output's directory)",
    )
    parser.add_argument("--force", action="store_true", help="build even if nothing has changed")
    parser.add_argument("--check", action="store_true", help="build nothing; fail if there is something to build")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    cache: Path = (options.cache or output.parent).resolve()
    stamp = output.with_name(output.name + ".stamp")
    wanted = recipe()
    made = [output, cache / "vmlinuz", cache / "initrd.gz"]
    if not options.force and all(path.exists() for path in made) and stamp.exists() and stamp.read_text() == wanted:
        return 0
    if options.check:
        return 1
    try:
        build(output, cache)
    except BuildError as error:
        sys.stderr.write(f"cannot build the image: {error}\n")
        return 1
    stamp.write_text(wanted)
    return 0


def recipe() -> str:
    """Says of what program the image is the product: when it changes the image is built anew."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def build(output: Path, cache: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    # In the cache's directory: the last step of each file is a rename, so nobody sees half of one.
    with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as directory:
        work = Path(directory)
        parts = fetch(work)
        kernel, ramdisk = work / "vmlinuz", work / "initrd.gz"
        kernel.write_bytes(parts.kernel.read_bytes())
        ramdisk.write_bytes(initrd.pack(tree.initramfs(parts)))
        disk.build(work / "disk", kernel, ramdisk, tree.root(parts), work)
        image = output.with_name(output.name + ".new")
        run("qemu-img", "convert", "-c", "-f", "raw", "-O", "qcow2", work / "disk", image)
        kernel.replace(cache / kernel.name)
        ramdisk.replace(cache / ramdisk.name)
        image.replace(output)


if __name__ == "__main__":
    sys.exit(main())
