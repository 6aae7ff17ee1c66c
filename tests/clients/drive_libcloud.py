# SPDX-License-Identifier: Apache-2.0
"""apache-libcloud's driver of the Compute API alone (`api_version` 1.1): servers, images, volumes, networks' families.

Run by test_libcloud.py in the old clients' environment.
"""

from __future__ import annotations

import os
import time
from typing import Any

from libcloud.common.exceptions import BaseHTTPError
from libcloud.compute.base import NodeImage
from libcloud.compute.providers import get_driver
from libcloud.compute.types import Provider


def connect() -> Any:
    """The driver, as OS_* says."""
    return get_driver(Provider.OPENSTACK)(
        os.environ["OS_USERNAME"],
        os.environ["OS_PASSWORD"],
        api_version="1.1",
        ex_force_auth_url=os.environ["OS_AUTH_URL"].removesuffix("/v3"),
        ex_force_auth_version="3.x_password",
        ex_tenant_name=os.environ["OS_PROJECT_NAME"],
        ex_domain_name="Default",
        ex_force_service_region=os.environ["OS_REGION_NAME"],
        ex_force_service_name="nova",
    )


def refused(code: int, call: Any, *arguments: Any, **more: Any) -> None:
    """A call that the server must refuse."""
    try:
        call(*arguments, **more)
    except BaseHTTPError as error:
        assert error.code == code, f"{call.__name__}: {error.code} {error.message}"
    else:
        raise AssertionError(f"{call.__name__}{arguments} was not refused")


def wait_for(driver: Any, node: Any, state: str) -> Any:
    """The node, when it is in that state (the server's own word: libcloud has no word for some)."""
    until = time.monotonic() + 60
    while (found := driver.ex_get_node_details(node)).extra["vm_state"] != state or found.extra["task_state"]:
        assert time.monotonic() < until, f"{node.name} is {found.extra}, not {state}"
        time.sleep(0.2)
    return found


def wait_until(condition: Any) -> None:
    """Until it is so."""
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.2)


def main() -> None:
    """The whole list, once."""
    driver = connect()
    size = next(size for size in driver.list_sizes() if size.name == "m1.tiny")
    image = next(image for image in driver.list_images() if image.name == "tiny")
    assert driver.get_image(image.id).name == "tiny"
    assert driver.ex_get_size(size.id).ram == 512
    assert [location.name for location in driver.list_locations()]
    groups_and_keys(driver)
    networks(driver)
    servers(driver, size, image)
    assert driver.ex_get_node_details("d2c5ab9d-9b1a-4a4d-9d36-4b23df7d2a11") is None


def groups_and_keys(driver: Any) -> None:
    """Key pairs and security groups."""
    made = driver.create_key_pair("cloud-key")
    assert "PRIVATE KEY" in made.private_key
    assert driver.get_key_pair("cloud-key").fingerprint == made.fingerprint
    driver.import_key_pair_from_string("imported", made.public_key)
    refused(409, driver.import_key_pair_from_string, "imported", made.public_key)
    assert {"cloud-key", "imported"} <= {pair.name for pair in driver.list_key_pairs()}
    for pair in driver.list_key_pairs():
        if pair.name in ("cloud-key", "imported"):
            assert driver.delete_key_pair(pair)
    group = driver.ex_create_security_group("lib", "for libcloud")
    rule = driver.ex_create_security_group_rule(group, "tcp", 22, 23, "10.0.0.0/8")
    assert (rule.ip_protocol, rule.from_port, rule.to_port, rule.ip_range) == ("tcp", 22, 23, "10.0.0.0/8")
    inner = driver.ex_create_security_group_rule(group, "udp", 53, 53, source_security_group=group)
    assert inner.group["name"] == "lib"
    (listed,) = [one for one in driver.ex_list_security_groups() if one.name == "lib"]
    assert len(listed.rules) == 2
    driver.ex_delete_security_group_rule(rule)  # it says False: Nova answers 202, and libcloud waits for 204
    (listed,) = [one for one in driver.ex_list_security_groups() if one.name == "lib"]
    assert [one.ip_protocol for one in listed.rules] == ["udp"]
    driver.ex_delete_security_group(group)
    assert "lib" not in {one.name for one in driver.ex_list_security_groups()}


def networks(driver: Any) -> None:
    """os-networks and floating IPs; os-floating-ips-bulk fills the pool, which libcloud has no call for."""
    made = driver.ex_create_network("lib-net", "10.90.0.0/24")
    assert (made.name, made.cidr) == ("lib-net", "10.90.0.0/24")
    assert {"private", "lib-net"} <= {network.name for network in driver.ex_list_networks()}
    refused(409, driver.ex_create_network, "again", "10.90.0.0/25")
    assert driver.ex_delete_network(made)
    body = {"floating_ips_bulk_create": {"ip_range": "198.51.100.8/29", "pool": "lib-pool"}}
    driver.connection.request("/os-floating-ips-bulk", method="POST", data=body)


