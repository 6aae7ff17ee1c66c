# SPDX-License-Identifier: Apache-2.0
"""The Compute API's images and image metadata, as Nova 2.1 shows them."""

from __future__ import annotations

import re
import time
from typing import Any
from urllib.parse import parse_qs

import pytest

from computeapi import versions
from computeapi.api.compute.routes import COMPUTE
from tests.conftest import Api
from tests.wire.test_image_data import DATA, active, images  # noqa: F401  (a fixture)
from tests.wire.test_images import IMAGES, NOBODYS, make, patch, send

PATHS = ("/v2.1/images", "/v2.1/images/detail")
HOST = "http://falconframework.org"


def titles(answer: Any) -> list[str]:
    """The names in a list's answer."""
    assert answer.status_code == 200, answer.text
    return [image["name"] for image in answer.json["images"]]


# --- show ---


def test_show(api: Api) -> None:
    image_id = active(api, name="one", min_ram=64, min_disk=2, architecture="x86_64", auto_disk_config="True")
    answer = api.get(f"/v2.1/images/{image_id}")
    assert answer.status_code == 200
    image = answer.json["image"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", image["created"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", image["updated"])
    assert {key: image[key] for key in image if key not in ("created", "updated")} == {
        "id": image_id,
        "name": "one",
        "links": [
            {"rel": "self", "href": f"{HOST}/v2.1/images/{image_id}"},
            {"rel": "bookmark", "href": f"{HOST}/images/{image_id}"},
            {
                "rel": "alternate",
                "type": "application/vnd.openstack.image",
                "href": f"{HOST}/image/images/{image_id}",
            },
        ],
        "metadata": {"architecture": "x86_64", "auto_disk_config": "True"},
        "minDisk": 2,
        "minRam": 64,
        "progress": 100,
        "status": "ACTIVE",
        "OS-EXT-IMG-SIZE:size": len(DATA),
        "OS-DCF:diskConfig": "AUTO",
    }


def test_links_name_the_project_and_version_that_were_asked(api: Api) -> None:
    image_id = make(api)["id"]
    links = api.get(f"/v2.1/{api.project_id}/images/{image_id}").json["image"]["links"]
    assert links[0]["href"] == f"{HOST}/v2.1/{api.project_id}/images/{image_id}"
    assert links[1]["href"] == f"{HOST}/{api.project_id}/images/{image_id}"
    links = api.get(f"/v2/images/{image_id}").json["image"]["links"]
    assert links[0]["href"] == f"{HOST}/v2/images/{image_id}"


def test_the_server_it_was_made_of(api: Api) -> None:
    image_id = make(api, instance_uuid=NOBODYS, auto_disk_config="no")["id"]
    image = api.get(f"/v2.1/images/{image_id}").json["image"]
    assert image["server"] == {
        "id": NOBODYS,
        "links": [
            {"rel": "self", "href": f"{HOST}/v2.1/servers/{NOBODYS}"},
            {"rel": "bookmark", "href": f"{HOST}/servers/{NOBODYS}"},
        ],
    }
    assert image["OS-DCF:diskConfig"] == "MANUAL"


def test_states(api: Api) -> None:
    queued = make(api)["id"]
    image = api.get(f"/v2.1/images/{queued}").json["image"]
    assert (image["status"], image["progress"], image["OS-EXT-IMG-SIZE:size"]) == ("SAVING", 25, 0)
    gone = active(api)
    api.post(f"{IMAGES}/{gone}/actions/deactivate")
    image = api.get(f"/v2.1/images/{gone}").json["image"]
    assert (image["status"], image["progress"]) == ("UNKNOWN", 0)


UNKNOWN = [NOBODYS, "x", "%00", "-1", "a" * 3000]


def test_not_found(api: Api) -> None:
    for path in (f"/v2.1/images/{image_id}" for image_id in UNKNOWN):
        for method, end in (("GET", ""), ("DELETE", ""), ("GET", "/metadata"), ("GET", "/metadata/x")):
            answer = api.request(method, path + end)
            assert answer.status_code == 404, (path, method, end)
            if "%00" not in path:
                assert answer.json["itemNotFound"]["message"] == "Image not found."
        assert api.post(f"{path}/metadata", {"metadata": {}}).status_code == 404
        assert api.put(f"{path}/metadata", {"metadata": {}}).status_code == 404
        assert api.put(f"{path}/metadata/x", {"meta": {"x": "y"}}).status_code == 404
        assert api.delete(f"{path}/metadata/x").status_code == 404


