# SPDX-License-Identifier: Apache-2.0
"""A hypervisor without guests: for trying clients, for tests of the API, and for load tests with many hosts.

What a real host would know is kept in one SQLite file below the state directory (or in memory only), so a compute
service that was killed finds its "guests" as they would be, and two processes see the same host. An asked-for
shutdown goes on while no service runs, as it would on a real host. `<state_dir>/simulator/options.json`, where it
exists, sets what the constructor's arguments of the same names do, for services started by another process.
"""

from __future__ import annotations

import functools
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from computeapi.states import PowerState
from computeapi.virt import images, simulator_console
from computeapi.virt.base import (
    AgentUnavailable,
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
    HypervisorGone,
    NetworkSpec,
    NicSpec,
    NoSpace,
    NotRunning,
    Peer,
    Policy,
    Progress,
    Quiesce,
    console_tail,
    is_true,
)
from computeapi.virt.firewall import Applied, Firewall, Floating, PacketRule, find_refused, without
from computeapi.virt.simulator_store import CLOCK, Disks, Guest, Store

P = ParamSpec("P")
R = TypeVar("R")
CONSOLE_BYTES = 100 * 1024
#: Methods whose delay is how long the guest takes after the call has returned.
LATER = frozenset({"shutdown", "reboot"})


def simulated(
    method: Callable[Concatenate[SimulatedHypervisor, P], R],
) -> Callable[Concatenate[SimulatedHypervisor, P], R]:
    """Around each method of the interface: the connection, the delay and the failures that were set for it."""
    name = method.__name__

    @functools.wraps(method)
    def call(self: SimulatedHypervisor, /, *args: P.args, **kwargs: P.kwargs) -> R:
        self.calls[name] += 1
        if self.gone:
            raise HypervisorGone(f"the simulated hypervisor of {self.host} does not answer")
        if name not in LATER and (delay := self.delays.get(name, 0.0)):
            time.sleep(delay)
        self._raise_failure(name, after=False)
        result = method(self, *args, **kwargs)
        self._raise_failure(name, after=True)
        return result

    return call


