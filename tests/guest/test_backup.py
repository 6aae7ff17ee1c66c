# SPDX-License-Identifier: Apache-2.0
"""A cloud with a real guest: everything it knew is lost and restored while the guest runs on; then what was changed
behind its back is found, by hand as an operator does it.

API, compute service and commands are processes; the guest counts the seconds on its console, and says what it reads
from its volume.
"""

from __future__ import annotations

import base64
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.databases import Engine, Sqlite
from tests.guest.hosts import REPOSITORY, IsolatedHost, isolated_host, wait_for
from tests.ops.servers import Cloud
from tests.ops.test_backup import Client

pytestmark = pytest.mark.guest

#: It writes on the first volume that it gets, once in its life, and reads it each second.
SAYS = b"""#!/bin/sh
n=0 w=
while sleep 1; do
  n=$((n+1)) v=none
  if [ -b /dev/vdb ]; then
    [ "$w" ] || printf kept | dd of=/dev/vdb conv=notrunc,fsync 2>/dev/null
    w=1 v=$(dd if=/dev/vdb bs=4 count=1 2>/dev/null | tr -d '\\0')
  fi
  read -r up _ </proc/uptime
  echo "TICK $n up=$up vdb=$v."
done
"""


def unit(option: str) -> list[str]:
    """What the compute service's unit says of it, each time."""
    text = (REPOSITORY / "etc" / "computeapi-compute.service").read_text()
    return re.findall(rf"^{option}=(.*)$", text, re.MULTILINE)


def before_the_service() -> list[str]:
    """What systemd runs with full rights."""
    return [line.removeprefix("+") for line in unit("ExecStartPre") if line.startswith("+")]


def only_capabilities() -> list[str]:
    """For setpriv: those that systemd leaves to the service."""
    (names,) = unit("CapabilityBoundingSet")
    few = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in names.split())
    return [f"--bounding-set=-all,{few}", f"--inh-caps=-all,{few}", f"--ambient-caps=-all,{few}"]


