# SPDX-License-Identifier: Apache-2.0
"""Clients that say nothing, or too little, keep nobody else waiting."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.ops.servers import Cloud, fetch, wait_for

HEAD = b"POST /identity/v3/auth/tokens HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 900\r\n"


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    """A cloud of two threads."""
    made = Cloud(tmp_path / "state", "[api]\nworkers = 1\nthreads = 2\nclient_timeout = 1\n")
    made.init()
    return made


def test_slow_clients(cloud: Cloud) -> None:
    with cloud.running("api"):
        wait_for(lambda: fetch(f"{cloud.url}/v2.1/")[0] == 200, "the API answers")
        for said, drip in ((b"", b""), (HEAD, b"X-A: b\r\n"), (HEAD + b"\r\n{", b" ")):
            with ExitStack() as stack:
                slow = [stack.enter_context(socket.create_connection(("127.0.0.1", cloud.port))) for _ in range(3)]
                ended = threading.Event()
                for each in slow:
                    each.sendall(said)
                talker = threading.Thread(target=_talk, args=(slow, drip, ended))
                talker.start()
                begun = time.monotonic()
                try:
                    assert fetch(f"{cloud.url}/v2.1/")[0] == 200, (said, drip)
                    assert time.monotonic() - begun < 9, (said, drip)
                finally:
                    ended.set()
                    talker.join()


def _talk(slow: list[socket.socket], drip: bytes, ended: threading.Event) -> None:
    """A little now and then, for as long as anybody listens."""
    while drip and not ended.wait(0.3):
        for each in slow:
            try:
                each.sendall(drip)
            except OSError:
                continue
