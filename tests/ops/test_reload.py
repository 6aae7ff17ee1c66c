# SPDX-License-Identifier: Apache-2.0
"""Workers are replaced, and the whole API is, while clients ask: no request is lost."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.ops.servers import REPOSITORY, Cloud, fetch, wait_for
from tests.ops.test_metrics import workers
from tests.ports import free_port

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


def replaced(api: subprocess.Popen[str], before: set[str], number: int) -> bool:
    """So many workers, none of which was there before."""
    now = workers(api)
    return len(now) == number and not before & now


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
                wait_for(partial(replaced, api, before, number), f"{number} new workers")
            load.more()
        assert load.failed == []
        assert load.done > 100
    assert "the settings can't be read" in (cloud.directory / "api.out").read_text()


def children(pid: int) -> set[int]:
    """The processes that it has started and that run."""
    try:
        return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()


def second_master(cloud: Cloud, load: Load, first: int) -> int:
    """SIGUSR2 has started one, beside the first, and it has workers; its process id."""
    before = children(first)
    os.kill(first, signal.SIGUSR2)
    wait_for(lambda: any(len(children(pid)) == 2 for pid in children(first)), "a second master has workers")
    (new,) = children(first) - before
    load.more()
    return new


def gone(pid: int) -> bool:
    """Whether that process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_new_program_in_its_place(cloud: Cloud) -> None:
    """USR2 and TERM: a second master takes the same sockets, and the first one ends. What was counted stays counted."""
    metrics = f"127.0.0.1:{free_port()}"
    cloud.write_conf(f"{CONF}[metrics]\napi_metrics_listen = {metrics}\n")
    new = 0
    with cloud.running("api") as api:
        cloud.wait_until_it_answers()
        try:
            with Load(cloud.port) as load:
                load.more()
                new = second_master(cloud, load, api.pid)
                load.more()
                api.terminate()
                assert api.wait(45) == 0
                load.more()
            assert load.failed == []
            counted = re.findall(
                r'requests_total{[^}]*"/healthcheck/ready"[^}]*} (\S+)', fetch(f"http://{metrics}/metrics")[1]
            )
            assert sum(map(float, counted)) >= load.done
        finally:
            end(new)


def end(pid: int) -> None:
    """A master that is nobody's child."""
    if pid:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: gone(pid), "it has ended")


def test_gunicorn_as_a_daemon(cloud: Cloud, tmp_path: Path) -> None:
    """etc/gunicorn.conf.py, and USR2, WINCH, QUIT as gunicorn's own document has it."""
    pid_file = tmp_path / "pid"
    command = [str(Path(sys.executable).with_name("gunicorn")), "--daemon", "--pid", str(pid_file)]
    command += ["--config", str(REPOSITORY / "etc" / "gunicorn.conf.py")]
    subprocess.run(command, cwd=REPOSITORY, env={**cloud.environment, "COMPUTEAPI_LOG_DIR": str(tmp_path)}, check=True)
    first = second = 0
    try:
        cloud.wait_until_it_answers()
        first = int(pid_file.read_text())
        with Load(cloud.port) as load:
            load.more()
            second = second_master(cloud, load, first)
            os.kill(first, signal.SIGWINCH)
            wait_for(lambda: children(first) == {second}, "the first one's workers have ended")
            load.more()
            os.kill(first, signal.SIGQUIT)
            wait_for(lambda: gone(first), "the first one has ended")
            load.more()
        assert load.failed == []
        wait_for(lambda: pid_file.exists() and pid_file.read_text().strip() == str(second), "the pid file names it")
    finally:
        end(first)
        end(second)


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
