# SPDX-License-Identifier: Apache-2.0
"""Domains, projects, users and groups: what clients do with them, what is refused, and who may."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import ADMIN_PASSWORD, Cloud, cheap_passwords


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


NOUNS = {"domains": "domain", "projects": "project", "users": "user", "groups": "group", "roles": "role"}
HOSTILE = ["' OR 1=1 --", "%", "_", "<script>", "../../x", "🦊 and ü", "a" * 64]


# --- what all nouns have in common ---


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_create_show_list_change_delete(cloud: Cloud, nouns: str, noun: str) -> None:
    made = cloud.post(f"/{nouns}", {noun: {"name": "one", "description": "first", "unknown": {"kept": [1, None]}}})
    assert made.status_code == 201
    shown = made.json[noun]
    assert shown["links"]["self"] == f"http://falconframework.org/identity/v3/{nouns}/{shown['id']}"
    assert (shown["name"], shown["description"], shown["unknown"]) == ("one", "first", {"kept": [1, None]})
    assert len(shown["id"]) == 32
    assert cloud.get(f"/{nouns}/{shown['id']}").json == {noun: shown}
    listed = cloud.get(f"/{nouns}?name=one").json
    assert listed == {
        nouns: [shown],
        "links": {
            "next": None,
            "previous": None,
            "self": f"http://falconframework.org/identity/v3/{nouns}?name=one",
        },
    }
    changed = cloud.patch(f"/{nouns}/{shown['id']}", {noun: {"name": "two", "more": "x"}})
    assert changed.status_code == 200
    assert changed.json[noun] == shown | {"name": "two", "more": "x"}
    assert cloud.get(f"/{nouns}?name=one").json[nouns] == []
    if noun == "domain":
        cloud.patch(f"/{nouns}/{shown['id']}", {noun: {"enabled": False}})
    deleted = cloud.delete(f"/{nouns}/{shown['id']}")
    assert (deleted.status_code, deleted.text) == (204, "")
    for method in ("GET", "DELETE"):
        assert cloud.ask(method, f"/{nouns}/{shown['id']}").status_code == 404
    assert cloud.patch(f"/{nouns}/{shown['id']}", {noun: {"name": "x"}}).status_code == 404


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_a_name_is_taken_once(cloud: Cloud, nouns: str, noun: str) -> None:
    cloud.post(f"/{nouns}", {noun: {"name": "one"}})
    two = cloud.post(f"/{nouns}", {noun: {"name": "two"}}).json[noun]["id"]
    for answer in (
        cloud.post(f"/{nouns}", {noun: {"name": "one"}}),
        cloud.patch(f"/{nouns}/{two}", {noun: {"name": "one"}}),
    ):
        assert answer.status_code == 409
        assert answer.json["error"]["title"] == "Conflict"


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_names_that_are_none(cloud: Cloud, nouns: str, noun: str) -> None:
    key = cloud.post(f"/{nouns}", {noun: {"name": "one"}}).json[noun]["id"]
    for name in (None, 5, "", " ", [], {}, "a" * 256, "nul\x00"):
        assert cloud.post(f"/{nouns}", {noun: {"name": name}}).status_code == 400, name
        assert cloud.patch(f"/{nouns}/{key}", {noun: {"name": name}}).status_code == 400, name


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_hostile_names_are_names(cloud: Cloud, nouns: str, noun: str) -> None:
    for name in HOSTILE:
        made = cloud.post(f"/{nouns}", {noun: {"name": name}})
        assert made.status_code == 201 and made.json[noun]["name"] == name
        listed = cloud.get(f"/{nouns}", params={"name": name}).json[nouns]
        assert [item["id"] for item in listed] == [made.json[noun]["id"]]


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_bodies_and_urls_that_are_none(cloud: Cloud, nouns: str, noun: str) -> None:
    for body in ({}, {noun: None}, {noun: []}, {noun: "x"}, {noun: {}}, {noun: {"name": "x"}, "more": 1}, [], 5):
        assert cloud.post(f"/{nouns}", body).status_code == 400
    for key in ("unknown", "%00", "%27", "x" * 5000, "..%2f..", "%F0%9F%A6%8A"):
        assert cloud.get(f"/{nouns}/{key}").status_code == 404
        assert cloud.delete(f"/{nouns}/{key}").status_code == 404
    assert cloud.put(f"/{nouns}", {}).status_code == 405
    assert cloud.get(f"/{nouns}?name=%00").status_code == 400


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_attributes_nested_too_deeply_are_400(cloud: Cloud, nouns: str, noun: str) -> None:
    for depth, status in ((60, 201), (65, 400), (900, 400), (20_000, 400)):
        nested = f"{'[' * depth}1{']' * depth}"
        body = f'{{"{noun}": {{"name": "n{depth}", "deep": {nested}}}}}'
        assert cloud.post(f"/{nouns}", body.encode()).status_code == status
        assert cloud.get(f"/{nouns}").status_code == 200


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_what_a_client_may_not_set(cloud: Cloud, nouns: str, noun: str) -> None:
    given = {"name": "one", "id": "mine", "links": {"self": "mine"}}
    shown = cloud.post(f"/{nouns}", {noun: given}).json[noun]
    assert shown["id"] != "mine" and shown["links"]["self"].endswith(shown["id"])
    assert cloud.patch(f"/{nouns}/{shown['id']}", {noun: {"id": "other"}}).status_code == 400
    if nouns not in ("domains", "roles"):
        assert cloud.patch(f"/{nouns}/{shown['id']}", {noun: {"domain_id": "other"}}).status_code == 400
        assert cloud.patch(f"/{nouns}/{shown['id']}", {noun: {"domain_id": "default"}}).status_code == 200


@pytest.mark.parametrize("nouns", NOUNS)
def test_pages(cloud: Cloud, nouns: str) -> None:
    for number in range(5):
        cloud.post(f"/{nouns}", {NOUNS[nouns]: {"name": f"n{number}"}})
    everything = [item["id"] for item in cloud.get(f"/{nouns}").json[nouns]]
    found, path = [], f"/{nouns}?limit=2"
    while path:
        page = cloud.get(path).json
        assert len(page[nouns]) <= 2
        found += [item["id"] for item in page[nouns]]
        path = (page["links"]["next"] or "").partition("/identity/v3")[2]
    assert found == everything
    for limit in ("0", "x", "-1", "9" * 5000, "¹"):
        assert len(cloud.get(f"/{nouns}", params={"limit": limit}).json[nouns]) == len(everything)


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_nobody_but_an_administrator_may(cloud: Cloud, nouns: str, noun: str) -> None:
    key = cloud.post(f"/{nouns}", {noun: {"name": "one"}}).json[noun]["id"]
    for role in ("reader", "member", "manager", "service"):
        _, _, token = cloud.someone(role)
        for method, path, body in (
            ("GET", f"/{nouns}", None),
            ("GET", f"/{nouns}/{key}", None),
            ("GET", f"/{nouns}/unknown", None),
            ("POST", f"/{nouns}", {noun: {"name": "two"}}),
            ("PATCH", f"/{nouns}/{key}", {noun: {"name": "two"}}),
            ("DELETE", f"/{nouns}/{key}", None),
            ("DELETE", f"/{nouns}/unknown", None),
        ):
            answer = cloud.ask(method, path, body, token=token)
            assert (answer.status_code, answer.json["error"]["title"]) == (403, "Forbidden"), (role, method, path)


@pytest.mark.parametrize(("nouns", "noun"), NOUNS.items())
def test_a_system_reader_reads_everything(cloud: Cloud, nouns: str, noun: str) -> None:
    user = cloud.user()
    cloud.put(f"/system/users/{user['id']}/roles/{cloud.roles['reader']}")
    token = cloud.token(user["name"], "pw", scope={"system": {"all": True}})
    key = cloud.post(f"/{nouns}", {noun: {"name": "one"}}).json[noun]["id"]
    assert cloud.get(f"/{nouns}", token=token).status_code == 200
    assert cloud.get(f"/{nouns}/{key}", token=token).status_code == 200
    assert cloud.delete(f"/{nouns}/{key}", token=token).status_code == 403


# --- domains ---


def test_a_domain_as_shown(cloud: Cloud) -> None:
    shown = cloud.get("/domains/default").json["domain"]
    assert shown.pop("links")
    assert shown == {
        "id": "default",
        "name": "Default",
        "description": "The default domain",
        "enabled": True,
        "tags": [],
        "options": {},
    }


def test_a_domain_goes_with_all_that_is_in_it_but_only_disabled(cloud: Cloud) -> None:
    domain = cloud.domain()
    inside = {"domain_id": domain["id"]}
    project, user, group = cloud.project(**inside), cloud.user(**inside), cloud.group(**inside)
    outsider = cloud.user()
    cloud.grant("member", outsider["id"], project["id"])
    cloud.put(f"/domains/{domain['id']}/users/{outsider['id']}/roles/{cloud.roles['reader']}")
    assert cloud.delete(f"/domains/{domain['id']}").status_code == 403
    cloud.patch(f"/domains/{domain['id']}", {"domain": {"enabled": False}})
    assert cloud.delete(f"/domains/{domain['id']}").status_code == 204
    for path in (f"/projects/{project['id']}", f"/users/{user['id']}", f"/groups/{group['id']}"):
        assert cloud.get(path).status_code == 404
    assert cloud.get(f"/role_assignments?user.id={outsider['id']}").json["role_assignments"] == []


def test_deleting_a_domain_takes_what_others_had_by_its_groups(cloud: Cloud) -> None:
    domain, outsider, elsewhere = cloud.domain(), cloud.user(), cloud.project()
    group = cloud.group(domain_id=domain["id"])
    cloud.put(f"/groups/{group['id']}/users/{outsider['id']}")
    cloud.put(f"/projects/{elsewhere['id']}/groups/{group['id']}/roles/{cloud.roles['member']}")
    token = cloud.token(outsider["name"], "pw", elsewhere["name"])
    cloud.patch(f"/domains/{domain['id']}", {"domain": {"enabled": False}})
    assert cloud.works(token)
    assert cloud.delete(f"/domains/{domain['id']}").status_code == 204
    assert not cloud.works(token)


def test_the_default_domain_stays(cloud: Cloud) -> None:
    assert cloud.delete("/domains/default").status_code == 403
    assert cloud.patch("/domains/default", {"domain": {"enabled": False}}).status_code == 403


def test_everybody_may_show_the_own_domain(cloud: Cloud) -> None:
    _, _, token = cloud.someone("reader")
    assert cloud.get("/domains/default", token=token).status_code == 200
    assert cloud.get(f"/domains/{cloud.domain()['id']}", token=token).status_code == 403


def test_names_are_of_a_domain(cloud: Cloud) -> None:
    domain = cloud.domain()["id"]
    assert cloud.project("same")["id"] != cloud.project("same", domain_id=domain)["id"]
    assert cloud.user("same")["id"] != cloud.user("same", domain_id=domain)["id"]
    assert len(cloud.get("/users?name=same").json["users"]) == 2
    assert len(cloud.get(f"/users?name=same&domain_id={domain}").json["users"]) == 1
    assert cloud.post("/users", {"user": {"name": "x", "domain_id": "unknown"}}).status_code == 404
    assert cloud.post("/projects", {"project": {"name": "x", "domain_id": "unknown"}}).status_code == 400


def test_what_is_made_without_a_domain_is_in_the_makers(cloud: Cloud) -> None:
    domain = cloud.domain()["id"]
    project, user = cloud.project(domain_id=domain), cloud.user(domain_id=domain)
    cloud.grant("admin", user["id"], project["id"])
    cloud.put(f"/domains/{domain}/users/{user['id']}/roles/{cloud.roles['admin']}")
    identity = {"methods": ["password"], "password": {"user": {"id": user["id"], "password": "pw"}}}
    for scope in ({"project": {"id": project["id"]}}, {"domain": {"id": domain}}):
        token = cloud.authenticate(identity, scope).headers["X-Subject-Token"]
        for nouns, noun in (("users", "user"), ("projects", "project"), ("groups", "group")):
            made = cloud.post(f"/{nouns}", {noun: {"name": uuid.uuid4().hex}}, token=token)
            assert made.json[noun]["domain_id"] == domain


def test_explicit_domain_id(cloud: Cloud) -> None:
    key = uuid.uuid4().hex
    assert cloud.domain(explicit_domain_id=key)["id"] == key
    again = {"domain": {"name": "again", "explicit_domain_id": key}}
    assert cloud.post("/domains", again).status_code == 409
    assert cloud.post("/domains", {"domain": {"name": "x", "explicit_domain_id": "../x"}}).status_code == 400


# --- projects ---


def test_a_project_as_shown(cloud: Cloud) -> None:
    shown = cloud.project("one", description="d", tags=["a", "b"], colour="red")
    assert shown.pop("links") and shown.pop("id")
    assert shown == {
        "name": "one",
        "domain_id": "default",
        "description": "d",
        "enabled": True,
        "parent_id": "default",
        "is_domain": False,
        "tags": ["a", "b"],
        "options": {},
        "colour": "red",
    }


def test_lists_of_projects_by_their_attributes(cloud: Cloud) -> None:
    top = cloud.project("top")
    below = cloud.project("below", parent_id=top["id"], enabled=False)

    def names(query: str) -> set[str]:
        return {item["name"] for item in cloud.get(f"/projects?{query}").json["projects"]}

    assert names(f"parent_id={top['id']}") == {"below"}
    assert names("enabled=false") == names("enabled=0") == {"below"}
    assert "top" in names("enabled") and "below" not in names("enabled=True")
    assert names("domain_id=unknown") == set()
    assert names("name=top&enabled=true&domain_id=default") == {"top"}
    assert names("unknown=x") >= {"top", "below", "admin"}
    assert below["domain_id"] == "default"


def test_name_lookup_by_path_is_404(cloud: Cloud) -> None:
    assert cloud.get("/projects/admin").status_code == 404


def test_a_member_may_show_the_own_project_and_list_the_own_ones(cloud: Cloud) -> None:
    user, project, token = cloud.someone("reader")
    other = cloud.project()
    assert cloud.get(f"/projects/{project['id']}", token=token).status_code == 200
    assert cloud.get(f"/projects/{other['id']}", token=token).status_code == 403
    assert cloud.get("/projects/unknown", token=token).status_code == 403
    for path in ("/auth/projects", f"/users/{user['id']}/projects"):
        listed = cloud.get(path, token=token).json["projects"]
        assert [item["id"] for item in listed] == [project["id"]]
    assert cloud.get(f"/users/{cloud.admin_id}/projects", token=token).status_code == 403
    cloud.patch(f"/projects/{project['id']}", {"project": {"enabled": False}})
    unscoped = cloud.token(user["name"], "pw", scope="unscoped")
    assert cloud.get("/auth/projects", token=unscoped).json["projects"] == []
    assert cloud.get("/auth/catalog", token=unscoped).status_code == 403


def test_trees(cloud: Cloud) -> None:
    a = cloud.project("a")
    b = cloud.project("b", parent_id=a["id"])
    c = cloud.project("c", parent_id=b["id"])
    for project in (a, b, c):
        cloud.grant("member", cloud.admin_id, project["id"])
    ids = {"parents_as_ids": {b["id"]: {a["id"]: {"default": None}}}, "subtree_as_ids": None}
    for flag, expected in ids.items():
        shown = cloud.get(f"/projects/{c['id']}?{flag}").json["project"]
        assert shown[flag.partition("_")[0]] == expected
    shown = cloud.get(f"/projects/{a['id']}?subtree_as_ids=true").json["project"]
    assert shown["subtree"] == {b["id"]: {c["id"]: None}}
    listed = cloud.get(f"/projects/{a['id']}?subtree_as_list").json["project"]["subtree"]
    assert {item["project"]["name"] for item in listed} == {"b", "c"}
    assert "parents" not in cloud.get(f"/projects/{a['id']}?parents_as_ids=0").json["project"]
    assert cloud.get(f"/projects/{a['id']}?parents_as_ids&parents_as_list").status_code == 400
    assert cloud.delete(f"/projects/{a['id']}").status_code == 403
    for project in (c, b, a):
        assert cloud.delete(f"/projects/{project['id']}").status_code == 204


def test_where_a_project_can_be(cloud: Cloud) -> None:
    domain, parent = cloud.domain()["id"], cloud.project()
    assert cloud.project(parent_id=domain)["domain_id"] == domain
    for given, status in (
        ({"parent_id": "unknown"}, 400),
        ({"parent_id": parent["id"], "domain_id": domain}, 400),
        ({"parent_id": parent["id"], "is_domain": True}, 400),
        ({"parent_id": 5}, 400),
    ):
        assert cloud.post("/projects", {"project": {"name": "x", **given}}).status_code == status
    assert cloud.patch(f"/projects/{parent['id']}", {"project": {"parent_id": domain}}).status_code == 403
    assert cloud.patch(f"/projects/{parent['id']}", {"project": {"is_domain": True}}).status_code == 400
    cloud.patch(f"/projects/{parent['id']}", {"project": {"enabled": False}})
    assert cloud.post("/projects", {"project": {"name": "x", "parent_id": parent["id"]}}).status_code == 403


def test_a_tree_is_five_deep(cloud: Cloud) -> None:
    parent = cloud.project()
    for _ in range(4):
        parent = cloud.project(parent_id=parent["id"])
    assert cloud.post("/projects", {"project": {"name": "x", "parent_id": parent["id"]}}).status_code == 403


def test_a_domain_is_a_project_too(cloud: Cloud) -> None:
    shown = cloud.get("/projects/default").json["project"]
    assert (shown["is_domain"], shown["domain_id"], shown["parent_id"]) == (True, None, None)
    made = cloud.project("as-domain", is_domain=True)
    assert cloud.get(f"/domains/{made['id']}").json["domain"]["name"] == "as-domain"
    assert made["id"] in {item["id"] for item in cloud.get("/projects?is_domain=true").json["projects"]}
    assert made["id"] not in {item["id"] for item in cloud.get("/projects").json["projects"]}
    assert cloud.delete(f"/projects/{made['id']}").status_code == 403
    assert cloud.patch(f"/projects/{made['id']}", {"project": {"enabled": False}}).json["project"]["is_domain"] is True
    assert cloud.delete(f"/projects/{made['id']}").status_code == 204


def test_a_project_with_servers_can_be_deleted_after_its_users(cloud: Cloud) -> None:
    user, project, _ = cloud.someone("member")
    default = cloud.user(default_project_id=project["id"])
    assert cloud.delete(f"/users/{user['id']}").status_code == 204
    assert cloud.delete(f"/projects/{project['id']}").status_code == 204
    assert "default_project_id" not in cloud.get(f"/users/{default['id']}").json["user"]
    found = cloud.get(f"/role_assignments?scope.project.id={project['id']}").json["role_assignments"]
    assert found == []


def test_immutable(cloud: Cloud) -> None:
    for nouns, made in (("projects", cloud.project()), ("domains", cloud.domain(enabled=False))):
        path, noun = f"/{nouns}/{made['id']}", nouns[:-1]
        assert cloud.patch(path, {noun: {"options": {"immutable": True}}}).json[noun]["options"] == {"immutable": True}
        assert cloud.delete(path).status_code == 403
        assert cloud.patch(path, {noun: {"name": "x"}}).status_code == 403
        assert cloud.patch(path, {noun: {"options": {"immutable": None}}}).json[noun]["options"] == {}
        assert cloud.delete(path).status_code == 204
    assert cloud.post("/projects", {"project": {"name": "x", "options": {"unknown": 1}}}).status_code == 400
    assert cloud.post("/projects", {"project": {"name": "x", "options": None}}).status_code == 400


# --- tags ---


def test_tags(cloud: Cloud) -> None:
    path = f"/projects/{cloud.project(tags=['one'])['id']}/tags"
    assert cloud.get(path).json["tags"] == ["one"]
    assert cloud.put(path, {"tags": ["two", "three"]}).json["tags"] == ["two", "three"]
    added = cloud.put(f"{path}/four")
    assert added.status_code == 201 and added.headers["Location"].endswith(f"{path}/four")
    assert cloud.put(f"{path}/four").status_code == 201
    assert cloud.get(f"{path}/four").status_code == 204
    assert cloud.ask("HEAD", f"{path}/four").status_code == 204
    assert cloud.get(f"{path}/one").status_code == 404
    assert cloud.delete(f"{path}/two").status_code == 204
    assert cloud.delete(f"{path}/two").status_code == 404
    assert cloud.get(path).json["tags"] == ["three", "four"]
    assert cloud.delete(path).status_code == 204
    assert cloud.get(path).json["tags"] == []


def test_tags_that_are_none(cloud: Cloud) -> None:
    project = cloud.project()["id"]
    wrong: list[Any] = [5, ["a,b"], ["a/b"], [""], ["x" * 256], ["a", "a"], [5], [f"t{n}" for n in range(81)]]
    for tags in wrong:
        assert cloud.put(f"/projects/{project}/tags", {"tags": tags}).status_code == 400, tags
        assert cloud.post("/projects", {"project": {"name": "x", "tags": tags}}).status_code == 400, tags


def test_tags_are_bounded_and_guarded(cloud: Cloud) -> None:
    project = cloud.project(tags=[f"t{number}" for number in range(80)])["id"]
    assert cloud.put(f"/projects/{project}/tags/more").status_code == 400
    assert cloud.put(f"/projects/{project}/tags/a,b").status_code == 400
    assert cloud.put(f"/projects/{project}/tags/{'x' * 256}").status_code == 400
    assert cloud.get("/projects/unknown/tags").status_code == 404
    assert cloud.put("/projects/unknown/tags/x").status_code == 404
    _, own, token = cloud.someone("member")
    assert cloud.get(f"/projects/{own['id']}/tags", token=token).status_code == 200
    assert cloud.put(f"/projects/{own['id']}/tags/x", token=token).status_code == 403
    assert cloud.get(f"/projects/{project}/tags", token=token).status_code == 403


def test_lists_by_tags(cloud: Cloud) -> None:
    for name, tags in (("x", ["a"]), ("xy", ["a", "b"]), ("z", ["A", 'q"a"q'])):
        cloud.project(name, tags=tags)

    def names(query: str) -> set[str]:
        found = {item["name"] for item in cloud.get(f"/projects?{query}").json["projects"]}
        return found & {"x", "xy", "z"}

    assert names("tags=a") == {"x", "xy"}
    assert names("tags=a,b") == {"xy"}
    assert names("tags-any=b,A") == {"xy", "z"}
    assert names("not-tags=a,b") == {"x", "z"}
    assert names("not-tags-any=b,A") == {"x"}
    assert names("tags=a&not-tags=b") == {"x"}


# --- users ---


def test_a_user_as_shown(cloud: Cloud) -> None:
    project = cloud.project()["id"]
    shown = cloud.user("one", email="a@b", description="d", default_project_id=project)
    assert shown.pop("links") and shown.pop("id")
    assert shown == {
        "name": "one",
        "domain_id": "default",
        "default_project_id": project,
        "description": "d",
        "email": "a@b",
        "enabled": True,
        "options": {},
        "password_expires_at": None,
    }
    assert "default_project_id" not in cloud.user("two")


def test_changing_a_user(cloud: Cloud) -> None:
    key = cloud.user("one", email="a@b")["id"]
    changed = cloud.patch(f"/users/{key}", {"user": {"email": None, "enabled": "false", "password": None}})
    assert changed.status_code == 200
    assert (changed.json["user"]["email"], changed.json["user"]["enabled"]) == (None, False)
    assert cloud.patch(f"/users/{key}", {"user": {"default_project_id": "default"}}).status_code == 400
    assert cloud.patch(f"/users/{key}", {"user": {"default_project_id": None}}).status_code == 200
    for given in ({"enabled": "perhaps"}, {"enabled": 2}, {"email": 5}, {"description": []}, {"options": {"mfa": 1}}):
        assert cloud.patch(f"/users/{key}", {"user": given}).status_code == 400


def test_a_user_reads_and_changes_only_what_is_its_own(cloud: Cloud) -> None:
    user, _, token = cloud.someone("member")
    assert cloud.get(f"/users/{user['id']}", token=token).status_code == 200
    assert cloud.get(f"/users/{cloud.admin_id}", token=token).status_code == 403
    assert cloud.patch(f"/users/{user['id']}", {"user": {"email": "x"}}, token=token).status_code == 403
    assert cloud.get(f"/users/{user['id']}/groups", token=token).json["groups"] == []
    assert cloud.get(f"/users/{cloud.admin_id}/groups", token=token).status_code == 403


def test_changing_ones_password(cloud: Cloud) -> None:
    user, project, token = cloud.someone("member")
    path = f"/users/{user['id']}/password"
    wrong = {"user": {"original_password": "wrong", "password": "new"}}
    assert cloud.post(path, wrong, token=token).status_code == 401
    for given in ({}, {"password": "new"}, {"original_password": "pw"}, {"original_password": "pw", "password": 5}):
        assert cloud.post(path, {"user": given}, token=token).status_code == 400
    right = {"user": {"original_password": "pw", "password": "new"}}
    assert cloud.post("/users/unknown/password", right, token=token).status_code == 401
    assert cloud.post(path, right, token=token).status_code == 204
    assert cloud.login(user["name"], "pw").status_code == 401
    assert cloud.works(cloud.token(user["name"], "new", project["name"]))
    cloud.patch(f"/users/{user['id']}", {"user": {"options": {"lock_password": True}}})
    again = {"user": {"original_password": "new", "password": "newer"}}
    assert cloud.post(path, again, token="").status_code == 400
    assert cloud.get(path).status_code == 405


def test_the_administrators_password_can_be_set_by_its_owner(cloud: Cloud) -> None:
    body = {"user": {"original_password": ADMIN_PASSWORD, "password": "other"}}
    assert cloud.post(f"/users/{cloud.admin_id}/password", body).status_code == 204
    assert cloud.login("admin", "other").status_code == 201


# --- groups ---


def test_members(cloud: Cloud) -> None:
    group, user = cloud.group("g", description="d"), cloud.user()
    path = f"/groups/{group['id']}/users"
    member = f"{path}/{user['id']}"
    assert cloud.get(member).status_code == 404
    assert cloud.delete(member).status_code == 404
    for _ in range(2):
        assert cloud.put(member).status_code == 204
    assert cloud.get(member).status_code == cloud.ask("HEAD", member).status_code == 204
    assert [item["id"] for item in cloud.get(path).json["users"]] == [user["id"]]
    assert cloud.get(f"{path}?name=unknown").json["users"] == []
    mine = cloud.token(user["name"], "pw", scope="unscoped")
    assert [item["name"] for item in cloud.get(f"/users/{user['id']}/groups", token=mine).json["groups"]] == ["g"]
    assert cloud.put(f"{path}/unknown").status_code == 404
    assert cloud.put(f"/groups/unknown/users/{user['id']}").status_code == 404
    assert cloud.get("/groups/unknown/users").status_code == 404
    assert cloud.get("/users/unknown/groups").status_code == 404
    for method in ("GET", "PUT", "DELETE"):
        assert cloud.ask(method, member, token=mine).status_code == 403
    assert cloud.get(path, token=mine).status_code == 403
    assert cloud.delete(member).status_code == 204
    assert cloud.get(path).json["users"] == []


def test_roles_by_a_group(cloud: Cloud) -> None:
    group, user, project = cloud.group(), cloud.user(), cloud.project()
    place = f"/projects/{project['id']}/groups/{group['id']}/roles/{cloud.roles['member']}"
    cloud.put(f"/groups/{group['id']}/users/{user['id']}")
    assert cloud.login(user["name"], "pw", project["name"]).status_code == 401
    assert cloud.put(place).status_code == 204
    login = cloud.login(user["name"], "pw", project["name"])
    assert {role["name"] for role in login.json["token"]["roles"]} == {"member", "reader"}
    unscoped = cloud.token(user["name"], "pw", scope="unscoped")
    listed = cloud.get("/auth/projects", token=unscoped).json["projects"]
    assert [item["id"] for item in listed] == [project["id"]]
    for undo, redo in (
        (lambda: cloud.delete(place), lambda: cloud.put(place)),
        (
            lambda: cloud.delete(f"/groups/{group['id']}/users/{user['id']}"),
            lambda: cloud.put(f"/groups/{group['id']}/users/{user['id']}"),
        ),
        (lambda: cloud.delete(f"/groups/{group['id']}"), None),
    ):
        token = cloud.token(user["name"], "pw", project["name"])
        assert undo().status_code == 204
        assert not cloud.works(token)
        assert cloud.works(unscoped)
        assert cloud.login(user["name"], "pw", project["name"]).status_code == 401
        if redo:
            redo()
