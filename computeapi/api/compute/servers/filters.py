# SPDX-License-Identifier: Apache-2.0
"""What the query of GET /servers asks for: who may filter by what, and by which column.

Names, who may use them, and what is ignored: nova/api/openstack/compute/servers.py (_get_servers) and
nova/api/openstack/compute/schemas/servers.py (index_query), of the versions below 2.73.
"""

from __future__ import annotations

from computeapi import clock, errors, states
from computeapi.api import parameters as p
from computeapi.api.compute import links
from computeapi.api.compute.servers import rules
from computeapi.db.queries.servers import Wanted
from computeapi.endpoint import Call

# Filters that everybody may use; those who lack the rule allow_all_filters may use no others.
OPEN = {"reservation_id", "name", "status", "image", "flavor", "ip", "changes-since", "all_tenants"}

EXACT = {
    "user_id": "user_id",
    "image": "image_id",
    "image_ref": "image_id",
    "flavor": "flavor_id",
    "vm_state": "vm_state",
    "task_state": "task_state",
    "host": "host",
    "uuid": "uuid",
}
REGEX = {
    "name": "name",
    "display_name": "name",
    "description": "name",  # until 2.19 the description is the name
    "display_description": "name",
    "hostname": "hostname",
    "key_name": "key_name",
    "kernel_id": "kernel_id",
    "ramdisk_id": "ramdisk_id",
    "node": "node",
    "reservation_id": "reservation_id",
    "availability_zone": "availability_zone",
    "locked_by": "locked_by",
    "root_device_name": "root_device_name",
    "config_drive": "config_drive",
    "access_ip_v4": "access_ip_v4",
    "access_ip_v6": "access_ip_v6",
    "power_state": "power_state",
    "progress": "progress",
    "launch_index": "launch_index",
    "created_at": "created_at",
    "launched_at": "launched_at",
    "terminated_at": "terminated_at",
}
# Tables that Nova joins by these names: refused rather than ignored.
JOINED = (
    "block_device_mapping",
    "services",
    "metadata",
    "system_metadata",
    "info_cache",
    "security_groups",
    "pci_devices",
)
SORT_KEYS = {
    **{
        name: name
        for name in (
            "access_ip_v4",
            "access_ip_v6",
            "availability_zone",
            "config_drive",
            "created_at",
            "host",
            "hostname",
            "kernel_id",
            "key_name",
            "launch_index",
            "launched_at",
            "locked_by",
            "node",
            "power_state",
            "progress",
            "project_id",
            "ramdisk_id",
            "root_device_name",
            "task_state",
            "terminated_at",
            "updated_at",
            "user_id",
            "uuid",
            "vm_state",
        )
    },
    "auto_disk_config": "disk_config",
    "display_description": "name",
    "display_name": "name",
    "image_ref": "image_id",
    "instance_type_id": "flavor_id",
}
# Accepted and without effect.
IGNORED_SORT_KEYS = (
    "architecture",
    "cell_name",
    "cleaned",
    "default_ephemeral_device",
    "default_swap_device",
    "deleted",
    "deleted_at",
    "disable_terminate",
    "ephemeral_gb",
    "ephemeral_key_uuid",
    "id",
    "key_data",
    "launched_on",
    "locked",
    "memory_mb",
    "os_type",
    "reservation_id",
    "root_gb",
    "shutdown_terminate",
    "user_data",
    "vcpus",
    "vm_mode",
)
_ADMIN_SORT_KEYS = ("host", "node")

_PLAIN = (*EXACT, "launch_index", "project_id", "tenant_id", "all_tenants", "soft_deleted", "deleted", "status")
_PATTERNS = (*(name for name in REGEX if name != "launch_index"), "flavor", "ip", "ip6", "auto_disk_config")
_PARAMETERS = {
    # Whether a pattern can be searched for is known where it is used (db.queries.patterns).
    **dict.fromkeys((*_PLAIN, *JOINED, "sort_dir", "marker"), p.Q_ANY),
    **dict.fromkeys(_PATTERNS, p.Q_REGEX),
    "sort_key": {"type": "string", "enum": [*sorted(SORT_KEYS), *IGNORED_SORT_KEYS]},
    "changes-since": p.Q_TIME,
    "limit": p.Q_INTEGER,
}
QUERY = p.query(_PARAMETERS, multi=tuple(_PARAMETERS), patterns={"^_": p.Q_ANY})

_TRUE = ("1", "t", "true", "on", "y", "yes")
_FALSE = ("0", "f", "false", "off", "n", "no")


