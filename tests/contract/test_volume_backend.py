# SPDX-License-Identifier: Apache-2.0
"""What every volume backend keeps to: the embedded one, and CinderVolumes against our own Block Storage API over HTTP.

The API that is asked has a database and hosts of its own, as a Cinder has.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from computeapi import clock, errors
from computeapi.app import create_app, make_services
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.backends.volume import cinder, load
from computeapi.backends.volume.base import NewVolume, VolumeBackend
from computeapi.backends.volume.cinder import CinderVolumes
from computeapi.backends.volume.embedded import EmbeddedVolumes
from computeapi.context import Context, with_implied
from computeapi.db.engine import Database
from computeapi.sealing import Seal
from computeapi.settings import Settings
from computeapi.virt.images import empty_qcow2
from computeapi.virt.simulator import SimulatedHypervisor
from tests.cloud import Compute, add_image
from tests.conftest import Api
from tests.databases import Engine

NOTHING = str(uuid.uuid4())
SERVER = str(uuid.uuid4())


def someone(*roles: str) -> Context:
    """A user of a project of its own."""
    return Context("", uuid.uuid4().hex, uuid.uuid4().hex, with_implied(roles or ("member",)))


@dataclass
class Cloud:
    """A backend, the database of who uses it, and the host that makes its volumes."""

    backend: VolumeBackend
    db: Database
    compute: Compute
    seen: list[dict[str, Any]]  # the headers of what was asked over HTTP

    def made(self, context: Context, size: int | None = 1, **new: Any) -> str:
        """A volume that is there; its id."""
        volume_id = self.backend.create(context, NewVolume(size, **new)).id
        self.compute.work()
        return volume_id

    def write(self, what: Callable[..., Any], *arguments: Any, **more: Any) -> None:
        """One of the methods that take part in a transaction."""
        with self.db.write() as conn:
            what(conn, *arguments, **more)

    def status(self, context: Context, volume_id: str) -> str:
        """The volume's."""
        return self.backend.show(context, volume_id).status


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_what: Any) -> None:
        """Nothing."""


