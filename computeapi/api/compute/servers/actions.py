# SPDX-License-Identifier: Apache-2.0
"""POST /servers/{server_id}/action: the lines of SERVER_ACTIONS, each a row of lifecycle.ACTIONS made reachable.

Rules and their defaults: nova/policies/servers.py, pause_server.py, suspend_server.py, lock_server.py and so on.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import update

from computeapi import clock, errors, journal, lifecycle, states, validation
from computeapi.api import parameters as p
from computeapi.api.compute import attach_interfaces, volume_attachments
from computeapi.api.compute.servers import consoles, images, migrate, rebuild, rescue, resize, shelve
from computeapi.api.compute.servers.loader import load
from computeapi.api.compute.servers.passwords import for_owner
from computeapi.ask import Refused, ask
from computeapi.db.models import Server
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Endpoint, Handler, endpoint
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Versioned

_URL = ("POST", "/servers/{server_id}/action")

RULES = [
    rule("os_compute_api:servers:reboot", PROJECT_MEMBER, "Reboot a server.", _URL),
    rule("os_compute_api:servers:start", PROJECT_MEMBER, "Start a server.", _URL),
    rule("os_compute_api:servers:stop", PROJECT_MEMBER, "Stop a server.", _URL),
    rule("os_compute_api:os-pause-server:pause", PROJECT_MEMBER, "Pause a server.", _URL),
    rule("os_compute_api:os-pause-server:unpause", PROJECT_MEMBER, "Unpause a server.", _URL),
    rule("os_compute_api:os-suspend-server:suspend", PROJECT_MEMBER, "Suspend a server.", _URL),
    rule("os_compute_api:os-suspend-server:resume", PROJECT_MEMBER, "Resume a suspended server.", _URL),
    rule("os_compute_api:os-lock-server:lock", PROJECT_MEMBER, "Lock a server.", _URL),
    rule("os_compute_api:os-lock-server:unlock", PROJECT_MEMBER, "Unlock a server.", _URL),
    rule(
        "os_compute_api:os-lock-server:unlock:unlock_override",
        ADMIN,
        "Unlock a server that another locked, and act on it while it is locked.",
        _URL,
    ),
    rule("os_compute_api:os-console-output", PROJECT_MEMBER, "Read a server's console log.", _URL),
    rule("os_compute_api:os-admin-password", PROJECT_MEMBER, "Change a server's administrator password.", _URL),
    rule("os_compute_api:os-admin-actions:reset_state", ADMIN, "Set a server's state.", _URL),
    rule("os_compute_api:os-deferred-delete:restore", PROJECT_MEMBER, "Restore a soft-deleted server.", _URL),
    rule("os_compute_api:os-deferred-delete:force", PROJECT_MEMBER, "Delete a server at once.", _URL),
    rule(
        "os_compute_api:os-server-diagnostics",
        ADMIN,
        "Show a server's diagnostics.",
        ("GET", "/servers/{server_id}/diagnostics"),
    ),
    rule(
        "os_compute_api:os-instance-actions:list",
        PROJECT_READER,
        "List a server's actions.",
        ("GET", "/servers/{server_id}/os-instance-actions"),
    ),
    rule(
        "os_compute_api:os-instance-actions:show",
        PROJECT_READER,
        "Show one of a server's actions.",
        ("GET", "/servers/{server_id}/os-instance-actions/{request_id}"),
    ),
    rule(
        "os_compute_api:os-instance-actions:events",
        ADMIN,
        "See the events of an action with their tracebacks.",
        ("GET", "/servers/{server_id}/os-instance-actions/{request_id}"),
    ),
    *consoles.RULES,
    *images.RULES,
    *migrate.RULES,
    *rebuild.RULES,
    *rescue.RULES,
    *resize.RULES,
    *shelve.RULES,
]

# --- schemas ---

_NOTHING: p.Schema = {}  # Nova does not look at what stands behind the name of such an action
_REBOOT = p.wrapped(
    "reboot",
    p.obj({"type": {"type": "string", "enum": ["HARD", "Hard", "hard", "SOFT", "Soft", "soft"]}}, "type"),
)
_CHANGE_PASSWORD = p.wrapped("changePassword", p.obj({"adminPass": p.admin_password}, "adminPass"))
_RESET_STATE = p.wrapped("os-resetState", p.obj({"state": {"type": "string", "enum": ["active", "error"]}}, "state"))
_CONSOLE_OUTPUT = p.wrapped(
    "os-getConsoleOutput",
    p.obj({"length": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$", "minimum": -1}}),
)

_MAX_LINES = 1_000_000  # more than the host keeps

# --- handlers ---


def act(name: str) -> Handler:
    """The handler that starts the row `name` of lifecycle.ACTIONS; the answer has no body."""

    def handler(call: Call) -> None:
        with call.services.db.write() as conn:
            lifecycle.begin(conn, call.services, call.context, call.target, name)

    handler.__doc__ = f"Start {name}."
    return handler


_SOFT, _HARD = act("reboot_soft"), act("reboot_hard")


def reboot(call: Call) -> None:
    """SOFT asks the guest; HARD pulls the plug and makes the guest anew from its disk."""
    (_SOFT if call.body["reboot"]["type"].upper() == "SOFT" else _HARD)(call)


def _write(call: Call, name: str, **columns: Any) -> None:
    """An action that needs no host: its change and its line in the log."""
    server: ServerRow = call.target
    with call.services.db.write() as conn:
        conn.execute(
            update(Server).where(Server.id == server.id, Server.deleted == 0).values(updated_at=clock.now(), **columns)
        )
        journal.record(
            conn,
            server_id=server.id,
            server_uuid=server.uuid,
            request_id=call.context.request_id,
            project_id=call.context.project_id,
            user_id=call.context.user_id,
            name=name,
        )


def lock(call: Call) -> None:
    """Nobody but an administrator may act on the server. A lock by an administrator outranks its owner's."""
    server: ServerRow = call.target
    is_owner = server.project_id == call.context.project_id
    if server.locked and server.locked_by == "admin" and is_owner:
        return
    _write(call, "lock", locked=1, locked_by="owner" if is_owner else "admin")


