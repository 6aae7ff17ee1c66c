# SPDX-License-Identifier: Apache-2.0
"""What a new cloud has: the default domain, the five roles, and the users admin and demo with their projects."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from computeapi.backends.identity import passwords
from computeapi.context import IMPLIED_ROLES
from computeapi.db.engine import Database
from computeapi.db.models import Domain, Project, Role, User
from computeapi.db.queries.identity import accounts, revocations, roles
from computeapi.db.queries.identity.roles import Grant

ROLES = {
    "admin": "Administers the whole cloud.",
    "manager": "Manages a project.",
    "member": "Uses a project.",
    "reader": "Reads in a project.",
    "service": "Is a service that acts for others.",
}


@dataclass(frozen=True, slots=True)
class Credentials:
    """What was made. A password is there only where it was set just now: it can't be read again."""

    admin_password: str | None
    demo_password: str | None


def ensure_defaults(db: Database, admin_password: str = "", token_expiration: float = 86_400) -> Credentials:
    """Make what a cloud needs and lacks; what is there stays as it is. The user demo is made with the user admin only.

    `admin_password` is set where the admin has another; "" generates one for a new admin only. Another password
    revokes the admin's tokens (`token_expiration`: the setting, in seconds).
    """
    with db.write() as conn:
        db.lock(conn, "identity defaults")
        if accounts.find(conn, Domain, accounts.DEFAULT_DOMAIN) is None:
            accounts.create(
                conn,
                Domain,
                {"id": accounts.DEFAULT_DOMAIN, "name": "Default", "description": "The default domain"},
            )
        role_ids = _roles(conn)
        admin_project = _project(conn, "admin")
        admin, made = _user(conn, "admin", admin_project, admin_password)
        roles.assign(conn, Grant("user", admin, "project", admin_project, role_ids["admin"]))
        roles.assign(conn, Grant("user", admin, "system", roles.SYSTEM, role_ids["admin"]))
        if made is not None:
            return Credentials(made, _try_outs(conn, role_ids["member"]))
        if admin_password and not _matches(conn, admin, admin_password):
            set_password(conn, admin, admin_password, token_expiration)
            return Credentials(admin_password, None)
    return Credentials(None, None)


def _try_outs(conn: Connection, role_id: str) -> str | None:
    """What a cloud has at first, and an operator may delete for good: demo, and the project service."""
    _project(conn, "service")
    project = _project(conn, "demo")
    user, password = _user(conn, "demo", project, "")
    roles.assign(conn, Grant("user", user, "project", project, role_id))
    return password


def add_user(conn: Connection, name: str, password: str, **attributes: Any) -> str:
    """A new user of the default domain, or of `domain_id`; its id. Raises Conflict, and BadRequest for the password."""
    stored = passwords.hashed(passwords.check_length(password))
    values = {"domain_id": accounts.DEFAULT_DOMAIN, "name": name, "password_hash": stored, **attributes}
    return str(accounts.create(conn, User, values)["id"])


def set_password(conn: Connection, user_id: str, password: str, token_expiration: float) -> None:
    """Another password for a user, whose tokens are revoked. Raises NotFound, and BadRequest for the password."""
    stored = passwords.hashed(passwords.check_length(password))
    accounts.set_password(conn, user_id, stored, revocations.until(token_expiration))


def _roles(conn: Connection) -> dict[str, str]:
    """Name → id of the five roles; each but the last implies the next weaker one."""
    found: dict[str, str] = {}
    for name, description in ROLES.items():
        row = accounts.find_by_name(conn, Role, name)
        if row is None:
            extra = {"options": {"immutable": True}}
            row = accounts.create(conn, Role, {"name": name, "description": description, "extra": extra})
        found[name] = row["id"]
    if not roles.implications(conn):
        for prior, implied in IMPLIED_ROLES.items():
            roles.imply(conn, found[prior], found[implied[0]])
    return found


def _project(conn: Connection, name: str) -> str:
    domain_id = accounts.DEFAULT_DOMAIN
    row = accounts.find_by_name(conn, Project, name, domain_id)
    if row is None:
        row = accounts.create(conn, Project, {"name": name, "domain_id": domain_id, "parent_id": domain_id})
    return str(row["id"])


def _user(conn: Connection, name: str, project_id: str, password: str) -> tuple[str, str | None]:
    """The user's id, and its password where it was made just now."""
    row = accounts.find_by_name(conn, User, name, accounts.DEFAULT_DOMAIN)
    if row is not None:
        return row["id"], None
    password = password or secrets.token_urlsafe(16)
    return add_user(conn, name, password, default_project_id=project_id), password


def _matches(conn: Connection, user_id: str, password: str) -> bool:
    return passwords.matches(password, conn.execute(select(User.password_hash).where(User.id == user_id)).scalar_one())
