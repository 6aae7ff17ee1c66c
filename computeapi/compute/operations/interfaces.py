# SPDX-License-Identifier: Apache-2.0
"""Plugging an interface into a guest and out of it, and bringing the host's promises to what the rows say."""

from __future__ import annotations

from sqlalchemy import Connection

from computeapi.compute import guest
from computeapi.compute.operation import Operation, Step, Work
from computeapi.compute.operations import remote
from computeapi.compute.operations.build import plug
from computeapi.db.queries import interfaces
from computeapi.db.queries.addresses import Nic


def _nic(work: Work) -> Nic | None:
    """The interface that the work is about; None where it is gone."""
    wanted = work.entry.payload.get("port_id")
    return next((nic for nic in guest.nics(work) if nic.port_id == wanted), None)


def attach(work: Work) -> None:
    """The guest has the interface, now and after its next start."""
    nic = _nic(work)
    if nic is not None:
        work.driver.attach_nic(work.server.uuid, guest.nic_spec(work, nic))


def detach(work: Work) -> None:
    """The guest has the interface no more."""
    nic = _nic(work)
    if nic is not None:
        work.driver.detach_nic(work.server.uuid, nic.mac)


def forget(work: Work) -> None:
    """The network promises the interface nothing any more."""
    nic = _nic(work)
    if nic is None:
        return
    if work.tools.neutron is not None:
        remote.let_go(work, nic.port_id)
    else:
        work.driver.remove_dhcp_host(guest.network_name(nic.network_uuid), nic.mac)


def settle(work: Work) -> None:
    """The networks promise each interface the address it has now, and none to those that have none."""
    plug(work)
    if work.tools.neutron is not None:
        remote.refresh(work)
        return
    for nic in guest.nics(work):
        if nic.v4 is None:
            work.driver.remove_dhcp_host(guest.network_name(nic.network_uuid), nic.mac)


def let_go(conn: Connection, work: Work) -> None:
    """The rows, in the transaction that ends the work."""
    interfaces.let_go(conn, work.server.id, str(work.entry.payload.get("port_id")))


ATTACH = Operation((Step("network", plug, forget), Step("attach", attach, detach)), failed=let_go)
DETACH = Operation((Step("detach", detach), Step("network", forget)), finished=let_go)
RESET_NETWORK = Operation((Step("network", settle),))
