# SPDX-License-Identifier: Apache-2.0
"""API processes accept actions while compute services and APIs are killed (SIGKILL) at random.

Every action that was accepted ends, in order on each server, none twice at once; and nothing is left over.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from computeapi import app, clock, lifecycle
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Action, Allocation, FixedIp, Host, Port, Server
from computeapi.db.queries import addresses, servers
from computeapi.settings import Settings
from computeapi.states import PowerState
from computeapi.virt import load
from computeapi.virt.base import DomainNotFound
from tests.journal.chaos import PROJECT, USER
from tests.journal.chaos import run as chaos_part
from tests.journal.starts import Images

HOSTS = ("host1", "host2", "host3")
SERVERS = 12
SECONDS = float(os.environ.get("CHAOS_SECONDS", "20"))
PATIENCE = 180.0


class Chaos:
    """The processes, and what they wrote down."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.directory = settings, settings.state_path
        # A server that has imported everything forks them, so that a new one is there at once.
        self._new = multiprocessing.get_context("forkserver")
        self._new.set_forkserver_preload(["tests.journal.chaos"])
        self.running: dict[str, Any] = {}
        self.kills = 0
        self.files = {name: str(self.directory / f"chaos-{name}") for name in ("accepted", "calls", "stop", "log")}

    def start(self, name: str) -> None:
        """A compute service by its host's name, or an API."""
        settings = replace(self.settings, host=name if name in HOSTS else "api")
        part = "compute" if name in HOSTS else "api"
        self.running[name] = self._new.Process(target=chaos_part, args=(part, settings, self.files))
        self.running[name].start()

    def kill(self, name: str) -> None:
        """SIGKILL, and another one starts in its place."""
        self.running[name].kill()
        self.running[name].join()
        self.kills += 1
        self.start(name)

    def end(self) -> None:
        """No process is left."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.join(30)
            process.kill()
            process.join()

    def lines(self, name: str) -> list[list[str]]:
        """What was written down."""
        path = Path(self.files[name])
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def log(self) -> str:
        """The end of what the processes said."""
        return Path(self.files["log"]).read_text()[-3000:]


@contextmanager
def running(settings: Settings) -> Iterator[Chaos]:
    """All processes for as long as the block lasts."""
    chaos = Chaos(settings)
    try:
        yield chaos
    finally:
        chaos.end()


def make_servers(settings: Settings, db: Database) -> None:
    """As POST /servers does."""
    images: Any = Images()
    services = app.make_services(settings, db=db, images=images)
    flavor = {"name": "f", "vcpus": 1, "ram": 64, "disk": 1, "ephemeral": 0, "swap": 0, "extra_specs": {}}
    for number in range(SERVERS):
        server_id, moment = str(uuid.uuid4()), clock.now()
        context = Context(f"req-{uuid.uuid4()}", USER, PROJECT, frozenset({"member", "reader"}))
        with db.write() as conn:
            values = {
                "uuid": server_id,
                "project_id": PROJECT,
                "user_id": USER,
                "name": f"s{number}",
                "hostname": f"s{number}",
                "vm_state": "building",
                "task_state": "scheduling",
                "image_id": str(uuid.uuid4()),
                "flavor_id": "1",
                "flavor_json": orjson.dumps(flavor).decode(),
                "vcpus": 1,
                "memory_mb": 64,
                "disk_gb": 1,
                "created_at": moment,
                "updated_at": moment,
            }
            server = servers.insert(conn, values)
            shown = addresses.allocate(conn, server_id=server.id, project_id=PROJECT, requested=None)
            server = server._replace(addresses_json=shown)
            lifecycle.start_build(conn, services, context, server, secrets={"admin_password": "x"})


def wait(condition: Any, what: str, chaos: Chaos) -> None:
    """Until it is so."""
    until = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > until:
            pytest.fail(f"still not so after {PATIENCE:g} s: {what}\n{chaos.log()}")
        time.sleep(0.1)


def count(db: Database, *conditions: Any) -> int:
    """How many rows of the journal are so."""
    with db.read() as conn:
        return int(conn.execute(select(func.count(Action.id)).where(*conditions)).scalar_one())


@pytest.fixture
def chaotic(settings: Settings, db: Database) -> Settings:
    """Settings of three hosts that are never slow to notice anything."""
    with db.write() as conn:
        addresses.create_network(conn, name="net", cidr="10.0.0.0/16", shared=True)
    Path(settings.state_dir, "simulator").mkdir()
    delays = {"start": 0.05, "shutdown": 0.05, "define": 0.02, "pause": 0.02}
    Path(settings.state_dir, "simulator", "options.json").write_text(json.dumps({"delays": delays}))
    return replace(settings, shutdown_timeout=2, reboot_timeout=2, max_attempts=1000, heartbeat_interval=1)


def test_nothing_is_lost_doubled_or_stuck(chaotic: Settings, db: Database) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    dice = random.Random(seed)
    with running(chaotic) as chaos:
        for name in HOSTS:
            chaos.start(name)
        with db.read() as conn:
            wait(lambda: len(conn.execute(select(Host.id)).all()) == len(HOSTS), "three hosts", chaos)
        make_servers(chaotic, db)
        for name in ("api1", "api2"):
            chaos.start(name)
        until = time.monotonic() + SECONDS
        patience = until + PATIENCE
        while (now := time.monotonic()) < until or (len(chaos.lines("accepted")) <= SERVERS and now < patience):
            time.sleep(dice.uniform(0.3, 1.2))
            chaos.kill(dice.choice(HOSTS) if dice.random() < 0.9 else dice.choice(("api1", "api2")))
        Path(chaos.files["stop"]).touch()
        for name in ("api1", "api2"):
            chaos.running.pop(name).join(60)
        wait(lambda: count(db, Action.queue.is_not(None)) == 0, "no open work", chaos)
        accepted = [int(line[0]) for line in chaos.lines("accepted")]
        print(f"{len(accepted)} accepted, {chaos.kills} kills")
        assert len(accepted) > SERVERS
        check_accepted(db, accepted)
        check_order(db)
        check_no_overlap(chaos)
    check_nothing_left(chaotic, db)


def check_accepted(db: Database, accepted: list[int]) -> None:
    """Each ended, and well, unless a delete overtook it."""
    with db.read() as conn:
        rows = conn.execute(select(Action.id, Action.state, Action.message).where(Action.hidden == 0)).all()
    states = {row[0]: row[1] for row in rows}
    assert [key for key in accepted if key not in states] == []
    odd = [tuple(row) for row in rows if row[1] not in ("finished", "cancelled") and row[2] != "Deleted meanwhile."]
    assert odd == []


def check_order(db: Database) -> None:
    """On each server an action ended before the next one began."""
    with db.read() as conn:
        rows = conn.execute(
            select(Action.server_id, Action.id, Action.started_at, Action.finished_at)
            .where(Action.hidden == 0, Action.state != "cancelled")
            .order_by(Action.id)
        ).all()
    ended: dict[int, str] = {}
    for server, key, began, finished in rows:
        assert began >= ended.get(server, ""), f"action {key} began before the one before it had ended"
        ended[server] = finished


def check_no_overlap(chaos: Chaos) -> None:
    """No guest was worked on by two processes at once. A call that never ended was its process's last."""
    calls: dict[str, list[list[str]]] = defaultdict(list)
    for line in chaos.lines("calls"):
        calls[line[2]].append(line)
    for guest, lines in calls.items():
        open_by: str | None = None
        replaced: set[str] = set()
        for what, pid, _guest, name in lines:
            assert pid not in replaced, f"{name} of {guest} by {pid} after another process had begun"
            if what == "begin" and open_by not in (None, pid):
                replaced.add(str(open_by))
            open_by = pid if what == "begin" else None


