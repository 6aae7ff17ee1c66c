# SPDX-License-Identifier: Apache-2.0
"""Statements about the disks that servers have."""

from __future__ import annotations

from typing import NamedTuple

from sqlalchemy import Connection, select

from computeapi.db.models import BlockDevice


class LocalDevice(NamedTuple):
    """A disk in the host's own storage. `size_gb` of a swap disk is in MiB."""

    source_type: str
    guest_format: str | None
    size_gb: int | None
    boot_index: int | None


_LOCAL = (
    select(BlockDevice.source_type, BlockDevice.guest_format, BlockDevice.size_gb, BlockDevice.boot_index)
    .where(BlockDevice.destination_type == "local")
    .order_by(BlockDevice.id)
)


def local(conn: Connection, server_id: int) -> list[LocalDevice]:
    """A server's local disks, in the order in which they were asked for."""
    return [LocalDevice._make(row) for row in conn.execute(_LOCAL.where(BlockDevice.server_id == server_id))]
