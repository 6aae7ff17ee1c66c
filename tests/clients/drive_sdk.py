# SPDX-License-Identifier: Apache-2.0
"""openstacksdk over the whole list of what can be done to a server, and its cloud layer's short cuts.

Run by test_sdk.py in the clients' environment.
"""

from __future__ import annotations

import time
from typing import Any

import openstack
from openstack import exceptions


def wait_for(compute: Any, server: Any, status: str) -> Any:
    """The server, when it is that and nothing is done to it."""
    until = time.monotonic() + 60
    while (found := compute.get_server(server.id)).status != status or found.task_state:
        assert time.monotonic() < until, f"{found.status}, {found.task_state}: not {status}"
        time.sleep(0.2)
    return found


def refused(kind: Any, call: Any, *arguments: Any, **more: Any) -> None:
    """A call that must raise that."""
    try:
        call(*arguments, **more)
    except kind:
        return
    raise AssertionError(f"{call.__name__}{arguments} was not refused")


def power(compute: Any, server: Any) -> None:
    """What needs no second host and changes nothing for good."""
    for call, status in (
        (compute.pause_server, "PAUSED"),
        (compute.unpause_server, "ACTIVE"),
        (compute.suspend_server, "SUSPENDED"),
        (compute.resume_server, "ACTIVE"),
        (compute.stop_server, "SHUTOFF"),
        (compute.start_server, "ACTIVE"),
        (compute.shelve_server, "SHELVED_OFFLOADED"),
        (compute.unshelve_server, "ACTIVE"),
        (compute.rescue_server, "RESCUE"),
        (compute.unrescue_server, "ACTIVE"),
    ):
        call(server)
        wait_for(compute, server, status)
    for kind in ("SOFT", "HARD"):
        compute.reboot_server(server, kind)
        wait_for(compute, server, "ACTIVE")
    refused(exceptions.ConflictException, compute.unpause_server, server)
    compute.lock_server(server)
    compute.unlock_server(server)
    compute.reset_server_state(server, "error")
    assert compute.get_server(server).status == "ERROR"
    compute.reset_server_state(server, "active")
    assert compute.get_server_console_output(server, length=5)["output"]


def sizes_and_images(conn: Any, server: Any) -> None:
    """Resize both ways, rebuild, images and backups."""
    compute = conn.compute
    small, medium = (compute.find_flavor(name) for name in ("m1.small", "m1.medium"))
    compute.resize_server(server, small.id)
    wait_for(compute, server, "VERIFY_RESIZE")
    compute.confirm_server_resize(server)
    wait_for(compute, server, "ACTIVE")
    compute.resize_server(server, medium.id)
    wait_for(compute, server, "VERIFY_RESIZE")
    compute.revert_server_resize(server)
    wait_for(compute, server, "ACTIVE")
    image = conn.image.find_image("tiny")
    rebuilt = compute.rebuild_server(
        server, image=image.id, name="rebuilt", admin_password="x1Y2z3", metadata={"n": "1"}
    )
    assert rebuilt.id == server.id
    found = wait_for(compute, server, "ACTIVE")
    assert (found.name, found.metadata) == ("rebuilt", {"n": "1"})
    saved = compute.create_server_image(server, "sdk-image", metadata={"a": "b"}, wait=True)
    assert saved.status == "active"
    assert conn.image.get_image(saved.id).properties["a"] == "b"
    for number in range(2):
        compute.backup_server(server, f"backup-{number}", "daily", 1)
        wait_for(compute, server, "ACTIVE")
        until = time.monotonic() + 60
        while [one.name for one in conn.image.images() if one.name.startswith("backup-")] != [f"backup-{number}"]:
            assert time.monotonic() < until, "a backup too many, or none"
            time.sleep(0.2)
    for one in list(conn.image.images()):
        if one.name != "tiny":
            conn.image.delete_image(one)


