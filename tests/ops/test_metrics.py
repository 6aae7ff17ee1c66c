# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics: on their own port, summed over workers, and kept when a worker ends."""

from __future__ import annotations

import subprocess
import time
import timeit
from pathlib import Path
from typing import Any

import falcon.testing
import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from computeapi import clock, metrics
from computeapi.app import create_app
from computeapi.db.engine import Database
from computeapi.db.models import Action
from computeapi.db.queries import host_faults
from computeapi.settings import Settings
from tests.conftest import Api
from tests.ops.servers import Cloud, fetch, wait_for
from tests.ports import free_port
from tests.wire.conftest import MakeServer, add_host


def samples(text: str) -> dict[tuple[str, ...], float]:
    """(name, label values by the labels' names) → value."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[(sample.name, *(sample.labels[name] for name in sorted(sample.labels)))] = sample.value
    return found


def scrape(settings: Settings, requests: metrics.Requests, app: Any = None, **more: Any) -> Any:
    port = metrics.Port(app or create_app(settings), settings, requests)
    return falcon.testing.TestClient(port).simulate_get(more.pop("path", "/metrics"), **more)


@pytest.fixture
def listening(settings: Settings) -> Settings:
    object.__setattr__(settings, "api_metrics_listen", "127.0.0.1:9284")
    return settings


def test_requests(listening: Settings, db: Database, api: Api) -> None:
    requests = metrics.Requests()
    app = create_app(listening, requests, db=db)
    client = falcon.testing.TestClient(app)
    for path in ("/v2.1/servers/x", "/v2.1/servers/y", "/v2.1/nowhere", "/"):
        client.simulate_get(path, headers={"X-Auth-Token": api.token})
    client.simulate_request("BREW", "/")
    found = samples(scrape(listening, requests, app, port=9284).text)
    name = "computeapi_requests_total"
    assert found[name, "GET", "/v2.1/servers/{server_id}", "compute", "404"] == 2
    assert found[name, "GET", "none", "compute", "404"] == 1
    assert found[name, "GET", "/", "compute", "200"] == 1
    assert [key for key in found if key[:2] == (name, "other")]
    assert found["computeapi_request_seconds_count", "GET", "/v2.1/servers/{server_id}", "compute"] == 2
    assert found["computeapi_request_seconds_bucket", "+Inf", "GET", "/", "compute"] == 1


def test_cloud(listening: Settings, db: Database, make_server: MakeServer, api: Api, admin: Api) -> None:
    add_host(db, "host1", vcpus=8, vcpus_used=3, memory_mb=1024, memory_mb_used=512, disk_gb=10, disk_gb_used=1)
    add_host(db, "host2", disabled=1, last_seen_at=clock.shifted(-3600))
    make_server(host="host1")
    server = make_server(host="host1", vm_state="active")
    assert api.post(f"/servers/{server.uuid}/action", {"os-stop": None}).status_code == 202
    with db.write() as conn:
        conn.execute(update(Action).values(created_at=clock.shifted(-100)))
        assert host_faults.write(conn, "host1", 0, host_faults.FIREWALL, {"one": "no", "two": "no"})
    found = samples(scrape(listening, metrics.Requests(), port=9284).text)
    assert found["computeapi_host_faults", "host1", "firewall"] == 2
    assert found["computeapi_host_faults", "host1", "networks"] == 0
    assert found["computeapi_journal_actions", "host1", "pending"] == 1
    assert 100 <= found["computeapi_journal_oldest_seconds", "host1", "pending"] < 160
    assert (found["computeapi_host_up", "host1"], found["computeapi_host_up", "host2"]) == (1, 0)
    assert (found["computeapi_host_enabled", "host1"], found["computeapi_host_enabled", "host2"]) == (1, 0)
    assert found["computeapi_host_capacity", "host1", "memory_bytes"] == 2**30
    assert found["computeapi_host_used", "host1", "memory_bytes"] == 2**29
    assert found["computeapi_host_used", "host1", "vcpus"] == 3
    assert found["computeapi_host_used", "host1", "disk_bytes"] == 2**30
    assert found["computeapi_servers", "active"] == 2
    assert found["computeapi_database_up",] == 1


def test_without_a_database(listening: Settings, db: Database) -> None:
    app = create_app(listening, db=db)
    object.__setattr__(listening, "connection", "postgresql://nobody:secret@127.0.0.1:1/none")
    answer = scrape(listening, metrics.Requests(), app, port=9284)
    assert samples(answer.text)["computeapi_database_up",] == 0
    assert "secret" not in answer.text


def test_own_port_only(listening: Settings, db: Database, api: Api) -> None:
    """Neither do metrics answer at the API's port, nor the API at theirs, whatever the Host header says."""
    requests, app = metrics.Requests(), create_app(listening, db=db)
    assert scrape(listening, requests, app, port=8774).status_code == 300
    assert scrape(listening, requests, app, port=9284, path="/").status_code == 404
    assert scrape(listening, requests, app, port=9284, path="/v2.1/servers").status_code == 404
    lying = type("Socket", (), {"getsockname": lambda _self: "/run/api.sock"})()
    assert scrape(listening, requests, app, port=9284, extras={"gunicorn.socket": lying}).status_code == 300


def test_what_it_costs() -> None:
    """A request's own part stays out of its way: far below what one takes (600 µs)."""
    requests = metrics.Requests()
    requests.seen("compute", "GET", "/v2.1/servers", 200, 0.002)
    many = timeit.repeat(lambda: requests.seen("compute", "GET", "/v2.1/servers", 200, 0.002), number=2000, repeat=20)
    assert min(many) / 2000 < 20e-6  # 3 µs on a quiet machine; counting into files costs the same


def test_workers(tmp_path: Path) -> None:
    """Real workers: their counts are one sum, which a reload does not lessen; and the compute service's own port."""
    api_port, compute_port = free_port(), free_port()
    cloud = Cloud(
        tmp_path / "state",
        "operation_threads = 1\n[api]\nworkers = 2\n[metrics]\n"
        f"api_metrics_listen = 127.0.0.1:{api_port}\ncompute_metrics_listen = 127.0.0.1:{compute_port}\n",
    )
    cloud.init()
    url = f"http://127.0.0.1:{api_port}/metrics"

    def count() -> float:
        return samples(fetch(url)[1]).get(("computeapi_requests_total", "GET", "/", "compute", "200"), 0)

    with cloud.running("api") as api, cloud.running("compute"):
        cloud.wait_until_it_answers()
        for _ in range(40):
            assert fetch(cloud.url + "/")[0] == 200
        wait_for(lambda: count() == 40, "40 requests")
        assert fetch(cloud.url + "/metrics")[0] == 300
        before = workers(api)
        api.send_signal(1)
        wait_for(lambda: before.isdisjoint(workers(api)), "other workers")
        for _ in range(10):
            assert fetch(cloud.url + "/")[0] == 200
        wait_for(lambda: count() == 50, "50 requests")
        master = [path.name for path in (tmp_path / "state" / "metrics").glob(f"*_{api.pid}.db")]
        assert sorted(master) == [f"counter_{api.pid}.db", f"histogram_{api.pid}.db"]
        wait_for(lambda: samples(fetch(url)[1]).get(("computeapi_host_up", "host1")) == 1, "the host is up")
        wait_for(lambda: fetch(f"http://127.0.0.1:{compute_port}/metrics")[0] == 200, "the compute service's port")
    # What a run before counted is forgotten.
    with cloud.running("api"):
        cloud.wait_until_it_answers()
        assert count() == 0


def workers(process: subprocess.Popen[str]) -> set[str]:
    time.sleep(0.1)
    return set(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split())
