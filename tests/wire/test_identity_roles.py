# SPDX-License-Identifier: Apache-2.0
"""Roles, what they imply, who has which on what, and the list of it all."""

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


def role(cloud: Cloud, name: str = "custom", **attributes: Any) -> str:
    answer = cloud.post("/roles", {"role": {"name": name, **attributes}})
    assert answer.status_code == 201
    return str(answer.json["role"]["id"])


def role_names(cloud: Cloud, user: dict[str, Any], project: dict[str, Any]) -> set[str]:
    answer = cloud.login(user["name"], "pw", project["name"])
    return {item["name"] for item in answer.json["token"]["roles"]} if answer.status_code == 201 else set()


# --- roles ---


def test_a_role_as_shown(cloud: Cloud) -> None:
    shown = cloud.get(f"/roles/{role(cloud)}").json["role"]
    assert shown.pop("links") and shown.pop("id")
    assert shown == {"name": "custom", "domain_id": None, "description": None, "options": {}}
    assert cloud.get("/roles?name=member").json["roles"][0]["id"] == cloud.roles["member"]
    assert cloud.get("/roles?domain_id=default").json["roles"] == []


def test_the_five_roles_are_there_and_immutable(cloud: Cloud) -> None:
    assert set(cloud.roles) == {"admin", "manager", "member", "reader", "service"}
    for key in cloud.roles.values():
        assert cloud.delete(f"/roles/{key}").status_code == 403
        assert cloud.patch(f"/roles/{key}", {"role": {"name": "x"}}).status_code == 403
        assert cloud.get(f"/roles/{key}").json["role"]["options"] == {"immutable": True}


# --- roles of a domain ---


def test_a_role_of_a_domain(cloud: Cloud) -> None:
    domain, other = cloud.domain()["id"], cloud.domain()["id"]
    assert cloud.post("/roles", {"role": {"name": "x", "domain_id": None}}).status_code == 201
    assert cloud.post("/roles", {"role": {"name": "y", "domain_id": "unknown"}}).status_code == 404
    key = role(cloud, "x", domain_id=domain)
    assert cloud.get(f"/roles/{key}").json["role"]["domain_id"] == domain
    assert [item["id"] for item in cloud.get(f"/roles?domain_id={domain}").json["roles"]] == [key]
    assert key not in [item["id"] for item in cloud.get("/roles?name=x").json["roles"]]
    assert cloud.post("/roles", {"role": {"name": "x", "domain_id": domain}}).status_code == 409
    role(cloud, "x", domain_id=other)
    for value in (other, None):
        assert cloud.patch(f"/roles/{key}", {"role": {"domain_id": value}}).status_code == 400
    assert cloud.patch(f"/roles/{key}", {"role": {"domain_id": domain, "name": "z"}}).json["role"]["name"] == "z"
    cloud.patch(f"/domains/{domain}", {"domain": {"enabled": False}})
    assert cloud.delete(f"/domains/{domain}").status_code == 204
    assert cloud.get(f"/roles/{key}").status_code == 404


def test_a_role_of_a_domain_is_in_no_token(cloud: Cloud) -> None:
    """Called admin it makes nobody one; what it implies counts."""
    key = role(cloud, "admin", domain_id="default")
    user, project = cloud.user(), cloud.project()
    path = f"/projects/{project['id']}/users/{user['id']}/roles"
    assert cloud.put(f"{path}/{key}").status_code == 204
    assert cloud.login(user["name"], "pw", project["name"]).status_code == 401
    listed = f"/role_assignments?user.id={user['id']}"
    assert [item["role"]["id"] for item in cloud.get(listed).json["role_assignments"]] == [key]
    assert cloud.get(f"{listed}&effective").json["role_assignments"] == []
    assert [item["id"] for item in cloud.get(path).json["roles"]] == [key]
    second = role(cloud, "second", domain_id="default")
    assert cloud.put(f"/roles/{key}/implies/{second}").status_code == 201
    assert cloud.put(f"/roles/{second}/implies/{cloud.roles['member']}").status_code == 201
    assert role_names(cloud, user, project) == {"member", "reader"}
    effective = cloud.get(f"{listed}&effective").json["role_assignments"]
    assert {item["role"]["id"] for item in effective} == {cloud.roles["member"], cloud.roles["reader"]}
    token = cloud.token(user["name"], "pw", project["name"])
    assert cloud.get("/users", token=token).status_code == 403
    again = cloud.authenticate({"methods": ["token"], "token": {"id": token}}, {"project": {"id": project["id"]}})
    assert {item["name"] for item in again.json["token"]["roles"]} == {"member", "reader"}
    assert cloud.delete(f"/roles/{key}").status_code == 204
    assert not cloud.works(token)


