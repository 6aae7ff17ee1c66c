# SPDX-License-Identifier: Apache-2.0
"""The libvirt hypervisor: each method of the interface, said in libvirt's terms."""

from __future__ import annotations

import errno
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import libvirt

from computeapi.states import PowerState
from computeapi.virt.base import (
    Capabilities,
    ConsoleUnavailable,
    DhcpHost,
    DiskSpec,
    DomainNotFound,
    DomainSpec,
    Event,
    HostInfo,
    Hypervisor,
    HypervisorError,
    NetworkSpec,
    NicSpec,
    NotRunning,
    Peer,
    Policy,
    Progress,
    Quiesce,
    console_tail,
)
from computeapi.virt.firewall import Applied, Firewall
from computeapi.virt.images import GIB
from computeapi.virt.libvirt import domain_xml
from computeapi.virt.libvirt.connection import Connection
from computeapi.virt.libvirt.disks import Disks, Pool, SharedPool, download, pieces, upload, volume_size
from computeapi.virt.libvirt.events import Watcher
from computeapi.virt.libvirt.guest import Guest, power_state
from computeapi.virt.libvirt.host import HostProbe
from computeapi.virt.libvirt.host_network import HostNetwork
from computeapi.virt.libvirt.migration import Migration, end
from computeapi.virt.libvirt.networks import Networks
from computeapi.virt.libvirt.xml import to_text

LOG = logging.getLogger(__name__)
CONSOLE_BYTES = 100 * 1024
_DETACH_SECONDS = 20.0  # that a guest has to let go of a device
_DETACH_PAUSE = 0.5  # between being asked again


