# SPDX-License-Identifier: Apache-2.0
"""Which servers there are to ping, where they are, and by which addresses."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from computeapi.db.models import FixedIp, Port, Server


def servers(
    conn: Connection,
    project_id: str | None,
    limit: int,
    *,
    include: set[str] | None = None,
    exclude: set[str] | None = None,
) -> list[Any]:
    """uuid, project_id, host and address (one row each) of a project's servers (None: of all), oldest first."""
    chosen = select(Server.id).where(Server.deleted == 0)
    if project_id is not None:
        chosen = chosen.where(Server.project_id == project_id)
    if include is not None:
        chosen = chosen.where(Server.uuid.in_(include))
    if exclude:
        chosen = chosen.where(Server.uuid.not_in(exclude))
    chosen = chosen.order_by(Server.created_at, Server.id).limit(limit)
    return list(
        conn.execute(
            select(Server.uuid, Server.project_id, Server.host, FixedIp.address)
            .select_from(Server)
            .outerjoin(Port, Port.server_id == Server.id)
            .outerjoin(FixedIp, FixedIp.port_id == Port.id)
            .where(Server.id.in_(chosen.subquery().select()))
            .order_by(Server.created_at, Server.id, Port.position, FixedIp.id)
        )
    )
