# SPDX-License-Identifier: Apache-2.0
"""A cloud of one host that is driven step by step in the test's own thread, and whose compute service can be killed.

A life of the compute service is what computeapi.compute.service does from its start until nothing is left to do, but
without threads. "Killed" is an exception that nothing catches, and nothing of the killed owner can write or call
anything afterwards; the database rolls back what was not committed, as it does when a process dies. It strikes before a
commit or a call of the hypervisor: killed after one, a process leaves what it leaves when it is killed before the next.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import orjson
from sqlalchemy import Connection, delete, event, func, insert, or_, select, update

from computeapi import app, clock, journal, lifecycle, routes
from computeapi.compute import reconcile, runner, service
from computeapi.compute.operation import Tools
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import (
    Action,
    ActionEvent,
    Allocation,
    Base,
    FixedIp,
    Host,
    Port,
    Server,
    Volume,
    VolumeAttachment,
)
from computeapi.db.models.journal import FAILED, FINISHED
from computeapi.db.queries import addresses, servers
from computeapi.db.queries.servers import ServerRow
from computeapi.policy import Policy
from computeapi.settings import Settings
from computeapi.states import (
    ACTIVE,
    BUILDING,
    ERROR,
    PAUSED,
    RESCUED,
    RESIZED,
    SHELVED,
    SHELVED_OFFLOADED,
    SOFT_DELETED,
    STOPPED,
    SUSPENDED,
    PowerState,
)
from computeapi.virt.base import HypervisorGone
from computeapi.virt.simulator import SimulatedHypervisor
from tests.journal.starts import STARTS, Images

IMAGE_ID = "70a599e0-31e7-49b7-b260-868f441e862b"
PROJECT, USER = uuid.uuid4().hex, uuid.uuid4().hex
FLAVOR = {
    "name": "m1.test",
    "vcpus": 2,
    "ram": 256,
    "disk": 3,
    "ephemeral": 1,
    "swap": 512,
    "rxtx_factor": 1.0,
    "extra_specs": {},
}
POLICY = Policy(routes.list_rules(), "/nonexistent/policy.json")
SECRETS = {"admin_password": "tell-nobody", "personality": []}
_GUEST_DOES = {
    ACTIVE: PowerState.RUNNING,
    STOPPED: PowerState.SHUTDOWN,
    SOFT_DELETED: PowerState.SHUTDOWN,
    PAUSED: PowerState.PAUSED,
    SUSPENDED: PowerState.SUSPENDED,
    RESCUED: PowerState.RUNNING,
    RESIZED: PowerState.RUNNING,
    SHELVED: PowerState.SHUTDOWN,
}


class Killed(BaseException):
    """The compute service's process is gone."""


class Checkpoints:
    """Counts the writes and calls; kills before one of them, or calls back after one."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Alive, and at the beginning."""
        self.count = 0
        self.dead = False
        self.fatal: int | None = None
        self.at: Callable[[int], None] | None = None  # told how many there were

    def before(self, name: str) -> None:
        """The next is a commit, or a call."""
        self.check_alive()
        self.count += 1
        if self.count == self.fatal:
            self.dead = True
            raise Killed(f"{self.count}: {name}")

    def after(self) -> None:
        """It has been; no transaction of the owner's is open."""
        if self.at is not None:
            self.at(self.count)

    def check_alive(self) -> None:
        """A dead process does nothing."""
        if self.dead:
            raise Killed("dead already")


