# SPDX-License-Identifier: Apache-2.0
"""The API under gunicorn started by hand, with the same options as `computeapi api`:

    gunicorn --config etc/gunicorn.conf.py

Copy it and change what you like: everything that gunicorn's documentation names may stand here. The address, workers
and threads come from computeapi's settings ($COMPUTEAPI_CONF, or computeapi.conf in the state directory).
"""

import os

from computeapi import logs, patience, server, settings

_settings = settings.load()

wsgi_app = "computeapi.app:from_settings()"
bind = [address for address in (_settings.listen, _settings.api_metrics_listen) if address]
proc_name = "computeapi-api"

# Threads, so that a question to a host holds up nobody else, for as long as clients are not too slow; two processes a
# core keep it busy.
worker_class = patience.PatientWorker
patience.PatientWorker.seconds = _settings.client_timeout
workers = _settings.workers or 2 * (os.cpu_count() or 1)
threads = _settings.threads

keepalive = 30  # seconds a client's connection is kept; a proxy in front should let go of it sooner
timeout = 120  # seconds until a worker that hangs is killed
graceful_timeout = 30  # seconds that requests have to end when a worker is told to stop
control_socket_disable = True
logger_class = "computeapi.server.ServerLogger"


def post_fork(_arbiter, _worker):  # type: ignore[no-untyped-def]
    """Each worker logs as `computeapi api` does."""
    logs.configure(_settings.debug, _settings.log_format, _settings.log_file("api"))


def on_starting(_arbiter):  # type: ignore[no-untyped-def]
    """Where [metrics] api_metrics_listen is set: a place for the workers to count in."""
    server.prepare_metrics(_settings)


child_exit = server.child_exit
