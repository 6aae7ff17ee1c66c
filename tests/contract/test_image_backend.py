# SPDX-License-Identifier: Apache-2.0
"""What every image backend keeps to: the embedded one, and GlanceImages against our own Glance over real HTTP."""

from __future__ import annotations

import hashlib
import io
import random
import socketserver
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from wsgiref.simple_server import ServerHandler, WSGIRequestHandler, WSGIServer

import pytest

from computeapi import clock, errors
from computeapi.app import create_app
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.backends.image import load
from computeapi.backends.image.base import ImageBackend
from computeapi.backends.image.embedded import EmbeddedImages
from computeapi.backends.image.glance import GlanceImages
from computeapi.context import Context, with_implied
from computeapi.db.engine import Database
from computeapi.settings import Settings

DATA = random.Random(3).randbytes(2_500_000)
NOBODYS = "4a1c9a0e-6f5e-4b57-9f0c-1d1f3c1f7a55"


def someone(*roles: str) -> Context:
    """A user of a project of its own."""
    return Context("", uuid.uuid4().hex, uuid.uuid4().hex, with_implied(roles or ("member",)))


# --- our Glance, served ---


class _Chunked(io.RawIOBase):
    """The bytes of a chunked request body."""

    def __init__(self, file: Any) -> None:
        self._file, self._left, self._over = file, 0, False

    def read(self, size: int = -1) -> bytes:
        if self._over:
            return b""
        if not self._left:
            self._left = int(self._file.readline().split(b";")[0], 16)
            if not self._left:
                self._over = True
                self._file.readline()
                return b""
        data: bytes = self._file.read(min(size, self._left))
        self._left -= len(data)
        if not self._left:
            self._file.readline()
        return data


class _Handler(WSGIRequestHandler):
    def get_environ(self) -> dict[str, Any]:
        environ: dict[str, Any] = super().get_environ()
        environ["chunked"] = "chunked" in self.headers.get("Transfer-Encoding", "")
        return environ

    def log_message(self, *_what: Any) -> None:
        """Nothing."""

    def handle(self) -> None:
        self.raw_requestline = self.rfile.readline(65537)
        if not self.parse_request():
            return
        environ = self.get_environ()
        stream: Any = self.rfile
        if environ.pop("chunked"):
            stream, environ["wsgi.input_terminated"] = _Chunked(self.rfile), True
        handler = ServerHandler(stream, self.wfile, self.get_stderr(), environ)
        handler.request_handler = self  # type: ignore[attr-defined]
        handler.run(self.server.get_app())  # type: ignore[attr-defined]


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True


@dataclass
class Cloud:
    """A backend, and the same images seen without it."""

    backend: ImageBackend
    embedded: EmbeddedImages
    contexts: list[Context] = field(default_factory=list)


@pytest.fixture(params=["embedded", "glance"])
def cloud(request: pytest.FixtureRequest, settings: Settings, db: Database) -> Iterator[Cloud]:
    embedded = EmbeddedImages(settings, db)
    if request.param == "embedded":
        yield Cloud(embedded, embedded)
        return
    codec = TokenCodec(settings.secret("tokens"))
    server = _Server(("127.0.0.1", 0), _Handler)
    server.set_app(create_app(settings, db=db))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        url = f"http://127.0.0.1:{server.server_port}/image"
        yield Cloud(GlanceImages(url, token=lambda context: _token(codec, context)), embedded)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _token(codec: TokenCodec, context: Context) -> str:
    now, then = clock.now(), clock.shifted(600)
    roles = tuple(context.roles)
    values = (context.user_id, context.project_id, None, False, roles, ("password",), now, then, uuid.uuid4().hex)
    return codec.seal(Claims(*values))


def made(cloud: Cloud, context: Context, data: bytes | None = DATA, **fields: Any) -> str:
    """An image; with bytes unless None."""
    properties = fields.pop("properties", {})
    image_id = cloud.backend.create(context, fields.pop("name", "one"), "raw", properties, **fields)
    if data is not None:
        cloud.backend.upload(context, image_id, iter([data[:1000], data[1000:]]))
    return image_id


# --- the contract ---


