# SPDX-License-Identifier: Apache-2.0
"""Networks in the Networking API: create, update, delete."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, insert

from computeapi import clock, errors
from computeapi.api.network import attributes as a
from computeapi.api.network import views
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import view_one
from computeapi.api.network.creating import creator
from computeapi.db.engine import Database
from computeapi.db.models import Network
from computeapi.db.queries import floating_pools, network_quotas
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import networks as queries
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.networks import NETWORKS
from computeapi.endpoint import Call

TYPES = ("local", "flat", "vlan", "vxlan", "gre", "geneve")

_CREATE, _UPDATE = "create_network", "update_network"


def _table(verb: str) -> dict[str, Attribute]:
    return {
        **a.COMMON,
        "admin_state_up": Attribute(a.boolean, default=True),
        "shared": Attribute(a.boolean, default=False, rule=f"{verb}:shared"),
        "router:external": Attribute(a.boolean, default=False, rule=f"{verb}:router:external"),
        "is_default": Attribute(a.boolean, default=False, rule=f"{verb}:is_default"),
        "port_security_enabled": Attribute(a.boolean, default=True),
        "mtu": Attribute(a.or_none(a.integer(0, 65535)), default=None),
        "provider:network_type": Attribute(
            a.or_none(a.only(*TYPES)), default=None, rule=f"{verb}:provider:network_type"
        ),
        "provider:physical_network": Attribute(
            a.or_none(a.text(64)), default=None, rule=f"{verb}:provider:physical_network"
        ),
        "provider:segmentation_id": Attribute(
            a.or_none(a.integer(1, 2**24 - 1)), default=None, rule=f"{verb}:provider:segmentation_id"
        ),
        "availability_zone_hints": Attribute(a.zone_hints, put=False),
        "dns_domain": Attribute(a.nothing),
        "qos_policy_id": Attribute(a.nothing),
    }


CREATE, UPDATE = _table(_CREATE), _table(_UPDATE)

_COLUMNS = {
    "name": "name",
    "description": "description",
    "admin_state_up": "admin_state_up",
    "shared": "shared",
    "router:external": "external",
    "is_default": "is_default",
    "port_security_enabled": "port_security",
    "mtu": "mtu",
    "provider:network_type": "network_type",
    "provider:physical_network": "physical_network",
    "provider:segmentation_id": "vlan",
}


def columns(values: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Attributes as the table's columns have them; booleans are numbers there."""
    return {
        column: int(values[name]) if isinstance(values[name], bool) else values[name]
        for name, column in names.items()
        if name in values
    }


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """Raises Conflict (OverQuota, VlanIdInUse)."""
    project_id = a.owner(call, values)
    row = columns(values, _COLUMNS) | {"mtu": values["mtu"] or None}
    services, network_uuid = call.services, str(uuid.uuid4())
    network_quotas.check(services.db, conn, services.settings, project_id, "network")
    _check_segment(conn, services.db, row)
    insert_key(
        conn,
        insert(Network).values(
            uuid=network_uuid,
            project_id=project_id,
            bridge=changes.bridge_name(network_uuid),
            created_at=clock.now(),
            **row,
        ),
    )
    found = queries.find(conn, NETWORKS, network_uuid, None)
    return view_one(call, NETWORKS, found, views.networks, conn)


create = creator("network", CREATE, _create)


def require(conn: Connection, network: Any) -> None:
    """Keep a network until this transaction ends. Raises NotFound where it went just now."""
    if not changes.lock_network(conn, network.id):
        raise NETWORKS.not_found(network.uuid)


def _check_segment(conn: Connection, db: Database, row: dict[str, Any], key: int = 0) -> None:
    """A VLAN is one network's, on its physical network."""
    vlan, physical = row.get("vlan"), row.get("physical_network")
    if vlan is None:
        return
    if row.get("network_type") in (None, "vlan") and vlan > 4094:
        raise errors.BadRequest("Invalid input for operation: segmentation_id out of range.", kind="InvalidInput")
    db.lock(conn, "network segments")
    if changes.vlan_taken(conn, vlan, physical, key):
        raise errors.Conflict(
            f"Unable to create the network. The VLAN {vlan} on physical network {physical} is in use.",
            kind="VlanIdInUse",
        )


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/networks/{id}. Raises Conflict where others use what would be theirs no more."""
    values = a.read(call, "network", UPDATE)
    target = call.target
    row = columns(values, _COLUMNS)
    with call.services.db.write() as conn:
        if target.shared and values.get("shared") is False:
            _check_sharing(conn, target)
        if target.external and values.get("router:external") is False:
            _check_external(conn, target)
        _check_segment(
            conn,
            call.services.db,
            {"physical_network": target.physical_network, "network_type": target.network_type} | row,
            target.id,
        )
        changes.touch(conn, Network, target.id, row)
        found = queries.find(conn, NETWORKS, target.uuid, None)
        return {"network": view_one(call, NETWORKS, found, views.networks, conn)}


def _check_sharing(conn: Connection, target: Any) -> None:
    if changes.used_by_others(conn, target.id, target.project_id):
        raise errors.Conflict(
            f"Unable to reconfigure sharing settings for network {target.uuid}. Multiple tenants are using it.",
            kind="InvalidSharedSetting",
        )


def _check_external(conn: Connection, target: Any) -> None:
    if changes.is_gateway(conn, target.id):
        raise errors.Conflict(
            f"External network {target.uuid} cannot be updated to be made non-external, since it has existing gateway "
            "ports.",
            kind="ExternalNetworkInUse",
        )


def remove(call: Call) -> None:
    """DELETE /v2.0/networks/{id}, with its subnets and the floating IPs that are for no port. Raises Conflict
    (NetworkInUse)."""
    with call.services.db.write() as conn:
        changes.lock_network(conn, call.target.id)
        floating_pools.drop_unused(conn, call.target.id)
        if not changes.delete_network(conn, call.target.id):
            raise errors.Conflict(
                f"Unable to complete operation on network {call.target.uuid}. There are one or more ports still in "
                "use on the network.",
                kind="NetworkInUse",
            )
