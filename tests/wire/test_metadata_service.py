# SPDX-License-Identifier: Apache-2.0
"""The metadata service as guests see it: both layouts, one guest at a time, and what guests may not do."""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Iterator

import orjson
import pytest
from sqlalchemy import update

from computeapi.compute.metadata import http
from computeapi.compute.metadata.http import Answer, HttpServer, Rates, Request
from computeapi.compute.metadata.service import MAX_PASSWORD, MetadataService
from computeapi.db.engine import Database
from computeapi.db.models import Server
from computeapi.db.queries import addresses
from computeapi.db.queries.servers import ServerRow
from computeapi.settings import Settings
from computeapi.virt.simulator import SimulatedHypervisor
from tests.conftest import Api
from tests.wire.conftest import MakeServer

ADDRESS = "10.1.0.9"
SECRET = "xlozO3wLCBRWAa2yDjCCVx8vwNPypxnypmRYDa=="
V = "/openstack/latest"


class Guest:
    """Who asks over that network's bridge, from that address."""

    def __init__(self, service: MetadataService, network: str, address: str = ADDRESS) -> None:
        self.service, self.network, self.address = service, network, address

    def ask(self, path: str, method: str = "GET", body: bytes | None = b"") -> Answer:
        """The answer."""
        return self.service.answer(Request(self.network, self.address, method, path, body))

    def read(self, path: str) -> str:
        """The text of a document that is there."""
        answer = self.ask(path)
        assert answer.status == 200, (path, answer)
        return answer.body.decode()


@pytest.fixture
def service(settings: Settings, db: Database) -> Iterator[MetadataService]:
    driver = SimulatedHypervisor("host1")
    made = MetadataService(settings, db, driver)
    yield made
    made.close()
    driver.close()


@pytest.fixture
def server(make_server: MakeServer, network: str) -> ServerRow:
    return make_server(
        network=network,
        fixed_ip=ADDRESS,
        name="hello",
        hostname="hello",
        key_name="mine",
        key_data="ssh-ed25519 AAAA me",
        user_data=base64.b64encode(b"#!/bin/sh\necho hi\n").decode(),
        metadata_json='{"role": "web"}',
        reservation_id="r-1",
        image_id="0b1f6a56-0d4c-4b2f-9f43-7c6f6d2f3c11",
    )


@pytest.fixture
def guest(service: MetadataService, server: ServerRow, network: str) -> Guest:
    return Guest(service, network)


