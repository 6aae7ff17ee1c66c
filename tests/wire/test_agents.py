# SPDX-License-Identifier: Apache-2.0
"""os-agents."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import Api
from tests.wire.operating import for_admins_only, hostile_ids, refused

AGENT = {
    "hypervisor": "hypervisor",
    "os": "os",
    "architecture": "x86",
    "version": "8.0",
    "md5hash": "add6bb58e139be103324d04d82d8f545",
    "url": "http://example.com/path/to/resource",
}
PARA = {"url": "http://example.com/new", "md5hash": "ADD6", "version": "7.0"}


def make(admin: Api, **changed: Any) -> int:
    answer = admin.post("/os-agents", {"agent": {**AGENT, **changed}})
    assert answer.status_code == 200, answer.text
    return int(answer.json["agent"]["agent_id"])


def agents(admin: Api, query: str = "") -> Any:
    answer = admin.get("/os-agents" + query)
    assert answer.status_code == 200
    return answer.json["agents"]


def test_create(admin: Api) -> None:
    answer = admin.post("/os-agents", {"agent": AGENT})
    assert (answer.status_code, answer.json) == (200, {"agent": {**AGENT, "agent_id": 1}})
    assert agents(admin) == [{**AGENT, "agent_id": 1}]
    assert refused(admin.post("/os-agents", {"agent": {**AGENT, "version": "9"}}), 409) == (
        "Agent-build with hypervisor hypervisor os os architecture x86 exists."
    )
    make(admin, hypervisor="other")
    assert [agent["agent_id"] for agent in agents(admin, "?hypervisor=other")] == [2]
    assert agents(admin, "?hypervisor=%25") == []
    assert len(agents(admin, "?unknown=x")) == 2


def test_update(admin: Api) -> None:
    key = make(admin)
    answer = admin.put(f"/os-agents/{key}", {"para": PARA})
    assert (answer.status_code, answer.json) == (200, {"agent": {**PARA, "agent_id": str(key)}})
    assert agents(admin) == [{**AGENT, **PARA, "agent_id": key}]
    assert refused(admin.put("/os-agents/99", {"para": PARA}), 404) == "No agent-build associated with id 99."


def test_delete(admin: Api) -> None:
    key = make(admin)
    answer = admin.delete(f"/os-agents/{key}")
    assert (answer.status_code, answer.text) == (200, "")
    refused(admin.delete(f"/os-agents/{key}"), 404)
    answer = admin.delete(f"/os-agents?agent_id={make(admin)}")
    assert (answer.status_code, answer.text) == (202, "")
    assert agents(admin) == []
    refused(admin.delete("/os-agents?agent_id=99"), 404)
    refused(admin.delete("/os-agents?agent_id=x"), 400)
    refused(admin.delete("/os-agents"), 400)


@pytest.mark.parametrize("name", sorted(AGENT))
def test_bad_bodies(admin: Api, name: str) -> None:
    wrong: Any
    for wrong in (None, 5, [], "x" * 256, "a/b|", "é", "x\n"):
        refused(admin.post("/os-agents", {"agent": {**AGENT, name: wrong}}), 400)
        if name in PARA:
            refused(admin.put("/os-agents/1", {"para": {**PARA, name: wrong}}), 400)
    refused(admin.post("/os-agents", {"agent": {key: AGENT[key] for key in AGENT if key != name}}), 400)
    refused(admin.post("/os-agents", {"agent": {**AGENT, "agent_id": 1}}), 400)


@pytest.mark.parametrize("url", ["", "no scheme", "http://a b", "http://<x>", "/path"])
def test_bad_urls(admin: Api, url: str) -> None:
    refused(admin.post("/os-agents", {"agent": {**AGENT, "url": url}}), 400)


@hostile_ids
def test_rubbish(admin: Api, identifier: str) -> None:
    make(admin)
    assert admin.put(f"/os-agents/{identifier}", {"para": PARA}).status_code in (400, 404)
    assert admin.delete(f"/os-agents/{identifier}").status_code in (400, 404)
    assert admin.delete(f"/os-agents?agent_id={identifier}").status_code in (400, 404)


def test_who_may(api: Api) -> None:
    for_admins_only(api, "GET", "/os-agents")
    for_admins_only(api, "POST", "/os-agents", {"agent": AGENT})
    for_admins_only(api, "DELETE", "/os-agents")
    for_admins_only(api, "PUT", "/os-agents/1", {"para": PARA})
    for_admins_only(api, "DELETE", "/os-agents/1")
