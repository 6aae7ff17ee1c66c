# SPDX-License-Identifier: Apache-2.0
"""The networks that a host has made, beside those that there are and those that its servers need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from computeapi.compute import faults
from computeapi.compute.guest import network_name, network_specs
from computeapi.compute.operation import Tools
from computeapi.db.queries import host_networks, network_changes
from computeapi.db.queries.host_faults import NETWORKS
from computeapi.db.queries.host_networks import Interface
from computeapi.virt.base import DhcpHost, HypervisorError, HypervisorGone, NetworkSpec


def forget_deleted(tools: Tools) -> int:
    """Take the host's networks away that were deleted: their addresses may be another's by now. How many went.

    Those that others made have names that are not made of their ids, and stay.
    """
    ours = {uuid: name for name, uuid in tools.driver.list_networks().items() if name == network_name(uuid)}
    with tools.db.read() as conn:
        gone = ours.keys() - network_changes.existing(conn, list(ours)) if ours else set()
    for uuid in gone:
        tools.driver.remove_network(ours[uuid])
    return len(gone)


def put_back(tools: Tools) -> int:
    """The networks of this host's servers are there again, with their promises, uplinks and guests' devices, whatever
    befell them (a restart of the host or of libvirtd, somebody's hand). How many can't be.

    Raises HypervisorGone, Fenced.
    """
    if tools.neutron is not None:
        return 0  # its agent has them
    with tools.db.read() as conn:
        found = host_networks.interfaces(conn, tools.host)
    here: dict[str, list[Interface]] = {}
    for interface in found:
        here.setdefault(interface.network_uuid, []).append(interface)
    failed: dict[str, str] = {}
    for uuid, spec in network_specs(tools, here).items():
        try:
            tools.driver.ensure_network(_with_guests(spec, here[uuid]))
        except HypervisorGone:
            raise
        except HypervisorError as error:  # the others shall not wait for this one
            failed[f"network {uuid}"] = str(error)
    faults.note(tools, NETWORKS, failed)
    return len(failed)


def _with_guests(spec: NetworkSpec, interfaces: Sequence[Interface]) -> NetworkSpec:
    promised: dict[str, DhcpHost] = {}
    for each in interfaces:
        if each.address and each.cidr == spec.cidr:
            promised.setdefault(each.mac, DhcpHost(each.mac, each.address, each.hostname))
    taps = dict.fromkeys("tap" + each.port_uuid[:11] for each in interfaces)
    return replace(spec, hosts=tuple(promised.values()) if spec.dhcp else (), taps=tuple(taps))
