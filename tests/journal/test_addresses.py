# SPDX-License-Identifier: Apache-2.0
"""Addresses are given out in constant time, once, and come back."""

from __future__ import annotations

import ipaddress
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import pytest
from sqlalchemy import event, func, insert, select, text, update

from computeapi import clock, errors
from computeapi.db.engine import Database
from computeapi.db.models import FixedIp, Network, Port, Server, Subnet
from computeapi.db.queries import addresses, servers
from computeapi.db.queries.addresses import AddressInUse, NoMoreAddresses, Requested
from tests.wire.conftest import server_values

PROJECT = "p" * 32


def add_network(db: Database, cidr: str = "10.1.0.0/24", **columns: Any) -> str:
    """A shared network's uuid."""
    with db.write() as conn:
        return addresses.create_network(conn, **{"name": "private", "cidr": cidr, "shared": True, **columns})


def add_server(db: Database) -> int:
    """A server's key."""
    with db.write() as conn:
        return servers.insert(conn, server_values(PROJECT, "u" * 32)).id


def boot(db: Database, *requested: Requested) -> tuple[int, list[str]]:
    """A server on these (or on the one network there is); its key and addresses."""
    key = add_server(db)
    with db.write() as conn:
        addresses.allocate(conn, server_id=key, project_id=PROJECT, requested=list(requested) or None)
        return key, [item.address for nic in addresses.nics(conn, key) for item in nic.addresses]


def release(db: Database, key: int) -> None:
    """Its addresses are free."""
    with db.write() as conn:
        addresses.release(conn, key)


def taken(db: Database) -> list[str]:
    """The addresses that ports have."""
    with db.read() as conn:
        return list(conn.execute(select(FixedIp.address).where(FixedIp.port_id.is_not(None))).scalars())


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    """All that is executed."""
    seen: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_more: Any) -> None:
        seen.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(db.engine, "before_cursor_execute", note)


# --- one after the other ---


def test_from_the_beginning_on(db: Database) -> None:
    """The first is the gateway's."""
    add_network(db)
    assert [boot(db)[1] for _ in range(3)] == [["10.1.0.2"], ["10.1.0.3"], ["10.1.0.4"]]


def test_what_was_given_back_goes_out_first_the_lowest(db: Database) -> None:
    add_network(db)
    keys = [boot(db)[0] for _ in range(5)]
    for key in (keys[3], keys[1], keys[2]):
        release(db, key)
    assert [boot(db)[1][0] for _ in range(4)] == ["10.1.0.3", "10.1.0.4", "10.1.0.5", "10.1.0.7"]


def test_asked_for_by_name(db: Database) -> None:
    network = add_network(db)
    assert boot(db, Requested(network, "10.1.0.3"))[1] == ["10.1.0.3"]
    assert [boot(db)[1][0] for _ in range(2)] == ["10.1.0.2", "10.1.0.4"]
    with pytest.raises(AddressInUse):
        boot(db, Requested(network, "10.1.0.4"))


def test_a_free_one_asked_for_by_name(db: Database) -> None:
    network = add_network(db)
    keys = [boot(db)[0] for _ in range(3)]
    for key in keys:
        release(db, key)
    assert boot(db, Requested(network, "10.1.0.3"))[1] == ["10.1.0.3"]
    assert [boot(db)[1][0] for _ in range(3)] == ["10.1.0.2", "10.1.0.4", "10.1.0.5"]


@pytest.mark.parametrize(
    "wanted", ["10.1.0.0", "10.1.0.255", "10.2.0.1", "10.1.1.1", "fd00::1", "nonsense", "10.1.0.1/24", "", " "]
)
def test_what_no_guest_may_have(db: Database, wanted: str) -> None:
    network = add_network(db)
    if not wanted:
        return
    with pytest.raises(errors.BadRequest):
        boot(db, Requested(network, wanted))
    assert taken(db) == []


def test_the_gateway_is_taken(db: Database) -> None:
    network = add_network(db)
    with pytest.raises(AddressInUse):
        boot(db, Requested(network, "10.1.0.1"))


def test_an_address_beyond_what_a_column_can_hold(db: Database) -> None:
    network = add_network(db, "fd00::/64")
    assert boot(db)[1] == ["fd00::2"]
    with pytest.raises(errors.BadRequest):
        boot(db, Requested(network, "fd00::ffff:ffff:ffff:ffff"))
    assert boot(db, Requested(network, "fd00::7"))[1] == ["fd00::7"]


