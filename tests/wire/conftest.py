# SPDX-License-Identifier: Apache-2.0
"""Servers, and what they are made of, written straight into the database."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson
import pytest
from sqlalchemy import insert

from computeapi import clock
from computeapi.backends.image import load as load_images
from computeapi.db.engine import Database
from computeapi.db.models import Flavor, Host, Image, ImageProperty
from computeapi.db.queries import addresses, servers
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.servers import ServerRow
from computeapi.settings import Settings
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.cloud import add_image as make_image
from tests.conftest import Api

FLAVOR = {
    "name": "m1.tiny",
    "vcpus": 1,
    "ram": 512,
    "disk": 1,
    "ephemeral": 0,
    "swap": 0,
    "rxtx_factor": 1.0,
    "extra_specs": {},
}
IMAGE_ID = "70a599e0-31e7-49b7-b260-868f441e862b"

MakeServer = Callable[..., ServerRow]


def server_values(project_id: str, user_id: str, **columns: Any) -> dict[str, Any]:
    """All columns that a running server's row must have."""
    moment = columns.get("created_at", clock.now())
    return {
        "uuid": str(uuid.uuid4()),
        "project_id": project_id,
        "user_id": user_id,
        "name": "server",
        "hostname": columns.get("name", "server").lower(),
        "vm_state": "active",
        "power_state": 1,
        "host": "host1",
        "node": "host1",
        "availability_zone": None,
        "reservation_id": "r-00000000",
        "image_id": IMAGE_ID,
        "flavor_id": "1",
        "flavor_json": orjson.dumps(FLAVOR).decode(),
        "vcpus": 1,
        "memory_mb": 512,
        "disk_gb": 1,
        "created_at": moment,
        "updated_at": moment,
        "launched_at": moment,
        **columns,
    }


@pytest.fixture
def make_server(api: Api, db: Database) -> MakeServer:
    """`make_server(name=…, owner=other_api, network=uuid, fixed_ip=…, <column>=…)`: an ACTIVE server of `owner`.

    Each is created a second after the one before.
    """
    seconds = itertools.count(-100_000)

    def make(
        *, owner: Api | None = None, network: str | None = None, fixed_ip: str | None = None, **columns: Any
    ) -> ServerRow:
        owner = owner or api
        columns.setdefault("created_at", clock.shifted(next(seconds)))
        values = server_values(owner.project_id, columns.pop("user_id", owner.user_id), **columns)
        with db.write() as conn:
            key = servers.insert(conn, values).id
            if network:
                wanted = [addresses.Requested(network_id=network, fixed_ip=fixed_ip)]
                addresses.allocate(conn, server_id=key, project_id=owner.project_id, requested=wanted)
                addresses.refresh(conn, key)
            row = servers.get_by_key(conn, key)
        assert row is not None
        return row

    return make


@pytest.fixture
def network(db: Database) -> str:
    """The uuid of a network "private" that all projects may use, 10.1.0.0/24."""
    with db.write() as conn:
        return addresses.create_network(conn, name="private", cidr="10.1.0.0/24", shared=True)


@pytest.fixture
def image(db: Database) -> str:
    """The id of a public, active image of 10 MiB."""
    return add_image(db)


def add_image(db: Database, properties: Mapping[str, str] | None = None, **columns: Any) -> str:
    """A public, active image of 10 MiB unless told; its id."""
    values = {
        "uuid": str(uuid.uuid4()),
        "name": "tiny",
        "status": "active",
        "visibility": "public",
        "owner": uuid.uuid4().hex,
        "disk_format": "qcow2",
        "container_format": "bare",
        "size": 10 * 1024**2,
        "created_at": clock.now(),
        "updated_at": clock.now(),
        **columns,
    }
    with db.write() as conn:
        key = insert_key(conn, insert(Image).values(**values))
        for name, value in (properties or {}).items():
            conn.execute(insert(ImageProperty).values(image_key=key, name=name, value=value))
    return str(values["uuid"])


@pytest.fixture
def flavor(db: Database) -> str:
    """The id of a public flavor: 1 CPU, 512 MiB, 1 GiB."""
    return add_flavor(db)


def add_flavor(db: Database, **columns: Any) -> str:
    """A public flavor; its id."""
    number = uuid.uuid4().hex[:8]
    values = {
        "flavor_id": number,
        "name": f"m1.{number}",
        "vcpus": 1,
        "memory_mb": 512,
        "disk_gb": 1,
        "created_at": clock.now(),
        **columns,
    }
    with db.write() as conn:
        conn.execute(insert(Flavor).values(**values))
    return str(values["flavor_id"])


@pytest.fixture
def host(db: Database) -> str:
    """The name of a compute host that is alive and large."""
    return add_host(db, "host1")


def add_host(db: Database, name: str, **columns: Any) -> str:
    """A compute host that is alive; its name."""
    values = {
        "uuid": str(uuid.uuid4()),
        "service_uuid": str(uuid.uuid4()),
        "name": name,
        "started_at": clock.now(),
        "last_seen_at": clock.now(),
        "hypervisor_hostname": f"{name}.example.org",
        "hypervisor_type": "simulator",
        "hypervisor_version": 1,
        "vcpus": 100,
        "memory_mb": 100_000,
        "disk_gb": 10_000,
        "cpu_allocation_ratio": 1.0,
        "ram_allocation_ratio": 1.0,
        "disk_allocation_ratio": 1.0,
        **columns,
    }
    with db.write() as conn:
        conn.execute(insert(Host).values(**values))
    return name


@pytest.fixture
def body(image: str, flavor: str) -> dict[str, Any]:
    """The least that a server needs."""
    return {"name": "web", "imageRef": image, "flavorRef": flavor}


@pytest.fixture
def compute(settings: Settings, db: Database) -> Iterator[Compute]:
    """The compute service of a simulated host of the same cloud; nothing happens until `work()`."""
    driver = SimulatedHypervisor("host1")
    yield Compute(settings, db, driver, load_images(settings, db))
    driver.close()


@pytest.fixture
def base_image(compute: Compute) -> str:
    """The id of a public image whose disk is 1 GiB."""
    return make_image(compute.images, empty_qcow2(1 << 30), properties={"hw_disk_bus": "virtio"}, min_ram=64)


Boot = Callable[..., str]


@pytest.fixture
def boot(api: Api, compute: Compute, base_image: str, network: str, flavor: str) -> Boot:
    """`boot(**server)`: a server made by POST /servers and running; its id."""

    def make(asker: Api = api, **more: Any) -> str:
        body = {"name": "server", "imageRef": base_image, "flavorRef": flavor, **more}
        answer = asker.post("/servers", {"server": body})
        assert answer.status_code == 202, answer.text
        compute.work()
        server_id = str(answer.json["server"]["id"])
        assert compute.server(server_id).vm_state == "active", compute.server(server_id).fault_json
        return server_id

    return make
