# SPDX-License-Identifier: Apache-2.0
"""The bytes of an image are lost, on the host or in the image service: it is said, and goes on once they are back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from computeapi.compute.guest import base_name
from computeapi.virt.base import HypervisorError
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute
from tests.conftest import Api
from tests.wire.conftest import Boot

BACKING = "Cannot access backing file: No such file or directory"
Lose = Callable[[], Callable[[], None]]


@pytest.fixture
def lose(compute: Compute, base_image: str) -> Lose:
    """`lose()` takes the image's bytes away, from the host as well; what it gives puts them back where images are."""

    def take() -> Callable[[], None]:
        path = compute.images.files.path(base_image)  # type: ignore[attr-defined]
        content = path.read_bytes()
        path.unlink()
        compute.driver.remove_volumes(base_name(base_image))

        def put_back() -> None:
            path.write_bytes(content)

        return put_back

    return take


def shown(api: Api, server_id: str) -> tuple[str, str]:
    """Status, and the fault's message."""
    server: dict[str, Any] = api.get(f"/servers/{server_id}").json["server"]
    return server["status"], server.get("fault", {}).get("message", "")


def act(api: Api, compute: Compute, server_id: str, **action: Any) -> None:
    """Ask for it, and see it done."""
    assert api.post(f"/servers/{server_id}/action", action).status_code == 202
    compute.work()


def test_create(api: Api, compute: Compute, boot: Boot, base_image: str, flavor: str, lose: Lose) -> None:
    put_back = lose()
    answer = api.post("/servers", {"server": {"name": "x", "imageRef": base_image, "flavorRef": flavor}})
    compute.work()
    server_id = answer.json["server"]["id"]
    assert shown(api, server_id) == ("ERROR", f"Image {base_image} has no data")
    assert compute.volumes(server_id) == []
    put_back()
    boot()


def test_rebuild(api: Api, compute: Compute, boot: Boot, base_image: str, lose: Lose) -> None:
    server_id = boot()
    disks, put_back = compute.volumes(server_id), lose()
    act(api, compute, server_id, rebuild={"imageRef": base_image})
    assert shown(api, server_id) == ("ERROR", f"Image {base_image} has no data")
    assert compute.volumes(server_id) == disks
    put_back()
    act(api, compute, server_id, rebuild={"imageRef": base_image})
    assert shown(api, server_id)[0] == "ACTIVE"


def test_start_of_what_the_host_lost(api: Api, compute: Compute, boot: Boot, base_image: str) -> None:
    server_id, driver = boot(), compute.driver
    assert isinstance(driver, SimulatedHypervisor)
    act(api, compute, server_id, **{"os-stop": None})
    driver.remove_volumes(base_name(base_image))
    driver.fail("start", HypervisorError(BACKING))
    act(api, compute, server_id, **{"os-start": None})
    assert shown(api, server_id)[0] == "ACTIVE"
    assert base_name(base_image) in driver.list_volumes()


def test_start_of_what_all_have_lost(api: Api, compute: Compute, boot: Boot, lose: Lose) -> None:
    server_id, driver = boot(), compute.driver
    assert isinstance(driver, SimulatedHypervisor)
    act(api, compute, server_id, **{"os-stop": None})
    put_back = lose()
    driver.fail("start", HypervisorError(BACKING), times=2)
    act(api, compute, server_id, **{"os-start": None})
    assert shown(api, server_id) == ("ERROR", BACKING)
    put_back()
    act(api, compute, server_id, reboot={"type": "HARD"})
    assert shown(api, server_id)[0] == "ACTIVE"


def test_start_that_fails_for_another_reason(api: Api, compute: Compute, boot: Boot) -> None:
    server_id, driver = boot(), compute.driver
    assert isinstance(driver, SimulatedHypervisor)
    act(api, compute, server_id, **{"os-stop": None})
    driver.fail("start", HypervisorError("no"))
    calls = driver.calls["start"]
    act(api, compute, server_id, **{"os-start": None})
    assert shown(api, server_id) == ("ERROR", "no")
    assert driver.calls["start"] == calls + 1


def test_unshelve(api: Api, compute: Compute, boot: Boot) -> None:
    server_id = boot()
    act(api, compute, server_id, shelve=None)
    assert shown(api, server_id)[0] == "SHELVED_OFFLOADED"
    image_id = compute.server(server_id).shelved_image_id
    path = compute.images.files.path(image_id)  # type: ignore[attr-defined]
    content = path.read_bytes()
    path.unlink()
    act(api, compute, server_id, unshelve=None)
    assert shown(api, server_id) == ("SHELVED_OFFLOADED", "")  # the action log tells why
    path.write_bytes(content)
    act(api, compute, server_id, unshelve=None)
    assert shown(api, server_id)[0] == "ACTIVE"
