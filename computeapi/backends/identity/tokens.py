# SPDX-License-Identifier: Apache-2.0
"""Tokens that carry what they grant, sealed with a key of ours (Fernet): checked without asking the database."""

from __future__ import annotations

import base64
from dataclasses import astuple, dataclass

import orjson
from cryptography.fernet import Fernet, InvalidToken


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times as stored text (computeapi.clock); `roles` are names, implied ones included."""

    user_id: str
    project_id: str | None
    domain_id: str | None
    system: bool
    roles: tuple[str, ...]
    methods: tuple[str, ...]
    issued_at: str
    expires_at: str
    audit_id: str


class TokenCodec:
    """Seals and opens tokens. Every API process of a cloud has the same key (`Settings.secret("tokens")`)."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, claims: Claims) -> str:
        """The token that says `claims`."""
        return self._fernet.encrypt(orjson.dumps(astuple(claims))).decode("ascii").rstrip("=")

    def open(self, token: str) -> Claims:
        """What a token of ours says. Raises ValueError for anything else; expiry and revocation are not looked at."""
        try:
            sealed = token.encode("ascii")
            values = orjson.loads(self._fernet.decrypt(sealed + b"=" * (-len(sealed) % 4)))
        except (InvalidToken, UnicodeEncodeError, orjson.JSONDecodeError) as error:
            raise ValueError("not a token of ours") from error
        user, project, domain, system, roles, methods, issued, expires, audit = values
        return Claims(user, project, domain, system, tuple(roles), tuple(methods), issued, expires, audit)
