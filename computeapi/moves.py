# SPDX-License-Identifier: Apache-2.0
"""The beginning of what needs two hosts: resize and cold migration, live migration, evacuation, and emptying a host.

Like `lifecycle.begin`, each takes its first step in one transaction: the state, what is reserved on the destination,
the migration's row and the work. The work is one row of the journal, which goes from host to host (Step.at); what a
host has to clean up after a server that left it is a row beside the server's own (lifecycle.clean_up).

Sentences: nova/compute/api.py, nova/conductor/tasks/live_migrate.py, nova/exception.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, journal, lifecycle, pci, scheduler, states
from computeapi.context import Context
from computeapi.db.queries import addresses, block_devices, hosts, migrations
from computeapi.db.queries.hosts import HostRow
from computeapi.db.queries.servers import ServerRow, get_by_key, lock_row
from computeapi.lifecycle import ACTIONS, Desk
from computeapi.scheduler import NoValidHost, Wanted
from computeapi.services import Services

IN_MAINTENANCE = "In maintenance"  # disabled_reason of a host that is emptied and kept empty
TRAVELLING = ("move", "revert_move", "live_migrate", "evacuate")  # operations that go from host to host
_NEEDS_SHARED = (
    "Live migration can not be used without shared storage except a booted from volume VM which does not have a local "
    "disk."
)
_NEEDS_OWN = "Block migration can not be used with shared storage."


def _checked(conn: Connection, services: Services, context: Context, server: ServerRow, name: str) -> ServerRow:
    """The server as it is now, locked, where the action `name` may be begun. Raises what `begin` raises."""
    now = lock_row(conn, server.id)
    if now is None:
        raise errors.NotFound(f"Instance {server.uuid} could not be found.")
    lifecycle.check(services, context, now, name)
    if now.host is None:
        raise errors.Conflict(f"Instance {now.uuid} is not ready")
    return now


def _unfit(
    conn: Connection,
    desk: Desk,
    now: ServerRow,
    refuse: Callable[[HostRow, HostRow], str | None] = lambda _from, _to: None,
    *,
    absorbs: bool = False,
) -> dict[str, str]:
    """The hosts that the server can't go to from its own, and why. What `absorbs` does by itself what its host has
    yet to clean up there; what does not waits for it (journal.candidates)."""
    found = hosts.every(conn)
    source = found[str(now.host)]
    leaving = journal.is_leaving(conn, now.id, under_way=True) if absorbs else set()
    volumes = orjson.loads(now.volumes_json) and not desk.settings.volume_directory
    refused: dict[str, str] = {}
    for name, host in found.items():
        if name == now.host:
            refused[name] = "the host that the server is on"
        elif name in leaving:
            refused[name] = "still cleaning up after the server"
        elif host.hypervisor_type != source.hypervisor_type:
            refused[name] = "another kind of hypervisor"
        elif volumes and not source.shares_storage_with(host):
            refused[name] = "the server's volumes are not in a volume_directory"
        elif why := refuse(source, host):
            refused[name] = why
    return refused


def _reachable(host: HostRow, other: HostRow) -> str | None:
    """Hosts that hand disks or a running guest to each other must know how."""
    if host.shares_storage_with(other):
        return None
    return None if host.facts.get("uri") and other.facts.get("uri") else "no migration_uri is set"


def _wanted(conn: Connection, now: ServerRow, **more: Any) -> Wanted:
    values = {
        "vcpus": now.vcpus,
        "memory_mb": now.memory_mb,
        "disk_gb": now.disk_gb,
        "zone": hosts.requested_zone(conn, now.id),
        "hints": orjson.loads(now.scheduler_hints_json),
    }
    return Wanted(**(values | more))


def _release_stale(conn: Connection, now: ServerRow) -> set[str]:
    """What was reserved for a move that was given up is free; the hosts that may still have something of it."""
    left = hosts.traces(conn, now.id) | hosts.in_open_work(conn, now.id)
    for role in ("old", "new"):
        scheduler.release(conn, now.id, role=role)
    return left - {str(now.host)}


def _forsake(conn: Connection, desk: Desk, context: Context, now: ServerRow, left: set[str], to: str) -> None:
    """Those hosts clean up. Not `to`: there the work that begins replaces what it finds."""
    for host in sorted(left - {to} - journal.is_leaving(conn, now.id)):
        leave(conn, desk, context, now, host, disks=not hosts.share_storage(conn, to, host))


def _add(conn: Connection, now: ServerRow, kind: str, status: str, to: str, **more: Any) -> int:
    found = hosts.every(conn)
    values = {
        "old_flavor_id": now.flavor_id,
        "old_flavor_json": now.flavor_json,
        "new_flavor_id": now.flavor_id,
        "new_flavor_json": now.flavor_json,
        "old_vm_state": now.vm_state,
        **more,
    }
    return migrations.add(
        conn,
        uuid=str(uuid.uuid4()),
        server_id=now.id,
        server_uuid=now.uuid,
        project_id=now.project_id,
        user_id=now.user_id,
        migration_type=kind,
        status=status,
        source_compute=now.host,
        source_node=now.node,
        dest_compute=to,
        dest_node=found[to].node,
        dest_host=found[to].facts.get("address") or None,
        **values,
    )


def _begin(
    conn: Connection, desk: Desk, context: Context, now: ServerRow, name: str, key: int, to: str, **payload: Any
) -> None:
    action = ACTIONS[name]
    source = str(now.host)
    lifecycle.enter(conn, now, action)
    given = {"migration": key, "shared": hosts.share_storage(conn, source, to), **payload}
    at = to if name == "evacuate" else source
    lifecycle.enqueue(
        conn,
        desk,
        context,
        now,
        action,
        at,
        given,
        hosts={"source": source, "destination": to} if to != source else None,
    )


# --- resize and cold migration ---


def start_resize(
    conn: Connection, services: Services, context: Context, server: ServerRow, flavor_id: str, flavor_json: str
) -> None:
    """Reserve what the new flavor needs beside what the server has, and start the resize: on its own host where that
    is allowed and has room, else on another.

    Where there is no room the server stays as it is, and its log says why, as in Nova. Raises what `begin` raises, and
    Conflict where the host does not answer.
    """
    now = _checked(conn, services, context, server, "resize")
    _check_up(conn, services, now)
    left = _release_stale(conn, now)
    new = migrations.flavor_columns(flavor_id, flavor_json, now)
    extra_specs = orjson.loads(flavor_json).get("extra_specs", {})
    pci.wanted(services.settings.alias, extra_specs)
    wish = {name: new[name] for name in ("vcpus", "memory_mb", "disk_gb")}
    wish["extra_specs"] = extra_specs
    try:
        host = _place_resize(conn, services, now, wish)
    except NoValidHost as error:
        lifecycle.record(conn, context, now, "resize", str(error))
        return
    _forsake(conn, services, context, now, left, host)
    more = {"new_flavor_id": flavor_id, "new_flavor_json": flavor_json}
    key = _add(conn, now, "resize", migrations.MIGRATING, host, **more)
    _begin(conn, services, context, now, "resize" if host == now.host else "resize_away", key, host)


def _extra_specs(server: ServerRow) -> dict[str, str]:
    found: dict[str, str] = orjson.loads(server.flavor_json).get("extra_specs", {})
    return found


def _place_resize(conn: Connection, services: Services, now: ServerRow, wish: Mapping[str, Any]) -> str:
    """The server's own host needs no data moved, so it comes first. Raises NoValidHost."""
    reasons: dict[str, str] = {}
    same_devices = pci.same(_extra_specs(now), wish["extra_specs"])
    if not same_devices:  # while it waits to be confirmed it has both, and its guest only one
        reasons = {str(now.host): "its PCI devices can't be others on the same host"}
    elif services.settings.allow_resize_to_same_host:
        try:
            own = Wanted(**wish, host=now.host)
            return scheduler.place(conn, services.settings, now.id, own, role="new")
        except NoValidHost as error:
            reasons = {host: why for host, why in error.reasons.items() if host == now.host}
    try:
        wanted = _wanted(conn, now, **wish, refused=_unfit(conn, services, now, _reachable))
        return scheduler.place(conn, services.settings, now.id, wanted, role="new")
    except NoValidHost as error:
        raise NoValidHost(error.reasons | reasons) from error


