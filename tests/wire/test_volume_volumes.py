# SPDX-License-Identifier: Apache-2.0
"""Volumes of the Block Storage API."""

from __future__ import annotations

import uuid
from typing import Any
from urllib.parse import quote

import pytest

from computeapi import clock
from computeapi.db.engine import Database
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.block import Block, add_attachment, add_volume
from tests.wire.conftest import add_image

BASE = {
    "id", "status", "size", "availability_zone", "created_at", "updated_at", "name", "description", "volume_type",
    "snapshot_id", "source_volid", "metadata", "links", "user_id", "bootable", "encrypted", "replication_status",
    "consistencygroup_id", "multiattach", "attachments",
}  # fmt: skip
SHOWN = BASE | {"os-vol-tenant-attr:tenant_id"}
ADMINS = {
    "migration_status", "os-vol-host-attr:host", "os-vol-mig-status-attr:migstat", "os-vol-mig-status-attr:name_id",
}  # fmt: skip
SINCE = {
    "3.13": {"group_id"},
    "3.48": {"shared_targets", "service_uuid"},
    "3.63": {"volume_type_id"},
    "3.65": {"consumes_quota"},
}
ADMINS_SINCE = {"3.21": {"provider_id"}, "3.61": {"cluster_name"}}


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


@pytest.fixture
def boss(admin: Api) -> Block:
    """The API as an administrator of another project."""
    return Block(admin)


# --- create ---


def test_create_and_what_becomes_of_it(block: Block, compute: Compute) -> None:
    made = block.create(2, name=" data ", description="all of it", metadata={"k": "v"})
    assert set(made) == BASE | set().union(*SINCE.values())
    assert (made["status"], made["size"], made["name"], made["description"]) == ("creating", 2, "data", "all of it")
    assert made["metadata"] == {"k": "v"} and made["bootable"] == "false" and made["attachments"] == []
    assert made["volume_type"] == "__DEFAULT__" and made["user_id"] == block.user_id
    compute.work()
    shown = block.get(f"/volumes/{made['id']}")["volume"]
    assert shown["status"] == "available"
    assert f"volume-{made['id']}" in compute.driver.list_volumes()


def test_create_from_what_there_is(block: Block, compute: Compute) -> None:
    first = block.create(2)["id"]
    compute.work()
    copied = block.create(None, source_volid=first)
    assert copied["size"] == 2 and copied["source_volid"] == first
    snapshot = block.post("/snapshots", {"snapshot": {"volume_id": first}}, 202)["snapshot"]["id"]
    compute.work()
    larger = block.create(3, snapshot_id=snapshot)
    assert larger["size"] == 3 and larger["snapshot_id"] == snapshot
    compute.work()
    assert [each["status"] for each in block.get("/volumes/detail")["volumes"]] == ["available"] * 3
    assert "smaller" in block.refused("POST", "/volumes", {"volume": {"size": 1, "snapshot_id": snapshot}})
    assert "smaller" in block.refused("POST", "/volumes", {"volume": {"size": 1, "source_volid": first}})


def test_create_from_an_image(block: Block, compute: Compute, base_image: str) -> None:
    made = block.create(1, imageRef=base_image)
    compute.work()
    shown = block.get(f"/volumes/{made['id']}")["volume"]
    assert (shown["status"], shown["bootable"]) == ("available", "true")
    kept = shown["volume_image_metadata"]
    assert kept["image_id"] == base_image and kept["hw_disk_bus"] == "virtio" and kept["min_ram"] == "64"
    assert block.create(1, imageRef="base")["bootable"] == "true"  # by name
    assert block.create(1, image_id=base_image)["bootable"] == "true"


@pytest.mark.parametrize(
    ("image", "sentence"),
    [
        ({"size": 3 * 1024**3}, "Size of specified image 3GB is larger than volume size 1GB."),
        ({"min_disk": 2}, "Volume size 1GB cannot be smaller than the image minDisk size 2GB."),
        ({"status": "queued"}, "is not active."),
    ],
)
def test_images_that_do_not_fit(block: Block, db: Database, host: str, image: Any, sentence: str) -> None:
    image_id = add_image(db, **image)
    assert sentence in block.refused("POST", "/volumes", {"volume": {"size": 1, "imageRef": image_id}})


def test_images_that_are_none(block: Block, db: Database, host: str) -> None:
    for name in (str(uuid.uuid4()), "nothing", "http://example.org/images/x"):
        said = block.refused("POST", "/volumes", {"volume": {"size": 1, "imageRef": name}})
        assert said == "Invalid image identifier or unable to access requested image."
    add_image(db, name="two")
    add_image(db, name="two")
    assert "Multiple matches" in block.refused("POST", "/volumes", {"volume": {"size": 1, "imageRef": "two"}}, 409)


