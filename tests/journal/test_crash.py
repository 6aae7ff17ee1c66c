# SPDX-License-Identifier: Apache-2.0
"""Every operation, with each of its steps failing, run twice, and killed between any two writes or calls.

Afterwards each server is where it lands or in ERROR with a fault that names the cause, nothing is left of what is
gone, and the journal tells what happened. CASES says how to bring a server to each operation; one without a case fails.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from computeapi import errors, journal
from computeapi.compute import reconcile, runner
from computeapi.compute.operation import Do, Operation, Work
from computeapi.compute.operations import OPERATIONS
from computeapi.db.models import Action, Host, Migration
from computeapi.db.queries.servers import ServerRow
from computeapi.journal import Entry, Fenced
from computeapi.states import (
    ACTIVE,
    DELETED,
    ERROR,
    PAUSED,
    RESCUED,
    RESIZED,
    SHELVED,
    SHELVED_OFFLOADED,
    SOFT_DELETED,
    STOPPED,
    SUSPENDED,
)
from computeapi.virt.base import HypervisorError, HypervisorGone, MigrationTimeout
from tests.journal.world import Killed, World


@dataclass(frozen=True)
class Case:
    """How a server comes to the operation, what starts it, and where it lands."""

    before: tuple[str, ...]
    action: str
    lands: str
    fails: str = ERROR
    hosts: int = 1


CASES: dict[str, Case] = {
    "build": Case((), "create", ACTIVE),
    "delete": Case(("create",), "force_delete", DELETED),
    "soft_delete": Case(("create",), "soft_delete", SOFT_DELETED),
    "start": Case(("create", "stop"), "start", ACTIVE),
    "stop": Case(("create",), "stop", STOPPED),
    "reboot_soft": Case(("create",), "reboot_soft", ACTIVE),
    "reboot_hard": Case(("create", "suspend"), "reboot_hard", ACTIVE),
    "pause": Case(("create",), "pause", PAUSED),
    "unpause": Case(("create", "pause"), "unpause", ACTIVE),
    "suspend": Case(("create",), "suspend", SUSPENDED),
    "resume": Case(("create", "suspend"), "resume", ACTIVE),
    "rebuild": Case(("create",), "rebuild", ACTIVE),
    "rescue": Case(("create",), "rescue", RESCUED),
    "unrescue": Case(("create", "rescue"), "unrescue", ACTIVE),
    "resize": Case(("create",), "resize", RESIZED),
    "confirm_resize": Case(("create", "stop", "resize"), "confirm_resize", STOPPED),
    "revert_resize": Case(("create", "resize"), "revert_resize", ACTIVE),
    "shelve": Case(("create",), "shelve", SHELVED),
    "shelve_offload": Case(("create", "shelve"), "shelve_offload", SHELVED_OFFLOADED, SHELVED),
    "unshelve": Case(("create", "shelve", "shelve_offload"), "unshelve", ACTIVE, SHELVED_OFFLOADED),
    "snapshot": Case(("create",), "snapshot", ACTIVE, ACTIVE),
    "backup": Case(("create", "stop", "backup"), "backup", STOPPED, STOPPED),
    "attach_interface": Case(("create",), "attach_interface", ACTIVE, ACTIVE),
    "detach_interface": Case(("create", "attach_interface"), "detach_interface", ACTIVE, ACTIVE),
    "attach_volume": Case(("create",), "attach_volume", ACTIVE, ACTIVE),
    "detach_volume": Case(("create", "attach_volume"), "detach_volume", ACTIVE, ACTIVE),
    "swap_volume": Case(("create", "attach_volume"), "swap_volume", ACTIVE, ACTIVE),
    "move": Case(("create",), "migrate", RESIZED, hosts=2),
    "revert_move": Case(("create", "migrate"), "revert_move", ACTIVE, hosts=2),
    "live_migrate": Case(("create",), "live_migrate", ACTIVE, ACTIVE, hosts=2),
    "evacuate": Case(("create",), "evacuate", ACTIVE, hosts=2),
    "clean_up": Case(("create",), "clean_up", ACTIVE, ACTIVE, hosts=2),
    "reset_network": Case(("create",), "reset_network", ACTIVE, ACTIVE),
    "apply_network": Case(("create",), "apply_network", ACTIVE, ACTIVE),
}
NOWHERE = ("build", "unshelve")  # where the server is on no host when they failed and are undone

every_operation = pytest.mark.parametrize("operation", sorted(OPERATIONS))
STEPS = [(name, step.name) for name, operation in sorted(OPERATIONS.items()) for step in operation.steps]
UNDOS = [(name, step.name) for name, operation in sorted(OPERATIONS.items()) for step in operation.steps if step.undo]
every_step = pytest.mark.parametrize(("operation", "step"), STEPS, ids=[f"{name}-{step}" for name, step in STEPS])
every_undo = pytest.mark.parametrize(("operation", "step"), UNDOS, ids=[f"{name}-{step}" for name, step in UNDOS])


def begin(world: World, case: Case) -> ServerRow:
    """A server with the case's action accepted and not begun."""
    world.fails = case.fails
    if case.hosts == 2:
        world.add_second_host()
    if case.action == "create":
        return world.create()
    server = world.prepare(case.before)
    world.begin(server, case.action)
    return server


