# SPDX-License-Identifier: Apache-2.0
"""Tokens of the embedded identity service, checked in this process."""

from __future__ import annotations

import threading
import time
from typing import NamedTuple

from computeapi import clock, errors
from computeapi.backends.identity.attempts import Attempts
from computeapi.backends.identity.base import Header
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.queries.identity import revocations

_REFRESH_SECONDS = 1.0
_MOST_OPENED = 2048


class _Opened(NamedTuple):
    """A token of ours, and what asking about it again needs. `until` is in seconds since 1970."""

    claims: Claims
    roles: frozenset[str]
    subjects: list[tuple[str, int]]
    until: float


class EmbeddedAuthenticator:
    """Opens tokens and remembers the last 2048 opened ones; knows all revocations.

    These are kept in memory. Once a second at most the database is asked whether there are new ones, and at once after
    this process wrote one: `forget()`.
    """

    def __init__(
        self, db: Database, codec: TokenCodec, *, expiration: float = 86_400, login_attempts: int = 10
    ) -> None:
        """`expiration`: how many seconds old a token may be, whatever it says (the setting may have been lowered)."""
        self.codec = codec
        self.attempts = Attempts(login_attempts)
        self._db = db
        self._expiration = expiration
        self._opened: dict[str, _Opened] = {}
        self._lock = threading.Lock()
        self._written = 0  # how often this process wrote revocations
        self._read = (-1, 0.0)  # `_written` and the time when they were read last
        self._stamp: revocations.Stamp | None = None
        self._revoked: dict[str, int] = {}

    def authenticate(self, header: Header, request_id: str) -> Context:
        """The caller behind X-Auth-Token."""
        token = header("X-Auth-Token")
        if not token:
            raise errors.Unauthorized
        claims, roles, _, _ = self._valid(token)
        return Context(
            request_id,
            claims.user_id,
            claims.project_id,
            roles,
            claims.domain_id,
            claims.system,
            claims.expires_at,
            claims.audit_id,
            token,
        )

    def claims(self, token: str, *, fresh: bool = False) -> Claims:
        """What a valid token says; `fresh` asks the database for revocations first. Raises Unauthorized."""
        return self._valid(token, fresh).claims

    def forget(self) -> None:
        """Read the revocations again before the next check (this process has committed some)."""
        self._written += 1

    def _valid(self, token: str, fresh: bool = False) -> _Opened:
        opened = self._opened.get(token) or self._open(token)
        if time.time() >= opened.until:
            raise errors.Unauthorized
        written, read_at = self._read
        if fresh or written != self._written or time.monotonic() - read_at > _REFRESH_SECONDS:
            self._refresh(fresh)
        revoked = self._revoked
        if revoked and any(revoked.get(subject, 0) > epoch for subject, epoch in opened.subjects):
            raise errors.Unauthorized
        return opened

    def _open(self, token: str) -> _Opened:
        try:
            claims = self.codec.open(token)
        except ValueError:
            raise errors.Unauthorized from None
        until = min(
            clock.parse(claims.expires_at).timestamp(), clock.parse(claims.issued_at).timestamp() + self._expiration
        )
        opened = _Opened(claims, frozenset(claims.roles), claims.subjects(), until)
        with self._lock:
            while len(self._opened) >= _MOST_OPENED:
                del self._opened[next(iter(self._opened))]
            self._opened[token] = opened
        return opened

    def _refresh(self, fresh: bool) -> None:
        with self._lock:
            written, read_at = self._written, time.monotonic()
            if not fresh and self._read[0] == written and read_at - self._read[1] <= _REFRESH_SECONDS:
                return  # another thread was faster
            with self._db.read() as conn:
                stamp = revocations.stamp(conn)
                if stamp != self._stamp:
                    self._revoked = revocations.in_force(conn)
                    self._stamp = stamp
            self._read = (written, read_at)