def test_others_images_are_not_found(api: Api) -> None:
    image_id = make(api)["id"]
    other = api.become("member")
    assert other.get(f"/v2.1/images/{image_id}").status_code == 404
    assert other.delete(f"/v2.1/images/{image_id}").status_code == 404
    assert titles(other.get("/v2.1/images")) == []


def test_no_token(api: Api) -> None:
    assert api.request("GET", "/v2.1/images", headers={"X-Auth-Token": ""}).status_code == 401


# --- delete ---


def test_delete(api: Api) -> None:
    image_id = active(api)
    assert api.delete(f"/v2.1/images/{image_id}").status_code == 204
    assert api.get(f"/v2.1/images/{image_id}").status_code == 404
    assert api.delete(f"/v2.1/images/{image_id}").status_code == 404


def test_delete_refused(api: Api, admin: Api) -> None:
    public = make(admin, visibility="public")["id"]
    protected = make(api, protected=True)["id"]
    for image_id in (public, protected):
        answer = api.delete(f"/v2.1/images/{image_id}")
        assert answer.status_code == 403
        assert answer.json["forbidden"]["message"] == "You are not allowed to delete the image."
        assert api.get(f"/v2.1/images/{image_id}").status_code == 200


def test_readers_of_the_project_change_nothing(api: Api) -> None:
    """As in the image service itself: its rules hold here too."""
    image_id = active(api, colour="red")
    reader = api.become("reader", project_id=api.project_id)
    path = f"/v2.1/images/{image_id}"
    assert reader.get(path).status_code == 200
    refused = reader.delete(path)
    assert (refused.status_code, refused.json["forbidden"]["message"]) == (
        403,
        "You are not allowed to delete the image.",
    )
    for answer in (
        reader.post(f"{path}/metadata", {"metadata": {"colour": "blue"}}),
        reader.put(f"{path}/metadata", {"metadata": {"colour": "blue"}}),
        reader.put(f"{path}/metadata/colour", {"meta": {"colour": "blue"}}),
        reader.delete(f"{path}/metadata/colour"),
    ):
        assert answer.status_code == 403
    assert api.get(f"{path}/metadata").json["metadata"] == {"colour": "red"}


def test_delete_of_nothing(api: Api) -> None:
    assert api.delete("/v2.1/images/").status_code == 404
    assert api.delete("/v2.1/images").status_code == 404


# --- lists ---


@pytest.fixture
def several(api: Api) -> dict[str, str]:
    """Ids by name, made in this order."""
    return {
        "a": active(api, name="a", min_ram=1, image_type="snapshot", instance_uuid=NOBODYS),
        "b": make(api, name="b", min_disk=2, image_type="backup")["id"],
        "c": active(api, name="c", disk_format="iso", os_distro="debian"),
    }


FILTERS: list[tuple[dict[str, str], str]] = [
    ({}, "cba"),
    ({"name": "b"}, "b"),
    ({"name": "x"}, ""),
    ({"status": "ACTIVE"}, "ca"),
    ({"status": "active"}, "ca"),
    ({"status": "queued"}, "b"),
    ({"type": "snapshot"}, "a"),
    ({"type": "backup"}, "b"),
    ({"server": NOBODYS}, "a"),
    ({"server": f"http://host/v2.1/servers/{NOBODYS}"}, "a"),
    ({"server": "x"}, ""),
    ({"minRam": "1"}, "a"),
    ({"minDisk": "2"}, "b"),
    ({"property-os_distro": "debian"}, "c"),
    ({"property-os_distro": "%"}, ""),
    ({"changes-since": "2020-01-01T00:00:00Z"}, "cba"),
    ({"changes-since": "9999-01-01T00:00:00"}, ""),
    ({"limit": "2"}, "cb"),
    ({"unknown": "x"}, "cba"),
]


def test_filters(api: Api, several: dict[str, str]) -> None:
    for query, wanted in FILTERS:
        for path in PATHS:
            assert "".join(titles(api.get(path, params=query))) == wanted, (path, query)


def test_index_and_detail_show(api: Api, several: dict[str, str]) -> None:
    for image in api.get("/v2.1/images").json["images"]:
        assert set(image) == {"id", "name", "links"}
    for image in api.get("/v2.1/images/detail").json["images"]:
        assert image == api.get(f"/v2.1/images/{image['id']}").json["image"]


@pytest.mark.parametrize("path", PATHS)
def test_pages(api: Api, several: dict[str, str], path: str) -> None:
    answer = api.get(path, params={"limit": "2", "name": "in:a,b,c"})
    assert titles(answer) == ["c", "b"]
    [link] = answer.json["images_links"]
    assert (link["rel"], link["href"].split("?")[0]) == ("next", HOST + path)
    assert parse_qs(link["href"].split("?")[1]) == {"limit": ["2"], "marker": [several["b"]], "name": ["in:a,b,c"]}
    answer = api.get(link["href"].removeprefix(HOST))
    assert titles(answer) == ["a"]
    assert "images_links" not in answer.json


