# SPDX-License-Identifier: Apache-2.0
"""Floating IPs, and the names that DNS gives to addresses."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, LongText, Name, Time, Uuid


class FloatingIp(Base):
    """An address of an external network: 1:1 for a fixed address of a port, or for none yet.

    Rows with `pooled` were made in bulk and belong to nobody (project_id NULL) while they wait in their pool; the
    others live as long as a project has them. The address is kept back (`reserved`) in the network's subnet.
    """

    __tablename__ = "floating_ips"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id | None] = mapped_column(index=True)
    network_id: Mapped[BigInt] = mapped_column(ForeignKey("networks.id"), index=True)
    subnet_id: Mapped[BigInt] = mapped_column(ForeignKey("subnets.id"), index=True)
    address: Mapped[str] = mapped_column(String(64), unique=True)
    interface: Mapped[str | None] = mapped_column(String(64))  # of the host, as the operator named it
    pooled: Mapped[int] = mapped_column(default=0)
    port_id: Mapped[BigInt | None] = mapped_column(ForeignKey("ports.id"), index=True)
    fixed_address: Mapped[str | None] = mapped_column(String(64))
    refused: Mapped[LongText | None]  # why its host does not translate it
    description: Mapped[Name] = mapped_column(default="")
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class DnsDomain(Base):
    """A domain (os-floating-ip-dns). Private ones are answered in their availability zone only (NULL: in all)."""

    __tablename__ = "dns_domains"

    id: Mapped[Key]
    domain: Mapped[Name] = mapped_column(unique=True)
    scope: Mapped[str] = mapped_column(String(8))  # public | private
    project_id: Mapped[Id | None]
    availability_zone: Mapped[Name | None]
    created_at: Mapped[Time]


class DnsEntry(Base):
    """A name in a domain, and its address."""

    __tablename__ = "dns_entries"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[Key]
    domain_id: Mapped[BigInt] = mapped_column(ForeignKey("dns_domains.id", ondelete="CASCADE"))
    name: Mapped[Name]
    address: Mapped[str] = mapped_column(String(64), index=True)
    type: Mapped[str] = mapped_column(String(8), default="A")
    project_id: Mapped[Id | None]  # whose entry it is
    created_at: Mapped[Time]
