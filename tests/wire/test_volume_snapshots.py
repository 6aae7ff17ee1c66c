# SPDX-License-Identifier: Apache-2.0
"""Snapshots of the Block Storage API."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi import clock
from computeapi.db.engine import Database
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.block import Block, add_snapshot, add_volume

BRIEF = {"id", "created_at", "updated_at", "name", "description", "volume_id", "status", "size", "metadata"}
MORE = {"os-extended-snapshot-attributes:project_id", "os-extended-snapshot-attributes:progress"}


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


@pytest.fixture
def boss(admin: Api) -> Block:
    """The API as an administrator of another project."""
    return Block(admin)


def test_life(block: Block, compute: Compute) -> None:
    volume = block.create(2)["id"]
    compute.work()
    wanted = {"volume_id": volume, "name": " snap ", "description": "d", "metadata": {"k": "v"}}
    made = block.post("/snapshots", {"snapshot": wanted}, 202)["snapshot"]
    assert set(made) == BRIEF | {"group_snapshot_id", "user_id", "consumes_quota"}
    assert (made["status"], made["size"], made["name"], made["metadata"]) == ("creating", 2, "snap", {"k": "v"})
    compute.work()
    path = f"/snapshots/{made['id']}"
    shown = block.get(path)["snapshot"]
    assert shown["status"] == "available" and shown["os-extended-snapshot-attributes:progress"] == "100%"
    assert block.put(path, {"snapshot": {"name": "new", "display_description": None}})["snapshot"]["name"] == "new"
    assert block.get(path)["snapshot"]["description"] is None
    block.delete(path)
    assert block.get(path)["snapshot"]["status"] == "deleting"
    compute.work()
    assert block.refused("GET", path, status=404) == f"Snapshot {made['id']} could not be found."


def test_fields_by_version(block: Block, db: Database) -> None:
    path = f"/snapshots/{add_snapshot(db, block)}"
    for version, more in (
        ("3.0", set()),
        ("3.14", {"group_snapshot_id"}),
        ("3.41", {"group_snapshot_id", "user_id"}),
        ("3.65", {"group_snapshot_id", "user_id", "consumes_quota"}),
    ):
        assert set(block.get(path, version=version)["snapshot"]) == BRIEF | MORE | more, version
        assert set(block.get("/snapshots/detail", version=version)["snapshots"][0]) == BRIEF | MORE | more
        assert set(block.get("/snapshots", version=version)["snapshots"][0]) == BRIEF


def test_of_volumes_in_use(block: Block, db: Database, host: str) -> None:
    body = {"volume_id": add_volume(db, block, status="in-use")}
    assert "status must be available" in block.refused("POST", "/snapshots", {"snapshot": body}, version="3.65")
    block.post("/snapshots", {"snapshot": body | {"force": True}}, 202, version="3.0")
    block.post("/snapshots", {"snapshot": body}, 202, version="3.66")
    block.post("/snapshots", {"snapshot": body | {"force": "true"}}, 202, version="3.66")
    said = block.refused("POST", "/snapshots", {"snapshot": body | {"force": False}}, version="3.66")
    assert said.startswith("Since microversion 3.66 the 'force' flag is invalid")
    wrong = {"volume_id": add_volume(db, block, status="error")}
    block.refused("POST", "/snapshots", {"snapshot": wrong})


def test_bad_bodies(block: Block, db: Database) -> None:
    volume = add_volume(db, block)
    for bad in ({}, {"volume_id": "x"}, {"volume_id": volume, "force": "x"}, {"volume_id": volume, "more": 1}):
        block.refused("POST", "/snapshots", {"snapshot": bad})
    nothing = str(uuid.uuid4())
    said = block.refused("POST", "/snapshots", {"snapshot": {"volume_id": nothing}}, 404)
    assert said == f"Volume {nothing} could not be found."
    path = f"/snapshots/{add_snapshot(db, block)}"
    for bad in ({}, {"volume_id": volume}, {"name": 1}):
        block.refused("PUT", path, {"snapshot": bad})


def test_quota(block: Block, boss: Block, compute: Compute) -> None:
    volume = block.create(1)["id"]
    compute.work()
    boss.put(f"/os-quota-sets/{block.project_id}", {"quota_set": {"snapshots": 0}})
    said = block.refused("POST", "/snapshots", {"snapshot": {"volume_id": volume}}, 413)
    assert said == "Maximum number of snapshots allowed (0) exceeded"
    boss.put(f"/os-quota-sets/{block.project_id}", {"quota_set": {"snapshots": 1, "gigabytes___DEFAULT__": 1}})
    said = block.refused("POST", "/snapshots", {"snapshot": {"volume_id": volume}}, 413)
    assert "exceeds allowed gigabytes___DEFAULT__ quota" in said


def test_lists(block: Block, boss: Block, db: Database) -> None:
    volume = add_volume(db, block)
    for number in range(4):
        add_snapshot(
            db,
            block,
            name=f"s{number}",
            status="error" if number == 2 else "available",
            metadata_json='{"k":"v"}' if number == 1 else "{}",
            created_at=clock.shifted(number - 100),
            **({"volume_id": volume} if number > 1 else {}),
        )

    def names(query: str, who: Block = block, **more: Any) -> list[str]:
        return [each["name"] for each in who.get(f"/snapshots?{query}", **more)["snapshots"]]

    assert names("") == ["s3", "s2", "s1", "s0"] == names("sort=name:desc")
    assert names(f"volume_id={volume}") == ["s3", "s2"]
    assert names("status=error") == ["s2"] and names("name=s0") == ["s0"] and names("metadata={'k': 'v'}") == ["s1"]
    assert names("user_id=x", version="3.30") == ["s3", "s2", "s1", "s0"]
    block.refused("GET", "/snapshots?user_id=x")
    page = block.get("/snapshots/detail?limit=3&with_count=1")
    assert page["count"] == 4 and page["snapshots_links"][0]["rel"] == "next"
    assert names(f"limit=3&marker={page['snapshots'][-1]['id']}") == ["s0"]
    assert names("", boss) == [] and names("all_tenants=1", boss) == ["s3", "s2", "s1", "s0"]
    other = Block(block.api.become("member"))
    assert names("all_tenants=1", other) == []


def test_others_snapshots(block: Block, db: Database) -> None:
    path = f"/snapshots/{add_snapshot(db, block)}"
    other = Block(block.api.become("member"))
    other.refused("GET", path, status=404)
    other.refused("PUT", path, {"snapshot": {"name": "x"}}, 404)
    other.refused("DELETE", path, status=404)
    reader = Block(block.api.become("reader", project_id=block.project_id))
    reader.get(path)
    reader.refused("DELETE", path, status=403)


def test_delete_in_wrong_status(block: Block, boss: Block, db: Database, host: str) -> None:
    snapshot = add_snapshot(db, block, status="creating")
    assert "must be available or error" in block.refused("DELETE", f"/snapshots/{snapshot}")
    action = f"/snapshots/{snapshot}/action"
    block.refused("POST", action, {"os-force_delete": {}}, 403)
    boss.post(action, {"os-force_delete": {}}, 202)
    assert block.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "deleting"


def test_actions(block: Block, boss: Block, db: Database) -> None:
    snapshot = add_snapshot(db, block, status="creating")
    action = f"/snapshots/{snapshot}/action"
    tell = {"status": "available", "progress": "50%"}
    reader = Block(block.api.become("reader", project_id=block.project_id))
    reader.refused("POST", action, {"os-update_snapshot_status": tell}, 403)
    for bad in ("x", "101%", "-1%", "%"):
        boss.refused("POST", action, {"os-update_snapshot_status": {"status": "error", "progress": bad}})
    said = boss.refused("POST", action, {"os-update_snapshot_status": {"status": "deleting"}})
    assert said == "Provided snapshot status deleting not allowed for snapshot with status creating."
    block.post(action, {"os-update_snapshot_status": tell}, 202)
    shown = block.get(f"/snapshots/{snapshot}")["snapshot"]
    assert (shown["status"], shown["os-extended-snapshot-attributes:progress"]) == ("available", "50%")
    said = boss.refused("POST", action, {"os-update_snapshot_status": tell})
    assert said == "Snapshot status available not allowed for update_snapshot_status"
    boss.post(action, {"os-reset_status": {"status": "error"}}, 202)
    assert block.get(f"/snapshots/{snapshot}")["snapshot"]["status"] == "error"
    boss.refused("POST", action, {"os-reset_status": {"status": "x"}})
    boss.refused("POST", action, {"os-unknown": {}})