def test_openstack_layout(guest: Guest, server: ServerRow) -> None:
    versions = guest.read("/openstack").splitlines()
    assert versions[:4] == ["2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15"]
    assert versions[-1] == "latest"
    assert guest.read("/openstack/").splitlines() == versions
    names = ["meta_data.json", "user_data", "password", "vendor_data.json", "network_data.json", "vendor_data2.json"]
    assert guest.read(V).splitlines() == names
    assert guest.read("/openstack/2012-08-10/").splitlines() == names[:2]
    assert guest.read("/openstack/2013-04-04").splitlines() == names[:3]
    assert guest.read("/openstack/2013-10-17").splitlines() == names[:4]
    for version in versions:
        told = orjson.loads(guest.read(f"/openstack/{version}/meta_data.json"))
        assert (told["uuid"], told["name"], told["hostname"]) == (server.uuid, "hello", "hello.novalocal")
        assert ("project_id" in told) == (version >= "2015-10-15")
        assert guest.read(f"/openstack/{version}/user_data") == "#!/bin/sh\necho hi\n"
    assert told["meta"] == {"role": "web"}
    assert told["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
    assert guest.ask(f"{V}/meta_data.json").kind == "application/json"
    assert guest.ask(f"{V}/user_data").kind.startswith("text/plain")
    network = orjson.loads(guest.read(f"{V}/network_data.json"))
    assert [item["type"] for item in network["networks"]] == ["ipv4_dhcp"]
    assert network["networks"][0]["network_id"] == guest.network
    assert orjson.loads(guest.read(f"{V}/vendor_data.json")) == {}
    assert orjson.loads(guest.read(f"{V}/vendor_data2.json")) == {"static": {}}


def test_ec2_layout(guest: Guest, server: ServerRow) -> None:
    versions = guest.read("/").splitlines()
    assert (versions[0], versions[-2:]) == ("1.0", ["2009-04-04", "latest"])
    assert guest.read("/latest").splitlines() == ["meta-data/", "user-data"]
    folder = guest.read("/latest/meta-data/").splitlines()
    assert {"ami-id", "instance-id", "public-keys/", "placement/", "block-device-mapping/"} <= set(folder)
    values = {
        "ami-id": "ami-0b1f6a56",
        "instance-id": f"i-{server.id:08x}",
        "hostname": "hello.novalocal",
        "local-ipv4": ADDRESS,
        "public-ipv4": "",
        "reservation-id": "r-1",
        "security-groups": "default",
        "instance-type": orjson.loads(server.flavor_json)["name"],
        "public-keys": "0=mine",
        "public-keys/0": "openssh-key",
        "public-keys/0/openssh-key": "ssh-ed25519 AAAA me",
        "placement/availability-zone": "nova",
        "block-device-mapping": "ami\nroot",
        "block-device-mapping/root": "/dev/vda",
    }
    for name, value in values.items():
        assert guest.read(f"/latest/meta-data/{name}") == value
        assert guest.read(f"/latest/meta-data/{name}/") == value
    assert guest.read("/latest/user-data") == "#!/bin/sh\necho hi\n"
    oldest = guest.read("/1.0/meta-data/").splitlines()
    assert set(oldest) < set(folder)
    assert "public-ipv4" not in oldest
    assert "instance-type" not in guest.read("/2007-03-01/meta-data").splitlines()


def test_what_a_server_has_not_is_not_there(service: MetadataService, make_server: MakeServer, network: str) -> None:
    make_server(network=network, fixed_ip=ADDRESS)
    guest = Guest(service, network)
    assert "user_data" not in guest.read(V)
    assert guest.read("/latest") == "meta-data/"
    assert "public-keys/" not in guest.read("/latest/meta-data").splitlines()
    for path in (f"{V}/user_data", "/latest/user-data", "/latest/meta-data/public-keys"):
        assert guest.ask(path).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/openstack/2011-01-01",
        "/openstack/2012-08-10/password",
        "/openstack/2012-08-10/vendor_data.json",
        f"{V}/meta_data.json/more",
        f"{V}/../../etc/passwd",
        "/openstack/content/0000",
        "/2010-01-01/meta-data",
        "/latest/meta-data/ami-id/more",
        "/latest/meta-data/public-keys/_name",
        "/latest/meta-data/public-keys/0/_name",
        "/latest/user-data/more",
        "/latest/api/token",
    ],
)
def test_nothing_there(guest: Guest, path: str) -> None:
    assert guest.ask(path).status == 404
    assert guest.ask(path, "PUT").status == 404


def test_other_methods(guest: Guest) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert guest.ask(f"{V}/meta_data.json", method).status == 405
    assert guest.ask(f"{V}/meta_data.json", "HEAD").status == 200


