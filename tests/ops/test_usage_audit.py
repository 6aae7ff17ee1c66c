# SPDX-License-Identifier: Apache-2.0
"""The usage audit runs by itself, and usage is exact for what happened inside the window."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select

from computeapi import clock
from computeapi.compute import sweeps
from computeapi.db.engine import Database
from computeapi.db.models import TaskLog
from computeapi.db.queries import usage_audit
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_flavor

PATH = "/os-instance-usage-audit-log"


def test_it_is_a_sweep() -> None:
    assert sweeps.audit_usage in sweeps.ALL


def test_once_a_period(compute: Compute, admin: Api, make_server: MakeServer) -> None:
    begin, _end = usage_audit.period("month")
    make_server(host="host1", launched_at=clock.text(begin))
    assert admin.get(PATH).json["instance_usage_audit_logs"]["num_hosts_done"] == 0
    assert sweeps.audit_usage(compute.tools)
    assert not sweeps.audit_usage(compute.tools)
    shown = admin.get(PATH).json["instance_usage_audit_logs"]
    assert (shown["num_hosts_done"], shown["total_instances"], shown["overall_status"]) == (
        1,
        1,
        "ALL hosts done. 0 errors.",
    )


def test_each_period_anew(compute: Compute, db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock goes on by hours; each hour is audited when it is over, and never twice."""
    tools = replace(compute.tools, settings=replace(compute.tools.settings, instance_usage_audit_period="hour"))
    real = usage_audit.period
    for hour, done in ((10, True), (10, False), (11, True), (13, True), (13, False)):
        moment = datetime(2030, 1, 1, hour, 20)
        monkeypatch.setattr(usage_audit, "period", lambda setting, moment=moment: real(setting, moment))
        assert sweeps.audit_usage(tools) is done
    with db.read() as conn:
        ended = conn.execute(select(TaskLog.period_ending, TaskLog.state).order_by(TaskLog.id)).all()
    assert [(row[0][:13], row[1]) for row in ended] == [
        ("2030-01-01T10", "DONE"),
        ("2030-01-01T11", "DONE"),
        ("2030-01-01T13", "DONE"),
    ]


def _hours(first: str, last: str) -> float:
    return (clock.parse(last) - clock.parse(first)).total_seconds() / 3600


def test_usage_of_a_real_life(
    api: Api, db: Database, compute: Compute, boot: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Created, resized, confirmed and deleted inside the window, by the API and the compute service themselves."""
    real, ago = clock.shifted, [4 * 3600.0]
    monkeypatch.setattr(clock, "shifted", lambda seconds: real(seconds - ago[0]))
    monkeypatch.setattr(clock, "now", lambda: real(-ago[0]))
    begin = clock.now()
    server_id = boot()
    launched = compute.server(server_id).launched_at
    ago[0] = 3 * 3600.0
    compute.work()  # it says that it lives
    large = add_flavor(db, vcpus=4, memory_mb=2048, disk_gb=8)
    answer = api.post(f"/servers/{server_id}/action", {"resize": {"flavorRef": large}})
    assert answer.status_code == 202, answer.text
    compute.work()
    ago[0] = 2 * 3600.0
    compute.work()  # it says that it lives
    assert api.post(f"/servers/{server_id}/action", {"confirmResize": None}).status_code == 204
    compute.work()
    ago[0] = 3600.0
    compute.work()  # it says that it lives
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    ended = compute.server(server_id).terminated_at
    ago[0] = 0.0
    query = f"start={begin}&end={clock.now()}"
    usage = api.get(f"/os-simple-tenant-usage/{api.project_id}?{query}").json["tenant_usage"]
    assert launched and ended
    whole = _hours(launched, ended)
    assert 2.99 < whole < 3.1
    assert usage["total_hours"] == pytest.approx(whole, abs=0.01)
    # One hour as it was made (1 CPU, 512 MiB, 1 GiB), two as it was resized.
    assert usage["total_vcpus_usage"] == pytest.approx(1 + 2 * 4, abs=0.05)
    assert usage["total_memory_mb_usage"] == pytest.approx(512 + 2 * 2048, rel=0.01)
    assert usage["total_local_gb_usage"] == pytest.approx(1 + 2 * 8, abs=0.1)