def test_where_a_role_of_a_domain_is_given(cloud: Cloud) -> None:
    domain = cloud.domain()["id"]
    key, user, inside = role(cloud, domain_id=domain), cloud.user()["id"], cloud.project(domain_id=domain)["id"]
    for path, status in (
        (f"/projects/{inside}/users/{user}/roles/{key}", 204),
        (f"/domains/{domain}/users/{user}/roles/{key}", 204),
        (f"/projects/{cloud.project()['id']}/users/{user}/roles/{key}", 403),
        (f"/domains/default/users/{user}/roles/{key}", 403),
        (f"/OS-INHERIT/domains/default/users/{user}/roles/{key}/inherited_to_projects", 403),
        (f"/system/users/{user}/roles/{key}", 403),
    ):
        assert cloud.put(path).status_code == status, path


def test_a_role_of_all_domains_implies_none_of_one(cloud: Cloud) -> None:
    key = role(cloud, domain_id="default")
    assert cloud.put(f"/roles/{cloud.roles['member']}/implies/{key}").status_code == 403
    assert cloud.put(f"/roles/{key}/implies/{cloud.roles['admin']}").status_code == 403
    assert cloud.put(f"/roles/{key}/implies/{cloud.roles['member']}").status_code == 201


def test_renaming_and_deleting_a_role_revokes_the_tokens_that_give_it(cloud: Cloud) -> None:
    for act in (
        lambda key: cloud.patch(f"/roles/{key}", {"role": {"name": "renamed"}}),
        lambda key: cloud.delete(f"/roles/{key}"),
    ):
        key = role(cloud)
        user, project, token = cloud.someone("member")
        cloud.put(f"/projects/{project['id']}/users/{user['id']}/roles/{key}")
        elsewhere = cloud.project()
        cloud.grant("member", user["id"], elsewhere["id"])
        with_it = cloud.token(user["name"], "pw", project["name"])
        without = cloud.token(user["name"], "pw", elsewhere["name"])
        bystander = cloud.someone("member", project=project)[2]
        assert act(key).status_code in (200, 204)
        assert not cloud.works(with_it) and not cloud.works(token)
        assert cloud.works(without) and cloud.works(bystander)
        assert "custom" not in role_names(cloud, user, project)


# --- implied roles ---


def test_what_roles_imply(cloud: Cloud) -> None:
    listed = cloud.get("/role_inferences").json["role_inferences"]
    found = {item["prior_role"]["name"]: [implied["name"] for implied in item["implies"]] for item in listed}
    assert found == {"admin": ["manager"], "manager": ["member"], "member": ["reader"]}
    shown = cloud.get(f"/roles/{cloud.roles['manager']}/implies").json["role_inference"]
    assert shown["prior_role"]["name"] == "manager"
    assert [implied["id"] for implied in shown["implies"]] == [cloud.roles["member"]]


def test_implying(cloud: Cloud) -> None:
    key = role(cloud)
    path = f"/roles/{key}/implies/{cloud.roles['member']}"
    assert cloud.get(path).status_code == 404
    assert cloud.delete(path).status_code == 404
    for _ in range(2):
        made = cloud.put(path)
        assert made.status_code == 201
        assert made.json["role_inference"]["implies"]["name"] == "member"
    assert cloud.get(path).status_code == 200
    assert cloud.ask("HEAD", path).status_code == 204
    user, project, _ = cloud.someone("service")
    cloud.put(f"/projects/{project['id']}/users/{user['id']}/roles/{key}")
    assert role_names(cloud, user, project) == {"service", "custom", "member", "reader"}
    token = cloud.token(user["name"], "pw", project["name"])
    assert cloud.delete(path).status_code == 204
    assert not cloud.works(token)
    assert role_names(cloud, user, project) == {"service", "custom"}


def test_what_can_not_be_implied(cloud: Cloud) -> None:
    key = role(cloud)
    assert cloud.put(f"/roles/{key}/implies/{cloud.roles['admin']}").status_code == 403
    assert cloud.put(f"/roles/{key}/implies/{key}").status_code == 403
    assert cloud.put(f"/roles/{key}/implies/unknown").status_code == 404
    assert cloud.put(f"/roles/unknown/implies/{key}").status_code == 404
    assert cloud.get("/roles/unknown/implies").status_code == 404


