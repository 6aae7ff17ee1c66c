# SPDX-License-Identifier: Apache-2.0
"""Consoles of real guests: the URL that the API answers, through the console proxy, by hand and in a real browser.

The proxy has a driver of its own, as its process has.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from computeapi.db.models import Host
from computeapi.virt import load
from tests.console.proxies import Running, running
from tests.databases import Engine
from tests.guest.browser import Page, browser
from tests.guest.cloud import Cloud, Guest
from tests.guest.hosts import REPOSITORY, IsolatedHost, wait_for

pytestmark = pytest.mark.guest

WEB = REPOSITORY / ".cache" / "console-web"
# How many pixels of the largest canvas in the page are lit, and its size.
LIT = """(() => {
    const all = [...document.querySelectorAll("#screen canvas")].sort((a, b) => b.width - a.width);
    if (!all.length || !all[0].width) return [0, 0, 0];
    const {width, height} = all[0];
    const data = all[0].getContext("2d").getImageData(0, 0, width, height).data;
    let lit = 0;
    for (let at = 0; at < data.length; at += 4) if (data[at] + data[at + 1] + data[at + 2] > 200) lit++;
    return [lit, width, height];
})()"""


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(host, directory, database_engine.new(directory), tiny, query_timeout=60)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def proxy(cloud: Cloud, host: IsolatedHost) -> Iterator[Running]:
    """The console proxy of the host, which its row names."""
    driver = load("libvirt", uri=host.uri, virt_type="qemu", state_dir=host.state_dir, host="host1")
    settings = replace(cloud.compute.tools.settings, console_web_dir=str(WEB))
    with running(settings, cloud.db, driver) as proxy:
        with cloud.db.write() as conn:
            conn.execute(update(Host).values(console_url=proxy.url))
        yield proxy
    driver.close()


@pytest.fixture(scope="module")
def guest(cloud: Cloud, proxy: Running) -> Guest:
    """A guest that waits at its prompts."""
    guest = cloud.boot(cloud.flavor())
    guest.boots_as(1)
    wait_for(lambda: "Press Enter for a shell" in log(guest), "its serial console has a shell")
    return guest


def log(guest: Guest) -> str:
    return guest.cloud.driver.console_output(guest.id, None)


def console(guest: Guest, action: str, console_type: str) -> str:
    """The URL of a console."""
    stopping = threading.Event()

    def answer() -> None:
        while not stopping.wait(0.05):
            guest.cloud.compute.work()

    guest.cloud.compute.work()  # it lives
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        answer_ = guest.cloud.api.post(f"/servers/{guest.id}/action", {action: {"type": console_type}})
    finally:
        stopping.set()
        thread.join()
    assert answer_.status_code == 200, answer_.text
    return str(answer_.json["console"]["url"])


def read(websocket: ClientConnection, number: int) -> bytes:
    """So many bytes of the console's, and what came with them."""
    got = b""
    while len(got) < number:
        piece = websocket.recv(60)
        assert isinstance(piece, bytes)
        got += piece
    return got


def read_until(websocket: ClientConnection, text: bytes) -> bytes:
    got = b""
    until = time.monotonic() + 60
    while text not in got:
        assert time.monotonic() < until, got
        got += bytes(websocket.recv(60))  # type: ignore[arg-type]
    return got


def test_vnc(guest: Guest, proxy: Running, host: IsolatedHost) -> None:
    url = console(guest, "os-getVNCConsole", "novnc")
    assert url.startswith(proxy.url + "/vnc_auto.html?token=")
    with proxy.open("?" + url.partition("?")[2]) as websocket:
        assert read(websocket, 12) == b"RFB 003.008\n"
        websocket.send(b"RFB 003.008\n")
        assert read(websocket, 2) == b"\x01\x01", "without a password, and no other way"
        websocket.send(b"\x01")
        assert read(websocket, 4) == bytes(4)
        websocket.send(b"\x01")
        screen = read(websocket, 24)
        assert (int.from_bytes(screen[:2]), int.from_bytes(screen[2:4])) == (720, 400)
        screen += read(websocket, 24 + int.from_bytes(screen[20:24]) - len(screen))
        assert b"QEMU (instance-" in screen[24:]
    listening = host.inside("cat", "/proc/net/tcp", "/proc/net/tcp6")
    ports = {int(line.split()[1].rpartition(":")[2], 16) for line in listening.splitlines() if " 0A " in line}
    assert not any(5900 <= port < 6000 for port in ports), "the screen listens nowhere"


