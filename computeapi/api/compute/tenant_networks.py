# SPDX-License-Identifier: Apache-2.0
"""os-tenant-networks: a project's own networks, in nova-network's words. Up to 2.35."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import links, networks
from computeapi.api.compute.networks import CIDR, LABEL
from computeapi.api.network.common import check_addresses, is_admin
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import network_quotas
from computeapi.db.queries import nova_networks as queries
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule

TENANT = "os_compute_api:os-tenant-networks"

RULES = [
    rule(f"{TENANT}:list", PROJECT_READER, "List a project's networks.", ("GET", "/os-tenant-networks")),
    rule(f"{TENANT}:show", PROJECT_READER, "Show a project's network.", ("GET", "/os-tenant-networks/{id}")),
    rule(TENANT, PROJECT_MEMBER, "Make and delete a project's networks.", ("POST", "/os-tenant-networks")),
]

_COUNT: p.Schema = {"type": ["integer", "string", "null"], "pattern": "^[0-9]{1,9}$", "minimum": 0, "maximum": 10**9}
CREATE: p.Schema = p.wrapped(
    "network",
    p.obj(
        {
            "label": LABEL,
            "cidr": CIDR,
            "cidr_v6": CIDR,
            "ipam": {},
            "vlan_start": {"type": ["integer", "string", "null"], "pattern": "^[0-9]{1,4}$", "maximum": 4094},
            "network_size": _COUNT,
            "num_networks": _COUNT,
        },
        "label",
    ),
)


def _view(row: Any, subnets: dict[int, Any]) -> dict[str, Any]:
    first = subnets.get(4) or subnets.get(6)
    return {"id": row.uuid, "cidr": first.cidr if first else "None", "label": row.name}


def index(call: Call) -> dict[str, Any]:
    """GET /os-tenant-networks."""
    with call.services.db.snapshot() as conn:
        rows = queries.page(conn, call.project_id, links.page_size(call), links.last(call, "marker"))
        if rows is None:
            raise errors.BadRequest(f"marker [{links.last(call, 'marker')}] not found")
        subnets = queries.subnets_of(conn, [row.id for row in rows])
    return {"networks": [_view(row, subnets.get(row.id, {})) for row in rows]}


def show(call: Call) -> dict[str, Any]:
    """GET /os-tenant-networks/{network_id}."""
    with call.services.db.snapshot() as conn:
        row = networks.find(call, conn)
        return {"network": _view(row, queries.subnets_of(conn, [row.id]).get(row.id, {}))}


def create(call: Call) -> dict[str, Any]:
    """POST /os-tenant-networks. Raises BadRequest (also over quota) and Conflict."""
    body = call.body["network"]
    if int(body.get("num_networks") or 1) > 1:
        raise errors.BadRequest("Networks are made one at a time: num_networks must be 1.")
    if body.get("cidr") and ipaddress.ip_network(body["cidr"], strict=False).num_addresses < 4:
        raise errors.BadRequest("Requested network does not contain enough (2+) usable hosts")
    services, network_uuid = call.services, str(uuid.uuid4())
    with services.db.write() as conn:
        try:
            network_quotas.check(services.db, conn, services.settings, call.project_id, "network")
        except errors.Conflict:
            raise errors.BadRequest("Quota exceeded, too many networks.") from None
        services.db.lock(conn, "nova networks")
        for name in ("cidr", "cidr_v6"):
            if body.get(name):
                check_addresses(call, conn, ipaddress.ip_network(body[name], strict=False))
        kept = {name: body.get(name) for name in ("label", "cidr", "cidr_v6")}
        if is_admin(call):  # others would choose whose VLAN of the hosts' they are on
            kept["vlan_start"] = body.get("vlan_start")
        networks.make(conn, network_uuid, {**kept, "project_id": call.project_id})
        row = queries.find(conn, network_uuid, None)
        assert row is not None
        return {"network": _view(row, queries.subnets_of(conn, [row.id])[row.id])}


def delete(call: Call) -> None:
    """DELETE /os-tenant-networks/{network_id}. Raises Conflict (in use), Forbidden (shared, another project's)."""
    with call.services.db.write() as conn:
        row = networks.find(call, conn)
        call.check(TENANT, row.project_id or "-")
        if not changes.delete_network(conn, row.id):
            raise errors.Conflict(f"Network {row.uuid} is still in use.")
