# SPDX-License-Identifier: Apache-2.0
"""One guest: a thin wrapper over virDomain, with our meaning of its states."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from typing import Any

import libvirt

from computeapi.states import PowerState
from computeapi.virt.base import ConsoleUnavailable, HypervisorError, Quiesce
from computeapi.virt.libvirt import consoles
from computeapi.virt.libvirt.domain_xml import NAMESPACE
from computeapi.virt.libvirt.errors import MISSING, unless
from computeapi.virt.libvirt.xml import Element, element, parse, to_text

LOG = logging.getLogger("computeapi.virt")
AGENT_TIMEOUT = 10  # seconds for a command to the guest's agent
_FREEZE_TIMEOUT = 60  # seconds: the guest writes out what it holds, and runs its hooks
_LOOK_SECONDS = 0.2  # between looks how far the copy of a disk is

# As Nova's libvirt driver maps them, but for SHUTDOWN: libvirt's "in shutdown" still has its QEMU process (a reboot
# passes through it too), so it is not off yet.
_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: PowerState.NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PowerState.PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: PowerState.RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: PowerState.SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: PowerState.CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: PowerState.SUSPENDED,
}
# Pauses that libvirt makes in the midst of its own work; they end by themselves.
_PASSING = {
    libvirt.VIR_DOMAIN_PAUSED_STARTING_UP,
    libvirt.VIR_DOMAIN_PAUSED_SAVE,
    libvirt.VIR_DOMAIN_PAUSED_DUMP,
    libvirt.VIR_DOMAIN_PAUSED_SNAPSHOT,
    libvirt.VIR_DOMAIN_PAUSED_MIGRATION,
    libvirt.VIR_DOMAIN_PAUSED_SHUTTING_DOWN,
}
_GONE_ON = {libvirt.VIR_DOMAIN_PAUSED_POSTCOPY, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED}
_DISK_KEYS = ("read_req", "read", "write_req", "write", "errors")
_NIC_KEYS = ("rx", "rx_packets", "rx_errors", "rx_drop", "tx", "tx_packets", "tx_errors", "tx_drop")


def power_state(state: int, reason: int, saved: bool) -> PowerState:
    """Our word for libvirt's state and reason; `saved`: a saved state waits."""
    if state == libvirt.VIR_DOMAIN_PAUSED and reason in _PASSING:
        return PowerState.RUNNING
    ours = _STATES.get(state, PowerState.NOSTATE)
    return PowerState.SUSPENDED if ours == PowerState.SHUTDOWN and saved else ours


