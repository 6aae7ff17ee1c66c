# SPDX-License-Identifier: Apache-2.0
"""The compute service of one host: takes the host over, claims its work, says that it lives, keeps it in order.

One live owner a host: a file lock (gone with the process, however it ends), and an epoch that fences an owner which
lost the lock's file system. Threads: the claimer, a pool for operations, a pool for questions, the keeper (heartbeats
and sweeps), and the hypervisor's events.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

import orjson
from sqlalchemy import Connection, insert, select, update

from computeapi import clock, journal
from computeapi.backends.image.base import ImageBackend
from computeapi.compute import reconcile, runner, sweeps
from computeapi.compute.operation import Tools
from computeapi.db.engine import Database
from computeapi.db.models import Host
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.virt.base import Event, HostInfo, Hypervisor, HypervisorError
from computeapi.wake import Waker

LOG = logging.getLogger("computeapi.compute")

_SWEEP_SECONDS = 2.0
_QUESTION_THREADS = 4


class AlreadyRunning(Exception):
    """Another compute service of this host is running."""


class ComputeService:
    """Start with `run()`, which returns when `stop()` was called or the host was taken over by another owner."""

    def __init__(self, settings: Settings, db: Database, driver: Hypervisor, images: ImageBackend, seal: Seal) -> None:
        self._settings, self._db, self._driver = settings, db, driver
        self._images, self._seal = images, seal
        self._host = settings.host_name
        self._stopping = threading.Event()
        self._busy: set[int] = set()
        self._asked: set[int] = set()
        self._lock = threading.Lock()
        self._lock_file: IO[str] | None = None
        self._operations = ThreadPoolExecutor(settings.operation_threads, "operation")
        self._questions = ThreadPoolExecutor(_QUESTION_THREADS, "question")
        self.tools: Tools | None = None

    def run(self) -> None:
        """Own the host until told to stop. Raises AlreadyRunning."""
        self._take_lock()
        self.tools = self._take_over()
        keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        keeper.start()
        self._reconcile_at_start()
        self._driver.watch(self._on_event)
        LOG.info("compute service of %s is ready", self._host)
        waker = Waker(self._db)
        try:
            while not self._stopping.is_set():
                self._claim_all()
                waker.wait(_SWEEP_SECONDS)
        finally:
            waker.close()
            self._operations.shutdown(wait=True, cancel_futures=True)
            self._questions.shutdown(wait=True, cancel_futures=True)
            self._driver.close()
            if self._lock_file:
                self._lock_file.close()

    def stop(self) -> None:
        """Let running steps end, then `run()` returns. What is left open is taken up at the next start."""
        self._stopping.set()

    # --- taking the host over ---

    def _take_lock(self) -> None:
        directory = self._settings.state_path
        directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = Path(directory, f"compute-{self._host}.lock").open("a+")  # noqa: SIM115  (kept open)
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

    def _take_over(self) -> Tools:
        info = self._host_info()
        with self._db.write() as conn:
            epoch = _register(conn, self._settings, self._host, info)
            recovered = journal.recover(conn, self._host)
        if recovered:
            LOG.info("%d actions that were under way are taken up again", recovered)
        return Tools(self._settings, self._db, self._seal, self._driver, self._images, self._host, epoch)

    def _host_info(self) -> HostInfo | None:
        """What the hypervisor says; None when it does not answer but the host is known from before."""
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
                    raise

    def _reconcile_at_start(self) -> None:
        assert self.tools is not None
        try:
            reconcile.run(self.tools)
        except HypervisorError as error:
            LOG.warning("not reconciled: %s", error)

    # --- working ---

    def _claim_all(self) -> None:
        assert self.tools is not None
        limit = self._settings.operation_threads + _QUESTION_THREADS
        try:
            with self._db.read() as conn:
                waiting = journal.candidates(conn, self._host, limit * 4)
            for key, lane in waiting:
                if self._has_room(lane) and not self._stopping.is_set():
                    self._claim(key, lane)
        except Exception:
            LOG.exception("claiming failed; trying again")
            self._stopping.wait(1.0)

    def _has_room(self, lane: int | None) -> bool:
        with self._lock:
            if lane is None:
                return len(self._asked) < _QUESTION_THREADS
            return len(self._busy) < self._settings.operation_threads

    def _claim(self, key: int, lane: int | None) -> None:
        assert self.tools is not None
        with self._db.write() as conn:
            entry = journal.claim(conn, self._seal, key, lane, self.tools.epoch)
        if entry is None:
            return
        slots, pool = (self._asked, self._questions) if lane is None else (self._busy, self._operations)
        with self._lock:
            slots.add(key)

        def ended(_future: Future[None]) -> None:
            with self._lock:
                slots.discard(key)

        pool.submit(runner.run, self.tools, entry).add_done_callback(ended)

    # --- keeping ---

    def _keep(self) -> None:
        assert self.tools is not None
        last_sweep = time.monotonic()
        while not self._stopping.wait(self._settings.heartbeat_interval):
            try:
                with self._db.write() as conn:
                    alive = _beat(conn, self._host, self.tools.epoch)
                if not alive:
                    LOG.error("host %s was taken over by another compute service; stopping", self._host)
                    self.stop()
                    return
                if time.monotonic() - last_sweep > sweeps.INTERVAL:
                    last_sweep = time.monotonic()
                    sweeps.run(self.tools)
            except Exception:
                LOG.exception("heartbeat or sweep failed; trying again")

    def _on_event(self, event: Event) -> None:
        assert self.tools is not None
        try:
            reconcile.one(self.tools, event.uuid)
        except Exception:
            LOG.exception("event of %s was not handled; the next sweep will", event.uuid)


def _register(conn: Connection, settings: Settings, name: str, info: HostInfo | None) -> int:
    """Write the host's row anew; its next epoch."""
    moment = clock.now()
    values = {
        "started_at": moment,
        "last_seen_at": moment,
        "cpu_allocation_ratio": settings.cpu_allocation_ratio,
        "ram_allocation_ratio": settings.ram_allocation_ratio,
        "disk_allocation_ratio": settings.disk_allocation_ratio,
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
