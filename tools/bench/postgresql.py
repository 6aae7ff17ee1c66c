# SPDX-License-Identifier: Apache-2.0
"""A PostgreSQL cluster of our own in a directory, on a socket in it and no port: for the benchmark and for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SECONDS = 30.0
_SUPERUSER = "computeapi"


def programs() -> Path | None:
    """The directory of initdb and postgres, the newest there is; None where PostgreSQL is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    elsewhere = shutil.which("initdb")
    return Path(elsewhere).resolve().parent if elsewhere else None


@contextmanager
def cluster(directory: Path, *, durable: bool = False) -> Iterator[str]:
    """Start a new cluster in `directory` (which must not exist); the URL of its database. It ends with the context.

    `durable`: commits reach the disk, as an operator would have it. Root can't run PostgreSQL: the user `postgres`, or
    `nobody`, does then. Raises FileNotFoundError where PostgreSQL is not installed.
    """
    bin_directory = programs()
    if bin_directory is None:
        raise FileNotFoundError("PostgreSQL is not installed (no initdb)")
    owner = _owner()
    directory.mkdir(mode=0o700)
    if owner is not None:
        os.chown(directory, owner, -1)
    data = directory / "data"
    initdb = [f"{bin_directory}/initdb", "-D", str(data), "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--locale=C"]
    subprocess.run([*initdb, "--no-sync"], user=owner, check=True, stdout=subprocess.DEVNULL, cwd=directory)
    options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={directory}", "-c", "max_connections=200"]
    if not durable:
        options += ["-c", "fsync=off", "-c", "synchronous_commit=off"]
    log = (directory / "log").open("wb")
    server = subprocess.Popen(
        [f"{bin_directory}/postgres", "-D", str(data), *options], user=owner, stdout=log, stderr=log, cwd=directory
    )
    try:
        _wait(directory, server, bin_directory)
        yield f"postgresql://{_SUPERUSER}@/postgres?host={directory}"
    finally:
        server.send_signal(signal.SIGINT)  # "fast": ends sessions, then itself
        server.wait(_SECONDS)
        log.close()


def _owner() -> int | None:
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    raise LookupError("neither a user postgres nor nobody")


def _wait(directory: Path, server: subprocess.Popen[bytes], bin_directory: Path) -> None:
    until = time.monotonic() + _SECONDS
    ready = [f"{bin_directory}/pg_isready", "-q", "-h", str(directory), "-U", _SUPERUSER, "-d", "postgres"]
    while subprocess.run(ready, check=False).returncode:
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError((directory / "log").read_text(errors="replace"))
        time.sleep(0.05)
