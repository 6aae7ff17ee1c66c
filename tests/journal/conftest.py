# SPDX-License-Identifier: Apache-2.0
"""The journal's tests are given a World."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from computeapi.compute import guest
from computeapi.compute.operation import Work
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.journal.world import World


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits before it looks or tries again need not wait here."""
    pause = Work.pause
    monkeypatch.setattr(Work, "pause", lambda work, _seconds: pause(work, 0))


@pytest.fixture(autouse=True)
def no_iso(monkeypatch: pytest.MonkeyPatch) -> None:
    """Config drives are the tests' in tests/virt; making one takes as long as half a build."""
    monkeypatch.setattr(guest, "config_drive", lambda _work: b"iso")


@pytest.fixture
def world(settings: Settings, db: Database) -> Iterator[World]:
    """A cloud of one host."""
    world = World(settings, db)
    yield world
    world.close()
