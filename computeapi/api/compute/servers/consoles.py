# SPDX-License-Identifier: Apache-2.0
"""os-getVNCConsole and its like: a URL that opens a server's console (nova/api/openstack/compute/remote_consoles.py).

The host says whether the guest has such a console; the token is made here, in the transaction that sees the server
still running there. `computeapi console` on that host takes the token.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from computeapi import errors, states
from computeapi.api import parameters as p
from computeapi.ask import Refused, ask
from computeapi.db.models import Host
from computeapi.db.queries import console_tokens
from computeapi.db.queries.servers import ServerRow, lock_row
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, rule

# --- RULES ---

RULES = [
    rule(
        "os_compute_api:os-remote-consoles",
        PROJECT_MEMBER,
        "Get a URL that opens a server's console.",
        ("POST", "/servers/{server_id}/action"),
    ),
]

# --- SCHEMAS ---


def _typed(action: str, *types: str) -> p.Schema:
    return p.wrapped(action, p.obj({"type": {"type": "string", "enum": list(types)}}, "type"))


# Wire name → body; Nova's have no types but these (nova/api/openstack/compute/schemas/remote_consoles.py).
ACTIONS: dict[str, p.Schema] = {
    name: _typed(name, *types)
    for name, types in {
        "os-getVNCConsole": ("novnc", "xvpvnc"),
        "os-getSPICEConsole": ("spice-html5",),
        "os-getRDPConsole": ("rdp-html5",),
        "os-getSerialConsole": ("serial",),
    }.items()
}

# type → what the hypervisor calls it, and the page of the console proxy that shows it.
_KINDS: dict[str, tuple[str, str]] = {
    "novnc": ("vnc", "vnc_auto.html"),
    "xvpvnc": ("vnc", "console"),
    "spice-html5": ("spice", "spice_auto.html"),
    "rdp-html5": ("rdp", ""),
    "serial": ("serial", ""),
}

# --- VIEW ---


def _url(base: str, console_type: str, token: str) -> str:
    """As in Nova a serial console's is a websocket's; a browser shows it at the same address with http."""
    if console_type == "serial":
        base = "ws" + base.removeprefix("http")
    return f"{base}/{_KINDS[console_type][1]}?token={token}"


# --- HANDLERS ---


def get(call: Call) -> dict[str, Any]:
    """The URL. BadRequest where the guest has no such console, Conflict where it does not run."""
    server: ServerRow = call.target
    (wanted,) = call.body.values()
    console_type: str = wanted["type"]
    try:
        ask(call.services, call.context, server, "check_console", {"kind": _KINDS[console_type][0]})
    except Refused as error:
        raise _refusal(server, console_type, error) from error
    with call.services.db.write() as conn:
        now = lock_row(conn, server.id)
        if now is None:
            raise errors.NotFound(f"Instance {server.uuid} could not be found.")
        if now.host is None or now.host != server.host or now.power_state in states.OFF:
            raise _not_ready(server)
        base = conn.execute(select(Host.console_url).where(Host.name == now.host)).scalar()
        if not base:
            raise errors.BadRequest(f"Unavailable console type {console_type}.")
        seconds = call.services.settings.token_ttl
        token = console_tokens.add(conn, now.id, console_type, now.host, seconds)
    return {"console": {"type": console_type, "url": _url(base, console_type, token)}}


def _refusal(server: ServerRow, console_type: str, error: Refused) -> errors.Error:
    if error.kind == "ConsoleUnavailable":
        return errors.BadRequest(f"Unavailable console type {console_type}.")
    if error.kind == "NotRunning" or (error.kind == "DomainNotFound" and server.vm_state == states.BUILDING):
        return _not_ready(server)
    if error.kind == "DomainNotFound":
        return errors.NotFound(f"Instance {server.uuid} could not be found.")
    return error


def _not_ready(server: ServerRow) -> errors.Conflict:
    return errors.Conflict(f"Instance {server.uuid} is not ready")
