# SPDX-License-Identifier: Apache-2.0
"""What a guest is told of itself: OpenStack's and EC2's metadata documents, and the config drive that holds them.

`documents()` gives every document by its path; `build()` writes them on an ISO 9660 image. The metadata service
answers from the same documents. Layout and keys are Nova's (nova/api/metadata/base.py, nova/virt/netutils.py), as
cloud-init's ConfigDrive source reads them; a version's directory is the layout as of that date.
"""

from __future__ import annotations

import base64
import io
import ipaddress
import json
import secrets
import threading
import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pycdlib
import pycdlib.headervd
import pycdlib.pycdlib

VOLUME_ID = "config-2"
FOLSOM, GRIZZLY, HAVANA, LIBERTY = "2012-08-10", "2013-04-04", "2013-10-17", "2015-10-15"
NEWTON, NEWTON_2, OCATA, ROCKY, VICTORIA = "2016-06-30", "2016-10-06", "2017-02-22", "2018-08-27", "2020-10-14"
LATEST = "latest"  # greater than each date, as text
#: When you add a version, also give what is new in it a line in `meta_data`.
VERSIONS = (FOLSOM, GRIZZLY, HAVANA, LIBERTY, NEWTON, NEWTON_2, OCATA, ROCKY, VICTORIA, LATEST)
EC2_VERSIONS = ("2009-04-04", LATEST)  # on the drive; the metadata service knows older ones as well
_EPOCH = 1577836800.0  # the date of every file: the same input shall give the same bytes


@dataclass(frozen=True, slots=True)
class Key:
    """The key pair of the server. `type` is "ssh" or "x509"."""

    name: str
    public_key: str
    type: str = "ssh"


@dataclass(frozen=True, slots=True)
class Route:
    """A route beside the default one."""

    cidr: str
    gateway: str


@dataclass(frozen=True, slots=True)
class Address:
    """A fixed address of an interface. With `dhcp` the guest is told to ask for it instead."""

    address: str
    cidr: str
    gateway: str = ""
    dns: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    dhcp: bool = True


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface. `vif_id` and `network_id` are the API's ids; `device` is its name on the host."""

    vif_id: str
    mac: str
    network_id: str
    addresses: tuple[Address, ...]
    device: str = ""
    type: str = "bridge"
    mtu: int | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device that the guest shall know by the user's tags. `address` is where on its bus it is."""

    type: str  # "nic" | "disk"
    bus: str = "none"
    address: str = "none"
    tags: tuple[str, ...] = ()
    mac: str = ""
    serial: str = ""
    path: str = ""
    vlan: int | None = None
    trusted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDriveData:
    """All that the documents say. `hostname` is with its domain; `admin_pass` is only for config drives."""

    uuid: str
    name: str
    hostname: str
    project_id: str
    availability_zone: str = "nova"
    launch_index: int = 0
    key: Key | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    user_data: bytes | None = None
    files: tuple[tuple[str, bytes], ...] = ()  # path in the guest, content
    admin_pass: str | None = None
    random_seed: bytes = field(default_factory=lambda: secrets.token_bytes(512))
    interfaces: tuple[Interface, ...] = ()
    devices: tuple[Device, ...] = ()
    dedicated_cpus: tuple[int, ...] = ()
    vendor_data: Mapping[str, Any] = field(default_factory=dict)
    vendor_data2: Mapping[str, Any] = field(default_factory=dict)  # beside the key "static", which is `vendor_data`
    flavor: str = ""
    security_groups: tuple[str, ...] = ()
    reservation_id: str = ""
    ec2_instance_id: str = "i-00000000"
    ec2_image_id: str = "ami-00000000"
    root_device: str = "/dev/vda"
    floating_ips: tuple[str, ...] = ()


# --- the documents ---


def documents(meta: ConfigDriveData) -> dict[str, bytes]:
    """Every document by its path, "openstack/latest/meta_data.json" and so on."""
    found: dict[str, bytes] = {}
    for version in EC2_VERSIONS:
        found[f"ec2/{version}/meta-data.json"] = to_json(ec2_meta_data(meta))
        if meta.user_data is not None:
            found[f"ec2/{version}/user-data"] = meta.user_data
    for version in VERSIONS:
        found |= {f"openstack/{version}/{name}": body for name, body in of_version(meta, version)}
    for number, (_, content) in enumerate(meta.files):
        found[f"openstack{_content_path(number)}"] = content
    return found


