# SPDX-License-Identifier: Apache-2.0
"""What the Block Storage API says of itself; its versions, quotas, limits, services, zones and pools."""

from __future__ import annotations

import uuid

import pytest

from computeapi import versions
from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.block import Block, add_snapshot, add_volume
from tests.wire.conftest import add_host


@pytest.fixture
def block(api: Api) -> Block:
    """The API as a member."""
    return Block(api)


@pytest.fixture
def boss(admin: Api) -> Block:
    """The API as an administrator of another project."""
    return Block(admin)


# --- versions ---


@pytest.mark.parametrize(("path", "status"), [("", 300), ("/", 300), ("/v3", 200), ("/v3/", 200)])
def test_version_documents(api: Api, path: str, status: int) -> None:
    answer = api.get(f"/volume{path}", headers={"X-Auth-Token": ""})
    assert answer.status_code == status
    (version,) = answer.json["versions"]
    assert (version["id"], version["min_version"], version["version"]) == ("v3.0", "3.0", str(versions.VOLUME_MAX))
    assert version["links"][1] == {"rel": "self", "href": "http://falconframework.org/volume/v3/"}


def test_negotiation(api: Api) -> None:
    def ask(header: str) -> tuple[int, str | None]:
        answer = api.get("/volume/v3/volumes", headers={"OpenStack-API-Version": header})
        return answer.status_code, answer.headers.get("OpenStack-API-Version")

    assert ask("volume 3.27") == (200, "volume 3.27")
    assert ask("compute 2.1") == (200, "volume 3.0") == ask("")
    assert ask("compute 2.1, volume 3.5") == (200, "volume 3.5")
    assert ask("volume latest") == (200, f"volume {versions.VOLUME_MAX}")
    assert ask("volume 3.999")[0] == 406 == ask("volume 2.0")[0] == ask("volume 4.0")[0]
    assert ask("volume x")[0] == 400
    answer = api.get("/volume/v3/volumes")
    assert answer.headers["Vary"] == "OpenStack-API-Version"
    assert answer.headers["X-Openstack-Request-Id"] == answer.headers["X-Compute-Request-Id"]


def test_faults(api: Api) -> None:
    assert api.get("/volume/v3/nothing").json == {
        "itemNotFound": {"code": 404, "message": "The resource could not be found."}
    }
    assert api.get("/volume/v3/nothing", headers={"X-Auth-Token": ""}).status_code == 401
    assert api.delete("/volume/v3/volumes").json["badMethod"]["code"] == 405


def test_catalog(api: Api) -> None:
    catalog = api.get("/identity/v3/auth/catalog").json["catalog"]
    urls = {each["type"]: each["endpoints"][0]["url"] for each in catalog}
    assert urls["block-storage"] == urls["volumev3"] == "http://falconframework.org/volume/v3"


def test_extensions(block: Block) -> None:
    shown = block.get("/extensions")["extensions"]
    assert {"os-volume-actions", "os-quota-sets"} <= {each["alias"] for each in shown}
    assert set(shown[0]) == {"alias", "name", "description", "updated", "links"}
    assert block.get("/extensions/os-services")["extension"]["name"] == "Services"
    block.get("/extensions/nothing", expected=404)


# --- quotas ---

DEFAULTS = {
    "volumes": 10, "snapshots": 10, "gigabytes": 1000, "per_volume_gigabytes": -1, "backups": 10,
    "backup_gigabytes": 1000, "groups": 10,
}  # fmt: skip


def test_quota_sets(block: Block, boss: Block, db: Database) -> None:
    path = f"/os-quota-sets/{block.project_id}"
    assert block.get(path)["quota_set"] == DEFAULTS | {"id": block.project_id}
    block.get("/types")
    by_type = {f"{each}___DEFAULT__": -1 for each in ("volumes", "snapshots", "gigabytes")}
    assert block.get(f"{path}/defaults")["quota_set"] == DEFAULTS | by_type | {"id": block.project_id}
    default = block.get("/types/default")["volume_type"]["id"]
    add_volume(db, block, size_gb=3, type_id=default)
    usage = block.get(f"{path}?usage=True")["quota_set"]
    assert usage["volumes"] == {"limit": 10, "in_use": 1, "reserved": 0} and usage["gigabytes"]["in_use"] == 3
    assert usage["gigabytes___DEFAULT__"]["in_use"] == 3 and usage["id"] == block.project_id
    changed = boss.put(path, {"quota_set": {"volumes": "5", "gigabytes": -1, "tenant_id": "x"}})["quota_set"]
    assert (changed["volumes"], changed["gigabytes"]) == (5, -1) and "id" not in changed
    said = boss.refused("PUT", path, {"quota_set": {"volumes": 0}})
    assert said.startswith("Quota volumes limit must be equal or greater than existing resources.")
    assert "Bad key(s) in quota set: x" in boss.refused("PUT", path, {"quota_set": {"x": 1}})
    for bad in ({"volumes": -2}, {"volumes": "x"}, {"volumes": 2**31}, {"volumes": None}):
        boss.refused("PUT", path, {"quota_set": bad})
    boss.delete(path, 200)
    assert block.get(path)["quota_set"]["volumes"] == 10


def test_quotas_of_others(block: Block, boss: Block) -> None:
    other = uuid.uuid4().hex
    block.refused("GET", f"/os-quota-sets/{other}", status=403)
    block.refused("GET", f"/os-quota-sets/{other}/defaults", status=403)
    boss.get(f"/os-quota-sets/{other}")
    for method in ("PUT", "DELETE"):
        body = {"quota_set": {"volumes": 1}} if method == "PUT" else None
        block.refused(method, f"/os-quota-sets/{block.project_id}", body, 403)


