# SPDX-License-Identifier: Apache-2.0
"""What moves to other hosts share: the other host as its row tells it, the server's things there, and the rows that
say where it lives."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, update

from computeapi import errors, moves, scheduler
from computeapi.compute import guest
from computeapi.compute.operation import DESTINATION, SOURCE, Work
from computeapi.compute.operations import build, remote
from computeapi.db.models import Allocation, Server
from computeapi.db.queries import console_tokens, firewall, hosts, migrations
from computeapi.virt.base import Peer


def peer(work: Work, which: str) -> Peer:
    """The source or the destination. Raises Conflict where it is gone or says not how it is reached."""
    name = work.entry.hosts[which]
    with work.tools.db.read() as conn:
        found = hosts.find(conn, name)
    if found is None:
        raise errors.Conflict(f"Compute host {name} could not be found.")
    return Peer(**found.facts) if found.facts else Peer(name)


def is_shared(work: Work) -> bool:
    """Whether both hosts have the same storage. Where it is not known any more they have: nothing is deleted then."""
    return bool(work.entry.payload.get("shared", True))


def volumes(work: Work) -> list[str]:
    """The names of all that the guest's definition has of the host's own storage."""
    names = [disk.volume for disk in guest.local_disks(work)]
    return [*names, guest.config_drive_name(work.server.uuid)] if guest.has_config_drive(work) else names


def undefine(work: Work) -> None:
    """This host does not know the guest."""
    work.driver.undefine(work.server.uuid, keep_console=is_shared(work))


def unplug(work: Work) -> None:
    """The networks promise the server nothing here; a real Neutron's ports are the source's again."""
    build.unplug(work)
    remote.bind(work, work.entry.hosts[SOURCE], surely=False)


def remove_volumes(work: Work) -> None:
    """The volumes that came here, and only here, are gone."""
    if not is_shared(work):
        build.remove_disks(work)


def rename(conn: Connection, work: Work, role: str, to: str) -> None:
    """What was reserved as one thing is another now."""
    mine = (Allocation.server_id == work.server.id) & (Allocation.role == role)
    conn.execute(update(Allocation).where(mine).values(role=to))


def settle_at(conn: Connection, work: Work, host: str, **columns: Any) -> None:
    """The server lives on `host` from now on; both hosts are told, for what they filter and translate."""
    found = hosts.find(conn, host)
    zone = scheduler.zone_of(conn, work.tools.settings, host)
    values = {"host": host, "node": found.node if found else host, "availability_zone": zone, **columns}
    conn.execute(update(Server).where(Server.id == work.server.id).values(**values))
    console_tokens.drop(conn, work.server.id)
    firewall.tell_hosts(conn, sorted(set(work.entry.hosts.values())))


def leave(conn: Connection, work: Work, which: str, *, disks: bool) -> None:
    """The source or the destination has to clean up."""
    moves.leave(conn, work.tools, work.context, work.server, work.entry.hosts[which], disks=disks)


def left_undone(conn: Connection, work: Work) -> None:
    """A host that was down when it should have undone its steps cleans up when it is back."""
    for which in (SOURCE, DESTINATION):
        if work.entry.hosts.get(which) in work.lost:
            leave(conn, work, which, disks=not is_shared(work) and which == DESTINATION)


def change_migration(conn: Connection, work: Work, **columns: Any) -> None:
    """Write the migration's row, where its key can still be read."""
    if "migration" in work.entry.payload:
        migrations.change(conn, work.entry.payload["migration"], **columns)
