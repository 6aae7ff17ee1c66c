# SPDX-License-Identifier: Apache-2.0
"""What must be so of every row of the tables, whoever wrote it.

Lists of exceptions (here, in reference.json and in uncovered.json) may only get shorter: a name in them that is no
exception any more fails the test.
"""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from computeapi import lifecycle, routes, states, versions
from computeapi.compute.operations import OPERATIONS
from computeapi.endpoint import ANY_TOKEN, PUBLIC
from computeapi.policy import BASE
from computeapi.versions import FOREVER, MIN, Version, Versioned
from tests import tables
from tests.tables import Line, lines, shape

SOURCE = Path(__file__).parents[1] / "computeapi"
LINES = list(lines())
RULES = {rule.name: rule for rule in routes.list_rules()}
NEWEST = Version(2, 104)  # the last microversion that there is anywhere


def ids(line: Line) -> str:
    return line.name


# --- rows ---


@pytest.mark.parametrize("line", LINES, ids=ids)
def test_rule_exists(line: Line) -> None:
    assert line.row.rule in (PUBLIC, ANY_TOKEN) or line.row.rule in RULES


def test_rules_have_one_definition() -> None:
    names = [rule.name for rule in routes.list_rules()]
    assert sorted(set(names)) == sorted(names)


def test_public_rows() -> None:
    """What anybody may ask for without a token: named here, so that none becomes public by mistake."""
    public = {line.name for line in LINES if line.row.rule is PUBLIC}
    documents = {name for name in public if re.search(r" GET (/|/v[\d.]+/?|/versions/?)?$", name)}
    assert public - documents == {
        "versions GET /openapi.json",  # what there is, as docs/routes.md
        "versions GET /healthcheck",  # load balancers have no token; it says a word
        "versions GET /healthcheck/ready",
        "identity POST /v3/auth/tokens",  # it is how one gets a token
        "identity POST /v3/users/{user_id}/password",  # the old password is asked for
    }


# A body that is read without a schema, or none at all: why.
WITHOUT_SCHEMA = {
    "image PATCH /v2/images/{image_id}": "JSON patch: a list of operations, in two dialects, read by image/patch.py",
    "image POST /v2/images/{image_id}/import": "refused, whatever it says",
    "image POST /v2/images/{image_id}/actions/deactivate": "no body",
    "image POST /v2/images/{image_id}/actions/reactivate": "no body",
    "image PUT /v2/images/{image_id}/tags/{tag}": "no body",
    "identity PUT /v3/projects/{project_id}/tags/{value}": "no body",
    "identity PUT /v3/groups/{group_id}/users/{user_id}": "no body",
    "identity PUT /v3/roles/{role_id}/implies/{implied_role_id}": "no body",
    **{
        f"identity PUT /v3/{target}/{who}/roles/{{role_id}}": "no body"
        for target in ("projects/{project_id}", "domains/{domain_id}", "system")
        for who in ("users/{user_id}", "groups/{group_id}")
    },
    **{
        f"identity PUT /v3/OS-INHERIT/{target}/{who}/roles/{{role_id}}/inherited_to_projects": "no body"
        for target in ("projects/{project_id}", "domains/{domain_id}")
        for who in ("users/{user_id}", "groups/{group_id}")
    },
}


def test_bodies_have_schemas() -> None:
    """But for Neutron's: tables of attributes say what may be in those (computeapi/api/network/attributes.py)."""
    without = {
        line.name
        for line in LINES
        if line.method in ("POST", "PUT", "PATCH") and line.row.body is None and not line.row.streams
    }
    assert {name for name in without if not name.startswith("network ")} == set(WITHOUT_SCHEMA)


# Bodies that Nova 34, too, lets have keys beside the one that it reads.
OPEN = (
    "compute POST /os-security-groups",
    "compute PUT /os-security-groups/{security_group_id}",
    "compute POST /os-security-group-rules",
)


@pytest.mark.parametrize("line", [line for line in LINES if line.row.body], ids=ids)
def test_schemas_close_their_objects(line: Line) -> None:
    """Unknown keys are refused: an outermost object says so, or says what they may be."""
    assert line.row.body is not None
    for _version, checker in line.row.body.values():
        schema = checker.schema
        if line.service == "compute" and schema.get("type") == "object":
            assert schema.get("additionalProperties") is (line.name in OPEN)


@pytest.mark.parametrize("line", LINES, ids=ids)
def test_windows(line: Line) -> None:
    window, newest = line.row.window, versions.VOLUME_MAX if line.service == "volume" else NEWEST
    assert MIN <= window.since <= window.until
    assert window.since <= newest and (window.until <= newest or window.until == FOREVER)
    for value in (line.row.body, line.row.query, line.row.status, line.row.relaxed):
        if isinstance(value, Versioned):
            assert all(since <= newest for since, _ in value.values())


def test_no_row_comes_twice() -> None:
    """Two templates of the same shape would hide each other."""
    for service, table in routes.ROUTES.items():
        shapes = [shape(template) + ("/" if template.endswith("/") else "") for template in table]
        assert sorted(set(shapes)) == sorted(shapes), service


