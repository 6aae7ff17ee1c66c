# SPDX-License-Identifier: Apache-2.0
"""`computeapi db`: the schema, and what is old."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any

from computeapi.cli.common import command, group, made_database, open_database, ready_database, say
from computeapi.settings import Settings

_PURGE = """Deleted servers with all that hangs on them, finished actions, ended migrations, rows of deleted images,
audits: what ended longer than AGE ago. In small batches, while everything runs; usage reports and action logs of the
time before know less afterwards. By itself: [database] retention_days.

  computeapi db purge --older-than 90d
"""
_DB = """  computeapi db check                       is the schema this code's?
  computeapi backup /backup/before && computeapi db upgrade
  computeapi db purge --older-than 90d
"""
_UNITS = {"h": 3600, "d": 86_400, "w": 7 * 86_400}
_OLDEST = 100 * 365 * 86_400
_PAUSE = 0.02  # seconds between batches, for those who wait


def age(text: str) -> float:
    """Seconds of "30d", "12h", "4w"."""
    if not re.fullmatch(r"[0-9]{1,6}[hdw]", text):
        raise argparse.ArgumentTypeError(f"{text} is no age: a number and h, d or w, such as 30d")
    seconds = int(text[:-1]) * _UNITS[text[-1]]
    if seconds > _OLDEST:
        raise argparse.ArgumentTypeError(f"{text} is more than a hundred years")
    return seconds


def add(commands: Any) -> None:
    """Add `db`."""
    actions = group(commands, "db", "the database's schema, and what is old in it", epilog=_DB)
    command(actions, "check", _check, "say whether the schema is this code's (exit code 0) or not (1)")
    command(actions, "upgrade", _upgrade, "bring the schema up to this code; several may try at once")
    old = command(actions, "purge", _purge, "delete for good what is over and done", epilog=_PURGE)
    old.add_argument("--older-than", required=True, type=age, metavar="AGE", help="such as 30d, 12h, 4w")
    revision = command(actions, "revision", _revision, "write a migration for what the models have (developers)")
    revision.add_argument("-m", "--message", default="", help="what the new revision is for")


def _check(conf: Settings, _options: argparse.Namespace) -> int:
    from computeapi.db import schema

    have, need = schema.current(made_database(conf)), schema.newest()
    say(f"the database is at revision {have}, this code needs {need}")
    if have != need:
        say(schema.advice(have))
    return int(have != need)


def _upgrade(conf: Settings, _options: argparse.Namespace) -> None:
    from computeapi.db import schema

    say("upgraded" if schema.upgrade(open_database(conf)) else "up to date")


def _purge(conf: Settings, options: argparse.Namespace) -> None:
    from computeapi import clock
    from computeapi.db.queries import purge

    db, before = ready_database(conf), clock.shifted(-options.older_than)
    for name, kind in purge.KINDS.items():
        total = 0
        while True:
            with db.write() as conn:
                db.lock(conn, "purge")
                gone = kind(conn, before, purge.BATCH)
            total += gone
            if gone < purge.BATCH:
                break
            time.sleep(_PAUSE)
        say(f"{total} {name}")


def _revision(conf: Settings, options: argparse.Namespace) -> None:
    from computeapi.db import schema

    schema.revision(open_database(conf), options.message)
