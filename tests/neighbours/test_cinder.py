# SPDX-License-Identifier: Apache-2.0
"""Volumes of a real Cinder from PyPI: its attachments API, asked by our hosts."""

from __future__ import annotations

import os
import shutil
from typing import Any

import pytest
from keystoneauth1.adapter import Adapter

from tests.clients.clouds import Cloud
from tests.neighbours.clouds import ALICE, boot, service, wait
from tests.neighbours.services import Neighbours

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def cinder(neighbours: Neighbours, cloud: Cloud) -> Adapter:
    """Asked by alice."""
    if os.geteuid() != 0 or shutil.which("qemu-img") is None:
        pytest.skip("Cinder's driver runs qemu-img, and runs it as root")
    return service(neighbours, "block-storage", *ALICE)


def volume(cinder: Adapter, kind: str) -> str:
    """A new volume's id."""
    made = cinder.post("/volumes", json={"volume": {"size": 1, "name": "oyster", "volume_type": kind}})
    volume_id = str(made.json()["volume"]["id"])
    wait(lambda: status(cinder, volume_id), "available", "creating")
    return volume_id


def status(cinder: Adapter, volume_id: str) -> str:
    """As Cinder has it; `gone` where it has none."""
    answer = cinder.get(f"/volumes/{volume_id}", raise_exc=False)
    return "gone" if answer.status_code == 404 else str(answer.json()["volume"]["status"])


def attachments(cinder: Adapter, volume_id: str) -> list[dict[str, Any]]:
    """As Cinder has them."""
    return list(cinder.get(f"/volumes/{volume_id}").json()["volume"]["attachments"])


def test_attach_and_detach(neighbours: Neighbours, cinder: Adapter, nova: Adapter, server: str) -> None:
    volume_id = volume(cinder, "files")
    (file,) = neighbours.volumes.glob(f"*/volume-{volume_id}")
    url = f"/servers/{server}/os-volume_attachments"
    attached = nova.post(url, json={"volumeAttachment": {"volumeId": volume_id}}).json()["volumeAttachment"]
    assert attached["device"] == "/dev/vdb"
    wait(lambda: status(cinder, volume_id), "in-use", "reserved", "attaching")
    (theirs,) = attachments(cinder, volume_id)
    assert theirs["server_id"] == server
    assert [each["volumeId"] for each in nova.get(url).json()["volumeAttachments"]] == [volume_id]
    assert nova.get(f"{url}/{volume_id}").json()["volumeAttachment"]["serverId"] == server
    again = nova.post(url, json={"volumeAttachment": {"volumeId": volume_id}}, raise_exc=False)
    assert again.status_code == 400, again.text
    assert cinder.delete(f"/volumes/{volume_id}", raise_exc=False).status_code == 400, "a volume in use"
    assert nova.delete(f"{url}/{volume_id}").status_code == 202
    wait(lambda: status(cinder, volume_id), "available", "in-use", "detaching")
    assert attachments(cinder, volume_id) == []
    assert nova.get(url).json()["volumeAttachments"] == []
    cinder.delete(f"/volumes/{volume_id}")
    wait(lambda: status(cinder, volume_id), "gone", "deleting")
    assert not file.exists()


def test_users_may_not_take_a_volume_from_a_guest(cinder: Adapter, nova: Adapter, server: str) -> None:
    volume_id = volume(cinder, "files")
    url = f"/servers/{server}/os-volume_attachments"
    nova.post(url, json={"volumeAttachment": {"volumeId": volume_id}})
    wait(lambda: status(cinder, volume_id), "in-use", "reserved", "attaching")
    (theirs,) = attachments(cinder, volume_id)
    refused = cinder.delete(f"/attachments/{theirs['attachment_id']}", microversion="3.44", raise_exc=False)
    # Cinder asks Nova first, at 2.89: what it is told is 406, and that is what it says instead of 409.
    assert refused.status_code in (406, 409), refused.text
    assert attachments(cinder, volume_id) == [theirs]
    nova.delete(f"{url}/{volume_id}")
    wait(lambda: status(cinder, volume_id), "available", "in-use", "detaching")
    cinder.delete(f"/volumes/{volume_id}")


def test_a_volume_that_no_host_can_reach(cinder: Adapter, nova: Adapter, server: str) -> None:
    volume_id = volume(cinder, "fake")
    url = f"/servers/{server}/os-volume_attachments"
    nova.post(url, json={"volumeAttachment": {"volumeId": volume_id}})
    wait(lambda: _last_action(nova, server), "Error", "Finished", "")
    wait(lambda: status(cinder, volume_id), "available", "reserved", "attaching", "in-use", "detaching")
    assert attachments(cinder, volume_id) == []
    assert nova.get(f"/servers/{server}").json()["server"]["status"] == "ACTIVE"
    assert nova.get(url).json()["volumeAttachments"] == []
    cinder.delete(f"/volumes/{volume_id}")


def _last_action(nova: Adapter, server: str) -> str:
    newest = nova.get(f"/servers/{server}/os-instance-actions").json()["instanceActions"][0]
    if newest["action"] != "attach_volume":
        return ""
    return str(newest["message"] or "Finished")


def test_boot_from_a_volume_that_goes_with_its_server(neighbours: Neighbours, cinder: Adapter, nova: Adapter) -> None:
    goes, stays = volume(cinder, "files"), volume(cinder, "files")
    cinder.post(f"/volumes/{goes}/action", json={"os-set_bootable": {"bootable": True}})
    disks = [
        {"boot_index": 0, "uuid": goes, "source_type": "volume", "destination_type": "volume"},
        {"boot_index": -1, "uuid": stays, "source_type": "volume", "destination_type": "volume"},
    ]
    disks[0]["delete_on_termination"] = True
    server_id = boot(neighbours, nova, block_device_mapping_v2=disks)
    assert (status(cinder, goes), status(cinder, stays)) == ("in-use", "in-use")
    nova.delete(f"/servers/{server_id}")
    wait(lambda: status(cinder, goes), "gone", "in-use", "detaching", "available", "deleting")
    wait(lambda: status(cinder, stays), "available", "in-use", "detaching")
    cinder.delete(f"/volumes/{stays}")
