# SPDX-License-Identifier: Apache-2.0
"""Bad bodies in Nova's words: what a newer Nova (34.0) answers to the same requests."""

from __future__ import annotations

from typing import Any

import falcon.testing
import pytest

from computeapi.app import create_app
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import MakeServer

NAME = "An invalid 'name' value was provided. The name must be: "
STRICT = NAME + "printable characters. Can not start or end with whitespace."
LOOSE = NAME + "printable characters with at least one non space character"


def said(answer: Any) -> str:
    """The sentence of a 400."""
    assert answer.status_code == 400, answer.text
    return str(answer.json["badRequest"]["message"])


@pytest.mark.parametrize("name", [" ", " x", "x ", "\t", "\u0007", "a\u200bb", "\u00a0a", "a\u2028b", "u/\U0001f600"])
def test_names(api: Api, admin: Api, make_server: MakeServer, body: dict[str, Any], name: str) -> None:
    server = make_server()
    assert said(api.post("/servers", {"server": {**body, "name": name}})) == STRICT
    assert said(api.post("/servers", {"server": {**body, "key_name": name}})) == STRICT
    assert said(api.put(f"/servers/{server.uuid}", {"server": {"name": name}})) == STRICT
    assert said(api.post(f"/servers/{server.uuid}/action", {"createImage": {"name": name}})) == STRICT
    assert said(api.post("/os-keypairs", {"keypair": {"name": name}})) == STRICT
    assert said(admin.post("/flavors", {"flavor": {"name": name, "ram": 1, "vcpus": 1, "disk": 0}})) == STRICT


@pytest.mark.parametrize("name", ["", " ", "\t", "\u0007", "u/\U0001f600"])
def test_names_of_v2(api: Api, make_server: MakeServer, body: dict[str, Any], name: str) -> None:
    path = f"/v2/servers/{make_server().uuid}"
    assert said(api.post("/v2/servers", {"server": {**body, "name": name}})) == LOOSE
    assert said(api.put(path, {"server": {"name": name}})) == LOOSE


@pytest.mark.parametrize("name", ["\u00e9\u4e2d", "a/b", "a b", "a\u3000b"])
def test_printable_names(api: Api, make_server: MakeServer, name: str) -> None:
    answer = api.put(f"/servers/{make_server().uuid}", {"server": {"name": name}})
    assert (answer.status_code, answer.json["server"]["name"]) == (200, name)


@pytest.mark.parametrize(
    "path", ["/v2.1/servers", "/identity/v3/auth/tokens", "/network/v2.0/ports", "/image/v2/images"]
)
def test_deep_bodies(api: Api, settings: Settings, db: Database, path: str) -> None:
    """What is nested too deep for Python's repr and for orjson.dumps is not taken in."""
    client = falcon.testing.TestClient(create_app(settings, db=db))
    for depth in (65, 300, 990):
        for begin, end in (('{"server":', "}"), ("[", "]")):
            text = begin * depth + "1" + end * depth
            said = client.simulate_post(path, body=text, headers={"X-Auth-Token": api.token})
            assert said.status_code == 400, said.text
            assert "nested more than 64 deep" in said.text


VALUES: list[tuple[str, Any, str]] = [
    ("accessIPv4", "1.2.3.4/24", "'1.2.3.4/24' is not a 'ipv4'"),
    ("accessIPv4", "", "'' is not a 'ipv4'"),
    ("accessIPv6", "fe80::1%eth0", "'fe80::1%eth0' is not a 'ipv6'"),
    ("imageRef", "nosuch", "'nosuch' is not valid under any of the given schemas"),
    (
        "config_drive",
        "y",
        "'y' is not one of [True, 'True', 'TRUE', 'true', '1', 'ON', 'On', 'on', 'YES', 'Yes', 'yes', "
        "False, 'False', 'FALSE', 'false', '0', 'OFF', 'Off', 'off', 'NO', 'No', 'no']",
    ),
]


def test_values(api: Api, body: dict[str, Any]) -> None:
    for name, value, end in VALUES:
        assert said(api.post("/servers", {"server": {**body, name: value}})) == (
            f"Invalid input for field/attribute {name}. Value: {value}. {end}"
        )


def test_networks(api: Api, body: dict[str, Any], network: str, host: str) -> None:
    def sent(item: dict[str, Any]) -> Any:
        return api.post("/servers", {"server": {**body, "networks": [item]}})

    assert said(sent({"uuid": network, "fixed_ip": "x"})) == (
        "Invalid input for field/attribute fixed_ip. Value: x. 'x' is not valid under any of the given schemas"
    )
    assert said(sent({"port": "x"})) == "Invalid input for field/attribute port. Value: x. 'x' is not a 'uuid'"
    assert said(sent({"port": None})) == "Bad network format: missing 'uuid'"
    assert sent({"uuid": network, "port": None}).status_code == 202


@pytest.mark.parametrize("reference", ["", "x"])
def test_images_of_actions(api: Api, make_server: MakeServer, reference: str) -> None:
    path = f"/servers/{make_server().uuid}/action"
    for action, name in (("rebuild", "imageRef"), ("rescue", "rescue_image_ref")):
        assert said(api.post(path, {action: {name: reference}})) == (
            f"Invalid input for field/attribute {name}. Value: {reference}. '{reference}' is not a 'uuid'"
        )


def test_what_is_missing_is_told_before_what_is_too_much(api: Api, admin: Api, make_server: MakeServer) -> None:
    path = f"/servers/{make_server().uuid}"
    assert said(api.put(path, {"other": 1})) == "'server' is a required property"
    assert said(api.post(path + "/metadata", {"meta": {"a": "b"}})) == "'metadata' is a required property"
    assert said(admin.post("/flavors", {"other": 1})) == "'flavor' is a required property"
    assert said(admin.post(path + "/action", {"os-migrateLive": {}})).endswith(
        "'block_migration' is a required property"
    )


def test_the_media_type_of_the_version_document(api: Api) -> None:
    more: dict[str, Any] = {"headers": {"Content-Type": "application/vnd.openstack.compute+json;version=2.1"}}
    answer = api._client.simulate_post(
        "/v2.1/os-keypairs",
        body=b'{"keypair": {"name": "k"}}',
        headers={"X-Auth-Token": api.token, **more["headers"]},
    )
    assert answer.status_code == 200, answer.text