class WatchedDatabase(Database):
    """A database with checkpoints around its commits."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.checkpoint = checkpoint = Checkpoints()
        event.listen(self.engine, "commit", lambda _conn: checkpoint.before("commit"))
        event.listen(self.engine, "before_cursor_execute", lambda *_: checkpoint.check_alive())

    @contextmanager
    def write(self) -> Iterator[Any]:
        """As the real one."""
        with super().write() as conn:
            yield conn
        self.checkpoint.after()


class Databases(NamedTuple):
    """The same database as each sees it. Kept from test to test: SQLAlchemy has all statements compiled by then."""

    api: Database
    victim: WatchedDatabase
    heir: WatchedDatabase

    @classmethod
    def of(cls, url: str) -> Databases:
        """New ones."""
        return cls(Database(url), WatchedDatabase(url), WatchedDatabase(url))

    def close(self) -> None:
        """Let go of the connections."""
        for each in self:
            each.close()


class WatchedDriver:
    """A hypervisor with checkpoints around its calls, which can be made to fail by the name of the method."""

    def __init__(
        self, driver: SimulatedHypervisor, checkpoint: Checkpoints, first: WatchedDriver | None = None
    ) -> None:
        self._driver, self._checkpoint = driver, checkpoint
        self._first = first or self  # whose plans those of the other hosts' drivers are
        self.failing: dict[str, list[Exception]] = {}  # for the next calls
        self.always: dict[str, Exception] = {}
        self.gone_at: int | None = None  # this call finds the hypervisor gone
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._driver, name)
        if not callable(value):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self._checkpoint.before(name)
            plan = self._first
            plan.calls.append(name)
            if len(plan.calls) == plan.gone_at:
                raise HypervisorGone("away")
            if plan.failing.get(name):
                raise plan.failing[name].pop(0)
            if name in plan.always:
                raise plan.always[name]
            result = value(*args, **kwargs)
            self._checkpoint.after()
            return result

        return call


class Owner:
    """The compute services of the hosts, from life to life. Killed, all are: the others had nothing under way."""

    def __init__(self, world: World, db: WatchedDatabase) -> None:
        self.world, self.db = world, db
        self.checkpoint = db.checkpoint
        self.checkpoint.reset()
        self.driver = WatchedDriver(world.driver, self.checkpoint)
        self.tools: Tools | None = None
        self.others: list[Tools] = []  # of the other hosts
        self.before_run: Callable[[journal.Entry], None] = lambda _entry: None

    def take_over(self) -> Tools:
        """Become the owner of all hosts; with what of the first."""
        world, self.others = self.world, []
        for driver in world.drivers:
            watched = self.driver if driver is world.driver else WatchedDriver(driver, self.checkpoint, self.driver)
            settings = replace(world.settings, host=driver.host)
            info = driver.host_info()
            tools = service.take_over(settings, self.db, watched, world.images, world.services.seal, info)  # type: ignore[arg-type]
            tools = world.equip(tools, self.checkpoint)
            if driver is world.driver:
                self.tools = tools
            else:
                self.others.append(tools)
        assert self.tools is not None
        return self.tools

    def live(self) -> list[runner.Left]:
        """From the start until nothing more can be done now; why things were left. Raises Killed."""
        every = [self.take_over(), *self.others]
        for tools in every:
            reconcile.run(tools)
        lefts = self.work()
        for tools in every:
            reconcile.run(tools)
        return lefts

    def work(self) -> list[runner.Left]:
        """Claim and run until nothing more can be done now."""
        assert self.tools is not None
        later: set[int] = set()
        lefts: list[runner.Left] = []
        for _ in range(200):
            found = []
            for tools in (self.tools, *self.others):
                with self.db.read() as conn:
                    rows = journal.candidates(conn, tools.host, 100, 100)
                found += [(tools, key, lane) for key, lane in rows if key not in later]
            if not found:
                return lefts
            for tools, key, lane in found:
                with self.db.write() as conn:
                    entry = journal.claim(conn, tools.seal, key, lane, tools.host, tools.epoch)
                if entry is None:
                    continue
                self.before_run(entry)
                left = runner.run(tools, entry)
                if left is None:
                    continue
                lefts.append(left)
                with self.db.write() as conn:
                    journal.give_back(conn, entry, left.why, counts=left.counts)
                if not left.counts:
                    later.add(key)
        raise AssertionError("the work never ends")

    def reborn(self) -> Owner:
        """The next life of it."""
        self.checkpoint.reset()
        self.before_run = lambda _entry: None
        self.driver.failing, self.driver.always, self.driver.calls, self.driver.gone_at = {}, {}, [], None
        return self


@dataclass
class Trace:
    """What a server had, to look for when it is gone."""

    server_id: int
    uuid: str
    macs: set[str] = field(default_factory=set)


class Snapshot(NamedTuple):
    """All that the database and the host know at a moment."""

    rows: dict[str, list[dict[str, Any]]]
    hosts: list[bytes]
    images: dict[str, dict[str, Any]]


# What an undisturbed operation leaves, and a disturbed one as well: all columns but these.
_TIMES = {
    *("created_at", "updated_at", "started_at", "finished_at", "last_seen_at", "launched_at", "terminated_at"),
    *("switched_at", "reverted_at", "shelved_at", "deleted_at", "attached_at"),
}
_NOT_COMPARED = _TIMES | {"epoch", "attempt", "fault_json", "cancel", "payload"}
_ON_A_HOST = (("volumes", "*"), ("networks", "*"), ("dhcp", "*"), ("guests", "uuid, state, spec"))
_CHANGED = (
    *("networks", "subnets", "servers", "ports", "fixed_ips", "allocations", "pci_claims", "migrations", "hosts"),
    *("block_devices", "volumes", "volume_snapshots", "volume_attachments", "actions", "action_events"),
)


def _number_anew(rows: dict[str, list[dict[str, Any]]]) -> None:
    """Keys become places in their tables: a sequence leaves gaps where work was undone."""
    places = {name: {row["id"]: place for place, row in enumerate(table)} for name, table in rows.items()}
    for name, table in rows.items():
        columns = Base.metadata.tables[name].columns
        referred = {column.name: key.column.table.name for column in columns for key in column.foreign_keys}
        for row in table:
            for column, target in {"id": name, **referred}.items():
                if target in places and row[column] is not None:
                    row[column] = places[target].get(row[column], row[column])


class World:
    """The API's side, the host's truth, and what must be so in the end."""

    def __init__(self, settings: Settings, databases: Databases) -> None:
        settings = replace(settings, shelved_offload_time=-1)
        self.settings, self.db = settings, databases.api
        db = self.db
        self.images = Images()
        self.fails = ERROR  # where the operation under test lands when it fails
        self.services = app.make_services(settings, db=db, images=self.images, policy=POLICY)
        self._fabric: dict[str, SimulatedHypervisor] = {}
        self.driver = SimulatedHypervisor("host1", vcpus=64, memory_mb=65536, disk_gb=1000, fabric=self._fabric)
        self.drivers = [self.driver]
        self.context = Context(f"req-{uuid.uuid4()}", USER, PROJECT, frozenset({"member", "reader"}))
        self.traces: list[Trace] = []
        # SQLite is killed at each checkpoint. PostgreSQL takes several times as long, and what it may do otherwise it
        # does at some: a prime, so that tests which look at each second, third or fifth see all of them.
        self.stride = 7 if db.is_postgresql else 1
        self.devices: list[dict[str, Any]] = []  # rows of block_devices that each new server gets
        self.victim, self.heir = Owner(self, databases.victim), Owner(self, databases.heir)
        self._add_network()
        self.heir.take_over()

    def _add_network(self) -> None:
        with self.db.write() as conn:
            addresses.create_network(conn, name="private", cidr="10.1.0.0/24", shared=True)

    def equip(self, tools: Tools, _checkpoint: Checkpoints) -> Tools:
        """What a compute service works with beside."""
        return tools

    def close(self) -> None:
        """Let go of the hosts."""
        for driver in self.drivers:
            driver.close()

    def add_second_host(self) -> None:
        """There is host2 as well."""
        driver = SimulatedHypervisor("host2", vcpus=64, memory_mb=65536, disk_gb=1000, fabric=self._fabric)
        self.drivers.append(driver)
        self.heir.take_over()

    # --- the API's side ---

    def create(self) -> ServerRow:
        """What POST /servers does: the rows, and the work."""
        moment = clock.now()
        server_uuid = str(uuid.uuid4())
        values: dict[str, Any] = {
            "uuid": server_uuid,
            "project_id": PROJECT,
            "user_id": USER,
            "name": "server",
            "hostname": "server",
            "vm_state": BUILDING,
            "task_state": "scheduling",
            "image_id": IMAGE_ID,
            "flavor_id": "1",
            "flavor_json": orjson.dumps(FLAVOR).decode(),
            "vcpus": 2,
            "memory_mb": 256,
            "disk_gb": 4,
            "user_data": "c2VjcmV0",
            "created_at": moment,
            "updated_at": moment,
        }
        with self.db.write() as conn:
            key = servers.insert(conn, values).id
            devices = [{**device, "uuid": str(uuid.uuid4()), "server_id": key} for device in self.devices]
            servers.add_block_devices(conn, devices)
            secrets = self._give_interfaces(conn, key, server_uuid)
            server = servers.get_by_key(conn, key)
            assert server is not None
            lifecycle.start_build(conn, self.services, self.context, server, secrets=secrets)
        return self.server(key)

    def _give_interfaces(self, conn: Connection, key: int, server_uuid: str) -> dict[str, Any]:
        """What the work is told of them, and what is secret."""
        shown = addresses.allocate(conn, server_id=key, project_id=PROJECT, requested=None)
        servers.change(conn, key, {"addresses_json": shown})
        self.traces.append(Trace(key, server_uuid, {nic.mac for nic in addresses.nics(conn, key)}))
        return SECRETS

    def begin(self, server: ServerRow, action: str) -> None:
        """What the API does for an action."""
        if action in STARTS:
            STARTS[action](self, server, action)
            return
        with self.db.write() as conn:
            lifecycle.begin(conn, self.services, self.context, server, action, {"secret": "tell-nobody"})

    def prepare(self, actions: tuple[str, ...]) -> ServerRow:
        """A server to which these were done, "create" first."""
        server = self.create()
        for action in actions:
            if action != "create":
                self.begin(server, action)
            assert self.heir.reborn().live() == []
            server = self.server(server.id)
        return server

    # --- all that there is ---

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """All rows of the tables that these tests change."""
        with self.db.read() as conn:
            return {
                name: [dict(row) for row in conn.execute(select(table).order_by(table.c.id)).mappings()]
                for name, table in ((name, Base.metadata.tables[name]) for name in _CHANGED)
            }

    def snapshot(self) -> Snapshot:
        """To come back to this moment."""
        return Snapshot(self.dump(), [each._store._db.serialize() for each in self.drivers], self.images.snapshot())

    def restore(self, snapshot: Snapshot) -> None:
        """Come back to that moment: the tests that try every checkpoint begin each time at the same."""
        with self.db.write() as conn:
            for name in reversed(_CHANGED):
                conn.execute(delete(Base.metadata.tables[name]))
            for name in _CHANGED:
                if snapshot.rows[name]:
                    conn.execute(insert(Base.metadata.tables[name]), snapshot.rows[name])
        for driver, content in zip(self.drivers, snapshot.hosts, strict=True):
            driver._store._db.deserialize(content)
        self.images.restore(snapshot.images)
        for owner in (self.victim, self.heir):
            owner.reborn()

    def outcome(self) -> dict[str, Any]:
        """All that there is, but times and how often things were tried."""
        rows = self.dump()
        del rows["action_events"]
        rows["actions"] = [row for row in rows["actions"] if not row["hidden"]]
        _number_anew(rows)
        found: dict[str, Any] = {"images": self.images.snapshot()} | {
            name: [{key: value for key, value in row.items() if key not in _NOT_COMPARED} for row in table]
            for name, table in rows.items()
        }
        for driver in self.drivers:
            with driver._store.open() as data:
                for table, columns in _ON_A_HOST:
                    name = f"{driver.host}'s {table}"
                    found[name] = data._db.execute(f"SELECT {columns} FROM {table}").fetchall()
        return found

    def server(self, key: int) -> ServerRow:
        """A server as it is now, deleted or not."""
        with self.db.read() as conn:
            row = servers.get_by_key(conn, key)
        assert row is not None
        return row

    def host_goes_down(self) -> None:
        """Its compute service was not heard of for long."""
        with self.db.write() as conn:
            conn.execute(update(Host).values(last_seen_at=clock.shifted(-3600)))

    # --- what must be so ---

    def dhcp_macs(self) -> set[str]:
        """The interfaces that a network of a host promises an address."""
        found: set[str] = set()
        for driver in self.drivers:
            with driver._store.open() as data:
                found |= {row[0] for row in data._db.execute("SELECT mac FROM dhcp")}
        return found

    def guests(self, server_uuid: str) -> dict[str, PowerState]:
        """What a server's guest does on each host that knows it."""
        known = {driver.host: driver.list_guests().get(server_uuid) for driver in self.drivers}
        return {host: state for host, state in known.items() if state is not None}

    def check_quiet(self) -> None:
        """No open work, no secret left, no server in between, and counters that are the sum of allocations."""
        with self.db.read() as conn:
            is_open = or_(
                Action.state.not_in([FINISHED, FAILED, "cancelled"]),
                Action.queue.is_not(None),
                Action.lane.is_not(None),
                Action.running.is_not(None),
                Action.payload.is_not(None),
                Action.finished_at.is_(None),
            )
            work = select(Action.id, Action.operation, Action.state).where(Action.hidden == 0)  # the others are hints
            assert conn.execute(work.where(is_open)).all() == []
            assert conn.execute(select(ActionEvent.name).where(ActionEvent.finished_at.is_(None))).all() == []
            busy = select(Server.id, Server.task_state).where(Server.task_state.is_not(None))
            assert conn.execute(busy).all() == []
            used = select(Host.name, Host.vcpus_used, Host.memory_mb_used, Host.disk_gb_used, Host.servers)
            total = select(
                func.coalesce(func.sum(Allocation.vcpus), 0),
                func.coalesce(func.sum(Allocation.memory_mb), 0),
                func.coalesce(func.sum(Allocation.disk_gb), 0),
                func.count(Allocation.id),
            )
            for host, *sums in conn.execute(used):
                assert tuple(sums) == tuple(conn.execute(total.where(Allocation.host == host)).one()), host

    def check_server(self, key: int, lands: str, *, cause: str | None = None) -> ServerRow:
        """The server landed there, and its guest does what that means; with `cause`: it is in ERROR and says so."""
        server = self.server(key)
        guests = self.guests(server.uuid)
        guest = guests.get(server.host or "")
        running = [host for host, state in guests.items() if state in (PowerState.RUNNING, PowerState.PAUSED)]
        assert len(running) <= 1, "it runs on one host at most"
        assert server.vm_state != ACTIVE or running == [server.host]
        if cause is not None and server.vm_state == self.fails != ERROR:
            assert cause in self.last_message(key)
            assert guest == _GUEST_DOES.get(self.fails) or self.fails in (SHELVED, SHELVED_OFFLOADED)
            return server
        if cause is not None:
            assert server.vm_state == ERROR
            fault = orjson.loads(server.fault_json or "{}")
            assert cause in fault["message"], fault
            assert cause in fault["details"]
            if server.host is None:
                self.check_gone(key)
            return server
        assert server.vm_state == lands, server.fault_json
        if server.deleted:
            assert server.user_data is None
            self.check_gone(key)
            return server
        assert server.fault_json is None
        assert guest == _GUEST_DOES.get(lands)
        assert server.power_state == (PowerState.SHUTDOWN if guest is None else guest)
        return server

    def last_message(self, key: int) -> str:
        """Why the server's last action failed."""
        with self.db.read() as conn:
            said = (Action.server_id == key) & Action.message.is_not(None)
            last = select(Action.message).where(said).order_by(Action.id.desc()).limit(1)
            return conn.execute(last).scalar_one() or ""

    def check_gone(self, key: int) -> None:
        """Nothing is left of it on the host, and nothing is taken for it."""
        trace = next(trace for trace in self.traces if trace.server_id == key)
        assert self.guests(trace.uuid) == {}
        assert [name for each in self.drivers for name in each.list_volumes() if trace.uuid in name] == []
        assert not self.dhcp_macs() & trace.macs
        with self.db.read() as conn:
            assert conn.execute(select(Port.id).where(Port.server_id == key)).all() == []
            assert conn.execute(select(Allocation.id).where(Allocation.server_id == key)).all() == []

    def check_log(self, key: int) -> None:
        """The journal's events tell what happened: numbered through, and each closed action says how it ended."""
        with self.db.read() as conn:
            actions = conn.execute(
                select(Action.id, Action.operation, Action.state, Action.message).where(Action.server_id == key)
            ).all()
            for action_id, operation, state, message in actions:
                events = conn.execute(
                    select(ActionEvent.seq, ActionEvent.name, ActionEvent.undo, ActionEvent.result, ActionEvent.details)
                    .where(ActionEvent.action_id == action_id)
                    .order_by(ActionEvent.seq)
                ).all()
                assert [row[0] for row in events] == list(range(1, len(events) + 1))
                assert all(row[3] == "Success" or row[4] for row in events), "an error has its words"
                done = [row[1] for row in events if row[3] == "Success" and not row[2]]
                assert len(done) == len(set(done)), "what ended well is not done again"
                if not operation:  # it needed no host
                    continue
                if state == FINISHED:
                    assert message is None
                    steps = [step.name for step in runner.OPERATIONS[operation].steps]
                    assert done == steps
                    assert not [row for row in events if row[2]]
                else:
                    assert message

    def check_all_free(self) -> None:
        """When all servers are gone the hosts are as empty as before, and so are the tables."""
        with self.db.read() as conn:
            free = select(Volume.uuid).where(Volume.status == "available")
            kept = [f"volume-{volume_id}" for volume_id in conn.execute(free).scalars()]
            assert conn.execute(select(func.count(Volume.id))).scalar() == len(kept)
            assert conn.execute(select(func.count(VolumeAttachment.id))).scalar() == 0
        for driver in self.drivers:
            assert driver.list_guests() == {}
        names = [name for driver in self.drivers for name in driver.list_volumes()]
        assert sorted(name for name in names if not name.startswith("base_")) == sorted(kept)
        assert self.dhcp_macs() == set()
        with self.db.read() as conn:
            assert conn.execute(select(func.count(Port.id))).scalar() == 0
            assert conn.execute(select(func.count(Allocation.id))).scalar() == 0
            taken = select(FixedIp.address).where(FixedIp.free == 0, FixedIp.reserved == 0)
            assert conn.execute(taken).all() == []
            assert set(conn.execute(select(Host.vcpus_used, Host.servers)).all()) == {(0, 0)}

    def settle(self, key: int, lands: str, *, cause: str | None = None) -> ServerRow:
        """All of the above for one server; then its delete leaves nothing."""
        self.check_quiet()
        server = self.check_server(key, lands, cause=cause)
        self.check_log(key)
        self.remove(server)
        return server

    def remove(self, server: ServerRow) -> None:
        """Delete a server for good, and see that nothing of it is left."""
        if not self.server(server.id).deleted:
            with self.db.write() as conn:
                lifecycle.begin(conn, self.services, self.context, server, "force_delete")
            assert self.heir.reborn().live() == []
        self._delete_volumes_again()
        self.check_quiet()
        self.check_gone(server.id)
        self.check_all_free()

    def _delete_volumes_again(self) -> None:
        """Those whose delete failed, as their owner may."""
        with self.db.read() as conn:
            left = conn.execute(select(Volume.uuid).where(Volume.status == "error_deleting")).scalars().all()
        for volume_id in left:
            self.services.volumes.delete(self.context, volume_id)
        if left:
            assert self.heir.reborn().live() == []


