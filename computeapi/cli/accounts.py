# SPDX-License-Identifier: Apache-2.0
"""`computeapi user`, `project` and `role`: the embedded identity service, where no administrator can log in yet."""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from computeapi import bootstrap, errors
from computeapi.backends.identity import setup
from computeapi.cli.common import command, group, ready_database, say, table
from computeapi.db.models import Domain, Project, Role, User
from computeapi.db.queries.identity import accounts, revocations, roles
from computeapi.db.queries.identity.roles import Grant
from computeapi.settings import Settings

_USERS = """  computeapi user create alice --project web --role member     prints a password that it makes up
  echo SECRET | computeapi user set-password alice --password-stdin
"""
_PROJECTS = """  computeapi project create web
  computeapi role assign member --user alice --project web
"""
_ROLES = """A role is had on a project: admin may everything, and everywhere; manager, member and reader may what
is done in the project, each also what those after it may; service is for the users of other services.

  computeapi role list
  computeapi role assign reader --user alice --project web
  computeapi role remove member --user alice --project web
"""


def add(commands: Any) -> None:
    """Add `user`, `project` and `role`."""
    users = group(commands, "user", "users of the embedded identity service", epilog=_USERS)
    _list(users, User, "every user")
    create = command(users, "create", _create_user, "a new user, with a role on a project if one is named")
    create.add_argument("--project", type=_name(64), help="its project; made where it does not exist")
    create.add_argument("--role", default="member", help="what it may do there (default member)")
    change = command(users, "set-password", _set_password, "another password; all tokens of the user are revoked")
    for parser in (create, change):
        parser.add_argument("--password-stdin", action="store_true", help="read it from standard input")
        _named(parser, 255)
    gone = command(users, "delete", _delete_user, "delete a user with its roles; what it made stays")
    _named(gone, 255)
    gone.add_argument("--force", action="store_true", help="also the last one who may administer the cloud")

    projects = group(commands, "project", "projects of the embedded identity service", epilog=_PROJECTS)
    _list(projects, Project, "every project")
    new = command(projects, "create", _create_project, "a new project")
    new.add_argument("--description", default="", help="what it is for")
    _named(new, 64)
    _named(command(projects, "delete", _delete_project, "delete a project and the roles on it"), 64)

    who = group(commands, "role", "who may do what in which project", epilog=_ROLES)
    command(who, "list", _list_roles, "every role, and who has it where")
    for name, run, text in (
        ("assign", _assign, "give a user a role on a project"),
        ("remove", _unassign, "take it away; the user's tokens for the project are revoked"),
    ):
        parser = command(who, name, run, text)
        parser.add_argument("role", metavar="ROLE", help="admin, manager, member, reader or service")
        parser.add_argument("--user", required=True)
        parser.add_argument("--project", required=True)
        parser.add_argument("--domain", default=accounts.DEFAULT_DOMAIN, help="of both (default: default)")


