# SPDX-License-Identifier: Apache-2.0
"""A server as its host shall have it: what the rows say, in the hypervisor seam's words."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from computeapi import errors, pci
from computeapi.compute import config_drive as drive
from computeapi.compute.operation import Tools, Work
from computeapi.db.engine import Database
from computeapi.db.queries import addresses, block_devices, floating_ips, host_networks
from computeapi.db.queries import pci as pci_devices
from computeapi.db.queries.addresses import Nic
from computeapi.db.queries.block_devices import VolumeDevice
from computeapi.db.queries.host_networks import Facts
from computeapi.db.queries.servers import ServerRow
from computeapi.settings import Settings
from computeapi.virt.base import DhcpHost, DiskSpec, DomainSpec, NetworkSpec, NicSpec


@dataclass(frozen=True, slots=True)
class LocalDisk:
    """A disk in the host's own pool. `size_gb` 0: as large as its base."""

    volume: str
    size_gb: int
    base: str | None
    target: str
    boot_index: int | None = None


def prefix(server_uuid: str) -> str:
    """How the names of a server's volumes begin."""
    return f"{server_uuid}_"


def base_name(image_id: str) -> str:
    """The volume that holds an image's bytes."""
    return f"base_{image_id}"


def root_disk_name(server_uuid: str) -> str:
    """The volume of a server's root disk."""
    return f"{server_uuid}_disk"


def config_drive_name(server_uuid: str) -> str:
    """The volume of a server's config drive."""
    return f"{server_uuid}_config"


def network_name(network_uuid: str) -> str:
    """The host's name for a network."""
    return "net-" + network_uuid.replace("-", "")[:11]


def tap_name(nic: Nic) -> str:
    """An interface's device on its host (Nova's naming)."""
    return "tap" + nic.port_id[:11]


def nic_spec(work: Work, nic: Nic) -> NicSpec:
    """An interface as the guest has it: on a network of libvirt's, or as a real Neutron's agent wants it plugged.

    Raises Conflict for a binding that no guest here can have.
    """
    if work.tools.neutron is None:
        return NicSpec(nic.mac, network_name(nic.network_uuid), tap=tap_name(nic), mtu=nic.mtu)
    binding = orjson.loads(nic.binding)
    kind, details = binding.get("vif_type"), binding.get("vif_details") or {}
    if kind == "ovs":
        bridge = details.get("bridge_name") or work.tools.settings.ovs_bridge
        return NicSpec(nic.mac, "", tap=tap_name(nic), mtu=nic.mtu, bridge=bridge, ovs_port=nic.port_id)
    if kind == "bridge":
        bridge = details.get("bridge_name") or "brq" + nic.network_uuid[:11]
        return NicSpec(nic.mac, "", tap=tap_name(nic), mtu=nic.mtu, bridge=bridge)
    if kind == "tap":
        return NicSpec(nic.mac, "", tap=tap_name(nic), mtu=nic.mtu)
    raise errors.Conflict(f"Binding failed for port {nic.port_id}, please check neutron logs for more information.")


