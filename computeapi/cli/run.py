# SPDX-License-Identifier: Apache-2.0
"""What runs: `computeapi init`, `serve`, and its parts one by one."""

from __future__ import annotations

import argparse
import errno
import fcntl
import logging
import os
import signal
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from computeapi.cli.common import ask, command, fail, load_driver, made_database, ready_database, say
from computeapi.settings import Settings

_PREPARE = "prepare the state directory: database, users, flavors, network, image"
_INIT = """What is there is kept: it can be run again, and after each upgrade. The password of the user admin is
$COMPUTEAPI_ADMIN_PASSWORD, or one that it makes up; it is in clouds.yaml of the state directory.

  computeapi init --hypervisor simulator               no guests: to try clients
  computeapi init --image-file debian-12.qcow2         with this as the public image tiny
"""
_SERVE = """The API, the compute service and the console proxy, each a process of its own that is started again if it
ends; their logs are in log/ of the state directory (or [DEFAULT] log_dir). Guests go on when it ends. On a fleet the
parts run one by one: etc/*.service.
"""
_API = """It listens at [DEFAULT] listen (or $COMPUTEAPI_LISTEN), or takes the sockets that systemd hands over.

  SIGHUP            new workers with the settings as they are now; requests under way end first
  SIGTERM           ends, when the requests under way have ended (30 s at most)
  SIGUSR2, SIGTERM  a new master beside the old one, then the old one ends: other code, and no request is lost
"""
_COMPUTE = """One a host: a second one of the same name says so and ends. Killed at any moment, it goes on where it was
at the next start; guests are not touched by its end.

  computeapi compute                                                      this machine
  computeapi compute --host rack1 --libvirt-uri qemu+tcp://rack1/system   another machine's libvirt
"""
_CONSOLE = """Takes browsers to the screens and serial ports of this host's guests, at [console] console_listen, with
the tokens that the API gave out. It runs where libvirt does.

  openstack console url show SERVER
"""


def add(commands: Any) -> None:
    """Add `init`, `serve`, `api`, `compute` and `console`."""
    init = command(commands, "init", _init, _PREPARE, epilog=_INIT)
    init.set_defaults(makes_settings=True)
    init.add_argument("--hypervisor", choices=("libvirt", "simulator"), help="what runs the guests")
    init.add_argument("--libvirt-uri", metavar="URI", help="libvirt's URI (default qemu:///system)")
    init.add_argument("--virt-type", choices=("auto", "kvm", "qemu"), help="auto: KVM where it works")
    init.add_argument("--image-file", type=Path, metavar="QCOW2", help="register this disk as the public image tiny")

    serve = command(commands, "serve", _serve, "run everything for one machine, until Ctrl-C", epilog=_SERVE)
    serve.add_argument("--first-server", metavar="NAME", help="boot a server of that name if there is none")

    # `part`: what the log file is called.
    api = command(commands, "api", _api, "run the API alone (gunicorn)", epilog=_API)
    api.set_defaults(part="api")
    compute = command(commands, "compute", _compute, "run a host's compute service alone", epilog=_COMPUTE)
    compute.add_argument(
        "--host", metavar="NAME", help="the compute host's name (default: the setting, or this machine)"
    )
    compute.add_argument("--libvirt-uri", metavar="URI", help="its libvirt's URI (default: the setting)")
    compute.add_argument("--migration-uri", metavar="URI", help="that URI as other hosts reach it")
    compute.add_argument("--instances-path", metavar="DIR", help="where its disks and console logs are")
    compute.set_defaults(part="compute")
    console = command(commands, "console", _console, "run this host's console proxy alone", epilog=_CONSOLE)
    console.set_defaults(part="console")


