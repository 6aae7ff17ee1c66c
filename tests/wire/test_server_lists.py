# SPDX-License-Identifier: Apache-2.0
"""GET /servers and /servers/detail: filters, sorting, pages, and who sees what."""

from __future__ import annotations

import itertools
import uuid
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from sqlalchemy import event

from computeapi.db.engine import Database
from computeapi.db.queries import addresses
from tests.conftest import Api
from tests.wire.conftest import MakeServer


def _names(api: Api, query: str = "", path: str = "/servers") -> list[str]:
    answer = api.get(f"{path}?{query}" if query else path)
    assert answer.status_code == 200, answer.text
    return [server["name"] for server in answer.json["servers"]]


def _refused(api: Api, query: str, status: int = 400) -> str:
    messages = set()
    for path in ("/servers", "/servers/detail"):
        answer = api.get(f"{path}?{query}")
        assert answer.status_code == status, (path, query, answer.text)
        (fault,) = answer.json.values()
        messages.add(fault["message"])
    (message,) = messages
    return str(message)


# --- what is listed ---


def test_brief(api: Api, make_server: MakeServer) -> None:
    server = make_server(name="web")
    base = "http://falconframework.org"
    assert api.get("/servers").json == {
        "servers": [
            {
                "id": server.uuid,
                "name": "web",
                "links": [
                    {"rel": "self", "href": f"{base}/v2.1/servers/{server.uuid}"},
                    {"rel": "bookmark", "href": f"{base}/servers/{server.uuid}"},
                ],
            }
        ]
    }


@pytest.mark.parametrize("version", ["2.1", "2.3"])
def test_detail_shows_what_show_shows(api: Api, admin: Api, make_server: MakeServer, version: str) -> None:
    server = make_server()
    for asker, query in ((api, ""), (admin, "?all_tenants=1")):
        (listed,) = asker.get(f"/servers/detail{query}", version=version).json["servers"]
        assert listed == asker.get(f"/servers/{server.uuid}", version=version).json["server"]


def test_nothing(api: Api) -> None:
    for path in ("/servers", "/servers/detail"):
        assert api.get(path).json == {"servers": []}


def test_newest_first(api: Api, make_server: MakeServer) -> None:
    for name in ("a", "b", "c"):
        make_server(name=name)
    assert _names(api) == ["c", "b", "a"]
    assert _names(api, path="/servers/detail") == ["c", "b", "a"]


@pytest.mark.parametrize("path", ["/servers?limit=1000", "/servers/detail?limit=1000", "/servers/detail?name=a"])
def test_a_list_is_one_statement(api: Api, make_server: MakeServer, db: Database, path: str) -> None:
    make_server(name="a")
    make_server(name="ab")
    api.get(path)
    statements: list[str] = []
    event.listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert len(api.get(path).json["servers"]) == 2
    assert len(statements) == 1, statements


# --- who sees what ---


def test_only_ones_own(api: Api, admin: Api, make_server: MakeServer) -> None:
    stranger = api.become("member")
    make_server(name="mine")
    make_server(name="theirs", owner=stranger)
    assert _names(api) == ["mine"]
    assert _names(stranger) == ["theirs"]
    assert _names(admin) == []
    for query in (
        f"tenant_id={stranger.project_id}",
        f"project_id={stranger.project_id}",
        "user_id=" + stranger.user_id,
    ):
        assert _names(api, query) == ["mine"]
        assert _names(admin, query) == []


@pytest.mark.parametrize("path", ["/servers", "/servers/detail"])
def test_of_all_projects(api: Api, admin: Api, make_server: MakeServer, path: str) -> None:
    stranger = api.become("member")
    make_server(name="mine")
    make_server(name="theirs", owner=stranger)
    for value in ("1", "True", "", "yes"):
        assert _names(admin, f"all_tenants={value}", path) == ["theirs", "mine"]
    assert _names(admin, "all_tenants=0", path) == []
    assert _names(admin, f"all_tenants=1&tenant_id={api.project_id}", path) == ["mine"]
    assert _names(admin, f"all_tenants=1&project_id={stranger.project_id}", path) == ["theirs"]
    assert _names(admin, f"all_tenants=1&user_id={stranger.user_id}", path) == ["theirs"]
    assert _names(admin, "all_tenants=1&tenant_id=nobody", path) == []