def local_disks(work: Work) -> list[LocalDisk]:
    """Root, ephemeral and swap, in the order in which the guest sees them: what the block_devices rows say.

    A size that a row leaves open is the flavor's. The host's volumes are whole GiB.
    """
    server = work.server
    flavor = orjson.loads(server.flavor_json)
    with work.tools.db.read() as conn:
        wanted = block_devices.local(conn, server.id)
    disks: list[LocalDisk] = []
    targets = iter(block_devices.local_targets(len(wanted) + 1, boots_from_image=bool(server.image_id)))
    if server.image_id:
        base = base_name(server.image_id)
        disks.append(LocalDisk(root_disk_name(server.uuid), int(flavor["disk"]), base, next(targets), boot_index=1))
    ephemeral = [row for row in wanted if row.source_type == "blank" and row.guest_format != "swap"]
    for number, row in enumerate(ephemeral):
        size = row.size_gb or int(flavor.get("ephemeral") or 0)
        disks.append(LocalDisk(f"{server.uuid}_disk.eph{number}", size, None, next(targets)))
    for row in wanted:
        if row.source_type == "blank" and row.guest_format == "swap":
            size_mb = row.size_gb or int(flavor.get("swap") or 0)  # a swap row counts in MiB
            disks.append(LocalDisk(f"{server.uuid}_disk.swap", -(-size_mb // 1024), None, next(targets)))
    return disks


def volume_disk(device: VolumeDevice) -> DiskSpec:
    """A volume as a disk of the guest; it must be connected."""
    where = orjson.loads(device.connection_json or "{}")
    return DiskSpec(
        where["volume"],
        device.target,
        format=where["format"],
        boot_index=1 if device.boot_index == 0 else None,
        serial=(device.volume_id or "")[:20],
        path=where["path"],
        read_only=where["read_only"],
    )


def volume_disks(work: Work) -> list[DiskSpec]:
    """The server's volumes, as far as they are connected."""
    with work.tools.db.read() as conn:
        devices = block_devices.volumes(conn, work.server.id)
    return [volume_disk(device) for device in devices if device.connection_json and device.attachment_id]


def nics(work: Work) -> list[Nic]:
    """The server's interfaces as the database has them now."""
    with work.tools.db.read() as conn:
        return addresses.nics(conn, work.server.id)


def old_promises(work: Work) -> list[tuple[str, str]]:
    """(network, MAC) of a server that was deleted while its host was down: it has no ports any more, but the host
    still promises it addresses. A MAC that another server has by now is that server's."""
    old: list[dict[str, str]] = work.entry.payload.get("nics", [])
    if not old:
        return []
    with work.tools.db.read() as conn:
        taken = addresses.macs_in_use(conn, [nic["mac"] for nic in old])
    return [(nic["network"], nic["mac"]) for nic in old if nic["mac"] not in taken]


def network_specs(tools: Tools, uuids: Iterable[str]) -> dict[str, NetworkSpec]:
    """Networks as this host shall have them: their first IPv4 subnet's, whatever their interfaces have."""
    with tools.db.read() as conn:
        found = host_networks.facts(conn, uuids)
    return {uuid: _network_spec(tools, facts) for uuid, facts in found.items()}


def _network_spec(tools: Tools, facts: Facts) -> NetworkSpec:
    """Without an IPv4 subnet, or where that has no gateway, it is a bridge and nothing more.

    The host's own address there is the gateway's, unless another was said to be the DHCP server's.
    """
    served = facts.cidr is not None and facts.gateway is not None
    own = own_address(facts.gateway, facts.extra)
    return NetworkSpec(
        name=network_name(facts.uuid),
        uuid=facts.uuid,
        bridge=facts.bridge,
        cidr=(facts.cidr or "") if served else "",
        gateway=own if served else "",
        dhcp=served and facts.dhcp,
        forward=("open" if tools.driver.capabilities.filters else "nat") if served else "none",
        domain=tools.settings.dhcp_domain,
        dns=facts.dns,
        mtu=facts.mtu,
        router=facts.gateway if served and facts.gateway and own != facts.gateway else "",
        uplink=uplink(tools.settings, facts.vlan, facts.extra),
        vlan=facts.vlan,
    )


def own_address(gateway: str | None, extra: Mapping[str, Any]) -> str:
    """A host's own address on a network; "" where it has none. `extra` is what nova-network's API said."""
    return (extra.get("dhcp_server") or gateway) if gateway else ""


def uplink(settings: Settings, vlan: int | None, extra: Mapping[str, Any]) -> str:
    """The hosts' interface that joins a network's bridges: what was said, else the VLANs' own; "" for none."""
    return str(extra.get("bridge_interface") or (settings.vlan_interface if vlan is not None else ""))


def dhcp_hosts(work: Work, nic: Nic, spec: NetworkSpec) -> list[DhcpHost]:
    """What DHCP shall answer that interface: its address on the subnet that the host serves."""
    if not spec.dhcp:
        return []
    return [DhcpHost(nic.mac, item.address, work.server.hostname) for item in nic.addresses if item.cidr == spec.cidr][
        :1
    ]


def domain_spec(work: Work) -> DomainSpec:
    """The guest itself."""
    server = work.server
    flavor = orjson.loads(server.flavor_json)
    properties = {key: str(value) for key, value in orjson.loads(server.image_json).items()}
    disks = [
        DiskSpec(disk.volume, disk.target, boot_index=disk.boot_index, serial=f"{server.uuid[:18]}{disk.target}"[:20])
        for disk in local_disks(work)
    ]
    disks += volume_disks(work)
    if has_config_drive(work):
        bus, target = _cdrom(properties)
        disks.append(
            DiskSpec(config_drive_name(server.uuid), target, bus=bus, device="cdrom", format="raw", read_only=True)
        )
    return DomainSpec(
        uuid=server.uuid,
        name=server.instance_name,
        vcpus=server.vcpus,
        memory_mb=server.memory_mb,
        disks=tuple(disks),
        nics=tuple(nic_spec(work, nic) for nic in nics(work)),
        title=server.name,
        metadata={"project": server.project_id, "user": server.user_id, "flavor": str(flavor.get("name", ""))},
        image_properties=properties,
        pci=_pci(work, flavor),
    )


def _pci(work: Work, flavor: dict[str, Any]) -> tuple[str, ...]:
    """The devices that were claimed for the server on this host, as many as its flavor asks for."""
    wish = pci.wanted(work.tools.settings.alias, flavor.get("extra_specs") or {})
    if not wish:
        return ()
    with work.tools.db.read() as conn:
        chosen = pci.choose(wish, pci_devices.of_server(conn, work.server.id, work.tools.host))
    if chosen is None:
        raise errors.Conflict("The PCI devices that were claimed for the server are not on this host any more.")
    return tuple(chosen)


def _cdrom(properties: dict[str, str]) -> tuple[str, str]:
    """Bus and target of a CD drive: what the kernels of cloud images have a driver for (AHCI they have none)."""
    default = "scsi" if "q35" in properties.get("hw_machine_type", "") else "ide"
    bus = properties.get("hw_cdrom_bus", default)
    return bus, "hda" if bus == "ide" else "sda"


def has_config_drive(work: Work) -> bool:
    """Whether the server gets a config drive: its own wish, or the setting."""
    return bool(work.server.config_drive) or work.tools.settings.force_config_drive


def config_drive(work: Work) -> bytes:
    """The config drive's ISO image."""
    return drive.build(config_data(work.tools.settings, work.tools.db, work.server, work.entry.payload))


def config_data(
    settings: Settings, db: Database, server: ServerRow, secrets: Mapping[str, Any]
) -> drive.ConfigDriveData:
    """What the config drive and the metadata service tell the guest. `secrets` came with the request: the password and
    the files, which only the config drive has."""
    with db.snapshot() as conn:
        interfaces = addresses.nics(conn, server.id)
        floating = floating_ips.of_server(conn, server.id)
    key = None
    if server.key_name and server.key_data:
        kind = "x509" if server.key_data.startswith("-----BEGIN CERT") else "ssh"
        key = drive.Key(server.key_name, server.key_data, kind)
    return drive.ConfigDriveData(
        uuid=server.uuid,
        name=server.name,
        hostname=f"{server.hostname}.{settings.dhcp_domain}" if settings.dhcp_domain else server.hostname,
        project_id=server.project_id,
        availability_zone=server.availability_zone or settings.default_availability_zone,
        launch_index=server.launch_index,
        metadata=orjson.loads(server.metadata_json),
        key=key,
        admin_pass=secrets.get("admin_password"),
        user_data=base64.b64decode(server.user_data) if server.user_data else None,
        files=tuple((item["path"], base64.b64decode(item["contents"])) for item in secrets.get("personality") or ()),
        interfaces=tuple(_interface(nic) for nic in interfaces),
        flavor=str(orjson.loads(server.flavor_json).get("name", "")),
        security_groups=tuple(group["name"] for group in orjson.loads(server.security_groups_json)),
        reservation_id=server.reservation_id,
        ec2_instance_id=f"i-{server.id:08x}",
        ec2_image_id=f"ami-{server.image_id.replace('-', '')[:8] or '00000000'}",
        root_device=server.root_device_name or "/dev/vda",
        floating_ips=tuple(address for _, _, address in floating),
    )


def _interface(nic: Nic) -> drive.Interface:
    addresses_ = tuple(
        drive.Address(item.address, item.cidr, item.gateway or "", item.dns, dhcp=item.dhcp) for item in nic.addresses
    )
    return drive.Interface(nic.port_id, nic.mac, nic.network_uuid, addresses_, tap_name(nic), mtu=nic.mtu)
