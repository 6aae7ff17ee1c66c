# SPDX-License-Identifier: Apache-2.0
"""The lines of ROUTES for security groups, floating IPs and their names, fping, cloudpipe and certificates."""

from __future__ import annotations

from typing import Any

from computeapi.api.compute import (
    certificates,
    cloudpipe,
    floating_ip_dns,
    floating_ip_pools,
    floating_ips,
    floating_ips_bulk,
    fping,
    security_group_default_rules,
    security_group_rules,
    security_groups,
)
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.endpoint import Endpoint, Handler, endpoint

Table = dict[str, dict[str, Endpoint]]

RULES: list[Any] = [
    *security_groups.RULES,
    *security_group_default_rules.RULES,
    *floating_ips.RULES,
    *floating_ip_pools.RULES,
    *floating_ips_bulk.RULES,
    *floating_ip_dns.RULES,
    *fping.RULES,
    *certificates.RULES,
    *cloudpipe.RULES,
]

SERVER_ACTIONS: dict[str, Endpoint] = {**security_groups.SERVER_ACTIONS, **floating_ips.SERVER_ACTIONS}


def _group(handler: Handler, verb: str, **more: Any) -> Endpoint:
    return endpoint(handler, security_groups.GROUPS + verb, until=security_groups.LAST, **more)


def _default_rule(handler: Handler, **more: Any) -> Endpoint:
    return endpoint(
        handler, security_group_default_rules.DEFAULT_RULES, until=security_group_default_rules.LAST, **more
    )


_SECURITY_GROUPS: Table = {
    "/os-security-groups": {
        "GET": _group(security_groups.index, "get", query=security_groups.LIST_QUERY),
        "POST": _group(security_groups.create, "create", body=security_groups.CREATE),
    },
    "/os-security-groups/{security_group_id}": {
        "GET": _group(security_groups.show, "show"),
        "PUT": _group(security_groups.update, "update", body=security_groups.CREATE),
        "DELETE": _group(security_groups.delete, "delete", status=202),
    },
    "/os-security-group-rules": {
        "POST": _group(security_group_rules.create, "rule:create", body=security_group_rules.CREATE)
    },
    "/os-security-group-rules/{security_group_rule_id}": {
        "DELETE": _group(security_group_rules.delete, "rule:delete", status=202)
    },
    "/os-security-group-default-rules": {
        "GET": _default_rule(security_group_default_rules.index),
        "POST": _default_rule(security_group_default_rules.create, body=security_group_default_rules.CREATE),
    },
    "/os-security-group-default-rules/{rule_id}": {
        "GET": _default_rule(security_group_default_rules.show),
        "DELETE": _default_rule(security_group_default_rules.delete, status=204),
    },
    "/servers/{server_id}/os-security-groups": {
        "GET": endpoint(security_groups.of_server, security_groups.GROUPS + "list", loads=load_server)
    },
}


def _floating(handler: Handler, verb: str, **more: Any) -> Endpoint:
    return endpoint(handler, floating_ips.FLOATING + verb, until=floating_ips.LAST, **more)


def _bulk(handler: Handler, **more: Any) -> Endpoint:
    return endpoint(handler, floating_ips_bulk.BULK, until=floating_ips_bulk.LAST, **more)


_BULK_DELETE = _bulk(floating_ips_bulk.delete, body=floating_ips_bulk.DELETE)

_FLOATING_IPS: Table = {
    "/os-floating-ips": {
        "GET": _floating(floating_ips.index, "list"),
        "POST": _floating(floating_ips.create, "create", body=floating_ips.CREATE),
    },
    "/os-floating-ips/{floating_ip_id}": {
        "GET": _floating(floating_ips.show, "show"),
        "DELETE": _floating(floating_ips.delete, "delete", status=202),
    },
    "/os-floating-ip-pools": {
        "GET": endpoint(floating_ip_pools.index, floating_ip_pools.POOLS, until=floating_ip_pools.LAST)
    },
    "/os-floating-ips-bulk": {
        "GET": _bulk(floating_ips_bulk.index),
        "POST": _bulk(floating_ips_bulk.create, body=floating_ips_bulk.CREATE),
    },
    "/os-floating-ips-bulk/delete": {"POST": _BULK_DELETE, "PUT": _BULK_DELETE},  # as documented; as clients call it
    "/os-floating-ips-bulk/{host}": {"GET": _bulk(floating_ips_bulk.by_host)},
}


def _dns(handler: Handler, verb: str = "", **more: Any) -> Endpoint:
    return endpoint(handler, floating_ip_dns.DNS + verb, until=floating_ip_dns.LAST, **more)


_NAMES: Table = {
    "/os-floating-ip-dns": {"GET": _dns(floating_ip_dns.index)},
    "/os-floating-ip-dns/{domain}": {
        "PUT": _dns(floating_ip_dns.update_domain, ":domain:update", body=floating_ip_dns.UPDATE_DOMAIN),
        "DELETE": _dns(floating_ip_dns.delete_domain, ":domain:delete"),
    },
    "/os-floating-ip-dns/{domain}/entries": {"GET": _dns(floating_ip_dns.entries, query=floating_ip_dns.ENTRIES_QUERY)},
    "/os-floating-ip-dns/{domain}/entries/{name}": {
        "GET": _dns(floating_ip_dns.show),
        "PUT": _dns(floating_ip_dns.update_entry, ":entry:update", body=floating_ip_dns.UPDATE_ENTRY),
        "DELETE": _dns(floating_ip_dns.delete_entry, ":entry:delete"),
    },
}

_CONFIGURE = endpoint(
    cloudpipe.configure, cloudpipe.CLOUDPIPE, body=cloudpipe.CONFIGURE, status=202, until=cloudpipe.LAST
)

_VPN: Table = {
    "/os-fping": {"GET": endpoint(fping.index, fping.FPING, query=fping.QUERY, until=fping.LAST)},
    "/os-fping/{server_id}": {"GET": endpoint(fping.show, fping.FPING, loads=load_server, until=fping.LAST)},
    "/os-certificates": {
        "POST": endpoint(
            certificates.create,
            certificates.CERTIFICATES + "create",
            body=certificates.CREATE,
            status=201,
            until=certificates.LAST,
        )
    },
    "/os-certificates/{certificate_id}": {
        "GET": endpoint(certificates.show, certificates.CERTIFICATES + "show", until=certificates.LAST)
    },
    "/os-cloudpipe": {
        "GET": endpoint(cloudpipe.index, cloudpipe.CLOUDPIPE, until=cloudpipe.LAST),
        "POST": endpoint(cloudpipe.create, cloudpipe.CLOUDPIPE, body=cloudpipe.CREATE, until=cloudpipe.LAST),
    },
    "/os-cloudpipe/configure-project": {"POST": _CONFIGURE, "PUT": _CONFIGURE},  # as documented; as clients call it
}

SECURITY: Table = {
    **_SECURITY_GROUPS,
    **_FLOATING_IPS,
    **_NAMES,
    **_VPN,
}
