# SPDX-License-Identifier: Apache-2.0
"""Backup of a cloud while it runs, and its restoring: what must be together, in one directory.

In it: the database (SQLite; of PostgreSQL pg_dump makes the copy), the keys, the images' bytes, the settings and
clouds.yaml. Servers' disks and volumes are not: they are as large as they are, and a copy of a disk in use is none.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from computeapi import __version__, clock, errors, settings
from computeapi.db import schema
from computeapi.db.engine import Database
from computeapi.settings import Settings

Say = Callable[[str], None]

_DATABASE, _KEYS, _IMAGES, _CLOUDS, _CONF, _ABOUT = (
    "computeapi.db",
    "keys",
    "images",
    "clouds.yaml",
    "computeapi.conf",
    "backup.json",
)
_IMAGE = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")  # and no upload that is under way


def save(conf: Settings, target: Path, say: Say) -> None:
    """Copy the cloud into the new directory `target`, which is there only once it is whole. Raises Conflict."""
    if target.exists():
        raise errors.Conflict(f"{target} is there already; name a directory that is not.")
    draft = target.with_name(f"{target.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700, parents=True)
    state = conf.state_path
    _copy_private(state / _KEYS, draft / _KEYS)
    for source, name in ((conf.path, _CONF), (state / _CLOUDS, _CLOUDS)):
        if source.exists():
            _copy_file(source, draft / name)
    # Twice: what the database names was there before it was copied, or came meanwhile.
    _copy_images(state / _IMAGES, draft / _IMAGES)
    if sqlite := _sqlite(conf):
        _copy_sqlite(sqlite, draft / _DATABASE)
    count = _copy_images(state / _IMAGES, draft / _IMAGES)
    database = Database(conf.database_url, conf.sqlite_synchronous)
    revision = schema.current(database)
    database.close()
    about = {"version": __version__, "revision": revision, "host": conf.host_name, "made_at": clock.now()}
    (draft / _ABOUT).write_text(json.dumps(about, indent=2) + "\n")
    draft.rename(target)
    say(f"{target}: {'database, ' if sqlite else ''}keys, settings, {count} images")
    if not sqlite:
        say(f"the database is not SQLite's; beside this: pg_dump --format=custom --file={target}/computeapi.dump …")


def load(source: Path, say: Say, conf: Settings) -> None:
    """Put a backup into the state directory, where no database is and nothing runs. Raises Conflict."""
    if not (source / _ABOUT).exists():
        raise errors.Conflict(f"{source} is no backup: it has no {_ABOUT}.")
    _check_idle(conf.state_path)
    state = conf.state_path
    state.mkdir(parents=True, exist_ok=True)
    kept = conf.path
    if not kept.exists() and (source / _CONF).exists():
        _copy_file(source / _CONF, kept)
        conf = settings.load()
    sqlite = _sqlite(conf)
    if sqlite and sqlite.exists():
        raise errors.Conflict(f"There is a database already: move {sqlite} (and its -wal and -shm) away first.")
    _copy_private(source / _KEYS, state / _KEYS)
    if (source / _CLOUDS).exists() and not (state / _CLOUDS).exists():
        _copy_file(source / _CLOUDS, state / _CLOUDS)
    count = _copy_images(source / _IMAGES, state / _IMAGES)
    if not sqlite:
        say(f"keys, settings and {count} images are back; now pg_restore --dbname=… {source}/computeapi.dump")
        return
    for side in ("-wal", "-shm"):  # of a database that is gone: they would spoil this one
        sqlite.with_name(sqlite.name + side).unlink(missing_ok=True)
    _copy_file(source / _DATABASE, sqlite)
    database = Database(conf.database_url, conf.sqlite_synchronous)
    try:
        if schema.upgrade(database):
            say(f"database upgraded to revision {schema.newest()}")
    finally:
        database.close()
    say(f"{state}: database, keys, settings and {count} images are as they were")


def _sqlite(conf: Settings) -> Path | None:
    url = conf.database_url
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def _check_idle(state: Path) -> None:
    """Whoever runs here goes on with what was, and would spoil what is put back."""
    for path in state.glob("compute-*.lock"):
        with path.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise errors.Conflict(f"A compute service runs (it holds {path}); stop it first.") from None


def _copy_sqlite(source: Path, target: Path) -> None:
    """All of one moment, while others write."""
    target.touch(mode=0o600)
    with closing(sqlite3.connect(source, timeout=30)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
        new.execute("PRAGMA journal_mode=DELETE")  # one file


def _copy_private(source: Path, target: Path) -> None:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in source.iterdir() if source.exists() else ():
        if path.is_file() and not path.name.startswith("."):
            _copy_file(path, target / path.name)


def _copy_images(source: Path, target: Path) -> int:
    """Images that are whole; they never change. How many there are."""
    if not source.exists():
        return 0
    target.mkdir(mode=0o750, parents=True, exist_ok=True)
    count = 0
    for path in source.iterdir():
        copy = target / path.name
        if _IMAGE.fullmatch(path.name):
            count += 1
            if not copy.exists() or copy.stat().st_size != path.stat().st_size:
                try:
                    _copy_file(path, copy)
                except FileNotFoundError:  # deleted meanwhile
                    count -= 1
    return count


def _copy_file(source: Path, target: Path) -> None:
    draft = target.with_name(f".{target.name}.new")
    try:
        draft.touch(mode=0o600)
        shutil.copyfile(source, draft)
        shutil.copystat(source, draft)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
