# SPDX-License-Identifier: Apache-2.0
"""The Compute API's view of images and their metadata (nova/api/openstack/compute/images.py, image_metadata.py).

A proxy: what there is, who may see and change it, is the image service's to say. Gone above 2.35, metadata above 2.38.
"""

from __future__ import annotations

from typing import Any

from computeapi import clock, errors, policy
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.backends.image.base import ImageInfo
from computeapi.db.queries import quotas
from computeapi.endpoint import Call

LAST = "2.35"
LAST_METADATA = "2.38"

# --- RULES ---

SIZE = "os_compute_api:image-size"

RULES = [
    policy.rule(
        SIZE,
        policy.ADMIN_OR_OWNER,
        "See OS-EXT-IMG-SIZE:size of images.",
        ("GET", "/images/{image_id}"),
        ("GET", "/images/detail"),
    )
]

# --- SCHEMAS ---

_TEXTS = ("name", "status", "changes-since", "server", "type", "minRam", "minDisk", "marker")
_NUMBERS = ("limit", "page_size", "offset")
_POSITIVE: p.Schema = {"type": "string", "pattern": "^[0-9]*[1-9][0-9]*$"}

LIST_QUERY = p.query(
    {**dict.fromkeys(_TEXTS, p.Q_ANY), **dict.fromkeys(_NUMBERS, _POSITIVE)},
    multi=(*_TEXTS, *_NUMBERS),
    patterns={"^property-.*$": p.Q_ANY},
)
METADATA = p.wrapped("metadata", p.metadata)
ITEM = p.wrapped("meta", {**p.metadata, "minProperties": 1, "maxProperties": 1})

# --- VIEW ---

_STATUS = {
    "active": "ACTIVE",
    "queued": "SAVING",
    "saving": "SAVING",
    "deleted": "DELETED",
    "pending_delete": "DELETED",
    "killed": "ERROR",
}
_PROGRESS = {"queued": 25, "saving": 50, "active": 100}


class _View:
    def __init__(self, call: Call) -> None:
        self._images = links.prefixes(call, "images")
        self._servers = links.prefixes(call, "servers")
        self._sized = call.allows(SIZE)
        self._service = call.services.images.endpoint(call.host_url)

    def basic(self, image: ImageInfo) -> dict[str, Any]:
        alternate = {
            "rel": "alternate",
            "type": "application/vnd.openstack.image",
            "href": f"{self._service}/images/{image.id}",
        }
        return {"id": image.id, "name": image.name, "links": [*self._images.of(image.id), alternate]}

    def full(self, image: ImageInfo) -> dict[str, Any]:
        shown = {
            **self.basic(image),
            "minRam": image.min_ram,
            "minDisk": image.min_disk,
            "metadata": image.properties,
            "created": clock.api(image.created_at),
            "updated": clock.api(image.updated_at),
            "status": _STATUS.get(image.status, "UNKNOWN"),
            "progress": _PROGRESS.get(image.status, 0),
        }
        if self._sized:
            shown["OS-EXT-IMG-SIZE:size"] = image.size or 0
        server_id = image.properties.get("instance_uuid")
        if server_id is not None:
            shown["server"] = {"id": server_id, "links": self._servers.of(server_id)}
        disk_config = image.properties.get("auto_disk_config")
        if disk_config is not None:
            automatic = disk_config.strip().lower() in ("1", "t", "true", "on", "y", "yes")
            shown["OS-DCF:diskConfig"] = "AUTO" if automatic else "MANUAL"
        return shown


# --- HANDLERS ---

# Nova's name of a filter → the image service's
_FILTERS = {
    "name": "name",
    "status": "status",
    "changes-since": "changes-since",
    "server": "instance_uuid",
    "type": "image_type",
    "minRam": "min_ram",
    "minDisk": "min_disk",
}


def _filters(call: Call) -> dict[str, str]:
    filters: dict[str, str] = {}
    for name in call.query:
        value = links.last(call, name) or ""
        if name in _FILTERS:
            filters[_FILTERS[name]] = value
        elif name.startswith("property-"):
            filters[name.removeprefix("property-")] = value
    if "instance_uuid" in filters:
        filters["instance_uuid"] = filters["instance_uuid"].rsplit("/", 1)[-1]
    if "status" in filters:
        filters["status"] = filters["status"].lower()
    return filters


