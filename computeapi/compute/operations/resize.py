# SPDX-License-Identifier: Apache-2.0
"""Giving a server another flavor on its host; then its owner confirms that, or takes it back.

The disks are copied before they grow; the copies are the way back, and go with the confirmation. To another host: see
move, which has these steps too.

The migration's row has both flavors, and the payload its key. The server's row has the old flavor until all is done.
"""

from __future__ import annotations

from dataclasses import replace

from sqlalchemy import Connection, update

from computeapi import clock, moves, scheduler, states
from computeapi.compute import guest
from computeapi.compute.operation import Operation, Step, Work
from computeapi.compute.operations import build, places
from computeapi.compute.operations.rebuild import stay_off, switch_off
from computeapi.db.models import Server
from computeapi.db.queries import hosts, migrations
from computeapi.db.queries.migrations import MigrationRow
from computeapi.states import PowerState

_SWAP = "_disk.swap"  # how its volume's name ends


def migration(work: Work) -> MigrationRow:
    """What is to be done."""
    with work.tools.db.read() as conn:
        return migrations.get(conn, work.entry.payload["migration"])


def _as_new(work: Work) -> Work:
    """The work on the server as it shall be."""
    return replace(work, server=work.server._replace(**migration(work).new_flavor(work.server)), landing={})


def _as_old(work: Work) -> Work:
    """The work on the server as it was."""
    return replace(work, server=work.server._replace(**migration(work).old_flavor(work.server)), landing={})


def _kept_prefix(work: Work) -> str:
    return f"{guest.prefix(work.server.uuid)}kept_"


def kept_name(work: Work, volume: str) -> str:
    """The name of the copy of a volume."""
    return _kept_prefix(work) + volume.removeprefix(guest.prefix(work.server.uuid))


# --- the source's steps ---


def power_off(work: Work) -> None:
    """The guest is off, by its own doing where it obeys."""
    work.save(task_state=states.RESIZE_MIGRATING)
    switch_off(work)


def keep(work: Work) -> None:
    """Copies of all disks but swap."""
    for volume in copied(work):
        work.driver.snapshot(work.server.uuid, volume, kept_name(work, volume))


def copied(work: Work) -> list[str]:
    """The volumes that `keep` copies."""
    return [disk.volume for disk in guest.local_disks(work) if not disk.volume.endswith(_SWAP)]


def bring_back(work: Work) -> None:
    """The undo of `keep` and of what was done to the disks since: as they were, and no copies any more.

    One step, since the copies may go only when all is back.
    """
    if "disks" in work.entry.begun:
        restore(work)
    remove_kept(work)


def restore(work: Work) -> None:
    """The disks are what their copies are. A disk without a copy is back already."""
    volumes = set(work.driver.list_volumes())
    for disk in guest.local_disks(work):
        if kept_name(work, disk.volume) in volumes:
            work.driver.snapshot(work.server.uuid, kept_name(work, disk.volume), disk.volume)


def remove_kept(work: Work) -> None:
    """No copies any more."""
    work.driver.remove_volumes(_kept_prefix(work))


# --- the destination's steps ---


def grow_disks(work: Work) -> None:
    """The disks are as large as the new flavor says."""
    work.save(task_state=states.RESIZE_MIGRATED)
    for disk in guest.local_disks(_as_new(work)):
        if disk.size_gb:
            work.driver.resize_disk(disk.volume, disk.size_gb)


def define(work: Work) -> None:
    """The host knows the guest by its new size."""
    work.save(task_state=states.RESIZE_FINISH)
    build.define(_as_new(work))


def define_old(work: Work) -> None:
    """The host knows the guest by its old size."""
    build.define(_as_old(work))


def start(work: Work) -> None:
    """It runs, if it did before."""
    _start(work, work.server.vm_state)
    work.landing |= migration(work).new_flavor(work.server)


