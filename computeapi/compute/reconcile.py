# SPDX-License-Identifier: Apache-2.0
"""Sets right what differs between the database and the hypervisor, which is the truth about power.

`plan()` decides without touching anything; `run()` carries it out. Servers with open work are left alone: their work
decides. Guests whose server is not in the database at all are reported, never touched: a database restored from an
older backup must not cost anybody a guest.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import select, update

from computeapi import clock, journal, lifecycle, states
from computeapi.compute.operation import Tools
from computeapi.db.engine import Database
from computeapi.db.models import Action, Host, Server
from computeapi.db.queries import console_tokens
from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound, Hypervisor, HypervisorError

LOG = logging.getLogger("computeapi.compute")


class Known(NamedTuple):
    """A server as the database has it."""

    id: int
    uuid: str
    vm_state: str
    power_state: int
    host: str | None
    deleted: int
    updated_at: str = ""


@dataclass(frozen=True, slots=True)
class Fix:
    """One difference: what it is, and what shall be."""

    server: Known
    why: str
    vm_state: str | None = None  # None: as it is
    power_state: PowerState = PowerState.NOSTATE
    fault: str | None = None
    remove_guest: bool = False


# vm_state → what the guest does → the vm_state that this means. Not named: nothing to set right.
_TRUTH: dict[str, dict[PowerState, str]] = {
    states.ACTIVE: {
        PowerState.SHUTDOWN: states.STOPPED,
        PowerState.CRASHED: states.STOPPED,
        PowerState.PAUSED: states.PAUSED,
        PowerState.SUSPENDED: states.SUSPENDED,
    },
    states.STOPPED: {PowerState.RUNNING: states.ACTIVE, PowerState.PAUSED: states.PAUSED},
    states.PAUSED: {
        PowerState.RUNNING: states.ACTIVE,
        PowerState.SHUTDOWN: states.STOPPED,
        PowerState.CRASHED: states.STOPPED,
    },
    states.SUSPENDED: {PowerState.RUNNING: states.ACTIVE, PowerState.SHUTDOWN: states.STOPPED},
}

_WITH_GUEST = (states.ACTIVE, states.STOPPED, states.PAUSED, states.SUSPENDED)


def plan(host: str, known: Iterable[Known], guests: Mapping[str, PowerState]) -> list[Fix]:
    """What to set right on `host`. Pure: the table test in tests/journal is its specification."""
    fixes: list[Fix] = []
    for server in known:
        guest = guests.get(server.uuid)
        if server.deleted or server.host != host:
            if guest is not None and server.deleted:
                fixes.append(Fix(server, "deleted while its host was down", remove_guest=True))
            continue
        if guest is None:
            if server.vm_state in _WITH_GUEST:
                fault = "The guest is missing on its host; a hard reboot makes it anew from its disk."
                fixes.append(Fix(server, "its guest is missing", states.ERROR, fault=fault))
            continue
        vm_state = _TRUTH.get(server.vm_state, {}).get(guest)
        if vm_state or server.power_state != guest:
            fixes.append(Fix(server, f"its guest is {guest.name}", vm_state, guest))
    return fixes


_KNOWN = select(
    Server.id, Server.uuid, Server.vm_state, Server.power_state, Server.host, Server.deleted, Server.updated_at
)


def look(tools: Tools) -> tuple[list[Fix], list[str]]:
    """What differs on this host, and the guests that the database does not know. Nothing is changed."""
    known = _look_up(tools, Server.host == tools.host, Server.deleted == 0)
    guests = tools.driver.list_guests()  # after the rows: what happens in between shows in updated_at
    known += _look_up(tools, Server.uuid.in_(set(guests) - {server.uuid for server in known}))
    return plan(tools.host, known, guests), sorted(set(guests) - {server.uuid for server in known})


def run(tools: Tools) -> list[Fix]:
    """Set right all of this host; what was done."""
    fixes, strangers = look(tools)
    for stranger in strangers:
        LOG.warning("guest %s is on this host but not in the database; left alone", stranger)
    return _carry_out(tools, fixes)


def owner_before(db: Database, host: str, driver: Hypervisor) -> str | None:
    """Of a host that the database does not know yet: the host that has the guests found here by the database."""
    with db.read() as conn:
        if conn.execute(select(Host.id).where(Host.name == host)).first():
            return None
    guests = list(driver.list_guests())
    theirs = select(Server.host).where(Server.uuid.in_(guests), Server.host.is_not(None), Server.deleted == 0)
    with db.read() as conn:
        return conn.execute(theirs.limit(1)).scalar()


def one(tools: Tools, uuid: str) -> list[Fix]:
    """The same for one server, after an event."""
    known = _look_up(tools, Server.uuid == uuid)
    try:
        guests = {uuid: tools.driver.state(uuid)}
    except DomainNotFound:
        guests = {}
    return _carry_out(tools, plan(tools.host, known, guests))


def _look_up(tools: Tools, *conditions: Any) -> list[Known]:
    with tools.db.read() as conn:
        return [Known._make(row) for row in conn.execute(_KNOWN.where(*conditions))]


def _carry_out(tools: Tools, fixes: list[Fix]) -> list[Fix]:
    done = []
    for fix in fixes:
        try:
            if _remove(tools, fix) if fix.remove_guest else _write(tools, fix):
                done.append(fix)
        except HypervisorError as error:  # the others shall not wait for this one
            LOG.warning("server %s: %s; not set right: %s", fix.server.uuid, fix.why, error)
    for fix in done:
        LOG.info("server %s: %s; set right", fix.server.uuid, fix.why, extra={"server": fix.server.uuid})
    return done


def _remove(tools: Tools, fix: Fix) -> bool:
    """Only where no work is open that will do it anyway, or may be at it."""
    with tools.db.read() as conn:
        if journal.is_busy(conn, fix.server.id):
            return False
    tools.driver.undefine(fix.server.uuid)
    tools.driver.remove_volumes(f"{fix.server.uuid}_")
    return True


def _write(tools: Tools, fix: Fix) -> bool:
    """Only where the server still is as it was looked at, and nobody works on it. Raises Fenced."""
    values: dict[str, object] = {"power_state": int(fix.power_state), "updated_at": clock.now()}
    if fix.vm_state:
        values["vm_state"] = fix.vm_state
    if fix.fault:
        values["fault_json"] = lifecycle.make_fault(500, fix.fault)
    open_work = select(Action.id).where(Action.lane == fix.server.id).exists()
    with tools.db.write() as conn:
        written = conn.execute(
            update(Server)
            .where(
                Server.id == fix.server.id,
                Server.updated_at == fix.server.updated_at,
                Server.task_state.is_(None),
                Server.deleted == 0,
                ~open_work,
            )
            .values(**values)
        )
        if not journal.owns(conn, tools.host, tools.epoch):
            raise journal.Fenced(f"host {tools.host}")
        if written.rowcount and fix.power_state in states.OFF:
            console_tokens.drop(conn, fix.server.id)
    return written.rowcount == 1
