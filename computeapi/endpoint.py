# SPDX-License-Identifier: Apache-2.0
"""From a row of ROUTES to an answer: the one path that every request takes.

The order is Nova's: token (401) → microversion (400, 406) → window (404) → body and query against the schema (400) →
load what the URL names (404) → rule (403) → handler → answer. Only this module and `app` know Falcon.
"""

from __future__ import annotations

import io
import logging
import random
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl

import falcon
import orjson

from computeapi import errors, logs, validation, versions
from computeapi.context import Context
from computeapi.versions import Version, Versioned

if TYPE_CHECKING:
    from computeapi.services import Services

LOG = logging.getLogger("computeapi.api")

MAX_BODY = 114_688  # bytes; Nova's [oslo_middleware] max_request_body_size
MAX_DEPTH = 64  # of lists and objects in one another; what writes and words a body goes as deep as it does

PUBLIC = "(public)"  # no token is asked for
ANY_TOKEN = "(any token)"  # noqa: S105  (a rule's name: whoever has a valid token)


@dataclass(slots=True)
class Call:
    """One request, as a handler sees it: no Falcon, and no version to ask for.

    `params` are the URL's variables, `query` the query string's values as lists (unknown ones dropped), `body` the
    validated JSON, `target` what the row's `loads` found.
    """

    services: Services
    context: Context
    version: Version
    params: dict[str, str]
    query: dict[str, list[str]]
    body: Any
    target: Any
    request: falcon.Request
    legacy: bool = False  # asked under /v2

    @property
    def project_id(self) -> str:
        """The token's project. Every Compute call has one (`serve` sees to it)."""
        return cast(str, self.context.project_id)

    @property
    def host_url(self) -> str:
        """What stands before the path in links: the setting `public_url`, or what the client called us by."""
        return self.services.settings.public_url or self.request.prefix

    @property
    def stream(self) -> io.IOBase:
        """The request's body unread, for uploads (rows with `streams`)."""
        return cast(io.IOBase, self.request.bounded_stream)

    def header(self, name: str) -> str | None:
        """A request header's value."""
        return self.request.get_header(name)

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        values = self.query.get(name)
        return values[0] if values else None

    def allows(self, rule: str) -> bool:
        """Whether the caller may do `rule` in its own project (for attributes and filters only some may use)."""
        return self.services.policy.allows(rule, self.context, self.context.project_id, self.context.user_id)

    def check(self, rule: str, project_id: str | None = None, user_id: str | None = None) -> None:
        """Raise Forbidden unless the caller may do `rule` to something of that project (default: its own)."""
        self.services.policy.check(
            rule, self.context, project_id or self.context.project_id, user_id or self.context.user_id
        )


@dataclass(slots=True)
class Reply:
    """An answer that is more than a 2xx with a JSON body."""

    body: Any = None  # JSON-able, or bytes as they are
    status: int | None = None  # None: the row's
    headers: dict[str, str] = field(default_factory=dict)
    stream: Iterable[bytes] | None = None
    length: int | None = None
    content_type: str | None = None


_ALWAYS = versions.window()
_OK = Versioned(200)

