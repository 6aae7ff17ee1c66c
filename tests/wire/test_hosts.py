# SPDX-License-Identifier: Apache-2.0
"""os-hosts."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_host
from tests.wire.operating import for_admins_only, refused, set_host

POWER = ("reboot", "shutdown", "startup")
INTERNAL = [
    {"host_name": "controller", "service": "conductor", "zone": "internal"},
    {"host_name": "controller", "service": "scheduler", "zone": "internal"},
]


def hosts(admin: Api, query: str = "") -> Any:
    answer = admin.get("/os-hosts" + query)
    assert answer.status_code == 200
    return answer.json["hosts"]


def state(admin: Api) -> tuple[str, str | None]:
    (found,) = admin.get("/os-services?host=host1").json["services"]
    return found["status"], found["disabled_reason"]


def test_list(admin: Api, db: Database, host: str) -> None:
    first = {"host_name": "host1", "service": "compute", "zone": "nova"}
    second = {"host_name": "host2", "service": "compute", "zone": "mars"}
    add_host(db, "host2", availability_zone="mars")
    add_host(db, "host3", disabled=1)
    assert hosts(admin) == [*INTERNAL, first, second]
    assert hosts(admin, "?zone=internal") == INTERNAL
    assert hosts(admin, "?zone=nova&unknown=x") == [first]
    assert hosts(admin, "?zone=mars") == [second]
    assert hosts(admin, "?zone=%25") == []
    assert hosts(admin, "?zone=") == [*INTERNAL, first, second]


def test_show(admin: Api, db: Database, host: str, make_server: MakeServer) -> None:
    def resource(project: str, cpu: int, memory: int, disk: int) -> Any:
        taken = {"cpu": cpu, "memory_mb": memory, "disk_gb": disk}
        return {"resource": {"host": "host1", "project": project, **taken}}

    empty = [
        resource("(total)", 100, 100_000, 10_000),
        resource("(used_now)", 0, 0, 0),
        resource("(used_max)", 0, 0, 0),
    ]
    assert admin.get("/os-hosts/host1").json == {"host": empty}
    set_host(db, host, vcpus_used=3, memory_mb_used=1536, disk_gb_used=3)
    one, two = admin.become("member", project_id="a" * 32), admin.become("member", project_id="b" * 32)
    for owner, columns in ((one, {}), (two, {"vcpus": 2}), (two, {}), (two, {"deleted": 1}), (two, {"host": "host2"})):
        make_server(**{"owner": owner, "host": "host1", **columns})
    answer = admin.get("/os-hosts/host1")
    assert answer.status_code == 200
    assert answer.json["host"] == [
        resource("(total)", 100, 100_000, 10_000),
        resource("(used_now)", 3, 1536, 3),
        resource("(used_max)", 4, 1536, 3),
        resource("a" * 32, 1, 512, 1),
        resource("b" * 32, 3, 1024, 2),
    ]


def test_disable_and_enable(admin: Api, host: str) -> None:
    for word, shown in (("disable", "disabled"), ("ENABLE", "enabled"), ("Disable", "disabled")):
        answer = admin.put("/os-hosts/host1", {"status": word})
        assert (answer.status_code, answer.json) == (200, {"host": "host1", "status": shown})
        assert state(admin) == (shown, None)


def test_maintenance(admin: Api, host: str) -> None:
    answer = admin.put("/os-hosts/host1", {"maintenance_mode": "enable"})
    assert (answer.status_code, answer.json) == (200, {"host": "host1", "maintenance_mode": "on_maintenance"})
    assert state(admin) == ("disabled", "In maintenance")
    answer = admin.put("/os-hosts/host1", {"maintenance_mode": "disable"})
    assert (answer.status_code, answer.json) == (200, {"host": "host1", "maintenance_mode": "off_maintenance"})
    assert state(admin) == ("enabled", None)
    answer = admin.put("/os-hosts/host1", {"status": "enable", "maintenance_mode": "disable"})
    assert answer.json == {"host": "host1", "status": "enabled", "maintenance_mode": "off_maintenance"}


def test_maintenance_leaves_other_reasons(admin: Api, host: str) -> None:
    named = {"host": "host1", "binary": "nova-compute", "disabled_reason": "broken"}
    assert admin.put("/os-services/disable-log-reason", named).status_code == 200
    assert admin.put("/os-hosts/host1", {"maintenance_mode": "disable"}).status_code == 200
    assert state(admin) == ("disabled", "broken")


def test_maintenance_with_servers(admin: Api, host: str, make_server: MakeServer) -> None:
    """What can't move stays, and nothing new comes; what can is in test_server_migrate."""
    make_server(host="host1")
    answer = admin.put("/os-hosts/host1", {"status": "disable", "maintenance_mode": "enable"})
    assert answer.json == {"host": "host1", "status": "disabled", "maintenance_mode": "on_maintenance"}
    assert state(admin) == ("disabled", "In maintenance")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"status": "invalid"},
        {"status": "enable", "maintenance_mode": "invalid"},
        {"status": True},
        {"status": None},
        {"status": "enable", "extra": 1},
        {"host": {"status": "enable"}},
        [],
        "enable",
    ],
)
def test_bad_bodies(admin: Api, host: str, body: Any) -> None:
    refused(admin.put("/os-hosts/host1", body), 400)


