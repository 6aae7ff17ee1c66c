# SPDX-License-Identifier: Apache-2.0
"""`computeapi serve`: every part of a one-machine cloud as a process of its own, kept alive, ended together."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

LOG = logging.getLogger("computeapi.serve")

_STOP_SECONDS = 40.0
_RESTART_SECONDS = 1.0
_PARENT = "COMPUTEAPI_SERVED_BY"  # tells the parts who started them
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """In a part: end as by SIGTERM when the supervisor that started this process does, also where it was killed."""
    parent = os.environ.pop(_PARENT, "")
    if parent != str(os.getppid()):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if parent != str(os.getppid()):  # it was quicker
        raise SystemExit(1)


class Supervisor:
    """Runs `computeapi <part>` for each part; one that dies is started again."""

    def __init__(self, parts: list[str], log_dir: Path) -> None:
        self._parts = parts
        self._log_dir = log_dir
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._stopping = threading.Event()

    def run(self, ready: Callable[[], None]) -> int:
        """Until SIGINT or SIGTERM. `ready` runs in a thread once all was started."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        for part in self._parts:
            self._start(part)
        threading.Thread(target=ready, name="ready", daemon=True).start()
        while not self._stopping.wait(0.2):
            for part, process in list(self._running.items()):
                if process.poll() is not None:
                    self._died(part, process.returncode)
        return self._stop_all()

    @property
    def ends(self) -> bool:
        """Whether it was told to."""
        return self._stopping.is_set()

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping.set()

    def _start(self, part: str) -> None:
        self._log_dir.mkdir(mode=0o750, parents=True, exist_ok=True)
        environment = {**os.environ, "COMPUTEAPI_LOG_DIR": str(self._log_dir), _PARENT: str(os.getpid())}
        command = [sys.executable, "-m", "computeapi", part]
        with open(self._log_dir / f"{part}.log", "ab") as log:
            # A session of its own: Ctrl-C reaches it through us, once, and in order.
            self._running[part] = subprocess.Popen(
                command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self._started[part] = time.monotonic()

    def _died(self, part: str, code: int) -> None:
        LOG.error("%s ended with code %s (see %s); starting it again", part, code, self._log_dir / f"{part}.log")
        if time.monotonic() - self._started[part] < _RESTART_SECONDS:
            self._stopping.wait(_RESTART_SECONDS)
        if not self._stopping.is_set():
            self._start(part)

    def _stop_all(self) -> int:
        for process in self._running.values():
            process.terminate()
        until = time.monotonic() + _STOP_SECONDS
        for part, process in self._running.items():
            try:
                process.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                LOG.error("%s does not end; killing it (what it was at is taken up at the next start)", part)
                process.kill()
                process.wait()
        return 0
