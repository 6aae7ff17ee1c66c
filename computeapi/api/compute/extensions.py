# SPDX-License-Identifier: Apache-2.0
"""The list of extensions, which clients of old look features up in (nova/api/openstack/compute/extension_info.py).

v2.1 has no extensions any more; the list is what Nova goes on showing, the same for every cloud. Aliases and names are
Nova's, since clients compare them.
"""

from __future__ import annotations

import orjson

from computeapi import errors
from computeapi.endpoint import Call
from computeapi.policy import ANYONE, rule

# --- RULES ---

EXTENSIONS = "os_compute_api:extensions"

RULES = [
    rule(
        EXTENSIONS,
        ANYONE,
        "List the extensions, or show one.",
        ("GET", "/extensions"),
        ("GET", "/extensions/{alias}"),
    ),
]

# --- VIEW ---

_NAMESPACE = "http://docs.openstack.org/compute/ext/fake_xml"
_UPDATED = "2014-12-03T00:00:00Z"

# alias, name, what it is; by alias
TABLE: tuple[tuple[str, str, str], ...] = (
    ("NMN", "Multinic", "A server may have several networks, and fixed addresses added to it."),
    ("OS-DCF", "DiskConfig", "How a server's disk is partitioned: AUTO or MANUAL."),
    ("OS-EXT-AZ", "ExtendedAvailabilityZone", "Servers show their availability zone."),
    ("OS-EXT-IMG-SIZE", "ImageSize", "Images show their size in bytes."),
    ("OS-EXT-IPS", "ExtendedIps", "A server's addresses show whether they are fixed or floating."),
    ("OS-EXT-IPS-MAC", "ExtendedIpsMac", "A server's addresses show the MAC address of their interface."),
    ("OS-EXT-SRV-ATTR", "ExtendedServerAttributes", "Servers show their host and their name on it to administrators."),
    ("OS-EXT-STS", "ExtendedStatus", "Servers show their power, task and virtual machine states."),
    ("OS-FLV-DISABLED", "FlavorDisabled", "Flavors show whether they are disabled."),
    ("OS-FLV-EXT-DATA", "FlavorExtraData", "Flavors have an ephemeral disk."),
    ("OS-SCH-HNT", "SchedulerHints", "Hints that say where a new server shall go."),
    ("OS-SRV-USG", "ServerUsage", "Servers show when they were launched and terminated."),
    ("os-access-ips", "AccessIPs", "Servers have addresses by which they are best reached."),
    ("os-admin-actions", "AdminActions", "Administrators reset a server's state or network."),
    ("os-admin-password", "AdminPassword", "Change the administrator's password in a server."),
    ("os-agents", "Agents", "Builds of the guest agent, by hypervisor."),
    ("os-aggregates", "Aggregates", "Administrators group hosts."),
    ("os-assisted-volume-snapshots", "AssistedVolumeSnapshots", "Snapshots asked for by the volume service."),
    ("os-attach-interfaces", "AttachInterfaces", "Add network interfaces to servers, and remove them."),
    ("os-availability-zone", "AvailabilityZone", "Zones of hosts: listed, and chosen for a new server."),
    ("os-baremetal-ext-status", "BareMetalExtStatus", "Bare-metal nodes show more of their state."),
    ("os-baremetal-nodes", "BareMetalNodes", "Administrators see bare-metal nodes."),
    ("os-block-device-mapping", "BlockDeviceMapping", "Servers boot from volumes."),
    ("os-block-device-mapping-v2-boot", "BlockDeviceMappingV2Boot", "A new server's disks, one by one."),
    ("os-cell-capacities", "CellCapacities", "How much room a cell has."),
    ("os-cells", "Cells", "Administrators manage cells: named sets of hosts."),
    ("os-certificates", "Certificates", "Certificates by a project's own authority."),
    ("os-cloudpipe", "Cloudpipe", "A server that gives a project's users a VPN into its network."),
    ("os-cloudpipe-update", "CloudpipeUpdate", "Set the address and port of cloudpipe servers."),
    ("os-config-drive", "ConfigDrive", "A small disk that tells a server about itself."),
    ("os-console-auth-tokens", "ConsoleAuthTokens", "Look up which console a token opens."),
    ("os-console-output", "ConsoleOutput", "The last lines that a server wrote on its console."),
    ("os-consoles", "Consoles", "Screens and serial consoles to work at."),
    ("os-create-backup", "CreateBackup", "Back a server up to an image, and keep only the newest ones."),
    ("os-create-server-ext", "Createserverext", "The extended request that creates a server."),
    ("os-deferred-delete", "DeferredDelete", "Deleted servers can be restored for a while."),
    ("os-evacuate", "Evacuate", "Rebuild servers of a failed host on another."),
    ("os-extended-evacuate-find-host", "ExtendedEvacuateFindHost", "Evacuation chooses the host by itself."),
    ("os-extended-floating-ips", "ExtendedFloatingIps", "Choose the fixed address that a floating one leads to."),
    ("os-extended-hypervisors", "ExtendedHypervisors", "Hypervisors show their host's address and more."),
    ("os-extended-networks", "ExtendedNetworks", "Networks have an MTU and settings of their DHCP."),
    ("os-extended-quotas", "ExtendedQuotas", "Quotas can be deleted, or set below what is used."),
    ("os-extended-rescue-with-image", "ExtendedRescueWithImage", "Choose the image that a server is rescued with."),
    ("os-extended-services", "ExtendedServices", "Services are disabled with a reason."),
    ("os-extended-services-delete", "ExtendedServicesDelete", "Services that are gone can be deleted."),
    ("os-extended-status", "ExtendedStatus", "Bare-metal nodes show their extended status."),
    ("os-extended-volumes", "ExtendedVolumes", "Servers show the volumes attached to them."),
    ("os-fixed-ips", "FixedIPs", "Administrators look fixed addresses up and reserve them."),
    ("os-flavor-access", "FlavorAccess", "Flavors that only chosen projects may use."),
    ("os-flavor-extra-specs", "FlavorExtraSpecs", "Further properties of flavors, by key."),
    ("os-flavor-manage", "FlavorManage", "Administrators create and delete flavors."),
    ("os-flavor-rxtx", "FlavorRxtx", "Flavors have a factor for network bandwidth."),
    ("os-flavor-swap", "FlavorSwap", "Flavors have a swap disk."),
    ("os-floating-ip-dns", "FloatingIpDns", "Names for floating addresses."),
    ("os-floating-ip-pools", "FloatingIpPools", "The pools that floating addresses come from."),
    ("os-floating-ips", "FloatingIps", "Addresses that move from server to server."),
    ("os-floating-ips-bulk", "FloatingIpsBulk", "Administrators add and remove whole ranges of floating addresses."),
    ("os-fping", "Fping", "See which servers answer a ping."),
    ("os-hide-server-addresses", "HideServerAddresses", "Servers show no addresses in some states."),
    ("os-hosts", "Hosts", "Administrators manage hosts."),
    ("os-hypervisor-status", "HypervisorStatus", "Hypervisors show their state and status."),
    ("os-hypervisors", "Hypervisors", "Administrators see hypervisors."),
    ("os-instance-actions", "InstanceActions", "What was done to a server, step by step."),
    ("os-instance_usage_audit_log", "OSInstanceUsageAuditLog", "Administrators see how the usage audits went."),
    ("os-keypairs", "Keypairs", "Users' public keys, made here or imported."),
    ("os-lock-server", "LockServer", "Lock a server against changes."),
    ("os-migrate-server", "MigrateServer", "Move servers to other hosts, running or stopped."),
    ("os-migrations", "Migrations", "Which servers moved, and how that went."),
    ("os-multiple-create", "MultipleCreate", "Create several servers by one request."),
    ("os-networks", "Networks", "Administrators manage networks."),
    ("os-networks-associate", "NetworkAssociationSupport", "Tie networks to projects and hosts, and untie them."),
    ("os-pause-server", "PauseServer", "Pause servers."),
    ("os-personality", "Personality", "Files put into a new server."),
    ("os-preserve-ephemeral-rebuild", "PreserveEphemeralOnRebuild", "A rebuild may keep the ephemeral disk."),
    ("os-quota-class-sets", "QuotaClasses", "Quotas by class."),
    ("os-quota-sets", "Quotas", "Quotas of projects."),
    ("os-rescue", "Rescue", "Boot a broken server from another disk."),
    ("os-security-group-default-rules", "SecurityGroupDefaultRules", "Rules of new default security groups."),
    ("os-security-groups", "SecurityGroups", "Which traffic may reach a server."),
    ("os-server-diagnostics", "ServerDiagnostics", "Administrators see a server's counters."),
    ("os-server-external-events", "ServerExternalEvents", "Other services tell what happened to a server."),
    ("os-server-group-quotas", "ServerGroupQuotas", "Quotas of server groups and their members."),
    ("os-server-groups", "ServerGroups", "Servers that shall be together, or apart."),
    ("os-server-list-multi-status", "ServerListMultiStatus", "List servers in any of several states."),
    ("os-server-password", "ServerPassword", "The password that a server made for itself, encrypted."),
    ("os-server-sort-keys", "ServerSortKeys", "Sort the list of servers by several keys."),
    ("os-server-start-stop", "ServerStartStop", "Start and stop servers."),
    ("os-services", "Services", "Administrators see and disable services."),
    ("os-shelve", "Shelve", "Put servers aside and take them back."),
    ("os-simple-tenant-usage", "SimpleTenantUsage", "What projects used over a time."),
    ("os-suspend-server", "SuspendServer", "Suspend servers."),
    ("os-tenant-networks", "OSTenantNetworks", "Networks of a project, managed by its users."),
    ("os-used-limits", "UsedLimits", "Limits show what is used of them."),
    ("os-used-limits-for-admin", "UsedLimitsForAdmin", "Administrators see what other projects use."),
    ("os-user-data", "UserData", "Data that a new server reads when it first boots."),
    ("os-user-quotas", "UserQuotas", "Quotas of a user in a project."),
    ("os-virtual-interfaces", "VirtualInterfaces", "A server's network interfaces."),
    ("os-volume-attachment-update", "VolumeAttachmentUpdate", "Swap an attached volume for another."),
    ("os-volumes", "Volumes", "Volumes and their snapshots."),
)  # fmt: skip

# /v2 has one more.
LEGACY = (("OS-EXT-VIF-NET", "ExtendedVIFNet", "A server's network interfaces show their network."),)


def _view(alias: str, name: str, description: str) -> dict[str, object]:
    return {
        "alias": alias,
        "description": description,
        "links": [],
        "name": name,
        "namespace": _NAMESPACE,
        "updated": _UPDATED,
    }


# Alias → its view, ready made; nothing of it ever changes.
_V21 = {row[0]: _view(*row) for row in TABLE}
_V2 = {row[0]: _view(*row) for row in sorted((*TABLE, *LEGACY))}
_V21_LIST = orjson.dumps({"extensions": list(_V21.values())})
_V2_LIST = orjson.dumps({"extensions": list(_V2.values())})

# --- HANDLERS ---


def index(call: Call) -> bytes:
    """GET /extensions."""
    return _V2_LIST if call.legacy else _V21_LIST


def show(call: Call) -> dict[str, object]:
    """GET /extensions/{alias}."""
    found = (_V2 if call.legacy else _V21).get(call.params["alias"])
    if found is None:
        raise errors.NotFound
    return {"extension": found}
