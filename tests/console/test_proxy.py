# SPDX-License-Identifier: Apache-2.0
"""The console proxy: whom it lets in, and that it carries what both sides say."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import update
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.models import ConsoleAuthToken, Server
from computeapi.db.queries import console_tokens, servers
from computeapi.settings import Settings
from computeapi.virt.base import DiskSpec, DomainSpec
from computeapi.virt.simulator import SimulatedHypervisor
from tests.console.proxies import Running, running
from tests.wire.conftest import server_values


class Host(SimulatedHypervisor):
    """A simulated host whose guests have screens: sockets whose far ends the test holds."""

    def __init__(self) -> None:
        super().__init__("host1")
        self.screens: list[tuple[str, str, socket.socket]] = []

    def open_console(self, uuid: str, kind: str) -> socket.socket:
        if kind == "serial":
            return super().open_console(uuid, kind)
        near, far = socket.socketpair()
        far.settimeout(10)
        self.screens.append((uuid, kind, far))
        return near


@pytest.fixture
def host() -> Iterator[Host]:
    driver = Host()
    yield driver
    driver.close()


@pytest.fixture
def proxy(settings: Settings, db: Database, host: Host) -> Iterator[Running]:
    web = settings.state_path / "console-web"
    (web / "novnc" / "core").mkdir(parents=True)
    (web / "novnc" / "core" / "rfb.js").write_text("export default 1;\n")
    (web / "secret.txt").write_text("not for browsers")
    (settings.state_path / "clouds.js").write_text("not for browsers either")
    (web / "out.js").symlink_to(settings.state_path / "clouds.js")
    with running(replace(settings, allowed_origins="dashboard.example.org, other"), db, host) as proxy:
        yield proxy


def make_server(db: Database, host: Host) -> tuple[int, str]:
    """Key and id of a server whose guest runs."""
    values = server_values(uuid.uuid4().hex, uuid.uuid4().hex)
    with db.write() as conn:
        key = servers.insert(conn, values).id
    host.ensure_disk(f"{values['uuid']}_disk", 1, None)
    disk = DiskSpec(f"{values['uuid']}_disk", "vda")
    host.define(DomainSpec(values["uuid"], f"instance-{key:08x}", 1, 64, (disk,), ()))
    host.start(values["uuid"])
    return key, values["uuid"]


@pytest.fixture
def server(db: Database, host: Host) -> tuple[int, str]:
    return make_server(db, host)


def give(db: Database, server: tuple[int, str], console_type: str = "novnc", host: str = "host1") -> str:
    """A token of that server's."""
    with db.write() as conn:
        return console_tokens.add(conn, server[0], console_type, host, 600)


def refused(proxy: Running, query: str, **more: str) -> bool:
    """Whether a websocket is refused before it begins, with nothing said of why."""
    try:
        proxy.open(query, **more).close()  # type: ignore[arg-type]
    except InvalidStatus as error:
        return error.response.status_code == 403 and error.response.body in (None, b"")
    return False


def talks(websocket: ClientConnection, far: socket.socket) -> bool:
    """Whether bytes go both ways as they are."""
    sent = bytes(range(256)) * 1000
    threading.Thread(target=far.sendall, args=(sent,)).start()
    got = b""
    while len(got) < len(sent):
        piece = websocket.recv(10)
        assert isinstance(piece, bytes)
        got += piece
    websocket.send(b"\0\xff up")
    websocket.send("text")
    back = b""
    while len(back) < 9:
        back += far.recv(100)
    return got == sent and back == b"\0\xff uptext"


@pytest.mark.parametrize(("console_type", "kind"), [("novnc", "vnc"), ("xvpvnc", "vnc"), ("spice-html5", "spice")])
@pytest.mark.parametrize("path", ["/", "/websockify", "/websockify/{kind}"])
def test_a_console(
    proxy: Running, db: Database, host: Host, server: tuple[int, str], console_type: str, kind: str, path: str
) -> None:
    token = give(db, server, console_type)
    with proxy.open(f"?token={token}", path=path.format(kind=kind)) as websocket:
        ((uuid, opened, far),) = wait_for_screens(host)
        assert (uuid, opened) == (server[1], kind)
        assert talks(websocket, far)
        far.close()
        with pytest.raises(ConnectionClosed) as ended:
            websocket.recv(10)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1001, "The console has ended.")