def test_of_all_projects_is_for_administrators(api: Api, make_server: MakeServer) -> None:
    make_server(name="mine")
    for path, rule in (("/servers", "index"), ("/servers/detail", "detail")):
        answer = api.get(path + "?all_tenants=1")
        message = f"Policy doesn't allow os_compute_api:servers:{rule}:get_all_tenants to be performed."
        assert answer.json == {"forbidden": {"code": 403, "message": message}}
        assert _names(api, "all_tenants=False", path) == ["mine"]
    assert "Unrecognized value 'maybe'" in _refused(api, "all_tenants=maybe")


# --- filters ---


@pytest.fixture
def zoo(api: Api, make_server: MakeServer) -> None:
    """Servers that differ in everything that one may filter by."""
    make_server(
        name="web-1",
        hostname="web-1",
        image_id="image-a",
        flavor_id="1",
        reservation_id="r-aaaaaaaa",
        host="alpha",
        node="node-alpha",
        key_name="first",
        user_id="u1",
        updated_at="2026-01-01T00:00:00.000000",
        disk_config="AUTO",
        config_drive="True",
    )
    make_server(
        name="web-2",
        hostname="web-2",
        image_id="image-b",
        flavor_id="2",
        reservation_id="r-bbbbbbbb",
        host="beta",
        vm_state="stopped",
        power_state=4,
        user_id="u2",
        updated_at="2026-02-01T00:00:00.000000",
    )
    make_server(name="Db_1%", vm_state="error", task_state=None, updated_at="2026-03-01T00:00:00.000000")
    make_server(name="busy", task_state="rebooting", updated_at="2026-04-01T00:00:00.000000")
    make_server(name="gone", vm_state="deleted", deleted=1, updated_at="2026-05-01T00:00:00.000000")
    make_server(name="going", vm_state="soft-delete", updated_at="2026-06-01T00:00:00.000000")


OPEN_FILTERS: list[tuple[str, list[str]]] = [
    ("name=web", ["web-2", "web-1"]),
    ("name=^web-1$", ["web-1"]),
    ("name=^b", ["busy"]),
    ("name=b", ["busy", "Db_1%", "web-2", "web-1"]),
    ("name=[0-9]", ["Db_1%", "web-2", "web-1"]),
    (r"name=^.*\-[0-9]%2B$", ["web-2", "web-1"]),
    ("name=WEB", []),
    ("name=%25", ["Db_1%"]),
    ("name=_", ["Db_1%"]),
    ("name=web%7Cbusy", ["busy", "web-2", "web-1"]),
    ("name=nothing&name=busy", ["busy"]),
    ("image=image-a", ["web-1"]),
    ("image=image", []),
    ("flavor=2", ["web-2"]),
    ("flavor=nope", []),
    ("reservation_id=r-bbbbbbbb", ["web-2"]),
    ("status=ACTIVE", ["web-1"]),
    ("status=active", ["web-1"]),
    ("status=SHUTOFF", ["web-2"]),
    ("status=ERROR", ["Db_1%"]),
    ("status=REBOOT", ["busy"]),
    ("status=SHUTOFF&status=error", ["Db_1%", "web-2"]),
    ("status=nonsense&status=error", ["Db_1%"]),
    ("status=nonsense", []),
    ("status=", []),
    ("name=web&status=SHUTOFF", ["web-2"]),
    ("changes-since=2026-03-15T00:00:00Z", ["going", "gone", "busy"]),
    ("changes-since=2026-05-01T02:00:00%2B02:00", ["going", "gone"]),
    ("changes-since=2036-01-01", []),
]


@pytest.mark.usefixtures("zoo")
def test_filters_for_everybody(api: Api) -> None:
    for query, names in OPEN_FILTERS:
        assert _names(api, query) == names, query
        assert _names(api, query, "/servers/detail") == names


