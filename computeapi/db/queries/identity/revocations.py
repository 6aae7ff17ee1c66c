# SPDX-License-Identifier: Apache-2.0
"""Revoked tokens. A row stays until the tokens it is about have expired; expired rows go when the next is written."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, literal, select, update

from computeapi import clock
from computeapi.db.models import Domain, Project, Revocation, User
from computeapi.db.queries.identity import inheritance

Stamp = tuple[Any, ...]

FOR_EVER = 2**31 - 1  # an epoch that no token reaches: what it is about was deleted

_MARGIN = 60.0  # seconds that the clocks of two API machines may differ


def until(token_expiration: float) -> str:
    """When every token issued so far has expired."""
    return clock.shifted(token_expiration + _MARGIN)


def stamp(conn: Connection) -> Stamp:
    """Something that differs whenever the rows do, in whatever order transactions end, also if keys are used again."""
    key, end = Revocation.id, Revocation.expires_at
    return tuple(conn.execute(select(func.count(key), func.max(key), func.sum(key), func.max(end))).one())


def in_force(conn: Connection) -> dict[str, int]:
    """Subject → the epoch that its tokens must be of."""
    found: dict[str, int] = {}
    for subject, epoch in conn.execute(
        select(Revocation.subject, Revocation.epoch).where(Revocation.expires_at > clock.now())
    ):
        found[subject] = max(epoch, found.get(subject, 0))
    return found


def revoke(conn: Connection, subject: str, until: str, epoch: int = FOR_EVER) -> None:
    """Revoke all tokens of `subject` from before `epoch`."""
    purge(conn)
    conn.execute(insert(Revocation).values(subject=subject, epoch=epoch, expires_at=until))


def revoke_users(conn: Connection, which: ColumnElement[bool], until: str) -> None:
    """Revoke all tokens that the users `which` have now; later ones are valid."""
    conn.execute(update(User).where(which).values(epoch=User.epoch + 1))
    _copy(conn, "user:", User, which, until)


def revoke_held(conn: Connection, facts: Any, until: str) -> None:
    """Revoke users' tokens for what they hold a role on. `facts`: a SELECT of user_id, scope, target_id."""
    held = inheritance.spread(facts).subquery()
    conn.execute(update(User).where(User.id.in_(select(held.c.user_id))).values(epoch=User.epoch + 1))
    subject = literal("user:") + held.c.user_id + literal("@") + held.c.scope + literal(":") + held.c.target_id
    rows = select(subject, User.epoch, literal(until)).join(User, User.id == held.c.user_id)
    purge(conn)
    conn.execute(insert(Revocation).from_select(["subject", "epoch", "expires_at"], rows))


def revoke_projects(conn: Connection, which: ColumnElement[bool], until: str) -> None:
    """Revoke all tokens scoped to the projects `which`."""
    conn.execute(update(Project).where(which).values(epoch=Project.epoch + 1))
    _copy(conn, "project:", Project, which, until)


def revoke_domain(conn: Connection, domain_id: str, until: str) -> None:
    """Revoke all tokens scoped to a domain or its projects, and those of its users."""
    conn.execute(update(Domain).where(Domain.id == domain_id).values(epoch=Domain.epoch + 1))
    _copy(conn, "domain:", Domain, Domain.id == domain_id, until)
    revoke_projects(conn, Project.domain_id == domain_id, until)
    revoke_users(conn, User.domain_id == domain_id, until)


def bury(conn: Connection, model: Any, which: ColumnElement[bool], until: str) -> None:
    """Revoke for ever what belongs to rows that are about to be deleted. `model`: Domain, Project or User."""
    _copy(conn, f"{model.__name__.lower()}:", model, which, until, FOR_EVER)


def _copy(
    conn: Connection, prefix: str, model: Any, which: ColumnElement[bool], until: str, epoch: int | None = None
) -> None:
    purge(conn)
    value = model.epoch if epoch is None else literal(epoch)
    rows = select(literal(prefix) + model.id, value, literal(until)).where(which)
    conn.execute(insert(Revocation).from_select(["subject", "epoch", "expires_at"], rows))


def purge(conn: Connection) -> int:
    """Delete what would have expired by now anyway; how much."""
    return conn.execute(delete(Revocation).where(Revocation.expires_at <= clock.now())).rowcount
