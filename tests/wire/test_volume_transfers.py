# SPDX-License-Identifier: Apache-2.0
"""Volumes offered to another project, and taken."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.block import Block, add_snapshot, add_volume

PATHS = ("/volume-transfers", "/os-volume-transfer")
BRIEF = {"id", "volume_id", "name", "links"}
DETAIL = BRIEF | {"created_at", "no_snapshots", "source_project_id", "destination_project_id", "accepted"}


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


@pytest.fixture
def other(api: Api) -> Block:
    """The API as a member of another project."""
    return Block(api.become("member"))


@pytest.fixture
def boss(admin: Api) -> Block:
    """The API as an administrator."""
    return Block(admin)


def offer(block: Block, volume: str, path: str = PATHS[0], **more: Any) -> Any:
    """The transfer, with its key."""
    return block.post(path, {"transfer": {"volume_id": volume, **more}}, 202)["transfer"]


def take(block: Block, transfer: Any, path: str = PATHS[0], expected: int = 202) -> Any:
    """Its answer."""
    return block.post(f"{path}/{transfer['id']}/accept", {"accept": {"auth_key": transfer["auth_key"]}}, expected)


def volume_of(block: Block, volume: str) -> Any:
    """The volume as it is now."""
    return block.get(f"/volumes/{volume}")["volume"]


@pytest.mark.parametrize("path", PATHS)
def test_life(path: str, block: Block, other: Block, db: Database) -> None:
    volume = add_volume(db, block)
    snapshot = add_snapshot(db, block, volume_id=volume)
    made = offer(block, volume, path, name="  gift ")
    assert set(made) == DETAIL | {"auth_key"} and made["name"] == "gift" and made["accepted"] is False
    assert path in made["links"][0]["href"] and made["source_project_id"] == block.project_id
    assert volume_of(block, volume)["status"] == "awaiting-transfer"
    shown = {key: value for key, value in made.items() if key != "auth_key"}
    assert block.get(f"{path}/{made['id']}")["transfer"] == shown
    assert block.get(f"{path}/detail")["transfers"] == [shown]
    assert set(block.get(path)["transfers"][0]) == BRIEF
    taken = take(other, made, path)["transfer"]
    assert taken == {key: made[key] for key in BRIEF}
    assert volume_of(other, volume)["status"] == "available"
    assert volume_of(other, volume)["os-vol-tenant-attr:tenant_id"] == other.project_id
    assert volume_of(other, volume)["user_id"] == other.user_id
    block.get(f"/volumes/{volume}", expected=404)
    block.get(f"/snapshots/{snapshot}", expected=404)
    assert other.get(f"/snapshots/{snapshot}")["snapshot"]["user_id"] == other.user_id
    assert block.get(path)["transfers"] == [] == other.get(path)["transfers"]
    take(other, made, path, 404)


def test_what_each_version_shows(block: Block, db: Database) -> None:
    path = f"{PATHS[0]}/{offer(block, add_volume(db, block))['id']}"
    assert set(block.get(path, version="3.54")["transfer"]) == BRIEF | {"created_at"}
    assert set(block.get(path, version="3.55")["transfer"]) == BRIEF | {"created_at", "no_snapshots"}
    assert set(block.get(path, version="3.57")["transfer"]) == DETAIL


def test_withdrawn(block: Block, other: Block, db: Database) -> None:
    volume = add_volume(db, block)
    made = offer(block, volume)
    block.delete(f"{PATHS[0]}/{made['id']}")
    assert volume_of(block, volume)["status"] == "available"
    take(other, made, expected=404)
    said = block.refused("DELETE", f"{PATHS[0]}/{made['id']}", status=404)
    assert said == f"Transfer {made['id']} could not be found."


def test_the_key_opens_it(block: Block, other: Block, db: Database) -> None:
    volume = add_volume(db, block)
    made = offer(block, volume)
    wrong = {"accept": {"auth_key": "0123456789abcdef"}}
    said = other.refused("POST", f"{PATHS[0]}/{made['id']}/accept", wrong)
    assert said == f"Invalid auth key: Attempt to transfer {made['id']} with invalid auth key."
    for bad in ({}, {"auth_key": None}, {"auth_key": "x", "more": 1}):
        other.refused("POST", f"{PATHS[0]}/{made['id']}/accept", {"accept": bad})
    assert made["auth_key"] not in str(block.get(f"{PATHS[0]}/detail"))


def test_bad_offers(block: Block, other: Block, db: Database) -> None:
    volume = add_volume(db, block)
    for bad in ({}, {"volume_id": "x"}, {"volume_id": volume, "name": " "}, {"volume_id": volume, "name": "x" * 256}):
        block.refused("POST", PATHS[0], {"transfer": bad})
    block.refused("POST", PATHS[0], {"transfer": {"volume_id": volume, "no_snapshots": True}}, version="3.54")
    block.refused("POST", PATHS[0], {"transfer": {"volume_id": str(uuid.uuid4())}}, 404)
    other.refused("POST", PATHS[0], {"transfer": {"volume_id": volume}}, 404)
    used = add_volume(db, block, status="in-use")
    said = block.refused("POST", PATHS[0], {"transfer": {"volume_id": used}})
    assert said == "Invalid volume: status must be available"
    snapshot = add_snapshot(db, block, volume_id=volume, status="error")
    said = block.refused("POST", PATHS[0], {"transfer": {"volume_id": volume}})
    assert said == f"Invalid snapshot: snapshot: {snapshot} status must be available"
    offer(block, volume, no_snapshots=True)


def test_nobody_else_knows_of_it(block: Block, other: Block, boss: Block, db: Database) -> None:
    made = offer(block, add_volume(db, block))
    path = f"{PATHS[0]}/{made['id']}"
    assert other.get(PATHS[0])["transfers"] == [] == boss.get(PATHS[0])["transfers"]
    assert [each["id"] for each in boss.get(f"{PATHS[0]}?all_tenants=1")["transfers"]] == [made["id"]]
    other.refused("GET", path, status=404)
    other.refused("DELETE", path, status=404)
    assert boss.get(path)["transfer"]["id"] == made["id"]


def test_readers_only_read(api: Api, block: Block, db: Database) -> None:
    volume = add_volume(db, block)
    who = Block(api.become("reader", project_id=api.project_id))
    who.refused("POST", PATHS[0], {"transfer": {"volume_id": volume}}, 403)
    made = offer(block, volume)
    assert [each["id"] for each in who.get(PATHS[0])["transfers"]] == [made["id"]]
    take(who, made, expected=403)
    who.refused("DELETE", f"{PATHS[0]}/{made['id']}", status=403)


def test_quota_of_who_takes(block: Block, other: Block, boss: Block, db: Database) -> None:
    made = offer(block, add_volume(db, block, size_gb=5))
    boss.put(f"/os-quota-sets/{other.project_id}", {"quota_set": {"gigabytes": 4}})
    take(other, made, expected=413)
    boss.put(f"/os-quota-sets/{other.project_id}", {"quota_set": {"gigabytes": 5}})
    take(other, made)


def test_snapshots_that_stay(block: Block, other: Block, db: Database, host: str) -> None:
    volume = add_volume(db, block)
    snapshot = add_snapshot(db, block, volume_id=volume)
    made = offer(block, volume, no_snapshots=True)
    assert made["no_snapshots"] is True
    take(other, made)
    assert block.get(f"/snapshots/{snapshot}")["snapshot"]["volume_id"] == volume
    other.get(f"/snapshots/{snapshot}", expected=404)
    assert block.create(None, snapshot_id=snapshot)["snapshot_id"] == snapshot
    other.refused("DELETE", f"/volumes/{volume}")  # it has a snapshot


def test_what_happens_to_the_volume_meanwhile(block: Block, boss: Block, other: Block, db: Database) -> None:
    volume = add_volume(db, block, host=None)
    made = offer(block, volume)
    block.refused("DELETE", f"/volumes/{volume}")
    boss.act(volume, "os-reset_status", {"status": "error"})
    take(other, made, expected=400)
    block.delete(f"/volumes/{volume}")
    assert block.get(PATHS[0])["transfers"] == []  # gone with it


def test_lists(block: Block, db: Database) -> None:
    made = [offer(block, add_volume(db, block), name=f"n{number}")["id"] for number in range(3)]

    def ids(query: str, **more: Any) -> list[str]:
        return [each["id"] for each in block.get(f"{PATHS[0]}{query}", **more)["transfers"]]

    assert ids("", version="3.58") == made == ids("?sort=created_at:asc") and ids("") == made[::-1]
    assert ids("?name=n1") == [made[1]] and ids("?limit=1&sort=name:asc") == made[:1]
    assert ids(f"?marker={made[0]}&sort=name:asc") == made[1:]


def test_one_that_is_none(block: Block) -> None:
    nobody, key = uuid.uuid4(), {"accept": {"auth_key": "x"}}
    for path in (f"/volume-transfers/{nobody}", f"/os-volume-transfer/{nobody}"):
        block.get(path, expected=404)
    block.post(f"/volume-transfers/{nobody}/accept", key, 404)
    block.post(f"/os-volume-transfer/{nobody}/accept", key, 404)
