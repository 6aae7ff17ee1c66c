# SPDX-License-Identifier: Apache-2.0
"""How a subnet gets its addresses from a subnet pool. Order and sentences: neutron/ipam/subnet_alloc.py and
neutron/db/ipam_backend_mixin.py."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import errors
from computeapi.api.network.common import scope
from computeapi.api.network.subnet_pools import BITS, affinity
from computeapi.db.queries import networks as queries
from computeapi.db.queries import subnet_pools as statements
from computeapi.db.queries.network_changes import Block
from computeapi.db.queries.networks import Found
from computeapi.db.queries.subnet_pools import SUBNET_POOLS
from computeapi.endpoint import Call

_UNIT = {4: 32, 6: 64}  # what default_quota counts: prefixes of that length


def bad(message: str) -> errors.BadRequest:
    """Neutron's BadRequest about subnets."""
    return errors.BadRequest(f"Bad subnets request: {message}.", kind="BadRequest")


def pool_for(call: Call, conn: Connection, values: dict[str, Any]) -> Found | None:
    """The pool that a new subnet is cut from, locked; None where the body says the addresses. Raises BadRequest,
    NotFound."""
    given, default = values.get("subnetpool_id"), values["use_default_subnetpool"]
    if given and default:
        raise bad("subnetpool_id and use_default_subnetpool cannot both be specified")
    version = values["ip_version"]
    if default and (given := statements.default_pool(conn, version)) is None:
        raise bad(f"No default subnetpool found for IPv{version}")
    if given is None:
        return None
    found = queries.find(conn, SUBNET_POOLS, given, None if default else scope(call))
    if not statements.lock(conn, SUBNET_POOLS, found.id):
        raise SUBNET_POOLS.not_found(given)
    if found.ip_version != version:
        raise bad(f"Cannot allocate IPv{version} subnet from IPv{found.ip_version} subnet pool")
    return found


def check_affinity(conn: Connection, network_key: int, ip_version: int, pool: Found | None) -> None:
    """Raise BadRequest where a network's subnets of one IP version would be of several pools, or of several scopes."""
    there = statements.pools_on(conn, network_key, ip_version)
    scopes = {scope_key for _, scope_key in there if scope_key is not None}
    if pool is not None and scopes:
        if scopes != {pool.scope_id}:
            raise affinity()
        return
    keys = {key for key, _ in there}
    if keys - {pool.id} if pool is not None else keys - {None}:
        raise errors.BadRequest(
            "Subnets hosted on the same network must be allocated from the same subnet pool.",
            kind="NetworkSubnetPoolAffinityError",
        )


def cut(conn: Connection, pool: Found, values: dict[str, Any], project_id: str | None, others: list[Block]) -> Block:
    """The addresses of a new subnet: those asked for, or the first that fit and are not among `others`.

    Raises BadRequest, Conflict.
    """
    asked = ipaddress.ip_network(values["cidr"]) if values.get("cidr") else None
    length = asked.prefixlen if asked else values.get("prefixlen")
    length = pool.default_prefixlen if length is None else length
    _check_length(pool, length)
    taken = statements.taken(conn, pool.id)
    _check_quota(pool, length, [cidr for cidr, owner in taken if owner == project_id])
    blocks = [ipaddress.ip_network(cidr) for cidr, _ in taken]
    free = _free(pool, blocks if asked else blocks + others)
    if asked is None:
        fitting = [block for block in free if block.prefixlen <= length]
        if not fitting:
            raise _none(f"Insufficient prefix space to allocate subnet size /{length}")
        closest = max(fitting, key=lambda block: (block.prefixlen, -int(block.network_address)))
        return ipaddress.ip_network((closest.network_address, length))
    if not any(asked.subnet_of(block) for block in free):  # type: ignore[arg-type]
        raise _none("Cannot allocate requested subnet from the available set of prefixes")
    return asked


def _none(reason: str) -> errors.Conflict:
    """Neutron has 500 for that, which is nobody's fault here."""
    return errors.Conflict(f"Failed to allocate subnet: {reason}.", kind="SubnetAllocationError")


def _check_length(pool: Found, length: int) -> None:
    for word, kind, bound, wrong in (
        ("maximum", "Max", pool.max_prefixlen, length > pool.max_prefixlen),
        ("minimum", "Min", pool.min_prefixlen, length < pool.min_prefixlen),
    ):
        if wrong:
            raise errors.BadRequest(
                f"Unable to allocate subnet with prefix length {length}, {word} allowed prefix is {bound}.",
                kind=f"{kind}PrefixSubnetAllocationError",
            )


def _check_quota(pool: Found, length: int, own: list[str]) -> None:
    """Raise Conflict (SubnetPoolQuotaExceeded) where the project would have more of the pool than each may."""
    if not pool.default_quota:
        return
    bits = BITS[pool.ip_version]
    used = sum(ipaddress.ip_network(cidr).num_addresses for cidr in own)
    if used + 2 ** (bits - length) > pool.default_quota * 2 ** (bits - _UNIT[pool.ip_version]):
        raise errors.Conflict("Per-project subnet pool prefix quota exceeded.", kind="SubnetPoolQuotaExceeded")


def _free(pool: Found, taken: list[Block]) -> Iterator[Block]:
    """What is left of a pool, in blocks as large as can be."""
    blocks = sorted(taken, key=lambda block: int(block.network_address))
    for prefix in (ipaddress.ip_network(text) for text in orjson.loads(pool.prefixes_json)):
        start, end = int(prefix.network_address), int(prefix.broadcast_address)
        kind = type(prefix.network_address)
        for block in blocks:
            low, high = int(block.network_address), int(block.broadcast_address)
            if high < start or low > end:
                continue
            if low > start:
                yield from ipaddress.summarize_address_range(kind(start), kind(low - 1))
            start = max(start, high + 1)
        if start <= end:
            yield from ipaddress.summarize_address_range(kind(start), kind(end))
