# SPDX-License-Identifier: Apache-2.0
"""Glance v2: an image's bytes: upload, download, stage and import, deactivate; and nothing left of what failed."""

from __future__ import annotations

import hashlib
import json
import os
import random
import struct
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from computeapi.backends.image import files
from computeapi.backends.image.embedded import EmbeddedImages
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.db.models import Image
from computeapi.settings import Settings
from tests.conftest import Api
from tests.wire.test_images import IMAGES, make, patch, send

OCTETS = "application/octet-stream"
DATA = random.Random(7).randbytes(300_000)


def upload(api: Api, image_id: str, data: bytes = DATA, **headers: str) -> Any:
    """PUT the bytes."""
    return send(api, "PUT", f"{IMAGES}/{image_id}/file", data, OCTETS, **headers)


def stored(settings: Settings) -> list[str]:
    """The names in the directory of images."""
    directory = settings.state_path / "images"
    return sorted(os.listdir(directory)) if directory.exists() else []


def active(api: Api, data: bytes = DATA, **fields: Any) -> str:
    """The id of an image with bytes."""
    image_id: str = make(api, **fields)["id"]
    assert upload(api, image_id, data).status_code == 204
    return image_id


def qcow2(size: int, *, backing: bytes = b"", data_file: bool = False, version: int = 3) -> bytes:
    """The beginning of a qcow2 file."""
    at = 112 if backing else 0
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, at, len(backing), 16, size, 0)
    head = head.ljust(72, b"\0") + struct.pack(">QQQII", 4 if data_file else 0, 0, 0, 4, 104)
    return (head.ljust(112, b"\0") + backing).ljust(65536, b"\0")


# --- upload and download ---


@pytest.mark.parametrize("data", [DATA, b"", b"x", DATA * 8], ids=len)
def test_upload_and_download(api: Api, settings: Settings, data: bytes) -> None:
    image_id = active(api, data)
    shown = api.get(f"{IMAGES}/{image_id}").json
    assert (shown["status"], shown["size"], shown["virtual_size"]) == ("active", len(data), len(data))
    assert shown["checksum"] == hashlib.md5(data).hexdigest()
    assert (shown["os_hash_algo"], shown["os_hash_value"]) == ("sha512", hashlib.sha512(data).hexdigest())
    assert stored(settings) == [image_id]
    answer = api.get(f"{IMAGES}/{image_id}/file")
    assert answer.status_code == 200
    assert answer.content == data
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["Content-MD5"] == shown["checksum"]
    assert answer.headers["Content-Type"] == OCTETS


def test_no_data_yet(api: Api) -> None:
    answer = api.get(f"{IMAGES}/{make(api)['id']}/file")
    assert (answer.status_code, answer.content) == (204, b"")


RANGES = [
    ("bytes=0-4", 0, 4),
    ("bytes=5-", 5, 299_999),
    ("bytes=-7", 299_993, 299_999),
    ("bytes=-999999999", 0, 299_999),
    ("bytes=299990-400000", 299_990, 299_999),
]


def test_ranges(api: Api) -> None:
    path = f"{IMAGES}/{active(api)}/file"
    for header, first, last in RANGES:
        answer = api.get(path, headers={"Range": header})
        assert answer.status_code == 206, header
        assert answer.content == DATA[first : last + 1]
        assert answer.headers["Content-Length"] == str(last + 1 - first)
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(DATA)}"


BAD_RANGES = [
    ("bytes=300000-", 416),
    ("bytes=5-4", 416),
    ("bytes=-", 416),
    ("bytes=x-y", 416),
    ("lines=1-2", 416),
    ("bytes=-0", 416),
    ("bytes=0-1,3-4", 400),
    ("bytes=" + "9" * 400 + "-", 416),
]


def test_bad_ranges(api: Api) -> None:
    path = f"{IMAGES}/{active(api)}/file"
    for header, status in BAD_RANGES:
        answer = api.get(path, headers={"Range": header})
        assert answer.status_code == status, header
        assert answer.json["title"]


def test_bytes_are_for_nobody_else_on_the_machine(api: Api, settings: Settings) -> None:
    umask = os.umask(0)
    try:
        image_id = active(api)
    finally:
        os.umask(umask)
    directory = settings.state_path / "images"
    assert (directory / image_id).stat().st_mode & 0o777 == 0o600
    assert directory.stat().st_mode & 0o007 == 0


def test_upload_wants_formats_first(api: Api, settings: Settings) -> None:
    image_id = api.post(IMAGES, {}).json["id"]
    answer = upload(api, image_id)
    assert answer.status_code == 400
    assert answer.json["message"] == "Properties disk_format, container_format must be set prior to saving data."
    assert api.get(f"{IMAGES}/{image_id}").json["status"] == "queued"
    assert stored(settings) == []


