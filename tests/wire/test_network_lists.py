# SPDX-License-Identifier: Apache-2.0
"""The Networking API: what it says of itself, lists, filters, pages, who sees what."""

from __future__ import annotations

import pytest
from sqlalchemy import insert

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.models import Router
from computeapi.db.queries import addresses
from tests.conftest import Api
from tests.wire.conftest import MakeServer

V = "/network/v2.0"


def add_network(db: Database, name: str, cidr: str, **more: object) -> str:
    """A network; its uuid."""
    with db.write() as conn:
        return addresses.create_network(conn, name=name, cidr=cidr, **more)  # type: ignore[arg-type]


def test_versions_need_no_token(api: Api) -> None:
    for path in ("/network", "/network/"):
        answer = api.request("GET", path, headers={"X-Auth-Token": ""})
        assert answer.status_code == 200
        (version,) = answer.json["versions"]
        assert version["id"] == "v2.0"
        assert version["status"] == "CURRENT"
        assert version["links"][0]["href"].endswith("/network/v2.0/")
    assert api.get(f"{V}/").json["resources"][0]["name"] == "network"
    assert api.request("GET", f"{V}/networks", headers={"X-Auth-Token": "x"}).status_code == 401


def test_extensions(api: Api) -> None:
    listed = {item["alias"] for item in api.get(f"{V}/extensions").json["extensions"]}
    assert {"external-net", "net-mtu", "port-security"} <= listed
    assert api.get(f"{V}/extensions/net-mtu").json["extension"]["alias"] == "net-mtu"
    missing = api.get(f"{V}/extensions/trunk")
    assert missing.status_code == 404
    assert missing.json["NeutronError"]["type"] == "HTTPNotFound"


def test_who_sees_which_network(api: Api, admin: Api, db: Database) -> None:
    shared = add_network(db, "shared", "10.1.0.0/24", shared=True)
    own = add_network(db, "own", "10.2.0.0/24", project_id=api.project_id)
    other = add_network(db, "other", "10.3.0.0/24", project_id=admin.project_id)
    nobodys = add_network(db, "nobody's", "10.4.0.0/24")
    assert [item["id"] for item in api.get(f"{V}/networks").json["networks"]] == [shared, own]
    assert [item["id"] for item in admin.get(f"{V}/networks").json["networks"]] == [shared, own, other, nobodys]
    missing = api.get(f"{V}/networks/{other}")
    assert missing.status_code == 404
    assert missing.json["NeutronError"] == {
        "type": "NetworkNotFound",
        "message": f"Network {other} could not be found.",
        "detail": "",
    }
    subnets = api.get(f"{V}/subnets").json["subnets"]
    assert [item["cidr"] for item in subnets] == ["10.1.0.0/24", "10.2.0.0/24"]
    assert len(admin.get(f"{V}/subnets").json["subnets"]) == 4


def test_network_fields(api: Api, admin: Api, db: Database) -> None:
    own = add_network(db, "own", "10.2.0.0/24", project_id=api.project_id)
    shown = api.get(f"{V}/networks/{own}").json["network"]
    subnet = api.get(f"{V}/subnets?network_id={own}").json["subnets"][0]
    assert shown["subnets"] == [subnet["id"]]
    assert shown["project_id"] == shown["tenant_id"] == api.project_id
    assert shown["shared"] is False
    assert shown["router:external"] is False
    assert "provider:network_type" not in shown
    assert admin.get(f"{V}/networks/{own}").json["network"]["provider:network_type"] == "local"
    assert api.get(f"{V}/networks/{own}?fields=id&fields=name").json["network"] == {"id": own, "name": "own"}
    assert subnet["gateway_ip"] == "10.2.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.2.0.2", "end": "10.2.0.254"}]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("name=a", ["a"]),
        ("name=a&name=b", ["a", "b"]),
        ("name=", []),
        ("shared=true", ["b"]),
        ("shared=False", ["a", "c"]),
        ("router:external=True", []),
        ("status=ACTIVE", ["a", "b", "c"]),
        ("status=DOWN", []),
        ("nonsense=1", ["a", "b", "c"]),
        ("sort_key=name&sort_dir=desc", ["c", "b", "a"]),
        ("name=%25", []),
        ("name=' OR 1=1 --", []),
        ("tags=x", []),
        ("not-tags=x", ["a", "b", "c"]),
        ("mtu=1500", []),
    ],
)
def test_network_filters(api: Api, db: Database, query: str, names: list[str]) -> None:
    for number, name in enumerate("abc"):
        add_network(db, name, f"10.{number}.0.0/24", project_id=api.project_id, shared=name == "b")
    assert [item["name"] for item in api.get(f"{V}/networks?{query}").json["networks"]] == names


@pytest.mark.parametrize(
    "query",
    [
        "shared=perhaps",
        "mtu=x",
        "mtu=99999999999999999999",
        "limit=-1",
        "limit=x",
        "sort_key=nonsense",
        "sort_key=name&sort_dir=up",
        "sort_dir=asc",
        "name=%00",
    ],
)
def test_bad_queries(api: Api, query: str) -> None:
    answer = api.get(f"{V}/networks?{query}")
    assert answer.status_code == 400
    assert set(answer.json["NeutronError"]) == {"type", "message", "detail"}