class LibvirtHypervisor(Hypervisor):
    """The libvirtd at `uri`.

    `virt_type` is "auto", "kvm" or "qemu". Disks are kept in `state_dir`/disks (libvirt's pool `pool`), console logs
    in `state_dir`/consoles (pool `pool`-consoles), both on libvirt's host; volumes and their snapshots among the disks,
    or in `volume_directory`, which is every host's (pool `pool`-volumes). Other hosts reach this libvirtd by
    `migration_uri` and send guests to `inbound_address`; `may_be_shared`: they may have `state_dir`, too. Connects at
    first use.
    """

    def __init__(
        self,
        *,
        uri: str,
        virt_type: str,
        state_dir: Path,
        host: str,
        pool: str = "computeapi",
        network_namespace: str = "",
        spice: bool = True,
        migration_uri: str = "",
        inbound_address: str = "",
        may_be_shared: bool = False,
        volume_directory: str = "",
    ) -> None:
        self.host = host
        self._peer_uri = migration_uri or (uri if urlsplit(uri).netloc else "")
        self._inbound_address = inbound_address
        self._peers: dict[str, Connection] = {}
        state_dir = state_dir.absolute()
        self._spice = spice
        self._state_dir, self._local = state_dir, not urlsplit(uri).netloc
        self._connection = Connection(uri)
        kind = SharedPool if may_be_shared else Pool
        self._pool = kind(self._connection, pool, str(state_dir / "disks"))
        self._consoles = kind(self._connection, f"{pool}-consoles", str(state_dir / "consoles"))
        shared = SharedPool(self._connection, f"{pool}-volumes", volume_directory) if volume_directory else None
        self._disks = Disks(self._connection, self._pool, shared)
        self._networks = Networks(self._connection)
        self._host_network = HostNetwork(uri, network_namespace)
        self._probe = HostProbe(self._connection, virt_type, local=self._local)
        self._watcher = Watcher(self._connection, self.state, self.list_guests)
        self._ours: dict[str, bool] = {}
        self._ready = threading.Lock()
        self._facts: domain_xml.HostFacts | None = None

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            vnc=self._local,
            spice=self._facts is not None and self._facts.spice,
            serial=True,
            filters=self._host_network.usable(),
        )

    def host_info(self) -> HostInfo:
        facts = self._host_facts()
        peer = Peer(
            name=self.host,
            uri=self._peer_uri,
            address=self._inbound_address,
            pool=self._disks.identity(),
            disks=facts.pool_dir,
            consoles=facts.console_dir,
        )
        return replace(self._probe.info(self._disks.capacity_gb()), peer=peer)

    def _host_facts(self) -> domain_xml.HostFacts:
        """What definitions need to know, found out once; makes the pools where they are missing."""
        with self._ready:
            if self._facts is None:
                if self._local:
                    make_passable(self._state_dir)
                self._pool.check_path()
                self._consoles.check_path()
                virt_type = self._probe.virt_type()
                self._facts = domain_xml.HostFacts(
                    virt_type=virt_type,
                    pool_dir=self._pool.path,
                    console_dir=self._consoles.path,
                    arch=self._probe.arch(),
                    disk_cache=disk_cache(Path(self._pool.path)) if self._local else "none",
                    spice=self._spice and self._local and self._probe.has_spice(virt_type),
                )
            return self._facts

    # --- storage ---

    def ensure_base(self, name: str, image_format: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._host_facts()
        self._disks.ensure_base(name, image_format, size, chunks)

    def ensure_disk(self, name: str, size_gb: int, base: str | None) -> None:
        self._host_facts()
        self._disks.ensure_disk(name, size_gb, base)

    def ensure_iso(self, name: str, content: bytes) -> None:
        self._host_facts()
        self._disks.ensure_iso(name, content)

    def remove_volumes(self, prefix: str) -> None:
        self._disks.remove(prefix)

    def list_volumes(self) -> list[str]:
        return self._disks.names()

    def virtual_size(self, name: str) -> int:
        return self._disks.virtual_size(name)

    def remove_volume(self, name: str) -> None:
        self._disks.remove_one(name)

    def resize_disk(self, name: str, size_gb: int, user: str = "") -> None:
        if user:
            self._host_facts()
            path = self._disks.path(name)
            with suppress(DomainNotFound), self._guest(user, f"growing {name}") as guest:
                if guest.grow_disk(path, size_gb * GIB):
                    return
        self._disks.grow(name, size_gb)

    def snapshot(self, uuid: str, volume: str, name: str, quiesce: Quiesce = Quiesce.NO) -> None:
        self._host_facts()
        path = self._disks.path(volume)
        target: str | None = None
        try:
            with self._guest(uuid, "looking for its disk") as guest:
                target = guest.disk_in_use(path)
                if target:
                    guest.end_copy(target)
                    if quiesce != Quiesce.NO:  # an earlier attempt may have been cut short
                        guest.thaw()
        except DomainNotFound:
            LOG.debug("guest %s is not defined; its disk %s is copied as it is", uuid, volume)
        if target is None:
            self._disks.copy(volume, name)
            return
        copy = self._disks.make_like(volume, name)
        with self._guest(uuid, "copying its disk") as guest:
            guest.copy_disk(target, copy, quiesce)

    def thaw(self, uuid: str) -> None:
        with suppress(DomainNotFound), self._guest(uuid, "thawing its file systems") as guest:
            guest.thaw()

    def read_volume(self, name: str) -> Iterator[bytes]:
        return self._disks.read(name)

    def receive_volume(self, peer: Peer, volume: str, name: str) -> None:
        self._host_facts()
        self._disks.receive(self._reach(peer), volume, name)

    def receive_blank(self, peer: Peer, name: str) -> None:
        self._host_facts()
        self._disks.receive_blank(self._reach(peer), name)

    def receive_console(self, peer: Peer, uuid: str) -> None:
        log = f"{uuid}.log"
        there = Pool(self._reach(peer), self._consoles.name, peer.consoles)
        with there.connection.use(f"reading the console log of {uuid}") as conn:
            there.refresh(conn)
            found = there.find(conn, log)
            text = b"" if found is None else b"".join(pieces(conn, found))
        with self._connection.use(f"writing the console log of {uuid}") as conn:
            self._consoles.delete(conn, log)
            volume = self._consoles.create(conn, log, len(text))
            if text:
                upload(conn, volume, len(text), [text])

    def _reach(self, peer: Peer) -> Connection:
        """The peer's libvirtd. Raises HypervisorError where it is not known how it is reached."""
        if not peer.uri:
            raise HypervisorError(f"host {peer.name} does not say how its hypervisor is reached (migration_uri)")
        with self._ready:
            return self._peers.setdefault(peer.uri, Connection(peer.uri))

    # --- networks ---

    def ensure_network(self, spec: NetworkSpec) -> None:
        links = self._host_network.masters() if self._host_network.usable() else None
        lost = links is not None and spec.bridge not in links
        if lost:
            self._host_network.end_resolver(spec.name)
        self._networks.ensure(spec, lost=lost)
        if links is not None:
            self._host_network.connect(spec)
        elif spec.uplink:
            raise HypervisorError(f"{spec.uplink} can't be put in a bridge by this compute service")

    def remove_network(self, name: str) -> None:
        self._networks.remove(name)
        if self._host_network.usable():
            self._host_network.forget_vlans()

    def list_networks(self) -> dict[str, str]:
        return self._networks.ids()

    def ensure_dhcp_host(self, network: str, host: DhcpHost) -> None:
        self._networks.ensure_host(network, host)

    def remove_dhcp_host(self, network: str, mac: str) -> None:
        self._networks.remove_host(network, mac)

    def apply_firewall(self, read: Callable[[], Firewall]) -> Applied:
        if not self._host_network.usable():
            firewall, why = read(), self._host_network.useless or "libvirt does not answer"
            return Applied(firewall, {pair.address: why for pair in firewall.floating}, whole=why, able=False)
        applied = self._host_network.apply(read)
        firewall = applied.firewall
        self._networks.set_names(sorted({network.name for network in firewall.networks}), firewall.names)
        return applied

    def listen(self, bridges: Sequence[str], port: int, known: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
        return self._host_network.listen(bridges, port, known) if self._host_network.usable() else {}

    def ping(self, addresses: Sequence[str], seconds: int) -> set[str]:
        return self._host_network.ping(addresses, seconds)

    # --- guests ---

    @contextmanager
    def _guest(self, uuid: str, what: str) -> Iterator[Guest]:
        with self._connection.use(f"guest {uuid}: {what}") as conn:
            yield Guest(conn.lookupByUUIDString(uuid))

    def define(self, spec: DomainSpec) -> None:
        document = domain_xml.build(spec, self._host_facts())
        with self._connection.use(f"guest {spec.uuid}: defining") as conn:
            conn.defineXMLFlags(document, libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
            log = f"{spec.uuid}.log"
            if self._consoles.find(conn, log) is None:
                # Made by us, so that libvirt's pool knows of it and gives it out wherever the host is.
                self._consoles.create(conn, log, 0)
        self._ours[spec.uuid] = True

    def undefine(self, uuid: str, *, keep_console: bool = False) -> None:
        try:
            with self._guest(uuid, "undefining") as guest:
                guest.undefine()
        except DomainNotFound:
            LOG.debug("guest %s is gone already", uuid)
        self._ours.pop(uuid, None)
        if keep_console:
            return
        with self._connection.use(f"guest {uuid}: removing its console log") as conn:
            self._consoles.refresh(conn)  # virtlogd may have put full ones aside, as <uuid>.log.0 and so on
            for name in self._consoles.names(conn):
                if name.startswith(f"{uuid}.log"):
                    self._consoles.delete(conn, name)

    def attach_nic(self, uuid: str, nic: NicSpec) -> None:
        document = to_text(domain_xml.nic(nic))
        with self._guest(uuid, f"attaching {nic.mac}") as guest:
            guest.attach_nic(document, nic.mac)

    def detach_nic(self, uuid: str, mac: str) -> None:
        self._until_let_go(uuid, f"the interface {mac}", lambda guest: guest.detach_nic(mac))

    def _until_let_go(self, uuid: str, what: str, ask: Callable[[Guest], bool]) -> None:
        until = time.monotonic() + _DETACH_SECONDS
        while True:
            with self._guest(uuid, f"detaching {what}") as guest:
                if ask(guest):
                    return
            if time.monotonic() > until:
                raise HypervisorError(f"guest {uuid}: does not let go of {what}")
            time.sleep(_DETACH_PAUSE)

    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        host = self._host_facts()
        document = to_text(domain_xml.plain_disk(disk, host))
        with self._guest(uuid, f"attaching {disk.volume}") as guest:
            guest.attach_disk(document, domain_xml.disk_path(disk, host))

    def detach_disk(self, uuid: str, disk: DiskSpec) -> None:
        path = domain_xml.disk_path(disk, self._host_facts())
        self._until_let_go(uuid, f"the disk {disk.volume}", lambda guest: guest.detach_disk(path))

    def swap_disk(self, uuid: str, old: DiskSpec, new: DiskSpec, size_gb: int) -> None:
        host = self._host_facts()
        path, target_path = domain_xml.disk_path(old, host), domain_xml.disk_path(new, host)
        document = to_text(domain_xml.plain_disk(new, host))
        with self._guest(uuid, f"swapping {old.volume} and {new.volume}") as guest:
            done, live = guest.has_disk(target_path), guest.disk_in_use(path) is not None
        if not done and live:
            self._disks.make_like(old.volume, new.volume)  # QEMU copies to a disk of the same size alone
            with self._guest(uuid, f"swapping {old.volume} and {new.volume}") as guest:
                guest.move_disk(path, target_path)
        elif not done:
            self._disks.copy(old.volume, new.volume)
        with self._guest(uuid, f"growing {new.volume}") as guest:
            guest.replace_disk(document, path, target_path)
            if guest.grow_disk(target_path, size_gb * GIB):
                return
        self._disks.grow(new.volume, size_gb)

    def start(self, uuid: str) -> None:
        with self._guest(uuid, "starting") as guest:
            guest.start()

    def shutdown(self, uuid: str) -> None:
        with self._guest(uuid, "shutting down") as guest:
            guest.shutdown()

    def power_off(self, uuid: str) -> None:
        with self._guest(uuid, "powering off") as guest:
            guest.power_off()

    def reboot(self, uuid: str) -> None:
        with self._guest(uuid, "rebooting") as guest:
            guest.reboot()

    def pause(self, uuid: str) -> None:
        with self._guest(uuid, "pausing") as guest:
            guest.pause()

    def unpause(self, uuid: str) -> None:
        with self._guest(uuid, "unpausing") as guest:
            guest.unpause()

    def suspend(self, uuid: str) -> None:
        with self._guest(uuid, "suspending") as guest:
            guest.suspend()

    def migrate(
        self, uuid: str, peer: Peer, disks: Sequence[str], policy: Policy, watch: Callable[[Progress], None]
    ) -> None:
        Migration(uuid, self._connection, self._reach(peer), peer, self._host_facts()).run(disks, policy, watch)
        self._ours.pop(uuid, None)

    def has_arrived(self, uuid: str, peer: Peer) -> bool:
        what = f"guest {uuid}: looking for it on {peer.name}"
        with suppress(DomainNotFound), self._reach(peer).use(what) as conn:
            return bool(conn.lookupByUUIDString(uuid).isActive())
        return False

    def end_migration(self, uuid: str) -> None:
        with suppress(DomainNotFound), self._connection.use(f"guest {uuid}: ending its migration") as conn:
            end(conn.lookupByUUIDString(uuid))

    def state(self, uuid: str) -> PowerState:
        with self._guest(uuid, "asking its state") as guest:
            return guest.state()

    def list_guests(self) -> dict[str, PowerState]:
        with self._connection.use("listing guests") as conn:
            saved = {
                domain.UUIDString() for domain in conn.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_MANAGEDSAVE)
            }
            found: dict[str, PowerState] = {}
            for domain, figures in conn.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_STATE, 0):
                uuid = domain.UUIDString()
                if uuid not in self._ours:
                    self._ours[uuid] = Guest(domain).is_ours()
                if self._ours[uuid]:
                    found[uuid] = power_state(figures["state.state"], figures["state.reason"], uuid in saved)
            return found

    def console_output(self, uuid: str, lines: int | None) -> str:
        with self._guest(uuid, "reading its console"):
            pass  # it is there
        with self._connection.use(f"guest {uuid}: reading its console") as conn:
            log = self._consoles.find(conn, f"{uuid}.log")
            if log is None:
                return ""
            size = volume_size(log)
            start = max(0, size - CONSOLE_BYTES)
            kept = download(conn, log, start, size - start) if size else b""
        return console_tail(kept.decode("utf-8", "replace"), lines)

    def check_console(self, uuid: str, kind: str) -> None:
        with self._guest(uuid, f"looking for its {kind} console") as guest:
            if guest.state() not in (PowerState.RUNNING, PowerState.PAUSED):
                raise NotRunning(f"guest {uuid}: is not running")
            # Screens are handed over as open files, which a libvirtd on another machine can't do.
            if kind != "serial" and (not self._local or guest.screen(kind) is None):
                raise ConsoleUnavailable(f"guest {uuid}: has no {kind} console")

    def open_console(self, uuid: str, kind: str) -> socket.socket:
        self.check_console(uuid, kind)
        with self._guest(uuid, f"opening its {kind} console") as guest:
            return guest.open_console(kind)

    def set_password(self, uuid: str, user: str, password: str) -> None:
        with self._guest(uuid, "setting a password") as guest:
            guest.set_password(user, password)

    def diagnostics(self, uuid: str) -> dict[str, Any]:
        with self._guest(uuid, "reading its figures") as guest:
            return guest.diagnostics()

    # --- life of the connection ---

    def watch(self, notify: Callable[[Event], None]) -> None:
        self._watcher.add(notify)

    def close(self) -> None:
        self._watcher.close()
        self._connection.close()
        for peer in self._peers.values():
            peer.close()


def make_passable(folder: Path) -> None:
    """`folder` exists, and QEMU's own user on this machine may pass through it (`o+x`), though not list it.

    Directories above it are the operator's; where they forbid it, libvirt's "Permission denied" names the file.
    """
    folder.mkdir(mode=0o711, parents=True, exist_ok=True)
    mode = folder.stat().st_mode
    if not mode & 0o001 and folder.stat().st_uid == os.geteuid():
        folder.chmod(mode & 0o7777 | 0o001)


def disk_cache(folder: Path) -> str:
    """QEMU's cache mode for disks in `folder`: "none", which live migration wants, where the file system can do it."""
    probe = folder / f".direct-{os.getpid()}"
    try:
        os.close(os.open(probe, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o600))
    except OSError as error:
        # Only "not supported" says something; a directory that is not ours to write (or not here) does not.
        return "writeback" if error.errno == errno.EINVAL else "none"
    finally:
        probe.unlink(missing_ok=True)
    return "none"
