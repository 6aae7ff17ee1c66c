# SPDX-License-Identifier: Apache-2.0
"""A disk that a BIOS boots: partition 1 is FAT with syslinux, kernel and initramfs, partition 2 is the ext4 root."""

import os
import struct
from pathlib import Path

from computeapi.guest_image.packages import BuildError, run
from computeapi.guest_image.tree import Tree

SECTOR = 512
MIB = 2**20
FIRST_SECTOR = 2048
FREE_SPACE = 16 * MIB  # of the root file system, for what a user writes
EPOCH = "1700000000"  # the time of everything in the image, so that the same parts give the same image
DISK_ID = 0x50524F42
ROOT_UUID = "11111111-2222-3333-4444-555555555555"

# nokaslr: in so little memory there is no choice of places, and the kernel would say so on the screen.
# no_timer_check: on a busy machine without KVM the check of the timer may fail, and the kernel would panic.
KERNEL_OPTIONS = "console=tty0 console=ttyS0 quiet nokaslr no_timer_check"
BOOT_CONFIG = f"""SERIAL 0 115200
DEFAULT tiny
PROMPT 0
LABEL tiny
 KERNEL vmlinuz
 INITRD initrd.gz
 APPEND {KERNEL_OPTIONS}
"""


def build(image: Path, kernel: Path, initrd: Path, root: Tree, work: Path) -> None:
    boot_part, root_part = work / "boot.part", work / "root.part"
    make_boot(boot_part, kernel, initrd, work)
    make_root(root_part, root, work)
    with image.open("wb") as file:
        sectors = [path.stat().st_size // SECTOR for path in (boot_part, root_part)]
        file.write(boot_record(*sectors))
        file.seek(FIRST_SECTOR * SECTOR)
        file.write(boot_part.read_bytes())
        file.write(root_part.read_bytes())
        file.truncate((FIRST_SECTOR * 2 + sum(sectors)) * SECTOR)


def boot_record(boot_sectors: int, root_sectors: int) -> bytes:
    for path in ("/usr/lib/syslinux/mbr/mbr.bin", "/usr/lib/SYSLINUX/mbr.bin"):
        if Path(path).exists():
            code = Path(path).read_bytes()[:440].ljust(440, b"\0")
            break
    else:
        raise BuildError("syslinux's boot record is missing; install the package syslinux-common")

    def entry(flag: int, kind: int, start: int, length: int) -> bytes:
        # Cylinders, heads and sectors are "beyond what can be said": the sector numbers count.
        return struct.pack("<B3sB3sII", flag, b"\xfe\xff\xff", kind, b"\xfe\xff\xff", start, length)

    entries = entry(0x80, 0x06, FIRST_SECTOR, boot_sectors)
    entries += entry(0, 0x83, FIRST_SECTOR + boot_sectors, root_sectors) + bytes(32)
    return code + struct.pack("<IH", DISK_ID, 0) + entries + b"\x55\xaa"


def make_boot(part: Path, kernel: Path, initrd: Path, work: Path) -> None:
    environment = {"SOURCE_DATE_EPOCH": EPOCH, "MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}
    config = work / "syslinux.cfg"
    config.write_text(BOOT_CONFIG)
    size = -(-(kernel.stat().st_size + initrd.stat().st_size + 2 * MIB) // MIB) * MIB
    _empty_file(part, size)
    options = ("-F", "16", "-i", f"{DISK_ID:08x}", "-n", "BOOT", "--invariant", "-h", str(FIRST_SECTOR))
    run("mkfs.fat", *options, part, env=environment)
    for source, name in ((kernel, "vmlinuz"), (initrd, "initrd.gz"), (config, "syslinux.cfg")):
        os.utime(source, (int(EPOCH), int(EPOCH)))
        run("mcopy", "-m", "-i", part, source, f"::/{name}", env=environment)
    run("syslinux", "--install", part, env=environment)


def make_root(part: Path, tree: Tree, work: Path) -> None:
    """Filled by debugfs: it needs no mount, and makes everything root's."""
    environment = {"E2FSPROGS_FAKE_TIME": EPOCH}
    _empty_file(part, -(-(tree.size() * 5 // 4 + FREE_SPACE) // MIB) * MIB)
    options = ("-q", "-t", "ext4", "-b", "1024", "-m", "0", "-L", "tiny", "-U", ROOT_UUID)
    extended = f"hash_seed={ROOT_UUID},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0"
    run("mke2fs", *options, "-E", extended, part, env=environment)
    commands = []
    for path in sorted(tree.directories):
        commands.append(f"mkdir /{path}")
    for number, (path, (mode, content)) in enumerate(sorted(tree.files.items())):
        source = work / f"file{number}"
        source.write_bytes(content)
        commands.append(f"write {source} /{path}")
        commands.append(f"set_inode_field /{path} mode 0{0o100000 | mode:o}")
    commands += [f"symlink /{path} {target}" for path, target in sorted(tree.links.items())]
    fields = [("uid", "0"), ("gid", "0"), *((time, f"@{EPOCH}") for time in ("atime", "ctime", "mtime", "crtime"))]
    for path in sorted([*tree.directories, *tree.files, *tree.links]):
        commands += [f"set_inode_field /{path} {name} {value}" for name, value in fields]
    script = work / "debugfs.script"
    script.write_text("\n".join(commands) + "\n")
    run("debugfs", "-w", "-f", script, part, env=environment)
    run("e2fsck", "-f", "-n", part, env=environment)  # debugfs goes on after an error; this notices


def _empty_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)
