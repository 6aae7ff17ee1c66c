# SPDX-License-Identifier: Apache-2.0
"""JSON schemas at work: validators built once at import, and Nova's sentences for what they refuse.

Formats are those of nova/api/validation/validators.py that our schemas use.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
import unicodedata
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import jsonschema

from computeapi import errors

FORMATS = jsonschema.FormatChecker(formats=())
MAX_REGEX = 512  # characters of a regular expression that is looked into here

# Where Nova words it otherwise than "… is not a '<format>'": the whole sentence, or its end.
_SENTENCES = {
    "name": "An invalid 'name' value was provided. The name must be: "
    "printable characters. Can not start or end with whitespace.",
    "name_with_leading_trailing_spaces": "An invalid 'name' value was provided. The name must be: "
    "printable characters with at least one non space character",
}
_ENDS = {
    "ip": "is not valid under any of the given schemas",
    "image-ref": "is not valid under any of the given schemas",
    "image-id": "is not a 'uuid'",
    "uuid-or-null": "is not a 'uuid'",
}


@FORMATS.checks("uuid")
def _uuid(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return str(uuid.UUID(value)).replace("-", "") == value.lower().replace("-", "").replace("urn:uuid:", "")
    except ValueError:
        return False


@FORMATS.checks("uuid-or-null")
def _uuid_or_null(value: Any) -> bool:
    return value is None or _uuid(value)


@FORMATS.checks("image-id")
def _image_id(value: Any) -> bool:
    return _uuid(value.rsplit("/", 1)[-1] if isinstance(value, str) else value)


@FORMATS.checks("image-ref")
def _image_ref(value: Any) -> bool:
    return value == "" or _image_id(value)


@FORMATS.checks("date-time")
def _date_time(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        datetime.fromisoformat(value.replace(" ", "+") if "T" in value else value)
    except ValueError:
        return False
    return True


@FORMATS.checks("base64")
def _base64(value: Any) -> bool:
    try:
        base64.b64decode(value.encode("ascii"), validate=False)
    except (AttributeError, UnicodeEncodeError, binascii.Error):
        return False
    return True


@FORMATS.checks("ipv4")
def _ipv4(value: Any) -> bool:
    try:
        ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return isinstance(value, str)


@FORMATS.checks("ipv6")
def _ipv6(value: Any) -> bool:
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return False
    return isinstance(value, str) and "%" not in value  # no zone


@FORMATS.checks("ip")
def _ip(value: Any) -> bool:
    return _ipv4(value) or _ipv6(value)


@FORMATS.checks("cidr")
def _cidr(value: Any) -> bool:
    if not isinstance(value, str) or "/" not in value or "%" in value:  # no zone
        return False
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


@FORMATS.checks("name")
def _name(value: Any) -> bool:
    """Printable, not blank, no white space at either end."""
    return _printable(value) and value == value.strip() and bool(value)


@FORMATS.checks("name_with_leading_trailing_spaces")
def _loose_name(value: Any) -> bool:
    return _printable(value) and bool(value.strip())


@FORMATS.checks("regex")
def _regex(value: Any) -> bool:
    if not value or not isinstance(value, str):
        return False
    if len(value) > MAX_REGEX:  # what searches with it says so
        return True
    try:
        re.compile(value)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


def _printable(value: Any) -> bool:
    """Neither control nor line separator, and (as in Nova) nothing outside Unicode's first plane."""
    return isinstance(value, str) and all(
        char < "\uffff" and (category := unicodedata.category(char))[0] != "C" and category not in ("Zl", "Zp")
        for char in value
    )


def _number(text: str) -> int | str:
    return int(text) if re.fullmatch(r"-?[0-9]{1,30}", text) else text


def _bound(keyword: str) -> Any:
    """`minimum` or `maximum`, which like in Nova hold for a number sent as text too."""
    plain = jsonschema.Draft4Validator.VALIDATORS[keyword]

    def check(checker: Any, bound: float, instance: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
        number = _number(instance) if isinstance(instance, str) and "integer" in schema.get("type", ()) else instance
        yield from plain(checker, bound, number, schema) or ()

    return check


_Validator: Any = jsonschema.validators.extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft4Validator, {"minimum": _bound("minimum"), "maximum": _bound("maximum")}
)


def validator(schema: dict[str, Any]) -> Any:
    """A validator for `schema`; the schema itself is checked here, once."""
    jsonschema.Draft4Validator.check_schema(schema)
    return _Validator(schema, format_checker=FORMATS)


def relaxed(schema: dict[str, Any]) -> Any:
    """The same for /v2, where keys that the schema does not know are let pass."""
    return validator(_open(schema))


def _open(schema: Any) -> Any:
    """Without `additionalProperties: false`; beside a pattern of names it stays, as in Nova."""
    if isinstance(schema, list):
        return [_open(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return {key: _open(value) for key, value in schema.items() if not (closed and key == "additionalProperties")}


def without_unknown(schema: Any, body: Any) -> Any:
    """`body` without the keys that `schema` (the strict one) does not know: what handlers of /v2 get to see."""
    if isinstance(body, list) and isinstance(schema.get("items"), dict):
        return [without_unknown(schema["items"], item) for item in body]
    known = schema.get("properties")
    if not isinstance(body, dict) or not known:
        return body
    closed = schema.get("additionalProperties") is False and "patternProperties" not in schema
    return {
        key: without_unknown(known[key], value) if key in known else value
        for key, value in body.items()
        if key in known or not closed
    }


def check_body(checker: Any, body: Any) -> None:
    """Raise BadRequest, worded like Nova, where `body` is not what the schema asks for."""
    error = next(checker.iter_errors(body), None)
    if error is None:
        return
    format_ = error.validator_value if error.validator == "format" else None
    if format_ in _SENTENCES:
        raise errors.BadRequest(_SENTENCES[format_])
    message = f"{error.instance!r} {_ENDS[format_]}" if format_ in _ENDS else error.message.replace(_NO_NEWLINE, "")
    if not error.path:
        raise errors.BadRequest(message)
    name = error.path[-1]
    if _SECRET.search(str(name)):
        raise errors.BadRequest(f"Invalid input for field/attribute {name}: its value is not of the right form.")
    raise errors.BadRequest(f"Invalid input for field/attribute {name}. Value: {_shown(error.instance)}. {message}")


def check_query(checker: Any, query: dict[str, list[str]]) -> dict[str, list[str]]:
    """The query's known parameters; raises BadRequest for a bad value, or an unknown name where the schema says so."""
    error = next(checker.iter_errors(query), None)
    if error is not None:
        where = error.path[0] if error.path else ", ".join(sorted(query))
        raise errors.BadRequest(
            f"Invalid input for query parameters {where}. Value: {_shown(error.instance)}. {error.message}"
        )
    schema = checker.schema
    known = schema.get("properties", {})
    patterns = [re.compile(pattern) for pattern in schema.get("patternProperties", {})]
    return {name: values for name, values in query.items() if name in known or any(p.search(name) for p in patterns)}


_NO_NEWLINE = repr(r"(?!\n)")[1:-1]  # how our patterns end, where Nova's let a line's end pass
_SECRET = re.compile(r"(pass(word)?|secret|token)$", re.IGNORECASE)


def _shown(value: Any) -> str:
    """The refused value, short, without anything secret in it."""
    if isinstance(value, dict):
        value = {key: "***" if _SECRET.search(str(key)) else item for key, item in value.items()}
    text = str(value)
    return text if len(text) <= 500 else text[:500] + "…"
