# SPDX-License-Identifier: Apache-2.0
"""A server's ports in a real Neutron: made, bound to this host, let go, and looked at again; each may run again.

What Neutron answers is kept in the rows (`db.queries.network_cache`), and everything else reads those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, select

from computeapi import errors, journal
from computeapi.backends.network import ports
from computeapi.compute.operation import Cancelled, Tools, Work
from computeapi.db.models import Server
from computeapi.db.queries import network_cache
from computeapi.db.queries.network_cache import Known, Place, RemotePort

_AT_ONCE = 20  # servers
_LOOK_SECONDS = 1.0  # between looks whether interfaces are plugged


def make(work: Work) -> None:
    """The ports that came with the request are the server's, here; and the rows say so."""
    neutron = work.tools.neutron
    wanted = [ports.Wanted(**each) for each in work.entry.payload.get("interfaces") or ()]
    if neutron is None or not wanted:
        return
    server, there = work.server, ports.of_server(neutron, work.server.uuid, work.context)
    made, places = [], {}
    for position, each in enumerate(wanted):  # a server's
        work.check_cancelled()
        port = ports.make(
            neutron,
            each,
            there,
            server_uuid=server.uuid,
            project_id=server.project_id,
            zone=server.availability_zone,
            host=work.tools.host,
            groups=work.entry.payload.get("groups"),
            context=work.context,
        )
        made.append(port)
        places[port["id"]] = Place(position, bool(each.port_id))
    _remember(work, ports.describe(neutron, made, work.context), places)


def bind(work: Work, host: str, *, surely: bool = True) -> None:
    """The server's ports are bound to that host ("": to none). Where the rows say so Neutron is not asked.

    `surely`: raises Conflict where no agent there can.
    """
    neutron, mine = work.tools.neutron, _known(work)
    if neutron is None or all((port.host or "") == host for port in mine):
        return
    ours = {port.id for port in mine}
    bound = []
    for port in ports.of_server(neutron, work.server.uuid, work.context):  # a server's
        if port["id"] not in ours:
            continue
        if surely:
            bound.append(ports.bind(neutron, port, host, work.context))
        else:
            values = {"binding:host_id": host}
            bound.append(neutron.update(work.context, "port", port["id"], values, as_service=True))
    _remember(work, ports.describe(neutron, bound, work.context))


def let_go_all(work: Work) -> None:
    """No port is the server's: ours are gone, its user's are nobody's. The rows go where the work lands."""
    if work.tools.neutron is not None:
        kept = [port.id for port in _known(work) if port.preserve]
        ports.let_go_all(work.tools.neutron, work.server.uuid, kept, work.context)


def let_go(work: Work, port_id: str) -> None:
    """The same with one that the guest has lost."""
    known = next((port for port in _known(work) if port.id == port_id), None)
    if work.tools.neutron is None or known is None:
        return
    if known.preserve:
        ports.unbind(work.tools.neutron, port_id, work.context)
    else:
        ports.remove(work.tools.neutron, port_id, work.context)


def refresh(work: Work) -> None:
    """The rows say what Neutron says now."""
    _remember(work, look(work))


def on_event(work: Work) -> None:
    """The same, as a question that nobody waits for: whatever else is being done to the server."""
    said = look(work)
    with work.tools.db.write() as conn:
        _lock(conn, work)
        network_cache.store(conn, work.server.id, said)


def look(work: Work) -> list[RemotePort]:
    """What Neutron says of the server's ports."""
    neutron = work.tools.neutron
    if neutron is None:
        return []
    return ports.describe(neutron, ports.of_server(neutron, work.server.uuid, work.context), work.context)


def look_again(tools: Tools) -> int:
    """What Neutron says of some of this host's servers is written anew, in turn: an event may have been lost. Of how
    many."""
    if tools.neutron is None:
        return 0
    with tools.db.write() as conn:
        chosen = network_cache.longest_ago(conn, tools.host, _AT_ONCE)
    found = tools.neutron.find(ports.NOBODY, "port", {"device_id": sorted(chosen)}, as_service=True)
    owner = {port["id"]: port["device_id"] for port in found}
    said: dict[str, list[RemotePort]] = {}
    for port in ports.describe(tools.neutron, found):
        said.setdefault(owner[port.id], []).append(port)
    for server_uuid, theirs in said.items():  # a few
        with tools.db.write() as conn:
            key = chosen[server_uuid]
            conn.execute(select(Server.id).where(Server.id == key).with_for_update())
            network_cache.store(conn, key, theirs)
    return len(said)


def wait_until_plugged(work: Work) -> None:
    """Neutron has the interfaces of a guest that was started up, as far as the settings wait for that.

    Raises Conflict where it does not, and that is fatal.
    """
    settings = work.tools.settings
    if work.tools.neutron is None or not settings.vif_plugging_timeout:
        return

    def plugged() -> bool:
        return all(port.status == "ACTIVE" for port in look(work) if port.admin_state_up)

    if not work.wait(plugged, settings.vif_plugging_timeout, _LOOK_SECONDS) and settings.vif_plugging_is_fatal:
        raise errors.Conflict("Virtual Interface creation failed")
    refresh(work)


def _known(work: Work) -> list[Known]:
    with work.tools.db.read() as conn:
        return network_cache.known(conn, work.server.id)


def _remember(work: Work, said: Sequence[RemotePort], places: Mapping[str, Place] | None = None) -> None:
    """Raises Fenced; and Cancelled where delete waits: that asks Neutron itself what there is."""
    with work.tools.db.write() as conn:
        _lock(conn, work)
        if journal.hold(conn, work.entry):
            raise Cancelled
        network_cache.store(conn, work.server.id, said, places)


def _lock(conn: Connection, work: Work) -> Any:
    return conn.execute(select(Server.id).where(Server.id == work.server.id).with_for_update()).first()
