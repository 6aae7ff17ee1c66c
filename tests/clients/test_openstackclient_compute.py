# SPDX-License-Identifier: Apache-2.0
"""The stock client's compute commands, on the simulator: what users have, and what administrators have."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.clients.clouds import Shell

pytestmark = pytest.mark.clients

NEW = ("server", "create", "--image", "tiny", "--flavor", "m1.tiny", "--network", "private")

# command, more arguments, what the server is afterwards
LIFE = (
    ("pause", (), "PAUSED"),
    ("unpause", (), "ACTIVE"),
    ("suspend", (), "SUSPENDED"),
    ("resume", (), "ACTIVE"),
    ("stop", (), "SHUTOFF"),
    ("start", (), "ACTIVE"),
    ("reboot", ("--hard",), "ACTIVE"),
    ("reboot", ("--soft",), "ACTIVE"),
    ("lock", (), "ACTIVE"),
    ("unlock", (), "ACTIVE"),
    ("rescue", (), "RESCUE"),
    ("unrescue", (), "ACTIVE"),
    ("rebuild", ("--image", "tiny"), "ACTIVE"),
    ("resize", ("--flavor", "m1.small"), "VERIFY_RESIZE"),
    ("resize confirm", (), "ACTIVE"),
    ("resize", ("--flavor", "m1.medium"), "VERIFY_RESIZE"),
    ("resize revert", (), "ACTIVE"),
    ("shelve", (), "SHELVED_OFFLOADED"),
    ("unshelve", (), "ACTIVE"),
    ("set", ("--state", "error", "--auto-approve"), "ERROR"),
    ("set", ("--state", "active", "--auto-approve"), "ACTIVE"),
)


def settled(shell: Shell, server: str, status: str) -> None:
    """Until the server is that and nothing is done to it."""
    until = time.monotonic() + 60
    while (shown := shell.show("server", "show", server))["status"] != status or shown["OS-EXT-STS:task_state"]:
        assert time.monotonic() < until, shown
        time.sleep(0.2)


def test_the_life_of_a_server(openstack: Shell, demo: Shell, tmp_path: Path) -> None:
    script = tmp_path / "user-data"
    script.write_text("#!/bin/sh\n")
    demo("keypair", "create", "life-key", "--private-key", str(tmp_path / "key"))
    made = demo.show(*NEW, "--key-name", "life-key", "--property", "a=b", "--user-data", str(script), "life", "--wait")
    assert (made["status"], made["key_name"], made["properties"]) == ("ACTIVE", "life-key", {"a": "b"})
    server = made["id"]
    for command, more, status in LIFE:
        if "--state" in more:
            assert "403" in demo.refused("server", command, *more, server), "administrators alone set a state"
            continue
        demo("server", *command.split(), *more, server)
        settled(demo, server, status)
    assert "while it is in vm_state active" in demo.refused("server", "unpause", server)
    done = {row["Action"] for row in demo.show("server", "event", "list", server)}
    assert {"create", "pause", "rescue", "resize", "confirmResize", "revertResize", "shelve", "unshelve"} <= done
    moves = openstack.show("server", "migration", "list", "--server", server)
    assert {row["Status"] for row in moves} == {"confirmed", "reverted"}
    log = demo.show("server", "event", "list", server)
    event = openstack.show("server", "event", "show", server, log[-1]["Request ID"])  # its steps: administrators alone
    assert (event["action"], event["events"][0]["result"]) == ("create", "Success")
    assert "login" in demo("console", "log", "show", server)
    demo("server", "delete", server, "--wait")
    assert "No Server found" in demo.refused("server", "show", "life")
    demo("keypair", "delete", "life-key")


def test_attributes_images_and_lists(openstack: Shell, demo: Shell) -> None:
    demo(*NEW, "--min", "2", "--max", "2", "some", "--wait")
    demo("server", "set", "some-1", "--name", "one", "--property", "colour=green")
    assert demo.show("server", "show", "one")["properties"] == {"colour": "green"}
    demo("server", "unset", "one", "--property", "colour")
    assert demo.show("server", "show", "one")["properties"] == {}
    assert openstack.column("Name", "server", "list") == [], "each project has its own"
    for query, names in (
        (("--all-projects",), {"one", "some-2"}),
        (("--project", "demo"), {"one", "some-2"}),
        (("--all-projects", "--name", "^some"), {"some-2"}),
        (("--all-projects", "--status", "SHUTOFF"), set()),
        (("--all-projects", "--image", "tiny", "--flavor", "m1.tiny", "--long"), {"one", "some-2"}),
        (("--all-projects", "--availability-zone", "nova"), {"one", "some-2"}),
        (("--all-projects", "--deleted", "--name", "^one$"), set()),
    ):
        assert set(openstack.column("Name", "server", "list", *query)) == names, query
    assert demo.show("server", "image", "create", "one", "--name", "saved", "--wait")["status"] == "active"
    demo("server", "backup", "create", "one", "--name", "back", "--type", "daily", "--rotate", "1", "--wait")
    demo("image", "delete", "saved", "back")
    server = demo.show("server", "show", "one")["id"]
    openstack("server", "set", server, "--state", "error", "--auto-approve")
    assert demo.show("server", "show", "one")["status"] == "ERROR"
    demo("server", "delete", "one", "some-2", "--wait")


def test_addresses(openstack: Shell, demo: Shell) -> None:
    openstack("network", "create", "way-out", "--external", "--share")
    openstack("subnet", "create", "way-out", "--network", "way-out", "--subnet-range", "203.0.113.0/24", "--no-dhcp")
    demo(*NEW, "wired", "--wait")
    address = demo.show("floating ip", "create", "way-out")["floating_ip_address"]
    demo("server", "add", "floating", "ip", "wired", address)
    assert address in demo.show("server", "show", "wired")["addresses"]["private"]
    demo("server", "remove", "floating", "ip", "wired", address)
    demo("floating", "ip", "delete", address)
    demo("security", "group", "create", "more")
    demo("server", "add", "security", "group", "wired", "more")
    assert {group["name"] for group in demo.show("server", "show", "wired")["security_groups"]} == {"default", "more"}
    demo("server", "remove", "security", "group", "wired", "more")
    demo("security", "group", "delete", "more")
    demo("server", "add", "network", "wired", "private")
    settled(demo, "wired", "ACTIVE")
    both = demo.show("server", "show", "wired")["addresses"]["private"]
    assert len(both) == 2
    demo("server", "remove", "fixed", "ip", "wired", both[-1])
    settled(demo, "wired", "ACTIVE")
    demo("port", "create", "--network", "private", "plug")
    demo("server", "add", "port", "wired", "plug")
    settled(demo, "wired", "ACTIVE")
    demo("server", "remove", "port", "wired", "plug")
    settled(demo, "wired", "ACTIVE")
    demo("port", "delete", "plug")
    demo("server", "delete", "wired", "--wait")
    openstack("network", "delete", "way-out")


def test_flavors_keys_and_groups(openstack: Shell, demo: Shell) -> None:
    openstack("flavor", "create", "own", "--ram", "256", "--disk", "2", "--ephemeral", "1", "--swap", "64",
              "--private", "--property", "a=b")  # fmt: skip
    openstack("flavor", "set", "own", "--property", "c=d", "--project", "demo")
    shown = openstack.show("flavor", "show", "own")
    assert (shown["properties"], shown["swap"], len(shown["access_project_ids"])) == ({"a": "b", "c": "d"}, 64, 1)
    assert "own" in demo.column("Name", "flavor", "list", "--all")
    openstack("flavor", "unset", "own", "--property", "a", "--project", "demo")
    assert openstack.column("Name", "flavor", "list", "--private") == ["own"]
    openstack("flavor", "delete", "own")
    assert "BEGIN OPENSSH PRIVATE KEY" in demo("keypair", "create", "own")
    assert demo("keypair", "show", "--public-key", "own").startswith("ssh-ed25519 ")
    assert demo.column("Name", "keypair", "list") == ["own"]
    demo("keypair", "delete", "own")
    group = demo.show("server", "group", "create", "apart", "--policy", "anti-affinity")
    assert demo.show("server", "group", "show", "apart")["policies"] == group["policies"]
    demo("server", "group", "delete", "apart")


def test_what_administrators_have(openstack: Shell, demo: Shell) -> None:
    (host,) = openstack.column("Hypervisor Hostname", "hypervisor", "list", "--long")
    assert openstack.show("hypervisor", "show", host)["state"] == "up"
    assert openstack.show("hypervisor", "stats", "show")["count"] == 1
    assert {row["Service"] for row in openstack.show("host", "list")} >= {"compute", "scheduler", "conductor"}
    assert [row["Project"] for row in openstack.show("host", "show", host)][:2] == ["(total)", "(used_now)"]
    openstack("host", "set", host, "--disable")
    assert openstack.column("Status", "compute", "service", "list", "--service", "nova-compute") == ["disabled"]
    assert "NoValidHost" in demo.refused(*NEW, "nowhere", "--wait") or demo.show("server", "show", "nowhere")[
        "fault"
    ]["message"].startswith("No valid host")  # fmt: skip
    demo("server", "delete", "nowhere", "--wait")
    openstack("compute", "service", "set", "--enable", host, "nova-compute")
    openstack("compute", "service", "set", "--disable", "--disable-reason", "why", host, "nova-compute")
    (row,) = openstack.show("compute", "service", "list", "--host", host, "--long")
    assert (row["Status"], row["State"], row["Disabled Reason"]) == ("disabled", "up", "why")
    openstack("compute", "service", "set", "--enable", host, "nova-compute")
    assert "403" in demo.refused("hypervisor", "list")

    openstack("aggregate", "create", "fast", "--zone", "zone-1", "--property", "ssd=true")
    openstack("aggregate", "add", "host", "fast", host)
    assert openstack.show("aggregate", "show", "fast")["hosts"] == [host]
    assert "zone-1" in demo.column("Zone Name", "availability", "zone", "list", "--compute")
    assert {row["Service Name"] for row in openstack.show("availability", "zone", "list", "--compute", "--long")} >= {
        "nova-compute"
    }
    openstack("aggregate", "set", "fast", "--name", "slow", "--no-property", "--property", "ssd=false")
    assert "not empty" in openstack.refused("aggregate", "delete", "slow")
    openstack("aggregate", "remove", "host", "slow", host)
    openstack("aggregate", "delete", "slow")

    openstack("compute", "agent", "create", "linux", "x86_64", "1.0", "http://example.org/a", "0123456789abcdef" * 2,
              "kvm")  # fmt: skip
    (agent,) = openstack.show("compute", "agent", "list")
    openstack("compute", "agent", "set", str(agent["Agent ID"]), "--agent-version", "1.1")
    openstack("compute", "agent", "delete", str(agent["Agent ID"]))


def test_quotas_limits_and_usage(openstack: Shell, demo: Shell) -> None:
    openstack("quota", "set", "--instances", "5", "--cores", "6", "--ram", "7000", "--key-pairs", "8",
              "--server-groups", "9", "--properties", "4", "--injected-files", "2", "demo")  # fmt: skip
    limits = {row["Resource"]: row["Limit"] for row in demo.show("quota", "show", "--compute")}
    assert [limits[name] for name in ("instances", "cores", "ram", "key-pairs", "properties")] == [5, 6, 7000, 8, 4]
    (row,) = openstack.show("quota", "list", "--compute")
    assert (row["Instances"], row["Server Groups"]) == (5, 9)
    absolute = {row["Name"]: row["Value"] for row in demo.show("limits", "show", "--absolute")}
    assert absolute["max_total_instances"] == 5
    openstack("quota", "delete", "--compute", "demo")
    assert openstack.show("quota", "list", "--compute") == []
    used = {row["Resource"]: row["In Use"] for row in demo.show("quota", "show", "--compute", "--usage")}
    assert used["instances"] == 0
    assert openstack.show("usage", "list")
    assert demo.show("usage", "show")["CPU Hours"] is not None
    assert {"os-hosts", "os-cells"} <= set(demo.column("Alias", "extension", "list", "--compute"))
