# SPDX-License-Identifier: Apache-2.0
"""Statements about volumes that are offered to another project. What lists of them ask for is in volume_lists."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from computeapi import clock
from computeapi.db.models import VolumeSnapshot, VolumeTransfer
from computeapi.db.queries import volumes
from computeapi.db.queries.common import insert_key
from computeapi.db.queries.volumes import VolumeRow

OFFERED = "awaiting-transfer"
_KEY_BYTES = 8  # 16 characters, which people type


def _hash(salt: str, key: str) -> str:
    return hashlib.sha256((salt + key).encode()).hexdigest()


def offer(conn: Connection, volume: VolumeRow, name: str | None, *, no_snapshots: bool) -> tuple[str, str]:
    """Offer a locked volume: the transfer's id, and the key, which is nowhere else."""
    transfer_id, key, salt = str(uuid.uuid4()), secrets.token_hex(_KEY_BYTES), secrets.token_hex(4)
    insert_key(
        conn,
        insert(VolumeTransfer).values(
            uuid=transfer_id,
            volume_key=volume.id,
            volume_id=volume.uuid,
            project_id=volume.project_id,
            name=name,
            salt=salt,
            key_hash=_hash(salt, key),
            no_snapshots=int(no_snapshots),
            created_at=clock.now(),
        ),
    )
    volumes.change(conn, volume.id, {"status": OFFERED})
    return transfer_id, key


def opens(transfer: Any, key: str) -> bool:
    """Whether it is the key that was given out."""
    return hmac.compare_digest(_hash(transfer.salt, key), transfer.key_hash)


def lock(conn: Connection, uuid: str) -> bool:
    """Keep an offer until this transaction ends; False where it went just now."""
    statement = select(VolumeTransfer.id).where(VolumeTransfer.uuid == uuid).with_for_update()
    return conn.execute(statement).first() is not None


def take(conn: Connection, transfer: Any, volume: VolumeRow, project_id: str, user_id: str) -> None:
    """The volume, and its snapshots unless they stay, are that project's."""
    values = {"project_id": project_id, "user_id": user_id}
    volumes.change(conn, volume.id, {"status": "available", **values})
    if not transfer.no_snapshots:
        mine = VolumeSnapshot.volume_id == volume.uuid
        conn.execute(update(VolumeSnapshot).where(mine).values(updated_at=clock.now(), **values))
    conn.execute(delete(VolumeTransfer).where(VolumeTransfer.uuid == transfer.uuid))


def withdraw(conn: Connection, transfer: Any) -> None:
    """It is offered no more."""
    conn.execute(delete(VolumeTransfer).where(VolumeTransfer.uuid == transfer.uuid))
    volumes.change(conn, transfer.volume_key, {"status": "available"}, statuses=(OFFERED,))
