# SPDX-License-Identifier: Apache-2.0
"""Glance v2: an image's life without its bytes: create, list, show, change, delete, tags, versions, schemas."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

import pytest
from sqlalchemy import update

from computeapi.db.engine import Database
from computeapi.db.models import Image
from tests.conftest import Api

IMAGES = "/image/v2/images"
NOBODYS = "0b6a2f52-4d5c-4c55-9e35-2b3f4b0a6f0e"
V21 = "application/openstack-images-v2.1-json-patch"
V20 = "application/openstack-images-v2.0-json-patch"


def make(api: Api, **fields: Any) -> dict[str, Any]:
    """A new image, as it was answered."""
    answer = api.post(IMAGES, {"name": "one", "disk_format": "raw", "container_format": "bare", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json)


def send(api: Api, method: str, path: str, data: bytes | str, kind: str, **headers: str) -> Any:
    """A request with a body that is no JSON, or not known to be."""
    headers = {"X-Auth-Token": api.token, "Content-Type": kind, **headers}
    return api._client.simulate_request(method, path, headers=headers, body=data)


def patch(api: Api, image_id: str, changes: Any, kind: str = V21) -> Any:
    """PATCH an image."""
    return send(api, "PATCH", f"{IMAGES}/{image_id}", json.dumps(changes), kind)


def names(answer: Any) -> list[str]:
    """The names in a list's answer."""
    assert answer.status_code == 200, answer.text
    return [image["name"] for image in answer.json["images"]]


# --- versions, schemas, info ---


@pytest.mark.parametrize("path", ["/image", "/image/", "/image/v2", "/image/v2/"])
def test_versions_need_no_token(api: Api, path: str) -> None:
    answer = api.request("GET", path, headers={"X-Auth-Token": ""})
    assert answer.status_code == 300
    first = answer.json["versions"][0]
    assert first["status"] == "CURRENT"
    assert first["links"] == [{"rel": "self", "href": "http://falconframework.org/image/v2/"}]
    assert {version["status"] for version in answer.json["versions"][1:]} == {"SUPPORTED"}


def test_versions_at_their_own_path(api: Api) -> None:
    answer = api.get("/image/versions")
    assert answer.status_code == 200
    assert answer.json["versions"][-1]["id"] == "v2.0"


@pytest.mark.parametrize("name", ["image", "images", "member", "members"])
def test_schemas(api: Api, name: str) -> None:
    answer = api.get(f"/image/v2/schemas/{name}")
    assert answer.status_code == 200
    assert answer.json["name"] == name


def test_image_schema_knows_every_attribute_that_an_image_has(api: Api) -> None:
    schema = api.get("/image/v2/schemas/image").json
    assert set(make(api)) <= set(schema["properties"])
    assert schema["properties"]["status"]["readOnly"] is True


def test_info(api: Api) -> None:
    assert api.get("/image/v2/info/import").json["import-methods"]["value"] == ["glance-direct"]
    assert api.get("/image/v2/info/stores").status_code == 404


def test_no_token(api: Api) -> None:
    assert api.request("GET", IMAGES, headers={"X-Auth-Token": ""}).status_code == 401


def test_unknown_method_and_url(api: Api) -> None:
    assert api.put(IMAGES, {}).status_code == 405
    assert api.get("/image/v2/nowhere").status_code == 404


# --- create and show ---


def test_create_and_show(api: Api) -> None:
    answer = api.post(
        IMAGES,
        {
            "name": "café ☕",
            "disk_format": "qcow2",
            "container_format": "bare",
            "min_disk": 3,
            "min_ram": 64,
            "tags": ["b", "a", "a"],
            "hw_disk_bus": "virtio",
            "os_distro": "debian",
        },
    )
    assert answer.status_code == 201
    image = answer.json
    image_id = image["id"]
    assert answer.headers["Location"].endswith(f"/image/v2/images/{image_id}")
    assert answer.headers["OpenStack-image-import-methods"] == "glance-direct"
    assert {key: image[key] for key in image if key not in ("id", "created_at", "updated_at")} == {
        "name": "café ☕",
        "status": "queued",
        "visibility": "shared",
        "owner": api.project_id,
        "disk_format": "qcow2",
        "container_format": "bare",
        "size": None,
        "virtual_size": None,
        "checksum": None,
        "os_hash_algo": None,
        "os_hash_value": None,
        "min_disk": 3,
        "min_ram": 64,
        "protected": False,
        "os_hidden": False,
        "tags": ["a", "b"],
        "hw_disk_bus": "virtio",
        "os_distro": "debian",
        "self": f"/v2/images/{image_id}",
        "file": f"/v2/images/{image_id}/file",
        "schema": "/v2/schemas/image",
    }
    time.strptime(image["created_at"], "%Y-%m-%dT%H:%M:%SZ")
    assert api.get(f"{IMAGES}/{image_id}").json == image