def test_versions_have_no_gap() -> None:
    minors = list(versions.VERSIONS)
    assert minors == list(range(1, len(minors) + 1))
    assert all(text.strip() for text in versions.VERSIONS.values())
    assert versions.MAX <= NEWEST


# --- rules ---


def test_every_rule_is_used() -> None:
    """By a row, by another rule, or by name in the code (Call.allows, Call.check)."""
    named = set(_named_in_code())
    used = {line.row.rule for line in LINES} | named
    made = [re.compile(text) for text in named if _HOLE in text and re.search(r":\w{3}", text)]  # f"{verb}:shared"
    used |= {name for name in RULES if any(pattern.fullmatch(name) for pattern in made)}
    inner = {word for rule in RULES.values() for word in re.findall(r"rule:([^\s()]+)", rule.check_str)}
    base = {name for name, _check, _text in BASE}
    assert sorted(set(RULES) - used - inner - base) == []


_HOLE = r"[\w-]+"


def _named_in_code() -> Iterator[str]:
    """Values of the names and texts that stand in the code elsewhere than in a rule's own definition.

    Texts that are made when the program runs are regular expressions, with _HOLE for what is put in.
    """
    for path in sorted(SOURCE.rglob("*.py")):
        module = ".".join(path.relative_to(SOURCE.parent).with_suffix("").parts).removesuffix(".__init__")
        tree = ast.parse(path.read_text())
        if not any(isinstance(node, ast.Name | ast.Attribute | ast.Constant) for node in ast.walk(tree)):
            continue
        names = vars(importlib.import_module(module)) if "api" in path.parts or "lifecycle" in path.name else {}
        for node in _outside_definitions(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value
            elif isinstance(node, ast.JoinedStr):
                parts = (
                    re.escape(str(part.value)) if isinstance(part, ast.Constant) else _HOLE for part in node.values
                )
                yield "".join(parts)
            elif isinstance(node, ast.Name | ast.Attribute | ast.BinOp):
                value = _value(node, names)
                if isinstance(value, str):
                    yield value


def _outside_definitions(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those of `rule(…)` calls and of the assignments that give a rule its short name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Call) and _last(node.func) in ("rule", "_rule"):
            continue
        if isinstance(tree, ast.Module) and isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            continue
        yield node
        yield from _outside_definitions(node)


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _value(node: ast.AST, names: dict[str, Any]) -> Any:
    """The value of `NAME`, `module.NAME` and sums of these and texts; None for all else."""
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        owner = _value(node.value, names)
        return vars(owner).get(node.attr) if isinstance(owner, type(ast)) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = _value(node.left, names), _value(node.right, names)
        return left + right if isinstance(left, str) and isinstance(right, str) else None
    return None


# --- actions ---


def test_actions_have_steps_and_known_states() -> None:
    task_states = {value for name, value in vars(states).items() if name.isupper() and isinstance(value, str)}
    for name, action in lifecycle.ACTIONS.items():
        assert action.operation in OPERATIONS, name
        assert set(action.vm_states) <= set(states._STATUS), name
        assert {state for state in action.task_states if state} <= task_states, name
        assert action.task_state in {None, *task_states}, name
        assert {action.lands, action.fails} <= {*states._STATUS, lifecycle.AS_WAS}, name


def test_every_operation_is_some_action() -> None:
    """But for a host that cleans up after a server that left it, and what follows on what the API did in rows."""
    others = {"clean_up", "apply_network"}
    assert set(OPERATIONS) - others == {action.operation for action in lifecycle.ACTIONS.values()}


# --- the reference, and the tests ---


def test_reference() -> None:
    """Which of the reference's operations are routed, at the documented path: the list of the others gets shorter."""
    reference = tables.read("reference.json")
    assert len(reference["operations"]) == 208
    unrouted, codes = tables.compare_reference(reference["operations"])
    assert unrouted == reference["unrouted"], f"lost; or routed now: {tables.COMMAND}"
    assert codes == {number: text.split(":")[0] for number, text in reference["other_codes"].items()}


def test_every_url_is_in_a_test() -> None:
    """Some file of tests/wire mentions it. The list of those that none does gets shorter."""
    assert tables.uncovered() == tables.read("uncovered.json"), f"a new one; or covered now: {tables.COMMAND}"


@pytest.mark.parametrize(
    ("text", "url", "expected"),
    [
        ("/servers", "/servers", True),
        ("/servers/{}", "/servers/{}", True),
        ("/servers/x", "/servers/{}", True),
        ("{}/metadata/{}", "/servers/{}/metadata/{}", True),
        ("{}/metadata", "/servers/{}/metadata/{}", False),
        ("{}/{}", "/servers/{}", False),
        ("/servers", "/servers/{}", False),
        ("/servers/", "/servers/{}", False),
        ("{}/x", "/images/{}", False),
    ],
)
def test_mentions(text: str, url: str, expected: bool) -> None:
    assert tables.mentions(text, url) is expected
