# SPDX-License-Identifier: Apache-2.0
"""What else is done to a server over its life, each time with its effect read from the guest or from libvirt.

Most tests share one guest, the last ones have guests of a boot sector alone, which start in a moment and do not hear
the power button. What gives a guest other disks is in test_actions.py, the network's rules in test_network_effects.py.
"""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from computeapi import clock
from computeapi.compute import sweeps
from computeapi.compute.guest import network_name
from computeapi.db.models import Server
from computeapi.db.queries import addresses
from computeapi.states import PowerState
from computeapi.virt.base import DomainNotFound
from computeapi.virt.images import empty_qcow2
from tests.cloud import add_image
from tests.databases import Engine
from tests.guest.cloud import Cloud, Guest, Inside
from tests.guest.hosts import IsolatedHost, boot_sector, wait_for

pytestmark = pytest.mark.guest

GATEWAY = "10.66.0.1"


def encoded(text: str) -> str:
    """As bodies have it."""
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    settings = {"reclaim_instance_interval": 3600, "query_timeout": 60}
    cloud = Cloud(host, directory, database_engine.new(directory), tiny, **settings)
    yield cloud
    for server_id in cloud.servers:
        cloud.api.post(f"/servers/{server_id}/action", {"forceDelete": None})
    cloud.close()


@pytest.fixture(scope="module")
def other(cloud: Cloud) -> str:
    """A second network of the project's."""
    with cloud.db.write() as conn:
        return addresses.create_network(conn, name="other", cidr="10.67.0.0/24", project_id=cloud.api.project_id)


@pytest.fixture(scope="module")
def private(cloud: Cloud) -> str:
    """The network that servers are on."""
    with cloud.db.read() as conn:
        return addresses.visible_networks(conn, "nobody")[0][1]


@pytest.fixture(scope="module")
def fed(cloud: Cloud, host: IsolatedHost, private: str) -> Inside:
    """A guest that was given files and user data, and was made anew with other files and the same ephemeral disk."""
    given: dict[str, Any] = {
        "personality": [{"path": "/etc/motd", "contents": encoded("first\n")}],
        "user_data": encoded("#!/bin/sh\necho read $(cat /etc/motd)\n"),
        "networks": [{"uuid": private}],
    }
    guest = cloud.boot(cloud.flavor(ephemeral_gb=1), name="fed", **given)
    wait_for(lambda: "GUEST-USERDATA read first" in console(guest), "its user data has run, with its file there")
    assert "GUEST-FILE /etc/motd" in console(guest)
    files = [{"path": "/etc/motd", "contents": encoded("second\n")}, {"path": "/srv/a b/c", "contents": encoded("ü")}]
    inside = Inside(guest, host.uri)
    inside.ready()
    kept = "dd if=/dev/vdb bs=512 count=1 iflag=direct 2>/dev/null"
    assert inside.run("echo kept | dd of=/dev/vdb conv=fsync && sync")[0] == 0
    guest.act(rebuild={"imageRef": cloud.tiny, "personality": files, "preserve_ephemeral": True})
    inside.connect()
    inside.ready()
    assert inside.run(kept)[1].startswith("kept\n"), "its ephemeral disk is the same"
    return inside


def console(guest: Guest | Inside) -> str:
    """What the guest wrote."""
    cloud = guest.cloud if isinstance(guest, Guest) else guest.guest.cloud
    return cloud.driver.console_output(guest.id, None)


@contextmanager
def working(cloud: Cloud) -> Iterator[None]:
    """The compute service works beside what is done here."""
    done, failed = threading.Event(), list[BaseException]()

    def work() -> None:
        try:
            while not done.wait(0.05):
                cloud.compute.work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert failed == []


def ask(guest: Inside, **action: Any) -> Any:
    """Ask what only the host can answer."""
    with working(guest.guest.cloud):
        return guest.guest.cloud.api.post(f"/servers/{guest.id}/action", action)


# --- what it is given, and what it says ---


def test_files_and_user_data(fed: Inside) -> None:
    wait_for(lambda: "GUEST-USERDATA read second" in console(fed), "the new guest's user data has run")
    assert fed.run("cat /etc/motd") == (0, "second\n")
    assert fed.run("cat '/srv/a b/c'") == (0, "ü")
    assert fed.run("cat /data/boots")[1].strip() == "1", "a new disk"


