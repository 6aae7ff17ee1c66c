# SPDX-License-Identifier: Apache-2.0
"""What all tables share.

Rows have an integer key; ids that clients see are text. Times are text of one width (computeapi.clock). Columns named
*_json hold JSON text, passed through to answers as it is. Nothing here needs a partial index or RETURNING, so the
same tables work on SQLite, PostgreSQL and MariaDB.
"""

from __future__ import annotations

from typing import Annotated

from sqlalchemy import BigInteger, Integer, MetaData, String, Text
from sqlalchemy.orm import DeclarativeBase, mapped_column

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The registry of all tables."""

    metadata = MetaData(naming_convention=NAMES)


Key = Annotated[int, mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)]
Uuid = Annotated[str, mapped_column(String(36))]
Id = Annotated[str, mapped_column(String(64))]  # of users and projects: uuid hex here, up to 64 in a real Keystone
Name = Annotated[str, mapped_column(String(255))]
Time = Annotated[str, mapped_column(String(26))]
Json = Annotated[str, mapped_column(Text)]
BigInt = Annotated[int, mapped_column(BigInteger)]
LongText = Annotated[str, mapped_column(Text)]
