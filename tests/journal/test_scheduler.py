# SPDX-License-Identifier: Apache-2.0
"""Which host a server goes to, why others don't get it, and that no host gives out more than it has."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest
from sqlalchemy import func, select

from computeapi import clock, lifecycle, scheduler, states
from computeapi.compute import sweeps
from computeapi.db.engine import Database
from computeapi.db.models import Action, Allocation, FixedIp, Host, Port
from computeapi.db.queries import servers
from computeapi.scheduler import NoValidHost, Wanted, place, release, reserve
from computeapi.settings import Settings
from tests.journal.world import World, add_host
from tests.wire.conftest import server_values

ONE = Wanted(1, 100, 10)


def add_server(db: Database, **columns: Any) -> int:
    """A server's key."""
    with db.write() as conn:
        return servers.insert(conn, server_values("p" * 32, "u" * 32, host=None, **columns)).id


def used(db: Database) -> dict[str, tuple[int, ...]]:
    """CPUs, memory, disk and servers taken, by host."""
    with db.read() as conn:
        rows = conn.execute(select(Host.name, Host.vcpus_used, Host.memory_mb_used, Host.disk_gb_used, Host.servers))
        return {row[0]: tuple(row[1:]) for row in rows}


def pick(settings: Settings, db: Database, wanted: Wanted, **columns: Any) -> str:
    """The host that a new server gets."""
    key = add_server(db, **columns)
    with db.write() as conn:
        return place(conn, settings, key, wanted)


def refused(settings: Settings, db: Database, wanted: Wanted) -> NoValidHost:
    """Why no host is right."""
    with pytest.raises(NoValidHost) as caught:
        pick(settings, db, wanted)
    return caught.value


# --- filters ---

FILTERS = [
    ({"disabled": 1}, ONE, "disabled"),
    ({"forced_down": 1}, ONE, "down"),
    ({"last_seen_at": clock.shifted(-3600)}, ONE, "down"),
    ({}, Wanted(1, 100, 10, host="host2"), "not the host asked for"),
    ({}, Wanted(1, 100, 10, refused={"host1": "excluded"}), "excluded"),
    ({}, Wanted(1, 100, 10, zone="mars"), "not in the availability zone"),
    ({"availability_zone": "mars"}, Wanted(1, 100, 10, zone="nova"), "not in the availability zone"),
    ({}, Wanted(11, 100, 10), "not enough CPU"),
    ({}, Wanted(1, 1001, 10), "not enough memory"),
    ({}, Wanted(1, 100, 101), "not enough disk"),
    ({"vcpus_used": 10}, ONE, "not enough CPU"),
    ({"host_ip": "10.2.0.1"}, Wanted(1, 1, 1, hints={"build_near_host_ip": "10.1.0.9"}), "not near the address"),
    (
        {"host_ip": "10.1.0.1"},
        Wanted(1, 1, 1, hints={"build_near_host_ip": "10.1.0.9", "cidr": "/30"}),
        "not near the address",
    ),
    ({}, Wanted(1, 1, 1, hints={"query": '[">", "$free_ram_mb", 1000]'}), "not what the query asks for"),
    ({"servers": 1}, Wanted(1, 1, 1, hints={"query": '["=", "$num_instances", 0]'}), "not what the query asks for"),
    ({}, Wanted(1, 100, 10, hints={"same_host": "5f5f0c1e-0000-0000-0000-000000000000"}), "servers in same_host"),
]


@pytest.mark.parametrize(
    ("columns", "wanted", "reason"), FILTERS, ids=[row[2] + str(i) for i, row in enumerate(FILTERS)]
)
def test_a_host_that_is_not_right(
    settings: Settings, db: Database, columns: dict[str, Any], wanted: Wanted, reason: str
) -> None:
    add_host(db, "host1", **columns)
    before = used(db)
    error = refused(settings, db, wanted)
    assert reason in error.reasons["host1"]
    assert reason in error.short
    assert "host1" not in error.short
    assert error.details == f"host1: {error.reasons['host1']}"
    assert used(db) == before


