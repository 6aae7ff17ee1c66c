# SPDX-License-Identifier: Apache-2.0
"""The host's PCI devices, as libvirt's node devices have them."""

from __future__ import annotations

from typing import Any

import libvirt

from computeapi.virt.libvirt.errors import unless
from computeapi.virt.libvirt.xml import Element, parse


def devices(conn: Any) -> list[dict[str, Any]]:
    """All of them, by address, in the form of computeapi.db.queries.pci. None where libvirt's driver is not there."""
    found: list[dict[str, Any]] = []
    with unless(libvirt.VIR_ERR_NO_SUPPORT):
        for device in conn.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_PCI_DEV):
            with unless(libvirt.VIR_ERR_NO_NODE_DEVICE):  # pulled out meanwhile
                found.append(described(device.XMLDesc(0)))
    return sorted(found, key=lambda device: str(device["address"]))


def described(text: str) -> dict[str, Any]:
    """A device by its definition."""
    root = parse(text)
    pci = root.find("capability[@type='pci']")
    assert pci is not None, text
    domain, bus, slot = (int(pci.findtext(name, "0"), 0) for name in ("domain", "bus", "slot"))
    found = {
        "address": f"{domain:04x}:{bus:02x}:{slot:02x}.{int(pci.findtext('function', '0'), 0):x}",
        "vendor_id": _number(pci.find("vendor")),
        "product_id": _number(pci.find("product")),
        "dev_id": root.findtext("name", ""),
        "dev_type": _kind(pci),
    }
    node = pci.find("numa")
    return found if node is None else {**found, "numa_node": int(str(node.get("node")))}


def _number(entry: Element | None) -> str:
    return "0000" if entry is None else f"{int(str(entry.get('id')), 0):04x}"


def _kind(pci: Element) -> str:
    """Nova's: whether it is made of another device (VF), or others can be made of it (PF)."""
    if pci.find("capability[@type='phys_function']") is not None:
        return "type-VF"
    virtual = pci.find("capability[@type='virt_functions']")
    return "type-PF" if virtual is not None and (len(virtual) or virtual.get("maxCount")) else "type-PCI"
