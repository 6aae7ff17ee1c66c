# SPDX-License-Identifier: Apache-2.0
"""The seam to a hypervisor: what the compute service asks of it, and nothing more.

Two implementations: `computeapi.virt.libvirt` (real guests) and `computeapi.virt.simulator` (in memory, for trying
clients and for tests of the API). `load()` picks by the setting `[compute] hypervisor`. The same contract test
(tests/contract/test_hypervisor.py) runs on both.

Every method may be called again after a crash and must then find what it made before: `ensure_*` is find-or-create,
`remove_*` of what is gone is no error. All things on the host are named by our own ids, so that nothing is guessed.
"""

from __future__ import annotations

import socket
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from computeapi.states import PowerState
from computeapi.virt.firewall import Applied, Firewall


class HypervisorError(Exception):
    """The hypervisor refused or failed; the message names the cause in its own words."""


class HypervisorGone(HypervisorError):
    """No connection to the hypervisor (libvirtd is down or restarting); trying again later may work."""


class HypervisorBusy(HypervisorError):
    """The hypervisor is at another job with the same thing, begun by one who was killed perhaps; trying again later
    may work."""


class StorageBusy(HypervisorBusy):
    """The same of a volume that it is writing or copying: that ends by itself."""


class DomainNotFound(HypervisorError):
    """The hypervisor has no such guest."""


class NoSpace(HypervisorError):
    """The host's storage is full."""


class AgentUnavailable(HypervisorError):
    """The guest runs no agent, or its agent does not answer."""


class NotRunning(HypervisorError):
    """The guest does not run, so it has no console now."""


class ConsoleUnavailable(HypervisorError):
    """The guest has no console of that kind."""


class Quiesce(Enum):
    """Whether a running guest's file systems hold still at the moment of which its disk is copied (by its agent)."""

    NO = "no"
    TRY = "try"
    MUST = "must"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this hypervisor can do; the API answers 4xx for the rest rather than fail on the way."""

    vnc: bool = False
    spice: bool = False
    serial: bool = False
    filters: bool = False  # security groups and floating IPs; where not, networks have the hypervisor's own NAT


class MigrationTimeout(HypervisorError):
    """A live migration was not done in time; the guest runs on where it was."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A host as another one needs to know it. Paths are that host's own."""

    name: str
    uri: str = ""  # of its hypervisor, as others reach it; "": not at all
    address: str = ""  # where it takes migrating guests, if not where the hypervisor says
    pool: str = ""  # which storage its volumes are on: the same on two hosts is shared storage
    disks: str = ""
    consoles: str = ""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a live migration is done. `timeout` in seconds (0: none), `bandwidth` in MiB/s (0: all), downtime in ms."""

    timeout: int = 800
    force: bool = False  # at the end of the time: by post-copy where it may be, else the guest is paused; else abort
    auto_converge: bool = True
    post_copy: bool = False
    tunnelled: bool = False
    bandwidth: int = 0
    downtime: int = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a live migration is, in bytes."""

    memory_total: int = 0
    memory_processed: int = 0
    memory_remaining: int = 0
    disk_total: int = 0
    disk_processed: int = 0
    disk_remaining: int = 0


@dataclass(frozen=True, slots=True)
class HostInfo:
    """The host's size and kind, as os-hypervisors shows it. Memory in MiB, disk in GiB."""

    hostname: str
    hypervisor_type: str  # "QEMU" | "KVM" | "simulator"
    hypervisor_version: int  # as Nova: 7002022 for 7.2.22
    vcpus: int
    memory_mb: int
    disk_gb: int
    cpu_info: dict[str, Any] = field(default_factory=dict)
    peer: Peer | None = None  # as other hosts need to know it
    pci: list[dict[str, Any]] = field(default_factory=list)  # every PCI device, as computeapi.db.queries.pci has them


