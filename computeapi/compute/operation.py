# SPDX-License-Identifier: Apache-2.0
"""What an operation is made of: named steps, each with do and undo, and what they are given to work with."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Connection, select, update

from computeapi import clock, journal
from computeapi.backends.image.base import ImageBackend
from computeapi.backends.volume.base import VolumeBackend
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Action, Server
from computeapi.db.queries import volumes
from computeapi.db.queries.servers import ServerRow
from computeapi.db.queries.volumes import VolumeRow
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.virt.base import Hypervisor
from computeapi.virt.firewall import LocalNetwork

if TYPE_CHECKING:  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.network.neutron import Neutron

_LOOK_SECONDS = 1.0  # between looks whether delete waits, during what takes long


class Cancelled(Exception):
    """Delete waits behind this work: stop here."""


class Stopping(Exception):
    """The compute service is ending: give the work back, its next owner goes on with it."""


Ended = Callable[[str, str, float], None]  # operation, how it ended, after how many seconds


def uncounted(_operation: str, _result: str, _seconds: float) -> None:
    """Where nobody asked for metrics."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a compute service works with."""

    settings: Settings
    db: Database
    seal: Seal
    driver: Hypervisor
    images: ImageBackend
    volumes: VolumeBackend
    host: str
    epoch: int
    stopping: threading.Event = field(default_factory=threading.Event)
    ended: Ended = uncounted
    heard: Callable[[Sequence[LocalNetwork]], None] | None = None  # told which networks are on the host
    neutron: Neutron | None = None  # None: the network is embedded


@dataclass(slots=True)
class Job:
    """One claimed action, as its steps see it. `landing` is what else is written to its subject when it lands; `lost`
    are hosts that were down when they should have undone something."""

    tools: Tools
    entry: journal.Entry
    landing: dict[str, Any] = field(default_factory=dict, kw_only=True)
    lost: set[str] = field(default_factory=set, kw_only=True)

    @property
    def driver(self) -> Hypervisor:
        """This host's hypervisor."""
        return self.tools.driver

    def wait(self, condition: Callable[[], bool], seconds: float, interval: float = 0.2) -> bool:
        """Wait until `condition()`; False when it does not come true in time. Raises Cancelled, Stopping."""
        until = time.monotonic() + seconds
        looked = time.monotonic()
        while not condition():
            if time.monotonic() >= until:
                return False
            self.pause(interval)
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self.check_cancelled()
        return True

    def interruptible(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """`chunks`, cut short by Cancelled or Stopping."""
        looked = time.monotonic()
        for chunk in chunks:
            self.pause(0)
            if time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self.check_cancelled()
            yield chunk

    def pause(self, seconds: float) -> None:
        """Sleep. Raises Stopping as soon as the compute service is to end."""
        stopping = self.tools.stopping
        if stopping.is_set() or (seconds and stopping.wait(seconds)):
            raise Stopping

    def check_cancelled(self) -> None:
        """Raise Cancelled where delete waits behind this work."""
        with self.tools.db.read() as conn:
            if conn.execute(select(Action.cancel).where(Action.id == self.entry.id)).scalar():
                raise Cancelled


_SERVICE = frozenset({"admin", "member", "reader"})


@dataclass(slots=True)
class Work(Job):
    """An action on a server."""

    server: ServerRow

    @property
    def context(self) -> Context:
        """The caller's, with the rights of the service (its image may be another project's, shared with it)."""
        return Context(self.entry.request_id, self.server.user_id, self.server.project_id, _SERVICE)

    def save(self, **columns: Any) -> None:
        """Write something about the server now, while the work goes on. Raises Fenced, Cancelled."""
        with self.tools.db.write() as conn:
            conn.execute(update(Server).where(Server.id == self.server.id).values(updated_at=clock.now(), **columns))
            if journal.hold(conn, self.entry):
                raise Cancelled  # and nothing is written: the task_state is the delete's


@dataclass(slots=True)
class VolumeWork(Job):
    """An action on a volume, or on a snapshot of it."""

    volume: VolumeRow

    @property
    def context(self) -> Context:
        """As a server's."""
        return Context(self.entry.request_id, self.volume.user_id, self.volume.project_id, _SERVICE)

    def save(self, **columns: Any) -> None:
        """Write something about the volume now, while the work goes on. Raises Fenced."""
        with self.tools.db.write() as conn:
            volumes.change(conn, self.volume.id, columns)
            journal.hold(conn, self.entry)


W = TypeVar("W", bound=Job)
Do = Callable[[Work], None]


SOURCE, DESTINATION = "source", "destination"


@dataclass(frozen=True, slots=True)
class Step(Generic[W]):
    """`do` and `undo` are each find-or-create: after a crash they may run again, on whatever is there.

    `at` says, of work that needs two hosts, which of them runs it: the row goes there for it. "": the one that has it.
    """

    name: str
    do: Callable[[W], None]
    undo: Callable[[W], None] | None = None
    at: str = ""


@dataclass(frozen=True, slots=True)
class Operation(Generic[W]):
    """Steps in order, and what belongs to the transaction that ends them."""

    steps: tuple[Step[W], ...]
    finished: Callable[[Connection, W], None] | None = None
    failed: Callable[[Connection, W], None] | None = None  # only when all was undone
    runs_on_deleted: bool = False
