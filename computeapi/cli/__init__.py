# SPDX-License-Identifier: Apache-2.0
"""The command `computeapi`. A module a group of subcommands, each with `add(commands)`; `main` runs what was asked."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from computeapi import __version__, errors, logs, settings
from computeapi.cli import run
from computeapi.supervisor import end_with_parent

LOG = logging.getLogger("computeapi.cli")

_EPILOG = """environment:
  COMPUTEAPI_STATE_DIR       where everything is kept (default ./state)
  COMPUTEAPI_LISTEN          address and port of the API (default 127.0.0.1:8774)
  COMPUTEAPI_CONSOLE_LISTEN  the same of the console proxy (default 127.0.0.1:6080)
  COMPUTEAPI_ADMIN_PASSWORD  password of the user admin, at `computeapi init`
  COMPUTEAPI_CONF            another settings file than $COMPUTEAPI_STATE_DIR/computeapi.conf

a cloud on this machine, step by step (tools/run does all of it):
  computeapi init --hypervisor simulator
  computeapi serve --first-server hello
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; its exit code."""
    given = sys.argv[1:] if argv is None else argv
    options = _parser(given).parse_args(given)
    end_with_parent()
    try:
        conf = settings.load(may_be_missing=getattr(options, "makes_settings", False))
    except settings.Unreadable as error:
        print(f"The settings can't be read: {error}", file=sys.stderr)
        return 2
    logs.configure(conf.debug, conf.log_format, conf.log_file(getattr(options, "part", None)))
    try:
        return int(options.run(conf, options) or 0)
    except errors.Error as error:  # what the API would answer with 4xx
        print(error.message or type(error).__name__, file=sys.stderr)
        return 1
    except PermissionError as error:
        print(f"{error.filename}: permission denied. Run this as the user of the services.", file=sys.stderr)
        return 1
    except (OSError, SQLAlchemyError) as error:
        LOG.debug("where it came from", exc_info=True)
        print(_in_words(error, conf), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def _in_words(error: OSError | SQLAlchemyError, conf: settings.Settings) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error)
    reason = str(getattr(error, "orig", None) or error).splitlines()[0]
    url = make_url(conf.database_url).render_as_string()  # without the password
    return f"The database {url} does not answer: {reason}. It is what [database] connection says, or not started."


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="computeapi",
        description="A Compute API v2.1 server (Nova-compatible) on libvirt and SQL.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"computeapi {__version__}")
    commands = parser.add_subparsers(metavar="command", required=True)
    run.add(commands)
    if not given or given[0] not in commands.choices:  # a service starts without what the other commands import
        from computeapi.cli import accounts, backup, database, drift, hosts, status

        for module in (status, hosts, accounts, database, drift, backup):
            module.add(commands)
    return parser
