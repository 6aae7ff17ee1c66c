# SPDX-License-Identifier: Apache-2.0
"""The server state machine: ACTIONS, one row an action, and `begin()`, which takes the first step of each.

`begin()` checks lock and state, and writes the new task_state and the work to do in one transaction: an action that was
answered with 202 will be done, and one that was not has left no trace. What an action does is the STEPS of its
`operation` (computeapi/compute/operations). docs/lifecycle.md is made from this table by tools/states.

Allowed states and sentences: nova/compute/api.py and nova/api/openstack/common.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from sqlalchemy import Connection, update

from computeapi import clock, errors, journal, scheduler, states
from computeapi.backends.network import ports
from computeapi.backends.volume.base import VolumeBackend
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Server
from computeapi.db.queries import addresses, block_devices, console_tokens, hosts, network_cache
from computeapi.db.queries.servers import ServerRow, change, lock_row
from computeapi.scheduler import NoValidHost, Wanted
from computeapi.sealing import Seal
from computeapi.services import Services
from computeapi.settings import Settings
from computeapi.states import (
    ACTIVE,
    BUILDING,
    DELETED,
    ERROR,
    PAUSED,
    RESCUED,
    RESIZED,
    SHELVED,
    SHELVED_OFFLOADED,
    SOFT_DELETED,
    STOPPED,
    SUSPENDED,
)

if TYPE_CHECKING:  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.network.neutron import Neutron

AS_WAS = "(as it was)"  # the vm_state that the server had before
ANY: tuple[str, ...] = (
    ACTIVE,
    BUILDING,
    PAUSED,
    SUSPENDED,
    STOPPED,
    RESCUED,
    RESIZED,
    SOFT_DELETED,
    ERROR,
    SHELVED,
    SHELVED_OFFLOADED,
)
IDLE: tuple[str | None, ...] = (None,)
ANY_TASK: tuple[str | None, ...] = ()  # whatever is under way
_HARD_REBOOT_TASKS = (
    None,
    states.REBOOTING,
    states.REBOOT_STARTED,
    states.REBOOTING_HARD,
    states.REBOOT_STARTED_HARD,
    states.PAUSING,
    states.UNPAUSING,
    states.SUSPENDING,
    states.RESUMING,
)
_PLUGGED = (ACTIVE, PAUSED, STOPPED)
_SETTLED = (ACTIVE, PAUSED, SUSPENDED, STOPPED, RESCUED, RESIZED, ERROR)
_HAS_VOLUMES = (ACTIVE, PAUSED, STOPPED, RESIZED, SOFT_DELETED)  # shelved ones from 2.20 on
_HOST_FIRST = ("start", "stop")  # a server that is nowhere is told so, whatever its state
_COPIED = (ACTIVE, STOPPED, PAUSED, SUSPENDED)


class Desk(Protocol):
    """What it takes to write work down: the API has it, and so has a compute service."""

    @property
    def settings(self) -> Settings:
        """The cloud's."""

    @property
    def db(self) -> Database:
        """The cloud's."""

    @property
    def seal(self) -> Seal:
        """The journal's."""


@dataclass(frozen=True, slots=True)
class Action:
    """A row of ACTIONS: what may be done to a server, when, and where it lands."""

    log: str  # the name in the action log
    says: str  # the name in Nova's 409 sentence
    operation: str  # whose STEPS
    vm_states: tuple[str, ...]
    task_states: tuple[str | None, ...] = IDLE
    task_state: str | None = None  # while it lasts
    lands: str = AS_WAS
    fails: str = ERROR
    locked_too: bool = False  # also when the server is locked


