# SPDX-License-Identifier: Apache-2.0
"""Sockets for one bridge each, in a namespace that the test makes (as root): two networks with the same addresses."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator

import pytest

from computeapi.compute.metadata.http import Answer, HttpServer, Request
from computeapi.virt.firewall import Firewall, LocalNetwork
from computeapi.virt.libvirt.host_network import HostNetwork

pytestmark = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nftables")

PORT = 8775
BRIDGES = ("br1", "br2")
_CLIENT = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as connection:
        connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(connection.makefile().read().splitlines()[-1])
except OSError as error:
    print(error)
"""


def run(*command: str) -> str:
    """What a command says."""
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


class Place:
    """A host with two bridges, both 10.9.0.1/24, and on each of them a guest 10.9.0.5."""

    def __init__(self) -> None:
        self.name = f"capi-test-{uuid.uuid4().hex[:8]}"
        run("ip", "netns", "add", self.name)
        for bridge in BRIDGES:
            run("ip", "netns", "add", self.guest(bridge))
            self.add(bridge)

    def guest(self, bridge: str) -> str:
        """The namespace of a bridge's guest."""
        return f"{self.name}-{bridge}"

    def add(self, bridge: str) -> None:
        """Make a bridge, with its guest's cable."""
        here, there = ["ip", "-n", self.name], ["ip", "-n", self.guest(bridge)]
        run(*here, "link", "add", bridge, "type", "bridge")
        run(*here, "addr", "add", "10.9.0.1/24", "dev", bridge)
        run(*here, "link", "add", f"tap-{bridge}", "type", "veth", "peer", "name", "eth0", "netns", self.guest(bridge))
        for device in (bridge, f"tap-{bridge}"):
            run(*here, "link", "set", device, *(["master", bridge] if device != bridge else []), "up")
        run(*there, "addr", "add", "10.9.0.5/24", "dev", "eth0")
        run(*there, "link", "set", "eth0", "up")
        run(*there, "route", "add", "default", "via", "10.9.0.1")

    def ask(self, bridge: str, address: str = "169.254.169.254", port: int = 80) -> str:
        """What the guest is answered."""
        command = ["ip", "netns", "exec", self.guest(bridge), "python3", "-c", _CLIENT, address, str(port)]
        return run(*command).strip()

    def close(self) -> None:
        """All is gone."""
        for bridge in BRIDGES:
            run("ip", "netns", "del", self.guest(bridge))
        run("ip", "netns", "del", self.name)


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[HttpServer]:
    async def answer(request: Request) -> Answer:
        return Answer(200, f"{request.address} on {request.network}\n".encode())

    made = HttpServer(answer)
    yield made
    made.close()


def test_each_bridge_has_its_own(place: Place, server: HttpServer) -> None:
    network = HostNetwork("qemu:///system", place.name)

    def serve() -> None:
        sockets = network.listen([*BRIDGES, "br3"], PORT, server.known())
        server.serve({bridge: (found, f"net-{bridge}") for bridge, found in sockets.items()})

    serve()
    firewall = Firewall(
        networks=tuple(LocalNetwork(f"n{bridge}", bridge, "10.9.0.0/24") for bridge in BRIDGES),
        owners=tuple((f"tap-{bridge}", ("10.9.0.5",)) for bridge in BRIDGES),
        metadata_port=PORT,
    )
    network.apply(lambda: firewall)
    for bridge in BRIDGES * 2:
        assert place.ask(bridge) == f"10.9.0.5 on net-{bridge}"
        assert place.ask(bridge, "10.9.0.1", PORT) == "timed out", "the port itself answers nobody"

    kept = server.known()
    serve()
    assert server.known() == kept, "nothing changed"
    run("ip", "-n", place.name, "link", "del", "br2")
    run("ip", "-n", place.name, "link", "del", "tap-br2")
    place.add("br2")
    assert place.ask("br2") != "10.9.0.5 on net-br2", "it listens to a device that is gone"
    serve()
    assert server.known()["br1"] is kept["br1"]
    assert place.ask("br2") == "10.9.0.5 on net-br2"
    assert place.ask("br1") == "10.9.0.5 on net-br1"

    guest = ("ip", "-n", place.guest("br1"))
    run(*guest, "addr", "del", "10.9.0.5/24", "dev", "eth0")
    run(*guest, "addr", "add", "10.9.0.6/24", "dev", "eth0")
    run(*guest, "route", "replace", "default", "via", "10.9.0.1")
    assert place.ask("br1") == "timed out", "an address that is not the interface's own"


def test_a_host_that_was_started_anew(place: Place) -> None:
    """Its devices may even have the names and numbers that they had."""
    again = Place()
    try:
        old = HostNetwork("qemu:///system", place.name).listen(["br1"], PORT, {})
        new = HostNetwork("qemu:///system", again.name).listen(["br1"], PORT, old)
        assert new["br1"] is not old["br1"]
        old["br1"].close()
        new["br1"].close()
    finally:
        again.close()
