# SPDX-License-Identifier: Apache-2.0
"""The main job: the stock `openstack` client and real guests. The guest's console and libvirt agree at each step."""

from __future__ import annotations

import subprocess
import urllib.request
import uuid
from collections.abc import Iterator

import pytest
from websockets.sync.client import connect

from tests.clients.clouds import Cloud
from tests.guest.hosts import IsolatedHost

pytestmark = [pytest.mark.guest, pytest.mark.clients]


class Guest:
    """One server, as the client and as libvirt see it."""

    def __init__(self, cloud: Cloud, host: IsolatedHost, name: str) -> None:
        self.cloud, self.host, self.name = cloud, host, name
        self.id = cloud.show("server", "show", name)["id"]

    def libvirt_state(self) -> str:
        """What virsh says of it."""
        command = ["virsh", "--connect", self.host.uri, "domstate", self.id]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stdout.strip()

    def console(self) -> str:
        """What the guest wrote, through the API."""
        return self.cloud.openstack("console", "log", "show", self.id)

    def wait_for(self, status: str, libvirt: str) -> None:
        """Until the API says so; libvirt must then say its part."""
        self.cloud.wait_for(lambda: self.cloud.status(self.id) == status, f"{self.name} is {status}")
        assert self.libvirt_state() == libvirt

    def boots(self) -> int:
        """How often the guest says that it was ready."""
        return self.console().count("GUEST-READY")

    def wait_for_boot(self, number: int) -> None:
        """Until it was ready that often."""
        self.cloud.wait_for(lambda: self.boots() >= number, f"boot {number} of {self.name}")

    def act(self, *action: str) -> None:
        """`openstack server <action> <this>`."""
        self.cloud.openstack("server", *action, self.id)


@pytest.fixture(scope="module")
def guest(guests: Cloud, host: IsolatedHost) -> Iterator[Guest]:
    """`hello`, made by the very command of the README."""
    said = guests.show(
        *("server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private", "hello", "--wait")
    )
    assert said["status"] == "ACTIVE"
    yield Guest(guests, host, "hello")


def test_the_guest_boots_and_writes_on_its_console(guest: Guest) -> None:
    guest.wait_for_boot(1)
    said = guest.console()
    assert f"GUEST-CONFIGDRIVE uuid={guest.id} name=hello" in said
    assert "GUEST-READY hostname=hello" in said
    assert guest.libvirt_state() == "running"


def test_its_consoles_open(guest: Guest) -> None:
    url = guest.cloud.show("console", "url", "show", guest.id)["url"]
    with urllib.request.urlopen(url, timeout=60) as page:
        assert b"noVNC" in page.read()
    for option, first in (("--novnc", b"RFB "), ("--serial", None)):
        url = guest.cloud.show("console", "url", "show", option, guest.id)["url"]
        where = f"ws://127.0.0.1:{guest.cloud.console_port}/?{url.partition('?')[2]}"
        with connect(where, proxy=None, open_timeout=60) as console:
            if first is None:
                console.send(b"\r")
            assert bytes(console.recv(60))[: len(first or b"")] == (first or b"")  # type: ignore[arg-type]


def test_it_has_the_address_that_the_api_says(guest: Guest) -> None:
    address = guest.cloud.show("server", "show", "hello")["addresses"]["private"][0]
    guest.cloud.wait_for(lambda: f"GUEST-DHCP eth0 {address}" in guest.console(), "the guest's address")
    assert guest.host.ping(address)


def test_stop_is_graceful_and_start_boots_again(guest: Guest) -> None:
    guest.act("stop")
    guest.wait_for("SHUTOFF", "shut off")
    assert "GUEST-SHUTDOWN" in guest.console(), "the guest itself went down, nobody pulled the plug"
    guest.act("start")
    guest.wait_for("ACTIVE", "running")
    guest.wait_for_boot(2)


def test_soft_and_hard_reboot(guest: Guest) -> None:
    before = guest.boots()
    guest.act("reboot", "--soft")
    guest.wait_for_boot(before + 1)
    guest.wait_for("ACTIVE", "running")
    guest.act("reboot", "--hard")
    guest.wait_for_boot(before + 2)
    guest.wait_for("ACTIVE", "running")


