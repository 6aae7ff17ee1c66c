# SPDX-License-Identifier: Apache-2.0
"""How a server looks: FIELDS, a row an attribute, compiled at import into one function a microversion and shape.

Attributes and conditions: nova/api/openstack/compute/views/servers.py. Four shapes: `brief` (GET /servers), `list` and
`one` (GET /servers/detail and /servers/{id}), `changed` (what PUT and rebuild answer, without most extensions).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from hashlib import sha224
from operator import itemgetter
from typing import Any, NamedTuple

import orjson

from computeapi import states, versions
from computeapi.api.compute import links
from computeapi.api.compute.servers import rules
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call
from computeapi.versions import Version, Window, window

BRIEF, FULL, CHANGED = "brief", "full", "changed"
PROGRESS_STATUSES = frozenset({"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING"})
FAULT_STATUSES = frozenset({"ERROR", "DELETED"})
_ALWAYS = window()


@dataclass(frozen=True, slots=True)
class Field:
    """An attribute. `value` and `only_if` are Python expressions over ServerRow's columns, `status`, the functions of
    this module and what Look has; `changed` is the value in the shape of that name (None: not there)."""

    name: str
    value: str
    window: Window = _ALWAYS
    rule: str | None = None  # seen only by those whom this rule allows
    only_if: str | None = None  # there only then
    changed: str | None = None
    brief: bool = False


def _everywhere(name: str, value: str, **more: Any) -> Field:
    return Field(name, value, changed=value, **more)


def _admin(name: str, value: str, since: str | None = None) -> Field:
    return Field("OS-EXT-SRV-ATTR:" + name, value, window(since), rule=rules.EXTENDED)


FIELDS: tuple[Field, ...] = (
    _everywhere("id", "uuid", brief=True),
    _everywhere("name", "name", brief=True),
    _everywhere("links", "Fragment(own + uuid + bookmark + uuid + end)", brief=True),
    _everywhere("status", "status"),
    _everywhere("tenant_id", "project_id"),
    _everywhere("user_id", "user_id"),
    _everywhere("metadata", "Fragment(metadata_json)"),
    _everywhere("hostId", "host_id(project_id, host)"),
    _everywhere("image", "image_id and image[image_id]"),
    _everywhere("flavor", "flavor[flavor_id]"),
    _everywhere("created", 'created_at[:19] + "Z"'),
    _everywhere("updated", 'updated_at[:19] + "Z"'),
    Field(
        "addresses",
        '{} if vm_state == "building" else Fragment(addresses_json)',
        changed='{} if vm_state == "building" else plain_addresses(addresses_json)',
    ),
    _everywhere("accessIPv4", "access_ip_v4"),
    _everywhere("accessIPv6", "access_ip_v6"),
    _everywhere("OS-DCF:diskConfig", "disk_config"),
    _everywhere("progress", "progress", only_if="status in PROGRESS_STATUSES"),
    _everywhere("fault", "fault(fault_json, admin)", only_if="fault_json and status in FAULT_STATUSES"),
    Field("OS-EXT-AZ:availability_zone", 'availability_zone or (zone if host else "")'),
    Field("config_drive", "config_drive"),
    Field("key_name", "key_name"),
    Field("OS-SRV-USG:launched_at", "launched_at"),
    Field("OS-SRV-USG:terminated_at", "terminated_at"),
    Field("security_groups", "Fragment(security_groups_json)", only_if='security_groups_json != "[]"'),
    _admin("host", "host"),
    _admin("instance_name", 'f"instance-{id:08x}"'),
    _admin("hypervisor_hostname", "node"),
    _admin("hostname", "hostname", "2.3"),
    _admin("reservation_id", "reservation_id", "2.3"),
    _admin("launch_index", "launch_index", "2.3"),
    _admin("kernel_id", "kernel_id", "2.3"),
    _admin("ramdisk_id", "ramdisk_id", "2.3"),
    _admin("root_device_name", "root_device_name", "2.3"),
    _admin("user_data", "user_data", "2.3"),
    Field("OS-EXT-STS:task_state", "task_state"),
    Field("OS-EXT-STS:vm_state", "vm_state"),
    Field("OS-EXT-STS:power_state", "power_state"),
    Field("os-extended-volumes:volumes_attached", "volume_ids(volumes_json)", window(until="2.2")),
    Field("os-extended-volumes:volumes_attached", "Fragment(volumes_json)", window("2.3")),
)


class References(dict[str, orjson.Fragment]):
    """By id, what a server shows of its image or flavor: the same few for many servers, so written once an answer."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def __missing__(self, identifier: str) -> orjson.Fragment:
        bookmark = {"rel": "bookmark", "href": self._prefix + identifier}
        made = self[identifier] = orjson.Fragment(orjson.dumps({"id": identifier, "links": [bookmark]}))
        return made


class Look(NamedTuple):
    """What the values depend on beside the row: links (JSON around the server's id), and who looks."""

    own: str
    bookmark: str
    end: str
    image: References
    flavor: References
    zone: str  # of hosts that are in none
    admin: bool


