# SPDX-License-Identifier: Apache-2.0
"""os-security-groups and os-security-group-rules where the networks are a real Neutron's.

Codes and sentences: nova/network/security_group/neutron_driver.py. A server's groups are in `remote_interfaces`.
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api.compute import remote_groups, remote_interfaces, security_group_rules
from computeapi.api.compute import security_groups as local
from computeapi.api.compute.remote_calls import neutron_of
from computeapi.api.network.common import is_admin
from computeapi.endpoint import Call

Json = dict[str, Any]


def _views(call: Call, *groups: Json) -> list[Json]:
    return local.view(*remote_groups.rows(call, groups))


def _find(call: Call, group_uuid: str) -> Json:
    """The group. Raises BadRequest for what is no id, NotFound."""
    local.check_id(group_uuid)
    return neutron_of(call).show(call.context, "security_group", group_uuid)


# --- groups ---


def index(call: Call) -> Json:
    """GET /os-security-groups: the project's; an administrator's with `all_tenants` all."""
    everybodys = "all_tenants" in call.query and is_admin(call)
    filters = {} if everybodys else {"project_id": call.project_id}
    found = _views(call, *neutron_of(call).find(call.context, "security_group", filters))
    return {"security_groups": found[local.part(call)]}


def show(call: Call) -> Json:
    """GET /os-security-groups/{id}."""
    return {"security_group": _views(call, _find(call, call.params["security_group_id"]))[0]}


def of_server(call: Call) -> Json:
    """GET /servers/{server_id}/os-security-groups."""
    return {"security_groups": _views(call, *remote_interfaces.groups_of_server(call))}


def create(call: Call) -> Json:
    """POST /os-security-groups. Raises QuotaExceeded. Names may be taken: Neutron does not mind."""
    given = call.body["security_group"]
    values = {"name": given["name"], "description": given.get("description") or ""}
    try:
        made = neutron_of(call).create(call.context, "security_group", values)
    except errors.Conflict as error:
        raise errors.BadRequest(error.message) from None
    return {"security_group": _views(call, made)[0]}


def update(call: Call) -> Json:
    """PUT /os-security-groups/{id}. Raises BadRequest (the default group is not renamed)."""
    given = call.body["security_group"]
    found = _find(call, call.params["security_group_id"])
    values = {name: given[name] or "" for name in ("name", "description") if name in given}
    try:
        changed = neutron_of(call).update(call.context, "security_group", found["id"], values)
    except errors.Conflict as error:
        raise errors.BadRequest(error.message) from None
    return {"security_group": _views(call, changed)[0]}


def delete(call: Call) -> None:
    """DELETE /os-security-groups/{id}. Raises BadRequest where it is in use, or the default group."""
    found = _find(call, call.params["security_group_id"])
    try:
        neutron_of(call).delete(call.context, "security_group", found["id"])
    except errors.Conflict as error:
        raise errors.BadRequest(error.message) from None


# --- rules ---


def create_rule(call: Call) -> Json:
    """POST /os-security-group-rules. Raises BadRequest (also for a rule that is there), NotFound, QuotaExceeded."""
    given = call.body["security_group_rule"]
    parent = _find(call, given["parent_group_id"])
    source = _find(call, given["group_id"]) if given.get("group_id") is not None else None
    wanted = security_group_rules.read_rule(given)
    if wanted is None:
        raise errors.BadRequest("Not enough parameters to build a valid rule.")
    values = {
        "security_group_id": parent["id"],
        "direction": wanted["direction"],
        "ethertype": wanted["ethertype"],
        "protocol": wanted.get("protocol"),
        "port_range_min": wanted.get("port_min"),
        "port_range_max": wanted.get("port_max"),
        "remote_ip_prefix": wanted["remote_cidr"],
        "remote_group_id": source["id"] if source else None,
    }
    try:
        made = neutron_of(call).create(call.context, "security_group_rule", values)
    except errors.Conflict as error:
        said = f"This rule already exists in group {parent['id']}"
        raise errors.BadRequest(said if error.kind == "SecurityGroupRuleExists" else error.message) from None
    groups = {source["id"]: source} if source else {}
    return {"security_group_rule": local.view_rule(remote_groups.rule_row(made, groups))}


def delete_rule(call: Call) -> None:
    """DELETE /os-security-group-rules/{id}."""
    rule_uuid = call.params["security_group_rule_id"]
    local.check_id(rule_uuid)
    neutron_of(call).delete(call.context, "security_group_rule", rule_uuid)
