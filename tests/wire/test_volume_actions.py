# SPDX-License-Identifier: Apache-2.0
"""What is done to volumes: POST /v3/volumes/{id}/action."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import insert, update

from computeapi.db.engine import Database
from computeapi.db.models import BlockDevice, Volume
from computeapi.db.queries.common import insert_key
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.block import Block, add_attachment, add_volume
from tests.wire.conftest import MakeServer

ACTION = "/volumes/{id}/action"


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


@pytest.fixture
def boss(admin: Api) -> Block:
    """The API as an administrator of another project."""
    return Block(admin)


def status(block: Block, volume_id: str) -> str:
    """The volume's."""
    return str(block.get(f"/volumes/{volume_id}")["volume"]["status"])


def refused(block: Block, volume_id: str, action: str, what: Any = None, expected: int = 400, **more: Any) -> str:
    """The sentence."""
    return block.refused("POST", ACTION.format(id=volume_id), {action: what}, expected, **more)


@pytest.fixture
def volume(block: Block, db: Database) -> str:
    """A volume that is available."""
    return add_volume(db, block)


# --- attaching, as old clients say it ---


def test_reserve_attach_detach(block: Block, volume: str) -> None:
    server = str(uuid.uuid4())
    block.act(volume, "os-reserve", {})
    assert status(block, volume) == "attaching"
    said = refused(block, volume, "os-reserve", {})
    assert said == "Invalid volume: Volume status must be available to reserve, but the status is attaching."
    block.act(volume, "os-unreserve", {})
    assert status(block, volume) == "available"
    block.act(volume, "os-attach", {"instance_uuid": server, "mountpoint": "/dev/vdc", "mode": "ro"})
    (attached,) = block.get(f"/volumes/{volume}")["volume"]["attachments"]
    assert (attached["server_id"], attached["device"]) == (server, "/dev/vdc")
    assert status(block, volume) == "in-use"
    assert "already attached" in refused(
        block, volume, "os-attach", {"instance_uuid": server, "mountpoint": "/dev/vdc"}
    )
    block.act(volume, "os-begin_detaching", {})
    assert status(block, volume) == "detaching"
    assert refused(block, volume, "os-begin_detaching", {}).startswith("Invalid volume: Unable to detach volume.")
    block.act(volume, "os-roll_detaching", {})
    assert status(block, volume) == "in-use"
    assert "VolumeAttachmentNotFound" in refused(block, volume, "os-detach", {"attachment_id": str(uuid.uuid4())})
    block.act(volume, "os-detach", {"attachment_id": attached["attachment_id"]})
    shown = block.get(f"/volumes/{volume}")["volume"]
    assert (shown["status"], shown["attachments"]) == ("available", [])
    block.act(volume, "os-detach", {})


def test_attach_to_a_host(block: Block, volume: str) -> None:
    block.act(volume, "os-attach", {"host_name": "elsewhere", "mountpoint": "/mnt"})
    assert block.get(f"/volumes/{volume}")["volume"]["attachments"][0]["server_id"] is None
    block.act(volume, "os-detach", None)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"mountpoint": "/dev/vdb"},
        {"instance_uuid": "x", "mountpoint": "/dev/vdb"},
        {"instance_uuid": str(uuid.uuid4()), "mountpoint": ""},
        {"instance_uuid": str(uuid.uuid4()), "mountpoint": "/dev/vdb", "mode": "x"},
        {"instance_uuid": str(uuid.uuid4()), "mountpoint": "/dev/vdb", "more": 1},
    ],
)
def test_bad_attach(block: Block, volume: str, body: Any) -> None:
    refused(block, volume, "os-attach", body)


