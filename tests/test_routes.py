# SPDX-License-Identifier: Apache-2.0
"""Every row of ROUTES, asked by everybody: who has no token, who has no right, and who sends rubbish.

What each answers when all is well is in tests/wire. Here: 401 without a token, 403 where the rule says no, and whatever
is sent, never a 5xx.
"""

from __future__ import annotations

import importlib
import random
import re
import uuid
from collections.abc import Iterator
from typing import Any

import falcon.testing
import orjson
import pytest
from sqlalchemy import insert

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.context import Context, with_implied
from computeapi.db.engine import Database
from computeapi.db.models import Domain, Group, Keypair, Project, Role, User
from computeapi.db.queries import servers
from computeapi.endpoint import ANY_TOKEN, PUBLIC
from computeapi.policy import Policy
from computeapi.routes import ROUTES, list_rules
from computeapi.settings import Settings
from computeapi.versions import MAX, MIN, VOLUME_MAX, VOLUME_MIN
from tests.conftest import Api
from tests.databases import Engine
from tests.hostile import BODIES, EXAMPLE_IMAGE, EXAMPLE_TEXT, SEGMENTS, TEXTS, VALUES, bodies, example
from tests.tables import Line, lines
from tests.wire.block import add_attachment, add_snapshot, add_volume
from tests.wire.conftest import add_flavor, add_host, add_image, server_values

LINES = list(lines())
PROTECTED = [line for line in LINES if line.row.rule is not PUBLIC]
# name → (role, whether in the project that the things belong to). Each is a user of its own and owns none of them.
PERSONAS = {
    "member": ("member", True),
    "manager": ("manager", True),
    "reader": ("reader", True),
    "no role": ("stranger", True),
    "other project": ("member", False),
    "admin": ("admin", False),
}
MOST_MUTATIONS = 100  # a row
SLOW = {"identity"}  # a tenth of that: a password costs tens of milliseconds
# What a body must have beside what its schema says.
ALSO_REQUIRED = {"compute POST /servers": {"imageRef": EXAMPLE_IMAGE}}
JSON = "application/json"


def ids(line: Line) -> str:
    return line.name


