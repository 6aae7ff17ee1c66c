# SPDX-License-Identifier: Apache-2.0
"""What takes a second host, by the stock clients, on simulated hosts: a server moves, and is evacuated when its host is
lost; and the rest of what can be done to a server that the other tests of this directory don't ask for."""

from __future__ import annotations

import subprocess
import sys
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
    wanted = {"service_down_time": 6, "heartbeat_interval": 1, "shelved_offload_time": -1}
    wanted["reclaim_instance_interval"] = 3600
    cloud.settings = {f"OS_COMPUTE__{name.upper()}": str(value) for name, value in wanted.items()}
    cloud.start()
    pair = Pair(cloud)
    yield pair
    pair.close()
    cloud.stop()


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
    openstack("server", "migrate", server)
    settled(openstack, server, "VERIFY_RESIZE")
    openstack("server", "migrate", "revert", server)
    settled(openstack, server, "ACTIVE")
    assert pair.host(server) == "right"

    nova("live-migration", "--block-migrate", server)
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
    openstack("server", "delete", server, "--force", "--wait")


@pytest.mark.parametrize("environment", ["today's", "7.1.2"])
def test_moves_by_novaclient(pair: Pair, environment: str) -> None:
    """Its commands for one server and for all of a host."""
    old = environment == "7.1.2"
    nova = Shell(pair.cloud, "nova", OLD_CLIENTS if old else CLIENTS)
    server = boot(pair, f"nova-{environment[0]}", "left")
    try:
        nova("migrate", "--poll", server)
        nova_settled(nova, server, "VERIFY_RESIZE")
        nova("resize-confirm", server)
        nova_settled(nova, server, "ACTIVE")
        nova("live-migration", "--block-migrate", server, "left")
        nova_settled(nova, server, "ACTIVE")
        assert pair.host(server) == "left"
        assert nova.table("migration-list")[0]["Status"] == "completed"
        pair.kill("left")
        nova(*(("host-evacuate", "left") if old else ("evacuate", "--password", "x1Y2z3", server)))
        nova_settled(nova, server, "ACTIVE")
        assert pair.host(server) == "right"
        pair.start("left")
        leave = ("host-servers-migrate", "right")
        pair.cloud.wait_for(lambda: "True" in nova(*leave), "left has cleaned up again", 60)
        nova_settled(nova, server, "VERIFY_RESIZE")
        nova("resize-revert", server)
        nova_settled(nova, server, "ACTIVE")
        assert pair.host(server) == "right"
        pair.openstack("server", "delete", server, "--force", "--wait")
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
    openstack("server", "delete", "beside", "--force", "--wait")
    openstack("server", "add", "fixed", "ip", server, "private")
    settled(openstack, server, "ACTIVE")
    first, second = openstack.show("server", "show", server)["addresses"]["private"]
    openstack("server", "remove", "fixed", "ip", server, second)
    settled(openstack, server, "ACTIVE")
    assert openstack.show("server", "show", server)["addresses"]["private"] == [first]
    openstack("server", "add", "network", server, "private")
    settled(openstack, server, "ACTIVE")
    openstack("server", "remove", "network", server, "private")
    pair.cloud.wait_for(lambda: openstack.show("server", "show", server)["addresses"] == {}, "it has no interface", 60)
    openstack("server", "shelve", server)
    settled(openstack, server, "SHELVED")
    openstack("server", "unshelve", server, "--wait")
    volume = make_volume(pair, "1", "rest-data")
    openstack("server", "add", "volume", server, volume)
    pair.cloud.wait_for(lambda: shown(pair, volume) == "in-use", "the volume is in use", 60)
    openstack("volume", "set", "--size", "2", volume)
    pair.cloud.wait_for(lambda: shown(pair, volume) == "in-use", "it grows while the server has it", 60)
    assert openstack.show("volume", "show", volume)["size"] == 2
    assert [row["Volume ID"] for row in openstack.show("server", "volume", "list", server)] == [volume]
    openstack("server", "remove", "volume", server, volume)
    pair.cloud.wait_for(lambda: shown(pair, volume) == "available", "the volume is free", 60)
    openstack("volume", "snapshot", "create", "--volume", volume, "rest-moment")
    moment = ("volume", "snapshot", "show", "rest-moment")
    pair.cloud.wait_for(lambda: openstack.show(*moment)["status"] == "available", "a snapshot", 60)
    openstack("volume", "revert", "rest-moment")
    pair.cloud.wait_for(lambda: shown(pair, volume) == "available", "it has gone back", 60)
    openstack("volume", "snapshot", "delete", "rest-moment")
    openstack("server", "delete", server)
    pair.cloud.wait_for(lambda: openstack.show("server", "show", server)["status"] == "SOFT_DELETED", "deleted", 60)
    openstack("server", "restore", server)
    settled(openstack, server, "ACTIVE")
    assert openstack.show("console", "url", "show", "--serial", server)["type"] == "serial"
    assert "400" in openstack.refused("console", "url", "show", "--rdp", server)
    openstack("server", "delete", server, "--force", "--wait")


