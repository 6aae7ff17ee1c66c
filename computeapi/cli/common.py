# SPDX-License-Identifier: Apache-2.0
"""What subcommands share: how one is added, how it speaks, how it finds the database."""

from __future__ import annotations

import argparse
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from sqlalchemy.engine import make_url

from computeapi.settings import Settings

Run = Callable[[Settings, argparse.Namespace], int | None]


def command(commands: Any, name: str, run: Run | None, text: str, *, epilog: str = "") -> argparse.ArgumentParser:
    """A subcommand. `run` gets the settings and the options, and returns the exit code (None: 0)."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def group(commands: Any, name: str, text: str, *, epilog: str = "") -> Any:
    """A subcommand that has subcommands of its own: what they are added to."""
    return command(commands, name, None, text, epilog=epilog).add_subparsers(metavar="action", required=True)


def say(text: str) -> None:
    """A line for the person at the terminal."""
    print(f"==> {text}", flush=True)


def fail(text: str) -> NoReturn:
    """End the command: what is wrong, and what to do."""
    print(text, file=sys.stderr)
    raise SystemExit(1)


def ask(url: str, seconds: float) -> None:
    """GET a URL of our own API, whatever proxy others are reached through. Raises OSError."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(url, timeout=seconds).close()


def table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns for the person at the terminal."""
    widths = [max(len(row[number]) for row in (titles, *rows)) for number in range(len(titles))]
    for row in (titles, *rows):
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def open_database(conf: Settings) -> Any:
    """The database, whatever its schema."""
    from computeapi.db.engine import Database

    return Database(conf.database_url, conf.sqlite_synchronous)


def database_exists(conf: Settings) -> bool:
    """Whether there is one; to ask SQLite for one that is not there makes it."""
    url = conf.database_url
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).exists()


def ready_database(conf: Settings) -> Any:
    """The database, if its schema is this code's; else the command ends and says what to do."""
    from computeapi.db import schema

    db = made_database(conf)
    have, need = schema.current(db), schema.newest()
    if have != need:
        fail(f"The database is at revision {have}, this code needs {need}. {schema.advice(have)}")
    return db


def made_database(conf: Settings) -> Any:
    """The database, whatever its schema; without one the command ends and says what to do."""
    from computeapi.db import schema

    db = open_database(conf) if database_exists(conf) else None
    if db is None or schema.current(db) is None:
        url = make_url(conf.database_url).render_as_string()  # without the password
        fail(f"There is no cloud in the database {url}. Set COMPUTEAPI_STATE_DIR, or make one: computeapi init")
    return db


def load_driver(conf: Settings) -> Any:
    """The hypervisor of this host."""
    from computeapi.virt import load

    of_libvirt = {
        "network_namespace": conf.network_namespace,
        "spice": conf.spice,
        "migration_uri": conf.migration_uri,
        "inbound_address": conf.live_migration_inbound_addr,
        "may_be_shared": bool(conf.instances_path),
    }
    return load(
        conf.hypervisor,
        uri=conf.connection_uri,
        virt_type=conf.virt_type,
        state_dir=conf.instances_dir,
        host=conf.host_name,
        volume_directory=conf.volume_directory,
        **(of_libvirt if conf.hypervisor == "libvirt" else {}),
    )
