# SPDX-License-Identifier: Apache-2.0
"""The Networking API's policy rules, by Neutron's names (neutron/conf/policies).

What a caller may not know of is not found, so the rules for reading ask for a role alone.
"""

from __future__ import annotations

from typing import Any

from computeapi.policy import ADMIN, PROJECT_MEMBER, rule

READER = "rule:context_is_admin or role:reader"

_NOUNS = ("network", "subnet", "subnetpool", "address_scope", "port", "router", "security_group", "floatingip")
# What only administrators say of a thing.
_ADMINS = {
    "network": (
        "shared",
        "router:external",
        "is_default",
        "provider:network_type",
        "provider:physical_network",
        "provider:segmentation_id",
    ),
    "port": ("binding:host_id", "binding:profile"),
    "subnetpool": ("is_default",),
    "address_scope": ("shared",),
}
# What only those say of a port whose network it is: others on it would be taken for somebody else.
OF_THE_NETWORKS_OWNER = ("fixed_ips:ip_address", "port_security_enabled", "allowed_address_pairs")


def _nouns(verb: str, check: str, says: str, method: str, tail: str) -> list[Any]:
    return [
        rule(f"{verb}_{noun}", check, f"{says} {noun}s.", (method, f"/v2.0/{noun.replace('_', '-')}s{tail}"))
        for noun in _NOUNS
    ]


RULES: list[Any] = [
    *_nouns("get", READER, "See", "GET", ""),
    *_nouns("create", PROJECT_MEMBER, "Make", "POST", ""),
    *_nouns("update", PROJECT_MEMBER, "Change", "PUT", "/{id}"),
    *_nouns("delete", PROJECT_MEMBER, "Delete", "DELETE", "/{id}"),
    *(
        rule(
            f"{verb}_{noun}:{attribute}",
            ADMIN,
            f"Say a {noun}'s {attribute}.",
            (method, f"/v2.0/{noun.replace('_', '-')}s"),
        )
        for noun, attributes in _ADMINS.items()
        for attribute in attributes
        for verb, method in (("create", "POST"), ("update", "PUT"))
    ),
    *(
        rule(
            f"{verb}_port:{attribute}",
            PROJECT_MEMBER,
            f"Say a port's {attribute}; the project is the network's.",
            (method, "/v2.0/ports"),
        )
        for attribute in OF_THE_NETWORKS_OWNER
        for verb, method in (("create", "POST"), ("update", "PUT"))
    ),
    rule("create_subnetpool:shared", ADMIN, "Make a subnet pool for all.", ("POST", "/v2.0/subnetpools")),
    rule(
        "create_port:mac_address",
        PROJECT_MEMBER,
        "Choose a port's; the project is the network's.",
        ("POST", "/v2.0/ports"),
    ),
    rule("update_port:mac_address", ADMIN, "Give a port another MAC address.", ("PUT", "/v2.0/ports/{id}")),
    rule(
        "update_router:external_gateway_info:external_fixed_ips",
        ADMIN,
        "Choose the address of a router's way out.",
        ("PUT", "/v2.0/routers/{id}"),
    ),
    rule(
        "add_router_interface",
        PROJECT_MEMBER,
        "Connect a router to a subnet.",
        ("PUT", "/v2.0/routers/{id}/add_router_interface"),
    ),
    rule(
        "remove_router_interface",
        PROJECT_MEMBER,
        "Disconnect a router from a subnet.",
        ("PUT", "/v2.0/routers/{id}/remove_router_interface"),
    ),
    rule("add_extraroutes", PROJECT_MEMBER, "Add routes to a router.", ("PUT", "/v2.0/routers/{id}/add_extraroutes")),
    rule(
        "remove_extraroutes",
        PROJECT_MEMBER,
        "Take routes from a router.",
        ("PUT", "/v2.0/routers/{id}/remove_extraroutes"),
    ),
    rule("get_security_group_rule", READER, "See rules.", ("GET", "/v2.0/security-group-rules")),
    rule("create_security_group_rule", PROJECT_MEMBER, "Make rules.", ("POST", "/v2.0/security-group-rules")),
    rule("delete_security_group_rule", PROJECT_MEMBER, "Delete rules.", ("DELETE", "/v2.0/security-group-rules/{id}")),
    rule(
        "create_floatingip:floating_ip_address", ADMIN, "Choose a floating IP's address.", ("POST", "/v2.0/floatingips")
    ),
    rule("get_quota", READER, "See quotas.", ("GET", "/v2.0/quotas/{project_id}")),
    rule("update_quota", ADMIN, "Change quotas.", ("PUT", "/v2.0/quotas/{project_id}")),
    rule("delete_quota", ADMIN, "Reset quotas.", ("DELETE", "/v2.0/quotas/{project_id}")),
    rule("get_quotas", ADMIN, "List projects with quotas of their own.", ("GET", "/v2.0/quotas")),
    rule("get_availability_zone", READER, "List availability zones.", ("GET", "/v2.0/availability_zones")),
    rule("get_service_provider", READER, "List service providers.", ("GET", "/v2.0/service-providers")),
    rule("get_agent", ADMIN, "List agents.", ("GET", "/v2.0/agents")),
    rule("get_network_ip_availability", ADMIN, "See addresses in use.", ("GET", "/v2.0/network-ip-availabilities")),
]