def test_servers_volumes_are_let_go_by_the_compute_api(
    block: Block, boss: Block, db: Database, make_server: MakeServer
) -> None:
    server = make_server()
    volume = add_volume(db, block, status="in-use")
    attachment = add_attachment(db, block, volume, server_id=server.uuid)
    device = {"uuid": str(uuid.uuid4()), "server_id": server.id, "source_type": "volume", "destination_type": "volume"}
    with db.write() as conn:
        insert_key(conn, insert(BlockDevice).values(**device, volume_id=volume, attachment_id=attachment))
    sentence = f"Detach volume from instance {server.uuid} using the Compute API"
    for action in ("os-detach", "os-begin_detaching", "os-roll_detaching"):
        assert refused(block, volume, action, {}, 409) == sentence
    assert refused(boss, volume, "os-force_detach", {}, 409) == sentence
    assert refused(boss, volume, "os-reset_status", {"attach_status": "detached"}, 409) == sentence
    assert block.refused("DELETE", f"/attachments/{attachment}", status=409) == sentence
    assert status(block, volume) == "in-use"


def test_force_detach(block: Block, boss: Block, db: Database) -> None:
    volume = add_volume(db, block, status="error_detaching")
    add_attachment(db, block, volume)
    refused(block, volume, "os-force_detach", {}, 403)
    boss.act(volume, "os-force_detach", {"connector": None})
    shown = block.get(f"/volumes/{volume}")["volume"]
    assert (shown["attachments"], shown["status"]) == ([], "available")


def test_connections(block: Block, volume: str) -> None:
    info = block.act(volume, "os-initialize_connection", {"connector": {"host": "host1"}}, 200)["connection_info"]
    assert info["driver_volume_type"] == "local" and info["data"]["name"] == f"volume-{volume}"
    block.act(volume, "os-terminate_connection", {"connector": {"host": "host1"}})
    refused(block, volume, "os-initialize_connection", {})


# --- the rest ---


def test_extend(block: Block, compute: Compute) -> None:
    volume = block.create(1)["id"]
    assert "status must be 'available'" in refused(block, volume, "os-extend", {"new_size": 2})
    compute.work()
    block.act(volume, "os-extend", {"new_size": 3})
    assert status(block, volume) == "extending"
    compute.work()
    shown = block.get(f"/volumes/{volume}")["volume"]
    assert (shown["status"], shown["size"]) == ("available", 3)
    assert "New size for extend must be greater" in refused(block, volume, "os-extend", {"new_size": 3})
    for bad in ({}, {"new_size": 0}, {"new_size": "x"}, {"new_size": 4, "more": 1}):
        refused(block, volume, "os-extend", bad)


def test_extend_of_one_that_a_server_has(block: Block, db: Database, compute: Compute) -> None:
    """From 3.42 on."""
    volume = block.create(1)["id"]
    compute.work()
    with db.write() as conn:
        conn.execute(update(Volume).where(Volume.uuid == volume).values(status="in-use"))
    add_attachment(db, block, volume)
    assert "status must be 'available'." in refused(block, volume, "os-extend", {"new_size": 2}, version="3.41")
    block.act(volume, "os-extend", {"new_size": 2}, version="3.42")
    assert status(block, volume) == "extending"
    compute.work()
    shown = block.get(f"/volumes/{volume}")["volume"]
    assert (shown["status"], shown["size"]) == ("in-use", 2)


