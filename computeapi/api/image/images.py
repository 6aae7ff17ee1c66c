# SPDX-License-Identifier: Apache-2.0
"""Images: create, list, show, change, delete; and their tags (glance/api/v2/images.py, image_tags.py)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from computeapi import errors, policy
from computeapi.api.image import common, discovery, patch, schemas
from computeapi.backends.image.base import check_property_name
from computeapi.db.queries import image_filters
from computeapi.db.queries import images as queries
from computeapi.endpoint import Call, Reply

# --- RULES ---

_IMAGE = "/v2/images/{image_id}"

RULES = [
    policy.rule("add_image", common.OWNER, "Create an image.", ("POST", "/v2/images")),
    policy.rule("delete_image", common.OWNER, "Delete an image.", ("DELETE", _IMAGE)),
    policy.rule("get_image", common.READER, "Show an image.", ("GET", _IMAGE)),
    policy.rule("get_images", common.LISTER, "List images.", ("GET", "/v2/images")),
    policy.rule("modify_image", common.OWNER, "Change an image.", ("PATCH", _IMAGE), ("PUT", _IMAGE + "/tags/{tag}")),
    policy.rule("publicize_image", policy.ADMIN, "Make an image public.", ("PATCH", _IMAGE)),
    policy.rule("communitize_image", common.OWNER, "Make an image a community image.", ("PATCH", _IMAGE)),
]

# --- SCHEMAS ---

CREATE = {**schemas.IMAGE, "type": "object"}

DEFAULT_PAGE = 25  # Glance's limit_param_default
MOST_PROPERTIES = 128  # Glance's image_property_quota
MOST_TAGS = 128  # Glance's image_tag_quota

_FIELDS = ("id", "visibility", "container_format", "min_disk", "min_ram", "protected", "os_hidden", "tags")
_GIVEN = frozenset((*_FIELDS, "name", "disk_format", "owner"))

# --- HANDLERS ---


def create(call: Call) -> Reply:
    """POST /v2/images (201)."""
    images, body = common.store(call), call.body
    properties = {name: value for name, value in body.items() if name not in _GIVEN}
    for name in properties:
        check_property_name(name)
    owner = body.get("owner", call.context.project_id)
    if owner is None and not call.context.is_admin:
        raise errors.Forbidden("The token is scoped to no project; whose image is it to be?")
    if not call.services.policy.allows("add_image", call.context, owner, call.context.user_id):
        raise errors.Forbidden(f"You are not permitted to create images owned by '{owner}'")
    check_visibility(call, body.get("visibility", "shared"), owner)
    check_quotas(properties, body.get("tags", []))
    fields = {"container_format": None, **{name: body[name] for name in _FIELDS if name in body}}
    image_id = images.create(call.context, body.get("name"), body.get("disk_format"), properties, **fields, owner=owner)
    headers = {
        "Location": f"{images.endpoint(call.host_url)}/v2/images/{image_id}",
        "OpenStack-image-import-methods": ",".join(discovery.IMPORT_METHODS),
    }
    return Reply(common.view(images.row(call.context, image_id)), headers=headers)


def check_visibility(call: Call, visibility: str, owner: str | None) -> None:
    """Raise Forbidden where the caller may not give an image of `owner` that visibility."""
    if visibility == "public":
        call.check("publicize_image", owner)
    elif visibility == "community":
        call.check("communitize_image", owner)


def check_quotas(properties: dict[str, str], tags: list[str]) -> None:
    """Raise TooLarge for more properties or tags than an image may have."""
    if len(properties) > MOST_PROPERTIES:
        raise errors.TooLarge(f"Attempted: {len(properties)}, Maximum: {MOST_PROPERTIES} properties of an image.")
    if len(set(tags)) > MOST_TAGS:
        raise errors.TooLarge(f"Attempted: {len(set(tags))}, Maximum: {MOST_TAGS} tags of an image.")


def index(call: Call) -> dict[str, Any]:
    """GET /v2/images."""
    images = common.store(call)
    wanted = image_filters.wanted(call.query)
    wanted.sort = image_filters.sorting(call.query)
    wanted.limit = image_filters.limit(call.query, DEFAULT_PAGE, call.services.settings.max_limit)
    wanted.marker = call.first("marker")
    with images.db.read() as conn:
        rows = queries.page(conn, call.context, wanted)
    query = {name: values for name, values in call.query.items() if name != "marker"}
    body = {
        "images": [common.view(row) for row in rows],
        "first": _page(query),
        "schema": "/v2/schemas/images",
    }
    if rows and len(rows) == wanted.limit:
        body["next"] = _page({**query, "marker": [rows[-1].uuid]})
    return body


def _page(query: dict[str, list[str]]) -> str:
    return "/v2/images" + (f"?{urlencode(query, doseq=True)}" if query else "")


def show(call: Call) -> dict[str, Any]:
    """GET /v2/images/{image_id}."""
    return common.view(common.found(call))


def delete(call: Call) -> None:
    """DELETE /v2/images/{image_id} (204)."""
    common.store(call).delete(call.context, common.found(call).uuid)


def tasks(call: Call) -> dict[str, Any]:
    """GET /v2/images/{image_id}/tasks: an import is done when it is answered, so there are none."""
    return {"tasks": []}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v2/images/{image_id}."""
    images, row = common.store(call), common.found(call)
    changes = patch.parse(call.request.content_type, call.body)
    for change in changes:
        if change.name == "visibility" and change.operation != "remove":
            check_visibility(call, change.value, row.owner)
        if change.name == "owner" and not call.context.is_admin:
            raise errors.Forbidden("Owner can't be updated by non admin.")
    with images.db.write() as conn:
        current = queries.find(conn, call.context, row.uuid, lock=True)
        if current is None:
            raise errors.NotFound(f"No image found with ID {row.uuid}")
        draft = patch.Draft(current)
        for change in changes:
            draft.apply(change)
        check_quotas(draft.properties, draft.tags)
        if changes:
            _save(conn, current, draft)
    return common.view(images.row(call.context, row.uuid))


def _save(conn: Any, row: queries.ImageRow, draft: patch.Draft) -> None:
    if draft.properties != row.properties:
        queries.replace_properties(conn, row.key, draft.properties)
    if sorted(set(draft.tags)) != row.tags:
        queries.replace_tags(conn, row.key, draft.tags)
    queries.change(conn, row.key, draft.values)


# --- tags ---


def add_tag(call: Call) -> None:
    """PUT /v2/images/{image_id}/tags/{tag} (204)."""
    tag = call.params["tag"]
    if len(tag) > 255:
        raise errors.BadRequest("A tag has 255 characters at most.")
    _change_tags(call, lambda tags: [*tags, tag])


def remove_tag(call: Call) -> None:
    """DELETE /v2/images/{image_id}/tags/{tag} (204)."""
    tag = call.params["tag"]

    def without(tags: list[str]) -> list[str]:
        if tag not in tags:
            raise errors.NotFound
        return [other for other in tags if other != tag]

    _change_tags(call, without)


def _change_tags(call: Call, change: Any) -> None:
    images, row = common.store(call), common.found(call)
    with images.db.write() as conn:
        current = queries.find(conn, call.context, row.uuid, lock=True)
        if current is None:
            raise errors.NotFound(f"No image found with ID {row.uuid}")
        tags = change(current.tags)
        check_quotas({}, tags)
        queries.replace_tags(conn, current.key, tags)
        queries.change(conn, current.key, {})
