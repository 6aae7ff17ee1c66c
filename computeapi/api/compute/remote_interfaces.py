# SPDX-License-Identifier: Apache-2.0
"""Interfaces, addresses, security groups and floating IPs of a server, where the networks are a real Neutron's.

What changes is asked for with the user's own token, but for the port that a server gets; then the rows are written
anew, with the work for the server's host. Codes and sentences are those of the embedded network's handlers, which call
these. nova/network/neutron.py says what is asked for in which order.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import Connection

from computeapi import errors, lifecycle
from computeapi.api.compute.remote_calls import neutron_of
from computeapi.backends.network import ports
from computeapi.backends.network.ports import NO_SECURITY, Json, Wanted
from computeapi.db.queries import addresses, interfaces, network_cache, servers
from computeapi.db.queries.addresses import Nic
from computeapi.db.queries.network_cache import Place, RemotePort
from computeapi.db.queries.servers import ServerRow
from computeapi.endpoint import Call


def _look(call: Call, server_uuid: str) -> list[RemotePort]:
    """What Neutron says of the server's ports now."""
    return ports.describe(neutron_of(call), ports.of_server(neutron_of(call), server_uuid, call.context), call.context)


@contextmanager
def _remembered(call: Call, server: ServerRow) -> Iterator[Connection]:
    """The transaction that writes down what Neutron says of a server now; in it the row is locked."""
    said = _look(call, server.uuid)
    with call.services.db.write() as conn:
        if servers.lock_row(conn, server.id) is None:
            raise errors.NotFound(f"Instance {server.uuid} could not be found.")
        network_cache.store(conn, server.id, said)
        yield conn


def _nics(call: Call) -> list[Nic]:
    with call.services.db.read() as conn:
        return addresses.nics(conn, call.target.id)


# --- attach ---


def attach(call: Call, network_id: str | None, port_id: str | None, fixed_ip: str | None) -> str:
    """A server gets an interface more; the port's id. Raises 4xx errors."""
    server = call.target
    lifecycle.check(call.services, call.context, server, "attach_interface")
    if server.host is None:
        raise errors.Conflict(f"Instance {server.uuid} is not ready")
    wanted = _wanted(call, network_id, port_id, fixed_ip)
    try:
        port = ports.make(
            neutron_of(call),
            wanted,
            (),
            server_uuid=server.uuid,
            project_id=server.project_id,
            zone=server.availability_zone,
            host=server.host,
            context=call.context,
        )
        said = _look(call, server.uuid)
        with call.services.db.write() as conn:
            servers.lock_row(conn, server.id)
            place = Place(interfaces.next_position(conn, server.id), bool(wanted.port_id))
            network_cache.store(conn, server.id, said, {port["id"]: place})
            payload = {"port_id": port["id"]}
            lifecycle.begin(conn, call.services, call.context, server, "attach_interface", payload)
    except BaseException:
        _give_back(call, wanted)
        raise
    return str(port["id"])


def _wanted(call: Call, network_id: str | None, port_id: str | None, fixed_ip: str | None) -> Wanted:
    neutron, project_id = neutron_of(call), call.target.project_id
    if not network_id and not port_id:
        try:
            found = ports.only_network(neutron, call.context, project_id)
        except errors.Conflict as error:
            raise errors.BadRequest(error.message) from None
        if not found:
            raise errors.BadRequest(
                f"No specific network was requested and none are available for project '{project_id}'."
            )
    else:
        try:
            found = ports.choose(neutron, call.context, [(network_id, fixed_ip, port_id)], project_id)
        except ports.AddressTaken as error:
            raise errors.Conflict(error.message) from None
    if not port_id:
        ports.check_quota(neutron, call.context, project_id, 1)
    return found[0]


def _give_back(call: Call, wanted: Wanted) -> None:
    """What was asked of Neutron is not wanted after all. Where it is away, the server's delete sees to it."""
    neutron, server = neutron_of(call), call.target
    with suppress(errors.Error):
        for port in ports.of_server(neutron, server.uuid, call.context):
            if ports.key_of(port) == wanted.key:
                ports.remove(neutron, port["id"], call.context)
            elif port["id"] == wanted.port_id:
                ports.unbind(neutron, port["id"], call.context)


# --- addresses ---


def add_fixed_ip(call: Call) -> None:
    """addFixedIp: another address for the server's interface on a network. Raises NotFound, BadRequest (exhausted)."""
    network_id, server, neutron = str(call.body["addFixedIp"]["networkId"]), call.target, neutron_of(call)
    lifecycle.check(call.services, call.context, server, "add_fixed_ip")
    nic = next((nic for nic in _nics(call) if nic.network_uuid == network_id), None)
    if nic is None:
        raise errors.NotFound(f"Network {network_id} could not be found for instance {server.uuid}.")
    port = neutron.show(call.context, "port", nic.port_id)
    subnets = neutron.find(call.context, "subnet", {"network_id": network_id}, fields=("ip_version",))
    chosen = [each for each in subnets if each["ip_version"] == 4] or subnets
    for each in chosen:  # of a network
        fixed = [*port["fixed_ips"], {"subnet_id": each["id"]}]
        with suppress(errors.Conflict, errors.BadRequest):
            neutron.update(call.context, "port", port["id"], {"fixed_ips": fixed})
            break
    else:
        raise errors.BadRequest(f"No fixed IP addresses available for network: {network_id}")
    with _remembered(call, server) as conn:
        lifecycle.begin(conn, call.services, call.context, server, "add_fixed_ip")