@dataclass(frozen=True, slots=True)
class DiskSpec:
    """One disk of a guest, by the name of its volume in the host's pool."""

    volume: str  # volume name made by ensure_disk / ensure_iso, e.g. "<server uuid>_disk"
    target: str  # "vda", "vdb", "hda" …
    bus: str = "virtio"  # "virtio" | "sata" | "scsi" | "ide"
    device: str = "disk"  # "disk" | "cdrom"
    format: str = "qcow2"  # "qcow2" | "raw"
    boot_index: int | None = None  # 1 is first; None: not bootable
    serial: str = ""
    path: str = ""  # absolute path instead of a pool volume (volumes of the volume backend)
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class NicSpec:
    """One network interface of a guest."""

    mac: str
    network: str  # name of the host's network made by ensure_network; "": it is on a bridge, or left to others
    tap: str = ""  # device name on the host, at most 15 characters
    bridge: str = ""  # a bridge of the host that others made
    ovs_port: str = ""  # the bridge is Open vSwitch's, which knows the interface by this id
    model: str = "virtio"
    filters: tuple[str, ...] = ()  # nwfilter names
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """A guest as the hypervisor shall have it. Memory in MiB. `uuid` is the server's id."""

    uuid: str
    name: str  # OS-EXT-SRV-ATTR:instance_name, "instance-0000002a"
    vcpus: int
    memory_mb: int
    disks: tuple[DiskSpec, ...]
    nics: tuple[NicSpec, ...]
    title: str = ""  # display name, for people reading virsh
    metadata: dict[str, str] = field(default_factory=dict)  # owner, project, flavor name: for people
    image_properties: dict[str, str] = field(default_factory=dict)  # hw_machine_type, hw_firmware_type, hw_disk_bus …
    pci: tuple[str, ...] = ()  # addresses of the host's devices passed through to it, 0000:04:10.2


@dataclass(frozen=True, slots=True)
class DhcpHost:
    """A fixed address promised to a guest's interface."""

    mac: str
    address: str
    hostname: str


@dataclass(frozen=True, slots=True)
class NetworkSpec:
    """A network on the host: a bridge with DHCP and, where `forward` says so, a way out."""

    name: str  # "net-<first 11 of the network's uuid>"
    uuid: str
    bridge: str  # at most 15 characters
    cidr: str  # "10.0.0.0/24"; the host's own address is `gateway`. "": a bridge without addresses
    gateway: str
    dhcp: bool = True
    forward: str = "nat"  # "nat" | "open" | "none"
    domain: str = ""
    dns: tuple[str, ...] = ()
    mtu: int | None = None
    hosts: tuple[DhcpHost, ...] = ()
    router: str = ""  # what DHCP tells as the way out, where that is another machine
    uplink: str = (
        ""  # the host's interface that joins the bridge to other machines; with `vlan`: what is tagged so there
    )
    vlan: int | None = None
    taps: tuple[str, ...] = ()  # guests' devices that belong on the bridge, as far as they are there

    @property
    def uplink_device(self) -> str:
        """What of the uplink is in the bridge: the interface, or its VLAN's device (named as nova-network did)."""
        return self.uplink if self.vlan is None or not self.uplink else f"vlan{self.vlan}"


@dataclass(frozen=True, slots=True)
class Event:
    """The hypervisor's word that a guest's power state changed on its own or by our hand."""

    uuid: str
    state: PowerState
    rebooted: bool = False  # the guest was reset: what a reboot that was asked for comes to (one may raise several)


