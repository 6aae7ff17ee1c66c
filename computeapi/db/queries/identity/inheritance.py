# SPDX-License-Identifier: Apache-2.0
"""Roles that a project's or a domain's projects inherit (Keystone's OS-INHERIT).

Such an assignment has a scope of its own: "subtree" for the projects below the project that is its target, "projects"
for all projects of the domain. It is about these, not about its target.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, literal, or_, select, union, union_all

from computeapi.db.models import Assignment, Project

BELOW = {"project": "subtree", "domain": "projects"}  # what the target is → the scope of what is inherited from it
SCOPES = tuple(BELOW.values())


def of_project(project_id: str) -> ColumnElement[bool]:
    """Condition: assignments on the project, or inherited by it."""
    parent = select(Project.parent_id.label("id")).where(Project.id == project_id).cte("above", recursive=True)
    above = parent.union(select(Project.parent_id).join(parent, Project.id == parent.c.id))
    return or_(
        and_(Assignment.scope == "project", Assignment.target_id == project_id),
        and_(Assignment.scope.in_(SCOPES), Assignment.target_id.in_(select(above.c.id))),
    )


def below(tops: Any) -> Any:
    """Every project below these (`tops`: a SELECT of ids of projects and domains), as rows of top and project_id."""
    child = (
        select(Project.parent_id.label("top"), Project.id.label("project_id"))
        .where(Project.parent_id.in_(tops))
        .cte("below", recursive=True)
    )
    return child.union(select(child.c.top, Project.id).join(child, Project.parent_id == child.c.project_id))


def projects(*which: ColumnElement[bool]) -> Any:
    """What projects those assignments are about, also by inheritance: a SELECT of ids."""
    own = select(Assignment.target_id).where(Assignment.scope == "project", *which)
    tops = select(Assignment.target_id).where(Assignment.scope.in_(SCOPES), *which)
    return union(own, select(below(tops).c.project_id))


def spread(facts: Any) -> Any:
    """`facts`, a SELECT of user_id, scope and target_id, with each inherited one as the projects that it is about."""
    held = facts.cte("held")
    inherited = held.c.scope.in_(SCOPES)
    found = below(select(held.c.target_id).where(inherited))
    return union_all(
        select(held.c.user_id, held.c.scope, held.c.target_id).where(~inherited),
        select(held.c.user_id, literal("project"), found.c.project_id)
        .join(found, found.c.top == held.c.target_id)
        .where(inherited),
    )
