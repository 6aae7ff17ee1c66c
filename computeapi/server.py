# SPDX-License-Identifier: Apache-2.0
"""`computeapi api`: the application under gunicorn. etc/gunicorn.conf.py does the same for `gunicorn` by hand."""

from __future__ import annotations

import logging
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from computeapi import logs
from computeapi.app import check_policy, from_settings
from computeapi.patience import PatientWorker
from computeapi.settings import Settings, load

LOG = logging.getLogger("computeapi.api")

_METRICS_DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"


class ServerLogger(Logger):
    """What gunicorn itself says goes where all else goes, in the same form."""

    def setup(self, cfg: Config) -> None:
        """At the start and at each reload."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Server(BaseApplication):
    def __init__(self, settings: Settings) -> None:
        self.settings, self._started = settings, False
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's own options; at a reload by the settings as they are then."""
        if self._started:
            self._read_again()
        self._started, settings = True, self.settings
        for name, value in {
            "bind": [address for address in (settings.listen, settings.api_metrics_listen) if address],
            "workers": settings.workers or 2 * (os.cpu_count() or 1),
            "threads": settings.threads,
            "worker_class": PatientWorker,
            "proc_name": "computeapi-api",
            "graceful_timeout": 30,
            "timeout": 120,
            "keepalive": 30,
            "control_socket_disable": True,
            "logger_class": ServerLogger,
        }.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)
        PatientWorker.seconds = settings.client_timeout
        self.cfg.set("post_fork", _post_fork)
        self.cfg.set("child_exit", child_exit)

    def _read_again(self) -> None:
        """What can't be read changes nothing: the workers that run are worth more."""
        try:
            settings = load()
        except Exception:
            LOG.exception("the settings can't be read; those from before stay in force")
        else:
            # A worker counts where the first ones did; so turning metrics on or off takes a restart.
            self.settings = replace(settings, api_metrics_listen=self.settings.api_metrics_listen)
            logs.configure(settings.debug, settings.log_format, settings.log_file("api"))

    def load(self) -> Any:
        """Called in each worker, after the fork: database connections must not be shared."""
        return from_settings(self.settings)


def _post_fork(arbiter: Any, _worker: Any) -> None:
    settings = arbiter.app.settings
    logs.configure(settings.debug, settings.log_format, settings.log_file("api"))


def prepare_metrics(settings: Settings) -> None:
    """Before any worker is there: say where they count, if the metrics are on."""
    if settings.api_metrics_listen:
        directory = settings.state_path / "metrics"
        os.environ[_METRICS_DIRECTORY] = str(directory)
        from computeapi import metrics

        metrics.prepare(directory)


def child_exit(_arbiter: Any, worker: Any) -> None:
    """What a worker counted outlives it."""
    if os.environ.get(_METRICS_DIRECTORY):
        from computeapi import metrics

        metrics.retire(Path(os.environ[_METRICS_DIRECTORY]), worker.pid)


def serve(settings: Settings) -> None:
    """Run until told to end. Raises Conflict where the policy can't be read: each worker would end by that."""
    check_policy(settings)
    prepare_metrics(settings)
    _Server(settings).run()
