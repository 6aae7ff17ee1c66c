# SPDX-License-Identifier: Apache-2.0
"""The Networking API's lines of ROUTES, under /network."""

from __future__ import annotations

from computeapi.api.network import discovery, views
from computeapi.api.network.common import index, load, show
from computeapi.api.network.rules import RULES as RULES
from computeapi.db.queries.networks import NETWORKS, PORTS, ROUTERS, SUBNETS
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, endpoint

_VERSIONS = {"GET": endpoint(discovery.versions, PUBLIC)}
_RESOURCES = {"GET": endpoint(discovery.resources, ANY_TOKEN)}

NETWORK: dict[str, dict[str, Endpoint]] = {
    # --- what it says of itself ---
    "": _VERSIONS,
    "/": _VERSIONS,
    "/v2.0": _RESOURCES,
    "/v2.0/": _RESOURCES,
    "/v2.0/extensions": {"GET": endpoint(discovery.extensions, ANY_TOKEN)},
    "/v2.0/extensions/{alias}": {"GET": endpoint(discovery.extension, ANY_TOKEN)},
    # --- networks ---
    "/v2.0/networks": {"GET": endpoint(index(NETWORKS, "networks", views.networks), "get_network")},
    "/v2.0/networks/{id}": {
        "GET": endpoint(show(NETWORKS, "network", views.networks), "get_network", loads=load(NETWORKS))
    },
    # --- subnets ---
    "/v2.0/subnets": {"GET": endpoint(index(SUBNETS, "subnets", views.subnets), "get_subnet")},
    "/v2.0/subnets/{id}": {"GET": endpoint(show(SUBNETS, "subnet", views.subnets), "get_subnet", loads=load(SUBNETS))},
    # --- ports ---
    "/v2.0/ports": {"GET": endpoint(index(PORTS, "ports", views.ports), "get_port")},
    "/v2.0/ports/{id}": {"GET": endpoint(show(PORTS, "port", views.ports), "get_port", loads=load(PORTS))},
    # --- routers ---
    "/v2.0/routers": {"GET": endpoint(index(ROUTERS, "routers", views.routers), "get_router")},
    "/v2.0/routers/{id}": {"GET": endpoint(show(ROUTERS, "router", views.routers), "get_router", loads=load(ROUTERS))},
}
