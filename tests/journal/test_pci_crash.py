# SPDX-License-Identifier: Apache-2.0
"""Servers with a PCI device, killed anywhere: each has one on every host of which it takes something, and no other.

What else must be so in the end is tests/journal/test_crash.py's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

import pytest
from sqlalchemy import select

from computeapi.db.models import Allocation, PciClaim
from computeapi.settings import Settings
from tests.journal import test_crash as crash
from tests.journal import world as worlds
from tests.journal.world import Databases, World, opened

DEVICES = [{"address": f"0000:04:10.{number}", "vendor_id": "8086", "product_id": "1520"} for number in range(3)]
PLACING = (
    *("build", "delete", "soft_delete", "resize", "confirm_resize", "revert_resize", "shelve_offload", "unshelve"),
    *("move", "revert_move", "evacuate", "clean_up"),
)
every_operation = pytest.mark.parametrize("operation", PLACING)


class PciWorld(World):
    """Each host has devices, and each server asks for one."""

    def _add_network(self) -> None:
        super()._add_network()
        alias, offered = '{"name": "card", "vendor_id": "8086"}', '{"vendor_id": "8086"}'
        self.settings = replace(self.settings, alias=alias, device_spec=offered)
        self.services = replace(self.services, settings=self.settings)
        self.driver.pci = DEVICES

    def add_second_host(self) -> None:
        """There is host2 as well."""
        super().add_second_host()
        self.drivers[1].pci = DEVICES
        self.heir.take_over()

    def check_quiet(self) -> None:
        """As elsewhere, and nobody has a device where it takes nothing."""
        super().check_quiet()
        with self.db.read() as conn:
            places = {(row[0], row[1]) for row in conn.execute(select(Allocation.server_id, Allocation.host))}
            claims = [(row[0], row[1]) for row in conn.execute(select(PciClaim.server_id, PciClaim.host))]
        assert sorted(claims) == sorted(places)


@pytest.fixture
def world(settings: Settings, databases: dict[str, Databases], monkeypatch: pytest.MonkeyPatch) -> Iterator[PciWorld]:
    """A cloud of one host, whose servers have a device."""
    flavor = {**worlds.FLAVOR, "extra_specs": {"pci_passthrough:alias": "card:1"}}
    monkeypatch.setattr(worlds, "FLAVOR", flavor)
    with opened(PciWorld, settings, databases) as world:
        yield world


@every_operation
def test_killed_anywhere(world: PciWorld, operation: str) -> None:
    crash.test_killed_anywhere(world, operation)


@every_operation
def test_each_call_of_the_hypervisor_fails(world: PciWorld, operation: str) -> None:
    crash.test_each_call_of_the_hypervisor_fails(world, operation)


@every_operation
def test_delete_overtakes_anywhere(world: PciWorld, operation: str) -> None:
    crash.test_delete_overtakes_anywhere(world, operation)


def test_the_devices_are_as_many_as_they_are(world: PciWorld) -> None:
    """The fourth finds none."""
    for _ in range(4):
        world.create()
    world.heir.live()
    with world.db.read() as conn:
        taken = sorted(conn.execute(select(PciClaim.address)).scalars())
    assert taken == [device["address"] for device in DEVICES], json.dumps(taken)
