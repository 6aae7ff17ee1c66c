# SPDX-License-Identifier: Apache-2.0
"""A server's volumes: os-volume_attachments and the action attach, with a simulated host that plugs them."""

from __future__ import annotations

import json
import uuid
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import update

from computeapi.db.engine import Database
from computeapi.db.models import Host, Server, Volume
from computeapi.virt.base import HypervisorError
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot, add_host
from tests.wire.test_volumes import make, status


def disks(compute: Compute, server_id: str) -> dict[str, str]:
    driver: Any = compute.driver
    found: dict[str, str] = driver.disks(server_id)
    return found


def shown(api: Api, server_id: str, **more: Any) -> list[dict[str, Any]]:
    server = api.get(f"/servers/{server_id}", **more).json["server"]
    found: list[dict[str, Any]] = server["os-extended-volumes:volumes_attached"]
    return found


def attach(api: Api, compute: Compute, server_id: str, volume_id: str) -> dict[str, Any]:
    answer = api.post(f"/servers/{server_id}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume_id}})
    assert answer.status_code == 200, answer.text
    compute.work()
    made: dict[str, Any] = answer.json["volumeAttachment"]
    return made


def test_attach_list_show_detach(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, volume_id = boot(), make(api, compute)
    url = f"/servers/{server_id}/os-volume_attachments"
    assert api.get(url).json == {"volumeAttachments": []}
    body = {"volumeAttachment": {"volumeId": volume_id, "device": "/dev/vdf"}}
    answer = api.post(url, body)
    assert answer.status_code == 200, answer.text
    made = answer.json["volumeAttachment"]
    assert made == {"id": volume_id, "volumeId": volume_id, "serverId": server_id, "device": "/dev/vdf"}
    assert status(api, volume_id) == "reserved"
    assert shown(api, server_id) == [{"id": volume_id}]
    compute.work()
    assert disks(compute, server_id)["vdf"] == f"volume-{volume_id}"
    assert api.get(url).json == {"volumeAttachments": [made]}
    assert api.get(f"{url}/{volume_id}").json == {"volumeAttachment": made}
    assert api.get(f"/os-volumes/{volume_id}").json["volume"]["attachments"] == [made]
    assert status(api, volume_id) == "in-use"
    assert shown(api, server_id, version="2.3") == [{"id": volume_id, "delete_on_termination": False}]
    assert api.delete(f"{url}/{volume_id}").status_code == 202
    assert status(api, volume_id) == "detaching"
    compute.work()
    assert "vdf" not in disks(compute, server_id)
    assert status(api, volume_id) == "available"
    assert api.get(url).json == {"volumeAttachments": []}
    assert shown(api, server_id) == []
    assert api.get(f"/servers/{server_id}").json["server"]["status"] == "ACTIVE"
    log = api.get(f"/servers/{server_id}/os-instance-actions").json["instanceActions"]
    assert [item["action"] for item in log] == ["detach_volume", "attach_volume", "create"]


def test_as_documented(api: Api, compute: Compute, boot: Boot) -> None:
    """The action attach, whose bus and type the host does not follow."""
    server_id, volume_id = boot(), make(api, compute)
    body = {"volume_id": volume_id, "device": "/dev/vdb", "disk_bus": "ide", "device_type": "cdrom"}
    answer = api.post(f"/servers/{server_id}/action", {"attach": body})
    assert (answer.status_code, answer.text) == (202, "")
    compute.work()
    assert disks(compute, server_id)["vdb"] == f"volume-{volume_id}"
    assert api.post(f"/servers/{server_id}/action", {"attach": {"device": "/dev/vdb"}}).status_code == 400
    assert api.post(f"/servers/{server_id}/action", {"attach": {"volume_id": str(uuid.uuid4())}}).status_code == 404


def test_devices_are_named(api: Api, compute: Compute, boot: Boot) -> None:
    """The next that is free, where none is asked for, or one that can't be had."""
    server_id = boot()
    url = f"/servers/{server_id}/os-volume_attachments"
    names = []
    for wish in (None, "/dev/vdb", "/dev/sdc", "/dev/vda", "/dev/vdz"):
        body = {"volumeId": make(api, compute), **({"device": wish} if wish else {})}
        names.append(api.post(url, {"volumeAttachment": body}).json["volumeAttachment"]["device"])
    assert names == ["/dev/vdb", "/dev/vdc", "/dev/vdd", "/dev/vde", "/dev/vdz"]
    compute.work()
    assert set(disks(compute, server_id)) >= {"vda", "vdb", "vdc", "vdd", "vde", "vdz"}


def test_it_stays_attached(api: Api, compute: Compute, boot: Boot) -> None:
    """Through what makes the guest anew."""
    server_id, volume_id = boot(), make(api, compute)
    attach(api, compute, server_id, volume_id)
    base = compute.server(server_id).image_id
    for action in (
        {"reboot": {"type": "HARD"}},
        {"rebuild": {"imageRef": base}},
        {"os-stop": None},
        {"os-start": None},
        {"suspend": None},
        {"resume": None},
        {"rescue": None},
        {"unrescue": None},
        {"shelve": None},
        {"unshelve": None},
    ):
        answer = api.post(f"/servers/{server_id}/action", action)
        assert answer.status_code < 300, answer.text
        compute.work()
    assert compute.server(server_id).vm_state == "active"
    assert disks(compute, server_id)["vdb"] == f"volume-{volume_id}"
    assert status(api, volume_id) == "in-use"


def test_what_is_attached_is_not_attached_again(api: Api, compute: Compute, boot: Boot) -> None:
    first, second, volume_id = boot(), boot(), make(api, compute)
    attach(api, compute, first, volume_id)
    for server_id in (first, second):
        body = {"volumeAttachment": {"volumeId": volume_id}}
        answer = api.post(f"/servers/{server_id}/os-volume_attachments", body)
        assert answer.status_code == 400
        assert answer.json["badRequest"]["message"] == (
            f"Invalid volume: volume '{volume_id}' status must be 'available'. Currently in 'in-use'"
        )
    assert api.get(f"/servers/{second}/os-volume_attachments").json == {"volumeAttachments": []}
    assert api.delete(f"/os-volumes/{volume_id}").status_code == 400
    assert api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 400
    forced = api.post("/os-snapshots", {"snapshot": {"volume_id": volume_id, "force": True}})
    assert forced.status_code == 200
    compute.work()
    assert api.get(f"/os-snapshots/{forced.json['snapshot']['id']}").json["snapshot"]["status"] == "available"


def test_what_is_not_there(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, volume_id, nowhere = boot(), make(api, compute), str(uuid.uuid4())
    url = f"/servers/{server_id}/os-volume_attachments"
    assert api.post(url, {"volumeAttachment": {"volumeId": nowhere}}).status_code == 404
    for method in ("GET", "DELETE"):
        answer = api.request(method, f"{url}/{volume_id}")
        assert answer.status_code == 404
        message = f"Instance {server_id} is not attached to volume {volume_id}"
        assert answer.json["itemNotFound"]["message"] == message
        assert api.request(method, f"{url}/{nowhere}").status_code == 404
    other = f"/servers/{nowhere}/os-volume_attachments"
    assert api.get(other).status_code == 404
    assert api.post(other, {"volumeAttachment": {"volumeId": volume_id}}).status_code == 404


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"volumeAttachment": {}},
        {"volumeAttachment": {"volumeId": "data"}},
        {"volumeAttachment": {"volumeId": str(uuid.uuid4()), "device": "vdb"}},
        {"volumeAttachment": {"volumeId": str(uuid.uuid4()), "device": "/dev/vdb;"}},
        {"volumeAttachment": {"volumeId": str(uuid.uuid4()), "colour": "red"}},
    ],
)
def test_bad_bodies(api: Api, compute: Compute, boot: Boot, body: dict[str, Any]) -> None:
    assert api.post(f"/servers/{boot()}/os-volume_attachments", body).status_code == 400


