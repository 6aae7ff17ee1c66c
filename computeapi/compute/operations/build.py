# SPDX-License-Identifier: Apache-2.0
"""Making a server on its host, and taking it away."""

from __future__ import annotations

from sqlalchemy import Connection, update

from computeapi import clock, lifecycle, scheduler, states
from computeapi.compute import base_image, guest
from computeapi.compute.operation import Operation, Step, Work
from computeapi.compute.operations import attachments, firewall, networks, remote, snapshot
from computeapi.db.models import Server
from computeapi.db.queries import addresses
from computeapi.states import PowerState


def fetch_image(work: Work) -> None:
    """The image's bytes are on this host, as the base of its servers' disks."""
    work.save(task_state=states.BLOCK_DEVICE_MAPPING)
    if work.server.image_id:
        base_image.ensure(work, work.server.image_id)


def make_disks(work: Work) -> None:
    """Root, ephemeral and swap disks."""
    for disk in guest.local_disks(work):
        work.driver.ensure_disk(disk.volume, disk.size_gb, disk.base)


def remove_disks(work: Work) -> None:
    """Every volume of this server."""
    work.driver.remove_volumes(guest.prefix(work.server.uuid))


def plug_new(work: Work) -> None:
    """The same as `plug`, seen from outside as a step of the build."""
    work.save(task_state=states.NETWORKING)
    if work.tools.neutron is not None:
        remote.make(work)
    else:
        plug(work)


def unplug_all(work: Work) -> None:
    """The server has no interfaces any more, here and in a real Neutron."""
    unplug(work)
    remote.let_go_all(work)


def plug(work: Work) -> None:
    """The networks are on this host and promise the server its addresses; the host filters what it gets and sends.

    Of a real Neutron that is its agent's to do on the host that the ports are bound to.
    """
    if work.tools.neutron is not None:
        remote.bind(work, work.tools.host)
        return
    networks.forget_deleted(work.tools)
    nics = guest.nics(work)
    specs = guest.network_specs(work.tools, [nic.network_uuid for nic in nics])
    for nic in nics:
        spec = specs[nic.network_uuid]
        work.driver.ensure_network(spec)
        for host in guest.dhcp_hosts(work, nic, spec):
            work.driver.ensure_dhcp_host(spec.name, host)
    firewall.guard(work)


def unplug(work: Work) -> None:
    """The networks promise this server nothing any more. A real Neutron's promise no host's servers anything here."""
    if work.tools.neutron is not None:
        return
    for nic in guest.nics(work):
        work.driver.remove_dhcp_host(guest.network_name(nic.network_uuid), nic.mac)
    for network_uuid, mac in guest.old_promises(work):
        work.driver.remove_dhcp_host(guest.network_name(network_uuid), mac)


def make_config_drive(work: Work) -> None:
    """The config drive, if the server has one."""
    work.save(task_state=states.SPAWNING)
    if guest.has_config_drive(work):
        work.driver.ensure_iso(guest.config_drive_name(work.server.uuid), guest.config_drive(work))


def define(work: Work) -> None:
    """The host knows the guest."""
    work.driver.define(guest.domain_spec(work))


def undefine(work: Work) -> None:
    """The host does not know the guest."""
    work.driver.undefine(work.server.uuid)


def start(work: Work) -> None:
    """The guest runs."""
    work.driver.start(work.server.uuid)
    work.landing |= {
        "power_state": int(PowerState.RUNNING),
        "launched_at": work.server.launched_at or clock.now(),
        "progress": 0,
    }


def start_new(work: Work) -> None:
    """The guest runs, for the first time."""
    start(work)
    remote.wait_until_plugged(work)


def stop(work: Work) -> None:
    """The guest is off."""
    work.driver.power_off(work.server.uuid)


def release(conn: Connection, work: Work) -> None:
    """Nothing is left on the host: the server is nowhere, and takes nothing."""
    addresses.release(conn, work.server.id)
    scheduler.release(conn, work.server.id)
    conn.execute(
        update(Server)
        .where(Server.id == work.server.id)
        .values(host=None, node=None, addresses_json="{}", power_state=int(PowerState.NOSTATE))
    )


def gone(conn: Connection, work: Work) -> None:
    """The server is deleted."""
    lifecycle.finish_delete(conn, work.tools.volumes, work.server.id, work.entry.request_id)


BUILD = Operation(
    (
        Step("image", fetch_image),
        Step("disks", make_disks, remove_disks),
        Step("volumes", attachments.make_all, attachments.unmake_all),
        Step("network", plug_new, unplug_all),
        Step("config_drive", make_config_drive),
        Step("define", define, undefine),
        Step("start", start_new, stop),
    ),
    finished=attachments.all_in_use,
    failed=release,
)

DELETE = Operation(
    (
        Step("undefine", undefine),
        Step("network", unplug_all),
        Step("disks", remove_disks),
        Step("volumes", attachments.disconnect_all),
        Step("images", snapshot.remove_unfinished_images),
    ),
    finished=gone,
    runs_on_deleted=True,
)
