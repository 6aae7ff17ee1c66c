# SPDX-License-Identifier: Apache-2.0
"""Making a server of a lost host anew on another one; and cleaning up on a host that a server has left."""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection

from computeapi import scheduler, states
from computeapi.compute import base_image, guest
from computeapi.compute.operation import DESTINATION, SOURCE, Operation, Step, Work
from computeapi.compute.operations import build, firewall, places, rebuild
from computeapi.db.queries import migrations
from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound


def clear(work: Work) -> None:
    """Nothing half is here of a move that was under way when the host was lost; a guest that had arrived runs on."""
    with suppress(DomainNotFound):
        if work.driver.state(work.server.uuid) == PowerState.RUNNING:
            return
    places.undefine(work)
    places.remove_volumes(work)


def make_disks(work: Work) -> None:
    """The disks, from the image; on shared storage they are there."""
    work.save(task_state=states.REBUILD_BLOCK_DEVICE_MAPPING)
    if places.is_shared(work):
        return
    if work.server.image_id:
        base_image.ensure(work, work.server.image_id)
    build.make_disks(work)


def make_config_drive(work: Work) -> None:
    """The config drive, where the old one is lost."""
    work.save(task_state=states.REBUILD_SPAWNING)
    if guest.has_config_drive(work) and not places.is_shared(work):
        work.driver.ensure_iso(guest.config_drive_name(work.server.uuid), guest.config_drive(work))


def arrived(conn: Connection, work: Work) -> None:
    """The server lives here; the lost host cleans up when it is back."""
    scheduler.release(conn, work.server.id, role="current")
    places.rename(conn, work, "new", "current")
    places.settle_at(conn, work, work.entry.hosts[DESTINATION])
    places.leave(conn, work, SOURCE, disks=not places.is_shared(work))
    migrations.change(conn, work.entry.payload["migration"], status=migrations.DONE)


def not_arrived(conn: Connection, work: Work) -> None:
    """The server is where it was, lost."""
    scheduler.release(conn, work.server.id, role="new")
    places.left_undone(conn, work)
    places.change_migration(conn, work, status=migrations.ERROR)


EVACUATE = Operation(
    (
        Step("clear", clear, at=DESTINATION),
        Step("disks", make_disks, places.remove_volumes, DESTINATION),
        Step("network", build.plug, places.unplug, DESTINATION),
        Step("config_drive", make_config_drive, at=DESTINATION),
        Step("define", build.define, places.undefine, DESTINATION),
        Step("start", rebuild.start, at=DESTINATION),
    ),
    finished=arrived,
    failed=not_arrived,
)

# --- cleaning up, on a host where the server does not live ---


def _is_back(work: Work) -> bool:
    """The server lives here after all: leave it alone."""
    return work.server.host == work.tools.host and not work.server.deleted


def undefine(work: Work) -> None:
    """The host does not know the guest; or it is off, where that is all that was asked for."""
    if work.entry.payload.get("stop"):
        with suppress(DomainNotFound):
            work.driver.power_off(work.server.uuid)
    elif not _is_back(work):
        work.driver.undefine(work.server.uuid, keep_console=not work.entry.payload.get("disks"))


def unplug(work: Work) -> None:
    """The networks promise the server nothing here, and the host filters nothing for it."""
    if not work.entry.payload.get("stop") and not _is_back(work):
        build.unplug(work)
        firewall.apply(work.tools)


def remove_disks(work: Work) -> None:
    """The server's volumes on storage of this host's own are gone."""
    if work.entry.payload.get("disks") and not _is_back(work):
        build.remove_disks(work)


CLEAN_UP = Operation(
    (Step("undefine", undefine), Step("network", unplug), Step("disks", remove_disks)),
    runs_on_deleted=True,
)
