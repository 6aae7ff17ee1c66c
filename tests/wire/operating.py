# SPDX-License-Identifier: Apache-2.0
"""What tests of the operator's half share."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from sqlalchemy import insert, update

from computeapi.db.engine import Database
from computeapi.db.models import Host, Project
from tests.conftest import Api

NOBODY = ("reader", "member", "manager")  # roles that may do nothing of this
LONG_AGO = "2020-01-01T00:00:00.000000"


def refused(answer: Any, status: int) -> str:
    """The sentence of a fault, which has this status."""
    assert answer.status_code == status, answer.text
    (fault,) = answer.json.values()
    assert fault["code"] == status
    return str(fault["message"])


def for_admins_only(api: Api, method: str, path: str, body: Any = None) -> None:
    """403 for all other roles, whatever the project; 401 for nobody."""
    for role in NOBODY:
        for project_id in (api.project_id, None):
            answer = api.become(role, project_id=project_id).request(method, path, body)
            assert answer.status_code == 403, (role, answer.text)
    assert api.request(method, path, body, headers={"X-Auth-Token": ""}).status_code == 401


def set_host(db: Database, name: str, **columns: Any) -> None:
    """Change columns of a host's row."""
    with db.write() as conn:
        assert conn.execute(update(Host).where(Host.name == name).values(**columns)).rowcount == 1


def add_project(db: Database, project_id: str | None = None) -> str:
    """A project that the embedded identity service knows; its id."""
    project_id = project_id or uuid.uuid4().hex
    with db.write() as conn:
        conn.execute(insert(Project).values(id=project_id, name=project_id, domain_id="default"))
    return project_id


HOSTILE_IDS = (
    "0",
    "-1",
    "99",
    "9" * 30,
    "x",
    "%25",
    "é",
    "'%20or%201=1--",
    "..",
    "1.5",
    "1%20",
    "%00",
    "٣",
)
hostile_ids = pytest.mark.parametrize("identifier", HOSTILE_IDS)
