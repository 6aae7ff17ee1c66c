# SPDX-License-Identifier: Apache-2.0
"""Security groups, their rules, and the ports they hold for: one set of rows for both APIs."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, Name, Time, Uuid


class SecurityGroup(Base):
    """A project's group. `default_of` is the project for its group "default" (unique), NULL for the others."""

    __tablename__ = "security_groups"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id] = mapped_column(index=True)
    default_of: Mapped[Id | None] = mapped_column(unique=True)
    name: Mapped[Name]
    description: Mapped[Name] = mapped_column(default="")
    stateful: Mapped[int] = mapped_column(default=1)
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class SecurityGroupRule(Base):
    """What a group lets through. Ports are those of TCP and UDP; of ICMP the type and the code. NULL: any."""

    __tablename__ = "security_group_rules"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    group_id: Mapped[BigInt] = mapped_column(ForeignKey("security_groups.id", ondelete="CASCADE"), index=True)
    project_id: Mapped[Id] = mapped_column(index=True)
    direction: Mapped[str] = mapped_column(String(8))  # ingress | egress
    ethertype: Mapped[str] = mapped_column(String(4))  # IPv4 | IPv6
    protocol: Mapped[str | None] = mapped_column(String(16))  # a name, or a number as text
    port_min: Mapped[int | None]
    port_max: Mapped[int | None]
    remote_cidr: Mapped[str | None] = mapped_column(String(64))  # as the client wrote it
    remote_group_id: Mapped[BigInt | None] = mapped_column(
        ForeignKey("security_groups.id", ondelete="CASCADE"), index=True
    )
    description: Mapped[Name] = mapped_column(default="")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class PortSecurityGroup(Base):
    """A group holds for a port. `ports.security_groups_json` repeats it, for lists."""

    __tablename__ = "port_security_groups"
    __table_args__ = (UniqueConstraint("port_id", "group_id"),)

    id: Mapped[Key]
    port_id: Mapped[BigInt] = mapped_column(ForeignKey("ports.id", ondelete="CASCADE"))
    group_id: Mapped[BigInt] = mapped_column(ForeignKey("security_groups.id"), index=True)


class DefaultRule(Base):
    """A rule that new projects' group "default" begins with (os-security-group-default-rules)."""

    __tablename__ = "security_group_default_rules"

    id: Mapped[Key]
    protocol: Mapped[str] = mapped_column(String(16))
    port_min: Mapped[int]
    port_max: Mapped[int]
    cidr: Mapped[str] = mapped_column(String(64))