@pytest.mark.parametrize(
    "wanted",
    [
        ONE,
        Wanted(10, 1000, 100),
        Wanted(1, 100, 10, zone="nova"),
        Wanted(1, 100, 10, host="host1"),
        Wanted(1, 100, 10, hints={"different_host": ["5f5f0c1e-0000-0000-0000-000000000000"]}),
        Wanted(1, 100, 10, hints={"unknown": {"x": 1}}),
        Wanted(0, 0, 0),
    ],
)
def test_a_host_that_is_right(settings: Settings, db: Database, wanted: Wanted) -> None:
    add_host(db, "host1")
    assert pick(settings, db, wanted) == "host1"
    assert used(db)["host1"] == (wanted.vcpus, wanted.memory_mb, wanted.disk_gb, 1)


def test_ratios(settings: Settings, db: Database) -> None:
    add_host(db, "host1", cpu_allocation_ratio=2.0, ram_allocation_ratio=1.5, disk_allocation_ratio=0.5)
    assert refused(settings, db, Wanted(21, 0, 0)).reasons == {"host1": "not enough CPU"}
    assert refused(settings, db, Wanted(0, 1501, 0)).reasons == {"host1": "not enough memory"}
    assert refused(settings, db, Wanted(0, 0, 51)).reasons == {"host1": "not enough disk"}
    assert pick(settings, db, Wanted(20, 1500, 50)) == "host1"
    assert refused(settings, db, Wanted(1, 0, 0)).reasons == {"host1": "not enough CPU"}


def test_same_and_different_host(settings: Settings, db: Database) -> None:
    add_host(db, "host1")
    add_host(db, "host2")
    first = "5f5f0c1e-0000-0000-0000-000000000001"
    with db.write() as conn:
        servers.insert(conn, server_values("p" * 32, "u" * 32, uuid=first, host="host2"))
    for _ in range(3):
        assert pick(settings, db, Wanted(1, 1, 1, hints={"same_host": [first]})) == "host2"
        assert pick(settings, db, Wanted(1, 1, 1, hints={"different_host": first})) == "host1"


def test_no_hosts(settings: Settings, db: Database) -> None:
    error = refused(settings, db, ONE)
    assert (error.short, error.details) == ("There are not enough hosts available.", "There are no hosts.")


def test_reasons_of_all_hosts(settings: Settings, db: Database) -> None:
    add_host(db, "b", disabled=1)
    add_host(db, "a", memory_mb_used=1000)
    error = refused(settings, db, ONE)
    assert error.details == "a: not enough memory\nb: disabled"
    assert error.short == "There are not enough hosts available. Reasons: disabled; not enough memory."


