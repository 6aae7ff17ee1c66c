# SPDX-License-Identifier: Apache-2.0
"""Answers the guests of this host, each with its own: known by the network whose bridge a question came over and by
the address that it came from, which no other interface can send from (virt/libvirt/filters.py). Nothing that a guest
says of itself is believed; there is no X-Forwarded-For and no X-Instance-ID.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from computeapi.compute import guest
from computeapi.compute.metadata import layout
from computeapi.compute.metadata.http import Answer, HttpServer, Request
from computeapi.db.engine import Database
from computeapi.db.queries import server_password
from computeapi.db.queries.interfaces import server_at
from computeapi.db.queries.servers import ServerRow
from computeapi.settings import Settings
from computeapi.virt.base import Hypervisor, HypervisorError
from computeapi.virt.firewall import LocalNetwork

LOG = logging.getLogger("computeapi.metadata")

MAX_PASSWORD = 4 * 255  # bytes, Nova's
_THREADS = 4


class MetadataService:
    """Listens on the bridges that `listen` is told of, as long as the setting has a port for it."""

    def __init__(self, settings: Settings, db: Database, driver: Hypervisor) -> None:
        self._settings, self._db, self._driver = settings, db, driver
        self._pool = ThreadPoolExecutor(_THREADS, "metadata")
        self._server = HttpServer(self._answer_later)
        self._lock = threading.Lock()
        self._closed = False

    def listen(self, networks: Sequence[LocalNetwork]) -> None:
        """These networks are on the host now. Never raises: a guest may be started nevertheless."""
        port = self._settings.metadata_port
        if not port:
            return
        ids = {network.bridge: network.network_id for network in networks if network.cidr}
        with self._lock:
            if self._closed:
                return
            try:
                sockets = self._driver.listen(sorted(ids), port, self._server.known())
                self._server.serve({bridge: (found, ids[bridge]) for bridge, found in sockets.items()})
            except (HypervisorError, OSError, TimeoutError) as error:
                LOG.warning("metadata: %s", error)

    def close(self) -> None:
        """Answer nobody any more."""
        with self._lock:
            self._closed = True
            self._server.close()
            self._pool.shutdown(wait=False, cancel_futures=True)

    async def _answer_later(self, request: Request) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._pool, self.answer, request)

    def answer(self, request: Request) -> Answer:
        """What a guest is told. Never raises."""
        try:
            return self._answer(request)
        except Exception:
            LOG.exception("metadata for %s on %s", request.address, request.network)
            sentence = b"An unknown error has occurred. Please try your request again.\n"
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, sentence)

    def _answer(self, request: Request) -> Answer:
        with self._db.read() as conn:
            server = server_at(conn, request.network, request.address)
        if server is None:
            LOG.info("nobody has the address %s on network %s", request.address, request.network)
            return Answer(HTTPStatus.NOT_FOUND, b"Not Found\n")
        found = layout.lookup(guest.config_data(self._settings, self._db, server, {}), request.path)
        if found is None:
            return Answer(HTTPStatus.NOT_FOUND, b"Not Found\n")
        if isinstance(found, layout.Password):
            return self._password(request, server)
        if request.method not in ("GET", "HEAD"):
            return Answer(HTTPStatus.METHOD_NOT_ALLOWED, b"Method Not Allowed\n")
        return Answer(HTTPStatus.OK, found.body, found.kind)

    def _password(self, request: Request, server: ServerRow) -> Answer:
        """The guest's own password, encrypted for its owner: kept once, until the owner forgets it."""
        if request.method in ("GET", "HEAD"):
            with self._db.read() as conn:
                return Answer(HTTPStatus.OK, server_password.get(conn, server.id).encode())
        if request.method != "POST":
            return Answer(HTTPStatus.BAD_REQUEST, b"GET and POST only are supported.\n")
        if request.body is None or len(request.body) > MAX_PASSWORD:
            return Answer(HTTPStatus.BAD_REQUEST, b"Request is too large.\n")
        try:
            password = request.body.decode("utf-8")
        except UnicodeDecodeError:
            return Answer(HTTPStatus.BAD_REQUEST, b"The password is not text.\n")
        with self._db.write() as conn:
            if not server_password.put_first(conn, server.id, password.replace("\0", "")):
                return Answer(HTTPStatus.CONFLICT, b"Conflict\n")
        return Answer(HTTPStatus.OK)
