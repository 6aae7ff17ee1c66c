# SPDX-License-Identifier: Apache-2.0
"""Roles, what they imply, and who has which on what.

A scope is "project", "domain" or "system", or what projects inherit (`inheritance`); its target an id, for the system
"all". An actor is "user" or "group".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    String,
    and_,
    case,
    delete,
    literal,
    select,
    union,
    union_all,
)
from sqlalchemy.orm import aliased

from computeapi import errors
from computeapi.db.models import Assignment, Domain, Group, GroupMember, ImpliedRole, Project, Role, User
from computeapi.db.queries.identity import accounts, inheritance, revocations

SYSTEM = "all"

_TARGETS: dict[str, Any] = {"project": Project, "domain": Domain, "subtree": Project, "projects": Domain}
_ACTORS: dict[str, Any] = {"user": User, "group": Group}


Statement = Select[*tuple[Any, ...]]


class Grant(NamedTuple):
    """Who has (or may get) which role on what."""

    actor: str
    actor_id: str
    scope: str
    target_id: str
    role_id: str = ""


# --- what roles imply ---


def implications(conn: Connection) -> list[tuple[str, str]]:
    """Every (prior role, implied role), by id."""
    rows = conn.execute(
        select(ImpliedRole.prior_role_id, ImpliedRole.implied_role_id).order_by(ImpliedRole.prior_role_id)
    )
    return [(row[0], row[1]) for row in rows]


def closure(pairs: Iterable[tuple[str, str]], role_ids: Collection[str]) -> set[str]:
    """These roles and all that they imply."""
    found = set(role_ids)
    following: dict[str, set[str]] = {}
    for prior, implied in pairs:
        following.setdefault(prior, set()).add(implied)
    waiting = list(found)
    while waiting:
        new = following.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found


def imply(conn: Connection, prior_id: str, implied_id: str) -> None:
    """Make a role imply another, which it may do already.

    Raises NotFound; Forbidden where that is admin, or a domain's own and the first is not.
    """
    prior, implied = accounts.get(conn, Role, prior_id), accounts.get(conn, Role, implied_id)
    narrower = implied["domain_id"] and not prior["domain_id"]
    if implied["name"].lower() == "admin" or prior_id == implied_id or narrower:
        raise errors.Forbidden(f"Role {implied['name']} can't be implied by that role.")
    if (prior_id, implied_id) not in implications(conn):
        accounts.insert_once(conn, ImpliedRole, prior_role_id=prior_id, implied_role_id=implied_id)


def imply_no_more(conn: Connection, prior_id: str, implied_id: str, until: str) -> None:
    """End that; the tokens of those who have the prior role are revoked. Raises NotFound."""
    which = and_(ImpliedRole.prior_role_id == prior_id, ImpliedRole.implied_role_id == implied_id)
    revoke_holders(conn, prior_id, until)
    if not conn.execute(delete(ImpliedRole).where(which)).rowcount:
        raise errors.NotFound(f"Role {prior_id} does not imply {implied_id}.")


# --- roles ---


def names(conn: Connection, role_ids: Collection[str]) -> dict[str, str]:
    """Id → name of those of these roles that exist."""
    rows = conn.execute(select(Role.id, Role.name).where(Role.id.in_(role_ids)).order_by(Role.name))
    return {row[0]: row[1] for row in rows}


def everywhere(conn: Connection, role_ids: Collection[str]) -> dict[str, str]:
    """Id → name of those of these roles that are no domain's own: tokens have these alone."""
    which = (Role.id.in_(role_ids), Role.domain_id == accounts.EVERYWHERE)
    return {row[0]: row[1] for row in conn.execute(select(Role.id, Role.name).where(*which).order_by(Role.name))}


def by_names(conn: Connection, wanted: Collection[str]) -> dict[str, str]:
    """Name → id of those of these roles that exist and are no domain's own."""
    everywhere = Role.domain_id == accounts.EVERYWHERE
    rows = conn.execute(select(Role.name, Role.id).where(everywhere, Role.name.in_(wanted)).order_by(Role.name))
    return {row[0]: row[1] for row in rows}


def revoke_holders(conn: Connection, role_id: str, until: str) -> None:
    """Revoke the tokens that give the role to somebody, directly, by a group, or by a role that implies it."""
    revocations.revoke_held(conn, _held(conn, role_id), until)


