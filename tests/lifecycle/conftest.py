# SPDX-License-Identifier: Apache-2.0
"""A cloud as its users see it: the API, and the compute service of one simulated host, which runs beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import update

from computeapi import clock, journal
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.image import load as load_images
from computeapi.compute.service import ComputeService
from computeapi.db.engine import Database
from computeapi.db.models import Host, Server
from computeapi.db.queries import addresses, servers
from computeapi.db.queries.servers import ServerRow
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.states import PowerState
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import add_image
from tests.conftest import Api
from tests.journal.world import POLICY
from tests.wire.conftest import add_flavor

PATIENCE = 20.0  # seconds


class Cloud:
    """`api` is a member of a project of its own, `admin` an administrator of another; `driver` is the host's truth."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self.settings, self.db = settings, db
        codec = TokenCodec(settings.secret("tokens"))
        self.api = Api(create_app(settings, db=db, policy=POLICY), codec, ("member",), "a" * 32, "b" * 32)
        self.admin = self.api.become("admin")
        self._fabric: dict[str, SimulatedHypervisor] = {}
        self.driver = SimulatedHypervisor("host1", fabric=self._fabric)
        self._images = images = load_images(settings, db)
        self.image = add_image(images, empty_qcow2(1 << 30), properties={"hw_disk_bus": "virtio"})
        self.flavor, self.larger = add_flavor(db), add_flavor(db, memory_mb=1024, vcpus=2)
        with db.write() as conn:
            self.network = addresses.create_network(conn, name="private", cidr="10.1.0.0/24", shared=True)
        self._service = ComputeService(settings, db, self.driver, images, Seal(settings.secret("journal")))
        self._thread = threading.Thread(target=self._service.run)
        self._second: tuple[ComputeService, threading.Thread] | None = None

    def start(self) -> None:
        """The compute service runs, and watches its guests."""
        self._thread.start()
        wait(lambda: self.driver._watchers)

    def stop(self) -> None:
        """All have ended."""
        self._end(self._service, self._thread)
        if self._second:
            self._end(*self._second)

    @staticmethod
    def _end(service: ComputeService, thread: threading.Thread) -> None:
        service.stop()
        thread.join(PATIENCE)
        assert not thread.is_alive()

    def add_second_host(self) -> None:
        """There is host2, too."""
        if self._second is None:
            driver, seal = SimulatedHypervisor("host2", fabric=self._fabric), Seal(self.settings.secret("journal"))
            service = ComputeService(replace(self.settings, host="host2"), self.db, driver, self._images, seal)
            self._second = service, threading.Thread(target=service.run)
            self._second[1].start()
            wait(lambda: driver._watchers)

    def lose_first_host(self) -> None:
        """Nobody hears of host1 any more."""
        self._end(self._service, self._thread)
        self.change_first_host(last_seen_at=clock.shifted(-3600))

    def change_first_host(self, **columns: Any) -> None:
        """Write the row of host1."""
        with self.db.write() as conn:
            conn.execute(update(Host).where(Host.name == "host1").values(**columns))

    def guest(self, server_id: str) -> PowerState | None:
        """What the server's guest does where it lives."""
        return self._fabric[self.row(server_id).host or "host1"].list_guests().get(server_id)

    # --- servers ---

    def boot(self, **more: Any) -> str:
        """A server that runs; its id."""
        body = {"name": "server", "imageRef": self.image, "flavorRef": self.flavor, **more}
        answer = self.api.post("/servers", {"server": body})
        assert answer.status_code == 202, answer.text
        server_id = str(answer.json["server"]["id"])
        self.settled(server_id, "ACTIVE")
        return server_id

    def show(self, server_id: str) -> dict[str, Any]:
        """GET /servers/{id}, as an administrator."""
        found: dict[str, Any] = self.admin.get(f"/servers/{server_id}").json["server"]
        return found

    def settled(self, server_id: str, status: str) -> dict[str, Any]:
        """The server, once nothing is done to it any more: it has that status then."""

        def is_settled() -> bool:
            server = self.show(server_id)
            return server["OS-EXT-STS:task_state"] is None and not self.busy(server_id)

        wait(is_settled)
        server = self.show(server_id)
        assert server["status"] == status, server.get("fault")
        return server

    def gone(self, server_id: str) -> None:
        """It can't be found any more, once it is gone."""
        wait(lambda: self.api.get(f"/servers/{server_id}").status_code == 404)

    def act(self, server_id: str, name: str, body: Any = None, *, asker: Api | None = None) -> Any:
        """POST the action `name`."""
        return (asker or self.api).post(f"/servers/{server_id}/action", {name: body})

    def row(self, server_id: str) -> ServerRow:
        """The server's row."""
        with self.db.read() as conn:
            row = servers.get(conn, server_id, None, deleted=True)
        assert row is not None
        return row

    def busy(self, server_id: str) -> bool:
        """Whether work is open."""
        with self.db.read() as conn:
            return journal.is_busy(conn, self.row(server_id).id)

    def put(self, server_id: str, **columns: Any) -> None:
        """Write the server's row."""
        with self.db.write() as conn:
            conn.execute(Server.__table__.update().where(Server.uuid == server_id).values(**columns))

    def log(self, server_id: str) -> list[dict[str, Any]]:
        """The action log, newest first."""
        found: list[dict[str, Any]] = self.admin.get(f"/servers/{server_id}/os-instance-actions").json[
            "instanceActions"
        ]
        return found

    def events(self, server_id: str, number: int = 0) -> list[dict[str, Any]]:
        """The events of an action (0: the last), in their order."""
        request_id = self.log(server_id)[number]["request_id"]
        answer = self.admin.get(f"/servers/{server_id}/os-instance-actions/{request_id}")
        return list(reversed(answer.json["instanceAction"]["events"]))


def wait(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Until it is so."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it does not come"
        time.sleep(0.01)


MakeCloud = Callable[..., Cloud]


@pytest.fixture
def make_cloud(settings: Settings, db: Database) -> Iterator[MakeCloud]:
    """`make_cloud(<setting>=…)`: a cloud with these settings, running; one a test."""
    made: list[Cloud] = []

    def make(**changed: Any) -> Cloud:
        quick = {"shutdown_timeout": 1, "reboot_timeout": 1, "shelved_offload_time": -1}
        cloud = Cloud(replace(settings, **(quick | changed)), db)
        made.append(cloud)
        cloud.start()
        return cloud

    yield make
    for cloud in made:
        cloud.stop()


@pytest.fixture
def cloud(make_cloud: MakeCloud) -> Cloud:
    """A cloud."""
    return make_cloud()