def _init(conf: Settings, options: argparse.Namespace) -> None:
    from computeapi import bootstrap

    if options.image_file and not options.image_file.is_file():
        fail(f"{options.image_file}: there is no such file.")
    chosen: dict[str, dict[str, str]] = {}
    if options.hypervisor:
        chosen["compute"] = {"hypervisor": options.hypervisor}
    if options.libvirt_uri:
        chosen["libvirt"] = {"connection_uri": options.libvirt_uri}
    if options.virt_type:
        chosen.setdefault("libvirt", {})["virt_type"] = options.virt_type
    if chosen:
        conf = bootstrap.write_conf(conf, chosen)
    bootstrap.prepare(
        conf,
        say,
        admin_password=os.environ.get("COMPUTEAPI_ADMIN_PASSWORD", ""),
        image_file=options.image_file,
    )


def _serve(conf: Settings, options: argparse.Namespace) -> int:
    from computeapi.db import schema
    from computeapi.supervisor import Supervisor

    for address, variable in ((conf.listen, "COMPUTEAPI_LISTEN"), (conf.console_listen, "COMPUTEAPI_CONSOLE_LISTEN")):
        if why := _is_taken(address):
            fail(f"{address} {why}. Set {variable} to another address and port.")
    log_dir = Path(conf.log_dir).absolute() if conf.log_dir else conf.state_path / "log"
    alone = (conf.state_path / "serve.lock").open("a")
    try:
        fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        fail(f"This cloud is served already: another `computeapi serve` holds {alone.name}. End that one first.")
    db = made_database(conf)
    if schema.upgrade(db):
        say(f"database upgraded to revision {schema.newest()}")
    db.close()

    supervisor = Supervisor(["api", "compute", "console"], log_dir)

    def tell(text: str) -> None:
        if not supervisor.ends:  # Ctrl-C is no news to who pressed it
            say(text)

    def ready() -> None:
        url = f"http://{conf.listen}"
        if not _answers(url):
            tell(f"the API does not answer at {url}; {log_dir}/api.log says why")
            return
        tell(f"the API answers at {url}; logs are in {log_dir}")
        if options.first_server:
            from computeapi.first_server import greet

            greet(conf.state_path / "clouds.yaml", options.first_server, tell)

    return supervisor.run(ready)


def _is_taken(address: str) -> str:
    """Why nobody can listen there; empty: one can."""
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((host.strip("[]"), int(port)))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            return "is in use by another program" if in_use else f"can't be had: {error.strerror}"
    return ""


def _answers(url: str, seconds: float = 90.0) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            ask(url, 5)
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False


def _api(conf: Settings, _options: argparse.Namespace) -> None:
    from computeapi.server import serve

    ready_database(conf).close()
    serve(conf)


def _compute(conf: Settings, options: argparse.Namespace) -> int:
    from computeapi.backends import image
    from computeapi.compute.service import AlreadyRunning, ComputeService, Renamed
    from computeapi.sealing import Seal

    given = {
        "host": options.host,
        "connection_uri": options.libvirt_uri,
        "migration_uri": options.migration_uri,
        "instances_path": options.instances_path,
    }
    conf = replace(conf, **{name: value for name, value in given.items() if value})
    db = ready_database(conf)
    driver = load_driver(conf)
    ended, stop_metrics = _count(conf)
    service = ComputeService(conf, db, driver, image.load(conf, db), Seal(conf.secret("journal")), ended)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: service.stop())
    try:
        service.run()
    except (AlreadyRunning, Renamed) as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        stop_metrics()
    if service.hangs:  # Python would wait for its threads
        logging.shutdown()
        os._exit(0)
    return 0


def _console(conf: Settings, _options: argparse.Namespace) -> None:
    import asyncio

    from computeapi.console.proxy import Proxy

    asyncio.run(Proxy(conf, ready_database(conf), load_driver(conf)).run())


def _count(conf: Settings) -> tuple[Any, Any]:
    """Who is told how operations end, and what ends the telling: metrics, where they have a port."""
    from computeapi.compute.operation import uncounted

    if not conf.compute_metrics_listen:
        return uncounted, lambda: None
    from computeapi import metrics

    operations = metrics.Operations()
    return operations.ended, operations.listen(conf.compute_metrics_listen)
