# SPDX-License-Identifier: Apache-2.0
"""Key pairs, of the user who asks (nova/api/openstack/compute/keypairs.py).

From 2.10 on an administrator may name another user.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection

from computeapi import validation
from computeapi.api import parameters
from computeapi.api.compute import links
from computeapi.api.compute.keypairs import material
from computeapi.db.queries import keypairs as queries
from computeapi.db.queries import quotas
from computeapi.db.queries.keypairs import KeypairRow
from computeapi.endpoint import Call
from computeapi.policy import ADMIN, rule
from computeapi.versions import Versioned

Json = dict[str, Any]

# --- RULES ---

KEYPAIRS = "os_compute_api:os-keypairs:"
_OWN = f"({ADMIN}) or user_id:%(user_id)s"

RULES = [
    rule(KEYPAIRS + "index", _OWN, "List a user's key pairs.", ("GET", "/os-keypairs")),
    rule(KEYPAIRS + "create", _OWN, "Make or import a key pair.", ("POST", "/os-keypairs")),
    rule(KEYPAIRS + "show", _OWN, "Show a key pair.", ("GET", "/os-keypairs/{keypair_name}")),
    rule(KEYPAIRS + "delete", _OWN, "Delete a key pair.", ("DELETE", "/os-keypairs/{keypair_name}")),
]

# --- SCHEMAS ---

_NAME = {"allOf": [parameters.name, {"pattern": r"^[_\- a-zA-Z0-9]+$"}]}
_PUBLIC_KEY = {"type": "string"}
_FIELDS: Json = {"name": _NAME, "public_key": _PUBLIC_KEY}
_FIELDS_2_2 = {**_FIELDS, "type": {"type": "string", "enum": ["ssh", "x509"]}}
_FIELDS_2_10 = {**_FIELDS_2_2, "user_id": {"type": "string", "maxLength": 64}}


def _create(fields: Json) -> Json:
    return parameters.wrapped("keypair", parameters.obj(fields, "name"))


CREATE = Versioned(_create(_FIELDS), {"2.2": _create(_FIELDS_2_2), "2.10": _create(_FIELDS_2_10)})
CREATE_V2 = Versioned(validation.relaxed(_create({"name": parameters.loose_name, "public_key": _PUBLIC_KEY})))
QUERY = Versioned(parameters.query({}), {"2.10": parameters.query({"user_id": parameters.Q_ANY}, multi=("user_id",))})

CREATED = Versioned(200, {"2.2": 201})
DELETED = Versioned(202, {"2.2": 204})

# --- VIEW ---

_LISTED = ("name", "public_key", "fingerprint")
_SHOWN = (*_LISTED, "user_id", "created_at", "id")

LIST_FIELDS = Versioned(_LISTED, {"2.2": (*_LISTED, "type")})
CREATE_FIELDS = Versioned((*_LISTED, "user_id"), {"2.2": (*_LISTED, "user_id", "type")})
SHOW_FIELDS = Versioned(_SHOWN, {"2.2": (*_SHOWN, "type")})

# Nova shows them, but a key pair is never changed, and a deleted one never shown.
_NEVER = {"deleted": False, "deleted_at": None, "updated_at": None}


def _view(call: Call, fields: Versioned, keypair: KeypairRow) -> Json:
    return {field: getattr(keypair, field) for field in fields.at(call.version)}


# --- HANDLERS ---


def _user(call: Call, action: str, named: str | None) -> str:
    """Whose key pairs it is about: `named`, where the caller may, else its own."""
    if not named:
        return call.context.user_id
    call.check(KEYPAIRS + action, user_id=named)
    return named


def index(call: Call) -> Json:
    """GET /os-keypairs: the user's, by name."""
    user_id = _user(call, "index", links.last(call, "user_id"))
    with call.services.db.read() as conn:
        found = queries.list_of(conn, user_id)
    return {"keypairs": [{"keypair": _view(call, LIST_FIELDS, keypair)} for keypair in found]}


def show(call: Call) -> Json:
    """GET /os-keypairs/{keypair_name}."""
    user_id = _user(call, "show", links.last(call, "user_id"))
    with call.services.db.read() as conn:
        keypair = queries.find(conn, user_id, call.params["keypair_name"])
    return {"keypair": _view(call, SHOW_FIELDS, keypair) | _NEVER}


def create(call: Call) -> Json:
    """POST /os-keypairs: import `public_key`, or make a new pair and answer its private key, once.

    Raises QuotaExceeded, BadRequest for a key that is none, Conflict for a name that is taken.
    """
    body = call.body["keypair"]
    if call.legacy:  # what /v2 did not know goes unread
        body = {field: value for field, value in body.items() if field in _FIELDS}
    user_id = _user(call, "create", body.get("user_id"))
    name, kind = body["name"].strip(), body.get("type", "ssh")
    db = call.services.db
    made = None
    if "public_key" not in body:
        with db.read() as conn:
            _check_quota(call, conn, user_id)  # before anything that costs
        made = material.new(kind, user_id)
    with db.write() as conn:
        db.lock(conn, f"keypairs:{user_id}")
        _check_quota(call, conn, user_id)
        made = made or material.given(kind, body["public_key"])
        keypair = queries.create(conn, user_id, name, kind, made.fingerprint, made.public_key)
    shown = _view(call, CREATE_FIELDS, keypair)
    if made.private_key is not None:
        shown["private_key"] = made.private_key
    return {"keypair": shown}


def _check_quota(call: Call, conn: Connection, user_id: str) -> None:
    limits = quotas.limits_for(conn, call.services.settings, call.project_id, user_id)
    queries.check_quota(conn, user_id, limits["key_pairs"])


def remove(call: Call) -> None:
    """DELETE /os-keypairs/{keypair_name}."""
    user_id = _user(call, "delete", links.last(call, "user_id"))
    with call.services.db.write() as conn:
        queries.remove(conn, user_id, call.params["keypair_name"])
