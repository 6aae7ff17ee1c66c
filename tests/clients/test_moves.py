# SPDX-License-Identifier: Apache-2.0
"""What takes a second host, by the stock clients, on simulated hosts: a server moves, and is evacuated when its host is
lost; and the rest of what can be done to a server that the other tests of this directory don't ask for."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.clouds import CLIENTS, OLD_CLIENTS, REPOSITORY, Cloud, Shell
from tests.clients.test_novaclient import settled as nova_settled
from tests.clients.test_openstackclient_compute import settled

pytestmark = pytest.mark.clients

HOSTS = ("left", "right")


class Pair:
    """A cloud whose hosts, "left" and "right", are services of their own beside the one of `computeapi serve`."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.openstack, self.nova = Shell(cloud, "openstack"), Shell(cloud, "nova")
        (own,) = self.openstack.column("Hypervisor Hostname", "hypervisor", "list")
        self.openstack("compute", "service", "set", "--disable", str(own), "nova-compute")
        for name in HOSTS:
            self.start(name)

    def start(self, name: str) -> None:
        """That host's service runs, and counts as up."""
        command = [sys.executable, "-m", "computeapi", "compute", "--host", name]
        with open(self.cloud.state / f"{name}.log", "ab") as log:
            self._processes[name] = subprocess.Popen(
                command, cwd=REPOSITORY, env=self.cloud.environment, stdout=log, stderr=log
            )
        self.cloud.wait_for(lambda: self.state(name) == "up", f"{name} is up", 60)

    def kill(self, name: str) -> None:
        """It is lost."""
        self._processes[name].kill()
        self._processes.pop(name).wait(30)
        self.cloud.wait_for(lambda: self.state(name) == "down", f"{name} is down", 60)

    def state(self, name: str) -> str:
        """As the client shows it."""
        rows = self.openstack.show("compute", "service", "list", "--host", name)
        return str(rows[0]["State"]) if rows else "unknown"

    def close(self) -> None:
        """End the services."""
        for process in self._processes.values():
            process.kill()
            process.wait(30)
        self.openstack.close()
        self.nova.close()

    def host(self, server: str) -> str:
        """Where a server is."""
        return str(self.openstack.show("server", "show", server)["OS-EXT-SRV-ATTR:host"])

    def migrations(self, server: str) -> list[tuple[str, str]]:
        """Kind and status of its migrations, the oldest first."""
        rows = self.openstack.show("server", "migration", "list", "--server", server)
        return [(row["Type"], row["Status"]) for row in reversed(rows)] if rows and "Type" in rows[0] else [
            ("", row["Status"]) for row in reversed(rows)
        ]  # fmt: skip


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Two hosts that are soon missed."""
    cloud = Cloud(tmp_path_factory.mktemp("pair"), ["--hypervisor", "simulator"])
    cloud.settings = {"OS_COMPUTE__SERVICE_DOWN_TIME": "6", "OS_COMPUTE__HEARTBEAT_INTERVAL": "1"}
    cloud.start()
    pair = Pair(cloud)
    yield pair
    pair.close()
    cloud.stop()


def patiently(shell: Shell, *command: str) -> str:
    """What a command says that must end well as soon as the other host has cleaned up after the server."""
    until = time.monotonic() + 60
    while (answer := shell.run(*command))["code"] != 0:
        assert "still cleaning up" in answer["err"], answer
        assert time.monotonic() < until, answer
        time.sleep(0.5)
    return str(answer["out"])


def boot(pair: Pair, name: str, host: str) -> str:
    """A running server there; its id."""
    more = ("--availability-zone", f"nova:{host}", "--wait")
    made = pair.openstack.show(
        "server", "create", "--image", "tiny", "--flavor", "m1.tiny", "--network", "private", *more, name
    )
    assert made["status"] == "ACTIVE"
    return str(made["id"])


def other(host: str) -> str:
    """The other host."""
    return HOSTS[host == HOSTS[0]]


def test_moves_by_the_stock_client(pair: Pair) -> None:
    """Cold, confirmed and reverted; live; evacuated, and back comes a host that has nothing of it.

    Live by novaclient: `openstack server migrate --live-migration` 10.5.0 fails in itself below 2.25 (it calls
    openstacksdk with `disk_overcommit`, an argument that is not there).
    """
    openstack, nova = pair.openstack, pair.nova
    server = boot(pair, "mover", "left")
    openstack("server", "migrate", server, "--wait")
    settled(openstack, server, "VERIFY_RESIZE")
    openstack("server", "migrate", "confirm", server)
    settled(openstack, server, "ACTIVE")
    assert pair.host(server) == "right"
    patiently(openstack, "server", "migrate", server)
    settled(openstack, server, "VERIFY_RESIZE")
    openstack("server", "migrate", "revert", server)
    settled(openstack, server, "ACTIVE")
    assert pair.host(server) == "right"

    patiently(nova, "live-migration", "--block-migrate", server)
    settled(openstack, server, "ACTIVE")
    assert pair.host(server) == "left"
    assert "No valid host" in nova.refused("live-migration", server), "without a copy of its disk"
    assert [status for _, status in pair.migrations(server)] == ["confirmed", "reverted", "completed"]

    assert "still in use" in openstack.refused("server", "evacuate", server)
    pair.kill("left")
    openstack("server", "evacuate", server, "--password", "x1Y2z3")
    settled(openstack, server, "ACTIVE")
    assert pair.host(server) == "right"
    pair.start("left")
    openstack("host", "set", "right", "--enable-maintenance")
    pair.cloud.wait_for(lambda: pair.host(server) == "left", "it has left the host in maintenance", 90)
    settled(openstack, server, "ACTIVE")
    openstack("host", "set", "right", "--disable-maintenance", "--enable")
    openstack("server", "delete", server, "--wait")


@pytest.mark.parametrize("environment", ["today's", "7.1.2"])
def test_moves_by_novaclient(pair: Pair, environment: str) -> None:
    """Its commands for one server and for all of a host."""
    nova = Shell(pair.cloud, "nova", CLIENTS if environment == "today's" else OLD_CLIENTS)
    server = boot(pair, f"nova-{environment[0]}", "left")
    try:
        nova("migrate", "--poll", server)
        nova_settled(nova, server, "VERIFY_RESIZE")
        nova("resize-confirm", server)
        nova_settled(nova, server, "ACTIVE")
        patiently(nova, "live-migration", "--block-migrate", server, "left")
        nova_settled(nova, server, "ACTIVE")
        assert pair.host(server) == "left"
        assert nova.table("migration-list")[0]["Status"] == "completed"
        pair.kill("left")
        nova("evacuate", "--password", "x1Y2z3", server)
        nova_settled(nova, server, "ACTIVE")
        assert pair.host(server) == "right"
        pair.start("left")
        leave = ("host-servers-migrate", "right")
        pair.cloud.wait_for(lambda: "True" in nova(*leave), "left has cleaned up again", 60)
        nova_settled(nova, server, "VERIFY_RESIZE")
        nova("resize-revert", server)
        nova_settled(nova, server, "ACTIVE")
        assert pair.host(server) == "right"
        pair.openstack("server", "delete", server, "--wait")
    finally:
        nova.close()


def test_the_rest_by_the_stock_client(pair: Pair) -> None:
    """What no other test of this directory asks for."""
    openstack = pair.openstack
    server = boot(pair, "rest", "left")
    openstack("server", "set", "--password", "x1Y2z3", server)
    settled(openstack, server, "ACTIVE")
    assert openstack.show("server", "show", "--diagnostics", server)
    assert "400" in openstack.refused("server", "dump", "create", server), "a later version of the API has it"
    group = openstack.show("server", "group", "create", "near", "--policy", "affinity")["id"]
    beside = openstack.show(
        "server", "create", "--image", "tiny", "--flavor", "m1.tiny", "--network", "private", "--wait",
        "--hint", f"group={group}", "--hint", f"same_host={server}", "beside",
    )  # fmt: skip
    assert pair.host(beside["id"]) == "left"
    assert openstack.show("server", "group", "show", group)["members"] == [beside["id"]]
    openstack("server", "group", "delete", group)
    openstack("server", "delete", "beside", "--wait")
    openstack("server", "add", "fixed", "ip", server, "private")
    settled(openstack, server, "ACTIVE")
    first, second = openstack.show("server", "show", server)["addresses"]["private"]
    openstack("server", "remove", "fixed", "ip", server, second)
    settled(openstack, server, "ACTIVE")
    assert openstack.show("server", "show", server)["addresses"]["private"] == [first]
    openstack("server", "shelve", server, "--wait")
    openstack("server", "unshelve", server, "--wait")
    assert openstack.show("console", "url", "show", "--serial", server)["type"] == "serial"
    assert "400" in openstack.refused("console", "url", "show", "--rdp", server)
    openstack("server", "delete", server, "--force", "--wait")


def test_the_rest_by_novaclient(pair: Pair) -> None:
    """The same of today's novaclient."""
    nova = pair.nova
    server = boot(pair, "nova-rest", "left")
    volume = pair.openstack.show("volume", "create", "--size", "1", "nova-data")["id"]
    nova("image-create", server, "nova-image", "--poll")
    nova("backup", server, "nova-backup", "daily", "1")
    nova_settled(nova, server, "ACTIVE")
    pair.cloud.wait_for(lambda: shown(pair, volume) == "available", "a volume", 60)
    nova("volume-attach", server, volume)
    pair.cloud.wait_for(lambda: shown(pair, volume) == "in-use", "the volume is in use", 60)
    assert nova.table("volume-attachments", server)[0]["VOLUME ID"] == volume
    nova("volume-detach", server, volume)
    pair.cloud.wait_for(lambda: shown(pair, volume) == "available", "the volume is free", 60)
    pair.openstack("volume", "delete", volume)
    assert nova.table("get-serial-console", server)[0]["Type"] == "serial"
    for command in ("get-vnc-console", "get-spice-console", "get-rdp-console"):
        kind = {"get-vnc-console": "novnc", "get-spice-console": "spice-html5", "get-rdp-console": "rdp-html5"}
        assert "400" in nova.refused(command, server, kind[command]), "a simulated guest has no screen"
    assert nova.run("get-password", server)["code"] == 0
    nova("clear-password", server)
    assert nova("diagnostics", server)
    nova("shelve", server)
    nova_settled(nova, server, "SHELVED_OFFLOADED")
    nova("unshelve", server)
    nova_settled(nova, server, "ACTIVE")
    nova("force-delete", server)
    pair.cloud.wait_for(lambda: nova.run("show", server)["code"] != 0, "it is gone", 60)


def shown(pair: Pair, volume: str) -> Any:
    """A volume's status."""
    return pair.openstack.show("volume", "show", volume)["status"]
