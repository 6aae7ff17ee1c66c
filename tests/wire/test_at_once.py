# SPDX-License-Identifier: Apache-2.0
"""Requests that stand in each other's way: each is done or refused, none is more than its quota, none is an error."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select, update

from computeapi import endpoint, lifecycle, scheduler
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.db.models import Allocation, Host, PciClaim
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import add_host
from tests.wire.test_pci_passthrough import body, cloud, flavor_with  # noqa: F401  (fixtures)
from tests.wire.test_server_migrate import Cloud

_THREADS = 6
_LEAST = 2  # of each that a project may have here


def at_once(*requests: Callable[[], Any]) -> list[Any]:
    """The answers."""
    answers: list[Any] = [None] * len(requests)
    start = threading.Barrier(len(requests))

    def ask(n: int) -> None:
        start.wait()
        answers[n] = requests[n]()

    threads = [threading.Thread(target=ask, args=(n,), name=str(n)) for n in range(len(requests))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def asking(asker: Api, server: dict[str, Any], n: int) -> Callable[[], Any]:
    """Two servers on a network that nobody else is on: its rows keep nobody apart."""
    network = asker.post("/network/v2.0/networks", {"network": {"name": "own"}}).json["network"]["id"]
    subnet = {"network_id": network, "ip_version": 4, "cidr": f"10.7.{n}.0/24"}
    assert asker.post("/network/v2.0/subnets", {"subnet": subnet}).status_code == 201
    return lambda: asker.post("/servers", {"server": {**server, "networks": [{"uuid": network}], "min_count": 2}})


class Crossing:
    """Two requests that take the hosts' rows in opposite orders; each waits after its first until the other has its
    own, so that both wait for each other then. SQLite lets one write at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, crosses: bool) -> None:
        self._met = threading.Barrier(2)
        self._placed: Counter[str] = Counter()
        self._crosses, self._place = crosses, scheduler.place
        monkeypatch.setattr(lifecycle.scheduler, "place", self.place)
        monkeypatch.setattr(scheduler, "_order", self.order)

    def order(self, host: Any, _facts: Any) -> Any:
        """Whose turn it is: the first's servers go to host1 and host2, the second's to host2 and host1."""
        name = threading.current_thread().name
        first = (int(name) + self._placed[name]) % 2 == 0
        return host.name if first else {"host1": "host2", "host2": "host1"}[host.name]

    def place(self, *arguments: Any, **more: Any) -> str:
        """As the scheduler's."""
        name = threading.current_thread().name
        host = self._place(*arguments, **more)
        self._placed[name] += 1
        if self._placed[name] == 1 and self._crosses:
            self._met.wait(20)
        return host


