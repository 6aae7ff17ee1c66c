# SPDX-License-Identifier: Apache-2.0
"""What lies in the guest's two file systems: its initramfs and its root."""

import re
from dataclasses import dataclass, field
from pathlib import Path

from computeapi.guest_image.modules import DEVICES, OTHER_DISKS, OTHER_DRIVES, VIRTIO_DISK, Modules
from computeapi.guest_image.packages import BuildError, Parts, run

GUEST_FILES = Path(__file__).with_name("guest")

# Where each of our own files goes in the root file system.
SCRIPTS = {
    "rc": "etc/rc",
    "functions": "etc/functions",
    "watch": "etc/watch",
    "agent": "etc/agent",
    "config-drive": "etc/config-drive",
    "configure": "etc/configure",
    "metadata": "etc/metadata",
    "serial": "etc/serial",
    "user-data": "etc/user-data",
    "udhcpc": "etc/udhcpc",
    "acpi-power": "etc/acpi/PWRF/00000080",
    "shutdown": "sbin/shutdown",
    "chpasswd": "sbin/chpasswd",
    "bash": "bin/bash",
}
PLAIN_FILES = {"inittab": "etc/inittab", "json.awk": "etc/json.awk", "profile": "etc/profile"}
DIRECTORIES = ("config", "data", "dev", "mnt", "proc", "root", "run", "sys", "tmp", "var", "www")


@dataclass
class Tree:
    """Directories, files and symbolic links by path; all belong to root."""

    directories: set[str] = field(default_factory=set)
    files: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def directory(self, path: str) -> None:
        while path and path not in self.directories:
            self.directories.add(path)
            path = path.rpartition("/")[0]

    def file(self, path: str, content: bytes, mode: int = 0o644) -> None:
        self.directory(path.rpartition("/")[0])
        self.files[path] = (mode, content)

    def link(self, path: str, target: str) -> None:
        self.directory(path.rpartition("/")[0])
        self.links[path] = target

    def size(self) -> int:
        return sum(len(content) for _, content in self.files.values())


def initramfs(parts: Parts) -> Tree:
    tree = Tree()
    for directory in ("dev", "proc", "root"):
        tree.directory(directory)
    tree.file("init", (GUEST_FILES / "initramfs-init").read_bytes(), 0o755)
    tree.file("bin/busybox", parts.busybox.read_bytes(), 0o755)
    tree.link("bin/sh", "busybox")
    add_modules(tree, parts, {"virtio": VIRTIO_DISK, "other": OTHER_DISKS})
    return tree


def root(parts: Parts) -> Tree:
    tree = Tree()
    for directory in DIRECTORIES:
        tree.directory(directory)
    for name, path in SCRIPTS.items():
        tree.file(path, (GUEST_FILES / name).read_bytes(), 0o755)
    for name, path in PLAIN_FILES.items():
        tree.file(path, (GUEST_FILES / name).read_bytes())
    tree.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    tree.file("etc/shadow", b"root:*:19000:0:99999:7:::\n", 0o600)
    tree.file("etc/group", b"root:x:0:\n")
    tree.file("etc/securetty", b"ttyS0\ntty1\n" + b"".join(b"pts/%d\n" % number for number in range(10)))
    add_busybox(tree, parts.busybox)
    add_agent(tree, parts.agent)
    add_modules(tree, parts, {"first": DEVICES, "later": OTHER_DRIVES})
    return tree


def add_modules(tree: Tree, parts: Parts, lists: dict[str, tuple[str, ...]]) -> None:
    """Each list becomes a file of names in the order to load them, beside the modules themselves."""
    modules = Modules(parts.modules)
    added: list[str] = []
    for list_name, names in lists.items():
        order = [name for name in modules.in_load_order(names) if name not in added]
        added += order
        tree.file(f"modules/{list_name}", "\n".join(order).encode() + b"\n")
        for name in order:
            tree.file(f"modules/{name}.ko", modules.read(name))


def add_busybox(tree: Tree, busybox: Path) -> None:
    tree.file("bin/busybox", busybox.read_bytes(), 0o755)
    for applet in run(busybox, "--list").split():
        if f"bin/{applet}" not in tree.files:
            tree.link(f"bin/{applet}", "busybox")
    for name in ("init", "reboot", "poweroff", "halt"):
        tree.link(f"sbin/{name}", "../bin/busybox")
    for path in ("usr/bin", "usr/sbin"):
        tree.link(path, f"../{path.removeprefix('usr/')}")
    tree.link("var/run", "../run")
    tree.link("var/log", "../run")


def add_agent(tree: Tree, agent: Path) -> None:
    """qemu-ga with the shared libraries it names, taken from this machine (QEMU itself needs the same)."""
    tree.file("bin/qemu-ga", agent.read_bytes(), 0o755)
    for line in run("ldd", agent).splitlines():
        if "not found" in line:
            raise BuildError(f"a library of the guest agent is missing on this machine: {line.strip()}")
        match = re.search(r"(/\S+) \(", line)
        if match:
            library = Path(match[1])
            directory = "lib64" if library.name.startswith("ld-linux") else "lib"
            tree.file(f"{directory}/{library.name}", library.resolve().read_bytes(), 0o755)
