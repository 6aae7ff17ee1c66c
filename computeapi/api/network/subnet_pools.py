# SPDX-License-Identifier: Apache-2.0
"""Subnet pools in the Networking API: create, update, delete. Checks and sentences: neutron/ipam/subnet_alloc.py and
neutron/db/db_base_plugin_v2.py; how a subnet is cut from one is in `allocating`."""

from __future__ import annotations

import ipaddress
import uuid
from typing import Any

import orjson
from sqlalchemy import Connection, Select

from computeapi import clock, errors
from computeapi.api.network import attributes as a
from computeapi.api.network import views
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import MAX_INTEGER, invalid, is_admin, scope, view_one
from computeapi.api.network.creating import creator
from computeapi.api.network.networks import columns
from computeapi.db.models import SubnetPool
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import network_quotas
from computeapi.db.queries import networks as queries
from computeapi.db.queries import subnet_pools as statements
from computeapi.db.queries.common import insert_row
from computeapi.db.queries.network_changes import Block
from computeapi.db.queries.networks import Found
from computeapi.db.queries.subnet_pools import ADDRESS_SCOPES, SUBNET_POOLS
from computeapi.endpoint import Call

_LEAST = {4: 8, 6: 64}  # IP version → shortest prefix that is cut where nobody says one
BITS = {4: 32, 6: 128}
_LENGTHS = ("min_prefixlen", "default_prefixlen", "max_prefixlen")
_COLUMNS = {name: name for name in ("name", "description", "default_quota", "is_default", "shared")}


def _table(verb: str) -> dict[str, Attribute]:
    return {
        **a.COMMON,
        "prefixes": Attribute(a.items(a.cidr), required=True),
        **{name: Attribute(a.integer(0, MAX_INTEGER)) for name in _LENGTHS},
        "default_quota": Attribute(a.or_none(a.integer(0, MAX_INTEGER)), default=None),
        "address_scope_id": Attribute(a.or_none(a.identifier)),
        "is_default": Attribute(a.boolean, default=False, rule=f"{verb}:is_default"),
        "shared": Attribute(a.boolean, put=False, default=False, rule=f"{verb}:shared"),
    }


CREATE, UPDATE = _table("create_subnetpool"), _table("update_subnetpool")


def view(_call: Call, _conn: Connection, rows: list[Found], _keys: Select[Any]) -> list[dict[str, Any]]:
    """Subnet pools. Lengths of prefixes are text there."""
    return [
        views.common(row)
        | {name: str(getattr(row, name)) for name in _LENGTHS}
        | {
            "prefixes": orjson.loads(row.prefixes_json),
            "ip_version": row.ip_version,
            "default_quota": row.default_quota,
            "address_scope_id": row.scope_uuid,
            "is_default": bool(row.is_default),
            "shared": bool(row.shared),
        }
        for row in rows
    ]


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    project_id, services = a.owner(call, values), call.services
    prefixes = _prefixes(values["prefixes"])
    version = prefixes[0].version
    lengths = _lengths(version, values)
    network_quotas.check(services.db, conn, services.settings, project_id, "subnetpool")
    if values["is_default"]:
        _check_default(call, conn, version)
    row = {
        "uuid": (pool_uuid := str(uuid.uuid4())),
        "project_id": project_id,
        "ip_version": version,
        "prefixes_json": _json(prefixes),
        "scope_id": _scope(call, conn, values.get("address_scope_id"), prefixes),
        "created_at": clock.now(),
    }
    insert_row(conn, SubnetPool, row | lengths | columns(values, _COLUMNS))
    return view_one(call, SUBNET_POOLS, queries.find(conn, SUBNET_POOLS, pool_uuid, None), view, conn)


create = creator("subnetpool", CREATE, _create)


def _json(prefixes: list[Block]) -> str:
    return orjson.dumps([str(prefix) for prefix in prefixes]).decode()


def _prefixes(given: list[str]) -> list[Block]:
    """In order, joined where they can be. Raises BadRequest."""
    blocks = [ipaddress.ip_network(text) for text in given]
    if not blocks:
        raise errors.BadRequest("Empty subnet pool prefix list.", kind="EmptySubnetPoolPrefixList")
    if len({block.version for block in blocks}) > 1:
        raise errors.BadRequest("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", kind="PrefixVersionMismatch")
    return list(ipaddress.collapse_addresses(blocks))  # type: ignore[type-var]


def _lengths(version: int, values: dict[str, Any]) -> dict[str, int]:
    """The three lengths, each its default where nobody said it. Raises BadRequest."""
    least = values.get("min_prefixlen", _LEAST[version])
    most = values.get("max_prefixlen", BITS[version])
    default = values.get("default_prefixlen", least)
    for name, length, base, bound, wrong in (
        ("min_prefixlen", least, "max_prefixlen", most, least > most),
        ("max_prefixlen", most, "ip_version_max", BITS[version], most > BITS[version]),
        ("default_prefixlen", default, "min_prefixlen", least, default < least),
        ("default_prefixlen", default, "max_prefixlen", most, default > most),
    ):
        if wrong:
            raise errors.BadRequest(
                f"Illegal prefix bounds: {name}={length}, {base}={bound}.", kind="IllegalSubnetPoolPrefixBounds"
            )
    return {"min_prefixlen": least, "default_prefixlen": default, "max_prefixlen": most}


