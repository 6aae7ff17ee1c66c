# SPDX-License-Identifier: Apache-2.0
"""os-security-group-rules: what a group lets in. Checks and sentences: nova/network/security_group_api.py."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import unquote

from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute import security_groups as groups
from computeapi.api.network import security_groups as networking
from computeapi.api.network.common import is_admin
from computeapi.db.queries import networks as lookups
from computeapi.db.queries import quotas
from computeapi.db.queries import security_groups as queries
from computeapi.db.queries.security_groups import INGRESS, RULES
from computeapi.endpoint import Call

LAST = "2.35"

# --- schemas ---

CREATE: p.Schema = p.obj(
    {
        "security_group_rule": p.obj(
            {
                "parent_group_id": p.uuid,
                "group_id": {"oneOf": [p.uuid, {"type": "null"}]},
                "to_port": {},
                "from_port": {},
                "ip_protocol": {},
                "cidr": {},
            },
            "parent_group_id",
            extra=True,
        )
    },
    "security_group_rule",
    extra=True,
)

# --- what a body asks for ---


def read_rule(given: dict[str, Any]) -> dict[str, Any] | None:
    """Protocol, ports and source of a rule as the rows have them; None where that is too little. Raises BadRequest."""
    from_source = given.get("group_id") is not None
    cidr = None if from_source else read_cidr(given.get("cidr"))
    protocol, least, most = given.get("ip_protocol"), given.get("from_port"), given.get("to_port")
    if from_source and isinstance(protocol, str) and least is None and most is None:
        least, most = (-1, -1) if protocol.upper() == "ICMP" else (1, 65535)
    ethertype = "IPv6" if cidr and ":" in cidr else "IPv4"
    found: dict[str, Any] = {"direction": INGRESS, "ethertype": ethertype, "remote_cidr": cidr}
    if protocol and least is not None and most is not None:
        return found | read_ports(str(protocol), least, most)
    return found if from_source else None


def read_cidr(text: Any) -> str:
    """A network; nothing is the whole world. Raises BadRequest."""
    if text is None or text == "":
        return "0.0.0.0/0"
    try:
        cidr = unquote(text) if isinstance(text, str) and len(text) <= 200 else ""
        address, slash, prefix = cidr.partition("/")
        if not slash or not prefix.isascii() or not prefix.isdigit() or "%" in cidr or not address.isascii():
            raise ValueError
        ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise errors.BadRequest(f"Invalid cidr {str(text)[:200]}.") from None
    if int(prefix) == 0 and not ipaddress.ip_address(address).is_unspecified:
        raise errors.BadRequest(f"Bad prefix for network in cidr {cidr}")
    return cidr


def read_ports(protocol: str, least: Any, most: Any) -> dict[str, Any]:
    """Protocol and ports. -1 of ICMP is any type or code. Raises BadRequest."""
    upper = protocol.upper()
    try:
        first, last = _integer(least), _integer(most)
    except ValueError:
        words = (
            "Type and Code must be integers for ICMP protocol type"
            if upper == "ICMP"
            else ("To and From ports must be integers")
        )
        raise errors.BadRequest(f"Invalid input received: {words}") from None
    if upper not in ("TCP", "UDP", "ICMP"):
        raise errors.BadRequest(f"Invalid IP protocol {protocol[:80]}.")
    if upper == "ICMP":
        if not (-1 <= first <= 255 and -1 <= last <= 255) or (first == -1 and last != -1):
            raise _invalid_range(first, last, "For ICMP, the type:code must be valid")
        return {
            "protocol": "icmp",
            "port_min": None if first == -1 else first,
            "port_max": None if last == -1 else last,
        }
    if first > last:
        raise _invalid_range(first, last, "Former value cannot be greater than the later")
    if first < 1 or last > networking.MAX_PORT:
        raise _invalid_range(first, last, f"Valid {upper} ports should be between 1-65535")
    return {"protocol": protocol.lower(), "port_min": first, "port_max": last}


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    if isinstance(value, str) and (len(value) > 20 or not value.strip().lstrip("+-").isascii()):
        raise ValueError
    return int(value)


def _invalid_range(first: int, last: int, why: str) -> errors.BadRequest:
    return errors.BadRequest(f"Invalid port range {str(first)[:20]}:{str(last)[:20]}. {why}")


# --- handlers ---


def create(call: Call) -> dict[str, Any]:
    """POST /os-security-group-rules. Raises BadRequest (also for a rule that is there), NotFound, QuotaExceeded."""
    given = call.body["security_group_rule"]
    services = call.services
    with services.db.write() as conn:
        parent = groups.load(call, conn, given["parent_group_id"])
        source = groups.load(call, conn, given["group_id"]) if given.get("group_id") is not None else None
        rule = read_rule(given)
        if rule is None:
            raise errors.BadRequest("Not enough parameters to build a valid rule.")
        rule["remote_group_id"] = source.id if source else None
        queries.lock_group(conn, parent.id)
        _check_quota(call, conn, parent)
        try:
            rule_uuid = networking.add_rule(conn, parent, rule)
        except errors.Conflict:
            raise errors.BadRequest(f"This rule already exists in group {parent.uuid}") from None
        return {"security_group_rule": groups.view_rule(lookups.find(conn, RULES, rule_uuid, None))}


def _check_quota(call: Call, conn: Connection, parent: Any) -> None:
    settings = call.services.settings
    most = quotas.limits_for(conn, settings, parent.project_id)["security_group_rules"]
    if 0 <= most <= queries.count_rules(conn, parent.id, INGRESS):
        raise errors.QuotaExceeded(f"Quota exceeded, too many security group rules. ({most})")


def delete(call: Call) -> None:
    """DELETE /os-security-group-rules/{id}."""
    rule_uuid = call.params["security_group_rule_id"]
    groups.check_id(rule_uuid)
    with call.services.db.write() as conn:
        found = lookups.find(conn, RULES, rule_uuid, None if is_admin(call) else call.project_id)
        queries.delete_rule(conn, found.id, found.group_id)
