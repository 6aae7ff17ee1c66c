# SPDX-License-Identifier: Apache-2.0
"""What a simulated host knows, in one SQLite file (or in memory), and the clock by which its guests act."""

from __future__ import annotations

import heapq
import itertools
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson

from computeapi.states import PowerState
from computeapi.virt.base import DhcpHost, DiskSpec, DomainSpec, Event, NicSpec
from computeapi.virt.images import SHARED_NAMES

LOG = logging.getLogger(__name__)
_TABLES = """
CREATE TABLE IF NOT EXISTS volumes (name TEXT PRIMARY KEY, size INTEGER, virtual INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS networks (name TEXT PRIMARY KEY, uuid TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dhcp (network TEXT, mac TEXT, address TEXT, hostname TEXT, PRIMARY KEY (network, mac))
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS guests (uuid TEXT PRIMARY KEY, name TEXT UNIQUE, state INTEGER, due REAL, due_text TEXT,
    ignore_acpi INTEGER, spec BLOB, console TEXT);
CREATE TABLE IF NOT EXISTS consoles (uuid TEXT PRIMARY KEY, console TEXT) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS guests_due ON guests (due) WHERE due IS NOT NULL;
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """A simulated guest. `due` is when (seconds since the epoch) a shutdown or reboot that was asked for happens."""

    spec: DomainSpec
    state: PowerState
    due: float | None
    ignore_acpi: bool


class Store:
    """The host's file. Use it inside `with store.open() as data:`, which is one transaction in one thread."""

    def __init__(self, state_dir: Path | None, host: str, tell: Callable[[Event], None]) -> None:
        self._tell = tell  # what guests did of their own accord
        path = ":memory:"
        if state_dir is not None:
            folder = state_dir / "simulator"
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            path = str(folder / (quote(host, safe="") + ".db"))
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        # A killed process loses nothing this way; a power cut may, as it would a simulated host.
        self._db.execute("PRAGMA synchronous=OFF")
        if state_dir is not None:
            self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_TABLES)

        self._depth = 0

    @contextmanager
    def open(self) -> Iterator[Store]:
        """One transaction; guests whose time had come are first brought to where they are now."""
        with self._lock:
            if self._depth:  # in the same thread already: a part of that transaction
                yield self
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._depth = 1
            try:
                events = self._settle()
                yield self
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            else:
                self._db.execute("COMMIT")
            finally:
                self._depth = 0
        for event in events:
            self._tell(event)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._db.close()

    def _settle(self) -> list[Event]:
        now = time.time()
        events = []
        rows = self._db.execute("SELECT uuid, due_text FROM guests WHERE due <= ?", (now,)).fetchall()
        for uuid, text in rows:
            if text:
                self.append_console(uuid, text, 1 << 17)
                self._db.execute("UPDATE guests SET due = NULL, due_text = '' WHERE uuid = ?", (uuid,))
                events.append(Event(uuid, PowerState.RUNNING, rebooted=True))
            else:
                stopped = int(PowerState.SHUTDOWN)
                self._db.execute("UPDATE guests SET due = NULL, state = ? WHERE uuid = ?", (stopped, uuid))
                events.append(Event(uuid, PowerState.SHUTDOWN))
        return events

    # --- volumes ---

    def volume(self, name: str) -> tuple[int, int] | None:
        """Bytes kept, virtual size in bytes."""
        row: tuple[int, int] | None = self._db.execute(
            "SELECT size, virtual FROM volumes WHERE name = ?", (name,)
        ).fetchone()
        return row

    def put_volume(self, name: str, size: int, virtual: int) -> None:
        """Keep or replace a volume."""
        self._db.execute("REPLACE INTO volumes VALUES (?, ?, ?)", (name, size, virtual))

    def remove_volumes(self, prefix: str) -> None:
        """Forget the volumes whose names begin so."""
        self._db.execute("DELETE FROM volumes WHERE substr(name, 1, ?) = ?", (len(prefix), prefix))

    def remove_volume(self, name: str) -> None:
        """Forget the volume of that name."""
        self._db.execute("DELETE FROM volumes WHERE name = ?", (name,))

    def volume_names(self) -> list[str]:
        """All volumes, sorted."""
        return [name for (name,) in self._db.execute("SELECT name FROM volumes ORDER BY name")]

    def stored_bytes(self) -> int:
        """What all volumes hold."""
        return int(self._db.execute("SELECT coalesce(sum(size), 0) FROM volumes").fetchone()[0])

    # --- networks ---

    def put_network(self, name: str, uuid: str) -> None:
        """The network exists."""
        self._db.execute("INSERT OR IGNORE INTO networks VALUES (?, ?)", (name, uuid))

    def networks(self) -> dict[str, str]:
        """Names and ids."""
        return dict(self._db.execute("SELECT name, uuid FROM networks").fetchall())

    def has_network(self, name: str) -> bool:
        """Whether the network exists."""
        return self._db.execute("SELECT 1 FROM networks WHERE name = ?", (name,)).fetchone() is not None

    def remove_network(self, name: str) -> None:
        """The network and its promises are gone."""
        self._db.execute("DELETE FROM networks WHERE name = ?", (name,))
        self._db.execute("DELETE FROM dhcp WHERE network = ?", (name,))

    def put_dhcp(self, network: str, host: DhcpHost) -> None:
        """Promise an address; who else had it loses it, as in libvirt's driver."""
        self._db.execute("DELETE FROM dhcp WHERE network = ? AND address = ?", (network, host.address))
        self._db.execute("REPLACE INTO dhcp VALUES (?, ?, ?, ?)", (network, host.mac, host.address, host.hostname))

    def remove_dhcp(self, network: str, mac: str) -> None:
        """Forget a promise."""
        self._db.execute("DELETE FROM dhcp WHERE network = ? AND mac = ?", (network, mac))

    def promised(self, network: str, mac: str) -> DhcpHost | None:
        """What one interface was promised."""
        sql = "SELECT mac, address, hostname FROM dhcp WHERE network = ? AND mac = ?"
        row = self._db.execute(sql, (network, mac)).fetchone()
        return DhcpHost(*row) if row else None

    def dhcp(self, network: str) -> dict[str, DhcpHost]:
        """The promises of a network, by MAC address."""
        rows = self._db.execute("SELECT mac, address, hostname FROM dhcp WHERE network = ?", (network,))
        return {row[0]: DhcpHost(*row) for row in rows}

    # --- guests ---

    def put_guest(self, spec: DomainSpec) -> None:
        """Define or redefine a guest; what it is doing stays."""
        body = orjson.dumps(asdict(spec))
        self._db.execute(
            "INSERT INTO guests VALUES (?, ?, ?, NULL, '', 0, ?,"
            " coalesce((SELECT console FROM consoles WHERE uuid = ?), ''))"
            " ON CONFLICT (uuid) DO UPDATE SET name = excluded.name, spec = excluded.spec",
            (spec.uuid, spec.name, int(PowerState.SHUTDOWN), body, spec.uuid),
        )
        self._db.execute("DELETE FROM consoles WHERE uuid = ?", (spec.uuid,))

    def guest(self, uuid: str) -> Guest | None:
        """The guest, where there is one."""
        row = self._db.execute("SELECT spec, state, due, ignore_acpi FROM guests WHERE uuid = ?", (uuid,)).fetchone()
        return Guest(_spec(row[0]), PowerState(row[1]), row[2], bool(row[3])) if row else None

    def guest_named(self, name: str) -> str | None:
        """The uuid of the guest of that name."""
        row = self._db.execute("SELECT uuid FROM guests WHERE name = ?", (name,)).fetchone()
        return str(row[0]) if row else None

    def change(self, guest: Guest, **values: Any) -> None:
        """Set `state`, `ignore_acpi`, or what happens at `due` (with `text`: a reboot that writes it; else a stop)."""
        new = {"state": guest.state, "due": guest.due, "text": "", "ignore_acpi": guest.ignore_acpi} | values
        self._db.execute(
            "UPDATE guests SET state = ?, due = ?, due_text = ?, ignore_acpi = ? WHERE uuid = ?",
            (int(new["state"]), new["due"], new["text"], int(new["ignore_acpi"]), guest.spec.uuid),
        )

    def remove_guest(self, uuid: str) -> None:
        """Forget a guest with its console."""
        self._db.execute("DELETE FROM guests WHERE uuid = ?", (uuid,))
        self._db.execute("DELETE FROM consoles WHERE uuid = ?", (uuid,))

    def states(self) -> dict[str, PowerState]:
        """Every guest's state."""
        return {uuid: PowerState(state) for uuid, state in self._db.execute("SELECT uuid, state FROM guests")}

    def waiting(self) -> list[float]:
        """When guests have a shutdown or reboot before them."""
        return [due for (due,) in self._db.execute("SELECT due FROM guests WHERE due IS NOT NULL")]

    def append_console(self, uuid: str, text: str, limit: int) -> None:
        """Write to a guest's console, of which the last `limit` characters are kept."""
        self._db.execute("UPDATE guests SET console = substr(console || ?, ?) WHERE uuid = ?", (text, -limit, uuid))

    def put_kept_console(self, uuid: str, text: str) -> None:
        """What a guest that is to come has written elsewhere."""
        self._db.execute("REPLACE INTO consoles VALUES (?, ?)", (uuid, text))

    def console(self, uuid: str) -> str:
        """All that is kept of a guest's console."""
        return str(self._db.execute("SELECT console FROM guests WHERE uuid = ?", (uuid,)).fetchone()[0])