def _page(call: Call) -> list[ImageInfo]:
    return call.services.images.list(
        call.context, _filters(call), links.page_size(call), links.last(call, "marker") or None
    )


def _answer(call: Call, path: str, images: list[ImageInfo], shown: list[dict[str, Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {"images": shown}
    more = links.next_page(call, path, len(images), images[-1].id) if images else None
    if more:
        body["images_links"] = more
    return body


def index(call: Call) -> dict[str, Any]:
    """GET /images."""
    images, view = _page(call), _View(call)
    return _answer(call, "images", images, [view.basic(image) for image in images])


def detail(call: Call) -> dict[str, Any]:
    """GET /images/detail."""
    images, view = _page(call), _View(call)
    return _answer(call, "images/detail", images, [view.full(image) for image in images])


def load(call: Call) -> ImageInfo:
    """The image in the URL."""
    try:
        return call.services.images.show(call.context, call.params["image_id"])
    except errors.NotFound:
        raise errors.NotFound("Image not found.") from None


def show(call: Call) -> dict[str, Any]:
    """GET /images/{image_id}."""
    return {"image": _View(call).full(load(call))}


def _check_glance(call: Call, rule: str, image: ImageInfo) -> None:
    """Raise Forbidden where the embedded image service's rule says no; a real Glance says so itself."""
    if not call.services.settings.image_url:
        call.check(rule, image.owner or "-")


def delete(call: Call) -> None:
    """DELETE /images/{image_id} (204)."""
    image = load(call)
    try:
        _check_glance(call, "delete_image", image)
        call.services.images.delete(call.context, image.id)
    except errors.NotFound:
        raise errors.NotFound("Image not found.") from None
    except errors.Forbidden:
        raise errors.Forbidden("You are not allowed to delete the image.") from None


# --- metadata ---


def metadata(call: Call) -> dict[str, Any]:
    """GET /images/{image_id}/metadata."""
    return {"metadata": load(call).properties}


def update_metadata(call: Call) -> dict[str, Any]:
    """POST /images/{image_id}/metadata: these items are set, the others stay."""
    image, items = load(call), call.body["metadata"]
    _check_quota(call, {**image.properties, **items})
    return {"metadata": _write(call, image, items, purge=False).properties}


def replace_metadata(call: Call) -> dict[str, Any]:
    """PUT /images/{image_id}/metadata: these and no others."""
    image, items = load(call), call.body["metadata"]
    _check_quota(call, items)
    _write(call, image, items, purge=True)
    return {"metadata": items}


def metadata_item(call: Call) -> dict[str, Any]:
    """GET /images/{image_id}/metadata/{key}."""
    key = call.params["key"]
    properties = load(call).properties
    if key not in properties:
        raise errors.NotFound
    return {"meta": {key: properties[key]}}


def set_metadata_item(call: Call) -> dict[str, Any]:
    """PUT /images/{image_id}/metadata/{key}."""
    key, item = call.params["key"], call.body["meta"]
    if key not in item:
        raise errors.BadRequest("Request body and URI mismatch")
    image = load(call)
    _check_quota(call, {**image.properties, **item})
    _write(call, image, item, purge=False)
    return {"meta": item}


def delete_metadata_item(call: Call) -> None:
    """DELETE /images/{image_id}/metadata/{key} (204)."""
    image, key = load(call), call.params["key"]
    if key not in image.properties:
        raise errors.NotFound("Invalid metadata key")
    rest = {name: value for name, value in image.properties.items() if name != key}
    _write(call, image, rest, purge=True)


def _write(call: Call, image: ImageInfo, items: dict[str, str], *, purge: bool) -> ImageInfo:
    try:
        _check_glance(call, "modify_image", image)
        return call.services.images.set_properties(call.context, image.id, items, purge)
    except errors.NotFound:
        raise errors.NotFound("Image not found.") from None
    except errors.Forbidden:
        raise errors.Forbidden(f"Not authorized for image {image.id}.") from None


def _check_quota(call: Call, items: dict[str, str]) -> None:
    with call.services.db.read() as conn:
        limits = quotas.limits_for(conn, call.services.settings, call.project_id, call.context.user_id)
    most = limits["metadata_items"]
    if 0 <= most < len(items):
        raise errors.Forbidden("Image metadata limit exceeded")
