# SPDX-License-Identifier: Apache-2.0
"""Every row of lifecycle.ACTIONS: from which states it is allowed, what is seen meanwhile, and where it lands.

CASES says how a client asks for each; a row without a case fails.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import orjson
import pytest
from sqlalchemy import delete, select

from computeapi import errors, journal, lifecycle, states
from computeapi.app import make_services
from computeapi.compute.operations import OPERATIONS
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Action, ActionEvent
from computeapi.db.queries import servers
from computeapi.lifecycle import ACTIONS
from computeapi.states import PowerState, status
from computeapi.virt.base import HypervisorError
from tests.conftest import Api
from tests.journal.world import POLICY
from tests.lifecycle.conftest import Cloud, MakeCloud, wait
from tests.wire.conftest import add_host, server_values

RUNNING, PAUSED, OFF, SAVED = PowerState.RUNNING, PowerState.PAUSED, PowerState.SHUTDOWN, PowerState.SUSPENDED


@dataclass(frozen=True)
class Case:
    """How a server comes there from ACTIVE, the request, its answer, and what the server is afterwards.

    `wire` is the action's name in the body and `body` what stands behind it; `shows` is the status, and `power` what
    the guest does.
    """

    before: tuple[str, ...]
    wire: str
    body: Any | Callable[[Cloud, str], Any]
    shows: str
    power: PowerState | None
    code: int = 202
    admin: bool = False
    hosts: int = 1


def _port(cloud: Cloud, server_id: str) -> str:
    ports = cloud.api.get(f"/servers/{server_id}/os-interface").json["interfaceAttachments"]
    return str(ports[-1]["port_id"])


def _volume(cloud: Cloud, _server_id: str) -> dict[str, str]:
    """A new one, once it is there."""
    volume_id = str(cloud.api.post("/os-volumes", {"volume": {"size": 1}}).json["volume"]["id"])
    wait(lambda: cloud.api.get(f"/os-volumes/{volume_id}").json["volume"]["status"] == "available")
    return {"volume_id": volume_id}


def _attached(cloud: Cloud, server_id: str) -> str:
    """The last volume that it has; where it has none, one that never was."""
    found = cloud.api.get(f"/servers/{server_id}/os-volume_attachments").json["volumeAttachments"]
    return str(found[-1]["volumeId"]) if found else str(uuid.uuid4())


def _other_volume(cloud: Cloud, server_id: str) -> dict[str, Any]:
    return {"volumeAttachment": {"volumeId": _volume(cloud, server_id)["volume_id"]}}


def _address(cloud: Cloud, server_id: str) -> dict[str, str]:
    return {"address": str(orjson.loads(cloud.row(server_id).addresses_json)["private"][-1]["addr"])}


def _larger(cloud: Cloud, _server_id: str) -> dict[str, str]:
    """Larger than what host1 has room for."""
    cloud.change_first_host(memory_mb=1000, ram_allocation_ratio=1.0)
    return {"flavorRef": cloud.larger}


def _lost(cloud: Cloud, _server_id: str) -> dict[str, Any]:
    """Its host is lost."""
    cloud.lose_first_host()
    return {"onSharedStorage": False}


_LIVE = {"host": None, "block_migration": True, "disk_over_commit": False}

CASES: dict[str, Case] = {
    "create": Case((), "POST /servers", None, "ACTIVE", RUNNING),
    "delete": Case((), "DELETE", None, "DELETED", None, 204),
    "soft_delete": Case((), "DELETE", None, "SOFT_DELETED", OFF, 204),
    "force_delete": Case((), "forceDelete", None, "DELETED", None),
    "restore": Case(("soft_delete",), "restore", None, "ACTIVE", RUNNING),
    "reboot_soft": Case((), "reboot", {"type": "SOFT"}, "ACTIVE", RUNNING),
    "reboot_hard": Case(("suspend",), "reboot", {"type": "HARD"}, "ACTIVE", RUNNING),
    "start": Case(("stop",), "os-start", None, "ACTIVE", RUNNING),
    "stop": Case((), "os-stop", None, "SHUTOFF", OFF),
    "pause": Case((), "pause", None, "PAUSED", PAUSED),
    "unpause": Case(("pause",), "unpause", None, "ACTIVE", RUNNING),
    "suspend": Case((), "suspend", None, "SUSPENDED", SAVED),
    "resume": Case(("suspend",), "resume", None, "ACTIVE", RUNNING),
    "rebuild": Case((), "rebuild", lambda cloud, _: {"imageRef": cloud.image}, "ACTIVE", RUNNING),
    "rescue": Case((), "rescue", lambda cloud, _: {"rescue_image_ref": cloud.image}, "RESCUE", RUNNING, 200),
    "unrescue": Case(("rescue",), "unrescue", None, "ACTIVE", RUNNING),
    "resize": Case((), "resize", lambda cloud, _: {"flavorRef": cloud.larger}, "VERIFY_RESIZE", RUNNING),
    "resize_away": Case((), "resize", _larger, "VERIFY_RESIZE", RUNNING, hosts=2),
    "migrate": Case((), "migrate", None, "VERIFY_RESIZE", RUNNING, admin=True, hosts=2),
    "revert_move": Case(("migrate",), "revertResize", None, "ACTIVE", RUNNING, hosts=2),
    "live_migrate": Case((), "os-migrateLive", _LIVE, "ACTIVE", RUNNING, admin=True, hosts=2),
    "evacuate": Case((), "evacuate", _lost, "ACTIVE", RUNNING, 200, admin=True, hosts=2),
    "confirm_resize": Case(("resize",), "confirmResize", None, "ACTIVE", RUNNING, 204),
    "revert_resize": Case(("resize",), "revertResize", None, "ACTIVE", RUNNING),
    "shelve": Case((), "shelve", None, "SHELVED", OFF),
    "shelve_offload": Case(("shelve",), "shelveOffload", None, "SHELVED_OFFLOADED", None, admin=True),
    "unshelve": Case(("shelve",), "unshelve", None, "ACTIVE", RUNNING),
    "snapshot": Case((), "createImage", {"name": "copy"}, "ACTIVE", RUNNING),
    "backup": Case(
        (), "createBackup", {"name": "copy", "backup_type": "daily", "rotation": 1}, "ACTIVE", RUNNING, admin=True
    ),
    "attach_interface": Case((), "POST os-interface", {"interfaceAttachment": {}}, "ACTIVE", RUNNING, 200),
    "detach_interface": Case((), "DELETE os-interface", _port, "ACTIVE", RUNNING),
    "attach_volume": Case((), "attach", _volume, "ACTIVE", RUNNING),
    "swap_volume": Case(("attach_volume",), "PUT os-volume_attachments", _other_volume, "ACTIVE", RUNNING, admin=True),
    "detach_volume": Case(("attach_volume",), "DELETE os-volume_attachments", _attached, "ACTIVE", RUNNING),
    "add_fixed_ip": Case(
        (), "addFixedIp", lambda cloud, _: {"networkId": cloud.network}, "ACTIVE", RUNNING, admin=True
    ),
    "remove_fixed_ip": Case((), "removeFixedIp", _address, "ACTIVE", RUNNING, admin=True),
    "reset_network": Case((), "resetNetwork", None, "ACTIVE", RUNNING, admin=True),
    "inject_network_info": Case((), "injectNetworkInfo", None, "ACTIVE", RUNNING, admin=True),
}

every_action = pytest.mark.parametrize("name", sorted(ACTIONS))


def test_every_row_has_its_case() -> None:
    assert set(CASES) == set(ACTIONS)


def ask(cloud: Cloud, server_id: str, name: str, *, asker: Api | None = None) -> Any:
    """Ask for an action as a client does."""
    case = CASES[name]
    if case.hosts == 2:
        cloud.add_second_host()
    asker = asker or (cloud.admin if case.admin else cloud.api)
    body = case.body(cloud, server_id) if callable(case.body) else case.body
    if case.wire == "DELETE":
        return asker.delete(f"/servers/{server_id}")
    if case.wire == "POST os-interface":
        return asker.post(f"/servers/{server_id}/os-interface", body)
    if case.wire == "DELETE os-interface":
        return asker.delete(f"/servers/{server_id}/os-interface/{body}")
    if case.wire == "PUT os-volume_attachments":
        return asker.put(f"/servers/{server_id}/os-volume_attachments/{_attached(cloud, server_id)}", body)
    if case.wire == "DELETE os-volume_attachments":
        return asker.delete(f"/servers/{server_id}/os-volume_attachments/{body}")
    return cloud.act(server_id, case.wire, body, asker=asker)


def bring(cloud: Cloud, *actions: str) -> str:
    """A server to which these were done."""
    server_id = cloud.boot()
    for name in actions:
        assert ask(cloud, server_id, name).status_code == CASES[name].code
        cloud.settled(server_id, CASES[name].shows)
    return server_id


# --- where it lands ---


@every_action
def test_lands(make_cloud: MakeCloud, name: str) -> None:
    """Through the API, by the compute service, on the host; and the log tells it."""
    case, action = CASES[name], ACTIONS[name]
    deferred = "soft_delete" in (name, *case.before)
    cloud = make_cloud(reclaim_instance_interval=3600 if deferred else 0)
    server_id = bring(cloud, *case.before)
    if name != "create":
        answer = ask(cloud, server_id, name)
        assert answer.status_code == case.code, answer.text
    if case.shows == "DELETED":
        cloud.gone(server_id)
        assert server_id not in cloud.driver.list_guests()
        assert [volume for volume in cloud.driver.list_volumes() if server_id in volume] == []
        return
    server = cloud.settled(server_id, case.shows)
    row = cloud.row(server_id)
    assert action.lands in (lifecycle.AS_WAS, row.vm_state)
    assert "fault" not in server
    assert cloud.guest(server_id) == case.power
    if case.power is not None:
        assert server["OS-EXT-STS:power_state"] == row.power_state == case.power
    done = cloud.log(server_id)[0]
    assert (done["action"], done["message"]) == (action.log, None)
    events = cloud.events(server_id)
    assert events
    assert {event["result"] for event in events} == {"Success"}
    assert all(event["start_time"] and event["finish_time"] for event in events)


@every_action
def test_fails(make_cloud: MakeCloud, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it lands when its first step fails; and the log tells that, too."""
    case, action = CASES[name], ACTIONS[name]
    deferred = "soft_delete" in (name, *case.before)
    cloud = make_cloud(reclaim_instance_interval=3600 if deferred else 0)
    server_id = bring(cloud, *case.before)
    before = cloud.row(server_id).vm_state

    def fail(_work: Any) -> None:
        raise HypervisorError("the disk is full")

    old = OPERATIONS[action.operation]
    first = replace(old.steps[0], do=fail)
    monkeypatch.setitem(OPERATIONS, action.operation, replace(old, steps=(first, *old.steps[1:])))
    if name == "create":
        body = {"name": "server", "imageRef": cloud.image, "flavorRef": cloud.flavor}
        server_id = str(cloud.api.post("/servers", {"server": body}).json["server"]["id"])
    else:
        ask(cloud, server_id, name)
    lands = before if action.fails == lifecycle.AS_WAS else action.fails
    server = cloud.settled(server_id, status(lands, None))
    if lands == states.ERROR:
        assert server["fault"]["message"] == "the disk is full"
        assert server["fault"]["code"] == 500
    log = cloud.log(server_id)[0]
    assert (log["action"], log["message"]) == (action.log, "Error")
    failed = cloud.events(server_id)[0]
    assert (failed["result"], failed["traceback"]) == ("Error", "the disk is full")


