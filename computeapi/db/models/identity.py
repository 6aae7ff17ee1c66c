# SPDX-License-Identifier: Apache-2.0
"""The embedded identity service: domains, projects, users, roles, who has which, and what was revoked."""

from __future__ import annotations

from sqlalchemy import Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, Id, Json, Key, LongText, Name, Time


class Domain(Base):
    """A namespace of projects and users; "default" always exists."""

    __tablename__ = "domains"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name] = mapped_column(unique=True)
    description: Mapped[LongText] = mapped_column(default="")
    enabled: Mapped[int] = mapped_column(default=1)


class Project(Base):
    """A tenant: what owns servers, images and networks."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    domain_id: Mapped[Id]
    parent_id: Mapped[Id | None]
    description: Mapped[LongText] = mapped_column(default="")
    enabled: Mapped[int] = mapped_column(default=1)
    tags_json: Mapped[Json] = mapped_column(default="[]")
    extra_json: Mapped[Json] = mapped_column(default="{}")


class User(Base):
    """Somebody who can log in. `password_hash` is bcrypt's."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    domain_id: Mapped[Id]
    default_project_id: Mapped[Id | None]
    description: Mapped[LongText] = mapped_column(default="")
    email: Mapped[Name | None]
    enabled: Mapped[int] = mapped_column(default=1)
    password_hash: Mapped[str | None] = mapped_column(Text)
    extra_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]


class Role(Base):
    """A name that policy rules ask for."""

    __tablename__ = "roles"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name] = mapped_column(unique=True)
    description: Mapped[LongText] = mapped_column(default="")


class Assignment(Base):
    """A user has a role on a project, a domain, or the system (the target "system:all")."""

    __tablename__ = "assignments"
    __table_args__ = (UniqueConstraint("user_id", "target", "role_id"), Index("ix_assignments_target", "target"))

    id: Mapped[Key]
    user_id: Mapped[Id]
    target: Mapped[str] = mapped_column(String(80))  # "project:<id>" | "domain:<id>" | "system:all"
    role_id: Mapped[Id]


class Revocation(Base):
    """Tokens that are valid no more: one (by audit id), or all of a user or project issued before a moment."""

    __tablename__ = "revocations"

    id: Mapped[Key]
    audit_id: Mapped[str | None] = mapped_column(String(64))
    user_id: Mapped[Id | None]
    project_id: Mapped[Id | None]
    issued_before: Mapped[Time]
    expires_at: Mapped[Time] = mapped_column(index=True)
