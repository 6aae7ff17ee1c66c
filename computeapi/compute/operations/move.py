# SPDX-License-Identifier: Apache-2.0
"""Giving a switched-off server to another host, with another flavor or the same; then its owner confirms that, or takes
it back.

Without shared storage flat copies of the disks go to the destination, and the source keeps the disks as they were: the
way back. On shared storage the copies stay, and are the way back (as in a resize on the same host).
"""

from __future__ import annotations

from sqlalchemy import Connection

from computeapi import clock, lifecycle, scheduler, states
from computeapi.compute.operation import DESTINATION, SOURCE, Operation, Step, Work
from computeapi.compute.operations import build, places, resize
from computeapi.compute.operations.rebuild import stay_off, switch_off
from computeapi.db.queries import migrations


def bring_back(work: Work) -> None:
    """No copies any more; on shared storage the disks are as they were before."""
    if places.is_shared(work):
        resize.bring_back(work)
    else:
        resize.remove_kept(work)


def fetch(work: Work) -> None:
    """The disks and what the console said are here."""
    work.save(task_state=states.RESIZE_MIGRATED)
    if places.is_shared(work):
        return
    source, copied = places.peer(work, SOURCE), resize.copied(work)
    for name in places.volumes(work):
        work.check_cancelled()
        work.driver.receive_volume(source, resize.kept_name(work, name) if name in copied else name, name)
    work.driver.receive_console(source, work.server.uuid)


def remove_copies(work: Work) -> None:
    """The copies have done what they were for."""
    if not places.is_shared(work):
        resize.remove_kept(work)


def switched(conn: Connection, work: Work) -> None:
    """The server lives on the destination; what it took of the source stays its own until that is confirmed."""
    places.rename(conn, work, "current", "old")
    places.rename(conn, work, "new", "current")
    places.settle_at(conn, work, work.entry.hosts[DESTINATION])
    key = work.entry.payload["migration"]
    migrations.change(conn, key, status=migrations.FINISHED, switched_at=clock.now())
    if work.entry.payload.get("confirm"):
        _confirm(conn, work, key)


def _confirm(conn: Connection, work: Work, key: int) -> None:
    """Nobody is asked: the host is to be empty."""
    action, host = lifecycle.ACTIONS["confirm_resize"], work.entry.hosts[DESTINATION]
    server = work.server._replace(vm_state=states.RESIZED)
    lifecycle.enter(conn, server, action)
    lifecycle.enqueue(conn, work.tools, work.context, server, action, host, {"migration": key})
    migrations.change(conn, key, status=migrations.CONFIRMING)


def not_switched(conn: Connection, work: Work) -> None:
    """What was reserved is free."""
    scheduler.release(conn, work.server.id, role="new")
    places.left_undone(conn, work)
    places.change_migration(conn, work, status=migrations.ERROR)


MOVE = Operation(
    (
        Step("power_off", resize.power_off, stay_off, SOURCE),
        Step("keep", resize.keep, bring_back, SOURCE),
        Step("fetch", fetch, places.remove_volumes, DESTINATION),
        Step("disks", resize.grow_disks, at=DESTINATION),
        Step("network", build.plug, places.unplug, DESTINATION),
        Step("define", resize.define, places.undefine, DESTINATION),
        Step("clean", remove_copies, at=SOURCE),
        Step("start", resize.start, at=DESTINATION),
    ),
    finished=switched,
    failed=not_switched,
)

# --- back again ---


def leave(work: Work) -> None:
    """The guest is off, and unknown to this host."""
    switch_off(work)
    places.undefine(work)


def restore(work: Work) -> None:
    """The disks are as they were."""
    if places.is_shared(work):
        resize.restore(work)


def reverted(conn: Connection, work: Work) -> None:
    """The server lives on the source again, and takes there what it took."""
    scheduler.release(conn, work.server.id, role="current")
    places.rename(conn, work, "old", "current")
    places.settle_at(conn, work, work.entry.hosts[SOURCE])
    places.leave(conn, work, DESTINATION, disks=not places.is_shared(work))
    moment = clock.now()
    migrations.change(conn, work.entry.payload["migration"], status=migrations.REVERTED, reverted_at=moment)


def not_reverted(conn: Connection, work: Work) -> None:
    """Once its disks are the old ones, the server is on its old host, though it may not run."""
    if "clean" in work.entry.done and work.entry.readable:
        old = resize.migrations_old(conn, work)
        reverted(conn, work)
        places.settle_at(conn, work, work.entry.hosts[SOURCE], **old)
    else:
        places.change_migration(conn, work, status=migrations.ERROR)


REVERT = Operation(
    (
        Step("leave", leave, at=DESTINATION),
        Step("disks", restore, at=SOURCE),
        Step("clean", resize.remove_kept, at=SOURCE),
        Step("network", build.plug, at=SOURCE),
        Step("define", resize.define_old, at=SOURCE),
        Step("start", resize.start_old, at=SOURCE),
    ),
    finished=reverted,
    failed=not_reverted,
)
