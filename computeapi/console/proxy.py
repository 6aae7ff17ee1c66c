# SPDX-License-Identifier: Apache-2.0
"""`computeapi console`: on a compute host, takes browsers to the consoles of its guests.

One port for all: GET of a page, or a websocket with a token. A token opens the console it was given for, as often as
it is shown until it ends (computeapi.db.queries.console_tokens). The guest's side is a socket that the hypervisor
hands over, so guests have no ports that others could find.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Sequence
from http import HTTPStatus
from urllib.parse import urlsplit

from websockets import Headers, Subprotocol
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from computeapi.console.access import Refused, check_origin, token_in
from computeapi.console.pages import Pages
from computeapi.db.engine import Database
from computeapi.db.queries import console_tokens
from computeapi.db.queries.console_tokens import Grant
from computeapi.settings import Settings
from computeapi.virt.base import Hypervisor, HypervisorError

LOG = logging.getLogger("computeapi.console")

_PIECE = 65536
_KINDS = {"novnc": "vnc", "xvpvnc": "vnc", "spice-html5": "spice", "serial": "serial"}
# Where websockets are: clients of Nova's proxies ask for the first two, our pages for that of their kind.
_SOCKETS = {"/": None, "/websockify": None, **{f"/websockify/{kind}": kind for kind in ("vnc", "spice", "serial")}}
_GONE = "The console has ended."


class Proxy:
    """The console proxy of the host that the settings name."""

    def __init__(self, settings: Settings, db: Database, driver: Hypervisor) -> None:
        self._db, self._driver, self._host = db, driver, settings.host_name
        self._listen = settings.console_listen
        self._allowed = [name.strip() for name in settings.allowed_origins.split(",") if name.strip()]
        self._scheme = urlsplit(settings.console_url).scheme
        web_dir = settings.console_web_dir or str(settings.state_path / "console-web")
        self._pages = Pages(settings.state_path / web_dir, self._allowed)

    async def run(self) -> None:
        """Serve until SIGINT or SIGTERM."""
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        async with await self.start():
            LOG.info("the console proxy of %s listens on %s", self._host, self._listen)
            await ended.wait()

    async def start(self) -> Server:
        """Listen; close the server to end."""
        host, _, port = self._listen.rpartition(":")
        # The library's own log has tokens, and a line for each port scan.
        quiet = logging.getLogger("computeapi.console.websockets")
        quiet.setLevel(logging.CRITICAL)
        return await serve(
            self._relay,
            host.strip("[]"),
            int(port),
            process_request=self._answer,
            select_subprotocol=_subprotocol,
            compression=None,
            server_header=None,
            logger=quiet,
        )

    async def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        """A page, a refusal, or None: the websocket may begin."""
        try:
            path = urlsplit(request.path).path
        except ValueError:
            return _response(HTTPStatus.BAD_REQUEST)
        if request.method != "GET":
            return _response(HTTPStatus.METHOD_NOT_ALLOWED, {"Allow": "GET"})
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return await self._page(path)
        try:
            connection.grant = await self._admit(path, request)  # type: ignore[attr-defined]
        except Refused as refusal:
            LOG.info("%s: refused: %s", _peer(connection), refusal)
            return _response(HTTPStatus.FORBIDDEN)
        return None

    async def _page(self, path: str) -> Response:
        page = await asyncio.to_thread(self._pages.find, path)
        return _response(HTTPStatus.OK, page[1], page[0]) if page else _response(HTTPStatus.NOT_FOUND)

    async def _admit(self, path: str, request: Request) -> Grant:
        """What the request's token opens. Raises Refused."""
        if path not in _SOCKETS:
            raise Refused("there is no console at this path")
        headers = request.headers
        check_origin(
            headers.get("Origin"),
            headers.get("Host"),
            allowed=self._allowed,
            scheme=self._scheme,
            forwarded=headers.get("X-Forwarded-Proto"),
        )
        token = token_in(request.path, headers.get("Cookie"))
        grant = await asyncio.to_thread(self._find, token)
        if grant is None or grant.host != self._host:
            raise Refused("the token is invalid or has expired")
        if _SOCKETS[path] not in (None, _KINDS.get(grant.console_type)):
            raise Refused(f"the token is for a console of type {grant.console_type}")
        return grant

    def _find(self, token: str) -> Grant | None:
        with self._db.read() as conn:
            return console_tokens.find(conn, token)

    async def _relay(self, connection: ServerConnection) -> None:
        """Carry bytes both ways until either side ends."""
        grant: Grant = connection.grant  # type: ignore[attr-defined]
        who = f"{grant.console_type} console of server {grant.server_uuid} for {_peer(connection)}"
        try:
            console = await asyncio.to_thread(
                self._driver.open_console, grant.server_uuid, _KINDS.get(grant.console_type, "")
            )
        except HypervisorError as error:
            LOG.info("%s: cannot be opened: %s", who, error)
            await connection.close(1011, "The console can't be opened.")
            return
        LOG.info("%s: opened", who)
        try:
            await _carry(connection, console)
        finally:
            LOG.info("%s: closed", who)
        await connection.close(1001, _GONE)


async def _carry(connection: ServerConnection, console: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=console)

    async def to_guest() -> None:
        async for piece in connection:
            writer.write(piece.encode() if isinstance(piece, str) else piece)
            await writer.drain()

    async def from_guest() -> None:
        while piece := await reader.read(_PIECE):
            await connection.send(piece)

    ways = [asyncio.create_task(way()) for way in (to_guest, from_guest)]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        for outcome in await asyncio.gather(*ways, return_exceptions=True):
            if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionClosed | OSError):
                LOG.error("a console broke off", exc_info=outcome)
        writer.close()


def _subprotocol(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """noVNC before 1.0 wants to hear that frames are binary."""
    return next((name for name in offered if name == "binary"), None)


def _response(status: HTTPStatus, headers: dict[str, str] | None = None, body: bytes = b"") -> Response:
    length = {"Content-Length": str(len(body)), "Connection": "close"}
    return Response(status.value, status.phrase, Headers(**length, **(headers or {})), body)


def _peer(connection: ServerConnection) -> str:
    address = connection.remote_address
    return str(address[0]) if address else "a client that is gone"
