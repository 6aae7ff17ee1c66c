# SPDX-License-Identifier: Apache-2.0
"""A disk that is full under the database: it is said, nothing is half there, and it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.errors import DiskFull
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from computeapi.db.engine import Database, why_away
from tests.conftest import Api
from tests.wire.conftest import MakeServer

FULL = "The database can't write, since its disk is full"


@contextmanager
def full(db: Database) -> Iterator[None]:
    """SQLite may have no page more than it has, over whichever connection."""
    if not db.is_sqlite:
        pytest.skip("a page count is SQLite's")

    def limit(dbapi: Any, *_: Any) -> None:
        dbapi.execute("PRAGMA max_page_count = 1")  # what it has is the least

    def free(dbapi: Any, *_: Any) -> None:
        dbapi.execute(f"PRAGMA max_page_count = {2**30}")

    event.listen(db.engine, "checkout", limit)
    event.listen(db.engine, "checkin", free)
    try:
        yield
    finally:
        event.remove(db.engine, "checkout", limit)
        event.remove(db.engine, "checkin", free)


def test_the_databases_disk_is_full(db: Database, api: Api, make_server: MakeServer) -> None:
    path = f"/servers/{make_server().uuid}/metadata"
    much = {"metadata": {f"key{number}": "x" * 255 for number in range(100)}}
    with full(db):
        answer = api.post(path, much)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert answer.json == {"serviceUnavailable": {"code": 503, "message": f"{FULL}; try again later."}}
        assert api.get(path).json == {"metadata": {}}
    assert api.post(path, much).json == much


def test_postgresql_says_it_too() -> None:
    assert why_away(OperationalError("INSERT …", {}, DiskFull("could not extend file"))) == FULL
