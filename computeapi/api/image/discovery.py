# SPDX-License-Identifier: Apache-2.0
"""What the image API says of itself: its versions, ways to import, stores.

The versions are those a Glance with one store and no cache has, up to 2.9 (glance/api/versions.py): later ones are
about locations, caches and several stores.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api.image import common
from computeapi.endpoint import Call, Reply

VERSIONS = ("2.9", "2.7", "2.6", "2.5", "2.4", "2.3", "2.2", "2.1", "2.0")
IMPORT_METHODS = ["glance-direct"]


def _versions(call: Call) -> dict[str, Any]:
    endpoint = common.store(call).endpoint(call.host_url)
    return {
        "versions": [
            {
                "id": f"v{version}",
                "status": "CURRENT" if version == VERSIONS[0] else "SUPPORTED",
                "links": [{"rel": "self", "href": f"{endpoint}/v2/"}],
            }
            for version in VERSIONS
        ]
    }


def index(call: Call) -> Reply:
    """GET / (300, as Glance)."""
    return Reply(_versions(call), status=300)


def versions(call: Call) -> dict[str, Any]:
    """GET /versions (200)."""
    return _versions(call)


def import_methods(call: Call) -> dict[str, Any]:
    """GET /v2/info/import."""
    common.store(call)
    return {
        "import-methods": {
            "description": "Import methods available.",
            "type": "array",
            "value": IMPORT_METHODS,
        }
    }


def stores(call: Call) -> None:
    """GET /v2/info/stores: as a Glance with one store answers."""
    common.store(call)
    raise errors.NotFound("Multi backend is not supported at this site.")
