# SPDX-License-Identifier: Apache-2.0
"""Prometheus metrics, on ports of their own: requests and the cloud as the database has it (api), operations (compute).

The api's workers each count into a file of their own ($PROMETHEUS_MULTIPROC_DIR, which must be set before this module
is imported); whichever worker is asked sums up. What a worker counted that has ended is kept in its master's files.
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from sqlalchemy.exc import SQLAlchemyError

from computeapi import clock
from computeapi.db.engine import Database
from computeapi.db.queries import overview
from computeapi.db.queries.host_faults import KINDS
from computeapi.settings import Settings

LOG = logging.getLogger("computeapi.metrics")

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_OPERATION_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))


class Requests:
    """Counts the API's requests: a few microseconds each."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("service", "method", "route")
        self._count = Counter("computeapi_requests", "Requests answered.", (*labels, "status"), registry=self.registry)
        self._seconds = Histogram(
            "computeapi_request_seconds",
            "How long answers took, in seconds.",
            labels,
            registry=self.registry,
            buckets=_REQUEST_SECONDS,
        )
        self._known: dict[tuple[str, str, str | None, Any], tuple[Counter, Histogram]] = {}

    def seen(self, service: str, method: str, route: str | None, status: Any, seconds: float) -> None:
        """A request was answered. `route` is the template of ROUTES; None where there is none."""
        try:
            count, histogram = self._known[service, method, route, status]
        except KeyError:
            named = (service, method if method in _METHODS else "other", route or "none")
            count, histogram = self._count.labels(*named, str(status)[:3]), self._seconds.labels(*named)
            if method in _METHODS:
                self._known[service, method, route, status] = count, histogram
        count.inc()
        histogram.observe(seconds)


class Operations:
    """Counts what a compute service does."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._count = Counter(
            "computeapi_operations",
            "Operations that ended: finished, failed, cancelled, or left to be tried again.",
            ("operation", "result"),
            registry=self.registry,
        )
        self._seconds = Histogram(
            "computeapi_operation_seconds",
            "How long they took, in seconds.",
            ("operation",),
            registry=self.registry,
            buckets=_OPERATION_SECONDS,
        )

    def ended(self, operation: str, result: str, seconds: float) -> None:
        """An operation ended."""
        self._count.labels(operation, result).inc()
        self._seconds.labels(operation).observe(seconds)

    def listen(self, address: str) -> Callable[[], None]:
        """Answer scrapes at address:port, in a thread; what ends it."""
        host, _, port = address.rpartition(":")
        server, thread = start_http_server(int(port), host.strip("[]"), self.registry)

        def stop() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return stop


class Cloud:
    """The cloud's figures, asked of the database at each scrape. With several API nodes each says the same."""

    def __init__(self, settings: Settings, db: Database) -> None:
        self._settings, self._db = settings, db

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """For a registry."""
        up = GaugeMetricFamily("computeapi_database_up", "1 where the database answers.")
        try:
            with self._db.snapshot() as conn:
                depths = overview.depths(conn)
                hosts = overview.hosts(conn, self._settings)
                servers = overview.servers(conn)
        except SQLAlchemyError as error:
            LOG.warning("the database does not answer: %s", type(error).__name__)
            up.add_metric([], 0)
            yield up
            return
        up.add_metric([], 1)
        yield up
        yield from _journal(depths)
        yield from _hosts(hosts)
        yield _gauge("computeapi_servers", "Servers.", ("state",), [((state,), number) for state, number in servers])