# --- from where it is allowed ---

# nova/compute/api.py: check_instance_state of each.
NOVA = {
    "restore": {"soft-delete"},
    "reboot_soft": {"active"},
    "reboot_hard": {"active", "stopped", "paused", "suspended", "error"},
    "start": {"stopped"},
    "stop": {"active", "error"},
    "pause": {"active"},
    "unpause": {"paused"},
    "suspend": {"active"},
    "resume": {"suspended"},
    "rebuild": {"active", "stopped", "error"},
    "rescue": {"active", "stopped", "error"},
    "unrescue": {"rescued"},
    "resize": {"active", "stopped"},
    "resize_away": {"active", "stopped"},
    "migrate": {"active", "stopped"},
    "live_migrate": {"active", "paused"},
    "evacuate": {"active", "stopped", "error"},
    "revert_move": {"resized"},
    "confirm_resize": {"resized"},
    "revert_resize": {"resized"},
    "shelve": {"active", "stopped", "paused", "suspended"},
    "shelve_offload": {"shelved"},
    "unshelve": {"shelved", "shelved_offloaded"},
    "snapshot": {"active", "stopped", "paused", "suspended"},
    "backup": {"active", "stopped", "paused", "suspended"},
}
VM_STATES = (*lifecycle.ANY,)
TASK_STATES = (None, *sorted({action.task_state for action in ACTIONS.values() if action.task_state}))


