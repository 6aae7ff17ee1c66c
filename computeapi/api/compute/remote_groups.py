# SPDX-License-Identifier: Apache-2.0
"""A real Neutron's security groups in Nova's words: only what lets traffic in is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from computeapi.api.compute.remote_calls import neutron_of
from computeapi.backends.network.ports import Json
from computeapi.endpoint import Call


def rows(call: Call, groups: Sequence[Json]) -> tuple[list[Any], dict[str, list[Any]]]:
    """Groups, and their rules by group, as the embedded network's rows of them: `security_groups.view` takes both."""
    neutron = neutron_of(call)
    named = {each["id"]: each for each in groups}
    inward = [rule for each in groups for rule in each["security_group_rules"] if rule["direction"] == "ingress"]
    others = sorted({rule["remote_group_id"] for rule in inward if rule["remote_group_id"]} - named.keys())
    fields = ("name", "tenant_id", "project_id")
    named |= {each["id"]: each for each in neutron.find(call.context, "security_group", {"id": others}, fields=fields)}
    by_group: dict[str, list[Any]] = {}
    for rule in inward:
        by_group.setdefault(rule["security_group_id"], []).append(rule_row(rule, named))
    return [group_row(each) for each in groups], by_group


def group_row(group: Json) -> Any:
    """A group."""
    return SimpleNamespace(
        id=group["id"],
        uuid=group["id"],
        name=group["name"],
        description=group.get("description") or "",
        project_id=_owner(group),
    )


def rule_row(rule: Json, groups: Mapping[str, Json]) -> Any:
    """A rule; `groups` has those that rules let in. One that may not be seen has no name here."""
    other = groups.get(rule["remote_group_id"] or "", {})
    return SimpleNamespace(
        uuid=rule["id"],
        group_uuid=rule["security_group_id"],
        protocol=rule["protocol"],
        port_min=rule["port_range_min"],
        port_max=rule["port_range_max"],
        ethertype=rule["ethertype"],
        remote_cidr=rule["remote_ip_prefix"],
        remote_uuid=rule["remote_group_id"],
        remote_name=other.get("name", rule["remote_group_id"]),
        remote_project_id=_owner(other),
    )


def _owner(group: Mapping[str, Any]) -> str:
    return str(group.get("project_id") or group.get("tenant_id") or "")
