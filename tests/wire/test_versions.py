# SPDX-License-Identifier: Apache-2.0
"""Version documents and microversion negotiation."""

from __future__ import annotations

from typing import Any

import pytest

from computeapi import versions


def test_root_lists_v20_first(api: Any) -> None:
    found = api.get("/").json["versions"]
    assert [item["id"] for item in found] == ["v2.0", "v2.1"]
    assert found[1]["version"] == str(versions.MAX)
    assert found[1]["min_version"] == "2.1"


@pytest.mark.parametrize(("path", "name"), [("/v2.1", "v2.1"), ("/v2.1/", "v2.1"), ("/v2", "v2.0"), ("/v2/", "v2.0")])
def test_a_version_document_needs_no_token(api: Any, path: str, name: str) -> None:
    answer = api.get(path, headers={"X-Auth-Token": ""})
    assert answer.status_code == 200
    assert answer.json["version"]["id"] == name


def test_self_links_lead_to_the_same_document(api: Any) -> None:
    for item in api.get("/").json["versions"]:
        link = next(link["href"] for link in item["links"] if link["rel"] == "self")
        path = "/" + link.split("/", 3)[3]
        assert api.get(path).json["version"]["id"] == item["id"]


@pytest.mark.parametrize(
    ("text", "status"), [("2.1", 404), ("latest", 404), ("2.999", 406), ("3.1", 406), ("two", 400), ("2.01", 400)]
)
def test_negotiation(api: Any, text: str, status: int) -> None:
    assert api.get("/nowhere-known/x", version=text).status_code == status


def test_headers_of_an_answer(api: Any) -> None:
    answer = api.get("/", version="2.2")
    assert answer.headers["x-openstack-request-id"].startswith("req-")
    assert answer.headers["x-compute-request-id"] == answer.headers["x-openstack-request-id"]


def test_no_token(api: Any) -> None:
    answer = api.get("/servers", headers={"X-Auth-Token": ""})
    assert answer.status_code == 401
    assert answer.json["unauthorized"]["code"] == 401


@pytest.mark.parametrize("path", ["/servers/", "/flavors/", "/images/", "/os-simple-tenant-usage/", "/os-keypairs/"])
def test_an_empty_id_is_none(api: Any, path: str) -> None:
    admin = api.become("admin")
    for call in (admin.get, admin.delete):
        answer = call(path)
        assert (answer.status_code, answer.json["itemNotFound"]["code"]) == (404, 404)
    assert api.get(path, headers={"X-Auth-Token": ""}).status_code == 401
