# SPDX-License-Identifier: Apache-2.0
"""Credentials that users keep here for other programs, and EC2's pairs of keys among them. Nobody logs in by them here.

Behaviour: keystone/api/credentials.py and users.py (OS-EC2). Their contents are sealed in the database, with a key of
their own. Whose one is can't be changed. A restricted application credential sees and manages none.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

import orjson

from computeapi import errors, policy
from computeapi.api import parameters
from computeapi.api.identity import common, credentials
from computeapi.api.identity.common import ADMIN_OR_OWNER, ANYONE, OfUser, Row
from computeapi.db.models import Project, User
from computeapi.db.queries.identity import accounts, roles
from computeapi.db.queries.identity import secrets as queries
from computeapi.endpoint import Call
from computeapi.sealing import Seal

# --- rules ---

_ONE = "/v3/credentials/{credential_id}"
_EC2 = "/v3/users/{user_id}/credentials/OS-EC2"

RULES = [
    policy.rule(
        "identity:list_credentials", ANYONE, "List one's own; an administrator all.", ("GET", "/v3/credentials")
    ),
    policy.rule("identity:get_credential", ADMIN_OR_OWNER, "Show a credential.", ("GET", _ONE)),
    policy.rule("identity:create_credential", ADMIN_OR_OWNER, "Keep a credential.", ("POST", "/v3/credentials")),
    policy.rule("identity:update_credential", ADMIN_OR_OWNER, "Change its contents.", ("PATCH", _ONE)),
    policy.rule("identity:delete_credential", ADMIN_OR_OWNER, "Delete a credential.", ("DELETE", _ONE)),
    policy.rule("identity:ec2_list_credentials", ADMIN_OR_OWNER, "List a user's EC2 keys.", ("GET", _EC2)),
    policy.rule("identity:ec2_create_credential", ADMIN_OR_OWNER, "Make EC2 keys.", ("POST", _EC2)),
    policy.rule("identity:ec2_get_credential", ADMIN_OR_OWNER, "Show EC2 keys.", ("GET", _EC2 + "/{access}")),
    policy.rule("identity:ec2_delete_credential", ADMIN_OR_OWNER, "Delete them.", ("DELETE", _EC2 + "/{access}")),
]

# --- schemas ---

_ATTRIBUTES = {
    "type": common.name_255,
    "user_id": common.an_id,
    "project_id": common.id_or_null,
    "blob": {},  # checked by the handler: a schema's error would quote it
}
CREATE = common.body("credential", _ATTRIBUTES, "type", "blob")
UPDATE = common.body("credential", _ATTRIBUTES)
CREATE_EC2 = parameters.obj({"tenant_id": common.an_id}, "tenant_id", extra=True)

_LONGEST = 65_536  # characters of a blob

# --- views ---


def _view(call: Call, row: Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "user_id": row["user_id"],
        "project_id": row["project_id"],
        "type": row["type"],
        "blob": _seal(call).open(row["sealed_blob"])["blob"],
        "links": common.self_link(call, "credentials", row["id"]),
    }


def _view_ec2(call: Call, row: Row) -> dict[str, Any]:
    keys = orjson.loads(_seal(call).open(row["sealed_blob"])["blob"])
    return {
        "user_id": row["user_id"],
        "tenant_id": row["project_id"],
        "access": keys["access"],
        "secret": keys.get("secret"),
        "trust_id": None,
        "links": common.self_link(call, "users", row["user_id"], "credentials", "OS-EC2", keys["access"]),
    }


def _seal(call: Call) -> Seal:
    return Seal(call.services.settings.secret("credentials"))


# --- whose it is, for the rule ---


def owner(call: Call) -> OfUser:
    """Loader: whose the URL's credential is; nobody's where there is none."""
    with call.services.db.read() as conn:
        rows = queries.listed(conn, {"id": call.params["credential_id"]})
    return OfUser(rows[0]["user_id"] if rows else "")


def new_owner(call: Call) -> OfUser:
    """Loader: whose the body's credential is to be."""
    return OfUser(call.body["credential"].get("user_id", call.context.user_id))


# --- handlers ---


def index(call: Call) -> dict[str, Any]:
    """GET /v3/credentials, by user_id and type: one's own, for an administrator all."""
    credentials.manager(call)
    wanted = common.filters(call, "user_id", "type")
    if not call.allows("admin_required"):
        if wanted.get("user_id", call.context.user_id) != call.context.user_id:
            return common.collection(call, "credentials", [])
        wanted["user_id"] = call.context.user_id
    with call.services.db.read() as conn:
        rows = queries.listed(conn, wanted)
    return common.collection(call, "credentials", [_view(call, row) for row in rows])


def show(call: Call) -> dict[str, Any]:
    """GET /v3/credentials/{credential_id}."""
    credentials.manager(call)
    with call.services.db.read() as conn:
        return {"credential": _view(call, queries.get(conn, call.params["credential_id"]))}


