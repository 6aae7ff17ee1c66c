# SPDX-License-Identifier: Apache-2.0
"""As much HTTP as guests speak to the metadata service, from sockets that others made: one request a connection.

Guests are strangers. What they send is bounded, in size and in time; so is how often and at how many connections each
of them asks.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

LOG = logging.getLogger("computeapi.metadata")

HEAD_BYTES = 16 * 1024
BODY_BYTES = 64 * 1024
DEADLINE = 10.0  # seconds for a request to come, and for its answer to go
CONNECTIONS, GUEST_CONNECTIONS = 512, 16  # at once
BURST, RATE = 200.0, 20.0  # requests of a guest: at once, and a second
_GUESTS = 4096  # whose requests are counted
_START = 10.0  # seconds


class Request(NamedTuple):
    """What a guest asks. `network` is the one whose bridge it came over, `address` whom it came from."""

    network: str
    address: str
    method: str
    path: str
    body: bytes | None = None  # None: longer than BODY_BYTES


class Answer(NamedTuple):
    """What it is told."""

    status: int
    body: bytes = b""
    kind: str = "text/plain; charset=UTF-8"


class _Refused(Exception):
    """The request is answered with that status at once."""


class Rates:
    """How often each guest asked of late: a bucket that fills by RATE a second up to BURST."""

    def __init__(self) -> None:
        self._left: OrderedDict[tuple[str, str], tuple[float, float]] = OrderedDict()

    def allow(self, guest: tuple[str, str], moment: float) -> bool:
        """Count a request; whether it may be answered."""
        left, since = self._left.pop(guest, (BURST, moment))
        left = min(BURST, left + (moment - since) * RATE)
        allowed = left >= 1.0
        self._left[guest] = (left - 1.0 if allowed else left, moment)
        if len(self._left) > _GUESTS:
            self._left.popitem(last=False)
        return allowed


class HttpServer:
    """Serves from a thread of its own. `answer` may wait (for a database): the caller gives it threads."""

    def __init__(self, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        self._answer = answer
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._servers: dict[str, tuple[socket.socket, asyncio.Server]] = {}
        self._open: Counter[tuple[str, str]] = Counter()
        self._rates = Rates()

    def serve(self, sockets: Mapping[str, tuple[socket.socket, str]]) -> None:
        """From these sockets (by bridge, with the network's id), and no others any more."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="metadata", daemon=True).start()
            asyncio.run_coroutine_threadsafe(self._serve(dict(sockets)), self._loop).result(_START)

    def known(self) -> dict[str, socket.socket]:
        """The sockets that it serves from, by bridge."""
        return {bridge: known for bridge, (known, _) in self._servers.items()}

    def close(self) -> None:
        """Serve from none."""
        with self._lock:
            if self._loop is None:
                return
            asyncio.run_coroutine_threadsafe(self._serve({}), self._loop).result(_START)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._loop = None

    async def _serve(self, sockets: dict[str, tuple[socket.socket, str]]) -> None:
        for bridge, (known, server) in list(self._servers.items()):
            if bridge not in sockets or sockets[bridge][0] is not known:
                del self._servers[bridge]
                server.close()
        for bridge, (wanted, network) in sockets.items():
            if bridge not in self._servers:
                handler = partial(self._connected, network)
                self._servers[bridge] = wanted, await asyncio.start_server(handler, sock=wanted, limit=HEAD_BYTES)

    async def _connected(self, network: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        guest = network, str((writer.get_extra_info("peername") or ("",))[0])
        if self._open.total() >= CONNECTIONS or self._open[guest] >= GUEST_CONNECTIONS:
            writer.transport.abort()
            return
        self._open[guest] += 1
        try:
            head_only, answer = await self._respond(guest, reader)
            async with asyncio.timeout(DEADLINE):
                writer.write(_text(answer, head_only))
                await writer.drain()
                writer.close()
                await writer.wait_closed()
        except (OSError, TimeoutError, EOFError) as error:
            LOG.debug("%s: %s", guest, error or type(error).__name__)
        finally:
            self._open[guest] -= 1
            if not self._open[guest]:
                del self._open[guest]
            writer.transport.abort()

    async def _respond(self, guest: tuple[str, str], reader: asyncio.StreamReader) -> tuple[bool, Answer]:
        try:
            async with asyncio.timeout(DEADLINE):
                request = await _read(guest, reader)
        except _Refused as refusal:
            return False, _plain(refusal.args[0])
        if not self._rates.allow(guest, time.monotonic()):
            return False, _plain(HTTPStatus.TOO_MANY_REQUESTS)
        return request.method == "HEAD", await self._answer(request)


async def _read(guest: tuple[str, str], reader: asyncio.StreamReader) -> Request:
    """The request. Of its headers only the body's length counts: who asks is known from where it came."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.LimitOverrunError:
        raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE) from None
    first, *lines = head.split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
        raise _Refused(HTTPStatus.BAD_REQUEST)
    method, path = words[0], words[1].partition("?")[0]
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "transfer-encoding" in headers:
        raise _Refused(HTTPStatus.LENGTH_REQUIRED)
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit() and len(length) < 20):
        raise _Refused(HTTPStatus.BAD_REQUEST)
    body = await reader.readexactly(int(length)) if int(length) <= BODY_BYTES else None
    return Request(*guest, method, path, body)


def _plain(status: int) -> Answer:
    return Answer(status, f"{HTTPStatus(status).phrase}\n".encode())


def _text(answer: Answer, head_only: bool) -> bytes:
    head = (
        f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\nContent-Type: {answer.kind}\r\n"
        f"Content-Length: {len(answer.body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + (b"" if head_only else answer.body)
