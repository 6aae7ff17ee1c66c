# SPDX-License-Identifier: Apache-2.0
"""The embedded image service: images, their properties, who shares them, their tags.

The bytes are files in the state directory (computeapi/backends/image/files.py).
"""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Key, LongText, Name, Time, Uuid


class Image(Base):
    """An image. Sizes in bytes, min_disk in GiB, min_ram in MiB."""

    __tablename__ = "images"
    __table_args__ = (Index("ix_images_list", "deleted", "created_at", "id"), Index("ix_images_owner", "owner"))

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)
    name: Mapped[Name | None]
    status: Mapped[str] = mapped_column(String(32))  # queued | saving | uploading | active | deactivated | deleted
    visibility: Mapped[str] = mapped_column(String(16))  # public | private | shared | community
    owner: Mapped[Name | None]
    disk_format: Mapped[str | None] = mapped_column(String(16))
    container_format: Mapped[str | None] = mapped_column(String(16))
    size: Mapped[BigInt | None]
    virtual_size: Mapped[BigInt | None]
    checksum: Mapped[str | None] = mapped_column(String(32))  # md5
    os_hash_algo: Mapped[str | None] = mapped_column(String(16))
    os_hash_value: Mapped[str | None] = mapped_column(String(128))
    min_disk: Mapped[int] = mapped_column(default=0)
    min_ram: Mapped[int] = mapped_column(default=0)
    protected: Mapped[int] = mapped_column(default=0)
    os_hidden: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Time]
    updated_at: Mapped[Time]
    deleted_at: Mapped[Time | None]
    deleted: Mapped[int] = mapped_column(default=0)


class ImageProperty(Base):
    """What else is said of an image (`hw_disk_bus`, …). A table, since lists are filtered by any of them."""

    __tablename__ = "image_properties"
    __table_args__ = (UniqueConstraint("image_key", "name"), Index("ix_image_properties_name", "name"))

    id: Mapped[Key]
    image_key: Mapped[BigInt] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    name: Mapped[Name]
    value: Mapped[LongText]


class ImageMember(Base):
    """A project that an image is shared with."""

    __tablename__ = "image_members"
    __table_args__ = (UniqueConstraint("image_key", "member"),)

    id: Mapped[Key]
    image_key: Mapped[BigInt] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    member: Mapped[Name] = mapped_column(index=True)
    status: Mapped[str] = mapped_column(String(16), default="pending")  # pending | accepted | rejected
    created_at: Mapped[Time]
    updated_at: Mapped[Time]


class ImageTag(Base):
    """A word on an image."""

    __tablename__ = "image_tags"
    __table_args__ = (UniqueConstraint("image_key", "tag"), Index("ix_image_tags_tag", "tag"))

    id: Mapped[Key]
    image_key: Mapped[BigInt] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    tag: Mapped[Name]
