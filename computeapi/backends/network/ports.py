# SPDX-License-Identifier: Apache-2.0
"""What a server needs of a real Neutron: which networks it may have, its ports made, bound, unbound and taken away.

A port that we make is found again by the server's id and a key of our own in its binding profile, which users neither
see nor change; so making it is find-or-create, and a port of the server's without such a key is one that its user made.
Sentences and order of checks: nova/network/neutron.py.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from computeapi import errors
from computeapi.context import Context
from computeapi.db.queries.network_cache import RemoteNetwork, RemotePort, RemoteSubnet

if TYPE_CHECKING:  # keystoneauth1 takes 0.3 s to import
    from computeapi.backends.network.neutron import Neutron

Json = dict[str, Any]
OWNER = "compute:"
KEY = "computeapi_key"  # in the binding profile
DEFAULT_GROUPS = ["default"]
PLUGGABLE = ("ovs", "bridge", "tap")
NO_SECURITY = "Network requires port_security_enabled and subnet associated in order to apply security groups."

NOBODY = Context("", "", None, frozenset())
_NETWORK = ("id", "name", "mtu", "project_id", "tenant_id", "shared")
_SUBNET = ("id", "cidr", "gateway_ip", "enable_dhcp", "dns_nameservers")


class AddressTaken(errors.BadRequest):
    """Fixed IP address is already in use."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One interface that a server is to have: the port that its user made, or one of our own on that network."""

    key: str
    network_id: str
    fixed_ip: str | None = None
    port_id: str | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """In the journal."""
        return asdict(self)


def new_keys(wanted: Iterable[Wanted]) -> list[Wanted]:
    """The same for another server."""
    return [Wanted(str(uuid.uuid4()), each.network_id, each.fixed_ip, each.port_id) for each in wanted]


# --- what may be ---


def available(neutron: Neutron, context: Context, project_id: str) -> list[Json]:
    """The networks that a project's servers get where none is named: its own and shared ones."""
    own = neutron.find(context, "network", {"tenant_id": project_id, "shared": False})
    shared = neutron.find(context, "network", {"shared": True})
    return list({each["id"]: each for each in [*own, *shared]}.values())


def choose(
    neutron: Neutron,
    context: Context,
    requested: Sequence[tuple[str | None, str | None, str | None]],
    project_id: str,
    *,
    guarded: bool = False,
) -> list[Wanted]:
    """(network, fixed IP, port) as a client asks for them, each looked at; `guarded`: with security groups.

    A port must be the server's project's: a network's owner and administrators see others' as well.

    Raises NotFound, BadRequest, Conflict, Forbidden.
    """
    ports = {port: _free_port(neutron, context, port, project_id) for _, _, port in requested if port}
    ids = [network or ports[port or ""]["network_id"] for network, _, port in requested]
    found = neutron.find(context, "network", {"id": sorted(set(ids))})
    networks = {each["id"]: each for each in found}
    for (network, fixed_ip, port), network_id in zip(requested, ids, strict=True):
        if port:
            _check_addresses(ports[port])
            continue
        if network_id not in networks:
            raise errors.NotFound(f"Network {network} could not be found.")
        check_network(context, networks[network_id], guarded=guarded)
        if fixed_ip:
            _check_fixed_ip(neutron, context, network_id, fixed_ip)
    return [
        Wanted(str(uuid.uuid4()), network_id, fixed_ip, port)
        for (_, fixed_ip, port), network_id in zip(requested, ids, strict=True)
    ]


def only_network(neutron: Neutron, context: Context, project_id: str, *, guarded: bool = False) -> list[Wanted]:
    """The one network that a project reaches; none where there is none. Raises Conflict where there are several."""
    networks = available(neutron, context, project_id)
    if len(networks) > 1:
        raise errors.Conflict("Multiple possible networks found, use a Network ID to be more specific.")
    for each in networks:
        check_network(context, each, guarded=guarded)
    return [Wanted(str(uuid.uuid4()), each["id"]) for each in networks]


def check_network(context: Context, network: Mapping[str, Any], *, guarded: bool = False) -> None:
    """Raise BadRequest where no server can be on it, Forbidden where this user's can't."""
    if network.get("router:external") and not network.get("shared") and not context.is_admin:
        raise errors.Forbidden(f"It is not allowed to create an interface on external network {network['id']}")
    if not network.get("subnets"):
        raise errors.BadRequest(f"Network {network['id']} requires a subnet in order to boot instances on.")
    if guarded and network.get("port_security_enabled") is False:
        raise errors.BadRequest(NO_SECURITY)


def check_quota(neutron: Neutron, context: Context, project_id: str, more: int) -> None:
    """Raise QuotaExceeded where the project may not have so many ports more."""
    most = neutron.show(context, "quota", project_id).get("port", -1) if more else -1
    if most >= 0 and most < more + len(neutron.find(context, "port", {"tenant_id": project_id}, fields=("id",))):
        raise errors.QuotaExceeded("Maximum number of ports exceeded")


