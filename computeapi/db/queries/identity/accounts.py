# SPDX-License-Identifier: Apache-2.0
"""Domains, projects, users and groups: one set of statements for the four, and what deleting each takes with it.
Roles and what the catalog registers are read and written by the same statements.

A row is a mapping of column names; `extra_json` in it is parsed as `extra`. Names are unique in their domain.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from computeapi import clock, errors
from computeapi.db.models import (
    ApplicationCredential,
    Assignment,
    Credential,
    Domain,
    Endpoint,
    Group,
    GroupMember,
    ImpliedRole,
    Limit,
    PolicyText,
    Project,
    Region,
    Role,
    Service,
    User,
)
from computeapi.db.queries.identity import inheritance, revocations

Row = dict[str, Any]

DEFAULT_DOMAIN = "default"
EVERYWHERE = ""  # domain_id of the roles of all domains
MAX_DEPTH = 5  # projects below each other, as Keystone's max_project_tree_depth

COLUMNS: dict[Any, tuple[Any, ...]] = {
    Domain: (Domain.id, Domain.name, Domain.description, Domain.enabled, Domain.extra_json),
    Project: (
        Project.id,
        Project.name,
        Project.domain_id,
        Project.parent_id,
        Project.description,
        Project.enabled,
        Project.tags_json,
        Project.extra_json,
    ),
    User: (User.id, User.name, User.domain_id, User.default_project_id, User.enabled, User.extra_json),
    Group: (Group.id, Group.name, Group.domain_id, Group.description, Group.extra_json),
    Role: (Role.id, Role.domain_id, Role.name, Role.description, Role.extra_json),
    Service: (Service.id, Service.type, Service.enabled, Service.extra_json),
    Endpoint: (
        Endpoint.id,
        Endpoint.service_id,
        Endpoint.interface,
        Endpoint.region_id,
        Endpoint.url,
        Endpoint.enabled,
        Endpoint.extra_json,
    ),
    PolicyText: (PolicyText.id, PolicyText.type, PolicyText.blob, PolicyText.extra_json),
    Region: (Region.id, Region.description, Region.parent_region_id, Region.extra_json),
}


def new_id() -> str:
    """An id as Keystone makes them: 32 hexadecimal digits."""
    return uuid.uuid4().hex


# --- reading ---


def find(conn: Connection, model: Any, key: str) -> Row | None:
    """The row of that id."""
    row = conn.execute(select(*COLUMNS[model]).where(model.id == key)).mappings().one_or_none()
    return _row(row) if row else None


def get(conn: Connection, model: Any, key: str) -> Row:
    """The row of that id. Raises NotFound."""
    row = find(conn, model, key)
    if row is None:
        raise missing(model, key)
    return row


def require(conn: Connection, model: Any, key: str) -> None:
    """Raise NotFound unless that id exists."""
    if conn.execute(select(model.id).where(model.id == key)).first() is None:
        raise missing(model, key)


def find_by_name(conn: Connection, model: Any, name: str, domain_id: str | None = None) -> Row | None:
    """The row of that name in its domain (domains have none; a role of all domains where none is said)."""
    statement = select(*COLUMNS[model]).where(model.name == name)
    if model is Role:
        domain_id = domain_id or EVERYWHERE
    if domain_id is not None:
        statement = statement.where(model.domain_id == domain_id)
    row = conn.execute(statement).mappings().one_or_none()
    return _row(row) if row else None


def listed(
    conn: Connection,
    model: Any,
    which: Sequence[ColumnElement[bool]],
    limit: int | None = None,
    marker: str | None = None,
) -> list[Row]:
    """Rows in the order of their ids, after `marker`, at most `limit`."""
    statement = select(*COLUMNS[model]).where(*which).order_by(model.id)
    if marker is not None:
        statement = statement.where(model.id > marker)
    return [_row(row) for row in conn.execute(statement.limit(limit)).mappings()]


def equal(model: Any, wanted: Mapping[str, Any]) -> list[ColumnElement[bool]]:
    """Conditions: each of these columns has that value."""
    return [getattr(model, name) == value for name, value in wanted.items()]


def projects_of(user_id: str) -> ColumnElement[bool]:
    """Condition: projects on which the user has a role, also by a group or by inheritance."""
    return Project.id.in_(inheritance.projects(holds(user_id)))


def domains_of(user_id: str) -> ColumnElement[bool]:
    """Condition: domains on which the user has a role, also by a group."""
    return Domain.id.in_(select(Assignment.target_id).where(Assignment.scope == "domain", holds(user_id)))


def groups_of(user_id: str) -> ColumnElement[bool]:
    """Condition: groups that the user is in."""
    return Group.id.in_(select(GroupMember.group_id).where(GroupMember.user_id == user_id))


def members_of(group_id: str) -> ColumnElement[bool]:
    """Condition: users in the group."""
    return User.id.in_(select(GroupMember.user_id).where(GroupMember.group_id == group_id))


def holds(user_id: str) -> ColumnElement[bool]:
    """Condition: assignments that the user has, also by a group."""
    mine = select(GroupMember.group_id).where(GroupMember.user_id == user_id)
    return or_(Assignment.user_id == user_id, Assignment.group_id.in_(mine))


def by_group(*which: ColumnElement[bool]) -> Any:
    """What members have roles on by those assignments: a SELECT of user_id, scope, target_id."""
    return (
        select(GroupMember.user_id, Assignment.scope, Assignment.target_id)
        .join(Assignment, Assignment.group_id == GroupMember.group_id)
        .where(*which)
    )


def tree(conn: Connection, domain_id: str) -> dict[str, str | None]:
    """Project → its parent, of all projects in the domain."""
    rows = conn.execute(select(Project.id, Project.parent_id).where(Project.domain_id == domain_id))
    return {row[0]: row[1] for row in rows}


def ancestors(parents: Mapping[str, str | None], project_id: str) -> list[str]:
    """The project's parent, the parent's parent and so on; the last is the domain."""
    found: list[str] = []
    parent = parents.get(project_id)
    while parent is not None and parent not in found:
        found.append(parent)
        parent = parents.get(parent)
    return found


def children(parents: Mapping[str, str | None], project_id: str) -> list[str]:
    """The projects right below."""
    return sorted(key for key, parent in parents.items() if parent == project_id)


# --- writing ---


def create(conn: Connection, model: Any, values: Mapping[str, Any]) -> Row:
    """A new row. `extra` is stored as JSON. Raises Conflict where the name is taken."""
    stored = _stored({"id": new_id(), "extra": {}, **values})
    if model is User:
        stored.setdefault("created_at", clock.now())
    try:
        conn.execute(insert(model).values(**stored))
    except IntegrityError:
        raise _taken(model, str(stored.get("name", stored["id"]))) from None
    return get(conn, model, stored["id"])


def change(conn: Connection, model: Any, key: str, values: Mapping[str, Any]) -> Row:
    """The row with these columns changed. Raises NotFound, and Conflict where the name is taken."""
    if values:
        try:
            conn.execute(update(model).where(model.id == key).values(**_stored(values)))
        except IntegrityError:
            raise _taken(model, str(values.get("name"))) from None
    return get(conn, model, key)


def lock(conn: Connection, model: Any, key: str) -> Row:
    """The row, locked until this transaction ends, to be changed by what it says. Raises NotFound."""
    row = conn.execute(select(*COLUMNS[model]).where(model.id == key).with_for_update()).mappings().one_or_none()
    if row is None:
        raise missing(model, key)
    return _row(row)


def insert_once(conn: Connection, model: Any, **values: Any) -> None:
    """A row that another may have made at this moment."""
    try:
        with conn.begin_nested():
            conn.execute(insert(model).values(**values))
    except IntegrityError:
        pass


def set_password(conn: Connection, user_id: str, password_hash: str | None, until: str) -> None:
    """Another password; all tokens of the user are revoked. Raises NotFound."""
    if not conn.execute(update(User).where(User.id == user_id).values(password_hash=password_hash)).rowcount:
        raise missing(User, user_id)
    revocations.revoke_users(conn, User.id == user_id, until)


def delete_user(conn: Connection, user_id: str, until: str) -> None:
    """Delete a user, its roles, memberships and credentials. Raises NotFound."""
    require(conn, User, user_id)
    _delete_users(conn, User.id == user_id, until)


def delete_group(conn: Connection, group_id: str, until: str) -> None:
    """Delete a group and its roles; the tokens that members have by it are revoked. Raises NotFound."""
    require(conn, Group, group_id)
    revocations.revoke_held(conn, by_group(Assignment.group_id == group_id), until)
    _delete_groups(conn, Group.id == group_id)


def delete_project(conn: Connection, project_id: str, until: str) -> None:
    """Delete a project and the roles on it. What it owns in other services stays. Raises NotFound, Forbidden."""
    require(conn, Project, project_id)
    if conn.execute(select(Project.id).where(Project.parent_id == project_id).limit(1)).first():
        raise errors.Forbidden(f"Project {project_id} has projects below it; delete those first.")
    _delete_projects(conn, Project.id == project_id, until)


def delete_domain(conn: Connection, domain_id: str, until: str) -> None:
    """Delete a disabled domain with all its projects, users and groups. Raises NotFound, Forbidden."""
    if lock(conn, Domain, domain_id)["enabled"]:
        raise errors.Forbidden("A domain that is enabled can't be deleted; disable it first.")
    if domain_id == DEFAULT_DOMAIN:
        raise errors.Forbidden("The default domain can't be deleted.")
    own_groups = select(Group.id).where(Group.domain_id == domain_id)
    revocations.revoke_held(conn, by_group(Assignment.group_id.in_(own_groups)), until)
    _delete_users(conn, User.domain_id == domain_id, until)
    _delete_groups(conn, Group.domain_id == domain_id)
    _delete_projects(conn, Project.domain_id == domain_id, until)
    _delete_assignments(conn, "domain", [domain_id])
    conn.execute(delete(Limit).where(Limit.domain_id == domain_id))
    delete_roles(conn, Role.domain_id == domain_id)  # nobody else has them: their tokens go with the domain
    revocations.bury(conn, Domain, Domain.id == domain_id, until)
    conn.execute(delete(Domain).where(Domain.id == domain_id))


def _delete_users(conn: Connection, which: ColumnElement[bool], until: str) -> None:
    ids = select(User.id).where(which)
    for model in (Assignment, GroupMember, ApplicationCredential, Credential):
        conn.execute(delete(model).where(model.user_id.in_(ids)))
    revocations.bury(conn, User, which, until)
    conn.execute(delete(User).where(which))


def delete_policy(conn: Connection, key: str) -> None:
    """Delete a policy. Raises NotFound."""
    if not conn.execute(delete(PolicyText).where(PolicyText.id == key)).rowcount:
        raise missing(PolicyText, key)


def delete_roles(conn: Connection, which: ColumnElement[bool]) -> None:
    """Delete roles, with what gives and implies them. Tokens that have them are the caller's to revoke."""
    ids = select(Role.id).where(which)
    conn.execute(delete(Assignment).where(Assignment.role_id.in_(ids)))
    conn.execute(
        delete(ImpliedRole).where(or_(ImpliedRole.prior_role_id.in_(ids), ImpliedRole.implied_role_id.in_(ids)))
    )
    conn.execute(delete(Role).where(which))


