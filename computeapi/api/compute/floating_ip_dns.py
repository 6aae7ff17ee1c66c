# SPDX-License-Identifier: Apache-2.0
"""os-floating-ip-dns: domains and names, answered by the networks' own resolvers on every host. Up to 2.35.

Keys, checks and sentences: Nova before it dropped nova-network (nova/api/openstack/compute/floating_ip_dns.py); codes:
the reference. A domain of a project is seen and filled by that project alone.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Any

from sqlalchemy import Connection

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.api.network.common import is_admin
from computeapi.db.queries import dns as queries
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule

LAST = "2.35"
DNS = "os_compute_api:os-floating-ip-dns"
_DOMAIN, _ENTRY = "/os-floating-ip-dns/{domain}", "/os-floating-ip-dns/{domain}/entries/{name}"

RULES = [
    rule(
        DNS,
        PROJECT_READER,
        "See DNS domains and entries.",
        ("GET", "/os-floating-ip-dns"),
        ("GET", "/os-floating-ip-dns/{domain}/entries"),
        ("GET", _ENTRY),
    ),
    rule(f"{DNS}:domain:update", ADMIN, "Make and change DNS domains.", ("PUT", _DOMAIN)),
    rule(f"{DNS}:domain:delete", ADMIN, "Delete DNS domains.", ("DELETE", _DOMAIN)),
    rule(f"{DNS}:entry:update", PROJECT_MEMBER, "Make and change DNS entries.", ("PUT", _ENTRY)),
    rule(f"{DNS}:entry:delete", PROJECT_MEMBER, "Delete DNS entries.", ("DELETE", _ENTRY)),
]

# --- schemas ---

_PROJECT: p.Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": "^[a-zA-Z0-9-]*$"}
UPDATE_DOMAIN = p.wrapped(
    "domain_entry",
    p.obj(
        {
            "scope": {"type": "string", "enum": ["public", "private"]},
            "project": {"oneOf": [_PROJECT, {"type": "null"}]},
            "availability_zone": {"oneOf": [p.name, {"type": "null"}]},
        },
        "scope",
    ),
)
_ADDRESS: p.Schema = {"type": "string", "oneOf": [{"format": "ipv4"}, {"format": "ipv6"}], "pattern": "^[^%]*$"}
UPDATE_ENTRY = p.wrapped(
    "dns_entry", p.obj({"ip": _ADDRESS, "dns_type": {"type": "string", "enum": ["a", "A"]}}, "ip", "dns_type")
)

ENTRIES_QUERY = p.query({"ip": _ADDRESS})

_LABELS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")

# --- view ---


def _domain_view(name: str, scope: str, project: str | None, zone: str | None) -> dict[str, Any]:
    return {"domain": name, "scope": scope, "project": project, "availability_zone": zone}


def _entry_view(domain: str, name: str, address: str, kind: str | None = None) -> dict[str, Any]:
    return {"id": None, "domain": domain, "name": name, "ip": address, "type": kind}


# --- handlers ---


def _name(call: Call, param: str) -> str:
    """A DNS name of the URL's. Clients write its dots as %2E, once more quoted. Raises BadRequest."""
    text = call.params[param].replace("%2E", ".").replace("%2e", ".")
    if len(text) > 253 or not _LABELS.fullmatch(text):
        raise errors.BadRequest(f"{text[:253]} is not a DNS name")
    return text.lower()


def _scope(call: Call) -> str | None:
    return None if is_admin(call) else call.project_id


def _load(call: Call, conn: Connection) -> Any:
    name = _name(call, "domain")
    found = queries.domain(conn, name, _scope(call))
    if found is None:
        raise errors.NotFound(f"The DNS domain {name} could not be found.")
    return found


def index(call: Call) -> dict[str, Any]:
    """GET /os-floating-ip-dns."""
    with call.services.db.read() as conn:
        rows = queries.domains(conn, _scope(call))
    return {
        "domain_entries": [_domain_view(row.domain, row.scope, row.project_id, row.availability_zone) for row in rows]
    }


def update_domain(call: Call) -> dict[str, Any]:
    """PUT /os-floating-ip-dns/{domain}."""
    given, name = call.body["domain_entry"], _name(call, "domain")
    scope, project, zone = given["scope"], given.get("project"), given.get("availability_zone")
    if scope == "private" and project:
        raise errors.BadRequest("you can not pass project if the scope is private")
    if scope == "public" and zone:
        raise errors.BadRequest("you can not pass av_zone if the scope is public")
    with call.services.db.write() as conn:
        call.services.db.lock(conn, "DNS domains")
        queries.put_domain(conn, name, scope=scope, project_id=project, availability_zone=zone)
    return {"domain_entry": _domain_view(name, scope, project, zone)}


def delete_domain(call: Call) -> None:
    """DELETE /os-floating-ip-dns/{domain}."""
    with call.services.db.write() as conn:
        queries.delete_domain(conn, _load(call, conn).id)


def entries(call: Call) -> dict[str, Any]:
    """GET /os-floating-ip-dns/{domain}/entries: as novaclient asks, those of an address with ?ip=."""
    address = call.first("ip")
    with call.services.db.read() as conn:
        domain = _load(call, conn)
        found = queries.entries_of(conn, domain.id, address and str(ipaddress.ip_address(address)))
    return {"dns_entries": [_entry_view(domain.domain, row.name, row.address) for row in found]}


def show(call: Call) -> dict[str, Any]:
    """GET /os-floating-ip-dns/{domain}/entries/{name}: the name's entry, or the list of an address's."""
    try:
        address: str | None = str(ipaddress.ip_address(call.params["name"]))
    except ValueError:
        address = None
    with call.services.db.read() as conn:
        domain = _load(call, conn)
        if address is not None:
            found = queries.entries_of(conn, domain.id, address)
        else:
            one = queries.entry(conn, domain.id, _name(call, "name"))
            found = [one] if one else []
    if not found:
        raise errors.NotFound("DNS entries not found.")
    shown = [_entry_view(domain.domain, row.name, row.address) for row in found]
    return {"dns_entries": shown} if address is not None else {"dns_entry": shown[0]}


def update_entry(call: Call) -> dict[str, Any]:
    """PUT /os-floating-ip-dns/{domain}/entries/{name}. Raises Forbidden where the name is another project's."""
    name, given = _name(call, "name"), call.body["dns_entry"]
    address = str(ipaddress.ip_address(given["ip"]))
    with call.services.db.write() as conn:
        domain = _load(call, conn)
        _check_owner(call, queries.entry(conn, domain.id, name))
        queries.put_entry(conn, domain.id, name, address, call.project_id)
    return {"dns_entry": _entry_view(domain.domain, name, address, given["dns_type"])}


def delete_entry(call: Call) -> None:
    """DELETE /os-floating-ip-dns/{domain}/entries/{name}."""
    name = _name(call, "name")
    with call.services.db.write() as conn:
        found = queries.entry(conn, _load(call, conn).id, name)
        if found is None:
            raise errors.NotFound("DNS entries not found.")
        _check_owner(call, found)
        queries.delete_entry(conn, found.id)


def _check_owner(call: Call, found: Any | None) -> None:
    if found is not None and found.project_id != call.project_id and not is_admin(call):
        raise errors.Forbidden("The DNS entry is another project's.")