class RealCloud(Cloud):
    """A cloud on an isolated host: its compute service runs where the host's networks are, with no more rights than its
    unit gives it (but for the user, who is root)."""

    def __init__(self, host: IsolatedHost, directory: Path, database_url: str) -> None:
        self.host, self._url = host, database_url
        super().__init__(directory)

    def write_conf(self, text: str) -> None:
        """See Cloud."""
        conf = f"""[DEFAULT]\nhost = host1\n[api]\nworkers = 1\nquery_timeout = 30
[compute]\nhypervisor = libvirt\nheartbeat_interval = 1\nshutdown_timeout = 1
[libvirt]\nconnection_uri = {self.host.uri}\nvirt_type = qemu
[database]\nconnection = {self._url}\n"""
        (self.directory / "computeapi.conf").write_text(conf + text)

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        """See Cloud."""
        if words[0] != "compute":
            return super().start(*words, **more)
        inside = ["ip", "netns", "exec", self.host.netns]
        for line in before_the_service():
            subprocess.run([*inside, "sh", "-c", line], check=True, capture_output=True, timeout=60)
        command = [*inside, "setpriv", "--no-new-privs", *only_capabilities(), *self.command(*words)]
        return subprocess.Popen(command, env=self.environment, cwd=self.directory, text=True, **more)

    def save(self, directory: Path) -> None:
        """`computeapi backup`, and pg_dump where it asks for it."""
        done = self.run("backup", str(directory))
        assert done.returncode == 0, done.stderr
        assert ("pg_dump --format=custom" in done.stdout) == bool(self._url)
        if self._url:
            self._postgresql("pg_dump", "--format=custom", f"--file={directory}/computeapi.dump")

    def wipe(self) -> None:
        """All that a backup has is gone. Disks and console logs are not the cloud's knowledge."""
        for name in ("keys", "images"):
            shutil.rmtree(self.directory / name)
        for path in [*self.directory.glob("computeapi.db*"), self.directory / "clouds.yaml"]:
            path.unlink(missing_ok=True)
        if self._url:
            self._postgresql("psql", "--quiet", "--command=DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        assert self.run("status").returncode == 2
        (self.directory / "computeapi.conf").unlink()

    def restore(self, directory: Path) -> None:
        """`computeapi restore`, and pg_restore where it asks for it."""
        done = self.run("restore", str(directory))
        assert done.returncode == 0, done.stderr
        assert ("pg_restore" in done.stdout) == bool(self._url)
        if self._url:
            self._postgresql("pg_restore", "--no-owner", "--exit-on-error", f"{directory}/computeapi.dump")

    def _postgresql(self, program: str, *words: str) -> None:
        url = self._url.replace("+psycopg", "")
        subprocess.run([program, f"--dbname={url}", *words], check=True, capture_output=True, timeout=60)

    def virsh(self, *words: str) -> str:
        """What an operator does by hand."""
        command = ["virsh", "--quiet", "--connect", self.host.uri, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


class Told:
    """A server, by what its console has."""

    def __init__(self, client: Client, server_id: str) -> None:
        self.client, self.id = client, server_id

    def console(self) -> str:
        """All of it."""
        answer = self.client.call("POST", f"/v2.1/servers/{self.id}/action", {"os-getConsoleOutput": {}})
        return str(answer["output"])

    def ticks(self) -> list[tuple[int, float, str]]:
        """Seconds counted, uptime, what it read from its volume."""
        found = re.findall(r"TICK (\d+) up=([\d.]+) vdb=(\w*)\.", self.console())
        return [(int(number), float(up), read) for number, up, read in found]

    def reads(self, what: str) -> None:
        """The last that it read from its volume is that."""
        wait_for(lambda: (ticks := self.ticks()) and ticks[-1][2] == what, f"it reads {what}")

    def is_(self, status: str) -> None:
        """It comes to rest so."""

        def rests() -> bool:
            shown = self.client.show(self.id)
            return (shown["status"], shown["OS-EXT-STS:task_state"]) == (status, None)

        wait_for(rests, f"{self.id} is {status}")


@pytest.fixture
def cloud(tiny: Path, database_engine: Engine, tmp_path: Path) -> Iterator[RealCloud]:
    for host in isolated_host(tmp_path):
        url = "" if isinstance(database_engine, Sqlite) else database_engine.new(tmp_path)
        cloud = RealCloud(host, tmp_path / "cloud", url)
        done = cloud.run("init", "--image-file", str(tiny))
        assert done.returncode == 0, done.stderr
        yield cloud


def boot(client: Client) -> Told:
    """The guest, with a volume."""
    image = client.call("GET", "/image/v2/images")["images"][0]["id"]
    data = base64.b64encode(SAYS).decode()
    server = {"name": "kept", "imageRef": image, "flavorRef": "0", "user_data": data, "config_drive": True}
    told = Told(client, client.call("POST", "/v2.1/servers", {"server": server})["server"]["id"])
    told.is_("ACTIVE")
    return told


def attach(told: Told, volume: str) -> None:
    """The guest reads from it."""
    path = f"/v2.1/servers/{told.id}/os-volume_attachments"
    told.client.call("POST", path, {"volumeAttachment": {"volumeId": volume}})
    told.reads("kept")


def drift(cloud: RealCloud, *words: str) -> str:
    """What `computeapi reconcile` says."""
    done = cloud.run("reconcile", *words)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


def test_a_guest_lives_through_it(cloud: RealCloud, tmp_path: Path) -> None:
    """Backup, wipe, restore: uptime goes on, and console, volume and address are there."""
    saved = tmp_path / "saved"
    with cloud.running("compute"), cloud.running("api"):
        cloud.wait_until_it_answers()
        client = Client(cloud)
        volume = client.call("POST", "/volume/v3/volumes", {"volume": {"size": 1}})["volume"]["id"]
        told = boot(client)
        wait_for(told.ticks, "it counts")
        attach(told, volume)
        cloud.save(saved)
        before, shown = told.ticks(), client.show(told.id)
        (address,) = (each["addr"] for each in next(iter(shown["addresses"].values())))
    cloud.wipe()
    assert cloud.host.ping(address), "nothing of us runs, and the guest does"
    cloud.restore(saved)
    with cloud.running("compute"), cloud.running("api"):
        cloud.wait_until_it_answers()
        wait_for(lambda: cloud.run("status").returncode == 0, "all is well")
        assert drift(cloud, "--dry-run") == "==> host1 is as the database says\n"
        now = client.show(told.id)
        assert now | {"updated": ""} == shown | {"updated": ""}, "the token of before is good, and all is as it was"
        wait_for(lambda: told.ticks()[-1][0] > before[-1][0], "it counts on")
        assert told.ticks()[: len(before)] == before, "the console has all since the boot"
        seconds = [tick[0] for tick in told.ticks()]
        assert seconds == list(range(1, len(seconds) + 1)), "no second is missing"
        assert told.console().count("GUEST-READY") == 1, "it did not boot"
        assert cloud.host.ping(address)
        assert "no security groups" not in (cloud.directory / "compute.out").read_text()
        client.call("DELETE", f"/v2.1/servers/{told.id}/os-volume_attachments/{volume}")
        told.reads("none")
        attach(told, volume)
    changed_by_hand(cloud, told, volume)


def define(cloud: RealCloud, name: str, more: str) -> str:
    """A guest that is not of the cloud's making; its id."""
    path, guest_id = cloud.directory / f"{name}.xml", str(uuid.uuid4())
    path.write_text(
        f"<domain type='qemu'><name>{name}</name><uuid>{guest_id}</uuid>{more}<memory unit='MiB'>16</memory>"
        "<os><type arch='x86_64'>hvm</type></os></domain>"
    )
    cloud.virsh("define", str(path))
    return guest_id


def changed_by_hand(cloud: RealCloud, told: Told, volume: str) -> None:
    """Each told, and mended where it can be: a guest that has our mark and that nobody knows, one that was put
    out, a disk that was taken away, a guest that was undefined. A guest without our mark is none of ours."""
    found = re.search("<metadata.*</metadata>", cloud.virsh("dumpxml", told.id), re.DOTALL)
    assert found
    stranger = define(cloud, "stranger", found[0])
    others = define(cloud, "others", "")
    cloud.virsh("destroy", told.id)
    file = cloud.directory / "disks" / f"volume-{volume}"
    file.rename(cloud.directory / "taken")
    said = drift(cloud, "--dry-run")
    assert f"guest {stranger} is not in the database; left alone" in said
    assert f"server {told.id} is active: its guest is SHUTDOWN; it should be stopped" in said
    assert f"disk volume-{volume} of volume {volume} is missing" in said
    said = drift(cloud)
    assert f"set right: server {told.id}: its guest is SHUTDOWN" in said
    assert f"disk volume-{volume} of volume {volume} is missing" in said
    (cloud.directory / "taken").rename(file)
    cloud.virsh("undefine", told.id, "--nvram", "--managed-save", "--snapshots-metadata")
    assert f"server {told.id} is stopped: its guest is missing; it should be error" in drift(cloud, "--dry-run")
    assert drift(cloud).count("set right") == 1
    assert drift(cloud) == f"==> guest {stranger} is not in the database; left alone\n"
    assert set(cloud.virsh("list", "--all", "--uuid").split()) == {stranger, others}
    with cloud.running("compute"), cloud.running("api"):
        cloud.wait_until_it_answers()
        told.is_("ERROR")
        assert "a hard reboot makes it anew" in told.client.show(told.id)["fault"]["message"]
        told.client.call("POST", f"/v2.1/servers/{told.id}/action", {"reboot": {"type": "HARD"}})
        told.is_("ACTIVE")
        wait_for(lambda: "GUEST-DATA boots=2" in told.console(), "it is its disk")
