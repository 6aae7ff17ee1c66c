# SPDX-License-Identifier: Apache-2.0
"""The only assembly: settings in, a WSGI application out.

What a request passes, in this order:
    Entry.process_request    request id; which service; /{project_id}/ taken out of the path; microversion
    routing                  ROUTES; no row: `_Nowhere` (401 without a token, then 404)
    endpoint.serve           token, window, schema, load, rule, handler (see there)
    _on_error / …            an exception becomes the service's fault body
    Entry.process_response   version, request id and Vary headers, the access log's line
"""

from __future__ import annotations

import gc
import logging
import re
import time
import uuid
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import falcon
import orjson

from computeapi import endpoint as rows
from computeapi import errors, logs, routes, settings, versions
from computeapi.backends import identity, image, network, volume
from computeapi.backends.volume.embedded import EmbeddedVolumes
from computeapi.db.engine import AWAY, Database, why_away
from computeapi.endpoint import Endpoint
from computeapi.policy import Policy
from computeapi.sealing import Seal
from computeapi.services import Services
from computeapi.settings import Settings

if TYPE_CHECKING:
    from computeapi.metrics import Requests

LOG = logging.getLogger("computeapi.api")

_JSON = "application/json"
_PROJECT_ID = re.compile(r"[0-9a-f-]+")  # Nova's [api] project_id_regex
_VARY = "OpenStack-API-Version, X-OpenStack-Nova-API-Version"


def create_app(settings: Settings, requests: Requests | None = None, **given: Any) -> falcon.App[Any, Any]:
    """The application. `given` replaces single services (tests): db=, authenticator=, images=, volumes=, policy=.

    `requests` counts what it answers.

    Where nothing is given this process is there to serve, and nothing else: what was made so far is put out of the
    garbage collector's sight. More than half of a long list's time went into looking through it again and again.
    """
    services = make_services(settings, **given)
    app: falcon.App[Any, Any] = falcon.App(media_type=_JSON, middleware=[Entry(settings, requests)])
    app.req_options.strip_url_path_trailing_slash = False
    app.add_error_handler(Exception, _on_crash)
    app.add_error_handler(AWAY, partial(_on_database_away, settings))
    app.add_error_handler(falcon.HTTPError, _on_http_error)
    app.add_error_handler(errors.Error, partial(_on_error, settings))
    cinder, neutron = not isinstance(services.volumes, EmbeddedVolumes), services.neutron is not None
    for service, table in routes.served(cinder=cinder, neutron=neutron).items():
        for path, methods in table.items():
            app.add_route(routes.PREFIX[service] + path, Resource(services, service, methods))
    app.add_sink(_Nowhere(services), "/")
    if services.neutron is not None:
        app.add_sink(_Elsewhere(services, settings.network_url), routes.PREFIX["network"])
    if not given:
        gc.collect()
        gc.freeze()
    return app


def from_settings(conf: Settings | None = None) -> Any:
    """What a WSGI server runs, by the settings in force: the application, and its metrics where they have a port."""
    conf = conf or settings.load()
    if not conf.api_metrics_listen:
        return create_app(conf)
    # Here and not above: it looks at once whether $PROMETHEUS_MULTIPROC_DIR is set, and is needed by few.
    from computeapi import metrics

    requests = metrics.Requests()
    return metrics.Port(create_app(conf, requests), conf, requests)


def check_policy(settings: Settings) -> None:
    """Raises Conflict where the operator's rules can't be read."""
    Policy(routes.list_rules(), settings.policy_file)


def make_services(settings: Settings, **given: Any) -> Services:
    """What handlers work with, embedded or external by the settings."""
    db = given.get("db") or Database(settings.database_url, settings.sqlite_synchronous)
    seal = Seal(settings.secret("journal"))
    return Services(
        settings=settings,
        db=db,
        policy=given.get("policy") or Policy(routes.list_rules(), settings.policy_file),
        authenticator=given.get("authenticator") or identity.load(settings, db),
        images=given.get("images") or image.load(settings, db),
        volumes=given.get("volumes") or volume.load(settings, db, seal),
        seal=seal,
        neutron=given["neutron"] if "neutron" in given else network.load(settings),
    )


class Resource:
    """What Falcon calls for one URL: on_get and so on, by its rows."""

    def __init__(self, services: Services, service: str, methods: Mapping[str, Endpoint]) -> None:
        self._run: dict[str, Any] = {}
        for method, row in methods.items():
            setattr(self, f"on_{method.lower()}", partial(_respond, services, service, row))
        missing = {"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"} - set(methods)
        if "GET" in methods and "HEAD" in missing:
            missing.discard("HEAD")
            self.on_head = partial(_respond, services, service, methods["GET"])
        for method in missing:
            setattr(self, f"on_{method.lower()}", partial(_no_method, services, service, sorted(methods)))


