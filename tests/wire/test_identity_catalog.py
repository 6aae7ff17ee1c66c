# SPDX-License-Identifier: Apache-2.0
"""The version documents, the catalog, and what is the same cloud seen from elsewhere."""

from __future__ import annotations

import dataclasses

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
        assert cloud.post(path, {}).status_code == 405
    _, _, member = cloud.someone("member")
    assert cloud.get("/regions", token=member).status_code == 200
    for path in ("/services", f"/services/{nova['id']}", "/endpoints"):
        assert cloud.get(path, token=member).status_code == 403


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