def attributes(compute: Any, server: Any) -> None:
    """Names, metadata, addresses, the log."""
    compute.update_server(server, name="sdk")
    compute.set_server_metadata(server, c="d", e="f")
    compute.delete_server_metadata(server, ["e"])
    assert compute.get_server_metadata(server).metadata == {"n": "1", "c": "d"}
    assert [one.network_label for one in compute.server_ips(server)] == ["private"]
    assert len(list(compute.server_interfaces(server))) == 1
    log = list(compute.server_actions(server))
    assert {"create", "pause", "rebuild", "resize", "confirmResize", "createImage"} <= {one.action for one in log}
    assert compute.get_server_action(log[-1].request_id, server).events
    assert compute.get_server_diagnostics(server)


def network(conn: Any, server: Any) -> None:
    """Interfaces, floating IPs, security groups: by ports and by the compute API."""
    compute, networks = conn.compute, conn.network
    inside = networks.find_network("private")
    port = networks.create_port(network_id=inside.id, name="sdk-port")
    made = compute.create_server_interface(server, port_id=port.id)
    assert made.port_id == port.id
    wait_for(compute, server, "ACTIVE")
    compute.delete_server_interface(made, server=server)
    until = time.monotonic() + 60
    while len(list(compute.server_interfaces(server))) != 1:
        assert time.monotonic() < until
        time.sleep(0.2)
    networks.delete_port(port)
    group = networks.create_security_group(name="sdk-group")
    networks.create_security_group_rule(
        security_group_id=group.id, direction="ingress", protocol="tcp", port_range_min=22, port_range_max=22
    )
    compute.add_security_group_to_server(server, group)
    assert {one["name"] for one in compute.get_server(server).security_groups} == {"default", "sdk-group"}
    compute.remove_security_group_from_server(server, group)
    networks.delete_security_group(group)
    compute.add_fixed_ip_to_server(server, inside.id)
    wait_for(compute, server, "ACTIVE")
    fixed = [one["addr"] for one in compute.get_server(server).addresses["private"]]
    assert len(fixed) == 2
    compute.remove_fixed_ip_from_server(server, fixed[-1])
    wait_for(compute, server, "ACTIVE")
    assert len(compute.get_server(server).addresses["private"]) == 1


def pages(conn: Any) -> None:
    """Lists that come in pages are whole."""
    made = [conn.network.create_network(name=f"page-{number}") for number in range(5)]
    seen = [one.id for one in conn.network.networks(limit=2) if one.name.startswith("page-")]
    assert seen == [one.id for one in made]
    for one in made:
        conn.network.delete_network(one)
    assert len(list(conn.compute.flavors(limit=2))) == len({one.id for one in conn.compute.flavors()})


def shortcuts(conn: Any) -> None:
    """The cloud layer: one call for a server that is ready."""
    server = conn.create_server("short", image="tiny", flavor="m1.tiny", network="private", wait=True, timeout=60)
    assert server.status == "ACTIVE"
    assert conn.get_server("short").id == server.id
    assert conn.delete_server("short", wait=True, timeout=60)
    assert conn.get_server("short") is None


def main() -> None:
    """The whole list, once."""
    conn = openstack.connect()
    compute = conn.compute
    server = compute.create_server(
        name="first",
        image_id=conn.image.find_image("tiny").id,
        flavor_id=compute.find_flavor("m1.tiny").id,
        networks=[{"uuid": conn.network.find_network("private").id}],
    )
    server = compute.wait_for_server(server, wait=60)
    power(compute, server)
    sizes_and_images(conn, server)
    attributes(compute, server)
    network(conn, server)
    compute.delete_server(server)
    compute.wait_for_delete(server, wait=60)
    refused(exceptions.NotFoundException, compute.get_server, server.id)
    second = compute.create_server(
        name="second",
        image_id=server.image.id,
        flavor_id="1",
        networks=[{"uuid": conn.network.find_network("private").id}],
    )
    compute.delete_server(second, force=True)
    compute.wait_for_delete(second, wait=60)
    pages(conn)
    shortcuts(conn)


if __name__ == "__main__":
    main()
