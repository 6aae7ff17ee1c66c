# SPDX-License-Identifier: Apache-2.0
"""Tokens of the embedded identity service, checked in this process."""

from __future__ import annotations

import time

from sqlalchemy import select

from computeapi import clock, errors
from computeapi.backends.identity.base import Header
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Revocation

_REFRESH_SECONDS = 1.0
_UNAUTHORIZED = "The request you have made requires authentication."


class EmbeddedAuthenticator:
    """Opens the token; revocations are kept in memory and read again at most once a second."""

    def __init__(self, db: Database, codec: TokenCodec) -> None:
        self._db = db
        self._codec = codec
        self._read_at = 0.0
        self._by_audit: frozenset[str] = frozenset()
        self._by_user: dict[str, str] = {}
        self._by_project: dict[str, str] = {}

    def authenticate(self, header: Header, request_id: str) -> Context:
        """The caller behind X-Auth-Token."""
        token = header("X-Auth-Token")
        if not token:
            raise errors.Unauthorized(_UNAUTHORIZED)
        claims = self.claims(token)
        return Context(
            request_id,
            claims.user_id,
            claims.project_id,
            frozenset(claims.roles),
            claims.domain_id,
            claims.system,
            claims.expires_at,
            claims.audit_id,
        )

    def claims(self, token: str, *, fresh: bool = False) -> Claims:
        """What a valid token says; `fresh` reads the revocations first. Raises Unauthorized."""
        try:
            claims = self._codec.open(token)
        except ValueError:
            raise errors.Unauthorized(_UNAUTHORIZED) from None
        if claims.expires_at <= clock.now() or self._revoked(claims, fresh):
            raise errors.Unauthorized(_UNAUTHORIZED)
        return claims

    def forget(self) -> None:
        """Read the revocations again before the next check (after this process wrote one)."""
        self._read_at = 0.0

    def _revoked(self, claims: Claims, fresh: bool) -> bool:
        if fresh or time.monotonic() - self._read_at > _REFRESH_SECONDS:
            self._refresh()
        return (
            claims.audit_id in self._by_audit
            or claims.issued_at <= self._by_user.get(claims.user_id, "")
            or claims.issued_at <= self._by_project.get(claims.project_id or "", "")
        )

    def _refresh(self) -> None:
        statement = select(
            Revocation.audit_id, Revocation.user_id, Revocation.project_id, Revocation.issued_before
        ).where(Revocation.expires_at > clock.now())
        audits: set[str] = set()
        users: dict[str, str] = {}
        projects: dict[str, str] = {}
        with self._db.read() as conn:
            for audit_id, user_id, project_id, before in conn.execute(statement):
                if audit_id:
                    audits.add(audit_id)
                if user_id:
                    users[user_id] = max(before, users.get(user_id, ""))
                if project_id:
                    projects[project_id] = max(before, projects.get(project_id, ""))
        self._by_audit, self._by_user, self._by_project = frozenset(audits), users, projects
        self._read_at = time.monotonic()