def test_a_circle_of_roles_does_no_harm(cloud: Cloud) -> None:
    key = role(cloud)
    cloud.put(f"/roles/{key}/implies/{cloud.roles['reader']}")
    cloud.put(f"/roles/{cloud.roles['reader']}/implies/{key}")
    user, project, _ = cloud.someone("reader")
    assert role_names(cloud, user, project) == {"reader", "custom"}
    assert len(cloud.get(f"/role_assignments?effective&user.id={user['id']}").json["role_assignments"]) == 2
    assert cloud.delete(f"/roles/{key}").status_code == 204


# --- giving and taking ---


def test_grants_of_every_kind(cloud: Cloud) -> None:
    user, group = cloud.user()["id"], cloud.group()["id"]
    project, domain = cloud.project()["id"], cloud.domain()["id"]
    for place in (f"/projects/{project}", f"/domains/{domain}", "/system"):
        for actor in (f"/users/{user}", f"/groups/{group}"):
            path = f"{place}{actor}/roles"
            one = f"{path}/{cloud.roles['reader']}"
            assert cloud.get(path).json["roles"] == []
            assert cloud.get(one).status_code == cloud.ask("HEAD", one).status_code == 404
            assert cloud.delete(one).status_code == 404
            for _ in range(2):
                assert cloud.put(one).status_code == 204
            assert cloud.get(one).status_code == cloud.ask("HEAD", one).status_code == 204
            assert [item["name"] for item in cloud.get(path).json["roles"]] == ["reader"]
            assert cloud.put(f"{path}/unknown").status_code == 404
            assert cloud.delete(one).status_code == 204
            assert cloud.get(path).json["roles"] == []


def test_grants_about_what_is_not_there(cloud: Cloud) -> None:
    user, project, reader = cloud.user()["id"], cloud.project()["id"], cloud.roles["reader"]
    for path in (
        f"/projects/unknown/users/{user}/roles/{reader}",
        f"/projects/{project}/users/unknown/roles/{reader}",
        f"/projects/{project}/groups/{user}/roles/{reader}",
        f"/domains/unknown/users/{user}/roles/{reader}",
        f"/system/users/unknown/roles/{reader}",
        f"/projects/{project}/users/{user}/roles/%00",
    ):
        for method in ("GET", "PUT", "DELETE"):
            assert cloud.ask(method, path).status_code == 404, (method, path)


def test_who_may_give_roles(cloud: Cloud) -> None:
    for name in ("reader", "member", "manager", "service"):
        user, project, token = cloud.someone(name)
        for place in (f"/projects/{project['id']}", "/domains/default", "/system"):
            path = f"{place}/users/{user['id']}/roles/{cloud.roles['admin']}"
            for method in ("GET", "HEAD", "PUT", "DELETE"):
                assert cloud.ask(method, path, token=token).status_code == 403
            assert cloud.get(f"{place}/users/{user['id']}/roles", token=token).status_code == 403
        for path in ("/role_assignments", f"/role_assignments?user.id={user['id']}", "/role_inferences"):
            assert cloud.get(path, token=token).status_code == 403


# --- inherited ones ---

BELOW = "inherited_to_projects"


@pytest.mark.parametrize("actor", ["user", "group"])
@pytest.mark.parametrize("scope", ["project", "domain"])
def test_inherited_grants(cloud: Cloud, scope: str, actor: str) -> None:
    top = cloud.project("top")
    member = cloud.roles["member"]
    who = (cloud.user("one") if actor == "user" else cloud.group("all"))["id"]
    place = f"/projects/{top['id']}" if scope == "project" else "/domains/default"
    path = f"/OS-INHERIT{place}/{actor}s/{who}/roles"
    assert cloud.get(f"{path}/{member}/{BELOW}").status_code == 404
    for _ in range(2):
        given = cloud.put(f"{path}/{member}/{BELOW}")
        assert (given.status_code, given.text) == (204, "")
    assert cloud.get(f"{path}/{member}/{BELOW}").status_code == 204
    assert cloud.ask("HEAD", f"{path}/{member}/{BELOW}").status_code == 204
    assert [item["name"] for item in cloud.get(f"{path}/{BELOW}").json["roles"]] == ["member"]
    assert cloud.get(f"{place}/{actor}s/{who}/roles").json["roles"] == []  # not on the place itself
    assert cloud.get(f"{place}/{actor}s/{who}/roles/{member}").status_code == 404
    (shown,) = assignments(cloud, f"scope.OS-INHERIT:inherited_to=projects&{actor}.id={who}")
    target = top["id"] if scope == "project" else "default"
    assert shown["scope"] == {scope: {"id": target}, "OS-INHERIT:inherited_to": "projects"}
    assert shown["links"]["assignment"].endswith(f"/v3{path}/{member}/{BELOW}")
    assert assignments(cloud, f"{actor}.id={who}") == [shown]
    assert assignments(cloud, f"{actor}.id={who}&scope.OS-INHERIT:inherited_to=") == []
    assert cloud.ask("DELETE", f"{path}/{member}/{BELOW}").status_code == 204
    assert cloud.ask("DELETE", f"{path}/{member}/{BELOW}").status_code == 404
    for unknown in (f"/OS-INHERIT/projects/x/{actor}s/{who}/roles/{member}", f"{path}/x"):
        assert cloud.put(f"{unknown}/{BELOW}").status_code == 404