class SimulatedHypervisor(Hypervisor):
    """One simulated host.

    `delays` are seconds by method name. `vcpus`, `memory_mb` (MiB) and `disk_gb` (GiB) are the host's size; base
    images and config drives that exceed `disk_gb` raise NoSpace. `gone = True` is a hypervisor that does not answer.
    `calls` counts the calls by method name. Hosts with the same `pool` share their storage, those with a
    `volume_directory` their volumes, which need a state directory. Hosts of one process find each other
    in `fabric`, those with a state directory in that.
    """

    def __init__(
        self,
        host: str = "simulator",
        *,
        state_dir: Path | None = None,
        vcpus: int = 64,
        memory_mb: int = 262144,
        disk_gb: int = 4096,
        delays: Mapping[str, float] | None = None,
        capabilities: Capabilities | None = None,
        pool: str = "",
        volume_directory: str = "",
        fabric: dict[str, SimulatedHypervisor] | None = None,
    ) -> None:
        self.host, self.pool = host, pool
        self._fabric = {} if fabric is None else fabric
        self._fabric[host] = self
        self._state_dir, self._volume_directory = state_dir, volume_directory
        self.vcpus, self.memory_mb, self.disk_gb = vcpus, memory_mb, disk_gb
        self.delays = dict(delays or {})
        self.pci: list[dict[str, Any]] = []
        self.gone = False
        self.calls: Counter[str] = Counter()
        self._capabilities = capabilities or Capabilities(filters=True, serial=True)
        self._failures: list[tuple[str, BaseException, list[int], bool]] = []
        self._watchers: list[Callable[[Event], None]] = []
        self._closed = False
        self.firewall = Firewall()  # what was applied last
        self.refused: set[str | PacketRule] = set()  # floating addresses and rules; "": everything
        self._firewall_lock = threading.Lock()
        if state_dir is not None:
            self._read_options(state_dir)
        self._store = Store(state_dir, host, self._notify)
        everybodys = Store(state_dir, "volume-directory", self._notify) if volume_directory and state_dir else None
        self._disks = Disks(self._shared_store() if self.pool else self._store, everybodys)

    def _shared_store(self) -> Store:
        """The pool's, which is the first one's that has it."""
        for other in self._fabric.values():
            if other is not self and other.pool == self.pool and self._state_dir is None:
                return other._disks.own
        return Store(self._state_dir, f"pool-{self.pool}", self._notify)

    def _read_options(self, state_dir: Path) -> None:
        try:
            options = json.loads((state_dir / "simulator" / "options.json").read_bytes())
        except FileNotFoundError:
            return
        self.delays |= options.get("delays", {})
        self.pool = str(options.get("pool", self.pool))
        self.pci = options.get("pci", [])
        for name in ("vcpus", "memory_mb", "disk_gb"):
            setattr(self, name, int(options.get(name, getattr(self, name))))

    # --- what a test sets ---

    def fail(self, method: str, error: BaseException, times: int = 1, *, after: bool = False) -> None:
        """The next `times` calls of `method` raise `error`: before they do anything, or `after` they have done it."""
        self._failures.append((method, error, [times], after))

    def ignore_acpi(self, uuid: str, ignore: bool = True) -> None:
        """The guest does not hear shutdown and reboot (until told otherwise)."""
        with self._store.open() as data:
            data.change(self._guest(data, uuid), ignore_acpi=ignore)

    def kill_guest(self, uuid: str) -> None:
        """The guest dies on its own, as when its process is killed."""
        self._turn(uuid, PowerState.SHUTDOWN)

    def _raise_failure(self, method: str, *, after: bool) -> None:
        for failure in tuple(self._failures):
            name, error, left, is_after = failure
            if name == method and is_after == after and left[0] > 0:
                left[0] -= 1
                raise error

    # --- the host ---

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @simulated
    def host_info(self) -> HostInfo:
        info = {"arch": "x86_64", "model": "simulated", "vendor": "computeapi", "features": [], "topology": {}}
        peer = Peer(self.host, f"simulator:///{self.host}", pool=self.pool or f"own-{self.host}")
        return HostInfo(self.host, "simulator", 1000000, self.vcpus, self.memory_mb, self.disk_gb, info, peer, self.pci)

    # --- storage ---

    @simulated
    def ensure_base(self, name: str, image_format: str, size: int, chunks: Callable[[], Iterator[bytes]]) -> None:
        images.check_name(name)
        with self._disks.open() as data:
            if data.volume(name):
                return
        head, stream = images.split_head(chunks())
        info = images.check_image(name, image_format, size, head)
        received = sum(len(chunk) for chunk in stream)
        if received != size:
            raise HypervisorError(f"image {name}: got {received} bytes of {size}")
        self._keep(name, size, info.virtual_size)

    @simulated
    def ensure_disk(self, name: str, size_gb: int, base: str | None) -> None:
        images.check_name(name)
        with self._disks.open() as data:
            found = data.volume(base) if base else None
            if base and not found:
                raise HypervisorError(f"disk {name}: there is no volume {base}")
            if not data.volume(name):
                virtual = images.disk_bytes(name, size_gb, found[1] if found else None)
                data.put_volume(name, 0, virtual)

    @simulated
    def ensure_iso(self, name: str, content: bytes) -> None:
        self._keep(images.check_name(name), len(content), len(content))

    def _keep(self, name: str, size: int, virtual_size: int) -> None:
        with self._disks.open() as data:
            old = data.volume(name)
            if data.stored_bytes() - (old[0] if old else 0) + size > self.disk_gb * images.GIB:
                raise NoSpace(f"volume {name}: no space left on {self.host}")
            data.put_volume(name, size, virtual_size)

    @simulated
    def remove_volumes(self, prefix: str) -> None:
        images.check_name(prefix)
        with self._disks.open() as data:
            data.remove_volumes(prefix)

    @simulated
    def list_volumes(self) -> list[str]:
        with self._disks.open() as data:
            return data.volume_names()

    @simulated
    def virtual_size(self, name: str) -> int:
        with self._disks.open() as data:
            return self._volume(data, name)[1]

    @simulated
    def remove_volume(self, name: str) -> None:
        images.check_name(name)
        with self._disks.open() as data:
            data.remove_volume(name)

    @simulated
    def resize_disk(self, name: str, size_gb: int, user: str = "") -> None:
        with self._disks.open() as data:
            size, virtual = self._volume(data, name)
            data.put_volume(name, size, max(virtual, size_gb * images.GIB))

    @simulated
    def snapshot(self, uuid: str, volume: str, name: str, quiesce: Quiesce = Quiesce.NO) -> None:
        images.check_name(name)
        if quiesce == Quiesce.MUST:
            with self._store.open() as data:
                guest = data.guest(uuid)
            if guest is not None and guest.state == PowerState.RUNNING:
                _check_agent(guest)
        with self._disks.open() as data:
            _, virtual = self._volume(data, volume)
            data.put_volume(name, len(images.empty_qcow2(virtual)), virtual)

    @simulated
    def thaw(self, uuid: str) -> None:
        pass

    @simulated
    def read_volume(self, name: str) -> Iterator[bytes]:
        with self._disks.open() as data:
            _, virtual = self._volume(data, name)
        return iter([images.empty_qcow2(virtual)])

    @simulated
    def receive_volume(self, peer: Peer, volume: str, name: str) -> None:
        images.check_name(name)
        with self._other(peer)._disks.open() as there:
            size, virtual = self._volume(there, volume)
        self._keep(name, size, virtual)

    @simulated
    def receive_blank(self, peer: Peer, name: str) -> None:
        images.check_name(name)
        with self._other(peer)._disks.open() as there:
            _, virtual = self._volume(there, name)
        self._keep(name, 0, virtual)

    @simulated
    def receive_console(self, peer: Peer, uuid: str) -> None:
        with self._other(peer)._store.open() as there:
            text = there.console(uuid) if there.guest(uuid) else ""
        with self._store.open() as data:
            data.put_kept_console(uuid, text)

    def _other(self, peer: Peer) -> SimulatedHypervisor:
        """A simulated host of this process, or of another one by its files."""
        other = self._fabric.get(peer.name)
        if other is None:
            if self._state_dir is None:
                raise HypervisorGone(f"the simulated hypervisor of {peer.name} does not answer")
            other = SimulatedHypervisor(
                peer.name, state_dir=self._state_dir, volume_directory=self._volume_directory, fabric=self._fabric
            )
        if other.gone:
            raise HypervisorGone(f"the simulated hypervisor of {peer.name} does not answer")
        return other

    # --- networks ---

    @simulated
    def ensure_network(self, spec: NetworkSpec) -> None:
        with self._store.open() as data:
            data.put_network(spec.name, spec.uuid)
            for host in spec.hosts:
                data.put_dhcp(spec.name, host)

    @simulated
    def remove_network(self, name: str) -> None:
        with self._store.open() as data:
            data.remove_network(name)

    @simulated
    def list_networks(self) -> dict[str, str]:
        with self._store.open() as data:
            return data.networks()

    @simulated
    def ensure_dhcp_host(self, network: str, host: DhcpHost) -> None:
        with self._store.open() as data:
            if not data.has_network(network):
                raise HypervisorError(f"there is no network {network}")
            data.put_dhcp(network, host)

    @simulated
    def remove_dhcp_host(self, network: str, mac: str) -> None:
        with self._store.open() as data:
            data.remove_dhcp(network, mac)

    @simulated
    def apply_firewall(self, read: Callable[[], Firewall]) -> Applied:
        with self._firewall_lock:
            firewall, had = read(), self.firewall.floating
            if "" in self.refused:
                why = "nft -f -: no"
                lost = [pair.address for pair in firewall.floating if pair not in had]
                return Applied(firewall, dict.fromkeys(lost, why), whole=why)
            found = find_refused(firewall, self._refuses) if self.refused else {}
            self.firewall = without(firewall, found)
        return Applied(
            firewall,
            {part.address: why for part, why in found.items() if isinstance(part, Floating)},
            {part: why for part, why in found.items() if isinstance(part, PacketRule)},
        )

    def _refuses(self, firewall: Firewall) -> str:
        rules = {rule for guard in firewall.guards for rule in (*guard.ingress, *guard.egress)}
        floating = {pair.address for pair in firewall.floating}
        return "nft -f -: no" if self.refused & (rules | floating) else ""

    @simulated
    def listen(self, bridges: Sequence[str], port: int, known: Mapping[str, socket.socket]) -> dict[str, socket.socket]:
        return {}  # its guests ask for nothing

    @simulated
    def ping(self, addresses: Sequence[str], seconds: int) -> set[str]:
        with self._store.open() as data:
            running = [data.guest(uuid) for uuid, state in data.states().items() if state == PowerState.RUNNING]
            promised = {
                host.address
                for guest in running
                if guest is not None
                for nic in guest.spec.nics
                if (host := data.promised(nic.network, nic.mac)) is not None
            }
        return promised & set(addresses)

    def dhcp_hosts(self, network: str) -> dict[str, DhcpHost]:
        """The promised addresses of a network, by MAC address (for tests)."""
        with self._store.open() as data:
            return data.dhcp(network)

    # --- guests ---

    @simulated
    def define(self, spec: DomainSpec) -> None:
        with self._store.open() as data:
            other = data.guest_named(spec.name)
            if other is not None and other != spec.uuid:
                raise HypervisorError(f"guest {spec.uuid}: the name {spec.name} is {other}'s")
            data.put_guest(spec)

    @simulated
    def undefine(self, uuid: str, *, keep_console: bool = False) -> None:
        with self._store.open() as data:
            guest = data.guest(uuid)
            data.remove_guest(uuid)
        if guest and guest.state in (PowerState.RUNNING, PowerState.PAUSED):
            self._notify(Event(uuid, PowerState.SHUTDOWN))

    @simulated
    def attach_nic(self, uuid: str, nic: NicSpec) -> None:
        with self._store.open() as data:
            spec = self._guest(data, uuid).spec
            if nic.network and not data.has_network(nic.network):
                raise HypervisorError(f"guest {uuid}: there is no network {nic.network}")
            if all(each.mac.lower() != nic.mac.lower() for each in spec.nics):
                data.put_guest(replace(spec, nics=(*spec.nics, nic)))

    @simulated
    def detach_nic(self, uuid: str, mac: str) -> None:
        with self._store.open() as data:
            spec = self._guest(data, uuid).spec
            data.put_guest(replace(spec, nics=tuple(each for each in spec.nics if each.mac.lower() != mac.lower())))

    @simulated
    def attach_disk(self, uuid: str, disk: DiskSpec) -> None:
        with self._store.open() as data:
            spec = self._guest(data, uuid).spec
            self._check_disk(disk)
            if all(each.volume != disk.volume for each in spec.disks):
                if any(each.target == disk.target for each in spec.disks):
                    raise HypervisorError(f"guest {uuid}: target {disk.target} already exists")
                data.put_guest(replace(spec, disks=(*spec.disks, disk)))

    @simulated
    def detach_disk(self, uuid: str, disk: DiskSpec) -> None:
        with self._store.open() as data:
            spec = self._guest(data, uuid).spec
            data.put_guest(replace(spec, disks=tuple(each for each in spec.disks if each.volume != disk.volume)))

    @simulated
    def swap_disk(self, uuid: str, old: DiskSpec, new: DiskSpec, size_gb: int) -> None:
        with self._store.open() as data:
            spec = self._guest(data, uuid).spec
            self._check_disk(new)
            disks = tuple(
                replace(new, target=each.target) if each.volume == old.volume else each for each in spec.disks
            )
            data.put_guest(replace(spec, disks=disks))

    def disks(self, uuid: str) -> dict[str, str]:
        """Target → volume of a guest's disks (for tests)."""
        with self._store.open() as data:
            return {each.target: each.volume for each in self._guest(data, uuid).spec.disks}

    def nics(self, uuid: str) -> list[str]:
        """The MAC addresses of a guest's interfaces (for tests)."""
        with self._store.open() as data:
            return [each.mac for each in self._guest(data, uuid).spec.nics]

    @simulated
    def start(self, uuid: str) -> None:
        with self._store.open() as data:
            guest = self._guest(data, uuid)
            if guest.state == PowerState.RUNNING:
                return
            if guest.state not in (PowerState.PAUSED, PowerState.SUSPENDED):
                self._check_parts(data, guest.spec)
                data.append_console(uuid, boot_text(guest.spec, data), CONSOLE_BYTES)
            data.change(guest, state=PowerState.RUNNING, due=None)
        self._notify(Event(uuid, PowerState.RUNNING))

    @simulated
    def shutdown(self, uuid: str) -> None:
        self._ask(uuid, "off", self.delays.get("shutdown", 0.0))

    @simulated
    def reboot(self, uuid: str) -> None:
        self._ask(uuid, "boot", self.delays.get("reboot", 0.0))

    @simulated
    def power_off(self, uuid: str) -> None:
        self._turn(uuid, PowerState.SHUTDOWN)

    @simulated
    def pause(self, uuid: str) -> None:
        self._turn(uuid, PowerState.PAUSED, PowerState.RUNNING)

    @simulated
    def unpause(self, uuid: str) -> None:
        self._turn(uuid, PowerState.RUNNING, PowerState.PAUSED)

    @simulated
    def suspend(self, uuid: str) -> None:
        self._turn(uuid, PowerState.SUSPENDED, PowerState.RUNNING, PowerState.PAUSED)

    @simulated
    def migrate(
        self, uuid: str, peer: Peer, disks: Sequence[str], policy: Policy, watch: Callable[[Progress], None]
    ) -> None:
        other = self._other(peer)
        watch(Progress())
        with ExitStack() as both:
            opened = {each: both.enter_context(each._store.open()) for each in self._in_order(other)}
            here, there = opened[self], opened[other]
            guest, arrived = here.guest(uuid), there.guest(uuid)
            if guest is None and arrived is not None:
                return
            if guest is None or guest.state not in (PowerState.RUNNING, PowerState.PAUSED):
                raise HypervisorError(f"guest {uuid}: is not running")
            other._check_parts(there, guest.spec)
            there.put_guest(guest.spec)
            moved = there.guest(uuid)
            assert moved is not None
            there.change(moved, state=guest.state, ignore_acpi=guest.ignore_acpi)
            here.remove_guest(uuid)
        other._notify(Event(uuid, guest.state))

    @simulated
    def has_arrived(self, uuid: str, peer: Peer) -> bool:
        with self._other(peer)._store.open() as there:
            guest = there.guest(uuid)
            return guest is not None and guest.state in (PowerState.RUNNING, PowerState.PAUSED)

    def _in_order(self, other: SimulatedHypervisor) -> list[SimulatedHypervisor]:
        """Both, always in the same order: two who migrate to each other don't wait for each other."""
        return sorted((self, other), key=lambda each: each.host)

    @simulated
    def end_migration(self, uuid: str) -> None:
        """A simulated migration is done as soon as it begins."""

    @simulated
    def state(self, uuid: str) -> PowerState:
        with self._store.open() as data:
            return self._guest(data, uuid).state

    @simulated
    def list_guests(self) -> dict[str, PowerState]:
        with self._store.open() as data:
            return data.states()

    @simulated
    def console_output(self, uuid: str, lines: int | None) -> str:
        with self._store.open() as data:
            self._guest(data, uuid)
            return console_tail(data.console(uuid), lines)

    @simulated
    def check_console(self, uuid: str, kind: str) -> None:
        with self._store.open() as data:
            state = self._guest(data, uuid).state
        if kind != "serial":
            raise ConsoleUnavailable(f"guest {uuid}: a simulated guest has no {kind} console")
        if state not in (PowerState.RUNNING, PowerState.PAUSED):
            raise NotRunning(f"guest {uuid}: is not running")

    @simulated
    def open_console(self, uuid: str, kind: str) -> socket.socket:
        self.check_console(uuid, kind)

        def runs() -> bool:
            try:
                self.check_console(uuid, kind)
            except HypervisorError:
                return False
            return True

        return simulator_console.open_serial(f"{self.host}: there is no guest; what you type comes back", runs)

    @simulated
    def set_password(self, uuid: str, user: str, password: str) -> None:
        with self._store.open() as data:
            guest = self._guest(data, uuid)
        _check_agent(guest)
        if guest.state != PowerState.RUNNING:
            raise AgentUnavailable(f"guest {uuid}: is not running")

    @simulated
    def diagnostics(self, uuid: str) -> dict[str, Any]:
        with self._store.open() as data:
            guest = self._guest(data, uuid)
        if guest.state not in (PowerState.RUNNING, PowerState.PAUSED):
            raise HypervisorError(f"guest {uuid}: is not running")
        return figures(guest.spec)

    # --- life of the connection ---

    @simulated
    def watch(self, notify: Callable[[Event], None]) -> None:
        self._watchers.append(notify)
        with self._store.open() as data:
            waiting = data.waiting()
        for due in waiting:
            CLOCK.at(due, self._settle)

    def close(self) -> None:
        self.gone = self._closed = True
        self._watchers.clear()
        self._store.close()
        pool = self._disks.own
        if pool is not self._store and not any(
            each._disks.own is pool and not each._closed for each in self._fabric.values()
        ):
            pool.close()
        if self._disks.everybodys is not None:
            self._disks.everybodys.close()

    # --- inside ---

    def _guest(self, data: Store, uuid: str) -> Guest:
        guest = data.guest(uuid)
        if guest is None:
            raise DomainNotFound(f"{self.host} has no guest {uuid}")
        return guest

    def _volume(self, data: Disks, name: str) -> tuple[int, int]:
        """Bytes kept, virtual size in bytes."""
        found = data.volume(name)
        if not found:
            raise HypervisorError(f"there is no volume {name}")
        return found

    def _check_disk(self, disk: DiskSpec) -> None:
        """It is a file of its own, or a volume of ours."""
        if not disk.path or not Path(disk.path).exists():
            with self._disks.open() as data:
                self._volume(data, disk.volume)

    def _check_parts(self, data: Store, spec: DomainSpec) -> None:
        with self._disks.open() as disks:
            for disk in spec.disks:
                if not disk.path and not disks.volume(disk.volume):
                    raise HypervisorError(f"guest {spec.uuid}: there is no volume {disk.volume}")
        for nic in spec.nics:
            if nic.network and not data.has_network(nic.network):
                raise HypervisorError(f"guest {spec.uuid}: there is no network {nic.network}")

    def _turn(self, uuid: str, to: PowerState, *sources: PowerState) -> None:
        """Bring a guest to a state at once; from `sources` only, where there are any."""
        with self._store.open() as data:
            guest = self._guest(data, uuid)
            if guest.state == to:
                return
            if sources and guest.state not in sources:
                raise HypervisorError(f"guest {uuid}: is {guest.state.name}, not {sources[0].name}")
            data.change(guest, state=to, due=None)
        self._notify(Event(uuid, to))

    def _ask(self, uuid: str, what: str, delay: float) -> None:
        with self._store.open() as data:
            guest = self._guest(data, uuid)
            if guest.state != PowerState.RUNNING:
                if what == "off" and guest.state in (PowerState.SHUTDOWN, PowerState.SUSPENDED):
                    return
                raise HypervisorError(f"guest {uuid}: is {guest.state.name}, not RUNNING")
            if guest.ignore_acpi:
                return
            due = time.time() + delay
            text = boot_text(guest.spec, data) if what == "boot" else ""
            data.change(guest, due=due, text=text)
        CLOCK.at(due, self._settle)

    def _settle(self) -> None:
        """A shutdown or reboot that was asked for is due, unless somebody was quicker."""
        if not self._closed:
            with self._store.open():
                pass

    def _notify(self, event: Event) -> None:
        for notify in tuple(self._watchers):
            CLOCK.at(0.0, functools.partial(notify, event))


