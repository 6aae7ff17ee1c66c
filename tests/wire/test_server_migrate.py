# SPDX-License-Identifier: Apache-2.0
"""The actions migrate, os-migrateLive and evacuate, resize to another host, and hosts in maintenance."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, select, update

from computeapi import clock, journal
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.image import load as load_images
from computeapi.compute import sweeps, timeouts
from computeapi.db.engine import Database
from computeapi.db.models import Action, Allocation, BlockDevice, Host, Migration, Server
from computeapi.db.queries import block_devices
from computeapi.settings import Settings
from computeapi.states import PowerState
from computeapi.virt.base import HypervisorError, HypervisorGone
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute, add_image
from tests.conftest import Api
from tests.wire.conftest import add_flavor
from tests.wire.operating import NOBODY, refused

LIVE = {"host": None, "block_migration": True, "disk_over_commit": False}


class Cloud:
    """Two hosts. `work()` does what is to be done on both."""

    def __init__(self, settings: Settings, db: Database, api: Api, pool: str = "") -> None:
        self.db, self.api, self.admin, self.settings = db, api, api.become("admin"), settings
        fabric: dict[str, SimulatedHypervisor] = {}
        self.computes = {
            name: Compute(
                replace(settings, host=name),
                db,
                SimulatedHypervisor(name, fabric=fabric, pool=pool),
                load_images(settings, db),
            )
            for name in ("host1", "host2")
        }

    def __getitem__(self, name: str) -> Compute:
        return self.computes[name]

    def driver(self, name: str) -> SimulatedHypervisor:
        driver = self.computes[name].driver
        assert isinstance(driver, SimulatedHypervisor)
        return driver

    def work(self, *names: str) -> None:
        """Until nothing is left to do, on these hosts (none named: on both)."""
        for _ in range(12):
            for name in names or self.computes:
                self.computes[name].work()

    def close(self) -> None:
        for compute in self.computes.values():
            compute.driver.close()

    def act(self, server_id: str, asker: Api | None = None, **action: Any) -> Any:
        return (asker or self.admin).post(f"/servers/{server_id}/action", action)

    def live(self, server_id: str, **changed: Any) -> Any:
        return self.act(server_id, **{"os-migrateLive": LIVE | changed})

    def show(self, server_id: str) -> tuple[Any, ...]:
        """Status, task_state and host."""
        found = self.admin.get(f"/servers/{server_id}").json["server"]
        return found["status"], found["OS-EXT-STS:task_state"], found["OS-EXT-SRV-ATTR:host"]

    def guests(self, server_id: str) -> dict[str, PowerState]:
        """What its guest does on each host that knows it."""
        found = {name: self.driver(name)._store for name in self.computes}
        states = {}
        for name, store in found.items():
            with store.open() as data:
                guest = data.guest(server_id)
            if guest is not None:
                states[name] = guest.state
        return states

    def taken(self) -> dict[str, tuple[Any, ...]]:
        return {name: compute.host() for name, compute in self.computes.items()}

    def promises(self, server_id: str) -> dict[str, int]:
        """How many addresses each host promises."""
        counts = {}
        for name in self.computes:
            with self.driver(name)._store.open() as data:
                counts[name] = data._db.execute("SELECT count(*) FROM dhcp").fetchone()[0]
        return counts

    def goes_down(self, name: str) -> None:
        with self.db.write() as conn:
            conn.execute(update(Host).where(Host.name == name).values(last_seen_at=clock.shifted(-3600)))

    def put(self, server_id: str, **columns: Any) -> None:
        with self.db.write() as conn:
            conn.execute(update(Server).where(Server.uuid == server_id).values(**columns))

    def migrations(self) -> list[tuple[Any, ...]]:
        """Type, status, source and destination, as os-migrations and its rows say; the oldest first."""
        shown = self.admin.get("/os-migrations").json["migrations"]
        with self.db.read() as conn:
            kinds = list(conn.execute(select(Migration.migration_type).order_by(Migration.id)).scalars())
        rows = sorted(shown, key=lambda row: row["id"])
        return [
            (kind, row["status"], row["source_compute"], row["dest_compute"])
            for kind, row in zip(kinds, rows, strict=True)
        ]

    def log(self, server_id: str) -> list[tuple[str, str | None]]:
        found = self.admin.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
        return [(action["action"], action["message"]) for action in found]

    def log_events(self, server_id: str) -> list[tuple[str, str]]:
        """The steps of the last action, and their results."""
        last = self.admin.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"][0]
        found = self.admin.get(f"/servers/{server_id}/os-instance-actions/{last['request_id']}")
        return [(row["event"], row["result"]) for row in reversed(found.json["instanceAction"]["events"])]


@pytest.fixture
def cloud(settings: Settings, db: Database, api: Api) -> Iterator[Cloud]:
    """Each host has storage of its own."""
    cloud = Cloud(settings, db, api)
    yield cloud
    cloud.close()


@pytest.fixture
def shared(settings: Settings, db: Database, api: Api) -> Iterator[Cloud]:
    """Both hosts have the same storage."""
    cloud = Cloud(settings, db, api, pool="common")
    yield cloud
    cloud.close()


Boot = Callable[..., str]


@pytest.fixture
def boot(api: Api, network: str, flavor: str) -> Boot:
    """`boot(cloud)`: a server that runs on host1; its id."""

    def make(cloud: Cloud, **more: Any) -> str:
        image = add_image(cloud["host1"].images, empty_qcow2(1 << 30), properties={"hw_disk_bus": "virtio"})
        body = {"name": "server", "imageRef": image, "flavorRef": flavor, "availability_zone": "nova:host1", **more}
        answer = cloud.admin.post("/servers", {"server": body})
        assert answer.status_code == 202, answer.text
        cloud.work()
        server_id = str(answer.json["server"]["id"])
        cloud.put(server_id, project_id=api.project_id, user_id=api.user_id)
        assert cloud.show(server_id) == ("ACTIVE", None, "host1")
        return server_id

    return make


RUNNING, OFF = PowerState.RUNNING, PowerState.SHUTDOWN

# --- live migration ---


def test_live_migration(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    before = cloud.admin.get(f"/servers/{server_id}").json["server"]
    console = cloud.driver("host1").console_output(server_id, None)
    answer = cloud.live(server_id)
    assert (answer.status_code, answer.text) == (202, "")
    assert cloud.show(server_id) == ("MIGRATING", "migrating", "host1")
    assert cloud.migrations() == [("live-migration", "preparing", "host1", "host2")]
    assert cloud.taken() == {"host1": (1, 512, 1, 1), "host2": (1, 512, 1, 1)}
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host2")
    assert cloud.guests(server_id) == {"host2": RUNNING}
    assert cloud.taken() == {"host1": (0, 0, 0, 0), "host2": (1, 512, 1, 1)}
    assert (cloud["host1"].volumes(server_id), cloud["host2"].volumes(server_id)) == ([], ["config", "disk"])
    assert cloud.promises(server_id) == {"host1": 0, "host2": 1}
    assert cloud.migrations() == [("live-migration", "completed", "host1", "host2")]
    after = cloud.admin.get(f"/servers/{server_id}").json["server"]
    for same in ("addresses", "flavor", "image", "OS-SRV-USG:launched_at", "metadata", "accessIPv4"):
        assert after[same] == before[same]
    assert after["hostId"] != before["hostId"]
    assert after["OS-EXT-SRV-ATTR:hypervisor_hostname"] == "host2"
    assert cloud.driver("host2").console_output(server_id, None) == console
    assert cloud.log(server_id) == [("live-migration", None), ("create", None)]
    steps = ["compute_prepare", "compute_migrate", "compute_switch", "compute_arrive"]
    assert cloud.log_events(server_id) == [(step, "Success") for step in steps]


def test_live_migration_there_and_back(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    for to in ("host2", "host1", "host2"):
        assert cloud.live(server_id, host=to).status_code == 202
        cloud.work()
        assert cloud.show(server_id) == ("ACTIVE", None, to)
        assert cloud.guests(server_id) == {to: RUNNING}
    cloud.api.delete(f"/servers/{server_id}")
    cloud.work()
    assert cloud.guests(server_id) == {}
    assert cloud.taken() == {"host1": (0, 0, 0, 0), "host2": (0, 0, 0, 0)}


def test_live_migration_on_shared_storage(shared: Cloud, boot: Boot) -> None:
    server_id = boot(shared)
    assert shared.live(server_id, block_migration=False).status_code == 202
    shared.work()
    assert shared.show(server_id) == ("ACTIVE", None, "host2")
    assert shared.guests(server_id) == {"host2": RUNNING}
    assert shared["host2"].volumes(server_id) == ["config", "disk"], "what is shared is not removed"
    assert shared["host2"].driver.calls["receive_blank"] == 0  # type: ignore[attr-defined]


def test_live_migration_of_a_paused_server(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    cloud.act(server_id, pause=None)
    cloud.work()
    assert cloud.live(server_id, host="host2").status_code == 202
    cloud.work()
    assert cloud.show(server_id) == ("PAUSED", None, "host2")
    assert cloud.guests(server_id) == {"host2": PowerState.PAUSED}


@pytest.mark.parametrize("method", ["receive_blank", "migrate"])
def test_live_migration_fails(cloud: Cloud, boot: Boot, method: str) -> None:
    """The server is as it was, where it was, and nothing is left on the other host."""
    server_id = boot(cloud)
    at = "host1" if method == "migrate" else "host2"
    cloud.driver(at).fail(method, HypervisorError("no route to it"))
    cloud.live(server_id)
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    assert cloud.guests(server_id) == {"host1": RUNNING}
    assert cloud["host2"].volumes(server_id) == []
    assert cloud.promises(server_id) == {"host1": 1, "host2": 0}
    assert cloud.taken() == {"host1": (1, 512, 1, 1), "host2": (0, 0, 0, 0)}
    assert cloud.migrations() == [("live-migration", "error", "host1", "host2")]
    assert cloud.log(server_id)[0] == ("live-migration", "Error")


def test_the_destination_goes_down(cloud: Cloud, boot: Boot) -> None:
    """Before it did anything: the work comes back, and the other host cleans up when it is back."""
    server_id = boot(cloud)
    cloud.live(server_id)
    cloud.work("host1")
    cloud.goes_down("host2")
    assert sweeps.take_back(cloud["host1"].tools) == 1
    assert sweeps.take_back(cloud["host1"].tools) == 0
    cloud.work("host1")
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    assert cloud.guests(server_id) == {"host1": RUNNING}
    assert cloud.taken()["host2"] == (0, 0, 0, 0)
    assert cloud.migrations() == [("live-migration", "error", "host1", "host2")]
    cloud.work()
    assert cloud["host2"].volumes(server_id) == []
    assert cloud.promises(server_id) == {"host1": 1, "host2": 0}


def test_delete_during_a_live_migration(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    cloud.live(server_id)
    cloud.work("host1")
    cloud["host2"].work()
    assert cloud.api.delete(f"/servers/{server_id}").status_code == 204
    cloud.work()
    assert cloud.api.get(f"/servers/{server_id}").status_code == 404
    assert cloud.guests(server_id) == {}
    assert (cloud["host1"].volumes(server_id), cloud["host2"].volumes(server_id)) == ([], [])
    assert cloud.taken() == {"host1": (0, 0, 0, 0), "host2": (0, 0, 0, 0)}
    assert cloud.promises(server_id) == {"host1": 0, "host2": 0}


def test_live_migration_refused(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    uuid = server_id
    bad = {
        "nowhere": "Compute host nowhere could not be found.",
        "host1": f"Unable to migrate instance ({uuid}) to current host (host1).",
    }
    for host, sentence in bad.items():
        assert refused(cloud.live(server_id, host=host), 400) == sentence
    cloud.goes_down("host2")
    said = refused(cloud.live(server_id, host="host2"), 400)
    assert said == "Compute service of host2 is unavailable at this time."
    assert refused(cloud.live(server_id), 400).startswith("No valid host was found.")
    cloud.goes_down("host1")
    assert refused(cloud.live(server_id), 400) == "Compute service of host1 is unavailable at this time."
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    assert cloud.migrations() == []


def test_storage_must_fit(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    said = refused(cloud.live(server_id, host="host2", block_migration=False), 400)
    assert said.startswith("host2 is not on shared storage: Live migration can not be used without shared storage")
    assert "can not be used without shared storage" in refused(cloud.live(server_id, block_migration=False), 400)


def test_storage_must_not_be_shared(shared: Cloud, boot: Boot) -> None:
    server_id = boot(shared)
    said = refused(shared.live(server_id, host="host2"), 400)
    assert said == "host2 is not on local storage: Block migration can not be used with shared storage."


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"host": "host2"},
        {"host": "host2", "block_migration": True},
        {**LIVE, "host": ""},
        {**LIVE, "host": "a b"},
        {**LIVE, "host": 5},
        {**LIVE, "block_migration": "auto"},
        {**LIVE, "disk_over_commit": None},
        {**LIVE, "force": True},
    ],
)
def test_bad_live_migrations(cloud: Cloud, boot: Boot, body: Any) -> None:
    refused(cloud.act(boot(cloud), **{"os-migrateLive": body}), 400)


# --- cold migration ---


@pytest.mark.parametrize("stopped", [False, True])
@pytest.mark.parametrize("end", ["confirmResize", "revertResize"])
@pytest.mark.parametrize("storage", ["cloud", "shared"])
def test_migrate(request: pytest.FixtureRequest, boot: Boot, storage: str, end: str, stopped: bool) -> None:
    cloud: Cloud = request.getfixturevalue(storage)
    server_id = boot(cloud)
    state, status = (OFF, "SHUTOFF") if stopped else (RUNNING, "ACTIVE")
    if stopped:
        cloud.act(server_id, **{"os-stop": None})
        cloud.work()
    answer = cloud.act(server_id, migrate=None)
    assert (answer.status_code, answer.text) == (202, "")
    assert cloud.show(server_id) == ("RESIZE", "resize_prep", "host1")
    cloud.work()
    assert cloud.show(server_id) == ("VERIFY_RESIZE", None, "host2")
    assert cloud.guests(server_id) == {"host1": OFF, "host2": state}
    assert cloud.taken() == {"host1": (1, 512, 1, 1), "host2": (1, 512, 1, 1)}
    assert cloud.migrations() == [("migration", "finished", "host1", "host2")]
    assert cloud.act(server_id, asker=cloud.api, **{end: None}).status_code == (204 if end[0] == "c" else 202)
    cloud.work()
    host = "host2" if end == "confirmResize" else "host1"
    assert cloud.show(server_id) == (status, None, host)
    assert cloud.guests(server_id) == {host: state}
    other = "host1" if host == "host2" else "host2"
    assert cloud.taken() == {host: (1, 512, 1, 1), other: (0, 0, 0, 0)}
    assert cloud[host].volumes(server_id) == ["config", "disk"]
    if storage == "cloud":
        assert cloud[other].volumes(server_id) == []
    assert cloud.promises(server_id) == {host: 1, other: 0}
    ended = "confirmed" if end == "confirmResize" else "reverted"
    assert cloud.migrations() == [("migration", ended, "host1", "host2")]
    assert cloud.log(server_id)[:2] == [(end, None), ("migrate", None)]
    cloud.api.delete(f"/servers/{server_id}")
    cloud.work()
    assert cloud.guests(server_id) == {}
    assert cloud.taken() == {"host1": (0, 0, 0, 0), "host2": (0, 0, 0, 0)}
    assert cloud["host1"].volumes(server_id) + cloud["host2"].volumes(server_id) == []


@pytest.mark.parametrize("method", ["receive_volume", "define", "start"])
@pytest.mark.parametrize("storage", ["cloud", "shared"])
def test_migrate_fails(request: pytest.FixtureRequest, boot: Boot, storage: str, method: str) -> None:
    """As a resize that fails: in ERROR where it was, with its disks as they were; a hard reboot starts it."""
    cloud: Cloud = request.getfixturevalue(storage)
    server_id = boot(cloud)
    if storage == "shared" and method == "receive_volume":
        pytest.skip("nothing is received from shared storage")
    cloud.driver("host2").fail(method, HypervisorError("the disk is full"))
    cloud.act(server_id, migrate=None)
    cloud.work()
    assert cloud.show(server_id) == ("ERROR", None, "host1")
    assert cloud.guests(server_id) == {"host1": OFF}
    assert cloud.taken() == {"host1": (1, 512, 1, 1), "host2": (0, 0, 0, 0)}
    assert cloud["host1"].volumes(server_id) == ["config", "disk"]
    if storage == "cloud":
        assert cloud["host2"].volumes(server_id) == []
    assert cloud.promises(server_id) == {"host1": 1, "host2": 0}
    assert cloud.migrations() == [("migration", "error", "host1", "host2")]
    cloud.act(server_id, reboot={"type": "HARD"})
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")


def test_migrate_is_confirmed_by_itself(cloud: Cloud, boot: Boot, db: Database) -> None:
    server_id = boot(cloud)
    cloud.act(server_id, migrate=None)
    cloud.work()
    with db.write() as conn:
        conn.execute(update(Migration).values(switched_at=clock.shifted(-3600)))
    for name in ("host1", "host2"):
        tools = cloud[name].tools
        window = replace(tools, settings=replace(tools.settings, resize_confirm_window=60))
        assert timeouts.confirm_resizes(window) == (name == "host2")
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host2")
    assert cloud.guests(server_id) == {"host2": RUNNING}


def test_revert_needs_the_old_host(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    cloud.act(server_id, migrate=None)
    cloud.work()
    cloud.goes_down("host1")
    assert refused(cloud.act(server_id, revertResize=None), 409) == "Service is unavailable at this time."
    assert cloud.act(server_id, confirmResize=None).status_code == 204
    cloud.work("host2")
    assert cloud.show(server_id) == ("ACTIVE", None, "host2")
    cloud.goes_down("host1")
    assert "No valid host" in refused(cloud.act(server_id, migrate=None), 400)
    cloud["host1"].work()
    assert cloud.guests(server_id) == {"host2": RUNNING}, "the old host has cleaned up"
    assert cloud.act(server_id, migrate=None).status_code == 202


@pytest.mark.parametrize("action", ["live", "cold"])
def test_straight_back_to_a_host_that_has_yet_to_clean_up(cloud: Cloud, boot: Boot, action: str) -> None:
    server_id = boot(cloud)
    cloud.live(server_id)
    for _ in range(4):
        cloud["host1"].work()
        cloud["host2"].work()
        if cloud.show(server_id)[2] == "host2" and cloud.show(server_id)[1] is None:
            break
    assert cloud["host1"].volumes(server_id) == ["config", "disk"], "it has not cleaned up"
    back = cloud.live(server_id) if action == "live" else cloud.act(server_id, migrate=None)
    assert back.status_code == 202
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE" if action == "live" else "VERIFY_RESIZE", None, "host1")
    assert cloud.guests(server_id) == {"host1": RUNNING, **({} if action == "live" else {"host2": OFF})}
    assert [row[1:] for row in cloud.migrations()][1] == (
        "completed" if action == "live" else "finished",
        "host2",
        "host1",
    )


def test_resize_goes_to_another_host(cloud: Cloud, boot: Boot, db: Database) -> None:
    """Where its own has no room for the new flavor beside the old one."""
    server_id = boot(cloud)
    larger = add_flavor(db, vcpus=2, memory_mb=1024, disk_gb=3)
    with db.write() as conn:
        conn.execute(update(Host).where(Host.name == "host1").values(memory_mb=1000, ram_allocation_ratio=1.0))
    assert cloud.act(server_id, resize={"flavorRef": larger}).status_code == 202
    cloud.work()
    assert cloud.show(server_id) == ("VERIFY_RESIZE", None, "host2")
    assert cloud.driver("host2").virtual_size(f"{server_id}_disk") == 3 << 30
    assert cloud.driver("host1").virtual_size(f"{server_id}_disk") == 1 << 30
    assert cloud.migrations() == [("resize", "finished", "host1", "host2")]
    cloud.act(server_id, revertResize=None)
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    assert cloud.taken() == {"host1": (1, 512, 1, 1), "host2": (0, 0, 0, 0)}


def test_resize_must_go_to_another_host(settings: Settings, db: Database, api: Api, boot: Boot) -> None:
    cloud = Cloud(replace(settings, allow_resize_to_same_host=False), db, api)
    server_id = boot(cloud)
    app = create_app(cloud.settings, db=db)
    admin = Api(app, TokenCodec(settings.secret("tokens")), ("admin",), api.project_id, api.user_id)
    larger = add_flavor(db, vcpus=2)
    assert admin.post(f"/servers/{server_id}/action", {"resize": {"flavorRef": larger}}).status_code == 202
    cloud.work()
    assert cloud.show(server_id) == ("VERIFY_RESIZE", None, "host2")
    cloud.close()


# --- evacuation ---


@pytest.mark.parametrize("storage", ["cloud", "shared"])
@pytest.mark.parametrize("stopped", [False, True])
def test_evacuate(request: pytest.FixtureRequest, boot: Boot, storage: str, stopped: bool) -> None:
    cloud: Cloud = request.getfixturevalue(storage)
    server_id = boot(cloud)
    if stopped:
        cloud.act(server_id, **{"os-stop": None})
        cloud.work()
    on_shared = storage == "shared"
    cloud.goes_down("host1")
    answer = cloud.act(server_id, evacuate={"onSharedStorage": on_shared})
    assert answer.status_code == 200, answer.text
    assert list(answer.json) == ["adminPass"]
    assert (answer.json["adminPass"] is None) == on_shared
    assert cloud.show(server_id)[1:] == ("rebuilding", "host1")
    cloud.work("host2")
    state, status = (OFF, "SHUTOFF") if stopped else (RUNNING, "ACTIVE")
    assert cloud.show(server_id) == (status, None, "host2")
    assert cloud.guests(server_id) == {"host1": state, "host2": state}, "nobody could tell host1"
    assert cloud.migrations() == [("evacuation", "done", "host1", "host2")]
    assert cloud.taken() == {"host1": (0, 0, 0, 0), "host2": (1, 512, 1, 1)}
    cloud.work()
    assert cloud.guests(server_id) == {"host2": state}, "it has cleaned up when it was back"
    assert cloud["host2"].volumes(server_id) == ["config", "disk"]
    if not on_shared:
        assert cloud["host1"].volumes(server_id) == []
    assert cloud.promises(server_id) == {"host1": 0, "host2": 1}
    assert cloud.log(server_id)[0] == ("evacuate", None)


def test_evacuate_as_documented(cloud: Cloud, boot: Boot) -> None:
    server_id = boot(cloud)
    cloud.goes_down("host1")
    body = {"host": "host2", "admin_password": "MySecretPass", "on_shared_storage": "False"}
    answer = cloud.act(server_id, evacuate=body)
    assert (answer.status_code, answer.json) == (200, {"admin_password": "MySecretPass"})
    cloud.work("host2")
    assert cloud.show(server_id) == ("ACTIVE", None, "host2")


def test_evacuate_ends_what_was_under_way(cloud: Cloud, boot: Boot, db: Database) -> None:
    """The lost host was at something: its writes are refused, and the server is not stuck."""
    server_id = boot(cloud)
    cloud.act(server_id, **{"os-stop": None})
    tools = cloud["host1"].tools
    with db.write() as conn:
        key, lane = next(row for row in journal.candidates(conn, "host1", 10, 0))
        entry = journal.claim(conn, tools.seal, key, lane, "host1", tools.epoch)
    assert entry is not None
    cloud.goes_down("host1")
    assert cloud.act(server_id, evacuate={"onSharedStorage": False}).status_code == 200
    with pytest.raises(journal.Fenced), db.write() as conn:
        journal.hold(conn, entry)
    cloud.work("host2")
    assert cloud.show(server_id) == ("ACTIVE", None, "host2")
    assert cloud.log(server_id)[:2] == [("evacuate", None), ("stop", None)]


def test_evacuation_fails(cloud: Cloud, boot: Boot) -> None:
    """In ERROR where it was; evacuate can be asked for again, or the host comes back and a hard reboot starts it."""
    server_id = boot(cloud)
    cloud.goes_down("host1")
    cloud.driver("host2").fail("define", HypervisorError("no memory"))
    cloud.act(server_id, evacuate={"onSharedStorage": False})
    cloud.work("host2")
    assert cloud.show(server_id) == ("ERROR", None, "host1")
    assert cloud["host2"].volumes(server_id) == []
    assert cloud.migrations() == [("evacuation", "error", "host1", "host2")]
    cloud.work()
    assert cloud["host1"].volumes(server_id) == ["config", "disk"]
    cloud.act(server_id, reboot={"type": "HARD"})
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")


def test_evacuate_refused(cloud: Cloud, boot: Boot, db: Database) -> None:
    server_id = boot(cloud)
    said = refused(cloud.act(server_id, evacuate={"onSharedStorage": False}), 400)
    assert said == "Compute service of host1 is still in use."
    cloud.goes_down("host1")
    on_host1 = {"host": "host1", "onSharedStorage": False}
    assert refused(cloud.act(server_id, evacuate=on_host1), 400) == "The target host can't be the same one."
    unknown = {"host": "nowhere", "onSharedStorage": False}
    assert refused(cloud.act(server_id, evacuate=unknown), 404) == "Compute host nowhere not found."
    with_password = {"onSharedStorage": True, "adminPass": "x"}
    said = refused(cloud.act(server_id, evacuate=with_password), 400)
    assert said == "admin password can't be changed on existing disk"
    assert "does not share the storage" in refused(cloud.act(server_id, evacuate={"onSharedStorage": True}), 400)
    cloud.put(server_id, vm_state="paused")
    said = refused(cloud.act(server_id, evacuate={"onSharedStorage": False}), 409)
    assert said == f"Cannot 'evacuate' instance {server_id} while it is in vm_state paused"
    cloud.put(server_id, vm_state="active")
    cloud.goes_down("host2")
    assert "No valid host was found." in refused(cloud.act(server_id, evacuate={"onSharedStorage": False}), 400)
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"host": "host2"},
        {"onSharedStorage": "maybe"},
        {"onSharedStorage": False, "host": ""},
        {"onSharedStorage": False, "host": None},
        {"onSharedStorage": False, "adminPass": 5},
        {"onSharedStorage": False, "force": True},
    ],
)
def test_bad_evacuations(cloud: Cloud, boot: Boot, body: Any) -> None:
    refused(cloud.act(boot(cloud), evacuate=body), 400)


# --- all of them ---

EVACUATE = {"onSharedStorage": False}
ACTIONS = {"migrate": None, "os-migrateLive": LIVE, "evacuate": EVACUATE}


@pytest.mark.parametrize("name", ["migrate", "os-migrateLive"])
def test_wrong_states(cloud: Cloud, boot: Boot, name: str) -> None:
    server_id = boot(cloud)
    cloud.put(server_id, vm_state="error")
    said = refused(cloud.act(server_id, **{name: ACTIONS[name]}), 409)
    assert said == f"Cannot '{name}' instance {server_id} while it is in vm_state error"
    cloud.put(server_id, vm_state="active", task_state="rebooting")
    said = refused(cloud.act(server_id, **{name: ACTIONS[name]}), 409)
    assert said == f"Cannot '{name}' instance {server_id} while it is in task_state rebooting"


@pytest.mark.parametrize("name", ACTIONS)
def test_who_may(cloud: Cloud, boot: Boot, api: Api, name: str) -> None:
    server_id = boot(cloud)
    for role in NOBODY:
        refused(cloud.act(server_id, api.become(role, project_id=api.project_id), **{name: ACTIONS[name]}), 403)
        refused(cloud.act(server_id, api.become(role), **{name: ACTIONS[name]}), 404)
    missing = "4d97e9e3-0f6c-4ec4-8d9a-0d2f8e1b7a11"
    refused(cloud.act(missing, **{name: ACTIONS[name]}), 404)


@pytest.mark.parametrize("name", ["migrate", "os-migrateLive"])
def test_locked(cloud: Cloud, boot: Boot, name: str) -> None:
    """Administrators may override a lock, and nobody else may migrate."""
    server_id = boot(cloud)
    assert cloud.act(server_id, asker=cloud.api, lock=None).status_code == 202
    assert cloud.act(server_id, **{name: ACTIONS[name]}).status_code == 202
    cloud.work()
    assert cloud.show(server_id)[2] == "host2"


def test_no_valid_host(cloud: Cloud, boot: Boot, db: Database) -> None:
    server_id = boot(cloud)
    with db.write() as conn:
        conn.execute(update(Host).where(Host.name == "host2").values(memory_mb=100))
    said = refused(cloud.act(server_id, migrate=None), 400)
    assert said.startswith("No valid host was found. There are not enough hosts available. Reasons: ")
    assert "not enough memory" in said
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    with db.read() as conn:
        assert len(conn.execute(select(Allocation.id)).all()) == 1


def test_other_hypervisors_and_zones(cloud: Cloud, boot: Boot, db: Database) -> None:
    server_id = boot(cloud)
    with db.write() as conn:
        conn.execute(update(Host).where(Host.name == "host2").values(hypervisor_type="QEMU"))
    assert "another kind of hypervisor" in refused(cloud.act(server_id, migrate=None), 400)
    with db.write() as conn:
        changed = {"hypervisor_type": "simulator", "capabilities_json": orjson.dumps({"name": "host2"}).decode()}
        conn.execute(update(Host).where(Host.name == "host2").values(**changed))
    assert "no migration_uri is set" in refused(cloud.act(server_id, migrate=None), 400)
    assert "no migration_uri is set" in refused(cloud.live(server_id), 400)


@pytest.mark.parametrize("directory", ["", "/var/lib/volumes"])
def test_servers_with_volumes(cloud: Cloud, boot: Boot, settings: Settings, db: Database, directory: str) -> None:
    """Their files must be where all hosts have them."""
    server_id = boot(cloud)
    cloud.put(server_id, volumes_json=orjson.dumps([{"id": "1", "delete_on_termination": False}]).decode())
    app = create_app(replace(settings, volume_directory=directory), db=db)
    admin = Api(app, TokenCodec(settings.secret("tokens")), ("admin",), "p" * 32, "u" * 32)
    for action in ({"migrate": None}, {"os-migrateLive": LIVE}):
        answer = admin.post(f"/servers/{server_id}/action", action)
        if directory:
            assert answer.status_code == 202
            cloud.work()
            return
        assert "the server's volumes are not in a volume_directory" in refused(answer, 400)


def test_servers_with_volumes_on_shared_storage(shared: Cloud, boot: Boot) -> None:
    """They go with their volumes, which are where both hosts have them."""
    server_id = boot(shared)
    made = shared.admin.post("/os-volumes", {"volume": {"size": 1}})
    shared.work()
    volume_id = made.json["volume"]["id"]
    url = f"/servers/{server_id}/os-volume_attachments"
    assert shared.admin.post(url, {"volumeAttachment": {"volumeId": volume_id}}).status_code == 200
    shared.work()
    assert shared.live(server_id, block_migration=False).status_code == 202
    shared.work()
    assert shared.show(server_id) == ("ACTIVE", None, "host2")
    assert shared.admin.delete(f"{url}/{volume_id}").status_code == 202
    shared.work()
    assert shared.admin.get(f"/os-volumes/{volume_id}").json["volume"]["status"] == "available"


@pytest.mark.parametrize("host", [None, "host2"])
def test_servers_of_volumes_alone_need_no_shared_storage(cloud: Cloud, boot: Boot, host: str | None) -> None:
    """They have no disk of their host's that would have to be copied."""
    server_id, swapped = boot(cloud), boot(cloud)
    with cloud.db.write() as conn:
        conn.execute(update(Server).values(image_id=""))
        conn.execute(delete(BlockDevice).where(BlockDevice.destination_type == "local"))
        key = conn.execute(select(Server.id).where(Server.uuid == swapped)).scalar_one()
        swap = {"source_type": "blank", "destination_type": "local", "guest_format": "swap", "size_gb": 64}
        block_devices.add(conn, {"uuid": str(uuid.uuid4()), "server_id": key, **swap})
    assert "without shared storage" in refused(cloud.live(swapped, block_migration=False, host=host), 400)
    assert cloud.live(server_id, block_migration=False, host=host).status_code == 202
    assert cloud.show(server_id) == ("MIGRATING", "migrating", "host1")


