# SPDX-License-Identifier: Apache-2.0
"""The Block Storage API's lines of ROUTES, under /volume. /v3/{project_id}/… are the same lines (app.Entry)."""

from __future__ import annotations

from typing import Any

from computeapi.api.volume import (
    actions,
    attach,
    attachments,
    discovery,
    hosts,
    metadata,
    quotas,
    services,
    snapshots,
    transfers,
    types,
    views,
    volumes,
)
from computeapi.api.volume.common import load
from computeapi.db.queries.volume_lists import ATTACHMENTS, SNAPSHOTS, TRANSFERS, VOLUMES, Kind
from computeapi.endpoint import ANY_TOKEN, PUBLIC, Endpoint, endpoint
from computeapi.endpoint import actions as action_table

Table = dict[str, dict[str, Endpoint]]

RULES: list[Any] = [
    *volumes.RULES,
    *views.RULES,
    *metadata.RULES,
    *actions.RULES,
    *attach.RULES,
    *snapshots.RULES,
    *types.RULES,
    *attachments.RULES,
    *transfers.RULES,
    *quotas.RULES,
    *services.RULES,
    *hosts.RULES,
]

_VERSIONS = {"GET": endpoint(discovery.index, PUBLIC)}
_VERSION = {"GET": endpoint(discovery.show, PUBLIC)}
_volume, _snapshot, _attachment = load(VOLUMES), load(SNAPSHOTS), load(ATTACHMENTS)


def _metadata(noun: str, kind: Kind) -> Table:
    """The lines of a noun's metadata."""
    path, rule, loads = f"/v3/{noun}s/{{id}}/metadata", f"volume:{{}}_{noun}_metadata", load(kind)
    read, add, change, remove = (rule.format(verb) for verb in ("get", "create", "update", "delete"))
    return {
        path: {
            "GET": endpoint(metadata.index, read, loads=loads),
            "POST": endpoint(metadata.create, add, loads=loads, body=metadata.CHANGE),
            "PUT": endpoint(metadata.replace, change, loads=loads, body=metadata.CHANGE),
        },
        f"{path}/{{key}}": {
            "GET": endpoint(metadata.show, read, loads=loads),
            "PUT": endpoint(metadata.update, change, loads=loads, body=metadata.CHANGE_ONE),
            "DELETE": endpoint(metadata.delete, remove, loads=loads),
        },
    }


def _transfers(path: str) -> Table:
    """The lines of transfers, which have an old path and a new one."""
    loads = load(TRANSFERS)
    return {
        path: {
            "GET": endpoint(transfers.index, transfers.GET_ALL),
            "POST": endpoint(transfers.create, transfers.CREATE_RULE, body=transfers.CREATE, status=202),
        },
        f"{path}/detail": {"GET": endpoint(transfers.detail, transfers.GET_ALL)},
        f"{path}/{{id}}": {
            "GET": endpoint(transfers.show, transfers.GET, loads=loads),
            "DELETE": endpoint(transfers.delete, transfers.DELETE_RULE, loads=loads, status=202),
        },
        f"{path}/{{id}}/accept": {
            "POST": endpoint(transfers.accept, transfers.ACCEPT_RULE, body=transfers.ACCEPT, status=202)
        },
    }


_TYPE = "volume_extension:type_"
_SPECS = "volume_extension:types_extra_specs:"
_ACCESS = "volume_extension:volume_type_access:"
_DEFAULT = "volume_extension:default_"

