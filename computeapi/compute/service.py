# SPDX-License-Identifier: Apache-2.0
"""The compute service of one host: takes the host over, claims its work, says that it lives, keeps it in order.

One live owner a host: a file lock (gone with the process, however it ends), and an epoch that fences an owner which
lost the lock's file system. Threads: the claimer, a pool for operations, a pool for questions, the keeper
(heartbeats), the sweeper, and the hypervisor's events.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import IO

import orjson
from sqlalchemy import Connection, insert, select, update

from computeapi import clock, errors, journal, pci
from computeapi.backends import network, volume
from computeapi.backends.image.base import ImageBackend
from computeapi.compute import reconcile, runner, sweeps
from computeapi.compute.metadata.service import MetadataService
from computeapi.compute.operation import Ended, Tools, uncounted
from computeapi.compute.operations import LONG, firewall, networks
from computeapi.db.engine import AWAY, Database
from computeapi.db.models import Host
from computeapi.journal import Entry
from computeapi.sealing import Seal
from computeapi.settings import Settings, private
from computeapi.virt.base import Event, HostInfo, Hypervisor, HypervisorError
from computeapi.virt.firewall import LocalNetwork
from computeapi.wake import Waker

LOG = logging.getLogger("computeapi.compute")

_SWEEP_SECONDS = 2.0
_QUESTION_THREADS = 4
_FIRST_PAUSE = 0.5  # seconds before a row that was given back is tried again; twice as long each time …
_LATER_SECONDS = 8.0  # … but no longer than this
_END_SECONDS = 25.0  # that steps under way have to end when told to stop: one may hang in the hypervisor
_JOIN_SECONDS = 5.0  # a sweep may hang in the hypervisor, until its connection is closed


class AlreadyRunning(Exception):
    """Another compute service of this host is running."""


class Renamed(Exception):
    """The host has another name than its servers know it by."""


class ComputeService:
    """Start with `run()`, which returns when `stop()` was called or the host was taken over by another owner."""

    def __init__(
        self,
        settings: Settings,
        db: Database,
        driver: Hypervisor,
        images: ImageBackend,
        seal: Seal,
        ended: Ended = uncounted,
    ) -> None:
        self._settings, self._db, self._driver = settings, db, driver
        self._images, self._seal, self._ended = images, seal, ended
        self._host = settings.host_name
        self._stopping = threading.Event()
        self._waker = Waker(db, self._host)
        self._lock = threading.Lock()
        self._busy: dict[int, Entry] = {}  # operations under way, by their keys
        self._asked: dict[int, Entry] = {}  # and questions
        self._left: list[tuple[Entry, runner.Left]] = []  # to be given back
        self._later: dict[int, float] = {}  # keys of rows given back, and when to try them again
        self._lock_file: IO[str] | None = None
        self._threads: list[threading.Thread] = []
        self._operations = ThreadPoolExecutor(settings.operation_threads, "operation")
        self._questions = ThreadPoolExecutor(_QUESTION_THREADS, "question")
        self._watching = False
        self._metadata = MetadataService(settings, db, driver)
        self.tools: Tools | None = None
        self.hangs = False  # after `run()`: whether a step did not end; the process must, and the next owner goes on

    def run(self) -> None:
        """Own the host until told to stop. Raises AlreadyRunning, Renamed."""
        try:
            self._take_lock()
            info = self._host_info()
            if self._stopping.is_set():
                return
            if info is not None:
                self._check_name()
            tools = take_over(
                self._settings,
                self._db,
                self._driver,
                self._images,
                self._seal,
                info,
                stopping=self._stopping,
                ended=self._ended,
                heard=self._metadata.listen,
            )
            self.tools = tools
            self._start_thread(self._keep, "keeper")
            self._try("reconcile", lambda: reconcile.run(tools))
            self._try("networks", lambda: networks.put_back(tools))
            self._try("filters", lambda: firewall.apply(tools))
            self._watch()
            self._start_thread(self._sweep, "sweeper")
            LOG.info("compute service of %s is ready", self._host)
            while not self._stopping.is_set():
                self._waker.wait(self._work())
        finally:
            self._end()

    def stop(self) -> None:
        """Let running steps end, then `run()` returns. What is left open is taken up at the next start."""
        self._stopping.set()
        self._waker.wake()

    def _end(self) -> None:
        self._stopping.set()
        for pool in (self._operations, self._questions):
            pool.shutdown(wait=False, cancel_futures=True)
        self.hangs = not self._come_to_rest()
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        self._give_back()
        self._metadata.close()
        self._driver.close()
        self._waker.close()
        if self._lock_file and not self.hangs:
            self._lock_file.close()

    def _come_to_rest(self) -> bool:
        """Whether all that was under way has ended, in time."""
        until = time.monotonic() + _END_SECONDS
        while time.monotonic() < until:
            with self._lock:
                if not self._busy and not self._asked:
                    return True
            time.sleep(0.02)
        with self._lock:
            left = [f"{entry.operation} of {entry.subject}" for entry in (*self._busy.values(), *self._asked.values())]
        LOG.warning("ending in the midst of what does not end, to be taken up at the next start: %s", ", ".join(left))
        return False

    # --- taking the host over ---

    def _take_lock(self) -> None:
        directory = self._settings.state_path
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"compute-{self._host}.lock"
        # Whoever may read it may lock it, and then there would be no service.
        self._lock_file = open(path, "a+", opener=private)  # noqa: SIM115  (kept open)
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunning(
                f"A compute service of host {self._host} is running already (it holds {self._lock_file.name})."
            ) from error
        self._lock_file.seek(0)
        self._lock_file.truncate()
        self._lock_file.write(str(os.getpid()))
        self._lock_file.flush()

    def _check_name(self) -> None:
        """A host's name is in its servers' rows: under another it would be a new host, and they on one that is down."""
        other = reconcile.owner_before(self._db, self._host, self._driver)
        if other is not None:
            raise Renamed(
                f"The guests here are servers of host {other}, and this compute service is called {self._host}: a host "
                f"keeps its name. Set [DEFAULT] host = {other} (or --host {other})."
            )

    def _host_info(self) -> HostInfo | None:
        """What the hypervisor says; None when it does not answer but the host is known from before (or we stop)."""
        while True:
            try:
                return self._driver.host_info()
            except HypervisorError as error:
                with self._db.read() as conn:
                    known = conn.execute(select(Host.id).where(Host.name == self._host)).first()
                if known:
                    LOG.warning("the hypervisor does not answer: %s", error)
                    return None
                LOG.warning("waiting for the hypervisor, to know the size of this host: %s", error)
                if self._stopping.wait(2.0):
                    return None

    def _watch(self) -> None:
        if not self._watching:
            self._watching = self._try("watching guests", lambda: self._driver.watch(self._on_event))

    def _try(self, what: str, action: Callable[[], object]) -> bool:
        """Whether `action` succeeded; it is tried again later where it did not."""
        try:
            action()
        except journal.Fenced:
            self._dethroned()
        except HypervisorError as error:
            LOG.warning("%s failed: %s", what, error)
        except Exception as error:
            _say(error, f"{what} failed")
        else:
            return True
        return False

    # --- working ---

    def _work(self) -> float:
        """Give back what was left, claim what there is room for; seconds after which to look again in any case."""
        try:
            self._give_back()
            self._claim_all()
        except Exception as error:
            _say(error, "claiming failed; trying again")
            self._stopping.wait(1.0)
        return max(0.0, min([_SWEEP_SECONDS, *(at - time.monotonic() for at in self._later.values())]))

    def _claim_all(self) -> None:
        assert self.tools is not None
        moment = time.monotonic()
        self._later = {key: at for key, at in self._later.items() if at > moment}
        threads = self._settings.operation_threads
        with self._lock:
            busy = list(self._busy.values())
            questions = _QUESTION_THREADS - len(self._asked)
        operations = threads - len(busy)
        long = _most_long(threads) - sum(entry.operation in LONG for entry in busy)
        if operations <= 0 and questions <= 0:
            return
        # What was taken from us is neither begun again nor cleaned up while a thread here is still at it.
        mine = {journal.own_lane(entry.lane) for entry in busy if entry.lane is not None}
        for key, lane, is_long in self._waiting(operations, questions, long, len(self._later) + len(mine)):
            if self._stopping.is_set():
                return
            if key in self._later or (lane is not None and journal.own_lane(lane) in mine):
                continue
            if lane is None and questions > 0:
                questions -= 1
            elif lane is not None and operations > 0 and (long > 0 or not is_long):
                operations -= 1
                long -= is_long
            else:
                continue
            self._claim(key, lane)

    def _waiting(self, operations: int, questions: int, long: int, more: int) -> list[tuple[int, int | None, bool]]:
        """(key, lane, whether it is LONG) of what there is room for, and `more`: questions, then what is oldest."""
        limits = [left + more if left > 0 else 0 for left in (operations, questions, min(operations, long))]
        with self._db.read() as conn:
            found = journal.candidates(conn, self._host, limits[0], limits[1], but=LONG)
            found_long = journal.candidates(conn, self._host, limits[2], 0, only=LONG)
        waiting = [(key, lane, False) for key, lane in found] + [(key, lane, True) for key, lane in found_long]
        return sorted(waiting, key=lambda row: (row[1] is not None, row[0]))

    def _claim(self, key: int, lane: int | None) -> None:
        assert self.tools is not None
        try:
            with self._db.write() as conn:
                entry = journal.claim(conn, self._seal, key, lane, self._host, self.tools.epoch)
        except journal.Fenced:
            self._dethroned()
            return
        except Exception as error:
            _say(error, f"action {key} could not be claimed; trying again")
            self._later[key] = time.monotonic() + _LATER_SECONDS
            return
        if entry is None:
            return
        slots, pool = (self._asked, self._questions) if lane is None else (self._busy, self._operations)
        with self._lock:
            slots[key] = entry

        def ended(future: Future[runner.Left | None]) -> None:
            left = runner.Left(counts=False) if future.cancelled() else future.result()  # run() never raises
            with self._lock:
                slots.pop(key, None)
                if left is not None:
                    self._left.append((entry, left))
            self._waker.wake()  # there is room again, and the lane's next may go on

        pool.submit(self._run, entry).add_done_callback(ended)

    def _run(self, entry: Entry) -> runner.Left | None:
        assert self.tools is not None
        left = runner.run(self.tools, entry)
        if left is None and entry.server_uuid and not entry.hidden:
            # What the guest did meanwhile of its own accord was left to this work; and a failure says nothing of it.
            self._look_at(entry.server_uuid)
        return left

    def _give_back(self) -> None:
        """Put the rows back that could not go on. Where the database refuses, they stay ours and are next time's."""
        with self._lock:
            left, self._left = self._left, []
        for entry, (why, counts) in left:
            try:
                with self._db.write() as conn:
                    journal.give_back(conn, entry, why, counts=counts)
            except journal.Fenced:
                LOG.warning("action %s of %s is another owner's now", entry.id, entry.server_uuid)
            except Exception as error:
                _say(error, f"action {entry.id} could not be given back; trying again")
                with self._lock:
                    self._left.append((entry, runner.Left(why, counts)))
            else:
                pause = min(_FIRST_PAUSE * 2**entry.attempt, _LATER_SECONDS) if counts else _LATER_SECONDS
                self._later[entry.id] = time.monotonic() + pause

    # --- keeping ---

    def _start_thread(self, target: Callable[[], None], name: str) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _keep(self) -> None:
        """Say that we live; in a thread of its own, so that a hypervisor that hangs does not make us look dead."""
        assert self.tools is not None
        while not self._stopping.wait(self._settings.heartbeat_interval):
            try:
                with self._db.write() as conn:
                    alive = _beat(conn, self._host, self.tools.epoch)
                if not alive:
                    self._dethroned()
            except Exception as error:
                _say(error, "heartbeat failed; trying again")

    def _dethroned(self) -> None:
        LOG.error("host %s was taken over by another compute service; stopping", self._host)
        self.stop()

    def _sweep(self) -> None:
        assert self.tools is not None
        while not self._stopping.wait(sweeps.INTERVAL):
            self._watch()
            for sweep in sweeps.ALL:
                self._try(sweep.__name__, partial(sweep, self.tools))

    def _on_event(self, event: Event) -> None:
        self._look_at(event.uuid)

    def _look_at(self, server_uuid: str) -> None:
        assert self.tools is not None
        self._try(f"looking at guest {server_uuid}", partial(reconcile.one, self.tools, server_uuid))


