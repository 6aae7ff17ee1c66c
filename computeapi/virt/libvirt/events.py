# SPDX-License-Identifier: Apache-2.0
"""libvirt's word that guests changed, as Events.

libvirt calls back from its event loop's thread, which must not wait. Its calls are put in a queue; a thread of ours
asks what the state now is, and tells those who watch when it is not what they were told before. After a broken
connection it connects again and tells what changed meanwhile.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

import libvirt

from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound, Event, HypervisorError
from computeapi.virt.libvirt.connection import Connection

LOG = logging.getLogger(__name__)
RETRY = 1.0  # seconds between attempts to reach a libvirtd that is down
_LOST, _STOP = "lost", "stop"


class Watcher:
    """Tells `notify` of each change, from a thread of its own, until `close`."""

    def __init__(
        self,
        connection: Connection,
        state: Callable[[str], PowerState],
        states: Callable[[], dict[str, PowerState]],
    ) -> None:
        self._connection, self._state, self._states = connection, state, states
        self._queue: queue.SimpleQueue[tuple[str, bool]] = queue.SimpleQueue()
        self._watchers: list[Callable[[Event], None]] = []
        self._told: dict[str, PowerState] = {}
        self._subscribed: Any = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        connection.on_lost = self._lost

    def add(self, notify: Callable[[Event], None]) -> None:
        """Begin to tell `notify`. Raises HypervisorGone when libvirtd does not answer now."""
        if self._thread is None:
            self._subscribe()
            self._told = self._states()
            self._thread = threading.Thread(target=self._run, name="hypervisor-events", daemon=True)
            self._thread.start()
        self._watchers.append(notify)

    def close(self) -> None:
        """No word any more."""
        self._stopping.set()
        self._queue.put((_STOP, False))
        self._watchers.clear()

    # --- in libvirt's thread ---

    def _lost(self) -> None:
        self._queue.put((_LOST, False))

    def _lifecycle(self, _conn: Any, domain: Any, _event: int, _detail: int, _opaque: Any) -> None:
        self._queue.put((domain.UUIDString(), False))

    def _reboot(self, _conn: Any, domain: Any, _opaque: Any) -> None:
        self._queue.put((domain.UUIDString(), True))

    # --- in ours ---

    def _subscribe(self) -> None:
        with self._connection.use("listening to events") as conn:
            if conn is self._subscribed:
                return
            conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle, None)
            conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT, self._reboot, None)
            self._subscribed = conn

    def _run(self) -> None:
        while not self._stopping.is_set():
            what, rebooted = self._queue.get()
            try:
                if what == _LOST:
                    self._come_back()
                elif what != _STOP:
                    self._look(what, rebooted)
            except HypervisorError as error:
                LOG.warning("could not see what became of a guest: %s", error)

    def _look(self, uuid: str, rebooted: bool) -> None:
        try:
            state = self._state(uuid)
        except DomainNotFound:
            if self._told.pop(uuid, PowerState.SHUTDOWN) in (PowerState.RUNNING, PowerState.PAUSED):
                self._tell(Event(uuid, PowerState.SHUTDOWN))
            return
        if rebooted or self._told.get(uuid) != state:
            self._told[uuid] = state
            self._tell(Event(uuid, state, rebooted))

    def _come_back(self) -> None:
        """Connect again, however long that takes, and tell what changed meanwhile."""
        while not self._stopping.is_set():
            try:
                self._subscribe()
                now = self._states()
            except HypervisorError as error:
                LOG.debug("libvirtd is not back: %s", error)
                self._stopping.wait(RETRY)
                continue
            for uuid in self._told.keys() | now.keys():
                self._look(uuid, False)
            return

    def _tell(self, event: Event) -> None:
        for notify in tuple(self._watchers):
            try:
                notify(event)
            except Exception:
                LOG.exception("guest %s became %s, but that could not be taken in", event.uuid, event.state.name)
