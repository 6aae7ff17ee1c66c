# SPDX-License-Identifier: Apache-2.0
"""The config drive, read back from the image as a guest would read it."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from typing import Any

import pycdlib
import pytest

from computeapi.compute.config_drive import (
    VERSIONS,
    Address,
    ConfigDriveData,
    Device,
    Interface,
    Key,
    Route,
    build,
    documents,
    network_data,
)
from tests.virt.specs import NASTY, UUID

DHCP = Address("10.0.0.5", "10.0.0.0/24", "10.0.0.1", ("10.0.0.1",))
FIXED = Address(
    "192.0.2.9", "192.0.2.0/28", "192.0.2.1", ("198.51.100.1",), (Route("203.0.113.0/24", "192.0.2.2"),), dhcp=False
)
SIX = Address("2001:db8::5", "2001:db8::/64", "2001:db8::1", dhcp=False)
META = ConfigDriveData(
    uuid=UUID,
    name="hello",
    hostname="hello.novalocal",
    project_id="p1",
    key=Key("mine", "ssh-ed25519 AAAA me"),
    metadata={"role": "web"},
    user_data=b"#!/bin/sh\necho hi\n",
    files=(("/etc/motd", b"welcome\n"), ("/etc/empty", b"")),
    admin_pass="not-a-real-one",
    random_seed=b"\1" * 512,
    interfaces=(Interface("port-1", "fa:16:3e:00:00:01", "net-1", (DHCP,), "tap1", mtu=1400),),
    devices=(
        Device("disk", "scsi", "0:0:0:0", ("data",), serial="s", path="/dev/sda"),
        Device("nic", mac="fa:16:3e:00:00:01"),
    ),
    flavor="m1.tiny",
    security_groups=("default",),
    reservation_id="r-1",
    ec2_instance_id="i-00000001",
    ec2_image_id="ami-00000001",
)


def read(image: bytes, extension: str) -> dict[str, bytes]:
    """Every file of an image by its path, as `extension` ("rr_path" or "joliet_path") names it."""
    disc = pycdlib.PyCdlib()
    disc.open_fp(io.BytesIO(image))
    found: dict[str, bytes] = {}
    for folder, _, names in disc.walk(**{extension: "/"}):
        for name in names:
            path = f"{folder.rstrip('/')}/{name}"
            output = io.BytesIO()
            disc.get_file_from_iso_fp(output, **{extension: path})
            found[path[1:]] = output.getvalue()
    disc.close()
    return found


@pytest.mark.parametrize("extension", ["rr_path", "joliet_path"])
def test_the_drive_holds_the_documents(extension: str) -> None:
    image = build(META)
    assert image[0x8028:0x8048].rstrip() == b"config-2"
    assert read(image, extension) == documents(META)


def test_the_same_input_gives_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(META)
    later = time.time() + 100_000
    monkeypatch.setattr(time, "time", lambda: later)
    assert build(META) == first
    assert ConfigDriveData(uuid="u", name="n", hostname="h", project_id="p").random_seed != b""


def of(meta: ConfigDriveData, path: str) -> Any:
    return json.loads(documents(meta)[path])


def test_layout() -> None:
    paths = set(documents(META))
    for version in VERSIONS:
        assert {f"openstack/{version}/meta_data.json", f"openstack/{version}/user_data"} <= paths
        assert (f"openstack/{version}/vendor_data.json" in paths) == (version >= "2013-10-17")
        assert (f"openstack/{version}/network_data.json" in paths) == (version >= "2015-10-15")
        assert (f"openstack/{version}/vendor_data2.json" in paths) == (version >= "2016-10-06")
    assert {"2012-08-10", "2013-04-04", "2017-02-22", "2018-08-27", "latest"} <= set(VERSIONS)
    assert {f"ec2/{v}/{n}" for v in ("2009-04-04", "latest") for n in ("meta-data.json", "user-data")} <= paths
    bare = documents(replace(META, user_data=None, files=()))
    assert not [path for path in bare if "user" in path or "content" in path]


def test_meta_data() -> None:
    meta = of(META, "openstack/latest/meta_data.json")
    assert meta["uuid"] == UUID
    assert (meta["name"], meta["hostname"]) == ("hello", "hello.novalocal")
    assert meta["meta"] == {"role": "web"}
    assert meta["public_keys"] == {"mine": "ssh-ed25519 AAAA me"}
    assert meta["keys"] == [{"name": "mine", "type": "ssh", "data": "ssh-ed25519 AAAA me"}]
    assert (meta["launch_index"], meta["availability_zone"], meta["project_id"]) == (0, "nova", "p1")
    assert meta["admin_pass"] == "not-a-real-one"
    assert meta["dedicated_cpus"] == []
    assert len(meta["random_seed"]) == 684
    for entry, (path, content) in zip(meta["files"], META.files, strict=True):
        assert entry["path"] == path
        assert documents(META)["openstack" + entry["content_path"]] == content
    disk, nic = meta["devices"]
    assert disk == {
        "type": "disk",
        "bus": "scsi",
        "address": "0:0:0:0",
        "serial": "s",
        "path": "/dev/sda",
        "tags": ["data"],
    }
    assert nic == {"type": "nic", "bus": "none", "address": "none", "mac": "fa:16:3e:00:00:01", "vf_trusted": False}


def test_meta_data_by_version() -> None:
    oldest = of(META, "openstack/2012-08-10/meta_data.json")
    assert not {"random_seed", "project_id", "devices", "dedicated_cpus"} & set(oldest)
    assert "random_seed" in of(META, "openstack/2013-04-04/meta_data.json")
    assert "project_id" in of(META, "openstack/2015-10-15/meta_data.json")
    assert [each["type"] for each in of(META, "openstack/2016-06-30/meta_data.json")["devices"]] == ["disk"]
    assert "dedicated_cpus" not in of(META, "openstack/2018-08-27/meta_data.json")


def test_network_data() -> None:
    data = of(META, "openstack/latest/network_data.json")
    assert data["links"] == [
        {"id": "tap1", "vif_id": "port-1", "type": "bridge", "mtu": None, "ethernet_mac_address": "fa:16:3e:00:00:01"}
    ]
    assert data["networks"] == [{"id": "network0", "type": "ipv4_dhcp", "link": "tap1", "network_id": "net-1"}]
    assert data["services"] == [{"type": "dns", "address": "10.0.0.1"}]
    assert network_data(()) == {}


def test_network_data_of_fixed_addresses() -> None:
    data = network_data((Interface("port-2", "m", "net-2", (FIXED, SIX), mtu=9000),))
    assert data["links"][0]["mtu"] == 9000
    assert data["links"][0]["id"] == "interface0"
    four, six = data["networks"]
    assert (four["type"], four["ip_address"], four["netmask"]) == ("ipv4", "192.0.2.9", "255.255.255.240")
    assert four["routes"] == [
        {"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "192.0.2.1"},
        {"network": "203.0.113.0", "netmask": "255.255.255.0", "gateway": "192.0.2.2"},
    ]
    assert four["services"] == data["services"] == [{"type": "dns", "address": "198.51.100.1"}]
    assert (six["id"], six["type"], six["routes"][0]["network"]) == ("network1", "ipv6", "::")


def test_ec2() -> None:
    data = of(META, "ec2/latest/meta-data.json")
    assert (data["instance-id"], data["ami-id"], data["reservation-id"]) == ("i-00000001", "ami-00000001", "r-1")
    assert (data["local-ipv4"], data["instance-type"]) == ("10.0.0.5", "m1.tiny")
    assert data["public-keys"]["0"]["openssh-key"] == "ssh-ed25519 AAAA me"
    assert data["block-device-mapping"] == {"ami": "vda", "root": "/dev/vda"}
    assert data["placement"] == {"availability-zone": "nova"}


def test_vendor_data() -> None:
    meta = replace(META, vendor_data={"a": 1}, vendor_data2={"b": {"c": 2}})
    assert of(meta, "openstack/latest/vendor_data.json") == {"a": 1}
    assert of(meta, "openstack/latest/vendor_data2.json") == {"static": {"a": 1}, "b": {"c": 2}}


def test_nasty_names_are_only_content() -> None:
    meta = replace(META, name=NASTY, key=Key(NASTY, NASTY), metadata={NASTY: NASTY}, files=((NASTY, b"x"),))
    found = read(build(meta), "rr_path")
    assert set(found) == set(documents(META)) - {"openstack/content/0001"}
    kept = json.loads(found["openstack/latest/meta_data.json"])
    assert (kept["name"], kept["meta"], kept["files"][0]["path"]) == (NASTY, {NASTY: NASTY}, NASTY)


def test_a_large_drive() -> None:
    files = tuple((f"/data/{number}", bytes([number]) * 300_000) for number in range(8))
    meta = replace(META, files=files, user_data=b"u" * 65535)
    assert read(build(meta), "rr_path") == documents(meta)
