# SPDX-License-Identifier: Apache-2.0
"""What a project may have, and has."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert

from computeapi.app import create_app
from computeapi.db.engine import Database
from computeapi.db.models import Server
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import server_values

EMPTY = {
    "maxImageMeta": 128,
    "maxPersonality": 5,
    "maxPersonalitySize": 10240,
    "maxSecurityGroupRules": 20,
    "maxSecurityGroups": 10,
    "maxServerMeta": 128,
    "maxTotalCores": 20,
    "maxTotalFloatingIps": 10,
    "maxTotalInstances": 10,
    "maxTotalKeypairs": 100,
    "maxTotalRAMSize": 51200,
    "maxServerGroups": 10,
    "maxServerGroupMembers": 10,
    "totalCoresUsed": 0,
    "totalInstancesUsed": 0,
    "totalRAMUsed": 0,
    "totalSecurityGroupsUsed": 0,
    "totalFloatingIpsUsed": 0,
    "totalServerGroupsUsed": 0,
}


def add_server(db: Database, project_id: str, vcpus: int, memory_mb: int, **columns: Any) -> None:
    values = server_values(project_id, uuid.uuid4().hex, vcpus=vcpus, memory_mb=memory_mb, disk_gb=1, **columns)
    with db.write() as conn:
        conn.execute(insert(Server), values)


@pytest.mark.parametrize("role", ["reader", "member", "manager", "service", "admin"])
@pytest.mark.parametrize("path", ["/limits", "/limits?reserved=False", "/limits?reserved=1&unknown=x", "/v2/limits"])
def test_an_empty_project(api: Any, role: str, path: str) -> None:
    answer = api.become(role).get(path)
    assert answer.status_code == 200
    assert answer.json == {"limits": {"rate": [], "absolute": EMPTY}}


def test_what_is_used(api: Any, db: Database) -> None:
    add_server(db, api.project_id, 2, 512)
    add_server(db, api.project_id, 1, 64, vm_state="error")
    add_server(db, api.project_id, 4, 4096, deleted=1)
    add_server(db, api.project_id, 4, 4096, vm_state="soft-delete")
    add_server(db, uuid.uuid4().hex, 8, 8192)
    found = api.get(f"/v2.1/{api.project_id}/limits").json["limits"]["absolute"]
    assert found == EMPTY | {"totalInstancesUsed": 2, "totalCoresUsed": 3, "totalRAMUsed": 576}


def test_the_settings(settings: Settings, db: Database, api: Api) -> None:
    app = create_app(replace(settings, quota_cores=-1, quota_ram=5, quota_key_pairs=7), db=db)
    found = Api(app, api._codec, ("reader",), api.project_id, api.user_id).get("/limits").json["limits"]["absolute"]
    assert found == EMPTY | {"maxTotalCores": -1, "maxTotalRAMSize": 5, "maxTotalKeypairs": 7}


def test_another_projects(api: Any, admin: Any, db: Database) -> None:
    add_server(db, api.project_id, 2, 512)
    found = admin.get(f"/limits?tenant_id={api.project_id}").json["limits"]["absolute"]
    assert found == EMPTY | {"totalInstancesUsed": 1, "totalCoresUsed": 2, "totalRAMUsed": 512}
    for nobody in ("nobody", "", "%25", "' or 1=1 --", "é", "x" * 3000):
        assert admin.get(f"/limits?tenant_id={nobody}").json["limits"]["absolute"] == EMPTY


@pytest.mark.parametrize("role", ["reader", "member", "manager", "service"])
def test_only_administrators_name_a_project(api: Any, role: str) -> None:
    user = api.become(role)
    for project_id in (api.project_id, user.project_id, ""):
        answer = user.get(f"/limits?tenant_id={project_id}")
        assert answer.status_code == 403
        assert answer.json["forbidden"]["message"] == (
            "Policy doesn't allow os_compute_api:limits:other_project to be performed."
        )


def test_what_is_refused(api: Any) -> None:
    assert api.get("/limits", headers={"X-Auth-Token": ""}).status_code == 401
    assert api.get("/limits?tenant_id=%00").status_code == 400
    for method in ("POST", "PUT", "DELETE"):
        assert api.request(method, "/limits").status_code == 404
    assert api.get("/limits/1").status_code == 404
    assert api.get(f"/v2.1/{uuid.uuid4().hex}/limits").status_code == 400
