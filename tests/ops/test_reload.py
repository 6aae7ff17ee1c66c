# SPDX-License-Identifier: Apache-2.0
"""Workers are replaced, and the whole API is, while clients ask: no request is lost."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ops.servers import REPOSITORY, Cloud, wait_for
from tests.ops.test_metrics import workers

CONF = "[api]\nworkers = 2\nthreads = 4\n"


class Load:
    """Clients that ask without a pause: some with a new connection each time, some with one that is kept."""

    def __init__(self, port: int) -> None:
        self.done, self.failed = 0, []  # type: int, list[str]
        self._port = port
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(kept,)) for kept in (False, False, True, True)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, kept: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        while not self._ending.is_set():
            try:
                connection.request("GET", "/healthcheck/ready", headers={} if kept else {"Connection": "close"})
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    self.failed.append(f"{kept}: {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(f"{kept}: {error!r}")
                connection.close()
            self.done += 1
            time.sleep(0.002)

    def more(self, number: int = 40) -> None:
        """Until so many more were answered."""
        wanted = self.done + number
        wait_for(lambda: self.done >= wanted, "requests are answered")


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path / "state", CONF)
    done = cloud.run("db", "upgrade")
    assert done.returncode == 0, done.stderr
    return cloud


def test_reload(cloud: Cloud) -> None:
    """SIGHUP, twice: new workers with the settings as they are now; a file that can't be read changes nothing."""
    with cloud.running("api") as api:
        cloud.wait_until_it_answers()
        with Load(cloud.port) as load:
            for conf, number in (("[api]\nworkers = 3\n", 3), ("[api]\nworkers = many\n", 3)):
                load.more()
                before = workers(api)
                cloud.write_conf(conf)
                api.send_signal(signal.SIGHUP)
                wait_for(
                    lambda before=before, number=number: len(now := workers(api)) == number and not before & now,
                    f"{number} new workers",
                )
            load.more()
        assert load.failed == []
        assert load.done > 100
    assert "the settings can't be read" in (cloud.directory / "api.out").read_text()


@pytest.fixture
def socket_of_systemd(cloud: Cloud) -> Iterator[socket.socket]:
    """What etc/computeapi-api.socket makes: a socket that listens whether the API runs or not."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", cloud.port))
        sock.listen(2048)
        yield sock


def start_by_socket(cloud: Cloud, sock: socket.socket) -> subprocess.Popen[bytes]:
    """The API as systemd starts it: the socket is file descriptor 3."""

    def inherit() -> None:
        os.dup2(sock.fileno(), 3)

    program = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "$0" -m computeapi api'
    with (cloud.directory / "api.out").open("ab") as log:
        return subprocess.Popen(
            ["sh", "-c", program, sys.executable], env=cloud.environment, cwd=REPOSITORY, stdout=log, stderr=log,
            pass_fds=[3], preexec_fn=inherit,
        )  # fmt: skip


def test_restart(cloud: Cloud, socket_of_systemd: socket.socket) -> None:
    """Ended and started anew, as an upgrade does: who asks meanwhile waits for a moment."""
    api = start_by_socket(cloud, socket_of_systemd)
    try:
        cloud.wait_until_it_answers()
        with Load(cloud.port) as load:
            load.more()
            began = time.monotonic()
            api.terminate()
            assert api.wait(45) == 0
            api = start_by_socket(cloud, socket_of_systemd)
            load.more()
            took = time.monotonic() - began
        assert load.failed == []
        assert took < 60
    finally:
        api.terminate()
        api.wait(45)