def test_create_upload_show_read(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me, name="é", properties={"os_distro": "x/~y"}, min_ram=5, min_disk=6, tags=("a",))
    info = cloud.backend.show(me, image_id)
    assert (info.id, info.name, info.status, info.owner) == (image_id, "é", "active", me.project_id)
    assert (info.disk_format, info.container_format, info.visibility) == ("raw", "bare", "shared")
    assert (info.size, info.virtual_size, info.checksum) == (len(DATA), len(DATA), hashlib.md5(DATA).hexdigest())
    assert (info.min_ram, info.min_disk, info.protected) == (5, 6, False)
    assert info.properties == {"os_distro": "x/~y"}
    assert len(info.created_at) == len(info.updated_at) == 26
    assert b"".join(cloud.backend.chunks(me, image_id)) == DATA


def test_an_image_with_an_id_of_ours(cloud: Cloud) -> None:
    me, image_id = someone(), str(uuid.uuid4())
    assert made(cloud, me, None, id=image_id) == image_id
    with pytest.raises(errors.Conflict):
        made(cloud, me, None, id=image_id)
    assert cloud.backend.show(me, image_id).status == "queued"


def test_empty_data(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me, b"")
    assert cloud.backend.show(me, image_id).size == 0
    assert list(cloud.backend.chunks(me, image_id)) == []


def test_no_data(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me, None)
    with pytest.raises(errors.NotFound):
        cloud.backend.chunks(me, image_id)
    with pytest.raises(errors.NotFound):
        cloud.backend.chunks(me, NOBODYS)


def test_upload_twice(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me)
    with pytest.raises(errors.Conflict):
        cloud.backend.upload(me, image_id, iter([b"x"]))


def test_an_upload_that_breaks_off_leaves_nothing(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me, None)

    def chunks() -> Iterator[bytes]:
        yield DATA
        _wait(lambda: cloud.backend.show(me, image_id).status == "saving")
        raise ZeroDivisionError

    with pytest.raises((ZeroDivisionError, errors.Unavailable)):
        cloud.backend.upload(me, image_id, chunks())
    _wait(lambda: cloud.backend.show(me, image_id).status == "queued")
    _wait(lambda: not list(cloud.embedded.files.directory.iterdir()))
    cloud.backend.upload(me, image_id, iter([DATA]))
    assert cloud.backend.show(me, image_id).status == "active"


def _wait(true: Callable[[], bool]) -> None:
    for _ in range(600):
        if true():
            return
        threading.Event().wait(0.05)
    raise AssertionError


def test_list(cloud: Cloud) -> None:
    me = someone()
    ids = [made(cloud, me, None, name=name, min_ram=number) for number, name in enumerate("abcde")]
    cloud.backend.set_properties(me, ids[1], {"image_type": "snapshot"}, purge=False)

    def names(filters: dict[str, str], limit: int = 100, marker: str | None = None) -> str:
        return "".join(info.name or "" for info in cloud.backend.list(me, filters, limit, marker))

    assert names({}) == "edcba"
    assert names({}, limit=2) == "ed"
    assert names({}, limit=2, marker=ids[3]) == "cb"
    assert names({"name": "c"}) == "c"
    assert names({"status": "active"}) == ""
    assert names({"min_ram": "3"}) == "d"
    assert names({"image_type": "snapshot"}) == "b"
    assert names({"changes-since": "2020-01-01T00:00:00Z"}) == "edcba"
    assert names({"changes-since": "9999-01-01T00:00:00Z"}) == ""
    assert cloud.backend.list(someone(), {}, 10, None) == []
    for filters, marker in (({"min_ram": "x"}, None), ({"changes-since": "x"}, None), ({}, NOBODYS)):
        with pytest.raises(errors.BadRequest):
            names(filters, marker=marker)


def test_more_than_a_page(cloud: Cloud) -> None:
    me = someone()
    for number in range(30):
        made(cloud, me, None, name=str(number))
    assert len(cloud.backend.list(me, {}, 1000, None)) == 30
    assert len(cloud.backend.list(me, {}, 27, None)) == 27


