# SPDX-License-Identifier: Apache-2.0
"""Statements on builds of guest agents."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, delete, insert, select, update

from computeapi import errors
from computeapi.db.models import Agent
from computeapi.db.queries.common import insert_key


class AgentRow(NamedTuple):
    """An agent build."""

    id: int
    hypervisor: str
    os: str
    architecture: str
    version: str
    url: str
    md5hash: str


_ALL = select(
    Agent.id, Agent.hypervisor, Agent.os, Agent.architecture, Agent.version, Agent.url, Agent.md5hash
).order_by(Agent.id)


def every(conn: Connection, hypervisor: str | None) -> list[AgentRow]:
    """The builds for a hypervisor (None: for any), by id."""
    statement = _ALL if hypervisor is None else _ALL.where(Agent.hypervisor == hypervisor)
    return [AgentRow._make(row) for row in conn.execute(statement)]


def create(conn: Connection, values: dict[str, str]) -> int:
    """A new build; its id. Ask after `Database.lock(conn, "agents")`. Raises Conflict (AgentBuildExists)."""
    kind = {name: values[name] for name in ("hypervisor", "os", "architecture")}
    if conn.execute(select(Agent.id).filter_by(**kind)).first() is not None:
        raise errors.Conflict(
            f"Agent-build with hypervisor {kind['hypervisor']} os {kind['os']} "
            f"architecture {kind['architecture']} exists."
        )
    return insert_key(conn, insert(Agent).values(**values))


def change(conn: Connection, identifier: int, values: dict[str, str]) -> None:
    """Change a build. Raises NotFound (AgentBuildNotFound)."""
    _found(conn.execute(update(Agent).where(Agent.id == _key(identifier)).values(**values)).rowcount, identifier)


def remove(conn: Connection, identifier: int) -> None:
    """Delete a build. Raises NotFound (AgentBuildNotFound)."""
    _found(conn.execute(delete(Agent).where(Agent.id == _key(identifier))).rowcount, identifier)


def _key(identifier: int) -> int:
    return identifier if 0 < identifier < 2**63 else 0


def _found(count: int, identifier: int) -> None:
    if not count:
        raise errors.NotFound(f"No agent-build associated with id {identifier}.")
