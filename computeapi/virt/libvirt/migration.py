# SPDX-License-Identifier: Apache-2.0
"""A guest's live migration, which libvirtd does with the other libvirtd (peer to peer); we begin it, watch it and look
where the guest is when it has ended.

It goes on when this process ends: whoever comes next finds it under way and waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import libvirt

from computeapi.virt.base import HypervisorError, HypervisorGone, MigrationTimeout, Peer, Policy, Progress
from computeapi.virt.libvirt.connection import Connection
from computeapi.virt.libvirt.domain_xml import HostFacts
from computeapi.virt.libvirt.errors import MISSING, translate
from computeapi.virt.libvirt.xml import parse, to_text

LOG = logging.getLogger(__name__)

_LOOK_SECONDS = 0.25
_END_SECONDS = 60.0  # that an aborted migration may take to end
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_ABORT_ON_ERROR
)
_HERE = (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED, libvirt.VIR_DOMAIN_PAUSED)
_OFF = (libvirt.VIR_DOMAIN_NOSTATE, libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED)
_ARRIVING = (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)


class Migration:
    """One guest's way from `here` to `peer`."""

    def __init__(self, uuid: str, here: Connection, there: Connection, peer: Peer, facts: HostFacts) -> None:
        self._uuid, self._here, self._there, self._peer, self._facts = uuid, here, there, peer, facts
        self._failed: list[libvirt.libvirtError] = []

    def run(self, disks: Sequence[str], policy: Policy, watch: Callable[[Progress], None]) -> None:
        """See Hypervisor.migrate."""
        what = f"guest {self._uuid}: migrating to {self._peer.name}"
        with self._here.use(what) as conn:
            domain = self._find(conn)
            if domain is None or not domain.isActive():
                self._check_arrived(known_here=domain is not None)
                return
            thread = None
            if not _is_under_way(domain):
                arguments = (domain, self._parameters(domain, disks, policy), self._flags(disks, policy))
                thread = threading.Thread(target=self._migrate, args=arguments, name="migration", daemon=True)
                thread.start()
            if not self._wait(domain, thread, policy, watch):
                raise MigrationTimeout(f"{what}: not done within {policy.timeout} s; given up")
        self._find_out(what)

    def _migrate(self, domain: Any, parameters: dict[str, Any], flags: int) -> None:
        try:
            domain.migrateToURI3(self._peer.uri, parameters, flags)
        except libvirt.libvirtError as error:
            self._failed.append(error)

    def _flags(self, disks: Sequence[str], policy: Policy) -> int:
        # UNSAFE: libvirt does not know that a directory is shared, and we do; caches are off.
        flags: int = _FLAGS | libvirt.VIR_MIGRATE_UNSAFE | (libvirt.VIR_MIGRATE_NON_SHARED_DISK if disks else 0)
        flags |= libvirt.VIR_MIGRATE_AUTO_CONVERGE if policy.auto_converge else 0
        flags |= libvirt.VIR_MIGRATE_POSTCOPY if policy.post_copy and not policy.tunnelled else 0
        flags |= libvirt.VIR_MIGRATE_TUNNELLED if policy.tunnelled and not disks else 0
        return flags

    def _parameters(self, domain: Any, disks: Sequence[str], policy: Policy) -> dict[str, Any]:
        secure = libvirt.VIR_DOMAIN_XML_SECURE
        live = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | secure)
        found: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: self._as_there(live),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: self._as_there(
                domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_MIGRATABLE | secure)
            ),
        }
        if disks:
            found[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(disks)
        if self._peer.address and not policy.tunnelled:
            address = f"[{self._peer.address}]" if ":" in self._peer.address else self._peer.address
            found[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{address}"
            if disks:
                found[libvirt.VIR_MIGRATE_PARAM_LISTEN_ADDRESS] = self._peer.address
        if policy.bandwidth:
            found[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = policy.bandwidth
        return found

    def _as_there(self, document: str) -> str:
        """The guest's definition with the other host's paths; what lies below its disks libvirt finds there itself."""
        root = parse(document)
        for disk in root.findall("devices/disk"):
            source, below = disk.find("source"), disk.find("backingStore")
            if below is not None:
                disk.remove(below)
            if source is not None:
                _move(source, self._facts.pool_dir, self._peer.disks)
        for log in root.findall("devices/*/log"):
            _move(log, self._facts.console_dir, self._peer.consoles)
        return to_text(root)

    # --- while it is under way ---

    def _wait(
        self, domain: Any, thread: threading.Thread | None, policy: Policy, watch: Callable[[Progress], None]
    ) -> bool:
        """Until it has ended, well or badly; False where its time was over and it was given up."""
        until = time.monotonic() + policy.timeout if policy.timeout else None
        tuned = False
        while thread.is_alive() if thread else _is_under_way(domain):
            watch(_progress(domain))
            if not tuned and policy.downtime:
                tuned = _tune(domain, policy.downtime)
            if until is not None and time.monotonic() > until:
                if not policy.force:
                    end(domain)
                    _join(thread)
                    return not self._is_here()
                if _force(domain, policy):
                    until = None
            if thread:
                thread.join(_LOOK_SECONDS)
            else:
                time.sleep(_LOOK_SECONDS)
        return True

    # --- when it has ended ---

    def _find_out(self, what: str) -> None:
        """Raise where the guest is not there, saying what the migration said."""
        state = self._state_here()
        if state in _HERE:
            raise translate(self._failed[0], what) if self._failed else HypervisorError(f"{what}: it broke off")
        self._check_arrived(known_here=state is not None)

    def _is_here(self) -> bool:
        return self._state_here() in _HERE

    def _state_here(self) -> int | None:
        with self._here.use(f"guest {self._uuid}: looking for it") as conn:
            domain = self._find(conn)
            return None if domain is None else int(domain.state(0)[0])

    def _check_arrived(self, *, known_here: bool) -> None:
        """Raises HypervisorGone where the other host does not say that it has the guest; HypervisorError where it has
        nothing of it, and this one still knows it (`known_here`): it went off meanwhile."""
        what = f"guest {self._uuid}: looking for it on {self._peer.name}"
        with self._there.use(what) as conn:
            domain = self._find(conn)
            state, reason = domain.state(0) if domain is not None else (libvirt.VIR_DOMAIN_NOSTATE, 0)
        if known_here and state in _OFF:
            raise HypervisorError(f"guest {self._uuid}: it went off before it was on {self._peer.name}")
        if state not in _HERE or (state == libvirt.VIR_DOMAIN_PAUSED and reason in _ARRIVING):
            raise HypervisorGone(f"{what}: it is on neither host now")

    def _find(self, conn: Any) -> Any | None:
        try:
            return conn.lookupByUUIDString(self._uuid)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in MISSING:
                raise
            return None


def _move(element: Any, old: str, new: str) -> None:
    path = element.get("file")
    if path and new and path.startswith(f"{old}/"):
        element.set("file", new + path.removeprefix(old))


def _is_under_way(domain: Any) -> bool:
    try:
        return bool(domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE)
    except libvirt.libvirtError as error:
        if error.get_error_code() not in {*MISSING, libvirt.VIR_ERR_OPERATION_INVALID}:
            raise
        return False


def _progress(domain: Any) -> Progress:
    try:
        stats = domain.jobStats()
    except libvirt.libvirtError:  # it has just ended
        return Progress()
    return Progress(
        **{
            f"{kind}_{part}": int(stats.get(f"{kind}_{part}", 0))
            for kind in ("memory", "disk")
            for part in ("total", "processed", "remaining")
        }
    )


def _tune(domain: Any, downtime: int) -> bool:
    """The longest standstill; it can be set only while the migration is under way."""
    try:
        domain.migrateSetMaxDowntime(downtime, 0)
    except libvirt.libvirtError:
        return False
    return True


def _force(domain: Any, policy: Policy) -> bool:
    """Make it end: the rest of the memory follows the guest, or the guest stands still until all is sent. False where
    that can't be now: before post-copy the disks must be there."""
    try:
        if policy.post_copy and not policy.tunnelled:
            domain.migrateStartPostCopy(0)
        else:
            domain.suspend()
    except libvirt.libvirtError as error:
        LOG.debug("guest %s: its migration can't be made to end now: %s", domain.UUIDString(), error)
        return False
    how = "goes on by post-copy" if policy.post_copy and not policy.tunnelled else "stands still until all is sent"
    LOG.info("guest %s: its migration takes too long; it %s", domain.UUIDString(), how)
    return True


def end(domain: Any) -> None:
    """Abort it, and wait for its end. One that is past that goes on to it."""
    with suppress(libvirt.libvirtError):
        domain.abortJob()
    until = time.monotonic() + _END_SECONDS
    while _is_under_way(domain) and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)


def _join(thread: threading.Thread | None) -> None:
    if thread is not None:
        thread.join(_END_SECONDS)
