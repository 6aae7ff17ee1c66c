# SPDX-License-Identifier: Apache-2.0
"""POST /servers: everything is checked, then one transaction counts the quota, writes the rows and the work to do.

Codes and sentences: nova/api/openstack/compute/servers.py (create), nova/compute/api.py and nova/compute/utils.py.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import clock, errors, lifecycle, pci, scheduler, states
from computeapi.api.compute import links
from computeapi.api.compute.networks import is_admin
from computeapi.api.compute.servers import disks, remote_wishes, rules, schemas, volume_disks, wishes
from computeapi.api.compute.servers.disks import Disk
from computeapi.api.compute.servers.metadata import check_count
from computeapi.api.compute.servers.wishes import Wish
from computeapi.backends.image.base import ImageInfo
from computeapi.db.queries import addresses, flavors, keypairs, network_quotas, quotas, server_groups, servers
from computeapi.db.queries.flavors import FlavorRow
from computeapi.db.queries.security_groups import give_to_server, security_groups_exist
from computeapi.db.queries.server_groups import GroupRow
from computeapi.endpoint import Call, Reply

_GIB = 1024**3


def create(call: Call) -> Reply:
    """Make one server, or several: 202, built later. No host that fits is no error of the request's."""
    body = call.body["server"]
    wish = wishes.read(call.body)
    zone, host = _place(call, wish)
    if body.get("block_device_mapping") or body.get("block_device_mapping_v2"):
        call.check(rules.ATTACH_VOLUME)
    if wish.requested:
        call.check(rules.ATTACH_NETWORK)
    image = _image(call, wish)
    if image and image.properties.get("block_device_mapping"):  # an image of a volume-backed server has no bytes
        planned = [*disks.of_image(image.properties), *disks.read(body, None)]
        image, wish = None, replace(wish, image_id=None)
    else:
        planned = disks.read(body, wish.image_id)
    with call.services.db.read() as conn:
        flavor = _flavor(call, conn, wish)
        key_data = _public_key(call, conn, body.get("key_name"))
        limits = quotas.limits_for(conn, call.services.settings, call.project_id, call.context.user_id)
        if call.services.neutron is None:
            security_groups_exist(conn, call.project_id, wish.security_groups)
    check_count(body.get("metadata") or {}, limits)
    wishes.check_personality(wish.personality, limits)
    planned = disks.complete(planned, flavor)
    properties = volume_disks.check(call, planned, wish.most)
    if any(disk.is_volume and disk.boot_index == 0 for disk in planned):
        image, wish = None, replace(wish, image_id=None)
    if image:
        if flavor.disk_gb == 0 and not call.allows(rules.ZERO_DISK):
            raise errors.Forbidden("Only volume-backed servers are allowed for flavors with zero disk.")
        check_fit(image, flavor.memory_mb, flavor.disk_gb)
    common = _columns(call, wish, flavor, image, properties) | {"availability_zone": zone, "requested_zone": zone}
    common["key_data"] = key_data
    interfaces = remote_wishes.plan(call, wish)
    first = str(uuid.uuid4())
    prepared = volume_disks.prepare(call, planned, first)
    try:
        with call.services.db.write() as conn:
            count = _count(call, conn, wish, flavor)
            group, devices = _group(call, conn, wish, count), _devices(planned, prepared)
            plan = Plan(wish, common, devices, host, group, count, interfaces, is_admin(call))
            for index in range(count):
                _one(call, conn, plan, index, str(uuid.uuid4()) if index else first)
            network_quotas.check_fixed_ips(conn, call.services.settings, call.project_id, limits["fixed_ips"])
    except BaseException:
        volume_disks.abandon(call, prepared)
        raise
    return _answer(call, wish, first, common)


@dataclass(frozen=True, slots=True)
class Plan:
    """What all servers of a request have in common. `devices` are rows of block_devices to be."""

    wish: Wish
    common: dict[str, Any]
    devices: list[dict[str, Any]]
    host: str | None
    group: GroupRow | None
    count: int
    interfaces: remote_wishes.Plan | None  # None: the network is embedded
    anywhere: bool  # on other projects' networks too