def boot_text(spec: DomainSpec, data: Store) -> str:
    """What a guest writes on its serial console while it boots: the same text for the same guest."""
    title = "".join(char if char.isprintable() else "?" for char in spec.title or spec.name)
    lines = [
        "[    0.000000] Linux version 6.1.0-simulated (computeapi simulator)",
        "[    0.000000] Command line: console=ttyS0",
        f"[    0.210000] smpboot: Allowing {spec.vcpus} CPUs, 0 hotplug CPUs",
        f"[    0.350000] Memory: {spec.memory_mb * 1024}K available",
    ]
    hostname = title
    for number, nic in enumerate(spec.nics):
        lines.append(f"[    1.0{number:05d}] virtio_net eth{number}: {nic.mac}")
        promised = data.promised(nic.network, nic.mac)
        if promised:
            hostname = promised.hostname if number == 0 else hostname
            lines.append(f"GUEST-DHCP eth{number} {promised.address}")
    if any(disk.device == "cdrom" or disk.volume.endswith("_config") for disk in spec.disks):
        lines.append("GUEST-CONFIGDRIVE ec2 openstack")
    lines.append(f"GUEST-READY {hostname} name={title} up=1.62 mem={spec.memory_mb * 1024}")
    return "".join(line + "\r\n" for line in [*lines, "", f"{hostname} login: "])


