# SPDX-License-Identifier: Apache-2.0
"""Imports go down only: who may import whom is this table, and the code is walked for what it does."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "computeapi"

# Anyone may import these; they import nothing of ours but each other.
LEAVES = {
    "states",
    "errors",
    "versions",
    "settings",
    "clock",
    "pci",
    "context",
    "logs",
    "sealing",
    "host_query",
    "__version__",
}

# part → the parts that it may import, beside the leaves. From the top down.
MAY_IMPORT: dict[str, set[str]] = {
    "__main__": {"cli"},
    "cli": {
        "backup",
        "metrics",
        "bootstrap",
        "compute",
        "console",
        "db",
        "backends",
        "virt",
        "server",
        "supervisor",
        "first_server",
    },
    "server": {"app", "metrics", "patience"},
    "patience": set(),
    "supervisor": set(),
    "first_server": set(),
    "backup": {"db"},
    "bootstrap": {"db", "backends"},
    "guest_image": set(),
    "app": {"routes", "endpoint", "services", "policy", "backends", "db", "metrics"},
    "routes": {"api", "endpoint", "openapi", "policy"},
    "openapi": {"endpoint"},
    "api": {"endpoint", "validation", "policy", "ask", "moves", "lifecycle", "scheduler", "journal", "backends", "db"},
    "endpoint": {"services", "validation"},
    "validation": set(),
    "metrics": {"db"},
    "ask": {"services", "scheduler", "journal", "db"},
    "compute": {"moves", "lifecycle", "scheduler", "journal", "wake", "backends", "db", "virt"},
    "console": {"db", "virt"},
    "moves": {"lifecycle", "services", "scheduler", "journal", "db"},
    "lifecycle": {"services", "scheduler", "journal", "backends", "db"},
    "services": {"policy", "backends", "db"},
    "policy": set(),
    "scheduler": {"db"},
    "journal": {"db"},
    "wake": {"db"},
    "backends": {"journal", "db", "virt"},
    "db": {"macs"},
    "virt": {"macs"},
    "macs": set(),
}

# Libraries that only some may know.
ONLY_IN = {
    "falcon": {"computeapi/app.py", "computeapi/endpoint.py"},
    "gunicorn": {"computeapi/server.py", "computeapi/patience.py"},
    "prometheus_client": {"computeapi/metrics.py"},
    "libvirt": {"computeapi/virt/libvirt/"},
    "websockets": {"computeapi/console/"},
}

FILES = sorted(PACKAGE.rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names)


def _part(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    part = _part(path)
    for name in _imported(path):
        words = name.split(".")
        if words[0] == "computeapi" and words[1] != part:
            allowed = LEAVES if part in LEAVES else LEAVES | MAY_IMPORT.get(part, set())
            assert words[1] in allowed or part == "__init__", f"{part} may not import {words[1]} ({name})"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_libraries_stay_where_they_belong(path: Path) -> None:
    here = str(path.relative_to(ROOT))
    for name in _imported(path):
        places = ONLY_IN.get(name.split(".")[0])
        assert places is None or any(here.startswith(place) for place in places), f"{name} in {here}"


def test_the_table_has_every_part() -> None:
    parts = {_part(path) for path in FILES} - LEAVES - {"__init__"}
    assert parts == set(MAY_IMPORT)


def test_the_table_goes_down_only() -> None:
    """No part can reach itself: a circle would make the layers a word."""
    for start in MAY_IMPORT:
        seen: set[str] = set()
        waiting = set(MAY_IMPORT[start])
        while waiting:
            part = waiting.pop()
            assert part != start, f"{start} reaches itself"
            if part not in seen:
                seen.add(part)
                waiting |= MAY_IMPORT[part]
