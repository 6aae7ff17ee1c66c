# SPDX-License-Identifier: Apache-2.0
"""Who proves to be whom gets a token: the methods, the scopes, and what a token is about.

Behaviour: keystone/api/_shared/authentication.py and keystone/auth/plugins. A wrong password, an unknown user and a
disabled one get the same answer after the same work; so do scopes that don't exist and those without a role.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson
from sqlalchemy import Connection

from computeapi import clock, errors
from computeapi.backends.identity import passwords, tokens
from computeapi.backends.identity.embedded import EmbeddedAuthenticator
from computeapi.backends.identity.tokens import Claims
from computeapi.db.engine import Database
from computeapi.db.queries.identity import accounts, credentials, logins, roles
from computeapi.db.queries.identity.logins import Account, Scope

LOG = logging.getLogger("computeapi.identity")


@dataclass(frozen=True, slots=True)
class Described:
    """What a token is about, by names: for the answer. `roles` is id → name."""

    claims: Claims
    user: Account
    scope: Scope | None
    roles: Mapping[str, str]
    credential: accounts.Row | None = None


@dataclass(frozen=True, slots=True)
class _Proof:
    """A user proved who it is, by these methods. `expires_at`: no token of it may live longer."""

    user: Account
    methods: tuple[str, ...]
    expires_at: str | None = None
    chain_id: str = ""
    credential: accounts.Row | None = None


class Desk:
    """Issues tokens and tells what they are about. `lifetime` is in seconds; `address` is the client's."""

    def __init__(self, db: Database, authenticator: EmbeddedAuthenticator, lifetime: float) -> None:
        self._db = db
        self._authenticator = authenticator
        self._lifetime = lifetime
        self._methods: dict[str, Callable[[Mapping[str, Any], str], _Proof]] = {
            "password": self._by_password,
            "token": self._by_token,
            "application_credential": self._by_credential,
        }

    def log_in(self, auth: Mapping[str, Any], address: str) -> tuple[str, Described]:
        """The token that `auth` (the request's) asks for. Raises Unauthorized, TooManyRequests, BadRequest."""
        issued_at = clock.now()
        proof = self._prove(auth["identity"], address)
        if proof.credential is not None:
            if "scope" in auth:
                raise errors.Unauthorized  # its scope is its own
            scope, granted = self._credential_scope(proof.user, proof.credential)
        else:
            scope, granted = self._scope(proof.user, auth.get("scope"))
        latest = clock.shifted(self._lifetime)
        claims = Claims(
            user_id=proof.user.id,
            project_id=scope.id if scope and scope.kind == "project" else None,
            domain_id=scope.id if scope and scope.kind == "domain" else None,
            system=bool(scope and scope.kind == "system"),
            roles=tuple(sorted(granted.values())),
            methods=proof.methods,
            issued_at=issued_at,
            expires_at=min(latest, proof.expires_at or latest),
            audit_id=tokens.audit_id(),
            chain_id=proof.chain_id,
            user_epoch=proof.user.epoch,
            scope_epoch=scope.epoch if scope else 0,
            credential_id=proof.credential["id"] if proof.credential else None,
        )
        return self._authenticator.codec.seal(claims), Described(claims, proof.user, scope, granted, proof.credential)

    def describe(self, claims: Claims) -> Described:
        """What a valid token is about. Raises NotFound where its user or scope exists no more."""
        scope: Scope | None = None
        with self._db.read() as conn:
            user = logins.account(conn, {"id": claims.user_id})
            if claims.project_id is not None:
                scope = logins.project(conn, {"id": claims.project_id})
            elif claims.domain_id is not None:
                scope = logins.domain(conn, {"id": claims.domain_id})
            elif claims.system:
                scope = _SYSTEM
            granted = roles.by_names(conn, claims.roles) if claims.roles else {}
            credential = credentials.find(conn, {"id": claims.credential_id}) if claims.credential_id else None
        if user is None or (scope is None and (claims.project_id or claims.domain_id)):
            raise errors.NotFound("The token is about a user or a scope that does not exist.")
        return Described(claims, user, scope, {key: name for name, key in granted.items()}, credential)

    def check_password(self, wanted: Mapping[str, str], password: str, address: str) -> Account:
        """The enabled user of that id, or name and domain, and password. Raises Unauthorized, TooManyRequests."""
        with self._db.read() as conn:
            user = logins.account(conn, wanted)
        self._check(user.id if user else _key(wanted), address, password, user.password_hash if user else None, user)
        assert user is not None
        return user

    # --- methods ---

    def _prove(self, identity: Mapping[str, Any], address: str) -> _Proof:
        names = list(dict.fromkeys(identity["methods"]))
        if not names or not set(names) <= set(self._methods):
            raise errors.Unauthorized
        for name in names:
            if name not in identity:
                raise errors.BadRequest(f"The method {name} is asked for, but identity has no {name}.")
        proofs = [self._methods[name](identity[name], address) for name in names]
        first = proofs[0]
        for other in proofs[1:]:
            if other.user.id != first.user.id:
                raise errors.Unauthorized
            first = replace(
                first,
                methods=tuple(dict.fromkeys(first.methods + other.methods)),
                expires_at=min(filter(None, (first.expires_at, other.expires_at)), default=None),
                chain_id=first.chain_id or other.chain_id,
                credential=first.credential or other.credential,
            )
        return first

    def _by_password(self, given: Mapping[str, Any], address: str) -> _Proof:
        user = given["user"]
        return _Proof(self.check_password(reference(user, "user"), user["password"], address), ("password",))

    def _by_token(self, given: Mapping[str, Any], _address: str) -> _Proof:
        user_id = self._authenticator.claims(given["id"]).user_id
        with self._db.read() as conn:
            user = logins.account(conn, {"id": user_id})
        # After the user's epoch was read: what is revoked from now on is revoked for the new token as well.
        claims = self._authenticator.claims(given["id"], fresh=True)
        if claims.credential_id is not None:
            raise errors.Forbidden("A token of an application credential can't be used to get another token.")
        if user is None or not user.enabled:
            raise errors.Unauthorized
        methods = tuple(dict.fromkeys(("token", *claims.methods)))
        return _Proof(user, methods, claims.expires_at, claims.chain_id or claims.audit_id)

    def _by_credential(self, given: Mapping[str, Any], address: str) -> _Proof:
        wanted: dict[str, Any] = {"id": given["id"]} if "id" in given else {"name": given.get("name", "")}
        key = "credential " + _key(wanted)
        with self._db.read() as conn:
            if "id" not in wanted:
                owner = reference(given.get("user", {}), "user")
                user = logins.account(conn, owner)
                key += _key(owner)
                wanted["user_id"] = user.id if user else ""
            found = credentials.find(conn, wanted, secret=True)
            user = logins.account(conn, {"id": found["user_id"]}) if found else None
        self._check(key, address, given["secret"], found["secret_hash"] if found else None, user)
        assert user is not None and found is not None
        if found["expires_at"] is not None and found["expires_at"] <= clock.now():
            raise errors.Unauthorized
        return _Proof(user, ("application_credential",), found["expires_at"], credential=found)

    def _check(self, key: str, address: str, secret: str, stored: str | None, user: Account | None) -> None:
        """Raise unless the secret is the stored one and the user may log in; count it if not."""
        attempts = self._authenticator.attempts
        attempts.check(key, address)
        right = passwords.matches(secret, stored)
        if not right or user is None or not user.enabled:
            LOG.info("log-in refused: user %s from %s", user.id if user else "unknown", address)
            attempts.failed(key, address)
            raise errors.Unauthorized

    # --- scopes ---

    def _scope(self, user: Account, wanted: Any) -> tuple[Scope | None, dict[str, str]]:
        with self._db.read() as conn:
            if wanted is None:
                return _default_scope(conn, user)
            kind = _kind(wanted)
            if kind == "unscoped":
                return None, {}
            scope = _find_scope(conn, kind, wanted[kind])
            granted = roles.effective(conn, user.id, scope.kind, scope.id) if scope and scope.enabled else {}
        if not granted:
            raise errors.Unauthorized
        return scope, granted

    def _credential_scope(self, user: Account, credential: accounts.Row) -> tuple[Scope | None, dict[str, str]]:
        with self._db.read() as conn:
            scope = logins.project(conn, {"id": credential["project_id"]})
            if scope is None or not scope.enabled:
                raise errors.Unauthorized
            lent = roles.closure(roles.implications(conn), credential["role_ids"])
            granted = roles.effective(conn, user.id, "project", scope.id)
        granted = {key: name for key, name in granted.items() if key in lent}
        if not granted:
            raise errors.Unauthorized
        return scope, granted