def test_each_guest_has_its_own(
    service: MetadataService, server: ServerRow, network: str, make_server: MakeServer, db: Database
) -> None:
    with db.write() as conn:
        twin_network = addresses.create_network(conn, name="twin", cidr="10.1.0.0/24", shared=True)
    twin = make_server(network=twin_network, fixed_ip=ADDRESS, name="twin", hostname="twin")
    neighbour = make_server(network=network, fixed_ip="10.1.0.10", name="next", hostname="next")

    def uuid_of(network: str, address: str) -> str:
        answer = Guest(service, network, address).ask(f"{V}/meta_data.json")
        return str(orjson.loads(answer.body)["uuid"]) if answer.status == 200 else ""

    assert uuid_of(network, ADDRESS) == server.uuid
    assert uuid_of(twin_network, ADDRESS) == twin.uuid
    assert uuid_of(network, "10.1.0.10") == neighbour.uuid
    assert uuid_of(twin_network, "10.1.0.10") == "", "an address of the other network"
    assert uuid_of(network, "10.1.0.11") == uuid_of("no-network", ADDRESS) == ""
    assert uuid_of(network, "' OR 1=1 --") == ""
    with db.write() as conn:
        conn.execute(update(Server).where(Server.id == twin.id).values(deleted=1))
    assert uuid_of(twin_network, ADDRESS) == ""


def test_password(api: Api, guest: Guest, server: ServerRow) -> None:
    shown = f"/servers/{server.uuid}/os-server-password"
    path = f"{V}/password"
    assert guest.read(path) == ""
    assert guest.ask(path, "POST", b"x" * (MAX_PASSWORD + 1)).status == 400
    assert guest.ask(path, "POST", None).status == 400
    assert guest.ask(path, "POST", b"\xff").status == 400
    assert guest.ask(path, "PUT", b"x").status == 400
    assert guest.ask("/openstack/2012-08-10/password", "POST", b"x").status == 404
    assert api.get(shown).json == {"password": ""}
    assert guest.ask(path, "POST", SECRET.encode()).status == 200
    assert guest.read(path) == SECRET
    assert api.get(shown).json == {"password": SECRET}
    assert guest.ask(path, "POST", b"another").status == 409
    assert api.get(shown).json == {"password": SECRET}
    assert api.delete(shown).status_code == 204
    assert guest.ask("/openstack/2013-04-04/password", "POST", b"y" * MAX_PASSWORD).status == 200
    assert api.get(shown).json == {"password": "y" * MAX_PASSWORD}


def test_no_password_of_the_request(guest: Guest) -> None:
    assert "admin_pass" not in guest.read(f"{V}/meta_data.json")


def test_without_a_database(guest: Guest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest.service, "_db", None)
    answer = guest.ask("/")
    assert (answer.status, answer.body) == (
        500,
        b"An unknown error has occurred. Please try your request again.\n",
    )


# --- HTTP ---


class Wire:
    """A server of `guest`'s answers, on a port of this machine that stands for a bridge."""

    def __init__(self) -> None:
        self.asked: list[Request] = []
        self.server = HttpServer(self._answer)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.port = self.socket.getsockname()[1]
        self.server.serve({"br1": (self.socket, "net-1")})

    async def _answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return Answer(200, b"hello")

    def connect(self) -> socket.socket:
        """A guest's connection."""
        return socket.create_connection(("127.0.0.1", self.port), 5)

    def send(self, data: bytes) -> bytes:
        """All that comes for this."""
        with self.connect() as connection:
            connection.sendall(data)
            return read(connection)

    def status(self, data: bytes) -> int:
        """The status that comes for this; 0 where nothing does."""
        return int((self.send(data).split(b" ") + [b"0"] * 2)[1] or 0)


def read(connection: socket.socket) -> bytes:
    """Until the other side ends."""
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except ConnectionResetError:
        pass
    return found


@pytest.fixture
def wire() -> Iterator[Wire]:
    made = Wire()
    yield made
    made.server.close()


def test_a_request_and_its_answer(wire: Wire) -> None:
    said = wire.send(b"GET /openstack?x=1 HTTP/1.1\r\nHost: 169.254.169.254\r\n\r\n")
    head, body = said.split(b"\r\n\r\n")
    assert head.split(b"\r\n") == [
        b"HTTP/1.1 200 OK",
        b"Content-Type: text/plain; charset=UTF-8",
        b"Content-Length: 5",
        b"Connection: close",
    ]
    assert body == b"hello"
    assert wire.asked == [Request("net-1", "127.0.0.1", "GET", "/openstack", b"")]
    assert wire.send(b"HEAD / HTTP/1.0\r\n\r\n").endswith(b"Content-Length: 5\r\nConnection: close\r\n\r\n")
    wire.send(b"POST /p HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcdef")
    assert wire.asked[-1].body == b"abc"


