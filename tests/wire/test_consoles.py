# SPDX-License-Identifier: Apache-2.0
"""os-getVNCConsole and its like, os-console-auth-tokens, and the other questions: os-getConsoleOutput, diagnostics.

The host of the simulator answers from a thread, as a compute service does; it has serial consoles and no others. What
a host with screens makes of it is shown with a driver that says it has them; the screens themselves in tests/guest.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import select, update

from computeapi import clock
from computeapi.compute import sweeps
from computeapi.db.engine import Database
from computeapi.db.models import ConsoleAuthToken, Host, Server
from computeapi.db.queries import console_tokens
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot
from tests.wire.operating import refused

ACTIONS = {
    "os-getVNCConsole": "novnc",
    "os-getSPICEConsole": "spice-html5",
    "os-getRDPConsole": "rdp-html5",
    "os-getSerialConsole": "serial",
}


@pytest.fixture
def served(compute: Compute) -> Iterator[Compute]:
    """The compute service answers by itself."""
    stopping = threading.Event()

    def answer() -> None:
        while not stopping.wait(0.01):
            compute.work()

    thread = threading.Thread(target=answer)
    thread.start()
    yield compute
    stopping.set()
    thread.join()


@pytest.fixture
def server(boot: Boot) -> str:
    """A running server; asked for before `served`, or two would be at its work."""
    return boot()


@pytest.fixture
def screens(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's guests have every console but RDP's."""
    check = compute.driver.check_console

    def checked(guest: str, kind: str) -> None:
        check(guest, "serial" if kind in ("vnc", "spice") else kind)

    monkeypatch.setattr(compute.driver, "check_console", checked)


def ask(api: Api, server: str, action: str, console_type: Any = None) -> Any:
    """Ask for a console of the action's own type, or of that one."""
    return api.post(f"/servers/{server}/action", {action: {"type": console_type or ACTIONS[action]}})


def says(answer: Any, status: int, sentence: str) -> None:
    """Refused so, in these words."""
    assert refused(answer, status) == sentence


def token_of(answer: Any) -> str:
    assert answer.status_code == 200, answer.text
    return str(answer.json["console"]["url"].partition("?token=")[2])


def grant(db: Database, token: str) -> console_tokens.Grant | None:
    with db.read() as conn:
        return console_tokens.find(conn, token)


@pytest.mark.parametrize(
    ("action", "console_type", "begins"),
    [
        ("os-getVNCConsole", "novnc", "http://127.0.0.1:6080/vnc_auto.html?token="),
        ("os-getVNCConsole", "xvpvnc", "http://127.0.0.1:6080/console?token="),
        ("os-getSPICEConsole", "spice-html5", "http://127.0.0.1:6080/spice_auto.html?token="),
        ("os-getSerialConsole", "serial", "ws://127.0.0.1:6080/?token="),
    ],
)
def test_the_url(
    api: Api, db: Database, server: str, screens: None, served: Compute, action: str, console_type: str, begins: str
) -> None:
    answer = ask(api, server, action, console_type)
    token = token_of(answer)
    assert answer.json == {"console": {"type": console_type, "url": begins + token}}
    assert grant(db, token) == (server, console_type, "host1")
    assert token_of(ask(api, server, action, console_type)) != token
    with db.read() as conn:
        kept = conn.execute(select(ConsoleAuthToken.token_hash, ConsoleAuthToken.expires_at)).all()
    assert len(kept) == 2
    assert all(token not in row[0] for row in kept), "only a hash of it is kept"
    assert all(clock.shifted(590) < row[1] < clock.shifted(601) for row in kept)
    logged = api.get(f"/servers/{server}/os-instance-actions").json["instanceActions"]
    assert [each["action"] for each in logged] == ["create"], "it is no action of the server's"


