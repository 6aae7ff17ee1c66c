# SPDX-License-Identifier: Apache-2.0
"""Subnet pools and address scopes: where the Networking API takes a subnet's addresses from when nobody says them."""

from __future__ import annotations

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, Name, Time, Uuid


class AddressScope(Base):
    """A range in which no address is there twice: its subnet pools share none."""

    __tablename__ = "address_scopes"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id | None] = mapped_column(index=True)
    name: Mapped[Name] = mapped_column(default="")
    ip_version: Mapped[int]
    shared: Mapped[int] = mapped_column(default=0)


class SubnetPool(Base):
    """Prefixes that subnets are cut from. What is taken is what the subnets with its key have."""

    __tablename__ = "subnet_pools"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    scope_id: Mapped[BigInt | None] = mapped_column(ForeignKey("address_scopes.id"), index=True)
    project_id: Mapped[Id | None] = mapped_column(index=True)
    name: Mapped[Name] = mapped_column(default="")
    description: Mapped[Name] = mapped_column(default="")
    ip_version: Mapped[int]
    prefixes_json: Mapped[Json]  # in order, none next to another that it could be joined with
    min_prefixlen: Mapped[int]
    default_prefixlen: Mapped[int]
    max_prefixlen: Mapped[int]
    default_quota: Mapped[int | None]  # a project's, in addresses; of IPv6 in /64
    is_default: Mapped[int] = mapped_column(default=0)
    shared: Mapped[int] = mapped_column(default=0)
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]
