# SPDX-License-Identifier: Apache-2.0
"""The processes of the chaos test. `files` is where they write what was accepted and which calls hypervisors got."""

from __future__ import annotations

import os
import random
import signal
import time
import uuid
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from computeapi import app, errors, lifecycle, logs
from computeapi.compute.service import ComputeService
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Action, Server
from computeapi.db.queries import servers
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.virt import load
from tests.journal.starts import Images

ACTIONS = ("stop", "start", "pause", "unpause", "suspend", "resume", "reboot_hard", "stop", "start")
PROJECT, USER = "c" * 32, "d" * 32


def append(path: str, line: str) -> None:
    """Add a line at once: several processes write the same file, and any may be killed."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(handle, line.encode() + b"\n")
    os.close(handle)


class Watched:
    """A hypervisor whose calls about a guest are written down when they begin and when they end."""

    _CALLS = ("define", "undefine", "start", "power_off", "pause", "unpause", "suspend", "shutdown")

    def __init__(self, driver: Any, path: str) -> None:
        self._driver, self._path = driver, path

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._driver, name)
        if name not in self._CALLS:
            return method

        def call(what: Any) -> Any:
            guest = getattr(what, "uuid", what)
            append(self._path, f"begin {os.getpid()} {guest} {name}")
            try:
                return method(what)
            finally:
                append(self._path, f"end {os.getpid()} {guest} {name}")

        return call


def compute(settings: Settings, files: dict[str, str]) -> None:
    """A host's compute service, until it is told to end or killed."""
    driver: Any = Watched(
        load("simulator", uri="", virt_type="", state_dir=settings.state_path, host=settings.host_name), files["calls"]
    )
    images: Any = Images()
    db = Database(settings.database_url)
    service = ComputeService(settings, db, driver, images, Seal(settings.secret("journal")))
    signal.signal(signal.SIGTERM, lambda *_: service.stop())
    service.run()


def api(settings: Settings, files: dict[str, str]) -> None:
    """What API workers do all the time: accept actions on servers picked at random."""
    dice = random.Random(os.getpid())
    images: Any = Images()
    services = app.make_services(settings, images=images)
    while not Path(files["stop"]).exists():
        context = Context(f"req-{uuid.uuid4()}", USER, PROJECT, frozenset({"member", "reader"}))
        with services.db.read() as conn:
            listed = conn.execute(select(Server.uuid).where(Server.deleted == 0)).scalars().all()
        server_id = dice.choice(list(listed))
        name = "delete" if dice.random() < 0.02 and len(listed) > 6 else dice.choice(ACTIONS)
        try:
            with services.db.write() as conn:
                server = servers.get(conn, server_id, PROJECT)
                if server is None:
                    continue
                lifecycle.begin(conn, services, context, server, name)
                key = conn.execute(
                    select(func.max(Action.id)).where(Action.server_id == server.id, Action.hidden == 0)
                ).scalar()
        except errors.Error:
            time.sleep(0.01)
            continue
        append(files["accepted"], f"{key} {server_id} {name}")


def run(part: str, settings: Settings, files: dict[str, str]) -> None:
    """A process of that part ("api" or "compute")."""
    with open(files["log"], "ab") as log:
        os.dup2(log.fileno(), 2)
    logs.configure()
    {"api": api, "compute": compute}[part](settings, files)