class Rows:
    """One server, whose states are written; and `begin` on it."""

    def __init__(self, db: Database, services: Any) -> None:
        self.db, self.services = db, services
        self.context = Context("req-1", "u" * 32, "p" * 32, frozenset({"member", "reader"}))
        add_host(db, "host1")
        with db.write() as conn:
            self.key = servers.insert(conn, server_values("p" * 32, "u" * 32)).id

    def begin(self, name: str, vm_state: str, task_state: str | None) -> str:
        """What comes of it: "" or the sentence; nothing is left of it."""
        with self.db.write() as conn:
            conn.execute(delete(ActionEvent))
            conn.execute(delete(Action))
            servers.change(conn, self.key, {"vm_state": vm_state, "task_state": task_state, "deleted": 0})
            server = servers.get_by_key(conn, self.key)
            assert server is not None
            try:
                lifecycle.begin(conn, self.services, self.context, server, name)
            except errors.Conflict as error:
                assert errors.fault(error) == (409, "conflictingRequest")
                assert conn.execute(select(Action.id)).all() == []
                assert servers.get_by_key(conn, self.key) == server
                return error.message
            work = conn.execute(select(Action.operation, Action.name, Action.queue)).one()
            now = servers.get_by_key(conn, self.key)
        assert tuple(work) == (ACTIONS[name].operation, ACTIONS[name].log, "host1")
        assert now is not None
        assert (now.task_state, now.vm_state) == (ACTIONS[name].task_state, vm_state)
        return ""


