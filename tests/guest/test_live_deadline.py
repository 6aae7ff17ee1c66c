# SPDX-License-Identifier: Apache-2.0
"""A guest that changes its memory quicker than it can be sent, and what the settings say of a migration that so never
ends: it is slowed down, then stays; or goes on by post-copy; or stands still until all is sent."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest.hosts import check_hosts_can_be, wait_for
from tests.guest.two_hosts import Cloud, Member, Server

pytestmark = pytest.mark.guest

#: Twelve MiB of memory (not of the disk) are written again and again; a second is counted as in other guests.
BUSY = b"""#!/bin/sh
(n=0; while sleep 1; do n=$((n+1)); read -r up _ </proc/uptime; echo TICK $n up=$up; done) &
mkdir -p /run/busy && mount -t tmpfs -o size=30m busy /run/busy && cd /run/busy
dd if=/dev/urandom of=a bs=1M count=12 2>/dev/null
while :; do cp a b; done
"""
BANDWIDTH = "live_migration_bandwidth = 12"  # MiB/s: a round of what the guest writes takes a second


@pytest.fixture(scope="module")
def cloud(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Hosts with storage of their own; the disk is as small as the image, and there in four seconds."""
    check_hosts_can_be()
    cloud = Cloud(tmp_path_factory.mktemp("deadline"), tiny, shared=False, disk_gb=0)
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.close()


def job(member: Member, server: Server) -> str:
    """What libvirt says of the migration that is under way."""
    command = ["virsh", "--connect", member.host.uri, "domjobinfo", server.id]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout


def send(server: Server, to: str) -> None:
    """Its live migration has begun."""
    server.act(**{"os-migrateLive": {"host": to, "block_migration": True, "disk_over_commit": False}})


def test_a_migration_that_never_ends(cloud: Cloud) -> None:
    left, right = cloud.members["left"], cloud.members["right"]
    server = cloud.boot("left", BUSY)

    cloud.serve_with(BANDWIDTH, "live_migration_completion_timeout = 20")
    send(server, "right")
    wait_for(lambda: "Auto converge throttle" in job(left, server), "the guest is slowed down", 30)
    assert server.show()["status"] == "MIGRATING"
    server.settles("ACTIVE", "left")
    assert cloud.migrations()[0] == ("cancelled", "left", "right")
    assert "fault" not in server.show()
    assert "not done within 20 s; given up" in cloud.logs()
    server.runs_on()
    server.is_only_on("left")
    assert right.volumes(server.id) == []
    assert cloud.api.get("/os-hypervisors/detail").json["hypervisors"][1]["running_vms"] == 0

    forced = (BANDWIDTH, "live_migration_completion_timeout = 5", "live_migration_timeout_action = force_complete")
    eager = (*forced, "live_migration_permit_auto_converge = false")
    cloud.serve_with(*eager, "live_migration_permit_post_copy = true")
    send(server, "right")
    server.settles("ACTIVE", "right")
    assert "goes on by post-copy" in cloud.logs()
    assert cloud.migrations()[0] == ("completed", "left", "right")
    server.runs_on()
    server.is_only_on("right")

    cloud.serve_with(*eager)
    send(server, "left")
    server.settles("ACTIVE", "left")
    assert "stands still until all is sent" in cloud.logs()
    assert cloud.migrations()[0] == ("completed", "right", "left")
    server.runs_on()
    server.is_only_on("left")
    assert server.console().count("GUEST-DATA") == 1, "one boot in all"
    cloud.api.delete(f"/servers/{server.id}")
    wait_for(lambda: left.volumes(server.id) == [], "it is gone")
