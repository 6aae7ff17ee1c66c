# SPDX-License-Identifier: Apache-2.0
"""The services of the cloud (os-services): the compute services, a row of `hosts` each, and the API's own two.

What Nova's conductor and scheduler do, the API does; clients ask for them all the same. They are two services on the
host CONTROLLER, whichever API node answers, and up whenever there is an answer.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, exists, func, or_, select, update

from computeapi import clock, errors
from computeapi.db.models import AggregateHost, Host, Migration, Server
from computeapi.settings import Settings

CONTROLLER = "controller"
COMPUTE = "nova-compute"
INTERNAL_ZONE = "internal"
_OWN = ("nova-conductor", "nova-scheduler")
_FIRST_COMPUTE = len(_OWN)  # what a compute service's id is more than its host's key
FINAL = ("completed", "done", "failed", "error", "confirmed", "reverted", "cancelled")


class ServiceRow(NamedTuple):
    """A service. `up` is what its heartbeats say; `zone` is "internal" for all but compute services."""

    id: int
    uuid: str
    binary: str
    host: str
    zone: str
    up: bool
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    updated_at: str

    @property
    def topic(self) -> str:
        """What os-hosts calls it: compute, conductor, scheduler."""
        return self.binary.removeprefix("nova-")


_COLUMNS = select(
    Host.id,
    Host.service_uuid,
    Host.name,
    Host.availability_zone,
    Host.disabled,
    Host.disabled_reason,
    Host.forced_down,
    Host.last_seen_at,
)


def service_id(host_key: int) -> int:
    """The id of the compute service of a host."""
    return host_key + _FIRST_COMPUTE


def is_up(settings: Settings, forced_down: int, last_seen_at: str) -> bool:
    """Whether a compute service counts as up."""
    return not forced_down and last_seen_at >= clock.shifted(-settings.service_down_time)


def every(
    conn: Connection, settings: Settings, *, host: str | None = None, binary: str | None = None
) -> list[ServiceRow]:
    """The services on `host` with that `binary` (None: on any, all), by id."""
    found = [_own(number, name) for number, name in enumerate(_OWN, 1)]
    if binary in (None, COMPUTE):
        statement = _COLUMNS if host is None else _COLUMNS.where(Host.name == host)
        found += [_compute(settings, row) for row in conn.execute(statement.order_by(Host.id))]
    return [row for row in found if (host is None or row.host == host) and (binary is None or row.binary == binary)]


def _own(number: int, binary: str) -> ServiceRow:
    uuid = f"00000000-0000-4000-8000-{number:012x}"
    return ServiceRow(number, uuid, binary, CONTROLLER, INTERNAL_ZONE, True, False, None, False, clock.now())


def _compute(settings: Settings, row: Any) -> ServiceRow:
    key, uuid, name, zone, disabled, reason, forced_down, seen = row
    return ServiceRow(
        id=service_id(key),
        uuid=uuid,
        binary=COMPUTE,
        host=name,
        zone=zone or settings.default_availability_zone,
        up=is_up(settings, forced_down, seen),
        disabled=bool(disabled),
        disabled_reason=reason,
        forced_down=bool(forced_down),
        updated_at=seen,
    )


def change(conn: Connection, host: str, **columns: Any) -> None:
    """Set columns of a compute host. Raises NotFound (Nova: HostMappingNotFound)."""
    changed = conn.execute(update(Host).where(Host.name == host).values(updated_at=clock.now(), **columns))
    if not changed.rowcount:
        raise errors.NotFound(f"Host '{host}' is not mapped to any cell")


def host_of_service(conn: Connection, number: int) -> str:
    """The host of the compute service with that id. Raises NotFound; Conflict for one of the API's own."""
    if 1 <= number <= _FIRST_COMPUTE:
        raise errors.Conflict(f"Service {number} is a part of the API and can't be deleted.")
    name = None
    if _FIRST_COMPUTE < number < 2**63:
        name = conn.execute(select(Host.name).where(Host.id == number - _FIRST_COMPUTE)).scalar()
    if name is None:
        raise errors.NotFound(f"Service {number} not found.")
    return str(name)


def forget(conn: Connection, host: str) -> None:
    """Delete a compute service with its hypervisor, and take it out of its aggregates. One that still runs stops.

    Raises NotFound, and Conflict where servers or unfinished migrations are on it.
    """
    if conn.execute(select(Host.id).where(Host.name == host).with_for_update()).first() is None:
        raise errors.NotFound(f"Could not find binary {COMPUTE} on host {host}.")
    if conn.execute(select(func.count()).where(Server.host == host, Server.deleted == 0)).scalar():
        raise errors.Conflict(
            "Unable to delete compute service that is hosting instances. Migrate or delete the instances first."
        )
    moving = exists().where(
        or_(Migration.source_compute == host, Migration.dest_compute == host), Migration.status.not_in(FINAL)
    )
    if conn.execute(select(moving)).scalar():
        raise errors.Conflict(
            "Unable to delete compute service that has in-progress migrations. Complete the migrations or delete the "
            "instances first."
        )
    conn.execute(delete(AggregateHost).where(AggregateHost.host == host))
    conn.execute(delete(Host).where(Host.name == host))