@pytest.fixture
def rows(db: Database, settings: Any) -> Rows:
    """A server to try."""
    return Rows(db, make_services(settings, db=db, policy=POLICY))


@every_action
def test_allowed_from_exactly_these_states(rows: Rows, name: str) -> None:
    action = ACTIONS[name]
    for vm_state in VM_STATES:
        for task_state in TASK_STATES if vm_state in action.vm_states[:1] or vm_state == "active" else (None,):
            said = rows.begin(name, vm_state, task_state)
            where = f"Cannot '{action.says}' instance {servers_uuid(rows)} while it is in"
            if vm_state not in action.vm_states:
                assert said == f"{where} vm_state {vm_state}"
            elif action.task_states and task_state not in action.task_states:
                assert said == f"{where} task_state {task_state}"
            else:
                assert said == ""


def servers_uuid(rows: Rows) -> str:
    """The server's id."""
    with rows.db.read() as conn:
        row = servers.get_by_key(conn, rows.key)
    assert row is not None
    return row.uuid


@pytest.mark.parametrize("name", sorted(NOVA))
def test_as_nova_allows(name: str) -> None:
    assert set(ACTIONS[name].vm_states) == NOVA[name]


@pytest.mark.parametrize("name", sorted(set(CASES) - {"create", "soft_delete"}))
def test_refused_on_the_wire(cloud: Cloud, name: str) -> None:
    """Nova's fault and sentence: in a state that the row does not allow, while another task is under way, locked."""
    case, action = CASES[name], ACTIONS[name]
    server_id = bring(cloud, *(before for before in case.before if before != "soft_delete"))
    vm_state = cloud.row(server_id).vm_state
    forbidden = next((state for state in VM_STATES if state not in action.vm_states), None)
    if forbidden:
        cloud.put(server_id, vm_state=forbidden)
        answer = ask(cloud, server_id, name)
        assert answer.status_code == 409, answer.text
        message = answer.json["conflictingRequest"]["message"]
        assert answer.json["conflictingRequest"]["code"] == 409
        assert message.startswith("Cannot '")
        assert message.endswith(f"' instance {server_id} while it is in vm_state {forbidden}")
        cloud.put(server_id, vm_state=vm_state)
    if action.task_states:
        cloud.put(server_id, task_state=states.MIGRATING, vm_state=action.vm_states[0])
        answer = ask(cloud, server_id, name)
        assert answer.status_code == 409, answer.text
        message = answer.json["conflictingRequest"]["message"]
        assert message.endswith(f"' instance {server_id} while it is in task_state migrating")
        cloud.put(server_id, task_state=None, vm_state=vm_state)
    assert cloud.act(server_id, "lock").status_code == 202
    if not action.locked_too and not case.admin:
        answer = ask(cloud, server_id, name)
        assert answer.status_code == 409, answer.text
        assert answer.json["conflictingRequest"]["message"] == f"Instance {server_id} is locked"
        assert cloud.row(server_id).task_state is None


