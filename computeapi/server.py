# SPDX-License-Identifier: Apache-2.0
"""`computeapi api`: the application under gunicorn. etc/gunicorn.conf.py does the same for `gunicorn` by hand."""

from __future__ import annotations

import os
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger

from computeapi import logs
from computeapi.app import create_app
from computeapi.settings import Settings


class ServerLogger(Logger):
    """What gunicorn itself says goes where all else goes, in the same form."""

    def setup(self, cfg: Config) -> None:
        """At the start and at each reload."""
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


class _Server(BaseApplication):
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        """gunicorn's own options."""
        settings = self._settings
        for name, value in {
            "bind": settings.listen,
            "workers": settings.workers or 2 * (os.cpu_count() or 1),
            "threads": settings.threads,
            "worker_class": "gthread",
            "proc_name": "computeapi-api",
            "graceful_timeout": 30,
            "timeout": 120,
            "keepalive": 30,
            "control_socket_disable": True,
            "logger_class": ServerLogger,
        }.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)
        self.cfg.set(
            "post_fork",
            lambda _arbiter, _worker: logs.configure(settings.debug, settings.log_format, settings.log_file("api")),
        )

    def load(self) -> Any:
        """Called in each worker, after the fork: database connections must not be shared."""
        return create_app(self._settings)


def serve(settings: Settings) -> None:
    """Run until told to end."""
    _Server(settings).run()
