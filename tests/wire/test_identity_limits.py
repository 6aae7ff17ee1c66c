# SPDX-License-Identifier: Apache-2.0
"""Unified limits: registered ones, projects' and domains', and who may."""

from __future__ import annotations

from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import Cloud, cheap_passwords


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


def nova(cloud: Cloud) -> str:
    return str(cloud.get("/services?name=nova").json["services"][0]["id"])


def register(cloud: Cloud, name: str = "servers", **attributes: Any) -> Any:
    item = {"service_id": nova(cloud), "resource_name": name, "default_limit": 10, **attributes}
    return cloud.post("/registered_limits", {"registered_limits": [item]})


def limit(cloud: Cloud, name: str = "servers", **attributes: Any) -> Any:
    item = {"service_id": nova(cloud), "resource_name": name, "resource_limit": 5, **attributes}
    return cloud.post("/limits", {"limits": [item]})


def test_registered_limits(cloud: Cloud) -> None:
    made = register(cloud, region_id="RegionOne", description="d")
    assert made.status_code == 201
    shown = made.json["registered_limits"][0]
    key = shown["id"]
    assert shown.pop("links")["self"].endswith(f"/registered_limits/{key}")
    assert shown == {
        "id": key,
        "service_id": nova(cloud),
        "region_id": "RegionOne",
        "resource_name": "servers",
        "default_limit": 10,
        "description": "d",
    }
    assert register(cloud, region_id="RegionOne").status_code == 409
    assert register(cloud).status_code == 201  # without a region it is another
    assert len(cloud.get("/registered_limits?region_id=RegionOne").json["registered_limits"]) == 1
    assert len(cloud.get("/registered_limits?resource_name=servers").json["registered_limits"]) == 2
    assert cloud.get(f"/registered_limits/{key}").json["registered_limit"]["id"] == key
    path = f"/registered_limits/{key}"
    changed = cloud.patch(path, {"registered_limit": {"default_limit": 20}})
    assert changed.json["registered_limit"]["default_limit"] == 20
    assert cloud.patch(path, {"registered_limit": {"region_id": None}}).status_code == 409
    assert cloud.delete(path).status_code == 204
    for method in ("GET", "DELETE"):
        assert cloud.ask(method, path).status_code == 404
    assert cloud.patch(path, {"registered_limit": {}}).status_code == 404


def test_limits(cloud: Cloud) -> None:
    project = cloud.project()["id"]
    assert limit(cloud, project_id=project).status_code == 403
    registered = register(cloud).json["registered_limits"][0]["id"]
    made = limit(cloud, project_id=project)
    assert made.status_code == 201
    shown = made.json["limits"][0]
    path = f"/limits/{shown['id']}"
    assert cloud.get(path).json == {"limit": shown}
    assert shown.pop("links") and shown.pop("id")
    assert shown == {
        "project_id": project,
        "domain_id": None,
        "service_id": nova(cloud),
        "region_id": None,
        "resource_name": "servers",
        "resource_limit": 5,
        "description": None,
    }
    assert limit(cloud, project_id=project).status_code == 409
    assert limit(cloud, domain_id="default").status_code == 201
    assert len(cloud.get("/limits").json["limits"]) == 2
    assert len(cloud.get(f"/limits?project_id={project}").json["limits"]) == 1
    assert cloud.patch(path, {"limit": {"resource_limit": -1}}).json["limit"]["resource_limit"] == -1
    assert cloud.delete(f"/registered_limits/{registered}").status_code == 403
    renamed = {"registered_limit": {"resource_name": "other"}}
    assert cloud.patch(f"/registered_limits/{registered}", renamed).status_code == 403
    assert cloud.delete(path).status_code == 204
    assert cloud.delete(path).status_code == cloud.get(path).status_code == 404
    assert cloud.patch(path, {"limit": {"resource_limit": 1}}).status_code == 404
    assert cloud.get("/limits/model").json["model"]["name"] == "flat"


def test_bad_requests(cloud: Cloud) -> None:
    register(cloud)
    project = cloud.project()["id"]
    for given in (
        {"service_id": "unknown"},
        {"region_id": "unknown"},
        {"default_limit": "5"},
        {"default_limit": 2**63},
        {"default_limit": 1.5},
        {"name": ""},
        {"more": 1},
    ):
        assert register(cloud, **{"name": "other", **given}).status_code == 400, given
    for given in (
        {},
        {"project_id": project, "domain_id": "default"},
        {"project_id": "unknown"},
        {"domain_id": "unknown"},
        {"project_id": project, "resource_limit": 2**70},
        {"project_id": project, "service_id": "unknown"},
    ):
        assert limit(cloud, **given).status_code == 400, given
    for body in ({}, {"limits": []}, {"limits": {}}, {"limits": [5]}):
        assert cloud.post("/limits", body).status_code == 400


def test_who_may(cloud: Cloud) -> None:
    registered = register(cloud).json["registered_limits"][0]["id"]
    _, project, token = cloud.someone("manager")
    own = limit(cloud, project_id=project["id"]).json["limits"][0]["id"]
    other = limit(cloud, project_id=cloud.project()["id"]).json["limits"][0]["id"]
    assert [item["id"] for item in cloud.get("/limits", token=token).json["limits"]] == [own]
    assert cloud.get(f"/limits?project_id={cloud.projects['admin']}", token=token).json["limits"] == []
    assert cloud.get(f"/limits/{own}", token=token).status_code == 200
    assert cloud.get(f"/limits/{other}", token=token).status_code == 403
    assert cloud.get("/limits/unknown", token=token).status_code == 403
    assert cloud.get("/registered_limits", token=token).status_code == 200
    for method, path, body in (
        ("POST", "/limits", {"limits": [{"service_id": "x", "resource_name": "x", "resource_limit": 1}]}),
        ("PATCH", f"/limits/{own}", {"limit": {"resource_limit": 1}}),
        ("DELETE", f"/limits/{own}", None),
        ("PATCH", f"/registered_limits/{registered}", {"registered_limit": {"default_limit": 1}}),
        ("DELETE", f"/registered_limits/{registered}", None),
    ):
        assert cloud.ask(method, path, body, token=token).status_code == 403