def test_pause_and_suspend(guest: Guest) -> None:
    boots = guest.boots()
    guest.act("pause")
    guest.wait_for("PAUSED", "paused")
    guest.act("unpause")
    guest.wait_for("ACTIVE", "running")
    guest.act("suspend")
    guest.wait_for("SUSPENDED", "shut off")
    guest.act("resume")
    guest.wait_for("ACTIVE", "running")
    assert guest.boots() == boots, "a suspended guest goes on, it does not boot"


def test_the_guest_powers_itself_off(guest: Guest) -> None:
    boots = guest.boots()
    subprocess.run(["virsh", "--connect", guest.host.uri, "shutdown", guest.id], check=True, timeout=60)
    guest.wait_for("SHUTOFF", "shut off")
    guest.act("start")
    guest.wait_for("ACTIVE", "running")
    guest.wait_for_boot(boots + 1)


def test_the_compute_service_is_killed_and_the_api_goes_on(guest: Guest) -> None:
    """kill -9 of the compute service; a stop asked for meanwhile is done when it is back."""
    boots = guest.boots()
    lock = next(guest.cloud.state.glob("compute-*.lock"))
    pid = lock.read_text()
    subprocess.run(["kill", "-9", pid], check=True)
    guest.act("stop")
    guest.wait_for("SHUTOFF", "shut off")
    assert lock.read_text() != pid
    guest.act("start")
    guest.wait_for("ACTIVE", "running")
    guest.wait_for_boot(boots + 1)


def test_the_action_log_tells_it(guest: Guest) -> None:
    done = {row["Action"] for row in guest.cloud.show("server", "event", "list", guest.id)}
    assert {"create", "stop", "start", "reboot", "pause", "unpause", "suspend", "resume"} <= done


def test_another_project_sees_nothing(guest: Guest) -> None:
    assert guest.cloud.show("server", "list", cloud="computeapi-demo") == []
    said = guest.cloud.openstack("server", "show", guest.id, cloud="computeapi-demo", check=False)
    assert "No Server found" in said


def test_serve_ends_and_the_next_one_takes_the_guest_over(guest: Guest) -> None:
    boots = guest.boots()
    guest.cloud.stop()
    assert guest.libvirt_state() == "running"
    guest.cloud.start()
    assert guest.cloud.status(guest.id) == "ACTIVE"
    assert guest.boots() == boots


def test_delete_leaves_nothing(guest: Guest) -> None:
    guest.cloud.openstack("server", "delete", "--wait", guest.id)
    assert guest.libvirt_state() == ""
    left = [path.name for path in (guest.cloud.state / "disks").iterdir() if guest.id in path.name]
    assert left == []
    assert guest.id not in guest.cloud.openstack("server", "list", "-f", "value")


def test_user_data_keys_and_files_reach_the_guest(guests: Cloud, host: IsolatedHost, tmp_path: object) -> None:
    marker = uuid.uuid4().hex
    script = guests.state / "user-data"
    script.write_text(f"#!/bin/sh\necho marker {marker}\n")
    guests.openstack("keypair", "create", "--private-key", str(guests.state / "key"), "mine")
    guests.openstack(
        *("server", "create", "--image", "tiny", "--flavor", "m1.nano", "--network", "private", "--key-name", "mine"),
        *("--user-data", str(script), "--property", "colour=green", "fed", "--wait"),
    )
    fed = Guest(guests, host, "fed")
    guests.wait_for(lambda: marker in fed.console(), "the user data's output")
    assert "GUEST-KEYS 1" in fed.console()
    guests.openstack("server", "delete", "--wait", "fed")


def test_a_second_user_boots_from_an_image_of_its_own(guests: Cloud, host: IsolatedHost) -> None:
    image = guests.state / "saved.qcow2"
    guests.openstack("image", "save", "--file", str(image), "tiny", cloud="computeapi-demo")
    guests.openstack("image", "create", "--disk-format", "qcow2", "--file", str(image), "own", cloud="computeapi-demo")
    guests.openstack(
        *("server", "create", "--image", "own", "--flavor", "m1.nano", "--network", "private", "demo", "--wait"),
        cloud="computeapi-demo",
    )
    server = guests.show("server", "show", "demo", cloud="computeapi-demo")
    guests.wait_for(
        lambda: (
            "GUEST-READY hostname=demo"
            in guests.openstack("console", "log", "show", server["id"], cloud="computeapi-demo")
        ),
        "the guest of the user demo",
    )
    guests.openstack("server", "delete", "--wait", server["id"], cloud="computeapi-demo")
