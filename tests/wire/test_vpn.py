# SPDX-License-Identifier: Apache-2.0
"""os-fping, os-certificates and os-cloudpipe."""

from __future__ import annotations

import base64
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import select

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.db.models import CertificateAuthority, Server
from computeapi.settings import Settings
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot, MakeServer


@contextmanager
def working(compute: Compute) -> Iterator[None]:
    """The host answers while the test asks."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.02):
            compute.work()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


# --- fping ---


def test_fping(api: Api, admin: Api, boot: Boot, compute: Compute, make_server: MakeServer) -> None:
    alive, off, nowhere = boot(), boot(), make_server(host=None).uuid
    api.post(f"/servers/{off}/action", {"os-stop": None})
    compute.work()

    def shown(path: str, asker: Api = api) -> dict[str, bool]:
        answer = asker.get(path)
        assert answer.status_code == 200, answer.text
        assert all(set(item) == {"id", "project_id", "alive"} for item in answer.json["servers"])
        return {item["id"]: item["alive"] for item in answer.json["servers"]}

    wanted = {alive: True, off: False, nowhere: False}
    with working(compute):
        assert shown("/os-fping") == wanted
        assert shown(f"/os-fping?include={alive},{nowhere}&exclude={alive}") == {alive: True, nowhere: False}
        assert shown(f"/os-fping?exclude={alive}") == {off: False, nowhere: False}
        assert shown("/os-fping?include=x") == {}
        assert shown("/os-fping", admin) == {}
        assert shown("/os-fping?all_tenants=1", admin) == wanted
        one = api.get(f"/os-fping/{alive}")
    assert api.get("/os-fping?all_tenants=1").status_code == 403
    assert one.json == {"server": {"id": alive, "project_id": api.project_id, "alive": True}}
    assert api.become("member").get(f"/os-fping/{alive}").status_code == 404
    assert api.get(f"/os-fping/{uuid.uuid4()}").status_code == 404


# --- certificates ---


def test_certificates(api: Api, db: Database) -> None:
    root = api.get("/os-certificates/root")
    assert root.status_code == 200
    assert root.json["certificate"]["private_key"] is None
    made = api.post("/os-certificates")
    assert made.status_code == 201
    authority = x509.load_pem_x509_certificate(root.json["certificate"]["data"].encode())
    certificate = x509.load_pem_x509_certificate(made.json["certificate"]["data"].encode())
    certificate.verify_directly_issued_by(authority)
    authority.verify_directly_issued_by(authority)
    assert certificate.signature_hash_algorithm is not None
    assert certificate.signature_hash_algorithm.name == "sha256"
    key = serialization.load_pem_private_key(made.json["certificate"]["private_key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.public_key() == certificate.public_key()
    assert api.user_id in certificate.subject.rfc4514_string()
    assert api.get("/os-certificates/root").json == root.json
    assert api.become("member").get("/os-certificates/root").json != root.json
    with db.read() as conn:
        assert "PRIVATE" not in "".join(conn.execute(select(CertificateAuthority.sealed_key)).scalars())


def test_certificates_that_are_not_to_be_had(api: Api) -> None:
    assert api.get("/os-certificates/1").status_code == 404
    assert api.post("/os-certificates", {}).status_code == 201
    assert api.post("/os-certificates", {"name": "x"}).status_code == 400
    reader = api.become("reader", project_id=api.project_id)
    assert reader.post("/os-certificates").status_code == 403
    assert reader.get("/os-certificates/root").status_code == 200


# --- cloudpipe ---


@pytest.fixture
def operator(settings: Settings, db: Database, base_image: str, flavor: str) -> Api:
    """An administrator of a cloud that has an image for VPN servers."""
    app = create_app(replace(settings, vpn_image_id=base_image, vpn_flavor=flavor), db=db)
    return Api(app, TokenCodec(settings.secret("tokens")), ("admin",), uuid.uuid4().hex, uuid.uuid4().hex)


def test_cloudpipe(operator: Api, db: Database, compute: Compute, network: str) -> None:
    project = uuid.uuid4().hex
    made = operator.post("/os-cloudpipe", {"cloudpipe": {"project_id": project}})
    assert made.status_code == 200, made.text
    server_id = made.json["instance_id"]
    assert operator.post("/os-cloudpipe", {"cloudpipe": {"project_id": project}}).json == {"instance_id": server_id}
    compute.work()
    (shown,) = operator.get("/os-cloudpipe").json["cloudpipes"]
    assert set(shown) == {
        "project_id",
        "instance_id",
        "created_at",
        "internal_ip",
        "public_ip",
        "public_port",
        "state",
    }
    assert (shown["project_id"], shown["instance_id"], shown["state"]) == (project, server_id, "invalid")
    member = operator.become("admin", project_id=project)
    body = {"configure_project": {"vpn_ip": "192.168.1.1", "vpn_port": "2000"}}
    for answer in (
        member.post("/os-cloudpipe/configure-project", body),
        member.put("/os-cloudpipe/configure-project", body),
    ):
        assert (answer.status_code, answer.text) == (202, "")
    with working(compute):
        (shown,) = operator.get("/os-cloudpipe").json["cloudpipes"]
    assert (shown["public_ip"], shown["public_port"], shown["state"]) == ("192.168.1.1", 2000, "running")
    operator.post(f"/servers/{server_id}/action", {"os-stop": None})
    compute.work()
    with working(compute):
        (shown,) = operator.get("/os-cloudpipe").json["cloudpipes"]
    assert shown["state"] == "down"
    with db.read() as conn:
        user_data = conn.execute(select(Server.user_data).where(Server.uuid == server_id)).scalar_one()
    script = base64.b64decode(user_data or "").decode()
    assert "BEGIN CERTIFICATE" in script
    assert "PRIVATE" not in script
    groups = operator.get(f"/servers/{server_id}/os-security-groups").json["security_groups"]
    assert [rule["ip_protocol"] for rule in groups[0]["rules"]] == ["udp", "icmp"]


def test_configuring_shows_in_networks(admin: Api) -> None:
    admin.post("/network/v2.0/networks", {"network": {"name": "mine"}})
    body = {"configure_project": {"vpn_ip": "192.168.1.1", "vpn_port": 2000}}
    assert admin.put("/os-cloudpipe/configure-project", body).status_code == 202
    (network,) = [item for item in admin.get("/os-networks").json["networks"] if item["label"] == "mine"]
    assert (network["vpn_public_address"], network["vpn_public_port"]) == ("192.168.1.1", 2000)


def test_bad_cloudpipes(admin: Api, api: Api) -> None:
    assert admin.get("/os-cloudpipe").json == {"cloudpipes": []}
    assert admin.post("/os-cloudpipe", {"cloudpipe": {}}).status_code == 400  # no image is configured
    assert admin.post("/os-cloudpipe", {"cloudpipe": {"project_id": 1}}).status_code == 400
    assert admin.post("/os-cloudpipe", {}).status_code == 400
    assert api.get("/os-cloudpipe").status_code == 403
    assert api.post("/os-cloudpipe", {"cloudpipe": {}}).status_code == 403
    for wrong in ({"vpn_ip": "x"}, {"vpn_port": 65536}, {"vpn_port": "x"}, {"unknown": 1}):
        body: dict[str, Any] = {"configure_project": {"vpn_ip": "192.168.1.1", "vpn_port": 2000} | wrong}
        assert admin.put("/os-cloudpipe/configure-project", body).status_code == 400
    assert admin.put("/os-cloudpipe/configure-project", {"configure_project": {}}).status_code == 400