Change = Callable[[Do], Do]


def change(monkeypatch: pytest.MonkeyPatch, operation: str, step: str, do: Change, *, undo: bool = False) -> None:
    """Put something around what a step does (or undoes)."""
    old = OPERATIONS[operation]
    steps = []
    for each in old.steps:
        if each.name == step:
            each = replace(each, undo=do(each.undo)) if undo and each.undo else replace(each, do=do(each.do))
        steps.append(each)
    monkeypatch.setitem(OPERATIONS, operation, replace(old, steps=tuple(steps)))


def failing(error: Exception, times: int, *, after: bool) -> Change:
    """The step raises so many times: before it did anything, or when it had done it."""
    left = [times]

    def around(do: Do) -> Do:
        def failing_do(work: Work) -> None:
            if left[0] and not after:
                left[0] -= 1
                raise error
            do(work)
            if left[0] and after:
                left[0] -= 1
                raise error

        return failing_do

    return around


def twice(do: Do) -> Do:
    """The step runs again on what it left."""

    def both(work: Work) -> None:
        do(work)
        do(work)

    return both


def undisturbed(world: World) -> dict[str, Any]:
    """What comes out when nothing goes wrong."""
    assert world.victim.reborn().live() == []
    return world.outcome()


def kill_everywhere(world: World, check: Callable[[int], None]) -> int:
    """Kill the owner at its 1st, 2nd, … checkpoint, each time from where all is now; check. How many there are."""
    beginning = world.snapshot()
    n = 1
    while True:
        world.restore(beginning)
        world.victim.checkpoint.fatal = n
        try:
            world.victim.live()
        except Killed:
            check(n)
        else:
            points = world.victim.checkpoint.count
            check(n)
            return points
        n += world.stride


# --- (a) each step fails ---


@pytest.mark.parametrize("error", [HypervisorError("the disk is full"), errors.NotFound("the disk is full")], ids=type)
@every_step
def test_a_step_fails(
    world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str, error: Exception
) -> None:
    """Before it did anything, and when it had done it."""
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    for after in (False, True):
        world.restore(beginning)
        with monkeypatch.context() as patch:
            change(patch, operation, step, failing(error, 1, after=after))
            assert world.victim.live() == []
        now = world.settle(server.id, case.lands, cause="the disk is full")
        assert (now.host is None) == (operation in NOWHERE)


