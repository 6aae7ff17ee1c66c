# SPDX-License-Identifier: Apache-2.0
"""os-availability-zone."""

from __future__ import annotations

from typing import Any

import pytest

from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.conftest import add_host
from tests.wire.operating import LONG_AGO, for_admins_only, set_host


def zone(name: str, available: bool = True) -> Any:
    return {"zoneName": name, "zoneState": {"available": available}, "hosts": None}


def zones(api: Api) -> Any:
    answer = api.get("/os-availability-zone")
    assert answer.status_code == 200
    return answer.json["availabilityZoneInfo"]


@pytest.mark.parametrize("role", ["reader", "member", "stranger", "admin"])
def test_everybody_lists(api: Api, host: str, role: str) -> None:
    assert zones(api.become(role)) == [zone("nova")]


def test_states(api: Api, db: Database, host: str) -> None:
    add_host(db, "host2", availability_zone="mars")
    add_host(db, "host3", availability_zone="mars", disabled=1)
    assert zones(api) == [zone("mars"), zone("nova")]
    set_host(db, "host2", last_seen_at=LONG_AGO)  # down, and still enabled: as Nova counts
    assert zones(api) == [zone("mars"), zone("nova")]
    set_host(db, "host2", disabled=1)
    assert zones(api) == [zone("nova"), zone("mars", False)]


def test_no_host(api: Api) -> None:
    assert zones(api) == []


def test_detail(admin: Api, db: Database, host: str) -> None:
    add_host(db, "host2", availability_zone="mars", last_seen_at=LONG_AGO)
    add_host(db, "host3", availability_zone="moon", disabled=1)
    add_host(db, "host4", availability_zone="mars", disabled=1)
    answer = admin.get("/os-availability-zone/detail")
    assert answer.status_code == 200
    internal, mars, nova, moon = answer.json["availabilityZoneInfo"]
    assert internal["zoneName"] == "internal"
    assert set(internal["hosts"]["controller"]) == {"nova-conductor", "nova-scheduler"}
    assert mars == {
        "zoneName": "mars",
        "zoneState": {"available": True},
        "hosts": {"host2": {"nova-compute": {"available": False, "active": True, "updated_at": LONG_AGO}}},
    }
    assert nova["hosts"]["host1"]["nova-compute"]["available"] is True
    assert moon == zone("moon", False)


def test_who_may(api: Api) -> None:
    for_admins_only(api, "GET", "/os-availability-zone/detail")
    assert api.get("/os-availability-zone", headers={"X-Auth-Token": ""}).status_code == 401
