# SPDX-License-Identifier: Apache-2.0
"""Volumes and real guests: each effect is read from the guest itself, or from its host's pool."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from computeapi.virt import load
from tests.cloud import add_image
from tests.databases import Engine
from tests.guest.cloud import Cloud, Guest
from tests.guest.hosts import IsolatedHost, wait_for
from tests.guest.test_network_effects import Inside
from tests.wire.block import Block

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


def make(cloud: Cloud, **more: Any) -> str:
    """A volume that is there; its id."""
    answer = cloud.api.post("/os-volumes", {"volume": {"size": 1, **more}})
    assert answer.status_code == 200, answer.text
    cloud.compute.work()
    volume_id = str(answer.json["volume"]["id"])
    assert status(cloud, volume_id) == "available"
    return volume_id


def status(cloud: Cloud, volume_id: str) -> str:
    answer = cloud.api.get(f"/os-volumes/{volume_id}")
    return str(answer.json["volume"]["status"]) if answer.status_code == 200 else "gone"


def attach(guest: Guest, volume_id: str) -> str:
    """The guest has it; its name there."""
    url = f"/servers/{guest.id}/os-volume_attachments"
    answer = guest.cloud.api.post(url, {"volumeAttachment": {"volumeId": volume_id}})
    assert answer.status_code == 200, answer.text
    guest.cloud.compute.work()
    assert status(guest.cloud, volume_id) == "in-use"
    return str(answer.json["volumeAttachment"]["device"]).removeprefix("/dev/")


def detach(guest: Guest, volume_id: str) -> None:
    url = f"/servers/{guest.id}/os-volume_attachments/{volume_id}"
    assert guest.cloud.api.delete(url).status_code == 202
    guest.cloud.compute.work()
    assert status(guest.cloud, volume_id) == "available"


def says(guest: Guest, pattern: str, count: int = 1) -> None:
    """So often the guest said so on its console."""

    def said() -> bool:
        return len(re.findall(pattern, guest.cloud.driver.console_output(guest.id, None))) >= count

    wait_for(said, f"{pattern} of {guest.id}")


def appears(inside: Inside, device: str) -> None:
    """The guest's kernel has it: before that dd would make a file of that name."""
    wait_for(lambda: inside.run(f"test -b /dev/{device}")[0] == 0, f"{device} of {inside.id}")


def write(inside: Inside, device: str, text: str) -> None:
    appears(inside, device)
    code, said = inside.run(f"printf '%-512s' '{text}' | dd of=/dev/{device} conv=fsync 2>&1 && sync")
    assert code == 0, said


def read(inside: Inside, device: str) -> str:
    appears(inside, device)
    return inside.run(f"dd if=/dev/{device} bs=512 count=1 iflag=direct 2>/dev/null")[1].strip(" \0")


@pytest.fixture(scope="module")
def pair(cloud: Cloud, host: IsolatedHost, small: str) -> tuple[Inside, Inside]:
    """Two guests that run."""
    guests = [cloud.boot(small) for _ in range(2)]
    inside = [Inside(guest, host.uri) for guest in guests]
    for each in inside:
        each.ready()
    return inside[0], inside[1]


def test_a_volume_goes_from_guest_to_guest(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    """Plugged in and out while they run; what the first wrote the second reads; the same before and after a reboot."""
    first, second = pair
    volume_id = make(cloud)
    device = attach(first.guest, volume_id)
    says(first.guest, rf"GUEST-BLOCK \+ {device} {GIB}")
    assert read(first, device) == ""
    write(first, device, "from the first")
    snapshot = cloud.api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id, "force": True}}).json["snapshot"]
    cloud.compute.work()
    assert cloud.api.get(f"/os-snapshots/{snapshot['id']}").json["snapshot"]["status"] == "available"
    write(first, device, "later")
    detach(first.guest, volume_id)
    says(first.guest, rf"GUEST-BLOCK - {device}")
    device = attach(second.guest, volume_id)
    says(second.guest, rf"GUEST-BLOCK \+ {device} {GIB}")
    assert read(second, device) == "later"
    assert volume_id[:20] == second.run(f"cat /sys/block/{device}/serial")[1].strip()

    detach(second.guest, volume_id)
    says(second.guest, rf"GUEST-BLOCK - {device}")  # it looks once a second, and might see no change
    Block(cloud.api).act(volume_id, "revert", {"snapshot_id": snapshot["id"]}, version="3.40")
    cloud.compute.work()
    device = attach(second.guest, volume_id)
    says(second.guest, rf"GUEST-BLOCK \+ {device} {GIB}", 2)
    assert read(second, device) == "from the first", "it is what it was at its snapshot"
    detach(second.guest, volume_id)
    says(second.guest, rf"GUEST-BLOCK - {device}", 2)

    copy = make(cloud, size=2, snapshot_id=snapshot["id"])
    device = attach(second.guest, copy)
    says(second.guest, rf"GUEST-BLOCK \+ {device} {2 * GIB}")
    assert read(second, device) == "from the first", "what it held when it was snapped, while a guest had it"
    assert cloud.api.delete(f"/os-snapshots/{snapshot['id']}").status_code == 202
    cloud.compute.work()
    assert read(second, device) == "from the first", "it stands alone"
    Block(cloud.api).act(copy, "os-extend", {"new_size": 3}, version="3.42")
    cloud.compute.work()
    assert status(cloud, copy) == "in-use"
    says(second.guest, rf"GUEST-BLOCK = {device} {3 * GIB}")
    assert read(second, device) == "from the first", "as it grew under the guest"
    detach(second.guest, copy)


