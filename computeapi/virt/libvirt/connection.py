# SPDX-License-Identifier: Apache-2.0
"""One shared connection to libvirtd that comes back by itself, and libvirt's event loop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import libvirt

from computeapi.virt.base import HypervisorGone
from computeapi.virt.libvirt.errors import translate

LOG = logging.getLogger(__name__)
OPEN_TIMEOUT = 10.0  # seconds; libvirt itself waits for ever on a libvirtd that accepts but does not answer
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

    `on_lost` is called, perhaps more than once and from any thread, when the connection broke. It must not wait.
    """

    def __init__(self, uri: str, on_lost: Callable[[], None] | None = None) -> None:
        self.uri = uri
        self.on_lost = on_lost
        self._lock = threading.Lock()
        self._conn: Any = None
        self._attempt: Attempt | None = None
        self._failed: tuple[float, str] = (0.0, "")  # when the last attempt to connect failed, and why
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
        asked = time.monotonic()
        with self._lock:
            if self._closed:
                raise HypervisorGone(f"the connection to {self.uri} was closed")
            if self._conn is None or not self._conn.isAlive():
                if self._failed[0] > asked:  # while we stood in line
                    raise HypervisorGone(self._failed[1])
                try:
                    self._conn = self._open()
                except HypervisorGone as error:
                    self._failed = (time.monotonic(), str(error))
                    raise
            return self._conn

    def _drop(self, conn: Any) -> None:
        with self._lock:
            if self._conn is conn:
                self._conn = None
        _close_quietly(conn)
        self._say_lost()

    def _open(self) -> Any:
        """A new connection, or HypervisorGone within OPEN_TIMEOUT."""
        start_event_loop()
        if self._attempt is None:
            self._attempt = Attempt(self.uri)
        outcome = self._attempt.wait(OPEN_TIMEOUT)
        if outcome is None:  # the same attempt is waited for the next time
            raise HypervisorGone(f"connecting to {self.uri}: no answer within {OPEN_TIMEOUT:g} s")
        self._attempt = None
        if isinstance(outcome, libvirt.libvirtError):
            words = outcome.get_error_message() or outcome
            raise HypervisorGone(f"connecting to {self.uri}: {words}") from outcome
        conn = outcome
        try:
            conn.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
            conn.registerCloseCallback(self._lost, None)
        except libvirt.libvirtError as error:  # the test driver has neither
            LOG.debug("%s: no keepalive: %s", self.uri, error)
        return conn

    def _lost(self, _conn: Any, _reason: int, _opaque: Any) -> None:
        # In the event loop's thread: it must not wait for our lock. `_get` sees for itself that this one is dead.
        self._say_lost()

    def _say_lost(self) -> None:
        if self.on_lost is not None and not self._closed:
            self.on_lost()


class Attempt:
    """Connecting, in a thread of its own."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._outcome: Any = None
        self._thread = threading.Thread(target=self._run, name="libvirt-open", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._outcome = libvirt.openAuth(self._uri, [[], None, None], 0)
        except libvirt.libvirtError as error:
            self._outcome = error

    def wait(self, seconds: float) -> Any:
        """The virConnect, or libvirt's error; None when there is neither after `seconds`."""
        self._thread.join(seconds)
        return self._outcome


def _close_quietly(conn: Any) -> None:
    try:
        conn.close()
    except libvirt.libvirtError as error:
        LOG.debug("closing a connection: %s", error)