def test_create_with_nothing(api: Api) -> None:
    image = api.post(IMAGES, {}).json
    assert (image["name"], image["disk_format"], image["container_format"]) == (None, None, None)


def test_create_with_an_id_of_the_clients_choice(api: Api) -> None:
    image_id = str(uuid.uuid4())
    assert make(api, id=image_id)["id"] == image_id
    taken = api.post(IMAGES, {"id": image_id})
    assert taken.status_code == 409
    assert taken.json["title"] == "Conflict"
    assert api.delete(f"{IMAGES}/{image_id}").status_code == 204
    assert api.post(IMAGES, {"id": image_id}).status_code == 409  # an id is used once


BAD_IMAGES: list[tuple[Any, int]] = [
    ({"name": 1}, 400),
    ({"name": "x" * 256}, 400),
    ({"id": "one"}, 400),
    ({"id": "../../etc/passwd"}, 400),
    ({"id": NOBODYS + "\n"}, 400),
    ({"disk_format": "floppy"}, 400),
    ({"container_format": "bag"}, 400),
    ({"visibility": "secret"}, 400),
    ({"protected": "yes"}, 400),
    ({"os_hidden": 1}, 400),
    ({"min_disk": -1}, 400),
    ({"min_disk": "1"}, 400),
    ({"min_disk": 2**31}, 400),
    ({"min_ram": 10**30}, 400),
    ({"min_ram": True}, 400),
    ({"tags": "one"}, 400),
    ({"tags": ["x" * 256]}, 400),
    ({"tags": [1]}, 400),
    ({"tags": [str(number) for number in range(129)]}, 413),
    ({"hw_property": 1}, 400),
    ({"hw_property": {"a": "b"}}, 400),
    ({"hw_property": None}, 400),
    ({"p" * 256: "x"}, 400),
    ({"": "x"}, 400),
    ({f"p{number}": "x" for number in range(129)}, 413),
    ({"status": "active"}, 403),
    ({"checksum": "x"}, 403),
    ({"created_at": "x"}, 403),
    ({"self": "x"}, 403),
    ({"file": "x"}, 403),
    ({"schema": "x"}, 403),
    ({"direct_url": "x"}, 403),
    ({"location": "x"}, 403),
    ({"locations": []}, 403),
    ({"deleted": "x"}, 403),
    ({"os_glance_import_task": "x"}, 403),
    ({"owner": "somebody-else"}, 403),
    ({"owner": None}, 403),
    ({"visibility": "public"}, 403),
    ([], 400),
    ("text", 400),
]


def test_create_refused(api: Api) -> None:
    for body, status in BAD_IMAGES:
        answer = api.post(IMAGES, body)
        assert answer.status_code == status, (body, answer.text)
        assert answer.json["title"]
    assert names(api.get(IMAGES)) == []


def test_create_refuses_nul_and_no_json(api: Api) -> None:
    for text in ('{"name": "a\\u0000b"}', "{", '{"name": "\\ud800"}'):
        assert send(api, "POST", IMAGES, text, "application/json").status_code == 400


def test_odd_words_come_back_as_they_are(api: Api) -> None:
    odd = "Robert'); DROP TABLE images;-- %_ \\ <b> $(reboot) `x` ../.. é\u202e\U0001f600"
    image = make(api, name=odd, tags=[odd], **{odd[:80]: odd})
    shown = api.get(f"{IMAGES}/{image['id']}").json
    assert (shown["name"], shown["tags"], shown[odd[:80]]) == (odd, [odd], odd)
    assert names(api.get(IMAGES, params={"name": "in:" + json.dumps(odd, ensure_ascii=False)})) == [odd]


def test_readers_may_look_only(api: Api) -> None:
    image = make(api)
    reader = api.become("reader", project_id=api.project_id)
    path = f"{IMAGES}/{image['id']}"
    assert reader.get(path).status_code == 200
    assert names(reader.get(IMAGES)) == ["one"]
    assert reader.post(IMAGES, {}).status_code == 403
    assert patch(reader, image["id"], []).status_code == 403
    assert reader.delete(path).status_code == 403
    assert reader.put(f"{path}/tags/x").status_code == 403
    nobody = api.become(project_id=api.project_id)
    assert nobody.get(IMAGES).status_code == 403


