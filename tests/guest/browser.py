# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, told what to do by its DevTools protocol: opens pages, types, takes pictures."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from tests.guest.hosts import wait_for

_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1000,700",
)
# Of an American keyboard's keys that are neither letters nor digits those that need no Shift: name and number.
_KEYS = {
    "\r": ("Enter", 13),
    " ": ("Space", 32),
    ";": ("Semicolon", 186),
    "=": ("Equal", 187),
    "-": ("Minus", 189),
    ".": ("Period", 190),
    "/": ("Slash", 191),
}


class Page:
    """A page of the browser."""

    def __init__(self, devtools: ClientConnection) -> None:
        self._devtools, self._numbers = devtools, itertools.count(1)
        self.complaints: list[str] = []  # what the page's scripts, or the browser on its account, complained of
        for domain in ("Page", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of a command."""
        number = next(self._numbers)
        self._devtools.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            try:
                message = json.loads(self._devtools.recv(60))
            except TimeoutError:
                pytest.fail(f"the browser does not answer {method} {parameters}; it complained of {self.complaints}")
            if message.get("method") == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(message["params"]["exceptionDetails"])[:1000])
            if message.get("method") == "Page.javascriptDialogOpening":
                self.complaints.append(message["params"]["message"])
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.complaints.append(message["params"]["entry"]["text"])
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])

    def open(self, url: str) -> None:
        """Go there."""
        assert "errorText" not in self.ask("Page.navigate", url=url)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression is in the page."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def shows(self, text: str) -> bool:
        """Whether that text is in the page."""
        return text in (self.value("document.body ? document.body.innerText : ''") or "")

    def type(self, text: str) -> None:
        """Press and let go of a key for each character: small letters, digits, and those of _KEYS."""
        for char in text:
            kind = "Digit" if char.isdigit() else "Key"
            code, number = _KEYS.get(char) or (kind + char.upper(), ord(char.upper()))
            key = "Enter" if char == "\r" else char
            event = {"key": key, "code": code, "text": char, "windowsVirtualKeyCode": number}
            self.ask("Input.dispatchKeyEvent", type="keyDown", **event)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **event)
            time.sleep(0.03)  # nobody types quicker, and an emulated keyboard remembers sixteen keys

    def picture(self, file: Path) -> None:
        """Keep what it looks like, as PNG."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot")["data"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """An empty page of a browser that is new each time; skips the test where there is no Chromium."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    profile.mkdir()
    with open(profile / "log", "wb") as log:
        command = [program, *_OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        told = profile / "DevToolsActivePort"
        wait_for(lambda: told.exists() and told.read_text().count("\n") >= 1, "the browser has started", 60)
        port = told.read_text().split("\n")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=60) as answer:
            pages = [each for each in json.load(answer) if each["type"] == "page"]
        with connect(pages[0]["webSocketDebuggerUrl"], max_size=None, compression=None, proxy=None) as devtools:
            yield Page(devtools)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
