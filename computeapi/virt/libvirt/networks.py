# SPDX-License-Identifier: Apache-2.0
"""A host's networks: libvirt's, each a bridge with a dnsmasq that gives an address only to those it was promised."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Iterable
from typing import Any
from xml.etree import ElementTree

import libvirt

from computeapi.macs import mac_for
from computeapi.virt.base import DhcpHost, HypervisorError, NetworkSpec
from computeapi.virt.libvirt.connection import Connection
from computeapi.virt.libvirt.errors import unless
from computeapi.virt.libvirt.xml import Element, element, parse, to_text

#: How long a guest may keep its address without asking again (the least that dnsmasq takes). dnsmasq does not give an
#: address to a new owner before the old one's time is up, unless it has the same MAC address: see macs.py.
LEASE_SECONDS = 120
_DNSMASQ = "http://libvirt.org/schemas/network/dnsmasq/1.0"
ElementTree.register_namespace("dnsmasq", _DNSMASQ)
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_NAMES = libvirt.VIR_NETWORK_SECTION_DNS_HOST
_SECTION = libvirt.VIR_NETWORK_SECTION_IP_DHCP_HOST
_LIVE, _CONFIG = libvirt.VIR_NETWORK_UPDATE_AFFECT_LIVE, libvirt.VIR_NETWORK_UPDATE_AFFECT_CONFIG


def host_xml(host: DhcpHost, *, with_name: bool = True) -> Element:
    """libvirt's entry for a promised address. A name that DNS could not hold is left out."""
    name = host.hostname if with_name and _HOST_NAME.fullmatch(host.hostname) else None
    lease = element("lease", expiry=LEASE_SECONDS, unit="seconds")
    return element("host", lease, mac=host.mac, name=name, ip=host.address)


def network_xml(spec: NetworkSpec) -> str:
    """The network's definition. Format: https://libvirt.org/formatnetwork.html."""
    entries = []
    names: set[str] = set()
    for host in spec.hosts:
        entries.append(host_xml(host, with_name=host.hostname not in names))
        names.add(host.hostname)
    address = None
    if spec.cidr:
        network = ipaddress.ip_network(spec.cidr)
        address = element(
            "ip",
            element("dhcp", *entries) if spec.dhcp and entries else None,
            address=spec.gateway,
            prefix=network.prefixlen,
            family="ipv6" if network.version == 6 else None,
        )
    forwarders = [element("forwarder", addr=server) for server in spec.dns]
    made = element(
        "network",
        element("name", spec.name),
        element("uuid", spec.uuid),
        element("forward", mode=spec.forward) if spec.forward != "none" else None,
        element("bridge", name=spec.bridge, stp="off", delay=0),
        # The same on all hosts: a guest that moves finds its gateway where it was.
        element("mac", address=mac_for(spec.uuid, spec.gateway)) if spec.cidr else None,
        element("mtu", size=spec.mtu) if spec.mtu else None,
        element("domain", name=spec.domain, localOnly="yes") if spec.domain else None,
        element("dns", *forwarders) if forwarders else None,
        address,
        _option(f"dhcp-option=option:router,{spec.router}") if spec.router else None,
    )
    return to_text(made)


def _option(text: str) -> Element:
    """A line of dnsmasq's own."""
    return element(f"{{{_DNSMASQ}}}options", element(f"{{{_DNSMASQ}}}option", value=text))


