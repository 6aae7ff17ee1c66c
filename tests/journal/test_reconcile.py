# SPDX-License-Identifier: Apache-2.0
"""What is set right between the database and the host, and what is left alone."""

from __future__ import annotations

import logging
import uuid

import orjson
import pytest
from sqlalchemy import update

from computeapi.compute import reconcile
from computeapi.compute.reconcile import Fix, Known, plan
from computeapi.db.models import Server
from computeapi.journal import Fenced
from computeapi.states import (
    ACTIVE,
    BUILDING,
    ERROR,
    PAUSED,
    RESCUED,
    SHELVED_OFFLOADED,
    SOFT_DELETED,
    STOPPED,
    SUSPENDED,
    PowerState,
)
from computeapi.virt.base import DomainSpec, HypervisorError, HypervisorGone
from tests.journal.world import World

NONE, RUN, PAUSE, OFF = PowerState.NOSTATE, PowerState.RUNNING, PowerState.PAUSED, PowerState.SHUTDOWN
CRASH, SAVED = PowerState.CRASHED, PowerState.SUSPENDED

# vm_state and power_state in the database, what the guest does ("-": there is none) → the vm_state that is written.
TABLE = [
    (ACTIVE, RUN, RUN, "as it is"),
    (ACTIVE, RUN, OFF, STOPPED),
    (ACTIVE, RUN, CRASH, STOPPED),
    (ACTIVE, RUN, PAUSE, PAUSED),
    (ACTIVE, RUN, SAVED, SUSPENDED),
    (ACTIVE, NONE, RUN, None),
    (ACTIVE, RUN, "-", ERROR),
    (STOPPED, OFF, OFF, "as it is"),
    (STOPPED, OFF, RUN, ACTIVE),
    (STOPPED, OFF, PAUSE, PAUSED),
    (STOPPED, OFF, CRASH, None),
    (STOPPED, OFF, SAVED, None),
    (STOPPED, RUN, OFF, None),
    (STOPPED, OFF, "-", ERROR),
    (PAUSED, PAUSE, PAUSE, "as it is"),
    (PAUSED, PAUSE, RUN, ACTIVE),
    (PAUSED, PAUSE, OFF, STOPPED),
    (PAUSED, PAUSE, CRASH, STOPPED),
    (PAUSED, PAUSE, "-", ERROR),
    (SUSPENDED, SAVED, SAVED, "as it is"),
    (SUSPENDED, SAVED, RUN, ACTIVE),
    (SUSPENDED, SAVED, OFF, STOPPED),
    (SUSPENDED, SAVED, "-", ERROR),
    (ERROR, RUN, RUN, "as it is"),
    (ERROR, RUN, OFF, None),
    (ERROR, RUN, "-", "as it is"),
    (BUILDING, NONE, "-", "as it is"),
    (BUILDING, NONE, RUN, None),
    (SOFT_DELETED, OFF, OFF, "as it is"),
    (SOFT_DELETED, OFF, RUN, None),
    (SOFT_DELETED, OFF, "-", "as it is"),
    (RESCUED, RUN, RUN, "as it is"),
    (RESCUED, RUN, OFF, None),
    (SHELVED_OFFLOADED, OFF, "-", "as it is"),
]


def known(vm_state: str = ACTIVE, power_state: int = 1, host: str | None = "host1", deleted: int = 0) -> Known:
    """A server."""
    return Known(1, str(uuid.uuid4()), vm_state, int(power_state), host, deleted, "2026-01-01T00:00:00.000000")


@pytest.mark.parametrize(("vm_state", "power_state", "guest", "then"), TABLE)
def test_plan(vm_state: str, power_state: PowerState, guest: PowerState | str, then: str | None) -> None:
    server = known(vm_state, power_state)
    guests = {server.uuid: guest} if isinstance(guest, PowerState) else {}
    fixes = plan("host1", [server], guests)
    if then == "as it is":
        assert fixes == []
        return
    (fix,) = fixes
    assert (fix.server, fix.vm_state, fix.remove_guest) == (server, then, False)
    assert fix.power_state == (guest if isinstance(guest, PowerState) else NONE)
    assert bool(fix.fault) == (then == ERROR)


@pytest.mark.parametrize("host", ["host1", "host2", None])
def test_a_guest_of_a_deleted_server_goes(host: str | None) -> None:
    server = known("deleted", 0, host, deleted=1)
    assert plan("host1", [server], {server.uuid: RUN}) == [
        Fix(server, "deleted while its host was down", remove_guest=True)
    ]
    assert plan("host1", [server], {}) == []


def test_a_server_of_another_host_is_not_ours() -> None:
    server = known(host="host2")
    assert plan("host1", [server], {server.uuid: OFF}) == []
    assert plan("host1", [server], {}) == []


def test_strangers_are_not_planned_for() -> None:
    assert plan("host1", [], {str(uuid.uuid4()): RUN}) == []