UNKNOWN = ["no-uuid", NOBODYS, "%00", "..%2f..%2fetc", "a" * 5000]


def test_unknown_ids_are_not_found(api: Api) -> None:
    for path in (f"{IMAGES}/{image_id}" for image_id in UNKNOWN):
        for method, end in (
            ("GET", ""),
            ("DELETE", ""),
            ("GET", "/file"),
            ("PUT", "/file"),
            ("GET", "/members"),
            ("GET", "/tasks"),
            ("PUT", "/tags/x"),
            ("POST", "/actions/deactivate"),
        ):
            assert api.request(method, path + end).status_code == 404, (path, method, end)
        assert send(api, "PATCH", path, "[]", V21).status_code == 404


# --- who sees what ---


def test_visibility(api: Api, admin: Api) -> None:
    other = api.become("member")
    ids = {kind: make(api, name=kind, visibility=kind)["id"] for kind in ("private", "shared", "community")}
    ids["public"] = make(admin, name="public", visibility="public")["id"]
    assert sorted(names(api.get(IMAGES))) == ["community", "private", "public", "shared"]
    assert names(other.get(IMAGES)) == ["public"]
    assert names(other.get(IMAGES, params={"visibility": "community"})) == ["community"]
    assert sorted(names(other.get(IMAGES, params={"visibility": "all"}))) == ["community", "public"]
    assert names(other.get(IMAGES, params={"visibility": "private"})) == []
    assert {kind: other.get(f"{IMAGES}/{ids[kind]}").status_code for kind in ids} == {
        "private": 404,
        "shared": 404,
        "community": 200,
        "public": 200,
    }
    assert sorted(names(admin.get(IMAGES))) == ["private", "public", "shared"]
    assert sorted(names(admin.get(IMAGES, params={"visibility": "all"}))) == sorted(ids)
    assert names(other.get(IMAGES, params={"owner": api.project_id})) == []


def test_others_images_can_be_used_but_not_changed(api: Api, admin: Api) -> None:
    public = make(admin, visibility="public")["id"]
    assert api.delete(f"{IMAGES}/{public}").status_code == 403
    assert patch(api, public, [{"op": "replace", "path": "/name", "value": "mine"}]).status_code == 403
    assert api.put(f"{IMAGES}/{public}/tags/x").status_code == 403
    assert api.get(f"{IMAGES}/{public}").json["name"] == "one"


def test_administrators_create_for_others(api: Api, admin: Api) -> None:
    image = make(admin, owner=api.project_id, visibility="private")
    assert api.get(f"{IMAGES}/{image['id']}").status_code == 200


# --- lists ---


@pytest.fixture
def several(api: Api) -> list[str]:
    """Ids of images with names a to e, in the order of their making."""
    return [
        make(
            api,
            name=name,
            disk_format="raw" if name < "c" else "qcow2",
            min_ram=number,
            tags=["even"] if number % 2 == 0 else ["odd", "all"],
            **({"os_distro": "debian"} if name in "ad" else {}),
        )["id"]
        for number, name in enumerate("abcde")
    ]


FILTERS = [
    ({}, "edcba"),
    ({"name": "c"}, "c"),
    ({"name": "C"}, ""),
    ({"name": "in:a,c,x"}, "ca"),
    ({"name": 'in:"a","c"'}, "ca"),
    ({"name": "%"}, ""),
    ({"name": "eq:a"}, "a"),
    ({"status": "queued"}, "edcba"),
    ({"status": "in:active,killed"}, ""),
    ({"disk_format": "raw"}, "ba"),
    ({"disk_format": "in:raw,qcow2"}, "edcba"),
    ({"container_format": "ovf"}, ""),
    ({"min_ram": "3"}, "d"),
    ({"min_ram_min": "3"}, "ed"),
    ({"min_ram_max": "1"}, "ba"),
    ({"size_min": "1"}, ""),
    ({"tag": "even"}, "eca"),
    ({"tag": ["odd", "all"]}, "db"),
    ({"tag": ["odd", "even"]}, ""),
    ({"os_distro": "debian"}, "da"),
    ({"os_distro": "debian", "name": "a"}, "a"),
    ({"os_distro": "Debian"}, ""),
    ({"nothing": "such"}, ""),
    ({"protected": "false"}, "edcba"),
    ({"protected": "true"}, ""),
    ({"os_hidden": "true"}, ""),
    ({"visibility": "shared"}, "edcba"),
    ({"visibility": "public"}, ""),
    ({"created_at": "gt:2020-01-01T00:00:00Z"}, "edcba"),
    ({"created_at": "lt:2020-01-01T00:00:00Z"}, ""),
    ({"updated_at": "gte:9999-12-31T23:59:59Z"}, ""),
    ({"updated_at": "lte:9999-12-31T23:59:59Z"}, "edcba"),
    ({"sort_key": "name", "sort_dir": "asc"}, "abcde"),
    ({"sort_key": "name"}, "edcba"),
    ({"sort": "name:asc"}, "abcde"),
    ({"sort": "disk_format:desc,name:asc"}, "abcde"),
    ({"sort": "disk_format,name"}, "baedc"),
    ({"sort_key": ["disk_format", "name"], "sort_dir": ["asc", "desc"]}, "edcba"),
    ({"sort_key": ["disk_format", "name"], "sort_dir": "asc"}, "cdeab"),
    ({"limit": "2"}, "ed"),
    ({"limit": "0"}, ""),
    ({"member_status": "all"}, "edcba"),
]


