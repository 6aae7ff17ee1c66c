# SPDX-License-Identifier: Apache-2.0
"""The OpenAPI document is one, and what schemathesis makes of it is never answered with 5xx."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, strategies
from hypothesis import settings as limits
from schemathesis.transport.wsgi import WSGI_TRANSPORT

from computeapi import routes
from computeapi.app import create_app
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.cloud import Compute
from tests.conftest import Api

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")

_BOUNDED = limits(
    max_examples=8,  # an operation
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_the_document(api: Api) -> None:
    answer = api.get("/openapi.json")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    document = answer.json
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()
    rows = sum(len(methods) for table in routes.ROUTES.values() for methods in table.values())
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len(operations) == rows
    assert len({each["operationId"] for each in operations}) == rows
    actions = document["paths"]["/v2.1/servers/{server_id}/action"]["post"]["requestBody"]["content"]
    titles = {choice["title"] for choice in actions["application/json"]["schema"]["oneOf"]}
    assert {"reboot", "rebuild", "createImage", "os-getConsoleOutput"} <= titles
    shown = document["paths"]["/v2.1/servers"]["post"]
    assert shown["x-openstack"] == {"rule": "os_compute_api:servers:create"}
    assert shown["security"] == [{"token": []}]
    assert document["paths"]["/"]["get"]["security"] == []


@pytest.fixture
def worker(compute: Compute) -> Iterator[None]:
    """A compute service that works all the while, so that questions are answered and servers come and go."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.02):
            compute.work()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.mark.parametrize("service", sorted(routes.ROUTES))
def test_nothing_is_answered_with_5xx(
    service: str,
    settings: Settings,
    db: Database,
    admin: Api,
    body: dict[str, Any],
    network: str,
    worker: None,
) -> None:
    app = create_app(replace(settings, login_attempts=0), db=db)
    known = _things(admin, body, network)
    schema = schemathesis.openapi.from_dict(_without_others(service))
    for found in schema.get_all_operations():
        _try(app, found.ok(), admin.token, known)


def _without_others(service: str) -> Any:
    table = {service: routes.ROUTES[service]}
    return routes.openapi.document(table, routes.PREFIX)


def _things(admin: Api, body: dict[str, Any], network: str) -> list[str]:
    """Ids that exist, one of a kind, for URLs to name."""
    server = admin.post("/servers", {"server": body})
    assert server.status_code == 202, server.text
    return [
        server.json["server"]["id"],
        body["imageRef"],
        body["flavorRef"],
        network,
        admin.project_id,
        admin.post("/os-security-groups", {"security_group": {"name": "g", "description": ""}}).json["security_group"][
            "id"
        ],
        "host1",
    ]


def _try(app: Any, operation: Any, token: str, known: list[str]) -> None:
    names = strategies.sampled_from(known)

    @_BOUNDED
    @given(case=operation.as_strategy(), data=strategies.data())
    def check(case: Any, data: Any) -> None:
        for name in case.path_parameters or {}:
            if data.draw(strategies.booleans()):
                case.path_parameters[name] = data.draw(names)
        answer = WSGI_TRANSPORT.send(case, app=app, headers={"X-Auth-Token": token})
        if answer.status_code == 501:  # what the operator has not configured: hosts' power
            return
        assert answer.status_code < 500, (case.method, case.formatted_path, case.query, case.body, answer.content)

    check()
