# SPDX-License-Identifier: Apache-2.0
"""os-floating-ips and os-floating-ip-pools where the networks are a real Neutron's.

Codes and sentences: nova/api/openstack/compute/floating_ips.py and nova/network/neutronv2/api.py. The server actions
are in `remote_interfaces`.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from computeapi import errors
from computeapi.api.compute import remote_interfaces
from computeapi.api.compute.remote_calls import neutron_of
from computeapi.endpoint import Call

Json = dict[str, Any]

_EXHAUSTED = ("IpAddressGenerationFailure", "ExternalIpAddressExhausted")

# --- view ---


def _views(call: Call, found: Sequence[Json]) -> list[Json]:
    """Each with its pool's name and its server, which Neutron is asked for once."""
    neutron = neutron_of(call)
    pools = {each["floating_network_id"] for each in found}
    ports = {each["port_id"] for each in found if each["port_id"]}
    names = {each["id"]: each["name"] for each in neutron.find(call.context, "network", {"id": sorted(pools)})}
    fields = ("device_id",)
    users = neutron.find(call.context, "port", {"id": sorted(ports)}, fields=fields)
    servers = {each["id"]: each["device_id"] or None for each in users}
    return [
        {
            "id": each["id"],
            "ip": each["floating_ip_address"],
            "fixed_ip": each["fixed_ip_address"],
            "instance_id": servers.get(each["port_id"]),
            "pool": names.get(each["floating_network_id"]) or each["floating_network_id"],
        }
        for each in found
    ]


# --- handlers ---


def _find(call: Call) -> Json:
    identifier = call.params["floating_ip_id"]
    try:
        return neutron_of(call).show(call.context, "floatingip", identifier)
    except errors.NotFound:
        raise errors.NotFound(f"Floating IP not found for ID {identifier}") from None


def index(call: Call) -> Json:
    """GET /os-floating-ips: the project's."""
    found = neutron_of(call).find(call.context, "floatingip", {"project_id": call.project_id})
    return {"floating_ips": _views(call, found)}


def show(call: Call) -> Json:
    """GET /os-floating-ips/{id}."""
    return {"floating_ip": _views(call, [_find(call)])[0]}


def create(call: Call) -> Json:
    """POST /os-floating-ips: any address of a pool. Raises NotFound (the pool, or an address), QuotaExceeded."""
    name = (call.body or {}).get("pool")
    pool = _pool(call, name or call.services.settings.default_floating_pool)
    try:
        made = neutron_of(call).create(call.context, "floatingip", {"floating_network_id": pool})
    except errors.QuotaExceeded:
        where = f" in pool {name}" if name else ""
        raise errors.QuotaExceeded(f"IP allocation over quota{where}.") from None
    except errors.Conflict as error:
        if error.kind not in _EXHAUSTED:
            raise errors.BadRequest(error.message) from None
        raise errors.NotFound(f"No more floating IPs {f'in pool {name}' if name else 'available'}.") from None
    return {"floating_ip": _views(call, [made])[0]}


def _pool(call: Call, name: str) -> str:
    """The id of an external network, by its name or id. Raises NotFound, and BadRequest where several have it."""
    by = "id" if _is_uuid(name) else "name"
    found = neutron_of(call).find(call.context, "network", {"router:external": True, by: name}, fields=("id",))
    if not found:
        raise errors.NotFound("Floating IP pool not found.")
    if len(found) > 1:
        raise errors.BadRequest(f"Multiple floating IP pools matches found for name '{name}'")
    return str(found[0]["id"])


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def delete(call: Call) -> None:
    """DELETE /os-floating-ips/{id}: a server that has it has it no more."""
    found = _find(call)
    neutron_of(call).delete(call.context, "floatingip", found["id"])
    if found["port_id"]:
        remote_interfaces.forget(call, found["port_id"])


def pools(call: Call) -> Json:
    """GET /os-floating-ip-pools."""
    found = neutron_of(call).find(call.context, "network", {"router:external": True}, fields=("name",))
    return {"floating_ip_pools": [{"name": each["name"] or each["id"]} for each in found]}
