# SPDX-License-Identifier: Apache-2.0
"""The operations that ask a real Neutron for something: failing, and killed between any two writes, calls or requests.

What must be so in the end is tests/journal/test_crash.py's, and that each port is where its server is, or gone.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from computeapi.compute.operations import OPERATIONS
from computeapi.settings import Settings
from computeapi.virt.base import HypervisorError
from tests.journal import test_crash as crash
from tests.journal.neutrons import NeutronWorld
from tests.journal.world import Databases, opened

ASKING = (
    *("build", "delete", "attach_interface", "detach_interface", "reset_network", "shelve_offload", "unshelve"),
    *("move", "revert_move", "live_migrate", "evacuate", "clean_up"),
)
every_operation = pytest.mark.parametrize("operation", ASKING)
STEPS = [(name, step.name) for name in ASKING for step in OPERATIONS[name].steps]


@pytest.fixture
def world(settings: Settings, databases: dict[str, Databases]) -> Iterator[NeutronWorld]:
    """A cloud of one host, with a Neutron."""
    with opened(NeutronWorld, settings, databases) as world:
        yield world


@every_operation
def test_killed_anywhere(world: NeutronWorld, operation: str) -> None:
    crash.test_killed_anywhere(world, operation)


@every_operation
def test_killed_anywhere_while_undoing(world: NeutronWorld, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    crash.test_killed_anywhere_while_undoing(world, monkeypatch, operation)


@every_operation
def test_delete_overtakes_anywhere(world: NeutronWorld, operation: str) -> None:
    crash.test_delete_overtakes_anywhere(world, operation)


@every_operation
def test_delete_after_a_kill(world: NeutronWorld, operation: str) -> None:
    crash.test_delete_after_a_kill(world, operation)


@every_operation
def test_deleted_while_the_host_is_down(world: NeutronWorld, operation: str) -> None:
    crash.test_deleted_while_the_host_is_down(world, operation)


@pytest.mark.parametrize(("operation", "step"), STEPS, ids=[f"{name}-{step}" for name, step in STEPS])
def test_a_step_fails(world: NeutronWorld, monkeypatch: pytest.MonkeyPatch, operation: str, step: str) -> None:
    crash.test_a_step_fails(world, monkeypatch, operation, step, HypervisorError("the disk is full"))


@every_operation
def test_each_step_runs_twice(world: NeutronWorld, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    crash.test_each_step_runs_twice(world, monkeypatch, operation)
