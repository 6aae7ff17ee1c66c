# SPDX-License-Identifier: Apache-2.0
"""The actions rescue and unrescue."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.virt.base import DomainSpec, HypervisorError
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute, add_image
from tests.conftest import Api
from tests.wire.conftest import Boot, MakeServer


def act(api: Api, server_id: str, **action: Any) -> Any:
    return api.post(f"/servers/{server_id}/action", action)


def states(api: Api, server_id: str) -> tuple[Any, ...]:
    server = api.get(f"/servers/{server_id}").json["server"]
    return tuple(server[name] for name in ("status", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state"))


def spec(compute: Compute, server_id: str) -> DomainSpec:
    assert isinstance(compute.driver, SimulatedHypervisor)
    with compute.driver._store.open() as data:
        guest = data.guest(server_id)
    assert guest is not None
    return guest.spec


def test_there_and_back(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    before = spec(compute, server_id)
    image = add_image(compute.images, empty_qcow2(1 << 28), properties={"hw_machine_type": "q35"})
    answer = act(api, server_id, rescue={"adminPass": "MySecretPass", "rescue_image_ref": image})
    assert (answer.status_code, answer.json) == (200, {"adminPass": "MySecretPass"})
    assert states(api, server_id) == ("ACTIVE", "rescuing", 1)
    compute.work()
    assert states(api, server_id) == ("RESCUE", None, 1)
    during = spec(compute, server_id)
    assert [(disk.volume.removeprefix(f"{server_id}_"), disk.target, disk.boot_index) for disk in during.disks] == [
        ("rescue", "vda", 1),
        ("disk", "vdb", None),
        ("rescue_config", before.disks[-1].target, None),
    ]
    assert during.image_properties["hw_machine_type"] == "q35"
    assert compute.driver.virtual_size(f"{server_id}_rescue") == 1 << 28
    assert act(api, server_id, unrescue=None).status_code == 202
    assert states(api, server_id) == ("RESCUE", "unrescuing", 1)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert spec(compute, server_id) == before
    assert compute.volumes(server_id) == ["config", "disk"]
    actions = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [action["action"] for action in actions] == ["unrescue", "rescue", "create"]


@pytest.mark.parametrize("body", [None, {}])
def test_by_its_own_image(api: Api, compute: Compute, boot: Boot, body: Any) -> None:
    server_id = boot()
    answer = act(api, server_id, rescue=body)
    assert answer.status_code == 200
    assert len(answer.json["adminPass"]) == 12
    compute.work()
    assert states(api, server_id) == ("RESCUE", None, 1)
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert compute.volumes(server_id) == []


def test_a_stopped_server(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    act(api, server_id, **{"os-stop": None})
    compute.work()
    act(api, server_id, rescue=None)
    compute.work()
    assert states(api, server_id) == ("RESCUE", None, 1)
    act(api, server_id, unrescue=None)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_it_fails(api: Api, compute: Compute, boot: Boot) -> None:
    """ERROR; and a hard reboot boots the server's own disk."""
    server_id = boot()
    before = spec(compute, server_id)
    assert isinstance(compute.driver, SimulatedHypervisor)
    compute.driver.fail("start", HypervisorError("no memory"))
    act(api, server_id, rescue=None)
    compute.work()
    assert states(api, server_id)[:2] == ("ERROR", None)
    assert compute.volumes(server_id) == ["config", "disk"]
    assert spec(compute, server_id) == before
    act(api, server_id, reboot={"type": "HARD"})
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_images_that_do_not_do(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    missing = str(uuid.uuid4())
    answer = act(api, server_id, rescue={"rescue_image_ref": missing})
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (
        400,
        f"Requested rescue image '{missing}' is not supported",
    )
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_a_server_that_boots_from_a_volume(api: Api, make_server: MakeServer) -> None:
    server = make_server(image_id="")
    answer = act(api, server.uuid, rescue=None)
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (
        400,
        f"Instance {server.uuid} cannot be rescued: Cannot rescue a volume-backed instance",
    )


@pytest.mark.parametrize(
    "body",
    [
        "rescue",
        [],
        7,
        {"adminPass": 7},
        {"adminPass": None},
        {"rescue_image_ref": 7},
        {"rescue_image_ref": "../etc"},
        {"other": 1},
    ],
)
def test_bad_bodies(api: Api, make_server: MakeServer, body: Any) -> None:
    assert act(api, make_server().uuid, rescue=body).status_code == 400


RESCUABLE = {"active", "stopped", "error"}
STATES = [
    *("active", "building", "paused", "suspended", "stopped", "rescued", "resized", "soft-delete", "error"),
    *("shelved", "shelved_offloaded"),
]


@pytest.mark.parametrize("vm_state", STATES)
def test_states(api: Api, make_server: MakeServer, host: str, vm_state: str) -> None:
    for name, allowed in (("rescue", RESCUABLE), ("unrescue", {"rescued"})):
        server = make_server(vm_state=vm_state)
        answer = act(api, server.uuid, **{name: None})
        if vm_state in allowed:
            assert answer.status_code in (200, 202)
            continue
        assert answer.status_code == 409
        assert answer.json["conflictingRequest"]["message"] == (
            f"Cannot '{name}' instance {server.uuid} while it is in vm_state {vm_state}"
        )


def test_locks_and_others(api: Api, admin: Api, make_server: MakeServer) -> None:
    for name, vm_state in (("rescue", "active"), ("unrescue", "rescued")):
        server = make_server(vm_state=vm_state, locked=1, locked_by="admin")
        answer = act(api, server.uuid, **{name: None})
        assert (answer.status_code, answer.json["conflictingRequest"]["message"]) == (
            409,
            f"Instance {server.uuid} is locked",
        )
        assert act(api.become("member"), server.uuid, **{name: None}).status_code == 404
        assert act(api.become("reader", project_id=api.project_id), server.uuid, **{name: None}).status_code == 403
        assert act(admin, server.uuid, **{name: None}).status_code in (200, 202)
