# SPDX-License-Identifier: Apache-2.0
"""One shared connection to libvirtd that comes back by itself, and libvirt's event loop."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from computeapi.virt.base import HypervisorGone
from computeapi.virt.libvirt.errors import translate

LOG = logging.getLogger(__name__)
OPEN_TIMEOUT = 15.0  # seconds; libvirt itself waits for ever on a libvirtd that accepts but does not answer
KEEPALIVE_INTERVAL = 3  # seconds between probes of an idle connection
KEEPALIVE_COUNT = 3  # unanswered probes until it counts as dead

_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


def start_event_loop() -> None:
    """Run libvirt's event loop in a thread of this process. It has to be there before the first connection."""
    global _loop
    with _loop_lock:
        if _loop is None:
            libvirt.registerErrorHandler(_say_nothing, None)
            libvirt.virEventRegisterDefaultImpl()
            _loop = threading.Thread(target=_run_event_loop, name="libvirt-events", daemon=True)
            _loop.start()


def _run_event_loop() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError as error:
            LOG.warning("libvirt's event loop: %s", error)


def _say_nothing(_context: Any, _error: Any) -> None:
    """libvirt prints every error to stderr unless told otherwise; ours are raised."""


class Connection:
    """libvirtd at `uri`, opened at first use and again after it was lost.

    `on_lost` is called, from the event loop's thread, when the connection broke.
    """

    def __init__(self, uri: str, on_lost: Callable[[], None] | None = None) -> None:
        self.uri = uri
        self.on_lost = on_lost
        self._lock = threading.Lock()
        self._conn: Any = None
        self._closed = False

    @contextmanager
    def use(self, what: str) -> Iterator[Any]:
        """The open virConnect. libvirt's errors raised inside leave as ours, saying that `what` was being done.

        Raises HypervisorGone when libvirtd does not answer.
        """
        conn = None
        try:
            conn = self._get()
            yield conn
        except libvirt.libvirtError as error:
            ours = translate(error, what)
            if isinstance(ours, HypervisorGone) and conn is not None:
                self._drop(conn)
            raise ours from error

    def close(self) -> None:
        """Close for good: `use` raises HypervisorGone from now on."""
        with self._lock:
            self._closed = True
            conn, self._conn = self._conn, None
        if conn is not None:
            _close_quietly(conn)

    def _get(self) -> Any:
        with self._lock:
            if self._closed:
                raise HypervisorGone(f"the connection to {self.uri} was closed")
            if self._conn is None or not self._conn.isAlive():
                self._conn = self._open()
            return self._conn

    def _drop(self, conn: Any) -> None:
        with self._lock:
            if self._conn is conn:
                self._conn = None
        _close_quietly(conn)

    def _open(self) -> Any:
        """A new connection, or HypervisorGone within OPEN_TIMEOUT."""
        start_event_loop()
        outcome: list[Any] = []

        def attempt() -> None:
            try:
                outcome.append(libvirt.openAuth(self.uri, [[], None, None], 0))
            except libvirt.libvirtError as error:
                outcome.append(error)

        thread = threading.Thread(target=attempt, name="libvirt-open", daemon=True)
        thread.start()
        thread.join(OPEN_TIMEOUT)
        if not outcome:
            raise HypervisorGone(f"connecting to {self.uri}: no answer within {OPEN_TIMEOUT:g} s")
        if isinstance(outcome[0], libvirt.libvirtError):
            words = outcome[0].get_error_message() or outcome[0]
            raise HypervisorGone(f"connecting to {self.uri}: {words}") from outcome[0]
        conn = outcome[0]
        try:
            conn.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
            conn.registerCloseCallback(self._lost, None)
        except libvirt.libvirtError as error:  # the test driver has neither
            LOG.debug("%s: no keepalive: %s", self.uri, error)
        return conn

    def _lost(self, conn: Any, _reason: int, _opaque: Any) -> None:
        with self._lock:
            if self._conn is conn:
                self._conn = None
        if self.on_lost is not None and not self._closed:
            self.on_lost()


def _close_quietly(conn: Any) -> None:
    try:
        conn.close()
    except libvirt.libvirtError as error:
        LOG.debug("closing a connection: %s", error)