def test_marker(api: Api, several: dict[str, str]) -> None:
    assert titles(api.get("/v2.1/images", params={"marker": several["c"]})) == ["b", "a"]


BAD_QUERIES: list[dict[str, str]] = [
    {"limit": "x"},
    {"limit": "-1"},
    {"limit": "0"},
    {"offset": "x"},
    {"marker": "x"},
    {"marker": NOBODYS},
    {"changes-since": "yesterday"},
    {"minRam": "x"},
    {"minDisk": "9" * 100},
    {"name": "gt:x"},
]


def test_bad_queries(api: Api) -> None:
    for query in BAD_QUERIES:
        for path in PATHS:
            answer = api.get(path, params=query)
            assert answer.status_code == 400, (path, query)
            assert answer.json["badRequest"]["code"] == 400


def test_deleted_ones_are_shown_with_changes_since(api: Api, several: dict[str, str]) -> None:
    start = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 100))
    api.delete(f"/v2.1/images/{several['b']}")
    listed = api.get("/v2.1/images/detail", params={"changes-since": start}).json["images"]
    assert [(image["name"], image["status"]) for image in listed] == [
        ("c", "ACTIVE"),
        ("b", "DELETED"),
        ("a", "ACTIVE"),
    ]
    assert titles(api.get("/v2.1/images")) == ["c", "a"]


def test_gone_above_their_versions() -> None:
    for path, last in (("/images", "2.35"), ("/images/{image_id}", "2.35"), ("/images/{image_id}/metadata", "2.38")):
        window = COMPUTE[path]["GET"].window
        assert str(window.until) == last
        assert versions.MIN in window


# --- metadata ---


@pytest.fixture
def image(api: Api) -> str:
    """The id of an image with two properties."""
    found: str = make(api, kept="1", changed="1")["id"]
    return found


def test_metadata(api: Api, image: str) -> None:
    assert api.get(f"/v2.1/images/{image}/metadata").json == {"metadata": {"kept": "1", "changed": "1"}}
    assert api.get(f"/v2.1/images/{image}/metadata/kept").json == {"meta": {"kept": "1"}}
    assert api.get(f"/v2.1/images/{image}/metadata/missing").status_code == 404


def test_update_metadata(api: Api, image: str) -> None:
    answer = api.post(f"/v2.1/images/{image}/metadata", {"metadata": {"changed": "2", "new": "3"}})
    assert answer.status_code == 200
    assert answer.json == {"metadata": {"kept": "1", "changed": "2", "new": "3"}}
    assert api.get(f"/v2.1/images/{image}/metadata").json == answer.json
    assert api.post(f"/v2.1/images/{image}/metadata", {"metadata": {}}).json == answer.json


def test_replace_metadata(api: Api, image: str) -> None:
    answer = api.put(f"/v2.1/images/{image}/metadata", {"metadata": {"new": "é"}})
    assert (answer.status_code, answer.json) == (200, {"metadata": {"new": "é"}})
    assert api.get(f"/v2.1/images/{image}/metadata").json == answer.json
    assert api.put(f"/v2.1/images/{image}/metadata", {"metadata": {}}).json == {"metadata": {}}
    assert api.get(f"/v2.1/images/{image}/metadata").json == {"metadata": {}}


def test_metadata_items(api: Api, image: str) -> None:
    path = f"/v2.1/images/{image}/metadata"
    answer = api.put(f"{path}/changed", {"meta": {"changed": "2"}})
    assert (answer.status_code, answer.json) == (200, {"meta": {"changed": "2"}})
    assert api.put(f"{path}/new", {"meta": {"new": ""}}).status_code == 200
    assert api.delete(f"{path}/kept").status_code == 204
    answer = api.delete(f"{path}/kept")
    assert (answer.status_code, answer.json["itemNotFound"]["message"]) == (404, "Invalid metadata key")
    assert api.get(path).json == {"metadata": {"changed": "2", "new": ""}}


BAD_METADATA: list[dict[str, Any]] = [
    {"x" * 256: "v"},
    {"": "v"},
    {"a/b": "v"},
    {"é": "v"},
    {"k": "v" * 256},
    {"k": 5},
    {"k": None},
    {"k": {"a": "b"}},
    {"k": ["v"]},
]


