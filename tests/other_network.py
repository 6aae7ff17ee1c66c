# SPDX-License-Identifier: Apache-2.0
"""A Neutron for tests: the embedded Networking API of a second cloud, over HTTP, with a database of its own."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.backends.network.neutron import Neutron
from computeapi.context import Context, with_implied
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.conftest import Api
from tests.databases import create_tables

SERVICE = Context("", uuid.uuid4().hex, uuid.uuid4().hex, with_implied(("admin", "service")))


@dataclass
class OtherNetwork:
    """The client, an administrator there, and what was asked over HTTP (WSGI's environ)."""

    neutron: Neutron
    admin: Api
    url: str
    db: Database
    settings: Settings
    seen: list[dict[str, Any]] = field(default_factory=list)
    says: dict[str, Any] = field(default_factory=dict)

    def member(self, settings: Settings, db: Database) -> Api:
        """A cloud that asks it, as a member of a project of its own."""
        app = create_app(replace(settings, network_url=self.url), db=db, neutron=self.neutron)
        return Api(app, TokenCodec(settings.secret("tokens")), ("member",), uuid.uuid4().hex, uuid.uuid4().hex)

    def network(self, project_id: str | None = None, cidr: str = "10.9.0.0/24", **more: Any) -> str:
        """A network with a subnet, of that project, or everybody's; its id."""
        owner = {"project_id": project_id} if project_id else {"shared": True}
        body = {"name": "theirs", **owner, **more}
        network_id = self.admin.post("/network/v2.0/networks", {"network": body}).json["network"]["id"]
        subnet = {"network_id": network_id, "ip_version": 6 if ":" in cidr else 4, "cidr": cidr, **owner}
        subnet.pop("shared", None)
        answer = self.admin.post("/network/v2.0/subnets", {"subnet": subnet})
        assert answer.status_code == 201, answer.text
        return str(network_id)

    def port(self, network_id: str, project_id: str, **more: Any) -> dict[str, Any]:
        """A port that a user made."""
        body = {"network_id": network_id, "project_id": project_id, **more}
        answer = self.admin.post("/network/v2.0/ports", {"port": body})
        assert answer.status_code == 201, answer.text
        return dict(answer.json["port"])

    def ports(self, **filters: str) -> list[dict[str, Any]]:
        """Ports as an administrator sees them, without those of subnets' own services."""
        found = self.admin.get("/network/v2.0/ports", params=filters).json["ports"]
        return [port for port in found if not port["device_owner"].startswith("network:")]


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_what: Any) -> None:
        """Nothing."""


@contextmanager
def other_network(settings: Settings, directory: Path) -> Iterator[OtherNetwork]:
    """It, until the end, on SQLite: there is one PostgreSQL database for all tests."""
    directory.mkdir()
    theirs = replace(settings, state_dir=str(directory), connection="", network_url="")
    create_tables(theirs.database_url)
    db = Database(theirs.database_url)
    seen: list[dict[str, Any]] = []
    app, codec = create_app(theirs, db=db), TokenCodec(theirs.secret("tokens"))

    def watch(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append(dict(environ))
        return app(environ, start_response)

    with make_server("127.0.0.1", 0, watch, handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/network"
        neutron = Neutron(url, lambda: token(codec, SERVICE), lambda context: token(codec, context))
        admin = Api(app, codec, ("admin",), SERVICE.project_id or "", SERVICE.user_id)
        yield OtherNetwork(neutron, admin, url, db, theirs, seen)
        server.shutdown()
        thread.join()
    db.close()


def token(codec: TokenCodec, context: Context) -> str:
    """A token of that user in that cloud."""
    now, then = clock.now(), clock.shifted(600)
    roles = tuple(context.roles)
    values = (context.user_id, context.project_id, None, False, roles, ("password",), now, then, uuid.uuid4().hex)
    return codec.seal(Claims(*values))
