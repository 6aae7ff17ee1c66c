# SPDX-License-Identifier: Apache-2.0
"""os-volumes and os-snapshots: the volume service as the Compute API showed it, up to 2.35.

Keys, codes and sentences: nova/api/openstack/compute/volumes.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.backends.volume.base import NewVolume, SnapshotInfo, VolumeInfo
from computeapi.endpoint import Call, Endpoint, Reply, endpoint
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule

LAST = "2.35"
VOLUMES = "os_compute_api:os-volumes:"
SNAPSHOTS = "os_compute_api:os-volumes:snapshots:"
_VOLUME, _SNAPSHOT = "/os-volumes/{volume_id}", "/os-snapshots/{snapshot_id}"

RULES = [
    rule(f"{VOLUMES}list", PROJECT_READER, "List volumes.", ("GET", "/os-volumes")),
    rule(f"{VOLUMES}detail", PROJECT_READER, "List volumes with their attributes.", ("GET", "/os-volumes/detail")),
    rule(f"{VOLUMES}create", PROJECT_MEMBER, "Make a volume.", ("POST", "/os-volumes")),
    rule(f"{VOLUMES}show", PROJECT_READER, "Show a volume.", ("GET", _VOLUME)),
    rule(f"{VOLUMES}delete", PROJECT_MEMBER, "Delete a volume.", ("DELETE", _VOLUME)),
    rule(f"{SNAPSHOTS}list", PROJECT_READER, "List snapshots.", ("GET", "/os-snapshots")),
    rule(f"{SNAPSHOTS}detail", PROJECT_READER, "List snapshots.", ("GET", "/os-snapshots/detail")),
    rule(f"{SNAPSHOTS}create", PROJECT_MEMBER, "Make a snapshot.", ("POST", "/os-snapshots")),
    rule(f"{SNAPSHOTS}show", PROJECT_READER, "Show a snapshot.", ("GET", _SNAPSHOT)),
    rule(f"{SNAPSHOTS}delete", PROJECT_MEMBER, "Delete a snapshot.", ("DELETE", _SNAPSHOT)),
]

# --- schemas ---

CREATE: p.Schema = p.wrapped(
    "volume",
    p.obj(
        {
            "volume_type": p.text_255,
            "metadata": {"type": "object", "additionalProperties": p.text_255},
            "snapshot_id": p.text_255,
            "size": {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maxLength": 12},
            "availability_zone": p.text_255,
            "display_name": p.text_255,
            "display_description": {"type": "string", "maxLength": 65535},
        },
        "size",
    ),
)
CREATE_SNAPSHOT: p.Schema = p.wrapped(
    "snapshot",
    p.obj(
        {
            "volume_id": {"type": "string"},
            "force": p.boolean,
            "display_name": p.text_255,
            "display_description": {"type": "string", "maxLength": 65535},
        },
        "volume_id",
    ),
)
QUERY = p.query({"limit": p.Q_INTEGER, "offset": p.Q_INTEGER}, multi=("limit", "offset"))
_MANY = 2**31 - 1

# --- views ---


def attachment(volume_id: str, server_id: str, device: str | None) -> dict[str, Any]:
    """A volume that a server has. Its id is the volume's, as in Nova."""
    shown = {"id": volume_id, "volumeId": volume_id, "serverId": server_id}
    return {**shown, "device": device} if device else shown


def _volume(volume: VolumeInfo) -> dict[str, Any]:
    attachments = [attachment(volume.id, each.server_id, each.device) for each in volume.attachments]
    return {
        "id": volume.id,
        "status": volume.status,
        "size": volume.size_gb,
        "availabilityZone": volume.availability_zone,
        "createdAt": volume.created_at,
        "attachments": attachments[:1] or [{}],
        "displayName": volume.name,
        "displayDescription": volume.description,
        "volumeType": volume.volume_type,
        "snapshotId": volume.snapshot_id,
        "metadata": volume.metadata,
    }


def _snapshot(snapshot: SnapshotInfo) -> dict[str, Any]:
    return {
        "id": snapshot.id,
        "volumeId": snapshot.volume_id,
        "status": snapshot.status,
        "size": snapshot.size_gb,
        "createdAt": snapshot.created_at,
        "displayName": snapshot.name,
        "displayDescription": snapshot.description,
    }