def wait_for_screens(host: Host, number: int = 1) -> list[tuple[str, str, socket.socket]]:
    until = time.monotonic() + 10
    while len(host.screens) < number and time.monotonic() < until:
        time.sleep(0.01)
    assert len(host.screens) == number
    return host.screens


def test_a_browser_that_leaves(proxy: Running, db: Database, host: Host, server: tuple[int, str]) -> None:
    with proxy.open(f"?token={give(db, server)}"):
        wait_for_screens(host)
    ((_, _, far),) = wait_for_screens(host)
    assert far.recv(10) == b"", "the guest's side is let go of"


def test_a_serial_console(proxy: Running, db: Database, host: Host, server: tuple[int, str]) -> None:
    with proxy.open(f"?token={give(db, server, 'serial')}", path="/") as websocket:
        assert b"what you type comes back" in bytes(websocket.recv(10))
        websocket.send(b"ls\r")
        assert websocket.recv(10) == b"ls\r\n"
        host.power_off(server[1])
        with pytest.raises(ConnectionClosed):
            websocket.recv(10)


def test_the_token_in_a_cookie(proxy: Running, db: Database, host: Host, server: tuple[int, str]) -> None:
    with proxy.open("", headers={"Cookie": f"a=b; token={give(db, server)}"}) as websocket:
        assert talks(websocket, wait_for_screens(host)[0][2])
    assert refused(proxy, "")


def test_a_token_may_be_used_again_until_it_ends(
    proxy: Running, db: Database, host: Host, server: tuple[int, str]
) -> None:
    token = give(db, server)
    with proxy.open(f"?token={token}") as first, proxy.open(f"?token={token}") as second:
        screens = wait_for_screens(host, 2)
        assert talks(first, screens[0][2])
        assert talks(second, screens[1][2])
    with db.write() as conn:
        conn.execute(update(ConsoleAuthToken).values(expires_at=clock.shifted(-1)))
    assert refused(proxy, f"?token={token}"), "expired"


def test_tokens_that_open_nothing(proxy: Running, db: Database, host: Host, server: tuple[int, str]) -> None:
    good = give(db, server)
    with db.read() as conn:
        hashed = conn.execute(ConsoleAuthToken.__table__.select()).one().token_hash
    for bad in ("", "x", "bad" + good, good[:-1], good.upper(), hashed, "%00", "%FF", "'", "*", good + "%20"):
        assert refused(proxy, f"?token={bad}"), bad
    assert refused(proxy, f"?token={give(db, server, host='host2')}"), "another host's"
    assert refused(proxy, f"?token={give(db, server, 'rdp-html5')}", path="/websockify/vnc"), "no such console"
    assert not host.screens
    with db.write() as conn:
        conn.execute(update(Server).values(host="host2"))
    assert refused(proxy, f"?token={good}"), "it has moved"
    with db.write() as conn:
        conn.execute(update(Server).values(host="host1", deleted=1))
    assert refused(proxy, f"?token={good}"), "it is deleted"
    with db.write() as conn:
        conn.execute(update(Server).values(deleted=0))
        console_tokens.drop(conn, server[0])
    assert refused(proxy, f"?token={good}"), "it was dropped"
    assert not host.screens


def test_a_token_opens_its_own_console_alone(proxy: Running, db: Database, host: Host, server: tuple[int, str]) -> None:
    token = give(db, server, "serial")
    for kind in ("vnc", "spice"):
        assert refused(proxy, f"?token={token}", path=f"/websockify/{kind}")
    assert refused(proxy, f"?token={give(db, server)}", path="/websockify/serial")
    for elsewhere in ("/vnc_auto.html", "/websockify/", "/websockify/rdp", "//websockify", "/websockify/../"):
        assert refused(proxy, f"?token={token}", path=elsewhere)
    other = make_server(db, host)
    with proxy.open(f"?token={give(db, other)}&server={server[1]}") as websocket:
        assert talks(websocket, wait_for_screens(host)[0][2])
    assert host.screens[0][0] == other[1]


@pytest.mark.parametrize("origin", ["http://127.0.0.1", "http://dashboard.example.org", "http://other:8443"])
def test_pages_that_may(proxy: Running, db: Database, host: Host, server: tuple[int, str], origin: str) -> None:
    with proxy.open(f"?token={give(db, server)}", origin=origin) as websocket:
        assert talks(websocket, wait_for_screens(host)[0][2])


