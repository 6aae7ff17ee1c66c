# SPDX-License-Identifier: Apache-2.0
"""What an action is on, a server or a volume: how its row is found, and what is written to it where the action lands.

The runner goes through the steps of both in the same way; here is all in which they differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from sqlalchemy import Connection, select, update

from computeapi import journal, lifecycle, states
from computeapi.clock import now
from computeapi.compute.operation import Job, Operation, Tools, VolumeWork, Work
from computeapi.db.models import Server, Volume
from computeapi.db.queries import console_tokens, servers, volume_snapshots, volumes

Values = dict[str, Any]


class Subject(ABC):
    """The rows of a kind of thing."""

    @abstractmethod
    def load(self, tools: Tools, entry: journal.Entry, operation: Operation[Any]) -> Job | None:
        """The work on it; None where it is gone."""

    @abstractmethod
    def lock(self, conn: Connection, entry: journal.Entry) -> None:
        """Nobody else changes it until this transaction ends."""

    @abstractmethod
    def landed(self, work: Job) -> Values:
        """What is written to it when all went well."""

    @abstractmethod
    def failed(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        """What is written to it when the work failed and was undone."""

    @abstractmethod
    def given_up(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        """What is written to it when nothing more can be done."""

    @abstractmethod
    def write(self, conn: Connection, entry: journal.Entry, values: Values) -> None:
        """Write that, when the journal's row is closed."""

    @abstractmethod
    def show(self, work: Job, message: str) -> None:
        """Its owner need not wait for an undo that can't go on before the hypervisor is back."""


class _Servers(Subject):
    def load(self, tools: Tools, entry: journal.Entry, operation: Operation[Any]) -> Job | None:
        with tools.db.read() as conn:
            server = servers.get_by_key(conn, entry.server_id or 0)
        if server is None or (server.deleted and not operation.runs_on_deleted):
            return None
        return Work(tools, entry, server)

    def lock(self, conn: Connection, entry: journal.Entry) -> None:
        conn.execute(select(Server.id).where(Server.id == entry.server_id).with_for_update())

    def landed(self, work: Job) -> Values:
        return {"vm_state": work.entry.lands["ok"], "fault_json": None, **work.landing}

    def failed(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        vm_state = entry.lands["failed"]
        return {"vm_state": vm_state} | (self._fault(tools, entry, message) if vm_state == states.ERROR else {})

    def given_up(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        return {"vm_state": states.ERROR} | self._fault(tools, entry, message)

    @staticmethod
    def _fault(tools: Tools, entry: journal.Entry, message: str) -> Values:
        details = f"{entry.operation} on {tools.host}: {message}"
        return {"fault_json": lifecycle.make_fault(500, message, details)}

    def write(self, conn: Connection, entry: journal.Entry, values: Values) -> None:
        """Its task_state is that of the work behind, if any waits."""
        if not journal.has_next(conn, entry):
            values = {**values, "task_state": None}
        conn.execute(
            update(Server).where(Server.id == entry.server_id, Server.deleted == 0).values(updated_at=now(), **values)
        )
        if values.get("power_state", states.PowerState.RUNNING) in states.OFF or "host" in values:
            console_tokens.drop(conn, entry.server_id or 0)

    def show(self, work: Job, message: str) -> None:
        assert isinstance(work, Work)
        values = self.failed(work.tools, work.entry, message)
        if work.server.vm_state == values["vm_state"]:  # shown already
            return
        with work.tools.db.write() as conn:
            self.lock(conn, work.entry)
            journal.hold(conn, work.entry)
            if not journal.has_next(conn, work.entry):
                values |= {"task_state": None, "updated_at": now()}
                conn.execute(update(Server).where(Server.id == work.server.id, Server.deleted == 0).values(**values))


class _Aside(_Servers):
    """A server that does not live on this host, or work that changes nothing of it: nothing shows in its row."""

    def landed(self, work: Job) -> Values:
        return {}

    def failed(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        return {}

    def given_up(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        return {}

    def write(self, conn: Connection, entry: journal.Entry, values: Values) -> None:
        """Nothing."""

    def show(self, work: Job, message: str) -> None:
        """Nothing."""


class _Volumes(Subject):
    """Where the row's `lands` names a snapshot, that is what changes its status; the volume stays as it is."""

    def load(self, tools: Tools, entry: journal.Entry, operation: Operation[Any]) -> Job | None:
        with tools.db.read() as conn:
            volume = volumes.get_by_key(conn, entry.volume_key or 0)
        return None if volume is None else VolumeWork(tools, entry, volume)

    def lock(self, conn: Connection, entry: journal.Entry) -> None:
        conn.execute(select(Volume.id).where(Volume.id == entry.volume_key).with_for_update())

    def landed(self, work: Job) -> Values:
        return {"status": work.entry.lands["ok"], "message": None, **work.landing}

    def failed(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        return {"status": entry.lands["failed"], "message": message}

    def given_up(self, tools: Tools, entry: journal.Entry, message: str) -> Values:
        return self.failed(tools, entry, message)

    def write(self, conn: Connection, entry: journal.Entry, values: Values) -> None:
        snapshot = entry.lands.get("snapshot")
        if snapshot:
            volume_snapshots.change(conn, snapshot, values)
        elif entry.volume_key is not None:
            volumes.change(conn, entry.volume_key, values)
        if restored := entry.lands.get("restored"):  # the snapshot that it went back to
            volume_snapshots.change(conn, restored, {"status": "available"})

    def show(self, work: Job, message: str) -> None:
        """It shows what is under way until then."""


_SERVERS, _ASIDE, _VOLUMES = _Servers(), _Aside(), _Volumes()


def of(entry: journal.Entry) -> Subject:
    """What the action is on."""
    if entry.volume_key is not None:
        return _VOLUMES
    return _ASIDE if entry.aside or entry.operation == journal.APPLY_NETWORK else _SERVERS
