# SPDX-License-Identifier: Apache-2.0
"""A host's PCI devices: read from libvirt's definitions, offered by `[pci] device_spec`, shown by os-pci."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from computeapi import errors, pci
from computeapi.compute.service import take_over
from tests.cloud import Compute
from tests.conftest import Api

CARD = {"address": "0000:04:00.0", "vendor_id": "8086", "product_id": "1521", "dev_type": "type-PF"}
PORT = {"address": "0000:04:10.1", "vendor_id": "8086", "product_id": "1520", "dev_type": "type-VF", "numa_node": 1}
DISK = {"address": "0000:05:00.0", "vendor_id": "1af4", "product_id": "1042", "dev_type": "type-PCI"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("", []),
        ("[]", []),
        ('{"vendor_id": "8086"}', [CARD, PORT]),
        ('[{"vendor_id": "8086", "product_id": "1520"}, {"vendor_id": "1AF4"}]', [PORT, DISK]),
        ('[{"address": "0000:04:*"}]', [CARD, PORT]),
        ('[{"address": "0000:04:*", "vendor_id": "1af4"}]', []),
    ],
)
def test_what_is_offered(spec: str, expected: list[Any]) -> None:
    assert pci.offered([CARD, PORT, DISK], spec) == expected


@pytest.mark.parametrize("spec", ["{", "7", "[7]", "[{}]", '[{"vendor": "8086"}]', '[{"vendor_id": 8086}]'])
def test_a_setting_that_is_none(spec: str) -> None:
    with pytest.raises(errors.BadRequest, match=r"\[pci\] device_spec"):
        pci.offered([], spec)


def test_os_pci_shows_them(compute: Compute, api: Api) -> None:
    """Written anew when the compute service starts, with the setting as it is then."""
    admin = api.become("admin")
    tools = compute.tools
    info = replace(compute.driver.host_info(), pci=[CARD, PORT, DISK])
    for spec, addresses in (('{"vendor_id": "8086"}', ["0000:04:00.0", "0000:04:10.1"]), ("", [])):
        settings = replace(tools.settings, device_spec=spec)
        take_over(settings, tools.db, tools.driver, tools.images, tools.seal, info)
        shown = admin.get("/os-pci/detail").json["pci_devices"]
        assert [device["address"] for device in shown] == addresses
        if shown:
            assert [device["dev_type"] for device in shown] == ["type-PF", "type-VF"]
            stats = admin.get("/os-hypervisors/os-pci").json["hypervisors"][0]["os-pci:pci_stats"]
            assert sorted(pool["product_id"] for pool in stats) == ["1520", "1521"]
