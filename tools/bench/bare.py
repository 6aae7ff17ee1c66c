# SPDX-License-Identifier: Apache-2.0
"""The limit of the stack: the same rows and the same JSON by Falcon, SQLAlchemy Core and orjson, and nothing else.

No token is looked at, no rule asked, no body checked, no state, no quota. What the real thing costs more than this is
ours to answer for.
"""

from __future__ import annotations

import gc
import hashlib
import uuid
from base64 import b64decode
from typing import Any

import falcon
import orjson
from sqlalchemy import Table, bindparam, delete, insert, select, update

from computeapi import clock, settings
from computeapi.db.engine import Database
from computeapi.db.models import Action, Allocation, FixedIp, Flavor, Host, Keypair, Port, Server

_SERVER: Any = Server.__table__
_FLAVOR: Any = Flavor.__table__
_KEYPAIR: Any = Keypair.__table__
_SHOWN = """
    uuid name vm_state project_id user_id metadata_json host image_id flavor_id created_at updated_at addresses_json
    access_ip_v4 access_ip_v6 disk_config progress availability_zone config_drive key_name launched_at terminated_at
    security_groups_json task_state power_state volumes_json
""".split()  # noqa: SIM905  (a list a line each says no more)
_OF_PROJECT = (_SERVER.c.project_id == bindparam("project"), _SERVER.c.deleted == 0)
_ORDER = (_SERVER.c.created_at.desc(), _SERVER.c.id.desc())
_COLUMNS = [_SERVER.c[name] for name in _SHOWN]

ONE = select(*_COLUMNS).where(_SERVER.c.uuid == bindparam("uuid"), *_OF_PROJECT)
PAGE = select(*_COLUMNS).where(*_OF_PROJECT).order_by(*_ORDER).limit(bindparam("limit"))
BRIEF = select(_SERVER.c.uuid, _SERVER.c.name).where(*_OF_PROJECT).order_by(*_ORDER).limit(bindparam("limit"))
FLAVORS = select(
    _FLAVOR.c.flavor_id,
    _FLAVOR.c.name,
    _FLAVOR.c.memory_mb,
    _FLAVOR.c.disk_gb,
    _FLAVOR.c.swap_mb,
    _FLAVOR.c.ephemeral_gb,
    _FLAVOR.c.disabled,
    _FLAVOR.c.vcpus,
    _FLAVOR.c.is_public,
    _FLAVOR.c.rxtx_factor,
).order_by(_FLAVOR.c.flavor_id)
SET_METADATA = update(_SERVER).where(_SERVER.c.uuid == bindparam("key")).values(metadata_json=bindparam("metadata"))
REMOVE_KEYPAIR = delete(_KEYPAIR).where(_KEYPAIR.c.user_id == bindparam("user"), _KEYPAIR.c.name == bindparam("of"))


def _show(rows: Any, host: str) -> list[dict[str, Any]]:
    fragment = orjson.Fragment
    own, mark = host + "/v2.1/servers/", host + "/servers/"
    image, flavor = host + "/images/", host + "/flavors/"
    shown = []
    for (
        uuid_,
        name,
        vm_state,
        project_id,
        user_id,
        metadata,
        on,
        image_id,
        flavor_id,
        created,
        updated,
        addresses,
        ip_v4,
        ip_v6,
        disk_config,
        progress,
        zone,
        config_drive,
        key_name,
        launched,
        terminated,
        groups,
        task_state,
        power_state,
        volumes,
    ) in rows:
        shown.append(
            {
                "id": uuid_,
                "name": name,
                "links": [{"rel": "self", "href": own + uuid_}, {"rel": "bookmark", "href": mark + uuid_}],
                "status": vm_state.upper(),
                "tenant_id": project_id,
                "user_id": user_id,
                "metadata": fragment(metadata),
                "hostId": hashlib.sha224((project_id + on).encode()).hexdigest() if on else "",
                "image": {"id": image_id, "links": [{"rel": "bookmark", "href": image + image_id}]},
                "flavor": {"id": flavor_id, "links": [{"rel": "bookmark", "href": flavor + flavor_id}]},
                "created": created[:19] + "Z",
                "updated": updated[:19] + "Z",
                "addresses": fragment(addresses),
                "accessIPv4": ip_v4,
                "accessIPv6": ip_v6,
                "OS-DCF:diskConfig": disk_config,
                "progress": progress,
                "OS-EXT-AZ:availability_zone": zone or "nova",
                "config_drive": config_drive,
                "key_name": key_name,
                "OS-SRV-USG:launched_at": launched,
                "OS-SRV-USG:terminated_at": terminated,
                "security_groups": fragment(groups),
                "OS-EXT-STS:task_state": task_state,
                "OS-EXT-STS:vm_state": vm_state,
                "OS-EXT-STS:power_state": power_state,
                "os-extended-volumes:volumes_attached": fragment(volumes),
            }
        )
    return shown