ADMIN_FILTERS: list[tuple[str, list[str]]] = [
    ("host=alpha", ["web-1"]),
    ("host=alph", []),
    ("node=^node", ["web-1"]),
    ("hostname=web", ["web-2", "web-1"]),
    ("vm_state=stopped", ["web-2"]),
    ("vm_state=stopped&status=error", ["Db_1%"]),
    ("task_state=rebooting", ["busy"]),
    ("power_state=4", ["web-2"]),
    ("key_name=first", ["web-1"]),
    ("user_id=u2", ["web-2"]),
    ("image_ref=image-b", ["web-2"]),
    ("display_name=busy", ["busy"]),
    ("launch_index=7", []),
    ("auto_disk_config=1", ["web-1"]),
    ("config_drive=True", ["web-1"]),
    ("created_at=^2", ["busy", "Db_1%", "web-2", "web-1"]),
    ("terminated_at=x", []),
    ("deleted=True", ["going", "gone"]),
    ("deleted=True&soft_deleted=", ["gone"]),
    ("deleted=False&soft_deleted=1", ["going", "busy", "Db_1%", "web-2", "web-1"]),
    ("deleted=nonsense", ["busy", "Db_1%", "web-2", "web-1"]),
    ("status=deleted", ["gone"]),
    ("status=SOFT_DELETED&deleted=1", ["going"]),
    ("status=SOFT_DELETED", []),
    ("unknown=1", ["busy", "Db_1%", "web-2", "web-1"]),
]


@pytest.mark.usefixtures("zoo")
def test_filters_for_administrators(api: Api) -> None:
    for query, names in ADMIN_FILTERS:
        admin = api.become("admin", project_id=api.project_id)
        assert _names(admin, query) == names, query
        assert _names(admin, query, "/servers/detail") == names


IGNORED: list[str] = [
    "host=alpha",
    "node=x",
    "vm_state=stopped",
    "task_state=rebooting",
    "user_id=u2",
    "deleted=True",
    "key_name=first",
    "uuid=x",
    "unknown=1",
    "metadata=x",
    "ip6=zz",
    "power_state=9",
    "_id=1",
    "project_id=x",
]


@pytest.mark.usefixtures("zoo")
def test_other_filters_of_other_people_are_ignored(api: Api) -> None:
    for query in IGNORED:
        assert _names(api, query) == ["busy", "Db_1%", "web-2", "web-1"], query


def test_filters_by_id(api: Api, admin: Api, make_server: MakeServer) -> None:
    server = make_server(name="this")
    make_server(name="other")
    assert _names(admin, f"all_tenants=1&uuid={server.uuid}") == ["this"]


def test_the_deleted_are_for_administrators(api: Api) -> None:
    assert _refused(api, "status=deleted", 403) == "Only administrators may list deleted instances"


REFUSED_FILTERS: list[str] = ["metadata", "services", "system_metadata", "info_cache", "security_groups", "_x"]


def test_refused_filters(admin: Api) -> None:
    for name in REFUSED_FILTERS:
        assert _refused(admin, f"{name}=1") == f"Invalid filter field: {name}."


def test_addresses(api: Api, admin: Api, make_server: MakeServer, network: str, db: Database) -> None:
    with db.write() as conn:
        six = addresses.create_network(conn, name="six", cidr="fd00::/64", shared=True)
    make_server(name="one", network=network, fixed_ip="10.1.0.11")
    make_server(name="two", network=network, fixed_ip="10.1.0.12")
    make_server(name="six", network=six, fixed_ip="fd00::6")
    stranger = api.become("member")
    make_server(name="theirs", owner=stranger, network=network, fixed_ip="10.1.0.13")
    assert _names(api, "ip=10.1.0.11") == ["one"]
    assert _names(api, "ip=10.1.0.") == ["two", "one"]
    assert _names(api, "ip=0.11") == []
    assert _names(api, r"ip=10\.1\.0\.1[1-9]", "/servers/detail") == ["two", "one"]
    assert _names(api, "ip=192.168") == []
    assert _names(api, "ip=f") == []
    assert _names(stranger, "ip=10") == ["theirs"]
    assert _names(admin, "all_tenants=1&ip6=fd00") == ["six"]
    assert _names(admin, "all_tenants=1&ip6=fd00&ip=10.1.0.12") == ["six", "two"]