@pytest.mark.parametrize(
    "volume",
    [
        {},
        {"size": 0},
        {"size": -1},
        {"size": "x"},
        {"size": 1.5},
        {"size": 2**31},
        {"size": 1, "name": "x" * 256},
        {"size": 1, "name": 1},
        {"size": 1, "metadata": {"k": 1}},
        {"size": 1, "metadata": {"": "v"}},
        {"size": 1, "metadata": {"k": "v" * 256}},
        {"size": 1, "snapshot_id": "x"},
        {"size": 1, "availability_zone": "nowhere"},
        {"size": 1, "multiattach": True},
        {"size": 1, "unknown": 1},
    ],
)
def test_bad_bodies(block: Block, host: str, volume: Any) -> None:
    block.refused("POST", "/volumes", {"volume": volume})


def test_unknown_keys_are_let_pass_before_3_53(block: Block, host: str) -> None:
    block.post("/volumes", {"volume": {"size": "1", "unknown": 1}}, 202, version="3.52")
    block.refused("POST", "/volumes", {"volume": {"size": 1}, "more": 1}, version="3.0")


def test_sources_that_are_not_there(block: Block, host: str) -> None:
    nothing = str(uuid.uuid4())
    for key, what in (
        ("snapshot_id", "Snapshot"),
        ("source_volid", "Volume"),
        ("group_id", "Group"),
        ("backup_id", "Backup"),
    ):
        said = block.refused("POST", "/volumes", {"volume": {"size": 1, key: nothing}}, 404)
        assert said == f"{what} {nothing} could not be found."
    said = block.refused("POST", "/volumes", {"volume": {"size": 1, "volume_type": "gold"}}, 404)
    assert said == "Volume type gold could not be found."
    two = {"size": 1, "snapshot_id": nothing, "source_volid": nothing}
    assert "only one of" in block.refused("POST", "/volumes", {"volume": two})


def test_no_host(block: Block) -> None:
    made = block.create(1)
    assert block.get(f"/volumes/{made['id']}")["volume"]["status"] == "error"
    block.delete(f"/volumes/{made['id']}")
    block.get(f"/volumes/{made['id']}", expected=404)


def test_quota(block: Block, boss: Block, host: str) -> None:
    path = f"/os-quota-sets/{block.project_id}"
    boss.put(path, {"quota_set": {"volumes": 1, "gigabytes": 5, "per_volume_gigabytes": 4}})
    answer = block.answer("POST", "/volumes", {"volume": {"size": 5}})
    assert answer.status_code == 413 and "larger than maximum" in answer.json["overLimit"]["message"]
    assert answer.json["overLimit"]["retryAfter"] == "0"
    block.create(4)
    assert "exceeds allowed gigabytes quota" in block.refused("POST", "/volumes", {"volume": {"size": 2}}, 413)
    said = block.refused("POST", "/volumes", {"volume": {"size": 1}}, 413)
    assert said == "Maximum number of volumes allowed (1) exceeded for quota 'volumes'."


# --- what is seen ---


def test_fields_by_version_and_role(block: Block, boss: Block, db: Database) -> None:
    volume_id = add_volume(db, block, name="v")
    seen, admins = set(SHOWN), SHOWN | ADMINS
    for version in ("3.0", "3.13", "3.21", "3.48", "3.61", "3.63", "3.65", "3.67"):
        seen |= SINCE.get(version, set())
        admins |= SINCE.get(version, set()) | ADMINS_SINCE.get(version, set())
        assert set(block.get(f"/volumes/{volume_id}", version=version)["volume"]) == seen, version
        shown = boss.get(f"/volumes/{volume_id}", version=version)["volume"]
        assert set(shown) == admins, version
        assert shown["os-vol-host-attr:host"] == "host1@local#default"
    assert set(block.get("/volumes/detail", version="3.0")["volumes"][0]) == SHOWN
    assert set(block.get("/volumes")["volumes"][0]) == {"id", "name", "links"}