def _check_default(call: Call, conn: Connection, version: int) -> None:
    call.services.db.lock(conn, "default subnet pool")
    if statements.default_pool(conn, version) is not None:
        raise invalid(
            "A default subnetpool for this IP family has already been set. Only one default may exist per IP family"
        )


def _scope(call: Call, conn: Connection, scope_uuid: str | None, prefixes: list[Block], pool: Any = None) -> int | None:
    """The key of the address scope that a pool shall be in. Raises NotFound, BadRequest, Conflict (prefixes)."""
    if scope_uuid is None:
        return None
    found = queries.find(conn, ADDRESS_SCOPES, scope_uuid, scope(call))
    if not statements.lock(conn, ADDRESS_SCOPES, found.id):
        raise ADDRESS_SCOPES.not_found(scope_uuid)
    version = prefixes[0].version
    if version != found.ip_version:
        raise errors.BadRequest(
            f"Illegal subnetpool association: subnetpool {pool.uuid if pool else 'the new one'} cannot associate with "
            f"address scope {scope_uuid} because subnetpool ip_version is not {found.ip_version}.",
            kind="IllegalSubnetPoolIpVersionAssociationToAddressScope",
        )
    if pool is not None and statements.network_has_others(conn, pool.id, version):
        raise affinity()
    others = [
        ipaddress.ip_network(text) for text in statements.prefixes_in_scope(conn, found.id, pool.id if pool else 0)
    ]
    if any(prefix.overlaps(other) for prefix in prefixes for other in others):
        raise errors.Conflict(
            "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.",
            kind="AddressScopePrefixConflict",
        )
    return int(found.id)


def affinity() -> errors.BadRequest:
    """A network's subnets of one IP version would be in several address scopes."""
    return errors.BadRequest(
        "Subnets of the same address family hosted on the same network must all participate in the same address scope.",
        kind="NetworkAddressScopeAffinityError",
    )


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/subnetpools/{id}. What was a prefix stays one."""
    values = a.read(call, "subnetpool", UPDATE)
    target = call.target
    with call.services.db.write() as conn:
        statements.lock(conn, SUBNET_POOLS, target.id)
        target = queries.find(conn, SUBNET_POOLS, target.uuid, None)
        if values.get("is_default") and not target.is_default:
            _check_default(call, conn, target.ip_version)
        _check_scopes_owner(call, conn, target)
        prefixes = _grown(target, values.get("prefixes"))
        wanted = values.get("address_scope_id", target.scope_uuid)
        row = columns(values, _COLUMNS) | {
            "prefixes_json": _json(prefixes),
            "scope_id": _scope(call, conn, wanted, prefixes, target),
            **_lengths(target.ip_version, {name: getattr(target, name) for name in _LENGTHS} | values),
        }
        changes.touch(conn, SubnetPool, target.id, row)
        found = queries.find(conn, SUBNET_POOLS, target.uuid, None)
        return {"subnetpool": view_one(call, SUBNET_POOLS, found, view, conn)}


def _grown(target: Any, given: list[str] | None) -> list[Block]:
    """The prefixes of a pool after a change. Raises BadRequest where one would be missing."""
    now = [ipaddress.ip_network(text) for text in orjson.loads(target.prefixes_json)]
    if given is None:
        return now
    prefixes = _prefixes(given)
    if prefixes[0].version != target.ip_version or not all(
        any(prefix.subnet_of(new) for new in prefixes)  # type: ignore[arg-type]
        for prefix in now
    ):
        raise errors.BadRequest(
            "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes.",
            kind="IllegalSubnetPoolPrefixUpdate",
        )
    return prefixes


def _check_scopes_owner(call: Call, conn: Connection, target: Any) -> None:
    """A pool in somebody else's address scope stays as it is."""
    if target.scope_uuid is None or is_admin(call):
        return
    found = queries.find(conn, ADDRESS_SCOPES, target.scope_uuid, scope(call))
    if found.project_id != call.context.project_id:
        raise errors.BadRequest(
            f"Illegal subnetpool update : subnetpool {target.uuid} cannot be updated when associated with shared "
            f"address scope {found.uuid}.",
            kind="IllegalSubnetPoolUpdate",
        )


def remove(call: Call) -> None:
    """DELETE /v2.0/subnetpools/{id}. Raises BadRequest (SubnetPoolDeleteError) where subnets were cut from it."""
    with call.services.db.write() as conn:
        if not statements.delete_unused(conn, SUBNET_POOLS, call.target.id):
            raise errors.BadRequest(
                "Unable to delete subnet pool: Subnet pool has existing allocations.", kind="SubnetPoolDeleteError"
            )