def test_a_volume_is_swapped(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    """While the guest runs, which does not notice; a larger one, too."""
    first, _ = pair
    old, new, larger = make(cloud), make(cloud), make(cloud, size=2)
    device = attach(first.guest, old)
    write(first, device, "precious")
    admin = cloud.api.become("admin")
    for before, after in ((old, new), (new, larger)):
        url = f"/servers/{first.id}/os-volume_attachments/{before}"
        assert admin.put(url, {"volumeAttachment": {"volumeId": after}}).status_code == 202
        cloud.compute.work()
        assert (status(cloud, before), status(cloud, after)) == ("available", "in-use")
        assert read(first, device) == "precious"
        assert cloud.api.delete(f"/os-volumes/{before}").status_code == 202
        cloud.compute.work()
        assert status(cloud, before) == "gone"
    says(first.guest, rf"GUEST-BLOCK [=+] {device} {2 * GIB}")  # + where all of it was between two looks
    write(first, device, "still mine")
    detach(first.guest, larger)
    device = attach(first.guest, larger)
    assert read(first, device) == "still mine"
    detach(first.guest, larger)


def test_boot_from_volume(cloud: Cloud, host: IsolatedHost, small: str) -> None:
    """From an image, kept; then from that volume, which counts its boots; deleted with the second server."""
    mapping = {"source_type": "image", "destination_type": "volume", "uuid": cloud.tiny, "boot_index": 0}
    guest = cloud.boot(small, imageRef="", block_device_mapping_v2=[{**mapping, "volume_size": 2}])
    said = guest.boots_as(1)
    assert said["vda"] == str(2 * GIB)
    (attached,) = cloud.api.get(f"/servers/{guest.id}/os-volume_attachments").json["volumeAttachments"]
    volume_id = attached["id"]
    assert cloud.compute.volumes(guest.id) == ["config"]
    guest.act(**{"os-stop": None})
    guest.act(**{"os-start": None})
    guest.boots_as(2)
    assert cloud.api.delete(f"/servers/{guest.id}").status_code == 204
    cloud.compute.work()
    assert status(cloud, volume_id) == "available"
    mapping = {"source_type": "volume", "destination_type": "volume", "uuid": volume_id, "boot_index": 0}
    again = cloud.boot(small, imageRef="", block_device_mapping_v2=[{**mapping, "delete_on_termination": True}])
    again.boots_as(3)
    again.act(shelve=None)
    again.is_("SHELVED_OFFLOADED")
    again.act(unshelve=None)
    again.is_("ACTIVE")
    again.boots_as(4)
    assert cloud.api.delete(f"/servers/{again.id}").status_code == 204
    cloud.compute.work()
    assert status(cloud, volume_id) == "gone"
    assert [name for name in cloud.driver.list_volumes() if volume_id in name] == []


def test_at_every_start(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    """The guest has its volume again after a hard reboot; attached while it is off, it has it when it starts."""
    _, second = pair
    volume_id, other = make(cloud), make(cloud, size=2)
    device = attach(second.guest, volume_id)
    boots = int(second.guest.booted()["boots"])
    second.guest.act(reboot={"type": "HARD"})
    said = second.guest.boots_as(boots + 1)
    assert said[device] == str(GIB)
    second.guest.act(**{"os-stop": None})
    second.guest.act(attach={"volume_id": other, "device": "/dev/vdc"})
    assert status(cloud, other) == "in-use"
    detach(second.guest, volume_id)
    second.guest.act(**{"os-start": None})
    said = second.guest.boots_as(boots + 2)
    assert said[device] == str(2 * GIB), "the guest's kernel names them by their order"


def test_a_q35_machine_has_room(cloud: Cloud, small: str, tiny: Path) -> None:
    """PCI Express has no free place for a disk, unless it is kept."""
    image_id = add_image(cloud.compute.images, tiny, name="q35", properties={"hw_machine_type": "q35"})
    guest = cloud.boot(small, imageRef=image_id)
    guest.booted()
    volume_id, other = make(cloud), make(cloud, size=2)
    for each, size in ((volume_id, 1), (other, 2)):
        attach(guest, each)
        says(guest, rf"GUEST-BLOCK \+ vd[bc] {size * GIB}")
    detach(guest, volume_id)
    says(guest, r"GUEST-BLOCK - vdb")


def test_a_directory_that_hosts_share(host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path: Path) -> None:
    """Volumes are there, and not among the host's disks; also one that another host made."""
    shared = tmp_path / "shared"
    shared.mkdir()
    driver = load(
        "libvirt",
        uri=host.uri,
        virt_type="qemu",
        state_dir=host.state_dir,
        host="host1",
        volume_directory=str(shared),
    )
    try:
        driver.ensure_disk("volume-one", 1, None)
        driver.ensure_base("base_shared", "qcow2", tiny.stat().st_size, lambda: iter([tiny.read_bytes()]))
        driver.ensure_disk("one_image", 1, "base_shared")
        driver.snapshot("00000000-0000-4000-8000-000000000001", "one_image", "volume-two")
        assert {path.name for path in shared.iterdir()} == {"volume-one", "volume-two"}
        (shared / "volume-one").rename(shared / "volume-three")  # as another host would
        assert driver.virtual_size("volume-three") == GIB
        assert {"volume-two", "volume-three", "one_image"} <= set(driver.list_volumes())
        assert "volume-one" not in driver.list_volumes()
    finally:
        for name in ("volume-one", "volume-two", "volume-three", "one_image"):
            driver.remove_volume(name)
        assert list(shared.iterdir()) == []
        driver.remove_volumes("base_shared")
        driver.close()
