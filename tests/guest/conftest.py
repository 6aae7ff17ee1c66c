# SPDX-License-Identifier: Apache-2.0
"""What the tests with real guests share: one isolated libvirt host a session, and the image they boot."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from computeapi.virt import load
from computeapi.virt.base import Hypervisor
from tests.guest.hosts import IsolatedHost, isolated_host, tiny_image


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IsolatedHost]:
    """One running host: its libvirt URI, network namespace and directories."""
    yield from isolated_host(tmp_path_factory.mktemp("hv"))


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The image `tiny`."""
    return tiny_image()


@pytest.fixture
def driver(host: IsolatedHost) -> Iterator[Hypervisor]:
    """A driver of that host, closed after the test."""
    hypervisor = load("libvirt", uri=host.uri, virt_type="qemu", state_dir=host.state_dir, host="host")
    yield hypervisor
    hypervisor.close()