_SYSTEM = Scope("system", roles.SYSTEM, "", "", "", True, 0)
_KINDS = ("project", "domain", "system", "OS-TRUST:trust", "unscoped")


def reference(given: Mapping[str, Any], what: str) -> dict[str, str]:
    """The conditions for what the API names by {"id"} or {"name", "domain"}. Raises BadRequest for neither."""
    if "id" not in given:
        if "name" not in given:
            raise errors.BadRequest(f"Expecting to find id or name in {what}.")
        domain = given.get("domain")
        if not domain or not ("id" in domain or "name" in domain):
            raise errors.BadRequest(f"Expecting to find domain in {what}, with an id or a name.")
    return logins.named(given)


def _kind(wanted: Any) -> str:
    if wanted == "unscoped":
        return "unscoped"
    kinds = [kind for kind in _KINDS if kind in wanted] if isinstance(wanted, dict) else []
    if len(kinds) != 1:
        raise errors.BadRequest("Expecting to find one of project, domain, system or unscoped in scope.")
    return kinds[0]


def _find_scope(conn: Connection, kind: str, wanted: Mapping[str, Any]) -> Scope | None:
    if kind == "project":
        return logins.project(conn, reference(wanted, "project"))
    if kind == "domain":
        if "id" not in wanted and "name" not in wanted:
            raise errors.BadRequest("Expecting to find id or name in domain.")
        return logins.domain(conn, {"id": wanted["id"]} if "id" in wanted else {"name": wanted["name"]})
    if kind == "system":
        if wanted.get("all") is not True:
            raise errors.BadRequest("Expecting to find all, which is true, in system.")
        return _SYSTEM
    return None  # trusts: there are none here


def _default_scope(conn: Connection, user: Account) -> tuple[Scope | None, dict[str, str]]:
    """The user's default project where that is usable; else no scope."""
    if user.default_project_id:
        scope = logins.project(conn, {"id": user.default_project_id})
        granted = roles.effective(conn, user.id, "project", scope.id) if scope and scope.enabled else {}
        if granted:
            return scope, granted
    return None, {}


def _key(wanted: Mapping[str, str]) -> str:
    return orjson.dumps(wanted, option=orjson.OPT_SORT_KEYS).decode("utf-8")[:512]
