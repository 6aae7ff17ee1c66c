# SPDX-License-Identifier: Apache-2.0
"""The action rebuild."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest

from computeapi.compute import config_drive
from computeapi.virt.base import HypervisorError
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute, add_image
from tests.conftest import Api
from tests.wire.conftest import Boot, MakeServer
from tests.wire.conftest import add_flavor as make_flavor
from tests.wire.test_servers import CHANGED


def rebuild(api: Api, server_id: str, image: str, **more: Any) -> Any:
    return api.post(f"/servers/{server_id}/action", {"rebuild": {"imageRef": image, **more}})


@pytest.fixture
def other_image(compute: Compute) -> str:
    return add_image(compute.images, empty_qcow2(1 << 29), name="other", properties={"os_distro": "other"})


@pytest.fixture
def drives(monkeypatch: pytest.MonkeyPatch) -> list[config_drive.ConfigDriveData]:
    """What config drives were made of."""
    made: list[config_drive.ConfigDriveData] = []
    build = config_drive.build

    def watched(data: config_drive.ConfigDriveData) -> bytes:
        made.append(data)
        return build(data)

    monkeypatch.setattr(config_drive, "build", watched)
    return made


def test_rebuild(
    api: Api, compute: Compute, boot: Boot, other_image: str, drives: list[config_drive.ConfigDriveData]
) -> None:
    server_id = boot(metadata={"old": "1"}, accessIPv4="9.9.9.9")
    before = api.get(f"/servers/{server_id}").json["server"]
    answer = rebuild(
        api,
        server_id,
        other_image,
        name=" renamed ".strip(),
        adminPass="secret pass",
        metadata={"new": "2"},
        accessIPv4="1.2.3.4",
        accessIPv6="80FE:0:0:0:0:0:0:0",
        personality=[{"path": "/etc/banner", "contents": base64.b64encode(b"hello").decode()}],
        **{"OS-DCF:diskConfig": "AUTO"},
    )
    assert answer.status_code == 202, answer.text
    server = answer.json["server"]
    assert set(server) == CHANGED | {"adminPass"}
    assert answer.headers["location"] == f"http://falconframework.org/v2.1/servers/{server_id}"
    assert (server["adminPass"], server["name"], server["status"]) == ("secret pass", "renamed", "REBUILD")
    assert (server["accessIPv4"], server["accessIPv6"]) == ("1.2.3.4", "80fe::")
    assert server["metadata"] == {"new": "2"}
    assert server["image"]["id"] == other_image
    assert server["OS-DCF:diskConfig"] == "AUTO"
    drives.clear()
    compute.work()
    after = api.get(f"/servers/{server_id}").json["server"]
    assert (after["status"], after["OS-EXT-STS:task_state"]) == ("ACTIVE", None)
    for same in ("addresses", "flavor", "created", "hostId", "key_name", "tenant_id"):
        assert after[same] == before[same]
    (drive,) = drives
    assert (drive.admin_pass, drive.name, drive.metadata) == ("secret pass", "renamed", {"new": "2"})
    assert drive.files == (("/etc/banner", b"hello"),)
    assert f"base_{other_image}" in compute.driver.list_volumes()
    assert compute.volumes(server_id) == ["config", "disk"]
    (action, _created) = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert action["action"] == "rebuild"


def test_what_is_not_said_stays(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    server_id = boot(metadata={"old": "1"}, accessIPv4="9.9.9.9")
    answer = rebuild(api, server_id, f"http://glance.example.org/images/{base_image}")
    server = answer.json["server"]
    assert (server["name"], server["accessIPv4"], server["metadata"]) == ("server", "9.9.9.9", {"old": "1"})
    assert len(server["adminPass"]) == 12
    compute.work()
    assert compute.server(server_id).vm_state == "active"


@pytest.mark.parametrize(("preserve", "kept"), [(True, True), ("true", True), (False, False), (None, False)])
def test_preserve_ephemeral(
    api: Api, compute: Compute, boot: Boot, base_image: str, db: Any, preserve: Any, kept: bool
) -> None:
    server_id = boot(flavorRef=make_flavor(db, ephemeral_gb=2, swap_mb=1024))
    removed: list[str] = []
    driver = compute.driver
    remove = driver.remove_volume
    driver.remove_volume = lambda name: (removed.append(name), remove(name))[1]  # type: ignore[method-assign]
    more = {} if preserve is None else {"preserve_ephemeral": preserve}
    assert rebuild(api, server_id, base_image, **more).status_code == 202
    compute.work()
    assert compute.server(server_id).vm_state == "active"
    names = [name.removeprefix(f"{server_id}_") for name in removed]
    assert names == (["disk"] if kept else ["disk", "disk.eph0", "disk.swap"])
    assert compute.volumes(server_id) == ["config", "disk", "disk.eph0", "disk.swap"]


def test_a_stopped_server_stays_off(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    server_id = boot()
    api.post(f"/servers/{server_id}/action", {"os-stop": None})
    compute.work()
    answer = rebuild(api, server_id, base_image)
    assert answer.json["server"]["status"] == "REBUILD"
    compute.work()
    server = api.get(f"/servers/{server_id}").json["server"]
    assert (server["status"], server["OS-EXT-STS:power_state"]) == ("SHUTOFF", 4)


def test_it_brings_a_server_out_of_error(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    server_id = boot()
    assert isinstance(compute.driver, SimulatedHypervisor)
    compute.driver.fail("define", HypervisorError("no such machine type"))
    rebuild(api, server_id, base_image)
    compute.work()
    server = api.get(f"/servers/{server_id}").json["server"]
    assert (server["status"], server["fault"]["message"]) == ("ERROR", "no such machine type")
    assert rebuild(api, server_id, base_image).status_code == 202
    compute.work()
    server = api.get(f"/servers/{server_id}").json["server"]
    assert server["status"] == "ACTIVE"
    assert "fault" not in server


def test_an_image_larger_than_the_disk(api: Api, compute: Compute, boot: Boot) -> None:
    """Seen on the host only, where the old disk is left."""
    server_id = boot()
    large = add_image(compute.images, empty_qcow2(2 << 30))
    assert rebuild(api, server_id, large).status_code == 202
    compute.work()
    assert compute.server(server_id).vm_state == "error"
    assert compute.volumes(server_id) == ["config", "disk"]


def test_images_that_do_not_do(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    queued = compute.images.create(compute_context(api), "queued", "qcow2", {}, visibility="public")
    cases = [
        (str(uuid.uuid4()), "Cannot find image for rebuild"),
        (queued, f"Image {queued} is not active."),
        (
            add_image(compute.images, empty_qcow2(1 << 20), min_ram=1024),
            "Flavor's memory is too small for requested image.",
        ),
        (
            add_image(compute.images, empty_qcow2(1 << 20), min_disk=2),
            "Flavor's disk is smaller than the minimum size specified in image metadata. "
            "Flavor disk is 1073741824 bytes, minimum size is 2147483648 bytes.",
        ),
    ]
    for image, message in cases:
        answer = rebuild(api, server_id, image)
        assert answer.status_code == 400
        assert answer.json["badRequest"]["message"] == message
    assert compute.server(server_id).task_state is None
    forbidding = add_image(compute.images, empty_qcow2(1 << 20), properties={"auto_disk_config": "disabled"})
    assert rebuild(api, server_id, forbidding, **{"OS-DCF:diskConfig": "AUTO"}).status_code == 400


def compute_context(api: Api) -> Any:
    from computeapi.context import Context

    return Context("req-1", api.user_id, api.project_id, frozenset({"admin", "member", "reader"}))


def test_another_projects_image(api: Api, compute: Compute, boot: Boot) -> None:
    from computeapi.context import Context

    stranger = Context("req-1", "somebody", uuid.uuid4().hex, frozenset({"member", "reader"}))
    private = compute.images.create(stranger, "private", "qcow2", {}, visibility="private")
    compute.images.upload(stranger, private, [empty_qcow2(1 << 20)])
    answer = rebuild(api, boot(), private)
    assert answer.status_code == 400
    assert answer.json["badRequest"]["message"] == "Cannot find image for rebuild"


BAD: list[Any] = [
    None,
    {},
    [],
    {"imageRef": None},
    {"imageRef": ""},
    {"imageRef": 7},
    {"imageRef": "../../etc/passwd"},
    {"imageRef": "x" * 5000},
    {"name": ""},
    {"name": "x" * 256},
    {"name": {}},
    {"adminPass": 7},
    {"metadata": {"a": 1}},
    {"metadata": []},
    {"metadata": {"a" * 256: "x"}},
    {"preserve_ephemeral": "perhaps"},
    {"preserve_ephemeral": 17},
    {"accessIPv4": "1.2.3"},
    {"accessIPv4": "80fe::"},
    {"accessIPv6": "1.2.3.4"},
    {"OS-DCF:diskConfig": "auto"},
    {"personality": {}},
    {"personality": [{"path": "/a"}]},
    {"personality": [{"path": "/a", "contents": "A"}]},
    {"other": 1},
]


@pytest.mark.parametrize("changes", BAD)
def test_bad_bodies(api: Api, make_server: MakeServer, image: str, changes: Any) -> None:
    body = {"imageRef": image, **changes} if changes else changes
    answer = api.post(f"/servers/{make_server().uuid}/action", {"rebuild": body})
    assert answer.status_code == 400, answer.text
    assert set(answer.json) == {"badRequest"}


def test_quotas(api: Api, make_server: MakeServer, image: str) -> None:
    server = make_server()
    metadata = {f"key{number}": "x" for number in range(129)}
    assert rebuild(api, server.uuid, image, metadata=metadata).status_code == 403
    files = [{"path": f"/f{number}", "contents": ""} for number in range(6)]
    assert rebuild(api, server.uuid, image, personality=files).status_code == 403


STATES = ["building", "paused", "suspended", "rescued", "resized", "soft-delete", "shelved", "shelved_offloaded"]


@pytest.mark.parametrize("vm_state", STATES)
def test_wrong_states(api: Api, make_server: MakeServer, image: str, vm_state: str) -> None:
    server = make_server(vm_state=vm_state)
    answer = rebuild(api, server.uuid, image)
    assert answer.status_code == 409
    assert answer.json["conflictingRequest"]["message"] == (
        f"Cannot 'rebuild' instance {server.uuid} while it is in vm_state {vm_state}"
    )


def test_task_states_and_locks(api: Api, admin: Api, make_server: MakeServer, image: str) -> None:
    busy = make_server(task_state="rebooting")
    answer = rebuild(api, busy.uuid, image)
    assert answer.json["conflictingRequest"]["message"] == (
        f"Cannot 'rebuild' instance {busy.uuid} while it is in task_state rebooting"
    )
    locked = make_server(locked=1, locked_by="admin")
    answer = rebuild(api, locked.uuid, image)
    assert (answer.status_code, answer.json["conflictingRequest"]["message"]) == (
        409,
        f"Instance {locked.uuid} is locked",
    )
    assert rebuild(admin, locked.uuid, image).status_code == 202


def test_others(api: Api, make_server: MakeServer, image: str) -> None:
    server = make_server()
    assert rebuild(api.become("member"), server.uuid, image).status_code == 404
    assert rebuild(api.become("reader", project_id=api.project_id), server.uuid, image).status_code == 403


def test_a_server_that_boots_from_a_volume(api: Api, make_server: MakeServer, image: str) -> None:
    answer = rebuild(api, make_server(image_id="").uuid, image)
    assert answer.status_code == 400
    assert "Unable to rebuild with a different image" in answer.json["badRequest"]["message"]


def test_under_v2(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    body = {"rebuild": {"imageRef": base_image, "name": " spaces ", "unknown": 1}}
    answer = api.post(f"/v2/servers/{boot()}/action", body)
    assert (answer.status_code, answer.json["server"]["name"]) == (202, "spaces")
