# SPDX-License-Identifier: Apache-2.0
"""Who may do what with servers. Names and defaults: nova/policies/servers.py, server_metadata.py, ips.py,
extended_server_attributes.py. The rules of actions stand with the actions.
"""

from __future__ import annotations

from computeapi.policy import ADMIN, PROJECT_MEMBER, PROJECT_READER, rule

INDEX = "os_compute_api:servers:index"
DETAIL = "os_compute_api:servers:detail"
INDEX_ALL = "os_compute_api:servers:index:get_all_tenants"
DETAIL_ALL = "os_compute_api:servers:detail:get_all_tenants"
ALL_FILTERS = "os_compute_api:servers:allow_all_filters"
SHOW = "os_compute_api:servers:show"
CREATE = "os_compute_api:servers:create"
FORCED_HOST = "os_compute_api:servers:create:forced_host"
ATTACH_VOLUME = "os_compute_api:servers:create:attach_volume"
ATTACH_NETWORK = "os_compute_api:servers:create:attach_network"
ZERO_DISK = "os_compute_api:servers:create:zero_disk_flavor"
DELETE = "os_compute_api:servers:delete"
UPDATE = "os_compute_api:servers:update"
EXTENDED = "os_compute_api:os-extended-server-attributes"
METADATA = "os_compute_api:server-metadata:"
IPS = "os_compute_api:ips:"

_ONE = "/servers/{server_id}"
_META = _ONE + "/metadata"

RULES = [
    rule(INDEX, PROJECT_READER, "List servers.", ("GET", "/servers")),
    rule(DETAIL, PROJECT_READER, "List servers with details.", ("GET", "/servers/detail")),
    rule(INDEX_ALL, ADMIN, "List the servers of all projects.", ("GET", "/servers")),
    rule(DETAIL_ALL, ADMIN, "List the servers of all projects with details.", ("GET", "/servers/detail")),
    rule(ALL_FILTERS, ADMIN, "Use all filters of the lists.", ("GET", "/servers"), ("GET", "/servers/detail")),
    rule(SHOW, PROJECT_READER, "Show a server.", ("GET", _ONE)),
    rule(CREATE, PROJECT_MEMBER, "Create a server.", ("POST", "/servers")),
    rule(FORCED_HOST, ADMIN, "Create a server on the host that availability_zone names.", ("POST", "/servers")),
    rule(ATTACH_VOLUME, PROJECT_MEMBER, "Create a server with a block device mapping.", ("POST", "/servers")),
    rule(ATTACH_NETWORK, PROJECT_MEMBER, "Create a server on networks of one's choice.", ("POST", "/servers")),
    rule(ZERO_DISK, ADMIN, "Create a server from an image with a flavor that has no disk.", ("POST", "/servers")),
    rule(DELETE, PROJECT_MEMBER, "Delete a server.", ("DELETE", _ONE)),
    rule(UPDATE, PROJECT_MEMBER, "Change a server's name and access addresses.", ("PUT", _ONE)),
    rule(
        EXTENDED,
        ADMIN,
        "See where a server is (OS-EXT-SRV-ATTR:*).",
        ("GET", _ONE),
        ("GET", "/servers/detail"),
    ),
    rule(METADATA + "index", PROJECT_READER, "List a server's metadata.", ("GET", _META)),
    rule(METADATA + "show", PROJECT_READER, "Show a metadata item.", ("GET", _META + "/{key}")),
    rule(METADATA + "create", PROJECT_MEMBER, "Add to a server's metadata.", ("POST", _META)),
    rule(METADATA + "update_all", PROJECT_MEMBER, "Replace a server's metadata.", ("PUT", _META)),
    rule(METADATA + "update", PROJECT_MEMBER, "Set a metadata item.", ("PUT", _META + "/{key}")),
    rule(METADATA + "delete", PROJECT_MEMBER, "Delete a metadata item.", ("DELETE", _META + "/{key}")),
    rule(IPS + "index", PROJECT_READER, "List a server's addresses.", ("GET", _ONE + "/ips")),
    rule(IPS + "show", PROJECT_READER, "List a server's addresses on a network.", ("GET", _ONE + "/ips/{label}")),
]
