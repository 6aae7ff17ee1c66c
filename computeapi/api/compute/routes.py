# SPDX-License-Identifier: Apache-2.0
"""The Compute API's lines of ROUTES. Documented path and clients' path: two lines, one handler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from computeapi.api.compute import (
    extensions,
    flavors,
    healthcheck,
    images,
    keypairs,
    limits,
    version_documents,
    volume_attachments,
    volumes,
)
from computeapi.api.compute.network_routes import NETWORKS
from computeapi.api.compute.network_routes import RULES as NETWORK_RULES
from computeapi.api.compute.operator_routes import OPERATOR
from computeapi.api.compute.operator_routes import RULES as OPERATOR_RULES
from computeapi.api.compute.security_routes import RULES as SECURITY_RULES
from computeapi.api.compute.security_routes import SECURITY, SERVER_ACTIONS
from computeapi.api.compute.servers import action_log, ips, metadata
from computeapi.api.compute.servers import actions as server_actions
from computeapi.api.compute.servers import filters as server_filters
from computeapi.api.compute.servers import handlers as servers
from computeapi.api.compute.servers import rules as server_rules
from computeapi.api.compute.servers import schemas as server_schemas
from computeapi.api.compute.servers.create import create as create_server
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, actions, endpoint
from computeapi.versions import Versioned

_LOG = "os_compute_api:os-instance-actions"

RULES: list[Any] = [
    *server_rules.RULES,
    *server_actions.RULES,
    *extensions.RULES,
    *flavors.RULES,
    *keypairs.RULES,
    *limits.RULES,
    *images.RULES,
    *volumes.RULES,
    *volume_attachments.RULES,
    *NETWORK_RULES,
    *SECURITY_RULES,
    *OPERATOR_RULES,
]

# Rows of several paths.
_CREATE_FLAVOR = replace(
    endpoint(flavors.create, flavors.MANAGE + "create", body=flavors.CREATE), relaxed=flavors.CREATE_V2
)
_CREATE_SPECS = endpoint(flavors.create_extra_specs, flavors.SPECS + "create", body=flavors.CREATE_SPECS)
_UPDATE_SPEC = endpoint(flavors.update_extra_spec, flavors.SPECS + "update", body=flavors.UPDATE_SPEC)

# By whole path; all others below stand under /v2.1 (and /v2, and with the project's id in between).
VERSION_DOCUMENTS: dict[str, dict[str, Endpoint]] = {
    "/": {"GET": endpoint(version_documents.index, PUBLIC)},
    "/healthcheck": {"GET": endpoint(healthcheck.live, PUBLIC)},
    "/healthcheck/ready": {"GET": endpoint(healthcheck.ready, PUBLIC)},
    "/v2.1": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2.1/": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
    "/v2/": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
}

COMPUTE: dict[str, dict[str, Endpoint]] = {
    # --- servers ---
    "/servers": {
        "GET": endpoint(servers.index, server_rules.INDEX, query=server_filters.QUERY),
        "POST": replace(
            endpoint(create_server, server_rules.CREATE, body=server_schemas.CREATE, status=202),
            relaxed=server_schemas.CREATE_V2,
        ),
    },
    "/servers/detail": {"GET": endpoint(servers.detail, server_rules.DETAIL, query=server_filters.QUERY)},
    "/servers/{server_id}": {
        "GET": endpoint(servers.show, server_rules.SHOW, loads=load_server),
        "PUT": replace(
            endpoint(servers.update, server_rules.UPDATE, loads=load_server, body=server_schemas.UPDATE),
            relaxed=server_schemas.UPDATE_V2,
        ),
        "DELETE": endpoint(servers.delete, server_rules.DELETE, loads=load_server, status=204),
    },
    "/servers/{server_id}/metadata": {
        "GET": endpoint(metadata.index, server_rules.METADATA + "index", loads=load_server),
        "POST": endpoint(
            metadata.create, server_rules.METADATA + "create", loads=load_server, body=server_schemas.METADATA
        ),
        "PUT": endpoint(
            metadata.replace, server_rules.METADATA + "update_all", loads=load_server, body=server_schemas.METADATA
        ),
    },
    "/servers/{server_id}/metadata/{key}": {
        "GET": endpoint(metadata.show, server_rules.METADATA + "show", loads=load_server),
        "PUT": endpoint(
            metadata.update, server_rules.METADATA + "update", loads=load_server, body=server_schemas.META_ITEM
        ),
        "DELETE": endpoint(metadata.delete, server_rules.METADATA + "delete", loads=load_server, status=204),
    },
    "/servers/{server_id}/ips": {"GET": endpoint(ips.index, server_rules.IPS + "index", loads=load_server)},
    "/servers/{server_id}/ips/{label}": {"GET": endpoint(ips.show, server_rules.IPS + "show", loads=load_server)},
    # --- servers: actions and their log ---
    "/servers/{server_id}/action": {"POST": actions({**server_actions.SERVER_ACTIONS, **SERVER_ACTIONS})},
    "/servers/{server_id}/diagnostics": {
        "GET": endpoint(server_actions.diagnostics, "os_compute_api:os-server-diagnostics", loads=load_server)
    },
    "/servers/{server_id}/os-instance-actions": {
        "GET": endpoint(action_log.index("instanceActions", "instance_uuid"), f"{_LOG}:list", loads=load_server)
    },
    "/servers/{server_id}/os-instance-actions/{request_id}": {
        "GET": endpoint(action_log.show("instanceAction", "instance_uuid"), f"{_LOG}:show", loads=load_server)
    },
    "/servers/os-server-actions/{server_id}": {
        "GET": endpoint(action_log.index("serverActions", "server_uuid"), f"{_LOG}:list", loads=load_server)
    },
    "/servers/os-server-actions/{server_id}/{request_id}": {
        "GET": endpoint(action_log.show("serverAction", "server_uuid"), f"{_LOG}:show", loads=load_server)
    },
    # --- flavors ---
    "/flavors": {
        "GET": endpoint(flavors.index, ANY_TOKEN, query=flavors.LIST_QUERY),
        "POST": _CREATE_FLAVOR,
    },
    "/flavors/detail": {"GET": endpoint(flavors.detail, ANY_TOKEN, query=flavors.LIST_QUERY)},
    "/flavors/{flavor_id}": {
        "GET": endpoint(flavors.show, ANY_TOKEN),
        "DELETE": endpoint(flavors.remove, flavors.MANAGE + "delete", status=202),
    },
    "/flavors/{flavor_id}/action": {"POST": actions(flavors.ACTIONS)},
    "/flavors/{flavor_id}/os-flavor-access": {"GET": endpoint(flavors.access, flavors.ACCESS)},
    "/flavors/{flavor_id}/os-extra_specs": {
        "GET": endpoint(flavors.extra_specs, flavors.SPECS + "index"),
        "POST": _CREATE_SPECS,
    },
    "/flavors/{flavor_id}/os-extra_specs/{key}": {
        "GET": endpoint(flavors.extra_spec, flavors.SPECS + "show"),
        "PUT": _UPDATE_SPEC,
        "DELETE": endpoint(flavors.delete_extra_spec, flavors.SPECS + "delete"),
    },
    # the documented paths of the same
    "/flavors/os-flavor-rxtx": {"POST": _CREATE_FLAVOR},
    "/flavors/os-flavor-rxtx/detail": {"GET": endpoint(flavors.detail, ANY_TOKEN, query=flavors.LIST_QUERY)},
    "/flavors/os-flavor-rxtx/{flavor_id}": {"GET": endpoint(flavors.show, ANY_TOKEN)},
    "/flavors/os-flavor-access": {
        "GET": endpoint(flavors.every_access, flavors.ACCESS),
        "POST": _CREATE_FLAVOR,
    },
    "/flavors/os-flavor-access/detail": {"GET": endpoint(flavors.detail, ANY_TOKEN, query=flavors.LIST_QUERY)},
    "/flavors/os-flavor-access/{flavor_id}": {"GET": endpoint(flavors.show, ANY_TOKEN)},
    "/flavors/os-flavor-access/{flavor_id}/action": {"POST": actions(flavors.ACTIONS)},
    "/flavors/os-flavor-extra-specs/{flavor_id}": {
        "GET": endpoint(flavors.extra_specs, flavors.SPECS + "index"),
        "POST": replace(_CREATE_SPECS, status=Versioned(201)),
    },
    "/flavors/os-flavor-extra-specs/{flavor_id}/{key}": {
        "GET": endpoint(flavors.extra_spec, flavors.SPECS + "show"),
        "PUT": _UPDATE_SPEC,
        "DELETE": endpoint(flavors.delete_extra_spec, flavors.SPECS + "delete"),
    },
    "/flavors/os-flavor-manage": {"POST": replace(_CREATE_FLAVOR, status=Versioned(201))},
    "/flavors/os-flavor-manage/{flavor_id}": {
        "DELETE": endpoint(flavors.remove, flavors.MANAGE + "delete", status=204)
    },
    # --- images ---
    "/images": {"GET": endpoint(images.index, ANY_TOKEN, query=images.LIST_QUERY, until=images.LAST)},
    "/images/detail": {"GET": endpoint(images.detail, ANY_TOKEN, query=images.LIST_QUERY, until=images.LAST)},
    "/images/{image_id}": {
        "GET": endpoint(images.show, ANY_TOKEN, until=images.LAST),
        "DELETE": endpoint(images.delete, ANY_TOKEN, until=images.LAST, status=204),
    },
    "/images/{image_id}/metadata": {
        "GET": endpoint(images.metadata, ANY_TOKEN, until=images.LAST_METADATA),
        "POST": endpoint(images.update_metadata, ANY_TOKEN, body=images.METADATA, until=images.LAST_METADATA),
        "PUT": endpoint(images.replace_metadata, ANY_TOKEN, body=images.METADATA, until=images.LAST_METADATA),
    },
    "/images/{image_id}/metadata/{key}": {
        "GET": endpoint(images.metadata_item, ANY_TOKEN, until=images.LAST_METADATA),
        "PUT": endpoint(images.set_metadata_item, ANY_TOKEN, body=images.ITEM, until=images.LAST_METADATA),
        "DELETE": endpoint(images.delete_metadata_item, ANY_TOKEN, until=images.LAST_METADATA, status=204),
    },
    # --- keypairs ---
    "/os-keypairs": {
        "GET": endpoint(keypairs.index, keypairs.KEYPAIRS + "index", query=keypairs.QUERY),
        "POST": replace(
            endpoint(keypairs.create, keypairs.KEYPAIRS + "create", body=keypairs.CREATE, status=keypairs.CREATED),
            relaxed=keypairs.CREATE_V2,
        ),
    },
    "/os-keypairs/{keypair_name}": {
        "GET": endpoint(keypairs.show, keypairs.KEYPAIRS + "show", query=keypairs.QUERY),
        "DELETE": endpoint(
            keypairs.remove, keypairs.KEYPAIRS + "delete", query=keypairs.QUERY, status=keypairs.DELETED
        ),
    },
    # --- limits ---
    "/limits": {"GET": endpoint(limits.show, limits.LIMITS, query=limits.QUERY)},
    # --- extensions ---
    "/extensions": {"GET": endpoint(extensions.index, extensions.EXTENSIONS)},
    "/extensions/{alias}": {"GET": endpoint(extensions.show, extensions.EXTENSIONS)},
    # --- volumes ---
    **volumes.ROUTES,
    **volume_attachments.ROUTES,
    # --- networks ---
    **NETWORKS,
    # --- security groups, floating IPs ---
    **SECURITY,
    # --- operator ---
    **OPERATOR,
}

# Servers under another name: where python-novaclient before 8 boots those that get volumes (nova's volumes_boot.py).
_BOOT = "/os-volumes_boot"
_BOOT_ACTIONS = (
    "confirmResize",
    "createImage",
    "os-start",
    "os-stop",
    "reboot",
    "rebuild",
    "resize",
    "revertResize",
)
COMPUTE |= {_BOOT + end: COMPUTE["/servers" + end] for end in ("", "/detail", "/{server_id}")} | {
    _BOOT + "/{server_id}/action": {
        "POST": actions({name: server_actions.SERVER_ACTIONS[name] for name in _BOOT_ACTIONS})
    }
}
