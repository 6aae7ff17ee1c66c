# SPDX-License-Identifier: Apache-2.0
"""What the modules of the Networking API share: loading, lists with their filters and pages, and `fields`.

Behaviour: neutron/api/api_common.py. The caller that the rule context_is_admin lets through sees every project's rows.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import Connection, Select

from computeapi import errors
from computeapi.db.queries import hosts
from computeapi.db.queries import networks as queries
from computeapi.db.queries.network_changes import Block
from computeapi.db.queries.networks import Found, Kind, Wish
from computeapi.endpoint import Call, Loader

ADMIN_RULE = "context_is_admin"
MAX_INTEGER = 2**31 - 1
_PAGING = frozenset({"fields", "limit", "marker", "page_reverse", "sort_key", "sort_dir"})
_TRUE = frozenset({"true", "1", "yes", "on", "t"})
_FALSE = frozenset({"false", "0", "no", "off", "f"})

View = Callable[[Call, Connection, list[Found], Select[Any]], list[dict[str, Any]]]


def is_admin(call: Call) -> bool:
    """Whether the caller administers the whole cloud."""
    return call.allows(ADMIN_RULE)


def scope(call: Call) -> str | None:
    """The project whose rows the caller sees; None: all."""
    return None if is_admin(call) else call.context.project_id or ""


def invalid(message: str) -> errors.BadRequest:
    """Neutron's InvalidInput."""
    return errors.BadRequest(f"Invalid input for operation: {message}.", kind="InvalidInput")


def check_addresses(call: Call, conn: Connection, block: Block) -> None:
    """Raise BadRequest where a host that is this network's gateway would send there what is for somebody else."""
    settings = call.services.settings
    if settings.hypervisor == "simulator" or is_admin(call):
        return
    allowed = [ipaddress.ip_network(text.strip()) for text in settings.project_networks.split(",") if text.strip()]
    within = any(each.supernet_of(block) for each in allowed if each.version == block.version)  # type: ignore[arg-type]
    if not within or any(ipaddress.ip_address(each) in block for each in hosts.addresses(conn)):
        raise invalid(f"projects' networks with a gateway can't have the addresses {block} in this cloud")


def load(kind: Kind, param: str = "id") -> Loader:
    """The loader of what the URL names, if the caller may know of it."""

    def loader(call: Call) -> Found:
        with call.services.db.read() as conn:
            return queries.find(conn, kind, call.params[param], scope(call))

    return loader


def index(kind: Kind, plural: str, view: View) -> Callable[[Call], dict[str, Any]]:
    """The handler of a list."""

    def handler(call: Call) -> dict[str, Any]:
        wish = read_wish(call, kind)
        with call.services.db.snapshot() as conn:
            rows, keys = queries.page(conn, kind, scope(call), wish)
            shown = view(call, conn, rows, keys) if rows else []
        return {plural: only_fields(call, shown), **_links(call, plural, shown, wish)}

    handler.__doc__ = f"GET /v2.0/{plural}."
    return handler


def show(kind: Kind, word: str, view: View) -> Callable[[Call], dict[str, Any]]:
    """The handler of one."""

    def handler(call: Call) -> dict[str, Any]:
        return {word: only_fields(call, [view_one(call, kind, call.target, view)])[0]}

    handler.__doc__ = f"GET /v2.0/{word}s/{{id}}."
    return handler


def view_one(call: Call, kind: Kind, row: Found, view: View, conn: Connection | None = None) -> dict[str, Any]:
    """One thing as clients see it."""
    if conn is None:
        with call.services.db.snapshot() as reading:
            return view_one(call, kind, row, view, reading)
    return view(call, conn, [row], queries.keys(kind, row.id))[0]


def only_fields(call: Call, shown: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Just the fields that the query asks for, where it does."""
    wanted = {name for name in call.query.get("fields", ()) if name}
    if not wanted:
        return shown
    return [{name: value for name, value in item.items() if name in wanted} for item in shown]


# --- what a list's query says ---


def read_wish(call: Call, kind: Kind) -> Wish:
    """The query as a Wish. Unknown filters are ignored. Raises BadRequest."""
    filters = {
        name: _values(kind, name, values)
        for name, values in call.query.items()
        if name not in _PAGING and (name in kind.fields or name in kind.special)
    }
    return Wish(
        filters, _sorts(call, kind), _limit(call), call.first("marker") or None, call.first("page_reverse") in _TRUES
    )


_TRUES = ("True", "true", "TRUE", "1")


def _values(kind: Kind, name: str, values: list[str]) -> list[Any]:
    if name in kind.booleans:
        return [int(_truth(name, value)) for value in values]
    if name in kind.integers:
        return [_integer(name, value) for value in values]
    if name == "mac_address":
        return [value.lower() for value in values]
    return values


def _truth(name: str, text: str) -> bool:
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise invalid(f"'{text}' cannot be converted to boolean for {name}")


def _integer(name: str, text: str) -> int:
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 10 or abs(int(text)) > MAX_INTEGER:
        raise invalid(f"'{text}' is not an integer for {name}")
    return int(text)


def _sorts(call: Call, kind: Kind) -> list[tuple[str, bool]]:
    names = call.query.get("sort_key", [])
    directions = call.query.get("sort_dir", [])
    if len(directions) not in (0, len(names)):
        raise _bad("sort", "The number of sort_keys and sort_dirs must be same")
    for name in names:
        if name not in kind.fields:
            raise _bad("sort", f"{name} is invalid attribute for sort_keys")
    for direction in directions:
        if direction not in ("asc", "desc"):
            raise _bad("sort", f"{direction} is invalid value for sort_dirs, valid value is 'asc' and 'desc'")
    return list(zip(names, [text == "desc" for text in directions] or [False] * len(names), strict=True))


def _bad(what: str, message: str) -> errors.BadRequest:
    return errors.BadRequest(f"Bad {what} request: {message}.", kind="BadRequest")


def _limit(call: Call) -> int | None:
    text = call.first("limit")
    if text is None or text in ("", "infinite"):
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 10:
        raise _bad("limits", f"Limit must be an integer 0 or greater and not '{text[:40]}'")
    return int(text) or None


def _links(call: Call, plural: str, shown: list[dict[str, Any]], wish: Wish) -> dict[str, Any]:
    """`<plural>_links` of a list that was asked for in pages: next, and previous where there may be one."""
    if wish.limit is None or not shown:
        return {}
    path = f"{call.host_url}/network/v2.0/{plural.replace('_', '-')}"
    links = []
    if wish.reverse or len(shown) >= wish.limit:
        links.append({"rel": "next", "href": f"{path}?{_query(call, shown[-1]['id'], reverse=False)}"})
    if wish.marker is not None and (not wish.reverse or len(shown) >= wish.limit):
        links.append({"rel": "previous", "href": f"{path}?{_query(call, shown[0]['id'], reverse=True)}"})
    return {f"{plural}_links": links} if links else {}


def _query(call: Call, marker: str, *, reverse: bool) -> str:
    query: dict[str, Iterable[str]] = {
        name: values for name, values in call.query.items() if name not in ("marker", "page_reverse")
    }
    query["marker"] = [marker]
    if reverse:
        query["page_reverse"] = ["True"]
    return urlencode(query, doseq=True)
