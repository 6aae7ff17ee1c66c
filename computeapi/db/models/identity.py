# SPDX-License-Identifier: Apache-2.0
"""The embedded identity service: domains, projects, users, groups, roles, who has which, and what was revoked.

`epoch` counts how often all tokens of a user, or for a project or domain, were revoked: a token carries the epochs it
was issued in, so revoking needs no agreement on the time between machines. `extra_json` holds the attributes that a
client sent and we do not know (Keystone keeps and shows them).
"""

from __future__ import annotations

from sqlalchemy import Index, Integer, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Id, Json, Key, LongText, Name, Time


class Domain(Base):
    """A namespace of projects and users; "default" always exists."""

    __tablename__ = "domains"

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name] = mapped_column(unique=True)
    description: Mapped[LongText] = mapped_column(default="")
    enabled: Mapped[int] = mapped_column(default=1)
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    extra_json: Mapped[Json] = mapped_column(default="{}")


class Project(Base):
    """A tenant: what owns servers, images and networks. `parent_id` is a project's, or the domain's at the top."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("domain_id", "name"), Index("ix_projects_parent_id", "parent_id"))

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    domain_id: Mapped[Id]
    parent_id: Mapped[Id | None]
    description: Mapped[LongText] = mapped_column(default="")
    enabled: Mapped[int] = mapped_column(default=1)
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    tags_json: Mapped[Json] = mapped_column(default="[]")
    extra_json: Mapped[Json] = mapped_column(default="{}")


class User(Base):
    """Somebody who can log in. `password_hash` is bcrypt's; e-mail and description are among the extra attributes."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    domain_id: Mapped[Id]
    default_project_id: Mapped[Id | None]
    enabled: Mapped[int] = mapped_column(default=1)
    epoch: Mapped[int] = mapped_column(Integer, default=0)
    password_hash: Mapped[str | None] = mapped_column(Text)
    extra_json: Mapped[Json] = mapped_column(default="{}")
    created_at: Mapped[Time]


class Group(Base):
    """Users who get roles together."""

    __tablename__ = "user_groups"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    name: Mapped[Name]
    domain_id: Mapped[Id]
    description: Mapped[LongText] = mapped_column(default="")
    extra_json: Mapped[Json] = mapped_column(default="{}")


class GroupMember(Base):
    """A user is in a group."""

    __tablename__ = "user_group_members"
    __table_args__ = (UniqueConstraint("user_id", "group_id"), Index("ix_user_group_members_group_id", "group_id"))

    id: Mapped[Key]
    user_id: Mapped[Id]
    group_id: Mapped[Id]


class Role(Base):
    """A name that policy rules ask for; of a domain's own role they never hear, only of what it implies."""

    __tablename__ = "roles"
    __table_args__ = (UniqueConstraint("domain_id", "name"),)

    id: Mapped[Id] = mapped_column(primary_key=True)
    domain_id: Mapped[Id] = mapped_column(default="")  # "": a role of all domains
    name: Mapped[Name]
    description: Mapped[LongText | None]
    extra_json: Mapped[Json] = mapped_column(default="{}")


class ImpliedRole(Base):
    """Who has the prior role has the implied one as well (and what that implies)."""

    __tablename__ = "implied_roles"

    prior_role_id: Mapped[Id] = mapped_column(primary_key=True)
    implied_role_id: Mapped[Id] = mapped_column(primary_key=True)


class Assignment(Base):
    """A user or a group has a role on a project, a domain, or the system (scope "system", target "all"); or on what is
    below its target (queries/identity/inheritance.py)."""

    __tablename__ = "assignments"
    __table_args__ = (
        UniqueConstraint("user_id", "scope", "target_id", "role_id"),
        UniqueConstraint("group_id", "scope", "target_id", "role_id"),
        Index("ix_assignments_target", "scope", "target_id"),
        Index("ix_assignments_role_id", "role_id"),
    )

    id: Mapped[Key]
    user_id: Mapped[Id | None]
    group_id: Mapped[Id | None]
    scope: Mapped[str] = mapped_column(String(8))  # project | domain | system | subtree | projects
    target_id: Mapped[Id]
    role_id: Mapped[Id]


