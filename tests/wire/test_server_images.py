# SPDX-License-Identifier: Apache-2.0
"""createImage and createBackup."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from computeapi.db.engine import Database
from computeapi.db.models import Image
from computeapi.virt.base import HypervisorError
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute, add_image
from tests.conftest import Api
from tests.wire.conftest import IMAGE_ID, Boot, MakeServer


def act(api: Api, server_id: str, **action: Any) -> Any:
    return api.post(f"/servers/{server_id}/action", action)


def snapshot(api: Api, server_id: str, name: str = "copy", **more: Any) -> str:
    """The id of the image that Location names."""
    answer = act(api, server_id, createImage={"name": name, **more})
    assert answer.status_code == 202, answer.text
    assert answer.text == ""
    return str(answer.headers["location"].rsplit("/", 1)[-1])


def image_of(api: Api, image_id: str) -> dict[str, Any]:
    answer = api.get(f"/images/{image_id}")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json["image"]
    return shown


def test_create_image(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    server_id = boot()
    answer = act(api, server_id, createImage={"name": "copy", "metadata": {"purpose": "test"}})
    assert answer.status_code == 202
    assert answer.headers["location"].startswith("http://falconframework.org/image/images/")
    image_id = answer.headers["location"].rsplit("/", 1)[-1]
    server = api.get(f"/servers/{server_id}").json["server"]
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", "image_snapshot_pending")
    before = image_of(api, image_id)
    assert (before["status"], before["progress"]) == ("SAVING", 25)
    compute.work()
    server = api.get(f"/servers/{server_id}").json["server"]
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    image = image_of(api, image_id)
    assert (image["status"], image["name"], image["minDisk"], image["minRam"]) == ("ACTIVE", "copy", 1, 64)
    assert image["server"]["id"] == server_id
    assert image["metadata"] == {
        "hw_disk_bus": "virtio",
        "base_image_ref": base_image,
        "instance_uuid": server_id,
        "user_id": api.user_id,
        "image_type": "snapshot",
        "owner_id": api.project_id,
        "image_location": "snapshot",
        "image_state": "available",
        "purpose": "test",
    }
    assert compute.volumes(server_id) == ["config", "disk"]
    (action, _created) = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert (action["action"], action["message"]) == ("createImage", None)


def test_task_states_and_statuses(api: Api, compute: Compute, boot: Boot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a client that polls may see on the way: the image is queued, saving, active."""
    server_id = boot()
    image_id = snapshot(api, server_id)
    seen = [("image_snapshot_pending", "queued")]

    def look() -> None:
        image = api.get(f"/image/v2/images/{image_id}").json
        seen.append((str(compute.server(server_id).task_state), image["status"]))

    copy, read = SimulatedHypervisor.snapshot, SimulatedHypervisor.read_volume

    def watched_copy(self: SimulatedHypervisor, *names: str) -> None:
        look()
        copy(self, *names)

    def watched_read(self: SimulatedHypervisor, name: str) -> Any:
        for chunk in read(self, name):
            look()
            yield chunk

    monkeypatch.setattr(SimulatedHypervisor, "snapshot", watched_copy)
    monkeypatch.setattr(SimulatedHypervisor, "read_volume", watched_read)
    compute.work()
    look()
    assert seen == [
        ("image_snapshot_pending", "queued"),
        ("image_snapshot", "queued"),
        ("image_uploading", "saving"),
        ("None", "active"),
    ]


def test_a_server_of_the_image(api: Api, compute: Compute, boot: Boot) -> None:
    image_id = snapshot(api, boot())
    compute.work()
    boot(imageRef=image_id)


@pytest.mark.parametrize("action", ["os-stop", "pause", "suspend"])
def test_of_a_server_that_does_not_run(api: Api, compute: Compute, boot: Boot, action: str) -> None:
    server_id = boot()
    act(api, server_id, **{action: None})
    compute.work()
    before = compute.server(server_id)
    image_id = snapshot(api, server_id)
    compute.work()
    assert image_of(api, image_id)["status"] == "ACTIVE"
    after = compute.server(server_id)
    assert (after.vm_state, after.power_state) == (before.vm_state, before.power_state)


