# SPDX-License-Identifier: Apache-2.0
"""The actions migrate, os-migrateLive and evacuate.

nova/api/openstack/compute/migrate_server.py and evacuate.py. The reference spells evacuate's parameters otherwise than
today's clients: both are taken, and the answer is in the caller's spelling.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors, moves
from computeapi.api import parameters as p
from computeapi.api.compute.servers.passwords import generate_password
from computeapi.db.queries import hosts
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

_URL = ("POST", "/servers/{server_id}/action")

RULES = [
    rule("os_compute_api:os-migrate-server:migrate", ADMIN, "Move a server to another host.", _URL),
    rule("os_compute_api:os-migrate-server:migrate_live", ADMIN, "Move a running server to another host.", _URL),
    rule("os_compute_api:os-evacuate", ADMIN, "Make a server of a lost host anew on another.", _URL),
]

# --- schemas ---

_HOST: p.Schema = {"type": ["string", "null"], "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9-._]*$"}
MIGRATE_LIVE = p.wrapped(
    "os-migrateLive",
    p.obj(
        {"host": _HOST, "block_migration": p.boolean, "disk_over_commit": p.boolean},
        "block_migration",
        "disk_over_commit",
        "host",
    ),
)
EVACUATE = p.wrapped(
    "evacuate",
    p.obj(
        {
            "host": p.hostname,
            "adminPass": p.admin_password,
            "admin_password": p.admin_password,
            "onSharedStorage": p.boolean,
            "on_shared_storage": p.boolean,
        },
        anyOf=[{"required": ["onSharedStorage"]}, {"required": ["on_shared_storage"]}],
    ),
)

# --- handlers ---


def migrate(call: Call) -> None:
    """Move the server, switched off meanwhile, to a host that the scheduler chooses; its owner confirms it then."""
    with call.services.db.write() as conn:
        moves.start_migrate(conn, call.services, call.context, call.target)


def migrate_live(call: Call) -> None:
    """Move the server while it runs. `disk_over_commit` is taken, and changes nothing: disks are reserved in full."""
    wanted: dict[str, Any] = call.body["os-migrateLive"]
    with call.services.db.write() as conn:
        moves.start_live_migration(
            conn, call.services, call.context, call.target, wanted["host"], p.truth(wanted["block_migration"])
        )


def evacuate(call: Call) -> dict[str, Any]:
    """Make a server of a lost host anew on another one; its new password, where its disk is made anew too."""
    wanted: dict[str, Any] = call.body["evacuate"]
    server, host = call.target, wanted.get("host")
    shared = p.truth(wanted.get("onSharedStorage", wanted.get("on_shared_storage")))
    password = wanted.get("adminPass", wanted.get("admin_password"))
    if password is not None and shared:
        raise errors.BadRequest("admin password can't be changed on existing disk")
    if password is None and not shared:
        password = generate_password()
    with call.services.db.write() as conn:
        if host is not None and hosts.find(conn, host) is None:
            raise errors.NotFound(f"Compute host {host} not found.")
        if host is not None and host == server.host:
            raise errors.BadRequest("The target host can't be the same one.")
        moves.start_evacuation(conn, call.services, call.context, server, host, shared=shared, password=password)
    return {"admin_password" if "on_shared_storage" in wanted else "adminPass": password}