def of_version(meta: ConfigDriveData, version: str) -> Iterator[tuple[str, bytes]]:
    """The files in a version's directory of OpenStack's layout, in Nova's order."""
    yield "meta_data.json", to_json(meta_data(meta, version))
    if meta.user_data is not None:
        yield "user_data", meta.user_data
    if version >= HAVANA:
        yield "vendor_data.json", to_json(meta.vendor_data)
    if version >= LIBERTY:
        yield "network_data.json", to_json(network_data(meta.interfaces))
    if version >= NEWTON_2:
        yield "vendor_data2.json", to_json({"static": meta.vendor_data, **meta.vendor_data2})


def meta_data(meta: ConfigDriveData, version: str) -> dict[str, Any]:
    """meta_data.json as of a version."""
    made: dict[str, Any] = {"uuid": meta.uuid}
    if meta.metadata:
        made["meta"] = dict(meta.metadata)
    if meta.files:
        made["files"] = [
            {"path": path, "content_path": _content_path(number)} for number, (path, _) in enumerate(meta.files)
        ]
    if meta.admin_pass is not None:
        made["admin_pass"] = meta.admin_pass
    if meta.key:
        made["public_keys"] = {meta.key.name: meta.key.public_key}
        made["keys"] = [{"name": meta.key.name, "type": meta.key.type, "data": meta.key.public_key}]
    made["hostname"] = meta.hostname
    made["name"] = meta.name
    made["launch_index"] = meta.launch_index
    made["availability_zone"] = meta.availability_zone
    if version >= GRIZZLY:
        made["random_seed"] = base64.b64encode(meta.random_seed).decode()
    if version >= LIBERTY:
        made["project_id"] = meta.project_id
    if version >= NEWTON:
        made["devices"] = [each for device in meta.devices if (each := _device(device, version))]
    if version >= VICTORIA:
        made["dedicated_cpus"] = sorted(meta.dedicated_cpus)
    return made


def _content_path(number: int) -> str:
    return f"/content/{number:04d}"


def _device(device: Device, version: str) -> dict[str, Any] | None:
    """A device as of a version; None where it has nothing to tell yet."""
    made: dict[str, Any] = {}
    if device.type == "nic":
        if version >= OCATA and device.vlan is not None:
            made["vlan"] = device.vlan
        if version >= ROCKY:
            made["vf_trusted"] = device.trusted
        if not made and not device.tags:
            return None
    made |= {"type": device.type, "bus": device.bus, "address": device.address}
    made |= {key: value for key in ("mac", "serial", "path") if (value := getattr(device, key))}
    if device.tags:
        made["tags"] = list(device.tags)
    return made


def network_data(interfaces: tuple[Interface, ...]) -> dict[str, Any]:
    """network_data.json: links, networks, services."""
    if not interfaces:
        return {}
    links: list[dict[str, Any]] = []
    networks: list[dict[str, Any]] = []
    services: list[dict[str, str]] = []
    for number, interface in enumerate(interfaces):
        link = interface.device or f"interface{number}"
        asks = any(address.dhcp for address in interface.addresses)
        links.append(
            {
                "id": link,
                "vif_id": interface.vif_id,
                "type": interface.type,
                "mtu": None if asks else interface.mtu,  # DHCP tells it
                "ethernet_mac_address": interface.mac,
            }
        )
        for address in interface.addresses:
            networks.append({"id": f"network{len(networks)}", **_network(address, link, interface.network_id)})
            services += [service for service in _services(address) if service not in services]
    return {"links": links, "networks": networks, "services": services}