def _spec(body: bytes) -> DomainSpec:
    data = orjson.loads(body)
    data["disks"] = tuple(DiskSpec(**disk) for disk in data["disks"])
    data["nics"] = tuple(NicSpec(**nic | {"filters": tuple(nic["filters"])}) for nic in data["nics"])
    return DomainSpec(**data)


class Disks:
    """The volumes that a host has: its `own` (or its pool's), and `everybodys`, which are in the directory of all."""

    def __init__(self, own: Store, everybodys: Store | None = None) -> None:
        self.own, self.everybodys = own, everybodys

    @contextmanager
    def open(self) -> Iterator[Disks]:
        """One transaction of both, in this order."""
        with self.own.open(), self.everybodys.open() if self.everybodys else nullcontext():
            yield self

    def _at(self, name: str) -> Store:
        return self.everybodys if self.everybodys and name.startswith(SHARED_NAMES) else self.own

    def volume(self, name: str) -> tuple[int, int] | None:
        """Bytes kept, virtual size in bytes."""
        return self._at(name).volume(name)

    def put_volume(self, name: str, size: int, virtual: int) -> None:
        """Keep or replace a volume."""
        self._at(name).put_volume(name, size, virtual)

    def remove_volumes(self, prefix: str) -> None:
        """Forget the volumes whose names begin so."""
        self._at(prefix).remove_volumes(prefix)

    def remove_volume(self, name: str) -> None:
        """Forget the volume of that name."""
        self._at(name).remove_volume(name)

    def volume_names(self) -> list[str]:
        """All volumes, sorted."""
        return sorted(self.own.volume_names() + (self.everybodys.volume_names() if self.everybodys else []))

    def stored_bytes(self) -> int:
        """What the host's own volumes hold."""
        return self.own.stored_bytes()


class Clock:
    """Calls functions at their time from one thread, which starts with the first of them.

    One for all simulated hosts of a process, so that a thousand of them do not need a thousand threads.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._thread: threading.Thread | None = None

    def at(self, due: float, action: Callable[[], None]) -> None:
        """Call `action` at `due` (seconds since the epoch; the past is: now), in the order of asking."""
        with self._changed:
            heapq.heappush(self._plans, (due, next(self._order), action))
            if self._thread is None or not self._thread.is_alive():  # not alive: we are a forked child
                self._thread = threading.Thread(target=self._run, name="simulated-guests", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _next(self) -> Callable[[], None]:
        with self._changed:
            while True:
                wait = self._plans[0][0] - time.time() if self._plans else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._plans)[2]
                self._changed.wait(wait)

    def _run(self) -> None:
        while True:
            action = self._next()
            try:
                action()
            except Exception:
                LOG.exception("a simulated guest's event could not be told")


CLOCK = Clock()
