# SPDX-License-Identifier: Apache-2.0
"""The Networking API's lines of ROUTES, under /network."""

from __future__ import annotations

from types import ModuleType

from computeapi.api.network import (
    address_scopes,
    discovery,
    extras,
    floating_ips,
    networks,
    ports,
    quotas,
    routers,
    security_groups,
    subnet_pools,
    subnets,
    tags,
    views,
)
from computeapi.api.network.common import View, index, load, show
from computeapi.api.network.rules import RULES as RULES
from computeapi.db.queries.floating_ips import FLOATING_IPS
from computeapi.db.queries.networks import NETWORKS, PORTS, ROUTERS, SUBNETS, Kind
from computeapi.db.queries.security_groups import RULES as GROUP_RULES
from computeapi.db.queries.security_groups import SECURITY_GROUPS
from computeapi.db.queries.subnet_pools import ADDRESS_SCOPES, SUBNET_POOLS
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, endpoint

Table = dict[str, dict[str, Endpoint]]

_VERSIONS = {"GET": endpoint(discovery.versions, PUBLIC)}
_RESOURCES = {"GET": endpoint(discovery.resources, ANY_TOKEN)}
_AVAILABILITY = "get_network_ip_availability"


def _resource(kind: Kind, noun: str, module: ModuleType, view: View) -> Table:
    """The lines of one noun: list, create; show, update, delete."""
    plural, loads = f"{noun}s", load(kind)
    path = plural.replace("_", "-")
    return {
        f"/v2.0/{path}": {
            "GET": endpoint(index(kind, plural, view), f"get_{noun}"),
            "POST": endpoint(module.create, f"create_{noun}", status=201),
        },
        f"/v2.0/{path}/{{id}}": {
            "GET": endpoint(show(kind, noun, view), f"get_{noun}", loads=loads),
            "PUT": endpoint(module.change, f"update_{noun}", loads=loads),
            "DELETE": endpoint(module.remove, f"delete_{noun}", loads=loads, status=204),
        },
    }


def _tagged(kind: Kind, noun: str, module: ModuleType, view: View) -> Table:
    """The same, and those of its tags."""
    loads, write = load(kind), f"update_{noun}"
    path = f"{noun}s".replace("_", "-")
    return {
        **_resource(kind, noun, module, view),
        f"/v2.0/{path}/{{id}}/tags": {
            "GET": endpoint(tags.index, READ_TAGS, loads=loads),
            "POST": endpoint(tags.add_all(kind), write, loads=loads),
            "PUT": endpoint(tags.replace(kind), write, loads=loads),
            "DELETE": endpoint(tags.clear(kind), write, loads=loads, status=204),
        },
        f"/v2.0/{path}/{{id}}/tags/{{tag}}": {
            "GET": endpoint(tags.show, READ_TAGS, loads=loads, status=204),
            "PUT": endpoint(tags.add(kind), write, loads=loads),
            "DELETE": endpoint(tags.remove(kind), write, loads=loads, status=204),
        },
    }


READ_TAGS = ANY_TOKEN  # whoever sees the thing sees its tags
_QUOTA = {
    "GET": endpoint(quotas.show, "get_quota"),
    "PUT": endpoint(quotas.update, "update_quota"),
    "DELETE": endpoint(quotas.delete, "delete_quota", status=204),
}
_DETAILS = {"GET": endpoint(quotas.details, "get_quota")}
_WHOSE = {"GET": endpoint(quotas.whose, "get_quota")}

NETWORK: Table = {
    # --- what it says of itself ---
    "": _VERSIONS,
    "/": _VERSIONS,
    "/v2.0": _RESOURCES,
    "/v2.0/": _RESOURCES,
    "/v2.0/extensions": {"GET": endpoint(discovery.extensions, ANY_TOKEN)},
    "/v2.0/extensions/{alias}": {"GET": endpoint(discovery.extension, ANY_TOKEN)},
    # --- networks, subnets, ports, routers ---
    **_tagged(NETWORKS, "network", networks, views.networks),
    **_tagged(SUBNETS, "subnet", subnets, views.subnets),
    **_tagged(SUBNET_POOLS, "subnetpool", subnet_pools, subnet_pools.view),
    **_resource(ADDRESS_SCOPES, "address_scope", address_scopes, address_scopes.view),
    **_tagged(PORTS, "port", ports, views.ports),
    **_tagged(ROUTERS, "router", routers, views.routers),
    "/v2.0/routers/{id}/add_router_interface": {
        "PUT": endpoint(routers.add_interface, "add_router_interface", loads=load(ROUTERS))
    },
    "/v2.0/routers/{id}/remove_router_interface": {
        "PUT": endpoint(routers.remove_interface, "remove_router_interface", loads=load(ROUTERS))
    },
    "/v2.0/routers/{id}/add_extraroutes": {"PUT": endpoint(routers.add_routes, "add_extraroutes", loads=load(ROUTERS))},
    "/v2.0/routers/{id}/remove_extraroutes": {
        "PUT": endpoint(routers.remove_routes, "remove_extraroutes", loads=load(ROUTERS))
    },
    # --- security groups ---
    **_tagged(SECURITY_GROUPS, "security_group", security_groups, security_groups.view),
    "/v2.0/security-groups": {
        "GET": endpoint(security_groups.index, "get_security_group"),
        "POST": endpoint(security_groups.create, "create_security_group", status=201),
    },
    "/v2.0/security-group-rules": {
        "GET": endpoint(
            index(GROUP_RULES, "security_group_rules", security_groups.view_rules), "get_security_group_rule"
        ),
        "POST": endpoint(security_groups.create_rule, "create_security_group_rule", status=201),
    },
    "/v2.0/security-group-rules/{id}": {
        "GET": endpoint(
            show(GROUP_RULES, "security_group_rule", security_groups.view_rules),
            "get_security_group_rule",
            loads=load(GROUP_RULES),
        ),
        "DELETE": endpoint(
            security_groups.remove_rule, "delete_security_group_rule", loads=load(GROUP_RULES), status=204
        ),
    },
    # --- floating IPs ---
    **_tagged(FLOATING_IPS, "floatingip", floating_ips, floating_ips.view),
    # --- quotas ---
    "/v2.0/quotas": {"GET": endpoint(quotas.index, "get_quotas")},
    "/v2.0/quotas/tenant": _WHOSE,
    "/v2.0/quotas/project": _WHOSE,
    "/v2.0/quotas/{project_id}": _QUOTA,
    "/v2.0/quotas/{project_id}/default": {"GET": endpoint(quotas.default, "get_quota")},
    "/v2.0/quotas/{project_id}/details": _DETAILS,
    "/v2.0/quotas/{project_id}/details.json": _DETAILS,
    # --- small lists ---
    "/v2.0/availability_zones": {"GET": endpoint(extras.zones, "get_availability_zone")},
    "/v2.0/agents": {"GET": endpoint(extras.agents, ANY_TOKEN)},  # whose there are none: no filter is needed
    "/v2.0/agents/{id}": {"GET": endpoint(extras.agent, "get_agent")},
    "/v2.0/service-providers": {"GET": endpoint(extras.providers, "get_service_provider")},
    "/v2.0/network-ip-availabilities": {"GET": endpoint(extras.availabilities, _AVAILABILITY)},
    "/v2.0/network-ip-availabilities/{id}": {"GET": endpoint(extras.availability, _AVAILABILITY)},
}