def figures(spec: DomainSpec) -> dict[str, Any]:
    """Made-up figures, the same for the same guest, with the keys that Nova's libvirt driver has."""
    memory = spec.memory_mb * 1024
    answer: dict[str, Any] = {f"cpu{number}_time": 17300000000 for number in range(spec.vcpus)}
    for disk in spec.disks:
        values = {"read": 262144, "read_req": 112, "write": 5778432, "write_req": 488, "errors": -1}
        answer |= {f"{disk.target}_{key}": value for key, value in values.items()}
    for number, nic in enumerate(spec.nics):
        counts = {"rx": 2070139, "rx_packets": 26701, "tx": 140208, "tx_packets": 662}
        silent = dict.fromkeys(("rx_errors", "rx_drop", "tx_errors", "tx_drop"), 0)
        answer |= {f"{nic.tap or f'vnet{number}'}_{key}": value for key, value in (counts | silent).items()}
    answer |= {"memory": memory, "memory-actual": memory, "memory-available": memory, "memory-rss": memory // 2}
    return answer


def _check_agent(guest: Guest) -> None:
    """A simulated guest has an agent where its image says so."""
    if not is_true(guest.spec.image_properties.get("hw_qemu_guest_agent")):
        raise AgentUnavailable(f"guest {guest.spec.uuid}: has no agent")
