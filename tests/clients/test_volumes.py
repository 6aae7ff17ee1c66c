# SPDX-License-Identifier: Apache-2.0
"""The stock client's volume commands, on the simulator."""

from __future__ import annotations

from typing import Any

from tests.clients.clouds import Cloud

DEMO = "computeapi-demo"


def test_volumes_by_the_stock_client(simulated: Cloud) -> None:
    cloud = simulated

    def shown(name: str) -> Any:
        return cloud.show("volume", "show", name, cloud=DEMO)

    def available(name: str) -> None:
        cloud.wait_for(lambda: shown(name)["status"] == "available", f"{name} is available", 60)

    made = cloud.show("volume", "create", "--size", "1", "--property", "k=v", "data", cloud=DEMO)
    assert (made["status"], made["type"]) == ("creating", "__DEFAULT__")
    available("data")
    cloud.openstack("volume", "set", "--name", "data2", "--description", "d", "--size", "2", "data", cloud=DEMO)
    available("data2")
    assert shown("data2")["size"] == 2
    listed = cloud.show("volume", "list", "--long", "--name", "data2", cloud=DEMO)
    assert listed[0]["Properties"] == {"k": "v"} and listed[0]["Size"] == 2
    assert cloud.show("volume", "list", "--all-projects", "--project", "demo")[0]["Name"] == "data2"
    assert cloud.show("volume", "list") == []

    cloud.openstack("volume", "snapshot", "create", "--volume", "data2", "snap", cloud=DEMO)
    cloud.wait_for(
        lambda: cloud.show("volume", "snapshot", "show", "snap", cloud=DEMO)["status"] == "available", "a snapshot"
    )
    cloud.openstack("volume", "create", "--snapshot", "snap", "copy", cloud=DEMO)
    available("copy")
    assert "have snapshots" in cloud.openstack("volume", "delete", "data2", cloud=DEMO, check=False)
    cloud.openstack("volume", "snapshot", "delete", "snap", cloud=DEMO)
    cloud.openstack("volume", "delete", "copy", cloud=DEMO)

    cloud.openstack("volume", "type", "create", "--private", "--property", "speed=1", "gold")
    assert "could not be found" in cloud.openstack(
        "volume", "create", "--size", "1", "--type", "gold", "x", cloud=DEMO, check=False
    )
    cloud.openstack("volume", "type", "set", "--project", "demo", "gold")
    cloud.openstack("volume", "set", "--type", "gold", "data2", cloud=DEMO)
    assert shown("data2")["type"] == "gold"

    assert {row["Binary"] for row in cloud.show("volume", "service", "list")} == {"cinder-scheduler", "cinder-volume"}
    assert cloud.show("availability", "zone", "list", "--volume", cloud=DEMO)[0]["Zone Name"] == "nova"
    cloud.openstack("quota", "set", "--volumes", "3", "demo")
    quota = {row["Resource"]: row["Limit"] for row in cloud.show("quota", "show", "--volume", cloud=DEMO)}
    assert quota["volumes"] == 3
    assert cloud.show("extension", "list", "--volume")


def test_a_servers_volume_by_the_stock_client(simulated: Cloud) -> None:
    cloud = simulated
    image = cloud.show("image", "list", cloud=DEMO)[0]["ID"]
    create = ("server", "create", "--image", image, "--flavor", "m1.nano", "--network", "private", "--wait", "holder")
    cloud.openstack(*create, cloud=DEMO)
    cloud.openstack("volume", "create", "--size", "1", "plugged", cloud=DEMO)

    def status() -> str:
        return str(cloud.show("volume", "show", "plugged", cloud=DEMO)["status"])

    cloud.wait_for(lambda: status() == "available", "the volume is available", 60)
    assert cloud.show("server", "add", "volume", "holder", "plugged", cloud=DEMO)["Device"] == "/dev/vdb"
    cloud.wait_for(lambda: status() == "in-use", "the volume is in use", 60)
    row = cloud.show("volume", "list", "--name", "plugged", cloud=DEMO)[0]
    assert row["Attached to"][0]["device"] == "/dev/vdb"
    attachment = cloud.show("volume", "attachment", "list", cloud=DEMO)[0]
    assert attachment["Status"] == "attached"
    said = cloud.openstack("volume", "attachment", "delete", attachment["ID"], cloud=DEMO, check=False)
    assert "using the Compute API" in said
    cloud.openstack("server", "remove", "volume", "holder", "plugged", cloud=DEMO)
    cloud.wait_for(lambda: status() == "available", "the volume is available again", 60)
    cloud.openstack("volume", "delete", "plugged", cloud=DEMO)
    cloud.openstack("server", "delete", "--wait", "holder", cloud=DEMO)
