# SPDX-License-Identifier: Apache-2.0
"""Services, endpoints and regions of others, beside those that this program serves."""

from __future__ import annotations

import orjson
from sqlalchemy import Connection, delete, select

from computeapi import errors
from computeapi.db.models import Endpoint, Region, RegisteredLimit, Service
from computeapi.db.queries.identity import accounts
from computeapi.db.queries.identity.accounts import Row

# What a token's catalog has of it: enabled ones. A service without an endpoint is in it too, as in Keystone.
_CATALOG = (
    select(
        Service.id.label("service_id"),
        Service.type,
        Service.extra_json,
        Endpoint.id,
        Endpoint.interface,
        Endpoint.region_id,
        Endpoint.url,
    )
    .outerjoin(Endpoint, (Endpoint.service_id == Service.id) & (Endpoint.enabled == 1))
    .where(Service.enabled == 1)
    .order_by(Service.id, Endpoint.id)
)
_ELSEWHERE = (
    select(Endpoint.service_id, Endpoint.id, Endpoint.interface, Endpoint.region_id, Endpoint.url)
    .outerjoin(Service, Service.id == Endpoint.service_id)
    .where(Endpoint.enabled == 1, Service.id.is_(None))
    .order_by(Endpoint.id)
)


def registered(conn: Connection) -> list[Row]:
    """Enabled services of others with their enabled endpoints, a row each; `name` is the service's."""
    rows = [dict(row) for row in conn.execute(_CATALOG).mappings()]
    for row in rows:
        row["name"] = orjson.loads(row.pop("extra_json")).get("name") or ""
    return rows


def elsewhere(conn: Connection) -> list[Row]:
    """Enabled endpoints that were registered for services that are no rows: ours, in other regions."""
    return [dict(row) for row in conn.execute(_ELSEWHERE).mappings()]


def delete_service(conn: Connection, key: str) -> None:
    """Delete a service and its endpoints. Raises NotFound; Conflict while limits are registered for it."""
    accounts.lock(conn, Service, key)
    if conn.execute(select(RegisteredLimit.id).where(RegisteredLimit.service_id == key).limit(1)).first():
        raise errors.Conflict(f"Limits are registered for service {key}; delete those first.")
    conn.execute(delete(Endpoint).where(Endpoint.service_id == key))
    conn.execute(delete(Service).where(Service.id == key))


def delete_endpoint(conn: Connection, key: str) -> None:
    """Delete an endpoint. Raises NotFound."""
    if not conn.execute(delete(Endpoint).where(Endpoint.id == key)).rowcount:
        raise accounts.missing(Endpoint, key)


def parents(conn: Connection) -> dict[str, str | None]:
    """Region → the one that it is part of."""
    return {row[0]: row[1] for row in conn.execute(select(Region.id, Region.parent_region_id))}


def delete_region(conn: Connection, key: str) -> None:
    """Delete a region with those that are part of it. Raises NotFound; Forbidden while one of them has endpoints."""
    accounts.lock(conn, Region, key)
    above = parents(conn)
    doomed = [region for region in above if region == key or key in accounts.ancestors(above, region)]
    if conn.execute(select(Endpoint.id).where(Endpoint.region_id.in_(doomed)).limit(1)).first():
        raise errors.Forbidden(f"Unable to delete region {key} because it or its child regions have endpoints.")
    conn.execute(delete(Region).where(Region.id.in_(doomed)))


def keep_regions(conn: Connection, keys: set[str]) -> set[str]:
    """Those of the regions that there are, locked until this transaction ends: they stay while something is put in."""
    chosen = select(Region.id).where(Region.id.in_(keys)).order_by(Region.id).with_for_update()
    return set(conn.execute(chosen).scalars())
