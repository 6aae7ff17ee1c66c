# SPDX-License-Identifier: Apache-2.0
"""Servers, their disks, and the flavors and key pairs they are made of."""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, LongText, Name, Time, Uuid


class Server(Base):
    """A server, with all that a list shows in its own row. Deleted ones stay (deleted=1) until they are purged."""

    __tablename__ = "servers"
    __table_args__ = (
        Index("ix_servers_project_list", "project_id", "deleted", "created_at", "id"),
        Index("ix_servers_list", "deleted", "created_at", "id"),
        Index("ix_servers_changes", "project_id", "updated_at"),
        Index("ix_servers_host", "host", "deleted"),
        Index("ix_servers_quota", "project_id", "deleted", "vm_state", "vcpus", "memory_mb"),  # all that a quota counts
    )

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id]
    user_id: Mapped[Id]
    name: Mapped[Name]
    hostname: Mapped[Name]
    vm_state: Mapped[str] = mapped_column(String(32))
    task_state: Mapped[str | None] = mapped_column(String(32))
    power_state: Mapped[int] = mapped_column(default=0)
    progress: Mapped[int] = mapped_column(default=0)
    host: Mapped[Name | None]  # where it lives; NULL: nowhere (not scheduled, offloaded)
    node: Mapped[Name | None]
    availability_zone: Mapped[Name | None]  # of its host; while it has none, the one asked for
    requested_zone: Mapped[Name | None]  # the one asked for: what later moves keep to
    password: Mapped[LongText | None]  # os-server-password: what the guest set, encrypted with the owner's key
    launch_index: Mapped[int] = mapped_column(default=0)
    reservation_id: Mapped[str] = mapped_column(String(64), default="", index=True)
    image_id: Mapped[str] = mapped_column(String(64), default="")  # "" when booted from a volume
    image_json: Mapped[Json] = mapped_column(default="{}")  # the image's properties at build time, for the guest's XML
    kernel_id: Mapped[str] = mapped_column(String(64), default="")
    ramdisk_id: Mapped[str] = mapped_column(String(64), default="")
    flavor_id: Mapped[Name]  # the flavor's API id
    flavor_json: Mapped[Json]  # the flavor as it was: name, vcpus, ram, disk, ephemeral, swap, rxtx_factor, extra_specs
    vcpus: Mapped[int]
    memory_mb: Mapped[int]
    disk_gb: Mapped[int]  # root and ephemeral
    key_name: Mapped[Name | None]
    key_data: Mapped[LongText | None]  # the public key, as it was at build time
    user_data: Mapped[LongText | None]  # base64, as the client sent it
    config_drive: Mapped[str] = mapped_column(String(8), default="")  # "True" or "", as the API shows it
    disk_config: Mapped[str] = mapped_column(String(8), default="MANUAL")
    access_ip_v4: Mapped[str] = mapped_column(String(64), default="")
    access_ip_v6: Mapped[str] = mapped_column(String(64), default="")
    root_device_name: Mapped[str | None] = mapped_column(String(64))
    locked: Mapped[int] = mapped_column(default=0)
    locked_by: Mapped[str | None] = mapped_column(String(16))  # "owner" | "admin"
    metadata_json: Mapped[Json] = mapped_column(default="{}")
    addresses_json: Mapped[Json] = mapped_column(default="{}")  # as the API shows it, by network label
    security_groups_json: Mapped[Json] = mapped_column(default='[{"name":"default"}]')
    volumes_json: Mapped[Json] = mapped_column(default="[]")  # [{"id", "delete_on_termination"}]
    scheduler_hints_json: Mapped[Json] = mapped_column(default="{}")
    fault_json: Mapped[Json | None]  # {"code", "created", "message", "details"}
    created_at: Mapped[Time]
    updated_at: Mapped[Time]
    launched_at: Mapped[Time | None]
    terminated_at: Mapped[Time | None]
    shelved_at: Mapped[Time | None]  # while it is put aside
    shelved_image_id: Mapped[str | None] = mapped_column(String(64), index=True)  # what it was put aside as
    deleted_at: Mapped[Time | None]
    deleted: Mapped[int] = mapped_column(default=0)

    @property
    def instance_name(self) -> str:
        """The guest's name on its host (OS-EXT-SRV-ATTR:instance_name)."""
        return instance_name(self.id)


