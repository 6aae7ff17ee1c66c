# SPDX-License-Identifier: Apache-2.0
"""Passwords for those who name none, and passwords that only the key pair's owner can read."""

from __future__ import annotations

import base64
import secrets
import string

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

_LETTERS = string.ascii_letters + string.digits


def generate_password() -> str:
    """A server's administrator password: 12 letters and digits (Nova's [api] password_length)."""
    return "".join(secrets.choice(_LETTERS) for _ in range(12))


def for_owner(public_key: str | None, password: str) -> str | None:
    """The password as `os-server-password` tells it: encrypted with the server's key, which must be an RSA one of ssh.

    None where it can't be: no such key, or one too short for it. (nova/crypto.py, ssh_encrypt_text.)
    """
    if not public_key or not public_key.startswith("ssh-rsa"):
        return None
    try:
        key = load_ssh_public_key(public_key.encode())
        assert isinstance(key, rsa.RSAPublicKey)
        return base64.b64encode(key.encrypt(password.encode(), padding.PKCS1v15())).decode()
    except (ValueError, UnsupportedAlgorithm):
        return None