def test_others(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, volume_id = boot(), make(api, compute)
    other = api.become("member")
    theirs = make(other, compute)
    url = f"/servers/{server_id}/os-volume_attachments"
    assert api.post(url, {"volumeAttachment": {"volumeId": theirs}}).status_code == 404
    assert other.get(url).status_code == 404
    assert other.post(url, {"volumeAttachment": {"volumeId": theirs}}).status_code == 404
    reader = api.become("reader", project_id=api.project_id)
    assert reader.get(url).status_code == 200
    assert reader.post(url, {"volumeAttachment": {"volumeId": volume_id}}).status_code == 403
    assert reader.delete(f"{url}/{volume_id}").status_code == 403
    assert api.put(f"{url}/{volume_id}", {"volumeAttachment": {"volumeId": volume_id}}).status_code == 403


def test_states_and_locks(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    server_id, volume_id, other = boot(), make(api, compute), make(api, compute)
    url = f"/servers/{server_id}/os-volume_attachments"
    attach(api, compute, server_id, volume_id)
    api.post(f"/servers/{server_id}/action", {"suspend": None})
    compute.work()
    answer = api.post(url, {"volumeAttachment": {"volumeId": other}})
    assert answer.status_code == 409
    sentence = f"Cannot 'attach_volume' instance {server_id} while it is in vm_state suspended"
    assert answer.json["conflictingRequest"]["message"] == sentence
    assert api.delete(f"{url}/{volume_id}").status_code == 409
    assert status(api, other) == "available"
    assert status(api, volume_id) == "in-use"
    api.post(f"/servers/{server_id}/action", {"resume": None})
    compute.work()
    api.post(f"/servers/{server_id}/action", {"shelve": None})
    compute.work()
    for answer in (api.post(url, {"volumeAttachment": {"volumeId": other}}), api.delete(f"{url}/{volume_id}")):
        assert (answer.status_code, answer.json["conflictingRequest"]["code"]) == (409, 409)
    api.post(f"/servers/{server_id}/action", {"unshelve": None})
    compute.work()
    api.post(f"/servers/{server_id}/action", {"lock": None})
    assert api.post(url, {"volumeAttachment": {"volumeId": other}}).status_code == 409
    assert api.delete(f"{url}/{volume_id}").status_code == 409
    assert admin.delete(f"{url}/{volume_id}").status_code == 202


def test_what_the_host_refuses_is_undone(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, volume_id = boot(), make(api, compute)
    driver: Any = compute.driver
    driver.fail("attach_disk", HypervisorError("no more slots"))
    attach(api, compute, server_id, volume_id)
    assert status(api, volume_id) == "available"
    assert shown(api, server_id) == []
    attach(api, compute, server_id, volume_id)
    driver.fail("detach_disk", HypervisorError("it does not let go"))
    assert api.delete(f"/servers/{server_id}/os-volume_attachments/{volume_id}").status_code == 202
    compute.work()
    assert status(api, volume_id) == "in-use"
    assert disks(compute, server_id)["vdb"] == f"volume-{volume_id}"
    assert len(shown(api, server_id)) == 1
    assert api.get(f"/servers/{server_id}").json["server"]["status"] == "ACTIVE"


def test_too_many(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    server_id = boot()
    url = f"/servers/{server_id}/os-volume_attachments"
    volume_id = make(api, compute)
    for _ in range(25):
        assert api.post(url, {"volumeAttachment": {"volumeId": volume_id}}).status_code == 200
        with db.write() as conn:
            conn.execute(update(Volume).values(status="available"))
    answer = api.post(url, {"volumeAttachment": {"volumeId": volume_id}})
    assert answer.status_code == 403
    assert "The maximum allowed number of disk devices (26)" in answer.json["forbidden"]["message"]


def test_another_host(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    server_id, volume_id = boot(), make(api, compute)
    with db.write() as conn:
        conn.execute(update(Volume).values(host="host2"))
    answer = api.post(f"/servers/{server_id}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume_id}})
    assert answer.status_code == 400
    assert "is on another host" in answer.json["badRequest"]["message"]
    assert status(api, volume_id) == "available"


def test_swap(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    server_id, old, new = boot(), make(api, compute), make(api, compute)
    attach(api, compute, server_id, old)
    url = f"/servers/{server_id}/os-volume_attachments"
    small, nowhere = make(api, compute, size=2), str(uuid.uuid4())
    attach(api, compute, server_id, small)
    assert admin.put(f"{url}/{nowhere}", {"volumeAttachment": {"volumeId": new}}).status_code == 404
    assert admin.put(f"{url}/{new}", {"volumeAttachment": {"volumeId": new}}).status_code == 404
    assert admin.put(f"{url}/{old}", {"volumeAttachment": {"volumeId": nowhere}}).status_code == 400
    assert admin.put(f"{url}/{old}", {"volumeAttachment": {"volumeId": small}}).status_code == 400
    assert admin.put(f"{url}/{small}", {"volumeAttachment": {"volumeId": new}}).status_code == 400
    assert admin.put(f"{url}/{old}", {}).status_code == 400
    answer = admin.put(f"{url}/{old}", {"volumeAttachment": {"volumeId": new}})
    assert answer.status_code == 202, answer.text
    assert (status(api, old), status(api, new)) == ("detaching", "reserved")
    compute.work()
    assert (status(api, old), status(api, new)) == ("available", "in-use")
    assert disks(compute, server_id)["vdb"] == f"volume-{new}"
    assert [each["id"] for each in shown(api, server_id)] == [small, new]
    driver: Any = compute.driver
    driver.fail("swap_disk", HypervisorError("it broke off"))
    assert admin.put(f"{url}/{new}", {"volumeAttachment": {"volumeId": old}}).status_code == 202
    compute.work()
    assert (status(api, old), status(api, new)) == ("available", "in-use")
    assert disks(compute, server_id)["vdb"] == f"volume-{new}"
    assert [each["id"] for each in shown(api, server_id)] == [small, new]


def test_delete_of_a_server_frees_its_volumes(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, attached, pending = boot(), make(api, compute), make(api, compute)
    attach(api, compute, server_id, attached)
    url = f"/servers/{server_id}/os-volume_attachments"
    assert api.post(url, {"volumeAttachment": {"volumeId": pending}}).status_code == 200
    assert api.delete(f"/servers/{server_id}").status_code == 204
    compute.work()
    assert (status(api, attached), status(api, pending)) == ("available", "available")
    assert {f"volume-{attached}", f"volume-{pending}"} <= set(compute.driver.list_volumes())
    assert api.get(f"/os-volumes/{attached}").json["volume"]["attachments"] == [{}]


def said(answer: Any) -> str:
    (fault,) = answer.json.values()
    return str(fault["message"])


ASSISTED = "/os-assisted-volume-snapshots"


def assisted(volume_id: str, snapshot_id: str, **more: str) -> dict[str, Any]:
    info = {"snapshot_id": snapshot_id, "type": "qcow2", "new_file": "new", **more}
    return {"snapshot": {"volume_id": volume_id, "create_info": info}}


def delete_assisted(api: Api, volume_id: str, snapshot_id: str) -> int:
    info = quote(json.dumps({"volume_id": volume_id, "type": "qcow2"}))
    code: int = api.delete(f"{ASSISTED}/{snapshot_id}?delete_info={info}").status_code
    return code


def test_assisted_snapshots(api: Api, admin: Api, compute: Compute, boot: Boot) -> None:
    """The volume service's ids, whosever the volume is; a snapshot that is being made is deleted after that."""
    server_id, volume_id = boot(), make(api, compute)
    attach(api, compute, server_id, volume_id)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    answer = admin.post(ASSISTED, assisted(volume_id, first, id="any"))
    assert (answer.status_code, answer.json) == (200, {"snapshot": {"id": "any", "volumeId": volume_id}})
    compute.work()
    shown = api.get(f"/os-snapshots/{first}").json["snapshot"]
    assert (shown["status"], shown["volumeId"], shown["size"]) == ("available", volume_id, 1)
    assert f"snapshot-{first}" in compute.driver.list_volumes()
    assert status(api, volume_id) == "in-use"
    answer = admin.post(ASSISTED, assisted(volume_id, second))
    assert answer.json == {"snapshot": {"id": second, "volumeId": volume_id}}
    assert delete_assisted(admin, volume_id, second) == 204
    assert delete_assisted(admin, volume_id, first) == 204
    assert delete_assisted(admin, volume_id, first) == 204  # it is under way
    compute.work()
    assert api.get("/os-snapshots").json["snapshots"] == []
    assert not any(name.startswith("snapshot-") for name in compute.driver.list_volumes())
    assert delete_assisted(admin, volume_id, first) == 404


def test_assisted_snapshots_that_are_refused(api: Api, admin: Api, compute: Compute, boot: Boot, db: Database) -> None:
    server_id, volume_id, other, snapshot = boot(), make(api, compute), make(api, compute), str(uuid.uuid4())
    answer = admin.post(ASSISTED, assisted(volume_id, snapshot))  # nobody has it
    assert (answer.status_code, said(answer)) == (400, f"No volume Block Device Mapping with id {volume_id}.")
    assert delete_assisted(admin, volume_id, snapshot) == 400
    assert admin.post(ASSISTED, assisted(str(uuid.uuid4()), snapshot)).status_code == 400
    assert admin.post(ASSISTED, assisted("", snapshot)).json["badRequest"]["message"].endswith("should be non-empty")
    attach(api, compute, server_id, volume_id)
    attach(api, compute, server_id, other)
    assert api.post(ASSISTED, assisted(volume_id, snapshot)).status_code == 403
    assert delete_assisted(api, volume_id, snapshot) == 403
    assert admin.post(ASSISTED, {"snapshot": {"volume_id": volume_id}}).status_code == 400
    assert admin.post(ASSISTED, assisted(volume_id, snapshot, type="raw")).status_code == 400
    assert admin.post(ASSISTED, assisted(volume_id, "../x")).status_code == 400
    assert admin.post(ASSISTED, assisted(volume_id, snapshot)).status_code == 200
    assert admin.post(ASSISTED, assisted(volume_id, snapshot)).status_code == 400  # there is one
    assert delete_assisted(admin, other, snapshot) == 404
    for info in ("", "?delete_info=", "?delete_info={}", "?delete_info=[]", "?delete_info=1"):
        assert admin.delete(f"{ASSISTED}/{snapshot}{info}").status_code == 400
    with db.write() as conn:
        conn.execute(update(Server).where(Server.uuid == server_id).values(task_state="powering-off"))
    answer = admin.post(ASSISTED, assisted(volume_id, str(uuid.uuid4())))
    assert answer.status_code == 400 and "in task_state powering-off" in said(answer)
    assert delete_assisted(admin, volume_id, snapshot) == 400


def test_a_host_that_shares_its_storage(api: Api, compute: Compute, boot: Boot, db: Database) -> None:
    """Has the volumes of the other as well."""
    server_id, volume_id = boot(), make(api, compute)
    add_host(db, "host2")
    with db.write() as conn:
        conn.execute(update(Volume).values(host="host2"))
        conn.execute(update(Host).values(capabilities_json='{"name": "x", "pool": "same"}'))
    attach(api, compute, server_id, volume_id)
    assert status(api, volume_id) == "in-use"
