# SPDX-License-Identifier: Apache-2.0
"""Networks, subnets, ports and addresses: one set of rows for nova-network's API and the Networking API."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, Name, Time, Uuid


class Network(Base):
    """A layer-2 network: a bridge on each host that has servers on it."""

    __tablename__ = "networks"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    name: Mapped[Name]  # os-networks' label
    project_id: Mapped[Id | None] = mapped_column(index=True)
    shared: Mapped[int] = mapped_column(default=0)
    external: Mapped[int] = mapped_column(default=0)
    admin_state_up: Mapped[int] = mapped_column(default=1)
    bridge: Mapped[str] = mapped_column(String(15))
    vlan: Mapped[int | None]
    mtu: Mapped[int | None]
    host: Mapped[Name | None]
    extra_json: Mapped[Json] = mapped_column(default="{}")  # nova-network's fields that only it shows
    description: Mapped[Name] = mapped_column(default="")
    port_security: Mapped[int] = mapped_column(default=1)  # what its ports begin with
    is_default: Mapped[int] = mapped_column(default=0)  # the external network that auto-allocation takes
    network_type: Mapped[str | None] = mapped_column(String(16))  # provider:*
    physical_network: Mapped[str | None] = mapped_column(String(64))
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class Subnet(Base):
    """A range of addresses on a network. `next_offset` is the first address never given out yet."""

    __tablename__ = "subnets"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    network_id: Mapped[BigInt] = mapped_column(ForeignKey("networks.id"), index=True)
    pool_id: Mapped[BigInt | None] = mapped_column(ForeignKey("subnet_pools.id"), index=True)  # what it was cut from
    name: Mapped[Name] = mapped_column(default="")
    project_id: Mapped[Id | None]
    ip_version: Mapped[int] = mapped_column(default=4)
    cidr: Mapped[str] = mapped_column(String(64))
    gateway: Mapped[str | None] = mapped_column(String(64))
    dhcp: Mapped[int] = mapped_column(default=1)
    dns_json: Mapped[Json] = mapped_column(default="[]")
    pools_json: Mapped[Json] = mapped_column(default="[]")  # [{"start", "end"}]
    first_offset: Mapped[BigInt]  # of the allocatable range, counted from the network address
    last_offset: Mapped[BigInt]
    next_offset: Mapped[BigInt]
    description: Mapped[Name] = mapped_column(default="")
    routes_json: Mapped[Json] = mapped_column(default="[]")  # [{"destination", "nexthop"}]
    ipv6_ra_mode: Mapped[str | None] = mapped_column(String(16))
    ipv6_address_mode: Mapped[str | None] = mapped_column(String(16))
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class Port(Base):
    """An interface on a network: a server's, or a router's.

    With a real Neutron the rows are those of its ports that servers have, as it said last (`network_cache`).
    """

    __tablename__ = "ports"
    __table_args__ = (UniqueConstraint("network_id", "mac"), Index("ix_ports_mac", "mac"))

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    network_id: Mapped[BigInt] = mapped_column(ForeignKey("networks.id"), index=True)
    server_id: Mapped[BigInt | None] = mapped_column(ForeignKey("servers.id"), index=True)
    project_id: Mapped[Id | None] = mapped_column(index=True)
    name: Mapped[Name] = mapped_column(default="")
    mac: Mapped[str] = mapped_column(String(17))
    position: Mapped[int] = mapped_column(default=0)  # order of the server's interfaces
    device_owner: Mapped[Name] = mapped_column(default="")
    admin_state_up: Mapped[int] = mapped_column(default=1)
    preserve: Mapped[int] = mapped_column(default=0)  # made by the user: outlives the server
    router_id: Mapped[BigInt | None] = mapped_column(ForeignKey("routers.id"), index=True)
    device_id: Mapped[Name] = mapped_column(default="")  # what the client says, where it is neither server nor router
    description: Mapped[Name] = mapped_column(default="")
    port_security: Mapped[int] = mapped_column(default=1)
    security_groups_json: Mapped[Json | None]  # ids; NULL: the project's default group
    address_pairs_json: Mapped[Json] = mapped_column(default="[]")  # [{"ip_address", "mac_address"}]
    dhcp_options_json: Mapped[Json] = mapped_column(default="[]")
    binding_json: Mapped[Json] = mapped_column(default="{}")  # vnic_type, profile, host_id as the client said
    remote_status: Mapped[str | None] = mapped_column(String(16))  # a real Neutron's word; NULL: the port is ours
    remote_floating_json: Mapped[Json] = mapped_column(default="[]")  # the floating addresses that it has there
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class FixedIp(Base):
    """An address of a subnet that is or was given out; free again when it has neither port nor reservation."""

    __tablename__ = "fixed_ips"
    __table_args__ = (
        UniqueConstraint("subnet_id", "offset"),
        Index("ix_fixed_ips_free", "subnet_id", "free", "offset"),
        Index("ix_fixed_ips_address", "address"),
    )

    id: Mapped[Key]
    subnet_id: Mapped[BigInt] = mapped_column(ForeignKey("subnets.id"))
    offset: Mapped[BigInt]
    address: Mapped[str] = mapped_column(String(64))
    port_id: Mapped[BigInt | None] = mapped_column(ForeignKey("ports.id"), index=True)
    reserved: Mapped[int] = mapped_column(default=0)
    free: Mapped[int] = mapped_column(default=0)  # 1: neither port nor reservation
    updated_at: Mapped[Time | None]


class Router(Base):
    """A virtual router. Its interfaces and its gateway are ports."""

    __tablename__ = "routers"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id | None] = mapped_column(index=True)
    name: Mapped[Name] = mapped_column(default="")
    description: Mapped[Name] = mapped_column(default="")
    admin_state_up: Mapped[int] = mapped_column(default=1)
    enable_snat: Mapped[int] = mapped_column(default=1)
    routes_json: Mapped[Json] = mapped_column(default="[]")
    tags_json: Mapped[Json] = mapped_column(default="[]")
    revision: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class NetworkQuota(Base):
    """A project's own limit of something of the Networking API; where there is none the setting counts."""

    __tablename__ = "network_quotas"
    __table_args__ = (UniqueConstraint("project_id", "resource"),)

    id: Mapped[Key]
    project_id: Mapped[Id]
    resource: Mapped[str] = mapped_column(String(32))
    most: Mapped[int]  # -1: no limit
