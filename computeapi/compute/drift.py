# SPDX-License-Identifier: Apache-2.0
"""All that differs between the database and a host, for an operator who asks; and what can safely be set right.

The compute service sets guests' states and the counters right by itself, every half minute. Disks it leaves alone:
those of servers that are deleted go on request, those of servers that nobody knows never do. Disks that should be
there and are not are told: nobody can make them again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sqlalchemy import exists, select

from computeapi import states
from computeapi.compute import guest, reconcile, sweeps
from computeapi.compute.operation import Tools
from computeapi.compute.reconcile import Fix
from computeapi.db.models import Action, Server, Volume

_OF_SERVER = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_.+")
_WITH_DISK = (states.ACTIVE, states.STOPPED, states.PAUSED, states.SUSPENDED, states.RESIZED, states.RESCUED)


@dataclass(frozen=True, slots=True)
class Drift:
    """What differs. `strangers` are guests, and `unknown` disks, of servers that the database does not know.

    `missing` are disks that should be here, each with whose it is; `elsewhere` guests that are here and whose server is
    another host's, with that host.
    """

    fixes: list[Fix]
    strangers: list[str]
    leftovers: list[str]  # disks of servers that are deleted
    unknown: list[str]
    missing: list[tuple[str, str]]
    elsewhere: list[tuple[str, str]]
    counted: sweeps.Counters
    allocated: sweeps.Counters

    @property
    def is_none(self) -> bool:
        """Whether all is as it should be."""
        found = self.fixes or self.strangers or self.leftovers or self.unknown or self.missing or self.elsewhere
        return not found and self.counted == self.allocated


def look(tools: Tools) -> Drift:
    """What differs on this host. Nothing is changed. Raises HypervisorError, Fenced."""
    fixes, strangers = reconcile.look(tools)
    expected = _expected(tools)
    volumes = tools.driver.list_volumes()
    names = [(found[1], name) for name in volumes if (found := _OF_SERVER.fullmatch(name))]
    with tools.db.read() as conn:
        rows = conn.execute(
            select(Server.uuid, Server.deleted, exists().where(Action.lane == Server.id)).where(
                Server.uuid.in_({uuid for uuid, _name in names})
            )
        ).all()
    with tools.db.write() as conn:
        counted, allocated = sweeps.counters(conn, tools)
    # What came or went while the host was asked is no drift.
    missing = (expected.items() & _expected(tools).items()) - {(name, expected.get(name, "")) for name in volumes}
    known = {row[0] for row in rows}
    gone = {uuid for uuid, deleted, busy in rows if deleted and not busy}
    return Drift(
        fixes,
        strangers,
        [name for uuid, name in names if uuid in gone],
        [name for uuid, name in names if uuid not in known],
        sorted(missing),
        _elsewhere(tools),
        counted,
        allocated,
    )


def _expected(tools: Tools) -> dict[str, str]:
    """Whose each disk is that should be here, by its name; not where work is open that makes or removes it."""
    with tools.db.read() as conn:
        servers = conn.execute(
            select(Server.uuid).where(
                Server.host == tools.host,
                Server.deleted == 0,
                Server.image_id != "",
                Server.vm_state.in_(_WITH_DISK),
                ~exists().where(Action.lane == Server.id),
            )
        ).scalars()
        found = {guest.root_disk_name(uuid): f"server {uuid}" for uuid in servers}
        volumes = conn.execute(
            select(Volume.uuid).where(
                Volume.host == tools.host,
                Volume.status.in_(("available", "in-use")),
                ~exists().where(Action.lane == -Volume.id),
            )
        ).scalars()
        return found | {f"volume-{uuid}": f"volume {uuid}" for uuid in volumes}


def _elsewhere(tools: Tools) -> list[tuple[str, str]]:
    """Not those that are on their way, wait to be confirmed, or are about to be cleaned up."""
    guests = list(tools.driver.list_guests())
    with tools.db.read() as conn:
        rows = conn.execute(
            select(Server.uuid, Server.host)
            .where(Server.uuid.in_(guests), Server.deleted == 0, Server.host != tools.host)
            .where(Server.vm_state != states.RESIZED)
            .where(~exists().where(Action.server_id == Server.id, Action.queue.is_not(None), Action.hidden == 0))
            .order_by(Server.uuid)
        )
        return [(uuid, str(host)) for uuid, host in rows]


def mend(tools: Tools) -> list[str]:
    """Set right what can be: guests, counters, disks of deleted servers. What was done, in words."""
    done = [f"server {fix.server.uuid}: {fix.why}" for fix in reconcile.run(tools)]
    if sweeps.mend_counters(tools):
        done.append(f"counters of {tools.host}")
    for name in look(tools).leftovers:
        tools.driver.remove_volume(name)
        done.append(f"disk {name} removed")
    return done
