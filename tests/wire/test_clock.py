# SPDX-License-Identifier: Apache-2.0
"""The clock jumps by an hour, forward or back: nobody is logged out, and nothing waits for it to come round."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from types import SimpleNamespace

import pytest

from computeapi import clock
from computeapi.backends.identity import embedded, setup
from computeapi.compute.sweeps import forget_questions, take_back
from computeapi.db.engine import Database
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot

NEARLY_AN_HOUR = 3500.0  # the tests' tokens live an hour
each_way = pytest.mark.parametrize("seconds", [NEARLY_AN_HOUR, -NEARLY_AN_HOUR])


def jump(patch: pytest.MonkeyPatch, seconds: float) -> None:
    """All that asks what time it is hears another; what measures durations does not."""

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=seconds)

    real = embedded.time
    patch.setattr(clock, "datetime", Jumped)
    patch.setattr(embedded, "time", SimpleNamespace(time=lambda: real.time() + seconds, monotonic=real.monotonic))


@each_way
def test_servers(api: Api, compute: Compute, boot: Boot, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    server, waiting = f"/servers/{boot()}", f"/servers/{boot()}"
    assert api.post(f"{waiting}/action", {"os-stop": None}).status_code == 202
    jump(monkeypatch, seconds)
    assert api.post(f"{server}/action", {"os-stop": None}).status_code == 202
    compute.work()
    forget_questions(compute.tools)
    assert take_back(compute.tools) == 0
    for each in (server, waiting):
        assert api.get(each).json["server"]["status"] == "SHUTOFF"
    boot()
    (service,) = [
        row
        for row in api.become("admin").get("/os-services").json["services"]
        if row["binary"] == "nova-compute" and row["host"] == "host1"
    ]
    assert service["state"] == "up"
    compute.restart()
    assert api.post(f"{server}/action", {"os-start": None}).status_code == 202
    compute.work()
    assert api.get(server).json["server"]["status"] == "ACTIVE"


@each_way
def test_tokens(db: Database, api: Api, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    setup.ensure_defaults(db)
    with db.write() as conn:
        user = setup.add_user(conn, "alice", "old secret")

    def log_in(password: str) -> dict[str, str]:
        proof = {"user": {"id": user, "password": password}}
        body = {"auth": {"identity": {"methods": ["password"], "password": proof}}}
        answer = api.post("/identity/v3/auth/tokens", body)
        assert answer.status_code == 201, answer.text
        return {"X-Auth-Token": answer.headers["X-Subject-Token"]}

    before = log_in("old secret")
    changed = {"user": {"password": "new secret"}}
    assert api.become("admin").request("PATCH", f"/identity/v3/users/{user}", changed).status_code == 200
    kept = log_in("new secret")
    jump(monkeypatch, seconds)
    mine = f"/identity/v3/users/{user}"
    assert api.get(mine, headers=before).status_code == 401
    assert api.get(mine, headers=kept).status_code == 200
    assert api.get(mine, headers=log_in("new secret")).status_code == 200
