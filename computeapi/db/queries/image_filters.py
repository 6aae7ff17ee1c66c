# SPDX-License-Identifier: Apache-2.0
"""From the query string of `GET /v2/images` to which images are wanted.

Names, operators and sentences are Glance's (glance/api/v2/images.py, glance/db/sqlalchemy/api.py). Whatever is no
column is a property.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, or_

from computeapi import clock, errors
from computeapi.db.models import Image
from computeapi.db.queries.images import SORT_KEYS, Wanted

MAX_INTEGER = 2**63 - 1
VISIBILITIES = ("community", "public", "private", "shared")
MEMBER_STATUSES = ("pending", "accepted", "rejected")

_LISTED = {
    "name": Image.name,
    "id": Image.uuid,
    "status": Image.status,
    "container_format": Image.container_format,
    "disk_format": Image.disk_format,
}
_TEXTS = {
    "owner": Image.owner,
    "checksum": Image.checksum,
    "os_hash_algo": Image.os_hash_algo,
    "os_hash_value": Image.os_hash_value,
}
_NUMBERS = {
    "size": Image.size,
    "virtual_size": Image.virtual_size,
    "min_disk": Image.min_disk,
    "min_ram": Image.min_ram,
}
_FLAGS = {"protected": Image.protected, "os_hidden": Image.os_hidden}
_TIMES = {"created_at": Image.created_at, "updated_at": Image.updated_at}
_PAGING = frozenset(("limit", "marker", "sort", "sort_key", "sort_dir", "page_size", "offset"))

Condition = ColumnElement[bool]


def wanted(query: Mapping[str, list[str]]) -> Wanted:
    """Which images the filters ask for; paging and sorting are left to the caller. Raises BadRequest."""
    found = Wanted()
    if "changes-since" in query:
        raise errors.BadRequest('The "changes-since" filter is no longer available on v2.')
    for name, values in query.items():
        if name in _PAGING:
            continue
        if name == "tag":
            found.tags = [value.strip() for value in values]
        elif name == "visibility":
            found.visibility = _one_of(values[-1], (*VISIBILITIES, "all"), "Invalid visibility value: {}") or None
        elif name == "member_status":
            found.member_status = _one_of(values[-1], (*MEMBER_STATUSES, "all"), "Invalid status: {}") or "accepted"
        elif (condition := _condition(name, values[-1])) is not None:
            found.where.append(condition)
        else:
            found.properties[name] = values[-1]
    if "os_hidden" not in query:
        found.where.append(Image.os_hidden == 0)
    return found


def sorting(query: Mapping[str, list[str]]) -> list[tuple[str, str]]:
    """The order by `sort=name:asc,size` or by `sort_key` and `sort_dir`, each once or several times."""
    keys, directions = query.get("sort_key", []), query.get("sort_dir", [])
    if "sort" in query:
        if keys or directions:
            raise errors.BadRequest("Old and new sorting syntax cannot be combined")
        pairs = [word.partition(":") for word in query["sort"][-1].strip().split(",")]
        return [(_sort_key(key), _sort_direction(direction or "desc")) for key, _colon, direction in pairs]
    if len(directions) > 1 and len(directions) != len(keys):
        raise errors.BadRequest("Number of sort dirs does not match the number of sort keys")
    keys = keys or ["created_at"]
    directions = directions or ["desc"]
    if len(directions) == 1:
        directions = directions * len(keys)
    return [(_sort_key(key), _sort_direction(way)) for key, way in zip(keys, directions, strict=True)]


def limit(query: Mapping[str, list[str]], default: int, most: int) -> int:
    """How long a page may be: `limit`, or the default; never above `most`."""
    text = query.get("limit", [str(default)])[-1]
    if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", text) or len(text) > 100:
        raise errors.BadRequest("limit param must be an integer")
    value = int(text)
    if value < 0:
        raise errors.BadRequest("limit param must be positive")
    return min(value, most)


def _sort_key(key: str) -> str:
    key = key.strip()
    if key not in SORT_KEYS:
        raise errors.BadRequest(f"Invalid sort key: {key}. It must be one of the following: {', '.join(SORT_KEYS)}.")
    return key


def _sort_direction(direction: str) -> str:
    return _one_of(direction.strip(), ("asc", "desc"), "Invalid sort direction: {}")


def _one_of(value: str, known: tuple[str, ...], sentence: str) -> str:
    if value not in known:
        raise errors.BadRequest(sentence.format(value))
    return value


def _condition(name: str, value: str) -> Condition | None:
    """The condition on a column; None where `name` is none."""
    if name in _LISTED:
        return _among(_LISTED[name], value)
    if name in _TEXTS:
        return _TEXTS[name] == value
    if name in _TIMES:
        return _when(name, value)
    if name in _FLAGS:
        text = value.lower()
        if text not in ("true", "false"):
            raise errors.BadRequest(f"Invalid value '{value}' for '{name}' filter. Valid values are 'true' or 'false'.")
        return _FLAGS[name] == int(text == "true")
    if name in _NUMBERS:
        return _NUMBERS[name] == _number(value)
    base, _underscore, end = name.rpartition("_")
    if base in _NUMBERS and end in ("min", "max"):
        column = _NUMBERS[base]
        return column >= _number(value) if end == "min" else column <= _number(value)
    return None


def _number(value: str) -> int:
    try:
        number = int(value) if len(value) < 30 else MAX_INTEGER + 1
    except ValueError:
        raise errors.BadRequest("Unable to filter on a range with a non-numeric value.") from None
    if abs(number) > MAX_INTEGER:
        raise errors.BadRequest("Unable to filter on a range with a value this large.")
    return number


# --- operators ---


def _operator(expression: str) -> tuple[str, str]:
    """`gt:5` is ("gt", "5"); what has no operator, or is a time, is asked for as it is."""
    left, colon, right = expression.partition(":")
    if not colon or _moment(expression) is not None:
        return "eq", expression
    return left, right


def _moment(text: str) -> str | None:
    try:
        return clock.parse_filter(text)
    except (ValueError, OverflowError):
        return None


def _among(column: Any, value: str) -> Condition:
    operator, text = _operator(value)
    if operator == "in":
        return column.in_(_split(text))  # type: ignore[no-any-return]
    if operator != "eq":
        raise errors.BadRequest(f"Unable to filter by unknown operator '{operator}'.")
    return column == text  # type: ignore[no-any-return]


_COMPARE: dict[str, Callable[[Any, str, str], Condition]] = {
    "eq": lambda column, first, after: and_(column >= first, column < after),
    "neq": lambda column, first, after: or_(column < first, column >= after),
    "gt": lambda column, _first, after: column >= after,
    "gte": lambda column, first, _after: column >= first,
    "lt": lambda column, first, _after: column < first,
    "lte": lambda column, _first, after: column < after,
}


def _when(name: str, value: str) -> Condition:
    """Times are shown in whole seconds, so a moment given without a fraction stands for its whole second."""
    operator, text = _operator(value)
    first = _moment(text)
    if first is None:
        raise errors.BadRequest(f'Bad "{name}" query filter format. Use ISO 8601 DateTime notation.')
    if operator not in _COMPARE:
        raise errors.BadRequest(f"Unable to filter by unknown operator '{operator}'.")
    step = timedelta(seconds=1) if first.endswith(".000000") else timedelta(microseconds=1)
    try:
        after = clock.text(clock.parse(first) + step)
    except OverflowError:
        after = first
    return _COMPARE[operator](_TIMES[name], first, after)


_WORD = re.compile(r'"((?:[^"\\]|\\.)*)"(?:,|$)|([^",]*)(?:,|$)')


def _split(text: str) -> list[str]:
    """The values of `in:`, apart at commas; in double quotes a value may hold commas."""
    values: list[str] = []
    at = 0
    while at < len(text):
        word = _WORD.match(text, at)
        if word is None:
            raise errors.BadRequest(f"Invalid filter value {text}. The quotes are not where they may be.")
        values.append(re.sub(r"\\(.)", r"\1", word[1]) if word[1] is not None else word[2])
        at = word.end()
    return values
