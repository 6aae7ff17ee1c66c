# SPDX-License-Identifier: Apache-2.0
"""Ports for the servers that tests start."""

from __future__ import annotations

import random
import socket
from contextlib import suppress


def free_port() -> int:
    """A port of the loopback interface that nobody uses now; not one of those that the kernel gives to whoever connects
    to something meanwhile."""
    chosen = random.SystemRandom()
    while True:
        port = chosen.randrange(10_000, 30_000)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