# When you add one, also: its STEPS, its line in the API's table of server actions (api/compute/servers/actions.py), its
# rule there, its tests in tests/lifecycle, and docs/lifecycle.md by tools/states.
ACTIONS: dict[str, Action] = {
    "create": Action("create", "create", "build", (BUILDING,), ANY_TASK, states.SCHEDULING, ACTIVE),
    "delete": Action("delete", "delete", "delete", ANY, ANY_TASK, states.DELETING, DELETED),
    "soft_delete": Action("delete", "delete", "soft_delete", ANY, ANY_TASK, states.SOFT_DELETING, SOFT_DELETED),
    "force_delete": Action("forceDelete", "forceDelete", "delete", ANY, ANY_TASK, states.DELETING, DELETED),
    "restore": Action("restore", "restore", "start", (SOFT_DELETED,), IDLE, states.RESTORING, ACTIVE),
    "reboot_soft": Action("reboot", "reboot", "reboot_soft", (ACTIVE,), IDLE, states.REBOOTING, ACTIVE),
    "reboot_hard": Action(
        "reboot",
        "reboot",
        "reboot_hard",
        (ACTIVE, STOPPED, PAUSED, SUSPENDED, ERROR),
        _HARD_REBOOT_TASKS,
        states.REBOOTING_HARD,
        ACTIVE,
    ),
    "start": Action("start", "start", "start", (STOPPED,), IDLE, states.POWERING_ON, ACTIVE),
    "stop": Action("stop", "stop", "stop", (ACTIVE, ERROR), IDLE, states.POWERING_OFF, STOPPED),
    "pause": Action("pause", "pause", "pause", (ACTIVE,), IDLE, states.PAUSING, PAUSED),
    "unpause": Action("unpause", "unpause", "unpause", (PAUSED,), IDLE, states.UNPAUSING, ACTIVE),
    "suspend": Action("suspend", "suspend", "suspend", (ACTIVE,), IDLE, states.SUSPENDING, SUSPENDED),
    "resume": Action("resume", "resume", "resume", (SUSPENDED,), IDLE, states.RESUMING, ACTIVE),
    "rebuild": Action("rebuild", "rebuild", "rebuild", (ACTIVE, STOPPED, ERROR), IDLE, states.REBUILDING, ACTIVE),
    "rescue": Action("rescue", "rescue", "rescue", (ACTIVE, STOPPED, ERROR), IDLE, states.RESCUING, RESCUED),
    "unrescue": Action("unrescue", "unrescue", "unrescue", (RESCUED,), IDLE, states.UNRESCUING, ACTIVE),
    "resize": Action("resize", "resize", "resize", (ACTIVE, STOPPED), IDLE, states.RESIZE_PREP, RESIZED),
    "resize_away": Action("resize", "resize", "move", (ACTIVE, STOPPED), IDLE, states.RESIZE_PREP, RESIZED),
    "migrate": Action("migrate", "migrate", "move", (ACTIVE, STOPPED), IDLE, states.RESIZE_PREP, RESIZED),
    "live_migrate": Action(
        "live-migration", "os-migrateLive", "live_migrate", (ACTIVE, PAUSED), IDLE, states.MIGRATING, AS_WAS, AS_WAS
    ),
    "evacuate": Action(
        "evacuate",
        "evacuate",
        "evacuate",
        (ACTIVE, STOPPED, ERROR),
        ANY_TASK,
        states.REBUILDING,
        ACTIVE,
        locked_too=True,
    ),
    "confirm_resize": Action(
        "confirmResize", "confirmResize", "confirm_resize", (RESIZED,), IDLE, states.RESIZE_CONFIRMING, ACTIVE
    ),
    "revert_resize": Action(
        "revertResize", "revertResize", "revert_resize", (RESIZED,), IDLE, states.RESIZE_REVERTING, ACTIVE
    ),
    "revert_move": Action(
        "revertResize", "revertResize", "revert_move", (RESIZED,), IDLE, states.RESIZE_REVERTING, ACTIVE
    ),
    "shelve": Action("shelve", "shelve", "shelve", _COPIED, IDLE, states.SHELVING, SHELVED),
    "shelve_offload": Action(
        "shelveOffload",
        "shelveOffload",
        "shelve_offload",
        (SHELVED,),
        IDLE,
        states.SHELVING_OFFLOADING,
        SHELVED_OFFLOADED,
        AS_WAS,
    ),
    "unshelve": Action(
        "unshelve", "unshelve", "unshelve", (SHELVED, SHELVED_OFFLOADED), IDLE, states.UNSHELVING, ACTIVE, AS_WAS
    ),
    "snapshot": Action(
        "createImage", "createImage", "snapshot", _COPIED, IDLE, states.IMAGE_SNAPSHOT_PENDING, AS_WAS, AS_WAS, True
    ),
    "backup": Action(
        "createBackup", "createBackup", "backup", _COPIED, IDLE, states.IMAGE_BACKUP, AS_WAS, AS_WAS, True
    ),
    "attach_interface": Action(
        "attach_interface", "attach_interface", "attach_interface", _PLUGGED, IDLE, None, AS_WAS, AS_WAS
    ),
    "detach_interface": Action(
        "detach_interface", "detach_interface", "detach_interface", _PLUGGED, IDLE, None, AS_WAS, AS_WAS
    ),
    "attach_volume": Action(
        "attach_volume", "attach_volume", "attach_volume", _HAS_VOLUMES, IDLE, None, AS_WAS, AS_WAS
    ),
    "detach_volume": Action(
        "detach_volume", "detach_volume", "detach_volume", _HAS_VOLUMES, IDLE, None, AS_WAS, AS_WAS
    ),
    "swap_volume": Action(
        "swap_volume", "swap_volume", "swap_volume", (ACTIVE, PAUSED, RESIZED), IDLE, None, AS_WAS, AS_WAS
    ),
    "add_fixed_ip": Action("addFixedIp", "add_fixed_ip", "reset_network", _PLUGGED, IDLE, None, AS_WAS, AS_WAS),
    "remove_fixed_ip": Action(
        "removeFixedIp", "remove_fixed_ip", "reset_network", _PLUGGED, IDLE, None, AS_WAS, AS_WAS
    ),
    "reset_network": Action("resetNetwork", "reset_network", "reset_network", _SETTLED, IDLE, None, AS_WAS, AS_WAS),
    "inject_network_info": Action(
        "injectNetworkInfo", "inject_network_info", "reset_network", _SETTLED, IDLE, None, AS_WAS, AS_WAS
    ),
}


