# SPDX-License-Identifier: Apache-2.0
"""`computeapi backup` and `computeapi restore`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from computeapi import backup
from computeapi.cli.common import command, made_database, say
from computeapi.settings import Settings

_BACKUP = """While everything runs. In the directory: the database (SQLite's; for PostgreSQL it tells the pg_dump that
belongs to it), the keys, the images, the settings and clouds.yaml. Not in it: servers' disks and volumes.

  computeapi backup /backup/$(date +%F)
"""
_RESTORE = """Into a state directory without a database, where nothing runs; guests go on all the time. Afterwards start
the services and see what has changed since: computeapi reconcile --dry-run

  systemctl stop computeapi
  mv /var/lib/computeapi/computeapi.db* /somewhere/
  computeapi restore /backup/2026-11-28
  systemctl start computeapi
"""


def add(commands: Any) -> None:
    """Add `backup` and `restore`."""
    saving = command(commands, "backup", _backup, "copy the cloud into a new directory", epilog=_BACKUP)
    saving.add_argument("directory", type=Path, help="it must not exist")
    loading = command(commands, "restore", _restore, "put a backup back", epilog=_RESTORE)
    loading.set_defaults(makes_settings=True)
    loading.add_argument("directory", type=Path, help="what `computeapi backup` made")


def _backup(conf: Settings, options: argparse.Namespace) -> None:
    made_database(conf).close()
    backup.save(conf, options.directory.absolute(), say)


def _restore(conf: Settings, options: argparse.Namespace) -> None:
    backup.load(options.directory.absolute(), say, conf)
