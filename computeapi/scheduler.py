# SPDX-License-Identifier: Apache-2.0
"""Which host a server goes to, and what it takes there.

`place()` runs in the API's transaction: it asks FILTERS of every live host, orders what is left, and reserves on the
first that still has room (compare-and-set on the host's counters, beside the allocation that explains them). When none
is left it says why, host by host.
"""

from __future__ import annotations

import ipaddress
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Integer, bindparam, delete, exists, select, update

from computeapi import clock, errors, host_query, pci
from computeapi.db.models import Allocation, BlockDevice, Host, Server, ServerGroup, ServerGroupMember
from computeapi.db.queries import aggregates, block_devices, hosts, server_groups
from computeapi.db.queries import pci as pci_devices
from computeapi.db.queries.common import insert_row, update_row
from computeapi.db.queries.server_groups import Neighbours
from computeapi.settings import Settings


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a server needs of a host."""

    vcpus: int
    memory_mb: int
    disk_gb: int
    zone: str | None = None
    host: str | None = None  # only this one (an administrator said so)
    hints: Mapping[str, Any] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)  # hosts that it can't be, and why
    extra_specs: Mapping[str, str] | None = None  # of the flavor; None: of the one that the server has


class Candidate(NamedTuple):
    """A host as the filters see it."""

    name: str
    disabled: int
    forced_down: int
    last_seen_at: str
    vcpus: int
    memory_mb: int
    disk_gb: int
    vcpus_used: int
    memory_mb_used: int
    disk_gb_used: int
    servers: int
    cpu_ratio: float
    ram_ratio: float
    disk_ratio: float
    own_zone: str | None  # None: the default one
    host_ip: str
    hypervisor_type: str
    hypervisor_version: int
    hypervisor_hostname: str


class NoValidHost(Exception):
    """No host fits; `reasons` says why, by host."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = dict(reasons)
        super().__init__("No valid host was found. " + self.short)

    @property
    def short(self) -> str:
        """For the server's owner: the reasons without the hosts' names."""
        found = sorted(set(self.reasons.values()))
        return "There are not enough hosts available." + (f" Reasons: {'; '.join(found)}." if found else "")

    @property
    def details(self) -> str:
        """For administrators: host by host."""
        return "\n".join(f"{host}: {reason}" for host, reason in sorted(self.reasons.items())) or "There are no hosts."


@dataclass(frozen=True, slots=True)
class _Facts:
    """What filters may look at beside the host and what is wanted."""

    settings: Settings
    alive_since: str
    hosts_of: Mapping[str, str | None]  # server id → host, of the servers that hints name
    neighbours: Neighbours | None  # the others of the server's group
    aggregates: Mapping[str, Mapping[str, set[str]]]  # host → metadata of its aggregates
    extra_specs: Mapping[str, str]
    project_id: str
    volume_hosts: set[str] | None  # that have the storage of all of its volumes; None: it needs none
    devices: pci.Wish  # PCI devices that it needs
    open_devices: Mapping[str, list[dict[str, Any]]]  # host → PCI devices that it may have there


Filter = Callable[[Candidate, Wanted, _Facts], "str | None"]


def _up(host: Candidate, _wanted: Wanted, facts: _Facts) -> str | None:
    if host.disabled:
        return "disabled"
    if host.forced_down or host.last_seen_at < facts.alive_since:
        return "down"
    return None


def _asked_for(host: Candidate, wanted: Wanted, _facts: _Facts) -> str | None:
    if wanted.host and host.name != wanted.host:
        return "not the host asked for"
    return wanted.refused.get(host.name)


def _zone(host: Candidate, wanted: Wanted, facts: _Facts) -> str | None:
    if wanted.zone and wanted.zone != (host.own_zone or facts.settings.default_availability_zone):
        return "not in the availability zone"
    return None


def _room(host: Candidate, wanted: Wanted, _facts: _Facts) -> str | None:
    for label, need, used, total in (
        ("CPU", wanted.vcpus, host.vcpus_used, host.vcpus * host.cpu_ratio),
        ("memory", wanted.memory_mb, host.memory_mb_used, host.memory_mb * host.ram_ratio),
        ("disk", wanted.disk_gb, host.disk_gb_used, host.disk_gb * host.disk_ratio),
    ):
        if used + need > total:
            return f"not enough {label}"
    return None


def _same_host(host: Candidate, wanted: Wanted, facts: _Facts) -> str | None:
    servers = _ids(wanted.hints.get("same_host"))
    if servers and host.name not in {facts.hosts_of.get(server) for server in servers}:
        return "not the host of the servers in same_host"
    return None