def test_links_have_the_project_if_the_url_has(block: Block, db: Database) -> None:
    volume_id = add_volume(db, block)
    with_project = block.get(f"/{block.project_id}/volumes/{volume_id}")["volume"]["links"]
    assert with_project[0]["href"].endswith(f"/volume/v3/{block.project_id}/volumes/{volume_id}")
    without = block.get(f"/volumes/{volume_id}")["volume"]["links"]
    assert without == [
        {"rel": "self", "href": f"http://falconframework.org/volume/v3/volumes/{volume_id}"},
        {"rel": "bookmark", "href": f"http://falconframework.org/volume/volumes/{volume_id}"},
    ]
    assert block.refused("GET", f"/{uuid.uuid4().hex}/volumes") == "Malformed request url"


def test_attachments_of_volumes(block: Block, boss: Block, db: Database) -> None:
    volume_id = add_volume(db, block, status="in-use")
    attachment = add_attachment(db, block, volume_id)
    add_attachment(db, block, add_volume(db, block, status="reserved"), status="reserved")
    volumes = block.get("/volumes/detail?sort=created_at:asc")["volumes"]
    (shown,) = volumes[0]["attachments"]
    assert volumes[1]["attachments"] == []
    assert shown["attachment_id"] == attachment and shown["device"] == "/dev/vdb" and shown["host_name"] is None
    assert set(shown) == {"id", "attachment_id", "volume_id", "server_id", "host_name", "device", "attached_at"}


def test_others_volumes(block: Block, boss: Block, db: Database) -> None:
    volume_id = add_volume(db, block)
    other = Block(block.api.become("member"))
    for method in ("GET", "DELETE"):
        assert other.refused(method, f"/volumes/{volume_id}", status=404) == f"Volume {volume_id} could not be found."
    other.refused("PUT", f"/volumes/{volume_id}", {"volume": {"name": "x"}}, 404)
    assert other.get("/volumes") == {"volumes": []} == other.get("/volumes?all_tenants=1")
    reader = Block(block.api.become("reader", project_id=block.project_id))
    reader.get(f"/volumes/{volume_id}")
    reader.refused("DELETE", f"/volumes/{volume_id}", status=403)
    reader.refused("POST", "/volumes", {"volume": {"size": 1}}, 403)
    assert boss.get("/volumes") == {"volumes": []}
    assert [each["id"] for each in boss.get("/volumes?all_tenants=True")["volumes"]] == [volume_id]
    assert boss.get(f"/volumes?all_tenants=1&project_id={other.project_id}") == {"volumes": []}


# --- lists ---


@pytest.fixture
def five(block: Block, db: Database) -> list[str]:
    """Volumes 0 to 4, one a second."""
    return [
        add_volume(
            db,
            block,
            name=f"v{number}",
            size_gb=5 - number,
            status="available" if number % 2 else "error",
            bootable=number % 2,
            metadata_json='{"a":"1","b":"x"}' if number == 3 else "{}",
            created_at=clock.shifted(number - 100),
        )
        for number in range(5)
    ]


def names(block: Block, query: str, **more: Any) -> list[str]:
    """The names in a list."""
    return [each["name"] for each in block.get(f"/volumes?{query}", **more)["volumes"]]


def test_sorting(block: Block, five: list[str]) -> None:
    assert names(block, "") == ["v4", "v3", "v2", "v1", "v0"]
    assert names(block, "sort=size:asc") == ["v4", "v3", "v2", "v1", "v0"]
    assert names(block, "sort_key=size&sort_dir=desc") == ["v0", "v1", "v2", "v3", "v4"]
    assert names(block, "sort=status:asc,name:asc") == ["v1", "v3", "v0", "v2", "v4"]
    assert names(block, "sort=description,name:asc") == ["v0", "v1", "v2", "v3", "v4"]  # NULLs are alike
    for bad in ("sort=x", "sort=name:up", "sort_key=x", "sort=name&sort_dir=asc"):
        block.refused("GET", f"/volumes?{bad}")


@pytest.mark.parametrize("order", ["", "&sort=status:asc", "&sort=description:desc", "&sort=size:asc"])
def test_pages(block: Block, five: list[str], order: str) -> None:
    whole, seen, marker = names(block, order.lstrip("&")), [], ""
    for size in (2, 2, 1):
        page = block.get(f"/volumes?limit=2{marker}{order}")
        assert len(page["volumes"]) == size
        seen += [each["name"] for each in page["volumes"]]
        assert ("volumes_links" in page) == (size == 2)
        marker = f"&marker={page['volumes'][-1]['id']}"
    assert seen == whole
    assert names(block, "limit=2&offset=3" + order) == whole[3:]
    assert names(block, "limit=0" + order) == []


