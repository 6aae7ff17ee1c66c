# SPDX-License-Identifier: Apache-2.0
"""The bodies of POST /servers, PUT /servers/{id} and the metadata operations.

nova/api/openstack/compute/schemas/servers.py and server_metadata.py. Wider than Nova's in one place: imageRef may be a
URL, as the reference shows it. /v2 lets names have spaces around them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from computeapi import validation
from computeapi.api import parameters as p
from computeapi.versions import Versioned

_ip: p.Schema = {"type": "string", "format": "ip"}
_ipv4: p.Schema = {"type": "string", "format": "ipv4"}
_ipv6: p.Schema = {"type": "string", "format": "ipv6"}

ACCESS: p.Schema = {"accessIPv4": _ipv4, "accessIPv6": _ipv6}


def access_columns(wanted: Mapping[str, Any]) -> dict[str, str]:
    """The access addresses that a body sets, each in its one canonical form (RFC 5952)."""
    names = {"accessIPv4": "access_ip_v4", "accessIPv6": "access_ip_v6"}
    return {column: str(ipaddress.ip_address(wanted[name])) for name, column in names.items() if name in wanted}


PERSONALITY: p.Schema = {
    "type": "array",
    "items": p.obj(
        {"path": {"type": "string"}, "contents": {"type": "string", "format": "base64"}}, "path", "contents"
    ),
}

_DEVICE: p.Schema = {
    "virtual_name": {"type": "string", "maxLength": 255},
    "volume_id": p.uuid,
    "snapshot_id": p.uuid,
    "volume_size": {"type": ["integer", "string"], "pattern": "^[0-9]+$", "minimum": 1, "maximum": 0x7FFFFFFF},
    "device_name": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._/-]*$"},
    "delete_on_termination": p.boolean,
    "no_device": {},
    "connection_info": {"type": "string", "maxLength": 16777215},
}
_DEVICE_V2: p.Schema = {
    **_DEVICE,
    "source_type": {"type": "string", "enum": ["volume", "image", "snapshot", "blank"]},
    "uuid": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[a-zA-Z0-9._-]*$"},
    "image_id": p.uuid,
    "destination_type": {"type": "string", "enum": ["local", "volume"]},
    "guest_format": {"type": "string", "maxLength": 255},
    "device_type": {"type": "string", "maxLength": 255},
    "disk_bus": {"type": "string", "maxLength": 255},
    "boot_index": {"type": ["integer", "string", "null"], "pattern": "^-?[0-9]+$"},
}
_NETWORK: p.Schema = {
    "uuid": {"type": "string"},
    "port": {"type": ["string", "null"], "format": "uuid-or-null"},
    "fixed_ip": _ip,
}
_ids: p.Schema = {"type": "array", "items": p.uuid}
_HINTS: p.Schema = p.obj(
    {
        "group": {"oneOf": [p.uuid, _ids]},
        "different_host": {"oneOf": [p.uuid, _ids]},
        "same_host": {"type": ["string", "array"], "items": p.uuid},
        "query": {"type": ["string", "object"]},
        "target_cell": p.name,
        "different_cell": {"type": ["string", "array"], "items": {"type": "string"}},
        "build_near_host_ip": _ip,
        "cidr": {"type": "string", "pattern": "^/[0-9a-f.:]+$"},
    },
    extra=True,
)


def _create(name: p.Schema, user_data: p.Schema) -> p.Schema:
    server = p.obj(
        {
            "name": name,
            "imageRef": p.image_ref,
            "flavorRef": p.flavor_ref,
            "adminPass": p.admin_password,
            "metadata": p.metadata,
            "networks": {"type": "array", "items": p.obj(_NETWORK)},
            "OS-DCF:diskConfig": p.disk_config,
            **ACCESS,
            "personality": PERSONALITY,
            "availability_zone": name,
            "block_device_mapping": {"type": "array", "items": p.obj(_DEVICE)},
            "block_device_mapping_v2": {"type": "array", "items": p.obj(_DEVICE_V2)},
            "config_drive": p.boolean,
            "key_name": name,
            "min_count": p.positive_integer,
            "max_count": p.positive_integer,
            "return_reservation_id": p.boolean,
            "security_groups": {"type": "array", "items": p.obj({"name": name})},
            "user_data": user_data,
        },
        "name",
        "flavorRef",
    )
    return p.obj({"server": server, "os:scheduler_hints": _HINTS, "OS-SCH-HNT:scheduler_hints": _HINTS}, "server")


def _update(name: p.Schema) -> p.Schema:
    return p.wrapped(
        "server",
        p.obj({"name": name, "OS-DCF:diskConfig": p.disk_config, **ACCESS}),
    )


def _for_v2(schema: p.Schema) -> Versioned:
    return Versioned(validation.relaxed(schema))


_USER_DATA: p.Schema = {"type": "string", "format": "base64", "maxLength": 65535}

CREATE = _create(p.name, _USER_DATA)
CREATE_V2 = _for_v2(_create(p.loose_name, {"anyOf": [{"type": "null"}, _USER_DATA]}))
UPDATE = _update(p.name)
UPDATE_V2 = _for_v2(_update(p.loose_name))

METADATA = p.wrapped("metadata", p.metadata)
META_ITEM: dict[str, Any] = p.wrapped("meta", {**p.metadata, "minProperties": 1, "maxProperties": 1})
