# SPDX-License-Identifier: Apache-2.0
"""The parts of `computeapi serve` end with it, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.ops.servers import wait_for

_PART = "import time; from computeapi.supervisor import end_with_parent; end_with_parent(); print('on', flush=True);"
_PART += "time.sleep(60)"
_SERVE = f"""
import os, subprocess, sys
environment = {{**os.environ, "COMPUTEAPI_SERVED_BY": sys.argv[1] or str(os.getpid())}}
part = subprocess.Popen([sys.executable, "-c", {_PART!r}], env=environment, start_new_session=True)
print(part.pid, flush=True)
part.wait()
"""


def served(by: str) -> tuple[subprocess.Popen[str], int]:
    """A process and its part, which runs and was told that it is served by `by` ("": by that process)."""
    serve = subprocess.Popen([sys.executable, "-c", _SERVE, by], stdout=subprocess.PIPE, text=True)
    assert serve.stdout is not None
    part = int(serve.stdout.readline())
    assert serve.stdout.readline() == "on\n"
    return serve, part


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_killed() -> None:
    serve, part = served("")
    serve.kill()
    serve.wait()
    wait_for(lambda: not lives(part), "the part ends")


def test_of_another() -> None:
    """gunicorn's new master (SIGUSR2) has the old one's environment, and is nobody's part."""
    serve, part = served("1")
    try:
        serve.kill()
        serve.wait()
        assert lives(part)
    finally:
        os.kill(part, signal.SIGKILL)
