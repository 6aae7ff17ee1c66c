# SPDX-License-Identifier: Apache-2.0
"""What a host can't make as the rows say, and why: for operators. Its compute service writes it down as it changes.

{kind: [{"what", "why", "since"}]} in hosts.faults_json; a kind is there for as long as it has any.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, select, update

from computeapi import clock
from computeapi.db.models import Host

FIREWALL, NETWORKS = KINDS = ("firewall", "networks")
Faults = dict[str, list[dict[str, str]]]


def of_host(conn: Connection, host: str) -> Faults:
    """All of a host."""
    return read(conn.execute(select(Host.faults_json).where(Host.name == host)).scalar())


def read(column: str | None) -> Faults:
    """What the column says."""
    found: Faults = orjson.loads(column or "{}")
    return found


def is_same(faults: Faults, kind: str, found: Mapping[str, str]) -> bool:
    """Whether these (what: why) are those of that kind."""
    return {each["what"]: each["why"] for each in faults.get(kind, ())} == dict(found)


def write(conn: Connection, host: str, epoch: int, kind: str, found: Mapping[str, str]) -> bool:
    """These are the faults of that kind; False where the host has another owner."""
    mine = (Host.name == host) & (Host.epoch == epoch)
    column = conn.execute(select(Host.faults_json).where(mine).with_for_update()).scalar()
    if column is None:
        return False
    faults, moment = read(column), clock.now()
    since = {each["what"]: each["since"] for each in faults.pop(kind, ())}
    rows: list[dict[str, Any]] = [
        {"what": what, "why": why, "since": since.get(what, moment)} for what, why in sorted(found.items())
    ]
    if rows:
        faults[kind] = rows
    conn.execute(update(Host).where(mine).values(faults_json=orjson.dumps(faults).decode()))
    return True