class World:
    """A cloud with one of everything, of one project, by the names that examples use; and who asks for it."""

    def __init__(self, settings: Settings, db: Database) -> None:
        app = create_app(settings, db=db)
        codec = TokenCodec(settings.secret("tokens"))
        self._client = falcon.testing.TestClient(app)
        self.project_id, self.user_id = uuid.uuid4().hex, uuid.uuid4().hex
        owner = Api(app, codec, ("member",), self.project_id, self.user_id)
        self.personas = {
            name: owner.become(role, project_id=self.project_id if same_project else None)
            for name, (role, same_project) in PERSONAS.items()
        }
        self.names = self._fill(db)
        self.networks = self._fill_networks()
        self.volumes = self._fill_volumes(db)

    def _fill(self, db: Database) -> dict[str, str]:
        add_host(db, "host1")
        image = add_image(db, owner=self.project_id, uuid=EXAMPLE_IMAGE)
        values = server_values(self.project_id, self.user_id, metadata_json='{"key":"value"}', name="server")
        common = {"name": "thing", "domain_id": "default"}
        with db.write() as conn:
            servers.insert(conn, values)
            conn.execute(insert(Domain).values(id="default", name="Default"))
            conn.execute(insert(Project).values(id=self.project_id, parent_id="default", **common))
            conn.execute(insert(User).values(id=self.user_id, created_at=clock.now(), **common))
            conn.execute(insert(Group).values(id="group", **common))
            conn.execute(insert(Role).values(id="role", name="thing"))
            key = {"user_id": self.user_id, "name": "key", "fingerprint": "", "public_key": ""}
            conn.execute(insert(Keypair).values(created_at=clock.now(), **key))
        return {
            "server_id": values["uuid"],
            "flavor_id": add_flavor(db, flavor_id=EXAMPLE_TEXT),
            "image_id": image,
            "keypair_name": "key",
            "key": "key",
            "project_id": self.project_id,
            "user_id": self.user_id,
            "domain_id": "default",
            "group_id": "group",
            "role_id": "role",
        }

    def send(self, persona: str, method: str, url: str, data: bytes, kind: str | None, version: str) -> Any:
        """The answer to these bytes as a body of that Content-Type."""
        asked = f"compute {version}, volume {VOLUME_MIN if version == str(MIN) else VOLUME_MAX}"
        headers = {"X-Auth-Token": self.personas[persona].token, "OpenStack-API-Version": asked}
        if kind is not None:
            headers["Content-Type"] = kind
        return self._client.simulate_request(method, url, body=data, headers=headers)

    def _fill_networks(self) -> dict[str, str]:
        """One of each thing of the network service, by the name of its collection; `{id}` stands for it there."""
        made: dict[str, str] = {}
        for noun, attributes in (
            ("network", {"name": "net"}),
            ("subnet", {"ip_version": 4, "cidr": "192.0.2.0/24"}),
            ("port", {}),
            ("router", {"name": "router"}),
            ("subnetpool", {"prefixes": ["198.51.100.0/24"]}),
            ("address_scope", {"ip_version": 4}),
        ):
            path = f"{noun.replace('_', '-')}s"
            if f"/v2.0/{path}" not in ROUTES.get("network", {}):
                continue
            if noun in ("subnet", "port"):
                attributes = attributes | {"network_id": made["networks"]}
            body = {noun: attributes | {"project_id": self.project_id}}
            answer = self.personas["admin"].post(f"/network/v2.0/{path}", body)
            assert answer.status_code == 201, answer.text
            made[path] = answer.json[noun]["id"]
        return made

    def _fill_volumes(self, db: Database) -> dict[str, str]:
        """The same of the volume service."""
        owner = self.personas["member"]
        volume = add_volume(db, owner)
        return {
            "volumes": volume,
            "snapshots": add_snapshot(db, owner, volume_id=add_volume(db, owner)),
            "attachments": add_attachment(db, owner, add_volume(db, owner, status="in-use")),
            "types": self.personas["admin"].get("/volume/v3/types").json["volume_types"][0]["id"],
        }

    def url(self, line: Line, **given: str) -> str:
        """The row's URL with what there is in place of its variables."""
        if line.service == "volume" and "{id}" in line.template:
            given.setdefault("id", self.volumes.get(line.template.split("/")[2], "x"))
        if line.service == "network" and "{id}" in line.template:
            given.setdefault("id", self.networks.get(line.template.split("/")[2], "x"))
        return re.sub(r"\{(\w+)\}", lambda found: given.get(found[1]) or self.names.get(found[1], "x"), line.path)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, database_engine: Engine) -> Iterator[World]:
    """One for all: the tests here don't care what else they did to it."""
    directory = tmp_path_factory.mktemp("world")
    settings = Settings(
        state_dir=str(directory),
        connection=database_engine.new(directory),
        hypervisor="simulator",
        host="host1",
        policy_file=str(directory / "none"),
        query_timeout=0,
        login_attempts=0,
    )
    db = Database(settings.database_url)
    yield World(settings, db)
    db.close()


def body_of(line: Line, *, whole: bool = False) -> Any:
    """A body that the row's schema lets pass."""
    if line.row.body is None or not line.row.body.at(MIN).schema:  # none is read, or any will do
        return {line.action: None} if line.action else None
    return example(line.row.body.at(MIN).schema, whole=whole)


# --- who may ---


@pytest.mark.parametrize("line", PROTECTED, ids=ids)
def test_no_token(world: World, line: Line) -> None:
    answer = world.personas["member"].request(line.method, world.url(line), body_of(line), headers={"X-Auth-Token": ""})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


@pytest.mark.parametrize("line", PROTECTED, ids=ids)
def test_bad_token(world: World, line: Line) -> None:
    answer = world.personas["member"].request(line.method, world.url(line), headers={"X-Auth-Token": "gAAAAA"})
    assert answer.status_code == 401


def _denied() -> list[Any]:
    """(row, persona): the default rule says no, for what is the project's and for what is the persona's own."""
    policy, found = Policy(list_rules(), "/nonexistent"), []
    for line in PROTECTED:
        if MIN not in line.row.window:  # written for a version to come
            continue
        for persona, (role, same_project) in PERSONAS.items():
            context = Context("req-1", "me", "mine", with_implied([role]))
            targets = {("mine", "me"), ("mine", "you") if same_project else ("yours", "you")}
            if line.row.rule is not ANY_TOKEN and not any(
                policy.allows(line.row.rule, context, *target) for target in targets
            ):
                found.append(pytest.param(line, persona, id=f"{persona}-{line.name}"))
    return found