def test_unknown_marker(api: Api) -> None:
    answer = api.get(f"{V}/networks?limit=1&marker=nothing")
    assert answer.status_code == 404
    assert answer.json["NeutronError"]["type"] == "NetworkNotFound"


def test_pages_forwards_and_backwards(api: Api, db: Database) -> None:
    for number in range(5):
        add_network(db, f"n{number % 2}", f"10.{number}.0.0/24", project_id=api.project_id)
    for order in ("", "&sort_key=name&sort_dir=desc"):
        everything = [item["id"] for item in api.get(f"{V}/networks?limit=0{order}").json["networks"]]
        path, seen = f"{V}/networks?limit=2{order}", []
        while True:
            answer = api.get(path).json
            seen += [item["id"] for item in answer["networks"]]
            following = {link["rel"]: link["href"] for link in answer.get("networks_links", [])}
            if "next" not in following:
                break
            path = following["next"].split("falconframework.org", 1)[1]
        assert seen == everything
        back = following["previous"].split("falconframework.org", 1)[1]
        assert [item["id"] for item in api.get(back).json["networks"]] == everything[2:4]


def test_subnet_filters(api: Api, db: Database) -> None:
    network = add_network(db, "a", "10.1.0.0/24", project_id=api.project_id)
    add_network(db, "b", "fd00::/64", project_id=api.project_id)
    for query, cidrs in (
        ("cidr=10.1.0.0/24", ["10.1.0.0/24"]),
        ("cidr=10.100.0.0/28", []),
        ("ip_version=6", ["fd00::/64"]),
        (f"network_id={network}", ["10.1.0.0/24"]),
        ("gateway_ip=10.1.0.1", ["10.1.0.0/24"]),
        ("enable_dhcp=false", []),
        ("sort_key=network_id&sort_key=cidr", None),
    ):
        shown = [item["cidr"] for item in api.get(f"{V}/subnets?{query}").json["subnets"]]
        assert cidrs is None or shown == cidrs, query


def test_ports_of_servers(api: Api, db: Database, network: str, make_server: MakeServer) -> None:
    server = make_server(network=network)
    other = make_server(owner=api.become("member"), network=network)
    (port,) = api.get(f"{V}/ports").json["ports"]
    assert port["device_id"] == server.uuid
    assert port["device_owner"] == "compute:nova"
    assert port["status"] == "ACTIVE"
    assert port["network_id"] == network
    address = port["fixed_ips"][0]["ip_address"]
    for query, count in (
        (f"device_id={server.uuid}", 1),
        (f"device_id={other.uuid}", 0),
        (f"mac_address={port['mac_address'].upper()}", 1),
        (f"fixed_ips=ip_address={address}", 1),
        (f"fixed_ips=ip_address={address}&fixed_ips=subnet_id={port['fixed_ips'][0]['subnet_id']}", 1),
        ("fixed_ips=ip_address=1.2.3.4", 0),
        ("fixed_ips=ip_address_substr=10.1", 1),
        ("fixed_ips=ip_address_substr=%25", 0),
        ("status=DOWN", 0),
        (f"network_id={network}&device_owner=compute:nova", 1),
        ("binding:host_id=host1", 1),
        ("binding:host_id=host2", 0),
        ("sort_key=device_id&sort_key=status&limit=1", 1),
    ):
        assert len(api.get(f"{V}/ports?{query}").json["ports"]) == count, query
    assert api.get(f"{V}/ports/{port['id']}").json["port"] == port
    assert "binding:host_id" not in port
    admin = api.become("admin")
    assert admin.get(f"{V}/ports/{port['id']}").json["port"]["binding:host_id"] == "host1"
    assert len(admin.get(f"{V}/ports").json["ports"]) == 2
    for one in admin.get(f"{V}/ports").json["ports"]:
        if one["device_id"] == other.uuid:
            assert api.get(f"{V}/ports/{one['id']}").json["NeutronError"]["type"] == "PortNotFound"


def test_ports_of_an_own_network(api: Api, db: Database, make_server: MakeServer) -> None:
    own = add_network(db, "own", "10.2.0.0/24", project_id=api.project_id, shared=True)
    make_server(owner=api.become("member"), network=own)
    assert len(api.get(f"{V}/ports").json["ports"]) == 1


def test_routers(api: Api, db: Database) -> None:
    with db.write() as conn:
        conn.execute(insert(Router).values(uuid="r1", project_id=api.project_id, name="router", created_at=clock.now()))
    (router,) = api.get(f"{V}/routers?status=ACTIVE").json["routers"]
    assert router["external_gateway_info"] is None
    assert api.get(f"{V}/routers/r1").json["router"] == router
    assert api.become("member").get(f"{V}/routers/r1").json["NeutronError"]["type"] == "RouterNotFound"
