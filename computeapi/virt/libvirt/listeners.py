# SPDX-License-Identifier: Apache-2.0
"""Sockets in the network namespace of libvirt's networks, each of them for one bridge.

A socket stays in the namespace that it was made in, so that this process serves there without being there. Bound to a
bridge, it hears what comes over that bridge alone and answers there: two networks may have the same addresses.
"""

from __future__ import annotations

import ctypes
import fcntl
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from computeapi.virt.base import HypervisorError

LOG = logging.getLogger(__name__)
Found = TypeVar("Found")
_CLONE_NEWNET = 0x40000000
_SO_BINDTOIFINDEX = 62
_SIOCGSKNS = 0x894C  # a socket's namespace, as a file
_BACKLOG = 64


def enter_and(path: str, action: Callable[[], Found]) -> Found:
    """What `action` comes to in a network namespace, which this thread stays in. Raises HypervisorError."""
    with Path(path).open("rb") as namespace:
        if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
            raise HypervisorError(f"the network namespace {path}: {os.strerror(ctypes.get_errno())}")
    return action()


def listen(bridges: Iterable[str], port: int, known: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
    """See Hypervisor.listen; in the namespace."""
    found: dict[str, socket.socket] = {}
    for bridge in bridges:
        try:
            index = socket.if_nametoindex(bridge)
        except OSError:
            continue  # it is not made yet
        old = known.get(bridge)
        try:
            found[bridge] = old if old is not None and _hears(old, index) else _listener(bridge, port)
        except OSError as error:
            LOG.warning("no metadata over %s: port %d: %s", bridge, port, error)
    return found


def _listener(bridge: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode() + b"\0")
        made.bind(("", port))
        made.listen(_BACKLOG)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


def _hears(known: socket.socket, index: int) -> bool:
    """Whether a socket is bound to that device of this thread's namespace: a bridge may have been made anew."""
    if known.fileno() < 0 or known.getsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX) != index:
        return False
    namespace = fcntl.ioctl(known, _SIOCGSKNS)
    try:
        return os.path.samestat(os.fstat(namespace), Path("/proc/thread-self/ns/net").stat())
    finally:
        os.close(namespace)
