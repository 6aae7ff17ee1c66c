# SPDX-License-Identifier: Apache-2.0
"""POST /servers with volumes: to boot from, and beside the root disk; what becomes of them over the server's life."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from sqlalchemy import insert, select, update

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.models import Flavor, Host, Volume
from computeapi.virt.base import HypervisorError
from tests.cloud import Compute
from tests.cloud import add_image as make_image
from tests.conftest import Api
from tests.wire.conftest import Boot
from tests.wire.test_server_volumes import disks, shown
from tests.wire.test_volumes import make, status

pytestmark = pytest.mark.usefixtures("network")


def from_image(image_id: str, size: int = 1, **more: Any) -> dict[str, Any]:
    """A mapping: a new volume of an image, to boot from."""
    return {
        "source_type": "image",
        "destination_type": "volume",
        "uuid": image_id,
        "boot_index": 0,
        "volume_size": size,
        **more,
    }


def ask(api: Api, flavor: str, *mappings: dict[str, Any], **more: Any) -> Any:
    body = {"name": "web", "imageRef": "", "flavorRef": flavor, "block_device_mapping_v2": mappings, **more}
    return api.post("/servers", {"server": body})


def booted(api: Api, compute: Compute, flavor: str, *mappings: dict[str, Any], **more: Any) -> str:
    answer = ask(api, flavor, *mappings, **more)
    assert answer.status_code == 202, answer.text
    compute.work()
    server_id = str(answer.json["server"]["id"])
    assert compute.server(server_id).vm_state == "active", compute.server(server_id).fault_json
    return server_id


def bootable(api: Api, compute: Compute, db: Database, **more: Any) -> str:
    volume_id = make(api, compute, **more)
    with db.write() as conn:
        conn.execute(update(Volume).where(Volume.uuid == volume_id).values(bootable=1))
    return volume_id


def delete(api: Api, compute: Compute, server_id: str) -> None:
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert compute.server(server_id).deleted


def test_as_old_clients_ask(api: Api, compute: Compute, base_image: str, flavor: str) -> None:
    """At os-volumes_boot, which is servers under another name, with the actions that Nova has there."""
    body = {"name": "web", "flavorRef": flavor, "block_device_mapping_v2": [from_image(base_image, 2)]}
    answer = api.post("/os-volumes_boot", {"server": body})
    assert answer.status_code == 202, answer.text
    server_id = answer.json["server"]["id"]
    assert answer.headers["Location"].endswith(f"/servers/{server_id}")
    compute.work()
    assert shown(api, server_id)
    assert api.get("/os-volumes_boot").json == api.get("/servers").json
    assert api.get("/os-volumes_boot/detail").json == api.get("/servers/detail").json
    one = f"/os-volumes_boot/{server_id}"
    assert api.get(one).json == api.get(f"/servers/{server_id}").json
    assert api.put(one, {"server": {"name": "other"}}).json["server"]["name"] == "other"
    assert api.post(f"{one}/action", {"os-stop": None}).status_code == 202
    compute.work()
    assert compute.server(server_id).vm_state == "stopped"
    assert api.post(f"{one}/action", {"pause": None}).status_code == 400, "Nova has it at servers alone"
    assert api.become("member").get(one).status_code == 404
    assert api.post("/os-volumes_boot", {"server": {"name": "web"}}).status_code == 400
    assert api.delete(one).status_code == 204
    compute.work()
    assert compute.server(server_id).deleted


@pytest.mark.parametrize("goes", [True, False])
def test_from_an_image(api: Api, compute: Compute, base_image: str, flavor: str, goes: bool) -> None:
    server_id = booted(api, compute, flavor, from_image(base_image, 2, delete_on_termination=goes))
    server = api.get(f"/servers/{server_id}", version="2.3").json["server"]
    assert server["image"] == ""
    ((volume_id, dot),) = [(each["id"], each["delete_on_termination"]) for each in shown(api, server_id, version="2.3")]
    assert dot == goes
    volume = api.get(f"/os-volumes/{volume_id}").json["volume"]
    assert (volume["status"], volume["size"]) == ("in-use", 2)
    assert volume["attachments"][0]["device"] == "/dev/vda"
    assert disks(compute, server_id)["vda"] == f"volume-{volume_id}"
    assert compute.volumes(server_id) == ["config"]
    assert orjson.loads(compute.server(server_id).image_json)["hw_disk_bus"] == "virtio"
    answer = api.delete(f"/servers/{server_id}/os-volume_attachments/{volume_id}")
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (400, "Cannot detach a root device volume")
    delete(api, compute, server_id)
    assert status(api, volume_id) == ("gone" if goes else "available")
    assert (f"volume-{volume_id}" in compute.driver.list_volumes()) != goes


def test_from_a_volume(api: Api, compute: Compute, flavor: str, db: Database) -> None:
    volume_id = bootable(api, compute, db)
    mapping = {"source_type": "volume", "destination_type": "volume", "uuid": volume_id, "boot_index": 0}
    answer = ask(api, flavor, mapping)
    assert answer.status_code == 202, answer.text
    assert status(api, volume_id) == "reserved"
    compute.work()
    server_id = answer.json["server"]["id"]
    assert status(api, volume_id) == "in-use"
    assert disks(compute, server_id)["vda"] == f"volume-{volume_id}"
    again = ask(api, flavor, mapping)
    assert again.status_code == 400
    assert "status must be 'available'. Currently in 'in-use'" in again.json["badRequest"]["message"]
    delete(api, compute, server_id)
    assert status(api, volume_id) == "available"
    legacy = {"volume_id": volume_id, "device_name": "vda", "delete_on_termination": "1"}
    body = {"name": "web", "imageRef": "", "flavorRef": flavor, "block_device_mapping": [legacy]}
    answer = api.post("/servers", {"server": body})
    assert answer.status_code == 202, answer.text
    compute.work()
    assert disks(compute, answer.json["server"]["id"])["vda"] == f"volume-{volume_id}"
    delete(api, compute, answer.json["server"]["id"])
    assert status(api, volume_id) == "gone"


def test_from_a_snapshot(api: Api, compute: Compute, flavor: str) -> None:
    volume_id = make(api, compute, size=2)
    snapshot = api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).json["snapshot"]["id"]
    compute.work()
    mapping = {"source_type": "snapshot", "destination_type": "volume", "uuid": snapshot, "boot_index": 0}
    server_id = booted(api, compute, flavor, {**mapping, "delete_on_termination": True})
    (attached,) = shown(api, server_id)
    assert api.get(f"/os-volumes/{attached['id']}").json["volume"]["size"] == 2
    delete(api, compute, server_id)
    assert compute.driver.list_volumes() == [f"snapshot-{snapshot}", f"volume-{volume_id}"]


def test_beside_the_root_disk(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    volume_id = make(api, compute)
    root = {"source_type": "image", "destination_type": "local", "uuid": base_image, "boot_index": 0}
    blank = {"source_type": "blank", "destination_type": "volume", "volume_size": 3}
    mine = {"source_type": "volume", "destination_type": "volume", "uuid": volume_id, "device_name": "/dev/vdx"}
    server_id = boot(block_device_mapping_v2=[root, blank, mine])
    new, old = (each["id"] for each in shown(api, server_id))
    assert old == volume_id
    found = disks(compute, server_id)
    assert (found["vda"], found["vdb"], found["vdx"]) == (
        f"{server_id}_disk",
        f"volume-{new}",
        f"volume-{volume_id}",
    )
    assert compute.driver.virtual_size(f"volume-{new}") == 3 << 30
    delete(api, compute, server_id)
    assert (status(api, new), status(api, old)) == ("available", "available")


def test_one_volume_is_not_for_many(api: Api, compute: Compute, flavor: str, db: Database) -> None:
    mapping = {"source_type": "volume", "destination_type": "volume", "boot_index": 0}
    answer = ask(api, flavor, {**mapping, "uuid": bootable(api, compute, db)}, max_count=2)
    assert answer.status_code == 400
    assert "multiple instances" in answer.json["badRequest"]["message"]


def test_many_from_an_image(api: Api, compute: Compute, base_image: str, flavor: str) -> None:
    answer = ask(api, flavor, from_image(base_image, delete_on_termination=True), min_count=2)
    assert answer.status_code == 202
    compute.work()
    ids = {each["id"] for server in api.get("/servers").json["servers"] for each in shown(api, server["id"])}
    assert len(ids) == 2


def test_what_does_not_boot(api: Api, compute: Compute, base_image: str, flavor: str, db: Database) -> None:
    volume_id, other = make(api, compute), api.become("member")
    mapping = {"source_type": "volume", "destination_type": "volume", "boot_index": 0}
    for uuid_, sentence in (
        (volume_id, f"Block Device {volume_id} is not bootable."),
        (str(uuid.UUID(int=7)), "failed to get volume"),
        (make(other, compute), "failed to get volume"),
    ):
        answer = ask(api, flavor, {**mapping, "uuid": uuid_})
        assert answer.status_code == 400
        assert sentence in answer.json["badRequest"]["message"]
    with db.write() as conn:
        conn.execute(update(Volume).where(Volume.uuid == volume_id).values(bootable=1, host="host2"))
    here = {**mapping, "uuid": make(api, compute), "boot_index": -1}
    answer = ask(api, flavor, {**mapping, "uuid": volume_id}, here)
    assert answer.status_code == 400
    assert "on different hosts" in answer.json["badRequest"]["message"]
    assert api.get("/servers").json == {"servers": []}


def test_no_host_for_its_volume(api: Api, compute: Compute, flavor: str, db: Database) -> None:
    volume_id = bootable(api, compute, db)
    with db.write() as conn:
        conn.execute(update(Volume).values(host="host2"))
    mapping = {"source_type": "volume", "destination_type": "volume", "uuid": volume_id, "boot_index": 0}
    server_id = ask(api, flavor, mapping).json["server"]["id"]
    server = api.become("admin").get(f"/servers/{server_id}").json["server"]
    assert server["status"] == "ERROR"
    assert "host1: not the host of the server's volumes" in server["fault"]["details"]
    assert status(api, volume_id) == "available"
    assert shown(api, server_id) == []


def test_a_build_that_fails_leaves_no_volume(
    api: Api, compute: Compute, base_image: str, flavor: str, db: Database
) -> None:
    driver: Any = compute.driver
    driver.fail("start", HypervisorError("no"))
    mine = {"source_type": "volume", "destination_type": "volume", "uuid": make(api, compute), "boot_index": -1}
    server_id = ask(api, flavor, from_image(base_image), mine).json["server"]["id"]
    compute.work()
    assert compute.server(server_id).vm_state == "error"
    assert [each["id"] for each in api.get("/os-volumes").json["volumes"]] == [mine["uuid"]]
    assert status(api, mine["uuid"]) == "available"
    assert shown(api, server_id) == []
    delete(api, compute, server_id)
    assert status(api, mine["uuid"]) == "available"


def test_over_its_life(api: Api, compute: Compute, base_image: str, flavor: str, boot: Boot) -> None:
    server_id = booted(api, compute, flavor, from_image(base_image))
    (volume,) = shown(api, server_id)
    for action, code in (
        ({"reboot": {"type": "HARD"}}, 202),
        ({"rescue": None}, 400),
        ({"createBackup": {"name": "x", "backup_type": "daily", "rotation": 1}}, 400),
        ({"rebuild": {"imageRef": base_image}}, 400),
        ({"shelve": None}, 202),
        ({"unshelve": None}, 202),
        ({"os-stop": None}, 202),
        ({"os-start": None}, 202),
    ):
        answer = api.post(f"/servers/{server_id}/action", action)
        assert answer.status_code == code, answer.text
        compute.work()
    assert compute.server(server_id).vm_state == "active"
    assert disks(compute, server_id)["vda"] == f"volume-{volume['id']}"
    assert status(api, volume["id"]) == "in-use"


def test_a_resize_takes_no_root_disk(api: Api, compute: Compute, base_image: str, flavor: str, db: Database) -> None:
    """Of the host: it is the volume's, before and after; what a flavor has of ephemeral disk is the host's."""

    def taken() -> tuple[int, int]:
        with db.read() as conn:
            used = conn.execute(select(Host.disk_gb_used).where(Host.name == "host1")).scalar_one()
        return compute.server(server_id).disk_gb, used

    server_id = booted(api, compute, flavor, from_image(base_image))
    assert taken() == (0, 0)
    with db.write() as conn:
        values = {"vcpus": 1, "memory_mb": 128, "created_at": clock.now(), "disk_gb": 50}
        for name, ephemeral in (("wide", 0), ("wider", 2)):
            conn.execute(insert(Flavor).values(flavor_id=name, name=name, ephemeral_gb=ephemeral, **values))
    for name, resized, end, at_last in (
        ("wide", (0, 0), "revertResize", (0, 0)),
        ("wider", (2, 2), "confirmResize", (2, 2)),
    ):
        assert api.post(f"/servers/{server_id}/action", {"resize": {"flavorRef": name}}).status_code == 202
        compute.work()
        assert compute.server(server_id).vm_state == "resized", compute.server(server_id).fault_json
        assert taken() == resized
        api.post(f"/servers/{server_id}/action", {end: None})
        compute.work()
        assert compute.server(server_id).vm_state == "active"
        assert taken() == at_last


def test_deleted_while_its_host_is_down(api: Api, compute: Compute, base_image: str, flavor: str, db: Database) -> None:
    server_id = booted(api, compute, flavor, from_image(base_image, delete_on_termination=True))
    with db.write() as conn:
        conn.execute(update(Host).values(last_seen_at="2000-01-01T00:00:00.000000"))
    (volume,) = shown(api, server_id)
    assert api.delete(f"/servers/{server_id}").status_code == 204
    assert api.get(f"/servers/{server_id}").status_code == 404
    assert status(api, volume["id"]) == "deleting"
    compute.work()
    assert status(api, volume["id"]) == "gone"
    assert [name for name in compute.driver.list_volumes() if not name.startswith("base_")] == []


def test_an_image_of_it(api: Api, compute: Compute, base_image: str, flavor: str) -> None:
    """Is its volumes' snapshots, and boots as copies of them."""
    blank = {"source_type": "blank", "destination_type": "volume", "volume_size": 2, "boot_index": -1}
    server_id = booted(api, compute, flavor, from_image(base_image, delete_on_termination=True), blank)
    answer = api.post(f"/servers/{server_id}/action", {"createImage": {"name": "copy", "metadata": {"a": "b"}}})
    assert answer.status_code == 202, answer.text
    image_id = answer.headers["location"].rsplit("/", 1)[-1]
    image = api.get(f"/images/{image_id}").json["image"]
    assert (image["status"], image["metadata"]["a"], image["metadata"]["bdm_v2"]) == ("ACTIVE", "b", "True")
    mappings = orjson.loads(image["metadata"]["block_device_mapping"])
    snapshots = {each["id"]: each for each in api.get("/os-snapshots").json["snapshots"]}
    assert {each["snapshot_id"] for each in mappings} == set(snapshots)
    assert {each["displayName"] for each in snapshots.values()} == {"snapshot for copy"}
    compute.work()
    body = {"name": "web", "imageRef": image_id, "flavorRef": flavor}
    answer = api.post("/servers", {"server": body})
    assert answer.status_code == 202, answer.text
    compute.work()
    copy = answer.json["server"]["id"]
    assert compute.server(copy).vm_state == "active", compute.server(copy).fault_json
    found = [api.get(f"/os-volumes/{each['id']}").json["volume"] for each in shown(api, copy)]
    assert [each["size"] for each in found] == [1, 2]
    assert {each["snapshotId"] for each in found} == set(snapshots)
    assert disks(compute, copy)["vda"] == f"volume-{found[0]['id']}"
    log = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [item["action"] for item in log] == ["createImage", "create"]


def test_an_image_that_the_quota_forbids(api: Api, compute: Compute, base_image: str, flavor: str) -> None:
    server_id = booted(api, compute, flavor, from_image(base_image))
    driver: Any = compute.driver
    images = api.get("/images").json["images"]
    assert api.post("/os-volumes", {"volume": {"size": 999}}).status_code == 200
    answer = api.post(f"/servers/{server_id}/action", {"createImage": {"name": "copy"}})
    assert answer.status_code == 403
    assert api.get("/images").json["images"] == images
    assert api.get("/os-snapshots").json == {"snapshots": []}
    assert driver.disks(server_id)


def test_images_that_say_nonsense(api: Api, compute: Compute, flavor: str) -> None:
    for mapping in ("{", "[1]", '[{"source_type": 1}]', "[]", '[{"source_type": "blank"}]', '{"a": 1}'):
        image_id = make_image(compute.images, b"", disk_format="raw", properties={"block_device_mapping": mapping})
        answer = api.post("/servers", {"server": {"name": "web", "imageRef": image_id, "flavorRef": flavor}})
        assert answer.status_code == 400, mapping
