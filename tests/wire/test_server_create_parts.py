# SPDX-License-Identifier: Apache-2.0
"""POST /servers: images, flavors, keys, user data, personality, metadata and disks, good and bad."""

from __future__ import annotations

import base64
import uuid
from typing import Any

import pytest
from sqlalchemy import select

from computeapi.db.engine import Database
from computeapi.db.models import BlockDevice
from tests.conftest import Api
from tests.wire.conftest import add_flavor, add_image
from tests.wire.creating import add_key, create, created, nothing_was_made, refusal, row_of

GIB = 1024**3


# --- image and flavor ---


def test_image_unknown(api: Api, db: Database, body: dict[str, Any]) -> None:
    assert refusal(api, body, imageRef=str(uuid.uuid4())) == "Can not find requested image"
    private = add_image(db, visibility="private")
    assert refusal(api, body, imageRef=private) == "Can not find requested image"
    assert nothing_was_made(db)


NO_IMAGES: list[Any] = ["x", "12", "../../etc/passwd", "a" * 300, 5, None, {}, "http://x/", "' OR 1=1"]


def test_image_that_is_no_id(api: Api, body: dict[str, Any]) -> None:
    for image in NO_IMAGES:
        create(api, body, 400, imageRef=image)


def test_no_image(api: Api, body: dict[str, Any]) -> None:
    assert refusal(api, body, imageRef="") == "Missing imageRef attribute"
    del body["imageRef"]
    assert refusal(api, body) == "Missing imageRef attribute"


@pytest.mark.parametrize("status", ["queued", "saving", "deactivated"])
def test_image_not_active(api: Api, db: Database, body: dict[str, Any], status: str) -> None:
    image = add_image(db, status=status)
    assert refusal(api, body, imageRef=image) == f"Image {image} is not active."


def test_image_too_large(api: Api, db: Database, body: dict[str, Any]) -> None:
    assert refusal(api, body, imageRef=add_image(db, size=GIB + 1)) == (
        f"Flavor's disk is too small for requested image. Flavor disk is {GIB} bytes, image is {GIB + 1} bytes."
    )
    assert refusal(api, body, imageRef=add_image(db, min_disk=2)) == (
        "Flavor's disk is smaller than the minimum size specified in image metadata. "
        f"Flavor disk is {GIB} bytes, minimum size is {2 * GIB} bytes."
    )
    assert refusal(api, body, imageRef=add_image(db, min_ram=513)) == (
        "Flavor's memory is too small for requested image."
    )


