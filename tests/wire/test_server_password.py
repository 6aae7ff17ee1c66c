# SPDX-License-Identifier: Apache-2.0
"""os-server-password."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from computeapi.api.compute.servers import actions
from computeapi.db.engine import Database
from computeapi.db.queries import server_password
from tests.conftest import Api
from tests.wire.conftest import MakeServer
from tests.wire.operating import refused

SECRET = "xlozO3wLCBRWAa2yDjCCVx8vwNPypxnypmRYDa/zErlQ+EzPe1S/Gz6nfmC52mOlOSCRuUOmG7kqqgejPof6M7b=="


def test_password(api: Api, db: Database, make_server: MakeServer) -> None:
    server = make_server()
    path = f"/servers/{server.uuid}/os-server-password"
    answer = api.get(path)
    assert (answer.status_code, answer.json) == (200, {"password": ""})
    with db.write() as conn:
        server_password.put(conn, server.id, SECRET)
    assert api.get(path).json == {"password": SECRET}
    answer = api.delete(path)
    assert (answer.status_code, answer.text) == (204, "")
    assert api.get(path).json == {"password": ""}
    assert api.delete(path).status_code == 204


def test_who_may(api: Api, admin: Api, db: Database, make_server: MakeServer) -> None:
    server = make_server()
    path = f"/servers/{server.uuid}/os-server-password"
    with db.write() as conn:
        server_password.put(conn, server.id, SECRET)
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(path).json == {"password": SECRET}
    refused(reader.delete(path), 403)
    refused(api.become("member").get(path), 404)
    refused(api.become("member").delete(path), 404)
    assert admin.get(path).json == {"password": SECRET}
    assert api.get(path, headers={"X-Auth-Token": ""}).status_code == 401
    for nobody in (str(uuid.uuid4()), "x", "%25"):
        refused(api.get(f"/servers/{nobody}/os-server-password"), 404)
        refused(api.delete(f"/servers/{nobody}/os-server-password"), 404)


# --- changePassword ---


def change(api: Api, monkeypatch: pytest.MonkeyPatch, server_id: str, password: str = "n\u00e4w") -> dict[str, Any]:
    """Ask for it; what the host was asked."""
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(actions, "ask", lambda *arguments: asked.append(arguments[-1]))
    answer = api.post(f"/servers/{server_id}/action", {"changePassword": {"adminPass": password}})
    assert (answer.status_code, answer.text) == (202, "")
    (found,) = asked
    return found


def public(key: Any) -> str:
    kinds = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return str(key.public_key().public_bytes(*kinds).decode())


@pytest.mark.parametrize(
    ("properties", "user"),
    [
        ({}, "root"),
        ({"os_admin_user": "core"}, "core"),
        ({"os_type": "windows"}, "Administrator"),
        ({"os_type": "linux", "os_admin_user": ""}, "root"),
    ],
)
def test_whose_password(
    api: Api, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch, properties: dict[str, str], user: str
) -> None:
    server = make_server(image_json=orjson.dumps(properties).decode())
    assert change(api, monkeypatch, server.uuid) == {"user": user, "password": "n\u00e4w"}
    assert api.get(f"/servers/{server.uuid}/os-server-password").json == {"password": ""}


def test_the_keys_owner_is_told(api: Api, make_server: MakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that was set last; what is too long for the key is not kept, nor what no RSA key can encrypt."""
    key = rsa.generate_private_key(65537, 1024)
    server = make_server(key_name="mine", key_data=public(key) + " me@here")
    path = f"/servers/{server.uuid}/os-server-password"
    for password in ("n\u00e4w", "newer"):
        change(api, monkeypatch, server.uuid, password)
        kept = base64.b64decode(api.get(path).json["password"])
        assert key.decrypt(kept, padding.PKCS1v15()).decode() == password
    change(api, monkeypatch, server.uuid, "x" * 200)
    assert key.decrypt(base64.b64decode(api.get(path).json["password"]), padding.PKCS1v15()) == b"newer"
    for data in (public(ed25519.Ed25519PrivateKey.generate()), "ssh-rsa nonsense"):
        server = make_server(key_name="mine", key_data=data)
        change(api, monkeypatch, server.uuid)
        assert api.get(f"/servers/{server.uuid}/os-server-password").json == {"password": ""}
