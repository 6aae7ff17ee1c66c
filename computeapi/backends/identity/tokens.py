# SPDX-License-Identifier: Apache-2.0
"""Tokens that carry what they grant, sealed with a key of ours (Fernet): checked without asking the database."""

from __future__ import annotations

import base64
import uuid
from dataclasses import astuple, dataclass, fields

import orjson
from cryptography.fernet import Fernet, InvalidToken

_LONGEST = 8192  # characters; what is longer was not made by us


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. Times as stored text (computeapi.clock); `roles` are names, implied ones included.

    `chain_id` is the audit id of the first token where this one was issued for a token. The epochs are those of the
    user and of what the token is scoped to when it was issued (see db.models.identity). `credential_id` is the
    application credential's, where one logged in.
    """

    user_id: str
    project_id: str | None
    domain_id: str | None
    system: bool
    roles: tuple[str, ...]
    methods: tuple[str, ...]
    issued_at: str
    expires_at: str
    audit_id: str
    chain_id: str = ""
    user_epoch: int = 0
    scope_epoch: int = 0
    credential_id: str | None = None

    @property
    def audit_ids(self) -> list[str]:
        """This token's id in logs, and the chain's."""
        return [self.audit_id, self.chain_id] if self.chain_id else [self.audit_id]

    def subjects(self) -> list[tuple[str, int]]:
        """What a revocation of this token can be about, and from which epoch on the token withstands it."""
        user = f"user:{self.user_id}"
        scope = (
            f"project:{self.project_id}" if self.project_id else f"domain:{self.domain_id}" if self.domain_id else ""
        )
        found = [(f"audit:{self.audit_id}", 0), (user, self.user_epoch)]
        if scope:
            found.append((scope, self.scope_epoch))
        if scope or self.system:
            found.append((f"{user}@{scope or 'system:all'}", self.user_epoch))
        if self.credential_id:
            found.append((f"credential:{self.credential_id}", 0))
        return found


_FIELDS = len(fields(Claims))


def audit_id() -> str:
    """A new random audit id, 22 characters as Keystone's."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes)[:-2].decode("ascii")


class TokenCodec:
    """Seals and opens tokens. Every API process of a cloud has the same key (`Settings.secret("tokens")`)."""

    def __init__(self, key: bytes) -> None:
        self._fernet = Fernet(base64.urlsafe_b64encode(key))

    def seal(self, claims: Claims) -> str:
        """The token that says `claims`."""
        return self._fernet.encrypt(orjson.dumps(astuple(claims))).decode("ascii").rstrip("=")

    def open(self, token: str) -> Claims:
        """What a token of ours says. Raises ValueError for anything else; expiry and revocation are not looked at."""
        if len(token) > _LONGEST:
            raise ValueError("not a token of ours")
        try:
            sealed = token.encode("ascii")
            values = orjson.loads(self._fernet.decrypt(sealed + b"=" * (-len(sealed) % 4)))
        except (InvalidToken, UnicodeEncodeError, orjson.JSONDecodeError) as error:
            raise ValueError("not a token of ours") from error
        if len(values) != _FIELDS:
            raise ValueError("a token of another release")
        user, project, domain, system, roles, methods, *rest = values
        return Claims(user, project, domain, system, tuple(roles), tuple(methods), *rest)
