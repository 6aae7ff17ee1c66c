# SPDX-License-Identifier: Apache-2.0
"""os-server-external-events."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.compute.guest import network_name
from computeapi.db.engine import Database
from computeapi.db.queries import servers
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot, MakeServer
from tests.wire.operating import NOBODY, refused

PATH = "/os-server-external-events"
NAMES = ("network-changed", "network-vif-plugged", "network-vif-unplugged", "network-vif-deleted")


def post(api: Api, *events: Any) -> Any:
    return api.post(PATH, {"events": list(events)})


@pytest.mark.parametrize("name", NAMES)
def test_event(admin: Api, make_server: MakeServer, name: str) -> None:
    event = {"name": name, "server_uuid": make_server().uuid}
    answer = post(admin, event)
    assert (answer.status_code, answer.json) == (200, {"events": [{**event, "status": "completed", "code": 200}]})
    event |= {"tag": "foo", "status": "failed"}
    answer = post(admin, event)
    assert (answer.status_code, answer.json) == (200, {"events": [{**event, "status": "completed", "code": 200}]})


def test_addresses_are_read_anew(admin: Api, db: Database, network: str, make_server: MakeServer) -> None:
    server = make_server(network=network)
    right = server.addresses_json
    assert "10.1.0." in right
    with db.write() as conn:
        servers.change(conn, server.id, {"addresses_json": "{}"})
    assert post(admin, {"name": "network-changed", "server_uuid": server.uuid.upper()}).status_code == 200
    with db.read() as conn:
        row = servers.get_by_key(conn, server.id)
    assert row is not None and row.addresses_json == right


def interfaces(api: Api, server_id: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(f"/servers/{server_id}/os-interface").json["interfaceAttachments"]
    return found


@pytest.mark.parametrize("name", NAMES[:3])
def test_the_host_promises_what_the_rows_say(api: Api, admin: Api, compute: Compute, boot: Boot, name: str) -> None:
    server_id = boot()
    (interface,) = interfaces(api, server_id)
    network = network_name(interface["net_id"])
    driver = compute.driver
    assert isinstance(driver, SimulatedHypervisor)

    def promised() -> list[str]:
        return [item.address for item in driver.dhcp_hosts(network).values()]

    ports = f"/network/v2.0/ports/{interface['port_id']}"
    assert admin.put(ports, {"port": {"fixed_ips": [{"ip_address": "10.1.0.99"}]}}).status_code == 200
    compute.work()
    event = {"name": name, "server_uuid": server_id, "tag": interface["port_id"]}
    api.post(f"/servers/{server_id}/action", {"lock": None})
    assert post(api.become("service"), event).status_code == 200
    compute.work()
    assert promised() == ["10.1.0.99"]
    log = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [entry["action"] for entry in log].count("resetNetwork") == 1


def test_an_interface_that_was_deleted_is_unplugged(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    (interface,) = interfaces(api, server_id)
    deleted = {"name": NAMES[3], "server_uuid": server_id}
    for tag in ({}, {"tag": str(uuid.uuid4())}, {"tag": "x"}):
        assert post(admin, {**deleted, **tag}).status_code == 200
    compute.work()
    assert interfaces(api, server_id) == [interface]
    assert post(admin, {**deleted, "tag": interface["port_id"]}).status_code == 200
    compute.work()
    assert interfaces(api, server_id) == []
    assert compute.driver.nics(server_id) == []  # type: ignore[attr-defined]


def test_a_server_in_the_middle_of_something(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    (interface,) = interfaces(api, server_id)
    api.post(f"/servers/{server_id}/action", {"os-stop": None})
    answer = post(admin, {"name": NAMES[3], "server_uuid": server_id, "tag": interface["port_id"]})
    assert (answer.status_code, answer.json["events"][0]["code"]) == (207, 422)
    assert post(admin, {"name": NAMES[0], "server_uuid": server_id}).status_code == 200
    compute.work()
    assert interfaces(api, server_id) == [interface]
    assert api.get(f"/servers/{server_id}").json["server"]["status"] == "SHUTOFF"


def test_several(admin: Api, make_server: MakeServer) -> None:
    here, nowhere, gone = make_server(), make_server(host=None), make_server(deleted=1)
    ids = (here.uuid, nowhere.uuid, gone.uuid, str(uuid.uuid4()), here.uuid)
    answer = post(admin, *({"name": "network-changed", "server_uuid": each} for each in ids))
    assert answer.status_code == 207
    assert [(event["code"], event["status"]) for event in answer.json["events"]] == [
        (200, "completed"),
        (422, "failed"),
        (404, "failed"),
        (404, "failed"),
        (200, "completed"),
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "test-event"},
        {"name": "volume-extended"},
        {"name": None},
        {"server_uuid": "x"},
        {"server_uuid": 5},
        {"server_uuid": None},
        {"status": "done"},
        {"tag": 5},
        {"tag": "x" * 256},
        {"code": 200},
    ],
)
def test_bad_events(admin: Api, changed: dict[str, Any]) -> None:
    refused(post(admin, {"name": NAMES[0], "server_uuid": str(uuid.uuid4()), **changed}), 400)


def test_bad_bodies(admin: Api) -> None:
    event = {"name": NAMES[0], "server_uuid": str(uuid.uuid4())}
    bodies: list[Any] = [{}, {"events": []}, {"events": event}, {"events": [{}]}, {"events": [event], "x": 1}, [event]]
    for body in bodies:
        refused(admin.post(PATH, body), 400)


def test_who_may(api: Api, make_server: MakeServer) -> None:
    event = {"name": NAMES[0], "server_uuid": make_server().uuid}
    for role in NOBODY:
        refused(post(api.become(role, project_id=api.project_id), event), 403)
    for role in ("service", "admin"):
        assert post(api.become(role), event).status_code == 200
    assert api.post(PATH, {"events": [event]}, headers={"X-Auth-Token": ""}).status_code == 401