def _place(call: Call, wish: Wish) -> tuple[str | None, str | None]:
    """The zone, and the host that an administrator named."""
    known = wish.zone is None
    if wish.zone is not None:
        with call.services.db.read() as conn:
            known = scheduler.zone_exists(conn, call.services.settings, wish.zone)
    if not (wish.host or wish.node):
        if not known:
            raise errors.BadRequest("The requested availability zone is not available")
        return wish.zone, None
    call.check(rules.FORCED_HOST)
    host = wish.host
    if host is None and wish.node is not None:
        with call.services.db.read() as conn:
            host = servers.host_of_node(conn, wish.node) or wish.node
    return wish.zone if known else None, host  # a host outranks the zone that it is not in


def _image(call: Call, wish: Wish) -> ImageInfo | None:
    if wish.image_id is None:
        return None
    try:
        image = call.services.images.show(call.context, wish.image_id)
    except (errors.NotFound, errors.Forbidden):
        raise errors.BadRequest("Can not find requested image") from None
    if image.status != "active":
        raise errors.BadRequest(f"Image {image.id} is not active.")
    return image


def _flavor(call: Call, conn: Connection, wish: Wish) -> FlavorRow:
    project_id = None if call.context.is_admin else call.project_id
    try:
        flavor = flavors.find(conn, wish.flavor_id, project_id)
    except errors.NotFound as error:
        raise errors.BadRequest(error.message) from None
    if flavor.disabled:
        raise errors.BadRequest(f"Flavor {wish.flavor_id} could not be found.")
    pci.wanted(call.services.settings.alias, orjson.loads(flavor.extra_specs_json))
    return flavor


def _public_key(call: Call, conn: Connection, name: str | None) -> str | None:
    if name is None:
        return None
    try:
        return keypairs.find(conn, call.context.user_id, name).public_key
    except errors.NotFound:
        raise errors.BadRequest("Invalid key_name provided.") from None


def check_fit(image: ImageInfo, memory_mb: int, disk_gb: int) -> None:
    """Raise BadRequest where the image does not fit into so much. A disk of 0 is as large as the image."""
    if memory_mb < image.min_ram:
        raise errors.BadRequest("Flavor's memory is too small for requested image.")
    if disk_gb == 0:
        return
    disk, size, least = disk_gb * _GIB, image.size or 0, image.min_disk * _GIB
    if size > disk:
        raise errors.BadRequest(
            f"Flavor's disk is too small for requested image. Flavor disk is {disk} bytes, image is {size} bytes."
        )
    if least > disk:
        raise errors.BadRequest(
            "Flavor's disk is smaller than the minimum size specified in image metadata. "
            f"Flavor disk is {disk} bytes, minimum size is {least} bytes."
        )


def _columns(
    call: Call, wish: Wish, flavor: FlavorRow, image: ImageInfo | None, of_volume: dict[str, str]
) -> dict[str, Any]:
    """The columns in which all servers of the request are alike. `of_volume`: the properties of a volume to boot."""
    body, properties = call.body["server"], image.properties if image else of_volume
    moment = clock.now()
    config_drive = wish.config_drive or properties.get("img_config_drive") == "mandatory"
    return {
        "project_id": call.project_id,
        "user_id": call.context.user_id,
        "vm_state": states.BUILDING,
        "task_state": states.SCHEDULING,
        "reservation_id": wish.reservation_id,
        "image_id": wish.image_id or "",
        "image_json": orjson.dumps(properties).decode(),
        **boot_columns(properties),
        "flavor_id": flavor.flavor_id,
        "flavor_json": frozen_flavor(flavor),
        "vcpus": flavor.vcpus,
        "memory_mb": flavor.memory_mb,
        "disk_gb": min((flavor.disk_gb if image else 0) + flavor.ephemeral_gb, flavors.MAX_INT),
        "key_name": body.get("key_name"),
        "user_data": body.get("user_data"),
        "config_drive": "True" if config_drive or call.services.settings.force_config_drive else "",
        "disk_config": disk_config(body.get("OS-DCF:diskConfig"), image),
        "access_ip_v4": "",
        "access_ip_v6": "",
        **schemas.access_columns(body),
        "metadata_json": orjson.dumps(body.get("metadata") or {}).decode(),
        "security_groups_json": orjson.dumps([{"name": name} for name in wish.security_groups]).decode(),
        "scheduler_hints_json": orjson.dumps(wish.hints).decode(),
        "created_at": moment,
        "updated_at": moment,
    }


