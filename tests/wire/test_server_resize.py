# SPDX-License-Identifier: Apache-2.0
"""The actions resize, confirmResize and revertResize."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from computeapi import clock
from computeapi.compute import timeouts
from computeapi.db.engine import Database
from computeapi.db.models import Flavor, Host, Migration
from computeapi.virt.base import DomainSpec, HypervisorError
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot, MakeServer
from tests.wire.conftest import add_flavor as make_flavor

GIB = 1 << 30


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


def statuses(db: Database) -> list[str]:
    with db.read() as conn:
        return [row[0] for row in conn.execute(select(Migration.status).order_by(Migration.id))]


@pytest.fixture
def larger(db: Database) -> str:
    """A flavor with more of all."""
    return make_flavor(db, vcpus=2, memory_mb=1024, disk_gb=3)


Resized = Callable[..., str]


@pytest.fixture
def resized(api: Api, compute: Compute, boot: Boot, larger: str) -> Resized:
    """A server that waits to be confirmed."""

    def make(stopped: bool = False) -> str:
        server_id = boot()
        if stopped:
            act(api, server_id, **{"os-stop": None})
            compute.work()
        assert act(api, server_id, resize={"flavorRef": larger}).status_code == 202
        compute.work()
        return server_id

    return make


def test_resize_and_confirm(api: Api, compute: Compute, boot: Boot, db: Database, larger: str, flavor: str) -> None:
    server_id = boot()
    before = api.get(f"/servers/{server_id}").json["server"]
    assert compute.host() == (1, 512, 1, 1)
    answer = act(api, server_id, resize={"flavorRef": larger})
    assert (answer.status_code, answer.text) == (202, "")
    assert states(api, server_id) == ("RESIZE", "resize_prep", 1)
    assert api.get(f"/servers/{server_id}").json["server"]["flavor"]["id"] == flavor
    assert compute.host() == (3, 1536, 4, 2)
    compute.work()
    assert states(api, server_id) == ("VERIFY_RESIZE", None, 1)
    after = api.get(f"/servers/{server_id}").json["server"]
    assert after["flavor"]["id"] == larger
    assert after["OS-EXT-STS:vm_state"] == "resized"
    for same in ("addresses", "image", "created", "hostId", "metadata"):
        assert after[same] == before[same]
    guest = spec(compute, server_id)
    assert (guest.vcpus, guest.memory_mb) == (2, 1024)
    assert compute.driver.virtual_size(f"{server_id}_disk") == 3 * GIB
    assert compute.driver.virtual_size(f"{server_id}_kept_disk") == GIB
    assert compute.host() == (3, 1536, 4, 2)
    assert statuses(db) == ["finished"]
    answer = act(api, server_id, confirmResize=None)
    assert (answer.status_code, answer.text) == (204, "")
    assert states(api, server_id) == ("VERIFY_RESIZE", "resize_confirming", 1)
    assert statuses(db) == ["confirming"]
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert compute.volumes(server_id) == ["config", "disk"]
    assert compute.host() == (2, 1024, 3, 1)
    assert statuses(db) == ["confirmed"]
    actions = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [action["action"] for action in actions] == ["confirmResize", "resize", "create"]
    assert api.get("/limits").json["limits"]["absolute"]["totalRAMUsed"] == 1024


def test_resize_and_revert(
    api: Api, compute: Compute, db: Database, resized: Resized, flavor: str, larger: str
) -> None:
    server_id = resized()
    answer = act(api, server_id, revertResize=None)
    assert (answer.status_code, answer.text) == (202, "")
    assert states(api, server_id) == ("REVERT_RESIZE", "resize_reverting", 1)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert api.get(f"/servers/{server_id}").json["server"]["flavor"]["id"] == flavor
    guest = spec(compute, server_id)
    assert (guest.vcpus, guest.memory_mb) == (1, 512)
    assert compute.driver.virtual_size(f"{server_id}_disk") == GIB
    assert compute.volumes(server_id) == ["config", "disk"]
    assert compute.host() == (1, 512, 1, 1)
    assert statuses(db) == ["reverted"]
    assert act(api, server_id, resize={"flavorRef": larger}).status_code == 202
    compute.work()
    assert states(api, server_id)[0] == "VERIFY_RESIZE"
    assert statuses(db) == ["reverted", "finished"]


@pytest.mark.parametrize("end", ["confirmResize", "revertResize"])
def test_a_stopped_server_stays_off(api: Api, compute: Compute, resized: Resized, end: str) -> None:
    server_id = resized(stopped=True)
    assert states(api, server_id) == ("VERIFY_RESIZE", None, 4)
    act(api, server_id, **{end: None})
    compute.work()
    assert states(api, server_id) == ("SHUTOFF", None, 4)


def test_to_a_smaller_flavor_with_the_same_disk(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    server_id = boot()
    smaller = make_flavor(db, memory_mb=256)
    assert act(api, server_id, resize={"flavorRef": smaller, "OS-DCF:diskConfig": "AUTO"}).status_code == 202
    compute.work()
    shown = api.get(f"/servers/{server_id}").json["server"]
    assert (shown["status"], shown["OS-DCF:diskConfig"]) == ("VERIFY_RESIZE", "AUTO")
    assert spec(compute, server_id).memory_mb == 256


def test_deleted_while_it_waits(api: Api, compute: Compute, resized: Resized) -> None:
    server_id = resized()
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert compute.volumes(server_id) == []
    assert compute.host() == (0, 0, 0, 0)


def test_it_fails(api: Api, compute: Compute, boot: Boot, db: Database, larger: str, flavor: str) -> None:
    """All is as it was but for the state, out of which a hard reboot leads."""
    server_id = boot()
    assert isinstance(compute.driver, SimulatedHypervisor)
    compute.driver.fail("start", HypervisorError("no memory"))
    act(api, server_id, resize={"flavorRef": larger})
    compute.work()
    shown = api.get(f"/servers/{server_id}").json["server"]
    assert (shown["status"], shown["fault"]["message"], shown["flavor"]["id"]) == ("ERROR", "no memory", flavor)
    assert compute.volumes(server_id) == ["config", "disk"]
    assert compute.driver.virtual_size(f"{server_id}_disk") == GIB
    assert compute.host() == (1, 512, 1, 1)
    assert statuses(db) == ["error"]
    act(api, server_id, reboot={"type": "HARD"})
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert spec(compute, server_id).memory_mb == 512


def test_a_revert_fails(api: Api, compute: Compute, db: Database, resized: Resized, flavor: str) -> None:
    server_id = resized()
    assert isinstance(compute.driver, SimulatedHypervisor)
    compute.driver.fail("start", HypervisorError("no memory"))
    act(api, server_id, revertResize=None)
    compute.work()
    shown = api.get(f"/servers/{server_id}").json["server"]
    assert (shown["status"], shown["flavor"]["id"]) == ("ERROR", flavor)
    assert compute.host() == (1, 512, 1, 1)
    assert statuses(db) == ["reverted"]


def test_no_room(api: Api, compute: Compute, boot: Boot, db: Database, larger: str) -> None:
    """The server stays as it is; its log says why."""
    server_id = boot()
    with db.write() as conn:
        conn.execute(update(Host).values(memory_mb=1024, ram_allocation_ratio=1.0))
    answer = act(api, server_id, resize={"flavorRef": larger})
    assert answer.status_code == 202
    assert states(api, server_id) == ("ACTIVE", None, 1)
    (action, _created) = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert (action["action"], action["message"]) == ("resize", "Error")
    assert compute.host() == (1, 512, 1, 1)


def test_the_host_is_down(api: Api, boot: Boot, db: Database, larger: str) -> None:
    server_id = boot()
    with db.write() as conn:
        conn.execute(update(Host).values(last_seen_at=clock.shifted(-3600)))
    answer = act(api, server_id, resize={"flavorRef": larger})
    assert (answer.status_code, answer.json["conflictingRequest"]["message"]) == (
        409,
        "Service is unavailable at this time.",
    )


def test_quota(api: Api, boot: Boot, db: Database) -> None:
    server_id = boot()
    huge = make_flavor(db, vcpus=40, memory_mb=60_000)
    answer = act(api, server_id, resize={"flavorRef": huge})
    assert answer.status_code == 403
    assert answer.json["forbidden"]["message"] == (
        "Quota exceeded for cores, ram: Requested 39, 59488, but already used 1, 512 of 20, 51200 cores, ram"
    )
    assert states(api, server_id) == ("ACTIVE", None, 1)


def test_flavors_that_do_not_do(api: Api, boot: Boot, db: Database, flavor: str, larger: str) -> None:
    server_id = boot(flavorRef=make_flavor(db, disk_gb=2, ephemeral_gb=1))
    private, disabled = make_flavor(db, is_public=0, disk_gb=9), make_flavor(db, disabled=1, disk_gb=9)
    small = make_flavor(db, disk_gb=2, ephemeral_gb=1, memory_mb=63)
    cases = {
        "nowhere": "Flavor nowhere could not be found.",
        private: f"Flavor {private} could not be found.",
        disabled: f"Flavor {disabled} could not be found.",
        flavor: "Flavor's disk is smaller than the minimum size specified in image metadata. "
        "Flavor disk is 1073741824 bytes, minimum size is 2147483648 bytes.",
        make_flavor(db, disk_gb=0): "Server disk was unable to be resized because: "
        "Resize to zero disk flavor is not allowed.",
        larger: "Server disk was unable to be resized because: Resizing an ephemeral disk down is not allowed.",
        small: "Flavor's memory is too small for requested image.",
    }
    for flavor_id, message in cases.items():
        answer = act(api, server_id, resize={"flavorRef": flavor_id})
        assert (answer.status_code, answer.json.get("badRequest", {}).get("message")) == (400, message)


def test_the_same_flavor(api: Api, boot: Boot, flavor: str) -> None:
    answer = act(api, boot(), resize={"flavorRef": f"http://example.org/flavors/{flavor}"})
    assert (answer.status_code, answer.json["badRequest"]["message"]) == (
        400,
        "When resizing, instances must change flavor!",
    )


def test_the_old_flavor_is_deleted_meanwhile(
    api: Api, compute: Compute, db: Database, resized: Resized, flavor: str
) -> None:
    server_id = resized()
    with db.write() as conn:
        conn.execute(Flavor.__table__.delete().where(Flavor.flavor_id == flavor))  # type: ignore[attr-defined]
    act(api, server_id, revertResize=None)
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert api.get(f"/servers/{server_id}").json["server"]["flavor"]["id"] == flavor


@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        [],
        "2",
        {"flavorRef": None},
        {"flavorRef": ""},
        {"flavorRef": {}},
        {"flavorRef": "a\u0000b"},
        {"flavorRef": "2", "OS-DCF:diskConfig": "auto"},
        {"flavorRef": "2", "other": 1},
    ],
)
def test_bad_bodies(api: Api, make_server: MakeServer, body: Any) -> None:
    assert act(api, make_server().uuid, resize=body).status_code == 400


@pytest.mark.parametrize("flavor_id", ["x" * 5000, 10**30, -1, "'; DROP TABLE flavors; --", "%", "../../etc", "名前"])
def test_hostile_flavors(api: Api, make_server: MakeServer, flavor_id: Any) -> None:
    assert act(api, make_server().uuid, resize={"flavorRef": flavor_id}).status_code == 400


STATES = [
    *("active", "building", "paused", "suspended", "stopped", "rescued", "resized", "soft-delete", "error"),
    *("shelved", "shelved_offloaded"),
]


@pytest.mark.parametrize("vm_state", STATES)
def test_states(api: Api, make_server: MakeServer, larger: str, vm_state: str) -> None:
    server = make_server(vm_state=vm_state)
    for name, body, allowed in (
        ("resize", {"flavorRef": larger}, ("active", "stopped")),
        ("confirmResize", None, ("resized",)),
        ("revertResize", None, ("resized",)),
    ):
        if vm_state in allowed:
            continue
        answer = act(api, server.uuid, **{name: body})
        assert answer.status_code == 409
        assert answer.json["conflictingRequest"]["message"] == (
            f"Cannot '{name}' instance {server.uuid} while it is in vm_state {vm_state}"
        )


def test_nothing_to_confirm(api: Api, make_server: MakeServer) -> None:
    server = make_server(vm_state="resized")
    for name in ("confirmResize", "revertResize"):
        answer = act(api, server.uuid, **{name: None})
        assert (answer.status_code, answer.json["badRequest"]["message"]) == (400, "Instance has not been resized.")


def test_locks_and_others(api: Api, admin: Api, make_server: MakeServer, larger: str) -> None:
    for name, body, vm_state in (
        ("resize", {"flavorRef": larger}, "active"),
        ("confirmResize", None, "resized"),
        ("revertResize", None, "resized"),
    ):
        server = make_server(vm_state=vm_state, locked=1, locked_by="admin")
        answer = act(api, server.uuid, **{name: body})
        assert (answer.status_code, answer.json["conflictingRequest"]["message"]) == (
            409,
            f"Instance {server.uuid} is locked",
        )
        assert act(api.become("member"), server.uuid, **{name: body}).status_code == 404
        assert act(api.become("reader", project_id=api.project_id), server.uuid, **{name: body}).status_code == 403


def test_confirmed_by_the_setting(api: Api, compute: Compute, db: Database, resized: Resized) -> None:
    server_id = resized()
    tools = compute.tools
    assert timeouts.confirm_resizes(tools) == 0
    patient = dataclasses.replace(tools, settings=dataclasses.replace(tools.settings, resize_confirm_window=60))
    assert timeouts.confirm_resizes(patient) == 0
    with db.write() as conn:
        conn.execute(update(Migration).values(switched_at=clock.shifted(-61)))
    assert timeouts.confirm_resizes(patient) == 1
    assert timeouts.confirm_resizes(patient) == 0
    compute.work()
    assert states(api, server_id) == ("ACTIVE", None, 1)
    assert compute.host() == (2, 1024, 3, 1)
    assert statuses(db) == ["confirmed"]