def test_filters(api: Api, several: list[str]) -> None:
    for query, wanted in FILTERS:
        assert "".join(names(api.get(IMAGES, params=query, params_csv=False))) == wanted, query


def test_filter_by_id_and_times(api: Api, several: list[str]) -> None:
    assert names(api.get(IMAGES, params={"id": several[1]})) == ["b"]
    assert names(api.get(f"{IMAGES}?id=in:{several[0]},{several[4]}")) == ["e", "a"]
    moment = api.get(f"{IMAGES}/{several[2]}").json["created_at"]
    assert "c" in names(api.get(IMAGES, params={"created_at": moment}))
    assert "c" in names(api.get(IMAGES, params={"created_at": f"eq:{moment}"}))
    assert "c" in names(api.get(IMAGES, params={"created_at": f"gte:{moment}"}))
    assert "c" in names(api.get(IMAGES, params={"created_at": f"lte:{moment}"}))
    assert "c" not in names(api.get(IMAGES, params={"created_at": f"neq:{moment}"}))
    assert "c" not in names(api.get(IMAGES, params={"created_at": f"gt:{moment}"}))


BAD_FILTERS: list[dict[str, Any]] = [
    {"visibility": "secret"},
    {"member_status": "maybe"},
    {"limit": "x"},
    {"limit": "-1"},
    {"limit": "9" * 5000},
    {"marker": "nothing"},
    {"marker": NOBODYS},
    {"sort_key": "owner; drop table"},
    {"sort_dir": "up"},
    {"sort": "name:up"},
    {"sort": "name", "sort_key": "name"},
    {"sort_key": ["name", "size"], "sort_dir": ["asc", "asc", "asc"]},
    {"size_min": "x"},
    {"size_max": str(2**63)},
    {"min_disk": "9" * 5000},
    {"protected": "maybe"},
    {"os_hidden": "maybe"},
    {"name": "gt:x"},
    {"name": 'in:"a'},
    {"created_at": "yesterday"},
    {"created_at": "gt:0001-01-01T00:00:00+14:00"},
    {"created_at": "like:2020-01-01T00:00:00Z"},
    {"changes-since": "2020-01-01T00:00:00Z"},
    {"name": "a\0"},
]


def test_bad_filters(api: Api) -> None:
    for query in BAD_FILTERS:
        answer = api.get(IMAGES, params=query, params_csv=False)
        assert answer.status_code == 400, (query, answer.text)


def test_pages(api: Api, several: list[str]) -> None:
    seen: list[str] = []
    path = "/v2/images?limit=2&sort=disk_format:desc,name:asc"
    first = api.get("/image" + path).json["first"]
    while path:
        answer = api.get("/image" + path)
        seen += names(answer)
        assert answer.json["first"] == first
        assert answer.json["schema"] == "/v2/schemas/images"
        path = answer.json.get("next")
    assert seen == list("abcde")


def test_pages_in_every_order(api: Api, several: list[str]) -> None:
    for key in ("name", "status", "container_format", "disk_format", "size", "id", "created_at", "updated_at"):
        for direction in ("asc", "desc"):
            seen: list[str] = []
            path = f"/v2/images?limit=2&sort={key}:{direction}"
            while path:
                answer = api.get("/image" + path)
                seen += names(answer)
                path = answer.json.get("next")
            assert sorted(seen) == list("abcde"), (key, direction)