def add_host(db: Database, name: str, **columns: Any) -> None:
    """A compute host that is alive: 10 CPUs, 1000 MiB, 100 GiB."""
    values = {
        "name": name,
        "uuid": str(uuid.uuid4()),
        "service_uuid": str(uuid.uuid4()),
        "started_at": clock.now(),
        "last_seen_at": clock.now(),
        "hypervisor_hostname": name,
        "hypervisor_type": "simulator",
        "hypervisor_version": 1,
        "vcpus": 10,
        "memory_mb": 1000,
        "disk_gb": 100,
        "cpu_allocation_ratio": 1.0,
        "ram_allocation_ratio": 1.0,
        "disk_allocation_ratio": 1.0,
        **columns,
    }
    with db.write() as conn:
        conn.execute(insert(Host).values(**values))


Kind = TypeVar("Kind", bound=World)


@contextmanager
def opened(kind: type[Kind], settings: Settings, databases: dict[str, Databases]) -> Iterator[Kind]:
    """A World of that kind. Connections are made once for each URL."""
    url = settings.database_url
    if url not in databases:
        databases[url] = Databases.of(url)
    world = kind(settings, databases[url])
    yield world
    world.close()
    if databases[url].api.is_sqlite:  # the file is another one for the next
        databases[url].close()
