# SPDX-License-Identifier: Apache-2.0
"""What the Block Storage API says of itself: versions and extensions (cinder/api/versions.py, extensions.py)."""

from __future__ import annotations

from typing import Any

from computeapi import errors, versions
from computeapi.endpoint import Call, Reply

_UPDATED = "2026-11-28T00:00:00Z"

# alias → (name, description): what works of it
EXTENSIONS: dict[str, tuple[str, str]] = {
    "OS-SCH-HNT": ("SchedulerHints", "Hints may be given where a volume is made."),
    "capabilities": ("Capabilities", "What the volumes' storage can do."),
    "os-admin-actions": ("AdminActions", "What administrators may do to volumes and snapshots."),
    "os-availability-zone": ("AvailabilityZones", "The zones that volumes may be in."),
    "os-extended-snapshot-attributes": ("ExtendedSnapshotAttributes", "Snapshots show their project and progress."),
    "os-hosts": ("Hosts", "What each host keeps."),
    "os-quota-class-sets": ("QuotaClasses", "The limits of projects that have none of their own."),
    "os-quota-sets": ("Quotas", "Limits a project."),
    "os-services": ("Services", "The services of the cloud that have volumes."),
    "os-snapshot-actions": ("SnapshotActions", "A snapshot's status can be told."),
    "os-types-extra-specs": ("TypesExtraSpecs", "Volume types say what they are by extra specs."),
    "os-types-manage": ("TypesManage", "Volume types can be made, changed and deleted."),
    "os-used-limits": ("UsedLimits", "Limits show what is used of them."),
    "os-vol-host-attr": ("VolumeHostAttribute", "Administrators see where a volume is."),
    "os-vol-image-meta": ("VolumeImageMetadata", "Volumes show the properties of the image they were made from."),
    "os-vol-mig-status-attr": ("VolumeMigStatusAttribute", "Administrators see whether a volume moves."),
    "os-vol-tenant-attr": ("VolumeTenantAttribute", "Volumes show their project."),
    "os-volume-actions": ("VolumeActions", "Volumes can be attached, extended, uploaded as images and more."),
    "os-volume-encryption-metadata": ("VolumeEncryptionMetadata", "Volumes say how they are encrypted: not at all."),
    "os-volume-transfer": ("VolumeTransfer", "Volumes can be offered to another project."),
    "os-volume-type-access": ("VolumeTypeAccess", "Volume types may be for some projects only."),
    "scheduler-stats": ("Scheduler_stats", "Where there is room for volumes."),
}


def _document(call: Call) -> dict[str, Any]:
    return {
        "versions": [
            {
                "id": "v3.0",
                "status": "CURRENT",
                "version": str(versions.VOLUME_MAX),
                "min_version": str(versions.VOLUME_MIN),
                "updated": _UPDATED,
                "links": [
                    {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
                    {"rel": "self", "href": f"{call.host_url}/volume/v3/"},
                ],
                "media-types": [
                    {"base": "application/json", "type": "application/vnd.openstack.volume+json;version=3"}
                ],
            }
        ]
    }


def index(call: Call) -> Reply:
    """GET /volume (300, as Cinder)."""
    return Reply(_document(call), status=300)


def show(call: Call) -> dict[str, Any]:
    """GET /volume/v3 (200)."""
    return _document(call)


def _extension(alias: str) -> dict[str, Any]:
    name, description = EXTENSIONS[alias]
    return {"alias": alias, "name": name, "description": description, "updated": _UPDATED, "links": []}


def extensions(_call: Call) -> dict[str, Any]:
    """GET /v3/extensions."""
    return {"extensions": [_extension(alias) for alias in EXTENSIONS]}


def extension(call: Call) -> dict[str, Any]:
    """GET /v3/extensions/{alias}."""
    if call.params["alias"] not in EXTENSIONS:
        raise errors.NotFound
    return {"extension": _extension(call.params["alias"])}
