# SPDX-License-Identifier: Apache-2.0
"""Actions that give a real guest other disks or another size: each effect is read from the guest itself.

The guest counts its boots in a file on its root disk, so the count tells which disk it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from computeapi.compute.timeouts import forget_shelved_images
from computeapi.states import PowerState
from tests.databases import Engine
from tests.guest.cloud import Cloud
from tests.guest.hosts import IsolatedHost, wait_for

pytestmark = pytest.mark.guest

GIB = 1 << 30


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(host, directory, database_engine.new(directory), tiny)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def small(cloud: Cloud) -> str:
    return cloud.flavor()


def test_images_and_rebuild(cloud: Cloud, small: str) -> None:
    guest = cloud.boot(small)
    guest.boots_as(1)
    answer = guest.act(createImage={"name": "copy", "metadata": {"purpose": "test"}})
    image_id = answer.headers["location"].rsplit("/", 1)[-1]
    image = cloud.api.get(f"/images/{image_id}").json["image"]
    assert (image["status"], image["metadata"]["purpose"]) == ("ACTIVE", "test")
    guest.is_("ACTIVE")
    for action, status, state in (
        ("suspend", "SUSPENDED", PowerState.SUSPENDED),
        ("resume", "ACTIVE", PowerState.RUNNING),
    ):
        guest.act(**{action: None})
        guest.is_(status)
        assert cloud.driver.state(guest.id) == state
    assert guest.booted()["boots"] == "1", "it ran on"
    assert cloud.compute.volumes(guest.id) == ["config", "disk"]

    guest.act(rebuild={"imageRef": image_id, "name": "copied"})
    guest.is_("ACTIVE")
    assert guest.boots_as(2)["name"] == "copied", "the disk of the copy, which had booted once"
    answer = guest.act(rebuild={"imageRef": cloud.tiny})
    guest.boots_as(1)
    guest.act(reboot={"type": "SOFT"})
    guest.boots_as(2)
    guest.act(**{"os-stop": None})
    guest.act(createBackup={"name": "daily", "backup_type": "daily", "rotation": 1})
    guest.is_("SHUTOFF")
    assert {"copy", "daily"} <= {image["name"] for image in cloud.api.get("/images").json["images"]}


def test_resize(cloud: Cloud, small: str) -> None:
    guest = cloud.boot(small)
    before = guest.boots_as(1)
    larger = cloud.flavor(vcpus=2, memory_mb=160, disk_gb=2)
    guest.act(resize={"flavorRef": larger})
    guest.is_("VERIFY_RESIZE")
    during = guest.boots_as(2)
    assert (before["vcpus"], during["vcpus"]) == ("1", "2")
    assert int(during["mem_kb"]) - int(before["mem_kb"]) > 60 * 1024
    assert (int(before["vda"]), int(during["vda"])) == (GIB, 2 * GIB)
    guest.act(revertResize=None)
    guest.is_("ACTIVE")
    wait_for(lambda: guest.booted()["vcpus"] == "1", "it boots as it was")
    after = guest.booted()
    assert (after["boots"], after["vda"]) == ("2", before["vda"]), "the disk as it was before the resize"
    assert cloud.compute.volumes(guest.id) == ["config", "disk"]

    guest.act(resize={"flavorRef": larger})
    guest.boots_as(3)
    guest.act(confirmResize=None)
    guest.is_("ACTIVE")
    assert guest.booted()["vcpus"] == "2"
    assert cloud.compute.volumes(guest.id) == ["config", "disk"]


def test_rescue(cloud: Cloud, small: str) -> None:
    guest = cloud.boot(small)
    assert "vdb" not in guest.boots_as(1)
    guest.act(**{"os-stop": None})
    assert guest.act(rescue={"adminPass": "rescued"}).json == {"adminPass": "rescued"}
    guest.is_("RESCUE")
    wait_for(lambda: "vdb" in guest.booted(), "its own disk is the second one")
    during = guest.booted()
    assert (during["boots"], int(during["vdb"])) == ("1", GIB)
    guest.act(unrescue=None)
    guest.is_("ACTIVE")
    assert "vdb" not in guest.boots_as(2)
    assert cloud.compute.volumes(guest.id) == ["config", "disk"]


def test_shelve(cloud: Cloud, small: str, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = cloud.boot(small, name="kept")
    guest.boots_as(1)
    keep = replace(cloud.compute.tools.settings, shelved_offload_time=-1)
    monkeypatch.setattr(cloud.compute, "tools", replace(cloud.compute.tools, settings=keep))
    guest.act(shelve=None)
    guest.is_("SHELVED")
    assert cloud.driver.state(guest.id) == PowerState.SHUTDOWN
    assert cloud.compute.volumes(guest.id) == ["config", "disk"]
    guest.act(shelveOffload=None)
    guest.is_("SHELVED_OFFLOADED")
    assert cloud.compute.volumes(guest.id) == []
    assert guest.id not in cloud.driver.list_guests()
    assert "kept-shelved" in {image["name"] for image in cloud.api.get("/images").json["images"]}
    guest.act(unshelve=None)
    guest.is_("ACTIVE")
    assert guest.boots_as(2)["name"] == "kept", "the disk as it was shelved"
    assert forget_shelved_images(cloud.compute.tools) == 1
    assert "kept-shelved" not in {image["name"] for image in cloud.api.get("/images").json["images"]}