def _gauge(name: str, text: str, labels: Iterable[str], rows: Iterable[tuple[Any, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    for values, number in rows:
        family.add_metric(list(values), number)
    return family


def _journal(depths: list[overview.Depth]) -> Iterator[GaugeMetricFamily]:
    now = clock.parse(clock.now())
    labels = ("host", "state")
    depth = [((row.host, row.state), row.number) for row in depths]
    yield _gauge("computeapi_journal_actions", "Actions that are not done.", labels, depth)
    ages = [((row.host, row.state), (now - clock.parse(row.oldest)).total_seconds()) for row in depths]
    yield _gauge("computeapi_journal_oldest_seconds", "How long ago the oldest of them was asked for.", labels, ages)


def _hosts(hosts: list[overview.HostUse]) -> Iterator[GaugeMetricFamily]:
    one = ("host",)
    up = [((row.name,), row.up) for row in hosts]
    yield _gauge("computeapi_host_up", "1 where the compute service says that it lives.", one, up)
    enabled = [((row.name,), not row.disabled) for row in hosts]
    yield _gauge("computeapi_host_enabled", "1 where new servers may come.", one, enabled)
    faults = [((row.name, kind), len(row.faults.get(kind, ()))) for row in hosts for kind in KINDS]
    yield _gauge("computeapi_host_faults", "What the host can't make as it shall be.", ("host", "kind"), faults)
    two = ("host", "resource")
    mib, gib = 2**20, 2**30
    has, used = [], []
    for row in hosts:
        has += [((row.name, "vcpus"), row.vcpus), ((row.name, "memory_bytes"), row.memory_mb * mib)]
        has.append(((row.name, "disk_bytes"), row.disk_gb * gib))
        used += [((row.name, "vcpus"), row.vcpus_used), ((row.name, "memory_bytes"), row.memory_mb_used * mib)]
        used.append(((row.name, "disk_bytes"), row.disk_gb_used * gib))
    yield _gauge("computeapi_host_capacity", "What the host has, before ratios.", two, has)
    yield _gauge("computeapi_host_used", "What servers take of it.", two, used)


class Port:
    """A WSGI application: /metrics where the request came in at that port, else the application behind it."""

    def __init__(self, behind: Any, settings: Settings, requests: Requests) -> None:
        self._behind = behind
        self._port = settings.api_metrics_listen.rpartition(":")[2]
        told = os.environ.get(DIRECTORY)
        self._directory = Path(told) if told else None
        if told:
            self._registry = CollectorRegistry()
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        else:
            self._registry = requests.registry
        self._registry.register(Cloud(settings, Database(settings.database_url, pool_size=1)))

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer."""
        if environ["SERVER_PORT"] != self._port or not self._came_in_there(environ):
            return self._behind(environ, start_response)
        if environ["PATH_INFO"] != "/metrics" or environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
            return []
        with _alone(self._directory) if self._directory else nullcontext():
            text = generate_latest(self._registry)
        start_response("200 OK", [("Content-Type", CONTENT_TYPE_LATEST), ("Content-Length", str(len(text)))])
        return [text] if environ["REQUEST_METHOD"] == "GET" else []

    def _came_in_there(self, environ: dict[str, Any]) -> bool:
        """A server may have taken SERVER_PORT from the Host header; the socket knows."""
        sock = environ.get("gunicorn.socket")
        return sock is None or str(sock.getsockname()[1]) == self._port


# --- the workers' files ---


def prepare(directory: Path) -> None:
    """At the start: what processes counted that are no more is forgotten. A master that hands over goes on counting."""
    directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    for path in directory.glob("*_*.db"):
        pid = path.stem.rpartition("_")[2]
        if not Path("/proc", pid).exists():
            path.unlink(missing_ok=True)


def retire(directory: Path, pid: int) -> None:
    """A worker has ended: what it counted is the master's (this process's) from now on, and its files go."""
    counts: Any = MmapedDict  # has no annotations
    with _alone(directory):
        for path in directory.glob(f"*_{pid}.db"):
            kind = path.stem.rpartition("_")[0]
            kept = counts(str(path.with_name(f"{kind}_{os.getpid()}.db")))
            try:
                for key, value, moment, _position in counts.read_all_values_from_file(str(path)):
                    kept.write_value(key, kept.read_value(key)[0] + value, moment)
            finally:
                kept.close()
            path.unlink()


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Nobody sums up while files are put together: neither twice nor not at all would be right."""
    with (directory / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
