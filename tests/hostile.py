# SPDX-License-Identifier: Apache-2.0
"""Input that nobody should send: texts and values that break naive code, and bodies made from schemas.

Everything is deterministic: the same rows give the same requests.
"""

from __future__ import annotations

import copy
import itertools
import re
import uuid
from collections.abc import Iterator
from typing import Any

TEXTS = (
    "",
    " ",
    "\x00",
    "a\x00b",
    "x" * 300,
    "x" * 70_000,
    "%",
    "_%\\",
    "' OR '1'='1",
    "$(id)",
    "../../etc/passwd",
    "<a&b>\"'",
    "\u202e\u0000\ufffe",
    "\U0001f600",
    "\uff21\uff22",
    "\u0663",
    "-1",
    "1e400",
    "9" * 40,
    "None",
    "{}",
    "%s%n{0}",
    "\r\nX-Injected: yes",
)
VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1.5,
    2**31,
    2**63,
    2**64 - 1,
    1e308,
    [],
    {},
    [[]],
    {"": ""},
    {"a": {"a": {"a": []}}},
    *(text for text in TEXTS if len(text) < 1000),
)
BODIES: tuple[bytes, ...] = (
    b"",
    b"null",
    b"[]",
    b"0",
    b'"text"',
    b"{}",
    b"{",
    b'{"a":',
    b"\xff\xfe",
    b'{"a": NaN}',
    b'{"a": "\\ud800"}',
    b'{"a": "\\u0000"}',
    b'{"\\u0000": 1}',
    b'{"a": 1, "a": 2}',
    b'{"": {}}',
    b"[" * 20_000,
    b'{"a":' * 5_000,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b'{"a": ' + b"9" * 5_000 + b"}",
    b"<server/>",
)
SEGMENTS = (
    "x",
    "-",
    "0",
    "9" * 30,
    "None",
    "%00",
    "%2e%2e%2f%2e%2e%2fetc",
    "%27%20OR%201=1--",
    "%25",
    "_",
    "%F0%9F%98%80",
    "%ff",
    "x" * 300,
    "00000000-0000-0000-0000-000000000000",
    "urn:uuid:00000000-0000-0000-0000-000000000000",
)
EXAMPLE_TEXT = "text-1"
EXAMPLE_IMAGE = str(uuid.UUID(int=2))
_TEXTS = (EXAMPLE_TEXT, "1", str(uuid.UUID(int=1)), uuid.UUID(int=1).hex, "/24", "aa:bb:cc:dd:ee:ff")
_TEXT_BY_FORMAT = {
    "uuid": str(uuid.UUID(int=1)),
    "image-id": EXAMPLE_IMAGE,
    "image-ref": EXAMPLE_IMAGE,
    "date-time": "2026-01-01T00:00:00Z",
    "base64": "aGVsbG8=",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "ip": "192.0.2.1",
    "cidr": "192.0.2.0/24",
}


def example(schema: dict[str, Any], *, whole: bool = False) -> Any:
    """A value that the schema lets pass, as far as it is simple; with `whole` every known property is in it."""
    if "enum" in schema:
        return schema["enum"][0]
    for word in ("oneOf", "anyOf"):
        if word in schema:
            return example({**{k: v for k, v in schema.items() if k != word}, **schema[word][0]}, whole=whole)
    if "allOf" in schema:
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            merged |= part
        return example(merged, whole=whole)
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "object":
        return _example_object(schema, whole)
    if kind == "array":
        items = schema.get("items", {})
        least = schema.get("minItems", 1 if whole else 0)
        return [example(items, whole=whole) for _ in range(least)]
    return _example_scalar(kind, schema)


def _example_object(schema: dict[str, Any], whole: bool) -> dict[str, Any]:
    known = schema.get("properties", {})
    wanted = known if whole else {name: known.get(name, {}) for name in schema.get("required", ())}
    made = {name: example(value, whole=whole) for name, value in wanted.items()}
    for value in itertools.islice(schema.get("patternProperties", {}).values(), 1):
        if len(made) < schema.get("minProperties", 1):
            made["key"] = example(value, whole=whole)
    return made


def _example_scalar(kind: str, schema: dict[str, Any]) -> Any:
    if kind == "boolean":
        return True
    if kind == "null":
        return None
    if kind in ("integer", "number"):
        return max(1, schema.get("minimum", 1))
    if schema.get("format") in _TEXT_BY_FORMAT:
        return _TEXT_BY_FORMAT[schema["format"]]
    pattern = schema.get("pattern", "")
    text = next((text for text in _TEXTS if re.search(pattern, text)), _TEXTS[0])
    return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength", 1000)]


def bodies(schema: dict[str, Any], more: dict[str, Any]) -> Iterator[Any]:
    """Bodies that are right but for one value.

    Made of: all properties at once; the required ones alone; these and one optional one each (then only that one is
    wrong). `more` are properties that something other than the schema requires.
    """
    yield from mutations(example(schema, whole=True))
    least = example(schema)
    outer = next(iter(least), "") if isinstance(least, dict) else ""
    if not outer or not isinstance(least[outer], dict):
        yield from mutations(least)
        return
    least[outer] |= more
    yield from mutations(least)
    optional = schema.get("properties", {}).get(outer, {}).get("properties", {})
    for name, inner in optional.items():
        if name not in least[outer]:
            body = copy.deepcopy(least)
            body[outer][name] = example(inner, whole=True)
            yield body
            yield from mutations(body, (outer, name))


def mutations(value: Any, below: tuple[Any, ...] = ()) -> Iterator[Any]:
    """The value with each of its parts (below that place) replaced by each of VALUES, one at a time."""
    for place in _places(value):
        if place[: len(below)] != below:
            continue
        for other in VALUES:
            changed = copy.deepcopy(value)
            yield _put(changed, place, other)


def _places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if above:
        yield above
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _places(item, (*above, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, (*above, number))


def _put(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    target = value
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = other
    return value