def test_quota_classes(block: Block, boss: Block) -> None:
    path = "/os-quota-class-sets/default"
    assert boss.get(path)["quota_class_set"] == DEFAULTS | {"id": "default"}
    assert boss.put(path, {"quota_class_set": {"volumes": 3}})["quota_class_set"]["volumes"] == 3
    assert block.get(f"/os-quota-sets/{block.project_id}")["quota_set"]["volumes"] == 3
    assert boss.get("/os-quota-class-sets/other")["quota_class_set"]["volumes"] == 10
    boss.put(f"/os-quota-sets/{block.project_id}", {"quota_set": {"volumes": 2}})
    assert block.get(f"/os-quota-sets/{block.project_id}")["quota_set"]["volumes"] == 2
    boss.refused("PUT", path, {"quota_class_set": {"x": 1}})
    block.refused("GET", path, status=403)


def test_limits(block: Block, boss: Block, db: Database) -> None:
    add_volume(db, block, size_gb=3)
    absolute = block.get("/limits")["limits"]["absolute"]
    assert absolute == {
        "maxTotalVolumes": 10, "maxTotalVolumeGigabytes": 1000, "maxTotalSnapshots": 10, "maxTotalBackups": 10,
        "maxTotalBackupGigabytes": 1000, "totalVolumesUsed": 1, "totalGigabytesUsed": 3, "totalSnapshotsUsed": 0,
        "totalBackupsUsed": 0, "totalBackupGigabytesUsed": 0,
    }  # fmt: skip
    assert block.get("/limits")["limits"]["rate"] == []
    for who, version, used in ((boss, "3.39", 1), (boss, "3.38", 0), (Block(block.api.become("member")), "3.39", 0)):
        shown = who.get(f"/limits?project_id={block.project_id}", version=version)["limits"]["absolute"]
        assert shown["totalVolumesUsed"] == used


# --- who keeps volumes ---


def test_services(block: Block, boss: Block, host: str, db: Database) -> None:
    add_host(db, "host2", disabled=1, disabled_reason="broken", availability_zone="east")
    scheduler, one, two = boss.get("/os-services")["services"]
    assert (scheduler["binary"], scheduler["state"], scheduler["cluster"]) == ("cinder-scheduler", "up", None)
    assert (one["binary"], one["host"], one["status"], one["backend_state"]) == (
        "cinder-volume", "host1@local", "enabled", "up",
    )  # fmt: skip
    assert (two["status"], two["disabled_reason"], two["zone"]) == ("disabled", "broken", "east")
    assert "cluster" not in boss.get("/os-services", version="3.6")["services"][0]
    assert "backend_state" not in boss.get("/os-services", version="3.48")["services"][1]
    assert len(boss.get("/os-services?binary=cinder-volume")["services"]) == 2
    assert len(boss.get("/os-services?host=host1@local")["services"]) == 1
    block.refused("GET", "/os-services", status=403)


def test_hosts(block: Block, boss: Block, host: str, db: Database) -> None:
    add_host(db, "host2", disabled=1)
    scheduler, keeper = boss.get("/os-hosts")["hosts"]
    assert scheduler["service"] == "cinder-scheduler"
    names = ("host_name", "service", "service-status", "service-state", "zone")
    assert [keeper[name] for name in names] == ["host1@local", "cinder-volume", "available", "enabled", "nova"]

    def kept(project: str, *counts: int) -> dict[str, dict[str, str]]:
        names = ("volume_count", "total_volume_gb", "snapshot_count", "total_snapshot_gb")
        numbers = dict(zip(names, map(str, counts), strict=True))
        return {"resource": {"host": "host1@local", "project": project, **numbers}}

    assert boss.get("/os-hosts/host1@local")["host"] == [kept("(total)", 0, 0, 0, 0)]
    for size in (2, 3):
        volume = add_volume(db, block, host="host1", size_gb=size)
    add_snapshot(db, block, volume_id=volume, size_gb=3)
    add_volume(db, boss, host="host1", size_gb=1)
    add_volume(db, block, host="host2")
    total, *projects = boss.get("/os-hosts/host1@local")["host"]
    assert total == kept("(total)", 3, 6, 1, 3)
    for one in (kept(block.project_id, 2, 5, 1, 3), kept(boss.project_id, 1, 1, 0, 0)):
        assert one in projects
    for name in ("host2@local", scheduler["host_name"], "x"):
        boss.get(f"/os-hosts/{name}", expected=404)
    for path in ("/os-hosts", "/os-hosts/host1@local"):
        block.refused("GET", path, status=403)


def test_zones(block: Block, host: str, db: Database) -> None:
    add_host(db, "host2", availability_zone="east", disabled=1)
    assert block.get("/os-availability-zone") == {
        "availabilityZoneInfo": [
            {"zoneName": "east", "zoneState": {"available": False}},
            {"zoneName": "nova", "zoneState": {"available": True}},
        ]
    }


def test_pools(block: Block, boss: Block, host: str) -> None:
    assert boss.get("/scheduler-stats/get_pools") == {"pools": [{"name": "host1@local#default"}]}
    (pool,) = boss.get("/scheduler-stats/get_pools?detail=True")["pools"]
    assert pool["capabilities"]["volume_backend_name"] == "local"
    assert boss.get("/scheduler-stats/get_pools?name=x") == {"pools": []}
    assert boss.get("/capabilities/host1@local")["pool_name"] == "default"
    boss.get("/capabilities/other", expected=404)
    block.refused("GET", "/scheduler-stats/get_pools", status=403)


def test_resource_filters(block: Block) -> None:
    assert "name" in block.get("/resource_filters?resource=volume")["resource_filters"][0]["filters"]
    assert len(block.get("/resource_filters")["resource_filters"]) == 5
    block.get("/resource_filters", version="3.32", expected=404)
