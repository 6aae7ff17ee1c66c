# SPDX-License-Identifier: Apache-2.0
"""The stock client's commands about accounts and images, on the simulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.clouds import Shell

pytestmark = pytest.mark.clients


def test_accounts(openstack: Shell) -> None:
    openstack("domain", "create", "there", "--description", "x")
    openstack("domain", "set", "there", "--disable", "--name", "where")
    assert openstack.show("domain", "show", "where")["enabled"] is False
    made = openstack.show("project", "create", "crew", "--description", "hi", "--tag", "a", "--property", "k=v")
    assert (made["domain_id"], made["tags"], made["k"]) == ("default", ["a"], "v")
    openstack("project", "set", "crew", "--name", "team", "--tag", "b")
    assert openstack.column("Name", "project", "list", "--tags", "b") == ["team"]
    openstack("user", "create", "ann", "--password", "pw", "--email", "a@b", "--project", "team")
    openstack("user", "set", "ann", "--email", "c@d", "--name", "anna")
    assert openstack.show("user", "show", "anna")["email"] == "c@d"
    openstack("role", "create", "helper")
    openstack("role", "set", "helper", "--name", "aide")
    openstack("role", "add", "--user", "anna", "--project", "team", "member")
    openstack("role", "add", "--user", "anna", "--domain", "where", "reader")
    openstack("role", "add", "--user", "anna", "--system", "all", "reader")
    assert openstack.column("Name", "user", "list", "--project", "team") == ["anna"]
    assert len(openstack.show("role", "assignment", "list", "--user", "anna", "--names")) == 3
    effective = openstack.show("role", "assignment", "list", "--user", "anna", "--project", "team", "--effective",
                               "--names")  # fmt: skip
    assert {row["Role"] for row in effective} == {"member", "reader"}, "members may read"
    openstack("role", "remove", "--user", "anna", "--system", "all", "reader")
    openstack("group", "create", "staff")
    openstack("group", "add", "user", "staff", "anna")
    assert "anna in group staff" in openstack("group", "contains", "user", "staff", "anna")
    openstack("role", "add", "--group", "staff", "--project", "team", "aide")
    assert openstack.column("Name", "group", "list", "--user", "anna") == ["staff"]
    openstack("implied", "role", "create", "aide", "--implied-role", "reader")
    openstack("implied", "role", "delete", "aide", "--implied-role", "reader")
    openstack("group", "remove", "user", "staff", "anna")
    for noun, name in (
        ("group", "staff"),
        ("user", "anna"),
        ("role", "aide"),
        ("project", "team"),
        ("domain", "where"),
    ):
        openstack(noun, "delete", name)
    assert "team" not in openstack.column("Name", "project", "list")


def test_tokens_and_the_catalog(openstack: Shell, demo: Shell) -> None:
    issued = demo.show("token", "issue")
    assert issued["project_id"] == openstack.show("project", "show", "demo")["id"]
    demo("token", "revoke", issued["id"])
    types = {row["Type"] for row in demo.show("catalog", "list")}
    assert {"identity", "compute", "image", "network"} <= types
    assert {row["Interface"] for row in openstack.show("endpoint", "list", "--service", "nova")} == {
        "public", "internal", "admin"
    }  # fmt: skip
    assert openstack.column("Region", "region", "list") == ["RegionOne"]
    secret = demo.show("application", "credential", "create", "bot", "--role", "member")
    assert len(secret["Secret"]) > 40
    assert demo.column("Name", "application", "credential", "list") == ["bot"]
    demo("application", "credential", "delete", "bot")
    assert "403" in demo.refused("user", "list")


def test_images(openstack: Shell, demo: Shell, tmp_path: Path) -> None:
    file = tmp_path / "disk"
    file.write_bytes(bytes(range(256)) * 16)
    made = demo.show("image", "create", "own", "--file", str(file), "--property", "a=b", "--tag", "t", "--min-ram", "2")
    assert (made["status"], made["size"], made["visibility"]) == ("active", 4096, "shared")
    demo("image", "set", "own", "--name", "mine", "--property", "c=d", "--protected")
    demo("image", "unset", "mine", "--property", "a", "--tag", "t")
    assert "protected" in demo.refused("image", "delete", "mine")
    demo("image", "set", "mine", "--unprotected")
    assert demo.column("Name", "image", "list", "--property", "c=d") == ["mine"]
    copy = tmp_path / "copy"
    demo("image", "save", "--file", str(copy), "mine")
    assert copy.read_bytes() == file.read_bytes()
    demo("image", "add", "project", "mine", openstack.show("project", "show", "admin")["id"])
    assert len(demo.show("image", "member", "list", "mine")) == 1
    openstack("image", "set", "mine", "--accept")
    demo("image", "remove", "project", "mine", openstack.show("project", "show", "admin")["id"])
    openstack("image", "set", made["id"], "--deactivate")
    demo.refused("image", "save", "--file", str(copy), "mine")
    openstack("image", "set", made["id"], "--activate")
    demo("image", "delete", "mine")
