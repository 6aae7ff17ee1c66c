# SPDX-License-Identifier: Apache-2.0
"""`computeapi reconcile`: what differs between the database and this host's hypervisor, and setting it right."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from computeapi.backends import image
from computeapi.cli.common import command, load_driver, ready_database, say
from computeapi.compute import drift, service
from computeapi.compute.operation import Tools
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.virt.base import HypervisorError

_EPILOG = """Run it on the host; its compute service may run, and does most of this by itself every half minute.
Guests and disks that the database does not know are only told, whatever is asked: they may be somebody's, after an
older backup was restored. Disks that are missing are told as well: nothing here can make them again.

exit code: 0 nothing differs (any more), 1 something does, 2 the hypervisor can't be asked

  computeapi reconcile --dry-run
  computeapi reconcile
"""


def add(commands: Any) -> None:
    """Add `reconcile`."""
    text = "compare the database with this host's hypervisor, and set right what differs"
    parser = command(commands, "reconcile", _reconcile, text, epilog=_EPILOG)
    parser.add_argument(
        "--host", metavar="NAME", help="the compute host's name (default: the setting, or this machine)"
    )
    parser.add_argument("--libvirt-uri", metavar="URI", help="its libvirt's URI (default: the setting)")
    parser.add_argument("--dry-run", action="store_true", help="only tell what differs")


def _reconcile(conf: Settings, options: argparse.Namespace) -> int:
    given = {"host": options.host, "connection_uri": options.libvirt_uri}
    conf = replace(conf, **{name: value for name, value in given.items() if value})
    db, driver = ready_database(conf), load_driver(conf)
    try:
        tools = service.visit(conf, db, driver, image.load(conf, db), Seal(conf.secret("journal")))
        if tools is None:
            say(f"the database knows no host {conf.host_name}; start its compute service, or set [DEFAULT] host")
            return 1
        return _compare(tools, options.dry_run)
    except HypervisorError as error:
        say(f"the hypervisor does not answer: {error}")
        return 2
    finally:
        driver.close()


def _compare(tools: Tools, dry_run: bool) -> int:
    if not dry_run:
        for line in drift.mend(tools):
            say(f"set right: {line}")
    found = drift.look(tools)
    for fix in found.fixes:
        lands = f"; it should be {fix.vm_state}" if fix.vm_state else ""
        what = "; the guest should go" if fix.remove_guest else ("; it should be error" if fix.fault else lands)
        say(f"server {fix.server.uuid} is {fix.server.vm_state}: {fix.why}{what}")
    for name in found.leftovers:
        say(f"disk {name} is a deleted server's")
    if found.counted != found.allocated:
        say(f"the host's counters are {found.counted}, its servers have {found.allocated} (CPUs, MiB, GiB, servers)")
    for name, whose in found.missing:
        say(f"disk {name} of {whose} is missing; put the file back, or rebuild or delete what had it")
    for uuid, host in found.elsewhere:
        say(f"guest {uuid} is here, and the database has its server on {host}; left alone: end one of both")
    for uuid in found.strangers:
        say(f"guest {uuid} is not in the database; left alone")
    for name in found.unknown:
        say(f"disk {name} is of no server in the database; left alone")
    if found.is_none:
        say(f"{tools.host} is as the database says")
    return int(not found.is_none)
