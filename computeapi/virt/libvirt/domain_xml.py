# SPDX-License-Identifier: Apache-2.0
"""A guest's libvirt definition, from declared parts: PARTS and DEVICES are the list, in the order of the document.

Each part is a function of the guest's spec and of its host, and gives elements (none where the guest has no such
part). When you add one, add a guest that has it to tests/virt/test_domain_xml.py; its golden file shows the change.
Format: https://libvirt.org/formatdomain.html. Image properties: Nova's of the same names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from xml.etree import ElementTree

from computeapi.virt.base import DiskSpec, DomainSpec, HypervisorError, NicSpec
from computeapi.virt.libvirt.xml import Element, clean, element, to_text

#: Marks the guests that are ours, and holds what people reading virsh want to know of them.
NAMESPACE = "urn:computeapi:server:1"
AGENT_CHANNEL = "org.qemu.guest_agent.0"
BALLOON_PERIOD = 10  # seconds between the guest's own memory figures
_TB_CACHE = (32, 512)  # MiB: least and most that emulated code may take; a quarter of the guest's memory between
PCIE_PORTS = 24  # of a q35 machine, for what it starts with (about ten devices) and what is plugged in
_VIDEO_MODELS = frozenset({"vga", "cirrus", "virtio", "qxl", "bochs"})
_SATA_NAMES = {"hd": "sd", "vd": "sd"}

ElementTree.register_namespace("computeapi", NAMESPACE)


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What a definition needs to know of the host. Paths are the host's own."""

    virt_type: str  # "kvm" | "qemu"
    pool_dir: str
    console_dir: str
    arch: str = "x86_64"
    disk_cache: str = "none"  # QEMU's cache mode for the pool's file system
    spice: bool = False  # guests have a SPICE screen too


Part = Callable[[DomainSpec, HostFacts], Iterable[Element]]


def build(spec: DomainSpec, host: HostFacts) -> str:
    """The definition's text."""
    root = element("domain", type=host.virt_type)
    for part in PARTS:
        root.extend(part(spec, host))
    devices = element("devices")
    for device in DEVICES:
        devices.extend(device(spec, host))
    root.append(devices)
    return to_text(root)


def console_path(uuid: str, host: HostFacts) -> str:
    """Where the guest's serial console is logged."""
    return f"{host.console_dir}/{uuid}.log"


def wants_uefi(spec: DomainSpec) -> bool:
    """Whether the image asks for UEFI firmware instead of a BIOS."""
    return spec.image_properties.get("hw_firmware_type", "").lower() == "uefi"


def machine(spec: DomainSpec) -> str:
    """QEMU's machine type: the image's hw_machine_type, else q35 for UEFI, else pc."""
    return spec.image_properties.get("hw_machine_type") or ("q35" if wants_uefi(spec) else "pc")


# --- the guest itself ---