def test_the_url_is_that_of_the_servers_host(api: Api, db: Database, server: str, served: Compute) -> None:
    path = f"/v2.1/{api.project_id}/servers/{server}/action"
    with db.write() as conn:
        conn.execute(update(Host).values(console_url="https://host1.example.org/console"))
    url = api.post(path, {"os-getSerialConsole": {"type": "serial"}}).json["console"]["url"]
    assert url.startswith("wss://host1.example.org/console/?token=")
    with db.write() as conn:
        conn.execute(update(Host).values(console_url=""))
    says(ask(api, server, "os-getSerialConsole"), 400, "Unavailable console type serial.")


@pytest.mark.parametrize("action", ["os-getVNCConsole", "os-getSPICEConsole", "os-getRDPConsole"])
def test_what_the_guest_has_not(api: Api, server: str, served: Compute, action: str) -> None:
    says(ask(api, server, action), 400, f"Unavailable console type {ACTIONS[action]}.")


@pytest.mark.parametrize("action", ACTIONS)
def test_bad_bodies(api: Api, server: str, action: str) -> None:
    path = f"/servers/{server}/action"
    others = [kind for kind in ("novnc", "spice-html5", "rdp-html5", "serial") if kind != ACTIONS[action]]
    for body in (None, "novnc", [], {}, {"type": None}, {"type": 1}, {"type": ""}, {"type": ACTIONS[action], "x": 1}):
        refused(api.post(path, {action: body}), 400)
    for other in (*others, "vnc", "NOVNC"):
        refused(api.post(path, {action: {"type": other}}), 400)
    refused(api.post(path, {action: {"type": ACTIONS[action]}, "x": 1}), 400)


def test_a_server_that_does_not_run(api: Api, db: Database, server: str, compute: Compute, served: Compute) -> None:
    not_ready = f"Instance {server} is not ready"
    compute.driver.power_off(server)
    says(ask(api, server, "os-getSerialConsole"), 409, not_ready)
    compute.driver.start(server)
    assert ask(api, server, "os-getSerialConsole").status_code == 200
    with db.write() as conn:  # the guest runs, though the database does not know of it yet
        conn.execute(update(Server).values(power_state=4))
    says(ask(api, server, "os-getSerialConsole"), 409, not_ready)
    with db.write() as conn:
        conn.execute(update(Server).values(power_state=1, host=None))
    says(ask(api, server, "os-getSerialConsole"), 409, not_ready)


def test_a_guest_that_is_missing(api: Api, db: Database, server: str, compute: Compute, served: Compute) -> None:
    compute.driver.undefine(server)
    says(ask(api, server, "os-getSerialConsole"), 404, f"Instance {server} could not be found.")
    with db.write() as conn:
        conn.execute(update(Server).values(vm_state="building"))
    says(ask(api, server, "os-getSerialConsole"), 409, f"Instance {server} is not ready")


def test_who_may(api: Api, admin: Api, server: str, served: Compute) -> None:
    assert ask(admin, server, "os-getSerialConsole").status_code == 200
    refused(ask(api.become("reader", project_id=api.project_id), server, "os-getSerialConsole"), 403)
    refused(ask(api.become("member"), server, "os-getSerialConsole"), 404)
    refused(ask(api, str(uuid.uuid4()), "os-getSerialConsole"), 404)
    body = {"os-getSerialConsole": {"type": "serial"}}
    assert api.post(f"/servers/{server}/action", body, headers={"X-Auth-Token": ""}).status_code == 401


