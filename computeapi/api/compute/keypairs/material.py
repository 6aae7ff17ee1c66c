# SPDX-License-Identifier: Apache-2.0
"""Key material: fingerprints of what users bring, and new keys for those who bring none (nova/crypto.py).

A new ssh key is RSA, 2048 bits, in PEM: it costs about 60 ms of CPU where ed25519 would cost 0.1, but every guest
and client reads it, and guests encrypt the password that `os-server-password` hands out with an RSA key only.
The private half is given to the caller and kept nowhere.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_public_key,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from computeapi import errors

RSA_BITS = 2048
CERTIFICATE_DAYS = 3650
_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")  # Microsoft's user principal name, which WinRM asks for


class Material(NamedTuple):
    """A public key (or certificate), its fingerprint, and the private key where we made it."""

    public_key: str
    fingerprint: str
    private_key: str | None = None


def given(kind: str, public_key: str) -> Material:
    """What a user brings; `kind` is "ssh" or "x509". Raises BadRequest (Nova: InvalidKeypair)."""
    if kind == "x509":
        return Material(public_key, _x509_fingerprint(public_key))
    return Material(public_key, _ssh_fingerprint(public_key))


def new(kind: str, user_id: str) -> Material:
    """A new key pair; `kind` is "ssh" or "x509" (a certificate for WinRM in the user's name)."""
    key = rsa.generate_private_key(65537, RSA_BITS)
    return _new_x509(key, user_id) if kind == "x509" else _new_ssh(key)


def _new_ssh(key: rsa.RSAPrivateKey) -> Material:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    text = f"{public.decode()} Generated-by-Nova"
    return Material(text, _ssh_fingerprint(text), private.decode())


def _new_x509(key: rsa.RSAPrivateKey, user_id: str) -> Material:
    """A self-signed client certificate; the private key comes as base64 of PKCS #12 without a password."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user_id)])
    principal = f"{user_id}@localhost".encode()
    upn = x509.OtherName(_UPN, bytes([0x0C, len(principal)]) + principal)  # DER: a UTF8String
    moment = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment)
        .not_valid_after(moment + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([upn]), critical=False)
        .sign(key, hashes.SHA256())
    )
    bundle = pkcs12.serialize_key_and_certificates(None, key, certificate, None, NoEncryption())
    text = certificate.public_bytes(Encoding.PEM).decode()
    return Material(text, _x509_fingerprint(text), base64.b64encode(bundle).decode())


def _ssh_fingerprint(public_key: str) -> str:
    """MD5 of the key's blob, in pairs with colons: what ssh-keygen -E md5 shows."""
    try:
        load_ssh_public_key(public_key.encode())
        blob = base64.b64decode(public_key.split(None, 2)[1])
    except Exception:  # parsers of hostile input raise all sorts, NotImplementedError for one
        raise errors.BadRequest("Keypair data is invalid: failed to generate fingerprint") from None
    return hashlib.md5(blob, usedforsecurity=False).digest().hex(":")


def _x509_fingerprint(pem: str) -> str:
    """SHA-1 of the certificate, in pairs with colons."""
    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except Exception as error:
        raise errors.BadRequest(
            f"Keypair data is invalid: failed to generate X509 fingerprint. Error message: {error}"
        ) from None
    return certificate.fingerprint(hashes.SHA1()).hex(":")  # noqa: S303  (Nova's, and no more than a name)
