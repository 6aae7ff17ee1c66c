# SPDX-License-Identifier: Apache-2.0
"""The packages a guest is made of: fetched with apt-get, unpacked without being installed."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

# The meta package of a small kernel for guests: Debian's, then Ubuntu's.
KERNELS = ("linux-image-cloud-amd64", "linux-image-virtual")


class BuildError(Exception):
    """The image can't be built; the message says what to do."""


@dataclass(frozen=True)
class Parts:
    kernel: Path
    modules: Path
    busybox: Path
    agent: Path


def run(*command: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    # mke2fs and others lie where only root's PATH looks.
    environment = {**os.environ, **(env or {})}
    environment["PATH"] += ":/usr/sbin:/sbin"
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True)
    except FileNotFoundError as error:
        raise BuildError(f"{command[0]} is not installed") from error
    except subprocess.CalledProcessError as error:
        shown = " ".join(map(str, command))
        raise BuildError(f"{shown} failed:\n{error.stderr.strip() or error.stdout.strip()}") from error
    return done.stdout


def depends(package: str) -> list[str]:
    lines = run("apt-cache", "depends", "--no-recommends", "--no-suggests", package).splitlines()
    return [line.split(":", 1)[1].strip() for line in lines if line.strip().startswith("Depends:")]


def kernel_packages() -> list[str]:
    """The image, and where the distribution has them apart, the modules that belong to it."""
    for meta in KERNELS:
        if run("apt-cache", "pkgnames", meta).split().count(meta):
            image = next(name for name in depends(meta) if name.startswith("linux-image-"))
            return [image, *(name for name in depends(image) if name.startswith("linux-modules-"))]
    raise BuildError("apt knows no kernel for guests (" + ", ".join(KERNELS) + "); try: apt-get update")


def fetch(directory: Path) -> Parts:
    """Unpack what the image needs under `directory`, and tell where each part lies."""
    downloads, tree = directory / "packages", directory / "tree"
    downloads.mkdir(parents=True, exist_ok=True)
    names = [*kernel_packages(), "busybox-static", "qemu-guest-agent"]
    # Without the option apt warns, as root, that its own user can't write here.
    run("apt-get", "-o", "APT::Sandbox::User=root", "download", "--quiet", *names, cwd=downloads)
    for package in sorted(downloads.glob("*.deb")):
        run("dpkg-deb", "--extract", package, tree)
    return Parts(
        kernel=only(tree, "boot/vmlinuz-*"),
        modules=only(tree, "lib/modules/*", "usr/lib/modules/*"),
        busybox=only(tree, "bin/busybox", "usr/bin/busybox"),
        agent=only(tree, "usr/sbin/qemu-ga", "usr/bin/qemu-ga"),
    )


def only(tree: Path, *patterns: str) -> Path:
    found = [path for pattern in patterns for path in sorted(tree.glob(pattern))]
    if not found:
        raise BuildError(f"no {patterns[0]} in the packages")
    return found[-1]