def test_set_properties(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me, None, properties={"a": "1", "b": "2"})
    info = cloud.backend.set_properties(me, image_id, {"b": "3", "c~/": "é"}, purge=False)
    assert info.properties == {"a": "1", "b": "3", "c~/": "é"}
    assert cloud.backend.show(me, image_id) == info
    info = cloud.backend.set_properties(me, image_id, {"d": ""}, purge=True)
    assert info.properties == {"d": ""}
    assert cloud.backend.set_properties(me, image_id, {}, purge=True).properties == {}
    for name in ("name", "status", "os_glance_x"):
        with pytest.raises(errors.Forbidden):
            cloud.backend.set_properties(me, image_id, {name: "x"}, purge=False)
    assert cloud.backend.show(me, image_id).name == "one"


def test_delete(cloud: Cloud) -> None:
    me = someone()
    image_id, protected = made(cloud, me), made(cloud, me, protected=True)
    cloud.backend.delete(me, image_id)
    for act in (cloud.backend.show, cloud.backend.delete):
        with pytest.raises(errors.NotFound):
            act(me, image_id)
    with pytest.raises(errors.Forbidden):
        cloud.backend.delete(me, protected)


def test_others(cloud: Cloud) -> None:
    me, other, admin = someone(), someone(), someone("admin")
    mine, public = made(cloud, me), made(cloud, admin, visibility="public")
    for act in (
        lambda: cloud.backend.show(other, mine),
        lambda: cloud.backend.delete(other, mine),
        lambda: cloud.backend.set_properties(other, mine, {"a": "b"}, purge=False),
        lambda: cloud.backend.chunks(other, mine),
        lambda: cloud.backend.upload(other, mine, iter([])),
    ):
        with pytest.raises(errors.NotFound):
            act()
    assert b"".join(cloud.backend.chunks(other, public)) == DATA
    for act in (
        lambda: cloud.backend.delete(other, public),
        lambda: cloud.backend.set_properties(other, public, {"a": "b"}, purge=True),
        lambda: cloud.backend.upload(other, public, iter([])),
    ):
        with pytest.raises(errors.Forbidden):
            act()
    assert [info.id for info in cloud.backend.list(other, {}, 10, None)] == [public]
    assert cloud.backend.show(admin, mine).id == mine


@pytest.mark.parametrize("image_id", [NOBODYS, "x", "..", "a/b", "%00", "\0", "é?x=y#z"])
def test_no_such_image(cloud: Cloud, image_id: str) -> None:
    me = someone()
    for act in (cloud.backend.show, cloud.backend.delete, cloud.backend.chunks):
        with pytest.raises(errors.NotFound):
            act(me, image_id)


# --- of the seam itself ---


def test_local_path(cloud: Cloud) -> None:
    me = someone()
    image_id = made(cloud, me)
    path = cloud.backend.local_path(me, image_id)
    if cloud.backend is cloud.embedded:
        assert path is not None
        assert path.read_bytes() == DATA
    else:
        assert path is None


def test_load_goes_by_the_setting(settings: Settings, db: Database) -> None:
    from dataclasses import replace

    assert isinstance(load(settings, db), EmbeddedImages)
    external = replace(settings, image_url="http://127.0.0.1:1/v2")
    backend = load(external, db)
    assert isinstance(backend, GlanceImages)
    assert backend.endpoint("http://us") == "http://127.0.0.1:1"


def test_a_glance_that_is_away() -> None:
    backend = GlanceImages("http://127.0.0.1:1", token=lambda _context: "t")
    with pytest.raises(errors.Unavailable):
        backend.delete(someone(), NOBODYS)


def test_no_token() -> None:
    with pytest.raises(errors.Unauthorized):
        GlanceImages("http://127.0.0.1:1", token=lambda _context: "").show(someone(), NOBODYS)


def test_our_own_routes_are_off_beside_a_real_glance(settings: Settings, db: Database) -> None:
    from tests.conftest import Api

    images = GlanceImages("http://127.0.0.1:1", token=lambda _context: "")
    app = create_app(settings, db=db, images=images)
    api = Api(app, TokenCodec(settings.secret("tokens")), ("admin",), uuid.uuid4().hex, uuid.uuid4().hex)
    for path in ("", "/versions", "/v2/images", f"/v2/images/{NOBODYS}", "/v2/schemas/image", "/v2/info/import"):
        assert api.get("/image" + path).status_code == 404