@lru_cache(maxsize=100_000)
def host_id(project_id: str, host: str | None) -> str:
    """A name for the host that differs by project, so that owners see who sits together but not where."""
    return sha224((project_id + host).encode()).hexdigest() if host else ""


def fault(fault_json: str, admin: bool) -> dict[str, Any]:
    """A server's fault; the details of a fault of ours (500) are for administrators."""
    shown: dict[str, Any] = orjson.loads(fault_json)
    if not shown.get("details") or not (admin or shown["code"] != 500):
        shown.pop("details", None)
    return shown


def plain_addresses(addresses_json: str) -> dict[str, list[dict[str, Any]]]:
    """Addresses without the extensions' attributes."""
    return {
        label: [{"version": item["version"], "addr": item["addr"]} for item in items]
        for label, items in orjson.loads(addresses_json).items()
    }


def volume_ids(volumes_json: str) -> Any:
    """The attached volumes, without delete_on_termination."""
    return [{"id": volume["id"]} for volume in orjson.loads(volumes_json)] if volumes_json != "[]" else []


_NAMES: dict[str, Any] = {
    "Fragment": orjson.Fragment,
    "show_status": states.status,
    "host_id": host_id,
    "fault": fault,
    "plain_addresses": plain_addresses,
    "volume_ids": volume_ids,
    "PROGRESS_STATUSES": PROGRESS_STATUSES,
    "FAULT_STATUSES": FAULT_STATUSES,
}


class Shape(NamedTuple):
    """A compiled view: rows of these columns, in this order, become the servers of an answer."""

    columns: tuple[str, ...]
    show: Callable[[Iterable[Sequence[Any]], Look], list[dict[str, Any]]]
    pick: Callable[[ServerRow], Sequence[Any]]  # these columns of a whole row


@cache
def _compile(chosen: tuple[tuple[str, str, str | None], ...]) -> Shape:
    """A function for these (name, value, only_if): one loop, tuples unpacked, no attribute looked up."""
    words = {word for _, value, only_if in chosen for word in _words(value, only_if)}
    lines = []
    if "status" in words:
        words |= {"deleted", "vm_state", "task_state"}
        lines.append('status = "DELETED" if deleted else show_status(vm_state, task_state)')
    always = ", ".join(f"{name!r}: {value}" for name, value, only_if in chosen if only_if is None)
    lines.append(f"server = {{{always}}}")
    lines += [f"if {only_if}: server[{name!r}] = {value}" for name, value, only_if in chosen if only_if is not None]
    columns = tuple(name for name in ServerRow._fields if name in words)
    source = (
        f"def show(rows, look):\n    {', '.join(Look._fields)} = look\n    shown = []\n"
        f"    for ({', '.join(columns)},) in rows:\n        "
        + "\n        ".join([*lines, "shown.append(server)"])
        + "\n    return shown"
    )
    scope = dict(_NAMES)
    exec(source, scope)  # noqa: S102  (our own table, no input)
    return Shape(columns, scope["show"], itemgetter(*(ServerRow._fields.index(name) for name in columns)))


def _words(*expressions: str | None) -> set[str]:
    trees = [ast.parse(text) for text in expressions if text]
    return {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _build(kind: str, version: Version, extended: bool) -> Shape:
    chosen = []
    for field in FIELDS:
        value = field.changed if kind == CHANGED else field.value
        if value is None or (kind == BRIEF and not field.brief) or version not in field.window:
            continue
        if field.rule is None or extended:
            chosen.append((field.name, value, field.only_if))
    return _compile(tuple(chosen))


SHAPES: dict[tuple[str, Version, bool], Shape] = {
    (kind, version, extended): _build(kind, version, extended)
    for kind in (BRIEF, FULL, CHANGED)
    for version in (versions.LEGACY, *(Version(2, minor) for minor in versions.VERSIONS))
    for extended in (False, True)
}


def shape(call: Call, kind: str, server: ServerRow | None = None) -> Shape:
    """The view for a caller: of one server, or of a list (then extensions are by the caller's right in its own
    project, as in Nova)."""
    extended = False
    if kind == FULL:
        project_id = server.project_id if server else call.project_id
        extended = call.services.policy.allows(rules.EXTENDED, call.context, project_id, call.context.user_id)
    return SHAPES[kind, call.version, extended]


def look(call: Call) -> Look:
    """What a caller's answers depend on beside the rows."""
    prefixes = links.prefixes(call, "servers")
    own, bookmark = (orjson.dumps(prefix).decode()[:-1] for prefix in prefixes)  # each a text without its end
    base = prefixes.bookmark.removesuffix("servers/")
    return Look(
        '[{"rel":"self","href":' + own,
        '"},{"rel":"bookmark","href":' + bookmark,
        '"}]',
        References(base + "images/"),
        References(base + "flavors/"),
        call.services.settings.default_availability_zone,
        call.context.is_admin,
    )


def one(call: Call, server: ServerRow, kind: str = FULL) -> dict[str, Any]:
    """`{"server": …}` as GET, or (CHANGED) as PUT and rebuild answer it."""
    compiled = shape(call, kind, server)
    return {"server": compiled.show([compiled.pick(server)], look(call))[0]}