def test_a_token_ends(api: Api, db: Database, server: str, compute: Compute, served: Compute) -> None:
    def new() -> str:
        token = token_of(ask(api, server, "os-getSerialConsole"))
        assert grant(db, token)
        return token

    token = new()
    with db.write() as conn:
        conn.execute(update(ConsoleAuthToken).values(expires_at=clock.shifted(-1)))
    assert grant(db, token) is None, "expired"
    assert sweeps.forget_console_tokens(compute.tools) == 1
    token = new()
    assert sweeps.forget_console_tokens(compute.tools) == 0
    with db.write() as conn:
        conn.execute(update(Server).values(host="elsewhere"))
    assert grant(db, token) is None, "its server has moved"
    with db.write() as conn:
        conn.execute(update(Server).values(host="host1"))
    for action in ("os-stop", "suspend"):
        token = new()
        assert api.post(f"/servers/{server}/action", {action: None}).status_code == 202
        wait(db, server)
        assert grant(db, token) is None, action
        back = {"os-stop": "os-start", "suspend": "resume"}[action]
        api.post(f"/servers/{server}/action", {back: None})
        wait(db, server)
        assert grant(db, token) is None, "it stays dropped"
    token, kept = new(), new()
    api.post(f"/servers/{server}/action", {"pause": None})
    wait(db, server)
    assert grant(db, kept), "a paused guest has its console"
    assert api.delete(f"/servers/{server}").status_code == 204
    wait(db, server)
    with db.read() as conn:
        assert not conn.execute(select(ConsoleAuthToken.id)).all(), "a deleted server leaves none"
    assert grant(db, token) is None


def wait(db: Database, server: str) -> None:
    """Until nothing is under way."""
    for _ in range(1000):
        with db.read() as conn:
            if conn.execute(select(Server.task_state).where(Server.uuid == server)).scalar() is None:
                return
        threading.Event().wait(0.01)
    raise AssertionError("it does not end")


@pytest.mark.parametrize("version", ["2.1", "2.3"])
def test_console_auth_tokens(api: Api, admin: Api, db: Database, server: str, served: Compute, version: str) -> None:
    token = token_of(ask(api, server, "os-getSerialConsole"))
    asked = {"X-OpenStack-Nova-API-Version": version}
    answer = admin.get(f"/os-console-auth-tokens/{token}", headers=asked)
    assert answer.status_code == 401
    assert answer.json["unauthorized"]["message"] == "The requested console type details are not accessible"
    with db.write() as conn:  # there is no hypervisor here that has such a console
        conn.execute(update(ConsoleAuthToken).values(console_type="rdp-html5"))
    answer = admin.get(f"/os-console-auth-tokens/{token}", headers=asked)
    assert answer.json == {
        "console": {"instance_uuid": server, "host": "host1", "port": None, "internal_access_path": None}
    }
    for nothing in (str(uuid.uuid4()), "x", "%25", "é"):
        says(admin.get(f"/os-console-auth-tokens/{nothing}"), 404, "Token not found")
    refused(api.get(f"/os-console-auth-tokens/{token}"), 403)
    refused(api.become("reader").get(f"/os-console-auth-tokens/{token}"), 403)


# --- other questions ---


def test_console_output(api: Api, server: str, served: Compute) -> None:
    url = f"/servers/{server}/action"
    for wanted in ({}, {"length": 1}, {"length": "1"}, {"length": None}, {"length": -1}):
        answer = api.post(url, {"os-getConsoleOutput": wanted})
        assert (answer.status_code, set(answer.json)) == (200, {"output"}), wanted
        assert isinstance(answer.json["output"], str)
    for wrong in (None, {"length": "one"}, {"length": 1.5}, {"length": 1, "unknown": 1}):
        refused(api.post(url, {"os-getConsoleOutput": wrong}), 400)
    refused(api.become("member").post(url, {"os-getConsoleOutput": {}}), 404)


def test_diagnostics(api: Api, server: str, served: Compute) -> None:
    """Figures by name, for administrators."""
    url = f"/servers/{server}/diagnostics"
    answer = api.become("admin").get(url)
    assert answer.status_code == 200, answer.text
    assert answer.json["memory"] > 0
    assert all(isinstance(figure, int) for figure in answer.json.values())
    refused(api.get(url), 403)
    refused(api.become("member").get(url), 404)
    refused(api.become("admin").get(f"/servers/{uuid.uuid4()}/diagnostics"), 404)
