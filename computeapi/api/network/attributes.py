# SPDX-License-Identifier: Apache-2.0
"""Bodies of the Networking API: what each attribute may be, who may set it, and Neutron's sentences for the rest.

A noun has a table, name → Attribute; `read` makes a validated dict of a body by it. Sentences: neutron/api/v2 and
neutron-lib (api/attributes.py, api/validators).
"""

from __future__ import annotations

import ipaddress
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from computeapi import errors
from computeapi.api.network.common import is_admin
from computeapi.endpoint import Call

UNSET: Any = object()
MAX_ITEMS = 100  # of lists in bodies: address pairs …
MAX_ROUTES = 30  # of a router or a subnet
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


@dataclass(frozen=True, slots=True)
class Attribute:
    """One key of a body. `convert` returns the value kept, or raises ValueError with the reason.

    `rule` is asked for when the value is another than the default, and on update always.
    """

    convert: Callable[[Any], Any]
    post: bool = True
    put: bool = True
    default: Any = UNSET
    required: bool = False
    rule: str = ""


def read(call: Call, word: str, table: Mapping[str, Attribute], body: Any = None) -> dict[str, Any]:
    """The body's attributes, validated; on POST with the defaults of the rest. Raises BadRequest, Forbidden."""
    creating = call.request.method == "POST"
    body = call.body if body is None else body
    given = body.get(word) if isinstance(body, dict) else None
    if not isinstance(given, dict):
        raise errors.BadRequest(f"Unable to find '{word}' in request body")
    given = _one_project(given)
    unknown = ", ".join(f"'{name}'" for name in given if name not in table)
    if unknown:
        raise errors.BadRequest(f"Unrecognized attribute(s) {unknown[:200]}")
    values: dict[str, Any] = {}
    for name, attribute in table.items():
        if name in given:
            values[name] = _value(call, name, attribute, given[name], creating=creating)
        elif creating and attribute.required:
            raise errors.BadRequest(f"Failed to parse request. Required attribute '{name}' not specified")
        elif creating and attribute.default is not UNSET:
            values[name] = attribute.default
    return values


def _value(call: Call, name: str, attribute: Attribute, given: Any, *, creating: bool) -> Any:
    if creating and not attribute.post:
        raise errors.BadRequest(f"Attribute '{name}' not allowed in POST")
    if not creating and not attribute.put:
        raise errors.BadRequest(f"Cannot update read-only attribute {name}")
    try:
        value = attribute.convert(given)
    except ValueError as error:
        raise errors.BadRequest(f"Invalid input for {name}. Reason: {error}.") from None
    if attribute.rule and not (creating and value == attribute.default):
        call.check(attribute.rule)
    return value


def _one_project(given: dict[str, Any]) -> dict[str, Any]:
    """`tenant_id` is the old name of `project_id`."""
    if "tenant_id" not in given:
        return given
    rest = {name: value for name, value in given.items() if name != "tenant_id"}
    if rest.setdefault("project_id", given["tenant_id"]) != given["tenant_id"]:
        raise errors.BadRequest("'project_id' and 'tenant_id' do not match")
    return rest


def owner(call: Call, values: dict[str, Any]) -> str | None:
    """Whose a new thing is: the caller's, or any project's if an administrator says so. Raises Forbidden."""
    project_id = values.pop("project_id", None)
    if project_id in (None, call.context.project_id):
        return call.context.project_id
    if not is_admin(call):
        raise errors.Forbidden("Only administrators make things for other projects.")
    return str(project_id)


# --- converters ---


def _shown(value: Any) -> str:
    text = str(value)
    return f"'{text[:100]}…'" if len(text) > 100 else f"'{text}'"


def text(most: int = 255) -> Callable[[Any], str]:
    """A string of at most that length."""

    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{_shown(value)} is not a valid string")
        if len(value) > most:
            raise ValueError(f"{_shown(value)} exceeds maximum length of {most}")
        return value

    return convert


def boolean(value: Any) -> bool:
    """A boolean, or what Neutron takes for one."""
    if isinstance(value, bool):
        return value
    if value in (0, 1) and isinstance(value, int):
        return bool(value)
    if isinstance(value, str) and value.lower() in ("true", "1", "false", "0"):
        return value.lower() in ("true", "1")
    raise ValueError(f"{_shown(value)} cannot be converted to boolean")


