# SPDX-License-Identifier: Apache-2.0
"""gunicorn's worker with threads, whose patience with clients ends.

A thread reads a request as it comes, and there are few of them: some connections that say nothing, or a byte now and
then, would keep them all. So a request has to have come after `seconds`; what is missing then counts as cut short. The
bytes of an image may take as long as they like, if they never pause that long.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from contextlib import suppress
from typing import Any, ClassVar

from gunicorn.workers.gthread import ThreadWorker

_UPLOAD = re.compile(r"/image/v2/images/[^/]+/(file|stage)/?")
_FIRST = 0.1  # seconds that a thread waits for a new connection's first byte; then the worker's poll waits for it


class PatientWorker(ThreadWorker):
    """A worker process."""

    seconds: ClassVar[float] = 30.0

    def init_process(self) -> None:
        """In the new process, before it serves."""
        self._until: dict[socket.socket, float] = {}
        threading.Thread(target=self._watch, name="patience", daemon=True).start()
        super().init_process()

    def handle(self, conn: Any) -> Any:
        """One request of a connection, in a thread of the pool."""
        if not conn.initialized and not conn.data_ready:
            wait = conn.wait_for_data
            conn.wait_for_data = lambda seconds: wait(min(seconds, _FIRST))
        self._until[conn.sock] = time.monotonic() + self.seconds
        try:
            return super().handle(conn)
        finally:
            self._until.pop(conn.sock, None)

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Its head has come."""
        if _UPLOAD.fullmatch(req.path):
            self._until.pop(conn.sock, None)
        conn.sock.settimeout(max(self.seconds, 1.0))  # without a byte, either way
        return super().handle_request(req, conn)

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self.seconds / 2))
            moment = time.monotonic()
            for sock, until in list(self._until.items()):
                if moment > until:
                    self._until.pop(sock, None)
                    with suppress(OSError):  # who reads it is told that there is no more; an answer may still go
                        sock.shutdown(socket.SHUT_RD)
