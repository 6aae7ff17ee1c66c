# SPDX-License-Identifier: Apache-2.0
"""The neighbours, started once for all tests here: they take the longest."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from keystoneauth1.adapter import Adapter

from tests.clients.clouds import Cloud
from tests.neighbours.clouds import (
    ALICE,
    NeighbourCloud,
    boot,
    fill_cinder,
    fill_keystone,
    fill_neutron,
    service,
    write_clouds,
)
from tests.neighbours.services import BIN, Neighbours


@pytest.fixture(scope="session")
def neighbours(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Neighbours]:
    """Keystone, Glance, Neutron and Cinder; users `alice` (member) and `rita` (reader) of the project `wonderland`, and
    `tweedledee` (member) of another."""
    if not (BIN / "keystone-manage").exists():
        pytest.skip("the neighbours are not in .venv-neighbours: tools/test installs them")
    neighbours = Neighbours(tmp_path_factory.mktemp("neighbours"))
    try:
        neighbours.start_keystone()
        write_clouds(neighbours)
        endpoints = {
            "compute": f"http://127.0.0.1:{neighbours.compute_port}/v2.1",
            "image": neighbours.glance,
            "block-storage": neighbours.cinder,
            "volumev3": neighbours.cinder,
            "network": neighbours.neutron,
        }
        fill_keystone(neighbours, endpoints)
        with ThreadPoolExecutor() as pool:
            starts = (neighbours.start_glance, neighbours.start_neutron, neighbours.start_cinder)
            for started in [pool.submit(start) for start in starts]:
                started.result()
        fill_neutron(neighbours)
        fill_cinder(neighbours)
        yield neighbours
    finally:
        neighbours.close()


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory, neighbours: Neighbours) -> Iterator[Cloud]:
    """Our cloud beside them, on the simulator."""
    cloud = NeighbourCloud(
        tmp_path_factory.mktemp("cloud"),
        ["--hypervisor", "simulator"],
        port=neighbours.compute_port,
        neighbours=neighbours,
    )
    try:
        cloud.start()
        yield cloud
    finally:
        cloud.stop()


@pytest.fixture(scope="session")
def image(neighbours: Neighbours) -> str:
    """An image of hers."""
    glance = service(neighbours, "image", *ALICE)
    body = {"name": "walrus", "disk_format": "raw", "container_format": "bare"}
    made = str(glance.post("/v2/images", json=body).json()["id"])
    glance.put(f"/v2/images/{made}/file", data=bytes(1 << 20), headers={"Content-Type": "application/octet-stream"})
    return made


@pytest.fixture(scope="module")
def nova(neighbours: Neighbours, cloud: Cloud) -> Adapter:
    """Our own, asked by alice."""
    return service(neighbours, "compute", *ALICE)


@pytest.fixture(scope="module")
def server(neighbours: Neighbours, nova: Adapter, image: str) -> Iterator[str]:
    """A server on `private`, without volumes."""
    server_id = boot(neighbours, nova, imageRef=image)
    yield server_id
    nova.delete(f"/servers/{server_id}")
