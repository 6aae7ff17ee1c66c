# SPDX-License-Identifier: Apache-2.0
"""The action rebuild (nova/api/openstack/compute/servers.py, _rebuild; nova/compute/api.py, rebuild)."""

from __future__ import annotations

import uuid
from typing import Any

import orjson

from computeapi import errors, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.api.compute.servers import create, schemas, view, wishes
from computeapi.api.compute.servers.metadata import check_count
from computeapi.api.compute.servers.passwords import generate_password
from computeapi.backends.image.base import ImageInfo
from computeapi.db.queries import quotas, servers
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Reply
from computeapi.policy import PROJECT_MEMBER, rule

RULES = [
    rule(
        "os_compute_api:servers:rebuild",
        PROJECT_MEMBER,
        "Make a server anew from an image.",
        ("POST", "/servers/{server_id}/action"),
    )
]

# --- schemas ---


def _schema(name: p.Schema) -> p.Schema:
    body = {
        "imageRef": p.image_id,
        "name": name,
        "adminPass": p.admin_password,
        "metadata": p.metadata,
        "preserve_ephemeral": p.boolean,
        "OS-DCF:diskConfig": p.disk_config,
        "personality": schemas.PERSONALITY,
        **schemas.ACCESS,
    }
    return p.wrapped("rebuild", p.obj(body, "imageRef"))


REBUILD = _schema(p.name)
REBUILD_V2 = _schema(p.loose_name)

# --- handlers ---


def rebuild(call: Call) -> Reply:
    """Make the server anew: 202, the server as it shall be, and its new password."""
    wanted: dict[str, Any] = call.body["rebuild"]
    server: ServerRow = call.target
    lifecycle.check(call.services, call.context, server, "rebuild")
    image = _image(call, server, wanted["imageRef"])
    _check(call, server, wanted, image)
    password = wanted.get("adminPass") or generate_password()
    payload = {
        "admin_password": password,
        "personality": wanted.get("personality") or [],
        "preserve_ephemeral": p.truth(wanted.get("preserve_ephemeral", False)),
    }
    with call.services.db.write() as conn:
        lifecycle.begin(conn, call.services, call.context, server, "rebuild", payload)
        servers.change(conn, server.id, _columns(wanted, image))
        changed = servers.get(conn, server.uuid, server.project_id)
    assert changed is not None
    shown = view.one(call, changed, view.CHANGED)
    shown["server"]["adminPass"] = password
    location = links.prefixes(call, "servers").of(server.uuid)[0]["href"]
    return Reply(shown, headers={"Location": location})


def _image(call: Call, server: ServerRow, reference: str) -> ImageInfo:
    image_id = str(uuid.UUID(reference.rsplit("/", 1)[-1]))
    try:
        image = call.services.images.show(call.context, image_id)
    except (errors.NotFound, errors.Forbidden):
        raise errors.BadRequest("Cannot find image for rebuild") from None
    if not server.image_id:
        raise errors.BadRequest(
            f"Image {image_id} is unacceptable: Unable to rebuild with a different image for a volume-backed server."
        )
    if image.status != "active":
        raise errors.BadRequest(f"Image {image_id} is not active.")
    return image


def _check(call: Call, server: ServerRow, wanted: dict[str, Any], image: ImageInfo) -> None:
    with call.services.db.read() as conn:
        limits = quotas.limits_for(conn, call.services.settings, call.project_id, call.context.user_id)
    check_count(wanted.get("metadata") or {}, limits)
    wishes.check_personality(wanted.get("personality") or [], limits)
    flavor = orjson.loads(server.flavor_json)
    create.check_fit(image, server.memory_mb, int(flavor.get("disk") or 0))


def _columns(wanted: dict[str, Any], image: ImageInfo) -> dict[str, Any]:
    """What changes of the server's row."""
    columns = {
        "image_id": image.id,
        "image_json": orjson.dumps(image.properties).decode(),
        "disk_config": create.disk_config(wanted.get("OS-DCF:diskConfig"), image),
        "progress": 0,
        **create.boot_columns(image.properties),
    }
    columns |= schemas.access_columns(wanted)
    if "name" in wanted:
        columns["name"] = wanted["name"].strip()
    if "metadata" in wanted:
        columns["metadata_json"] = orjson.dumps(wanted["metadata"]).decode()
    return columns
