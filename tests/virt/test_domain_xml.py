# SPDX-License-Identifier: Apache-2.0
"""Domain XML against golden files, and defined on libvirt's own test driver.

A missing golden file is written, and its test fails once to say so: read the file before you commit it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import libvirt
import pytest

from computeapi.virt.base import DiskSpec, DomainSpec, HypervisorError, NicSpec
from computeapi.virt.libvirt import domain_xml, networks
from computeapi.virt.libvirt.domain_xml import HostFacts
from computeapi.virt.libvirt.xml import parse, to_text
from tests.virt.specs import NASTY, NETWORKS, UUID

GOLDEN = Path(__file__).parent / "golden"
QEMU = HostFacts("qemu", "/state/disks", "/state/consoles")
KVM = HostFacts("kvm", "/state/disks", "/state/consoles", disk_cache="writeback")
ROOT = DiskSpec(f"{UUID}_disk", "vda", boot_index=1, serial=UUID)
CONFIG = DiskSpec(f"{UUID}_config", "hda", bus="ide", device="cdrom", format="raw", read_only=True)
NIC = NicSpec("fa:16:3e:00:00:01", "net-01234567890", tap="tap01234567-89")

PLAIN = DomainSpec(UUID, "instance-0000002a", 1, 64, (ROOT,), (NIC,), title="hello")
GUESTS: dict[str, tuple[DomainSpec, HostFacts]] = {
    "plain": (PLAIN, QEMU),
    "bare": (DomainSpec(UUID, "instance-0000002b", 1, 64, (), ()), QEMU),
    "kvm": (replace(PLAIN, vcpus=4, memory_mb=8192, metadata={"owner": "p1", "user": "u1", "flavor": "m1.large"}), KVM),
    "many-devices": (
        replace(
            PLAIN,
            memory_mb=4096,
            disks=(
                ROOT,
                DiskSpec("data", "vdb", format="raw", path="/volumes/volume-1"),
                DiskSpec("more", "sda", bus="scsi", boot_index=2),
                DiskSpec("slow", "sdb", bus="sata", read_only=True),
                CONFIG,
            ),
            nics=(NIC, NicSpec("fa:16:3e:00:00:02", "net-other", model="e1000", filters=("sg-1",), mtu=1400)),
        ),
        QEMU,
    ),
    "uefi": (
        replace(PLAIN, disks=(ROOT, CONFIG), image_properties={"hw_firmware_type": "uefi", "hw_video_model": "virtio"}),
        QEMU,
    ),
    "secure": (
        replace(PLAIN, image_properties={"hw_firmware_type": "uefi", "os_secure_boot": "required"}),
        QEMU,
    ),
    "neutron": (
        replace(
            PLAIN,
            nics=(
                NicSpec("fa:16:3e:00:00:03", "", tap="tap0", mtu=1442, bridge="br-int", ovs_port=UUID),
                NicSpec("fa:16:3e:00:00:04", "", tap="tap1", bridge="brq7f2d1a52-5a"),
                NicSpec("fa:16:3e:00:00:05", "", tap="tap2"),
            ),
        ),
        QEMU,
    ),
    "pci": (replace(PLAIN, pci=("0000:04:10.2", "0001:af:00.7")), QEMU),
    "spice": (PLAIN, replace(QEMU, spice=True)),
    "q35": (replace(PLAIN, disks=(ROOT, CONFIG), image_properties={"hw_machine_type": "q35"}), QEMU),
    "nasty": (replace(PLAIN, title=NASTY, metadata={"owner": NASTY, NASTY: "x"}), QEMU),
}


def compare(name: str, text: str) -> None:
    """`text` is what the golden file says."""
    path = GOLDEN / f"{name}.xml"
    if not path.exists():
        path.write_text(text + "\n")
        pytest.fail(f"{path.name} was not there and is now written: read it, then run the test again")
    wanted = path.read_text().rstrip("\n")
    if text != wanted:
        pytest.fail("\n".join(difflib.unified_diff(wanted.splitlines(), text.splitlines(), path.name, "now")))


@pytest.fixture(scope="module")
def test_driver() -> Iterator[Any]:
    conn = libvirt.open("test:///default")
    yield conn
    conn.close()


@pytest.mark.parametrize("name", GUESTS)
def test_golden(name: str) -> None:
    compare(name, domain_xml.build(*GUESTS[name]))


@pytest.mark.parametrize("name", [name for name, (_, host) in GUESTS.items() if host.virt_type == "qemu"])
def test_libvirt_takes_it(name: str, test_driver: Any) -> None:
    """The test driver has its own kind of guest and no firmware; all else is read as for a real one."""
    spec, host = GUESTS[name]
    root = parse(domain_xml.build(spec, host))
    root.set("type", "test")
    system = root.find("os")
    assert system is not None
    if system.attrib.pop("firmware", None):
        system.remove(system.findall("firmware")[0])
    domain = test_driver.defineXML(to_text(root))
    try:
        assert domain.UUIDString() == UUID
        kept = parse(domain.XMLDesc(0))
        assert len(kept.findall("devices/disk")) == len(spec.disks)
        assert len(kept.findall("devices/interface")) == len(spec.nics)
    finally:
        domain.undefine()


def test_each_part_is_exercised() -> None:
    """Every declared part gives something for some guest here, so that the golden files know it."""
    parts = {*domain_xml.PARTS, *domain_xml.DEVICES}
    silent = {part.__name__ for part in parts if not any(list(part(spec, host)) for spec, host in GUESTS.values())}
    assert silent == set()


def test_no_value_becomes_markup() -> None:
    text = domain_xml.build(*GUESTS["nasty"])
    root = ElementTree.fromstring(text)
    plain = ElementTree.fromstring(domain_xml.build(*GUESTS["plain"]))
    entries = root.findall(f"metadata/*/{{{domain_xml.NAMESPACE}}}entry")
    assert [each.tag for each in root] == [each.tag for each in plain]
    assert len(root.findall("devices/*")) == len(plain.findall("devices/*"))
    safe = NASTY.replace("\x00", "\ufffd").replace("\x1b", "\ufffd")
    assert {each.get("name"): each.text for each in entries} == {"owner": safe, safe: "x"}
    assert "\n" not in (root.findtext("title") or "")


def test_more_than_one_filter_is_refused() -> None:
    with pytest.raises(HypervisorError, match="one filter"):
        domain_xml.nic(replace(NIC, filters=("a", "b")))


@pytest.mark.parametrize("name", NETWORKS)
def test_network_golden(name: str, test_driver: Any) -> None:
    text = networks.network_xml(NETWORKS[name])
    compare(f"network-{name}", text)
    network = test_driver.networkDefineXML(text)
    try:
        hosts = parse(network.XMLDesc(0)).findall("ip/dhcp/host")
        assert [host.get("ip") for host in hosts] == [host.address for host in NETWORKS[name].hosts]
    finally:
        network.undefine()
