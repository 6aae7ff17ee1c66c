# SPDX-License-Identifier: Apache-2.0
"""Security groups and their rules in the Networking API. Checks: neutron/db/securitygroups_db.py and
neutron/extensions/securitygroup.py."""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import Connection, Select

from computeapi import clock, errors
from computeapi.api.network import attributes as a
from computeapi.api.network import views
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import index as list_of
from computeapi.api.network.common import is_admin, scope, view_one
from computeapi.api.network.creating import creator
from computeapi.api.network.networks import columns
from computeapi.db.models import SecurityGroup
from computeapi.db.queries import network_changes as changes
from computeapi.db.queries import network_quotas
from computeapi.db.queries import networks as lookups
from computeapi.db.queries import security_groups as queries
from computeapi.db.queries.networks import Found
from computeapi.db.queries.security_groups import EGRESS, INGRESS, PROTOCOLS, RULES, SECURITY_GROUPS
from computeapi.endpoint import Call

MAX_PORT = 65535
ICMP = (1, 58)
WITH_PORTS = (6, 17, 33, 132, 136)


# --- groups ---


def _not_default(value: Any) -> str:
    name = a.text()(value)
    if name.lower() == queries.DEFAULT:
        raise errors.Conflict("Default security group already exists.", kind="SecurityGroupDefaultAlreadyExists")
    return name


CREATE: dict[str, Attribute] = {
    **a.COMMON,
    "name": Attribute(_not_default, default=""),
    "stateful": Attribute(a.boolean, default=True),
}
UPDATE: dict[str, Attribute] = {**a.COMMON, "stateful": Attribute(a.boolean)}


def view(_call: Call, conn: Connection, rows: list[Found], keys: Select[Any]) -> list[dict[str, Any]]:
    """Groups with their rules."""
    rules = queries.rules_of(conn, keys)
    return [
        views.common(row)
        | {
            "stateful": bool(row.stateful),
            "shared": False,
            "security_group_rules": [_rule_view(rule) for rule in rules.get(row.id, [])],
        }
        for row in rows
    ]


def index(call: Call) -> dict[str, Any]:
    """GET /v2.0/security-groups. The project whose groups are asked for gets its default group now."""
    asked = call.query.get("project_id") or call.query.get("tenant_id") or [call.context.project_id or ""]
    if asked[0] and (asked[0] == call.context.project_id or is_admin(call)):
        ensure_default(call, asked[0])
    return list_of(SECURITY_GROUPS, "security_groups", view)(call)


def ensure_default(call: Call, project_id: str) -> None:
    """The project has its default group; looked for first, since a list is no reason to write."""
    if len(project_id) > 64:
        return
    with call.services.db.read() as conn:
        found = queries.default_group(conn, project_id)
    if found is None:
        with call.services.db.write() as conn:
            queries.ensure_default(conn, project_id)


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """Raises Conflict (OverQuota, the reserved name)."""
    project_id = a.owner(call, values) or ""
    services = call.services
    queries.ensure_default(conn, project_id)
    network_quotas.check(services.db, conn, services.settings, project_id, "security_group")
    _, group_uuid = queries.insert_group(
        conn, project_id, values["name"], values["description"], stateful=int(values["stateful"])
    )
    return _shown(call, conn, group_uuid)


create = creator("security_group", CREATE, _create)


def _shown(call: Call, conn: Connection, group_uuid: str) -> dict[str, Any]:
    found = lookups.find(conn, SECURITY_GROUPS, group_uuid, None)
    return view_one(call, SECURITY_GROUPS, found, view, conn)


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/security-groups/{id}."""
    values = a.read(call, "security_group", UPDATE)
    target = call.target
    if target.default_of and values.get("name", target.name) != target.name:
        raise errors.Conflict("Updating default security group not allowed.", kind="SecurityGroupCannotUpdateDefault")
    if not target.default_of and "name" in values:
        _not_default(values["name"])
    row = columns(values, {name: name for name in ("name", "description", "stateful")})
    with call.services.db.write() as conn:
        rename(conn, target, row)
        return {"security_group": _shown(call, conn, target.uuid)}


def rename(conn: Connection, target: Any, row: dict[str, Any]) -> None:
    """Write a group's columns; servers show its name."""
    changes.touch(conn, SecurityGroup, target.id, row)
    if row.get("name", target.name) != target.name:
        for key in queries.servers_with(conn, target.id):
            queries.refresh_server(conn, key)


