# SPDX-License-Identifier: Apache-2.0
"""Putting a server aside as an image, taking it off its host, and making it again from that image.

The image goes when the server is back or deleted (computeapi.compute.timeouts): not in a step, since until a server is
seen to run again the image may be all that is left of its disk.
"""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from computeapi import clock, journal, lifecycle, scheduler, states
from computeapi.compute import base_image, guest
from computeapi.compute.operation import Operation, Step, Work
from computeapi.compute.operations import build, remote, snapshot
from computeapi.compute.operations.rebuild import stay_off, switch_off
from computeapi.db.models import Server
from computeapi.states import PowerState

# --- shelve ---


def copy(work: Work) -> None:
    """A copy of the root disk, beside it. A volume needs none."""
    if not work.server.image_id:
        return
    with snapshot.image_goes_with_the_server(work):
        snapshot.copy(work)


def upload(work: Work) -> None:
    """The copy is the image's bytes."""
    if not work.server.image_id:
        return
    with snapshot.image_goes_with_the_server(work):
        snapshot.give(work)


def put_aside(work: Work) -> None:
    """The image is all that is needed to make the server again."""
    if work.server.image_id:
        snapshot.forget_copy(work)
    work.landing |= {
        "power_state": int(PowerState.SHUTDOWN),
        "shelved_at": clock.now(),
        "shelved_image_id": work.entry.payload.get("image_id"),
    }


def go_on(conn: Connection, work: Work) -> None:
    """Off the host at once, where the setting shelved_offload_time says so."""
    if work.tools.settings.shelved_offload_time == 0 and not journal.has_next(conn, work.entry):
        offload(conn, work)


def offload(conn: Connection, work: Work) -> None:
    """Work for this host: to take the server off it."""
    action, server = lifecycle.ACTIONS["shelve_offload"], work.server
    conn.execute(update(Server).where(Server.id == server.id).values(task_state=action.task_state))
    journal.enqueue(
        conn,
        work.tools.seal,
        server_id=server.id,
        server_uuid=server.uuid,
        request_id=work.entry.request_id,
        project_id=work.entry.project_id,
        user_id=work.entry.user_id,
        name=action.log,
        operation=action.operation,
        host=work.tools.host,
        lands={"ok": action.lands, "failed": states.SHELVED},
    )


SHELVE = Operation(
    (
        Step("power_off", switch_off, stay_off),
        Step("snapshot", copy, snapshot.give_up),
        Step("upload", upload),
        Step("clean", put_aside),
    ),
    finished=go_on,
)

# --- offload: repeated until it is done, so nothing is undone ---


def unplug_here(work: Work) -> None:
    """The networks promise the server nothing here; a real Neutron's ports are bound to no host."""
    build.unplug(work)
    remote.bind(work, "", surely=False)


def leave(conn: Connection, work: Work) -> None:
    """The server is nowhere, and takes nothing. It keeps its addresses."""
    scheduler.release(conn, work.server.id)
    conn.execute(update(Server).where(Server.id == work.server.id).values(host=None, node=None))


OFFLOAD = Operation(
    (
        Step("undefine", build.undefine),
        Step("network", unplug_here),
        Step("disks", build.remove_disks),
    ),
    finished=leave,
)

# --- unshelve ---


def _was_nowhere(work: Work) -> bool:
    return work.server.vm_state == states.SHELVED_OFFLOADED


def make_disks(work: Work) -> None:
    """Those disks that are not here: the root disk from the image, the others empty."""
    volumes = set(work.driver.list_volumes())
    root = guest.root_disk_name(work.server.uuid)
    for disk in guest.local_disks(work):
        if disk.volume in volumes:
            continue
        base = None
        if disk.volume == root:
            image_id = work.entry.payload["image_id"]
            base_image.ensure(work, image_id)
            base = guest.base_name(image_id)
        work.driver.ensure_disk(disk.volume, disk.size_gb, base)


def make_config_drive(work: Work) -> None:
    """The config drive, if there is none: without a password and files, which nobody remembers."""
    name = guest.config_drive_name(work.server.uuid)
    if guest.has_config_drive(work) and name not in work.driver.list_volumes():
        work.driver.ensure_iso(name, guest.config_drive(work))


def remove_disks(work: Work) -> None:
    """What was made for it."""
    if _was_nowhere(work):
        build.remove_disks(work)


def unplug(work: Work) -> None:
    """As before."""
    if _was_nowhere(work):
        unplug_here(work)


def undefine(work: Work) -> None:
    """As before."""
    if _was_nowhere(work):
        build.undefine(work)


def start(work: Work) -> None:
    """It runs; the image is not needed any more."""
    build.start(work)
    work.landing |= {"launched_at": clock.now(), "shelved_at": None}


def nowhere_again(conn: Connection, work: Work) -> None:
    """What was nowhere before is there again."""
    still = select(Server.vm_state).where(Server.id == work.server.id)
    if conn.execute(still).scalar() == states.SHELVED_OFFLOADED:
        leave(conn, work)


UNSHELVE = Operation(
    (
        Step("disks", make_disks, remove_disks),
        Step("network", build.plug, unplug),
        Step("config_drive", make_config_drive),
        Step("define", build.define, undefine),
        Step("start", start, stay_off),
    ),
    failed=nowhere_again,
)