class Guest:
    """A guest of a connection that is open. Methods raise libvirtError; the driver translates."""

    def __init__(self, domain: Any) -> None:
        self._domain = domain

    @property
    def uuid(self) -> str:
        """The server's id."""
        return str(self._domain.UUIDString())

    def is_ours(self) -> bool:
        """Whether we defined it."""
        try:
            self._domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, NAMESPACE, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() not in {libvirt.VIR_ERR_NO_DOMAIN_METADATA, *MISSING}:
                raise
            return False
        return True

    def state(self) -> PowerState:
        """Its state now."""
        state, reason = self._domain.state(0)
        off = state in (libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED)
        return power_state(state, reason, off and bool(self._domain.hasManagedSaveImage(0)))

    def start(self) -> None:
        """See Hypervisor.start."""
        state, _ = self._domain.state(0)
        if state == libvirt.VIR_DOMAIN_PAUSED:
            self.unpause()
        elif state == libvirt.VIR_DOMAIN_PMSUSPENDED:
            self._domain.pMWakeup(0)
        elif not self._domain.isActive():
            saved = self._domain.hasManagedSaveImage(0)
            self._domain.create()
            if saved:
                self._set_clock()

    def power_off(self) -> None:
        """See Hypervisor.power_off: off, and no saved state waits either."""
        if self._domain.isActive():
            with unless(libvirt.VIR_ERR_OPERATION_INVALID):  # it ended meanwhile
                self._domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
        if self._domain.hasManagedSaveImage(0):
            self._domain.managedSaveRemove(0)

    def shutdown(self) -> None:
        """See Hypervisor.shutdown: through the agent where it answers, else by the power button."""
        if self._domain.isActive():
            with unless(libvirt.VIR_ERR_OPERATION_INVALID):
                self._domain.shutdownFlags(libvirt.VIR_DOMAIN_SHUTDOWN_DEFAULT)

    def reboot(self) -> None:
        """See Hypervisor.reboot: through the agent where it answers, else by the power button and a reset."""
        self._domain.reboot(libvirt.VIR_DOMAIN_REBOOT_DEFAULT)

    def pause(self) -> None:
        """See Hypervisor.pause."""
        if self.state() != PowerState.PAUSED:
            self._domain.suspend()

    def unpause(self) -> None:
        """See Hypervisor.unpause. Not where another host has gone on with it: its disks are that one's since."""
        if self.state() != PowerState.RUNNING:
            if self._domain.state(0)[1] in _GONE_ON:
                raise HypervisorError(f"guest {self.uuid}: it went on on another host; it can't go on here")
            self._domain.resume()
            self._set_clock()

    def _set_clock(self) -> None:
        """The guest's clock, which has stood still, is the host's (Nova's sync_guest_time): by its agent, if it can."""
        now = time.time_ns()
        try:
            self._domain.agentSetResponseTimeout(AGENT_TIMEOUT, 0)
            self._domain.setTime({"seconds": now // 10**9, "nseconds": now % 10**9})
        except libvirt.libvirtError as error:
            LOG.info("guest %s: its clock stays behind: %s", self.uuid, error)

    def suspend(self) -> None:
        """See Hypervisor.suspend. SAVE_RUNNING: `start` lets it run, also if it was paused."""
        if self.state() != PowerState.SUSPENDED:
            self._domain.managedSave(libvirt.VIR_DOMAIN_SAVE_RUNNING)

    def undefine(self) -> None:
        """Stopped, and unknown to libvirt with all that it keeps of it."""
        if self._domain.isActive():
            with unless(libvirt.VIR_ERR_OPERATION_INVALID):
                self._domain.destroyFlags(libvirt.VIR_DOMAIN_DESTROY_DEFAULT)
        self._domain.undefineFlags(
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
        )

    def disk_in_use(self, path: str) -> str | None:
        """The device ("vda") that the file is to this guest while it runs; None where it is free."""
        if not self._domain.isActive():
            return None
        for disk in parse(self._domain.XMLDesc(0)).findall("devices/disk"):
            source, target = disk.find("source"), disk.find("target")
            if source is not None and target is not None and source.get("file") == path:
                return str(target.get("dev"))
        return None

    def copy_disk(self, target: str, path: str, quiesce: Quiesce = Quiesce.NO) -> None:
        """Copy a disk, with what lies below it, into the qcow2 file `path`, as it is when the copy has caught up.

        The guest runs on and keeps its disk. Ended by anything else, the copy is nothing. (With Nova it holds still
        while all is copied; here it is the moment that counts.)
        """
        copy = element("disk", element("source", file=path), element("driver", name="qemu", type="qcow2"), type="file")
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        self._domain.blockCopy(target, to_text(copy), {}, flags)
        try:
            while not self._has_caught_up(target):
                time.sleep(_LOOK_SECONDS)
            if quiesce != Quiesce.NO and self.state() == PowerState.RUNNING:
                self._freeze(quiesce)
        finally:
            self.end_copy(target)
            if quiesce != Quiesce.NO:
                self.thaw()

    def _freeze(self, quiesce: Quiesce) -> None:
        self._domain.agentSetResponseTimeout(_FREEZE_TIMEOUT, 0)
        try:
            self._domain.fsFreeze()
        except libvirt.libvirtError as error:
            if quiesce == Quiesce.MUST:
                raise
            LOG.info("guest %s: its file systems are copied as they are: %s", self.uuid, error)

    def thaw(self) -> None:
        """See Hypervisor.thaw. An agent that is not there has frozen nothing."""
        if self.state() != PowerState.RUNNING:
            return
        self._domain.agentSetResponseTimeout(_FREEZE_TIMEOUT, 0)
        try:
            self._domain.fsThaw()
        except libvirt.libvirtError as error:
            LOG.info("guest %s: thawing its file systems: %s", self.uuid, error)

    def _has_caught_up(self, target: str) -> bool:
        """Raises HypervisorError where the copy broke off."""
        job = self._domain.blockJobInfo(target, 0)
        if not job:
            raise HypervisorError(f"guest {self.uuid}: the copy of its disk {target} broke off")
        for disk in parse(self._domain.XMLDesc(0)).findall("devices/disk"):
            name, mirror = disk.find("target"), disk.find("mirror")
            if name is not None and name.get("dev") == target:
                return mirror is not None and mirror.get("ready") == "yes"
        return False

    def end_copy(self, target: str) -> None:
        """No copy of the disk is under way any more; what a complete one has written stays."""
        if self._domain.blockJobInfo(target, 0):
            with unless(libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_OPERATION_INVALID):  # it ended meanwhile
                self._domain.blockJobAbort(target, 0)

    def attach_nic(self, document: str, mac: str) -> None:
        """See Hypervisor.attach_nic; `document` is the interface's definition."""
        for where, found in self._interfaces(mac).items():
            if found is None:
                self._domain.attachDeviceFlags(document, where)

    def detach_nic(self, mac: str) -> bool:
        """See Hypervisor.detach_nic: False while a running guest, which is asked each time, has not let go of it."""
        for where, found in self._interfaces(mac).items():
            if found is not None:
                with unless(libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED):  # under way already
                    self._domain.detachDeviceFlags(found, where)
        return not any(self._interfaces(mac).values())

    def _interfaces(self, mac: str) -> dict[int, str | None]:
        """The interface with that MAC address in the definition and, where it runs, in the guest itself."""
        return self._devices("interface", lambda nic: _mac(nic) == mac.lower())

    def _devices(self, kind: str, wanted: Callable[[Element], bool]) -> dict[int, str | None]:
        views = {libvirt.VIR_DOMAIN_AFFECT_CONFIG: libvirt.VIR_DOMAIN_XML_INACTIVE}
        if self._domain.isActive():
            views[libvirt.VIR_DOMAIN_AFFECT_LIVE] = 0
        found: dict[int, str | None] = {}
        for where, flags in views.items():
            devices = parse(self._domain.XMLDesc(flags)).findall(f"devices/{kind}")
            found[where] = next((to_text(device) for device in devices if wanted(device)), None)
        return found

    def screen(self, kind: str) -> int | None:
        """Which of its <graphics> is "vnc" or "spice", counted from 0; None where it has none such."""
        screens = parse(self._domain.XMLDesc(0)).findall("devices/graphics")
        return next((number for number, each in enumerate(screens) if each.get("type") == kind), None)

    def open_console(self, kind: str) -> socket.socket:
        """See Hypervisor.open_console."""
        if kind == "serial":
            return consoles.open_serial(self._domain)
        index = self.screen(kind)
        if index is None:
            raise ConsoleUnavailable(f"guest {self.uuid}: has no {kind} console")
        return consoles.open_screen(self._domain, index)

    def attach_disk(self, document: str, path: str) -> None:
        """See Hypervisor.attach_disk; `document` is the disk's definition."""
        for where, found in self._disks(path).items():
            if found is None:
                self._domain.attachDeviceFlags(document, where)

    def detach_disk(self, path: str) -> bool:
        """See Hypervisor.detach_disk; as `detach_nic`."""
        for where, found in self._disks(path).items():
            if found is not None:
                with unless(libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED):
                    self._domain.detachDeviceFlags(found, where)
        return not any(self._disks(path).values())

    def has_disk(self, path: str) -> bool:
        """Whether the file is one of its disks, now and at its next start."""
        return all(self._disks(path).values())

    def move_disk(self, path: str, to: str) -> None:
        """The running guest writes to the file `to` instead, which has got all that `path` holds."""
        target = self.disk_in_use(path)
        if target is None:
            return
        self.end_copy(target)
        copy = element("disk", element("source", file=to), element("driver", name="qemu", type="qcow2"), type="file")
        flags = libvirt.VIR_DOMAIN_BLOCK_COPY_REUSE_EXT | libvirt.VIR_DOMAIN_BLOCK_COPY_TRANSIENT_JOB
        self._domain.blockCopy(target, to_text(copy), {}, flags)
        try:
            while not self._has_caught_up(target):
                time.sleep(_LOOK_SECONDS)
            self._domain.blockJobAbort(target, libvirt.VIR_DOMAIN_BLOCK_JOB_ABORT_PIVOT)
        except BaseException:
            self.end_copy(target)
            raise

    def grow_disk(self, path: str, size: int) -> bool:
        """The disk of that file has so many bytes for the running guest; False where none runs with it."""
        target = self.disk_in_use(path)
        if target is None:
            return False
        if int(self._domain.blockInfo(target, 0)[0]) < size:
            self._domain.blockResize(target, size, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)
        return True

    def replace_disk(self, document: str, path: str, to: str) -> None:
        """From its next start on the guest has the disk `to` in the place of `path`; `document` is its definition."""
        config = libvirt.VIR_DOMAIN_AFFECT_CONFIG
        old, new = self._disks(path)[config], self._disks(to)[config]
        if new is None:
            if old is not None:
                self._domain.detachDeviceFlags(old, config)
            self._domain.attachDeviceFlags(document, config)

    def _disks(self, path: str) -> dict[int, str | None]:
        """The disk of that file in the definition and, where it runs, in the guest itself."""
        return self._devices("disk", lambda disk: _file(disk) == path)

    def set_password(self, user: str, password: str) -> None:
        """See Hypervisor.set_password."""
        self._domain.agentSetResponseTimeout(AGENT_TIMEOUT, 0)
        self._domain.setUserPassword(user, password, 0)

    def diagnostics(self) -> dict[str, Any]:
        """Nova's keys (nova/virt/libvirt/driver.py, get_diagnostics): CPU times in ns, memory in KiB, counts.

        A figure that this host does not give is left out, as Nova does.
        """
        if not self._domain.isActive():
            raise HypervisorError(f"guest {self.uuid}: is not running")
        answer: dict[str, Any] = {}
        try:
            for vcpu in self._domain.vcpus()[0]:
                answer[f"cpu{vcpu[0]}_time"] = vcpu[2]
        except libvirt.libvirtError as error:
            _unless_gone(error)
        document = parse(self._domain.XMLDesc(0))
        for tag, keys, read in (
            ("disk", _DISK_KEYS, self._domain.blockStats),
            ("interface", _NIC_KEYS, self._domain.interfaceStats),
        ):
            for target in document.findall(f"devices/{tag}/target"):
                name = str(target.get("dev"))
                try:
                    values = read(name)
                except libvirt.libvirtError as error:
                    _unless_gone(error)
                    continue
                answer |= {f"{name}_{key}": value for key, value in zip(keys, values, strict=False)}
        answer["memory"] = self._domain.maxMemory()
        try:
            answer |= {f"memory-{key}": value for key, value in self._domain.memoryStats().items()}
        except libvirt.libvirtError as error:
            _unless_gone(error)
        return answer


def _mac(nic: Element) -> str:
    found = nic.find("mac")
    return "" if found is None else str(found.get("address")).lower()


def _file(disk: Element) -> str:
    found = disk.find("source")
    return "" if found is None else str(found.get("file"))


def _unless_gone(error: libvirt.libvirtError) -> None:
    """A missing figure is none; a missing guest or host is an error."""
    if error.get_error_code() in {libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_RPC}:
        raise error
