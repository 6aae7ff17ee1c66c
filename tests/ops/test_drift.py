# SPDX-License-Identifier: Apache-2.0
"""What differs between the database and a host, one case each: told, and set right where that is safe."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from computeapi import clock
from computeapi.compute import drift
from computeapi.db.engine import Database
from computeapi.db.models import Host, Server, Volume
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.block import add_volume
from tests.wire.conftest import Boot


@pytest.fixture
def server(boot: Boot) -> str:
    """A server that runs."""
    return boot()


def disk(server: str) -> str:
    return f"{server}_disk"


def test_none(compute: Compute, server: str) -> None:
    found = drift.look(compute.tools)
    assert found.is_none and found.missing == []
    assert drift.mend(compute.tools) == []


def test_a_disk_is_missing(compute: Compute, server: str) -> None:
    compute.driver.remove_volume(disk(server))
    for _ in range(2):
        found = drift.look(compute.tools)
        assert found.missing == [(disk(server), f"server {server}")] and not found.is_none
        assert drift.mend(compute.tools) == [], "nobody can make it again"


@pytest.mark.parametrize(
    "columns",
    [{"host": "host2"}, {"vm_state": "error"}, {"vm_state": "shelved_offloaded"}, {"image_id": ""}],
)
def test_servers_without_a_disk_here(compute: Compute, db: Database, server: str, columns: dict[str, str]) -> None:
    """Elsewhere, in ERROR, shelved, booted from a volume."""
    compute.driver.remove_volume(disk(server))
    with db.write() as conn:
        conn.execute(update(Server).where(Server.uuid == server).values(**columns))
    assert drift.look(compute.tools).missing == []


def test_open_work_decides_itself(compute: Compute, api: Api, server: str) -> None:
    compute.driver.remove_volume(disk(server))
    assert api.post(f"/servers/{server}/action", {"os-stop": None}).status_code == 202
    assert drift.look(compute.tools).missing == []


def test_a_volume_is_missing(compute: Compute, db: Database, api: Api) -> None:
    here, _elsewhere = add_volume(db, api), add_volume(db, api, host="host2")
    add_volume(db, api, status="error")
    assert drift.look(compute.tools).missing == [(f"volume-{here}", f"volume {here}")]
    compute.driver.ensure_disk(f"volume-{here}", 1, None)
    assert drift.look(compute.tools).is_none


def test_what_goes_meanwhile_is_no_drift(
    compute: Compute, db: Database, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A volume is deleted while the host is asked for its files."""
    add_volume(db, api)
    listed = compute.driver.list_volumes

    def list_volumes() -> list[str]:
        with db.write() as conn:
            conn.execute(update(Volume).values(status="deleting"))
        return listed()

    monkeypatch.setattr(compute.driver, "list_volumes", list_volumes)
    assert drift.look(compute.tools).missing == []


def test_disks_that_are_too_many(compute: Compute, db: Database, server: str) -> None:
    """A deleted server's goes; one of a server that nobody knows stays."""
    stranger = "11111111-2222-4333-8444-555555555555_disk"
    compute.driver.ensure_disk(stranger, 1, None)
    compute.driver.undefine(server)
    with db.write() as conn:
        conn.execute(update(Server).values(deleted=1, deleted_at=clock.now(), vm_state="deleted"))
    found = drift.look(compute.tools)
    assert disk(server) in found.leftovers and found.unknown == [stranger]
    assert f"disk {disk(server)} removed" in drift.mend(compute.tools)
    assert compute.driver.list_volumes() and disk(server) not in compute.driver.list_volumes()
    assert stranger in compute.driver.list_volumes()


def test_a_guest_whose_server_is_another_hosts(compute: Compute, db: Database, api: Api, server: str) -> None:
    """As after a backup from before it came here; not while it comes or goes."""
    with db.write() as conn:
        conn.execute(update(Server).values(host="host2"))
    for _ in range(2):
        found = drift.look(compute.tools)
        assert found.elsewhere == [(server, "host2")] and not found.is_none
        assert drift.mend(compute.tools) == []
    assert server in compute.driver.list_guests()
    with db.write() as conn:
        conn.execute(update(Server).values(vm_state="resized"))
    assert drift.look(compute.tools).elsewhere == []
    with db.write() as conn:
        conn.execute(update(Server).values(vm_state="active"))
    assert api.delete(f"/servers/{server}").status_code == 204
    assert drift.look(compute.tools).elsewhere == []


def test_counters(compute: Compute, db: Database, server: str) -> None:
    with db.write() as conn:
        conn.execute(update(Host).values(vcpus_used=7))
    found = drift.look(compute.tools)
    assert not found.is_none and found.counted[0] == 7 and found.allocated[0] == 1
    assert drift.mend(compute.tools) == ["counters of host1"]
    assert drift.look(compute.tools).is_none
