# SPDX-License-Identifier: Apache-2.0
"""What was done to a server: where clients ask, and as documented at os-server-actions."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot

SUMMARY = {"action", "request_id", "user_id", "project_id", "start_time", "message"}
EVENT = {"event", "start_time", "finish_time", "result", "traceback"}


@pytest.fixture
def server_id(api: Api, compute: Compute, boot: Boot) -> str:
    """A server that was made and rebooted."""
    made = boot()
    assert api.post(f"/servers/{made}/action", {"reboot": {"type": "HARD"}}).status_code == 202
    compute.work()
    return made


def paths(server_id: str) -> list[tuple[str, str, str, str]]:
    """URL, key of the list, key of one, and how the server's id is called there."""
    return [
        (f"/servers/{server_id}/os-instance-actions", "instanceActions", "instanceAction", "instance_uuid"),
        (f"/servers/os-server-actions/{server_id}", "serverActions", "serverAction", "server_uuid"),
    ]


def test_both_paths(api: Api, server_id: str) -> None:
    """The same log, under each path's own names; its events are for administrators."""
    root = api.become("admin", project_id=api.project_id)
    logs: list[Any] = []
    for url, many, one, name in paths(server_id):
        answer = api.get(url)
        assert (answer.status_code, set(answer.json)) == (200, {many})
        entries = answer.json[many]
        assert [entry["action"] for entry in entries] == ["reboot", "create"]
        for entry in entries:
            assert set(entry) == SUMMARY | {name}
            assert (entry[name], entry["project_id"], entry["user_id"]) == (server_id, api.project_id, api.user_id)
            assert entry["message"] is None
            shown = api.get(f"{url}/{entry['request_id']}")
            assert (shown.status_code, shown.json) == (200, {one: entry})
            whole = root.get(f"{url}/{entry['request_id']}").json[one]
            assert set(whole) == SUMMARY | {name, "events"}
            assert whole["events"]
            assert all(set(event) == EVENT and event["result"] == "Success" for event in whole["events"])
        logs.append([{key: value for key, value in entry.items() if key != name} for entry in entries])
    assert logs[0] == logs[1]


def test_what_is_not_there(api: Api, server_id: str) -> None:
    for url, *_keys in paths(server_id):
        unknown = api.get(f"{url}/req-{uuid.uuid4()}")
        assert unknown.status_code == 404
        assert "not found" in unknown.json["itemNotFound"]["message"]
        request_id = next(iter(api.get(url).json.values()))[0]["request_id"]
        other = api.become("member")
        assert other.get(url).status_code == 404
        assert other.get(f"{url}/{request_id}").status_code == 404
    for url, *_keys in paths(str(uuid.uuid4())):
        assert api.get(url).status_code == 404
