# SPDX-License-Identifier: Apache-2.0
"""POST /servers: what it makes, what it answers, and what it refuses in which words."""

from __future__ import annotations

import base64
import dataclasses
import json
import uuid
from typing import Any

import orjson
import pytest
from sqlalchemy import insert, select, text

from computeapi import clock
from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.db.engine import Database
from computeapi.db.models import Action, BlockDevice, FixedIp, Keypair, Server
from computeapi.db.queries import addresses, servers
from computeapi.db.queries.servers import ServerRow
from computeapi.sealing import Seal
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import MakeServer, add_flavor, add_host, add_image

GIB = 1024**3


@pytest.fixture
def body(image: str, flavor: str) -> dict[str, Any]:
    """The least that a server needs."""
    return {"name": "web", "imageRef": image, "flavorRef": flavor}


def _make(api: Api, body: dict[str, Any], status: int = 202, /, **more: Any) -> Any:
    answer = api.post("/servers", {"server": {**body, **more}})
    assert answer.status_code == status, answer.text
    return answer


def _row(db: Database, server_id: str) -> ServerRow:
    with db.read() as conn:
        row = servers.get(conn, server_id, None)
    assert row is not None
    return row


def _made(api: Api, db: Database, body: dict[str, Any], **more: Any) -> ServerRow:
    return _row(db, _make(api, body, **more).json["server"]["id"])


def _message(api: Api, body: dict[str, Any], status: int = 400, /, **more: Any) -> str:
    (fault,) = _make(api, body, status, **more).json.values()
    assert fault["code"] == status
    return str(fault["message"])


def _nothing_was_made(db: Database) -> bool:
    with db.read() as conn:
        return not any(conn.execute(select(table.id)).first() for table in (Server, BlockDevice, Action))


def _with(settings: Settings, db: Database, api: Api, **changed: Any) -> Api:
    """The same caller on a cloud with other settings."""
    app = create_app(dataclasses.replace(settings, **changed), db=db)
    return Api(app, TokenCodec(settings.secret("tokens")), ("member",), api.project_id, api.user_id)


# --- what is made ---


@pytest.mark.usefixtures("host", "network")
def test_the_answer(api: Api, body: dict[str, Any]) -> None:
    answer = _make(api, body)
    server = answer.json["server"]
    assert set(answer.json) == {"server"}
    assert set(server) == {"id", "links", "adminPass", "security_groups", "OS-DCF:diskConfig"}
    assert str(uuid.UUID(server["id"])) == server["id"]
    own = f"http://falconframework.org/v2.1/servers/{server['id']}"
    assert answer.headers["Location"] == own
    assert [link["rel"] for link in server["links"]] == ["self", "bookmark"]
    assert server["links"][0]["href"] == own
    assert len(server["adminPass"]) == 12
    assert server["security_groups"] == [{"name": "default"}]
    assert server["OS-DCF:diskConfig"] == "MANUAL"


