# SPDX-License-Identifier: Apache-2.0
"""What the Networking API says of itself: versions, resources, extensions. EXTENSIONS has those that work."""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.endpoint import Call

_UPDATED = "2026-11-23T00:00:00-00:00"

# alias → (name, description)
EXTENSIONS: dict[str, tuple[str, str]] = {
    "external-net": ("Neutron external network", "Networks that lead out of the cloud."),
    "net-mtu": ("Network MTU", "A network's MTU can be seen and set."),
    "pagination": ("Pagination support", "Lists come in pages."),
    "port-security": ("Port Security", "Ports and networks say whether traffic is filtered."),
    "project-id": ("project_id field enabled", "What belongs to a project says so by project_id."),
    "provider": ("Provider Network", "Administrators see and say what a network is made of."),
    "binding": ("Port Binding", "Administrators see where a port is."),
    "sorting": ("Sorting support", "Lists can be sorted."),
    "standard-attr-description": ("standard-attr-description", "Resources have a description."),
    "standard-attr-timestamp": ("Resource timestamps", "Resources say when they were made and changed."),
}


def _url(call: Call) -> str:
    return f"{call.host_url}/network/v2.0"


def versions(call: Call) -> dict[str, Any]:
    """GET /."""
    link = {"rel": "self", "href": f"{_url(call)}/"}
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


def resources(call: Call) -> dict[str, Any]:
    """GET /v2.0/."""
    names = ("network", "subnet", "port", "router")
    return {
        "resources": [
            {"links": [{"rel": "self", "href": f"{_url(call)}/{name}s"}], "name": name, "collection": f"{name}s"}
            for name in names
        ]
    }


def _view(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "updated": _UPDATED, "links": []}


def extensions(_call: Call) -> dict[str, Any]:
    """GET /v2.0/extensions."""
    return {"extensions": [_view(alias) for alias in sorted(EXTENSIONS)]}


def extension(call: Call) -> dict[str, Any]:
    """GET /v2.0/extensions/{alias}."""
    alias = call.params["alias"]
    if alias not in EXTENSIONS:
        raise errors.NotFound(f"Extension with alias {alias} does not exist", kind="HTTPNotFound")
    return {"extension": _view(alias)}
