# SPDX-License-Identifier: Apache-2.0
"""Metadata of volumes and snapshots (cinder/api/v3/volume_metadata.py, snapshot_metadata.py).

From 3.15 on a volume's metadata has an ETag, and a change may say by If-Match of which it is one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume.common import METADATA, Json
from computeapi.db.queries import volume_snapshots, volumes
from computeapi.db.queries.volume_lists import SNAPSHOTS, VOLUMES, Found, Kind
from computeapi.endpoint import Call, Reply
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule
from computeapi.versions import Version

# --- RULES ---

_PATHS = {"volume": "/v3/volumes/{id}/metadata", "snapshot": "/v3/snapshots/{id}/metadata"}

RULES = [
    each
    for noun, name, path in (
        ("volume", "volume:{}_volume_metadata", _PATHS["volume"]),
        ("snapshot", "volume:{}_snapshot_metadata", _PATHS["snapshot"]),
    )
    for each in (
        rule(name.format("get"), PROJECT_READER, f"See a {noun}'s metadata.", ("GET", path)),
        rule(name.format("create"), PROJECT_MEMBER, f"Add to a {noun}'s metadata.", ("POST", path)),
        rule(name.format("update"), PROJECT_MEMBER, f"Change a {noun}'s metadata.", ("PUT", path)),
        rule(name.format("delete"), PROJECT_MEMBER, f"Take from a {noun}'s metadata.", ("DELETE", path + "/{key}")),
    )
]

# --- SCHEMAS ---

CHANGE = p.wrapped("metadata", METADATA)
CHANGE_ONE = p.wrapped("meta", METADATA)

_ETAGS = Version(3, 15)

# --- HANDLERS ---

Change = Callable[[dict[str, str]], dict[str, str]]


def index(call: Call) -> Any:
    """GET …/metadata."""
    metadata = orjson.loads(call.target.metadata_json)
    if call.version < _ETAGS or not hasattr(call.target, "bootable"):
        return {"metadata": metadata}
    return Reply({"metadata": metadata}, headers={"ETag": _etag(metadata)})


def _etag(metadata: dict[str, str]) -> str:
    return hashlib.md5(orjson.dumps({"metadata": metadata}), usedforsecurity=False).hexdigest()


def show(call: Call) -> Json:
    """GET …/metadata/{key}."""
    metadata, key = orjson.loads(call.target.metadata_json), call.params["key"]
    if key not in metadata:
        raise _no_key(call)
    return {"meta": {key: metadata[key]}}


def _no_key(call: Call) -> errors.NotFound:
    noun = "Volume" if hasattr(call.target, "bootable") else "Snapshot"
    return errors.NotFound(f"{noun} {call.target.uuid} has no metadata with key {call.params['key']}.")


def create(call: Call) -> Any:
    """POST …/metadata: add to it."""
    wanted = call.body["metadata"]
    return {"metadata": _change(call, lambda metadata: {**metadata, **wanted})}


def replace(call: Call) -> Any:
    """PUT …/metadata: this instead of it."""
    if not _is_of_this(call):
        return Reply(status=412)
    wanted = call.body["metadata"]
    return {"metadata": _change(call, lambda _metadata: wanted)}


def update(call: Call) -> Any:
    """PUT …/metadata/{key}."""
    wanted = call.body["meta"]
    if call.params["key"] not in wanted:
        raise errors.BadRequest("Request body and URI mismatch")
    if len(wanted) > 1:
        raise errors.BadRequest("Request body contains too many items")
    if not _is_of_this(call):
        return Reply(status=412)
    _change(call, lambda metadata: {**metadata, **wanted})
    return {"meta": wanted}


def delete(call: Call) -> Any:
    """DELETE …/metadata/{key}."""

    def without(metadata: dict[str, str]) -> dict[str, str]:
        if call.params["key"] not in metadata:
            raise _no_key(call)
        return {key: value for key, value in metadata.items() if key != call.params["key"]}

    if not _is_of_this(call):
        return Reply(status=412)
    _change(call, without)
    return None


def _is_of_this(call: Call) -> bool:
    """Whether the client's If-Match lets it change the metadata as it is."""
    tags = call.header("If-Match")
    if call.version < _ETAGS or not tags or tags.strip() == "*" or not hasattr(call.target, "bootable"):
        return True
    wanted = {tag.strip().removeprefix("W/").strip('"') for tag in tags.split(",")}
    return _etag(orjson.loads(call.target.metadata_json)) in wanted


def _change(call: Call, change: Change) -> dict[str, str]:
    with call.services.db.write() as conn:
        current = _locked(conn, call.target)
        changed = change(orjson.loads(current.metadata_json))
        values = {"metadata_json": orjson.dumps(changed).decode()}
        if hasattr(call.target, "bootable"):
            volumes.change(conn, call.target.id, values)
        else:
            volume_snapshots.change(conn, call.target.uuid, values)
    return changed


def _locked(conn: Connection, target: Found) -> Found:
    kind: Kind = VOLUMES if hasattr(target, "bootable") else SNAPSHOTS
    getter: Callable[..., Any] = volumes.get if kind is VOLUMES else volume_snapshots.get
    current = getter(conn, target.uuid, None, lock=True)
    if current is None:
        raise kind.not_found(target.uuid)
    return current
