# SPDX-License-Identifier: Apache-2.0
"""Security groups, anti-spoofing, floating IPs, DNS names and isolation, as real guests and a client outside see them.

Each rule is shown both ways: what it opens was closed before. Commands run in the guests through their agents, and
outside in the fabric's network namespace, which is all the outside there is.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from sqlalchemy import select

from computeapi.app import create_app
from computeapi.backends.identity.tokens import TokenCodec
from computeapi.compute.operations import firewall
from computeapi.db.models import Base
from computeapi.db.queries import addresses
from tests.cloud import add_image
from tests.conftest import Api
from tests.databases import Engine
from tests.guest.cloud import Cloud, Guest, Inside
from tests.guest.hosts import IsolatedHost, wait_for

pytestmark = pytest.mark.guest

V = "/network/v2.0"
OUTSIDE = "10.77.0.254"
FLOATING = "10.77.0.201"
_PEER = """
import socket
with socket.create_server(("10.77.0.254", 9999)) as server:
    server.settimeout(60)
    print("ready", flush=True)
    connection, peer = server.accept()
    print(peer[0], flush=True)
"""

_READ = """
import socket, sys
with socket.create_connection((sys.argv[1], 80), 4) as connection:
    connection.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
    while data := connection.recv(4096):
        print(data.decode(), end="")
"""


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(host, directory, database_engine.new(directory), tiny)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def pair(cloud: Cloud, host: IsolatedHost) -> tuple[Inside, Inside]:
    """Two guests of one project on one network, both in the group "default" alone."""
    flavor = cloud.flavor()
    guests = [cloud.boot(flavor, name=name) for name in ("one", "two")]
    first, second = (Inside(guest, host.uri) for guest in guests)
    first.ready()
    second.ready()
    return first, second


def outside(host: IsolatedHost, *command: str) -> subprocess.CompletedProcess[str]:
    """A command outside the cloud."""
    fabric = (host.directory / "fabric").read_text().strip()
    return subprocess.run(
        ["ip", "netns", "exec", fabric, *command], check=False, capture_output=True, text=True, timeout=60
    )


def reads(host: IsolatedHost, address: str) -> str:
    """The web page that a client outside gets from there."""
    return outside(host, "python3", "-c", _READ, address).stdout


def group(cloud: Cloud, name: str) -> str:
    """A new group's id."""
    body = {"security_group": {"name": name, "description": ""}}
    return str(cloud.api.post("/os-security-groups", body).json["security_group"]["id"])


def allow(cloud: Cloud, parent: str, protocol: str, least: int, most: int, **source: str) -> str:
    """A new rule's id; it is in force."""
    rule = {"parent_group_id": parent, "ip_protocol": protocol, "from_port": least, "to_port": most, **source}
    answer = cloud.api.post("/os-security-group-rules", {"security_group_rule": rule})
    assert answer.status_code == 200, answer.text
    cloud.compute.work()
    return str(answer.json["security_group_rule"]["id"])


@pytest.fixture
def web(cloud: Cloud, pair: tuple[Inside, Inside]) -> Iterator[str]:
    """A group that lets nothing in, which the second guest has instead of the default one."""
    key = group(cloud, "web")
    _, second = pair
    second.guest.act(addSecurityGroup={"name": "web"})
    second.guest.act(removeSecurityGroup={"name": "default"})
    yield key
    second.guest.act(addSecurityGroup={"name": "default"})
    second.guest.act(removeSecurityGroup={"name": "web"})
    assert cloud.api.delete(f"/os-security-groups/{key}").status_code == 202