def only(*allowed: Any) -> Callable[[Any], Any]:
    """One of these."""

    def convert(value: Any) -> Any:
        if value not in allowed or (isinstance(value, bool) != any(isinstance(item, bool) for item in allowed)):
            raise ValueError(f"{_shown(value)} is not in {list(allowed)}")
        return value

    return convert


def integer(least: int, most: int) -> Callable[[Any], int]:
    """A whole number in that range, as such or as text."""

    def convert(value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,12}", value, re.ASCII):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{_shown(value)} is not an integer")
        if not least <= value <= most:
            raise ValueError(f"{_shown(value)} is not in range {least} through {most}")
        return value

    return convert


def version(value: Any) -> int:
    """Of IP: 4 or 6, also as text."""
    found = integer(4, 6)(value)
    if found == 5:
        raise ValueError(f"{_shown(value)} is not in [4, 6]")
    return found


def or_none(convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """That, or null."""
    return lambda value: None if value is None else convert(value)


def identifier(value: Any) -> str:
    """A UUID."""
    if isinstance(value, str):
        try:
            if str(uuid.UUID(value)).replace("-", "") == value.lower().replace("-", ""):
                return value.lower()
        except ValueError:
            pass
    raise ValueError(f"{_shown(value)} is not a valid UUID")


def project(value: Any) -> str:
    """A project's id."""
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise ValueError(f"{_shown(value)} is not a valid project id")
    return value


def address(value: Any) -> str:
    """An IP address, in its usual form."""
    try:
        if isinstance(value, str) and "%" not in value and value.isascii():
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise ValueError(f"{_shown(value)} is not a valid IP address")


def cidr(value: Any) -> str:
    """A network with its prefix length, in its usual form: host bits are left out, as Neutron does."""
    try:
        if isinstance(value, str) and "%" not in value and value.isascii() and value.partition("/")[2].isdigit():
            return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        pass
    raise ValueError(f"{_shown(value)} is not a valid IP subnet")


def mac(value: Any) -> str:
    """A MAC address of one interface, in lower case."""
    lower = value.lower().replace("-", ":") if isinstance(value, str) else ""
    if not _MAC.fullmatch(lower) or int(lower[:2], 16) & 1 or lower == "00:00:00:00:00:00":
        raise ValueError(f"{_shown(value)} is not a valid MAC address")
    return lower


def items(convert: Callable[[Any], Any], most: int = MAX_ITEMS) -> Callable[[Any], list[Any]]:
    """A list of those, none twice; null is an empty one."""

    def convert_all(value: Any) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise ValueError(f"{_shown(value)} is not a list")
        if len(value) > most:
            raise ValueError(f"a list of {len(value)} items is longer than {most}")
        found: list[Any] = []
        for item in value:
            converted = convert(item)
            if converted in found:
                raise ValueError(f"Duplicate items in the list: {_shown(item)}")
            found.append(converted)
        return found

    return convert_all


def record(required: Mapping[str, Any], optional: Mapping[str, Any] | None = None) -> Callable[[Any], dict[str, Any]]:
    """An object with these keys, by their converters."""
    known = {**required, **(optional or {})}

    def convert(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValueError(f"{_shown(value)} is not a dictionary")
        for name in value:
            if name not in known:
                raise ValueError(f"Unexpected key {_shown(name)}")
        for name in required:
            if name not in value:
                raise ValueError(f"Expected keys not found: '{name}'")
        return {name: known[name](item) for name, item in value.items()}

    return convert


def nothing(value: Any) -> None:
    """Null, an empty list or object: what this server does not have, said politely."""
    if value not in (None, [], {}, "", False):
        raise ValueError(f"{_shown(value)} is not supported here")


routes = items(record({"destination": cidr, "nexthop": address}), MAX_ROUTES)
zone_hints = items(only("nova"), 1)

# What networks, subnets, ports and routers share.
COMMON: dict[str, Attribute] = {
    "name": Attribute(text(), default=""),
    "description": Attribute(text(), default=""),
    "project_id": Attribute(project, put=False),
}