def instance_name(key: int) -> str:
    """The guest's name on its host for a row key: instance-0000002a (Nova's default template)."""
    return f"instance-{key:08x}"


class BlockDevice(Base):
    """One disk that a server has or shall have (block_device_mapping_v2)."""

    __tablename__ = "block_devices"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    server_id: Mapped[BigInt] = mapped_column(ForeignKey("servers.id"), index=True)
    source_type: Mapped[str] = mapped_column(String(16))  # image | snapshot | volume | blank
    destination_type: Mapped[str] = mapped_column(String(16))  # local | volume
    device_name: Mapped[str | None] = mapped_column(String(64))
    device_type: Mapped[str | None] = mapped_column(String(16))  # disk | cdrom | lun
    disk_bus: Mapped[str | None] = mapped_column(String(16))
    guest_format: Mapped[str | None] = mapped_column(String(16))  # swap, ext4 …
    boot_index: Mapped[int | None]
    image_id: Mapped[str | None] = mapped_column(String(64))
    snapshot_id: Mapped[str | None] = mapped_column(String(64))
    volume_id: Mapped[str | None] = mapped_column(String(64), index=True)
    attachment_id: Mapped[str | None] = mapped_column(String(64))
    connection_json: Mapped[Json | None]  # where the host finds the volume, once it is connected
    size_gb: Mapped[int | None]
    tag: Mapped[Name | None]
    delete_on_termination: Mapped[int] = mapped_column(default=0)


class Flavor(Base):
    """A size that servers come in. Memory and swap in MiB, disks in GiB."""

    __tablename__ = "flavors"

    id: Mapped[Key]
    flavor_id: Mapped[Name] = mapped_column(unique=True)  # the API's id: any text
    name: Mapped[Name] = mapped_column(unique=True)
    vcpus: Mapped[int]
    memory_mb: Mapped[int]
    disk_gb: Mapped[int]
    ephemeral_gb: Mapped[int] = mapped_column(default=0)
    swap_mb: Mapped[int] = mapped_column(default=0)
    rxtx_factor: Mapped[float] = mapped_column(Float, default=1.0)
    is_public: Mapped[int] = mapped_column(default=1)
    disabled: Mapped[int] = mapped_column(default=0)
    description: Mapped[LongText | None]
    extra_specs_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class FlavorAccess(Base):
    """A project that may use a flavor which is not public."""

    __tablename__ = "flavor_access"
    __table_args__ = (UniqueConstraint("flavor_key", "project_id"),)

    id: Mapped[Key]
    flavor_key: Mapped[BigInt] = mapped_column(ForeignKey("flavors.id", ondelete="CASCADE"))
    project_id: Mapped[Id] = mapped_column(index=True)


class Keypair(Base):
    """A user's public key."""

    __tablename__ = "keypairs"
    __table_args__ = (UniqueConstraint("user_id", "name"),)

    id: Mapped[Key]
    user_id: Mapped[Id]
    name: Mapped[Name]
    type: Mapped[str] = mapped_column(String(8), default="ssh")  # ssh | x509
    fingerprint: Mapped[Name]
    public_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Time]


class PciClaim(Base):
    """A PCI device of a host that a server has; it goes with what the server takes of that host."""

    __tablename__ = "pci_claims"
    __table_args__ = (UniqueConstraint("host", "address"), Index("ix_pci_claims_server_id", "server_id"))

    id: Mapped[Key]
    server_id: Mapped[BigInt] = mapped_column(ForeignKey("servers.id"))
    host: Mapped[Name]
    address: Mapped[str] = mapped_column(String(16))  # 0000:04:10.2


class Allocation(Base):
    """What a server takes of a host. The host's counters are the sum of these; a resize holds two."""

    __tablename__ = "allocations"
    __table_args__ = (UniqueConstraint("server_id", "host", "role"), Index("ix_allocations_host", "host"))

    id: Mapped[Key]
    server_id: Mapped[BigInt] = mapped_column(ForeignKey("servers.id"))
    host: Mapped[Name]
    role: Mapped[str] = mapped_column(String(16), default="current")  # current | old | new
    vcpus: Mapped[int] = mapped_column(Integer)
    memory_mb: Mapped[int] = mapped_column(Integer)
    disk_gb: Mapped[int] = mapped_column(Integer)