@every_step
def test_a_bug_in_a_step(world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str) -> None:
    """Its words stay in the log: nobody foresaw what they hold."""
    case = CASES[operation]
    server = begin(world, case)
    with monkeypatch.context() as patch:
        change(patch, operation, step, failing(ZeroDivisionError("tell-nobody"), 1, after=False))
        assert world.victim.live() == []
    now = world.settle(server.id, case.lands, cause="Unexpected error: ZeroDivisionError")
    assert "tell-nobody" not in (now.fault_json or "")


PASSING = (
    HypervisorGone("libvirtd is away"),
    errors.Unavailable("the image service is away"),
    OperationalError("SELECT 1", {}, Exception("database is locked")),
)


@every_step
def test_what_passes_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str) -> None:
    case = CASES[operation]
    begin(world, case)
    beginning = world.snapshot()
    expected = undisturbed(world)
    for error in PASSING:
        world.restore(beginning)
        with monkeypatch.context() as patch:
            change(patch, operation, step, failing(error, 1, after=False))
            assert [left.counts for left in world.victim.live()] == [True]
        world.check_quiet()
        assert world.outcome() == expected


@every_step
def test_what_does_not_pass_is_given_up(
    world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str
) -> None:
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    tries = world.settings.max_attempts
    for error in PASSING:
        world.restore(beginning)
        with monkeypatch.context() as patch:
            change(patch, operation, step, failing(error, 1000, after=False))
            assert len(world.victim.live()) == tries
        cause = "The database does not answer." if isinstance(error, OperationalError) else str(error)
        world.settle(server.id, case.lands, cause=f"Gave up after {tries} attempts: {cause}")


HOST_CALLS = {"list_guests"}  # that no operation makes
HINTING = ("attach_interface", "detach_interface", "delete")  # beside them the host's filters follow, by a question


@every_operation
def test_each_call_of_the_hypervisor_fails(world: World, operation: str) -> None:
    """Whatever call fails, once or always, the server is in ERROR; what no undo could remove, the delete removes."""
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    undisturbed(world)
    calls = set(world.victim.driver.calls) - HOST_CALLS
    methods = sorted(calls - {"apply_firewall"} if operation in HINTING else calls)
    assert methods
    for method in methods:
        error = HypervisorError(f"no {method}")
        world.restore(beginning)
        world.victim.driver.failing[method] = [error]
        assert world.victim.live() == []
        settle_failed(world, server, case, f"no {method}")
        world.restore(beginning)
        world.victim.driver.always[method] = error
        assert world.victim.live() == []
        settle_failed(world, server, case, f"no {method}")


def settle_failed(world: World, server: ServerRow, case: Case, cause: str) -> None:
    """It failed; or only cleaning up after it on the other host did, which is its delete's then."""
    aside = case.hosts == 2 and world.server(server.id).vm_state == case.lands != case.fails
    if aside:
        assert cause in world.last_message(server.id)
    world.settle(server.id, case.lands, cause=None if aside else cause)


def test_a_live_migration_that_took_too_long_was_cancelled(world: World) -> None:
    """The others that fail are errors."""
    case = CASES["live_migrate"]
    server = begin(world, case)
    beginning = world.snapshot()
    for error, status in ((MigrationTimeout("not done within 8 s"), "cancelled"), (HypervisorError("no"), "error")):
        world.restore(beginning)
        world.victim.driver.failing["migrate"] = [error]
        assert world.victim.live() == []
        world.check_quiet()
        assert world.check_server(server.id, ACTIVE, cause=str(error)).host == "host1"
        with world.db.read() as conn:
            assert conn.execute(select(Migration.status)).scalars().all() == [status]


def moved_and_back(world: World) -> ServerRow:
    """A server that is to go straight back, while the host it left is at cleaning up; its owner has just died."""
    server = begin(world, CASES["live_migrate"])

    def dies(entry: Entry) -> None:
        if entry.operation == "clean_up":
            raise Killed("before it cleaned up")

    world.victim.before_run = dies
    with pytest.raises(Killed):
        world.victim.live()
    server = world.check_server(server.id, ACTIVE)
    assert server.host == "host2"
    world.begin(server, "live_migrate")
    return server


