# SPDX-License-Identifier: Apache-2.0
"""The rows of `migrations`: written when a server is moved or resized, and read to go on with it.

What os-migrations lists is in migration_lists.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, insert, select, update

from computeapi import clock, errors
from computeapi.db.models import Flavor, Migration
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.flavors import MAX_INT
from computeapi.db.queries.servers import ServerRow

# Nova's statuses
MIGRATING = "migrating"
FINISHED = "finished"  # the guest runs as the new flavor says; its owner has yet to confirm
CONFIRMING = "confirming"
CONFIRMED = "confirmed"
REVERTING = "reverting"
REVERTED = "reverted"
ERROR = "error"
RUNNING = "running"  # of a live migration
COMPLETED = "completed"
CANCELLED = "cancelled"  # given up when its time was over
DONE = "done"  # of an evacuation


class MigrationRow(NamedTuple):
    """A resize, as far as its work needs it."""

    id: int
    status: str
    old_flavor_id: str | None
    old_flavor_json: str | None
    new_flavor_id: str | None
    new_flavor_json: str | None
    old_vm_state: str | None
    source: str | None
    destination: str | None

    @property
    def moved(self) -> bool:
        """Whether the server went to another host."""
        return self.source != self.destination

    def old_flavor(self, server: ServerRow) -> dict[str, Any]:
        """The server's columns as they were."""
        return flavor_columns(self.old_flavor_id or "", self.old_flavor_json or "{}", server)

    def new_flavor(self, server: ServerRow) -> dict[str, Any]:
        """The server's columns as they shall be."""
        return flavor_columns(self.new_flavor_id or "", self.new_flavor_json or "{}", server)


_ALL = select(
    Migration.id,
    Migration.status,
    Migration.old_flavor_id,
    Migration.old_flavor_json,
    Migration.new_flavor_id,
    Migration.new_flavor_json,
    Migration.old_vm_state,
    Migration.source_compute,
    Migration.dest_compute,
)


def flavor_columns(flavor_id: str, flavor_json: str, server: ServerRow) -> dict[str, Any]:
    """The columns in which a server has its flavor, from the flavor's id and its frozen JSON.

    One that boots from a volume takes no root disk of its host.
    """
    flavor = orjson.loads(flavor_json)
    root = int(flavor.get("disk") or 0) if server.image_id else 0
    disk = root + int(flavor.get("ephemeral") or 0)
    return {
        "flavor_id": flavor_id,
        "flavor_json": flavor_json,
        "vcpus": int(flavor.get("vcpus") or 0),
        "memory_mb": int(flavor.get("ram") or 0),
        "disk_gb": min(disk, MAX_INT),
    }


def add(conn: Connection, **values: Any) -> int:
    """A new row; its key. The flavors' own keys are looked up (NULL for one that is gone)."""
    ids = [str(values.get("old_flavor_id")), str(values.get("new_flavor_id"))]
    found = conn.execute(select(Flavor.flavor_id, Flavor.id).where(Flavor.flavor_id.in_(ids)))
    keys = {row[0]: row[1] for row in found}
    columns = {"old_flavor_key": keys.get(ids[0]), "new_flavor_key": keys.get(ids[1]), "created_at": clock.now()}
    return insert_key(conn, insert(Migration).values(**columns, **values))


def get(conn: Connection, key: int) -> MigrationRow:
    """A row by its key. Raises NotFound."""
    row = conn.execute(_ALL.where(Migration.id == key)).first()
    if row is None:
        raise errors.NotFound(f"Migration {key} could not be found.")
    return MigrationRow._make(row)


def waiting(conn: Connection, server_key: int) -> MigrationRow | None:
    """The resize of a server that waits to be confirmed or reverted."""
    mine = (Migration.server_id == server_key) & (Migration.status == FINISHED)
    row = conn.execute(
        _ALL.where(mine, Migration.migration_type.in_(("resize", "migration"))).order_by(Migration.id.desc())
    ).first()
    return MigrationRow._make(row) if row else None


def change(conn: Connection, key: int, **values: Any) -> None:
    """Set columns of a row."""
    conn.execute(update(Migration).where(Migration.id == key).values(updated_at=clock.now(), **values))


def fail(conn: Connection, key: int) -> None:
    """It came to nothing; one that was given up says so still."""
    given_up = (Migration.id == key) & (Migration.status != CANCELLED)
    conn.execute(update(Migration).where(given_up).values(status=ERROR, updated_at=clock.now()))