def remove(call: Call) -> None:
    """DELETE /v2.0/security-groups/{id}."""
    with call.services.db.write() as conn:
        remove_group(call, conn, call.target)


def remove_group(call: Call, conn: Connection, target: Any) -> None:
    """A group is gone. Raises Conflict where a port has it, or it is the default one (administrators may)."""
    if target.default_of and not is_admin(call):
        raise errors.Conflict(
            "Insufficient rights for removing default security group.", kind="SecurityGroupCannotRemoveDefault"
        )
    queries.lock_group(conn, target.id)
    if queries.in_use(conn, target.id):
        raise errors.Conflict(f"Security Group {target.uuid} in use.", kind="SecurityGroupInUse")
    queries.delete_group(conn, target.id)


# --- rules ---


def _protocol(value: Any) -> str | None:
    """A protocol's name in lower case, or its number as text; "any" is none."""
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        text = value.lower()
        if text in PROTOCOLS:
            return text
        if text == "any":
            return None
        if text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255:
            return str(int(text))
    raise errors.BadRequest(
        f"Security group rule protocol {str(value)[:80]} not supported. Only protocol values {[None, *PROTOCOLS]} and "
        "integer representations [0 to 255] are supported.",
        kind="SecurityGroupRuleInvalidProtocol",
    )


def _port(value: Any) -> int | None:
    if value is None or value == "":
        return None
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) <= 6:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PORT:
        raise errors.BadRequest(f"Invalid value for port {str(value)[:80]}", kind="SecurityGroupInvalidPortValue")
    return value


