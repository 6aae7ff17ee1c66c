# SPDX-License-Identifier: Apache-2.0
"""Passwords and secrets at rest: bcrypt over an HMAC-SHA256.

bcrypt looks at 72 bytes and no more. The HMAC before it makes every byte of a longer password count; its key keeps
plain SHA-256 sums stolen elsewhere from being tried here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

import bcrypt

from computeapi import errors

COST = 10  # bcrypt's work factor: 2 ** 10 rounds, some 50 ms
LONGEST = 4096  # characters, as Keystone's [identity] max_password_length

_KEY = b"computeapi password v1"


def check_length(password: str) -> str:
    """The password, if it may be one. Raises BadRequest for an empty or too long one, without quoting it."""
    if not 0 < len(password) <= LONGEST:
        raise errors.BadRequest(f"A password has 1 to {LONGEST} characters.")
    return password


def hashed(password: str) -> str:
    """What is stored for a password."""
    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(COST)).decode("ascii")


def matches(password: str, stored: str | None) -> bool:
    """Whether `password` is the one that `stored` was made of. Without a stored one: no, after the same work."""
    if stored is None or len(password) > LONGEST:
        bcrypt.checkpw(_digest(password[:LONGEST]), _NOBODY)
        return False
    return bcrypt.checkpw(_digest(password), stored.encode("ascii"))


def _digest(password: str) -> bytes:
    return base64.b64encode(hmac.new(_KEY, password.encode("utf-8"), hashlib.sha256).digest())


_NOBODY = bcrypt.gensalt(COST) + b"." * 31  # the form of a hash, and nobody's