def _free_port(neutron: Neutron, context: Context, port_id: str, project_id: str) -> Json:
    try:
        port = neutron.show(context, "port", port_id)
    except errors.NotFound:
        raise errors.NotFound(f"Port id {port_id} could not be found.") from None
    if (port.get("project_id") or port.get("tenant_id")) != project_id:
        raise errors.BadRequest(f"Port {port_id} not usable for a server of project {project_id}.")
    if port.get("device_id"):
        raise errors.Conflict(f"Port {port_id} is still in use.")
    return port


def _check_addresses(port: Mapping[str, Any]) -> None:
    if not port.get("fixed_ips") and port.get("ip_allocation") != "deferred":
        raise errors.BadRequest(f"Port {port['id']} requires a FixedIP in order to be used.")


def _check_fixed_ip(neutron: Neutron, context: Context, network_id: str, address: str) -> None:
    filters = {"network_id": network_id, "fixed_ips": f"ip_address={address}"}
    for port in neutron.find(context, "port", filters, fields=("device_id",)):
        raise AddressTaken(
            f"Fixed IP address {address} is already in use on instance {port.get('device_id') or port['id']}."
        )


def group_ids(neutron: Neutron, context: Context, project_id: str, names: Sequence[str]) -> list[str] | None:
    """The ids of security groups by name or id; None for the default one alone, which Neutron sees to.

    Raises NotFound, and Conflict for a name that several have.
    """
    if list(names) == DEFAULT_GROUPS or not names:
        return None
    groups = neutron.find(context, "security_group", {"tenant_id": project_id}, fields=("id", "name"))
    return [_one_group(groups, name, project_id)["id"] for name in names]


def one_group(neutron: Neutron, context: Context, project_id: str, name: str) -> str:
    """The id of a project's security group by name or id. Raises NotFound, Conflict (several)."""
    groups = neutron.find(context, "security_group", {"tenant_id": project_id}, fields=("id", "name"))
    return str(_one_group(groups, name, project_id)["id"])


def _one_group(groups: Sequence[Json], name: str, project_id: str) -> Json:
    found = [each for each in groups if each["id"] == name] or [each for each in groups if each["name"] == name]
    if not found:
        raise errors.NotFound(f"Security group {name} not found for project {project_id}.")
    if len(found) > 1:
        raise errors.Conflict(
            f"Multiple security_group matches found for name '{name}', use an ID to be more specific."
        )
    return found[0]


# --- ports, as the service user ---


def of_server(neutron: Neutron, server_uuid: str, context: Context = NOBODY) -> list[Json]:
    """All ports whose device is the server."""
    return neutron.find(context, "port", {"device_id": server_uuid}, as_service=True)


def key_of(port: Mapping[str, Any]) -> str:
    """Our own key of a port that we made; "" of others."""
    profile = port.get("binding:profile")
    return str(profile.get(KEY) or "") if isinstance(profile, dict) else ""


def make(
    neutron: Neutron,
    wanted: Wanted,
    there: Sequence[Json],
    *,
    server_uuid: str,
    project_id: str,
    zone: str | None,
    host: str,
    groups: Sequence[str] | None = None,
    context: Context = NOBODY,
) -> Json:
    """The port is the server's, on that host: made, or taken, where it is not among those that are `there`.

    Raises Conflict where its user gave it away meanwhile, where no agent binds it, and Neutron's own errors.
    """
    owner = {"device_id": server_uuid, "device_owner": OWNER + (zone or "nova"), "binding:host_id": host}
    if wanted.port_id:
        port = next((each for each in there if each["id"] == wanted.port_id), None)
        if port is None:
            port = neutron.show(context, "port", wanted.port_id, as_service=True)
            if port.get("device_id"):
                raise errors.Conflict(f"Port {wanted.port_id} is still in use.")
            port = neutron.update(context, "port", wanted.port_id, owner, as_service=True)
        return bind(neutron, port, host, context)
    port = next((each for each in there if key_of(each) == wanted.key), None)
    if port is not None:
        return bind(neutron, port, host, context)
    values: dict[str, Any] = {
        **owner,
        "network_id": wanted.network_id,
        "project_id": project_id,
        "tenant_id": project_id,
        "admin_state_up": True,
        "binding:profile": {KEY: wanted.key},
    }
    if wanted.fixed_ip:
        values["fixed_ips"] = [{"ip_address": wanted.fixed_ip}]
    if groups is not None:
        values["security_groups"] = list(groups)
    return checked(neutron.create(context, "port", values, as_service=True))


def bind(neutron: Neutron, port: Json, host: str, context: Context = NOBODY) -> Json:
    """The port is bound to that host. Raises Conflict where no agent of that host's can."""
    if port.get("binding:host_id") != host or port.get("binding:vif_type") in ("unbound", "binding_failed", None):
        port = neutron.update(context, "port", port["id"], {"binding:host_id": host}, as_service=True)
    return checked(port)