def failing_until(attempt: int, error: Exception) -> Change:
    """The step raises in all attempts before that one."""

    def around(do: Do) -> Do:
        def failing_do(work: Work) -> None:
            if work.entry.attempt < attempt:
                raise error
            do(work)

        return failing_do

    return around


@pytest.mark.parametrize(
    ("attempt", "error"),
    [(2, HypervisorGone("no")), (1000, HypervisorError("no"))],
    ids=["later", "never"],
)
def test_straight_back(world: World, monkeypatch: pytest.MonkeyPatch, attempt: int, error: Exception) -> None:
    """It arrives when the host has cleaned up, or has given that up; whenever the owners are killed (some of it)."""
    server = moved_and_back(world)
    world.stride = 7
    with monkeypatch.context() as patch:
        change(patch, "clean_up", "undefine", failing_until(attempt, error))

        def check(_n: int) -> None:
            assert all(left.counts for left in world.heir.live())
            world.check_quiet()
            assert world.check_server(server.id, ACTIVE).host == "host1"
            assert [bool(driver.list_guests()) for driver in world.drivers] == [True, False]

        assert kill_everywhere(world, check) > 20
    world.remove(world.server(server.id))


# --- (b) each step runs twice ---


@every_operation
def test_each_step_runs_twice(world: World, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    case = CASES[operation]
    server = begin(world, case)
    with monkeypatch.context() as patch:
        for step in OPERATIONS[operation].steps:
            change(patch, operation, step.name, twice)
        assert world.victim.live() == []
    world.settle(server.id, case.lands)


@every_undo
def test_each_undo_runs_twice(world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str) -> None:
    """Also of a step that was only begun."""
    case = CASES[operation]
    server = begin(world, case)
    with monkeypatch.context() as patch:
        for each in OPERATIONS[operation].steps:
            change(patch, operation, each.name, twice, undo=True)
        change(patch, operation, step, failing(HypervisorError("no"), 1, after=False))
        assert world.victim.live() == []
    now = world.settle(server.id, case.lands, cause="no")
    assert (now.host is None) == (operation in NOWHERE)


# --- (c) an undo fails ---


@pytest.mark.parametrize("times", [1, 1000], ids=["once", "always"])
@every_undo
def test_an_undo_fails(world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str, times: int) -> None:
    """Once: it is tried again, and nothing is left. Always: what is left stays with the server, for its delete."""
    case = CASES[operation]
    server = begin(world, case)
    last = OPERATIONS[operation].steps[-1].name
    with monkeypatch.context() as patch:
        change(patch, operation, last, failing(HypervisorError("the disk is full"), 1, after=True))
        change(patch, operation, step, failing(HypervisorError("stuck"), times, after=False), undo=True)
        assert world.victim.live() == []
    world.check_quiet()
    now = world.check_server(server.id, case.lands, cause="the disk is full")
    assert (now.host is None) == (operation in NOWHERE and times == 1)
    world.settle(server.id, case.lands, cause="the disk is full")


@every_undo
def test_the_hypervisor_goes_while_undoing(
    world: World, monkeypatch: pytest.MonkeyPatch, operation: str, step: str
) -> None:
    """The owner of the server sees the fault at once; the undo goes on when the hypervisor is back."""
    case = CASES[operation]
    server = begin(world, case)
    last = OPERATIONS[operation].steps[-1].name
    with monkeypatch.context() as patch:
        change(patch, operation, last, failing(HypervisorError("the disk is full"), 1, after=True))
        change(patch, operation, step, failing(HypervisorGone("away"), 3, after=False), undo=True)
        for _ in range(3):
            assert [left.counts for left in world.victim.reborn().live()] == [False]
            now = world.check_server(server.id, case.lands, cause="the disk is full")
            assert now.host in ("host1", "host2")
            assert now.task_state is None or case.fails != ERROR  # then it shows that something is under way
        assert world.victim.reborn().live() == []
    now = world.settle(server.id, case.lands, cause="the disk is full")
    assert (now.host is None) == (operation in NOWHERE)


# --- (d) killed ---


@every_operation
def test_killed_anywhere(world: World, operation: str) -> None:
    """One kill costs nothing but time: all is as if nothing had been."""
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    expected = undisturbed(world)
    world.restore(beginning)

    def check(_n: int) -> None:
        assert world.heir.live() == []
        world.check_quiet()
        world.check_server(server.id, case.lands)
        world.check_log(server.id)
        assert world.outcome() == expected

    points = kill_everywhere(world, check)
    assert points > 2 * len(OPERATIONS[operation].steps)


@every_operation
def test_killed_anywhere_while_undoing(world: World, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    case = CASES[operation]
    server = begin(world, case)
    last = OPERATIONS[operation].steps[-1].name
    beginning = world.snapshot()
    with monkeypatch.context() as patch:
        change(patch, operation, last, failing(HypervisorError("the disk is full"), 1000, after=True))
        expected = undisturbed(world)
        world.restore(beginning)

        def check(_n: int) -> None:
            assert world.heir.live() == []
            world.check_quiet()
            world.check_server(server.id, case.lands, cause="the disk is full")
            world.check_log(server.id)
            assert world.outcome() == expected

        kill_everywhere(world, check)
    world.remove(world.server(server.id))


@every_operation
def test_killed_twice(world: World, operation: str) -> None:
    """The heir is killed as well, at some checkpoints of its own."""
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    expected = undisturbed(world)
    world.restore(beginning)

    def check(n: int) -> None:
        if n % 5 != 3:
            return
        half = world.snapshot()
        for second in range(1 + n % 3, 1000, 3):
            world.restore(half)
            world.heir.checkpoint.fatal = second
            try:
                world.heir.live()
            except Killed:
                assert world.victim.reborn().live() == []
                world.check_quiet()
                world.check_log(server.id)
                assert world.outcome() == expected
            else:
                return

    kill_everywhere(world, check)


@every_operation
def test_killed_each_time_it_runs(world: World, operation: str) -> None:
    """What kills the service each time is not tried for ever.

    Before its first commit nothing can be said of it, so that is not among the cases.
    """
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    n = 1
    while True:
        n += world.stride if n < 6 else 2 * world.stride
        world.restore(beginning)
        lives = 0
        while not live_until(world, n):
            lives += 1
            rows = 1 if case.hosts == 1 else 3  # the action's, and what is to be cleaned up after it
            assert lives <= 2 * world.settings.max_attempts * rows + 1
        if not lives:
            return
        world.check_quiet()
        world.check_log(server.id)
        if world.server(server.id).vm_state != case.lands:
            world.check_server(server.id, case.lands, cause="ended each time")
        else:
            world.check_server(server.id, case.lands)
        world.remove(world.server(server.id))


def live_until(world: World, n: int) -> bool:
    """A life that dies at the n-th checkpoint of its first run of an action; whether it got through."""
    victim = world.victim.reborn()

    def count_from_here(entry: Entry) -> None:
        if victim.checkpoint.fatal is None and not entry.hidden:  # a question that kills is not asked a second time
            victim.checkpoint.fatal = victim.checkpoint.count + n

    victim.before_run = count_from_here
    try:
        victim.live()
    except Killed:
        return False
    return True


# --- delete overtakes ---


@every_operation
def test_delete_overtakes_what_is_pending(world: World, operation: str) -> None:
    server = begin(world, CASES[operation])
    world.begin(server, "force_delete")
    assert world.victim.live() == []
    world.settle(server.id, DELETED)


@every_operation
def test_delete_overtakes_anywhere(world: World, operation: str) -> None:
    """Delete comes between any two writes or calls of a running operation; it waits for the step, no longer."""
    case = CASES[operation]
    server = begin(world, case)
    beginning = world.snapshot()
    n = 1 - world.stride
    while True:
        n += world.stride
        world.restore(beginning)
        asked: list[int] = []

        def ask(count: int, asked: list[int] = asked, n: int = n) -> None:
            if count >= n and not asked:
                asked.append(count)
                force_delete(world, server)

        world.victim.checkpoint.at = ask
        assert world.victim.live() == []
        if not asked:
            return
        n = asked[0]
        assert world.heir.live() == []  # it may have come at the very end
        world.settle(server.id, DELETED)


def force_delete(world: World, server: ServerRow) -> None:
    """Ask for it, as the API does; it may be gone already."""
    if not world.server(server.id).deleted:
        world.begin(server, "force_delete")


@every_operation
def test_delete_after_a_kill(world: World, operation: str) -> None:
    """The work of a dead owner was put back, or not yet, when delete comes. At every third checkpoint."""
    server = begin(world, CASES[operation])

    def check(n: int) -> None:
        if n % 3:
            return
        if n % 2:
            world.heir.take_over()
        force_delete(world, server)
        assert world.heir.live() == []
        world.settle(server.id, DELETED)

    kill_everywhere(world, check)


@every_operation
def test_deleted_while_the_host_is_down(world: World, operation: str) -> None:
    """The server is gone at once; what the dead owner had made goes when the host is back. Every third checkpoint."""
    server = begin(world, CASES[operation])

    def check(n: int) -> None:
        if n % 3 != 1:
            return
        world.host_goes_down()
        force_delete(world, server)
        assert world.server(server.id).deleted
        with world.db.read() as conn:
            assert conn.execute(select(Host.vcpus_used)).scalar() == 0
        assert world.heir.live() == []
        world.settle(server.id, DELETED)

    kill_everywhere(world, check)


def test_deleted_while_the_host_is_down_and_libvirt_too_when_it_is_back(world: World) -> None:
    server = world.prepare(("create",))
    world.host_goes_down()
    world.begin(server, "force_delete")
    heir = world.heir.reborn()
    heir.driver.always = dict.fromkeys(("undefine", "remove_volumes"), HypervisorGone("away"))
    for _ in range(3 * world.settings.max_attempts):
        heir.take_over()
        assert [left.counts for left in heir.work()] == [False]
    heir.driver.always = {}
    assert heir.work() == []
    world.settle(server.id, DELETED)


def test_what_another_server_has_by_now_is_left_alone(world: World) -> None:
    """The address and MAC of a server that was deleted while its host was down are another's when it is back."""
    old = world.prepare(("create",))
    world.host_goes_down()
    world.begin(old, "force_delete")
    world.heir.take_over()
    new = world.create()
    assert world.traces[-1].macs == world.traces[-2].macs
    with world.db.read() as conn:
        keys = conn.execute(select(Action.id).where(Action.lane.is_not(None)).order_by(Action.id)).scalars().all()
    run_in_order(world, list(reversed(keys)))
    assert world.dhcp_macs() == world.traces[-1].macs
    world.traces[-2].macs.clear()
    world.check_quiet()
    world.check_gone(old.id)
    world.settle(new.id, ACTIVE)


def run_in_order(world: World, keys: list[int]) -> None:
    """Run these rows of the journal, in this order."""
    tools = world.heir.take_over()
    for key in keys:
        with tools.db.write() as conn:
            lane = conn.execute(select(Action.lane).where(Action.id == key)).scalar_one()
            entry = journal.claim(conn, tools.seal, key, lane, tools.host, tools.epoch)
        assert entry is not None
        assert runner.run(tools, entry) is None


# --- the hypervisor goes away ---


@every_operation
def test_the_hypervisor_goes_anywhere_and_comes_back(world: World, operation: str) -> None:
    """It does not answer one call of the operation; the next try finds it again."""
    case = CASES[operation]
    begin(world, case)
    beginning = world.snapshot()
    expected = undisturbed(world)
    n = 0
    while True:
        n += 1
        world.restore(beginning)
        world.victim.driver.gone_at = n
        world.victim.take_over()
        lefts = world.victim.work()
        assert world.heir.live() == []
        world.check_quiet()
        assert world.outcome() == expected
        if not lefts:
            return


def test_the_hypervisor_is_gone_for_long_during_a_build(world: World) -> None:
    """ERROR after max_attempts, and seen; the undo waits for the hypervisor; then nothing is left."""
    server = world.create()
    victim = world.victim.reborn()
    methods = ("define", "undefine", "remove_volumes", "remove_dhcp_host")
    victim.driver.always = dict.fromkeys(methods, HypervisorGone("libvirtd is away"))
    lefts = victim.live()
    assert [left.counts for left in lefts] == [True] * world.settings.max_attempts + [False]
    now = world.server(server.id)
    assert (now.vm_state, now.task_state) == ("error", None)
    assert "libvirtd is away" in (now.fault_json or "")
    victim.driver.always = {}
    assert victim.work() == []
    assert world.settle(server.id, ACTIVE, cause="libvirtd is away").host is None


# --- fencing ---


@every_operation
def test_an_owner_that_was_replaced_writes_nothing(world: World, operation: str) -> None:
    """Another takes the host over between any two writes or calls: from there on the first changes nothing."""
    begin(world, CASES[operation])
    beginning = world.snapshot()
    expected = undisturbed(world)
    n = 1 - world.stride
    while True:
        n += world.stride
        world.restore(beginning)
        before: list[Any] = []

        def replace_it(count: int, n: int = n, before: list[Any] = before) -> None:
            if count >= n and not before:
                before.append(count)
                world.heir.take_over()
                before.append(world.dump())

        world.victim.take_over()
        world.victim.checkpoint.at = replace_it
        try:
            reconcile.run(world.victim.tools)
            world.victim.work()
        except Fenced:
            assert before
        if before:
            assert world.dump() == before[1]
            n = before[0]
        assert world.heir.live() == []
        world.check_quiet()
        assert world.outcome() == expected
        if not before:
            return


# --- the tables ---


def test_every_operation_has_its_case() -> None:
    assert set(CASES) == set(OPERATIONS)


def test_step_names_are_unique() -> None:
    """The journal knows a step by its name."""
    for operation in OPERATIONS.values():
        names = [step.name for step in operation.steps]
        assert len(names) == len(set(names))


def test_an_operation_of_another_release(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    server = world.prepare(("create",))
    world.begin(server, "stop")
    with monkeypatch.context() as patch:
        patch.delitem(OPERATIONS, "stop")
        assert world.victim.live() == []
    world.settle(server.id, ACTIVE, cause="There is no operation stop any more.")


def test_a_release_with_fewer_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps that there are now were done before: it lands."""
    server = world.prepare(("create", "stop"))
    world.begin(server, "start")
    with monkeypatch.context() as patch:
        change(patch, "start", "start", kill_before(world))
        with pytest.raises(Killed):
            world.victim.live()
    with monkeypatch.context() as patch:
        patch.setitem(OPERATIONS, "start", Operation(OPERATIONS["start"].steps[:1]))
        world.heir.take_over()
        assert world.heir.work() == []
    assert world.server(server.id).vm_state == ACTIVE
    world.check_quiet()


def kill_before(world: World) -> Change:
    """The owner dies when the step begins."""

    def around(_do: Do) -> Do:
        def die(_work: Work) -> None:
            world.victim.checkpoint.dead = True
            raise Killed

        return die

    return around
