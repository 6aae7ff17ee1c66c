# SPDX-License-Identifier: Apache-2.0
"""The lines of ROUTES for nova-network's nouns and servers' interfaces."""

from __future__ import annotations

from typing import Any

from computeapi.api.compute import attach_interfaces, fixed_ips, networks, tenant_networks, virtual_interfaces
from computeapi.api.compute.attach_interfaces import ATTACH
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.endpoint import Endpoint, actions, endpoint

RULES: list[Any] = [
    *networks.RULES,
    *tenant_networks.RULES,
    *fixed_ips.RULES,
    *virtual_interfaces.RULES,
    *attach_interfaces.RULES,
]

_INTERFACES = {
    "GET": endpoint(attach_interfaces.index, f"{ATTACH}:list", loads=load_server),
    "POST": endpoint(attach_interfaces.create, f"{ATTACH}:create", loads=load_server, body=attach_interfaces.CREATE),
}
_INTERFACE = {
    "GET": endpoint(attach_interfaces.show, f"{ATTACH}:show", loads=load_server),
    "DELETE": endpoint(attach_interfaces.delete, f"{ATTACH}:delete", loads=load_server, status=202),
}

NETWORKS: dict[str, dict[str, Endpoint]] = {
    "/os-networks": {
        "GET": endpoint(networks.index, f"{networks.NETWORKS}:list", until=networks.LAST),
        "POST": endpoint(networks.create, networks.NETWORKS, body=networks.CREATE, status=202, until=networks.LAST),
    },
    "/os-networks/add": {
        "POST": endpoint(networks.add, networks.NETWORKS, body=networks.ADD, status=202, until=networks.LAST)
    },
    "/os-networks/{network_id}": {
        "GET": endpoint(networks.show, f"{networks.NETWORKS}:show", until=networks.LAST),
        "DELETE": endpoint(networks.delete, networks.NETWORKS, status=202, until=networks.LAST),
    },
    "/os-networks/{network_id}/action": {"POST": actions(networks.ACTIONS)},
    "/os-tenant-networks": {
        "GET": endpoint(tenant_networks.index, f"{tenant_networks.TENANT}:list", until=networks.LAST),
        "POST": endpoint(
            tenant_networks.create,
            tenant_networks.TENANT,
            body=tenant_networks.CREATE,
            status=202,
            until=networks.LAST,
        ),
    },
    "/os-tenant-networks/{network_id}": {
        "GET": endpoint(tenant_networks.show, f"{tenant_networks.TENANT}:show", until=networks.LAST),
        "DELETE": endpoint(tenant_networks.delete, tenant_networks.TENANT, status=202, until=networks.LAST),
    },
    "/os-fixed-ips/{fixed_ip}": {"GET": endpoint(fixed_ips.show, fixed_ips.FIXED_IPS, until=fixed_ips.LAST)},
    "/os-fixed-ips/{fixed_ip}/action": {"POST": actions(fixed_ips.ACTIONS)},
    "/servers/{server_id}/os-virtual-interfaces": {
        "GET": endpoint(
            virtual_interfaces.index, virtual_interfaces.RULE, loads=load_server, until=virtual_interfaces.LAST
        )
    },
    "/servers/{server_id}/os-interface": _INTERFACES,
    "/servers/{server_id}/os-interface/{port_id}": _INTERFACE,
    "/servers/{server_id}/os-attach-interfaces": _INTERFACES,
    "/servers/{server_id}/os-attach-interfaces/{port_id}": _INTERFACE,
}
