# SPDX-License-Identifier: Apache-2.0
"""What a new cloud has, and what making it again does."""

from __future__ import annotations

import pytest

from computeapi import errors
from computeapi.backends.identity import setup
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import Cloud, cheap_passwords


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_passwords(monkeypatch)


def test_a_new_cloud(settings: Settings, db: Database) -> None:
    cloud = Cloud(settings, db)
    assert set(cloud.projects) == {"admin", "demo", "service"}
    assert {user["name"] for user in cloud.get("/users").json["users"]} == {"admin", "demo"}
    found = {
        (item["user"]["name"], item["role"]["name"], next(iter(item["scope"])))
        for item in cloud.get("/role_assignments?include_names").json["role_assignments"]
    }
    assert found == {("admin", "admin", "project"), ("admin", "admin", "system"), ("demo", "member", "project")}
    assert cloud.made.demo_password is not None
    assert cloud.login("demo", cloud.made.demo_password, "demo").status_code == 201


def test_passwords_are_generated_once(db: Database) -> None:
    first = setup.ensure_defaults(db)
    assert first.admin_password and first.demo_password and first.admin_password != first.demo_password
    assert first.admin_password not in repr(db)
    assert setup.ensure_defaults(db) == setup.Credentials(None, None)


def test_making_it_again_changes_nothing(settings: Settings, db: Database) -> None:
    cloud = Cloud(settings, db)
    before = [cloud.get(path).json for path in ("/users", "/projects", "/roles", "/role_assignments", "/domains")]
    assert setup.ensure_defaults(db, "open sesame") == setup.Credentials(None, None)
    assert [
        cloud.get(path).json for path in ("/users", "/projects", "/roles", "/role_assignments", "/domains")
    ] == before


def test_another_admin_password_is_set_and_revokes(settings: Settings, db: Database) -> None:
    cloud = Cloud(settings, db)
    assert setup.ensure_defaults(db, "another") == setup.Credentials("another", None)
    assert cloud.login("admin", "open sesame").status_code == 401
    assert cloud.login("admin", "another").status_code == 201
    assert cloud.get("/auth/tokens", headers={"X-Subject-Token": cloud.admin}).status_code in (401, 404)


def test_the_admin_comes_back_and_demo_does_not(settings: Settings, db: Database) -> None:
    cloud = Cloud(settings, db)
    demo = cloud.get("/users?name=demo").json["users"][0]["id"]
    assert cloud.delete(f"/users/{demo}").status_code == 204
    place = f"/projects/{cloud.projects['admin']}/users/{cloud.admin_id}/roles/{cloud.roles['admin']}"
    assert cloud.delete(place).status_code == 204
    assert setup.ensure_defaults(db) == setup.Credentials(None, None)
    again = Cloud(settings, db)
    assert {user["name"] for user in again.get("/users").json["users"]} == {"admin"}


def test_small_functions_for_a_command_line(settings: Settings, db: Database) -> None:
    cloud = Cloud(settings, db)
    with db.write() as conn:
        key = setup.add_user(conn, "carol", "first", extra={"email": "c@example"})
    assert cloud.get(f"/users/{key}").json["user"]["email"] == "c@example"
    with db.write() as conn:
        setup.set_password(conn, key, "second", 3600)
    assert cloud.login("carol", "first").status_code == 401
    assert cloud.login("carol", "second").status_code == 201
    with pytest.raises(errors.Conflict), db.write() as conn:
        setup.add_user(conn, "carol", "x")
    with pytest.raises(errors.NotFound), db.write() as conn:
        setup.set_password(conn, "unknown", "x", 3600)
    with pytest.raises(errors.BadRequest), db.write() as conn:
        setup.add_user(conn, "dave", "")
