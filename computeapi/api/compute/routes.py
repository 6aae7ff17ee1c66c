# SPDX-License-Identifier: Apache-2.0
"""The Compute API's lines of ROUTES. Documented path and clients' path: two lines, one handler."""

from __future__ import annotations

from typing import Any

from computeapi.api.compute import flavors, version_documents
from computeapi.api.compute.servers import action_log
from computeapi.api.compute.servers import actions as server_actions
from computeapi.api.compute.servers.loader import load as load_server
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, actions, endpoint

_LOG = "os_compute_api:os-instance-actions"

RULES: list[Any] = [
    *server_actions.RULES,
    *flavors.RULES,
]

# By whole path; all others below stand under /v2.1 (and /v2, and with the project's id in between).
VERSION_DOCUMENTS: dict[str, dict[str, Endpoint]] = {
    "/": {"GET": endpoint(version_documents.index, PUBLIC)},
    "/v2.1": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2.1/": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
    "/v2/": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
}

COMPUTE: dict[str, dict[str, Endpoint]] = {
    # --- servers: actions and their log ---
    "/servers/{server_id}/action": {"POST": actions(server_actions.SERVER_ACTIONS)},
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
        "POST": endpoint(flavors.create, flavors.MANAGE + "create", body=flavors.CREATE),
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
        "POST": endpoint(flavors.create_extra_specs, flavors.SPECS + "create", body=flavors.CREATE_SPECS),
    },
    "/flavors/{flavor_id}/os-extra_specs/{key}": {
        "GET": endpoint(flavors.extra_spec, flavors.SPECS + "show"),
        "PUT": endpoint(flavors.update_extra_spec, flavors.SPECS + "update", body=flavors.UPDATE_SPEC),
        "DELETE": endpoint(flavors.delete_extra_spec, flavors.SPECS + "delete"),
    },
    # the documented paths of the same
    "/flavors/os-flavor-rxtx": {"POST": endpoint(flavors.create, flavors.MANAGE + "create", body=flavors.CREATE)},
    "/flavors/os-flavor-rxtx/detail": {"GET": endpoint(flavors.detail, ANY_TOKEN, query=flavors.LIST_QUERY)},
    "/flavors/os-flavor-rxtx/{flavor_id}": {"GET": endpoint(flavors.show, ANY_TOKEN)},
    "/flavors/os-flavor-access": {
        "GET": endpoint(flavors.every_access, flavors.ACCESS),
        "POST": endpoint(flavors.create, flavors.MANAGE + "create", body=flavors.CREATE),
    },
    "/flavors/os-flavor-access/detail": {"GET": endpoint(flavors.detail, ANY_TOKEN, query=flavors.LIST_QUERY)},
    "/flavors/os-flavor-access/{flavor_id}": {"GET": endpoint(flavors.show, ANY_TOKEN)},
    "/flavors/os-flavor-access/{flavor_id}/action": {"POST": actions(flavors.ACTIONS)},
    "/flavors/os-flavor-extra-specs/{flavor_id}": {
        "GET": endpoint(flavors.extra_specs, flavors.SPECS + "index"),
        "POST": endpoint(flavors.create_extra_specs, flavors.SPECS + "create", body=flavors.CREATE_SPECS, status=201),
    },
    "/flavors/os-flavor-extra-specs/{flavor_id}/{key}": {
        "GET": endpoint(flavors.extra_spec, flavors.SPECS + "show"),
        "PUT": endpoint(flavors.update_extra_spec, flavors.SPECS + "update", body=flavors.UPDATE_SPEC),
        "DELETE": endpoint(flavors.delete_extra_spec, flavors.SPECS + "delete"),
    },
    "/flavors/os-flavor-manage": {
        "POST": endpoint(flavors.create, flavors.MANAGE + "create", body=flavors.CREATE, status=201)
    },
    "/flavors/os-flavor-manage/{flavor_id}": {
        "DELETE": endpoint(flavors.remove, flavors.MANAGE + "delete", status=204)
    },
}
