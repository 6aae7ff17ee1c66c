# SPDX-License-Identifier: Apache-2.0
"""A server's metadata and addresses."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import MakeServer


def _metadata(api: Api, server_id: str) -> dict[str, str]:
    found: dict[str, str] = api.get(f"/servers/{server_id}/metadata").json["metadata"]
    return found


# --- the six operations ---


def test_list_and_show(api: Api, make_server: MakeServer) -> None:
    server = make_server(metadata_json='{"key1":"välue","k:2":""}')
    assert _metadata(api, server.uuid) == {"key1": "välue", "k:2": ""}
    answer = api.get(f"/servers/{server.uuid}/metadata/key1")
    assert (answer.status_code, answer.json) == (200, {"meta": {"key1": "välue"}})
    assert api.get(f"/servers/{server.uuid}/metadata/k:2").json == {"meta": {"k:2": ""}}


def test_post_adds(api: Api, make_server: MakeServer) -> None:
    server = make_server(metadata_json='{"a":"1","b":"2"}')
    answer = api.post(f"/servers/{server.uuid}/metadata", {"metadata": {"b": "3", "c": "4"}})
    assert (answer.status_code, answer.json) == (200, {"metadata": {"a": "1", "b": "3", "c": "4"}})
    assert _metadata(api, server.uuid) == {"a": "1", "b": "3", "c": "4"}
    assert api.post(f"/servers/{server.uuid}/metadata", {"metadata": {}}).json["metadata"]["a"] == "1"
    assert api.get(f"/servers/{server.uuid}").json["server"]["metadata"] == {"a": "1", "b": "3", "c": "4"}


def test_put_replaces(api: Api, make_server: MakeServer) -> None:
    server = make_server(metadata_json='{"a":"1"}')
    answer = api.put(f"/servers/{server.uuid}/metadata", {"metadata": {"b": "2"}})
    assert (answer.status_code, answer.json) == (200, {"metadata": {"b": "2"}})
    assert _metadata(api, server.uuid) == {"b": "2"}


def test_put_item(api: Api, make_server: MakeServer) -> None:
    server = make_server(metadata_json='{"a":"1"}')
    answer = api.put(f"/servers/{server.uuid}/metadata/b", {"meta": {"b": "2"}})
    assert (answer.status_code, answer.json) == (200, {"meta": {"b": "2"}})
    assert _metadata(api, server.uuid) == {"a": "1", "b": "2"}


def test_delete_item(api: Api, make_server: MakeServer) -> None:
    server = make_server(metadata_json='{"a":"1","b":"2"}')
    answer = api.delete(f"/servers/{server.uuid}/metadata/a")
    assert (answer.status_code, answer.text) == (204, "")
    assert _metadata(api, server.uuid) == {"b": "2"}
    answer = api.delete(f"/servers/{server.uuid}/metadata/a")
    assert answer.json["itemNotFound"] == {"code": 404, "message": "Metadata item was not found"}


# --- bad input ---


def test_unknown_item(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    for key in ("nope", "%27", "a%25", "x" * 300, "é"):
        answer = api.get(f"/servers/{server.uuid}/metadata/{key}")
        assert answer.json["itemNotFound"] == {"code": 404, "message": "Metadata item was not found"}


def test_item_and_url_must_agree(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    answer = api.put(f"/servers/{server.uuid}/metadata/a", {"meta": {"b": "2"}})
    assert answer.json["badRequest"] == {"code": 400, "message": "Request body and URI mismatch"}


BAD_ITEMS: list[Any] = [
    {"": "blank"},
    {"k" * 256: "x"},
    {"a": "v" * 256},
    {"a": None},
    {"a": 1},
    {"a": ["x"]},
    {"a/b": "x"},
    {"<script>": "x"},
    {"ключ": "x"},
    {"a": "\u0000"},
    None,
    "a",
    [],
]


def test_refused_items(api: Api, make_server: MakeServer) -> None:
    for metadata in BAD_ITEMS:
        server = make_server(metadata_json='{"a":"1"}')
        for method in ("POST", "PUT"):
            answer = api.request(method, f"/servers/{server.uuid}/metadata", {"metadata": metadata})
            assert (answer.status_code, "badRequest" in answer.json) == (400, True)
        assert api.put(f"/servers/{server.uuid}/metadata/a", {"meta": metadata}).status_code == 400
        assert _metadata(api, server.uuid) == {"a": "1"}


BAD_BODIES: list[Any] = [{}, {"meta": {}}, {"metadata": {}, "more": 1}, [], "x"]


def test_refused_bodies(api: Api, make_server: MakeServer) -> None:
    for body in BAD_BODIES:
        server = make_server()
        assert api.post(f"/servers/{server.uuid}/metadata", body).status_code == 400
        assert api.put(f"/servers/{server.uuid}/metadata", body).status_code == 400


NOT_ONE: list[Any] = [{"meta": {}}, {"meta": {"a": "1", "b": "2"}}, {"metadata": {"a": "1"}}, {}]


def test_exactly_one_item(api: Api, make_server: MakeServer) -> None:
    for body in NOT_ONE:
        server = make_server()
        assert api.put(f"/servers/{server.uuid}/metadata/a", body).status_code == 400


# --- states, locks, quota ---


@pytest.mark.parametrize(("vm_state", "status"), [("stopped", 200), ("paused", 200), ("building", 409), ("error", 409)])
def test_states(api: Api, make_server: MakeServer, vm_state: str, status: int) -> None:
    server = make_server(vm_state=vm_state, metadata_json='{"a":"1"}')
    path = f"/servers/{server.uuid}/metadata"
    answer = api.post(path, {"metadata": {"b": "2"}})
    assert answer.status_code == status
    assert api.put(path, {"metadata": {"a": "2"}}).status_code == status
    assert api.put(path + "/a", {"meta": {"a": "3"}}).status_code == status
    if status == 409:
        assert answer.json["conflictingRequest"]["message"] == (
            f"Cannot 'update metadata' instance {server.uuid} while it is in vm_state {vm_state}"
        )
        answer = api.delete(path + "/a")
        assert answer.json["conflictingRequest"]["message"] == (
            f"Cannot 'delete metadata' instance {server.uuid} while it is in vm_state {vm_state}"
        )
        assert _metadata(api, server.uuid) == {"a": "1"}


def test_while_something_is_under_way(api: Api, make_server: MakeServer) -> None:
    server = make_server(task_state="rebooting")
    assert api.post(f"/servers/{server.uuid}/metadata", {"metadata": {"a": "1"}}).status_code == 200


def test_locked(api: Api, admin: Api, make_server: MakeServer) -> None:
    server = make_server(locked=1, locked_by="owner", metadata_json='{"a":"1"}')
    path = f"/servers/{server.uuid}/metadata"
    answers = [
        api.post(path, {"metadata": {}}),
        api.put(path, {"metadata": {}}),
        api.put(path + "/a", {"meta": {"a": "2"}}),
        api.delete(path + "/a"),
    ]
    for answer in answers:
        assert answer.json == {
            "conflictingRequest": {"code": 409, "message": f"Instance {server.uuid} is locked"},
        }
    assert admin.post(path, {"metadata": {"b": "2"}}).json["metadata"] == {"a": "1", "b": "2"}


def test_quota(settings: Settings, db: Database, api: Api, make_server: MakeServer) -> None:
    app = create_app(dataclasses.replace(settings, quota_metadata_items=2), db=db)
    small = Api(app, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)
    server = make_server(metadata_json='{"a":"1","b":"2"}')
    path = f"/servers/{server.uuid}/metadata"
    sentence = "Maximum number of metadata items exceeds 2"
    for answer in (
        small.post(path, {"metadata": {"c": "3"}}),
        small.put(path, {"metadata": {"c": "3", "d": "4", "e": "5"}}),
        small.put(path + "/c", {"meta": {"c": "3"}}),
    ):
        assert answer.json == {"forbidden": {"code": 403, "message": sentence}}
    assert small.post(path, {"metadata": {"a": "9"}}).status_code == 200
    assert _metadata(api, server.uuid) == {"a": "9", "b": "2"}


# --- addresses ---


def test_addresses(api: Api, make_server: MakeServer, network: str) -> None:
    server = make_server(network=network, fixed_ip="10.1.0.9")
    shown = [{"version": 4, "addr": "10.1.0.9"}]
    assert api.get(f"/servers/{server.uuid}/ips").json == {"addresses": {"private": shown}}
    assert api.get(f"/servers/{server.uuid}/ips/private").json == {"private": shown}
    answer = api.get(f"/servers/{server.uuid}/ips/public")
    assert answer.json["itemNotFound"] == {
        "code": 404,
        "message": "Instance is not a member of specified network",
    }
    assert api.get("/servers/999/ips").status_code == 404


def test_no_addresses(api: Api, make_server: MakeServer) -> None:
    assert api.get(f"/servers/{make_server().uuid}/ips").json == {"addresses": {}}