def test_by_an_administrator_of_another_project(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    """The image is the owner's."""
    server_id = boot()
    image_id = snapshot(admin, server_id)
    compute.work()
    image = image_of(api, image_id)
    assert image["status"] == "ACTIVE"
    assert image["metadata"]["instance_owner"] == api.project_id


def test_a_locked_server(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    """A lock keeps others from changing a server, which this does not."""
    server_id = boot()
    act(admin, server_id, lock=None)
    snapshot(api, server_id)
    compute.work()
    assert act(api, server_id, createBackup={"name": "b", "backup_type": "daily", "rotation": 1}).status_code == 202


STATES = ["building", "rescued", "resized", "soft-delete", "error", "shelved", "shelved_offloaded"]


@pytest.mark.parametrize("vm_state", STATES)
def test_wrong_states(api: Api, make_server: MakeServer, vm_state: str) -> None:
    server = make_server(vm_state=vm_state)
    for name, body in (
        ("createImage", {"name": "copy"}),
        ("createBackup", {"name": "b", "backup_type": "daily", "rotation": 1}),
    ):
        answer = act(api, server.uuid, **{name: body})
        assert answer.status_code == 409
        assert answer.json == {
            "conflictingRequest": {
                "code": 409,
                "message": f"Cannot '{name}' instance {server.uuid} while it is in vm_state {vm_state}",
            }
        }
    assert api.get("/images").json["images"] == []


def test_two_at_once(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    snapshot(api, server_id)
    answer = act(api, server_id, createImage={"name": "second"})
    assert answer.status_code == 409
    assert answer.json["conflictingRequest"]["message"] == (
        f"Cannot 'createImage' instance {server_id} while it is in task_state image_snapshot_pending"
    )
    assert {image["name"] for image in api.get("/images").json["images"]} == {"base", "copy"}


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        "copy",
        {"name": ""},
        {"name": " "},
        {"name": "x" * 256},
        {"name": 7},
        {"name": "a\u0000b"},
        {"name": "copy", "metadata": {"key": 1}},
        {"name": "copy", "metadata": {"key": None}},
        {"name": "copy", "metadata": {"": "value"}},
        {"name": "copy", "metadata": {"a" * 256: "value"}},
        {"name": "copy", "metadata": {"key": "v" * 256}},
        {"name": "copy", "metadata": []},
        {"name": "copy", "other": 1},
    ],
)
def test_bad_bodies(api: Api, make_server: MakeServer, body: Any) -> None:
    answer = act(api, make_server().uuid, createImage=body)
    assert answer.status_code == 400, answer.text
    assert set(answer.json) == {"badRequest"}


@pytest.mark.parametrize("key", ["id", "status", "os_glance_x"])
def test_names_that_an_image_has_for_itself(api: Api, make_server: MakeServer, key: str) -> None:
    answer = act(api, make_server(image_id=IMAGE_ID).uuid, createImage={"name": "copy", "metadata": {key: "x"}})
    assert answer.status_code == 403


def test_too_much_metadata(api: Api, make_server: MakeServer) -> None:
    metadata = {f"key{number}": "x" for number in range(129)}
    answer = act(api, make_server().uuid, createImage={"name": "copy", "metadata": metadata})
    assert answer.status_code == 403
    assert answer.json["forbidden"]["message"] == "Image metadata limit exceeded"


def test_unicode_names(api: Api, compute: Compute, boot: Boot) -> None:
    name = "Ünïcødé 名前 <b>&'\"/../%s; DROP TABLE images"
    image_id = snapshot(api, boot(), name)
    compute.work()
    assert image_of(api, image_id)["name"] == name


def test_others(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    assert act(api.become("member"), server.uuid, createImage={"name": "copy"}).status_code == 404
    reader = api.become("reader", project_id=api.project_id)
    assert act(reader, server.uuid, createImage={"name": "copy"}).status_code == 403
    backup = {"name": "b", "backup_type": "daily", "rotation": 1}
    assert act(reader, server.uuid, createBackup=backup).status_code == 403


def test_the_copy_fails(api: Api, compute: Compute, boot: Boot) -> None:
    """The server is as before, the image is gone."""
    server_id = boot()
    image_id = snapshot(api, server_id)
    assert isinstance(compute.driver, SimulatedHypervisor)
    compute.driver.fail("snapshot", HypervisorError("the disk is full"))
    compute.work()
    server = api.get(f"/servers/{server_id}").json["server"]
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    assert api.get(f"/images/{image_id}").status_code == 404
    assert compute.volumes(server_id) == ["config", "disk"]
    (action, _created) = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert action["message"] == "Error"


def test_the_image_is_deleted_meanwhile(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    image_id = snapshot(api, server_id)
    assert api.delete(f"/images/{image_id}").status_code == 204
    compute.work()
    assert compute.server(server_id).vm_state == "active"
    assert compute.volumes(server_id) == ["config", "disk"]


def test_the_server_is_deleted_meanwhile(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    server_id = boot()
    snapshot(api, server_id)
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert [image["id"] for image in api.get("/images").json["images"]] == [base_image]
    assert compute.volumes(server_id) == []


# --- createBackup ---


def backup(api: Api, compute: Compute, server_id: str, name: str, rotation: Any, kind: str = "daily") -> Any:
    answer = act(api, server_id, createBackup={"name": name, "backup_type": kind, "rotation": rotation})
    assert answer.status_code == 202, answer.text
    assert answer.text == ""
    server = api.get(f"/servers/{server_id}").json["server"]
    assert server["OS-EXT-STS:task_state"] == "image_backup"
    compute.work()
    return answer


def names(api: Api) -> list[str]:
    return sorted(image["name"] for image in api.get("/images").json["images"])


def test_rotation(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, other = boot(), boot()
    snapshot(api, server_id, "kept")
    compute.work()
    backup(api, compute, other, "other's", 1)
    backup(api, compute, server_id, "weekly", 1, "weekly")
    for number in range(1, 5):
        answer = backup(api, compute, server_id, f"daily{number}", "2")
        assert answer.headers["location"].startswith("http://falconframework.org/v2.1/images/")
    assert names(api) == ["base", "daily3", "daily4", "kept", "other's", "weekly"]
    image = image_of(api, answer.headers["location"].rsplit("/", 1)[-1])
    assert (image["metadata"]["image_type"], image["metadata"]["backup_type"]) == ("backup", "daily")
    backup(api, compute, server_id, "daily5", 1)
    assert names(api) == ["base", "daily5", "kept", "other's", "weekly"]


def test_no_backup_is_kept(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    answer = backup(api, compute, server_id, "none", 0)
    assert "location" not in answer.headers
    assert names(api) == ["base"]
    assert compute.server(server_id).vm_state == "active"


def test_a_protected_backup_stays(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    server_id = boot()
    first = backup(api, compute, server_id, "first", 1).headers["location"].rsplit("/", 1)[-1]
    with db.write() as conn:
        conn.execute(update(Image).where(Image.uuid == first).values(protected=1))
    backup(api, compute, server_id, "second", 1)
    assert names(api) == ["base", "first", "second"]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": None},
        {"name": ""},
        {"backup_type": None},
        {"backup_type": 3},
        {"rotation": -1},
        {"rotation": "many"},
        {"rotation": 1.5},
        {"rotation": None},
        {"rotation": ""},
        {"metadata": {"key": 1}},
        {"other": 1},
    ],
)
def test_bad_backups(api: Api, make_server: MakeServer, changes: dict[str, Any]) -> None:
    body = {"name": "b", "backup_type": "daily", "rotation": 1, **changes}
    answer = act(api, make_server().uuid, createBackup=body)
    assert answer.status_code == 400, answer.text


def test_an_enormous_rotation(api: Api, compute: Compute, boot: Boot) -> None:
    backup(api, compute, boot(), "b", "9" * 5000)
    assert names(api) == ["b", "base"]


def test_a_server_without_an_image(api: Api, make_server: MakeServer) -> None:
    body = {"name": "b", "backup_type": "daily", "rotation": 1}
    answer = act(api, make_server(image_id="").uuid, createBackup=body)
    assert answer.status_code == 400
    assert answer.json["badRequest"]["message"] == "Backup is not supported for volume-backed instances."


def test_under_v2_names_may_have_spaces_around(api: Api, compute: Compute, boot: Boot) -> None:
    body = {"createBackup": {"name": " b ", "backup_type": "daily", "rotation": 1}}
    assert api.post(f"/v2/servers/{boot()}/action", body).status_code == 202
    assert "b" in names(api)


@pytest.mark.parametrize(
    ("properties", "state", "becomes"),
    [
        ({"os_require_quiesce": "yes", "hw_qemu_guest_agent": "yes"}, None, "active"),
        ({"os_require_quiesce": "yes"}, None, None),
        ({"os_require_quiesce": "yes"}, "os-stop", "active"),
        ({"hw_qemu_guest_agent": "yes"}, None, "active"),
        ({}, None, "active"),
    ],
)
def test_the_guest_holds_still(
    api: Api, compute: Compute, boot: Boot, properties: dict[str, str], state: str | None, becomes: str | None
) -> None:
    """Where it must and can't, while it runs, there is no image."""
    base = add_image(compute.images, empty_qcow2(1 << 30), properties=properties)
    server_id = boot(imageRef=base)
    if state is not None:
        act(api, server_id, **{state: None})
        compute.work()
    image_id = snapshot(api, server_id)
    compute.work()
    shown = api.get(f"/image/v2/images/{image_id}")
    assert (shown.json["status"] if shown.status_code == 200 else None) == becomes
    server = api.get(f"/servers/{server_id}").json["server"]
    assert (server["status"], server["OS-EXT-STS:task_state"]) == ("SHUTOFF" if state else "ACTIVE", None)
    actions = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert actions[0]["message"] == (None if becomes else "Error")
    assert isinstance(compute.driver, SimulatedHypervisor)
    thawed = compute.driver.calls["thaw"]
    assert thawed == (0 if becomes else 1)