def _delete_groups(conn: Connection, which: ColumnElement[bool]) -> None:
    ids = select(Group.id).where(which)
    for model in (Assignment, GroupMember):
        conn.execute(delete(model).where(model.group_id.in_(ids)))
    conn.execute(delete(Group).where(which))


def _delete_projects(conn: Connection, which: ColumnElement[bool], until: str) -> None:
    ids = select(Project.id).where(which)
    _delete_assignments(conn, "project", ids)
    for model in (ApplicationCredential, Credential, Limit):
        conn.execute(delete(model).where(model.project_id.in_(ids)))
    conn.execute(update(User).where(User.default_project_id.in_(ids)).values(default_project_id=None))
    revocations.bury(conn, Project, which, until)
    conn.execute(delete(Project).where(which))


def _delete_assignments(conn: Connection, scope: str, ids: Any) -> None:
    scopes = (scope, inheritance.BELOW[scope])
    conn.execute(delete(Assignment).where(Assignment.scope.in_(scopes), Assignment.target_id.in_(ids)))


# --- members ---


def is_member(conn: Connection, group_id: str, user_id: str) -> bool:
    """Whether the user is in the group. Raises NotFound for a user or group that does not exist."""
    require(conn, Group, group_id)
    require(conn, User, user_id)
    return conn.execute(select(GroupMember.id).where(*_membership(group_id, user_id))).first() is not None


