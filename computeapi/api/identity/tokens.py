# SPDX-License-Identifier: Apache-2.0
"""Tokens: issued, shown, revoked. Behaviour: keystone/api/auth.py, keystone/common/render_token.py."""

from __future__ import annotations

from typing import Any

from computeapi import errors, policy, validation
from computeapi.api import parameters
from computeapi.api.identity import catalog, common
from computeapi.api.identity.common import ADMIN, ADMIN_OR_SYSTEM_READER, ANYONE
from computeapi.backends.identity.login import Described
from computeapi.backends.identity.tokens import Claims
from computeapi.db.queries.identity import revocations, roles
from computeapi.endpoint import Call, Reply

# --- rules: the owner is the user whose token it is ---

_PATH = "/v3/auth/tokens"

RULES = [
    policy.rule(
        "identity:validate_token",
        f"{ADMIN_OR_SYSTEM_READER} or role:service or rule:owner",
        "Show what a token is about.",
        ("GET", _PATH),
    ),
    policy.rule(
        "identity:check_token",
        f"{ADMIN_OR_SYSTEM_READER} or rule:owner",
        "Ask whether a token is valid.",
        ("HEAD", _PATH),
    ),
    policy.rule("identity:revoke_token", f"{ADMIN} or rule:owner", "Revoke a token.", ("DELETE", _PATH)),
    policy.rule(
        "identity:get_auth_domains", ANYONE, "List the domains one has a role on.", ("GET", "/v3/auth/domains")
    ),
    policy.rule(
        "identity:get_auth_system", ANYONE, "Ask whether one has a role on the system.", ("GET", "/v3/auth/system")
    ),
]

# --- schemas ---

_text: parameters.Schema = {"type": "string"}
_domain = parameters.obj({"id": _text, "name": _text}, extra=True)
_user = parameters.obj({"id": _text, "name": _text, "domain": _domain}, extra=True)
_AUTH = validation.validator(
    parameters.obj(
        {
            "identity": parameters.obj(
                {
                    "methods": {"type": "array", "items": _text},
                    "password": parameters.obj(
                        {
                            "user": {
                                **_user,
                                "properties": {**_user["properties"], "password": _text},
                                "required": ["password"],
                            }
                        },
                        "user",
                        extra=True,
                    ),
                    "token": parameters.obj({"id": _text}, "id", extra=True),
                    "application_credential": parameters.obj(
                        {"id": _text, "name": _text, "secret": _text, "user": _user}, "secret", extra=True
                    ),
                },
                "methods",
                extra=True,
            ),
            "scope": {
                "type": ["object", "string"],
                "properties": {
                    "project": _user,
                    "domain": _domain,
                    "system": parameters.obj({"all": {"type": "boolean"}}, extra=True),
                },
            },
        },
        "identity",
        extra=True,
    )
)
# The rest of the body is checked by the handler, since a schema's error quotes what it refuses.
ISSUE = parameters.obj({"auth": {"type": "object"}}, "auth", extra=True)

# --- view ---


def view(call: Call, about: Described) -> dict[str, Any]:
    """A token's body."""
    claims, user, scope = about.claims, about.user, about.scope
    shown: dict[str, Any] = {
        "methods": list(claims.methods),
        "user": {
            "domain": {"id": user.domain_id, "name": user.domain_name},
            "id": user.id,
            "name": user.name,
            "password_expires_at": None,
        },
        "audit_ids": claims.audit_ids,
        "expires_at": _time(claims.expires_at),
        "issued_at": _time(claims.issued_at),
    }
    if scope is None:
        return {"token": shown}
    if scope.kind == "system":
        shown["system"] = {"all": True}
    elif scope.kind == "domain":
        shown["domain"] = {"id": scope.id, "name": scope.name}
    else:
        domain = {"id": scope.domain_id, "name": scope.domain_name}
        shown |= {"project": {"domain": domain, "id": scope.id, "name": scope.name}, "is_domain": False}
    shown["roles"] = [{"id": key, "name": name} for key, name in about.roles.items()]
    if about.credential is not None:
        shown["application_credential"] = {
            "id": about.credential["id"],
            "name": about.credential["name"],
            "restricted": not about.credential["unrestricted"],
        }
    if "nocatalog" not in call.query:
        shown["catalog"] = catalog.of(call, claims.project_id, claims.user_id)
    return {"token": shown}


def _time(stored: str) -> str:
    return stored[:19] + ".000000Z"


# --- handlers ---


def issue(call: Call) -> Reply:
    """POST /v3/auth/tokens."""
    auth = call.body["auth"]
    wrong = next(_AUTH.iter_errors(auth), None)
    if wrong is not None:
        where = "/".join(str(part) for part in wrong.absolute_path) or "auth"
        lacks = ", ".join(wrong.validator_value) if wrong.validator == "required" else ""
        raise errors.BadRequest(f"Invalid input for field {where}" + (f": it needs {lacks}." if lacks else "."))
    token, about = common.desk(call).log_in(auth, common.address(call))
    return Reply(view(call, about), 201, {"X-Subject-Token": token})


def subject(call: Call) -> Claims:
    """Loader: what X-Subject-Token says. Raises NotFound where it is no valid token."""
    try:
        return common.authenticator(call).claims(call.header("X-Subject-Token") or "", fresh=True)
    except errors.Unauthorized:
        raise errors.NotFound("The token that X-Subject-Token has is not valid.") from None


def show(call: Call) -> Reply:
    """GET and HEAD /v3/auth/tokens."""
    about = common.desk(call).describe(call.target)
    return Reply(view(call, about), headers={"X-Subject-Token": call.header("X-Subject-Token") or ""})


def revoke(call: Call) -> None:
    """DELETE /v3/auth/tokens: at once in this process, within a second in others."""
    claims = call.target
    common.write(call, lambda conn: revocations.revoke(conn, f"audit:{claims.audit_id}", common.until(call)))


def show_system(call: Call) -> dict[str, Any]:
    """GET /v3/auth/system."""
    with call.services.db.read() as conn:
        found = roles.effective(conn, call.context.user_id, "system", roles.SYSTEM)
    return {"system": [{"all": True}] if found else [], "links": {"self": common.here(call)}}
