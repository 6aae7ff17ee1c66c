# SPDX-License-Identifier: Apache-2.0
"""The Block Storage API, asked: paths are those below /volume/v3, versions are its own."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import insert

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.models import Volume, VolumeAttachment, VolumeSnapshot
from computeapi.db.queries.common import insert_key
from computeapi.versions import VOLUME_MAX
from tests.conftest import Api

NEWEST = str(VOLUME_MAX)


class Block:
    """`Block(api).get("/volumes")`, at the newest version unless told; each answer is checked for its status."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.project_id, self.user_id = api.project_id, api.user_id

    def ask(
        self, method: str, path: str, body: Any = None, expected: int = 200, version: str = NEWEST, **more: Any
    ) -> Any:
        """The JSON of the answer; None where there is none."""
        answer = self.answer(method, path, body, version, **more)
        assert answer.status_code == expected, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json if answer.text else None

    def answer(self, method: str, path: str, body: Any = None, version: str = NEWEST, **more: Any) -> Any:
        """The answer itself."""
        headers = {"OpenStack-API-Version": f"volume {version}", **more.pop("headers", {})}
        return self.api.request(method, f"/volume/v3{path}", body, headers=headers, **more)

    def get(self, path: str, **more: Any) -> Any:
        """GET."""
        return self.ask("GET", path, **more)

    def post(self, path: str, body: Any, expected: int = 200, **more: Any) -> Any:
        """POST."""
        return self.ask("POST", path, body, expected, **more)

    def put(self, path: str, body: Any, expected: int = 200, **more: Any) -> Any:
        """PUT."""
        return self.ask("PUT", path, body, expected, **more)

    def delete(self, path: str, expected: int = 202, **more: Any) -> Any:
        """DELETE."""
        return self.ask("DELETE", path, None, expected, **more)

    def act(self, volume_id: str, action: str, what: Any = None, expected: int = 202, **more: Any) -> Any:
        """POST …/volumes/{id}/action."""
        return self.post(f"/volumes/{volume_id}/action", {action: what}, expected, **more)

    def create(self, size: int | None = 1, **fields: Any) -> Any:
        """A volume to be."""
        body = fields if size is None else {"size": size, **fields}
        return self.post("/volumes", {"volume": body}, 202)["volume"]

    def refused(self, method: str, path: str, body: Any = None, status: int = 400, **more: Any) -> str:
        """The sentence of a fault, which is in Cinder's form."""
        answer = self.ask(method, path, body, status, **more)
        (fault,) = answer.values()
        assert fault["code"] == status
        return str(fault["message"])


def add_volume(db: Database, owner: Api | Block, **columns: Any) -> str:
    """A volume that is available, straight into the database; its id."""
    values = {
        "uuid": str(uuid.uuid4()),
        "project_id": owner.project_id,
        "user_id": owner.user_id,
        "size_gb": 1,
        "status": "available",
        "availability_zone": "nova",
        "host": "host1",
        "created_at": clock.now(),
        **columns,
    }
    with db.write() as conn:
        insert_key(conn, insert(Volume).values(**values))
    return str(values["uuid"])


def add_attachment(db: Database, owner: Api | Block, volume_id: str, **columns: Any) -> str:
    """An attachment that is made; its id."""
    values = {
        "uuid": str(uuid.uuid4()),
        "volume_id": volume_id,
        "project_id": owner.project_id,
        "server_id": str(uuid.uuid4()),
        "status": "attached",
        "device": "/dev/vdb",
        "attached_at": clock.now(),
        "created_at": clock.now(),
        **columns,
    }
    with db.write() as conn:
        conn.execute(insert(VolumeAttachment).values(**values))
    return str(values["uuid"])


def add_snapshot(db: Database, owner: Api | Block, **columns: Any) -> str:
    """A snapshot that is available; its id."""
    values = {
        "uuid": str(uuid.uuid4()),
        "volume_id": columns.get("volume_id") or add_volume(db, owner),
        "project_id": owner.project_id,
        "user_id": owner.user_id,
        "size_gb": 1,
        "status": "available",
        "created_at": clock.now(),
        **columns,
    }
    with db.write() as conn:
        conn.execute(insert(VolumeSnapshot).values(**values))
    return str(values["uuid"])
