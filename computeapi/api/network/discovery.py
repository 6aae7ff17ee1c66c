# SPDX-License-Identifier: Apache-2.0
"""What the Networking API says of itself: versions, resources, extensions. EXTENSIONS has those that work."""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.endpoint import Call

_UPDATED = "2026-11-23T00:00:00-00:00"

# alias → (name, description)
EXTENSIONS: dict[str, tuple[str, str]] = {
    "address-scope": ("Address scope", "Subnet pools that share no address."),
    "agent": ("agent", "The list of agents, which is empty."),
    "allowed-address-pairs": ("Allowed Address Pairs", "Addresses that a port may use beside its own."),
    "availability_zone": ("Availability Zone", "The zones there are."),
    "binding": ("Port Binding", "Administrators see where a port is."),
    "default-subnetpools": ("Default Subnetpools", "A pool that subnets are cut from where they name none."),
    "ext-gw-mode": ("Neutron L3 Configurable external gateway mode", "Whether a router translates what goes out."),
    "external-net": ("Neutron external network", "Networks that lead out of the cloud."),
    "extra_dhcp_opt": ("Neutron Extra DHCP options", "What DHCP shall tell a port beside its address."),
    "extraroute": ("Neutron Extra Route", "Routes of a router's own."),
    "extraroute-atomic": (
        "Atomically add/remove extra routes",
        "Routes of a router are added and removed by themselves.",
    ),
    "fip-port-details": ("Floating IP Port Details Extension", "Floating IPs tell about their port."),
    "ip-substring-filtering": ("IP address substring filtering", "Ports are found by a piece of an address."),
    "net-mtu": ("Network MTU", "A network's MTU can be seen."),
    "net-mtu-writable": ("Network MTU (writable)", "A network's MTU can be set."),
    "network-ip-availability": ("Network IP Availability", "How many addresses are in use."),
    "network_availability_zone": ("Network Availability Zone", "Networks say their zones."),
    "pagination": ("Pagination support", "Lists come in pages."),
    "port-security": ("Port Security", "Ports and networks say whether traffic is filtered."),
    "port-security-groups-filtering": ("Port filtering on security groups", "Ports are found by their groups."),
    "project-id": ("project_id field enabled", "What belongs to a project says so by project_id."),
    "provider": ("Provider Network", "Administrators see and say what a network is made of."),
    "quota_details": ("Quota details management support", "Quotas with what is used of them."),
    "quotas": ("Quota management support", "Quotas a project."),
    "router": ("Neutron L3 Router", "Routers between networks, and out."),
    "router_availability_zone": ("Router Availability Zone", "Routers say their zones."),
    "security-group": ("security-group", "Groups of rules that say what gets through to a port."),
    "security-groups-normalized-cidr": ("Normalized CIDR field for security group rules", "Rules show it."),
    "service-type": ("Neutron Service Type Management", "The list of service providers, which is empty."),
    "sorting": ("Sorting support", "Lists can be sorted."),
    "standard-attr-description": ("standard-attr-description", "Resources have a description."),
    "standard-attr-revisions": ("Resource revision numbers", "Resources count their changes."),
    "standard-attr-tag": ("Tag support for resources with standard attribute", "Resources can be tagged."),
    "standard-attr-timestamp": ("Resource timestamps", "Resources say when they were made and changed."),
    "subnet_allocation": ("Subnet Allocation", "Subnets are cut from pools."),
    "tag-creation": ("Tag creation extension", "Several tags are added at once."),
}


def _url(call: Call) -> str:
    return f"{call.host_url}/network/v2.0"


def versions(call: Call) -> dict[str, Any]:
    """GET /."""
    link = {"rel": "self", "href": f"{_url(call)}/"}
    return {"versions": [{"id": "v2.0", "status": "CURRENT", "links": [link]}]}


def resources(call: Call) -> dict[str, Any]:
    """GET /v2.0/."""
    names = (
        "network",
        "subnet",
        "subnetpool",
        "address-scope",
        "port",
        "router",
        "security-group",
        "security-group-rule",
        "floatingip",
    )
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