def identity(spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    yield element("name", spec.name)
    yield element("uuid", spec.uuid)
    title = " ".join(clean(spec.title).split())  # libvirt refuses a title with a line break
    if title:
        yield element("title", title)
    entries = [element(f"{{{NAMESPACE}}}entry", value, name=key) for key, value in sorted(spec.metadata.items())]
    yield element("metadata", element(f"{{{NAMESPACE}}}server", *entries))


def size(spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    yield element("memory", spec.memory_mb, unit="MiB")
    yield element("vcpu", spec.vcpus)


def sysinfo(spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    # cloud-init knows an OpenStack guest by this product name (its ds-identify).
    values = {
        "manufacturer": "OpenStack Foundation",
        "product": "OpenStack Nova",
        "serial": spec.uuid,
        "uuid": spec.uuid,
        "family": "Virtual Machine",
    }
    system = element("system", *(element("entry", value, name=name) for name, value in values.items()))
    yield element("sysinfo", system, type="smbios")


def firmware(spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    kind = element("type", "hvm", arch=host.arch, machine=machine(spec))
    smbios = element("smbios", mode="sysinfo")
    if not wants_uefi(spec):
        yield element("os", kind, smbios)
        return
    # Said in both cases: left to itself libvirt takes a firmware that starts only what Microsoft has signed.
    secure = "yes" if spec.image_properties.get("os_secure_boot", "").lower() == "required" else "no"
    wanted = [element("feature", enabled=secure, name=name) for name in ("secure-boot", "enrolled-keys")]
    yield element("os", kind, element("firmware", *wanted), smbios, firmware="efi")


def features(spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    made = element("features", element("acpi"), element("apic"))
    if host.virt_type == "qemu":
        least, most = _TB_CACHE
        cache = min(max(spec.memory_mb // 4, least), most)
        made.append(element("tcg", element("tb-cache", cache, unit="MiB")))
    yield made


def processor(_spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    if host.virt_type == "kvm":
        yield element("cpu", mode="host-model", check="partial")
    else:
        # x86-64-v2, which today's distributions ask for; QEMU's own default CPU has less.
        yield element("cpu", element("model", "Nehalem", fallback="forbid"), mode="custom", match="exact", check="none")


def clock(_spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    made = element("clock", offset="utc")
    if host.virt_type == "kvm":
        made.append(element("timer", name="pit", tickpolicy="delay"))
        made.append(element("timer", name="rtc", tickpolicy="catchup"))
        made.append(element("timer", name="hpet", present="no"))
    yield made


def endings(_spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    yield element("on_poweroff", "destroy")
    yield element("on_reboot", "restart")
    yield element("on_crash", "destroy")


# --- its devices ---


def disks(spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    return [disk(each, spec, host) for each in spec.disks]


def disk(each: DiskSpec, spec: DomainSpec, host: HostFacts) -> Element:
    """One disk or CD-ROM of a guest."""
    target = each.target
    if each.bus == "ide" and "q35" in machine(spec):  # which has no IDE controller
        each = replace(each, bus="sata", target=_SATA_NAMES.get(target[:2], target[:2]) + target[2:])
    return plain_disk(each, host)


def disk_path(each: DiskSpec, host: HostFacts) -> str:
    """The disk's file."""
    return each.path or f"{host.pool_dir}/{each.volume}"


def plain_disk(each: DiskSpec, host: HostFacts) -> Element:
    """One disk or CD-ROM, whatever the guest."""
    driver = element(
        "driver",
        name="qemu",
        type=each.format,
        cache=host.disk_cache,
        discard="unmap" if each.device == "disk" and not each.read_only else None,
    )
    return element(
        "disk",
        driver,
        element("source", file=disk_path(each, host)),
        element("target", dev=each.target, bus=each.bus),
        element("readonly") if each.read_only or each.device == "cdrom" else None,
        element("serial", each.serial) if each.serial else None,
        element("boot", order=each.boot_index) if each.boot_index is not None else None,
        type="file",
        device=each.device,
    )


def controllers(spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    if any(each.bus == "scsi" for each in spec.disks):
        yield element("controller", type="scsi", index=0, model="virtio-scsi")
    if "q35" in machine(spec):  # which has no place for what is plugged in later, unless it is kept free
        yield element("controller", type="pci", index=0, model="pcie-root")
        for index in range(1, PCIE_PORTS + 1):
            yield element("controller", type="pci", index=index, model="pcie-root-port")


def nics(spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    return [nic(each) for each in spec.nics]


def nic(each: NicSpec) -> Element:
    """One network interface."""
    if len(each.filters) > 1:
        raise HypervisorError(f"interface {each.mac}: libvirt takes one filter an interface, not {len(each.filters)}")
    kind, source = "ethernet", None  # a device that whoever waits for it plugs
    if each.network:
        kind, source = "network", element("source", network=each.network)
    elif each.bridge:
        kind, source = "bridge", element("source", bridge=each.bridge)
    port = element("parameters", interfaceid=each.ovs_port) if each.ovs_port else None
    return element(
        "interface",
        element("mac", address=each.mac),
        source,
        element("virtualport", port, type="openvswitch") if port is not None else None,
        element("target", dev=each.tap) if each.tap else None,
        element("model", type=each.model),
        element("rom", enabled="no"),  # networks here boot nobody, and loading it costs each start half a second
        element("filterref", filter=each.filters[0]) if each.filters else None,
        element("mtu", size=each.mtu) if each.mtu else None,
        type=kind,
    )


def serial(spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    # append: a restored or migrated guest's QEMU would otherwise empty the log.
    log = element("log", file=console_path(spec.uuid, host), append="on")
    yield element("serial", log, element("target", port=0), type="pty")
    yield element("console", element("target", type="serial", port=0), type="pty")


def agent_channel(_spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    yield element("channel", element("target", type="virtio", name=AGENT_CHANNEL), type="unix")


def screen(spec: DomainSpec, host: HostFacts) -> Iterable[Element]:
    model = spec.image_properties.get("hw_video_model", "vga").lower()
    yield element("input", type="tablet", bus="usb")
    # Nothing listens: whoever may use a screen is let in through libvirt (see consoles.open_screen).
    for kind in ("vnc", "spice") if host.spice else ("vnc",):
        yield element("graphics", element("listen", type="none"), type=kind)
    yield element("video", element("model", type=model if model in _VIDEO_MODELS else "vga"))


def balloon(_spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    yield element("memballoon", element("stats", period=BALLOON_PERIOD), model="virtio")


def entropy(_spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    yield element("rng", element("backend", "/dev/urandom", model="random"), model="virtio")


PARTS: tuple[Part, ...] = (identity, size, sysinfo, firmware, features, processor, clock, endings)


def host_devices(spec: DomainSpec, _host: HostFacts) -> Iterable[Element]:
    """libvirt takes each from its driver on the host while the guest runs, and gives it back."""
    for address in spec.pci:
        domain, bus, rest = address.split(":")
        slot, function = rest.split(".")
        parts = {"domain": domain, "bus": bus, "slot": slot, "function": function}
        source = element("source", element("address", **{name: f"0x{part}" for name, part in parts.items()}))
        yield element("hostdev", source, mode="subsystem", type="pci", managed="yes")


DEVICES: tuple[Part, ...] = (
    disks,
    controllers,
    nics,
    serial,
    agent_channel,
    screen,
    balloon,
    entropy,
    host_devices,
)
