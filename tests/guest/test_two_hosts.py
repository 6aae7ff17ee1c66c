# SPDX-License-Identifier: Apache-2.0
"""Real guests that move between two libvirt hosts (see tests.guest.two_hosts)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.hosts import check_hosts_can_be, wait_for
from tests.guest.two_hosts import Cloud

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module", params=["own", "shared"])
def cloud(request: pytest.FixtureRequest, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Hosts with storage of their own, or with the same."""
    check_hosts_can_be()
    cloud = Cloud(tmp_path_factory.mktemp("two"), tiny, shared=request.param == "shared")
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.close()


def test_a_server_travels(cloud: Cloud) -> None:
    """Live there and back, cold and confirmed, cold and reverted."""
    server = cloud.boot("left")
    address = server.show()["addresses"]
    volume = server.plug() if cloud.shared else ""
    for to in ("right", "left"):
        before = server.ticks()[-1]
        live = {"host": to, "block_migration": not cloud.shared, "disk_over_commit": False}
        server.act(**{"os-migrateLive": live})
        server.settles("ACTIVE", to)
        server.runs_on()
        after = server.ticks()[-1]
        assert after[1] - before[1] < 2 * (after[0] - before[0]) + 10, "the guest did not stand still"
        server.is_only_on(to)
        assert server.show()["addresses"] == address
        assert not volume or f"volume-{volume}" in cloud.members[to].disks(server.id), "its volume came with it"
        assert cloud.migrations()[0] == ("completed", "right" if to == "left" else "left", to)
    if volume:
        server.unplug(volume)
    server.act(reboot={"type": "HARD"})
    server.settles("ACTIVE", "left")
    server.boots(2)

    server.leaves()
    server.settles("VERIFY_RESIZE", "right")
    server.boots(3)
    assert (cloud.members["left"].guests(), cloud.members["right"].guests()) == ([], [server.id])
    server.act(confirmResize=None)
    server.settles("ACTIVE", "right")
    server.is_only_on("right")
    assert cloud.migrations()[0] == ("confirmed", "left", "right")

    server.leaves()
    server.settles("VERIFY_RESIZE", "left")
    server.boots(4)
    server.act(revertResize=None)
    server.settles("ACTIVE", "right")
    server.boots(4)  # on the disk as it was before that boot
    server.is_only_on("right")
    assert cloud.migrations()[0] == ("reverted", "right", "left")
    cloud.api.delete(f"/servers/{server.id}")
    wait_for(lambda: cloud.members["right"].volumes(server.id) == [], "it is gone")


def test_a_host_is_lost_and_another_emptied(cloud: Cloud) -> None:
    """Compute service and libvirtd killed; evacuated; back; then the other host goes into maintenance."""
    left, right = cloud.members["left"], cloud.members["right"]
    server = cloud.boot("right")
    right.lose()
    lost = time.monotonic()
    wait_for(lambda: cloud.services()["right"] == "down", "os-services sees it")
    assert time.monotonic() - lost < 20
    answer = server.act(evacuate={"onSharedStorage": cloud.shared})
    assert (answer.json["adminPass"] is None) == cloud.shared
    server.settles("ACTIVE", "left")
    server.boots(2 if cloud.shared else 1)  # its disk, or a new one from the image
    assert left.guests() == [server.id]
    right.start()
    wait_for(lambda: cloud.services()["right"] == "up", "os-services sees that it is back")
    server.is_only_on("left")

    boots = server.console().count("GUEST-DATA")
    assert boots
    answer = cloud.api.put("/os-hosts/left", {"maintenance_mode": "enable"})
    assert answer.json == {"host": "left", "maintenance_mode": "on_maintenance"}
    # Not at once where "right" still cleans up: then the sweep of "left" does it.
    wait_for(lambda: server.show()["OS-EXT-SRV-ATTR:host"] == "right", "it has left")
    server.settles("ACTIVE", "right")
    server.is_only_on("right")
    assert server.console().count("GUEST-DATA") == boots, "it ran on"
    assert cloud.migrations()[0] == ("completed", "left", "right")
    cloud.api.put("/os-hosts/left", {"maintenance_mode": "disable"})
    cloud.api.delete(f"/servers/{server.id}")
    wait_for(lambda: right.volumes(server.id) == [], "it is gone")
