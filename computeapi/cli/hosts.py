# SPDX-License-Identifier: Apache-2.0
"""`computeapi host`: what `openstack compute service …` does, where no API answers."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from computeapi import errors
from computeapi.cli.common import command, group, ready_database, say, table
from computeapi.db.queries import overview, services
from computeapi.settings import Settings

_EPILOG = """  computeapi host disable host2 --reason "new memory"     no new servers come
  openstack server migrate --live-migration SERVER        those that are there leave
  computeapi host enable host2
"""


def add(commands: Any) -> None:
    """Add `host`."""
    actions = group(commands, "host", "compute hosts: what they have, whether new servers may come", epilog=_EPILOG)
    command(actions, "list", _list, "every host, whether it lives, and what is taken of it")
    disable = command(actions, "disable", _disable, "no new servers come to a host; those on it stay")
    disable.add_argument("--reason", help="shown to administrators")
    forget = "delete a host that will not come back; its servers must be gone"
    for parser in (
        disable,
        command(actions, "enable", _enable, "new servers may come again"),
        command(actions, "forget", _forget, forget),
    ):
        parser.add_argument("name", metavar="HOST")


def _list(conf: Settings, _options: argparse.Namespace) -> None:
    with ready_database(conf).read() as conn:
        hosts = overview.hosts(conn, conf)
    rows = [
        (
            row.name,
            "up" if row.up else "down",
            "disabled" if row.disabled else "enabled",
            str(row.servers),
            f"{row.vcpus_used}/{row.vcpus}",
            f"{row.memory_mb_used}/{row.memory_mb}",
            f"{row.disk_gb_used}/{row.disk_gb}",
            row.last_seen_at[:19],
            row.disabled_reason or "",
        )
        for row in hosts
    ]
    table(("host", "state", "status", "servers", "CPUs", "memory MiB", "disk GiB", "last seen", "reason"), rows)


def _disable(conf: Settings, options: argparse.Namespace) -> None:
    _change(conf, options.name, disabled=1, disabled_reason=options.reason)
    say(f"{options.name} gets no new servers")


def _enable(conf: Settings, options: argparse.Namespace) -> None:
    _change(conf, options.name, disabled=0, disabled_reason=None)
    say(f"{options.name} gets new servers")


def _change(conf: Settings, name: str, **columns: Any) -> None:
    with ready_database(conf).write() as conn, _known(name):
        services.change(conn, name, **columns)


def _forget(conf: Settings, options: argparse.Namespace) -> None:
    with ready_database(conf).write() as conn, _known(options.name):
        services.forget(conn, options.name)
    say(f"{options.name} is forgotten")


@contextmanager
def _known(name: str) -> Iterator[None]:
    try:
        yield
    except errors.NotFound:
        raise errors.NotFound(f"There is no host {name}.") from None
