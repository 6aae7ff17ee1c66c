# SPDX-License-Identifier: Apache-2.0
"""os-security-group-default-rules: what new projects' group "default" lets in. Administrators only.

Checks and codes: Nova before it dropped nova-network (nova/api/openstack/compute/security_group_default_rules.py).
"""

from __future__ import annotations

from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.compute.security_group_rules import read_rule
from computeapi.db.queries import security_groups as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule

LAST = "2.35"
DEFAULT_RULES = "os_compute_api:os-security-group-default-rules"
RULES = [
    rule(
        DEFAULT_RULES,
        ADMIN,
        "See and say what new default groups let in.",
        ("GET", "/os-security-group-default-rules"),
        ("POST", "/os-security-group-default-rules"),
    )
]

CREATE: p.Schema = p.obj(
    {"security_group_default_rule": p.obj({"to_port": {}, "from_port": {}, "ip_protocol": {}, "cidr": {}})},
    "security_group_default_rule",
)
_MANY = 1000  # rules


def _view(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "ip_protocol": row.protocol,
        "from_port": row.port_min,
        "to_port": row.port_max,
        "ip_range": {"cidr": row.cidr},
    }


def index(call: Call) -> dict[str, Any]:
    """GET /os-security-group-default-rules."""
    with call.services.db.read() as conn:
        rows = queries.default_rules(conn)
    return {"security_group_default_rules": [_view(row) for row in rows]}


def create(call: Call) -> dict[str, Any]:
    """POST /os-security-group-default-rules. Raises BadRequest, Conflict (there is one like it)."""
    given = call.body["security_group_default_rule"]
    wanted = read_rule({name: value for name, value in given.items() if name != "group_id"})
    if wanted is None:
        raise errors.BadRequest("Not enough parameters to build a valid rule.")
    columns = {
        "protocol": str(given["ip_protocol"]),  # as it was written: the reference shows capitals
        "port_min": -1 if wanted["port_min"] is None else wanted["port_min"],
        "port_max": -1 if wanted["port_max"] is None else wanted["port_max"],
        "cidr": wanted["remote_cidr"],
    }
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "default rules")
        known = queries.default_rules(conn)
        if any(_same(row, columns) for row in known):
            raise errors.Conflict("This default rule already exists.")
        if len(known) >= _MANY:
            raise errors.QuotaExceeded(f"Quota exceeded, too many default rules. ({_MANY})")
        key = queries.insert_default_rule(conn, **columns)
        row = next(row for row in queries.default_rules(conn) if row.id == key)
    return {"security_group_default_rule": _view(row)}


def _same(row: Any, columns: dict[str, Any]) -> bool:
    return bool(
        row.protocol.lower() == columns["protocol"].lower()
        and all(getattr(row, name) == columns[name] for name in ("port_min", "port_max", "cidr"))
    )


def _key(call: Call) -> int:
    text = call.params["rule_id"]
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise errors.BadRequest("Security group id should be integer")
    return int(text)


def _missing(key: int) -> errors.NotFound:
    return errors.NotFound(f"Security group default rule ({key}) not found.")


def show(call: Call) -> dict[str, Any]:
    """GET /os-security-group-default-rules/{id}."""
    key = _key(call)
    with call.services.db.read() as conn:
        row = next((row for row in queries.default_rules(conn) if row.id == key), None)
    if row is None:
        raise _missing(key)
    return {"security_group_default_rule": _view(row)}


def delete(call: Call) -> None:
    """DELETE /os-security-group-default-rules/{id}."""
    key = _key(call)
    with call.services.db.write() as conn:
        if not queries.delete_default_rule(conn, key):
            raise _missing(key)
