# SPDX-License-Identifier: Apache-2.0
"""Key pairs: made, imported, listed, shown, deleted; by version, by user."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_ssh_public_key,
    pkcs12,
)

from computeapi import clock, versions
from computeapi.api.compute.keypairs import material
from computeapi.app import create_app
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api

LISTED = {"name", "public_key", "fingerprint"}
CREATED = {*LISTED, "user_id"}
SHOWN = {*CREATED, "created_at", "deleted", "deleted_at", "id", "updated_at"}


def openssh(key: Any) -> str:
    text: str = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return text


def security_key(kind: str, *fields: bytes) -> str:
    """The public half of a key on a FIDO token, as OpenSSH writes it."""
    parts = [kind.encode(), *fields, b"ssh:"]
    blob = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
    return f"{kind} {base64.b64encode(blob).decode()} token"


ED25519 = openssh(ed25519.Ed25519PrivateKey.generate())
EC_POINT = (
    ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
)
PUBLIC_KEYS = {
    "rsa": openssh(rsa.generate_private_key(65537, 2048)),
    "ed25519": ED25519,
    "comment": ED25519 + " me@home",
    "newline": ED25519 + " me@home\n",
    "ecdsa256": openssh(ec.generate_private_key(ec.SECP256R1())),
    "ecdsa384": openssh(ec.generate_private_key(ec.SECP384R1())),
    "ecdsa521": openssh(ec.generate_private_key(ec.SECP521R1())),
    "sk-ed25519": security_key("sk-ssh-ed25519@openssh.com", base64.b64decode(ED25519.split()[1])[-32:]),
    "sk-ecdsa": security_key("sk-ecdsa-sha2-nistp256@openssh.com", b"nistp256", EC_POINT),
}


def fingerprint(public_key: str) -> str:
    digest = hashlib.md5(base64.b64decode(public_key.split()[1])).hexdigest()
    return ":".join(digest[at : at + 2] for at in range(0, 32, 2))


def message(answer: Any, status: int, name: str) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json[name]["code"] == status
    text: str = answer.json[name]["message"]
    return text


def add(api: Any, name: str = "mine", **more: Any) -> dict[str, Any]:
    """An imported key pair."""
    answer = api.post("/os-keypairs", {"keypair": {"name": name, "public_key": ED25519, **more}})
    assert answer.status_code in (200, 201), answer.text
    keypair: dict[str, Any] = answer.json["keypair"]
    return keypair


# --- create, show, list, delete, by version ---


@pytest.mark.parametrize(
    ("version", "created", "more"), [(None, 200, {}), ("2.1", 200, {}), ("2.2", 201, {"type": "ssh"})]
)
def test_made_here(api: Any, version: str | None, created: int, more: dict[str, str]) -> None:
    answer = api.post("/os-keypairs", {"keypair": {"name": "mine"}}, version=version)
    assert answer.status_code == created
    keypair = answer.json["keypair"]
    private = keypair.pop("private_key")
    assert set(keypair) == CREATED | set(more)
    assert keypair["user_id"] == api.user_id
    assert keypair["name"] == "mine"
    assert keypair["fingerprint"] == fingerprint(keypair["public_key"])
    assert keypair.items() >= more.items()
    key = load_pem_private_key(private.encode(), None)
    assert private.startswith("-----BEGIN RSA PRIVATE KEY-----\n")
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 2048
    assert keypair["public_key"] == openssh(key) + " Generated-by-Nova"
    assert "private_key" not in api.get("/os-keypairs/mine", version=version).text


@pytest.mark.parametrize(
    ("version", "created", "more"), [(None, 200, {}), ("2.2", 201, {"type": "ssh"}), ("2.3", 201, {"type": "ssh"})]
)
def test_imported(api: Any, version: str | None, created: int, more: dict[str, str]) -> None:
    answer = api.post("/os-keypairs", {"keypair": {"name": "mine", "public_key": ED25519}}, version=version)
    assert answer.status_code == created
    keypair = {"name": "mine", "public_key": ED25519, "fingerprint": fingerprint(ED25519), **more}
    assert answer.json == {"keypair": {**keypair, "user_id": api.user_id}}
    assert api.get("/os-keypairs", version=version).json == {"keypairs": [{"keypair": keypair}]}
    shown = api.get("/os-keypairs/mine", version=version).json["keypair"]
    assert set(shown) == SHOWN | set(more)
    assert shown.items() >= {**keypair, "user_id": api.user_id}.items()
    assert (shown["deleted"], shown["deleted_at"], shown["updated_at"]) == (False, None, None)
    assert type(shown["id"]) is int
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", shown["created_at"])


@pytest.mark.parametrize(("version", "status"), [(None, 202), ("2.1", 202), ("2.2", 204)])
def test_delete(api: Any, version: str | None, status: int) -> None:
    add(api)
    answer = api.delete("/os-keypairs/mine", version=version)
    assert (answer.status_code, answer.text) == (status, "")
    assert api.get("/os-keypairs").json == {"keypairs": []}
    for again in (api.delete("/os-keypairs/mine", version=version), api.get("/os-keypairs/mine", version=version)):
        assert message(again, 404, "itemNotFound") == f"Keypair mine not found for user {api.user_id}"


def test_the_list_is_by_name(api: Any) -> None:
    for name in ("b", "a", "c"):
        add(api, name)
    listed = api.get("/os-keypairs?limit=1&marker=a&unknown=x").json["keypairs"]
    assert [item["keypair"]["name"] for item in listed] == ["a", "b", "c"]


@pytest.mark.parametrize("kind", PUBLIC_KEYS)
def test_every_type_of_openssh(api: Any, kind: str) -> None:
    public_key = PUBLIC_KEYS[kind]
    keypair = add(api, public_key=public_key)
    assert keypair["public_key"] == public_key
    assert keypair["fingerprint"] == fingerprint(public_key)


@pytest.mark.filterwarnings("ignore:.*DSA keys are deprecated")
def test_dsa(api: Any) -> None:
    public_key = openssh(dsa.generate_private_key(1024))
    assert add(api, public_key=public_key)["fingerprint"] == fingerprint(public_key)


@pytest.mark.skipif(not which("ssh-keygen"), reason="needs ssh-keygen")
def test_ssh_keygen_agrees(api: Any, tmp_path: Path) -> None:
    made = api.post("/os-keypairs", {"keypair": {"name": "mine"}}).json["keypair"]
    private = tmp_path / "key"
    private.touch(mode=0o600)
    private.write_text(made["private_key"])
    run = subprocess.run(["ssh-keygen", "-y", "-f", str(private)], capture_output=True, text=True, check=True)
    assert run.stdout.split()[:2] == made["public_key"].split()[:2]
    run = subprocess.run(
        ["ssh-keygen", "-l", "-E", "md5", "-f", str(private)], capture_output=True, text=True, check=True
    )
    assert f"MD5:{made['fingerprint']}" in run.stdout


def test_what_is_encrypted_for_a_key_made_here_can_be_read(api: Any) -> None:
    """As guests do with the password for os-server-password."""
    made = api.post("/os-keypairs", {"keypair": {"name": "mine"}}).json["keypair"]
    public = load_ssh_public_key(made["public_key"].encode())
    private = load_pem_private_key(made["private_key"].encode(), None)
    assert isinstance(public, rsa.RSAPublicKey)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.decrypt(public.encrypt(b"secret", padding.PKCS1v15()), padding.PKCS1v15()) == b"secret"


# --- x509 ---


def test_x509(api: Any) -> None:
    answer = api.post("/os-keypairs", {"keypair": {"name": "win", "type": "x509"}}, version="2.2")
    assert answer.status_code == 201
    keypair = answer.json["keypair"]
    assert set(keypair) == {*CREATED, "type", "private_key"}
    assert keypair["type"] == "x509"
    certificate = x509.load_pem_x509_certificate(keypair["public_key"].encode())
    assert keypair["fingerprint"] == certificate.fingerprint(hashes.SHA1()).hex(":")
    assert certificate.subject.rfc4514_string() == f"CN={api.user_id}"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (principal,) = names.get_values_for_type(x509.OtherName)
    assert principal.type_id.dotted_string == "1.3.6.1.4.1.311.20.2.3"
    assert principal.value[2:].decode() == f"{api.user_id}@localhost"
    (usage,) = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert usage == x509.ExtendedKeyUsageOID.CLIENT_AUTH
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=3650)
    bundle = base64.b64decode(keypair["private_key"])
    key, inside, _others = pkcs12.load_key_and_certificates(bundle, None)
    assert inside == certificate
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.public_key() == certificate.public_key()


@pytest.mark.skipif(not which("openssl"), reason="needs openssl")
def test_openssl_reads_it(api: Any, tmp_path: Path) -> None:
    answer = api.post("/os-keypairs", {"keypair": {"name": "win", "type": "x509"}}, version="2.2")
    path = tmp_path / "bundle"
    path.write_bytes(base64.b64decode(answer.json["keypair"]["private_key"]))
    run = subprocess.run(
        ["openssl", "pkcs12", "-in", str(path), "-passin", "pass:", "-nodes"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "BEGIN PRIVATE KEY" in run.stdout
    assert "BEGIN CERTIFICATE" in run.stdout


def test_import_x509(api: Any) -> None:
    certificate = material.new("x509", "somebody").public_key
    body = {"keypair": {"name": "win", "type": "x509", "public_key": certificate}}
    answer = api.post("/os-keypairs", body, version="2.2")
    assert answer.status_code == 201
    keypair = answer.json["keypair"]
    assert set(keypair) == {*CREATED, "type"}
    digest = hashlib.sha1(base64.b64decode("".join(certificate.splitlines()[1:-1]))).digest()
    assert keypair["fingerprint"] == digest.hex(":")
    listed = api.get("/os-keypairs", version="2.2").json["keypairs"][0]["keypair"]
    assert listed["type"] == "x509"
    assert "type" not in api.get("/os-keypairs/win").json["keypair"]


@pytest.mark.parametrize(
    "public_key",
    ["", "x", ED25519, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é"],
    ids=["empty", "a letter", "a key of ssh", "no certificate inside", "not ASCII"],
)
def test_import_of_no_certificate(api: Any, public_key: str) -> None:
    body = {"keypair": {"name": "win", "type": "x509", "public_key": public_key}}
    found = message(api.post("/os-keypairs", body, version="2.2"), 400, "badRequest")
    assert found.startswith("Keypair data is invalid: failed to generate X509 fingerprint. Error message: ")
    assert api.get("/os-keypairs").json == {"keypairs": []}


def test_a_type_only_from_2_2_on(api: Any) -> None:
    for kind in ("ssh", "x509"):
        message(api.post("/os-keypairs", {"keypair": {"name": "a", "type": kind}}), 400, "badRequest")


# --- what is refused ---


@pytest.mark.parametrize("version", [None, "2.2"])
def test_bad_names(api: Any, version: str | None) -> None:
    signs = ["a/b", "a.b", "a@b", "a:b", "a\\b", "a%", "é", "a\tb", "a\n", "<x>"]
    for name in [*signs, "", " ", " a", "a ", "x" * 256, None, 5, True, [], {}]:
        body = {"keypair": {"name": name, "public_key": ED25519}}
        message(api.post("/os-keypairs", body, version=version), 400, "badRequest")


def test_good_names(api: Any) -> None:
    for name in ("a b", "-", "_", "x" * 255, "0", "None"):
        add(api, name)
        assert api.get(f"/os-keypairs/{name}").json["keypair"]["name"] == name
        assert api.delete(f"/os-keypairs/{name}").status_code == 202


BLOB = ED25519.split()[1]


BAD_KEYS = [
    "",
    " ",
    "x",
    "ssh-rsa",
    "ssh-rsa ",
    "ssh-rsa !!!!",
    "ssh-rsa AAAA",
    "ssh-ed25519 " + BLOB[:-8],
    "ssh-ed25519 " + BLOB[:-1],
    "ssh-rsa " + BLOB,
    "ssh-unknown " + BLOB,
    " " + ED25519,
    "\n" + ED25519,
    'command="sh" ' + ED25519,
    "ssh-ed25519 " + base64.b64encode(b"\xff" * 51).decode(),
    "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\xff\xff\xff\xff" + b"x" * 32).decode(),
    "ecdsa-sha2-nistp256 "
    + base64.b64encode(b"\0\0\0\x13ecdsa-sha2-nistp256\0\0\0\x08nistp256\0\0\0\x41\x04" + b"\1" * 64).decode(),
    "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    "é" * 100,
    "ssh-rsa " + "A" * 100_000,
    security_key("ecdsa-sha2-nistp256", b"nistp256", b"\2" + b"\1" * 32),  # a compressed point
]


def test_bad_keys(api: Any) -> None:
    for public_key in BAD_KEYS:
        answer = api.post("/os-keypairs", {"keypair": {"name": "a", "public_key": public_key}})
        assert message(answer, 400, "badRequest") == "Keypair data is invalid: failed to generate fingerprint"
    assert api.get("/os-keypairs").json == {"keypairs": []}


BAD_BODIES: list[Any] = [
    None,
    [],
    "x",
    {},
    {"keypair": None},
    {"keypair": []},
    {"keypair": {}},
    {"keypair": {"public_key": ED25519}},
    {"keypair": {"name": "a", "public_key": None}},
    {"keypair": {"name": "a", "public_key": 5}},
    {"keypair": {"name": "a", "public_key": ["x"]}},
    {"keypair": {"name": "a", "unknown": 1}},
    {"keypair": {"name": "a", "user_id": "x"}},
    {"keypair": {"name": "a", "type": "dsa"}},
    {"keypair": {"name": "a", "type": None}},
    {"keypair": {"name": "a", "public_key": ED25519}, "more": 1},
]


@pytest.mark.parametrize("version", [None, "2.2", "2.3"])
def test_bad_bodies(api: Any, version: str | None) -> None:
    for body in BAD_BODIES:
        message(api.post("/os-keypairs", body, version=version), 400, "badRequest")


def test_the_same_name_twice(api: Any) -> None:
    add(api)
    for body in ({"name": "mine"}, {"name": "mine", "public_key": ED25519}):
        answer = api.post("/os-keypairs", {"keypair": body})
        assert message(answer, 409, "conflictingRequest") == "Key pair 'mine' already exists."


def test_what_is_not_there(api: Any) -> None:
    add(api)
    for name in ("nope", "%25", "_", "' or 1=1 --", "é", "a:b", "x" * 1000):
        shown = "%" if name == "%25" else name
        for answer in (api.get(f"/os-keypairs/{name}"), api.delete(f"/os-keypairs/{name}")):
            assert message(answer, 404, "itemNotFound") == f"Keypair {shown} not found for user {api.user_id}"


def test_other_methods(api: Any) -> None:
    add(api)
    for method, path in [("PUT", "/os-keypairs/mine"), ("DELETE", "/os-keypairs"), ("PATCH", "/os-keypairs/mine")]:
        message(api.request(method, path, {"keypair": {"name": "a"}}), 404, "itemNotFound")


def test_no_token(api: Any) -> None:
    for method, path in [
        ("GET", "/os-keypairs"),
        ("GET", "/os-keypairs/a"),
        ("POST", "/os-keypairs"),
        ("DELETE", "/os-keypairs/a"),
    ]:
        message(api.request(method, path, headers={"X-Auth-Token": ""}), 401, "unauthorized")


# --- whose they are ---


def test_they_are_the_users_in_every_project(api: Any) -> None:
    add(api)
    elsewhere = api.become("reader", user_id=api.user_id)
    assert elsewhere.get("/os-keypairs/mine").status_code == 200
    add(elsewhere, "from a reader")
    assert len(api.get("/os-keypairs").json["keypairs"]) == 2


@pytest.mark.parametrize("role", ["reader", "member", "manager", "service", "admin"])
def test_nobody_elses(api: Any, role: str) -> None:
    add(api)
    other = api.become(role, project_id=api.project_id)
    assert other.get("/os-keypairs").json == {"keypairs": []}
    for query in ("", f"?user_id={api.user_id}"):  # read only from 2.10 on
        message(other.get("/os-keypairs/mine" + query), 404, "itemNotFound")
        message(other.delete("/os-keypairs/mine" + query), 404, "itemNotFound")
        assert other.get("/os-keypairs" + query).json == {"keypairs": []}
    assert add(other)["user_id"] == other.user_id
    assert api.delete("/os-keypairs/mine").status_code == 202
    assert other.get("/os-keypairs/mine").status_code == 200


def test_another_users_from_2_10_on(api: Any, admin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(versions, "MAX", versions.Version(2, 10))
    new = {"version": "2.10"}
    body = {"keypair": {"name": "given", "public_key": ED25519, "user_id": api.user_id}}
    query = f"?user_id={api.user_id}"
    other = api.become("member")
    message(other.post("/os-keypairs", body, **new), 403, "forbidden")
    assert admin.post("/os-keypairs", body, **new).json["keypair"]["user_id"] == api.user_id
    assert api.get("/os-keypairs/given").status_code == 200
    assert admin.get("/os-keypairs/given" + query, **new).json["keypair"]["user_id"] == api.user_id
    assert len(admin.get("/os-keypairs" + query, **new).json["keypairs"]) == 1
    assert admin.get("/os-keypairs", **new).json == {"keypairs": []}
    for method, path in [("GET", "/os-keypairs"), ("GET", "/os-keypairs/given"), ("DELETE", "/os-keypairs/given")]:
        message(other.request(method, path + query, **new), 403, "forbidden")
    assert admin.delete("/os-keypairs/given" + query, **new).status_code == 204
    assert api.get("/os-keypairs").json == {"keypairs": []}


# --- quota ---


def limited(settings: Settings, db: Database, api: Api, most: int) -> Api:
    app = create_app(replace(settings, quota_key_pairs=most), db=db)
    return Api(app, api._codec, ("member",), api.project_id, api.user_id)


def test_quota(settings: Settings, db: Database, api: Api) -> None:
    user = limited(settings, db, api, 2)
    add(user, "a")
    add(user, "b")
    for body in (
        {"name": "c"},
        {"name": "c", "public_key": ED25519},
        {"name": "c", "public_key": "nonsense"},
        {"name": "a"},
    ):
        answer = user.post("/os-keypairs", {"keypair": body})
        assert message(answer, 403, "forbidden") == "Quota exceeded, too many key pairs."
    add(user.become("member"), "c")  # each user's own
    user.delete("/os-keypairs/a")
    add(user, "c")


def test_no_limit(settings: Settings, db: Database, api: Api) -> None:
    add(limited(settings, db, api, -1))
    message(limited(settings, db, api, 0).post("/os-keypairs", {"keypair": {"name": "b"}}), 403, "forbidden")


def test_quota_with_many_at_once(settings: Settings, db: Database, api: Api) -> None:
    user = limited(settings, db, api, 3)

    def ask(number: int) -> int:
        body = {"keypair": {"name": f"k{number}", "public_key": ED25519}}
        status: int = user.post("/os-keypairs", body).status_code
        return status

    with ThreadPoolExecutor(8) as pool:
        found = sorted(pool.map(ask, range(8)))
    assert found == [200] * 3 + [403] * 5


# --- /v2 ---


def test_v2(api: Any) -> None:
    body = {"keypair": {"name": " a.b ", "public_key": ED25519, "type": {"no": 1}, "user_id": 5, "more": 1}, "more": 1}
    answer = api.post("/v2/os-keypairs", body)
    assert answer.status_code == 200
    assert set(answer.json["keypair"]) == CREATED
    assert answer.json["keypair"]["name"] == "a.b"
    assert api.get("/v2/os-keypairs/a.b").json["keypair"]["user_id"] == api.user_id
    assert api.delete("/v2/os-keypairs/a.b").status_code == 202
    message(api.post("/v2/os-keypairs", {"keypair": {"name": "  "}}), 400, "badRequest")


def test_when_it_was_made(api: Any) -> None:
    before = clock.now()
    add(api)
    assert before <= api.get("/os-keypairs/mine").json["keypair"]["created_at"] <= clock.now()
