# SPDX-License-Identifier: Apache-2.0
"""The projects that an image is shared with (glance/api/v2/image_members.py).

The owner adds and removes them; each says itself whether it accepts. Only shared images have members.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from computeapi import clock, errors, policy
from computeapi.api import parameters as p
from computeapi.api.image import common
from computeapi.db.queries import images as queries
from computeapi.db.queries.images import ImageRow, MemberRow
from computeapi.endpoint import Call

# --- RULES ---

_MEMBERS = "/v2/images/{image_id}/members"
_MEMBER = _MEMBERS + "/{member_id}"

RULES = [
    policy.rule("add_member", common.OWNER, "Share an image with a project.", ("POST", _MEMBERS)),
    policy.rule("delete_member", common.OWNER, "Share it no more.", ("DELETE", _MEMBER)),
    policy.rule("get_member", common.READER, "Show one whom an image is shared with.", ("GET", _MEMBER)),
    policy.rule("get_members", common.READER, "List whom an image is shared with.", ("GET", _MEMBERS)),
    policy.rule("modify_member", common.OWNER, "As that project, accept or reject an image.", ("PUT", _MEMBER)),
]

# --- SCHEMAS ---

CREATE = p.obj({"member": {"type": "string", "minLength": 1, "maxLength": 255}}, "member", extra=True)
UPDATE = p.obj({"status": {"type": "string", "enum": ["pending", "accepted", "rejected"]}}, "status", extra=True)

MOST_MEMBERS = 128  # Glance's image_member_quota

# --- VIEW ---


def _view(image: ImageRow, member: MemberRow) -> dict[str, Any]:
    return {
        "member_id": member.member,
        "image_id": image.uuid,
        "status": member.status,
        "created_at": clock.api(member.created_at),
        "updated_at": clock.api(member.updated_at),
        "schema": "/v2/schemas/member",
    }


# --- HANDLERS ---


@dataclass(frozen=True, slots=True)
class Membership:
    """An image and one of its members. `project_id` is whose it is to change it, for policy."""

    image: ImageRow
    member: MemberRow
    project_id: str | None


def load_as_member(call: Call) -> Membership:
    """The membership in the URL, the member's to change."""
    image, member = _load(call)
    return Membership(image, member, member.member)


def load_as_owner(call: Call) -> Membership:
    """The membership in the URL, the image's owner's to change."""
    image, member = _load(call)
    return Membership(image, member, image.owner)


def _load(call: Call) -> tuple[ImageRow, MemberRow]:
    """An image's owner, an administrator, and the member itself may know of a membership."""
    image, member_id = common.load(call), call.params["member_id"]
    own = call.context.is_admin or image.owner == call.context.project_id
    if image.visibility == "shared" and (own or member_id == call.context.project_id):
        with common.store(call).db.read() as conn:
            found = queries.members(conn, image.key, member_id)
        if found:
            return image, found[0]
    raise errors.NotFound(f"{member_id} not found in the member list of the image {image.uuid}.")


def _shared(call: Call) -> ImageRow:
    image = common.found(call)
    if image.visibility != "shared":
        raise errors.Forbidden("Only shared images have members.")
    return image


def index(call: Call) -> dict[str, Any]:
    """GET …/members: all for the owner, itself for a member."""
    image = _shared(call)
    own = call.context.is_admin or image.owner == call.context.project_id
    with common.store(call).db.read() as conn:
        rows = queries.members(conn, image.key, None if own else call.context.project_id)
    return {"members": [_view(image, row) for row in rows], "schema": "/v2/schemas/members"}


def show(call: Call) -> dict[str, Any]:
    """GET …/members/{member_id}."""
    found = cast(Membership, call.target)
    return _view(found.image, found.member)


def create(call: Call) -> dict[str, Any]:
    """POST …/members (200, as Glance)."""
    image, member_id = _shared(call), call.body["member"]
    with common.store(call).db.write() as conn:
        if len(queries.members(conn, image.key)) >= MOST_MEMBERS:
            raise errors.TooLarge(f"Image member limit exceeded for image {image.uuid}: {MOST_MEMBERS}")
        try:
            return _view(image, queries.add_member(conn, image.key, member_id))
        except errors.Conflict:
            raise errors.Conflict(f"Member {member_id} is duplicated for image {image.uuid}") from None


def update(call: Call) -> dict[str, Any]:
    """PUT …/members/{member_id}: the member's own answer."""
    found = cast(Membership, call.target)
    with common.store(call).db.write() as conn:
        queries.answer_member(conn, found.image.key, found.member.member, call.body["status"])
        return _view(found.image, queries.members(conn, found.image.key, found.member.member)[0])


def delete(call: Call) -> None:
    """DELETE …/members/{member_id} (204)."""
    found = cast(Membership, call.target)
    with common.store(call).db.write() as conn:
        queries.remove_member(conn, found.image.key, found.member.member)
