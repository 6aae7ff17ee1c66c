# SPDX-License-Identifier: Apache-2.0
"""os-networks and os-tenant-networks where the networks are a real Neutron's: lists of them, as Nova gives them.

Nova knows of such a network its id and its name, and administrators are told what else Neutron calls by nova-network's
names; the rest is null (nova/api/openstack/compute/networks.py, nova/network/neutronv2/api.py). Who makes and changes
networks asks Neutron.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api.compute import networks
from computeapi.api.compute.remote_calls import neutron_of
from computeapi.endpoint import Call

_SHOWN = ("cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6", "netmask_v6")
_SHOWN_TO_ADMINS = (
    *("created_at", "updated_at", "deleted_at", "deleted", "injected", "bridge", "vlan", "vpn_public_address"),
    *("vpn_public_port", "vpn_private_address", "dhcp_start", "project_id", "host", "bridge_interface", "multi_host"),
    *("priority", "rxtx_base", "mtu", "dhcp_server", "enable_dhcp", "share_address"),
)
_OF_NEUTRON = ("created_at", "updated_at", "project_id", "mtu")
_FIELDS = ("id", "name", *_OF_NEUTRON)

# --- view ---


def _view(network: dict[str, Any], *, admin: bool) -> dict[str, Any]:
    shown = {"id": network["id"], "label": network["name"], **dict.fromkeys(_SHOWN)}
    if not admin:
        return shown
    return shown | dict.fromkeys(_SHOWN_TO_ADMINS) | {name: network.get(name) for name in _OF_NEUTRON}


def _tenant_view(network: dict[str, Any]) -> dict[str, Any]:
    return {"id": network["id"], "cidr": "None", "label": network["name"]}


# --- handlers ---


def _find(call: Call) -> dict[str, Any]:
    try:
        return neutron_of(call).show(call.context, "network", call.params["network_id"])
    except errors.NotFound:
        raise networks.not_found() from None


def index(call: Call) -> dict[str, Any]:
    """GET /os-networks: all that the caller may see."""
    admin = networks.is_admin(call)
    found = neutron_of(call).find(call.context, "network", fields=_FIELDS)
    return {"networks": [_view(each, admin=admin) for each in found]}


def show(call: Call) -> dict[str, Any]:
    """GET /os-networks/{network_id}."""
    return {"network": _view(_find(call), admin=networks.is_admin(call))}


def tenant_index(call: Call) -> dict[str, Any]:
    """GET /os-tenant-networks."""
    found = neutron_of(call).find(call.context, "network", fields=("name",))
    return {"networks": [_tenant_view(each) for each in found]}


def tenant_show(call: Call) -> dict[str, Any]:
    """GET /os-tenant-networks/{network_id}."""
    return {"network": _tenant_view(_find(call))}


def tenant_create(call: Call) -> None:
    """POST /os-tenant-networks: what Nova says where nova-network does not make them."""
    raise errors.Unavailable("Create networks failed")