def test_every_vm_state_that_has_truths_has_a_guest() -> None:
    assert set(reconcile._TRUTH) == set(reconcile._WITH_GUEST)


# --- carried out ---


def test_what_happened_behind_our_back(world: World) -> None:
    server = world.prepare(("create",))
    tools = world.victim.take_over()
    for change, vm_state, power_state in (
        (world.driver.kill_guest, STOPPED, OFF),
        (world.driver.start, ACTIVE, RUN),
        (world.driver.pause, PAUSED, PAUSE),
        (world.driver.unpause, ACTIVE, RUN),
        (world.driver.suspend, SUSPENDED, SAVED),
        (world.driver.start, ACTIVE, RUN),
    ):
        change(server.uuid)
        assert len(reconcile.run(tools)) == 1
        now = world.server(server.id)
        assert (now.vm_state, now.power_state) == (vm_state, power_state)
        assert reconcile.run(tools) == reconcile.one(tools, server.uuid) == []


def test_a_missing_guest_comes_back_by_a_hard_reboot(world: World) -> None:
    server = world.prepare(("create",))
    tools = world.victim.take_over()
    world.driver.undefine(server.uuid)
    assert len(reconcile.one(tools, server.uuid)) == 1
    now = world.server(server.id)
    assert (now.vm_state, now.power_state) == (ERROR, NONE)
    assert orjson.loads(now.fault_json or "")["message"].startswith("The guest is missing on its host")
    world.begin(now, "reboot_hard")
    assert world.victim.live() == []
    world.settle(server.id, ACTIVE)


def test_servers_with_open_work_are_left_alone(world: World) -> None:
    server = world.prepare(("create",))
    world.begin(server, "stop")
    world.driver.kill_guest(server.uuid)
    tools = world.victim.take_over()
    assert reconcile.run(tools) == reconcile.one(tools, server.uuid) == []
    assert world.server(server.id).vm_state == ACTIVE


def test_what_changed_since_it_was_looked_at_is_left_alone(world: World) -> None:
    server = world.prepare(("create",))
    tools = world.victim.take_over()
    world.driver.kill_guest(server.uuid)
    list_guests = world.victim.driver.list_guests

    def meanwhile() -> dict[str, PowerState]:
        guests: dict[str, PowerState] = list_guests()
        with world.db.write() as conn:
            conn.execute(update(Server).values(updated_at="2030-01-01T00:00:00.000000"))
        return guests

    world.victim.driver.list_guests = meanwhile
    assert reconcile.run(tools) == []
    assert world.server(server.id).vm_state == ACTIVE


def test_guests_of_deleted_servers_go_and_strangers_stay(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """As when an older backup of the database was restored: what it does not know may be somebody's work."""
    server = world.prepare(("create",))
    with world.db.write() as conn:
        conn.execute(update(Server).values(deleted=1))
    stranger = str(uuid.uuid4())
    world.driver.define(DomainSpec(stranger, "instance-ffffffff", 1, 64, (), ()))
    tools = world.victim.take_over()
    with caplog.at_level(logging.WARNING):
        reconcile.run(tools)
    assert list(world.driver.list_guests()) == [stranger]
    assert [name for name in world.driver.list_volumes() if server.uuid in name] == []
    assert stranger in caplog.text


def test_one_that_can_not_be_removed_does_not_stop_the_others(world: World) -> None:
    deleted, other = world.prepare(("create",)), world.prepare(("create",))
    with world.db.write() as conn:
        conn.execute(update(Server).where(Server.id == deleted.id).values(deleted=1))
    world.driver.kill_guest(other.uuid)
    tools = world.victim.take_over()
    world.victim.driver.always["undefine"] = HypervisorError("it is stuck")
    assert [fix.server.id for fix in reconcile.run(tools)] == [other.id]
    assert world.server(other.id).vm_state == STOPPED
    world.victim.driver.always.clear()
    assert [fix.server.id for fix in reconcile.run(tools)] == [deleted.id]


def test_a_hypervisor_that_is_away_says_nothing_of_guests(world: World) -> None:
    server = world.prepare(("create",))
    tools = world.victim.take_over()
    world.victim.driver.always = dict.fromkeys(("list_guests", "state"), HypervisorGone("away"))
    for look in (lambda: reconcile.run(tools), lambda: reconcile.one(tools, server.uuid)):
        with pytest.raises(HypervisorGone):
            look()
    assert world.server(server.id).vm_state == ACTIVE


def test_an_old_owner_sets_nothing_right(world: World) -> None:
    server = world.prepare(("create",))
    tools = world.victim.take_over()
    world.heir.take_over()
    world.driver.kill_guest(server.uuid)
    with pytest.raises(Fenced):
        reconcile.run(tools)
    assert world.server(server.id).vm_state == ACTIVE