@pytest.mark.parametrize("name", ["stop", "reboot_hard", "delete", "pause"])
def test_an_administrator_acts_on_what_is_locked(cloud: Cloud, name: str) -> None:
    server_id = cloud.boot()
    cloud.act(server_id, "lock")
    assert ask(cloud, server_id, name, asker=cloud.admin).status_code == CASES[name].code


@pytest.mark.parametrize("name", sorted(set(CASES) - {"create", "soft_delete", "attach_interface"}))
def test_of_others(cloud: Cloud, name: str) -> None:
    """Another project does not know of the server, whoever asks there; nor does anybody of one that never was."""
    server_id = bring(cloud)
    other = cloud.api.become("member", "manager")
    before = cloud.log(server_id)
    assert ask(cloud, server_id, name, asker=other).status_code == 404
    assert cloud.log(server_id) == before


# --- one after the other, and at once ---


def test_a_hard_reboot_wins_over_a_soft_one(cloud: Cloud) -> None:
    server_id = cloud.boot()
    cloud.driver.ignore_acpi(server_id)
    assert ask(cloud, server_id, "reboot_soft").status_code == 202
    assert ask(cloud, server_id, "reboot_soft").status_code == 409
    assert ask(cloud, server_id, "reboot_hard").status_code == 202
    cloud.settled(server_id, "ACTIVE")
    assert [item["action"] for item in cloud.log(server_id)] == ["reboot", "reboot", "create"]
    assert cloud.driver.list_guests()[server_id] == RUNNING