def _check_up(conn: Connection, desk: Desk, now: ServerRow) -> None:
    if not scheduler.is_alive(conn, desk.settings, str(now.host)):
        raise errors.Conflict("Service is unavailable at this time.")


def start_migrate(conn: Connection, services: Services, context: Context, server: ServerRow) -> None:
    """Start a cold migration to a host that the scheduler chooses. Raises BadRequest where there is none."""
    now = _checked(conn, services, context, server, "migrate")
    _check_up(conn, services, now)
    try:
        _migrate(conn, services, context, now)
    except NoValidHost as error:
        raise errors.BadRequest(str(error)) from error


def _migrate(conn: Connection, desk: Desk, context: Context, now: ServerRow, **payload: Any) -> None:
    left = _release_stale(conn, now)
    wanted = _wanted(conn, now, refused=_unfit(conn, desk, now, _reachable))
    host = scheduler.place(conn, desk.settings, now.id, wanted, role="new")
    _forsake(conn, desk, context, now, left, host)
    key = _add(conn, now, "migration", migrations.MIGRATING, host)
    _begin(conn, desk, context, now, "migrate", key, host, **payload)


# --- live migration ---


def start_live_migration(
    conn: Connection, services: Services, context: Context, server: ServerRow, host: str | None, block: bool | None
) -> None:
    """Start a live migration to `host` (None: the scheduler chooses).

    `block`: True copies the disks, False asks for shared storage, None does what is needed. Raises BadRequest where
    there is no host, or it does not fit.
    """
    now = _checked(conn, services, context, server, "live_migrate")
    if not scheduler.is_alive(conn, services.settings, str(now.host)):
        raise errors.BadRequest(f"Compute service of {now.host} is unavailable at this time.")
    if block is False and _is_diskless(conn, now):
        block = None  # nothing of it is on storage that hosts could share
    if host is not None:
        _check_destination(conn, services, now, host, block)
    try:
        _live_migrate(conn, services, context, now, host, block)
    except NoValidHost as error:
        raise errors.BadRequest(str(error)) from error


