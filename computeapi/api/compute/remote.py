# SPDX-License-Identifier: Apache-2.0
"""nova-network's API where the networks are a real Neutron's: which handler stands in for which.

What Nova passed on to Neutron is passed on; what it said 501, 404 or 400 to with Neutron is that here. The table is in
docs/fleet.md. Handlers whose first checks are the same for both networks decide for themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Never

from computeapi import errors
from computeapi.api.compute import (
    attach_interfaces,
    cloudpipe,
    fixed_ips,
    floating_ip_dns,
    floating_ip_pools,
    floating_ips,
    floating_ips_bulk,
    networks,
    remote_floating_ips,
    remote_interfaces,
    remote_networks,
    remote_security_groups,
    security_group_default_rules,
    security_group_rules,
    security_groups,
    tenant_networks,
    virtual_interfaces,
)
from computeapi.endpoint import Call, Endpoint, Handler


def _unsupported(_call: Call) -> Never:
    raise errors.NotImplementedHere("The requested functionality is not supported.")


def _no_fixed_ip(call: Call) -> Never:
    raise fixed_ips.not_found(fixed_ips.address_of(call))


def _no_interfaces(_call: Call) -> Never:
    raise errors.BadRequest("Listing virtual interfaces is not supported by this cloud.")


def _no_floating_ips(_call: Call) -> dict[str, Any]:
    return {"floating_ip_info": []}


def _no_floating_ips_of(call: Call) -> Never:
    raise floating_ips_bulk.not_found(call.params["host"])


INSTEAD: dict[Handler, Handler] = {
    networks.index: remote_networks.index,
    networks.show: remote_networks.show,
    tenant_networks.index: remote_networks.tenant_index,
    tenant_networks.show: remote_networks.tenant_show,
    tenant_networks.create: remote_networks.tenant_create,
    security_groups.index: remote_security_groups.index,
    security_groups.show: remote_security_groups.show,
    security_groups.create: remote_security_groups.create,
    security_groups.update: remote_security_groups.update,
    security_groups.delete: remote_security_groups.delete,
    security_groups.of_server: remote_security_groups.of_server,
    security_group_rules.create: remote_security_groups.create_rule,
    security_group_rules.delete: remote_security_groups.delete_rule,
    floating_ips.index: remote_floating_ips.index,
    floating_ips.show: remote_floating_ips.show,
    floating_ips.create: remote_floating_ips.create,
    floating_ips.delete: remote_floating_ips.delete,
    floating_ips.remove_from_server: remote_interfaces.remove_floating_ip,
    attach_interfaces.add_fixed_ip: remote_interfaces.add_fixed_ip,
    attach_interfaces.remove_fixed_ip: remote_interfaces.remove_fixed_ip,
    floating_ip_pools.index: remote_floating_ips.pools,
    fixed_ips.show: _no_fixed_ip,
    virtual_interfaces.index: _no_interfaces,
    floating_ips_bulk.index: _no_floating_ips,
    floating_ips_bulk.by_host: _no_floating_ips_of,
    **dict.fromkeys((row.handler for row in fixed_ips.ACTIONS.values()), _no_fixed_ip),
    **dict.fromkeys((row.handler for row in networks.ACTIONS.values()), _unsupported),
    **dict.fromkeys(
        (
            *(networks.create, networks.delete, networks.add, tenant_networks.delete),
            *(floating_ips_bulk.create, floating_ips_bulk.delete),
            *(cloudpipe.create, cloudpipe.configure),
        ),
        _unsupported,
    ),
    **dict.fromkeys(
        (
            security_group_default_rules.index,
            security_group_default_rules.show,
            security_group_default_rules.create,
            security_group_default_rules.delete,
        ),
        _unsupported,
    ),
    **dict.fromkeys(
        (
            *(floating_ip_dns.index, floating_ip_dns.update_domain, floating_ip_dns.delete_domain),
            *(floating_ip_dns.entries, floating_ip_dns.show, floating_ip_dns.update_entry),
            floating_ip_dns.delete_entry,
        ),
        _unsupported,
    ),
}


def routes(table: Mapping[str, Mapping[str, Endpoint]]) -> dict[str, dict[str, Endpoint]]:
    """The same rows, with the handlers of INSTEAD."""
    return {path: {method: _row(row) for method, row in methods.items()} for path, methods in table.items()}


def _row(row: Endpoint) -> Endpoint:
    actions = {name: _row(each) for name, each in row.actions.items()}
    return replace(row, handler=INSTEAD.get(row.handler, row.handler), actions=actions)