def _respond(
    services: Services, service: str, row: Endpoint, req: falcon.Request, resp: falcon.Response, **params: str
) -> None:
    if "" in params.values():  # …/servers/ names no server, and is no list either
        rows.authenticate(services, service, row, req)
        raise errors.NotFound
    req.context.params = params
    if "server_id" in params:
        logs.know(server=params["server_id"])
    rows.serve(services, service, row, req, resp)


def _no_method(
    services: Services, service: str, allowed: list[str], req: falcon.Request, resp: falcon.Response, **_params: str
) -> None:
    """Nova answers a method it has no route for like an unknown URL; Keystone, Glance and Neutron answer 405."""
    rows.authenticate(services, service, None, req)
    if service == "compute":
        raise errors.NotFound
    raise errors.MethodNotAllowed(headers={"Allow": ", ".join(allowed)})


class _Nowhere:
    """What has no row. Outside all versions of the Compute API: 300 and where it would be in each, as in Nova."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def __call__(self, req: falcon.Request, resp: falcon.Response, **params: str) -> None:
        state = req.context
        if state.service == "compute" and not state.versioned:
            host_url = self._services.settings.public_url or req.prefix
            state.told = None
            resp.status = 300
            resp.data = orjson.dumps(routes.choices(host_url, req.path))
            return
        rows.authenticate(self._services, state.service, None, req)
        raise errors.NotFound


class _Elsewhere(_Nowhere):
    """A service that another answers: its clients are told where."""

    def __init__(self, services: Services, url: str) -> None:
        super().__init__(services)
        self._url = url

    def __call__(self, req: falcon.Request, resp: falcon.Response, **params: str) -> None:
        rows.authenticate(self._services, req.context.service, None, req)
        raise errors.NotFound(f"This cloud's network service is not embedded: it answers at {self._url}")


class Entry:
    """The first and the last to see a request."""

    def __init__(self, settings: Settings, requests: Requests | None = None) -> None:
        self._settings = settings
        self._requests = requests

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give the request its id, its service, its version and its path without the project."""
        state = req.context
        state.started = time.perf_counter()
        state.request_id = f"req-{uuid.uuid4()}"
        logs.about(request_id=state.request_id)
        state.legacy, state.url_project, state.version = False, None, versions.MIN
        state.user_id = state.project_id = None
        state.told = ""  # the version that the answer names, where it is not `version`; None: it names none
        path = req.path
        state.service = service = _service(path)
        if "\x00" in path:  # no id has it, and databases refuse it
            raise errors.NotFound
        root, _, rest = path[1:].partition("/")
        state.versioned = service != "compute" or root in ("v2.1", "v2")
        if service == "compute" and state.versioned:
            state.legacy = root == "v2"
            first, slash, tail = rest.partition("/")
            if _PROJECT_ID.fullmatch(first):
                state.url_project = first
                rest = tail if slash else ""
            if rest or state.url_project is not None:
                req.path = f"/v2.1/{rest}"
            if not state.legacy:
                _negotiate(req)
        elif service == "volume" and path.startswith("/volume/v3"):
            first, _slash, rest = path.removeprefix("/volume/v3").removeprefix("/").partition("/")
            if _PROJECT_ID.fullmatch(first):
                state.url_project = first
                req.path = f"/volume/v3/{rest}"
            state.version = versions.VOLUME_MIN  # what an error is answered at
            state.version = versions.negotiate_volume(req.get_header("OpenStack-API-Version"))

    def process_response(self, req: falcon.Request, resp: falcon.Response, _resource: Any, _ok: bool) -> None:
        """Put the headers on that every answer has, and log the line."""
        state = req.context
        set_header = resp.set_header
        set_header("X-OpenStack-Request-Id", state.request_id)
        if state.service == "compute":
            set_header("X-Compute-Request-Id", state.request_id)
            if not state.legacy and state.told is not None:
                text = state.told or str(state.version)
                set_header("OpenStack-API-Version", f"compute {text}")
                set_header("X-OpenStack-Nova-API-Version", text)
                set_header("Vary", _VARY)
        elif state.service == "volume":
            set_header("X-Compute-Request-Id", state.request_id)
            if state.version.major == versions.VOLUME_MIN.major:
                set_header("OpenStack-API-Version", f"volume {state.version}")
                set_header("Vary", "OpenStack-API-Version")
        elif state.service == "identity":
            set_header("Vary", "X-Auth-Token")
        took = time.perf_counter() - state.started
        if self._requests is not None:
            self._requests.seen(state.service, req.method, req.uri_template, resp.status, took)
        if LOG.isEnabledFor(logging.INFO):
            _log(req, resp, took * 1000)


