# SPDX-License-Identifier: Apache-2.0
"""What operators keep: aggregates, server groups, quotas, agents, cells, bare metal nodes, migrations, audits."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, LongText, Name, Time, Uuid


class Aggregate(Base):
    """Hosts with common metadata. `availability_zone` is that key of the metadata, for statements."""

    __tablename__ = "aggregates"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    name: Mapped[Name] = mapped_column(unique=True)
    availability_zone: Mapped[Name | None]
    metadata_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class AggregateHost(Base):
    """A compute host is in an aggregate."""

    __tablename__ = "aggregate_hosts"
    __table_args__ = (UniqueConstraint("aggregate_id", "host"), Index("ix_aggregate_hosts_host", "host"))

    id: Mapped[Key]
    aggregate_id: Mapped[BigInt] = mapped_column(ForeignKey("aggregates.id"))
    host: Mapped[Name]


class ServerGroup(Base):
    """Servers that shall sit together or apart. `max_per_host`: with anti-affinity, how many a host may have."""

    __tablename__ = "server_groups"
    __table_args__ = (Index("ix_server_groups_project_id", "project_id", "id"),)

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id]
    user_id: Mapped[Id]
    name: Mapped[Name]
    policy: Mapped[str] = mapped_column(String(32))  # affinity | anti-affinity | soft-affinity | soft-anti-affinity
    max_per_host: Mapped[int] = mapped_column(default=1)
    created_at: Mapped[Time]


class ServerGroupMember(Base):
    """A server was made in a group. It stays in it, deleted or not."""

    __tablename__ = "server_group_members"
    __table_args__ = (UniqueConstraint("group_id", "server_id"), Index("ix_server_group_members_server", "server_id"))

    id: Mapped[Key]
    group_id: Mapped[BigInt] = mapped_column(ForeignKey("server_groups.id"))
    server_id: Mapped[BigInt] = mapped_column(ForeignKey("servers.id"))


class Quota(Base):
    """A limit of a project, or (user_id not "") of one user in it; where there is none the default counts."""

    __tablename__ = "quotas"
    __table_args__ = (UniqueConstraint("project_id", "user_id", "resource"),)

    id: Mapped[Key]
    project_id: Mapped[Id]
    user_id: Mapped[Id] = mapped_column(default="")
    resource: Mapped[str] = mapped_column(String(64))
    most: Mapped[int]  # -1: no limit


class QuotaClass(Base):
    """A limit of a quota class. The class "default" is every project's default, and outranks the setting."""

    __tablename__ = "quota_classes"
    __table_args__ = (UniqueConstraint("class_name", "resource"),)

    id: Mapped[Key]
    class_name: Mapped[Name]
    resource: Mapped[str] = mapped_column(String(64))
    most: Mapped[int]  # -1: no limit


class Agent(Base):
    """A build of a guest agent (os-agents): what guests of that kind may be updated to."""

    __tablename__ = "agents"
    __table_args__ = (UniqueConstraint("hypervisor", "os", "architecture"),)

    id: Mapped[Key]
    hypervisor: Mapped[Name]
    os: Mapped[Name]
    architecture: Mapped[Name]
    version: Mapped[Name]
    url: Mapped[Name]
    md5hash: Mapped[Name]


