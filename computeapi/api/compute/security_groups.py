# SPDX-License-Identifier: Apache-2.0
"""os-security-groups, and the security groups of a server: the rows of the Networking API, said in Nova's words.

Keys, checks and codes: nova/api/openstack/compute/security_groups.py. Only what lets traffic in is shown.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.api import parameters as p
from computeapi.api.compute import links, remote_interfaces
from computeapi.api.compute.remote_calls import is_remote
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.api.network import security_groups as networking
from computeapi.api.network.common import is_admin
from computeapi.api.network.security_groups import ICMP, WITH_PORTS
from computeapi.db.queries import network_quotas, quotas, servers
from computeapi.db.queries import networks as lookups
from computeapi.db.queries import security_groups as queries
from computeapi.db.queries.networks import Wish
from computeapi.db.queries.security_groups import INGRESS, PROTOCOLS, SECURITY_GROUPS
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call, Endpoint, Handler, endpoint
from computeapi.policy import PROJECT_MEMBER, PROJECT_READER, rule

LAST = "2.35"
GROUPS = "os_compute_api:os-security-groups:"
_URL, _ONE = "/os-security-groups", "/os-security-groups/{security_group_id}"
_ACTION = ("POST", "/servers/{server_id}/action")

RULES = [
    rule(GROUPS + "get", PROJECT_READER, "List security groups.", ("GET", _URL)),
    rule(GROUPS + "show", PROJECT_READER, "Show a security group.", ("GET", _ONE)),
    rule(GROUPS + "create", PROJECT_MEMBER, "Make a security group.", ("POST", _URL)),
    rule(GROUPS + "update", PROJECT_MEMBER, "Change a security group.", ("PUT", _ONE)),
    rule(GROUPS + "delete", PROJECT_MEMBER, "Delete a security group.", ("DELETE", _ONE)),
    rule(GROUPS + "rule:create", PROJECT_MEMBER, "Make a rule.", ("POST", "/os-security-group-rules")),
    rule(
        GROUPS + "rule:delete",
        PROJECT_MEMBER,
        "Delete a rule.",
        ("DELETE", "/os-security-group-rules/{security_group_rule_id}"),
    ),
    rule(
        GROUPS + "list",
        PROJECT_READER,
        "List the security groups of a server.",
        ("GET", "/servers/{server_id}/os-security-groups"),
    ),
    rule(GROUPS + "add", PROJECT_MEMBER, "Give a server a security group.", _ACTION),
    rule(GROUPS + "remove", PROJECT_MEMBER, "Take a security group from a server.", _ACTION),
]

# --- schemas ---

_NAME: p.Schema = {"type": "string", "minLength": 1, "maxLength": 255, "format": "name_with_leading_trailing_spaces"}
CREATE: p.Schema = p.obj(
    {"security_group": p.obj({"name": _NAME, "description": p.text_255}, "name", "description", extra=True)},
    "security_group",
    extra=True,
)
LIST_QUERY = p.query(
    {"limit": p.Q_INTEGER, "offset": p.Q_INTEGER, "all_tenants": p.Q_ANY}, multi=("limit", "offset", "all_tenants")
)
_BY_NAME = p.obj({"name": {"type": "string", "minLength": 1}}, "name")

# --- view ---


def view(rows: Iterable[Any], rules: Mapping[Any, list[Any]]) -> list[dict[str, Any]]:
    """Groups, by project and name."""
    shown = [
        {
            "id": row.uuid,
            "name": row.name,
            "description": row.description,
            "tenant_id": row.project_id,
            "rules": [view_rule(each) for each in rules.get(row.id, [])],
        }
        for row in rows
    ]
    return sorted(shown, key=lambda item: (item["tenant_id"], item["name"]))


def view_rule(row: Any) -> dict[str, Any]:
    """A rule that lets in."""
    least, most = ports_shown(row)
    source: dict[str, Any] = {"group": {}, "ip_range": {}}
    if row.remote_uuid is not None:
        source["group"] = {"name": row.remote_name, "tenant_id": row.remote_project_id}
    else:
        source["ip_range"] = {"cidr": row.remote_cidr or ("::/0" if row.ethertype == "IPv6" else "0.0.0.0/0")}
    return {
        "id": row.uuid,
        "parent_group_id": row.group_uuid,
        "ip_protocol": row.protocol,
        "from_port": least,
        "to_port": most,
        **source,
    }


def ports_shown(row: Any) -> tuple[int | None, int | None]:
    """from_port and to_port: all ports are 1 to 65535, all types of ICMP (and what has no ports) -1."""
    if row.protocol is None:
        return None, None
    number = PROTOCOLS.get(row.protocol, -1)
    if row.port_min is None and row.port_max is None:
        return (1, 65535) if number in WITH_PORTS else (-1, -1)
    if number in ICMP and row.port_max is None:
        return row.port_min, -1
    return row.port_min, row.port_max


def _show(conn: Connection, found: Any) -> dict[str, Any]:
    return {"security_group": view([found], queries.rules_of(conn, [found.id], INGRESS))[0]}


# --- handlers ---


def check_id(text: str) -> None:
    """Raise BadRequest for what is no id; NotFound for none at all (the collection's URL with a slash)."""
    if not text:
        raise errors.NotFound
    try:
        uuid.UUID(text)
    except ValueError:
        raise errors.BadRequest("Security group id should be uuid") from None


def load(call: Call, conn: Connection, group_uuid: str) -> Any:
    """The project's group (an administrator finds any). Raises BadRequest for what is no id, NotFound."""
    check_id(group_uuid)
    return lookups.find(conn, SECURITY_GROUPS, group_uuid, None if is_admin(call) else call.project_id)


def index(call: Call) -> dict[str, Any]:
    """GET /os-security-groups."""
    networking.ensure_default(call, call.project_id)
    everybodys = "all_tenants" in call.query and is_admin(call)
    filters = {} if everybodys else {"project_id": [call.project_id]}
    with call.services.db.snapshot() as conn:
        rows, keys = lookups.page(conn, SECURITY_GROUPS, None, Wish(filters))
        rules = queries.rules_of(conn, keys, INGRESS)
    return {"security_groups": view(rows[part(call)], rules)}


def part(call: Call) -> slice:
    """What of a list the query's limit and offset leave."""
    limit, offset, most = _number(call, "limit"), _number(call, "offset") or 0, call.services.settings.max_limit
    return slice(offset, offset + (most if limit is None else min(limit, most)))


def _number(call: Call, name: str) -> int | None:
    text = links.last(call, name)
    return None if text is None else min(int(text[:20]), 2**31)


def show(call: Call) -> dict[str, Any]:
    """GET /os-security-groups/{id}."""
    with call.services.db.snapshot() as conn:
        return _show(conn, load(call, conn, call.params["security_group_id"]))


def create(call: Call) -> dict[str, Any]:
    """POST /os-security-groups. Raises BadRequest (the name is taken), QuotaExceeded."""
    given, services = call.body["security_group"], call.services
    name, project_id = given["name"], call.project_id
    with services.db.write() as conn:
        services.db.lock(conn, quotas.lock_name(project_id))
        queries.ensure_default(conn, project_id)
        _check_name(conn, project_id, name)
        limits = quotas.limits_for(conn, services.settings, project_id, call.context.user_id)
        most = network_quotas.least(limits["security_groups"], network_quotas.said(conn, project_id, "security_group"))
        if 0 <= most <= queries.count(conn, project_id):
            raise errors.QuotaExceeded(f"Quota exceeded, too many security groups. ({most})")
        _, group_uuid = queries.insert_group(conn, project_id, name, given.get("description", ""))
        return _show(conn, lookups.find(conn, SECURITY_GROUPS, group_uuid, None))


def _check_name(conn: Connection, project_id: str, name: str, but: int = 0) -> None:
    if queries.name_taken(conn, project_id, name, but):
        raise errors.BadRequest(f"Security group {name} already exists for project {project_id}.")


def update(call: Call) -> dict[str, Any]:
    """PUT /os-security-groups/{id}. Raises BadRequest (the name is taken; the default group is not renamed)."""
    given = call.body["security_group"]
    with call.services.db.write() as conn:
        found = load(call, conn, call.params["security_group_id"])
        if found.default_of and given["name"] != found.name:
            raise errors.BadRequest("Updating default security group not allowed.")
        _check_name(conn, found.project_id, given["name"], found.id)
        row = {name: given[name] for name in ("name", "description") if name in given}
        networking.rename(conn, found, row)
        return _show(conn, lookups.find(conn, SECURITY_GROUPS, found.uuid, None))


def delete(call: Call) -> None:
    """DELETE /os-security-groups/{id}. Raises BadRequest where it is in use, or the default group."""
    with call.services.db.write() as conn:
        found = load(call, conn, call.params["security_group_id"])
        try:
            networking.remove_group(call, conn, found)
        except errors.Conflict as error:
            raise errors.BadRequest(error.message) from None


# --- a server's ---


def of_server(call: Call) -> dict[str, Any]:
    """GET /servers/{server_id}/os-security-groups."""
    with call.services.db.snapshot() as conn:
        groups = queries.groups_of_server(conn, call.target.id)
        rules = queries.rules_of(conn, [row.id for row in groups], INGRESS)
    return {"security_groups": view(groups, rules)}


def add_to_server(call: Call) -> None:
    """addSecurityGroup: for all of the server's interfaces."""
    _change(call, "addSecurityGroup", add=True)


def remove_from_server(call: Call) -> None:
    """removeSecurityGroup."""
    _change(call, "removeSecurityGroup", add=False)


def _change(call: Call, action: str, *, add: bool) -> None:
    name, target = call.body[action]["name"], call.target
    if not name.strip():
        raise errors.BadRequest("Security group name cannot be empty")
    if is_remote(call):
        remote_interfaces.change_group(call, action, name, add=add)
        return
    with call.services.db.write() as conn:
        server = servers.lock_row(conn, target.id)
        if server is None:
            raise errors.NotFound(f"Instance {target.uuid} could not be found.")
        group = _named(conn, server, name)
        ports = queries.ports_of_server(conn, server.id)
        if not ports:
            raise errors.NotFound(f"instance_id {server.uuid} could not be found as device id on any ports")
        if add:
            _add(conn, ports, group)
        else:
            _take(conn, ports, group, name, server)
        queries.refresh_server(conn, server.id)
        lifecycle.follow(conn, call.services, call.context, server, action)


def _named(conn: Connection, server: ServerRow, name: str) -> Any:
    if name == queries.DEFAULT:
        queries.ensure_default(conn, server.project_id)
    found = queries.named(conn, server.project_id, [name])[name]
    if not found:
        raise errors.NotFound(f"Security group {name} is not found for project {server.project_id}")
    if len(found) > 1:
        raise queries.several(name)
    return found[0]


def _add(conn: Connection, ports: list[Any], group: Any) -> None:
    if not all(port.port_security for port in ports):
        raise errors.BadRequest(
            "Network requires port_security_enabled and subnet associated in order to apply security groups."
        )
    for port in ports:  # a server's
        groups = queries.groups_of_port(conn, port.id)
        if group.id not in {each.id for each in groups}:
            queries.set_port_groups(conn, port.id, [*groups, group])


def _take(conn: Connection, ports: list[Any], group: Any, name: str, server: ServerRow) -> None:
    taken = False
    for port in ports:  # a server's
        groups = queries.groups_of_port(conn, port.id)
        left = [each for each in groups if each.id != group.id]
        if len(left) != len(groups):
            queries.set_port_groups(conn, port.id, left)
            taken = True
    if not taken:
        raise errors.NotFound(f"Security group {name} not associated with the instance {server.uuid}")


def _row(name: str, handler: Handler, verb: str) -> Endpoint:
    body = p.obj({name: _BY_NAME}, name)
    return endpoint(handler, GROUPS + verb, loads=load_server, body=body, status=202)


SERVER_ACTIONS: dict[str, Endpoint] = {
    "addSecurityGroup": _row("addSecurityGroup", add_to_server, "add"),
    "removeSecurityGroup": _row("removeSecurityGroup", remove_from_server, "remove"),
}