def _network(address: Address, link: str, network_id: str) -> dict[str, Any]:
    network = ipaddress.ip_network(address.cidr)
    kind = f"ipv{network.version}"
    if address.dhcp:
        return {"type": f"{kind}_dhcp", "link": link, "network_id": network_id}
    anywhere = "0.0.0.0" if network.version == 4 else "::"  # noqa: S104  (a destination, not a listener)
    routes = [{"network": anywhere, "netmask": anywhere, "gateway": address.gateway}] if address.gateway else []
    for route in address.routes:
        target = ipaddress.ip_network(route.cidr)
        routes.append(
            {"network": str(target.network_address), "netmask": str(target.netmask), "gateway": route.gateway}
        )
    return {
        "type": kind,
        "link": link,
        "ip_address": address.address,
        "netmask": str(network.netmask),
        "routes": routes,
        "network_id": network_id,
        "services": _services(address),
    }


def _services(address: Address) -> list[dict[str, str]]:
    return [{"type": "dns", "address": server} for server in address.dns]


def ec2_meta_data(meta: ConfigDriveData) -> dict[str, Any]:
    """EC2's meta-data as of 2009-04-04."""
    fixed = [
        address.address
        for interface in meta.interfaces
        for address in interface.addresses
        if ":" not in address.address
    ]
    root = meta.root_device
    made: dict[str, Any] = {
        "ami-id": meta.ec2_image_id,
        "ami-launch-index": meta.launch_index,
        "ami-manifest-path": "FIXME",  # Nova's value
        "instance-id": meta.ec2_instance_id,
        "hostname": meta.hostname,
        "local-ipv4": fixed[0] if fixed else "",
        "reservation-id": meta.reservation_id,
        "security-groups": list(meta.security_groups),
        "local-hostname": meta.hostname,
        "public-hostname": meta.hostname,
        "public-ipv4": meta.floating_ips[0] if meta.floating_ips else "",
        "instance-type": meta.flavor,
        "block-device-mapping": {"ami": root.removeprefix("/dev/"), "root": root},
        "placement": {"availability-zone": meta.availability_zone},
        "instance-action": "none",
    }
    if meta.key:
        made["public-keys"] = {"0": {"_name": f"0={meta.key.name}", "openssh-key": meta.key.public_key}}
    return made


def to_json(value: Any) -> bytes:
    """A document's text."""
    return json.dumps(value, default=dict).encode()


# --- the drive ---


def build(meta: ConfigDriveData) -> bytes:
    """The config drive: ISO 9660 with Rock Ridge (Linux) and Joliet (Windows). The same for the same `meta`."""
    with _fixed_time():
        drive = pycdlib.PyCdlib()
        drive.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident=VOLUME_ID, app_ident_str="computeapi")
        try:
            _write(drive, documents(meta))
            output = io.BytesIO()
            drive.write_fp(output)
        finally:
            drive.close()
    return output.getvalue()


def _write(drive: Any, files: Mapping[str, bytes]) -> None:
    # ISO 9660's own names may hold few characters: they are numbers, the names that count are the extensions'.
    plain: dict[str, str] = {"": ""}
    for path, content in sorted(files.items()):
        parts = path.split("/")
        for depth in range(1, len(parts)):
            folder, parent = "/".join(parts[:depth]), "/".join(parts[: depth - 1])
            if folder not in plain:
                plain[folder] = f"{plain[parent]}/D{len(plain):07d}"
                drive.add_directory(
                    plain[folder], rr_name=parts[depth - 1], joliet_path=f"/{folder}", file_mode=0o40555
                )
        name = f"{plain['/'.join(parts[:-1])]}/F{len(plain):07d}.;1"
        plain[path] = name
        drive.add_fp(
            io.BytesIO(content), len(content), name, rr_name=parts[-1], joliet_path=f"/{path}", file_mode=0o100444
        )


_time_lock = threading.Lock()


@contextmanager
def _fixed_time() -> Iterator[None]:
    """pycdlib dates everything by the clock and takes no other date: here its modules see another clock."""
    clock = types.SimpleNamespace(time=lambda: _EPOCH)
    modules = (pycdlib.pycdlib, pycdlib.headervd)
    with _time_lock:
        real = [module.time for module in modules]
        try:
            for module in modules:
                module.time = clock
            yield
        finally:
            for module, value in zip(modules, real, strict=True):
                module.time = value
