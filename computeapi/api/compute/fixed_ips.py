# SPDX-License-Identifier: Apache-2.0
"""os-fixed-ips: one address, who has it, and whether it is kept back. Up to 2.35; administrators only."""

from __future__ import annotations

import ipaddress
from typing import Any

from computeapi import errors
from computeapi.api import parameters as p
from computeapi.db.queries import addresses
from computeapi.db.queries import nova_networks as queries
from computeapi.endpoint import Call, Endpoint, endpoint
from computeapi.policy import ADMIN, rule

LAST = "2.35"
FIXED_IPS = "os_compute_api:os-fixed-ips"
RULES = [
    rule(FIXED_IPS, ADMIN, "Show, reserve and release fixed IPs.", ("GET", "/os-fixed-ips/{fixed_ip}")),
]


def address_of(call: Call) -> str:
    """The address in the URL, in its canonical form. Raises BadRequest."""
    text = call.params["fixed_ip"]
    try:
        if "%" in text:
            raise ValueError
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise errors.BadRequest(f"Fixed IP address {text} is invalid.") from None


def not_found(address: str) -> errors.NotFound:
    """What Nova says of an address that no network has."""
    return errors.NotFound(f"Fixed IP not found for address {address}.")


def show(call: Call) -> dict[str, Any]:
    """GET /os-fixed-ips/{fixed_ip}: also of one that nobody has or had."""
    address = address_of(call)
    with call.services.db.read() as conn:
        row = queries.fixed_ip(conn, address)
        if row is not None:
            cidr, host, hostname = row.cidr, row.host, row.hostname
        else:
            found = queries.subnet_with(conn, address)
            if found is None:
                raise not_found(address)
            cidr, host, hostname = found[1], None, None
    return {"fixed_ip": {"address": address, "cidr": cidr, "host": host, "hostname": hostname}}


def reserve(call: Call) -> None:
    """The address is given to nobody."""
    address = address_of(call)
    with call.services.db.write() as conn:
        row = queries.fixed_ip(conn, address)
        if row is not None:
            queries.set_reserved(conn, row.id, reserved=True, used=row.port_id is not None)
            return
        found = queries.subnet_with(conn, address)
        if found is None:
            raise not_found(address)
        addresses.take_address(conn, found[0], None, address)


def unreserve(call: Call) -> None:
    """The address may be given out. A gateway's never is. Raises BadRequest, NotFound."""
    address = address_of(call)
    with call.services.db.write() as conn:
        row = queries.fixed_ip(conn, address)
        if row is None:
            if queries.subnet_with(conn, address) is None:
                raise not_found(address)
            return
        if row.gateway == address:
            raise errors.BadRequest(f"Fixed IP {address} is the gateway of its network.")
        queries.set_reserved(conn, row.id, reserved=False, used=row.port_id is not None)


ACTIONS: dict[str, Endpoint] = {
    "reserve": endpoint(reserve, FIXED_IPS, body=p.wrapped("reserve", p.none), status=202, until=LAST),
    "unreserve": endpoint(unreserve, FIXED_IPS, body=p.wrapped("unreserve", p.none), status=202, until=LAST),
}
