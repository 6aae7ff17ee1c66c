# SPDX-License-Identifier: Apache-2.0
"""Flavors, their access lists and extra specs, at the documented and at the clients' paths."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import insert, update

from computeapi.db.engine import Database
from computeapi.db.models import Flavor, Project

SMALL = {"name": "small", "ram": 64, "vcpus": 1, "disk": 1, "id": "1"}
KEYS = {
    "id",
    "name",
    "ram",
    "disk",
    "swap",
    "OS-FLV-EXT-DATA:ephemeral",
    "OS-FLV-DISABLED:disabled",
    "vcpus",
    "os-flavor-access:is_public",
    "rxtx_factor",
    "links",
}
CREATE_PATHS = [
    ("/flavors", 200),
    ("/flavors/os-flavor-rxtx", 200),
    ("/flavors/os-flavor-access", 200),
    ("/flavors/os-flavor-manage", 201),
]
DETAIL_PATHS = ["/flavors/detail", "/flavors/os-flavor-rxtx/detail", "/flavors/os-flavor-access/detail"]
SORT_KEYS = ["created_at", "disabled", "ephemeral_gb", "is_public", "rxtx_factor", "swap", "updated_at"]
SHOW_PATHS = ["/flavors", "/flavors/os-flavor-rxtx", "/flavors/os-flavor-access"]
ACTION_PATHS = ["/flavors/{}/action", "/flavors/os-flavor-access/{}/action"]
SPECS_PATHS = [("/flavors/{}/os-extra_specs", 200), ("/flavors/os-flavor-extra-specs/{}", 201)]


def make(admin: Any, **changes: Any) -> dict[str, Any]:
    """A flavor, made through the API."""
    answer = admin.post("/flavors", {"flavor": SMALL | changes})
    assert answer.status_code == 200, answer.text
    flavor: dict[str, Any] = answer.json["flavor"]
    return flavor


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [flavor["id"] for flavor in answer.json["flavors"]]


def message(answer: Any, status: int, name: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json[name]["code"] == status
    text: str = answer.json[name]["message"]
    return text


@pytest.fixture
def project(db: Database) -> str:
    """A project that the identity service knows."""
    project_id = uuid.uuid4().hex
    with db.write() as conn:
        conn.execute(insert(Project), {"id": project_id, "name": project_id, "domain_id": "default"})
    return project_id


# --- create ---


@pytest.mark.parametrize(("path", "status"), CREATE_PATHS)
def test_create(admin: Any, path: str, status: int) -> None:
    body = {
        "name": "m1.tiny",
        "ram": 512,
        "vcpus": 2,
        "disk": 10,
        "id": "100",
        "OS-FLV-EXT-DATA:ephemeral": 3,
        "swap": 5,
        "rxtx_factor": 2.5,
        "os-flavor-access:is_public": False,
    }
    answer = admin.post(path, {"flavor": body})
    assert answer.status_code == status
    flavor = answer.json["flavor"]
    links = flavor.pop("links")
    assert flavor == body | {"OS-FLV-DISABLED:disabled": False}
    assert [link["rel"] for link in links] == ["self", "bookmark"]
    assert links[0]["href"].endswith("/v2.1/flavors/100")
    assert links[1]["href"].endswith("/flavors/100")
    assert "/v2.1" not in links[1]["href"]
    shown = admin.get("/flavors/100").json["flavor"]
    assert shown == flavor | {"links": links}


def test_create_with_the_least(admin: Any) -> None:
    flavor = make(admin, id=None)
    assert set(flavor) == KEYS
    assert str(uuid.UUID(flavor["id"])) == flavor["id"]
    assert flavor["swap"] == ""
    assert flavor["OS-FLV-EXT-DATA:ephemeral"] == 0
    assert flavor["rxtx_factor"] == 1.0
    assert flavor["os-flavor-access:is_public"] is True
    assert flavor["OS-FLV-DISABLED:disabled"] is False


def test_an_id_of_its_own_without_one(admin: Any) -> None:
    body = {key: value for key, value in SMALL.items() if key != "id"}
    found = admin.post("/flavors", {"flavor": body}).json["flavor"]["id"]
    assert str(uuid.UUID(found)) == found


def test_ids_that_are_fine(admin: Any) -> None:
    for given in ("auto", 7, -1, 1.5, "a b.c_d-E", "x" * 255):
        assert make(admin, id=given, name=str(given))["id"] == str(given)
        assert admin.get(f"/flavors/{given}").json["flavor"]["id"] == str(given)


def test_names_that_are_fine(admin: Any) -> None:
    for name in ("m1.tiny", "Größe 大", "a/b?c&d=%25", "<b>'; --", "x" * 255):
        flavor = make(admin, name=name, id=None)
        assert flavor["name"] == name
        assert admin.get(f"/flavors/{flavor['id']}").json["flavor"]["name"] == name


def test_numbers_may_come_as_text(admin: Any) -> None:
    flavor = make(
        admin, ram="64", vcpus="2", disk="0", swap="7", rxtx_factor="0.5", **{"OS-FLV-EXT-DATA:ephemeral": "1"}
    )
    assert (flavor["ram"], flavor["vcpus"], flavor["disk"], flavor["swap"]) == (64, 2, 0, 7)
    assert flavor["rxtx_factor"] == 0.5
    assert flavor["OS-FLV-EXT-DATA:ephemeral"] == 1


def test_is_public_may_come_as_text(admin: Any) -> None:
    for given, public in (("True", True), ("no", False), ("0", False), (True, True)):
        flavor = make(admin, id=None, name=repr(given), **{"os-flavor-access:is_public": given})
        assert flavor["os-flavor-access:is_public"] is public


_NO_NUMBER: list[Any] = [-1, "-1", 1.5, "1.5", "", "x", None, True, [1], {}]
_TOO_MUCH: list[Any] = [2**31, str(2**31), 2**63, 10**30, "9" * 9000]
BAD_FIELDS: dict[str, list[Any]] = {
    "name": ["", " ", " a", "a ", "a\nb", "a\x07", "x" * 256, 5, None, ["a"], {}, True],
    "id": ["", " 1", "1 ", "a/b", "a\n", "é", "a*b", "%", "x" * 256, True, [], {}, "1;drop table", "../x"],
    "ram": [0, "0", "000", *_NO_NUMBER, *_TOO_MUCH],
    "vcpus": [0, "0", *_NO_NUMBER, *_TOO_MUCH],
    "disk": [*_NO_NUMBER, *_TOO_MUCH],
    "swap": [*_NO_NUMBER, *_TOO_MUCH],
    "OS-FLV-EXT-DATA:ephemeral": [*_NO_NUMBER, *_TOO_MUCH],
    "rxtx_factor": [0, "0", "0.0", -1, "-1", "", "nan", "1e5", 1e39, "9" * 5000, None, [], True],
    "os-flavor-access:is_public": ["", "maybe", 1, 0, None, [], {}],
    "unknown": [1],
    "OS-FLV-DISABLED:disabled": [True],
    "description": ["not before 2.55"],
}


@pytest.mark.parametrize("field", BAD_FIELDS)
def test_create_refuses(admin: Any, field: str) -> None:
    for value in BAD_FIELDS[field]:
        message(admin.post("/flavors", {"flavor": SMALL | {field: value}}), 400, "badRequest")
    assert ids(admin.get("/flavors?is_public=None")) == []


def test_create_wants(admin: Any) -> None:
    for missing in ("name", "ram", "vcpus", "disk"):
        body = {key: value for key, value in SMALL.items() if key != missing}
        assert missing in message(admin.post("/flavors", {"flavor": body}), 400, "badRequest")


@pytest.mark.parametrize("path", [path for path, _ in CREATE_PATHS])
def test_create_refuses_bodies(admin: Any, path: str) -> None:
    for body in (None, [], "x", {}, {"flavor": None}, {"flavor": []}, {"flavor": {}}, {"flavour": SMALL}):
        message(admin.post(path, body), 400, "badRequest")


def test_create_refuses_nul(admin: Any) -> None:
    answer = admin.request(
        "POST", "/flavors", body='{"flavor": {"name": "a\\u0000"}}', headers={"Content-Type": "application/json"}
    )
    message(answer, 400, "badRequest")


def test_v2_drops_unknown_keys(admin: Any) -> None:
    answer = admin.post("/v2/flavors", {"flavor": SMALL | {"unknown": 1}})
    assert answer.status_code == 200
    assert "/v2/flavors/1" in answer.json["flavor"]["links"][0]["href"]


def test_the_same_id_or_name_twice(admin: Any) -> None:
    make(admin)
    again = admin.post("/flavors", {"flavor": SMALL | {"name": "other"}})
    assert message(again, 409, "conflictingRequest") == "Flavor with ID 1 already exists."
    again = admin.post("/flavors", {"flavor": SMALL | {"id": "2"}})
    assert message(again, 409, "conflictingRequest") == "Flavor with name small already exists."
    again = admin.post("/flavors", {"flavor": SMALL})
    assert message(again, 409, "conflictingRequest") == "Flavor with name small already exists."


@pytest.mark.parametrize("role", ["reader", "member", "manager", "service"])
def test_only_administrators_create(api: Any, role: str) -> None:
    user = api.become(role)
    for path, _ in CREATE_PATHS:
        found = message(user.post(path, {"flavor": SMALL}), 403, "forbidden")
        assert found == "Policy doesn't allow os_compute_api:os-flavor-manage:create to be performed."


# --- show ---


@pytest.mark.parametrize("path", SHOW_PATHS)
def test_show(api: Any, admin: Any, path: str) -> None:
    make(admin)
    for role in ("reader", "member", "service", "admin"):
        answer = api.become(role).get(f"{path}/1")
        assert answer.status_code == 200
        assert set(answer.json["flavor"]) == KEYS
    for flavor_id in ("nope", "%25", "_", "' or 1=1 --", "<script>", "9" * 400, "大"):
        shown = "%" if flavor_id == "%25" else flavor_id
        answer = api.get(f"{path}/{flavor_id}")
        assert message(answer, 404, "itemNotFound") == f"Flavor {shown} could not be found."


def test_links_name_the_project_as_the_url_did(api: Any, admin: Any) -> None:
    make(admin)
    links = api.get(f"/v2.1/{api.project_id}/flavors/1").json["flavor"]["links"]
    assert links[0]["href"].endswith(f"/v2.1/{api.project_id}/flavors/1")
    assert links[1]["href"].endswith(f"/{api.project_id}/flavors/1")
    assert "/v2.1" not in links[1]["href"]


def test_no_token(api: Any) -> None:
    for path in ("/flavors", "/flavors/detail", "/flavors/1", "/flavors/1/os-extra_specs", "/flavors/os-flavor-access"):
        message(api.get(path, headers={"X-Auth-Token": ""}), 401, "unauthorized")


def test_other_methods(admin: Any) -> None:
    make(admin)
    for method, path in [
        ("PUT", "/flavors/1"),
        ("PATCH", "/flavors/1"),
        ("DELETE", "/flavors"),
        ("PUT", "/flavors/detail"),
    ]:
        message(admin.request(method, path, {"flavor": SMALL}), 404, "itemNotFound")


# --- delete ---


@pytest.mark.parametrize(("path", "status"), [("/flavors", 202), ("/flavors/os-flavor-manage", 204)])
def test_delete(admin: Any, project: str, path: str, status: int) -> None:
    make(admin, **{"os-flavor-access:is_public": False})
    admin.post("/flavors/1/action", {"addTenantAccess": {"tenant": project}})
    answer = admin.delete(f"{path}/1")
    assert answer.status_code == status
    assert answer.text == ""
    assert message(admin.get("/flavors/1"), 404, "itemNotFound") == "Flavor 1 could not be found."
    assert admin.get("/flavors/os-flavor-access").json == {"flavor_access": []}
    assert message(admin.delete(f"{path}/1"), 404, "itemNotFound") == "Flavor 1 could not be found."
    make(admin)


@pytest.mark.parametrize("role", ["reader", "member", "manager"])
def test_only_administrators_delete(api: Any, admin: Any, role: str) -> None:
    make(admin)
    user = api.become(role)
    for path in ("/flavors", "/flavors/os-flavor-manage"):
        message(user.delete(f"{path}/1"), 403, "forbidden")
        message(user.delete(f"{path}/nope"), 403, "forbidden")
    assert admin.get("/flavors/1").status_code == 200


# --- lists ---


@pytest.fixture
def five(admin: Any) -> None:
    """Flavors 1 to 5: the bigger the id, the more memory and the less disk."""
    for number in range(1, 6):
        make(admin, id=str(number), name=f"n{6 - number}", ram=64 * number, disk=6 - number, vcpus=1 + number % 2)


@pytest.mark.usefixtures("five")
def test_list(api: Any) -> None:
    answer = api.get("/flavors")
    assert ids(answer) == ["1", "2", "3", "4", "5"]
    assert set(answer.json) == {"flavors"}
    assert all(set(flavor) == {"id", "name", "links"} for flavor in answer.json["flavors"])


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("path", DETAIL_PATHS)
def test_detail(api: Any, path: str) -> None:
    answer = api.get(path)
    assert ids(answer) == ["1", "2", "3", "4", "5"]
    assert all(set(flavor) == KEYS for flavor in answer.json["flavors"])
    assert answer.json["flavors"][0] == api.get("/flavors/1").json["flavor"]


def test_lists_that_are_empty(api: Any) -> None:
    for path in ["/flavors", *DETAIL_PATHS]:
        assert api.get(path).json == {"flavors": []}


FILTERS = [
    ("minRam=192", "345"),
    ("minRam=193", "45"),
    ("minRam=-5", "12345"),
    ("minRam=99999999999999999999999", ""),
    ("minRam=-99999999999999999999999", "12345"),
    ("minRam=1&minRam=320", "5"),
    ("minDisk=3", "123"),
    ("minDisk=3&minRam=128", "23"),
    ("minDisk=9223372036854775808", ""),
    ("unknown=1", "12345"),
    ("name=n1", "12345"),
    ("sort_key=memory_mb&sort_dir=desc", "54321"),
    ("sort_key=root_gb", "54321"),
    ("sort_key=name", "54321"),
    ("sort_key=vcpus", "24135"),
    ("sort_key=vcpus&sort_dir=desc", "53142"),
    ("sort_key=id&sort_dir=desc", "54321"),
    ("sort_key=description", "12345"),
    ("sort_key=vcpu_weight&sort_dir=desc", "54321"),
    ("sort_key=name&sort_key=id", "12345"),
    ("sort_dir=desc", "54321"),
    ("limit=0", ""),
    ("limit=2", "12"),
    ("limit=99999999999999999999", "12345"),
    ("marker=2", "345"),
    ("marker=5", ""),
    ("marker=4&sort_dir=desc", "321"),
    ("marker=4&limit=1&sort_key=vcpus", "1"),
    ("is_public=None", "12345"),
    ("is_public=nonsense", "12345"),
]


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("path", ["/flavors", *DETAIL_PATHS])
def test_filters(api: Any, path: str) -> None:
    for query, found in FILTERS:
        assert ids(api.get(f"{path}?{query}")) == list(found), query


@pytest.mark.usefixtures("five")
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_every_sort_key_pages_through_all(api: Any, admin: Any, direction: str) -> None:
    admin.post("/flavors/3/os-extra_specs", {"extra_specs": {"a": "b"}})  # one has an updated_at
    for key in SORT_KEYS:
        seen: list[str] = []
        path = f"/v2.1/flavors?limit=2&sort_key={key}&sort_dir={direction}"
        while path:
            answer = api.get(path)
            seen += ids(answer)
            more = answer.json.get("flavors_links")
            path = "/v2.1/" + more[0]["href"].split("/v2.1/", 1)[1] if more else ""
        assert sorted(seen) == ["1", "2", "3", "4", "5"], key


BAD_QUERIES = [
    ("minRam=x", "Invalid minRam filter [x]"),
    ("minRam=", "Invalid minRam filter []"),
    ("minRam=1.5", "Invalid minRam filter [1.5]"),
    ("minDisk=-", "Invalid minDisk filter [-]"),
    ("minDisk=" + "9" * 5000, "Invalid minDisk filter [" + "9" * 5000 + "]"),
    ("marker=nope", "marker [nope] not found"),
    ("marker=", "marker [] not found"),
    ("marker=%25", "marker [%] not found"),
    ("limit=-1", "Invalid input for query parameters limit. Value: -1. "),
    ("limit=x", "Invalid input for query parameters limit. Value: x. "),
    ("limit=", "Invalid input for query parameters limit. Value: . "),
    ("limit=1.0", "Invalid input for query parameters limit. "),
    ("sort_key=nope", "Invalid input for query parameters sort_key. Value: nope. "),
    ("sort_key=", "Invalid input for query parameters sort_key. "),
    ("sort_key=flavors.id;--", "Invalid input for query parameters sort_key. "),
    ("sort_dir=up", "Invalid input for query parameters sort_dir. Value: up. "),
    ("marker=%00", "Invalid input for query parameters"),
]


@pytest.mark.parametrize("path", ["/flavors", *DETAIL_PATHS])
def test_bad_filters(api: Any, path: str) -> None:
    for query, sentence in BAD_QUERIES:
        assert message(api.get(f"{path}?{query}"), 400, "badRequest").startswith(sentence)


def test_an_administrators_bad_filter(admin: Any) -> None:
    for path in ["/flavors", *DETAIL_PATHS]:
        answer = admin.get(f"{path}?is_public=maybe")
        assert message(answer, 400, "badRequest") == "Invalid is_public filter [maybe]"


@pytest.mark.usefixtures("five")
def test_the_next_link(api: Any) -> None:
    answer = api.get(f"/v2.1/{api.project_id}/flavors/detail?limit=2&minRam=128&unknown=1")
    (link,) = answer.json["flavors_links"]
    assert link["rel"] == "next"
    path = f"/v2.1/{api.project_id}/flavors/detail?limit=2&minRam=128&marker=3"
    assert link["href"].endswith(path)
    assert ids(api.get(path)) == ["4", "5"]
    assert "flavors_links" in api.get("/flavors?limit=5").json  # a full page has one, as Nova's
    assert "flavors_links" not in api.get("/flavors?limit=6").json
    assert "flavors_links" not in api.get("/flavors?limit=0").json
    assert "flavors_links" not in api.get("/flavors").json


# --- who sees what ---


@pytest.fixture
def mixed(admin: Any, api: Any, db: Database) -> None:
    """open: public; mine: api's project only; closed: nobody's; off: public, disabled."""
    with db.write() as conn:
        conn.execute(insert(Project), {"id": api.project_id, "name": "mine", "domain_id": "default"})
    for name in ("open", "mine", "closed", "off"):
        make(admin, id=name, name=name, **{"os-flavor-access:is_public": name in ("open", "off")})
    assert admin.post("/flavors/mine/action", {"addTenantAccess": {"tenant": api.project_id}}).status_code == 200
    with db.write() as conn:
        conn.execute(update(Flavor).where(Flavor.flavor_id == "off").values(disabled=1))


@pytest.mark.usefixtures("mixed")
def test_what_a_user_sees(api: Any, admin: Any) -> None:
    other = api.become("member")
    for query in ("", "?is_public=None", "?is_public=False", "?is_public=True"):
        assert ids(api.get("/flavors" + query)) == ["mine", "open"]
        assert ids(other.get("/flavors/detail" + query)) == ["open"]
    for path in SHOW_PATHS:
        assert api.get(f"{path}/mine").status_code == 200
        assert api.get(f"{path}/off").json["flavor"]["OS-FLV-DISABLED:disabled"] is True
        assert message(other.get(f"{path}/mine"), 404, "itemNotFound") == "Flavor mine could not be found."
        assert message(api.get(f"{path}/closed"), 404, "itemNotFound") == "Flavor closed could not be found."
    assert message(api.get("/flavors?marker=closed"), 400, "badRequest") == "marker [closed] not found"
    assert ids(api.get("/flavors?marker=mine")) == ["open"]
    message(api.get("/flavors/closed/os-extra_specs"), 404, "itemNotFound")
    message(other.get("/flavors/mine/os-extra_specs/x"), 404, "itemNotFound")


@pytest.mark.usefixtures("mixed")
def test_what_an_administrator_sees(api: Any, admin: Any) -> None:
    assert ids(admin.get("/flavors")) == ["off", "open"]
    assert ids(api.become("admin", project_id=api.project_id).get("/flavors")) == ["mine", "off", "open"]
    for word in ("None", "none", " NONE "):
        assert ids(admin.get("/flavors", params={"is_public": word})) == ["closed", "mine", "off", "open"]
    for word in ("True", "1", "yes", "on", "t"):
        assert ids(admin.get(f"/flavors/detail?is_public={word}")) == ["off", "open"]
    for word in ("False", "0", "no", "OFF", "f"):
        assert ids(admin.get(f"/flavors/detail?is_public={word}")) == ["closed", "mine"]
    assert admin.get("/flavors/closed").status_code == 200
    assert ids(admin.get("/flavors?is_public=None&marker=closed&limit=1")) == ["mine"]


# --- access lists ---


@pytest.mark.parametrize("path", ACTION_PATHS)
def test_access(admin: Any, api: Any, project: str, path: str) -> None:
    make(admin, **{"os-flavor-access:is_public": False})
    action = path.format("1")
    listed = {"flavor_access": [{"flavor_id": "1", "tenant_id": project}]}
    assert admin.get("/flavors/1/os-flavor-access").json == {"flavor_access": []}
    answer = admin.post(action, {"addTenantAccess": {"tenant": project}})
    assert (answer.status_code, answer.json) == (200, listed)
    assert admin.get("/flavors/1/os-flavor-access").json == listed
    assert admin.get("/flavors/os-flavor-access").json == listed
    again = admin.post(action, {"addTenantAccess": {"tenant": project}})
    assert message(again, 409, "conflictingRequest") == (
        f"Flavor access already exists for flavor 1 and project {project} combination."
    )
    answer = admin.post(action, {"removeTenantAccess": {"tenant": project}})
    assert (answer.status_code, answer.json) == (200, {"flavor_access": []})
    again = admin.post(action, {"removeTenantAccess": {"tenant": project}})
    assert message(again, 404, "itemNotFound") == f"Flavor access not found for 1 / {project} combination."


def test_every_access(admin: Any, api: Any, project: str) -> None:
    for flavor_id in ("b", "a"):
        make(admin, id=flavor_id, name=flavor_id, **{"os-flavor-access:is_public": False})
        admin.post(f"/flavors/{flavor_id}/action", {"addTenantAccess": {"tenant": project}})
    pairs = admin.get("/flavors/os-flavor-access").json["flavor_access"]
    assert [(pair["flavor_id"], pair["tenant_id"]) for pair in pairs] == [("a", project), ("b", project)]
    message(api.get("/flavors/os-flavor-access"), 403, "forbidden")


def test_a_public_flavor_has_no_list(admin: Any, project: str) -> None:
    make(admin)
    answer = admin.get("/flavors/1/os-flavor-access")
    assert message(answer, 404, "itemNotFound") == "Access list not available for public flavors."
    answer = admin.post("/flavors/1/action", {"addTenantAccess": {"tenant": project}})  # refused only from 2.7 on
    assert answer.json == {"flavor_access": [{"flavor_id": "1", "tenant_id": project}]}


@pytest.mark.parametrize("path", ACTION_PATHS)
def test_access_for_no_project(admin: Any, path: str) -> None:
    make(admin, **{"os-flavor-access:is_public": False})
    for tenant in ("nobody", "x" * 64, "x" * 65, "x" * 255, "%", "' or 1=1", "大"):
        answer = admin.post(path.format("1"), {"addTenantAccess": {"tenant": tenant}})
        assert message(answer, 400, "badRequest") == f"Project ID {tenant} is not a valid project."
        answer = admin.post(path.format("1"), {"removeTenantAccess": {"tenant": tenant}})
        assert message(answer, 404, "itemNotFound") == f"Flavor access not found for 1 / {tenant} combination."


@pytest.mark.parametrize("path", ACTION_PATHS)
def test_access_to_no_flavor(admin: Any, project: str, path: str) -> None:
    for action in ("addTenantAccess", "removeTenantAccess"):
        answer = admin.post(path.format("nope"), {action: {"tenant": project}})
        assert message(answer, 404, "itemNotFound") == "Flavor nope could not be found."
    message(admin.get("/flavors/nope/os-flavor-access"), 404, "itemNotFound")


BAD_ACTIONS: list[Any] = [
    {},
    [],
    {"unknown": {}},
    {"addTenantAccess": None},
    {"addTenantAccess": "x"},
    {"addTenantAccess": {}},
    {"addTenantAccess": {"tenant": ""}},
    {"addTenantAccess": {"tenant": 5}},
    {"addTenantAccess": {"tenant": None}},
    {"addTenantAccess": {"tenant": ["x"]}},
    {"addTenantAccess": {"tenant": "x" * 256}},
    {"addTenantAccess": {"tenant": "x", "more": 1}},
    {"addTenantAccess": {"tenant": "x"}, "removeTenantAccess": {"tenant": "x"}},
    {"removeTenantAccess": {}},
    {"removeTenantAccess": {"tenant": {}}},
]


@pytest.mark.parametrize("path", ACTION_PATHS)
def test_bad_actions(admin: Any, path: str) -> None:
    make(admin, **{"os-flavor-access:is_public": False})
    for body in BAD_ACTIONS:
        message(admin.post(path.format("1"), body), 400, "badRequest")


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("role", ["reader", "member", "manager"])
def test_only_administrators_change_access(api: Any, role: str) -> None:
    user = api.become(role, project_id=api.project_id)
    for flavor_id in ("open", "mine", "closed", "nope"):
        for path in ACTION_PATHS:
            for action in ("addTenantAccess", "removeTenantAccess"):
                message(user.post(path.format(flavor_id), {action: {"tenant": api.project_id}}), 403, "forbidden")
        message(user.get(f"/flavors/{flavor_id}/os-flavor-access"), 403, "forbidden")


# --- extra specs ---


@pytest.mark.parametrize(("path", "status"), SPECS_PATHS)
def test_extra_specs(admin: Any, api: Any, path: str, status: int) -> None:
    make(admin)
    path = path.format("1")
    assert api.get(path).json == {"extra_specs": {}}
    answer = admin.post(path, {"extra_specs": {"hw:cpu policy": "shared", "n": 2}})
    assert answer.status_code == status
    assert answer.json == {"extra_specs": {"hw:cpu policy": "shared", "n": 2}}
    answer = admin.post(path, {"extra_specs": {"n": 1.5, "_-.": ""}})
    assert answer.json == {"extra_specs": {"n": 1.5, "_-.": ""}}
    assert api.get(path).json == {"extra_specs": {"hw:cpu policy": "shared", "n": "1.5", "_-.": ""}}
    assert api.get(path + "/n").json == {"n": "1.5"}
    assert api.get(path + "/hw:cpu policy").json == {"hw:cpu policy": "shared"}
    answer = admin.put(path + "/n", {"n": "three"})
    assert (answer.status_code, answer.json) == (200, {"n": "three"})
    assert admin.put(path + "/new", {"new": 4}).json == {"new": 4}
    answer = admin.delete(path + "/n")
    assert (answer.status_code, answer.text) == (200, "")
    assert api.get(path).json == {"extra_specs": {"hw:cpu policy": "shared", "_-.": "", "new": "4"}}
    for method, body in (("GET", None), ("DELETE", None)):
        answer = admin.request(method, path + "/n", body)
        assert message(answer, 404, "itemNotFound") == "Flavor 1 has no extra specs with key n."
    assert admin.post(path, {"extra_specs": {}}).json == {"extra_specs": {}}


def test_extra_specs_by_many_at_once(admin: Any) -> None:
    make(admin)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: admin.post("/flavors/1/os-extra_specs", {"extra_specs": {f"k{n}": "v"}}), range(8)))
    assert set(admin.get("/flavors/1/os-extra_specs").json["extra_specs"]) == {f"k{n}" for n in range(8)}


def test_one_name_by_many_at_once(admin: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        ask = [SMALL | {"id": str(n)} for n in range(8)]
        found = sorted(pool.map(lambda flavor: admin.post("/flavors", {"flavor": flavor}).status_code, ask))
    assert found == [200] + [409] * 7


def test_v2_limits_the_names_of_extra_specs_too(admin: Any) -> None:
    make(admin)
    for body in ({"extra_specs": {"a/b": "v"}}, {"extra_specs": {"k": {"x": 1}}}):
        message(admin.post("/v2/flavors/1/os-extra_specs", body), 400, "badRequest")
    message(admin.put("/v2/flavors/1/os-extra_specs/a b*", {"a b*": "v"}), 400, "badRequest")
    assert admin.post("/v2/flavors/1/os-extra_specs", {"extra_specs": {"k": "v"}}).status_code == 200


def test_v2_strips_names(admin: Any) -> None:
    answer = admin.post("/v2/flavors", {"flavor": SMALL | {"name": " a b "}})
    assert answer.json["flavor"]["name"] == "a b"
    message(admin.post("/v2/flavors", {"flavor": SMALL | {"name": "  "}}), 400, "badRequest")
    message(admin.post("/v2/flavors", {"flavor": SMALL | {"ram": "x"}}), 400, "badRequest")


def test_the_largest_flavor(admin: Any) -> None:
    most = 2**31 - 1
    flavor = make(admin, ram=most, vcpus=most, disk=most, swap=most, rxtx_factor=3.40282e38)
    assert admin.get("/flavors/1").json["flavor"] == flavor
    assert ids(admin.get(f"/flavors?minRam={most}&minDisk={most}")) == ["1"]
    assert ids(admin.get(f"/flavors?minRam={most + 1}")) == []
    assert ids(admin.get("/flavors?sort_key=rxtx_factor&marker=1")) == []


@pytest.mark.parametrize(("path", "_status"), SPECS_PATHS)
def test_extra_specs_of_no_flavor(admin: Any, path: str, _status: int) -> None:
    path = path.format("nope")
    for answer in (
        admin.get(path),
        admin.get(path + "/k"),
        admin.post(path, {"extra_specs": {"k": "v"}}),
        admin.put(path + "/k", {"k": "v"}),
        admin.delete(path + "/k"),
    ):
        assert message(answer, 404, "itemNotFound") == "Flavor nope could not be found."


BAD_SPECS: list[Any] = [
    {"": "v"},
    {"a/b": "v"},
    {"k\n": "v"},
    {"é": "v"},
    {"k" * 256: "v"},
    {"k": None},
    {"k": True},
    {"k": []},
    {"k": {}},
    {"k": "v" * 256},
]


@pytest.mark.parametrize(("path", "_status"), SPECS_PATHS)
def test_bad_extra_specs(admin: Any, path: str, _status: int) -> None:
    make(admin)
    for specs in [*BAD_SPECS, None, [], "x", 5]:
        message(admin.post(path.format("1"), {"extra_specs": specs}), 400, "badRequest")
        message(admin.post(path.format("1"), {"extra_specs": {"good": "v"}, "more": specs}), 400, "badRequest")
    assert admin.get(path.format("1")).json == {"extra_specs": {}}


@pytest.mark.parametrize(("path", "_status"), SPECS_PATHS)
def test_bad_updates_of_an_extra_spec(admin: Any, path: str, _status: int) -> None:
    make(admin)
    path = path.format("1")
    bodies: list[Any] = [
        *[bad | {} for bad in BAD_SPECS],
        {},
        [],
        None,
        "x",
        {"k": "v", "l": "w"},
        {"extra_specs": {"k": "v"}},
    ]
    for body in bodies:
        message(admin.put(path + "/k", body), 400, "badRequest")
    mismatch = admin.put(path + "/other", {"k": "v"})
    assert message(mismatch, 400, "badRequest") == "Request body and URI mismatch"
    assert admin.get(path).json == {"extra_specs": {}}


@pytest.mark.parametrize(("path", "_status"), SPECS_PATHS)
@pytest.mark.parametrize("role", ["reader", "member", "manager"])
def test_who_may_do_what_with_extra_specs(api: Any, admin: Any, path: str, _status: int, role: str) -> None:
    make(admin)
    path, user = path.format("1"), api.become(role)
    admin.post(path, {"extra_specs": {"k": "v"}})
    assert user.get(path).json == {"extra_specs": {"k": "v"}}
    assert user.get(path + "/k").json == {"k": "v"}
    for answer in (
        user.post(path, {"extra_specs": {"k": "w"}}),
        user.put(path + "/k", {"k": "w"}),
        user.delete(path + "/k"),
    ):
        message(answer, 403, "forbidden")
    assert user.get(path).json == {"extra_specs": {"k": "v"}}


@pytest.mark.parametrize(("path", "_status"), SPECS_PATHS)
def test_a_role_that_may_read_nothing(api: Any, admin: Any, path: str, _status: int) -> None:
    make(admin)
    service = api.become("service")
    message(service.get(path.format("1")), 403, "forbidden")
    message(service.get(path.format("1") + "/k"), 403, "forbidden")


def test_extra_specs_of_v2_let_other_keys_pass(admin: Any) -> None:
    make(admin)
    answer = admin.post("/v2/flavors/1/os-extra_specs", {"extra_specs": {"k": "v"}, "other": 1})
    assert (answer.status_code, answer.json) == (200, {"extra_specs": {"k": "v"}})
    refused = admin.post("/v2/flavors/1/os-extra_specs", {"extra_specs": {"a/b": "v"}})
    assert message(refused, 400, "badRequest").endswith(
        "'a/b' does not match any of the regexes: '^[a-zA-Z0-9-_:. ]{1,255}$'"
    )
