# SPDX-License-Identifier: Apache-2.0
"""os-hosts (nova/api/openstack/compute/hosts.py): the machines, what is taken of them, and their power.

Maintenance mode takes a host out of the scheduler's sight and moves its servers away; what can't move yet follows when
it can (computeapi.compute.sweeps.keep_empty). Power is the business of the operator's program (setting
`host_power_command`).
"""

from __future__ import annotations

import logging
import shlex
import subprocess
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from computeapi import errors, moves
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.db.queries import hypervisors, services
from computeapi.db.queries.hypervisors import Taken
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

LOG = logging.getLogger("computeapi.api")

Json = dict[str, Any]

# --- RULES ---

HOSTS = "os_compute_api:os-hosts:"
_ONE = "/os-hosts/{host_name}"

RULES = [
    rule(HOSTS + "list", ADMIN, "List the hosts.", ("GET", "/os-hosts")),
    rule(HOSTS + "show", ADMIN, "See what is taken of a host.", ("GET", _ONE)),
    rule(HOSTS + "update", ADMIN, "Enable a host, or put it into maintenance.", ("PUT", _ONE)),
    rule(HOSTS + "reboot", ADMIN, "Reboot a host.", ("GET", _ONE + "/reboot")),
    rule(HOSTS + "shutdown", ADMIN, "Shut a host down.", ("GET", _ONE + "/shutdown")),
    rule(HOSTS + "start", ADMIN, "Start a host.", ("GET", _ONE + "/startup")),
]

# --- SCHEMAS ---

LIST_QUERY = p.query({"zone": p.Q_ANY}, multi=("zone",))

_ON_OFF: Json = {"type": "string", "enum": ["enable", "disable", "Enable", "Disable", "ENABLE", "DISABLE"]}
UPDATE = p.obj(
    {"status": _ON_OFF, "maintenance_mode": _ON_OFF},
    anyOf=[{"required": ["status"]}, {"required": ["maintenance_mode"]}],
)

_POWER_SECONDS = 30

# --- VIEW ---


def _resource(host: str, taken: Taken) -> Json:
    return {
        "resource": {
            "host": host,
            "project": taken.project_id,
            "cpu": taken.vcpus,
            "memory_mb": taken.memory_mb,
            "disk_gb": taken.disk_gb,
        }
    }


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /os-hosts: each enabled service's host, with filter `zone`."""
    zone = links.last(call, "zone")
    with call.services.db.read() as conn:
        found = services.every(conn, call.services.settings)
    return {
        "hosts": [
            {"host_name": service.host, "service": service.topic, "zone": service.zone}
            for service in found
            if not service.disabled and (not zone or service.zone == zone)
        ]
    }


def show(call: Call) -> Json:
    """GET /os-hosts/{host}: its size, what is reserved now, what all servers' flavors come to, and that by project."""
    host = call.params["host_name"]
    with call.services.db.snapshot() as conn:
        machine = hypervisors.machine(conn, host)
        projects = hypervisors.taken_by_project(conn, host)
    most = Taken(
        "(used_max)",
        sum(taken.vcpus for taken in projects),
        sum(taken.memory_mb for taken in projects),
        sum(taken.disk_gb for taken in projects),
    )
    rows = [
        Taken("(total)", machine.vcpus, machine.memory_mb, machine.disk_gb),
        Taken("(used_now)", machine.vcpus_used, machine.memory_mb_used, machine.disk_gb_used),
        most,
        *projects,
    ]
    return {"host": [_resource(host, taken) for taken in rows]}


def update(call: Call) -> Json:
    """PUT /os-hosts/{host}: `status` and `maintenance_mode`, either or both; nothing changes unless all can."""
    host = call.params["host_name"]
    shown: Json = {"host": host}
    with call.services.db.write() as conn:
        hypervisors.machine(conn, host, lock=True)
        if "status" in call.body:
            enabled = call.body["status"].lower() == "enable"
            services.change(conn, host, disabled=int(not enabled), disabled_reason=None)
            shown["status"] = "enabled" if enabled else "disabled"
        if "maintenance_mode" in call.body:
            on = call.body["maintenance_mode"].lower() == "enable"
            (_enter_maintenance if on else _leave_maintenance)(conn, host)
            shown["maintenance_mode"] = "on_maintenance" if on else "off_maintenance"
    if shown.get("maintenance_mode") == "on_maintenance":
        for server_id, why in moves.drain(call.services, host)[1].items():
            LOG.warning("server %s stays on host %s, which is in maintenance: %s", server_id, host, why)
    return shown


def _enter_maintenance(conn: Connection, host: str) -> None:
    services.change(conn, host, disabled=1, disabled_reason=moves.IN_MAINTENANCE)


def _leave_maintenance(conn: Connection, host: str) -> None:
    if hypervisors.machine(conn, host).disabled_reason == moves.IN_MAINTENANCE:
        services.change(conn, host, disabled=0, disabled_reason=None)


def power(action: str) -> Callable[[Call], Json]:
    """The handler of GET /os-hosts/{host}/<action>; raises NotImplementedHere where no program is configured."""

    def handler(call: Call) -> Json:
        host, command = call.params["host_name"], call.services.settings.host_power_command
        with call.services.db.read() as conn:
            hypervisors.machine(conn, host)
        if not command:
            raise errors.NotImplementedHere("The power of hosts can't be switched: host_power_command is not set.")
        _run([*shlex.split(command), action, host])
        return {"host": host, "power_action": action}

    return handler


def _run(command: list[str]) -> None:
    """Run the operator's program, without a shell. Raises Conflict where it fails."""
    try:
        done = subprocess.run(  # the operator's own setting, and a host that we know
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_POWER_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        LOG.error("the power command failed: %s", error)
        raise errors.Conflict("The power command could not be run, or did not end in time.") from error
    if done.returncode:
        LOG.error("the power command ended with %d: %s", done.returncode, done.stderr[:2000].decode(errors="replace"))
        raise errors.Conflict(f"The power command ended with exit status {done.returncode}.")
