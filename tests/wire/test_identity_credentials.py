# SPDX-License-Identifier: Apache-2.0
"""Application credentials: made, shown, logged in with, bounded, deleted."""

from __future__ import annotations

from typing import Any

import pytest

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import DEFAULT, Cloud, cheap_passwords


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


def create(cloud: Cloud, user: Any, token: str, **attributes: Any) -> Any:
    body = {"application_credential": {"name": "robot", **attributes}}
    return cloud.post(f"/users/{user['id']}/application_credentials", body, token=token)


def log_in(cloud: Cloud, made: Any, **more: Any) -> Any:
    given = {"id": made["id"], "secret": made["secret"], **more.pop("given", {})}
    return cloud.authenticate({"methods": ["application_credential"], "application_credential": given}, **more)


def test_a_credential_as_shown(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    answer = create(cloud, user, token, description="d")
    assert answer.status_code == 201
    shown = answer.json["application_credential"]
    secret = shown.pop("secret")
    assert len(secret) > 40
    path = f"/users/{user['id']}/application_credentials"
    assert cloud.get(f"{path}/{shown['id']}", token=token).json == {"application_credential": shown}
    assert cloud.get(path, token=token).json["application_credentials"] == [shown]
    assert cloud.get(f"{path}?name=other", token=token).json["application_credentials"] == []
    assert {role["name"] for role in shown.pop("roles")} == {"member", "reader"}
    assert shown.pop("id") and shown.pop("links")
    assert shown == {
        "name": "robot",
        "description": "d",
        "user_id": user["id"],
        "project_id": project["id"],
        "system": None,
        "expires_at": None,
        "unrestricted": False,
    }


def test_logging_in_by_id_and_by_name(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    made = create(cloud, user, token).json["application_credential"]
    by_name = {"name": "robot", "secret": made["secret"]}
    for answer in (
        log_in(cloud, made),
        cloud.authenticate(
            {
                "methods": ["application_credential"],
                "application_credential": {**by_name, "user": {"name": user["name"], "domain": DEFAULT}},
            }
        ),
        cloud.authenticate(
            {
                "methods": ["application_credential"],
                "application_credential": {**by_name, "user": {"id": user["id"]}},
            }
        ),
    ):
        assert answer.status_code == 201
        shown = answer.json["token"]
        assert shown["methods"] == ["application_credential"]
        assert shown["project"]["id"] == project["id"]
        assert {role["name"] for role in shown["roles"]} == {"member", "reader"}
        assert shown["application_credential"] == {"id": made["id"], "name": "robot", "restricted": True}
        assert cloud.works(answer.headers["X-Subject-Token"])
        subject = {"X-Subject-Token": answer.headers["X-Subject-Token"]}
        again = cloud.get("/auth/tokens", headers=subject).json["token"]
        assert again["application_credential"] == shown["application_credential"]


def test_log_ins_that_are_refused(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    made = create(cloud, user, token).json["application_credential"]
    assert log_in(cloud, made, given={"secret": "wrong"}).status_code == 401
    assert log_in(cloud, made, given={"id": "unknown"}).status_code == 401
    assert log_in(cloud, made, scope={"project": {"id": project["id"]}}).status_code == 401
    for given in ({"secret": "x"}, {"name": "robot", "secret": "x"}, {"id": made["id"]}, {"id": 5, "secret": "x"}):
        identity = {"methods": ["application_credential"], "application_credential": given}
        assert cloud.authenticate(identity).status_code == 400
    for _ in range(cloud.settings.login_attempts):
        answer = log_in(cloud, made, given={"secret": "wrong"})
    assert answer.status_code == 429
    cloud.patch(f"/users/{user['id']}", {"user": {"enabled": False}})
    other = {"extras": {"REMOTE_ADDR": "192.0.2.7"}}
    assert log_in(cloud, made, **other).status_code == 401


def test_roles_are_some_of_the_users_and_go_with_them(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member", "service")
    made = create(cloud, user, token, roles=[{"name": "reader"}]).json["application_credential"]
    assert [role["name"] for role in log_in(cloud, made).json["token"]["roles"]] == ["reader"]
    by_id = create(cloud, user, token, name="two", roles=[{"id": cloud.roles["service"]}])
    service = by_id.json["application_credential"]
    assert [role["name"] for role in log_in(cloud, service).json["token"]["roles"]] == ["service"]
    for roles in ([{"name": "admin"}], [{"id": cloud.roles["admin"]}], [{"name": "unknown"}], [{}]):
        assert create(cloud, user, token, name="three", roles=roles).status_code == 400
    running = log_in(cloud, service).headers["X-Subject-Token"]
    cloud.delete(f"/projects/{project['id']}/users/{user['id']}/roles/{cloud.roles['service']}")
    assert not cloud.works(running)
    assert log_in(cloud, service).status_code == 401
    assert log_in(cloud, made).status_code == 201


def test_bad_requests(cloud: Cloud) -> None:
    user, _, token = cloud.someone("member")
    for given in (
        {"name": ""},
        {"expires_at": "tomorrow"},
        {"expires_at": "2001-01-01T00:00:00Z"},
        {"expires_at": "0001-01-01T00:00:00+23:59"},
        {"expires_at": 5},
        {"secret": 5},
        {"secret": ""},
        {"secret": "x" * 5000},
        {"roles": "reader"},
        {"unrestricted": "yes"},
        {"project_id": cloud.projects["admin"]},
        {"access_rules": [{"path": "/v2.1/servers", "method": "GET", "service": "compute"}]},
    ):
        assert create(cloud, user, token, **given).status_code == 400, given
    unscoped = cloud.token(user["name"], "pw", scope="unscoped")
    assert create(cloud, user, unscoped).status_code == 400
    assert create(cloud, user, token).status_code == 201
    assert create(cloud, user, token).status_code == 409


def test_a_chosen_secret_and_an_end(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    user, _, token = cloud.someone("member")
    end = clock.shifted(1800)
    answer = create(cloud, user, token, secret="s3cret", expires_at=end + "Z")
    made = answer.json["application_credential"]
    assert made["secret"] == "s3cret" and made["expires_at"] == end
    issued = log_in(cloud, made).json["token"]
    assert issued["expires_at"] == end[:19] + ".000000Z"
    later = clock.shifted(1801)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert log_in(cloud, made).status_code == 401


def test_others_credentials(cloud: Cloud) -> None:
    user, _, token = cloud.someone("member")
    _, _, other = cloud.someone("member")
    made = create(cloud, user, token).json["application_credential"]
    path = f"/users/{user['id']}/application_credentials"
    for who, codes in ((other, (403, 403, 403, 403)), (cloud.admin, (200, 200, 403, 204))):
        one = f"{path}/{made['id']}"
        body = {"application_credential": {"name": "x"}}
        assert (
            cloud.get(path, token=who).status_code,
            cloud.get(one, token=who).status_code,
            cloud.post(path, body, token=who).status_code,
            cloud.delete(one, token=who).status_code,
        ) == codes
    assert cloud.get(f"{path}/{made['id']}", token=token).status_code == 404
    again = create(cloud, user, token).json["application_credential"]
    mine = cloud.someone("member")
    stolen = f"/users/{mine[0]['id']}/application_credentials/{again['id']}"
    assert cloud.get(stolen, token=mine[2]).status_code == 404
    assert cloud.delete(stolen, token=mine[2]).status_code == 404
    assert log_in(cloud, again).status_code == 201


def test_a_restricted_one_makes_no_others(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    restricted = create(cloud, user, token, roles=[{"name": "reader"}]).json["application_credential"]
    free = create(cloud, user, token, name="free", unrestricted=True, roles=[{"name": "reader"}])
    by_restricted = log_in(cloud, restricted).headers["X-Subject-Token"]
    by_free = log_in(cloud, free.json["application_credential"]).headers["X-Subject-Token"]
    path = f"/users/{user['id']}/application_credentials/{restricted['id']}"
    assert create(cloud, user, by_restricted, name="x").status_code == 403
    assert cloud.delete(path, token=by_restricted).status_code == 403
    assert create(cloud, user, by_free, name="more", roles=[{"name": "member"}]).status_code == 400
    assert create(cloud, user, by_free, name="y").status_code == 201
    assert cloud.delete(path, token=by_free).status_code == 204
    for held in (by_free, by_restricted):
        identity = {"methods": ["token"], "token": {"id": held}}
        assert cloud.authenticate(identity, {"project": {"id": project["id"]}}).status_code in (401, 403)


def test_deleting_one_revokes_its_tokens_alone(cloud: Cloud) -> None:
    user, _, token = cloud.someone("member")
    made = create(cloud, user, token).json["application_credential"]
    running = log_in(cloud, made).headers["X-Subject-Token"]
    path = f"/users/{user['id']}/application_credentials/{made['id']}"
    assert cloud.delete(path, token=token).status_code == 204
    assert not cloud.works(running)
    assert cloud.works(token)
    assert log_in(cloud, made).status_code == 401
    assert cloud.delete(path, token=token).status_code == 404


def test_they_go_with_the_user_and_the_project(cloud: Cloud) -> None:
    for nouns in ("users", "projects"):
        user, project, token = cloud.someone("member")
        made = create(cloud, user, token).json["application_credential"]
        key = user["id"] if nouns == "users" else project["id"]
        assert cloud.delete(f"/{nouns}/{key}").status_code == 204
        assert log_in(cloud, made).status_code == 401