def test_exhausted(db: Database) -> None:
    """Nothing is left behind by the one who got none; what is given back can be had again."""
    add_network(db, "10.1.0.0/29")
    keys = [boot(db)[0] for _ in range(5)]
    with pytest.raises(NoMoreAddresses):
        boot(db)
    assert len(taken(db)) == 5
    release(db, keys[2])
    assert boot(db)[1] == ["10.1.0.4"]
    with pytest.raises(NoMoreAddresses):
        boot(db)


def test_asked_for_outside_the_pool_it_is_not_given_to_others(db: Database) -> None:
    network = add_network(db)
    with db.write() as conn:
        pools = orjson.dumps([{"start": "10.1.0.10", "end": "10.1.0.11"}]).decode()
        conn.execute(update(Subnet).values(first_offset=10, next_offset=10, last_offset=11, pools_json=pools))
    key, found = boot(db, Requested(network, "10.1.0.200"))
    assert found == ["10.1.0.200"]
    release(db, key)
    assert [boot(db)[1][0] for _ in range(2)] == ["10.1.0.10", "10.1.0.11"]
    with pytest.raises(NoMoreAddresses):
        boot(db)
    assert boot(db, Requested(network, "10.1.0.200"))[1] == ["10.1.0.200"]


def test_release_keeps_what_a_user_made(db: Database) -> None:
    network = add_network(db)
    with db.write() as conn:
        network_key = conn.execute(select(Network.id)).scalar_one()
        port_key = addresses.create_port(conn, network_key, project_id=PROJECT, name="mine")
        port_id = conn.execute(select(Port.uuid).where(Port.id == port_key)).scalar_one()
    key, found = boot(db, Requested(port_id=port_id), Requested(network))
    assert found == ["10.1.0.2", "10.1.0.3"]
    with pytest.raises(errors.BadRequest):
        boot(db, Requested(port_id=port_id))
    release(db, key)
    release(db, key)
    assert taken(db) == ["10.1.0.2"]
    assert boot(db, Requested(port_id=port_id))[1] == ["10.1.0.2"]


@pytest.mark.parametrize("requested", [Requested(str(uuid.uuid4())), Requested(port_id=str(uuid.uuid4()))])
def test_unknown(db: Database, requested: Requested) -> None:
    with pytest.raises(errors.BadRequest):
        boot(db, requested)


def test_networks_of_others(db: Database) -> None:
    network = add_network(db, shared=False, project_id="q" * 32)
    assert boot(db)[1] == []
    with pytest.raises(errors.BadRequest):
        boot(db, Requested(network))


def test_several_networks_to_choose_from(db: Database) -> None:
    add_network(db)
    add_network(db, "10.2.0.0/24", name="other")
    with pytest.raises(errors.Conflict):
        boot(db)


# --- however many there are ---


def fill(db: Database, network: str, count: int) -> None:
    """So many addresses of the network are in use."""
    with db.write() as conn:
        of_network = Subnet.network_id.in_(select(Network.id).where(Network.uuid == network))
        subnet, cidr = conn.execute(select(Subnet.id, Subnet.cidr).where(of_network)).one()
        base, moment = ipaddress.ip_network(cidr).network_address, clock.now()
        given = {"subnet_id": subnet, "reserved": 1, "free": 0, "updated_at": moment}
        rows = [{"offset": offset, "address": str(base + offset), **given} for offset in range(2, count + 2)]
        for start in range(0, len(rows), 5000):
            conn.execute(insert(FixedIp), rows[start : start + 5000])
        conn.execute(update(Subnet).where(Subnet.id == subnet).values(next_offset=count + 2))


def work(db: Database, network: str, by_name: str) -> list[str]:
    """What it takes to allocate, allocate by name, give back and allocate again."""
    with statements(db) as seen:
        key, found = boot(db, Requested(network))
        boot(db, Requested(network, by_name))
        release(db, key)
        assert boot(db, Requested(network))[1] == found
    return seen


def test_a_full_network_costs_what_an_empty_one_costs(db: Database) -> None:
    """Counted, not timed: the statements, and what the database does for them."""
    empty, full = add_network(db, "10.1.0.0/16"), add_network(db, "10.2.0.0/16", name="full")
    fill(db, full, 60_000)
    if not db.is_sqlite:
        with db.write() as conn:  # as autovacuum does
            conn.execute(text("ANALYZE"))
    boot(db, Requested(empty))  # the project's first has more to do
    count = steps if db.is_sqlite else rows_read
    with count(db) as small:
        few = work(db, empty, "10.1.250.1")
    with count(db) as large:
        many = work(db, full, "10.2.250.1")
    assert many == few
    assert 0 < large[0] < 2 * small[0]


