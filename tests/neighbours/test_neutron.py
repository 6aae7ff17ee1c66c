# SPDX-License-Identifier: Apache-2.0
"""A real Neutron from PyPI beside our cloud: what its API says of networks, ports and floating IPs."""

from __future__ import annotations

import uuid

import pytest

from tests.neighbours.clouds import ask_neutron
from tests.neighbours.services import Neighbours

pytestmark = pytest.mark.clients


def test_a_port_is_bound_to_our_host(neighbours: Neighbours) -> None:
    neutron = ask_neutron(neighbours)
    (private,) = neutron.get("/v2.0/networks?name=private").json()["networks"]
    who = {"device_id": str(uuid.uuid4()), "device_owner": "compute:nova", "binding:host_id": "host1"}
    port = neutron.post("/v2.0/ports", json={"port": {"network_id": private["id"], **who}}).json()["port"]
    assert (port["status"], port["binding:vif_type"]) == ("ACTIVE", "bridge")
    (public,) = neutron.get("/v2.0/networks?name=public").json()["networks"]
    body = {"floatingip": {"floating_network_id": public["id"], "port_id": port["id"]}}
    floating = neutron.post("/v2.0/floatingips", json=body).json()["floatingip"]
    assert floating["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    neutron.delete(f"/v2.0/floatingips/{floating['id']}")
    neutron.delete(f"/v2.0/ports/{port['id']}")
