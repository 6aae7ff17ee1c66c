# SPDX-License-Identifier: Apache-2.0
"""The action rescue (nova/api/openstack/compute/rescue.py; nova/compute/api.py, rescue)."""

from __future__ import annotations

import uuid
from typing import Any

from computeapi import errors, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute.servers.passwords import generate_password
from computeapi.backends.image.base import ImageInfo
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, rule

_URL = ("POST", "/servers/{server_id}/action")

RULES = [
    rule("os_compute_api:os-rescue", PROJECT_MEMBER, "Boot a server from a rescue image.", _URL),
    rule("os_compute_api:os-unrescue", PROJECT_MEMBER, "Boot a server from its own disk again.", _URL),
]

_BODY = p.obj({"adminPass": p.admin_password, "rescue_image_ref": p.image_id})
RESCUE = p.wrapped("rescue", {**_BODY, "type": ["object", "null"]})


def rescue(call: Call) -> dict[str, Any]:
    """Boot the rescue image, or the server's own, with the server's disk beside it: 200 and the password."""
    wanted: dict[str, Any] = call.body["rescue"] or {}
    server: ServerRow = call.target
    password = wanted.get("adminPass") or generate_password()
    lifecycle.check(call.services, call.context, server, "rescue")
    image = _image(call, wanted["rescue_image_ref"]) if wanted.get("rescue_image_ref") else None
    if not server.image_id:
        raise errors.BadRequest(f"Instance {server.uuid} cannot be rescued: Cannot rescue a volume-backed instance")
    payload = {
        "admin_password": password,
        "image_id": image.id if image else server.image_id,
        "properties": image.properties if image else {},
    }
    with call.services.db.write() as conn:
        lifecycle.begin(conn, call.services, call.context, server, "rescue", payload)
    return {"adminPass": password}


def _image(call: Call, reference: str) -> ImageInfo:
    image_id = str(uuid.UUID(reference.rsplit("/", 1)[-1]))
    try:
        image = call.services.images.show(call.context, image_id)
    except (errors.NotFound, errors.Forbidden):
        image = None
    if image is None or image.status != "active":
        raise errors.BadRequest(f"Requested rescue image '{image_id}' is not supported")
    return image