def test_revert(block: Block, db: Database, compute: Compute) -> None:
    """From 3.40 on, to the latest snapshot alone."""
    volume = block.create(1)["id"]
    compute.work()
    said = refused(block, volume, "revert", {"snapshot_id": volume}, version="3.40")
    assert said == f"Volume {volume} does not have any snapshots."
    taken = []
    for _ in range(2):
        taken.append(block.post("/snapshots", {"snapshot": {"volume_id": volume}}, 202)["snapshot"]["id"])
        compute.work()
    refused(block, volume, "revert", {"snapshot_id": taken[1]}, version="3.39")
    for wrong in (taken[0], None):
        said = refused(block, volume, "revert", {"snapshot_id": wrong}, version="3.40")
        assert said == f"Specified snapshot {wrong} is None or not the latest one of volume {volume}."
    for bad in ({}, {"snapshot_id": 1}, {"snapshot_id": taken[1], "more": 1}):
        refused(block, volume, "revert", bad, version="3.40")
    block.act(volume, "revert", {"snapshot_id": taken[1]}, version="3.40")
    assert status(block, volume) == "reverting"
    assert block.get(f"/snapshots/{taken[1]}")["snapshot"]["status"] == "restoring"
    assert "status must be available" in refused(
        block, volume, "revert", {"snapshot_id": taken[1]}, 409, version="3.40"
    )
    compute.work()
    assert status(block, volume) == "available"
    assert block.get(f"/snapshots/{taken[1]}")["snapshot"]["status"] == "available"
    block.act(volume, "os-extend", {"new_size": 2})
    compute.work()
    said = refused(block, volume, "revert", {"snapshot_id": taken[1]}, version="3.40")
    assert said.endswith("The volume size must be equal to the snapshot size.")


def test_extend_and_quota(block: Block, boss: Block, compute: Compute) -> None:
    volume = block.create(1)["id"]
    compute.work()
    boss.put(f"/os-quota-sets/{block.project_id}", {"quota_set": {"gigabytes": 2}})
    assert "exceeds allowed gigabytes quota" in refused(block, volume, "os-extend", {"new_size": 3}, 413)
    block.act(volume, "os-extend", {"new_size": 2})


def test_bootable_and_readonly(block: Block, volume: str, db: Database) -> None:
    block.act(volume, "os-set_bootable", {"bootable": True}, 200)
    assert block.get(f"/volumes/{volume}")["volume"]["bootable"] == "true"
    for flag in (True, "false"):
        block.act(volume, "os-update_readonly_flag", {"readonly": flag})
        assert block.get(f"/volumes/{volume}")["volume"]["metadata"] == {"readonly": str(flag).capitalize()}
    refused(block, volume, "os-set_bootable", {"bootable": "x"})
    in_use = add_volume(db, block, status="in-use")
    assert "must be available to update readonly flag" in refused(
        block, in_use, "os-update_readonly_flag", {"readonly": True}
    )
    block.act(volume, "os-update_readonly_flag", {"readonly": True})
    said = refused(block, volume, "os-attach", {"host_name": "h", "mountpoint": "/mnt"})
    assert said == f"Invalid attaching mode 'rw' for volume {volume}."


def test_retype(block: Block, boss: Block, volume: str, db: Database) -> None:
    new = boss.post("/types", {"volume_type": {"name": "gold"}})["volume_type"]
    block.act(volume, "os-retype", {"new_type": "gold", "migration_policy": "never"})
    shown = block.get(f"/volumes/{volume}")["volume"]
    assert (shown["volume_type"], shown["volume_type_id"]) == ("gold", new["id"])
    assert "requested type has to be different" in refused(block, volume, "os-retype", {"new_type": new["id"]})
    assert "Invalid volume_type passed: x." in refused(block, volume, "os-retype", {"new_type": "x"})
    boss.post("/types", {"volume_type": {"name": "secret", "os-volume-type-access:is_public": False}})
    refused(block, volume, "os-retype", {"new_type": "secret"}, 404)


def test_reset_status(block: Block, boss: Block, volume: str, db: Database) -> None:
    refused(block, volume, "os-reset_status", {"status": "error"}, 403)
    boss.act(volume, "os-reset_status", {"status": "error"})
    assert status(block, volume) == "error"
    assert refused(boss, volume, "os-reset_status", {"status": "deleting"}) == "Cannot reset-state to deleting"
    assert "does not have any attachments" in refused(boss, volume, "os-reset_status", {"status": "in-use"})
    for bad in ({}, {"status": "x"}, {"more": "x"}, None):
        refused(boss, volume, "os-reset_status", bad)
    add_attachment(db, block, volume)
    boss.act(volume, "os-reset_status", {"status": "in-use"})
    boss.act(volume, "os-reset_status", {"status": "available", "attach_status": "detached"})
    assert block.get(f"/volumes/{volume}")["volume"]["attachments"] == []


