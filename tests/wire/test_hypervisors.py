# SPDX-License-Identifier: Apache-2.0
"""os-hypervisors, and os-pci."""

from __future__ import annotations

import json
from typing import Any

import pytest

from computeapi import clock
from computeapi.db.engine import Database
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_host
from tests.wire.operating import LONG_AGO, for_admins_only, hostile_ids, refused, set_host

BRIEF = {"id": 1, "hypervisor_hostname": "host1.example.org", "state": "up", "status": "enabled"}
DETAILS = {
    **BRIEF,
    "cpu_info": '{"arch":"x86_64"}',
    "current_workload": 1,
    "disk_available_least": 9_980,
    "free_disk_gb": 9_980,
    "free_ram_mb": 98_976,
    "host_ip": "127.0.0.1",
    "hypervisor_type": "simulator",
    "hypervisor_version": 1,
    "local_gb": 10_000,
    "local_gb_used": 20,
    "memory_mb": 100_000,
    "memory_mb_used": 1024,
    "running_vms": 2,
    "service": {"host": "host1", "id": 3, "disabled_reason": None},
    "vcpus": 100,
    "vcpus_used": 2,
}
PCI = [
    {"address": "0000:04:10.0", "vendor_id": "8086", "product_id": "1520", "numa_node": 1},
    {"address": "0000:04:10.1", "vendor_id": "8086", "product_id": "1520", "numa_node": 1, "status": "allocated"},
    {
        "address": "0000:04:10.2",
        "vendor_id": "8086",
        "product_id": "1520",
        "numa_node": 1,
        "dev_type": "type-VF",
        "label": "label",
        "extra_info": {"key1": "value1"},
    },
]


@pytest.fixture
def busy(host: str, db: Database, make_server: MakeServer) -> str:
    """host1 with two servers, one of them starting."""
    used = {"vcpus_used": 2, "memory_mb_used": 1024, "disk_gb_used": 20, "servers": 2}
    set_host(db, host, cpu_info_json='{"arch":"x86_64"}', **used)
    make_server(host=host)
    make_server(host=host, task_state="powering-on")
    make_server(host=host, task_state="deleting", deleted=1)
    make_server(host="host2", task_state="powering-on")
    return host


def get(admin: Api, path: str) -> Any:
    answer = admin.get("/os-hypervisors" + path)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_list(admin: Api, db: Database, busy: str) -> None:
    add_host(db, "host2", disabled=1, last_seen_at=LONG_AGO)
    second = {"id": 2, "hypervisor_hostname": "host2.example.org", "state": "down", "status": "disabled"}
    assert get(admin, "") == {"hypervisors": [BRIEF, second]}
    first, other = get(admin, "/detail")["hypervisors"]
    assert first == DETAILS
    assert (other["service"], other["free_ram_mb"]) == ({"host": "host2", "id": 4, "disabled_reason": None}, 100_000)


def test_no_host(admin: Api) -> None:
    assert get(admin, "") == get(admin, "/detail") == get(admin, "/os-pci") == {"hypervisors": []}
    assert set(get(admin, "/statistics")["hypervisor_statistics"].values()) == {0}
    refused(admin.get("/os-hypervisors/1"), 404)


def test_show(admin: Api, busy: str) -> None:
    assert get(admin, "/1") == {"hypervisor": DETAILS}
    assert get(admin, "/1/1") == {"hypervisor": DETAILS}
    assert refused(admin.get("/os-hypervisors/1/2"), 404) == "Hypervisor with ID '2' could not be found."
    assert refused(admin.get("/os-hypervisors/7"), 404) == "Hypervisor with ID '7' could not be found."


def test_statistics(admin: Api, db: Database, busy: str) -> None:
    add_host(db, "host2", last_seen_at=LONG_AGO)
    add_host(db, "host3", disabled=1)
    assert get(admin, "/statistics") == {
        "hypervisor_statistics": {
            "count": 2,
            "current_workload": 2,
            "disk_available_least": 19_980,
            "free_disk_gb": 19_980,
            "free_ram_mb": 198_976,
            "local_gb": 20_000,
            "local_gb_used": 20,
            "memory_mb": 200_000,
            "memory_mb_used": 1024,
            "running_vms": 2,
            "vcpus": 200,
            "vcpus_used": 2,
        }
    }


