# SPDX-License-Identifier: Apache-2.0
"""Two clouds for the stock clients: one with real guests, one on the simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.clouds import Cloud
from tests.guest.hosts import IsolatedHost, isolated_host, tiny_image


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedHost]:
    """A libvirt host in namespaces of its own."""
    yield from isolated_host(tmp_path_factory.mktemp("hv"))


@pytest.fixture(scope="session")
def guests(host: IsolatedHost) -> Iterator[Cloud]:
    """A cloud whose servers are real guests on that host."""
    cloud = Cloud(
        host.state_dir,
        [
            "--hypervisor",
            "libvirt",
            "--libvirt-uri",
            host.uri,
            "--virt-type",
            "qemu",
            "--image-file",
            str(tiny_image()),
        ],
    )
    cloud.start()
    yield cloud
    cloud.stop()


@pytest.fixture(scope="session")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud on the simulator: for the many commands that need no guest."""
    cloud = Cloud(tmp_path_factory.mktemp("simulated"), ["--hypervisor", "simulator"])
    cloud.start()
    yield cloud
    cloud.stop()