def test_links_of_pages(block: Block, five: list[str]) -> None:
    page = block.get("/volumes/detail?limit=2&status=error")
    href = page["volumes_links"][0]["href"]
    assert "/volume/v3/volumes/detail?" in href and f"marker={page['volumes'][1]['id']}" in href
    assert "limit=2" in href and "status=error" in href


def test_bad_pages(block: Block, five: list[str]) -> None:
    assert block.refused("GET", "/volumes?limit=x") == "limit param must be an integer"
    assert block.refused("GET", "/volumes?limit=-1") == "limit param must be positive"
    block.refused("GET", "/volumes?offset=x")
    nothing = str(uuid.uuid4())
    assert block.refused("GET", f"/volumes?marker={nothing}", status=404) == f"Volume {nothing} could not be found."


def test_filters(block: Block, boss: Block, five: list[str]) -> None:
    assert names(block, "name=v1") == ["v1"]
    assert names(block, "status=error") == ["v4", "v2", "v0"]
    assert names(block, "bootable=true") == ["v3", "v1"]
    assert names(block, "size=5") == ["v0"] and names(block, "size=x") == []
    assert names(block, "metadata={'a':'1'}") == ["v3"] == names(block, "metadata={'b':'x','a':'1'}")
    assert names(block, "metadata={'a':'x'}") == []
    assert names(block, "name~=V") == ["v4", "v3", "v2", "v1", "v0"]
    made = [each["created_at"] for each in block.get("/volumes/detail?sort=name:asc")["volumes"]]
    assert names(block, f"created_at=gt:{made[1]}") == ["v4", "v3", "v2"]
    assert names(block, f"created_at=gte:{made[1]},lt:{made[3]}") == ["v2", "v1"]
    assert names(block, f"created_at=neq:{made[0]}") == ["v4", "v3", "v2", "v1"]
    assert names(block, "created_at=x", version="3.59") == ["v4", "v3", "v2", "v1", "v0"]
    assert names(block, "availability_zone=nova&consumes_quota=true") == ["v4", "v3", "v2", "v1", "v0"]
    assert names(block, "consumes_quota=false") == [] == names(block, "group_id=x")
    for bad in ("{[]:1}", "{'a':{[]}}", "{{}}", "{'a':'\\ud800'}", "[" * 900):
        block.refused("GET", f"/volumes?metadata={quote(bad)}")
    for bad in ("bootable=maybe", "metadata=x", "created_at=x", "created_at=gt:x", "created_at=near:2026-01-01"):
        block.refused("GET", f"/volumes?{bad}")


def test_unknown_filters(block: Block, boss: Block, five: list[str]) -> None:
    assert names(block, "host=x", version="3.30") == ["v4", "v3", "v2", "v1", "v0"]
    assert block.refused("GET", "/volumes?host=x") == "Invalid filters host are found in query options."
    assert names(boss, "all_tenants=1&host=host1&status=error") == ["v4", "v2", "v0"]
    assert names(boss, "all_tenants=1&colour=red") == []
    boss.refused("GET", "/volumes?all_tenants=maybe")


def test_count_and_summary(block: Block, five: list[str]) -> None:
    page = block.get("/volumes?limit=2&with_count=True&status=error")
    assert page["count"] == 3 and len(page["volumes"]) == 2
    assert "count" not in block.get("/volumes?with_count=True", version="3.44")
    assert block.get("/volumes/summary", version="3.12") == {"volume-summary": {"total_count": 5, "total_size": 15}}
    assert block.get("/volumes/summary")["volume-summary"]["metadata"] == {"a": ["1"], "b": ["x"]}
    block.get("/volumes/summary", version="3.11", expected=404)


# --- change and delete ---


def test_update(block: Block, db: Database) -> None:
    path = f"/volumes/{add_volume(db, block, name='v', description='d')}"
    shown = block.put(path, {"volume": {"name": " new ", "metadata": {"k": "v"}}})["volume"]
    assert (shown["name"], shown["description"], shown["metadata"]) == ("new", "d", {"k": "v"})
    assert "os-vol-tenant-attr:tenant_id" not in shown
    assert block.put(path, {"volume": {"display_name": "old", "display_description": None}})["volume"]["name"] == "old"
    assert block.get(path)["volume"]["description"] is None
    for bad in ({}, {"size": 2}, {"name": "x" * 256}, {"metadata": {"k": None}}):
        block.refused("PUT", path, {"volume": bad})
    block.put(path, {"volume": {}}, version="3.52")


def test_delete(block: Block, compute: Compute) -> None:
    made = block.create(1)["id"]
    compute.work()
    block.delete(f"/volumes/{made}")
    assert block.get(f"/volumes/{made}")["volume"]["status"] == "deleting"
    compute.work()
    block.get(f"/volumes/{made}", expected=404)
    assert compute.driver.list_volumes() == []