@pytest.mark.parametrize("scope", ["project", "domain"])
def test_projects_below_inherit(cloud: Cloud, scope: str) -> None:
    """All that are below, now or later, and not what it was given on; who loses it loses the tokens."""
    top = cloud.project("top")
    middle = cloud.project("middle", parent_id=top["id"])
    leaf = cloud.project("leaf", parent_id=middle["id"])
    user = cloud.user("heir", "secret")
    place = f"projects/{top['id']}" if scope == "project" else "domains/default"
    path = f"/OS-INHERIT/{place}/users/{user['id']}/roles/{cloud.roles['member']}/{BELOW}"
    assert cloud.put(path).status_code == 204

    def names(query: str) -> list[str]:
        return sorted(item["scope"]["project"]["name"] for item in assignments(cloud, f"{query}&include_names"))

    where = f"effective&user.id={user['id']}&role.id={cloud.roles['member']}"
    heirs = ["leaf", "middle"] if scope == "project" else ["admin", "leaf", "middle", "service", "top"]
    assert set(heirs) - {"service"} <= set(names(where)) and (scope == "domain" or names(where) == heirs)
    assert names(f"{where}&scope.project.id={leaf['id']}") == ["leaf"]
    assert names(f"{where}&scope.project.id={leaf['id']}&scope.OS-INHERIT:inherited_to=projects") == ["leaf"]
    (implied,) = assignments(
        cloud, f"effective&user.id={user['id']}&role.id={cloud.roles['reader']}&scope.project.id={leaf['id']}"
    )
    assert implied["scope"]["OS-INHERIT:inherited_to"] == "projects"
    assert implied["links"]["assignment"].endswith(f"/v3{path}")

    answer = cloud.login("heir", "secret", project="leaf")
    assert {role["name"] for role in answer.json["token"]["roles"]} == {"member", "reader"}
    assert cloud.login("heir", "secret", project="top").status_code == (401 if scope == "project" else 201)
    token = answer.headers["X-Subject-Token"]
    mine = {item["name"] for item in cloud.get("/auth/projects", token=token).json["projects"]}
    assert mine == set(names(where))
    assert cloud.get("/auth/domains", token=token).json["domains"] == []
    later = cloud.project("later", parent_id=middle["id"])
    assert cloud.login("heir", "secret", project="later").status_code == 201
    assert cloud.ask("DELETE", path).status_code == 204
    assert cloud.get("/auth/projects", token=token).status_code == 401
    assert cloud.login("heir", "secret", project="leaf").status_code == 401
    assert cloud.ask("DELETE", f"/projects/{later['id']}").status_code == 204


def test_what_a_group_inherits_goes_with_its_members(cloud: Cloud) -> None:
    top = cloud.project("top")
    leaf = cloud.project("leaf", parent_id=top["id"])
    user, group = cloud.user("heir", "secret"), cloud.group("heirs")
    cloud.put(f"/groups/{group['id']}/users/{user['id']}")
    path = f"/OS-INHERIT/projects/{top['id']}/groups/{group['id']}/roles/{cloud.roles['member']}/{BELOW}"
    assert cloud.put(path).status_code == 204
    (found,) = assignments(cloud, f"effective&user.id={user['id']}&role.id={cloud.roles['member']}")
    assert found["scope"]["project"]["id"] == leaf["id"]
    assert found["links"]["assignment"].endswith(f"/v3{path}")
    assert found["links"]["membership"].endswith(f"/groups/{group['id']}/users/{user['id']}")
    token = cloud.login("heir", "secret", project="leaf").headers["X-Subject-Token"]
    assert cloud.ask("DELETE", f"/groups/{group['id']}/users/{user['id']}").status_code == 204
    assert cloud.get("/auth/projects", token=token).status_code == 401
    for project in (leaf, top):
        assert cloud.ask("DELETE", f"/projects/{project['id']}").status_code == 204
    assert assignments(cloud, f"group.id={group['id']}") == []


# --- the list ---


