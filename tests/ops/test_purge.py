# SPDX-License-Identifier: Apache-2.0
"""What is over and done goes after a time, with all that hangs on it, and nothing else does."""

from __future__ import annotations

import argparse
import threading
import uuid
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from computeapi import clock
from computeapi.cli.database import age
from computeapi.compute import sweeps
from computeapi.db.engine import Database
from computeapi.db.models import (
    Action,
    ActionEvent,
    BaremetalNode,
    Base,
    BlockDevice,
    Image,
    ImageProperty,
    Migration,
    Port,
    Revocation,
    Server,
    ServerGroup,
    ServerGroupMember,
    TaskLog,
)
from computeapi.db.queries import addresses, purge
from computeapi.db.queries.common import insert_key
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_image

DAY = 86_400
OLD, NEW = -40 * DAY, -10 * DAY
BEFORE = -30 * DAY


def test_nothing_that_hangs_on_a_server_is_missing() -> None:
    """Who adds a table that points to servers says here what becomes of its rows."""
    pointing = {
        table.name
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if key.column.table.name == "servers"
    }
    assert pointing == {model.__tablename__ for model in (*purge.GOES, *purge.LETS_GO)}


def run(db: Database, *kinds: str, limit: int = 100) -> list[int]:
    gone = []
    for kind in kinds or purge.KINDS:
        with db.write() as conn:
            gone.append(purge.KINDS[kind](conn, clock.shifted(BEFORE), limit))
    return gone


def count(db: Database, model: Any) -> int:
    with db.read() as conn:
        return int(conn.execute(select(func.count()).select_from(model)).scalar_one())


def gone_server(make_server: MakeServer, deleted: float, **columns: Any) -> Any:
    moment = clock.shifted(deleted)
    return make_server(
        created_at=clock.shifted(deleted - DAY), deleted_at=moment, deleted=1, vm_state="deleted", **columns
    )


def log(db: Database, server: Any, moment: float, **columns: Any) -> int:
    """A finished action with an event."""
    text = clock.shifted(moment)
    values = {"name": "stop", "operation": "stop", "request_id": "req-1", "state": "finished", **columns}
    values = {"created_at": text, "finished_at": text, "server_id": server.id, "server_uuid": server.uuid} | values
    with db.write() as conn:
        key = insert_key(conn, insert(Action).values(**values))
        conn.execute(insert(ActionEvent).values(action_id=key, seq=1, name="x", started_at=text))
    return key


def migration(db: Database, server: Any, moment: float, status: str = "confirmed") -> None:
    text = clock.shifted(moment)
    with db.write() as conn:
        conn.execute(
            insert(Migration).values(
                uuid=str(uuid.uuid4()), server_id=server.id, server_uuid=server.uuid, project_id="p", user_id="u",
                migration_type="resize", status=status, created_at=text, updated_at=text,
            )
        )  # fmt: skip


def test_deleted_servers(db: Database, make_server: MakeServer) -> None:
    """All that hangs on it goes with it; its neighbours, young or alive or with open work, stay."""
    old = gone_server(make_server, OLD)
    stay = [
        gone_server(make_server, NEW),
        make_server(created_at=clock.shifted(OLD)),
        gone_server(make_server, OLD, shelved_image_id="x"),
        gone_server(make_server, OLD),
    ]
    log(db, stay[3], OLD, state="pending", finished_at=None, queue="host1", lane=stay[3].id)
    log(db, old, OLD)
    migration(db, old, OLD)
    with db.write() as conn:
        addresses.create_network(conn, name="private", cidr="10.1.0.0/24", shared=True)
        conn.execute(
            insert(BlockDevice).values(
                uuid=str(uuid.uuid4()), server_id=old.id, source_type="blank", destination_type="local"
            )
        )
        group = insert_key(
            conn,
            insert(ServerGroup).values(
                uuid=str(uuid.uuid4()), project_id="p", user_id="u", name="g", policy="affinity", created_at=clock.now()
            ),
        )
        conn.execute(insert(ServerGroupMember).values(group_id=group, server_id=old.id))
        conn.execute(
            insert(BaremetalNode).values(
                uuid=str(uuid.uuid4()), server_id=old.id, service_host="h", cpus=1, memory_mb=1, local_gb=1
            )
        )
        conn.execute(
            insert(Port).values(
                uuid=str(uuid.uuid4()), network_id=1, server_id=old.id, mac="02:00:00:00:00:01", created_at=clock.now()
            )
        )
    assert run(db, "deleted servers") == [1]
    with db.read() as conn:
        assert set(conn.execute(select(Server.uuid)).scalars()) == {server.uuid for server in stay}
        assert conn.execute(select(Port.server_id)).scalars().all() == [None]
        assert conn.execute(select(BaremetalNode.server_id)).scalars().all() == [None]
    assert [count(db, model) for model in (BlockDevice, ServerGroupMember, Migration, Action)] == [0, 0, 0, 1]
    assert (count(db, ServerGroup), count(db, ActionEvent)) == (1, 1)
    assert run(db, "deleted servers") == [0]