@pytest.mark.parametrize("path", ["/1/uptime", "/1/1/uptime"])
def test_uptime(admin: Api, db: Database, host: str, path: str) -> None:
    said = " 08:32:11 up 93 days, 18:25, 12 users,  load average: 0.20, 0.12, 0.14"
    set_host(db, host, uptime=said)
    assert get(admin, path) == {"hypervisor": {**BRIEF, "uptime": said}}
    set_host(db, host, uptime=None, started_at=clock.shifted(-2 * 86400 - 3 * 3600 - 65))
    assert get(admin, path)["hypervisor"]["uptime"].endswith(" up 2 days,  3:01")
    set_host(db, host, last_seen_at=LONG_AGO)
    assert refused(admin.get("/os-hypervisors" + path), 400) == (
        "Compute service of host1 is unavailable at this time."
    )


def test_search(admin: Api, db: Database, busy: str) -> None:
    add_host(db, "host2")
    second = {**BRIEF, "id": 2, "hypervisor_hostname": "host2.example.org"}
    assert get(admin, "/example/search") == {"hypervisors": [BRIEF, second]}
    assert get(admin, "/HOST2/search") == {"hypervisors": [second]}
    for nobody in ("host3", "%25", "_", "'", "é"):
        answer = admin.get(f"/os-hypervisors/{nobody}/search")
        assert refused(answer, 404).startswith("No hypervisor matching '")


def test_servers(admin: Api, db: Database, busy: str, make_server: MakeServer) -> None:
    add_host(db, "host2")
    add_host(db, "host3")
    first, second, third = get(admin, "/host/servers")["hypervisors"]
    assert [server["name"] for server in first["servers"]] == ["instance-00000001", "instance-00000002"]
    assert set(first) == {*BRIEF, "servers"}
    assert len(second["servers"]) == 1
    assert set(third) == set(BRIEF)
    refused(admin.get("/os-hypervisors/nowhere/servers"), 404)


def test_pci(admin: Api, db: Database, busy: str) -> None:
    set_host(db, busy, pci_json=json.dumps(PCI))
    stats = [{"count": 2, "product_id": "1520", "vendor_id": "8086", "numa_node": 1}]
    assert get(admin, "/1/os-pci") == {"hypervisor": {**DETAILS, "os-pci:pci_stats": stats}}
    assert get(admin, "/os-pci") == {"hypervisors": [{**DETAILS, "os-pci:pci_stats": stats}]}
    add_host(db, "host2")
    assert get(admin, "/2/os-pci")["hypervisor"]["os-pci:pci_stats"] == []
    refused(admin.get("/os-hypervisors/9/os-pci"), 404)


def test_pci_devices(admin: Api, db: Database, host: str) -> None:
    assert admin.get("/os-pci").json == admin.get("/os-pci/detail").json == {"pci_devices": []}
    set_host(db, host, pci_json=json.dumps(PCI))
    brief = admin.get("/os-pci").json["pci_devices"]
    assert brief[1] == {
        "address": "0000:04:10.1",
        "compute_node_id": 1,
        "id": brief[0]["id"] + 1,
        "product_id": "1520",
        "status": "allocated",
        "vendor_id": "8086",
    }
    details = admin.get("/os-pci/detail").json["pci_devices"]
    assert details[2] == {
        **brief[2],
        "dev_id": "pci_0000_04_10_2",
        "dev_type": "type-VF",
        "extra_info": {"key1": "value1"},
        "server_uuid": None,
        "label": "label",
    }
    assert (details[0]["label"], details[0]["dev_type"]) == ("label_8086_1520", "type-PCI")
    for device in details:
        answer = admin.get(f"/os-pci/{device['id']}")
        assert (answer.status_code, answer.json) == (200, {"pci_device": device})
    refused(admin.get(f"/os-pci/{details[2]['id'] + 1}"), 404)


@hostile_ids
def test_rubbish(admin: Api, host: str, identifier: str) -> None:
    for path in (
        f"/os-hypervisors/{identifier}",
        f"/os-hypervisors/{identifier}/os-pci",
        f"/os-hypervisors/{identifier}/uptime",
        f"/os-hypervisors/{identifier}/{identifier}/uptime",
        f"/os-hypervisors/{identifier}/{identifier}",
        f"/os-pci/{identifier}",
    ):
        assert admin.get(path).status_code == 404, path


def test_who_may(api: Api, host: str) -> None:
    for_admins_only(api, "GET", "/os-hypervisors")
    for_admins_only(api, "GET", "/os-hypervisors/detail")
    for_admins_only(api, "GET", "/os-hypervisors/statistics")
    for_admins_only(api, "GET", "/os-hypervisors/os-pci")
    for path in ("/1", "/1/1", "/1/uptime", "/1/1/uptime", "/1/os-pci", "/host/search", "/host/servers"):
        for_admins_only(api, "GET", "/os-hypervisors" + path)
    for path in ("/os-pci", "/os-pci/detail", "/os-pci/1"):
        for_admins_only(api, "GET", path)