def test_delete_what_is_used(block: Block, boss: Block, db: Database) -> None:
    volume_id = add_volume(db, block, status="in-use")
    add_attachment(db, block, volume_id)
    for who, query in ((block, ""), (boss, "?force=True")):
        assert who.refused("DELETE", f"/volumes/{volume_id}{query}").startswith("Invalid volume: Volume status must be")
    block.refused("DELETE", f"/volumes/{volume_id}?cascade=maybe")


def test_delete_with_snapshots(block: Block, compute: Compute) -> None:
    made = block.create(1)["id"]
    compute.work()
    block.post("/snapshots", {"snapshot": {"volume_id": made}}, 202)
    compute.work()
    assert "have snapshots" in block.refused("DELETE", f"/volumes/{made}")
    block.delete(f"/volumes/{made}?cascade=True")
    assert block.get("/snapshots")["snapshots"][0]["status"] == "deleting"
    compute.work()
    assert block.get("/volumes") == {"volumes": []} and block.get("/snapshots") == {"snapshots": []}
    assert compute.driver.list_volumes() == []


def test_force_delete(block: Block, boss: Block, db: Database, host: str) -> None:
    volume_id = add_volume(db, block, status="extending")
    block.refused("DELETE", f"/volumes/{volume_id}")
    block.refused("DELETE", f"/volumes/{volume_id}?force=True", status=403)
    boss.refused("DELETE", f"/volumes/{volume_id}?force=True", version="3.22")
    boss.delete(f"/volumes/{volume_id}?force=True")
    assert block.get(f"/volumes/{volume_id}")["volume"]["status"] == "deleting"


def test_encryption(block: Block, db: Database) -> None:
    assert block.get(f"/volumes/{add_volume(db, block)}/encryption") == {"encryption_key_id": None}


# --- metadata ---


@pytest.mark.parametrize("noun", ["volumes", "snapshots"])
def test_metadata(block: Block, compute: Compute, noun: str) -> None:
    thing = block.create(1)["id"]
    compute.work()
    if noun == "snapshots":
        thing = block.post("/snapshots", {"snapshot": {"volume_id": thing}}, 202)["snapshot"]["id"]
    path = f"/{noun}/{thing}/metadata"
    assert block.get(path) == {"metadata": {}}
    assert block.post(path, {"metadata": {"a": "1", "b": "2"}}) == {"metadata": {"a": "1", "b": "2"}}
    assert block.post(path, {"metadata": {"b": "3"}}) == {"metadata": {"a": "1", "b": "3"}}
    assert block.put(f"{path}/a", {"meta": {"a": "4"}}) == {"meta": {"a": "4"}}
    assert block.get(f"{path}/a") == {"meta": {"a": "4"}}
    block.delete(f"{path}/a", 200)
    assert "no metadata with key a" in block.refused("GET", f"{path}/a", status=404)
    block.refused("DELETE", f"{path}/a", status=404)
    assert block.put(path, {"metadata": {"c": "5"}}) == {"metadata": {"c": "5"}}
    assert block.get(f"/{noun}/{thing}")[noun[:-1]]["metadata"] == {"c": "5"}
    assert block.refused("PUT", f"{path}/x", {"meta": {"y": "1"}}) == "Request body and URI mismatch"
    assert block.refused("PUT", f"{path}/x", {"meta": {"x": "1", "y": "1"}}) == "Request body contains too many items"
    for bad in ({}, {"metadata": {"k": 1}}, {"metadata": []}):
        block.refused("POST", path, bad)
    Block(block.api.become("member")).refused("GET", path, status=404)


def test_etags(block: Block, db: Database) -> None:
    path = f"/volumes/{add_volume(db, block)}/metadata"
    tag = block.answer("GET", path).headers["ETag"]
    assert "ETag" not in block.answer("GET", path, version="3.14").headers
    block.put(path, {"metadata": {"k": "1"}}, headers={"If-Match": tag})
    for method, where, body in (
        ("PUT", path, {"metadata": {"k": "2"}}),
        ("PUT", path + "/k", {"meta": {"k": "2"}}),
        ("DELETE", path + "/k", None),
    ):
        assert block.answer(method, where, body, headers={"If-Match": tag}).status_code == 412
    assert block.get(path) == {"metadata": {"k": "1"}}
    block.put(path, {"metadata": {"k": "2"}}, headers={"If-Match": "*"})