@pytest.mark.parametrize("origin", ["http://evil.example.org", "https://127.0.0.1", "null", "http://127.0.0.1.evil"])
def test_pages_that_may_not(proxy: Running, db: Database, host: Host, server: tuple[int, str], origin: str) -> None:
    assert refused(proxy, f"?token={give(db, server)}", origin=origin)
    assert not host.screens


def test_a_guest_that_is_off(proxy: Running, db: Database, host: Host, server: tuple[int, str]) -> None:
    host.power_off(server[1])
    with proxy.open(f"?token={give(db, server, 'serial')}") as websocket, pytest.raises(ConnectionClosed) as ended:
        websocket.recv(10)
    assert ended.value.rcvd is not None and ended.value.rcvd.code == 1011
    host.gone = True
    with proxy.open(f"?token={give(db, server, 'serial')}") as websocket, pytest.raises(ConnectionClosed):
        websocket.recv(10)
    host.gone = False


# --- pages ---


@pytest.mark.parametrize(
    ("path", "has", "kind"),
    [
        ("/vnc_auto.html?token=x", b"noVNC", "text/html; charset=utf-8"),
        ("/console?token=x", b"noVNC", "text/html; charset=utf-8"),
        ("/spice_auto.html?token=x", b"SPICE", "text/html; charset=utf-8"),
        ("/serial.html", b"Serial", "text/html; charset=utf-8"),
        ("/?token=x", b"Serial", "text/html; charset=utf-8"),
        ("/vnc.js", b"rfb.js", "text/javascript; charset=utf-8"),
        ("/console.css", b"#screen", "text/css; charset=utf-8"),
        ("/novnc/core/rfb.js", b"export", "text/javascript; charset=utf-8"),
    ],
)
def test_pages(proxy: Running, path: str, has: bytes, kind: str) -> None:
    status, headers, body = proxy.get(path)
    assert (status, headers["content-type"]) == (200, kind)
    assert has in body and int(headers["content-length"]) == len(body)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    policy = dict(rule.strip().split(" ", 1) for rule in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["connect-src"] == "'self'"
    assert "http://dashboard.example.org:*" in policy["frame-ancestors"] and "*" not in policy["script-src"]
    assert "server" not in headers


@pytest.mark.parametrize(
    "path",
    [
        "/secret.txt",
        "/../clouds.js",
        "/novnc/../../clouds.js",
        "/novnc/core/../../../clouds.js",
        "/%2e%2e/clouds.js",
        "/..%2fclouds.js",
        "//clouds.js",
        "/./vnc.js",
        "/out.js",
        "/novnc",
        "/novnc/",
        "/novnc/core/",
        "/etc/passwd",
        "//etc/passwd",
        "file:///etc/passwd",
        "/vnc.js%00",
        "/nothing.html",
        "*",
        "http://[",
        "/" + "x" * 5000,
    ],
)
def test_no_other_file(proxy: Running, path: str) -> None:
    status, _, body = proxy.get(path)
    assert status in (400, 404)
    assert body == b""


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get"])
def test_only_get(proxy: Running, method: str) -> None:
    status, headers, body = proxy.get("/vnc_auto.html", method)
    assert (status, headers["allow"], body) == (405, "GET", b"")


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n",
    ],
)
def test_rubbish(proxy: Running, request_: bytes) -> None:
    status, _, body = proxy.raw(request_)
    assert status in (0, 400, 403, 431), "never a 5xx"
    assert b"Traceback" not in body
    assert proxy.get("/vnc_auto.html")[0] == 200, "it goes on"


def test_without_what_npm_brings(settings: Settings, db: Database, host: Host, tmp_path: Path) -> None:
    with running(replace(settings, console_web_dir=str(tmp_path / "none")), db, host) as proxy:
        assert proxy.get("/vnc_auto.html")[0] == 200
        assert proxy.get("/novnc/core/rfb.js")[0] == 404


def test_the_log_has_no_token(
    proxy: Running, db: Database, host: Host, server: tuple[int, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    token, bad = give(db, server), str(uuid.uuid4())
    with proxy.open(f"?token={token}") as websocket:
        assert talks(websocket, wait_for_screens(host)[0][2])
    assert refused(proxy, f"?token={bad}")
    assert proxy.get(f"/vnc_auto.html?token={token}")[0] == 200
    said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("computeapi"))
    assert server[1] in said and "refused" in said
    assert token not in said and bad not in said
