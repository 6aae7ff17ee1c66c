# SPDX-License-Identifier: Apache-2.0
"""Statements on compute hosts as hypervisors (os-hypervisors) and as machines (os-hosts).

A host has one hypervisor. What is used are the host's counters, which the scheduler moves.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, func, select

from computeapi import errors
from computeapi.db.models import Host, Server


class HypervisorRow(NamedTuple):
    """A hypervisor. Memory in MiB, disk in GiB. `busy` counts the servers with work under way (current_workload)."""

    id: int
    host: str
    disabled: int
    disabled_reason: str | None
    forced_down: int
    last_seen_at: str
    started_at: str
    hypervisor_hostname: str
    hypervisor_type: str
    hypervisor_version: int
    host_ip: str
    cpu_info_json: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int
    memory_mb_used: int
    disk_gb_used: int
    servers: int
    uptime: str | None
    pci_json: str
    busy: int


_BUSY = (
    select(func.count())
    .where(Server.host == Host.name, Server.deleted == 0, Server.task_state.is_not(None))
    .correlate(Host)
    .scalar_subquery()
)
_ALL = select(
    Host.id,
    Host.name,
    Host.disabled,
    Host.disabled_reason,
    Host.forced_down,
    Host.last_seen_at,
    Host.started_at,
    Host.hypervisor_hostname,
    Host.hypervisor_type,
    Host.hypervisor_version,
    Host.host_ip,
    Host.cpu_info_json,
    Host.vcpus,
    Host.memory_mb,
    Host.disk_gb,
    Host.vcpus_used,
    Host.memory_mb_used,
    Host.disk_gb_used,
    Host.servers,
    Host.uptime,
    Host.pci_json,
    _BUSY,
).order_by(Host.id)


def every(conn: Connection) -> list[HypervisorRow]:
    """All hypervisors, by id."""
    return [HypervisorRow._make(row) for row in conn.execute(_ALL)]


def find(conn: Connection, identifier: str) -> HypervisorRow:
    """The hypervisor with that id. Raises NotFound (Nova: ComputeHostNotFound), also for what is no number."""
    row = None
    if identifier.isascii() and identifier.isdigit() and len(identifier) <= 18:
        row = conn.execute(_ALL.where(Host.id == int(identifier))).first()
    if row is None:
        raise errors.NotFound(f"Hypervisor with ID '{identifier}' could not be found.")
    return HypervisorRow._make(row)


def matching(conn: Connection, part: str) -> list[HypervisorRow]:
    """The hypervisors that have `part` in their host name. Raises NotFound where there is none."""
    found = conn.execute(_ALL.where(_contains(part))).all()
    if not found:
        raise errors.NotFound(f"No hypervisor matching '{part}' could be found.")
    return [HypervisorRow._make(row) for row in found]


def _contains(part: str) -> ColumnElement[bool]:
    return func.lower(Host.hypervisor_hostname).contains(part.lower(), autoescape=True)


def servers_on(conn: Connection, hosts: Iterable[str]) -> dict[str, list[dict[str, str]]]:
    """By host: the `name` (instance-0000002a) and `uuid` of each server there."""
    found: dict[str, list[dict[str, str]]] = {}
    statement = select(Server.host, Server.id, Server.uuid).where(Server.host.in_(list(hosts)), Server.deleted == 0)
    for host, key, uuid in conn.execute(statement.order_by(Server.id)):
        found.setdefault(str(host), []).append({"name": f"instance-{key:08x}", "uuid": uuid})
    return found


class Statistics(NamedTuple):
    """Sums over the hypervisors that are not disabled."""

    hypervisors: int
    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int
    memory_mb_used: int
    disk_gb_used: int
    servers: int
    busy: int


_SUMMED = (
    Host.vcpus,
    Host.memory_mb,
    Host.disk_gb,
    Host.vcpus_used,
    Host.memory_mb_used,
    Host.disk_gb_used,
    Host.servers,
)
_STATISTICS = select(func.count(), *(func.coalesce(func.sum(column), 0) for column in _SUMMED)).where(
    Host.disabled == 0
)
_ALL_BUSY = select(func.count()).where(
    Server.deleted == 0,
    Server.task_state.is_not(None),
    Server.host.in_(select(Host.name).where(Host.disabled == 0)),
)


def statistics(conn: Connection) -> Statistics:
    """The sums of os-hypervisors/statistics."""
    sums = [*conn.execute(_STATISTICS).one(), conn.execute(_ALL_BUSY).scalar()]
    return Statistics._make(int(number) for number in sums)


class Taken(NamedTuple):
    """What the servers of a project take of a host."""

    project_id: str
    vcpus: int
    memory_mb: int
    disk_gb: int


def taken_by_project(conn: Connection, host: str) -> list[Taken]:
    """What each project's servers take of a host, as their flavors say; by project."""
    sums: list[Any] = [func.sum(column) for column in (Server.vcpus, Server.memory_mb, Server.disk_gb)]
    statement = select(Server.project_id, *sums).where(Server.host == host, Server.deleted == 0)
    rows = conn.execute(statement.group_by(Server.project_id).order_by(Server.project_id))
    return [Taken(project, int(vcpus), int(memory), int(disk)) for project, vcpus, memory, disk in rows]


class Machine(NamedTuple):
    """A host's size, and what of it is taken."""

    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int
    memory_mb_used: int
    disk_gb_used: int
    servers: int
    disabled_reason: str | None


def machine(conn: Connection, host: str, *, lock: bool = False) -> Machine:
    """A compute host by its name; `lock` holds its row. Raises NotFound (Nova: ComputeHostNotFound)."""
    columns: list[Any] = [*_SUMMED, Host.disabled_reason]
    statement = select(*columns).where(Host.name == host)
    row = conn.execute(statement.with_for_update() if lock else statement).first()
    if row is None:
        raise errors.NotFound(f"Compute host {host} could not be found.")
    return Machine._make(row)
