# SPDX-License-Identifier: Apache-2.0
"""Compute hosts and the services that say they live."""

from __future__ import annotations

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from computeapi.db.models.base import Base, Json, Key, LongText, Name, Time, Uuid


class Host(Base):
    """A compute host: its service (os-services), its hypervisor (os-hypervisors) and its counters.

    The *_used columns move only by compare-and-set, in the transaction that writes the allocation that explains them.
    """

    __tablename__ = "hosts"

    id: Mapped[Key]
    uuid: Mapped[Uuid] = mapped_column(unique=True)  # of the hypervisor
    service_uuid: Mapped[Uuid] = mapped_column(unique=True)
    name: Mapped[Name] = mapped_column(unique=True)
    epoch: Mapped[int] = mapped_column(default=0)  # grows with each owner; writes of an older one are refused
    disabled: Mapped[int] = mapped_column(default=0)
    disabled_reason: Mapped[Name | None]
    forced_down: Mapped[int] = mapped_column(default=0)
    started_at: Mapped[Time]
    last_seen_at: Mapped[Time]
    updated_at: Mapped[Time | None]
    hypervisor_hostname: Mapped[Name]
    hypervisor_type: Mapped[str] = mapped_column(String(32))
    hypervisor_version: Mapped[int]
    host_ip: Mapped[str] = mapped_column(String(64), default="127.0.0.1")
    console_url: Mapped[str] = mapped_column(String(255), default="")  # where browsers reach its console proxy
    cpu_info_json: Mapped[Json] = mapped_column(default="{}")
    capabilities_json: Mapped[Json] = mapped_column(default="{}")
    vcpus: Mapped[int]
    memory_mb: Mapped[int]
    disk_gb: Mapped[int]
    vcpus_used: Mapped[int] = mapped_column(default=0)
    memory_mb_used: Mapped[int] = mapped_column(default=0)
    disk_gb_used: Mapped[int] = mapped_column(default=0)
    servers: Mapped[int] = mapped_column(default=0)  # allocations, for spreading and running_vms
    cpu_allocation_ratio: Mapped[float] = mapped_column(Float)
    ram_allocation_ratio: Mapped[float] = mapped_column(Float)
    disk_allocation_ratio: Mapped[float] = mapped_column(Float)
    uptime: Mapped[LongText | None]
    availability_zone: Mapped[Name | None]  # what its aggregates name; NULL: the default one
    cell: Mapped[Name | None]  # NULL: the local one
    pci_json: Mapped[Json] = mapped_column(default="[]")  # its PCI devices that guests may have; see queries/pci.py
    faults_json: Mapped[Json] = mapped_column(
        default="{}"
    )  # what it can't make as it shall be; see queries/host_faults.py
