# SPDX-License-Identifier: Apache-2.0
"""What the modules of the Block Storage API share: loading, lists with their filters and pages, links, names.

Behaviour: cinder/api/common.py, cinder/api/v3/volumes.py. The caller that the rule context_is_admin lets through knows
of every project's things, and lists them all where it asks for `all_tenants`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

from computeapi import clock, errors
from computeapi.api import parameters as p
from computeapi.backends.volume.embedded import EmbeddedVolumes
from computeapi.db.queries import volume_lists as queries
from computeapi.db.queries.volume_lists import Condition, Found, Kind, Wish
from computeapi.endpoint import Call, Loader
from computeapi.versions import Version

Json = dict[str, Any]

ADMIN_RULE = "context_is_admin"
MAX_INTEGER = 2**31 - 1

_PAGING = frozenset(
    {"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "is_public"}
)
STRICT_FILTERS = Version(3, 31)
_LIKE_FILTERS = Version(3, 34)
_COUNTS = Version(3, 45)
_TIME_FILTERS = Version(3, 60)
_QUOTA_FILTER = Version(3, 65)

# --- SCHEMAS ---

NAME: Json = {"type": ["string", "null"], "maxLength": 255}
METADATA: Json = {
    "type": "object",
    "patternProperties": {r"^[a-zA-Z0-9-_:. /]{1,255}$(?!\n)": {"type": "string", "maxLength": 255}},
    "additionalProperties": False,
}
SIZE: Json = {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": MAX_INTEGER}
UUID_OR_NONE: Json = {"oneOf": [{"type": "null"}, p.uuid]}


def or_none(schema: Json) -> Json:
    """The same, or null."""
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return {**schema, "type": [*types, "null"]}


# --- who sees what ---


def is_admin(call: Call) -> bool:
    """Whether the caller administers the whole cloud."""
    return call.allows(ADMIN_RULE)


def scope(call: Call) -> str | None:
    """The project whose things the caller may name; None: all."""
    return None if is_admin(call) else call.project_id


def store(call: Call) -> EmbeddedVolumes:
    """The embedded volume service. Raises NotFound where a real Cinder has the volumes."""
    volumes = call.services.volumes
    if not isinstance(volumes, EmbeddedVolumes):
        raise errors.NotFound
    return volumes


def load(kind: Kind, param: str = "id") -> Loader:
    """The loader of what the URL names, if the caller may know of it."""

    def loader(call: Call) -> Found:
        with call.services.db.read() as conn:
            return queries.find(conn, kind, call.params[param], scope(call))

    return loader


def invalid(reason: str) -> errors.BadRequest:
    """Cinder's InvalidInput."""
    return errors.BadRequest(f"Invalid input received: {reason}")


def invalid_volume(reason: str) -> errors.BadRequest:
    """Cinder's InvalidVolume."""
    return errors.BadRequest(f"Invalid volume: {reason}")


# --- what a list's query says ---


def listed_scope(call: Call) -> str | None:
    """The project whose things are listed; None: all projects'."""
    every = is_admin(call) and boolean(call, "all_tenants")
    return None if every else call.project_id


def boolean(call: Call, name: str, default: bool = False) -> bool:
    """A boolean of the query. Raises BadRequest."""
    values = call.query.get(name)
    if not values:
        return default
    word = values[-1].strip().lower()
    if word in ("1", "t", "true", "on", "y", "yes"):
        return True
    if word in ("0", "f", "false", "off", "n", "no"):
        return False
    raise errors.BadRequest(f"Value '{values[-1][:255]}' for '{name}' is not a boolean.")


def read_wish(call: Call, kind: Kind, allowed: Collection[str], strict: Version = STRICT_FILTERS) -> Wish:
    """The query as a Wish; `allowed` are the filters of those who are no administrators.

    They are refused others from the version `strict` on; before, others count for nothing. Raises BadRequest.
    """
    return Wish(
        _filters(call, kind, allowed, strict),
        _sorts(call, kind),
        page_size(call),
        _number(call, "offset") or 0,
        call.query.get("marker", [""])[-1] or None,
    )


def page_size(call: Call) -> int:
    """How many items at most: `limit`, and never more than the setting max_limit."""
    most = call.services.settings.max_limit
    given = _number(call, "limit")
    return most if given is None else min(given, most)


def _number(call: Call, name: str) -> int | None:
    text = call.query.get(name, [None])[-1]
    if text is None:
        return None
    if not text.isascii() or not text.lstrip("+-").isdigit() or len(text) > 30:
        raise errors.BadRequest(f"{name} param must be an integer")
    if int(text) < 0:
        raise errors.BadRequest(f"{name} param must be positive")
    return min(int(text), MAX_INTEGER)