def frozen_flavor(flavor: FlavorRow) -> str:
    """The flavor as it is now: a server keeps it, whatever becomes of the flavor."""
    values = {
        "name": flavor.name,
        "vcpus": flavor.vcpus,
        "ram": flavor.memory_mb,
        "disk": flavor.disk_gb,
        "ephemeral": flavor.ephemeral_gb,
        "swap": flavor.swap_mb,
        "rxtx_factor": flavor.rxtx_factor,
        "extra_specs": orjson.loads(flavor.extra_specs_json),
    }
    return orjson.dumps(values).decode()


def boot_columns(properties: dict[str, str]) -> dict[str, str]:
    """What an image says of how it boots."""
    return {
        "kernel_id": _boot_file(properties, "kernel_id"),
        "ramdisk_id": _boot_file(properties, "ramdisk_id"),
        "root_device_name": "/dev/" + _text(properties, "root_device_name", "vda").removeprefix("/dev/")[:58],
    }


def _text(properties: dict[str, str], name: str, default: str = "") -> str:
    return str(properties.get(name) or default)


def _boot_file(properties: dict[str, str], name: str) -> str:
    """The image that a kernel or ramdisk is in; none where the image says so ("nokernel")."""
    return "" if _text(properties, "kernel_id") == "nokernel" else _text(properties, name)[:64]


def disk_config(wanted: str | None, image: ImageInfo | None) -> str:
    """AUTO: the guest's file system grows to the disk. Asked for, or what the image says, unless that forbids it."""
    said = _text(image.properties, "auto_disk_config").strip().lower() if image else ""
    if said == "disabled" and wanted == "AUTO" and image:
        raise errors.BadRequest(f"Requested image {image.id} has automatic disk resize disabled.")
    return wanted or ("AUTO" if said in ("1", "t", "true", "on", "y", "yes") else "MANUAL")


