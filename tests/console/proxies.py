# SPDX-License-Identifier: Apache-2.0
"""A console proxy in a thread of the test's process, and what a browser does to it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

from websockets.sync.client import ClientConnection, connect

from computeapi.console.proxy import Proxy
from computeapi.db.engine import Database
from computeapi.settings import Settings
from computeapi.virt.base import Hypervisor


class Running:
    """A proxy that listens on a port of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"

    def raw(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (names in small letters) and body of the answer to these bytes; status 0: no answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(request)
            answer = b""
            while piece := connection.recv(65536):
                answer += piece
        if not answer:
            return 0, {}, b""
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return int(first.split()[1]), headers, body

    def get(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        """The same for a request of that path, sent exactly as it is."""
        return self.raw(f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n\r\n".encode())

    def open(
        self,
        query: str,
        *,
        path: str = "/websockify",
        origin: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ClientConnection:
        """A websocket. Raises websockets' InvalidStatus where it is refused."""
        return connect(
            f"ws://127.0.0.1:{self.port}{path}{query}",
            origin=origin,  # type: ignore[arg-type]
            additional_headers=headers,
            subprotocols=None,
            open_timeout=20,
            close_timeout=5,
            compression=None,
            proxy=None,
        )


@contextmanager
def running(settings: Settings, db: Database, driver: Hypervisor, port: int = 0) -> Iterator[Running]:
    """A proxy for as long as the block lasts."""
    ready: list[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = []
    started = threading.Event()

    async def serve() -> None:
        proxy = Proxy(replace(settings, console_listen=f"127.0.0.1:{port}"), db, driver)
        ended = asyncio.Event()
        async with await proxy.start() as server:
            (listener,) = server.sockets
            ready.append((asyncio.get_running_loop(), ended, listener.getsockname()[1]))
            started.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), daemon=True)
    thread.start()
    assert started.wait(20)
    loop, ended, number = ready[0]
    yield Running(number)
    loop.call_soon_threadsafe(ended.set)
    thread.join(20)
    assert not thread.is_alive()
