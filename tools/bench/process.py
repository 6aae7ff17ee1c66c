# SPDX-License-Identifier: Apache-2.0
"""The processes that are measured: started with a log of their own, their CPU time read from /proc."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

_TICK = 1000 / os.sysconf("SC_CLK_TCK")  # milliseconds
_START_SECONDS = 30.0
_STOP_SECONDS = 40.0


def free_port() -> int:
    """A port of the loopback address that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@contextmanager
def running(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process, ended with the context (SIGTERM, then SIGKILL)."""
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=file, stderr=file, stdin=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], address: tuple[str, int], log: Path) -> None:
    """Until the process listens. Raises RuntimeError with the end of its log."""
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"it does not listen:\n{log.read_text(errors='replace')[-3000:]}") from None
            time.sleep(0.1)
        else:
            return


def children(pid: int) -> list[int]:
    """The processes that `pid` started and that still are."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parts[2]))
    return found


def cpu_ms(pids: Sequence[int]) -> float:
    """Milliseconds of CPU (user and system) that these processes have used, all their threads together."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total * _TICK