def unlock(call: Call) -> None:
    """The end of a lock; one that an administrator set, an administrator ends."""
    server: ServerRow = call.target
    if server.locked and not (server.project_id == call.context.project_id and server.locked_by == "owner"):
        call.check("os_compute_api:os-lock-server:unlock:unlock_override", server.project_id, server.user_id)
    _write(call, "unlock", locked=0, locked_by=None)


def reset_state(call: Call) -> None:
    """Say what state the server is in, whatever it is: the administrator's way out. What is under way goes on."""
    vm_state = {"active": states.ACTIVE, "error": states.ERROR}[call.body["os-resetState"]["state"]]
    _write(call, "resetState", vm_state=vm_state, task_state=None)


def console_output(call: Call) -> dict[str, Any]:
    """The end of the serial console: `length` lines, or all that is kept."""
    length = (call.body["os-getConsoleOutput"] or {}).get("length")
    lines = None if length is None else min(int(length), _MAX_LINES)
    try:
        text = ask(call.services, call.context, call.target, "console_output", {"lines": lines})
    except Refused as error:
        if error.kind == "DomainNotFound":
            raise errors.NotFound("Unable to get console") from error
        raise
    return {"output": text}


def change_password(call: Call) -> None:
    """Set the administrator's password in the guest, by its agent. Conflict where the guest has none.

    As in Nova, the key pair's owner can ask for it afterwards (os-server-password).
    """
    server: ServerRow = call.target
    lifecycle.check_lock(call.services, call.context, server)
    lifecycle.check_state(server, "changePassword", (states.ACTIVE,))
    password = call.body["changePassword"]["adminPass"]
    payload = {"user": _administrator(server), "password": password}
    try:
        ask(call.services, call.context, server, "set_password", payload)
    except Refused as error:
        raise errors.Conflict(f"Failed to set admin password on {server.uuid} because {error.message}") from error
    encrypted = for_owner(server.key_data, password)
    _write(call, "changePassword", **({"password": encrypted} if encrypted else {}))