def _negotiate(req: falcon.Request) -> None:
    """The microversion. As in Nova a refusal names the version that was asked for; where that was none, no version."""
    state = req.context
    try:
        state.version = versions.negotiate(
            req.get_header("OpenStack-API-Version"), req.get_header("X-OpenStack-Nova-API-Version")
        )
    except errors.VersionNotAcceptable as error:
        state.told = error.asked
        raise
    except errors.BadRequest:
        state.told = None
        raise


def _log(req: falcon.Request, resp: falcon.Response, took: float) -> None:
    """The access log's line; its facts are there for JSON as well."""
    method, path, status, client = req.method, req.path, resp.status, req.remote_addr
    if req.uri_template and req.uri_template.endswith("/{token}"):  # it opens somebody's console
        path = path.rpartition("/")[0] + "/{token}"
    extra = {"method": method, "path": path, "status": status, "ms": round(took, 1), "client": client}
    LOG.info('%s "%s %s" %s %.1f ms', client, method, path, status, took, extra=extra)


def _service(path: str) -> str:
    for service in ("identity", "image", "network", "volume"):
        if path.startswith(f"/{service}/") or path == f"/{service}":
            return service
    return "compute"


def _on_error(
    settings: Settings, req: falcon.Request, resp: falcon.Response, error: errors.Error, _params: Any
) -> None:
    status, name = errors.fault(error)
    if req.context.service == "volume" and isinstance(error, errors.QuotaExceeded):
        status, name = errors.fault(errors.TooLarge())  # Cinder's answer; Nova says 403
    for header, value in error.headers.items():
        resp.set_header(header, value)
    if status == 401:
        uri = settings.identity_url or f"{settings.public_url or req.prefix}/identity/v3"
        resp.set_header("WWW-Authenticate", f'Keystone uri="{uri}"')
    _write_fault(req, resp, status, name, error.message, error.kind)


def _on_http_error(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError, _params: Any) -> None:
    status = falcon.http_status_to_code(error.status)
    _write_fault(
        req,
        resp,
        status,
        dict(errors.STATUS.values()).get(status, "computeFault"),
        error.description or error.title or "",
    )


def _on_crash(req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any) -> None:
    LOG.exception("unforeseen error", exc_info=error)
    status, name, message = errors.internal(req.context.request_id)
    _write_fault(req, resp, status, name, message)


def _on_database_away(
    settings: Settings, req: falcon.Request, resp: falcon.Response, error: Exception, _params: Any
) -> None:
    LOG.error("the database is away: %s", str(error).partition("\n")[0])
    away = errors.Unavailable(f"{why_away(error)}; try again later.", headers={"Retry-After": "5"})
    _on_error(settings, req, resp, away, _params)


def _write_fault(
    req: falcon.Request, resp: falcon.Response, status: int, name: str, message: str, kind: str = ""
) -> None:
    """Word a fault as the service's clients know it. `kind` is the error's own name, for Neutron's clients."""
    service = req.context.service
    title = errors.TITLES.get(status, "Error")
    body: dict[str, Any]
    if service == "identity":
        body = {"error": {"code": status, "message": message, "title": title}}
    elif service == "image":
        body = {"message": message, "code": f"{status} {title}", "title": title}
    elif service == "network":
        body = {"NeutronError": {"type": kind or _neutron_type(status), "message": message, "detail": ""}}
    else:
        body = {name: {"code": status, "message": message}}
        if status in (413, 429):
            body[name]["retryAfter"] = resp.get_header("Retry-After") or "0"
    resp.status = status
    resp.stream = None
    resp.content_type = _JSON
    resp.data = orjson.dumps(body)


def _neutron_type(status: int) -> str:
    """How Neutron calls an error that has no name of its own."""
    return _NEUTRON_TYPES.get(status, "HTTPInternalServerError")


_NEUTRON_TYPES = {
    400: "HTTPBadRequest",
    401: "NotAuthorized",
    403: "PolicyNotAuthorized",
    404: "HTTPNotFound",
    405: "HTTPMethodNotAllowed",
    409: "Conflict",
    413: "HTTPRequestEntityTooLarge",
    415: "HTTPUnsupportedMediaType",
    429: "HTTPTooManyRequests",
    501: "HTTPNotImplemented",
    503: "HTTPServiceUnavailable",
}
