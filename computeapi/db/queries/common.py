# SPDX-License-Identifier: Apache-2.0
"""What statements of several nouns share."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection


def insert_key(conn: Connection, statement: Any) -> int:
    """Run an INSERT of one row; its new integer key."""
    key = conn.execute(statement).inserted_primary_key
    return int(key[0])  # type: ignore[index]
