# SPDX-License-Identifier: Apache-2.0
"""Who may do what: rules with defaults in code, overridden by policy.json, decided by oslo.policy.

Rule names and defaults are Nova's (nova/policies/*). Each noun's module lists its RULES; a row of ROUTES names one.
A decision is remembered by what it depends on (rule, roles, same project?, same user?), since oslo.policy needs
about 160 µs for each.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from oslo_config import cfg
from oslo_policy import policy as oslo

from computeapi import errors
from computeapi.context import Context

LOG = logging.getLogger("computeapi.policy")

ADMIN = "rule:context_is_admin"
ADMIN_OR_OWNER = "rule:admin_or_owner"
ANYONE = "@"
PROJECT_READER = "rule:project_reader_or_admin"
PROJECT_MEMBER = "rule:project_member_or_admin"
PROJECT_MANAGER = "rule:project_manager_or_admin"

BASE = (
    ("context_is_admin", "role:admin", "Is an administrator of the whole cloud."),
    ("admin_api", "rule:context_is_admin", "Administrators only."),
    ("admin_or_owner", "rule:context_is_admin or project_id:%(project_id)s", "An administrator, or of that project."),
    ("project_reader_api", "role:reader and project_id:%(project_id)s", "May read in that project."),
    ("project_member_api", "role:member and project_id:%(project_id)s", "May change things in that project."),
    ("project_manager_api", "role:manager and project_id:%(project_id)s", "May manage that project."),
    ("project_reader_or_admin", "rule:project_reader_api or rule:context_is_admin", "Reader there, or administrator."),
    ("project_member_or_admin", "rule:project_member_api or rule:context_is_admin", "Member there, or administrator."),
    (
        "project_manager_or_admin",
        "rule:project_manager_api or rule:context_is_admin",
        "Manager there, or administrator.",
    ),
)

_RELOAD_SECONDS = 10.0
_MEMO_LIMIT = 20_000


def rule(name: str, check: str, description: str, *operations: tuple[str, str]) -> Any:
    """A row of a noun's RULES; `operations` are (method, path) as the documented sample shows them."""
    return oslo.DocumentedRuleDefault(
        name=name,
        check_str=check,
        description=description,
        operations=[{"method": method, "path": path} for method, path in operations]
        or [{"method": "any", "path": "see docs/routes.md"}],
    )


def base_rules() -> list[Any]:
    """The rules that others are built of."""
    return [oslo.RuleDefault(name, check, description) for name, check, description in BASE]


class Policy:
    """Decides by the rules in force. One a process; thread-safe. Raises Conflict at the start if the file is broken."""

    def __init__(self, rules: Iterable[Any], policy_file: str = "policy.json") -> None:
        self._rules = list(rules)
        self._file = str(Path(policy_file).absolute())
        self._memo: dict[tuple[str, frozenset[str], bool, bool], bool] = {}
        self._checked = time.monotonic()
        self._stamp = _modified(self._file)
        try:
            self._enforcer = self._load()
        except Exception as error:  # to begin with the defaults could let in whom the file keeps out
            raise errors.Conflict(f"{self._file} can't be read: {error}") from error

    def _load(self) -> Any:
        enforcer = make_enforcer(self._rules, self._file)
        known = {rule.name for rule in self._rules}
        if unknown := sorted(name for name in enforcer.file_rules if ":" in name and name not in known):
            LOG.warning("%s has rules that there are not, and nobody asks: %s", self._file, ", ".join(unknown))
        self._plain = {name for name in enforcer.rules if _depends_on_owner_only(name, enforcer.rules)}
        return enforcer

    def _reload_if_changed(self) -> None:
        moment = time.monotonic()
        if moment - self._checked < _RELOAD_SECONDS:
            return
        self._checked = moment
        stamp = _modified(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._enforcer = self._load()
        except Exception:  # half written, or no JSON: whoever may what stays as it was
            LOG.exception("%s can't be read; the rules from before stay in force", self._file)
        self._memo = {}

    def allows(self, name: str, context: Context, project_id: str | None, user_id: str | None = None) -> bool:
        """Whether `context` may do `name` to something of that project and user."""
        self._reload_if_changed()
        # oslo.policy compares texts: what is nobody's would be in the project of a token without one ("None").
        target = {"project_id": project_id or "", "user_id": user_id or ""}
        if name not in self._plain:
            return self._decide(name, context, target)
        same_project, same_user = target["project_id"] == context.project_id, target["user_id"] == context.user_id
        key = (name, context.roles, same_project, same_user)
        known = self._memo.get(key)
        if known is None:
            if len(self._memo) > _MEMO_LIMIT:
                self._memo = {}
            known = self._memo[key] = self._decide(name, context, target)
        return known

    def check(self, name: str, context: Context, project_id: str | None, user_id: str | None = None) -> None:
        """Raise Forbidden with Nova's sentence where `allows` says no."""
        if not self.allows(name, context, project_id, user_id):
            raise errors.Forbidden(f"Policy doesn't allow {name} to be performed.")

    def _decide(self, name: str, context: Context, target: Mapping[str, Any]) -> bool:
        credentials = {
            "roles": sorted(context.roles),
            "user_id": context.user_id,
            "project_id": context.project_id,
            "is_admin": context.is_admin,
            "system_scope": "all" if context.system else None,
        }
        return bool(self._enforcer.enforce(name, dict(target), credentials))


def make_enforcer(rules: Iterable[Any], policy_file: str) -> Any:
    """An oslo.policy Enforcer with our defaults and the operator's overrides, loaded once."""
    conf = cfg.ConfigOpts()
    conf([], project="computeapi", default_config_files=[])
    path = os.path.abspath(policy_file)  # oslo.policy looks for a relative one in /etc, not here
    enforcer = oslo.Enforcer(conf, policy_file=path if os.path.exists(path) else None)
    enforcer.suppress_default_change_warnings = True
    enforcer.suppress_deprecation_warnings = True
    enforcer.register_defaults(list(rules))
    enforcer.load_rules()
    enforcer.use_conf = False
    return enforcer


def _modified(path: str) -> float | None:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None


def _depends_on_owner_only(name: str, rules: Mapping[str, Any], seen: frozenset[str] = frozenset()) -> bool:
    """Whether a rule asks for nothing but roles and `project_id:%(project_id)s` / `user_id:%(user_id)s`."""
    if name in seen or name not in rules:
        return False
    check = str(rules[name])
    for owner_check in ("project_id:%(project_id)s", "user_id:%(user_id)s", "is_admin:True"):
        check = check.replace(owner_check, "@")
    for word in check.replace("(", " ").replace(")", " ").split():
        if word in ("and", "or", "not", "@", "!") or word.startswith("role:"):
            continue
        if not word.startswith("rule:") or not _depends_on_owner_only(word[5:], rules, seen | {name}):
            return False
    return True
