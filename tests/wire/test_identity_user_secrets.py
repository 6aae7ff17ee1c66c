# SPDX-License-Identifier: Apache-2.0
"""Credentials and EC2 keys that users keep here: whose they are, who sees them, and that they are sealed."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from sqlalchemy import text

from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import Cloud, cheap_passwords

BLOB = '{"access": "ACCESS", "secret": "hidden-treasure"}'


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


def keep(cloud: Cloud, token: str | None = None, **attributes: Any) -> Any:
    return cloud.post("/credentials", {"credential": {"type": "cert", "blob": "b", **attributes}}, token=token)


def ec2(cloud: Cloud, user: Any, project: Any, token: str) -> Any:
    return cloud.post(f"/users/{user['id']}/credentials/OS-EC2", {"tenant_id": project["id"]}, token=token)


def test_a_credential(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    answer = keep(cloud, token, type="ec2", blob=BLOB, project_id=project["id"])
    assert answer.status_code == 201
    made = answer.json["credential"]
    assert made["id"] == hashlib.sha256(b"ACCESS").hexdigest()
    path = f"/credentials/{made['id']}"
    shown = {**made}
    assert shown.pop("id") and shown.pop("links")["self"].endswith(path)
    assert shown == {"user_id": user["id"], "project_id": project["id"], "type": "ec2", "blob": BLOB}
    assert cloud.get(path, token=token).json == {"credential": made}
    assert cloud.get("/credentials", token=token).json["credentials"] == [made]
    assert cloud.get("/credentials?type=cert", token=token).json["credentials"] == []
    assert keep(cloud, token, type="ec2", blob=BLOB, project_id=project["id"]).status_code == 409
    other = BLOB.replace("hidden", "other")
    changed = cloud.patch(path, {"credential": {"blob": other, "type": "ec2"}}, token=token)
    assert (changed.status_code, changed.json["credential"]) == (200, {**made, "blob": other})
    assert cloud.get(path, token=token).json["credential"]["blob"] == other
    assert cloud.delete(path, token=token).status_code == 204
    assert cloud.get(path).status_code == cloud.delete(path).status_code == 404


def test_they_are_sealed_at_rest(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    keep(cloud, token, type="ec2", blob=BLOB, project_id=project["id"])
    secret = ec2(cloud, user, project, token).json["credential"]["secret"]
    with cloud.db.read() as conn:
        stored = [str(row) for row in conn.execute(text("SELECT * FROM credentials"))]
    assert len(stored) == 2
    assert not any("hidden-treasure" in row or "ACCESS" in row or secret in row for row in stored)


def test_whose_it_is_can_not_be_changed(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    victim = cloud.someone("member")
    made = keep(cloud, token).json["credential"]
    for given in ({"user_id": victim[0]["id"]}, {"project_id": project["id"]}, {"type": "ec2"}, {"id": "x"}):
        for who in (token, cloud.admin):
            assert cloud.patch(f"/credentials/{made['id']}", {"credential": given}, token=who).status_code == 400
    assert keep(cloud, token, user_id=victim[0]["id"]).status_code == 403
    for_other = keep(cloud, user_id=victim[0]["id"])
    assert for_other.status_code == 201 and for_other.json["credential"]["user_id"] == victim[0]["id"]
    assert keep(cloud, token, user_id=user["id"]).status_code == 201


def test_others_see_none(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    made = keep(cloud, token).json["credential"]
    keys = ec2(cloud, user, project, token).json["credential"]
    neighbour, _, other = cloud.someone("manager", project=project)
    list_path = f"/users/{user['id']}/credentials/OS-EC2"
    one = f"/credentials/{made['id']}"
    for method, path, body in (
        ("GET", one, None),
        ("PATCH", one, {"credential": {"blob": "x"}}),
        ("DELETE", one, None),
        ("GET", "/credentials/unknown", None),
        ("GET", list_path, None),
        ("POST", list_path, {"tenant_id": project["id"]}),
        ("GET", f"{list_path}/{keys['access']}", None),
        ("DELETE", f"{list_path}/{keys['access']}", None),
    ):
        assert cloud.ask(method, path, body, token=other).status_code == 403, path
        assert cloud.ask(method, path, body, token="").status_code == 401, path
    # not by the own URL either
    own = f"/users/{neighbour['id']}/credentials/OS-EC2/{keys['access']}"
    assert cloud.get(own, token=other).status_code == cloud.delete(own, token=other).status_code == 404
    assert cloud.get("/credentials", token=other).json["credentials"] == []
    assert cloud.get(f"/credentials?user_id={user['id']}", token=other).json["credentials"] == []
    assert len(cloud.get(f"/credentials?user_id={user['id']}").json["credentials"]) == 2


def test_ec2_keys(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    answer = ec2(cloud, user, project, token)
    assert answer.status_code == 201
    keys = answer.json["credential"]
    assert sorted(keys) == ["access", "links", "secret", "tenant_id", "trust_id", "user_id"]
    assert (keys["user_id"], keys["tenant_id"], keys["trust_id"]) == (user["id"], project["id"], None)
    path = f"/users/{user['id']}/credentials/OS-EC2"
    assert cloud.get(f"{path}/{keys['access']}", token=token).json == {"credential": keys}
    assert cloud.get(path, token=token).json["credentials"] == [keys]
    assert ec2(cloud, user, {"id": cloud.projects["admin"]}, token).status_code == 403
    assert ec2(cloud, user, {"id": "unknown"}, token).status_code == 404
    assert cloud.post(path, {}, token=token).status_code == 400
    assert cloud.delete(f"{path}/{keys['access']}", token=token).status_code == 204
    assert cloud.get(f"{path}/{keys['access']}", token=token).status_code == 404


def test_a_restricted_application_credential_has_none(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    made = keep(cloud, token).json["credential"]
    keys = ec2(cloud, user, project, token).json["credential"]
    path = f"/users/{user['id']}"
    robot = {"name": "robot", "roles": [{"name": "reader"}]}
    lent = cloud.post(f"{path}/application_credentials", {"application_credential": robot}, token=token)
    given = {name: lent.json["application_credential"][name] for name in ("id", "secret")}
    answer = cloud.authenticate({"methods": ["application_credential"], "application_credential": given})
    held = answer.headers["X-Subject-Token"]
    one = f"/credentials/{made['id']}"
    for method, url, body in (
        ("GET", "/credentials", None),
        ("POST", "/credentials", {"credential": {"type": "t", "blob": "b"}}),
        ("GET", one, None),
        ("PATCH", one, {"credential": {"blob": "x"}}),
        ("DELETE", one, None),
        ("GET", f"{path}/credentials/OS-EC2", None),
        ("POST", f"{path}/credentials/OS-EC2", {"tenant_id": project["id"]}),
        ("GET", f"{path}/credentials/OS-EC2/{keys['access']}", None),
        ("DELETE", f"{path}/credentials/OS-EC2/{keys['access']}", None),
    ):
        assert cloud.ask(method, url, body, token=held).status_code == 403, url


def test_bad_requests(cloud: Cloud) -> None:
    _, project, token = cloud.someone("member")
    for given in (
        {"blob": 5},
        {"blob": "x" * 65_537},
        {"type": ""},
        {"project_id": "unknown"},
        {"type": "ec2", "blob": BLOB},
        {"type": "ec2", "blob": "secret-text", "project_id": project["id"]},
        {"type": "ec2", "blob": '{"access": 5}', "project_id": project["id"]},
    ):
        answer = keep(cloud, token, **given)
        assert answer.status_code == 400, given
        assert "secret-text" not in answer.text
    assert keep(cloud, user_id="unknown").status_code == 400
    assert cloud.post("/credentials", {"credential": {"type": "t"}}, token=token).status_code == 400


def test_they_go_with_the_user_and_the_project(cloud: Cloud) -> None:
    for nouns in ("users", "projects"):
        user, project, token = cloud.someone("member")
        keys = ec2(cloud, user, project, token).json["credential"]
        key = user["id"] if nouns == "users" else project["id"]
        assert cloud.delete(f"/{nouns}/{key}").status_code == 204
        assert cloud.get(f"/credentials/{hashlib.sha256(keys['access'].encode()).hexdigest()}").status_code == 404
