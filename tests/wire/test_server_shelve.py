# SPDX-License-Identifier: Apache-2.0
"""The actions shelve, unshelve and shelveOffload."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from sqlalchemy import update

from computeapi import clock
from computeapi.compute import timeouts
from computeapi.db.engine import Database
from computeapi.db.models import Host, Server
from computeapi.virt.base import HypervisorError
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot, MakeServer


def act(api: Api, server_id: str, **action: Any) -> Any:
    return api.post(f"/servers/{server_id}/action", action)


def states(api: Api, server_id: str) -> tuple[Any, ...]:
    server = api.get(f"/servers/{server_id}").json["server"]
    return tuple(server[name] for name in ("status", "OS-EXT-STS:task_state", "OS-EXT-STS:power_state"))


def images(api: Api) -> list[str]:
    return sorted(image["name"] for image in api.get("/images").json["images"])


def setting(compute: Compute, seconds: int) -> None:
    """shelved_offload_time."""
    settings = dataclasses.replace(compute.tools.settings, shelved_offload_time=seconds)
    compute.tools = dataclasses.replace(compute.tools, settings=settings)


def driver(compute: Compute) -> SimulatedHypervisor:
    assert isinstance(compute.driver, SimulatedHypervisor)
    return compute.driver


def test_shelve_and_unshelve_on_the_host(api: Api, compute: Compute, boot: Boot) -> None:
    setting(compute, -1)
    server_id = boot(name="web")
    answer = act(api, server_id, shelve=None)
    assert (answer.status_code, answer.text) == (202, "")
    assert states(api, server_id) == ("ACTIVE", "shelving", 1)
    assert images(api) == ["base", "web-shelved"]
    compute.work()
    assert states(api, server_id) == ("SHELVED", None, 4)
    assert compute.volumes(server_id) == ["config", "disk"]
    assert compute.host() == (1, 512, 1, 1)
    assert timeouts.offload_shelved(compute.tools) == 0
    answer = act(api, server_id, unshelve=None)
    assert (answer.status_code, answer.text) == (202, "")
    assert states(api, server_id) == ("SHELVED", "unshelving", 4)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert compute.host() == (1, 512, 1, 1)
    assert timeouts.forget_shelved_images(compute.tools) == 1
    assert timeouts.forget_shelved_images(compute.tools) == 0
    assert images(api) == ["base"]


def test_offloaded_at_once_and_made_again(
    api: Api, admin: Api, compute: Compute, boot: Boot, db: Database, base_image: str
) -> None:
    server_id = boot(name="web", metadata={"role": "web"})
    before = api.get(f"/servers/{server_id}").json["server"]
    act(api, server_id, shelve=None)
    compute.work()
    assert states(api, server_id) == ("SHELVED_OFFLOADED", None, 4)
    during = admin.get(f"/servers/{server_id}").json["server"]
    assert (during["hostId"], during["OS-EXT-SRV-ATTR:host"]) == ("", None)
    assert during["addresses"] == before["addresses"]
    assert compute.volumes(server_id) == []
    assert compute.driver.list_guests() == {}
    assert compute.host() == (0, 0, 0, 0)
    act(api, server_id, unshelve=None)
    assert compute.host() == (1, 512, 1, 1)
    compute.work()
    after = api.get(f"/servers/{server_id}").json["server"]
    for same in ("status", "hostId", "addresses", "image", "flavor", "metadata", "created"):
        assert after[same] == before[same]
    assert after["image"]["id"] == base_image
    assert compute.volumes(server_id) == ["config", "disk"]
    timeouts.forget_shelved_images(compute.tools)
    assert images(api) == ["base"]
    act(api, server_id, reboot={"type": "HARD"})
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_offloaded_by_hand(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    setting(compute, -1)
    server_id = boot()
    act(api, server_id, shelve=None)
    compute.work()
    assert act(api, server_id, shelveOffload=None).status_code == 403
    answer = act(admin, server_id, shelveOffload=None)
    assert (answer.status_code, answer.text) == (202, "")
    assert states(api, server_id) == ("SHELVED", "shelving_offloading", 4)
    compute.work()
    assert states(api, server_id) == ("SHELVED_OFFLOADED", None, 4)
    actions = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [action["action"] for action in actions] == ["shelveOffload", "shelve", "create"]


def test_offloaded_after_a_time(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    setting(compute, 60)
    server_id = boot()
    act(api, server_id, shelve=None)
    compute.work()
    assert timeouts.offload_shelved(compute.tools) == 0
    with db.write() as conn:
        conn.execute(update(Server).values(shelved_at=clock.shifted(-61)))
    assert timeouts.offload_shelved(compute.tools) == 1
    compute.work()
    assert states(api, server_id) == ("SHELVED_OFFLOADED", None, 4)
    assert timeouts.offload_shelved(compute.tools) == 0


@pytest.mark.parametrize("action", ["os-stop", "pause", "suspend"])
def test_a_server_that_does_not_run(api: Api, compute: Compute, boot: Boot, action: str) -> None:
    server_id = boot()
    act(api, server_id, **{action: None})
    compute.work()
    act(api, server_id, shelve=None)
    compute.work()
    assert states(api, server_id)[0] == "SHELVED_OFFLOADED"
    act(api, server_id, unshelve=None)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


@pytest.mark.parametrize("seconds", [0, -1])
def test_deleted_while_shelved(api: Api, compute: Compute, boot: Boot, seconds: int) -> None:
    setting(compute, seconds)
    server_id = boot()
    act(api, server_id, shelve=None)
    compute.work()
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert api.get(f"/servers/{server_id}").status_code == 404
    assert compute.volumes(server_id) == []
    assert compute.host() == (0, 0, 0, 0)
    assert timeouts.forget_shelved_images(compute.tools) == 1
    assert images(api) == ["base"]


def test_deleted_while_it_is_being_shelved(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    act(api, server_id, shelve=None)
    api.delete(f"/servers/{server_id}")
    compute.work()
    assert images(api) == ["base"]


def test_shelving_fails(api: Api, compute: Compute, boot: Boot) -> None:
    """ERROR with its disk; the image is gone; a hard reboot leads out."""
    server_id = boot()
    driver(compute).fail("snapshot", HypervisorError("no space"))
    act(api, server_id, shelve=None)
    compute.work()
    assert states(api, server_id)[:2] == ("ERROR", None)
    assert images(api) == ["base"]
    act(api, server_id, reboot={"type": "HARD"})
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_offloading_fails(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    """It stays shelved, may be tried again, and can be brought back whatever is left of it."""
    server_id = boot()
    driver(compute).fail("remove_volumes", HypervisorError("stuck"))
    act(api, server_id, shelve=None)
    compute.work()
    assert states(api, server_id)[:2] == ("SHELVED", None)
    act(api, server_id, unshelve=None)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_unshelving_fails(api: Api, compute: Compute, boot: Boot) -> None:
    """Nowhere again, with nothing left behind; the next try succeeds."""
    server_id = boot()
    act(api, server_id, shelve=None)
    compute.work()
    driver(compute).fail("start", HypervisorError("no memory"))
    act(api, server_id, unshelve=None)
    compute.work()
    assert states(api, server_id)[:2] == ("SHELVED_OFFLOADED", None)
    assert compute.volumes(server_id) == []
    assert compute.host() == (0, 0, 0, 0)
    assert timeouts.forget_shelved_images(compute.tools) == 0
    act(api, server_id, unshelve=None)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_no_room_to_unshelve(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    server_id = boot()
    act(api, server_id, shelve=None)
    compute.work()
    with db.write() as conn:
        conn.execute(update(Host).values(disabled=1))
    assert act(api, server_id, unshelve=None).status_code == 202
    assert states(api, server_id) == ("SHELVED_OFFLOADED", None, 4)
    (action, *_older) = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert (action["action"], action["message"]) == ("unshelve", "Error")


def test_a_long_name(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot(name="n" * 255)
    assert act(api, server_id, shelve=None).status_code == 202
    assert "n" * 247 + "-shelved" in images(api)


ALLOWED = {
    "shelve": {"active", "stopped", "paused", "suspended"},
    "unshelve": {"shelved", "shelved_offloaded"},
    "shelveOffload": {"shelved"},
}
STATES = [
    *("active", "building", "paused", "suspended", "stopped", "rescued", "resized", "soft-delete", "error"),
    *("shelved", "shelved_offloaded"),
]


@pytest.mark.parametrize("vm_state", STATES)
def test_states(admin: Api, make_server: MakeServer, vm_state: str) -> None:
    for name, allowed in ALLOWED.items():
        if vm_state in allowed:
            continue
        server = make_server(vm_state=vm_state)
        answer = act(admin, server.uuid, **{name: None})
        assert answer.status_code == 409
        assert answer.json["conflictingRequest"]["message"] == (
            f"Cannot '{name}' instance {server.uuid} while it is in vm_state {vm_state}"
        )


def test_locks_and_others(api: Api, make_server: MakeServer) -> None:
    for name, vm_state in (("shelve", "active"), ("unshelve", "shelved")):
        server = make_server(vm_state=vm_state, locked=1, locked_by="admin")
        answer = act(api, server.uuid, **{name: None})
        assert (answer.status_code, answer.json["conflictingRequest"]["message"]) == (
            409,
            f"Instance {server.uuid} is locked",
        )
        assert act(api.become("member"), server.uuid, **{name: None}).status_code == 404
        assert act(api.become("reader", project_id=api.project_id), server.uuid, **{name: None}).status_code == 403
