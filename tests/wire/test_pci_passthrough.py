# SPDX-License-Identifier: Apache-2.0
"""Servers with PCI devices of their host: flavors' pci_passthrough:alias and `[pci] alias`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update

from computeapi import pci
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.db.models import Host, PciClaim
from computeapi.settings import Settings
from tests.cloud import add_image
from tests.conftest import Api
from tests.wire.conftest import add_flavor
from tests.wire.operating import refused
from tests.wire.test_server_migrate import Cloud

ALIAS = [
    {"name": "card", "vendor_id": "8086", "product_id": "1520"},
    {"name": "any-vf", "device_type": "type-VF"},
]
DEVICES = [
    {"address": "0000:04:10.0", "vendor_id": "8086", "product_id": "1520"},
    {"address": "0000:04:10.2", "vendor_id": "8086", "product_id": "1520", "dev_type": "type-VF"},
    {"address": "0000:05:00.0", "vendor_id": "10de", "product_id": "0001"},
]


@pytest.fixture
def cloud(settings: Settings, db: Database) -> Iterator[Cloud]:
    """Two hosts with the same devices; the caller is an administrator."""
    settings = replace(settings, alias=json.dumps(ALIAS))
    api = Api(create_app(settings, db=db), TokenCodec(settings.secret("tokens")), ("admin", "member"), "a" * 32, "b")
    cloud = Cloud(settings, db, api)
    with db.write() as conn:
        conn.execute(update(Host).values(pci_json=json.dumps(DEVICES)))
    yield cloud
    cloud.close()


def flavor_with(db: Database, spec: str, **columns: Any) -> str:
    specs = json.dumps({"pci_passthrough:alias": spec} if spec else {})
    return add_flavor(db, extra_specs_json=specs, **columns)


@pytest.fixture
def body(cloud: Cloud, network: str) -> dict[str, Any]:
    return {"name": "server", "imageRef": add_image(cloud["host1"].images, b"x" * 512, disk_format="raw")}


def boot(cloud: Cloud, body: dict[str, Any], flavor: str, zone: str = "nova:host1") -> str:
    answer = cloud.api.post("/servers", {"server": {**body, "flavorRef": flavor, "availability_zone": zone}})
    assert answer.status_code == 202, answer.text
    cloud.work()
    return str(answer.json["server"]["id"])


def devices(cloud: Cloud, server_id: str, host: str) -> list[str]:
    """What the guest was defined with."""
    with cloud.driver(host)._store.open() as data:
        found = data.guest(server_id)
    assert found is not None
    return list(found.spec.pci)


def taken(db: Database) -> list[tuple[str, str]]:
    with db.read() as conn:
        rows = conn.execute(select(PciClaim.host, PciClaim.address).order_by(PciClaim.host, PciClaim.address))
        return [(row[0], row[1]) for row in rows]


def test_a_server_has_devices_until_it_is_deleted(cloud: Cloud, db: Database, body: dict[str, Any]) -> None:
    server_id = boot(cloud, body, flavor_with(db, "card:1, any-vf:1"))
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    assert devices(cloud, server_id, "host1") == ["0000:04:10.0", "0000:04:10.2"]
    shown = {each["address"]: each for each in cloud.api.get("/os-pci/detail").json["pci_devices"][:3]}
    assert shown["0000:04:10.0"]["status"] == "allocated"
    assert shown["0000:04:10.0"]["server_uuid"] == server_id
    assert (shown["0000:05:00.0"]["status"], shown["0000:05:00.0"]["server_uuid"]) == ("available", None)
    one = cloud.api.get(f"/os-pci/{shown['0000:04:10.2']['id']}").json["pci_device"]
    assert (one["status"], one["server_uuid"]) == ("allocated", server_id)
    hosts = {
        each["id"]: each["os-pci:pci_stats"] for each in cloud.api.get("/os-hypervisors/os-pci").json["hypervisors"]
    }
    assert [[(each["product_id"], each["count"]) for each in hosts[key]] for key in sorted(hosts)] == [
        [("0001", 1)],
        [("1520", 2), ("0001", 1)],
    ]
    cloud.act(server_id, reboot={"type": "HARD"})
    cloud.work()
    assert devices(cloud, server_id, "host1") == ["0000:04:10.0", "0000:04:10.2"]
    cloud.api.delete(f"/servers/{server_id}")
    cloud.work()
    assert taken(db) == []


def test_where_none_is_free_the_server_goes_elsewhere_or_nowhere(
    cloud: Cloud, db: Database, body: dict[str, Any]
) -> None:
    both = flavor_with(db, "card:2")
    servers = [boot(cloud, body, both, "nova") for _ in range(3)]
    shown = [cloud.show(each) for each in servers]
    assert sorted(str(each[2]) for each in shown) == ["None", "host1", "host2"]
    (failed,) = [each for each, (status, _, _) in zip(servers, shown, strict=True) if status == "ERROR"]
    fault = cloud.api.get(f"/servers/{failed}").json["server"]["fault"]
    assert "not enough PCI devices that the flavor asks for" in fault["message"]
    assert len(taken(db)) == 4
    assert cloud.show(boot(cloud, body, flavor_with(db, ""), "nova"))[0] == "ACTIVE", "others need none"


def test_what_no_alias_names_is_refused(cloud: Cloud, db: Database, body: dict[str, Any]) -> None:
    for spec, said in (
        ("card:1,tape:1", "PCI alias tape is not defined"),
        ("card", "PCI alias card: '' is no number of devices from 1 to 64"),
        ("card:0", "PCI alias card: '0' is no number of devices from 1 to 64"),
        ("card:00010000000000", "PCI alias card: '00010000000000' is no number of devices from 1 to 64"),
    ):
        flavor = flavor_with(db, spec)
        assert refused(cloud.api.post("/servers", {"server": {**body, "flavorRef": flavor}}), 400) == said
    server_id = boot(cloud, body, flavor_with(db, ""))
    assert refused(cloud.act(server_id, resize={"flavorRef": flavor_with(db, "tape:1")}), 400)
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")


def test_moves(cloud: Cloud, db: Database, body: dict[str, Any]) -> None:
    """Live not at all; else it has devices of the host that it goes to, and of its own until that is confirmed."""
    server_id = boot(cloud, body, flavor_with(db, "card:1"))
    said = refused(cloud.live(server_id), 400)
    assert said == f"Instance {server_id} has PCI devices passed through to it: it can't be live-migrated."
    cloud.act(server_id, migrate=None)
    cloud.work()
    assert cloud.show(server_id) == ("VERIFY_RESIZE", None, "host2")
    assert taken(db) == [("host1", "0000:04:10.0"), ("host2", "0000:04:10.0")]
    cloud.act(server_id, confirmResize=None)
    cloud.work()
    assert taken(db) == [("host2", "0000:04:10.0")]
    assert devices(cloud, server_id, "host2") == ["0000:04:10.0"]


def test_resize(cloud: Cloud, db: Database, body: dict[str, Any]) -> None:
    """With the same devices on the same host; with others to another, and back."""
    server_id = boot(cloud, body, flavor_with(db, "card:1"))
    cloud.act(server_id, resize={"flavorRef": flavor_with(db, "card:1", memory_mb=1024)})
    cloud.work()
    assert cloud.show(server_id) == ("VERIFY_RESIZE", None, "host1")
    assert taken(db) == [("host1", "0000:04:10.0")]
    cloud.act(server_id, confirmResize=None)
    cloud.work()
    assert devices(cloud, server_id, "host1") == ["0000:04:10.0"]
    cloud.act(server_id, resize={"flavorRef": flavor_with(db, "card:2", memory_mb=1024)})
    cloud.work()
    assert cloud.show(server_id) == ("VERIFY_RESIZE", None, "host2")
    assert devices(cloud, server_id, "host2") == ["0000:04:10.0", "0000:04:10.2"]
    cloud.act(server_id, revertResize=None)
    cloud.work()
    assert cloud.show(server_id) == ("ACTIVE", None, "host1")
    assert taken(db) == [("host1", "0000:04:10.0")]
    assert devices(cloud, server_id, "host1") == ["0000:04:10.0"]


def test_shelved_ones_have_none(cloud: Cloud, db: Database, body: dict[str, Any]) -> None:
    server_id = boot(cloud, body, flavor_with(db, "card:1"))
    cloud.act(server_id, shelve=None)
    cloud.work()
    assert (cloud.show(server_id)[0], taken(db)) == ("SHELVED_OFFLOADED", [])
    cloud.act(server_id, unshelve=None)
    cloud.work()
    assert cloud.show(server_id)[0] == "ACTIVE" and len(taken(db)) == 1


def test_what_others_are_made_of_is_asked_for_by_its_type() -> None:
    port = {"address": "0000:04:00.0", "vendor_id": "8086", "product_id": "1521", "dev_type": "type-PF"}
    aliases = '[{"name": "any", "vendor_id": "8086"}, {"name": "port", "device_type": "type-PF"}]'
    assert pci.choose(pci.wanted(aliases, {pci.SPEC: "any:1"}), [port, *DEVICES]) == [DEVICES[0]["address"]]
    assert pci.choose(pci.wanted(aliases, {pci.SPEC: "port:1"}), [port, *DEVICES]) == [port["address"]]
