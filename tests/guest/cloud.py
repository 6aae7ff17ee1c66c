# SPDX-License-Identifier: Apache-2.0
"""The API, the compute service and real guests, in one process: what is asked for by HTTP is done by `work()`."""

from __future__ import annotations

import base64
import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.image import load as load_images
from computeapi.db.engine import Database
from computeapi.db.models import Flavor
from computeapi.db.queries import addresses
from computeapi.settings import Settings
from computeapi.virt import load
from tests.cloud import Compute, add_image
from tests.conftest import Api
from tests.guest.hosts import IsolatedHost, wait_for

_SERVER = {"name": "hello"}


class Cloud:
    """A cloud of one real host. `flavors` are made by `flavor()`."""

    def __init__(self, host: IsolatedHost, directory: Path, database_url: str, tiny: Path, **more: Any) -> None:
        # Guests are slow where they are emulated on a busy machine, and so are their answers.
        settings = Settings(state_dir=str(directory), connection=database_url, host="host1", **more)
        self.db = Database(settings.database_url)
        self.driver = load("libvirt", uri=host.uri, virt_type="qemu", state_dir=host.state_dir, host="host1")
        self.compute = Compute(settings, self.db, self.driver, load_images(settings, self.db))
        codec = TokenCodec(settings.secret("tokens"))
        self.api = Api(create_app(settings, db=self.db), codec, ("admin", "member"), uuid.uuid4().hex, "tester")
        self.uri = host.uri
        self.tiny = add_image(self.compute.images, tiny, name="tiny")
        with self.db.write() as conn:
            addresses.create_network(conn, name="private", cidr="10.66.0.0/24", shared=True)
        self.servers: list[str] = []

    def close(self) -> None:
        """All servers are gone, and the networks with them: the next cloud on this host has the same addresses."""
        for server_id in self.servers:
            self.api.delete(f"/servers/{server_id}")
        self.compute.work()
        for name in self.driver.list_networks():
            self.driver.remove_network(name)
        self.compute.metadata.close()
        self.driver.close()
        self.db.close()

    def flavor(self, **columns: Any) -> str:
        """The id of a new flavor: 1 CPU, 96 MiB, 1 GiB unless told."""
        name = uuid.uuid4().hex[:8]
        values = {"flavor_id": name, "name": name, "vcpus": 1, "memory_mb": 96, "disk_gb": 1, **columns}
        with self.db.write() as conn:
            conn.execute(insert(Flavor).values(created_at=clock.now(), **values))
        return name

    def boot(self, flavor: str, asker: Api | None = None, **more: Any) -> Guest:
        """A new server that runs; of `asker`'s project where another asks."""
        body = {**_SERVER, "imageRef": self.tiny, "flavorRef": flavor, **more}
        answer = (asker or self.api).post("/servers", {"server": body})
        assert answer.status_code == 202, answer.text
        server_id = answer.json["server"]["id"]
        self.servers.append(server_id)
        guest = Guest(self, server_id)
        self.compute.work()
        guest.is_("ACTIVE")
        return guest


class Guest:
    """A server, asked through the API; what it says is read from its console."""

    def __init__(self, cloud: Cloud, server_id: str) -> None:
        self.cloud, self.id = cloud, server_id

    def act(self, **action: Any) -> Any:
        """Ask for an action, and see it done."""
        answer = self.cloud.api.post(f"/servers/{self.id}/action", action)
        assert answer.status_code < 300, answer.text
        self.cloud.compute.work()
        return answer

    def is_(self, status: str) -> None:
        """The server has that status."""
        shown = self.cloud.api.get(f"/servers/{self.id}").json["server"]
        assert (shown["status"], shown["OS-EXT-STS:task_state"]) == (status, None), shown

    def booted(self) -> dict[str, str]:
        """What the guest said of itself the last time it booted, once that has ended; each time it is asked anew."""
        found: list[dict[str, str]] = []

        def read() -> bool:
            text = self.cloud.driver.console_output(self.id, None)
            start = text.rfind("GUEST-DATA")
            last = text[max(start, 0) :]
            if start >= 0 and "GUEST-READY" in last:
                said = dict(re.findall(r"\b(boots|mem_kb|vcpus|hostname|uuid|name)=(\S+)", last))
                said |= dict(re.findall(r"GUEST-DISK (\w+) (\S+)", last))
                found.append(said)
            return bool(found)

        wait_for(read, f"{self.id} has booted")
        return found[-1]

    def boots_as(self, number: int) -> dict[str, str]:
        """What it said at the boot that its disk counts as that one."""
        wait_for(lambda: self.booted()["boots"] == str(number), f"boot {number} of {self.id}")
        return self.booted()


class Inside:
    """A running guest, by its agent."""

    def __init__(self, guest: Guest, uri: str) -> None:
        self.guest, self.id, self._uri = guest, guest.id, uri
        libvirt = pytest.importorskip("libvirt")
        self._agent = pytest.importorskip("libvirt_qemu").qemuAgentCommand
        self._error = libvirt.libvirtError
        self.connect()
        shown = guest.cloud.api.get(f"/servers/{guest.id}").json["server"]["addresses"]
        ((self.address, *_),) = [[item["addr"] for item in items] for items in shown.values()]

    def connect(self) -> None:
        """Find the guest at libvirt, again where that was started anew."""
        libvirt = pytest.importorskip("libvirt")
        self._domain = libvirt.open(self._uri).lookupByUUIDString(self.id)

    def _ask(self, what: str, **arguments: Any) -> Any:
        text = self._agent(self._domain, json.dumps({"execute": what, "arguments": arguments}), 30, 0)
        return json.loads(text)["return"]

    def answers(self) -> None:
        """The agent answers."""

        def is_there() -> bool:
            try:
                return self.run("true")[0] == 0
            except self._error:
                return False

        wait_for(is_there, f"the agent of guest {self.id} answers")

    def ready(self) -> None:
        """The agent answers and the guest has an address."""

        def is_ready() -> bool:
            try:
                return self.address in self.run("ip -4 addr show dev eth0")[1]
            except self._error:
                return False

        wait_for(is_ready, f"guest {self.id} has {self.address}")

    def run(self, command: str) -> tuple[int, str]:
        """A shell command's status and output."""
        pid = self._ask("guest-exec", path="/bin/sh", arg=["-c", command], **{"capture-output": True})["pid"]
        found: list[dict[str, Any]] = []

        def ended() -> bool:
            found.append(self._ask("guest-exec-status", pid=pid))
            return bool(found[-1]["exited"])

        wait_for(ended, command)
        return int(found[-1].get("exitcode", -1)), base64.b64decode(found[-1].get("out-data", "")).decode()

    def pings(self, address: str, options: str = "") -> bool:
        """Whether an address answers."""
        return self.run(f"ping -c 2 -W 3 {options} {address}")[0] == 0

    def reads(self, address: str) -> bool:
        """Whether a web page comes from there."""
        request = f"printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 4 {address} 80"
        return "hello from" in self.run(request)[1]