def test_a_marker_that_the_caller_may_not_see(api: Api, several: list[str]) -> None:
    assert api.become("member").get(IMAGES, params={"marker": several[0]}).status_code == 400


def test_hidden_ones_are_listed_when_asked_for(api: Api) -> None:
    hidden = make(api, name="hidden", os_hidden=True)["id"]
    assert names(api.get(IMAGES)) == []
    assert names(api.get(IMAGES, params={"os_hidden": "true"})) == ["hidden"]
    assert api.get(f"{IMAGES}/{hidden}").status_code == 200


# --- PATCH ---


def test_patch_2_1(api: Api) -> None:
    image = make(api, tags=["old"], kept="1", dropped="1", changed="1")
    answer = patch(
        api,
        image["id"],
        [
            {"op": "replace", "path": "/name", "value": "two"},
            {"op": "replace", "path": "/tags", "value": ["new"]},
            {"op": "add", "path": "/added", "value": "é"},
            {"op": "add", "path": "/kept", "value": "1"},
            {"op": "replace", "path": "/changed", "value": ""},
            {"op": "remove", "path": "/dropped"},
            {"op": "replace", "path": "/min_ram", "value": 5},
            {"op": "replace", "path": "/protected", "value": True},
            {"op": "replace", "path": "/visibility", "value": "private"},
            {"op": "add", "path": "/a~1b~0c", "value": "x"},
            {"op": "replace", "path": "/disk_format", "value": "iso"},
        ],
    )
    assert answer.status_code == 200, answer.text
    changed = answer.json
    assert changed == api.get(f"{IMAGES}/{image['id']}").json
    assert (changed["name"], changed["tags"], changed["added"], changed["changed"]) == ("two", ["new"], "é", "")
    assert "dropped" not in changed
    assert (changed["min_ram"], changed["protected"], changed["visibility"]) == (5, True, "private")
    assert changed["a/b~c"] == "x"
    assert changed["disk_format"] == "iso"
    assert changed["kept"] == "1"


def test_patch_2_0(api: Api) -> None:
    image = make(api, dropped="1", changed="1")
    changes = [
        {"replace": "/name", "value": None},
        {"add": "/added", "value": "1"},
        {"replace": "/changed", "value": "2"},
        {"remove": "/dropped"},
    ]
    changed = patch(api, image["id"], changes, V20).json
    assert (changed["name"], changed["added"], changed["changed"]) == (None, "1", "2")
    assert "dropped" not in changed
    assert patch(api, image["id"], [{"add": "/added", "value": "1"}], V20).status_code == 409
    assert patch(api, image["id"], [{"add": "/name", "value": "1"}], V20).status_code == 409


def test_patch_with_no_changes(api: Api) -> None:
    image = make(api)
    assert patch(api, image["id"], []).json == image


BAD_CHANGES: list[tuple[Any, int]] = [
    ({"op": "replace", "path": "/name", "value": "x"}, 400),
    (["x"], 400),
    ([{}], 400),
    ([{"op": "move", "path": "/name"}], 400),
    ([{"op": ["replace"], "path": "/name", "value": "x"}], 400),
    ([{"op": "replace", "value": "x"}], 400),
    ([{"op": "replace", "path": "/name"}], 400),
    ([{"op": "replace", "path": "name", "value": "x"}], 400),
    ([{"op": "replace", "path": 5, "value": "x"}], 400),
    ([{"op": "replace", "path": "/", "value": "x"}], 400),
    ([{"op": "replace", "path": "//name", "value": "x"}], 400),
    ([{"op": "replace", "path": "/name/", "value": "x"}], 400),
    ([{"op": "replace", "path": "/tags/0", "value": "x"}], 400),
    ([{"op": "replace", "path": "/a~b", "value": "x"}], 400),
    ([{"op": "replace", "path": "/name", "value": 5}], 400),
    ([{"op": "replace", "path": "/min_ram", "value": 2**31}], 400),
    ([{"op": "replace", "path": "/min_ram", "value": None}], 400),
    ([{"op": "replace", "path": "/visibility", "value": "x"}], 400),
    ([{"op": "add", "path": "/p", "value": 5}], 400),
    ([{"op": "add", "path": "/p", "value": None}], 400),
    ([{"op": "add", "path": "/" + "p" * 256, "value": "x"}], 400),
    ([{"op": "add", "path": f"/p{number}", "value": "x"} for number in range(129)], 413),
    ([{"op": "replace", "path": "/status", "value": "active"}], 403),
    ([{"op": "replace", "path": "/id", "value": "x"}], 403),
    ([{"op": "replace", "path": "/size", "value": 1}], 403),
    ([{"op": "remove", "path": "/checksum"}], 403),
    ([{"op": "remove", "path": "/name"}], 403),
    ([{"op": "add", "path": "/deleted", "value": "x"}], 403),
    ([{"op": "add", "path": "/locations/-", "value": {}}], 400),
    ([{"op": "replace", "path": "/locations", "value": []}], 403),
    ([{"op": "add", "path": "/os_glance_x", "value": "x"}], 403),
    ([{"op": "replace", "path": "/owner", "value": "x"}], 403),
    ([{"op": "add", "path": "/owner", "value": "x"}], 403),
    ([{"op": "replace", "path": "/visibility", "value": "public"}], 403),
    ([{"op": "replace", "path": "/missing", "value": "x"}], 409),
    ([{"op": "remove", "path": "/missing"}], 409),
]