class _Handler:
    def __init__(self, db: Database, project_id: str, user_id: str) -> None:
        self.db, self.project_id, self.user_id = db, project_id, user_id


class Version(_Handler):
    """GET /v2.1/."""

    def on_get(self, req: Any, resp: Any) -> None:
        shown = {
            "id": "v2.1",
            "status": "CURRENT",
            "version": "2.3",
            "min_version": "2.1",
            "updated": "2013-07-23T11:33:21Z",
            "links": [
                {"rel": "self", "href": req.prefix + "/v2.1/"},
                {"rel": "describedby", "type": "text/html", "href": "http://docs.openstack.org/"},
            ],
            "media-types": [{"base": "application/json", "type": "application/vnd.openstack.compute+json;version=2.1"}],
        }
        resp.data = orjson.dumps({"version": shown})


class Flavors(_Handler):
    """GET /flavors/detail."""

    def on_get(self, req: Any, resp: Any) -> None:
        with self.db.read() as conn:
            rows = conn.execute(FLAVORS).all()
        own, mark = req.prefix + "/v2.1/flavors/", req.prefix + "/flavors/"
        shown = [
            {
                "id": flavor_id,
                "name": name,
                "ram": memory,
                "disk": disk,
                "swap": swap or "",
                "OS-FLV-EXT-DATA:ephemeral": ephemeral,
                "OS-FLV-DISABLED:disabled": bool(disabled),
                "vcpus": vcpus,
                "os-flavor-access:is_public": bool(public),
                "rxtx_factor": rxtx,
                "links": [{"rel": "self", "href": own + flavor_id}, {"rel": "bookmark", "href": mark + flavor_id}],
            }
            for flavor_id, name, memory, disk, swap, ephemeral, disabled, vcpus, public, rxtx in rows
        ]
        resp.data = orjson.dumps({"flavors": shown})


class OneServer(_Handler):
    """GET /servers/{id}."""

    def on_get(self, req: Any, resp: Any, server: str) -> None:
        with self.db.read() as conn:
            rows = conn.execute(ONE, {"uuid": server, "project": self.project_id}).all()
        resp.data = orjson.dumps({"server": _show(rows, req.prefix)[0]})


class Servers(_Handler):
    """GET /servers and POST /servers."""

    def on_get(self, req: Any, resp: Any) -> None:
        limit = int(req.params["limit"])
        with self.db.read() as conn:
            rows = conn.execute(BRIEF, {"project": self.project_id, "limit": limit}).all()
        own, mark = req.prefix + "/v2.1/servers/", req.prefix + "/servers/"
        shown = [
            {
                "id": key,
                "name": name,
                "links": [{"rel": "self", "href": own + key}, {"rel": "bookmark", "href": mark + key}],
            }
            for key, name in rows
        ]
        resp.data = orjson.dumps({"servers": shown} | _more(req, "servers", shown, limit))

    def on_post(self, req: Any, resp: Any) -> None:
        wanted = orjson.loads(req.bounded_stream.read())["server"]
        with self.db.write() as conn:
            server = _make_server(conn, wanted, self.project_id, self.user_id)
        resp.status = 202
        links = _links(req.prefix, server)
        shown = {"id": server, "links": links, "OS-DCF:diskConfig": "MANUAL", "adminPass": uuid.uuid4().hex[:12]}
        resp.data = orjson.dumps({"server": shown | {"security_groups": [{"name": "default"}]}})


class Detail(_Handler):
    """GET /servers/detail."""

    def on_get(self, req: Any, resp: Any) -> None:
        limit = int(req.params["limit"])
        with self.db.read() as conn:
            rows = conn.execute(PAGE, {"project": self.project_id, "limit": limit}).all()
        shown = _show(rows, req.prefix)
        resp.data = orjson.dumps({"servers": shown} | _more(req, "servers/detail", shown, limit))


class Metadata(_Handler):
    """PUT /servers/{id}/metadata."""

    def on_put(self, req: Any, resp: Any, server: str) -> None:
        body = orjson.loads(req.bounded_stream.read())
        with self.db.write() as conn:
            conn.execute(SET_METADATA, {"key": server, "metadata": orjson.dumps(body["metadata"]).decode()})
        resp.data = orjson.dumps(body)