def add_member(conn: Connection, group_id: str, user_id: str) -> None:
    """Put a user in a group, where it may be already. Raises NotFound."""
    if not is_member(conn, group_id, user_id):
        insert_once(conn, GroupMember, group_id=group_id, user_id=user_id)


def remove_member(conn: Connection, group_id: str, user_id: str, until: str) -> None:
    """Take a user out of a group; the tokens that it has by the group are revoked. Raises NotFound."""
    if not is_member(conn, group_id, user_id):
        raise errors.NotFound(f"User {user_id} is not in group {group_id}.")
    lost = by_group(Assignment.group_id == group_id, GroupMember.user_id == user_id)
    revocations.revoke_held(conn, lost, until)
    conn.execute(delete(GroupMember).where(*_membership(group_id, user_id)))


def _membership(group_id: str, user_id: str) -> Iterable[ColumnElement[bool]]:
    return GroupMember.group_id == group_id, GroupMember.user_id == user_id


# --- helpers ---


def missing(model: Any, key: str) -> errors.NotFound:
    """The error that there is no such row."""
    return errors.NotFound(f"Could not find {_word(model)}: {key}.")


def _taken(model: Any, name: str) -> errors.Conflict:
    return errors.Conflict(f"There is a {_word(model)} named {name} already.")


def _word(model: Any) -> str:
    return str(model.__name__).lower()


def _row(row: Any) -> Row:
    found = dict(row)
    found["extra"] = orjson.loads(found.pop("extra_json"))
    return found


def _stored(values: Mapping[str, Any]) -> Row:
    stored = dict(values)
    if "extra" in stored:
        stored["extra_json"] = orjson.dumps(stored.pop("extra")).decode("utf-8")
    return stored
