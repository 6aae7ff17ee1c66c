# SPDX-License-Identifier: Apache-2.0
"""Every operation on volumes, with each step failing, run twice, and killed between any two writes or calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
from sqlalchemy import select

from computeapi import errors, journal
from computeapi.backends.volume.base import NewVolume
from computeapi.backends.volume.embedded import EmbeddedVolumes
from computeapi.compute.operation import VolumeWork
from computeapi.compute.operations import VOLUME_OPERATIONS
from computeapi.db.models import Volume, VolumeSnapshot
from computeapi.virt.base import HypervisorError, HypervisorGone
from tests.journal import test_crash
from tests.journal.test_crash import kill_everywhere
from tests.journal.world import IMAGE_ID, World

GONE = "(gone)"


def service(world: World) -> EmbeddedVolumes:
    """The cloud's volumes."""
    assert isinstance(world.services.volumes, EmbeddedVolumes)
    return world.services.volumes


def make(world: World, **new: str) -> str:
    """A volume to be; its id."""
    return service(world).create(world.context, NewVolume(1, name="data", **new)).id


def made(world: World, **new: str) -> str:
    """A volume that is there; its id."""
    volume_id = make(world, **new)
    assert world.heir.reborn().live() == []
    assert service(world).show(world.context, volume_id).status == "available"
    return volume_id


def snapped(world: World) -> str:
    """A volume's snapshot that is there; its id."""
    snapshot = service(world).create_snapshot(world.context, made(world), "moment", None)
    assert world.heir.reborn().live() == []
    assert service(world).show_snapshot(world.context, snapshot.id).status == "available"
    return snapshot.id


def extend(world: World) -> str:
    """A volume that grows."""
    volume_id = made(world)
    service(world).extend(world.context, volume_id, 2)
    return volume_id


def revert(world: World) -> str:
    """A volume that goes back to its snapshot."""
    snapshot_id = snapped(world)
    volume_id = service(world).show_snapshot(world.context, snapshot_id).volume_id
    service(world).revert(world.context, volume_id, snapshot_id)
    return volume_id


def delete(world: World) -> str:
    """A volume that goes."""
    volume_id = made(world)
    service(world).delete(world.context, volume_id)
    return volume_id


def upload(world: World) -> str:
    """A volume that becomes an image."""
    volume_id = made(world)
    service(world).upload_to_image(world.context, volume_id, world.images.create())
    return volume_id


def take(world: World) -> str:
    """A snapshot that is being made."""
    return service(world).create_snapshot(world.context, made(world), "moment", None).id


def forget(world: World) -> str:
    """A snapshot that goes."""
    snapshot_id = snapped(world)
    service(world).delete_snapshot(world.context, snapshot_id)
    return snapshot_id


@dataclass(frozen=True)
class Case:
    """What begins it, and the status in which it ends."""

    operation: str
    start: Callable[[World], str]
    lands: str = "available"
    fails: str = "error"


CASES = {
    "blank": Case("volume_create", make),
    "image": Case("volume_create", lambda world: make(world, image_id=IMAGE_ID)),
    "from snapshot": Case("volume_create", lambda world: make(world, snapshot_id=snapped(world))),
    "from volume": Case("volume_create", lambda world: make(world, source_volume_id=made(world))),
    "delete": Case("volume_delete", delete, GONE, "error_deleting"),
    "extend": Case("volume_extend", extend, fails="error_extending"),
    "revert": Case("volume_revert", revert),
    "upload": Case("volume_upload", upload, fails="available"),
    "snapshot": Case("volume_snapshot_create", take),
    "delete snapshot": Case("volume_snapshot_delete", forget, GONE, "error_deleting"),
}
STEPS = [(name, step.name) for name, case in CASES.items() for step in VOLUME_OPERATIONS[case.operation].steps]
every_case = pytest.mark.parametrize("name", CASES)
every_step = pytest.mark.parametrize(("name", "step"), STEPS, ids=[f"{name}-{step}" for name, step in STEPS])


