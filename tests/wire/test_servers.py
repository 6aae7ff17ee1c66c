# SPDX-License-Identifier: Apache-2.0
"""Servers: how one looks, who sees it, what PUT and DELETE do."""

from __future__ import annotations

import dataclasses
import uuid
from hashlib import sha224
from typing import Any

import orjson
import pytest

from computeapi import versions
from computeapi.api.compute.servers import view
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.db.queries import servers
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import IMAGE_ID, MakeServer

SHOWN = {
    "OS-DCF:diskConfig",
    "OS-EXT-AZ:availability_zone",
    "OS-EXT-STS:power_state",
    "OS-EXT-STS:task_state",
    "OS-EXT-STS:vm_state",
    "OS-SRV-USG:launched_at",
    "OS-SRV-USG:terminated_at",
    "accessIPv4",
    "accessIPv6",
    "addresses",
    "config_drive",
    "created",
    "flavor",
    "hostId",
    "id",
    "image",
    "key_name",
    "links",
    "metadata",
    "name",
    "os-extended-volumes:volumes_attached",
    "progress",
    "security_groups",
    "status",
    "tenant_id",
    "updated",
    "user_id",
}
CHANGED = {
    "OS-DCF:diskConfig",
    "accessIPv4",
    "accessIPv6",
    "addresses",
    "created",
    "flavor",
    "hostId",
    "id",
    "image",
    "links",
    "metadata",
    "name",
    "progress",
    "status",
    "tenant_id",
    "updated",
    "user_id",
}
WHERE = {f"OS-EXT-SRV-ATTR:{name}" for name in ("host", "instance_name", "hypervisor_hostname")}
WHERE_2_3 = {
    f"OS-EXT-SRV-ATTR:{name}"
    for name in (
        "hostname",
        "kernel_id",
        "launch_index",
        "ramdisk_id",
        "reservation_id",
        "root_device_name",
        "user_data",
    )
}


def _one(api: Api, server_id: str, **more: Any) -> dict[str, Any]:
    answer = api.get(f"/servers/{server_id}", **more)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json["server"]
    return shown


# --- show ---


def test_show_has_exactly_novas_keys(api: Api, make_server: MakeServer, network: str) -> None:
    server = make_server(
        name="web",
        network=network,
        fixed_ip="10.1.0.7",
        metadata_json='{"role":"web"}',
        key_name="mine",
        config_drive="True",
        created_at="2026-11-23T14:23:29.123456",
        launched_at="2026-11-23T14:23:31.654321",
    )
    shown = _one(api, server.uuid)
    assert set(shown) == SHOWN
    (address,) = shown.pop("addresses")["private"]
    assert address.pop("OS-EXT-IPS-MAC:mac_addr").startswith("fa:16:3e:")
    assert address == {"version": 4, "addr": "10.1.0.7", "OS-EXT-IPS:type": "fixed"}
    base = "http://falconframework.org"
    assert shown == {
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": "nova",
        "OS-EXT-STS:power_state": 1,
        "OS-EXT-STS:task_state": None,
        "OS-EXT-STS:vm_state": "active",
        "OS-SRV-USG:launched_at": "2026-11-23T14:23:31.654321",
        "OS-SRV-USG:terminated_at": None,
        "accessIPv4": "",
        "accessIPv6": "",
        "config_drive": "True",
        "created": "2026-11-23T14:23:29Z",
        "flavor": {"id": "1", "links": [{"rel": "bookmark", "href": f"{base}/flavors/1"}]},
        "hostId": sha224(f"{api.project_id}host1".encode()).hexdigest(),
        "id": server.uuid,
        "image": {"id": IMAGE_ID, "links": [{"rel": "bookmark", "href": f"{base}/images/{IMAGE_ID}"}]},
        "key_name": "mine",
        "links": [
            {"rel": "self", "href": f"{base}/v2.1/servers/{server.uuid}"},
            {"rel": "bookmark", "href": f"{base}/servers/{server.uuid}"},
        ],
        "metadata": {"role": "web"},
        "name": "web",
        "os-extended-volumes:volumes_attached": [],
        "progress": 0,
        "security_groups": [{"name": "default"}],
        "status": "ACTIVE",
        "tenant_id": api.project_id,
        "updated": "2026-11-23T14:23:29Z",
        "user_id": api.user_id,
    }


