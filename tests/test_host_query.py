# SPDX-License-Identifier: Apache-2.0
"""Conditions on hosts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from computeapi import host_query

FIGURES = {"free_ram_mb": 1024, "host": "host1", "vcpus_used": 0}


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ([], True),
        ([">=", "$free_ram_mb", 1024], True),
        ([">", "$free_ram_mb", 1024], False),
        (["<", "$free_ram_mb", 2000, 3000], True),
        (["<", "$free_ram_mb", 2000, 1000], False),
        (["<=", "$vcpus_used", 0], True),
        (["=", "$host", "host1"], True),
        (["in", "$host", "host2", "host1"], True),
        (["in", "$host", "host2"], False),
        (["not", ["=", "$host", "host1"]], False),
        (["not", ["=", "$host", "host2"]], True),
        (["and", ["=", "$host", "host1"], [">", "$free_ram_mb", 1]], True),
        (["and", ["=", "$host", "host1"], [">", "$free_ram_mb", 9999]], False),
        (["or", ["=", "$host", "host2"], [">", "$free_ram_mb", 1]], True),
        (["or"], False),
        (["=", "$unknown", "x"], False),
        (["=", "$host"], False),
        (["<", "$host", 5], False),
        (["not", []], False),
    ],
)
def test_conditions(query: Any, wanted: bool) -> None:
    assert host_query.holds(host_query.read(json.dumps(query)), FIGURES) is wanted


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{}",
        "5",
        '["nothing", 1, 2]',
        "[5]",
        '["and", {"a": 1}]',
        '["and", ["x"]]',
        '["and", ' * 17 + "[]" + "]" * 17,
        "[" * 4000,
        json.dumps(["in", "x" * 5000]),
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="it "):
        host_query.read(text)