def status(world: World, thing: str) -> str:
    """Of a volume or snapshot."""
    with world.db.read() as conn:
        for model in (Volume, VolumeSnapshot):
            found = conn.execute(select(model.status).where(model.uuid == thing)).scalar()
            if found is not None:
                return str(found)
    return GONE


def check(world: World, thing: str, wanted: str) -> None:
    """It is there, its file too, and nobody is at it; and where it is gone, or was not made, nothing is left."""
    world.check_quiet()
    assert status(world, thing) == wanted
    with world.db.read() as conn:
        whole = select(Volume.uuid).where(Volume.status.in_(["available", "error_extending", "error_deleting"]))
        files = {f"volume-{each}" for each in conn.execute(whole).scalars()}
        half = select(Volume.uuid).where(Volume.status == "error", Volume.uuid.in_(select(VolumeSnapshot.volume_id)))
        files |= {f"volume-{each}" for each in conn.execute(half).scalars()}  # what it holds is not known any more
        whole = select(VolumeSnapshot.uuid).where(VolumeSnapshot.status.in_(["available", "error_deleting"]))
        files |= {f"snapshot-{each}" for each in conn.execute(whole).scalars()}
    there = {name for name in world.driver.list_volumes() if not name.startswith("base_")}
    if wanted == "error_deleting":  # it may have gone before that failed
        files -= {name for name in files if thing in name and name not in there}
    assert there == files


def around(
    monkeypatch: pytest.MonkeyPatch, operation: str, step: str, do: Callable[[Callable[[], None]], None]
) -> None:
    """Put something around what a step does."""

    def wrapped(old: Callable[[VolumeWork], None]) -> Callable[[VolumeWork], None]:
        return lambda work: do(lambda: old(work))

    old = VOLUME_OPERATIONS[operation]
    steps = tuple(replace(each, do=wrapped(each.do)) if each.name == step else each for each in old.steps)
    monkeypatch.setitem(VOLUME_OPERATIONS, operation, replace(old, steps=steps))


@pytest.mark.parametrize("after", [False, True])
@every_step
def test_a_step_fails(world: World, monkeypatch: pytest.MonkeyPatch, name: str, step: str, after: bool) -> None:
    case = CASES[name]
    thing = case.start(world)

    def fail(do: Callable[[], None]) -> None:
        if after:
            do()
        raise HypervisorError("the disk is full")

    with monkeypatch.context() as patch:
        around(patch, case.operation, step, fail)
        assert world.victim.live() == []
    check(world, thing, case.fails)


@every_step
def test_what_passes_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch, name: str, step: str) -> None:
    case = CASES[name]
    thing = case.start(world)
    left = [HypervisorGone("away"), errors.Unavailable("away")]

    def fail(do: Callable[[], None]) -> None:
        if left:
            raise left.pop()
        do()

    with monkeypatch.context() as patch:
        around(patch, case.operation, step, fail)
        assert [each.counts for each in world.victim.live()] == [True, True]
    check(world, thing, case.lands)


