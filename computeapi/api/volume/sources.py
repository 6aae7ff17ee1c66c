# SPDX-License-Identifier: Apache-2.0
"""What a volume is asked to be made from: the body of POST /v3/volumes as a NewVolume.

Checks and sentences: cinder/volume/flows/api/create_volume.py, cinder/api/v3/volumes.py.
"""

from __future__ import annotations

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.volume import common
from computeapi.api.volume.common import Json
from computeapi.backends.image.base import ImageInfo, is_id
from computeapi.backends.volume.base import NewVolume
from computeapi.db.queries import volume_lists as lists
from computeapi.db.queries import volume_snapshots as rows
from computeapi.db.queries.volume_lists import SNAPSHOTS, TYPES, VOLUMES
from computeapi.db.queries.volume_types import DEFAULT
from computeapi.endpoint import Call

_MULTIATTACH = (
    "multiattach parameter has been removed. The default behavior is to use multiattach enabled volume types. Contact "
    "your administrator to create a multiattach enabled volume type and use it to create multiattach volumes."
)
_NO_IMAGE = "Invalid image identifier or unable to access requested image."
GIB = 1024**3


def read(call: Call, body: Json) -> NewVolume:
    """The volume that `body` asks for. Raises BadRequest and NotFound."""
    if body.get("multiattach") is not None and p.truth(body["multiattach"]):
        raise errors.BadRequest(_MULTIATTACH)
    _refuse_others(body)
    snapshot_id, source_id = body.get("snapshot_id"), body.get("source_volid")
    image_ref = body.get("imageRef") or body.get("image_id")
    if sum(each is not None for each in (snapshot_id, source_id, image_ref)) > 1:
        raise common.invalid("May specify only one of snapshot, imageRef or source volume")
    size = None if body.get("size") is None else int(body["size"])
    if size is None:
        size = _size_of_source(call, snapshot_id, source_id)
    image = _image(call, image_ref, size) if image_ref else None
    texts = common.texts(body)
    return NewVolume(
        size_gb=size,
        name=texts.get("name"),
        description=texts.get("description"),
        metadata=body.get("metadata") or {},
        availability_zone=body.get("availability_zone"),
        volume_type=_type(call, body.get("volume_type"), source_id, snapshot_id),
        image_id=image.id if image else None,
        image_properties=_kept(image) if image else {},
        snapshot_id=snapshot_id,
        source_volume_id=source_id,
    )


def _refuse_others(body: Json) -> None:
    """There are neither groups nor backups."""
    for name, word in (("consistencygroup_id", "Group"), ("group_id", "Group"), ("backup_id", "Backup")):
        if body.get(name):
            raise errors.NotFound(f"{word} {body[name]} could not be found.")


def _size_of_source(call: Call, snapshot_id: str | None, source_id: str | None) -> int:
    kind, uuid = (SNAPSHOTS, snapshot_id) if snapshot_id else (VOLUMES, source_id)
    if uuid is None:
        raise common.invalid(
            "Invalid volume size provided for create request: None (size argument must be an integer (or string "
            "representation of an integer) and greater than zero)."
        )
    with call.services.db.read() as conn:
        return int(lists.find(conn, kind, uuid, common.scope(call)).size_gb)


def _type(call: Call, wanted: str | None, source_id: str | None, snapshot_id: str | None) -> str | None:
    """The type: the one asked for, which the caller may use, else the source's; None: the default."""
    with call.services.db.read() as conn:
        if wanted == DEFAULT:
            return wanted
        if wanted:
            found = rows.find_type(conn, wanted)
            if found is None:
                raise errors.NotFound(f"Volume type {wanted} could not be found.")
            return str(lists.find(conn, TYPES, found.uuid, common.scope(call)).uuid)
        if snapshot_id is not None:
            source_id = lists.find(conn, SNAPSHOTS, snapshot_id, common.scope(call)).volume_id
        if source_id is not None:
            own = lists.find(conn, VOLUMES, source_id, None if snapshot_id else common.scope(call)).type_id
            if own is not None:
                return str(own)
    return None


# --- images ---


def _image(call: Call, reference: str, size: int) -> ImageInfo:
    """The image that is named by id, URL or name, if it fits. Raises BadRequest and Conflict."""
    image = _find_image(call, reference)
    if image.status != "active":
        raise common.invalid(f"Image {image.id} is not active.")
    least = -(-max(image.size or 0, image.virtual_size or 0) // GIB)
    if least > size:
        raise common.invalid(f"Size of specified image {least}GB is larger than volume size {size}GB.")
    if image.min_disk > size:
        raise common.invalid(f"Volume size {size}GB cannot be smaller than the image minDisk size {image.min_disk}GB.")
    return image


def _kept(image: ImageInfo) -> dict[str, str]:
    """What a volume keeps of its image: volume_image_metadata."""
    attributes = {
        "image_id": image.id,
        "image_name": image.name,
        "checksum": image.checksum,
        "container_format": image.container_format,
        "disk_format": image.disk_format,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "size": image.size,
    }
    return {**image.properties, **{name: str(value) for name, value in attributes.items() if value is not None}}


def _find_image(call: Call, reference: str) -> ImageInfo:
    images, context = call.services.images, call.context
    identifier = reference.rsplit("/", 1)[-1]
    if is_id(identifier):
        try:
            return images.show(context, identifier)
        except errors.NotFound:
            pass
    try:
        found = images.list(context, {"name": reference}, 2, None)
    except errors.BadRequest:  # what can be no name
        found = []
    if len(found) > 1:
        raise errors.Conflict(f"Multiple matches found for '{reference}', use an ID to be more specific.")
    if not found:
        raise errors.BadRequest(_NO_IMAGE)
    return found[0]