def servers(driver: Any, size: Any, image: NodeImage) -> None:
    """A server's life; its addresses, groups and images."""
    network = next(network for network in driver.ex_list_networks() if network.name == "private")
    group = driver.ex_create_security_group("of-node", "d")
    node = driver.create_node(
        name="lib",
        size=size,
        image=image,
        networks=[network],
        ex_security_groups=[*(one for one in driver.ex_list_security_groups() if one.name == "default"), group],
        ex_metadata={"a": "b"},
        ex_userdata="#!/bin/sh",
    )
    node = wait_for(driver, node, "active")
    assert node.private_ips, node
    assert [one.id for one in driver.list_nodes() if one.name == "lib"] == [node.id]
    assert driver.ex_set_metadata(node, {"c": "d"}) == {"c": "d"}
    assert driver.ex_get_metadata(node)["c"] == "d"
    assert driver.ex_set_server_name(node, "renamed").name == "renamed"
    addresses(driver, node)
    volumes(driver, node)
    for call, state in (
        (driver.ex_pause_node, "paused"),
        (driver.ex_unpause_node, "active"),
        (driver.ex_suspend_node, "suspended"),
        (driver.ex_resume_node, "active"),
        (driver.ex_stop_node, "stopped"),
        (driver.ex_start_node, "active"),
        (driver.ex_hard_reboot_node, "active"),
        (driver.ex_rescue, "rescued"),
        (driver.ex_unrescue, "active"),
    ):
        call(node)
        wait_for(driver, node, state)
    assert isinstance(driver.ex_get_console_output(node)["output"], str)
    assert driver.reboot_node(node)
    wait_for(driver, node, "active")
    saved = driver.create_image(node, "lib-image", metadata={"x": "y"})
    wait_until(lambda: driver.get_image(saved.id).extra["status"] == "ACTIVE")
    assert driver.delete_image(saved)
    bigger = next(size for size in driver.list_sizes() if size.name == "m1.small")
    driver.ex_resize(node, bigger)
    wait_for(driver, node, "resized")
    assert driver.ex_confirm_resize(node)
    wait_for(driver, node, "active")
    assert driver.destroy_node(node)
    wait_until(lambda: all(one.id != node.id for one in driver.list_nodes()))
    driver.ex_delete_security_group(group)


def addresses(driver: Any, node: Any) -> None:
    """Floating IPs and security groups of a server."""
    (pool,) = [pool for pool in driver.ex_list_floating_ip_pools() if pool.name == "lib-pool"]
    floating = pool.create_floating_ip()
    assert driver.ex_attach_floating_ip_to_node(node, floating)
    assert floating.ip_address in driver.ex_get_node_details(node).public_ips
    assert driver.ex_get_floating_ip(floating.ip_address).node_id == node.id
    assert driver.ex_detach_floating_ip_from_node(node, floating)
    assert floating.ip_address in {one.ip_address for one in driver.ex_list_floating_ips()}
    assert driver.ex_delete_floating_ip(floating)
    assert {one.name for one in driver.ex_get_node_security_groups(node)} == {"default", "of-node"}


def volumes(driver: Any, node: Any) -> None:
    """os-volumes and os-snapshots: made, attached, taken a snapshot of, and gone."""

    def status(volume: Any) -> str:
        return str(driver.ex_get_volume(volume.id).extra["state"])

    volume = driver.create_volume(1, "lib-volume")
    wait_until(lambda: status(volume) == "available")
    assert (volume.name, volume.size) == ("lib-volume", 1)
    assert driver.attach_volume(node, volume, "/dev/vdb")
    wait_until(lambda: status(volume) == "in-use")
    (attached,) = [one for one in driver.list_volumes() if one.id == volume.id]
    assert [one["serverId"] for one in attached.extra["attachments"]] == [node.id]
    refused(400, driver.attach_volume, node, volume)
    assert driver.detach_volume(attached)
    wait_until(lambda: status(volume) == "available")
    snapshot = driver.create_volume_snapshot(volume, "lib-snapshot")
    wait_until(lambda: [one.state for one in driver.list_volume_snapshots(volume)] == ["available"])
    copy = driver.create_volume(1, "lib-copy", snapshot=snapshot)
    wait_until(lambda: status(copy) == "available")
    assert driver.destroy_volume(copy)
    driver.destroy_volume_snapshot(snapshot)  # it says False: Nova answers 202, and libcloud waits for 204
    wait_until(lambda: all(one.id != snapshot.id for one in driver.ex_list_snapshots()))
    assert driver.destroy_volume(volume)
    wait_until(lambda: {volume.id, copy.id}.isdisjoint(one.id for one in driver.list_volumes()))


if __name__ == "__main__":
    main()
