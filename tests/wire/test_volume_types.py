# SPDX-License-Identifier: Apache-2.0
"""Volume types, their extra specs, who may use them, and projects' defaults."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.block import Block, add_volume

SHOWN = {"id", "name", "is_public", "description", "os-volume-type-access:is_public", "extra_specs"}


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


@pytest.fixture
def boss(admin: Api) -> Block:
    """The API as an administrator of another project."""
    return Block(admin)


def make(boss: Block, name: str, **more: Any) -> str:
    """A type; its id."""
    return str(boss.post("/types", {"volume_type": {"name": name, **more}})["volume_type"]["id"])


def names(who: Block, query: str = "", **more: Any) -> list[str]:
    """Those in the list."""
    return sorted(each["name"] for each in who.get(f"/types{query}", **more)["volume_types"])


def test_the_default_is_there(block: Block) -> None:
    (shown,) = block.get("/types")["volume_types"]
    assert set(shown) == SHOWN and shown["name"] == "__DEFAULT__" and shown["is_public"] is True
    assert block.get("/types/default")["volume_type"] == shown
    assert block.get(f"/types/{shown['id']}", version="3.0")["volume_type"] == shown


def test_life(block: Block, boss: Block) -> None:
    body = {"name": "gold", "description": "fast", "extra_specs": {"speed": "10", "multiattach": "<is> False"}}
    made = boss.post("/types", {"volume_type": body})["volume_type"]
    assert set(made) == SHOWN and made["extra_specs"] == body["extra_specs"]
    path = f"/types/{made['id']}"
    assert set(boss.get(path)["volume_type"]) == SHOWN | {"qos_specs_id"}
    assert block.get(path)["volume_type"]["extra_specs"] == {"multiattach": "<is> False"}
    changed = boss.put(path, {"volume_type": {"name": "silver", "description": "slow", "is_public": False}})
    assert set(changed["volume_type"]) == SHOWN - {"os-volume-type-access:is_public"}
    assert (changed["volume_type"]["name"], changed["volume_type"]["is_public"]) == ("silver", False)
    assert block.refused("GET", path, status=404) == f"Volume type {made['id']} could not be found."
    boss.delete(path)
    boss.refused("GET", path, status=404)


def test_bad_bodies(block: Block, boss: Block) -> None:
    for bad in (
        {},
        {"name": ""},
        {"name": " "},
        {"name": "x" * 256},
        {"name": "x", "extra_specs": {"k": 1}},
        {"name": 1},
    ):
        boss.refused("POST", "/types", {"volume_type": bad})
    block.refused("POST", "/types", {"volume_type": {"name": "x"}}, 403)
    path = f"/types/{make(boss, 'gold')}"
    assert boss.refused("POST", "/types", {"volume_type": {"name": "gold"}}, 409) == "Volume Type gold already exists."
    make(boss, "silver")
    boss.refused("PUT", path, {"volume_type": {"name": "silver"}}, 409)
    boss.put(path, {"volume_type": {"name": "gold"}})
    assert boss.refused("PUT", path, {"volume_type": {"name": " "}}) == "Volume type name can not be empty."
    assert boss.refused("PUT", path, {"volume_type": {}}).startswith("Specify volume type name, description")
    block.refused("PUT", path, {"volume_type": {"name": "x"}}, 403)
    block.refused("DELETE", path, status=403)


def test_delete_what_is_used(block: Block, boss: Block, db: Database) -> None:
    default = block.get("/types/default")["volume_type"]["id"]
    assert "is a default volume type" in boss.refused("DELETE", f"/types/{default}")
    used = make(boss, "gold")
    add_volume(db, block, type_id=used)
    assert boss.refused("DELETE", f"/types/{used}") == "Target volume type is still in use."


def test_lists(block: Block, boss: Block) -> None:
    make(boss, "gold", extra_specs={"multiattach": "<is> True", "speed": "1"})
    private = make(boss, "private", **{"os-volume-type-access:is_public": False})
    assert names(block) == ["__DEFAULT__", "gold"] == names(boss) == names(block, "?is_public=None")
    assert names(boss, "?is_public=None") == ["__DEFAULT__", "gold", "private"]
    assert names(boss, "?is_public=False") == ["private"]
    boss.refused("GET", "/types?is_public=x")
    assert names(block, "?extra_specs={'multiattach':'<is> True'}") == ["gold"]
    assert names(boss, "?extra_specs={'speed':'1'}") == ["gold"]
    assert names(block, "?extra_specs={'speed':'1'}") == []  # it may not be known to them
    assert names(block, "?extra_specs={'multiattach':'x'}", version="3.51") == ["__DEFAULT__", "gold"]
    page = boss.get("/types?limit=1&is_public=None&sort=name:asc")
    assert [each["name"] for each in page["volume_types"]] == ["__DEFAULT__"] and page["volume_type_links"]
    assert (
        len(boss.get(f"/types?marker={page['volume_types'][0]['id']}&is_public=None&sort=name:asc")["volume_types"])
        == 2
    )
    boss.post(f"/types/{private}/action", {"addProjectAccess": {"project": block.project_id}}, 202)
    assert names(block) == ["__DEFAULT__", "gold", "private"]


def test_extra_specs(block: Block, boss: Block) -> None:
    gold = make(boss, "gold")
    path = f"/types/{gold}/extra_specs"
    assert boss.post(path, {"extra_specs": {"a": "1", "b": "2"}}) == {"extra_specs": {"a": "1", "b": "2"}}
    assert boss.get(path) == {"extra_specs": {"a": "1", "b": "2"}} and block.get(path) == {"extra_specs": {}}
    assert boss.put(f"{path}/a", {"a": "3"}) == {"a": "3"} == boss.get(f"/types/{gold}/extra_specs/a")
    block.refused("GET", f"{path}/a", status=404)
    assert boss.refused("PUT", f"{path}/a", {"b": "3"}) == "Request body and URI mismatch"
    for bad in ({}, {"a": "1", "b": "2"}, {"a": 1}, {"a b": "1"}):
        boss.refused("PUT", f"{path}/a", bad)
    boss.delete(f"{path}/a")
    assert "has no extra specs with key a." in boss.refused("DELETE", f"{path}/a", status=404)
    boss.refused("POST", path, {"extra_specs": {"k": 1}})
    block.refused("POST", path, {"extra_specs": {"k": "1"}}, 403)


def test_access(block: Block, boss: Block, host: str) -> None:
    private = make(boss, "private", **{"os-volume-type-access:is_public": False})
    path, give = f"/types/{private}/os-volume-type-access", {"project": block.project_id}
    block.refused("POST", "/volumes", {"volume": {"size": 1, "volume_type": "private"}}, 404)
    boss.post(f"/types/{private}/action", {"addProjectAccess": give}, 202)
    boss.refused("POST", f"/types/{private}/action", {"addProjectAccess": give}, 409)
    access = [{"volume_type_id": private, "project_id": block.project_id}]
    assert boss.get(path) == {"volume_type_access": access}
    assert block.create(1, volume_type="private")["volume_type_id"] == private
    block.refused("GET", path, status=403)
    boss.post(f"/types/{private}/action", {"removeProjectAccess": give}, 202)
    boss.refused("POST", f"/types/{private}/action", {"removeProjectAccess": give}, 404)
    public = make(boss, "public")
    boss.refused("GET", f"/types/{public}/os-volume-type-access", status=404)
    assert "not applicable to public volume type" in boss.refused(
        "POST", f"/types/{public}/action", {"addProjectAccess": give}
    )
    boss.refused("POST", f"/types/{private}/action", {"addProjectAccess": {}})


def test_projects_defaults(block: Block, boss: Block, host: str) -> None:
    gold, path = make(boss, "gold"), f"/default-types/{block.project_id}"
    boss.refused("GET", path, status=404)
    shown = {"default_type": {"project_id": block.project_id, "volume_type_id": gold}}
    assert boss.put(path, {"default_type": {"volume_type": "gold"}}) == shown == boss.get(path)
    assert boss.get("/default-types") == {"default_types": [shown["default_type"]]}
    assert block.get("/types/default")["volume_type"]["name"] == "gold"
    assert block.create(1)["volume_type"] == "gold"
    boss.refused("DELETE", f"/types/{gold}")
    boss.delete(path, 204)
    assert block.create(1)["volume_type"] == "__DEFAULT__"
    boss.refused("PUT", path, {"default_type": {"volume_type": str(uuid.uuid4())}}, 404)
    block.refused("PUT", path, {"default_type": {"volume_type": "gold"}}, 403)
    boss.get(path, expected=404, version="3.61")


def test_copies_have_their_sources_type(block: Block, boss: Block, db: Database, host: str) -> None:
    gold = make(boss, "gold")
    source = add_volume(db, block, type_id=gold)
    assert block.create(None, source_volid=source)["volume_type"] == "gold"
    assert block.create(None, source_volid=source, volume_type="__DEFAULT__")["volume_type"] == "__DEFAULT__"


def test_encryption(boss: Block) -> None:
    assert boss.get(f"/types/{make(boss, 'gold')}/encryption") == {}