def assignments(cloud: Cloud, query: str = "") -> list[dict[str, Any]]:
    answer = cloud.get(f"/role_assignments?{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json["role_assignments"]
    return found


def test_assignments_as_shown(cloud: Cloud) -> None:
    user, project = cloud.user("one"), cloud.project("place")
    cloud.grant("member", user["id"], project["id"])
    base = "http://falconframework.org/identity/v3"
    link = f"{base}/projects/{project['id']}/users/{user['id']}/roles/{cloud.roles['member']}"
    assert assignments(cloud, f"user.id={user['id']}") == [
        {
            "links": {"assignment": link},
            "scope": {"project": {"id": project["id"]}},
            "user": {"id": user["id"]},
            "role": {"id": cloud.roles["member"]},
        }
    ]
    default = {"id": "default", "name": "Default"}
    assert assignments(cloud, f"user.id={user['id']}&include_names=True") == [
        {
            "links": {"assignment": link},
            "scope": {"project": {"id": project["id"], "name": "place", "domain": default}},
            "user": {"id": user["id"], "name": "one", "domain": default},
            "role": {"id": cloud.roles["member"], "name": "member"},
        }
    ]


def test_assignments_by_scope_actor_and_role(cloud: Cloud) -> None:
    user, group, project = cloud.user()["id"], cloud.group()["id"], cloud.project()["id"]
    reader = cloud.roles["reader"]
    for place in (f"/projects/{project}", "/domains/default", "/system"):
        cloud.put(f"{place}/users/{user}/roles/{reader}")
        cloud.put(f"{place}/groups/{group}/roles/{reader}")
    cloud.grant("member", user, project)

    def count(query: str) -> int:
        return len(assignments(cloud, query))

    assert count("") == 10  # the three of the defaults too
    assert count(f"user.id={user}") == 4
    assert count(f"group.id={group}") == 3
    assert count(f"role.id={reader}") == 6
    assert count(f"scope.project.id={project}") == 3
    assert count(f"scope.project.id={project}&role.id={reader}&user.id={user}") == 1
    assert count("scope.domain.id=default") == 2
    assert count("scope.system=all") == 3
    assert count("scope.system=some") == 10
    for unknown in ("user.id", "group.id", "role.id", "scope.project.id", "scope.domain.id"):
        assert count(f"{unknown}=unknown") == 0
    scopes = {next(iter(item["scope"])) for item in assignments(cloud, f"group.id={group}&include_names")}
    assert scopes == {"project", "domain", "system"}


def test_effective_assignments(cloud: Cloud) -> None:
    user, group, project = cloud.user("u"), cloud.group("g"), cloud.project("p")
    cloud.put(f"/groups/{group['id']}/users/{user['id']}")
    cloud.put(f"/projects/{project['id']}/groups/{group['id']}/roles/{cloud.roles['member']}")
    found = assignments(cloud, f"effective&include_names&scope.project.id={project['id']}")
    base = "http://falconframework.org/identity/v3"
    assert [item["role"]["name"] for item in found] == ["member", "reader"]
    for item in found:
        assert item["user"]["name"] == "u" and "group" not in item
        assert item["links"]["membership"] == f"{base}/groups/{group['id']}/users/{user['id']}"
    assert found[1]["links"]["prior_role"].startswith(f"{base}/prior_role/{cloud.roles['reader']}/implies/")
    assert found[1]["links"]["assignment"] == found[0]["links"]["assignment"]
    readers = assignments(cloud, f"effective&role.id={cloud.roles['reader']}&user.id={user['id']}")
    assert len(readers) == 1
    assert assignments(cloud, f"user.id={user['id']}") == []
    assert len(assignments(cloud, f"user.id={user['id']}&effective=0")) == 0


def test_assignments_of_a_subtree(cloud: Cloud) -> None:
    top = cloud.project()
    below = cloud.project(parent_id=top["id"])
    for project in (top, below):
        cloud.grant("member", cloud.admin_id, project["id"])
    assert len(assignments(cloud, f"scope.project.id={top['id']}&include_subtree")) == 2
    assert len(assignments(cloud, f"scope.project.id={below['id']}&include_subtree")) == 1
    assert cloud.get("/role_assignments?scope.project.id=unknown&include_subtree").status_code == 404


def test_queries_for_assignments_that_make_no_sense(cloud: Cloud) -> None:
    for query in (
        "scope.project.id=a&scope.domain.id=b",
        "scope.project.id=a&scope.system=all",
        "scope.domain.id=a&scope.system=all",
        "user.id=a&group.id=b",
        "effective&group.id=a",
        "include_subtree",
        "user.id=%00",
    ):
        assert cloud.get(f"/role_assignments?{query}").status_code == 400, query
