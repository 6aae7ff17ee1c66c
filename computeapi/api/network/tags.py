# SPDX-License-Identifier: Apache-2.0
"""Tags, in their order. Behaviour: neutron/extensions/tagging.py."""

from __future__ import annotations

from typing import Any

import orjson

from computeapi import errors
from computeapi.api.network.attributes import items, text
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import networks as queries
from computeapi.db.queries.networks import Kind
from computeapi.endpoint import Call, Handler, Reply

MAX_TAGS = 50
_TAGS = items(text(255), MAX_TAGS)


def _of(call: Call) -> list[str]:
    tags: list[str] = orjson.loads(call.target.tags_json)
    return tags


def _missing(tag: str) -> errors.NotFound:
    return errors.NotFound(f"Tag {tag} could not be found.", kind="TagNotFound")


def _tag(call: Call) -> str:
    tag = call.params["tag"]
    if not tag or len(tag) > 255 or "," in tag:
        raise errors.BadRequest(f"Invalid input for operation: '{tag[:100]}' is not a valid tag.", kind="InvalidInput")
    return tag


def index(call: Call) -> dict[str, Any]:
    """GET …/tags."""
    return {"tags": _of(call)}


def show(call: Call) -> None:
    """GET …/tags/{tag}: 204 where it has it."""
    if _tag(call) not in _of(call):
        raise _missing(call.params["tag"])


def _write(call: Call, kind: Kind, change: Any) -> list[str]:
    with call.services.db.write() as conn:
        row = queries.find(conn, kind, call.target.uuid, None)
        tags: list[str] = sorted(change(orjson.loads(row.tags_json)))
        if len(tags) > MAX_TAGS:
            raise errors.BadRequest(
                f"The number of tags exceed the per-resource limit of {MAX_TAGS}", kind="HTTPBadRequest"
            )
        changes.touch(conn, kind.model, row.id, {"tags_json": orjson.dumps(tags).decode()})
    return tags


def replace(kind: Kind) -> Handler:
    """PUT …/tags: these and no others."""

    def handler(call: Call) -> dict[str, Any]:
        given = _given(call)
        return {"tags": _write(call, kind, lambda _: given)}

    return handler


def add_all(kind: Kind) -> Handler:
    """POST …/tags: these too. The answer is what was sent."""

    def handler(call: Call) -> dict[str, Any]:
        given = _given(call)
        _write(call, kind, lambda tags: {*tags, *given})
        return {"tags": given}

    return handler


def _given(call: Call) -> list[str]:
    """The tags of a body, each once. Raises BadRequest."""
    given = call.body.get("tags") if isinstance(call.body, dict) else None
    if not isinstance(given, list):
        raise errors.BadRequest("Invalid tags body")
    try:
        return _TAGS(list(dict.fromkeys(given)) if _texts(given) else given)
    except ValueError as error:
        raise errors.BadRequest(f"Invalid input for tags. Reason: {error}.") from None


def _texts(given: list[Any]) -> bool:
    return all(isinstance(tag, str) for tag in given)


def add(kind: Kind) -> Handler:
    """PUT …/tags/{tag}."""

    def handler(call: Call) -> Reply:
        tag = _tag(call)
        _write(call, kind, lambda tags: tags if tag in tags else [*tags, tag])
        return Reply(status=201)

    return handler


def remove(kind: Kind) -> Handler:
    """DELETE …/tags/{tag}."""

    def handler(call: Call) -> None:
        tag = _tag(call)
        if tag not in _of(call):
            raise _missing(tag)
        _write(call, kind, lambda tags: [one for one in tags if one != tag])

    return handler


def clear(kind: Kind) -> Handler:
    """DELETE …/tags."""

    def handler(call: Call) -> None:
        _write(call, kind, lambda _: [])

    return handler