def test_console_output(fed: Inside) -> None:
    fed.run("echo said-on-the-console >/dev/console")
    wait_for(lambda: "said-on-the-console" in console(fed), "the console")
    output = ask(fed, **{"os-getConsoleOutput": {"length": 3}}).json["output"]
    assert "said-on-the-console" in output
    assert len(output.splitlines()) <= 3


def test_password(fed: Inside) -> None:
    assert ask(fed, changePassword={"adminPass": "a new one"}).status_code == 202
    check = "h=$(awk -F: '$1 == \"root\" {print $2}' /etc/shadow); s=${h#\\$6\\$}; s=${s%%\\$*}"
    assert fed.run(f'{check}; [ "$(mkpasswd -m sha512 -S "$s" \'a new one\')" = "$h" ]')[0] == 0
    assert fed.run(f'{check}; [ "$(mkpasswd -m sha512 -S "$s" \'another\')" = "$h" ]')[0] != 0


def test_diagnostics(cloud: Cloud, fed: Inside) -> None:
    def figures() -> dict[str, Any]:
        with working(cloud):
            answer = cloud.api.get(f"/servers/{fed.id}/diagnostics")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    before = figures()
    received = next(name for name in before if name.endswith("_rx_packets"))
    assert before["memory"] == 96 * 1024
    fed.run(f"ping -c 5 -i 0.2 {GATEWAY}; cat /bin/busybox | md5sum")
    after = figures()
    assert after["cpu0_time"] > before["cpu0_time"]
    # The guest's interface as the host counts it: what was sent there is what the guest got.
    assert after[received] - before[received] >= 5


# --- who may, and what the API says of it ---


def test_lock(cloud: Cloud, fed: Inside) -> None:
    member = cloud.api.become("member", project_id=cloud.api.project_id)
    path = f"/servers/{fed.id}/action"
    assert member.post(path, {"lock": None}).status_code == 202
    for action in ("os-stop", "pause", "suspend"):
        assert member.post(path, {action: None}).status_code == 409
    assert member.delete(f"/servers/{fed.id}").status_code == 409
    cloud.compute.work()
    assert cloud.driver.state(fed.id) == PowerState.RUNNING
    assert member.post(path, {"unlock": None}).status_code == 202
    assert member.post(path, {"pause": None}).status_code == 202
    cloud.compute.work()
    assert cloud.driver.state(fed.id) == PowerState.PAUSED
    fed.guest.act(unpause=None)
    assert cloud.driver.state(fed.id) == PowerState.RUNNING


def test_reset_state(cloud: Cloud, fed: Inside) -> None:
    """It says what a server is, and does nothing to the guest."""
    boot = fed.run("cat /proc/sys/kernel/random/boot_id")
    fed.guest.act(**{"os-resetState": {"state": "error"}})
    fed.guest.is_("ERROR")
    fed.guest.act(**{"os-resetState": {"state": "active"}})
    fed.guest.is_("ACTIVE")
    assert fed.run("cat /proc/sys/kernel/random/boot_id") == boot


# --- its interfaces ---


def macs(guest: Inside) -> set[str]:
    """The interfaces that the guest has."""
    return set(guest.run("cat /sys/class/net/eth*/address")[1].split())


def test_interfaces_come_and_go(cloud: Cloud, fed: Inside, other: str) -> None:
    path = f"/servers/{fed.id}/os-interface"
    before = macs(fed)
    new = cloud.api.post(path, {"interfaceAttachment": {"net_id": other}}).json["interfaceAttachment"]
    cloud.compute.work()
    address = new["fixed_ips"][0]["ip_address"]
    wait_for(lambda: f"GUEST-DHCP eth1 {address}" in console(fed), "the new interface has its address")
    assert macs(fed) == before | {new["mac_addr"]}
    shown = cloud.api.get(f"/servers/{fed.id}/os-virtual-interfaces").json["virtual_interfaces"]
    assert {item["mac_address"] for item in shown} == macs(fed)
    assert cloud.api.delete(f"{path}/{new['port_id']}").status_code == 202
    cloud.compute.work()
    wait_for(lambda: macs(fed) == before, "it is gone")
    assert len(cloud.api.get(path).json["interfaceAttachments"]) == 1


