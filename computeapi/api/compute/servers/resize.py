# SPDX-License-Identifier: Apache-2.0
"""The actions resize, confirmResize and revertResize.

nova/api/openstack/compute/servers.py (_resize, _confirm_resize, _revert_resize); nova/compute/api.py (resize).
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors, lifecycle, moves, scheduler
from computeapi.api import parameters as p
from computeapi.api.compute.servers.create import frozen_flavor
from computeapi.db.queries import flavors, hosts, migrations, quotas, servers
from computeapi.db.queries.flavors import FlavorRow
from computeapi.db.queries.migrations import MigrationRow
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Handler
from computeapi.policy import PROJECT_MEMBER, rule

_URL = ("POST", "/servers/{server_id}/action")
_GIB = 1024**3

RULES = [
    rule("os_compute_api:servers:resize", PROJECT_MEMBER, "Resize a server.", _URL),
    rule("os_compute_api:servers:confirm_resize", PROJECT_MEMBER, "Confirm a server's resize.", _URL),
    rule("os_compute_api:servers:revert_resize", PROJECT_MEMBER, "Take a server's resize back.", _URL),
]

RESIZE = p.wrapped("resize", p.obj({"flavorRef": p.flavor_ref, "OS-DCF:diskConfig": p.disk_config}, "flavorRef"))


def resize(call: Call) -> None:
    """Give the server another flavor; the owner confirms or reverts it afterwards."""
    wanted: dict[str, Any] = call.body["resize"]
    server: ServerRow = call.target
    lifecycle.check(call.services, call.context, server, "resize")
    with call.services.db.read() as conn:
        flavor = _flavor(call, conn, str(wanted["flavorRef"]).rsplit("/", 1)[-1])
    _check_change(call, server, flavor, wanted)
    with call.services.db.write() as conn:
        _check_quota(call, conn, server, flavor)
        moves.start_resize(conn, call.services, call.context, server, flavor.flavor_id, frozen_flavor(flavor))
        disk_config = wanted.get("OS-DCF:diskConfig", "MANUAL")
        servers.change(conn, server.id, {"disk_config": disk_config})


def _flavor(call: Call, conn: Connection, flavor_id: str) -> FlavorRow:
    project_id = None if call.context.is_admin else call.project_id
    missing = f"Flavor {flavor_id} could not be found."
    try:
        flavor = flavors.find(conn, flavor_id, project_id)
    except errors.NotFound:
        raise errors.BadRequest(missing) from None
    if flavor.disabled and flavor_id != call.target.flavor_id:
        raise errors.BadRequest(missing)
    return flavor


def _check_change(call: Call, server: ServerRow, flavor: FlavorRow, wanted: dict[str, Any]) -> None:
    """Raise BadRequest for what can't become of this server."""
    old = orjson.loads(server.flavor_json)
    disk, ephemeral = int(old.get("disk") or 0), int(old.get("ephemeral") or 0)
    properties = orjson.loads(server.image_json)
    if wanted.get("OS-DCF:diskConfig") == "AUTO" and properties.get("auto_disk_config") == "disabled":
        raise errors.BadRequest(f"Requested image {server.image_id} has automatic disk resize disabled.")
    if server.image_id and flavor.disk_gb == 0 and disk:
        raise _disk_stays("Resize to zero disk flavor is not allowed.")
    if flavor.flavor_id == server.flavor_id:
        raise errors.BadRequest("When resizing, instances must change flavor!")
    if not server.image_id:
        return
    if flavor.memory_mb < _least_memory(call, server):
        raise errors.BadRequest("Flavor's memory is too small for requested image.")
    if flavor.disk_gb and flavor.disk_gb < disk:
        raise errors.BadRequest(
            "Flavor's disk is smaller than the minimum size specified in image metadata. "
            f"Flavor disk is {flavor.disk_gb * _GIB} bytes, minimum size is {disk * _GIB} bytes."
        )
    if flavor.ephemeral_gb < ephemeral:
        raise _disk_stays("Resizing an ephemeral disk down is not allowed.")


def _disk_stays(reason: str) -> errors.BadRequest:
    return errors.BadRequest(f"Server disk was unable to be resized because: {reason}")


def _least_memory(call: Call, server: ServerRow) -> int:
    """What the server's image asks for, if it still is."""
    with suppress(errors.NotFound, errors.Forbidden):
        return call.services.images.show(call.context, server.image_id).min_ram
    return 0


def _check_quota(call: Call, conn: Connection, server: ServerRow, flavor: FlavorRow) -> None:
    """Raise QuotaExceeded where the project (the server's, whoever asks) may not have so much more."""
    call.services.db.lock(conn, f"quota:{server.project_id}")
    more = {"cores": flavor.vcpus - server.vcpus, "ram": flavor.memory_mb - server.memory_mb}
    limits = quotas.limits_for(conn, call.services.settings, server.project_id, server.user_id)
    used = quotas.used(conn, server.project_id)
    over = sorted(name for name in more if more[name] > 0 and 0 <= limits[name] < used[name] + more[name])
    if over:
        names, requested = ", ".join(over), ", ".join(str(more[name]) for name in over)
        taken = ", ".join(str(used[name]) for name in over)
        allowed = ", ".join(str(limits[name]) for name in over)
        raise errors.QuotaExceeded(
            f"Quota exceeded for {names}: Requested {requested}, but already used {taken} of {allowed} {names}"
        )


def _end(action: str, status: str) -> Handler:
    def handler(call: Call) -> None:
        server: ServerRow = call.target
        lifecycle.check(call.services, call.context, server, action)
        with call.services.db.write() as conn:
            migration = migrations.waiting(conn, server.id)
            if migration is None:
                raise errors.BadRequest("Instance has not been resized.")
            _begin(conn, call, action, migration)
            migrations.change(conn, migration.id, status=status)

    handler.__doc__ = f"Start {action} of the resize that waits for it."
    return handler


def _begin(conn: Connection, call: Call, action: str, migration: MigrationRow) -> None:
    """Back to another host is another operation, and needs that host."""
    payload: dict[str, Any] = {"migration": migration.id}
    places = None
    if action == "revert_resize" and migration.moved:
        action = "revert_move"
        source, destination = str(migration.source), str(migration.destination)
        if not scheduler.is_alive(conn, call.services.settings, source):
            raise errors.Conflict("Service is unavailable at this time.")
        payload["shared"] = hosts.share_storage(conn, source, destination)
        places = {"source": source, "destination": destination}
    lifecycle.begin(conn, call.services, call.context, call.target, action, payload, hosts=places)


confirm = _end("confirm_resize", migrations.CONFIRMING)
revert = _end("revert_resize", migrations.REVERTING)