@pytest.mark.parametrize(("version", "more"), [(None, set()), ("2.2", set()), ("2.3", WHERE_2_3)])
def test_where_a_server_is_administrators_see(
    api: Api, admin: Api, make_server: MakeServer, version: str | None, more: set[str]
) -> None:
    server = make_server(name="Web", hostname="web", node="node1", user_data="aGk=", launch_index=2)
    assert set(_one(api, server.uuid, version=version)) == SHOWN
    shown = _one(admin, server.uuid, version=version)
    assert set(shown) == SHOWN | WHERE | more
    assert shown["OS-EXT-SRV-ATTR:host"] == "host1"
    assert shown["OS-EXT-SRV-ATTR:hypervisor_hostname"] == "node1"
    assert shown["OS-EXT-SRV-ATTR:instance_name"] == f"instance-{server.id:08x}"
    if more:
        assert shown["OS-EXT-SRV-ATTR:hostname"] == "web"
        assert shown["OS-EXT-SRV-ATTR:user_data"] == "aGk="
        assert shown["OS-EXT-SRV-ATTR:launch_index"] == 2
        assert shown["OS-EXT-SRV-ATTR:reservation_id"] == "r-00000000"


@pytest.mark.parametrize(
    ("version", "volumes"),
    [("2.1", [{"id": "v1"}]), ("2.3", [{"id": "v1", "delete_on_termination": True}])],
)
def test_volumes(api: Api, make_server: MakeServer, version: str, volumes: list[Any]) -> None:
    server = make_server(volumes_json='[{"id":"v1","delete_on_termination":true}]', image_id="")
    shown = _one(api, server.uuid, version=version)
    assert shown["os-extended-volumes:volumes_attached"] == volumes
    assert shown["image"] == ""


@pytest.mark.parametrize(
    ("vm_state", "task_state", "status", "progress"),
    [
        ("active", None, "ACTIVE", True),
        ("active", "rebooting", "REBOOT", False),
        ("active", "resize_prep", "RESIZE", True),
        ("building", "spawning", "BUILD", True),
        ("stopped", None, "SHUTOFF", False),
        ("resized", None, "VERIFY_RESIZE", True),
        ("error", None, "ERROR", False),
        ("paused", None, "PAUSED", False),
    ],
)
def test_status_and_progress(
    api: Api, make_server: MakeServer, vm_state: str, task_state: str | None, status: str, progress: bool
) -> None:
    server = make_server(vm_state=vm_state, task_state=task_state, progress=40)
    shown = _one(api, server.uuid)
    assert shown["status"] == status
    assert shown.get("progress") == (40 if progress else None)


def test_addresses_are_hidden_until_the_server_is_built(api: Api, make_server: MakeServer, network: str) -> None:
    server = make_server(network=network, vm_state="building")
    assert _one(api, server.uuid)["addresses"] == {}


def test_a_server_that_is_nowhere(api: Api, make_server: MakeServer) -> None:
    server = make_server(host=None, node=None, security_groups_json="[]")
    shown = _one(api, server.uuid)
    assert (shown["hostId"], shown["OS-EXT-AZ:availability_zone"]) == ("", "")
    assert "security_groups" not in shown


def _fault(code: int, details: str) -> str:
    fault = {"code": code, "created": "2026-11-23T14:23:29Z", "message": "No valid host was found.", "details": details}
    return orjson.dumps(fault).decode()


@pytest.mark.parametrize(
    ("code", "details", "owner_sees", "admin_sees"),
    [(500, "host1: down", None, "host1: down"), (400, "bad disk", "bad disk", "bad disk"), (500, "", None, None)],
)
def test_fault(
    api: Api,
    admin: Api,
    make_server: MakeServer,
    code: int,
    details: str,
    owner_sees: str | None,
    admin_sees: str | None,
) -> None:
    server = make_server(vm_state="error", fault_json=_fault(code, details))
    for asker, sees in ((api, owner_sees), (admin, admin_sees)):
        fault = _one(asker, server.uuid)["fault"]
        assert (fault["code"], fault["message"]) == (code, "No valid host was found.")
        assert fault.get("details") == sees
        assert ("details" in fault) == (sees is not None)


def test_fault_only_while_in_error(api: Api, make_server: MakeServer) -> None:
    server = make_server(vm_state="active", fault_json=_fault(500, ""))
    assert "fault" not in _one(api, server.uuid)


@pytest.mark.parametrize(
    ("path", "own", "bookmark"),
    [
        ("/v2.1/servers/{id}", "/v2.1/servers/{id}", "/servers/{id}"),
        ("/v2.1/{project}/servers/{id}", "/v2.1/{project}/servers/{id}", "/{project}/servers/{id}"),
        ("/v2/{project}/servers/{id}", "/v2/{project}/servers/{id}", "/{project}/servers/{id}"),
        ("/v2/servers/{id}", "/v2/servers/{id}", "/servers/{id}"),
    ],
)
def test_links_name_what_was_asked(api: Api, make_server: MakeServer, path: str, own: str, bookmark: str) -> None:
    server = make_server()
    words = {"project": api.project_id, "id": server.uuid}
    shown = api.get(path.format(**words)).json["server"]
    hosts = "http://falconframework.org"
    assert [link["href"] for link in shown["links"]] == [hosts + own.format(**words), hosts + bookmark.format(**words)]


