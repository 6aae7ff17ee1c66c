# SPDX-License-Identifier: Apache-2.0
"""The program's parts as processes, and requests to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
PATIENCE = 60.0


def wait_for(condition: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Until it is so."""
    until = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < until, f"still not so after {patience:g} s: {what}"
        time.sleep(0.05)


def fetch(url: str) -> tuple[int, str]:
    """Status and text of a GET; (0, "") where nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Cloud:
    """A state directory with the settings of a cloud on the simulator, and its commands."""

    def __init__(self, directory: Path, conf: str = "", **environment: str) -> None:
        self.directory, self.port = directory, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        directory.mkdir(parents=True, exist_ok=True)
        self.write_conf(conf)
        self.environment: Mapping[str, str] = {
            **os.environ,
            "COMPUTEAPI_STATE_DIR": str(directory),
            "COMPUTEAPI_LISTEN": f"127.0.0.1:{self.port}",
            "COMPUTEAPI_CONSOLE_LISTEN": f"127.0.0.1:{free_port()}",
            "PYTHONPATH": str(REPOSITORY),
            **environment,
        }

    def write_conf(self, text: str) -> None:
        """These settings beside those that every test has."""
        common = "[DEFAULT]\nhost = host1\n[compute]\nhypervisor = simulator\nheartbeat_interval = 1\n"
        (self.directory / "computeapi.conf").write_text(common + text)

    @staticmethod
    def command(*words: str) -> list[str]:
        """`computeapi WORDS`."""
        return [sys.executable, "-m", "computeapi", *words]

    def start(self, *words: str, **more: object) -> subprocess.Popen[str]:
        """`computeapi WORDS` as a process."""
        return subprocess.Popen(self.command(*words), env=self.environment, cwd=self.directory, text=True, **more)  # type: ignore[call-overload,no-any-return]

    def run(self, *words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """`computeapi WORDS` to its end."""
        return subprocess.run(
            self.command(*words),
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
            input=text,
        )

    def init(self) -> None:
        """A cloud with everything that `init` makes."""
        done = self.run("init")
        assert done.returncode == 0, done.stderr

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """A part, until the block ends; what it logs is in WORD.out."""
        with (self.directory / f"{words[0]}.out").open("a") as log:
            process = self.start(*words, stdout=log, stderr=log)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def wait_until_it_answers(self) -> None:
        """The API does."""
        wait_for(lambda: fetch(self.url + "/healthcheck/ready")[0] == 200, "the API answers")