def _prefix(value: Any) -> str | None:
    """An address or a network in CIDR notation, as the client wrote it."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and "%" not in value and value.isascii() and len(value) <= 64:
            return value if "/" in value and _network(value) else str(_network(value))
    except ValueError:
        pass
    raise ValueError(f"'{str(value)[:100]}' is not a valid IP subnet")


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    if "/" in text and not text.partition("/")[2].isdigit():  # no netmasks
        raise ValueError
    return ipaddress.ip_network(text, strict=False)


CREATE_RULE: dict[str, Attribute] = {
    "security_group_id": Attribute(a.identifier, required=True),
    "direction": Attribute(a.only(INGRESS, EGRESS), required=True),
    "ethertype": Attribute(a.only("IPv4", "IPv6"), default="IPv4"),
    "protocol": Attribute(_protocol, default=None),
    "port_range_min": Attribute(_port, default=None),
    "port_range_max": Attribute(_port, default=None),
    "remote_ip_prefix": Attribute(_prefix, default=None),
    "remote_group_id": Attribute(a.or_none(a.text(64)), default=None),
    "remote_address_group_id": Attribute(a.nothing),
    "description": Attribute(a.text(), default=""),
    "project_id": Attribute(a.project),
}


def _rule_view(row: Found) -> dict[str, Any]:
    return {
        "id": row.uuid,
        "security_group_id": row.group_uuid,
        "direction": row.direction,
        "ethertype": row.ethertype,
        "protocol": row.protocol,
        "port_range_min": row.port_min,
        "port_range_max": row.port_max,
        "remote_ip_prefix": row.remote_cidr,
        "normalized_cidr": str(_network(row.remote_cidr)) if row.remote_cidr else None,
        "remote_group_id": row.remote_uuid,
        "remote_address_group_id": None,
        "belongs_to_default_sg": row.default_of is not None,
        "description": row.description,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "tags": [],
        "created_at": clock.api(row.created_at),
        "updated_at": clock.api(row.updated_at or row.created_at),
        "revision_number": row.revision,
    }


def view_rules(_call: Call, _conn: Connection, rows: list[Found], _keys: Select[Any]) -> list[dict[str, Any]]:
    """Rules."""
    return [_rule_view(row) for row in rows]


def _create_rule(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    """Raises BadRequest, NotFound (a group), Conflict (there is one like it, OverQuota)."""
    a.owner(call, values)
    check_ports(values)
    prefix, remote_uuid = values["remote_ip_prefix"], values["remote_group_id"]
    if prefix and remote_uuid:
        raise errors.BadRequest(
            "Only remote_ip_prefix or remote_group_id may be provided.",
            kind="SecurityGroupMultipleRemoteEntites",
        )
    if prefix and f"IPv{_network(prefix).version}" != values["ethertype"]:
        raise errors.BadRequest(
            f"Conflicting value ethertype {values['ethertype']} for CIDR {prefix}",
            kind="SecurityGroupRuleParameterConflict",
        )
    group = lookups.find(conn, SECURITY_GROUPS, values["security_group_id"], scope(call))
    remote = lookups.find(conn, SECURITY_GROUPS, remote_uuid, scope(call)) if remote_uuid else None
    services = call.services
    network_quotas.check(services.db, conn, services.settings, group.project_id, "security_group_rule")
    rule_uuid = add_rule(
        conn,
        group,
        {
            "direction": values["direction"],
            "ethertype": values["ethertype"],
            "protocol": values["protocol"],
            "port_min": values["port_range_min"],
            "port_max": values["port_range_max"],
            "remote_cidr": prefix,
            "remote_group_id": remote.id if remote else None,
            "description": values["description"],
        },
    )
    return view_one(call, RULES, lookups.find(conn, RULES, rule_uuid, None), view_rules, conn)


create_rule = creator("security_group_rule", CREATE_RULE, _create_rule)


def add_rule(conn: Connection, group: Any, rule: dict[str, Any]) -> str:
    """One more rule; its id. Raises Conflict where the group has one like it, NotFound where the group is gone."""
    if not queries.lock_group(conn, group.id):
        raise SECURITY_GROUPS.not_found(group.uuid)
    twin = queries.twin(conn, group.id, rule)
    if twin:
        raise errors.Conflict(f"Security group rule already exists. Rule id is {twin}.", kind="SecurityGroupRuleExists")
    return queries.insert_rule(conn, group.id, group.project_id, rule)


def check_ports(values: dict[str, Any]) -> None:
    """Raise BadRequest where port_range_min and port_range_max don't fit the protocol, or each other."""
    least, most, protocol = values["port_range_min"], values["port_range_max"], values["protocol"]
    if least is None and most is None:
        return
    if protocol is None:
        raise errors.BadRequest(
            "Must also specify protocol if port range is given.", kind="SecurityGroupProtocolRequiredWithPorts"
        )
    number = PROTOCOLS.get(protocol, int(protocol) if protocol.isdigit() else -1)
    if number in ICMP:
        _check_icmp(least, most)
    elif number in WITH_PORTS:
        if least == 0 or most == 0:
            raise errors.BadRequest("Invalid value for port 0", kind="SecurityGroupInvalidPortValue")
        if least is None or most is None or least > most:
            raise errors.BadRequest(
                "For TCP/UDP protocols, port_range_min must be <= port_range_max", kind="SecurityGroupInvalidPortRange"
            )
    else:
        raise errors.BadRequest(
            f"Invalid port range: protocol {protocol} has no ports.",
            kind="SecurityGroupInvalidProtocolForPort",
        )


def _check_icmp(kind: int | None, code: int | None) -> None:
    if kind is None:
        raise errors.BadRequest(
            f"ICMP code (port-range-max) {code} is provided but ICMP type (port-range-min) is missing.",
            kind="SecurityGroupMissingIcmpType",
        )
    for name, value in (("port_range_min", kind), ("port_range_max", code)):
        if value is not None and value > 255:
            field = "type" if name == "port_range_min" else "code"
            raise errors.BadRequest(
                f"Invalid value for ICMP {field} ({name}) {value}. It must be 0 to 255.",
                kind="SecurityGroupInvalidIcmpValue",
            )


def remove_rule(call: Call) -> None:
    """DELETE /v2.0/security-group-rules/{id}."""
    with call.services.db.write() as conn:
        if not queries.delete_rule(conn, call.target.id, call.target.group_id):
            raise RULES.not_found(call.target.uuid)
