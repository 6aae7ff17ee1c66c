# SPDX-License-Identifier: Apache-2.0
"""`computeapi status`: what runs, what is stuck and why, and what to do about it."""

from __future__ import annotations

import argparse
import json
import shutil
import urllib.error
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from sqlalchemy.exc import SQLAlchemyError

from computeapi import clock
from computeapi.cli.common import ask, command, database_exists, open_database
from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.db.queries import overview
from computeapi.db.queries.host_faults import FIREWALL, NETWORKS
from computeapi.db.queries.overview import Depth, HostUse, OpenAction
from computeapi.settings import Settings

_LONG = 60  # seconds after which work is looked at
_TOO_LONG = 900  # seconds that a step may take before it is a problem
_MOST = 20  # of each kind are told
_RECENT = 86_400  # seconds that a move which failed is told
_LEAST_FREE = 2**30  # bytes of disk

_MEND_FAULT = {
    FIREWALL: "Take what is in the way off the host, or mend nftables there; it is tried again every 30 seconds. "
    "docs/troubleshooting.md has the cases.",
    NETWORKS: "See what it says: virsh net-list --all on the host; it is tried again every 30 seconds.",
}

_EPILOG = """exit code: 0 all is well, 1 there are problems, 2 the database can't be read

  computeapi status            for people
  computeapi status --json     for programs
"""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, why as far as it is known, and what to do."""

    what: str
    do: str


@dataclass(slots=True)
class Report:
    """`facts` are (what, how it is); `notes` are worth a look and no problem of the cloud's."""

    facts: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    readable: bool = True

    @property
    def code(self) -> int:
        """The exit code."""
        return 2 if not self.readable else int(bool(self.problems))


def add(commands: Any) -> None:
    """Add `status`."""
    parser = command(commands, "status", _status, "what runs, what is stuck and why, what to do", epilog=_EPILOG)
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def _status(conf: Settings, options: argparse.Namespace) -> int:
    report = look(conf)
    if options.json:
        shown = {"ok": report.code == 0, "facts": dict(report.facts), "notes": report.notes}
        print(json.dumps({**shown, "problems": [asdict(problem) for problem in report.problems]}, indent=2))
        return report.code
    for what, how in report.facts:
        print(f"{what:<10} {how}")
    for problem in report.problems:
        print(f"\nPROBLEM    {problem.what}\n       do: {problem.do}")
    for note in report.notes:
        print(f"\nnote       {note}")
    print("\nAll is well." if report.code == 0 else f"\n{len(report.problems)} problems.")
    return report.code


def look(conf: Settings) -> Report:
    """How the cloud is."""
    report = Report()
    _look_at_api(conf, report)
    _look_at_disk(conf, report)
    if not database_exists(conf):
        report.readable = False
        report.problems.append(
            Problem("There is no database.", "Set COMPUTEAPI_STATE_DIR, or [database] connection, or: computeapi init")
        )
        return report
    try:
        _look_at_database(conf, open_database(conf), report)
    except SQLAlchemyError as error:
        report.readable = False
        reason = str(getattr(error, "orig", error)).splitlines()[0]
        report.facts.append(("database", "does not answer"))
        report.problems.append(
            Problem(f"The database does not answer: {reason}", "Start it, or see [database] connection.")
        )
    return report


def _look_at_api(conf: Settings, report: Report) -> None:
    url = (conf.public_url or f"http://{conf.listen}").rstrip("/")
    try:
        ask(f"{url}/healthcheck/ready", 10)
        report.facts.append(("API", f"{url} answers"))
    except urllib.error.HTTPError as error:
        report.facts.append(("API", f"{url} answers {error.code}"))
        report.problems.append(Problem(f"The API at {url} is not ready ({error.code}).", "Its log says why."))
    except OSError as error:
        why = getattr(error, "reason", error)
        report.facts.append(("API", f"{url} does not answer"))
        report.problems.append(
            Problem(
                f"The API does not answer at {url}: {why}",
                "Start it: systemctl start computeapi (or computeapi-api); its log says why it ended.",
            )
        )