def test_members_of_a_group_reach_each_other(pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    assert first.pings(second.address)
    assert second.pings(first.address)
    assert first.reads(second.address)


def test_rules_open_what_was_closed(cloud: Cloud, pair: tuple[Inside, Inside], web: str) -> None:
    first, second = pair
    assert not first.pings(second.address)
    assert not first.reads(second.address)
    assert not second.pings(first.address), "no member of the default group any more"
    rule = allow(cloud, web, "tcp", 80, 80)
    assert first.reads(second.address)
    assert not first.pings(second.address)
    allow(cloud, web, "icmp", -1, -1)
    assert first.pings(second.address)
    cloud.api.delete(f"/os-security-group-rules/{rule}")
    cloud.compute.work()
    assert not first.reads(second.address)
    allow(cloud, web, "tcp", 80, 80, cidr=f"{second.address}/32")
    assert not first.reads(second.address), "a rule for another source"
    allow(cloud, web, "tcp", 80, 80, cidr=f"{first.address}/32")
    assert first.reads(second.address)


def test_rules_for_groups_follow_their_members(cloud: Cloud, pair: tuple[Inside, Inside], web: str) -> None:
    first, second = pair
    clients = group(cloud, "clients")
    allow(cloud, web, "tcp", 80, 80, group_id=clients)
    assert not first.reads(second.address)
    first.guest.act(addSecurityGroup={"name": "clients"})
    assert first.reads(second.address)
    first.guest.act(removeSecurityGroup={"name": "clients"})
    assert not first.reads(second.address)
    assert cloud.api.delete(f"/os-security-groups/{clients}").status_code == 202


def test_what_a_guest_sends_is_filtered_too(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    (default,) = cloud.api.get(f"{V}/security-groups?name=default&project_id={cloud.api.project_id}").json[
        "security_groups"
    ]
    rules = [rule for rule in default["security_group_rules"] if rule["direction"] == "egress"]
    for rule in rules:
        cloud.api.delete(f"{V}/security-group-rules/{rule['id']}")
    cloud.compute.work()
    assert not first.pings(second.address)
    assert not first.pings(OUTSIDE)
    for rule in rules:
        body = {"security_group_id": default["id"], "direction": "egress", "ethertype": rule["ethertype"]}
        assert cloud.api.post(f"{V}/security-group-rules", {"security_group_rule": body}).status_code == 201
    cloud.compute.work()
    assert first.pings(second.address)
    assert first.pings(OUTSIDE)


def test_addresses_are_not_forged(pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    forged = "10.66.0.99"
    assert first.pings(second.address, f"-I {first.address}")
    first.run(f"ip addr add {forged}/24 dev eth0")
    assert not first.pings(second.address, f"-I {forged}"), "another IP address"
    second.run("ip neigh flush all")
    assert not second.pings(forged), "another address by ARP"
    first.run(f"ip addr del {forged}/24 dev eth0")
    mac = first.run("cat /sys/class/net/eth0/address")[1].strip()
    first.run("ip link set dev eth0 address 52:54:00:12:34:56")
    assert not first.pings(second.address), "another MAC address"
    first.run(f"ip link set dev eth0 address {mac}")
    wait_for(lambda: first.pings(second.address), "all is as before")


def test_floating_ip_in_and_out(cloud: Cloud, host: IsolatedHost, pair: tuple[Inside, Inside], web: str) -> None:
    first, second = pair
    pool = {"floating_ips_bulk_create": {"ip_range": FLOATING, "pool": "outside"}}
    assert cloud.api.post("/os-floating-ips-bulk", pool).status_code == 200
    assert cloud.api.post("/os-floating-ips", {"pool": "outside"}).json["floating_ip"]["ip"] == FLOATING
    assert seen_as(host, second) == "10.77.0.1", "as the host before"
    host.inside("ip", "addr", "add", f"{FLOATING}/32", "dev", "lo")  # somebody else's, with that address
    second.guest.act(addFloatingIp={"address": FLOATING})
    (floating,) = cloud.api.get(f"{V}/floatingips").json["floatingips"]
    assert floating["status"] == "ERROR"
    assert log_of(cloud, second.guest.id)[0] == ("addFloatingIp", "Error")
    assert FLOATING not in host.inside("nft", "list", "table", "inet", "computeapi"), "nothing half there"
    assert seen_as(host, second) == "10.77.0.1"
    host.inside("ip", "addr", "del", f"{FLOATING}/32", "dev", "lo")
    firewall.apply(cloud.compute.tools)
    assert cloud.api.get(f"{V}/floatingips/{floating['id']}").json["floatingip"]["status"] == "ACTIVE"
    assert seen_as(host, second) == FLOATING
    assert reads(host, FLOATING) == "", "its group lets nothing in"
    allow(cloud, web, "tcp", 80, 80)
    assert "hello from two" in reads(host, FLOATING)
    first_group = group(cloud, "first")
    allow(cloud, first_group, "tcp", 80, 80)
    first.guest.act(addSecurityGroup={"name": "first"})
    assert first.reads(FLOATING), "from inside, by the address outside"
    first.guest.act(addFloatingIp={"address": FLOATING})
    assert "hello from one" in reads(host, FLOATING), "moved at once"
    assert seen_as(host, second) == "10.77.0.1"
    first.guest.act(removeFloatingIp={"address": FLOATING})
    assert reads(host, FLOATING) == ""
    first.guest.act(removeSecurityGroup={"name": "first"})


def log_of(cloud: Cloud, server: str) -> list[tuple[str, str | None]]:
    """A server's action log, newest first: what it was, and "Error" where it failed."""
    shown = cloud.api.get(f"/servers/{server}/os-instance-actions").json["instanceActions"]
    return [(each["action"], each["message"]) for each in shown]


def seen_as(host: IsolatedHost, guest: Inside) -> str:
    """The address that a guest's connection comes from, outside."""
    fabric = (host.directory / "fabric").read_text().strip()
    command = ["ip", "netns", "exec", fabric, "python3", "-u", "-c", _PEER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdout.readline().strip() == "ready"
        guest.run(f"echo | nc -w 5 {OUTSIDE} 9999")
        return str(server.stdout.readline().strip())


def test_names_are_answered(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    ask = "nslookup www.example.org 10.66.0.1"
    assert "203.0.113.7" not in first.run(ask)[1]
    cloud.api.put("/os-floating-ip-dns/example.org", {"domain_entry": {"scope": "public"}})
    for name in ("www", "alias"):
        entry = {"dns_entry": {"ip": "203.0.113.7", "dns_type": "A"}}
        assert cloud.api.put(f"/os-floating-ip-dns/example.org/entries/{name}", entry).status_code == 200
    cloud.compute.work()
    assert "203.0.113.7" in first.run(ask)[1]
    cloud.api.delete("/os-floating-ip-dns/example.org/entries/www")
    cloud.compute.work()
    assert "203.0.113.7" not in first.run(ask)[1]
    assert "203.0.113.7" in second.run("nslookup alias.example.org 10.66.0.1")[1]


def test_the_host_pings_its_guests(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    asked = [first.address, second.address, "10.66.0.200", "; reboot"]
    assert cloud.driver.ping(asked, 2) == {first.address, second.address}


@contextmanager
def working(cloud: Cloud) -> Iterator[None]:
    """The host answers while the test asks."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.02):
            cloud.compute.work()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_fping(cloud: Cloud, pair: tuple[Inside, Inside]) -> None:
    first, second = pair
    with working(cloud):
        shown = cloud.api.get("/os-fping").json["servers"]
        assert {each["id"]: each["alive"] for each in shown} == {first.id: True, second.id: True}
    second.guest.act(pause=None)
    with working(cloud):
        assert cloud.api.get(f"/os-fping/{second.id}").json["server"]["alive"] is False
        assert cloud.api.get(f"/os-fping/{first.id}").json["server"]["alive"] is True
    second.guest.act(unpause=None)


def test_a_projects_vpn_server(cloud: Cloud, host: IsolatedHost, tiny: Path, pair: tuple[Inside, Inside]) -> None:
    """It boots with a certificate of the project's authority and its key, which nobody keeps; its state is found out
    by pinging it."""
    image = add_image(cloud.compute.images, tiny, name="vpn")
    settings = replace(cloud.compute.tools.settings, vpn_image_id=image, vpn_flavor=cloud.flavor())
    codec = TokenCodec(settings.secret("tokens"))
    operator = Api(create_app(settings, db=cloud.db), codec, ("admin",), cloud.api.project_id, cloud.api.user_id)
    made = operator.post("/os-cloudpipe", {"cloudpipe": {"project_id": cloud.api.project_id}})
    assert made.status_code == 200, made.text
    guest = Guest(cloud, made.json["instance_id"])
    cloud.servers.append(guest.id)
    cloud.compute.work()
    guest.is_("ACTIVE")
    vpn = Inside(guest, host.uri)
    vpn.ready()

    def state() -> tuple[str, str | None]:
        with working(cloud):
            (shown,) = operator.get("/os-cloudpipe").json["cloudpipes"]
        assert (shown["instance_id"], shown["internal_ip"]) == (guest.id, vpn.address)
        return shown["state"], shown["public_ip"]

    assert state() == ("invalid", None), "nobody said where it is reached"
    where = {"configure_project": {"vpn_ip": "192.0.2.44", "vpn_port": 1194}}
    assert operator.put("/os-cloudpipe/configure-project", where).status_code == 202
    assert state() == ("running", "192.0.2.44")
    guest.act(pause=None)
    assert state()[0] == "down"
    guest.act(unpause=None)
    wait_for(lambda: vpn.run("test -s /etc/openvpn/server.conf")[0] == 0, "its user data ran")
    root, certificate = (
        x509.load_pem_x509_certificate(vpn.run(f"cat /etc/openvpn/{name}.crt")[1].encode()) for name in ("ca", "server")
    )
    certificate.verify_directly_issued_by(root)
    key = serialization.load_pem_private_key(vpn.run("cat /etc/openvpn/server.key")[1].encode(), None)
    assert key.public_key() == certificate.public_key()
    assert operator.get("/os-certificates/root").json["certificate"]["data"].encode() == root.public_bytes(
        serialization.Encoding.PEM
    )
    issued = operator.post("/os-certificates").json["certificate"]["private_key"]
    kept = stored(cloud)
    assert "BEGIN CERTIFICATE" in kept, "certificates are"
    assert "PRIVATE KEY" not in kept
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    for pem in (secret, issued):
        assert pem.splitlines()[1] not in kept


def stored(cloud: Cloud) -> str:
    """All that the database has, as text; what it has in base64 is read."""
    with cloud.db.read() as conn:
        values = [
            str(value) for table in Base.metadata.sorted_tables for row in conn.execute(select(table)) for value in row
        ]
    return "\n".join([*values, *filter(None, map(decoded, values))])


def decoded(text: str) -> str:
    """What base64 text says; "" where it is none."""
    try:
        return base64.b64decode(text, validate=True).decode()
    except (ValueError, UnicodeDecodeError):
        return ""


def test_our_tables_come_back_and_no_others_are_touched(cloud: Cloud, host: IsolatedHost, pair: Any) -> None:
    first, second = pair
    foreign = "table inet operators {\n chain c {\n type filter hook input priority 0; policy accept;\n }\n}\n"
    subprocess.run(["ip", "netns", "exec", host.netns, "nft", "-f", "-"], input=foreign, text=True, check=True)
    host.inside("nft", "delete", "table", "inet", "computeapi")
    firewall.apply(cloud.compute.tools)
    tables = host.inside("nft", "list", "tables")
    assert "table inet computeapi" in tables
    assert "table inet operators" in tables
    assert first.pings(second.address)
    host.inside("nft", "delete", "table", "inet", "operators")


def test_projects_are_isolated(cloud: Cloud, host: IsolatedHost, pair: tuple[Inside, Inside]) -> None:
    first, _ = pair
    default = cloud.api.get(f"{V}/security-groups?name=default&project_id={cloud.api.project_id}").json
    allow(cloud, default["security_groups"][0]["id"], "icmp", -1, -1)
    with cloud.db.write() as conn:
        network = addresses.create_network(conn, name="theirs", cidr="10.67.0.0/24", project_id=cloud.api.project_id)
    guest = cloud.boot(cloud.flavor(), name="three", networks=[{"uuid": network}])
    third = Inside(guest, host.uri)
    third.ready()
    assert third.pings("10.67.0.1")
    assert third.pings(OUTSIDE)
    assert not third.pings(first.address), "whatever its rules say: no router connects the two"
    assert not first.pings(third.address)