def test_links_with_an_odd_host(api: Api, make_server: MakeServer) -> None:
    """What the Host header says is written as JSON, whatever it is."""
    server = make_server()
    for host in ('a"b', "{server}", "a\\b", "%s", "<x>"):
        shown = api.get(f"/servers/{server.uuid}", headers={"Host": host, "X-Auth-Token": api.token}).json["server"]
        assert shown["links"][0]["href"] == f"http://{host}/v2.1/servers/{server.uuid}"
        assert shown["links"][1]["href"] == f"http://{host}/servers/{server.uuid}"
        assert shown["image"]["links"][0]["href"] == f"http://{host}/images/{IMAGE_ID}"


UNKNOWN: list[str] = ["x", "999", str(uuid.uuid4()), "%27%20OR%201=1", "a%00b", "é" * 36, "a" * 9000]


def test_show_unknown(api: Api) -> None:
    for server_id in UNKNOWN:
        answer = api.get(f"/servers/{server_id}")
        assert answer.status_code == 404
        assert answer.json["itemNotFound"]["message"].endswith("could not be found.")


def test_deleted_is_gone(api: Api, admin: Api, make_server: MakeServer) -> None:
    server = make_server(deleted=1, vm_state="deleted")
    for asker in (api, admin):
        assert asker.get(f"/servers/{server.uuid}").status_code == 404


def test_soft_deleted_is_shown(api: Api, make_server: MakeServer) -> None:
    server = make_server(vm_state="soft-delete")
    assert _one(api, server.uuid)["status"] == "SOFT_DELETED"


def test_other_projects_see_nothing(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    stranger = api.become("member")
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", {"server": {"name": "mine"}}),
        ("DELETE", "", None),
        ("GET", "/ips", None),
        ("GET", "/ips/private", None),
        ("GET", "/metadata", None),
        ("PUT", "/metadata", {"metadata": {}}),
        ("POST", "/metadata", {"metadata": {}}),
        ("GET", "/metadata/a", None),
        ("PUT", "/metadata/a", {"meta": {"a": "b"}}),
        ("DELETE", "/metadata/a", None),
    ):
        answer = stranger.request(method, f"/servers/{server.uuid}{path}", body)
        assert (method, path, answer.status_code) == (method, path, 404)
    assert _one(api, server.uuid)["name"] == "server"


def test_readers_read_and_change_nothing(api: Api, make_server: MakeServer) -> None:
    server = make_server(metadata_json='{"a":"b"}')
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(f"/servers/{server.uuid}").status_code == 200
    assert reader.get("/servers").status_code == 200
    for method, path, body in (
        ("PUT", f"/{server.uuid}", {"server": {"name": "mine"}}),
        ("DELETE", f"/{server.uuid}", None),
        ("POST", "", {"server": {"name": "x", "imageRef": IMAGE_ID, "flavorRef": "1"}}),
        ("PUT", f"/{server.uuid}/metadata", {"metadata": {}}),
        ("POST", f"/{server.uuid}/metadata", {"metadata": {}}),
        ("PUT", f"/{server.uuid}/metadata/a", {"meta": {"a": "c"}}),
        ("DELETE", f"/{server.uuid}/metadata/a", None),
    ):
        answer = reader.request(method, f"/servers{path}", body)
        assert (method, path, answer.status_code) == (method, path, 403)
    assert _one(api, server.uuid)["metadata"] == {"a": "b"}


def test_every_shape_is_compiled_and_needs_no_secret_columns() -> None:
    for (kind, version, extended), shape in view.SHAPES.items():
        assert "key_data" not in shape.columns
        assert ("user_data" in shape.columns) == (kind == "full" and extended and str(version) == "2.3")
    assert view.SHAPES["brief", versions.MIN, False].columns == ("uuid", "name")


# --- update ---


def test_update(api: Api, make_server: MakeServer, network: str) -> None:
    server = make_server(name="old", hostname="old", network=network)
    answer = api.put(
        f"/servers/{server.uuid}",
        {
            "server": {
                "name": "né w",
                "accessIPv4": "1.1.1.1",
                "accessIPv6": "::babe:202:202",
                "OS-DCF:diskConfig": "AUTO",
            }
        },
    )
    assert answer.status_code == 200
    changed = answer.json["server"]
    assert set(changed) == CHANGED
    assert set(changed["addresses"]["private"][0]) == {"version", "addr"}
    shown = _one(api, server.uuid)
    assert (shown["name"], shown["accessIPv4"], shown["accessIPv6"]) == ("né w", "1.1.1.1", "::babe:202:202")
    assert shown["OS-DCF:diskConfig"] == "AUTO"
    assert shown["updated"] > shown["created"]


