# SPDX-License-Identifier: Apache-2.0
"""The operator's lines of ROUTES: hosts, services, aggregates, quotas, usage and the like. A block a noun; `routes` has
the rest of the Compute API.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from computeapi.api.compute import (
    agents,
    aggregates,
    availability_zones,
    baremetal_nodes,
    cells,
    console_auth_tokens,
    external_events,
    hosts,
    hypervisors,
    migrations,
    pci,
    quota_classes,
    quotas,
    server_groups,
    server_password,
    services,
    usage,
    usage_audit,
)
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.endpoint import Endpoint, actions, endpoint

Table = dict[str, dict[str, Endpoint]]

RULES: list[Any] = [
    *agents.RULES,
    *aggregates.RULES,
    *availability_zones.RULES,
    *baremetal_nodes.RULES,
    *cells.RULES,
    *console_auth_tokens.RULES,
    *external_events.RULES,
    *hosts.RULES,
    *hypervisors.RULES,
    *migrations.RULES,
    *pci.RULES,
    *quota_classes.RULES,
    *quotas.RULES,
    *server_groups.RULES,
    *server_password.RULES,
    *services.RULES,
    *usage.RULES,
    *usage_audit.RULES,
]

_AVAILABILITY_ZONES: Table = {
    "/os-availability-zone": {"GET": endpoint(availability_zones.index, availability_zones.ZONES + "list")},
    "/os-availability-zone/detail": {"GET": endpoint(availability_zones.detail, availability_zones.ZONES + "detail")},
}

_LIST_SERVICES = endpoint(services.index, services.SERVICES + "list", query=services.LIST_QUERY)


def _change_service(handler: Any, since: str | None = None) -> Endpoint:
    return endpoint(handler, services.SERVICES + "update", body=services.CHANGE, since=since)


_SERVICES: Table = {
    "/os-services": {
        "GET": _LIST_SERVICES,
        "DELETE": endpoint(
            services.remove_named, services.SERVICES + "delete", body=services.DELETE, status=204
        ),  # as documented
    },
    "/os-services/detail": {"GET": _LIST_SERVICES},  # as documented
    "/os-services/enable": {"PUT": _change_service(services.enable)},
    "/os-services/disable": {"PUT": _change_service(services.disable)},
    "/os-services/disable-log-reason": {"PUT": _change_service(services.disable_log_reason)},
    "/os-services/force-down": {"PUT": _change_service(services.force_down, "2.11")},
    "/os-services/{service_id}": {
        "PUT": _change_service(services.unknown_action),
        "DELETE": endpoint(services.remove, services.SERVICES + "delete", status=204),
    },
}

_HYPERVISORS: Table = {
    "/os-hypervisors": {"GET": endpoint(hypervisors.index, hypervisors.HYPERVISORS + "list")},
    "/os-hypervisors/detail": {"GET": endpoint(hypervisors.detail, hypervisors.HYPERVISORS + "list-detail")},
    "/os-hypervisors/statistics": {"GET": endpoint(hypervisors.statistics, hypervisors.HYPERVISORS + "statistics")},
    "/os-hypervisors/os-pci": {"GET": endpoint(hypervisors.pci_index, hypervisors.HYPERVISORS + "list-detail")},
    "/os-hypervisors/{hypervisor_id}": {"GET": endpoint(hypervisors.show, hypervisors.HYPERVISORS + "show")},
    "/os-hypervisors/{hypervisor_id}/uptime": {"GET": endpoint(hypervisors.uptime, hypervisors.HYPERVISORS + "uptime")},
    "/os-hypervisors/{hypervisor_id}/search": {"GET": endpoint(hypervisors.search, hypervisors.HYPERVISORS + "search")},
    "/os-hypervisors/{hypervisor_id}/servers": {
        "GET": endpoint(hypervisors.servers, hypervisors.HYPERVISORS + "servers")
    },
    "/os-hypervisors/{hypervisor_id}/os-pci": {"GET": endpoint(hypervisors.pci_show, hypervisors.HYPERVISORS + "show")},
    # as documented: the id twice
    "/os-hypervisors/{hypervisor_id}/{again}": {"GET": endpoint(hypervisors.show, hypervisors.HYPERVISORS + "show")},
    "/os-hypervisors/{hypervisor_id}/{again}/uptime": {
        "GET": endpoint(hypervisors.uptime, hypervisors.HYPERVISORS + "uptime")
    },
}

_PCI: Table = {
    "/os-pci": {"GET": endpoint(pci.index, pci.PCI + "index")},
    "/os-pci/detail": {"GET": endpoint(pci.detail, pci.PCI + "detail")},
    "/os-pci/{pci_id}": {"GET": endpoint(pci.show, pci.PCI + "show")},
}

_HOSTS: Table = {
    "/os-hosts": {"GET": endpoint(hosts.index, hosts.HOSTS + "list", query=hosts.LIST_QUERY, until="2.42")},
    "/os-hosts/{host_name}": {
        "GET": endpoint(hosts.show, hosts.HOSTS + "show", until="2.42"),
        "PUT": endpoint(hosts.update, hosts.HOSTS + "update", body=hosts.UPDATE, until="2.42"),
    },
    "/os-hosts/{host_name}/reboot": {"GET": endpoint(hosts.power("reboot"), hosts.HOSTS + "reboot", until="2.42")},
    "/os-hosts/{host_name}/shutdown": {
        "GET": endpoint(hosts.power("shutdown"), hosts.HOSTS + "shutdown", until="2.42")
    },
    "/os-hosts/{host_name}/startup": {"GET": endpoint(hosts.power("startup"), hosts.HOSTS + "start", until="2.42")},
}


def _quotas(deleted: int) -> dict[str, Endpoint]:
    return {
        "GET": endpoint(quotas.show, quotas.QUOTAS + "show", loads=quotas.load, query=quotas.QUERY),
        "PUT": endpoint(
            quotas.update, quotas.QUOTAS + "update", loads=quotas.load, body=quotas.UPDATE, query=quotas.QUERY
        ),
        "DELETE": endpoint(
            quotas.remove, quotas.QUOTAS + "delete", loads=quotas.load, query=quotas.QUERY, status=deleted
        ),
    }


_QUOTA_DETAIL = endpoint(quotas.detail, quotas.QUOTAS + "detail", loads=quotas.load, query=quotas.QUERY)
_QUOTA_DEFAULTS = endpoint(quotas.defaults, quotas.QUOTAS + "defaults", loads=quotas.load)

_QUOTAS: Table = {
    "/os-quota-sets/{project_id}": _quotas(202),
    "/os-quota-sets/{project_id}/detail": {"GET": _QUOTA_DETAIL},
    "/os-quota-sets/{project_id}/defaults": {"GET": _QUOTA_DEFAULTS},
    # as documented: of the token's own project
    "/os-quota-sets": _quotas(204),
    "/os-quota-sets/": _quotas(204),
    "/os-quota-sets/detail": {"GET": _QUOTA_DETAIL},
    "/os-quota-sets/defaults": {"GET": _QUOTA_DEFAULTS},
    "/os-quota-class-sets/{class_id}": {
        "GET": endpoint(quota_classes.show, quota_classes.CLASSES + "show"),
        "PUT": endpoint(quota_classes.update, quota_classes.CLASSES + "update", body=quota_classes.UPDATE),
    },
}

_UPDATE_AGGREGATE = replace(
    endpoint(aggregates.update, aggregates.AGGREGATES + "update", body=aggregates.UPDATE), relaxed=aggregates.UPDATE_V2
)

_AGGREGATES: Table = {
    "/os-aggregates": {
        "GET": endpoint(aggregates.index, aggregates.AGGREGATES + "index"),
        "POST": replace(
            endpoint(aggregates.create, aggregates.AGGREGATES + "create", body=aggregates.CREATE),
            relaxed=aggregates.CREATE_V2,
        ),
    },
    "/os-aggregates/{aggregate_id}": {
        "GET": endpoint(aggregates.show, aggregates.AGGREGATES + "show"),
        "PUT": _UPDATE_AGGREGATE,
        "POST": _UPDATE_AGGREGATE,
        "DELETE": endpoint(aggregates.remove, aggregates.AGGREGATES + "delete"),
    },
    "/os-aggregates/{aggregate_id}/action": {"POST": actions(aggregates.ACTIONS)},
}

_SERVER_GROUPS: Table = {
    "/os-server-groups": {
        "GET": endpoint(server_groups.index, server_groups.GROUPS + "index", query=server_groups.LIST_QUERY),
        "POST": endpoint(server_groups.create, server_groups.GROUPS + "create", body=server_groups.CREATE),
    },
    "/os-server-groups/{server_group_id}": {
        "GET": endpoint(server_groups.show, server_groups.GROUPS + "show", loads=server_groups.load),
        "DELETE": endpoint(server_groups.remove, server_groups.GROUPS + "delete", loads=server_groups.load, status=204),
    },
}

_USAGE: Table = {
    "/os-simple-tenant-usage": {"GET": endpoint(usage.index, usage.USAGE + "list", query=usage.QUERY)},
    "/os-simple-tenant-usage/{project_id}": {
        "GET": endpoint(usage.show, usage.USAGE + "show", loads=quotas.load, query=usage.QUERY)
    },
}
for _path in ("/os-instance_usage_audit_log", "/os-instance-usage-audit-log"):  # clients' and documented
    _USAGE[_path] = {"GET": endpoint(usage_audit.index, usage_audit.AUDIT + "list")}
    _USAGE[_path + "/{before_timestamp}"] = {"GET": endpoint(usage_audit.show, usage_audit.AUDIT + "show")}

_AGENTS: Table = {
    "/os-agents": {
        "GET": endpoint(agents.index, agents.AGENTS, query=agents.LIST_QUERY),
        "POST": endpoint(agents.create, agents.AGENTS, body=agents.CREATE),
        "DELETE": endpoint(agents.remove_named, agents.AGENTS, query=agents.DELETE_QUERY, status=202),  # as documented
    },
    "/os-agents/{agent_id}": {
        "PUT": endpoint(agents.update, agents.AGENTS, body=agents.UPDATE),
        "DELETE": endpoint(agents.remove, agents.AGENTS),
    },
}

_EVENTS: Table = {
    "/os-server-external-events": {
        "POST": endpoint(external_events.create, external_events.EVENTS + "create", body=external_events.CREATE)
    },
    "/os-migrations": {"GET": endpoint(migrations.index, migrations.MIGRATIONS + "index", query=migrations.QUERY)},
    "/os-console-auth-tokens/{token}": {
        "GET": endpoint(console_auth_tokens.show, console_auth_tokens.TOKENS, until="2.30"),
    },
    "/servers/{server_id}/os-server-password": {
        "GET": endpoint(server_password.show, server_password.PASSWORD + "show", loads=load_server),
        "DELETE": endpoint(server_password.clear, server_password.PASSWORD + "clear", loads=load_server, status=204),
    },
}


def _cells(handler: Any, **more: Any) -> Endpoint:
    return endpoint(cells.where_on(handler), cells.CELLS, **more)


_CAPACITIES = _cells(cells.capacities)

_CELLS: Table = {
    "/os-cells": {
        "GET": _cells(cells.index, query=cells.LIST_QUERY),
        "POST": replace(
            endpoint(cells.where_on(cells.create), cells.CELLS + ":create", body=cells.CREATE), relaxed=cells.CREATE_V2
        ),
    },
    "/os-cells/detail": {"GET": _cells(cells.detail, query=cells.LIST_QUERY)},
    "/os-cells/info": {"GET": _cells(cells.info)},
    "/os-cells/capacities": {"GET": _CAPACITIES},
    "/os-cells/sync_instances": {
        "POST": endpoint(cells.where_on(cells.sync_instances), cells.CELLS + ":sync_instances", body=cells.SYNC)
    },
    "/os-cells/{cell_id}": {
        "GET": _cells(cells.show),
        "PUT": replace(
            endpoint(cells.where_on(cells.update), cells.CELLS + ":update", body=cells.UPDATE), relaxed=cells.UPDATE_V2
        ),
        "DELETE": endpoint(cells.where_on(cells.remove), cells.CELLS + ":delete"),
    },
    "/os-cells/{cell_id}/capacities": {"GET": _CAPACITIES},
}

_NODES = baremetal_nodes.NODES


def _baremetal(loads: Any, status: int) -> Table:
    one = {
        "GET": endpoint(baremetal_nodes.show, _NODES + "show", loads=loads, status=status),
        "DELETE": endpoint(baremetal_nodes.remove, _NODES + "delete", loads=loads, status=202),
    }
    return {
        "/os-baremetal-nodes": {
            "GET": endpoint(baremetal_nodes.index, _NODES + "list", loads=loads, status=status),
            "POST": endpoint(
                baremetal_nodes.create, _NODES + "create", loads=loads, body=baremetal_nodes.CREATE, status=status
            ),
        },
        "/os-baremetal-nodes/{node_id}": one,
    }


_SERVERS_NODES = {"/servers/{server_id}" + path: methods for path, methods in _baremetal(load_server, 202).items()}

_BAREMETAL: Table = {
    **_baremetal(None, 200),
    "/os-baremetal-nodes/{node_id}/action": {"POST": actions(baremetal_nodes.actions_table(None, 200))},
    # as documented: a server's
    **_SERVERS_NODES,
    "/servers/{server_id}/os-baremetal-nodes/action": {
        "POST": actions(baremetal_nodes.actions_table(load_server, 202))
    },
}

OPERATOR: Table = {
    **_AVAILABILITY_ZONES,
    **_SERVICES,
    **_HYPERVISORS,
    **_PCI,
    **_HOSTS,
    **_QUOTAS,
    **_AGGREGATES,
    **_SERVER_GROUPS,
    **_USAGE,
    **_AGENTS,
    **_EVENTS,
    **_CELLS,
    **_BAREMETAL,
}
