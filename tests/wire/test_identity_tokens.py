# SPDX-License-Identifier: Apache-2.0
"""Logging in: methods, scopes, what a token says, showing and revoking it, and failed attempts."""

from __future__ import annotations

import dataclasses
import logging
import re
from typing import Any

import pytest
from sqlalchemy import event

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends import identity
from computeapi.backends.identity import attempts as attempts_module
from computeapi.backends.identity import passwords
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import ADMIN_PASSWORD, DEFAULT, Cloud, cheap_passwords

UNAUTHORIZED = {
    "error": {
        "code": 401,
        "message": "The request you have made requires authentication.",
        "title": "Unauthorized",
    }
}


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


def password(user: dict[str, Any], secret: Any = "pw") -> dict[str, Any]:
    return {"methods": ["password"], "password": {"user": {**user, "password": secret}}}


# --- what a token says ---


def test_a_project_scoped_token(cloud: Cloud) -> None:
    answer = cloud.login("admin", ADMIN_PASSWORD, "admin")
    assert answer.status_code == 201
    token = answer.json["token"]
    assert sorted(token) == [
        "audit_ids",
        "catalog",
        "expires_at",
        "is_domain",
        "issued_at",
        "methods",
        "project",
        "roles",
        "user",
    ]
    assert token["methods"] == ["password"]
    default = {"id": "default", "name": "Default"}
    assert token["user"] == {
        "domain": default,
        "id": cloud.admin_id,
        "name": "admin",
        "password_expires_at": None,
    }
    assert token["project"] == {"domain": default, "id": cloud.projects["admin"], "name": "admin"}
    assert token["is_domain"] is False
    assert {role["name"]: role["id"] for role in token["roles"]} == {
        name: cloud.roles[name] for name in ("admin", "manager", "member", "reader")
    }
    assert len(token["audit_ids"]) == 1 and len(token["audit_ids"][0]) == 22
    for name in ("issued_at", "expires_at"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000000Z", token[name])


def test_an_unscoped_token_has_no_roles_and_no_catalog(cloud: Cloud) -> None:
    for scope in ("unscoped", {"unscoped": {}}):
        token = cloud.login("admin", ADMIN_PASSWORD, scope=scope).json["token"]
        assert sorted(token) == ["audit_ids", "expires_at", "issued_at", "methods", "user"]


def test_a_system_scoped_token(cloud: Cloud) -> None:
    token = cloud.login("admin", ADMIN_PASSWORD, scope={"system": {"all": True}}).json["token"]
    assert token["system"] == {"all": True}
    assert "admin" in {role["name"] for role in token["roles"]}
    assert "project" not in token and "is_domain" not in token
    assert "compute_legacy" not in {service["type"] for service in token["catalog"]}


def test_a_domain_scoped_token(cloud: Cloud) -> None:
    cloud.put(f"/domains/default/users/{cloud.admin_id}/roles/{cloud.roles['manager']}")
    for domain in ({"id": "default"}, {"name": "Default"}):
        token = cloud.login("admin", ADMIN_PASSWORD, scope={"domain": domain}).json["token"]
        assert token["domain"] == {"id": "default", "name": "Default"}
        assert {role["name"] for role in token["roles"]} == {"manager", "member", "reader"}


def test_scopes_and_users_by_id_and_by_name(cloud: Cloud) -> None:
    user, project, _ = cloud.someone("reader")
    users = ({"id": user["id"]}, {"name": user["name"], "domain": DEFAULT})
    users += ({"name": user["name"], "domain": {"name": "Default"}},)
    scopes = ({"id": project["id"]}, {"name": project["name"], "domain": DEFAULT})
    scopes += ({"name": project["name"], "domain": {"name": "Default"}},)
    for who in users:
        for where in scopes:
            answer = cloud.authenticate(password(who), {"project": where})
            assert answer.status_code == 201
            assert answer.json["token"]["project"]["id"] == project["id"]


def test_without_a_scope_the_default_project_is_taken(cloud: Cloud) -> None:
    assert cloud.login("admin", ADMIN_PASSWORD).json["token"]["project"]["name"] == "admin"


def test_a_default_project_without_a_role_or_disabled_is_passed_over(cloud: Cloud) -> None:
    project = cloud.project()
    user = cloud.user(default_project_id=project["id"])
    assert "project" not in cloud.login(user["name"], "pw").json["token"]
    cloud.grant("member", user["id"], project["id"])
    assert "project" in cloud.login(user["name"], "pw").json["token"]
    cloud.patch(f"/projects/{project['id']}", {"project": {"enabled": False}})
    assert "project" not in cloud.login(user["name"], "pw").json["token"]


def test_nocatalog(cloud: Cloud) -> None:
    assert "catalog" not in cloud.login("admin", ADMIN_PASSWORD, "admin", query="?nocatalog").json["token"]
    answer = cloud.get("/auth/tokens?nocatalog", headers={"X-Subject-Token": cloud.admin})
    assert "catalog" not in answer.json["token"]


# --- a token for a token ---


def test_a_token_for_a_token_lives_no_longer_and_names_the_chain(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cloud.login("admin", ADMIN_PASSWORD, scope="unscoped")
    shifted = clock.shifted
    monkeypatch.setattr(clock, "shifted", lambda seconds: shifted(seconds + 100))
    identity = {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}}
    second = cloud.authenticate(identity, {"project": {"id": cloud.projects["admin"]}})
    assert second.status_code == 201
    token = second.json["token"]
    assert token["methods"] == ["token", "password"]
    assert token["expires_at"] == first.json["token"]["expires_at"]
    assert token["audit_ids"][1] == first.json["token"]["audit_ids"][0]
    third = cloud.authenticate(
        {"methods": ["token"], "token": {"id": second.headers["X-Subject-Token"]}}, {"system": {"all": True}}
    )
    assert third.json["token"]["audit_ids"][1] == first.json["token"]["audit_ids"][0]


NO_TOKEN_FOR_A_BAD_TOKEN: list[Any] = ["", "x", "gAAAAA", "ä", "x" * 20_000]


def test_no_token_for_a_bad_token(cloud: Cloud) -> None:
    for token in NO_TOKEN_FOR_A_BAD_TOKEN:
        assert cloud.authenticate({"methods": ["token"], "token": {"id": token}}).status_code == 401


def test_two_methods_must_be_of_one_user(cloud: Cloud) -> None:
    user, _, token = cloud.someone()
    both = {"methods": ["token", "password"], "token": {"id": token}}
    own = {"user": {"id": user["id"], "password": "pw"}}
    admin = {"user": {"id": cloud.admin_id, "password": ADMIN_PASSWORD}}
    assert cloud.authenticate({**both, "password": own}).status_code == 201
    assert cloud.authenticate({**both, "password": admin}).status_code == 401


# --- who does not get one ---


def test_wrong_passwords_unknown_and_disabled_users_get_the_same_answer(cloud: Cloud) -> None:
    user, project, _ = cloud.someone()
    disabled = cloud.user()
    cloud.grant("member", disabled["id"], project["id"])
    cloud.patch(f"/users/{disabled['id']}", {"user": {"enabled": False}})
    without = cloud.post("/users", {"user": {"name": "without"}}).json["user"]
    for who, secret in (
        ({"id": user["id"]}, "wrong"),
        ({"id": user["id"]}, ""),
        ({"id": "unknown"}, "pw"),
        ({"name": "unknown", "domain": DEFAULT}, "pw"),
        ({"name": user["name"], "domain": {"id": "unknown"}}, "pw"),
        ({"id": disabled["id"]}, "pw"),
        ({"id": without["id"]}, ""),
        ({"id": without["id"]}, "None"),
        ({"id": user["id"]}, "pw" * 5000),
    ):
        for scope in ({"project": {"id": project["id"]}}, "unscoped"):
            answer = cloud.authenticate(password(who, secret), scope)
            assert (answer.status_code, answer.json) == (401, UNAUTHORIZED)
            assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_every_refusal_costs_one_password_check(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    user, disabled = cloud.user(), cloud.user(enabled=False)
    checked: list[bytes] = []
    real = passwords.bcrypt.checkpw
    monkeypatch.setattr(
        passwords.bcrypt, "checkpw", lambda given, stored: checked.append(stored) or real(given, stored)
    )
    for who in (user["id"], disabled["id"], "unknown"):
        cloud.authenticate(password({"id": who}, "wrong"))
    assert len(checked) == 3
    assert {stored[:7] for stored in checked} == {b"$2b$04$"}


def test_scopes_that_give_nothing_are_refused_alike(cloud: Cloud) -> None:
    user, project, _ = cloud.someone()
    other = cloud.project()
    for scope in (
        {"project": {"id": other["id"]}},
        {"project": {"id": "unknown"}},
        {"project": {"name": "unknown", "domain": DEFAULT}},
        {"domain": {"id": "default"}},
        {"domain": {"id": "unknown"}},
        {"system": {"all": True}},
        {"OS-TRUST:trust": {"id": "unknown"}},
    ):
        answer = cloud.authenticate(password({"id": user["id"]}), scope)
        assert (answer.status_code, answer.json) == (401, UNAUTHORIZED)
    cloud.patch(f"/projects/{project['id']}", {"project": {"enabled": False}})
    assert cloud.authenticate(password({"id": user["id"]}), {"project": {"id": project["id"]}}).status_code == 401


def test_a_disabled_domain_lets_nobody_in(cloud: Cloud) -> None:
    domain = cloud.domain()
    user, project = cloud.user(domain_id=domain["id"]), cloud.project(domain_id=domain["id"])
    cloud.grant("member", user["id"], project["id"])
    scope = {"project": {"id": project["id"]}}
    token = cloud.authenticate(password({"id": user["id"]}), scope).headers["X-Subject-Token"]
    assert cloud.works(token)
    cloud.patch(f"/domains/{domain['id']}", {"domain": {"enabled": False}})
    assert not cloud.works(token)
    assert cloud.authenticate(password({"id": user["id"]}), scope).status_code == 401
    cloud.patch(f"/domains/{domain['id']}", {"domain": {"enabled": True}})
    assert not cloud.works(token)
    assert cloud.authenticate(password({"id": user["id"]}), scope).status_code == 201


MALFORMED_LOG_INS_ARE_400: list[Any] = [
    {},
    {"identity": 5},
    {"identity": {}},
    {"identity": {"methods": "password"}},
    {"identity": {"methods": ["password"]}},
    {"identity": {"methods": ["password"], "password": {}}},
    {"identity": {"methods": ["password"], "password": {"user": {"name": "admin", "password": "x"}}}},
    {"identity": {"methods": ["password"], "password": {"user": {"name": "a", "domain": {}, "password": "x"}}}},
    {"identity": {"methods": ["password"], "password": {"user": {"password": "x"}}}},
    {"identity": {"methods": ["password"], "password": {"user": {"id": 5, "password": "x"}}}},
    {"identity": {"methods": ["password"], "password": {"user": {"id": ["x"], "password": "x"}}}},
    {"identity": {"methods": ["token"]}},
    {"identity": {"methods": ["token"], "token": {"id": {}}}},
    {"identity": {"methods": [[]]}},
]


def test_malformed_log_ins_are_400(cloud: Cloud) -> None:
    for auth in MALFORMED_LOG_INS_ARE_400:
        assert cloud.post("/auth/tokens", {"auth": auth}, token="").status_code == 400


MALFORMED_BODIES_ARE_400: list[Any] = [{}, {"auth": 5}, {"auth": None}, [], "x", 5]


def test_malformed_bodies_are_400(cloud: Cloud) -> None:
    for body in MALFORMED_BODIES_ARE_400:
        answer = cloud.post("/auth/tokens", body, token="")
        assert answer.status_code == 400
        assert answer.json["error"]["title"] == "Bad Request"


MALFORMED_SCOPES_ARE_400: list[Any] = [
    5,
    "project",
    {},
    {"project": {}},
    {"project": {"name": "admin"}},
    {"project": 5},
    {"project": {"id": 5}},
    {"project": {"id": "x"}, "domain": {"id": "x"}},
    {"domain": {}},
    {"system": {}},
    {"system": {"all": False}},
    {"system": {"all": "yes"}},
]


def test_malformed_scopes_are_400(cloud: Cloud) -> None:
    for scope in MALFORMED_SCOPES_ARE_400:
        assert cloud.login("admin", ADMIN_PASSWORD, scope=scope).status_code == 400


METHODS_THAT_ARE_NONE: list[Any] = [[], ["external"], ["oauth1"], ["password", "totp"]]


def test_methods_that_are_none(cloud: Cloud) -> None:
    for methods in METHODS_THAT_ARE_NONE:
        user = {"user": {"id": cloud.admin_id, "password": ADMIN_PASSWORD}}
        assert cloud.authenticate({"methods": methods, "password": user}).status_code == 401


HOSTILE_NAMES_ARE_ONLY_UNKNOWN: list[Any] = [
    "' OR 1=1 --",
    "%",
    "adm_n",
    "../../etc/passwd",
    "<x/>",
    "🦊",
    "x" * 90_000,
]


def test_hostile_names_are_only_unknown(cloud: Cloud) -> None:
    for name in HOSTILE_NAMES_ARE_ONLY_UNKNOWN:
        assert cloud.login(name, ADMIN_PASSWORD, "admin").status_code == 401
        assert cloud.login("admin", ADMIN_PASSWORD, name).status_code == 401


def test_nul_is_400(cloud: Cloud) -> None:
    assert cloud.login("ad\x00min", "x").status_code == 400


def test_a_password_is_in_no_log_and_no_answer(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "tell-nobody-4711"
    answers = [
        cloud.authenticate(password({"id": cloud.admin_id}, secret)),
        cloud.authenticate(password({"id": 5}, secret)),
        cloud.authenticate({"methods": ["password"], "password": {"user": secret}}),
        cloud.authenticate({"methods": ["password"], "password": secret}),
        cloud.authenticate(password({"id": cloud.admin_id}, [secret])),
        cloud.post("/users", {"user": {"name": "x", "password": {"x": secret}}}),
        cloud.post("/users", {"user": {"name": "x", "password": secret * 1000}}),
        cloud.patch(f"/users/{cloud.admin_id}", {"user": {"password": [secret]}}),
        cloud.post(f"/users/{cloud.admin_id}/password", {"user": {"original_password": secret, "password": "x"}}),
        cloud.post(f"/users/{cloud.admin_id}/password", {"user": {"original_password": [secret], "password": "x"}}),
    ]
    assert {answer.status_code for answer in answers} <= {400, 401}
    assert not any(secret in answer.text for answer in answers)
    assert secret not in caplog.text
    made = cloud.post("/users", {"user": {"name": "fine", "password": secret}})
    assert made.status_code == 201 and secret not in made.text and "hash" not in made.text


# --- showing a token ---


def test_a_token_is_shown_as_it_was_issued(cloud: Cloud) -> None:
    for scope in ({"project": {"id": cloud.projects["admin"]}}, {"system": {"all": True}}, "unscoped"):
        issued = cloud.login("admin", ADMIN_PASSWORD, scope=scope)
        token = issued.headers["X-Subject-Token"]
        shown = cloud.get("/auth/tokens", headers={"X-Subject-Token": token})
        assert shown.status_code == 200
        assert shown.headers["X-Subject-Token"] == token
        for answer in (issued, shown):
            answer.json["token"].get("roles", []).sort(key=lambda role: role["name"])
        assert shown.json == issued.json
        head = cloud.ask("HEAD", "/auth/tokens", headers={"X-Subject-Token": token})
        assert head.status_code == 200 and head.text == ""


def test_who_may_show_and_revoke_a_token(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    _, _, other = cloud.someone("member")
    _, _, service = cloud.someone("service")
    subject = {"X-Subject-Token": token}
    assert cloud.get("/auth/tokens", token=token, headers=subject).status_code == 200
    assert cloud.get("/auth/tokens", token=other, headers=subject).status_code == 403
    assert cloud.ask("HEAD", "/auth/tokens", token=other, headers=subject).status_code == 403
    assert cloud.get("/auth/tokens", token=service, headers=subject).status_code == 200
    assert cloud.delete("/auth/tokens", token=other, headers=subject).status_code == 403
    assert cloud.delete("/auth/tokens", token=service, headers=subject).status_code == 403
    assert cloud.works(token)
    again = cloud.token(user["name"], "pw", project["name"])
    assert cloud.delete("/auth/tokens", token=again, headers=subject).status_code == 204
    assert not cloud.works(token)
    assert cloud.works(again)


A_SUBJECT_THAT_IS_NO_TOKEN_IS_404: list[Any] = ["", "x", "gAAAAABk", "x" * 9000]


def test_a_subject_that_is_no_token_is_404(cloud: Cloud) -> None:
    for subject in A_SUBJECT_THAT_IS_NO_TOKEN_IS_404:
        for method in ("GET", "HEAD", "DELETE"):
            assert cloud.ask(method, "/auth/tokens", headers={"X-Subject-Token": subject}).status_code == 404
        assert cloud.get("/auth/tokens").status_code == 404


def test_without_a_token_nothing_is_shown(cloud: Cloud) -> None:
    for path in ("/auth/tokens", "/auth/projects", "/projects", "/users", "/nowhere", "/services", "/regions"):
        for token in ("", "x", "gAAAAABkZ"):
            assert cloud.get(path, token=token, headers={"X-Subject-Token": cloud.admin}).status_code == 401


# --- revoking ---


def test_a_revoked_token_is_dead_everywhere(cloud: Cloud) -> None:
    _, _, token = cloud.someone()
    subject = {"X-Subject-Token": token}
    assert cloud.get("//v2.1/servers", token=token).status_code != 401
    assert cloud.delete("/auth/tokens", headers=subject).status_code == 204
    assert cloud.get("//v2.1/servers", token=token).status_code == 401
    assert not cloud.works(token)
    assert cloud.get("/auth/tokens", headers=subject).status_code == 404
    assert cloud.delete("/auth/tokens", headers=subject).status_code == 404
    assert cloud.authenticate({"methods": ["token"], "token": {"id": token}}).status_code == 401


def test_another_process_hears_of_it_within_a_second_and_the_identity_service_at_once(cloud: Cloud) -> None:
    other = Cloud.__new__(Cloud)
    other.__dict__.update(cloud.__dict__)
    other.app = create_app(cloud.settings, db=cloud.db)
    other._client = type(cloud._client)(other.app)
    _, _, token = cloud.someone()
    assert other.works(token)
    cloud.delete("/auth/tokens", headers={"X-Subject-Token": token})
    assert other.get("/auth/tokens", headers={"X-Subject-Token": token}).status_code == 404
    assert not other.works(token)


def test_what_revokes_tokens(cloud: Cloud) -> None:
    def changed(act: Any, *, other_project_too: bool = True) -> None:
        user, project, token = cloud.someone("member")
        elsewhere = cloud.project()
        cloud.grant("member", user["id"], elsewhere["id"])
        second = cloud.token(user["name"], "pw", elsewhere["name"])
        bystander = cloud.someone("member", project=project)[2]
        assert act(user, project).status_code in (200, 204)
        assert not cloud.works(token)
        assert cloud.works(second) is not other_project_too
        about_project = act in (disable_project, delete_project)
        assert cloud.works(bystander) is not about_project

    def set_password(user: Any, _project: Any) -> Any:
        return cloud.patch(f"/users/{user['id']}", {"user": {"password": "new"}})

    def change_password(user: Any, _project: Any) -> Any:
        body = {"user": {"original_password": "pw", "password": "new"}}
        return cloud.post(f"/users/{user['id']}/password", body, token="")

    def disable_user(user: Any, _project: Any) -> Any:
        return cloud.patch(f"/users/{user['id']}", {"user": {"enabled": False}})

    def delete_user(user: Any, _project: Any) -> Any:
        return cloud.delete(f"/users/{user['id']}")

    def remove_role(user: Any, project: Any) -> Any:
        return cloud.delete(f"/projects/{project['id']}/users/{user['id']}/roles/{cloud.roles['member']}")

    def disable_project(_user: Any, project: Any) -> Any:
        return cloud.patch(f"/projects/{project['id']}", {"project": {"enabled": False}})

    def delete_project(_user: Any, project: Any) -> Any:
        return cloud.delete(f"/projects/{project['id']}")

    for act in (set_password, change_password, disable_user, delete_user):
        changed(act)
    for act in (remove_role, disable_project, delete_project):
        changed(act, other_project_too=False)


def test_a_token_issued_after_a_revocation_is_valid(cloud: Cloud) -> None:
    user, project, old = cloud.someone("member")
    unscoped = cloud.token(user["name"], "pw", scope="unscoped")
    cloud.delete(f"/projects/{project['id']}/users/{user['id']}/roles/{cloud.roles['member']}")
    cloud.grant("reader", user["id"], project["id"])
    new = cloud.token(user["name"], "pw", project["name"])
    by_token = cloud.authenticate({"methods": ["token"], "token": {"id": unscoped}}, {"project": {"id": project["id"]}})
    assert not cloud.works(old)
    assert cloud.works(new)
    assert cloud.works(by_token.headers["X-Subject-Token"])


def test_changes_that_take_nothing_away_revoke_nothing(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    cloud.patch(f"/users/{user['id']}", {"user": {"description": "x", "enabled": True, "name": "renamed"}})
    cloud.patch(f"/projects/{project['id']}", {"project": {"name": "renamed", "enabled": True}})
    cloud.grant("reader", user["id"], project["id"])
    assert cloud.works(token)


def test_authenticating_asks_the_database_once_a_second_at_most(cloud: Cloud) -> None:
    _, _, token = cloud.someone()
    authenticator = identity.load(cloud.settings, cloud.db)
    statements: list[str] = []
    event.listen(cloud.db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    for _ in range(1000):
        authenticator.authenticate({"X-Auth-Token": token}.get, "req-1")
    assert len(statements) <= 4  # twice what is read once a second


# --- failed attempts ---


def test_failed_attempts_are_limited_by_user_and_address(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    user = cloud.user()
    here = {"extras": {"REMOTE_ADDR": "192.0.2.1"}}
    for _ in range(cloud.settings.login_attempts):
        assert cloud.authenticate(password({"id": user["id"]}, "wrong"), **here).status_code == 401
    for who in ({"id": user["id"]}, {"name": user["name"], "domain": DEFAULT}):
        answer = cloud.authenticate(password(who), **here)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.json["error"]["title"] == "Too Many Requests"
    body = {"user": {"original_password": "pw", "password": "new"}}
    assert cloud.post(f"/users/{user['id']}/password", body, token="", **here).status_code == 429
    assert cloud.authenticate(password({"id": user["id"]})).status_code == 201  # another address
    assert cloud.authenticate(password({"id": cloud.user()["id"]}), **here).status_code == 201


def test_an_unknown_user_is_limited_alike(cloud: Cloud) -> None:
    codes = [cloud.login("nobody", "x").status_code for _ in range(cloud.settings.login_attempts + 1)]
    assert codes == [401] * cloud.settings.login_attempts + [429]


def test_successes_do_not_count(cloud: Cloud) -> None:
    for _ in range(cloud.settings.login_attempts * 2):
        assert cloud.login("admin", ADMIN_PASSWORD).status_code == 201


def test_the_window_slides_and_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = [0.0]
    attempts = attempts_module.Attempts(2, lambda: moment[0])
    for _ in range(2):
        attempts.failed("user", "address")
        moment[0] += 10
    with pytest.raises(attempts_module.errors.TooManyRequests) as raised:
        attempts.check("user", "address")
    assert raised.value.headers["Retry-After"] == "40"
    moment[0] = 60.0
    attempts.check("user", "address")
    monkeypatch.setattr(attempts_module, "_MOST_KEYS", 50)
    for number in range(500):
        attempts.failed(str(number), "address")
    assert len(attempts._failures) == 50


def test_the_address_before_proxies_is_believed_only_as_far_as_the_setting_says(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    cheap_passwords(monkeypatch)
    for proxies, expected in ((0, 429), (1, 401)):
        cloud = Cloud(dataclasses.replace(settings, proxies=proxies), db)
        for number in range(settings.login_attempts + 1):
            headers = {"X-Forwarded-For": f"203.0.113.9, 198.51.100.{number}"}
            answer = cloud.login("nobody", "x", headers=headers)
        assert answer.status_code == expected


# --- long passwords ---


def test_every_byte_of_a_long_password_counts(cloud: Cloud) -> None:
    long = "ü" * 100
    user = cloud.user(password=long + "a")
    assert cloud.authenticate(password({"id": user["id"]}, long + "b")).status_code == 401
    assert cloud.authenticate(password({"id": user["id"]}, long + "a")).status_code == 201
    assert cloud.post("/users", {"user": {"name": "x", "password": "x" * 4097}}).status_code == 400
    assert cloud.post("/users", {"user": {"name": "x", "password": ""}}).status_code == 400
