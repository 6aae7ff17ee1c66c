# SPDX-License-Identifier: Apache-2.0
"""Giving a running server to another host while it runs on.

The guest is on exactly one host at every moment: the hypervisors hand it over between them, and the step that waits for
that looks where it is before it says anything. Only when it is known to run on the source is anything undone on the
destination.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import asdict

from sqlalchemy import Connection, select

from computeapi import journal, scheduler, states
from computeapi.compute import guest
from computeapi.compute.operation import DESTINATION, SOURCE, Cancelled, Operation, Step, Work
from computeapi.compute.operations import build, places, remote
from computeapi.db.models import Server
from computeapi.db.queries import migrations
from computeapi.settings import Settings
from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound, HypervisorError, HypervisorGone, MigrationTimeout, Policy, Progress

_SAY_SECONDS = 5.0  # between notes of how far it is


def prepare(work: Work) -> None:
    """The networks promise the server its addresses here; there is room for its disks, and its console log is here."""
    if not places.is_shared(work):
        source, drive = places.peer(work, SOURCE), guest.config_drive_name(work.server.uuid)
        for name in places.volumes(work):
            if name == drive:
                work.driver.receive_volume(source, name, name)
            else:
                work.driver.receive_blank(source, name)
        work.driver.receive_console(source, work.server.uuid)
    if work.tools.neutron is None:  # whose ports are the source's until the guest has come
        build.plug(work)


def clear(work: Work) -> None:
    """Nothing of the server is here, but where it may be here: then it stays, and lives here."""
    if "migrate" in work.entry.begun and "migrate" not in work.entry.undone and _is_here(work):
        with work.tools.db.write() as conn:
            conn.execute(select(Server.id).where(Server.id == work.server.id).with_for_update())
            journal.hold(conn, work.entry)
            _live_here(conn, work)
        remote.bind(work, work.tools.host, surely=False)
        return
    places.undefine(work)
    build.unplug(work)
    places.remove_volumes(work)


def _is_here(work: Work) -> bool:
    with suppress(DomainNotFound):
        return work.driver.state(work.server.uuid) in (PowerState.RUNNING, PowerState.PAUSED)
    return False


def migrate(work: Work) -> None:
    """The guest runs on the destination."""
    with work.tools.db.write() as conn:
        if journal.hold(conn, work.entry):
            raise Cancelled
        places.change_migration(conn, work, status=migrations.RUNNING)
    destination = places.peer(work, DESTINATION)
    disks = [] if places.is_shared(work) else [disk.target for disk in guest.local_disks(work)]
    said = 0.0

    def watch(progress: Progress) -> None:
        nonlocal said
        work.pause(0)
        work.check_cancelled()
        if time.monotonic() - said > _SAY_SECONDS:
            said = time.monotonic()
            _say(work, progress)

    try:
        work.driver.migrate(work.server.uuid, destination, disks, policy(work.tools.settings), watch)
    except Cancelled:
        work.driver.end_migration(work.server.uuid)
        raise
    except MigrationTimeout:
        with work.tools.db.write() as conn:
            journal.hold(conn, work.entry)
            places.change_migration(conn, work, status=migrations.CANCELLED)
        raise


def _say(work: Work, progress: Progress) -> None:
    left = progress.memory_remaining + progress.disk_remaining
    total = progress.memory_total + progress.disk_total
    with work.tools.db.write() as conn:
        journal.hold(conn, work.entry)
        places.change_migration(conn, work, **asdict(progress))
    if total:
        work.save(progress=max(0, 100 - 100 * left // total))


def policy(settings: Settings) -> Policy:
    """How, as the settings say."""
    return Policy(
        timeout=settings.live_migration_completion_timeout,
        force=settings.live_migration_timeout_action == "force_complete",
        auto_converge=settings.live_migration_permit_auto_converge,
        post_copy=settings.live_migration_permit_post_copy,
        tunnelled=settings.live_migration_tunnelled,
        bandwidth=settings.live_migration_bandwidth,
        downtime=settings.live_migration_downtime,
    )


def stay(work: Work) -> None:
    """The guest is known to run here, as it did; or to have gone off here."""
    work.driver.end_migration(work.server.uuid)
    state = work.driver.state(work.server.uuid)  # DomainNotFound: it may be on the destination
    if state in states.OFF and not _has_arrived(work):
        return
    if state == PowerState.PAUSED and work.server.vm_state == states.ACTIVE:
        work.driver.unpause(work.server.uuid)
    elif state not in (PowerState.RUNNING, PowerState.PAUSED):
        raise HypervisorError(f"The guest is {state.name} on the source.")


def _has_arrived(work: Work) -> bool:
    try:
        return work.driver.has_arrived(work.server.uuid, places.peer(work, DESTINATION))
    except HypervisorGone as error:  # then it is not known; the work does not wait for another host
        raise HypervisorError(str(error)) from error


def switch(work: Work) -> None:
    """The server lives on the destination; the source has to clean up."""
    with work.tools.db.write() as conn:
        conn.execute(select(Server.id).where(Server.id == work.server.id).with_for_update())
        if journal.hold(conn, work.entry):
            raise Cancelled
        _live_here(conn, work)


def _live_here(conn: Connection, work: Work) -> None:
    """The rows say that the server lives on the destination; so they may already."""
    if not scheduler.has_role(conn, work.server.id, "new"):
        return
    places.leave(conn, work, SOURCE, disks=not places.is_shared(work))
    scheduler.release(conn, work.server.id, role="current")
    places.rename(conn, work, "new", "current")
    places.settle_at(conn, work, work.entry.hosts[DESTINATION])
    places.change_migration(conn, work, status=migrations.COMPLETED)


def arrive(work: Work) -> None:
    """It goes on here as it did there, and the host filters and translates for it."""
    try:
        state = work.driver.state(work.server.uuid)
    except DomainNotFound as error:
        raise HypervisorGone(str(error)) from error  # it has just been seen: look again
    if state == PowerState.PAUSED and work.server.vm_state == states.ACTIVE:
        work.driver.unpause(work.server.uuid)
        state = PowerState.RUNNING
    build.plug(work)
    work.landing |= {"power_state": int(state), "progress": 0}


def not_arrived(conn: Connection, work: Work) -> None:
    """What was reserved is free; the migration failed, if it was not given up."""
    scheduler.release(conn, work.server.id, role="new")
    places.left_undone(conn, work)
    if "migration" in work.entry.payload:
        migrations.fail(conn, work.entry.payload["migration"])


LIVE_MIGRATE = Operation(
    (
        Step("prepare", prepare, clear, DESTINATION),
        Step("migrate", migrate, stay, SOURCE),
        Step("switch", switch, at=SOURCE),
        Step("arrive", arrive, at=DESTINATION),
    ),
    failed=not_arrived,
)
