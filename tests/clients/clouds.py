# SPDX-License-Identifier: Apache-2.0
"""A whole cloud as a user starts it: `computeapi init` and `computeapi serve`, and the stock clients beside it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ports import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
CLIENTS = REPOSITORY / ".venv-clients" / "bin"
OLD_CLIENTS = REPOSITORY / ".venv-old-clients" / "bin"
SHELLS = Path(__file__).with_name("shells.py")


def client(name: str, environment: Path = CLIENTS) -> str:
    """The path of a stock client's command; skips the test where tools/test has not installed it."""
    path = environment / name
    if not path.exists():
        pytest.skip(f"the stock client {name} is not in {environment.parent.name}: tools/test installs it")
    return str(path)


@dataclass
class Cloud:
    """A cloud on a port of its own. `openstack()` is the stock client as the administrator."""

    state: Path
    init: list[str]
    port: int = field(default_factory=free_port)
    console_port: int = field(default_factory=free_port)
    settings: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What the server's commands and the clients need."""
        return {
            **os.environ,
            "COMPUTEAPI_STATE_DIR": str(self.state),
            "COMPUTEAPI_LISTEN": f"127.0.0.1:{self.port}",
            "COMPUTEAPI_CONSOLE_LISTEN": f"127.0.0.1:{self.console_port}",
            "OS_CLIENT_CONFIG_FILE": str(self.state / "clouds.yaml"),
            **self.settings,
        }

    def computeapi(self, *arguments: str) -> str:
        """What our own command says."""
        command = [sys.executable, "-m", "computeapi", *arguments]
        done = subprocess.run(
            command, cwd=REPOSITORY, env=self.environment, check=False, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def start(self) -> None:
        """Prepare it and serve; returns when the API answers."""
        self.computeapi("init", *self.init)
        with open(self.state / "serve.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "computeapi", "serve"],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        self.wait_for(self.answers, "the API answers", 90)
        self.wait_for(self._has_host, "the compute service is ready", 90)

    def answers(self) -> bool:
        """Whether the API does."""
        try:
            urllib.request.urlopen(self.url, timeout=10).close()
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _has_host(self) -> bool:
        log = self.state / "log" / "compute.log"
        return log.exists() and "is ready" in log.read_text()

    def stop(self) -> None:
        """Ctrl-C."""
        if self.process is not None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(60)
            self.process = None

    def openstack(self, *arguments: str, cloud: str = "computeapi", check: bool = True) -> str:
        """What the stock client says; it must end well unless `check` is off."""
        done = subprocess.run(
            [client("openstack"), "--os-cloud", cloud, *arguments],
            env=self.environment,
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        said = done.stdout + done.stderr
        assert done.returncode == 0 or not check, f"openstack {' '.join(arguments)}: {said}\n{self.logs()}"
        return done.stdout if check else said

    def show(self, *arguments: str, cloud: str = "computeapi") -> Any:
        """The same, as JSON."""
        return json.loads(self.openstack(*arguments, "-f", "json", cloud=cloud))

    def status(self, server: str) -> str:
        """A server's status, as the stock client shows it."""
        return str(self.show("server", "show", server)["status"])

    def variables(self, cloud: str = "computeapi") -> dict[str, str]:
        """What clients that know no clouds.yaml are told in their environment."""
        known = yaml.safe_load((self.state / "clouds.yaml").read_text())["clouds"][cloud]
        return {
            **self.environment,
            **{f"OS_{name.upper()}": str(value) for name, value in known["auth"].items()},
            "OS_AUTH_TYPE": "password",
            "OS_REGION_NAME": known["region_name"],
            "OS_CLOUD": cloud,
        }

    def script(self, name: str, environment: Path = CLIENTS, cloud: str = "computeapi") -> None:
        """Run a script of this directory with a client's libraries; it must end well."""
        done = subprocess.run(
            [client("python", environment), "-W", "ignore", str(SHELLS.with_name(name))],
            env=self.variables(cloud),
            check=False,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{self.logs()}"

    def wait_for(self, condition: Any, what: str, seconds: float = 240) -> None:
        """Until it is so; fails with what it was."""
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                pytest.fail(f"still not so after {seconds:g} s: {what}\n{self.logs()}")
            time.sleep(0.3)

    def logs(self) -> str:
        """The end of the server's logs, for a failed test's reader."""
        return "\n".join(
            f"--- {path.name}\n" + "\n".join(path.read_text().splitlines()[-15:])
            for path in sorted((self.state / "log").glob("*.log"))
        )


class Shell:
    """A stock client's command line that stays: what takes a second alone takes a tenth (tests/clients/shells.py)."""

    def __init__(self, cloud: Cloud, program: str, environment: Path = CLIENTS, name: str = "computeapi") -> None:
        self.cloud, self.program, self.name = cloud, program, name
        client(program, environment)
        self.process = subprocess.Popen(
            [client("python", environment), "-W", "ignore", str(SHELLS), program],
            env=cloud.variables(name) if program == "nova" else {**cloud.environment, "OS_CLOUD": name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End it."""
        self.process.communicate(timeout=30)

    def run(self, *arguments: str, seconds: float = 120) -> dict[str, Any]:
        """One command: code, out, err."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        assert ready, f"{self.program} {' '.join(arguments)}: no answer in {seconds:g} s"
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def __call__(self, *arguments: str) -> str:
        """A command that must end well: what it wrote."""
        answer = self.run(*arguments)
        assert answer["code"] == 0, f"{self.program} {' '.join(arguments)}: {answer['err']}{answer['out']}"
        return str(answer["out"])

    def refused(self, *arguments: str) -> str:
        """A command that must fail: what it said."""
        answer = self.run(*arguments)
        assert answer["code"] != 0, f"{self.program} {' '.join(arguments)} did not fail: {answer['out']}"
        return str(answer["err"])

    def show(self, *arguments: str) -> Any:
        """What a command of `openstack` shows, as JSON."""
        return json.loads(self(*arguments, "-f", "json"))

    def column(self, name: str, *arguments: str) -> list[Any]:
        """One column of what it lists."""
        return [row[name] for row in self.show(*arguments)]

    def table(self, *arguments: str) -> list[dict[str, str]]:
        """The rows of the table that `nova` draws."""
        lines = [line for line in self(*arguments).splitlines() if line.startswith("|")]
        cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        return [dict(zip(cells[0], row, strict=True)) for row in cells[1:]]

    def properties(self, *arguments: str) -> dict[str, str]:
        """The two columns of what it shows of one thing."""
        return {row["Property"]: row["Value"] for row in self.table(*arguments)}