def _check_destination(conn: Connection, services: Services, now: ServerRow, host: str, block: bool | None) -> None:
    """Nova's sentences for a host that was named."""
    source, found = hosts.find(conn, str(now.host)), hosts.find(conn, host)
    if found is None or source is None:
        raise errors.BadRequest(f"Compute host {host} could not be found.")
    if host == now.host:
        raise errors.BadRequest(f"Unable to migrate instance ({now.uuid}) to current host ({host}).")
    if not scheduler.is_alive(conn, services.settings, host):
        raise errors.BadRequest(f"Compute service of {host} is unavailable at this time.")
    if why := _storage(source, found, block):
        raise errors.BadRequest(f"{host} is not on {'shared' if block is False else 'local'} storage: {why}")


def _is_diskless(conn: Connection, now: ServerRow) -> bool:
    """Whether volumes are all that the server has: it boots from one, and has no disk of its host's (but a drive that
    only tells it what it is)."""
    return not now.image_id and not block_devices.local(conn, now.id)


def _storage(source: HostRow, host: HostRow, block: bool | None) -> str | None:
    shared = source.shares_storage_with(host)
    if block is False and not shared:
        return _NEEDS_SHARED
    return _NEEDS_OWN if block and shared else None


def _live_migrate(
    conn: Connection, desk: Desk, context: Context, now: ServerRow, host: str | None, block: bool | None
) -> None:
    def refuse(source: HostRow, other: HostRow) -> str | None:
        if why := _storage(source, other, block):
            return why
        return None if source.facts.get("uri") and other.facts.get("uri") else "no migration_uri is set"

    if _extra_specs(now).get(pci.SPEC):
        raise errors.BadRequest(f"Instance {now.uuid} has PCI devices passed through to it: it can't be live-migrated.")
    left = _release_stale(conn, now)
    wanted = _wanted(conn, now, host=host, refused=_unfit(conn, desk, now, refuse))
    to = scheduler.place(conn, desk.settings, now.id, wanted, role="new")
    _forsake(conn, desk, context, now, left, to)
    key = _add(conn, now, "live-migration", "preparing", to)
    _begin(conn, desk, context, now, "live_migrate", key, to)