class Migration(Base):
    """A server's move to another host, or its resize.

    `switched_at` is when the guest began to run as the new flavor says, `reverted_at` when it went back: usage reports
    need both. Progress in bytes, of live migrations.
    """

    __tablename__ = "migrations"
    __table_args__ = (
        Index("ix_migrations_server", "server_id", "id"),
        Index("ix_migrations_source", "source_compute"),
        Index("ix_migrations_dest", "dest_compute"),
    )

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    server_id: Mapped[BigInt] = mapped_column(ForeignKey("servers.id"))
    server_uuid: Mapped[Uuid]
    project_id: Mapped[Id]
    user_id: Mapped[Id]
    migration_type: Mapped[str] = mapped_column(String(16))  # migration | resize | live-migration | evacuation
    status: Mapped[str] = mapped_column(String(32))
    source_compute: Mapped[Name | None]
    source_node: Mapped[Name | None]
    dest_compute: Mapped[Name | None]
    dest_node: Mapped[Name | None]
    dest_host: Mapped[Name | None]  # its address
    old_flavor_key: Mapped[BigInt | None]  # flavors.id, as the API shows it (old_instance_type_id)
    new_flavor_key: Mapped[BigInt | None]
    old_flavor_json: Mapped[Json | None]  # like Server.flavor_json
    new_flavor_json: Mapped[Json | None]
    old_flavor_id: Mapped[Name | None]  # like Server.flavor_id: the way back
    new_flavor_id: Mapped[Name | None]
    old_vm_state: Mapped[str | None] = mapped_column(String(32))  # where a revert leads
    hidden: Mapped[int] = mapped_column(default=0)
    memory_total: Mapped[BigInt | None]
    memory_processed: Mapped[BigInt | None]
    memory_remaining: Mapped[BigInt | None]
    disk_total: Mapped[BigInt | None]
    disk_processed: Mapped[BigInt | None]
    disk_remaining: Mapped[BigInt | None]
    created_at: Mapped[Time] = mapped_column(index=True)
    updated_at: Mapped[Time | None]
    switched_at: Mapped[Time | None]
    reverted_at: Mapped[Time | None]


class BaremetalNode(Base):
    """A physical machine that the operator wrote down (os-baremetal-nodes), perhaps as one server's."""

    __tablename__ = "baremetal_nodes"
    __table_args__ = (Index("ix_baremetal_nodes_server", "server_id"),)

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    server_id: Mapped[BigInt | None] = mapped_column(ForeignKey("servers.id"))
    service_host: Mapped[Name]
    cpus: Mapped[int]
    memory_mb: Mapped[int]
    local_gb: Mapped[int]
    pm_address: Mapped[Name | None]  # of its power management
    pm_user: Mapped[Name | None]
    pm_password_sealed: Mapped[LongText | None]  # encrypted; never shown
    terminal_port: Mapped[int | None]
    task_state: Mapped[Name | None]
    updated_at: Mapped[Time | None]


class BaremetalInterface(Base):
    """A network interface of a bare metal node."""

    __tablename__ = "baremetal_interfaces"

    id: Mapped[Key]
    node_id: Mapped[BigInt] = mapped_column(ForeignKey("baremetal_nodes.id"), index=True)
    address: Mapped[str] = mapped_column(String(17), unique=True)
    datapath_id: Mapped[Name | None]
    port_no: Mapped[int | None]


class Cell(Base):
    """A named set of compute hosts (Host.cell). Hosts of no cell are the local one's, which has no row."""

    __tablename__ = "cells"

    id: Mapped[Key]
    name: Mapped[Name] = mapped_column(unique=True)
    is_parent: Mapped[int] = mapped_column(default=0)
    username: Mapped[Name | None]
    rpc_host: Mapped[Name | None]
    rpc_port: Mapped[int | None]
    rpc_virtual_host: Mapped[Name | None]


class TaskLog(Base):
    """One host's run of a periodic task for a period: which servers it audited, how many, and with what errors."""

    __tablename__ = "task_logs"
    __table_args__ = (UniqueConstraint("task_name", "host", "period_beginning", "period_ending"),)

    id: Mapped[Key]
    task_name: Mapped[str] = mapped_column(String(64))
    host: Mapped[Name]
    period_beginning: Mapped[Time]
    period_ending: Mapped[Time]
    state: Mapped[str] = mapped_column(String(16))  # RUNNING | DONE
    task_items: Mapped[int] = mapped_column(default=0)
    errors: Mapped[int] = mapped_column(default=0)
    message: Mapped[LongText] = mapped_column(default="")