def test_patch_refused(api: Api) -> None:
    image = make(api)
    first = [{"op": "add", "path": "/first", "value": "x"}]
    for changes, status in BAD_CHANGES:
        answer = patch(api, image["id"], first + changes if isinstance(changes, list) else changes)
        assert answer.status_code == status, (changes, answer.text)
        assert api.get(f"{IMAGES}/{image['id']}").json == image  # nothing of it was done


def test_patch_wants_its_media_type(api: Api) -> None:
    image = make(api)
    answer = patch(api, image["id"], [], "application/json")
    assert answer.status_code == 415
    assert answer.headers["Accept-Patch"] == f"{V20}, {V21}"


def test_visibility_rules_of_patch(api: Api, admin: Api) -> None:
    image = make(api)["id"]
    assert patch(api, image, [{"op": "replace", "path": "/visibility", "value": "community"}]).status_code == 200
    assert patch(admin, image, [{"op": "replace", "path": "/visibility", "value": "public"}]).status_code == 200
    assert patch(admin, image, [{"op": "replace", "path": "/owner", "value": "x" * 64}]).json["owner"] == "x" * 64
    assert api.get(f"{IMAGES}/{image}").status_code == 200
    assert api.delete(f"{IMAGES}/{image}").status_code == 403


def test_patch_changes_updated_at(api: Api, db: Database) -> None:
    image = make(api)
    with db.write() as conn:
        conn.execute(update(Image).values(updated_at="2020-01-01T00:00:00.000000"))
    changed = patch(api, image["id"], [{"op": "add", "path": "/p", "value": "x"}]).json
    assert changed["updated_at"] >= image["updated_at"]
    assert changed["created_at"] == image["created_at"]


# --- delete ---


def test_delete(api: Api) -> None:
    image = make(api)["id"]
    assert api.delete(f"{IMAGES}/{image}").status_code == 204
    assert api.get(f"{IMAGES}/{image}").status_code == 404
    assert api.delete(f"{IMAGES}/{image}").status_code == 404
    assert names(api.get(IMAGES)) == []


def test_protected_ones_stay(api: Api, admin: Api) -> None:
    image = make(api, protected=True)["id"]
    answer = api.delete(f"{IMAGES}/{image}")
    assert answer.status_code == 403
    assert answer.json["message"] == f"Image {image} is protected and cannot be deleted."
    assert admin.delete(f"{IMAGES}/{image}").status_code == 403
    patch(api, image, [{"op": "replace", "path": "/protected", "value": False}])
    assert api.delete(f"{IMAGES}/{image}").status_code == 204


# --- tags ---


def test_tags(api: Api) -> None:
    image = make(api, tags=["one"])["id"]
    path = f"{IMAGES}/{image}/tags"
    assert api.put(f"{path}/two").status_code == 204
    assert api.put(f"{path}/two").status_code == 204
    assert api.put(f"{path}/caf%C3%A9").status_code == 204
    assert api.get(f"{IMAGES}/{image}").json["tags"] == ["café", "one", "two"]
    assert api.delete(f"{path}/one").status_code == 204
    assert api.delete(f"{path}/one").status_code == 404
    assert api.put(f"{path}/{'x' * 256}").status_code == 400
    assert api.put(f"{path}/%00").status_code == 404
    assert api.get(f"{IMAGES}/{image}").json["tags"] == ["café", "two"]


def test_tasks(api: Api) -> None:
    assert api.get(f"{IMAGES}/{make(api)['id']}/tasks").json == {"tasks": []}