# --- maintenance ---


def test_maintenance_empties_a_host(cloud: Cloud, boot: Boot, db: Database) -> None:
    running, stopped, paused, suspended = (boot(cloud) for _ in range(4))
    cloud.act(stopped, **{"os-stop": None})
    cloud.act(paused, pause=None)
    cloud.act(suspended, suspend=None)
    cloud.work()
    answer = cloud.admin.put("/os-hosts/host1", {"maintenance_mode": "enable"})
    assert (answer.status_code, answer.json) == (200, {"host": "host1", "maintenance_mode": "on_maintenance"})
    cloud.work()
    assert cloud.show(running) == ("ACTIVE", None, "host2")
    assert cloud.show(paused) == ("PAUSED", None, "host2")
    assert cloud.show(stopped) == ("SHUTOFF", None, "host2"), "confirmed as well"
    assert cloud.show(suspended) == ("SUSPENDED", None, "host1"), "that can't be moved"
    assert cloud.taken()["host1"] == (1, 512, 1, 1)
    cloud.act(suspended, resume=None)
    cloud.work()
    assert sweeps.keep_empty(cloud["host1"].tools) == 1
    assert sweeps.keep_empty(cloud["host2"].tools) == 0
    cloud.work()
    assert cloud.show(suspended) == ("ACTIVE", None, "host2")
    assert cloud.taken()["host1"] == (0, 0, 0, 0)
    assert {row[1] for row in cloud.migrations()} == {"completed", "confirmed"}
    assert cloud.admin.put("/os-hosts/host1", {"maintenance_mode": "disable"}).status_code == 200
    assert sweeps.keep_empty(cloud["host1"].tools) == 0


def test_maintenance_without_another_host(cloud: Cloud, boot: Boot, caplog: pytest.LogCaptureFixture) -> None:
    server_id = boot(cloud)
    cloud.goes_down("host2")
    assert cloud.admin.put("/os-hosts/host1", {"maintenance_mode": "enable"}).status_code == 200
    assert f"server {server_id} stays on host host1" in caplog.text
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    cloud.work()
    assert sweeps.keep_empty(cloud["host1"].tools) == 1


def test_a_passing_failure(cloud: Cloud, boot: Boot, db: Database) -> None:
    """The other hypervisor does not answer for a moment: tried again."""
    server_id = boot(cloud)
    cloud.live(server_id)
    cloud.driver("host1").fail("migrate", HypervisorGone("away"))
    with pytest.raises(AssertionError, match="away"):
        cloud.work()
    with db.write() as conn:
        conn.execute(update(Action).where(Action.state == "running").values(state="pending", running=None))
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host2")