@pytest.mark.parametrize(("line", "persona"), _denied())
def test_denied(world: World, line: Line, persona: str) -> None:
    """403 by the rule; or 404 where it is not theirs to know of. Before that, a body must pass its schema."""
    headers = {"X-Subject-Token": world.personas["admin"].token}
    answer = world.personas[persona].request(line.method, world.url(line), body_of(line), headers=headers)
    assert answer.status_code in (403, 404), answer.text
    if persona != "other project" and world.names.keys() >= set(re.findall(r"\{(\w+)\}", line.template)):
        assert answer.status_code == 403, answer.text


# --- what is sent ---


def check(answer: Any, line: Line, sent: Any) -> None:
    """No 5xx, and errors are the service's kind of fault.

    Questions that only a host can answer are answered by none here: 503, with the time to come again.
    """
    nobody_there = answer.status_code == 503 and "Retry-After" in answer.headers
    assert answer.status_code < 500 or nobody_there, (
        f"{line.name}: {str(sent)[:500]!r} → {answer.status_code} {answer.text[:500]}"
    )
    if answer.status_code >= 400 and line.method != "HEAD":
        fault = next(iter(answer.json.values())) if line.service == "compute" else answer.json
        assert fault, answer.text


@pytest.mark.parametrize("line", [line for line in LINES if "{" in line.template], ids=ids)
def test_hostile_urls(world: World, line: Line) -> None:
    for name in re.findall(r"\{(\w+)\}", line.template):
        for segment in SEGMENTS:
            path = world.url(line, **{name: segment})
            for persona in ("admin", "member"):
                answer = world.personas[persona].request(line.method, path, body_of(line))
                check(answer, line, path)


@pytest.mark.parametrize("line", [line for line in LINES if line.method in ("POST", "PUT", "PATCH")], ids=ids)
def test_hostile_bodies(world: World, line: Line) -> None:
    for text in BODIES:
        for kind in (JSON, "text/plain", "application/xml", None):
            check(world.send("admin", line.method, world.url(line), text, kind, str(MIN)), line, text)


@pytest.mark.parametrize("line", [line for line in LINES if line.row.body], ids=ids)
@pytest.mark.parametrize("version", [str(MIN), str(MAX)])
def test_hostile_values(world: World, line: Line, version: str) -> None:
    """Bodies that are right but for one value; a part of all that there are, the same at each run."""
    assert line.row.body is not None
    chosen = list(bodies(line.row.body.at(MIN).schema, ALSO_REQUIRED.get(line.name, {})))
    most = MOST_MUTATIONS // 10 if line.service in SLOW else MOST_MUTATIONS
    if len(chosen) > most:
        chosen = random.Random(f"{line.name} {version}").sample(chosen, most)
    for body in chosen:
        data = orjson.dumps(body)
        check(world.send("admin", line.method, world.url(line), data, JSON, version), line, body)


NEUTRON = [
    line
    for line in LINES
    if re.fullmatch(r"network (POST|PUT) /v2.0/(networks|subnets|ports|routers)(/\{id\})?", line.name)
]


@pytest.mark.parametrize("line", NEUTRON, ids=ids)
def test_hostile_attributes(world: World, line: Line) -> None:
    """Neutron's bodies: each attribute of the noun's table with each bad value, alone in a body that is right."""
    noun = line.template.split("/")[2]
    module = importlib.import_module(f"computeapi.api.network.{noun}")
    table = getattr(module, "TABLE", None) or (module.CREATE if line.method == "POST" else module.UPDATE)
    right: dict[str, Any] = {}
    if line.method == "POST" and noun in ("subnets", "ports"):
        right = {"network_id": world.networks["networks"]}
    if line.method == "POST" and noun == "subnets":
        right |= {"ip_version": 4, "cidr": "198.51.100.0/28"}
    for name in table:
        for value in VALUES:
            body = {noun.removesuffix("s"): right | {name: value}}
            data = orjson.dumps(body)
            check(world.send("admin", line.method, world.url(line), data, JSON, str(MIN)), line, body)


@pytest.mark.parametrize("line", [line for line in LINES if line.row.query], ids=ids)
def test_hostile_queries(world: World, line: Line) -> None:
    row = line.row
    assert row.query is not None
    schema = row.query.at(MIN).schema
    texts = [text for text in TEXTS if len(text) < 1000]
    for name in [*schema["properties"], "unknown"]:
        for text in random.Random(f"{line.name} {name}").sample(texts, 6):
            for persona in ("admin", "member"):
                api = world.personas[persona]
                answer = api.request(line.method, world.url(line), params={name: text})
                check(answer, line, {name: text})
