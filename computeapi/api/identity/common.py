# SPDX-License-Identifier: Apache-2.0
"""What the nouns of the identity service share: links, lists, names in URLs, rules' defaults, unknown attributes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode

from sqlalchemy import Connection

from computeapi import errors, policy
from computeapi.api import parameters
from computeapi.backends.identity.embedded import EmbeddedAuthenticator
from computeapi.backends.identity.login import Desk
from computeapi.db.models import Domain, Project
from computeapi.db.queries.identity import accounts, revocations
from computeapi.endpoint import Call

Row = accounts.Row

# --- rules' defaults (keystone/common/policies/base.py) ---

ADMIN = "rule:admin_required"
ADMIN_OR_SYSTEM_READER = "rule:admin_or_system_reader"
ADMIN_OR_OWNER = "rule:admin_required or rule:owner"
READER_OR_OWNER = "rule:admin_or_system_reader or rule:owner"
ANYONE = policy.ANYONE

RULES = [
    policy.rule("admin_required", "role:admin", "Is an administrator of the identity service."),
    policy.rule(
        "admin_or_system_reader",
        "rule:admin_required or (role:reader and system_scope:all)",
        "An administrator, or somebody who may read everything.",
    ),
    policy.rule("owner", "user_id:%(user_id)s", "Is the user that the URL names."),
]

# --- schemas ---

name_64: parameters.Schema = {"type": "string", "minLength": 1, "maxLength": 64, "pattern": r"\S"}
name_255: parameters.Schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"\S"}
an_id: parameters.Schema = {"type": "string", "minLength": 1, "maxLength": 64}
id_or_null: parameters.Schema = {"type": ["string", "null"], "minLength": 1, "maxLength": 64}
text_or_null: parameters.Schema = {"type": ["string", "null"]}
immutable: parameters.Schema = parameters.obj({"immutable": {"type": ["boolean", "null"]}})


def body(key: str, properties: parameters.Schema, *required: str) -> parameters.Schema:
    """`{key: {…}}`; attributes that we do not know are kept, as Keystone does."""
    return parameters.wrapped(key, parameters.obj(properties, *required, extra=True))


# --- who a URL is about, for the rule ---


@dataclass(frozen=True, slots=True)
class OfUser:
    """Something of this user; whether it exists is not asked before the rule."""

    user_id: str


@dataclass(frozen=True, slots=True)
class OfProject:
    """Something of this project."""

    project_id: str


def url_user(call: Call) -> OfUser:
    """Loader: the URL's user."""
    return OfUser(call.params["user_id"])


def url_project(call: Call) -> OfProject:
    """Loader: the URL's project."""
    return OfProject(call.params["project_id"])


# --- services ---


def authenticator(call: Call) -> EmbeddedAuthenticator:
    """The embedded service's own part: the seal of tokens, failed attempts, revocations."""
    return cast(EmbeddedAuthenticator, call.services.authenticator)


def desk(call: Call) -> Desk:
    """Where tokens are issued."""
    return Desk(call.services.db, authenticator(call), call.services.settings.token_expiration)


def address(call: Call) -> str:
    """The client's address: the peer's, or what the proxies in front of us (as many as the setting says) wrote down."""
    hops = call.services.settings.proxies
    if hops:
        route = [part.strip() for part in (call.header("X-Forwarded-For") or "").split(",") if part.strip()]
        if len(route) >= hops:
            return route[-hops][:64]
    return call.request.remote_addr or ""


def until(call: Call) -> str:
    """When every token issued so far has expired (see queries.identity)."""
    return revocations.until(call.services.settings.token_expiration)


def write(call: Call, act: Callable[[Connection], Any]) -> Any:
    """One transaction that may revoke tokens: this process looks again at once."""
    try:
        with call.services.db.write() as conn:
            return act(conn)
    finally:
        authenticator(call).forget()


# --- answers ---


def base(call: Call) -> str:
    """What URLs of this service begin with."""
    return f"{call.host_url}/identity/v3"


def self_link(call: Call, *path: str) -> dict[str, str]:
    """The `links` of one thing."""
    return {"self": "/".join((base(call), *path))}


def here(call: Call) -> str:
    """The request's own URL, with its query."""
    return f"{call.host_url}{call.request.relative_uri}"


def collection(call: Call, key: str, items: Sequence[Any], following: str | None = None) -> dict[str, Any]:
    """A list with its links; `following` is the next page's URL."""
    return {key: items, "links": {"next": following, "self": here(call), "previous": None}}


_LONGEST_PAGE = 10_000

