# SPDX-License-Identifier: Apache-2.0
"""Statements about subnet pools and address scopes. What a pool has given out is what its subnets have."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, Select, delete, or_, select

from computeapi.db.models import AddressScope, Subnet, SubnetPool
from computeapi.db.queries.networks import Kind, common_fields, tag_filters

ADDRESS_SCOPES = Kind(
    "AddressScope",
    AddressScope,
    select(*AddressScope.__table__.c),
    {
        "id": AddressScope.uuid,
        "name": AddressScope.name,
        "project_id": AddressScope.project_id,
        "tenant_id": AddressScope.project_id,
        "ip_version": AddressScope.ip_version,
        "shared": AddressScope.shared,
    },
    lambda project_id: or_(AddressScope.project_id == project_id, AddressScope.shared == 1),
    booleans=frozenset({"shared"}),
    integers=frozenset({"ip_version"}),
    missing="Address scope {id} could not be found.",
)

_NUMBERS = ("ip_version", "min_prefixlen", "default_prefixlen", "max_prefixlen", "default_quota")

SUBNET_POOLS = Kind(
    "SubnetPool",
    SubnetPool,
    select(*SubnetPool.__table__.c, AddressScope.uuid.label("scope_uuid"))
    .select_from(SubnetPool)
    .outerjoin(AddressScope, AddressScope.id == SubnetPool.scope_id),
    {
        **common_fields(SubnetPool),
        **{name: getattr(SubnetPool, name) for name in _NUMBERS},
        "is_default": SubnetPool.is_default,
        "shared": SubnetPool.shared,
        "address_scope_id": AddressScope.uuid,
    },
    lambda project_id: or_(SubnetPool.project_id == project_id, SubnetPool.shared == 1),
    special=tag_filters(SubnetPool),
    booleans=frozenset({"is_default", "shared"}),
    integers=frozenset({"revision_number", *_NUMBERS}),
    missing="Subnet pool {id} could not be found.",
)


# What is made of them: while there is any, they stay.
_MADE_OF = {SubnetPool: Subnet.pool_id, AddressScope: SubnetPool.scope_id}


def lock(conn: Connection, kind: Kind, key: int) -> bool:
    """Keep a pool or a scope until this transaction ends: what is made of it is so one after the other.

    False where it is gone.
    """
    model = kind.model
    return conn.execute(select(model.id).where(model.id == key).with_for_update()).first() is not None


def delete_unused(conn: Connection, kind: Kind, key: int) -> bool:
    """The pool or the scope is gone; False, and nothing done, where a pool has subnets, or a scope has pools."""
    lock(conn, kind, key)
    column = _MADE_OF[kind.model]
    if conn.execute(select(column).where(column == key).limit(1)).first() is not None:
        return False
    conn.execute(delete(kind.model).where(kind.model.id == key))
    return True


def default_pool(conn: Connection, ip_version: int) -> str | None:
    """The id of the pool that subnets without one of their own are cut from."""
    chosen = select(SubnetPool.uuid).where(SubnetPool.is_default == 1, SubnetPool.ip_version == ip_version)
    return conn.execute(chosen.order_by(SubnetPool.id).limit(1)).scalar()


def taken(conn: Connection, key: int) -> list[tuple[str, str | None]]:
    """What was cut from a pool: CIDR and project of each subnet."""
    rows = conn.execute(select(Subnet.cidr, Subnet.project_id).where(Subnet.pool_id == key))
    return [(row[0], row[1]) for row in rows]


def prefixes_in_scope(conn: Connection, scope_key: int, but: int) -> list[str]:
    """The prefixes of a scope's pools, except those of one pool."""
    statement = select(SubnetPool.prefixes_json).where(SubnetPool.scope_id == scope_key, SubnetPool.id != but)
    return [prefix for text in conn.execute(statement).scalars() for prefix in orjson.loads(text)]


def network_has_others(conn: Connection, pool_key: int, ip_version: int) -> bool:
    """Whether a network with subnets of this pool has others of that IP version too."""
    theirs = select(Subnet.network_id).where(Subnet.pool_id == pool_key)
    others = select(Subnet.id).where(
        Subnet.network_id.in_(theirs),
        Subnet.ip_version == ip_version,
        or_(Subnet.pool_id.is_(None), Subnet.pool_id != pool_key),
    )
    return conn.execute(others.limit(1)).first() is not None


def pools_on(conn: Connection, network_key: int, ip_version: int) -> list[tuple[int | None, int | None]]:
    """Of each subnet of that version on a network: the keys of its pool and of the pool's address scope."""
    statement = (
        select(Subnet.pool_id, SubnetPool.scope_id)
        .outerjoin(SubnetPool, SubnetPool.id == Subnet.pool_id)
        .where(Subnet.network_id == network_key, Subnet.ip_version == ip_version)
    )
    return [(row[0], row[1]) for row in conn.execute(statement)]


def scopes_of(conn: Connection, networks: Select[Any]) -> dict[tuple[int, int], str]:
    """The address scopes of these networks (a statement that selects keys), by network key and IP version."""
    statement = (
        select(Subnet.network_id, Subnet.ip_version, AddressScope.uuid)
        .join(SubnetPool, SubnetPool.id == Subnet.pool_id)
        .join(AddressScope, AddressScope.id == SubnetPool.scope_id)
        .where(Subnet.network_id.in_(networks))
    )
    return {(row[0], row[1]): row[2] for row in conn.execute(statement)}