@pytest.mark.usefixtures("host", "network")
def test_the_server(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    row = _made(api, db, body)
    assert (row.project_id, row.user_id) == (api.project_id, api.user_id)
    assert (row.vm_state, row.task_state, row.host) == ("building", "scheduling", "host1")
    assert (row.vcpus, row.memory_mb, row.disk_gb, row.image_id) == (1, 512, 1, body["imageRef"])
    assert orjson.loads(row.flavor_json)["disk"] == 1
    shown = api.get(f"/servers/{row.uuid}").json["server"]
    assert (shown["status"], shown["name"], shown["flavor"]["id"]) == ("BUILD", "web", body["flavorRef"])
    assert shown["addresses"] == {}
    assert shown["OS-EXT-AZ:availability_zone"] == "nova"
    more = admin.get(f"/servers/{row.uuid}", version="2.3").json["server"]
    assert more["OS-EXT-SRV-ATTR:root_device_name"] == "/dev/vda"
    assert more["OS-EXT-SRV-ATTR:reservation_id"] == row.reservation_id
    assert row.reservation_id.startswith("r-")
    assert len(row.reservation_id) == 10
    (address,) = api.get(f"/servers/{row.uuid}/ips").json["addresses"]["private"]
    assert address["addr"].startswith("10.1.0.")


@pytest.mark.usefixtures("host")
def test_the_work_for_the_host(api: Api, db: Database, settings: Settings, body: dict[str, Any]) -> None:
    files = [{"path": "/etc/motd", "contents": base64.b64encode(b"hello").decode()}]
    row = _made(api, db, body, adminPass="sesame-opens", personality=files)
    with db.read() as conn:
        action = conn.execute(select(Action.name, Action.queue, Action.payload, Action.server_uuid)).one()
        everything = conn.execute(text("SELECT * FROM servers")).one()
    assert (action[0], action[1], action[3]) == ("create", "host1", row.uuid)
    assert "sesame" not in str(tuple(everything))
    assert "sesame" not in str(action[2])
    assert Seal(settings.secret("journal")).open(action[2]) == {
        "admin_password": "sesame-opens",
        "personality": files,
    }


@pytest.mark.usefixtures("host")
def test_the_body_of_the_reference(api: Api, db: Database, image: str, flavor: str) -> None:
    """URLs for image and flavor, counts as texts."""
    body = {
        "name": "new-server-test",
        "imageRef": f"http://openstack.example.com/openstack/images/{image}",
        "flavorRef": f"http://openstack.example.com/openstack/flavors/{flavor}",
        "metadata": {"My Server Name": "Apache1"},
        "min_count": "2",
        "max_count": "3",
    }
    for path in ("/servers", f"/v2.1/{api.project_id}/servers", f"/v2/{api.project_id}/servers"):
        answer = api.post(path, {"server": body})
        assert answer.status_code == 202
        assert _row(db, answer.json["server"]["id"]).image_id == image
    assert len(api.get("/servers").json["servers"]) == 9


@pytest.mark.usefixtures("host")
def test_everything_at_once(api: Api, db: Database, body: dict[str, Any], network: str) -> None:
    _add_key(db, api.user_id, "mine")
    row = _made(
        api,
        db,
        body,
        metadata={"a": "1"},
        key_name="mine",
        user_data=base64.b64encode(b"#!/bin/sh").decode(),
        config_drive=True,
        accessIPv4="1.2.3.4",
        accessIPv6="fd00::1",
        security_groups=[{"name": "default"}, {"name": "default"}],
        availability_zone="nova",
        networks=[{"uuid": network, "fixed_ip": "10.1.0.77"}],
        **{"OS-DCF:diskConfig": "AUTO"},
    )
    shown = api.get(f"/servers/{row.uuid}").json["server"]
    assert (shown["metadata"], shown["key_name"], shown["config_drive"]) == ({"a": "1"}, "mine", "True")
    assert (shown["accessIPv4"], shown["accessIPv6"]) == ("1.2.3.4", "fd00::1")
    assert shown["OS-DCF:diskConfig"] == "AUTO"
    assert shown["security_groups"] == [{"name": "default"}]
    assert (row.key_data, row.user_data) == ("ssh-rsa AAAA", "IyEvYmluL3No")
    assert api.get(f"/servers/{row.uuid}/ips/private").json == {"private": [{"version": 4, "addr": "10.1.0.77"}]}


def _add_key(db: Database, user_id: str, name: str) -> None:
    values = {"user_id": user_id, "name": name, "fingerprint": "f", "public_key": "ssh-rsa AAAA"}
    with db.write() as conn:
        conn.execute(insert(Keypair).values(**values, created_at=clock.now()))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("force", "asked", "shown"), [(True, False, "True"), (False, "yes", "True"), (False, False, "")]
)
def test_config_drive(
    settings: Settings, db: Database, api: Api, body: dict[str, Any], force: bool, asked: Any, shown: str
) -> None:
    other = _with(settings, db, api, force_config_drive=force)
    assert _made(other, db, body, config_drive=asked).config_drive == shown


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("Web Server", "web-server"),
        ("guest-instance-1.domain.com", "guest-instance-1-domain-com"),
        ("a_b", "a-b"),
        ("héllo", "hllo"),
        ("-x.-", "x"),
        ("a" * 80, "a" * 63),
        ("$(rm)<&>'\"`;", "rm"),
    ],
)
def test_host_names(api: Api, db: Database, body: dict[str, Any], name: str, hostname: str) -> None:
    row = _made(api, db, body, name=name)
    assert (row.name, row.hostname) == (name, hostname)


@pytest.mark.usefixtures("host")
def test_host_name_of_nothing(api: Api, db: Database, body: dict[str, Any]) -> None:
    row = _made(api, db, body, name="漢字")
    assert row.hostname == f"Server-{row.uuid}"


# --- several at once ---


