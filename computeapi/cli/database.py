# SPDX-License-Identifier: Apache-2.0
"""`computeapi db`: the schema, and what is old."""

from __future__ import annotations

import argparse
from typing import Any

from computeapi.cli.common import command, group, open_database, say
from computeapi.settings import Settings


def add(commands: Any) -> None:
    """Add `db`."""
    actions = group(commands, "db", "the database's schema, and what is old in it")
    command(actions, "check", _check, "say whether the schema is this code's (exit code 0) or not (1)")
    command(actions, "upgrade", _upgrade, "bring the schema up to this code; several may try at once")
    revision = command(actions, "revision", _revision, "write a migration for what the models have (developers)")
    revision.add_argument("-m", "--message", default="", help="what the new revision is for")


def _check(conf: Settings, _options: argparse.Namespace) -> int:
    from computeapi.db import schema

    have, need = schema.current(open_database(conf)), schema.newest()
    say(f"the database is at revision {have}, this code needs {need}")
    return int(have != need)


def _upgrade(conf: Settings, _options: argparse.Namespace) -> None:
    from computeapi.db import schema

    say("upgraded" if schema.upgrade(open_database(conf)) else "up to date")


def _revision(conf: Settings, options: argparse.Namespace) -> None:
    from computeapi.db import schema

    schema.revision(open_database(conf), options.message)