def test_finished_actions(db: Database, make_server: MakeServer) -> None:
    server = make_server(created_at=clock.shifted(OLD))
    log(db, server, OLD, state="running", finished_at=None, queue="host1", lane=server.id)
    for _ in range(5):
        log(db, server, OLD)
    log(db, server, OLD, finished_at=clock.shifted(NEW))  # it took long
    log(db, server, NEW)
    assert [run(db, "finished actions", limit=2)[0] for _ in range(4)] == [2, 2, 1, 0]
    assert (count(db, Action), count(db, ActionEvent)) == (3, 3)


def test_finished_actions_behind_many_that_are_open(db: Database, make_server: MakeServer) -> None:
    server = make_server(created_at=clock.shifted(OLD))
    for _ in range(150):
        log(db, server, OLD, state="pending", finished_at=None, queue="host1", lane=server.id)
    log(db, server, OLD)
    assert run(db, "finished actions", limit=10) == [1]


def test_other_things(db: Database, make_server: MakeServer) -> None:
    server = make_server(created_at=clock.shifted(OLD))
    migration(db, server, OLD)
    migration(db, server, OLD, "finished")  # waits to be confirmed
    migration(db, server, NEW)
    add_image(db, {"a": "b"}, created_at=clock.shifted(OLD), deleted_at=clock.shifted(OLD), deleted=1)
    add_image(db, created_at=clock.shifted(OLD))
    add_image(db, created_at=clock.shifted(OLD), deleted_at=clock.shifted(NEW), deleted=1)
    with db.write() as conn:
        for end in (OLD, NEW):
            conn.execute(
                insert(TaskLog).values(
                    task_name="t", host="h", period_beginning="", period_ending=clock.shifted(end), state="DONE"
                )
            )
            conn.execute(insert(Revocation).values(subject="s", epoch=1, expires_at=clock.shifted(-end - 20 * DAY)))
    assert run(db, "old migrations", "deleted images", "usage audits", "expired revocations") == [1, 1, 1, 1]
    assert [count(db, model) for model in (Migration, Image, ImageProperty, TaskLog, Revocation)] == [2, 2, 0, 1, 1]


def test_by_itself(compute: Compute, db: Database, make_server: MakeServer) -> None:
    gone_server(make_server, OLD)
    assert sweeps.forget_the_past in sweeps.ALL
    assert sweeps.forget_the_past(compute.tools) == 0  # not unless told
    tools = replace(compute.tools, settings=replace(compute.tools.settings, retention_days=30))
    assert sweeps.forget_the_past(tools) == 1
    assert count(db, Server) == 0


def test_lists_go_on(api: Api, db: Database, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """While batches are deleted, a list answers, and shows what is there."""
    monkeypatch.setattr(purge, "BATCH", 20)
    for number in range(200):
        gone_server(make_server, OLD - number)
    alive = make_server()
    failed: list[Any] = []
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            answer = api.get("/servers")
            if answer.status_code != 200 or [row["id"] for row in answer.json["servers"]] != [alive.uuid]:
                failed.append(answer)

    thread = threading.Thread(target=read)
    thread.start()
    gone = 0
    while batch := run(db, "deleted servers", limit=20)[0]:
        gone += batch
    ended.set()
    thread.join()
    assert (gone, failed) == (200, [])


@pytest.mark.parametrize(("text", "seconds"), [("30d", 30 * DAY), ("12h", 12 * 3600), ("2w", 14 * DAY), ("0d", 0)])
def test_age(text: str, seconds: float) -> None:
    assert age(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5d", "30 d", "1y"])
def test_no_age(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        age(text)
