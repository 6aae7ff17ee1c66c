# SPDX-License-Identifier: Apache-2.0
"""Measures the API as users run it (gunicorn, its workers and threads), and beside it the limit of the stack."""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from computeapi import settings as conf
from computeapi.db.engine import Database
from tools.bench import data, load, postgresql
from tools.bench.data import Cloud
from tools.bench.process import children, cpu_ms, free_port, running, wait_for
from tools.bench.scenarios import SCENARIOS, Scenario, turns

_ROOT = Path(__file__).resolve().parents[2]
_WARM_UP = 200  # turns, at most a second
_HELP = """
Ours is `computeapi api` with its compute service on the simulator; bare is tools/bench/bare.py under the same gunicorn.
CPU is what the workers used (user and system, from /proc). Where other programs keep the cores busy it is up to twice
as much, and req/s a fraction; the ratio of ours to bare hardly changes. Everything is in a directory below the system's
temporary one, and gone at the end. The aim is ours; Nova's figures are for comparison, from another machine.
"""
_OPTIONS = """[quota]
quota_instances = -1
quota_cores = -1
quota_ram = -1
quota_fixed_ips = -1

[api]
workers = {workers}

[compute]
hypervisor = simulator

[database]
connection = {connection}
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one scenario: turns a second, and CPU milliseconds of the workers a turn. Or what went wrong."""

    rate: float = 0.0
    cpu: float = 0.0
    turns: int = 0
    error: str = ""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table; 1 where something could not be measured."""
    options = _parser().parse_args(argv)
    chosen = [row for row in SCENARIOS if not options.only or re.search(options.only, row.name)]
    engines = ["sqlite", "postgresql"] if options.database == "both" else [options.database]
    if "postgresql" in engines and postgresql.programs() is None:
        if options.database == "postgresql":
            print("PostgreSQL is not installed (no initdb)", file=sys.stderr)
            return 1
        engines.remove("postgresql")
    tables, failed = [], False
    for engine in engines:
        results = _measure(engine, chosen, options)
        tables.append(_table(engine, chosen, results, options))
        failed = failed or any(figures.error for pair in results for figures in pair)
        print("\n" + tables[-1], flush=True)
    if options.output:
        options.output.write_text("\n".join(tables))
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/bench/run", description=__doc__, epilog=_HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--database", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--only", metavar="REGEX", default="", help="scenarios whose name has this")
    parser.add_argument("--rounds", type=int, default=3, help="the best of as many counts (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.5, help="the most a round takes (default %(default)s)")
    parser.add_argument("--servers", type=int, default=data.SERVERS, help="in the cloud (default %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="connections at once (default %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="API workers (default: as installed, two a core)")
    parser.add_argument("--no-bare", action="store_true", help="leave the limit of the stack out")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the tables there as well")
    return parser


def _measure(engine: str, chosen: Sequence[Scenario], options: argparse.Namespace) -> list[tuple[Figures, Figures]]:
    _say(f"{engine}: {options.servers} servers are written")
    with tempfile.TemporaryDirectory(prefix="computeapi-bench-") as name, ExitStack() as stack:
        directory = Path(name)
        directory.chmod(0o755)  # PostgreSQL runs as another user
        url = ""
        if engine == "postgresql":
            url = stack.enter_context(postgresql.cluster(directory / "postgresql", durable=True))
        state = directory / "state"
        (state / "simulator").mkdir(parents=True)
        (state / "simulator" / "options.json").write_text('{"vcpus": 10000, "memory_mb": 40000000, "disk_gb": 4000000}')
        (state / "computeapi.conf").write_text(_OPTIONS.format(workers=options.workers, connection=url))
        environment = {"COMPUTEAPI_STATE_DIR": str(state), "PYTHONPATH": str(_ROOT)}
        settings = conf.load([str(state / "computeapi.conf")], environment)
        db = Database(settings.database_url)
        cloud = data.fill(settings, db, options.servers)
        db.close()
        ours = stack.enter_context(_server(["-m", "computeapi", "api"], environment, directory / "api.log"))
        compute = [sys.executable, "-m", "computeapi", "compute"]
        stack.enter_context(running(compute, environment, directory / "compute.log"))
        bare = None
        if not options.no_bare:
            create = f"tools.bench.bare:create({cloud.project_id!r}, {cloud.user_id!r})"
            command = ["-m", "gunicorn", "--config", str(_ROOT / "etc" / "gunicorn.conf.py"), create]
            bare = stack.enter_context(_server(command, environment, directory / "bare.log"))
            _compare(cloud, ours, bare, chosen)
        time.sleep(2.0)  # the compute service has taken its host over
        results = []
        for row in chosen:
            _say(f"{engine}: {row.name}")
            rounds = [
                (_scenario(row, cloud, ours, options), _scenario(row, cloud, bare, options) if bare else Figures())
                for _ in range(options.rounds)
            ]
            results.append((_best([pair[0] for pair in rounds]), _best([pair[1] for pair in rounds])))
        return results


def _best(rounds: Sequence[Figures]) -> Figures:
    """The least CPU and the most turns a second; an error where there was one."""
    for figures in rounds:
        if figures.error:
            _say(f"  {figures.error}")
            return figures
    return Figures(max(each.rate for each in rounds), min(each.cpu for each in rounds), rounds[0].turns)


@dataclass(frozen=True, slots=True)
class _Server:
    address: tuple[str, int]
    master: int


@contextmanager
def _server(command: list[str], environment: dict[str, str], log: Path) -> Iterator[_Server]:
    address = ("127.0.0.1", free_port())
    environment = {**environment, "COMPUTEAPI_LISTEN": f"{address[0]}:{address[1]}"}
    with running([sys.executable, *command], environment, log) as process:
        wait_for(process, address, log)
        yield _Server(address, process.pid)


def _scenario(row: Scenario, cloud: Cloud, server: _Server, options: argparse.Namespace) -> Figures:
    make = turns(row, cloud, server.address)
    warm_up = min(_WARM_UP, row.most // 4)
    first = load.run(server.address, make, most=warm_up, seconds=min(1.0, options.seconds), clients=2 * options.clients)
    if first.unexpected:
        return Figures(error=_short(first.unexpected[0]))
    workers = children(server.master)
    before = cpu_ms(workers)
    make = turns(row, cloud, server.address, first=warm_up)
    ran = load.run(server.address, make, most=row.most, seconds=options.seconds, clients=options.clients)
    used = cpu_ms(workers) - before
    if ran.unexpected:
        return Figures(error=_short(ran.unexpected[0]))
    return Figures(ran.turns / ran.seconds, used / ran.turns, ran.turns)


def _short(answer: bytes) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b"\r\n")[0].decode()
    return f"{status} {body[:200].decode(errors='replace')}" if body else status


def _compare(cloud: Cloud, ours: _Server, bare: _Server, chosen: Sequence[Scenario]) -> None:
    """Both must answer the same to every GET, or the comparison is worth nothing."""
    for row in chosen:
        method, path, _body, _status = row.make(cloud, 0)[0]
        if method == "GET":
            one, other = _json(ours, cloud, path), _json(bare, cloud, path)
            if one != other:
                _say(f"WARNING: {row.name}: ours and bare differ: {_difference(one, other)}")


def _json(server: _Server, cloud: Cloud, path: str) -> Any:
    connection = http.client.HTTPConnection(*server.address)
    connection.request("GET", "/v2.1" + path, headers={"X-Auth-Token": cloud.token, "Host": "bench"})
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def _difference(one: Any, other: Any, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() | other.keys():
            if one.get(key) != other.get(key):
                return _difference(one.get(key), other.get(key), f"{where}.{key}")
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            if left != right:
                return _difference(left, right, f"{where}[{number}]")
    return f"{where}: {str(one)[:100]} / {str(other)[:100]}"


def _table(engine: str, chosen: Sequence[Scenario], results: Sequence[tuple[Figures, Figures]], options: Any) -> str:
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"{engine}, {options.servers} servers, a fifth the project's; {options.clients} clients; {cores} cores; "
        f"load {os.getloadavg()[0]:.1f}",
        "",
        "| scenario | req/s | CPU ms | bare req/s | bare CPU ms | ours / bare | aim ms | Nova ms | Nova / ours |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for row, (ours, bare) in zip(chosen, results, strict=True):
        aim = "" if row.aim is None else f"{row.aim:g} {'met' if ours.cpu <= row.aim else 'MISSED'}"
        nova = "" if row.nova is None else f"{row.nova:g}"
        if ours.error:
            cells = [row.name, "—", "—", _rate(bare), _cpu(bare), "", aim.split(" ")[0], nova, ""]
        else:
            ratio = f"{ours.cpu / bare.cpu:.1f}" if bare.cpu else ""
            less = f"{row.nova / ours.cpu:.0f}" if row.nova and ours.cpu else ""
            cells = [row.name, _rate(ours), _cpu(ours), _rate(bare), _cpu(bare), ratio, aim, nova, less]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _rate(figures: Figures) -> str:
    return f"{figures.rate:,.0f}" if figures.turns else "—"


def _cpu(figures: Figures) -> str:
    return f"{figures.cpu:.2f}" if figures.turns else "—"


def _say(text: str) -> None:
    print(f"==> {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