def create(call: Call) -> dict[str, Any]:
    """POST /v3/credentials (201). One of type ec2 is known by its access key."""
    credentials.manager(call)
    given = call.body["credential"]
    blob = _checked(given, given["type"])
    key = _ec2_id(orjson.loads(blob)["access"]) if given["type"] == "ec2" else accounts.new_id()
    row = {
        "id": key,
        "user_id": call.target.user_id,
        "project_id": given.get("project_id"),
        "type": given["type"],
        "sealed_blob": _seal(call).close({"blob": blob}),
    }
    if row["type"] == "ec2" and row["project_id"] is None:
        raise errors.BadRequest("A credential of type ec2 needs a project_id.")
    with call.services.db.write() as conn:
        _check_exist(conn, row)
        queries.create(conn, row)
    return {"credential": _view(call, row)}


def update(call: Call) -> dict[str, Any]:
    """PATCH /v3/credentials/{credential_id}: its blob alone. Raises BadRequest for another owner, project or type."""
    credentials.manager(call)
    key, given = call.params["credential_id"], call.body["credential"]
    with call.services.db.write() as conn:
        row = queries.get(conn, key)
        for name in ("id", "type", "user_id", "project_id"):
            if given.get(name, row[name]) != row[name]:
                raise errors.BadRequest(f"The {name} of a credential can't be changed.")
        if "blob" in given:
            row["sealed_blob"] = _seal(call).close({"blob": _checked(given, row["type"])})
            queries.change(conn, key, row["sealed_blob"])
    return {"credential": _view(call, row)}


def delete(call: Call) -> None:
    """DELETE /v3/credentials/{credential_id}."""
    credentials.manager(call)
    with call.services.db.write() as conn:
        queries.remove(conn, call.params["credential_id"])


def _checked(given: Row, kind: str) -> str:
    """The blob. Raises BadRequest, without quoting it, for one that is too long or, of type ec2, has no access key."""
    blob = common.text(given, "blob")
    if len(blob) > _LONGEST:
        raise errors.BadRequest(f"Invalid input for field blob: it has {_LONGEST} characters at most.")
    if kind == "ec2":
        try:
            keys = orjson.loads(blob)
        except ValueError:
            keys = None
        if not isinstance(keys, dict) or not isinstance(keys.get("access"), str) or not keys["access"]:
            raise errors.BadRequest("Invalid input for field blob: JSON with an access key is asked for.")
    return blob


def _check_exist(conn: Any, row: Row) -> None:
    for model, name in ((User, "user_id"), (Project, "project_id")):
        if row[name] is not None and accounts.find(conn, model, row[name]) is None:
            raise errors.BadRequest(f"Could not find {name}: {row[name]}.")


# --- handlers: EC2 ---


def list_ec2(call: Call) -> dict[str, Any]:
    """GET /v3/users/{user_id}/credentials/OS-EC2."""
    credentials.manager(call)
    with call.services.db.read() as conn:
        accounts.require(conn, User, call.params["user_id"])
        rows = queries.listed(conn, {"user_id": call.params["user_id"], "type": "ec2"})
    return common.collection(call, "credentials", [_view_ec2(call, row) for row in rows])


def create_ec2(call: Call) -> dict[str, Any]:
    """POST …/OS-EC2 (201): keys for a project on which the user has a role. Raises NotFound, Forbidden."""
    credentials.manager(call)
    user_id, project_id = call.params["user_id"], call.body["tenant_id"]
    keys = {"access": secrets.token_hex(16), "secret": secrets.token_hex(32)}
    row = {
        "id": _ec2_id(keys["access"]),
        "user_id": user_id,
        "project_id": project_id,
        "type": "ec2",
        "sealed_blob": _seal(call).close({"blob": orjson.dumps(keys).decode("ascii")}),
    }
    with call.services.db.write() as conn:
        accounts.require(conn, User, user_id)
        accounts.require(conn, Project, project_id)
        if not roles.effective(conn, user_id, "project", project_id):
            raise errors.Forbidden(f"User {user_id} has no role on project {project_id}.")
        queries.create(conn, row)
    return {"credential": _view_ec2(call, row)}


def show_ec2(call: Call) -> dict[str, Any]:
    """GET …/OS-EC2/{access}."""
    credentials.manager(call)
    with call.services.db.read() as conn:
        row = queries.get(conn, _ec2_id(call.params["access"]), user_id=call.params["user_id"], type="ec2")
    return {"credential": _view_ec2(call, row)}


def delete_ec2(call: Call) -> None:
    """DELETE …/OS-EC2/{access}."""
    credentials.manager(call)
    with call.services.db.write() as conn:
        queries.remove(conn, _ec2_id(call.params["access"]), user_id=call.params["user_id"], type="ec2")


def _ec2_id(access: str) -> str:
    return hashlib.sha256(access.encode("utf-8", "surrogatepass")).hexdigest()
