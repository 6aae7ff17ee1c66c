# SPDX-License-Identifier: Apache-2.0
"""Keeps what is secret in the journal (adminPass, personality, user data) unreadable in the database."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from cryptography.fernet import Fernet


class Seal:
    """Closes and opens JSON with a key of the cloud's own (`Settings.secret("journal")`)."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def close(self, value: dict[str, Any]) -> str:
        """`value`, unreadable."""
        return self._fernet.encrypt(orjson.dumps(value)).decode("ascii")

    def open(self, sealed: str | None) -> dict[str, Any]:
        """What `close` was given; {} for nothing. Raises cryptography's InvalidToken for what is not ours."""
        if not sealed:
            return {}
        value: dict[str, Any] = orjson.loads(self._fernet.decrypt(sealed.encode("ascii")))
        return value
