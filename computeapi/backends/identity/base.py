# SPDX-License-Identifier: Apache-2.0
"""The seam to identity: who is behind a request. Embedded (our own Keystone v3) or a real Keystone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from computeapi.context import Context

Header = Callable[[str], "str | None"]


class Authenticator(Protocol):
    """Turns a request's headers into a Context."""

    def authenticate(self, header: Header, request_id: str) -> Context:
        """The caller. Raises errors.Unauthorized where there is no valid token."""
        ...