def _sorts(call: Call, kind: Kind) -> list[tuple[str, bool]]:
    if "sort" in call.query:
        if "sort_key" in call.query or "sort_dir" in call.query:
            raise errors.BadRequest(
                "The 'sort_key' and 'sort_dir' parameters are deprecated and cannot be used with the 'sort' parameter."
            )
        words = [word.partition(":") for word in call.query["sort"][-1].strip().split(",")]
        pairs = [(key.strip(), direction.strip() or "desc") for key, _colon, direction in words]
    else:
        key, direction = (call.query.get(name, [None])[-1] for name in ("sort_key", "sort_dir"))
        pairs = [((key or "created_at").strip(), (direction or "desc").strip())]
    for key, direction in pairs:
        if key not in kind.fields:
            raise invalid(f"Sort key supplied is invalid: {key}")
        if direction not in ("asc", "desc"):
            raise invalid("Unknown sort direction, must be 'desc' or 'asc'.")
    return [(key, direction == "desc") for key, direction in pairs]


def _filters(call: Call, kind: Kind, allowed: Collection[str], strict: Version) -> list[Condition]:
    given = {name: values[-1] for name, values in call.query.items() if name not in _PAGING}
    if not all(name.isascii() for name in given):
        raise errors.BadRequest("Filter keys can only contain ASCII characters.")
    if not is_admin(call):
        wrong = sorted(name for name in given if name.removesuffix("~") not in allowed)
        if wrong and call.version >= strict:
            raise errors.BadRequest(f"Invalid filters {','.join(wrong)} are found in query options.")
        given = {name: text for name, text in given.items() if name not in wrong}
    return [_condition(call, kind, name, text) for name, text in given.items()]


def _condition(call: Call, kind: Kind, name: str, text: str) -> Condition:
    """One filter. A name that is none lets nothing through, as in Cinder."""
    if name in kind.json:
        return queries.has_pairs(kind.json[name], pairs(name, text))
    if name.endswith("~") and call.version >= _LIKE_FILTERS and name[:-1] in kind.fields:
        return queries.contains(kind.fields[name[:-1]], text)
    if name == "consumes_quota":  # all do
        return queries.ANYTHING if call.version < _QUOTA_FILTER or boolean(call, name) else queries.NOTHING
    if name not in kind.fields:
        return queries.NOTHING
    if name in ("created_at", "updated_at"):
        return _times(call, kind, name, text)
    if name == "bootable":
        return queries.equal(kind, name, int(boolean(call, name)))
    if name in kind.numbers:
        return queries.equal(kind, name, int(text)) if re.fullmatch("[0-9]{1,9}", text) else queries.NOTHING
    return queries.equal(kind, name, text)


def pairs(name: str, text: str) -> dict[str, str]:
    """`{'key': 'value'}`, as the clients write dictionaries into a query."""
    try:
        value = ast.literal_eval(text) if len(text) < 10_000 else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        value = None
    if not isinstance(value, dict) or not all(_is_text(part) for pair in value.items() for part in pair):
        raise errors.BadRequest(f"Invalid value for the filter {name}.")
    return value


def _is_text(value: Any) -> bool:
    """A text that can be written down: Python's notation knows halves of characters as well."""
    return isinstance(value, str) and not any("\ud800" <= char <= "\udfff" for char in value)


def _times(call: Call, kind: Kind, name: str, text: str) -> Condition:
    """`gt:2026-01-01T00:00:00,lte:…` (from 3.60 on; before, it counts for nothing)."""
    if call.version < _TIME_FILTERS:
        return queries.ANYTHING
    bounds = []
    for part in text.split(","):
        sign, colon, moment = part.partition(":")
        if not colon or sign not in queries.OPERATORS:
            raise errors.BadRequest(f"Invalid {sign} operator")
        try:
            bounds.append((sign, clock.parse_filter(moment)))
        except ValueError:
            raise errors.BadRequest(f"Invalid {moment} value") from None
    return queries.between(kind, name, bounds)


# --- links and pages ---


def prefix(call: Call) -> str:
    """What stands before a collection's name in links; with the project where the request's URL had it."""
    return f"{call.host_url}/volume/v3{_project(call)}"


def links(call: Call, collection: str, identifier: str) -> list[dict[str, str]]:
    """The `links` of a thing."""
    return [
        {"rel": "self", "href": f"{prefix(call)}/{collection}/{identifier}"},
        {"rel": "bookmark", "href": f"{call.host_url}/volume{_project(call)}/{collection}/{identifier}"},
    ]


def _project(call: Call) -> str:
    project = call.request.context.url_project
    return f"/{project}" if project else ""


def paged(call: Call, key: str, path: str, shown: list[Json], total: int | None = None) -> Json:
    """A list's answer: the items, where to go on (`<key>_links`), and how many there are (`count`)."""
    answer: Json = {key: shown}
    if shown and page_size(call) <= (total or len(shown)):
        query = {name: values[-1] for name, values in call.query.items()} | {"marker": shown[-1]["id"]}
        answer[f"{key}_links"] = [{"rel": "next", "href": f"{prefix(call)}/{path}?{urlencode(query)}"}]
    if total is not None:
        answer["count"] = total
    return answer


def wants_count(call: Call) -> bool:
    """Whether the list shall say how many there are (from 3.45 on)."""
    return call.version >= _COUNTS and boolean(call, "with_count")


# --- texts ---


def texts(body: Json) -> Json:
    """Name and description of a body, by whichever name, without white space around them; only those that are there."""
    found: Json = {}
    for name in ("name", "description"):
        for given in (f"display_{name}", name):
            if given in body:
                found[name] = body[given].strip() if body[given] else body[given]
    return found
