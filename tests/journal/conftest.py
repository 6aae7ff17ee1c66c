# SPDX-License-Identifier: Apache-2.0
"""The journal's tests are given a World."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from computeapi.compute import guest
from computeapi.compute.operation import Work
from computeapi.settings import Settings
from tests.databases import Engine
from tests.journal.world import Databases, World, opened


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits before it looks or tries again need not wait here."""
    pause = Work.pause
    monkeypatch.setattr(Work, "pause", lambda work, _seconds: pause(work, 0))


@pytest.fixture(autouse=True)
def no_iso(monkeypatch: pytest.MonkeyPatch) -> None:
    """Config drives are the tests' in tests/virt; making one takes as long as half a build."""
    monkeypatch.setattr(guest, "config_drive", lambda _work: b"iso")


@pytest.fixture(scope="session")
def journal_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the database is, if it is a file."""
    return tmp_path_factory.mktemp("journal")


@pytest.fixture
def database_url(database_engine: Engine, journal_directory: Path) -> str:
    """The URL of an empty database: the same for all these tests."""
    for old in journal_directory.glob("computeapi.db*"):  # a killed process leaves its journal
        old.unlink()
    return database_engine.new(journal_directory)


@pytest.fixture(scope="session")
def databases() -> Iterator[dict[str, Databases]]:
    """By URL."""
    found: dict[str, Databases] = {}
    yield found
    for each in found.values():
        each.close()


@pytest.fixture
def world(settings: Settings, databases: dict[str, Databases]) -> Iterator[World]:
    """A cloud of one host."""
    with opened(World, settings, databases) as world:
        yield world
