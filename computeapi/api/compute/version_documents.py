# SPDX-License-Identifier: Apache-2.0
"""How clients learn what we speak: `/`, `/v2.1/` and `/v2/` (nova/api/openstack/compute/versions.py)."""

from __future__ import annotations

from typing import Any

from computeapi import versions
from computeapi.endpoint import Call

_UPDATED = {"v2.0": "2011-01-21T11:33:21Z", "v2.1": "2013-07-23T11:33:21Z"}
_MEDIA_TYPE = "application/vnd.openstack.compute+json;version="


def _version(call: Call, name: str, path: str) -> dict[str, Any]:
    current = name == "v2.1"
    return {
        "id": name,
        "status": "CURRENT" if current else "SUPPORTED",
        "version": str(versions.MAX) if current else "",
        "min_version": str(versions.MIN) if current else "",
        "updated": _UPDATED[name],
        "links": [{"rel": "self", "href": f"{call.host_url}{path}"}],
    }


def index(call: Call) -> dict[str, Any]:
    """GET /: every version, the oldest first."""
    return {"versions": [_version(call, "v2.0", "/v2/"), _version(call, "v2.1", "/v2.1/")]}


def _document(call: Call, name: str, path: str, media: str) -> dict[str, Any]:
    shown = _version(call, name, path)
    shown["links"].append({"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"})
    shown["media-types"] = [{"base": "application/json", "type": _MEDIA_TYPE + media}]
    return {"version": shown}


def show(call: Call) -> dict[str, Any]:
    """GET /v2.1/."""
    return _document(call, "v2.1", "/v2.1/", "2.1")


def show_legacy(call: Call) -> dict[str, Any]:
    """GET /v2/."""
    return _document(call, "v2.0", "/v2/", "2")


def choices(host_url: str, path: str) -> dict[str, Any]:
    """Any other path outside the versions: where each version would have it."""
    known = [("v2.0", "SUPPORTED", "/v2", "2"), ("v2.1", "CURRENT", "/v2.1", "2.1")]
    return {
        "choices": [
            {
                "id": name,
                "status": status,
                "links": [{"rel": "self", "href": f"{host_url}{prefix}{path}"}],
                "media-types": [{"base": "application/json", "type": _MEDIA_TYPE + media}],
            }
            for name, status, prefix, media in known
        ]
    }