def test_an_interface_whose_port_was_deleted_elsewhere(cloud: Cloud, fed: Inside, other: str) -> None:
    before = macs(fed)
    path = f"/servers/{fed.id}/os-interface"
    new = cloud.api.post(path, {"interfaceAttachment": {"net_id": other}}).json["interfaceAttachment"]
    cloud.compute.work()
    wait_for(lambda: macs(fed) == before | {new["mac_addr"]}, "it is there")
    event = {"name": "network-vif-deleted", "server_uuid": fed.id, "tag": new["port_id"]}
    assert cloud.api.post("/os-server-external-events", {"events": [event]}).status_code == 200
    cloud.compute.work()
    wait_for(lambda: macs(fed) == before, "it is gone")


def test_fixed_ips(cloud: Cloud, fed: Inside) -> None:
    """A guest sends from the addresses that it has, and no others."""
    (interface,) = cloud.api.get(f"/servers/{fed.id}/os-interface").json["interfaceAttachments"]
    fed.guest.act(addFixedIp={"networkId": interface["net_id"]})
    shown = cloud.api.get(f"/servers/{fed.id}/ips/private").json["private"]
    (more,) = {item["addr"] for item in shown} - {fed.address}
    fed.run(f"ip addr add {more}/24 dev eth0")
    assert fed.pings(GATEWAY, f"-I {more}")
    fed.guest.act(removeFixedIp={"address": more})
    assert not fed.pings(GATEWAY, f"-I {more}")
    assert fed.pings(GATEWAY, f"-I {fed.address}")
    fed.run(f"ip addr del {more}/24 dev eth0")


def leased(guest: Inside) -> str:
    """The address that DHCP gives the guest now; "" where it gives none."""
    ask = "udhcpc -i eth0 -n -q -f -t 4 -T 1 -s /tmp/ask 2>&1"
    script = "printf '#!/bin/sh\\n[ \"$1\" != bound ] || echo leased $ip\\n' >/tmp/ask; chmod 755 /tmp/ask"
    words = guest.run(f"{script}; {ask}")[1].split()
    return words[words.index("leased") + 1] if "leased" in words else ""


@pytest.mark.parametrize("action", ["resetNetwork", "injectNetworkInfo"])
def test_networking_is_set_up_anew(cloud: Cloud, fed: Inside, action: str) -> None:
    (interface,) = cloud.api.get(f"/servers/{fed.id}/os-interface").json["interfaceAttachments"]
    assert leased(fed) == fed.address
    cloud.driver.remove_dhcp_host(network_name(interface["net_id"]), interface["mac_addr"])
    assert leased(fed) == ""
    fed.guest.act(**{action: None})
    assert leased(fed) == fed.address


def test_an_address_that_changed_elsewhere(cloud: Cloud, fed: Inside) -> None:
    (interface,) = cloud.api.get(f"/servers/{fed.id}/os-interface").json["interfaceAttachments"]
    port = f"/network/v2.0/ports/{interface['port_id']}"
    for address in ("10.66.0.99", fed.address):
        assert cloud.api.put(port, {"port": {"fixed_ips": [{"ip_address": address}]}}).status_code == 200
        event = {"name": "network-changed", "server_uuid": fed.id, "tag": interface["port_id"]}
        assert cloud.api.post("/os-server-external-events", {"events": [event]}).status_code == 200
        cloud.compute.work()
        assert leased(fed) == address


# --- deleted, now or later ---


@pytest.fixture(scope="module")
def small(cloud: Cloud, private: str) -> dict[str, Any]:
    """The body of a server of a boot sector."""
    image = add_image(cloud.compute.images, boot_sector(), name="sector", disk_format="raw")
    return {
        "name": "small",
        "imageRef": image,
        "flavorRef": cloud.flavor(memory_mb=16),
        "networks": [{"uuid": private}],
    }


def guests_of(cloud: Cloud, server_id: str) -> list[str]:
    """What the host has of a server: its state, and its volumes."""
    state = cloud.driver.list_guests().get(server_id)
    return [*([] if state is None else [state.name]), *sorted(cloud.compute.volumes(server_id))]


