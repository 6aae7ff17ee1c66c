# SPDX-License-Identifier: Apache-2.0
"""Passwords for those who name none."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_letters + string.digits


def generate_password() -> str:
    """A server's administrator password: 12 letters and digits (Nova's [api] password_length)."""
    return "".join(secrets.choice(_LETTERS) for _ in range(12))
