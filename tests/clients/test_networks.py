# SPDX-License-Identifier: Apache-2.0
"""The stock client's network commands, on the simulator."""

from __future__ import annotations

from tests.clients.clouds import Cloud


def test_networks_by_the_stock_client(simulated: Cloud) -> None:
    cloud = simulated
    public = cloud.show("network", "create", "public", "--external", "--share")
    assert public["router:external"] is True
    cloud.openstack("subnet", "create", "outside", "--network", "public", "--subnet-range", "192.0.2.0/24", "--no-dhcp")
    made = cloud.show("network", "create", "blue", "--tag", "one", cloud="computeapi-demo")
    assert made["tags"] == ["one"]
    inside = cloud.show(
        "subnet", "create", "inside", "--network", "blue", "--subnet-range", "10.77.0.0/24",
        "--dns-nameserver", "192.0.2.53", "--allocation-pool", "start=10.77.0.10,end=10.77.0.20",
        cloud="computeapi-demo",
    )  # fmt: skip
    assert inside["allocation_pools"] == [{"start": "10.77.0.10", "end": "10.77.0.20"}]
    port = cloud.show(
        "port", "create", "p", "--network", "blue", "--fixed-ip", "subnet=inside,ip-address=10.77.0.15",
        cloud="computeapi-demo",
    )  # fmt: skip
    assert port["fixed_ips"][0]["ip_address"] == "10.77.0.15"
    cloud.openstack("port", "set", "p", "--description", "d", cloud="computeapi-demo")
    assert cloud.show("port", "list", "--fixed-ip", "ip-address=10.77.0.15", cloud="computeapi-demo")[0]["Name"] == "p"
    cloud.openstack("router", "create", "r", cloud="computeapi-demo")
    cloud.openstack("router", "add", "subnet", "r", "inside", cloud="computeapi-demo")
    cloud.openstack("router", "set", "r", "--external-gateway", "public", cloud="computeapi-demo")
    shown = cloud.show("router", "show", "r", cloud="computeapi-demo")
    assert shown["interfaces_info"][0]["ip_address"] == "10.77.0.1"
    assert shown["external_gateway_info"]["external_fixed_ips"][0]["ip_address"] == "192.0.2.2"
    assert "in use" in cloud.openstack("network", "delete", "blue", cloud="computeapi-demo", check=False)
    cloud.openstack("router", "remove", "subnet", "r", "inside", cloud="computeapi-demo")
    cloud.openstack("router", "delete", "r", cloud="computeapi-demo")
    cloud.openstack("port", "delete", "p", cloud="computeapi-demo")
    cloud.openstack("subnet", "delete", "inside", cloud="computeapi-demo")
    cloud.openstack("network", "delete", "blue", cloud="computeapi-demo")
    assert [net["Name"] for net in cloud.show("network", "list", cloud="computeapi-demo")] == ["private", "public"]
    assert cloud.show("extension", "list", "--network")
    cloud.openstack("quota", "show", "--network", cloud="computeapi-demo")
    cloud.openstack("quota", "set", "--networks", "7", "demo")
    assert cloud.show("ip", "availability", "list")
    cloud.openstack("network", "delete", "public")