def check_nothing_left(settings: Settings, db: Database) -> None:
    """Guests, volumes, addresses and counters are those of the servers that there are, in their states."""
    drivers = {
        host: load("simulator", uri="", virt_type="", state_dir=settings.state_path, host=host) for host in HOSTS
    }
    with db.read() as conn:
        rows = conn.execute(select(Server.uuid, Server.vm_state, Server.task_state, Server.host, Server.deleted)).all()
        used = conn.execute(select(Host.name, Host.vcpus_used, Host.servers)).all()
        taken: dict[str, int] = dict(
            conn.execute(select(Allocation.host, func.count(Allocation.id)).group_by(Allocation.host)).all()
        )
        ports = conn.execute(select(func.count(Port.id))).scalar_one()
        busy = conn.execute(select(func.count(FixedIp.id)).where(FixedIp.port_id.is_not(None))).scalar_one()
    live = [row for row in rows if not row[4]]
    assert [row[0] for row in live if row[2] is not None] == []
    assert ports == busy == len(live)
    for host, vcpus, number in used:
        assert vcpus == number == taken.get(host, 0) == sum(row[3] == host for row in live)
    expected = {
        "active": PowerState.RUNNING,
        "stopped": PowerState.SHUTDOWN,
        "paused": PowerState.PAUSED,
        "suspended": PowerState.SUSPENDED,
    }
    for server_id, vm_state, _task, host, _deleted in live:
        assert drivers[host].state(server_id) == expected[vm_state], server_id
    for row in rows:
        if row[4]:
            for driver in drivers.values():
                with pytest.raises(DomainNotFound):
                    driver.state(row[0])
                assert [name for name in driver.list_volumes() if name.startswith(row[0])] == []
