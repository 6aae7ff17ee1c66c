# SPDX-License-Identifier: Apache-2.0
"""os-certificates: each project has a root of its own, which signs its users' certificates. Up to 2.35.

Behaviour: Nova before it dropped nova-cert (nova/api/openstack/compute/certificates.py); codes: the reference. Keys are
on the curve P-256, signatures SHA-256. A certificate's private key is told once and kept nowhere; a root's is kept
sealed.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.db.queries import certificates as queries
from computeapi.endpoint import Call
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule

LAST = "2.35"
CERTIFICATES = "os_compute_api:os-certificates:"
RULES = [
    rule(CERTIFICATES + "create", PROJECT_MEMBER, "Get a certificate.", ("POST", "/os-certificates")),
    rule(CERTIFICATES + "show", PROJECT_READER, "See the project's root.", ("GET", "/os-certificates/root")),
]
CREATE: p.Schema = {"type": ["object", "null"], "additionalProperties": False}
_ROOT_DAYS, _DAYS = 3650, 365

# --- certificates ---


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _name(organization: str, unit: str, common: str) -> x509.Name:
    """X.509 takes 64 characters each."""
    parts = (
        (NameOID.ORGANIZATION_NAME, organization),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
        (NameOID.COMMON_NAME, common),
    )
    return x509.Name([x509.NameAttribute(kind, text[:64] or "-") for kind, text in parts])


def _builder(subject: x509.Name, issuer: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
    moment = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - timedelta(minutes=5))  # clocks differ
        .not_valid_after(moment + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def make_root(project_id: str) -> tuple[str, str]:
    """A project's root certificate and its private key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("computeapi", "root", project_id)
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    made = (
        _builder(name, name, key.public_key(), _ROOT_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), _pem(key)


def sign(root_pem: str, root_key_pem: str, project_id: str, common_name: str, *, server: bool) -> tuple[str, str, str]:
    """A certificate, its private key (both PEM) and its serial number in hexadecimal."""
    root = x509.load_pem_x509_certificate(root_pem.encode())
    root_key = serialization.load_pem_private_key(root_key_pem.encode(), None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    made = (
        _builder(_name("computeapi", project_id, common_name), root.subject, key.public_key(), _DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode(), _pem(key), f"{made.serial_number:x}"


# --- handlers ---


def authority(call: Call, conn: Connection, project_id: str) -> Any:
    """A project's authority, made when it is first needed."""
    call.services.db.lock(conn, f"certificates {project_id}")
    found = queries.authority(conn, project_id)
    if found is None:
        certificate, key = make_root(project_id)
        queries.insert_authority(conn, project_id, certificate, call.services.seal.close({"key": key}))
        found = queries.authority(conn, project_id)
    return found


def issue(call: Call, project_id: str, user_id: str, common_name: str, *, server: bool = False) -> tuple[str, str, str]:
    """The root, a new certificate of a project's, and its private key."""
    with call.services.db.write() as conn:
        root = authority(call, conn, project_id)
        key = call.services.seal.open(root.sealed_key)["key"]
        certificate, private_key, serial = sign(root.certificate, key, project_id, common_name, server=server)
        queries.insert_certificate(conn, root.id, user_id, serial, certificate)
    return root.certificate, certificate, private_key


def create(call: Call) -> dict[str, Any]:
    """POST /os-certificates."""
    user_id = call.context.user_id
    _, certificate, private_key = issue(call, call.project_id, user_id, user_id)
    return {"certificate": {"data": certificate, "private_key": private_key}}


def show(call: Call) -> dict[str, Any]:
    """GET /os-certificates/root."""
    if call.params["certificate_id"] != "root":
        raise errors.NotFound("Only root certificate can be retrieved.")
    with call.services.db.read() as conn:
        found = queries.authority(conn, call.project_id)
    if found is None:
        with call.services.db.write() as conn:
            found = authority(call, conn, call.project_id)
    return {"certificate": {"data": found.certificate, "private_key": None}}