def read(call: Call, all_projects_rule: str) -> Wanted | None:
    """What the query asks for, as far as the caller may ask; None for a status that does not exist (no servers).

    Raises BadRequest for what can't be, and Forbidden: of all projects without `all_projects_rule`, of the deleted
    ones or by host without being an administrator.
    """
    asked = _allowed(call)
    wanted = Wanted(call.project_id, limit=links.page_size(call), marker=links.last(call, "marker") or None)
    for name, value in asked.items():
        if name in EXACT:
            wanted.exact[EXACT[name]] = value
        elif name in REGEX:
            wanted.found[REGEX[name]] = value
        elif name == "auto_disk_config":
            wanted.exact["disk_config"] = "AUTO" if value.lower() in _TRUE else "MANUAL"
    wanted.ip, wanted.ip6 = asked.get("ip"), asked.get("ip6")
    _read_deleted(wanted, asked)
    _read_all_projects(call, wanted, asked, all_projects_rule)
    wanted.order = _order(call)
    if "status" in call.query and not _read_status(call, wanted):
        return None
    return wanted


def _allowed(call: Call) -> dict[str, str]:
    """The last value of each filter that the caller may use; the others are ignored, as in Nova."""
    asked = {name: values[-1] for name, values in call.query.items()}
    if not call.allows(rules.ALL_FILTERS):
        return {name: value for name, value in asked.items() if name in OPEN}
    for name in asked:
        if name in JOINED or name.startswith("_"):
            raise errors.BadRequest(f"Invalid filter field: {name}.")
    return asked


def _read_status(call: Call, wanted: Wanted) -> bool:
    """Statuses replace the filters vm_state and task_state. False: there are no such."""
    known = [status for status in dict.fromkeys(call.query["status"]) if states.states_of_status(status)[0]]
    if not known:
        return False
    wanted.statuses = known
    wanted.exact.pop("vm_state", None)
    wanted.exact.pop("task_state", None)
    if [status.upper() for status in known] == ["DELETED"]:
        if not call.context.is_admin:
            raise errors.Forbidden("Only administrators may list deleted instances")
        wanted.deleted = True
    return True


def _read_deleted(wanted: Wanted, asked: dict[str, str]) -> None:
    if "changes-since" in asked:
        try:
            wanted.changed_since = clock.parse_filter(asked["changes-since"])
        except (ValueError, OverflowError):
            raise errors.BadRequest("Invalid filter field: changes-since.") from None
        wanted.deleted = None  # a client that looks for changes must learn of the deleted ones
    if "deleted" in asked:
        wanted.deleted = asked["deleted"].strip().lower() in _TRUE
    if "soft_deleted" in asked:
        wanted.soft_deleted = bool(asked["soft_deleted"])


def _read_all_projects(call: Call, wanted: Wanted, asked: dict[str, str], rule: str) -> None:
    text = asked.get("all_tenants")
    if text is None:
        return
    word = text.strip().lower()
    if word and word not in _TRUE + _FALSE:
        known = ", ".join(f"'{each}'" for each in sorted(_TRUE + _FALSE))
        raise errors.BadRequest(f"Unrecognized value '{text}', acceptable values are: {known}")
    if word in _FALSE:
        return
    call.check(rule)
    wanted.project_id = asked.get("tenant_id", asked.get("project_id"))


def _order(call: Call) -> list[tuple[str, bool]]:
    """Columns to sort by, with their directions; creation, the newest first, where nothing is said."""
    keys = [key.strip() for key in call.query.get("sort_key", ["created_at"])]
    directions = [direction.strip() for direction in call.query.get("sort_dir", ["desc"])]
    for key in list(keys):
        if key in IGNORED_SORT_KEYS:
            position = keys.index(key)
            del directions[position : position + 1]
            del keys[position]
        elif key in _ADMIN_SORT_KEYS and not call.context.is_admin:
            raise errors.Forbidden(f"Only administrators can sort servers by {key}")
    default = directions[0] if directions else "desc"
    if not keys:
        keys, directions = ["created_at"], directions[:1]
    if any(direction not in ("asc", "desc") for direction in directions):
        raise errors.BadRequest("Invalid input received: Unknown sort direction, must be 'desc' or 'asc'")
    if len(directions) > len(keys):
        raise errors.BadRequest("Invalid input received: Sort direction size exceeds sort key size")
    directions += [default] * (len(keys) - len(directions))
    order = dict.fromkeys((SORT_KEYS[key] for key in keys), False)
    order.update({SORT_KEYS[key]: way == "desc" for key, way in reversed(list(zip(keys, directions, strict=True)))})
    order.setdefault("created_at", default == "desc")
    return list(order.items())