def _count(call: Call, conn: Connection, wish: Wish, flavor: FlavorRow) -> int:
    """How many servers the quota lets be made, between the least and the most asked for. Raises QuotaExceeded."""
    call.services.db.lock(conn, quotas.lock_name(call.project_id))
    each = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.memory_mb}
    fits = wish.most
    settings, user_id = call.services.settings, call.context.user_id
    for limits, used in quotas.accounts(conn, settings, call.project_id, user_id, quotas.used_by_servers):
        room = {name: limits[name] - used[name] for name in each if limits[name] >= 0}
        fits = min([fits, *(max(0, room[name]) // each[name] for name in room if each[name])])
        if fits < wish.least:
            raise _over_quota(wish, each, room, limits, used)
    if wish.least > wishes.MAX_AT_ONCE:
        raise errors.BadRequest(f"min_count must be <= {wishes.MAX_AT_ONCE}")
    return min(fits, wishes.MAX_AT_ONCE)


def _group(call: Call, conn: Connection, wish: Wish, count: int) -> GroupRow | None:
    """The server group that the hints name, locked, where that many more may be in it."""
    hint = wish.hints.get("group")
    if not hint:
        return None
    try:
        named = hint[0] if isinstance(hint, list) else hint
        group = server_groups.find(conn, named, None if call.context.is_admin else call.project_id, lock=True)
    except errors.NotFound as error:
        raise errors.BadRequest(error.message) from None
    user_id = call.context.user_id
    most = quotas.limits_for(conn, call.services.settings, call.project_id, user_id)["server_group_members"]
    if 0 <= most < server_groups.count_members(conn, group, user_id) + count:
        raise errors.QuotaExceeded("Quota exceeded, too many servers in group")
    return group


def _over_quota(
    wish: Wish, each: dict[str, int], room: dict[str, int], limits: dict[str, int], used: dict[str, int]
) -> errors.QuotaExceeded:
    over = sorted(name for name in room if each[name] * wish.most > room[name])
    asked = {name: str(number * wish.most) for name, number in each.items()}
    asked["instances"] = str(wish.least) if wish.least == wish.most else f"{wish.least}-{wish.most}"
    names, requested = ", ".join(over), ", ".join(asked[name] for name in over)
    taken = ", ".join(str(used[name]) for name in over)
    allowed = ", ".join(str(limits[name]) for name in over)
    return errors.QuotaExceeded(
        f"Quota exceeded for {names}: Requested {requested}, but already used {taken} of {allowed} {names}"
    )


def _one(call: Call, conn: Connection, plan: Plan, index: int, server_id: str) -> None:
    """Write one server with its disks and addresses, and send it to a host."""
    wish, number = plan.wish, index + 1 if plan.count > 1 else None
    tail = "" if number is None else f"-{number}"
    server = servers.insert(
        conn,
        plan.common
        | {
            "uuid": server_id,
            "name": wish.name[: 255 - len(tail)] + tail,
            "hostname": wishes.host_name(wish.name, server_id, number),
            "launch_index": index,
        },
    )
    if plan.group is not None:
        server_groups.add_member(conn, plan.group, server.id)
    rows = [{**device, "uuid": str(uuid.uuid4()), "server_id": server.id} for device in plan.devices]
    servers.add_block_devices(conn, rows)
    volume_disks.reserve(conn, call, server.id, server_id, rows)
    secrets: dict[str, Any] = {"admin_password": wish.admin_password, "personality": wish.personality}
    if plan.interfaces is not None:
        secrets |= plan.interfaces.payload(index)
    else:
        shown = addresses.allocate(
            conn,
            server_id=server.id,
            project_id=call.project_id,
            requested=wish.requested,
            anywhere=plan.anywhere,
        )
        server = server._replace(addresses_json=shown)
        give_to_server(conn, server.id, call.project_id, wish.security_groups)
    lifecycle.start_build(
        conn, call.services, call.context, server, secrets=secrets, hints=wish.hints, forced_host=plan.host
    )


def _devices(planned: list[Disk], prepared: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "source_type": disk.source,
            "destination_type": disk.destination,
            "device_name": name,
            "device_type": disk.device_type,
            "disk_bus": disk.bus,
            "guest_format": disk.guest_format,
            "boot_index": disk.boot_index,
            "image_id": disk.image_id,
            "volume_id": disk.volume_id,
            "snapshot_id": disk.snapshot_id,
            "attachment_id": prepared.get(disk.volume_id) if disk.volume_id else None,
            "size_gb": disk.size,
            "delete_on_termination": int(disk.delete_on_termination),
        }
        for disk, name in zip(planned, volume_disks.name_devices(planned), strict=True)
    ]


def _answer(call: Call, wish: Wish, server_id: str, common: dict[str, Any]) -> Reply:
    if wish.wants_reservation:
        return Reply({"reservation_id": wish.reservation_id})
    found = links.prefixes(call, "servers").of(server_id)
    server = {
        "id": server_id,
        "links": found,
        "OS-DCF:diskConfig": common["disk_config"],
        "security_groups": call.body["server"].get("security_groups") or [{"name": "default"}],
        "adminPass": wish.admin_password,
    }
    return Reply({"server": server}, headers={"Location": found[0]["href"]})