def begin(
    conn: Connection,
    services: Services,
    context: Context,
    server: ServerRow,
    name: str,
    payload: Mapping[str, Any] | None = None,
    *,
    hosts: Mapping[str, str] | None = None,
) -> None:
    """Start the action `name` on a server, in the caller's transaction. `hosts`: see `enqueue`.

    What `server` says may be old: it is read again, and locked, so that of several who try at once each finds what the
    one before left. Raises NotFound, Locked or InvalidState (409). A server that is nowhere has nothing to do on a
    host: delete ends here then.
    """
    action = ACTIONS[name]
    now = lock_row(conn, server.id)
    if now is None:
        raise errors.NotFound(f"Instance {server.uuid} could not be found.")
    check_lock(services, context, now, action)
    if name in ("delete", "force_delete"):
        _begin_delete(conn, services, context, now, action)
        return
    if now.host is not None or name not in _HOST_FIRST:
        check_state(now, action.says, action.vm_states, action.task_states)
    if now.host is None:
        raise errors.Conflict(f"Instance {now.uuid} is not ready")
    enter(conn, now, action)
    enqueue(conn, services, context, now, action, now.host, payload, hosts=hosts)


def check(services: Services, context: Context, server: ServerRow, name: str) -> None:
    """Raise what `begin` would: for a handler that has more to look at first. Says nothing of what comes meanwhile."""
    action = ACTIONS[name]
    check_lock(services, context, server, action)
    check_state(server, action.says, action.vm_states, action.task_states)


def check_lock(services: Services, context: Context, server: ServerRow, action: Action | None = None) -> None:
    """Raise Locked where the server is locked and the caller may not override that."""
    if server.locked and not (action and action.locked_too):
        override = "os_compute_api:os-lock-server:unlock:unlock_override"
        if not services.policy.allows(override, context, server.project_id, server.user_id):
            raise errors.Locked(f"Instance {server.uuid} is locked")


def invalid_state(server: ServerRow, says: str, attribute: str) -> errors.InvalidState:
    """Nova's sentence for an action that the server's state forbids; `attribute` is vm_state or task_state."""
    value = getattr(server, attribute)
    return errors.InvalidState(f"Cannot '{says}' instance {server.uuid} while it is in {attribute} {value}")


def check_state(
    server: ServerRow, says: str, vm_states: tuple[str, ...], task_states: tuple[str | None, ...] = IDLE
) -> None:
    """Raise InvalidState where vm_state or task_state is not among these (for what is done in the API itself)."""
    if server.vm_state not in vm_states:
        raise invalid_state(server, says, "vm_state")
    if task_states and server.task_state not in task_states:
        raise invalid_state(server, says, "task_state")


def enter(conn: Connection, server: ServerRow, action: Action) -> None:
    """Show what is under way."""
    values = {"task_state": action.task_state, "updated_at": clock.now()}
    change(conn, server.id, values)


