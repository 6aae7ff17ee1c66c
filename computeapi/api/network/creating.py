# SPDX-License-Identifier: Apache-2.0
"""POST of the Networking API: one thing, or several at once in one transaction (neutron/api/v2/base.py)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Connection

from computeapi import errors
from computeapi.api.network import attributes as a
from computeapi.api.network.attributes import Attribute
from computeapi.endpoint import Call, Handler

Make = Callable[[Call, Connection, dict[str, Any]], dict[str, Any]]


def creator(word: str, table: Mapping[str, Attribute], make: Make) -> Handler:
    """The handler: `{"<word>": {…}}` makes one, `{"<word>s": [{…}, …]}` as many, or none where one can't be."""
    plural = f"{word}s"

    def handler(call: Call) -> dict[str, Any]:
        if not isinstance(call.body, dict) or plural not in call.body:
            values = a.read(call, word, table)
            with call.services.db.write() as conn:
                return {word: make(call, conn, values)}
        wanted = [a.read(call, word, table, body) for body in _several(call.body[plural], word)]
        with call.services.db.write() as conn:
            return {plural: [make(call, conn, values) for values in wanted]}  # a request's, bounded

    handler.__doc__ = f"POST /v2.0/{plural}."
    return handler


def _several(bodies: Any, word: str) -> list[Any]:
    """The things of a list, each bare or in a wrapper of its own."""
    if not isinstance(bodies, list) or not 0 < len(bodies) <= a.MAX_ITEMS:
        raise errors.BadRequest("Resources required")
    return [body if isinstance(body, dict) and word in body else {word: body} for body in bodies]
