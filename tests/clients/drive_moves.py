# SPDX-License-Identifier: Apache-2.0
"""openstacksdk moves the server `sdk-mover`, which is on the host "left", and does to it what drive_sdk.py leaves out.

Run by test_moves.py in the clients' environment.
"""

from __future__ import annotations

import openstack
from drive_sdk import refused, wait_for
from openstack import exceptions


def main() -> None:
    """Live, cold, confirmed; then passwords, volumes, and what is refused."""
    conn = openstack.connect()
    compute = conn.compute
    server = compute.find_server("sdk-mover")
    compute.live_migrate_server(server, block_migration=True, disk_over_commit=False)
    assert wait_for(compute, server, "ACTIVE").compute_host == "right"
    compute.migrate_server(server)
    wait_for(compute, server, "VERIFY_RESIZE")
    compute.confirm_server_resize(server)
    assert wait_for(compute, server, "ACTIVE").compute_host == "left"
    kinds = {one.status for one in compute.migrations() if one.server_id == server.id}
    assert kinds == {"completed", "confirmed"}, kinds
    refused(exceptions.BadRequestException, compute.evacuate_server, server)
    compute.change_server_password(server, "x1Y2z3")
    wait_for(compute, server, "ACTIVE")
    compute.get_server_password(server)
    compute.clear_server_password(server)
    volume = conn.block_storage.find_volume("sdk-data")
    made = compute.create_volume_attachment(server, volume_id=volume.id)
    assert made.device == "/dev/vdb"
    conn.block_storage.wait_for_status(conn.block_storage.get_volume(volume.id), "in-use", wait=60)
    assert [one.volume_id for one in compute.volume_attachments(server)] == [volume.id]
    compute.delete_volume_attachment(server, volume.id)
    conn.block_storage.wait_for_status(conn.block_storage.get_volume(volume.id), "available", wait=60)
    conn.delete_volume(volume.id, wait=True, timeout=60)
    group = compute.create_server_group(name="sdk-group", policies=["affinity"])
    assert compute.find_server_group("sdk-group").id == group.id
    compute.delete_server_group(group)


if __name__ == "__main__":
    main()