def test_force_delete(block: Block, boss: Block, host: str, db: Database) -> None:
    volume = add_volume(db, block, status="uploading")
    refused(block, volume, "os-force_delete", {}, 403)
    boss.act(volume, "os-force_delete", {})
    assert status(block, volume) == "deleting"


def test_upload(block: Block, boss: Block, compute: Compute, base_image: str) -> None:
    volume = block.create(1, imageRef=base_image)["id"]
    compute.work()
    wanted = {"image_name": "made", "force": False, "disk_format": "raw", "container_format": "bare"}
    answer = block.act(volume, "os-volume_upload_image", wanted)["os-volume_upload_image"]
    assert (answer["status"], answer["disk_format"], answer["visibility"]) == ("uploading", "qcow2", "private")
    assert answer["image_name"] == "made" and answer["size"] == 1 and answer["protected"] is False
    assert "must be available" in refused(block, volume, "os-volume_upload_image", wanted)
    compute.work()
    assert status(block, volume) == "available"
    image = block.api.get(f"/image/v2/images/{answer['image_id']}").json
    assert (image["status"], image["disk_format"], image["hw_disk_bus"]) == ("active", "qcow2", "virtio")
    assert "image_id" not in image and image["min_disk"] == 1
    older = block.act(volume, "os-volume_upload_image", {"image_name": "older"}, version="3.0")
    assert not {"visibility", "protected"} & set(older["os-volume_upload_image"])
    compute.work()
    public = {"image_name": "x", "visibility": "public"}
    refused(block, volume, "os-volume_upload_image", public, 403)
    refused(block, volume, "os-volume_upload_image", public, version="3.0")
    boss.act(volume, "os-volume_upload_image", public)
    for bad in (
        {},
        {"image_name": ""},
        {"image_name": "x", "disk_format": "vmdk"},
        {"image_name": "x", "disk_format": "y"},
    ):
        refused(block, volume, "os-volume_upload_image", bad)


def test_upload_of_what_is_used(block: Block, db: Database, host: str) -> None:
    volume = add_volume(db, block, status="in-use")
    refused(block, volume, "os-volume_upload_image", {"image_name": "x"})
    assert block.api.get("/image/v2/images").json["images"] == []
    block.act(volume, "os-volume_upload_image", {"image_name": "x", "force": True})


def test_image_metadata(block: Block, volume: str, db: Database) -> None:
    assert block.act(volume, "os-show_image_metadata", None, 200) == {"metadata": {}}
    assert block.act(volume, "os-set_image_metadata", {"metadata": {"a": "1"}}, 200) == {"metadata": {"a": "1"}}
    block.act(volume, "os-set_image_metadata", {"metadata": {"b": "2"}}, 200)
    assert block.get(f"/volumes/{volume}")["volume"]["volume_image_metadata"] == {"a": "1", "b": "2"}
    block.act(volume, "os-unset_image_metadata", {"key": "a"}, 200)
    refused(block, volume, "os-unset_image_metadata", {"key": "a"}, 404)
    assert block.act(volume, "os-show_image_metadata", None, 200) == {"metadata": {"b": "2"}}
    refused(block, volume, "os-set_image_metadata", {"metadata": {"a": 1}})


def test_unknown_actions(block: Block, volume: str, db: Database) -> None:
    assert refused(block, volume, "os-unknown", {}) == "There is no such action: os-unknown"
    block.refused("POST", ACTION.format(id=volume), {"os-reserve": {}, "os-attach": {}})
    refused(Block(block.api.become("member")), volume, "os-reserve", {}, 404)
    refused(Block(block.api.become("reader", project_id=block.project_id)), volume, "os-reserve", {}, 403)
    with db.write() as conn:
        conn.execute(update(Volume).values(status="error"))
    refused(block, volume, "os-reserve", {})
