# SPDX-License-Identifier: Apache-2.0
"""The kit of tests with two libvirt hosts on one machine, and a compute service of its own on each.

The compute services are processes inside their hosts' network namespaces, as on two machines: they know of each other
by the database alone, reach each other's libvirtd over the fabric, and are killed with SIGKILL. The guest counts its
boots on its disk, and in its first boot the seconds on its console: so it tells whether it ran on, and which disk it
has.
"""

from __future__ import annotations

import base64
import os
import re
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from computeapi import clock, settings
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.image import load as load_images
from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.db.models import Flavor
from computeapi.db.queries import addresses
from tests.cloud import add_image
from tests.conftest import Api
from tests.guest.hosts import REPOSITORY, IsolatedHost, wait_for

TICKS = b"#!/bin/sh\nn=0; while sleep 1; do n=$((n+1)); read -r up _ </proc/uptime; echo TICK $n up=$up; done\n"
CONF = """
[compute]
hypervisor = libvirt
heartbeat_interval = 1
service_down_time = 8
shutdown_timeout = 20
[api]
query_timeout = 30
[libvirt]
virt_type = qemu
"""


class Member:
    """A host and its compute service."""

    def __init__(self, host: IsolatedHost, state: Path, instances: Path) -> None:
        self.host, self._state, self._instances = host, state, instances
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """The host and its service run."""
        self.host.start()
        self.serve()

    def serve(self) -> None:
        """The service does."""
        address = f"10.77.0.{self.host.number}"
        command = ["ip", "netns", "exec", self.host.netns, sys.executable, "-m", "computeapi", "compute"]
        command += ["--host", self.host.name, "--libvirt-uri", self.host.uri]
        command += ["--migration-uri", f"qemu+tcp://{address}/system", "--instances-path", str(self._instances)]
        environment = {**os.environ, "COMPUTEAPI_STATE_DIR": str(self._state)}
        with open(self._state / f"{self.host.name}.log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log, start_new_session=True
            )

    def runs(self) -> bool:
        """Whether the service does."""
        return self._process is not None and self._process.poll() is None

    def end(self, number: int = signal.SIGTERM) -> None:
        """The service has ended."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def lose(self) -> None:
        """As when the power fails."""
        self.end(signal.SIGKILL)
        self.host.stop()

    def guests(self, *options: str) -> list[str]:
        """The ids of the guests that libvirt runs (or, with --all, knows)."""
        command = ["virsh", "--quiet", "--connect", self.host.uri, "list", "--uuid", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()

    def disks(self, server_id: str) -> str:
        """The disks that the guest has now, as libvirt lists them."""
        command = ["virsh", "--quiet", "--connect", self.host.uri, "domblklist", server_id]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

    def volumes(self, server_id: str) -> list[str]:
        """The files of the server's disks."""
        return sorted(path.name for path in (self._instances / "disks").glob(f"{server_id}_*"))


class Cloud:
    """The API in this process, and two members, "left" and "right"."""

    def __init__(self, directory: Path, tiny: Path, *, shared: bool, disk_gb: int = 1) -> None:
        self.shared, self.state = shared, directory / "state"
        self.state.mkdir()
        self.conf = self.state / "computeapi.conf"
        self.conf.write_text(CONF)
        self.settings = settings.load([str(self.conf)], {"COMPUTEAPI_STATE_DIR": str(self.state)})
        self.db = Database(self.settings.database_url)
        schema.upgrade(self.db)
        fabric = f"two{uuid.uuid4().hex[:4]}"
        self.members = {
            name: Member(
                IsolatedHost(directory / name, directory, name, fabric, number),
                self.state,
                directory / ("common" if shared else f"of-{name}"),
            )
            for number, name in enumerate(("left", "right"), 1)
        }
        codec = TokenCodec(self.settings.secret("tokens"))
        self.api = Api(create_app(self.settings, db=self.db), codec, ("admin",), uuid.uuid4().hex, "tester")
        self.image = add_image(load_images(self.settings, self.db), tiny, name="tiny")
        self.flavor = uuid.uuid4().hex[:8]
        values = {"flavor_id": self.flavor, "name": self.flavor, "vcpus": 1, "memory_mb": 96, "disk_gb": disk_gb}
        with self.db.write() as conn:
            addresses.create_network(conn, name="private", cidr="10.66.0.0/24", shared=True)
            conn.execute(insert(Flavor).values(created_at=clock.now(), **values))

    def start(self) -> None:
        """All run."""
        for member in self.members.values():
            member.start()
        wait_for(self.is_up, "both services are up")

    def serve_with(self, *libvirt: str) -> None:
        """The services start again with these settings of [libvirt]; guests run on."""
        self.conf.write_text(CONF + "".join(f"{line}\n" for line in libvirt))
        for name, member in self.members.items():
            member.end()
            before = self.starts(name)
            member.serve()
            wait_for(lambda name=name, before=before: self.starts(name) > before, f"{name} is ready")  # type: ignore[misc]
        wait_for(self.is_up, "both services are up")

    def starts(self, name: str) -> int:
        """How often that service has been ready to work."""
        return (self.state / f"{name}.log").read_text().count("is ready")

    def is_up(self) -> bool:
        """Whether both services are; fails where one has ended."""
        assert all(member.runs() for member in self.members.values()), self.logs()
        return self.services() == {"left": "up", "right": "up"}

    def close(self) -> None:
        """Nothing runs any more."""
        for member in self.members.values():
            member.end(signal.SIGKILL)
            member.host.stop()
        self.db.close()

    def services(self) -> dict[str, str]:
        """The state of each compute service, as os-services says."""
        found = self.api.get("/os-services?binary=nova-compute").json["services"]
        return {service["host"]: service["state"] for service in found}

    def migrations(self) -> list[tuple[str, str, str]]:
        """Status, source and destination; the newest first."""
        found = self.api.get("/os-migrations").json["migrations"]
        return [(row["status"], row["source_compute"], row["dest_compute"]) for row in found]

    def logs(self) -> str:
        """What the services said last."""
        return "\n".join((self.state / f"{name}.log").read_text()[-4000:] for name in self.members)

    def boot(self, host: str, user_data: bytes = TICKS) -> Server:
        """A server that runs there."""
        body = {
            "name": "traveller",
            "imageRef": self.image,
            "flavorRef": self.flavor,
            "availability_zone": f"nova:{host}",
            "user_data": base64.b64encode(user_data).decode(),
            "config_drive": True,
        }
        answer = self.api.post("/servers", {"server": body})
        assert answer.status_code == 202, answer.text
        server = Server(self, str(answer.json["server"]["id"]))
        server.settles("ACTIVE", host)
        server.boots(1)
        return server


