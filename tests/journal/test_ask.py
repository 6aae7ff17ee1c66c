# SPDX-License-Identifier: Apache-2.0
"""Questions that only the host can answer: the answer, the refusal, and the bound on the waiting."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from computeapi import errors
from computeapi.ask import Refused, ask
from computeapi.compute import runner
from computeapi.compute.operations import QUESTIONS
from computeapi.db.models import Action, ActionEvent
from computeapi.db.queries.servers import ServerRow
from computeapi.virt.base import HypervisorError, HypervisorGone
from tests.journal.world import World


@pytest.fixture
def asking(world: World) -> World:
    """A world whose API waits a second at most."""
    world.services = replace(world.services, settings=replace(world.settings, query_timeout=1))
    return world


@contextmanager
def answering(world: World) -> Iterator[None]:
    """The compute service works meanwhile."""
    done = threading.Event()
    failed: list[BaseException] = []

    def work() -> None:
        try:
            while not done.wait(0.01):
                world.victim.work()
        except BaseException as error:
            failed.append(error)

    world.victim.take_over()
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert failed == []


def rows(world: World) -> list[Any]:
    """The questions that are in the journal."""
    with world.db.read() as conn:
        return list(conn.execute(select(Action.operation).where(Action.operation.in_(QUESTIONS))).scalars())


def put(world: World, server: ServerRow, question: str = "console_output", **payload: Any) -> Any:
    """Ask."""
    return ask(world.services, world.context, server, question, payload)


def test_an_answer(asking: World) -> None:
    server = asking.prepare(("create",))
    with answering(asking):
        assert "GUEST-READY" in put(asking, server, lines=9)
        assert put(asking, server, "diagnostics")["memory"] > 0
    assert rows(asking) == []
    with asking.db.read() as conn:
        names = select(Action.name).where(Action.server_id == server.id, Action.hidden == 0)
        assert conn.execute(names).scalars().all() == ["create"]
        assert not conn.execute(select(ActionEvent.id).where(ActionEvent.name == "console_output")).all()


def test_a_refusal(asking: World) -> None:
    server = asking.prepare(("create",))
    with answering(asking), pytest.raises(Refused) as caught:
        put(asking, server, "set_password", user="root", password="tell-nobody")
    assert caught.value.kind == "AgentUnavailable"
    assert caught.value.message == f"guest {server.uuid}: has no agent"
    assert rows(asking) == []


def test_an_answer_while_other_work_of_the_server_waits(asking: World) -> None:
    server = asking.prepare(("create",))
    asking.begin(server, "stop")
    with asking.db.write() as conn:
        conn.execute(update(Action).where(Action.operation == "stop").values(queue="host2"))
    with answering(asking):
        assert "GUEST-READY" in put(asking, server)


@pytest.mark.parametrize("error", [ZeroDivisionError("tell-nobody"), KeyError("tell-nobody")])
def test_what_nobody_foresaw_says_nothing(asking: World, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def bug(_work: Any) -> Any:
        raise error

    monkeypatch.setitem(QUESTIONS, "console_output", bug)
    server = asking.prepare(("create",))
    with answering(asking), pytest.raises(Refused) as caught:
        put(asking, server)
    assert "tell-nobody" not in str(caught.value)


def takes(action: Callable[[], Any]) -> float:
    """The seconds until it says that there is no answer; with 503 and a time to try again."""
    began = time.monotonic()
    with pytest.raises(errors.Unavailable) as caught:
        action()
    assert errors.fault(caught.value)[0] == 503
    assert int(caught.value.headers["Retry-After"]) > 0
    return time.monotonic() - began


def test_nobody_answers(asking: World) -> None:
    """The wait is bounded; nothing is left that would be answered later, above all no password."""
    server = asking.prepare(("create",))
    assert 0.9 < takes(lambda: put(asking, server, "set_password", user="root", password="x")) < 5
    assert rows(asking) == []
    assert asking.victim.live() == []


def test_the_host_is_down(asking: World) -> None:
    server = asking.prepare(("create",))
    asking.host_goes_down()
    assert takes(lambda: put(asking, server)) < 0.9
    assert rows(asking) == []


def test_the_hypervisor_is_away(asking: World) -> None:
    server = asking.prepare(("create",))
    with answering(asking):
        asking.victim.driver.always["console_output"] = HypervisorGone("away")
        assert takes(lambda: put(asking, server)) < 5
        asking.victim.driver.always["console_output"] = HypervisorError("it is stuck")
        with pytest.raises(Refused):
            put(asking, server)


def test_the_service_ends_while_it_is_at_it(asking: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its successor does not ask again: the question may be what killed it."""
    server = asking.prepare(("create",))
    monkeypatch.setattr(runner, "_answer", lambda *_: asking.heir.reborn().take_over())
    with answering(asking):
        assert takes(lambda: put(asking, server)) < 0.9
    assert rows(asking) == []


def test_the_row_is_lost(asking: World) -> None:
    server = asking.prepare(("create",))

    def lose() -> None:
        time.sleep(0.2)
        with asking.db.write() as conn:
            conn.execute(delete(Action).where(Action.operation == "console_output"))

    thread = threading.Thread(target=lose)
    thread.start()
    assert takes(lambda: put(asking, server)) < 0.9
    thread.join()


def test_a_server_that_is_nowhere(asking: World) -> None:
    server = asking.prepare(("create",))
    with pytest.raises(errors.Conflict, match="is not ready"):
        put(asking, server._replace(host=None))


def test_a_server_that_went_meanwhile(asking: World) -> None:
    server = asking.prepare(("create",))
    asking.begin(server, "force_delete")
    assert asking.victim.live() == []
    with answering(asking), pytest.raises(Refused, match="The server is gone"):
        put(asking, server)