def test_serial(guest: Guest, proxy: Running) -> None:
    url = console(guest, "os-getSerialConsole", "serial")
    assert url.startswith(proxy.url.replace("http", "ws") + "/?token=")
    with proxy.open("?" + url.partition("?")[2], path="/") as websocket:
        websocket.send(b"\r")
        read_until(websocket, b"# ")
        websocket.send(b"echo answer-$((6 * 7))\r")
        read_until(websocket, b"answer-42")
        with proxy.open("?" + url.partition("?")[2], path="/") as newer:
            newer.send(b"echo newer-$((6 * 7))\r")
            read_until(newer, b"newer-42")
            with pytest.raises(ConnectionClosed):
                while True:
                    websocket.recv(60)
    wait_for(lambda: "newer-42" in log(guest), "the log goes on beside it")
    assert "GUEST-READY" in log(guest), "and has what was before"


def opened(page: Page, url: str, file: Path) -> None:
    """The page shows the guest's screen: letters on it, and no complaint."""
    page.open(url)
    seen: list[Any] = []

    def shows() -> bool:
        seen[:] = page.value(LIT) or [0, 0, 0]
        return int(seen[0]) > 500

    try:
        wait_for(shows, "the screen is there", 90)
    finally:
        page.picture(file)
        said = page.value("document.body ? document.body.innerText : ''")
        print(json.dumps({"lit": seen, "said": said, "complaints": page.complaints}))
    assert seen[1:] == [720, 400]


@pytest.fixture
def web() -> None:
    if not (WEB / "installed").exists():
        pytest.skip("what browsers need is not installed; tools/lib/console-web does it")


def test_vnc_in_a_browser(guest: Guest, proxy: Running, web: None, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as page:
        opened(page, console(guest, "os-getVNCConsole", "novnc"), tmp_path / "vnc-before.png")
        assert page.shows("QEMU (instance-") and page.shows("Send Ctrl-Alt-Del")
        assert "Linux version" not in log(guest)
        lit = page.value(LIT)[0]
        page.type("\rdd if=/proc/version of=/dev/console\r")
        wait_for(lambda: "Linux version" in log(guest), "the guest has done what was typed", 60)
        wait_for(lambda: page.value(LIT)[0] > lit, "the screen shows it", 60)
        page.picture(tmp_path / "vnc.png")
        assert not page.complaints


def test_serial_in_a_browser(guest: Guest, proxy: Running, web: None, tmp_path: Path) -> None:
    url = console(guest, "os-getSerialConsole", "serial").replace("ws", "http", 1)
    with browser(tmp_path / "profile") as page:
        page.open(url)
        wait_for(lambda: page.shows("Serial console."), "it is connected", 60)
        page.type("\r\rdd if=/proc/version\r")
        rows = "document.querySelector('.xterm-rows').innerText"
        try:
            wait_for(lambda: "Linux version" in (page.value(rows) or ""), "the guest's answer", 60)
        finally:
            page.picture(tmp_path / "serial.png")
        assert not page.complaints


def test_spice_in_a_browser(guest: Guest, proxy: Running, web: None, tmp_path: Path) -> None:
    if not guest.cloud.driver.capabilities.spice:
        pytest.skip("this QEMU has no SPICE")
    with browser(tmp_path / "profile") as page:
        opened(page, console(guest, "os-getSPICEConsole", "spice-html5"), tmp_path / "spice-before.png")
        for _ in range(8):  # the keys' channel opens some time after the screen's, and says so to nobody
            page.type("\rdd if=/proc/cpuinfo of=/dev/console\r")
            with suppress(pytest.fail.Exception):
                wait_for(lambda: "vendor_id" in log(guest), "the guest has done what was typed", 15)
                break
        page.picture(tmp_path / "spice.png")
        assert "vendor_id" in log(guest)


def test_it_ends_with_the_guest(guest: Guest, proxy: Running) -> None:
    query = "?" + console(guest, "os-getVNCConsole", "novnc").partition("?")[2]
    with proxy.open(query) as websocket:
        read(websocket, 12)
        guest.act(**{"os-stop": None})
        with pytest.raises(ConnectionClosed):
            while True:
                websocket.recv(60)
    guest.act(**{"os-start": None})
    with pytest.raises(InvalidStatus), proxy.open(query):
        pass
