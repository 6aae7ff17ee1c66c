# SPDX-License-Identifier: Apache-2.0
"""The client of a real Neutron, against our own Networking API over HTTP."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from computeapi import errors
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.network import load
from computeapi.backends.network.neutron import Neutron
from computeapi.context import Context, with_implied
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.other_network import OtherNetwork, other_network

NOTHING = str(uuid.uuid4())


def someone(*roles: str) -> Context:
    """A user of a project of its own."""
    return Context("", uuid.uuid4().hex, uuid.uuid4().hex, with_implied(roles or ("member",)))


@pytest.fixture
def other(settings: Settings, tmp_path: Path) -> Iterator[OtherNetwork]:
    """The Neutron."""
    with other_network(settings, tmp_path / "other") as cloud:
        yield cloud


def test_a_thing_s_life(other: OtherNetwork) -> None:
    me, neutron = someone(), other.neutron
    made = neutron.create(me, "network", {"name": "one"})
    assert (made["name"], made["project_id"]) == ("one", me.project_id)
    assert neutron.show(me, "network", made["id"])["id"] == made["id"]
    assert neutron.update(me, "network", made["id"], {"name": "two"})["name"] == "two"
    assert [each["name"] for each in neutron.find(me, "network", {"name": "two"})] == ["two"]
    assert neutron.find(me, "network", {"name": "two"}, fields=["name"]) == [{"id": made["id"], "name": "two"}]
    neutron.delete(me, "network", made["id"])
    with pytest.raises(errors.NotFound) as caught:
        neutron.show(me, "network", made["id"])
    assert caught.value.kind == "NetworkNotFound"


def test_words_with_a_dash(other: OtherNetwork) -> None:
    me = someone()
    group = other.neutron.create(me, "security_group", {"name": "web"})
    assert {each["name"] for each in other.neutron.find(me, "security_group")} == {"default", "web"}
    rule = {"security_group_id": group["id"], "direction": "ingress", "protocol": "tcp"}
    made = other.neutron.create(me, "security_group_rule", rule)
    assert other.neutron.find(me, "security_group_rule", {"id": made["id"]}) == [made]


def test_who_asks(other: OtherNetwork) -> None:
    me, stranger = someone(), someone()
    network = other.neutron.create(me, "network", {"name": "mine"})["id"]
    assert other.neutron.find(stranger, "network", {"id": network}) == []
    assert len(other.neutron.find(stranger, "network", {"id": network}, as_service=True)) == 1
    with pytest.raises(errors.NotFound):
        other.neutron.show(stranger, "network", network)


def test_many_values_and_pages(other: OtherNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    me, neutron = someone(), other.neutron
    ids = [neutron.create(me, "network", {"name": f"n{number}"})["id"] for number in range(5)]
    asked = [*ids, *(str(uuid.uuid4()) for _ in range(150))]
    assert {each["id"] for each in neutron.find(me, "network", {"id": asked})} == set(ids)
    assert neutron.find(me, "network", {"id": []}) == []
    assert len(neutron.find(me, "network", {"id": asked}, limit=3)) == 3
    ask = Neutron.ask

    def short(self: Neutron, context: Context, method: str, path: str, *more: Any, **named: Any) -> Any:
        if method == "GET":
            named["params"] = [pair for pair in named.get("params", ()) if pair[0] != "limit"] + [("limit", "2")]
        return ask(self, context, method, path, *more, **named)

    monkeypatch.setattr(Neutron, "ask", short)
    assert sorted(each["id"] for each in neutron.find(me, "network", {"project_id": str(me.project_id)})) == sorted(ids)


def test_errors(other: OtherNetwork) -> None:
    me, neutron = someone(), other.neutron
    for wrong in ("../networks", "x/y", "", "é"):
        with pytest.raises(errors.NotFound):
            neutron.show(me, "network", wrong)
    with pytest.raises(errors.BadRequest):
        neutron.create(me, "subnet", {"network_id": NOTHING})
    with pytest.raises(errors.NotFound):
        neutron.create(me, "port", {"network_id": NOTHING})
    other.admin.put(f"/network/v2.0/quotas/{me.project_id}", {"quota": {"network": 0}})
    with pytest.raises(errors.QuotaExceeded):
        neutron.create(me, "network", {"name": "one too many"})


def test_no_neutron() -> None:
    away = Neutron("http://127.0.0.1:1", lambda: "service", lambda _context: "user")
    with pytest.raises(errors.Unavailable):
        away.create(someone(), "network", {})
    nobody = Neutron("http://127.0.0.1:1", lambda: "", lambda _context: "")
    for as_service in (False, True):
        with pytest.raises(errors.Unauthorized):
            nobody.find(someone(), "network", as_service=as_service)


def test_a_service_user_that_is_unknown_is_the_operators_fault(other: OtherNetwork) -> None:
    unknown = Neutron(other.url, lambda: "x", lambda _context: "x")
    with pytest.raises(errors.Unavailable, match="service user"):
        unknown.find(someone(), "network", as_service=True)
    with pytest.raises(errors.Unauthorized):
        unknown.find(someone(), "network")


def test_the_settings_choose(settings: Settings) -> None:
    assert load(settings) is None
    assert isinstance(load(replace(settings, network_url="http://127.0.0.1:1")), Neutron)


def test_the_embedded_api_is_off_and_says_where_the_other_is(settings: Settings, db: Database) -> None:
    outside = replace(settings, network_url="http://network.example.org:9696")
    codec = TokenCodec(settings.secret("tokens"))
    api = Api(create_app(outside, db=db), codec, ("member",), uuid.uuid4().hex, uuid.uuid4().hex)
    for path in ("/network", "/network/v2.0", "/network/v2.0/networks", "/network/v2.0/ports/x"):
        answer = api.get(path)
        assert answer.status_code == 404
        assert "it answers at http://network.example.org:9696" in answer.text
    urls = {each["type"]: each["endpoints"][0]["url"] for each in api.get("/identity/v3/auth/catalog").json["catalog"]}
    assert urls["network"] == "http://network.example.org:9696"
