# SPDX-License-Identifier: Apache-2.0
"""A rolling restart: each compute service and the API one after the other, while clients make, stop, start and delete
servers. No request fails, no action is lost, no server lands in ERROR."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.ops.servers import Cloud, wait_for
from tests.ops.test_backup import Client
from tests.ops.test_reload import CONF, Load, socket_of_systemd, start_by_socket

__all__ = ["socket_of_systemd"]
#: Seconds by what a hypervisor does: long enough for a restart to come in between.
DELAYS = {"define": 0.3, "start": 0.3, "power_off": 0.3, "ensure_disk": 0.2, "undefine": 0.2}


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path / "state", CONF)
    cloud.init()
    simulator = cloud.directory / "simulator"
    simulator.mkdir(exist_ok=True)
    (simulator / "options.json").write_text(json.dumps({"delays": DELAYS}))
    return cloud


class Tenant(threading.Thread):
    """Makes a server, does something to it, deletes it, and again."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__()
        self.client, self.cloud = Client(cloud), cloud
        self.ending = threading.Event()
        self.failed: list[str] = []
        self.lives = 0

    def run(self) -> None:
        try:
            while not self.ending.is_set():
                self._live()
                self.lives += 1
        except (Exception, pytest.fail.Exception) as error:
            self.failed.append(repr(error))

    def _live(self) -> None:
        server_id = self.client.boot("rolling")
        for action, status in (("os-stop", "SHUTOFF"), ("os-start", "ACTIVE")):
            self.client.call("POST", f"/v2.1/servers/{server_id}/action", {action: None})
            self.client.wait_until(server_id, status)
        log = self.client.call("GET", f"/v2.1/servers/{server_id}/os-instance-actions")["instanceActions"]
        assert [(row["action"], row["message"]) for row in log] == [("start", None), ("stop", None), ("create", None)]
        self.client.call("DELETE", f"/v2.1/servers/{server_id}")


@contextmanager
def tenants(cloud: Cloud, number: int) -> Iterator[list[Tenant]]:
    """So many at once; each ends with its server deleted."""
    threads = [Tenant(cloud) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield threads
    finally:
        for thread in threads:
            thread.ending.set()
        for thread in threads:
            thread.join()


def have_lived(crowd: list[Tenant], number: int) -> bool:
    """More servers than that have lived and gone."""
    return sum(tenant.lives for tenant in crowd) > number


def up(client: Client, host: str) -> bool:
    """Whether its compute service has been heard of."""
    found = client.call("GET", f"/v2.1/os-services?binary=nova-compute&host={host}")["services"]
    return [service["state"] for service in found] == ["up"]


def test_rolling_restart(cloud: Cloud, socket_of_systemd: Any) -> None:
    hosts = {name: ("compute", "--host", name) for name in ("host1", "host2")}
    api = start_by_socket(cloud, socket_of_systemd)
    try:
        with ExitStack() as stack:
            running = {name: stack.enter_context(cloud.running(*words)) for name, words in hosts.items()}
            cloud.wait_until_it_answers()
            client = Client(cloud)
            for name in hosts:
                wait_for(partial(up, client, name), f"{name} is up")
            with Load(cloud.port) as load, tenants(cloud, 4) as crowd:
                for name, words in hosts.items():
                    lives = sum(tenant.lives for tenant in crowd) + 4
                    running[name].terminate()
                    assert running[name].wait(60) == 0
                    running[name] = stack.enter_context(cloud.running(*words))
                    wait_for(partial(have_lived, crowd, lives), f"{name} works again")
                api.terminate()
                assert api.wait(45) == 0
                api = start_by_socket(cloud, socket_of_systemd)
                load.more()
            assert [tenant.failed for tenant in crowd] == [[]] * 4
            assert load.failed == [] and load.done > 100
            wait_for(lambda: client.call("GET", "/v2.1/servers")["servers"] == [], "all are deleted")
    finally:
        api.terminate()
        api.wait(45)