@every_case
def test_each_step_runs_twice(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = CASES[name]
    thing = case.start(world)

    def twice(do: Callable[[], None]) -> None:
        do()
        do()

    with monkeypatch.context() as patch:
        for step in VOLUME_OPERATIONS[case.operation].steps:
            around(patch, case.operation, step.name, twice)
        assert world.victim.live() == []
    check(world, thing, case.lands)


@every_case
def test_killed_anywhere(world: World, name: str) -> None:
    """One kill costs nothing but time."""
    case = CASES[name]
    thing = case.start(world)
    beginning = world.snapshot()
    assert world.victim.reborn().live() == []
    expected = world.outcome()
    world.restore(beginning)

    def look(_n: int) -> None:
        assert world.heir.live() == []
        check(world, thing, case.lands)
        assert world.outcome() == expected

    assert kill_everywhere(world, look) > 2


@every_case
def test_killed_anywhere_while_undoing(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = CASES[name]
    thing = case.start(world)

    def fail(do: Callable[[], None]) -> None:
        do()
        raise HypervisorError("the disk is full")

    with monkeypatch.context() as patch:
        around(patch, case.operation, VOLUME_OPERATIONS[case.operation].steps[-1].name, fail)

        def look(_n: int) -> None:
            assert world.heir.live() == []
            check(world, thing, case.fails)

        kill_everywhere(world, look)


@every_case
def test_each_call_of_the_hypervisor_fails(world: World, name: str) -> None:
    """Always: what no undo could remove, the delete removes."""
    case = CASES[name]
    thing = case.start(world)
    beginning = world.snapshot()
    assert world.victim.reborn().live() == []
    for method in sorted(set(world.victim.driver.calls) - {"list_guests"}):
        world.restore(beginning)
        world.victim.driver.always[method] = HypervisorError(f"no {method}")
        assert world.victim.live() == []
        world.check_quiet()
        assert status(world, thing) == case.fails


_VOLUME = {"destination_type": "volume", "size_gb": 1, "delete_on_termination": 1}
_DEVICES = [
    {**_VOLUME, "source_type": "blank", "device_name": "/dev/vdy", "image_id": None},
    {**_VOLUME, "source_type": "image", "device_name": "/dev/vdz", "image_id": IMAGE_ID},
]


@pytest.mark.parametrize(
    "check",
    [
        test_crash.test_killed_anywhere,
        test_crash.test_delete_overtakes_anywhere,
        test_crash.test_delete_after_a_kill,
        test_crash.test_deleted_while_the_host_is_down,
        test_crash.test_an_owner_that_was_replaced_writes_nothing,
    ],
)
@pytest.mark.parametrize("operation", ["build", "delete"])
def test_a_server_with_volumes(world: World, operation: str, check: Callable[[World, str], None]) -> None:
    """They are made by its build, and go with it; nothing is left of them, whatever comes in between."""
    world.devices = _DEVICES
    check(world, operation)


def test_a_server_with_volumes_and_a_hypervisor_that_refuses(world: World) -> None:
    """Each call of a build."""
    world.devices = _DEVICES
    test_crash.test_each_call_of_the_hypervisor_fails(world, "build")


def test_a_volume_that_cannot_be_removed_stays_behind(world: World) -> None:
    """Its server is deleted all the same, and the volume's owner may delete it again."""
    world.devices = _DEVICES
    server = test_crash.begin(world, test_crash.CASES["delete"])
    world.victim.driver.always["remove_volume"] = HypervisorError("busy")
    assert world.victim.live() == []
    assert world.server(server.id).deleted == 1
    with world.db.read() as conn:
        assert set(conn.execute(select(Volume.status)).scalars()) == {"error_deleting"}
    world.victim.driver.always.clear()
    world.remove(world.server(server.id))


def test_every_operation_has_its_case() -> None:
    assert {case.operation for case in CASES.values()} == set(VOLUME_OPERATIONS)


def test_an_operation_of_another_release(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    thing = extend(world)
    with monkeypatch.context() as patch:
        patch.delitem(VOLUME_OPERATIONS, "volume_extend")
        assert world.victim.live() == []
    world.check_quiet()
    assert status(world, thing) == "error_extending"


def test_a_server_and_a_volume_of_the_same_key_do_not_wait_for_each_other(world: World) -> None:
    server, volume_id = world.create(), make(world)
    with world.db.read() as conn:
        assert conn.execute(select(Volume.id).where(Volume.uuid == volume_id)).scalar() == server.id
    world.victim.take_over()
    with world.db.read() as conn:
        lanes = [lane for _, lane in journal.candidates(conn, "host1", 10, 10)]
    assert sorted(lanes, key=str) == sorted([server.id, -server.id], key=str)
