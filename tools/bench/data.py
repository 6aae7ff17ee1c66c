# SPDX-License-Identifier: Apache-2.0
"""What is in the cloud that is measured: servers, a fifth of them the project's, written straight to the tables."""

from __future__ import annotations

import base64
import hashlib
import struct
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import insert

from computeapi import clock, states
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.backends.image.embedded import EmbeddedImages
from computeapi.context import with_implied
from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.db.models import Flavor, Keypair, Server
from computeapi.db.queries import addresses
from computeapi.settings import Settings

SERVERS = 10_000
KEYPAIRS = 20
FLAVORS = 6
_SHARE = 5  # every fifth server is the project's
_BATCH = 1000
_FLAVOR = {"name": "m1.small", "vcpus": 1, "ram": 2048, "disk": 20, "ephemeral": 0, "swap": 0, "rxtx_factor": 1.0}


@dataclass(frozen=True, slots=True)
class Cloud:
    """What scenarios ask for."""

    token: str
    project_id: str
    user_id: str
    server_id: str
    flavor_id: str
    image_id: str
    network_id: str


def public_key(number: int) -> str:
    """An ssh public key, ed25519, that nobody has the private half of."""
    blob = b"".join(
        struct.pack(">I", len(part)) + part for part in (b"ssh-ed25519", hashlib.sha256(b"%d" % number).digest())
    )
    return f"ssh-ed25519 {base64.b64encode(blob).decode()} bench@localhost"


def fill(settings: Settings, db: Database, servers: int = SERVERS) -> Cloud:
    """Make the tables and what is in them; the rows are the same at each call but for their ids."""
    schema.create(db)
    project_id, user_id = uuid.uuid4().hex, uuid.uuid4().hex
    with db.write() as conn:
        conn.execute(insert(Flavor), [_flavor(number) for number in range(FLAVORS)])
        addresses.create_network(conn, name="private", cidr="10.96.0.0/16", shared=True)
        network_id = addresses.visible_networks(conn, project_id)[0][1]
    image = Path(settings.state_dir, "image.raw")
    image.write_bytes(bytes(1 << 20))
    image_id = EmbeddedImages(settings, db).ensure_image(None, "tiny", image, "raw")
    others = [uuid.uuid4().hex for _ in range(_SHARE - 1)]
    mine: list[str] = []
    for start in range(0, servers, _BATCH):
        rows = [_server(number, project_id, user_id, others, image_id) for number in range(start, start + _BATCH)]
        mine += [row["uuid"] for row in rows if row["project_id"] == project_id]
        with db.write() as conn:
            conn.execute(insert(Server), rows)
    with db.write() as conn:
        conn.execute(insert(Keypair), [_keypair(number, user_id) for number in range(KEYPAIRS)])
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql("ANALYZE")
    token = _token(settings, user_id, project_id)
    return Cloud(token, project_id, user_id, mine[len(mine) // 2], "0", image_id, network_id)


def _token(settings: Settings, user_id: str, project_id: str) -> str:
    claims = Claims(
        user_id=user_id,
        project_id=project_id,
        domain_id=None,
        system=False,
        roles=tuple(sorted(with_implied(["member"]))),
        methods=("password",),
        issued_at=clock.now(),
        expires_at=clock.shifted(3000),
        audit_id=uuid.uuid4().hex,
    )
    return TokenCodec(settings.secret("tokens")).seal(claims)


def _flavor(number: int) -> dict[str, Any]:
    """Number 0 is the least; each next has twice the memory."""
    return {
        "flavor_id": str(number),
        "name": f"flavor-{number}",
        "vcpus": 1,
        "memory_mb": 96 << number,
        "disk_gb": 1 + number,
        "created_at": clock.now(),
    }


def _server(number: int, project_id: str, user_id: str, others: list[str], image_id: str) -> dict[str, Any]:
    owner = project_id if number % _SHARE == 0 else others[number % _SHARE - 1]
    moment = clock.text(datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number))
    address = {
        "version": 4,
        "addr": f"10.96.{number // 250 + 8}.{number % 250 + 1}",
        "OS-EXT-IPS:type": "fixed",
        "OS-EXT-IPS-MAC:mac_addr": f"fa:16:3e:00:{number // 256:02x}:{number % 256:02x}",
    }
    return {
        "uuid": str(uuid.uuid4()),
        "project_id": owner,
        "user_id": user_id if owner == project_id else owner,
        "name": f"server-{number}",
        "hostname": f"server-{number}",
        "vm_state": states.ACTIVE,
        "power_state": 1,
        "host": f"host-{number % 100:03d}",
        "node": f"host-{number % 100:03d}",
        "reservation_id": f"r-{number:08d}",
        "image_id": image_id,
        "flavor_id": "2",
        "flavor_json": orjson.dumps(_FLAVOR).decode(),
        "vcpus": 1,
        "memory_mb": 2048,
        "disk_gb": 20,
        "key_name": "key-0",
        "metadata_json": orjson.dumps({"role": "web", "stage": "production", "number": str(number)}).decode(),
        "addresses_json": orjson.dumps({"private": [address]}).decode(),
        "created_at": moment,
        "updated_at": moment,
        "launched_at": moment,
    }


def _keypair(number: int, user_id: str) -> dict[str, Any]:
    key = public_key(number)
    digest = hashlib.md5(base64.b64decode(key.split()[1])).digest().hex(":")
    return {
        "user_id": user_id,
        "name": f"key-{number}",
        "type": "ssh",
        "fingerprint": digest,
        "public_key": key,
        "created_at": clock.now(),
    }
