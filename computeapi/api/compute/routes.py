# SPDX-License-Identifier: Apache-2.0
"""The Compute API's lines of ROUTES. Documented path and clients' path: two lines, one handler."""

from __future__ import annotations

from typing import Any

from computeapi.api.compute import flavors, version_documents
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, actions, endpoint

RULES: list[Any] = [
    *flavors.RULES,
]

COMPUTE: dict[str, dict[str, Endpoint]] = {
    # --- version documents ---
    "/": {"GET": endpoint(version_documents.index, PUBLIC)},
    "/v2.1": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2.1/": {"GET": endpoint(version_documents.show, PUBLIC)},
    "/v2": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
    "/v2/": {"GET": endpoint(version_documents.show_legacy, PUBLIC)},
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
