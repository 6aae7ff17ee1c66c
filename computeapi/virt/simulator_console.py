# SPDX-License-Identifier: Apache-2.0
"""The serial console of a guest that is not there: it says so, and gives back what is typed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

_LOOK_SECONDS = 0.2  # between looks whether the "guest" runs


def open_serial(banner: str, runs: Callable[[], bool]) -> socket.socket:
    """The near end; it is closed when `runs()` is not so any more."""
    near, far = socket.socketpair()
    threading.Thread(target=_echo, args=(far, banner, runs), name="simulated-serial", daemon=True).start()
    return near


def _echo(far: socket.socket, banner: str, runs: Callable[[], bool]) -> None:
    with far, contextlib.suppress(OSError):
        far.settimeout(_LOOK_SECONDS)
        far.sendall(banner.encode() + b"\r\n")
        while runs():
            try:
                typed = far.recv(4096)
            except TimeoutError:
                continue
            if not typed:
                return
            far.sendall(typed.replace(b"\r", b"\r\n"))