def test_upload_wants_octets(api: Api) -> None:
    image_id = make(api)["id"]
    answer = send(api, "PUT", f"{IMAGES}/{image_id}/file", b"x", "text/plain")
    assert answer.status_code == 415
    assert send(api, "PUT", f"{IMAGES}/{image_id}/file", b"{}", "application/json").status_code == 415


def test_upload_once(api: Api) -> None:
    image_id = active(api)
    assert upload(api, image_id, b"other").status_code == 409
    assert api.get(f"{IMAGES}/{image_id}/file").content == DATA


def test_formats_stay_once_there_is_data(api: Api) -> None:
    image_id = active(api)
    for name in ("disk_format", "container_format"):
        assert patch(api, image_id, [{"op": "replace", "path": f"/{name}", "value": "ami"}]).status_code == 403


def test_others_may_not_upload(api: Api, admin: Api) -> None:
    image_id = make(api)["id"]
    public = make(admin, visibility="public")["id"]
    assert upload(api.become("member"), image_id).status_code == 404
    assert upload(api.become("reader", project_id=api.project_id), image_id).status_code == 403
    assert upload(api, public).status_code == 403
    assert upload(admin, image_id).status_code == 204


def test_downloads_of_others(api: Api) -> None:
    image_id = active(api, visibility="community")
    assert api.become("member").get(f"{IMAGES}/{image_id}/file").content == DATA
    assert api.become("reader").get(f"{IMAGES}/{image_id}/file").status_code == 403
    assert api.become("member").get(f"{IMAGES}/{active(api)}/file").status_code == 404


# --- what fails leaves nothing ---


def _is_as_before(api: Api, settings: Settings, image_id: str) -> None:
    shown = api.get(f"{IMAGES}/{image_id}").json
    assert (shown["status"], shown["size"], shown["checksum"]) == ("queued", None, None)
    assert stored(settings) == []
    assert api.get(f"{IMAGES}/{image_id}/file").status_code == 204


def test_cut_short(api: Api, settings: Settings) -> None:
    image_id = make(api)["id"]
    answer = upload(api, image_id, DATA, **{"X-OpenStack-Image-Size": str(len(DATA) + 1)})
    assert answer.status_code == 400
    assert "cut short" in answer.json["message"]
    _is_as_before(api, settings, image_id)
    assert upload(api, image_id).status_code == 204


BAD_SIZES = ["-1", "x", "9" * 50, "1 2"]


def test_bad_size_header(api: Api, settings: Settings) -> None:
    image_id = make(api)["id"]
    for size in BAD_SIZES:
        assert upload(api, image_id, DATA, **{"X-OpenStack-Image-Size": size}).status_code == 400, size
        _is_as_before(api, settings, image_id)


def test_too_large(api: Api, settings: Settings, images: EmbeddedImages) -> None:
    images.files._max_bytes = len(DATA) - 1
    image_id = make(api)["id"]
    answer = upload(api, image_id)
    assert answer.status_code == 413
    _is_as_before(api, settings, image_id)
    assert upload(api, image_id, DATA[:-1]).status_code == 204


@pytest.fixture
def images(api: Api) -> EmbeddedImages:
    """The store that the API works with."""
    for _methods, resource, *_rest in _routes(api):
        if resource is not None:
            found = resource.on_get.args[0].images
            assert isinstance(found, EmbeddedImages)
            return found
    raise AssertionError


def _routes(api: Api) -> list[Any]:
    return [(None, api._app._router.find("/image/v2/images")[0])]


DISK_ERRORS = [(28, 413), (122, 413), (13, 503), (30, 503)]