def test_who_asks_is_not_what_it_says(wire: Wire) -> None:
    lies = b"X-Forwarded-For: 10.1.0.1\r\nForwarded: for=10.1.0.1\r\nX-Instance-ID: other\r\nX-Real-IP: 10.1.0.1\r\n"
    assert wire.status(b"GET / HTTP/1.1\r\n" + lies + b"\r\n") == 200
    assert wire.asked == [Request("net-1", "127.0.0.1", "GET", "/", b"")]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET http://169.254.169.254/ HTTP/1.1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 40_000, 431),
    ],
)
def test_bad_requests(wire: Wire, data: bytes, status: int) -> None:
    assert wire.status(data) in (status, 0 if status == 431 else status)  # what is left unread may reset the connection
    assert wire.asked == []
    assert wire.status(b"GET / HTTP/1.1\r\n\r\n") == 200


def test_a_body_that_is_too_long_is_not_read(wire: Wire) -> None:
    assert wire.status(f"POST / HTTP/1.1\r\nContent-Length: {10**12}\r\n\r\n".encode()) == 200
    assert wire.asked[-1].body is None


def test_who_says_nothing_is_let_go(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "DEADLINE", 0.2)
    with wire.connect() as idle, wire.connect() as slow:
        slow.sendall(b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc")
        began = time.monotonic()
        assert read(idle) == read(slow) == b""
        assert time.monotonic() - began < 3
    assert wire.status(b"GET / HTTP/1.1\r\n\r\n") == 200
    assert len(wire.asked) == 1


def test_a_guest_has_only_so_many_connections(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "GUEST_CONNECTIONS", 2)
    with wire.connect() as one, wire.connect() as two:
        one.sendall(b"GET")
        two.sendall(b"GET")
        time.sleep(0.1)
        assert wire.status(b"GET / HTTP/1.1\r\n\r\n") == 0
        one.sendall(b" / HTTP/1.1\r\n\r\n")
        assert read(one).startswith(b"HTTP/1.1 200")
        assert wire.status(b"GET / HTTP/1.1\r\n\r\n") == 200


def test_a_guest_asks_only_so_often(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BURST", 3.0)
    monkeypatch.setattr(http, "RATE", 0.001)
    found = [wire.status(b"GET / HTTP/1.1\r\n\r\n") for _ in range(5)]
    assert found == [200, 200, 200, 429, 429]


def test_rates() -> None:
    rates, one, two = Rates(), ("net-1", "10.1.0.1"), ("net-2", "10.1.0.1")
    allowed = [rates.allow(one, 100.0) for _ in range(int(http.BURST) + 5)]
    assert allowed.count(True) == http.BURST
    assert rates.allow(two, 100.0), "another guest"
    assert not rates.allow(one, 100.0 + 0.5 / http.RATE)
    assert rates.allow(one, 100.0 + 2 / http.RATE)
    for number in range(5000):
        rates.allow(("net-1", str(number)), 101.0)
    assert len(rates._left) <= 4096


def test_bridges_come_and_go(wire: Wire) -> None:
    assert wire.server.known() == {"br1": wire.socket}
    other = socket.create_server(("127.0.0.1", 0))
    other.setblocking(False)
    port = other.getsockname()[1]
    wire.server.serve({"br2": (other, "net-2")})
    with pytest.raises(ConnectionRefusedError):
        wire.connect()
    wire.port = port
    assert wire.status(b"GET / HTTP/1.1\r\n\r\n") == 200
    assert wire.asked[-1].network == "net-2"
    wire.server.serve({})
    with pytest.raises(ConnectionRefusedError):
        wire.connect()