VOLUME: Table = {
    # --- what it says of itself ---
    "": _VERSIONS,
    "/": _VERSIONS,
    "/v3": _VERSION,
    "/v3/": _VERSION,
    "/v3/extensions": {"GET": endpoint(discovery.extensions, ANY_TOKEN)},
    "/v3/extensions/{alias}": {"GET": endpoint(discovery.extension, ANY_TOKEN)},
    # --- volumes ---
    "/v3/volumes": {
        "GET": endpoint(volumes.index, "volume:get_all"),
        "POST": endpoint(volumes.create, "volume:create", body=volumes.CREATE, status=202),
    },
    "/v3/volumes/detail": {"GET": endpoint(volumes.detail, "volume:get_all")},
    "/v3/volumes/summary": {"GET": endpoint(volumes.summary, "volume:get_all", since="3.12")},
    "/v3/volumes/{id}": {
        "GET": endpoint(volumes.show, "volume:get", loads=_volume),
        "PUT": endpoint(volumes.update, "volume:update", loads=_volume, body=volumes.UPDATE),
        "DELETE": endpoint(volumes.delete, "volume:delete", loads=_volume, status=202),
    },
    "/v3/volumes/{id}/action": {"POST": action_table(actions.ACTIONS)},
    "/v3/volumes/{id}/encryption": {"GET": endpoint(volumes.encryption, volumes.SEE_ENCRYPTION, loads=_volume)},
    **_metadata("volume", VOLUMES),
    # --- snapshots ---
    "/v3/snapshots": {
        "GET": endpoint(snapshots.index, "volume:get_all_snapshots"),
        "POST": endpoint(snapshots.create, "volume:create_snapshot", body=snapshots.CREATE, status=202),
    },
    "/v3/snapshots/detail": {"GET": endpoint(snapshots.detail, "volume:get_all_snapshots")},
    "/v3/snapshots/{id}": {
        "GET": endpoint(snapshots.show, "volume:get_snapshot", loads=_snapshot),
        "PUT": endpoint(snapshots.update, "volume:update_snapshot", loads=_snapshot, body=snapshots.UPDATE),
        "DELETE": endpoint(snapshots.delete, "volume:delete_snapshot", loads=_snapshot, status=202),
    },
    "/v3/snapshots/{id}/action": {"POST": action_table(snapshots.ACTIONS)},
    **_metadata("snapshot", SNAPSHOTS),
    # --- types ---
    "/v3/types": {
        "GET": endpoint(types.index, types.GET_ALL),
        "POST": endpoint(types.create, _TYPE + "create", body=types.CREATE),
    },
    "/v3/types/{id}": {
        "GET": endpoint(types.show, types.GET, loads=types.load),
        "PUT": endpoint(types.update, _TYPE + "update", loads=types.load, body=types.UPDATE),
        "DELETE": endpoint(types.delete, _TYPE + "delete", loads=types.load, status=202),
    },
    "/v3/types/{id}/action": {"POST": action_table(types.ACTIONS)},
    "/v3/types/{id}/os-volume-type-access": {
        "GET": endpoint(types.list_access, _ACCESS + "get_all_for_type", loads=types.load)
    },
    "/v3/types/{id}/encryption": {
        "GET": endpoint(types.encryption, "volume_extension:volume_type_encryption:get", loads=types.load)
    },
    "/v3/types/{id}/extra_specs": {
        "GET": endpoint(types.list_specs, _SPECS + "index", loads=types.load),
        "POST": endpoint(types.create_specs, _SPECS + "create", loads=types.load, body=types.CREATE_SPECS),
    },
    "/v3/types/{id}/extra_specs/{key}": {
        "GET": endpoint(types.show_spec, _SPECS + "show", loads=types.load),
        "PUT": endpoint(types.update_spec, _SPECS + "update", loads=types.load, body=types.UPDATE_SPEC),
        "DELETE": endpoint(types.delete_spec, _SPECS + "delete", loads=types.load, status=202),
    },
    "/v3/default-types": {"GET": endpoint(types.list_defaults, _DEFAULT + "get_all", since="3.62")},
    "/v3/default-types/{id}": {
        "GET": endpoint(types.show_default, _DEFAULT + "get", since="3.62"),
        "PUT": endpoint(types.set_default, _DEFAULT + "set_or_update", body=types.SET_DEFAULT, since="3.62"),
        "DELETE": endpoint(types.unset_default, _DEFAULT + "unset", since="3.62", status=204),
    },
    # --- attachments ---
    "/v3/attachments": {
        "GET": endpoint(attachments.index, "volume:attachment_get", since="3.27"),
        "POST": endpoint(attachments.create, "volume:attachment_create", body=attachments.CREATE, since="3.27"),
    },
    "/v3/attachments/detail": {"GET": endpoint(attachments.detail, "volume:attachment_get", since="3.27")},
    "/v3/attachments/{id}": {
        "GET": endpoint(attachments.show, "volume:attachment_get", loads=_attachment, since="3.27"),
        "PUT": endpoint(
            attachments.update, "volume:attachment_update", loads=_attachment, body=attachments.UPDATE, since="3.27"
        ),
        "DELETE": endpoint(attachments.delete, "volume:attachment_delete", loads=_attachment, since="3.27"),
    },
    "/v3/attachments/{id}/action": {"POST": action_table(attachments.ACTIONS)},
    # --- volumes offered to another project ---
    **_transfers("/v3/os-volume-transfer"),
    **_transfers("/v3/volume-transfers"),
    # --- how much there may be ---
    "/v3/os-quota-sets/{project_id}": {
        "GET": endpoint(quotas.show, quotas.SHOW),
        "PUT": endpoint(quotas.update, "volume_extension:quotas:update", body=quotas.UPDATE),
        "DELETE": endpoint(quotas.delete, "volume_extension:quotas:delete"),
    },
    "/v3/os-quota-sets/{project_id}/defaults": {"GET": endpoint(quotas.defaults, quotas.SHOW)},
    "/v3/os-quota-class-sets/{class_name}": {
        "GET": endpoint(quotas.show_class, "volume_extension:quota_classes:get"),
        "PUT": endpoint(quotas.update_class, "volume_extension:quota_classes:update", body=quotas.UPDATE_CLASS),
    },
    "/v3/limits": {"GET": endpoint(quotas.limits, ANY_TOKEN)},
    # --- who keeps them ---
    "/v3/os-services": {"GET": endpoint(services.index, "volume_extension:services:index")},
    "/v3/os-hosts": {"GET": endpoint(hosts.index, hosts.MANAGE)},
    "/v3/os-hosts/{host}": {"GET": endpoint(hosts.show, hosts.MANAGE)},
    "/v3/os-availability-zone": {"GET": endpoint(services.zones, ANY_TOKEN)},
    "/v3/scheduler-stats/get_pools": {"GET": endpoint(services.pools, "scheduler_extension:scheduler_stats:get_pools")},
    "/v3/capabilities/{host}": {"GET": endpoint(services.capabilities, "volume_extension:capabilities")},
    "/v3/resource_filters": {"GET": endpoint(services.resource_filters, ANY_TOKEN, since="3.33")},
}