def test_servers_are_spread(settings: Settings, db: Database) -> None:
    for name in ("a", "b", "c"):
        add_host(db, name)
    assert [pick(settings, db, ONE) for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


# --- reservations ---


def test_reserve_and_release(db: Database) -> None:
    add_host(db, "host1")
    add_host(db, "host2")
    key, other = add_server(db), add_server(db)
    with db.write() as conn:
        assert reserve(conn, "host1", key, ONE)
        assert reserve(conn, "host2", key, Wanted(2, 200, 20), role="new")
        assert reserve(conn, "host1", other, ONE)
        assert not reserve(conn, "host1", other, Wanted(9, 1, 1), role="new")
        assert not reserve(conn, "nowhere", other, ONE, role="new")
    assert used(db) == {"host1": (2, 200, 20, 2), "host2": (2, 200, 20, 1)}
    with db.write() as conn:
        release(conn, key, role="new")
        release(conn, key, role="new")
    assert used(db) == {"host1": (2, 200, 20, 2), "host2": (0, 0, 0, 0)}
    with db.write() as conn:
        release(conn, key)
        release(conn, other)
        release(conn, other)
        assert conn.execute(select(func.count(Allocation.id))).scalar() == 0
    assert used(db) == {"host1": (0, 0, 0, 0), "host2": (0, 0, 0, 0)}


def in_threads(count: int, action: Any) -> list[Any]:
    """What `action(n)` gave for each n, or raised."""
    found: list[Any] = [None] * count

    def run(n: int) -> None:
        try:
            found[n] = action(n)
        except Exception as error:
            found[n] = error

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def test_many_at_once_get_no_more_than_there_is(settings: Settings, db: Database) -> None:
    for name in ("a", "b"):
        add_host(db, name, vcpus=5)
    keys = [add_server(db) for _ in range(16)]

    def go(n: int) -> str:
        with db.write() as conn:
            return place(conn, settings, keys[n], ONE)

    found = in_threads(len(keys), go)
    assert sorted(item for item in found if isinstance(item, str)) == ["a"] * 5 + ["b"] * 5
    errors = [item for item in found if not isinstance(item, str)]
    assert [type(item) for item in errors] == [NoValidHost] * 6
    for error in errors:
        assert set(error.reasons.values()) <= {"not enough CPU", "just filled up"}
    assert used(db) == {"a": (5, 500, 50, 5), "b": (5, 500, 50, 5)}


def test_given_back_by_two_at_once(settings: Settings, db: Database) -> None:
    add_host(db, "host1")
    for _ in range(5):
        key = add_server(db)
        with db.write() as conn:
            assert reserve(conn, "host1", key, ONE)

        def go(_n: int, key: int = key) -> None:
            with db.write() as conn:
                release(conn, key)

        assert in_threads(3, go) == [None] * 3
    assert used(db) == {"host1": (0, 0, 0, 0)}


def test_counters_that_drifted_are_mended(world: World) -> None:
    world.prepare(("create",))
    tools = world.victim.take_over()
    right = used(world.db)
    assert sweeps.mend_counters(tools) is False
    with world.db.write() as conn:
        conn.execute(Host.__table__.update().values(vcpus_used=99, servers=-1))
    assert sweeps.mend_counters(tools) is True
    assert used(world.db) == right


# --- life ---


def test_is_alive(settings: Settings, db: Database) -> None:
    add_host(db, "alive")
    add_host(db, "silent", last_seen_at=clock.shifted(-settings.service_down_time - 1))
    add_host(db, "forced", forced_down=1)
    add_host(db, "disabled", disabled=1)
    with db.read() as conn:
        alive = {
            name: scheduler.is_alive(conn, settings, name) for name in ("alive", "silent", "forced", "disabled", "none")
        }
    assert alive == {"alive": True, "silent": False, "forced": False, "disabled": True, "none": False}


def test_no_host_fits_a_new_server(world: World) -> None:
    """It is in ERROR, and says why: host by host to administrators, in short to its owner. Nothing is taken for it."""
    with world.db.write() as conn:
        conn.execute(Host.__table__.update().values(memory_mb=128))
    server = world.create()
    assert (server.vm_state, server.task_state, server.host) == (states.ERROR, None, None)
    fault = orjson.loads(server.fault_json or "")
    assert fault["message"] == (
        "No valid host was found. There are not enough hosts available. Reasons: not enough memory."
    )
    assert fault["details"] == "host1: not enough memory"
    assert fault["code"] == 500
    world.check_quiet()
    world.check_gone(server.id)
    world.check_all_free()
    with world.db.read() as conn:
        assert conn.execute(select(Action.name, Action.state, Action.queue)).all() == [("create", "failed", None)]
        assert conn.execute(select(func.count(Port.id))).scalar() == 0
        assert conn.execute(select(func.count(FixedIp.id)).where(FixedIp.port_id.is_not(None))).scalar() == 0
    with world.db.write() as conn:
        lifecycle.begin(conn, world.services, world.context, server, "delete")
    assert world.server(server.id).deleted
