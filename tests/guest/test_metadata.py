# SPDX-License-Identifier: Apache-2.0
"""The metadata service asked by real guests on two networks: each is told of itself, and of nothing else.

The first guest has no config drive, and gets its name and its user data from the service.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from computeapi.db.queries import addresses
from tests.databases import Engine
from tests.guest.cloud import Cloud, Inside
from tests.guest.hosts import IsolatedHost, wait_for

pytestmark = pytest.mark.guest

PASSWORD = "xlozO3wLCBRWAa2yDjCCVx8vwNPypxnypmRYDa/zErlQ+EzPe1S/Gz6nfmC52mOlOSCRuUOmG7kqqgejPof6M7b=="


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(host, directory, database_engine.new(directory), tiny, force_config_drive=False)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def pair(cloud: Cloud, host: IsolatedHost) -> tuple[Inside, Inside]:
    """Two guests on two networks, the second with a config drive as well."""
    flavor = cloud.flavor()
    with cloud.db.write() as conn:
        other = addresses.create_network(conn, name="other", cidr="10.67.0.0/24", project_id=cloud.api.project_id)
        (private,) = [key for _, key in addresses.visible_networks(conn, "nobody")]
    data = base64.b64encode(b"#!/bin/sh\necho fed by the service\n").decode()
    one = cloud.boot(flavor, name="one", networks=[{"uuid": private}], user_data=data, metadata={"colour": "green"})
    data = base64.b64encode(b"#!/bin/sh\necho fed by the drive\n").decode()
    two = cloud.boot(flavor, name="two", networks=[{"uuid": other}], user_data=data, config_drive=True)
    first, second = Inside(one, host.uri), Inside(two, host.uri)
    first.ready()
    second.ready()
    return first, second


def ask(guest: Inside, path: str, method: str = "GET", body: str = "", headers: str = "", port: int = 80) -> str:
    """All that a guest is answered."""
    length = f"Content-Length: {len(body)}\\r\\n" if body else ""
    request = f"{method} {path} HTTP/1.0\\r\\n{headers}{length}\\r\\n{body}"
    where = "169.254.169.254" if port == 80 else "$(ip route | awk '/default/ {print $3}')"
    return guest.run(f"printf '{request}' | nc -w 5 {where} {port}")[1]


def read(guest: Inside, path: str, headers: str = "") -> str:
    """The document that it is answered with."""
    head, _, body = ask(guest, path, headers=headers).partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 "), (path, head)
    return body


def console(guest: Inside) -> str:
    """What it wrote."""
    return guest.guest.cloud.driver.console_output(guest.id, None)


def test_a_guest_without_config_drive_is_told_by_the_service(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    wait_for(lambda: f"GUEST-METADATA uuid={first.id} name=one" in console(first), "it knows who it is")
    wait_for(lambda: "GUEST-USERDATA fed by the service" in console(first), "its user data has run")
    wait_for(lambda: first.run("hostname")[1].strip() == "one", "its name")
    assert cloud.compute.volumes(first.id) == ["disk"]
    assert "GUEST-CONFIGDRIVE" not in console(first)
    wait_for(lambda: "GUEST-USERDATA fed by the drive" in console(second), "user data by the drive")
    assert "GUEST-METADATA" not in console(second)
    assert sorted(cloud.compute.volumes(second.id)) == ["config", "disk"]


def test_each_guest_reads_its_own(pair: tuple[Inside, Inside]) -> None:
    lie = f"X-Forwarded-For: {pair[1].address}\\r\\nX-Instance-ID: {pair[1].id}\\r\\n"
    for guest, name, headers in ((pair[0], "one", lie), (pair[1], "two", "")):
        told = json.loads(read(guest, "/openstack/latest/meta_data.json", headers))
        assert (told["uuid"], told["name"], told["hostname"]) == (guest.id, name, f"{name}.novalocal")
        assert "admin_pass" not in told
        assert told.get("meta") == ({"colour": "green"} if name == "one" else None)
        assert read(guest, "/latest/meta-data/local-ipv4") == guest.address
        assert read(guest, "/latest/meta-data/hostname") == f"{name}.novalocal"
        network = json.loads(read(guest, "/openstack/latest/network_data.json"))
        mac = guest.run("cat /sys/class/net/eth0/address")[1].strip()
        assert [link["ethernet_mac_address"] for link in network["links"]] == [mac]
    assert "fed by the service" in read(pair[0], "/latest/user-data")
    assert "fed by the drive" in read(pair[1], "/openstack/latest/user_data")
    assert ask(pair[0], "/openstack/latest/nothing").startswith("HTTP/1.1 404 ")


def test_a_guest_sends_its_password_once(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    path = f"/servers/{first.id}/os-server-password"
    assert cloud.api.get(path).json == {"password": ""}
    assert ask(first, "/openstack/latest/password", "POST", PASSWORD).startswith("HTTP/1.1 200 ")
    assert cloud.api.get(path).json == {"password": PASSWORD}
    assert cloud.api.get(f"/servers/{second.id}/os-server-password").json == {"password": ""}
    assert read(second, "/openstack/latest/password") == ""
    assert ask(first, "/openstack/latest/password", "POST", "another").startswith("HTTP/1.1 409 ")
    assert read(first, "/openstack/latest/password") == PASSWORD
    assert cloud.api.delete(path).status_code == 204
    assert ask(first, "/openstack/latest/password", "POST", "another").startswith("HTTP/1.1 200 ")
    assert cloud.api.get(path).json == {"password": "another"}


def test_nobody_reads_for_another(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    """Neither from an address that is not its own, which its port lets it send from, nor at the port itself."""
    first, _ = pair
    port_id = cloud.api.get(f"/servers/{first.id}/os-interface").json["interfaceAttachments"][0]["port_id"]
    pairs = {"port": {"allowed_address_pairs": [{"ip_address": "10.66.0.0/24"}]}}
    assert cloud.api.put(f"/network/v2.0/ports/{port_id}", pairs).status_code == 200
    cloud.compute.work()
    first.run("ip addr add 10.66.0.77/24 dev eth0")
    assert first.pings("10.66.0.1", "-I 10.66.0.77"), "it may send from there"
    gateway = "ip route replace default via 10.66.0.1 dev eth0 src"
    first.run(f"{gateway} 10.66.0.77")
    assert ask(first, "/") == ""
    first.run(f"{gateway} {first.address}")
    assert ask(first, "/").startswith("HTTP/1.1 200 ")
    assert ask(first, "/", port=8775) == ""
    first.run("ip addr del 10.66.0.77/24 dev eth0")


def test_it_answers_again_after_a_restart(cloud: Cloud, host: IsolatedHost, pair: tuple[Inside, Inside]) -> None:
    cloud.compute.metadata.close()
    assert ask(pair[0], "/") == ""
    cloud.compute.restart()
    assert f'"uuid": "{pair[0].id}"' in read(pair[0], "/openstack/latest/meta_data.json")
    assert f'"uuid": "{pair[1].id}"' in read(pair[1], "/openstack/latest/meta_data.json")
