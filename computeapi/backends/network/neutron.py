# SPDX-License-Identifier: Apache-2.0
"""A real Neutron's API, asked by keystoneauth1: the client, its paging and its errors. It knows nothing of servers.

What a user asks for is asked with the user's own token, so what the caller may see and do is Neutron's to say. What the
cloud does for a server (device, binding) is asked as the service user of [identity] (`as_service`), which needs the
rights of an administrator there. The `kind` of an error is Neutron's name for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import requests
from keystoneauth1.session import Session

from computeapi import errors
from computeapi.backends.service_user import ERRORS, ask, context_token, in_path
from computeapi.context import Context

TIMEOUT = 60  # seconds without a byte

_AT_ONCE = 100  # values of a filter that fit into one URL
_ERRORS = ERRORS | {412: errors.Conflict}
# What Neutron calls a thing, and where it has them.
_PLURALS = {"policy": "policies"}

Json = dict[str, Any]
Filters = Mapping[str, str | bool | int | Sequence[str]]


class Neutron:
    """The Neutron at `url` (with or without /v2.0). Nouns are Neutron's, in the singular: "security_group".

    Raises errors.NotFound, BadRequest, Forbidden, QuotaExceeded (its OverQuota), Conflict, Unauthorized, and
    Unavailable where it is away.
    """

    def __init__(self, url: str, service: Callable[[], str], token: Callable[[Context], str] = context_token) -> None:
        self._url = url.rstrip("/").removesuffix("/v2.0") + "/v2.0"
        self._service, self._token = service, token
        self._session = Session(timeout=TIMEOUT)

    def show(self, context: Context, noun: str, key: str, *, as_service: bool = False) -> Json:
        """One thing."""
        return cast(Json, self.ask(context, "GET", _path(noun, key), as_service=as_service)[noun])

    def find(
        self,
        context: Context,
        noun: str,
        filters: Filters | None = None,
        *,
        fields: Sequence[str] = (),
        limit: int | None = None,
        as_service: bool = False,
    ) -> list[Json]:
        """All that the filters find (a filter with several values finds each of them), or the first `limit`."""
        found: list[Json] = []
        for part in _parts(filters or {}):
            left = None if limit is None else limit - len(found)
            if left is not None and left <= 0:
                break
            found += self._pages(context, noun, part, tuple(fields), left, as_service)
        return found

    def create(self, context: Context, noun: str, values: Mapping[str, Any], *, as_service: bool = False) -> Json:
        """A new thing."""
        body = {noun: dict(values)}
        return cast(Json, self.ask(context, "POST", _path(noun), body, as_service=as_service)[noun])

    def update(
        self, context: Context, noun: str, key: str, values: Mapping[str, Any], *, as_service: bool = False
    ) -> Json:
        """Change a thing; as it is then."""
        body = {noun: dict(values)}
        return cast(Json, self.ask(context, "PUT", _path(noun, key), body, as_service=as_service)[noun])

    def delete(self, context: Context, noun: str, key: str, *, as_service: bool = False) -> None:
        """Delete a thing."""
        self.ask(context, "DELETE", _path(noun, key), as_service=as_service)

    def _pages(
        self, context: Context, noun: str, filters: Filters, fields: tuple[str, ...], limit: int | None, service: bool
    ) -> list[Json]:
        plural = _plural(noun)
        query: list[tuple[str, str]] = [pair for name, value in filters.items() for pair in _pairs(name, value)]
        if fields:
            query += [("fields", name) for name in dict.fromkeys(("id", *fields))]
        found: list[Json] = []
        marker = ""
        while True:
            asked = list(query)
            if limit is not None:
                asked.append(("limit", str(limit - len(found))))
            if marker:
                asked.append(("marker", marker))
            page = self.ask(context, "GET", _path(noun), params=asked, as_service=service)
            found += page[plural]
            more = any(link.get("rel") == "next" for link in page.get(f"{plural}_links", ()))
            if not more or not page[plural] or (limit is not None and len(found) >= limit):
                return found
            marker = str(found[-1]["id"])

    def ask(
        self,
        context: Context,
        method: str,
        path: str,
        body: Any = None,
        *,
        params: Sequence[tuple[str, str]] = (),
        as_service: bool = False,
        timeout: float = TIMEOUT,
    ) -> Any:
        """Neutron's answer as JSON, None where it has none. Raises the error that its status stands for."""
        token = self._service() if as_service else self._token(context)
        more: dict[str, Any] = {"json": body} if body is not None else {}
        if params:
            more["params"] = list(params)
        more["timeout"] = timeout
        answer = ask(self._session, self._url, context, token, method, path, service="network", **more)
        if answer.status_code >= 400:
            raise _error(answer, as_service)
        return cast(Any, answer.json()) if answer.content else None


def _plural(noun: str) -> str:
    return _PLURALS.get(noun, noun + "s")


def _path(noun: str, key: str | None = None) -> str:
    """The URL of a thing, or of all. Raises NotFound for what can be no id."""
    collection = "/" + _plural(noun).replace("_", "-")
    if key is None:
        return collection
    missing = f"{noun.replace('_', ' ').capitalize()} {key} could not be found."
    return f"{collection}/{in_path(key, missing)}"


def _pairs(name: str, value: str | bool | int | Sequence[str]) -> list[tuple[str, str]]:
    if isinstance(value, str):
        return [(name, value)]
    if isinstance(value, bool | int):
        return [(name, str(value))]
    return [(name, each) for each in value]


def _parts(filters: Filters) -> Iterator[Filters]:
    """The same filters, with as many values at once as an URL takes. None at all find nothing."""
    long = [name for name, value in filters.items() if not isinstance(value, str | bool | int)]
    if any(not filters[name] for name in long):
        return
    name = max(long, key=lambda each: len(cast(Sequence[str], filters[each])), default=None)
    if name is None:
        yield filters
        return
    values = cast(Sequence[str], filters[name])
    for start in range(0, len(values), _AT_ONCE):
        yield {**filters, name: values[start : start + _AT_ONCE]}


def _error(answer: requests.Response, as_service: bool) -> errors.Error:
    kind, message = _said(answer)
    if answer.status_code == 401 and as_service:
        return errors.Unavailable("The network service does not know the service user; its operator has to see to it.")
    found = errors.QuotaExceeded if kind == "OverQuota" else _ERRORS.get(answer.status_code)
    if found is None:
        return errors.Unavailable("The network service failed; try again later.")
    return found(message, kind=kind or None)


def _said(answer: requests.Response) -> tuple[str, str | None]:
    """Neutron's name of an error, and its sentence."""
    try:
        said = answer.json()
    except ValueError:
        return "", None
    fault = said.get("NeutronError") if isinstance(said, dict) else None
    if isinstance(fault, dict):
        message = fault.get("message")
        return str(fault.get("type") or ""), message if isinstance(message, str) else None
    return "", fault if isinstance(fault, str) else None