def test_only_one_of_several_at_once(cloud: Cloud) -> None:
    """Two that were accepted would both be done."""
    server_id = cloud.boot()
    cloud.driver.delays["pause"] = 0.3
    codes: list[int] = []

    def go() -> None:
        codes.append(ask(cloud, server_id, "pause").status_code)

    threads = [threading.Thread(target=go) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [202] + [409] * 5
    cloud.settled(server_id, "PAUSED")


def test_delete_asked_again_and_again(cloud: Cloud) -> None:
    """It goes on; the log has it once."""
    server_id = cloud.boot()
    cloud.driver.delays["undefine"] = 0.3
    for _ in range(5):
        assert cloud.api.delete(f"/servers/{server_id}").status_code == 204
    with cloud.db.read() as conn:
        names = select(Action.name).where(Action.server_uuid == server_id, Action.hidden == 0)
        assert conn.execute(names.order_by(Action.id)).scalars().all() == ["create", "delete"]
    cloud.gone(server_id)


def test_what_is_seen_meanwhile(cloud: Cloud) -> None:
    """The task, and for some the status, until it has landed."""
    server_id = cloud.boot()
    cloud.driver.ignore_acpi(server_id)
    ask(cloud, server_id, "reboot_soft")
    seen = cloud.show(server_id)
    assert seen["status"] == "REBOOT"
    wait(lambda: cloud.show(server_id)["OS-EXT-STS:task_state"] == "reboot_started")
    cloud.settled(server_id, "ACTIVE")
    ask(cloud, server_id, "stop")
    seen = cloud.show(server_id)
    assert (seen["status"], seen["OS-EXT-STS:task_state"]) == ("ACTIVE", "powering-off")
    cloud.settled(server_id, "SHUTOFF")


def test_a_build_is_seen(cloud: Cloud) -> None:
    cloud.driver.delays["define"] = 0.3
    body = {"name": "server", "imageRef": cloud.image, "flavorRef": cloud.flavor}
    server_id = str(cloud.api.post("/servers", {"server": body}).json["server"]["id"])
    tasks: list[Any] = []

    def look() -> bool:
        server = cloud.show(server_id)
        assert (server["status"] == "BUILD") == (server["OS-EXT-STS:vm_state"] == "building")
        tasks.append(server["OS-EXT-STS:task_state"])
        return tasks[-1] is None

    wait(look)
    order = ["scheduling", "block_device_mapping", "networking", "spawning", None]
    assert [task for task in order if task in tasks] == list(dict.fromkeys(tasks))
    assert "spawning" in tasks


# --- what guests do by themselves ---


def test_a_guest_that_powers_itself_off(cloud: Cloud) -> None:
    server_id = cloud.boot()
    cloud.driver.kill_guest(server_id)
    wait(lambda: cloud.show(server_id)["status"] == "SHUTOFF")
    assert cloud.show(server_id)["OS-EXT-STS:power_state"] == OFF
    assert ask(cloud, server_id, "start").status_code == 202
    cloud.settled(server_id, "ACTIVE")


def test_a_guest_that_was_changed_on_its_host(cloud: Cloud) -> None:
    server_id = cloud.boot()
    for change, shows in (
        (cloud.driver.pause, "PAUSED"),
        (cloud.driver.unpause, "ACTIVE"),
        (cloud.driver.suspend, "SUSPENDED"),
        (cloud.driver.start, "ACTIVE"),
        (cloud.driver.power_off, "SHUTOFF"),
    ):
        change(server_id)
        wait(lambda shows=shows: cloud.show(server_id)["status"] == shows)


def test_a_guest_that_powers_off_late(cloud: Cloud) -> None:
    """It was asked to, by its owner from within: an event, some time later."""
    server_id = cloud.boot()
    cloud.driver.delays["shutdown"] = 0.3
    cloud.driver.shutdown(server_id)
    assert cloud.show(server_id)["status"] == "ACTIVE"
    wait(lambda: cloud.show(server_id)["status"] == "SHUTOFF")


def test_a_guest_that_does_not_obey_is_switched_off(cloud: Cloud) -> None:
    server_id = cloud.boot()
    cloud.driver.ignore_acpi(server_id)
    assert ask(cloud, server_id, "stop").status_code == 202
    cloud.settled(server_id, "SHUTOFF")
    assert cloud.driver.calls["power_off"] == 1


# --- the administrator's way out ---


def test_reset_state(cloud: Cloud) -> None:
    server_id = cloud.boot()
    cloud.put(server_id, task_state="migrating")
    assert cloud.act(server_id, "os-resetState", {"state": "error"}).status_code == 403
    assert cloud.act(server_id, "os-resetState", {"state": "error"}, asker=cloud.admin).status_code == 202
    assert cloud.show(server_id)["status"] == "ERROR"
    assert cloud.show(server_id)["OS-EXT-STS:task_state"] is None
    assert ask(cloud, server_id, "reboot_hard").status_code == 202
    cloud.settled(server_id, "ACTIVE")


def test_a_server_that_is_nowhere(cloud: Cloud) -> None:
    """Nothing can be done with it but delete it, at once."""
    server_id = cloud.boot()
    cloud.put(server_id, host=None)
    answer = ask(cloud, server_id, "stop")
    assert answer.status_code == 409
    assert answer.json["conflictingRequest"]["message"] == f"Instance {server_id} is not ready"
    for name in (
        "reboot_hard",
        "pause",
        "migrate",
        "live_migrate",
        "resize",
    ):  # states come first, but for start and stop
        cloud.put(server_id, vm_state="shelved_offloaded")
        answer = ask(cloud, server_id, name)
        assert answer.status_code == 409
        assert answer.json["conflictingRequest"]["message"] == (
            f"Cannot '{ACTIONS[name].says}' instance {server_id} while it is in vm_state shelved_offloaded"
        )
    assert "is not ready" in ask(cloud, server_id, "start").text
    assert cloud.api.delete(f"/servers/{server_id}").status_code == 204
    assert cloud.api.get(f"/servers/{server_id}").status_code == 404


def test_the_journal_is_busy_only_while_it_lasts(cloud: Cloud) -> None:
    server_id = cloud.boot()
    with cloud.db.read() as conn:
        assert not journal.is_busy(conn, cloud.row(server_id).id)
