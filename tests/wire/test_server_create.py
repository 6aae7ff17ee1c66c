# SPDX-License-Identifier: Apache-2.0
"""POST /servers: what it makes and answers, how many, and the quota."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import orjson
import pytest
from sqlalchemy import select, text

from computeapi.db.engine import Database
from computeapi.db.models import Action, Server
from computeapi.sealing import Seal
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.conftest import add_image
from tests.wire.creating import add_key, create, created, nothing_was_made, on_cloud_with, refusal, row_of

GIB = 1024**3


# --- what is made ---


@pytest.mark.usefixtures("host", "network")
def test_the_answer(api: Api, body: dict[str, Any]) -> None:
    answer = create(api, body)
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
    row = created(api, db, body)
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
    row = created(api, db, body, adminPass="sesame-opens", personality=files)
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
        assert row_of(db, answer.json["server"]["id"]).image_id == image
    assert len(api.get("/servers").json["servers"]) == 9


@pytest.mark.usefixtures("host")
def test_everything_at_once(api: Api, db: Database, body: dict[str, Any], network: str) -> None:
    add_key(db, api.user_id, "mine")
    row = created(
        api,
        db,
        body,
        metadata={"a": "1"},
        key_name="mine",
        user_data=base64.b64encode(b"#!/bin/sh").decode(),
        config_drive=True,
        accessIPv4="1.2.3.4",
        accessIPv6="FD00:0:0::0.0.0.1",
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


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize(
    ("force", "asked", "shown"), [(True, False, "True"), (False, "yes", "True"), (False, False, "")]
)
def test_config_drive(
    settings: Settings, db: Database, api: Api, body: dict[str, Any], force: bool, asked: Any, shown: str
) -> None:
    other = on_cloud_with(settings, db, api, force_config_drive=force)
    assert created(other, db, body, config_drive=asked).config_drive == shown


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
    row = created(api, db, body, name=name)
    assert (row.name, row.hostname) == (name, hostname)


@pytest.mark.usefixtures("host")
def test_host_name_of_nothing(api: Api, db: Database, body: dict[str, Any]) -> None:
    row = created(api, db, body, name="漢字")
    assert row.hostname == f"Server-{row.uuid}"


# --- several at once ---


@pytest.mark.usefixtures("host", "network")
def test_several(api: Api, db: Database, body: dict[str, Any]) -> None:
    answer = create(api, body, min_count=2, max_count=3)
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
    answer = create(api, body, return_reservation_id=wants, min_count=2)
    assert set(answer.json) == {"reservation_id"}
    assert "Location" not in answer.headers
    found = api.get(f"/servers/detail?reservation_id={answer.json['reservation_id']}").json["servers"]
    assert len(found) == 2


@pytest.mark.usefixtures("host")
def test_no_reservation(api: Api, body: dict[str, Any]) -> None:
    assert set(create(api, body, return_reservation_id="False").json) == {"server"}


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
        create(api, body, 400, **counts)
        assert nothing_was_made(db)


@pytest.mark.parametrize("count", [10**18, "9" * 5000, 2**63])
def test_huge_counts(settings: Settings, db: Database, api: Api, body: dict[str, Any], count: Any) -> None:
    assert "Quota exceeded for cores, instances, ram" in refusal(api, body, 403, min_count=count)
    endless = on_cloud_with(settings, db, api, quota_instances=-1, quota_cores=-1, quota_ram=-1)
    assert refusal(endless, body, min_count=count) == "min_count must be <= 1000"
    assert nothing_was_made(db)


# --- quota ---


@pytest.mark.usefixtures("host")
def test_quota_of_each(settings: Settings, db: Database, api: Api, body: dict[str, Any]) -> None:
    for name, sentence in (
        ("quota_instances", "Quota exceeded for instances: Requested 2, but already used 0 of 1 instances"),
        ("quota_cores", "Quota exceeded for cores: Requested 2, but already used 0 of 1 cores"),
        ("quota_ram", "Quota exceeded for ram: Requested 1024, but already used 0 of 1 ram"),
    ):
        small = on_cloud_with(settings, db, api, **{name: 1})
        answer = create(small, body, 403, min_count=2)
        assert answer.json == {"forbidden": {"code": 403, "message": sentence}}
    assert nothing_was_made(db)


@pytest.mark.usefixtures("host")
def test_quota_between_least_and_most(settings: Settings, db: Database, api: Api, body: dict[str, Any]) -> None:
    small = on_cloud_with(settings, db, api, quota_cores=3)
    create(small, body, min_count=1, max_count=10)
    assert len(api.get("/servers").json["servers"]) == 3
    assert refusal(small, body, 403, min_count=1, max_count=2) == (
        "Quota exceeded for cores: Requested 2, but already used 3 of 3 cores"
    )


@pytest.mark.usefixtures("host")
def test_quota_is_of_the_project(settings: Settings, db: Database, api: Api, body: dict[str, Any]) -> None:
    small = on_cloud_with(settings, db, api, quota_instances=1)
    create(small, body)
    create(small, body, 403)
    create(small.become("member"), body)
    assert small.delete("/servers/" + small.get("/servers").json["servers"][0]["id"]).status_code == 204


# --- the rest ---


def test_security_groups(api: Api, body: dict[str, Any]) -> None:
    assert refusal(api, body, security_groups=[{"name": "nope"}]) == (
        f"Security group nope not found for project {api.project_id}."
    )
    refused: tuple[Any, ...] = ([{"name": ""}], [{"id": "x"}], ["default"], {}, [{"name": 5}])
    for groups in refused:
        create(api, body, 400, security_groups=groups)


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
        assert refusal(api, body, **more) == f"Requested image {image} has automatic disk resize disabled."
    else:
        assert create(api, body, **more).json["server"]["OS-DCF:diskConfig"] == answer


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
        answer = create(api, body, 400, **more)
        assert answer.json["badRequest"]["code"] == 400
        assert nothing_was_made(db)


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
    answer = create(api, {**body, "adminPass": "sesame-opens", "unknown": 1}, 400)
    assert "sesame" not in answer.text


@pytest.mark.usefixtures("host")
def test_names_of_255(api: Api, db: Database, body: dict[str, Any]) -> None:
    create(api, body, name="n" * 255, min_count=2)
    with db.read() as conn:
        names = [row[0] for row in conn.execute(select(Server.name).order_by(Server.id))]
    assert names == ["n" * 253 + "-1", "n" * 253 + "-2"]
