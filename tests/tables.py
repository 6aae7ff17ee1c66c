# SPDX-License-Identifier: Apache-2.0
"""The tables of the program, flattened for the tests that walk them.

`python -m tests.tables` takes out of reference.json and uncovered.json what is no exception any more. It adds nothing:
what was lost is for a person to look at.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from computeapi import routes
from computeapi.endpoint import Endpoint
from computeapi.versions import MIN

TESTS = Path(__file__).parent
COMMAND = "python -m tests.tables"


class Line(NamedTuple):
    """One row of ROUTES; with `action`, one row of the table of actions under it."""

    service: str
    method: str
    template: str  # below the service's prefix
    row: Endpoint
    action: str | None = None

    @property
    def name(self) -> str:
        """How lists of exceptions name it: "compute POST /servers/{server_id}/action#reboot"."""
        return f"{self.service} {self.method} {self.template}" + (f"#{self.action}" if self.action else "")

    @property
    def path(self) -> str:
        """The whole URL's template."""
        return routes.PREFIX[self.service] + self.template or "/"


def lines() -> Iterator[Line]:
    """Every row; a row with actions gives its actions in its place."""
    for service, table in routes.ROUTES.items():
        for template, methods in table.items():
            for method, row in methods.items():
                if row.actions:
                    for action, chosen in row.actions.items():
                        yield Line(service, method, template, chosen, action)
                else:
                    yield Line(service, method, template, row)


def shape(template: str) -> str:
    """A URL's template without the names of its variables and without a slash at its end."""
    return re.sub(r"\{[^}]*\}", "{}", template).rstrip("/") or "/"


def read(name: str) -> Any:
    """A JSON file of the tests."""
    return json.loads((TESTS / name).read_text())


# --- the reference ---


def compare_reference(operations: Mapping[str, str]) -> tuple[list[int], dict[str, str]]:
    """The numbers of the operations that are not routed; and number → our status where the documented one is another.

    An operation is "METHOD path[#action] status…".
    """
    table = {
        (line.method, shape(line.template), line.action): line.row for line in lines() if line.service == "compute"
    }
    table |= {("GET", "/", None): routes.ROUTES["versions"]["/"]["GET"]}
    unrouted, codes = [], {}
    for number, text in operations.items():
        method, url, *wanted = text.split()
        path, _, action = url.partition("#")
        row = table.get((method, shape(path), action or None))
        if row is None:
            unrouted.append(int(number))
        elif wanted and not {str(status) for _, status in row.status.values()} & set(wanted):
            codes[number] = str(row.status.at(MIN))
    return unrouted, codes


# --- which URLs tests/wire mentions ---


def uncovered() -> list[str]:
    """ "service template" of every URL that no file of tests/wire mentions."""
    mentioned = _mentioned()
    wanted = {f"{line.service} {line.template}" for line in lines() if line.service != "versions"}
    return [each for each in sorted(wanted) if not _is_mentioned(each, mentioned)]


def _is_mentioned(name: str, mentioned: list[str]) -> bool:
    service, _, template = name.partition(" ")
    whole = shape(routes.PREFIX[service] + template)
    short = shape(template) if service == "compute" else whole
    return any(mentions(text, short) or mentions(text, whole) for text in mentioned)


def mentions(text: str, url: str) -> bool:
    """Whether a text with `{}` for what varies is that URL. One that begins with `{}` may be its end alone."""
    mine, theirs = text.split("/"), url.split("/")
    if mine[0] == "{}":
        mine = mine[1:]
        if set(mine) <= {"{}"} or len(mine) >= len(theirs):
            return False
        theirs = theirs[len(theirs) - len(mine) :]
        if set(theirs) <= {"{}"}:
            return False
    return len(mine) == len(theirs) and all(
        one == other or (other == "{}" and one != "") for one, other in zip(mine, theirs, strict=True)
    )


def _mentioned() -> list[str]:
    """Every text in the tests that may be a URL, with `{}` for what is put in, and without query and fragment."""
    found: set[str] = set()
    for path in (TESTS / "wire").rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        names = _constants(tree)
        base = next((base for service, base in _BASES.items() if service in path.name), "")
        for node in ast.walk(tree):
            text = _text(node, names)
            if text and "/" in text and "\n" not in text:
                text = re.sub(r"\{[^}]*\}|%s", "{}", text.split("?")[0].split("#")[0])
                found |= {text, re.sub(r"^/v2(\.1)?(?=/)", "", text), base + text}
    return sorted(found)


# Tests of these services may leave that out (their helper puts it before the path).
_BASES = {"identity": "/identity/v3", "image": "/image/v2", "network": "/network/v2.0", "volume": "/volume/v3"}


def _constants(tree: ast.Module) -> dict[str, str]:
    """The texts that a module gives names to, or takes from another one of the tests."""
    names: dict[str, str] = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests."):
            source = TESTS.parent / f"{str(node.module).replace('.', '/')}.py"
            theirs = _constants(ast.parse(source.read_text())) if source.exists() else {}
            names |= {item.asname or item.name: theirs[item.name] for item in node.names if item.name in theirs}
        elif isinstance(node, ast.Assign):
            target, value = node.targets[0], node.value
            pairs = [(target, value)]
            if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
                pairs = list(zip(target.elts, value.elts, strict=False))
            for name, part in pairs:
                if isinstance(name, ast.Name) and (text := _text(part, names)) is not None:
                    names[name.id] = text
    return names


def _text(node: ast.AST, names: Mapping[str, str]) -> str | None:
    """The text of a constant, of an f-string, or of a sum; `{}` stands for what is not known."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.FormattedValue):
        return _known(node.value, names)
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part, names) or "" for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _known(node.left, names) + _known(node.right, names)
    return None


def _known(node: ast.AST, names: Mapping[str, str]) -> str:
    if isinstance(node, ast.Name):
        return names.get(node.id, "{}")
    return _text(node, names) or "{}"


# --- the lists ---


def shorten() -> None:
    """Take out of the lists of exceptions what is none any more."""
    reference = read("reference.json")
    unrouted, codes = compare_reference(reference["operations"])
    operations = ",\n".join(
        f"    {json.dumps(key)}: {json.dumps(text)}" for key, text in reference["operations"].items()
    )
    left = [number for number in reference["unrouted"] if number in unrouted]
    numbers = textwrap.fill(", ".join(map(str, left)), 116, initial_indent="    ", subsequent_indent="    ")
    kept = {number: text for number, text in reference["other_codes"].items() if number in codes}
    other = ",\n".join(f"    {json.dumps(key)}: {json.dumps(text)}" for key, text in kept.items())
    (TESTS / "reference.json").write_text(
        f'{{\n  "operations": {{\n{operations}\n  }},\n  "unrouted": [\n{numbers}\n  ],\n'
        f'  "other_codes": {{\n{other}\n  }}\n}}\n'
    )
    now = uncovered()
    still = [name for name in read("uncovered.json") if name in now]
    (TESTS / "uncovered.json").write_text(json.dumps(still, indent=2) + "\n")


if __name__ == "__main__":
    shorten()