BAD_QUERIES: list[str] = [
    "name=[",
    "name=(",
    "name=*",
    "name=a**",
    "name=(%3F%3Da)",
    r"name=\1",
    "name=a{2,1}",
    "name=" + "(" * 5000,
    "name=" + "a*" * 3000,
    "name=a{99999999999}",
    "name=((((a{1,99}){1,99}){1,99}){1,99})",
    "name=%00",
    "reservation_id=[",
    "ip=[",
    "changes-since=2011/01/01",
    "changes-since=yesterday",
    "changes-since=",
    "changes-since=0001-01-01T00:00:00%2B23:00",
    "limit=-1",
    "limit=x",
    "limit=1.5",
    "limit=",
    "limit=" + "9" * 5000,
    "marker=x",
    "marker=" + "9" * 100,
    "marker=" + str(uuid.uuid4()),
    "sort_key=nope",
    "sort_key=project_id%3Bdrop",
    "sort_dir=up",
    "sort_key=display_name&sort_dir=asc&sort_dir=asc",
]


def test_bad_queries(api: Api) -> None:
    for query in BAD_QUERIES:
        _refused(api, query)


def test_bad_queries_in_novas_words(api: Api) -> None:
    assert _refused(api, "limit=-1") == (
        "Invalid input for query parameters limit. Value: -1. '-1' does not match '^[0-9]*$'"
    )
    assert _refused(api, "marker=gone") == "marker [gone] not found"
    for name in ("name", "ip", "ip6", "access_ip_v4", "display_name"):  # of filters that are not looked at as well
        assert _refused(api, f"{name}=%5B") == (
            f"Invalid input for query parameters {name}. Value: [. '[' is not a 'regex'"
        )
    assert _refused(api, "name=") == "Invalid input for query parameters name. Value: . '' is not a 'regex'"
    assert _refused(api, "name=" + "(" * 400).startswith("Invalid input for query parameters name.")
    assert "512 characters" in _refused(api, "name=" + "(" * 5000)
    assert _refused(api, "name=%FF") == _refused(api, "%FF=1") == "Query string is not UTF-8 encoded"
    assert _refused(api, "sort_key=x").endswith(
        "'uuid', 'vm_state', 'architecture', 'cell_name', 'cleaned', "
        "'default_ephemeral_device', 'default_swap_device', 'deleted', 'deleted_at', 'disable_terminate', "
        "'ephemeral_gb', 'ephemeral_key_uuid', 'id', 'key_data', 'launched_on', 'locked', 'memory_mb', 'os_type', "
        "'reservation_id', 'root_gb', 'shutdown_terminate', 'user_data', 'vcpus', 'vm_mode']"
    )
    assert "must be 'desc' or 'asc'" in _refused(api, "sort_dir=up")


@pytest.mark.parametrize(
    "text", ["' OR 1=1 --", "%", "\\", "<x>&amp;", "né", "a" * 2000, "$(id)", "../../etc", "\ufffd"]
)
def test_odd_but_harmless(api: Api, make_server: MakeServer, text: str) -> None:
    make_server()
    for name in ("image", "flavor", "reservation_id", "unknown"):
        answer = api.get(f"/servers?{name}={quote(text)}")
        is_no_pattern = text == "\\" and name in ("flavor", "reservation_id")
        assert answer.status_code == (400 if is_no_pattern else 200), name


def test_a_pattern_that_never_ends_ends(api: Api, make_server: MakeServer) -> None:
    make_server(name="a" * 250)
    for pattern in ("(a%2B)%2B$b", "(a*)*x", "(a%7Ca)*b", ".*.*.*.*.*.*.*.*="):
        assert _names(api, f"name={pattern}") == []


# --- pages ---


def _pages(api: Api, path: str, query: str) -> list[str]:
    """Names on all pages, by their `next` links."""
    names: list[str] = []
    url = f"{path}?{query}"
    for _ in range(20):
        answer = api.get(url).json
        names += [server["name"] for server in answer["servers"]]
        links = answer.get("servers_links")
        if not links:
            return names
        assert [link["rel"] for link in links] == ["next"]
        parts = urlsplit(links[0]["href"])
        assert parts.path == "/v2.1" + path
        assert "marker" in parse_qs(parts.query)
        url = f"{path}?{parts.query}"
    raise AssertionError("pages without end")


