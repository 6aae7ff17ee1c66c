# SPDX-License-Identifier: Apache-2.0
"""os-server-password."""

from __future__ import annotations

import uuid

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