# --- evacuation ---


def start_evacuation(
    conn: Connection,
    services: Services,
    context: Context,
    server: ServerRow,
    host: str | None,
    *,
    shared: bool,
    password: str | None,
) -> None:
    """Make a server of a lost host anew on `host` (None: the scheduler chooses): from its disks where they are on
    `shared` storage, else from its image.

    All that was under way is ended; the lost host finds its writes refused, and cleans up when it is back. Raises
    BadRequest where the host is not lost, or no other fits.
    """
    now = _checked(conn, services, context, server, "evacuate")
    if scheduler.is_alive(conn, services.settings, str(now.host)):
        raise errors.BadRequest(f"Compute service of {now.host} is still in use.")

    def refuse(source: HostRow, other: HostRow) -> str | None:
        same = source.shares_storage_with(other)
        if shared == same:
            return None
        return "shares the storage of the lost host" if same else "does not share the storage of the lost host"

    left = _release_stale(conn, now)
    journal.seize(conn, now.id, "The server's host was lost.")
    wanted = _wanted(conn, now, host=host, refused=_unfit(conn, services, now, refuse, absorbs=True))
    try:
        to = scheduler.place(conn, services.settings, now.id, wanted, role="new")
    except NoValidHost as error:
        raise errors.BadRequest(str(error)) from error
    journal.absorb(conn, now.id, to)
    if to in journal.is_leaving(conn, now.id):
        raise errors.Conflict(f"Compute host {to} is still cleaning up after the server.")
    lifecycle.clean_up(conn, services, context, now, str(now.host), {"stop": True})
    _forsake(conn, services, context, now, left, to)
    key = _add(conn, now, "evacuation", "accepted", to)
    _begin(conn, services, context, now, "evacuate", key, to, admin_password=password)


# --- what a move leaves behind ---


def leave(conn: Connection, desk: Desk, context: Context, server: ServerRow, host: str, *, disks: bool) -> None:
    """The server does not live on `host` any more: clean up there, when it can."""
    promised = [{"network": nic.network_uuid, "mac": nic.mac} for nic in addresses.nics(conn, server.id)]
    lifecycle.clean_up(conn, desk, context, server, host, {"disks": disks, "nics": promised})


# --- emptying a host ---


def drain(desk: Desk, host: str) -> tuple[int, dict[str, str]]:
    """Start to move every idle server away from `host`; how many are going, and why the others (by id) are not.

    Running and paused ones go live, stopped ones cold and are confirmed at once, shelved ones are offloaded. What is in
    another state stays until its owner ends that.
    """
    with desk.db.read() as conn:
        keys = hosts.servers_on(conn, host)
    going, staying = 0, {}
    for key in keys:  # a transaction each: one that can't move keeps no other
        try:
            with desk.db.write() as conn:
                going += _send_away(conn, desk, key, host)
        except (NoValidHost, errors.Error) as error:
            with desk.db.read() as conn:
                server = get_by_key(conn, key)
            staying[server.uuid if server else ""] = str(error)
    return going, staying


def _send_away(conn: Connection, desk: Desk, key: int, host: str) -> bool:
    now = lock_row(conn, key)
    if now is None or now.host != host or now.task_state is not None or journal.is_busy(conn, key):
        return False
    _check_up(conn, desk, now)
    context = Context(f"req-{uuid.uuid4()}", now.user_id, now.project_id, frozenset())
    if now.vm_state in (states.ACTIVE, states.PAUSED):
        _live_migrate(conn, desk, context, now, None, None)
    elif now.vm_state == states.STOPPED:
        _migrate(conn, desk, context, now, confirm=True)
    elif now.vm_state == states.SHELVED:
        lifecycle.enter(conn, now, ACTIONS["shelve_offload"])
        lifecycle.enqueue(conn, desk, context, now, ACTIONS["shelve_offload"], host, None)
    else:
        raise errors.Conflict(f"Instance {now.uuid} can't be moved while it is in vm_state {now.vm_state}")
    return True
