# SPDX-License-Identifier: Apache-2.0
"""Two clouds for the stock clients: one with real guests, one on the simulator."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.clouds import OLD_CLIENTS, Cloud, Shell
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


@pytest.fixture(scope="session")
def openstack(simulated: Cloud) -> Iterator[Shell]:
    """The `openstack` client as the administrator of that cloud."""
    shell = Shell(simulated, "openstack")
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def demo(simulated: Cloud) -> Iterator[Shell]:
    """The same as a user of the project `demo`."""
    shell = Shell(simulated, "openstack", name="computeapi-demo")
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def nova(simulated: Cloud) -> Iterator[Shell]:
    """Today's python-novaclient as the administrator."""
    shell = Shell(simulated, "nova")
    yield shell
    shell.close()


@pytest.fixture(scope="session")
def old_nova(simulated: Cloud) -> Iterator[Shell]:
    """python-novaclient 7.1.2, the last one that knows nova-network, as the administrator."""
    shell = Shell(simulated, "nova", OLD_CLIENTS)
    yield shell
    shell.close()
