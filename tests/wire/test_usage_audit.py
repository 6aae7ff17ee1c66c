# SPDX-License-Identifier: Apache-2.0
"""os-instance_usage_audit_log, and the audit."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from computeapi.db.engine import Database
from computeapi.db.queries import usage_audit
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_host
from tests.wire.operating import for_admins_only, refused

PATHS = ("/os-instance_usage_audit_log", "/os-instance-usage-audit-log")
paths = pytest.mark.parametrize("path", PATHS)
EMPTY = {
    "hosts_not_run": ["host1"],
    "log": {},
    "num_hosts": 1,
    "num_hosts_done": 0,
    "num_hosts_not_run": 1,
    "num_hosts_running": 0,
    "overall_status": "0 of 1 hosts done. 0 errors.",
    "total_errors": 0,
    "total_instances": 0,
}


@paths
def test_before(admin: Api, host: str, path: str) -> None:
    for text in ("2012-07-05 10:00:00", "2012-07-05%2010:00:00.123456", "2012-07-01 00:00:01"):
        answer = admin.get(f"{path}/{text}")
        assert answer.status_code == 200
        period = {"period_beginning": "2012-06-01 00:00:00", "period_ending": "2012-07-01 00:00:00"}
        assert answer.json == {"instance_usage_audit_log": EMPTY | period}
    answer = admin.get(f"{path}/2012-01-01 00:00:00")
    assert answer.json["instance_usage_audit_log"]["period_beginning"] == "2011-11-01 00:00:00"


@paths
def test_the_newest(admin: Api, host: str, path: str) -> None:
    answer = admin.get(path)
    assert answer.status_code == 200
    begin, end = usage_audit.period("month")
    period = {"period_beginning": str(begin), "period_ending": str(end)}
    assert answer.json == {"instance_usage_audit_logs": EMPTY | period}


def test_audited(admin: Api, db: Database, host: str, make_server: MakeServer) -> None:
    add_host(db, "host2", disabled=1)
    begin, end = (moment.isoformat(timespec="microseconds") for moment in usage_audit.period("month"))
    make_server(host="host1", launched_at=begin)
    make_server(host="host1", launched_at=begin, terminated_at=end, deleted=1)
    make_server(host="host1", launched_at=end)  # later
    make_server(host="host2", launched_at=begin)
    with db.write() as conn:
        assert usage_audit.audit(conn, "host1", "month")
    with db.write() as conn:
        assert not usage_audit.audit(conn, "host1", "month")
    shown = admin.get(PATHS[0]).json["instance_usage_audit_logs"]
    assert shown["log"] == {
        "host1": {
            "state": "DONE",
            "instances": 2,
            "errors": 0,
            "message": "Instance usage audit ran for host host1, 2 instances.",
        }
    }
    assert (shown["num_hosts_done"], shown["hosts_not_run"], shown["total_instances"]) == (1, ["host2"], 2)
    assert shown["overall_status"] == "1 of 2 hosts done. 0 errors."
    with db.write() as conn:
        assert usage_audit.audit(conn, "host2", "month")
    assert admin.get(PATHS[0]).json["instance_usage_audit_logs"]["overall_status"] == "ALL hosts done. 0 errors."


@pytest.mark.parametrize(
    ("setting", "begin", "end"),
    [
        ("hour", "2020-03-15 10:00:00", "2020-03-15 11:00:00"),
        ("hour@45", "2020-03-15 09:45:00", "2020-03-15 10:45:00"),
        ("day", "2020-03-14 00:00:00", "2020-03-15 00:00:00"),
        ("day@18", "2020-03-13 18:00:00", "2020-03-14 18:00:00"),
        ("month", "2020-02-01 00:00:00", "2020-03-01 00:00:00"),
        ("month@20", "2020-01-20 00:00:00", "2020-02-20 00:00:00"),
        ("month@31", "2020-01-28 00:00:00", "2020-02-28 00:00:00"),
        ("year", "2019-01-01 00:00:00", "2020-01-01 00:00:00"),
        ("year@6", "2018-06-01 00:00:00", "2019-06-01 00:00:00"),
    ],
)
def test_periods(setting: str, begin: str, end: str) -> None:
    found = usage_audit.period(setting, datetime(2020, 3, 15, 11, 30))
    assert tuple(map(str, found)) == (begin, end)


def test_the_turn_of_a_period() -> None:
    assert str(usage_audit.period("month", datetime(2020, 1, 1))[1]) == "2019-12-01 00:00:00"
    assert str(usage_audit.period("day", datetime(2020, 1, 1, 0, 0, 1))[1]) == "2020-01-01 00:00:00"


@paths
@pytest.mark.parametrize(
    "text",
    ["x", "2012-07-05", "2012-07-05T10:00:00", "2012-13-05 10:00:00", "0001-01-01 00:00:00", "%25", "é", "9" * 99],
)
def test_rubbish(admin: Api, path: str, text: str) -> None:
    answer: Any = admin.get(f"{path}/{text}")
    assert refused(answer, 400).startswith("Invalid timestamp for date ")


def test_who_may(api: Api) -> None:
    for_admins_only(api, "GET", "/os-instance_usage_audit_log")
    for_admins_only(api, "GET", "/os-instance_usage_audit_log/2012-07-05 10:00:00")
    for_admins_only(api, "GET", "/os-instance-usage-audit-log")
    for_admins_only(api, "GET", "/os-instance-usage-audit-log/2012-07-05 10:00:00")