@pytest.fixture(params=["embedded", "cinder"])
def cloud(
    request: pytest.FixtureRequest, settings: Settings, db: Database, database_engine: Engine, tmp_path: Path
) -> Iterator[Cloud]:
    driver = SimulatedHypervisor("host1")
    if request.param == "embedded":
        services = make_services(settings, db=db)
        yield Cloud(services.volumes, db, Compute(settings, db, driver, services.images), [])
        driver.close()
        return
    directory = tmp_path / "cinder"
    directory.mkdir()
    theirs = replace(settings, state_dir=str(directory), connection=database_engine.new(directory))
    their_db = Database(theirs.database_url)
    seen: list[dict[str, Any]] = []
    with make_server("127.0.0.1", 0, _watched(create_app(theirs, db=their_db), seen), handler_class=_Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        codec = TokenCodec(theirs.secret("tokens"))
        service = someone("admin", "service")
        url = f"http://127.0.0.1:{server.server_port}/volume/v3"
        backend = CinderVolumes(url, lambda: _token(codec, service), lambda context: _token(codec, context))
        images = make_services(theirs, db=their_db).images
        yield Cloud(backend, db, Compute(theirs, their_db, driver, images), seen)
        server.shutdown()
        thread.join()
    their_db.close()
    driver.close()


def _watched(app: Any, seen: list[dict[str, Any]]) -> Any:
    def watch(environ: dict[str, Any], start_response: Any) -> Any:
        seen.append({"method": environ["REQUEST_METHOD"], "path": environ["PATH_INFO"], **environ})
        return app(environ, start_response)

    return watch


def _token(codec: TokenCodec, context: Context) -> str:
    now, then = clock.now(), clock.shifted(600)
    roles = tuple(context.roles)
    values = (context.user_id, context.project_id, None, False, roles, ("password",), now, then, uuid.uuid4().hex)
    return codec.seal(Claims(*values))


# --- volumes ---


def test_create_show_list_delete(cloud: Cloud) -> None:
    me = someone()
    new = NewVolume(2, name="one", description="d", metadata={"k": "v"}, availability_zone="nova")
    made = cloud.backend.create(me, new)
    assert (made.status, made.size_gb, made.name, made.metadata) == ("creating", 2, "one", {"k": "v"})
    cloud.compute.work()
    shown = cloud.backend.show(me, made.id)
    assert (shown.status, shown.project_id, shown.user_id) == ("available", me.project_id, me.user_id)
    assert (shown.description, shown.availability_zone, shown.bootable) == ("d", "nova", False)
    assert shown.volume_type == "__DEFAULT__" and shown.attachments == ()
    assert len(shown.created_at) == 26
    second = cloud.made(me)
    assert [each.id for each in cloud.backend.list(me)] == [second, made.id]
    assert [each.id for each in cloud.backend.list(me, limit=1)] == [second]
    assert [each.id for each in cloud.backend.list(me, offset=1)] == [made.id]
    cloud.backend.delete(me, made.id)
    assert cloud.status(me, made.id) == "deleting"
    cloud.compute.work()
    with pytest.raises(errors.NotFound, match=f"Volume {made.id} could not be found."):
        cloud.backend.show(me, made.id)


def test_from_an_image(cloud: Cloud) -> None:
    me = someone()
    image = add_image(cloud.compute.images, empty_qcow2(1 << 30))
    shown = cloud.backend.show(me, cloud.made(me, 1, image_id=image))
    assert shown.bootable and shown.image_id == image


def test_from_volumes_and_snapshots(cloud: Cloud) -> None:
    me = someone()
    first = cloud.made(me, 2)
    assert cloud.backend.show(me, cloud.made(me, 2, source_volume_id=first)).source_volume_id == first
    snapshot = cloud.backend.create_snapshot(me, first, "s", "d")
    assert (snapshot.status, snapshot.size_gb, snapshot.volume_id) == ("creating", 2, first)
    cloud.compute.work()
    assert cloud.backend.show_snapshot(me, snapshot.id).status == "available"
    assert [each.id for each in cloud.backend.list_snapshots(me)] == [snapshot.id]
    assert cloud.backend.show(me, cloud.made(me, 3, snapshot_id=snapshot.id)).snapshot_id == snapshot.id
    with pytest.raises(errors.BadRequest):
        cloud.backend.delete(me, first)
    cloud.backend.delete_snapshot(me, snapshot.id)
    cloud.compute.work()
    with pytest.raises(errors.NotFound):
        cloud.backend.show_snapshot(me, snapshot.id)


def test_what_is_not_there_or_not_ours(cloud: Cloud) -> None:
    me, other = someone(), someone()
    volume = cloud.made(me)
    for wrong in (NOTHING, "../types", "x/y", ""):
        with pytest.raises(errors.NotFound):
            cloud.backend.show(me, wrong)
        with pytest.raises(errors.NotFound):
            cloud.backend.show_snapshot(me, wrong)
    with pytest.raises(errors.NotFound):
        cloud.backend.show(other, volume)
    with pytest.raises(errors.NotFound):
        cloud.backend.delete(other, volume)
    assert cloud.backend.list(other) == []


def test_what_may_not_be(cloud: Cloud) -> None:
    me = someone()
    with pytest.raises(errors.BadRequest):
        cloud.backend.create(me, NewVolume(0))
    for _ in range(10):
        cloud.backend.create(me, NewVolume(1))
    with pytest.raises(errors.QuotaExceeded, match="Maximum number of volumes allowed"):
        cloud.backend.create(me, NewVolume(1))


# --- attachments ---


def attach(cloud: Cloud, me: Context, volume: str) -> str:
    """A server has it; the attachment's id."""
    attachment = cloud.backend.prepare(me, volume, SERVER)
    cloud.write(cloud.backend.reserve, me, volume, attachment, SERVER, "/dev/vdb")
    assert cloud.status(me, volume) == "reserved"
    cloud.backend.connect(me, volume, attachment, "host1")
    cloud.write(cloud.backend.attached, volume, attachment)
    return attachment


def detach(cloud: Cloud, me: Context, volume: str, attachment: str, *, deletes: str | None = None) -> None:
    """It has it no more."""
    cloud.write(cloud.backend.detaching, me, volume, attachment)
    cloud.backend.disconnect(me, volume, attachment)
    cloud.write(cloud.backend.let_go, volume, attachment, deletes=deletes)


def test_attach_and_detach(cloud: Cloud) -> None:
    me = someone()
    volume = cloud.made(me)
    attachment = attach(cloud, me, volume)
    shown = cloud.backend.show(me, volume)
    assert shown.status == "in-use"
    assert [(each.id, each.server_id) for each in shown.attachments] == [(attachment, SERVER)]
    detach(cloud, me, volume, attachment)
    assert cloud.status(me, volume) == "available" and cloud.backend.show(me, volume).attachments == ()
    detach_again = (volume, attachment)
    cloud.write(cloud.backend.let_go, *detach_again)  # after a crash: it is gone already
    assert cloud.status(me, volume) == "available"


def test_where_the_host_finds_it(cloud: Cloud) -> None:
    me = someone()
    volume = cloud.made(me)
    attachment = cloud.backend.prepare(me, volume, SERVER)
    cloud.write(cloud.backend.reserve, me, volume, attachment, SERVER, None)
    for _ in range(2):  # after a crash it is asked again
        found = cloud.backend.connect(me, volume, attachment, "host1")
        assert (found.volume, found.path, found.format, found.read_only) == (f"volume-{volume}", "", "qcow2", False)


def test_taken_volumes(cloud: Cloud) -> None:
    me = someone()
    volume = cloud.made(me)
    attach(cloud, me, volume)
    with pytest.raises(errors.BadRequest):
        second = cloud.backend.prepare(me, volume, str(uuid.uuid4()))
        cloud.write(cloud.backend.reserve, me, volume, second, str(uuid.uuid4()), None)
    with pytest.raises(errors.BadRequest):
        cloud.backend.delete(me, volume)


def test_abandoned(cloud: Cloud) -> None:
    me = someone()
    volume = cloud.made(me)
    attachment = cloud.backend.prepare(me, volume, SERVER)
    cloud.backend.abandon(me, attachment)
    assert cloud.status(me, volume) == "available"


def test_it_goes_with_its_server(cloud: Cloud) -> None:
    me = someone()
    volume = cloud.made(me)
    detach(cloud, me, volume, attach(cloud, me, volume), deletes="req-1")
    assert cloud.status(me, volume) == "deleting"
    cloud.compute.work()
    with pytest.raises(errors.NotFound):
        cloud.backend.show(me, volume)
    cloud.write(cloud.backend.let_go, volume, NOTHING, deletes="req-1")


# --- Cinder alone ---


@pytest.fixture
def only_cinder(cloud: Cloud) -> Cloud:
    """The cloud with a Cinder."""
    if not isinstance(cloud.backend, CinderVolumes):
        pytest.skip("of CinderVolumes")
    return cloud


def test_who_asks(only_cinder: Cloud) -> None:
    """What is a host's to do is asked as the service, with the service token."""
    me = someone()
    volume = only_cinder.made(me)
    detach(only_cinder, me, volume, attach(only_cinder, me, volume))
    for asked in only_cinder.seen:
        hosts = "/attachments/" in asked["path"]
        assert ("HTTP_X_SERVICE_TOKEN" in asked) is hosts, asked["path"]
        assert asked["HTTP_OPENSTACK_API_VERSION"] == "volume 3.44"


def test_long_lists_take_several_pages(only_cinder: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    me = someone()
    for _ in range(3):
        only_cinder.backend.create(me, NewVolume(1))
    ask = CinderVolumes._ask

    def short(self: CinderVolumes, context: Context, method: str, path: str, *more: Any, **named: Any) -> Any:
        if path == "/volumes/detail":
            named["params"] = {"limit": "2", **(named.get("params") or {})}
        return ask(self, context, method, path, *more, **named)

    monkeypatch.setattr(CinderVolumes, "_ask", short)
    assert len(only_cinder.backend.list(me)) == 3
    assert len(only_cinder.backend.list(me, limit=3)) == 3


def test_no_cinder(caplog: pytest.LogCaptureFixture, db: Database) -> None:
    backend = CinderVolumes("http://127.0.0.1:1/v3", lambda: "service", lambda _context: "user")
    with pytest.raises(errors.Unavailable):
        backend.show(someone(), NOTHING)
    with db.write() as conn:
        backend.let_go(conn, NOTHING, NOTHING, deletes="req-1")
    assert "was not let go" in caplog.text
    nobody = CinderVolumes("http://127.0.0.1:1/v3", lambda: "", lambda _context: "")
    with pytest.raises(errors.Unauthorized):
        nobody.show(someone(), NOTHING)


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({"driver_volume_type": "local", "device_path": "/dev/vg/v"}, ("/dev/vg/v", "raw")),
        (
            {"driver_volume_type": "nfs", "export": "h:/x", "name": "volume-1", "format": "qcow2"},
            ("/mounts/2ea83da4eba0d1bba1cd3b1b8b60a0bb/volume-1", "qcow2"),
        ),
        ({"driver_volume_type": "nfs", "export": "h:/x", "name": "volume-1"}, None),
        ({"driver_volume_type": "iscsi", "target_iqn": "iqn"}, None),
        ({"driver_volume_type": "rbd", "name": "pool/volume"}, None),
    ],
)
def test_drivers(info: dict[str, Any], found: tuple[str, str] | None, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = "/mounts" if found else ""
    backend = CinderVolumes("http://127.0.0.1:1/v3", lambda: "s", lambda _context: "u", mounts)
    answers: list[tuple[str, str]] = []

    def answer(_self: Any, _context: Any, method: str, path: str, _body: Any = None, **_more: Any) -> Any:
        answers.append((method, path))
        return {"attachment": {"connection_info": info}}

    monkeypatch.setattr(CinderVolumes, "_ask", answer)
    if found is None:
        with pytest.raises(errors.BadRequest, match="can't be reached"):
            backend.connect(someone(), NOTHING, "a", "host1")
        assert ("POST", "/attachments/a/action") not in answers
        return
    where = backend.connect(someone(), NOTHING, "a", "host1")
    if "export" in info:
        assert where.path.startswith("/mounts/") and where.path.endswith("/volume-1") and len(where.path) == 49
    else:
        assert where.path == found[0]
    assert where.format == found[1]
    assert answers[-1] == ("POST", "/attachments/a/action")


def test_connector(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cinder, "INITIATOR", tmp_path / "name")
    assert "initiator" not in cinder.connector("host1")
    (tmp_path / "name").write_text("# ours\nInitiatorName=iqn.2026-11.org.example:1\n")
    about = cinder.connector("host1")
    assert (about["host"], about["initiator"]) == ("host1", "iqn.2026-11.org.example:1")


def test_the_settings_choose(settings: Settings, db: Database) -> None:
    seal = Seal(settings.secret("journal"))
    assert isinstance(load(settings, db, seal), EmbeddedVolumes)
    outside = replace(settings, volume_url="http://127.0.0.1:1/v3")
    assert isinstance(load(outside, db, seal), CinderVolumes)


def test_the_embedded_api_is_off_and_the_catalog_points_out(settings: Settings, db: Database) -> None:
    outside = replace(settings, volume_url="http://volumes.example.org/v3")
    codec = TokenCodec(settings.secret("tokens"))
    api = Api(create_app(outside, db=db), codec, ("member",), uuid.uuid4().hex, uuid.uuid4().hex)
    assert api.get("/volume/v3/types").status_code == 404 == api.get("/volume/v3").status_code
    urls = {each["type"]: each["endpoints"][0]["url"] for each in api.get("/identity/v3/auth/catalog").json["catalog"]}
    assert urls["block-storage"] == urls["volumev3"] == "http://volumes.example.org/v3"
    assert urls["image"].endswith("/image")