def test_a_delete_that_can_be_taken_back(cloud: Cloud, small: dict[str, Any]) -> None:
    guest = cloud.boot(small["flavorRef"], **small)
    assert guests_of(cloud, guest.id) == ["RUNNING", "config", "disk"]
    assert cloud.api.delete(f"/servers/{guest.id}").status_code == 204
    cloud.compute.work()
    assert cloud.api.get(f"/servers/{guest.id}").json["server"]["status"] == "SOFT_DELETED"
    assert guests_of(cloud, guest.id) == ["SHUTDOWN", "config", "disk"]
    guest.act(restore=None)
    guest.is_("ACTIVE")
    assert guests_of(cloud, guest.id) == ["RUNNING", "config", "disk"]
    cloud.api.delete(f"/servers/{guest.id}")
    cloud.compute.work()
    assert sweeps.reclaim(cloud.compute.tools) == 0, "not long enough"
    with cloud.db.write() as conn:
        conn.execute(update(Server).where(Server.uuid == guest.id).values(updated_at=clock.shifted(-4000)))
    assert sweeps.reclaim(cloud.compute.tools) == 1
    cloud.compute.work()
    assert guests_of(cloud, guest.id) == []
    assert cloud.api.get(f"/servers/{guest.id}").status_code == 404


def test_force_delete_wins_over_what_runs(cloud: Cloud, small: dict[str, Any]) -> None:
    """The guest does not hear the power button: a stop would take `shutdown_timeout`, a minute."""
    guest = cloud.boot(small["flavorRef"], **small)
    began = time.monotonic()
    with working(cloud):
        assert cloud.api.post(f"/servers/{guest.id}/action", {"os-stop": None}).status_code == 202
        time.sleep(1.0)
        assert cloud.driver.state(guest.id) == PowerState.RUNNING, "it is being asked"
        assert cloud.api.post(f"/servers/{guest.id}/action", {"forceDelete": None}).status_code == 202
        wait_for(lambda: cloud.api.get(f"/servers/{guest.id}").status_code == 404, "it is gone")
    assert time.monotonic() - began < 45
    assert guests_of(cloud, guest.id) == []
    with pytest.raises(DomainNotFound):
        cloud.driver.state(guest.id)


def test_a_server_in_error_is_deleted(cloud: Cloud, small: dict[str, Any]) -> None:
    """Its image is larger than its disk, which nobody can see before the image is there. It is not kept to restore."""
    image = add_image(cloud.compute.images, empty_qcow2(2 << 30), name="large")
    server_id = cloud.api.post("/servers", {"server": {**small, "imageRef": image}}).json["server"]["id"]
    cloud.servers.append(server_id)
    cloud.compute.work()
    shown = cloud.api.get(f"/servers/{server_id}").json["server"]
    assert shown["status"] == "ERROR"
    assert shown["fault"]["message"]
    assert cloud.api.delete(f"/servers/{server_id}").status_code == 204
    cloud.compute.work()
    assert cloud.api.get(f"/servers/{server_id}").status_code == 404
    assert guests_of(cloud, server_id) == []


def test_a_server_that_is_being_built_is_deleted(cloud: Cloud, small: dict[str, Any]) -> None:
    server_id = cloud.api.post("/servers", {"server": small}).json["server"]["id"]
    with working(cloud):
        wait_for(lambda: "disk" in cloud.compute.volumes(server_id), "its disk is there")
        assert cloud.api.post(f"/servers/{server_id}/action", {"forceDelete": None}).status_code == 202
        wait_for(lambda: cloud.api.get(f"/servers/{server_id}").status_code == 404, "it is gone")
    cloud.compute.work()
    assert guests_of(cloud, server_id) == []


def test_several_at_once(cloud: Cloud, small: dict[str, Any]) -> None:
    body = {**small, "name": "many", "min_count": 2, "return_reservation_id": True}
    answer = cloud.api.post("/servers", {"server": body})
    assert answer.status_code == 202, answer.text
    cloud.compute.work()
    found = cloud.api.get(f"/servers/detail?reservation_id={answer.json['reservation_id']}").json["servers"]
    assert sorted((server["name"], server["status"]) for server in found) == [
        ("many-1", "ACTIVE"),
        ("many-2", "ACTIVE"),
    ]
    for server in found:
        assert guests_of(cloud, server["id"]) == ["RUNNING", "config", "disk"]
        cloud.api.post(f"/servers/{server['id']}/action", {"forceDelete": None})
    cloud.compute.work()
    assert [guests_of(cloud, server["id"]) for server in found] == [[], []]
