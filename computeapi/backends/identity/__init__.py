# SPDX-License-Identifier: Apache-2.0
"""Who is behind a request: embedded, or a real Keystone (setting [identity] identity_url)."""

from __future__ import annotations

from computeapi.backends.identity.base import Authenticator
from computeapi.backends.identity.embedded import EmbeddedAuthenticator
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.settings import Settings


def load(settings: Settings, db: Database) -> Authenticator:
    """The authenticator that the settings ask for."""
    if settings.identity_url:
        from computeapi.backends.identity.keystone import KeystoneAuthenticator  # an optional extra

        return KeystoneAuthenticator(settings)
    return EmbeddedAuthenticator(
        db,
        TokenCodec(settings.secret("tokens")),
        expiration=settings.token_expiration,
        login_attempts=settings.login_attempts,
    )