class ApplicationCredential(Base):
    """A secret by which a program logs in as a user, on one project, with some of the user's roles."""

    __tablename__ = "application_credentials"
    __table_args__ = (
        UniqueConstraint("user_id", "name"),
        Index("ix_application_credentials_project_id", "project_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    user_id: Mapped[Id]
    project_id: Mapped[Id]
    name: Mapped[Name]
    description: Mapped[LongText | None]
    secret_hash: Mapped[str] = mapped_column(Text)
    unrestricted: Mapped[int | None]
    expires_at: Mapped[Time | None]
    role_ids_json: Mapped[Json]


class Credential(Base):
    """A secret that a user keeps here for other programs; of type ec2 its id is the access key's SHA-256."""

    __tablename__ = "credentials"
    __table_args__ = (Index("ix_credentials_user_id", "user_id"), Index("ix_credentials_project_id", "project_id"))

    id: Mapped[Id] = mapped_column(primary_key=True)
    user_id: Mapped[Id]
    project_id: Mapped[Id | None]
    type: Mapped[Name]
    sealed_blob: Mapped[str] = mapped_column(Text)


class Revocation(Base):
    """Tokens that are valid no more: those of `subject` from before its `epoch`, until they would have expired anyway.

    Subjects: "user:<id>", "project:<id>", "domain:<id>", "credential:<id>", "audit:<id>" for one token, or
    "user:<id>@<scope>:<id>" for a user's tokens for one project, domain, or "system:all" (its epoch is the user's).
    """

    __tablename__ = "revocations"

    id: Mapped[Key]
    subject: Mapped[str] = mapped_column(String(80))
    epoch: Mapped[BigInt]
    expires_at: Mapped[Time] = mapped_column(index=True)


class Service(Base):
    """A service of others in the catalog. Those that this program serves are no rows (api/identity/catalog.py)."""

    __tablename__ = "catalog_services"

    id: Mapped[Id] = mapped_column(primary_key=True)
    type: Mapped[Name]
    enabled: Mapped[int] = mapped_column(default=1)
    extra_json: Mapped[Json] = mapped_column(default="{}")  # its name and description are here


class Endpoint(Base):
    """Where such a service is, or another cloud's service of a type of ours. `url` may have %(project_id)s in it."""

    __tablename__ = "catalog_endpoints"
    __table_args__ = (
        Index("ix_catalog_endpoints_service_id", "service_id"),
        Index("ix_catalog_endpoints_region_id", "region_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    service_id: Mapped[Id]
    interface: Mapped[str] = mapped_column(String(8))  # public | internal | admin
    region_id: Mapped[Name | None]
    url: Mapped[LongText]
    enabled: Mapped[int] = mapped_column(default=1)
    extra_json: Mapped[Json] = mapped_column(default="{}")


class Region(Base):
    """A region of endpoints; our own, RegionOne, is no row."""

    __tablename__ = "catalog_regions"

    id: Mapped[Name] = mapped_column(primary_key=True)
    description: Mapped[LongText] = mapped_column(default="")
    parent_region_id: Mapped[Name | None]
    extra_json: Mapped[Json] = mapped_column(default="{}")


class PolicyText(Base):
    """What other programs keep here for themselves: keystone's policies."""

    __tablename__ = "policies"

    id: Mapped[Id] = mapped_column(primary_key=True)
    type: Mapped[Name]
    blob: Mapped[LongText]
    extra_json: Mapped[Json] = mapped_column(default="{}")


class RegisteredLimit(Base):
    """The default of a unified limit: how much of a resource a project may have of a service."""

    __tablename__ = "registered_limits"

    id: Mapped[Id] = mapped_column(primary_key=True)
    service_id: Mapped[Id]
    region_id: Mapped[Name | None]
    resource_name: Mapped[Name]
    default_limit: Mapped[BigInt]
    description: Mapped[LongText | None]


class Limit(Base):
    """A unified limit of one project or domain, in place of the registered default."""

    __tablename__ = "limits"
    __table_args__ = (
        UniqueConstraint("project_id", "registered_limit_id"),
        UniqueConstraint("domain_id", "registered_limit_id"),
        Index("ix_limits_registered_limit_id", "registered_limit_id"),
    )

    id: Mapped[Id] = mapped_column(primary_key=True)
    project_id: Mapped[Id | None]
    domain_id: Mapped[Id | None]
    registered_limit_id: Mapped[Id]
    resource_limit: Mapped[BigInt]
    description: Mapped[LongText | None]