def _name(longest: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        if not text.strip() or len(text) > longest:
            raise argparse.ArgumentTypeError(f"a name has 1 to {longest} characters")
        return text

    return check


def _named(parser: argparse.ArgumentParser, longest: int) -> None:
    parser.add_argument("name", metavar="NAME", type=_name(longest))
    parser.add_argument("--domain", default=accounts.DEFAULT_DOMAIN, help="name or id (default: default)")


def _list(commands: Any, model: Any, text: str) -> None:
    def run(conf: Settings, _options: argparse.Namespace) -> None:
        with _database(conf).read() as conn:
            rows = accounts.listed(conn, model, [])
        shown = [(row["name"], row["id"], row["domain_id"], "yes" if row["enabled"] else "no") for row in rows]
        table(("name", "id", "domain", "enabled"), shown)

    command(commands, "list", run, text)


def _database(conf: Settings) -> Any:
    if conf.identity_url:
        raise errors.Conflict(f"Users and projects are in the Keystone at {conf.identity_url}: ask that.")
    return ready_database(conf)


def _find(conn: Connection, model: Any, name: str, domain: str | None = None) -> str:
    """The id of what is called or numbered so. Raises NotFound."""
    domain_id = None if domain is None else _find(conn, Domain, domain)
    row = accounts.find_by_name(conn, model, name, domain_id) or accounts.find(conn, model, name)
    if row is None:
        raise accounts.missing(model, name)
    return str(row["id"])


def _password(options: argparse.Namespace) -> tuple[str, bool]:
    """(password, whether it was made up)."""
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\n"), False
    return secrets.token_urlsafe(12), True


def _create_user(conf: Settings, options: argparse.Namespace) -> None:
    password, made_up = _password(options)
    with _database(conf).write() as conn:
        domain = _find(conn, Domain, options.domain)
        more: dict[str, Any] = {"domain_id": domain}
        if options.project:
            more["default_project_id"] = _ensure_project(conn, options.project, domain)
        user = setup.add_user(conn, options.name, password, **more)
        if options.project:
            role = _find(conn, Role, options.role)
            roles.assign(conn, Grant("user", user, "project", more["default_project_id"], role))
    say(f"user {options.name} ({user})")
    if made_up:
        print(password)


def _ensure_project(conn: Connection, name: str, domain: str) -> str:
    row = accounts.find_by_name(conn, Project, name, domain) or accounts.find(conn, Project, name)
    return str(row["id"]) if row else _new_project(conn, name, domain)


def _new_project(conn: Connection, name: str, domain: str, description: str = "") -> str:
    values = {"name": name, "domain_id": domain, "parent_id": domain, "description": description}
    return str(accounts.create(conn, Project, values)["id"])


def _set_password(conf: Settings, options: argparse.Namespace) -> None:
    password, made_up = _password(options)
    with _database(conf).write() as conn:
        user = _find(conn, User, options.name, options.domain)
        setup.set_password(conn, user, password, conf.token_expiration)
    known = bootstrap.remember_password(conf, options.name, password)
    say(f"user {options.name} has another password" + (f"; {known} has it" if known else ""))
    if made_up:
        print(password)


def _delete_user(conf: Settings, options: argparse.Namespace) -> None:
    with _database(conf).write() as conn:
        user = _find(conn, User, options.name, options.domain)
        if not options.force and roles.holders(conn, "admin") == {user}:
            raise errors.Conflict(
                f"User {options.name} is the only one who may administer the cloud. Give another the role first "
                "(computeapi role assign admin --user NAME --project NAME), or say --force."
            )
        accounts.delete_user(conn, user, revocations.until(conf.token_expiration))
    say(f"user {options.name} is deleted")


def _create_project(conf: Settings, options: argparse.Namespace) -> None:
    with _database(conf).write() as conn:
        project = _new_project(conn, options.name, _find(conn, Domain, options.domain), options.description)
    say(f"project {options.name} ({project})")


def _delete_project(conf: Settings, options: argparse.Namespace) -> None:
    with _database(conf).write() as conn:
        project = _find(conn, Project, options.name, options.domain)
        accounts.delete_project(conn, project, revocations.until(conf.token_expiration))
    say(f"project {options.name} is deleted; its servers, images and networks stay until an administrator deletes them")


def _list_roles(conf: Settings, _options: argparse.Namespace) -> None:
    with _database(conf).snapshot() as conn:
        known = [row["name"] for row in accounts.listed(conn, Role, [])]
        held = roles.assignments(conn, {})
    rows = []
    for row in held:
        who = f"user {row['user_name']}" if row["user_id"] else f"group {row['group_name']}"
        where = row["project_name"] or row["domain_name"] or row["target_id"]
        rows.append((row["role_name"], who, f"{row['scope']} {where}"))
    had = {row[0] for row in rows}
    rows += [(name, "nobody", "") for name in known if name not in had]
    table(("role", "who", "where"), sorted(rows))


def _assign(conf: Settings, options: argparse.Namespace) -> None:
    with _database(conf).write() as conn:
        roles.assign(conn, _grant(conn, options))
    say(f"{options.user} is {options.role} in {options.project}")


def _unassign(conf: Settings, options: argparse.Namespace) -> None:
    with _database(conf).write() as conn:
        roles.unassign(conn, _grant(conn, options), revocations.until(conf.token_expiration))
    say(f"{options.user} is not {options.role} in {options.project} any more")


def _grant(conn: Connection, options: argparse.Namespace) -> Grant:
    user = _find(conn, User, options.user, options.domain)
    project = _find(conn, Project, options.project, options.domain)
    return Grant("user", user, "project", project, _find(conn, Role, options.role))