def _different_host(host: Candidate, wanted: Wanted, facts: _Facts) -> str | None:
    if host.name in {facts.hosts_of.get(server) for server in _ids(wanted.hints.get("different_host"))}:
        return "the host of a server in different_host"
    return None


def _group(host: Candidate, _wanted: Wanted, facts: _Facts) -> str | None:
    group = facts.neighbours
    if group is None:
        return None
    if group.policy == "affinity" and group.hosts and host.name not in group.hosts:
        return "not the host of the server's group"
    if group.policy == "anti-affinity" and group.hosts[host.name] >= group.max_per_host:
        return "the host of another server of the group"
    return None


def _near(host: Candidate, wanted: Wanted, _facts: _Facts) -> str | None:
    address = wanted.hints.get("build_near_host_ip")
    if not address:
        return None
    near = ipaddress.ip_network(f"{address}{wanted.hints.get('cidr', '/24')}", strict=False)
    return None if ipaddress.ip_address(host.host_ip) in near else "not near the address in build_near_host_ip"


def _query(host: Candidate, wanted: Wanted, _facts: _Facts) -> str | None:
    text = wanted.hints.get("query")
    if not text or host_query.holds(host_query.read(text), _figures(host)):
        return None
    return "not what the query asks for"


def _figures(host: Candidate) -> dict[str, Any]:
    """What a query may name, by Nova's names."""
    return {
        "host": host.name,
        "nodename": host.hypervisor_hostname,
        "hypervisor_hostname": host.hypervisor_hostname,
        "hypervisor_type": host.hypervisor_type,
        "hypervisor_version": host.hypervisor_version,
        "host_ip": host.host_ip,
        "vcpus_total": host.vcpus,
        "vcpus_used": host.vcpus_used,
        "total_usable_ram_mb": host.memory_mb,
        "free_ram_mb": host.memory_mb - host.memory_mb_used,
        "total_usable_disk_gb": host.disk_gb,
        "free_disk_mb": (host.disk_gb - host.disk_gb_used) * 1024,
        "disk_mb_used": host.disk_gb_used * 1024,
        "num_instances": host.servers,
        "cpu_allocation_ratio": host.cpu_ratio,
        "ram_allocation_ratio": host.ram_ratio,
        "disk_allocation_ratio": host.disk_ratio,
    }


# --- extra specs: nova/scheduler/filters/extra_specs_ops.py ---

_NUMBERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.ge,  # at least; kept so for old flavors
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_TEXTS: dict[str, Callable[[Any, Any], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}


def _matches(value: str, wish: str) -> bool:
    """Whether `value` is what `wish` asks for: "ssd", "s!= ssd", ">= 5", "<in> s", "<or> ssd <or> nvme" …"""
    name, _, rest = str(wish).strip().partition(" ")
    asked = rest.strip()
    if name == "<or>":
        return value in [choice.strip() for choice in asked.split("<or>")]
    if name == "<in>":
        return asked in value
    if name == "<all-in>":
        return all(part.strip() in value for part in asked.split("<all-in>") if part.strip())
    if name in _TEXTS:
        return _TEXTS[name](value, asked)
    if name in _NUMBERS:
        try:
            return _NUMBERS[name](float(value), float(asked))
        except ValueError:
            return False
    return value == str(wish)


_SCOPE = "aggregate_instance_extra_specs:"
_TENANTS = "filter_tenant_id"  # and with anything behind: many projects, each in a key of its own


def _aggregate(host: Candidate, _wanted: Wanted, facts: _Facts) -> str | None:
    """Aggregates that are some projects' alone, and extra specs that ask for aggregates' metadata, as in Nova."""
    metadata = facts.aggregates.get(host.name, {})
    owners = {
        name.strip() for key in metadata if key.startswith(_TENANTS) for name in ",".join(metadata[key]).split(",")
    }
    if owners and facts.project_id not in owners:
        return "kept for other projects"
    for key, wish in facts.extra_specs.items():
        if key.startswith(_SCOPE) and not any(
            _matches(value, wish) for value in metadata.get(key.removeprefix(_SCOPE), ())
        ):
            return "not in an aggregate that the flavor asks for"
    return None


def _volumes(host: Candidate, _wanted: Wanted, facts: _Facts) -> str | None:
    if facts.volume_hosts is not None and host.name not in facts.volume_hosts:
        return "not the host of the server's volumes"
    return None


def _devices(host: Candidate, _wanted: Wanted, facts: _Facts) -> str | None:
    if facts.devices and pci.choose(facts.devices, facts.open_devices.get(host.name, ())) is None:
        return "not enough PCI devices that the flavor asks for"
    return None


# Asked in this order; the first that refuses a host gives the reason.
FILTERS: tuple[Filter, ...] = (
    _up,
    _asked_for,
    _zone,
    _aggregate,
    _room,
    _same_host,
    _different_host,
    _group,
    _near,
    _query,
    _volumes,
    _devices,
)

_CANDIDATES = select(
    Host.name,
    Host.disabled,
    Host.forced_down,
    Host.last_seen_at,
    Host.vcpus,
    Host.memory_mb,
    Host.disk_gb,
    Host.vcpus_used,
    Host.memory_mb_used,
    Host.disk_gb_used,
    Host.servers,
    Host.cpu_allocation_ratio,
    Host.ram_allocation_ratio,
    Host.disk_allocation_ratio,
    Host.availability_zone,
    Host.host_ip,
    Host.hypervisor_type,
    Host.hypervisor_version,
    Host.hypervisor_hostname,
)


def _ids(hint: Any) -> list[str]:
    return [hint] if isinstance(hint, str) else [str(item) for item in hint or []]


def place(
    conn: Connection,
    settings: Settings,
    server_id: int,
    wanted: Wanted,
    role: str = "current",
    also: Mapping[str, Any] | None = None,
) -> str:
    """Pick a host and reserve there; its name. Raises NoValidHost.

    In the role "current" the server is there from now on, which its row says (and `also`, columns that change with it).
    """
    hosts = [Candidate._make(row) for row in conn.execute(_CANDIDATES)]
    facts = _facts(conn, settings, wanted, server_id)
    reasons: dict[str, str] = {}
    fit: list[Candidate] = []
    for host in hosts:
        reason = next((said for each in FILTERS if (said := each(host, wanted, facts))), None)
        if reason:
            reasons[host.name] = reason
        else:
            fit.append(host)
    fit.sort(key=lambda host: _order(host, facts))
    for host in fit:
        if reserve(conn, host.name, server_id, wanted, role, facts.devices):
            if role == "current":
                zone = host.own_zone or settings.default_availability_zone
                there = {"host": host.name, "node": host.name, "availability_zone": zone}
                update_row(conn, Server, server_id, {**there, **(also or {})})
            return host.name
        reasons[host.name] = "just filled up"
    raise NoValidHost(reasons)


def _order(host: Candidate, facts: _Facts) -> tuple[Any, ...]:
    """Soft group policies first, then the emptiest host."""
    group, near = facts.neighbours, 0
    if group is not None and group.policy.startswith("soft-"):
        near = group.hosts[host.name] * (-1 if group.policy == "soft-affinity" else 1)
    return near, host.servers, host.memory_mb_used - host.memory_mb * host.ram_ratio, host.name


_SUBJECT = (
    select(
        Server.project_id,
        Server.flavor_json,
        exists().where(BlockDevice.server_id == Server.id, BlockDevice.destination_type == "volume"),
        ServerGroup.id,
        ServerGroup.policy,
        ServerGroup.max_per_host,
    )
    .outerjoin(ServerGroupMember, ServerGroupMember.server_id == Server.id)
    .outerjoin(ServerGroup, ServerGroup.id == ServerGroupMember.group_id)
    .where(Server.id == bindparam("key"))
)


def _facts(conn: Connection, settings: Settings, wanted: Wanted, server_id: int) -> _Facts:
    named = _ids(wanted.hints.get("same_host")) + _ids(wanted.hints.get("different_host"))
    hosts: dict[str, str | None] = {}
    if named:
        rows = conn.execute(select(Server.uuid, Server.host).where(Server.uuid.in_(named), Server.deleted == 0))
        hosts = {row[0]: row[1] for row in rows}
    project_id, flavor_json, has_volumes, group_key, policy, most = conn.execute(_SUBJECT, {"key": server_id}).one()
    extra_specs = wanted.extra_specs
    if extra_specs is None:
        extra_specs = orjson.loads(flavor_json).get("extra_specs", {})
    try:
        devices = pci.wanted(settings.alias, extra_specs)
    except errors.BadRequest as error:  # the setting has changed since somebody asked for it
        raise NoValidHost({"": error.message}) from None
    return _Facts(
        settings,
        clock.shifted(-settings.service_down_time),
        hosts,
        server_groups.neighbours(conn, server_id, group_key, policy, most) if group_key is not None else None,
        aggregates.metadata_by_host(conn),
        extra_specs,
        project_id,
        _volume_hosts(conn, server_id) if has_volumes and not settings.volume_directory else None,
        devices,
        pci_devices.open_to(conn, server_id) if devices else {},
    )


_VCPUS = Host.vcpus_used + bindparam("more_vcpus", type_=Integer)
_MEMORY = Host.memory_mb_used + bindparam("more_memory_mb", type_=Integer)
_DISK = Host.disk_gb_used + bindparam("more_disk_gb", type_=Integer)
_TAKE = (
    update(Host)
    .where(
        Host.name == bindparam("host"),
        Host.vcpus * Host.cpu_allocation_ratio >= _VCPUS,
        Host.memory_mb * Host.ram_allocation_ratio >= _MEMORY,
        Host.disk_gb * Host.disk_allocation_ratio >= _DISK,
    )
    .values(vcpus_used=_VCPUS, memory_mb_used=_MEMORY, disk_gb_used=_DISK, servers=Host.servers + 1)
)


def _volume_hosts(conn: Connection, server_id: int) -> set[str]:
    found, wanted = hosts.every(conn), block_devices.hosts(conn, server_id)
    return {
        name
        for name, host in found.items()
        if all(name == other or (other in found and host.shares_storage_with(found[other])) for other in wanted)
    }


def reserve(
    conn: Connection, host: str, server_id: int, wanted: Wanted, role: str = "current", devices: pci.Wish = ()
) -> bool:
    """Take what is wanted of `host`, PCI devices too; False if it has no room any more."""
    chosen = pci.choose(devices, pci_devices.open_on(conn, host, server_id)) if devices else []
    if chosen is None:
        return False
    size = {"vcpus": wanted.vcpus, "memory_mb": wanted.memory_mb, "disk_gb": wanted.disk_gb}
    taken = conn.execute(_TAKE, {"host": host, **{f"more_{name}": number for name, number in size.items()}})
    if taken.rowcount != 1:
        return False
    insert_row(conn, Allocation, {"server_id": server_id, "host": host, "role": role, **size})
    if chosen:
        pci_devices.claim(conn, server_id, host, chosen)
    return True


def release(conn: Connection, server_id: int, *, role: str | None = None) -> None:
    """Give back what a server takes (of that role, or all). Nothing taken: no change."""
    chosen = Allocation.server_id == server_id
    if role is not None:
        chosen = chosen & (Allocation.role == role)
    rows = conn.execute(
        select(Allocation.host, Allocation.vcpus, Allocation.memory_mb, Allocation.disk_gb)
        .where(chosen)
        .order_by(Allocation.host)
        .with_for_update()  # of two who give it back at once, the second finds nothing
    ).all()
    for host, vcpus, memory_mb, disk_gb in rows:  # one, or two while a resize waits
        conn.execute(
            update(Host)
            .where(Host.name == host)
            .values(
                vcpus_used=Host.vcpus_used - vcpus,
                memory_mb_used=Host.memory_mb_used - memory_mb,
                disk_gb_used=Host.disk_gb_used - disk_gb,
                servers=Host.servers - 1,
            )
        )
    if rows:
        conn.execute(delete(Allocation).where(chosen))
        pci_devices.let_go(conn, server_id)


def has_role(conn: Connection, server_id: int, role: str) -> bool:
    """Whether a server takes something as that."""
    mine = select(Allocation.id).where(Allocation.server_id == server_id, Allocation.role == role)
    return conn.execute(mine.limit(1)).first() is not None


def zone_of(conn: Connection, settings: Settings, host: str) -> str:
    """The availability zone of a host."""
    own = conn.execute(select(Host.availability_zone).where(Host.name == host)).scalar()
    return own or settings.default_availability_zone


def is_alive(conn: Connection, settings: Settings, host: str) -> bool:
    """Whether the compute service of `host` says that it lives."""
    row = conn.execute(select(Host.forced_down, Host.last_seen_at).where(Host.name == host)).first()
    return row is not None and not row[0] and row[1] >= clock.shifted(-settings.service_down_time)


def zone_exists(conn: Connection, settings: Settings, zone: str) -> bool:
    """Whether there is such an availability zone, with a host that is not disabled (the default one always is)."""
    if zone == settings.default_availability_zone:
        return True
    inside = select(Host.id).where(Host.availability_zone == zone, Host.disabled == 0)
    return conn.execute(inside.limit(1)).first() is not None
