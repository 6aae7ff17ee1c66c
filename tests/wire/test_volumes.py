# SPDX-License-Identifier: Apache-2.0
"""os-volumes and os-snapshots, with a simulated host that keeps the files."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.backends.volume.base import NewVolume
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.settings import Settings
from computeapi.virt.base import HypervisorError
from tests.cloud import Compute
from tests.conftest import Api

KEYS = {
    *("id", "status", "size", "availabilityZone", "createdAt", "attachments", "displayName", "displayDescription"),
    *("volumeType", "snapshotId", "metadata"),
}
SNAPSHOT_KEYS = {"id", "volumeId", "status", "size", "createdAt", "displayName", "displayDescription"}


def make(api: Api, compute: Compute, **more: Any) -> str:
    """A volume that is there; its id."""
    answer = api.post("/os-volumes", {"volume": {"size": 1, "display_name": "data", **more}})
    assert answer.status_code == 200, answer.text
    compute.work()
    return str(answer.json["volume"]["id"])


def status(api: Api, volume_id: str) -> str:
    answer = api.get(f"/os-volumes/{volume_id}")
    return str(answer.json["volume"]["status"]) if answer.status_code == 200 else "gone"


def test_create_show_list_delete(api: Api, compute: Compute) -> None:
    body = {
        "size": "2",
        "display_name": "data",
        "display_description": "what I keep",
        "metadata": {"purpose": "test"},
        "availability_zone": "nova",
    }
    answer = api.post("/os-volumes", {"volume": body})
    assert answer.status_code == 200, answer.text
    made = answer.json["volume"]
    assert set(made) == KEYS
    assert (made["status"], made["size"], made["metadata"]) == ("creating", 2, {"purpose": "test"})
    assert made["attachments"] == [{}]
    assert answer.headers["location"].endswith(f"/os-volumes/{made['id']}")
    compute.work()
    shown = api.get(f"/os-volumes/{made['id']}").json["volume"]
    assert shown == {**made, "status": "available"}
    assert compute.driver.virtual_size(f"volume-{made['id']}") == 2 << 30
    for path in ("/os-volumes", "/os-volumes/detail"):
        assert api.get(path).json == {"volumes": [shown]}
    assert api.delete(f"/os-volumes/{made['id']}").status_code == 202
    assert status(api, made["id"]) == "deleting"
    assert api.delete(f"/os-volumes/{made['id']}").status_code == 202
    compute.work()
    assert api.get(f"/os-volumes/{made['id']}").status_code == 404
    assert compute.driver.list_volumes() == []


def test_pages(api: Api, compute: Compute) -> None:
    ids = [make(api, compute) for _ in range(3)][::-1]

    def listed(query: str) -> list[str]:
        return [each["id"] for each in api.get(f"/os-volumes?{query}").json["volumes"]]

    assert listed("") == ids
    assert listed("limit=2") == ids[:2]
    assert listed("limit=1&offset=1") == ids[1:2]
    assert listed("offset=9") == []
    assert api.get("/os-volumes?limit=x").status_code == 400
    assert api.get("/os-volumes?offset=-1").status_code == 400


def test_another_project_sees_nothing(api: Api, compute: Compute) -> None:
    volume_id = make(api, compute)
    snapshot = api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).json["snapshot"]["id"]
    other = api.become("member")
    assert other.get("/os-volumes").json == {"volumes": []}
    assert other.get("/os-snapshots").json == {"snapshots": []}
    for method, url in (
        ("GET", f"/os-volumes/{volume_id}"),
        ("DELETE", f"/os-volumes/{volume_id}"),
        ("GET", f"/os-snapshots/{snapshot}"),
        ("DELETE", f"/os-snapshots/{snapshot}"),
    ):
        assert other.request(method, url).status_code == 404, url
    assert other.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 404
    assert other.post("/os-volumes", {"volume": {"size": 1, "snapshot_id": snapshot}}).status_code == 404


def test_readers_read_only(api: Api, compute: Compute) -> None:
    volume_id = make(api, compute)
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(f"/os-volumes/{volume_id}").status_code == 200
    assert reader.get("/os-snapshots/detail").status_code == 200
    assert reader.post("/os-volumes", {"volume": {"size": 1}}).status_code == 403
    assert reader.delete(f"/os-volumes/{volume_id}").status_code == 403
    assert reader.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 403


@pytest.mark.parametrize(
    "volume",
    [
        {},
        {"size": 0},
        {"size": "0"},
        {"size": -1},
        {"size": "big"},
        {"size": 1, "colour": "red"},
        {"size": 1, "metadata": {"a": 1}},
        {"size": 1, "metadata": None},
        {"size": 1, "display_name": None},
        {"size": 1, "display_description": None},
        {"size": 1, "volume_type": None},
        {"size": 1, "snapshot_id": None},
        {"size": 1, "availability_zone": None},
        {"size": 2**40},
        {"size": 1, "availability_zone": "nowhere"},
    ],
)
def test_bad_volumes(api: Api, compute: Compute, volume: dict[str, Any]) -> None:
    assert api.post("/os-volumes", {"volume": volume}).status_code == 400


def test_what_is_not_there(api: Api, compute: Compute) -> None:
    nowhere = str(uuid.uuid4())
    for method, url in (
        ("GET", f"/os-volumes/{nowhere}"),
        ("DELETE", f"/os-volumes/{nowhere}"),
        ("GET", "/os-volumes/no-id"),
        ("GET", f"/os-snapshots/{nowhere}"),
        ("DELETE", f"/os-snapshots/{nowhere}"),
    ):
        answer = api.request(method, url)
        assert answer.status_code == 404, url
        assert "could not be found" in answer.json["itemNotFound"]["message"]
    assert api.post("/os-volumes", {"volume": {"size": 1, "snapshot_id": nowhere}}).status_code == 404
    assert api.post("/os-volumes", {"volume": {"size": 1, "volume_type": "gold"}}).status_code == 404
    for volume_id in (nowhere, "no-id", "x" * 256):
        assert api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 404


def test_snapshots(api: Api, compute: Compute) -> None:
    volume_id = make(api, compute, size=2)
    body = {"volume_id": volume_id, "display_name": "moment", "display_description": "before", "force": False}
    answer = api.post("/os-snapshots", {"snapshot": body})
    assert answer.status_code == 200, answer.text
    made = answer.json["snapshot"]
    assert set(made) == SNAPSHOT_KEYS
    assert (made["status"], made["size"], made["volumeId"]) == ("creating", 2, volume_id)
    compute.work()
    shown = api.get(f"/os-snapshots/{made['id']}").json["snapshot"]
    assert shown == {**made, "status": "available"}
    for path in ("/os-snapshots", "/os-snapshots/detail"):
        assert api.get(path).json == {"snapshots": [shown]}
    assert api.delete(f"/os-volumes/{volume_id}").status_code == 400, "it has a snapshot"
    smaller = api.post("/os-volumes", {"volume": {"size": 1, "snapshot_id": made["id"]}})
    assert smaller.status_code == 400
    copy = make(api, compute, size=3, snapshot_id=made["id"])
    assert api.get(f"/os-volumes/{copy}").json["volume"]["snapshotId"] == made["id"]
    assert compute.driver.virtual_size(f"volume-{copy}") == 3 << 30
    assert api.delete(f"/os-snapshots/{made['id']}").status_code == 202
    compute.work()
    assert api.get(f"/os-snapshots/{made['id']}").status_code == 404
    assert api.delete(f"/os-volumes/{volume_id}").status_code == 202
    compute.work()
    assert compute.driver.list_volumes() == [f"volume-{copy}"]


@pytest.mark.parametrize(
    "snapshot",
    [
        {},
        {"volume_id": 1},
        {"volume_id": "x", "force": "maybe"},
        {"volume_id": "x", "display_name": None},
        {"volume_id": "x", "display_description": None},
    ],
)
def test_bad_snapshots(api: Api, compute: Compute, snapshot: dict[str, Any]) -> None:
    assert api.post("/os-snapshots", {"snapshot": snapshot}).status_code == 400


def test_what_fails_shows(api: Api, compute: Compute) -> None:
    driver: Any = compute.driver
    driver.fail("ensure_disk", HypervisorError("the disk is full"))
    volume_id = make(api, compute)
    assert status(api, volume_id) == "error"
    assert api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 400
    driver.fail("remove_volumes", HypervisorError("stuck"))
    assert api.delete(f"/os-volumes/{volume_id}").status_code == 202
    compute.work()
    assert status(api, volume_id) == "error_deleting"
    assert api.delete(f"/os-volumes/{volume_id}").status_code == 202
    compute.work()
    assert status(api, volume_id) == "gone"


def test_without_a_host(api: Api) -> None:
    answer = api.post("/os-volumes", {"volume": {"size": 1}})
    assert answer.status_code == 200
    volume_id = answer.json["volume"]["id"]
    assert status(api, volume_id) == "error"
    assert api.delete(f"/os-volumes/{volume_id}").status_code == 202
    assert status(api, volume_id) == "gone"


def test_quotas(settings: Settings, db: Database, api: Api, compute: Compute) -> None:
    tight = replace(settings, quota_volumes=2, quota_snapshots=1, quota_gigabytes=4)
    codec = TokenCodec(settings.secret("tokens"))
    strict = Api(create_app(tight, db=db), codec, ("member",), api.project_id, api.user_id)
    first = make(strict, compute, size=2)
    over = strict.post("/os-volumes", {"volume": {"size": 3}})
    assert over.status_code == 403
    assert "exceeds allowed gigabytes quota" in over.json["forbidden"]["message"]
    make(strict, compute)
    over = strict.post("/os-volumes", {"volume": {"size": 1}})
    assert over.status_code == 403
    assert "Maximum number of volumes allowed (2)" in over.json["forbidden"]["message"]
    assert strict.post("/os-snapshots", {"snapshot": {"volume_id": first}}).status_code == 403  # 2 GiB more
    second = strict.get("/os-volumes").json["volumes"][0]["id"]
    assert strict.post("/os-snapshots", {"snapshot": {"volume_id": second}}).status_code == 200
    compute.work()
    over = strict.post("/os-snapshots", {"snapshot": {"volume_id": second}})
    assert over.status_code == 403


def test_extend_and_upload(settings: Settings, db: Database, api: Api, compute: Compute) -> None:
    """What the Block Storage API asks of the same service."""
    volume_id = make(api, compute)
    context = Context("req-1", api.user_id, api.project_id, frozenset({"member"}))
    backend: Any = compute.tools.volumes
    backend.extend(context, volume_id, 3)
    assert status(api, volume_id) == "extending"
    compute.work()
    assert api.get(f"/os-volumes/{volume_id}").json["volume"]["size"] == 3
    images: Any = compute.images
    image_id = images.create(context, "from volume", "qcow2", {})
    backend.upload_to_image(context, volume_id, image_id)
    assert status(api, volume_id) == "uploading"
    compute.work()
    assert status(api, volume_id) == "available"
    assert images.show(context, image_id).status == "active"
    copy = backend.create(context, NewVolume(4, image_id=image_id))
    compute.work()
    made = backend.show(context, copy.id)
    assert (made.status, made.bootable) == ("available", True)
    assert compute.driver.list_volumes() == sorted([f"base_{image_id}", f"volume-{volume_id}", f"volume-{copy.id}"])