class Networks:
    """The host's networks, by name."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()  # an update is read, compare, write

    def ensure(self, spec: NetworkSpec, *, lost: bool = False) -> None:
        """See Hypervisor.ensure_network. `lost`: there is no such bridge, whatever libvirt believes."""
        with self._lock, self._connection.use(f"making the network {spec.name}") as conn:
            network = _find(conn, spec.name)
            is_new = network is None
            if network is None or _is_other(network, spec):
                network = conn.networkDefineXML(network_xml(spec))
            if lost and network.isActive():
                network.destroy()
            if not network.isActive():
                try:
                    network.create()
                except libvirt.libvirtError:
                    if is_new:
                        network.undefine()  # or libvirt would try again at its next start
                    raise
            if not network.autostart():
                network.setAutostart(1)
            if spec.dhcp and spec.hosts:
                known = _hosts(network).values()
                for host in spec.hosts:
                    if not all(_is_promised(entries, host) for entries in known):
                        _promise(network, host)

    def remove(self, name: str) -> None:
        """See Hypervisor.remove_network."""
        with self._lock, self._connection.use(f"removing the network {name}") as conn:
            network = _find(conn, name)
            if network is None or _has_guests(network):
                return
            if network.isActive():
                with unless(libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_NO_NETWORK):
                    network.destroy()
            with unless(libvirt.VIR_ERR_NO_NETWORK):
                network.undefine()

    def ids(self) -> dict[str, str]:
        """See Hypervisor.list_networks."""
        with self._connection.use("listing networks") as conn:
            return {network.name(): network.UUIDString() for network in conn.listAllNetworks()}

    def ensure_host(self, name: str, host: DhcpHost) -> None:
        """See Hypervisor.ensure_dhcp_host."""
        with self._lock, self._connection.use(f"promising {host.address} to {host.mac}") as conn:
            network = _find(conn, name)
            if network is None:
                raise HypervisorError(f"there is no network {name}")
            _promise(network, host)

    def set_names(self, networks: Iterable[str], names: Iterable[tuple[str, str]]) -> None:
        """What these networks' DNS answers, beside the names of their guests: (name, address), and nothing else."""
        wanted: dict[str, set[str]] = {}
        for name, address in names:
            wanted.setdefault(address, set()).add(name)
        with self._lock, self._connection.use("naming addresses") as conn:
            for name in networks:
                network = _find(conn, name)
                if network is not None and network.isActive():
                    _set_names(network, wanted)

    def remove_host(self, name: str, mac: str) -> None:
        """See Hypervisor.remove_dhcp_host."""
        with self._lock, self._connection.use(f"taking the address of {mac} back") as conn:
            network = _find(conn, name)
            if network is None:
                return
            for where, entries in _hosts(network).items():
                for entry in entries:
                    if _same(entry.get("mac"), mac):
                        _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, entry, where)


def _find(conn: Any, name: str) -> Any | None:
    try:
        return conn.networkLookupByName(name)
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_NETWORK:
            raise
        return None


def _has_guests(network: Any) -> bool:
    return bool(int(parse(network.XMLDesc(0)).get("connections") or 0))


def _is_other(network: Any, spec: NetworkSpec) -> bool:
    """Whether the network leads out another way than it shall, and can be made anew: no guest is on it."""
    found = parse(network.XMLDesc(0))
    forward = found.find("forward")
    mode = forward.get("mode") if forward is not None else "none"
    if mode == spec.forward or _has_guests(network):
        return False
    if network.isActive():
        network.destroy()
    return True


def _set_names(network: Any, wanted: dict[str, set[str]]) -> None:
    """Both views, entry by entry: an entry is an address with all its names."""
    for where, flags in {_CONFIG: libvirt.VIR_NETWORK_XML_INACTIVE, _LIVE: 0}.items():
        entries = parse(network.XMLDesc(flags)).findall("dns/host")
        known = {str(each.get("ip")): {str(name.text) for name in each.findall("hostname")} for each in entries}
        for address in known:
            if known[address] != wanted.get(address):
                _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, element("host", ip=address), where, _NAMES)
        for address, names in wanted.items():
            if known.get(address) != names:
                entry = element("host", *(element("hostname", name) for name in sorted(names)), ip=address)
                _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, entry, where, _NAMES)


def _hosts(network: Any) -> dict[int, list[Element]]:
    """The promises of the running network and those of its definition: a crash may have left them different."""
    views = {_CONFIG: libvirt.VIR_NETWORK_XML_INACTIVE}
    if network.isActive():
        views[_LIVE] = 0
    return {where: parse(network.XMLDesc(flags)).findall("ip/dhcp/host") for where, flags in views.items()}


def _same(one: str | None, other: str) -> bool:
    return one is not None and one.lower() == other.lower()


def _rivals(entries: Iterable[Element], host: DhcpHost) -> list[Element]:
    return [each for each in entries if _same(each.get("mac"), host.mac) or each.get("ip") == host.address]


def _is_promised(entries: Iterable[Element], host: DhcpHost) -> bool:
    rivals = _rivals(entries, host)
    return len(rivals) == 1 and _same(rivals[0].get("mac"), host.mac) and rivals[0].get("ip") == host.address


def _promise(network: Any, host: DhcpHost) -> None:
    """Make the entry what it shall be, in both views, and in one call where both lack it."""
    lacking = 0
    for where, entries in _hosts(network).items():
        if _is_promised(entries, host):
            continue
        for rival in _rivals(entries, host):
            _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_DELETE, rival, where)
        lacking |= where
    if not lacking:
        return
    taken = {each.get("name") for entries in _hosts(network).values() for each in entries}
    entry = host_xml(host, with_name=host.hostname not in taken)  # libvirt refuses a name a second time
    _update(network, libvirt.VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, entry, lacking)


def _update(network: Any, command: int, entry: Element, where: int, section: int = _SECTION) -> None:
    network.update(command, section, -1, to_text(entry), where)
