# SPDX-License-Identifier: Apache-2.0
"""What the API does beyond `lifecycle.begin` for some actions, and an image service that remembers."""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import select, update

from computeapi import clock, errors, lifecycle, moves
from computeapi.backends.image.base import ImageInfo
from computeapi.backends.volume.base import NewVolume
from computeapi.context import Context
from computeapi.db.models import Host, Network
from computeapi.db.queries import addresses, block_devices, interfaces, migrations
from computeapi.db.queries.servers import ServerRow

if TYPE_CHECKING:
    from tests.journal.world import World

IMAGE_BYTES = b"image" * 100


class Images:
    """The image service: one image that always is, of whatever id, and those that were made."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def snapshot(self) -> dict[str, dict[str, Any]]:
        """All that was made, to come back to."""
        return copy.deepcopy(self.made)

    def restore(self, made: dict[str, dict[str, Any]]) -> None:
        """Come back to that."""
        self.made = copy.deepcopy(made)

    def show(self, _context: Context, image_id: str) -> ImageInfo:
        """An image. Raises NotFound for one that was deleted."""
        made = self.made.get(image_id, {"status": "active", "bytes": IMAGE_BYTES, "format": "raw", "properties": {}})
        if made["status"] == "deleted":
            raise errors.NotFound(f"No image found with ID {image_id}")
        size, moment = len(made["bytes"]), clock.now()
        kind, status, properties = made["format"], made["status"], made["properties"]
        return ImageInfo(
            image_id,
            "tiny",
            status,
            None,
            "public",
            kind,
            "bare",
            size,
            None,
            0,
            0,
            moment,
            moment,
            properties=properties,
        )

    def chunks(self, context: Context, image_id: str) -> Iterator[bytes]:
        """Its bytes."""
        self.show(context, image_id)
        data = self.made[image_id]["bytes"] if image_id in self.made else IMAGE_BYTES
        yield data[:100]
        yield data[100:]

    def create(self, **properties: str) -> str:
        """A queued image."""
        image_id = str(uuid.uuid4())
        self.made[image_id] = {"status": "queued", "bytes": b"", "format": "qcow2", "properties": properties}
        return image_id

    def upload(self, _context: Context, image_id: str, chunks: Iterable[bytes]) -> None:
        """Its bytes; cut short it stays "saving", as when the process is killed."""
        if self.made[image_id]["status"] != "queued":
            raise errors.Conflict("It is not queued.")
        self.made[image_id]["status"] = "saving"
        data = b"".join(chunks)
        self.made[image_id] |= {"status": "active", "bytes": data}

    def delete(self, context: Context, image_id: str) -> None:
        """Delete what was made."""
        self.show(context, image_id)
        self.made[image_id]["status"] = "deleted"

    def list(self, context: Context, filters: Mapping[str, str], limit: int, marker: str | None) -> list[ImageInfo]:
        """Those with these properties, newest first."""
        assert marker is None
        found = [
            self.show(context, image_id)
            for image_id, made in reversed(self.made.items())
            if made["status"] != "deleted" and filters.items() <= made["properties"].items()
        ]
        return found[:limit]

    def sweep(self) -> int:
        """What was cut short is queued again."""
        for made in self.made.values():
            if made["status"] == "saving":
                made["status"] = "queued"
        return 0


def _with_image(**more: Any) -> Callable[[World, ServerRow, str], None]:
    def start(world: World, server: ServerRow, action: str) -> None:
        properties = {"instance_uuid": server.uuid, "image_type": "snapshot"}
        if "backup_type" in more:
            properties |= {"image_type": "backup", "backup_type": more["backup_type"]}
        payload = {"secret": "tell-nobody", "image_id": world.images.create(**properties), **more}
        with world.db.write() as conn:
            lifecycle.begin(conn, world.services, world.context, server, action, payload)

    return start


def _with_payload(**payload: Any) -> Callable[[World, ServerRow, str], None]:
    def start(world: World, server: ServerRow, action: str) -> None:
        with world.db.write() as conn:
            lifecycle.begin(conn, world.services, world.context, server, action, {"secret": "tell-nobody", **payload})

    return start


def _resize(world: World, server: ServerRow, _action: str) -> None:
    flavor = {**orjson.loads(server.flavor_json), "name": "m1.more", "vcpus": 3, "ram": 512, "disk": 5}
    with world.db.write() as conn:
        text = orjson.dumps(flavor).decode()
        moves.start_resize(conn, world.services, world.context, server, "2", text)


def _end_of_resize(world: World, server: ServerRow, action: str) -> None:
    with world.db.write() as conn:
        migration = migrations.waiting(conn, server.id)
        assert migration is not None
        lifecycle.begin(conn, world.services, world.context, server, action, {"migration": migration.id})


def _unshelve(world: World, server: ServerRow, _action: str) -> None:
    with world.db.write() as conn:
        lifecycle.start_unshelve(conn, world.services, world.context, server)


def _attach(world: World, server: ServerRow, action: str) -> None:
    with world.db.write() as conn:
        network = conn.execute(select(Network.id)).scalars().first()
        assert network is not None
        port = addresses.create_port(
            conn, network, project_id=server.project_id, server_id=server.id, position=1, device_owner="compute:nova"
        )
        addresses.refresh(conn, server.id)
        payload = {"secret": "tell-nobody", "port_id": interfaces.uuid_of(conn, port)}
        lifecycle.begin(conn, world.services, world.context, server, action, payload)


def _apply_network(world: World, server: ServerRow, _action: str) -> None:
    with world.db.write() as conn:
        lifecycle.follow(conn, world.services, world.context, server, "addFloatingIp", "203.0.113.9")


def _detach(world: World, server: ServerRow, action: str) -> None:
    with world.db.write() as conn:
        last = addresses.nics(conn, server.id)[-1]
        payload = {"secret": "tell-nobody", "port_id": last.port_id}
        lifecycle.begin(conn, world.services, world.context, server, action, payload)


def _reserve(world: World, server: ServerRow) -> str:
    """A volume that is the server's, to be deleted with it; the device's id."""
    volumes = world.services.volumes
    volume_id = volumes.create(world.context, NewVolume(1, name="data")).id
    assert world.heir.reborn().live() == []
    attachment_id, device = volumes.prepare(world.context, volume_id, server.uuid), str(uuid.uuid4())
    with world.db.write() as conn:
        volumes.reserve(conn, world.context, volume_id, attachment_id, server.uuid, "/dev/vdf")
        row = {
            "uuid": device,
            "server_id": server.id,
            "source_type": "volume",
            "destination_type": "volume",
            "device_name": "/dev/vdf",
            "volume_id": volume_id,
            "attachment_id": attachment_id,
            "delete_on_termination": 1,
        }
        block_devices.add(conn, row)
        block_devices.refresh(conn, server.id)
    return device


def _attach_volume(world: World, server: ServerRow, action: str) -> None:
    _with_payload(device=_reserve(world, server))(world, server, action)


def _give_up_volume(world: World, server: ServerRow, action: str) -> None:
    """Detach, or swap for a new one."""
    with world.db.read() as conn:
        device = block_devices.volumes(conn, server.id)[0]
    new = {"new": _reserve(world, server)} if action == "swap_volume" else {}
    _with_payload(device=device.uuid, **new)(world, server, action)
    with world.db.write() as conn:
        assert device.volume_id and device.attachment_id
        world.services.volumes.detaching(conn, world.context, device.volume_id, device.attachment_id)


def _migrate(world: World, server: ServerRow, _action: str) -> None:
    with world.db.write() as conn:
        moves.start_migrate(conn, world.services, world.context, server)


def _revert_move(world: World, server: ServerRow, action: str) -> None:
    with world.db.write() as conn:
        migration = migrations.waiting(conn, server.id)
        assert migration is not None
        payload = {"migration": migration.id, "shared": False}
        places = {"source": "host1", "destination": "host2"}
        lifecycle.begin(conn, world.services, world.context, server, action, payload, hosts=places)


def _live_migrate(world: World, server: ServerRow, _action: str) -> None:
    with world.db.write() as conn:
        moves.start_live_migration(conn, world.services, world.context, server, None, True)


def _evacuate(world: World, server: ServerRow, _action: str) -> None:
    """Its host is back as soon as the compute services are."""
    with world.db.write() as conn:
        conn.execute(update(Host).where(Host.name == "host1").values(last_seen_at=clock.shifted(-3600)))
        moves.start_evacuation(conn, world.services, world.context, server, None, shared=False, password="tell-nobody")


def _clean_up(world: World, server: ServerRow, _action: str) -> None:
    """There is something of it on the other host."""
    world.drivers[1].ensure_disk(f"{server.uuid}_disk", 1, None)
    with world.db.write() as conn:
        moves.leave(conn, world.services, world.context, server, "host2", disks=True)


RESCUE_IMAGE = str(uuid.uuid4())

# Action → what starts it.
STARTS: dict[str, Callable[[World, ServerRow, str], None]] = {
    "rescue": _with_payload(image_id=RESCUE_IMAGE, admin_password="tell-nobody", properties={"hw_disk_bus": "ide"}),
    "resize": _resize,
    "attach_interface": _attach,
    "apply_network": _apply_network,
    "detach_interface": _detach,
    "attach_volume": _attach_volume,
    "detach_volume": _give_up_volume,
    "swap_volume": _give_up_volume,
    "migrate": _migrate,
    "revert_move": _revert_move,
    "live_migrate": _live_migrate,
    "evacuate": _evacuate,
    "clean_up": _clean_up,
    "confirm_resize": _end_of_resize,
    "revert_resize": _end_of_resize,
    "shelve": _with_image(),
    "unshelve": _unshelve,
    "snapshot": _with_image(),
    "backup": _with_image(backup_type="daily", rotation=1),
}
