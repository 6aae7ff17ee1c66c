# SPDX-License-Identifier: Apache-2.0
"""Who may open a server's console, and until when."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, BigInt, Key, Name, Time


class ConsoleAuthToken(Base):
    """A token for one console of one server on one host. The token itself is told once, and kept nowhere."""

    __tablename__ = "console_auth_tokens"

    id: Mapped[Key]
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)  # SHA-256, in hex
    server_id: Mapped[BigInt] = mapped_column(ForeignKey("servers.id"), index=True)
    console_type: Mapped[str] = mapped_column(String(32))  # novnc | xvpvnc | spice-html5 | serial | rdp-html5
    host: Mapped[Name]  # where the server was when it was asked for: good there alone
    created_at: Mapped[Time]
    expires_at: Mapped[Time] = mapped_column(index=True)