@pytest.mark.parametrize("name", ["nowhere", "controller", "%25", "HOST1", "é", "x" * 300])
def test_unknown_hosts(admin: Api, host: str, name: str) -> None:
    refused(admin.get(f"/os-hosts/{name}"), 404)
    refused(admin.put(f"/os-hosts/{name}", {"status": "enable"}), 404)
    for action in POWER:
        refused(admin.get(f"/os-hosts/{name}/{action}"), 404)


@pytest.mark.parametrize("action", POWER)
def test_no_power(admin: Api, host: str, action: str) -> None:
    assert "host_power_command" in refused(admin.get(f"/os-hosts/host1/{action}"), 501)


def powered(settings: Settings, db: Database, program: Path, text: str) -> Api:
    """An administrator of a cloud with this shell script as power command."""
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o700)
    app = create_app(dataclasses.replace(settings, host_power_command=f"{program} --now"), db=db)
    return Api(app, TokenCodec(settings.secret("tokens")), ("admin",), "p", "u")


@pytest.mark.parametrize("action", POWER)
def test_power(settings: Settings, db: Database, host: str, tmp_path: Path, action: str) -> None:
    admin = powered(settings, db, tmp_path / "power", f'echo "$@" > {tmp_path}/called')
    answer = admin.get(f"/os-hosts/host1/{action}")
    assert (answer.status_code, answer.json) == (200, {"host": "host1", "power_action": action})
    assert (tmp_path / "called").read_text() == f"--now {action} host1\n"
    refused(admin.get(f"/os-hosts/$(reboot)/{action}"), 404)


def test_power_fails(settings: Settings, db: Database, host: str, tmp_path: Path) -> None:
    admin = powered(settings, db, tmp_path / "power", "exit 3")
    assert refused(admin.get("/os-hosts/host1/reboot"), 409) == "The power command ended with exit status 3."
    (tmp_path / "power").unlink()
    refused(admin.get("/os-hosts/host1/reboot"), 409)


def test_who_may(api: Api, host: str) -> None:
    for_admins_only(api, "GET", "/os-hosts")
    for_admins_only(api, "GET", "/os-hosts/host1")
    for_admins_only(api, "PUT", "/os-hosts/host1", {"status": "disable"})
    for_admins_only(api, "GET", "/os-hosts/host1/reboot")
    for_admins_only(api, "GET", "/os-hosts/host1/shutdown")
    for_admins_only(api, "GET", "/os-hosts/host1/startup")
