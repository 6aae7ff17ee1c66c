# SPDX-License-Identifier: Apache-2.0
"""Block storage: volumes, their snapshots, types and attachments.

A volume's bytes are one file in a pool of one host, or of all hosts where they share one (the setting
volume_directory). Statuses are Cinder's. A volume that is deleted has no row any more.
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, LongText, Name, Time, Uuid


class VolumeType(Base):
    """A kind of volume that one may ask for; it says nothing to the embedded service, which has one kind."""

    __tablename__ = "volume_types"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    name: Mapped[Name] = mapped_column(unique=True)
    description: Mapped[LongText | None]
    is_public: Mapped[int] = mapped_column(default=1)
    extra_specs_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class Volume(Base):
    """A volume. Its lane in the journal is its negative key (`computeapi.journal.volume_lane`)."""

    __tablename__ = "volumes"
    __table_args__ = (
        Index("ix_volumes_project_list", "project_id", "created_at", "id"),
        Index("ix_volumes_list", "created_at", "id"),
        Index("ix_volumes_host", "host"),
    )

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    project_id: Mapped[Id]
    user_id: Mapped[Id]
    name: Mapped[Name | None]
    description: Mapped[LongText | None]
    size_gb: Mapped[int]
    status: Mapped[str] = mapped_column(String(32))  # creating | available | reserved | in-use | deleting | error | …
    message: Mapped[LongText | None]  # why it is in error
    bootable: Mapped[int] = mapped_column(default=0)
    read_only: Mapped[int | None]  # NULL: nobody said
    type_id: Mapped[Uuid | None]
    availability_zone: Mapped[Name | None]
    host: Mapped[Name | None]  # whose compute service works on it; unless hosts share, only its guests can have it
    source_volume_id: Mapped[Uuid | None]  # what it was made from: a volume,
    snapshot_id: Mapped[Uuid | None] = mapped_column(index=True)  # a snapshot,
    image_id: Mapped[str | None] = mapped_column(String(64))  # an image; or blank
    image_json: Mapped[Json] = mapped_column(default="{}")  # the image's properties (volume_image_metadata)
    metadata_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class VolumeSnapshot(Base):
    """What a volume held at a moment, as a file of its own beside the volume's."""

    __tablename__ = "volume_snapshots"
    __table_args__ = (
        Index("ix_volume_snapshots_project_list", "project_id", "created_at", "id"),
        Index("ix_volume_snapshots_list", "created_at", "id"),
    )

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    volume_id: Mapped[Uuid] = mapped_column(index=True)
    project_id: Mapped[Id]
    user_id: Mapped[Id]
    name: Mapped[Name | None]
    description: Mapped[LongText | None]
    size_gb: Mapped[int]
    status: Mapped[str] = mapped_column(String(32))  # creating | available | deleting | error | error_deleting
    progress: Mapped[str | None] = mapped_column(String(4))  # as somebody told it; NULL: what the status says
    message: Mapped[LongText | None]
    metadata_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class VolumeAttachment(Base):
    """A server has a volume, or is about to. block_devices.attachment_id is its `uuid`: the server's side of it."""

    __tablename__ = "volume_attachments"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    volume_id: Mapped[Uuid] = mapped_column(index=True)
    project_id: Mapped[Id]
    server_id: Mapped[Uuid | None] = mapped_column(index=True)  # the API's id
    status: Mapped[str] = mapped_column(String(32))  # reserved | attaching | attached | detaching
    device: Mapped[Name | None]  # mountpoint: /dev/vdb
    mode: Mapped[str] = mapped_column(String(8), default="rw")
    connector_json: Mapped[Json] = mapped_column(default="{}")
    attached_at: Mapped[Time | None]
    created_at: Mapped[Time]
    updated_at: Mapped[Time | None]


class VolumeTransfer(Base):
    """A volume offered to whoever knows the key: `key_hash` is its SHA-256, in hexadecimal, with `salt` before it."""

    __tablename__ = "volume_transfers"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    volume_key: Mapped[BigInt] = mapped_column(ForeignKey("volumes.id", ondelete="CASCADE"), index=True)
    volume_id: Mapped[Uuid]
    project_id: Mapped[Id] = mapped_column(index=True)  # who offers it
    name: Mapped[Name | None]
    salt: Mapped[str] = mapped_column(String(32))
    key_hash: Mapped[str] = mapped_column(String(64))
    no_snapshots: Mapped[int] = mapped_column(default=0)  # 1: they stay where they are
    created_at: Mapped[Time]
