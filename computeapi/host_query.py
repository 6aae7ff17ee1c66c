# SPDX-License-Identifier: Apache-2.0
"""The scheduler hint `query`: a condition on hosts in JSON, '["and", [">=", "$free_ram_mb", 1024], …]'.

Words and meaning: nova/scheduler/filters/json_filter.py. A text that begins with "$" is a figure of the host; one that
hosts don't have is left out of its condition, and a condition with nothing to compare is not so.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from typing import Any

Query = list[Any]

_LONGEST = 4096  # characters
_DEEPEST = 16


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[list[Any]], bool]:
    """The first against each of the others. What can't be compared is not so."""

    def holds(values: list[Any]) -> bool:
        try:
            return len(values) > 1 and all(compare(values[0], other) for other in values[1:])
        except TypeError:
            return False

    return holds


_WORDS: Mapping[str, Callable[[list[Any]], bool]] = {
    "=": _compared(operator.eq),
    "<": _compared(operator.lt),
    ">": _compared(operator.gt),
    "<=": _compared(operator.le),
    ">=": _compared(operator.ge),
    "in": lambda values: bool(values) and values[0] in values[1:],
    "not": lambda values: not all(values),  # Nova: of several, one that is not so is enough
    "or": any,
    "and": all,
}


def read(text: str) -> Query:
    """The query of a text. Raises ValueError, with a sentence for who sent it."""
    if len(text) > _LONGEST:
        raise ValueError("it is too long")
    try:
        query = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    _check(query, _DEEPEST)
    return query if isinstance(query, list) else []


def _check(query: Any, depth: int) -> None:
    if not isinstance(query, list):
        raise ValueError("it is not a list")
    if not query:
        return
    if depth == 0:
        raise ValueError("it is too deep")
    if not isinstance(query[0], str) or query[0] not in _WORDS:
        raise ValueError(f"it may begin with {', '.join(_WORDS)}")
    for item in query[1:]:
        if isinstance(item, list):
            _check(item, depth - 1)
        elif isinstance(item, dict):
            raise ValueError("it has an object in it")


def holds(query: Query, figures: Mapping[str, Any]) -> bool:
    """Whether the query (as `read` gave it) is so for a host."""
    if not query:
        return True
    values: list[Any] = []
    for item in query[1:]:
        value = holds(item, figures) if isinstance(item, list) else item
        if isinstance(item, str):
            value = figures.get(item[1:]) if item.startswith("$") else item or None
        if value is not None:
            values.append(value)
    return _WORDS[query[0]](values)
