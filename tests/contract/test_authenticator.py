# SPDX-License-Identifier: Apache-2.0
"""What every authenticator does: the embedded one, and a Keystone's by keystonemiddleware (the extra `keystone`).

The Keystone is our own identity service on a loopback port: as strict about its clients as the real one, and here.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from computeapi import clock, errors
from computeapi.backends import identity
from computeapi.backends.identity import embedded
from computeapi.backends.identity.base import Authenticator
from computeapi.backends.identity.tokens import Claims, TokenCodec
from computeapi.context import Context
from computeapi.db.engine import Database
from computeapi.settings import Settings
from tests.wire.identity_cloud import ADMIN_PASSWORD, Cloud, cheap_passwords

Make = Callable[..., Authenticator]


@pytest.fixture
def cloud(settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch) -> Cloud:
    cheap_passwords(monkeypatch)
    return Cloud(settings, db)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_given: Any) -> None:
        """Say nothing."""


@pytest.fixture
def url(cloud: Cloud) -> Iterator[str]:
    """The cloud's identity service, for others."""
    server = make_server("127.0.0.1", 0, cloud.app, server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/identity/v3"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=["embedded", "keystone"])
def make(request: pytest.FixtureRequest, cloud: Cloud, settings: Settings, db: Database) -> Make:
    """Makes the authenticator; settings may be given."""
    if request.param == "embedded":
        return lambda **given: identity.load(dataclasses.replace(settings, **given), db)
    pytest.importorskip("keystonemiddleware")
    address = request.getfixturevalue("url")
    user = cloud.user("computeapi", "service password")
    cloud.grant("service", user["id"], cloud.projects["service"])

    def keystone(**given: Any) -> Authenticator:
        own = {"identity_url": address, "identity_password": "service password", "token_cache_time": 0}
        return identity.load(dataclasses.replace(settings, **own, **given), db)

    return keystone


def caller(authenticator: Authenticator, token: str | None) -> Context:
    return authenticator.authenticate({"X-Auth-Token": token}.get, "req-4711")


def test_a_project_scoped_token(cloud: Cloud, make: Make) -> None:
    user, project, token = cloud.someone("manager")
    context = caller(make(), token)
    assert (context.request_id, context.user_id, context.project_id) == ("req-4711", user["id"], project["id"])
    assert context.roles == {"manager", "member", "reader"}
    assert (context.domain_id, context.system, context.is_admin) == (None, False, False)
    assert clock.now() < context.expires_at <= clock.shifted(3600)
    assert len(context.expires_at) == len(clock.now())
    shown = cloud.get("/auth/tokens", headers={"X-Subject-Token": token}).json["token"]
    assert context.audit_id == shown["audit_ids"][0]
    assert context.token == token and token not in repr(context)


def test_other_scopes(cloud: Cloud, make: Make) -> None:
    authenticator = make()
    unscoped = caller(authenticator, cloud.token("admin", ADMIN_PASSWORD, scope="unscoped"))
    assert (unscoped.project_id, unscoped.roles, unscoped.system) == (None, frozenset(), False)
    system = caller(authenticator, cloud.token("admin", ADMIN_PASSWORD, scope={"system": {"all": True}}))
    assert (system.project_id, system.system, system.is_admin) == (None, True, True)
    cloud.put(f"/domains/default/users/{cloud.admin_id}/roles/{cloud.roles['reader']}")
    domain = caller(authenticator, cloud.token("admin", ADMIN_PASSWORD, scope={"domain": {"id": "default"}}))
    assert (domain.project_id, domain.domain_id, domain.roles) == (None, "default", {"reader"})


def test_tokens_that_are_none(make: Make) -> None:
    authenticator = make()
    for token in (None, "", "x", "gAAAAABk", "ä", "x" * 10_000):
        with pytest.raises(errors.Unauthorized):
            caller(authenticator, token)


def test_a_token_that_ends(cloud: Cloud, make: Make, settings: Settings) -> None:
    codec = TokenCodec(settings.secret("tokens"))
    past = Claims(
        cloud.admin_id,
        None,
        None,
        False,
        (),
        ("password",),
        clock.shifted(-10),
        clock.shifted(-1),
        "audit",
    )
    with pytest.raises(errors.Unauthorized):
        caller(make(), codec.seal(past))


def test_a_revoked_token(cloud: Cloud, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_REFRESH_SECONDS", 0.05)
    user, project, token = cloud.someone("member")
    authenticator = make()
    assert caller(authenticator, token).project_id == project["id"]
    cloud.patch(f"/users/{user['id']}", {"user": {"password": "new"}})
    time.sleep(0.1)
    with pytest.raises(errors.Unauthorized):
        caller(authenticator, token)
    assert caller(authenticator, cloud.token(user["name"], "new", project["name"])).user_id == user["id"]


# --- the embedded one alone ---


def test_a_lowered_expiration_holds_for_tokens_issued_before(cloud: Cloud, settings: Settings, db: Database) -> None:
    _, _, token = cloud.someone("member")
    lowered = identity.load(dataclasses.replace(settings, token_expiration=0), db)
    time.sleep(0.01)
    with pytest.raises(errors.Unauthorized):
        caller(lowered, token)


def test_expired_revocations_go_when_another_is_written_and_keys_may_come_again(
    cloud: Cloud, settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy import func, select, update

    from computeapi.db.models import Revocation

    monkeypatch.setattr(embedded, "_REFRESH_SECONDS", 0.0)
    authenticator = identity.load(settings, db)
    for _ in range(3):
        _, _, token = cloud.someone("member")
        assert caller(authenticator, token)
        cloud.delete("/auth/tokens", headers={"X-Subject-Token": token})
        with pytest.raises(errors.Unauthorized):
            caller(authenticator, token)
        with db.write() as conn:
            assert conn.execute(select(func.count(Revocation.id))).scalar_one() == 1
            conn.execute(update(Revocation).values(expires_at=clock.shifted(-1)))


def test_opened_tokens_are_remembered_up_to_a_bound(
    cloud: Cloud, settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_MOST_OPENED", 3)
    authenticator: Any = identity.load(settings, db)
    for _ in range(6):
        caller(authenticator, cloud.token("admin", ADMIN_PASSWORD))
    assert len(authenticator._opened) == 3


def test_a_token_of_another_key_is_none(cloud: Cloud, settings: Settings, db: Database) -> None:
    authenticator = identity.load(settings, db)
    claims = Claims(cloud.admin_id, None, None, False, ("admin",), (), clock.now(), clock.shifted(60), "audit")
    assert caller(authenticator, TokenCodec(settings.secret("tokens")).seal(claims)).is_admin
    with pytest.raises(errors.Unauthorized):
        caller(authenticator, TokenCodec(b"k" * 32).seal(claims))


# --- Keystone's alone ---


class _Asked:
    """Stands for Keystone, counts, and knows no token."""

    times = 0

    def __call__(self, *_given: str) -> Context:
        self.times += 1
        raise errors.Unauthorized


def test_a_confirmed_token_is_remembered_for_a_while(
    cloud: Cloud, url: str, settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("keystonemiddleware")
    user = cloud.user("computeapi", "service password")
    cloud.grant("service", user["id"], cloud.projects["service"])
    own = dataclasses.replace(settings, identity_url=url, identity_password="service password", token_cache_time=300)
    authenticator = identity.load(own, db)
    _, project, token = cloud.someone("member")
    first = caller(authenticator, token)
    monkeypatch.setattr(authenticator, "_ask", lambda *_given: pytest.fail("asked again"))
    assert caller(authenticator, token) == first
    assert first.project_id == project["id"]
    monkeypatch.setattr(authenticator, "_ask", asked := _Asked())
    later = time.time() + 301
    monkeypatch.setattr(time, "time", lambda: later)
    with pytest.raises(errors.Unauthorized):
        caller(authenticator, token)
    assert asked.times == 1


def test_a_keystone_that_can_not_be_reached_is_503(settings: Settings, db: Database) -> None:
    pytest.importorskip("keystonemiddleware")
    own = dataclasses.replace(settings, identity_url="http://127.0.0.1:9/v3", identity_password="x")
    with pytest.raises(errors.Unavailable):
        caller(identity.load(own, db), "gAAAAABk")


def test_without_the_extra_the_setting_is_refused(
    settings: Settings, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "keystonemiddleware", None)
    with pytest.raises(RuntimeError, match="keystonemiddleware"):
        identity.load(dataclasses.replace(settings, identity_url="http://127.0.0.1:9/v3"), db)