def _start(work: Work, vm_state: str) -> None:
    if vm_state == states.ACTIVE:
        work.driver.start(work.server.uuid)
        work.landing |= {"power_state": int(PowerState.RUNNING), "launched_at": clock.now(), "progress": 0}
    else:
        work.landing |= {"power_state": int(PowerState.SHUTDOWN), "progress": 0}


def switched(conn: Connection, work: Work) -> None:
    """What the server took is the old reservation, what was reserved is its own."""
    places.rename(conn, work, "current", "old")
    places.rename(conn, work, "new", "current")
    moment = clock.now()
    migrations.change(conn, work.entry.payload["migration"], status=migrations.FINISHED, switched_at=moment)


def not_switched(conn: Connection, work: Work) -> None:
    """What was reserved is free."""
    scheduler.release(conn, work.server.id, role="new")
    if work.entry.readable:
        migrations.change(conn, work.entry.payload["migration"], status=migrations.ERROR)


RESIZE = Operation(
    (
        Step("power_off", power_off, stay_off),
        Step("keep", keep, bring_back),
        Step("disks", grow_disks),
        Step("network", build.plug),
        Step("define", define, define_old),
        Step("start", start, stay_off),
    ),
    finished=switched,
    failed=not_switched,
)

# --- confirm ---


def confirm(work: Work) -> None:
    """There is no way back."""
    remove_kept(work)
    running = work.driver.state(work.server.uuid) == PowerState.RUNNING
    work.landing["vm_state"] = states.ACTIVE if running else states.STOPPED


def confirmed(conn: Connection, work: Work) -> None:
    """The old reservation is free, and so is the host that the server came from."""
    scheduler.release(conn, work.server.id, role="old")
    key = work.entry.payload["migration"]
    found = migrations.get(conn, key)
    if found.moved and found.source:
        shared = hosts.share_storage(conn, found.source, work.tools.host)
        moves.leave(conn, work.tools, work.context, work.server, found.source, disks=not shared)
    migrations.change(conn, key, status=migrations.CONFIRMED)


def not_confirmed(conn: Connection, work: Work) -> None:
    """What it took before stays its own until it moves again, or goes."""
    if work.entry.readable:
        migrations.change(conn, work.entry.payload["migration"], status=migrations.ERROR)


CONFIRM = Operation((Step("clean", confirm),), finished=confirmed, failed=not_confirmed)

# --- revert ---


def start_old(work: Work) -> None:
    """It runs, if it did before the resize."""
    old = migration(work)
    vm_state = old.old_vm_state or states.ACTIVE
    _start(work, vm_state)
    work.landing |= {"vm_state": vm_state, **old.old_flavor(work.server)}


def reverted(conn: Connection, work: Work) -> None:
    """The old reservation is the server's again."""
    scheduler.release(conn, work.server.id, role="current")
    places.rename(conn, work, "old", "current")
    moment = clock.now()
    migrations.change(conn, work.entry.payload["migration"], status=migrations.REVERTED, reverted_at=moment)


def not_reverted(conn: Connection, work: Work) -> None:
    """Once its disks are the old ones, the server has the old flavor, though it may not run."""
    if "clean" in work.entry.done:
        conn.execute(update(Server).where(Server.id == work.server.id).values(**migrations_old(conn, work)))
        reverted(conn, work)
    elif work.entry.readable:
        migrations.change(conn, work.entry.payload["migration"], status=migrations.ERROR)


def migrations_old(conn: Connection, work: Work) -> dict[str, object]:
    """The columns of the old flavor."""
    return migrations.get(conn, work.entry.payload["migration"]).old_flavor(work.server)


REVERT = Operation(
    (
        Step("power_off", switch_off),
        Step("disks", restore),
        Step("clean", remove_kept),
        Step("network", build.plug),
        Step("define", define_old),
        Step("start", start_old),
    ),
    finished=reverted,
    failed=not_reverted,
)
