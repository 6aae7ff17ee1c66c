# SPDX-License-Identifier: Apache-2.0
"""Our cloud (on the simulator) beside a real Keystone and a real Glance, driven by the stock `openstack` client.

Both come from PyPI: tools/test installs them in .venv-neighbours.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.clients.clouds import Cloud

pytestmark = pytest.mark.clients

CONTENT = bytes(range(256)) * 4096  # 1 MiB


def test_images_of_glance_boot_and_servers_become_images_there(cloud: Cloud, tmp_path: Path) -> None:
    file = tmp_path / "image.raw"
    file.write_bytes(CONTENT)
    cloud.openstack("image", "create", "--disk-format", "raw", "--file", str(file), "tweedle", cloud="alice")
    boot = ("server", "create", "--image", "tweedle", "--flavor", "m1.nano", "--network", "private", "--wait")
    server = cloud.show(*boot, "dum", cloud="alice")
    assert server["status"] == "ACTIVE"
    cloud.openstack("server", "image", "create", "--name", "copy", "--wait", "dum", cloud="alice")
    copy = cloud.show("image", "show", "copy", cloud="alice")
    assert (copy["status"], copy["properties"]["instance_uuid"]) == ("active", server["id"])
    tweedle = cloud.show("image", "show", "tweedle", cloud="alice")
    cloud.openstack("server", "rebuild", "--image", copy["id"], "--wait", "dum", cloud="alice")
    assert cloud.show("server", "show", "dum", cloud="alice")["image"].startswith("copy")
    cloud.openstack("server", "delete", "--wait", "dum", cloud="alice")
    assert tweedle["owner"] == copy["owner"], "the project's, though the host made it"


def test_a_reader_reads(cloud: Cloud) -> None:
    assert cloud.show("server", "list", cloud="rita") == []
    said = cloud.openstack("keypair", "create", "mine", cloud="rita", check=False)
    said += cloud.openstack(
        *("server", "create", "--image", "tweedle", "--flavor", "m1.nano", "--network", "private", "no"),
        cloud="rita",
        check=False,
    )
    assert "403" in said


def test_a_revoked_token_is_refused(cloud: Cloud) -> None:
    token = cloud.show("token", "issue", cloud="alice")["id"]
    assert _status(f"{cloud.url}/v2.1/flavors", token) == 200
    cloud.openstack("token", "revoke", token, cloud="alice")
    assert _status(f"{cloud.url}/v2.1/flavors", token) == 401


def test_our_own_services_are_off(cloud: Cloud) -> None:
    token = cloud.show("token", "issue", cloud="alice")["id"]
    assert _status(f"{cloud.url}/identity/v3/users", token) == 410
    assert _status(f"{cloud.url}/image/v2/images", token) == 404


def _status(url: str, token: str) -> int:
    asked = urllib.request.Request(url, headers={"X-Auth-Token": token})
    try:
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