@pytest.mark.usefixtures("host", "network")
def test_several(api: Api, db: Database, body: dict[str, Any]) -> None:
    answer = _make(api, body, min_count=2, max_count=3)
    assert "reservation_id" not in answer.json
    with db.read() as conn:
        rows = conn.execute(
            select(Server.name, Server.hostname, Server.launch_index, Server.reservation_id, Server.uuid).order_by(
                Server.id
            )
        ).all()
    assert [tuple(row[:3]) for row in rows] == [("web-1", "web-1", 0), ("web-2", "web-2", 1), ("web-3", "web-3", 2)]
    assert len({row[3] for row in rows}) == 1
    assert answer.json["server"]["id"] == rows[0][4]
    found = api.get(f"/servers?reservation_id={rows[0][3]}").json["servers"]
    assert len(found) == 3
    given = {api.get(f"/servers/{row[4]}/ips").json["addresses"]["private"][0]["addr"] for row in rows}
    assert len(given) == 3


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("wants", [True, "True", "1"])
def test_a_reservation(api: Api, body: dict[str, Any], wants: Any) -> None:
    answer = _make(api, body, return_reservation_id=wants, min_count=2)
    assert set(answer.json) == {"reservation_id"}
    assert "Location" not in answer.headers
    found = api.get(f"/servers/detail?reservation_id={answer.json['reservation_id']}").json["servers"]
    assert len(found) == 2


@pytest.mark.usefixtures("host")
def test_no_reservation(api: Api, body: dict[str, Any]) -> None:
    assert set(_make(api, body, return_reservation_id="False").json) == {"server"}


BAD_COUNTS: list[dict[str, Any]] = [
    {"min_count": 0},
    {"max_count": 0},
    {"min_count": -1},
    {"min_count": "0"},
    {"min_count": ""},
    {"min_count": "x"},
    {"max_count": 1.5},
    {"min_count": None},
    {"min_count": True},
    {"min_count": 3, "max_count": 2},
    {"min_count": 2, "max_count": "1"},
]


def test_bad_counts(api: Api, db: Database, body: dict[str, Any]) -> None:
    for counts in BAD_COUNTS:
        _make(api, body, 400, **counts)
        assert _nothing_was_made(db)


@pytest.mark.parametrize("count", [10**18, "9" * 5000, 2**63])
def test_huge_counts(settings: Settings, db: Database, api: Api, body: dict[str, Any], count: Any) -> None:
    assert "Quota exceeded for cores, instances, ram" in _message(api, body, 403, min_count=count)
    endless = _with(settings, db, api, quota_instances=-1, quota_cores=-1, quota_ram=-1)
    assert _message(endless, body, min_count=count) == "min_count must be <= 1000"
    assert _nothing_was_made(db)


# --- quota ---


@pytest.mark.usefixtures("host")
def test_quota_of_each(settings: Settings, db: Database, api: Api, body: dict[str, Any]) -> None:
    for name, sentence in (
        ("quota_instances", "Quota exceeded for instances: Requested 2, but already used 0 of 1 instances"),
        ("quota_cores", "Quota exceeded for cores: Requested 2, but already used 0 of 1 cores"),
        ("quota_ram", "Quota exceeded for ram: Requested 1024, but already used 0 of 1 ram"),
    ):
        small = _with(settings, db, api, **{name: 1})
        answer = _make(small, body, 403, min_count=2)
        assert answer.json == {"forbidden": {"code": 403, "message": sentence}}
    assert _nothing_was_made(db)


@pytest.mark.usefixtures("host")
def test_quota_between_least_and_most(settings: Settings, db: Database, api: Api, body: dict[str, Any]) -> None:
    small = _with(settings, db, api, quota_cores=3)
    _make(small, body, min_count=1, max_count=10)
    assert len(api.get("/servers").json["servers"]) == 3
    assert _message(small, body, 403, min_count=1, max_count=2) == (
        "Quota exceeded for cores: Requested 2, but already used 3 of 3 cores"
    )


@pytest.mark.usefixtures("host")
def test_quota_is_of_the_project(settings: Settings, db: Database, api: Api, body: dict[str, Any]) -> None:
    small = _with(settings, db, api, quota_instances=1)
    _make(small, body)
    _make(small, body, 403)
    _make(small.become("member"), body)
    assert small.delete("/servers/" + small.get("/servers").json["servers"][0]["id"]).status_code == 204


# --- image and flavor ---


def test_image_unknown(api: Api, db: Database, body: dict[str, Any]) -> None:
    assert _message(api, body, imageRef=str(uuid.uuid4())) == "Can not find requested image"
    private = add_image(db, visibility="private")
    assert _message(api, body, imageRef=private) == "Can not find requested image"
    assert _nothing_was_made(db)


NO_IMAGES: list[Any] = ["x", "12", "../../etc/passwd", "a" * 300, 5, None, {}, "http://x/", "' OR 1=1"]


def test_image_that_is_no_id(api: Api, body: dict[str, Any]) -> None:
    for image in NO_IMAGES:
        _make(api, body, 400, imageRef=image)


def test_no_image(api: Api, body: dict[str, Any]) -> None:
    assert _message(api, body, imageRef="") == "Missing imageRef attribute"
    del body["imageRef"]
    assert _message(api, body) == "Missing imageRef attribute"


