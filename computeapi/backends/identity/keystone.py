# SPDX-License-Identifier: Apache-2.0
"""A real Keystone behind the seam: keystonemiddleware (the optional extra `keystone`) validates tokens.

The middleware is run as the WSGI filter it is, on a request that has nothing but the token headers; what it adds is
the caller. Confirmed tokens are remembered for [identity] token_cache_time seconds: that long a revoked one may pass.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from keystoneauth1 import loading
from oslo_config import cfg

from computeapi import clock, errors
from computeapi.backends.identity.base import Header
from computeapi.context import Context
from computeapi.settings import Settings

_MOST_CACHED = 10_000
_CACHE = "computeapi.cache"


class KeystoneAuthenticator:
    """Asks Keystone who a token's bearer is."""

    def __init__(self, settings: Settings) -> None:
        """Raises RuntimeError where the optional extra `keystone` is not installed."""
        try:
            from keystonemiddleware import auth_token
        except ImportError:
            raise RuntimeError(
                "[identity] identity_url is set, but keystonemiddleware is missing: pip install computeapi[keystone]"
            ) from None
        options = _configuration(settings, auth_token.list_opts())
        self._filter = auth_token.AuthProtocol(_accepted, {"oslo_config_config": options})
        self._seconds = settings.token_cache_time
        self._lock = threading.Lock()
        self._known: dict[tuple[str, str], tuple[float, Context]] = {}  # the time until which it is taken as valid

    def authenticate(self, header: Header, request_id: str) -> Context:
        """The caller behind X-Auth-Token. Raises Unauthorized; Unavailable where Keystone can't be asked."""
        key = (header("X-Auth-Token") or "", header("X-Service-Token") or "")
        if not key[0]:
            raise errors.Unauthorized
        known = self._known.get(key)
        if known is not None and known[0] > time.time():
            return replace(known[1], request_id=request_id)
        context = self._ask(*key, request_id)
        until = time.time() + self._seconds
        if not key[1]:  # with a valid service token an expired one is good, for a while
            until = min(until, clock.parse(context.expires_at).timestamp())
        with self._lock:
            self._known.pop(key, None)
            while len(self._known) >= _MOST_CACHED:
                del self._known[next(iter(self._known))]
            self._known[key] = (until, context)
        return context

    def _ask(self, token: str, service_token: str, request_id: str) -> Context:
        environ = _request(token, service_token)
        status = ""

        def start_response(line: str, _headers: Any, _trouble: Any = None) -> Callable[[bytes], None]:
            nonlocal status
            status = line
            return lambda _data: None

        list(self._filter(environ, start_response))
        if status.startswith("401"):
            raise errors.Unauthorized
        found = environ.get("computeapi.accepted")
        if not status.startswith("200") or found is None:
            raise errors.Unavailable("The identity service can't be reached; try again later.")
        return _context(found, request_id)


def _accepted(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    """The application behind the filter: leaves what the filter found where it is looked for."""
    environ["computeapi.accepted"] = environ
    start_response("200 OK", [])
    return []


def _request(token: str, service_token: str) -> dict[str, Any]:
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "0",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_X_AUTH_TOKEN": token,
        _CACHE: _NoCache(),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    if service_token:
        environ["HTTP_X_SERVICE_TOKEN"] = service_token
    return environ


def _context(environ: dict[str, Any], request_id: str) -> Context:
    token = environ["keystone.token_info"]["token"]
    roles = environ.get("HTTP_X_ROLES", "")
    return Context(
        request_id=request_id,
        user_id=environ["HTTP_X_USER_ID"],
        project_id=environ.get("HTTP_X_PROJECT_ID"),
        roles=frozenset(role for role in roles.split(",") if role),
        domain_id=environ.get("HTTP_X_DOMAIN_ID"),
        system=environ.get("HTTP_OPENSTACK_SYSTEM_SCOPE") == "all",
        expires_at=clock.parse_filter(token["expires_at"]),
        audit_id=next(iter(token.get("audit_ids") or ()), ""),
        token=environ["HTTP_X_AUTH_TOKEN"],
    )


class _NoCache:
    """Stands where the middleware looks for a cache of its own; ours is in front of it."""

    def get(self, _key: str) -> None:
        """Nothing."""

    def set(self, _key: str, _value: Any, **_more: Any) -> None:
        """Forgotten."""


def _configuration(settings: Settings, known: list[tuple[str, list[Any]]]) -> cfg.ConfigOpts:
    """keystonemiddleware's options (`known`). What an operator does not set here has the middleware's default."""
    options = cfg.ConfigOpts()
    options([], project="computeapi", default_config_files=[])
    for group, listed in known:
        options.register_opts(listed, group=group)
    group = known[0][0]
    options.register_opts(loading.get_auth_plugin_conf_options("password"), group=group)
    values = {
        "auth_type": "password",
        "auth_url": settings.identity_url,
        "www_authenticate_uri": settings.identity_url,
        "username": settings.identity_username,
        "password": settings.identity_password,
        "user_domain_name": settings.identity_domain_name,
        "project_name": settings.identity_project_name,
        "project_domain_name": settings.identity_domain_name,
        "interface": settings.identity_interface,
        "include_service_catalog": False,
        "cache": _CACHE,
        **({"cafile": settings.identity_cafile} if settings.identity_cafile else {}),
    }
    for name, value in values.items():
        options.set_override(name, value, group=group)
    return options