@contextmanager
def rows_read(db: Database) -> Iterator[list[int]]:
    """How many rows PostgreSQL looks at, in tables and by indexes, in the transactions that are committed meanwhile."""
    count = [0]
    mine = text("SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables")

    def add(conn: Any) -> None:
        count[0] += int(conn.execute(mine).scalar_one() or 0)
        conn.execute(text("SELECT pg_stat_force_next_flush()"))  # or the next would count this one's again

    event.listen(db.engine, "commit", add)
    try:
        yield count
    finally:
        event.remove(db.engine, "commit", add)


@contextmanager
def steps(db: Database) -> Iterator[list[int]]:
    """How many hundreds of instructions of its virtual machine SQLite needs: what it reads shows in it."""
    count = [0]

    def note() -> int:
        count[0] += 1
        return 0

    def watch(connection: Any, *_more: Any) -> None:
        connection.set_progress_handler(note, 100)

    event.listen(db.engine, "checkout", watch)
    try:
        yield count
    finally:
        event.remove(db.engine, "checkout", watch)
        db.engine.dispose()


def test_addresses_asked_for_by_name_do_not_slow_the_next(db: Database) -> None:
    """A run of them above the high-water mark is skipped in large steps, once."""
    fill(db, add_network(db, "10.1.0.0/16"), 5000)
    with db.write() as conn:
        conn.execute(update(Subnet).values(next_offset=2))
    with statements(db) as seen:
        assert boot(db)[1] == [str(ipaddress.ip_address("10.1.0.0") + 5002)]
    assert len(seen) < 120
    with statements(db) as seen:
        boot(db)
    assert len(seen) < 30


# --- several at once ---


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


def test_at_once_no_two_get_the_same(db: Database) -> None:
    add_network(db, "10.1.0.0/27")

    def go(_n: int) -> list[str]:
        found = []
        for _ in range(5):
            key, mine = boot(db)
            found += mine
            if len(found) in (1, 2):
                release(db, key)
                found.pop()
        return found

    results = in_threads(6, go)
    assert [item for item in results if isinstance(item, Exception)] == []
    found = [address for item in results for address in item]
    assert len(found) == len(set(found))
    assert sorted(found) == sorted(taken(db))


def test_at_once_for_the_last_ones(db: Database) -> None:
    add_network(db, "10.1.0.0/28")
    results = in_threads(16, lambda _n: boot(db)[1][0])
    assert len({item for item in results if isinstance(item, str)}) == 13
    assert [type(item) for item in results if not isinstance(item, str)] == [NoMoreAddresses] * 3


def test_at_once_for_the_same_by_name(db: Database) -> None:
    network = add_network(db)
    results = in_threads(6, lambda _n: boot(db, Requested(network, "10.1.0.77"))[1][0])
    assert results.count("10.1.0.77") == 1
    assert sum(isinstance(item, AddressInUse) for item in results) == 5


def test_at_once_on_two_networks_in_either_order(db: Database) -> None:
    """Nobody waits for one who waits for it."""
    one, two = add_network(db), add_network(db, "10.2.0.0/24", name="other")
    orders = [(Requested(one), Requested(two)), (Requested(two), Requested(one))]

    def go(n: int) -> list[str]:
        return [address for _ in range(6) for address in boot(db, *orders[n % 2])[1]]

    results = in_threads(4, go)
    assert [item for item in results if isinstance(item, Exception)] == []
    found = [address for item in results for address in item]
    assert len(found) == len(set(found)) == 48


def test_at_once_one_port(db: Database) -> None:
    add_network(db)
    with db.write() as conn:
        network_key = conn.execute(select(Network.id)).scalar_one()
        port_key = addresses.create_port(conn, network_key, project_id=PROJECT)
        port_id = conn.execute(select(Port.uuid).where(Port.id == port_key)).scalar_one()
    results = in_threads(5, lambda _n: boot(db, Requested(port_id=port_id))[0])
    assert len([item for item in results if isinstance(item, int)]) == 1
    assert len([item for item in results if isinstance(item, errors.BadRequest)]) == 4


def test_what_the_api_shows(db: Database) -> None:
    add_network(db)
    key, _ = boot(db)
    with db.write() as conn:
        addresses.refresh(conn, key)
        shown = orjson.loads(conn.execute(select(Server.addresses_json).where(Server.id == key)).scalar_one())
        mac = conn.execute(select(Port.mac)).scalar_one()
        assert conn.execute(select(func.count(Port.id))).scalar() == 1
    assert shown == {
        "private": [
            {"version": 4, "addr": "10.1.0.2", "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": mac},
        ]
    }
