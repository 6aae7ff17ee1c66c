# SPDX-License-Identifier: Apache-2.0
"""How clients find the identity service: `/identity` and `/identity/v3` (keystone/api/discovery.py)."""

from __future__ import annotations

from typing import Any

from computeapi.api.identity import common
from computeapi.endpoint import Call, Reply


def _version(call: Call) -> dict[str, Any]:
    return {
        "id": "v3.14",
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": common.base(call) + "/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def index(call: Call) -> Reply:
    """GET /identity: every version; 300 with the preferred one's address."""
    return Reply({"versions": {"values": [_version(call)]}}, 300, {"Location": common.base(call) + "/"})


def show(call: Call) -> dict[str, Any]:
    """GET /identity/v3."""
    return {"version": _version(call)}