def test_disk_errors(api: Api, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    image_id = make(api)["id"]

    def failing(number: int) -> Any:
        def fsync(_number: int) -> None:
            raise OSError(number, os.strerror(number))

        return fsync

    for number, status in DISK_ERRORS:
        with monkeypatch.context() as patched:
            patched.setattr(files.os, "fsync", failing(number))
            assert upload(api, image_id).status_code == status
        _is_as_before(api, settings, image_id)
    assert upload(api, image_id).status_code == 204


def test_deleted_while_it_is_uploaded(api: Api, settings: Settings, images: EmbeddedImages) -> None:
    image_id = make(api)["id"]
    context = Context("", api.user_id, api.project_id, frozenset({"member"}))

    def chunks() -> Any:
        yield DATA
        assert api.get(f"{IMAGES}/{image_id}").json["status"] == "saving"
        assert api.delete(f"{IMAGES}/{image_id}").status_code == 204
        yield DATA

    with pytest.raises(Exception, match="may have been deleted during the upload"):
        images.upload(context, image_id, chunks())
    assert stored(settings) == []
    assert api.get(f"{IMAGES}/{image_id}").status_code == 404


def test_two_at_once(api: Api, images: EmbeddedImages) -> None:
    image_id = make(api)["id"]
    context = Context("", api.user_id, api.project_id, frozenset({"member"}))

    def chunks() -> Any:
        assert upload(api, image_id, b"other").status_code == 409
        yield DATA

    images.upload(context, image_id, chunks())
    assert api.get(f"{IMAGES}/{image_id}/file").content == DATA


def test_delete_removes_the_file_but_not_from_under_a_reader(
    api: Api, settings: Settings, images: EmbeddedImages
) -> None:
    image_id = active(api, DATA * 8)
    context = Context("", api.user_id, api.project_id, frozenset({"member"}))
    reader = images.chunks(context, image_id)
    first = next(reader)
    assert api.delete(f"{IMAGES}/{image_id}").status_code == 204
    assert stored(settings) == []
    assert first + b"".join(reader) == DATA * 8


# --- what killed processes leave ---


def _state(db: Database, image_id: str, **values: Any) -> None:
    with db.write() as conn:
        conn.execute(update(Image).where(Image.uuid == image_id).values(**values))


def test_sweep(api: Api, db: Database, settings: Settings, images: EmbeddedImages) -> None:
    directory = settings.state_path / "images"
    kept = active(api)
    writing, written, lost, staging = (make(api)["id"] for _ in range(4))
    (directory / f".{writing}.0a0b.part").write_bytes(b"half")  # killed while it wrote
    _state(db, writing, status="saving")
    (directory / written).write_bytes(b"whole")  # killed before the row said active
    _state(db, written, status="saving")
    _state(db, lost, status="saving")  # its directory is another now
    (directory / f".{staging}.0c.part").write_bytes(b"half")
    _state(db, staging, status="uploading")
    deleted = make(api)["id"]
    api.delete(f"{IMAGES}/{deleted}")
    (directory / deleted).write_bytes(b"orphan")  # killed between row and file
    (directory / str(uuid.uuid4())).write_bytes(b"nobody's")
    (directory / "README").write_bytes(b"the operator's")
    assert images.sweep() == 6
    assert stored(settings) == sorted(["README", kept])
    for image_id in (writing, written, lost, staging):
        assert api.get(f"{IMAGES}/{image_id}").json["status"] == "queued"
        assert upload(api, image_id).status_code == 204
    assert api.get(f"{IMAGES}/{kept}/file").content == DATA
    assert images.sweep() == 0


def test_sweep_leaves_uploads_alone(api: Api, settings: Settings, images: EmbeddedImages) -> None:
    image_id = make(api)["id"]
    context = Context("", api.user_id, api.project_id, frozenset({"member"}))

    def chunks() -> Any:
        yield DATA
        assert images.sweep() == 0
        yield DATA

    images.upload(context, image_id, chunks())
    assert api.get(f"{IMAGES}/{image_id}").json["status"] == "active"
    assert stored(settings) == [image_id]


# --- what is in it ---


def test_virtual_size_of_qcow2(api: Api) -> None:
    image_id = active(api, qcow2(5 * 2**30), disk_format="qcow2")
    shown = api.get(f"{IMAGES}/{image_id}").json
    assert (shown["size"], shown["virtual_size"]) == (65536, 5 * 2**30)


BAD_QCOW2 = [
    b"",
    b"not qcow2",
    DATA,
    qcow2(2**30, backing=b"/etc/shadow"),
    qcow2(2**30, data_file=True),
    qcow2(1, version=9),
    qcow2(2**64 - 1),
]


def test_bad_qcow2_is_refused(api: Api, settings: Settings) -> None:
    image_id = make(api, disk_format="qcow2")["id"]
    for data in BAD_QCOW2:
        assert upload(api, image_id, data).status_code == 415
        _is_as_before(api, settings, image_id)


def test_other_formats_are_not_looked_into(api: Api) -> None:
    image_id = active(api, b"no vmdk", disk_format="vmdk")
    assert api.get(f"{IMAGES}/{image_id}").json["virtual_size"] is None


# --- stage and import ---


def importing(api: Api, image_id: str, body: Any = None) -> Any:
    """POST the import."""
    return api.post(f"{IMAGES}/{image_id}/import", body if body is not None else {"method": {"name": "glance-direct"}})


def stage(api: Api, image_id: str, data: bytes = DATA) -> Any:
    """PUT the bytes to stage."""
    return send(api, "PUT", f"{IMAGES}/{image_id}/stage", data, OCTETS)


def test_stage_and_import(api: Api, settings: Settings, images: EmbeddedImages) -> None:
    image_id = make(api)["id"]
    assert importing(api, image_id).status_code == 409
    assert stage(api, image_id).status_code == 204
    shown = api.get(f"{IMAGES}/{image_id}").json
    assert (shown["status"], shown["size"]) == ("uploading", len(DATA))
    assert api.get(f"{IMAGES}/{image_id}/file").status_code == 204
    assert upload(api, image_id).status_code == 409
    assert stage(api, image_id).status_code == 409
    assert images.sweep() == 0
    assert importing(api, image_id).status_code == 202
    assert api.get(f"{IMAGES}/{image_id}").json["status"] == "active"
    assert api.get(f"{IMAGES}/{image_id}/file").content == DATA
    assert importing(api, image_id).status_code == 409


def test_import_wants_formats_and_looks_into_the_data(api: Api) -> None:
    image_id = api.post(IMAGES, {"disk_format": "qcow2"}).json["id"]
    assert stage(api, image_id, b"not qcow2").status_code == 204
    assert importing(api, image_id).status_code == 409
    image_id = make(api, disk_format="qcow2")["id"]
    assert stage(api, image_id, b"not qcow2").status_code == 204
    assert importing(api, image_id).status_code == 415
    assert api.get(f"{IMAGES}/{image_id}").json["status"] == "uploading"


BAD_IMPORTS: list[Any] = [
    {},
    [],
    "x",
    {"method": "glance-direct"},
    {"method": {}},
    {"method": {"name": "web-download", "uri": "http://x"}},
    {"method": {"name": ["glance-direct"]}},
    {"method": {"name": "glance-direct"}, "all_stores": "yes"},
]


def test_bad_imports(api: Api) -> None:
    image_id = make(api)["id"]
    stage(api, image_id)
    for body in BAD_IMPORTS:
        answer = send(api, "POST", f"{IMAGES}/{image_id}/import", json.dumps(body), "application/json")
        assert answer.status_code == 400, body


# --- deactivate ---


def test_deactivate(api: Api, admin: Api) -> None:
    image_id = active(api)
    path = f"{IMAGES}/{image_id}"
    assert api.post(f"{path}/actions/deactivate").status_code == 204
    assert api.post(f"{path}/actions/deactivate").status_code == 204
    assert api.get(path).json["status"] == "deactivated"
    assert api.get(f"{path}/file").status_code == 403
    assert admin.get(f"{path}/file").content == DATA
    assert api.post(f"{path}/actions/reactivate").status_code == 204
    assert api.post(f"{path}/actions/reactivate").status_code == 204
    assert api.get(f"{path}/file").content == DATA
    assert api.become("reader", project_id=api.project_id).post(f"{path}/actions/deactivate").status_code == 403
    assert api.become("member").post(f"{path}/actions/deactivate").status_code == 404


def test_deactivate_what_is_not_active(api: Api) -> None:
    path = f"{IMAGES}/{make(api)['id']}/actions"
    assert api.post(f"{path}/deactivate").status_code == 403
    assert api.post(f"{path}/reactivate").status_code == 403


# --- what the operator provides ---


def test_ensure_image(api: Api, settings: Settings, images: EmbeddedImages, tmp_path: Path) -> None:
    file = tmp_path / "tiny.raw"
    file.write_bytes(DATA)
    first = images.ensure_image(None, "tiny", file, "raw", {"os_distro": "tiny"}, min_disk=1)
    assert images.ensure_image(None, "tiny", file, "raw", {"os_distro": "tiny"}, min_disk=1) == first
    shown = api.get(f"{IMAGES}/{first}").json
    assert (shown["visibility"], shown["status"], shown["owner"]) == ("public", "active", None)
    assert (shown["os_distro"], shown["min_disk"]) == ("tiny", 1)
    assert api.get(f"{IMAGES}/{first}/file").content == DATA
    assert api.delete(f"{IMAGES}/{first}").status_code == 403
    file.write_bytes(DATA[1:])
    second = images.ensure_image(None, "tiny", file, "raw")
    assert second != first
    listed = api.get(IMAGES, params={"name": "tiny"}).json["images"]
    assert [image["id"] for image in listed] == [second]  # a name in a command means one image
    assert api.get(f"{IMAGES}/{first}").status_code == 200  # servers made of the old one keep it
    assert images.files.path(second).read_bytes() == DATA[1:]
