# SPDX-License-Identifier: Apache-2.0
"""Address scopes in the Networking API. Sentences: neutron/db/address_scope_db.py."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import Connection, Select

from computeapi import errors
from computeapi.api.network import attributes as a
from computeapi.api.network.attributes import Attribute
from computeapi.api.network.common import view_one
from computeapi.api.network.creating import creator
from computeapi.api.network.networks import columns
from computeapi.db.models import AddressScope
from computeapi.db.queries import networks as queries
from computeapi.db.queries import subnet_pools as statements
from computeapi.db.queries.common import insert_row, update_row
from computeapi.db.queries.networks import Found
from computeapi.db.queries.subnet_pools import ADDRESS_SCOPES
from computeapi.endpoint import Call

_COLUMNS = {name: name for name in ("name", "shared", "ip_version")}


def _table(verb: str) -> dict[str, Attribute]:
    return {
        "name": a.COMMON["name"],
        "project_id": a.COMMON["project_id"],
        "shared": Attribute(a.boolean, default=False, rule=f"{verb}:shared"),
        "ip_version": Attribute(a.version, put=False, required=True),
    }


CREATE, UPDATE = _table("create_address_scope"), _table("update_address_scope")


def view(_call: Call, _conn: Connection, rows: list[Found], _keys: Select[Any]) -> list[dict[str, Any]]:
    """Address scopes."""
    return [
        {
            "id": row.uuid,
            "name": row.name,
            "tenant_id": row.project_id or "",
            "project_id": row.project_id or "",
            "shared": bool(row.shared),
            "ip_version": row.ip_version,
        }
        for row in rows
    ]


def _create(call: Call, conn: Connection, values: dict[str, Any]) -> dict[str, Any]:
    scope_uuid, project_id = str(uuid.uuid4()), a.owner(call, values)
    insert_row(conn, AddressScope, {"uuid": scope_uuid, "project_id": project_id, **columns(values, _COLUMNS)})
    return view_one(call, ADDRESS_SCOPES, queries.find(conn, ADDRESS_SCOPES, scope_uuid, None), view, conn)


create = creator("address_scope", CREATE, _create)


def change(call: Call) -> dict[str, Any]:
    """PUT /v2.0/address-scopes/{id}. What is shared stays so."""
    values = a.read(call, "address_scope", UPDATE)
    target = call.target
    if target.shared and not values.get("shared", True):
        raise errors.BadRequest(
            f"Unable to update address scope {target.uuid} : Shared address scope can't be unshared.",
            kind="AddressScopeUpdateError",
        )
    row = columns(values, _COLUMNS)
    with call.services.db.write() as conn:
        if row:
            update_row(conn, AddressScope, target.id, row)
        found = queries.find(conn, ADDRESS_SCOPES, target.uuid, None)
        return {"address_scope": view_one(call, ADDRESS_SCOPES, found, view, conn)}


def remove(call: Call) -> None:
    """DELETE /v2.0/address-scopes/{id}. Raises Conflict (AddressScopeInUse)."""
    with call.services.db.write() as conn:
        if not statements.delete_unused(conn, ADDRESS_SCOPES, call.target.id):
            raise errors.Conflict(
                f"Unable to complete operation on address scope {call.target.uuid}. There are one or more subnet pools "
                "in use on the address scope.",
                kind="AddressScopeInUse",
            )