Viewer = Callable[[Call, Row], dict[str, Any]]


def page(call: Call, key: str, view: Viewer, read: Callable[[Connection, int | None, str | None], list[Row]]) -> Any:
    """A list by `limit` and `marker`; all of it where no limit is asked for, as Keystone does."""
    text, marker = call.first("limit"), call.first("marker")
    limit = min(int(text[:9]), _LONGEST_PAGE) if text and text.isascii() and text.isdigit() else 0
    with call.services.db.read() as conn:
        rows = read(conn, limit + 1 if limit else None, marker)
    following = None
    if limit and len(rows) > limit:
        rows = rows[:limit]
        following = next_page(call, rows[-1]["id"])
    return collection(call, key, [view(call, row) for row in rows], following)


def next_page(call: Call, marker: str) -> str:
    """This URL with another marker."""
    query = {**call.query, "marker": [marker]}
    return f"{call.host_url}{call.request.path}?{urlencode(query, doseq=True)}"


# --- queries and bodies ---


def filters(call: Call, *names: str) -> dict[str, Any]:
    """Those of these filters that the query has; `enabled` becomes 0 or 1."""
    found: dict[str, Any] = {}
    for name in names:
        value = call.first(name)
        if value is not None:
            found[name] = int(is_true(value)) if name == "enabled" else value
    return found


def is_true(value: str) -> bool:
    """Keystone's reading of a flag in a query: anything but 0 and false, also nothing at all."""
    return value.strip().lower() not in ("0", "false", "no", "off", "f", "n")


def flag(call: Call, name: str) -> bool:
    """Whether the query has the flag, and does not say 0 or false."""
    value = call.first(name)
    return value is not None and is_true(value)


def text(given: Mapping[str, Any], key: str) -> str:
    """A secret text of the body. Raises BadRequest, without quoting it, where it is none."""
    value = given[key]
    if not isinstance(value, str):
        raise errors.BadRequest(f"Invalid input for field {key}: a text is asked for.")
    return value


_NEVER_EXTRA = frozenset({"id", "links", "password", "original_password", "secret", "password_expires_at"})


def split(given: Mapping[str, Any], columns: Iterable[str]) -> tuple[Row, Row]:
    """The attributes that have a column, with flags as 0 and 1, and the others."""
    known = set(columns)
    values = {name: value for name, value in given.items() if name in known}
    if "enabled" in values:
        values["enabled"] = int(parameters.truth(values["enabled"]))
    extra = {name: value for name, value in given.items() if name not in known and name not in _NEVER_EXTRA}
    if "options" in extra:
        extra["options"] = {name: value for name, value in (extra["options"] or {}).items() if value is not None}
    return values, extra


def merged(row: Row, given: Mapping[str, Any], columns: Iterable[str]) -> Row:
    """What a PATCH writes to `row`. Raises BadRequest where it would change what can't be changed; Forbidden where
    the row is immutable and more than that is asked for."""
    check_mutable(row, given)
    if given.get("id", row["id"]) != row["id"]:
        raise errors.BadRequest("An id can't be changed.")
    if "domain_id" in row and given.get("domain_id", row["domain_id"]) != row["domain_id"]:
        raise errors.BadRequest("The domain can't be changed.")
    values, extra = split({name: value for name, value in given.items() if name != "domain_id"}, columns)
    options = given.get("options") or {}
    if extra:
        if "options" in extra:
            kept = {name: value for name, value in row["extra"].get("options", {}).items() if name not in options}
            extra["options"] |= kept
        values["extra"] = {**row["extra"], **extra}
    return values


def check_mutable(row: Row, given: Mapping[str, Any] | None = None) -> None:
    """Raise Forbidden where the row has the option immutable, unless `given` changes options alone."""
    if row["extra"].get("options", {}).get("immutable") and (given is None or set(given) != {"options"}):
        raise errors.Forbidden(f"{row['name']} is immutable: its option immutable must be unset first.")


def home_domain(conn: Connection, call: Call) -> str:
    """The domain of what is made without one: the token's, its project's, or the default one."""
    if call.context.domain_id:
        return call.context.domain_id
    project = accounts.find(conn, Project, call.context.project_id) if call.context.project_id else None
    return str(project["domain_id"]) if project else accounts.DEFAULT_DOMAIN


def place(conn: Connection, call: Call, given: Mapping[str, Any]) -> str:
    """The domain that `given` names, or `home_domain`. Raises NotFound."""
    domain_id = given.get("domain_id") or home_domain(conn, call)
    accounts.require(conn, Domain, domain_id)
    return str(domain_id)
