# SPDX-License-Identifier: Apache-2.0
"""Our cloud (on the simulator) beside a real Keystone and a real Glance, driven by the stock `openstack` client.

Both come from PyPI: tools/test installs them in .venv-neighbours.
"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.clients.clouds import Cloud
from tests.neighbours.services import BIN, PASSWORD, Neighbours

pytestmark = pytest.mark.clients

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@dataclass
class _Cloud(Cloud):
    """Its own identity and image services are off; who asks is known by Keystone."""

    neighbours: Neighbours | None = None

    @property
    def environment(self) -> dict[str, str]:
        assert self.neighbours is not None
        return {
            **super().environment,
            "OS_IDENTITY__IDENTITY_URL": self.neighbours.keystone,
            "OS_IDENTITY__IDENTITY_PASSWORD": PASSWORD,
            "OS_IDENTITY__IDENTITY_INTERFACE": "public",
            "OS_IDENTITY__TOKEN_CACHE_TIME": "0",
            "OS_IMAGE__IMAGE_URL": self.neighbours.glance,
            "OS_CLIENT_CONFIG_FILE": str(self.neighbours.directory / "clouds.yaml"),
        }


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Keystone, Glance and us; users `alice` (member) and `rita` (reader) of the project `wonderland`."""
    if not (BIN / "keystone-manage").exists():
        pytest.skip("Keystone and Glance are not in .venv-neighbours: tools/test installs them")
    directory = tmp_path_factory.mktemp("neighbours")
    neighbours = Neighbours(directory)
    cloud = _Cloud(tmp_path_factory.mktemp("cloud"), ["--hypervisor", "simulator"], neighbours=neighbours)
    try:
        neighbours.start_keystone()
        _write_clouds(neighbours)
        _fill(cloud, neighbours)
        neighbours.start_glance()
        cloud.start()
        yield cloud
    finally:
        cloud.stop()
        neighbours.close()


def _write_clouds(neighbours: Neighbours) -> None:
    who = {"admin": ("admin", "admin"), "alice": ("alice", "wonderland"), "rita": ("rita", "wonderland")}
    clouds = {
        name: {
            "auth": {
                "auth_url": neighbours.keystone,
                "username": user,
                "password": PASSWORD,
                "project_name": project,
                "user_domain_name": "Default",
                "project_domain_name": "Default",
            },
            "region_name": "RegionOne",
        }
        for name, (user, project) in who.items()
    }
    (neighbours.directory / "clouds.yaml").write_text(yaml.safe_dump({"clouds": clouds}))


def _fill(cloud: Cloud, neighbours: Neighbours) -> None:
    """As an operator would: projects, users, services and endpoints."""

    def admin(*words: str) -> None:
        cloud.openstack(*words, cloud="admin")

    for project, user, role in (
        ("service", "computeapi", "service"),
        ("service", "glance", "service"),
        ("wonderland", "alice", "member"),
        ("wonderland", "rita", "reader"),
    ):
        admin("project", "create", "--or-show", project)
        admin("user", "create", "--password", PASSWORD, user)
        admin("role", "add", "--project", project, "--user", user, role)
    admin("role", "add", "--project", "service", "--user", "computeapi", "admin")
    for name, kind, url in (
        ("nova", "compute", f"{cloud.url}/v2.1"),
        ("glance", "image", neighbours.glance),
        ("neutron", "network", f"{cloud.url}/network"),
    ):
        admin("service", "create", "--name", name, kind)
        admin("endpoint", "create", "--region", "RegionOne", name, "public", url)


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