@pytest.mark.parametrize("environment", ["today's", "7.1.2"])
def test_the_rest_by_novaclient(pair: Pair, environment: str) -> None:
    """The same of novaclient."""
    old = environment == "7.1.2"
    nova = Shell(pair.cloud, "nova", OLD_CLIENTS if old else CLIENTS)
    try:
        _the_rest(pair, nova, old=old)
    finally:
        nova.close()


def _the_rest(pair: Pair, nova: Shell, *, old: bool) -> None:
    server = boot(pair, f"nova-rest-{old}", "left")
    nova("image-create", server, "nova-image", "--poll")
    nova("backup", server, "nova-backup", "daily", "1")
    nova_settled(nova, server, "ACTIVE")
    volume, larger = (make_volume(pair, size, "nova-data") for size in "12")
    nova("volume-attach", server, volume)
    pair.cloud.wait_for(lambda: shown(pair, volume) == "in-use", "the volume is in use", 60)
    assert nova.table("volume-attachments", server)[0]["VOLUME ID"] == volume
    nova("volume-update", server, volume, larger)
    pair.cloud.wait_for(lambda: shown(pair, larger) == "in-use", "the larger one is in its place", 60)
    nova("volume-detach", server, larger)
    pair.cloud.wait_for(lambda: shown(pair, larger) == "available", "the volume is free", 60)
    pair.openstack("volume", "delete", volume, larger)
    assert nova.table("get-serial-console", server)[0]["Type"] == "serial"
    for command, kind in (("vnc", "novnc"), ("spice", "spice-html5"), ("rdp", "rdp-html5")):
        assert "400" in nova.refused(f"get-{command}-console", server, kind), "a simulated guest has no screen"
    nova("get-password", server)
    nova("clear-password", server)
    nova("diagnostics", server)
    nova("host-meta", "left", "set", "rack=7")
    assert '"rack": "7"' in nova.properties("show", server)["metadata"]
    nova("refresh-network", server)
    (first, *_) = nova.table("instance-action-list", server)
    assert nova.properties("instance-action", server, first["Request_ID"])["action"] == first["Action"]
    group = nova.table("server-group-create", "near", "affinity")[0]["Id"]
    assert group in {row["Id"] for row in nova.table("server-group-list")}
    assert nova.table("server-group-get", group)[0]["Name"] == "near"
    nova("server-group-delete", group)
    if old:
        nova("add-fixed-ip", server, pair.openstack.show("network", "show", "private")["id"])
        nova_settled(nova, server, "ACTIVE")
        _, second = nova.properties("show", server)["private network"].split(", ")
        nova("remove-fixed-ip", server, second)
        nova_settled(nova, server, "ACTIVE")
    nova("shelve", server)
    nova_settled(nova, server, "SHELVED")
    nova("shelve-offload", server)
    nova_settled(nova, server, "SHELVED_OFFLOADED")
    nova("unshelve", server)
    nova_settled(nova, server, "ACTIVE")
    nova("delete", server)
    nova_settled(nova, server, "SOFT_DELETED")
    nova("restore", server)
    nova_settled(nova, server, "ACTIVE")
    nova("force-delete", server)
    pair.cloud.wait_for(lambda: nova.run("show", server)["code"] != 0, "it is gone", 60)


def make_volume(pair: Pair, size: str, name: str) -> str:
    """A volume on the host "left"; its id."""
    service = ("compute", "service", "set")
    pair.openstack(*service, "--disable", "right", "nova-compute")
    volume = str(pair.openstack.show("volume", "create", "--size", size, name)["id"])
    pair.openstack(*service, "--enable", "right", "nova-compute")
    pair.cloud.wait_for(lambda: shown(pair, volume) == "available", "a volume", 60)
    return volume


def shown(pair: Pair, volume: str) -> Any:
    """A volume's status."""
    return pair.openstack.show("volume", "show", volume)["status"]


def test_moves_by_openstacksdk(pair: Pair) -> None:
    """tests/clients/drive_moves.py."""
    boot(pair, "sdk-mover", "left")
    make_volume(pair, "1", "sdk-data")
    pair.cloud.script("drive_moves.py")
    pair.openstack("server", "delete", "sdk-mover", "--force", "--wait")
