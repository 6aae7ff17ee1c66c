# SPDX-License-Identifier: Apache-2.0
"""Who may do what: defaults, policy.json over them, and a file that is broken."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from computeapi import errors, policy
from computeapi.context import Context, with_implied
from computeapi.policy import ADMIN, ANYONE, PROJECT_MEMBER, PROJECT_READER, Policy

RULES = [
    *policy.base_rules(),
    policy.rule("read", PROJECT_READER, "Read."),
    policy.rule("write", PROJECT_MEMBER, "Write."),
    policy.rule("manage", ADMIN, "Manage."),
    policy.rule("mine", "user_id:%(user_id)s", "One's own."),
    policy.rule("any", ANYONE, "Anybody."),
    policy.rule("none", "!", "Nobody."),
]

NAMES = ("read", "write", "manage", "mine", "any", "none")


def who(*roles: str, project: str | None = "p1", user: str = "u1") -> Context:
    return Context("req-1", user, project, with_implied(roles))


def allowed(rules: Policy, context: Context, project: str | None = "p1", user: str | None = "u2") -> set[str]:
    return {name for name in NAMES if rules.allows(name, context, project, user)}


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it, and the next question comes a minute later."""
    moment = [1000.0]
    monkeypatch.setattr("computeapi.policy.time.monotonic", lambda: moment[0])

    def advance() -> None:
        moment[0] += 60

    return advance


def write(path: Path, text: str) -> None:
    """As an editor does it: with another time of change."""
    stamp = path.stat().st_mtime if path.exists() else 1_000_000
    path.write_text(text)
    os.utime(path, (stamp + 1, stamp + 1))


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (who("reader"), {"any", "read"}),
        (who("member"), {"any", "read", "write"}),
        (who("manager"), {"any", "read", "write"}),
        (who("admin"), {"any", "read", "write", "manage"}),
        (who("service"), {"any"}),
        (who(), {"any"}),
        (who("member", project="p2"), {"any"}),
        (who("admin", project="p2"), {"any", "read", "write", "manage"}),
        (who("member", project=None), {"any"}),
        (who("member", user="u2"), {"any", "read", "write", "mine"}),
    ],
)
def test_defaults(tmp_path: Path, context: Context, expected: set[str]) -> None:
    rules = Policy(RULES, str(tmp_path / "none"))
    assert allowed(rules, context) == expected
    assert allowed(rules, context) == expected  # remembered


def test_memory_tells_targets_apart(tmp_path: Path) -> None:
    """What is remembered depends on whose it is, not on the first one asked about."""
    rules = Policy(RULES, str(tmp_path / "none"))
    for _ in range(2):
        assert rules.allows("read", who("reader"), "p1")
        assert not rules.allows("read", who("reader"), "p2")
        assert rules.allows("mine", who("reader"), "p2", "u1")
        assert not rules.allows("mine", who("reader"), "p1", "u2")


def test_nobodys_is_no_ones_own(tmp_path: Path) -> None:
    """A thing without a project is not in the project of a token without one."""
    rules = Policy(RULES, str(tmp_path / "none"))
    assert not rules.allows("read", who("reader", project=None), None)


def test_check_says_which(tmp_path: Path) -> None:
    rules = Policy(RULES, str(tmp_path / "none"))
    with pytest.raises(errors.Forbidden, match=r"^Policy doesn't allow write to be performed\.$"):
        rules.check("write", who("reader"), "p1")


def test_file_overrides_and_is_read_again(tmp_path: Path, later: Callable[[], None]) -> None:
    path = tmp_path / "policy.json"
    write(path, json.dumps({"write": "role:admin", "manage": "rule:project_reader_or_admin"}))
    rules = Policy(RULES, str(path))
    assert allowed(rules, who("member")) == {"any", "read", "manage"}
    write(path, "{}")
    assert allowed(rules, who("member")) == {"any", "read", "manage"}  # looked at every ten seconds
    later()
    assert allowed(rules, who("member")) == {"any", "read", "write"}
    path.unlink()
    later()
    assert allowed(rules, who("member")) == {"any", "read", "write"}


def test_file_that_comes_later(tmp_path: Path, later: Callable[[], None]) -> None:
    path = tmp_path / "policy.json"
    rules = Policy(RULES, str(path))
    assert allowed(rules, who("member")) == {"any", "read", "write"}
    write(path, json.dumps({"write": "role:admin"}))
    later()
    assert allowed(rules, who("member")) == {"any", "read"}


@pytest.mark.parametrize("text", ["{", "[]", "", '{"write": 7}'])
def test_broken_file_changes_nothing(
    tmp_path: Path, later: Callable[[], None], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The rules from before stay, and the log says so. A file without rules is as none. Never is more open than by
    default, and never is a request a 500."""
    path = tmp_path / "policy.json"
    write(path, json.dumps({"read": "role:admin"}))
    rules = Policy(RULES, str(path))
    write(path, text)
    later()
    found = allowed(rules, who("member"))
    assert found <= {"any", "read", "write"} and "manage" not in found
    if text == "{":
        assert found == {"any", "write"}
        assert "stay in force" in caplog.text
    write(path, json.dumps({"write": "role:admin"}))
    later()
    assert allowed(rules, who("member")) == {"any", "read"}


def test_file_that_is_broken_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text("{")
    with pytest.raises(errors.Conflict, match=r"policy.json can't be read: "):
        Policy(RULES, str(path))


def test_rules_that_there_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Most likely mistyped. One without a colon is a piece of others."""
    path = tmp_path / "policy.json"
    path.write_text(json.dumps({"os_compute_api:strat": "!", "mine_or_yours": "@", "write": "rule:mine_or_yours"}))
    Policy(RULES, str(path))
    assert "has rules that there are not, and nobody asks: os_compute_api:strat\n" in caplog.text


def test_operators_rule_that_asks_for_more(tmp_path: Path) -> None:
    """A rule on something else than roles and owner is decided anew each time."""
    path = tmp_path / "policy.json"
    write(path, json.dumps({"read": "project_id:p7 or rule:context_is_admin"}))
    rules = Policy(RULES, str(path))
    assert rules.allows("read", who("reader", project="p7"), "p1")
    assert not rules.allows("read", who("reader", project="p8"), "p1")
