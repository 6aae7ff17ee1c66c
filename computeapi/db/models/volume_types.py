# SPDX-License-Identifier: Apache-2.0
"""Who may use which volume types, projects' default types, and projects' limits of what the Block Storage API has."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Key, Name, Uuid


class VolumeTypeAccess(Base):
    """A project that may use a volume type which is not public."""

    __tablename__ = "volume_type_access"
    __table_args__ = (UniqueConstraint("type_key", "project_id"),)

    id: Mapped[Key]
    type_key: Mapped[BigInt] = mapped_column(ForeignKey("volume_types.id", ondelete="CASCADE"))
    project_id: Mapped[Id] = mapped_column(index=True)


class VolumeDefaultType(Base):
    """The type of a project's volumes where none is asked for."""

    __tablename__ = "volume_default_types"

    id: Mapped[Key]
    project_id: Mapped[Id] = mapped_column(unique=True)
    type_id: Mapped[Uuid]


class VolumeQuota(Base):
    """A limit of its own that a project has, or else the quota class "default"; where there is none the setting counts.

    One of the two names is "": a class has no project.
    """

    __tablename__ = "volume_quotas"
    __table_args__ = (UniqueConstraint("project_id", "class_name", "resource"),)

    id: Mapped[Key]
    project_id: Mapped[Id] = mapped_column(default="")
    class_name: Mapped[str] = mapped_column(String(64), default="")
    resource: Mapped[Name]
    most: Mapped[int]  # -1: no limit
