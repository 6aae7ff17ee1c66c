# SPDX-License-Identifier: Apache-2.0
"""Volumes offered to another project, and taken (cinder/transfer/api.py, api/v3/volume_transfer.py).

/v3/os-volume-transfer and /v3/volume-transfers are the same. An offer that was taken is there no more.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume import common
from computeapi.api.volume.common import Json
from computeapi.db.queries import quotas, volume_quotas, volume_snapshots, volumes
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volume_transfers as queries
from computeapi.db.queries.volume_lists import TRANSFERS, VOLUMES, Found
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Version, Versioned

# --- RULES ---

GET, GET_ALL = "volume:get_transfer", "volume:get_all_transfers"
CREATE_RULE, ACCEPT_RULE, DELETE_RULE = "volume:create_transfer", "volume:accept_transfer", "volume:delete_transfer"
_PATH = "/v3/volume-transfers"

RULES = [
    rule(GET_ALL, PROJECT_READER, "List the volumes that are offered.", ("GET", _PATH)),
    rule(GET, PROJECT_READER, "Show an offer.", ("GET", _PATH + "/{id}")),
    rule(CREATE_RULE, PROJECT_MEMBER, "Offer a volume to another project.", ("POST", _PATH)),
    rule(ACCEPT_RULE, PROJECT_MEMBER, "Take a volume, with its key.", ("POST", _PATH + "/{id}/accept")),
    rule(DELETE_RULE, PROJECT_MEMBER, "Offer it no more.", ("DELETE", _PATH + "/{id}")),
]

# --- SCHEMAS ---

_CREATE: Json = {"volume_id": p.uuid, "name": {"type": ["string", "null"]}}
CREATE = Versioned(
    p.wrapped("transfer", p.obj(_CREATE, "volume_id")),
    {"3.55": p.wrapped("transfer", p.obj({**_CREATE, "no_snapshots": p.boolean}, "volume_id"))},
)
ACCEPT = p.wrapped("accept", p.obj({"auth_key": {"type": ["string", "integer"]}}, "auth_key"))
FILTERS = tuple(TRANSFERS.fields)
_SNAPSHOTS, _HISTORY, _PAGES = Version(3, 55), Version(3, 57), Version(3, 59)

# --- VIEW ---


def _brief(call: Call, row: Found) -> Json:
    return {
        "id": row.uuid,
        "volume_id": row.volume_id,
        "name": row.name,
        "links": common.links(call, _collection(call), row.uuid),
    }


def _collection(call: Call) -> str:
    return "volume-transfers" if "/volume-transfers" in call.request.path else "os-volume-transfer"


def _view(call: Call, row: Found) -> Json:
    shown = {**_brief(call, row), "created_at": row.created_at}
    if call.version >= _SNAPSHOTS:
        shown["no_snapshots"] = bool(row.no_snapshots)
    if call.version >= _HISTORY:
        shown |= {"source_project_id": row.project_id, "destination_project_id": None, "accepted": False}
    return shown


# --- HANDLERS ---


def index(call: Call) -> Json:
    """GET /v3/volume-transfers."""
    return _listed(call, "", _brief)


def detail(call: Call) -> Json:
    """GET /v3/volume-transfers/detail."""
    return _listed(call, "/detail", _view)


def _listed(call: Call, path: str, view: Any) -> Json:
    wish = common.read_wish(call, TRANSFERS, FILTERS)
    if call.version < _PAGES:
        wish.sorts = [("created_at", False)]
    with call.services.db.read() as conn:
        rows = lists.page(conn, TRANSFERS, common.listed_scope(call), wish)
    return common.paged(call, "transfers", _collection(call) + path, [view(call, row) for row in rows])


def show(call: Call) -> Json:
    """GET /v3/volume-transfers/{id}."""
    return {"transfer": _view(call, call.target)}


def create(call: Call) -> Json:
    """POST /v3/volume-transfers (202): the key is in this answer alone. Raises BadRequest for a volume in use."""
    body = call.body["transfer"]
    name, no_snapshots = _name(body.get("name")), p.truth(body.get("no_snapshots", False))
    with call.services.db.write() as conn:
        volume = volumes.get(conn, body["volume_id"], common.scope(call), lock=True)
        if volume is None:
            raise VOLUMES.not_found(body["volume_id"])
        call.check(CREATE_RULE, volume.project_id)
        if volume.status != "available":
            raise common.invalid_volume("status must be available")
        if not no_snapshots:
            for snapshot in volume_snapshots.of_volume(conn, volume.uuid):
                if snapshot.status != "available":
                    raise errors.BadRequest(f"Invalid snapshot: snapshot: {snapshot.uuid} status must be available")
        transfer_id, key = queries.offer(conn, volume, name, no_snapshots=no_snapshots)
        row = lists.find(conn, TRANSFERS, transfer_id, None)
    return {"transfer": {**_view(call, row), "auth_key": key}}


def _name(name: str | None) -> str | None:
    if name is None:
        return None
    name = name.strip()
    if not name:
        raise errors.BadRequest("An invalid 'name' value was provided. The 'name' can not be empty.")
    if len(name) > 255:
        raise errors.BadRequest(
            "An invalid 'name' value was provided. The 'name' can not be greater than 255 characters."
        )
    return name


def accept(call: Call) -> Json:
    """POST /v3/volume-transfers/{id}/accept (202). Whoever has the key may. Raises BadRequest, QuotaExceeded."""
    transfer_id, key = call.params["id"], str(call.body["accept"]["auth_key"])
    with call.services.db.write() as conn:
        transfer = lists.find(conn, TRANSFERS, transfer_id, None)
        if not queries.opens(transfer, key):
            raise errors.BadRequest(f"Invalid auth key: Attempt to transfer {transfer_id} with invalid auth key.")
        volume = volumes.get(conn, transfer.volume_id, None, lock=True)
        if volume is None or not queries.lock(conn, transfer_id):
            raise TRANSFERS.not_found(transfer_id)
        if volume.status != queries.OFFERED:
            raise common.invalid_volume(
                f"Transfer {transfer_id}: Volume id {volume.uuid} expected in awaiting-transfer state."
            )
        _check_quota(call, conn, transfer, volume)
        queries.take(conn, transfer, volume, call.project_id, str(call.context.user_id))
    return {"transfer": _brief(call, transfer)}


def _check_quota(call: Call, conn: Connection, transfer: Found, volume: volumes.VolumeRow) -> None:
    """The taker may have it. To take what is one's own already costs nothing."""
    if volume.project_id == call.project_id:
        return
    services = call.services
    snapshots = [] if transfer.no_snapshots else volume_snapshots.of_volume(conn, volume.uuid)
    services.db.lock(conn, quotas.lock_name(call.project_id))
    volume_quotas.check_size(conn, services.settings, call.project_id, volume.size_gb)
    volume_quotas.check(
        conn,
        services.settings,
        call.project_id,
        volume.type_name,
        volumes=1,
        snapshots=len(snapshots),
        gigabytes=volume.size_gb + sum(each.size_gb for each in snapshots),
    )


def delete(call: Call) -> None:
    """DELETE /v3/volume-transfers/{id} (202)."""
    with call.services.db.write() as conn:
        queries.withdraw(conn, call.target)
