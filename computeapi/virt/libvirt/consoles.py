# SPDX-License-Identifier: Apache-2.0
"""A guest's consoles, through libvirt: no port and no socket of theirs is open on the host.

A screen is a socket that libvirt makes QEMU take for a client's (virDomainOpenGraphicsFD): it goes on where libvirtd is
restarted. The serial port is a stream of libvirt's, carried into a socket by two threads.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
from typing import Any

import libvirt

LOG = logging.getLogger(__name__)
_PIECE = 65536


def open_screen(domain: Any, index: int) -> socket.socket:
    """The `index`th of its <graphics>. Its access is asked for by whoever calls us, so QEMU asks for no password."""
    return socket.socket(fileno=domain.openGraphicsFD(index, libvirt.VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH))


def open_serial(domain: Any) -> socket.socket:
    """Its first serial port. FORCE: whoever had it before, a browser's window left open perhaps, loses it."""
    stream = domain.connect().newStream(0)
    domain.openConsole(None, stream, libvirt.VIR_DOMAIN_CONSOLE_FORCE)
    near, far = socket.socketpair()
    for carry in (_to_guest, _from_guest):
        threading.Thread(target=carry, args=(stream, far), name="serial-console", daemon=True).start()
    return near


def _to_guest(stream: Any, far: socket.socket) -> None:
    try:
        while piece := far.recv(_PIECE):
            while piece:
                piece = piece[max(0, stream.send(piece)) :]
    except (OSError, libvirt.libvirtError) as error:
        LOG.debug("a serial console: %s", error)
    finally:
        _end(stream, far)


def _from_guest(stream: Any, far: socket.socket) -> None:
    try:
        while piece := stream.recv(_PIECE):
            far.sendall(piece)
    except (OSError, libvirt.libvirtError) as error:
        LOG.debug("a serial console: %s", error)
    finally:
        _end(stream, far)


def _end(stream: Any, far: socket.socket) -> None:
    """Wakes the other thread, wherever it waits."""
    with contextlib.suppress(OSError):
        far.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(libvirt.libvirtError):
        stream.abort()