class Server:
    """A server, asked through the API."""

    def __init__(self, cloud: Cloud, server_id: str) -> None:
        self.cloud, self.id = cloud, server_id

    def show(self) -> dict[str, Any]:
        """GET /servers/{id}."""
        found: dict[str, Any] = self.cloud.api.get(f"/servers/{self.id}").json["server"]
        return found

    def act(self, **action: Any) -> Any:
        """Ask for an action."""
        answer = self.cloud.api.post(f"/servers/{self.id}/action", action)
        assert answer.status_code < 300, answer.text
        return answer

    def settles(self, status: str, host: str) -> None:
        """It comes to rest so, there."""

        def rests() -> bool:
            return self.show()["OS-EXT-STS:task_state"] is None and self.show()["status"] != "BUILD"

        try:
            wait_for(rests, f"{self.id} rests")
        except pytest.fail.Exception as failed:
            pytest.fail(f"{failed}\n{self.cloud.logs()}")
        shown = self.show()
        where = (shown["status"], shown["OS-EXT-SRV-ATTR:host"])
        assert where == (status, host), (shown.get("fault"), self.cloud.logs())

    def console(self) -> str:
        """All that it has written."""
        answer = self.cloud.api.post(f"/servers/{self.id}/action", {"os-getConsoleOutput": {}})
        return str(answer.json["output"]) if answer.status_code == 200 else ""

    def boots(self, number: int) -> None:
        """Its disk counts that boot as the last one, and it is over."""

        def booted() -> bool:
            last = self.console().rpartition("GUEST-DATA boots=")[2]
            done = "TICK 2 " if number == 1 else "GUEST-DHCP"  # user data runs in the first boot alone
            return last.split()[:1] == [str(number)] and done in last

        wait_for(booted, f"boot {number} of {self.id}")

    def ticks(self) -> list[tuple[int, float]]:
        """The seconds that it has counted since its last boot, and its uptime at each."""
        last = self.console().rpartition("GUEST-DATA boots=")[2]
        return [(int(number), float(up)) for number, up in re.findall(r"TICK (\d+) up=([\d.]+)", last)]

    def runs_on(self, seconds: int = 3) -> None:
        """It goes on counting, and has not booted."""
        before, boots = self.ticks()[-1], self.console().count("GUEST-READY")
        wait_for(lambda: self.ticks() and self.ticks()[-1][0] >= before[0] + seconds, f"{self.id} goes on counting")
        counted = self.ticks()
        assert counted == sorted(counted), "uptime grows with the count"
        assert self.console().count("GUEST-READY") == boots, "it did not boot"

    def plug(self) -> str:
        """It has a new volume; the volume's id."""
        api = self.cloud.api
        volume_id = str(api.post("/os-volumes", {"volume": {"size": 1}}).json["volume"]["id"])
        wait_for(lambda: self._volume(volume_id) == "available", "the volume is made")
        attached = api.post(f"/servers/{self.id}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume_id}})
        assert attached.status_code == 200, attached.text
        wait_for(lambda: self._volume(volume_id) == "in-use", "the volume is plugged in")
        return volume_id

    def unplug(self, volume_id: str) -> None:
        """The volume is gone."""
        self.cloud.api.delete(f"/servers/{self.id}/os-volume_attachments/{volume_id}")
        wait_for(lambda: self._volume(volume_id) == "available", "the volume is unplugged")
        self.cloud.api.delete(f"/os-volumes/{volume_id}")

    def _volume(self, volume_id: str) -> str:
        return str(self.cloud.api.get(f"/os-volumes/{volume_id}").json["volume"]["status"])

    def leaves(self) -> None:
        """A cold migration has begun: to no host that still cleans up after the server."""
        path, body = f"/servers/{self.id}/action", {"migrate": None}
        wait_for(lambda: self.cloud.api.post(path, body).status_code == 202, "there is a host to go to", 30.0)

    def is_only_on(self, host: str) -> None:
        """It runs there, the other host does not know it, and it answers at its address."""
        members = self.cloud.members
        assert members[host].guests() == [self.id]
        (other,) = (member for name, member in members.items() if name != host)
        wait_for(lambda: other.guests("--all") == [], "the other host has cleaned up")
        if not self.cloud.shared:
            wait_for(lambda: other.volumes(self.id) == [], "and has no disks of it")
        address = self.show()["addresses"]["private"][0]["addr"]
        wait_for(lambda: members[host].host.ping(address), f"{address} answers on {host}")