class Keypairs(_Handler):
    """POST /os-keypairs."""

    def on_post(self, req: Any, resp: Any) -> None:
        wanted = orjson.loads(req.bounded_stream.read())["keypair"]
        key = wanted["public_key"]
        digest = hashlib.md5(b64decode(key.split()[1])).digest().hex(":")
        shown = {"name": wanted["name"], "public_key": key, "fingerprint": digest, "user_id": self.user_id}
        with self.db.write() as conn:
            conn.execute(insert(_KEYPAIR), shown | {"type": "ssh", "created_at": clock.now()})
        resp.data = orjson.dumps({"keypair": shown})


class OneKeypair(_Handler):
    """DELETE /os-keypairs/{name}."""

    def on_delete(self, req: Any, resp: Any, name: str) -> None:
        with self.db.write() as conn:
            conn.execute(REMOVE_KEYPAIR, {"user": self.user_id, "of": name})
        resp.status = 202


def _links(host: str, key: str) -> list[dict[str, str]]:
    return [
        {"rel": "self", "href": f"{host}/v2.1/servers/{key}"},
        {"rel": "bookmark", "href": f"{host}/servers/{key}"},
    ]


def _more(req: Any, path: str, shown: list[Any], limit: int) -> dict[str, Any]:
    if len(shown) < limit:
        return {}
    href = f"{req.prefix}/v2.1/{path}?limit={limit}&marker={shown[-1]['id']}"
    return {f"{path.split('/')[0]}_links": [{"rel": "next", "href": href}]}


def _table(model: type) -> Table:
    table: Table = model.__table__  # type: ignore[attr-defined]
    return table


def _make_server(conn: Any, wanted: dict[str, Any], project_id: str, user_id: str) -> str:
    """The rows of a new server: itself, its port and address, its place on a host, and the work to do."""
    key, moment = str(uuid.uuid4()), clock.now()
    row = {
        "uuid": key,
        "project_id": project_id,
        "user_id": user_id,
        "name": wanted["name"],
        "hostname": wanted["name"],
        "vm_state": "building",
        "task_state": "scheduling",
        "host": "bare",
        "node": "bare",
        "image_id": wanted["imageRef"],
        "flavor_id": wanted["flavorRef"],
        "flavor_json": "{}",
        "vcpus": 1,
        "memory_mb": 96,
        "disk_gb": 1,
        "key_name": wanted["key_name"],
        "metadata_json": orjson.dumps(wanted["metadata"]).decode(),
        "created_at": moment,
        "updated_at": moment,
    }
    server = conn.execute(insert(_SERVER), row).inserted_primary_key[0]
    mac = "fa:16:3e:" + ":".join(key[at : at + 2] for at in (0, 2, 4))
    port_row = {"uuid": key, "network_id": 1, "server_id": server, "mac": mac, "created_at": moment}
    port = conn.execute(insert(_table(Port)), port_row).inserted_primary_key[0]
    address = {"subnet_id": 1, "offset": (1 << 40) + server, "address": f"bare-{server}", "port_id": port}
    conn.execute(insert(_table(FixedIp)), address)
    conn.execute(
        insert(_table(Allocation)), {"server_id": server, "host": "bare", "vcpus": 1, "memory_mb": 96, "disk_gb": 1}
    )
    conn.execute(update(_table(Host)).where(_table(Host).c.name == "bare").values(servers=_table(Host).c.servers + 1))
    action = {"server_id": server, "server_uuid": key, "request_id": "req-" + key, "project_id": project_id}
    work = {"name": "create", "operation": "build", "queue": "bare", "lane": server, "created_at": moment}
    conn.execute(insert(_table(Action)), action | work)
    return key


def create(project_id: str, user_id: str) -> Any:
    """The application; the database is that of the settings in force."""
    conf = settings.load()
    db = Database(conf.database_url, conf.sqlite_synchronous)
    app: Any = falcon.App(media_type="application/json")
    for path, kind in {
        "/v2.1/": Version,
        "/v2.1/flavors/detail": Flavors,
        "/v2.1/servers": Servers,
        "/v2.1/servers/detail": Detail,
        "/v2.1/servers/{server}": OneServer,
        "/v2.1/servers/{server}/metadata": Metadata,
        "/v2.1/os-keypairs": Keypairs,
        "/v2.1/os-keypairs/{name}": OneKeypair,
    }.items():
        app.add_route(path, kind(db, project_id, user_id))
    gc.collect()
    gc.freeze()  # as the real thing does
    return app
