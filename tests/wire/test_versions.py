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


@pytest.mark.parametrize("header", ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version"])
def test_a_refused_version_is_named_in_the_answer(api: Any, header: str) -> None:
    service = "compute " if header == "OpenStack-API-Version" else ""
    for text in ("2.999", "3.1", "2.0"):
        answer = api.get("/servers", headers={header: service + text})
        assert (answer.status_code, answer.json["computeFault"]["code"]) == (406, 406)
        assert answer.headers["openstack-api-version"] == f"compute {text}"
        assert answer.headers["x-openstack-nova-api-version"] == text
        assert answer.headers["vary"] == "OpenStack-API-Version, X-OpenStack-Nova-API-Version"
    answer = api.get("/servers", headers={header: service + "two"})
    assert answer.status_code == 400
    assert not {"openstack-api-version", "x-openstack-nova-api-version", "vary"} & {
        name.lower() for name in answer.headers
    }
    assert api.get("/servers", version="2.2").headers["openstack-api-version"] == "compute 2.2"


def test_an_empty_legacy_version_is_none_at_all(api: Any) -> None:
    assert api.get("/servers", headers={"X-OpenStack-Nova-API-Version": ""}).status_code == 400
    assert api.get("/servers", headers={"OpenStack-API-Version": ""}).status_code == 200


def test_outside_all_versions_there_are_choices(api: Any) -> None:
    answer = api._client.simulate_get("/v3/servers", query_string="a=b")
    assert answer.status_code == 300
    assert [choice["id"] for choice in answer.json["choices"]] == ["v2.0", "v2.1"]
    assert [choice["links"] for choice in answer.json["choices"]] == [
        [{"rel": "self", "href": f"http://falconframework.org{prefix}/v3/servers"}] for prefix in ("/v2", "/v2.1")
    ]
    assert answer.json["choices"][1] | {"links": []} == {
        "id": "v2.1",
        "status": "CURRENT",
        "links": [],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}],
    }
    for path in ("/v2/nowhere", "/v2.1/nowhere", "/identity/nowhere", "/image/nowhere"):
        assert api._client.simulate_get(path).status_code == 401


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