def test_hosts_taken_in_opposite_orders(
    cloud: Cloud,  # noqa: F811
    body: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Servers with PCI devices, whose hosts' rows are locked even where they take nothing."""
    db = cloud.db
    caplog.set_level("INFO", "computeapi.api")
    asked = {**body, "flavorRef": flavor_with(db, "card:1")}
    askers = [cloud.api, cloud.api.become("admin", "member")]
    requests = [asking(asker, asked, n) for n, asker in enumerate(askers)]
    Crossing(monkeypatch, crosses=db.is_postgresql)
    done = at_once(*requests)
    assert [answer.status_code for answer in done] == [202, 202], [answer.text for answer in done]
    again = caplog.text.count("stood in another's way")
    assert again == (1 if db.is_postgresql else 0)
    with db.read() as conn:
        taken = dict(conn.execute(select(Allocation.host, func.count()).group_by(Allocation.host)).all())
        claims = dict(conn.execute(select(PciClaim.host, func.count()).group_by(PciClaim.host)).all())
        counted = dict(conn.execute(select(Host.name, Host.servers)).all())
    assert taken == claims == counted == {"host1": 2, "host2": 2}
    cloud.work()
    for asker in askers:
        assert [each["status"] for each in asker.get("/servers/detail").json["servers"]] == ["ACTIVE"] * 2


def test_what_can_not_be_done_again(
    cloud: Cloud,  # noqa: F811
    body: dict[str, Any],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is 503, and says when to ask again; nothing is there."""
    if not cloud.db.is_postgresql:
        pytest.skip("SQLite's writers are never in each other's way")
    monkeypatch.setattr(endpoint, "_TRIES", 1)
    asked = {**body, "flavorRef": flavor_with(cloud.db, "card:1")}
    askers = [cloud.api, cloud.api.become("admin", "member")]
    requests = [asking(asker, asked, n) for n, asker in enumerate(askers)]
    Crossing(monkeypatch, crosses=True)
    done = at_once(*requests)
    assert sorted(answer.status_code for answer in done) == [202, 503]
    (refused,) = [answer for answer in done if answer.status_code == 503]
    assert refused.headers["Retry-After"] == "1"
    assert refused.json == {"serviceUnavailable": {"code": 503, "message": "The database is busy; try again."}}
    assert sorted(len(asker.get("/servers").json["servers"]) for asker in askers) == [0, 2]


_QUOTAS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "server_groups": ("/os-server-groups", {"server_group": {"name": "g", "policies": ["affinity"]}}, (200, 403)),
    "security_groups": ("/os-security-groups", {"security_group": {"name": "", "description": "d"}}, (200, 403)),
    "floating_ips": ("/os-floating-ips", {"pool": None}, (200, 403)),
    "volumes": ("/volume/v3/volumes", {"volume": {"size": 1}}, (202, 413)),
    "networks": ("/network/v2.0/networks", {"network": {"name": "n"}}, (201, 409)),
    "key_pairs": ("/os-keypairs", {"keypair": {"name": ""}}, (200, 403)),
}


@pytest.mark.parametrize("kind", sorted(_QUOTAS))
def test_no_more_than_the_quota(settings: Settings, db: Database, api: Api, kind: str) -> None:
    add_host(db, "host1")
    small = replace(settings, **{f"quota_{kind}": _LEAST + (kind == "security_groups")})  # "default" is one
    app = create_app(small, db=db)
    member = Api(app, TokenCodec(small.secret("tokens")), ("admin", "member"), api.project_id, api.user_id)
    member.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.0/28"}})
    path, wanted, (made, refused) = _QUOTAS[kind]

    def asking(n: int) -> Callable[[], Any]:
        named = {
            key: {**value, "name": f"{kind}{n}"} if isinstance(value, dict) and "name" in value else value
            for key, value in wanted.items()
        }
        return lambda: member.post(path, named)

    done = at_once(*map(asking, range(_THREADS)))
    found = Counter(answer.status_code for answer in done)
    assert found == {made: _LEAST, refused: _THREADS - _LEAST}, [answer.text for answer in done]


def test_no_more_servers_than_the_quota(settings: Settings, db: Database, api: Api, body: Any, cloud: Cloud) -> None:  # noqa: F811
    """Of one network, whose addresses they take as well; nobody gets another's."""
    small = replace(settings, quota_instances=_LEAST)
    member = Api(create_app(small, db=db), TokenCodec(small.secret("tokens")), ("member",), "c" * 32, "d")
    asked = {"server": {**body, "flavorRef": flavor_with(db, "")}}
    done = at_once(*[lambda: member.post("/servers", asked) for _ in range(_THREADS)])
    assert Counter(answer.status_code for answer in done) == {202: _LEAST, 403: _THREADS - _LEAST}
    cloud.work()
    shown = member.get("/servers/detail").json["servers"]
    assert [each["status"] for each in shown] == ["ACTIVE"] * _LEAST
    assert len({each["addresses"]["private"][0]["addr"] for each in shown}) == _LEAST


def test_one_volume_for_one_server(cloud: Cloud, body: dict[str, Any]) -> None:  # noqa: F811
    """And a server's groups, floating IP and end, at the same time as others'."""
    api = cloud.api
    asked = {"server": {**body, "flavorRef": flavor_with(cloud.db, ""), "min_count": 3}}
    assert api.post("/servers", asked).status_code == 202
    volume = api.post("/volume/v3/volumes", {"volume": {"size": 1}}).json["volume"]["id"]
    api.post("/os-floating-ips-bulk", {"floating_ips_bulk_create": {"ip_range": "192.168.1.0/29"}})
    address = api.post("/os-floating-ips", {"pool": None}).json["floating_ip"]["ip"]
    api.post("/os-security-groups", {"security_group": {"name": "web", "description": ""}})
    cloud.work()
    with cloud.db.write() as conn:
        conn.execute(update(Host).values(last_seen_at=Host.last_seen_at))
    keys = [each["id"] for each in api.get("/servers").json["servers"]]
    attach = {"volumeAttachment": {"volumeId": volume}}
    each: list[list[Callable[[], Any]]] = [
        [
            lambda key=key: api.post(f"/servers/{key}/os-volume_attachments", attach),
            lambda key=key: api.post(f"/servers/{key}/action", {"addFloatingIp": {"address": address}}),
            lambda key=key: api.post(f"/servers/{key}/action", {"addSecurityGroup": {"name": "web"}}),
        ]
        for key in keys
    ]
    done = at_once(*[ask for some in each for ask in some])
    assert Counter(answer.status_code for answer in done[::3]) == {200: 1, 400: 2}, [a.text for a in done[::3]]
    assert {answer.status_code for answer in (*done[1::3], *done[2::3])} == {202}
    cloud.work()
    stops = [lambda key=key: api.post(f"/servers/{key}/action", {"os-stop": None}) for key in keys for _ in range(2)]
    done = at_once(*[lambda: api.delete(f"/servers/{keys[0]}"), *stops, lambda: api.delete(f"/servers/{keys[0]}")])
    assert {answer.status_code for answer in (done[0], done[-1])} <= {204, 404}
    assert {answer.status_code for answer in done[1:-1]} <= {202, 404, 409}
    cloud.work()
    assert sorted(each["status"] for each in api.get("/servers/detail").json["servers"]) == ["SHUTOFF", "SHUTOFF"]
    (found,) = api.get("/os-floating-ips").json["floating_ips"]
    assert found["instance_id"] in (None, *keys[1:])