def enqueue(
    conn: Connection,
    desk: Desk,
    context: Context,
    server: ServerRow,
    action: Action,
    host: str,
    payload: Mapping[str, Any] | None,
    *,
    hosts: Mapping[str, str] | None = None,
) -> int:
    """Write the work down for `host`, and wake it; `hosts` are the source and the destination where it needs two."""
    lands = landing(action, server) | ({"hosts": dict(hosts)} if hosts else {})
    payload = dict(payload) if payload else None
    return _write_down(conn, desk, context, server, action.log, action.operation, host, payload, lands=lands)


def _write_down(
    conn: Connection,
    desk: Desk,
    context: Context,
    server: ServerRow,
    name: str,
    operation: str,
    host: str,
    payload: dict[str, Any] | None,
    **more: Any,
) -> int:
    return journal.enqueue(
        conn,
        desk.seal,
        server_id=server.id,
        server_uuid=server.uuid,
        request_id=context.request_id,
        project_id=context.project_id,
        user_id=context.user_id,
        name=name,
        operation=operation,
        host=host,
        payload=payload,
        **more,
    )


def landing(action: Action, server: ServerRow) -> dict[str, Any]:
    """Where the row says that the work lands; a worker needs no table for it, and an upgrade in between is safe."""
    return {
        "ok": server.vm_state if action.lands is AS_WAS else action.lands,
        "failed": server.vm_state if action.fails is AS_WAS else action.fails,
    }


def start_build(
    conn: Connection,
    services: Services,
    context: Context,
    server: ServerRow,
    *,
    secrets: Mapping[str, Any],
    hints: Mapping[str, Any] | None = None,
    forced_host: str | None = None,
) -> None:
    """Send a new server to a host, or land it in ERROR with the reasons of every host.

    Its rows are written, but for what its own shows of its addresses.
    """
    shows = {"addresses_json": server.addresses_json, "task_state": states.SCHEDULING}
    wanted = Wanted(
        server.vcpus, server.memory_mb, server.disk_gb, server.availability_zone, forced_host, hints=dict(hints or {})
    )
    try:
        host = scheduler.place(conn, services.settings, server.id, wanted, also=shows)
    except NoValidHost as error:
        _no_host(conn, services, context, server, error)
        return
    enqueue(conn, services, context, server, ACTIONS["create"], host, secrets)


def start_unshelve(conn: Connection, services: Services, context: Context, server: ServerRow) -> None:
    """Start to bring a shelved server back, on its host or, where it is nowhere, on one that has room.

    Where none has, the server stays as it is, and its log says why, as in Nova. Raises what `begin` raises.
    """
    now = lock_row(conn, server.id)
    if now is None:
        raise errors.NotFound(f"Instance {server.uuid} could not be found.")
    check(services, context, now, "unshelve")
    host = now.host
    if host is None:
        hints = orjson.loads(now.scheduler_hints_json)
        wanted = Wanted(now.vcpus, now.memory_mb, now.disk_gb, now.availability_zone, hints=hints)
        try:
            host = scheduler.place(conn, services.settings, now.id, wanted)
        except NoValidHost as error:
            record(conn, context, now, "unshelve", str(error))
            return
    action = ACTIONS["unshelve"]
    enter(conn, now, action)
    enqueue(conn, services, context, now, action, host, {"image_id": now.shelved_image_id})


def record(conn: Connection, context: Context, server: ServerRow, name: str, error: str | None = None) -> None:
    """An action that was not begun is in the server's log, with the reason."""
    journal.record(
        conn,
        server_id=server.id,
        server_uuid=server.uuid,
        request_id=context.request_id,
        project_id=context.project_id,
        user_id=context.user_id,
        name=name,
        error=error,
    )


def follow(
    conn: Connection, services: Services, context: Context, server: ServerRow, name: str, address: str = ""
) -> None:
    """What the rows say of the server's network (of that floating address) has changed: its host makes it so, and the
    server's log shows how that went. Nothing else of the server shows it."""
    if server.host is None:
        record(conn, context, server, name)
        return
    payload = {"address": address} if address else None
    _write_down(conn, services, context, server, name, journal.APPLY_NETWORK, server.host, payload)


def _no_host(conn: Connection, services: Services, context: Context, server: ServerRow, error: NoValidHost) -> None:
    for device in block_devices.volumes(conn, server.id):
        if device.volume_id and device.attachment_id:
            services.volumes.let_go(conn, device.volume_id, device.attachment_id)
            block_devices.change(conn, device.uuid, {"attachment_id": None})
    block_devices.refresh(conn, server.id)
    addresses.release(conn, server.id)
    fault = make_fault(500, f"No valid host was found. {error.short}", error.details)
    conn.execute(
        update(Server)
        .where(Server.id == server.id)
        .values(vm_state=ERROR, task_state=None, fault_json=fault, addresses_json="{}", updated_at=clock.now())
    )
    record(conn, context, server, "create", str(error))