def checked(port: Json) -> Json:
    """Raise Conflict for a port that no guest here can be given."""
    kind = port.get("binding:vif_type") or "unbound"
    if kind in ("binding_failed", "unbound"):
        raise errors.Conflict(f"Binding failed for port {port['id']}, please check neutron logs for more information.")
    if kind not in PLUGGABLE:
        raise errors.Conflict(f"Port {port['id']} has the VIF type {kind}, which hosts here can't plug.")
    if (port.get("binding:vif_details") or {}).get("ovs_hybrid_plug"):
        raise errors.Conflict(
            f"Port {port['id']} is to be plugged through a bridge of its own (ovs_hybrid_plug), which hosts here don't "
            "make: use the agent's firewall driver openvswitch."
        )
    return port


def unbind(neutron: Neutron, port_id: str, context: Context = NOBODY) -> None:
    """A port that its user made is nobody's again; it may be gone."""
    values = {"device_id": "", "device_owner": "", "binding:host_id": ""}
    with suppress(errors.NotFound):
        neutron.update(context, "port", port_id, values, as_service=True)


def remove(neutron: Neutron, port_id: str, context: Context = NOBODY) -> None:
    """A port that we made is gone; so it may be."""
    with suppress(errors.NotFound):
        neutron.delete(context, "port", port_id, as_service=True)


def let_go_all(neutron: Neutron, server_uuid: str, kept: Iterable[str], context: Context = NOBODY) -> None:
    """Nothing is the server's any more: ports that we made are gone, those in `kept` and others are nobody's."""
    keep = set(kept)
    for port in of_server(neutron, server_uuid, context):  # a server's
        if key_of(port) and port["id"] not in keep:
            remove(neutron, port["id"], context)
        else:
            unbind(neutron, port["id"], context)


# --- what is remembered of them ---


def describe(neutron: Neutron, ports: Sequence[Json], context: Context = NOBODY) -> list[RemotePort]:
    """These ports with what is told elsewhere of their networks, subnets, security groups and floating IPs."""
    if not ports:
        return []
    networks = _by_id(neutron, context, "network", (port["network_id"] for port in ports), _NETWORK)
    fixed = [item for port in ports for item in port.get("fixed_ips") or ()]
    subnets = _by_id(neutron, context, "subnet", (item["subnet_id"] for item in fixed), _SUBNET)
    groups = _by_id(
        neutron, context, "security_group", (each for port in ports for each in _groups(port)), ("id", "name")
    )
    floating: dict[str, list[str]] = {}
    for each in _floating(neutron, context, [port["id"] for port in ports]):
        floating.setdefault(each["port_id"], []).append(each["floating_ip_address"])
    return [_describe(port, networks, subnets, groups, floating) for port in ports]


def _by_id(neutron: Neutron, context: Context, noun: str, ids: Iterable[str], fields: Sequence[str]) -> dict[str, Json]:
    wanted = sorted(set(ids))
    found = neutron.find(context, noun, {"id": wanted}, fields=fields, as_service=True)
    return {each["id"]: each for each in found}


def _floating(neutron: Neutron, context: Context, port_ids: list[str]) -> list[Json]:
    """None where Neutron has no routers (the extension is absent)."""
    with suppress(errors.NotFound):
        return neutron.find(
            context,
            "floatingip",
            {"port_id": port_ids},
            fields=("id", "port_id", "floating_ip_address"),
            as_service=True,
        )
    return []


def _groups(port: Mapping[str, Any]) -> list[str]:
    return list(port.get("security_groups") or ())


def _describe(
    port: Json,
    networks: Mapping[str, Json],
    subnets: Mapping[str, Json],
    groups: Mapping[str, Json],
    floating: Mapping[str, Sequence[str]],
) -> RemotePort:
    binding = {
        name.removeprefix("binding:"): port[name]
        for name in ("binding:host_id", "binding:vif_type", "binding:vif_details", "binding:vnic_type")
        if port.get(name)
    }
    return RemotePort(
        id=port["id"],
        network=_network(port["network_id"], networks.get(port["network_id"], {})),
        project_id=port.get("project_id") or port.get("tenant_id") or "",
        name=port.get("name") or "",
        mac=port["mac_address"].lower(),
        status=port.get("status") or "DOWN",
        revision=int(port.get("revision_number") or 0),
        device_owner=port.get("device_owner") or "",
        admin_state_up=bool(port.get("admin_state_up", True)),
        port_security=bool(port.get("port_security_enabled", True)),
        addresses=tuple(
            (item["ip_address"], _subnet(subnets.get(item["subnet_id"]))) for item in port.get("fixed_ips") or ()
        ),
        groups=tuple((each, groups.get(each, {}).get("name") or each) for each in _groups(port)),
        floating=tuple(sorted(floating.get(port["id"], ()))),
        binding=binding,
    )


def _network(network_id: str, network: Mapping[str, Any]) -> RemoteNetwork:
    owner = network.get("project_id") or network.get("tenant_id")
    return RemoteNetwork(
        network_id, network.get("name") or network_id, network.get("mtu"), owner, bool(network.get("shared"))
    )


def _subnet(subnet: Mapping[str, Any] | None) -> RemoteSubnet | None:
    if subnet is None:
        return None
    dns = tuple(subnet.get("dns_nameservers") or ())
    return RemoteSubnet(subnet["id"], subnet["cidr"], subnet.get("gateway_ip"), bool(subnet.get("enable_dhcp")), dns)