def delete_role(conn: Connection, role_id: str, until: str) -> None:
    """Delete a role and every assignment of it. Raises NotFound."""
    accounts.require(conn, Role, role_id)
    revoke_holders(conn, role_id, until)
    accounts.delete_roles(conn, Role.id == role_id)


def _held(conn: Connection, role_id: str) -> Any:
    """Who has the role on what, also by a group or an implying role: a SELECT of user_id, scope, target_id."""
    priors = closure(((implied, prior) for prior, implied in implications(conn)), {role_id})
    having = Assignment.role_id.in_(priors)
    own = select(Assignment.user_id, Assignment.scope, Assignment.target_id)
    return union(own.where(having, Assignment.user_id.is_not(None)), accounts.by_group(having))


# --- who has which ---


def holders(conn: Connection, name: str) -> set[str]:
    """The ids of the enabled users who have the role of that name somewhere, also by a group or an implying role."""
    role_id = by_names(conn, [name]).get(name)
    if role_id is None:
        return set()
    enabled = select(User.id).where(User.enabled == 1)
    return {row[0] for row in conn.execute(_held(conn, role_id))} & set(conn.execute(enabled).scalars())


def require(conn: Connection, grant: Grant) -> None:
    """Raise NotFound unless the actor, the target and the role exist."""
    if grant.role_id:
        accounts.require(conn, Role, grant.role_id)
    accounts.require(conn, _ACTORS[grant.actor], grant.actor_id)
    if grant.scope != "system":
        accounts.require(conn, _TARGETS[grant.scope], grant.target_id)


def check_domain(conn: Connection, grant: Grant) -> None:
    """Raise Forbidden where a domain's own role would be given elsewhere (keystone/assignment asks it of projects)."""
    domain_id = accounts.get(conn, Role, grant.role_id)["domain_id"]
    if not domain_id:
        return
    place = grant.target_id
    if _TARGETS.get(grant.scope) is Project:
        place = accounts.get(conn, Project, grant.target_id)["domain_id"]
    if place != domain_id:
        raise errors.Forbidden(
            f"{grant.scope.title()} {grant.target_id} must be in the same domain as the role {grant.role_id} being "
            "assigned."
        )


def held(conn: Connection, grant: Grant) -> list[accounts.Row]:
    """The roles that the actor has there, without those of its groups and without implied ones."""
    ids = select(Assignment.role_id).where(_same(grant))
    return accounts.listed(conn, Role, [Role.id.in_(ids)])


def is_held(conn: Connection, grant: Grant) -> bool:
    """Whether the actor has this role there, itself."""
    statement = select(Assignment.id).where(_same(grant), Assignment.role_id == grant.role_id)
    return conn.execute(statement).first() is not None


def effective(conn: Connection, user_id: str, scope: str, target_id: str) -> dict[str, str]:
    """Id → name of all roles that a user has there: its own, its groups', inherited ones, and what these imply.

    Of a domain's own roles only what they imply.
    """
    here = and_(Assignment.scope == scope, Assignment.target_id == target_id)
    there = inheritance.of_project(target_id) if scope == "project" else here
    direct = set(conn.execute(select(Assignment.role_id).where(there, accounts.holds(user_id))).scalars())
    return everywhere(conn, closure(implications(conn), direct)) if direct else {}


def assign(conn: Connection, grant: Grant) -> None:
    """Give the role, which the actor may have already."""
    if not is_held(conn, grant):
        values = {f"{grant.actor}_id": grant.actor_id, "scope": grant.scope, "target_id": grant.target_id}
        accounts.insert_once(conn, Assignment, role_id=grant.role_id, **values)


def unassign(conn: Connection, grant: Grant, until: str) -> None:
    """Take the role away and revoke the tokens that those who had it have for the target. Raises NotFound."""
    which = (_same(grant), Assignment.role_id == grant.role_id)
    if grant.actor == "user":
        lost: Any = select(Assignment.user_id, Assignment.scope, Assignment.target_id).where(*which)
    else:
        lost = accounts.by_group(*which)
    revocations.revoke_held(conn, lost, until)
    if not conn.execute(delete(Assignment).where(*which)).rowcount:
        raise errors.NotFound(f"The {grant.actor} {grant.actor_id} has no role {grant.role_id} there.")