Handler = Callable[[Call], Any]
Loader = Callable[[Call], Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of ROUTES, or of a table of actions under one URL.

    The rule is a field so that no handler is reachable without one. `loads` finds what the URL names, restricted to
    what the caller may know of (NotFound otherwise); if the found thing has `project_id` (and `user_id`), the rule is
    asked for these, else for the caller's own.
    """

    handler: Handler
    rule: str
    body: Versioned | None = None
    query: Versioned | None = None
    loads: Loader | None = None
    window: versions.Window = _ALWAYS
    status: Versioned = _OK
    streams: bool = False  # the handler reads the body itself
    actions: Mapping[str, Endpoint] = field(default_factory=dict)
    relaxed: Versioned | None = None  # `body` for /v2: unknown keys are let pass


def endpoint(
    handler: Handler,
    rule: str,
    *,
    body: Any = None,
    query: Any = None,
    loads: Loader | None = None,
    since: str | None = None,
    until: str | None = None,
    status: Any = 200,
    streams: bool = False,
) -> Endpoint:
    """A row. `body` and `query` are JSON schemas, or Versioned ones; `query` is made by `parameters.query`."""
    bodies = _versioned(body)
    return Endpoint(
        handler=handler,
        rule=rule,
        body=bodies.map(validation.validator) if bodies else None,
        query=_versioned(query).map(validation.validator) if query is not None else None,  # type: ignore[union-attr]
        loads=loads,
        window=versions.window(since, until),
        status=_versioned(status) or _OK,
        streams=streams,
        relaxed=bodies.map(validation.relaxed) if bodies else None,
    )


def actions(table: Mapping[str, Endpoint]) -> Endpoint:
    """The row of a URL that takes `{"<action>": …}`: which row of `table` it is, is decided by the body's key."""

    def nowhere(_call: Call) -> None:
        raise errors.BadRequest("There is no such action: ")

    return Endpoint(handler=nowhere, rule=ANY_TOKEN, actions=table)


def _versioned(value: Any) -> Versioned | None:
    return value if value is None or isinstance(value, Versioned) else Versioned(value)


_TRIES = 5
_PAUSE = 0.05  # seconds at most, between tries: those who were in each other's way shall not be so again


def serve(services: Services, service: str, row: Endpoint, req: falcon.Request, resp: falcon.Response) -> Any:
    """Answer `req` by `row`. What goes wrong is raised; `app` words it.

    Of two whose transactions wait for each other the database ends one: that is done again, from the beginning, unless
    something of it is there already.
    """
    for left in reversed(range(_TRIES)):
        before = services.db.commits
        try:
            return _serve(services, service, row, req, resp)
        except errors.Collision:
            if not left or row.streams or services.db.commits != before:
                raise
            LOG.info("the transaction stood in another's way; once more")
        time.sleep(random.uniform(0.0, _PAUSE))  # noqa: S311  (no secret)
    raise AssertionError


def _serve(services: Services, service: str, row: Endpoint, req: falcon.Request, resp: falcon.Response) -> Any:
    state = req.context
    context = authenticate(services, service, row, req)
    version: Version = state.version
    body: Any = None
    if row.actions:
        body = read_json(req)
        row = _chosen(row, body, version)
    if version not in row.window:
        raise errors.NotFound
    if row.body is not None:
        body = body if body is not None else read_json(req)
        schemas = row.relaxed if state.legacy else row.body
        validation.check_body(cast(Versioned, schemas).at(version), body)
        if state.legacy:
            body = validation.without_unknown(row.body.at(version).schema, body)
    elif body is None and not row.streams and row.query is None and _has_json(req):
        body = read_json(req)
    query = _query(req, row, version)
    call = Call(services, context, version, state.params, query, body, None, req, state.legacy)
    if row.loads is not None:
        call.target = row.loads(call)
    if row.rule is not PUBLIC and row.rule is not ANY_TOKEN:
        project_id = getattr(call.target, "project_id", context.project_id)
        user_id = getattr(call.target, "user_id", context.user_id)
        services.policy.check(row.rule, context, project_id, user_id)
    _answer(resp, row.handler(call), row, version)
    return call


def authenticate(services: Services, service: str, row: Endpoint | None, req: falcon.Request) -> Context:
    """The caller's context; an empty one for public rows.

    Raises Unauthorized; BadRequest where a Compute URL names another project than the token's.
    """
    state = req.context
    if row is not None and row.rule is PUBLIC:
        return Context(state.request_id, "", None, frozenset())
    context = services.authenticator.authenticate(req.get_header, state.request_id)
    state.user_id, state.project_id = context.user_id, context.project_id
    logs.know(user_id=context.user_id, project_id=context.project_id)
    if service in ("compute", "volume"):
        if state.url_project is not None and state.url_project != context.project_id:
            raise errors.BadRequest("Malformed request url")
        if context.project_id is None:
            raise errors.Forbidden("The token is scoped to no project; a project-scoped token is needed here.")
    return context


def _chosen(row: Endpoint, body: Any, version: Version) -> Endpoint:
    if not isinstance(body, dict) or len(body) != 1:
        raise errors.BadRequest("Malformed request body")
    name = next(iter(body))
    chosen = row.actions.get(name)
    if chosen is None or version not in chosen.window:
        raise errors.BadRequest(f"There is no such action: {name}")
    return chosen


def _has_json(req: falcon.Request) -> bool:
    return bool(req.content_length) and req.method in ("POST", "PUT", "PATCH")


_JSON_TYPES = frozenset(("", "application/json", "application/vnd.openstack.compute+json", "text/plain"))
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def read_json(req: falcon.Request) -> Any:
    """The body as JSON; None where there is none.

    Raises TooLarge, UnsupportedMediaType, and BadRequest for what is not JSON, holds NUL (databases refuse it) or is
    nested too deep.
    """
    length = req.content_length
    if length is not None and length > MAX_BODY:
        raise errors.TooLarge("Request is too large.")
    kind = (req.content_type or "").split(";")[0].strip().lower()
    data: bytes | None = getattr(req.context, "read", None)  # by the try before
    if data is None:
        data = req.context.read = req.bounded_stream.read(MAX_BODY + 1)
    if len(data) > MAX_BODY:
        raise errors.TooLarge("Request is too large.")
    if not data:
        return None
    if kind not in _JSON_TYPES and not kind.endswith("json-patch"):
        raise errors.UnsupportedMediaType("Unsupported Content-Type")
    try:
        body = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise errors.BadRequest("Malformed request body") from None
    if b"\\u0000" in data and _NUL.search(data):
        raise errors.BadRequest("Malformed request body: a text holds the character NUL")
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH and _is_deep(body):
        raise errors.BadRequest(f"Malformed request body: it is nested more than {MAX_DEPTH} deep")
    return body


def _is_deep(body: Any) -> bool:
    level = [body]
    for _ in range(MAX_DEPTH):
        nested = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        level = [item for each in nested for item in each]
    return any(isinstance(each, dict | list) for each in level)


def _query(req: falcon.Request, row: Endpoint, version: Version) -> dict[str, list[str]]:
    text = req.query_string
    if not text:
        return {}
    query: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(text, keep_blank_values=True, errors="strict"):
            query.setdefault(name, []).append(value)
    except UnicodeDecodeError:
        raise errors.BadRequest("Query string is not UTF-8 encoded") from None
    if "\x00" in text or "%00" in text:
        raise errors.BadRequest("Invalid input for query parameters: a value holds the character NUL")
    if row.query is None:
        return query
    return validation.check_query(row.query.at(version), query)


def _answer(resp: falcon.Response, result: Any, row: Endpoint, version: Version) -> None:
    status = row.status.at(version)
    if isinstance(result, Reply):
        reply, result = result, result.body
        status = reply.status or status
        for name, value in reply.headers.items():
            resp.set_header(name, value)
        if reply.content_type:
            resp.content_type = reply.content_type
        if reply.stream is not None:
            resp.stream = reply.stream
            if reply.length is not None:
                resp.content_length = reply.length
    resp.status = status
    if result is None:
        if resp.stream is None:
            resp.content_length = 0
    elif isinstance(result, bytes):
        resp.data = result
    else:
        resp.data = orjson.dumps(result)
