# SPDX-License-Identifier: Apache-2.0
"""The actions lock and unlock, and what a lock refuses."""

from __future__ import annotations

from tests.conftest import Api
from tests.wire.conftest import MakeServer


def test_lock(api: Api, make_server: MakeServer) -> None:
    """Who is not an administrator can do nothing to a locked server, and opens no administrator's lock."""
    server = make_server()
    url = f"/servers/{server.uuid}/action"
    root = api.become("admin")
    for _again in range(2):
        answer = api.post(url, {"lock": None})
        assert (answer.status_code, answer.text) == (202, "")
    refused = api.post(url, {"os-stop": None})
    assert (refused.status_code, refused.json["conflictingRequest"]["message"]) == (
        409,
        f"Instance {server.uuid} is locked",
    )
    assert api.become("member").post(url, {"unlock": None}).status_code == 404
    for _again in range(2):
        answer = api.post(url, {"unlock": None})
        assert (answer.status_code, answer.text) == (202, "")
    assert root.post(url, {"lock": None}).status_code == 202
    assert api.post(url, {"unlock": None}).status_code == 403
    assert root.post(url, {"unlock": None}).status_code == 202
    assert api.post(url, {"os-stop": None}).status_code == 202