def _same(grant: Grant) -> ColumnElement[bool]:
    actor = Assignment.user_id if grant.actor == "user" else Assignment.group_id
    return and_(actor == grant.actor_id, Assignment.scope == grant.scope, Assignment.target_id == grant.target_id)


# --- the list of all assignments ---


def assignments(
    conn: Connection,
    wanted: Mapping[str, str | Sequence[str]],
    *,
    effective: bool = False,
    inherited: bool | None = None,
) -> list[accounts.Row]:
    """Assignments with the names of all they are about.

    `wanted` may ask for user_id, group_id, role_id, scope, and target_id (one or several). What is inherited says from
    where: origin_scope and origin_id. With `effective` it is shown for each project that inherits it, and what groups
    have for each member (`via_group`); what roles imply is left to the caller, and so is role_id.
    """
    facts = (_expanded() if effective else _direct()).subquery()
    user_domain, group_domain, project_domain = aliased(Domain), aliased(Domain), aliased(Domain)
    statement: Statement = (
        select(
            *facts.c,
            Role.name.label("role_name"),
            User.name.label("user_name"),
            user_domain.id.label("user_domain_id"),
            user_domain.name.label("user_domain_name"),
            Group.name.label("group_name"),
            group_domain.id.label("group_domain_id"),
            group_domain.name.label("group_domain_name"),
            Project.name.label("project_name"),
            project_domain.id.label("project_domain_id"),
            project_domain.name.label("project_domain_name"),
            Domain.name.label("domain_name"),
        )
        .join(Role, Role.id == facts.c.role_id)
        .outerjoin(User, User.id == facts.c.user_id)
        .outerjoin(user_domain, user_domain.id == User.domain_id)
        .outerjoin(Group, Group.id == facts.c.group_id)
        .outerjoin(group_domain, group_domain.id == Group.domain_id)
        .outerjoin(Project, and_(facts.c.scope == "project", Project.id == facts.c.target_id))
        .outerjoin(project_domain, project_domain.id == Project.domain_id)
        .outerjoin(Domain, and_(facts.c.scope == "domain", Domain.id == facts.c.target_id))
        .order_by(facts.c.id, facts.c.user_id, facts.c.target_id)
    )
    if inherited is not None:
        statement = statement.where(facts.c.origin_id.is_not(None) if inherited else facts.c.origin_id.is_(None))
    for name, value in wanted.items():
        if effective and name == "role_id":
            continue
        column = facts.c[name]
        statement = statement.where(column == value if isinstance(value, str) else column.in_(value))
    return [dict(row) for row in conn.execute(statement).mappings()]


_INHERITED = Assignment.scope.in_(inheritance.SCOPES)
_NOBODY = literal(None, String)
_PLACE = case(
    *[(Assignment.scope == below, scope) for scope, below in inheritance.BELOW.items()], else_=Assignment.scope
)


def _facts(*, user: Any, group: Any, via: Any, scope: Any = _PLACE, target: Any = Assignment.target_id) -> Statement:
    return select(
        Assignment.id,
        user.label("user_id"),
        group.label("group_id"),
        via.label("via_group"),
        scope.label("scope"),
        target.label("target_id"),
        Assignment.role_id,
        case((_INHERITED, _PLACE)).label("origin_scope"),
        case((_INHERITED, Assignment.target_id)).label("origin_id"),
    )


def _direct() -> Statement:
    return _facts(user=Assignment.user_id, group=Assignment.group_id, via=_NOBODY)


def _expanded() -> Any:
    below = inheritance.below(select(Assignment.target_id).where(_INHERITED))
    itself: dict[str, Any] = {"user": Assignment.user_id, "group": _NOBODY, "via": _NOBODY}
    members: dict[str, Any] = {"user": GroupMember.user_id, "group": _NOBODY, "via": Assignment.group_id}
    heir: dict[str, Any] = {"scope": literal("project"), "target": below.c.project_id}
    by_group = GroupMember.group_id == Assignment.group_id
    inherits = and_(_INHERITED, below.c.top == Assignment.target_id)
    mine = Assignment.user_id.is_not(None)
    return union_all(
        _facts(**itself).where(mine, ~_INHERITED),
        _facts(**itself, **heir).join(below, inherits).where(mine),
        _facts(**members).join(GroupMember, by_group).where(~_INHERITED),
        _facts(**members, **heir).join(GroupMember, by_group).join(below, inherits),
    )