def remove_fixed_ip(call: Call) -> None:
    """removeFixedIp: one address less. Raises BadRequest for one that the server does not have."""
    address, server, neutron = call.body["removeFixedIp"]["address"], call.target, neutron_of(call)
    lifecycle.check(call.services, call.context, server, "remove_fixed_ip")
    nic = next((nic for nic in _nics(call) if any(item.address == address for item in nic.addresses)), None)
    if nic is None:
        raise errors.BadRequest(f"Fixed IP address {address} not found for instance {server.uuid}.")
    port = neutron.show(call.context, "port", nic.port_id)
    left = [item for item in port["fixed_ips"] if item["ip_address"] != address]
    neutron.update(call.context, "port", port["id"], {"fixed_ips": left})
    with _remembered(call, server) as conn:
        lifecycle.begin(conn, call.services, call.context, server, "remove_fixed_ip")


# --- security groups ---


def change_group(call: Call, action: str, name: str, *, add: bool) -> None:
    """A security group holds for all of the server's interfaces, or for none. Raises NotFound, BadRequest."""
    server, neutron = call.target, neutron_of(call)
    group = ports.one_group(neutron, call.context, server.project_id, name)
    mine = neutron.find(call.context, "port", {"device_id": server.uuid})
    if not mine:
        raise errors.NotFound(f"instance_id {server.uuid} could not be found as device id on any ports")
    if add and not all(port.get("port_security_enabled", True) and port.get("fixed_ips") for port in mine):
        raise errors.BadRequest(NO_SECURITY)
    changed = [port for port in mine if (group in port["security_groups"]) is not add]
    if not add and not changed:
        raise errors.NotFound(f"Security group {name} not associated with the instance {server.uuid}")
    for port in changed:  # a server's
        kept = [each for each in port["security_groups"] if each != group]
        values = {"security_groups": [*kept, group] if add else kept}
        neutron.update(call.context, "port", port["id"], values)
    with _remembered(call, server) as conn:
        lifecycle.record(conn, call.context, call.target, action)


def groups_of_server(call: Call) -> list[Json]:
    """The security groups of the server's interfaces, as Neutron shows them now."""
    neutron = neutron_of(call)
    mine = neutron.find(call.context, "port", {"device_id": call.target.uuid}, fields=("security_groups",))
    ids = sorted({group for port in mine for group in port["security_groups"]})
    return neutron.find(call.context, "security_group", {"id": ids})


# --- floating IPs ---


def _floating(call: Call, address: str) -> Json:
    found = neutron_of(call).find(call.context, "floatingip", {"floating_ip_address": address})
    if not found:
        raise errors.NotFound("floating IP not found")
    return found[0]


def add_floating_ip(call: Call, port_id: str, fixed_address: str, address: str) -> None:
    """A floating IP is for that address of a server's port; whoever had it has it no more."""
    floating = _floating(call, address)
    values = {"port_id": port_id, "fixed_ip_address": fixed_address}
    try:
        neutron_of(call).update(call.context, "floatingip", floating["id"], values)
    except (errors.Conflict, errors.NotFound) as error:
        raise errors.BadRequest(error.message) from None
    if floating.get("port_id") and floating["port_id"] != port_id:
        forget(call, floating["port_id"])
    with _remembered(call, call.target) as conn:
        lifecycle.record(conn, call.context, call.target, "addFloatingIp")


def remove_floating_ip(call: Call) -> None:
    """removeFloatingIp: it is for no address. Raises Conflict where the server does not have it."""
    address = call.body["removeFloatingIp"]["address"]
    floating = _floating(call, address)
    if floating.get("port_id") not in {nic.port_id for nic in _nics(call)}:
        raise errors.Conflict(f"Floating IP {address} is not associated with instance {call.target.uuid}.")
    neutron_of(call).update(call.context, "floatingip", floating["id"], {"port_id": None})
    with _remembered(call, call.target) as conn:
        lifecycle.record(conn, call.context, call.target, "removeFloatingIp")


def forget(call: Call, port_id: str) -> None:
    """The server (another than the URL names) that had a floating IP before shows it no more."""
    with call.services.db.read() as conn:
        server = interfaces.server_with(conn, port_id)
    if server is not None and (call.target is None or server.id != call.target.id):
        with _remembered(call, server):
            pass