def _administrator(server: ServerRow) -> str:
    """Who has the admin password in the guest (Nova's set_admin_password of libvirt): its image says."""
    properties = orjson.loads(server.image_json)
    usual = "Administrator" if properties.get("os_type") == "windows" else "root"
    return str(properties.get("os_admin_user") or usual)


def diagnostics(call: Call) -> Any:
    """GET /servers/{server_id}/diagnostics: the hypervisor's own figures."""
    server: ServerRow = call.target
    if server.power_state != states.PowerState.RUNNING:
        raise lifecycle.invalid_state(server, "get_diagnostics", "vm_state")
    return ask(call.services, call.context, server, "diagnostics")


def _row(handler: Handler, rule_name: str, body: p.Schema | None = None, status: int = 202) -> Endpoint:
    return endpoint(handler, f"os_compute_api:{rule_name}", body=body, loads=load, status=status)


# Wire name → row. The state machine behind each is lifecycle.ACTIONS.
SERVER_ACTIONS: dict[str, Endpoint] = {
    "reboot": _row(reboot, "servers:reboot", _REBOOT),
    "os-start": _row(act("start"), "servers:start", _NOTHING),
    "os-stop": _row(act("stop"), "servers:stop", _NOTHING),
    "pause": _row(act("pause"), "os-pause-server:pause", _NOTHING),
    "unpause": _row(act("unpause"), "os-pause-server:unpause", _NOTHING),
    "suspend": _row(act("suspend"), "os-suspend-server:suspend", _NOTHING),
    "resume": _row(act("resume"), "os-suspend-server:resume", _NOTHING),
    "lock": _row(lock, "os-lock-server:lock", _NOTHING),
    "unlock": _row(unlock, "os-lock-server:unlock", _NOTHING),
    "os-getConsoleOutput": _row(console_output, "os-console-output", _CONSOLE_OUTPUT, status=200),
    **{name: _row(consoles.get, "os-remote-consoles", body, status=200) for name, body in consoles.ACTIONS.items()},
    "changePassword": _row(change_password, "os-admin-password", _CHANGE_PASSWORD),
    "os-resetState": _row(reset_state, "os-admin-actions:reset_state", _RESET_STATE),
    "restore": _row(act("restore"), "os-deferred-delete:restore", _NOTHING),
    "rebuild": replace(
        _row(rebuild.rebuild, "servers:rebuild", rebuild.REBUILD),
        relaxed=Versioned(validation.relaxed(rebuild.REBUILD_V2)),
    ),
    "rescue": _row(rescue.rescue, "os-rescue", rescue.RESCUE, status=200),
    "unrescue": _row(act("unrescue"), "os-unrescue", _NOTHING),
    "resize": _row(resize.resize, "servers:resize", resize.RESIZE),
    "confirmResize": _row(resize.confirm, "servers:confirm_resize", _NOTHING, status=204),
    "revertResize": _row(resize.revert, "servers:revert_resize", _NOTHING),
    "migrate": _row(migrate.migrate, "os-migrate-server:migrate", _NOTHING),
    "os-migrateLive": _row(migrate.migrate_live, "os-migrate-server:migrate_live", migrate.MIGRATE_LIVE),
    "evacuate": _row(migrate.evacuate, "os-evacuate", migrate.EVACUATE, status=200),
    "shelve": _row(shelve.shelve, "os-shelve:shelve", _NOTHING),
    "unshelve": _row(shelve.unshelve, "os-shelve:unshelve", _NOTHING),
    "shelveOffload": _row(act("shelve_offload"), "os-shelve:shelve_offload", _NOTHING),
    "createImage": _row(images.create_image, "servers:create_image", images.CREATE_IMAGE),
    "createBackup": replace(
        _row(images.create_backup, "os-create-backup", images.CREATE_BACKUP),
        relaxed=Versioned(validation.relaxed(images.CREATE_BACKUP_V2)),
    ),
    **attach_interfaces.ACTIONS,
    **volume_attachments.ACTIONS,
    "forceDelete": _row(act("force_delete"), "os-deferred-delete:force", _NOTHING),
}
