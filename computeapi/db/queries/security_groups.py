# SPDX-License-Identifier: Apache-2.0
"""Security groups: every project has "default", and for now no others."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection

from computeapi import errors


def security_groups_exist(conn: Connection, project_id: str, names: Iterable[str]) -> None:
    """Raise BadRequest (Nova: SecurityGroupNotFoundForProject) for a name that is no group of the project's."""
    for name in names:
        if name != "default":
            raise errors.BadRequest(f"Security group {name} not found for project {project_id}.")