def _look_at_disk(conf: Settings, report: Report) -> None:
    if not conf.state_path.exists():
        return  # then there is no database either, or the keys are not here
    free, total = shutil.disk_usage(conf.state_path).free, shutil.disk_usage(conf.state_path).total
    report.facts.append(("state", f"{conf.state_path}, {free // 2**20} MiB free"))
    if free < min(_LEAST_FREE, total // 20):
        report.problems.append(
            Problem(
                f"Only {free // 2**20} MiB are free in {conf.state_path}.",
                "Delete images or servers, move the directory; computeapi db purge --older-than 30d",
            )
        )


def _look_at_database(conf: Settings, db: Database, report: Report) -> None:
    have, need = schema.current(db), schema.newest()
    report.facts.append(("database", f"{'SQLite' if db.is_sqlite else db.engine.name}, revision {have}"))
    if have != need:
        report.readable = False
        report.problems.append(
            Problem(f"The database is at revision {have}, this code needs {need}.", schema.advice(have))
        )
        return
    with db.snapshot() as conn:
        hosts = overview.hosts(conn, conf)
        depths = overview.depths(conn)
        servers = overview.servers(conn)
        late = overview.old_work(conn, clock.shifted(-_LONG), _MOST)
        faulty = overview.faulty(conn, 5)
        moves = overview.failed_moves(conn, clock.shifted(-_RECENT), 5)
    _tell_hosts(hosts, depths, report)
    counted = ", ".join(f"{number} {state}" for state, number in servers)
    report.facts.append(("servers", counted or "none"))
    waits = ", ".join(f"{row.number} {row.state} on {row.host}" for row in depths)
    report.facts.append(("open work", waits or "none"))
    down = {row.name for row in hosts if not row.up}
    _tell_work(conf, [row for row in late if row.host not in down], {row.name for row in hosts}, report)
    for row in faulty:
        fault = orjson.loads(row.fault_json or "{}").get("message", "no reason is known")
        report.notes.append(f"server {row.uuid} ({row.name}) is in ERROR since {_ago(row.updated_at)}: {fault}")
    for move in moves:
        what = f"{move.kind} of server {move.server} from {move.source or 'nowhere'} to {move.destination or 'no host'}"
        when = f"failed {_ago(move.updated_at)} ago"
        report.notes.append(f"{what} {when}; why: openstack server event list {move.server}")


def _tell_hosts(hosts: list[HostUse], depths: list[Depth], report: Report) -> None:
    if not hosts:
        report.problems.append(
            Problem("There is no compute host.", "Start a compute service: systemctl start computeapi-compute")
        )
    for row in hosts:
        state = "up" if row.up else "DOWN"
        if row.disabled:
            state += ", disabled" + (f" ({row.disabled_reason})" if row.disabled_reason else "")
        use = f"CPUs {row.vcpus_used}/{row.vcpus}, memory {row.memory_mb_used}/{row.memory_mb} MiB"
        use += f", disk {row.disk_gb_used}/{row.disk_gb} GiB"
        report.facts.append(("host", f"{row.name}: {state}; {row.servers} servers; {use}"))
        _tell_faults(row, report)
        if row.up:
            continue
        waiting = sum(depth.number for depth in depths if depth.host == row.name)
        forced = "was forced down" if row.forced_down else f"has been silent for {_ago(row.last_seen_at)}"
        report.problems.append(
            Problem(
                f"Host {row.name} {forced}; {row.servers} servers are on it, {waiting} actions wait for it.",
                f"Start its compute service there: systemctl start computeapi-compute. If {row.name} is lost: delete "
                f"or evacuate its servers, then computeapi host forget {row.name}",
            )
        )


def _tell_faults(row: HostUse, report: Report) -> None:
    """What the host can't make as it shall be; of one that is down it is what it said last."""
    for kind, faults in sorted(row.faults.items()):
        for fault in faults[:_MOST]:
            what = f"{fault['what']} on host {row.name}, since {_ago(fault['since'])}: {fault['why']}"
            report.problems.append(Problem(what, _MEND_FAULT.get(kind, "Its compute service's log says more.")))
        if len(faults) > _MOST:
            report.notes.append(f"{len(faults) - _MOST} more such faults on host {row.name}")


def _tell_work(conf: Settings, late: list[OpenAction], hosts: set[str], report: Report) -> None:
    """Work of hosts that are up, and of those that are not there."""
    running = {row.server for row in late if row.state == "running"}
    for row in late:
        what = f"{row.name} of server {row.server} on {row.host}, asked for {_ago(row.created_at)} ago"
        again = f"it was tried {row.attempt} times, last: {row.message}" if row.attempt else ""
        see = f"openstack server event show {row.server} {row.request_id}"
        if row.host not in hosts:
            report.problems.append(
                Problem(f"{what}: there is no host {row.host}.", "Start a compute service of that name again.")
            )
        elif row.state == "running" and row.step_since and _seconds(row.step_since) > _TOO_LONG:
            report.problems.append(Problem(f"{what}: at {row.step} for {_ago(row.step_since)}. {again}".strip(), see))
        elif row.attempt:
            report.problems.append(
                Problem(
                    f"{what}: {again}",
                    f"Mend what it says; it is tried {conf.max_attempts} times, then undone. {see}",
                )
            )
        elif row.state == "running":
            report.notes.append(f"{what}: at {row.step}" + (f" for {_ago(row.step_since)}" if row.step_since else ""))
        elif row.server in running:
            report.notes.append(f"{what}: waits for what is under way on the same server")
        else:
            report.problems.append(
                Problem(
                    f"{what}: its compute service lives and does not take it up.",
                    f"All its threads may be busy ([compute] operation_threads = {conf.operation_threads}); its log "
                    "says more. A restart of the compute service loses nothing.",
                )
            )


def _seconds(moment: str) -> float:
    return (clock.parse(clock.now()) - clock.parse(moment)).total_seconds()


def _ago(moment: str) -> str:
    seconds = int(_seconds(moment))
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
