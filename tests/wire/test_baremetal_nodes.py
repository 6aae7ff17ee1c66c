# SPDX-License-Identifier: Apache-2.0
"""os-baremetal-nodes, as documented below a server and where clients ask."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.conftest import MakeServer
from tests.wire.operating import HOSTILE_IDS, for_admins_only, refused

NODE = {"service_host": "host", "cpus": 8, "memory_mb": 8192, "local_gb": 128}
POWER: dict[str, Any] = {
    "pm_address": "10.1.2.3",
    "pm_user": "pm_user",
    "pm_password": "pm_pass-secret",
    "terminal_port": 8000,
}
MAC = "12:34:56:78:90:ab"
ALL = "/os-baremetal-nodes"


@pytest.fixture
def path(make_server: MakeServer) -> str:
    """The nodes of a server."""
    return f"/servers/{make_server().uuid}/os-baremetal-nodes"


def make(admin: Api, path: str = ALL, **fields: Any) -> Any:
    answer = admin.post(path, {"node": {**NODE, **fields}})
    assert answer.status_code == (202 if "servers" in path else 200), answer.text
    return answer.json["node"]


def act(admin: Api, path: str, action: str, address: Any = MAC) -> Any:
    return admin.post(path + "/action", {action: {"address": address}})


def test_documented(admin: Api, path: str) -> None:
    made = make(admin, path, **POWER)
    assert made == {
        **NODE,
        "id": 1,
        "instance_uuid": path.split("/")[2],
        "interfaces": [],
        "pm_address": "10.1.2.3",
        "pm_user": "pm_user",
        "pxe_config_path": None,
        "task_state": None,
        "terminal_port": 8000,
        "updated_at": None,
        "uuid": made["uuid"],
    }
    make(admin)
    for url, expected in (
        (path, {"nodes": [made]}),
        (f"{path}/1", {"node": made}),
        (f"{path}/{made['uuid']}", {"node": made}),
    ):
        answer = admin.get(url)
        assert (answer.status_code, answer.json) == (202, expected)
    refused(admin.get(f"{path}/2"), 404)  # not this server's
    refused(admin.delete(f"{path}/2"), 404)
    answer = admin.delete(f"{path}/1")
    assert (answer.status_code, answer.text) == (202, "")
    assert admin.get(path).json == {"nodes": []}


def test_clients_path(admin: Api, path: str) -> None:
    made = make(admin, prov_mac_address=MAC)
    assert made["interfaces"] == [{"address": MAC, "datapath_id": None, "id": 1, "port_no": None}]
    assert made["instance_uuid"] is None
    tied = make(admin, path)
    shown = {
        "id": made["uuid"],
        "host": "IRONIC MANAGED",
        "task_state": "available",
        "cpus": "8",
        "memory_mb": "8192",
        "disk_gb": "128",
        "interfaces": [{"address": MAC}],
    }
    answer = admin.get(ALL)
    assert answer.status_code == 200
    assert answer.json == {"nodes": [shown, {**shown, "id": tied["uuid"], "task_state": "active", "interfaces": []}]}
    for identifier in ("1", made["uuid"]):
        answer = admin.get(f"{ALL}/{identifier}")
        assert (answer.status_code, answer.json) == (200, {"node": {**shown, "instance_uuid": None}})
    assert admin.get(f"{ALL}/2").json["node"]["instance_uuid"] == path.split("/")[2]
    answer = admin.delete(f"{ALL}/{made['uuid']}")
    assert (answer.status_code, answer.text) == (202, "")
    refused(admin.get(f"{ALL}/1"), 404)
    make(admin, prov_mac_address=MAC)  # its interfaces went with it


def test_interfaces(admin: Api) -> None:
    make(admin)
    make(admin)
    answer = act(admin, ALL + "/1", "add_interface", "AA:AA:AA:AA:AA:AA")
    interface = {"address": "aa:aa:aa:aa:aa:aa", "datapath_id": None, "id": 1, "port_no": None}
    assert (answer.status_code, answer.json) == (200, {"interface": interface})
    refused(act(admin, ALL + "/2", "add_interface", "aa:aa:aa:aa:aa:aa"), 409)
    refused(act(admin, ALL + "/2", "remove_interface", "aa:aa:aa:aa:aa:aa"), 404)
    answer = act(admin, ALL + "/1", "remove_interface", "aa:aa:aa:aa:aa:AA")
    assert (answer.status_code, answer.text) == (202, "")
    refused(act(admin, ALL + "/1", "remove_interface", "aa:aa:aa:aa:aa:aa"), 404)
    assert admin.get(ALL + "/1").json["node"]["interfaces"] == []


def test_interfaces_documented(admin: Api, path: str) -> None:
    refused(act(admin, path, "add_interface"), 404)
    make(admin, path)
    answer = act(admin, path, "add_interface")
    assert (answer.status_code, answer.json["interface"]["address"]) == (202, MAC)
    (node,) = admin.get(path).json["nodes"]
    assert (len(node["interfaces"]), bool(node["updated_at"])) == (1, True)
    make(admin, path)
    refused(act(admin, path, "add_interface", "aa:aa:aa:aa:aa:aa"), 409)  # to which of two?
    assert act(admin, path, "remove_interface").status_code == 202
    refused(act(admin, path, "remove_interface"), 404)


def test_states_and_locks(admin: Api, make_server: MakeServer) -> None:
    for columns, status in (
        ({"vm_state": "stopped"}, 202),
        ({"vm_state": "soft-delete"}, 202),
        ({"vm_state": "resized"}, 202),
        ({"vm_state": "error"}, 409),
        ({"vm_state": "suspended"}, 409),
        ({"locked": 1, "locked_by": "owner"}, 202),  # an administrator passes
    ):
        server = make_server(**columns)
        assert admin.post(f"/servers/{server.uuid}/os-baremetal-nodes", {"node": NODE}).status_code == status


def test_the_password_is_sealed(admin: Api, db: Database) -> None:
    assert "pm_password" not in make(admin, **POWER)
    with db.read() as conn:
        assert "pm_pass-secret" not in str(conn.exec_driver_sql("SELECT * FROM baremetal_nodes").all())
    message = refused(admin.post(ALL, {"node": {**NODE, "pm_password": ["pm_pass-secret"]}}), 400)
    assert "pm_pass-secret" not in message


@pytest.mark.parametrize(
    "fields",
    [
        {"service_host": ""},
        {"service_host": "a b"},
        {"cpus": -1},
        {"cpus": "8"},
        {"cpus": 2**31},
        {"cpus": 10**30},
        {"memory_mb": None},
        {"local_gb": 1.5},
        {"pm_address": "x" * 256},
        {"pm_user": 5},
        {"terminal_port": 65536},
        {"terminal_port": "x"},
        {"prov_mac_address": "x"},
        {"uuid": "x"},
    ],
)
def test_bad_bodies(admin: Api, path: str, fields: dict[str, Any]) -> None:
    for url in (ALL, path):
        refused(admin.post(url, {"node": {**NODE, **fields}}), 400)
    for name in NODE:
        refused(admin.post(ALL, {"node": {key: NODE[key] for key in NODE if key != name}}), 400)


def test_bad_actions(admin: Api, path: str) -> None:
    make(admin, path)
    for url in (ALL + "/1", path):
        for wrong in ("x", "", None, 5, "12:34:56:78:90", [MAC]):
            refused(act(admin, url, "add_interface", wrong), 400)
            refused(act(admin, url, "remove_interface", wrong), 400)
        refused(act(admin, url, "explode"), 400)


@pytest.mark.parametrize("identifier", HOSTILE_IDS)
def test_rubbish(admin: Api, path: str, identifier: str) -> None:
    make(admin, path)
    for url in (f"{ALL}/{identifier}", f"{path}/{identifier}"):
        assert admin.get(url).status_code == 404
        assert admin.delete(url).status_code == 404
    assert act(admin, f"{ALL}/{identifier}", "add_interface").status_code == 404
    for nowhere in (f"/servers/{uuid.uuid4()}/os-baremetal-nodes", f"/servers/{identifier}/os-baremetal-nodes"):
        assert admin.get(nowhere).status_code == 404


def test_who_may(api: Api, make_server: MakeServer) -> None:
    action = {"add_interface": {"address": MAC}}
    for_admins_only(api, "GET", ALL)
    for_admins_only(api, "POST", ALL, {"node": NODE})
    for_admins_only(api, "GET", "/os-baremetal-nodes/1")
    for_admins_only(api, "DELETE", "/os-baremetal-nodes/1")
    for_admins_only(api, "POST", "/os-baremetal-nodes/1/action", action)
    server = make_server()
    path = f"/servers/{server.uuid}/os-baremetal-nodes"
    colleague = api.become("member", project_id=api.project_id)
    for answer in (
        colleague.get(path),
        colleague.post(path, {"node": NODE}),
        colleague.get(f"/servers/{server.uuid}/os-baremetal-nodes/1"),
        colleague.delete(path + "/1"),
        colleague.post(path + "/action", action),
    ):
        refused(answer, 403)
    refused(api.become("member").get(path), 404)