# --- handlers ---


def paging(call: Call) -> tuple[int, int]:
    """limit and offset, as Nova's `limited` has them."""
    most = call.services.settings.max_limit
    limit, offset = links.last(call, "limit"), links.last(call, "offset")
    asked = min(int(limit[:20]), most) if limit else most
    return asked or most, min(int(offset[:20]), _MANY) if offset else 0


def index(call: Call) -> dict[str, Any]:
    """GET /os-volumes, and …/detail: Nova shows the same in both."""
    limit, offset = paging(call)
    return {"volumes": [_volume(each) for each in call.services.volumes.list(call.context, limit, offset)]}


def show(call: Call) -> dict[str, Any]:
    """GET /os-volumes/{volume_id}."""
    return {"volume": _volume(call.services.volumes.show(call.context, call.params["volume_id"]))}


def create(call: Call) -> Reply:
    """POST /os-volumes."""
    wanted = call.body["volume"]
    new = NewVolume(
        int(wanted["size"]),
        name=wanted.get("display_name"),
        description=wanted.get("display_description"),
        metadata=wanted.get("metadata", {}),
        availability_zone=wanted.get("availability_zone"),
        volume_type=wanted.get("volume_type"),
        snapshot_id=wanted.get("snapshot_id"),
    )
    made = call.services.volumes.create(call.context, new)
    return Reply({"volume": _volume(made)}, headers={"Location": links.prefixes(call, "os-volumes").own + made.id})


def delete(call: Call) -> None:
    """DELETE /os-volumes/{volume_id}."""
    call.services.volumes.delete(call.context, call.params["volume_id"])


def snapshots(call: Call) -> dict[str, Any]:
    """GET /os-snapshots, and …/detail."""
    limit, offset = paging(call)
    found: Sequence[SnapshotInfo] = call.services.volumes.list_snapshots(call.context, limit, offset)
    return {"snapshots": [_snapshot(each) for each in found]}


def show_snapshot(call: Call) -> dict[str, Any]:
    """GET /os-snapshots/{snapshot_id}."""
    return {"snapshot": _snapshot(call.services.volumes.show_snapshot(call.context, call.params["snapshot_id"]))}


def create_snapshot(call: Call) -> dict[str, Any]:
    """POST /os-snapshots. `force`: also while a guest has the volume."""
    wanted = call.body["snapshot"]
    made = call.services.volumes.create_snapshot(
        call.context,
        wanted["volume_id"],
        wanted.get("display_name"),
        wanted.get("display_description"),
        force=p.truth(wanted.get("force", False)),
    )
    return {"snapshot": _snapshot(made)}


def delete_snapshot(call: Call) -> None:
    """DELETE /os-snapshots/{snapshot_id}."""
    call.services.volumes.delete_snapshot(call.context, call.params["snapshot_id"])


ROUTES: dict[str, dict[str, Endpoint]] = {
    "/os-volumes": {
        "GET": endpoint(index, f"{VOLUMES}list", query=QUERY, until=LAST),
        "POST": endpoint(create, f"{VOLUMES}create", body=CREATE, until=LAST),
    },
    "/os-volumes/detail": {"GET": endpoint(index, f"{VOLUMES}detail", query=QUERY, until=LAST)},
    _VOLUME: {
        "GET": endpoint(show, f"{VOLUMES}show", until=LAST),
        "DELETE": endpoint(delete, f"{VOLUMES}delete", until=LAST, status=202),
    },
    "/os-snapshots": {
        "GET": endpoint(snapshots, f"{SNAPSHOTS}list", query=QUERY, until=LAST),
        "POST": endpoint(create_snapshot, f"{SNAPSHOTS}create", body=CREATE_SNAPSHOT, until=LAST),
    },
    "/os-snapshots/detail": {"GET": endpoint(snapshots, f"{SNAPSHOTS}detail", query=QUERY, until=LAST)},
    _SNAPSHOT: {
        "GET": endpoint(show_snapshot, f"{SNAPSHOTS}show", until=LAST),
        "DELETE": endpoint(delete_snapshot, f"{SNAPSHOTS}delete", until=LAST, status=202),
    },
}
