# SPDX-License-Identifier: Apache-2.0
"""Glance v2: images shared with other projects."""

from __future__ import annotations

from typing import Any

from tests.conftest import Api
from tests.wire.test_images import IMAGES, make, names


def share(api: Api, image_id: str, member: str) -> Any:
    """Share an image."""
    return api.post(f"{IMAGES}/{image_id}/members", {"member": member})


def test_share_accept_and_take_back(api: Api) -> None:
    other, third = api.become("member"), api.become("member")
    image_id = make(api)["id"]
    members = f"{IMAGES}/{image_id}/members"
    answer = share(api, image_id, other.project_id)
    assert answer.status_code == 200
    member = answer.json
    assert {key: member[key] for key in ("member_id", "image_id", "status", "schema")} == {
        "member_id": other.project_id,
        "image_id": image_id,
        "status": "pending",
        "schema": "/v2/schemas/member",
    }
    assert set(member) == {"member_id", "image_id", "status", "schema", "created_at", "updated_at"}
    assert api.get(members).json == {"members": [member], "schema": "/v2/schemas/members"}
    assert api.get(f"{members}/{other.project_id}").json == member
    # the member may use it at once, but it is not in its list before it has accepted
    assert other.get(f"{IMAGES}/{image_id}").status_code == 200
    assert third.get(f"{IMAGES}/{image_id}").status_code == 404
    assert names(other.get(IMAGES)) == []
    assert names(other.get(IMAGES, params={"member_status": "pending"})) == ["one"]
    assert names(other.get(IMAGES, params={"member_status": "all", "visibility": "shared"})) == ["one"]
    answer = other.put(f"{members}/{other.project_id}", {"status": "accepted"})
    assert (answer.status_code, answer.json["status"]) == (200, "accepted")
    assert names(other.get(IMAGES)) == ["one"]
    assert names(third.get(IMAGES)) == []
    other.put(f"{members}/{other.project_id}", {"status": "rejected"})
    assert names(other.get(IMAGES)) == []
    assert names(other.get(IMAGES, params={"member_status": "rejected"})) == ["one"]
    assert api.delete(f"{members}/{other.project_id}").status_code == 204
    assert api.delete(f"{members}/{other.project_id}").status_code == 404
    assert other.get(f"{IMAGES}/{image_id}").status_code == 404
    assert api.get(members).json["members"] == []


def test_a_member_sees_itself_only(api: Api) -> None:
    one, two = api.become("member"), api.become("member")
    image_id = make(api)["id"]
    members = f"{IMAGES}/{image_id}/members"
    for other in (one, two):
        share(api, image_id, other.project_id)
    assert [member["member_id"] for member in one.get(members).json["members"]] == [one.project_id]
    assert one.get(f"{members}/{two.project_id}").status_code == 404
    assert one.put(f"{members}/{two.project_id}", {"status": "accepted"}).status_code == 404
    assert len(api.get(members).json["members"]) == 2
    assert api.become("member").get(members).status_code == 404


def test_only_the_owner_shares_and_only_the_member_answers(api: Api, admin: Api) -> None:
    other = api.become("member")
    image_id = make(api)["id"]
    members = f"{IMAGES}/{image_id}/members"
    share(api, image_id, other.project_id)
    assert share(other, image_id, "third").status_code == 403
    assert other.delete(f"{members}/{other.project_id}").status_code == 403
    assert api.put(f"{members}/{other.project_id}", {"status": "accepted"}).status_code == 403
    assert admin.put(f"{members}/{other.project_id}", {"status": "accepted"}).status_code == 200
    reader = api.become("reader", project_id=other.project_id)
    assert reader.put(f"{members}/{other.project_id}", {"status": "rejected"}).status_code == 403
    assert reader.get(f"{members}/{other.project_id}").json["status"] == "accepted"
    assert other.delete(f"{IMAGES}/{image_id}").status_code == 403


def test_once(api: Api) -> None:
    image_id = make(api)["id"]
    assert share(api, image_id, "p").status_code == 200
    assert share(api, image_id, "p").status_code == 409


def test_only_shared_images_have_members(api: Api) -> None:
    image_id = make(api, visibility="private")["id"]
    assert share(api, image_id, "p").status_code == 403
    assert api.get(f"{IMAGES}/{image_id}/members").status_code == 403
    assert api.get(f"{IMAGES}/{image_id}/members/p").status_code == 404


def test_members_see_it_no_more_when_it_is_private_or_gone(api: Api) -> None:
    other = api.become("member")
    image_id = make(api)["id"]
    share(api, image_id, other.project_id)
    assert api.delete(f"{IMAGES}/{image_id}").status_code == 204
    assert other.get(f"{IMAGES}/{image_id}").status_code == 404
    assert names(other.get(IMAGES, params={"member_status": "all"})) == []


BAD_MEMBERS: list[Any] = [
    {},
    [],
    "x",
    {"member": ""},
    {"member": None},
    {"member": 5},
    {"member": ["x"]},
    {"member": "x" * 256},
]


def test_bad_members(api: Api) -> None:
    image_id = make(api)["id"]
    for body in BAD_MEMBERS:
        assert api.post(f"{IMAGES}/{image_id}/members", body).status_code == 400, body


BAD_ANSWERS: list[Any] = [{}, [], {"status": ""}, {"status": None}, {"status": "maybe"}, {"status": ["accepted"]}]


def test_bad_answers(api: Api) -> None:
    image_id = make(api)["id"]
    share(api, image_id, api.project_id)
    for body in BAD_ANSWERS:
        assert api.put(f"{IMAGES}/{image_id}/members/{api.project_id}", body).status_code == 400, body


def test_unknown_members(api: Api) -> None:
    image_id = make(api)["id"]
    for member in ("nobody", "%00", "x" * 5000):
        path = f"{IMAGES}/{image_id}/members/{member}"
        assert api.get(path).status_code == 404
        assert api.delete(path).status_code == 404
        assert api.put(path, {"status": "accepted"}).status_code == 404


def test_quota(api: Api) -> None:
    image_id = make(api)["id"]
    for number in range(128):
        assert share(api, image_id, f"p{number}").status_code == 200
    assert share(api, image_id, "one-more").status_code == 413