@pytest.mark.parametrize("status", ["queued", "saving", "deactivated"])
def test_image_not_active(api: Api, db: Database, body: dict[str, Any], status: str) -> None:
    image = add_image(db, status=status)
    assert _message(api, body, imageRef=image) == f"Image {image} is not active."


def test_image_too_large(api: Api, db: Database, body: dict[str, Any]) -> None:
    assert _message(api, body, imageRef=add_image(db, size=GIB + 1)) == (
        f"Flavor's disk is too small for requested image. Flavor disk is {GIB} bytes, image is {GIB + 1} bytes."
    )
    assert _message(api, body, imageRef=add_image(db, min_disk=2)) == (
        "Flavor's disk is smaller than the minimum size specified in image metadata. "
        f"Flavor disk is {GIB} bytes, minimum size is {2 * GIB} bytes."
    )
    assert _message(api, body, imageRef=add_image(db, min_ram=513)) == (
        "Flavor's memory is too small for requested image."
    )


@pytest.mark.usefixtures("host")
def test_flavor_without_disk(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    flavor = add_flavor(db, disk_gb=0)
    assert _message(api, body, 403, flavorRef=flavor) == (
        "Only volume-backed servers are allowed for flavors with zero disk."
    )
    _make(admin, body, flavorRef=flavor)


NO_FLAVORS: list[Any] = ["nope", 42, "a" * 1000, "'; DROP TABLE flavors", "é", "a%b"]


def test_flavor_unknown(api: Api, body: dict[str, Any]) -> None:
    for flavor in NO_FLAVORS:
        assert _message(api, body, flavorRef=flavor) == f"Flavor {flavor} could not be found."


def test_flavor_of_others(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    private, disabled = add_flavor(db, is_public=0), add_flavor(db, disabled=1)
    assert _message(api, body, flavorRef=private) == f"Flavor {private} could not be found."
    assert _message(admin, body, flavorRef=disabled) == f"Flavor {disabled} could not be found."
    _make(admin, body, flavorRef=private)


@pytest.mark.usefixtures("host")
def test_flavor_of_the_largest_numbers(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    """Too much for any host and any sum, and no error of the server's."""
    most = 2**31 - 1
    flavor = add_flavor(db, disk_gb=most, ephemeral_gb=most, memory_mb=1, vcpus=1)
    row = _made(api, db, body, flavorRef=flavor)
    assert row.vm_state == "error"


# --- key pair, user data, personality, metadata ---


def test_key_unknown(api: Api, db: Database, body: dict[str, Any]) -> None:
    _add_key(db, "somebody-else", "theirs")
    for name in ("theirs", "nope", "x" * 255):
        assert _message(api, body, key_name=name) == "Invalid key_name provided."


BAD_USER_DATA: list[Any] = ["x", "a" * 65536, "é", 5, None, "a\u0000"]


def test_bad_user_data(api: Api, body: dict[str, Any]) -> None:
    for user_data in BAD_USER_DATA:
        _make(api, body, 400, user_data=user_data)


@pytest.mark.usefixtures("host")
def test_v2_takes_no_user_data_and_spaces(api: Api, db: Database, body: dict[str, Any]) -> None:
    answer = api.post("/v2/servers", {"server": {**body, "name": " web ", "user_data": None, "unknown": 1}})
    assert answer.status_code == 202
    assert _row(db, answer.json["server"]["id"]).name == "web"


def _files(count: int, path: str = "/tmp/x", size: int = 1) -> list[dict[str, str]]:
    return [{"path": path, "contents": base64.b64encode(b"x" * size).decode()} for _ in range(count)]


def test_personality_limits(api: Api, db: Database, body: dict[str, Any]) -> None:
    for files, sentence in (
        (_files(6), "Personality file limit exceeded"),
        (_files(1, path="/" * 256), "Personality file path exceeds maximum 255"),
        (_files(1, size=10241), "Personality file content exceeds maximum 10240"),
    ):
        assert _make(api, body, 403, personality=files).json == {"forbidden": {"code": 403, "message": sentence}}
    assert _nothing_was_made(db)


@pytest.mark.usefixtures("host")
def test_personality_within_limits(api: Api, body: dict[str, Any]) -> None:
    _make(api, body, personality=_files(5, path="/" + "x" * 254, size=10240))


BAD_PERSONALITY: list[Any] = [
    [{"path": "/x", "contents": "x"}],
    [{"path": "/x"}],
    [{"contents": ""}],
    [{}],
    {},
    [1],
    [{"path": 1}],
]


def test_bad_personality(api: Api, body: dict[str, Any]) -> None:
    for files in BAD_PERSONALITY:
        _make(api, body, 400, personality=files)


BAD_METADATA: list[Any] = [{"": "x"}, {"a": 1}, {"a" * 256: "x"}, {"a": "x" * 256}, {"a/b": "x"}, [], None]


def test_bad_metadata(api: Api, body: dict[str, Any]) -> None:
    for metadata in BAD_METADATA:
        _make(api, body, 400, metadata=metadata)


def test_too_much_metadata(api: Api, body: dict[str, Any]) -> None:
    many = {f"key{number}": "x" for number in range(129)}
    assert _message(api, body, 403, metadata=many) == "Maximum number of metadata items exceeds 128"


# --- networks ---


def test_networks_refused(api: Api, db: Database, body: dict[str, Any], network: str, make_server: MakeServer) -> None:
    port, unknown = str(uuid.uuid4()), str(uuid.uuid4())
    make_server(network=network, fixed_ip="10.1.0.50")
    before = len(api.get("/servers").json["servers"])
    refused: tuple[tuple[Any, str], ...] = (
        ([{"uuid": "x"}], "Bad networks format: network uuid is not in proper format (x)"),
        ([{"uuid": ""}], "Bad networks format: network uuid is not in proper format ()"),
        ([{}], "Bad network format: missing 'uuid'"),
        ([{"fixed_ip": "10.1.0.5"}], "Bad network format: missing 'uuid'"),
        ([{"uuid": unknown}], f"Network {unknown} could not be found."),
        ([{"port": port}], f"Port id {port} could not be found."),
        ([{"port": port}, {"port": port}], f"Port ID '{port}' was specified twice"),
        ([{"port": port, "fixed_ip": "10.1.0.5"}], "the two cannot be specified together."),
        ([{"uuid": network, "fixed_ip": "10.1.0.50"}], "is already in use"),
        ([{"uuid": network, "fixed_ip": "192.168.0.1"}], "192.168.0.1"),
        ([{"uuid": network, "fixed_ip": "fd00::1"}], "fd00::1"),
        ([{"uuid": network, "fixed_ip": "10.1.0"}], "10.1.0"),
        ([{"uuid": network, "tag": "x"}], "tag"),
        ([{"uuid": None}], "None"),
        ("auto", "auto"),
        ({}, "{}"),
    )
    for networks, words in refused:
        assert words in _message(api, body, networks=networks), networks
    assert len(api.get("/servers").json["servers"]) == before


def test_networks_of_others(api: Api, db: Database, body: dict[str, Any]) -> None:
    with db.write() as conn:
        theirs = addresses.create_network(conn, name="theirs", cidr="10.9.0.0/24", project_id="somebody-else")
    assert _message(api, body, networks=[{"uuid": theirs}]) == f"Network {theirs} could not be found."


def test_several_on_one_address(api: Api, body: dict[str, Any], network: str) -> None:
    asked = [{"uuid": network, "fixed_ip": "10.1.0.5"}]
    assert _message(api, body, networks=asked, min_count=2) == (
        "Failed to launch instances: max_count cannot be greater than 1 if an fixed_ip is specified."
    )
    assert _message(api, body, networks=[{"port": str(uuid.uuid4())}], max_count=2).startswith(
        "Failed to launch instances: Unable to launch multiple instances with a single configured port ID."
    )


@pytest.mark.usefixtures("host")
def test_the_same_network_twice(api: Api, db: Database, body: dict[str, Any], network: str) -> None:
    row = _made(api, db, body, networks=[{"uuid": network}, {"uuid": network}])
    assert len(api.get(f"/servers/{row.uuid}/ips").json["addresses"]["private"]) == 2


@pytest.mark.usefixtures("network")
def test_several_networks_to_choose_from(api: Api, db: Database, body: dict[str, Any]) -> None:
    with db.write() as conn:
        addresses.create_network(conn, name="second", cidr="10.2.0.0/24", shared=True)
    nothing: tuple[dict[str, Any], ...] = ({}, {"networks": []})
    for more in nothing:
        assert _message(api, body, 409, **more) == (
            "Multiple possible networks found, use a Network ID to be more specific."
        )
    assert _nothing_was_made(db)


# --- zones and hosts ---


def test_zones(api: Api, db: Database, body: dict[str, Any]) -> None:
    assert _message(api, body, availability_zone="mars") == "The requested availability zone is not available"
    assert _message(api, body, availability_zone="a:b:c:d") == (
        "Invalid input received: Unable to parse availability_zone"
    )
    message = "Policy doesn't allow os_compute_api:servers:create:forced_host to be performed."
    for zone in ("nova:host1", "nova::node1", "nova:host1:node1", ":host1"):
        assert _message(api, body, 403, availability_zone=zone) == message
    assert _nothing_was_made(db)


@pytest.mark.parametrize(
    ("zone", "chosen"),
    [
        ("nova:small", "small"),
        ("nova:small:small.example.org", "small"),
        ("nova::small.example.org", "small"),
        ("mars:small", "small"),
        (":small", "small"),
        ("nova:nowhere", None),
        ("nova::nowhere", None),
        ("nova", "large"),
    ],
)
def test_hosts_that_an_administrator_names(
    admin: Api, db: Database, body: dict[str, Any], zone: str, chosen: str | None
) -> None:
    add_host(db, "large")
    add_host(db, "small", memory_mb=1000, servers=5)
    row = _made(admin, db, body, availability_zone=zone)
    assert row.host == chosen
    assert row.vm_state == ("building" if chosen else "error")


def test_no_host(api: Api, admin: Api, db: Database, body: dict[str, Any], network: str) -> None:
    add_host(db, "tiny", memory_mb=100)
    server_id = _make(api, body).json["server"]["id"]
    shown = api.get(f"/servers/{server_id}").json["server"]
    assert (shown["status"], shown["OS-EXT-STS:vm_state"], shown["hostId"]) == ("ERROR", "error", "")
    assert shown["fault"]["code"] == 500
    assert shown["fault"]["message"].startswith("No valid host was found.")
    assert "tiny" not in str(shown["fault"])
    assert "tiny: not enough memory" in admin.get(f"/servers/{server_id}").json["server"]["fault"]["details"]
    with db.read() as conn:
        assert not conn.execute(select(FixedIp.id).where(FixedIp.port_id.is_not(None))).all()


# --- scheduler hints ---


@pytest.mark.parametrize("key", ["os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"])
def test_hints(api: Api, db: Database, body: dict[str, Any], key: str) -> None:
    add_host(db, "one")
    add_host(db, "two")
    first = _made(api, db, body)
    for hint, same in (("same_host", True), ("different_host", False)):
        for value in (first.uuid, [first.uuid]):
            answer = api.post("/servers", {"server": body, key: {hint: value, "custom": "x", "_nova_x": 1}})
            row = _row(db, answer.json["server"]["id"])
            assert (row.host == first.host) == same
            assert json.loads(row.scheduler_hints_json) == {hint: value, "custom": "x"}


BAD_HINTS: list[Any] = [
    {"group": "x"},
    {"group": str(uuid.UUID(int=5))},
    {"group": [str(uuid.UUID(int=5))]},
    {"different_host": "x"},
    {"same_host": 5},
    {"same_host": ["x"]},
    {"query": 5},
    {"build_near_host_ip": "x"},
    {"cidr": "24"},
    [],
    "x",
]


def test_bad_hints(api: Api, db: Database, body: dict[str, Any]) -> None:
    for hints in BAD_HINTS:
        for key in ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints"):
            assert api.post("/servers", {"server": body, key: hints}).status_code == 400
        assert _nothing_was_made(db)


# --- disks ---


def _disks(db: Database) -> list[tuple[Any, ...]]:
    columns = (BlockDevice.source_type, BlockDevice.boot_index, BlockDevice.size_gb, BlockDevice.guest_format)
    with db.read() as conn:
        return [tuple(row) for row in conn.execute(select(*columns).order_by(BlockDevice.id))]


@pytest.mark.usefixtures("host")
def test_disks_of_image_and_flavor(api: Api, db: Database, body: dict[str, Any]) -> None:
    row = _made(api, db, body, flavorRef=add_flavor(db, ephemeral_gb=2, swap_mb=512))
    assert _disks(db) == [("image", 0, None, None), ("blank", -1, 2, None), ("blank", -1, 512, "swap")]
    assert row.disk_gb == 3


@pytest.mark.usefixtures("host")
def test_disks_of_the_body(api: Api, db: Database, body: dict[str, Any]) -> None:
    flavor = add_flavor(db, ephemeral_gb=4, swap_mb=512)
    root = {
        "source_type": "image",
        "destination_type": "local",
        "uuid": body["imageRef"],
        "boot_index": "0",
        "delete_on_termination": True,
    }
    blank = {"source_type": "blank", "destination_type": "local", "volume_size": "1", "guest_format": "ext4"}
    swap = {"source_type": "blank", "destination_type": "local", "volume_size": 256, "guest_format": "swap"}
    _make(api, body, flavorRef=flavor, block_device_mapping_v2=[root, blank, swap])
    assert _disks(db) == [("image", 0, None, None), ("blank", -1, 1, "ext4"), ("blank", -1, 256, "swap")]


@pytest.mark.usefixtures("host")
def test_disks_of_the_old_syntax(api: Api, db: Database, body: dict[str, Any]) -> None:
    flavor = add_flavor(db, ephemeral_gb=4, swap_mb=512)
    mapping = [
        {"device_name": "/dev/vdb", "virtual_name": "ephemeral0", "volume_size": 3},
        {"device_name": "vdc", "virtual_name": "swap", "delete_on_termination": "True"},
        {"device_name": "vdd", "no_device": True},
    ]
    _make(api, body, flavorRef=flavor, block_device_mapping=mapping)
    assert _disks(db) == [("image", 0, None, None), ("blank", -1, 3, None), ("blank", -1, None, "swap")]


_BLANK = {"source_type": "blank", "destination_type": "local"}
_BOOT = "Boot sequence for the instance and image/block device mapping combination is not valid."


BAD_DISKS: list[tuple[Any, str]] = [
    ([_BLANK], _BOOT),
    ([{"root": 1}, {**_BLANK, "boot_index": 0}], _BOOT),
    ([{"root": 1}, {**_BLANK, "boot_index": 2}], _BOOT),
    ([{"root": 1}, {**_BLANK, "boot_index": "9" * 500}], _BOOT),
    ([{"root": 1}, {**_BLANK, "volume_size": 5}], "Ephemeral disks requested are larger"),
    ([{"root": 1}, {**_BLANK, "volume_size": "9" * 5000}], "Ephemeral disks requested are larger"),
    ([{"root": 1}, {**_BLANK, "guest_format": "swap", "volume_size": 513}], "Swap drive requested is larger"),
    ([{"root": 1}, *[{**_BLANK, "guest_format": "swap"}] * 2], "More than one swap drive requested."),
    ([{"root": 1}, *[{**_BLANK, "volume_size": 1}] * 3], "more local devices than the limit allows"),
    ([{"root": 1}, {**_BLANK, "disk_bus": "warp"}], "Block Device Mapping is Invalid."),
    ([{"root": 1}, {**_BLANK, "device_type": "warp"}], "device type warp"),
    ([{"root": 1}, {**_BLANK, "guest_format": "f" * 17}], "guest format"),
    ([{"root": 1}, {**_BLANK, "device_name": "d" * 65}], "Device name"),
    ([{"root": 1}, {**_BLANK, "device_name": "has space"}], "device_name"),
    ([{"root": 1}, {**_BLANK, "device_name": ""}], "device_name"),
    ([{"root": 1}, {**_BLANK, "uuid": "x"}], "Invalid device UUID."),
    ([{"root": 1}, {**_BLANK, "boot_index": "x"}], "boot_index"),
    ([{"root": 1}, {**_BLANK, "boot_index": 1.5}], "boot_index"),
    ([{"root": 1}, {**_BLANK, "volume_size": 0}], "volume_size"),
    ([{"root": 1}, {**_BLANK, "volume_size": 2**31}], "volume_size"),
    ([{"root": 1}, {**_BLANK, "unknown": 1}], "unknown"),
    ([{"destination_type": "local"}], "Some required fields are missing"),
    ([{"source_type": "image", "destination_type": "local"}], "Missing device UUID."),
    (
        [{"source_type": "image", "destination_type": "local", "uuid": "other", "boot_index": 0}],
        "failed to get image",
    ),
    (
        [{"source_type": "image", "destination_type": "local", "uuid": "x"}],
        "Mapping image to local is not supported.",
    ),
    ([{"source_type": "volume", "destination_type": "volume", "uuid": "x", "boot_index": 0}], "no volumes"),
    ([{"source_type": "image", "destination_type": "volume", "uuid": "x", "volume_size": 1}], "no volumes"),
    ([{"source_type": "snapshot", "destination_type": "volume", "uuid": "x"}], "no volumes"),
    ([{"root": 1}, {"source_type": "blank", "destination_type": "volume", "volume_size": 1}], "no volumes"),
    ([{"source_type": "tape"}], "source_type"),
    ([5], "5"),
    ({}, "{}"),
]


def test_bad_disks(api: Api, db: Database, body: dict[str, Any]) -> None:
    root = {"source_type": "image", "destination_type": "local", "uuid": body["imageRef"], "boot_index": 0}
    flavor = add_flavor(db, ephemeral_gb=4, swap_mb=512)
    for items, words in BAD_DISKS:
        mapping = [root if item == {"root": 1} else item for item in items] if isinstance(items, list) else items
        assert words in _message(api, body, flavorRef=flavor, block_device_mapping_v2=mapping), items
        assert _nothing_was_made(db)


BAD_OLD_DISKS: list[tuple[dict[str, Any], str]] = [
    ({"volume_id": str(uuid.UUID(int=1)), "device_name": "vdb"}, "no volumes"),
    ({"snapshot_id": str(uuid.UUID(int=1)), "device_name": "vdb"}, "no volumes"),
    ({"device_name": "vdb"}, "Unrecognized legacy format."),
    ({"virtual_name": "ephemeralx"}, "Unrecognized legacy format."),
    ({"virtual_name": "v" * 256}, "virtual_name"),
    ({"source_type": "blank"}, "source_type"),
]


def test_bad_old_disks(api: Api, body: dict[str, Any]) -> None:
    for item, words in BAD_OLD_DISKS:
        assert words in _message(api, body, block_device_mapping=[item])
        both = {"block_device_mapping": [{"virtual_name": "swap"}], "block_device_mapping_v2": [_BLANK]}
        assert _message(api, body, **both).startswith("Using different block_device_mapping syntaxes")


def test_no_image_and_no_volume(api: Api, body: dict[str, Any]) -> None:
    del body["imageRef"]
    assert _BOOT in _message(api, body, block_device_mapping_v2=[_BLANK], flavorRef=body["flavorRef"])


# --- the rest ---


def test_security_groups(api: Api, body: dict[str, Any]) -> None:
    assert _message(api, body, security_groups=[{"name": "nope"}]) == (
        f"Security group nope not found for project {api.project_id}."
    )
    refused: tuple[Any, ...] = ([{"name": ""}], [{"id": "x"}], ["default"], {}, [{"name": 5}])
    for groups in refused:
        _make(api, body, 400, security_groups=groups)


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("said", "asked", "answer"),
    [
        ({}, None, "MANUAL"),
        ({"auto_disk_config": "True"}, None, "AUTO"),
        ({"auto_disk_config": "True"}, "MANUAL", "MANUAL"),
        ({"auto_disk_config": "disabled"}, None, "MANUAL"),
        ({"auto_disk_config": "disabled"}, "AUTO", None),
    ],
)
def test_disk_config(
    api: Api, db: Database, body: dict[str, Any], said: dict[str, str], asked: str | None, answer: str | None
) -> None:
    image = add_image(db, said)
    more = {"imageRef": image} | ({"OS-DCF:diskConfig": asked} if asked else {})
    if answer is None:
        assert _message(api, body, **more) == f"Requested image {image} has automatic disk resize disabled."
    else:
        assert _make(api, body, **more).json["server"]["OS-DCF:diskConfig"] == answer


BAD_BODIES: list[dict[str, Any]] = [
    {"name": ""},
    {"name": " x"},
    {"name": "a" * 256},
    {"name": 5},
    {"name": "a\u0007"},
    {"name": "a\u0000b"},
    {"flavorRef": ""},
    {"flavorRef": None},
    {"adminPass": 5},
    {"accessIPv4": "1.1.1.1.1"},
    {"accessIPv6": "fe80::1%eth0"},
    {"config_drive": "maybe"},
    {"config_drive": 5},
    {"return_reservation_id": "maybe"},
    {"OS-DCF:diskConfig": "x"},
    {"availability_zone": ""},
    {"key_name": ""},
    {"unknown": 1},
    {"host": "x"},
    {"tags": ["x"]},
    {"description": "x"},
]


def test_bad_bodies(api: Api, db: Database, body: dict[str, Any]) -> None:
    for more in BAD_BODIES:
        answer = _make(api, body, 400, **more)
        assert answer.json["badRequest"]["code"] == 400
        assert _nothing_was_made(db)


def test_bodies_that_are_none(api: Api, body: dict[str, Any]) -> None:
    nameless = {key: value for key, value in body.items() if key != "name"}
    bodies: tuple[Any, ...] = (
        {},
        [],
        {"server": None},
        {"server": []},
        {"servers": body},
        {"server": nameless},
        "x",
        5,
    )
    for given in bodies:
        assert api.post("/servers", given).status_code == 400
    assert api.post("/servers").status_code == 400


def test_a_refused_password_is_not_repeated(api: Api, body: dict[str, Any]) -> None:
    answer = _make(api, {**body, "adminPass": "sesame-opens", "unknown": 1}, 400)
    assert "sesame" not in answer.text


@pytest.mark.usefixtures("host")
def test_names_of_255(api: Api, db: Database, body: dict[str, Any]) -> None:
    _make(api, body, name="n" * 255, min_count=2)
    with db.read() as conn:
        names = [row[0] for row in conn.execute(select(Server.name).order_by(Server.id))]
    assert names == ["n" * 253 + "-1", "n" * 253 + "-2"]