@pytest.mark.usefixtures("host")
def test_flavor_without_disk(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    flavor = add_flavor(db, disk_gb=0)
    assert refusal(api, body, 403, flavorRef=flavor) == (
        "Only volume-backed servers are allowed for flavors with zero disk."
    )
    create(admin, body, flavorRef=flavor)


NO_FLAVORS: list[Any] = ["nope", 42, "a" * 1000, "'; DROP TABLE flavors", "é", "a%b"]


def test_flavor_unknown(api: Api, body: dict[str, Any]) -> None:
    for flavor in NO_FLAVORS:
        assert refusal(api, body, flavorRef=flavor) == f"Flavor {flavor} could not be found."


def test_flavor_of_others(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    private, disabled = add_flavor(db, is_public=0), add_flavor(db, disabled=1)
    assert refusal(api, body, flavorRef=private) == f"Flavor {private} could not be found."
    assert refusal(admin, body, flavorRef=disabled) == f"Flavor {disabled} could not be found."
    create(admin, body, flavorRef=private)


@pytest.mark.usefixtures("host")
def test_flavor_of_the_largest_numbers(api: Api, admin: Api, db: Database, body: dict[str, Any]) -> None:
    """Too much for any host and any sum, and no error of the server's."""
    most = 2**31 - 1
    flavor = add_flavor(db, disk_gb=most, ephemeral_gb=most, memory_mb=1, vcpus=1)
    row = created(api, db, body, flavorRef=flavor)
    assert row.vm_state == "error"


# --- key pair, user data, personality, metadata ---


def test_key_unknown(api: Api, db: Database, body: dict[str, Any]) -> None:
    add_key(db, "somebody-else", "theirs")
    for name in ("theirs", "nope", "x" * 255):
        assert refusal(api, body, key_name=name) == "Invalid key_name provided."


BAD_USER_DATA: list[Any] = ["x", "a" * 65536, "é", 5, None, "a\u0000"]


def test_bad_user_data(api: Api, body: dict[str, Any]) -> None:
    for user_data in BAD_USER_DATA:
        create(api, body, 400, user_data=user_data)


@pytest.mark.usefixtures("host")
def test_v2_takes_no_user_data_and_spaces(api: Api, db: Database, body: dict[str, Any]) -> None:
    answer = api.post("/v2/servers", {"server": {**body, "name": " web ", "user_data": None, "unknown": 1}})
    assert answer.status_code == 202
    assert row_of(db, answer.json["server"]["id"]).name == "web"


def _files(count: int, path: str = "/tmp/x", size: int = 1) -> list[dict[str, str]]:
    return [{"path": path, "contents": base64.b64encode(b"x" * size).decode()} for _ in range(count)]


def test_personality_limits(api: Api, db: Database, body: dict[str, Any]) -> None:
    for files, sentence in (
        (_files(6), "Personality file limit exceeded"),
        (_files(1, path="/" * 256), "Personality file path exceeds maximum 255"),
        (_files(1, size=10241), "Personality file content exceeds maximum 10240"),
    ):
        assert create(api, body, 403, personality=files).json == {"forbidden": {"code": 403, "message": sentence}}
    assert nothing_was_made(db)


@pytest.mark.usefixtures("host")
def test_personality_within_limits(api: Api, body: dict[str, Any]) -> None:
    create(api, body, personality=_files(5, path="/" + "x" * 254, size=10240))


BAD_PERSONALITY: list[Any] = [
    [{"path": "/x", "contents": "x"}],
    [{"path": "/x"}],
    [{"contents": ""}],
    [{}],
    {},
    [1],
    [{"path": 1}],
]


def test_bad_personality(api: Api, body: dict[str, Any]) -> None:
    for files in BAD_PERSONALITY:
        create(api, body, 400, personality=files)


BAD_METADATA: list[Any] = [{"": "x"}, {"a": 1}, {"a" * 256: "x"}, {"a": "x" * 256}, {"a/b": "x"}, [], None]


def test_bad_metadata(api: Api, body: dict[str, Any]) -> None:
    for metadata in BAD_METADATA:
        create(api, body, 400, metadata=metadata)


def test_too_much_metadata(api: Api, body: dict[str, Any]) -> None:
    many = {f"key{number}": "x" for number in range(129)}
    assert refusal(api, body, 403, metadata=many) == "Maximum number of metadata items exceeds 128"


# --- disks ---


def _disks(db: Database) -> list[tuple[Any, ...]]:
    columns = (BlockDevice.source_type, BlockDevice.boot_index, BlockDevice.size_gb, BlockDevice.guest_format)
    with db.read() as conn:
        return [tuple(row) for row in conn.execute(select(*columns).order_by(BlockDevice.id))]


@pytest.mark.usefixtures("host")
def test_disks_of_image_and_flavor(api: Api, db: Database, body: dict[str, Any]) -> None:
    row = created(api, db, body, flavorRef=add_flavor(db, ephemeral_gb=2, swap_mb=512))
    assert _disks(db) == [("image", 0, None, None), ("blank", -1, 2, None), ("blank", -1, 512, "swap")]
    assert row.disk_gb == 3


@pytest.mark.usefixtures("host")
def test_disks_of_the_body(api: Api, db: Database, body: dict[str, Any]) -> None:
    flavor = add_flavor(db, ephemeral_gb=4, swap_mb=512)
    root = {
        "source_type": "image",
        "destination_type": "local",
        "uuid": body["imageRef"],
        "boot_index": "0",
        "delete_on_termination": True,
    }
    blank = {"source_type": "blank", "destination_type": "local", "volume_size": "1", "guest_format": "ext4"}
    swap = {"source_type": "blank", "destination_type": "local", "volume_size": 256, "guest_format": "swap"}
    create(api, body, flavorRef=flavor, block_device_mapping_v2=[root, blank, swap])
    assert _disks(db) == [("image", 0, None, None), ("blank", -1, 1, "ext4"), ("blank", -1, 256, "swap")]


@pytest.mark.usefixtures("host")
def test_disks_of_the_old_syntax(api: Api, db: Database, body: dict[str, Any]) -> None:
    flavor = add_flavor(db, ephemeral_gb=4, swap_mb=512)
    mapping = [
        {"device_name": "/dev/vdb", "virtual_name": "ephemeral0", "volume_size": 3},
        {"device_name": "vdc", "virtual_name": "swap", "delete_on_termination": "True"},
        {"device_name": "vdd", "no_device": True},
    ]
    create(api, body, flavorRef=flavor, block_device_mapping=mapping)
    assert _disks(db) == [("image", 0, None, None), ("blank", -1, 3, None), ("blank", -1, None, "swap")]


_BLANK = {"source_type": "blank", "destination_type": "local"}
_BOOT = "Boot sequence for the instance and image/block device mapping combination is not valid."


BAD_DISKS: list[tuple[Any, str]] = [
    ([_BLANK], _BOOT),
    ([{"root": 1}, {**_BLANK, "boot_index": 0}], _BOOT),
    ([{"root": 1}, {**_BLANK, "boot_index": 2}], _BOOT),
    ([{"root": 1}, {**_BLANK, "boot_index": "9" * 500}], _BOOT),
    ([{"root": 1}, {**_BLANK, "volume_size": 5}], "Ephemeral disks requested are larger"),
    ([{"root": 1}, {**_BLANK, "volume_size": "9" * 5000}], "Ephemeral disks requested are larger"),
    ([{"root": 1}, {**_BLANK, "guest_format": "swap", "volume_size": 513}], "Swap drive requested is larger"),
    ([{"root": 1}, *[{**_BLANK, "guest_format": "swap"}] * 2], "More than one swap drive requested."),
    ([{"root": 1}, *[{**_BLANK, "volume_size": 1}] * 3], "more local devices than the limit allows"),
    ([{"root": 1}, {**_BLANK, "disk_bus": "warp"}], "Block Device Mapping is Invalid."),
    ([{"root": 1}, {**_BLANK, "device_type": "warp"}], "device type warp"),
    ([{"root": 1}, {**_BLANK, "guest_format": "f" * 17}], "guest format"),
    ([{"root": 1}, {**_BLANK, "device_name": "d" * 65}], "Device name"),
    ([{"root": 1}, {**_BLANK, "device_name": "has space"}], "device_name"),
    ([{"root": 1}, {**_BLANK, "device_name": ""}], "device_name"),
    ([{"root": 1}, {**_BLANK, "uuid": "x"}], "Invalid device UUID."),
    ([{"root": 1}, {**_BLANK, "boot_index": "x"}], "boot_index"),
    ([{"root": 1}, {**_BLANK, "boot_index": 1.5}], "boot_index"),
    ([{"root": 1}, {**_BLANK, "volume_size": 0}], "volume_size"),
    ([{"root": 1}, {**_BLANK, "volume_size": 2**31}], "volume_size"),
    ([{"root": 1}, {**_BLANK, "unknown": 1}], "unknown"),
    ([{"destination_type": "local"}], "Missing device UUID"),
    ([{"uuid": "x", "destination_type": "local"}], "Some required fields are missing"),
    ([{"source_type": "image", "destination_type": "local"}], "Missing device UUID."),
    (
        [{"source_type": "image", "destination_type": "local", "uuid": "other", "boot_index": 0}],
        "failed to get image",
    ),
    (
        [{"source_type": "image", "destination_type": "local", "uuid": "x"}],
        "Mapping image to local is not supported.",
    ),
    (
        [{"source_type": "volume", "destination_type": "volume", "uuid": "x", "boot_index": 0}],
        "failed to get volume x.",
    ),
    (
        [{"source_type": "image", "destination_type": "volume", "uuid": "x", "volume_size": 1, "boot_index": 0}],
        "failed to get image x.",
    ),
    ([{"source_type": "image", "destination_type": "volume", "uuid": "x", "boot_index": 0}], "need to have a non-zero"),
    ([{"root": 1}, {"source_type": "snapshot", "destination_type": "volume", "uuid": "x"}], "failed to get snapshot x"),
    ([{"root": 1}, {"source_type": "blank", "destination_type": "volume"}], "need to have non-zero size"),
    ([{"root": 1}, {"source_type": "volume", "destination_type": "local", "uuid": "x"}], "to local is not supported"),
    ([{"source_type": "tape"}], "source_type"),
    ([5], "5"),
    ({}, "{}"),
]


def test_bad_disks(api: Api, db: Database, body: dict[str, Any]) -> None:
    root = {"source_type": "image", "destination_type": "local", "uuid": body["imageRef"], "boot_index": 0}
    flavor = add_flavor(db, ephemeral_gb=4, swap_mb=512)
    for items, words in BAD_DISKS:
        mapping = [root if item == {"root": 1} else item for item in items] if isinstance(items, list) else items
        assert words in refusal(api, body, flavorRef=flavor, block_device_mapping_v2=mapping), items
        assert nothing_was_made(db)


BAD_OLD_DISKS: list[tuple[dict[str, Any], str]] = [
    ({"volume_id": str(uuid.UUID(int=1)), "device_name": "vdb"}, "failed to get volume"),
    ({"snapshot_id": str(uuid.UUID(int=1)), "device_name": "vdb"}, "failed to get snapshot"),
    ({"device_name": "vdb"}, "Unrecognized legacy format."),
    ({"virtual_name": "ephemeralx"}, "Unrecognized legacy format."),
    ({"virtual_name": "v" * 256}, "virtual_name"),
    ({"source_type": "blank"}, "source_type"),
]


def test_bad_old_disks(api: Api, body: dict[str, Any]) -> None:
    for item, words in BAD_OLD_DISKS:
        assert words in refusal(api, body, block_device_mapping=[item])
        both = {"block_device_mapping": [{"virtual_name": "swap"}], "block_device_mapping_v2": [_BLANK]}
        assert refusal(api, body, **both).startswith("Using different block_device_mapping syntaxes")


def test_no_image_and_no_volume(api: Api, body: dict[str, Any]) -> None:
    del body["imageRef"]
    assert _BOOT in refusal(api, body, block_device_mapping_v2=[_BLANK], flavorRef=body["flavorRef"])
