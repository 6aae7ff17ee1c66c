# SPDX-License-Identifier: Apache-2.0
"""What a host is: its size, its processor, and whether it can run guests by KVM."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import libvirt

from computeapi.virt.base import HostInfo
from computeapi.virt.libvirt import pci
from computeapi.virt.libvirt.connection import Connection
from computeapi.virt.libvirt.errors import unless
from computeapi.virt.libvirt.xml import parse

_CPUINFO = Path("/proc/cpuinfo")
_HARDWARE = re.compile(r"^(flags|Features)\s*:.*\b(vmx|svm)\b", re.MULTILINE)


class HostProbe:
    """Asks libvirt what its host is. `local`: the host is this machine."""

    def __init__(self, connection: Connection, virt_type: str, *, local: bool) -> None:
        self._connection, self._wanted, self._local = connection, virt_type, local

    def virt_type(self) -> str:
        """ "kvm" or "qemu"; where the setting says "auto": KVM where it works."""
        if self._wanted != "auto":
            return self._wanted
        return "kvm" if self._has_kvm() else "qemu"

    def _has_kvm(self) -> bool:
        # A device /dev/kvm that libvirt takes for usable may still be one that no stock kernel boots under (a KVM
        # without the processor's help), so the processor has to say that it helps.
        if self._local and _CPUINFO.exists() and not _HARDWARE.search(_CPUINFO.read_text(errors="replace")):
            return False
        with self._connection.use("asking for KVM") as conn:
            with unless(*_NO_KVM):
                conn.getDomainCapabilities(None, self._arch(conn), None, "kvm", 0)
                return True
            return False

    def has_spice(self, virt_type: str) -> bool:
        """Whether QEMU here was built with SPICE."""
        with self._connection.use("asking for SPICE") as conn:
            can = parse(conn.getDomainCapabilities(None, self._arch(conn), None, virt_type, 0))
            return any(value.text == "spice" for value in can.findall("devices/graphics/enum[@name='type']/value"))

    def arch(self) -> str:
        """The host's architecture in QEMU's words."""
        with self._connection.use("asking for the architecture") as conn:
            return self._arch(conn)

    @staticmethod
    def _arch(conn: Any) -> str:
        return str(conn.getInfo()[0])

    def info(self, disk_gb: int) -> HostInfo:
        """The host's size and kind now."""
        with self._connection.use("reading the host's size") as conn:
            info = conn.getInfo()
            return HostInfo(
                hostname=conn.getHostname(),
                hypervisor_type="KVM" if self.virt_type() == "kvm" else "QEMU",
                hypervisor_version=conn.getVersion(),
                vcpus=info[2],
                memory_mb=_memory_mb(conn, info[1]),
                disk_gb=disk_gb,
                cpu_info=_cpu_info(conn.getCapabilities()),
                pci=pci.devices(conn),
            )


def _memory_mb(conn: Any, otherwise: int) -> int:
    """getInfo's figure is wrong where the kernel fills its per-node figures late; getMemoryStats has it in KiB."""
    try:
        return int(conn.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]) // 1024
    except (libvirt.libvirtError, KeyError):
        return otherwise


def _cpu_info(capabilities: str) -> dict[str, Any]:
    """Nova's cpu_info: arch, model, vendor, topology, features."""
    cpu = parse(capabilities).find("host/cpu")
    if cpu is None:
        return {}
    topology = cpu.find("topology")
    sizes = {} if topology is None else {key: int(value) for key, value in topology.attrib.items() if value.isdigit()}
    return {
        "arch": cpu.findtext("arch", ""),
        "model": cpu.findtext("model", ""),
        "vendor": cpu.findtext("vendor", ""),
        "topology": sizes,
        "features": [str(feature.get("name")) for feature in cpu.findall("feature")],
    }


_NO_KVM = (
    libvirt.VIR_ERR_INVALID_ARG,
    libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
    libvirt.VIR_ERR_NO_SUPPORT,
    libvirt.VIR_ERR_OPERATION_UNSUPPORTED,
)
