# SPDX-License-Identifier: Apache-2.0
"""A distribution's own image with cloud-init and the guest agent (tools/debian-image makes one), and what it makes of
the config drive and of the metadata service. Emulated, it takes minutes to boot: only with COMPUTEAPI_TEST_IMAGE.
"""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.cloud import add_image
from tests.databases import Engine
from tests.guest.cloud import Cloud, Inside
from tests.guest.hosts import IsolatedHost, wait_for

IMAGE = os.environ.get("COMPUTEAPI_TEST_IMAGE", "")
pytestmark = [
    pytest.mark.guest,
    pytest.mark.skipif(not IMAGE, reason="COMPUTEAPI_TEST_IMAGE names no image with cloud-init and the guest agent"),
]
BOOT = 900.0  # seconds
USER_DATA = "#cloud-config\nruncmd:\n  - [sh, -c, 'echo MARKER $(hostname -f) >/dev/ttyS0']\n"


@pytest.fixture(scope="module")
def cloud(
    host: IsolatedHost, tiny: Path, database_engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("cloud")
    cloud = Cloud(host, directory, database_engine.new(directory), tiny, force_config_drive=False, query_timeout=60)
    yield cloud
    cloud.close()


@pytest.fixture(scope="module")
def image(cloud: Cloud) -> str:
    """The image's id."""
    properties = {"hw_qemu_guest_agent": "yes", "os_require_quiesce": "yes"}
    return add_image(cloud.compute.images, Path(IMAGE), name="debian", properties=properties)


@pytest.mark.parametrize(("drive", "source"), [(True, "ConfigDrive"), (False, "OpenStack")])
def test_cloud_init(cloud: Cloud, host: IsolatedHost, image: str, drive: bool, source: str) -> None:
    """It finds us, warns of nothing, and does as it is told."""
    key = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    pair = cloud.api.post("/os-keypairs", {"keypair": {"name": f"key-{drive}", "public_key": key.decode()}})
    given = {
        "imageRef": image,
        "name": f"deb-{drive}".lower(),
        "config_drive": drive,
        "key_name": pair.json["keypair"]["name"],
        "metadata": {"colour": "blue"},
        "user_data": base64.b64encode(USER_DATA.encode()).decode(),
    }
    guest = cloud.boot(cloud.flavor(memory_mb=1024, disk_gb=5), **given)
    name = f"deb-{drive}.novalocal".lower()

    def said() -> str:
        return cloud.driver.console_output(guest.id, None)

    wait_for(lambda: f"MARKER {name}" in said(), "its user data has run", BOOT)
    inside = Inside(guest, host.uri)
    inside.answers()
    wait_for(lambda: "finished" in inside.run("grep finished /var/log/cloud-init.log")[1], "cloud-init has ended", BOOT)
    result = json.loads(inside.run("cat /run/cloud-init/result.json")[1])["v1"]
    assert result["errors"] == []
    assert source in result["datasource"]
    assert inside.run("grep -aE 'WARNING|ERROR|CRITICAL|Traceback' /var/log/cloud-init.log") == (1, "")
    assert inside.run("cat /home/*/.ssh/authorized_keys")[1].strip() == key.decode()
    assert inside.address in inside.run("ip -4 -o addr")[1]
    assert "10.66.0.1" in inside.run("cat /etc/resolv.conf /run/systemd/resolve/resolv.conf 2>/dev/null")[1]
    assert int(inside.run("df --output=size -k / | tail -n 1")[1]) > 4.5 * 2**20, "its root grew to the flavor's disk"
    told = json.loads(inside.run("cloud-init query ds.meta_data")[1])
    assert (told["meta"], told["uuid"]) == ({"colour": "blue"}, guest.id)

    answer = guest.act(createImage={"name": "copy"})
    copy = cloud.api.get(f"/images/{answer.headers['location'].rsplit('/', 1)[-1]}").json["image"]
    assert copy["status"] == "ACTIVE", "its file systems held still"
    cloud.api.delete(f"/servers/{guest.id}")
    cloud.compute.work()