def test_update_leaves_what_is_not_named(api: Api, admin: Api, make_server: MakeServer) -> None:
    server = make_server(name="same", hostname="same", access_ip_v4="1.2.3.4")
    assert api.put(f"/servers/{server.uuid}", {"server": {}}).status_code == 200
    api.put(f"/servers/{server.uuid}", {"server": {"name": "other"}})
    shown = _one(admin, server.uuid, version="2.3")
    assert (shown["name"], shown["accessIPv4"]) == ("other", "1.2.3.4")
    assert shown["OS-EXT-SRV-ATTR:hostname"] == "same"


BAD_UPDATES: list[Any] = [
    {"name": ""},
    {"name": " x"},
    {"name": "a" * 256},
    {"name": 1},
    {"name": None},
    {"name": "a\u0000"},
    {"name": "a\nb"},
    {"accessIPv4": "1.1.1"},
    {"accessIPv4": "::1"},
    {"accessIPv6": "1.1.1.1"},
    {"accessIPv6": "fe80::1%" + "x" * 200},
    {"accessIPv4": None},
    {"OS-DCF:diskConfig": "auto"},
    {"unknown": 1},
    {"adminPass": "x"},
    [],
    "x",
    None,
]


def test_update_refuses(api: Api, make_server: MakeServer) -> None:
    mine = make_server()
    for server in BAD_UPDATES:
        answer = api.put(f"/servers/{mine.uuid}", {"server": server})
        assert answer.status_code == 400
        assert answer.json["badRequest"]["code"] == 400


def test_v2_lets_spaces_and_unknown_keys_pass(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    answer = api.put(f"/v2/servers/{server.uuid}", {"server": {"name": " spaced ", "unknown": 1}})
    assert (answer.status_code, answer.json["server"]["name"]) == (200, "spaced")


def test_update_body_that_is_none(api: Api, make_server: MakeServer) -> None:
    server = make_server()
    bodies: tuple[Any, ...] = ({}, [], {"servers": {}}, {"server": {}, "more": 1})
    for body in bodies:
        assert api.put(f"/servers/{server.uuid}", body).status_code == 400
    assert api.put(f"/servers/{server.uuid}").status_code == 400


def test_an_administrator_changes_anybodys(api: Api, admin: Api, make_server: MakeServer) -> None:
    server = make_server()
    assert admin.put(f"/servers/{server.uuid}", {"server": {"name": "renamed"}}).status_code == 200
    assert _one(api, server.uuid)["name"] == "renamed"


# --- delete ---


def test_delete_of_a_server_that_is_nowhere(api: Api, make_server: MakeServer, db: Database, network: str) -> None:
    server = make_server(host=None, node=None, vm_state="error", network=network)
    answer = api.delete(f"/servers/{server.uuid}")
    assert (answer.status_code, answer.text) == (204, "")
    assert api.get(f"/servers/{server.uuid}").status_code == 404
    assert api.delete(f"/servers/{server.uuid}").status_code == 404
    with db.read() as conn:
        row = servers.get_by_key(conn, server.id)
    assert row is not None
    assert (row.deleted, row.vm_state) == (1, "deleted")


def test_delete_on_a_host_is_work_for_it(api: Api, make_server: MakeServer, host: str) -> None:
    server = make_server(host=host)
    assert api.delete(f"/servers/{server.uuid}").status_code == 204
    shown = _one(api, server.uuid)
    assert (shown["OS-EXT-STS:task_state"], shown["status"]) == ("deleting", "ACTIVE")


def test_delete_of_a_locked_server(api: Api, admin: Api, make_server: MakeServer) -> None:
    server = make_server(locked=1, locked_by="owner", host=None)
    answer = api.delete(f"/servers/{server.uuid}")
    assert answer.status_code == 409
    assert answer.json["conflictingRequest"]["message"] == f"Instance {server.uuid} is locked"
    assert admin.delete(f"/servers/{server.uuid}").status_code == 204


def test_delete_is_deferred_by_setting(
    settings: Settings, db: Database, api: Api, make_server: MakeServer, host: str
) -> None:
    app = create_app(dataclasses.replace(settings, reclaim_instance_interval=600), db=db)
    later = Api(app, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)
    server = make_server(host=host)
    assert later.delete(f"/servers/{server.uuid}").status_code == 204
    assert _one(api, server.uuid)["OS-EXT-STS:task_state"] == "soft-deleting"