def _say(error: Exception, what: str) -> None:
    """A database that is away is told in a line each time; what nobody foresaw with where it came from."""
    known = isinstance(error, (*AWAY, errors.Unavailable))
    LOG.error("%s: %s", what, str(error).partition("\n")[0], exc_info=None if known else error)


def _most_long(threads: int) -> int:
    """How many of these threads may be at LONG operations: those that take seconds shall not wait minutes for them."""
    return max(1, threads - max(1, threads // 4))


def take_over(
    settings: Settings,
    db: Database,
    driver: Hypervisor,
    images: ImageBackend,
    seal: Seal,
    info: HostInfo | None,
    *,
    stopping: threading.Event | None = None,
    ended: Ended = uncounted,
    heard: Callable[[Sequence[LocalNetwork]], None] | None = None,
) -> Tools:
    """Become the owner of the host that the settings name, and put back what older owners were at.

    Two transactions: when the second begins, no older owner can claim any more. Killed in between, the next owner
    does it.
    """
    host = settings.host_name
    with db.write() as conn:
        epoch = _register(conn, settings, host, info)
    with db.write() as conn:
        recovered = journal.recover(conn, host, epoch)
    if recovered:
        LOG.info("%d actions that were under way are taken up again", recovered)
    volumes = volume.load(settings, db, seal)
    stop = stopping or threading.Event()
    neutron = network.load(settings)
    return Tools(settings, db, seal, driver, images, volumes, host, epoch, stop, ended, heard, neutron)


def visit(settings: Settings, db: Database, driver: Hypervisor, images: ImageBackend, seal: Seal) -> Tools | None:
    """What the host's owner works with, without becoming it: for a look beside it. None where the host is unknown.

    What is written by it is refused once the host has another owner.
    """
    with db.read() as conn:
        epoch = conn.execute(select(Host.epoch).where(Host.name == settings.host_name)).scalar()
    if epoch is None:
        return None
    volumes = volume.load(settings, db, seal)
    neutron = network.load(settings)
    return Tools(settings, db, seal, driver, images, volumes, settings.host_name, epoch, neutron=neutron)


def _register(conn: Connection, settings: Settings, name: str, info: HostInfo | None) -> int:
    """Write the host's row anew; its next epoch."""
    moment = clock.now()
    values = {
        "started_at": moment,
        "last_seen_at": moment,
        "host_ip": settings.host_address,
        "cpu_allocation_ratio": settings.cpu_allocation_ratio,
        "ram_allocation_ratio": settings.ram_allocation_ratio,
        "disk_allocation_ratio": settings.disk_allocation_ratio,
        "console_url": settings.console_url,
    }
    if info is not None:
        values |= {
            "hypervisor_hostname": info.hostname,
            "hypervisor_type": info.hypervisor_type,
            "hypervisor_version": info.hypervisor_version,
            "vcpus": info.vcpus,
            "memory_mb": info.memory_mb,
            "disk_gb": info.disk_gb,
            "cpu_info_json": orjson.dumps(info.cpu_info).decode(),
            "pci_json": orjson.dumps(pci.offered(info.pci, settings.device_spec)).decode(),
            "capabilities_json": orjson.dumps(asdict(info.peer) if info.peer else {}).decode(),
        }
    known = conn.execute(select(Host.epoch).where(Host.name == name).with_for_update()).first()
    if known is None:
        conn.execute(
            insert(Host).values(name=name, uuid=str(uuid.uuid4()), service_uuid=str(uuid.uuid4()), epoch=1, **values)
        )
        return 1
    conn.execute(update(Host).where(Host.name == name).values(epoch=known[0] + 1, **values))
    return int(known[0]) + 1


def _beat(conn: Connection, name: str, epoch: int) -> bool:
    """Say that this owner lives; False if it is not the owner any more."""
    beat = conn.execute(update(Host).where(Host.name == name, Host.epoch == epoch).values(last_seen_at=clock.now()))
    return beat.rowcount == 1
