# SPDX-License-Identifier: Apache-2.0
"""The version documents, the catalog, and what is the same cloud seen from elsewhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from computeapi.api.identity import catalog
from computeapi.app import create_app
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import ADMIN_PASSWORD, Cloud, cheap_passwords

HOST = "http://falconframework.org"


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


def test_the_version_documents_need_no_token(cloud: Cloud) -> None:
    version = {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{HOST}/identity/v3/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }
    for path in ("//identity", "//identity/"):
        answer = cloud.get(path, token="")
        assert answer.status_code == 300
        assert answer.headers["Location"] == f"{HOST}/identity/v3/"
        assert answer.json == {"versions": {"values": [version]}}
    for path in ("//identity/v3", "//identity/v3/"):
        answer = cloud.get(path, token="")
        assert (answer.status_code, answer.json) == (200, {"version": version})
        assert answer.headers["Vary"] == "X-Auth-Token"


def test_the_catalog(cloud: Cloud) -> None:
    services = cloud.login("admin", ADMIN_PASSWORD, "admin").json["token"]["catalog"]
    urls = {}
    for service in services:
        assert sorted(service) == ["endpoints", "id", "name", "type"]
        assert [endpoint["interface"] for endpoint in service["endpoints"]] == ["public", "internal", "admin"]
        for endpoint in service["endpoints"]:
            assert sorted(endpoint) == ["id", "interface", "region", "region_id", "url"]
            assert endpoint["region"] == endpoint["region_id"] == "RegionOne"
            urls[service["type"]] = endpoint["url"]
    assert urls["identity"] == f"{HOST}/identity"
    assert urls["compute"] == f"{HOST}/v2.1"
    assert urls["compute_legacy"] == f"{HOST}/v2/{cloud.projects['admin']}"
    assert urls["image"] == f"{HOST}/image"
    assert cloud.get("/auth/catalog").json["catalog"] == services


def test_a_catalog_is_a_projects(cloud: Cloud) -> None:
    for scope in ("unscoped", {"system": {"all": True}}):
        token = cloud.token("admin", ADMIN_PASSWORD, scope=scope)
        assert cloud.get("/auth/catalog", token=token).status_code == 403


def test_the_public_url_is_the_settings_where_one_is_set(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_passwords(monkeypatch)
    cloud = Cloud(dataclasses.replace(settings, public_url="https://cloud.example:443"), db)
    answer = cloud.login("admin", ADMIN_PASSWORD, "admin", headers={"Host": "evil.example"})
    assert {
        endpoint["url"].startswith("https://cloud.example:443/")
        for service in answer.json["token"]["catalog"]
        for endpoint in service["endpoints"]
    } == {True}
    assert cloud.get("/users").json["links"]["self"] == "https://cloud.example:443/identity/v3/users"


def test_more_services_are_a_row_and_a_word(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "ENABLED", (*catalog.ENABLED, "network", "block-storage", "volumev3"))
    urls = {
        service["type"]: service["endpoints"][0]["url"]
        for service in cloud.login("admin", ADMIN_PASSWORD, "admin").json["token"]["catalog"]
    }
    assert urls["network"] == f"{HOST}/network"
    assert urls["block-storage"] == urls["volumev3"] == f"{HOST}/volume/v3"


def test_services_endpoints_and_regions(cloud: Cloud) -> None:
    services = {item["type"]: item for item in cloud.get("/services").json["services"]}
    endpoints = cloud.get("/endpoints").json["endpoints"]
    nova = services["compute"]
    assert (nova["name"], nova["enabled"]) == ("nova", True)
    assert len(endpoints) == 3 * len(services)
    assert cloud.get(f"/services/{nova['id']}").json == {"service": nova}
    assert cloud.get(f"/endpoints/{endpoints[0]['id']}").json == {"endpoint": endpoints[0]}
    assert [item["id"] for item in cloud.get("/services?type=compute").json["services"]] == [nova["id"]]
    assert [item["id"] for item in cloud.get("/services?name=nova").json["services"]] == [nova["id"]]
    found = cloud.get(f"/endpoints?service_id={nova['id']}&interface=public").json["endpoints"]
    assert [item["url"] for item in found] == [f"{HOST}/v2.1"]
    assert cloud.get("/endpoints?region_id=unknown").json["endpoints"] == []
    region = {
        "id": "RegionOne",
        "description": "",
        "parent_region_id": None,
        "links": {"self": f"{HOST}/identity/v3/regions/RegionOne"},
    }
    assert cloud.get("/regions").json["regions"] == [region]
    assert cloud.get("/regions/RegionOne").json == {"region": region}
    for path in ("/services", "/endpoints", "/regions"):
        assert cloud.get(f"{path}/unknown").status_code == 404
        assert cloud.post(path, {}).status_code == 400
    _, _, member = cloud.someone("member")
    assert cloud.get("/regions", token=member).status_code == 200
    for path in ("/services", f"/services/{nova['id']}", "/endpoints"):
        assert cloud.get(path, token=member).status_code == 403


def register(cloud: Cloud, **attributes: Any) -> dict[str, Any]:
    answer = cloud.post("/services", {"service": {"name": "heat", "type": "orchestration", **attributes}})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json["service"]
    return found


def at(cloud: Cloud, service_id: str, **attributes: Any) -> Any:
    body = {"service_id": service_id, "interface": "public", "url": "https://heat.example/v1", **attributes}
    return cloud.post("/endpoints", {"endpoint": body})


def entries(cloud: Cloud, kind: str, **more: Any) -> list[dict[str, Any]]:
    """The services of that type in the catalog of a new token."""
    token = cloud.login("admin", ADMIN_PASSWORD, **(more or {"project": "admin"})).json["token"]
    return [service for service in token["catalog"] if service["type"] == kind]


def test_a_service_of_others(cloud: Cloud) -> None:
    service = register(cloud, description="d", team="infra")
    path = f"/services/{service['id']}"
    shown = {**service}
    assert shown.pop("id") and shown.pop("links") == {"self": f"{HOST}/identity/v3{path}"}
    assert shown == {"name": "heat", "type": "orchestration", "description": "d", "enabled": True, "team": "infra"}
    assert cloud.get(path).json == {"service": service}
    assert cloud.get("/services?type=orchestration").json["services"] == [service]
    assert cloud.get("/services?name=heat&type=compute").json["services"] == []
    changed = cloud.patch(path, {"service": {"description": "e", "name": "Heat"}})
    assert changed.status_code == 200 and changed.json["service"] == {**service, "description": "e", "name": "Heat"}
    region = "%(project_id)s/%(user_id)s/$(tenant_id)s"
    made = at(cloud, service["id"], region_id="RegionOne", url=f"https://heat.example/v1/{region}")
    assert made.status_code == 201
    endpoint = made.json["endpoint"]
    assert endpoint["region"] == endpoint["region_id"] == "RegionOne" and endpoint["enabled"] is True
    assert cloud.get(f"/endpoints/{endpoint['id']}").json == {"endpoint": endpoint}
    assert cloud.get(f"/endpoints?service_id={service['id']}").json["endpoints"] == [endpoint]
    project = cloud.projects["admin"]
    url = f"https://heat.example/v1/{project}/{cloud.admin_id}/{project}"
    listed = {"id": endpoint["id"], "interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": url}
    entry = {"id": service["id"], "type": "orchestration", "name": "Heat", "endpoints": [listed]}
    assert entries(cloud, "orchestration") == [entry]
    assert cloud.get("/auth/catalog").json["catalog"][-1] == entry
    # a token without a project has nothing for the URL
    assert entries(cloud, "orchestration", scope={"system": {"all": True}}) == [{**entry, "endpoints": []}]
    # what is disabled is not in it
    one = f"/endpoints/{endpoint['id']}"
    assert cloud.patch(one, {"endpoint": {"enabled": False}}).json["endpoint"] == {**endpoint, "enabled": False}
    assert entries(cloud, "orchestration") == [{**entry, "endpoints": []}]
    assert cloud.patch(path, {"service": {"enabled": False}}).json["service"]["enabled"] is False
    assert entries(cloud, "orchestration") == []
    assert cloud.delete(path).status_code == 204
    assert cloud.get(path).status_code == cloud.delete(path).status_code == 404
    assert cloud.get(one).status_code == cloud.patch(one, {"endpoint": {}}).status_code == 404


def test_what_this_cloud_serves_can_not_be_broken(cloud: Cloud) -> None:
    before = cloud.get("/auth/catalog").json["catalog"]
    nova = cloud.get("/services?type=compute").json["services"][0]
    own = cloud.get(f"/endpoints?service_id={nova['id']}").json["endpoints"][0]
    for path, key in ((f"/services/{nova['id']}", "service"), (f"/endpoints/{own['id']}", "endpoint")):
        assert cloud.patch(path, {key: {"enabled": False}}).status_code == 403
        assert cloud.delete(path).status_code == 403
    assert cloud.patch("/regions/RegionOne", {"region": {"description": "x"}}).status_code == 403
    assert cloud.delete("/regions/RegionOne").status_code == 403
    assert cloud.post("/services", {"service": {"type": "compute", "name": "evil"}}).status_code == 409
    other = register(cloud)
    assert cloud.patch(f"/services/{other['id']}", {"service": {"type": "identity"}}).status_code == 409
    for place in ({}, {"region_id": "RegionOne"}, {"region": "RegionOne"}):
        assert at(cloud, nova["id"], **place).status_code == 409
    mine = at(cloud, other["id"], region_id="RegionOne").json["endpoint"]
    moved = cloud.patch(f"/endpoints/{mine['id']}", {"endpoint": {"service_id": nova["id"]}})
    assert moved.status_code == 409
    assert cloud.delete(f"/services/{other['id']}").status_code == 204
    assert cloud.get("/auth/catalog").json["catalog"] == before
    # another region of it is welcome, and comes behind ours
    there = at(cloud, nova["id"], region="RegionTwo", url="https://two.example/v2.1").json["endpoint"]
    found = entries(cloud, "compute")
    assert [item["region"] for item in found[0]["endpoints"]] == [*["RegionOne"] * 3, "RegionTwo"]
    assert cloud.patch(f"/endpoints/{there['id']}", {"endpoint": {"region_id": "RegionOne"}}).status_code == 409
    assert cloud.delete(f"/endpoints/{there['id']}").status_code == 204


def test_regions(cloud: Cloud) -> None:
    made = cloud.post("/regions", {"region": {"description": "d", "parent_region_id": "RegionOne"}})
    assert made.status_code == 201
    region = made.json["region"]
    assert (region["description"], region["parent_region_id"]) == ("d", "RegionOne")
    assert cloud.get("/regions?parent_region_id=RegionOne").json["regions"] == [region]
    named = cloud.put("/regions/north", {"region": {"parent_region_id": region["id"]}})
    assert (named.status_code, named.json["region"]["id"], named.json["region"]["description"]) == (201, "north", "")
    for answer in (
        cloud.put("/regions/north", {"region": {}}),
        cloud.post("/regions", {"region": {"id": "north"}}),
        cloud.post("/regions", {"region": {"id": "RegionOne"}}),
    ):
        assert answer.status_code == 409
    path = f"/regions/{region['id']}"
    assert cloud.patch(path, {"region": {"description": None}}).json["region"]["description"] == ""
    for parent, code in (("north", 400), (region["id"], 400), ("nowhere", 404)):
        assert cloud.patch(path, {"region": {"parent_region_id": parent}}).status_code == code
    assert cloud.post("/regions", {"region": {"parent_region_id": "nowhere"}}).status_code == 404
    assert cloud.put("/regions/a", {"region": {"id": "b"}}).status_code == 400
    service = register(cloud)
    endpoint = at(cloud, service["id"], region_id="north").json["endpoint"]
    assert cloud.delete("/regions/north").status_code == cloud.delete(path).status_code == 403
    assert cloud.delete(f"/endpoints/{endpoint['id']}").status_code == 204
    assert cloud.delete(path).status_code == 204
    assert cloud.get("/regions/north").status_code == 404
    # the word of v3.0 makes what there is not
    assert at(cloud, service["id"], region="south").json["endpoint"]["region_id"] == "south"
    assert cloud.get("/regions/south").status_code == 200


def test_what_can_not_be_registered(cloud: Cloud) -> None:
    service = register(cloud)
    for given in ({}, {"type": ""}, {"type": "x" * 256}, {"type": "t", "enabled": "True"}, {"type": None}):
        assert cloud.post("/services", {"service": given}).status_code == 400, given
    for wrong in (
        {"interface": "admin2"},
        {"enabled": "True"},
        {"url": ""},
        {"url": "https://a b"},
        {"url": "https://x/%(admin_token)s"},
        {"url": "https://x/%(project_id)d"},
        {"url": "https://x/%(project_id"},
        {"region_id": "nowhere"},
        {"service_id": "unknown"},
    ):
        assert at(cloud, **{"service_id": service["id"], **wrong}).status_code == 400, wrong
    made = at(cloud, service["id"], url="https://x/100%/{0}/{user}").json["endpoint"]
    assert entries(cloud, "orchestration")[0]["endpoints"][0]["url"] == "https://x/100%/{0}/{user}"
    for wrong in ({"region_id": "nowhere"}, {"service_id": "unknown"}, {"url": "%(x)s"}, {"id": "other"}):
        assert cloud.patch(f"/endpoints/{made['id']}", {"endpoint": wrong}).status_code == 400, wrong
    for nouns in ("services", "endpoints", "regions"):
        assert cloud.patch(f"/{nouns}/unknown", {nouns[:-1]: {}}).status_code == 404
        assert cloud.delete(f"/{nouns}/unknown").status_code == 404


def test_a_service_with_limits_stays(cloud: Cloud) -> None:
    service = register(cloud)
    assert cloud.post("/regions", {"region": {"id": "north"}}).status_code == 201
    limit = {"service_id": service["id"], "region_id": "north", "resource_name": "stacks", "default_limit": 5}
    made = cloud.post("/registered_limits", {"registered_limits": [limit]})
    assert made.status_code == 201
    assert cloud.delete(f"/services/{service['id']}").status_code == 409
    key = made.json["registered_limits"][0]["id"]
    assert cloud.delete(f"/registered_limits/{key}").status_code == 204
    assert cloud.delete(f"/services/{service['id']}").status_code == 204


@pytest.mark.parametrize("role", ["member", "manager", "reader", "service"])
def test_only_administrators_register(cloud: Cloud, role: str) -> None:
    service = register(cloud)
    endpoint = at(cloud, service["id"]).json["endpoint"]
    assert cloud.put("/regions/north", {"region": {}}).status_code == 201
    _, _, token = cloud.someone(role)
    given = {"service_id": service["id"], "interface": "public", "url": "https://evil.example"}
    for method, path, body in (
        ("POST", "/services", {"service": {"type": "t"}}),
        ("PATCH", f"/services/{service['id']}", {"service": {}}),
        ("DELETE", f"/services/{service['id']}", None),
        ("POST", "/endpoints", {"endpoint": given}),
        ("PATCH", f"/endpoints/{endpoint['id']}", {"endpoint": {"url": "https://evil.example"}}),
        ("DELETE", f"/endpoints/{endpoint['id']}", None),
        ("POST", "/regions", {"region": {}}),
        ("PUT", "/regions/x", {"region": {}}),
        ("PATCH", "/regions/north", {"region": {}}),
        ("DELETE", "/regions/north", None),
    ):
        assert cloud.ask(method, path, body, token=token).status_code == 403, path
        assert cloud.ask(method, path, body, token="").status_code == 401, path


def test_ids_of_the_catalog_are_the_same_after_a_restart(cloud: Cloud, settings: Settings, db: Database) -> None:
    before = cloud.get("/endpoints").json
    cloud.app = create_app(settings, db=db)
    assert cloud.get("/endpoints").json == before


def test_urls_that_are_none(cloud: Cloud) -> None:
    assert cloud.get("/nowhere").status_code == 404
    assert cloud.get("/nowhere").json["error"]["code"] == 404
    assert cloud.get("//identity/v2.0/tokens").status_code == 404
    answer = cloud.patch("/users", {})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


class Stranger:
    """Stands for a real Keystone."""

    def authenticate(self, header: object, request_id: str) -> object:
        from computeapi.context import Context

        return Context(request_id, "u", "p", frozenset({"admin"}))


def test_with_a_real_keystone_the_embedded_service_is_gone(settings: Settings, db: Database) -> None:
    import falcon.testing

    settings = dataclasses.replace(settings, identity_url="https://keystone.example/v3")
    client = falcon.testing.TestClient(create_app(settings, db=db, authenticator=Stranger()))
    for method, path, body in (
        ("GET", "", None),
        ("GET", "/v3", None),
        ("POST", "/v3/auth/tokens", {"auth": {"identity": {"methods": []}}}),
        ("GET", "/v3/auth/tokens", None),
        ("GET", "/v3/users", None),
        ("POST", "/v3/users/x/password", {"user": {"original_password": "a", "password": "b"}}),
        ("DELETE", "/v3/projects/x", None),
        ("GET", "/v3/limits/x", None),
        ("GET", "/v3/domains/default", None),
    ):
        more = {"json": body} if body else {}
        answer = client.simulate_request(method, "/identity" + path, headers={"X-Auth-Token": "x"}, **more)
        assert answer.status_code == 410, path
        assert "https://keystone.example/v3" in answer.json["error"]["message"]
