# SPDX-License-Identifier: Apache-2.0
"""/v3/policies: texts that are kept for other programs."""

from __future__ import annotations

from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import Cloud, cheap_passwords

TEXT = '{"default": "role:nobody"}'


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


def keep(cloud: Cloud, **more: Any) -> Any:
    return cloud.post("/policies", {"policy": {"blob": TEXT, "type": "application/json", **more}})


def test_a_policys_life(cloud: Cloud) -> None:
    made = keep(cloud, owner="billing").json["policy"]
    path = f"/policies/{made['id']}"
    assert (made["blob"], made["type"], made["owner"]) == (TEXT, "application/json", "billing")
    assert made["links"]["self"].endswith(path)
    assert cloud.get(path).json["policy"] == made
    changed = cloud.patch(path, {"policy": {"type": "text/plain"}}).json["policy"]
    assert (changed["blob"], changed["type"], changed["owner"]) == (TEXT, "text/plain", "billing")
    keep(cloud)
    assert [each["id"] for each in cloud.get("/policies?type=text/plain").json["policies"]] == [made["id"]]
    assert len(cloud.get("/policies").json["policies"]) == 2
    assert cloud.get("/users").status_code == 200  # it holds for nobody here
    assert cloud.delete(path).status_code == 204
    for answer in (cloud.get(path), cloud.patch(path, {"policy": {}}), cloud.delete(path)):
        assert answer.status_code == 404


@pytest.mark.parametrize("body", [{"blob": TEXT}, {"type": "t"}, {"blob": {}, "type": "t"}, {"blob": "", "type": 5}])
def test_what_is_no_policy(cloud: Cloud, body: dict[str, Any]) -> None:
    assert cloud.post("/policies", {"policy": body}).status_code == 400


@pytest.mark.parametrize("role", ["member", "manager", "reader", "service"])
def test_policies_are_administrators(cloud: Cloud, role: str) -> None:
    path = f"/policies/{keep(cloud).json['policy']['id']}"
    _, _, token = cloud.someone(role)
    for method, url, body in (
        ("GET", "/policies", None),
        ("POST", "/policies", {"policy": {"blob": TEXT, "type": "t"}}),
        ("GET", path, None),
        ("PATCH", path, {"policy": {"type": "t"}}),
        ("DELETE", path, None),
    ):
        assert cloud.ask(method, url, body, token=token).status_code == 403, url
        assert cloud.ask(method, url, body, token="").status_code == 401, url
