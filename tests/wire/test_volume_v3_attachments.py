# SPDX-License-Identifier: Apache-2.0
"""The attachments API."""

from __future__ import annotations

import uuid

import pytest

from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.block import Block, add_attachment, add_volume

CONNECTOR = {"host": "host1", "mountpoint": "/dev/vdb", "ip": "192.0.2.1"}


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


def test_life(block: Block, db: Database) -> None:
    volume, server = add_volume(db, block), str(uuid.uuid4())
    made = block.post("/attachments", {"attachment": {"volume_uuid": volume, "instance_uuid": server}})["attachment"]
    assert made == {
        "id": made["id"],
        "status": "reserved",
        "instance": server,
        "volume_id": volume,
        "attached_at": "",
        "detached_at": "",
        "attach_mode": "rw",
        "connection_info": {},
    }
    assert block.get(f"/volumes/{volume}")["volume"]["status"] == "reserved"
    path = f"/attachments/{made['id']}"
    updated = block.put(path, {"attachment": {"connector": CONNECTOR}})["attachment"]
    assert updated["status"] == "attaching" and updated["connection_info"]["name"] == f"volume-{volume}"
    assert block.get(f"/volumes/{volume}")["volume"]["status"] == "attaching"
    block.post(f"{path}/action", {"os-complete": None}, 204)
    shown = block.get(path)["attachment"]
    assert shown["status"] == "attached" and shown["attached_at"]
    volume_now = block.get(f"/volumes/{volume}")["volume"]
    assert volume_now["status"] == "in-use" and volume_now["attachments"][0]["device"] == "/dev/vdb"
    assert block.delete(path, 200) == {"attachments": []}
    assert block.get(f"/volumes/{volume}")["volume"]["status"] == "available"
    assert "attachment_id" in block.refused("GET", path, status=404)


def test_at_once_and_modes(block: Block, db: Database) -> None:
    body = {"volume_uuid": add_volume(db, block), "connector": CONNECTOR, "mode": "ro"}
    made = block.post("/attachments", {"attachment": body})["attachment"]
    assert (made["status"], made["attach_mode"], made["instance"]) == ("attaching", "ro", None)
    assert made["connection_info"]["access_mode"] == "ro"
    block.refused("POST", "/attachments", {"attachment": body | {"volume_uuid": add_volume(db, block)}}, version="3.53")
    read_only = add_volume(db, block, read_only=1)
    assert block.post("/attachments", {"attachment": {"volume_uuid": read_only}})["attachment"]["attach_mode"] == "ro"


def test_what_is_taken(block: Block, db: Database) -> None:
    volume = add_volume(db, block)
    block.post("/attachments", {"attachment": {"volume_uuid": volume}})
    said = block.refused("POST", "/attachments", {"attachment": {"volume_uuid": volume}})
    assert said.endswith("status must be available or downloading to reserve, but the current status is reserved.")
    broken = add_volume(db, block, status="error")
    assert "in an error state" in block.refused("POST", "/attachments", {"attachment": {"volume_uuid": broken}})
    attachment = add_attachment(db, block, broken)
    block.refused("PUT", f"/attachments/{attachment}", {"attachment": {"connector": CONNECTOR}}, 409)


def test_bad_bodies(block: Block, db: Database) -> None:
    volume = add_volume(db, block)
    for bad in ({}, {"volume_uuid": "x"}, {"volume_uuid": volume, "mode": "x"}, {"volume_uuid": volume, "more": 1}):
        block.refused("POST", "/attachments", {"attachment": bad})
    large = {"volume_uuid": volume, "connector": {"k": "x" * 20_000}}
    block.refused("POST", "/attachments", {"attachment": large})
    block.refused("POST", "/attachments", {"attachment": {"volume_uuid": str(uuid.uuid4())}}, 404)
    attachment = add_attachment(db, block, volume)
    for bad in ({}, {"connector": {}}, {"connector": None}):
        block.refused("PUT", f"/attachments/{attachment}", {"attachment": bad})


def test_lists(block: Block, db: Database) -> None:
    first, second = (add_volume(db, block) for _ in range(2))
    one, two = add_attachment(db, block, first), add_attachment(db, block, second, status="reserved")

    def ids(query: str = "", who: Block = block) -> set[str]:
        return {each["id"] for each in who.get(f"/attachments{query}")["attachments"]}

    assert ids() == {one, two}
    assert ids(f"?volume_id={first}") == {one} and ids("?status=reserved") == {two}
    assert set(block.get("/attachments")["attachments"][0]) == {"id", "status", "instance", "volume_id"}
    assert block.get(f"/attachments/detail?volume_id={first}")["attachments"][0]["attach_mode"] == "rw"
    other, boss = Block(block.api.become("member")), Block(block.api.become("admin"))
    assert ids(who=other) == set() == ids(who=boss) and ids("?all_tenants=1", boss) == {one, two}
    other.refused("GET", f"/attachments/{one}", status=404)
    other.refused("DELETE", f"/attachments/{one}", status=404)
    other.refused("POST", "/attachments", {"attachment": {"volume_uuid": first}}, 404)
    reader = Block(block.api.become("reader", project_id=block.project_id))
    reader.get(f"/attachments/{one}")
    reader.refused("DELETE", f"/attachments/{one}", status=403)


def test_since(block: Block, db: Database) -> None:
    attachment = add_attachment(db, block, add_volume(db, block, status="in-use"))
    block.get("/attachments", version="3.26", expected=404)
    block.get("/attachments", version="3.27")
    block.refused("POST", f"/attachments/{attachment}/action", {"os-complete": {}}, version="3.43")
