# SPDX-License-Identifier: Apache-2.0
"""All that differs between the database and a host, for an operator who asks; and what can safely be set right.

The compute service sets guests' states and the counters right by itself, every half minute. Disks it leaves alone:
those of servers that are deleted go on request, those of servers that nobody knows never do.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import exists, select

from computeapi.compute import reconcile, sweeps
from computeapi.compute.operation import Tools
from computeapi.compute.reconcile import Fix
from computeapi.db.models import Action, Server

_OF_SERVER = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_.+")


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs. `strangers` are guests, and `unknown` disks, of servers that the database does not know."""

    fixes: list[Fix]
    strangers: list[str]
    leftovers: list[str]  # disks of servers that are deleted
    unknown: list[str]
    counted: sweeps.Counters
    allocated: sweeps.Counters

    @property
    def is_none(self) -> bool:
        """Whether all is as it should be."""
        found = self.fixes or self.strangers or self.leftovers or self.unknown
        return not found and self.counted == self.allocated


def look(tools: Tools) -> Drift:
    """What differs on this host. Nothing is changed. Raises HypervisorError, Fenced."""
    fixes, strangers = reconcile.look(tools)
    names = [(found[1], name) for name in tools.driver.list_volumes() if (found := _OF_SERVER.fullmatch(name))]
    with tools.db.read() as conn:
        rows = conn.execute(
            select(Server.uuid, Server.deleted, exists().where(Action.lane == Server.id)).where(
                Server.uuid.in_({uuid for uuid, _name in names})
            )
        ).all()
    with tools.db.write() as conn:
        counted, allocated = sweeps.counters(conn, tools)
    known = {row[0] for row in rows}
    gone = {uuid for uuid, deleted, busy in rows if deleted and not busy}
    return Drift(
        fixes,
        strangers,
        [name for uuid, name in names if uuid in gone],
        [name for uuid, name in names if uuid not in known],
        counted,
        allocated,
    )


def mend(tools: Tools) -> list[str]:
    """Set right what can be: guests, counters, disks of deleted servers. What was done, in words."""
    done = [f"server {fix.server.uuid}: {fix.why}" for fix in reconcile.run(tools)]
    if sweeps.mend_counters(tools):
        done.append(f"counters of {tools.host}")
    for name in look(tools).leftovers:
        tools.driver.remove_volume(name)
        done.append(f"disk {name} removed")
    return done