class Hypervisor(ABC):
    """One host's hypervisor. Thread-safe: the compute service calls it from its worker threads.

    Raises HypervisorError or a subclass, never a library's own error.
    """

    @property
    @abstractmethod
    def capabilities(self) -> Capabilities:
        """What this hypervisor can do."""

    @abstractmethod
    def host_info(self) -> HostInfo:
        """The host's size and kind, read now."""

    # --- storage: volumes in the host's own pool, named by us ---

    @abstractmethod
    def ensure_base(self, name: str, image_format: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Keep an image's bytes (`size` of them) as the read-only base volume `name`.

        `chunks` is called only when the host has no complete copy yet; a copy cut short is never taken for whole.
        """

    @abstractmethod
    def ensure_disk(self, name: str, size_gb: int, base: str | None) -> None:
        """A qcow2 volume `name` of `size_gb` GiB (0: as large as its base), on top of `base` or blank.

        Raises HypervisorError when the base's virtual size is larger than `size_gb`. An existing volume is kept.
        """

    @abstractmethod
    def ensure_iso(self, name: str, content: bytes) -> None:
        """A raw volume `name` holding exactly `content` (a config drive); replaced where it differs."""

    @abstractmethod
    def remove_volumes(self, prefix: str) -> None:
        """Delete every volume whose name begins with `prefix` ("<server uuid>_")."""

    @abstractmethod
    def list_volumes(self) -> list[str]:
        """The names of all volumes in the pool, for reconcile."""

    @abstractmethod
    def virtual_size(self, name: str) -> int:
        """The volume's size in bytes as the guest sees it."""

    @abstractmethod
    def remove_volume(self, name: str) -> None:
        """Delete the volume of exactly that name."""

    @abstractmethod
    def resize_disk(self, name: str, size_gb: int, user: str = "") -> None:
        """The volume is at least `size_gb` GiB large for its guest, which must be off; it never shrinks.

        The guest `user` may run with it: then it sees the new size at once.
        """

    @abstractmethod
    def snapshot(self, uuid: str, volume: str, name: str, quiesce: Quiesce = Quiesce.NO) -> None:
        """A qcow2 volume `name`, on top of no other, holding what `volume` of the guest `uuid` holds at one moment.

        The guest, if it runs, goes on meanwhile. Made anew each time; an unknown guest has its volumes still. Raises
        AgentUnavailable where the guest runs, must hold still and can't.
        """

    @abstractmethod
    def thaw(self, uuid: str) -> None:
        """The guest's file systems don't hold still any more, after a snapshot that broke off. None did: no change."""

    @abstractmethod
    def read_volume(self, name: str) -> Iterator[bytes]:
        """The bytes of a volume that no guest writes to, as its file has them."""

    @abstractmethod
    def receive_volume(self, peer: Peer, volume: str, name: str) -> None:
        """The volume `name` has the bytes of the peer's `volume`, which lies on no other and is not written to.

        Made anew each time.
        """

    @abstractmethod
    def receive_blank(self, peer: Peer, name: str) -> None:
        """An empty qcow2 volume as large as the peer's of that name. Made anew each time."""

    @abstractmethod
    def receive_console(self, peer: Peer, uuid: str) -> None:
        """What the guest has written on its serial console at the peer, if anything, is kept here. Made anew."""

    # --- networks ---

    @abstractmethod
    def ensure_network(self, spec: NetworkSpec) -> None:
        """The network exists, runs, and starts with the host. Existing DHCP hosts are kept, missing ones added.

        A bridge that somebody took away is made anew. `uplink` and `taps` need `capabilities.filters`.
        """

    @abstractmethod
    def remove_network(self, name: str) -> None:
        """The network and its bridge are gone; nothing happens where a guest is on it."""

    @abstractmethod
    def list_networks(self) -> dict[str, str]:
        """The ids of the host's networks by name: also of those that others made."""

    @abstractmethod
    def ensure_dhcp_host(self, network: str, host: DhcpHost) -> None:
        """That interface gets that address by DHCP from now on."""

    @abstractmethod
    def remove_dhcp_host(self, network: str, mac: str) -> None:
        """That interface gets no address any more."""

    @abstractmethod
    def apply_firewall(self, read: Callable[[], Firewall]) -> Applied:
        """The host filters, translates and answers what `read()` says, and nothing else, at once, but for what is
        refused.

        `read` is called when no other call of this is under way. Where `capabilities.filters` is not, nothing happens.
        """

    @abstractmethod
    def listen(self, bridges: Sequence[str], port: int, known: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
        """For each of these bridges that is there, a socket that listens on `port` to what comes over it and no other.

        That of `known` where it does so still (others of it are the caller's to close). Empty where
        `capabilities.filters` is not, and where no guest could ask.
        """

    @abstractmethod
    def ping(self, addresses: Sequence[str], seconds: int) -> set[str]:
        """Those of these guests' addresses that answer an echo request of the host's within `seconds`."""

    # --- guests ---

    @abstractmethod
    def define(self, spec: DomainSpec) -> None:
        """The guest is known to the host as `spec` says; a running one changes at its next start."""

    @abstractmethod
    def undefine(self, uuid: str, *, keep_console: bool = False) -> None:
        """The guest is stopped and unknown to the host, with its saved state and console log. Disks stay.

        `keep_console`: the log stays as well, since another host has it too.
        """

    @abstractmethod
    def attach_nic(self, uuid: str, nic: NicSpec) -> None:
        """The guest has that interface (by its MAC address), at once where it runs and at every start from now on."""

    @abstractmethod
    def detach_nic(self, uuid: str, mac: str) -> None:
        """The guest does not have an interface with that MAC address, neither now nor at its next start."""

    @abstractmethod
    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        """The guest has that disk (by its file), at once where it runs and at every start from now on."""

    @abstractmethod
    def detach_disk(self, uuid: str, disk: DiskSpec) -> None:
        """The guest does not have a disk of that file, neither now nor at its next start."""

    @abstractmethod
    def swap_disk(self, uuid: str, old: DiskSpec, new: DiskSpec, size_gb: int) -> None:
        """The guest has the disk `new` in the place of `old`, with all that was on it; it goes on meanwhile.

        `new` has that many GiB, no fewer than `old`, and its file is nobody else's; what that held is lost. Broken off,
        the file may be smaller than that.
        """

    @abstractmethod
    def start(self, uuid: str) -> None:
        """The guest runs (from its saved state where there is one). Running already: no change."""

    @abstractmethod
    def shutdown(self, uuid: str) -> None:
        """Ask the guest to power off (ACPI); returns at once."""

    @abstractmethod
    def power_off(self, uuid: str) -> None:
        """Pull the plug. Off already: no change."""

    @abstractmethod
    def reboot(self, uuid: str) -> None:
        """Ask the guest to reboot (agent or ACPI); returns at once."""

    @abstractmethod
    def pause(self, uuid: str) -> None:
        """The guest's CPUs stop; its memory stays."""

    @abstractmethod
    def unpause(self, uuid: str) -> None:
        """The guest's CPUs go on."""

    @abstractmethod
    def suspend(self, uuid: str) -> None:
        """The guest's memory is saved to disk and the guest is off; `start` goes on from there."""

    @abstractmethod
    def migrate(
        self, uuid: str, peer: Peer, disks: Sequence[str], policy: Policy, watch: Callable[[Progress], None]
    ) -> None:
        """The guest, which goes on running, is at the peer, and unknown here.

        `disks` ("vda") are copied with it. `watch` is called every now and then; what it raises ends the waiting, not
        the migration: see `end_migration`. Called again while it is under way it is waited for.

        Raises MigrationTimeout or HypervisorError where the guest goes on here, HypervisorGone where it is not known
        where it is.
        """

    @abstractmethod
    def has_arrived(self, uuid: str, peer: Peer) -> bool:
        """Whether the peer has the guest, and not switched off: it runs there or is about to.

        Raises HypervisorGone where the peer does not answer.
        """

    @abstractmethod
    def end_migration(self, uuid: str) -> None:
        """No migration of the guest away from here is under way; it runs on. None is no error."""

    @abstractmethod
    def state(self, uuid: str) -> PowerState:
        """SUSPENDED where a saved state waits. Raises DomainNotFound."""

    @abstractmethod
    def list_guests(self) -> dict[str, PowerState]:
        """All guests of ours on this host, by server id."""

    @abstractmethod
    def console_output(self, uuid: str, lines: int | None) -> str:
        """The last `lines` lines (None: all that is kept, at most 100 KiB) of the guest's serial console."""

    @abstractmethod
    def check_console(self, uuid: str, kind: str) -> None:
        """Whether `open_console` would find one. Raises DomainNotFound, NotRunning, ConsoleUnavailable."""

    @abstractmethod
    def open_console(self, uuid: str, kind: str) -> socket.socket:
        """A stream to a running guest's console, which ends with the guest. Needs no port on the host.

        "vnc" is RFB without a password, for any number at once; "spice" is one of SPICE's channels; "serial" is bytes,
        and the newest takes it over. Raises what `check_console` does.
        """

    @abstractmethod
    def set_password(self, uuid: str, user: str, password: str) -> None:
        """Set a user's password through the guest's agent. Raises AgentUnavailable."""

    @abstractmethod
    def diagnostics(self, uuid: str) -> dict[str, Any]:
        """The hypervisor's own figures of a running guest, with the keys of Nova's 2.1 answer for libvirt."""

    # --- life of the connection ---

    @abstractmethod
    def watch(self, notify: Callable[[Event], None]) -> None:
        """Call `notify` (from a thread of the driver) on each change of a guest's power state."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the host; guests go on running."""


def is_true(value: Any) -> bool:
    """An image property that is a switch, as oslo reads one."""
    return str(value).strip().lower() in ("1", "t", "true", "on", "y", "yes")


def console_tail(text: str, lines: int | None) -> str:
    """The last `lines` lines of a console log (os-getConsoleOutput's `length`); None or -1 is all of it.

    Counted as Nova does: what comes behind the last line's end is a line, though an empty one.
    """
    if lines is None or lines < 0:
        return text
    return "\n".join(text.split("\n")[-lines:]) if lines else ""
