# SPDX-License-Identifier: Apache-2.0
"""PCI devices as libvirt defines them."""

from __future__ import annotations

import pytest

pytest.importorskip("libvirt")

from computeapi.virt.libvirt.pci import described

DEVICE = """<device><name>pci_0001_0a_1f_7</name><driver><name>igb</name></driver>
<capability type='pci'><class>0x020000</class><domain>1</domain><bus>10</bus><slot>31</slot><function>7</function>
<product id='0x1521'>I350</product><vendor id='0x8086'>Intel</vendor>{more}</capability></device>"""


@pytest.mark.parametrize(
    ("more", "kind", "node"),
    [
        ("", "type-PCI", None),
        ("<capability type='virt_functions' maxCount='7'/><numa node='1'/>", "type-PF", 1),
        ("<capability type='virt_functions'/>", "type-PCI", None),
        ("<capability type='phys_function'><address bus='0x0a'/></capability><numa node='0'/>", "type-VF", 0),
    ],
)
def test_described(more: str, kind: str, node: int | None) -> None:
    found = described(DEVICE.format(more=more))
    assert found.pop("numa_node", None) == node
    assert found == {
        "address": "0001:0a:1f.7",
        "vendor_id": "8086",
        "product_id": "1521",
        "dev_id": "pci_0001_0a_1f_7",
        "dev_type": kind,
    }