def make_fault(code: int, message: str, details: str = "") -> str:
    """A server's fault_json."""
    return orjson.dumps(
        {"code": code, "created": clock.api(clock.now()), "message": _short(message), "details": details}
    ).decode()


def _short(message: str) -> str:
    """At most 255 characters, as in Nova. What is left out is in the middle: a tool's own words come last."""
    return message if len(message) <= 255 else f"{message[:120].rstrip()} … {message[-132:].lstrip()}"


def _begin_delete(conn: Connection, services: Services, context: Context, server: ServerRow, action: Action) -> None:
    """Delete wins over whatever runs. It waits on the host for the running step to end, no longer (a deferred one
    for the running work).

    A server that is nowhere, or whose host is down, is gone at once: the host clears up when it is back. (Not where
    the delete is deferred: what its owner may restore must be left.) One that is being deleted already is left alone
    (so does Nova), or a client that asks every second would begin it anew each time.
    """
    alive = server.host is not None and scheduler.is_alive(conn, services.settings, server.host)
    if _is_deferred(services, server, action):
        action = ACTIONS["soft_delete"]
    operations = {"delete", action.operation}
    if alive and journal.is_busy(conn, server.id, *operations):
        return
    enter(conn, server, action)
    journal.overtake(conn, server.id, for_good=action.lands == DELETED)
    left = [{"network": nic.network_uuid, "mac": nic.mac} for nic in addresses.nics(conn, server.id)]
    if action.lands == DELETED:
        for other in sorted(hosts.traces(conn, server.id) - {server.host or ""}):
            clean_up(conn, services, context, server, other, {"disks": True, "nics": left})
    if server.host is not None and (alive or action.lands == SOFT_DELETED):
        enqueue(conn, services, context, server, action, server.host, None)
        return
    if server.host is None and services.neutron is not None:  # no host will do it
        _let_go_ports(conn, services.neutron, context, server)
    finish_delete(conn, services.volumes, server.id, context.request_id)
    if server.host is not None:
        enqueue(conn, services, context, server, action, server.host, {"nics": left})
        return
    record(conn, context, server, action.log)


def _let_go_ports(conn: Connection, neutron: Neutron, context: Context, server: ServerRow) -> None:
    kept = [port.id for port in network_cache.known(conn, server.id) if port.preserve]
    ports.let_go_all(neutron, server.uuid, kept, context)


def clean_up(
    conn: Connection,
    desk: Desk,
    context: Context,
    server: ServerRow,
    host: str,
    payload: Mapping[str, Any],
) -> None:
    """Write down that `host`, where the server does not live (any more), shall have nothing of it.

    Payload: `nics` (network and MAC of what it promised), `disks`: the volumes too, `stop`: only switch the guest off.
    """
    lands = {"hosts": {"here": host}}
    _write_down(conn, desk, context, server, "clean_up", hosts.CLEAN_UP, host, dict(payload), lands=lands, aside=True)


def _is_deferred(services: Services, server: ServerRow, action: Action) -> bool:
    return (
        action.log == "delete"
        and services.settings.reclaim_instance_interval > 0
        and server.vm_state not in (SOFT_DELETED, ERROR, BUILDING)
    )


def finish_delete(conn: Connection, volumes: VolumeBackend, server_id: int, request_id: str) -> None:
    """The server is gone: its volumes, addresses, reservation and its row's life end together.

    Volumes with delete_on_termination begin to go; the others are available.
    """
    moment = clock.now()
    for device in block_devices.volumes(conn, server_id):
        if device.volume_id:
            deletes = request_id if device.delete_on_termination else None
            volumes.let_go(conn, device.volume_id, device.attachment_id or "", deletes=deletes)
        block_devices.remove(conn, device.uuid)
    block_devices.refresh(conn, server_id)
    addresses.release(conn, server_id)
    scheduler.release(conn, server_id)
    console_tokens.drop(conn, server_id)
    conn.execute(
        update(Server)
        .where(Server.id == server_id, Server.deleted == 0)
        .values(
            vm_state=DELETED,
            task_state=None,
            power_state=0,
            deleted=1,
            deleted_at=moment,
            terminated_at=moment,
            updated_at=moment,
            user_data=None,
        )
    )
