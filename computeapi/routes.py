# SPDX-License-Identifier: Apache-2.0
"""ROUTES: the map of the API. Service → URL → method → row (`Endpoint`), and nothing is registered elsewhere.

To find the code of a URL, find its line here (each service's lines are in its own `routes` module) and follow the
handler's name. Documented path and clients' path are two lines with one handler. `/v2.1/{project_id}/…` and `/v2/…`
are the same lines: `app.Entry` takes the project out of the path. `tools/routes` prints the table.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import orjson

from computeapi import openapi, policy
from computeapi.api.compute.routes import COMPUTE, VERSION_DOCUMENTS
from computeapi.api.compute.routes import RULES as COMPUTE_RULES
from computeapi.api.compute.version_documents import choices as choices
from computeapi.api.identity.routes import IDENTITY
from computeapi.api.identity.routes import RULES as IDENTITY_RULES
from computeapi.api.image.routes import IMAGE
from computeapi.api.image.routes import RULES as IMAGE_RULES
from computeapi.api.network.routes import NETWORK
from computeapi.api.network.routes import RULES as NETWORK_RULES
from computeapi.api.volume.routes import RULES as VOLUME_RULES
from computeapi.api.volume.routes import VOLUME
from computeapi.endpoint import PUBLIC, Call, Endpoint, Reply, endpoint

Table = dict[str, dict[str, Endpoint]]

PREFIX = {
    "versions": "",
    "compute": "/v2.1",
    "identity": "/identity",
    "image": "/image",
    "network": "/network",
    "volume": "/volume",
}


def _show_openapi(_call: Call) -> Reply:
    """GET /openapi.json: this table, as an OpenAPI document."""
    return Reply(_openapi(), content_type="application/json")


@cache
def _openapi() -> bytes:
    return orjson.dumps(openapi.document(ROUTES, PREFIX))


ROUTES: dict[str, Table] = {
    "versions": VERSION_DOCUMENTS | {"/openapi.json": {"GET": endpoint(_show_openapi, PUBLIC)}},
    "compute": COMPUTE,
    "identity": IDENTITY,
    "image": IMAGE,
    "network": NETWORK,
    "volume": VOLUME,
}


def served(*, cinder: bool, neutron: bool) -> dict[str, Table]:
    """ROUTES without the services that a real Cinder and a real Neutron have, whom nova-network's API asks then."""
    others = {"volume"} if cinder else set()
    if not neutron:
        return {service: table for service, table in ROUTES.items() if service not in others}
    from computeapi.api.compute import remote  # few need it

    others |= {"network"}
    return {service: table for service, table in ROUTES.items() if service not in others} | {
        "compute": remote.routes(COMPUTE)
    }


def list_rules() -> list[Any]:
    """Every policy rule with its default, for oslo.policy and its tools."""
    return [*policy.base_rules(), *COMPUTE_RULES, *IDENTITY_RULES, *IMAGE_RULES, *NETWORK_RULES, *VOLUME_RULES]


def get_enforcer() -> Any:
    """An enforcer with our defaults and ./policy.json, for oslopolicy-policy-generator and oslopolicy-checker."""
    return policy.make_enforcer(list_rules(), "policy.json")
