# SPDX-License-Identifier: Apache-2.0
"""What issuing and showing a token asks for: users and scopes, by id or by name and domain."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, select

from computeapi.db.models import Domain, Project, User

Statement = Select[*tuple[Any, ...]]


class Account(NamedTuple):
    """A user who wants in. `enabled` says that the domain is as well."""

    id: str
    name: str
    domain_id: str
    domain_name: str
    enabled: bool
    epoch: int
    password_hash: str | None
    default_project_id: str | None


class Scope(NamedTuple):
    """A project or a domain that a token is for. `enabled` says that a project's domain is as well."""

    kind: str
    id: str
    name: str
    domain_id: str
    domain_name: str
    enabled: bool
    epoch: int


def named(reference: Mapping[str, Any]) -> dict[str, str]:
    """A reference of the API, {"id"} or {"name", "domain": {"id" | "name"}}, as the conditions asked for here."""
    if "id" in reference:
        return {"id": reference["id"]}
    domain = reference["domain"]
    place = {"domain_id": domain["id"]} if "id" in domain else {"domain_name": domain["name"]}
    return {"name": reference["name"], **place}


def account(conn: Connection, wanted: Mapping[str, str]) -> Account | None:
    """The user of that id, or name and domain_id or domain_name."""
    statement: Statement = select(
        User.id,
        User.name,
        User.domain_id,
        Domain.name,
        User.enabled * Domain.enabled,
        User.epoch,
        User.password_hash,
        User.default_project_id,
    ).join(Domain, Domain.id == User.domain_id)
    row = conn.execute(_where(statement, User, wanted)).one_or_none()
    return Account(row[0], row[1], row[2], row[3], bool(row[4]), *row[5:]) if row else None


def project(conn: Connection, wanted: Mapping[str, str]) -> Scope | None:
    """The project of that id, or name and domain_id or domain_name."""
    statement: Statement = select(
        Project.id, Project.name, Project.domain_id, Domain.name, Project.enabled * Domain.enabled, Project.epoch
    ).join(Domain, Domain.id == Project.domain_id)
    row = conn.execute(_where(statement, Project, wanted)).one_or_none()
    return Scope("project", row[0], row[1], row[2], row[3], bool(row[4]), row[5]) if row else None


def domain(conn: Connection, wanted: Mapping[str, str]) -> Scope | None:
    """The domain of that id or name."""
    statement = select(Domain.id, Domain.name, Domain.enabled, Domain.epoch)
    column = Domain.id if "id" in wanted else Domain.name
    row = conn.execute(statement.where(column == next(iter(wanted.values())))).one_or_none()
    return Scope("domain", row[0], row[1], row[0], row[1], bool(row[2]), row[3]) if row else None


def _where(statement: Statement, model: Any, wanted: Mapping[str, str]) -> Statement:
    if "id" in wanted:
        return statement.where(model.id == wanted["id"])
    statement = statement.where(model.name == wanted["name"])
    if "domain_id" in wanted:
        return statement.where(model.domain_id == wanted["domain_id"])
    return statement.where(Domain.name == wanted["domain_name"])