def test_bad_metadata(api: Api, image: str) -> None:
    path = f"/v2.1/images/{image}/metadata"
    for items in BAD_METADATA:
        for answer in (
            api.post(path, {"metadata": items}),
            api.put(path, {"metadata": items}),
            api.put(f"{path}/k", {"meta": items}),
        ):
            assert answer.status_code == 400, items
            assert answer.json["badRequest"]["code"] == 400
    assert api.get(path).json == {"metadata": {"kept": "1", "changed": "1"}}


BAD_BODIES: list[Any] = [None, {}, [], "x", {"metadata": []}, {"metadata": None}, {"meta": {"k": "v"}}]


def test_bad_bodies(api: Api, image: str) -> None:
    path = f"/v2.1/images/{image}/metadata"
    for body in BAD_BODIES:
        assert api.post(path, body).status_code == 400, body
        assert api.put(path, body).status_code == 400, body
        if body != {"meta": {"k": "v"}}:
            assert api.put(f"{path}/k", body).status_code == 400, body


def test_bad_items(api: Api, image: str) -> None:
    path = f"/v2.1/images/{image}/metadata/k"
    answer = api.put(path, {"meta": {"other": "v"}})
    assert answer.status_code == 400
    assert answer.json["badRequest"]["message"] == "Request body and URI mismatch"
    for meta in ({}, {"k": "v", "l": "v"}):
        assert api.put(path, {"meta": meta}).status_code == 400
    assert api.put(path, {"meta": {"k": "v"}, "more": 1}).status_code == 400
    nul = send(api, "PUT", path, '{"meta": {"k": "a\\u0000"}}', "application/json")
    assert nul.status_code == 400


ATTRIBUTES = ["name", "id", "status", "tags", "size", "owner", "os_glance_x"]


def test_attributes_are_no_metadata(api: Api, image: str) -> None:
    path = f"/v2.1/images/{image}/metadata"
    for name in ATTRIBUTES:
        assert api.post(path, {"metadata": {name: "x"}}).status_code == 403, name
        assert api.put(path, {"metadata": {name: "x"}}).status_code == 403, name
        assert api.put(f"{path}/{name}", {"meta": {name: "x"}}).status_code == 403, name
    assert api.get(f"/v2.1/images/{image}").json["image"]["name"] == "one"


def test_unknown_keys_are_let_pass_under_v2(api: Api, image: str) -> None:
    body = {"metadata": {"k": "v"}, "more": 1}
    assert api.post(f"/v2.1/images/{image}/metadata", body).status_code == 400
    assert api.post(f"/v2/images/{image}/metadata", body).status_code == 200


def test_metadata_of_others(api: Api, admin: Api, image: str) -> None:
    public = make(admin, visibility="public", kept="1")["id"]
    other = api.become("member")
    assert other.get(f"/v2.1/images/{image}/metadata").status_code == 404
    assert other.post(f"/v2.1/images/{image}/metadata", {"metadata": {"k": "v"}}).status_code == 404
    path = f"/v2.1/images/{public}/metadata"
    assert other.get(path).json == {"metadata": {"kept": "1"}}
    assert other.post(path, {"metadata": {"k": "v"}}).status_code == 403
    assert other.put(path, {"metadata": {"k": "v"}}).status_code == 403
    assert other.put(f"{path}/k", {"meta": {"k": "v"}}).status_code == 403
    assert other.delete(f"{path}/kept").status_code == 403
    assert admin.get(path).json == {"metadata": {"kept": "1"}}


def test_metadata_quota(api: Api, image: str) -> None:
    path = f"/v2.1/images/{image}/metadata"
    most = {f"k{number}": "v" for number in range(128)}
    assert api.put(path, {"metadata": {**most, "one-more": "v"}}).status_code == 403
    assert api.put(path, {"metadata": most}).status_code == 200
    answer = api.post(path, {"metadata": {"one-more": "v"}})
    assert answer.status_code == 403
    assert answer.json["forbidden"]["message"] == "Image metadata limit exceeded"
    assert api.put(f"{path}/one-more", {"meta": {"one-more": "v"}}).status_code == 403
    assert api.put(f"{path}/k1", {"meta": {"k1": "w"}}).status_code == 200


def test_what_glance_writes_the_proxy_shows(api: Api, image: str) -> None:
    patch(api, image, [{"op": "add", "path": "/from_glance", "value": "x"}])
    assert api.get(f"/v2.1/images/{image}/metadata/from_glance").json == {"meta": {"from_glance": "x"}}
    api.put(f"/v2.1/images/{image}/metadata/from_nova", {"meta": {"from_nova": "y"}})
    assert api.get(f"{IMAGES}/{image}").json["from_nova"] == "y"