@pytest.mark.parametrize("path", ["/servers", "/servers/detail"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 7])
def test_pages_hold_everything_once(api: Api, make_server: MakeServer, path: str, limit: int) -> None:
    stranger = api.become("member")
    for number in range(5):  # all of one moment
        make_server(name=f"s{number}", created_at="2026-11-23T14:00:00.000000")
        make_server(name="theirs", owner=stranger, created_at="2026-11-23T14:00:00.000000")
    assert _pages(api, path, f"limit={limit}") == ["s4", "s3", "s2", "s1", "s0"]
    assert _pages(api, path, f"limit={limit}&name=s[0-3]&sort_key=display_name&sort_dir=asc") == [
        "s0",
        "s1",
        "s2",
        "s3",
    ]


def test_pages_of_each_sort_key(api: Api, make_server: MakeServer) -> None:
    """Columns that may be empty, falling and rising, with equals."""
    for number, key_name in enumerate((None, "b", None, "a", "b", None, "")):
        make_server(
            name=f"s{number}", key_name=key_name, launched_at=None if number % 2 else "2026-01-01T00:00:00.000000"
        )
    keys = ("key_name", "launched_at", "display_name", "power_state", "task_state", "uuid", "created_at", "image_ref")
    for key, direction, second in itertools.product(keys, ("asc", "desc"), (None, "key_name")):
        query = f"sort_key={key}&sort_dir={direction}" + (f"&sort_key={second}&sort_dir=asc" if second else "")
        everything = _names(api, query)
        assert sorted(everything) == [f"s{number}" for number in range(7)]
        assert _pages(api, "/servers", query + "&limit=2") == everything, query


def test_sorting(api: Api, make_server: MakeServer) -> None:
    for name, user in (("b", "u1"), ("a", "u2"), ("c", "u1")):
        make_server(name=name, user_id=user, host=name)
    assert _names(api, "sort_key=display_name") == ["c", "b", "a"]
    assert _names(api, "sort_key=display_name&sort_dir=asc") == ["a", "b", "c"]
    assert _names(api, "sort_dir=asc") == ["b", "a", "c"]
    assert _names(api, "sort_key=user_id&sort_dir=asc&sort_key=display_name&sort_dir=desc") == ["c", "b", "a"]
    assert _names(api, "sort_key=vcpus&sort_dir=asc&sort_key=display_name&sort_dir=desc") == ["c", "b", "a"]
    assert _names(api, "sort_key=memory_mb&sort_dir=asc") == ["c", "a", "b"]
    assert _refused(api, "sort_key=host", 403) == "Only administrators can sort servers by host"
    admin = api.become("admin", project_id=api.project_id)
    assert _names(admin, "sort_key=host&sort_dir=asc") == ["a", "b", "c"]


def test_limits(api: Api, make_server: MakeServer) -> None:
    for number in range(3):
        make_server(name=f"s{number}")
    assert api.get("/servers?limit=0").json == {"servers": []}
    assert len(_names(api, "limit=2")) == 2
    assert len(_names(api, "limit=100000")) == 3
    assert len(_names(api, "limit=" + "9" * 30)) == 3
    assert "servers_links" not in api.get("/servers?limit=4").json


def test_a_marker_of_another_project(api: Api, admin: Api, make_server: MakeServer) -> None:
    stranger = api.become("member")
    make_server(name="mine")
    theirs = make_server(name="theirs", owner=stranger)
    assert _refused(api, f"marker={theirs.uuid}") == f"marker [{theirs.uuid}] not found"
    assert _names(admin, f"all_tenants=1&marker={theirs.uuid}") == ["mine"]


def test_a_marker_that_was_deleted(api: Api, make_server: MakeServer) -> None:
    make_server(name="older")
    marker = make_server(deleted=1, vm_state="deleted")
    make_server(name="newer")
    assert _names(api, f"marker={marker.uuid}") == ["older"]


def test_the_next_page_keeps_the_filters(api: Api, make_server: MakeServer) -> None:
    for number in range(3):
        make_server(name=f"s{number}")
    answer: dict[str, Any] = api.get("/servers?limit=1&name=s&unknown=1&status=ACTIVE").json
    query = parse_qs(urlsplit(answer["servers_links"][0]["href"]).query)
    assert query == {"limit": ["1"], "name": ["s"], "status": ["ACTIVE"], "marker": [answer["servers"][0]["id"]]}


def test_an_empty_marker_is_none(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    for path in ("/servers?marker=", "/servers/detail?marker="):
        assert [item["id"] for item in api.get(path).json["servers"]] == [server.uuid]
